"""A trained linearizer: task and model, and the folder they are saved in.

The folder is described in `linearizer_core.pretrained.artifact`.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from linearizer_core.collapse import CollapseReport, collapse_core, measured_collapse
from linearizer_core.condition import Condition
from linearizer_core.config import CollapseConfig
from linearizer_core.cores import TimeDependentCore
from linearizer_core.errors import ArtifactError, LinearizerError, NoSamplesError, PluginError
from linearizer_core.factory import build_model
from linearizer_core.figures.singular_values import plot_singular_values
from linearizer_core.files import write_json, write_text
from linearizer_core.linearizer import Linearizer
from linearizer_core.metrics import relative_error
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import LinearOperator, load_operator, save_operator
from linearizer_core.pretrained.artifact import (
    LOG,
    ArtifactConfig,
    check_digests,
    check_files,
    check_picture,
    digests,
    installed_origins,
    read_config,
    read_json,
    read_notes,
    read_pictures,
    read_report,
)
from linearizer_core.pretrained.budget import BuildBudget
from linearizer_core.pretrained.card import CURVES, CardFacts, render_card
from linearizer_core.pretrained.examples import EXAMPLES, cut_examples
from linearizer_core.pretrained.hub import HubAddress, fetch, push
from linearizer_core.pretrained.hub.address import ANY_ADDRESS, HUB_PREFIX
from linearizer_core.pretrained.staging import replacing
from linearizer_core.pretrained.training_log import LogLine, log_text, read_log
from linearizer_core.pretrained.weights import load_weights, round_weights, save_weights
from linearizer_core.task import Task
from linearizer_core.tensor_files import count_elements

_SINGULAR_VALUES = "singular_values.png"
_COMPARED = 64


@dataclass(frozen=True)
class Pretrained:
    """A task, its model, and what is known about them.

    Arguments:
        task: how it was built, how it samples and is measured.
        model: bijections and core.
        config: what ``config.json`` holds.
        metrics: what was measured of it, JSON values.
        operator: the collapsed operator, where the task has one.
        collapse: how that operator was made and what it is, where it comes from the steps of a flow.
        pictures: PNG files by name, for the card.
        notes: what each metric means and each picture shows, in words.
        log: what was logged while it was trained, in order of ``step``: the lines of ``metrics.jsonl``, thinned
            (`linearizer_core.pretrained.training_log.thinned`).
        source: the repository and the commit, where it was loaded from the Hub.

    Example:
        >>> pretrained = Pretrained.from_pretrained("runs/quickstart/model")  # doctest: +SKIP
        >>> images = pretrained.sample(16, seed=0, label=3)  # doctest: +SKIP
    """

    task: Task
    model: LinearizerModel
    config: ArtifactConfig
    metrics: Mapping[str, Any] = field(default_factory=dict)
    operator: LinearOperator | None = None
    collapse: CollapseReport | None = None
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    log: tuple[LogLine, ...] = ()
    source: HubAddress | None = None

    def __post_init__(self) -> None:
        # In the layout in which it is stored: with other strides the same product may round otherwise, and a loaded model would give other bits.
        if self.operator is not None:
            stored = {name: tensor.detach().contiguous() for name, tensor in self.operator.tensors().items()}
            object.__setattr__(self, "operator", type(self.operator).from_tensors(stored))

    def sample(self, n: int, *, seed: int = 0, **options: Any) -> Tensor:
        """``n`` examples ``(n, *shape)``; the options are those of the task, such as ``steps``, ``label`` and ``temperature`` of a flow.

        Raises:
            ConfigError: for an option the task does not know, or a value out of range.
        """
        generator = torch.Generator(next(self.model.parameters()).device).manual_seed(seed)
        with torch.no_grad():
            return self.task.sample(self.model, n, generator, options, operator=self.operator)

    def examples(self) -> Tensor | None:
        """Test examples ``(N, C, H, W)`` that are saved with the model, in [0, 1] and in 8 bits; None where it has none.

        Raises:
            ArtifactError: for a picture that does not hold examples of the model's shape.
        """
        return cut_examples(self.pictures[EXAMPLES], self.config.data.shape) if EXAMPLES in self.pictures else None

    def linearizer(self, condition: Condition | None = None) -> Linearizer:
        """The map itself, with the collapsed operator where there is one: everything the algebra offers applies to it.

        Where the core takes conditions, and ``condition`` holds some, the operator is made for them.
        """
        core, collapse = self.model.core, self.task.collapse()
        own = condition.only(core.conditions) if condition is not None else None
        if own is None or collapse is None or not isinstance(core, TimeDependentCore):
            return self.model.linearizer(self.operator, condition)
        return self.model.linearizer(collapse_core(core.given(own), collapse).to(next(self.model.parameters()).dtype), condition)

    def collapsed(self, config: CollapseConfig) -> Pretrained:
        """The same with its flow collapsed anew: another operator, its report, and a plot of its singular values.

        Metrics and pictures are kept where the operator is the same bit for bit. Otherwise they belong to the former one, and are left out: measure it again.
        Examples and what is known of training are kept.

        Raises:
            ConfigError: for a model whose task has no steps to collapse.
            UnknownSolverError, NoTerminalLimitError, StepSizeError, TruncationError, DivergedFlowError: where the core cannot do what ``config`` asks for.

        Example:
            >>> from linearizer_core.config import CollapseConfig
            >>> pretrained = Pretrained.from_pretrained("runs/quickstart/model")  # doctest: +SKIP
            >>> pretrained.collapsed(CollapseConfig(steps=1000, solver="rk4")).save_pretrained("finer")  # doctest: +SKIP
        """
        task = self.task.with_collapse(config)
        operator, report = measured_collapse(task.core(self.model), config, next(self.model.parameters()).dtype)
        made = replace(self, task=task, config=self.config.model_copy(update={"collapse": config}), operator=operator, collapse=report)
        plot = {_SINGULAR_VALUES: plot_singular_values(report)}
        if _same_bits(made.operator, self.operator):
            return replace(made, pictures={**self.pictures, **plot})
        return replace(made, metrics={}, notes={}, pictures={**{name: self.pictures[name] for name in {EXAMPLES, CURVES} & self.pictures.keys()}, **plot})

    def compact(self) -> Pretrained:
        """The same with weights rounded to float16, so that `save_pretrained` writes files of half the size; computations stay in float32.

        Metrics are kept, as those of the model before rounding. Where the task draws samples, what rounding changed of 64 of them is put beside:
        ``float16_weights_rel_err``.

        Raises:
            ArtifactError: for weights beyond the range of float16.
        """
        made = replace(self, model=copy.deepcopy(self.model), config=self.config.model_copy(update={"weights": "float16"}))
        with torch.no_grad():
            round_weights(made.model)
        try:
            error = relative_error(made.sample(_COMPARED, seed=0), self.sample(_COMPARED, seed=0))
        except NoSamplesError:
            return made
        name, note = "float16_weights_rel_err", f"what rounding the weights to float16 changed of {_COMPARED} samples"
        return replace(made, metrics={**self.metrics, name: error}, notes={**self.notes, name: note})

    def card(self, address: str = ANY_ADDRESS) -> str:
        """The card in Markdown; ``address`` is how the model is loaded, as in `linearizer_core.pretrained.load`.

        The card of a folder is made anew, from what the folder holds, by:

            >>> folder = Path("runs/quickstart/model")
            >>> (folder / "README.md").write_text(Pretrained.from_pretrained(folder).card(), encoding="utf-8")  # doctest: +SKIP
        """
        return render_card(
            CardFacts(
                config=self.config,
                parameters=sum(parameter.numel() for parameter in self.model.parameters()),
                samples=type(self.task).sample is not Task.sample,
                metrics=self.metrics,
                notes=self.notes,
                collapse=self.collapse,
                pictures=list(self.pictures),
                logged=len(self.log),
                task=self.task.card(self.config.data, self.metrics),
                address=address,
            )
        )

    def save_pretrained(self, folder: Path | str, *, address: str = ANY_ADDRESS) -> Path:
        """Write the folder described above, all of it or nothing: an existing artifact is replaced once the new one is complete.

        ``address`` is how the card says that the model is loaded.

        Raises:
            ArtifactError: when ``folder`` holds something that is not an artifact, when the weights are not float32, and for a log or pictures that could not
                be loaded again.
        """
        folder = Path(folder).resolve()  # neither "." nor a link can be renamed
        for name, picture in self.pictures.items():
            check_picture(name, picture)
        log = log_text(self.log)
        if strange := {str(parameter.dtype) for parameter in self.model.parameters()} - {"torch.float32"}:
            raise ArtifactError(f"the model has parameters of {', '.join(sorted(strange))}, an artifact holds torch.float32; call model.float() before saving")
        with replacing(folder) as staging:
            save_weights(self.model, staging / "model.safetensors", getattr(torch, self.config.weights))
            if self.operator is not None:
                save_operator(staging / "operator.safetensors", self.operator)
            made = replace(self, config=self.config.model_copy(update={"plugins": installed_origins(self.config.model), "sha256": digests(staging)}))
            write_json(staging / "config.json", made.config.model_dump(mode="json"))
            write_json(staging / "metrics.json", dict(self.metrics))
            if self.notes:
                write_json(staging / "notes.json", dict(self.notes))
            if self.log:
                write_text(staging / LOG, log)
            if self.collapse is not None:
                write_json(staging / "collapse.json", self.collapse.model_dump(mode="json"))
            for name, picture in self.pictures.items():
                (staging / name).write_bytes(picture)
            write_text(staging / "README.md", made.card(address))
        return folder

    def push_to_hub(self, repo: str, *, private: bool = False) -> str:
        """Send it to the repository ``org/name`` of the Hub in one commit, as `linearizer_core.pretrained.hub.push` does; the URL of the commit.

        Raises:
            ArtifactError: as `save_pretrained`.
            HubError: when the repository holds a model of another kind, and for what the Hub answers.
        """
        with tempfile.TemporaryDirectory() as folder:
            return push(self.save_pretrained(Path(folder) / "model", address=f"{HUB_PREFIX}{repo}"), repo, private=private)

    @classmethod
    def from_pretrained(cls, folder: Path | str, *, device: torch.device | str = "cpu") -> Pretrained:
        """Load a folder written by `save_pretrained`. Strict: missing, extra or ill-shaped tensors and unknown keys are refused.

        Arguments:
            folder: the folder, or ``hf-hub:org/name``, a repository of the Hub, with ``@`` and a branch, tag or commit where it is not ``main``.
            device: where it computes.

        Raises:
            ArtifactError: when the folder is not an artifact, or one that is truncated, edited, pickled, linked elsewhere, of a future format, not made of
                numbers, or asks for more memory or work than its files account for (`linearizer_core.pretrained.budget.BuildBudget`).
            HubError: for a repository that cannot be fetched, or is no linearizer.
            UnknownNameError: when it needs a plugin that is not installed.
        """
        if isinstance(folder, str) and folder.startswith(HUB_PREFIX):
            pulled = fetch(HubAddress.parse(folder))
            return replace(cls.from_pretrained(pulled.folder, device=device), source=pulled.address)
        folder = Path(folder)
        check_files(folder)
        config = read_config(folder)
        try:
            with BuildBudget(*count_elements(folder / "model.safetensors")):
                task, model = build_model(config.model, config.data, config.seed)
        except PluginError as error:
            origins = ", ".join(f"{origin.component} from {origin.distribution} {origin.version}" for origin in config.plugins)
            raise type(error)(f"{folder} was saved with {origins or 'unknown plugins'}: {error}") from error
        except Exception as error:  # an edited number can break any line of a plugin
            reason = str(error) if isinstance(error, LinearizerError) else f"{type(error).__name__}: {error}"
            raise ArtifactError(f"{folder}/config.json describes a model that cannot be built: {reason}; restore the file") from error
        load_weights(model, folder / "model.safetensors", getattr(torch, config.weights))
        stored = folder / "operator.safetensors"
        operator = load_operator(stored).to(device=device) if stored.exists() else None
        if operator is not None and (operator.shape, operator.dtype) != (model.core.shape, torch.float32):
            raise ArtifactError(f"{stored} is {operator!r}, the model needs {model.core.shape} in torch.float32; it belongs to another model")
        check_digests(folder, config)
        collapse = read_report(folder)
        if collapse is not None and (operator is None or (collapse.kind, collapse.dim) != (operator.kind, operator.shape[0])):
            raise ArtifactError(f"{folder / 'collapse.json'} describes another operator ({collapse.kind}, {collapse.dim}) than {operator!r}; collapse it anew")
        if config.collapse is not None:
            task = task.with_collapse(config.collapse)
        metrics, pictures, notes = read_json(folder / "metrics.json"), read_pictures(folder), read_notes(folder)
        return cls(task, model.to(device).eval(), config, metrics, operator, collapse, pictures, notes, read_log(folder))


def _same_bits(first: LinearOperator | None, second: LinearOperator | None) -> bool:
    if first is None or second is None or first.kind != second.kind:
        return False
    left, right = first.tensors(), second.tensors()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
