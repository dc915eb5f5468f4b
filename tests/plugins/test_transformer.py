from __future__ import annotations

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
    CayleyMixing,
    Chain,
    ElementwiseAffine,
    FixedAffine,
    FixedOrthogonal,
    Flatten,
    PatchSqueeze,
    Permutation,
)
from linearizer_core.condition import Condition
from linearizer_core.config import NormalizeConfig
from linearizer_core.errors import ConditionError, ConfigError
from linearizer_core.extras import missing_extra
from linearizer_transformer.backbone import transformer_backbone
from linearizer_transformer.config import TransformerConfig
from linearizer_transformer.hooks import linearizer_backbones

from .chains import count, kinds, labels, largest, log_volume, perturbed

LABEL = {"label": 3}
TINY = {"couplings": 3, "width": 8, "heads": 2}


def tiny(shape: tuple[int, ...], conditions: dict[str, int] | None = None, **options: object) -> Chain:
    return transformer_backbone(shape, TransformerConfig.model_validate(TINY | options), conditions)


def moved(shape: tuple[int, ...], conditions: dict[str, int] | None = None, **options: object) -> Chain:
    """In float64, its weights away from the initial ones."""
    return perturbed(tiny(shape, conditions, **options).double(), 0.2)


def test_the_default_for_mnist() -> None:
    g = transformer_backbone((1, 28, 28), TransformerConfig())
    assert kinds(g) == [
        "PatchSqueeze",
        *["FixedOrthogonal", "AffineCoupling", "AffineCoupling"] * 8,
        "ElementwiseAffine",
        "Flatten",
        "FixedOrthogonal",
    ]
    couplings = [bijection for bijection in g if isinstance(bijection, AffineCoupling)]
    assert {coupling.in_shape for coupling in couplings} == {(16, 7, 7)}
    assert [coupling.flip for coupling in couplings] == [False, True] * 8
    assert {coupling.log_scale_bound for coupling in couplings} == {2 / 16}
    assert g.out_shape == (784,)
    assert round(sum(parameter.numel() for parameter in g.parameters()) / 1e6, 2) == 0.88


@pytest.mark.parametrize("shape", [(3, 4, 6), (2, 6), (12,)])
def test_a_new_backbone_is_a_rotation(shape: tuple[int, ...]) -> None:
    g = tiny(shape).double()
    x = torch.randn(3, *shape, dtype=torch.float64)
    z, logdet = g.forward_and_logdet(x)
    assert torch.allclose(z.norm(dim=1), x.flatten(1).norm(dim=1), rtol=1e-13)
    assert largest(g(x + 1) - g(x) - (g(2 * x + 1) - g(2 * x))) < 1e-13
    assert largest(logdet) == 0


def test_with_permutations_a_new_backbone_moves_pixels_and_nothing_else() -> None:
    g = tiny((3, 4, 6), mixing="permutation")
    x = torch.randn(2, 3, 4, 6)
    assert torch.equal(g(x).sort(1).values, x.flatten(1).sort(1).values)


images = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)).filter(lambda shape: shape[0] > 1 or (shape[1] % 2 == shape[2] % 2 == 0))
vectors = st.integers(2, 6).flatmap(lambda tokens: st.integers(2, 6).map(lambda length: (tokens * length,))) | st.tuples(st.integers(2, 5), st.integers(2, 5))


@settings(deadline=None, max_examples=20)
@given(images | vectors, st.integers(1, 3), st.sampled_from(["affine", "additive"]))
def test_both_round_trips_for_any_shape(shape: tuple[int, ...], batch: int, coupling: str) -> None:
    g = moved(shape, LABEL, coupling=coupling)
    condition = labels(*range(batch))
    x = torch.rand(batch, *shape, dtype=torch.float64)
    z = g(x, condition)
    assert z.shape == (batch, g.dim)
    assert largest(g.inverse(z, condition) - x) < 1e-11
    z = torch.randn(batch, g.dim, dtype=torch.float64)
    assert largest(g(g.inverse(z, condition), condition) - z) < 1e-11
    if batch > 1:
        assert largest(g(x[:1], labels(0)) - g(x, condition)[:1]) < 1e-12


