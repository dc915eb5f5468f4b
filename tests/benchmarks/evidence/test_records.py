"""From a run to the page: records, what is chosen, tables and the picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.evidence import page, plan
from benchmarks.evidence.budget import add_costs
from benchmarks.evidence.contender import Cost, Draw
from benchmarks.evidence.entries import ABLATIONS
from benchmarks.evidence.run import COSTS, Run, perform, perform_floors, perform_trained
from benchmarks.evidence.tables import distance, of_seeds, target_table
from benchmarks.evidence.yardstick import Yardstick
from linearizer_core.data import Splits, stack
from linearizer_core.factory import create_dataset
from linearizer_core.files import write_json


@pytest.fixture(scope="module")
def splits() -> Splits:
    return create_dataset("digits").load()


@pytest.fixture(scope="module")
def yardstick(splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Yardstick:
    return Yardstick(splits, "test", None, tmp_path_factory.mktemp("features"))


def test_the_yardstick_tells_real_images_from_noise_and_copies_from_new_ones(splits: Splits, yardstick: Yardstick) -> None:
    train = stack(splits.train)
    real = yardstick.measure(Draw(train["x"], train["label"]))
    noise = yardstick.measure(Draw(torch.rand(train["x"].shape, generator=torch.Generator().manual_seed(0))))
    assert real["frechet_classifier"] < noise["frechet_classifier"] / 5
    assert real["kernel_classifier"] < noise["kernel_classifier"] / 5
    assert real["recall_classifier"] > 0.8 > 0.2 > noise["recall_classifier"]
    assert real["label_agreement"] > 0.95
    assert "label_agreement" not in noise
    assert real["nearest_training"] == pytest.approx(0, abs=1e-2)
    assert yardstick.measure(Draw(torch.cat([stack(splits.test)["x"]] * 2)))["nearest_training"] == pytest.approx(1, rel=0.05)


def test_images_that_are_not_finite_are_counted_and_left_out(splits: Splits, yardstick: Yardstick) -> None:
    images = stack(splits.train)["x"].clone()
    images[: len(images) // 2, 0, 0, 0] = torch.nan
    found = yardstick.measure(Draw(images))
    assert found["finite"] == pytest.approx(0.5, abs=1e-3)
    assert found["frechet_classifier"] < 100
    assert "frechet_classifier" not in yardstick.measure(Draw(images * torch.nan))


@pytest.fixture(scope="module")
def runs(splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trials of a second each."""
    folder = tmp_path_factory.mktemp("evidence")
    costs = {"reconstruction": Cost(0.1), "prior": Cost(0.05)}
    add_costs(folder / COSTS, dict.fromkeys(("ours", "ours-batch"), costs), {})
    for recipe in ("ours", "ours-batch"):
        perform(Run(recipe, 0, 1.0, "validation", 600), splits, None, folder)
    return folder


def test_a_record_says_what_was_done(runs: Path) -> None:
    record = json.loads((runs / "records" / "ours-1s-0-validation.json").read_text())
    assert record["steps"] == {"reconstruction": 7, "prior": 5}
    assert record["reference"] == 90
    assert record["ways"].keys() == {"one step", "one step, temperature 0.9"}
    assert record["ways"]["one step"]["frechet_classifier"] > 0
    assert record["features"] == {"classifier": "digits-classifier-32"}
    assert record["environment"]["seed"] == 0
    assert (runs / "ours-1s-0" / "one_step.png").exists()


def test_the_trial_with_the_least_distance_is_chosen(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "TRIALS", {"ours": ("ours", "ours-batch")})
    monkeypatch.setattr(plan, "TRIAL_SECONDS", 1.0)
    distances = {recipe: distance(plan.read(runs, plan.trial(recipe))) for recipe in ("ours", "ours-batch")}
    best = min(distances, key=distances.__getitem__)
    assert plan.chosen("ours", runs) == best
    mains = plan.plan("main", runs)
    compared = [(recipe, seed) for recipe in (best, "likelihood", "matching") for seed in (0, 1, 2)]
    assert [(run.recipe, run.seed) for run in mains] == [("published", 0), *compared]
    assert {run.split for run in mains} == {"test"}


