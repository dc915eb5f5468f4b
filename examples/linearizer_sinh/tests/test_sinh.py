"""The laws of a bijection, by the conformance kit, and what is special here. Run with `python -m pytest tests` after `pip install .`."""

from __future__ import annotations

import torch

from linearizer_core import create_backbone
from linearizer_core.bijections import Bijection
from linearizer_core.testing import BackboneSubject, Check, parametrize_with_checks


@parametrize_with_checks([BackboneSubject("sinh", options={"layers": 3})])
def test_conformance(subject: BackboneSubject, check: Check) -> None:
    check(subject)


def perturbed(dim: int) -> Bijection:
    """A backbone away from its start, where curves are the identity."""
    torch.manual_seed(0)
    backbone = create_backbone("sinh", (dim,), layers=3).double()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return backbone


def test_curves_bend() -> None:
    backbone, x = perturbed(2), torch.randn(2, dtype=torch.float64)
    a, b, middle = backbone(x[None]), backbone(-x[None]), backbone(0 * x[None])
    assert ((a + b) / 2 - middle).abs().max() > 0.01


def test_float32_at_large_values_stays_finite() -> None:
    z, logdet = perturbed(4).float().forward_and_logdet(torch.full((1, 4), 1e4))
    assert z.isfinite().all()
    assert logdet.isfinite().all()
