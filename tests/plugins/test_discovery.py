"""Discovery: every way in which a plugin can be broken, and that the host outlives it."""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from linearizer_core import __version__, hookspecs, plugins
from linearizer_core.errors import TargetError, UnknownNameError
from linearizer_core.plugins import PluginStatus
from linearizer_core.specs import KINDS, PLURALS, SPEC_TYPES, BackboneSpec, PretrainedSpec

HookSource = Callable[..., str]


def status_of(name: str) -> PluginStatus:
    """The status of one plugin, after making sure that the host still works."""
    assert "builtin_data" in plugins.specs("dataset")
    return next(status for status in plugins.statuses() if status.name == name)


def assert_state(name: str, state: str, reason: str, fix: str) -> None:
    status = status_of(name)
    assert (status.state, status.specs if state != "conflict" else ()) == (state, ())
    assert reason in status.reason
    assert fix in status.fix


def test_a_working_plugin_is_loaded(plugin_site, hook_source: HookSource) -> None:
    plugin_site.install("acme", hook_source("backbone", "wavy", "curly"), version="2.3")
    status = status_of("acme")
    assert (status.state, status.distribution, status.version, status.module, status.reason) == ("loaded", "acme", "2.3", "fake_acme", "")
    assert list(plugins.specs("backbone")) == ["curly", "wavy"]
    assert plugins.find("backbone", "wavy").target == "fake_builtin:Thing"
    assert plugins.provider("backbone", "wavy") == status


def test_the_own_distribution_comes_first_then_by_name(plugin_site, hook_source: HookSource) -> None:
    plugin_site.install("zeta", hook_source("backbone", "z"))
    plugin_site.install("alpha", hook_source("backbone", "a"))
    assert [status.distribution for status in plugins.statuses()] == ["linearizer", "alpha", "zeta"]


@pytest.mark.parametrize(
    ("source", "reason", "fix"),
    [
        ("raise ValueError('no\\nluck')", "ValueError: no luck", "LINEARIZER_DISABLE_PLUGINS=acme"),
        ("def f(:", "SyntaxError", "update or uninstall acme"),
        ("import sys; sys.exit('bye')", "SystemExit: bye", "update or uninstall acme"),
        ("import nonesuch_library", "No module named 'nonesuch_library'", "install what provides 'nonesuch_library'"),
        (None, "No module named 'fake_acme'", "reinstall acme"),
    ],
    ids=["exception", "syntax", "system exit", "missing dependency", "missing module"],
)
def test_a_failing_import(plugin_site, source: str | None, reason: str, fix: str) -> None:
    plugin_site.install("acme", source)
    assert_state("acme", "failed", reason, fix)


MARK = "from linearizer_core.hookspecs import hookimpl\nfrom linearizer_core.specs import BackboneSpec, TaskSpec\n@hookimpl\n"


@pytest.mark.parametrize(
    ("body", "reason", "fix"),
    [
        ("def linearizer_backbone(): return []", "linearizer_backbone", "name and sign the hooks"),
        ("def linearizer_backbones(shape): return []", "shape", "name and sign the hooks"),
        ("def linearizer_backbones(): return 1 / 0", "ZeroDivisionError", "LINEARIZER_DISABLE_PLUGINS=acme"),
        ("def linearizer_backbones(): raise SystemExit(3)", "SystemExit: 3", "LINEARIZER_DISABLE_PLUGINS=acme"),
        ("def linearizer_backbones(): return BackboneSpec('a', target='b:C', config='b:D', summary='s')", "expected a list of BackboneSpec", "correct"),
        ("def linearizer_backbones(): return ['a']", "a list with 'a', expected BackboneSpec", "correct fake_acme"),
        ("def linearizer_backbones(): return [TaskSpec('a', target='b:C', config='b:D', summary='s')]", "expected BackboneSpec", "correct"),
        ("def linearizer_backbones(): return [BackboneSpec('a')]", "TypeError", "update or uninstall"),
        ("def linearizer_backbones(): return [BackboneSpec('a', target='b.C', config='b:D', summary='s')]", "target 'b.C' is malformed", "correct"),
        ("def linearizer_backbones(): return [BackboneSpec('a', target='b:C', config='', summary='s')]", "config '' is malformed", "correct"),
        ("def linearizer_backbones(): return [BackboneSpec('My Net', target='b:C', config='b:D', summary='s')]", "'My Net' is malformed", "correct"),
        ("def linearizer_backbones(): return [BackboneSpec('a', target='b:C', config='b:D', summary=' ')]", "summary is empty", "correct"),
        ("def linearizer_backbones(): return [BackboneSpec('a', target='b:C', config='b:D', summary=7)]", "summary is 7, expected a string", "correct"),
        (
            "def linearizer_backbones(): return 2 * [BackboneSpec('a', target='b:C', config='b:D', summary='s')]",
            "linearizer_backbones returned 'a' twice",
            "correct",
        ),
    ],
    ids=[
        "hook name",
        "hook signature",
        "hook raises",
        "hook exits",
        "no list",
        "no spec",
        "spec of another kind",
        "spec arguments",
        "bad target",
        "bad config",
        "bad name",
        "empty summary",
        "no string",
        "duplicate inside",
    ],
)
def test_a_failing_hook(plugin_site, body: str, reason: str, fix: str) -> None:
    plugin_site.install("acme", MARK + body)
    assert_state("acme", "failed", reason, fix)


