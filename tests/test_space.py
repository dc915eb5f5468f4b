"""The induced space is a Hilbert space, whatever the bijection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from linearizer_core.condition import Condition
from linearizer_core.errors import ConditionError, ShapeMismatchError
from linearizer_core.space import InducedSpace, Invertible

from .networks import SHAPES, largest, network, normal, points

modest = settings(deadline=None, max_examples=20)
seeds = st.integers(0, 10_000)
scalars = st.floats(-1.5, 1.5)
kinds = st.sampled_from(["vector", "image"])
EXACT = 1e-9


@dataclass(frozen=True)
class Cube:
    """The bijection x -> x^3 of numbers, not a module: the mathematics asks for two directions and two shapes, no more."""

    in_shape: tuple[int, ...] = (1,)
    out_shape: tuple[int, ...] = (1,)

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        return x**3

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        return z.sign() * z.abs().pow(1 / 3)


def space_of(kind: str) -> InducedSpace:
    return InducedSpace(network(kind))


def test_the_networks_of_these_tests_are_far_from_linear() -> None:
    for kind in SHAPES:
        space, u, v = space_of(kind), points(kind, 1), points(kind, 2)
        assert largest(space.add(u, v), u + v) > 0.05
        assert largest(space.from_latent(space.to_latent(u)), u) < 1e-12


def test_closed_form_of_the_cube() -> None:
    cube = Cube()
    assert isinstance(cube, Invertible)
    space = InducedSpace(cube)
    u, v = torch.tensor([[1.0], [3.0]], dtype=torch.float64), torch.tensor([[2.0], [-1.0]], dtype=torch.float64)
    cube_root: Callable[[Tensor], Tensor] = lambda z: z.sign() * z.abs().pow(1 / 3)  # noqa: E731
    assert torch.allclose(space.add(u, v), cube_root(torch.tensor([[9.0], [26.0]], dtype=torch.float64)))
    assert torch.allclose(space.subtract(u, v), cube_root(torch.tensor([[-7.0], [28.0]], dtype=torch.float64)))
    assert torch.allclose(space.scale(-8, u), -2 * u)
    assert torch.allclose(space.inner(u, v), torch.tensor([8.0, -27.0], dtype=torch.float64))
    assert torch.allclose(space.norm(u), torch.tensor([1.0, 27.0], dtype=torch.float64))
    assert torch.allclose(space.distance(u, v), torch.tensor([7.0, 28.0], dtype=torch.float64))
    assert torch.allclose(space.lerp(u, v, 0.25), cube_root(torch.tensor([[2.75], [20.0]], dtype=torch.float64)))
    assert torch.allclose(space.mean(u), torch.tensor([[14.0]], dtype=torch.float64).pow(1 / 3))
    assert (space.dim, space.shape) == (1, (1,))


@modest
@given(kind=kinds, seed=seeds, a=scalars, b=scalars)
def test_vector_space_axioms(kind: str, seed: int, a: float, b: float) -> None:
    space = space_of(kind)
    u, v, w = (points(kind, seed + offset) for offset in range(3))
    assert largest(space.add(u, v), space.add(v, u)) < EXACT
    assert largest(space.add(space.add(u, v), w), space.add(u, space.add(v, w))) < EXACT
    assert largest(space.add(u, space.zero(u)), u) < EXACT
    assert largest(space.subtract(u, u), space.zero(u)) < EXACT
    assert largest(space.add(space.subtract(u, v), v), u) < EXACT
    assert largest(space.scale(1.0, u), u) < EXACT
    assert largest(space.scale(0.0, u), space.zero(u)) < EXACT
    assert largest(space.scale(a, space.scale(b, u)), space.scale(a * b, u)) < EXACT
    assert largest(space.scale(a + b, u), space.add(space.scale(a, u), space.scale(b, u))) < EXACT
    assert largest(space.scale(a, space.add(u, v)), space.add(space.scale(a, u), space.scale(a, v))) < EXACT


@modest
@given(kind=kinds, seed=seeds, a=scalars, b=scalars)
def test_inner_product_norm_and_distance(kind: str, seed: int, a: float, b: float) -> None:
    space = space_of(kind)
    u, v, w = (points(kind, seed + offset) for offset in range(3))
    combined = space.add(space.scale(a, u), space.scale(b, v))
    assert largest(space.inner(combined, w), a * space.inner(u, w) + b * space.inner(v, w)) < EXACT
    assert largest(space.inner(u, v), space.inner(v, u)) < EXACT
    assert largest(space.norm(u).square(), space.inner(u, u)) < EXACT
    assert bool((space.norm(u) > 0).all())
    assert bool((space.inner(u, v).abs() <= space.norm(u) * space.norm(v) + EXACT).all())
    assert largest(space.distance(u, v), space.norm(space.subtract(u, v))) < EXACT
    # Every translation is an isometry of the metric.
    assert largest(space.distance(space.add(u, w), space.add(v, w)), space.distance(u, v)) < EXACT


@pytest.mark.parametrize("kind", ["vector", "image"])
def test_isometry_with_euclidean_space(kind: str) -> None:
    space = space_of(kind)
    basis = space.from_latent(torch.eye(space.dim, dtype=torch.float64))
    gram = torch.stack([space.inner(basis, point.expand_as(basis)) for point in basis])
    assert largest(gram, torch.eye(space.dim, dtype=torch.float64)) < EXACT
    z, w = normal(0, 4, space.dim), normal(1, 4, space.dim)
    assert largest(space.distance(space.from_latent(z), space.from_latent(w)), (z - w).norm(dim=1)) < EXACT


@modest
@given(kind=kinds, seed=seeds, weight=st.floats(0, 1))
def test_lerp_is_a_straight_line(kind: str, seed: int, weight: float) -> None:
    space, u, v = space_of(kind), points(kind, seed), points(kind, seed + 1)
    assert largest(space.lerp(u, v, 0.0), u) < EXACT
    assert largest(space.lerp(u, v, 1.0), v) < EXACT
    between = space.lerp(u, v, weight)
    assert largest(space.distance(u, between), weight * space.distance(u, v)) < EXACT
    assert largest(space.distance(u, between) + space.distance(between, v), space.distance(u, v)) < EXACT


def test_weights_per_point() -> None:
    space, u, v = space_of("image"), points("image", 0), points("image", 1)
    weights = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    for row, weight in enumerate(weights.tolist()):
        one = slice(row, row + 1)
        assert largest(space.lerp(u, v, weights)[one], space.lerp(u[one], v[one], weight)) < EXACT
        assert largest(space.scale(weights, u)[one], space.scale(weight, u[one])) < EXACT
    line = space.lerp(u[:1], v[:1], torch.linspace(0, 1, 5, dtype=torch.float64))
    assert line.shape == (5, 1, 4, 4)
    assert largest(line[2:3], space.lerp(u[:1], v[:1], 0.5)) < EXACT
    assert largest(space.scale(torch.tensor(0.5, dtype=torch.float64), u), space.scale(0.5, u)) < EXACT


@modest
@given(kind=kinds, seed=seeds)
def test_mean_minimises_the_squared_distances(kind: str, seed: int) -> None:
    space, group = space_of(kind), points(kind, seed, 4)
    weights = normal(seed, 4).abs() + 0.1
    for mean, shares in ((space.mean(group), torch.full_like(weights, 0.25)), (space.mean(group, weights), weights / weights.sum())):
        assert mean.shape == (1, *space.shape)

        def cost(point: Tensor, shares: Tensor = shares) -> Tensor:
            return (shares * space.distance(point.expand_as(group), group).square()).sum()

        for step in normal(seed + 1, 3, space.dim):
            moved = space.from_latent(space.to_latent(mean) + 1e-2 * step)
            assert float(cost(moved) - cost(mean)) == pytest.approx(1e-4 * float(step.square().sum()), rel=1e-6)
    assert largest(space.mean(group[:2]), space.lerp(group[:1], group[1:2], 0.5)) < EXACT


def test_mean_weights_are_refused_unless_they_fit() -> None:
    space, group = space_of("vector"), points("vector", 0)
    with pytest.raises(ShapeMismatchError, match=r"shape \(2,\).*give 3 numbers"):
        space.mean(group, torch.ones(2))
    with pytest.raises(ShapeMismatchError, match=r"sum 0.*do not sum to zero"):
        space.mean(group, torch.tensor([1.0, -1.0, 0.0]))


@modest
@given(kind=kinds, seed=seeds, count=st.integers(1, 4))
def test_project_is_the_orthogonal_projection(kind: str, seed: int, count: int) -> None:
    space, x, spanning = space_of(kind), points(kind, seed), points(kind, seed + 1, count)
    projected = space.project(x, spanning)
    assert largest(space.project(projected, spanning), projected) < EXACT
    residual = space.subtract(x, projected)
    for point in spanning:
        assert float(space.inner(residual, point.expand_as(x)).abs().max()) < 1e-8
    assert largest(space.project(spanning, spanning), spanning) < EXACT
    # Pythagoras: what is left is at a right angle to what was found.
    assert largest(space.norm(projected).square() + space.norm(residual).square(), space.norm(x).square()) < EXACT


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dependent_points_span_no_more(dtype: torch.dtype) -> None:
    space = InducedSpace(Cube((4,), (4,)))
    x, direction = normal(0, 3, 4).to(dtype), normal(1, 1, 4).to(dtype)
    repeated = torch.cat([direction, space.scale(2.0, direction), space.scale(-0.3, direction)])
    tolerance = 100 * torch.finfo(dtype).eps
    latents, expected = space.to_latent(space.project(x, repeated)), space.to_latent(space.project(x, direction))
    assert largest(latents, expected) < tolerance
    unit = space.to_latent(direction) / space.norm(direction)
    assert largest(expected, (space.to_latent(x) @ unit.T) * unit) < tolerance
    assert space.project(x, repeated).dtype == dtype


def test_projection_onto_nothing_is_zero() -> None:
    space, x = space_of("vector"), points("vector", 0)
    assert largest(space.project(x, x[:0]), space.zero(x)) < EXACT


def test_shapes_that_do_not_fit_are_refused() -> None:
    space, x = space_of("image"), points("image", 0)
    with pytest.raises(ShapeMismatchError, match=r"shape \(B, 1, 4, 4\), got \(1, 4, 4\)"):
        space.to_latent(x[0])
    with pytest.raises(ShapeMismatchError, match=r"got \(3, 1, 5, 4\)"):
        space.norm(torch.zeros(3, 1, 5, 4))
    for latents in (torch.zeros(3, 15), torch.zeros(16), torch.zeros(2, 4, 4)):
        with pytest.raises(ShapeMismatchError, match=r"latents have shape \(B, 16\), got"):
            space.from_latent(latents)
    for weights in (torch.ones(2), torch.ones(3, 1)):
        with pytest.raises(ShapeMismatchError, match=r"weights have shape .* for 3 points; give a number, or one number per point"):
            space.scale(weights, x)
        with pytest.raises(ShapeMismatchError, match="for 3 points"):
            space.lerp(x, x, weights)


def test_equality_is_the_same_object_under_an_equal_condition() -> None:
    g, other = network("vector", labels=3), network("vector", seed=1, labels=3)
    one, two = Condition(label=torch.tensor([1])), Condition(label=torch.tensor([2]))
    space = InducedSpace(g, one)
    assert space == InducedSpace(g, Condition(label=torch.tensor([1])))
    assert hash(space) == hash(InducedSpace(g, Condition(label=torch.tensor([1]))))
    assert space != InducedSpace(g, two)
    assert space != InducedSpace(g)
    assert space != InducedSpace(other, one)
    assert space != g
    assert repr(space) == "InducedSpace(Chain(5,), Condition(label=(1,)))"


def test_the_condition_chooses_the_space() -> None:
    g, u, v = network("vector", labels=3), points("vector", 0), points("vector", 1)
    sums = [InducedSpace(g, Condition(label=torch.tensor([label]))).add(u, v) for label in range(3)]
    assert largest(sums[0], sums[1]) > 0.01
    rows = InducedSpace(g, Condition(label=torch.tensor([2, 0, 1]))).add(u, v)
    for row, label in enumerate((2, 0, 1)):
        assert largest(rows[row], sums[label][row]) < EXACT
    with pytest.raises(ConditionError, match="label"):
        InducedSpace(g).add(u, v)


def test_gradients_pass_through() -> None:
    space, u, v = space_of("vector"), points("vector", 0).requires_grad_(), points("vector", 1)
    assert torch.autograd.gradcheck(lambda x: space.lerp(x, v, 0.3), (u,))


def test_float32_keeps_its_dtype_and_its_digits() -> None:
    space, u, v = InducedSpace(Cube((4,), (4,))), normal(0, 3, 4) + 3, normal(1, 3, 4) + 3
    for wide, narrow in (
        (space.add(u, v), space.add(u.float(), v.float())),
        (space.project(u, v), space.project(u.float(), v.float())),
        (space.mean(u, torch.ones(3)), space.mean(u.float(), torch.ones(3))),
        (space.zero(u), space.zero(u.float())),
    ):
        assert narrow.dtype == torch.float32
        assert largest(narrow.double(), wide) < 1e-5
