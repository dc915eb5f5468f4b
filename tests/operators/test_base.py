from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from linearizer_core.errors import ArtifactError, DenseLimitError, ShapeMismatchError, SingularOperatorError, UndefinedPowerError
from linearizer_core.operators import Dense, Diagonal, IdentityPlusLowRank, LinearOperator, LowRank, Mask, Product, ScaledIdentity, SharedSubspace, Sum, base

from .zoo import MAKERS, RECTANGULAR_MAKERS, SQUARE_MAKERS, make, normal, relative_error, seeded, series_exponential

seeds = st.integers(0, 10_000)
sizes = st.integers(1, 6)
kinds = st.sampled_from(sorted(MAKERS))
modest = settings(deadline=None, max_examples=30)
pairs = settings(deadline=None, max_examples=150)


def dense(operator: LinearOperator) -> Tensor:
    """The matrix by the definition: the images of the unit vectors."""
    return operator(torch.eye(operator.shape[1], dtype=operator.dtype)).T


@modest
@given(kind=kinds, m=sizes, n=sizes, seed=seeds)
def test_linearity_and_matrix(kind: str, m: int, n: int, seed: int) -> None:
    g = seeded(seed)
    a = make(kind, m, n, g)
    x, y = normal(g, 3, n), normal(g, 3, n)
    assert relative_error(a(2.5 * x - y), 2.5 * a(x) - a(y)) < 1e-12
    assert relative_error(a.to_dense(), dense(a)) < 1e-13
    if a.shape[0] == a.shape[1]:
        assert relative_error(a.trace(), dense(a).trace()) < 1e-12
    else:
        with pytest.raises(ShapeMismatchError, match="trace"):
            a.trace()
    assert a(normal(g, 2, 3, n)).shape == (2, 3, a.shape[0])
    assert a(x[0]).shape == (a.shape[0],)


@modest
@given(kind=kinds, m=sizes, n=sizes, seed=seeds)
def test_adjoint_identity(kind: str, m: int, n: int, seed: int) -> None:
    g = seeded(seed)
    a = make(kind, m, n, g)
    x, y = normal(g, n), normal(g, a.shape[0])
    assert a.T.shape == a.shape[::-1]
    assert abs(float(a(x) @ y - x @ a.T(y))) < 1e-11
    assert relative_error(dense(a.T.T), dense(a)) < 1e-13


@settings(deadline=None, max_examples=100)
@given(kind=kinds, m=sizes, n=sizes, seed=seeds)
def test_penrose_identities_and_singular_values(kind: str, m: int, n: int, seed: int) -> None:
    a = make(kind, m, n, seeded(seed))
    matrix, inverse = dense(a), dense(a.pinv())
    scale = max(1.0, float(inverse.abs().max()))
    assert relative_error(matrix @ inverse @ matrix, matrix) < 1e-10 * scale
    assert relative_error(inverse @ matrix @ inverse, inverse) < 1e-10 * scale
    assert relative_error((matrix @ inverse).T, matrix @ inverse) < 1e-10 * scale
    assert relative_error((inverse @ matrix).T, inverse @ matrix) < 1e-10 * scale

    found = a.svd()
    tail = found.tail * (torch.eye(a.shape[1], dtype=torch.float64) - found.right @ found.right.T) if found.tail else torch.zeros_like(matrix)
    assert relative_error(found.left @ torch.diag(found.values) @ found.right.T + tail, matrix) < 1e-12
    expected = torch.linalg.svdvals(matrix)
    written_out = torch.cat([found.values, expected.new_full((found.tail_multiplicity,), abs(found.tail))])
    assert relative_error(written_out.sort(descending=True).values, expected) < 1e-11
    assert found.values.tolist() == sorted(found.values.tolist(), reverse=True)
    assert relative_error(found.left.T @ found.left, torch.eye(found.left.shape[1], dtype=torch.float64)) < 1e-12
    assert (found.largest, found.smallest) == pytest.approx((float(expected.max()), float(expected.min())), abs=1e-12, rel=1e-9)
    assert a.rank() == int(torch.linalg.matrix_rank(matrix))
    assert a.cond() == float("inf") if a.rank() < min(a.shape) else a.cond() == pytest.approx(float(expected[0] / expected[-1]), rel=1e-6)


@pairs
@given(first=kinds, second=kinds, m=sizes, k=sizes, n=sizes, seed=seeds)
def test_products_of_all_pairs(first: str, second: str, m: int, k: int, n: int, seed: int) -> None:
    g = seeded(seed)
    b = make(second, k, n, g)
    a = make(first, m, b.shape[0], g)
    product = a @ b
    assert relative_error(dense(product), dense(a) @ dense(b)) < 1e-12
    assert relative_error(dense(product.T), (dense(a) @ dense(b)).T) < 1e-12
    if isinstance(a, LowRank) or isinstance(b, LowRank):
        assert isinstance(product, LowRank)


