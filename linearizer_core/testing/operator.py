"""The laws of a linear operator, in float64 unless they are about dtypes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from linearizer_core.errors import CheckFailure, DenseLimitError, LinearizerError, ShapeMismatchError, SingularOperatorError
from linearizer_core.operators import LinearOperator, Mask, ScaledIdentity, load_operator, save_operator
from linearizer_core.operators.kinds import KINDS
from linearizer_core.testing.check import Check, Context, SkipCheck
from linearizer_core.testing.numerics import require_close, require_same_bits
from linearizer_core.testing.subjects import OperatorSubject

_EXACT = 1e-10
_DECOMPOSED = 1e-8
_FLOAT32 = 1e-4
_LARGEST_CONDITION = 1e4


def linearity(subject: OperatorSubject, context: Context) -> None:
    a = _wide(subject)
    x, y = _vectors(3, a.shape[1]), _vectors(3, a.shape[1])
    require_close(a(2.5 * x - y), 2.5 * a(x) - a(y), _EXACT, "A(2.5 x - y) is not 2.5 A x - A y", "a linear map has no offset and no nonlinearity")
    for shape in ((), (2,), (2, 3)):
        if a(_vectors(*shape, a.shape[1])).shape != (*shape, a.shape[0]):
            raise CheckFailure(f"applied to {(*shape, a.shape[1])} it gives {tuple(a(_vectors(*shape, a.shape[1])).shape)}, expected {(*shape, a.shape[0])}")


def adjoint(subject: OperatorSubject, context: Context) -> None:
    a = _wide(subject)
    x, y = _vectors(4, a.shape[1]), _vectors(4, a.shape[0])
    if a.T.shape != a.shape[::-1]:
        raise CheckFailure(f"A has shape {a.shape} and A.T {a.T.shape}, expected {a.shape[::-1]}")
    require_close((a.T(y) * x).sum(1), (a(x) * y).sum(1), _EXACT, "<A x, y> is not <x, A.T y>", "T is not the transpose")
    require_close(_matrix(a.T.T), _matrix(a), _EXACT, "A.T.T is not A", "transposing twice must lead back")


def dense(subject: OperatorSubject, context: Context) -> None:
    a = _wide(subject)
    require_close(a.to_dense(), _matrix(a), _EXACT, "to_dense() is not the matrix of the images of unit vectors", "it may be transposed, or lack a part")


def algebra(subject: OperatorSubject, context: Context) -> None:
    a = _wide(subject)
    matrix, cause = _matrix(a), "a rule of _matmul, _rmatmul, _add or _scale is wrong; return None where a rule does not apply"
    require_close(_matrix(a @ a.T), matrix @ matrix.mT, _EXACT, "A @ A.T is not the product of the matrices", cause)
    require_close(_matrix(a + a), 2 * matrix, _EXACT, "A + A is not twice the matrix", cause)
    require_close(_matrix(-a - 3 * a / 2), -2.5 * matrix, _EXACT, "-A - 3 A / 2 is not -2.5 A", cause)
    if a.shape[0] == a.shape[1]:
        one = ScaledIdentity(1.0, a.shape[0], dtype=a.dtype)
        require_close(_matrix(a @ one - one @ a), torch.zeros_like(matrix), _EXACT, "A @ I and I @ A differ", cause)
        require_close(_matrix(a + one), matrix + torch.eye(len(matrix), dtype=matrix.dtype), _EXACT, "A + I is not the sum of the matrices", cause)


def svd(subject: OperatorSubject, context: Context) -> None:
    a = _wide(subject)
    matrix, found = _matrix(a), a.svd()
    identity = torch.eye(a.shape[1], dtype=matrix.dtype)
    built = found.left @ torch.diag(found.values) @ found.right.mT
    if found.tail:
        built = built + found.tail * (identity - found.right @ found.right.mT)
    require_close(built, matrix, _DECOMPOSED, "U diag(s) V^T + tail (I - V V^T) is not A", "svd returns other factors; see linearizer_core.operators.base.SVD")
    for name, factor in (("left", found.left), ("right", found.right)):
        columns = torch.eye(factor.shape[1], dtype=matrix.dtype)
        require_close(factor.mT @ factor, columns, _DECOMPOSED, f"the columns of {name} are not orthonormal", "normalise them")
    expected = torch.linalg.svdvals(matrix)
    written_out = torch.cat([found.values, expected.new_full((found.tail_multiplicity,), abs(found.tail))]).sort(descending=True).values
    require_close(written_out, expected, _DECOMPOSED, "values and tail are not the singular values", "there must be min(m, n) of them, none negative")
    rank = int((expected > _DECOMPOSED * expected[0]).sum())
    if a.rank(_DECOMPOSED) != rank:
        raise CheckFailure(f"rank() is {a.rank(_DECOMPOSED)}, the matrix has rank {rank}")
    condition = float(expected[0] / expected[-1]) if rank == len(expected) else float("inf")
    if condition < _LARGEST_CONDITION and not abs(a.cond() / condition - 1) < _DECOMPOSED:
        raise CheckFailure(f"cond() is {a.cond():.6g}, that of the matrix is {condition:.6g}")


def penrose(subject: OperatorSubject, context: Context) -> None:
    a = _wide(subject)
    matrix, inverse = _matrix(a), _matrix(a.pinv(_DECOMPOSED))
    if inverse.shape != matrix.mT.shape:
        raise CheckFailure(f"pinv() has shape {tuple(inverse.shape)}, expected {tuple(matrix.mT.shape)}")
    scale = _DECOMPOSED * max(1.0, float(inverse.abs().max()))
    for identity, found, expected in (
        ("A A+ A = A", matrix @ inverse @ matrix, matrix),
        ("A+ A A+ = A+", inverse @ matrix @ inverse, inverse),
        ("(A A+)^T = A A+", (matrix @ inverse).mT, matrix @ inverse),
        ("(A+ A)^T = A+ A", (inverse @ matrix).mT, inverse @ matrix),
    ):
        require_close(found, expected, scale, f"the Penrose identity {identity} does not hold", "pinv is not the Moore-Penrose inverse")


def inverse(subject: OperatorSubject, context: Context) -> None:
    a = _wide(subject)
    if a.shape[0] != a.shape[1]:
        _require_refusal(a.inverse, ShapeMismatchError, "inverse() of an operator that is not square")
        raise SkipCheck("it is not square, and refuses")
    condition = _condition(a)
    if condition > 1e12:
        _require_refusal(a.inverse, SingularOperatorError, "inverse() of a singular operator")
        raise SkipCheck("it is singular, and refuses")
    identity = torch.eye(a.shape[0], dtype=a.dtype)
    require_close(_matrix(a.inverse()) @ _matrix(a), identity, _EXACT * max(1.0, condition), "A^-1 A is not the identity", "inverse is wrong")


def power(subject: OperatorSubject, context: Context) -> None:
    a = _square(subject)
    matrix = _matrix(a)
    least = -2 if _condition(a) < _LARGEST_CONDITION else 0
    for n in range(least, 4):
        expected = torch.linalg.matrix_power(matrix, n)
        scale = _DECOMPOSED * max(1.0, float(expected.abs().max()))
        require_close(_matrix(a**n), expected, scale, f"A**{n} is not the power of the matrix", "power is wrong for this exponent")
    positive = a @ a.T + ScaledIdentity(0.5, a.shape[0], dtype=a.dtype)
    root = _matrix(positive**0.5)
    require_close(root @ root, _matrix(positive), _DECOMPOSED, "the square root of A A^T + I/2, squared, is not that", "the principal power is wrong")


def semigroup(subject: OperatorSubject, context: Context) -> None:
    a = _square(subject)
    a = a / max(1.0, float(torch.linalg.matrix_norm(_matrix(a), 2)))
    expected = torch.linalg.matrix_exp(0.7 * _matrix(a))
    require_close(_matrix(a.expm(0.7)), expected, _DECOMPOSED, "expm(t) is not the exponential of t A", "expm is wrong")
    claim = "expm(s) @ expm(t) is not expm(s + t)"
    require_close(_matrix(a.expm(0.3) @ a.expm(0.4)), _matrix(a.expm(0.7)), _DECOMPOSED, claim, "the exponentials of one operator form a semigroup")


def evolve(subject: OperatorSubject, context: Context) -> None:
    a = _square(subject)
    a = a / max(1.0, float(torch.linalg.matrix_norm(_matrix(a), 2)))
    z, times = _vectors(3, 1, a.shape[1]), torch.tensor([[0.3, -0.8], [1.1, 0.3], [0.0, 0.5]], dtype=torch.float64)
    expected = torch.stack([torch.stack([a.expm(t)(row[0]) for t in each]) for row, each in zip(z, times.tolist(), strict=True)])
    claim, cause = "evolve(z, t) is not expm(t)(z), row by row", "each row has a time of its own"
    require_close(a.evolve(z, times), expected, _DECOMPOSED, claim, cause)


def mask_idempotence(subject: OperatorSubject, context: Context) -> None:
    a = _made(subject)
    if not isinstance(a, Mask):
        raise SkipCheck("it is no Mask")
    z = _vectors(5, a.shape[1]).to(a.dtype)
    require_same_bits(a(a(z)), a(z), "A(A z) has other bits than A z", "a mask multiplies by 0 and 1")
    require_same_bits((a @ a).to_dense(), a.to_dense(), "A @ A has other bits than A", "a mask is its own square")


def storage(subject: OperatorSubject, context: Context) -> str:
    made = _made(subject)
    # In the layout in which it is stored: with other strides the same product may round otherwise.
    a = type(made).from_tensors({name: tensor.detach().contiguous() for name, tensor in made.tensors().items()})
    cause = "tensors() must hold all that defines it, under the names of the constructor"
    require_close(_matrix(a), _matrix(made), _FLOAT32, "rebuilt from its tensors it is another operator", cause)
    if a.kind not in KINDS:
        return f"kind {a.kind!r} is not one that files know; only the tensors were compared"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "operator.safetensors"
        save_operator(path, a)
        loaded = load_operator(path)
    if type(loaded) is not type(a) or loaded.dtype != a.dtype:
        raise CheckFailure(f"saved as {a!r}, loaded as {loaded!r}; kind must be a name of its own, and a tensor must keep the dtype")
    require_same_bits(_matrix(loaded), _matrix(a), "loaded from its file it is another operator", cause)
    return f"kind {a.kind!r}"


def dtypes(subject: OperatorSubject, context: Context) -> None:
    wide, narrow = _wide(subject), _made(subject).to(torch.float32)
    x = _vectors(3, wide.shape[1])
    for operator in (narrow, wide):
        for given in (x.float(), x):
            expected = torch.promote_types(operator.dtype, given.dtype)
            found = operator(given)
            if found.dtype != expected or operator.T.dtype != operator.dtype or operator.to_dense().dtype != operator.dtype:
                raise CheckFailure(f"{operator!r} applied to {given.dtype} gives {found.dtype}, expected {expected}: the wider of the two")
    require_close(narrow(x.float()), wide(x), _FLOAT32, "in float32 it is another operator", "constants may be rebuilt in another way after to()")


def gradients(subject: OperatorSubject, context: Context) -> str:
    a = _wide(subject)
    floating = {name: tensor.detach().clone().requires_grad_() for name, tensor in a.tensors().items() if tensor.is_floating_point()}
    if isinstance(a, Mask) or not any(tensor.numel() for tensor in floating.values()):
        raise SkipCheck("nothing in it varies continuously")
    fixed = {name: tensor for name, tensor in a.tensors().items() if name not in floating}
    z = _vectors(2, a.shape[1]).requires_grad_()

    def through(z: Tensor, *tensors: Tensor) -> Tensor:
        return type(a).from_tensors({**dict(zip(floating, tensors, strict=True)), **fixed})(z)

    try:
        torch.autograd.gradcheck(through, (z, *floating.values()), fast_mode=True)
    except RuntimeError as error:
        raise CheckFailure(f"gradients of A z are wrong: {' '.join(str(error).split())[:200]}; something is detached or converted to a number") from error
    return ", ".join(["z", *floating])


def immutability(subject: OperatorSubject, context: Context) -> None:
    a = _wide(subject)
    before = {name: tensor.clone() for name, tensor in a.tensors().items()}
    z = _vectors(3, a.shape[1])
    given = z.clone()
    operations: list[Callable[[], object]] = [lambda: a(z), lambda: a.T, lambda: a @ a.T, lambda: a + a, lambda: 2 * a, a.svd, a.pinv, a.to_dense]
    for operation in operations:
        operation()
    if not torch.equal(z, given):
        raise CheckFailure("applying it changes the input in place; write z = z + y, not z += y")
    if changed := [name for name, tensor in a.tensors().items() if not torch.equal(tensor, before[name])]:
        raise CheckFailure(f"an operation changed its tensor {changed[0]!r} in place; an operator is immutable, return a new one")


def refuses_wrong_shapes(subject: OperatorSubject, context: Context) -> None:
    a = _made(subject)
    _require_refusal(lambda: a(torch.ones(2, a.shape[1] + 1, dtype=a.dtype)), ShapeMismatchError, f"a vector of {a.shape[1] + 1} entries")
    if a.shape[0] != a.shape[1]:
        for name in ("expm", "inverse"):
            _require_refusal(getattr(a, name), ShapeMismatchError, f"{name}() of an operator that is not square")


# --- what they share ---------------------------------------------------------------------------------


def _made(subject: OperatorSubject) -> LinearOperator:
    a = subject.make()
    try:
        a.to_dense()
    except DenseLimitError as error:
        raise SkipCheck(f"it is too large to compare with a matrix ({error}); check a smaller one") from error
    return a


def _wide(subject: OperatorSubject) -> LinearOperator:
    return _made(subject).to(torch.float64)


def _square(subject: OperatorSubject) -> LinearOperator:
    a = _wide(subject)
    if a.shape[0] != a.shape[1]:
        raise SkipCheck("it is not square")
    return a


def _matrix(a: LinearOperator) -> Tensor:
    """The matrix by its definition: the images of the unit vectors."""
    return a(torch.eye(a.shape[1], dtype=a.dtype, device=a.device)).detach().mT


def _condition(a: LinearOperator) -> float:
    values = torch.linalg.svdvals(_matrix(a))
    return float(values[0] / values[-1]) if values[-1] > 0 else float("inf")


def _vectors(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def _require_refusal(call: Callable[[], object], error: type[LinearizerError], what: str) -> None:
    try:
        call()
    except error:
        return
    raise CheckFailure(f"{what} is accepted, expected {error.__name__}")


CHECKS = tuple(
    Check(name, "operator", law, function)
    for name, law, function in (
        ("linearity", "A(a x + y) is a A x + A y, over any number of leading dimensions", linearity),
        ("adjoint", "<A x, y> is <x, A.T y>", adjoint),
        ("dense", "to_dense holds the images of the unit vectors", dense),
        ("algebra", "products, sums and multiples are those of the matrices", algebra),
        ("svd", "the factors are orthonormal and build A; rank and condition number are those of the matrix", svd),
        ("penrose", "the pseudo-inverse obeys the four Penrose identities", penrose),
        ("inverse", "A^-1 A is the identity; a singular or rectangular operator refuses", inverse),
        ("power", "powers are those of the matrix, and square roots square back", power),
        ("semigroup", "expm(s) @ expm(t) is expm(s + t), and the exponential of the matrix", semigroup),
        ("evolve", "evolve(z, t) is expm(t)(z), with a time for every row", evolve),
        ("mask-idempotence", "a mask is its own square, bit for bit", mask_idempotence),
        ("storage", "rebuilt from its tensors, or from a file, it has the same bits", storage),
        ("dtypes", "results have the wider dtype of operator and vector, and float32 agrees with float64", dtypes),
        ("gradients", "gradients of A z agree with finite differences, in z and in every tensor", gradients),
        ("immutability", "no operation changes the operator or its input", immutability),
        ("refuses-wrong-shapes", "a vector of another length raises ShapeMismatchError", refuses_wrong_shapes),
    )
)
