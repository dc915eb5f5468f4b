from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from linearizer_core.errors import ConfigError, InputShapeError, LatticeError
from linearizer_lattice.ends import GridEntry, LatticeEntry, LatticeExit, PixelEntry
from linearizer_lattice.lattice import Lattice

from .wild import points, same_bits

LATTICE = Lattice(bits=14)
PIXELS = torch.arange(256, dtype=torch.uint8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("bits", "scale"), [(14, 1.0), (7, 1.0), (8, 0.5), (14, 4.0), (20, 1.0)])
def test_all_pixels_keep_their_bits(dtype: torch.dtype, bits: int, scale: float) -> None:
    entry = PixelEntry((256,), Lattice(bits=bits), scale=scale, off_grid="error")
    x = (PIXELS.to(dtype) / 255)[None]
    y = entry(x)
    assert same_bits(y, scale * (PIXELS.to(dtype)[None] - 128) / 128)
    assert same_bits(entry.inverse(y), x)


def test_pixels_of_sixteen_levels_keep_their_bits_too() -> None:
    x = (torch.arange(17) / 16)[None]
    entry = PixelEntry((17,), LATTICE, off_grid="error")
    assert same_bits(entry.inverse(entry(x)), x)


@settings(deadline=None, max_examples=30)
@given(st.floats(-240.0, 240.0, width=32), st.sampled_from([10, 14]), st.sampled_from([0.5, 1.0, 2.0]))
def test_other_reals_become_the_nearest_point_and_stay_there(value: float, bits: int, scale: float) -> None:
    entry = PixelEntry((1,), Lattice(bits=bits), scale=scale)
    x = torch.tensor([[value]])
    if abs(scale * (255 * value - 128) / 128) > entry.lattice.bound:
        return
    y = entry(x)
    exact = Fraction(scale) * (255 * Fraction(value) - 128) / 128 * 2**bits
    assert abs(Fraction(y.item()) * 2**bits - exact) <= Fraction(1, 2)
    once = entry.inverse(y)
    assert same_bits(entry(once), y)
    assert same_bits(entry.inverse(entry(once)), once)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_near_the_limit_are_found_again(dtype: torch.dtype) -> None:
    lattice = Lattice(bits=14, dtype=dtype)
    entry = PixelEntry((2000,), lattice)
    steps = int(entry.lattice.bound / lattice.step) - torch.arange(1000, dtype=torch.float64)
    y = (torch.cat([steps, -steps]) * lattice.step).to(dtype)[None]
    assert float(y.abs().max()) == lattice.limit - 1.0
    assert same_bits(entry(entry.inverse(y)), y)


def test_grid_data_keep_their_bits() -> None:
    entry = GridEntry((4,), Lattice(bits=10), scale=4.0, off_grid="error")
    x = points(3, 4, bits=12)
    assert same_bits(entry(x), 4 * x)
    assert same_bits(entry.inverse(entry(x)), x)


@pytest.mark.parametrize("entry", [PixelEntry((3,), LATTICE, off_grid="error"), GridEntry((3,), LATTICE, off_grid="error")], ids=["pixels", "grid"])
def test_what_lies_between_points_is_refused_on_request(entry: LatticeEntry) -> None:
    with pytest.raises(LatticeError, match=r"1 of 3 values of the data .*first is 0\.31\d* at \[0, 1\].*step 6\.1.*off_grid"):
        entry(torch.tensor([[0.0, 0.31, 1.0]]))


