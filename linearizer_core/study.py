"""The contract of a study: a question put to a trained model, answered with numbers, pictures and sentences."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from linearizer_core import plugins
from linearizer_core.config import RunConfig
from linearizer_core.config_file import load_config, parse_overrides
from linearizer_core.data import Splits
from linearizer_core.errors import ConfigError
from linearizer_core.factory import create_dataset
from linearizer_core.files import write_json, write_text
from linearizer_core.markdown import render
from linearizer_core.pretrained import Pretrained, load, uri_of
from linearizer_core.task import Report

Row = Mapping[str, Any]


@dataclass(frozen=True)
class StudySubject:
    """What a study looks at.

    Arguments:
        name: how the model is called in reports.
        pretrained: the trained model.
        splits: its data.
        run: the run that trained it, where it is on this machine: its configuration, for studies that train anew, and its folder (``run.training.output``).
    """

    name: str
    pretrained: Pretrained
    splits: Splits
    run: RunConfig | None = None

    def require_run(self, study: str) -> RunConfig:
        """The run.

        Raises:
            ConfigError: where only the saved model is at hand.
        """
        if self.run is None:
            raise ConfigError(f"{study} trains anew and needs a run folder or a configuration, {self.name} is a saved model; give the one it was trained with")
        return self.run


@dataclass(frozen=True)
class StudyReport(Report):
    """What a study found: a `Report` with tables by title, and ``findings``, sentences that a reader without the numbers can use."""

    findings: tuple[str, ...] = ()
    tables: Mapping[str, Sequence[Row]] = field(default_factory=dict)


class Study(ABC):
    """A question put to trained models: constructed as ``Target(config)`` from the validated configuration of its plugin."""

    @abstractmethod
    def run(self, subject: StudySubject, folder: Path) -> StudyReport:
        """Answer it for one model, and write the figures into ``folder``.

        Raises:
            ConfigError: for a model the question does not apply to; the message says which it does.
        """


def open_subject(text: str, data: Sequence[str] = ()) -> StudySubject:
    """The model that ``text`` names, with its data: a run folder, a configuration (trained first, or continued), or a saved model.

    Arguments:
        text: a folder, a TOML file, ``local-dir:PATH``, ``hf-hub:org/name`` or a registered name.
        data: ``data.key=value`` overrides, such as ``data.root=DIR``.

    Raises:
        ConfigError: where the data cannot be told from the model.
        ArtifactError, DataError: when the model or its data cannot be read.
    """
    if (path := Path(text)).suffix == ".toml":
        from linearizer_core.training import train

        config = load_config(path, data)
        train(config)
        return _subject_of_run(config)
    if (path / "config.toml").is_file():
        return _subject_of_run(load_config(path / "config.toml", [*data, f"training.output={path}"]))
    pretrained = load(uri_of(text))
    options = parse_overrides(data).get("data", {})
    name = options.pop("name", pretrained.config.data.name)
    if name not in plugins.specs("dataset"):
        raise ConfigError(f"{text} was trained on {name!r}, which is no registered dataset; add data.name=NAME and its options, such as data.root=DIR")
    splits = create_dataset(name, **options).load()
    if splits.info.shape != pretrained.config.data.shape:
        raise ConfigError(f"{text} is a model of examples of shape {pretrained.config.data.shape}, data.name = {name!r} has {splits.info.shape}")
    return StudySubject(path.name or text, pretrained, splits)


def write_study(name: str, subject: StudySubject, report: StudyReport, folder: Path) -> Path:
    """Write ``study.json`` and ``report.md`` beside the figures; the path of the report."""
    values = {"study": name, "model": subject.name, **vars(report)}
    write_json(folder / "study.json", {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()})
    summary = plugins.find("study", name).summary
    write_text(folder / "report.md", render("study.md.j2", name=name, summary=summary, subject=subject, report=report))
    return folder / "report.md"


def _subject_of_run(config: RunConfig) -> StudySubject:
    output = config.training.output
    splits = create_dataset(config.data.name, **config.data.options).load()
    return StudySubject(output.name, Pretrained.from_pretrained(output / "model"), splits, config)
