from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn

from linearizer_core.bijections import SILU_LIPSCHITZ, AdditiveCoupling, Chain, FixedAffine, FixedOrthogonal, LipschitzConv2d, ZeroPadding
from linearizer_core.condition import Condition
from linearizer_core.config import NormalizeConfig
from linearizer_core.errors import ConfigError, LogDetUnavailableError, SurjectivityError
from linearizer_core.factory import create_backbone
from linearizer_core.space import InducedSpace
from linearizer_irevnet.backbone import irevnet_backbone
from linearizer_irevnet.bottleneck import BottleneckConditioner
from linearizer_irevnet.config import IRevNetConfig
from linearizer_irevnet.hooks import linearizer_backbones

from .chains import additive_gain, gains, labels, largest, log_volume, normal, perturbed

Shape = tuple[int, ...]


def untrained(shape: Shape, conditions: dict[str, int] | None = None, **options: object) -> Chain:
    return irevnet_backbone(shape, IRevNetConfig(**{"blocks": 2, "width": 8, **options}), conditions).double()  # type: ignore[arg-type]


def irevnet(shape: Shape, conditions: dict[str, int] | None = None, **options: object) -> Chain:
    """A small i-RevNet in float64 whose weights have moved."""
    return perturbed(untrained(shape, conditions, **options), 0.2)


def couplings(g: Chain) -> list[AdditiveCoupling]:
    return [brick for brick in g if isinstance(brick, AdditiveCoupling)]


SHAPES: list[Shape] = [(1, 8, 8), (3, 8, 8), (5, 6, 4), (2, 12, 8), (3, 16, 28), (3, 7, 5), (4, 1, 1)]


@pytest.mark.parametrize("group_norm", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_round_trips_at_constant_volume(shape: Shape, group_norm: bool) -> None:
    g = irevnet(shape, group_norm=group_norm)
    x, latents = normal(3, *shape), normal(3, g.dim)
    z, logdet = g.forward_and_logdet(x)
    back, inverse_logdet = g.inverse_and_logdet(z)
    assert z.shape == (3, g.dim)
    assert largest(back - x) < 1e-10
    assert largest(g(g.inverse(latents)) - latents) < 1e-10
    assert largest(logdet) == largest(inverse_logdet) == 0
    assert largest(g.inverse(g(x[:1])) - x[:1]) < 1e-10
    assert not g.bit_exact
    if g.dim <= 200:
        assert log_volume(g, x[:1]) == pytest.approx(0, abs=1e-10)


@settings(deadline=None, max_examples=15)
@given(st.tuples(st.integers(2, 5), st.integers(1, 20), st.integers(1, 20)))
def test_defaults_suit_any_image_of_several_channels(shape: Shape) -> None:
    g = irevnet(shape)
    x = normal(2, *shape)
    assert largest(g.inverse(g(x)) - x) < 1e-10


def test_blocks_are_those_of_the_paper_up_to_the_order_of_channels() -> None:
    g = irevnet((4, 2, 3), levels=0, blocks=4, final_mixing=False)
    x = normal(2, 4, 2, 3)
    first, second = x.chunk(2, 1)
    for block in couplings(g):
        first, second = second, first + block.conditioner(second)
    assert largest(g(x) - torch.cat([first, second], 1).flatten(1)) < 1e-14


def test_the_default_for_mnist() -> None:
    g = irevnet_backbone((1, 28, 28), IRevNetConfig())
    blocks = ["AdditiveCoupling"] * 4
    assert [type(each).__name__ for each in g] == ["PixelSqueeze", *blocks, "PixelSqueeze", *blocks, "Flatten", "FixedOrthogonal"]
    assert [block.in_shape for block in couplings(g)] == [(4, 14, 14)] * 4 + [(16, 7, 7)] * 4
    assert [block.flip for block in couplings(g)] == [True, False] * 4


@pytest.mark.parametrize(("levels", "blocks", "total"), [(2, 8, 16), (None, 2, 4), (0, 32, 32), (1, 3, 3)])
def test_the_number_of_couplings_is_blocks_times_levels(levels: int | None, blocks: int, total: int) -> None:
    assert len(couplings(irevnet_backbone((2, 28, 28), IRevNetConfig(levels=levels, blocks=blocks, width=2)))) == total


def test_halves_of_an_odd_number_of_channels() -> None:
    g = irevnet((5, 3, 3))
    assert [(block.kept, block.changed) for block in couplings(g)] == [(3, 2), (2, 3)]
    x = normal(1, 5, 3, 3)
    assert bool((irevnet((5, 3, 3), final_mixing=False)(x) != x.flatten(1)).all())


def test_a_new_network_only_reorders_and_mixes() -> None:
    x = normal(2, 1, 8, 8)
    plain = untrained((1, 8, 8), final_mixing=False)
    assert torch.equal(plain(x).sort(1).values, x.flatten(1).sort(1).values)
    assert torch.allclose(untrained((1, 8, 8))(x).norm(dim=1), x.flatten(1).norm(dim=1), rtol=1e-13)


@pytest.mark.parametrize("group_norm", [False, True])
def test_nothing_depends_on_other_examples_or_on_the_mode(group_norm: bool) -> None:
    g = irevnet((3, 8, 8), group_norm=group_norm)
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm | nn.modules.dropout._DropoutNd) for module in g.modules())
    x = normal(4, 3, 8, 8)
    z = g.train()(x)
    assert torch.equal(g.eval()(x), z)
    assert largest(g(x[2:3]) - z[2:3]) < 1e-13


