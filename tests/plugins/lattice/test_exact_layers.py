from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from linearizer_core.errors import ConfigError
from linearizer_lattice.exact_layers import ExactArithmetic, ExactConv, ExactLayer, ExactLinear, quantize

from .wild import same_bits, wild

DOUBLE = ExactArithmetic(weight_bits=12, activation_bits=12, activation_bound=4.0, dtype=torch.float64)
SINGLE = ExactArithmetic(weight_bits=7, activation_bits=8, activation_bound=2.0, dtype=torch.float32)
BOTH = pytest.mark.parametrize("arithmetic", [DOUBLE, SINGLE], ids=["float64", "float32"])


def units(layer: ExactLayer) -> tuple[float, float]:
    """The steps of weights and activations, found from their grids."""
    arithmetic = layer.arithmetic
    fine = torch.linspace(-1, 1, 100_001, dtype=arithmetic.dtype)
    return tuple(float(values[values > 0].min()) for values in (arithmetic.weight(fine, layer.fan_in), arithmetic.activation(fine)))  # type: ignore[return-value]


def integers(values: Tensor, step: float) -> Tensor:
    found = values.detach().double() / step
    assert torch.equal(found, found.round())
    return found.long()


def wild_layer(layer: ExactLayer) -> ExactLayer:
    torch.manual_seed(0)
    wild(layer, gain=3.0)
    return layer


def activations(arithmetic: ExactArithmetic, *shape: int, seed: int = 0) -> Tensor:
    return arithmetic.activation(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(arithmetic.dtype), low=-arithmetic.activation_bound)


@BOTH
def test_a_linear_layer_is_integer_arithmetic(arithmetic: ExactArithmetic) -> None:
    layer = wild_layer(ExactLinear(100, 20, arithmetic))
    weight_step, step = units(layer)
    a = activations(arithmetic, 16, 100)
    weight, bias = (each.detach() for each in layer.terms())
    expected = integers(a, step) @ integers(weight, weight_step).T + integers(bias, weight_step * step)
    assert torch.equal(integers(layer(a), weight_step * step), expected)
    assert int(integers(weight, weight_step).abs().max()) == 2**arithmetic.weight_bits - 1
    assert int(integers(a, step).abs().max()) <= 2**arithmetic.activation_bits - 1


@BOTH
def test_further_biases_lie_on_the_grid_of_the_products(arithmetic: ExactArithmetic) -> None:
    layer = ExactLinear(100, 20, arithmetic, extra=1)
    weight_step, step = units(layer)
    rows = integers(layer.on_grid(100 * torch.randn(50, 20)), weight_step * step)
    assert int(rows.abs().max()) == (2**arithmetic.weight_bits - 1) * (2**arithmetic.activation_bits - 1)


@BOTH
def test_a_convolution_is_integer_arithmetic(arithmetic: ExactArithmetic) -> None:
    layer = wild_layer(ExactConv(3, 4, arithmetic))
    weight_step, step = units(layer)
    a = activations(arithmetic, 2, 3, 4, 6)
    weight, bias = (each.detach() for each in layer.terms())
    patches = torch.zeros(2, 3, 6, 8, dtype=torch.int64)
    patches[:, :, 1:-1, 1:-1] = integers(a, step)
    kernels = integers(weight, weight_step).reshape(4, 3, 3, 3)
    expected = sum(
        torch.einsum("bchw,oc->bohw", patches[:, :, row : row + 4, column : column + 6], kernels[:, :, row, column]) for row in range(3) for column in range(3)
    )
    found = integers(layer(a), weight_step * step)
    assert torch.equal(found, expected + integers(bias, weight_step * step)[:, None, None])


@BOTH
def test_the_order_of_summation_does_not_matter(arithmetic: ExactArithmetic) -> None:
    layer = wild_layer(ExactLinear(400, 30, arithmetic))
    a, order = activations(arithmetic, 50, 400), torch.randperm(400, generator=torch.Generator().manual_seed(1))
    weight, bias = (each.detach() for each in layer.terms())
    assert same_bits(layer(a), functional.linear(a[:, order], weight[:, order], bias))
    single = a.float()[:, order] @ layer.weight.detach().float().T[order]
    assert not torch.equal(single, a.float() @ layer.weight.detach().float().T)  # ordinary weights do care