OPTIONS: list[dict[str, object]] = [
    {},
    {"coupling": "additive"},
    {"mixing": "cayley"},
    {"mixing": "permutation", "norm": "none"},
    {"class_scale": True, "final_mixing": False},
    {"class_scale": True, "norm": "actnorm"},
    {"normalize": NormalizeConfig(shift=-0.5, scale=(2.0, 3.0, 4.0)), "patch": 1},
    {"blocks": 0, "couplings": 2, "patch": 2},
    {"couplings": 0},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ", ".join(options) or "default")
def test_every_option_inverts_tells_its_volume_and_saves(options: dict[str, object]) -> None:
    g = tiny((3, 2, 4), LABEL, **options).double()
    x, condition = torch.rand(3, 3, 2, 4, dtype=torch.float64), labels(0, 1, 2)
    g(x, condition)  # sets what is set from data
    perturbed(g, 0.2)
    z, logdet = g.forward_and_logdet(x, condition)
    back, inverse_logdet = g.inverse_and_logdet(z, condition)
    assert torch.equal(z, g(x, condition))
    assert largest(back - x) < 1e-12
    assert largest(logdet + inverse_logdet) < 1e-11
    assert log_volume(g, x[:1], labels(0)) == pytest.approx(float(logdet[0].detach()), abs=1e-10)
    torch.manual_seed(1)
    fresh = tiny((3, 2, 4), LABEL, **options).double()
    fresh.load_state_dict(g.state_dict())
    assert torch.equal(fresh.inverse(z, condition), back)


def test_modes_and_gradients_change_no_bit() -> None:
    g = moved((1, 8, 8), LABEL).float().train()
    x, condition = torch.rand(2, 1, 8, 8), labels(1, 2)
    z = g(x, condition)
    back = g.inverse(z, condition)
    for each in (g, g.eval()):
        with torch.no_grad():
            assert torch.equal(each(x, condition), z)
            assert torch.equal(each.inverse(z, condition), back)
        assert torch.equal(each(x.clone().requires_grad_(), condition), z)


def test_round_trips_in_float32_and_under_autocast() -> None:
    g = perturbed(tiny((1, 8, 8), couplings=16), 0.1)
    x = torch.rand(4, 1, 8, 8)
    assert largest(g.inverse(g(x)) - x) < 1e-5
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = g(x)
        back = g.inverse(z)
    assert z.dtype == back.dtype == torch.float32
    assert largest(back - x) < 5e-2


def test_conditions_are_used_and_required() -> None:
    g = moved((1, 4, 4), {"label": 3, "style": 2})
    x = torch.rand(1, 1, 4, 4, dtype=torch.float64)
    label, style = torch.tensor([0]), torch.tensor([1])
    z = g(x, Condition(label=label, style=style))
    assert largest(z - g(x, Condition(label=label + 1, style=style))) > 1e-3
    assert largest(z - g(x, Condition(label=label, style=style - 1))) > 1e-3
    with pytest.raises(ConditionError, match="style"):
        g.inverse(z, Condition(label=label))
    for coupling in (brick for brick in g if isinstance(brick, AffineCoupling)):
        inner = torch.rand(1, *coupling.in_shape, dtype=torch.float64)
        images = [coupling(inner, Condition(label=torch.tensor([value]), style=style)) for value in (0, 2)]
        assert largest(images[0] - images[1]) > 1e-3


