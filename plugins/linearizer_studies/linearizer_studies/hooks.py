"""What this plugin hands over. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from linearizer_core.hookspecs import hookimpl
from linearizer_core.specs import CommandSpec, StudySpec, TabSpec

_STUDIES = {
    "interpolation": (
        "Interpolation",
        "straight lines in the induced space against lines in pixels",
        "Lines between test examples of different classes: how evenly they move, how close their middles are to data, how sure a classifier is on the way. "
        "Needs nothing; Frechet distances and confidence need labelled images.",
    ),
    "invertibility": (
        "Invertibility",
        "round trips under stress: inputs, precisions, checkpoints, information loss, collisions",
        "Goes there and back with data, noise, extremes and inputs found by a search for the worst round trip, in several precisions, and for each "
        "checkpoint of the run. Needs nothing.",
    ),
    "integration": (
        "Integration",
        "collapse against loop and exact flow, over T, solver and rule for the end; orders of convergence",
        "Where does one step stop being enough? Needs a core that depends on time.",
    ),
    "rank": (
        "Rank",
        "quality, cost and condition number over the rank of the operator",
        "Cuts the operator of a trained model to each rank, or trains a model for each (`mode=retrain`, which needs a run).",
    ),
    "nullspace": (
        "Nullspace",
        "what the map does not see, what it cannot make, and what it can represent at all",
        "Rank, null directions as pictures, fixed points, and what follows from the topology of linear subspaces. Needs nothing.",
    ),
    "spectrum": (
        "Spectrum",
        "singular values, singular vectors as pictures, outputs rebuilt from the first k",
        "The singular value decomposition of the map in its induced spaces. Needs nothing.",
    ),
}


@hookimpl
def linearizer_studies() -> Sequence[StudySpec]:
    return [
        StudySpec(
            name,
            target=f"linearizer_studies.{name}:{target}",
            config=f"linearizer_studies.config:{target}Config",
            summary=summary,
            reference="arXiv 2510.08570",
            details=details,
        )
        for name, (target, summary, details) in _STUDIES.items()
    ]


@hookimpl
def linearizer_commands() -> Sequence[CommandSpec]:
    return [
        CommandSpec("doctor", target="linearizer_studies.cli:app", summary="Check a trained model for signatures of failure.", reference="arXiv 2510.08570")
    ]


@hookimpl
def linearizer_tabs() -> Sequence[TabSpec]:
    return [
        TabSpec("walk", target="linearizer_studies.demo.walk:Walk", summary="lines and sums of two pictures, in the induced space and in pixels"),
        TabSpec(
            "inside",
            target="linearizer_studies.demo.inside:Inside",
            summary="singular values and vectors of the operator, and pictures rebuilt from the first k",
        ),
    ]
