"""The check-up: sound models pass, and each planted failure raises its own signature."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest import mock

import pytest
import torch
import typer
from torch import Tensor, nn

from linearizer_core import create_core
from linearizer_core.bijections import Bijection, FixedAffine, Identity
from linearizer_core.cli import app, main
from linearizer_core.condition import Condition, require_label
from linearizer_core.config import CollapseConfig
from linearizer_core.cores import CoreOperator, TimeDependentCore
from linearizer_core.operators import Dense, Diagonal, LinearOperator, Mask
from linearizer_core.study import StudySubject
from linearizer_studies.doctor import Signature, examine

KEEP = Mask(torch.arange(64) < 5)
PLAN = CollapseConfig(steps=8, solver="rk4", terminal="limit")


class Blunt(Bijection):
    """Its inverse is a hundredth too short."""

    def __init__(self) -> None:
        super().__init__((64,))

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        return x

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        return 0.99 * z


def verdicts(subject: StudySubject) -> dict[str, Signature]:
    return {signature.name: signature for signature in examine(subject)}


def bad(subject: StudySubject) -> set[str]:
    return {name for name, signature in verdicts(subject).items() if signature.verdict in ("warn", "fail")}


def unnested_rk4(core: TimeDependentCore, steps: int) -> LinearOperator:
    """What multiplying out the stages of RK4 gives where none is nested in the one before it: h (L1 + 2 L2 + 2 L3 + L4) / 6 with plain velocities."""
    product, width = torch.eye(core.dim), 1 / steps
    for step in range(steps):
        first, middle, last = (core.velocities(torch.tensor([(step + part) * width]))[0].to_dense() for part in (0.0, 0.5, 1.0))
        product = (torch.eye(core.dim) + width * (first + 4 * middle + last) / 6) @ product
    return Dense(product)


def test_a_sound_projector_passes(by_hand: Callable[..., StudySubject]) -> None:
    found = verdicts(by_hand(KEEP))
    assert {name: signature.verdict for name, signature in found.items()} == {
        "one step is not many": "does not apply",
        "too few steps": "does not apply",
        "idempotency drift": "ok",
        "latents not injective": "ok",
        "round trip": "ok",
        "exploding inverse": "ok",
        "exploding outputs": "ok",
    }


def test_short_runs_pass_where_the_method_promises_it(flow: StudySubject, projector: StudySubject) -> None:
    found = verdicts(flow)
    assert (found["one step is not many"].verdict, found["too few steps"].verdict) == ("ok", "ok")
    for signatures in (found, verdicts(projector)):
        assert not [name for name, signature in signatures.items() if signature.verdict == "fail"]


def test_stages_that_are_not_nested(by_hand: Callable[..., StudySubject], known_flow: TimeDependentCore) -> None:
    make = {"gx": Identity((64,)), "collapse": PLAN}
    assert not bad(by_hand(known_flow, **make))
    found = verdicts(by_hand(known_flow, **make, operator=unnested_rk4(known_flow, 8)))["one step is not many"]
    assert found.verdict == "fail"
    assert "stages that are not nested" in found.advice


def test_too_few_steps_are_no_disagreement(by_hand: Callable[..., StudySubject], known_flow: TimeDependentCore) -> None:
    found = verdicts(by_hand(known_flow, gx=Identity((64,)), collapse=CollapseConfig(steps=4, solver="euler", terminal="limit")))
    assert (found["one step is not many"].verdict, found["too few steps"].verdict) == ("ok", "fail")
    assert "--tol 1e-6" in found["too few steps"].advice


def test_a_core_that_is_nearly_a_projector(by_hand: Callable[..., StudySubject]) -> None:
    found = verdicts(by_hand(Diagonal(1.02 * (torch.arange(64) < 5).float())))["idempotency drift"]
    assert found.verdict == "fail"
    assert "the core is no projector" in found.advice


def test_a_map_that_is_no_projector_need_not_be_one(by_hand: Callable[..., StudySubject]) -> None:
    assert verdicts(by_hand(Diagonal(torch.linspace(0.5, 2, 64))))["idempotency drift"].verdict == "does not apply"


def test_an_inverse_that_is_wrong(by_hand: Callable[..., StudySubject], rotation: Callable[..., Bijection]) -> None:
    found = verdicts(by_hand(KEEP, rotation(Blunt())))
    assert found["round trip"].verdict == "fail"
    assert found["round trip"].number == pytest.approx(0.01, rel=0.2)
    assert "Blunt" in found["round trip"].advice
    assert found["idempotency drift"].verdict == "fail"
    assert "what drifts is g" in found["idempotency drift"].advice


def test_an_inverse_that_is_steep(by_hand: Callable[..., StudySubject], rotation: Callable[..., Bijection]) -> None:
    found = verdicts(by_hand(Diagonal(torch.linspace(0.5, 2, 64)), rotation(FixedAffine((64,), shift=0.0, scale=1e-5))))
    assert found["exploding inverse"].verdict == "fail"
    assert found["exploding inverse"].number == pytest.approx(1e5, rel=1e-2)
    assert found["round trip"].verdict == "ok"  # a mere change of scale does no harm there


def test_latents_that_collide(by_hand: Callable[..., StudySubject], rotation: Callable[..., Bijection]) -> None:
    found = verdicts(by_hand(KEEP, rotation(FixedAffine((64,), shift=1e9, scale=1.0))))["latents not injective"]
    assert (found.verdict, found.number) == ("fail", 0)


def test_outputs_that_leave_the_range(by_hand: Callable[..., StudySubject]) -> None:
    found = verdicts(by_hand(Diagonal(torch.full((64,), 300.0))))["exploding outputs"]
    assert found.verdict == "fail"
    assert found.number == pytest.approx(300, rel=0.5)


def test_a_generator_is_no_map_of_states(by_hand: Callable[..., StudySubject]) -> None:
    found = verdicts(by_hand(create_core("generator", (64, 64))))["exploding outputs"]
    assert found.verdict == "does not apply"
    assert "the core generates a flow" in found.advice


# --- the command ---------------------------------------------------------------------------------------


def call(subject: StudySubject, *arguments: str) -> tuple[int, str, str]:
    out, err, code = StringIO(), StringIO(), 0
    fresh = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
    fresh.registered_commands = list(app.registered_commands)
    with (
        mock.patch.object(sys, "argv", ["linearizer", "doctor", *arguments]),
        mock.patch("linearizer_core.cli.app", fresh),
        mock.patch("linearizer_core.study.open_subject", return_value=subject),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.getvalue(), err.getvalue()


def test_a_sound_model_exits_with_0(by_hand: Callable[..., StudySubject]) -> None:
    code, out, err = call(by_hand(KEEP), "model", "data.root=x")
    assert (code, err) == (0, "")
    assert "round trip" in out
    assert "one step is not many: Given has no steps to collapse" in out


def test_a_failure_exits_with_1_and_gives_advice(by_hand: Callable[..., StudySubject], rotation: Callable[..., Bijection]) -> None:
    code, out, _ = call(by_hand(KEEP, rotation(Blunt())), "model", "--json")
    assert code == 1
    found = {entry["name"]: entry for entry in json.loads(out)}
    assert found["round trip"]["verdict"] == "fail"
    assert found["round trip"].keys() == {"name", "verdict", "number", "warn", "fail", "measured", "advice", "smallest"}


def test_unknown_options_are_refused(by_hand: Callable[..., StudySubject]) -> None:
    code, _, err = call(by_hand(KEEP), "model", "steps=3")
    assert code == 2
    assert "doctor: steps = 3: unknown key" in err


class Styles(CoreOperator):
    """An operator for each of two styles, the second of which explodes."""

    def __init__(self) -> None:
        super().__init__((64, 64), conditions={"style": 2})
        self.weight = nn.Parameter(torch.zeros(1))

    def operator(self, condition: Condition | None = None) -> LinearOperator:
        style = int(require_label(condition, "style", 2, 1))
        return Diagonal(torch.full((64,), (1.0, 500.0)[style]))


def test_of_several_operators_one_is_named(by_hand: Callable[..., StudySubject]) -> None:
    assert call(by_hand(Styles()), "model", "condition.style=0")[0] == 0
    assert call(by_hand(Styles()), "model", "condition.style=1")[0] == 1
    code, _, err = call(by_hand(Styles()), "model")
    assert code == 2
    assert "add condition.style=0 to 1" in err


def test_its_thresholds_are_told() -> None:
    page = (Path(__file__).parents[3] / "docs" / "studies" / "doctor.md").read_text(encoding="utf-8")
    for name, warn, fail in (("round trip", "1e-4", "2e-3"), ("exploding inverse", "100", "10,000"), ("one step is not many", "1e-4", "1e-2")):
        assert f"| {name} | {warn} | {fail} |" in page
