"""What this plugin hands over. Imports no torch."""

from __future__ import annotations

from linearizer_core.hookspecs import hookimpl
from linearizer_core.specs import CommandSpec, TabSpec, TaskSpec


@hookimpl
def linearizer_tasks() -> list[TaskSpec]:
    return [
        TaskSpec(
            name="ign",
            target="linearizer_ign.task:IdempotentTask",
            config="linearizer_ign.config:IdempotentConfig",
            summary="idempotent network: f(f(x)) = f(x) by construction, with a prior on what the projector keeps, so that it generates",
            reference="Berman, Hallak and Shocher, arXiv 2510.08570, section on idempotent networks",
            details="A network that projects: `f = g^-1 A g` with `A A = A`, so applying it twice changes nothing. It is trained to leave data as they are, "
            "and to bring damaged data back. A prior, fitted on what A keeps, makes it generate; every sample is a fixed point of f.\n\n"
            "Idempotence holds on any input, as far as floating point allows: to the bit with the backbone `lattice`, else up to the rounding of g and of its "
            "inverse. The report gives the figure for data, noise and foreign inputs.",
        )
    ]


@hookimpl
def linearizer_commands() -> list[CommandSpec]:
    return [CommandSpec("ign", target="linearizer_ign.cli:app", summary="project pictures with a trained idempotent network")]


@hookimpl
def linearizer_tabs() -> list[TabSpec]:
    return [TabSpec("project", target="linearizer_ign.demo:Project", summary="draw or damage a picture, and project it once and twice")]
