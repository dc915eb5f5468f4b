"""Run configurations: what is accepted, what is refused and how it is said, and that dumping and loading keeps all."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from linearizer_core.config import Component, RunConfig, StageConfig
from linearizer_core.config_file import dump_config, load_config
from linearizer_core.errors import ConfigError
from linearizer_core.validation import validate

CONFIGS = """
from pydantic import BaseModel, ConfigDict, model_validator
from linearizer_core.config import Component, OptimizerConfig, StageConfig

class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

class NetConfig(Options):
    width: int = 64
    depth: int | None = 3
    names: tuple[str, ...] = ()

    @model_validator(mode="after")
    def even(self):
        if self.width % 2:
            raise ValueError(f"width {self.width} is odd; halves need an even one")
        return self

class DataConfig(Options):
    root: str

class TaskConfig(Options):
    stage: StageConfig = StageConfig(steps=7, batch_size=3, clip_norm=1.0, optimizer=OptimizerConfig(lr=0.5, weight_decay=0.25))
    backbone: Component = Component(name="net", width=8)
"""

TOML = """
[task]
name = "fit"

[backbone]
name = "net"
width = 32

[core]
name = "core"

[data]
name = "table"
root = "somewhere"

[training]
output = "runs/x"
"""


@pytest.fixture
def path(plugin_site, hook_source, tmp_path: Path) -> Path:
    """A run configuration over one fake plugin per kind."""
    (plugin_site.folder / "fake_config.py").write_text(CONFIGS)
    for kind, name, config in (
        ("backbone", "net", "NetConfig"),
        ("operator", "core", "NetConfig"),
        ("task", "fit", "TaskConfig"),
        ("dataset", "table", "DataConfig"),
    ):
        plugin_site.install(f"p{kind}", hook_source(kind, name, config=f"fake_config:{config}"))
    file = tmp_path / "run.toml"
    file.write_text(TOML)
    return file


def test_a_file_is_read(path: Path) -> None:
    config = load_config(path)
    assert (config.backbone.name, config.backbone.options) == ("net", {"width": 32})
    assert (config.training.output, config.training.seed, config.training.tracker) == (Path("runs/x"), 0, "jsonl")
    assert config.model.core == config.core


@pytest.mark.parametrize(
    ("override", "read", "expected"),
    [
        ("training.seed=3", lambda c: c.training.seed, 3),
        ("training.mixed_precision=bf16", lambda c: c.training.mixed_precision, "bf16"),
        ("training.output=runs/a b", lambda c: c.training.output, Path("runs/a b")),
        ("data.root='5'", lambda c: c.data.options, {"root": "5"}),
        ("data.root=1\ncore=2", lambda c: c.data.options, {"root": "1\ncore=2"}),
        ("data.root=a=b", lambda c: c.data.options, {"root": "a=b"}),
        ("backbone.names=['a', 'b']", lambda c: c.backbone.options["names"], ["a", "b"]),
        ("task.stage.optimizer={lr=0.25}", lambda c: c.task.options["stage"], {"optimizer": {"lr": 0.25}}),
        ("task.stage.clip_norm=none", lambda c: c.task.options["stage"], {"clip_norm": "none"}),
        (" training.seed = 4 ", lambda c: c.training.seed, 4),
    ],
)
def test_overrides_are_typed(path: Path, override: str, read, expected: object) -> None:
    found = read(load_config(path, [override]))
    assert found == expected
    assert type(found) is type(expected) or isinstance(expected, Path)


def test_later_overrides_win(path: Path) -> None:
    assert load_config(path, ["training.seed=1", "training.seed=2"]).training.seed == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.sede=3", "training.sede = 3: unknown key; did you mean 'seed'?"),
        ("training.seed=soon", "training.seed = 'soon': should be a valid integer"),
        ("training.seed=-1", "training.seed = -1: should be greater than or equal to 0 (expected int, >= 0)"),
        ("training.tracker=paper", "(expected 'jsonl' | 'tensorboard' | 'trackio' | 'wandb')"),
        ("trainig.seed=3", "trainig = {'seed': 3}: unknown key; did you mean 'training'?"),
        ("backbone.widht=3", "backbone.widht = 3: unknown key; did you mean 'width'? (valid here: depth, names, width)"),
        ("backbone.width=wide", "backbone.width = 'wide': should be a valid integer"),
        ("backbone.width=7", "backbone: width 7 is odd; halves need an even one"),
        ("backbone.name=nte", "backbone.name = 'nte': there is no backbone named 'nte'; did you mean 'net'?"),
        ("backbone.name=3", "backbone.name = 3: should be a valid string"),
        ("core.depht=3", "core.depht = 3: unknown key; did you mean 'depth'?"),
        ("task.stage.stpes=3", "task.stage.stpes = 3: unknown key; did you mean 'steps'?"),
        ("task.stage.optimizer.lr=0", "task.stage.optimizer.lr = 0: should be greater than 0 (expected float, > 0)"),
        ("task.backbone.widht=3", "task.backbone.widht = 3: unknown key; did you mean 'width'?"),
        ("task.backbone={name='nets'}", "task.backbone.name = 'nets': there is no backbone named 'nets'; did you mean 'net'?"),
        ("training.seed.x=3", "training.seed"),
        ("training.output.x=3", "training.output is 'runs/x', not a table"),
        ("training.seed", "'training.seed' is malformed; write key=value"),
        ("training..seed=3", "'training..seed=3' is malformed"),
        ("=3", "'=3' is malformed"),
    ],
)
def test_mistakes_name_key_value_and_cure(path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(path, [override])
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_all_mistakes_are_told_at_once(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(path, ["backbone.widht=3", "core.name=cores", "data.rot=3"])
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("3 problems")
    assert [line.split()[1] for line in lines[1:]] == ["backbone.widht", "core.name", "data.rot"]


def test_a_missing_value_is_named(path: Path) -> None:
    path.write_text(TOML.replace('output = "runs/x"', "").replace('root = "somewhere"', ""))
    with pytest.raises(ConfigError, match=r"training\.output is missing; give it a value \(expected Path\)"):
        load_config(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[task\nname = 3", "is not valid TOML: "),
        ("[task]\nname = fit", "strings need quotes"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (None, "cannot be read: No such file"),
    ],
)
def test_files_that_cannot_be_read(path: Path, text: str | bytes | None, message: str) -> None:
    path.unlink()
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        load_config(tmp_path)


def test_a_broken_config_module_is_told_with_the_key(path: Path, plugin_site, hook_source) -> None:
    plugin_site.install("broken", hook_source("task", "torn", config="fake_nonesuch:Config"))
    with pytest.raises(ConfigError, match=r"task.name = 'torn': task 'torn': config 'fake_nonesuch:Config' cannot be imported"):
        load_config(path, ["task.name=torn"])


options = st.recursive(
    st.integers(-(2**40), 2**40) | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc_- .", min_size=1, max_size=4), inner, max_size=3),
    max_leaves=6,
)
names = st.from_regex(r"[a-m]{1,6}", fullmatch=True).filter(lambda name: name != "name")


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_options=st.dictionaries(names, options, max_size=3), seed=st.integers(0, 2**60), output=st.from_regex(r"[a-z\"' \\]{1,8}", fullmatch=True))
def test_dump_and_load_give_the_same(tmp_path: Path, given_options: dict, seed: int, output: str) -> None:
    component = Component(name="x", **given_options)
    training = {"seed": seed, "output": output}
    config = RunConfig.model_validate({"task": component, "backbone": component, "core": component, "data": component, "training": training})
    assert validate(RunConfig, tomllib.loads(dump_config(config))) == config


def test_none_survives_the_file(path: Path) -> None:
    config = load_config(path, ["backbone.depth=none", "task.stage={clip_norm='none'}"])
    copy = path.with_name("copy.toml")
    copy.write_text(dump_config(config))
    assert load_config(copy) == config
    python_built = config.model_copy(update={"backbone": Component(name="net", depth=None)})
    copy.write_text(dump_config(python_built))
    assert load_config(copy).backbone.options == {"depth": "none"}


def test_configurations_are_frozen_and_strict() -> None:
    stage = StageConfig(steps=1, batch_size=1)
    with pytest.raises(ValidationError, match="frozen"):
        stage.steps = 2
    with pytest.raises(ValidationError, match="Extra inputs"):
        StageConfig.model_validate({"steps": 1, "batch_size": 1, "step": 3})


def test_stage_defaults_train_plainly() -> None:
    stage = StageConfig(steps=1, batch_size=1)
    assert (stage.warmup_steps, stage.hold, stage.final_lr_fraction, stage.clip_norm, stage.ema, stage.ema_warmup) == (0, 0.0, 0.005, None, None, 50)
    assert (stage.optimizer.name, stage.optimizer.betas) == ("adamw", (0.9, 0.999))
