"""A run from its configuration to its report."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from linearizer_core.config import RunConfig
from linearizer_core.config_file import dump_config
from linearizer_core.data import Splits
from linearizer_core.errors import ConfigError
from linearizer_core.factory import build_model, create_dataset
from linearizer_core.files import write_json, write_text
from linearizer_core.task import Report, Stage, Task
from linearizer_core.training.accelerator import make_accelerator, set_threads
from linearizer_core.training.differences import differing_keys
from linearizer_core.training.finish import finish
from linearizer_core.training.loop import FitResult, fit
from linearizer_core.training.record import run_facts
from linearizer_core.training.sampler import check_batch_size
from linearizer_core.training.tracking import check_tracker

__all__ = ["RunSummary", "train"]

FREE_KEYS = frozenset({"output", "checkpoint_every", "keep_checkpoints", "sample_every", "log_every", "num_workers", "threads", "tracker", "monitor"})
"""Fields of `TrainingConfig` that may change on resume: they do not touch the weights."""


@dataclass(frozen=True)
class RunSummary:
    """What came of a run; ``report`` is None on all processes but the main one."""

    output: Path
    result: FitResult
    report: Report | None


def train(config: RunConfig) -> RunSummary:
    """Train, save and evaluate what ``config`` describes; in a folder that holds the same run already, continue it.

    Configuration, data, model and output folder are checked before any device is touched. The folder then holds ``config.toml``,
    ``metrics.jsonl``, ``checkpoints``, ``samples``, ``run.json``, ``model`` (the artifact) and ``report.json``.

    Raises:
        ConfigError: for a configuration that cannot be used, and for an output folder that holds another run.
        DataError: for data that is missing or malformed.
        TrainingError: for training that cannot go on (see `fit`).
    """
    training = config.training
    check_tracker(training.tracker)
    _check_output(config)
    splits = create_dataset(config.data.name, **config.data.options).load()
    task, model = build_model(config.model, splits.info, training.seed)
    _check_batches(task, splits, config)

    accelerator = make_accelerator(training)
    set_threads(accelerator, training.threads)
    if accelerator.is_main_process:
        training.output.mkdir(parents=True, exist_ok=True)
        write_text(training.output / "config.toml", dump_config(config))
    report = None
    try:
        result = fit(task, model, splits, training, accelerator=accelerator)
        if accelerator.is_main_process:
            facts = run_facts(model, training, result, accelerator)
            write_json(training.output / "run.json", facts)
            report = finish(config, task, model, splits, facts)
    finally:
        for tracker in accelerator.trackers:
            tracker.finish()
    return RunSummary(training.output, result, report)


def _check_output(config: RunConfig) -> None:
    """Raise `ConfigError` when the output folder cannot be written, or holds a run that this configuration would not continue."""
    output = config.training.output
    existing = next(path for path in (output, *output.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ConfigError(f"training.output = {output} cannot be written: {existing} is not a folder one may write to; choose another training.output")
    written = output / "config.toml"
    if not written.exists():
        if (output / "checkpoints").exists():
            raise ConfigError(f"{output} holds checkpoints but no config.toml, so it cannot be told which run they belong to; choose another training.output")
        return
    try:
        earlier = tomllib.loads(written.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(
            f"{written} is damaged ({error}), so it cannot be told which run it belongs to; restore it, or choose another training.output"
        ) from error
    now = tomllib.loads(dump_config(config))
    for values in (earlier, now):
        values["training"] = {key: value for key, value in values.get("training", {}).items() if key not in FREE_KEYS}
    if strange := differing_keys(earlier, now):
        raise ConfigError(f"{output} holds a run with another configuration: {strange}; choose another training.output, or restore these values to continue it")


def _check_batches(task: Task, splits: Splits, config: RunConfig) -> None:
    # Set by the launcher; where it is not, the sampler checks again.
    chunks = int(os.environ.get("WORLD_SIZE", "1")) * config.training.accumulation_steps
    for stage in task.stages():
        own_data = type(stage).dataset is not Stage.dataset
        examples = stage.config.batch_size if own_data else len(splits.train)  # type: ignore[arg-type]
        check_batch_size(stage.name, stage.config.batch_size, examples=examples, chunks=chunks)
