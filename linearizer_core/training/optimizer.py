"""The optimiser of a stage."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn

from linearizer_core.config import OptimizerConfig

__all__ = ["make_optimizer"]

_KINDS: dict[str, type[torch.optim.Adam]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
_FUSED = ("cpu", "cuda")


def make_optimizer(parameters: Collection[nn.Parameter], config: OptimizerConfig) -> torch.optim.Optimizer:
    """Adam or AdamW, as one kernel for all parameters where torch has one: otherwise it takes ten for each of them, and the host reads each step counter.

    Example:
        >>> weight = nn.Parameter(torch.ones(2))
        >>> optimizer = make_optimizer([weight], OptimizerConfig(lr=0.5))
        >>> weight.sum().backward(); optimizer.step()
        >>> weight.data
        tensor([0.5000, 0.5000])
    """
    fused = True if all(parameter.device.type in _FUSED and _is_dense(parameter) for parameter in parameters) else None
    return _KINDS[config.name](parameters, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=fused)


def _is_dense(parameter: nn.Parameter) -> bool:
    """Whether moments made like it have its strides. On the CPU the fused kernel takes that for granted, and updates other numbers where it is not so."""
    return torch.empty_like(parameter, device="meta").stride() == parameter.stride()