def test_sizes_that_hardly_begin_within_a_budget_are_left_out(tmp_path: Path) -> None:
    add_costs(tmp_path / COSTS, {name: {"reconstruction": Cost(0.1), "prior": Cost(0.1, start=20.0)} for name in plan.WIDTHS}, {})
    add_costs(tmp_path / COSTS, {"size-double": {"reconstruction": Cost(0.1, start=1.0), "prior": Cost(0.1, start=80.0)}}, {})
    planned = plan.plan("scaling", tmp_path)
    assert [run.budget for run in planned if run.recipe == "size-double"] == [300.0, 600.0]
    assert len(planned) == 14


def test_a_target_is_reached_by_all_seeds_on_average_or_not() -> None:
    seeds = [{"ways": {"one step": {"frechet_classifier": value}}} for value in (6.0, 8.5)]
    reached = [line.rsplit("| ", 1)[1] for line in target_table([("a", 9.0, seeds), ("a", 8.0, seeds), ("a", 7.0, seeds)]).splitlines()[2:]]
    assert reached == ["yes |", "on average |", "no |"]


def test_records_become_tables_and_pictures(splits: Splits, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "TRIALS", {"ours": ("ours", "ours-batch"), "unlabelled": ("unlabelled",), "published": ("published",)})
    monkeypatch.setattr(page, "OTHERS", ("likelihood",))
    made = json.loads((runs / "records" / "ours-1s-0-validation.json").read_text())

    def record(run: Run, **changes: object) -> None:
        write_json(runs / "records" / f"{run.name}.json", {**made, **run.__dict__, **changes})

    for recipe in ("ours", "ours-batch", "unlabelled", "published", "published-couplings", *next(iter(ABLATIONS.values()))):
        record(plan.trial(recipe))
    for seed in (0, 1):
        for recipe in ("ours", "unlabelled", "published"):
            record(plan.final(recipe, seed))
    for index, recipe in enumerate(plan.WIDTHS):
        for budget in plan.BUDGETS:
            record(plan.size(recipe, budget), parameters=10**6 * 2**index)
    perform_floors(splits, None, runs, 600)
    monkeypatch.setattr(page, "SHIPPED", ("flow.digits",))
    monkeypatch.setattr(page, "TARGETS", {"ours": 8.0, "unlabelled": 20.0, "flow.digits": 1e6})
    monkeypatch.setattr(plan, "SAMPLES", 600)
    perform_trained(plan.shipped("flow.digits"), splits, None, runs)
    perform_trained(plan.shipped("flow.digits", seed=1), splits, None, runs)
    perform_trained(plan.shipped("flow.digits-before", "validation", address="flow.digits"), splits, None, runs)
    found = page.sections(page.collect(runs, tmp_path), tmp_path)
    assert found["evidence-trials"].count("**") == 6
    assert f"the published objective is at {distance(made):.0f} in" in found["evidence-opening"]
    assert "| one step | 2 | 600 |" in found["evidence-quality"]
    assert found["evidence-targets"].count(" | yes |") == 1
    assert "temperature" in found["evidence-quality"]
    assert "temperature" not in found["evidence-short"]
    assert "| training images |" in found["evidence-quality"]
    seeds = [json.loads((runs / "records" / f"flow.digits-{seed}-test.json").read_text())["ways"]["one step"] for seed in (0, 1)]
    assert seeds[0]["label_agreement"] > 0.95
    assert seeds[0]["frechet_classifier"] != seeds[1]["frechet_classifier"]
    assert f"| `flow.digits` | one step | 2 | 600 | {of_seeds([each['frechet_classifier'] for each in seeds])} |" in found["evidence-registry"]
    assert "| the one before `flow.digits` |" in found["evidence-registry-choice"]
    assert f"{made['parameters']:,}" in found["evidence-cost"]
    assert "| 32.4 |" in found["evidence-paper"]
    assert "| backbone | labels: batches of 128, unchanged |" in found["evidence-ablations"]
    assert found["evidence-scaling"].count(" s |") >= 1
    assert "8,000,000" in found["evidence-scaling"]
    for picture in ("evaluations.png", "scaling.png"):
        assert (tmp_path / picture).stat().st_size > 5000
    (runs / "ours-600s-0").mkdir()
    (runs / "ours-600s-0" / "one_step.png").write_bytes(b"picture")
    page.keep_pictures(page.collect(runs, tmp_path), runs, tmp_path)
    assert (tmp_path / "ours_one_step.png").read_bytes() == b"picture"
    assert "(ours_one_step.png)" in found["evidence-pictures"]
    again = page.collect(tmp_path / "nothing", tmp_path)  # what is committed stays
    assert page.sections(again, tmp_path) == found
