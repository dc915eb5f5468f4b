"""The tab of the demo for projectors: the second time changes nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from linearizer_core.bijections import constant_weights
from linearizer_core.cores import TimeDependentCore
from linearizer_core.demo import Choice, Control, Fact, Output, Picture, Seed, Shown, Sketch, Slider, Tab
from linearizer_core.demo.facts import clocked, decibels, digits, duration
from linearizer_core.demo.pictures import has_pictures, picture_shape, pictures_of, showable
from linearizer_core.errors import ConfigError
from linearizer_core.linearizer import Linearizer
from linearizer_core.metrics import max_abs_error, psnr, relative_error
from linearizer_core.pretrained import Pretrained
from linearizer_ign.corruption import add_noise, blur, invert, occlude
from linearizer_ign.task import IdempotentTask

AMPLIFIED = 1000
NOTHING, NOISE, BLUR, OCCLUSION, INVERSION = "nothing", "noise", "blur", "a grey square", "dark and bright exchanged"
_IDEMPOTENT = 1e-5
_PROBES = 4
_ROUNDING = 1e-3
_NOISIEST, _MOST_BLURRED, _LARGEST_SQUARE = 0.8, 2.0, 0.6


@final
class Project(Tab):
    r"""A picture x, :math:`p(x) = g^{-1}(A\, g(x))` and :math:`p(p(x))`, for any model whose operator is a projector, :math:`A A = A`.

    g is the bijection of `Task.data_space`, so that no label has to be known: of an idempotent network p is the network itself, of a flow onto a subspace the
    projector of its examples onto what the flow can generate.
    """

    title = "Draw and project"
    explanation = (
        "Draw something, or damage a picture: the network puts the nearest thing it knows in its place. Applied to its own output it changes nothing, "
        "since its matrix is a projector."
    )
    position = 20
    favourite = "ign.mnist"

    def lacks(self, pretrained: Pretrained) -> str:
        if not has_pictures(pretrained):
            return "pictures: its examples have another shape"
        return "" if projector_of(pretrained) is not None else "an operator that is a projector, such as that of the task `ign`"

    def controls(self, pretrained: Pretrained) -> Sequence[Control]:
        shape = picture_shape(pretrained)
        return [
            Sketch("sketch", "Draw", shape=shape, info="nothing drawn: the picture beside it is taken"),
            Picture("picture", "Or take a picture", shape=shape, examples=pictures_of(pretrained)),
            Choice(
                "damage",
                "Damage it by",
                options=(NOTHING, NOISE, BLUR, OCCLUSION, INVERSION),
                value=NOISE if isinstance(pretrained.task, IdempotentTask) else NOTHING,
            ),
            Slider("strength", "How much", minimum=0, maximum=1, value=0.5, step=0.05, info="of noise, blur, or the side of the square"),
            Seed(),
        ]

    def outputs(self) -> Sequence[Output]:
        return [
            Output("given", "Given", description="what the network is given"),
            Output("once", "Once", description="what the network makes of it"),
            Output("twice", "Twice", description="what the network makes of its own output"),
            Output("change", f"What the second time changes, x {AMPLIFIED:,}", description="black where nothing changes"),
        ]

    @torch.no_grad()
    def show(self, pretrained: Pretrained, *, sketch: Tensor | None, picture: Tensor, damage: str, strength: float, seed: int) -> Shown:
        p = projector_of(pretrained)
        assert p is not None, "a model that lacks nothing"
        whole = (picture if sketch is None else sketch)[None].to(next(pretrained.model.parameters()))
        given = damaged(whole, damage, strength, torch.Generator(whole.device).manual_seed(seed))
        with constant_weights():
            once, seconds = clocked(lambda: p(given))
            twice = p(once)
        change = max_abs_error(twice, once)
        facts = [
            Fact("Largest change of a pixel, first time", digits(max_abs_error(once, given))),
            Fact("Largest change of a pixel, second time", digits(change)),
            Fact("Directions kept", f"{p.rank():,} of {p.domain.dim:,}"),
            Fact("Time, once", duration(seconds)),
        ]
        if damage != NOTHING:
            before, after = psnr(given, whole), psnr(showable(once), whole)
            facts.append(Fact("Like the undamaged picture", f"{decibels(before)} before, {decibels(after)} after"))
        return Shown(
            {"given": given, "once": showable(once), "twice": showable(twice), "change": showable(AMPLIFIED * (twice - once).abs())},
            facts,
            _sentence(change, float(once.abs().max())),
        )


def _sentence(change: float, largest: float) -> str:
    if change <= _ROUNDING:
        return (
            f"The second time changes no pixel by more than {digits(change)}, which is rounding. What comes out need not be what you meant: it is the picture "
            "that agrees with yours in the coordinates that the network keeps."
        )
    return (
        f"In exact arithmetic the second time would change nothing. Here it changes a pixel by {digits(change)}: so far off its data the bijection of this "
        f"model stretches numbers, up to {digits(largest)}, and the rounding of 32 bits with them. Try a picture that is not damaged."
    )


def projector_of(pretrained: Pretrained) -> Linearizer | None:
    """:math:`g^{-1} A g` in the space where examples meet; None unless A A = A there, with something kept and something left out."""
    model = pretrained.model
    if pretrained.operator is None and (model.core.conditions or isinstance(model.core, TimeDependentCore)):
        return None
    operator = model.core.operator() if pretrained.operator is None else pretrained.operator
    try:
        space = pretrained.task.data_space(model)
    except ConfigError:
        return None
    if operator.shape != (space.dim, space.dim):
        return None
    z = torch.randn(_PROBES, space.dim, generator=torch.Generator().manual_seed(0)).to(next(model.parameters()))
    with torch.no_grad():
        once = operator(z)
        kept, left = bool(once.any()), relative_error(once, z) > _IDEMPOTENT
        return Linearizer(space, operator) if kept and left and relative_error(operator(once), once) < _IDEMPOTENT else None


def damaged(x: Tensor, damage: str, strength: float, generator: torch.Generator) -> Tensor:
    """Pictures ``(B, C, H, W)`` damaged in one way, ``strength`` in [0, 1], clipped to [0, 1] as they are shown."""
    amount = torch.full((len(x),), strength, device=x.device)
    pixels = math.sqrt(x.shape[-1] * x.shape[-2]) / 28
    match damage:
        case "noise":
            return add_noise(x, _NOISIEST * amount, generator).clamp(0, 1)
        case "blur":
            return blur(x, _MOST_BLURRED * pixels * amount).clamp(0, 1)
        case "a grey square":
            return occlude(x, _LARGEST_SQUARE * amount, generator)
        case "dark and bright exchanged":
            return invert(x)
    return x
