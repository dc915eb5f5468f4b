"""The tab of the demo for induced spaces: lines and sums of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from linearizer_core.bijections import constant_weights
from linearizer_core.demo import Choice, Control, Fact, Output, Picture, Seed, Shown, Slider, Tab, Toggle
from linearizer_core.demo.facts import clocked, digits, duration
from linearizer_core.demo.pictures import has_pictures, picture_shape, pictures_of, showable
from linearizer_core.linearizer import Linearizer
from linearizer_core.metrics import max_abs_error
from linearizer_core.operators import LinearOperator
from linearizer_core.pretrained import Pretrained
from linearizer_studies.demo.chance import CHOSEN, pictures_by_seed, sources
from linearizer_studies.demo.operators import operator_of, space_of

LINE = "from the first to the second"
SUM = "the first plus more and more of the second"
DIFFERENCE = "the first minus more and more of the second"
SCALED = "the first, from 0 to 2 times"
MEAN = "the first, towards the mean of all examples"
_SHOWN = 9
_SMALL = 32 * 32


@final
class Walk(Tab):
    r"""The points :math:`g^{-1}(p + w\,q)` for a line, a sum, a difference, a multiple or a mean, beside the same in pixels."""

    title = "Walk the space"
    explanation = (
        "In the space of the network pictures can be added, scaled and averaged like arrows, and a straight line leads from any picture to any other. "
        "Compare what lies on the way with a plain mixture of pixels."
    )
    position = 30
    favourite = "flow.mnist"

    def lacks(self, pretrained: Pretrained) -> str:
        if not has_pictures(pretrained):
            return "pictures: its examples have another shape"
        return "" if space_of(pretrained) is not None else "one space for pictures of all kinds"

    def controls(self, pretrained: Pretrained) -> Sequence[Control]:
        shape, examples = picture_shape(pretrained), pictures_of(pretrained)
        other = 0 if examples is None else len(examples) // 2
        return [
            Choice("pictures", "Pictures", options=sources(pretrained)),
            Picture("first", "First picture", shape=shape, examples=examples),
            Picture("second", "Second picture", shape=shape, examples=examples, value=other),
            Choice("way", "The way", options=(LINE, SUM, DIFFERENCE, SCALED, MEAN)),
            Toggle("kept", "Only what the network keeps", value=_loses(pretrained), info="project both pictures first, where the operator drops something"),
            Slider("frames", "Frames", minimum=9, maximum=33, value=25 if shape[1] * shape[2] <= _SMALL else 13),
            Seed(info="of the two pictures, where they are not chosen"),
        ]

    def outputs(self) -> Sequence[Output]:
        return [
            Output("induced", "In the space of the network", description="pictures on the way, left to right"),
            Output("pixels", "In pixels", description="the same way as a mixture of pixels"),
            Output("film", "Both as a film: the network left, pixels right", kind="film"),
        ]

    @torch.no_grad()
    def show(self, pretrained: Pretrained, *, pictures: str, first: Tensor, second: Tensor, way: str, kept: bool, frames: int, seed: int) -> Shown:
        space = space_of(pretrained)
        assert space is not None, "a model that lacks nothing"
        ends = torch.stack([first, second]) if pictures == CHOSEN else pictures_by_seed(pretrained, 2, seed)
        ends = ends.to(next(pretrained.model.parameters()))
        examples = pretrained.examples() if way == MEAN else None
        others = ends if examples is None else examples.to(ends)
        operator = operator_of(pretrained) if kept else None
        projected = operator is not None and operator.shape == (space.dim, space.dim) and _drops(operator)
        with constant_weights():
            if projected and operator is not None:
                projector = Linearizer(space, operator).range_projector()
                ends, others = projector(ends), projector(others)
            latents, seconds = clocked(lambda: _walked(space.to_latent(ends), space.to_latent(others), way, frames))
            induced, decoding = clocked(lambda: space.from_latent(latents))
        pixels = _walked(ends.flatten(1), others.flatten(1), way, frames).reshape(induced.shape)
        chosen = torch.linspace(0, frames - 1, _SHOWN).round().long()
        facts = [Fact(f"Time for {frames} pictures", duration(seconds + decoding))]
        if way == LINE:
            facts.append(Fact("The ends come back within", digits(max_abs_error(induced[[0, -1]], ends))))
        return Shown(
            {"induced": showable(induced[chosen]), "pixels": showable(pixels[chosen]), "film": torch.cat([showable(induced), showable(pixels)], dim=-1)},
            facts,
            _SENTENCES[way] + (" Both ways run between what the network keeps of the pictures." if projected else ""),
        )


_SENTENCES = {
    LINE: "The upper row is a straight line in the space of the network, the lower one a mixture of pixels, where half-way both pictures are seen through "
    "each other. The more a network has bent its space, the more the two differ.",
    SUM: "Addition as the network sees it, u (+) w v, for w from 0 to 1; in pixels a sum only gets brighter.",
    DIFFERENCE: "Subtraction as the network sees it, u (-) w v, for w from 0 to 1; in pixels a difference only gets darker.",
    SCALED: "Multiples of one picture, from none of it to twice of it. The first picture is the zero of the space: not black, but the point that the network "
    "takes for nothing.",
    MEAN: "A straight line to the mean of all examples, taken in the space of the network and in pixels, where it is a blur.",
}


def _walked(ends: Tensor, others: Tensor, way: str, frames: int) -> Tensor:
    """The points ``(frames, D)`` of a way between the two rows of ``ends`` ``(2, D)``, or to the mean of ``others`` ``(N, D)``."""
    first, second = ends
    ways: dict[str, tuple[Tensor, Tensor, float]] = {
        LINE: (first, second - first, 1.0),
        SUM: (first, second, 1.0),
        DIFFERENCE: (first, -second, 1.0),
        SCALED: (torch.zeros_like(first), first, 2.0),
        MEAN: (first, others.mean(0) - first, 1.0),
    }
    start, step, last = ways[way]
    return start + torch.linspace(0, last, frames, device=ends.device, dtype=ends.dtype)[:, None] * step


def _loses(pretrained: Pretrained) -> bool:
    """Whether the operator of a model drops something."""
    operator = operator_of(pretrained)
    return operator is not None and _drops(operator)


def _drops(operator: LinearOperator) -> bool:
    return operator.rank() < operator.shape[0]
