"""The tab of the demo for films: any time, from one frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from linearizer_core.bijections import constant_weights
from linearizer_core.demo import Choice, Control, Fact, Output, Picture, Seed, Shown, Sketch, Slider, Tab
from linearizer_core.demo.facts import clocked, digits, duration
from linearizer_core.demo.pictures import has_pictures, picture_shape, showable
from linearizer_core.metrics import max_abs_error
from linearizer_core.pretrained import Pretrained
from linearizer_dynamics.demo.orbit import TURNS, bounds, returns_after
from linearizer_dynamics.prediction import decode, encode, generator_of, predict
from linearizer_dynamics.task import DynamicsTask

PICTURE, CHANCE = "the picture", "an example by chance"
_FRAMES = 37
_STRIP = 13


@final
class Dynamics(Tab):
    r"""The frame :math:`g^{-1}(e^{tA} g(x))` at any real t, and the film around it, each frame from the given one alone."""

    title = "Dynamics"
    explanation = (
        "One picture is enough for the whole film: a matrix says how it changes, and its exponential gives the frame at any time, between the frames of a "
        "camera, far beyond them, and backward."
    )
    position = 60

    def lacks(self, pretrained: Pretrained) -> str:
        return missing(pretrained) or ("" if has_pictures(pretrained) else "frames: its states are vectors, see the tab of orbits")

    def controls(self, pretrained: Pretrained) -> Sequence[Control]:
        shape, examples = picture_shape(pretrained), pretrained.examples()
        back, forth = _bounds(pretrained)
        return [
            Sketch("sketch", "Draw the frame at time 0", shape=shape, info="nothing drawn: the picture beside it is taken"),
            Picture("picture", "Or take a picture", shape=shape, examples=examples, optional=examples is None),
            Choice("frame", "Begin with", options=(PICTURE,) if examples is None else (PICTURE, CHANCE)),
            Slider("time", "Time", minimum=-back, maximum=forth, value=round(forth / 12, 4), step=(back + forth) / 400, info="any real number"),
            Slider("span", "Film from minus to plus", minimum=min(back, forth) / 10, maximum=min(back, forth), value=min(back, forth) / 3, step=forth / 100),
            Seed(info="of the example by chance"),
        ]

    def outputs(self) -> Sequence[Output]:
        return [
            Output("frame", "At time 0, and at the time chosen", description="two frames"),
            Output("strip", "From minus to plus", description="frames at equal steps, the given one in the middle"),
            Output("film", "The film", kind="film"),
        ]

    @torch.no_grad()
    def show(self, pretrained: Pretrained, *, sketch: Tensor | None, picture: Tensor | None, frame: str, time: float, span: float, seed: int) -> Shown:
        model, core = pretrained.model, generator_of(pretrained.model)
        examples = pretrained.examples() if frame == CHANCE else None
        drawn = None if examples is None else examples[int(torch.randint(len(examples), (), generator=torch.Generator().manual_seed(seed)))]
        given = next(each for each in (drawn, sketch, picture, _bar(picture_shape(pretrained))) if each is not None)
        x = given[None].to(next(model.parameters()))
        times = torch.linspace(-span, span, _FRAMES, dtype=torch.float64)
        with constant_weights():
            start = encode(model, x[:, None])[:, 0]
            then, seconds = clocked(lambda: predict(model, x, torch.tensor([time], dtype=torch.float64)))
            film = predict(model, x, times)[0]
            there = core.evolve(start, time)
            back = decode(model, core.evolve(there, -time).to(x.dtype)[:, None])[:, 0, : x.shape[1]]
        turn = returns_after(core, start[0])
        chosen = torch.linspace(0, _FRAMES - 1, _STRIP).round().long()
        return Shown(
            {"frame": showable(torch.cat([x, then[0]])), "strip": showable(film[chosen]), "film": showable(film)},
            [
                Fact("Comes back after", f"t = {digits(turn)}" if turn is not None else f"not within {TURNS} turns"),
                Fact("Time for one frame, near or far", duration(seconds)),
                Fact("There and back again, largest error of a pixel", digits(max_abs_error(back, x))),
                Fact("Norm in latent space, at 0 and then", f"{float(start.norm()):.4g} and {float(there.norm()):.4g}"),
            ],
            f"The frame at t = {time:.3g} comes from the one at 0 by one matrix, exp({time:.3g} A), without those between; exp({-time:.3g} A) leads back. "
            "What the model was not trained on, such as another drawing, it moves as well as it can.",
        )


def missing(pretrained: Pretrained) -> str:
    """What any tab of dynamics would need of a model; empty where it has it."""
    if not isinstance(pretrained.task, DynamicsTask):
        return "a flow in continuous time (task `dynamics`)"
    return "free motion: its flow is driven by inputs" if generator_of(pretrained.model).controls else ""


@torch.no_grad()
def _bounds(pretrained: Pretrained) -> tuple[float, float]:
    frame = _bar(picture_shape(pretrained)).to(next(pretrained.model.parameters()))
    return bounds(generator_of(pretrained.model), encode(pretrained.model, frame[None, None])[0, 0])


def _bar(shape: tuple[int, int, int]) -> Tensor:
    """An upright bar with a foot: what to begin with where there is no picture."""
    picture = torch.zeros(shape)
    height, width = shape[1:]
    picture[:, height // 4 : height - height // 4, width // 2 - width // 16 : width // 2 + width // 16 + 1] = 1
    picture[:, height - height // 4 - 1, width // 2 : width - width // 4] = 1
    return picture
