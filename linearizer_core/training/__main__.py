"""One run, on as many processes as the launcher starts.

``accelerate launch -m linearizer_core.training CONFIG [key=value ...]`` starts one process for each GPU, or one on the CPU; with
``--config_file configs/accelerate/two_processes.yaml`` two, on GPUs or on the CPU. ``python -m`` and ``torchrun ... -m`` work as well.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from linearizer_core.config_file import load_config
from linearizer_core.errors import LinearizerError
from linearizer_core.extras import missing_extra


def main() -> int:
    """Run the command line; 2 for an error the user can mend."""
    parser = argparse.ArgumentParser("linearizer_core.training", description="Train what a configuration describes. Run it again to continue after a stop.")
    parser.add_argument("config", type=Path, help="a TOML file, such as those in configs/")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values that replace those of the file, such as training.seed=3 data.root=DIR")
    arguments = parser.parse_args()
    try:
        config = load_config(arguments.config, arguments.overrides)

        from linearizer_core.training.run import train

        summary = train(config)
        if summary.report is not None:
            print(f"finished: {summary.output / 'report.json'}")
    except (LinearizerError, ModuleNotFoundError) as error:
        message = missing_extra(error) if isinstance(error, ModuleNotFoundError) else str(error)
        if message is None:
            raise
        if os.environ.get("RANK", "0") == "0":
            print(f"error: {message}", file=sys.stderr)
        return 2
    finally:
        _leave_process_group()
    return 0


def _leave_process_group() -> None:
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
