from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from linearizer_core.bijections import ConvConditioner, MLPConditioner, SplineCoupling
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError


class Given(nn.Module):
    """A conditioner that gives what it was made with."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        return self.output


def coupling_with(output: Tensor, *, bins: int = 4, interval: float = 3.0, slope_bound: float = 4.0) -> SplineCoupling:
    return SplineCoupling((2,), Given(output), bins=bins, interval=interval, slope_bound=slope_bound)


def test_zeros_make_the_identity() -> None:
    coupling = coupling_with(torch.zeros(1000, 11))
    x = torch.stack([torch.zeros(1000), torch.linspace(-4, 4, 1000)], 1)
    z, logdet = coupling.forward_and_logdet(x)
    assert (z - x).abs().max() < 1e-6
    assert logdet.abs().max() < 1e-6
    assert (coupling.inverse(x) - x).abs().max() < 1e-6


@settings(deadline=None, max_examples=20)
@given(st.floats(1.1, 100), st.floats(0.1, 1e4), st.integers(2, 10), st.integers(0, 10**6))
def test_no_conditioner_can_break_the_slope_bound(slope_bound: float, size: float, bins: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    output = size * torch.randn(500, 3 * bins - 1, dtype=torch.float64, generator=generator)
    x = 8 * torch.rand(500, 2, dtype=torch.float64, generator=generator) - 4
    coupling = coupling_with(output, bins=bins, slope_bound=slope_bound)
    z, logdet = coupling.forward_and_logdet(x)
    assert float(logdet.abs().max()) <= math.log(slope_bound) + 1e-9
    assert (coupling.inverse(z) - x).abs().max() < 1e-10
    outside = x[:, 1].abs() > 3
    assert torch.equal(z[outside], x[outside])
    assert torch.equal(z[:, 0], x[:, 0])


@pytest.mark.parametrize("slope_bound", [1.5, 4.0, 100.0])
@pytest.mark.parametrize("odd_one", [0, 3])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_worst_conditioners_cannot_break_it_either(slope_bound: float, odd_one: int, sign: float) -> None:
    # One bin against all others, and as wide or as narrow as can be: the slopes are scaled as far as they can be.
    output = torch.full((2000, 3, 4), 1e6, dtype=torch.float64)
    output[1::2, 0, odd_one] *= -1
    output[:, 1, odd_one] *= -1
    output[::2, 0] *= -1
    output[:, 1:] *= sign
    steep = torch.cat([output.flatten(1)[:, :8], output[:, 2, :3]], 1)
    flat = torch.cat([output.flatten(1)[:, :8], -output[:, 2, :3]], 1)
    x = torch.linspace(-3, 3, 2000, dtype=torch.float64)[:, None].expand(-1, 2)
    largest = max(float(coupling_with(raw, slope_bound=slope_bound).forward_and_logdet(x)[1].abs().max()) for raw in (steep, flat))
    assert 0.4 * math.log(slope_bound) < largest < math.log(slope_bound)


def test_every_output_of_the_conditioner_matters() -> None:
    output = torch.zeros(1, 11, dtype=torch.float64).requires_grad_()
    jacobian = torch.autograd.functional.jacobian(
        lambda raw: coupling_with(raw.expand(40, -1)).forward_and_logdet(torch.linspace(-3, 3, 80, dtype=torch.float64).reshape(40, 2))[1], output + 0.3
    )
    assert (jacobian.abs().amax((0, 1)) > 1e-3).all()


def test_each_channel_has_its_own_spline_at_each_position() -> None:
    torch.manual_seed(0)
    coupling = SplineCoupling((4, 3, 2), ConvConditioner(2, 2 * 11, width=6), bins=4).double()
    nn.init.normal_(coupling.conditioner.last.weight)
    x = torch.randn(2, 4, 3, 2, dtype=torch.float64)
    z = coupling(x)
    output = coupling.conditioner(x[:, :2])
    one = coupling_with(output[1, [1 + 2 * number for number in range(11)], 2, 0][None])
    assert torch.allclose(one(torch.stack([x[1, :1, 0, 0], x[1, 3:, 2, 0]], 1))[0, 1], z[1, 3, 2, 0], rtol=1e-13)


def test_the_inverse_is_accurate_in_float32_for_wild_outputs() -> None:
    generator = torch.Generator().manual_seed(0)
    output = 10 * torch.randn(20000, 23, generator=generator)
    x = 7 * torch.rand(20000, 2, generator=generator) - 3.5
    coupling = coupling_with(output, bins=8)
    exact = coupling_with(output.double(), bins=8)
    (z, logdet), (exact_z, exact_logdet) = coupling.forward_and_logdet(x), exact.forward_and_logdet(x.double())
    assert (z - exact_z).abs().max() < 5e-6
    assert (logdet - exact_logdet).abs().max() < 2e-4
    assert (coupling.inverse(coupling(x)) - x).abs().max() < 5e-6
    assert (coupling(coupling.inverse(x)) - x).abs().max() < 5e-6


@pytest.mark.parametrize("options", [{"bins": 1}, {"interval": 0.0}, {"slope_bound": 1.0}, {"slope_bound": math.nan}])
def test_impossible_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(BijectionError, match="expected at least 2 bins, interval > 0, slope_bound > 1"):
        SplineCoupling((2,), MLPConditioner(1, 23, width=4), **options)  # type: ignore[arg-type]


def test_a_conditioner_of_the_wrong_size_is_named() -> None:
    with pytest.raises(BijectionError, match="gave 6 output channels, expected 69"):
        SplineCoupling((5,), MLPConditioner(2, 6, width=4))(torch.zeros(1, 5))


def test_a_float32_stream_is_rounded_once() -> None:
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(500, 11, generator=generator)
    x = 6 * torch.rand(500, 2, generator=generator) - 3
    image, exact = (coupling_with(output.to(x.dtype))(x) for x in (x, x.double()))
    assert image.dtype == torch.float32
    assert torch.equal(image, exact.float())
    assert torch.equal(coupling_with(output).inverse(image), coupling_with(output.double()).inverse(image.double()).float())
