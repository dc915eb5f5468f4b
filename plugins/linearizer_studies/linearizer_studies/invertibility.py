"""Round trips under stress: kinds of input, precisions, checkpoints of the run; what they lose, and inputs that share a latent."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from linearizer_core.bijections import Bijection, Identity
from linearizer_core.condition import Condition
from linearizer_core.errors import CheckpointError, LinearizerError
from linearizer_core.figures.curves import save_curves
from linearizer_core.figures.images import is_image
from linearizer_core.figures.panels import save_strips
from linearizer_core.invertibility import RoundTrip, adversarial, collisions, far_off_inputs, gain, logdet_error, round_trip, worst_layer
from linearizer_core.model import LinearizerModel
from linearizer_core.study import Row, Study, StudyReport, StudySubject
from linearizer_core.training.checkpoint import CheckpointFolder
from linearizer_core.training.state import load_model
from linearizer_studies.config import InvertibilityConfig, Precision
from linearizer_studies.examples import Examples
from linearizer_studies.refusals import or_infinite, unless_refused
from linearizer_studies.words import counted, number

NOTES = {
    "bijections": "measured",
    "worst_float32": "largest round-trip error in float32, all inputs, in units of the largest entry of the input",
    "worst_input": "the kind of input it belongs to",
    "data_float32": "the same for test examples alone",
    "collisions": "pairs of distinct inputs whose latents rounding cannot tell apart",
    "smallest_stretch": "smallest distance of two latents over that of their inputs",
    "largest_gain": "largest singular value of the Jacobians of g and of its inverse, test examples",
}
_SEED = 0
_GAINS = 8
_LEVELS = 255
_SHOWN = 10


@final
class Invertibility(Study):
    r"""What comes back from :math:`g^{-1}(g(x))`, for which inputs, in which precision, and since when.

    Information loss is counted twice. *Bits kept*, :math:`\log_2(\text{range} / \text{largest error})`: so many leading bits of every entry survive; 9 are
    enough for 8-bit images. *Changed bits*: of inputs rounded to 256 levels, the bits that differ after the round trip, out of 8 for each entry.
    """

    def __init__(self, config: InvertibilityConfig) -> None:
        self.config = config

    @torch.no_grad()
    def run(self, subject: StudySubject, folder: Path) -> StudyReport:
        """Measure, and draw the worst round trip and the course over checkpoints."""
        examples = Examples.of(subject, self.config.examples, self.config.condition)
        model, found = subject.pretrained.model, _Found()
        for name, g in bijections(model):
            self._measure(name, g, examples, found, folder)
        checkpoints = list(self._checkpoints(subject, examples)) if self.config.checkpoints else []
        figures = list(found.figures)
        steps = sorted({row["step"] for row in checkpoints if isinstance(row["step"], int)})
        if len(steps) > 1:
            figures.append("checkpoints.png")
            curves = {
                kind: (steps, [max(row[kind] for row in checkpoints if row["step"] == step) for step in steps]) for kind in ("data", "gaussian", "searched")
            }
            save_curves(folder / figures[-1], "Round trips in the course of training, float32", curves, x="step", y="largest relative error", log_y=True)
        metrics = found.metrics()
        return StudyReport(
            metrics,
            tuple(figures),
            NOTES,
            tuple(_findings(found, checkpoints, metrics, self.config)),
            {"Round trips": found.rows, "Latents": found.latents, "Checkpoints": checkpoints},
        )

    def _measure(self, name: str, g: Bijection, examples: Examples, found: _Found, folder: Path) -> None:
        condition = None if examples.condition is None else examples.condition.only(g.conditions)
        inputs = stressed(g, examples.x.reshape(len(examples.x), *g.in_shape), condition, self.config)
        for precision in self.config.precisions:
            found.rows += [_row(name, kind, precision, g, x, c) for kind, (x, c) in inputs.items()]
        x = inputs["data"][0]
        pairs, few = collisions(g, x, condition), torch.arange(min(_GAINS, len(x)), device=x.device)
        gains = gain(g, x[few], None if condition is None else condition.rows(few))
        found.latents.append(
            {
                "bijection": name,
                "pairs": pairs.pairs,
                "collisions": pairs.count,
                "identical latents": pairs.identical,
                "smallest stretch": pairs.smallest_stretch,
                "gain of g": float(gains.forward.max()),
                "gain of g^-1": float(gains.inverse.max()),
                "log-det error, float32": _logdet(g, x[few], condition, few),
                "log-det error, float64": _logdet(copy.deepcopy(g).double(), x[few].double(), condition, few),
            }
        )
        if self.config.layers:
            kind = _hardest([row for row in found.rows if row["bijection"] == name])["input"]
            x_worst, c_worst = inputs[kind]
            layer = worst_layer(
                g, x_worst[:_GAINS], None if c_worst is None else c_worst.rows(torch.arange(min(_GAINS, len(x_worst)), device=x.device)), name=name
            )
            found.layers.append((kind, str(layer)))
        if is_image(g.in_shape):
            found.figures.append(f"worst_{name}.png")
            _draw(g, inputs, folder / found.figures[-1], name)

    def _checkpoints(self, subject: StudySubject, examples: Examples) -> Iterator[dict[str, Any]]:
        """Largest relative errors for the weights of every checkpoint, as they were trained, not averaged; and for the saved model."""
        if subject.run is None:
            return
        saved = CheckpointFolder(subject.run.training.output / "checkpoints", keep=1)
        model = copy.deepcopy(subject.pretrained.model)
        for step in saved.steps():
            try:
                load_model(model, saved.load(step)[1]["model"])
            except CheckpointError:
                continue
            yield from self._course(step, model, examples)
        if saved.steps():
            yield from self._course("saved", subject.pretrained.model, examples)

    def _course(self, step: int | str, model: LinearizerModel, examples: Examples) -> Iterator[dict[str, Any]]:
        for name, g in bijections(model):
            condition = None if examples.condition is None else examples.condition.only(g.conditions)
            inputs = stressed(g, examples.x.reshape(len(examples.x), *g.in_shape), condition, self.config)
            errors = {kind: _relative(_there_and_back(g, *inputs[kind])) for kind in ("data", "gaussian", "searched")}
            yield {"step": step, "bijection": name, **errors}


@final
class _Found:
    """What was measured so far."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.latents: list[dict[str, Any]] = []
        self.layers: list[tuple[str, str]] = []
        self.figures: list[str] = []

    def metrics(self) -> dict[str, Any]:
        single = [row for row in self.rows if row["precision"] == "float32"]
        worst = _hardest(single) if single else None
        return {
            "bijections": len(self.latents),
            **({} if worst is None else {"worst_float32": worst["relative"], "worst_input": worst["input"]}),
            **({} if worst is None else {"data_float32": max(row["relative"] for row in single if row["input"] == "data")}),
            "collisions": sum(row["collisions"] for row in self.latents),
            "smallest_stretch": min(row["smallest stretch"] for row in self.latents),
            "largest_gain": max(or_infinite(row[f"gain of {way}"]) for row in self.latents for way in ("g", "g^-1")),
        }


