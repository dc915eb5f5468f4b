"""The two guarantees: the same batch on the same machine with any conditioner; any batch, thread count and device in exact arithmetic."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from linearizer_core.bijections import Chain
from linearizer_core.condition import Condition
from linearizer_core.factory import create_core
from linearizer_core.model import LinearizerModel

from .wild import backbone, images, labels, points, same_bits

SHAPES = [(10,), (1, 8, 8), (3, 4, 8), (5, 2, 2)]
DEEP: dict[str, Any] = {"levels": ({"couplings": 16, "width": 8},), "dense": {"couplings": 16, "width": 24}}
DEEP_VECTORS: dict[str, Any] = {"dense": {"couplings": 32, "width": 24}}
ARITHMETIC = ["float", "bfloat16", "exact"]


def deep(shape: tuple[int, ...], **options: Any) -> Chain:
    return backbone(shape, **{**(DEEP if len(shape) == 3 else DEEP_VECTORS), **options})


def data(batch: int, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    return images(batch, *shape, dtype=dtype) if len(shape) == 3 else points(batch, *shape, dtype=dtype)


# --- the same batch, the same machine ---------------------------------------------------------------


@pytest.mark.parametrize("arithmetic", ARITHMETIC)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_depth_32_keeps_every_bit(arithmetic: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    g = deep(shape, arithmetic=arithmetic, conditions={"label": 3}).to(dtype)
    for batch in (1, 7):
        x, condition = data(batch, shape, dtype), labels(batch)
        z = g(x, condition)
        assert float((z - x.flatten(1)).abs().max()) > 0.5
        assert same_bits(g.inverse(z, condition), x)
        latents = points(batch, g.dim, dtype=dtype)
        assert same_bits(g(g.inverse(latents, condition), condition), latents)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_depth_32_under_autocast(shape: tuple[int, ...]) -> None:
    g, x = deep(shape), data(7, shape)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = g(x)
        assert same_bits(g.inverse(z), x)
    assert not torch.equal(z, g(x))


@pytest.mark.parametrize("arithmetic", ARITHMETIC)
def test_modes_and_layouts_do_not_change_a_bit(arithmetic: str) -> None:
    g, x = deep((3, 8, 4), arithmetic=arithmetic), data(7, (3, 8, 4))
    with torch.no_grad():
        z = g(x)
    g.requires_grad_(True)
    assert same_bits(g(x.clone().requires_grad_()), z)
    assert same_bits(g.inverse(z.clone().requires_grad_()), x)
    with torch.inference_mode():
        assert same_bits(g.eval().inverse(z), x)
    for strange in (x.contiguous(memory_format=torch.channels_last), torch.zeros(7, 3, 8, 8)[..., ::2].copy_(x), x.flip(0).flip(0)):
        assert same_bits(g(strange), z)
    assert same_bits(g.inverse(z.T.contiguous().T), x)


@pytest.mark.parametrize("arithmetic", ARITHMETIC)
@pytest.mark.parametrize("shape", [(10,), (1, 8, 8)], ids=str)
def test_a_mask_makes_f_idempotent_bit_for_bit(arithmetic: str, shape: tuple[int, ...]) -> None:
    g = deep(shape, arithmetic=arithmetic)
    model = LinearizerModel(g, create_core("projector", (g.dim, g.dim), rank=g.dim // 3))
    f = model.linearizer()
    uniform, gaussian = torch.rand(7, *shape), 0.13 + 0.5 * torch.randn(7, *shape)
    for x in (data(7, shape), uniform, gaussian, 20 * gaussian):
        once = f(x)
        assert not torch.equal(once, x)
        assert same_bits(f(once), once)
        assert float(once.abs().max()) <= float(x.abs().max()) + 2 * 64 * 2


# --- any batch, thread count and device ----------------------------------------------------------------


EXACT: list[dict[str, Any]] = [
    {"arithmetic": "exact"},
    {"arithmetic": "exact", "exact": {"weight_bits": 7, "activation_bits": 7, "accumulation": "float32"}},
]
EXACTLY = pytest.mark.parametrize("exact", EXACT, ids=["float64 sums", "float32 sums"])


SHALLOWER: dict[str, Any] = {"levels": ({"couplings": 4, "width": 24},), "dense": {"couplings": 4, "width": 64}}


@EXACTLY
@pytest.mark.parametrize("shape", SHAPES[:3], ids=str)
def test_a_batch_may_be_split(exact: dict[str, Any], shape: tuple[int, ...]) -> None:
    g = backbone(shape, **exact, **({"dense": {"couplings": 8, "width": 64}} if len(shape) == 1 else SHALLOWER), conditions={"label": 3})
    x, condition = data(64, shape), labels(64)
    z = g(x, condition)
    for size in (1, 8, 27):
        chunks = torch.arange(64).split(size)
        assert same_bits(torch.cat([g(x[rows], condition.rows(rows)) for rows in chunks]), z)
        assert same_bits(torch.cat([g.inverse(z[rows], condition.rows(rows)) for rows in chunks]), x)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    assert same_bits(g(x[order], condition.rows(order)), z[order])


@EXACTLY
def test_the_dtype_of_the_stream_does_not_matter(exact: dict[str, Any]) -> None:
    g, x = deep((3, 4, 8), **exact), data(7, (3, 4, 8))
    z = g(x)
    assert same_bits(g.double()(data(7, (3, 4, 8), torch.float64)), z.double())


def test_the_precision_of_sums_does_not_matter() -> None:
    single, double = (
        deep((3, 4, 8), arithmetic="exact", exact={"weight_bits": 7, "activation_bits": 7, "accumulation": each}) for each in ("float32", "float64")
    )
    x = data(7, (3, 4, 8))
    assert same_bits(single(x), double(x))


@EXACTLY
def test_autocast_and_reduced_precision_products_do_not_matter(exact: dict[str, Any]) -> None:
    g, x = deep((10,), **exact), data(64, (10,))
    z = g(x)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert same_bits(g(x), z)
    finally:
        torch.set_float32_matmul_precision(before)


_DIGESTS = """
import hashlib, sys, torch
sys.path.insert(0, sys.argv[1])
from lattice.wild import backbone, images
for exact in ({}, {"weight_bits": 7, "activation_bits": 7, "accumulation": "float32"}):
    g = backbone((1, 16, 16), arithmetic="exact", exact=exact, levels=({"couplings": 2, "width": 16},), dense={"couplings": 2, "width": 128})
    for threads, size in ((1, 64), (2, 64), (2, 16)):
        torch.set_num_threads(threads)
        assert torch.get_num_threads() == threads
        z = torch.cat([g(x) for x in images(64, 1, 16, 16).split(size)])
        print(hashlib.sha256(z.numpy().tobytes() + g.inverse(z).numpy().tobytes()).hexdigest())
