"""The contract of an invertible network."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn

from linearizer_core.bijections.memory.replay import GradientSums, Replay
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError, InputDtypeError, InputShapeError, LogDetUnavailableError

InverseKind = Literal["analytic", "iterative", "sequential"]
InverseGrad = Literal["exact", "implicit", "none"]
Shape = tuple[int, ...]


class Bijection(nn.Module, ABC):
    r"""An invertible network :math:`g`, from data to linear space.

    ``forward`` always runs from data to the latent, ``inverse`` from the latent to data. Both take one tensor of shape
    ``(B, *in_shape)`` or ``(B, *out_shape)`` and return one tensor; the two shapes hold the same number of elements.

    Note to implementers. A bijection MUST
        * call ``super().__init__(in_shape, out_shape)`` with shapes that exclude the batch dimension;
        * implement `forward` and `inverse` (or, where the log-determinant is tractable, derive from
          `TractableBijection` and implement `forward_and_logdet` and `inverse_and_logdet`);
        * be differentiable in both directions: losses go through g and through g^-1;
        * leave its input unmodified, and give the same output in train and eval mode (no dropout, no batch statistics);
        * keep state that matters in buffers, so that saving and loading keeps it;
        * run its own arithmetic outside autocast (`full_precision`), conditioners excepted: matrix products in
          bfloat16 are not invertible.

    A map that is injective without reaching every latent (it pads, say) declares ``surjective = False`` before it calls ``super().__init__``;
    its ``out_shape`` may then hold more elements than ``in_shape``, its ``inverse`` is a left inverse, and it has no induced space.

    It CAN declare, as class attributes (or on the instance, where it depends on its parts, as in a chain), how its inverse is
    computed (``inverse_kind``), whether gradients flow through it (``inverse_grad``: ``exact`` ones by autograd, ``implicit`` ones that are solved for at
    the solution of an ``iterative`` inverse, or ``none``), that ``g^-1(g(x))`` has the very bits of
    ``x`` (``bit_exact``), and, as an instance attribute, the names of the conditions it uses (``conditions``, a mapping from
    the name to the number of categories). Where rebuilding an input and evaluating the map again have an expensive part in common, it CAN share it in
    `replay` and `replay_inverse`; one that is made of other bijections CAN go through them one by one in `pull_back` and `pull_back_inverse`. Both only
    make memory-saving backpropagation (`linearizer_core.bijections.set_reversible`) faster or smaller.
    """

    inverse_kind: InverseKind = "analytic"
    inverse_grad: InverseGrad = "exact"
    has_logdet: bool = False
    bit_exact: bool = False
    surjective: bool = True

    def __init__(self, in_shape: Shape, out_shape: Shape | None = None, *, conditions: dict[str, int] | None = None) -> None:
        super().__init__()
        self.in_shape: Shape = tuple(in_shape)
        self.out_shape: Shape = tuple(out_shape if out_shape is not None else in_shape)
        self.conditions: dict[str, int] = dict(conditions or {})
        elements = math.prod(self.in_shape), math.prod(self.out_shape)
        if not self.in_shape or min(self.in_shape) < 1 or (elements[0] != elements[1] if self.surjective else elements[0] > elements[1]):
            size = "the same number of elements" if self.surjective else "at least as many elements in the latent"
            raise BijectionError(f"{type(self).__name__}: in_shape {self.in_shape} and out_shape {self.out_shape} must be non-empty, positive and hold {size}")

    @property
    def dim(self) -> int:
        """D, the number of elements of one example; the latent has as many, unless the map is not surjective."""
        return math.prod(self.in_shape)

    @abstractmethod
    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        """Map data ``(B, *in_shape)`` to the latent ``(B, *out_shape)``."""

    @abstractmethod
    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        """Map the latent ``(B, *out_shape)`` back to data ``(B, *in_shape)``."""

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        r"""Return ``z = g(x)`` and :math:`\log|\det \partial z/\partial x|` of shape ``(B,)``.

        Raises:
            LogDetUnavailableError: where ``has_logdet`` is False.
        """
        raise LogDetUnavailableError(f"{type(self).__name__} has no log-determinant; likelihood losses need a bijection with has_logdet = True")

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        r"""Return ``x = g^-1(z)`` and :math:`\log|\det \partial x/\partial z|` of shape ``(B,)``.

        Raises:
            LogDetUnavailableError: where ``has_logdet`` is False.
        """
        raise LogDetUnavailableError(f"{type(self).__name__} has no log-determinant; likelihood losses need a bijection with has_logdet = True")

    def replay(self, z: Tensor, condition: Condition | None = None, *, with_logdet: bool = False) -> Replay:
        """Rebuild the input of ``forward`` from its output ``z``, and evaluate it again with a graph."""
        with torch.no_grad():
            x = self.inverse(z, condition)
        return Replay.of(x, lambda leaf: self.forward_and_logdet(leaf, condition) if with_logdet else (self(leaf, condition), None))

    def replay_inverse(self, x: Tensor, condition: Condition | None = None, *, with_logdet: bool = False) -> Replay:
        """Rebuild the input of ``inverse`` from its output ``x``, and evaluate it again with a graph."""
        with torch.no_grad():
            z = self(x, condition)
        return Replay.of(z, lambda leaf: self.inverse_and_logdet(leaf, condition) if with_logdet else (self.inverse(leaf, condition), None))

    def pull_back(
        self, z: Tensor, gradient: Tensor, gradient_of_logdet: Tensor | None, condition: Condition | None, sums: GradientSums
    ) -> tuple[Tensor, Tensor]:
        """The input of ``forward`` and its gradient, from the output ``z`` and its gradient; those of parameters and conditions go into ``sums``.

        ``gradient_of_logdet`` has shape ``(B,)`` and is None where no log-determinant was asked for.
        """
        replay = self.replay(z, condition, with_logdet=gradient_of_logdet is not None)
        return replay.start, sums.pull(replay, gradient, gradient_of_logdet, [*self.parameters(), *(condition or {}).values()])

    def pull_back_inverse(
        self, x: Tensor, gradient: Tensor, gradient_of_logdet: Tensor | None, condition: Condition | None, sums: GradientSums
    ) -> tuple[Tensor, Tensor]:
        """`pull_back` for ``inverse``: its input, a latent, and the gradient, from the output ``x`` and its gradient."""
        replay = self.replay_inverse(x, condition, with_logdet=gradient_of_logdet is not None)
        return replay.start, sums.pull(replay, gradient, gradient_of_logdet, [*self.parameters(), *(condition or {}).values()])

    @property
    def inv(self) -> Bijection:
        """The inverse as a bijection of its own: a view that shares all parameters."""
        from linearizer_core.bijections.inverse import Inverse

        return Inverse(self)

    def check_input(self, x: Tensor) -> None:
        """Raise `InputShapeError` unless ``x`` has shape ``(B, *in_shape)``, and `InputDtypeError` unless it is floating."""
        self._check(x, self.in_shape, "input")

    def check_latent(self, z: Tensor) -> None:
        """Raise `InputShapeError` unless ``z`` has shape ``(B, *out_shape)``, and `InputDtypeError` unless it is floating."""
        self._check(z, self.out_shape, "latent")

    def _check(self, tensor: Tensor, shape: Shape, what: str) -> None:
        if tuple(tensor.shape[1:]) != shape:
            expected = ", ".join(["B", *map(str, shape)])
            raise InputShapeError(f"{type(self).__name__}: {what} has shape {tuple(tensor.shape)}, expected ({expected})")
        if not tensor.is_floating_point():
            raise InputDtypeError(f"{type(self).__name__}: {what} has dtype {tensor.dtype}, expected a floating one; convert it, for pixels by x.float() / 255")

    def extra_repr(self) -> str:
        conditions = f", conditions={self.conditions}" if self.conditions else ""
        return f"{self.in_shape} -> {self.out_shape}{conditions}"


class TractableBijection(Bijection):
    """A bijection with a tractable log-determinant: implement the two ``*_and_logdet`` methods, the rest follows.

    Where the log-determinant costs something, it CAN override `forward` and `inverse` as well: sampling does not ask for it.
    """

    has_logdet: bool = True

    @abstractmethod
    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]: ...

    @abstractmethod
    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]: ...

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        return self.forward_and_logdet(x, condition)[0]

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        return self.inverse_and_logdet(z, condition)[0]


class VolumePreserving(TractableBijection):
    """A bijection of determinant 1 or -1 everywhere: implement `forward` and `inverse`, the log-determinants are zero."""

    @abstractmethod
    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor: ...

    @abstractmethod
    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor: ...

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        return self.forward(x, condition), x.new_zeros(len(x))

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        return self.inverse(z, condition), z.new_zeros(len(z))


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """A context in which autocast is off for the device of ``x``: the stream of a bijection is never lowered to bf16 or fp16."""
    # To enter an autocast context takes as long as a small kernel, and every brick would do so.
    device = x.device.type
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()
