"""`linearizer check`: what it prints, what it exits with."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

PLUGIN = """
from pydantic import BaseModel, ConfigDict
from linearizer_core.bijections import FixedAffine, Bijection
from linearizer_core.cores import CoreOperator
from linearizer_core.operators import ScaledIdentity

class Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    factor: float = 2.0
    wrong: bool = False

class Scale(Bijection):
    def __init__(self, in_shape, config, conditions=None):
        super().__init__(in_shape)
        self.config = config
    def forward(self, x, condition=None):
        self.check_input(x)
        return x * self.config.factor
    def inverse(self, z, condition=None):
        self.check_latent(z)
        return z / self.config.factor + (0.1 if self.config.wrong else 0.0)

class Identity(CoreOperator):
    def __init__(self, shape, config, conditions=None):
        super().__init__(shape)
    def operator(self, condition=None):
        return ScaledIdentity(1.0, self.shape[0])
"""


@pytest.fixture
def run(plugin_site, hook_source) -> Run:
    """Run the command line in a process of its own, over a backbone ``scale`` and a core of the same name."""
    (plugin_site.folder / "fake_scale_module.py").write_text(PLUGIN)
    plugin_site.install("first", hook_source("backbone", "scale", target="fake_scale_module:Scale", config="fake_scale_module:Config"))
    plugin_site.install("second", hook_source("operator", "scale", target="fake_scale_module:Identity", config="fake_scale_module:Config"))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        start = f"import sys; sys.path.insert(0, {str(plugin_site.folder)!r}); sys.argv[1:] = {list(arguments)!r}\n"
        program = start + "from linearizer_core.cli import main; main()"
        return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"}, check=False)

    return run


def test_a_right_backbone_passes(run: Run) -> None:
    shown = run("check", "scale", "--kind", "backbone", "-k", "*-inverse", "factor=3.0")
    assert shown.returncode == 0, shown.stderr
    rows = [line.split()[:2] for line in shown.stdout.splitlines() if line]
    assert rows[:3] == [["check", "status"], ["left-inverse", "passed"], ["right-inverse", "passed"]]
    assert "gain 3.0" in shown.stdout
    assert shown.stdout.splitlines()[-1].startswith("2 passed in ")


def test_a_wrong_one_does_not(run: Run) -> None:
    shown = run("check", "scale", "--kind", "backbone", "-k", "inverse", "--dtype", "float32", "wrong=true", "--json")
    assert shown.returncode == 1, shown.stderr
    found = {entry["check"]: entry for entry in json.loads(shown.stdout)}
    assert found["left-inverse"]["status"] == "failed"
    assert found["left-inverse"]["message"].startswith("(5,), float32, of gain 2.0 and 0.5 for the inverse: g^-1(g(x)) is not x: largest error 1.0e-01")
    assert {key: found["left-inverse"][key] for key in ("subject", "kind")} == {"subject": "scale", "kind": "backbone"}
    assert found["inverse-gradients"]["status"] == "passed"
    summary = run("check", "scale", "--kind", "backbone", "-k", "[cl]*", "--dtype", "float32", "wrong=true").stdout.splitlines()[-1]
    assert re.findall(r"[a-z]+", summary.partition(" in ")[0]) == ["failed", "passed", "skipped"]


@pytest.mark.parametrize("target", ["fake_scale_module:Scael", "fake_torn_module:Scale"])
def test_what_cannot_be_imported_is_no_success(run: Run, plugin_site, hook_source, target: str) -> None:
    (plugin_site.folder / "fake_torn_module.py").write_text("def broken(:")
    plugin_site.install("third", hook_source("backbone", "torn", target=target, config="fake_scale_module:Config"))
    shown = run("check", "torn", "-k", "left-inverse")
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr.startswith(f"error: backbone 'torn': target '{target}'")
    assert "Traceback" not in shown.stderr


def test_every_kind_of_a_name_is_checked(run: Run) -> None:
    shown = run("check", "scale", "-k", "construction")
    rows = [line.split()[:3] for line in shown.stdout.splitlines() if line]
    assert rows[:3] == [["kind", "check", "status"], ["backbone", "construction", "passed"], ["core", "construction", "passed"]]
    shown = run("check", "scale", "-k", "construction", "--json")
    assert [(entry["kind"], entry["status"]) for entry in json.loads(shown.stdout)] == [("backbone", "passed"), ("core", "passed")]


def test_the_laws_are_listed_without_running_anything(run: Run) -> None:
    shown = run("check", "scale", "--list", "-k", "*-inverse", "--kind", "backbone")
    assert [" ".join(line.split()) for line in shown.stdout.splitlines()[1:]] == [
        "backbone left-inverse g^-1(g(x)) is x",
        "backbone right-inverse g(g^-1(z)) is z",
    ]
    as_json = json.loads(run("check", "scale", "--list", "--json").stdout)
    assert {entry["kind"] for entry in as_json} == {"backbone", "core"}
    assert all(entry["law"] for entry in as_json)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("check", "scael"), "error: there is no component named 'scael'; did you mean 'scale'?"),
        (("check", "scale", "--kind", "task"), "error: there is no task named 'scale'"),
        (("check", "scale", "--kind", "backbone", "factr=1"), "error: backbone 'scale': factr = 1: unknown key; did you mean 'factor'?"),
        (("check", "scale", "--kind", "backbone", "factor"), "error: options: override 'factor' is malformed; write key=value"),
        (("check", "scale", "--kind", "backbone", "-k", "nothing"), "error: no check of a backbone matches 'nothing'; checks: construction"),
        (("check", "scale", "--kind", "backbone", "--dtype", "float16"), "error: dtype 'float16': the kit checks float64 and float32"),
    ],
)
def test_mistakes_get_one_clear_message(run: Run, arguments: tuple[str, ...], message: str) -> None:
    shown = run(*arguments)
    assert shown.returncode == 2
    assert shown.stderr.startswith(message)
    assert "Traceback" not in shown.stderr
