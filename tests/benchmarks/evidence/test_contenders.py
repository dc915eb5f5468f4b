"""Every kind of contender in miniature: trained, read again, drawn from and examined, on the embedded digits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.evidence import matching
from benchmarks.evidence.budget import add_costs, affordable, measure_costs, read_costs
from benchmarks.evidence.contender import Contender, Cost
from benchmarks.evidence.entries import RECIPES
from benchmarks.evidence.recipes import Recipe
from linearizer_core.data import Splits
from linearizer_core.factory import create_dataset

NAMES = ("ours", "unlabelled", "published", "published-couplings", "likelihood", "matching")
FEW = {"reconstruction": 3, "prior": 3, "published": 2, "likelihood": 3, "matching": 2}


@pytest.fixture(scope="module")
def splits() -> Splits:
    return create_dataset("digits").load()


def build(name: str, splits: Splits, seed: int = 0) -> Contender:
    recipe = RECIPES[name]
    return recipe.build(splits.info, seed, {stage: FEW[stage] for stage in recipe.shares}, None)


def test_all_are_of_one_size(splits: Splits) -> None:
    sizes = {name: build(name, splits).parameters for name in NAMES}
    assert max(sizes.values()) < 1.1 * min(sizes.values()), sizes


@pytest.mark.parametrize("name", ["ours", "unlabelled", pytest.param("published", marks=pytest.mark.slow), "likelihood", "matching"])
def test_it_is_trained_once_and_then_read(name: str, splits: Splits, tmp_path: Path) -> None:
    first, again = build(name, splits), build(name, splits)
    spent = first.train(splits, tmp_path)
    assert spent.keys() == RECIPES[name].shares.keys()
    assert again.train(splits, tmp_path) == spent
    for way, evaluations in list(first.ways().items())[:2]:
        drawn, repeated, other = first.draw(way, 20, seed=1), again.draw(way, 20, seed=1), first.draw(way, 20, seed=2)
        assert drawn.images.shape == (20, 1, 8, 8)
        assert torch.equal(drawn.images, repeated.images)
        assert not torch.equal(drawn.images, other.images)
        assert evaluations >= 1
        if drawn.labels is not None:
            assert drawn.labels.bincount().tolist() == [2] * 10
    assert (drawn.labels is None) == (name in ("unlabelled", "published"))


@pytest.mark.parametrize("name", ["ours", "published-couplings", "likelihood", "matching"])
def test_what_holds_exactly_is_examined(name: str, splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "EVALUATIONS", (1, 2))
    contender = build(name, splits)
    contender.train(splits, tmp_path)
    found = contender.examine(splits)
    assert all(seconds > 0 for seconds in found["sampling_seconds"].values())
    if name == "matching":
        assert found["sampling_seconds"].keys() == {"1 evaluation", "2 evaluations"}
        return
    assert found["round_trip"] < 1e-3
    if name == "likelihood":
        assert 0 < found["bits_per_dimension"] < 20
        return
    assert found["one_step_vs_loop_psnr_db"] > 80  # equal but for rounding
    assert found["published_collapse_vs_loop_psnr_db"] < found["one_step_vs_loop_psnr_db"] - 20
    assert found["inversion_psnr_db"] > 5


@pytest.mark.slow
def test_another_seed_is_another_model(splits: Splits, tmp_path: Path) -> None:
    for name in ("ours", "likelihood"):
        images = []
        for seed in (0, 1):
            contender = build(name, splits, seed)
            contender.train(splits, tmp_path / f"{name}{seed}")
            images.append(contender.draw(next(iter(contender.ways())), 8).images)
        assert not torch.equal(*images)


def test_steps_follow_from_what_they_cost(splits: Splits, tmp_path: Path) -> None:
    costs = measure_costs({"ours": RECIPES["ours"]}, splits, None)
    assert costs["ours"].keys() == {"reconstruction", "prior"}
    assert costs["ours"]["prior"].start > costs["ours"]["reconstruction"].start  # the latents of all images
    add_costs(tmp_path / "costs.json", costs, {"load": 0.5})
    add_costs(tmp_path / "costs.json", {"other": costs["ours"]}, {"load": 2.5})
    assert read_costs(tmp_path / "costs.json") == {**costs, "other": costs["ours"]}
    assert [each["environment"]["load"] for each in json.loads((tmp_path / "costs.json").read_text()).values()] == [0.5, 2.5]
    steps = affordable(costs["ours"], RECIPES["ours"].shares, 60.0)
    spent = sum(costs["ours"][stage].start + number * costs["ours"][stage].step for stage, number in steps.items())
    assert 60 - 2 * max(cost.step for cost in costs["ours"].values()) < spent <= 60


def test_on_a_machine_that_changes_its_speed_costs_are_those_beside_the_reference(splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    slowness = iter((1.0, 3.0, 0.5, 0.5, 2.0, 2.0) * 2)  # three turns of two recipes, each right after the reference: for each, one pair falls into a change

    def cost(contender: Contender, splits: Splits, window: int) -> dict[str, Cost]:
        factor = next(slowness)
        return {"reconstruction": Cost(0.2 * factor, 0.8 * factor)}

    contender = build("ours", splits)
    monkeypatch.setattr(type(contender), "cost", cost)
    recipe = Recipe("", lambda info, seed, steps, weights: contender, {"reconstruction": 1.0})
    costs = measure_costs({"a": recipe, "b": recipe}, splits, None, (recipe, {"reconstruction": Cost(10.0)}))
    assert costs["a"]["reconstruction"] == costs["b"]["reconstruction"] == Cost(10.0, 40.0)
