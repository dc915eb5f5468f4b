"""Give a model of the registry the training log of its run, with the picture of its curves and a new card: for one that was put there without.

    python -m registry.add_log RUN NAME

RUN is the run folder. Nothing else in the folder of the model changes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from linearizer_core.errors import ConfigError
from linearizer_core.files import write_text
from linearizer_core.pretrained import Pretrained
from linearizer_core.pretrained.artifact import LOG, read_json
from linearizer_core.pretrained.card import CURVES
from linearizer_core.pretrained.training_log import log_text
from linearizer_core.training.finish import with_log
from registry.add_model import MODELS


def add_log(run: Path, name: str) -> Path:
    """Write the log of ``run`` beside the model ``name``.

    Raises:
        ConfigError: where the run took other steps or another time than the one that trained the model, or its log ends early.
    """
    folder, facts = MODELS / name, read_json(run / "run.json")
    made = with_log(Pretrained.from_pretrained(folder), run)
    record, found = made.config.training, (facts["steps"], facts["seconds"])
    if record is None or found != (record.steps, record.seconds) or made.log[-1]["step"] != record.steps:
        trained = record and (record.steps, record.seconds)
        raise ConfigError(f"{run} has steps and seconds {found} and a log up to step {made.log[-1]['step']}, {name} was trained in {trained}; give its run")
    write_text(folder / LOG, log_text(made.log))
    (folder / CURVES).write_bytes(made.pictures[CURVES])
    write_text(folder / "README.md", made.card(name))
    return folder


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    given = parser.parse_args()
    print(add_log(given.run, given.name))


if __name__ == "__main__":
    main()
