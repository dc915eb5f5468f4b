"""The benchmark of sampling in miniature: every way makes images, and is set in relation to the right other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks import sampling as benchmark
from benchmarks import unet as networks
from benchmarks.flow_models import FlowModel, count, latent_prior, nearest, noise_encoder, published_design, random_images
from benchmarks.sampling_tables import report
from benchmarks.tools.results import Results
from benchmarks.unet import adaptive, euler

SHAPE = (1, 8, 8)


class Growth(nn.Module):
    """In place of a U-Net: the velocity is the point itself."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.ones(()), requires_grad=False)
        self.times: list[float] = []

    def forward(self, x: Tensor, time: Tensor, class_labels: Tensor | None = None) -> Any:
        self.times.append(float(time))
        return SimpleNamespace(sample=self.rate * x)


@pytest.fixture(scope="module")
def models() -> list[FlowModel]:
    splits = random_images(SHAPE, 64)
    ours = latent_prior(splits, small=True)
    return [model.prepared("cpu") for model in (ours, noise_encoder(splits, small=True), published_design(splits, ours.parameters))]


def measure(**changes: Any) -> Results:
    return benchmark.measure(**{"batches": (1, 3), "steps": 4, "device": "cpu", "repeats": 2, "budget": 1e9, "quick": True, **changes})


def test_every_way_makes_the_images_asked_for(models: list[FlowModel]) -> None:
    for model in models:
        calls = benchmark.ways(model, 5, 4, "cpu")
        assert list(calls) == [benchmark.LIMIT, benchmark.ONE, benchmark.LOOP]
        for call in calls.values():
            images = call()
            assert images.shape == (5, *SHAPE)
            assert images.isfinite().all()
            assert not images.requires_grad


def test_the_limit_passes_noise_through_g_only_where_it_has_a_network(models: list[FlowModel]) -> None:
    for model, passes in zip(models, (0, 1, 1), strict=True):
        calls = benchmark.ways(model, 2, 4, "cpu")
        forward: list[int] = []
        handle = model.model.gx.register_forward_hook(lambda *_, seen=forward: seen.append(1))
        calls[benchmark.LIMIT]()
        handle.remove()
        assert len(forward) == passes


def test_the_published_design_is_as_large_as_ours(models: list[FlowModel]) -> None:
    ours, _, published = models
    assert published.parameters == pytest.approx(ours.parameters, rel=0.1)
    assert "width" in published.name


def test_a_width_is_found_from_both_sides() -> None:
    assert [nearest(lambda n: 10 * n, wanted) for wanted in (1, 14, 16, 400, 404, 406)] == [1, 1, 2, 40, 40, 41]


def test_results_are_complete_and_in_relation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "matching_unet", lambda shape, parameters: Growth())
    results = measure()
    expected = [(model, way) for model in ("latent prior", "noise encoder") for way in (benchmark.LIMIT, benchmark.ONE, benchmark.LOOP)]
    for batch in (1, 3):
        cases = {(case["model"], case["way"]): case for case in results.cases if case["batch"] == batch}
        assert len(cases) == 3 * 3 + 2
        assert set(expected) < set(cases)
        limit, one, unet = cases["latent prior", benchmark.LIMIT], cases["latent prior", benchmark.ONE], cases["U-Net", benchmark.EULER]
        for index in range(2):
            assert one["over_limit"]["samples"][index] == pytest.approx(one["time"]["samples"][index] / limit["time"]["samples"][index])
            assert one["times_unet"]["samples"][index] == pytest.approx(unet["time"]["samples"][index] / one["time"]["samples"][index])
            assert one["images_per_second"]["samples"][index] == pytest.approx(batch / one["time"]["samples"][index])
        assert unet["evaluations"] == 4
        assert not unet["extrapolated"]
        assert cases["U-Net", benchmark.ADAPTIVE]["evaluations"] > 4
    assert len(results.targets) == 2 * 2 * 2
    assert "noise encoder, one step, batch 3: multiple of the limit" in results.figures
    text = report(results)
    assert "**Batch 3.**" in text
    assert text.count("| U-Net | U-Net, Euler |") == 2
    assert "at least 50" in text
    assert "[x] |" not in text


def test_few_evaluations_are_scaled_and_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    unet = Growth()
    monkeypatch.setattr(benchmark, "matching_unet", lambda shape, parameters: unet)
    monkeypatch.setattr(benchmark, "adaptive", lambda unet, noise: 50)
    monkeypatch.setattr(benchmark, "seconds", lambda call, device: 1.0)
    monkeypatch.setattr(
        benchmark, "interleaved", lambda turns, repeats, **options: {name: (turn(), benchmark.Spread((1.0, 2.0)))[1] for name, turn in turns.items()}
    )
    results = measure(batches=(2,), steps=40, budget=79.0)
    case = next(case for case in results.cases if case["way"] == benchmark.EULER)
    assert len(unet.times) == benchmark.FEW
    assert case["time"]["samples"] == [4.0, 8.0]
    assert case["seconds_per_evaluation"] == pytest.approx(0.15)
    assert case["extrapolated"]
    case = next(case for case in results.cases if case["way"] == benchmark.ADAPTIVE)
    assert case["time"]["samples"] == pytest.approx([5.0, 10.0])
    assert case["extrapolated"]
    assert all(target.extrapolated for target in results.targets if "U-Net" in target.text)
    assert "[x] |" in next(line for line in report(results).splitlines() if line.startswith("| U-Net | U-Net, Euler |"))


def test_without_the_extra_the_rest_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def missing(shape: tuple[int, int, int], parameters: int) -> nn.Module:
        raise ModuleNotFoundError("No module named 'diffusers'", name="diffusers")

    monkeypatch.setattr(benchmark, "matching_unet", missing)
    results = measure(batches=(2,))
    assert {case["model"].partition(",")[0] for case in results.cases} == {"latent prior", "noise encoder", "published design"}
    hint = "The U-Net is left out, since diffusers is not installed: `pip install -c constraints.txt -e '.[bench]'`."
    assert hint in capsys.readouterr().out
    assert hint in report(results)
    assert len(results.targets) == 2


def test_euler_takes_so_many_evaluations() -> None:
    unet = Growth()
    x = torch.tensor([[1.0, -2.0]])
    assert torch.allclose(euler(unet, x, 4), 1.25**4 * x)
    assert unet.times == [0.0, 250.0, 500.0, 750.0]


def test_the_adaptive_solver_counts_what_it_takes() -> None:
    unet = Growth()
    assert adaptive(unet, torch.ones(1, 2)) == len(unet.times) > 6
    assert unet.times[0] == 0
    assert max(unet.times) >= 900  # it may step over the end, and interpolate


def test_a_unet_has_the_parameters_asked_for() -> None:
    unet = networks.matching_unet((1, 8, 8), 400_000)
    assert count(unet) == pytest.approx(400_000, rel=0.3)
    assert euler(unet, torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), 2).shape == (2, 1, 8, 8)
