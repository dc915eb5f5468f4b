"""The laws of a task: it builds, trains, samples, measures, and what it saves is what it loads."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from linearizer_core.condition import Condition
from linearizer_core.config import Component, ModelConfig, StageConfig
from linearizer_core.errors import CheckFailure, ConfigError, NoSamplesError
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import LinearOperator
from linearizer_core.pretrained import Pretrained
from linearizer_core.pretrained.artifact import ArtifactConfig
from linearizer_core.pretrained.weights import load_weights, save_weights
from linearizer_core.task import Report, Task
from linearizer_core.testing.bench import bench, generator
from linearizer_core.testing.check import Check, Context, SkipCheck
from linearizer_core.testing.numerics import require_close, require_same_bits
from linearizer_core.testing.subjects import TaskSubject
from linearizer_core.training.stage_step import select_parameters

_SAMPLES = 6
_AGREES = 1e-3


def build(subject: TaskSubject, context: Context) -> str:
    setup = bench(subject)
    (_, first), (_, second), (_, other) = setup.build(), setup.build(), setup.build(seed=1)
    if not isinstance(first, LinearizerModel):
        raise CheckFailure(f"build gives a {type(first).__name__}, expected a linearizer_core.model.LinearizerModel")
    state, again = first.state_dict(), second.state_dict()
    if state.keys() != other.state_dict().keys():
        raise CheckFailure("two models of one configuration have other tensors; what is built must not depend on chance")
    for name, tensor in state.items():
        require_same_bits(again[name], tensor, f"two models built from one seed differ in {name!r}", "draw weights from torch's own generator")
    return f"backbone {setup.backbone.name}, core {setup.core.name}, {sum(parameter.numel() for parameter in first.parameters())} parameters"


def stages(subject: TaskSubject, context: Context) -> str:
    task, model = bench(subject).build()
    found = list(task.stages())
    names = [stage.name for stage in found]
    if not found or len(set(names)) != len(names):
        raise CheckFailure(f"stages() gives {names}, expected at least one, under different names")
    for stage in found:
        if not isinstance(stage.config, StageConfig):
            raise CheckFailure(f"stage {stage.name!r} has a config of type {type(stage.config).__name__}, expected a StageConfig")
        select_parameters(stage, model)
    return ", ".join(names)


def stage_data(subject: TaskSubject, context: Context) -> None:
    setup = bench(subject)
    task, model = setup.prepared()
    for stage in task.stages():
        first, second = setup.batch(stage, model), setup.batch(stage, model)
        for name, tensor in first.items():
            claim = f"stage {stage.name!r}: dataset() gives another {name} when it is asked again"
            require_same_bits(second[name], tensor, claim, "resuming a run computes it anew: draw nothing at random in it")


def loss(subject: TaskSubject, context: Context) -> str:
    setup = bench(subject)
    task, model = setup.prepared()
    found = {}
    for stage in task.stages():
        trained = select_parameters(stage, model)
        values = stage.loss(model, setup.batch(stage, model), generator())
        if strange := [name for name, value in values.items() if not isinstance(value, Tensor) or value.ndim or not bool(value.isfinite())]:
            raise CheckFailure(f"stage {stage.name!r}: {strange[0]} is {values[strange[0]]!r}, expected a finite tensor without dimensions")
        if "loss" not in values or not values["loss"].requires_grad:
            raise CheckFailure(f"stage {stage.name!r}: the loss gives {sorted(values)}, expected a differentiable 'loss' among them")
        gradients = torch.autograd.grad(values["loss"], list(trained.values()), allow_unused=True)
        for name, gradient in zip(trained, gradients, strict=True):
            if gradient is None or not bool(gradient.isfinite().all()):
                kind = "no" if gradient is None else "an infinite"
                raise CheckFailure(
                    f"stage {stage.name!r}: {kind} gradient reaches {name!r}, one of the {len(trained)} parameters it declares; leave it out of parameters()"
                )
        found[stage.name] = float(values["loss"].detach())
    return ", ".join(f"{name} {value:.3g}" for name, value in found.items())


def loss_deterministic(subject: TaskSubject, context: Context) -> None:
    setup = bench(subject)
    task, model = setup.prepared()
    for stage in task.stages():
        select_parameters(stage, model)
        batch = setup.batch(stage, model)
        first = stage.loss(model, batch, generator())
        torch.manual_seed(1)
        second = stage.loss(model, batch, generator())
        for name, value in first.items():
            claim = f"stage {stage.name!r}: {name} differs between two calls with one generator"
            require_same_bits(second[name].detach(), value.detach(), claim, "draw from the generator that is given: exact resume depends on it")


@torch.no_grad()
def sample(subject: TaskSubject, context: Context) -> str:
    setup = bench(subject)
    task, model = setup.prepared()
    model.eval()
    try:
        first = task.sample(model, _SAMPLES, generator())
    except NoSamplesError as error:
        raise SkipCheck(str(error)) from error
    expected = (_SAMPLES, *setup.splits.info.shape)
    if first.shape != expected or not bool(first.isfinite().all()):
        raise CheckFailure(
            f"sample gives {'finite' if first.isfinite().all() else 'infinite'} numbers of shape {tuple(first.shape)}, expected finite {expected}"
        )
    torch.manual_seed(1)
    require_same_bits(task.sample(model, _SAMPLES, generator()), first, "two calls with one generator differ", "draw from the generator that is given")
    if torch.equal(task.sample(model, _SAMPLES, generator(1)), first):
        raise CheckFailure("samples are the same for another seed; draw from the generator that is given")
    try:
        task.sample(model, 1, generator(), {"no_such_option": 1})
    except ConfigError:
        return f"from {float(first.min()):.2g} to {float(first.max()):.2g}"
    raise CheckFailure("sample accepts an option 'no_such_option'; raise ConfigError for options that the task does not know")


@torch.no_grad()
def collapsed(subject: TaskSubject, context: Context) -> str:
    setup = bench(subject)
    task, model = setup.prepared()
    model.eval()
    operator = task.collapsed(model)
    if operator is None:
        raise SkipCheck("collapsed gives None")
    if not isinstance(operator, LinearOperator) or operator.shape != model.core.shape:
        raise CheckFailure(f"collapsed gives {operator!r}, expected a LinearOperator of shape {model.core.shape}")
    again = task.collapsed(model)
    assert again is not None
    require_same_bits(again.to_dense(), operator.to_dense(), "two calls of collapsed differ", "nothing in it may be random")
    try:
        given, own = (task.sample(model, _SAMPLES, generator(), operator=each) for each in (operator, None))
    except NoSamplesError:
        return repr(operator)
    require_close(given, own, _AGREES, "samples by the collapsed operator are not those without it", "one step of sampling must stand for the same flow")
    return repr(operator)


@torch.no_grad()
def evaluate(subject: TaskSubject, context: Context) -> str:
    setup = bench(subject)
    task, model = setup.prepared()
    model.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with _scratch() as folder:
        report = task.evaluate(model, setup.splits, folder)
        if not isinstance(report, Report):
            raise CheckFailure(f"evaluate gives a {type(report).__name__}, expected a linearizer_core.task.Report")
        if missing := [name for name in report.figures if not (folder / name).is_file()]:
            raise CheckFailure(f"the report names the figure {missing[0]!r}, which was not written into the folder that was given")
    try:
        json.dumps(report.metrics)
    except (TypeError, ValueError) as error:
        raise CheckFailure(f"the metrics are no JSON values: {error}; convert tensors with float() or tolist()") from error
    if not report.metrics:
        raise CheckFailure("the report holds no metric; measure at least one thing")
    for name, tensor in model.state_dict().items():
        require_same_bits(tensor, before[name], f"evaluating changes {name!r} of the model", "measure a copy")
    return f"{len(report.metrics)} metrics, {len(report.figures)} figures"


@torch.no_grad()
def save_and_load(subject: TaskSubject, context: Context) -> str:
    setup = bench(subject)
    task, model = setup.prepared()
    model.eval()
    with _scratch() as folder:
        if not isinstance(subject.target, str):
            _, other = setup.build(seed=1)
            save_weights(model, folder / "model.safetensors")
            load_weights(other, folder / "model.safetensors")
            _require_same_outputs(task, model, task, other.eval(), None, None)
            return "weights; a task that is not registered has no artifact"
        config = ModelConfig(task=Component(name=subject.target, **subject.options), backbone=setup.backbone, core=setup.core)
        saved = Pretrained(task, model, ArtifactConfig(model=config, data=setup.splits.info, seed=1), operator=task.collapsed(model))
        loaded = Pretrained.from_pretrained(saved.save_pretrained(folder / "model"))
    _require_same_outputs(saved.task, saved.model, loaded.task, loaded.model, saved.operator, loaded.operator)
    return "the whole artifact"


def _require_same_outputs(
    task: Task, model: LinearizerModel, other_task: Task, other: LinearizerModel, operator: LinearOperator | None, other_operator: LinearOperator | None
) -> None:
    first, second = _outputs(task, model, operator), _outputs(other_task, other, other_operator)
    require_same_bits(second, first, "saved and loaded, the same input gives another output", "something that matters is neither parameter nor buffer")


def _outputs(task: Task, model: LinearizerModel, operator: LinearOperator | None) -> Tensor:
    """Samples; for a task that draws none, latents of random inputs sent through the whole model."""
    try:
        return task.sample(model, _SAMPLES, generator(), operator=operator)
    except NoSamplesError:
        x = torch.randn(_SAMPLES, *model.gx.in_shape, generator=generator())
        labels = {name: torch.arange(_SAMPLES) % count for name, count in model.conditions.items()}
        condition = Condition(**labels) if labels else None
        latents = model.domain(condition).to_latent(x)
        mapped = operator(latents) if operator is not None else latents
        weights = [parameter.detach().flatten() for parameter in model.core.parameters()]
        return torch.cat([model.codomain(condition).from_latent(mapped).flatten(), *weights])


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for files, with caches in it too, that vanishes."""
    before = os.environ.get("LINEARIZER_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LINEARIZER_CACHE"] = f"{folder}/cache"
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["LINEARIZER_CACHE"]
            else:
                os.environ["LINEARIZER_CACHE"] = before


CHECKS = tuple(
    Check(name, "task", law, function)
    for name, law, function in (
        ("build", "it builds a model with some backbone and core, and one seed gives one model", build),
        ("stages", "it has stages of different names, which train parameters of the model", stages),
        ("stage-data", "what a stage trains on is the same when it is asked for again", stage_data),
        ("loss", "every loss is finite, and every parameter that a stage declares has a gradient", loss),
        ("loss-deterministic", "a loss draws from the generator it is given, and from nothing else", loss_deterministic),
        ("sample", "samples have the shape of the data, and depend on the generator alone; unknown options are refused", sample),
        ("collapsed", "the collapsed operator has the shape of the core and gives the samples of the task", collapsed),
        ("evaluate", "metrics are JSON values, figures are written, the model stays as it is", evaluate),
        ("save-and-load", "saved and loaded, the same input gives the same bits", save_and_load),
    )
)
