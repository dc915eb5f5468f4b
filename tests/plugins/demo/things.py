"""A tab that has every kind of control and of output, and one that cannot be satisfied: what plugins may bring, without their mathematics."""

from __future__ import annotations

from typing import Any

import torch

from linearizer_core.demo import Choice, Control, Fact, Output, Picture, Seed, Shown, Sketch, Slider, Tab, Toggle, Weights
from linearizer_core.errors import ConfigError
from linearizer_core.pretrained import Pretrained


class Everything(Tab):
    """Samples, scaled and mixed with what is given."""

    title = "Everything"
    explanation = "Set *anything* and see it."
    position = 1

    def lacks(self, pretrained: Pretrained) -> str:
        return ""

    def controls(self, pretrained: Pretrained) -> list[Control]:
        shape = pretrained.config.data.shape
        assert len(shape) == 3
        names = ("one", "two", "three")[: shape[0] + 1]
        return [
            Slider("count", "Count", minimum=1, maximum=8, value=4, info="How many."),
            Slider("strength", "Strength", minimum=0, maximum=2, value=1, step=0.05),
            Seed(),
            Choice("mood", "Mood", options=("calm", "loud")),
            Toggle("upside_down", "Upside down"),
            Weights("parts", "Parts", names=names, value={"one": 1.0}),
            Picture("picture", "Picture", shape=shape, examples=pretrained.examples(), optional=pretrained.examples() is None),
            Sketch("drawing", "Drawing", shape=shape),
        ]

    def outputs(self) -> list[Output]:
        return [
            Output("samples", "Samples", description="Samples in a row."),
            Output("given", "Given"),
            Output("change", "Change", kind="film"),
            Output("curve", "Curve", kind="figure"),
        ]

    def show(self, pretrained: Pretrained, **values: Any) -> Shown:
        if values["mood"] == "loud" and values["strength"] == 0:
            raise ConfigError("strength = 0 is not loud <b>; raise it")
        if values["seed"] == 13:
            raise RuntimeError("secret detail")
        samples = pretrained.sample(values["count"], seed=values["seed"]).clamp(0, 1) * values["strength"] / 2
        given = [x for x in (values["picture"], values["drawing"]) if x is not None] or [torch.zeros(pretrained.config.data.shape)]
        shown = samples.flip(-2) if values["upside_down"] else samples
        film = torch.stack([samples[0] * step / 4 for step in range(5)])
        from linearizer_demo.images import png

        facts = [Fact("Sum", f"{float(samples.sum()):.4f}"), Fact("Weights", " ".join(f"{name} {weight:g}" for name, weight in values["parts"].items()))]
        outputs = {"samples": shown, "given": torch.stack(given), "change": film, "curve": png(samples[0])}
        return Shown(outputs, facts, f"Mood `{values['mood']}`, <i>as it is</i>.")


class Never(Tab):
    """A tab that no model can serve."""

    title = "Never"
    explanation = "Nothing."

    def lacks(self, pretrained: Pretrained) -> str:
        return "wings"

    def controls(self, pretrained: Pretrained) -> list[Control]:
        raise AssertionError

    def outputs(self) -> list[Output]:
        raise AssertionError

    def show(self, pretrained: Pretrained, **values: Any) -> Shown:
        raise AssertionError
