"""From a name to an object: what is passed to a target, and what is refused."""

from __future__ import annotations

import pytest
import torch

from linearizer_core import create, create_backbone, create_core, create_dataset, create_task
from linearizer_core.bijections import Bijection
from linearizer_core.errors import ConfigError, TargetError, UnknownNameError

TARGETS = """
import torch
from pydantic import BaseModel, ConfigDict
from linearizer_core.bijections import Identity
from linearizer_core.cores import CoreOperator
from linearizer_core.data import DataSource

class Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    width: int = 64

def net(in_shape, config, conditions=None):
    made = Identity(in_shape)
    made.seen = (config.width, conditions)
    return made

def other_shape(in_shape, config, conditions=None):
    return Identity((*in_shape, 1))

def none(*arguments, **keywords):
    return None

class Core(CoreOperator):
    def __init__(self, shape, config, conditions=None):
        super().__init__(shape, conditions=conditions)
    def operator(self, condition=None):
        raise NotImplementedError

class Data(DataSource):
    def __init__(self, config):
        self.width = config.width
    def load(self):
        raise NotImplementedError
"""


@pytest.fixture(autouse=True)
def targets(plugin_site, hook_source) -> None:
    (plugin_site.folder / "fake_targets.py").write_text(TARGETS)
    for kind, name in (("backbone", "net"), ("backbone", "other_shape"), ("operator", "Core"), ("dataset", "Data")):
        target = f"fake_targets:{name}"
        plugin_site.install(f"p_{name.lower()}", hook_source(kind, name.lower(), target=target, config="fake_targets:Config"))
    for kind in ("backbone", "operator", "task", "dataset"):
        plugin_site.install(f"none_{kind}", hook_source(kind, "none", target="fake_targets:none", config="fake_targets:Config"))


def test_a_backbone_gets_shape_configuration_and_conditions() -> None:
    made = create_backbone("net", (2, 3), conditions={"label": 4}, width=5)
    assert isinstance(made, Bijection)
    assert made.in_shape == (2, 3)
    assert made.seen == (5, {"label": 4})
    x = torch.randn(2, 2, 3)
    assert torch.equal(made(x), x)


def test_create_takes_the_kind() -> None:
    assert create("net", in_shape=(2,)).seen == (64, None)
    assert create("core", kind="operator", shape=(3, 2), conditions={"label": 4}).conditions == {"label": 4}
    assert create("data", kind="dataset", width=3).width == 3
    with pytest.raises(ConfigError, match="kind 'pretrained' cannot be created; kinds: backbone, operator, task, dataset"):
        create("net", kind="pretrained")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: create_backbone("none", (2,)), "backbone 'none': target 'fake_targets:none' made a NoneType, not a linearizer_core.bijections.base.Bijection"),
        (lambda: create_core("none", (2, 2)), "made a NoneType, not a linearizer_core.cores.base.CoreOperator"),
        (lambda: create_task("none"), "made a NoneType, not a linearizer_core.task.Task"),
        (lambda: create_dataset("none"), "made a NoneType, not a linearizer_core.data.DataSource"),
        (lambda: create_backbone("other_shape", (2,)), "was asked for in_shape (2,), got (2, 1)"),
    ],
)
def test_what_a_target_makes_is_checked(make, expected: str) -> None:
    with pytest.raises(TargetError) as caught:
        make()
    assert expected in str(caught.value)


def test_options_are_validated_before_the_target_loads() -> None:
    with pytest.raises(ConfigError, match=r"backbone 'net': widht = 3: unknown key; did you mean 'width'\? \(valid here: width\)"):
        create_backbone("net", (2,), widht=3)
    with pytest.raises(ConfigError, match=r"operator 'core': width = 'x': should be a valid integer.*\(expected int\)"):
        create_core("core", (2, 2), width="x")


def test_unknown_names() -> None:
    with pytest.raises(UnknownNameError, match="there is no dataset named 'dta'; did you mean 'data'"):
        create_dataset("dta")


def test_the_package_offers_its_names_lazily() -> None:
    import linearizer_core

    for name in linearizer_core.__all__:
        assert getattr(linearizer_core, name).__name__ == name
        assert name in dir(linearizer_core)
    assert sorted(linearizer_core.__all__) == linearizer_core.__all__
    with pytest.raises(AttributeError, match="module 'linearizer_core' has no attribute 'Linearise'"):
        _ = linearizer_core.Linearise
