"""A flow trained by likelihood, beside a one-step model of the same size: the same couplings, data, labels, seconds and card.

    python -m benchmarks.likelihood CONFIG DATA --weights WEIGHTS --seconds S [--beside RUN] [--out runs/likelihood]

Takes the couplings of CONFIG, gives every conditioner the label, sets scales and shifts from the first batch as likelihood likes it, and widens the
coarsest level until the model is no smaller than that of CONFIG. Pixels are dequantised with uniform noise, all D coordinates are
standard normal, and -log p(x) is minimised for S seconds, evaluation not counted. A sample is one inverse pass, as it is for the model of CONFIG.
DATA holds train.npz and test.npz, WEIGHTS is a safetensors file of timm's tf_efficientnet_lite0. Frechet distances are those of the report in RUN,
which is copied into the result. Writes OUT.json, OUT.md and pictures of samples.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from linearizer_core.bijections import Bijection
from linearizer_core.bijections.tf32 import without_tf32
from linearizer_core.condition import Condition
from linearizer_core.config import RunConfig
from linearizer_core.config_file import load_config
from linearizer_core.data import Batch, DataInfo, Splits, stack
from linearizer_core.factory import build_model, create_backbone, create_dataset
from linearizer_core.features.classifier import ClassifierFeatures
from linearizer_core.features.pretrained import PretrainedFeatures
from linearizer_core.figures.images import save_grid
from linearizer_core.metrics import frechet_distance, max_abs_error
from linearizer_core.training.average import WeightAverage
from linearizer_core.training.execution import set_convolution_layout

RATE, BETAS, DECAY, WARM_UP, HOLD = 1e-3, (0.9, 0.99), 1e-4, 200, 0.3
TEMPERATURES = (1.0, 0.9, 0.8, 0.7)
ROWS = {
    "parameters": "parameters",
    "steps": "steps",
    "train_seconds": "training, s",
    "pretrained_frechet_one_step": "FD, one inverse pass",
    "pretrained_frechet_one_step_at_temperature_0.9": "FD at 0.9",
    "frechet_one_step": "FD on the classifier's features",
    "frechet_one_step_at_temperature_0.9": "the same at 0.9",
    "label_agreement": "label agreement",
    "invertibility_max_abs_err": "round trip, max",
    "test_bits_per_dimension": "bits per dimension, test",
}


def flow_of_size(config: RunConfig, info: DataInfo) -> Bijection:
    """The couplings of a configuration, conditioned on labels, with no fewer parameters than its whole model."""
    _, model = build_model(config.model, info, config.training.seed)
    size = sum(parameter.numel() for parameter in model.parameters())
    options = {**config.backbone.options, "norm": "actnorm"}
    while True:
        flow = create_backbone(config.backbone.name, info.shape, conditions={"label": info.classes}, **options)
        if sum(parameter.numel() for parameter in flow.parameters()) >= size:
            return flow
        *finer, coarsest = options["levels"]
        options["levels"] = [*finer, {**coarsest, "width": coarsest["width"] + 4}]


def bits(flow: Bijection, x: Tensor, label: Tensor, generator: torch.Generator) -> Tensor:
    r""":math:`-\log_2 p(x) / D` of 8-bit images ``(B, C, H, W)`` in [0, 1], dequantised: ``(B,)``."""
    noisy = (255 * x + torch.rand(x.shape, generator=generator, device=x.device)) / 256
    z, logdet = flow.forward_and_logdet(noisy, Condition(label=label))
    log_density = logdet - (z.square() + math.log(2 * math.pi)).sum(1) / 2
    return 8 - log_density / (flow.dim * math.log(2))


def learning_rate(part: float, step: int) -> float:
    """Warm-up in steps, then held, then a cosine over the part of the time that is over."""
    cosine = 0.5 * (1 + math.cos(math.pi * max(0.0, part - HOLD) / (1 - HOLD)))
    return RATE * min(1.0, (step + 1) / WARM_UP) * (0.005 + 0.995 * cosine)


def train(flow: Bijection, data: Batch, *, seconds: float, batch: int, seed: int) -> dict[str, Any]:
    """Minimise the bits per dimension for so many seconds, in bfloat16 conditioners on a GPU; end with the averaged weights."""
    device = next(flow.parameters()).device
    images, labels = data["x"].to(device), data["label"].to(device)
    generator = torch.Generator(device).manual_seed(seed)

    def loss() -> Tensor:
        rows = torch.randint(len(images), (batch,), generator=generator, device=device)
        turned = (torch.rand(batch, generator=generator, device=device) < 0.5)[:, None, None, None]
        x = torch.where(turned, images[rows].flip(-1), images[rows])
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            return bits(flow, x, labels[rows], generator).mean()

    loss().backward()  # type: ignore[no-untyped-call]  # norms take their scales from this batch
    parameters = dict(flow.named_parameters())
    optimizer = torch.optim.AdamW(parameters.values(), lr=RATE, betas=BETAS, weight_decay=DECAY, fused=True)
    average = WeightAverage(parameters, ema=0.999, warmup=50)
    step, started, history, window = 0, time.perf_counter(), [], []
    while (part := (time.perf_counter() - started) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(part, step)
        optimizer.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        average.update(step)
        step += 1
        window.append(value.detach())
        if step % 100 == 0:  # waits for the device, so that the clock above tells the truth
            history.append({"step": step, "seconds": time.perf_counter() - started, "bits": float(torch.stack(window).mean())})
            window = []
            print(json.dumps(history[-1]), flush=True)
    average.copy_to_parameters()
    return {"steps": step, "train_seconds": time.perf_counter() - started, "history": history}


@torch.no_grad()
def draw(flow: Bijection, count: int, temperature: float, classes: int) -> Tensor:
    """Samples on the CPU, one inverse pass each, as many of each label."""
    device = next(flow.parameters()).device
    generator = torch.Generator(device).manual_seed(123)
    labels = torch.arange(count, device=device) % classes
    noise = temperature * torch.randn(count, flow.dim, generator=generator, device=device)
    return torch.cat([flow.inverse(z, Condition(label=y)).cpu() for z, y in zip(noise.split(500), labels.split(500), strict=True)])


@torch.no_grad()
def measure(flow: Bijection, splits: Splits, weights: Path, count: int, out: Path) -> dict[str, Any]:
    """Frechet distances on the features of a report, bits per dimension and round trip; a picture of samples."""
    device = next(flow.parameters()).device
    test, train_images = stack(splits.test), stack(splits.train, count)["x"]
    classifier, pretrained = ClassifierFeatures(splits), PretrainedFeatures("tf_efficientnet_lite0", weights, device=device)
    extractors = {"": classifier, "pretrained_": pretrained}
    result: dict[str, Any] = {
        "features": classifier.name,
        "pretrained_features": pretrained.name,
        "frechet_samples": count,
        "frechet_reference": len(test["x"]),
    }
    reference = {prefix: extract(test["x"]) for prefix, extract in extractors.items()}
    for prefix, extract in extractors.items():
        result[f"{prefix}frechet_test_floor"] = frechet_distance(extract(train_images), reference[prefix])
    for temperature in TEMPERATURES:
        images = draw(flow, count, temperature, splits.info.classes)
        name = "frechet_one_step" if temperature == 1 else f"frechet_one_step_at_temperature_{temperature}"
        finite = images.flatten(1).isfinite().all(1)
        result[f"finite_at_temperature_{temperature}"] = float(finite.float().mean())
        for prefix, extract in extractors.items():
            result[prefix + name] = frechet_distance(extract(images[finite]), reference[prefix])
        if temperature in (1.0, 0.7):
            save_grid(images[:100], out.with_name(f"{out.name}_{temperature}.png"))
        if temperature == 1:
            labels = torch.arange(count) % splits.info.classes
            result["label_agreement"] = float((classifier.predict(images[finite]) == labels[finite]).float().mean())
    generator = torch.Generator(device).manual_seed(0)
    parts = [bits(flow, x.to(device), y.to(device), generator) for x, y in zip(test["x"].split(500), test["label"].split(500), strict=True)]
    result["test_bits_per_dimension"] = float(torch.cat(parts).mean())
    x, condition = test["x"][:500].to(device), Condition(label=test["label"][:500].to(device))
    result["invertibility_max_abs_err"] = max_abs_error(flow.inverse(flow(x, condition), condition), x)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="configuration of the model to compare with")
    parser.add_argument("data", type=Path, help="folder with train.npz and test.npz, labelled")
    parser.add_argument("--weights", type=Path, required=True, help="safetensors weights of tf_efficientnet_lite0")
    parser.add_argument("--seconds", type=float, default=400.0, help="seconds of training")
    parser.add_argument("--samples", type=int, default=10_000, help="samples in each Frechet distance")
    parser.add_argument("--batch", type=int, default=256, help="images a step")
    parser.add_argument("--beside", type=Path, help="run folder of the model to compare with; its report is copied into the result")
    parser.add_argument("--out", type=Path, default=Path("runs/likelihood"), help="results, without suffix")
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)

    config = load_config(arguments.config, [f"data.root={arguments.data}"])
    splits = create_dataset(config.data.name, **config.data.options).load()
    torch.manual_seed(config.training.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    flow = flow_of_size(config, splits.info).to(device)
    set_convolution_layout(flow, torch.channels_last)
    facts = train(flow, stack(splits.train), seconds=arguments.seconds, batch=arguments.batch, seed=config.training.seed)
    set_convolution_layout(flow, torch.contiguous_format)
    with without_tf32(next(flow.parameters())):
        measured = measure(flow.eval(), splits, arguments.weights, arguments.samples, arguments.out)
    result: dict[str, Any] = {
        "likelihood": {
            "parameters": sum(parameter.numel() for parameter in flow.parameters()),
            "batch_size": arguments.batch,
            "seed": config.training.seed,
            "hardware": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
            "torch": torch.__version__,
            **facts,
            **measured,
        }
    }
    if arguments.beside is not None:
        result["one_step"] = json.loads((arguments.beside / "report.json").read_text(encoding="utf-8"))
    write(result, arguments.out)


def write(result: dict[str, Any], out: Path) -> None:
    """Write the results as JSON, and as a Markdown table."""
    out.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    flow, columns = result["likelihood"], {"likelihood": result["likelihood"]}
    if "one_step" in result:
        report = result["one_step"]
        columns = {"one-step model": {**report, "steps": report["run"]["steps"]}, **columns}
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {label} | " + " | ".join(_cell(values.get(name)) for values in columns.values()) + " |" for name, label in ROWS.items()]
    lines += [
        "",
        f"FD: Frechet distance on `{flow['pretrained_features']}`, or on `{flow['features']}`; {flow['frechet_samples']:,} samples against "
        f"{flow['frechet_reference']:,} test images; real against real {flow['pretrained_frechet_test_floor']:.2f} and {flow['frechet_test_floor']:.2f}. "
        f"Seed {flow['seed']}, {flow['hardware']}, torch {flow['torch']}. One seed each.",
    ]
    out.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case float():
            return f"{value:.1e}" if value and abs(value) < 1e-2 else f"{value:.2f}" if value < 100 else f"{value:.0f}"
        case _:
            return f"{value:,}"


if __name__ == "__main__":
    main()
