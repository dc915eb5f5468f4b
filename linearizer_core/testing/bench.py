"""What a task is tried on: small images that are made here, and the first backbone and core with which it builds a model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import final

import torch
from torch.utils.data import DataLoader

from linearizer_core import plugins
from linearizer_core.config import Component
from linearizer_core.data import Batch, DataInfo, Splits, TensorTable, collate
from linearizer_core.errors import CheckFailure, LinearizerError
from linearizer_core.factory import create_backbone, create_core
from linearizer_core.model import LinearizerModel
from linearizer_core.task import BuildContext, Stage, Task
from linearizer_core.testing.perturb import perturb
from linearizer_core.testing.subjects import TaskSubject

BATCH = 16
_CLASSES = 4
_SIDE = 8


@final
@dataclass(frozen=True)
class Bench:
    """A task with all it needs."""

    subject: TaskSubject
    backbone: Component
    core: Component
    splits: Splits

    def build(self, seed: int = 0) -> tuple[Task, LinearizerModel]:
        """The task and its untrained model, drawn from a seed."""
        torch.manual_seed(seed)
        task = self.subject.make()
        context = BuildContext(
            info=self.splits.info,
            backbone=lambda shape, conditions: create_backbone(self.backbone.name, shape, conditions=conditions, **self.backbone.options),
            core=lambda shape, conditions: create_core(self.core.name, shape, conditions=conditions, **self.core.options),
        )
        return task, task.build(context)

    def prepared(self) -> tuple[Task, LinearizerModel]:
        """The task and a model whose weights have moved, and on whose latents every stage has fitted what it fits."""
        task, model = self.build()
        model.train()
        for stage in task.stages():
            stage.begin(model, self.splits)
            with torch.no_grad():
                stage.loss(model, self.batch(stage, model), generator())
        perturb(model)
        for stage in task.stages():
            stage.begin(model, self.splits)
        return task, model

    def batch(self, stage: Stage, model: LinearizerModel) -> Batch:
        """The first examples a stage trains on."""
        batch: Batch = next(iter(DataLoader(stage.dataset(model, self.splits), batch_size=BATCH, collate_fn=collate)))
        return batch


def bench(subject: TaskSubject) -> Bench:
    """The first combination with which the task builds a model.

    Raises:
        CheckFailure: when there is none.
    """
    splits = subject.splits or subject.make().trial_data() or _images()
    refusals = []
    for backbone, core in product(_candidates("backbone", subject.backbone), _candidates("operator", subject.core)):
        candidate = Bench(subject, backbone, core, splits)
        try:
            candidate.build()
        except (LinearizerError, ModuleNotFoundError) as error:
            refusals.append(f"{backbone.name} and {core.name}: {error}")
            continue
        return candidate
    first = f", such as {refusals[0]}" if refusals else ""
    raise CheckFailure(f"build raises for each of {len(refusals)} combinations of backbone and core{first}; give TaskSubject a backbone and a core that fit")


def generator(seed: int = 0) -> torch.Generator:
    """All the randomness that a loss or a sample may use."""
    return torch.Generator().manual_seed(seed)


def _candidates(kind: plugins.ComponentKind, given: Component | None) -> Iterator[Component]:
    return iter([given] if given else [Component(name=name) for name in plugins.specs(kind)])


def _images() -> Splits:
    """Grey images of 8 x 8 pixels, each with a blurred spot in the place of its class."""
    tables = {}
    for number, (name, count) in enumerate((("train", 160), ("validation", 40), ("test", 40))):
        random = generator(number)
        label = torch.arange(count) % _CLASSES
        centre = torch.stack([label // 2, label % 2], 1) * 3 + 2 + torch.rand(count, 2, generator=random)
        places = torch.arange(_SIDE)
        rows, columns = (torch.exp(-((places - centre[:, axis, None]) ** 2) / 3) for axis in (0, 1))
        x = rows[:, None, :, None] * columns[:, None, None, :] + 0.05 * torch.rand(count, 1, _SIDE, _SIDE, generator=random)
        tables[name] = TensorTable(x=x.clamp(0, 1), label=label)
    return Splits(DataInfo(name="spots", shape=(1, _SIDE, _SIDE), classes=_CLASSES), tables["train"], tables["validation"], tables["test"])
