"""A folder that is replaced as a whole."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from linearizer_core.pretrained.artifact import require_replaceable, swap


@contextmanager
def replacing(folder: Path, require: Callable[[Path], None] = require_replaceable) -> Iterator[Path]:
    """A new folder beside ``folder``, to be filled: at the end it takes its place. Where that fails, the old one stays.

    What is replaced is deleted, so ``require`` is asked first: it raises for a folder that holds something else. By default that is `ArtifactError`, for
    anything but a saved linearizer.
    """
    require(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield staging
        staging.chmod(0o755)
        swap(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
