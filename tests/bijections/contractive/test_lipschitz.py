from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from linearizer_core.bijections import LipschitzConv2d, LipschitzLinear, OperatorNorm
from linearizer_core.errors import BijectionError, InputShapeError
from linearizer_core.training import WeightAverage

Layer = LipschitzLinear | LipschitzConv2d


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense(seed: int = 0, *, size: int = 24, bound: float = 0.5) -> LipschitzLinear:
    layer = LipschitzLinear(size, size, lipschitz=bound).double()
    with torch.no_grad():
        layer.weight.copy_(normal(seed, size, size))
    return layer


def conv(seed: int = 0, *, channels: tuple[int, int] = (3, 4), kernel: int = 3, grid: tuple[int, int] = (4, 5), bound: float = 0.5) -> LipschitzConv2d:
    layer = LipschitzConv2d(*channels, kernel, lipschitz=bound, grid=grid).double()
    with torch.no_grad():
        layer.weight.copy_(normal(seed, *layer.weight.shape))
    return layer


def layers() -> list[Layer]:
    return [dense(), conv()]


def points(layer: Layer, batch: int = 2) -> Tensor:
    return normal(9, batch, *layer.norm.get_buffer("start").shape)


def dense_matrix(layer: LipschitzConv2d) -> Tensor:
    """The matrix of a convolution, without its bias."""
    size = layer.in_channels * layer.grid[0] * layer.grid[1]
    basis = torch.eye(size, dtype=torch.float64).reshape(size, layer.in_channels, *layer.grid)
    return (layer(basis) - layer(torch.zeros_like(basis))).flatten(1).T.detach()


def spectral_norm(matrix: Tensor) -> float:
    return float(torch.linalg.matrix_norm(matrix.detach().double(), 2))


def with_spectrum(values: Tensor, seed: int = 0) -> Tensor:
    left, right = (torch.linalg.qr(normal(seed + side, len(values), len(values))).Q for side in (1, 2))
    return left @ torch.diag(values.double()) @ right


# --- the norm -----------------------------------------------------------------------------------------

INDEX = torch.arange(1, 257, dtype=torch.float64)
SPECTRA = {
    "equal": torch.ones(256),
    "almost equal": INDEX**-0.02,
    "slow decay": INDEX**-0.2,
    "linear decay": torch.linspace(1, 0, 256),
    "one above a cluster": torch.where(INDEX == 1, 1.0, 0.9),
    "rank one": torch.where(INDEX == 1, 1.0, 0.0),
    "rank five": torch.where(INDEX <= 5, 1.0, 0.0),
    "tiny tail": 10.0 ** -torch.linspace(0, 12, 256),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", SPECTRA)
def test_the_estimate_is_within_one_percent_for_any_decay(name: str, dtype: torch.dtype) -> None:
    layer = LipschitzLinear(256, 256, lipschitz=1.0).to(dtype)
    weight = (7 * with_spectrum(SPECTRA[name])).to(dtype)
    estimate = float(layer.norm(weight))
    assert 0.99 * 7 <= estimate <= 7 * (1 + 1e-5)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 10**6))
def test_dense_norms_of_any_shape(rows: int, columns: int, seed: int) -> None:
    weight = normal(seed, rows, columns)
    estimate = float(LipschitzLinear(columns, rows, lipschitz=1.0).double().norm(weight))
    assert estimate == pytest.approx(spectral_norm(weight), rel=1e-9)


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 3), st.integers(1, 3), st.sampled_from([1, 3, 5]), st.tuples(st.integers(1, 5), st.integers(1, 5)), st.integers(0, 10**6))
def test_convolutions_are_measured_as_they_are_applied(inputs: int, outputs: int, kernel: int, grid: tuple[int, int], seed: int) -> None:
    layer = conv(seed, channels=(inputs, outputs), kernel=kernel, grid=grid, bound=1e-3)
    with torch.no_grad():  # every kernel above the bound
        layer.weight.add_(layer.weight.sign())
    exact = spectral_norm(dense_matrix(layer))
    assert exact == pytest.approx(1e-3, rel=0.02)
    assert exact <= 1e-3
    assert exact <= layer.certified_norm() * (1 + 1e-12)


def test_the_certificate_of_a_convolution_is_close_on_a_larger_grid() -> None:
    layer = conv(grid=(9, 8))
    assert layer.certified_norm() <= 1.1 * spectral_norm(dense_matrix(layer))


def test_a_weight_of_zero_has_norm_zero_and_finite_gradients() -> None:
    for layer in layers():
        nn.init.zeros_(layer.weight)
        layer(points(layer)).square().sum().backward()
        assert layer.norm(layer.weight).item() == 0
        assert bool(layer.weight.grad.isfinite().all())  # type: ignore[union-attr]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("exponent", [-30, -12, 12, 30])
def test_the_size_of_the_weights_does_not_matter(exponent: int, dtype: torch.dtype) -> None:
    for layer, exact in ((dense(), spectral_norm(dense(bound=1e9).weight)), (conv(), spectral_norm(dense_matrix(conv(bound=1e9))))):
        layer.to(dtype).weight.data.mul_(10.0**exponent)
        assert float(layer.norm(layer.weight).detach()) == pytest.approx(exact * 10.0**exponent, rel=1e-4)


