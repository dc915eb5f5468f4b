"""The tab of the demo for operators: singular values, singular vectors, and pictures rebuilt from the first of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from matplotlib.figure import Figure
from torch import Tensor

from linearizer_core.bijections import constant_weights
from linearizer_core.cores import TimeDependentCore
from linearizer_core.demo import Choice, Control, Fact, Output, Picture, Seed, Shown, Slider, Tab
from linearizer_core.demo.facts import decibels, digits
from linearizer_core.demo.pictures import has_pictures, picture_shape, pictures_of, showable
from linearizer_core.figures.panels import LINE, MUTED, as_png
from linearizer_core.metrics import psnr
from linearizer_core.operators.flow import FlowSummary
from linearizer_core.pretrained import Pretrained
from linearizer_studies.demo.chance import CHOSEN, pictures_by_seed, sources
from linearizer_studies.demo.operators import operator_of, space_of
from linearizer_studies.triplets import Triplets, triplets

_PLACES = 9
_STRENGTH = 2.0
_SAME = 1e-3


@final
class Inside(Tab):
    r""":math:`A = \sum_i s_i\, u_i v_i^T` of a trained model: the s, the line :math:`g^{-1}(g(x) + a\,u_i)`, and x from the first k terms.

    A flow maps noise to pictures; there x is rebuilt from the noise that the pseudo-inverse of the first k terms finds for it, :math:`U_k U_k^T g(x)`.
    """

    title = "Look inside"
    explanation = (
        "Inside a linearizer is a matrix, and a matrix can be taken apart into single directions, the strongest first. "
        "See how strong they are, what one of them does to a picture, and how few of them are enough to rebuild it."
    )
    position = 40
    favourite = "flow.mnist"

    def lacks(self, pretrained: Pretrained) -> str:
        if not has_pictures(pretrained):
            return "pictures: its examples have another shape"
        operator, space = operator_of(pretrained), space_of(pretrained)
        if operator is None:
            return "one operator from pictures, or noise, to pictures"
        return "" if space is not None and operator.shape == (space.dim, space.dim) else "one space for pictures of all kinds"

    def controls(self, pretrained: Pretrained) -> Sequence[Control]:
        operator, shape = operator_of(pretrained), picture_shape(pretrained)
        assert operator is not None, "a model that lacks nothing"
        rank = max(1, FlowSummary.of(operator).rank)
        return [
            Choice("pictures", "Pictures", options=sources(pretrained)),
            Picture("picture", "Picture", shape=shape, examples=pictures_of(pretrained)),
            Slider("kept", "Directions kept", minimum=1, maximum=rank, value=max(1, rank // 4), info="the picture is rebuilt from the strongest ones"),
            Slider("number", "One direction", minimum=1, maximum=rank, value=1, info="the picture is moved along it"),
            Seed(info="of the picture, where it is not chosen"),
        ]

    def outputs(self) -> Sequence[Output]:
        return [
            Output("rebuilt", "Given, rebuilt from the directions kept, and from all", description="three pictures"),
            Output("moved", "The picture, moved along one direction", description="back on the left, forth on the right, itself in the middle"),
            Output("values", "Singular values", kind="figure", description="how strong each direction is, with the last one kept marked"),
        ]

    @torch.no_grad()
    def show(self, pretrained: Pretrained, *, pictures: str, picture: Tensor, kept: int, number: int, seed: int) -> Shown:
        operator, space = operator_of(pretrained), space_of(pretrained)
        assert operator is not None, "a model that lacks nothing"
        assert space is not None, "a model that lacks nothing"
        x = picture[None] if pictures == CHOSEN else pictures_by_seed(pretrained, 1, seed)
        x = x.to(next(pretrained.model.parameters()))
        with constant_weights():
            latents = space.to_latent(torch.cat([x, _others(pretrained, x)]))
            z, others = latents[:1].double(), latents[1:].double()
            from_noise = isinstance(pretrained.model.core, TimeDependentCore)
            found = triplets(operator, others, of_outputs=from_noise)
            direction = found.left[:, min(number, len(found.values)) - 1]
            size = float((torch.cat([z, others]) @ found.left).square().mean().sqrt())
            moved = z + size * torch.linspace(-_STRENGTH, _STRENGTH, _PLACES, dtype=z.dtype, device=z.device)[:, None] * direction
            points = torch.cat([_rebuilt(found, z, kept, from_noise=from_noise), _rebuilt(found, z, len(found.values), from_noise=from_noise), moved])
            made = showable(space.from_latent(points.to(x.dtype)))
        part, whole = made[:1], made[1:2]
        return Shown(
            {"rebuilt": torch.cat([x, part, whole]), "moved": made[2:], "values": _plot(found.values, kept)},
            [
                Fact(f"Rebuilt from {min(kept, len(found.values))}", decibels(psnr(part, x))),
                Fact(f"Rebuilt from all {len(found.values):,}", decibels(psnr(whole, x))),
                Fact("Dimensions of the space", f"{space.dim:,}"),
                Fact("Strongest and weakest direction", f"{digits(float(found.values[0]))} and {digits(float(found.values[-1]))}"),
            ],
            f"The picture has {space.dim:,} numbers; {min(kept, len(found.values))} coordinates along the strongest directions rebuild it at "
            f"{decibels(psnr(part, x))}, all {len(found.values):,} at {decibels(psnr(whole, x))}. {_alike(found)}",
        )


def _others(pretrained: Pretrained, x: Tensor) -> Tensor:
    """Pictures that put equally strong directions in order: all examples but the one that is to be rebuilt."""
    known = pictures_of(pretrained)
    if known is None:
        return x[:0]
    known = known.to(x)
    return known[(known - x).abs().flatten(1).amax(1) > _SAME]


def _rebuilt(found: Triplets, z: Tensor, rank: int, *, from_noise: bool) -> Tensor:
    left, right = found.left[:, :rank], found.right[:, :rank]
    return z @ left @ left.mT if from_noise else (z @ right * found.values[:rank]) @ left.mT


def _alike(found: Triplets) -> str:
    if float(found.values[0]) > 1.001 * float(found.values[-1]):
        return "The curve tells how strongly the operator uses each direction."
    return "All are equally strong here, so they are put in the order in which other examples use them."


def _plot(values: Tensor, kept: int) -> bytes:
    figure = Figure(figsize=(6.4, 3.0), layout="constrained")
    axis = figure.subplots()
    axis.plot(range(1, len(values) + 1), values.tolist(), color=LINE, marker=".", markersize=4, linewidth=1)
    axis.axvline(kept, color=MUTED, linestyle="--", linewidth=1, label="last one kept")
    if float(values[0]) > 10 * float(values[-1]):
        axis.set_yscale("log")
    else:
        axis.set_ylim(bottom=0)
    axis.set_xlabel("direction", color=MUTED)
    axis.set_ylabel("singular value", color=MUTED)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8)
    return as_png(figure, "Singular values")
