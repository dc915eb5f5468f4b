"""What the report of a flow model measures. Every figure comes from the model and the data at hand; none is assumed."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from linearizer_core.bijections import inverse_with_report
from linearizer_core.collapse import collapse_core
from linearizer_core.condition import Condition
from linearizer_core.data import Splits, stack
from linearizer_core.features.classifier import ClassifierFeatures
from linearizer_core.features.pretrained import PretrainedFeatures
from linearizer_core.figures.images import is_image
from linearizer_core.figures.panels import save_panels, save_strips
from linearizer_core.linearizer import Linearizer
from linearizer_core.metrics import frechet_distance, max_abs_error, psnr, relative_error
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import LinearOperator
from linearizer_core.operators.flow import time_grid
from linearizer_core.task import Report
from linearizer_flow.config import FlowConfig, SampleOptions
from linearizer_flow.latent_prior import LatentPriorBijection
from linearizer_flow.sampling import LABEL, Loop, any_label, condition_of, core_for, data_space, draw_noise, generate, generate_by_loop, sample

_SEED = 123
_PROBES = 64
_REPEATS = 5


NOTES = {
    "samples.png": "the same noise, generated in one step and in many, beside test images",
    "interpolation.png": "straight lines between two test images, in the induced space and in pixels",
    "inversion.png": "test images, encoded to noise by the pseudo-inverse, and generated back in one step",
    "steps": "T: solver steps of the flow that is collapsed",
    "parameters": "of the whole model",
    "one_step_vs_loop_rel_err_euler": "images of the collapsed Euler steps against the Euler loop, same noise",
    "one_step_vs_loop_rel_err_rk4": "the same for RK4",
    "limit_vs_euler_loop_rel_err": "the regular flow to t = 1 against the Euler loop, which stops at 1 - 1/T",
    "invertibility_max_abs_err": "g^-1(g(x)) against x, test images, float32",
    "invertibility_max_abs_err_float64": "the same weights in float64",
    "inverse_iterations": "most iterations of one block's iterative inverse, those test images",
    "inverse_error_bound": "largest a-posteriori bound on the error of one block's iterative inverse, Euclidean",
    "superposition_rel_err": "f(a (.) u (+) b (.) v) against a (.) f(u) (+) b (.) f(v)",
    "idempotency_max_abs_err": "p(p(x)) against p(x), p the projector with the core of f, test images",
    "rank": "coordinates that the operator keeps",
    "collapse_seconds": "to multiply the Euler steps into one operator",
    "one_step_seconds": f"to generate {_PROBES} images by the collapsed operator",
    "loop_seconds": f"to generate {_PROBES} images by the Euler loop",
    "inversion_psnr_db": "test images to noise and back, by f and its pseudo-inverse",
    "inversion_psnr_db_invertible": "the same with the operator of the Euler steps, which is invertible",
    "features": "the extractor of the Frechet distances",
    "features_accuracy": "of the classifier whose features those are, on the test images",
    "frechet_samples": "generated images in each Frechet distance",
    "frechet_reference": "test images in each Frechet distance",
    "frechet_test_floor": "training images against test images",
    "frechet_noise": "uniform noise against test images",
    "frechet_one_step": "one-step samples against test images",
    "frechet_one_step_at_temperature_0.9": "one-step samples, the noise scaled by 0.9, against test images",
    "frechet_loop": "samples of the Euler loop against test images",
    "pretrained_features": "the pretrained model, and the side to which images are scaled, of Frechet distances whose names begin like this",
    "pretrained_frechet_test_floor": "on the pretrained features: training images against test images",
    "pretrained_frechet_noise": "on the pretrained features: uniform noise against test images",
    "pretrained_frechet_one_step": "on the pretrained features: one-step samples against test images",
    "pretrained_frechet_one_step_at_temperature_0.9": "on the pretrained features: one-step samples, the noise scaled by 0.9, against test images",
    "pretrained_frechet_loop": "on the pretrained features: samples of the Euler loop against test images",
    "label_agreement": "one-step samples that the classifier gives the label asked for",
    "train_seconds": "all stages, checkpoints and sample grids included",
}


@torch.no_grad()
def evaluate(model: LinearizerModel, config: FlowConfig, splits: Splits, folder: Path, operator: LinearOperator | None) -> Report:
    """Measure exactness, invertibility and time; of images also sample quality and inversion, with pictures of samples, interpolations and inversions."""
    folder.mkdir(parents=True, exist_ok=True)
    device, dtype = next(model.parameters()).device, next(model.parameters()).dtype
    test = {name: tensor.to(device) for name, tensor in stack(splits.test).items()}
    steps = config.sampling.steps
    operator = (collapse_core(core_for(model, None), config.sampling) if operator is None else operator).to(dtype)
    probe = _Probe(model, steps, device)

    metrics: dict[str, Any] = {"steps": steps, "parameters": sum(parameter.numel() for parameter in model.parameters())}
    metrics |= probe.collapse_against_loop()
    metrics |= _exactness(model, operator, test, probe)
    metrics |= _times(model, operator, config, probe)
    if not is_image(splits.info.shape):
        return Report(metrics, notes=NOTES)

    back, inverted, metrics["inversion_psnr_db"] = _invert(model, operator, test)
    invertible = core_for(model, None).propagator(time_grid(steps), "euler").to(dtype)
    metrics["inversion_psnr_db_invertible"] = _invert(model, invertible, test)[2]
    if splits.info.classes or config.evaluation.features:
        metrics |= _quality(model, operator, config, splits, test)

    _draw(model, operator, probe, test, back, inverted, steps, folder)
    return Report(metrics, ("samples.png", "interpolation.png", "inversion.png"), NOTES)


class _Probe:
    """A fixed batch of noise with its conditions, and the solvers compared on it."""

    def __init__(self, model: LinearizerModel, steps: int, device: torch.device) -> None:
        generator = torch.Generator(device).manual_seed(_SEED)
        self.model, self.steps = model, steps
        self.noise = draw_noise(model, _PROBES, generator)
        self.condition = model.gy.categories.draw(_PROBES, generator) if isinstance(model.gy, LatentPriorBijection) else None

    def collapse_against_loop(self) -> dict[str, float]:
        """Relative error of the images of the collapsed operator against those of the loop, same noise, same solver."""
        core, result = core_for(self.model, None), {}
        for solver in ("euler", "rk4"):
            collapsed = core.propagator(time_grid(self.steps), solver).to(self.noise.dtype)
            loop = generate_by_loop(self.model, self.noise, self.condition, Loop(core, self.steps, solver))
            result[f"one_step_vs_loop_rel_err_{solver}"] = relative_error(generate(self.model, self.noise, self.condition, collapsed), loop)
        if "limit" in core.terminals:
            limit = core.one_step(self.steps, terminal="limit").to(self.noise.dtype)
            loop = generate_by_loop(self.model, self.noise, self.condition, Loop(core, self.steps))
            result["limit_vs_euler_loop_rel_err"] = relative_error(generate(self.model, self.noise, self.condition, limit), loop)
        return result


def _exactness(model: LinearizerModel, operator: LinearOperator, test: dict[str, Tensor], probe: _Probe) -> dict[str, Any]:
    x = test["x"][:500]
    condition = condition_of(model, x, _labels(test, x))
    result: dict[str, Any] = {"invertibility_max_abs_err": _round_trip(model, x, condition)}
    if model.gy.inverse_kind == "iterative":
        _, reports = inverse_with_report(model.gy, model.gy(x, condition), condition)
        result["inverse_iterations"] = max(report.iterations for report in reports)
        result["inverse_error_bound"] = max(report.bound for report in reports)
    double = copy.deepcopy(model).double()
    result["invertibility_max_abs_err_float64"] = _round_trip(double, x.double(), condition)

    f = model.linearizer(operator, probe.condition.rows(torch.arange(32, device=x.device)) if probe.condition else None)
    u, v, a, b = probe.noise[:32], probe.noise[32:], 0.6, 0.7
    mixed = f(f.domain.add(f.domain.scale(a, u), f.domain.scale(b, v)))
    result["superposition_rel_err"] = relative_error(mixed, f.codomain.add(f.codomain.scale(a, f(u)), f.codomain.scale(b, f(v))))

    z = model.codomain(condition).to_latent(x)
    projected = operator(z)
    if relative_error(operator(projected), projected) < 1e-6:
        projector = Linearizer(model.codomain(condition), operator)
        once = projector(x)
        result["idempotency_max_abs_err"] = max_abs_error(projector(once), once)
        result["rank"] = operator.rank()
    return result


def _round_trip(model: LinearizerModel, x: Tensor, condition: Condition | None) -> float:
    space = model.codomain(condition)
    return max_abs_error(space.from_latent(space.to_latent(x)), x)


def _times(model: LinearizerModel, operator: LinearOperator, config: FlowConfig, probe: _Probe) -> dict[str, float]:
    return {
        "collapse_seconds": _median_seconds(lambda: core_for(model, None).one_step(config.sampling.steps, "euler", "early")),
        "one_step_seconds": _median_seconds(lambda: generate(model, probe.noise, probe.condition, operator)),
        "loop_seconds": _median_seconds(lambda: generate_by_loop(model, probe.noise, probe.condition, Loop(core_for(model, None), probe.steps))),
    }


def _median_seconds(call: Callable[[], Any]) -> float:
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[_REPEATS // 2]


def _invert(model: LinearizerModel, operator: LinearOperator, test: dict[str, Tensor]) -> tuple[Tensor, Tensor, float]:
    """Test images, encoded to noise by the pseudo-inverse and generated again: the noise, the images and their PSNR in dB."""
    x = test["x"][:500]
    f = model.linearizer(operator, condition_of(model, x, _labels(test, x)))
    noise = f.pinv()(x)
    back = f(noise)
    return noise, back, psnr(back.clamp(0, 1), x)


def _quality(model: LinearizerModel, operator: LinearOperator, config: FlowConfig, splits: Splits, test: dict[str, Tensor]) -> dict[str, Any]:
    count, shape = config.evaluation.samples, splits.info.shape
    result: dict[str, Any] = {"frechet_samples": count, "frechet_reference": len(test["x"])}
    extractors: dict[str, ClassifierFeatures | PretrainedFeatures] = {}
    if splits.info.classes:
        classifier = extractors[""] = ClassifierFeatures(splits)
        result["features_accuracy"] = classifier.accuracy
    if (chosen := config.evaluation.features) is not None:
        extractors["pretrained_"] = PretrainedFeatures(chosen.model, chosen.weights, size=chosen.size, device=test["x"].device)
    reference = {prefix: features(test["x"].cpu()) for prefix, features in extractors.items()}
    result |= {f"{prefix}features": features.name for prefix, features in extractors.items()}

    def compare(name: str, images: Tensor) -> None:
        result.update({f"{prefix}frechet_{name}": frechet_distance(features(images), reference[prefix]) for prefix, features in extractors.items()})

    compare("test_floor", stack(splits.train, count)["x"])
    compare("noise", torch.rand(count, *shape, generator=torch.Generator().manual_seed(_SEED)))
    for name, one_step, temperature in (
        ("one_step", operator, config.evaluation.temperature),
        ("one_step_at_temperature_0.9", operator, 0.9),
        ("loop", None, config.evaluation.temperature),
    ):
        images, labels = _evenly_labelled(model, one_step, count, temperature, config)
        compare(name, images)
        if labels is not None and splits.info.classes:
            result.setdefault("label_agreement", float((classifier.predict(images) == labels).float().mean()))
    return result


def _evenly_labelled(
    model: LinearizerModel, operator: LinearOperator | None, count: int, temperature: float, config: FlowConfig
) -> tuple[Tensor, Tensor | None]:
    """Samples on the CPU, by ``operator`` or by the loop: as many of each label where the model takes labels, else categories by their frequency."""
    generator, steps = torch.Generator(next(model.parameters()).device).manual_seed(_SEED), config.sampling.steps
    bijection, core = model.gy, core_for(model, None)
    labels_of_core = any_label(core) if LABEL in core.conditions else 0
    labels_of_prior = bijection.categories.conditions.get("label", 0) if isinstance(bijection, LatentPriorBijection) else 0
    if not labels_of_core and not labels_of_prior:
        way = Loop(core, steps) if operator is None else operator
        return sample(model, count, generator, SampleOptions(temperature=temperature), way).cpu(), None
    labels = torch.arange(count) % (labels_of_core or labels_of_prior)
    noise = draw_noise(model, count, generator, temperature)
    images = torch.empty(count, *bijection.in_shape)
    # A core under labels is another operator for each of them; a prior under labels takes all of them at once.
    for rows in [row for group in _groups(labels, separate=bool(labels_of_core)) for row in torch.split(group, 500)]:
        part = Condition(label=labels[rows].to(noise.device)) if labels_of_prior else None
        if labels_of_core:
            core = core_for(model, int(labels[rows[0]]))
        if operator is None:
            images[rows] = generate_by_loop(model, noise[rows], part, Loop(core, steps)).cpu()
        else:
            own = collapse_core(core, config.sampling).to(noise.dtype) if labels_of_core else operator
            images[rows] = generate(model, noise[rows], part, own).cpu()
    return images, labels


def _groups(labels: Tensor, *, separate: bool) -> list[Tensor]:
    """The rows, all together or those of each label apart."""
    return [(labels == label).nonzero()[:, 0] for label in sorted(set(labels.tolist()))] if separate else [torch.arange(len(labels))]


def _labels(test: dict[str, Tensor], x: Tensor) -> Tensor | None:
    return test["label"][: len(x)] if "label" in test else None


def _draw(
    model: LinearizerModel, operator: LinearOperator, probe: _Probe, test: dict[str, Tensor], noise: Tensor, inverted: Tensor, steps: int, folder: Path
) -> None:
    one_step = generate(model, probe.noise, probe.condition, operator)
    loop = generate_by_loop(model, probe.noise, probe.condition, Loop(core_for(model, None), steps))
    save_panels(
        folder / "samples.png",
        "The same noise, generated in one step and in many",
        [("one step", one_step), (f"{steps} steps", loop), ("test images, for comparison", test["x"][:_PROBES])],
    )

    space = data_space(model)
    weights = torch.linspace(0, 1, 9, device=noise.device)
    groups = []
    for start, end in _pairs(test, 3):
        first, last = (test["x"][index].expand(len(weights), *space.shape) for index in (start, end))
        columns = weights.view(-1, *[1] * len(space.shape))
        groups.append([("induced space", space.lerp(first, last, weights)), ("pixels", (1 - columns) * first + columns * last)])
    save_strips(folder / "interpolation.png", "Straight lines between two test images", groups)

    shown = test["x"][:10]
    picture = noise[:10].reshape(shown.shape)
    rows = [("test image", shown), ("its noise", 0.5 + picture / 6), ("generated back", inverted[:10])]
    save_strips(folder / "inversion.png", "Encoded to noise by the pseudo-inverse, generated back in one step", [rows])


def _pairs(test: dict[str, Tensor], count: int) -> list[tuple[int, int]]:
    """Pairs of neighbouring test images, of different classes where there are such pairs."""
    label = test.get("label")
    neighbours = [(index, index + 1) for index in range(0, len(test["x"]) - 1, 2)]
    across = [(first, second) for first, second in neighbours if label is None or label[first] != label[second]]
    return (across or neighbours)[:count]
