"""One stage and its model as a module whose forward pass is the loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from linearizer_core.data import Batch
from linearizer_core.errors import TrainingError
from linearizer_core.model import LinearizerModel
from linearizer_core.task import Stage

__all__ = ["StageStep", "select_parameters"]


class StageStep(nn.Module):
    """What is handed to Accelerate: distributed wrappers act on ``forward``, and here that is the whole loss, whichever methods of the model it calls."""

    def __init__(self, stage: Stage, model: LinearizerModel) -> None:
        super().__init__()
        self.stage = stage
        self.model = model

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        return self.stage.loss(self.model, batch, generator)


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
            "Stage.parameters must return parameters of the model, at least one (a network that only a loss uses belongs into the model too)"
        )
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in wanted)
    return chosen
