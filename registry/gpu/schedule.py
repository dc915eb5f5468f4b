"""Runs jobs in their order, several at a time, within a time that is given."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from registry.gpu.jobs import FETCH, ROOT, Job, Place, Step

State = Literal["done", "failed", "stopped", "left out"]

POLL, REPORT, GRACE = 0.1, 60.0, 10.0
"""Seconds between two looks at the processes, between two lines about them, and from interrupting them to ending them."""
OVERDUE = 2.0
"""A job is stopped after so many times the seconds it was expected to take."""
TAIL = 15


@dataclass(frozen=True)
class Outcome:
    """What became of a job in this call; ``seconds`` are those of this call, ``why`` explains everything but success."""

    name: str
    state: State
    seconds: float
    why: str = ""


@dataclass
class _Running:
    job: Job
    begun: float
    ends: float
    limit: float
    log: IO[bytes]
    step: Step
    process: subprocess.Popen[bytes]


class Schedule:
    """The order: a job begins when a place is free, its data are there, the jobs it needs are done, and it fits into the time that is left.

    Those that do not fit are passed over. A job that measures speed waits until nothing else runs, and then runs by itself; while it waits, others begin only
    if they are expected to end before what runs already. When the time is over, what still runs is stopped: the checkpoints of a training stay, and the next
    call goes on from there.

    Arguments:
        place: folders and device.
        seconds: the time for all jobs together.
        at_once: how many may run at the same time.
        wanted: names of jobs that begin though they do not fit.
        ended: called with each outcome as it comes.
        clock: seconds, never going back.
    """

    def __init__(
        self,
        place: Place,
        *,
        seconds: float,
        at_once: int,
        wanted: frozenset[str] = frozenset(),
        ended: Callable[[Outcome], None] = lambda outcome: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.place = place
        self.at_once = at_once
        self.wanted = wanted
        self.ended = ended
        self.clock = clock
        self.started = clock()
        self.deadline = self.started + seconds - GRACE
        self.running: list[_Running] = []
        self.outcomes: dict[str, Outcome] = {}

    def run(self, jobs: Iterable[Job]) -> list[Outcome]:
        """Run them, and stop what runs where this is interrupted."""
        waiting, reported = list(jobs), self.started
        (self.place.runs / "logs").mkdir(parents=True, exist_ok=True)
        try:
            while True:
                self._look()
                now = self.clock()
                if now >= self.deadline:
                    break
                waiting = self._start(waiting)
                if not self.running and not waiting:
                    break
                if now - reported >= REPORT:
                    reported = now
                    self._tell("running: " + ", ".join(f"{each.job.name} {each.job.progress(self.place)}".strip() for each in self.running))
                time.sleep(POLL)
        finally:
            self._stop(self.running, "run it again to go on")
        for job in waiting:
            self._end(job, "left out", 0.0, "the time was over")
        return list(self.outcomes.values())

    # --- start ---------------------------------------------------------------------------------------

    def _start(self, waiting: list[Job]) -> list[Job]:
        """Start what may be started, and give back what still waits."""
        later: list[Job] = []
        until = float("inf")
        for number, job in enumerate(waiting):
            if len(self.running) >= self.at_once or any(each.job.alone for each in self.running):
                return [*later, *waiting[number:]]
            if job.done(self.place):
                self._end(job, "done", 0.0, "was done before")
                continue
            names = {each.name for each in waiting} | {each.job.name for each in self.running}
            if why := self._obstacle(job, names):
                self._end(job, "left out", 0.0, why)
            elif any(each.name in names for each in job.after):
                later.append(job)
            elif job.alone and self.running:
                later.append(job)
                until = max(each.ends for each in self.running)
            elif self.clock() + job.rest(self.place) > until:
                later.append(job)
            else:
                self._begin(job)
        return later

    def _obstacle(self, job: Job, open_names: set[str]) -> str:
        """Why a job cannot be run at all in this call; empty where it can."""
        for need in job.needs:
            if not (self.place.data / need).exists():
                return f"{self.place.data / need} is missing: {FETCH[need]}"
        for before in job.after:
            if before.name not in open_names and not before.done(self.place):
                return f"it needs what {before.name} leaves"
        rest, left = job.rest(self.place), self.deadline - self.clock()
        if rest > left and job.name not in self.wanted:
            return f"it takes {rest:.0f} s, and {left:.0f} s are left"
        return ""

    def _begin(self, job: Job) -> None:
        self._tell(f"{job.name}: begins, about {job.rest(self.place):.0f} s")
        log = (self.place.runs / "logs" / f"{job.name}.log").open("ab")
        now = self.clock()
        self.running.append(_Running(job, now, now + job.rest(self.place), now + OVERDUE * job.seconds, log, *self._launch(job, log)))

    def _launch(self, job: Job, log: IO[bytes]) -> tuple[Step, subprocess.Popen[bytes]]:
        """The first step that has not been done, and its process."""
        step = next(step for step in job.steps(self.place) if not step.done)
        threads = max(1, _cores() // (1 if job.alone else self.at_once))
        # The working folder is another one, so relative folders of packages would not be found.
        folders = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        packages = os.pathsep.join(str(Path(folder).resolve()) for folder in folders if folder)
        process = subprocess.Popen(
            [sys.executable, *step.arguments],
            cwd=self.place.data,
            env={"OMP_NUM_THREADS": str(threads), **os.environ, "PYTHONPATH": packages, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a group of its own, with the processes that it starts
        )
        return step, process

    # --- end -----------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Go on with what has finished a step, and stop what is overdue."""
        for running in list(self.running):
            code = running.process.poll()
            if code is None:
                if self.clock() >= running.limit:
                    self._stop([running], f"it took more than {OVERDUE:g} times as long as expected; run it again to go on")
                continue
            if code or not running.step.done:
                why = f"exit code {code}" if code else f"it left no {running.step.leaves}"
                log = self.place.runs / "logs" / f"{running.job.name}.log"
                self._close(running, "failed", f"{why}; the end of {log}:\n{_tail(log)}")
            elif running.job.done(self.place):
                self._close(running, "done")
            else:
                running.step, running.process = self._launch(running.job, running.log)

    def _stop(self, stopped: list[_Running], why: str) -> None:
        """Interrupt processes, and end those that go on. A checkpoint is written whole or not at all, so nothing is lost but the steps since."""
        for running in stopped:
            running.process.send_signal(signal.SIGINT)
        until = time.monotonic() + GRACE
        for running in list(stopped):
            with suppress(subprocess.TimeoutExpired):
                running.process.wait(max(0.0, until - time.monotonic()))
            with suppress(ProcessLookupError):
                os.killpg(running.process.pid, signal.SIGKILL)  # and what it has started
            running.process.wait()
            self._close(running, "stopped", why)

    def _close(self, running: _Running, state: State, why: str = "") -> None:
        running.log.close()
        self.running.remove(running)
        self._end(running.job, state, self.clock() - running.begun, why)

    def _end(self, job: Job, state: State, seconds: float, why: str = "") -> None:
        outcome = Outcome(job.name, state, seconds, why)
        self.outcomes[job.name] = outcome
        self._tell(f"{job.name}: {state}" + (f" after {seconds:.0f} s" if seconds else "") + (f": {why}" if why else ""))
        self.ended(outcome)

    def _tell(self, text: str) -> None:
        passed = round(self.clock() - self.started)
        print(f"[{passed // 60:3d}:{passed % 60:02d}] {text}", flush=True)


def _tail(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in lines[-TAIL:])


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