def test_every_block_hears_the_condition() -> None:
    g = irevnet((3, 8, 8), {"label": 3})
    assert g.conditions == {"label": 3}
    for block in couplings(g):
        x = normal(1, *block.in_shape)
        assert largest(block(x, labels(0)) - block(x, labels(2))) > 1e-4
    x, condition = normal(3, 3, 8, 8), labels(0, 1, 2)
    assert largest(g.inverse(g(x, condition), condition) - x) < 1e-10


@pytest.mark.parametrize("options", [{}, {"group_norm": True}, {"padding": 3}, {"normalize": NormalizeConfig(shift=-0.5, scale=4.0)}], ids=str)
def test_a_fresh_object_inverts_first_after_loading(options: dict[str, object]) -> None:
    g = irevnet((3, 8, 12), {"label": 3}, **options)
    x, condition = normal(2, 3, 8, 12), labels(0, 2)
    z = g(x, condition)
    torch.manual_seed(99)
    fresh = untrained((3, 8, 12), {"label": 3}, **options).eval()
    fresh.load_state_dict(g.state_dict())
    assert torch.equal(fresh.inverse(z, condition), g.inverse(z, condition))
    assert largest(fresh.inverse(z, condition) - x) < 1e-10


def test_padding_makes_it_injective_and_no_more() -> None:
    g = irevnet((3, 8, 8), padding=4)
    assert (g.surjective, g.has_logdet, g.dim, g.out_shape) == (False, False, 192, (256,))
    assert isinstance(g[1], ZeroPadding)  # behind the first downsampling, ahead of the first block
    assert [block.in_shape for block in couplings(g)] == [(16, 4, 4)] * 2
    assert untrained((3, 8, 8), padding=4, levels=2).out_shape == (256,)  # once, whatever the number of levels
    x, z = normal(2, 3, 8, 8), normal(2, 256)
    assert largest(g.inverse(g(x)) - x) < 1e-10
    assert largest(g(g.inverse(z)) - z) > 0.1
    with pytest.raises(LogDetUnavailableError, match="ZeroPadding"):
        g.forward_and_logdet(x)
    with pytest.raises(SurjectivityError, match=r"Chain on \(3, 8, 8\) has surjective = False"):
        InducedSpace(g)


def test_padding_gives_a_single_channel_a_partner() -> None:
    g = create_backbone("irevnet", (1, 7, 5), padding=1, blocks=2)
    assert isinstance(g, Chain)
    assert isinstance(g[0], ZeroPadding)
    x = normal(2, 1, 7, 5).float()
    assert torch.allclose(g.inverse(g(x)), x, atol=1e-5)


def test_options_choose_bricks() -> None:
    assert not any(isinstance(brick, FixedOrthogonal) for brick in untrained((3, 8, 8), final_mixing=False))
    assert isinstance(untrained((3, 8, 8), normalize=NormalizeConfig(scale=2.0))[0], FixedAffine)
    bottlenecks = [block.conditioner for block in couplings(untrained((3, 8, 8), width=6, group_norm=True))]
    assert all(isinstance(each, BottleneckConditioner) and each.middle.weight.shape == (6, 6, 3, 3) for each in bottlenecks)
    assert [type(norm) for norm in bottlenecks[0].norms] == [nn.GroupNorm] * 3
    x = normal(1, 2, 4, 4)
    first, second = (untrained((2, 4, 4), seed=seed)(x) for seed in (0, 1))
    assert largest(first - second) > 0.1


