"""Every built-in component passes the kit, under small options and under those that change the laws."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from linearizer_core import plugins
from linearizer_core.config import Component
from linearizer_core.operators import (
    Convolution,
    DecayRotation,
    Dense,
    Diagonal,
    IdentityPlusLowRank,
    LinearOperator,
    LowRank,
    Mask,
    Product,
    RotatedDiagonal,
    ScaledIdentity,
    SharedSubspace,
    Sum,
)
from linearizer_core.operators.kinds import KINDS
from linearizer_core.testing import (
    BackboneSubject,
    Check,
    CoreSubject,
    DatasetSubject,
    OperatorSubject,
    Subject,
    TaskSubject,
    parametrize_with_checks,
    run_checks,
)
from linearizer_datasets.config import PrepareConfig
from linearizer_datasets.prepare import prepare
from linearizer_style.teachers.fast_network import FastStyleNetwork


def built_in(kind: plugins.ComponentKind) -> list[str]:
    return [name for name in plugins.specs(kind) if plugins.provider(kind, name).distribution == plugins.HOST]


# --- backbones -----------------------------------------------------------------------------------------

SMALL: dict[str, dict[str, Any]] = {
    "coupling": {"dense": {"couplings": 2, "width": 16}},
    "glow": {"steps": 2, "width": 8},
    "iresnet": {"blocks": 1, "width": 8},
    "irevnet": {"blocks": 2, "width": 8},
    "lattice": {"dense": {"couplings": 2, "width": 16}},
    "transformer": {"couplings": 2, "width": 8, "heads": 2},
}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("coupling", {"coupling": "additive", "norm": "actnorm"}),
    ("coupling", {"coupling": "spline", "mixing": "cayley"}),
    ("glow", {"mixing": "plu", "split": False}),
    ("glow", {"coupling": "additive", "squeeze": "haar", "lipschitz": 0.9}),
    ("iresnet", {"activation": "elu", "gain_budget": 4.0}),
    ("irevnet", {"padding": 1}),
    ("lattice", {"arithmetic": "exact"}),
    ("lattice", {"arithmetic": "bfloat16"}),
    ("transformer", {"coupling": "additive", "norm": "actnorm", "mixing": "permutation"}),
]
LEVELS: dict[str, dict[str, Any]] = {
    "resnet-checkerboard": {"squeeze": "none", "mask": "checkerboard", "conditioner": "resnet"},
    "unet-alternating": {"mask": "alternating", "conditioner": "unet"},
    "convnext-halves": {"conditioner": "timm", "timm": {"block": "convnext"}},
}
VARIED = [
    *(
        BackboneSubject(
            "coupling",
            title=f"coupling-{title}",
            options={"levels": [{"couplings": 2, "width": 8, **level}], "dense": {"couplings": 1, "width": 8, "mask": "alternating"}},
            shapes=[(2, 4, 4)],
        )
        for title, level in LEVELS.items()
    ),
    *(
        BackboneSubject(name, title=f"{name}-{'-'.join(map(str, options.values()))}", options=SMALL[name] | options, shapes=[(4,), (2, 4, 4)])
        for name, options in VARIANTS
    ),
]


@parametrize_with_checks([*(BackboneSubject(name, options=SMALL.get(name, {})) for name in built_in("backbone")), *VARIED])
def test_backbones(subject: Subject, check: Check) -> None:
    check(subject)


# --- cores, operators, tasks -----------------------------------------------------------------------------


def fitted(core: Any) -> None:
    core.fit(torch.randn(100, 40, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.5, 2, 40))


CORES = [
    *(CoreSubject(name) for name in built_in("operator")),
    CoreSubject("gaussian", title="gaussian-principal", options={"basis": "principal", "rank": 3}, shapes=[(40, 40)], prepare=fitted),
    CoreSubject("projector", title="projector-fixed", options={"rank": 2}),
    CoreSubject("projector", title="projector-top-k", options={"form": "top_k", "rank": 2}),
    CoreSubject("projector", title="projector-rotated", options={"form": "rotated", "rank": 2, "reflections": 3}),
    CoreSubject("projector", title="projector-oblique", options={"form": "oblique", "rank": 2}),
    CoreSubject("generator", title="generator-invariants", options={"spectrum": "conservative", "frequency_network": 8}, shapes=[(6, 6)]),
    *(
        CoreSubject("generator", title=f"generator-{structure}-{spectrum}", options={"structure": structure, "spectrum": spectrum}, shapes=[(6, 6)])
        for structure, spectrum in (
            ("decay_rotation", "stable"),
            ("diagonal", "free"),
            ("low_rank", "stable"),
            ("low_rank", "free"),
            ("dense", "stable"),
            ("dense", "free"),
        )
    ),
]


@parametrize_with_checks(CORES)
def test_cores(subject: Subject, check: Check) -> None:
    check(subject)


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


OPERATORS: dict[str, LinearOperator] = {
    "convolution": Convolution(normal(1, 2, 2, 3, 3), (3, 4)),
    "decay_rotation": DecayRotation(normal(2), normal(3)[:2], normal(1)),
    "dense": Dense(normal(4, 6)),
    "diagonal": Diagonal(normal(5)),
    "identity_plus_low_rank": IdentityPlusLowRank(0.7, normal(6, 2), normal(2, 6).T),
    "low_rank": LowRank(normal(4, 2), normal(6, 2)),
    "mask": Mask(torch.tensor([True, False, True]), dtype=torch.float64),
    "product": Product(Dense(normal(4, 5)), Diagonal(normal(5))),
    "rotated_diagonal": RotatedDiagonal(normal(2, 5), normal(5)),
    "scaled_identity": ScaledIdentity(-1.5, 4, dtype=torch.float64),
    "shared_subspace": SharedSubspace(0.3, normal(6, 2), normal(2, 2), normal(2, 6).T),
    "sum": Sum(Dense(normal(4, 5)), LowRank(normal(4, 1), normal(5, 1))),
}


@parametrize_with_checks([OperatorSubject(operator, title=kind) for kind, operator in OPERATORS.items()])
def test_operators(subject: Subject, check: Check) -> None:
    check(subject)


def test_every_kind_of_operator_is_tried() -> None:
    assert {kind: type(operator) for kind, operator in OPERATORS.items()} == KINDS


FLOWS: dict[str, dict[str, Any]] = {
    "flow": {"evaluation": {"samples": 100}},
    "flow-published": {"recipe": "published", "evaluation": {"samples": 100}},
    "flow-clusters": {"latent_prior": {"condition": "cluster", "clusters": 3}, "evaluation": {"samples": 100}},
}


@parametrize_with_checks([TaskSubject("flow", title=title, options=options) for title, options in FLOWS.items()])
@pytest.mark.filterwarnings("default")
def test_flow(subject: Subject, check: Check) -> None:
    check(subject)


@parametrize_with_checks([TaskSubject("dynamics", options={"padding": 1})])
def test_dynamics(subject: Subject, check: Check) -> None:
    check(subject)


def test_every_task_is_tried() -> None:
    assert set(built_in("task")) <= {"dynamics", "flow", "ign", "style"}  # style in a file of its own in tests/plugins


# --- datasets --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real digits in the layout of each dataset that reads files."""
    root = tmp_path_factory.mktemp("data")
    digits = load_digits()
    images, labels = (digits.images * 15).astype(np.uint8), digits.target.astype(np.uint8)
    for name in ("mnist", "npz", "image_folder", "style_pairs", "style_teacher"):
        (root / name).mkdir()
    for split, rows in (("train", slice(0, 80)), ("t10k", slice(80, 120))):
        for what, array in (("images-idx3", images[rows]), ("labels-idx1", labels[rows])):
            header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
            (root / "mnist" / f"{split}-{what}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))
        np.savez(root / "npz" / f"{'test' if split == 't10k' else split}.npz", images=images[rows], labels=labels[rows])
    strip = np.concatenate(list(images[:12].repeat(2, axis=1)), axis=1)  # 12 digits in a row, 16 x 96 pixels
    for name, picture in (("style_pairs/row.png", strip), ("style_pairs/row-negative.png", 255 - strip), ("style_teacher/row.png", strip)):
        Image.fromarray(picture).save(root / name)
    torch.manual_seed(0)
    save_file(FastStyleNetwork().state_dict(), root / "network.safetensors")
    for number in range(30):
        folder = root / "image_folder" / str(labels[number])
        folder.mkdir(exist_ok=True)
        Image.fromarray(images[number]).save(folder / f"{number}.png")
    prepare(root / "image_folder", root / "prepared", PrepareConfig(size=8, channels=1))
    return root


FEW = {"train": 20, "validation": 5, "test": 5, "steps": 4}
OPTIONS: dict[str, dict[str, Any]] = {
    "digits": {},
    "mnist": {"validation": 20},
    "npz": {},
    "image_folder": {"size": 8, "channels": 1},
    "prepared": {"label": "folder"},
    "moving_digit": {"size": 8, "train": 20, "test": 5, "frames": 3, "test_frames": 3},
    "koopmanae_pendulum": {"window": 50, "horizon": 20},
    **dict.fromkeys(("slow_manifold", "pendulum", "fluid_on_attractor", "fluid_off_attractor", "double_well"), FEW),
}
CROPS = {"crop": 8, "crops": 10}


@pytest.mark.parametrize("name", built_in("dataset"))
def test_datasets(name: str, files: Path) -> None:
    of_style = {"style_pairs": CROPS, "style_teacher": CROPS | {"networks": {"random": files / "network.safetensors"}}}
    options = (OPTIONS | of_style)[name] | ({"root": files / name} if (files / name).exists() else {})
    assert [(result.check, result.message) for result in run_checks(DatasetSubject(name, options=options)) if result.is_bad] == []


IDEMPOTENT: dict[str, dict[str, Any]] = {
    "ign": {"generation": {"components": 4}, "evaluation": {"samples": 100, "inputs": 10}},
    "ign-clusters": {"generation": {"components": 4, "condition": "cluster", "clusters": 3}, "evaluation": {"samples": 100, "inputs": 10}},
}


@parametrize_with_checks([TaskSubject("ign", title=title, options=options, core=Component(name="projector", rank=4)) for title, options in IDEMPOTENT.items()])
@pytest.mark.filterwarnings("default")
def test_ign(subject: Subject, check: Check) -> None:
    check(subject)