@pairs
@given(first=kinds, second=kinds, m=sizes, n=sizes, seed=seeds)
def test_sums_differences_and_multiples_of_all_pairs(first: str, second: str, m: int, n: int, seed: int) -> None:
    g = seeded(seed)
    if first in SQUARE_MAKERS or second in SQUARE_MAKERS:
        m = n
    a, b = make(first, m, n, g), make(second, m, n, g)
    assert relative_error(dense(a + b), dense(a) + dense(b)) < 1e-13
    assert relative_error(dense(-a - 3 * b / 2), -dense(a) - 1.5 * dense(b)) < 1e-13
    assert relative_error(dense(torch.tensor(0.5) * a), 0.5 * dense(a)) < 1e-13


@settings(deadline=None, max_examples=60)
@given(kind=kinds, n=sizes, seed=seeds, s=st.floats(-1.5, 1.5), t=st.floats(-1.5, 1.5))
def test_expm_is_a_semigroup_and_right(kind: str, n: int, seed: int, s: float, t: float) -> None:
    a = make(kind, n, n, seeded(seed)) / 3
    assert relative_error(dense(a.expm(s) @ a.expm(t)), dense(a.expm(s + t))) < 1e-10
    assert relative_error(dense(a.expm(t)), series_exponential(t * dense(a))) < 1e-11


@settings(deadline=None, max_examples=60)
@given(kind=kinds, n=sizes, seed=seeds)
def test_evolve_is_the_exponential_of_each_row(kind: str, n: int, seed: int) -> None:
    g = seeded(seed)
    a = make(kind, n, n, g) / 3
    z, t = normal(g, 3, 1, n), normal(g, 3, 4)
    t[1] = t[0]  # some times are shared, others are not
    expected = torch.stack([torch.stack([dense(a.expm(float(time))) @ row[0] for time in times]) for row, times in zip(z, t, strict=True)])
    assert relative_error(a.evolve(z, t), expected) < 1e-11
    assert relative_error(a.evolve(a.evolve(z, t), -t), z.expand(3, 4, n)) < 1e-9
    assert relative_error(a.evolve(z[0, 0], 0.7), dense(a.expm(0.7)) @ z[0, 0]) < 1e-11


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_evolve_has_the_derivative_of_the_equation(kind: str) -> None:
    g = seeded(3)
    a = make(kind, 4, 4, g) / 3
    t = normal(g, 5).requires_grad_()
    z = normal(g, 5, 4)
    moved = a.evolve(z, t)
    weights = normal(g, 5, 4)
    (slope,) = torch.autograd.grad((weights * moved).sum(), t)
    assert relative_error(slope, (weights * a(moved)).sum(1).detach()) < 1e-11


def test_evolve_refuses_what_does_not_fit() -> None:
    a = Diagonal(torch.ones(3))
    with pytest.raises(ShapeMismatchError, match="expected a square operator"):
        LowRank(torch.ones(3, 1), torch.ones(2, 1)).evolve(torch.ones(2), 1.0)
    with pytest.raises(ShapeMismatchError, match="flatten the latent first"):
        a.evolve(torch.ones(4), 1.0)
    with pytest.raises(ShapeMismatchError, match="do not broadcast"):
        a.evolve(torch.ones(4, 3), torch.ones(5))


@settings(deadline=None, max_examples=60)
@given(kind=kinds, n=sizes, seed=seeds, exponent=st.integers(-3, 5))
def test_integer_powers_and_inverse(kind: str, n: int, seed: int, exponent: int) -> None:
    a = make(kind, n, n, seeded(seed))
    matrix = dense(a)
    if exponent < 0 and a.cond() > 1e4:
        if a.cond() == float("inf"):
            with pytest.raises(SingularOperatorError):
                a.inverse()
        return
    expected = torch.linalg.matrix_power(matrix, exponent)
    assert relative_error(dense(a**exponent), expected) < 1e-9
    if a.cond() < 1e4:
        assert relative_error(dense(a.inverse() @ a), torch.eye(n, dtype=torch.float64)) < 1e-9


