"""The folder of a Space: front matter, pinned requirements, a thin app, the models, and the framework itself."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from linearizer_core import plugins
from linearizer_core.errors import ConfigError
from linearizer_core.files import write_text
from linearizer_core.pretrained import HUB_PREFIX, LOCAL_PREFIX, Pretrained, artifact_folder, load, uri_of
from linearizer_core.pretrained.artifact import installed_origins
from linearizer_core.pretrained.hub.layout import artifact_files
from linearizer_core.pretrained.hub.repository import look_up
from linearizer_core.pretrained.staging import replacing
from linearizer_demo.engine import plugin_tabs
from linearizer_demo.space.requirements import OWN, requirements
from linearizer_demo.space.vendor import vendor

MARK = "linearizer-space"
"""A tag in the front matter, by which a folder or repository is known as one of ours, that may be replaced."""

_TITLE = re.compile(r"[^\x00-\x1f\x7f]{1,60}")


@dataclass(frozen=True)
class SpaceModel:
    """One model of a Space.

    Arguments:
        name: how visitors see it.
        address: what the app loads: a registered name, ``hf-hub:ORG/NAME@COMMIT``, or ``local-dir:models/NAME`` within the Space.
        folder: the artifact to put there, where it lies on this machine.
        distributions: what the plugins of its parts are installed from, other than this framework, as pinned requirements.
    """

    name: str
    address: str
    folder: Path | None
    distributions: tuple[str, ...]


def space_models(models: Sequence[str]) -> list[SpaceModel]:
    """Load each of ``models``, and say how a Space has it. A model of the Hub is pinned to the commit that it has now.

    Raises:
        ConfigError: for two models of one name, for one that the Space could not read, and where no tab of the demo can use any of them.
        LinearizerError: for a model that cannot be loaded.
    """
    loaded = {text: load(uri_of(text)) for text in models or plugins.specs("pretrained")}
    found = [_space_model(text, pretrained) for text, pretrained in loaded.items()]
    names = [model.name for model in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"two models are called {twice[0]!r}; rename one of the folders")
    if all(tab.lacks(pretrained) for tab in plugin_tabs().values() for pretrained in loaded.values()):
        raise ConfigError(f"no tab of the demo can use {', '.join(names)}; name a model that generates, projects, stylises or predicts")
    return found


def build_space(models: Sequence[SpaceModel], folder: Path, title: str) -> Path:
    """Write the folder of a Space, all of it or nothing; a Space that was built there before is replaced.

    Raises:
        ConfigError: for a folder that holds something else, or a title that is empty or longer than 60 characters.
    """
    if not _TITLE.fullmatch(title):
        raise ConfigError(f"--title {title!r}: expected 1 to 60 characters on one line")
    with replacing(folder.resolve(), require_space) as staging:
        for name, text in space_files(models, title).items():
            write_text(staging / name, text)
        vendor(staging / "vendor", [model.name for model in models if model.address == model.name])
        for model in models:
            if model.folder is not None:
                copied = staging / model.address.removeprefix(LOCAL_PREFIX)
                copied.mkdir(parents=True)
                for name, path in artifact_files(model.folder).items():
                    shutil.copyfile(path, copied / name)
    return folder


def space_files(models: Sequence[SpaceModel], title: str) -> dict[str, str]:
    """The files of a Space that are text: README.md, requirements.txt and app.py."""
    environment = Environment(
        loader=PackageLoader("linearizer_demo", "templates/space"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    values: Mapping[str, object] = {
        "title": title,
        "mark": MARK,
        "gradio": version("gradio"),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "models": models,
        "hub": [model.name for model in models if model.address.startswith(HUB_PREFIX)],
        "requirements": requirements(sorted({line for model in models for line in model.distributions})),
    }
    names = ("README.md", "requirements.txt", "app.py")
    return {name: environment.get_template(f"{name}.j2").render(values) for name in names}


def require_space(folder: Path) -> None:
    """Raise `ConfigError` unless ``folder`` is absent, empty, or a Space that was built here."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    readme = folder / "README.md"
    if not readme.is_file() or f"\n  - {MARK}\n" not in readme.read_text(encoding="utf-8", errors="replace"):
        raise ConfigError(f"{folder} exists and is no Space of ours (its README.md has no tag {MARK}); choose another folder")


def _space_model(text: str, pretrained: Pretrained) -> SpaceModel:
    uri = uri_of(text)
    # What is installed here, not what the file names: anybody may have written that.
    origins = {(origin.distribution, origin.version) for origin in installed_origins(pretrained.config.model)}
    others = tuple(sorted(f"{name}=={number}" for name, number in origins if name != OWN))
    if uri.startswith(LOCAL_PREFIX):
        path = Path(uri.removeprefix(LOCAL_PREFIX)).resolve()
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.parent.name if path.name == "model" else path.name).strip(".-") or "model"
        return SpaceModel(name, f"{LOCAL_PREFIX}models/{name}", artifact_folder(path), others)
    if pretrained.source is not None:
        if look_up(pretrained.source.repo, pretrained.source.revision).restricted:
            raise ConfigError(
                f"{pretrained.source} is private or gated, which the Space could not read; where it may be seen by all visitors, pull it with "
                "`linearizer pull -o FOLDER` and name the folder"
            )
        return SpaceModel(pretrained.source.repo, str(pretrained.source), None, others)
    return SpaceModel(uri, uri, None, others)
