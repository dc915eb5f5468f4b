"""Image features for the Frechet distance: the penultimate layer of a small classifier trained on the data itself."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from linearizer_core.data import Batch, Splits, stack
from linearizer_core.errors import DataError

_SEED = 0
_RECIPE = 1
"""Part of the name of cached weights: raise it when the network or its training changes."""
_BATCH = 128
_STEPS = 1404  # three epochs of 60,000 images


class ClassifierFeatures:
    """Features of a convolutional classifier: trained once for each data set, on its training and validation split, with a fixed seed, and cached.

    The features are those of the last hidden layer: 84 for images of at least 20 pixels (LeNet-5 with ReLU and max pooling), 32 for smaller ones. Images are
    rounded to 8 bits first, as a file would hold them.

    Args:
        splits: labelled images; colour or grey.
        cache: folder for the weights; the environment variable LINEARIZER_CACHE, then ``~/.cache/linearizer``, when left out.

    Raises:
        DataError: for unlabelled data, data that are not images, or a cache folder that cannot be made.
    """

    def __init__(self, splits: Splits, *, cache: Path | None = None) -> None:
        info = splits.info
        if not info.classes or len(info.shape) != 3:
            raise DataError(
                f"classifier features need labelled images, {info.name!r} has shape {info.shape} and {info.classes} classes; "
                "give metrics.frechet_distance features of your own"
            )
        train, validation, test = stack(splits.train), stack(splits.validation), stack(splits.test)
        data = {key: torch.cat([train[key], validation[key]]) for key in ("x", "label")}
        with torch.random.fork_rng(devices=[]):  # the caller's random numbers are not ours to use up
            self._network = _Classifier(info.shape, info.classes)
        self.name = f"{info.name}-classifier-{self._network.features}"
        path = _cache_folder(cache) / "features" / f"{self.name}-{_RECIPE}-{_digest(data)}.safetensors"
        if not self._restore(path):
            _make_folder(path.parent)
            _train(self._network, data)
            temporary = path.with_suffix(f".{os.getpid()}.tmp")
            save_file(self._network.state_dict(), temporary)
            temporary.replace(path)
        self._network.eval().requires_grad_(False)
        self.accuracy = float((self.predict(test["x"]) == test["label"]).float().mean())

    def _restore(self, path: Path) -> bool:
        try:
            self._network.load_state_dict(load_file(path))
        except (OSError, SafetensorError, RuntimeError):
            return False  # absent or damaged: it is trained anew
        return True

    def __call__(self, images: Tensor) -> Tensor:
        """Features ``(N, F)`` of images ``(N, *shape)`` in [0, 1]."""
        return torch.cat([self._network.embed(quantize(chunk)) for chunk in torch.split(images, 500)])

    def predict(self, images: Tensor) -> Tensor:
        """The class of each image, shape ``(N,)``."""
        return torch.cat([self._network(quantize(chunk)).argmax(1) for chunk in torch.split(images, 500)])

    def probabilities(self, images: Tensor) -> Tensor:
        """How probable the classifier holds each class, shape ``(N, classes)``; rows sum to one."""
        return torch.cat([self._network(quantize(chunk)).softmax(1) for chunk in torch.split(images, 500)])


class _Classifier(nn.Module):
    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        channels, height, width = shape
        large = min(height, width) >= 20
        self.features = 84 if large else 32
        self.first = nn.Conv2d(channels, 16, 5 if large else 3, padding="same")
        self.second = nn.Conv2d(16, 32, 5 if large else 3)
        self.pool_first = nn.MaxPool2d(2) if large else nn.Identity()
        self.pool_second = nn.MaxPool2d(2)
        with torch.no_grad():
            flat = self._convolve(torch.zeros(1, *shape)).numel()
        self.hidden = nn.Linear(flat, 120)
        self.last_hidden = nn.Linear(120, self.features)
        self.head = nn.Linear(self.features, classes)

    def _convolve(self, x: Tensor) -> Tensor:
        x = self.pool_first(functional.relu(self.first((x - 0.13) / 0.31)))
        pooled: Tensor = self.pool_second(functional.relu(self.second(x)))
        return pooled.flatten(1)

    def embed(self, x: Tensor) -> Tensor:
        embedded: Tensor = functional.relu(self.last_hidden(functional.relu(self.hidden(self._convolve(x)))))
        return embedded

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.embed(x))
        return logits


@torch.enable_grad()  # an evaluation, which needs no gradients itself, may be what asks for the features
def _train(network: nn.Module, data: Batch) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.reset_parameters()
        count = len(data["x"])
        steps = min(_STEPS, 30 * max(1, count // _BATCH))
        optimizer = torch.optim.Adam(network.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
        order = torch.cat([torch.randperm(count) for _ in range(1 + steps * _BATCH // count)])
        for rows in torch.split(order, _BATCH)[:steps]:
            loss = functional.cross_entropy(network(data["x"][rows]), data["label"][rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()


def quantize(images: Tensor) -> Tensor:
    """Images in [0, 1] as a file of 8 bits would hold them."""
    return (images.clamp(0, 1) * 255).round() / 255


def _digest(data: Batch) -> str:
    digest = hashlib.sha256()
    for tensor in data.values():
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"the cache folder {folder} cannot be made ({error.strerror}); set LINEARIZER_CACHE to a folder that can be written") from error


def _cache_folder(cache: Path | None) -> Path:
    return cache or Path(os.environ.get("LINEARIZER_CACHE", Path.home() / ".cache" / "linearizer"))
