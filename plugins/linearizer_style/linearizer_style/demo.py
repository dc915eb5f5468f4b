"""The tab of the demo for styles: mixed, weakened, exaggerated, undone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from linearizer_core.bijections import constant_weights
from linearizer_core.demo import Choice, Control, Fact, Output, Picture, Seed, Shown, Slider, Tab, Weights
from linearizer_core.demo.controls import MOST_WEIGHTS
from linearizer_core.demo.facts import clocked, decibels, duration
from linearizer_core.demo.pictures import picture_shape, showable
from linearizer_core.errors import ConfigError, SingularOperatorError
from linearizer_core.figures.files import eight_bits
from linearizer_core.metrics import psnr
from linearizer_core.pretrained import Pretrained
from linearizer_style.opened import OpenedStyles, opened
from linearizer_style.task import StyleTask

AS_SET, CHANCE = "as set", "by chance"
_LONGEST = 3
_SIDE = 192
"""Pixels of the shorter side of the largest picture: an inverse takes a second there."""


@final
class Styles(Tab):
    r"""A picture under the mix :math:`(1 - \sigma)\, I + \sigma \sum_k w_k A_k`, and back by the inverse of that matrix."""

    title = "Styles"
    explanation = (
        "Each style is a matrix between the same two networks. So styles can be mixed by weight, weakened, exaggerated, and taken off again "
        "by the inverse matrix."
    )
    position = 50

    def lacks(self, pretrained: Pretrained) -> str:
        return "" if isinstance(pretrained.task, StyleTask) else "styles (task `style`)"

    def controls(self, pretrained: Pretrained) -> Sequence[Control]:
        styles, own = opened(pretrained), picture_shape(pretrained)
        names = styles.names[:MOST_WEIGHTS]
        free = _any_size(styles)
        examples = _photos() if free else None
        return [
            Picture(
                "picture",
                "Picture",
                shape=None if free else own,
                examples=pretrained.examples() if examples is None else examples,
                info="the first two are photos by danielbuechele and vultilion, CC BY" if examples is not None else "",
            ),
            Weights("styles", "Styles", names=names, value={names[0]: 1.0}),
            Choice("weights", "Weights", options=(AS_SET, CHANCE), info="by chance: any mix is as likely as any other, and the sum is 1"),
            Slider("strength", "Strength", minimum=0, maximum=1.5, value=1.0, step=0.05, info="0: the picture, 1: the style, beyond 1: more of it"),
            Slider("side", "Shorter side, pixels", minimum=64, maximum=_SIDE, value=128, step=32, info="the picture is scaled first; larger ones take longer"),
            Seed(info="of the weights by chance"),
        ]

    def outputs(self) -> Sequence[Output]:
        return [
            Output("given", "Given", description="the picture, scaled"),
            Output("styled", "In style", description="the picture in the mix of styles"),
            Output("undone", "Style taken off again", description="the styled picture, rounded to 8 bits as in a file, under the inverse matrix"),
        ]

    @torch.no_grad()
    def show(self, pretrained: Pretrained, *, picture: Tensor, styles: dict[str, float], weights: str, strength: float, side: int, seed: int) -> Shown:
        model = opened(pretrained)
        content = (scaled(picture, side) if _any_size(model) else picture).to(next(pretrained.model.parameters()))
        _, height, width = content.shape
        mixer, padded = model.fitted(content)
        chosen = {name: weight for name, weight in (styles if weights == AS_SET else _by_chance(styles, seed)).items() if weight}
        f = mixer.mix(chosen or styles, strength if chosen else 0.0)
        with constant_weights():
            styled, seconds = clocked(lambda: f(padded[None]))
            try:
                back = f.inverse()
            except SingularOperatorError:
                return Shown(
                    {"given": content[None], "styled": showable(styled)[..., :height, :width], "undone": content.new_zeros(1, 3, height, width)},
                    [Fact("Time to apply the style", duration(seconds)), Fact("Undone", "not possible")],
                    "The matrix of this mix has no inverse, so the style cannot be taken off again; move a weight a little.",
                )
            exact, filed = back(styled), back(eight_bits(showable(styled)).to(styled.dtype) / 255)
        shown = {name: showable(each)[..., :height, :width] for name, each in (("given", padded[None]), ("styled", styled), ("undone", filed))}
        before = psnr(shown["styled"], shown["given"])
        unrounded, rounded = (psnr(showable(each)[..., :height, :width], shown["given"]) for each in (exact, filed))
        return Shown(
            shown,
            [
                Fact("Time to apply the style", duration(seconds)),
                Fact("In style, like the picture", decibels(before)),
                Fact("Taken off at once, like the picture", decibels(unrounded)),
                Fact("Taken off a file of 8 bits, like the picture", decibels(rounded)),
            ],
            f"{_mixed(chosen, strength)} The inverse of the matrix takes it off again: {decibels(unrounded)} from the numbers of the network, "
            f"{decibels(rounded)} from a picture in a file, where clipping and rounding to 8 bits cost something.",
        )


def scaled(picture: Tensor, side: int) -> Tensor:
    """A picture ``(3, H, W)`` whose shorter side has ``side`` pixels, or fewer where the longer one would have more than three times as many."""
    _, height, width = picture.shape
    factor = min(side / min(height, width), _LONGEST * side / max(height, width))
    size = round(factor * height), round(factor * width)
    return functional.interpolate(picture[None], size=size, mode="bicubic", antialias=True)[0].clamp(0, 1)


def _by_chance(styles: Iterable[str], seed: int) -> dict[str, float]:
    """Weights that are uniform among those of sum 1: exponential ones, divided by their sum."""
    names = list(styles)
    drawn = torch.empty(len(names), dtype=torch.float64).exponential_(generator=torch.Generator().manual_seed(seed))
    return dict(zip(names, (drawn / drawn.sum()).tolist(), strict=True))


def _mixed(chosen: dict[str, float], strength: float) -> str:
    if not chosen or not strength:
        return "No style at all: the matrix is the identity."
    named = " + ".join(f"{weight:.3g} {name}" for name, weight in chosen.items())
    return f"{named}, at strength {strength:g}, is one matrix."


def _any_size(styles: OpenedStyles) -> bool:
    """Whether the model serves pictures larger than its crops."""
    _, height, width = styles.model.gx.in_shape
    try:
        styles.task.resized(styles.model, (2 * height, 2 * width))
    except ConfigError:
        return False
    return True


@cache
def _photos() -> Tensor | None:
    """The two photos inside scikit-learn ``(2, 3, H, W)``; None without that package."""
    try:
        from sklearn.datasets import load_sample_images
    except ModuleNotFoundError:
        return None
    photos = [torch.from_numpy(photo.copy()).permute(2, 0, 1).float() / 255 for photo in load_sample_images().images]
    return torch.stack([scaled(photo, _SIDE) for photo in photos])
