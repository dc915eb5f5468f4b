"""Normalisation that is set once from data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, distributed, nn

from linearizer_core.bijections.affine.elementwise import channelwise_shape
from linearizer_core.bijections.base import Shape, TractableBijection, full_precision
from linearizer_core.condition import Condition
from linearizer_core.errors import NotInitializedError

_SMALLEST_DEVIATION = 1e-3


@final
class ActNorm(TractableBijection):
    r""":math:`z = (x + b)\, e^{l}` per channel, set so that the first training batch has mean 0 and variance 1, then learned.

    Kingma and Dhariwal, arXiv 1807.03039. ``initialized`` is a buffer, so a loaded model is not initialised again. A channel that
    hardly varies (standard deviation below 1e-3) is only centred. With several processes the statistics are those of all batches.

    Arguments:
        in_shape: shape of one example; channels lie along its first dimension.

    Raises:
        NotInitializedError: on any call before the first forward pass in training mode, and when that one gets no examples, or infinities or NaN.

    Example:
        >>> import torch
        >>> norm = ActNorm((2,))
        >>> z = norm(torch.tensor([[0.0, 5.0], [2.0, 9.0]]))
        >>> [round(value, 4) for value in z.flatten().tolist()]
        [-1.0, -1.0, 1.0, 1.0]
    """

    def __init__(self, in_shape: Shape) -> None:
        super().__init__(in_shape)
        self.log_scale = nn.Parameter(torch.zeros(channelwise_shape(self.in_shape)))
        self.shift = nn.Parameter(torch.zeros(channelwise_shape(self.in_shape)))
        self.register_buffer("initialized", torch.tensor(False))
        # Reading the buffer waits for the accelerator and breaks compiled graphs, so it is read until it is True, then no more.
        self._known_to_be_initialized = False

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_input(x)
        if self.training and not self._is_initialized():
            self._initialize(x)
        self._require_initialized()
        with full_precision(x):
            return (x + self.shift.to(x.dtype)) * self.log_scale.to(x.dtype).exp()

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_latent(z)
        self._require_initialized()
        with full_precision(z):
            return z * (-self.log_scale.to(z.dtype)).exp() - self.shift.to(z.dtype)

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        return self.forward(x, condition), self._logdet(x)

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        return self.inverse(z, condition), -self._logdet(z)

    def _logdet(self, x: Tensor) -> Tensor:
        with full_precision(x):
            return (self.log_scale.to(x.dtype).sum() * math.prod(self.in_shape[1:])).expand(len(x))

    @torch.no_grad()
    def _initialize(self, x: Tensor) -> None:
        values = x.detach().double().transpose(0, 1).flatten(1)  # (C, B * positions)
        moments = torch.stack([values.new_full((len(values),), values.shape[1]), values.sum(1), values.square().sum(1)])
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(moments)
        count, total, squares = moments
        # Of all processes together, so that none goes on alone.
        if not bool((count > 0).all() & moments.isfinite().all()):
            raise NotInitializedError(
                f"ActNorm{self.in_shape}: cannot be set from {int(count[0])} values a channel with sums {total.tolist()[:4]}, expected finite numbers of at "
                "least one example; call the model once in training mode on such a batch (if the data are finite, a layer before this one explodes)"
            )
        mean = total / count
        deviation = (squares / count - mean.square()).clamp_min(0).sqrt()
        deviation = deviation.where(deviation > _SMALLEST_DEVIATION, torch.ones_like(deviation))
        self.shift.copy_(-mean.reshape(self.shift.shape))
        self.log_scale.copy_(-deviation.log().reshape(self.log_scale.shape))
        self.get_buffer("initialized").fill_(True)

    def _is_initialized(self) -> bool:
        if not self._known_to_be_initialized:
            self._known_to_be_initialized = bool(self.get_buffer("initialized"))
        return self._known_to_be_initialized

    def _require_initialized(self) -> None:
        if not self._is_initialized():
            raise NotInitializedError(
                f"ActNorm{self.in_shape}: not initialised yet; call the model once in training mode on a batch of data, or load a trained state"
            )

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._known_to_be_initialized = False
