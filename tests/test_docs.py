"""The documentation is complete, runs, and points at things that exist."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

import linearizer_core.bijections
import linearizer_core.invertibility
import linearizer_core.operators
import linearizer_core.operators.flow
import linearizer_core.pretrained.hub
import linearizer_core.testing
import linearizer_core.training
from linearizer_core import hookspecs, plugins
from linearizer_core.config import OptimizerConfig, StageConfig, TrainingConfig
from linearizer_core.config_file import load_config
from linearizer_core.plugins import State
from linearizer_core.pretrained.artifact import ArtifactConfig
from linearizer_core.pretrained.hub.layout import LARGEST
from linearizer_core.specs import CORE_COMMANDS
from linearizer_flow.evaluation import NOTES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if page.parent != DOCS / "assets")
HOOKS = sorted(name for name in vars(hookspecs) if name.startswith("linearizer_"))

NEEDS_MORE = {
    ("hub.md", "needs a repository"),
    ("artifact.md", "needs a trained model"),
    ("quickstart.md", "needs a trained model"),
    ("collapse.md", "needs a trained model"),
    ("demo.md", "needs a model of the registry"),
    ("demo.md", "needs a running demo"),
    ("style.md", "needs a trained model"),
    ("training.md", "needs the file above"),
    ("training.md", "needs a run"),
    ("write-a-backbone.md", "linearizer_swirl/backbone.py"),
    ("write-a-backbone.md", "linearizer_swirl/brick.py"),
    ("write-a-backbone.md", "linearizer_swirl/config.py"),
}
"""The Python snippets that are not run: page and title of the fence, which tells the reader the same."""


@dataclass(frozen=True)
class Snippet:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    title: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(DOCS)}:{self.line}"


@cache
def snippets() -> tuple[Snippet, ...]:
    return tuple(snippet for page in PAGES for snippet in _snippets(page))


def _snippets(page: Path) -> Iterator[Snippet]:
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(r'^```(\w+)(?: title="([^"]*)")?\n(.*?)^```$', text, re.MULTILINE | re.DOTALL):
        line = text.count("\n", 0, match.start()) + 1
        yield Snippet(page, line, match[1], match[2] or "", match[3])


def of_language(*languages: str) -> list[Snippet]:
    return [snippet for snippet in snippets() if snippet.language in languages]


RUNNABLE = [snippet for snippet in of_language("python") if not snippet.title]
CONFIGURATIONS = [snippet for snippet in of_language("toml") if "[training]" in snippet.text]


@pytest.mark.parametrize("snippet", RUNNABLE, ids=lambda snippet: snippet.name)
def test_python_runs(snippet: Snippet) -> None:
    code = compile("\n" * snippet.line + snippet.text, str(snippet.page), "exec")
    exec(code, {"__name__": "__main__"})


def test_python_that_is_not_run_is_listed() -> None:
    assert {(snippet.page.name, snippet.title) for snippet in of_language("python") if snippet.title} == NEEDS_MORE


def test_every_fence_is_a_known_one() -> None:
    fences = sum(len(re.findall(r"^```", page.read_text(encoding="utf-8"), re.MULTILINE)) for page in PAGES)
    assert fences == 2 * len(of_language("python", "toml", "console"))


@pytest.mark.parametrize("snippet", of_language("python"), ids=lambda snippet: snippet.name)
def test_python_compiles_and_imports_what_exists(snippet: Snippet) -> None:
    compile(snippet.text, snippet.name, "exec")
    # The author's own package does not exist here; tests/test_scaffold.py makes it.
    imports = re.findall(r"^from linearizer(?!_swirl)\w*[\w.]* import .*$", snippet.text, re.MULTILINE)
    exec("\n".join(imports), {})


@pytest.mark.parametrize("snippet", CONFIGURATIONS, ids=lambda snippet: snippet.name)
def test_configurations_are_valid(snippet: Snippet, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(snippet.text, encoding="utf-8")
    commands = [words for words in _commands(snippet.page) if snippet.title in words]
    assert commands
    for words in commands:
        load_config(path, words[words.index(snippet.title) + 1 :])


def test_overrides_in_commands_are_valid() -> None:
    checked = 0
    for words in (words for page in PAGES for words in _commands(page)):
        config = next((word for word in words if word.startswith("configs/") and word.endswith(".toml")), None)
        # The example plugin is not installed here; tests/test_examples.py installs it.
        if config and not any("sinh" in word for word in words):
            load_config(ROOT / config, words[words.index(config) + 1 :])
            checked += 1
    assert checked


def _commands(page: Path) -> list[list[str]]:
    """The commands of a page as words."""
    consoles = [snippet.text.replace("\\\n", "") for snippet in _snippets(page) if snippet.language == "console"]
    return [shlex.split(line.removeprefix("$ "), comments=True) for text in consoles for line in text.splitlines()]


@pytest.mark.parametrize("snippet", of_language("toml"), ids=lambda snippet: snippet.name)
def test_toml_is_toml(snippet: Snippet) -> None:
    assert tomllib.loads(snippet.text)


# --- what must be told -----------------------------------------------------------------------------


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_told_with_an_example(hook: str) -> None:
    page = (DOCS / "hooks.md").read_text(encoding="utf-8")
    section = page.split(f"\n### {hook}\n")[1].split("\n### ")[0].split("\n## ")[0]
    assert "```python" in section
    assert f"](#{hook})" in page


def test_no_other_hook_is_told() -> None:
    assert sorted(re.findall(r"^### (linearizer_\w+)$", (DOCS / "hooks.md").read_text(encoding="utf-8"), re.MULTILINE)) == HOOKS


def test_every_state_of_a_plugin_is_told() -> None:
    section = (DOCS / "hooks.md").read_text(encoding="utf-8").split("\n## States\n")[1].split("\n## ")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == sorted(State.__args__)


def _names_of_commands() -> set[str]:
    """The commands of the core and of our own plugins."""
    return CORE_COMMANDS | set(plugins.specs("command"))


def test_every_command_is_told_and_no_other() -> None:
    page = (DOCS / "command-line.md").read_text(encoding="utf-8")
    commands = sorted(_names_of_commands())
    assert sorted(re.findall(r"^## ([\w-]+)$", page, re.MULTILINE)) == commands
    assert sorted(re.findall(r"^\| \[`linearizer ([\w-]+)`\]", page, re.MULTILINE)) == commands


def test_commands_in_pages_exist() -> None:
    commands = _names_of_commands()
    text = "\n".join(snippet.text for snippet in of_language("console"))
    used = set(re.findall(r"(?:^\$ |/|\s)linearizer ([a-z]+)", text, re.MULTILINE))
    assert used
    assert used <= commands


@pytest.mark.parametrize(
    ("module", "page"),
    [
        (linearizer_core.bijections, "bijections.md"),
        (linearizer_core.operators, "operators.md"),
        (linearizer_core.operators.flow, "operators-flow.md"),
        (linearizer_core.training, "training.md"),
        (linearizer_core.testing, "testing.md"),
        (linearizer_core.invertibility, "invertibility.md"),
        (linearizer_core.pretrained.hub, "hub.md"),
    ],
)
def test_every_public_name_of_a_package_is_on_its_page(module: Any, page: str) -> None:
    listed = re.findall(rf"^::: {re.escape(module.__name__)}\.(\w+)$", (DOCS / "api" / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(set(listed)) == sorted(module.__all__)
    assert len(listed) == len(set(listed))


def test_every_solver_is_told() -> None:
    section = (DOCS / "collapse.md").read_text(encoding="utf-8").split("\n## Solvers\n")[1].split("\n## ")[0]
    assert set(linearizer_core.operators.flow.SOLVERS) <= set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))


def built_in(kind: plugins.Kind) -> set[str]:
    return {name for name in plugins.specs(kind) if plugins.provider(kind, name).distribution == plugins.HOST}


def test_every_backbone_is_told() -> None:
    index = (DOCS / "backbones" / "index.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[`(\w+)`\]\(\1\.md\) \|", index, re.MULTILINE)
    assert set(re.findall(r"^\| \[`(\w+)`\]", index, re.MULTILINE)) == built_in("backbone")


def test_every_core_is_told() -> None:
    section = (DOCS / "collapse.md").read_text(encoding="utf-8").split("\n## Cores\n")[1].split("\n## ")[0]
    assert built_in("operator") <= set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))


def test_every_study_is_told() -> None:
    index = (DOCS / "studies" / "index.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| \[`(\w+)`\]\(\1\.md\) \|", index, re.MULTILINE)) == built_in("study")


@pytest.mark.parametrize("study", sorted(plugins.specs("study")))
def test_every_option_of_a_study_is_told(study: str) -> None:
    page = (DOCS / "studies" / f"{study}.md").read_text(encoding="utf-8").split("\n## Options\n")[1]
    told = {name for cell in re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE) for name in re.findall(r"`(\w+)`", cell)}
    assert told == set(plugins.find("study", study).load_config().model_fields) - {"condition"}


def test_every_dataset_is_told() -> None:
    section = (DOCS / "training.md").read_text(encoding="utf-8").split("\n## Your own images\n")[1].split("\n## ")[0]
    assert built_in("dataset") <= set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_metric_that_is_named_is_measured(page: Path) -> None:
    named = re.findall(r"`((?:one_step_vs|invertibility|superposition|idempotency|inversion|frechet)_\w+)`", page.read_text(encoding="utf-8"))
    assert set(named) - {"frechet_distance"} <= NOTES.keys()


@pytest.mark.parametrize(("model", "prefix"), [(TrainingConfig, ""), (StageConfig, ""), (OptimizerConfig, "optimizer.")])
def test_every_option_of_a_run_is_told(model: type[BaseModel], prefix: str) -> None:
    page = (DOCS / "training.md").read_text(encoding="utf-8")
    cells = " ".join(re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE))
    told = {name.split(".")[0] if not prefix else name for name in re.findall(r"`([\w.]+)`", cells)}
    assert {prefix + name for name in model.model_fields} <= told


def test_every_file_and_field_of_a_saved_model_is_told() -> None:
    files, fields = (DOCS / "artifact.md").read_text(encoding="utf-8").split("\n## The card\n")[0].split("\n## Fields of config.json\n")
    assert set(re.findall(r"^\| `(\w+)` \|", fields, re.MULTILINE)) == ArtifactConfig.model_fields.keys()
    assert set(LARGEST) <= set(re.findall(r"^\| `([\w.]+)` \|", files, re.MULTILINE))


# --- pages and links -------------------------------------------------------------------------------


def _nav_files(entries: Any) -> Iterator[str]:
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for value in entry.values():
                yield from _nav_files([value] if isinstance(value, str) else value)


def test_every_page_is_in_the_navigation_once() -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert sorted(_nav_files(config["nav"])) == sorted(str(page.relative_to(DOCS)) for page in PAGES)


def _prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def _anchors(page: Path) -> set[str]:
    # As mkdocs makes them; its own function is not at hand where only the tests are installed.
    headings = re.findall(r"^#+ (.+)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_internal_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _prose(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_file(), target
        assert not anchor or anchor in _anchors(file), target


def test_drawings_are_used_and_exist() -> None:
    used = {name for page in PAGES for name in re.findall(r'--8<-- "([\w.-]+)"', page.read_text(encoding="utf-8"))}
    assert used == {path.name for path in (DOCS / "assets").glob("*.svg")}


def test_the_site_loads_nothing_from_elsewhere() -> None:
    sources = [*DOCS.rglob("*.css"), *DOCS.rglob("*.svg"), *DOCS.rglob("*.jinja"), ROOT / "mkdocs.yml"]
    found = {url for path in sources for url in re.findall(r"https?://[^\"'\s)]+", path.read_text(encoding="utf-8"))}
    assert found <= {"http://www.w3.org/2000/svg"}


# --- the papers of the project -----------------------------------------------------------------------


def test_citation_and_changelog_name_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["cff-version"], citation["version"]) == ("1.2.0", linearizer_core.__version__)
    assert any("2510.08570" in reference["url"] for reference in citation["references"])
    assert f"\n## [{linearizer_core.__version__}] - " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("paper", ["CONTRIBUTING.md", "CHANGELOG.md"])
def test_make_targets_and_files_in_papers_exist(paper: str) -> None:
    text = (ROOT / paper).read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z-]+)", text, re.MULTILINE)) <= targets
    for path in re.findall(r"`((?:docs|examples|tests|linearizer_core|plugins|configs)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), path


def test_sources_are_ascii() -> None:
    papers = [ROOT / name for name in ("CONTRIBUTING.md", "CITATION.cff", "CHANGELOG.md", "mkdocs.yml")]
    for path in [*papers, *PAGES, *(path for path in (DOCS / "assets").iterdir() if path.suffix != ".png")]:
        assert path.read_text(encoding="utf-8").isascii(), path
