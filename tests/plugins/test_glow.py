from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from linearizer_core.bijections import (
    CAYLEY_LIMIT,
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    Bijection,
    CayleyMixing,
    Chain,
    ElementwiseAffine,
    FixedAffine,
    FixedOrthogonal,
    HaarSqueeze,
    PixelSqueeze,
    PLUMixing,
    SplitMerge,
)
from linearizer_core.config import NormalizeConfig
from linearizer_core.errors import BijectionError, ConfigError, NotInitializedError
from linearizer_core.factory import create_backbone
from linearizer_glow.backbone import glow_backbone
from linearizer_glow.config import GlowConfig
from linearizer_glow.hooks import linearizer_backbones

from .chains import additive_gain, count, gains, labels, largest, log_volume, normal, perturbed

Shape = tuple[int, ...]


def untrained(shape: Shape, conditions: dict[str, int] | None = None, **options: object) -> Chain:
    return glow_backbone(shape, GlowConfig(**{"steps": 2, "width": 8, **options}), conditions).double()  # type: ignore[arg-type]


def glow(shape: Shape, conditions: dict[str, int] | None = None, **options: object) -> Chain:
    """A small Glow in float64 whose normalisations are set and whose weights have moved."""
    torch.manual_seed(0)
    g = untrained(shape, conditions, **options)
    g(3 * normal(6, *shape, seed=0) + 1, labels(0))
    return perturbed(g, 0.1)


def couplings(g: Bijection) -> list[AffineCoupling | AdditiveCoupling]:
    return [module for module in g.modules() if isinstance(module, AffineCoupling | AdditiveCoupling)]


SHAPES: list[Shape] = [(1, 8, 8), (3, 8, 8), (5, 6, 4), (2, 12, 8), (3, 16, 28), (1, 7, 5), (3, 7, 5), (1, 1, 2), (6,), (2,), (3, 4)]


