"""Train what a configuration asks for, beginning with its prior: the bijection is the one of a run with the same reconstruction.

    python -m registry.refit_prior RUN CONFIG [KEY=VALUE ...]

RUN is a run folder of the recipe ``latent_prior`` without a stage against a critic; its reconstruction does not depend on what the prior is conditioned on. The
new run begins as if it had trained the reconstruction itself, with a checkpoint at its end; the log of RUN up to there becomes its own. Its ``run.json`` names
the hardware of both.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from linearizer_core.config import RunConfig
from linearizer_core.config_file import dump_config, load_config
from linearizer_core.errors import ConfigError
from linearizer_core.factory import build_model, create_dataset
from linearizer_core.files import write_json, write_text
from linearizer_core.model import LinearizerModel
from linearizer_core.pretrained import Pretrained
from linearizer_core.pretrained.artifact import read_json
from linearizer_core.task import Stage
from linearizer_core.training.checkpoint import CheckpointFolder, TrainingState
from linearizer_core.training.loop import identity_of
from linearizer_core.training.run import RunSummary, train
from linearizer_core.training.state import load_model, model_tensors
from linearizer_core.training.tracking import MetricsFile, read_metrics

BODY = "gy.body."
STAGES = ["reconstruction", "prior"]


def refit_prior(run: Path, config: RunConfig) -> RunSummary:
    """Train ``config`` from the end of the reconstruction that ``run`` made.

    Raises:
        ConfigError: where ``run`` made its bijection in another way than ``config`` asks for, or trained it again after its prior.
    """
    if (names := list(read_json(run / "run.json")["seconds"])) != STAGES:
        raise ConfigError(f"{run} had the stages {', '.join(names)}; give a run of {' and '.join(STAGES)} alone, whose bijection is that of the first")
    trained = load_config(run / "config.toml")
    splits = create_dataset(config.data.name, **config.data.options).load()
    task, model = build_model(config.model, splits.info, config.training.seed)
    theirs, _ = build_model(trained.model, splits.info, trained.training.seed)
    first, source = task.stages()[0], theirs.stages()[0]
    if (wanted := _made_by(config, first)) != (made := _made_by(trained, source)):
        strange = ", ".join(name for name in wanted if wanted[name] != made[name])
        raise ConfigError(f"{run} made its bijection in another way than the configuration asks for: {strange} differ; give a run where they do not")
    if not (config.training.output / "checkpoints").exists():
        _begin(config, model, identity_of(config.training, task.stages()), first, run)
    summary = train(config)
    record, before = config.training.output / "run.json", read_json(run / "run.json")["hardware"]["name"]
    facts = read_json(record)
    facts["hardware"]["name"] = f"{before} for the reconstruction, {facts['hardware']['name']} for the prior"
    write_json(record, facts)
    return summary


def _made_by(config: RunConfig, stage: Stage) -> dict[str, Any]:
    """What decides about the bijection."""
    return {
        "stage": (stage.name, stage.config),
        "backbone": config.model.backbone,
        "core": config.model.core,
        "data": config.data.name,
        "seed": config.training.seed,
        "precision": config.training.mixed_precision,
    }


def _begin(config: RunConfig, model: LinearizerModel, identity: dict[str, Any], stage: Stage, run: Path) -> None:
    """Write the folder of a run that has just ended its first ``stage``."""
    output, steps = config.training.output, stage.config.steps
    body = model_tensors(Pretrained.from_pretrained(run / "model").model)
    load_model(model, {name: body[name] if name.startswith(BODY) else tensor for name, tensor in model_tensors(model).items()})
    output.mkdir(parents=True, exist_ok=True)
    write_text(output / "config.toml", dump_config(config))
    log = MetricsFile(output / "metrics.jsonl", step=0)
    for line in read_metrics(run / "metrics.jsonl"):
        if line["stage"] == stage.name:
            log.write(line)
    log.sync()
    log.close()
    seconds = dict.fromkeys(identity["stages"], 0.0) | {stage.name: read_json(run / "run.json")["seconds"][stage.name]}
    state = TrainingState(step=steps, stage=1, stage_step=0, seconds=seconds, identity=identity)
    CheckpointFolder(output / "checkpoints", keep=config.training.keep_checkpoints).save(state, {"model": model_tensors(model)})


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    given = parser.parse_args()
    print(refit_prior(given.run, load_config(given.config, given.overrides)).output)


if __name__ == "__main__":
    main()
