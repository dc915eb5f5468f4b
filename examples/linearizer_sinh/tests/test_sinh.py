"""The laws of a bijection, for the installed plugin. Run with `python -m pytest tests` after `pip install .`."""

from __future__ import annotations

import pytest
import torch

from linearizer_core import Condition, create_backbone
from linearizer_core.bijections import Bijection
from linearizer_core.errors import ConfigError

SHAPES = [(1,), (5,), (3, 4, 2)]


def perturbed(shape: tuple[int, ...], **options: object) -> Bijection:
    """A backbone away from its start, where curves are the identity and mistakes do not show."""
    torch.manual_seed(0)
    backbone = create_backbone("sinh", shape, layers=3, **options).double()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return backbone


@pytest.mark.parametrize("shape", SHAPES)
def test_both_round_trips(shape: tuple[int, ...]) -> None:
    backbone = perturbed(shape)
    x = 2 * torch.randn(7, *shape, dtype=torch.float64)
    torch.testing.assert_close(backbone.inverse(backbone(x)), x, rtol=1e-10, atol=1e-11)
    z = x.flatten(1)
    torch.testing.assert_close(backbone(backbone.inverse(z)), z, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("shape", SHAPES)
def test_logdet_is_that_of_the_jacobian(shape: tuple[int, ...]) -> None:
    backbone = perturbed(shape)
    x = torch.randn(1, *shape, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda flat: backbone(flat.view_as(x)).flatten(), x.flatten())
    z, logdet = backbone.forward_and_logdet(x)
    torch.testing.assert_close(logdet, jacobian.slogdet().logabsdet[None], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(backbone.inverse_and_logdet(z)[1], -logdet, rtol=1e-10, atol=1e-10)


def test_curves_bend() -> None:
    backbone = perturbed((2,))
    x = torch.randn(2, dtype=torch.float64)
    a, b, middle = backbone(x[None]), backbone(-x[None]), backbone(0 * x[None])
    assert ((a + b) / 2 - middle).abs().max() > 0.01


def test_conditions_are_used() -> None:
    backbone = perturbed((2,), conditions={"label": 3})
    x = torch.ones(2, 2, dtype=torch.float64)
    z = backbone(x, Condition(label=torch.tensor([0, 2])))
    assert (z[0] - z[1]).abs().max() > 0.01


def test_float32_at_large_values_stays_finite() -> None:
    backbone = perturbed((4,)).float()
    x = torch.full((1, 4), 1e4)
    z, logdet = backbone.forward_and_logdet(x)
    assert z.isfinite().all()
    assert logdet.isfinite().all()


def test_a_typing_mistake_names_the_option() -> None:
    with pytest.raises(ConfigError, match="layer = 3: unknown key; did you mean 'layers'"):
        create_backbone("sinh", (2,), layer=3)
