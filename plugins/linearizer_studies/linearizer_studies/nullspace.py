"""What f does not see, what it cannot make, and what follows for what it can represent."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from linearizer_core.figures.images import is_image
from linearizer_core.figures.panels import save_strips
from linearizer_core.metrics import max_abs_error, relative_error
from linearizer_core.operators import LinearOperator, ScaledIdentity
from linearizer_core.space import InducedSpace
from linearizer_core.study import Study, StudyReport, StudySubject
from linearizer_studies.config import NullspaceConfig
from linearizer_studies.examples import Examples
from linearizer_studies.words import counted, number

NOTES = {
    "rank": "dimensions of the range of f",
    "nullity": "dimensions that f does not see",
    "deficiency": "dimensions that no output of f reaches",
    "idempotency": "relative difference of A A z and A z, latents of test examples; only where gx is gy",
    "fixed_dimensions": "dimensions of the fixed points, those of f(x) = x; only where gx is gy",
    "moved_inputs": "largest change of an input that was moved along null directions",
    "moved_outputs": "largest change of the output of f that came of it",
    "unseen_share": "share of the variance of test latents that lies in the null space",
    "unreachable_share": "share of the variance of test latents that no output of f reaches",
    "largest_drift_between_fixed_points": "largest |f(p) - p| on lines between fixed points, in the induced space",
}
_IDEMPOTENT = 1e-3
_POSITIONS = (-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0)
_PAIRS = 32


@final
class Nullspace(Study):
    r"""The null space :math:`g_x^{-1}(\ker A)`, the range :math:`g_y^{-1}(\operatorname{im} A)` and the fixed points :math:`g^{-1}(\ker(A - I))`.

    All three are images of linear subspaces under a homeomorphism: one point, or connected and without end. That is a fact about every map of this kind, and
    the study says what it rules out for this one. The numbers show how well floating point keeps it.
    """

    def __init__(self, config: NullspaceConfig) -> None:
        self.config = config

    @torch.no_grad()
    def run(self, subject: StudySubject, folder: Path) -> StudyReport:
        """Measure, move inputs along null directions, and draw them with what f makes of them."""
        examples = Examples.of(subject, self.config.examples, self.config.condition)
        f, operator = examples.f, examples.f.operator
        rank = operator.rank(self.config.rtol)
        inputs = examples.inputs()
        latents = f.domain.to_latent(inputs)
        metrics: dict[str, Any] = {"rank": rank, "nullity": operator.shape[1] - rank, "deficiency": operator.shape[0] - rank}
        unseen = _Subspace(f.domain, _complement(operator, self.config.rtol), _spread(latents) if examples.from_noise else latents)
        outputs = examples.x if tuple(examples.x.shape[1:]) == f.codomain.shape else f(inputs)
        unreachable = _Subspace(f.codomain, _complement(operator.T, self.config.rtol), f.codomain.to_latent(outputs))
        if metrics["nullity"] and not examples.from_noise:
            metrics["unseen_share"] = unseen.share
        if metrics["deficiency"]:
            metrics["unreachable_share"] = unreachable.share
        figures: list[str] = []
        rows: list[dict[str, Any]] = []
        if metrics["nullity"]:
            rows, figures = self._move(examples, unseen, inputs, folder)
            metrics["moved_inputs"] = max(row["input moved by"] for row in rows)
            metrics["moved_outputs"] = max(row["output changed by"] for row in rows)
        symmetric = f.is_endomorphism and relative_error(operator.T(latents), operator(latents)) < 1e-6
        if metrics["deficiency"] and not symmetric and is_image(f.codomain.shape):
            figures.append("unreachable.png")
            strips = [
                (f"direction {index + 1}", _along(examples, unreachable, outputs, index, self.config.strength)) for index in range(self._shown(unreachable))
            ]
            save_strips(folder / figures[-1], "Moved along directions that no output of f has", [strips])
        if f.is_endomorphism:
            metrics["idempotency"] = relative_error(operator(operator(latents)), operator(latents))
            metrics["fixed_dimensions"] = _fixed_dimensions(operator, metrics["idempotency"], rank, self.config.rtol)
            if metrics["idempotency"] <= _IDEMPOTENT:
                metrics["largest_drift_between_fixed_points"] = _drift(examples)
        tables = {"Null directions": rows, "What f can and cannot represent": _topology(metrics, endomorphism=f.is_endomorphism)}
        return StudyReport(metrics, tuple(figures), NOTES, tuple(_findings(metrics, examples)), tables)

    def _shown(self, space: _Subspace) -> int:
        return min(self.config.directions, len(space.deviations))

    def _move(self, examples: Examples, space: _Subspace, inputs: Tensor, folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
        """Move the first input along null directions; the change of inputs and outputs, and pictures of both."""
        rows: list[dict[str, Any]] = []
        groups: list[list[tuple[str, Tensor]]] = []
        f = examples.repeated(0, len(_POSITIONS)).f
        for index in range(self._shown(space)):
            moved = _along(examples, space, inputs, index, self.config.strength)
            mapped = f(moved)
            still = mapped[len(_POSITIONS) // 2].expand_as(mapped)
            start = moved[len(_POSITIONS) // 2].expand_as(moved)
            rows.append(
                {
                    "direction": index + 1,
                    "share of unseen variance": space.shares[index].item(),
                    "input moved by": max_abs_error(moved, start),
                    "output changed by": max_abs_error(mapped, still),
                    "output changed, relative": relative_error(mapped, still),
                }
            )
            groups.append([(heading, each) for heading, each in ((f"null {index + 1}", moved), ("f", mapped)) if is_image(tuple(each.shape[1:]))])
        if not groups[0]:
            return rows, []
        save_strips(folder / "null_directions.png", "Inputs moved along null directions, and what f makes of them", groups)
        return rows, ["null_directions.png"]


def _spread(latents: Tensor) -> Tensor:
    """Standard normal noise like ``latents``: what a flow begins with has a part in every direction, what its pseudo-inverse finds has not."""
    return torch.randn(latents.shape, generator=torch.Generator(latents.device).manual_seed(0), device=latents.device).to(latents)


@final
class _Subspace:
    """A linear subspace of the latents, with its principal directions for given latents."""

    def __init__(self, space: InducedSpace, projector: LinearOperator, latents: Tensor) -> None:
        self.space = space
        inside = projector(latents).double()
        centred = inside - inside.mean(0)
        total = (latents.double() - latents.double().mean(0)).square().sum()
        self.share = float(centred.square().sum() / total)
        _, values, directions = torch.linalg.svd(centred, full_matrices=False)
        kept = values > 1e-6 * values[:1] if len(values) and float(values[0]) > 1e-9 * float(total.sqrt()) else values < 0
        self.directions = directions[kept].mT
        self.deviations = values[kept] / max(1, len(latents) - 1) ** 0.5
        self.shares = values[kept].square() / values[kept].square().sum()
        if not self.directions.shape[1]:
            # Test latents have no part in it; any direction in it will do.
            drawn = projector(_spread(latents[:4])).double()
            basis = torch.linalg.qr(drawn.mT)[0]
            self.directions, self.deviations, self.shares = basis, basis.new_ones(basis.shape[1]), basis.new_zeros(basis.shape[1])


def _complement(operator: LinearOperator, rtol: float) -> LinearOperator:
    """The orthogonal projector onto the null space of ``operator``."""
    one = ScaledIdentity(1.0, operator.shape[1], dtype=operator.dtype, device=operator.device)
    return one - operator.pinv(rtol) @ operator


def _along(examples: Examples, space: _Subspace, points: Tensor, index: int, strength: float) -> Tensor:
    """The first point moved along one direction, under its own condition."""
    one = examples.repeated(0, len(_POSITIONS)).f
    line = one.domain if space.space is examples.f.domain else one.codomain
    origin = line.to_latent(points[:1].expand(len(_POSITIONS), *points.shape[1:]))
    step = strength * space.deviations[index] * space.directions[:, index]
    places = torch.tensor(_POSITIONS, dtype=step.dtype, device=step.device)
    return line.from_latent(origin + (places[:, None] * step).to(origin.dtype))


def _fixed_dimensions(operator: LinearOperator, idempotency: float, rank: int, rtol: float) -> int:
    if idempotency <= _IDEMPOTENT:
        return rank  # the fixed points of a projector are its range
    one = ScaledIdentity(1.0, operator.shape[0], dtype=operator.dtype, device=operator.device)
    gap = operator - one
    return operator.shape[0] - gap.rank(rtol) if gap.norm() > rtol else operator.shape[0]


def _drift(examples: Examples) -> float:
    """The largest |f(p) - p| half-way between outputs of f, which a projector does not move."""
    count = min(_PAIRS, len(examples.x) // 2)
    index = torch.arange(count, device=examples.x.device)
    first, second = examples.rows(index), examples.rows(index + count)
    middle = first.f.domain.lerp(first.f(first.x), second.f(second.x), 0.5)
    return max_abs_error(first.f(middle), middle)


def _topology(metrics: dict[str, Any], *, endomorphism: bool) -> list[dict[str, str]]:
    """What follows from the dimensions of the subspaces, whatever g is."""
    nullity, rank, deficiency = metrics["nullity"], metrics["rank"], metrics["deficiency"]
    rows = [
        {
            "set": "the zeros of f, f(x) = g_y^-1(0)",
            "for this f": "one point, g_x^-1(0)" if not nullity else f"a connected set like R^{nullity}, without end",
            "not representable": "two or more isolated zeros" if not nullity else "isolated zeros, two components, a closed surface of zeros",
        },
        {
            "set": "the inputs with one given output",
            "for this f": "one point: f is injective" if not nullity else f"nothing, or a connected set like R^{nullity}",
            "not representable": "two inputs with one output" if not nullity else "outputs with finitely many inputs",
        },
        {
            "set": "the outputs of f",
            "for this f": "everything" if not deficiency else f"a connected set like R^{rank} in R^{rank + deficiency}, without holes",
            "not representable": "an output that is not reached" if not deficiency else "one separate piece for each class, a circle or a sphere of outputs",
        },
    ]
    if endomorphism:
        fixed = metrics["fixed_dimensions"]
        rows.append(
            {
                "set": "the fixed points, f(x) = x",
                "for this f": "one point, g^-1(0)" if not fixed else f"a connected set like R^{fixed}, straight lines of the induced space between any two",
                "not representable": "a second fixed point"
                if not fixed
                else "isolated fixed points, such as one prototype for each class; a limit cycle that attracts",
            }
        )
    return rows


def _findings(metrics: dict[str, Any], examples: Examples) -> list[str]:
    rank, nullity, deficiency = metrics["rank"], metrics["nullity"], metrics["deficiency"]
    sentences = []
    if nullity:
        sentences.append(
            f"f has rank {rank:,} and does not see {counted(nullity, 'dimension')}: every output has a family of inputs like R^{nullity}, or none."
        )
        sentences.append(
            f"Inputs moved by up to {number(metrics['moved_inputs'])} along null directions change the output by at most {number(metrics['moved_outputs'])}"
            + (
                ": the null space holds in floating point."
                if metrics["moved_outputs"] <= 1e-2 * metrics["moved_inputs"]
                else ": in floating point f sees them."
            )
        )
        if not examples.from_noise:
            sentences.append(f"{metrics['unseen_share']:.1%} of the variance of test latents lies in the null space: that is what f drops of data.")
    else:
        sentences.append(f"f has full rank {rank:,} on its inputs: it is injective, and g_x^-1(0) is its only zero.")
    if deficiency:
        sentences.append(
            f"{metrics['unreachable_share']:.1%} of the variance of test latents lies in {counted(deficiency, 'dimension')} that no output of f reaches."
        )
    if "fixed_dimensions" in metrics:
        fixed = metrics["fixed_dimensions"]
        sentences.append(
            f"Its fixed points are a set like R^{fixed}; isolated ones, such as one prototype for each class, it cannot have."
            if fixed
            else "g^-1(0) is its only fixed point."
        )
    if "largest_drift_between_fixed_points" in metrics:
        drift = number(metrics["largest_drift_between_fixed_points"])
        sentences.append(f"Half-way between two outputs f moves a point by at most {drift}: a projector does not move it at all.")
    return sentences
