r"""The vector space that a bijection induces on its domain."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from linearizer_core.condition import Condition
from linearizer_core.errors import ShapeMismatchError, SurjectivityError


@runtime_checkable
class Invertible(Protocol):
    """What the mathematics needs of a bijection: two directions and two shapes."""

    @property
    def in_shape(self) -> tuple[int, ...]: ...

    @property
    def out_shape(self) -> tuple[int, ...]: ...

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor: ...

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor: ...


def require_surjective(bijection: Invertible) -> None:
    """Raise unless the map reaches every latent, as an induced space needs. A map that declares nothing is taken at its word to be a bijection.

    Raises:
        SurjectivityError: when it declares ``surjective = False``.
    """
    if not getattr(bijection, "surjective", True):
        raise SurjectivityError(
            f"{type(bijection).__name__} on {bijection.in_shape} has surjective = False: it reaches only part of its latents, expected all of them; a sum of "
            "two latents would leave that part, and what the inverse makes of it would not be linear; leave the padding out, or use another backbone"
        )


class InducedSpace:
    r"""Data, with the Hilbert-space structure carried over from the latent by a bijection g (arXiv 2510.08570, section 3).

    .. math::
        u \oplus v = g^{-1}(g(u) + g(v)), \qquad a \odot v = g^{-1}(a\, g(v)), \qquad \langle u, v\rangle_g = \langle g(u), g(v)\rangle

    Points are batches of shape ``(B, *g.in_shape)``; latents are flat, ``(B, D)``. The space is isometric to :math:`\mathbb{R}^D` with
    the Euclidean inner product. Two spaces are equal when they have the very same g (the same object) and equal conditions.

    Args:
        bijection: g, from data to the latent.
        condition: what g is conditioned on, fixed for this space.

    Raises:
        SurjectivityError: when g declares that it does not reach every latent (``surjective = False``).

    Example:
        >>> import torch
        >>> from linearizer_core.bijections import Identity
        >>> space = InducedSpace(Identity((2,)))
        >>> space.add(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]))
        tensor([[4., 6.]])
    """

    __slots__ = ("bijection", "condition")

    def __init__(self, bijection: Invertible, condition: Condition | None = None) -> None:
        require_surjective(bijection)
        self.bijection = bijection
        self.condition = condition

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one point."""
        return self.bijection.in_shape

    @property
    def dim(self) -> int:
        """D, the dimension of the space."""
        return torch.Size(self.shape).numel()

    def to_latent(self, x: Tensor) -> Tensor:
        """``g(x)``, flattened to ``(B, D)``.

        Raises:
            ShapeMismatchError: unless x has shape ``(B, *shape)``.
        """
        if tuple(x.shape[1:]) != self.shape:
            raise ShapeMismatchError(f"a batch of points has shape (B, {', '.join(map(str, self.shape))}), got {tuple(x.shape)}")
        return self.bijection.forward(x, self.condition).flatten(1)

    def from_latent(self, z: Tensor) -> Tensor:
        """``g^-1(z)`` of flat latents ``(B, D)``.

        Raises:
            ShapeMismatchError: unless z has shape ``(B, D)``.
        """
        if z.ndim != 2 or z.shape[1] != self.dim:
            raise ShapeMismatchError(f"latents have shape (B, {self.dim}), got {tuple(z.shape)}")
        return self.bijection.inverse(z.reshape(len(z), *self.bijection.out_shape), self.condition)

    def add(self, u: Tensor, v: Tensor) -> Tensor:
        r""":math:`u \oplus v = g^{-1}(g(u) + g(v))`."""
        return self.from_latent(self.to_latent(u) + self.to_latent(v))

    def subtract(self, u: Tensor, v: Tensor) -> Tensor:
        r""":math:`u \ominus v = g^{-1}(g(u) - g(v))`."""
        return self.from_latent(self.to_latent(u) - self.to_latent(v))

    def scale(self, a: float | Tensor, v: Tensor) -> Tensor:
        r""":math:`a \odot v = g^{-1}(a\, g(v))`; ``a`` is a number, or one number per point, ``(B,)``.

        Raises:
            ShapeMismatchError: when ``a`` has another shape.
        """
        latents = self.to_latent(v)
        return self.from_latent(_column(a, latents) * latents)

    def zero(self, like: Tensor) -> Tensor:
        """The neutral point g^-1(0), one for each point of the batch ``like`` (whose dtype and device it takes)."""
        return self.from_latent(like.new_zeros(len(like), self.dim))

    def inner(self, u: Tensor, v: Tensor) -> Tensor:
        r""":math:`\langle g(u), g(v)\rangle`, shape ``(B,)``."""
        return (self.to_latent(u) * self.to_latent(v)).sum(1)

    def norm(self, u: Tensor) -> Tensor:
        r""":math:`\|g(u)\|`, shape ``(B,)``."""
        norms: Tensor = torch.linalg.vector_norm(self.to_latent(u), dim=1)
        return norms

    def distance(self, u: Tensor, v: Tensor) -> Tensor:
        r""":math:`\|g(u) - g(v)\|`, shape ``(B,)``: the metric of the space."""
        distances: Tensor = torch.linalg.vector_norm(self.to_latent(u) - self.to_latent(v), dim=1)
        return distances

    def lerp(self, u: Tensor, v: Tensor, weight: float | Tensor) -> Tensor:
        r"""The straight line :math:`g^{-1}((1-w)\, g(u) + w\, g(v))`; ``weight`` is a number or one per point, ``(B,)``.

        Raises:
            ShapeMismatchError: when ``weight`` has another shape.
        """
        start = self.to_latent(u)
        step = self.to_latent(v) - start
        return self.from_latent(start + _column(weight, step) * step)

    def mean(self, points: Tensor, weights: Tensor | None = None) -> Tensor:
        """The (weighted) Frechet mean of a batch, shape ``(1, *shape)``: the image under g^-1 of the mean latent.

        Raises:
            ShapeMismatchError: when ``weights`` is not one number per point or sums to zero.
        """
        latents = self.to_latent(points)
        if weights is None:
            return self.from_latent(latents.mean(0, keepdim=True))
        if weights.shape != (len(points),) or not weights.sum():
            raise ShapeMismatchError(
                f"weights have shape {tuple(weights.shape)} and sum {float(weights.sum()):.3g}; "
                f"give {len(points)} numbers, one per point, that do not sum to zero"
            )
        weights = weights.to(latents) / weights.sum().to(latents)
        return self.from_latent((weights[:, None] * latents).sum(0, keepdim=True))

    def project(self, x: Tensor, spanning: Tensor) -> Tensor:
        """The orthogonal projection of ``x`` onto the subspace spanned by the points ``spanning`` of shape ``(K, *shape)``.

        Points that depend on the others to the precision of their dtype add no direction.
        """
        latents, points = self.to_latent(x), self.to_latent(spanning)
        _, values, directions = torch.linalg.svd(points.double(), full_matrices=False)
        precision = torch.finfo(points.dtype).eps * max(points.shape)
        basis = directions[values > precision * values[:1]]  # (rank, D)
        return self.from_latent((latents.double() @ basis.T @ basis).to(latents.dtype))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, InducedSpace):
            return NotImplemented
        return self.bijection is other.bijection and self.condition == other.condition

    def __hash__(self) -> int:
        return hash((id(self.bijection), self.condition))

    def __repr__(self) -> str:
        condition = f", {self.condition!r}" if self.condition is not None else ""
        return f"InducedSpace({type(self.bijection).__name__}{self.shape}{condition})"


def _column(weight: float | Tensor, latents: Tensor) -> float | Tensor:
    if not isinstance(weight, Tensor) or weight.ndim == 0:
        return weight
    # A batch of one point takes any number of weights: the points of one line.
    if weight.ndim != 1 or (len(weight) not in (1, len(latents)) and len(latents) != 1):
        raise ShapeMismatchError(
            f"weights have shape {tuple(weight.shape)} for {len(latents)} points; give a number, or one number per point: ({len(latents)},)"
        )
    return weight[:, None]
