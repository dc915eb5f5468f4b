"""The tabs of dynamics: films and orbits."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from linearizer_core.condition import Condition
from linearizer_core.config import Component
from linearizer_core.cores import GeneratorCore
from linearizer_core.data import DataInfo
from linearizer_core.factory import create_core
from linearizer_core.operators import DecayRotation
from linearizer_core.pretrained import Pretrained
from linearizer_core.pretrained.examples import EXAMPLES, draw_examples
from linearizer_core.testing import TabSubject, run_checks
from linearizer_dynamics.config import KoopmanaePendulumConfig
from linearizer_dynamics.data.swing import Swing
from linearizer_dynamics.demo import frames
from linearizer_dynamics.demo.frames import Dynamics
from linearizer_dynamics.demo.orbit import bounds, returns_after
from linearizer_dynamics.demo.orbits import CHANCE, Orbits, _by_chance, _ranges, _true
from linearizer_dynamics.prediction import predict

from .models import fact, made, picture, require_seeded, shown

FILMS, ORBITS = Dynamics(), Orbits()
SMALL = Component(name="coupling", levels=[], dense={"couplings": 2, "width": 16})
TURNING = Component(name="generator", spectrum="conservative", frequency=2 * math.pi, harmonics=2)


def dynamics(shape: tuple[int, ...], core: Component = TURNING, name: str = "none", **task: object) -> Pretrained:
    return made(Component(name="dynamics", **task), core, DataInfo(name=name, shape=shape), SMALL)


@pytest.fixture(scope="module")
def films() -> dict[str, Pretrained]:
    plain = dynamics((1, 8, 8))
    examples = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return {
        "plain": plain,
        "examples": dataclasses.replace(plain, pictures={EXAMPLES: draw_examples(examples)}),
        "dense": dynamics((1, 6, 6), Component(name="generator", structure="dense")),
        "padded": dynamics((1, 6, 6), padding=1),
    }


@pytest.fixture(scope="module")
def orbits() -> dict[str, Pretrained]:
    return {
        "pendulum": dynamics((2,), name="pendulum"),
        "unknown": dynamics((3,), Component(name="generator", spectrum="stable")),
        "bent": dynamics((2,), Component(name="generator", spectrum="conservative", frequency_network=8)),
        "fluid": dynamics((3,), name="fluid_off_attractor", padding=1),
    }


def test_they_keep_the_laws_of_tabs(films: dict[str, Pretrained], orbits: dict[str, Pretrained], projector: Pretrained) -> None:
    everything = {**films, "bent": orbits["bent"], "fluid": orbits["fluid"], "projector": projector}
    results = [result for name in ("dynamics", "orbits") for result in run_checks(TabSubject(name, models=everything))]
    assert [(result.check, result.message) for result in results if result.status != "passed"] == []


def test_what_they_lack(films: dict[str, Pretrained], orbits: dict[str, Pretrained], projector: Pretrained) -> None:
    assert [FILMS.lacks(each) for each in (*films.values(), projector)] == ["", "", "", "", "a flow in continuous time (task `dynamics`)"]
    assert [ORBITS.lacks(each) for each in (*orbits.values(), films["plain"])] == ["", "", "", "", "states of two or three numbers"]
    assert "see the tab of orbits" in FILMS.lacks(orbits["pendulum"])
    driven = dynamics((2,), Component(name="generator", structure="dense", controls=1))
    assert "driven by inputs" in ORBITS.lacks(driven)


# --- films -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["examples", "dense", "padded"])
def test_frames_are_predictions(films: dict[str, Pretrained], name: str) -> None:
    pretrained = films[name]
    sketch = torch.zeros(pretrained.config.data.shape)
    sketch[0, 2:4, 3] = 1
    found = shown(FILMS, pretrained, sketch=sketch, time=-0.2, span=0.6)
    with torch.no_grad():
        expected = predict(pretrained.model, sketch[None], torch.tensor([-0.2, -0.6, 0.0, 0.6]))[0].clamp(0, 1)
    assert torch.allclose(picture(found, "frame"), torch.stack([sketch, expected[0]]), atol=1e-5)
    assert torch.allclose(picture(found, "film")[[0, 18, 36]], expected[1:], atol=1e-5)
    assert torch.allclose(picture(found, "strip")[[0, 6, 12]], expected[1:], atol=1e-5)
    assert torch.allclose(expected[2], sketch, atol=1e-5)
    assert float(fact(found, "There and back")) < 1e-4


def test_what_stays(films: dict[str, Pretrained]) -> None:
    norms = fact(shown(FILMS, films["plain"], time=0.7), "Norm").split(" and ")
    assert float(norms[0]) == pytest.approx(float(norms[1]), rel=1e-3)


def test_an_example_by_chance(films: dict[str, Pretrained]) -> None:
    require_seeded(FILMS, films["examples"], frame=frames.CHANCE)
    examples = films["examples"].examples()
    assert examples is not None
    found = shown(FILMS, films["examples"], frame=frames.CHANCE, sketch=torch.ones(1, 8, 8), seed=1)
    assert any(torch.equal(picture(found, "frame")[0], each) for each in examples)


# --- orbits ----------------------------------------------------------------------------------------------


class Turning(GeneratorCore):
    """Two pairs that turn at given frequencies."""

    def __init__(self, *frequencies: float) -> None:
        super().__init__(2 * len(frequencies))
        self.frequencies = torch.tensor(frequencies)

    def operator(self, condition: Condition | None = None) -> DecayRotation:
        return DecayRotation(torch.zeros_like(self.frequencies), self.frequencies, torch.zeros(0))


def test_when_an_orbit_comes_back() -> None:
    turning = Turning(2.0, 3.0)
    assert returns_after(turning, torch.ones(4)) == pytest.approx(2 * math.pi, rel=1e-3)  # after two turns of one pair, three of the other
    assert returns_after(turning, torch.tensor([1.0, 0.0, 0.0, 0.0])) == pytest.approx(math.pi, rel=1e-3)
    assert returns_after(turning, torch.zeros(4)) is None
    decaying = create_core("generator", (2, 2), structure="diagonal", spectrum="stable")
    assert returns_after(decaying, torch.ones(2)) is None


def test_bounds() -> None:
    """A decay is followed forth for long, and back until it has grown by 50."""
    decaying = create_core("generator", (2, 2), structure="diagonal", spectrum="stable")
    fastest = -float(decaying.operator().to_dense().detach().diagonal().min())
    back, forth = bounds(decaying, torch.ones(2))
    assert back == pytest.approx(math.log(50) / fastest, rel=0.05)
    assert forth > back


def test_the_true_orbit_is_that_of_the_equations() -> None:
    swing = Swing(KoopmanaePendulumConfig().angle)
    times = torch.linspace(-1, 2, 31, dtype=torch.float64)
    found = _true("koopmanae_pendulum", swing.at(torch.zeros(1))[0], times)
    assert found is not None
    assert torch.allclose(found, swing.at(times), atol=1e-4)
    assert _true("none", torch.zeros(2, dtype=torch.float64), times) is None


def test_facts_of_an_orbit(orbits: dict[str, Pretrained]) -> None:
    known, unknown = (shown(ORBITS, orbits[name], back=True) for name in ("pendulum", "unknown"))
    assert fact(known, "true orbit").endswith("%")
    assert "solved step by step" in known.sentence
    assert "no true orbit" in unknown.sentence
    assert all("true orbit" not in each.label for each in unknown.facts)


def test_a_start_by_chance(orbits: dict[str, Pretrained]) -> None:
    require_seeded(ORBITS, orbits["fluid"], start=CHANCE)
    ranges = _ranges(orbits["fluid"])
    starts = torch.tensor([_by_chance(ranges, seed) for seed in range(200)])
    low, high = torch.tensor(ranges).mT
    assert bool(((low <= starts) & (starts <= high)).all())
    assert torch.allclose(starts.mean(0), (low + high) / 2, atol=0.1 * float((high - low).max()))
    told = ", ".join(f"{name} = {value:.3g}" for name, value in zip(("x1", "x2", "x3"), _by_chance(ranges, 1), strict=True))
    assert fact(shown(ORBITS, orbits["fluid"], start=CHANCE, seed=1), "Start by chance") == told
