"""Validated options of the plugin. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from linearizer_core.config import OptimizerConfig, PerceptualConfig, StageConfig


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


# --- data --------------------------------------------------------------------------------------------


class CropOptions(_Options):
    """How pairs of pictures become training, validation and test crops."""

    crop: int = Field(64, ge=8, description="side of the square crops in pixels")
    side: int | None = Field(None, ge=4, description="pictures are scaled first, so that the shorter side has so many pixels; as they are when none")
    crops: int = Field(2000, ge=1, description="training crops of each style, at random places")
    hold_out: Literal["region", "pictures"] = Field(
        "region", description="what validation and test see: the right part of every picture, or pictures of their own"
    )
    validation: float = Field(0.15, gt=0, lt=0.5, description="part of the width, or of the pictures, for validation")
    test: float = Field(0.2, gt=0, lt=0.5, description="part of the width, or of the pictures, for testing")
    seed: int = Field(0, ge=0, description="draws the places of the training crops, and the pictures that are held out")


class StylePairsConfig(CropOptions):
    """Options of the data set ``style_pairs``.

    Example:
        >>> StylePairsConfig(root="pairs", side=270).hold_out
        'region'
    """

    root: Path = Field(description="folder with NAME.jpg and NAME-STYLE.jpg beside each other, or with a folder content and one folder for each style")
    styles: tuple[str, ...] | None = Field(None, min_length=1, description="which styles, in this order; all of them in alphabetical order when none")


class GatysConfig(_Options):
    """How pixels are optimised against a style picture."""

    model: str = Field("vgg19", description="name of a timm model that supports features_only")
    weights: Path | None = Field(None, description="local safetensors file with timm's key names; pretrained weights from the Hub when left out")
    layers: int = Field(4, ge=1, description="leading feature maps whose Gram matrices are compared; the last one tells the content")
    steps: int = Field(200, ge=1, description="steps of the optimiser")
    lr: float = Field(0.02, gt=0, description="its learning rate, pixels in [0, 1]")
    content_weight: float = Field(0.05, ge=0, description="weight of the content beside the style")
    variation_weight: float = Field(0.5, ge=0, description="weight of differences between neighbouring pixels")


class StyleTeacherConfig(CropOptions):
    """Options of the data set ``style_teacher``.

    Example:
        >>> StyleTeacherConfig(root="photos", pictures={"wave": "wave.jpg"}).gatys.layers
        4
    """

    root: Path = Field(description="folder with the content pictures")
    networks: dict[str, Path] = Field({}, description="for each style the safetensors file of a pretrained feed-forward network")
    pictures: dict[str, Path] = Field({}, description="for each style a picture that shows it: pixels are optimised against it, which takes minutes")
    gatys: GatysConfig = Field(GatysConfig(), description="how pixels are optimised against those pictures")


# --- task --------------------------------------------------------------------------------------------


class StyleStageConfig(StageConfig):
    """The one stage of training: stylised crops are predicted."""

    steps: int = Field(1500, ge=1, description="optimiser steps")
    batch_size: int = Field(16, ge=1, description="crops per step, over all processes")
    optimizer: OptimizerConfig = OptimizerConfig(lr=2e-3, betas=(0.9, 0.99))
    warmup_steps: int = Field(100, ge=0, description="steps of linear warm-up, at most half of all")
    hold: float = Field(0.3, ge=0, le=1, description="fraction of the steps at full rate before the cosine")
    clip_norm: float | None = Field(1.0, gt=0, description="largest gradient norm; none to switch clipping off")
    ema: float | None = Field(0.998, gt=0, lt=1, description="decay of the averaged weights; none to switch averaging off")
    pixel_loss: Literal["mse", "l1"] = Field("mse", description="mean squared or mean absolute error of pixels")
    pixel_weight: float = Field(10.0, ge=0, description="its weight")
    perceptual_weight: float = Field(1.0, ge=0, description="weight of the perceptual distance, where one is configured")


class StyleConfig(_Options):
    """Options of the task ``style``."""

    shared: bool = Field(True, description="one bijection for content and stylised pictures, so that strength 0 gives the picture back; false: two")
    training: StyleStageConfig = StyleStageConfig()
    perceptual: PerceptualConfig | None = Field(None, description="a perceptual distance beside that of pixels; none: pixels alone")


class StyleNumberConfig(_Options):
    """Options of the core ``style_number``."""

    width: int = Field(64, ge=1, description="hidden units of the network of the number")
    channels: int | None = Field(None, ge=1, description="channels of the latent; the fewest that leave a square grid when none")
