"""For each check of a tab one that is wrong in just that respect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from linearizer_core.bijections import Chain, FixedOrthogonal, Flatten
from linearizer_core.condition import Condition
from linearizer_core.config import Component, ModelConfig
from linearizer_core.cores import CoreOperator
from linearizer_core.data import DataInfo, Splits
from linearizer_core.demo import Control, Fact, Output, Picture, Seed, Shown, Sketch, Slider, Tab, Toggle
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import Diagonal, LinearOperator
from linearizer_core.pretrained import Pretrained
from linearizer_core.pretrained.artifact import ArtifactConfig
from linearizer_core.task import BuildContext, Report, Stage, Task
from linearizer_core.testing import Subject, TabSubject


class Halving(CoreOperator):
    def __init__(self, dim: int) -> None:
        super().__init__((dim, dim))
        self.factor = torch.nn.Parameter(torch.full((dim,), 0.5))

    def operator(self, condition: Condition | None = None) -> LinearOperator:
        return Diagonal(self.factor)


class NoTask(Task):
    def build(self, context: BuildContext) -> LinearizerModel:
        raise NotImplementedError

    def stages(self) -> list[Stage]:
        raise NotImplementedError

    def evaluate(self, model: LinearizerModel, splits: Splits, folder: Path, *, operator: LinearOperator | None = None) -> Report:
        raise NotImplementedError


def by_hand(side: int) -> Pretrained:
    """A model that halves pictures."""
    model = LinearizerModel(Chain(Flatten((1, side, side)), FixedOrthogonal((side**2,), seed=0)), Halving(side**2)).eval()
    name = Component(name="by-hand")
    return Pretrained(
        NoTask(), model, ArtifactConfig(model=ModelConfig(task=name, backbone=name, core=name), data=DataInfo(name="none", shape=(1, side, side)))
    )


class Darkened(Tab):
    """Right: a picture, less bright, with a little noise."""

    title = "Darker"
    explanation = "Scale a picture in the space where the network is linear."
    declared = (Output("dark", "Darker"), Output("fade", "How it fades", kind="film"))

    def lacks(self, pretrained: Pretrained) -> str:
        return ""

    def controls(self, pretrained: Pretrained) -> Sequence[Control]:
        shape = pretrained.config.data.shape
        assert len(shape) == 3
        return [
            Picture("picture", "Picture", shape=shape),
            Sketch("sketch", "Or draw one", shape=shape),
            Slider("noise", "Noise", minimum=0, maximum=1, value=0.5, step=0.1),
            Toggle("grey", "On grey"),
            Seed(),
        ]

    def outputs(self) -> Sequence[Output]:
        return self.declared

    def noise(self, picture: torch.Tensor, seed: int) -> torch.Tensor:
        return torch.rand(picture.shape, generator=torch.Generator().manual_seed(seed))

    @torch.no_grad()
    def show(self, pretrained: Pretrained, *, picture: torch.Tensor, sketch: torch.Tensor | None, noise: float, grey: bool, seed: int) -> Shown:
        given = picture if sketch is None else sketch
        dark = (pretrained.linearizer()(given[None]) + noise * self.noise(given, seed) + 0.2 * grey).clamp(0, 1)
        return Shown({"dark": dark, "fade": torch.cat([given[None], dark])}, [Fact("noise", f"{noise:g}")], "The picture is darker.")


class Nameless(Darkened):
    explanation = ""


class Wordless(Darkened):
    def lacks(self, pretrained: Pretrained) -> str:
        return None  # type: ignore[return-value]


class OtherControls(Darkened):
    """Offers a seed for the smaller model alone."""

    def controls(self, pretrained: Pretrained) -> Sequence[Control]:
        return super().controls(pretrained)[: 5 if pretrained.model.gx.dim == 16 else 4]

    def show(self, pretrained: Pretrained, *, seed: int = 0, **values: Any) -> Shown:
        return super().show(pretrained, seed=seed, **values)


class RefusesTheFirst(Darkened):
    def controls(self, pretrained: Pretrained) -> Sequence[Control]:
        return [*super().controls(pretrained), Slider("late", "Late", minimum=0, maximum=1, value=2)]


class LacksALot(Darkened):
    """Says that it can use every model, and cannot use larger ones."""

    def show(self, pretrained: Pretrained, **values: Any) -> Shown:
        shown = super().show(pretrained, **values)
        return shown if pretrained.model.gx.dim == 16 else Shown({}, shown.facts, shown.sentence)


class TooBright(Darkened):
    def show(self, pretrained: Pretrained, *, grey: bool, **values: Any) -> Shown:
        shown = super().show(pretrained, grey=grey, **values)
        return Shown({**shown.outputs, "dark": 3 * torch.ones(1, 1, 4, 4)}, shown.facts, shown.sentence) if grey else shown


class Careless(Darkened):
    def noise(self, picture: torch.Tensor, seed: int) -> torch.Tensor:
        return torch.rand(picture.shape)


class Wearing(Darkened):
    """Changes the model a little whenever it is shown, and too little to be seen."""

    @torch.no_grad()
    def show(self, pretrained: Pretrained, **values: Any) -> Shown:
        shown = super().show(pretrained, **values)
        pretrained.model.get_parameter("core.factor")[0] *= 1 + 2e-7
        return Shown({name: torch.zeros_like(torch.as_tensor(value)) for name, value in shown.outputs.items()}, shown.facts, shown.sentence)


class OneFrame(Darkened):
    def show(self, pretrained: Pretrained, **values: Any) -> Shown:
        shown = super().show(pretrained, **values)
        return Shown({**shown.outputs, "fade": shown.outputs["dark"]}, shown.facts, shown.sentence)


class Drawn(Darkened):
    declared = (Output("dark", "Darker", kind="figure"), Output("fade", "How it fades", kind="film"))


class Silent(Darkened):
    def show(self, pretrained: Pretrained, **values: Any) -> Shown:
        return Shown(super().show(pretrained, **values).outputs)


def _subject(tab: type[Tab]) -> TabSubject:
    return TabSubject(tab, models={"small": by_hand(4), "large": by_hand(6)})


RIGHT: Subject = _subject(Darkened)
WRONG: dict[str, Subject] = {
    "described": _subject(Nameless),
    "lacks": _subject(Wordless),
    "controls": _subject(OtherControls),
    "shows": _subject(LacksALot),
    "ends": _subject(TooBright),
    "deterministic": _subject(Careless),
}
ALSO: dict[str, set[str]] = {"shows": {"deterministic"}}  # which shows the other models too
MORE: list[tuple[str, Subject, str]] = [
    ("controls", _subject(RefusesTheFirst), "late refuses the value it begins with"),
    ("deterministic", _subject(Wearing), "changed 'core.factor' of the model"),
    ("shows", _subject(OneFrame), "fade is one frame, expected at least two"),
    ("shows", _subject(Drawn), "dark is a Tensor, expected the bytes of a PNG file"),
    ("shows", _subject(Silent), "a sentence on what is to be seen"),
]
