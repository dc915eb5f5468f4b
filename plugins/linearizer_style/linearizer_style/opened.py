"""A trained style model, opened to be used on pictures of any size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from linearizer_core.cores import latent_shape
from linearizer_core.errors import ConfigError, DataError
from linearizer_core.linearizer import Linearizer
from linearizer_core.model import LinearizerModel
from linearizer_core.pretrained import Pretrained, load, uri_of
from linearizer_style.mixing import StyleMixer
from linearizer_style.task import StyleTask

Choice = Callable[[StyleMixer], Linearizer]
"""Which map of a mixer to apply: a mix, a composition, an inverse."""

LARGEST = 4_000_000
"""Pixels of the largest picture that is stylised: at each of them a network is evaluated."""


@dataclass(frozen=True)
class OpenedStyles:
    """A trained model of the task ``style`` with the names of its styles.

    Example:
        >>> opened = open_styles("runs/style_amber")  # doctest: +SKIP
        >>> stylised = opened.apply(picture, lambda mixer: mixer.mix({"candy": 0.5, "udnie": 0.5}))  # doctest: +SKIP
    """

    task: StyleTask
    model: LinearizerModel
    names: tuple[str, ...]

    @property
    def mixer(self) -> StyleMixer:
        """The mixer for crops of the size that the model was trained on."""
        return StyleMixer(self.model, self.names)

    @torch.no_grad()
    def apply(self, picture: Tensor, choose: Choice) -> Tensor:
        """``choose(mixer)`` applied to one picture ``(3, H, W)`` of any size, clipped to [0, 1].

        Sides that the squeezes of the backbone do not divide are padded by reflection first and cropped afterwards; convolutions wrap around the edges.

        Raises:
            DataError: for a picture smaller than one place of the latent, or above `LARGEST` pixels.
            ConfigError: where the model serves the size of its crops alone.
        """
        mixer, padded = self.fitted(picture)
        result: Tensor = choose(mixer)(padded[None])[0, :, : picture.shape[1], : picture.shape[2]]
        return result.clamp(0, 1)

    def fitted(self, picture: Tensor) -> tuple[StyleMixer, Tensor]:
        """A mixer for the size of a picture, and the picture, padded to a size that the squeezes of the backbone divide. Raises as `apply` does."""
        _, height, width = picture.shape
        own = self.model.gx.in_shape[1:]
        if height * width > LARGEST:
            raise DataError(f"a picture of {width} x {height} pixels, expected at most {LARGEST:,} in all; scale it down, on the command line with --size")
        if (height, width) != own:
            _, rows, columns = latent_shape(self.model.gx)
            steps = own[0] // rows, own[1] // columns
            if height < steps[0] or width < steps[1]:
                raise DataError(f"a picture of {width} x {height} pixels, expected at least {steps[1]} x {steps[0]}: one place of the latent; scale it up")
            picture = functional.pad(picture[None], (0, -width % steps[1], 0, -height % steps[0]), mode="reflect")[0]
        model = self.task.resized(self.model, (picture.shape[1], picture.shape[2]))
        return StyleMixer(model, self.names), picture.to(next(model.parameters()))


def open_styles(text: str) -> OpenedStyles:
    """The model that ``text`` names: a run folder, ``local-dir:PATH``, ``hf-hub:org/name`` or a registered name.

    Raises:
        ArtifactError: when there is none.
        ConfigError: for a model of another task.
    """
    saved = load(uri_of(text))
    if not isinstance(saved.task, StyleTask):
        raise ConfigError(f"{text} is a model of the task {saved.config.model.task.name!r}, expected one of the task 'style'; train configs/style_amber.toml")
    return opened(saved)


def opened(saved: Pretrained) -> OpenedStyles:
    """The styles of a model of the task ``style``."""
    assert isinstance(saved.task, StyleTask)
    names = saved.config.data.class_names or tuple(map(str, range(saved.config.data.classes)))
    return OpenedStyles(saved.task, saved.model, names)
