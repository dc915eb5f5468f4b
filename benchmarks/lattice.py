"""What bit-exactness costs: the lattice beside ordinary couplings, at equal depth, width and steps, on the embedded digits.

    python -m benchmarks.lattice [--steps 400] [--prior-steps 500] [--output runs/lattice]

Trains ``configs/quickstart.toml`` once for each backbone, only the backbone replaced, and measures the trained g. A run that is finished already is read, not
repeated, so give another OUTPUT with other steps. Writes OUTPUT/lattice.json and OUTPUT/lattice.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from linearizer_core.bijections import Bijection
from linearizer_core.config_file import load_config
from linearizer_core.data import stack
from linearizer_core.factory import create_dataset
from linearizer_core.features.classifier import ClassifierFeatures
from linearizer_core.files import write_json
from linearizer_core.invertibility import far_off_inputs
from linearizer_core.metrics import frechet_distance, max_abs_error, psnr
from linearizer_core.operators import Mask
from linearizer_core.pretrained import load, uri_of
from linearizer_core.training import train
from linearizer_flow.latent_prior import LatentPriorBijection

SIZES = "levels=[{couplings=2, width=32}, {couplings=4, width=64, token_mixing=true}], dense={couplings=8, width=128}"
NORMALIZED = 'name="coupling", normalize={shift=-0.3, scale=2.0}'
BACKBONES = {
    "affine coupling": f"{NORMALIZED}, {SIZES}",
    "additive coupling": f'{NORMALIZED}, coupling="additive", {SIZES}',
    "lattice, float": f'name="lattice", {SIZES}',
    "lattice, bfloat16": f'name="lattice", arithmetic="bfloat16", {SIZES}',
    "lattice, exact": f'name="lattice", arithmetic="exact", {SIZES}',
    "lattice, exact in float32": f'name="lattice", arithmetic="exact", exact={{weight_bits=7, activation_bits=7, accumulation="float32"}}, {SIZES}',
}
RANK = 16
ROWS = {
    "psnr_db": "test digits from 16 coordinates, dB",
    "frechet_decoded": "their Frechet distance",
    "frechet_one_step": "Frechet distance of one-step samples",
    "round_trip": "round trip, test digits, largest error",
    "round_trip_far": "round trip, far-off inputs, largest error",
    "rounded": "of far-off inputs, what the first round trip rounds away",
    "idempotency": "f(f(x)) against f(x), 16 coordinates kept, test digits",
    "idempotency_far": "the same, far-off inputs",
    "largest": "largest number that f makes of far-off inputs",
    "batch": "latents of single examples against those of a batch",
    "train_seconds": "training, s",
}


def run(name: str, steps: int, prior_steps: int, output: Path) -> dict[str, Any]:
    """Train one backbone, unless that is done, and measure it."""
    folder = output / name.replace(", ", "-").replace(" ", "-")
    if not (folder / "report.json").exists():
        overrides = [
            f"backbone={{{BACKBONES[name]}}}",
            f"task.latent_prior.reconstruction.steps={steps}",
            f"task.latent_prior.prior.steps={prior_steps}",
            f"training.output={folder}",
            "training.sample_every=0",
            "training.threads=1",  # times that other work on the machine disturbs least
            "task.sampling.steps=4",  # of the loop, which is not looked at here
        ]
        train(load_config("configs/quickstart.toml", overrides))
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    body = cast(LatentPriorBijection, load(uri_of(str(folder))).model.gy).body
    kept = {key: report[key] for key in ("frechet_one_step", "frechet_test_floor", "features", "train_seconds", "run")}
    return {**kept, **measure(body)}


@torch.no_grad()
def measure(g: Bijection) -> dict[str, float]:
    """Reconstruction through the leading coordinates, and how exact g is, on test digits and far off."""
    splits = create_dataset("digits").load()
    test, features = stack(splits.test)["x"], ClassifierFeatures(splits)
    far = torch.cat(list(far_off_inputs(tuple(test.shape[1:]), 100, torch.Generator().manual_seed(0), reference=test).values()))
    mask = Mask(torch.arange(g.dim) < RANK)

    def f(x: Tensor) -> Tensor:
        return g.inverse(mask(g(x)))

    representable = g.inverse(g(far)) if g.bit_exact else far
    decoded, once = f(test), f(far)
    return {
        "psnr_db": psnr(decoded, test),
        "frechet_decoded": frechet_distance(features(decoded.clamp(0, 1)), features(test)),
        "round_trip": max_abs_error(g.inverse(g(test)), test),
        "round_trip_far": max_abs_error(g.inverse(g(representable)), representable),
        "rounded": max_abs_error(representable, far),
        "idempotency": max_abs_error(f(decoded), decoded),
        "idempotency_far": max_abs_error(f(once), once),
        "largest": float(once.abs().max()),
        "batch": max_abs_error(torch.cat([g(x) for x in torch.split(test, 1)]), g(test)),
    }


def table(results: dict[str, dict[str, Any]], steps: int, prior_steps: int) -> str:
    """The results as Markdown, one column a backbone."""
    lines = ["| | " + " | ".join(results) + " |", "|---" * (len(results) + 1) + "|"]
    lines += [f"| {label} | " + " | ".join(_cell(values[name]) for values in results.values()) + " |" for name, label in ROWS.items()]
    first = next(iter(results.values()))
    facts = first["run"]
    source = (
        f"`python -m benchmarks.lattice --steps {steps} --prior-steps {prior_steps}`: the quickstart's recipe on the embedded digits, only the backbone "
        f"replaced; float32, one seed ({facts['seed']}), one thread, torch {facts['versions']['torch']}. Far off: noise, "
        f"saturated and constant images. Frechet distances on `{first['features']}`, training digits against test digits {first['frechet_test_floor']:.1f}."
    )
    return "\n".join([*lines, "", source])


def _cell(value: float) -> str:
    return "0" if value == 0 else f"{value:.1f}" if value >= 1 else f"{value:.1e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400, help="of training g")
    parser.add_argument("--prior-steps", type=int, default=500, help="of fitting the flow on its leading coordinates")
    parser.add_argument("--output", type=Path, default=Path("runs/lattice"))
    arguments = parser.parse_args()
    results = {name: run(name, arguments.steps, arguments.prior_steps, arguments.output) for name in BACKBONES}
    write_json(arguments.output / "lattice.json", results)
    text = table(results, arguments.steps, arguments.prior_steps)
    (arguments.output / "lattice.md").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
