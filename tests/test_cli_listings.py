"""`plugins`, `list` and `describe`: what they print, what they exit with, and that they import no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from linearizer_core import __version__

Run = Callable[..., subprocess.CompletedProcess[str]]

CONFIGS = """
from pydantic import BaseModel, ConfigDict, Field

class NetConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    width: int = Field(64, ge=1, description="channels of the [hidden] layer")
    root: str
"""


@pytest.fixture
def run(plugin_site, hook_source) -> Run:
    """Run the command line in a process of its own, over two good plugins and a broken one."""
    (plugin_site.folder / "fake_config.py").write_text(CONFIGS)
    plugin_site.install("acme", hook_source("backbone", "wavy", "twin", config="fake_config:NetConfig"))
    plugin_site.install("other", hook_source("operator", "twin", config="fake_config:NetConfig"))
    plugin_site.install("torn", "raise ValueError('no luck')")

    def run(*arguments: str, code: str = "from linearizer_core.cli import main; main()", **variables: str) -> subprocess.CompletedProcess[str]:
        start = f"import sys; sys.path.insert(0, {str(plugin_site.folder)!r}); sys.argv[1:] = {list(arguments)!r}\n"
        environment = {**os.environ, "COLUMNS": "200", **variables}
        return subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True, env=environment, check=False)

    return run


def test_plugins_shows_states_reasons_and_fixes(run: Run) -> None:
    shown = run("plugins")
    assert shown.returncode == 0
    lines = {line.split()[0]: line for line in shown.stdout.splitlines() if line}
    assert "loaded" in lines["acme"]
    assert "backbone: wavy, twin" in lines["acme"]
    assert "torn (torn): ValueError: no luck" in shown.stdout
    assert "fix: update or uninstall torn, or set LINEARIZER_DISABLE_PLUGINS=torn" in shown.stdout


def test_plugins_as_json(run: Run) -> None:
    found = {entry["name"]: entry for entry in json.loads(run("plugins", "--json").stdout)}
    assert found["acme"] == {
        "name": "acme",
        "distribution": "acme",
        "version": "1.0",
        "module": "fake_acme",
        "state": "loaded",
        "reason": "",
        "fix": "",
        "specs": [{"kind": "backbone", "name": "wavy"}, {"kind": "backbone", "name": "twin"}],
    }
    assert (found["torn"]["state"], found["torn"]["reason"]) == ("failed", "ValueError: no luck")


def test_plugins_works_without_any(run: Run) -> None:
    shown = run("plugins", "--json", LINEARIZER_PLUGINS="")
    assert {entry["state"] for entry in json.loads(shown.stdout)} == {"disabled"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), ["backbone twin", "backbone wavy", "operator twin", "dataset builtin_data"]),
        (("backbone",), ["backbone twin", "backbone wavy"]),
        (("backbones", "wa"), ["backbone wavy"]),
        (("all", "t*n"), ["backbone twin", "operator twin"]),
        (("task",), []),
    ],
)
def test_list_filters_by_kind_and_pattern(run: Run, arguments: tuple[str, ...], expected: list[str]) -> None:
    as_json = run("list", *arguments, "--json")
    assert [f"{entry['kind']} {entry['name']}" for entry in json.loads(as_json.stdout)] == expected
    as_table = run("list", *arguments)
    assert as_table.returncode == 0
    assert [" ".join(line.split()[:2]) for line in as_table.stdout.splitlines()[1:]] == expected
    assert "not everything is usable (torn): see `linearizer plugins`" in as_table.stderr
    assert ("nothing of kind" in as_table.stderr) == (not expected)


def test_describe_shows_the_options(run: Run) -> None:
    shown = run("describe", "wavy")
    assert shown.returncode == 0
    assert "target        fake_builtin:Thing" in shown.stdout
    rows = {line.split()[0]: line for line in shown.stdout.splitlines() if line}
    assert " ".join(rows["width"].split()) == "width int, >= 1 64 channels of the [hidden] layer"
    assert rows["root"].split() == ["root", "str", "required"]


def test_describe_wraps_each_paragraph_of_the_details(run: Run, plugin_site) -> None:
    spec = "BackboneSpec('told', target='fake_builtin:Thing', config='fake_config:NetConfig', summary='one', details='word ' * 30 + '\\n\\nThe\\nend.\\n')"
    hooks = "from linearizer_core.hookspecs import hookimpl\nfrom linearizer_core.specs import BackboneSpec\n"
    plugin_site.install("teller", f"{hooks}@hookimpl\ndef linearizer_backbones():\n    return [{spec}]\n")
    shown = run("describe", "told").stdout
    assert f"\n\n{' '.join(['word'] * 20)}\n{' '.join(['word'] * 10)}\n\nThe end.\n\n" in shown


def test_describe_shows_every_kind_of_a_name(run: Run) -> None:
    both = json.loads(run("describe", "twin", "--json").stdout)
    assert [(entry["kind"], entry["plugin"]) for entry in both] == [("backbone", "acme"), ("operator", "other")]
    one = json.loads(run("describe", "twin", "--kind", "operator", "--json").stdout)
    assert [entry["kind"] for entry in one] == ["operator"]
    assert one[0]["options"][0] == {
        "key": "width",
        "type": "int, >= 1",
        "required": False,
        "default": 64,
        "description": "channels of the [hidden] layer",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("describe", "wayv"), "error: there is no component named 'wayv'; did you mean 'wavy'? Plugins that are installed but not usable: torn (failed"),
        (("describe", "wavy", "--kind", "task"), "error: there is no task named 'wavy'; installed: none."),
        (("list", "backbonse"), "error: there is no kind 'backbonse'; kinds are backbone, operator, task, dataset, study, command, tab, pretrained, and all"),
        (("describe", "builtin_data"), "error: dataset 'builtin_data': config 'fake_builtin:Config' cannot be imported: No module named 'fake_builtin'"),
    ],
)
def test_errors_are_one_message_and_exit_code_2(run: Run, arguments: tuple[str, ...], message: str) -> None:
    shown = run(*arguments)
    assert shown.returncode == 2
    assert shown.stdout == ""
    assert shown.stderr.startswith(message)
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize("arguments", [("--help",), ("list",), ("list", "--json"), ("plugins",), ("describe", "wavy"), ("list", "--help")])
def test_no_torch(run: Run, arguments: tuple[str, ...]) -> None:
    code = """
