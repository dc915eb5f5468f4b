"""Measure a model that was trained elsewhere with the yardstick of the evidence: other seeds of a model of the registry, or one that it replaced.

    python -m benchmarks.evidence.trained DATA MODEL --weights WEIGHTS --name flow.mnist --seed 1 [--split test] [--runs runs/evidence]

MODEL is a name, or local-dir:PATH of a saved model, such as the folder model of a run. The record goes to RUNS/records, from where
``python -m benchmarks.evidence.page`` takes it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from benchmarks.evidence.plan import BEFORE, SHIPPED, shipped
from benchmarks.evidence.run import perform_trained
from linearizer_core.factory import create_dataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with MNIST's four idx files")
    parser.add_argument("model", help="where it is loaded from: a name, local-dir:PATH or hf-hub:ORG/NAME")
    parser.add_argument("--weights", type=Path, required=True, help="safetensors weights of tf_efficientnet_lite0")
    parser.add_argument("--name", required=True, choices=(*SHIPPED, *(name + BEFORE for name in SHIPPED)), help="of which model it is a seed, or a predecessor")
    parser.add_argument("--seed", type=int, default=0, help="that of its training")
    parser.add_argument("--split", choices=("validation", "test"), default="test", help="what its samples are compared with")
    parser.add_argument("--runs", type=Path, default=Path("runs/evidence"), help="folder of what is measured")
    given = parser.parse_args()
    if not given.weights.is_file():
        parser.error(f"--weights {given.weights} is no file; give timm's tf_efficientnet_lite0 as safetensors")
    torch.set_num_threads(1)
    splits = create_dataset("mnist", root=given.data).load()
    perform_trained(shipped(given.name, given.split, given.seed, given.model), splits, given.weights, given.runs)


if __name__ == "__main__":
    main()
