from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from linearizer_core.bijections import AdditiveCoupling, Chain, Permutation
from linearizer_core.bijections.memory.reversible import Reversible, set_reversible
from linearizer_core.condition import Condition
from linearizer_core.errors import ConfigError, LatticeError
from linearizer_core.factory import create_backbone
from linearizer_lattice.backbone import lattice_backbone
from linearizer_lattice.config import DenseConfig, ExactConfig, LatticeConfig, LevelConfig
from linearizer_lattice.coupling import LatticeCoupling
from linearizer_lattice.ends import GridEntry, LatticeExit, PixelEntry
from linearizer_lattice.exact_conditioners import ExactConvConditioner, ExactMLPConditioner
from linearizer_lattice.hooks import linearizer_backbones

from .wild import SMALL, backbone, images, labels, points, same_bits

PAIR = ["Permutation", "LatticeCoupling", "LatticeCoupling"]


def kinds(bijections: Chain) -> list[str]:
    return [type(bijection).__name__ for bijection in bijections]


def test_the_default_for_small_images() -> None:
    g = lattice_backbone((1, 28, 28), LatticeConfig())
    assert kinds(g) == ["PixelEntry", "PixelSqueeze", *PAIR, "PixelSqueeze", *PAIR * 2, "Flatten", *PAIR * 4, "LatticeExit"]
    couplings = [bijection for bijection in g if isinstance(bijection, LatticeCoupling)]
    assert [coupling.in_shape for coupling in couplings] == [(4, 14, 14)] * 2 + [(16, 7, 7)] * 4 + [(784,)] * 8
    assert [coupling.flip for coupling in couplings] == [False, True] * 7
    assert (g.bit_exact, g.has_logdet, g.inverse_kind, g.inverse_grad) == (True, True, "analytic", "exact")
    permutations = [bijection.get_buffer("permutation") for bijection in g if isinstance(bijection, Permutation)]
    assert not torch.equal(permutations[-1], permutations[-2])
    assert not torch.equal(lattice_backbone((1, 28, 28), LatticeConfig(seed=1))[-4].get_buffer("permutation"), permutations[-1])


def test_a_new_backbone_moves_pixels_alone() -> None:
    g, x = lattice_backbone((1, 4, 4), LatticeConfig()), images(2, 1, 4, 4)
    z, logdet = g.forward_and_logdet(x)
    assert torch.equal(z.sort(1).values, (2 * (x * 255 / 256) - 1).flatten(1).sort(1).values)
    assert torch.allclose(logdet, torch.full((2,), 16.0) * torch.log(torch.tensor(255 / 128)))


shapes = st.tuples(st.integers(1, 30)) | st.tuples(st.integers(1, 5), st.integers(1, 5)) | st.tuples(st.integers(1, 3), st.integers(1, 14), st.integers(1, 14))


@settings(deadline=None, max_examples=15)
@given(shapes, st.sampled_from(["float", "exact"]))
def test_defaults_suit_any_shape(shape: tuple[int, ...], arithmetic: str) -> None:
    g = backbone(shape, arithmetic=arithmetic, levels=None, dense=None)
    assert g.out_shape == (g.dim,)
    assert isinstance(g[0], PixelEntry if len(shape) == 3 else GridEntry)
    x = images(2, *shape) if len(shape) == 3 else points(2, *shape)
    z = g(x)
    assert same_bits(g.inverse(z), x)
    assert same_bits(g(g.inverse(z)), z)


OPTIONS: list[dict[str, Any]] = [
    {"bits": 10, "shift_bound": 0.5},
    {"input": "grid", "scale": 0.5},
    {"scale": 2.0},
    {"levels": (LevelConfig(couplings=3, width=5, depth=2),)},
    {"dense": DenseConfig(couplings=0)},
    {"arithmetic": "bfloat16"},
    {"arithmetic": "exact"},
    {"arithmetic": "exact", "exact": ExactConfig(weight_bits=7, activation_bits=7, activation_bound=2.0, accumulation="float32")},
    {"precision": "float64", "bits": 30},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ", ".join(options))
