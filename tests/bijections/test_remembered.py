"""A remembered result is never another than a fresh one, whatever happened to the weights in between."""

from __future__ import annotations

import copy
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad

from linearizer_core.bijections import CayleyMixing, LipschitzConv2d, LipschitzLinear, PLUMixing, constant_weights, remembered


class Layer(nn.Module):
    """Counts how often its result is computed. The result is that of a parameter, a buffer and a parameter of a child."""

    def __init__(self, size: int = 3) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(size) + torch.arange(float(size)))
        self.register_buffer("offset", torch.ones(size))
        self.child = nn.Linear(size, 1, bias=False)
        self.computed = 0

    @remembered
    def matrix(self, dtype: torch.dtype = torch.float32, *, factor: float = 1.0) -> Tensor:
        self.computed += 1
        return factor * (self.weight * self.get_buffer("offset") + self.child.weight).to(dtype)

    @remembered
    def pair(self) -> tuple[Tensor, Tensor]:
        self.computed += 1
        return self.weight + 1, self.weight - 1


@pytest.fixture
def layer() -> Layer:
    torch.manual_seed(0)
    return Layer().eval()


@pytest.fixture(autouse=True)
def _without_gradients() -> Any:
    with torch.no_grad():
        yield


def fresh(layer: Layer) -> Tensor:
    return (layer.weight * layer.get_buffer("offset") + layer.child.weight).clone()


def test_it_is_computed_once(layer: Layer) -> None:
    first = layer.matrix()
    assert layer.matrix() is first
    assert torch.equal(first, fresh(layer))
    assert layer.computed == 1
    assert layer.pair()[1] is layer.pair()[1]
    assert layer.computed == 2
    with torch.inference_mode():
        assert layer.matrix() is first


def numpy_of(layer: Layer) -> Any:
    return layer.weight.detach().numpy()


def optimizer_step(layer: Layer, **options: Any) -> None:
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, **options)
    for parameter in layer.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def replace_data(layer: Layer) -> None:
    layer.weight.data = 2 * layer.weight.data


def replace_parameter(layer: Layer) -> None:
    layer.weight = nn.Parameter(2 * layer.weight)


def one_bit(layer: Layer) -> None:
    layer.weight.data[1, 1] = torch.nextafter(layer.weight.data[1, 1], torch.tensor(9.0))


def swap_two(layer: Layer) -> None:
    layer.weight.data.copy_(layer.weight.data.flip(0))


WRITES: dict[str, Callable[[Layer], object]] = {
    "in place": lambda layer: layer.weight.add_(1),
    "through data": lambda layer: layer.weight.data.add_(1),
    "one bit through data": one_bit,
    "rows exchanged": swap_two,
    "through a detached view": lambda layer: layer.weight.detach()[1].mul_(3),
    "through numpy": lambda layer: numpy_of(layer).__setitem__((0, 1), 7.0),
    "new data": replace_data,
    "new parameter": replace_parameter,
    "buffer": lambda layer: layer.get_buffer("offset").data.mul_(2),
    "child": lambda layer: layer.child.weight.data.mul_(2),
    "load_state_dict": lambda layer: layer.load_state_dict({name: tensor + 1 for name, tensor in layer.state_dict().items()}),
    "load_state_dict, assigned": lambda layer: layer.load_state_dict({name: tensor + 1 for name, tensor in layer.state_dict().items()}, assign=True),
    "optimiser": optimizer_step,
    "fused optimiser": lambda layer: optimizer_step(layer, fused=True),
    "foreach": lambda layer: torch._foreach_mul_([layer.weight.data], 2.0),
    "rounded weights": lambda layer: layer.bfloat16().float(),
    "not a number": lambda layer: layer.weight.data.fill_(torch.nan),
}