from linearizer_core.cli import main
try:
    main()
except SystemExit as exit:
    print("exit", exit.code, sorted({"torch", "numpy", "huggingface_hub"} & set(sys.modules)), file=sys.stderr)
"""
    assert run(*arguments, code=code).stderr.splitlines()[-1] == "exit 0 []"


def test_help_names_the_commands_and_version_the_version(run: Run) -> None:
    shown = run("--help").stdout
    assert all(command in shown for command in ("plugins", "list", "describe"))
    assert run("--version").stdout == f"{__version__}\n"


@pytest.mark.parametrize("command", ["list", "list --json", "plugins", "plugins --json", "list task none_of_them", "--help"])
@pytest.mark.parametrize("lines", [0, 1])
def test_a_reader_that_leaves_early_sees_no_traceback(plugin_site, hook_source, command: str, lines: int) -> None:
    plugin_site.install("many", hook_source("task", *(f"task_{number}" for number in range(2000))))
    start = f"import sys; sys.path.insert(0, {str(plugin_site.folder)!r}); sys.argv[1:] = {command.split()!r}"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{start}; from linearizer_core.cli import main; main()"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    for _ in range(lines):
        process.stdout.readline()
    process.stdout.close()
    complaints = process.stderr.read()
    process.stderr.close()
    process.wait()
    assert "BrokenPipe" not in complaints
    assert "Traceback" not in complaints