def test_every_option_keeps_bits_and_volume_and_saves(options: dict[str, Any]) -> None:
    dtype = torch.float64 if "precision" in options else torch.float32
    g = backbone((3, 4, 6), conditions={"label": 3}, **options).to(dtype)
    x = points(3, 3, 4, 6, bits=11, dtype=dtype) if "input" in options else images(3, 3, 4, 6, dtype=dtype)
    z, logdet = g.forward_and_logdet(x, labels(3))
    back, inverse_logdet = g.inverse_and_logdet(z, labels(3))
    assert same_bits(back, x)
    assert torch.equal(logdet, -inverse_logdet)
    assert float(z.std()) > 0.4
    torch.manual_seed(9)
    fresh = lattice_backbone((3, 4, 6), LatticeConfig.model_validate({**SMALL, **options}), {"label": 3}).to(dtype)
    fresh.load_state_dict(g.state_dict())
    assert same_bits(fresh.inverse(z, labels(3)), x)
    assert same_bits(fresh(x, labels(3)), z)


def test_options_reach_their_bricks() -> None:
    g = backbone((1, 4, 4), bits=10, scale=2.0, shift_bound=0.5, off_grid="error", arithmetic="exact", exact={"weight_bits": 9, "activation_bits": 10})
    entry, exit_ = g[0], g[len(g) - 1]
    assert isinstance(entry, PixelEntry)
    assert isinstance(exit_, LatticeExit)
    assert (entry.lattice.bits, entry.scale, entry.off_grid, exit_.off_grid) == (10, 2.0, "error", "error")
    couplings = [bijection.conditioner for bijection in g if isinstance(bijection, LatticeCoupling)]
    assert {(coupling.bound, coupling.arithmetic, coupling.lattice.bits) for coupling in couplings} == {(0.5, "exact", 10)}  # type: ignore[misc]
    networks = [coupling.network for coupling in couplings]
    assert [type(network) for network in networks] == [ExactConvConditioner] * 2 + [ExactMLPConditioner] * 4
    assert {(network.arithmetic.weight_bits, network.arithmetic.activation_bits) for network in networks} == {(9, 10)}  # type: ignore[union-attr]
    assert all(network.mixing is not None for network in networks[:2])


def test_conditions_matter() -> None:
    g = backbone((6,), conditions={"label": 3})
    x = points(1, 6)
    latents = [g(x, Condition(label=torch.tensor([label]))) for label in range(3)]
    assert g.conditions == {"label": 3}
    assert min(float((latents[i] - latents[j]).abs().max()) for i, j in ((0, 1), (1, 2), (0, 2))) > 1e-2


# --- range ------------------------------------------------------------------------------------------


def test_couplings_that_could_leave_the_range_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"100 couplings with shift_bound = 2 move a number by up to 200; .* 602, beyond 512, .* bits = 14 in float32; lower bits"
    ):
        lattice_backbone((4,), LatticeConfig(dense=DenseConfig(couplings=100, width=4)))
    lattice_backbone((4,), LatticeConfig(dense=DenseConfig(couplings=100, width=4), bits=13))
    lattice_backbone((4,), LatticeConfig(dense=DenseConfig(couplings=100, width=4), precision="float64"))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_largest_numbers_that_may_enter_keep_their_bits(sign: float) -> None:
    g = backbone((8,), dense={"couplings": 32, "width": 16})
    # All shifts at their bound, in the direction that leads out.
    for coupling in (each for each in g if isinstance(each, LatticeCoupling)):
        coupling.conditioner.network.last.bias.fill_(sign * 1e6)  # type: ignore[union-attr]
    bound = 512.0 - 1.0 - 64.0
    x = torch.full((1, 8), sign * bound)
    z = g(x)
    assert torch.equal(z, x + sign * 32.0)
    assert same_bits(g.inverse(x), x - sign * 32.0)
    with pytest.raises(LatticeError, match=r"values of the data .*beyond the range of 447"):
        g(x + sign * 2.0**-14)
    with pytest.raises(LatticeError, match=r"values of the latent .*beyond the range of 447"):
        g.inverse(x + sign * 2.0**-14)


