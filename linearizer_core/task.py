"""The contract of a task: what is built, how it is trained, sampled and judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from linearizer_core.bijections import Bijection
from linearizer_core.collapse import collapse_core
from linearizer_core.condition import Condition
from linearizer_core.config import CollapseConfig, StageConfig
from linearizer_core.cores import CoreOperator
from linearizer_core.data import Batch, DataInfo, Splits
from linearizer_core.errors import ConfigError, NoSamplesError
from linearizer_core.figures.images import is_image
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import LinearOperator
from linearizer_core.space import InducedSpace

_PREVIEW = 64


@dataclass(frozen=True)
class BuildContext:
    """What a task builds its model from.

    ``backbone(in_shape, conditions)`` and ``core(shape, conditions)`` make the components that the configuration names;
    ``conditions`` maps the name of a categorical condition to its number of categories and may be None.
    """

    info: DataInfo
    backbone: Callable[[tuple[int, ...], dict[str, int] | None], Bijection]
    core: Callable[[tuple[int, int], dict[str, int] | None], CoreOperator]


class Stage(ABC):
    """One part of training, with its own loss, parameters, data and optimiser. Stages run in order; the next starts from the averaged weights of the last."""

    def __init__(self, name: str, config: StageConfig) -> None:
        self.name = name
        self.config = config

    @abstractmethod
    def parameters(self, model: LinearizerModel) -> Iterable[nn.Parameter]:
        """The parameters this stage trains; all others are frozen."""

    def begin(self, model: LinearizerModel, splits: Splits) -> None:  # noqa: B027 (optional)
        """Fit what is fitted rather than trained (means, clusters), into buffers of the model. Runs once, before the first step, and not again on resume.

        Must give the same result on every process.
        """

    def auxiliary(self, model: LinearizerModel) -> nn.Module | None:
        """A network that only the loss uses, such as a critic: trained along with `parameters` and kept in checkpoints of the stage, no part of the model.

        Called once, after `begin`. All its parameters must be reached by the loss.
        """
        return None

    def dataset(self, model: LinearizerModel, splits: Splits) -> Dataset[Batch]:
        """The examples this stage trains on, on the CPU: the training split, or something computed from it with the frozen part of the model.

        Must be deterministic: resume recomputes it.
        """
        return splits.train

    @abstractmethod
    def loss(self, model: LinearizerModel, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """``loss``, and further scalars to log. All randomness comes from ``generator`` (on the batch's device), which is what makes resume exact."""


@dataclass(frozen=True)
class Report:
    """What an evaluation found: metrics (JSON values), figures by file name, already written, and in words what each metric means and each figure shows."""

    metrics: dict[str, Any]
    figures: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskCard:
    """What a task says on the card of a saved model. Names of metrics that were not measured are left out of the card.

    Arguments:
        section: Markdown with headings of level 2: how to use the model beyond sampling, and what matters of it. ``local-dir:PATH`` in it becomes the
            address of the model, where that is known.
        measured: names of the metrics that matter most, the first ones first; they are the results that the Hub shows. All when empty.
        exactness: names of the metrics that are errors of what holds exactly in theory: inverse, superposition, idempotence, the collapse.
        limitations: Markdown, each on one line: what the model cannot do, and what its metrics do not tell.
        pipeline_tag: what the Hub calls such a model, one of its tasks such as ``unconditional-image-generation``; None where none fits.
    """

    section: str = ""
    measured: tuple[str, ...] = ()
    exactness: tuple[str, ...] = ()
    limitations: tuple[str, ...] = ()
    pipeline_tag: str | None = None


class Task(ABC):
    """What people train: constructed as ``Target(config)`` from the validated configuration of its plugin."""

    @abstractmethod
    def build(self, context: BuildContext) -> LinearizerModel:
        """Make the untrained model."""

    @abstractmethod
    def stages(self) -> Sequence[Stage]:
        """The stages of training, at least one."""

    def collapse(self) -> CollapseConfig | None:
        """How the steps of a core that depends on time become one operator; None for a task whose core does not."""
        return None

    def with_collapse(self, config: CollapseConfig) -> Task:
        """This task with another `collapse`.

        Raises:
            ConfigError: for a task whose core does not depend on time.
        """
        raise ConfigError(f"{type(self).__name__} has no steps to collapse; expected the task of a flow")

    def core(self, model: LinearizerModel) -> CoreOperator:
        """The core whose steps become that operator: under a condition, where the core of the model takes one."""
        return model.core

    def collapsed(self, model: LinearizerModel) -> LinearOperator | None:
        """The one operator that is saved with the model, in the dtype of its weights: all steps of the core, as `collapse` says; None where it says nothing."""
        config = self.collapse()
        return None if config is None else collapse_core(self.core(model), config).to(next(model.parameters()).dtype)

    def condition(self, model: LinearizerModel, batch: Batch) -> Condition | None:
        """The conditions under which the bijections of ``model`` take the examples of ``batch``, one row each; None where they take none.

        By default the labels, where that is all they take.

        Raises:
            ConfigError: where the batch does not tell the conditions.
        """
        needed = {**model.gx.conditions, **model.gy.conditions}
        if missing := sorted(needed.keys() - ({"label"} & batch.keys())):
            raise ConfigError(
                f"the bijections take {missing[0]!r}, the examples hold {sorted(batch)}; a task whose examples have it elsewhere overrides condition"
            )
        return Condition(label=batch["label"]) if needed else None

    def data_space(self, model: LinearizerModel) -> InducedSpace:
        """The one induced space in which examples meet, whatever their conditions: lines between any two of them run there. By default that of gy.

        Raises:
            ConfigError: where gy takes conditions, so that there is a space for each of them.
        """
        if model.gy.conditions:
            raise ConfigError(
                f"gy takes {sorted(model.gy.conditions)}, so examples lie in spaces of their own; a task that knows a common one overrides data_space"
            )
        return model.codomain()

    def sample(
        self,
        model: LinearizerModel,
        n: int,
        generator: torch.Generator,
        options: Mapping[str, Any] | None = None,
        *,
        operator: LinearOperator | None = None,
    ) -> Tensor:
        """``n`` examples ``(n, *shape)`` on the device of ``generator``.

        ``options`` are task-specific, unknown ones raise `ConfigError`; ``operator`` is the collapsed operator, where it is at hand already.

        Raises:
            NoSamplesError: by default: for a task that maps what it is given, and draws nothing.
        """
        raise NoSamplesError(f"{type(self).__name__} draws no samples: it maps what it is given; `linearizer list command` shows what applies a model")

    def preview(self, model: LinearizerModel, splits: Splits, generator: torch.Generator) -> Tensor | None:
        """Images ``(N, C, H, W)`` in [0, 1] that show how far training is; None for a task that has nothing to show. By default, 64 samples.

        Raises:
            LinearizerError: for a task that cannot show anything yet, because a later stage fits what it needs.
        """
        try:
            images = self.sample(model, _PREVIEW, generator)
        except NoSamplesError:
            return None
        return images if is_image(tuple(images.shape[1:])) else None

    def trial_data(self) -> Splits | None:
        """Small data on which the conformance kit tries this task; None where labelled images of 8 x 8 pixels will do."""
        return None

    def card(self, info: DataInfo, metrics: Mapping[str, Any]) -> TaskCard:
        """What the card of a saved model says of this task, for data like ``info``; ``metrics`` are those of the file, so that a value may be any JSON value.

        Text that comes from ``metrics`` goes through `linearizer_core.markdown.escape`, `code` or `figure`.
        """
        return TaskCard()

    @abstractmethod
    def evaluate(self, model: LinearizerModel, splits: Splits, folder: Path, *, operator: LinearOperator | None = None) -> Report:
        """Measure the model, and write the figures into ``folder``; ``operator`` is the collapsed operator that is saved with it, where there is one."""