def bijections(model: LinearizerModel) -> list[tuple[str, Bijection]]:
    """The bijections of a model that have something to lose, by name; gx and gy are one where they are one object."""
    if model.gx is model.gy:
        return [("g", model.gx)]
    return [(name, g) for name, g in (("gx", model.gx), ("gy", model.gy)) if not isinstance(g, Identity)]


def stressed(g: Bijection, x: Tensor, condition: Condition | None, config: InvertibilityConfig) -> dict[str, tuple[Tensor, Condition | None]]:
    """Inputs by kind, each with its condition: data, data with noise, inputs far off the data, and what a search for the worst round trip finds."""
    generator = torch.Generator(x.device).manual_seed(_SEED)
    low, high = float(x.min()), float(x.max())
    noise = torch.randn(x.shape, generator=generator, device=x.device).to(x)
    far = far_off_inputs(g.in_shape, len(x), generator, reference=x)
    some = torch.arange(min(config.searched, len(x)), device=x.device)
    own = None if condition is None else condition.rows(some)
    kinds = {"data": x, "noisy data": x + config.noise * (high - low) * noise, **far}
    found = {kind: (inputs, condition) for kind, inputs in kinds.items()}
    # Where the search itself meets an input that has no result, its start stays.
    worst = unless_refused(lambda: adversarial(g, x[some], own, generator=generator, steps=config.search_steps, low=low, high=high), x[some])
    return {**found, "searched": (worst, own)}


def changed_bits(back: Tensor, sent: Tensor) -> float:
    """Of inputs on 256 levels, the mean number of the 8 bits of an entry that differ in what came back; all of them where that is no number.

    Example:
        >>> sent = torch.tensor([0.0, 1.0, 2.0, 3.0])
        >>> changed_bits(torch.tensor([0.2, 1.0, 3.0, torch.nan]), sent)
        2.25
    """
    lost = ~back.isfinite()
    flipped = back.nan_to_num().round().clamp(0, _LEVELS).long() ^ sent.round().long()
    counts = sum(((flipped >> bit) & 1 for bit in range(8)), start=torch.zeros_like(flipped))
    return float(counts.masked_fill(lost, 8).double().mean())


