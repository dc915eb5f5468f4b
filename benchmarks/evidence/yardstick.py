"""Quality of generated images, the same for every contender."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.evidence.contender import Draw
from linearizer_core.data import Splits, stack
from linearizer_core.features.classifier import ClassifierFeatures
from linearizer_core.features.pretrained import PretrainedFeatures
from linearizer_core.metrics import frechet_distance, kernel_distance, precision_and_recall

PRETRAINED = "tf_efficientnet_lite0"
SIDE = 112
"""To which images are scaled for the pretrained network: four times the side of MNIST; 224 would cost four times as much."""
NEAREST, PAIRED, FEWEST = 2000, 1000, 500
"""Images in each set of precision and recall; images whose nearest training image is looked for; images without which nothing is measured."""


@final
class Yardstick:
    """Compares images with one split of the data.

    Arguments:
        splits: labelled images.
        split: the one to compare with, ``validation`` or ``test``.
        weights: safetensors file of timm's tf_efficientnet_lite0; None leaves the measures on its features out.
        cache: folder in which features of the split are kept.
    """

    def __init__(self, splits: Splits, split: str, weights: Path | None, cache: Path) -> None:
        self._classifier = ClassifierFeatures(splits)
        self._extractors: dict[str, Any] = {"classifier": self._classifier}
        if weights is not None:
            self._extractors["efficientnet"] = PretrainedFeatures(PRETRAINED, weights, size=SIDE)
        images = stack(getattr(splits, split))["x"]
        self._training = stack(splits.train)["x"].flatten(1)
        self._real_nearest = self._nearest(images)
        self._reference = {name: _remembered(cache / f"{split}-{extract.name}.safetensors", extract, images) for name, extract in self._extractors.items()}
        self.facts: dict[str, Any] = {
            "split": split,
            "reference": len(images),
            "features": {name: extractor.name for name, extractor in self._extractors.items()},
            "classifier_accuracy": self._classifier.accuracy,
        }

    def measure(self, draw: Draw, *, pretrained: bool = True) -> dict[str, float]:
        """Frechet distances, kernel distances, precision and recall; how far the nearest training image is, as a part of what it is for real images (below 1:
        copies); how often the classifier sees the label asked for. Images that are not finite are left out, and their share is told.
        """
        finite = draw.images.flatten(1).isfinite().all(1)
        images = draw.images[finite].clamp(0, 1)
        found = {"samples": float(len(draw.images)), "finite": float(finite.float().mean())}
        if len(images) >= FEWEST:
            chosen = self._extractors if pretrained else {"classifier": self._classifier}
            found |= self._distances({name: extract(images) for name, extract in chosen.items()})
            found["nearest_training"] = self._nearest(images) / self._real_nearest
        if draw.labels is not None:
            found["label_agreement"] = float((self._classifier.predict(images) == draw.labels[finite]).float().mean())
        return found

    def _nearest(self, images: Tensor) -> float:
        """The mean distance of images to their nearest training image, in pixels."""
        return float(torch.cdist(images[:PAIRED].flatten(1), self._training).amin(1).mean())

    def _distances(self, features: Mapping[str, Tensor]) -> dict[str, float]:
        found = {}
        for name, values in features.items():
            reference = self._reference[name]
            found[f"frechet_{name}"] = frechet_distance(values, reference)
            found[f"kernel_{name}"] = kernel_distance(values, reference)
            precision, recall = precision_and_recall(values[:NEAREST], reference[:NEAREST])
            found |= {f"precision_{name}": precision, f"recall_{name}": recall}
        return found


@torch.no_grad()
def floors(yardstick: Yardstick, splits: Splits, count: int) -> dict[str, dict[str, float]]:
    """What training images and what noise get."""
    real = stack(splits.train, count)
    noise = torch.rand(real["x"].shape, generator=torch.Generator().manual_seed(0))
    return {"training images": yardstick.measure(Draw(real["x"], real["label"])), "uniform noise": yardstick.measure(Draw(noise))}


def _remembered(path: Path, extract: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        save_file({"features": extract(images)}, temporary)
        temporary.replace(path)
    return load_file(path)["features"]
