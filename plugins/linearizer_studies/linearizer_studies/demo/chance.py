"""Pictures that a seed chooses: samples of the model, or some of its test examples."""

from __future__ import annotations

import torch
from torch import Tensor

from linearizer_core.demo.pictures import showable
from linearizer_core.pretrained import Pretrained
from linearizer_core.task import Task

CHOSEN, DRAWN, CHANCE = "chosen below", "drawn by the model", "by chance"


def sources(pretrained: Pretrained) -> tuple[str, ...]:
    """Where pictures may come from; beside those chosen, samples where the task draws some, else test examples where there are any."""
    if _samples(pretrained):
        return CHOSEN, DRAWN
    return (CHOSEN,) if pretrained.examples() is None else (CHOSEN, CHANCE)


def pictures_by_seed(pretrained: Pretrained, count: int, seed: int) -> Tensor:
    """Pictures ``(count, C, H, W)`` in [0, 1], the same for the same seed, of a model with a second one of `sources`."""
    if _samples(pretrained):
        return showable(pretrained.sample(count, seed=seed))
    examples = pretrained.examples()
    assert examples is not None, "a model with a second source"
    return examples[torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed)).repeat(count)[:count]]


def _samples(pretrained: Pretrained) -> bool:
    return type(pretrained.task).sample is not Task.sample