def test_gradients_flow_through_the_norm() -> None:
    # With the spectral gap of a small matrix the estimate is exact, and so is its gradient.
    for layer, shape in ((dense(size=6), (6, 6)), (conv(grid=(2, 2), channels=(2, 2)), (2, 2, 3, 3))):
        x = points(layer)

        def call(weight: Tensor, layer: Layer = layer, x: Tensor = x) -> Tensor:
            return torch.func.functional_call(layer, {"weight": weight}, (x,))

        assert torch.autograd.gradcheck(call, (normal(4, *shape).requires_grad_(),))


def test_weights_that_come_to_lie_where_others_lay_have_norms_of_their_own() -> None:
    layer = LipschitzLinear(6, 6, lipschitz=1.0).double()
    for seed in range(10):
        weight = normal(seed, 6, 6)
        assert float(layer.norm(weight)) == pytest.approx(spectral_norm(weight), rel=1e-9)
        del weight


def test_a_norm_of_any_linear_map() -> None:
    norm = OperatorNorm((3,), lambda weight, v: weight * v, lambda weight, u: weight * u)
    for weight, expected in (([1.0, -5.0, 2.0], 5), ([1.0, 2.0, -5.5], 5.5), (-3.0, 3), (4.0, 4)):
        assert float(norm(torch.tensor(weight))) == pytest.approx(expected)


# --- the layers ---------------------------------------------------------------------------------------


def test_large_weights_shrink_to_the_bound_and_small_ones_stay() -> None:
    layer = dense()
    assert 0.98 * 0.5 <= layer.certified_norm() <= 0.5
    with torch.no_grad():
        layer.weight.mul_(0.4 / spectral_norm(layer.weight))
    assert torch.equal(layer.bounded_weight(), layer.weight)
    x = points(layer)
    assert torch.equal(layer(x), nn.functional.linear(x, layer.weight, layer.bias))


@pytest.mark.parametrize("layer", layers(), ids=lambda layer: type(layer).__name__)
def test_one_function_in_every_mode(layer: Layer) -> None:
    x = points(layer)
    expected = layer.train()(x)
    assert torch.equal(layer(x), expected)
    assert torch.equal(layer.eval()(x), expected)
    with torch.no_grad():
        assert torch.equal(layer(x), expected)
    fresh = copy.deepcopy(layer)
    with torch.inference_mode():
        assert torch.equal(fresh(x), expected)
    # What was computed in inference mode serves a training step.
    fresh(x).sum().backward()


def forget(layer: Layer) -> Tensor:
    """What the layer gives when it has to compute the norm afresh."""
    return copy.deepcopy(layer)(points(layer))


def optimiser_step(layer: Layer) -> None:
    layer(points(layer)).square().sum().backward()
    torch.optim.AdamW(layer.parameters(), lr=0.1).step()


def average(layer: Layer) -> None:
    mean = WeightAverage(dict(layer.named_parameters()), ema=0.5, warmup=1)
    with torch.no_grad():
        layer.weight.mul_(torch.linspace(1, 3, layer.weight.numel(), dtype=torch.float64).reshape(layer.weight.shape))
    layer(points(layer))
    mean.update(9)
    mean.copy_to_parameters()


def one_entry(layer: Layer) -> None:
    layer.weight.data.view(-1)[-1] += 1


def idle_column(layer: Layer) -> None:
    """A change where the old leading direction has no share."""
    with torch.no_grad():
        layer.weight[:, 0] = 0
    layer(points(layer))
    layer.weight.data[:, 0] = 5


CHANGES = {
    "in place": lambda layer: nn.init.normal_(layer.weight),
    "optimiser": optimiser_step,
    "average": average,
    "state dict": lambda layer: layer.load_state_dict({key: 3 - value for key, value in layer.state_dict().items()}),
    "state dict, assigned": lambda layer: layer.load_state_dict({key: 3 - value for key, value in layer.state_dict().items()}, assign=True),
    "data replaced": lambda layer: setattr(layer.weight, "data", normal(77, *layer.weight.shape)),
    "data written": lambda layer: layer.weight.data.copy_(normal(78, *layer.weight.shape)),
    "data written, one entry": one_entry,
    "data written, an idle column": idle_column,
    "data written, rows exchanged": lambda layer: layer.weight.data.copy_(layer.weight.detach().flip(0)),
    "data initialised": lambda layer: nn.init.orthogonal_(layer.weight.data),
    "visit to float32": lambda layer: layer.float().double(),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("layer", layers(), ids=lambda layer: type(layer).__name__)
def test_the_norm_is_computed_anew_when_the_weight_changed(layer: Layer, change: str) -> None:
    before = layer(points(layer)).detach()
    CHANGES[change](layer)
    after = layer(points(layer))
    assert torch.equal(after, forget(layer))
    assert not torch.equal(after, before)


def test_weights_of_other_dtypes_have_norms_of_their_own() -> None:
    for layer in layers():
        exact = layer.norm(layer.weight)
        for dtype in (torch.float32, torch.bfloat16, torch.float32):
            layer.weight.data = layer.weight.data.to(dtype)
            norm = layer.norm(layer.weight)
            assert norm.dtype == torch.float32
            assert torch.equal(norm, copy.deepcopy(layer).norm(layer.weight))
            assert float(norm.detach()) == pytest.approx(float(exact.detach()), rel=5e-3)


def test_the_norm_is_remembered_while_the_weight_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = dense()
    calls = []
    original = OperatorNorm._leading
    monkeypatch.setattr(OperatorNorm, "_leading", lambda self, weight: calls.append(1) or original(self, weight))
    for _ in range(3):
        layer(points(layer)).sum().backward()  # a graph kept from the first would fail here
        with torch.no_grad():
            layer(points(layer))
    assert len(calls) == 1


@pytest.mark.parametrize("layer", layers(), ids=lambda layer: type(layer).__name__)
def test_copies_and_pickles_have_norms_of_their_own(layer: Layer) -> None:
    expected = layer(points(layer))
    twin, thawed = copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))
    assert torch.equal(thawed(points(layer)), expected)
    with torch.no_grad():
        twin.weight.mul_(1e-3)
    assert not torch.equal(twin(points(layer)), expected)
    assert torch.equal(layer(points(layer)), expected)


