"""Validated options of the idempotent network. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from linearizer_core.config import OptimizerConfig, PerceptualConfig, PriorCondition, PriorConfig, StageConfig


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CorruptionConfig(_Options):
    """Damage done to some of the training images, which the projector learns to undo. Each image suffers one kind, drawn from those with a range."""

    share: float = Field(0.5, ge=0, le=1, description="share of the images of a batch that are damaged")
    noise: float = Field(0.6, ge=0, description="largest standard deviation of Gaussian noise; 0: none")
    blur: float = Field(1.5, ge=0, description="largest standard deviation of a Gaussian blur, in pixels of a 28-pixel image; 0: none")
    occlusion: float = Field(0.4, ge=0, lt=1, description="largest side of a grey square, as a share of the image's; 0: none")
    inversion: bool = Field(False, description="whether some images have dark and bright exchanged")


class ProjectionConfig(StageConfig):
    """First stage: the bijection and the projector learn that data are fixed points."""

    steps: int = Field(1500, ge=1, description="optimiser steps")
    batch_size: int = Field(128, ge=2, description="examples per step, over all processes")
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-4)
    warmup_steps: int = Field(100, ge=0, description="steps of linear warm-up, at most half of all")
    hold: float = Field(0.3, ge=0, le=1, description="fraction of the steps at full rate before the cosine")
    clip_norm: float | None = Field(1.0, gt=0, description="largest gradient norm; none to switch clipping off")
    ema: float | None = Field(0.998, gt=0, lt=1, description="decay of the averaged weights; none to switch averaging off")
    distance: Literal["l1", "l2"] = Field("l2", description="mean absolute or mean squared difference of images")
    reconstruction_weight: float = Field(40.0, ge=0, description="weight of the distance of f(x) to x, and of f(damaged x) to x")
    residual_weight: float = Field(3.0, ge=0, description="weight of the mean square of what the projector drops, of undamaged images")
    scale_weight: float = Field(0.1, ge=0, description="weight of the kept latents' mean square against 1, which keeps the latent noise meaningful")
    rank_weight: float = Field(0.0, ge=0, description="weight of the rank above rank_target, as a share of all coordinates; for projectors that learn it")
    rank_target: int = Field(0, ge=0, description="rank down to which rank_weight presses")
    isometry_weight: float = Field(0.001, ge=0, description="weight of | |g(x)|^2 - |x - g^-1(0)|^2 | / D, as published")
    latent_noise: float = Field(0.15, ge=0, description="standard deviation of the noise on the kept latents while decoding")
    perceptual_weight: float = Field(0.0, ge=0, description="weight of the perceptual term, where one is configured")
    corruption: CorruptionConfig | None = Field(CorruptionConfig(), description="damage to undo; none to train on clean images alone")


class GenerationConfig(_Options):
    """Second stage: a prior on what the projector keeps."""

    condition: PriorCondition = Field("label", description="what the prior is conditioned on: the label, k-means clusters of the latents, or nothing")
    clusters: int = Field(32, ge=2, description="number of clusters, where condition = cluster")
    components: int = Field(32, ge=1, description="principal coordinates of the kept latents that the prior is a model of; the others stay at their mean")
    prior: PriorConfig = Field(
        PriorConfig(), description="the prior; eight dense couplings of width 256, with a scale for each category, when no backbone is named"
    )


class EvaluationConfig(_Options):
    """What the report measures."""

    samples: int = Field(5000, ge=100, description="generated images for the Frechet distance")
    inputs: int = Field(200, ge=10, description="inputs of each kind for which f(f(x)) is compared with f(x)")
    ranks: tuple[PositiveInt, ...] = Field(
        (1, 2, 4, 8, 16, 32, 64, 128, 256), description="ranks at which reconstruction is measured, up to that of the projector"
    )


class IdempotentConfig(_Options):
    """Options of the task ``ign``."""

    projection: ProjectionConfig = ProjectionConfig()
    generation: GenerationConfig = GenerationConfig()
    perceptual: PerceptualConfig | None = Field(None, description="perceptual term of the reconstruction; none for pixels alone")
    evaluation: EvaluationConfig = EvaluationConfig()


class SampleOptions(_Options):
    """What a caller may choose when drawing samples."""

    label: int | None = Field(None, ge=0, description="class (or cluster) of all samples; drawn by frequency when left out")
    temperature: float = Field(1.0, ge=0, description="scale of the noise: below 1 safer, above 1 more varied")
