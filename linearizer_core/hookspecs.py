"""The hooks that a plugin may implement, and the marker `hookimpl` with which it does. Torch-free.

A plugin is a module named by an entry point of the group ``linearizer``. It implements at least one of the hooks below as a
function decorated with `hookimpl`. Each hook returns a list of specs; nothing is constructed, and no torch is imported, until
somebody asks for a name.
"""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from linearizer_core.specs import BackboneSpec, CommandSpec, DatasetSpec, OperatorSpec, PretrainedSpec, StudySpec, TabSpec, TaskSpec

PROJECT = "linearizer"
"""Name of the pluggy project, and of the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def linearizer_backbones() -> Sequence[BackboneSpec]:  # type: ignore[empty-body]
    r"""Bijections :math:`g: \mathbb{R}^D \to \mathbb{R}^D`, each called as ``Target(in_shape, config, conditions=None)``.

    The target returns a `linearizer_core.bijections.Bijection`; ``in_shape`` excludes the batch dimension, ``conditions`` maps
    the name of a categorical condition to its number of categories.

    Example:
        >>> from linearizer_core.hookspecs import hookimpl
        >>> from linearizer_core.specs import BackboneSpec
        >>> @hookimpl
        ... def linearizer_backbones():
        ...     return [BackboneSpec("mine", target="my_plugin.net:Net", config="my_plugin.config:NetConfig", summary="My bijection")]
        >>> [spec.name for spec in linearizer_backbones()]
        ['mine']
    """


@hookspec
def linearizer_operators() -> Sequence[OperatorSpec]:  # type: ignore[empty-body]
    r"""Learnable cores :math:`A: \mathbb{R}^n \to \mathbb{R}^m`, each called as ``Target(shape, config, conditions=None)``.

    The target returns a `linearizer_core.cores.CoreOperator`; ``shape`` is ``(m, n)``.

    Example:
        >>> from linearizer_core.hookspecs import hookimpl
        >>> from linearizer_core.specs import OperatorSpec
        >>> @hookimpl
        ... def linearizer_operators():
        ...     return [OperatorSpec("toeplitz", target="my_plugin.cores:Core", config="my_plugin.config:CoreConfig", summary="Toeplitz")]
        >>> linearizer_operators()[0].kind
        'operator'
    """


@hookspec
def linearizer_tasks() -> Sequence[TaskSpec]:  # type: ignore[empty-body]
    r"""What people train: losses for :math:`f = g_y^{-1} \circ A \circ g_x`, samples and evaluation, called as ``Target(config)``.

    The target returns a `linearizer_core.task.Task`.

    Example:
        >>> from linearizer_core.hookspecs import hookimpl
        >>> from linearizer_core.specs import TaskSpec
        >>> @hookimpl
        ... def linearizer_tasks():
        ...     return [TaskSpec("denoise", target="my_plugin.task:Task", config="my_plugin.config:TaskConfig", summary="Removes noise")]
        >>> linearizer_tasks()[0].kind
        'task'
    """


@hookspec
def linearizer_datasets() -> Sequence[DatasetSpec]:  # type: ignore[empty-body]
    r"""Sources of examples :math:`x_i`, with labels where there are any, in three splits, called as ``Target(config)``.

    The target returns a `linearizer_core.data.DataSource`.

    Example:
        >>> from linearizer_core.hookspecs import hookimpl
        >>> from linearizer_core.specs import DatasetSpec
        >>> @hookimpl
        ... def linearizer_datasets():
        ...     return [DatasetSpec("moons", target="my_plugin.data:Moons", config="my_plugin.config:DataConfig", summary="Half circles")]
        >>> linearizer_datasets()[0].kind
        'dataset'
    """


@hookspec
def linearizer_studies() -> Sequence[StudySpec]:  # type: ignore[empty-body]
    r"""Questions put to a trained :math:`f = g_y^{-1} \circ A \circ g_x`: figures, metrics and a written report, called as ``Target(config)``.

    The target returns a `linearizer_core.study.Study`.

    Example:
        >>> from linearizer_core.hookspecs import hookimpl
        >>> from linearizer_core.specs import StudySpec
        >>> @hookimpl
        ... def linearizer_studies():
        ...     return [StudySpec("symmetry", target="my_plugin.study:Symmetry", config="my_plugin.config:StudyConfig", summary="Is A symmetric?")]
        >>> linearizer_studies()[0].kind
        'study'
    """


@hookspec
def linearizer_commands() -> Sequence[CommandSpec]:  # type: ignore[empty-body]
    r"""Commands ``linearizer NAME ...`` that apply a trained :math:`f`, or whatever else a plugin offers at the terminal.

    The target is a `typer.Typer` application; it is imported when the command runs, not when help is shown.

    Example:
        >>> from linearizer_core.hookspecs import hookimpl
        >>> from linearizer_core.specs import CommandSpec
        >>> @hookimpl
        ... def linearizer_commands():
        ...     return [CommandSpec("moons", target="my_plugin.cli:app", summary="Half circles, bent and straightened")]
        >>> linearizer_commands()[0].kind
        'command'
    """


@hookspec
def linearizer_tabs() -> Sequence[TabSpec]:  # type: ignore[empty-body]
    r"""Things to try with a trained :math:`f = g_y^{-1} \circ A \circ g_x`, each a tab of the demo, called as ``Target()``.

    The target returns a `linearizer_core.demo.Tab`: it declares what can be set and what is shown, and knows no user interface.

    Example:
        >>> from linearizer_core.hookspecs import hookimpl
        >>> from linearizer_core.specs import TabSpec
        >>> @hookimpl
        ... def linearizer_tabs():
        ...     return [TabSpec("orbits", target="my_plugin.demo:Orbits", summary="Turn a planet by hand")]
        >>> linearizer_tabs()[0].kind
        'tab'
    """


@hookspec
def linearizer_pretrained() -> Sequence[PretrainedSpec]:  # type: ignore[empty-body]
    r"""Trained models :math:`f` that ship with the package, as folders in the artifact layout.

    Example:
        >>> from linearizer_core.hookspecs import hookimpl
        >>> from linearizer_core.specs import PretrainedSpec
        >>> @hookimpl
        ... def linearizer_pretrained():
        ...     return [PretrainedSpec("flow.moons", location="my_plugin:models/flow.moons", summary="One-step half circles")]
        >>> linearizer_pretrained()[0].kind
        'pretrained'
    """
