"""Straight lines in the induced space against straight lines in pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from linearizer_core.data import stack
from linearizer_core.features.classifier import ClassifierFeatures
from linearizer_core.figures.curves import save_curves
from linearizer_core.figures.images import is_image
from linearizer_core.figures.panels import save_strips
from linearizer_core.metrics import frechet_distance
from linearizer_core.study import Row, Study, StudyReport, StudySubject
from linearizer_studies.config import InterpolationConfig
from linearizer_studies.examples import Examples
from linearizer_studies.words import counted, number

NOTES = {
    "pairs": "of test examples, of different classes where there are classes",
    "features": "the extractor of feature space",
    "frechet_floor": "as many training examples against test examples",
    "largest_end_error": "largest difference between the ends of induced lines and the examples",
}
_SEED = 0
_CHUNK = 500
PIXELS, INDUCED, KEPT = "pixels", "induced", "induced, what f keeps"
"""The lines that are compared: between the examples in pixels and in the induced space, and in the induced space between what f makes of the examples."""


@final
class Interpolation(Study):
    r"""Does :math:`g^{-1}((1-w) g(u) + w g(v))` look like data on the way, where the pixel line :math:`(1-w) u + w v` does not?

    Smoothness of the points :math:`p_0, \dots, p_n` of a line, in pixels and in features of a classifier: *detour*, :math:`\sum |p_{i+1} - p_i| / |p_n - p_0|`,
    1 for a straight line; *bend*, :math:`\sum |p_{i+1} - 2 p_i + p_{i-1}| / \sum |p_{i+1} - p_i|`, 0 for an even walk, 2 for going back and forth. Lines
    between examples run in the space that the task says all examples share.
    """

    def __init__(self, config: InterpolationConfig) -> None:
        self.config = config

    @torch.no_grad()
    def run(self, subject: StudySubject, folder: Path) -> StudyReport:
        """Compare the lines, and draw some.

        Raises:
            ConfigError: where examples share no space.
        """
        splits, pretrained = subject.splits, subject.pretrained
        examples = Examples.of(subject, 2 * self.config.pairs, self.config.condition)
        first, second = _pairs(examples.label, len(examples.x), self.config.pairs)
        space = pretrained.task.data_space(pretrained.model)
        kept = _mapped(examples)
        ends = {INDUCED: examples.x, **({KEPT: kept} if kept is not None else {})}
        weights = torch.linspace(0, 1, self.config.points)

        def pixel_line(w: float) -> Tensor:
            return torch.lerp(examples.x[first], examples.x[second], w)

        def induced_line(points: Tensor) -> Callable[[float], Tensor]:
            return lambda w: torch.cat(
                [space.lerp(points[a], points[b], w) for a, b in zip(torch.split(first, _CHUNK), torch.split(second, _CHUNK), strict=True)]
            )

        lines = {PIXELS: pixel_line, **{name: induced_line(points) for name, points in ends.items()}}
        paths = {name: torch.stack([line(float(w)) for w in weights]).cpu() for name, line in lines.items()}  # (points, pairs, *shape)
        judge = ClassifierFeatures(splits) if splits.info.classes and is_image(splits.info.shape) else None
        metrics: dict[str, Any] = {"pairs": len(first), "largest_end_error": _end_error(paths[INDUCED], examples.x, first, second)}
        reference = None
        if judge is not None:
            reference = judge(stack(splits.test)["x"])
            metrics |= {"features": judge.name, "frechet_floor": frechet_distance(judge(stack(splits.train, len(first))["x"]), reference)}
        rows = [_row(name, path, judge, reference) for name, path in paths.items()]
        figures = self._draw(paths, weights, judge, folder)
        labelled = examples.label is not None
        return StudyReport(metrics, figures, NOTES, tuple(_findings(rows, metrics, judge is not None, labelled)), {"Lines": rows})

    def _draw(self, paths: dict[str, Tensor], weights: Tensor, judge: ClassifierFeatures | None, folder: Path) -> tuple[str, ...]:
        figures = []
        count = min(self.config.shown, next(iter(paths.values())).shape[1])
        if is_image(tuple(next(iter(paths.values())).shape[2:])):
            step = max(1, (len(weights) - 1) // 8)
            save_strips(
                folder / "lines.png",
                "Straight lines between two test examples",
                [[(name, path[::step, pair]) for name, path in paths.items()] for pair in range(count)],
            )
            figures.append("lines.png")
        if judge is not None:
            curves = {name: (weights.tolist(), [_confidence(judge, points) for points in path]) for name, path in paths.items()}
            save_curves(folder / "confidence.png", "How sure a classifier is on the way", curves, x="w", y="mean largest probability")
            figures.append("confidence.png")
        return tuple(figures)


def _pairs(label: Tensor | None, available: int, wanted: int) -> tuple[Tensor, Tensor]:
    """Two index tensors of up to ``wanted`` pairs, of different classes where there are labels: each example with a random other one."""
    generator = torch.Generator().manual_seed(_SEED)
    first, second = (torch.cat([torch.randperm(available, generator=generator) for _ in range(1 + 2 * wanted // available)]) for _ in range(2))
    apart = first != second if label is None else label.cpu()[first] != label.cpu()[second]
    device = None if label is None else label.device
    return first[apart][:wanted].to(device), second[apart][:wanted].to(device)


def _mapped(examples: Examples) -> Tensor | None:
    """What f makes of the examples; None where that is no example of the same shape."""
    parts = [examples.rows(rows) for rows in torch.split(torch.arange(len(examples.x), device=examples.x.device), _CHUNK)]
    mapped = torch.cat([part.f(part.inputs()) for part in parts])
    return mapped if mapped.shape == examples.x.shape else None


def _row(name: str, path: Tensor, judge: ClassifierFeatures | None, reference: Tensor | None) -> dict[str, Any]:
    middle = path[len(path) // 2]
    row: dict[str, Any] = {"line": name, "detour, pixels": detour(path.flatten(2)), "bend, pixels": bend(path.flatten(2))}
    if judge is None or reference is None:
        return row
    features = torch.stack([judge(points) for points in path])
    sure = [_confidence(judge, points) for points in path]
    return row | {
        "detour, features": detour(features),
        "bend, features": bend(features),
        "Frechet distance of middles": frechet_distance(judge(middle), reference),
        "least confidence": min(sure),
        "confidence at the middle": sure[len(sure) // 2],
    }


def detour(path: Tensor) -> float:
    """Length over distance of the ends, ``(points, lines, features)``, mean over lines whose ends differ.

    Example:
        >>> round(detour(torch.tensor([[[0.0, 0.0]], [[3.0, 4.0]], [[6.0, 0.0]]])), 6)  # 10 to get 6 far
        1.666667
    """
    length = (path[1:] - path[:-1]).norm(dim=-1).sum(0)
    distance = (path[-1] - path[0]).norm(dim=-1)
    return float((length / distance)[distance > 0].mean())


def bend(path: Tensor) -> float:
    """Second differences over first ones, ``(points, lines, features)``, mean over lines.

    Example:
        >>> bend(torch.tensor([[[0.0]], [[1.0]], [[2.0]]])), bend(torch.tensor([[[0.0]], [[1.0]], [[0.0]]]))
        (0.0, 1.0)
    """
    steps = path[1:] - path[:-1]
    turns = (steps[1:] - steps[:-1]).norm(dim=-1).sum(0)
    length = steps.norm(dim=-1).sum(0)
    return float((turns / length)[length > 0].mean())


def _confidence(judge: ClassifierFeatures, images: Tensor) -> float:
    return float(judge.probabilities(images).amax(1).mean())


def _end_error(path: Tensor, x: Tensor, first: Tensor, second: Tensor) -> float:
    return float(max((path[0] - x[first].cpu()).abs().max(), (path[-1] - x[second].cpu()).abs().max()))


def _findings(rows: Sequence[Row], metrics: dict[str, Any], judged: bool, labelled: bool) -> list[str]:
    by_line = {row["line"]: row for row in rows}
    pixels, induced = by_line[PIXELS], by_line[INDUCED]
    sentences = [
        f"In pixels an induced line is {number(induced['detour, pixels'])} times as long as the straight one, {counted(metrics['pairs'], 'pair')}; "
        f"its ends come back within {number(metrics['largest_end_error'])}."
    ]
    if not judged:
        missing = "labels" if not labelled else "images"
        return [*sentences, f"Frechet distances and confidence are left out: they need labelled images, and the data have no {missing}."]
    distances = ", ".join(f"{number(row['Frechet distance of middles'])} ({name})" for name, row in by_line.items())
    sentences.append(f"Frechet distance of the middles to test examples: {distances}; as many training examples: {number(metrics['frechet_floor'])}.")
    floor, straight, bent = metrics["frechet_floor"], pixels["Frechet distance of middles"], induced["Frechet distance of middles"]
    closed = (straight - bent) / (straight - floor) if straight > floor else 0.0
    sentences.append(
        f"Of the way from pixel middles to data, induced middles go {closed:.0%}."
        if closed > 0
        else "The middles of induced lines look no more like data than those of pixel lines."
    )
    sure = ", ".join(f"{row['confidence at the middle']:.1%} ({name})" for name, row in by_line.items())
    sentences.append(f"At the middle a classifier is sure of some class with {sure}.")
    smoother = "smoother" if induced["bend, features"] < pixels["bend, features"] else "no smoother"
    sentences.append(
        f"In features induced lines are {smoother} than pixel lines: bend {number(induced['bend, features'])} against {number(pixels['bend, features'])}, "
        f"detour {number(induced['detour, features'])} against {number(pixels['detour, features'])}."
    )
    return sentences
