"""Couplings: one part of the channels moves the other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn

from linearizer_core.bijections.base import Shape, TractableBijection, full_precision
from linearizer_core.bijections.couplings.masks import MaskName, make_mask
from linearizer_core.bijections.memory.replay import Replay
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError

_Move = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Coupling(TractableBijection):
    """What all couplings share: the mask, and the conditioner's call. To write your own, move the changed part and undo it.

    The conditioner runs under ambient autocast; its output is cast to the dtype of the stream, whose arithmetic never is lowered.
    Forward and inverse must therefore run under the same autocast state. A subclass sets ``outputs_per_channel``, the numbers that the
    conditioner gives for each changed element, and implements `_apply_to_changed` and `_undo_on_changed`, element by element. It CAN override `_move` and
    `_move_back`, which sampling calls, where they are less work without a log-determinant.
    """

    outputs_per_channel: int

    def __init__(
        self,
        in_shape: Shape,
        conditioner: nn.Module,
        *,
        split: int | None = None,
        flip: bool = False,
        mask: MaskName = "halves",
        conditions: dict[str, int] | None = None,
    ) -> None:
        super().__init__(in_shape, conditions=conditions)
        self.conditioner = conditioner
        self.mask = make_mask(mask, self.in_shape, split=split, flip=flip)
        self.kept, self.changed = self.mask.kept, self.mask.changed
        self.flip = flip

    @abstractmethod
    def _apply_to_changed(self, changed: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """Move the changed part ``(B, changed, ...)``, given ``(B, outputs_per_channel * changed, ...)``; also return the log-determinant ``(B,)``."""

    @abstractmethod
    def _undo_on_changed(self, changed: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """Undo `_apply_to_changed`; also return the log-determinant of undoing it."""

    def _move(self, changed: Tensor, output: Tensor) -> Tensor:
        """`_apply_to_changed` alone."""
        return self._apply_to_changed(changed, output)[0]

    def _move_back(self, changed: Tensor, output: Tensor) -> Tensor:
        """`_undo_on_changed` alone."""
        return self._undo_on_changed(changed, output)[0]

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_input(x)
        kept, changed = self._split(x)
        output = self._condition(kept, condition)
        with full_precision(x):
            return self._join(kept, self._move(changed, output))

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_latent(z)
        kept, changed = self._split(z)
        output = self._condition(kept, condition)
        with full_precision(z):
            return self._join(kept, self._move_back(changed, output))

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self.check_input(x)
        kept, changed = self._split(x)
        output = self._condition(kept, condition)
        with full_precision(x):
            changed, logdet = self._apply_to_changed(changed, output)
            return self._join(kept, changed), logdet

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self.check_latent(z)
        kept, changed = self._split(z)
        output = self._condition(kept, condition)
        with full_precision(z):
            changed, logdet = self._undo_on_changed(changed, output)
            return self._join(kept, changed), logdet

    def replay(self, z: Tensor, condition: Condition | None = None, *, with_logdet: bool = False) -> Replay:
        return self._replay(z, condition, undo=self._undo_on_changed, move=self._apply_to_changed)

    def replay_inverse(self, x: Tensor, condition: Condition | None = None, *, with_logdet: bool = False) -> Replay:
        return self._replay(x, condition, undo=self._apply_to_changed, move=self._undo_on_changed)

    def _replay(self, end: Tensor, condition: Condition | None, *, undo: _Move, move: _Move) -> Replay:
        """The kept part is the same on both sides, so that one evaluation of the conditioner serves to undo the step and to repeat it."""
        kept, changed = self._split(end)
        with torch.enable_grad():
            kept = kept.detach().requires_grad_()
            output = self._condition(kept, condition)
            with full_precision(end):
                with torch.no_grad():
                    changed, _ = undo(changed, output)
                changed = changed.requires_grad_()
                moved, logdet = move(changed, output)
                return Replay(self._join(kept, changed).detach(), (kept, changed), self._join(kept, moved), logdet, self._join)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.mask.split(x)

    def _join(self, kept: Tensor, changed: Tensor) -> Tensor:
        return self.mask.join(kept, changed)

    def _condition(self, kept: Tensor, condition: Condition | None) -> Tensor:
        output: Tensor = self.conditioner(kept, condition)
        expected = self.outputs_per_channel * self.changed
        if output.shape[1] != expected:
            raise BijectionError(
                f"{type(self).__name__}: the conditioner gave {output.shape[1]} output channels, expected {expected} "
                f"({self.outputs_per_channel} for each of {self.changed} changed channels); see coupling_sizes"
            )
        return self.mask.select(output).to(kept.dtype)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, kept={self.kept}, changed={self.changed}, flip={self.flip}"


@final
class AffineCoupling(Coupling):
    r""":math:`z_a = x_a,\; z_b = x_b\, e^{s(x_a)} + t(x_a)` with :math:`s = a \tanh(h / a)`; Dinh et al., arXiv 1605.08803.

    The bound ``a`` on the log-scale keeps the inverse from exploding where training never looked. A bound b on the shift, :math:`t = b \tanh(t' / b)`, keeps
    either direction from moving anything further than b, on any input.

    Arguments:
        in_shape: shape of one example.
        conditioner: module called as ``conditioner(kept, condition)``, giving the shifts and then the raw log-scales
            (``2 * changed`` channels, see `coupling_sizes`).
        split: size of the leading part of ``mask = "halves"``, half by default.
        flip: exchange the two parts.
        mask: ``halves``, ``alternating`` or ``checkerboard``: which part is kept, see `coupling_sizes`.
        log_scale_bound: a.
        shift_bound: b; none for no bound.
        conditions: names and numbers of categories that the conditioner uses.

    Raises:
        BijectionError: when the mask does not fit the shape, or when the conditioner's output has another number of channels.

    Example:
        >>> import torch
        >>> from linearizer_core.bijections import MLPConditioner
        >>> coupling = AffineCoupling((5,), MLPConditioner(2, 6, width=8))
        >>> x = torch.randn(4, 5)
        >>> torch.equal(coupling(x), x)  # zero-initialised
        True
    """

    outputs_per_channel = 2

    def __init__(
        self,
        in_shape: Shape,
        conditioner: nn.Module,
        *,
        split: int | None = None,
        flip: bool = False,
        mask: MaskName = "halves",
        log_scale_bound: float = 1.0,
        shift_bound: float | None = None,
        conditions: dict[str, int] | None = None,
    ) -> None:
        super().__init__(in_shape, conditioner, split=split, flip=flip, mask=mask, conditions=conditions)
        self.log_scale_bound = log_scale_bound
        self.shift_bound = shift_bound

    def _apply_to_changed(self, changed: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale = self._shift_and_log_scale(output)
        return changed * log_scale.exp() + shift, log_scale.flatten(1).sum(1)

    def _undo_on_changed(self, changed: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale = self._shift_and_log_scale(output, sign=-1)
        return (changed - shift) * log_scale.exp(), log_scale.flatten(1).sum(1)

    def _move(self, changed: Tensor, output: Tensor) -> Tensor:
        shift, log_scale = self._shift_and_log_scale(output)
        return changed * log_scale.exp() + shift

    def _move_back(self, changed: Tensor, output: Tensor) -> Tensor:
        shift, log_scale = self._shift_and_log_scale(output, sign=-1)
        return (changed - shift) * log_scale.exp()

    def _shift_and_log_scale(self, output: Tensor, *, sign: int = 1) -> tuple[Tensor, Tensor]:
        shift, raw = output.chunk(2, 1)
        return _bounded(shift, self.shift_bound), sign * _bounded(raw, self.log_scale_bound)


@final
class AdditiveCoupling(Coupling):
    r""":math:`z_a = x_a,\; z_b = x_b + t(x_a)`, of determinant 1; Dinh et al., arXiv 1410.8516.

    Arguments:
        in_shape: shape of one example.
        conditioner: module called as ``conditioner(kept, condition)``, giving the shifts (``changed`` channels, see `coupling_sizes`).
        split: size of the leading part of ``mask = "halves"``, half by default.
        flip: exchange the two parts.
        mask: ``halves``, ``alternating`` or ``checkerboard``: which part is kept, see `coupling_sizes`.
        shift_bound: b in :math:`t = b \tanh(t' / b)`: nothing moves further, on any input; none for no bound.
        conditions: names and numbers of categories that the conditioner uses.

    Raises:
        BijectionError: when the mask does not fit the shape, or when the conditioner's output has another number of channels.

    Example:
        >>> import torch
        >>> from linearizer_core.bijections import MLPConditioner
        >>> coupling = AdditiveCoupling((4,), MLPConditioner(2, 2, width=8), flip=True)
        >>> coupling.forward_and_logdet(torch.randn(3, 4))[1]
        tensor([0., 0., 0.])
    """

    outputs_per_channel = 1

    def __init__(
        self,
        in_shape: Shape,
        conditioner: nn.Module,
        *,
        split: int | None = None,
        flip: bool = False,
        mask: MaskName = "halves",
        shift_bound: float | None = None,
        conditions: dict[str, int] | None = None,
    ) -> None:
        super().__init__(in_shape, conditioner, split=split, flip=flip, mask=mask, conditions=conditions)
        self.shift_bound = shift_bound

    def _apply_to_changed(self, changed: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        return self._move(changed, output), changed.new_zeros(len(changed))

    def _undo_on_changed(self, changed: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        return self._move_back(changed, output), changed.new_zeros(len(changed))

    def _move(self, changed: Tensor, output: Tensor) -> Tensor:
        return changed + _bounded(output, self.shift_bound)

    def _move_back(self, changed: Tensor, output: Tensor) -> Tensor:
        return changed - _bounded(output, self.shift_bound)


def _bounded(value: Tensor, bound: float | None) -> Tensor:
    return value if bound is None else bound * torch.tanh(value / bound)
