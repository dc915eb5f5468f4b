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

from linearizer_core.backbone_options import LARGEST_LOG_SCALE
from linearizer_core.bijections import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    CayleyMixing,
    Chain,
    Coupling,
    ElementwiseAffine,
    FixedAffine,
    FixedOrthogonal,
    HaarSqueeze,
    PixelSqueeze,
    SplineCoupling,
)
from linearizer_core.config import NormalizeConfig
from linearizer_core.errors import BijectionError, ConfigError
from linearizer_core.testing.perturb import perturb
from linearizer_coupling.backbone import coupling_backbone
from linearizer_coupling.config import CouplingConfig, DenseConfig, LevelConfig, SplineConfig, TimmConfig
from linearizer_coupling.hooks import linearizer_backbones

from .chains import additive_gain, count, gains, kinds, labels, largest, log_volume, normal, perturbed

SMALL = DenseConfig(couplings=2, width=8)


PAIR = ["ElementwiseAffine", "FixedOrthogonal", "AffineCoupling", "AffineCoupling"]


def test_the_default_for_mnist_is_the_measured_architecture() -> None:
    g = coupling_backbone((1, 28, 28), CouplingConfig())
    assert kinds(g) == ["HaarSqueeze", *PAIR, "HaarSqueeze", *PAIR * 2, "Flatten", *PAIR * 4, "ElementwiseAffine", "FixedOrthogonal"]
    couplings = [bijection for bijection in g if isinstance(bijection, AffineCoupling)]
    assert [coupling.in_shape for coupling in couplings] == [(4, 14, 14)] * 2 + [(16, 7, 7)] * 4 + [(784,)] * 8
    assert [coupling.flip for coupling in couplings] == [False, True] * 7
    assert [coupling.conditioner.mixing is not None for coupling in couplings[:6]] == [False] * 2 + [True] * 4
    # By default the log-scales of all couplings together stay below 4.
    assert {coupling.log_scale_bound for coupling in couplings} == {4 / 14}
    assert round(sum(parameter.numel() for parameter in g.parameters()) / 1e6, 1) == 7.2


def test_the_conditional_flow_of_the_latents() -> None:
    config = CouplingConfig(dense=DenseConfig(couplings=8, width=256), class_scale=True, final_mixing=False, log_scale_bound=1.5)
    h = coupling_backbone((32,), config, {"label": 10})
    assert kinds(h) == [*PAIR * 4, "ElementwiseAffine"]
    assert h.conditions == {"label": 10}
    assert all(bijection.categories == ("label", 10) for bijection in h if isinstance(bijection, ElementwiseAffine))
    assert all(bijection.log_scale_bound == 1.5 for bijection in h if isinstance(bijection, AffineCoupling))
    assert round(sum(parameter.numel() for parameter in h.parameters()) / 1e6, 2) == 0.65


def test_a_new_backbone_is_orthogonal() -> None:
    g = coupling_backbone((1, 8, 6), CouplingConfig()).double()
    x = torch.randn(3, 1, 8, 6, dtype=torch.float64)
    z, logdet = g.forward_and_logdet(x)
    assert torch.allclose(z.norm(dim=1), x.flatten(1).norm(dim=1), rtol=1e-13)
    assert largest(logdet) == 0


shapes = st.tuples(st.integers(1, 40)) | st.tuples(st.integers(1, 5), st.integers(1, 5)) | st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(1, 20))


@settings(deadline=None, max_examples=20)
@given(shapes)
def test_defaults_suit_any_shape(shape: tuple[int, ...]) -> None:
    g = perturbed(coupling_backbone(shape, CouplingConfig()).double(), 0.02)
    x = torch.rand(2, *shape, dtype=torch.float64)
    z = g(x)
    assert z.shape == (2, g.dim)
    assert largest(g.inverse(z) - x) < 1e-11


