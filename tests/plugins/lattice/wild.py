"""Lattice networks with weights far from the initial ones, for all tests of the plugin."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from linearizer_core.bijections import Chain
from linearizer_core.condition import Condition
from linearizer_lattice.backbone import lattice_backbone
from linearizer_lattice.config import LatticeConfig

SMALL: dict[str, Any] = {"levels": ({"couplings": 2, "width": 6, "token_mixing": True},), "dense": {"couplings": 4, "width": 12}}


@torch.no_grad()
def wild(module: nn.Module, *, gain: float = 1.0) -> None:
    """Draw every weight anew, of unit gain: neither zeros nor small numbers hide a mistake."""
    for parameter in module.parameters():
        if parameter.is_floating_point():
            parameter.normal_(0, gain * (parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.5))


def backbone(shape: tuple[int, ...], *, conditions: dict[str, int] | None = None, gain: float = 1.0, **options: Any) -> Chain:
    torch.manual_seed(0)
    if len(shape) != 3 or shape[1] % 2 or shape[2] % 2:
        options = {"levels": (), **options}
    g = lattice_backbone(shape, LatticeConfig.model_validate({**SMALL, **options}), conditions)
    wild(g, gain=gain)
    return g.requires_grad_(False)


def images(batch: int, *shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """8-bit images as any loader gives them."""
    pixels = torch.randint(0, 256, (batch, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return pixels.to(dtype) / 255


def points(batch: int, *shape: int, bits: int = 14, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Gaussian numbers on a lattice, none of them -0.0."""
    values = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return ((values * 2.0**bits).round() / 2.0**bits + 0.0).to(dtype)


def labels(batch: int, count: int = 3) -> Condition:
    return Condition(label=torch.arange(batch) % count)


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Equal to the last bit, the sign of zero included."""
    integers = {torch.float32: torch.int32, torch.float64: torch.int64}[a.dtype]
    return a.dtype == b.dtype and torch.equal(a.detach().contiguous().view(integers), b.detach().contiguous().view(integers))