def test_state_dicts_are_those_of_torch() -> None:
    assert LipschitzLinear(2, 3, lipschitz=1.0).state_dict().keys() == nn.Linear(2, 3).state_dict().keys()
    assert LipschitzConv2d(2, 3, lipschitz=1.0, grid=(4, 4)).state_dict().keys() == nn.Conv2d(2, 3, 3).state_dict().keys()


@pytest.mark.parametrize("layer", layers(), ids=lambda layer: type(layer).__name__)
def test_autocast_lowers_the_product_not_the_norm(layer: Layer) -> None:
    layer.float()
    x = points(layer).float()
    norm = layer.norm(layer.weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
        assert torch.equal(layer.norm(layer.weight), norm)
        assert torch.equal(copy.deepcopy(layer).norm(layer.weight), norm)


def test_bfloat16_weights_are_measured_in_float32() -> None:
    layer = dense().bfloat16()
    assert layer.norm(layer.weight).dtype == torch.float32
    assert layer(points(layer).bfloat16()).dtype == torch.bfloat16


def test_gradients_of_parameters_by_torch_func() -> None:
    for layer in layers():
        x = points(layer)
        layer(x).square().sum().backward()

        def loss(parameters: dict[str, Tensor], layer: Layer = layer, x: Tensor = x) -> Tensor:
            result: Tensor = torch.func.functional_call(layer, parameters, (x,)).square().sum()
            return result

        gradients = torch.func.grad(loss)({name: parameter.detach() for name, parameter in layer.named_parameters()})
        for name, parameter in layer.named_parameters():
            torch.testing.assert_close(gradients[name], parameter.grad)


@pytest.mark.parametrize("layer", layers(), ids=lambda layer: type(layer).__name__)
def test_norms_found_inside_a_transform_do_not_outlive_it(layer: Layer) -> None:
    x = points(layer)
    expected = copy.deepcopy(layer)(x)
    inner = torch.func.jacrev(lambda u: layer(u).square())
    torch.func.jacrev(lambda v: inner(v).sum())(x)
    torch.func.jacrev(layer)(x)
    assert torch.equal(layer(x), expected)
    assert torch.equal(copy.deepcopy(layer)(x), expected)
    assert torch.equal(torch.func.vmap(layer, in_dims=1)(x[:, None])[0], expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("strange", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("layer", layers(), ids=lambda layer: type(layer).__name__)
def test_weights_that_are_not_finite_give_nan_and_may_recover(layer: Layer, strange: float, dtype: torch.dtype) -> None:
    layer.to(dtype)
    x = points(layer).to(dtype)
    expected, weight = layer(x), layer.weight.detach().clone()
    layer.weight.data.view(-1)[0] = strange
    assert bool(layer(x).isnan().any())
    layer.weight.data.copy_(weight)
    assert torch.equal(layer(x), expected)


def test_layers_compile_with_a_break_at_the_norm() -> None:
    torch.compiler.reset()
    layer = conv().requires_grad_(False)
    compiled = torch.compile(lambda x: layer(x) + 1, backend="eager")
    assert torch.equal(compiled(points(layer)), layer(points(layer)) + 1)


@pytest.mark.parametrize("bound", [0.0, -1.0, float("inf"), float("nan")])
def test_bounds_must_be_positive_numbers(bound: float) -> None:
    with pytest.raises(BijectionError, match="expected a positive finite number"):
        LipschitzLinear(2, 2, lipschitz=bound)


def test_grids_and_kernels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputShapeError, match=r"grid \(4, 4\), expected \(5, 7\)"):
        LipschitzConv2d(1, 1, lipschitz=1.0, grid=(5, 7))(torch.zeros(1, 1, 4, 4))
    with pytest.raises(BijectionError, match="expected an odd number"):
        LipschitzConv2d(1, 1, 2, lipschitz=1.0, grid=(5, 7))