OPTIONS = [
    {"mixing": "cayley"},
    {"norm": "actnorm"},
    {"norm": "none"},
    {"coupling": "additive"},
    {"levels": (LevelConfig(squeeze="pixel", couplings=3, width=8, depth=2),)},
    {"class_scale": True},
    {"class_scale": True, "norm": "actnorm"},
    {"normalize": NormalizeConfig(shift=-0.5, scale=(2.0, 3.0, 4.0))},
    {"final_mixing": False, "log_scale_bound": 0.5},
    {"levels": (), "dense": DenseConfig(couplings=0)},
    {"coupling": "spline"},
    {"coupling": "spline", "spline": SplineConfig(bins=3, interval=2.0), "dense": DenseConfig(couplings=3, width=8, mask="alternating")},
    {"levels": (LevelConfig(squeeze="none", mask="checkerboard", width=8), LevelConfig(mask="alternating", width=8))},
    {"levels": (LevelConfig(conditioner="resnet", width=8), LevelConfig(squeeze="none", conditioner="unet", mask="checkerboard", width=4))},
    {"levels": (LevelConfig(conditioner="timm", width=8, timm=TimmConfig(heads=2)),)},
    {"lipschitz": 0.5, "log_scale_budget": 1.0, "norm_log_scale_bound": 0.1},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ", ".join(options))
def test_every_option_inverts_tells_its_volume_and_saves(options: dict[str, object]) -> None:
    config = CouplingConfig(**{"dense": SMALL, **options})  # type: ignore[arg-type]
    g = coupling_backbone((3, 4, 6), config, {"label": 4}).double()
    x, condition = torch.rand(3, 3, 4, 6, dtype=torch.float64), labels(0, 1, 3)
    g(x, condition)  # sets what is set from data
    perturbed(g, 0.02)
    z, logdet = g.forward_and_logdet(x, condition)
    back, inverse_logdet = g.inverse_and_logdet(z, condition)
    assert largest(back - x) < 1e-12
    assert largest(logdet + inverse_logdet) < 1e-11
    assert log_volume(g, x[:1], labels(0)) == pytest.approx(float(logdet[0].detach()), abs=1e-10)
    fresh = coupling_backbone((3, 4, 6), config, {"label": 4}).double()
    fresh.load_state_dict(g.state_dict())
    assert torch.equal(fresh.inverse(z, condition), back)


def test_options_choose_bricks() -> None:
    def members(shape: tuple[int, ...] = (3, 4, 4), conditions: dict[str, int] | None = None, **options: object) -> Chain:
        return coupling_backbone(shape, CouplingConfig(**{"dense": SMALL, **options}), conditions)  # type: ignore[arg-type]

    plain = members()
    assert count(members(mixing="cayley"), CayleyMixing) == count(plain, FixedOrthogonal) == 3
    assert count(members(norm="actnorm"), ActNorm) == count(plain, ElementwiseAffine) == 3
    assert count(members(norm="none"), ElementwiseAffine) == 0
    assert count(members(coupling="additive"), AdditiveCoupling) == count(plain, AffineCoupling) == 4
    assert count(members(levels=(LevelConfig(squeeze="pixel"),)), PixelSqueeze) == count(plain, HaarSqueeze) == 1
    assert count(members(final_mixing=False), FixedOrthogonal) == 2
    assert isinstance(members(normalize=NormalizeConfig(scale=2.0))[0], FixedAffine)
    scaled = members((6,), {"label": 2, "style": 3}, class_scale=True, norm="actnorm")
    assert kinds(scaled)[:3] == ["ActNorm", "ElementwiseAffine", "ElementwiseAffine"]
    assert scaled.conditions == {"label": 2, "style": 3}


def couplings_of(chain: Chain) -> list[Coupling]:
    return [bijection for bijection in chain if isinstance(bijection, Coupling)]


def test_levels_choose_masks_and_conditioners() -> None:
    levels = (
        LevelConfig(squeeze="none", couplings=2, mask="checkerboard", conditioner="unet", width=4, depth=2),
        LevelConfig(couplings=1, conditioner="timm", width=8, depth=2, timm=TimmConfig(block="convnext", patch=2)),
        LevelConfig(squeeze="none", couplings=1, mask="alternating", conditioner="resnet", width=8, depth=3),
    )
    g = coupling_backbone((3, 8, 4), CouplingConfig(levels=levels, dense=DenseConfig(couplings=2, width=8, mask="alternating")))
    couplings = couplings_of(g)
    assert [type(each.conditioner).__name__ for each in couplings] == ["UNetConditioner"] * 2 + ["TimmConditioner", "ResNetConditioner"] + [
        "MLPConditioner"
    ] * 2
    assert [type(each.mask).__name__ for each in couplings] == ["CheckerboardMask"] * 2 + ["HalvesMask"] + ["AlternatingMask"] * 3
    assert [each.in_shape for each in couplings] == [(3, 8, 4)] * 2 + [(12, 4, 2)] * 2 + [(96,)] * 2
    unet, timm, resnet = (couplings[position].conditioner for position in (0, 2, 3))
    assert [len(unet.halvings), len(timm.blocks), len(resnet.blocks)] == [2, 2, 3]
    assert (timm.patch, type(timm.blocks[0]).__name__) == (2, "ConvNeXtBlock")


