"""Exact resume, averages, accumulation, failure, samples."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tiny_training import (
    FittedStage,
    LikelihoodStage,
    PoisonedStage,
    SilentStage,
    TinyTask,
    run_tiny,
    stage_config,
    tiny_model,
    tiny_splits,
    training_config,
    two_stages,
)

from linearizer_core.data import DataInfo, Splits, TensorTable, stack
from linearizer_core.errors import CheckpointError, ConfigError, NonFiniteLossError, TrainingError
from linearizer_core.model import LinearizerModel
from linearizer_core.training import fit, read_metrics


def same_bits(first: LinearizerModel, second: LinearizerModel) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def float64_splits() -> Splits:
    table = TensorTable(x=stack(tiny_splits().train)["x"].double())
    return Splits(DataInfo(name="arc", shape=(2,)), table, table, table)


def keep_only(output: Path, step: int) -> None:
    """The folder as a kill after ``step`` would have left it: later checkpoints gone, metrics running ahead."""
    for folder in (output / "checkpoints").glob("0*"):
        if int(folder.name) > step:
            shutil.rmtree(folder)


@pytest.mark.parametrize("options", [{"accumulation_steps": 1}, {"accumulation_steps": 2}, {"reversible": {"anchor_every": 2}}], ids=str)
@pytest.mark.parametrize("step", [2, 6, 8, 11])
def test_resume_gives_the_bits_of_the_uninterrupted_run(tmp_path: Path, step: int, options: dict[str, Any]) -> None:
    whole, _ = run_tiny(tmp_path / "whole", two_stages(), **options)
    _, first = run_tiny(tmp_path / "parts", two_stages(), **options, checkpoint_every=1, keep_checkpoints=99)
    assert first.resumed_from is None
    keep_only(tmp_path / "parts", step)
    torch.randn(17)  # the global random state is not part of a checkpoint, and must not matter
    resumed, result = run_tiny(tmp_path / "parts", two_stages(), **options)
    assert result.resumed_from == step
    assert same_bits(whole, resumed)
    assert (tmp_path / "parts" / "metrics.jsonl").read_text() == (tmp_path / "whole" / "metrics.jsonl").read_text()


def test_rebuilding_activations_changes_only_rounding(tmp_path: Path) -> None:
    (plain, _), (saving, _) = (run_tiny(tmp_path / str(number), two_stages(), **options) for number, options in enumerate(({}, {"reversible": {}})))
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(saving.state_dict()[name], tensor, rtol=1e-3, atol=1e-4)
    assert not any(getattr(member, "reversible", None) for member in saving.modules())


def test_adamw_moments_are_restored_with_their_parameters(tmp_path: Path) -> None:
    # Without the second stage, whose optimiser starts afresh, any mix-up of moments would show in the weights.
    def task() -> TinyTask:
        return TinyTask(LikelihoodStage("only", stage_config(steps=10)))

    whole, _ = run_tiny(tmp_path / "whole", task())
    run_tiny(tmp_path / "parts", task(), checkpoint_every=5)
    keep_only(tmp_path / "parts", 5)
    resumed, _ = run_tiny(tmp_path / "parts", task())
    assert same_bits(whole, resumed)
    stored = load_file(tmp_path / "parts" / "checkpoints" / "000005" / "optimizer.safetensors")
    assert {name.rsplit("|")[1] for name in stored} == {"step", "exp_avg", "exp_avg_sq"}


def test_begin_runs_once(tmp_path: Path) -> None:
    FittedStage.begun = 0
    run_tiny(tmp_path, two_stages(), checkpoint_every=4)
    assert FittedStage.begun == 1
    keep_only(tmp_path, 8)
    model, _ = run_tiny(tmp_path, two_stages())
    assert FittedStage.begun == 1
    center = next(buffer for name, buffer in model.named_buffers() if name.endswith("center"))
    torch.testing.assert_close(center, stack(tiny_splits().train)["x"].mean(0))


def test_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    first, done = run_tiny(tmp_path, two_stages())
    second, again = run_tiny(tmp_path, two_stages())
    assert same_bits(first, second)
    assert again.resumed_from == 12
    assert again.seconds == done.seconds
    assert done.seconds.keys() == {"rough", "fine"}
    assert min(done.seconds.values()) > 0


def test_a_stage_ends_with_the_averaged_weights(tmp_path: Path) -> None:
    averaged, _ = run_tiny(tmp_path / "ema", TinyTask(LikelihoodStage("one", stage_config(ema=0.9, ema_warmup=1))))
    plain, _ = run_tiny(tmp_path / "plain", TinyTask(LikelihoodStage("one", stage_config())), checkpoint_every=1, keep_checkpoints=99)
    weights = [load_file(tmp_path / "plain" / "checkpoints" / f"{step:06d}" / "model.safetensors") for step in range(1, 7)]
    for name, parameter in averaged.named_parameters():
        expected = weights[0][name].double()
        for k in range(1, 6):
            decay = min(0.9, k / (k + 1))
            expected = decay * expected + (1 - decay) * weights[k][name].double()
        torch.testing.assert_close(parameter.double(), expected, rtol=1e-5, atol=1e-6)
    assert not same_bits(averaged, plain)


def test_losses_do_not_change(tmp_path: Path) -> None:
    """Seed, initialisation, data order, noise, optimiser and schedule, all in five numbers (in float64, so that they hold on any machine)."""
    task = TinyTask(LikelihoodStage("golden", stage_config(steps=5, ema=0.9, clip_norm=1.0, warmup_steps=2)))
    fit(task, tiny_model().double(), float64_splits(), training_config(tmp_path, seed=3))
    losses = [line["loss"] for line in read_metrics(tmp_path / "metrics.jsonl")]
    assert losses == pytest.approx(GOLDEN, abs=1e-6)


GOLDEN = [-0.6901796, -0.8409364, -0.7850652, -0.1919104, -0.2794698]


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    run_tiny(tmp_path, TinyTask(LikelihoodStage("one", stage_config(steps=150, batch_size=50))), log_every=30)
    losses = [line["loss"] for line in read_metrics(tmp_path / "metrics.jsonl")]
    assert len(losses) == 5
    assert losses[-1] < losses[0] - 0.3  # type: ignore[operator]


def test_windows_average_the_steps(tmp_path: Path) -> None:
    run_tiny(tmp_path / "one", two_stages())
    run_tiny(tmp_path / "four", two_stages(), log_every=4)
    single = [line["loss"] for line in read_metrics(tmp_path / "one" / "metrics.jsonl")]
    windows = read_metrics(tmp_path / "four" / "metrics.jsonl")
    assert [line["step"] for line in windows] == [4, 6, 8, 12]
    assert windows[0]["loss"] == pytest.approx(sum(single[:4]) / 4)  # type: ignore[arg-type]
    assert windows[1]["loss"] == pytest.approx(sum(single[4:6]) / 2)  # type: ignore[arg-type]


def test_accumulation_gives_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    models = []
    for pieces in (1, 4):
        model, splits = tiny_model().double(), float64_splits()
        # ActNorm looks at one micro-batch: settle it first, so that both runs start alike.
        model.gx(stack(splits.train)["x"])
        task = TinyTask(SilentStage("one", stage_config(steps=4)))
        fit(task, model, splits, training_config(tmp_path / str(pieces), accumulation_steps=pieces))
        models.append(model)
    for first, second in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-9)


def test_nan_stops_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    stage = PoisonedStage("sick", stage_config(steps=12))
    stage.bad_call = 8 + 1  # one call is the rehearsal
    with pytest.raises(NonFiniteLossError, match=r"stage 'sick', step 8 \(step 8 of the run\): loss nan.*last good checkpoint is .*000006"):
        run_tiny(tmp_path, TinyTask(stage), checkpoint_every=3, log_every=5)
    assert [path.name for path in sorted((tmp_path / "checkpoints").glob("0*"))] == ["000003", "000006"]
    assert [line["step"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [3, 5, 6]
    # With the cause gone, the run continues from there and equals one that never was ill.
    healed, result = run_tiny(tmp_path, TinyTask(LikelihoodStage("sick", stage_config(steps=12))))
    whole, _ = run_tiny(tmp_path / "whole", TinyTask(LikelihoodStage("sick", stage_config(steps=12))))
    assert result.resumed_from == 6
    assert same_bits(healed, whole)


def test_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    run_tiny(tmp_path, two_stages())
    with pytest.raises(CheckpointError, match=r"belongs to another run: seed: 0 -> 1, stages.fine.steps: 6 -> 7"):
        run_tiny(tmp_path, two_stages(7), seed=1)


def test_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path: Path) -> None:
    whole, _ = run_tiny(tmp_path, two_stages(), checkpoint_every=4)
    damaged = tmp_path / "checkpoints" / "000012" / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-8])
    with pytest.warns(UserWarning, match="truncated"):
        resumed, result = run_tiny(tmp_path, two_stages(), checkpoint_every=4)
    assert result.resumed_from == 8
    assert same_bits(whole, resumed)


def test_batch_larger_than_the_data(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="batch_size is 200, but it trains on 100 examples"):
        run_tiny(tmp_path, TinyTask(LikelihoodStage("one", stage_config(batch_size=200))))


def test_a_parameter_the_loss_does_not_reach_is_named(tmp_path: Path) -> None:
    class Idle(LikelihoodStage):
        def parameters(self, model: LinearizerModel) -> list[torch.nn.Parameter]:
            return list(model.parameters())

    model = tiny_model()
    model.core.idle = torch.nn.Parameter(torch.zeros(1))
    with pytest.raises(TrainingError, match=r"stage 'one': its loss does not depend on 1 of its \d+ parameters, first 'core.idle'"):
        fit(TinyTask(Idle("one", stage_config())), model, tiny_splits(), training_config(tmp_path))


def test_a_stage_that_trains_nothing_is_refused(tmp_path: Path) -> None:
    class Empty(LikelihoodStage):
        def parameters(self, model: LinearizerModel) -> list[torch.nn.Parameter]:
            return []

    with pytest.raises(TrainingError, match="stage 'one' trains 0 parameters"):
        run_tiny(tmp_path, TinyTask(Empty("one", stage_config())))


def test_frozen_parameters_stay_and_requires_grad_is_restored(tmp_path: Path) -> None:
    model = tiny_model()
    frozen = next(parameter for name, parameter in model.named_parameters() if name.endswith("shift"))
    fit(TinyTask(FittedStage("only", stage_config())), model, tiny_splits(), training_config(tmp_path))
    kept = frozen.detach().clone()
    fit(TinyTask(FittedStage("other", stage_config())), model, tiny_splits(), training_config(tmp_path / "again"))
    assert torch.equal(frozen, kept)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_sample_grids_do_not_disturb_training(tmp_path: Path) -> None:
    models = []
    for name, every in (("with", 4), ("without", 0)):
        model, task = tiny_model(), two_stages()
        torch.manual_seed(5)
        fit(task, model, tiny_splits(shape=(1, 4, 4)), training_config(tmp_path / name, sample_every=every))
        models.append(model)
        drawn = torch.rand(1)
        torch.manual_seed(5)
        assert torch.equal(drawn, torch.rand(1)), "training drew from the global random state"
        assert len(task.sampled) == (3 if every else 0)
    assert same_bits(*models)
    assert sorted(path.name for path in (tmp_path / "with" / "samples").iterdir()) == ["000004.png", "000008.png", "000012.png"]
    with Image.open(tmp_path / "with" / "samples" / "000004.png") as image:
        assert image.size == (8 * 6 + 2, 8 * 6 + 2)


def test_samples_are_drawn_from_the_averaged_weights(tmp_path: Path) -> None:
    model, task = tiny_model(), two_stages()
    name, _ = next(model.named_parameters())
    fit(task, model, tiny_splits(shape=(1, 4, 4)), training_config(tmp_path, sample_every=4, checkpoint_every=4, keep_checkpoints=9))
    stored = tmp_path / "checkpoints" / "000004"
    average, weights = (load_file(stored / f"{stem}.safetensors")[name] for stem in ("ema", "model"))
    assert torch.equal(task.sampled[0], average)
    assert not torch.equal(average, weights)


def test_bf16_trains_and_another_precision_may_follow(tmp_path: Path) -> None:
    lowered, _ = run_tiny(tmp_path / "bf16", two_stages(), mixed_precision="bf16")
    plain, _ = run_tiny(tmp_path / "no", two_stages())
    assert not same_bits(lowered, plain)
    assert {parameter.dtype for parameter in lowered.parameters()} == {torch.float32}


def test_fp16_needs_a_gpu(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'fp16', which needs a GPU"):
        run_tiny(tmp_path, two_stages(), mixed_precision="fp16")


def test_loader_processes_give_the_same_bits(tmp_path: Path) -> None:
    alone, _ = run_tiny(tmp_path / "alone", TinyTask(LikelihoodStage("one", stage_config())))
    helped, _ = run_tiny(tmp_path / "helped", TinyTask(LikelihoodStage("one", stage_config())), num_workers=2)
    assert same_bits(alone, helped)
