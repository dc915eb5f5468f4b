"""Quality, cost and condition number over the rank of the operator."""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from linearizer_core import plugins
from linearizer_core.condition import Condition
from linearizer_core.config import Component, RunConfig
from linearizer_core.cores import CoreOperator, TimeDependentCore
from linearizer_core.data import Splits, stack
from linearizer_core.errors import ConfigError, NoSamplesError
from linearizer_core.features.classifier import ClassifierFeatures
from linearizer_core.figures.curves import save_curves
from linearizer_core.figures.images import is_image
from linearizer_core.figures.panels import save_strips
from linearizer_core.linearizer import Linearizer
from linearizer_core.metrics import frechet_distance
from linearizer_core.operators import LinearOperator
from linearizer_core.operators.flow import FlowSummary
from linearizer_core.pretrained import Pretrained
from linearizer_core.study import Row, Study, StudyReport, StudySubject
from linearizer_core.training import train
from linearizer_studies.config import RankConfig
from linearizer_studies.examples import Examples, psnr_db
from linearizer_studies.triplets import triplets
from linearizer_studies.words import listed, number

NOTES = {
    "mode": "truncate: the operator of one model, cut; retrain: a model for each rank",
    "features": "the extractor of the Frechet distances",
    "frechet_floor": "training examples against test examples, as many as samples or all there are",
    "best_frechet": "lowest Frechet distance of samples",
    "best_frechet_rank": "the rank it belongs to",
    "best_psnr_db": "highest PSNR of reconstructed test examples",
    "best_psnr_rank": "the rank it belongs to",
}
_SEED = 0
_BATCH = 64
_REPEATS = 5
_SHOWN = 8
_NEAR = 1.1


@final
class Rank(Study):
    """What does the rank of the operator buy, and what does it cost?

    *Truncated*: the first k singular triplets of the trained operator; of equal singular values those with most energy of test latents. *Retrained*: a run of
    its own for each rank, in ``rank-K`` of the study's folder, continued where it was interrupted.

    Quality is the Frechet distance of samples, where the task draws some and the data are labelled images, and the PSNR of reconstructed test examples: f(x),
    or, where f maps noise to data, f of the noise that its pseudo-inverse finds.
    """

    def __init__(self, config: RankConfig) -> None:
        self.config = config

    def run(self, subject: StudySubject, folder: Path) -> StudyReport:
        """Measure each rank, and draw quality and cost over rank.

        Raises:
            ConfigError: to retrain without a run, or a core without the option that holds the rank.
        """
        judge = _Judge(subject.splits, self.config)
        rows, shown = (self._truncated if self.config.mode == "truncate" else self._retrained)(subject, judge, folder)
        metrics: dict[str, Any] = {"mode": self.config.mode, **judge.floor}
        for name, key, best in (("frechet", "Frechet distance", min), ("psnr", "PSNR, dB", max)):
            if measured := [row for row in rows if row.get(key) is not None]:
                top = best(measured, key=lambda row: row[key])
                unit = "_db" if name == "psnr" else ""
                metrics |= {f"best_{name}{unit}": top[key], f"best_{name}_rank": top["rank"]}
        figures = _draw(rows, metrics, shown, folder)
        return StudyReport(metrics, figures, NOTES, tuple(_findings(rows, metrics)), {"By rank": rows})

    @torch.no_grad()
    def _truncated(self, subject: StudySubject, judge: _Judge, folder: Path) -> tuple[list[dict[str, Any]], list[tuple[str, Tensor]]]:
        pretrained = subject.pretrained
        examples = Examples.of(subject, self.config.examples, self.config.condition)
        operator = examples.f.operator
        found = triplets(operator, examples.latents(), of_outputs=examples.from_noise)
        full = len(found.values)
        if not full:
            raise ConfigError(f"{subject.name}: {operator!r} has no singular triplets to cut; a multiple of the identity, or zero, has no rank to choose")
        rows, shown = [], []
        for rank in [*(rank for rank in self.config.ranks if rank < full), full]:
            cut = operator if rank == full else found.truncated(rank, operator.dtype)
            values = found.values[:rank]
            row, images = judge.measure(pretrained, cut, examples, self.config.condition)
            rows.append({"rank": rank, "cond of what is kept": (values[0] / values[-1]).item(), **row})
            shown.append((f"rank {rank}", images))
        return rows, shown

    def _retrained(self, subject: StudySubject, judge: _Judge, folder: Path) -> tuple[list[dict[str, Any]], list[tuple[str, Tensor]]]:
        config = subject.require_run("rank with mode = retrain")
        rows, shown = [], []
        for rank in self.config.ranks:
            own = of_rank(config, rank, self.config.key, folder / f"rank-{rank}")
            with redirect_stdout(sys.stderr):  # each run prints a report; what this command prints is the study's
                seconds = sum(train(own).result.seconds.values())
            pretrained = Pretrained.from_pretrained(own.training.output / "model")
            with torch.no_grad():
                examples = Examples.of(StudySubject(subject.name, pretrained, subject.splits, own), self.config.examples, self.config.condition)
                row, images = judge.measure(pretrained, examples.f.operator, examples, self.config.condition)
            rows.append({"rank": rank, "training, s": seconds, **row})
            shown.append((f"rank {rank}", images))
        return rows, shown


