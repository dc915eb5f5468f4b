"""What the report of a style model measures and shows, on held-out crops."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from linearizer_core.condition import Condition
from linearizer_core.data import Batch, Splits, stack
from linearizer_core.errors import SingularOperatorError
from linearizer_core.figures.panels import save_strips
from linearizer_core.metrics import max_abs_error, psnr, ssim
from linearizer_core.model import LinearizerModel
from linearizer_core.task import Report
from linearizer_style.baselines import ColourTransform
from linearizer_style.figures import draw_mixes, draw_strengths
from linearizer_style.mixing import StyleMixer
from linearizer_style.numbered import StyleNumberCore
from linearizer_style.stage import LABEL, one_style_each, spread, style_operator, stylise

_FITTED = 256
_BATCH = 32
_SHOWN = 8

NOTES = {
    "styles.png": "held-out crops: content, teacher, ours",
    "strengths.png": "one picture at rising strength of a style",
    "mixes.png": "one picture in mixes of styles, mixed as matrices",
    "destyle.png": "stylised pictures, and the content that the inverse gives back",
    "parameters": "of the whole model",
    "test_crops": "held-out crops, of each style",
    "psnr_db": "ours against the teacher, held-out crops, mean over styles",
    "ssim": "the same, structural similarity",
    "colour_psnr_db": "the affine map of colours that fits the training crops best, for each style, on the same crops",
    "colour_ssim": "the same, structural similarity",
    "content_psnr_db": "the content as it is against the teacher",
    "content_ssim": "the same, structural similarity",
    "styles_better_than_colour": "styles in which the PSNR of ours is above that of the affine map of colours",
    "round_trip_max_abs_err": "g^-1(g(x)) against x, held-out crops",
    "destyle_max_abs_err": "f^-1(f(x)) against x, held-out crops, worst style, in float64",
    "destyled_file_psnr_db": "f^-1 of f(x) clipped and rounded to 8 bits, as a file holds it, against x, held-out crops, mean over styles",
    "destyled_teacher_psnr_db": "f^-1 of the teacher's picture against the content, mean over styles",
    "halfway_mean_abs_difference": "half-way between the first and the third style, mixed as matrices, against the second style; pixels in [0, 1]",
    "number_halfway_mean_abs_difference": "half-way between the first and the third style, by its number, against the second style",
}
_PER_STYLE = {
    "psnr_db": "ours against the teacher, held-out crops",
    "ssim": "the same, structural similarity",
    "colour_psnr_db": "the affine map of colours against the teacher",
    "condition_number": "of the operator of the style",
}


@torch.no_grad()
def evaluate(model: LinearizerModel, splits: Splits, folder: Path) -> Report:
    """Compare with the teacher, with colours alone and with the content as it is; undo styles; draw mixes, strengths and inverses."""
    folder.mkdir(parents=True, exist_ok=True)
    device, names = next(model.parameters()).device, splits.info.class_names or tuple(map(str, range(splits.info.classes)))
    test = {name: tensor.to(device) for name, tensor in stack(splits.test).items()}
    rows = torch.arange(len(test["x"]), device=device)
    ours = torch.cat([stylise(model, test["x"][part], one_style_each(test[LABEL][part], model)) for part in torch.split(rows, _BATCH)]).clamp(0, 1)
    colours = ColourTransform.fitted(spread(splits.train, _FITTED * len(names)), len(names))(test["x"], test[LABEL])

    metrics: dict[str, Any] = {"parameters": sum(parameter.numel() for parameter in model.parameters()), "test_crops": len(test["x"]) // len(names)}
    metrics |= _agreement(test, ours, colours, names)
    shown = test["x"][:: len(names)][:_BATCH]  # every style follows at the same place
    metrics |= _exactness(model, test, shown, names)
    if len(names) > 2:
        metrics |= _halfway(model, shown, names)

    mixer = StyleMixer(model, names)
    example = _liveliest(shown)
    figures = ["styles.png", "strengths.png"]
    _draw_styles(test, ours, names, folder / "styles.png")
    draw_strengths(mixer, example, folder / "strengths.png")
    if len(names) > 1:
        draw_mixes(mixer, example, folder / "mixes.png")
        figures.append("mixes.png")
    if _draw_inverses(mixer, test, names, folder / "destyle.png"):
        figures.append("destyle.png")
    return Report(metrics, tuple(figures), NOTES | {f"{name}_{style}": note for style in names for name, note in _PER_STYLE.items()})


def _agreement(test: Batch, ours: Tensor, colours: Tensor, names: tuple[str, ...]) -> dict[str, Any]:
    per_style: dict[str, dict[str, float]] = {}
    for number, style in enumerate(names):
        rows = test[LABEL] == number
        found: dict[str, float] = {}
        for prefix, images in (("", ours), ("colour_", colours), ("content_", test["x"])):
            found |= {f"{prefix}psnr_db": psnr(images[rows], test["y"][rows]), f"{prefix}ssim": ssim(images[rows], test["y"][rows])}
        per_style[style] = found
    means = {name: sum(found[name] for found in per_style.values()) / len(names) for name in per_style[names[0]]}
    better = sum(found["psnr_db"] > found["colour_psnr_db"] for found in per_style.values())
    listed = {f"{name}_{style}": found[name] for style, found in per_style.items() for name in ("psnr_db", "ssim", "colour_psnr_db")}
    return {**means, "styles_better_than_colour": better, **listed}


def _exactness(model: LinearizerModel, test: Batch, shown: Tensor, names: tuple[str, ...]) -> dict[str, float]:
    space = model.domain()
    metrics = {"round_trip_max_abs_err": max_abs_error(space.from_latent(space.to_latent(shown)), shown)}
    double = copy.deepcopy(model).double()
    worst, from_file, destyled = 0.0, [], []
    for number, style in enumerate(names):
        metrics[f"condition_number_{style}"] = style_operator(model, number).cond()
        f = double.linearizer(condition=Condition(**{LABEL: torch.tensor([number])}))
        rows = test[LABEL] == number
        try:
            undo = f.inverse()
        except SingularOperatorError:
            continue
        painted = f(shown.double())
        worst = max(worst, max_abs_error(undo(painted), shown))
        from_file.append(psnr(undo(_as_in_a_file(painted)).clamp(0, 1), shown))
        destyled.append(psnr(undo(test["y"][rows].double()).clamp(0, 1), test["x"][rows]))
    if destyled:
        metrics |= {
            "destyle_max_abs_err": worst,
            "destyled_file_psnr_db": sum(from_file) / len(from_file),
            "destyled_teacher_psnr_db": sum(destyled) / len(destyled),
        }
    return {name: value for name, value in metrics.items() if value < float("inf")}


def _as_in_a_file(images: Tensor) -> Tensor:
    """Clipped to [0, 1] and rounded to 8 bits."""
    return (images.clamp(0, 1) * 255).round() / 255


def _halfway(model: LinearizerModel, shown: Tensor, names: tuple[str, ...]) -> dict[str, float]:
    mixer = StyleMixer(model, names)
    second = mixer.mix({names[1]: 1.0})(shown)
    halfway = mixer.mix({names[0]: 0.5, names[2]: 0.5})(shown)
    metrics = {"halfway_mean_abs_difference": float((halfway - second).abs().mean())}
    if isinstance(model.core, StyleNumberCore):
        by_number = model.linearizer(model.core.at(1.0))(shown)  # (0 + 2) / 2
        metrics["number_halfway_mean_abs_difference"] = float((by_number - second).abs().mean())
    return metrics


def _liveliest(images: Tensor) -> Tensor:
    """The image with the most contrast: what styles do shows there."""
    return images[images.flatten(1).std(1).argmax()]


def _draw_styles(test: Batch, ours: Tensor, names: tuple[str, ...], path: Path) -> None:
    places = len(test["x"]) // len(names)
    chosen = torch.linspace(0, places - 1, min(places, _SHOWN)).round().long() * len(names)
    groups: list[list[tuple[str, Tensor]]] = [[("content", test["x"][chosen])]]
    groups += [[(f"{style}, teacher", test["y"][chosen + number]), (f"{style}, ours", ours[chosen + number])] for number, style in enumerate(names)]
    save_strips(path, "Held-out crops", groups)


def _draw_inverses(mixer: StyleMixer, test: Batch, names: tuple[str, ...], path: Path) -> bool:
    places = len(test["x"]) // len(names)
    chosen = torch.linspace(0, places - 1, min(places, _SHOWN)).round().long() * len(names)
    content, groups = test["x"][chosen], []
    for number, style in enumerate(names):
        f = mixer.mix({style: 1.0})
        try:
            undo = f.inverse()
        except SingularOperatorError:
            continue
        teacher = test["y"][chosen + number]
        groups.append([(f"{style}, ours", f(content)), ("undone", undo(f(content))), (f"{style}, teacher", teacher), ("undone", undo(teacher))])
    if groups:
        save_strips(path, "Styles undone by the inverse of the operator", [[("content", content)], *groups])
    return bool(groups)