@pytest.mark.parametrize("write", WRITES)
def test_every_way_to_write_is_seen(layer: Layer, write: str) -> None:
    before = layer.matrix().clone()
    WRITES[write](layer)
    assert not torch.equal(layer.matrix(), before)
    assert torch.equal(layer.matrix().nan_to_num(), fresh(layer).nan_to_num())
    assert layer.computed == 2


@pytest.mark.parametrize("write", ["in place", "optimiser", "load_state_dict", "new data", "new parameter"])
def test_ordinary_writes_are_seen_even_where_weights_are_constant(layer: Layer, write: str) -> None:
    with constant_weights():
        layer.matrix()
        WRITES[write](layer)
        assert torch.equal(layer.matrix(), fresh(layer))


def test_constant_weights_are_looked_at_once(layer: Layer, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    equal = torch.equal
    monkeypatch.setattr(torch, "equal", lambda *tensors: looks.append(None) or equal(*tensors))
    layer.matrix()
    with constant_weights():
        for _ in range(5):
            layer.matrix()
        with constant_weights():
            layer.matrix()
        assert len(looks) == 3  # one for each tensor
    layer.matrix()
    assert len(looks) == 6
    layer.weight.data.add_(1)  # between two contexts
    with constant_weights():
        assert equal(layer.matrix(), fresh(layer))


def test_a_sign_of_zero_is_a_change(layer: Layer) -> None:
    layer.get_buffer("offset").zero_()
    layer.child.weight.zero_()
    layer.weight.data.zero_()
    before = layer.matrix()
    layer.weight.data.neg_()
    assert torch.equal(layer.matrix().signbit(), fresh(layer).signbit())
    assert layer.matrix() is not before


def test_not_a_number_is_no_change(layer: Layer) -> None:
    layer.weight.fill_(torch.nan)
    assert layer.matrix() is layer.matrix()


@pytest.mark.parametrize("move", [lambda layer: layer.double(), lambda layer: layer.weight.data.__setitem__(slice(None), layer.weight.data)])
def test_another_dtype_is_a_change_and_the_same_bits_are_none(layer: Layer, move: Callable[[Layer], object]) -> None:
    first = layer.matrix()
    move(layer)
    assert (layer.matrix() is first) == (layer.weight.dtype == torch.float32)


def test_other_strides_are_a_change(layer: Layer) -> None:
    """Kernels are chosen by them."""
    before = layer.matrix()
    layer.weight.data = layer.weight.data.T.contiguous().T
    assert layer.matrix() is not before


def test_a_result_that_was_written_to_is_computed_anew(layer: Layer) -> None:
    layer.matrix().mul_(2)
    assert torch.equal(layer.matrix(), fresh(layer))
    layer.pair()[1].zero_()
    assert torch.equal(layer.pair()[1], layer.weight - 1)


def test_arguments_belong_to_the_result(layer: Layer) -> None:
    assert layer.matrix(torch.float64).dtype == torch.float64
    assert layer.matrix(torch.float32).dtype == torch.float32
    assert torch.equal(layer.matrix(factor=2.0), 2 * layer.matrix(factor=1.0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lowered = layer.matrix()
    assert layer.matrix() is not lowered


def test_copies_and_pickles_remember_nothing(layer: Layer) -> None:
    keys = set(layer.__dict__)
    first = layer.matrix()
    twin = copy.deepcopy(layer)
    assert twin.matrix() is not first
    twin.weight.add_(1)
    assert torch.equal(twin.matrix(), fresh(twin))
    assert torch.equal(layer.matrix(), fresh(layer))
    loaded = pickle.loads(pickle.dumps(layer))
    assert loaded.matrix() is not first
    assert set(layer.__dict__) == keys
    assert set(layer.state_dict()) == {"weight", "offset", "child.weight"}


def test_what_is_remembered_dies_with_its_module() -> None:
    layer = Layer().eval()
    result = weakref.ref(layer.matrix())
    assert result() is not None
    del layer
    assert result() is None


def test_nothing_is_remembered_in_training(layer: Layer) -> None:
    held = weakref.ref(layer.matrix())
    layer.train()
    assert layer.matrix() is not layer.matrix()
    assert held() is None


def test_nothing_is_remembered_where_gradients_are_wanted(layer: Layer) -> None:
    remembered_before = layer.matrix()
    with torch.enable_grad():
        result = layer.matrix()
        assert result.requires_grad
        result.sum().backward()
        assert layer.weight.grad is not None
        layer.requires_grad_(False)
        assert layer.matrix() is remembered_before  # frozen weights want none
        x = torch.ones(3, requires_grad=True)
        (layer.matrix() @ x).sum().backward()
        assert x.grad is not None


def test_results_of_inference_mode_serve_later_training(layer: Layer) -> None:
    with torch.inference_mode():
        first = layer.matrix()
    assert not first.is_inference()
    assert not first.requires_grad
    x = torch.ones(3, requires_grad=True)
    with torch.enable_grad():
        layer.requires_grad_(False)
        assert layer.matrix() is first
        (layer.matrix() @ x).square().sum().backward()


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # of torch itself, in its forward mode
def test_transforms_see_weights_of_their_own(layer: Layer) -> None:
    layer.matrix()
    weights = {name: parameter.detach() for name, parameter in layer.named_parameters()}

    def total(values: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(Caller(layer), {f"layer.{name}": value for name, value in values.items()}, (torch.ones(3),)).sum()

    expected = torch.func.grad(total)(weights)
    assert float(expected["weight"].abs().sum()) > 0
    _, tangent = torch.func.jvp(total, (weights,), ({name: torch.ones_like(value) for name, value in weights.items()},))
    assert float(tangent) == pytest.approx(float(sum(gradient.sum() for gradient in expected.values())))
    stacked = {name: torch.stack([value, 2 * value]) for name, value in weights.items()}
    one, two = torch.func.vmap(total)(stacked)
    assert float(two) == pytest.approx(2 * float(one))
    assert torch.equal(layer.matrix(), fresh(layer))


class Caller(nn.Module):
    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer.matrix() @ x


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # of torch itself, in its forward mode
def test_dual_numbers_keep_their_tangents(layer: Layer) -> None:
    layer.matrix()
    with forward_ad.dual_level():
        layer._buffers["offset"] = forward_ad.make_dual(layer.get_buffer("offset"), torch.full((3,), 5.0))  # the bits stay
        assert torch.equal(forward_ad.unpack_dual(layer.matrix()).tangent, 5 * layer.weight)


def test_compiled_graphs_contain_the_computation(layer: Layer) -> None:
    torch.compiler.reset()
    compiled = torch.compile(lambda x: layer.matrix() @ x, backend="eager", fullgraph=True)
    x = torch.ones(3)
    layer.matrix()
    assert torch.equal(compiled(x), layer.matrix() @ x)
    layer.weight.data.add_(1)
    assert torch.equal(compiled(x), layer.matrix() @ x)


def test_results_do_not_outlive_a_transform(layer: Layer) -> None:
    layer.requires_grad_(False)
    x = torch.ones(3)
    first = torch.func.vmap(lambda v: layer.matrix() @ v)(x[None])
    assert torch.equal(first[0], layer.matrix() @ x)
    gradient = torch.func.grad(lambda v: (layer.pair()[0] @ v).sum())(x)
    assert torch.equal(gradient, layer.pair()[0].sum(0))
    layer.pair()[0].data_ptr()


def test_buffers_of_every_dtype_pass(layer: Layer) -> None:
    for dtype in (torch.bool, torch.bfloat16, torch.complex64, torch.complex128):
        layer.register_buffer("other", torch.ones(2, dtype=dtype))
        before = layer.matrix()
        layer.get_buffer("other").zero_()
        assert layer.matrix() is not before


@pytest.mark.filterwarnings("ignore")
def test_tensors_of_other_types_pass(layer: Layer) -> None:
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = Layer().eval()
        fake.weight = nn.Parameter(mode.from_tensor(layer.weight.detach()))
        assert fake.matrix().shape == (3, 3)
        assert fake.matrix().shape == (3, 3)


def test_models_without_data_pass() -> None:
    layer = Layer().eval().to("meta")
    assert layer.matrix().is_meta
    assert layer.matrix().shape == (3, 3)


def test_weights_made_in_inference_mode_are_not_trusted() -> None:
    """They have no counter of versions."""
    with torch.inference_mode():
        layer = Layer().eval()
        layer.matrix()
        layer.weight.mul_(2)
        assert torch.equal(layer.matrix(), fresh(layer))


# --- the layers of the framework ------------------------------------------------------------------------

MIXINGS: dict[str, Callable[[], Any]] = {
    "cayley": lambda: CayleyMixing((7, 2), seed=1),
    "plu": lambda: PLUMixing((7, 2), seed=1),
    "lipschitz linear": lambda: LipschitzLinear(7, 7, lipschitz=0.5),
    "lipschitz convolution": lambda: LipschitzConv2d(7, 7, lipschitz=0.5, grid=(2, 3)),
}


def directions(module: Any) -> list[Callable[[Tensor], Tensor]]:
    return [module.forward, module.inverse] if hasattr(module, "inverse") else [module.forward]


def example(name: str, dtype: torch.dtype) -> Tensor:
    shape = {"lipschitz linear": (3, 7), "lipschitz convolution": (3, 7, 2, 3)}.get(name, (3, 7, 2))
    return torch.randn(shape, generator=torch.Generator().manual_seed(3)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", MIXINGS)
@settings(deadline=None, max_examples=15)
@given(writes=st.lists(st.sampled_from(["none", "step", "data", "load", "dtype"]), min_size=1, max_size=5), seed=st.integers(0, 10**6))
def test_layers_give_the_bits_of_training_mode(name: str, dtype: torch.dtype, writes: list[str], seed: int) -> None:
    with torch.no_grad():
        module, generator = MIXINGS[name]().to(dtype), torch.Generator().manual_seed(seed)
        x = example(name, dtype)
        for write in ["none", *writes]:
            for parameter in module.parameters():
                change = torch.randn(parameter.shape, generator=generator).to(parameter)
                if write == "step":
                    parameter.add_(0.3 * change)
                if write == "data":
                    parameter.data.add_(0.3 * change)
            if write == "load":
                module.load_state_dict({key: 1.5 * value if value.is_floating_point() else value for key, value in module.state_dict().items()})
            if write == "dtype":
                module.half().to(dtype)
            for call in directions(module):
                expected = [call(x) for _ in range(1) if module.train()]
                module.eval()
                assert torch.equal(call(x), expected[0])
                assert torch.equal(call(x), expected[0])


@pytest.mark.parametrize("name", ["cayley", "plu"])
def test_mixings_solve_nothing_a_second_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = MIXINGS[name]().eval(), example(name, torch.float32)
    expected = [call(x) for call in directions(module)]

    def refuse(*_: Any, **__: Any) -> Tensor:
        raise AssertionError("solved again")

    for solver in ("solve", "solve_triangular"):
        monkeypatch.setattr(torch.linalg, solver, refuse)
    assert all(torch.equal(call(x), before) for call, before in zip(directions(module), expected, strict=True))
    with pytest.raises(AssertionError, match="solved again"):
        module.train().inverse(x)


def test_bounded_layers_measure_no_norm_a_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lipschitz linear", "lipschitz convolution"):
        layer, x = MIXINGS[name]().eval(), example(name, torch.float32)
        expected = layer(x)
        monkeypatch.setattr(type(layer.norm), "forward", lambda *_: pytest.fail("measured again"))
        assert torch.equal(layer(x), expected)
        monkeypatch.undo()
