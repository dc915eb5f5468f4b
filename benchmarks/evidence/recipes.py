"""Ways to train a model: how the contender is made, and which part of the budget each of its stages has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch

from benchmarks.evidence.contender import Contender, Steps
from benchmarks.evidence.likelihood import IdentityCore, LikelihoodTask
from benchmarks.evidence.linearizers import LinearizerContender
from benchmarks.evidence.matching import STAGE, MatchingContender
from benchmarks.flow_models import CONFIGS, count, nearest, published_model
from benchmarks.likelihood import flow_of_size
from linearizer_core.config import OptimizerConfig, RunConfig, StageConfig
from linearizer_core.config_file import load_config
from linearizer_core.data import DataInfo
from linearizer_core.factory import build_model
from linearizer_core.task import BuildContext

Build = Callable[[DataInfo, int, Steps, Path | None], Contender]
"""Data, seed, steps by stage (those of a configuration where none are given) and weights of the pretrained network, to an untrained contender."""


@final
@dataclass(frozen=True)
class Recipe:
    """One way to train one model.

    Arguments:
        title: how the tables call it.
        build: makes the contender.
        shares: the stages, and which part of the budget each has.
        costs: name of the recipe whose steps cost as much, where that is known; otherwise they are measured.
    """

    title: str
    build: Build
    shares: Mapping[str, float]
    costs: str = ""


OURS = "flow_mnist_small"
THEIRS = "flow_mnist_published"
PATHS = {"reconstruction": "task.latent_prior.reconstruction", "prior": "task.latent_prior.prior", "published": "task.published.training"}
"""Where a configuration has the stage."""
MODERN = StageConfig(
    steps=1000, batch_size=128, optimizer=OptimizerConfig(lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-4), warmup_steps=100, hold=0.3, clip_norm=1.0, ema=0.998
)
"""Batch, optimiser, schedule, clipping and average of our first stage; other contenders have them too."""
OUR_OPTIMISER = [
    f"task.published.training.{line}"
    for line in (
        'optimizer={name="adamw", lr=1e-3, betas=[0.9, 0.99], weight_decay=1e-4}',
        "batch_size=128",
        "warmup_steps=100",
        "hold=0.3",
        "clip_norm=1.0",
        "ema=0.998",
    )
]
CORE = "core.width=64"
"""Of the network of t in the published core: with the default, it would have most of the weights, and the bijections few."""


def ours(title: str, *overrides: str, prior: float = 0.25, precision: str = "bf16", costs: str = "") -> Recipe:
    """The recommended recipe: flow_mnist_small.toml with batches of 128, and what ``overrides`` change."""
    build = _configured(OURS, "task.latent_prior.reconstruction.batch_size=128", *overrides, precision=precision)
    return Recipe(title, build, {"reconstruction": 1 - prior, "prior": prior}, costs)


def unlabelled(title: str, clusters: int, *overrides: str, prior: float = 0.25) -> Recipe:
    """The same without labels."""
    return ours(title, 'task.latent_prior.condition="cluster"', f"task.latent_prior.clusters={clusters}", *overrides, prior=prior)


def published(title: str, *overrides: str, perceptual: bool = False, costs: str = "") -> Recipe:
    """The published objective and core on our couplings, their dense ones as wide as makes the model as large as ours."""

    def build(info: DataInfo, seed: int, steps: Steps, weights: Path | None) -> Contender:
        more = [f'task.published.perceptual={{model="tf_efficientnet_lite0", weights="{weights}"}}'] if perceptual else []

        def size(width: int) -> int:
            return count(build_model(_load(THEIRS, [CORE, *overrides, f"backbone.dense.width={width}"], {}, 0).model, info)[1])

        width = nearest(size, our_size(info))
        return _configured(THEIRS, CORE, *overrides, f"backbone.dense.width={width}", *more)(info, seed, steps, weights)

    return Recipe(title, build, {"published": 1.0}, costs)


def published_design(title: str, *overrides: str) -> Recipe:
    """The published objective, core and backbone, as wide as makes the model as large as ours."""

    def build(info: DataInfo, seed: int, steps: Steps, weights: Path | None) -> Contender:
        task, _ = build_model(_load(THEIRS, overrides, steps, seed).model, info)
        model, _ = published_model(task, info, our_size(info), seed=seed, width=64)
        return LinearizerContender(task, model, seed=seed, classes=0)

    return Recipe(title, build, {"published": 1.0})


def likelihood(title: str, lr: float) -> Recipe:
    """Couplings like ours with the labels in every conditioner, and no smaller, trained by likelihood."""

    def build(info: DataInfo, seed: int, steps: Steps, weights: Path | None) -> Contender:
        run = _load(OURS, [], {}, seed)
        task = LikelihoodTask(_with(MODERN, steps.get("likelihood"), lr))
        context = BuildContext(info, lambda shape, conditions: flow_of_size(run, info), lambda shape, conditions: IdentityCore(shape))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return LinearizerContender(task, task.build(context), seed=seed, classes=info.classes)

    return Recipe(title, build, {"likelihood": 1.0})


def matching(title: str, lr: float, batch_size: int) -> Recipe:
    """A flow-matching U-Net of our size."""

    def build(info: DataInfo, seed: int, steps: Steps, weights: Path | None) -> Contender:
        channels, height, width = info.shape
        config = _with(MODERN.model_copy(update={"batch_size": batch_size}), steps.get(STAGE), lr)
        return MatchingContender(config, (channels, height, width), our_size(info), info.classes, seed=seed)

    return Recipe(title, build, {STAGE: 1.0})


def our_size(info: DataInfo) -> int:
    """Weights of the recommended model: what all others are as large as."""
    return count(build_model(_load(OURS, [], {}, 0).model, info)[1])


def _configured(config: str, *overrides: str, precision: str = "bf16") -> Build:
    def build(info: DataInfo, seed: int, steps: Steps, weights: Path | None) -> Contender:
        task, model = build_model(_load(config, overrides, steps, seed).model, info, seed)
        return LinearizerContender(task, model, seed=seed, classes=info.classes if "label" in model.conditions else 0, precision=precision)

    return build


def _load(config: str, overrides: Sequence[str], steps: Steps, seed: int) -> RunConfig:
    # The data are given; their folder in the configuration is of no use here.
    own = [f"{PATHS[stage]}.steps={number}" for stage, number in steps.items()]
    return load_config(CONFIGS / f"{config}.toml", ["data.root=unused", f"training.seed={seed}", *overrides, *own])


def _with(config: StageConfig, steps: int | None, lr: float) -> StageConfig:
    return config.model_copy(update={"steps": steps or config.steps, "optimizer": config.optimizer.model_copy(update={"lr": lr})})
