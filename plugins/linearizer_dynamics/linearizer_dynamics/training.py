"""The one stage of training: states are predicted, and latents move linearly."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from linearizer_core.bijections import Chain
from linearizer_core.data import Batch, Splits, stack
from linearizer_core.errors import ConfigError
from linearizer_core.model import LinearizerModel
from linearizer_core.task import Stage
from linearizer_dynamics.config import DynamicsStageConfig
from linearizer_dynamics.prediction import decode, encode, generator_of, pad, rollout
from linearizer_dynamics.standardize import Standardize

_FITTED_ON = 2000


class DynamicsStage(Stage):
    r"""Both terms over frames of each trajectory, drawn anew in each step, predicted from the earliest of them or from any.

    .. math::
        a\,|s^{-1}(\hat x(t_j) - x(t_j))|^2 + b\,|e^{(t_j - t_i) A} g(x(t_i)) - g(x(t_j))|^2, \qquad \hat x(t_j) = g^{-1}(e^{(t_j - t_i) A} g(x(t_i)))

    s are the deviations of the coordinates. No term asks for a reconstruction: g has an exact inverse. Padded coordinates count as coordinates of the
    state, so that predictions stay where the data are. Trajectories with inputs are predicted from their first state, at all times.
    """

    config: DynamicsStageConfig

    def __init__(self, config: DynamicsStageConfig) -> None:
        super().__init__("dynamics", config)

    def parameters(self, model: LinearizerModel) -> Iterable[nn.Parameter]:
        return model.parameters()

    def begin(self, model: LinearizerModel, splits: Splits) -> None:
        batch = stack(splits.train, _FITTED_ON)
        if missing := sorted({"later", "times"} - batch.keys()):
            raise ConfigError(f"the dynamics task needs trajectories, {splits.info.name!r} has no {missing[0]!r}; see `linearizer list dataset`")
        inputs = batch["control"].shape[-1] if "control" in batch else 0
        if inputs != generator_of(model).controls:
            raise ConfigError(f"{splits.info.name!r} has {inputs} control inputs, the core takes {generator_of(model).controls}; set core.controls = {inputs}")
        first = _standardize(model)
        if first is not None:
            frames = torch.cat([batch["x"][:, None], batch["later"]], dim=1).flatten(0, 1)
            first.fit(pad(frames, model.gx.in_shape).to(first.mean.device))

    def loss(self, model: LinearizerModel, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        states = torch.cat([batch["x"][:, None], batch["later"]], dim=1)
        times = functional.pad(batch["times"], (1, 0))
        control = batch.get("control")
        if control is None:
            states, times = self._drawn(states, times, generator)
        latents = encode(model, states)
        expected = rollout(generator_of(model), latents[:, 0], (times - times[:, :1])[:, 1:], control).to(latents.dtype)
        wanted = pad(states[:, 1:].flatten(0, 1), model.gx.in_shape)
        difference = decode(model, expected).flatten(0, 1) - wanted
        first = _standardize(model)
        terms = {
            "prediction": (difference if first is None else difference / first.deviation).square().mean(),
            "latent": functional.mse_loss(expected, latents[:, 1:]),
        }
        return {"loss": self.config.prediction_weight * terms["prediction"] + self.config.latent_weight * terms["latent"], **terms}

    def _drawn(self, states: Tensor, times: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Some frames of each trajectory; the first is the one to predict from.

        They come from a stretch whose length is log-uniform: short ones find the frequencies, which long ones then make exact.
        """
        rows, total = times.shape
        count = min(self.config.frames, total)
        draw = torch.rand(2 * rows + 1, total, generator=generator, device=times.device)
        length = (count * (total / count) ** draw[-1, :1]).round().long()
        begin = (draw[:rows, :1] * (total - length + 1)).long()
        order = begin + draw[rows:-1].masked_fill(torch.arange(total, device=times.device) >= length, 2).argsort(dim=1)[:, :count]
        if not self.config.backward:
            order = order.sort(dim=1).values
        index = torch.arange(rows, device=times.device)[:, None]
        return states[index, order], times[index, order]


def _standardize(model: LinearizerModel) -> Standardize | None:
    first = model.gx[0] if isinstance(model.gx, Chain) else None
    return first if isinstance(first, Standardize) else None
