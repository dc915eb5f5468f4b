from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from linearizer_core.bijections import ConvConditioner
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError


def test_the_output_starts_at_zero() -> None:
    conditioner = ConvConditioner(2, 3, width=4, token_mixing=(4, 5), categories={"label": 2})
    assert torch.equal(conditioner(torch.randn(1, 2, 4, 5), Condition(label=torch.tensor([1]))), torch.zeros(1, 3, 4, 5))


def reached_by_the_corner(conditioner: ConvConditioner) -> Tensor:
    """The positions (H, W) whose output changes when the upper left input pixel does."""
    torch.nn.init.normal_(conditioner.last.weight)
    x = torch.zeros(1, 1, 9, 7)
    touched = x.clone()
    touched[..., 0, 0] = 1
    return (conditioner(touched) - conditioner(x)).abs().sum((0, 1)) > 0


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_convolutions_see_their_neighbourhood(depth: int) -> None:
    reached = reached_by_the_corner(ConvConditioner(1, 2, width=8, depth=depth))
    radius = depth + 2
    assert bool(reached[: radius + 1, : radius + 1].all())
    assert not bool(reached[radius + 1 :].any() | reached[:, radius + 1 :].any())


def test_token_mixing_sees_everything() -> None:
    assert bool(reached_by_the_corner(ConvConditioner(1, 2, width=8, token_mixing=(9, 7))).all())


def test_the_condition_is_used() -> None:
    conditioner = ConvConditioner(1, 2, width=8, categories={"label": 2})
    torch.nn.init.normal_(conditioner.last.weight)
    outputs = conditioner(torch.zeros(2, 1, 3, 3), Condition(label=torch.tensor([0, 1])))
    assert (outputs[0] - outputs[1]).abs().max() > 0.1


def steep(layer: nn.Module, image: Tensor) -> Tensor:
    """On a grid of one position a kernel is its centre. Set the bias so that SiLU has its largest slope at ``image``, and return what it gives there."""
    peak = torch.tensor(2.3994, dtype=torch.float64)
    with torch.no_grad():
        nn.init.constant_(layer.weight, 50.0)  # type: ignore[arg-type]
        layer.bias.zero_()  # type: ignore[union-attr,operator]
        layer.bias.copy_((peak - layer(image)).flatten())  # type: ignore[union-attr,operator]
    return functional.silu(peak).reshape(image.shape)


@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize("token_mixing", [None, (1, 1)])
def test_the_lipschitz_constant_is_kept_and_reached(depth: int, token_mixing: tuple[int, int] | None) -> None:
    conditioner = ConvConditioner(1, 1, width=1, depth=depth, token_mixing=token_mixing, lipschitz=0.6, grid=(1, 1)).double()
    x = torch.full((1, 1, 1, 1), 0.3, dtype=torch.float64)
    h = steep(conditioner.first, x)
    for block in [*([conditioner.mixing] if conditioner.mixing is not None else []), *conditioner.blocks]:
        h = h + steep(block, h)
    nn.init.constant_(conditioner.last.weight, 50.0)
    slope = torch.autograd.functional.jacobian(conditioner, x).item()
    assert 0.99 ** (depth + 3) * 0.6 <= slope <= 0.6


def test_the_lipschitz_constant_holds_for_images() -> None:
    torch.manual_seed(0)
    conditioner = ConvConditioner(2, 3, width=6, depth=1, token_mixing=(3, 4), lipschitz=1.5).double()
    for parameter in conditioner.parameters():
        nn.init.normal_(parameter, std=2.0)
    for scale in (0.1, 1.0, 10.0):
        jacobian = torch.autograd.functional.jacobian(conditioner, scale * torch.randn(1, 2, 3, 4, dtype=torch.float64)).reshape(36, 24)
        assert 0.01 < float(torch.linalg.matrix_norm(jacobian, 2)) <= 1.5


def test_a_bound_needs_a_grid_and_leaves_the_names_alone() -> None:
    plain, bounded = ConvConditioner(1, 2, width=4), ConvConditioner(1, 2, width=4, lipschitz=1.0, grid=(5, 5))
    assert bounded.state_dict().keys() == plain.state_dict().keys()
    assert torch.equal(bounded(torch.randn(1, 1, 5, 5)), torch.zeros(1, 2, 5, 5))
    assert type(plain.first) is type(plain.blocks[0]) is type(plain.last) is nn.Conv2d
    with pytest.raises(BijectionError, match=r"pass grid = \(height, width\)"):
        ConvConditioner(1, 2, width=4, lipschitz=1.0)