@settings(deadline=None, max_examples=60)
@given(kind=kinds, n=sizes, seed=seeds, exponent=st.sampled_from([0.5, 1 / 3, -0.5, 1.5]))
def test_real_powers_of_positive_operators(kind: str, n: int, seed: int, exponent: float) -> None:
    root = make(kind, n, n, seeded(seed))
    a = root @ root.T + ScaledIdentity(0.5, n, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(dense(a))
    assert relative_error(dense(a**exponent), (vectors * values**exponent) @ vectors.T) < 1e-9


@settings(deadline=None, max_examples=30)
@given(kind=st.sampled_from(["dense", "low_rank", "identity_plus_low_rank", "shared_subspace", "sum"]), n=st.integers(3, 6), seed=seeds)
def test_real_power_of_an_operator_that_is_not_symmetric(kind: str, n: int, seed: int) -> None:
    generator = make(kind, n, n, seeded(seed))
    a = (generator / (2 * generator.svd().largest)).expm() if kind != "low_rank" else _power_safe_low_rank(n, seeded(seed))
    cube_root = a ** (1 / 3)
    assert type(cube_root) is (IdentityPlusLowRank if kind == "shared_subspace" else type(a))
    assert relative_error(dense(cube_root @ cube_root @ cube_root), dense(a)) < 1e-10
    assert relative_error(dense(a**0.5 @ a**0.5), dense(a)) < 1e-10


def _power_safe_low_rank(n: int, g: torch.Generator) -> LowRank:
    left, turn = normal(g, n, 2), torch.eye(2, dtype=torch.float64) + 0.2 * torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    return LowRank(left @ turn, torch.linalg.pinv(left).T)


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_semidefinite_operators_have_square_roots(kind: str) -> None:
    root = make(kind, 5, 5, seeded(3))
    keep = Mask(torch.tensor([True, True, True, False, False]), dtype=torch.float64)
    a = keep @ root @ root.T @ keep if kind in ("dense", "product", "sum") else root @ root.T
    assert relative_error(dense(a**0.5 @ a**0.5), dense(a)) < 1e-7


@pytest.mark.parametrize("kind", ["scaled_identity", "diagonal", "dense", "identity_plus_low_rank", "shared_subspace"])
def test_roots_of_reflections_do_not_exist(kind: str) -> None:
    reflection = {
        "scaled_identity": ScaledIdentity(-1.0, 3, dtype=torch.float64),
        "diagonal": Diagonal(torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)),
        "dense": Dense(torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))),
        "identity_plus_low_rank": IdentityPlusLowRank(1.0, *[2**0.5 * f * torch.eye(3, 1, dtype=torch.float64) for f in (1, -1)]),
        "shared_subspace": SharedSubspace(1.0, torch.eye(3, 1), torch.tensor([[-2.0]]), torch.eye(3, 1)),
    }[kind]
    assert reflection.kind == kind
    with pytest.raises(UndefinedPowerError, match="does not exist over the reals"):
        reflection**0.5
    assert relative_error(dense(reflection**2), torch.eye(3, dtype=torch.float64)) < 1e-6


def test_power_needs_a_basis_of_eigenvectors() -> None:
    with pytest.raises(UndefinedPowerError, match="eigenvectors"):
        Dense(torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]], dtype=torch.float64)).power(0.5)
    with pytest.raises(UndefinedPowerError):
        LowRank(torch.eye(3, 1), torch.eye(3)[:, 1:2]).power(0.5)


@pytest.mark.parametrize("kind", sorted(RECTANGULAR_MAKERS))
@pytest.mark.parametrize("operation", ["inverse", "expm", "power"])
def test_rectangular_operators_refuse(kind: str, operation: str) -> None:
    a = make(kind, 3, 4, seeded(0))
    with pytest.raises(ShapeMismatchError, match="square"):
        a.power(2) if operation == "power" else getattr(a, operation)()


