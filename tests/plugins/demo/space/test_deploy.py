"""A Space on the Hub, in one commit, against a Hub on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from linearizer_core.errors import ConfigError, HubError
from linearizer_demo.space import build_space, space_models
from linearizer_demo.space.deploy import deploy
from tests.pretrained.hub.conftest import home, hub, linearizer, logged_in
from tests.pretrained.hub.hub_server import Command, HubServer

__all__ = ["home", "hub", "linearizer", "logged_in"]

pytestmark = [pytest.mark.usefixtures("logged_in"), pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")]


@pytest.fixture
def space(saved: dict[str, str], tmp_path: Path) -> Path:
    return build_space(space_models([saved["first"]]), tmp_path / "space", "One small model")


def test_one_commit_holds_the_whole_space(hub: HubServer, space: Path) -> None:
    url = deploy(space, "org/try")
    _, made = hub.repos["org/try"].commits
    assert url.endswith(made.sha)
    assert {path.relative_to(space).as_posix(): path.read_bytes() for path in space.rglob("*") if path.is_file()} == {
        path: content for path, content in made.files.items() if path != ".gitattributes"
    }


def test_what_is_no_longer_part_of_it_goes_by_the_same_commit(hub: HubServer, space: Path) -> None:
    deploy(space, "org/try")
    (space / "models" / "first" / "metrics.json").unlink()
    (space / "more.txt").write_text("more")
    deploy(space, "org/try")
    *_, before, after = hub.repos["org/try"].commits
    assert before.files.keys() - after.files.keys() == {"models/first/metrics.json"}
    assert after.files.keys() - before.files.keys() == {"more.txt"}


def test_somebody_elses_space_stays_as_it_is(hub: HubServer, space: Path) -> None:
    hub.add("org/shop", {"app.py": b"print('a shop')", "README.md": b"---\nsdk: gradio\n---\n"})
    with pytest.raises(ConfigError, match=r"org/shop is a Space that was not built by `linearizer space` \(it holds app\.py\)"):
        deploy(space, "org/shop")
    assert len(hub.repos["org/shop"].commits) == 1


def test_a_model_that_the_space_could_not_read_is_refused(hub: HubServer, saved: dict[str, str]) -> None:
    files = {path.name: path.read_bytes() for path in Path(saved["first"].removeprefix("local-dir:")).iterdir()}
    hub.add("org/open", files)
    hub.add("org/closed", files, private=True)
    (model,) = space_models(["hf-hub:org/open"])
    assert model.name == "org/open"
    assert model.address == f"hf-hub:org/open@{hub.repos['org/open'].commits[-1].sha}"
    with pytest.raises(ConfigError, match="is private or gated, which the Space could not read"):
        space_models(["hf-hub:org/closed"])


@pytest.mark.parametrize("repo", ["../etc", "org", "org/na me"])
def test_a_name_that_cannot_be(hub: HubServer, space: Path, repo: str) -> None:
    with pytest.raises((HubError, ConfigError)):
        deploy(space, repo)
    assert not hub.requests


def test_a_dry_run_asks_nobody(hub: HubServer, linearizer: Command, saved: dict[str, str]) -> None:
    told = linearizer("space", "deploy", "org/try", saved["first"], "--dry-run")
    assert told.returncode == 0, told.stderr
    assert "would be sent to the Space org/try, in one commit:" in told.stdout
    for name in ("README.md", "app.py", "requirements.txt", "models", "vendor"):
        assert f"  {name}" in told.stdout
    assert not hub.requests


def test_the_commands(hub: HubServer, linearizer: Command, saved: dict[str, str], tmp_path: Path) -> None:
    built = linearizer("space", "build", saved["first"], "--title", "First", "-o", str(tmp_path / "built"))
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "built" / "app.py").is_file()
    done = linearizer("space", "deploy", "org/try", saved["first"], "--private")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"deployed: {hub.url}")
    assert hub.repos["org/try"].private
