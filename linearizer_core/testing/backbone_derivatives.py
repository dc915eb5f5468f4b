"""The laws of a backbone that concern derivatives: log-determinant and gradients, in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor

from linearizer_core.bijections import Chain, ElementwiseAffine, Reversible, set_reversible
from linearizer_core.condition import Condition
from linearizer_core.errors import CheckFailure
from linearizer_core.testing.check import Context, SkipCheck
from linearizer_core.testing.numerics import compare_gradients, require_close
from linearizer_core.testing.specimens import LARGEST_JACOBIAN, Specimen, Way, specimens
from linearizer_core.testing.subjects import BackboneSubject

_LOGDET = 1e-8
_IMPLICIT = 1e-6
_SAME = 1e-12
_KEEP_NOTHING = Reversible(anchor_every=10**6)
_Call = Callable[[Tensor, Condition | None], Tensor | tuple[Tensor, Tensor]]


def logdet(subject: BackboneSubject, context: Context) -> str:
    errors = []
    for specimen in specimens(subject, all_shapes=True):
        bijection = specimen.bijection
        if not bijection.has_logdet or bijection.dim > LARGEST_JACOBIAN:
            continue
        x, condition = specimen.representable()
        z, found = bijection.forward_and_logdet(x, condition)
        back, reverse = bijection.inverse_and_logdet(z, condition)
        loose, cause = specimen.tolerance(), "the two must share their arithmetic"
        require_close(z, bijection(x, condition), _SAME, f"{specimen}: forward_and_logdet and forward give two maps", cause)
        require_close(back, bijection.inverse(z, condition), loose, f"{specimen}: inverse_and_logdet and inverse give two maps", cause)
        expected = torch.linalg.slogdet(specimen.jacobian(x, condition)).logabsdet[None]
        claim = f"{specimen}: the log-determinant is not that of the Jacobian"
        errors.append(require_close(found[:1], expected, _LOGDET, claim, "a term or its sign is wrong"))
        require_close(-reverse, found, max(loose, _LOGDET), f"{specimen}: the log-determinants do not cancel", "that of g^-1 is minus that of g at g^-1(z)")
    if not errors:
        raise SkipCheck(f"has_logdet is False, or there are more than {LARGEST_JACOBIAN} dimensions")
    return f"largest error {max(errors):.1e}, {len(errors)} cases"


def forward_gradients(subject: BackboneSubject, context: Context) -> str:
    return _worst([_gradient_error(specimen, Way("forward", specimen.bijection.forward, *specimen.representable())) for specimen in specimens(subject)])


def inverse_gradients(subject: BackboneSubject, context: Context) -> str:
    errors = []
    for specimen in specimens(subject):
        bijection = specimen.bijection
        if bijection.inverse_grad == "none":
            raise SkipCheck("inverse_grad is 'none'")
        z, condition = specimen.latents()
        if bijection.bit_exact:
            z = bijection(bijection.inverse(z, condition), condition)
        way = Way("inverse", bijection.inverse, z.detach(), condition)
        errors.append(_implicit_gradient_error(specimen, way) if bijection.inverse_kind == "iterative" else _gradient_error(specimen, way))
    return _worst(errors)


def reversible_gradients(subject: BackboneSubject, context: Context) -> str:
    return _worst([_reversible_error(specimen) for specimen in specimens(subject)])


def _worst(errors: list[float]) -> str:
    return f"largest relative error {max(errors):.1e}"


def _gradient_error(specimen: Specimen, way: Way) -> float:
    if specimen.bijection.bit_exact and _rounds(way):
        _require_straight_through(specimen, way)
        raise SkipCheck("it rounds to a grid, so its gradient is an estimate that finite differences do not see; it is finite and reaches the input")
    cause = f"{specimen}: {way.direction} detaches something, or has a wrong backward"
    return compare_gradients(partial(way.function, condition=way.condition), way.tensor, specimen.bijection, cause)


@torch.no_grad()
def _rounds(way: Way) -> bool:
    """Whether a small step of the input is lost: a permutation is exact and smooth, a grid is not."""
    return torch.equal(way.function(way.tensor + 1e-9, way.condition), way())


def _require_straight_through(specimen: Specimen, way: Way) -> None:
    tensor = way.tensor.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(way.function(tensor, way.condition).square().sum(), tensor, allow_unused=True)
    if gradient is None or not bool(gradient.isfinite().all()) or not bool(gradient.any()):
        raise CheckFailure(f"{specimen}: no finite gradient of {way.direction} reaches the input; give rounding the gradient of the identity")


def _implicit_gradient_error(specimen: Specimen, way: Way) -> float:
    r"""An iterative inverse is too coarse for finite differences, but its gradients obey equations.

    The gradient u of :math:`w \cdot g^{-1}(z)` in z solves :math:`J^T u = w` with J the Jacobian of g at the solution; the gradient in a parameter p is
    :math:`-u \cdot dg/dp` there.
    """
    bijection = specimen.bijection
    one = way.condition.rows(torch.tensor([0])) if way.condition else None
    z = way.tensor[:1].clone().requires_grad_()
    named = [(name, parameter) for name, parameter in bijection.named_parameters() if parameter.requires_grad]
    parameters = [parameter for _, parameter in named]
    x = bijection.inverse(z, one)
    weights = torch.randn_like(x)
    in_z, *found = torch.autograd.grad((weights * x).sum(), [z, *parameters], allow_unused=True)
    if in_z is None:
        raise CheckFailure(f"{specimen}: no gradient of the inverse reaches the latent; declare inverse_grad = 'none' if that is meant")
    x, cause = x.detach(), "the backward of the inverse must solve J^T u = w at the solution"
    pulled = (specimen.jacobian(x, one).mT @ in_z.flatten()).reshape(x.shape)
    error = require_close(pulled, weights, _IMPLICIT, f"{specimen}: the gradient of the inverse in z is wrong", cause)
    expected = torch.autograd.grad((-in_z * bijection(x, one)).sum(), parameters, allow_unused=True) if parameters else ()
    for (name, parameter), *pair in zip(named, found, expected, strict=True):
        first, second = (torch.zeros_like(parameter) if gradient is None else gradient for gradient in pair)
        error = max(error, require_close(first, second, _IMPLICIT, f"{specimen}: the gradient of the inverse in {name!r} is wrong", cause))
    return error


def _reversible_error(specimen: Specimen) -> float:
    """Plain gradients beside those of a chain that keeps no activations.

    The steps on either side are there because the gradient of a scale is wrong where the input of the bijection is rebuilt wrongly. In half of the calls
    the input needs no gradient.
    """
    bijection, tolerance = specimen.bijection, specimen.tolerance()
    sides = {"data": ElementwiseAffine(bijection.in_shape).double(), "latent": ElementwiseAffine(bijection.out_shape).double()}
    chain = Chain(sides["data"], bijection, sides["latent"])
    named = {f"parameter {name!r}": parameter for name, parameter in bijection.named_parameters() if parameter.requires_grad}
    for side, step in sides.items():
        named |= {f"{name!r} of a step on its {side} side": parameter for name, parameter in step.named_parameters()}
    x, condition = specimen.representable()
    z: Tensor = chain(x, condition).detach()
    calls: list[tuple[_Call, Tensor]] = [(chain.forward, x.clone().requires_grad_()), (chain.forward_and_logdet if bijection.has_logdet else chain.forward, x)]
    if bijection.inverse_grad != "none":
        calls += [(chain.inverse, z.clone().requires_grad_()), (chain.inverse_and_logdet if bijection.has_logdet else chain.inverse, z)]
    error = 0.0
    for function, start in calls:
        tensors = ({"the input": start} if start.requires_grad else {}) | named
        set_reversible(chain, None)
        plain = _projected_gradients(function(start, condition), tensors.values())
        set_reversible(chain, _KEEP_NOTHING)
        found = _projected_gradients(function(start, condition), tensors.values())
        for name, gradient, expected in zip(tensors, found, plain, strict=True):
            claim = f"{specimen}: run reversibly, {function.__name__} gives a wrong gradient in {name}"
            error = max(error, require_close(gradient, expected, tolerance, claim, "a replay or pull_back rebuilds another input, or loses a gradient"))
    return error


def _projected_gradients(results: Tensor | tuple[Tensor, Tensor], tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """The gradients of a random projection of the results, which is the same in every call."""
    generator = torch.Generator().manual_seed(0)
    parts = results if isinstance(results, tuple) else (results,)
    weights = [torch.randn(part.shape, dtype=part.dtype, generator=generator) for part in parts]
    return torch.autograd.grad(parts, list(tensors), weights, materialize_grads=True)
