"""What the report of a model of dynamics measures. Every figure comes from the model and the data at hand."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from linearizer_core.data import Splits, stack
from linearizer_core.figures.images import is_image
from linearizer_core.metrics import max_abs_error, psnr
from linearizer_core.model import LinearizerModel
from linearizer_core.task import Report
from linearizer_dynamics.config import EvaluationConfig
from linearizer_dynamics.known import beside_closed_form, in_published_coordinates, known_spectrum
from linearizer_dynamics.prediction import encode, generator_of, pad, predict, rollout
from linearizer_dynamics.spectrum import eigenvalues, written

_CHUNK = 50

NOTES = {
    "film.png": "films of test trajectories: true frames, and those predicted from the first one",
    "trajectories.png": "test trajectories, predicted from their first state",
    "phase.png": "phase portrait: true trajectories, and predicted ones",
    "error.png": "error of the prediction against the time ahead",
    "eigenvalues.png": "eigenvalues of the generator",
    "parameters": "of the whole model",
    "last_time": "t of the last state that is predicted, from the first one alone",
    "prediction_mse": "mean squared error of all predicted states, in the units of the data",
    "prediction_mse_30": "the same over the first 30 states, as DeepKoopman's prediction loss divided by its weight",
    "one_step_relative_mse": "mean squared error of the first predicted state over its mean square, as DeepKoopman's",
    "relative_error_mean": "|predicted - true| / |true| of each state, mean over trajectories and times",
    "relative_error_last": "the same at the last time",
    "lifted_error_mean": "the same mean in the 64 coordinates of the published pendulum",
    "lifted_error_last": "the same at the last time",
    "latent_relative_mse": "mean squared error of the predicted latents over their mean square: how far g is from linear",
    "semigroup_max_abs_err": "f_s(f_t(x)) against f_(s+t)(x), test states, float32",
    "semigroup_max_abs_err_float64": "the same weights in float64",
    "backward_max_abs_err": "f_-t(f_t(x)) against x at the middle time, float32",
    "backward_max_abs_err_float64": "the same weights in float64",
    "invertibility_max_abs_err": "g^-1(g(x)) against x, test states, float32",
    "invertibility_max_abs_err_float64": "the same weights in float64",
    "eigenvalues": "of the generator; at z = 0 where it depends on invariants",
    "true_eigenvalues": "of the linear flow that the equations are conjugate to",
    "closed_form_rel_err": "g against the closed form that linearizes the equations, up to one scale for each coordinate and orthant",
    "psnr_db": "predicted frames against true ones",
    "psnr_db_one_turn": "the same within the time of the training films",
    "psnr_db_beyond": "the same after that",
    "psnr_db_still": "the first frame against all later ones: no motion predicted",
    "basin_agreement": "trajectories whose last predicted state lies on the side of the true one",
    "at_rest_share": "last predicted states within 0.1 of one of the two equilibria",
    "at_rest_share_true": "last true states within 0.1 of one of the two equilibria",
    "train_seconds": "all stages, checkpoints included",
}


@torch.no_grad()
def evaluate(model: LinearizerModel, config: EvaluationConfig, splits: Splits, folder: Path) -> Report:
    """Measure prediction by horizon, the laws of the flow and the spectrum; draw trajectories, phase portrait, eigenvalues and error, or a film."""
    from linearizer_dynamics.figures import draw

    folder.mkdir(parents=True, exist_ok=True)
    device = next(model.parameters()).device
    test = {name: tensor.to(device) for name, tensor in stack(splits.test, config.trajectories).items()}
    found = _in_parts(model, test)
    metrics: dict[str, Any] = {"parameters": sum(parameter.numel() for parameter in model.parameters()), "last_time": float(test["times"].max())}
    metrics |= _prediction(found, test)
    metrics |= _linearity(model, test)
    metrics |= _laws(model, test)
    spectrum = eigenvalues(generator_of(model).operator())
    metrics["eigenvalues"] = written(spectrum)
    known = known_spectrum(splits.info.name)
    if known is not None:
        metrics["true_eigenvalues"] = written(known)
    if is_image(splits.info.shape):
        metrics |= _frames(found, test, float(stack(splits.train, 64)["times"].max()))
    if splits.info.name == "slow_manifold":
        metrics |= beside_closed_form(generator_of(model).operator(), encode(model, test["later"]).flatten(0, 1), test["later"].flatten(0, 1))
    metrics |= in_published_coordinates(splits.info.name, found, test["later"])
    if splits.info.name == "double_well":
        metrics |= _basins(found[:, -1], test["later"][:, -1])
    return Report(metrics, draw(folder, found, test, spectrum, known), NOTES)


def relative_errors(found: Tensor, true: Tensor) -> Tensor:
    """``|found - true| / |true|`` of each state, ``(B, T)``, float64."""
    difference, reference = (found - true).double().flatten(2), true.double().flatten(2)
    errors: Tensor = torch.linalg.vector_norm(difference, dim=2) / torch.linalg.vector_norm(reference, dim=2).clamp(min=torch.finfo(torch.float32).eps)
    return errors


def _in_parts(model: LinearizerModel, test: dict[str, Tensor]) -> Tensor:
    """All predictions ``(B, T, *shape)``, a few trajectories at a time: memory does not grow with their number."""
    rows = torch.split(torch.arange(len(test["x"])), _CHUNK)
    return torch.cat([predict(model, test["x"][row], test["times"][row], test["control"][row] if "control" in test else None) for row in rows])


def _prediction(found: Tensor, test: dict[str, Tensor]) -> dict[str, float]:
    true = test["later"]
    squares = (found - true).double().square()
    errors = relative_errors(found, true)
    return {
        "prediction_mse": float(squares.mean()),
        "prediction_mse_30": float(squares[:, :30].mean()),
        "one_step_relative_mse": float(squares[:, 0].mean() / true[:, 0].double().square().mean()),
        "relative_error_mean": float(errors.mean()),
        "relative_error_last": float(errors[:, -1].mean()),
    }


def _linearity(model: LinearizerModel, test: dict[str, Tensor]) -> dict[str, float]:
    start, times, later = (test[name][:100] for name in ("x", "times", "later"))
    control = test["control"][:100] if "control" in test else None
    wanted = encode(model, later).double()
    moved = rollout(generator_of(model), encode(model, start[:, None])[:, 0], times, control).double()
    return {"latent_relative_mse": float((moved - wanted).square().mean() / wanted.square().mean())}


def _laws(model: LinearizerModel, test: dict[str, Tensor]) -> dict[str, float]:
    x, last = test["x"][:100], float(test["times"].max())
    double = copy.deepcopy(model).double()
    result = {}
    for suffix, each, states in (("", model, x), ("_float64", double, x.double())):
        result[f"semigroup_max_abs_err{suffix}"] = _semigroup(each, states, 0.3 * last, 0.5 * last)
        result[f"backward_max_abs_err{suffix}"] = _backward(each, states, 0.5 * last)
        padded = pad(states, each.gx.in_shape)
        result[f"invertibility_max_abs_err{suffix}"] = max_abs_error(each.domain().from_latent(each.domain().to_latent(padded)), padded)
    return result


def _semigroup(model: LinearizerModel, x: Tensor, s: float, t: float) -> float:
    padded = pad(x, model.gx.in_shape)
    return max_abs_error(_flow(model, _flow(model, padded, s), t), _flow(model, padded, s + t))


def _backward(model: LinearizerModel, x: Tensor, t: float) -> float:
    padded = pad(x, model.gx.in_shape)
    return max_abs_error(_flow(model, _flow(model, padded, t), -t), padded)


def _flow(model: LinearizerModel, padded: Tensor, t: float) -> Tensor:
    """f_t of padded states, without inputs."""
    latents = generator_of(model).evolve(model.domain().to_latent(padded), t)
    return model.domain().from_latent(latents.to(padded.dtype))


def _frames(found: Tensor, test: dict[str, Tensor], one_turn: float) -> dict[str, float]:
    true, within = test["later"], test["times"] <= one_turn
    shown = found.clamp(0, 1)
    result = {"psnr_db": psnr(shown, true), "psnr_db_still": psnr(test["x"][:, None].expand_as(true), true)}
    if bool(within.any()) and not bool(within.all()):
        result |= {"psnr_db_one_turn": psnr(shown[within], true[within]), "psnr_db_beyond": psnr(shown[~within], true[~within])}
    return result


def _basins(found: Tensor, true: Tensor) -> dict[str, float]:
    equilibria = true.new_tensor([[-1.0, 0.0], [1.0, 0.0]])
    rest = [float((torch.cdist(states, equilibria).amin(1) < 0.1).double().mean()) for states in (found, true)]
    agreement = float((found[:, 0].sign() == true[:, 0].sign()).double().mean())
    return {"basin_agreement": agreement, "at_rest_share": rest[0], "at_rest_share_true": rest[1]}
