from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_training import LikelihoodStage, TinyTask, stage_config, tiny_model, tiny_splits, training_config
from torch import Tensor, nn

from linearizer_core.config import OptimizerConfig
from linearizer_core.training import fit
from linearizer_core.training.optimizer import make_optimizer
from linearizer_core.training.state import load_optimizer, optimizer_tensors

KINDS: dict[str, type[torch.optim.Optimizer]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def weights(dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    """In every layout that is dense: rows first, columns first, channels last; and a scalar."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(5, 3), (3, 5), (2, 3, 3, 3), (7,), ()]
    tensors = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
    tensors[1] = tensors[1].T
    tensors[2] = tensors[2].contiguous(memory_format=torch.channels_last)
    return [nn.Parameter(tensor) for tensor in tensors]


def descend(parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for parameter in parameters:
            parameter.grad = None
        loss: Tensor = sum((parameter * torch.randn(parameter.shape, generator=generator).to(parameter)).sum() for parameter in parameters)  # type: ignore[assignment]
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("name", KINDS)
def test_one_kernel_gives_what_many_give(name: str) -> None:
    config = OptimizerConfig(name=name, lr=0.03, betas=(0.8, 0.95), weight_decay=0.1)  # type: ignore[arg-type]
    ours, theirs = weights(), weights()
    optimizer = make_optimizer(ours, config)
    assert optimizer.defaults["fused"] is True
    descend(ours, optimizer, range(20))
    descend(theirs, KINDS[name](theirs, lr=0.03, betas=(0.8, 0.95), weight_decay=0.1, foreach=False), range(20))  # type: ignore[call-arg]
    for first, second in zip(ours, theirs, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_moments_come_back_in_the_layout_of_their_parameters(dtype: torch.dtype) -> None:
    """A fused optimiser goes through memory: with other strides it would take the moments of other numbers."""
    config, names = OptimizerConfig(lr=0.03), [str(number) for number in range(5)]
    whole, parts = weights(dtype), weights(dtype)
    descend(whole, make_optimizer(whole, config), range(20))
    before = make_optimizer(parts, config)
    descend(parts, before, range(8))
    stored = {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in optimizer_tensors(before, names).items()}
    after = make_optimizer(parts, config)
    load_optimizer(after, names, stored)
    assert all(state["exp_avg"].stride() == parameter.stride() for parameter, state in after.state.items())
    descend(parts, after, range(8, 20))
    assert all(torch.equal(first, second) for first, second in zip(whole, parts, strict=True))


def test_parameters_with_gaps_are_updated_as_well() -> None:
    config = OptimizerConfig(lr=0.03)
    gaps = [nn.Parameter(torch.arange(12.0, dtype=torch.float64).reshape(3, 4)[:, :2])]
    dense = [nn.Parameter(gaps[0].detach().contiguous())]
    descend(gaps, make_optimizer(gaps, config), range(5))
    descend(dense, make_optimizer(dense, config), range(5))
    torch.testing.assert_close(gaps[0], dense[0], rtol=1e-14, atol=1e-14)


def test_training_uses_it(tmp_path: Path) -> None:
    """Its step counters are tensors that nobody reads: with others, every step would read one for each parameter."""
    task = TinyTask(LikelihoodStage("only", stage_config(steps=4)))
    fit(task, tiny_model(), tiny_splits(), training_config(tmp_path, checkpoint_every=3))
    stored = load_file(tmp_path / "checkpoints" / "000003" / "optimizer.safetensors")
    assert {float(tensor) for name, tensor in stored.items() if name.endswith("|step")} == {3.0}
