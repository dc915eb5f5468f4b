"""The laws of a backbone: of a bijection, for every shape it takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import get_args

import torch
from torch import Tensor

from linearizer_core.bijections import InverseGrad, InverseKind
from linearizer_core.condition import Condition
from linearizer_core.errors import CheckFailure, ConditionError, InputShapeError, LogDetUnavailableError
from linearizer_core.testing.backbone_derivatives import forward_gradients, inverse_gradients, logdet, reversible_gradients
from linearizer_core.testing.check import Check, Context, SkipCheck
from linearizer_core.testing.numerics import LOOSEST, largest_error, require_close, require_same_bits
from linearizer_core.testing.specimens import Specimen, Way, refusals, specimens
from linearizer_core.testing.subjects import BackboneSubject

_SAME = {torch.float64: 1e-12, torch.float32: 1e-5}
"""Tolerance between two evaluations of one function on one input, by other kernels."""

_NOTICEABLE = 1e-6


# --- shapes and declarations ------------------------------------------------------------------------


def construction(subject: BackboneSubject, context: Context) -> str:
    refused = refusals(subject)
    if len(refused) == len(subject.shapes):
        shape, reason = next(iter(refused.items()))
        raise CheckFailure(f"none of {len(refused)} shapes can be made; {shape}: {reason}")
    for shape in map(tuple, subject.shapes):
        if shape in refused:
            continue
        made = subject.make(shape)
        if made.in_shape != shape:
            raise CheckFailure(f"asked for in_shape {shape}, got {made.in_shape}; pass the shape on to super().__init__")
        elements = math.prod(made.in_shape), math.prod(made.out_shape)
        if made.surjective != (elements[0] == elements[1]):
            raise CheckFailure(
                f"{shape}: surjective is {made.surjective}, but {elements[0]} numbers go in and {elements[1]} come out; "
                "a bijection keeps their number, and a map that is not surjective makes more of them"
            )
    works = f"{len(subject.shapes) - len(refused)} of {len(subject.shapes)} shapes"
    return "; ".join([works, *(f"refused {shape}: {reason}" for shape, reason in refused.items())])


def capabilities(subject: BackboneSubject, context: Context) -> str:
    for specimen in specimens(subject):
        bijection = specimen.bijection
        if bijection.inverse_kind not in get_args(InverseKind) or bijection.inverse_grad not in get_args(InverseGrad):
            raise CheckFailure(
                f"inverse_kind is {bijection.inverse_kind!r} and inverse_grad {bijection.inverse_grad!r}; "
                f"expected one of {get_args(InverseKind)} and one of {get_args(InverseGrad)}"
            )
        if bijection.inverse_kind == "iterative" and bijection.inverse_grad == "exact":
            raise CheckFailure(
                f"{specimen}: inverse_kind is 'iterative' and inverse_grad 'exact', but an iteration ends near the solution, where gradients have to be "
                "solved for; declare inverse_grad = 'implicit', or 'none' where none flows"
            )
        _check_logdet_declaration(specimen)
        z, condition = specimen.latents()
        arrives = bijection.inverse(z.requires_grad_(), condition).requires_grad
        if arrives != (bijection.inverse_grad != "none"):
            raise CheckFailure(f"{specimen}: inverse_grad is {bijection.inverse_grad!r}, but the inverse {'has' if arrives else 'has no'} gradient")
    names = ("inverse_kind", "inverse_grad", "has_logdet", "bit_exact", "surjective")
    return ", ".join(f"{name} = {getattr(bijection, name)}" for name in names)


def _check_logdet_declaration(specimen: Specimen) -> None:
    bijection = specimen.bijection
    for (tensor, condition), function in ((specimen.points(), bijection.forward_and_logdet), (specimen.latents(), bijection.inverse_and_logdet)):
        try:
            values = function(tensor, condition)[1]
        except LogDetUnavailableError as error:
            if bijection.has_logdet:
                raise CheckFailure(f"{specimen}: has_logdet is True, but {function.__name__} raises LogDetUnavailableError; declare it False") from error
            continue
        if not bijection.has_logdet:
            raise CheckFailure(f"{specimen}: has_logdet is False, but {function.__name__} returns one; declare it True, or do not override the method")
        if values.shape != tensor.shape[:1] or values.dtype != tensor.dtype:
            raise CheckFailure(f"{specimen}: {function.__name__} gives {values.dtype} of shape {tuple(values.shape)}, expected {tensor.dtype} of shape (B,)")


def shapes(subject: BackboneSubject, context: Context) -> None:
    for specimen in _in_all_shapes(subject, context):
        expected = {"forward": specimen.bijection.out_shape, "inverse": specimen.bijection.in_shape}
        for batch in (1, 2, 5):
            for way in specimen.both_ways(batch):
                with torch.no_grad():
                    result = way()
                where = f"{specimen}: {way.direction} of a batch of {batch} gives"
                if result.shape != (batch, *expected[way.direction]) or result.dtype != specimen.dtype:
                    wanted = f"expected {specimen.dtype} of shape {(batch, *expected[way.direction])}"
                    raise CheckFailure(f"{where} {result.dtype} of shape {tuple(result.shape)}, {wanted}; keep the dtype of the input, and the declared shape")
                if not bool(result.isfinite().all()):
                    raise CheckFailure(f"{where} numbers that are not finite; bound what is exponentiated, and do not divide")


def refuses_wrong_shapes(subject: BackboneSubject, context: Context) -> None:
    cause = "call self.check_input(x) and self.check_latent(z) first"
    for specimen in specimens(subject):
        for way in specimen.both_ways():
            wrong = torch.cat([way.tensor, way.tensor[:, :1]], dim=1)
            try:
                way.function(wrong, way.condition)
            except InputShapeError:
                continue
            except Exception as error:
                raise CheckFailure(f"{specimen}: {way.direction} of shape {tuple(wrong.shape)} raises {type(error).__name__}; {cause}") from error
            raise CheckFailure(f"{specimen}: {way.direction} takes a tensor of shape {tuple(wrong.shape)}; {cause}")


# --- invertibility -----------------------------------------------------------------------------------


def left_inverse(subject: BackboneSubject, context: Context) -> str:
    def round_trip(specimen: Specimen, batch: int) -> tuple[Tensor, Tensor]:
        x, condition = specimen.representable(batch)
        return specimen.bijection.inverse(specimen.bijection(x, condition), condition), x

    return _worst_round_trip(subject, context, round_trip, "g^-1(g(x)) is not x", "inverse does not undo forward, or loses digits: bound the scales")


def right_inverse(subject: BackboneSubject, context: Context) -> str:
    def round_trip(specimen: Specimen, batch: int) -> tuple[Tensor, Tensor]:
        bijection = specimen.bijection
        if not bijection.surjective:
            raise SkipCheck("surjective is False: the inverse is a left inverse")
        z, condition = specimen.latents(batch)
        if bijection.bit_exact:
            z = bijection(bijection.inverse(z, condition), condition)
        return bijection(bijection.inverse(z, condition), condition), z

    return _worst_round_trip(subject, context, round_trip, "g(g^-1(z)) is not z", "some latents are not reached, or inverse is not g^-1 there")


def bit_exact(subject: BackboneSubject, context: Context) -> str:
    for specimen in _in_all_shapes(subject, context):
        bijection = specimen.bijection
        if not bijection.bit_exact:
            raise SkipCheck("bit_exact is False")
        claim = f"{specimen}: bit_exact is True"
        for batch in (1, 4):
            given, condition = specimen.points(batch)
            x, _ = specimen.representable(batch)
            require_close(x, given, LOOSEST, f"{claim}, but g^-1(g(x)) is far from x", "only rounding to a fine grid may come between")
            with torch.no_grad():
                z = bijection(x, condition)
                require_same_bits(bijection.inverse(z, condition), x, f"{claim}, but g^-1(g(x)) is not x", "a sum or product was rounded")
                if bijection.surjective:
                    require_same_bits(bijection(bijection.inverse(z, condition), condition), z, f"{claim}, but g(g^-1(z)) is not z", "a sum was rounded")
    return "on the points that g^-1 g gives"


# --- state, purity, conditions --------------------------------------------------------------------------


def parameters_used(subject: BackboneSubject, context: Context) -> None:
    for specimen in specimens(subject):
        named = [(name, parameter) for name, parameter in specimen.bijection.named_parameters() if parameter.requires_grad]
        if not named:
            continue
        x, condition = specimen.points()
        gradients = torch.autograd.grad(specimen.bijection(x, condition).square().sum(), [parameter for _, parameter in named], allow_unused=True)
        if unused := [name for (name, _), gradient in zip(named, gradients, strict=True) if gradient is None]:
            raise CheckFailure(
                f"{specimen}: forward does not use {len(unused)} of {len(named)} parameters, such as {unused[0]!r}; "
                "training on several processes waits for their gradients: remove them, or set requires_grad = False"
            )


@torch.no_grad()
def state_dict(subject: BackboneSubject, context: Context) -> None:
    for specimen in _in_dtypes(subject, context):
        x, condition = specimen.representable()
        z = specimen.bijection(x, condition)
        back = specimen.bijection.inverse(z, condition)
        other = specimen.fresh().eval()
        other.load_state_dict(specimen.bijection.state_dict())
        cause = "something that matters is neither parameter nor buffer, or is drawn anew"
        require_same_bits(other.inverse(z, condition), back, f"{specimen}: loaded into a fresh object, the inverse differs", cause)
        require_same_bits(other(x, condition), z, f"{specimen}: loaded into a fresh object, forward differs", cause)
        other.train()(x + 1, condition)
        claim = f"{specimen}: one call in training mode after loading changes the map"
        cause = "what was loaded is initialised again; whether it is initialised belongs into a buffer"
        require_close(other.eval()(x, condition), z, _SAME[specimen.dtype], claim, cause)


@torch.no_grad()
def input_unmodified(subject: BackboneSubject, context: Context) -> None:
    for specimen in specimens(subject):
        for way in specimen.both_ways():
            given = [way.tensor, *(way.condition or {}).values()]
            before = [tensor.clone() for tensor in given]
            way()
            if not all(map(torch.equal, given, before)):
                raise CheckFailure(f"{specimen}: {way.direction} changes its input in place; write x = x + y, not x += y")


@torch.no_grad()
def determinism(subject: BackboneSubject, context: Context) -> None:
    for specimen in _in_dtypes(subject, context):
        for way in specimen.both_ways():
            require_same_bits(way(), way(), f"{specimen}: two equal calls of {way.direction} differ", "something is drawn at random, or changed by a call")


@torch.no_grad()
def modes_agree(subject: BackboneSubject, context: Context) -> None:
    cause = "use no dropout, no batch statistics and nothing that advances in training mode"
    for specimen in specimens(subject):
        for way in specimen.both_ways():
            tolerance = _SAME[torch.float64] if way.direction == "forward" else specimen.tolerance()
            expected = way()
            specimen.bijection.train()
            require_close(way(), expected, tolerance, f"{specimen}: {way.direction} differs in training mode", cause)
            specimen.bijection.eval()
            require_close(way(), expected, tolerance, f"{specimen}: a call of {way.direction} in training mode changes the map", cause)


@torch.no_grad()
def examples_independent(subject: BackboneSubject, context: Context) -> None:
    cause = "examples of one batch see each other, as with batch statistics"
    for specimen in specimens(subject):
        for way in specimen.both_ways(4):
            # Where ordinary kernels differ in the last bit, a grid may round the other way.
            tolerance = LOOSEST if specimen.bijection.bit_exact else _SAME[torch.float64] if way.direction == "forward" else specimen.tolerance()
            together = way()
            for row in range(len(together)):
                index = torch.tensor([row])
                alone = way.function(way.tensor[index], way.condition.rows(index) if way.condition else None)
                require_close(alone, together[index], tolerance, f"{specimen}: {way.direction} of one example alone differs", cause)


@torch.no_grad()
def conditions_used(subject: BackboneSubject, context: Context) -> str:
    used: set[str] = set()
    for specimen in specimens(subject):
        for name, categories in specimen.bijection.conditions.items():
            used.add(name)
            for way in specimen.both_ways():

                def under(label: int, name: str = name, way: Way = way) -> Tensor:
                    return way.function(way.tensor, Condition(**{**(way.condition or {}), name: torch.full(way.tensor.shape[:1], label)}))

                where = f"{specimen}: condition {name!r} is declared, but {way.direction}"
                if any(largest_error(*pair) < _NOTICEABLE for pair in pairwise(map(under, range(categories)))):
                    raise CheckFailure(f"{where} gives the same for two of its values; use the condition, or do not declare it")
                _require_condition_error(lambda way=way: way.function(way.tensor, None), f"{where} works without it")  # type: ignore[misc]
                _require_condition_error(lambda under=under, categories=categories: under(categories), f"{where} takes the value {categories}")  # type: ignore[misc]
    if not used:
        raise SkipCheck("it takes no conditions")
    return ", ".join(sorted(used))


def _require_condition_error(call: Callable[[], Tensor], claim: str) -> None:
    try:
        call()
    except ConditionError:
        return
    raise CheckFailure(f"{claim}; read it with linearizer_core.condition.require_label")


@torch.no_grad()
def autocast(subject: BackboneSubject, context: Context) -> None:
    if torch.float32 not in context.dtypes:
        raise SkipCheck("float32 is not asked for")
    for specimen in specimens(subject, torch.float32):
        for way in specimen.both_ways():
            with torch.autocast("cpu", dtype=torch.bfloat16):
                result = way()
            if result.dtype != torch.float32 or not bool(result.isfinite().all()):
                raise CheckFailure(
                    f"{specimen}: under autocast to bfloat16 {way.direction} gives {result.dtype}, expected finite torch.float32; "
                    "run the stream inside linearizer_core.bijections.full_precision(x)"
                )


# --- what they share ---------------------------------------------------------------------------------


def _in_dtypes(subject: BackboneSubject, context: Context) -> Iterator[Specimen]:
    for dtype in context.dtypes:
        yield from specimens(subject, dtype)


def _in_all_shapes(subject: BackboneSubject, context: Context) -> Iterator[Specimen]:
    for dtype in context.dtypes:
        yield from specimens(subject, dtype, all_shapes=True)


def _worst_round_trip(subject: BackboneSubject, context: Context, round_trip: Callable[[Specimen, int], tuple[Tensor, Tensor]], claim: str, cause: str) -> str:
    worst: dict[str, float] = {}
    gain = 0.0
    for specimen in _in_all_shapes(subject, context):
        gains = specimen.gains()
        where = f"{specimen}, of gain {gains[0]:.1f} and {gains[1]:.1f} for the inverse: {claim}"
        for batch in (1, 5):
            with torch.no_grad():
                found, expected = round_trip(specimen, batch)
            error = require_close(found, expected, specimen.tolerance(gains), where, cause)
            worst[specimen.precision] = max(worst.get(specimen.precision, 0.0), error)
        gain = max(gain, *gains)
    return ", ".join([*(f"{precision} {error:.1e}" for precision, error in worst.items()), f"gain {gain:.1f}"])


CHECKS = tuple(
    Check(name, "backbone", law, function)
    for name, law, function in (
        ("construction", "it can be made for some shapes, refuses others by an error of ours, and keeps the number of elements", construction),
        ("capabilities", "what it declares is true: the log-determinant, the gradient of the inverse", capabilities),
        ("shapes", "batches of 1, 2 and 5, of every shape, keep shape and dtype in both directions and stay finite", shapes),
        ("refuses-wrong-shapes", "an input of another shape raises InputShapeError", refuses_wrong_shapes),
        ("left-inverse", "g^-1(g(x)) is x", left_inverse),
        ("right-inverse", "g(g^-1(z)) is z", right_inverse),
        ("bit-exact", "where bit_exact is declared, g^-1(g(x)) has the bits of x", bit_exact),
        ("logdet", "the log-determinants are those of the Jacobian, and those of both directions cancel", logdet),
        ("forward-gradients", "gradients through g agree with finite differences, in the input and in every parameter", forward_gradients),
        ("inverse-gradients", "so do gradients through g^-1; where it iterates, they agree with the implicit function theorem", inverse_gradients),
        (
            "reversible-gradients",
            "run reversibly, without stored activations, it has the gradients of plain backpropagation, through g and through g^-1",
            reversible_gradients,
        ),
        ("parameters-used", "every trained parameter takes part", parameters_used),
        ("state-dict", "loaded into a fresh object it gives the same bits, inverse first", state_dict),
        ("input-unmodified", "no call changes its input", input_unmodified),
        ("determinism", "two equal calls give the same bits", determinism),
        ("modes-agree", "training and evaluation mode give the same map, and no call changes it", modes_agree),
        ("examples-independent", "an example gives the same alone and in a batch", examples_independent),
        ("conditions-used", "a declared condition changes the map, must be given, and within its range", conditions_used),
        ("autocast", "under autocast the stream stays in float32", autocast),
    )
)
