"""Bijections one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import cast, final

import torch
from torch import Tensor, nn

from linearizer_core.bijections.base import Bijection
from linearizer_core.bijections.capabilities import adopt_weakest, merge_conditions
from linearizer_core.bijections.memory.replay import GradientSums
from linearizer_core.bijections.memory.reversible import Direction, Reversible, run_reversibly
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError, LogDetUnavailableError


@final
class Chain(Bijection):
    r""":math:`g = g_n \circ \dots \circ g_1`, applied in the order given; :math:`\log|\det g'| = \sum_i \log|\det g_i'|`.

    Conditions are those of all members together; capabilities are those of the weakest member.

    Arguments:
        bijections: at least one; the output shape of each is the input shape of the next.

    Raises:
        BijectionError: when there is none, when shapes do not meet, or when members disagree about a condition.

    Example:
        >>> import torch
        >>> from linearizer_core.bijections import Flatten, HaarSqueeze
        >>> chain = Chain(HaarSqueeze((1, 4, 4)), Flatten((4, 2, 2)))
        >>> x = torch.ones(1, 1, 4, 4)
        >>> chain(x)[0, :4].tolist()
        [2.0, 2.0, 2.0, 2.0]
        >>> torch.equal(chain.inverse(chain(x)), x)
        True
    """

    reversible: Reversible | None = None
    """Memory-saving backpropagation, where it is switched on; see `set_reversible`."""

    def __init__(self, *bijections: Bijection) -> None:
        if not bijections:
            raise BijectionError("Chain: got 0 bijections, expected at least 1; use Identity(shape) for a chain that does nothing")
        for position, (left, right) in enumerate(pairwise(bijections)):
            if left.out_shape != right.in_shape:
                raise BijectionError(
                    f"Chain: position {position} ({type(left).__name__}) gives {left.out_shape}, position {position + 1} "
                    f"({type(right).__name__}) takes {right.in_shape}; make the two shapes equal"
                )
        # Known before the base class checks sizes: only a map that is not onto may have the longer latent.
        adopt_weakest(self, bijections)
        super().__init__(bijections[0].in_shape, bijections[-1].out_shape, conditions=merge_conditions(bijections))
        self.bijections = nn.ModuleList(bijections)
        self._passes = {False: 0, True: 0}  # apart by direction, or a loss that goes both ways in turn would have one of them checked only

    def __len__(self) -> int:
        return len(self.bijections)

    def __iter__(self) -> Iterator[Bijection]:
        return iter(cast(list[Bijection], self.bijections))

    def __getitem__(self, position: int) -> Bijection:
        return cast(Bijection, self.bijections[position])

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        if self._saves_memory(x, condition):
            return self._run_reversibly(x, condition, inverse=False, with_logdet=False)[0]
        for bijection in self:
            x = bijection(x, condition)
        return x

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        if self._saves_memory(z, condition):
            return self._run_reversibly(z, condition, inverse=True, with_logdet=False)[0]
        for bijection in reversed(list(self)):
            z = bijection.inverse(z, condition)
        return z

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self._require_logdet()
        if self._saves_memory(x, condition):
            return self._run_reversibly(x, condition, inverse=False, with_logdet=True)
        total = x.new_zeros(len(x))
        for bijection in self:
            x, logdet = bijection.forward_and_logdet(x, condition)
            total = total + logdet
        return x, total

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self._require_logdet()
        if self._saves_memory(z, condition):
            return self._run_reversibly(z, condition, inverse=True, with_logdet=True)
        total = z.new_zeros(len(z))
        for bijection in reversed(list(self)):
            z, logdet = bijection.inverse_and_logdet(z, condition)
            total = total + logdet
        return z, total

    def pull_back(
        self, z: Tensor, gradient: Tensor, gradient_of_logdet: Tensor | None, condition: Condition | None, sums: GradientSums
    ) -> tuple[Tensor, Tensor]:
        for bijection in reversed(list(self)):
            z, gradient = bijection.pull_back(z, gradient, gradient_of_logdet, condition, sums)
        return z, gradient

    def pull_back_inverse(
        self, x: Tensor, gradient: Tensor, gradient_of_logdet: Tensor | None, condition: Condition | None, sums: GradientSums
    ) -> tuple[Tensor, Tensor]:
        for bijection in self:
            x, gradient = bijection.pull_back_inverse(x, gradient, gradient_of_logdet, condition, sums)
        return x, gradient

    def _saves_memory(self, start: Tensor, condition: Condition | None) -> bool:
        if self.reversible is None or not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return False
        return any(tensor.requires_grad for tensor in (start, *self.parameters(), *(condition or {}).values()))

    def _run_reversibly(self, start: Tensor, condition: Condition | None, *, inverse: bool, with_logdet: bool) -> tuple[Tensor, Tensor]:
        assert self.reversible is not None
        names, blocks = zip(*self._blocks(), strict=True)
        order = slice(None, None, -1 if inverse else 1)
        every = self.reversible.check_every
        self._passes[inverse] += 1
        checked = every > 0 and self._passes[inverse] % every == 0
        return run_reversibly(Direction(names[order], blocks[order], inverse, with_logdet), self.reversible, start, condition, checked=checked)

    def _blocks(self, prefix: str = "") -> Iterator[tuple[str, Bijection]]:
        """The members by index, and those of chains among them in their place: ``[2][0]`` is the first one of the chain that is the third."""
        for position, member in enumerate(self):
            name = f"{prefix}[{position}]"
            if isinstance(member, Chain):
                yield from member._blocks(name)
            else:
                yield name, member

    def _require_logdet(self) -> None:
        if not self.has_logdet:
            position, member = next((i, member) for i, member in enumerate(self) if not member.has_logdet)
            raise LogDetUnavailableError(
                f"Chain: position {position} ({type(member).__name__}) has no log-determinant; likelihood losses need members with has_logdet = True"
            )
