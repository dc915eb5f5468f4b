"""The laws of a bijection, for every brick and with weights that are not the initial ones: zero initialisation hides mistakes."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from linearizer_core.bijections import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    Bijection,
    CayleyMixing,
    Chain,
    ConvConditioner,
    ElementwiseAffine,
    FixedAffine,
    FixedOrthogonal,
    Flatten,
    HaarSqueeze,
    Identity,
    Inverse,
    MLPConditioner,
    PatchSqueeze,
    Permutation,
    PixelSqueeze,
    PLUMixing,
    ResNetConditioner,
    SplineCoupling,
    SplitMerge,
    UNetConditioner,
    Whiten,
)
from linearizer_core.condition import Condition
from linearizer_core.errors import ConditionError, InputShapeError

LABEL = {"label": 3}


def dense_coupling(*, flip: bool = False, conditions: dict[str, int] | None = None) -> AffineCoupling:
    kept, changed = (3, 2) if flip else (2, 3)
    conditioner = MLPConditioner(kept, 2 * changed, width=6, categories=conditions)
    return AffineCoupling((5,), conditioner, flip=flip, conditions=conditions)


def image_coupling(*, conditions: dict[str, int] | None = None) -> AffineCoupling:
    conditioner = ConvConditioner(1, 4, width=4, token_mixing=(2, 3), categories=conditions)
    return AffineCoupling((3, 2, 3), conditioner, log_scale_bound=0.5, conditions=conditions)


def conditional_chain() -> Chain:
    return Chain(
        HaarSqueeze((1, 4, 6)),
        ElementwiseAffine((4, 2, 3), channelwise=True),
        FixedOrthogonal((4, 2, 3), seed=1),
        AffineCoupling((4, 2, 3), ConvConditioner(2, 4, width=4)),
        Flatten((4, 2, 3)),
        ElementwiseAffine((24,), categories=("label", 3)),
        CayleyMixing((24,), seed=2),
        AffineCoupling((24,), MLPConditioner(12, 24, width=6, categories=LABEL), flip=True, conditions=LABEL),
    )


BRICKS: dict[str, Callable[[], Bijection]] = {
    "identity": lambda: Identity((3, 2)),
    "fixed affine": lambda: FixedAffine((3, 2, 4), shift=(-0.5, 0.1, 0.0), scale=(2.0, -3.0, 0.5)),
    "elementwise affine, vectors": lambda: ElementwiseAffine((5,)),
    "elementwise affine, channels": lambda: ElementwiseAffine((3, 2, 4), channelwise=True),
    "elementwise affine, pixels": lambda: ElementwiseAffine((3, 2, 4)),
    "elementwise affine, bounded": lambda: ElementwiseAffine((5,), log_scale_bound=0.1),
    "elementwise affine, per label": lambda: ElementwiseAffine((3, 2, 4), channelwise=True, categories=("label", 3)),
    "actnorm, vectors": lambda: ActNorm((5,)),
    "actnorm, images": lambda: ActNorm((3, 2, 4)),
    "fixed orthogonal, vectors": lambda: FixedOrthogonal((7,), seed=3),
    "fixed orthogonal, images": lambda: FixedOrthogonal((5, 2, 3), seed=3),
    "fixed orthogonal, two factors": lambda: FixedOrthogonal((72,), seed=3),
    "fixed orthogonal, two factors, images": lambda: FixedOrthogonal((66, 1, 2), seed=3),
    "cayley, vectors": lambda: CayleyMixing((5,), seed=3),
    "cayley, images": lambda: CayleyMixing((3, 2, 4), seed=3),
    "plu, vectors": lambda: PLUMixing((5,), seed=3),
    "plu, images": lambda: PLUMixing((3, 2, 4), seed=3),
    "permutation": lambda: Permutation((5, 2, 3), seed=3),
    "haar": lambda: HaarSqueeze((3, 4, 2)),
    "pixel squeeze": lambda: PixelSqueeze((3, 4, 2)),
    "patch squeeze": lambda: PatchSqueeze((2, 6, 2), patch=(3, 1)),
    "flatten": lambda: Flatten((3, 2, 4)),
    "whiten": lambda: Whiten(4),
    "affine coupling": dense_coupling,
    "affine coupling, flipped": lambda: dense_coupling(flip=True),
    "affine coupling, per label": lambda: dense_coupling(conditions=LABEL),
    "affine coupling, images": image_coupling,
    "affine coupling, images, per label": lambda: image_coupling(conditions=LABEL),
    "affine coupling, unequal parts": lambda: AffineCoupling((5,), MLPConditioner(4, 2, width=6), split=4),
    "additive coupling": lambda: AdditiveCoupling((5,), MLPConditioner(2, 3, width=6, depth=2)),
    "additive coupling, flipped images": lambda: AdditiveCoupling((3, 4, 2), ConvConditioner(2, 1, width=4, depth=0), flip=True),
    "affine coupling, bounded shifts": lambda: AffineCoupling((5,), MLPConditioner(2, 6, width=6), shift_bound=0.5),
    "additive coupling, bounded shifts": lambda: AdditiveCoupling((5,), MLPConditioner(2, 3, width=6), shift_bound=0.5),
    "affine coupling, alternating": lambda: AffineCoupling((5,), MLPConditioner(2, 6, width=6), mask="alternating", flip=True),
    "affine coupling, alternating images": lambda: AffineCoupling((3, 2, 3), ResNetConditioner(2, 2, width=4, depth=1), mask="alternating"),
    "affine coupling, checkerboard": lambda: AffineCoupling((1, 3, 5), UNetConditioner(1, 2, width=4, depth=1), mask="checkerboard"),
    "additive coupling, flipped checkerboard": lambda: AdditiveCoupling((2, 3, 2), ConvConditioner(2, 2, width=4), flip=True, mask="checkerboard"),
    "spline coupling": lambda: SplineCoupling((5,), MLPConditioner(2, 3 * 23, width=6)),
    "spline coupling, images, per label": lambda: SplineCoupling(
        (3, 2, 3), ConvConditioner(2, 11, width=4, categories=LABEL), flip=True, bins=4, conditions=LABEL
    ),
    "spline coupling, checkerboard": lambda: SplineCoupling((1, 3, 3), ConvConditioner(1, 5, width=4), mask="checkerboard", bins=2, slope_bound=9.0),
    "inverse": lambda: Inverse(dense_coupling(conditions=LABEL)),
    "inverse of a chain": lambda: Inverse(conditional_chain()),
    "chain": conditional_chain,
    "split and merge": lambda: SplitMerge(image_coupling(conditions=LABEL), ActNorm((2, 2, 3))),
    "split and merge, nested": lambda: SplitMerge(
        Chain(HaarSqueeze((1, 4, 6)), SplitMerge(PLUMixing((3, 2, 3), seed=4), Identity((1, 2, 3)))), Identity((1, 4, 6))
    ),
    "split and merge, flat": lambda: SplitMerge(dense_coupling(conditions=LABEL), Identity((2,))),
}
DEEP = {"chain", "inverse of a chain"}


@pytest.fixture(params=sorted(BRICKS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def brick(name: str) -> Bijection:
    return trained(BRICKS[name])


def trained(build: Callable[[], Bijection]) -> Bijection:
    """A brick in float64 whose data-dependent parts have seen data and whose weights have moved."""
    torch.manual_seed(0)
    brick = build().double()
    for module in brick.modules():
        if isinstance(module, Whiten):
            module.fit(torch.randn(50, module.dim, dtype=torch.float64) * torch.linspace(1, 3, module.dim) + 1)
        if isinstance(module, ActNorm):
            module.train()(3 * torch.randn(20, *module.in_shape, dtype=torch.float64) + 1)
    with torch.no_grad():
        for parameter in brick.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return brick


def examples(brick: Bijection, batch: int = 3, *, latent: bool = False, seed: int = 1) -> tuple[Tensor, Condition | None]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, *(brick.out_shape if latent else brick.in_shape), dtype=torch.float64, generator=generator)
    labels = {each: torch.randint(0, categories, (batch,), generator=generator) for each, categories in brick.conditions.items()}
    return x, Condition(**labels) if labels else None


def largest(difference: Tensor) -> float:
    return float(difference.detach().abs().max())


@pytest.mark.parametrize("batch", [1, 4])
def test_round_trips_in_float64(brick: Bijection, batch: int) -> None:
    x, condition = examples(brick, batch)
    assert brick(x, condition).shape == (batch, *brick.out_shape)
    assert largest(brick.inverse(brick(x, condition), condition) - x) < 1e-12
    z, condition = examples(brick, batch, latent=True)
    assert brick.inverse(z, condition).shape == (batch, *brick.in_shape)
    assert largest(brick(brick.inverse(z, condition), condition) - z) < 1e-12


def test_round_trips_in_float32(name: str, brick: Bijection) -> None:
    brick.float()
    x, condition = examples(brick)
    assert brick(x.float(), condition).dtype == torch.float32
    assert largest(brick.inverse(brick(x.float(), condition), condition) - x) < (1e-4 if name in DEEP else 2e-5)


def test_a_visit_to_float32_costs_float64_nothing_but_rounded_weights(brick: Bijection) -> None:
    brick.float().double()
    x, condition = examples(brick)
    assert largest(brick.inverse(brick(x, condition), condition) - x) < 1e-12


@pytest.mark.parametrize("exact", ["identity", "permutation", "pixel squeeze", "patch squeeze", "flatten"])
def test_bit_exact_bricks_keep_bits(exact: str) -> None:
    brick = trained(BRICKS[exact])
    x = 1e3 * examples(brick)[0].float()
    assert brick.bit_exact
    assert torch.equal(brick.inverse(brick(x)), x)


def test_all_other_bricks_promise_no_bits(name: str, brick: Bijection) -> None:
    assert brick.bit_exact == (name in {"identity", "permutation", "pixel squeeze", "patch squeeze", "flatten"})


def test_log_determinants_against_autograd(brick: Bijection) -> None:
    x, condition = examples(brick)
    z, logdet = brick.forward_and_logdet(x, condition)
    back, inverse_logdet = brick.inverse_and_logdet(z, condition)
    assert torch.equal(z, brick(x, condition))
    assert torch.equal(back, brick.inverse(z, condition))
    assert logdet.shape == inverse_logdet.shape == (len(x),)
    assert largest(logdet + inverse_logdet) < 1e-10
    for row in range(len(x)):
        one = condition.rows(torch.tensor([row])) if condition else None
        jacobian = torch.autograd.functional.jacobian(lambda v, one=one: brick(v, one), x[row : row + 1]).reshape(brick.dim, brick.dim)
        assert math.isclose(torch.linalg.slogdet(jacobian).logabsdet, float(logdet[row].detach()), abs_tol=1e-10)


def test_the_jacobian_of_the_inverse_is_the_inverse_of_the_jacobian(brick: Bijection) -> None:
    x, condition = examples(brick, 1)
    forward = torch.autograd.functional.jacobian(lambda v: brick(v, condition), x).reshape(brick.dim, brick.dim)
    backward = torch.autograd.functional.jacobian(lambda v: brick.inverse(v, condition), brick(x, condition)).reshape(brick.dim, brick.dim)
    assert largest(backward @ forward - torch.eye(brick.dim, dtype=torch.float64)) < 1e-10


@pytest.mark.parametrize("direction", ["forward_and_logdet", "inverse_and_logdet"])
def test_gradients_of_inputs_and_parameters(brick: Bijection, direction: str) -> None:
    x, condition = examples(brick, 2, latent=direction == "inverse_and_logdet")
    names = [each for each, _ in brick.named_parameters()]

    def call(x: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        values = {f"brick.{each}": parameter for each, parameter in zip(names, parameters, strict=True)}
        result: tuple[Tensor, Tensor] = torch.func.functional_call(wrapped, values, (x,))
        return result

    class Caller(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.brick = brick

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            result: tuple[Tensor, Tensor] = getattr(self.brick, direction)(x, condition)
            return result

    wrapped = Caller()
    parameters = [parameter.detach().clone().requires_grad_() for parameter in brick.parameters()]
    assert torch.autograd.gradcheck(call, (x.requires_grad_(), *parameters), fast_mode=True)


def test_a_fresh_object_inverts_first_after_loading(name: str, brick: Bijection) -> None:
    x, condition = examples(brick)
    z = brick(x, condition).detach()
    torch.manual_seed(99)
    fresh = BRICKS[name]().double().eval()
    fresh.load_state_dict(brick.state_dict())
    assert torch.equal(fresh.inverse(z, condition), brick.inverse(z, condition))
    assert torch.equal(fresh(x, condition), z)


def test_inputs_stay_unmodified_and_modes_agree(brick: Bijection) -> None:
    x, condition = examples(brick)
    before = x.clone()
    z = brick.train()(x, condition)
    assert torch.equal(x, before)
    before = z.clone()
    brick.inverse(z, condition)
    assert torch.equal(z, before)
    assert torch.equal(brick.eval()(x, condition), z)


def test_examples_do_not_see_each_other(brick: Bijection) -> None:
    x, condition = examples(brick, 4)
    z = brick(x, condition)
    for row in range(4):
        one = condition.rows(torch.tensor([row])) if condition else None
        assert largest(brick(x[row : row + 1], one) - z[row : row + 1]) < 1e-13


@pytest.mark.parametrize("conditional", [name for name, build in BRICKS.items() if build().conditions])
def test_declared_conditions_matter(conditional: str) -> None:
    brick = trained(BRICKS[conditional])
    x, _ = examples(brick, 1)
    images = [brick(x, Condition(label=torch.tensor([label]))) for label in range(3)]
    assert min(largest(images[0] - images[1]), largest(images[1] - images[2])) > 1e-3
    with pytest.raises(ConditionError, match="label"):
        brick(x)
    with pytest.raises(ConditionError, match="0 to 2"):
        brick.inverse(images[0], Condition(label=torch.tensor([3])))


def test_autocast_leaves_the_stream_alone(name: str, brick: Bijection) -> None:
    brick.float()
    x, condition = examples(brick)
    x = x.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = brick(x, condition)
        back = brick.inverse(z, condition)
    assert z.dtype == back.dtype == torch.float32
    # In a chain the conditioners of the way back see inputs that differ in the last bits, and bfloat16 rounds some of them apart.
    assert largest(back - x) < (5e-2 if name in DEEP else 2e-5)


def test_compiles_without_graph_breaks(brick: Bijection) -> None:
    x, condition = examples(brick)
    z = brick(x, condition)
    torch.compiler.reset()
    compiled = torch.compile(lambda v: brick.inverse(brick(v, condition), condition), backend="eager", fullgraph=True)
    assert largest(compiled(x) - brick.inverse(z, condition)) < 1e-12


def test_wrong_shapes_are_refused(brick: Bijection) -> None:
    wrong = torch.zeros(2, 11, dtype=torch.float64)
    condition = examples(brick, 2)[1]
    with pytest.raises(InputShapeError, match=r"\(2, 11\), expected"):
        brick(wrong, condition)
    with pytest.raises(InputShapeError, match=r"\(2, 11\), expected"):
        brick.inverse(wrong, condition)


def test_inv_is_a_view_that_shares_parameters(brick: Bijection) -> None:
    x, condition = examples(brick)
    view = brick.inv
    z = brick(x, condition)
    assert (view.in_shape, view.out_shape, view.conditions) == (brick.out_shape, brick.in_shape, brick.conditions)
    assert torch.equal(view(z, condition), brick.inverse(z, condition))
    assert torch.equal(view.inv(x, condition), z)
    assert {id(parameter) for parameter in view.parameters()} == {id(parameter) for parameter in brick.parameters()}
