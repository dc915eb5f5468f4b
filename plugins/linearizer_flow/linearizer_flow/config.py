"""Validated options of the flow task. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from linearizer_core.config import CollapseConfig, OptimizerConfig, PerceptualConfig, PriorCondition, PriorConfig, StageConfig


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ReconstructionConfig(StageConfig):
    """First stage of the latent-prior recipe: the bijection learns to keep what matters in the leading coordinates."""

    steps: int = Field(1500, ge=1, description="optimiser steps")
    batch_size: int = Field(128, ge=2, description="examples per step, over all processes")
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-4)
    warmup_steps: int = Field(100, ge=0, description="steps of linear warm-up, at most half of all")
    hold: float = Field(0.3, ge=0, le=1, description="fraction of the steps at full rate before the cosine")
    clip_norm: float | None = Field(1.0, gt=0, description="largest gradient norm; none to switch clipping off")
    ema: float | None = Field(0.998, gt=0, lt=1, description="decay of the averaged weights; none to switch averaging off")
    reconstruction_weight: float = Field(40.0, ge=0, description="weight of the mean squared pixel error (pixels in [0, 1])")
    tail_weight: float = Field(3.0, ge=0, description="weight of the mean square of the dropped coordinates")
    covariance_weight: float = Field(0.1, ge=0, description="weight of the distance of the kept coordinates' moments from standard ones")
    latent_noise: float = Field(0.15, ge=0, description="standard deviation of the noise on the kept coordinates while decoding")
    perceptual_weight: float = Field(0.0, ge=0, description="weight of the perceptual term, where one is configured")


class AdversarialConfig(StageConfig):
    """Optional last stage of the latent-prior recipe: g and h together learn to make samples that a critic takes for data, while they go on to reconstruct."""

    steps: int = Field(4000, ge=1, description="optimiser steps")
    batch_size: int = Field(128, ge=2, description="examples per step, over all processes")
    optimizer: OptimizerConfig = OptimizerConfig(lr=2e-4, betas=(0.5, 0.99), weight_decay=1e-4)
    warmup_steps: int = Field(100, ge=0, description="steps of linear warm-up, at most half of all")
    hold: float = Field(0.5, ge=0, le=1, description="fraction of the steps at full rate before the cosine")
    clip_norm: float | None = Field(2.0, gt=0, description="largest gradient norm; none to switch clipping off")
    ema: float | None = Field(0.998, gt=0, lt=1, description="decay of the averaged weights; none to switch averaging off")
    adversarial_weight: float = Field(1.0, gt=0, description="weight of the critic's verdict on samples, the mean over its feature maps")
    penalty_weight: float = Field(0.2, ge=0, description="weight of the critic's squared gradient at real images; too little, and training runs away")
    critic_width: int = Field(64, ge=1, description="hidden channels of the critic")
    reconstruction_weight: float = Field(40.0, ge=0, description="weight of the mean squared pixel error (pixels in [0, 1])")
    perceptual_weight: float = Field(0.25, ge=0, description="weight of the perceptual distance of reconstructions")
    tail_weight: float = Field(3.0, ge=0, description="weight of the mean square of the dropped coordinates")
    prior_weight: float = Field(1.0, ge=0, description="weight of the negative log-likelihood of the kept coordinates, for each of them")
    latent_noise: float = Field(0.15, ge=0, description="standard deviation of the noise on the kept coordinates while decoding")
    prior_noise: float = Field(0.1, ge=0, description="standard deviation of the noise on the whitened coordinates in the likelihood")


class LatentPriorRecipe(_Options):
    """The recommended recipe: reconstruction through r kept coordinates, then a flow on them."""

    condition: PriorCondition = Field("label", description="what the prior is conditioned on: the label, k-means clusters of the latents, or nothing")
    clusters: int = Field(32, ge=2, description="number of clusters, where condition = cluster")
    mirror: bool = Field(False, description="train on images and their mirror images, left to right")
    bijection: str | None = Field(
        None, description="a pretrained model of this recipe whose g is taken as it is, by name, folder or repository of the Hub; none: g is trained"
    )
    reconstruction: ReconstructionConfig | None = Field(
        None, description="training of g; none: as by default, or not at all where bijection names a trained one"
    )
    prior: PriorConfig = Field(
        PriorConfig(), description="the prior; eight dense couplings of width 256, with a scale for each category, where no backbone is named"
    )
    adversarial: AdversarialConfig | None = Field(None, description="a last stage against a critic on the features of the perceptual term; none: no such stage")
    perceptual: PerceptualConfig | None = Field(None, description="perceptual term of the reconstruction; none for pixels alone")

    @model_validator(mode="after")
    def _one_source_of_g(self) -> Self:
        if self.bijection is not None and self.reconstruction is not None:
            raise ValueError(f"bijection = {self.bijection!r} is taken as it is, and reconstruction would train it; set reconstruction = 'none'")
        return self


class PublishedStageConfig(StageConfig):
    """The one stage of the published recipe (arXiv 2510.08570): four terms, all with weight 1."""

    steps: int = Field(1500, ge=1, description="optimiser steps")
    batch_size: int = Field(256, ge=2, description="examples per step, over all processes")
    optimizer: OptimizerConfig = OptimizerConfig(name="adam", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.0)
    warmup_steps: int = Field(0, ge=0, description="steps of linear warm-up, at most half of all")
    hold: float = Field(1.0, ge=0, le=1, description="fraction of the steps at full rate before the cosine")
    clip_norm: float | None = Field(None, gt=0, description="largest gradient norm; none to switch clipping off")
    ema: float | None = Field(None, gt=0, lt=1, description="decay of the averaged weights; none to switch averaging off")
    latent_noise: float = Field(0.3, ge=0, description="standard deviation of the noise on latents before they are decoded")
    label_dropout: float = Field(0.1, ge=0, le=1, description="share of the examples whose label is hidden from the core, where it is conditioned on labels")


class PublishedRecipe(_Options):
    """The published objective: end-point prediction, and reconstruction of noise and data, trained at once."""

    condition: Literal["label", "none"] = Field(
        "none", description="what the core is conditioned on: nothing, as published, or the label, with one category more for any label; gx and gy never are"
    )
    training: PublishedStageConfig = PublishedStageConfig()
    perceptual: PerceptualConfig | None = Field(None, description="the perceptual distance; mean squared error in its place when none")


class FeaturesConfig(_Options):
    """A timm model whose pooled last features stand behind a Frechet distance."""

    model: str = Field(description="name of a timm model, such as tf_efficientnet_lite0")
    weights: Path | None = Field(None, description="local safetensors file with timm's key names; pretrained weights from the Hub when left out")
    size: int = Field(224, ge=8, description="side to which images are scaled first")


class EvaluationConfig(_Options):
    """What the report measures."""

    samples: int = Field(5000, ge=100, description="generated images for the Frechet distance")
    temperature: float = Field(1.0, gt=0, description="scale of the noise")
    features: FeaturesConfig | None = Field(
        None, description="Frechet distances on features of this pretrained model as well; none: on those of a classifier alone"
    )


class FlowConfig(_Options):
    """Options of the flow task."""

    recipe: Literal["latent_prior", "published"] = Field("latent_prior", description="the recommended recipe, or the published one; each has its table below")
    latent_prior: LatentPriorRecipe = LatentPriorRecipe()
    published: PublishedRecipe = PublishedRecipe()
    sampling: CollapseConfig = Field(CollapseConfig(), description="how the flow becomes the one operator that is saved with the model")
    evaluation: EvaluationConfig = EvaluationConfig()


class SampleOptions(_Options):
    """What a caller may choose when drawing samples. With neither of steps, solver, terminal and rank, samples come from the saved operator."""

    steps: int = Field(1, ge=1, description="1: the collapsed operator; more: the loop with that many steps")
    solver: str | None = Field(None, description="solver of the loop (steps > 1), euler by default; or of a fresh collapse (steps = 1)")
    terminal: Literal["early", "last_step", "limit"] | None = Field(
        None,
        description="how the loop or a fresh collapse ends; as task.sampling says when left out, or, where that says nothing and a solver is named or a loop "
        "is run, early: at t = 1 - 1/T",
    )
    rank: int | None = Field(None, ge=1, description="how many of the largest singular values of the operator are kept (steps = 1); all when left out")
    label: int | None = Field(None, ge=0, description="class (or cluster) of all samples; drawn, or any, when left out")
    guidance: float = Field(1.0, description="weight of the label where the core takes it: 0 without, 1 with, beyond 1 more than that")
    temperature: float = Field(1.0, ge=0, description="scale of the noise: below 1 safer, above 1 more varied")
