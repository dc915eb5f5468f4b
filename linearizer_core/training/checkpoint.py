"""Checkpoints that survive a kill at any moment, without pickle."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from linearizer_core.errors import CheckpointError
from linearizer_core.files import sync, write_json, write_text

__all__ = ["CheckpointFolder", "TrainingState"]

FORMAT = 1
_NAME = re.compile(r"\d{6,}")
_TEMPORARY = ".tmp-"


@dataclass(frozen=True)
class TrainingState:
    """Where training stands, apart from tensors.

    Args:
        step: completed optimiser steps over all stages.
        stage: index of the stage in progress; the number of stages when all are done.
        stage_step: completed steps of that stage. At 0 the stage has not begun.
        seconds: training time by stage.
        identity: what decides the course of training; resuming under another identity is refused.
        scaler: state of the fp16 gradient scaler.
    """

    step: int
    stage: int
    stage_step: int
    seconds: dict[str, float]
    identity: dict[str, Any]
    scaler: dict[str, Any] | None = None


class CheckpointFolder:
    """The folder ``checkpoints`` of a run: ``NNNNNN/{model,ema,optimizer}.safetensors`` with ``state.json``, and ``last`` naming the newest.

    A checkpoint is written to a temporary folder, forced to disk and renamed into place; ``state.json``, written last, holds the size and
    the SHA-256 of every file. A checkpoint whose files do not agree with it (a damaged disk, an edit) is passed over with a warning and
    the one before it is used; when none is left, `CheckpointError` is raised rather than training restarted.

    Args:
        folder: created on the first save.
        keep: how many of the newest checkpoints stay.
    """

    def __init__(self, folder: Path, *, keep: int) -> None:
        self.folder = folder
        self.keep = keep

    def path(self, step: int) -> Path:
        """The folder of the checkpoint after ``step`` steps."""
        return self.folder / f"{step:06d}"

    def steps(self) -> list[int]:
        """The steps of all checkpoints in place, ascending."""
        if not self.folder.is_dir():
            return []
        return sorted(int(entry.name) for entry in self.folder.iterdir() if _NAME.fullmatch(entry.name))

    def save(self, state: TrainingState, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Write a checkpoint; ``tensors`` maps a file's stem to its tensors. Older checkpoints beyond ``keep`` are removed."""
        final = self.path(state.step)
        temporary = self.folder / f"{_TEMPORARY}{final.name}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        files = {}
        for stem, group in tensors.items():
            path = temporary / f"{stem}.safetensors"
            save_file({name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in group.items()}, path)
            sync(path)
            files[path.name] = _fingerprint(path)
        write_json(temporary / "state.json", {"format": FORMAT, **asdict(state), "files": files})
        self._discard(final)
        os.rename(temporary, final)
        sync(self.folder)
        write_text(self.folder / "last", final.name + "\n")
        for step in self.steps()[: -self.keep]:
            self._discard(self.path(step))

    def newest(self) -> int | None:
        """The step of the newest complete checkpoint; None when there are none at all.

        Raises:
            CheckpointError: when there are checkpoints and none of them is complete.
        """
        problems: list[str] = []
        for step in reversed(self.steps()):
            problem = self._problem(step)
            if problem is None:
                for text in problems:
                    warnings.warn(f"{text}; resuming from {self.path(step)}", stacklevel=2)
                return step
            problems.append(problem)
        if problems:
            raise CheckpointError(f"no usable checkpoint: {'; '.join(problems)}. Restore one of them, or delete {self.folder} to start again")
        return None

    def clean(self, step: int | None) -> None:
        """Remove what an interrupted run left behind: temporary folders, and damaged checkpoints after ``step``."""
        for leftover in self.folder.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(leftover)
        for later in self.steps():
            if step is not None and later > step:
                self._discard(self.path(later))

    def load(self, step: int) -> tuple[TrainingState, dict[str, dict[str, Tensor]]]:
        """The state and, by file stem, the tensors of a checkpoint.

        Raises:
            CheckpointError: when it is missing, damaged or of another format.
        """
        problem = self._problem(step)
        if problem is not None:
            raise CheckpointError(f"{problem}; resume from another checkpoint, this framework keeps {self.keep}")
        folder = self.path(step)
        content = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        files = content.pop("files")
        content.pop("format")
        return TrainingState(**content), {Path(name).stem: load_file(folder / name) for name in files}

    def _problem(self, step: int) -> str | None:
        folder = self.path(step)
        try:
            content = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                return f"checkpoint {folder} has format {content['format']}, this version reads format {FORMAT}"
            for name, expected in content["files"].items():
                if _fingerprint(folder / name) != expected:
                    return f"checkpoint {folder}: {name} is truncated or was changed after it was written"
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            return f"checkpoint {folder} cannot be read ({type(error).__name__}: {error})"
        return None

    def _discard(self, folder: Path) -> None:
        # Renamed first: a kill in the middle of the removal then leaves a temporary folder, not a checkpoint that lacks files.
        if folder.exists():
            doomed = self.folder / f"{_TEMPORARY}removed-{folder.name}"
            shutil.rmtree(doomed, ignore_errors=True)
            os.rename(folder, doomed)
            shutil.rmtree(doomed)


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
