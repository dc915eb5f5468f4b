"""What this plugin hands over. Imports no torch."""

from __future__ import annotations

from linearizer_core.hookspecs import hookimpl
from linearizer_core.specs import TabSpec, TaskSpec


@hookimpl
def linearizer_tasks() -> list[TaskSpec]:
    return [
        TaskSpec(
            name="flow",
            target="linearizer_flow.task:FlowTask",
            config="linearizer_flow.config:FlowConfig",
            summary="one-step generation: a flow-matching model whose solver steps collapse into one linear operator",
            reference="Berman, Hallak and Shocher, arXiv 2510.08570, section on one-step flow matching",
        )
    ]


@hookimpl
def linearizer_tabs() -> list[TabSpec]:
    return [TabSpec("one_step", target="linearizer_flow.demo:OneStep", summary="the same noise in one step and in many, side by side")]
