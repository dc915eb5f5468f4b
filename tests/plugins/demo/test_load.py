"""Many programs at once: no error, every answer the right one, and no memory that stays."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from gradio_client import Client

from linearizer_demo.engine import DemoEngine

from .conftest import Served

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
CLIENTS = 32
GROWTH = 64 * 2**20
"""Bytes by which the server may grow between two equal loads."""


@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.slow)])
def test_thirty_two_clients(served: Served, engine: DemoEngine, saved: dict[str, str], seconds: int) -> None:
    expected = {(model, seed): engine.run("everything", model, {"seed": seed}).shown.facts[0].value for model in saved.values() for seed in range(4)}
    clients = [Client(served.address, verbose=False, download_files=False) for _ in range(CLIENTS)]
    _load(clients, expected, seconds)  # caches fill
    before = served.process.memory_info().rss
    answers, slowest = _load(clients, expected, seconds)
    grown = served.process.memory_info().rss - before
    print(
        f"{sum(answers.values())} answers in {seconds} s, the slowest in {slowest:.2f} s; the server grew by {grown / 2**20:.1f} MB to {before / 2**20:.0f} MB"
    )
    assert set(answers) == {"right"}
    assert grown < GROWTH


@pytest.mark.slow
def test_a_full_queue_says_so(served: Served) -> None:
    def call(number: int) -> httpx.Response:
        return httpx.post(f"{served.address}gradio_api/call/everything", json={"data": [None] * 9}, timeout=60)

    with ThreadPoolExecutor(24) as visitors:
        answers = list(visitors.map(call, range(300)))
    assert {answer.status_code for answer in answers} == {200, 503}
    assert all("Queue is full" in answer.text for answer in answers if answer.status_code == 503)


def _load(clients: list[Client], expected: dict[tuple[str, int], str], seconds: float) -> tuple[Counter[str], float]:
    end = time.monotonic() + seconds
    answers: Counter[str] = Counter()
    waits: list[float] = []

    def visit(number: int) -> None:
        asked = list(expected)
        turn = number
        while time.monotonic() < end:
            model, seed = asked[turn % len(asked)]
            started = time.monotonic()
            try:
                told = clients[number].predict(model=model, seed=seed, api_name="/everything")[-2]["Sum"]
                answers["right" if told == expected[model, seed] else "another's"] += 1
            except Exception as error:
                answers[repr(error)] += 1
            waits.append(time.monotonic() - started)
            turn += 1

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(len(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers, max(waits)