def test_the_largest_sums_are_exact() -> None:
    size = SINGLE.largest_fan_in - 1
    layer = ExactLinear(size, 1, SINGLE)
    with torch.no_grad():
        layer.weight.fill_(9.0)
        layer.bias.fill_(1e9)
    a = SINGLE.activation(torch.full((1, size), 9.0))
    weight_step, step = units(layer)
    largest = (size + 1) * (2**7 - 1) * (2**8 - 1)
    assert 2**24 - 2**16 < largest <= 2**24
    assert int(integers(layer(a), weight_step * step)) == largest


def test_sums_that_do_not_fit_are_refused() -> None:
    ExactLinear(SINGLE.largest_fan_in - 2, 1, SINGLE, extra=1)
    with pytest.raises(ConfigError, match=r"weight_bits 7 \+ activation_bits 8 \+ log2 of 517 inputs and 2 biases = 24\.02, .*lower .*exact\.accumulation"):
        ExactLinear(SINGLE.largest_fan_in - 1, 1, SINGLE, extra=1)
    with pytest.raises(ConfigError, match="exact 3x3 convolution of 58 channels"):
        ExactConv(58, 1, SINGLE)
    wide = ExactArithmetic(weight_bits=20, activation_bits=20, activation_bound=4.0, dtype=torch.float64)
    with pytest.raises(ConfigError, match=r"log2 of 8192 inputs .* = 53\.00, expected at most about 53 .*lower exact\.weight_bits[^;]*$"):
        ExactLinear(8192, 1, wide)


@pytest.mark.parametrize("name", ["weight_bits", "activation_bits"])
def test_float32_takes_no_more_bits_than_bfloat16_holds(name: str) -> None:
    given = {"weight_bits": 6, "activation_bits": 6, name: 9}
    with pytest.raises(ConfigError, match=rf"exact\.{name} = 9 .*at most 8"):
        ExactArithmetic(**given, activation_bound=4.0, dtype=torch.float32)
    full = ExactArithmetic(weight_bits=8, activation_bits=8, activation_bound=4.0, dtype=torch.float32)
    for values in (full.weight(torch.randn(1000), 16), activations(full, 1000)):
        assert torch.equal(values.bfloat16().float(), values)


def test_bounds_are_powers_of_two() -> None:
    with pytest.raises(ConfigError, match=r"activation_bound = 3\.0: expected a power of two; give 4"):
        ExactArithmetic(weight_bits=8, activation_bits=8, activation_bound=3.0, dtype=torch.float64)


@settings(deadline=None, max_examples=20)
@given(st.floats(-6, 6, width=32), st.integers(2, 10))
def test_quantities_are_clamped_and_rounded_to_the_nearest(value: float, bits: int) -> None:
    step, high = 2.0**-bits, 4 - 2.0**-bits
    found = quantize(torch.tensor([value]), step, -high, high).item()
    assert found / step == round(found / step)
    assert abs(found - min(max(value, -high), high)) <= step / 2


def test_gradients_pass_the_rounding_and_stop_at_the_clamp() -> None:
    x = torch.tensor([-5.0, -1.3, 0.2, 5.0], requires_grad=True)
    assert torch.autograd.grad(quantize(x, 0.25, -2.0, 2.0).sum(), x)[0].tolist() == [0.0, 1.0, 1.0, 0.0]
    assert torch.autograd.grad(DOUBLE.activation(x).sum(), x)[0].tolist() == [0.0, 0.0, 1.0, 0.0]


def test_fine_grids_give_the_ordinary_layers() -> None:
    fine = ExactArithmetic(weight_bits=20, activation_bits=20, activation_bound=8.0, dtype=torch.float64)
    a = activations(fine, 2, 3, 4, 5)
    torch.manual_seed(0)
    conv = ExactConv(3, 4, fine)
    expected = functional.conv2d(a, conv.weight.double().reshape(4, 3, 3, 3), conv.bias.double(), padding=1)
    assert torch.allclose(conv(a), expected, atol=1e-4)
    linear = ExactLinear(5, 6, fine)
    assert torch.allclose(linear(a), functional.linear(a, linear.weight.double(), linear.bias.double()), atol=1e-4)
