"""The benchmark of invertibility in miniature: it resumes, and its tables say what was measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import invertibility as benchmark
from benchmarks import publish
from benchmarks.invertibility_tables import overview, source, worst
from benchmarks.published_backbone import published_backbone
from benchmarks.unit_gain import conditioners, set_unit_gain
from linearizer_core.bijections import Bijection
from linearizer_core.errors import ConfigError
from linearizer_core.factory import create_backbone
from linearizer_core.invertibility import gain, latent_round_trip, logdet_error, round_trip
from linearizer_core.invertibility.gain import spectral_norm

SETTINGS = benchmark.Settings(data="tiny", steps=2, rank=4, examples=6, far_off=4, searched=2, search_steps=2, batch_size=16)


def images(count: int = 64) -> torch.Tensor:
    return torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def small(depth: int, shape: tuple[int, ...]) -> Bijection:
    return create_backbone("coupling", shape, levels=[{"couplings": 2 * depth, "width": 4}], dense={"couplings": 0})


def refuse(depth: int, shape: tuple[int, ...]) -> Bijection:
    raise ConfigError("no such thing")


def wild(g: Bijection) -> Bijection:
    with torch.no_grad():
        for parameter in g.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    return g


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "BACKBONES", {"small": small, "small, penalty": small, "broken": refuse})
    monkeypatch.setattr(benchmark, "PENALISED", {"small, penalty"})


def run(output: Path, settings: benchmark.Settings = SETTINGS, backbones: tuple[str, ...] = ("small", "small, penalty")) -> list[dict[str, Any]]:
    return benchmark.run(settings, images(), images(), backbones=list(backbones), depths=[2], states=list(benchmark.STATES), output=output)


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_cells_are_measured_once_and_tables_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = run(tmp_path)
    assert [(cell["backbone"], cell["state"]) for cell in results] == [
        ("small", "trained"),
        ("small, penalty", "trained"),
        ("small", "unit gain"),
        ("small", "initialised"),
    ]
    assert len(capsys.readouterr().out.splitlines()) == 4
    for cell in results:
        assert cell["precisions"].keys() == {"fp64", "fp32", "bf16 conditioners"}
        assert worst(cell, "fp64") < 1e-11  # type: ignore[operator]
        assert 1e-9 < worst(cell) < 1e-3  # type: ignore[operator]
        assert cell["precisions"]["fp32"]["gain"]["inverse"] >= 1
    trained, unit = results[0], results[2]
    by_precision = unit["precisions"]
    assert by_precision["bf16 conditioners"]["round_trip"] != by_precision["fp32"]["round_trip"]
    assert (trained["steps"], trained["diverged"]) == (2, False)
    assert unit["conditioner_gain"]["median"] == pytest.approx(1, abs=0.05)
    assert json.loads((tmp_path / "results.json").read_text()) == results
    text = (tmp_path / "invertibility.md").read_text()
    assert "Trained, depth 2, float32" in text
    assert "| small, penalty | " in text
    assert (tmp_path / "numerics-small.md").read_text().count("| small | ") == 3
    # A second run reads, another setting measures again.
    assert run(tmp_path) == results
    assert capsys.readouterr().out == ""
    run(tmp_path, benchmark.Settings(**{**SETTINGS.__dict__, "steps": 1}), ("small",))
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.usefixtures("tiny")
def test_a_backbone_that_cannot_be_made_leaves_the_others_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = run(tmp_path, backbones=("broken", "small"))
    assert results[0]["error"] == "ConfigError: no such thing"
    row = next(line for line in (tmp_path / "invertibility.md").read_text().splitlines() if line.startswith("| broken |"))
    assert row.endswith("| no | - |")
    capsys.readouterr()
    run(tmp_path, backbones=("broken", "small"))
    assert [line.split("]")[1] for line in capsys.readouterr().out.splitlines()] == [f" broken, depth 2, {state}: 0 s" for state in reversed(benchmark.STATES)]


def cell(**errors: Any) -> dict[str, Any]:
    trips = {name: {"maximum": errors.get(name, 1e-6)} for name in ("data", "gaussian", "uniform", "saturated", "constant", "adversarial")}
    measured = {"round_trip": trips, "gain": {}, "latents": {}, "logdet": None}
    where = {"commit": "abc1234", "torch": "2.0", "cpu": "a processor", "cores": 2}
    facts = {"backbone": "one", "depth": 16, "state": "trained", "settings": SETTINGS.__dict__, "environment": where}
    return {**facts, "precisions": {"fp32": measured}}


@pytest.mark.parametrize(("errors", "verdict"), [({}, "yes"), ({"constant": 2e-5}, "no"), ({"uniform": "inf"}, "no")])
def test_the_verdict_is_that_of_the_worst_family(errors: dict[str, Any], verdict: str) -> None:
    assert overview([cell(**errors)]).splitlines()[4].endswith(f"| {verdict} | - |")


def test_exact_is_said_and_what_is_missing_fails() -> None:
    assert "| exact |" in overview([cell(**dict.fromkeys(("data", "gaussian", "uniform", "saturated", "constant", "adversarial"), 0.0))])
    broken = cell()
    broken["precisions"]["fp32"]["round_trip"]["data"] = {"error": "ConvergenceError: no"}
    assert worst(broken) is None
    assert overview([broken]).splitlines()[4].endswith("| no | - |")


def test_every_backbone_of_the_table_takes_a_depth() -> None:
    for name, build in benchmark.BACKBONES.items():
        parameters = [sum(parameter.numel() for parameter in build(depth, (1, 8, 8)).parameters()) for depth in (4, 8)]
        assert 1.3 < parameters[1] / parameters[0] < 2.2, name


def test_unit_gain_is_unit_gain() -> None:
    x = images(8)
    g = small(2, (1, 4, 4))
    gains = set_unit_gain(g, x, torch.Generator().manual_seed(0))
    found = list(conditioners(g))
    assert len(gains) == len(found) == 4
    assert gains == pytest.approx([1.0] * 4, abs=0.05)
    seen: list[float] = []
    for module in found:
        module.register_forward_pre_hook(
            lambda module, arguments: seen.append(float(spectral_norm(lambda v: module.forward(v, None), arguments[0], iterations=8).median()))
        )
    with torch.no_grad():
        g(x)
    assert seen == pytest.approx([1.0] * 4, abs=0.05)


def test_bounded_conditioners_end_at_their_bound() -> None:
    g = create_backbone("coupling", (6,), dense={"couplings": 2, "width": 8}, lipschitz=0.25)
    gains = set_unit_gain(g, torch.randn(8, 6, generator=torch.Generator().manual_seed(0)), torch.Generator().manual_seed(0))
    assert 0 < max(gains) <= 0.2501


def test_the_published_design_is_a_bijection_whose_inverse_explodes() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        g = published_backbone((1, 8, 8), couplings=4, width=4)
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    g(x)
    wild(g.double())
    assert round_trip(g, x.double()).maximum < 1e-10
    assert latent_round_trip(g, g(x.double()).detach()).maximum < 1e-9
    assert logdet_error(g, x.double()).maximum < 1e-9
    set_unit_gain(g.float(), x, torch.Generator().manual_seed(0))
    assert gain(g, 3 * x).maximum > 1e3


def test_the_source_names_code_machine_and_what_bounds_kept_from_unit_gain() -> None:
    text = source([{**cell(), "conditioner_gain": {"median": gain}} for gain in (1.0, 0.05, 0.2)])
    assert "or as near to it as their Lipschitz bounds allow: 0.05 to 0.2." in text
    assert "2 CPU cores, torch 2.0, code abc1234." in text
    assert "Lipschitz" not in source([cell()])


def test_published_regions_come_from_the_results(tmp_path: Path) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    for name in ("invertibility", "lattice"):
        (tmp_path / name).mkdir()
    (tmp_path / "lattice" / "lattice.md").write_text("| a table |\n")
    (tmp_path / "invertibility" / "results.json").write_text(json.dumps([cell()]))
    found = publish.numerics(tmp_path, assets)
    assert found["lattice"] == "| a table |"
    assert "| one | trained | 1e-06 / - / - |" in found["numerics-one"]
    # Without new results those of the assets stay.
    assert publish.numerics(tmp_path / "nothing", assets) == {name: text for name, text in found.items() if name != "lattice"}
    page = tmp_path / "page.md"
    page.write_text("<!-- figures: numerics-one -->\n<!-- end of figures -->\n")
    assert publish.insert(page, "numerics-one", "| a table |")
    assert "| a table |" in page.read_text()
