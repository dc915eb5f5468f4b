"""Validated options of the dynamics task and of its data. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from linearizer_core.config import Component, OptimizerConfig, StageConfig


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


# --- the task ------------------------------------------------------------------------------------------


class DynamicsStageConfig(StageConfig):
    """How the bijection and the generator are trained, together."""

    steps: int = Field(4000, ge=1, description="optimiser steps")
    batch_size: int = Field(256, ge=1, description="trajectories per step, over all processes")
    optimizer: OptimizerConfig = OptimizerConfig(lr=2e-3, betas=(0.9, 0.99))
    warmup_steps: int = Field(100, ge=0, description="steps of linear warm-up, at most half of all")
    hold: float = Field(0.3, ge=0, le=1, description="fraction of the steps at full rate before the cosine")
    clip_norm: float | None = Field(1.0, gt=0, description="largest gradient norm; none to switch clipping off")
    ema: float | None = Field(0.995, gt=0, lt=1, description="decay of the averaged weights; none to switch averaging off")
    frames: int = Field(
        8, ge=2, description="states of each trajectory that a step looks at, from a stretch of random length: the others are predicted from one of them"
    )
    backward: bool = Field(False, description="predict from any of them, into the past as well, and not from the earliest alone; not for what decays fast")
    prediction_weight: float = Field(1.0, ge=0, description="weight of the mean squared error of the predicted states, in their standard deviations")
    latent_weight: float = Field(0.1, ge=0, description="weight of the mean squared error of the predicted latents")


class EvaluationConfig(_Options):
    """What the report measures."""

    trajectories: int = Field(500, ge=1, description="test trajectories that are predicted, at most")


class DynamicsConfig(_Options):
    """Options of the dynamics task.

    Example:
        >>> DynamicsConfig(padding=1).training.frames
        8
    """

    padding: int = Field(
        0,
        ge=0,
        description="zero coordinates appended to each state (channels of an image): the flow of a longer vector may be linear where none of this length is",
    )
    standardize: bool = Field(True, description="shift and scale each coordinate (each channel of an image) to mean 0 and deviation 1, ahead of the backbone")
    training: DynamicsStageConfig = DynamicsStageConfig()
    evaluation: EvaluationConfig = EvaluationConfig()


# --- the data ------------------------------------------------------------------------------------------


class _Trajectories(_Options):
    train: int = Field(3500, ge=1, description="training trajectories, each from a state of its own")
    validation: int = Field(500, ge=1, description="validation trajectories")
    test: int = Field(500, ge=1, description="test trajectories")
    steps: int = Field(50, ge=1, description="states after the first")
    dt: float = Field(0.02, gt=0, description="time between two states, in the unit of the equations")
    irregular: bool = Field(False, description="each trajectory is sampled at random times of its own, uniform up to steps * dt")
    seed: int = Field(0, description="seed of the initial states and times")


class SlowManifoldConfig(_Trajectories):
    """Options of `slow_manifold`.

    Example:
        >>> SlowManifoldConfig().dt
        0.02
    """

    mu: float = Field(-0.05, description="rate of the slow coordinate")
    lam: float = Field(-1.0, description="rate at which the parabola attracts")
    control: float = Field(0.0, ge=0, description="standard deviation of an input to the second coordinate, constant over each step; 0: none")


class PendulumConfig(_Trajectories):
    """Options of `pendulum`."""


class FluidOnAttractorConfig(_Trajectories):
    """Options of `fluid_on_attractor`."""

    steps: int = Field(120, ge=1, description="states after the first")
    dt: float = Field(0.05, gt=0, description="time between two states, in the unit of the equations")
    inner_radius: float = Field(
        0.0, ge=0, lt=1.1, description="smallest distance of an initial state from the axis of the wake, where the flow has an equilibrium"
    )


class FluidOffAttractorConfig(_Trajectories):
    """Options of `fluid_off_attractor`."""

    steps: int = Field(100, ge=1, description="states after the first")
    dt: float = Field(0.01, gt=0, description="time between two states, in the unit of the equations")


class DoubleWellConfig(_Trajectories):
    """Options of `double_well`."""

    steps: int = Field(60, ge=1, description="states after the first")
    dt: float = Field(0.2, gt=0, description="time between two states, in the unit of the equations")


class KoopmanaePendulumConfig(_Options):
    """Options of `koopmanae_pendulum`."""

    angle: float = Field(2.4, gt=0, lt=3.14, description="largest angle of the swing, in radians")
    window: int = Field(300, ge=1, le=590, description="states after the first in a training window, of the 600 that are seen")
    horizon: int = Field(1000, ge=1, le=1500, description="states to predict in a test trajectory")


class MovingDigitConfig(_Options):
    """Options of `moving_digit`."""

    source: Component = Field(
        Component(name="digits"), description="where the digits come from: a dataset of grey images, such as { name = 'mnist', root = DIR }"
    )
    motion: Literal["rotate", "orbit"] = Field("rotate", description="turn about the centre, or go round it upright")
    size: int = Field(28, ge=8, description="side of the frames")
    box: int | None = Field(
        None, ge=4, description="side to which the digits are scaled inside them; none: three quarters of the size to turn, half of it to go round"
    )
    period: float = Field(1.0, gt=0, description="time of one turn")
    frames: int = Field(12, ge=1, description="frames of a training film after the first, at random times of one turn")
    test_frames: int = Field(48, ge=1, description="frames of a test film after the first, evenly spread over two turns")
    train: int | None = Field(None, ge=1, description="digits for training; none: all of the source")
    test: int | None = Field(200, ge=1, description="digits for testing, and for validation; none: all of the source")
    seed: int = Field(0, description="seed of the times")
