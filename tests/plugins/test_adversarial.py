"""The adversarial stage of the flow task: its loss, who learns from which part of it, mirror images, resume and saving."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from linearizer_core.condition import Condition
from linearizer_core.config import Component, ModelConfig, TrainingConfig
from linearizer_core.data import Splits, stack
from linearizer_core.errors import ConfigError
from linearizer_core.factory import build_model, create_dataset
from linearizer_core.features.perceptual import distance_of_maps
from linearizer_core.model import LinearizerModel
from linearizer_core.task import Task
from linearizer_core.training import fit
from linearizer_flow.adversarial import AdversarialStage
from linearizer_flow.critic import Critic, gradient_penalty
from linearizer_flow.latent_prior import latent_prior_of
from linearizer_flow.mirror import mirrored

RANK = 12
BACKBONE = {"levels": [{"couplings": 2, "width": 8}], "dense": {"couplings": 2, "width": 32}, "normalize": {"shift": -0.3, "scale": 2.0}}


@pytest.fixture(scope="module")
def splits() -> Splits:
    loaded: Splits = create_dataset("digits").load()
    return loaded


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "resnet10t.safetensors"
    torch.manual_seed(0)
    save_file({name: value.contiguous() for name, value in timm.create_model("resnet10t", pretrained=False).state_dict().items()}, path)
    return path


def made(weights: Path | None, condition: str = "label", *, steps: int = 2, **recipe: Any) -> tuple[Task, LinearizerModel]:
    prior = {"name": "coupling", "dense": {"couplings": 4, "width": 32}, "class_scale": condition != "none", "final_mixing": False}
    options = {
        "condition": condition,
        "clusters": 5,
        "reconstruction": {"steps": steps, "batch_size": 32, "warmup_steps": 2},
        "prior": {"steps": steps, "batch_size": 64, "warmup_steps": 2, "backbone": prior},
        "adversarial": {"steps": steps, "batch_size": 16, "warmup_steps": 2, "critic_width": 8},
        **recipe,
    }
    if weights is not None:
        options["perceptual"] = {"model": "resnet10t", "weights": str(weights), "layers": 2, "size": 16}
    config = ModelConfig(
        task=Component(name="flow", latent_prior=options), backbone=Component(name="coupling", **BACKBONE), core=Component(name="gaussian", rank=RANK)
    )
    return build_model(config, splits_info(), seed=0)


def splits_info() -> Any:
    return create_dataset("digits").load().info


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def last_stage(task: Task, model: LinearizerModel) -> AdversarialStage:
    stage = task.stages()[-1]
    assert isinstance(stage, AdversarialStage)
    stage.auxiliary(model)
    torch.nn.init.normal_(stage.critic.heads[0].embedding, generator=seeded()) if stage.critic.heads[0].embedding is not None else None  # type: ignore[arg-type]
    return stage


def test_the_loss_is_the_stated_formula(weights: Path, splits: Splits) -> None:
    task, model = made(weights)
    stage, batch, bijection = last_stage(task, model), stack(splits.train, 24), latent_prior_of(model)
    terms = stage.loss(model, batch, seeded())
    generator, x, label = seeded(), batch["x"], batch["label"]
    u, w = bijection.body(x).split([RANK, 64 - RANK], 1)
    decoded = bijection.body.inverse(torch.cat([u + 0.15 * torch.randn(24, RANK, generator=generator), torch.zeros_like(w)], 1))
    noise = torch.cat([torch.randn(24, RANK, generator=generator), torch.zeros_like(w)], 1)
    sample = bijection.inverse(noise, Condition(label=label))
    white = bijection.whiten(u) + 0.1 * torch.randn(24, RANK, generator=generator)
    standard, logdet = bijection.prior.forward_and_logdet(white, Condition(label=label))
    real, fake = ([each.detach().requires_grad_() for each in stage.perceptual.maps(images)] for images in (x, sample))
    of_real, of_fake = stage.critic(real, label), stage.critic(fake, label)
    torch.testing.assert_close(terms["verdict"], -functional.logsigmoid(of_fake).mean())
    torch.testing.assert_close(terms["critic"], -functional.logsigmoid(of_real).mean() - functional.logsigmoid(-of_fake).mean())
    expected = {
        "reconstruction": (decoded - x).square().mean(),
        "perceptual": distance_of_maps(stage.perceptual.maps(decoded), real),
        "tail": w.square().mean(),
        "prior": (standard.square().sum(1) / 2 - logdet).mean() / RANK,
    }
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)
    total = terms["verdict"] + terms["critic"] + 0.1 * terms["penalty"] + 40 * terms["reconstruction"] + 0.25 * terms["perceptual"]
    torch.testing.assert_close(terms["loss"], total + 3 * terms["tail"] + terms["prior"])


def test_the_penalty_is_the_mean_squared_gradient_whatever_the_resolution() -> None:
    critic = Critic([3, 3], width=8, categories=0)
    coarse, fine = torch.randn(2, 3, 4, 4, generator=seeded()), torch.randn(2, 3, 8, 8, generator=seeded(1))
    maps = [each.requires_grad_() for each in (coarse, fine)]
    gradients = torch.autograd.grad(critic(maps, None).sum(), maps)
    expected = sum(gradient.square().sum() * gradient.shape[2] ** 2 for gradient in gradients) / 2
    torch.testing.assert_close(gradient_penalty(maps, critic(maps, None)), expected)


def test_neither_part_moves_the_weights_of_the_other(weights: Path, splits: Splits) -> None:
    task, model = made(weights)
    stage, batch = last_stage(task, model), stack(splits.train, 8)
    of_critic, of_model = list(stage.critic.parameters()), list(stage.parameters(model))
    terms = stage.loss(model, batch, seeded())
    for term, moved, kept in (("verdict", of_model, of_critic), ("critic", of_critic, of_model)):
        found = torch.autograd.grad(terms[term], [*moved, *kept], allow_unused=True, retain_graph=True)
        assert any(gradient is not None and bool(gradient.any()) for gradient in found[: len(moved)])
        assert all(gradient is None for gradient in found[len(moved) :])


def test_the_likelihood_reaches_the_prior_alone(weights: Path, splits: Splits) -> None:
    task, model = made(weights)
    terms, bijection = last_stage(task, model).loss(model, stack(splits.train, 8), seeded()), latent_prior_of(model)
    assert all(each is None for each in torch.autograd.grad(terms["prior"], list(bijection.body.parameters()), allow_unused=True, retain_graph=True))


@pytest.mark.parametrize("condition", ["label", "cluster", "none"])
def test_resume_gives_the_bits_of_the_uninterrupted_run_and_the_critic_is_not_saved(condition: str, weights: Path, splits: Splits, tmp_path: Path) -> None:
    def run(folder: Path) -> LinearizerModel:
        task, model = made(weights, condition, steps=3, mirror=True)
        fit(task, model, splits, TrainingConfig(output=folder, checkpoint_every=1, keep_checkpoints=99))
        return model

    whole = run(tmp_path / "whole").state_dict()
    saved = tmp_path / "whole" / "checkpoints" / "000008"
    critic = load_file(saved / "auxiliary.safetensors")
    assert "heads.0.first.weight" in critic
    assert ("heads.0.embedding" in critic) == (condition != "none")
    assert not any("critic" in name or "heads" in name for name in whole)
    assert not (tmp_path / "whole" / "checkpoints" / "000009" / "auxiliary.safetensors").exists()
    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    shutil.rmtree(tmp_path / "parts" / "checkpoints" / "000009")
    shutil.rmtree(tmp_path / "parts" / "checkpoints" / "000008")
    resumed = run(tmp_path / "parts").state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_the_critic_learns_while_model_and_critic_are_trained(weights: Path, splits: Splits, tmp_path: Path) -> None:
    task, model = made(weights, steps=1)
    fit(task, model, splits, TrainingConfig(output=tmp_path, checkpoint_every=100))
    stage, batch = last_stage(task, model), stack(splits.train, 64)
    optimizer = torch.optim.Adam(stage.critic.parameters(), lr=1e-2)
    values = []
    for step in range(15):
        terms = stage.loss(model, batch, seeded(step))
        values.append(float(terms["critic"].detach()))
        optimizer.zero_grad()
        (terms["critic"] + 0.1 * terms["penalty"]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert values[-1] < 0.98 * values[0]


def test_a_critic_without_features_is_refused() -> None:
    task, _ = made(None)
    with pytest.raises(ConfigError, match=r"set task\.latent_prior\.perceptual\.model"):
        task.stages()


def test_mirrored_images_are_turned_or_not() -> None:
    x = torch.rand(64, 1, 3, 4, generator=seeded())
    turned = mirrored(x, seeded())
    same = (turned == x).flatten(1).all(1)
    assert torch.equal(turned[~same], x[~same].flip(-1))
    assert 16 < int(same.sum()) < 48


def test_the_prior_sees_both_sides_of_a_mirror(splits: Splits) -> None:
    options: dict[str, Any] = {"adversarial": None}
    for mirror, factor in ((False, 1), (True, 2)):
        task, model = made(None, mirror=mirror, **options)
        table = stack(task.stages()[1].dataset(model, splits))
        assert len(table["u"]) == len(table["category"]) == factor * len(stack(splits.train)["x"])
