"""Couplings: one part of the channels moves the other."""

from __future__ import annotations

from abc import abstractmethod
from typing import final

import torch
from torch import Tensor, nn

from linearizer_core.bijections.base import Shape, TractableBijection, full_precision
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError


def coupling_sizes(channels: int, *, split: int | None = None, flip: bool = False) -> tuple[int, int]:
    """Number of (kept, changed) channels of a coupling: what a conditioner reads, and what it moves.

    Arguments:
        channels: size of dimension 1.
        split: size of the leading part; half of ``channels``, rounded down, by default.
        flip: keep the trailing part instead of the leading one.

    Raises:
        BijectionError: when one of the two parts would be empty.

    Example:
        >>> coupling_sizes(5), coupling_sizes(5, flip=True)
        ((2, 3), (3, 2))
    """
    leading = channels // 2 if split is None else split
    if not 0 < leading < channels:
        fix = "squeeze first, so that there are at least 2 channels" if channels < 2 else f"choose split from 1 to {channels - 1}"
        raise BijectionError(f"coupling of {channels} channels split at {leading}: both parts must hold at least 1 channel; {fix}")
    return (channels - leading, leading) if flip else (leading, channels - leading)


class Coupling(TractableBijection):
    """What affine and additive couplings share: the split, and the conditioner's call.

    The conditioner runs under ambient autocast; its output is cast to the dtype of the stream, whose arithmetic never is lowered.
    Forward and inverse must therefore run under the same autocast state.
    """

    outputs_per_channel: int

    def __init__(
        self,
        in_shape: Shape,
        conditioner: nn.Module,
        *,
        split: int | None = None,
        flip: bool = False,
        conditions: dict[str, int] | None = None,
    ) -> None:
        super().__init__(in_shape, conditions=conditions)
        self.kept, self.changed = coupling_sizes(self.in_shape[0], split=split, flip=flip)
        self.conditioner = conditioner
        self.flip = flip

    @abstractmethod
    def _apply_to_changed(self, changed: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """Move the changed part, given the conditioner's output; also return the log-determinant."""

    @abstractmethod
    def _undo_on_changed(self, changed: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """Undo `_apply_to_changed`; also return the log-determinant of undoing it."""

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

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.flip:
            return x[:, self.changed :], x[:, : self.changed]
        return x[:, : self.kept], x[:, self.kept :]

    def _join(self, kept: Tensor, changed: Tensor) -> Tensor:
        return torch.cat([changed, kept] if self.flip else [kept, changed], 1)

    def _condition(self, kept: Tensor, condition: Condition | None) -> Tensor:
        output: Tensor = self.conditioner(kept, condition)
        expected = self.outputs_per_channel * self.changed
        if output.shape[1] != expected:
            raise BijectionError(
                f"{type(self).__name__}: the conditioner gave {output.shape[1]} output channels, expected {expected} "
                f"({self.outputs_per_channel} for each of {self.changed} changed channels); see coupling_sizes"
            )
        return output.to(kept.dtype)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, kept={self.kept}, changed={self.changed}, flip={self.flip}"


@final
class AffineCoupling(Coupling):
    r""":math:`z_a = x_a,\; z_b = x_b\, e^{s(x_a)} + t(x_a)` with :math:`s = a \tanh(h / a)`; Dinh et al., arXiv 1605.08803.

    The bound ``a`` on the log-scale keeps the inverse from exploding where training never looked.

    Arguments:
        in_shape: shape of one example; the split is along its first dimension.
        conditioner: module called as ``conditioner(kept, condition)``, giving the shifts and then the raw log-scales
            (``2 * changed`` channels, see `coupling_sizes`).
        split: size of the leading part, half by default.
        flip: change the leading part instead of the trailing one.
        log_scale_bound: a.
        conditions: names and numbers of categories that the conditioner uses.

    Raises:
        BijectionError: when a part would be empty, or when the conditioner's output has another number of channels.

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
        log_scale_bound: float = 1.0,
        conditions: dict[str, int] | None = None,
    ) -> None:
        super().__init__(in_shape, conditioner, split=split, flip=flip, conditions=conditions)
        self.log_scale_bound = log_scale_bound

    def _apply_to_changed(self, changed: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale = self._shift_and_log_scale(output)
        return changed * log_scale.exp() + shift, log_scale.flatten(1).sum(1)

    def _undo_on_changed(self, changed: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale = self._shift_and_log_scale(output)
        return (changed - shift) * (-log_scale).exp(), -log_scale.flatten(1).sum(1)

    def _shift_and_log_scale(self, output: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = output.chunk(2, 1)
        return shift, self.log_scale_bound * torch.tanh(raw / self.log_scale_bound)


@final
class AdditiveCoupling(Coupling):
    r""":math:`z_a = x_a,\; z_b = x_b + t(x_a)`, of determinant 1; Dinh et al., arXiv 1410.8516.

    Arguments:
        in_shape: shape of one example; the split is along its first dimension.
        conditioner: module called as ``conditioner(kept, condition)``, giving the shifts (``changed`` channels, see `coupling_sizes`).
        split: size of the leading part, half by default.
        flip: change the leading part instead of the trailing one.
        conditions: names and numbers of categories that the conditioner uses.

    Raises:
        BijectionError: when a part would be empty, or when the conditioner's output has another number of channels.

    Example:
        >>> import torch
        >>> from linearizer_core.bijections import MLPConditioner
        >>> coupling = AdditiveCoupling((4,), MLPConditioner(2, 2, width=8), flip=True)
        >>> coupling.forward_and_logdet(torch.randn(3, 4))[1]
        tensor([0., 0., 0.])
    """

    outputs_per_channel = 1

    def _apply_to_changed(self, changed: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        return changed + output, changed.new_zeros(len(changed))

    def _undo_on_changed(self, changed: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        return changed - output, changed.new_zeros(len(changed))