@pytest.mark.parametrize("kind", [PixelEntry, GridEntry])
def test_ranges_scales_dtypes_and_shapes_are_checked(kind: type[PixelEntry] | type[GridEntry]) -> None:
    entry = kind((2,), LATTICE)
    with pytest.raises(LatticeError, match=r"first is 1000\.0 at \[0, 1\]"):
        entry(torch.tensor([[0.0, 1000.0]]))
    with pytest.raises(LatticeError, match=r"first is nan at \[0, 0\]"):
        entry(torch.tensor([[float("nan"), 0.0]]))
    with pytest.raises(LatticeError, match="bfloat16"):
        entry(torch.zeros(1, 2, dtype=torch.bfloat16))
    with pytest.raises(InputShapeError):
        entry(torch.zeros(1, 3))
    with pytest.raises(InputShapeError):
        entry.inverse(torch.zeros(1, 3))
    with pytest.raises(ConfigError, match=r"scale = 3\.0: expected a power of two .* give 4"):
        kind((2,), LATTICE, scale=3.0)
    with pytest.raises(ConfigError, match=r"scale = 1024\.0"):
        kind((2,), LATTICE, scale=1024.0)


def test_a_step_too_coarse_for_pixels_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"bits = 6, scale = 1: 8-bit pixels need a step of at most scale / 128.*raise bits"):
        PixelEntry((1,), Lattice(bits=6))


@pytest.mark.parametrize("entry", [PixelEntry((4,), LATTICE, scale=2.0), GridEntry((4,), LATTICE, scale=2.0)], ids=["pixels", "grid"])
def test_gradients_and_volume_are_those_of_the_affine_map(entry: LatticeEntry) -> None:
    x = torch.rand(1, 4, dtype=torch.float64, requires_grad=True)
    z, logdet = entry.forward_and_logdet(x)
    forward = torch.autograd.functional.jacobian(entry, x).reshape(4, 4)
    backward = torch.autograd.functional.jacobian(entry.inverse, z.detach()).reshape(4, 4)
    assert torch.allclose(forward, entry.slope * torch.eye(4, dtype=torch.float64), rtol=1e-14)
    assert torch.allclose(forward @ backward, torch.eye(4, dtype=torch.float64), rtol=1e-14)
    # The affine map itself, by two points that are far apart.
    far = torch.autograd.functional.jacobian(lambda v: entry.inverse(v), 64 * torch.ones(1, 4, dtype=torch.float64)).reshape(4, 4)
    assert torch.allclose((entry.inverse(z + 64) - entry.inverse(z)).diagonal() / 64, far.diagonal()[:1], rtol=1e-12)
    assert logdet.item() == pytest.approx(float(torch.linalg.slogdet(forward).logabsdet))
    assert entry.inverse_and_logdet(z)[1].item() == -logdet.item()


@pytest.mark.parametrize("strange", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_does_not_leave(strange: float) -> None:
    values = torch.tensor([[0.0, strange, 1.0]])
    with pytest.raises(LatticeError, match="1 of 3 values of the latent that the network gives are not finite"):
        LatticeExit((3,), LATTICE)(values)
    for entry in (PixelEntry((3,), LATTICE), GridEntry((3,), LATTICE)):
        with pytest.raises(LatticeError, match="1 of 3 values of the data that the inverse gives are not finite"):
            entry.inverse(values)


def test_an_exit_rounds_and_checks_the_range_of_latents_alone() -> None:
    exit_ = LatticeExit((2,), LATTICE.within(2.0))
    off = torch.tensor([[0.3, 100.0]])
    assert same_bits(exit_(off), off)
    z = torch.tensor([[0.3, -1e-9]], requires_grad=True)
    x, logdet = exit_.inverse_and_logdet(z)
    assert same_bits(x, torch.tensor([[round(0.3 * 2**14) / 2**14, 0.0]]))
    assert torch.equal(torch.autograd.grad(x.sum(), z)[0], torch.ones(1, 2))
    assert logdet.tolist() == [0.0]
    with pytest.raises(LatticeError, match=r"values of the latent .*first is 100\.0 at \[0, 1\]"):
        exit_.inverse(off)
    with pytest.raises(LatticeError, match=r"the latent is torch\.float16"):
        exit_.inverse(z.half())
    strict = LatticeExit((2,), LATTICE, off_grid="error")
    assert same_bits(strict.inverse(x.detach()), x.detach())
    with pytest.raises(LatticeError, match=r"first is 0\.3\d* at \[0, 0\], between points"):
        strict.inverse(z.detach())