def test_a_module_without_hooks(plugin_site) -> None:
    plugin_site.install("acme", "def linearizer_backbones(): return []")
    assert_state("acme", "failed", "it implements no hook", "correct fake_acme")


def test_an_entry_point_that_names_no_module(plugin_site) -> None:
    plugin_site.install("acme", "x = 1", entry_points="[linearizer]\nacme = fake_acme:x\n")
    assert_state("acme", "failed", "expected a module; write 'fake_acme'", "correct")


def test_unreadable_entry_points(plugin_site) -> None:
    plugin_site.install("acme", None, entry_points="[linearizer]\nno equals sign\n")
    assert_state("acme", "failed", "its metadata cannot be read", "reinstall acme")


def test_unreadable_requirements(plugin_site, hook_source: HookSource) -> None:
    plugin_site.install("acme", hook_source("backbone", "wavy"), requires=("linearizer >>> 3",))
    assert_state("acme", "failed", "InvalidRequirement", "reinstall acme")


def test_metadata_without_a_version(plugin_site, hook_source: HookSource) -> None:
    plugin_site.install("acme", hook_source("backbone", "wavy"))
    metadata = plugin_site.folder / "acme-1.0.dist-info" / "METADATA"
    metadata.write_text("Metadata-Version: 2.1\nName: acme\n")
    plugins.reload()
    (status,) = (status for status in plugins.statuses() if status.name == "acme")
    assert (status.state, status.version) == ("loaded", "unknown")


def test_leftovers_of_other_distributions_are_passed_over(plugin_site) -> None:
    plugin_site.install("acme", None, entry_points="[console_scripts]\nno equals sign\n")
    empty = plugin_site.folder / "leftover-1.0.dist-info"
    empty.mkdir()
    (empty / "entry_points.txt").write_text("[linearizer]\nleftover = fake_leftover\n")
    plugins.reload()
    importlib.invalidate_caches()
    assert "builtin_data" in plugins.specs("dataset")
    assert {status.distribution for status in plugins.statuses()} == {"linearizer"}


@pytest.mark.parametrize("requirement", ["linearizer>=999", "Linearizer[train]<0.0.1", "linearizer==0.0.1; python_version > '3'"])
def test_a_version_that_is_not_met(plugin_site, hook_source: HookSource, requirement: str) -> None:
    plugin_site.install("acme", hook_source("backbone", "wavy"), requires=(requirement,))
    assert_state("acme", "incompatible", f"this is linearizer {__version__}", f"made for linearizer {__version__}")


@pytest.mark.parametrize("requirement", ["linearizer>=0.0.1", "linearizer", "linearizer>=999; extra == 'future'", "torch>=999"])
def test_a_requirement_that_is_met_or_does_not_apply(plugin_site, hook_source: HookSource, requirement: str) -> None:
    plugin_site.install("acme", hook_source("backbone", "wavy"), requires=(requirement,))
    assert status_of("acme").state == "loaded"


def test_another_plugin_interface(plugin_site, hook_source: HookSource) -> None:
    plugin_site.install("acme", hook_source("backbone", "wavy", api="2"))
    assert_state("acme", "incompatible", "written for plugin interface '2'", "install a version of acme")


def test_a_name_of_the_own_distribution_wins(plugin_site, hook_source: HookSource) -> None:
    plugin_site.install("acme", hook_source("dataset", "builtin_data", "mine"))
    assert_state("acme", "conflict", "dataset 'builtin_data' belongs to linearizer", "rename it in acme")
    assert plugins.provider("dataset", "builtin_data").distribution == "linearizer"
    assert plugins.provider("dataset", "mine").distribution == "acme"


