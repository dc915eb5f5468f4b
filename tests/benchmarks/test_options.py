"""The benchmark of options in miniature: each is on while it is timed, off afterwards, and compared with the code as it is."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch
from torch import nn

from benchmarks import options as benchmark
from benchmarks.flow_models import latent_prior, random_images
from benchmarks.options import AS_IS, ONLY_SAMPLING, OPTIONS, measure, report
from benchmarks.tools.results import Results

UNCOMPILED = {name: option for name, option in OPTIONS.items() if "compile" not in name}


@pytest.fixture(scope="module")
def results() -> Results:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "OPTIONS", UNCOMPILED)
        return measure(batch_size=4, batches=(1, 3), device="cpu", repeats=2, quick=True)


def test_every_option_stands_beside_the_code_as_it_is(results: Results) -> None:
    parts = ["sampling, batch 1", "sampling, batch 3", "training, batch 4"]
    found = [(case["what"], case["option"]) for case in results.cases]
    assert found == [(part, option) for part in parts for option in (AS_IS, *UNCOMPILED) if part.startswith("sampling") or option not in ONLY_SAMPLING]
    for case in results.cases:
        base = next(other for other in results.cases if (other["what"], other["option"]) == (case["what"], AS_IS))
        for index in range(2):
            assert case["over_as_is"]["samples"][index] == pytest.approx(case["time"]["samples"][index] / base["time"]["samples"][index])
    assert report(results).count("\n| ") == len(results.cases)


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_is_on_inside_and_off_afterwards(name: str) -> None:
    model = latent_prior(random_images((1, 8, 8), 8), small=True).model
    inside, before = state(model), state(model)
    with OPTIONS[name](model):
        inside = state(model)
    assert inside != before or name == "one thread"  # the tests of benchmarks run on one thread anyway
    assert state(model) == before


def state(model: nn.Module) -> tuple[object, ...]:
    compiled = [module._compiled_call_impl is not None for module in model.modules()]
    layouts = [module.weight.is_contiguous(memory_format=torch.channels_last) for module in model.modules() if isinstance(module, nn.Conv2d)]
    return compiled, layouts, torch.is_autocast_enabled("cpu"), torch.is_inference_mode_enabled(), torch.get_num_threads()


def test_what_is_timed_is_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []

    @contextmanager
    def option(model: nn.Module):  # type: ignore[no-untyped-def]
        log.append("on")
        yield
        log.append("off")

    monkeypatch.setattr(benchmark, "OPTIONS", {"x": option})
    benchmark.turn(lambda: log.append("call"), "x", nn.Identity(), "cpu", 3)
    assert log == ["on", *["call"] * 5, "off"]
