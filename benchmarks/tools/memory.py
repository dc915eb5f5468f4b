"""Peak memory, each figure from a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

MEBI = 2**20
_RETURN_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""glibc then gives freed memory back, so that `peak_memory` finds nothing that the measured part could use again unseen."""


def in_subprocess(module: str, device: str, case: dict[str, Any], launcher: Sequence[str] = ()) -> dict[str, Any]:
    """What ``python -m MODULE --worker CASE`` prints as its last line, as JSON. ``launcher`` goes between the interpreter and ``-m MODULE``.

    Raises:
        subprocess.CalledProcessError: when it fails; what it said is passed on to stderr.
    """
    command = [sys.executable, *launcher, "-m", module, "--device", device, "--worker", json.dumps(case)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **_RETURN_AT_ONCE})
    if done.returncode:
        sys.stderr.write(done.stderr)
    done.check_returncode()
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer
