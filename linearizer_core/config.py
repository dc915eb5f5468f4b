"""The validated configuration of a run: TOML plus ``key=value`` overrides. Torch-free."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

_STRICT = ConfigDict(extra="forbid", frozen=True)


class Component(BaseModel):
    """A registered name and the options of its plugin: in TOML one table, ``name`` next to the options.

    Example:
        >>> component = Component(name="coupling", levels=[])
        >>> component.name, component.options
        ('coupling', {'levels': []})
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(max_length=100, description="registered name; `linearizer list` shows them")

    if TYPE_CHECKING:

        def __init__(self, *, name: str, **options: Any) -> None: ...

    @property
    def options(self) -> dict[str, Any]:
        """Everything but the name, as given; the plugin's own configuration validates it."""
        return dict(self.model_extra or {})


class NormalizeConfig(BaseModel):
    """Normalisation ahead of everything else, an option of many backbones: ``(x + shift) * scale``, one number or one per channel.

    Example:
        >>> NormalizeConfig(shift=-0.5, scale=2.0).scale
        2.0
    """

    model_config = _STRICT

    shift: float | tuple[float, ...] = Field(0.0, description="added first")
    scale: float | tuple[float, ...] = Field(1.0, description="multiplied next; not zero")


class OptimizerConfig(BaseModel):
    """The optimiser of one stage."""

    model_config = _STRICT

    name: Literal["adam", "adamw"] = Field("adamw", description="adamw decays weights apart from the gradient, adam through it")
    lr: PositiveFloat = Field(1e-3, description="learning rate after warm-up")
    betas: tuple[float, float] = Field((0.9, 0.999), description="decay of the first and second moment")
    weight_decay: NonNegativeFloat = Field(0.0, description="decay of the weights per step, times the learning rate")


class LipschitzConfig(BaseModel):
    """A penalty on gains above a bound, of the trained bijections and of their inverses, along random directions."""

    model_config = _STRICT

    weight: PositiveFloat = Field(1.0, description="weight of the penalty: the mean squared log of the excess")
    every: PositiveInt = Field(4, description="steps between penalties; each then counts that many times")
    step: PositiveFloat = Field(0.01, description="deviation of the small step of each coordinate")
    bound: float = Field(10.0, ge=1, description="gain from which it is penalised")
    off_data: float = Field(0.5, ge=0, le=1, description="share of the points that noise replaces, uniform and Gaussian")


class StageConfig(BaseModel):
    """How long and how one stage trains. The learning rate warms up linearly, holds, then follows a cosine."""

    model_config = _STRICT

    steps: PositiveInt = Field(description="optimiser steps")
    batch_size: PositiveInt = Field(description="examples per step, over all processes and accumulated micro-batches")
    optimizer: OptimizerConfig = Field(OptimizerConfig(), description="optimiser and learning rate")
    warmup_steps: NonNegativeInt = Field(0, description="steps of linear warm-up, at most half of all")
    hold: float = Field(0.0, ge=0, le=1, description="fraction of the steps at full rate before the cosine begins")
    final_lr_fraction: float = Field(0.005, ge=0, le=1, description="rate at the last step, as a fraction of the full rate")
    clip_norm: PositiveFloat | None = Field(None, description="largest gradient norm; none: no clipping")
    ema: float | None = Field(None, ge=0, lt=1, description="decay of the average of the weights; none: no average")
    ema_warmup: PositiveInt = Field(50, description="after k steps the decay is min(ema, k / (k + ema_warmup))")
    lipschitz: LipschitzConfig | None = Field(None, description="penalty on large gains; none: no penalty")


class ReversibleConfig(BaseModel):
    """Backpropagation that rebuilds activations instead of storing them."""

    model_config = _STRICT

    anchor_every: PositiveInt = Field(8, description="blocks between two inputs that are kept; rounding errors add up in between")
    check_every: NonNegativeInt = Field(0, description="passes between two comparisons of rebuilt inputs with kept ones; 0: none")
    tolerance: PositiveFloat = Field(1e-3, description="largest difference without a warning, relative to the largest entry")


class MonitorConfig(BaseModel):
    """The watch over invertibility in the course of training.

    Example:
        >>> MonitorConfig(every=100).tolerance
        0.001
    """

    model_config = _STRICT

    every: PositiveInt = Field(500, description="steps between measurements")
    examples: int = Field(32, ge=2, description="validation examples, and as many inputs far off the data")
    tolerance: PositiveFloat = Field(1e-3, description="largest round-trip error without a warning, relative to the largest entry")
    gain_limit: PositiveFloat = Field(1e3, description="largest gain of g and of its inverse without a warning")


class TrainingConfig(BaseModel):
    """What a run needs beside its model and data."""

    model_config = _STRICT

    output: Path = Field(description="folder of the run: checkpoints, metrics, samples, model")
    seed: NonNegativeInt = Field(0, description="seed of initialisation, data order and noise")
    mixed_precision: Literal["no", "bf16", "fp16"] = Field("no", description="precision of the conditioners while training")
    checkpoint_every: PositiveInt = Field(1000, description="steps between checkpoints")
    keep_checkpoints: PositiveInt = Field(2, description="newest checkpoints to keep")
    sample_every: NonNegativeInt = Field(0, description="steps between sample grids; 0: none")
    log_every: PositiveInt = Field(10, description="steps between logged metrics")
    accumulation_steps: PositiveInt = Field(1, description="micro-batches per step")
    num_workers: NonNegativeInt = Field(0, description="loader processes")
    threads: PositiveInt | None = Field(None, description="CPU threads of each process; none: all cores, shared among the processes of this machine")
    tracker: Literal["jsonl", "tensorboard", "trackio", "wandb"] = Field("jsonl", description="where metrics go beside metrics.jsonl")
    compile: bool = Field(False, description="compile conditioners with torch.compile; where that fails they run as they are, with a warning")
    channels_last: bool = Field(False, description="keep images within convolutions in channels-last order, which GPUs with tensor cores prefer")
    reversible: ReversibleConfig | None = Field(None, description="rebuild activations in the backward pass, to save memory; none: store them")
    monitor: MonitorConfig | None = Field(None, description="measure invertibility at intervals and warn; none: do not")


class CollapseConfig(BaseModel):
    """How the many steps of a flow become one operator.

    Example:
        >>> CollapseConfig(steps=1000, terminal="early").solver is None
        True
    """

    model_config = _STRICT

    steps: int = Field(100, ge=2, description="T: equal steps from noise to data")
    solver: str | None = Field(None, description="a solver of the core; the core's own choice when none")
    terminal: Literal["early", "last_step", "limit"] | None = Field(
        None,
        description="how the flow ends: early stops at t = 1 - 1/T, so that the operator is invertible and a trace of noise stays; last_step takes the "
        "solver's own last step to t = 1; limit integrates the regular form of the core up to t = 1; the core's own choice when none",
    )
    tol: PositiveFloat | None = Field(
        None, description="largest error of the operator against the exact flow: steps are chosen for it, and T only says where early ends; none: T equal steps"
    )
    rtol: float | None = Field(
        None, gt=0, lt=1, description="singular values of a low-rank product are dropped up to this part of the largest; rounding of the dtype when none"
    )
    rank: PositiveInt | None = Field(None, description="how many of the largest singular values of the operator are kept; none: all")


class PerceptualConfig(BaseModel):
    """A perceptual distance on the features of a timm model."""

    model_config = _STRICT

    model: str = Field(description="name of a timm model that supports features_only, such as tf_efficientnet_lite0")
    weights: Path | None = Field(None, description="local safetensors file with timm's key names; pretrained weights from the Hub when left out")
    layers: int = Field(3, ge=1, description="number of leading feature maps compared")
    size: int = Field(32, ge=8, description="side to which images are scaled first")


PriorCondition = Literal["label", "cluster", "none"]
"""What a latent prior is conditioned on: the label, k-means clusters of the latents, or nothing."""


class PriorConfig(StageConfig):
    """A prior on kept latents: a flow, fitted by likelihood on the averaged bijection."""

    steps: int = Field(2600, ge=1, description="optimiser steps")
    batch_size: int = Field(512, ge=2, description="latents per step, over all processes")
    optimizer: OptimizerConfig = OptimizerConfig(lr=2e-3, betas=(0.9, 0.99), weight_decay=1e-3)
    warmup_steps: int = Field(100, ge=0, description="steps of linear warm-up, at most half of all")
    hold: float = Field(0.0, ge=0, le=1, description="fraction of the steps at full rate before the cosine")
    clip_norm: float | None = Field(5.0, gt=0, description="largest gradient norm; none to switch clipping off")
    ema: float | None = Field(0.999, gt=0, lt=1, description="decay of the averaged weights; none to switch averaging off")
    latent_noise: float = Field(0.1, ge=0, description="standard deviation of the noise added to the whitened latents")
    backbone: Component | None = Field(
        None, description="the bijection h on the whitened latents: any backbone that takes vectors and has a log-determinant; the choice of the task when none"
    )


class ModelConfig(BaseModel):
    """What a model is made of."""

    model_config = _STRICT

    task: Component
    backbone: Component
    core: Component


class RunConfig(BaseModel):
    """One training run, from data to report.

    Example:
        >>> names = {part: {"name": part} for part in ("task", "backbone", "core", "data")}
        >>> config = RunConfig.model_validate({**names, "training": {"output": "runs/x"}})
        >>> config.training.seed, config.model.backbone.name
        (0, 'backbone')
    """

    model_config = _STRICT

    task: Component
    backbone: Component
    core: Component
    data: Component
    training: TrainingConfig

    @property
    def model(self) -> ModelConfig:
        """The part that a saved model keeps."""
        return ModelConfig(task=self.task, backbone=self.backbone, core=self.core)
