"""The order in which jobs run on a GPU, with processes of a few milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from registry.gpu import schedule
from registry.gpu.jobs import Measurement, Place
from registry.gpu.schedule import GRACE, Outcome, Schedule

TOUCH = "from pathlib import Path; runs = Path(r'{runs}'); "
LOG = TOUCH + "print('{name}', file=(runs / 'order').open('a')); "
AWAIT = "import time; end = time.time() + 20\nwhile not (runs / '{file}').exists() and time.time() < end: time.sleep(0.01)\nassert (runs / '{file}').exists()\n"
SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "data").mkdir()
    return Place(data=tmp_path / "data", runs=tmp_path / "runs", device="cpu")


def script(name: str, code: str = "", **options: object) -> Measurement:
    """A job that writes its name into the file ``order``, runs ``code``, and leaves a file."""
    text = LOG.replace("{name}", name) + code + f"\n(runs / '{name}.done').touch()"
    return Measurement(name=name, command=("-I", "-S", "-c", text), leaves=f"{name}.done", **{"seconds": 5.0, **options})  # type: ignore[arg-type]


def run(place: Place, *jobs: Measurement, seconds: float = 60.0, at_once: int = 1, **options: object) -> dict[str, Outcome]:
    made = Schedule(place, seconds=seconds + GRACE, at_once=at_once, **options)  # type: ignore[arg-type]
    return {outcome.name: outcome for outcome in made.run(jobs)}


def order(place: Place) -> list[str]:
    return (place.runs / "order").read_text().split()


def states(outcomes: dict[str, Outcome]) -> dict[str, str]:
    return {name: outcome.state for name, outcome in outcomes.items()}


def wait_for(file: str) -> str:
    return AWAIT.replace("{file}", file)


def test_jobs_run_in_their_order_and_what_is_done_stays_done(place: Place) -> None:
    jobs = [script(name) for name in "cab"]
    assert set(states(run(place, *jobs)).values()) == {"done"}
    assert order(place) == ["c", "a", "b"]
    again = run(place, *jobs, script("d"))
    assert again["a"].why == "was done before"
    assert order(place) == ["c", "a", "b", "d"]


def test_two_run_at_once_and_not_three(place: Place) -> None:
    """The first waits for the second; the third begins when one of them has ended."""
    jobs = [script("a", wait_for("b.done")), script("b"), script("c")]
    assert set(states(run(place, *jobs, at_once=2)).values()) == {"done"}
    assert order(place).index("c") == 2


def test_a_failure_is_told_with_the_end_of_its_log_and_stops_nobody(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = run(place, script("a", "raise ValueError('no such thing')"), script("b"), script("c", "raise SystemExit"))
    assert states(outcomes) == {"a": "failed", "b": "done", "c": "failed"}
    assert "exit code 1" in outcomes["a"].why
    assert "ValueError: no such thing" in outcomes["a"].why
    assert f"it left no {place.runs / 'c.done'}" in outcomes["c"].why
    assert "ValueError: no such thing" in capsys.readouterr().out


def test_a_job_without_its_data_is_left_out_and_told_what_to_fetch(place: Place) -> None:
    (place.data / "style").mkdir()
    outcomes = run(place, script("a", reads=("style", "mnist")), script("b", reads=("style",)))
    assert states(outcomes) == {"a": "left out", "b": "done"}
    assert outcomes["a"].why.startswith(f"{place.data / 'mnist'} is missing: the four idx files")


def test_what_does_not_fit_is_passed_over_unless_it_is_asked_for(place: Place) -> None:
    jobs = [script("large", seconds=100), script("small", seconds=20)]
    outcomes = run(place, *jobs)
    assert states(outcomes) == {"large": "left out", "small": "done"}
    assert outcomes["large"].why == "it takes 100 s, and 60 s are left"
    assert states(run(place, *jobs, wanted=frozenset({"large"})))["large"] == "done"


def test_a_measurement_of_speed_runs_by_itself(place: Place) -> None:
    """It begins when everything before it has ended, though there is room, and nothing overtakes it that would keep it waiting."""
    before = script("before", "import time; time.sleep(0.3)")
    alone = script("alone", "assert (runs / 'before.done').exists(); import time; time.sleep(0.3); assert not (runs / 'after.done').exists()", alone=True)
    assert set(states(run(place, before, alone, script("after"), at_once=3)).values()) == {"done"}
    assert order(place) == ["before", "alone", "after"]


def test_while_a_measurement_of_speed_waits_shorter_jobs_run(place: Place) -> None:
    before = script("before", wait_for("short.done"))
    assert set(states(run(place, before, script("alone", alone=True), script("long"), script("short", seconds=1), at_once=2)).values()) == {"done"}
    assert order(place)[2:] == ["alone", "long"]


@pytest.mark.parametrize(("code", "state"), [("", "done"), ("raise ValueError", "left out")])
def test_a_job_waits_for_what_it_needs(place: Place, code: str, state: str) -> None:
    first = script("first", "import time; time.sleep(0.2)\n" + code)
    outcomes = run(place, script("second", after=(first,)), first, script("third"), at_once=3)
    assert outcomes["second"].state == state
    assert outcomes["third"].state == "done"
    if state == "left out":
        assert outcomes["second"].why == "it needs what first leaves"
    else:
        assert order(place)[-1] == "second"


def test_a_job_that_takes_far_longer_than_expected_is_stopped(place: Place) -> None:
    outcomes = run(place, script("slow", SLEEP, seconds=0.2), script("b"))
    assert states(outcomes) == {"slow": "stopped", "b": "done"}
    assert "more than 2 times as long as expected" in outcomes["slow"].why


def test_at_the_end_of_the_time_everything_is_stopped_even_what_does_not_listen(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "GRACE", 0.3)
    deaf = script("deaf", f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); (runs / 'deaf.begun').touch(); {SLEEP}")
    begun: Callable[[], float] = lambda: 1000.0 if (place.runs / "deaf.begun").exists() else 0.0  # noqa: E731
    outcomes = run(place, deaf, script("never"), clock=begun)
    assert states(outcomes) == {"deaf": "stopped", "never": "left out"}
    assert order(place) == ["deaf"]


def test_an_interrupt_stops_what_runs(place: Place) -> None:
    interrupts = [KeyboardInterrupt]

    def clock() -> float:
        if interrupts and (place.runs / "a.begun").exists():
            raise interrupts.pop()
        return 0.0

    ended: list[Outcome] = []
    with pytest.raises(KeyboardInterrupt):
        Schedule(place, seconds=60.0, at_once=1, ended=ended.append, clock=clock).run([script("a", f"(runs / 'a.begun').touch(); {SLEEP}")])
    assert [(outcome.name, outcome.state) for outcome in ended] == [("a", "stopped")]