def test_no_number_moves_further_than_the_shifts_allow() -> None:
    g = backbone((6,), gain=10.0, shift_bound=0.25, dense={"couplings": 6, "width": 12})
    g = Chain(*(each for each in g if not isinstance(each, Permutation)))
    x = points(50, 6, bits=4) * 50
    assert 0.25 < float((g(x) - x).abs().max()) <= 6 * 0.25


class CountLooks(TorchDispatchMode):
    """Counts the reads of a tensor's value, each of which would wait for an accelerator."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.looks += func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default)
        return func(*args, **(kwargs or {}))


def test_one_look_at_what_enters_and_one_at_what_leaves() -> None:
    g, x = backbone((1, 4, 4), arithmetic="exact"), images(2, 1, 4, 4)
    z = g(x)
    for function, tensor in ((g.forward, x), (g.inverse, z)):
        with CountLooks() as counter:
            function(tensor)
        assert counter.looks == 2


@pytest.mark.parametrize("position", [3, -2])
@pytest.mark.parametrize("arithmetic", ["float", "bfloat16", "exact"])
def test_diverged_weights_are_named_in_both_directions(arithmetic: str, position: int) -> None:
    g, x = backbone((1, 4, 4), arithmetic=arithmetic), images(2, 1, 4, 4)
    z, network = g(x), g[position].conditioner.network  # type: ignore[union-attr]
    network.last.weight[0] = torch.nan
    with pytest.raises(LatticeError, match=r"\d+ of 32 values of the latent that the network gives are not finite.*conditioner gave NaN.*lower the learning"):
        g(x)
    with pytest.raises(LatticeError, match=r"\d+ of 32 values of the data that the inverse gives are not finite.*conditioner gave NaN"):
        g.inverse(z)


def test_infinite_shifts_are_clamped_and_keep_their_bits() -> None:
    g, x = backbone((6,)), points(4, 6)
    before = g(x)
    for sign, coupling in zip((1, -1), (each for each in g if isinstance(each, LatticeCoupling)), strict=False):
        coupling.conditioner.network.last.bias.fill_(sign * torch.inf)  # type: ignore[union-attr]
    z = g(x)
    assert not torch.equal(z, before)
    assert same_bits(g.inverse(z), x)


# --- off the grid -------------------------------------------------------------------------------------


def test_what_is_off_the_grid_is_rounded_once() -> None:
    g = backbone((2, 3))
    x, z = torch.randn(20, 2, 3), torch.randn(20, 6)
    once = g.inverse(g(x))
    assert 0 < float((once - x).abs().max()) <= 2.0**-15
    assert same_bits(g.inverse(g(once)), once)
    again = g(g.inverse(z))
    assert 0 < float((again - z).abs().max()) <= 2.0**-15
    assert same_bits(g(g.inverse(again)), again)


def test_what_is_off_the_grid_is_refused_on_request() -> None:
    g = backbone((1, 4, 4), off_grid="error")
    x = images(2, 1, 4, 4)
    assert same_bits(g.inverse(g(x)), x)
    with pytest.raises(LatticeError, match="the data"):
        g(x + 1e-3)
    with pytest.raises(LatticeError, match="the latent"):
        g.inverse(g(x) + 1e-3)


def test_half_precision_data_are_refused() -> None:
    g = backbone((4,))
    for dtype in (torch.bfloat16, torch.float16):
        with pytest.raises(LatticeError, match="the data is torch"):
            g.to(dtype)(torch.zeros(1, 4, dtype=dtype))


# --- training --------------------------------------------------------------------------------------------


def additive_twin(g: Chain) -> Chain:
    """The same network without rounding, on the lattice's own coordinates."""
    bricks = list(g)[1:-1]
    return Chain(
        *(
            AdditiveCoupling(brick.in_shape, brick.conditioner.network, flip=brick.flip) if isinstance(brick, LatticeCoupling) else brick  # type: ignore[arg-type]
            for brick in bricks
        )
    )


