"""Scale and shift of single coordinates, learned or fixed."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from linearizer_core.bijections.base import Shape, TractableBijection, full_precision
from linearizer_core.condition import Condition, require_label
from linearizer_core.errors import BijectionError


def channelwise_shape(in_shape: Shape) -> Shape:
    """The shape of one number per channel that broadcasts against ``in_shape``: ``(C, 1, 1)`` for an image."""
    return (in_shape[0],) + (1,) * (len(in_shape) - 1)


@final
class ElementwiseAffine(TractableBijection):
    r""":math:`z = (x + b)\, e^{l}`, with b and l learned, zero at first, and optionally one pair per category.

    Without a bound l may grow as training likes; with the bound a it is :math:`a \tanh(l / a)`.

    Arguments:
        in_shape: shape of one example.
        channelwise: one b and l per channel instead of one per coordinate.
        categories: name and number of categories of the condition that chooses b and l.
        log_scale_bound: a, or None for no bound.

    Raises:
        ConditionError: in the call, when the condition is missing or out of range.

    Example:
        >>> import torch
        >>> affine = ElementwiseAffine((3,), categories=("label", 10))
        >>> affine(torch.ones(2, 3), Condition(label=torch.tensor([4, 9])))
        tensor([[1., 1., 1.],
                [1., 1., 1.]], grad_fn=<MulBackward0>)
    """

    def __init__(self, in_shape: Shape, *, channelwise: bool = False, categories: tuple[str, int] | None = None, log_scale_bound: float | None = None) -> None:
        super().__init__(in_shape, conditions=dict([categories]) if categories else None)
        self.categories = categories
        self.log_scale_bound = log_scale_bound
        shape = (categories[1] if categories else 1, *(channelwise_shape(self.in_shape) if channelwise else self.in_shape))
        self.log_scale = nn.Parameter(torch.zeros(shape))
        self.shift = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        return self._moved(x, condition)[0]

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        return self._moved_back(z, condition)[0]

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        z, log_scale = self._moved(x, condition)
        with full_precision(x):
            return z, self._logdet(x, log_scale)

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        x, log_scale = self._moved_back(z, condition)
        with full_precision(z):
            return x, -self._logdet(z, log_scale)

    def _moved(self, x: Tensor, condition: Condition | None) -> tuple[Tensor, Tensor]:
        """The image, and the log-scales in use."""
        self.check_input(x)
        shift, log_scale = self._parameters_for(x, condition)
        with full_precision(x):
            return (x + shift) * log_scale.exp(), log_scale

    def _moved_back(self, z: Tensor, condition: Condition | None) -> tuple[Tensor, Tensor]:
        """The preimage, and the log-scales that were undone."""
        self.check_latent(z)
        shift, log_scale = self._parameters_for(z, condition)
        with full_precision(z):
            return z * (-log_scale).exp() - shift, log_scale

    def _parameters_for(self, x: Tensor, condition: Condition | None) -> tuple[Tensor, Tensor]:
        shift, log_scale = self.shift.to(x.dtype), self.log_scale.to(x.dtype)
        if self.log_scale_bound is not None:
            log_scale = self.log_scale_bound * torch.tanh(log_scale / self.log_scale_bound)
        if self.categories is None:
            return shift, log_scale
        label = require_label(condition, *self.categories, len(x))
        return shift[label], log_scale[label]

    def _logdet(self, x: Tensor, log_scale: Tensor) -> Tensor:
        repeats = self.dim // math.prod(log_scale.shape[1:])
        return (repeats * log_scale.flatten(1).sum(1)).expand(len(x))


@final
class FixedAffine(TractableBijection):
    r""":math:`z = (x + b)\, s` with constants: the normalisation of pixels.

    Arguments:
        in_shape: shape of one example.
        shift: b, one number or one per channel.
        scale: s, one number or one per channel, none of them zero.

    Raises:
        BijectionError: when a scale is zero or not finite, or when the numbers are neither one nor one per channel.

    Example:
        >>> import torch
        >>> FixedAffine((1, 1, 2), shift=-0.5, scale=2.0)(torch.tensor([[[[0.0, 1.0]]]]))
        tensor([[[[-1.,  1.]]]])
    """

    def __init__(self, in_shape: Shape, *, shift: float | tuple[float, ...], scale: float | tuple[float, ...]) -> None:
        super().__init__(in_shape)
        self.register_buffer("shift", self._per_channel("shift", shift))
        self.register_buffer("scale", self._per_channel("scale", scale))
        if not bool(self.get_buffer("scale").abs().log().isfinite().all()):
            raise BijectionError(f"FixedAffine: scale {scale} must be finite and nowhere zero, or there is no inverse")

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self.check_input(x)
        shift, scale = self._constants_for(x)
        with full_precision(x):
            return (x + shift) * scale, self._logdet(x, scale)

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self.check_latent(z)
        shift, scale = self._constants_for(z)
        with full_precision(z):
            return z * scale.reciprocal() - shift, -self._logdet(z, scale)

    def _per_channel(self, name: str, values: float | tuple[float, ...]) -> Tensor:
        numbers = torch.tensor(values, dtype=torch.get_default_dtype()).reshape(-1)
        if len(numbers) not in (1, self.in_shape[0]):
            raise BijectionError(f"FixedAffine: {name} has {len(numbers)} numbers for {self.in_shape[0]} channels; give 1, or one for each channel")
        return numbers.expand(self.in_shape[0]).reshape(channelwise_shape(self.in_shape)).clone()

    def _constants_for(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.get_buffer("shift").to(x.dtype), self.get_buffer("scale").to(x.dtype)

    def _logdet(self, x: Tensor, scale: Tensor) -> Tensor:
        return (scale.abs().log().sum() * (self.dim // self.in_shape[0])).expand(len(x))
