"""All benchmarks of speed, one after another, each in a process of its own.

    python -m benchmarks [NAME ...] [--quick] [--device cpu] [--out runs/bench]

One that fails does not stop the others; the exit code then is 1.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.tools.command import RUNS

NAMES = ("startup", "collapse", "tolerance", "sampling", "training", "options", "growth", "reversible", "demo")
ON_THE_CPU_ALONE = ("startup", "reversible", "demo")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all when none is given")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs; the figures mean nothing")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda where there is one")
    parser.add_argument("--out", type=Path, default=RUNS, help="folder of the results")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    names = options.names or [name for name in NAMES if options.device == "cpu" or name not in ON_THE_CPU_ALONE]
    failed = []
    for name in names:
        print(f"--- {name}", flush=True)
        begun = time.perf_counter()
        command = [sys.executable, "-m", f"benchmarks.{name}", "--device", options.device, "--out", str(options.out), *(["--quick"] if options.quick else [])]
        if subprocess.run(command).returncode:
            failed.append(name)
        print(f"--- {name}: {time.perf_counter() - begun:.0f} s{', FAILED' if name in failed else ''}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
