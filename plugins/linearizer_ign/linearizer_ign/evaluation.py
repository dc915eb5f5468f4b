"""What the report of an idempotent network measures: how idempotent it is, what it keeps, what it repairs, and what it generates."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from linearizer_core.bijections import constant_weights
from linearizer_core.data import Splits, stack
from linearizer_core.errors import LatticeError
from linearizer_core.features.classifier import ClassifierFeatures
from linearizer_core.figures.curves import save_bars, save_curves
from linearizer_core.figures.images import is_image
from linearizer_core.figures.panels import save_panels, save_strips
from linearizer_core.invertibility import far_off_inputs
from linearizer_core.latent_prior.principal import principal_axes
from linearizer_core.linearizer import Linearizer
from linearizer_core.metrics import frechet_distance, max_abs_error, psnr, relative_error
from linearizer_core.operators import LinearOperator, LowRank
from linearizer_core.task import Report
from linearizer_ign.config import EvaluationConfig
from linearizer_ign.corruption import add_noise, blur, invert, occlude
from linearizer_ign.letters import letters
from linearizer_ign.model import IdempotentModel

NOTES = {
    "projections.png": "inputs as given, and projected",
    "generated.png": "noise projected, samples from the prior, and test data for comparison",
    "rank.png": "reconstruction against the rank of the projector",
    "idempotency.png": "what changes when f is applied twice, for each kind of input",
    "rank_in_training.png": "rank in the course of training",
    "rank": "dimensions that the projector keeps",
    "dimensions": "dimensions of the data",
    "idempotency_data": "largest |f(f(x)) - f(x)|, test data",
    "largest_output": "largest entry of f(x) over all those inputs",
    "psnr_db": "reconstruction of test data by f, decibels",
    "psnr_db_by_rank": "the same with the projector cut to its leading principal directions",
    "superposition_rel_err": "f(a.u + b.v) against a.f(u) + b.f(v), in the induced space",
    "invertibility_max_abs_err": "largest |g^-1(g(x)) - x|, test data",
    "frechet_test_floor": "training data against test data: the least one can hope for",
    "frechet_prior": "samples from the prior",
    "frechet_prior_at_temperature_0.9": "the same, noise scaled by 0.9",
    "frechet_gaussian_prior": "samples from a Gaussian fitted to the kept latents, without h",
    "frechet_without_prior": "standard normal latents, projected: what the model generates without a prior",
    "frechet_projected_noise": "f of noise images: what idempotence alone generates",
    "frechet_reconstruction": "f of test data",
    "accuracy_clean": "classifier on undamaged test data",
    "accuracy_projected_clean": "the same after f",
    "frechet_samples": "generated examples in each Frechet distance",
    "frechet_reference": "test examples in each Frechet distance",
    "features": "the extractor of the Frechet distances",
    "parameters": "of the whole model",
    "train_seconds": "all stages, checkpoints included",
}

_SEED = 0
_CHUNK = 500
_SHOWN = 10
_NOISE_SCALES = (0.1, 0.5, 1.0, 2.0)


@torch.no_grad()
def evaluate(model: IdempotentModel, splits: Splits, config: EvaluationConfig, folder: Path) -> Report:
    """Metrics and figures; images are judged by a classifier trained on the data, where they have labels."""
    device = next(model.parameters()).device
    test = {name: tensor.to(device) for name, tensor in stack(splits.test).items()}
    shape, operator = splits.info.shape, model.core.operator()
    f = model.linearizer(operator)
    metrics: dict[str, Any] = {"dimensions": model.gx.dim, "rank": operator.rank(), "parameters": sum(each.numel() for each in model.parameters())}
    with constant_weights():
        metrics |= _idempotency(f, _inputs(test["x"], shape, config.inputs))
        metrics |= _exactness(f, test["x"])
        reconstructed = _mapped(f, test["x"])
        metrics["psnr_db"] = psnr(reconstructed.clamp(0, 1), test["x"])
        by_rank = _by_rank(model, operator, splits, test["x"], config)
        metrics["psnr_db_by_rank"] = {str(rank): value for rank, value in by_rank.items()}
        figures = _draw_curves(by_rank, metrics, folder)
        if is_image(shape):
            damaged = damage(test["x"])
            if splits.info.classes:
                metrics |= _judged(model, f, splits, test, damaged, reconstructed, config)
            figures += _draw_images(model, f, test["x"], damaged, folder)
    return Report(metrics, tuple(figures), NOTES)


def damage(x: Tensor) -> dict[str, Tensor]:
    """The kinds of damage that the report looks at, by name: fixed amounts, the same in every report."""
    generator = torch.Generator(x.device).manual_seed(_SEED)
    full = torch.ones(len(x), device=x.device)
    return {
        "noise": add_noise(x, 0.4 * full, generator),
        "blur": blur(x, full * x.shape[-1] / 28),
        "occlusion": occlude(x, 0.3 * full, generator),
        "inversion": invert(x),
    }


def _inputs(x: Tensor, shape: tuple[int, ...], count: int) -> dict[str, Tensor]:
    generator = torch.Generator(x.device).manual_seed(_SEED)
    mean = float(x.mean())
    inputs = {"data": x[:count]}
    for scale in _NOISE_SCALES:
        inputs[f"gaussian_{scale:g}"] = mean + scale * torch.randn(count, *shape, generator=generator, device=x.device)
    far = far_off_inputs(shape, count, generator, reference=x)
    inputs |= {name: far[name] for name in ("uniform", "saturated", "constant")}
    if is_image(shape):
        inputs["letters"] = letters(shape, count).to(x)
    return inputs


def _idempotency(f: Linearizer, inputs: dict[str, Tensor]) -> dict[str, Any]:
    """Largest change when f is applied twice, and the largest output; None for inputs that a lattice refuses because they are out of its range."""
    found: dict[str, Any] = {}
    largest = 0.0
    for name, x in inputs.items():
        try:
            once = f(x)
            found[f"idempotency_{name}"] = max_abs_error(f(once), once)
            largest = max(largest, float(once.abs().max()))
        except LatticeError:
            found[f"idempotency_{name}"] = None
    return found | {"largest_output": largest}


def _exactness(f: Linearizer, x: Tensor) -> dict[str, float]:
    space, half = f.domain, min(len(x) // 2, _CHUNK)
    u, v, a, b = x[:half], x[half : 2 * half], 0.6, 0.7
    mixed = f(space.add(space.scale(a, u), space.scale(b, v)))
    return {
        "superposition_rel_err": relative_error(mixed, space.add(space.scale(a, f(u)), space.scale(b, f(v)))),
        "invertibility_max_abs_err": max_abs_error(space.from_latent(space.to_latent(x[:_CHUNK])), x[:_CHUNK]),
    }


def leading_part(operator: LinearOperator, axes: Tensor) -> LowRank:
    r""":math:`W W^T A` for a projector A and orthonormal ``axes`` W ``(D, k)`` in its range: a projector of rank k, since A W = W."""
    return LowRank(axes, operator.T(axes.mT).mT)


def _by_rank(model: IdempotentModel, operator: LinearOperator, splits: Splits, x: Tensor, config: EvaluationConfig) -> dict[int, float]:
    """PSNR by rank: f with the `leading_part` of A along the first k axes of the kept latents of the training data."""
    training = stack(splits.train, 5000)["x"].to(x)
    kept = torch.cat([operator(model.gx(part)) for part in torch.split(training, _CHUNK)]).double()
    axes = principal_axes(kept)[1].to(x.dtype)
    full, found = operator.rank(), {}
    for rank in [*(rank for rank in config.ranks if rank < full), full]:
        cut = operator if rank == full else leading_part(operator, axes[:, :rank])
        found[rank] = psnr(_mapped(Linearizer(model.domain(), cut), x[:2000]).clamp(0, 1), x[:2000])
    return found


def _judged(
    model: IdempotentModel,
    f: Linearizer,
    splits: Splits,
    test: dict[str, Tensor],
    damaged: dict[str, Tensor],
    reconstructed: Tensor,
    config: EvaluationConfig,
) -> dict[str, Any]:
    """What a classifier makes of projections of damaged images, and Frechet distances of what is generated."""
    features = ClassifierFeatures(splits)
    x, label, count = test["x"], test["label"].cpu(), config.samples

    def accuracy(images: Tensor) -> float:
        return float((features.predict(images.cpu().clamp(0, 1)) == label).float().mean())

    found: dict[str, Any] = {"features": features.name, "accuracy_clean": accuracy(x), "accuracy_projected_clean": accuracy(reconstructed)}
    for name, images in damaged.items():
        repaired = _mapped(f, images)
        found[f"accuracy_{name}"], found[f"accuracy_{name}_projected"] = accuracy(images), accuracy(repaired)
        found[f"psnr_db_{name}"], found[f"psnr_db_{name}_projected"] = psnr(images.clamp(0, 1), x), psnr(repaired.clamp(0, 1), x)

    reference = features(x.cpu())

    def distance(images: Tensor) -> float:
        return frechet_distance(features(images.cpu()), reference)

    found |= {
        "frechet_samples": count,
        "frechet_reference": len(reference),
        "frechet_test_floor": distance(stack(splits.train, count)["x"]),
        "frechet_reconstruction": distance(reconstructed),
        "frechet_prior": distance(_generated(model, count, 1.0)),
        "frechet_prior_at_temperature_0.9": distance(_generated(model, count, 0.9)),
    }
    generator = torch.Generator(x.device).manual_seed(_SEED)
    normal = torch.randn(count, model.prior.dim, generator=generator, device=x.device)
    found["frechet_gaussian_prior"] = distance(torch.cat([model.decode(model.whiten.inverse(part)) for part in torch.split(normal, _CHUNK)]))
    latents = torch.randn(count, model.gx.dim, generator=generator, device=x.device)
    found["frechet_without_prior"] = distance(torch.cat([model.decode(part) for part in torch.split(latents, _CHUNK)]))
    noise = x.mean() + x.std() * torch.randn(count, *x.shape[1:], generator=generator, device=x.device)
    found["frechet_projected_noise"] = distance(_mapped(f, noise))
    return found


def _mapped(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return torch.cat([f(part) for part in torch.split(x, _CHUNK)])


def _generated(model: IdempotentModel, count: int, temperature: float) -> Tensor:
    generator = torch.Generator(next(model.parameters()).device).manual_seed(_SEED)
    return torch.cat([model.generate(min(_CHUNK, count - start), generator, temperature=temperature) for start in range(0, count, _CHUNK)])


def _draw_curves(by_rank: dict[int, float], metrics: dict[str, Any], folder: Path) -> list[str]:
    ranks, values = list(by_rank), list(by_rank.values())
    save_curves(folder / "rank.png", "Reconstruction against rank", {"f": (ranks, values)}, x="rank of the projector", y="PSNR, dB", log_x=True)
    errors = {name.removeprefix("idempotency_").replace("_", " "): value for name, value in metrics.items() if name.startswith("idempotency_")}
    measured = {name: value for name, value in errors.items() if value is not None}
    save_bars(folder / "idempotency.png", "What changes when f is applied twice", measured, x="largest |f(f(x)) - f(x)|")
    figures = ["rank.png", "idempotency.png"]
    course = _course(folder / "metrics.jsonl")
    if course:
        steps, kept = zip(*course, strict=True)
        save_curves(folder / "rank_in_training.png", "Rank in the course of training", {"rank": (steps, kept)}, x="step", y="rank")
        figures.append("rank_in_training.png")
    return figures


def _course(path: Path) -> list[tuple[float, float]]:
    """Step and rank, as they were logged, where the rank was learned."""
    if not path.is_file():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    course = [(row["step"], row["rank"]) for row in rows if "rank" in row]
    return course if len({rank for _, rank in course}) > 1 else []


def _draw_images(model: IdempotentModel, f: Linearizer, x: Tensor, damaged: dict[str, Tensor], folder: Path) -> list[str]:
    shown = {"test data": x[:_SHOWN], **{name: images[:_SHOWN] for name, images in damaged.items()}, "letters": letters(tuple(x.shape[1:]), _SHOWN).to(x)}
    save_strips(folder / "projections.png", "Given, and projected", [[(name, given), ("projected", f(given))] for name, given in shown.items()])
    generator = torch.Generator(x.device).manual_seed(_SEED)
    noise = x.mean() + x.std() * torch.randn(64, *x.shape[1:], generator=generator, device=x.device)
    samples = model.generate(64, generator)
    save_panels(
        folder / "generated.png",
        "What the projector generates",
        [("noise, projected", f(noise)), ("samples from the prior", samples), ("test data, for comparison", x[:64])],
    )
    return ["projections.png", "generated.png"]