def test_between_others_the_first_by_name_wins(plugin_site, hook_source: HookSource) -> None:
    plugin_site.install("zeta", hook_source("backbone", "wavy", "other", target="zeta:Thing"))
    plugin_site.install("alpha", hook_source("backbone", "wavy", target="alpha:Thing"))
    assert plugins.find("backbone", "wavy").target == "alpha:Thing"
    assert [spec.name for spec in status_of("zeta").specs] == ["other"]
    assert plugins.provider("backbone", "wavy").distribution == "alpha"
    assert_state("zeta", "conflict", "backbone 'wavy' belongs to alpha", "uninstall or disable")


def test_one_name_in_two_kinds_is_no_clash(plugin_site, hook_source: HookSource) -> None:
    plugin_site.install("acme", hook_source("backbone", "builtin_data"))
    assert status_of("acme").state == "loaded"


@pytest.mark.parametrize("listed", ["acme", "other, acme-nets"])
def test_the_block_list_takes_plugins_and_distributions(plugin_site, hook_source, monkeypatch, listed: str) -> None:
    plugin_site.install("acme-nets", hook_source("backbone", "wavy"), plugin="acme", module="fake_acme")
    monkeypatch.setenv("LINEARIZER_DISABLE_PLUGINS", listed)
    plugins.reload()
    assert_state("acme", "disabled", f"LINEARIZER_DISABLE_PLUGINS={listed}", "change LINEARIZER_PLUGINS")
    assert "fake_acme" not in sys.modules


def test_the_allow_list_keeps_all_others_out(plugin_site, hook_source, monkeypatch) -> None:
    plugin_site.install("acme", hook_source("backbone", "wavy"))
    monkeypatch.setenv("LINEARIZER_PLUGINS", "linearizer")
    plugins.reload()
    assert_state("acme", "disabled", "not in LINEARIZER_PLUGINS=linearizer", "change LINEARIZER_PLUGINS")
    monkeypatch.setenv("LINEARIZER_PLUGINS", "")
    plugins.reload()
    assert {status.state for status in plugins.statuses()} == {"disabled"}


def test_nothing_changes_before_reload(plugin_site, hook_source, monkeypatch) -> None:
    before = plugins.statuses()
    monkeypatch.setenv("LINEARIZER_PLUGINS", "")
    assert plugins.statuses() == before
    plugins.reload()
    assert plugins.statuses() != before


def test_what_a_plugin_prints_stays_out_of_stdout(plugin_site, hook_source: HookSource, capsys: pytest.CaptureFixture[str]) -> None:
    plugin_site.install("acme", "print('hello')\n" + hook_source("backbone", "wavy"))
    assert status_of("acme").state == "loaded"
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "hello\n")


def test_a_hook_module_that_imports_torch_is_told(plugin_site, hook_source: HookSource) -> None:
    plugin_site.install("acme", "import torch\n" + hook_source("backbone", "wavy"))
    code = (
        f"import sys; sys.path.insert(0, {str(plugin_site.folder)!r})\n"
        "import json; from linearizer_core import plugins\n"
        "print(json.dumps({s.name: [s.state, s.reason, s.fix] for s in plugins.statuses()}))"
    )
    found = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert found["builtin"][1] == ""
    state, reason, fix = found["acme"]
    assert state == "loaded"
    assert "imports torch" in reason
    assert "move the import of torch out of fake_acme" in fix


def test_unknown_names_get_close_matches_and_suspects(plugin_site, hook_source: HookSource) -> None:
    plugin_site.install("acme", "raise RuntimeError('boom')")
    plugin_site.install("good", hook_source("backbone", "coupling"))
    with pytest.raises(UnknownNameError) as caught:
        plugins.find("backbone", "copling")
    message = str(caught.value)
    assert "there is no backbone named 'copling'; did you mean 'coupling'?" in message
    assert "acme (failed: RuntimeError: boom)" in message
    assert "pip install" in message
    with pytest.raises(UnknownNameError, match="installed: coupling"):
        plugins.find("backbone", "zzz")
    with pytest.raises(UnknownNameError, match="installed: none"):
        plugins.find("task", "zzz")


