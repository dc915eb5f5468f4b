from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tiny_training import LikelihoodStage, TinyTask, run_tiny, stage_config, tiny_model
from torch import Tensor, nn

from linearizer_core.bijections import (
    AffineCoupling,
    Bijection,
    Chain,
    ElementwiseAffine,
    FixedAffine,
    Flatten,
    Identity,
    Inverse,
    MLPConditioner,
    SplitMerge,
    Whiten,
)
from linearizer_core.condition import Condition
from linearizer_core.config import LipschitzConfig
from linearizer_core.data import Batch
from linearizer_core.errors import TrainingError
from linearizer_core.model import LinearizerModel
from linearizer_core.training import lipschitz_penalty, read_metrics, trained_bijections
from linearizer_core.training.stage_step import StageStep


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Listening(Bijection):
    """The identity, remembering what it was asked."""

    def __init__(self, in_shape: tuple[int, ...], conditions: dict[str, int] | None = None) -> None:
        super().__init__(in_shape, conditions=conditions)
        self.heard: dict[str, tuple[Tensor, Condition | None]] = {}

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        self.heard["forward"] = x, condition
        return x

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        self.heard["inverse"] = z, condition
        return z


# --- the penalty --------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [30.0, 1 / 30.0])
def test_gains_of_both_directions_count(scale: float) -> None:
    g = FixedAffine((4,), shift=1.0, scale=scale).double()
    penalty = lipschitz_penalty(g, torch.rand(6, 4, dtype=torch.float64), generator(), LipschitzConfig(bound=10.0))
    assert float(penalty) == pytest.approx(math.log(3) ** 2, rel=1e-6)


def test_gains_within_the_bound_are_free_and_have_no_gradient() -> None:
    g = ElementwiseAffine((3,))
    nn.init.constant_(g.log_scale, math.log(9.9))
    penalty = lipschitz_penalty(g, torch.rand(6, 3), generator(), LipschitzConfig(bound=10.0))
    assert penalty.item() == 0
    penalty.backward()
    assert g.log_scale.grad is not None
    assert torch.equal(g.log_scale.grad, torch.zeros_like(g.log_scale))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_descent_brings_the_gain_down_to_the_bound(sign: float) -> None:
    g = ElementwiseAffine((3,))
    nn.init.constant_(g.log_scale, sign * 5.0)
    optimizer = torch.optim.Adam(g.parameters(), lr=0.1)
    draws = generator()
    for _ in range(150):
        optimizer.zero_grad()
        lipschitz_penalty(g, torch.rand(16, 3), draws, LipschitzConfig(bound=4.0)).backward()
        optimizer.step()
    assert float(g.log_scale.detach().abs().mean()) == pytest.approx(math.log(4), abs=0.3)


def test_points_are_data_then_noise_of_their_range_and_moments() -> None:
    data = 3 + torch.rand(4000, 2, generator=generator(1))
    g = Listening((2,))
    lipschitz_penalty(g, data, generator(), LipschitzConfig(off_data=0.5, step=0.01))
    points, moved = g.heard["forward"][0].chunk(2)
    assert torch.equal(points[:2000], data[:2000])
    assert (moved - points).std().item() == pytest.approx(0.01, rel=0.05)
    uniform, gaussian = points[2000:3000], points[3000:]
    assert 2.99 < uniform.min().item() < 3.01 < 3.99 < uniform.max().item() < 4.01
    assert gaussian.mean().item() == pytest.approx(3.5, abs=0.03)
    assert gaussian.std().item() == pytest.approx(data.std().item(), rel=0.05)
    assert gaussian.max().item() > 4.2
    latents, _ = g.heard["inverse"][0].chunk(2)
    assert len(latents) == 6000
    assert torch.equal(latents[:4000], points)
    assert not torch.equal(latents[4000:], latents[2000:4000])
    assert latents[4000:].std().item() == pytest.approx(latents[:4000].std().item(), rel=0.05)


def test_without_noise_all_points_are_data() -> None:
    g, data = Listening((2,)), torch.rand(5, 2)
    lipschitz_penalty(g, data, generator(), LipschitzConfig(off_data=0.0))
    assert torch.equal(g.heard["forward"][0][:5], data)
    assert len(g.heard["inverse"][0]) == 10


def test_both_points_of_a_pair_are_in_one_random_category() -> None:
    g = Listening((2,), {"label": 3})
    lipschitz_penalty(g, torch.rand(40, 2), generator(), LipschitzConfig())
    for direction in ("forward", "inverse"):
        condition = g.heard[direction][1]
        assert condition is not None
        first, second = condition["label"].chunk(2)
        assert torch.equal(first, second)
        assert set(first.tolist()) == {0, 1, 2}


def test_the_generator_is_the_only_randomness() -> None:
    g = AffineCoupling((4,), MLPConditioner(2, 4, width=8))
    nn.init.normal_(g.conditioner.last.weight, std=3)  # type: ignore[union-attr,arg-type]
    x, config = torch.rand(6, 4), LipschitzConfig(bound=1.0)
    first, other = (lipschitz_penalty(g, x, generator(seed), config) for seed in (0, 1))
    torch.randn(9)
    assert torch.equal(lipschitz_penalty(g, x, generator(0), config), first)
    assert not torch.equal(first, other)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(lipschitz_penalty(g, x, generator(0), config), first)