def test_spline_options_reach_the_couplings() -> None:
    g = coupling_backbone((4,), CouplingConfig(coupling="spline", dense=SMALL, spline=SplineConfig(bins=5, interval=1.5)))
    assert [(each.bins, each.interval) for each in g if isinstance(each, SplineCoupling)] == [(5, 1.5)] * 2


def test_single_channels_and_odd_sides_get_checkerboards() -> None:
    g = coupling_backbone((1, 7, 5), CouplingConfig(levels=(LevelConfig(squeeze="none", mask="checkerboard", width=4),), dense=SMALL)).double()
    x = torch.rand(2, 1, 7, 5, dtype=torch.float64)
    assert largest(perturbed(g, 0.02).inverse(g(x)) - x) < 1e-12


FIVE = {"levels": (LevelConfig(couplings=3, width=4),), "dense": SMALL}


def five(coupling: str, conditions: dict[str, int] | None = None, **options: object) -> Chain:
    """Five couplings and four normalisations, in float64."""
    return coupling_backbone((1, 4, 4), CouplingConfig.model_validate({"coupling": coupling, **FIVE, **options}), conditions).double()


def bounds_of_couplings(g: Chain) -> list[float]:
    affine = [bijection.log_scale_bound for bijection in g if isinstance(bijection, AffineCoupling)]
    return affine + [math.log(bijection.slope_bound) for bijection in g if isinstance(bijection, SplineCoupling)]