def of_rank(config: RunConfig, rank: int, key: str, output: Path) -> RunConfig:
    """The configuration of a run with another rank, in a folder of its own.

    Raises:
        ConfigError: where the core has no option ``key``.
    """
    options = plugins.find("operator", config.core.name).load_config().model_fields
    if key not in options:
        raise ConfigError(
            f"core.name = {config.core.name!r} has no option {key!r}, expected one of: {listed(sorted(options))}; set key to the one that holds the rank"
        )
    core = Component(name=config.core.name, **{**config.core.options, key: rank})
    return config.model_copy(update={"core": core, "training": config.training.model_copy(update={"output": output})})


@final
class _Fixed(CoreOperator):
    """A core that is one given operator: a model with it samples by it."""

    def __init__(self, operator: LinearOperator) -> None:
        super().__init__(operator.shape)
        self._operator = operator

    def operator(self, condition: Condition | None = None) -> LinearOperator:
        return self._operator


@final
class _Judge:
    """How good samples and reconstructions are, and what the operator costs."""

    def __init__(self, splits: Splits, config: RankConfig) -> None:
        self.config = config
        self.features = ClassifierFeatures(splits) if splits.info.classes and is_image(splits.info.shape) else None
        self.floor: dict[str, Any] = {}
        if self.features:
            self.reference = self.features(stack(splits.test)["x"])
            floor = frechet_distance(self.features(stack(splits.train, config.samples)["x"]), self.reference)
            self.floor = {"features": self.features.name, "frechet_floor": floor}

    @torch.no_grad()
    def measure(self, pretrained: Pretrained, operator: LinearOperator, examples: Examples, condition: dict[str, int]) -> tuple[dict[str, Any], Tensor]:
        """A row of the table, and a few reconstructions."""
        f = Linearizer(examples.f.domain, operator, examples.f.codomain)
        back = f(f.pinv()(examples.x)) if examples.from_noise else f(examples.x)
        z = torch.randn(_BATCH, operator.shape[1], generator=torch.Generator().manual_seed(_SEED)).to(operator.device, operator.dtype)
        samples = self._samples(pretrained, operator, condition) if self.features else None
        row = {
            "Frechet distance": None if samples is None or self.features is None else frechet_distance(self.features(samples.cpu()), self.reference),
            "PSNR, dB": psnr_db(back, examples.x) if back.shape == examples.x.shape else None,
            "cond(B)": FlowSummary.of(operator).cond,
            "bytes": sum(tensor.numel() * tensor.element_size() for tensor in operator.tensors().values()),
            "apply, ms": 1e3 * _median_seconds(lambda: operator(z)),
        }
        return row, back[:_SHOWN]

    def _samples(self, pretrained: Pretrained, operator: LinearOperator, condition: dict[str, int]) -> Tensor | None:
        model, options = pretrained.model, {"label": condition["label"]} if "label" in condition else {}
        generator = torch.Generator(next(model.parameters()).device).manual_seed(_SEED)
        if not isinstance(model.core, TimeDependentCore):
            model = copy.copy(model)
            model._modules = {**model._modules, "core": _Fixed(operator)}
        try:
            return pretrained.task.sample(model, self.config.samples, generator, options, operator=operator)
        except NoSamplesError:
            return None


def _median_seconds(call: Callable[[], object]) -> float:
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[_REPEATS // 2]


def _draw(rows: Sequence[Row], metrics: dict[str, Any], shown: Sequence[tuple[str, Tensor]], folder: Path) -> tuple[str, ...]:
    figures = []
    for name, key, title in (("frechet.png", "Frechet distance", "Samples over rank"), ("psnr.png", "PSNR, dB", "Reconstruction over rank")):
        measured = [row for row in rows if row[key] is not None]
        if len(measured) > 1:
            levels = {"training against test examples": metrics["frechet_floor"]} if key == "Frechet distance" else None
            curve = {"f": ([row["rank"] for row in measured], [row[key] for row in measured])}
            save_curves(folder / name, title, curve, x="rank", y=key, log_x=True, log_y=key == "Frechet distance", levels=levels)
            figures.append(name)
    if is_image(tuple(shown[0][1].shape[1:])):
        save_strips(folder / "reconstructions.png", "Reconstructed test examples over rank", [list(shown)])
        figures.append("reconstructions.png")
    return tuple(figures)


def _findings(rows: Sequence[Row], metrics: dict[str, Any]) -> list[str]:
    sentences = []
    if "best_frechet" in metrics:
        measured = [row for row in rows if row["Frechet distance"] is not None]
        enough = min(row["rank"] for row in measured if row["Frechet distance"] <= _NEAR * metrics["best_frechet"])
        sentences.append(
            f"Samples are best at rank {metrics['best_frechet_rank']} (Frechet distance {number(metrics['best_frechet'])}; training against test examples: "
            f"{number(metrics['frechet_floor'])}); rank {enough} comes within 10 % of that."
        )
    else:
        sentences.append("No Frechet distances: they need a task that draws samples, and labelled images.")
    if "best_psnr_db" in metrics:
        first, last = rows[0], rows[-1]
        sentences.append(
            f"Reconstruction goes from {number(first['PSNR, dB'])} dB at rank {first['rank']} to {number(last['PSNR, dB'])} dB at rank {last['rank']}."
        )
    if "cond of what is kept" in rows[0]:
        worst = max(row["cond of what is kept"] for row in rows)
        sentences.append(
            f"What is kept has a condition number of at most {number(worst)}: "
            + ("encoding is safe." if worst < 1e3 else "encoding amplifies errors that much.")
        )
    costs = [row["bytes"] for row in rows]
    sentences.append(f"The operator takes {min(costs):,} to {max(costs):,} bytes.")
    return sentences
