"""Studies: what they are opened with, what is written, and the command."""

from __future__ import annotations

import io
import json
import shutil
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import pytest

from linearizer_core.cli import main
from linearizer_core.errors import ConfigError
from linearizer_core.study import StudyReport, StudySubject, open_subject, write_study

REPOSITORY = Path(__file__).parent.parent
RUN = """
[data]
name = "digits"
[task]
name = "flow"
[task.latent_prior]
condition = "none"
[task.latent_prior.reconstruction]
steps = 2
[task.latent_prior.prior]
steps = 2
batch_size = 64
[task.evaluation]
samples = 100
[backbone]
name = "coupling"
levels = [{ couplings = 1, width = 4 }]
dense = { couplings = 1, width = 8 }
[core]
name = "gaussian"
rank = 4
[training]
output = "run"
"""
STUDY = """
from pydantic import BaseModel, ConfigDict
from linearizer_core.hookspecs import hookimpl
from linearizer_core.specs import StudySpec
from linearizer_core.study import Study, StudyReport

class Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    power: float = 1.0

class Size(Study):
    def __init__(self, config):
        self.config = config

    def run(self, subject, folder):
        size = subject.pretrained.model.core.shape[0] ** self.config.power
        (folder / "size.png").write_bytes(b"")
        rows = [{"part": "z", "size": size}, {"part": "a|b", "size": 0.25}, {"part": "c", "size": None}]
        return StudyReport({"size": size, "list": [1]}, ("size.png",), {"size": "dimensions"}, ("It has a size.",), {"Parts": rows})

@hookimpl
def linearizer_studies():
    return [StudySpec("size", target="fake_acme:Size", config="fake_acme:Config", summary="How large is it?")]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    (folder / "small.toml").write_text(RUN)
    with chdir(folder), mock.patch.dict("os.environ", {"LINEARIZER_CACHE": str(folder / "cache")}), redirect_stdout(io.StringIO()):
        open_subject("small.toml")
    return folder / "run"


@pytest.fixture(scope="module")
def subject(run: Path) -> StudySubject:
    """The run, opened while the real plugins are in place."""
    return open_subject(str(run))


def call(*arguments: str, cwd: Path) -> tuple[int, str, str]:
    out, err, code = io.StringIO(), io.StringIO(), 0
    with chdir(cwd), mock.patch.object(sys, "argv", ["linearizer", *arguments]), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.getvalue(), err.getvalue()


def test_a_configuration_is_trained_and_a_run_folder_opened(run: Path, subject: StudySubject) -> None:
    assert (subject.name, subject.splits.info.name, subject.require_run("rank").training.output) == ("run", "digits", run)


def test_a_moved_run_is_found_where_it_is(run: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(run, moved)
    assert open_subject(str(moved)).require_run("rank").training.output == moved


def test_a_saved_model_brings_its_data_but_no_run(run: Path) -> None:
    subject = open_subject(str(run / "model"))
    assert len(subject.splits.test) > 100
    with pytest.raises(ConfigError, match="rank trains anew and needs a run folder or a configuration, model is a saved model"):
        subject.require_run("rank")


def test_data_of_another_shape_are_refused(run: Path, tmp_path: Path) -> None:
    import numpy as np

    for split in ("train", "test"):
        np.savez(tmp_path / f"{split}.npz", images=np.zeros((40, 4, 4), dtype=np.uint8), labels=np.zeros(40, dtype=np.int64))
    with pytest.raises(ConfigError, match=r"of shape \(1, 8, 8\), data.name = 'npz' has \(1, 4, 4\)"):
        open_subject(str(run / "model"), ["data.name=npz", f"data.root={tmp_path}"])


def test_the_command_writes_numbers_pictures_and_words(subject: StudySubject, plugin_site, tmp_path: Path) -> None:
    plugin_site.install("acme", STUDY)
    with mock.patch("linearizer_core.study.open_subject", lambda model, data: StudySubject(model, subject.pretrained, subject.splits)):
        code, out, err = call("study", "size", "anything", "power=2", cwd=tmp_path)
    assert (code, err) == (0, "")
    assert "It has a size." in out
    folder = tmp_path / "studies" / "size"
    values = json.loads((folder / "study.json").read_text())
    assert values["metrics"] == {"size": 4096, "list": [1]}
    assert values["tables"]["Parts"][1] == {"part": "a|b", "size": 0.25}
    report = (folder / "report.md").read_text()
    assert report.startswith("# size: anything\n\nHow large is it?\n\n- It has a size.\n")
    assert "![size](size.png)" in report
    assert "| part | size |\n|---|---|\n| z | 4096 |\n| a\\|b | 0.25 |\n| c | - |\n" in report
    assert "| `size` | 4096 | dimensions |" in report
    (tmp_path / "file").touch()
    with mock.patch("linearizer_core.study.open_subject", lambda model, data: StudySubject(model, subject.pretrained, subject.splits)):
        code, _, err = call("study", "size", "anything", "-o", "file", cwd=tmp_path)
    assert (code, err) == (2, "error: --output file cannot be made: File exists; choose another folder\n")
    code, _, err = call("study", "size", "anything", "pwer=2", cwd=tmp_path)
    assert code == 2
    assert "did you mean 'power'" in err or "valid here: power" in err


def test_a_report_without_tables(subject: StudySubject, tmp_path: Path, plugin_site) -> None:
    plugin_site.install("acme", STUDY)
    text = write_study("size", subject, StudyReport({"a": 1}), tmp_path).read_text()
    assert "| `a` | 1 |  |" in text
    assert "!" not in text