@pytest.mark.parametrize("lipschitz", [None, 0.5])
def test_lipschitz_bounds_the_gain_of_the_whole_network(lipschitz: float | None) -> None:
    g = irevnet((2, 4, 4), lipschitz=lipschitz, blocks=4)
    with torch.no_grad():
        for block in couplings(g):
            block.conditioner.expand.weight.mul_(100)
    for scale in (1.0, 100.0):
        assert (max(gains(g, scale * normal(1, 2, 4, 4))) <= additive_gain(0.5) ** 4) == (lipschitz is not None)


def test_no_bound_holds_with_group_norm() -> None:
    with pytest.raises(ConfigError, match=r"lipschitz = 0\.5 with group_norm"):
        untrained((2, 4, 4), lipschitz=0.5, group_norm=True)


@pytest.mark.parametrize("group_norm", [False, True])
def test_the_formula_of_the_bottleneck(group_norm: bool) -> None:
    torch.manual_seed(0)
    bottleneck = BottleneckConditioner(2, 3, grid=(4, 5), width=4, group_norm=group_norm, categories={"label": 2}).double()
    nn.init.normal_(bottleneck.expand.weight)
    x, condition = normal(2, 2, 4, 5), Condition(label=torch.tensor([1, 0]))

    def activated(h: Tensor) -> Tensor:
        h = nn.functional.layer_norm(h, h.shape[1:]) if group_norm else h
        return h * h.sigmoid()

    h = bottleneck.reduce(activated(x)) + bottleneck.embedding(condition, 2)[:, :, None, None]
    expected = bottleneck.expand(activated(bottleneck.middle(activated(h))))
    assert torch.allclose(bottleneck(x, condition), expected, atol=1e-13)


def test_the_bounds_of_the_layers_make_up_that_of_the_bottleneck() -> None:
    bottleneck = BottleneckConditioner(2, 3, grid=(5, 5), width=4, lipschitz=0.5)
    layers = [layer for layer in bottleneck.modules() if isinstance(layer, LipschitzConv2d)]
    assert len(layers) == 3
    assert math.prod(layer.lipschitz * SILU_LIPSCHITZ for layer in layers) == pytest.approx(0.5)


def test_a_bottleneck_normalises_each_example_and_sees_its_neighbourhood() -> None:
    torch.manual_seed(0)
    bottleneck = BottleneckConditioner(2, 3, grid=(5, 5), width=4, group_norm=True).double()
    nn.init.normal_(bottleneck.expand.weight)
    x = normal(1, 2, 5, 5)
    assert torch.allclose(bottleneck(x), bottleneck(7 * x), atol=1e-4)
    plain = BottleneckConditioner(2, 3, grid=(5, 5), width=4).double()
    nn.init.normal_(plain.expand.weight)
    moved = x.clone()
    moved[..., 0, 0] += 1
    changed = (plain(moved) != plain(x)).any(1)[0]
    assert bool(changed[:2, :2].all())
    assert int(changed.sum()) == 4


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"irevnet for shape \(6,\): expected an image"):
        irevnet_backbone((6,), IRevNetConfig())
    with pytest.raises(ConfigError, match="levels = 3: each level halves both sides, and 28x28 allows at most 2"):
        irevnet_backbone((1, 28, 28), IRevNetConfig(levels=3))
    with pytest.raises(ConfigError, match=r"1 channel at 7x5 cannot be halved.*use glow"):
        irevnet_backbone((1, 7, 5), IRevNetConfig())


@pytest.mark.parametrize("options", [{"blocks": 0}, {"padding": -1}, {"width": 0}, {"batch_norm": True}])
def test_invalid_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        IRevNetConfig.model_validate(options)


def test_it_is_registered_and_its_hook_needs_no_torch() -> None:
    (spec,) = linearizer_backbones()
    spec.check()
    assert spec.load_target() is irevnet_backbone
    assert spec.load_config() is IRevNetConfig
    assert isinstance(create_backbone("irevnet", (1, 8, 8), blocks=1), Chain)
    code = "import sys, linearizer_irevnet.hooks, linearizer_irevnet.config; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
