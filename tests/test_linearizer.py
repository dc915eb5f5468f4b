"""Whatever the algebra does to A, it does to f; checked on points, through real nonlinear bijections."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from linearizer_core.condition import Condition
from linearizer_core.errors import NotEndomorphismError, ShapeMismatchError, SingularOperatorError, SpaceMismatchError, UndefinedPowerError
from linearizer_core.linearizer import Linearizer
from linearizer_core.operators import Dense, Diagonal, IdentityPlusLowRank, LinearOperator, LowRank, Mask, ScaledIdentity, SharedSubspace
from linearizer_core.space import InducedSpace

from .networks import SHAPES, largest, network, normal, points

modest = settings(deadline=None, max_examples=15)
seeds = st.integers(0, 10_000)
scalars = st.floats(-1.5, 1.5)
EXACT = 1e-8

X, Y = "vector", "image"
DIM = {kind: math.prod(shape) for kind, shape in SHAPES.items()}
SQUARE = ["dense", "diagonal", "identity_plus_low_rank", "low_rank", "mask", "scaled_identity", "shared_subspace"]
REGULAR = ["dense", "diagonal", "identity_plus_low_rank", "scaled_identity", "shared_subspace"]


def square(kind: str, dim: int, seed: int) -> LinearOperator:
    """A square operator of norm about 1; for the kinds in REGULAR well conditioned, and near the identity so that its real powers exist."""
    left, right = (normal(seed + offset, dim, 2) / (4 * dim**0.5) for offset in (1, 2))
    match kind:
        case "dense":
            return Dense(torch.eye(dim, dtype=torch.float64) + 0.3 * normal(seed, dim, dim) / dim**0.5)
        case "diagonal":
            return Diagonal(0.5 + normal(seed, dim).abs().clamp(max=1))
        case "identity_plus_low_rank":
            return IdentityPlusLowRank(0.8, left, right)
        case "low_rank":
            return LowRank(left, right)
        case "mask":
            return Mask(torch.arange(dim) % 3 != seed % 3, dtype=torch.float64)
        case "scaled_identity":
            return ScaledIdentity(0.7, dim, dtype=torch.float64)
        case _:
            return SharedSubspace(0.8, left, normal(seed, 2, 2), right)


def endomorphism(kind: str, seed: int, space: str = X) -> Linearizer:
    return Linearizer(network(space), square(kind, DIM[space], seed))


def rectangular(seed: int, *, rank: int | None = None) -> Linearizer:
    """From vectors of 5 dimensions to images of 16."""
    matrix = normal(seed, DIM[Y], DIM[X]) / 4
    operator = Dense(matrix) if rank is None else LowRank(matrix[:, :rank], normal(seed + 1, DIM[X], rank) / 2)
    return Linearizer(network(X), operator, network(Y))


def close(f: Linearizer, g: Linearizer, x: Tensor) -> None:
    assert largest(f(x), g(x)) < EXACT


@modest
@given(kind=st.sampled_from(SQUARE), seed=seeds, a=scalars, b=scalars)
def test_superposition(kind: str, seed: int, a: float, b: float) -> None:
    for f in (endomorphism(kind, seed), rectangular(seed)):
        u, v = points(X, seed), points(X, seed + 1)
        left = f(f.domain.add(f.domain.scale(a, u), f.domain.scale(b, v)))
        right = f.codomain.add(f.codomain.scale(a, f(u)), f.codomain.scale(b, f(v)))
        assert largest(left, right) < EXACT


def test_it_is_not_linear_in_the_plain_sense() -> None:
    f, u, v = rectangular(0), points(X, 0), points(X, 1)
    assert largest(f(u + v), f(u) + f(v)) > 0.1


@modest
@given(first=st.sampled_from(SQUARE), second=st.sampled_from(SQUARE), seed=seeds)
def test_composition_and_its_adjoint(first: str, second: str, seed: int) -> None:
    f, g = endomorphism(first, seed), endomorphism(second, seed + 1)
    x = points(X, seed + 2)
    assert largest((f @ g)(x), f(g(x))) < EXACT
    close((f @ g).T, g.T @ f.T, x)


def test_composition_across_three_spaces() -> None:
    f = rectangular(0)
    g = Linearizer(network(Y), Dense(normal(1, DIM["long vector"], DIM[Y]) / 4), network("long vector"))
    x, y = points(X, 2), points("long vector", 3)
    assert largest((g @ f)(x), g(f(x))) < EXACT
    assert largest((g @ f).T(y), f.T(g.T(y))) < EXACT
    assert (g @ f).operator.shape == (7, 5)


@modest
@given(kind=st.sampled_from(SQUARE), seed=seeds)
def test_adjoint_identity_in_the_induced_inner_products(kind: str, seed: int) -> None:
    for f in (endomorphism(kind, seed), rectangular(seed)):
        u, v = normal(seed, 3, *f.domain.shape), normal(seed + 1, 3, *f.codomain.shape)
        assert largest(f.codomain.inner(f(u), v), f.domain.inner(u, f.T(v))) < EXACT
        close(f.T.T, f, u)


@modest
@given(kind=st.sampled_from(SQUARE), seed=seeds, n=st.integers(0, 4))
def test_integer_powers_iterate(kind: str, seed: int, n: int) -> None:
    f, x = endomorphism(kind, seed), points(X, seed + 1)
    iterated = x
    for _ in range(n):
        iterated = f(iterated)
    assert largest((f**n)(x), iterated) < EXACT


@modest
@given(kind=st.sampled_from(REGULAR), seed=seeds)
def test_real_and_negative_powers(kind: str, seed: int) -> None:
    f, x = endomorphism(kind, seed), points(X, seed + 1)
    half = f**0.5
    assert largest(half(half(x)), f(x)) < EXACT
    close(f**0.3 @ f**0.7, f, x)
    close(f**-2 @ f**2, f**0, x)
    assert largest((f**0)(x), x) < EXACT


@modest
@given(kind=st.sampled_from(SQUARE), seed=seeds, s=scalars, t=scalars)
def test_exponentials_are_a_semigroup(kind: str, seed: int, s: float, t: float) -> None:
    f, x = endomorphism(kind, seed), points(X, seed + 1)
    assert largest(f.expm(s)(f.expm(t)(x)), f.expm(s + t)(x)) < EXACT
    assert largest(f.expm(0.0)(x), x) < EXACT


def test_the_exponential_solves_the_differential_equation() -> None:
    f, x, step = endomorphism("dense", 0), points(X, 1), 1e-4
    slope = (f.domain.to_latent(f.expm(step)(x)) - f.domain.to_latent(f.expm(-step)(x))) / (2 * step)
    assert largest(slope, f.domain.to_latent(f(x))) < 1e-6


@modest
@given(kind=st.sampled_from(REGULAR), seed=seeds)
def test_inverse(kind: str, seed: int) -> None:
    f, x = endomorphism(kind, seed), points(X, seed + 1)
    assert largest(f.inverse()(f(x)), x) < EXACT
    assert largest(f(f.inverse()(x)), x) < EXACT


def test_inverse_between_two_spaces() -> None:
    f = Linearizer(network(X), square("dense", DIM[X], 0), network(X, seed=1))
    x = points(X, 1)
    assert largest(f.inverse()(f(x)), x) < EXACT
    assert f.inverse().domain == f.codomain


@modest
@given(kind=st.sampled_from([*SQUARE, "tall", "tall of rank 2", "wide of rank 2"]), seed=seeds)
def test_penrose_identities_and_projectors(kind: str, seed: int) -> None:
    match kind:
        case "tall":
            f = rectangular(seed)
        case "tall of rank 2":
            f = rectangular(seed, rank=2)
        case "wide of rank 2":
            f = rectangular(seed, rank=2).T
        case _:
            f = endomorphism(kind, seed)
    plus = f.pinv(1e-9)
    x, y = normal(seed + 3, 3, *f.domain.shape), normal(seed + 4, 3, *f.codomain.shape)
    # Points far out cost digits: the bijections stretch them. So the identities are compared as latents, which are isometric.
    tolerance = 1e-7

    def near(left: Linearizer, right: Linearizer, at: Tensor) -> None:
        assert largest(left.codomain.to_latent(left(at)), right.codomain.to_latent(right(at))) < tolerance

    near(f @ plus @ f, f, x)
    near(plus @ f @ plus, plus, y)
    near((f @ plus).T, f @ plus, y)
    near((plus @ f).T, plus @ f, x)
    into, null = f.range_projector(1e-9), f.null_projector(1e-9)
    near(into @ into, into, y)
    near(null @ null, null, x)
    near(into @ f, f, x)
    assert largest(f.codomain.to_latent(f(null(x))), torch.zeros(3, f.codomain.dim, dtype=torch.float64)) < tolerance
    assert largest(f.domain.to_latent(null(x)) + f.domain.to_latent((plus @ f)(x)), f.domain.to_latent(x)) < tolerance


def test_project_finds_the_nearest_point_of_the_range() -> None:
    f, y = rectangular(0, rank=2), points(Y, 1)
    nearest = f.project(y)
    assert largest(f.project(nearest), nearest) < EXACT
    residual = f.codomain.subtract(y, nearest)
    for x in points(X, 2):
        assert float(f.codomain.inner(residual, f(x.expand(3, *X_SHAPE))).abs().max()) < EXACT
        assert bool((f.codomain.distance(y, f(x.expand(3, *X_SHAPE))) >= f.codomain.distance(y, nearest) - EXACT).all())


X_SHAPE = SHAPES[X]


def test_a_mask_is_a_global_projector_bit_for_bit_in_the_latent() -> None:
    f, x = endomorphism("mask", 1, space=Y), points(Y, 0)
    latent = f.operator(f.domain.to_latent(x))
    assert torch.equal(f.operator(latent), latent)
    assert isinstance((f @ f).operator, Mask)
    assert torch.equal((f @ f)(x), f(x))
    assert largest(f(f(x)), f(x)) < EXACT
    assert f.rank() == f.operator.rank() == 11


@modest
@given(kind=st.sampled_from([*SQUARE, "tall", "rank 2"]), seed=seeds)
def test_singular_value_decomposition(kind: str, seed: int) -> None:
    f = rectangular(seed, rank=2 if kind == "rank 2" else None) if kind in ("tall", "rank 2") else endomorphism(kind, seed)
    x, found = normal(seed + 2, 3, *f.domain.shape), f.svd()
    assert largest(found.reconstruct(x), f(x)) < EXACT
    left, right = found.left(), found.right()
    assert left.shape == (len(found.values), *f.codomain.shape)
    assert right.shape == (len(found.values), *f.domain.shape)
    assert bool((found.values[:-1] >= found.values[1:]).all())
    if not len(found.values):
        return
    # f(v_i) = s_i u_i, and both sets are orthonormal in the induced inner products.
    assert largest(f(right), f.codomain.scale(found.values, left)) < EXACT
    for space, vectors in ((f.domain, right), (f.codomain, left)):
        latents = space.to_latent(vectors)
        assert largest(latents @ latents.T, torch.eye(len(latents), dtype=torch.float64)) < EXACT


@modest
@given(seed=seeds, k=st.integers(1, 4))
def test_truncated_decomposition_is_the_best_of_its_rank(seed: int, k: int) -> None:
    f = rectangular(seed)
    found, x = f.svd(), points(X, seed + 1)
    left, right, values = found.left(k), found.right(k), found.values[:k]
    # The sum of s_i <v_i, x> u_i, formed with the operations of the two spaces alone.
    total = f.codomain.zero(f(x))
    for index in range(k):
        weight = values[index] * f.domain.inner(right[index].expand_as(x), x)
        total = f.codomain.add(total, f.codomain.scale(weight, left[index].expand_as(total)))
    assert largest(found.reconstruct(x, k), total) < EXACT
    # Eckart and Young: the error is the next singular value, attained at the next singular vector.
    worst = found.right(k + 1)[k:]
    assert float(f.codomain.distance(f(worst), found.reconstruct(worst, k))) == pytest.approx(float(found.values[k]), rel=1e-8)


@modest
@given(seed=seeds, a=scalars, b=scalars)
def test_mix_is_linear_in_the_weights(seed: int, a: float, b: float) -> None:
    f, g, x = rectangular(seed), rectangular(seed + 1, rank=2), points(X, seed + 2)
    mixed = Linearizer.mix([f, g], [a, b])
    y = mixed.codomain
    assert largest(mixed(x), y.add(y.scale(a, f(x)), y.scale(b, g(x)))) < EXACT
    close(Linearizer.mix([f], [1.0]), f, x)


def test_maps_under_conditions() -> None:
    g = network(X, labels=3)
    one, two = (InducedSpace(g, Condition(label=torch.tensor([label]))) for label in (1, 2))
    operator = square("dense", DIM[X], 0)
    f, x = Linearizer(one, operator, two), points(X, 1)
    assert not f.is_endomorphism
    assert largest(f.inverse()(f(x)), x) < EXACT
    assert Linearizer(one, operator, InducedSpace(g, Condition(label=torch.tensor([1])))).is_endomorphism
    back = Linearizer(two, operator, one)
    assert largest((back @ f)(x), back(f(x))) < EXACT
    with pytest.raises(SpaceMismatchError, match=r"inner map ends in InducedSpace\(Chain.*Condition.*the same bijection object under the same condition"):
        f @ f
    with pytest.raises(NotEndomorphismError, match=r"a power needs a map from a space to itself.*one bijection object for gx and gy"):
        f**2


def test_one_bijection_may_be_given_as_space_or_as_itself() -> None:
    g = network(X)
    f = Linearizer(g, square("dense", DIM[X], 0), InducedSpace(g))
    assert f.is_endomorphism
    assert f.domain == InducedSpace(g)


def test_refusals_name_the_value_and_the_fix() -> None:
    f, square_map = rectangular(0), endomorphism("dense", 0)
    other = Linearizer(network(X, seed=1), square("dense", DIM[X], 0))
    with pytest.raises(SpaceMismatchError, match=r"cannot compose.*Chain\(5,\).*Chain\(5,\).*call one after the other instead"):
        square_map @ other
    with pytest.raises(SpaceMismatchError, match="cannot compose"):
        f @ f
    with pytest.raises(NotEndomorphismError, match=r"a power needs.*\(5,\).*\(1, 4, 4\).*build it with one bijection object"):
        f**2
    with pytest.raises(NotEndomorphismError, match="an exponential needs"):
        f.expm()
    with pytest.raises(ShapeMismatchError, match=r"shape \(5, 5\), but the bijections map 5 dimensions to 16; give an operator of shape \(16, 5\)"):
        Linearizer(network(X), square("dense", 5, 0), network(Y))
    with pytest.raises(ShapeMismatchError, match=r"got \(3, 1, 4, 4\)"):
        f(points(Y, 0))
    with pytest.raises(ShapeMismatchError, match=r"shape \(16, 5\).*use pinv"):
        f.inverse()
    with pytest.raises(SingularOperatorError, match="use pinv"):
        endomorphism("mask", 0).inverse()
    with pytest.raises(SingularOperatorError, match="use pinv"):
        endomorphism("low_rank", 0) ** -1
    with pytest.raises(UndefinedPowerError, match=r"power 0.5.*integer power"):
        Linearizer(network(X), ScaledIdentity(-1.0, 5, dtype=torch.float64)) ** 0.5
    with pytest.raises(ShapeMismatchError, match="got 0 maps and 0 weights"):
        Linearizer.mix([], [])
    with pytest.raises(ShapeMismatchError, match="got 1 maps and 2 weights"):
        Linearizer.mix([f], [1.0, 2.0])
    with pytest.raises(SpaceMismatchError, match=r"map 1 runs .*, map 0 .*same bijection objects"):
        Linearizer.mix([square_map, other], [0.5, 0.5])
    with pytest.raises(TypeError, match="unsupported operand"):
        square_map @ torch.eye(5)  # type: ignore[operator]


def test_operators_wider_than_the_model_give_results_of_its_dtype() -> None:
    f = Linearizer(InducedSpace(_Double()), square("dense", DIM[X], 0))
    x = points(X, 1).float()
    assert f(x).dtype == torch.float32
    assert f.svd().reconstruct(x).dtype == torch.float32
    assert largest(f(x), f(x.double()).float()) < 1e-6
    assert largest(f.svd().reconstruct(x), f(x)) < 1e-6


class _Double:
    """x -> 2 x in the dtype of x, and in no other: a module whose weights are float32 would raise."""

    in_shape = out_shape = X_SHAPE

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        return 2 * x

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        return z / 2


def test_repr_shows_both_spaces_and_the_operator() -> None:
    assert repr(rectangular(0)) == "Linearizer(InducedSpace(Chain(5,)) -> InducedSpace(Chain(1, 4, 4)), Dense(16 x 5, float64))"
