"""Put a trained run into the registry: measured on this machine, with test examples and pictures, small enough to ship.

    python -m registry.add_model RUN NAME CONFIG [--float16] [--device cpu] [--models FOLDER] [KEY=VALUE ...]

RUN is the run folder, which has the training log, and CONFIG the configuration in configs/ that it was trained with, with the same overrides: the card quotes
it, with DIR for the folder of the data. With ``--float16`` weights are rounded before anything is measured. Then register NAME in
linearizer_registry/hooks.py.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from linearizer_core.config_file import load_config
from linearizer_core.errors import ConfigError
from linearizer_core.factory import create_dataset
from linearizer_core.figures.images import is_image
from linearizer_core.pretrained import Pretrained
from linearizer_core.pretrained.artifact import read_json
from linearizer_core.pretrained.examples import EXAMPLES, choose_examples, draw_examples
from linearizer_core.training.finish import measure, training_record, with_log

MODELS = Path(__file__).parent / "linearizer_registry" / "linearizer_registry" / "models"


def add_model(run: Path, name: str, config: Path, overrides: list[str], *, float16: bool, device: str = "cpu", models: Path = MODELS) -> Path:
    """Measure the model of ``run`` on ``device``, and save it as ``name`` in ``models``.

    Raises:
        ConfigError: where ``config`` describes another model or other data than the run.
    """
    made = load_config(run / "config.toml", [override for override in overrides if override.startswith("data.")])
    quoted = load_config(config, [_without_folder(override) for override in overrides])
    if made.model != quoted.model or made.data.name != quoted.data.name:
        raise ConfigError(f"{run} was not trained with {config}: their models or data differ; give the configuration it was trained with")
    facts = read_json(run / "run.json")
    trained = Pretrained.from_pretrained(run / "model", device=device)
    splits = create_dataset(made.data.name, **made.data.options).load()
    pictures = {EXAMPLES: draw_examples(choose_examples(splits.test, splits.info.classes))} if is_image(splits.info.shape) else {}
    kept = {picture: trained.pictures[picture] for picture in {"singular_values.png"} & trained.pictures.keys()}
    record = {"model": quoted.model, "training": training_record(quoted, facts)}
    recorded = with_log(replace(trained, config=trained.config.model_copy(update=record), metrics={}, pictures={**pictures, **kept}), run)
    with tempfile.TemporaryDirectory() as temporary:
        measure(recorded.compact() if float16 else recorded, splits, Path(temporary), facts)
        return Pretrained.from_pretrained(Path(temporary) / "model").save_pretrained(models / name, address=name)


def _without_folder(override: str) -> str:
    """A folder of this machine tells nobody anything."""
    key, _, value = override.partition("=")
    return f"{key}=DIR" if key.startswith("data.") and Path(value).exists() else override


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--float16", action="store_true")
    parser.add_argument("--device", default="cpu", help="where it is measured: cpu or cuda")
    parser.add_argument("--models", type=Path, default=MODELS, help="folder that takes the model; that of the registry when left out")
    given = parser.parse_args()
    print(add_model(given.run, given.name, given.config, given.overrides, float16=given.float16, device=given.device, models=given.models))


if __name__ == "__main__":
    main()
