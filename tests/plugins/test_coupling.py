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
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    Bijection,
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
from linearizer_core.condition import Condition
from linearizer_core.config import NormalizeConfig
from linearizer_core.errors import BijectionError, ConfigError
from linearizer_coupling.backbone import coupling_backbone
from linearizer_coupling.config import CouplingConfig, DenseConfig, LevelConfig, SplineConfig, TimmConfig
from linearizer_coupling.hooks import linearizer_backbones

SMALL = DenseConfig(couplings=2, width=8)


def kinds(bijections: Chain) -> list[str]:
    return [type(bijection).__name__ for bijection in bijections]


def perturbed(bijection: Bijection) -> Bijection:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in bijection.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    return bijection


def largest(difference: Tensor) -> float:
    return float(difference.detach().abs().max())


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
    g = perturbed(coupling_backbone(shape, CouplingConfig()).double())
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
    {"coupling": "spline", "spline": SplineConfig(bins=3, interval=2.0, slope_bound=2.0), "dense": DenseConfig(couplings=3, width=8, mask="alternating")},
    {"levels": (LevelConfig(squeeze="none", mask="checkerboard", width=8), LevelConfig(mask="alternating", width=8))},
    {"levels": (LevelConfig(conditioner="resnet", width=8), LevelConfig(squeeze="none", conditioner="unet", mask="checkerboard", width=4))},
    {"levels": (LevelConfig(conditioner="timm", width=8, timm=TimmConfig(heads=2)),)},
    {"coupling": "additive", "lipschitz": 0.5, "log_scale_budget": 2.0},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ", ".join(options))
def test_every_option_inverts_tells_its_volume_and_saves(options: dict[str, object]) -> None:
    config = CouplingConfig(**{"dense": SMALL, **options})  # type: ignore[arg-type]
    g = coupling_backbone((3, 4, 6), config, {"label": 4}).double()
    x, condition = torch.rand(3, 3, 4, 6, dtype=torch.float64), Condition(label=torch.tensor([0, 1, 3]))
    g(x, condition)  # sets what is set from data
    perturbed(g)
    z, logdet = g.forward_and_logdet(x, condition)
    back, inverse_logdet = g.inverse_and_logdet(z, condition)
    assert largest(back - x) < 1e-12
    assert largest(logdet + inverse_logdet) < 1e-11
    row = Condition(label=torch.tensor([0]))
    jacobian = torch.autograd.functional.jacobian(lambda v: g(v, row), x[:1]).reshape(g.dim, g.dim)
    assert float(torch.linalg.slogdet(jacobian).logabsdet) == pytest.approx(float(logdet[0].detach()), abs=1e-10)
    fresh = coupling_backbone((3, 4, 6), config, {"label": 4}).double()
    fresh.load_state_dict(g.state_dict())
    assert torch.equal(fresh.inverse(z, condition), back)


def test_options_choose_bricks() -> None:
    def members(shape: tuple[int, ...] = (3, 4, 4), conditions: dict[str, int] | None = None, **options: object) -> Chain:
        return coupling_backbone(shape, CouplingConfig(**{"dense": SMALL, **options}), conditions)  # type: ignore[arg-type]

    def count(chain: Chain, kind: type[Bijection]) -> int:
        return sum(isinstance(bijection, kind) for bijection in chain)

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
    g = coupling_backbone((4,), CouplingConfig(coupling="spline", dense=SMALL, spline=SplineConfig(bins=5, interval=1.5, slope_bound=7.0)))
    couplings = [bijection for bijection in g if isinstance(bijection, SplineCoupling)]
    assert [(each.bins, each.interval, each.slope_bound) for each in couplings] == [(5, 1.5, 7.0)] * 2


def test_single_channels_and_odd_sides_get_checkerboards() -> None:
    g = coupling_backbone((1, 7, 5), CouplingConfig(levels=(LevelConfig(squeeze="none", mask="checkerboard", width=4),), dense=SMALL)).double()
    x = torch.rand(2, 1, 7, 5, dtype=torch.float64)
    assert largest(perturbed(g).inverse(g(x)) - x) < 1e-12