def test_every_patch_sees_every_other() -> None:
    g = moved((1, 8, 8), couplings=2, final_mixing=False, norm="none")
    x = torch.rand(1, 1, 8, 8, dtype=torch.float64)
    touched = x.clone()
    touched[..., 0, 0] += 1
    assert bool(((g(touched) - g(x)).reshape(4, 4, 4).abs().sum(0) > 0).all())


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(("couplings", "budget"), [(2, 0.3), (8, 2.0)])
def test_the_budget_is_what_all_couplings_scale_at_most(couplings: int, budget: float, sign: int) -> None:
    g = tiny((1, 4, 4), couplings=couplings, log_scale_budget=budget, norm="none").double()
    with torch.no_grad():
        for coupling in g:
            if isinstance(coupling, AffineCoupling):
                coupling.conditioner.last.bias.fill_(sign * 100)
    _, logdet = g.forward_and_logdet(torch.randn(2, 1, 4, 4, dtype=torch.float64))
    assert torch.allclose(logdet, torch.full_like(logdet, sign * budget * g.dim / 2), rtol=1e-12)


@pytest.mark.parametrize("class_scale", [False, True])
def test_the_bound_of_norms_is_kept_whatever_the_weights(class_scale: bool) -> None:
    g = tiny((1, 4, 4), {"label": 3, "style": 2}, coupling="additive", norm_log_scale_bound=0.1, class_scale=class_scale).double()
    with torch.no_grad():
        for brick in g:
            if isinstance(brick, ElementwiseAffine):
                brick.log_scale.fill_(1e3)
    x, condition = torch.randn(1, 1, 4, 4, dtype=torch.float64), Condition(label=torch.tensor([1]), style=torch.tensor([0]))
    assert float(g.forward_and_logdet(x, condition)[1].detach()) == pytest.approx(16 * 0.1 * (2 if class_scale else 1))


def test_a_bound_that_nothing_keeps_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"norm_log_scale_bound = 0\.1 with norm = 'actnorm', whose scales come from data; give norm = 'affine'"):
        TransformerConfig(norm="actnorm", norm_log_scale_bound=0.1)
    with pytest.raises(ValidationError, match="norm = 'actnorm'"):
        TransformerConfig(norm="actnorm", norm_log_scale_bound=0.1, class_scale=True)
    with pytest.raises(ValidationError, match="norm = 'none', which has no scales to bound"):
        TransformerConfig(norm="none", norm_log_scale_bound=0.1)
    assert TransformerConfig(norm="none", norm_log_scale_bound=0.1, class_scale=True).norm_log_scale_bound == 0.1


def test_options_choose_bricks() -> None:
    shape = (3, 4, 4)
    assert count(tiny(shape), FixedOrthogonal) == 3
    assert (count(tiny(shape, mixing="cayley"), CayleyMixing), count(tiny(shape, mixing="cayley"), FixedOrthogonal)) == (2, 1)
    assert count(tiny(shape, mixing="permutation"), Permutation) == 3
    assert count(tiny(shape, final_mixing=False), FixedOrthogonal) == 2
    assert count(tiny(shape, norm="none"), ElementwiseAffine) == 0
    assert count(tiny(shape, coupling="additive"), AdditiveCoupling) == 3
    assert isinstance(tiny(shape, normalize=NormalizeConfig(scale=2.0))[0], FixedAffine)
    assert (count(tiny(shape, norm="actnorm"), ActNorm), count(tiny(shape, norm="actnorm"), ElementwiseAffine)) == (1, 0)
    for norm in ("affine", "actnorm"):
        chain = tiny(shape, {"label": 2, "style": 3}, class_scale=True, norm=norm)
        assert [brick.categories for brick in chain if isinstance(brick, ElementwiseAffine)] == [("label", 2), ("style", 3)]
        assert count(chain, ActNorm) == (norm == "actnorm")
    (deep,) = (brick for brick in tiny(shape, couplings=1, blocks=3) if isinstance(brick, AffineCoupling))
    assert len(deep.conditioner.blocks) == 3


def test_every_mixing_draws_its_own_matrix_and_the_seed_decides() -> None:
    def first_rows(seed: int) -> list[Tensor]:
        g = tiny((12, 1, 2), couplings=6, seed=seed, final_mixing=False)
        return [mixing.factors["right"][0] for mixing in g if isinstance(mixing, FixedOrthogonal)]

    assert all(not torch.equal(left, right) for left, right in pairwise(first_rows(0)))
    assert all(torch.equal(left, right) for left, right in zip(first_rows(1), first_rows(1), strict=True))
    assert not any(torch.equal(left, right) for left in first_rows(0) for right in first_rows(1))


