"""The benchmark of training in miniature. Its plain loop does the work of ours: fed the same batches, it ends with the same weights."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks import clocked_stage
from benchmarks import training as benchmark
from benchmarks.clocked_stage import ClockedStage, OneStage
from benchmarks.flow_models import FlowModel, latent_prior, random_images
from benchmarks.plain_loop import shuffled_batches, train_plainly
from benchmarks.tools.memory import in_subprocess
from benchmarks.training_tables import report
from linearizer_core.config import StageConfig, TrainingConfig
from linearizer_core.data import Batch
from linearizer_core.model import LinearizerModel
from linearizer_core.task import Stage
from linearizer_core.training import fit
from linearizer_flow.config import ReconstructionConfig
from linearizer_flow.latent_prior import ReconstructionStage

STEPS = 12


class Recorder(Stage):
    """Keeps the batches that a loop trains on."""

    def __init__(self, inner: Stage) -> None:
        super().__init__(inner.name, inner.config)
        self.inner = inner
        self.batches: list[Batch] = []

    def parameters(self, model: LinearizerModel) -> Any:
        return self.inner.parameters(model)

    def loss(self, model: LinearizerModel, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
        self.batches.append(batch)
        return self.inner.loss(model, batch, generator)


def tiny() -> FlowModel:
    return latent_prior(random_images((1, 4, 4), 64), small=True)


def quiet_stage(**changes: Any) -> ReconstructionStage:
    """A stage whose loss draws no noise that matters: the loops seed theirs differently."""
    values = {"steps": STEPS, "batch_size": 16, "latent_noise": 0.0, "warmup_steps": 3, "hold": 0.5, "ema_warmup": 2, "clip_norm": 0.5, **changes}
    return ReconstructionStage(ReconstructionConfig.model_validate(values), None)


@pytest.mark.parametrize("changes", [{}, {"ema": None, "clip_norm": None, "hold": 0.0, "warmup_steps": 0}])
def test_the_plain_loop_does_the_work_of_ours(tmp_path: Path, changes: dict[str, Any]) -> None:
    ours, plain = tiny(), tiny()
    start = {name: value.clone() for name, value in ours.model.state_dict().items()}
    recorder = Recorder(quiet_stage(**changes))
    fit(OneStage(ours.task, recorder), ours.model, ours.splits, TrainingConfig(output=tmp_path))
    batches = recorder.batches[1:]  # the first one is a rehearsal
    assert len(batches) == STEPS
    losses = train_plainly(quiet_stage(**changes), plain.model, batches, device="cpu", bf16=False, seed=0)
    assert len(losses) == 1
    moved = 0
    for name, value in plain.model.state_dict().items():
        assert torch.allclose(value, ours.model.state_dict()[name], rtol=0, atol=1e-6), name
        moved += int(not torch.allclose(value, start[name], rtol=0, atol=1e-4))
    assert moved > 10


def test_batches_are_shuffled_and_as_many_as_asked_for() -> None:
    splits = random_images((1, 4, 4), 40)
    batches = list(shuffled_batches(splits, StageConfig(steps=5, batch_size=16)))
    assert [len(batch["x"]) for batch in batches] == [16] * 5
    assert not torch.equal(batches[0]["x"], batches[2]["x"])


@pytest.mark.parametrize("rehearsals", [0, 1])
def test_the_clock_runs_over_the_window(monkeypatch: pytest.MonkeyPatch, rehearsals: int) -> None:
    flow = tiny()
    stage = ClockedStage(quiet_stage(), window=4, rehearsals=rehearsals, device="cpu")
    assert stage.config.steps == clocked_stage.WARM_UP + 4 + 1
    calls = 0
    read: list[int] = []

    def clock() -> float:
        read.append(calls)
        return 10.0 if len(read) == 1 else 18.0

    monkeypatch.setattr(clocked_stage, "time", SimpleNamespace(perf_counter=clock))
    batch = {"x": torch.rand(4, 1, 4, 4)}
    for _ in range(rehearsals + stage.config.steps):
        stage.loss(flow.model, batch, torch.Generator())
        calls += 1
    assert read == [rehearsals + 2, rehearsals + 6]
    assert stage.seconds == 2.0


def measured(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(benchmark, "run", lambda way, flow, *, window, device: {benchmark.OURS: 1.02, benchmark.PLAIN: 1.0}.get(way, 2.0))
    asked: list[Any] = []

    def answer(module: str, device: str, case: dict[str, Any], launcher: tuple[str, ...] = ()) -> dict[str, Any]:
        asked.append((case.get("way"), bool(launcher)))
        if "way" in case:
            return {"peak": 3000 if case["way"] == benchmark.REVERSIBLE else 6000}
        return {"seconds": 1.5 if launcher else 1.0, "threads": 1 if launcher else 2, "processes": 2 if launcher else 1}

    monkeypatch.setattr(benchmark, "in_subprocess", answer)
    return benchmark.measure(window=3, device="cpu", repeats=2, quick=True), asked


def test_results_are_complete_and_in_relation(monkeypatch: pytest.MonkeyPatch) -> None:
    results, asked = measured(monkeypatch)
    assert asked == [*((way, False) for way in benchmark.WAYS), *[(None, False), (None, True)] * 2]
    values = {name: figure.value for name, figure in results.figures.items()}
    assert values["our loop: time over the plain loop"] == pytest.approx(1.02)
    assert values["reversible: memory over storing"] == pytest.approx(0.5)
    assert values["reversible: time over storing"] == pytest.approx(2 / 1.02)
    assert values["ours: times faster than the published design"] == pytest.approx(2 / 1.02)
    assert values["two processes: time over one"] == pytest.approx(1.5)
    assert [(target.limit, target.met) for target in results.targets] == [(1.03, True)]
    parameters = {case["way"]: case["parameters"] for case in results.cases if "parameters" in case}
    assert parameters[benchmark.PUBLISHED] == pytest.approx(parameters[benchmark.OURS], rel=0.1)
    text = report(results)
    for way in (*benchmark.WAYS, *benchmark.PROCESSES.values()):
        assert f"| {way} | " in text
    assert "batch 128 over all processes" in text


def test_two_processes_need_two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert benchmark._processes(3, "cuda", 2, True) == ([], "Two processes are left out: they need two GPUs.")


@pytest.mark.parametrize("way", benchmark.WAYS)
def test_every_way_trains(way: str) -> None:
    flow = benchmark.build(way, quick=True)
    before = [parameter.detach().clone() for parameter in flow.task.stages()[0].parameters(flow.model)]
    assert benchmark.run(way, flow, window=1, device="cpu") > 0
    after: list[nn.Parameter] = list(flow.task.stages()[0].parameters(flow.model))
    assert sum(not torch.equal(old, new) for old, new in zip(before, after, strict=True)) > len(before) / 2


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="resident memory is read as Linux tells it")
def test_workers_answer() -> None:
    assert in_subprocess("benchmarks.training", "cpu", {"way": benchmark.PLAIN, "quick": True})["peak"] > 0
    answer = benchmark.worker({"window": 1, "quick": True}, "cpu")
    assert answer["processes"] == 1
    assert answer["seconds"] > 0