@pytest.mark.parametrize("coupling", ["affine", "spline", "additive"])
@pytest.mark.parametrize("class_scale", [False, True])
def test_the_budget_is_the_sum_of_all_log_scales(coupling: str, class_scale: bool) -> None:
    config = CouplingConfig(coupling=coupling, log_scale_budget=3.0, levels=(LevelConfig(couplings=3, width=4),), dense=SMALL, class_scale=class_scale)
    g = coupling_backbone((1, 4, 4), config, {"label": 2, "style": 2})
    bounds = [bijection.log_scale_bound for bijection in g if isinstance(bijection, (AffineCoupling, ElementwiseAffine))]
    bounds += [math.log(bijection.slope_bound) for bijection in g if isinstance(bijection, SplineCoupling)]
    assert len(bounds) == (0 if coupling == "additive" else 5) + 4 * (2 if class_scale else 1)
    assert sum(bounds) == pytest.approx(3.0)  # type: ignore[arg-type]
    assert max(bounds) == pytest.approx(min(bounds))  # type: ignore[type-var]


@pytest.mark.parametrize("coupling", ["affine", "spline"])
def test_extreme_weights_reach_the_budget_and_not_more(coupling: str) -> None:
    config = CouplingConfig(coupling=coupling, log_scale_budget=1.4, levels=(LevelConfig(couplings=2, width=4),), dense=SMALL)
    g = coupling_backbone((1, 4, 4), config).double()
    for name, parameter in g.named_parameters():
        torch.nn.init.constant_(parameter, 1e3 if name.endswith(("log_scale", "last.bias")) else 0.0)
    logdet = float(g.forward_and_logdet(torch.rand(1, 1, 4, 4, dtype=torch.float64))[1].detach())
    # Seven scales share the budget: three norms of all 16 elements, four couplings of 8 each.
    share = 1.4 / 7
    of_couplings = (logdet - 3 * 16 * share) / (4 * 8 * share)
    assert of_couplings == pytest.approx(1) if coupling == "affine" else 0 < abs(of_couplings) < 1


def test_lipschitz_couplings_have_a_bounded_gain_everywhere() -> None:
    config = CouplingConfig(coupling="additive", norm="none", lipschitz=0.5, levels=(LevelConfig(couplings=2, width=4),), dense=SMALL)
    g = coupling_backbone((1, 4, 4), config).double()
    torch.manual_seed(0)
    for parameter in g.parameters():
        torch.nn.init.normal_(parameter, std=3.0)
    bound = ((0.5 + math.sqrt(0.25 + 4)) / 2) ** 4
    for x in (torch.rand(1, 1, 4, 4), 1e3 * torch.randn(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)):
        jacobian = torch.autograd.functional.jacobian(g, x.double()).reshape(16, 16)
        gains = torch.linalg.svdvals(jacobian)
        assert 1.05 < float(gains.max()) < bound
        assert 1 / bound < float(gains.min())


def test_options_that_exclude_each_other_are_named() -> None:
    def build(conditions: dict[str, int] | None = None, **options: object) -> Chain:
        return coupling_backbone((1, 4, 4), CouplingConfig(**{"dense": SMALL, **options}), conditions)  # type: ignore[arg-type]

    with pytest.raises(ConfigError, match=r"log_scale_budget = 2.0 and log_scale_bound = 0.5 both bound the scales; leave one"):
        build(log_scale_budget=2.0, log_scale_bound=0.5)
    with pytest.raises(ConfigError, match=r"log_scale_budget = 2.0 and spline.slope_bound = 3.0 both"):
        build(log_scale_budget=2.0, spline=SplineConfig(slope_bound=3.0), coupling="spline")
    with pytest.raises(ConfigError, match=r"norm = 'actnorm': its scales are set from data.*give norm = 'affine' or 'none'"):
        build(log_scale_budget=2.0, norm="actnorm")
    with pytest.raises(ConfigError, match="additive couplings without norm learn no scale"):
        build(log_scale_budget=2.0, coupling="additive", norm="none")
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
            images = [coupling(x, Condition(label=torch.tensor([label]))) for label in (0, 2)]
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


@pytest.mark.parametrize("options", [{"kind": "affine"}, {"log_scale_bound": 0}, {"mixing": "plu"}, {"levels": ({"couplings": -1},)}])
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
    assert "log_scale_bound" in spec.details
    assert spec.load_target() is coupling_backbone
    assert spec.load_config() is CouplingConfig
    code = "import sys, linearizer_coupling.hooks, linearizer_coupling.config; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