# --- patches and tokens ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "side"),
    [
        ((1, 8, 8), 2),
        ((3, 8, 8), 1),
        ((1, 28, 28), 4),
        ((3, 32, 32), 4),
        ((3, 64, 64), 4),
        ((1, 30, 30), 2),
        ((3, 7, 5), 1),
        ((1, 2, 6), 2),
    ],
)
def test_patches_are_chosen_by_shape(shape: tuple[int, ...], side: int) -> None:
    assert TransformerConfig().patch_for(shape) == (side, side)


@pytest.mark.parametrize(("dim", "length"), [(4, 2), (6, 3), (10, 5), (12, 4), (16, 4), (32, 8), (784, 28)])
def test_tokens_are_chosen_by_size(dim: int, length: int) -> None:
    assert TransformerConfig().patch_for((dim,)) == (length, 1)


def test_patches_and_tokens_can_be_chosen() -> None:
    squeezes = [next(brick for brick in chain if isinstance(brick, PatchSqueeze)) for chain in (tiny((1, 9, 6), patch=3), tiny((12,), tokens=6))]
    assert [squeeze.out_shape for squeeze in squeezes] == [(9, 3, 2), (2, 6, 1)]


def test_a_token_of_a_vector_is_a_run_of_coordinates() -> None:
    g = tiny((12,), tokens=3, couplings=0, norm="none", final_mixing=False)
    assert kinds(g) == ["Inverse", "PatchSqueeze", "Flatten"]
    assert Chain(*list(g)[:2])(torch.arange(12.0)[None])[0, :, 1, 0].tolist() == [4, 5, 6, 7]
    assert isinstance(tiny((3, 4))[0], Flatten)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 28, 28), {"patch": 8}, "patch = 8 does not tile 28x28; choose a divisor of 28, or pad the images"),
        ((1, 9, 15), {}, "9x15 pixels of 1 channel in patches of 1x1: a coupling needs patches of at least 2 numbers; give patch = 3"),
        ((1, 7, 8), {}, "7x8 pixels of 1 channel.*pad the images to even sizes"),
        ((1, 8, 8), {"patch": 1}, "8x8 pixels of 1 channel.*give patch = 2"),
        ((1, 8, 8), {"tokens": 4}, "tokens = 4 given for an image of 8x8"),
        ((12,), {"patch": 2}, "patch = 2 given for a vector of 12"),
        ((12,), {"tokens": 5}, "tokens = 5 given for a vector of 12; choose one of 2, 3, 4, 6"),
        ((7,), {}, "a vector of 7 cannot be cut into 2 or more tokens.*use the backbone coupling"),
        ((2,), {}, "a vector of 2 cannot be cut"),
        ((1, 8, 8), {"class_scale": True}, "class_scale = true, but this backbone has no condition"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_fix(shape: tuple[int, ...], options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny(shape, **options)


@pytest.mark.parametrize(
    "options", [{"kind": "vit"}, {"log_scale_budget": 0}, {"log_scale_budget": 81}, {"mixing": "plu"}, {"width": 30, "heads": 4}, {"tokens": 1}]
)
def test_invalid_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TransformerConfig.model_validate(options)


# --- the plugin --------------------------------------------------------------------------------------------


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ["timm", *(name for name in sys.modules if name.startswith("timm."))]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError) as caught:
        tiny((1, 4, 4))
    assert missing_extra(caught.value) == "the package 'timm' is not installed; pip install 'linearizer[timm]'"


def test_the_hook_names_what_exists_without_torch() -> None:
    (spec,) = linearizer_backbones()
    spec.check()
    assert spec.load_target() is transformer_backbone
    assert spec.load_config() is TransformerConfig
    code = "import sys, linearizer_transformer.hooks, linearizer_transformer.config; sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
