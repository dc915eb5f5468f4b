from __future__ import annotations

import torch

from linearizer_core.bijections.tf32 import without_tf32


class OnGpu:
    is_cuda = True


def test_products_on_a_gpu_are_not_rounded() -> None:
    switches = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)
    before = [switch.fp32_precision for switch in switches]
    try:
        switches[1].fp32_precision = "tf32"
        with without_tf32(OnGpu()):  # type: ignore[arg-type]
            assert [switch.fp32_precision for switch in switches] == ["ieee", "ieee"]
        assert [switch.fp32_precision for switch in switches] == [before[0], "tf32"]
    finally:
        switches[1].fp32_precision = before[1]


def test_nothing_changes_on_a_cpu() -> None:
    before = torch.backends.cudnn.conv.fp32_precision
    with without_tf32(torch.zeros(1)):
        assert torch.backends.cudnn.conv.fp32_precision == before