# --- what is penalised --------------------------------------------------------------------------------


def coupling(dim: int = 4) -> AffineCoupling:
    return AffineCoupling((dim,), MLPConditioner(dim // 2, 2 * (dim - dim // 2), width=3))


def test_the_largest_trained_bijections_are_found_once() -> None:
    body, prior = Chain(coupling(6), coupling(6)), Chain(coupling(), coupling())
    whole = Chain(body, SplitMerge(Chain(Whiten(4), prior), Identity((2,))))
    model = nn.ModuleDict({"gx": Inverse(whole), "gy": whole})
    assert trained_bijections(model) == [whole]
    prior.requires_grad_(False)
    assert trained_bijections(model) == [body]
    prior.requires_grad_(True)
    body.requires_grad_(False)
    assert trained_bijections(model) == [prior]
    prior[1].requires_grad_(False)
    assert trained_bijections(model) == [prior[0]]
    assert trained_bijections(model.requires_grad_(False)) == []


def test_half_trained_layers_do_not_count() -> None:
    layer = coupling()
    layer.conditioner.first.requires_grad_(False)  # type: ignore[union-attr,operator]
    assert trained_bijections(Chain(Flatten((4,)), layer)) == []


# --- in training --------------------------------------------------------------------------------------


def task(**lipschitz: object) -> TinyTask:
    return TinyTask(LikelihoodStage("only", stage_config(steps=8, lipschitz={"bound": 1.0, **lipschitz})))


def step(stage: LikelihoodStage, model: LinearizerModel, batch: Batch, number: int) -> dict[str, Tensor]:
    return StageStep(stage, model)(batch, generator(3), number)


def test_every_few_steps_the_loss_contains_the_penalty() -> None:
    model, batch = tiny_model(), {"x": 2 + torch.rand(16, 2)}
    plain = LikelihoodStage("plain", stage_config())
    stage = LikelihoodStage("bounded", stage_config(lipschitz={"every": 3, "weight": 0.5, "bound": 1.0}))
    step(plain, model, batch, 0)  # sets what is set from data
    bare = step(plain, model, batch, 0)["loss"]
    for number in range(7):
        values = step(stage, model, batch, number)
        torch.testing.assert_close(values["loss"], bare + 0.5 * values["lipschitz"])
        assert (values["lipschitz"].item() > 0) == (number % 3 == 0)
    once = step(LikelihoodStage("each", stage_config(lipschitz={"every": 1, "bound": 1.0})), model, batch, 5)
    torch.testing.assert_close(step(stage, model, batch, 6)["lipschitz"], 3 * once["lipschitz"])


def test_stages_on_other_data_are_penalised_on_noise() -> None:
    model = tiny_model()
    model.gx(torch.rand(8, 2))

    class Scored(LikelihoodStage):
        def loss(self, model: LinearizerModel, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
            return {"loss": model.gx(torch.zeros(1, 2)).sum()}

    stage = Scored("other", stage_config(lipschitz={"bound": 1.0, "off_data": 0.0}))
    values = step(stage, model, {"score": torch.zeros(5), "x": torch.zeros(5, 3)}, 0)
    # All points equal would have zero spread, and latents without any: the noise is normal.
    assert values["lipschitz"].item() > 0


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_resume_stays_exact(tmp_path: Path, accumulation_steps: int) -> None:
    options = {"accumulation_steps": accumulation_steps, "checkpoint_every": 5}
    whole, _ = run_tiny(tmp_path / "whole", task(every=3), **options)
    run_tiny(tmp_path / "parts", task(every=3), **options)
    for path in sorted((tmp_path / "parts" / "checkpoints" / "000008").iterdir()):
        path.unlink()
    (tmp_path / "parts" / "checkpoints" / "000008").rmdir()
    resumed, result = run_tiny(tmp_path / "parts", task(every=3), **options)
    assert result.resumed_from == 5
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name])
    lines = [list(read_metrics(tmp_path / run / "metrics.jsonl")) for run in ("whole", "parts")]
    assert lines[0] == lines[1]
    penalties = [line["lipschitz"] for line in lines[0]]
    assert [bool(penalty) for penalty in penalties] == [True, False, False, True, False, False, True, False]


def test_the_penalty_keeps_gains_down(tmp_path: Path) -> None:
    def spread(run: str, **stage: object) -> float:
        stages = TinyTask(LikelihoodStage("only", stage_config(steps=40, **stage)))
        model, _ = run_tiny(tmp_path / run, stages)
        jacobian = torch.autograd.functional.jacobian(lambda x: model.gx(x).sum(0), 2 + torch.randn(50, 2, generator=generator(5)))
        return float(torch.linalg.svdvals(jacobian.transpose(0, 1)).log().abs().mean())

    assert spread("bounded", lipschitz={"bound": 1.0, "weight": 20.0, "every": 2}) < 0.5 * spread("free")


def test_a_stage_that_trains_no_whole_bijection_is_refused() -> None:
    model = tiny_model().requires_grad_(False)
    stage = LikelihoodStage("partial", stage_config(lipschitz={}))
    with pytest.raises(TrainingError, match="'partial' has a lipschitz penalty, but trains no bijection as a whole"):
        StageStep(stage, model)
