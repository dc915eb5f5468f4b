"""The layer that loses the inverse is found, wherever it sits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from linearizer_core.bijections import (
    AdditiveCoupling,
    Bijection,
    Chain,
    FixedAffine,
    FixedOrthogonal,
    Identity,
    Inverse,
    MLPConditioner,
    Permutation,
    SplitMerge,
    TractableBijection,
)
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError, ConvergenceError, LatticeError
from linearizer_core.factory import create_backbone
from linearizer_core.invertibility import measure_layers, worst_layer


class Wrong(TractableBijection):
    """Its inverse is off by 0.1, its gain 1."""

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        return x, x.new_zeros(len(x))

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        return z + 0.1, z.new_zeros(len(z))


class Composite(TractableBijection):
    """Calls the methods with log-determinants, which hooks do not see."""

    def __init__(self, body: Bijection, tail: Bijection) -> None:
        super().__init__(body.in_shape)
        self.body = body
        self.tail = tail

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        z, first = self.body.forward_and_logdet(x, condition)
        z, second = self.tail.inverse_and_logdet(z, condition)
        return z, first + second

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        x, second = self.tail.forward_and_logdet(z, condition)
        x, first = self.body.inverse_and_logdet(x, condition)
        return x, first + second


def scale(*values: float) -> FixedAffine:
    return FixedAffine((4,), shift=0.0, scale=values * (4 // len(values)))


def test_layers_come_in_the_order_of_the_data_with_their_paths() -> None:
    g = Composite(
        Chain(FixedOrthogonal((4,), seed=0), Chain(scale(2.0), SplitMerge(Identity((1,)), FixedAffine((3,), shift=0.0, scale=5.0)))),
        Chain(scale(0.5), Inverse(scale(3.0))),
    )
    layers = measure_layers(g, torch.rand(2, 4), name="gy")
    assert [layer.path for layer in layers] == [
        "gy.body.bijections[0]",
        "gy.body.bijections[1].bijections[0]",
        "gy.body.bijections[1].bijections[1].leading",
        "gy.body.bijections[1].bijections[1].trailing",
        "gy.tail.bijections[1].bijection",
        "gy.tail.bijections[0]",
    ]
    assert [round(layer.gain_forward, 3) for layer in layers] == [1.0, 2.0, 1.0, 5.0, 3.0, 0.5]
    assert [round(layer.gain_inverse, 3) for layer in layers] == [1.0, 0.5, 1.0, 0.2, 0.333, 2.0]
    assert layers[1].layer == "FixedAffine((4,) -> (4,))"


def test_layers_are_measured_where_the_data_reach_them() -> None:
    g = Chain(FixedAffine((2,), shift=3.0, scale=1.0), Chain(Identity((2,))), FixedAffine((2,), shift=0.0, scale=2.0), Permutation((2,), seed=0))
    layers = measure_layers(g, torch.tensor([[1.0, 0.0]]))
    assert [layer.round_trip.scale for layer in layers] == [1.0, 4.0, 4.0, 8.0]


def test_a_layer_entered_backwards_is_measured_at_its_data_side() -> None:
    layers = measure_layers(Chain(Inverse(scale(4.0))), torch.ones(1, 4))
    assert (layers[0].round_trip.scale, layers[0].path) == (0.25, "g.bijections[0].bijection")


@pytest.mark.parametrize("position", range(5))
@pytest.mark.parametrize("fault", ["wrong", "contracting", "expanding", "steep"])
def test_one_bad_layer_among_good_ones_is_named(position: int, fault: str) -> None:
    steep = AdditiveCoupling((4,), nn.Linear(2, 2))
    nn.init.constant_(steep.conditioner.weight, 300.0)
    steep.conditioner.forward = lambda x, condition: nn.functional.linear(x, steep.conditioner.weight)  # type: ignore[method-assign]
    bad = {"wrong": Wrong((4,)), "contracting": scale(1.0, 1e-4), "expanding": scale(1.0, 1e4), "steep": steep}[fault]
    layers: list[Bijection] = [FixedOrthogonal((4,), seed=seed) for seed in range(4)]
    layers.insert(position, bad)
    g, x = Chain(*layers), torch.rand(8, 4, generator=torch.Generator().manual_seed(0))
    found = worst_layer(g, x)
    assert found.path == f"g.bijections[{position}]"
    assert type(bad).__name__ in str(found)
    if fault != "wrong":
        assert worst_layer(g, x, by="gain") == found
        assert found.gain > 100


def test_a_bijection_without_members_is_its_own_layer() -> None:
    coupling = AdditiveCoupling((4,), MLPConditioner(2, 2, width=4))
    assert [layer.path for layer in measure_layers(coupling, torch.rand(2, 4), name="gx")] == ["gx"]


def test_a_layer_used_twice_appears_twice() -> None:
    shared = scale(2.0)
    assert [layer.round_trip.scale for layer in measure_layers(Chain(shared, shared), torch.ones(1, 4))] == [1.0, 2.0]


def test_conditions_reach_the_layers_and_nothing_stays_behind() -> None:
    g = create_backbone("coupling", (4,), conditions={"label": 3}, class_scale=True, dense={"couplings": 2, "width": 4})
    x, condition = torch.rand(3, 4), Condition(label=torch.arange(3))
    before = [dict(vars(module)) for module in g.modules()]
    state = torch.get_rng_state()
    assert len(measure_layers(g, x, condition)) > 4
    with pytest.raises(Exception, match="label"):
        measure_layers(g, x)
    assert [vars(module).keys() for module in g.modules()] == [each.keys() for each in before]
    assert torch.equal(state, torch.get_rng_state())


def test_a_change_of_scale_does_no_harm() -> None:
    unit, large = (worst_layer(scale(value), torch.rand(3, 4, generator=torch.Generator().manual_seed(0))).harm for value in (1.0, 2.0**20))
    assert unit == large < 1e-6


def test_layers_that_give_no_numbers_are_the_worst() -> None:
    g = Chain(scale(1.0), scale(1e30), scale(1e30), scale(1.0))
    found = worst_layer(g, torch.ones(1, 4), by="gain")
    assert found.gain >= 1e30
    assert worst_layer(g, torch.ones(1, 4)).harm == torch.inf


# --- layers that refuse ---------------------------------------------------------------------------------


class Refusing(Wrong):
    """The identity, which refuses to go one way, or to go back."""

    def __init__(self, error: Exception, *, back: bool) -> None:
        super().__init__((4,))
        self.error = error
        self.back = back

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        if not self.back:
            raise self.error
        return x, x.new_zeros(len(x))

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        if self.back:
            raise self.error
        return z, z.new_zeros(len(z))


@pytest.mark.parametrize("error", [ConvergenceError("no fixed point"), LatticeError("off it"), torch.linalg.LinAlgError("singular")])
def test_an_inverse_that_refuses_is_infinitely_wrong(error: Exception) -> None:
    g = Chain(scale(2.0), Refusing(error, back=True), scale(1e3))
    found = worst_layer(g, torch.ones(3, 4), name="gy")
    assert str(found) == "gy.bijections[1] Refusing((4,) -> (4,)) (round-trip error inf, gain 1.0e+00 forward and nan inverse)"
    assert (found.round_trip.nonfinite, found.round_trip.scale, found.round_trip.examples, found.harm, found.gain) == (3, 2.0, 3, torch.inf, torch.inf)
    assert [layer.path for layer in measure_layers(g, torch.ones(3, 4))] == [f"g.bijections[{position}]" for position in range(3)]


@pytest.mark.parametrize("backwards", [False, True])
def test_a_layer_that_stops_the_data_is_the_last_one_and_the_worst(backwards: bool) -> None:
    layer = Refusing(ConvergenceError("no fixed point"), back=backwards)
    g = Chain(scale(2.0), Inverse(layer) if backwards else layer, scale(1e3))
    layers = measure_layers(g, torch.ones(3, 4))
    assert [layer.path for layer in layers] == ["g.bijections[0]", "g.bijections[1]" + backwards * ".bijection"]
    assert worst_layer(g, torch.ones(3, 4)).path == layers[1].path
    assert layers[1].harm == layers[1].gain == torch.inf > layers[0].harm
    assert vars(layer).keys() == vars(Refusing(ConvergenceError(), back=True)).keys()


def test_where_the_way_back_refuses_the_data_side_is_unknown() -> None:
    class Narrow(Refusing):
        """Data of (2, 2) or latents of (4,), the latter up to 1."""

        def __init__(self) -> None:
            TractableBijection.__init__(self, (2, 2), (4,))

        def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
            return x.flatten(1) / 10, x.new_zeros(len(x))

        def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
            if bool((z > 1).any()):
                raise ConvergenceError("no fixed point")
            return 10 * z.reshape(-1, 2, 2), z.new_zeros(len(z))

    narrow = Inverse(Narrow())
    assert measure_layers(narrow, torch.ones(3, 4))[0].round_trip.scale == 10
    assert measure_layers(narrow, 2 * torch.ones(3, 4))[0].harm == torch.inf


def test_a_composite_that_refuses_before_its_layers_passes_its_error_on() -> None:
    class Gate(Composite):
        def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
            raise LatticeError("off the lattice")

    with pytest.raises(LatticeError, match="off the lattice"):
        worst_layer(Gate(scale(1.0), scale(1.0)), torch.ones(1, 4))


def test_other_errors_are_passed_on() -> None:
    for error in (RuntimeError("no memory"), BijectionError("misused")):
        for back in (False, True):
            with pytest.raises(type(error), match=str(error)):
                measure_layers(Chain(scale(1.0), Refusing(error, back=back)), torch.ones(1, 4))