@pytest.mark.parametrize("mixing", ["cayley", "plu"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_round_trips_and_log_determinants(shape: Shape, mixing: str) -> None:
    g = glow(shape, mixing=mixing)
    x, latents = normal(3, *shape), normal(3, g.dim)
    z, logdet = g.forward_and_logdet(x)
    back, inverse_logdet = g.inverse_and_logdet(z)
    assert z.shape == (3, g.dim)
    assert largest(back - x) < 1e-10
    assert largest(g(g.inverse(latents)) - latents) < 1e-10
    assert largest(logdet + inverse_logdet) < 1e-9
    assert logdet.detach().abs().min() > 1e-3
    assert largest(g.inverse(g(x[:1])) - x[:1]) < 1e-10
    if g.dim <= 200:
        assert log_volume(g, x[:1]) == pytest.approx(logdet[0].item(), abs=1e-9)


def test_the_default_for_mnist() -> None:
    g = glow_backbone((1, 28, 28), GlowConfig())
    step = ["ActNorm", "CayleyMixing", "AffineCoupling"]
    assert [type(each).__name__ for each in g] == ["PixelSqueeze", *step * 4, "SplitMerge"]
    merge = g[-1]
    assert isinstance(merge, SplitMerge)
    assert isinstance(merge.leading, Chain)
    assert [type(each).__name__ for each in merge.leading] == ["PixelSqueeze", *step * 4, "Flatten", "FixedOrthogonal"]
    assert (merge.leading.in_shape, merge.trailing.in_shape, g.out_shape) == ((2, 14, 14), (2, 14, 14), (784,))
    assert {coupling.log_scale_bound for coupling in couplings(g)} == {0.25}  # a budget of 2 for 8 couplings


@pytest.mark.parametrize(
    ("shape", "levels", "steps", "total"), [((1, 28, 28), 2, 8, 16), ((1, 28, 28), None, 2, 4), ((3, 64, 64), 3, 2, 6), ((9,), None, 32, 32)]
)
def test_the_number_of_couplings_is_steps_times_levels(shape: Shape, levels: int | None, steps: int, total: int) -> None:
    assert len(couplings(glow_backbone(shape, GlowConfig(levels=levels, steps=steps, width=4)))) == total


@settings(deadline=None, max_examples=15)
@given(
    st.tuples(st.integers(2, 30)) | st.tuples(st.integers(1, 4), st.integers(2, 4)) | st.tuples(st.integers(1, 5), st.integers(2, 20), st.integers(1, 20)),
    st.booleans(),
)
def test_defaults_suit_any_shape(shape: Shape, split: bool) -> None:
    g = glow(shape, split=split)
    x = normal(2, *shape)
    z = g(x)
    assert z.shape == (2, g.dim)
    assert largest(g.inverse(z) - x) < 1e-10


def test_leading_coordinates_are_those_of_the_coarsest_level() -> None:
    g = glow((3, 16, 16), levels=3)
    assert isinstance(g[-1], SplitMerge)
    middle = g[-1].leading
    assert isinstance(middle, Chain)
    assert isinstance(middle[-1], SplitMerge)
    coarsest = middle[-1].leading
    assert coarsest.dim == 3 * 16 * 16 // 4
    x = normal(2, 3, 16, 16)
    outer, inner = x, None
    for brick in list(g)[:-1]:
        outer = brick(outer)
    inner = outer[:, :6]
    for brick in list(middle)[:-1]:
        inner = brick(inner)
    expected = torch.cat([coarsest(inner[:, :12]), inner[:, 12:].flatten(1), outer[:, 6:].flatten(1)], 1)
    assert torch.equal(g(x), expected)


def test_without_splits_all_channels_reach_the_last_level() -> None:
    g = glow((3, 8, 8), levels=2, split=False)
    assert count(g, SplitMerge) == 0
    assert [coupling.in_shape for coupling in couplings(g)] == [(12, 4, 4)] * 2 + [(48, 2, 2)] * 2


def test_one_channel_that_cannot_be_squeezed_has_checkerboards() -> None:
    g = glow((1, 7, 5), steps=3)
    assert [coupling.flip for coupling in couplings(g)] == [False, True, False]
    assert count(g, CayleyMixing) == 0
    moved = glow((1, 7, 5), steps=2, norm="none", final_mixing=False, coupling="additive")
    x = normal(1, 1, 7, 5)
    assert bool((moved(x) != x.flatten(1)).all())


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 7, 5), (6,)], ids=str)
def test_every_coupling_hears_the_condition(shape: Shape) -> None:
    g = glow(shape, {"label": 3})
    assert g.conditions == {"label": 3}
    for coupling in couplings(g):
        x = normal(1, *coupling.in_shape)
        assert largest(coupling(x, labels(0)) - coupling(x, labels(2))) > 1e-4
    x, condition = normal(3, *shape), labels(0, 1, 2)
    z = g(x, condition)
    assert largest(g.inverse(z, condition) - x) < 1e-10
    assert largest(g.inverse(z, labels(2, 0, 1)) - x) > 1e-3


OPTIONS: list[dict[str, object]] = [
    {"levels": 2},
    {"levels": 2, "mixing": "plu"},
    {"coupling": "additive"},
    {"mixing": "fixed", "norm": "affine", "norm_log_scale_bound": 0.1, "seed": 3},
    {"norm": "none", "squeeze": "haar"},
    {"levels": 0, "final_mixing": False},
    {"normalize": NormalizeConfig(shift=-0.5, scale=(2.0, 3.0, 4.0)), "log_scale_budget": 0.5, "depth": 2},
    {"lipschitz": 1.0, "width": 4},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ", ".join(options))
def test_a_fresh_object_inverts_first_after_loading(options: dict[str, object]) -> None:
    g = glow((3, 8, 12), {"label": 3}, **options)
    x, condition = normal(2, 3, 8, 12), labels(0, 2)
    z, logdet = g.forward_and_logdet(x, condition)
    assert largest(g.inverse(z, condition) - x) < 1e-10
    assert largest(logdet + g.inverse_and_logdet(z, condition)[1]) < 1e-9
    torch.manual_seed(99)
    fresh = untrained((3, 8, 12), {"label": 3}, **options).eval()
    fresh.load_state_dict(g.state_dict())
    assert torch.equal(fresh.inverse(z, condition), g.inverse(z, condition))
    assert torch.equal(fresh(x, condition), z)


