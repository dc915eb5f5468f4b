"""A flow-matching U-Net, for comparison: the velocity is a network of the point and the time, so every step of the solver is a pass through it."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmarks.flow_models import count, nearest
from benchmarks.tools.environment import SEED

INSTALL = "pip install -c constraints.txt -e '.[bench]'"
TOLERANCE = 1e-4
"""Relative and absolute tolerance of the adaptive solver."""


def matching_unet(shape: tuple[int, int, int], parameters: int, *, classes: int | None = None, seed: int = SEED) -> nn.Module:
    """diffusers' ``UNet2DModel`` on images ``(C, H, W)``, of about that many ``parameters``: three levels of two residual blocks, attention on the coarser two.

    With ``classes``, it takes a label as well.

    Raises:
        ModuleNotFoundError: when diffusers is not installed.
    """
    from diffusers import UNet2DModel

    def build(size: int) -> nn.Module:
        width = 4 * size
        options: dict[str, Any] = {
            "sample_size": shape[1:],
            "in_channels": shape[0],
            "out_channels": shape[0],
            "layers_per_block": 2,
            "block_out_channels": (width, 2 * width, 2 * width),
            "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
            "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
            "norm_num_groups": 4,
            "num_class_embeds": classes,
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cast(nn.Module, UNet2DModel(**options))  # type: ignore[no-untyped-call]

    return build(nearest(lambda size: count(build(size)), parameters)).eval().requires_grad_(False)


@torch.no_grad()
def euler(unet: nn.Module, noise: Tensor, evaluations: int, label: Tensor | None = None) -> Tensor:
    """As many Euler steps from t = 0 to 1."""
    x = noise
    for time in torch.arange(evaluations, device=noise.device) / evaluations:
        x = x + velocity(unet, time, x, label) / evaluations
    return x


@torch.no_grad()
def adaptive(unet: nn.Module, noise: Tensor) -> int:
    """Dormand-Prince from t = 0 to 1; the number of evaluations that it took.

    Raises:
        ModuleNotFoundError: when torchdiffeq is not installed.
    """
    from torchdiffeq import odeint  # type: ignore[import-untyped]

    evaluations = 0

    def counted(time: Tensor, x: Tensor) -> Tensor:
        nonlocal evaluations
        evaluations += 1
        return velocity(unet, time, x)

    odeint(counted, noise, torch.tensor([0.0, 1.0], device=noise.device), rtol=TOLERANCE, atol=TOLERANCE, method="dopri5")
    return evaluations


def velocity(unet: nn.Module, time: Tensor, x: Tensor, label: Tensor | None = None) -> Tensor:
    """The network at one time for the whole batch, or at a time for each image, ``(B,)``. The time stays on the device: the host does not wait for it."""
    answer: Tensor = unet(x, 1000 * time, class_labels=label).sample
    return answer