@pytest.mark.parametrize("coupling", ["affine", "spline"])
def test_couplings_share_the_budget_equally(coupling: str) -> None:
    assert bounds_of_couplings(five(coupling, log_scale_budget=3.0)) == pytest.approx([0.6] * 5)
    assert bounds_of_couplings(five(coupling, log_scale_bound=0.25)) == pytest.approx([0.25] * 5)
    assert sum(bounds_of_couplings(coupling_backbone((1, 28, 28), CouplingConfig(coupling=coupling)))) == pytest.approx(4.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("coupling", ["affine", "spline"])
def test_the_largest_bound_can_be_built_and_called(coupling: str) -> None:
    g = five(coupling, log_scale_bound=LARGEST_LOG_SCALE)
    assert bool(g(torch.rand(1, 1, 4, 4, dtype=torch.float64)).isfinite().all())


@pytest.mark.parametrize("class_scale", [False, True])
def test_the_bound_of_norms_reaches_every_norm(class_scale: bool) -> None:
    for bound in (None, 0.1):
        g = five("affine", {"label": 2, "style": 3}, norm_log_scale_bound=bound, class_scale=class_scale)
        assert [each.log_scale_bound for each in g if isinstance(each, ElementwiseAffine)] == [bound] * (8 if class_scale else 4)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("coupling", ["affine", "spline"])
def test_extreme_weights_reach_the_bounds_and_not_more(coupling: str, sign: int) -> None:
    g = five(coupling, log_scale_budget=1.5, norm_log_scale_bound=0.1)
    for name, parameter in g.named_parameters():
        torch.nn.init.constant_(parameter, sign * 1e3 if name.endswith(("log_scale", "last.bias")) else 0.0)
    logdet = float(g.forward_and_logdet(torch.rand(1, 1, 4, 4, dtype=torch.float64))[1].detach())
    # Norms scale all 16 numbers, couplings 8 of them.
    of_couplings = (logdet - sign * 4 * 16 * 0.1) / (8 * 1.5)
    assert of_couplings == pytest.approx(sign) if coupling == "affine" else 0 < abs(of_couplings) < 1


SAFE = [
    {"norm": "none"},
    {"norm_log_scale_bound": 0.1},
    {"norm_log_scale_bound": 0.1, "class_scale": True},
]
UNSAFE = [{"norm": "none", "lipschitz": None}, {"norm": "affine"}, {"norm": "actnorm"}]


def wild(coupling: str, **options: object) -> Chain:
    """Weights that no training reaches."""
    g = five(coupling, {"label": 2}, **{"lipschitz": 0.5, **options})
    condition = labels(1)
    g(normal(4, 1, 4, 4), condition)  # sets what is set from data
    torch.manual_seed(0)
    for parameter in g.parameters():
        torch.nn.init.normal_(parameter, std=3.0)
    return g


FAR = (0.0, 1.0, 30.0, 1e3)


@pytest.mark.parametrize("options", SAFE + UNSAFE, ids=str)
def test_additive_couplings_with_bounds_have_the_gain_that_is_promised(options: dict[str, object]) -> None:
    g = wild("additive", **options)
    found = [max(gains(g, scale * normal(1, 1, 4, 4), labels(1))) for scale in FAR]
    assert max(found) > 1.05
    assert (max(found) <= additive_gain(0.5) ** 5 * math.exp(4 * 0.1)) == (options in SAFE)


@pytest.mark.parametrize("coupling", ["affine", "spline"])
def test_far_off_the_gain_of_splines_with_bounds_does_not_grow_and_that_of_affine_couplings_does(coupling: str) -> None:
    g = wild(coupling, norm_log_scale_bound=0.1)
    near, far = (max(max(gains(g, scale * normal(1, 1, 4, 4, seed=seed), labels(1))) for seed in range(8)) for scale in (1.0, 1e3))
    assert far < near if coupling == "spline" else far > 10 * near


def test_options_that_exclude_each_other_are_named() -> None:
    def build(conditions: dict[str, int] | None = None, **options: object) -> Chain:
        return coupling_backbone((1, 4, 4), CouplingConfig(**{"dense": SMALL, **options}), conditions)  # type: ignore[arg-type]

    with pytest.raises(ValidationError, match=r"norm_log_scale_bound = 0\.1 with norm = 'actnorm', whose scales come from data; give norm = 'affine'"):
        CouplingConfig(norm="actnorm", norm_log_scale_bound=0.1)
    with pytest.raises(ValidationError, match="norm = 'actnorm'"):
        CouplingConfig(norm="actnorm", norm_log_scale_bound=0.1, class_scale=True)
    with pytest.raises(ValidationError, match="norm = 'none', which has no scales to bound"):
        CouplingConfig(norm="none", norm_log_scale_bound=0.1)
    assert build({"label": 2}, norm="none", norm_log_scale_bound=0.1, class_scale=True).conditions == {"label": 2}
    with pytest.raises(ValidationError, match=r"log_scale_bound = 0\.5 takes .* log_scale_budget = 4\.0 is given too; give one of them"):
        CouplingConfig(log_scale_bound=0.5, log_scale_budget=4.0)
    assert CouplingConfig(log_scale_bound=None, log_scale_budget=3.0).log_scale_budget == 3
    with pytest.raises(ConfigError, match="token_mixing = true with conditioner = 'unet'"):
        build(levels=(LevelConfig(token_mixing=True, conditioner="unet"),))
    with pytest.raises(ConfigError, match=r"lipschitz = 0.5 with conditioner = 'resnet'.*give conditioner = 'conv'"):
        build(lipschitz=0.5, levels=(LevelConfig(conditioner="resnet"),))
    with pytest.raises(BijectionError, match="'checkerboard' on shape"):
        coupling_backbone((3, 1, 1), CouplingConfig(levels=(LevelConfig(squeeze="none", mask="checkerboard"),), dense=SMALL))


def test_every_mixing_draws_its_own_matrix_and_the_seed_decides() -> None:
    def first_rows(seed: int) -> list[Tensor]:
        g = coupling_backbone((12,), CouplingConfig(dense=DenseConfig(couplings=6, width=4), seed=seed))
        return [mixing.factors["right"][0] for mixing in g if isinstance(mixing, FixedOrthogonal)]

    assert all(not torch.equal(left, right) for left, right in pairwise(first_rows(0)))
    assert all(torch.equal(left, right) for left, right in zip(first_rows(1), first_rows(1), strict=True))
    assert not any(torch.equal(left, right) for left in first_rows(0) for right in first_rows(1))


def test_every_conditioner_hears_the_condition() -> None:
    g = coupling_backbone((1, 4, 4), CouplingConfig(dense=SMALL), {"label": 3})
    for coupling in g:
        if isinstance(coupling, AffineCoupling):
            torch.nn.init.normal_(coupling.conditioner.last.weight)
            x = torch.randn(1, *coupling.in_shape)
            images = [coupling(x, labels(label)) for label in (0, 2)]
            assert largest(images[0] - images[1]) > 1e-3


def test_levels_that_do_not_fit_say_what_does() -> None:
    three = CouplingConfig(levels=(LevelConfig(),) * 3)
    with pytest.raises(ConfigError, match="levels: 3 given, but 28x28 can be halved twice; give at most 2"):
        coupling_backbone((1, 28, 28), three)
    with pytest.raises(ConfigError, match="levels: 2 given, but 6x8 can be halved once; give at most 1, pad the images, or set squeeze = 'none'"):
        coupling_backbone((1, 6, 8), CouplingConfig(levels=(LevelConfig(squeeze="none"), LevelConfig(), LevelConfig())))
    with pytest.raises(ConfigError, match="7x8 can be halved not at all"):
        coupling_backbone((1, 7, 8), three)
    with pytest.raises(ConfigError, match="6x8 can be halved once"):
        coupling_backbone((1, 6, 8), three)
    with pytest.raises(ConfigError, match=r"3 given for shape \(64,\); only images"):
        coupling_backbone((64,), three)
    assert coupling_backbone((1, 8, 8), three).out_shape == (64,)


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(ConfigError, match="class_scale = true, but this backbone has no condition"):
        coupling_backbone((4,), CouplingConfig(class_scale=True))
    with pytest.raises(BijectionError, match="at least 2 channels"):
        coupling_backbone((1,), CouplingConfig(dense=SMALL))


@pytest.mark.parametrize(
    "options",
    [{"kind": "affine"}, {"log_scale_bound": 0}, {"log_scale_bound": 81}, {"log_scale_budget": 81}, {"mixing": "plu"}, {"levels": ({"couplings": -1},)}],
)
def test_invalid_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CouplingConfig.model_validate(options)


def test_default_levels_for_common_sizes() -> None:
    def grids(side: int) -> list[tuple[int, bool]]:
        return [(side >> position + 1, level.token_mixing) for position, level in enumerate(CouplingConfig().levels_for((3, side, side)))]

    assert grids(32) == [(16, False), (8, True)]
    assert grids(64) == [(32, False), (16, False), (8, True)]
    assert grids(8) == [(4, False)]
    assert grids(7) == []


def test_large_images_have_no_dense_couplings() -> None:
    assert CouplingConfig().dense_for((3, 64, 64)).couplings == 0
    assert CouplingConfig().dense_for((3, 32, 32)).couplings == 8
    assert CouplingConfig(dense=SMALL).dense_for((3, 64, 64)) == SMALL


def test_the_hook_names_what_exists_without_torch() -> None:
    (spec,) = linearizer_backbones()
    spec.check()
    assert "norm_log_scale_bound" in spec.details
    assert spec.load_target() is coupling_backbone
    assert spec.load_config() is CouplingConfig
    code = "import sys, linearizer_coupling.hooks, linearizer_coupling.config; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_shifts_are_bounded_far_off_the_data() -> None:
    options = {"levels": [{"couplings": 2, "width": 8}], "dense": {"couplings": 4, "width": 16}, "log_scale_budget": 0.01, "norm": "none"}
    x = 1e4 * torch.randn(4, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    moved = {}
    for bound in (None, 0.5):
        torch.manual_seed(0)
        g = coupling_backbone((1, 8, 8), CouplingConfig.model_validate({**options, "shift_bound": bound})).double()
        perturb(g)
        with torch.no_grad():
            moved[bound] = abs(float((g(x).square().sum().sqrt() / x.square().sum().sqrt()) - 1))
    assert moved[0.5] < 0.01 + 1e-3  # what the scales do
    assert moved[None] > 3 * moved[0.5]


def test_splines_have_no_shift_to_bound() -> None:
    with pytest.raises(ValidationError, match=r"shift_bound = 1.0 with coupling = 'spline', which moves nothing out of its interval"):
        CouplingConfig(coupling="spline", shift_bound=1.0)