def _row(name: str, kind: str, precision: Precision, g: Bijection, x: Tensor, condition: Condition | None) -> dict[str, Any]:
    low, high = float(x.min()), float(x.max())
    unit = (high - low or 1.0) / _LEVELS
    levels = ((x - low) / unit).round()
    if precision == "float64":
        g, x = copy.deepcopy(g).double(), x.double()
    with _lowered(precision, x):
        measured = _there_and_back(g, x, condition)
        grid = low + unit * levels.to(x.dtype)
        bits = unless_refused(lambda: changed_bits((g.inverse(g(grid, condition), condition).double() - low) / unit, levels), 8.0)
    error = math.inf if measured is None else measured.maximum
    return {
        "bijection": name,
        "input": kind,
        "precision": precision,
        "largest error": error,
        "relative": _relative(measured),
        "median error": math.inf if measured is None else measured.median,
        "not finite": len(x) if measured is None else measured.nonfinite,
        "bits kept": max(0.0, math.log2((high - low or 1.0) / error)) if 0 < error < math.inf else (math.inf if error == 0 else 0.0),
        "changed bits": bits,
    }


def _lowered(precision: Precision, x: Tensor) -> AbstractContextManager[object]:
    return torch.autocast(x.device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()


def _there_and_back(g: Bijection, x: Tensor, condition: Condition | None) -> RoundTrip | None:
    """The round trip; None where the bijection refuses an input."""
    return unless_refused(lambda: round_trip(g, x, condition), None)


def _relative(measured: RoundTrip | None) -> float:
    return math.inf if measured is None else measured.relative.maximum


def _hardest(rows: Sequence[Row]) -> Row:
    """The row with the largest relative error, in float32 where that was measured: the precision of the saved weights."""
    return max([row for row in rows if row["precision"] == "float32"] or rows, key=lambda row: or_infinite(row["relative"]))


def _logdet(g: Bijection, x: Tensor, condition: Condition | None, few: Tensor) -> float | None:
    if not g.has_logdet:
        return None
    try:
        return logdet_error(g, x, None if condition is None else condition.rows(few)).maximum
    except LinearizerError:
        return math.inf


def _draw(g: Bijection, inputs: dict[str, tuple[Tensor, Condition | None]], path: Path, name: str) -> None:
    """Data and the searched inputs, what came back, and the difference, enlarged until it shows."""
    groups = []
    for kind in ("data", "searched"):
        x, condition = inputs[kind]
        some = torch.arange(min(_SHOWN, len(x)), device=x.device)
        x = x[some]
        condition = None if condition is None else condition.rows(some)
        back = unless_refused(lambda x=x, condition=condition: g.inverse(g(x, condition), condition), None)  # type: ignore[misc]
        if back is None:
            continue
        error = (back - x).nan_to_num(math.inf).abs()
        largest = float(error.max())
        factor = 10.0 ** math.floor(-math.log10(largest)) if 0 < largest < math.inf else 1.0
        groups.append([(kind, x), ("came back", back), (f"difference x {factor:.0e}", 0.5 + factor * (back - x) / 2)])
    if groups:
        save_strips(path, f"There and back through {name}, float32", groups)


def _findings(found: _Found, checkpoints: Sequence[Row], metrics: dict[str, Any], config: InvertibilityConfig) -> list[str]:
    sentences = []
    for precision in config.precisions:
        rows = [row for row in found.rows if row["precision"] == precision]
        worst = max(rows, key=lambda row: or_infinite(row["relative"]))
        data = max((row for row in rows if row["input"] == "data"), key=lambda row: or_infinite(row["relative"]))
        kept, changed = data["bits kept"], [f"{number(row['changed bits'])} of 8 bits change" for row in (data, worst)]
        sentences.append(
            f"{precision}: test examples come back within {number(data['relative'])} of their largest entry ({kept:.0f} bits kept, {changed[0]}); "
            f"the worst kind of input is {worst['input']}, {number(worst['relative'])} ({changed[1]})."
        )
    if metrics["collisions"]:
        sentences.append(f"g is not injective in floating point: {counted(metrics['collisions'], 'pair')} of distinct inputs share a latent.")
    else:
        pairs = sum(row["pairs"] for row in found.latents)
        stretch = number(metrics["smallest_stretch"])
        sentences.append(f"None of {counted(pairs, 'pair')} of distinct inputs share a latent; the pair that comes closest keeps {stretch} of its distance.")
    for kind, layer in found.layers:
        sentences.append(f"Most harm on {kind} inputs does {layer}.")
    exact = [row for row in found.rows if row["precision"] == "float64" and row["input"] == "data"]
    if exact and max(or_infinite(row["relative"]) for row in exact) > 1e-6:
        sentences.append("What is lost in float64 too is no rounding: an inverse that is approximate, or wrong.")
    if len(checkpoints) > 1:
        course = {step: max(or_infinite(row["searched"]) for row in checkpoints if row["step"] == step) for step in (checkpoints[0]["step"], "saved")}
        first, last = course.values()
        since = f"the first checkpoint that is kept, step {checkpoints[0]['step']:,}"
        sentences.append(f"From {since}, to the saved model the searched round trip went from {number(first)} to {number(last)}.")
    return sentences