@pytest.mark.parametrize("kind", sorted(SQUARE_MAKERS | RECTANGULAR_MAKERS))
def test_the_identity_is_neutral(kind: str) -> None:
    a = make(kind, 4, 4, seeded(1))
    one, nothing = ScaledIdentity(1.0, 4, dtype=torch.float64), ScaledIdentity(0.0, 4, dtype=torch.float64)
    for same in (one @ a, a @ one, a + nothing, nothing + a, 1 * a, a * 1.0, a / 1):
        assert type(same) is type(a)
        assert torch.equal(same.to_dense(), a.to_dense())
    assert not (a @ nothing).to_dense().any()


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_shapes_are_checked(kind: str) -> None:
    a = make(kind, 4, 4, seeded(1))
    with pytest.raises(ShapeMismatchError, match=r"expected \(\.\.\., 4\)"):
        a(torch.ones(2, 3))
    with pytest.raises(ShapeMismatchError, match="must be equal"):
        a @ ScaledIdentity(1.0, 3)
    with pytest.raises(ShapeMismatchError, match="equal shapes"):
        a + ScaledIdentity(1.0, 3)
    with pytest.raises(TypeError):
        a @ torch.ones(4, 4)  # type: ignore[operator]


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_float32_agrees_with_float64_and_dtypes_meet_in_the_wider(kind: str) -> None:
    narrow = make(kind, 5, 4, seeded(2), torch.float32)
    wide = narrow.to(torch.float64)
    x = normal(seeded(4), 3, 4)
    assert narrow.dtype == torch.float32
    assert wide.dtype == torch.float64
    assert narrow(x.float()).dtype == torch.float32
    assert narrow(x).dtype == wide(x.float()).dtype == (narrow.T @ wide).dtype == (wide + narrow).dtype == torch.float64
    assert relative_error(narrow(x.float()).double(), wide(x)) < 1e-5
    assert relative_error(dense(narrow.pinv(1e-4)).double(), dense(wide.pinv(1e-4))) < 1e-4
    assert narrow.svd().left.dtype == narrow.pinv().dtype == torch.float32


@pytest.mark.parametrize("kind", sorted(set(MAKERS) - {"mask", "identity_plus_nothing", "rank_zero"}))
def test_gradients_of_call_composition_and_matrix(kind: str) -> None:
    start = make(kind, 3, 3, seeded(5))
    floating = {name: tensor for name, tensor in start.tensors().items() if tensor.is_floating_point()}
    fixed = {name: tensor for name, tensor in start.tensors().items() if name not in floating}
    other = Dense(normal(seeded(6), 3, 3))

    def through(z: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        a = type(start).from_tensors(dict(zip(floating, tensors, strict=True)) | fixed)
        return a(z), (a @ other).to_dense(), (a + other).to_dense(), a.T(z), (2.0 * a @ a).to_dense()

    arguments = [tensor.clone().requires_grad_() for tensor in (normal(seeded(7), 2, 3), *floating.values())]
    assert torch.autograd.gradcheck(through, arguments)


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_tensors_round_trip_and_are_checked(kind: str) -> None:
    a = make(kind, 5, 4, seeded(8), torch.float32)
    again = type(a).from_tensors(a.tensors())
    assert again.dtype == torch.float32
    assert torch.equal(again.to_dense(), a.to_dense())
    with pytest.raises(ArtifactError):
        type(a).from_tensors(a.tensors() | {"surprise": torch.zeros(2)})
    with pytest.raises(ArtifactError):
        type(a).from_tensors({})


def test_no_silent_dense_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "DENSE_LIMIT", 4)
    for lazy in (
        Product(MAKERS["diagonal"](5, 5, seeded(0), torch.float64), MAKERS["identity_plus_low_rank"](5, 5, seeded(1), torch.float64)),
        Sum(MAKERS["diagonal"](5, 5, seeded(0), torch.float64), MAKERS["low_rank"](5, 5, seeded(1), torch.float64)),
    ):
        for operation in (lazy.to_dense, lazy.svd, lazy.pinv, lazy.expm, lazy.cond, lazy.rank, lambda a=lazy: a.power(0.5)):
            with pytest.raises(DenseLimitError, match="limit 4 x 4; build the operator from"):
                operation()
        assert (make("dense", 5, 5, seeded(2)) + lazy).kind == (lazy @ make("dense", 5, 5, seeded(2))).kind == "dense"
    assert make("dense", 5, 5, seeded(0)).to_dense().shape == (5, 5)
    for kind in ("scaled_identity", "diagonal", "mask", "low_rank", "identity_plus_low_rank", "shared_subspace"):
        a = make(kind, 5, 5, seeded(1))
        assert a.pinv().shape == a.expm().shape == (a @ a).shape == (5, 5)


@pytest.mark.parametrize("kind", sorted(set(MAKERS) - {"mask"}))
def test_functions_work_on_operators_that_are_being_trained(kind: str) -> None:
    start = make(kind, 3, 3, seeded(9))
    a = start._map(lambda tensor: tensor.requires_grad_() if tensor.is_floating_point() else tensor)
    shifted = a @ a.T + ScaledIdentity(1.0, 3, dtype=torch.float64)
    x = normal(seeded(10), 3)
    assert shifted.cond() >= 1
    assert shifted.rank() == 3
    for operator in (shifted.inverse(), shifted.expm(0.1), shifted**2, shifted**0.5, shifted.pinv()):
        image = operator(x)
        assert image.requires_grad or not any(tensor.numel() for tensor in start.tensors().values() if tensor.is_floating_point())
        assert bool(image.isfinite().all())
