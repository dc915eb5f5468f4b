"""Trained models of tabs, as small as they can be."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from linearizer_core.config import Component, ModelConfig
from linearizer_core.data import DataInfo, Splits, stack
from linearizer_core.demo import Shown, Tab
from linearizer_core.factory import build_model, create_dataset
from linearizer_core.pretrained import Pretrained
from linearizer_core.pretrained.artifact import ArtifactConfig
from linearizer_core.pretrained.examples import EXAMPLES, choose_examples, draw_examples
from linearizer_core.testing.perturb import perturb

COUPLING = Component(name="coupling", levels=[{"couplings": 2, "width": 8}], dense={"couplings": 2, "width": 32}, normalize={"shift": -0.3, "scale": 2.0})
PRIOR = {"name": "coupling", "dense": {"couplings": 2, "width": 16}, "final_mixing": False}


def digits() -> Splits:
    loaded: Splits = create_dataset("digits").load()
    return loaded


def made(task: Component, core: Component, splits: Splits | DataInfo, backbone: Component = COUPLING, *, seed: int = 0) -> Pretrained:
    """A model whose weights were moved, not trained; with test examples where it is given splits."""
    info = splits.info if isinstance(splits, Splits) else splits
    config = ModelConfig(task=task, backbone=backbone, core=core)
    built, model = build_model(config, info, seed=seed)
    torch.manual_seed(seed)
    if isinstance(splits, Splits):
        for stage in built.stages():
            stage.begin(model, Splits(info, splits.test, splits.validation, splits.test))
    perturb(model)
    model.eval()
    pictures = {EXAMPLES: draw_examples(choose_examples(splits.test, info.classes))} if isinstance(splits, Splits) and len(info.shape) == 3 else {}
    return Pretrained(built, model, ArtifactConfig(model=config, data=info), operator=built.collapsed(model), pictures=pictures)


def flow(splits: Splits, condition: str = "label") -> Pretrained:
    prior = {**PRIOR, "class_scale": condition != "none"}
    options = {"condition": condition, "clusters": 5, "prior": {"backbone": prior}}
    return made(Component(name="flow", latent_prior=options), Component(name="gaussian", rank=12), splits)


def published(splits: Splits, condition: str = "label") -> Pretrained:
    task = Component(name="flow", recipe="published", published={"condition": condition}, sampling={"steps": 10})
    return made(task, Component(name="shared_subspace", rank=4), splits)


def projector(splits: Splits) -> Pretrained:
    generation = {"components": 8, "condition": "none", "prior": {"backbone": PRIOR}}
    return made(Component(name="ign", generation=generation), Component(name="projector", rank=8), splits)


def shown(tab: Tab, pretrained: Pretrained, **given: Any) -> Shown:
    """What the tab shows with some values set, the others as they are at first."""
    return tab.show(pretrained, **{control.name: control.accept(given.get(control.name)) for control in tab.controls(pretrained)})


def picture(found: Shown, name: str) -> Tensor:
    value = found.outputs[name]
    assert isinstance(value, Tensor)
    return value


def fact(found: Shown, label: str) -> str:
    return next(each.value for each in found.facts if label in each.label)


def examples(splits: Splits, count: int) -> Tensor:
    return stack(splits.test, count)["x"]


def same(first: Shown, second: Shown) -> bool:
    """Whether all that is shown is the same, bit for bit."""
    pairs = [(value, second.outputs[name]) for name, value in first.outputs.items()]
    return all(torch.equal(one, other) if isinstance(one, Tensor) and isinstance(other, Tensor) else one == other for one, other in pairs)


def require_seeded(tab: Tab, pretrained: Pretrained, **chosen: Any) -> None:
    """With ``chosen`` values the seed alone decides what is shown; without them nothing depends on it."""
    first = shown(tab, pretrained, **chosen, seed=1)
    assert same(first, shown(tab, pretrained, **chosen, seed=1))
    assert not same(first, shown(tab, pretrained, **chosen, seed=2))
    assert not same(first, shown(tab, pretrained))
    assert same(shown(tab, pretrained), shown(tab, pretrained, seed=1))