def test_options_choose_bricks() -> None:
    def members(**options: object) -> Chain:
        return untrained((3, 8, 8), levels=2, **options)

    plain = members()
    assert (count(plain, ActNorm), count(plain, CayleyMixing), count(plain, AffineCoupling), count(plain, PixelSqueeze), count(plain, FixedOrthogonal)) == (
        4,
        4,
        4,
        2,
        1,
    )
    assert (
        count(members(mixing="plu"), PLUMixing)
        == count(members(coupling="additive"), AdditiveCoupling)
        == count(members(norm="affine"), ElementwiseAffine)
        == 4
    )
    assert count(members(mixing="fixed"), FixedOrthogonal) == 5
    assert count(members(norm="none"), ActNorm) == count(members(final_mixing=False), FixedOrthogonal) == 0
    assert count(members(squeeze="haar"), HaarSqueeze) == 2
    assert isinstance(members(normalize=NormalizeConfig(scale=2.0))[0], FixedAffine)
    assert len(couplings(plain)[0].conditioner.blocks) == 1
    assert len(couplings(members(depth=3))[0].conditioner.blocks) == 3


def test_all_couplings_share_one_budget_of_scale() -> None:
    def bounds(**options: object) -> list[float]:
        return [coupling.log_scale_bound for coupling in couplings(untrained((3, 8, 8), **options))]  # type: ignore[union-attr]

    assert bounds(levels=2, steps=4) == [0.25] * 8
    assert bounds(levels=0, steps=2, log_scale_budget=1.0) == [0.5] * 2
    assert bounds(levels=2, steps=4, log_scale_bound=0.5) == [0.5] * 8


SAFE = [{"lipschitz": 0.5, "norm": "none"}, {"lipschitz": 0.5, "norm": "affine", "norm_log_scale_bound": 0.1}]
UNSAFE = [{"norm": "none"}, {"lipschitz": 0.5, "norm": "affine"}, {"lipschitz": 0.5, "norm": "actnorm"}]


@pytest.mark.parametrize("shape", [(2, 4, 4), (8,)], ids=str)
@pytest.mark.parametrize("options", SAFE + UNSAFE, ids=str)
def test_lipschitz_and_bounded_norms_bound_the_gain_of_additive_couplings(shape: Shape, options: dict[str, object]) -> None:
    g = glow(shape, coupling="additive", steps=3, levels=0, **options)
    with torch.no_grad():
        for name, parameter in g.named_parameters():
            if name.endswith(("last.weight", "log_scale")):
                parameter.mul_(100)
    bound = (additive_gain(0.5) * math.exp(0.1)) ** 3
    for scale in (1.0, 100.0):
        assert (max(gains(g, scale * normal(1, *shape))) <= bound) == (options in SAFE)


def test_a_bound_that_nothing_keeps_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"norm_log_scale_bound = 0\.1 with norm = 'actnorm', whose scales come from data; give norm = 'affine'"):
        GlowConfig(norm_log_scale_bound=0.1)
    with pytest.raises(ValidationError, match="norm = 'none', which has no scales to bound"):
        GlowConfig(norm="none", norm_log_scale_bound=0.1)


def test_one_bound_of_couplings_is_given_not_two() -> None:
    with pytest.raises(ValidationError, match=r"log_scale_bound = 0\.5 takes .* log_scale_budget = 2\.0 is given too; give one of them"):
        GlowConfig(log_scale_bound=0.5, log_scale_budget=2.0)
    assert GlowConfig(log_scale_bound=None, log_scale_budget=3.0).log_scale_budget == 3


