"""One stage and its model as a module whose forward pass is the loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from linearizer_core.bijections import Bijection
from linearizer_core.data import Batch
from linearizer_core.errors import TrainingError
from linearizer_core.model import LinearizerModel
from linearizer_core.task import Stage
from linearizer_core.training.regularizer import lipschitz_penalty, trained_bijections

__all__ = ["StageStep", "select_parameters"]


class StageStep(nn.Module):
    """What is handed to Accelerate: distributed wrappers act on ``forward``, and here that is the whole loss, whichever methods of the model it calls.

    Where the stage asks for it, every few steps the loss contains the penalty on gains, and ``lipschitz`` among the scalars tells it: times the number of
    steps between two penalties, and 0 in between, so that the mean over such a period is the penalty.

    Raises:
        TrainingError: when there is a penalty, but no bijection all of whose parameters the stage trains.
    """

    def __init__(self, stage: Stage, model: LinearizerModel) -> None:
        super().__init__()
        self.stage = stage
        self.model = model
        self.auxiliary = stage.auxiliary(model)
        # In a tuple they are not registered a second time.
        self._penalized = tuple(trained_bijections(model)) if stage.config.lipschitz is not None else ()
        if stage.config.lipschitz is not None and not self._penalized:
            raise TrainingError(
                f"stage {stage.name!r} has a lipschitz penalty, but trains no bijection as a whole; train all parameters of one, or set lipschitz = 'none'"
            )

    def forward(self, batch: Batch, generator: torch.Generator, step: int) -> dict[str, Tensor]:
        values = self.stage.loss(self.model, batch, generator)
        config = self.stage.config.lipschitz
        if config is None:
            return values
        penalty = torch.zeros_like(values["loss"])
        if step % config.every == 0:
            for bijection in self._penalized:
                points = _points(bijection, batch, generator)
                penalty = penalty + config.every * lipschitz_penalty(bijection, points, generator, config)
        return {**values, "loss": values["loss"] + config.weight * penalty, "lipschitz": penalty}


def _points(bijection: Bijection, batch: Batch, generator: torch.Generator) -> Tensor:
    """What the batch holds in the shape of the domain; standard normal noise where it holds nothing like that."""
    tensors = [tensor for tensor in batch.values() if tensor.is_floating_point()]
    fitting = next((tensor for tensor in tensors if tuple(tensor.shape[1:]) == bijection.in_shape), None)
    if fitting is not None:
        return fitting
    rows, like = len(next(iter(batch.values()))), next(bijection.parameters())
    return torch.randn(rows, *bijection.in_shape, generator=generator, device=like.device, dtype=like.dtype)


def select_parameters(stage: Stage, model: LinearizerModel) -> dict[str, nn.Parameter]:
    """Freeze all parameters but those of the stage, and return these by name, in the order of the model.

    Raises:
        TrainingError: when the stage trains nothing, or something that is not part of the model.
    """
    wanted = {id(parameter) for parameter in stage.parameters(model)}
    chosen = {name: parameter for name, parameter in model.named_parameters() if id(parameter) in wanted}
    if not chosen or len(chosen) != len(wanted):
        raise TrainingError(
            f"stage {stage.name!r} trains {len(wanted)} parameters, of which {len(chosen)} belong to the model; "
            "Stage.parameters must return parameters of the model, at least one (a network that only a loss uses is Stage.auxiliary)"
        )
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in wanted)
    return chosen
