"""A folder that is replaced as a whole."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from linearizer_core.pretrained.artifact import require_replaceable, swap


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A new folder beside ``folder``, to be filled: at the end it takes its place. Where that fails, the old one stays.

    Raises:
        ArtifactError: when ``folder`` holds something that is not a saved linearizer.
    """
    require_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield staging
        staging.chmod(0o755)
        swap(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
