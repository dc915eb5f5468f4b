"""Round trips and log-determinants of networks whose errors are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from linearizer_core.bijections import Bijection, Chain, FixedAffine, Permutation, TractableBijection
from linearizer_core.condition import Condition
from linearizer_core.errors import LogDetUnavailableError, SurjectivityError
from linearizer_core.factory import create_backbone
from linearizer_core.invertibility import latent_round_trip, logdet_error, round_trip


class Off(TractableBijection):
    """The identity, whose inverse is wrong by given amounts per example, and whose log-determinant by 3 on the way there and ``back`` on the way back."""

    def __init__(self, *errors: float, back: float = 0.0) -> None:
        super().__init__((2,))
        self.errors = torch.tensor(errors).unsqueeze(1) * torch.tensor([0.5, -1.0])
        self.back = back

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        return x, x.new_full((len(x),), 3.0)

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        return z + self.errors.to(z), z.new_full((len(z),), self.back)


class Padded(Bijection):
    """One coordinate into two."""

    surjective = False

    def __init__(self) -> None:
        super().__init__((1,), (2,))

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        return torch.cat([x, torch.zeros_like(x)], 1)

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        return z[:, :1]


def labelled() -> tuple[Bijection, Tensor, Condition]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        g = create_backbone("coupling", (1, 4, 4), conditions={"label": 3}, class_scale=True, dense={"couplings": 2, "width": 8}).double()
        with torch.no_grad():
            for parameter in g.parameters():
                parameter += 0.2 * torch.randn_like(parameter)
        return g, torch.rand(6, 1, 4, 4).double(), Condition(label=torch.arange(6) % 3)


def test_errors_are_those_of_the_examples() -> None:
    x = torch.zeros(4, 2)
    x[1, 0] = -8.0
    error = round_trip(Off(0.25, 0.5, 4.0, 2.0), x)
    assert (error.maximum, error.median, error.percentile_99, error.nonfinite, error.scale, error.examples) == (4.0, 0.5, 4.0, 0, 8.0, 4)
    assert not error.exact
    relative = error.relative
    assert (relative.maximum, relative.median, relative.percentile_99, relative.scale, relative.examples) == (0.5, 0.0625, 0.5, 1.0, 4)


def test_the_percentile_leaves_out_one_example_in_a_hundred() -> None:
    error = round_trip(Off(*range(200)), torch.zeros(200, 2))
    assert (error.median, error.percentile_99, error.maximum) == (99.0, 197.0, 199.0)


def test_examples_that_do_not_come_back_are_infinitely_wrong() -> None:
    error = round_trip(Off(0.0, math.nan, 1.0, math.inf), torch.zeros(4, 2))
    assert (error.median, error.maximum, error.nonfinite) == (1.0, math.inf, 2)


def test_exact_means_every_number() -> None:
    assert round_trip(Permutation((2,), seed=1), torch.randn(3, 2)).exact
    assert round_trip(Permutation((2,), seed=1), torch.zeros(3, 2)).relative.exact
    assert not round_trip(Off(0.0, 1e-30), torch.zeros(2, 2)).exact


def test_the_two_directions_are_two() -> None:
    # One rounding in the latent of size 1e6 is one of 1e-1; on the way from latent to latent it meets numbers of size 1.
    g = FixedAffine((2,), shift=1e6, scale=1.0)
    assert round_trip(g, torch.rand(50, 2)).maximum > 1e-2
    assert latent_round_trip(g, 1e6 + torch.arange(8.0).reshape(4, 2)).exact


def test_conditions_are_passed_on() -> None:
    g, x, condition = labelled()
    assert round_trip(g, x, condition).maximum < 1e-12
    assert latent_round_trip(g, torch.randn(6, 16).double(), condition).maximum < 1e-10
    error = logdet_error(g, x, condition)
    assert error.maximum < 1e-10
    assert error.against_autograd


def test_a_left_inverse_has_no_latent_round_trip() -> None:
    assert round_trip(Padded(), torch.rand(3, 1)).exact
    with pytest.raises(SurjectivityError, match="Padded does not reach every latent"):
        latent_round_trip(Padded(), torch.rand(3, 2))


def test_a_wrong_log_determinant_is_found() -> None:
    x = torch.rand(5, 2)
    assert logdet_error(Off(*[0.0] * 5), x).maximum == pytest.approx(3.0)
    assert logdet_error(Off(*[0.0] * 5), x).median == pytest.approx(3.0)


def test_without_the_jacobian_both_directions_are_compared() -> None:
    x = torch.rand(5, 2)
    error = logdet_error(Off(*[0.0] * 5, back=-1.0), x, autograd_up_to=1)
    assert (error.maximum, error.against_autograd) == (2.0, False)
    # The same mistake on both ways cancels, as the documentation says.
    assert logdet_error(Off(*[0.0] * 5, back=-3.0), x, autograd_up_to=1).maximum == 0


def test_no_log_determinant_no_error() -> None:
    with pytest.raises(LogDetUnavailableError):
        logdet_error(Padded(), torch.rand(2, 1))


def test_nothing_is_changed() -> None:
    g, x, condition = labelled()
    g.eval()
    state, before = torch.get_rng_state(), x.clone()
    round_trip(g, x, condition)
    logdet_error(Chain(g), x, condition)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(x, before)
    assert all(parameter.grad is None for parameter in g.parameters())