"""


def test_the_number_of_threads_does_not_matter() -> None:
    folder = str(Path(__file__).parents[1])
    # Threads that wait without spinning: this may run on a busy machine.
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    output = subprocess.run([sys.executable, "-c", _DIGESTS, folder], check=True, capture_output=True, text=True, env=environment).stdout.split()
    assert len(output) == 6
    assert len(set(output[:3])) == len(set(output[3:])) == 1
    assert output[0] != output[3]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("shape", SHAPES[:3], ids=str)
@pytest.mark.parametrize("options", [{"arithmetic": each} for each in ARITHMETIC] + EXACT[1:], ids=[*ARITHMETIC, "exact, float32 sums"])
def test_on_a_gpu(options: dict[str, Any], shape: tuple[int, ...]) -> None:
    g, x, condition = deep(shape, **options, conditions={"label": 3}), data(64, shape), labels(64)
    z = g(x, condition)
    g, on_gpu, there = g.cuda(), x.cuda(), condition.to("cuda")
    try:
        for precision in ("highest", "high"):  # the second one allows TensorFloat32
            torch.set_float32_matmul_precision(precision)
            found = g(on_gpu, there)
            assert same_bits(g.inverse(found, there).cpu(), x)
            if options["arithmetic"] == "exact":
                assert same_bits(found.cpu(), z)
                rows = torch.arange(64, device="cuda").split(8)
                assert same_bits(torch.cat([g(on_gpu[each], there.rows(each)) for each in rows]).cpu(), z)
    finally:
        torch.set_float32_matmul_precision("highest")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert same_bits(g.inverse(g(on_gpu, there), there).cpu(), x)


def test_labels_may_be_broadcast() -> None:
    g, x = deep((10,), arithmetic="exact", conditions={"label": 3}), data(7, (10,))
    one = Condition(label=torch.tensor([2]))
    assert same_bits(g(x, one), g(x, Condition(label=torch.full((7,), 2))))