def test_targets_load_on_first_use(plugin_site, hook_source: HookSource) -> None:
    (plugin_site.folder / "fake_target.py").write_text("class Thing: pass\nnumber = 3\nclass Config: pass\n")
    plugin_site.install("acme", hook_source("backbone", "wavy", target="fake_target:Thing"))
    spec = plugins.find("backbone", "wavy")
    assert "fake_target" not in sys.modules
    assert spec.load_target().__name__ == "Thing"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nonesuch_package.net:Net", "No module named 'nonesuch_package'; correct the target of the spec"),
        ("fake_needy:Net", "No module named 'nonesuch_library'; install what provides 'nonesuch_library'"),
        ("fake_raises:Net", "ValueError: oh; repair or update the plugin"),
        ("fake_exits:Net", "SystemExit: 1; repair or update the plugin"),
        ("fake_target:Nett", "module 'fake_target' has no 'Nett'"),
        ("fake_target:number", "is a int, expected a class or function"),
    ],
)
def test_targets_that_cannot_be_loaded(plugin_site, target: str, message: str) -> None:
    for module, source in {
        "fake_needy": "import nonesuch_library",
        "fake_raises": "raise ValueError('oh')",
        "fake_exits": "raise SystemExit(1)",
        "fake_target": "number = 3",
    }.items():
        (plugin_site.folder / f"{module}.py").write_text(source)
    with pytest.raises(TargetError) as caught:
        BackboneSpec("wavy", target=target, config=target, summary="s").load_target()
    assert f"backbone 'wavy': target {target!r}" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("NoModel", "expected a class derived from pydantic.BaseModel"),
        ("Open", "accepts unknown fields; give it model_config"),
        ("Reserved", "has a field 'name', a name the framework passes itself"),
    ],
)
def test_configs_that_break_the_contract(plugin_site, config: str, message: str) -> None:
    (plugin_site.folder / "fake_config.py").write_text(
        "from pydantic import BaseModel\n"
        "class NoModel: pass\n"
        "class Open(BaseModel): width: int = 3\n"
        "class Reserved(BaseModel, extra='forbid'): name: str = 'x'\n"
    )
    with pytest.raises(TargetError, match=message):
        BackboneSpec("wavy", target="a:B", config=f"fake_config:{config}", summary="s").load_config()


def test_the_folder_of_a_pretrained_model(plugin_site) -> None:
    package = plugin_site.folder / "fake_registry"
    (package / "flow.moons").mkdir(parents=True)
    (package / "__init__.py").touch()
    assert PretrainedSpec("flow.moons", location="fake_registry:flow.moons", summary="s").folder() == package / "flow.moons"
    with pytest.raises(TargetError, match=r"flow\.suns is not a folder"):
        PretrainedSpec("flow.suns", location="fake_registry:flow.suns", summary="s").folder()
    with pytest.raises(TargetError, match="reinstall the plugin"):
        PretrainedSpec("flow.suns", location="fake_nonesuch:flow.suns", summary="s").folder()


@pytest.mark.parametrize("name", ["flow.mnist", "flow.cifar10-small", "ign.32x32"])
def test_pretrained_names(plugin_site, name: str) -> None:
    source = f"def linearizer_pretrained(): return [PretrainedSpec({name!r}, location='a:b', summary='s')]"
    plugin_site.install("acme", MARK.replace("TaskSpec", "PretrainedSpec") + source)
    assert list(plugins.specs("pretrained")) == [name]


@pytest.mark.parametrize(("name", "location"), [("mnist", "a:b"), ("flow.", "a:b"), ("flow.mnist", "a/b"), ("flow.mnist", "a:/b")])
def test_malformed_pretrained_specs(plugin_site, name: str, location: str) -> None:
    source = f"def linearizer_pretrained(): return [PretrainedSpec({name!r}, location={location!r}, summary='s')]"
    plugin_site.install("acme", MARK.replace("TaskSpec", "PretrainedSpec") + source)
    assert_state("acme", "failed", "is malformed; expected", "correct")


def test_every_hook_is_documented_with_its_kind() -> None:
    hooks = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("linearizer_") and callable(hook)}
    assert sorted(hooks) == sorted(f"linearizer_{PLURALS[kind]}" for kind in KINDS)
    for kind, hook in zip(KINDS, hooks.values(), strict=True):
        documentation = inspect.getdoc(hook) or ""
        assert ":math:" in documentation
        assert "Example:" in documentation
        assert SPEC_TYPES[kind].__name__ in documentation


def test_the_version_is_that_of_the_project() -> None:
    try:
        assert importlib.metadata.version("linearizer") == __version__
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("linearizer is not installed here, only on the path")
