"""The tab of the demo for states of two or three numbers: the orbit through one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import final

import torch
from matplotlib.figure import Figure
from torch import Tensor

from linearizer_core.bijections import Chain, constant_weights
from linearizer_core.demo import Choice, Control, Fact, Output, Seed, Shown, Slider, Tab, Toggle
from linearizer_core.demo.facts import clocked, digits, duration
from linearizer_core.figures.panels import INK, MUTED, as_png
from linearizer_core.pretrained import Pretrained
from linearizer_dynamics.data.integrate import integrate
from linearizer_dynamics.demo.frames import missing
from linearizer_dynamics.demo.orbit import TURNS, bounds, returns_after
from linearizer_dynamics.figures import PREDICTED, TRUE
from linearizer_dynamics.known import known_system
from linearizer_dynamics.prediction import encode, generator_of, predict
from linearizer_dynamics.standardize import Standardize

AS_SET, CHANCE = "as set", "by chance"
_COORDINATES = ("x1", "x2", "x3")
_POINTS = 241
_STEP = 0.02
_REACH = 2.0
_SEEN = 2.0
_UNUSED = "no coordinate of this model"


@final
class Orbits(Tab):
    r"""The orbit :math:`g^{-1}(e^{tA} g(x))` through a state x, forth and back, beside the solution of the true equations where they are known."""

    title = "Orbits"
    explanation = (
        "A swinging pendulum obeys a bent law, and yet a straight one, a matrix, foretells it here: the network bends the world until the law is straight. "
        "Choose where it starts."
    )
    position = 70
    favourite = "dynamics.pendulum"

    def lacks(self, pretrained: Pretrained) -> str:
        shape = pretrained.config.data.shape
        return missing(pretrained) or ("" if len(shape) == 1 and 2 <= shape[0] <= len(_COORDINATES) else "states of two or three numbers")

    def controls(self, pretrained: Pretrained) -> Sequence[Control]:
        ranges = _ranges(pretrained)
        starts = []
        for number, name in enumerate(_COORDINATES):
            if number < len(ranges):
                low, high = ranges[number]
                start = low + (high - low) * (0.7 if number == 0 else 0.5)
                starts.append(Slider(name, name, minimum=low, maximum=high, value=round(start, 3), step=round((high - low) / 100, 6)))
            else:
                starts.append(Slider(name, name, minimum=0.0, maximum=1.0, value=0.0, step=0.1, info=_UNUSED))
        _, forth = _bounds(pretrained)
        return [
            *starts,
            Choice("start", "Start", options=(AS_SET, CHANCE), info="by chance: anywhere in the range of the sliders above"),
            Slider("time", "Time", minimum=forth / 20, maximum=forth, value=forth / 2, step=forth / 100, info="how far the orbit is followed"),
            Toggle("back", "Backward too", info="as far as it can be, in light blue"),
            Seed(info="of the start by chance"),
        ]

    def outputs(self) -> Sequence[Output]:
        return [
            Output("orbit", "The orbit", kind="figure", description="the first two coordinates against each other"),
            Output("course", "Over time", kind="figure", description="each coordinate over time"),
        ]

    @torch.no_grad()
    def show(self, pretrained: Pretrained, *, x1: float, x2: float, x3: float, start: str, time: float, back: bool, seed: int) -> Shown:
        model, core = pretrained.model, generator_of(pretrained.model)
        state = [x1, x2, x3][: pretrained.config.data.shape[0]] if start == AS_SET else _by_chance(_ranges(pretrained), seed)
        x = torch.tensor([state]).to(next(model.parameters()))
        past = -min(time, _bounds(pretrained)[0]) if back else 0.0
        times = torch.cat([torch.linspace(past, 0, _POINTS if back else 1, dtype=torch.float64), torch.linspace(0, time, _POINTS, dtype=torch.float64)[1:]])
        with constant_weights():
            found, seconds = clocked(lambda: predict(model, x, times)[0].double().cpu())
            z = encode(model, x[:, None])[0, 0]
            end = core.evolve(z, time)
        true = _true(pretrained.config.data.name, x[0].double().cpu(), times)
        turn = returns_after(core, z)
        facts = [
            Fact("Comes back after", f"t = {digits(turn)}" if turn is not None else f"not within {TURNS} turns"),
            Fact(f"Time for {len(times)} states", duration(seconds)),
            Fact("Norm in latent space, at 0 and at the end", f"{float(z.norm()):.4g} and {float(end.norm()):.4g}"),
        ]
        ahead = times >= 0
        if start == CHANCE:
            facts.append(Fact("Start by chance", ", ".join(f"{name} = {value:.3g}" for name, value in zip(_COORDINATES, state, strict=False))))
        if true is not None:
            distance = float((found - true)[ahead].norm(dim=1).mean() / true[ahead].norm(dim=1).mean())
            facts.append(Fact("Ahead: mean distance from the true orbit, of its size", f"{distance:.1%}"))
            true = true.where(true.abs() <= _SEEN * found.abs().max(), torch.nan)  # what leaves the picture would make all else small
        return Shown(
            {"orbit": _orbit(found, true, ahead), "course": _course(found, true, times, ahead)},
            facts,
            "Blue: every state follows from the start by one matrix exponential, without those between. "
            + (
                "Grey: the true equations, solved step by step. They agree where the model was trained; far outside they need not."
                if true is not None
                else "There is no true orbit to compare with: the equations are not known here."
            ),
        )


def _scale(pretrained: Pretrained) -> tuple[Tensor, Tensor]:
    """The middle and the reach of each coordinate: mean and twice the deviation of the training data, where the model holds them."""
    size = pretrained.config.data.shape[0]
    g = pretrained.model.gx
    if isinstance(g, Chain) and isinstance(g[0], Standardize):
        return g[0].mean[:size].double(), _REACH * g[0].deviation[:size].double()
    return torch.zeros(size, dtype=torch.float64), torch.full((size,), _REACH, dtype=torch.float64)


def _ranges(pretrained: Pretrained) -> list[tuple[float, float]]:
    """From where to where each coordinate may start."""
    mean, reach = _scale(pretrained)
    low, high = ([float(f"{each:.2g}") for each in bound.tolist()] for bound in (mean - reach, mean + reach))
    return list(zip(low, high, strict=True))


def _by_chance(ranges: Sequence[tuple[float, float]], seed: int) -> list[float]:
    """A state of which every coordinate is uniform in its range."""
    low, high = torch.tensor(ranges, dtype=torch.float64).mT
    drawn: list[float] = (low + (high - low) * torch.rand(len(ranges), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))).tolist()
    return drawn


@torch.no_grad()
def _bounds(pretrained: Pretrained) -> tuple[float, float]:
    mean, reach = _scale(pretrained)
    x = (mean + reach * torch.eye(len(mean))[0] * 0.4).to(next(pretrained.model.parameters()))
    return bounds(generator_of(pretrained.model), encode(pretrained.model, x[None, None])[0, 0])


def _true(data: str, x: Tensor, times: Tensor) -> Tensor | None:
    """The states at ``times`` ``(T,)`` that the equations give, back and forth; None where they are not known."""
    system = known_system(data)
    if system is None:
        return None
    ahead, past = times[times >= 0], -times[times < 0].flip(0)
    backward = replace(system, field=lambda state: -system.field(state))
    parts = [integrate(each, x[None], part[None], largest_step=_STEP)[0] for each, part in ((backward, past), (system, ahead)) if len(part)]
    return torch.cat([parts[0].flip(0), parts[1]]) if len(parts) == 2 else parts[0]


def _orbit(found: Tensor, true: Tensor | None, ahead: Tensor) -> bytes:
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axis = figure.subplots()
    if true is not None:
        axis.plot(true[:, 0], true[:, 1], color=TRUE, linewidth=4, label="true")
    axis.plot(found[~ahead, 0], found[~ahead, 1], color=PREDICTED, alpha=0.4, linewidth=1.4)
    axis.plot(found[ahead, 0], found[ahead, 1], color=PREDICTED, linewidth=1.4, label="by one exponential")
    start = int(ahead.double().argmax())
    axis.scatter([float(found[start, 0])], [float(found[start, 1])], color=INK, s=24, zorder=3, label="start")
    axis.set_xlabel("$x_1$", color=MUTED)
    axis.set_ylabel("$x_2$", color=MUTED)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8, labelcolor=INK)
    return as_png(figure, "The orbit")


def _course(found: Tensor, true: Tensor | None, times: Tensor, ahead: Tensor) -> bytes:
    figure = Figure(figsize=(6.4, 1.5 * found.shape[1] + 0.6), layout="constrained")
    axes = figure.subplots(found.shape[1], 1, squeeze=False, sharex=True)[:, 0]
    for number, axis in enumerate(axes):
        if true is not None:
            axis.plot(times, true[:, number], color=TRUE, linewidth=4)
        axis.plot(times[~ahead], found[~ahead, number], color=PREDICTED, alpha=0.4, linewidth=1.4)
        axis.plot(times[ahead], found[ahead, number], color=PREDICTED, linewidth=1.4)
        axis.set_ylabel(f"$x_{number + 1}$", color=MUTED)
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel("t", color=MUTED)
    return as_png(figure, "Over time")
