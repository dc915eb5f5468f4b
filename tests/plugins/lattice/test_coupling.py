from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from linearizer_core.bijections import AdditiveCoupling, ConvConditioner, MLPConditioner
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError, ConfigError
from linearizer_lattice.coupling import LatticeCoupling
from linearizer_lattice.lattice import Lattice

from .wild import labels, points, same_bits, wild

LATTICE = Lattice(bits=14)


class Constant(nn.Module):
    """Gives the same shifts for every example, and remembers what it was called with."""

    def __init__(self, *shifts: float) -> None:
        super().__init__()
        self.shifts = nn.Parameter(torch.tensor(shifts))
        self.seen: list[Tensor] = []
        self.product_dtypes: list[torch.dtype] = []

    def forward(self, kept: Tensor, condition: Condition | None = None) -> Tensor:
        self.seen.append(kept)
        self.product_dtypes.append((kept.float() @ kept.float().mT).dtype)
        return self.shifts.to(kept.dtype).expand(len(kept), -1)


def test_the_formula() -> None:
    coupling = LatticeCoupling((4,), Constant(0.3, -0.3), Lattice(bits=2))
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert coupling(x).tolist() == [[1.0, 2.0, 3.25, 3.75]]
    assert coupling.inverse(x).tolist() == [[1.0, 2.0, 2.75, 4.25]]
    flipped = LatticeCoupling((4,), Constant(0.3, -0.3), Lattice(bits=2), flip=True)
    assert flipped(x).tolist() == [[1.25, 1.75, 3.0, 4.0]]
    assert coupling.forward_and_logdet(x)[1].tolist() == coupling.inverse_and_logdet(x)[1].tolist() == [0.0]


def test_shifts_stay_within_the_bound() -> None:
    coupling = LatticeCoupling((4,), Constant(1e6, -1e6), LATTICE, shift_bound=0.5)
    assert coupling(torch.zeros(1, 4)).tolist() == [[0.0, 0.0, 0.5, -0.5]]
    with pytest.raises(ConfigError, match=r"shift_bound = 0\.3: expected a multiple of the step 0\.25 .* give 0\.25"):
        LatticeCoupling((4,), Constant(0.0, 0.0), Lattice(bits=2), shift_bound=0.3)


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 9), st.booleans(), st.integers(1, 5), st.sampled_from([torch.float32, torch.float64]))
def test_bits_survive_both_round_trips(channels: int, flip: bool, batch: int, dtype: torch.dtype) -> None:
    kept = channels - channels // 2 if flip else channels // 2
    torch.manual_seed(channels)
    coupling = LatticeCoupling((channels,), MLPConditioner(kept, channels - kept, width=7), LATTICE, flip=flip).to(dtype)
    wild(coupling, gain=3.0)
    x = points(batch, channels, seed=channels, dtype=dtype)
    assert not torch.equal(coupling(x), x)
    assert same_bits(coupling.inverse(coupling(x)), x)
    assert same_bits(coupling(coupling.inverse(x)), x)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_gradients_are_those_of_the_additive_coupling(direction: str) -> None:
    network = MLPConditioner(3, 2, width=8, categories={"label": 3}).double()
    wild(network, gain=0.5)
    rounded = LatticeCoupling((5,), network, LATTICE, flip=True, shift_bound=64.0, conditions={"label": 3})
    plain = AdditiveCoupling((5,), network, flip=True, conditions={"label": 3})
    weights = torch.randn(4, 5, dtype=torch.float64)

    def gradients(coupling: LatticeCoupling | AdditiveCoupling) -> list[Tensor]:
        x = points(4, 5, dtype=torch.float64).requires_grad_()
        return list(torch.autograd.grad((weights * getattr(coupling, direction)(x, labels(4))).sum(), [x, *network.parameters()]))

    for found, expected in zip(gradients(rounded), gradients(plain), strict=True):
        assert expected.abs().max() > 0
        assert torch.allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("arithmetic", "outside", "under"), [("float", "float32", "bfloat16"), ("bfloat16", "bfloat16", "bfloat16"), ("exact", "float32", "float32")]
)
def test_arithmetic_chooses_the_precision_of_the_conditioner_alone(arithmetic: str, outside: str, under: str) -> None:
    network = Constant(0.3, -0.3)
    coupling = LatticeCoupling((4,), network, LATTICE, arithmetic=arithmetic)  # type: ignore[arg-type]
    x = points(2, 4)
    z = coupling(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert same_bits(coupling(x), z)
    assert network.product_dtypes == [getattr(torch, outside), getattr(torch, under)]
    assert z.dtype == torch.float32


@pytest.mark.parametrize("flip", [False, True])
def test_the_conditioner_sees_memory_of_one_layout_in_both_directions(flip: bool) -> None:
    network = ConvConditioner(1 if not flip else 2, 2 if not flip else 1, width=4)
    wild(network)
    seen: list[Tensor] = []
    network.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    coupling = LatticeCoupling((3, 4, 6), network, LATTICE, flip=flip)
    x = points(2, 3, 4, 6)
    strided = torch.zeros(2, 3, 4, 12)[..., ::2].copy_(x)
    results = [coupling(each) for each in (x, x.contiguous(memory_format=torch.channels_last), strided)]
    backs = [coupling.inverse(each) for each in (results[0], results[0].contiguous(memory_format=torch.channels_last))]
    assert all(same_bits(result, results[0]) for result in results)
    assert all(same_bits(back, x) for back in backs)
    assert {each.stride() for each in seen} == {torch.empty_like(seen[0], memory_format=torch.contiguous_format).stride()}
    assert {each.storage_offset() for each in seen} == {0}


def test_the_conditioner_never_sees_a_view_of_the_stream() -> None:
    network = Constant(0.3, -0.3)
    coupling, x = LatticeCoupling((4,), network, LATTICE, flip=True), points(1, 4)  # one row: each slice of it counts as contiguous
    coupling.inverse(coupling(x))
    assert {each.storage_offset() for each in network.seen} == {0}
    assert {each.data_ptr() % 64 for each in network.seen} == {0}


def test_shifts_of_low_precision_are_clamped_in_that_of_the_stream() -> None:
    bound = 1 + 2.0**-14
    coupling = LatticeCoupling((4,), Constant(5.0, -5.0).bfloat16(), LATTICE, shift_bound=bound)
    coupling.conditioner.network.forward = lambda kept, condition=None: torch.tensor([[5.0, -5.0]], dtype=torch.bfloat16)  # type: ignore[method-assign,union-attr]
    assert coupling(torch.zeros(1, 4)).tolist() == [[0.0, 0.0, bound, -bound]]


def test_a_conditioner_of_the_wrong_size_is_named() -> None:
    with pytest.raises(BijectionError, match="gave 3 output channels, expected 2"):
        LatticeCoupling((4,), Constant(0.0, 0.0, 0.0), LATTICE)(torch.zeros(1, 4))
