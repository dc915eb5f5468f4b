"""Singular values and singular vectors of f, shown as pictures, and what its first k triplets rebuild."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from linearizer_core.figures.curves import save_curves
from linearizer_core.figures.images import is_image
from linearizer_core.figures.panels import save_strips
from linearizer_core.linearizer import Linearizer
from linearizer_core.operators.flow import FlowSummary
from linearizer_core.space import InducedSpace
from linearizer_core.study import Row, Study, StudyReport, StudySubject
from linearizer_studies.config import SpectrumConfig
from linearizer_studies.examples import Examples, psnr_db
from linearizer_studies.triplets import Triplets, triplets
from linearizer_studies.words import counted, number

NOTES = {
    "dimensions": "of the latents",
    "rank": "singular values above 1e-6 of the largest",
    "largest_singular_value": "the operator norm of f in its induced spaces",
    "cond": "largest over smallest singular value",
    "distinct_singular_values": "that differ by more than 1e-6 relative, zero left out",
    "psnr_db": "outputs of the whole map against the examples, decibels",
}
_LEADING = 256
_POSITIONS = (-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0)
_SHOWN = 8
_GOAL_DB = 30.0


@final
class Spectrum(Study):
    r""":math:`f(x) = \bigoplus_i s_i \langle v_i, x\rangle_g \odot u_i`: the decomposition of A read through the bijections (arXiv 2510.08570).

    A singular vector is shown as the line :math:`g^{-1}(o + a\, u_i)` around an origin o. f truncated to k triplets is applied to test examples; where f maps
    noise to data, to the noise that its pseudo-inverse finds for them.
    """

    def __init__(self, config: SpectrumConfig) -> None:
        self.config = config

    @torch.no_grad()
    def run(self, subject: StudySubject, folder: Path) -> StudyReport:
        """Decompose, rebuild, and draw."""
        examples = Examples.of(subject, self.config.examples, self.config.condition)
        f, x = examples.f, examples.x
        summary = FlowSummary.of(f.operator, leading=_LEADING)
        found = triplets(f.operator, examples.latents(), of_outputs=examples.from_noise)
        metrics: dict[str, Any] = {
            "dimensions": summary.dim,
            "rank": summary.rank,
            "largest_singular_value": summary.norm,
            "cond": summary.cond,
            "distinct_singular_values": 0 if not len(found.values) else 1 + int((found.values[1:] < found.values[:-1] * (1 - 1e-6)).sum()),
        }
        inputs = examples.inputs()
        whole = f(inputs)
        rows = [self._rebuilt(f, found, rank, inputs, whole, x) for rank in self._ranks(len(found.values))]
        comparable = whole.shape == x.shape
        if comparable:
            metrics["psnr_db"] = psnr_db(whole, x)
        figures = ["singular_values.png"]
        values = [value for value in summary.singular_values if value > 0]
        save_curves(
            folder / figures[0], "Singular values of f", {"f": (range(1, len(values) + 1), values)}, x="number", y="singular value", log_y=_spread(values)
        )
        if len(rows) > 1:
            figures.append("rebuilt.png")
            curves = {name: ([row["k"] for row in rows], [row[name] for row in rows]) for name in rows[0] if name != "k"}
            save_curves(folder / "rebuilt.png", "Outputs rebuilt from the first k triplets", curves, x="k", y="PSNR, dB", log_x=True)
        figures += self._pictures(examples, found, inputs, whole, folder)
        return StudyReport(metrics, tuple(figures), NOTES, tuple(_findings(metrics, rows, found, comparable)), {"Outputs rebuilt from k triplets": rows})

    def _ranks(self, full: int) -> list[int]:
        return [*(rank for rank in self.config.ranks if rank < full), full] if full else []

    def _rebuilt(self, f: Linearizer, found: Triplets, rank: int, inputs: Tensor, whole: Tensor, x: Tensor) -> dict[str, Any]:
        part = Linearizer(f.domain, found.truncated(rank, f.operator.dtype), f.codomain)(inputs)
        against = {"against f, dB": psnr_db(part, whole)}
        return {"k": rank, **against, **({"against examples, dB": psnr_db(part, x)} if whole.shape == x.shape else {})}

    def _pictures(self, examples: Examples, found: Triplets, inputs: Tensor, whole: Tensor, folder: Path) -> list[str]:
        f, figures = examples.f, []
        count = min(self.config.vectors, len(found.values))
        sides = [("right", f.domain, found.right), ("left", f.codomain, found.left)]
        sides = sides[1:] if f.is_endomorphism and torch.equal(found.left, found.right) else sides
        for side, space, vectors in sides:
            if count and is_image(space.shape):
                name = "vectors.png" if len(sides) == 1 else f"vectors_{side}.png"
                rows = [self._line(examples, space, vectors[:, index], f"s = {number(found.values[index].item())}") for index in range(count)]
                title = "Singular vectors" if len(sides) == 1 else f"{side.capitalize()} singular vectors"
                save_strips(
                    folder / name,
                    f"{title} of f, as lines through the mean" if self.config.origin == "mean" else f"{title} of f, as lines through zero",
                    [rows],
                )
                figures.append(name)
        if len(found.values) and is_image(f.codomain.shape):
            shown = examples.rows(torch.arange(min(_SHOWN, len(inputs)), device=inputs.device))
            ranks = self._ranks(len(found.values))
            rebuilt = [
                (f"k = {rank}", Linearizer(shown.f.domain, found.truncated(rank, f.operator.dtype), shown.f.codomain)(inputs[:_SHOWN])) for rank in ranks
            ]
            rows = [("test example", shown.x), *rebuilt] if whole.shape == examples.x.shape else rebuilt
            save_strips(folder / "rebuilt_images.png", "Outputs rebuilt from the first k triplets", [rows])
            figures.append("rebuilt_images.png")
        return figures

    def _line(self, examples: Examples, space: InducedSpace, direction: Tensor, heading: str) -> tuple[str, Tensor]:
        """Points along one direction, under the condition of the first example."""
        latents = space.to_latent(examples.x) if space.shape == tuple(examples.x.shape[1:]) else torch.zeros(2, space.dim).to(examples.x)
        direction = direction.to(latents.dtype)
        deviation = float((latents @ direction).std()) or 1.0
        origin = latents.mean(0) if self.config.origin == "mean" else torch.zeros_like(latents[0])
        places = self.config.strength * deviation * torch.tensor(_POSITIONS, device=latents.device, dtype=latents.dtype)
        one = examples.repeated(0, len(places)).f
        line = one.domain if space is examples.f.domain else one.codomain
        return heading, line.from_latent(origin + places[:, None] * direction)


def _spread(values: Sequence[float]) -> bool:
    return bool(values) and max(values) > 10 * min(values)


def _findings(metrics: dict[str, Any], rows: Sequence[Row], found: Triplets, comparable: bool) -> list[str]:
    rank, dim, distinct = metrics["rank"], metrics["dimensions"], metrics["distinct_singular_values"]
    if not len(found.values):
        return ["f is zero: it maps everything to g^-1(0)." if not rank else "f is a multiple of the identity too large to write out."]
    if distinct == 1:
        alike = f"All {counted(rank, 'singular value')} that are not zero are equal ({number(metrics['largest_singular_value'])})"
        sentences = [f"{alike}: f keeps {rank:,} of {dim:,} dimensions and treats them alike; their order here is that of the energy of test latents."]
    else:
        half = int((found.values >= found.values[0] / 2).sum())
        first, last = (number(found.values[index].item()) for index in (0, -1))
        sentences = [
            f"f has rank {rank:,} of {dim:,} and {counted(distinct, 'distinct singular value')}, from {first} to {last}; "
            f"{half:,} of them are at least half the largest."
        ]
    enough = next((row["k"] for row in rows if row["against f, dB"] >= _GOAL_DB), None)
    if enough is not None and enough < len(found.values):
        sentences.append(f"{counted(enough, 'triplet')} of {len(found.values):,} give the outputs of f at {_GOAL_DB:g} dB or better.")
    elif enough is not None:
        sentences.append(f"It takes all {counted(len(found.values), 'triplet')} to give the outputs of f at {_GOAL_DB:g} dB: no direction is spare.")
    if comparable:
        sentences.append(f"The whole map gives test examples back at {number(metrics['psnr_db'])} dB.")
    return sentences
