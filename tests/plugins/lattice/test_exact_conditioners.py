from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from linearizer_core.bijections import ConditionEmbedding
from linearizer_core.condition import Condition
from linearizer_core.errors import ConditionError, ConfigError
from linearizer_lattice.exact_conditioners import ExactConditioner, ExactConvConditioner, ExactMLPConditioner
from linearizer_lattice.exact_layers import ExactArithmetic, ExactLayer

from .wild import labels, points, same_bits, wild

TWO = {"label": 3, "style": 2}
DOUBLE = ExactArithmetic(weight_bits=12, activation_bits=12, activation_bound=4.0, dtype=torch.float64)
SINGLE = ExactArithmetic(weight_bits=7, activation_bits=7, activation_bound=4.0, dtype=torch.float32)
FINE = ExactArithmetic(weight_bits=20, activation_bits=20, activation_bound=16.0, dtype=torch.float64)

Make = Callable[..., ExactConditioner]
KINDS: dict[str, tuple[Make, tuple[int, ...]]] = {
    "mlp": (lambda arithmetic, **options: ExactMLPConditioner(40, 30, width=64, depth=2, arithmetic=arithmetic, **options), (40,)),
    "conv": (lambda arithmetic, **options: ExactConvConditioner(3, 5, width=24, depth=2, arithmetic=arithmetic, **options), (3, 4, 6)),
    "token mixing": (lambda arithmetic, **options: ExactConvConditioner(3, 5, width=24, token_mixing=(4, 6), arithmetic=arithmetic, **options), (3, 4, 6)),
}


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> tuple[Make, tuple[int, ...]]:
    return KINDS[str(request.param)]


def made(make: Make, arithmetic: ExactArithmetic, *, gain: float = 1.5, categories: dict[str, int] | None = None) -> ExactConditioner:
    torch.manual_seed(0)
    conditioner = make(arithmetic, categories=categories)
    wild(conditioner, gain=gain)
    return conditioner


def both(batch: int) -> Condition:
    return Condition(label=torch.arange(batch) % 3, style=torch.arange(batch) % 2)


def test_they_start_at_zero(kind: tuple[Make, tuple[int, ...]]) -> None:
    make, shape = kind
    assert not make(DOUBLE)(points(2, *shape)).any()


@pytest.mark.parametrize("arithmetic", [DOUBLE, SINGLE], ids=["float64", "float32"])
def test_every_example_has_the_same_bits_in_any_batch(kind: tuple[Make, tuple[int, ...]], arithmetic: ExactArithmetic) -> None:
    make, shape = kind
    conditioner = made(make, arithmetic, categories=TWO)
    x, condition = points(64, *shape), both(64)
    whole = conditioner(x, condition)
    assert whole.dtype == arithmetic.dtype
    assert whole.std() > 0.1
    for size in (1, 7, 8):
        parts = [conditioner(x[rows], condition.rows(rows)) for rows in torch.arange(64).split(size)]
        assert same_bits(torch.cat(parts), whole)


@pytest.mark.parametrize("arithmetic", [DOUBLE, SINGLE], ids=["float64", "float32"])
def test_every_layer_sees_activations_on_their_grid(kind: tuple[Make, tuple[int, ...]], arithmetic: ExactArithmetic) -> None:
    make, shape = kind
    conditioner = made(make, arithmetic, gain=8.0, categories=TWO)
    seen: list[Tensor] = []
    for module in conditioner.modules():
        if isinstance(module, ExactLayer):
            module.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    conditioner(8 * points(16, *shape), both(16))
    assert len(seen) > 3
    for a in seen:
        steps = a.detach() * 2.0**arithmetic.activation_bits / arithmetic.activation_bound
        assert torch.equal(steps, steps.round())
        assert float(steps.abs().max()) == 2**arithmetic.activation_bits - 1


def test_sums_in_float32_and_float64_agree(kind: tuple[Make, tuple[int, ...]]) -> None:
    make, shape = kind
    narrow = made(make, SINGLE, categories=TWO)
    wide = make(ExactArithmetic(SINGLE.weight_bits, SINGLE.activation_bits, SINGLE.activation_bound, torch.float64), categories=TWO)
    wide.load_state_dict(narrow.state_dict())
    x = points(16, *shape)
    assert same_bits(narrow(x, both(16)).double(), wide(x, both(16)))
    assert same_bits(narrow.double()(x.double(), both(16)), narrow.float()(x, both(16)))


class Ordinary(nn.Module):
    """The same network without grids."""

    def __init__(self, source: ExactConditioner) -> None:
        super().__init__()
        self.source = source

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        source, weights = self.source, dict(self.source.named_parameters())

        def layer(name: str, h: Tensor) -> Tensor:
            weight, bias = weights[f"{name}.weight"].double(), weights[f"{name}.bias"].double()
            if h.ndim == 4 and name != "mixing":
                return functional.conv2d(h, weight.reshape(len(weight), -1, 3, 3), bias, padding=1)
            return functional.linear(h.flatten(2), weight, bias).reshape(h.shape) if h.ndim == 4 else functional.linear(h, weight, bias)

        h = layer("first", x.double())
        for embedding in source.embeddings:
            assert isinstance(embedding, ConditionEmbedding)
            rows = embedding(condition, len(x)).double()
            h = h + rows.reshape(*rows.shape, *(1,) * (h.ndim - 2))
        h = h.relu()
        if "mixing.weight" in weights:
            h = h + layer("mixing", h).relu()
        for number in range(len(source.blocks)):  # type: ignore[arg-type]
            h = h + layer(f"blocks.{number}", h).relu()
        return layer("last", h)


def test_fine_grids_give_the_ordinary_network_and_its_gradients(kind: tuple[Make, tuple[int, ...]]) -> None:
    make, shape = kind
    conditioner = made(make, FINE, gain=0.5, categories=TWO)
    weights = torch.randn(5, *conditioner(points(5, *shape), both(5)).shape[1:], dtype=torch.float64)
    parameters = list(conditioner.parameters())

    def run(network: nn.Module) -> tuple[Tensor, tuple[Tensor, ...]]:
        x = points(5, *shape, dtype=torch.float64).requires_grad_()
        output = network(x, both(5))
        return output, torch.autograd.grad((weights * output).sum(), [x, *parameters])

    (found, gradients), (expected, ordinary) = run(conditioner), run(Ordinary(conditioner))
    assert torch.allclose(found, expected, atol=2e-3)
    for gradient, reference in zip(gradients, ordinary, strict=True):
        # A unit that lies within a step of its kink may have the other slope.
        assert float((gradient - reference).norm()) <= 5e-2 * float(reference.norm())
        assert reference.any()


def test_conditions_matter_and_are_required(kind: tuple[Make, tuple[int, ...]]) -> None:
    make, shape = kind
    conditioner = made(make, DOUBLE, categories={"label": 3})
    x = points(1, *shape).expand(3, *shape)
    outputs = conditioner(x, labels(3)).detach()
    assert min(float((outputs[i] - outputs[j]).abs().max()) for i, j in ((0, 1), (1, 2), (0, 2))) > 1e-3
    with pytest.raises(ConditionError, match="label"):
        conditioner(x)


def test_every_condition_takes_room_in_the_sum() -> None:
    width = SINGLE.largest_fan_in - 2
    ExactMLPConditioner(width, 1, width=4, arithmetic=SINGLE, categories={"label": 3})
    with pytest.raises(ConfigError, match=f"{width} inputs and 3 biases"):
        ExactMLPConditioner(width, 1, width=4, arithmetic=SINGLE, categories=TWO)