def test_gradients_through_both_directions_are_close_to_those_of_the_additive_network() -> None:
    g = backbone((1, 4, 6), bits=16, scale=0.5, gain=0.4).requires_grad_(True)
    twin = additive_twin(g)
    entry = g[0]
    parameters = [parameter for parameter in g.parameters() if parameter.requires_grad]

    def loss(network: Chain, x: Tensor) -> Tensor:
        z = network(x)
        decoded = network.inverse(torch.cat([z[:, :6] + 0.01, torch.zeros_like(z[:, 6:])], 1))
        return (decoded - x).square().sum() + z[:, 6:].square().sum() / 10

    x = images(4, 1, 4, 6).double().requires_grad_()
    g.double()
    ours = torch.autograd.grad(loss(Chain(*list(g)[1:]), entry(x)), [x, *parameters])
    theirs = torch.autograd.grad(loss(twin, entry(x)), [x, *parameters])
    for found, expected in zip(ours, theirs, strict=True):
        assert expected.any()
        assert float(functional.cosine_similarity(found.flatten(), expected.flatten(), 0)) > 0.999


def test_it_learns_through_its_inverse() -> None:
    torch.manual_seed(0)
    g = lattice_backbone((8,), LatticeConfig(dense=DenseConfig(couplings=6, width=32), bits=10))
    basis = torch.linalg.qr(torch.randn(8, 3))[0]
    optimizer = torch.optim.Adam(g.parameters(), 3e-3)
    losses = []
    for _ in range(150):
        x = torch.randn(64, 3) @ basis.T
        z = g(x)
        decoded = g.inverse(torch.cat([z[:, :3], torch.zeros(64, 5)], 1))
        loss = functional.mse_loss(decoded, x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.25 * losses[0]


def test_rebuilt_activations_give_the_very_gradients_of_stored_ones() -> None:
    g, x = backbone((1, 4, 6), gain=0.7).requires_grad_(True), torch.rand(4, 1, 4, 6)

    def gradients() -> tuple[Tensor, ...]:
        z = g(x)
        decoded = g.inverse(torch.cat([z[:, :8] + 0.1, torch.zeros_like(z[:, 8:])], 1))
        return torch.autograd.grad((decoded - x).square().sum(), list(g.parameters()))

    stored = gradients()
    set_reversible(g, Reversible())
    for rebuilt, expected in zip(gradients(), stored, strict=True):
        assert expected.any()
        assert same_bits(rebuilt, expected)


def test_it_compiles_without_graph_breaks() -> None:
    g = backbone((1, 4, 4), arithmetic="exact", levels=({"couplings": 1, "width": 4},), dense={"couplings": 1, "width": 8})
    x = images(2, 1, 4, 4)
    torch.compiler.reset()
    compiled = torch.compile(lambda v: g.inverse(g(v)), backend="eager", fullgraph=True)
    assert same_bits(compiled(x), x)


# --- registration ---------------------------------------------------------------------------------------


def test_it_is_registered() -> None:
    g = create_backbone("lattice", (5,), dense={"couplings": 2, "width": 8}, arithmetic="bfloat16")
    assert kinds(g) == ["GridEntry", *PAIR, "LatticeExit"]  # type: ignore[arg-type]
    (spec,) = linearizer_backbones()
    spec.check()
    assert "same batch" in spec.details
    assert "any batch" in spec.details


def test_options_are_checked() -> None:
    for wrong in ({"bits": 0}, {"shift_bound": 0.0}, {"input": "bytes"}, {"arithmetic": "int8"}, {"exact": {"bits": 3}}, {"mixing": "fixed"}):
        with pytest.raises(ValidationError):
            LatticeConfig.model_validate(wrong)
    with pytest.raises(ConfigError, match="allows at most 2"):
        lattice_backbone((1, 28, 28), LatticeConfig(levels=(LevelConfig(),) * 3))


def test_configuration_and_hooks_import_no_torch() -> None:
    code = "import sys, linearizer_lattice.hooks, linearizer_lattice.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
