"""What follows training: the saved model, its evaluation and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from linearizer_core.bijections.tf32 import without_tf32
from linearizer_core.config import RunConfig
from linearizer_core.config_file import load_config
from linearizer_core.data import Splits
from linearizer_core.errors import ArtifactError, ConfigError
from linearizer_core.factory import create_dataset
from linearizer_core.figures.images import is_image
from linearizer_core.figures.training import plot_training
from linearizer_core.files import write_json
from linearizer_core.model import LinearizerModel
from linearizer_core.pretrained import Pretrained
from linearizer_core.pretrained.artifact import LARGEST_PICTURE, ArtifactConfig, TrainingRecord, read_json
from linearizer_core.pretrained.card import CURVES
from linearizer_core.pretrained.examples import EXAMPLES, choose_examples, draw_examples
from linearizer_core.pretrained.training_log import thinned
from linearizer_core.report import print_report, report_values
from linearizer_core.task import Report, Task
from linearizer_core.training.tracking import read_metrics

__all__ = ["evaluate_run", "finish", "measure", "with_log"]


def finish(config: RunConfig, task: Task, model: LinearizerModel, splits: Splits, facts: Mapping[str, Any]) -> Report:
    """Save the trained model as an artifact in ``model``, measure it, write ``report.json`` and print it as a table."""
    artifact = ArtifactConfig(model=config.model, data=splits.info, seed=config.training.seed, commit=facts["commit"], training=training_record(config, facts))
    pictures = {EXAMPLES: draw_examples(choose_examples(splits.test, splits.info.classes))} if is_image(splits.info.shape) else {}
    pretrained, collapse = with_log(Pretrained(task, model.eval(), artifact, pictures=pictures), config.training.output), task.collapse()
    # Saved before whatever may take long or fail, and again with what that gave.
    if collapse is not None:
        pretrained.save_pretrained(config.training.output / "model")
    pretrained = pretrained.collapsed(collapse) if collapse is not None else replace(pretrained, operator=task.collapsed(model))
    pretrained.save_pretrained(config.training.output / "model")
    return measure(pretrained, splits, config.training.output, facts)


def training_record(config: RunConfig, facts: Mapping[str, Any]) -> TrainingRecord:
    """What a saved model keeps of its run: of the configuration what it does not have already, and the facts of ``run.json``."""
    return TrainingRecord.model_validate({**facts, "data": config.data.model_dump(mode="json"), "training": config.training.model_dump(mode="json")})


def with_log(pretrained: Pretrained, run: Path) -> Pretrained:
    """The same with the training log of the folder ``run``, which trained it, and with a picture of its curves.

    Raises:
        ArtifactError: where the folder has no ``metrics.jsonl``.
    """
    path = run / "metrics.jsonl"
    if not path.exists():
        raise ArtifactError(f"{path} is missing; training writes it, give the folder of the run")
    log = thinned(read_metrics(path))
    return replace(pretrained, log=log, pictures={**pretrained.pictures, **({CURVES: plot_training(log)} if log else {})})


def measure(pretrained: Pretrained, splits: Splits, output: Path, facts: Mapping[str, Any]) -> Report:
    """Evaluate a saved model in full float32, and write what was found: into its artifact, into ``report.json``, and on the terminal."""
    with without_tf32(next(pretrained.model.parameters())):
        report = pretrained.task.evaluate(pretrained.model, splits, output, operator=pretrained.operator)
    values = report_values(report, facts)
    measured = {name: value for name, value in values.items() if name not in ("run", "figures")}
    figures = {name: (output / name).read_bytes() for name in report.figures}
    pictures = {name: content for name, content in figures.items() if len(content) <= LARGEST_PICTURE}
    notes = {name: report.notes[name] for name in (*report.figures, *measured) if name in report.notes}
    replace(pretrained, metrics=measured, notes=notes, pictures={**pretrained.pictures, **pictures}).save_pretrained(output / "model")
    write_json(output / "report.json", values)
    print_report(values, report.notes)
    return report


def evaluate_run(output: Path, overrides: Sequence[str] = ()) -> Report:
    """Measure the model of a run folder again, on its own data; only ``data.*`` may be overridden, the model is what was saved.

    Raises:
        ConfigError: when the folder holds no run, or an override cannot be used.
        ArtifactError: when its model or run.json is missing or damaged.
        DataError: when its data are missing.
    """
    written = output / "config.toml"
    if not written.exists():
        raise ConfigError(f"{output} holds no run (no config.toml); give the folder that training wrote, its training.output")
    for override in overrides:
        if not override.startswith("data."):
            raise ConfigError(f"override {override!r}: only data.* can change here, such as data.root=DIR; the model is measured as it was saved")
    config = load_config(written, overrides)
    pretrained = Pretrained.from_pretrained(output / "model")
    splits = create_dataset(config.data.name, **config.data.options).load()
    return measure(pretrained, splits, output, read_json(output / "run.json"))
