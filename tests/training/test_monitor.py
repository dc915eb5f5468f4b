"""The monitor tells what is lost, names the layer, and leaves no trace in training."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import LikelihoodStage, TinyTask, UnitCore, run_tiny, stage_config, tiny_model, tiny_splits, two_stages
from torch import Tensor

from linearizer_core.bijections import (
    ActNorm,
    AffineCoupling,
    Bijection,
    Chain,
    ContractiveResidual,
    FixedAffine,
    FixedOrthogonal,
    Identity,
    MLPConditioner,
    TractableBijection,
)
from linearizer_core.condition import Condition
from linearizer_core.config import MonitorConfig
from linearizer_core.data import DataInfo, Splits, TensorTable
from linearizer_core.errors import ConvergenceError, InvertibilityWarning, LatticeError
from linearizer_core.model import LinearizerModel
from linearizer_core.testing.perturb import perturb
from linearizer_core.training import read_metrics
from linearizer_core.training.monitor import measure_invertibility
from linearizer_core.training.run import FREE_KEYS

NAMES = {"monitor_round_trip", "monitor_round_trip_off_data", "monitor_gain", "monitor_gain_inverse", "monitor_collisions"}


def measure(model: LinearizerModel, splits: Splits | None = None, **config: Any) -> dict[str, float | None]:
    return measure_invertibility(model, splits or tiny_splits(), MonitorConfig(**config), step=70, seed=0, device=torch.device("cpu"))


def model_of(*layers: Bijection, gx: Bijection | None = None) -> LinearizerModel:
    chain = Chain(*layers)
    return LinearizerModel(chain if gx is None else gx, UnitCore((2, 2)), chain)


def affine(*scale: float) -> FixedAffine:
    return FixedAffine((2,), shift=0.0, scale=scale)


class Faulty(TractableBijection):
    """The identity, with a fault in its inverse."""

    def __init__(self, fault: Any) -> None:
        super().__init__((2,))
        self.fault = fault

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        return x, x.new_zeros(len(x))

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        return self.fault(z), z.new_zeros(len(z))


def same_bits(first: LinearizerModel, second: LinearizerModel) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_scalars_stand_beside_the_loss(tmp_path: Path) -> None:
    run_tiny(tmp_path, two_stages(), log_every=4, monitor={"every": 5, "examples": 8})
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines] == [4, 5, 6, 8, 10, 12]
    assert [line.keys() >= NAMES for line in lines] == [False, True, False, False, True, False]
    watched = lines[1]
    assert watched["loss"] is not None
    assert 0 < watched["monitor_round_trip_off_data"] < 1e-5  # type: ignore[operator]
    assert 1 < watched["monitor_gain"] < 100  # type: ignore[operator]
    assert watched["monitor_collisions"] == 0


def test_training_is_the_same_with_and_without(tmp_path: Path) -> None:
    plain, _ = run_tiny(tmp_path / "plain", two_stages())
    watched, _ = run_tiny(tmp_path / "watched", two_stages(), monitor={"every": 2})
    assert same_bits(plain, watched)
    assert "monitor" in FREE_KEYS


def test_resume_gives_the_same_numbers(tmp_path: Path) -> None:
    run_tiny(tmp_path / "whole", two_stages(), monitor={"every": 4})
    run_tiny(tmp_path / "parts", two_stages(), monitor={"every": 4}, checkpoint_every=3, keep_checkpoints=99)
    for folder in ("000006", "000009", "000012"):
        for file in (tmp_path / "parts" / "checkpoints" / folder).iterdir():
            file.unlink()
        (tmp_path / "parts" / "checkpoints" / folder).rmdir()
    (tmp_path / "parts" / "checkpoints" / "last").write_text("000003")
    run_tiny(tmp_path / "parts", two_stages(), monitor={"every": 4})
    assert (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()[1:] == (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()[1:]


def test_nothing_of_the_model_changes() -> None:
    model = tiny_model()
    model.train()
    model.gx(tiny_splits().train[0]["x"].expand(8, 2) + torch.randn(8, 2))
    next(iter(model.gx.children())).eval()
    modes = [module.training for module in model.modules()]
    state, weights = torch.get_rng_state(), {name: tensor.clone() for name, tensor in model.state_dict().items()}
    measure(model, examples=8)
    assert [module.training for module in model.modules()] == modes
    assert len(set(modes)) == 2
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_random_layers_leave_the_random_state_alone() -> None:
    state = torch.get_rng_state()
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        measure(model_of(Faulty(lambda z: z + torch.randn_like(z))), examples=4)
    assert torch.equal(state, torch.get_rng_state())


def test_a_lost_round_trip_names_the_layer_and_the_numbers() -> None:
    model = model_of(FixedOrthogonal((2,), seed=0), Chain(Identity((2,)), Faulty(lambda z: z + 0.5)))
    with pytest.warns(InvertibilityWarning) as caught:
        values = measure(model)
    assert len(caught) == 1
    text = str(caught[0].message)
    assert text.startswith("step 70: gy: round trip on ")
    assert "tolerance 1.0e-03; worst layer: gy.bijections[1].bijections[1] Faulty((2,) -> (2,)) (round-trip error 5.0e-01, gain 1.0e+00" in text
    x = torch.stack([item["x"] for item in tiny_splits().validation][:32])  # type: ignore[attr-defined]
    back = 0.5 * FixedOrthogonal((2,), seed=0).inverse(torch.ones(1, 2)).abs().max()
    assert values["monitor_round_trip"] == pytest.approx(float(back / x.abs().max()), rel=1e-3)


def test_what_explodes_off_the_data_alone_is_found() -> None:
    model = model_of(Faulty(lambda z: torch.where(z < 1.2, z + 0.2, z)))  # the data lie above
    splits = Splits(DataInfo(name="far", shape=(2,)), *[TensorTable(x=torch.linspace(1.2, 3.7, 64).reshape(32, 2))] * 3)
    with pytest.warns(InvertibilityWarning, match="inputs far off the data"):
        values = measure(model, splits)
    assert values["monitor_round_trip"] == 0
    assert values["monitor_round_trip_off_data"] > 0.01  # type: ignore[operator]


@pytest.mark.parametrize(("scale", "direction"), [((1.0, 2e4), "forward"), ((1.0, 1 / 1.2e5), "of the inverse")])
def test_a_large_gain_names_the_layer(scale: tuple[float, float], direction: str) -> None:
    model = model_of(affine(3.0), affine(*scale), affine(2.0))
    with pytest.warns(InvertibilityWarning, match=rf"gain {direction} is (1.2e\+05|2.0e\+04), limit 1.0e\+03; worst layer: gy.bijections\[1\]") as caught:
        measure(model, tolerance=1.0)
    assert len(caught) == 1


def test_collisions_name_the_layer() -> None:
    model = model_of(Identity((2,)), FixedAffine((2,), shift=1e9, scale=1.0))
    with pytest.warns(InvertibilityWarning, match=r"\d+ pairs of distinct inputs share a latent, expected none; worst layer: gy.bijections\[1\]"):
        values = measure(model, tolerance=1e9)
    assert values["monitor_collisions"] > 0  # type: ignore[operator]


def test_within_limits_there_is_no_warning() -> None:
    assert measure(model_of(FixedOrthogonal((2,), seed=0), affine(2.0, 3.0)), gain_limit=4.0).keys() == NAMES


def test_of_two_bijections_the_worse_one_counts() -> None:
    good, bad = Chain(Identity((2,))), Chain(Faulty(lambda z: 2 * z))
    with pytest.warns(InvertibilityWarning, match="step 70: gx: round trip"):
        measure(LinearizerModel(bad, UnitCore((2, 2)), good))
    with pytest.warns(InvertibilityWarning, match="step 70: gy: round trip"):
        measure(LinearizerModel(good, UnitCore((2, 2)), bad))


def test_numbers_that_json_lacks_become_none() -> None:
    with pytest.warns(InvertibilityWarning) as caught:
        values = measure(model_of(Faulty(lambda z: z * math.nan)))
    assert [kind in str(each.message) for each, kind in zip(caught, ("off by inf", "gain of the inverse is inf"), strict=True)] == [True, True]
    assert values["monitor_round_trip"] is None
    assert values["monitor_gain_inverse"] is None


def raising(error: Exception) -> Faulty:
    def fail(z: Tensor) -> Tensor:
        raise error

    return Faulty(fail)


def warned(model: LinearizerModel, splits: Splits | None = None, **config: Any) -> tuple[dict[str, float | None], list[str]]:
    with pytest.warns(InvertibilityWarning) as caught:
        values = measure(model, splits, **config)
    return values, [str(each.message).partition(": ")[2] for each in caught]


@pytest.mark.parametrize("error", [ConvergenceError("no fixed point; raise it"), LatticeError("off the lattice"), torch.linalg.LinAlgError("singular")])
def test_an_inverse_that_refuses_is_infinitely_wrong_and_the_rest_is_measured(error: Exception) -> None:
    values, (trip, steep) = warned(model_of(affine(2.0, 1.0), raising(error)))
    assert values == {
        "monitor_round_trip": None,
        "monitor_round_trip_off_data": None,
        "monitor_gain": pytest.approx(2.0, rel=1e-3),
        "monitor_gain_inverse": None,
        "monitor_collisions": 0,
    }
    reason = f"({type(error).__name__}: {error})"
    layer = "worst layer: gy.bijections[1] Faulty((2,) -> (2,)) (round-trip error inf, gain 1.0e+00 forward and nan inverse)"
    assert trip.startswith(f"gy: round trip on the data is off by inf of their size, tolerance 1.0e-03 {reason}; {layer}. Bound its scale")
    assert steep.startswith(f"gy: gain of the inverse is inf, limit 1.0e+03 {reason}; {layer}")


def test_an_iteration_that_does_not_converge_is_named() -> None:
    torch.manual_seed(0)
    blocks = [ContractiveResidual((2,), MLPConditioner(2, 2, width=4, lipschitz=0.9), contraction=0.9, max_iterations=count) for count in (200, 2)]
    for block in blocks:
        perturb(block)
    values, (trip, _) = warned(model_of(*blocks))
    assert "ConvergenceError: ContractiveResidual(2,): no fixed point after 2 iterations" in trip
    assert "worst layer: gy.bijections[1] ContractiveResidual" in trip
    assert values.keys() == NAMES
    assert values["monitor_gain"] is not None


def test_what_refuses_before_its_layers_is_measured_as_far_as_it_goes() -> None:
    class Gate(Chain):
        def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
            raise LatticeError("off the lattice")

    chain = Gate(Identity((2,)))
    values, (trip, steep, missing) = warned(LinearizerModel(chain, UnitCore((2, 2)), chain))
    assert values == {"monitor_round_trip": None, "monitor_round_trip_off_data": None, "monitor_gain_inverse": None}
    assert "off by inf" in trip
    assert "(LatticeError: off the lattice); worst layer: not found, LatticeError: off the lattice. Bound" in trip
    assert "gain of the inverse is inf" in steep
    assert missing.startswith("not measured: gy gain, gy collisions (LatticeError: off the lattice). Training goes on")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no memory left\nand many numbers"), ZeroDivisionError("no memory left")])
def test_what_cannot_be_measured_is_left_out_and_named(error: Exception) -> None:
    values, (missing,) = warned(model_of(affine(2.0, 1.0), raising(error)))
    assert values == {"monitor_gain": pytest.approx(2.0, rel=1e-3), "monitor_collisions": 0}
    names = "gy round_trip, gy round_trip_off_data, gy gain_inverse"
    assert missing == f"not measured: {names} ({type(error).__name__}: no memory left). Training goes on without; fewer monitor.examples need less memory"


def test_of_two_bijections_one_that_cannot_be_measured_leaves_the_other() -> None:
    values, (missing,) = warned(model_of(affine(1.0, 3.0), gx=ActNorm((2,))))
    assert values.keys() == NAMES
    assert values["monitor_gain"] == pytest.approx(3.0, rel=1e-3)
    listed = ", ".join(f"gx {name.removeprefix('monitor_')}" for name in ("round_trip", "round_trip_off_data", "gain", "gain_inverse", "collisions"))
    assert missing.startswith(f"not measured: {listed} (NotInitializedError: ActNorm(2,): not initialised yet")
    values, (trip, missing) = warned(model_of(Faulty(lambda z: 2 * z), gx=raising(RuntimeError("no memory left"))))
    assert values["monitor_round_trip"] == 1.0
    assert trip.startswith("gy: round trip on the data is off by 1.0e+00")
    assert missing.startswith("not measured: gx round_trip, gx round_trip_off_data, gx gain_inverse (RuntimeError: no memory left)")


def test_a_layer_that_cannot_be_searched_for_does_not_stop_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> Any:
        raise torch.OutOfMemoryError("no memory left")

    monkeypatch.setattr("linearizer_core.training.monitor.worst_layer", fail)
    values, (trip,) = warned(model_of(Faulty(lambda z: 2 * z)))
    assert values["monitor_round_trip"] == 1.0
    assert "worst layer: not found, OutOfMemoryError: no memory left. Bound" in trip


def test_data_that_cannot_be_read_do_not_stop_training() -> None:
    class Gone(TensorTable):
        def __getitems__(self, index: list[int]) -> Any:
            raise OSError("disk unplugged")

    splits = Splits(DataInfo(name="gone", shape=(2,)), *[Gone(x=torch.rand(4, 2))] * 3)
    values, (missing,) = warned(model_of(Identity((2,))), splits)
    assert values == {}
    assert missing.startswith("not measured: anything (OSError: disk unplugged). Training goes on")


def test_training_goes_on_after_a_warning(tmp_path: Path) -> None:
    with pytest.warns(InvertibilityWarning, match="gain"):
        run_tiny(tmp_path, TinyTask(LikelihoodStage("one", stage_config())), monitor={"every": 3, "gain_limit": 1e-6})
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 6


def test_under_autocast_round_trips_are_lowered_and_gains_are_not() -> None:
    torch.manual_seed(0)
    model = model_of(AffineCoupling((2,), MLPConditioner(1, 2, width=16)), Faulty(lambda z: z + 0.5 * torch.is_autocast_enabled("cpu")))
    perturb(model)
    plain = measure(model)
    with torch.autocast("cpu", torch.bfloat16):
        lowered = measure(model, tolerance=1.0)
    assert (lowered["monitor_gain"], lowered["monitor_gain_inverse"]) == (plain["monitor_gain"], plain["monitor_gain_inverse"])
    assert plain["monitor_round_trip"] < 1e-6 < 0.1 < lowered["monitor_round_trip"]  # type: ignore[operator]


def test_an_inverse_without_gradient_has_no_gain_to_log() -> None:
    layer = Faulty(lambda z: z)
    layer.inverse_grad = "none"
    assert measure(model_of(layer)).keys() == NAMES - {"monitor_gain_inverse"}


def test_labels_of_the_data_are_used_and_other_categories_take_turns() -> None:
    seen: dict[str, list[int]] = {}

    class Conditional(TractableBijection):
        def __init__(self) -> None:
            super().__init__((2,), conditions={"label": 10, "cluster": 3})

        def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
            assert condition is not None
            seen.update({name: values.tolist() for name, values in condition.items() if len(values) == 5})
            return x, x.new_zeros(len(x))

        def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
            return z, z.new_zeros(len(z))

    table = TensorTable(x=torch.rand(5, 2), label=torch.tensor([7, 7, 1, 0, 9]))
    measure(model_of(Conditional()), Splits(DataInfo(name="five", shape=(2,), classes=10), table, table, table))
    assert seen == {"label": [7, 7, 1, 0, 9], "cluster": [0, 1, 2, 0, 1]}


def test_a_domain_of_another_shape_is_fed_with_noise() -> None:
    from linearizer_core.bijections import Flatten

    model = LinearizerModel(Identity((2,)), UnitCore((2, 2)), Flatten((1, 1, 2)))
    table = TensorTable(x=torch.rand(6, 1, 1, 2))
    assert measure(model, Splits(DataInfo(name="pixels", shape=(1, 1, 2)), table, table, table)).keys() == NAMES