def test_every_mixing_draws_its_own_matrix_and_the_seed_decides() -> None:
    def matrices(seed: int) -> list[Tensor]:
        g = glow_backbone((12,), GlowConfig(steps=4, seed=seed, width=4))
        return [module.orthogonal_matrix() for module in g.modules() if isinstance(module, CayleyMixing)]

    assert all(not torch.equal(left, right) for left, right in pairwise(matrices(0)))
    assert all(torch.equal(left, right) for left, right in zip(matrices(1), matrices(1), strict=True))
    assert not any(torch.equal(left, right) for left in matrices(0) for right in matrices(1))


def test_before_the_first_batch_the_inverse_says_what_to_do() -> None:
    g = untrained((3, 8, 8)).float()
    with pytest.raises(NotInitializedError, match="call the model once in training mode on a batch of data"):
        g.inverse(torch.zeros(1, 192))
    with pytest.raises(NotInitializedError, match="not initialised yet"):
        g.eval()(torch.zeros(1, 3, 8, 8))


def test_the_first_batch_normalises_every_level() -> None:
    g = untrained((3, 8, 8), levels=2)
    z = g(50 * normal(64, 3, 8, 8) - 20)
    assert largest(z.mean()) < 0.05
    assert float(z.detach().std()) == pytest.approx(1, abs=0.05)
    norms = [module for module in g.modules() if isinstance(module, ActNorm)]
    assert len(norms) == 4
    assert all(bool(norm.get_buffer("initialized")) for norm in norms)


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(ConfigError, match="levels = 3: each level halves both sides, and 28x28 allows at most 2"):
        glow_backbone((1, 28, 28), GlowConfig(levels=3))
    with pytest.raises(ConfigError, match=r"levels = 1 for shape \(6,\): only images"):
        glow_backbone((6,), GlowConfig(levels=1))
    for shape in ((1,), (1, 1, 1)):
        with pytest.raises(ConfigError, match="at least 2 numbers"):
            glow_backbone(shape, GlowConfig())
    with pytest.raises(ConfigError, match=r"mixing = 'plu': PLUMixing: 2049 channels.*mixing = 'fixed'") as refusal:
        glow_backbone((2049,), GlowConfig(mixing="plu"))
    assert isinstance(refusal.value.__cause__, BijectionError)
    assert glow_backbone((2049,), GlowConfig(mixing="fixed", steps=1, width=1, depth=0)).dim == 2049


def test_mixings_are_learned_where_that_can_be_afforded() -> None:
    g = glow_backbone((200, 4, 4), GlowConfig(levels=2, split=False, steps=1, width=1, depth=0))
    assert [brick.in_shape for brick in g if isinstance(brick, CayleyMixing)] == [(800, 2, 2)]
    assert [brick.in_shape for brick in g if isinstance(brick, FixedOrthogonal)] == [(3200, 1, 1), (3200,)]
    for channels, learned in ((2048, True), (2049, False)):
        assert count(glow_backbone((channels,), GlowConfig(steps=1, width=1, depth=0)), CayleyMixing) == learned
    long = glow_backbone((4096,), GlowConfig(steps=2, width=1, depth=0)).double()
    x = normal(2, 4096)
    assert largest(long.inverse(long(x)) - x) < 1e-10
    with pytest.raises(ConfigError, match=r"mixing = 'cayley': CayleyMixing: 4096 channels.*mixing = 'fixed'"):
        glow_backbone((4096,), GlowConfig(mixing="cayley"))
    assert f"cayley up to {CAYLEY_LIMIT:,} channels" in str(GlowConfig.model_fields["mixing"].description)


@pytest.mark.parametrize(
    "options", [{"steps": 0}, {"levels": -1}, {"log_scale_bound": 0}, {"log_scale_bound": 81}, {"log_scale_budget": 81}, {"mixing": "dense"}, {"couplings": 3}]
)
def test_invalid_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        GlowConfig.model_validate(options)


def test_it_is_registered_and_its_hook_needs_no_torch() -> None:
    (spec,) = linearizer_backbones()
    spec.check()
    assert spec.load_target() is glow_backbone
    assert spec.load_config() is GlowConfig
    assert isinstance(create_backbone("glow", (1, 8, 8), steps=1), Chain)
    code = "import sys, linearizer_glow.hooks, linearizer_glow.config; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
