"""What this plugin hands over. Imports no torch."""

from __future__ import annotations

from linearizer_core.hookspecs import hookimpl
from linearizer_core.specs import CommandSpec, DatasetSpec, OperatorSpec, TabSpec, TaskSpec

_PAPER = "Berman, Hallak and Shocher, arXiv 2510.08570, section on modular style transfer"


@hookimpl
def linearizer_tasks() -> list[TaskSpec]:
    return [
        TaskSpec(
            "style",
            target="linearizer_style.task:StyleTask",
            config="linearizer_style.config:StyleConfig",
            summary="modular style transfer: shared content maps, one linear operator for each style, mixed as matrices",
            reference=_PAPER,
        )
    ]


@hookimpl
def linearizer_datasets() -> list[DatasetSpec]:
    return [
        DatasetSpec(
            "style_pairs",
            target="linearizer_style.pairs:StylePairs",
            config="linearizer_style.config:StylePairsConfig",
            summary="pictures and their stylised versions from a folder, as pairs of crops",
        ),
        DatasetSpec(
            "style_teacher",
            target="linearizer_style.teacher_data:StyleTeacher",
            config="linearizer_style.config:StyleTeacherConfig",
            summary="content pictures, stylised by pretrained networks or by optimisation when they are loaded, as pairs of crops",
            reference="Johnson, Alahi and Fei-Fei, arXiv 1603.08155; Gatys, Ecker and Bethge, arXiv 1508.06576",
        ),
    ]


@hookimpl
def linearizer_operators() -> list[OperatorSpec]:
    return [
        OperatorSpec(
            "style_number",
            target="linearizer_style.numbered:StyleNumberCore",
            config="linearizer_style.config:StyleNumberConfig",
            summary="the published core: depthwise 4x4 kernels that a network makes from the number of the style",
            reference=_PAPER,
        )
    ]


@hookimpl
def linearizer_commands() -> list[CommandSpec]:
    return [CommandSpec("style", target="linearizer_style.cli:app", summary="stylise pictures: mix, compose and undo styles of a trained model")]


@hookimpl
def linearizer_tabs() -> list[TabSpec]:
    return [TabSpec("styles", target="linearizer_style.demo:Styles", summary="mix styles over any picture, and take them off again", reference=_PAPER)]
