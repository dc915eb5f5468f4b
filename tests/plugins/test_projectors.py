"""Projectors of every kind: idempotent, of the rank that was asked for, and learnable."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from linearizer_core import create_core
from linearizer_core.cores import CoreOperator
from linearizer_core.errors import ConfigError, ShapeMismatchError
from linearizer_core.operators import Diagonal, LowRank, Mask, RotatedDiagonal

DIM = 24
KINDS = {
    "leading": {"rank": 5},
    "learned": {"logit_mean": 0.0},
    "top_k": {"form": "top_k", "rank": 5},
    "rotated": {"form": "rotated", "rank": 5, "reflections": 4},
    "rotated_learned": {"form": "rotated", "logit_mean": 0.0},
    "oblique": {"form": "oblique", "rank": 5},
}
BITWISE = ("leading", "learned", "top_k", "oblique")


def make(kind: str, seed: int = 0, dtype: torch.dtype = torch.float64) -> CoreOperator:
    torch.manual_seed(seed)
    core = create_core("projector", (DIM, DIM), **KINDS[kind])
    return core.to(dtype)


def moved(kind: str, seed: int, dtype: torch.dtype = torch.float64) -> CoreOperator:
    core = make(kind, seed, dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter))
    return core


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 1000), training=st.booleans())
def test_applied_twice_it_changes_nothing(kind: str, seed: int, training: bool) -> None:
    a = moved(kind, seed).train(training).operator()
    z = torch.randn(3, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    once = a(z)
    assert (a(once) - once).abs().max() <= (0 if kind in BITWISE else 1e-13)
    assert torch.allclose((a @ a).to_dense(), a.to_dense(), atol=1e-13, rtol=0)
    assert a.rank() == round(a.trace().item())
    if "rank" in KINDS[kind]:
        assert a.rank() == 5


@pytest.mark.parametrize("kind", BITWISE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_same_bits_in_low_precision(kind: str, dtype: torch.dtype) -> None:
    a = moved(kind, 3, dtype).eval().operator()
    once = a(100 * torch.randn(7, DIM, generator=torch.Generator().manual_seed(1)).to(dtype))
    assert torch.equal(a(once), once)


def test_only_the_oblique_one_is_not_orthogonal() -> None:
    for kind in KINDS:
        a = moved(kind, 0).eval().operator()
        symmetric = torch.allclose(a.T.to_dense(), a.to_dense(), atol=1e-13)
        assert symmetric == (kind != "oblique")
        assert (a.norm() > 1 + 1e-6) == (kind == "oblique")


def test_the_first_coordinates() -> None:
    core = make("leading")
    for mode in (True, False):
        operator = core.train(mode).operator()
        assert isinstance(operator, Mask)
        assert operator.mask.tolist() == [True] * 5 + [False] * (DIM - 5)
        assert operator.dtype == torch.float64
    assert not list(core.parameters())
    assert core.load_state_dict(core.state_dict()).missing_keys == []


def test_a_learned_mask_rounds_and_passes_the_gradient_straight_through() -> None:
    core = make("learned")
    training, evaluation = core.train().operator(), core.eval().operator()
    assert isinstance(training, Diagonal)
    assert isinstance(evaluation, Mask)
    logits = core.selection.logits
    assert torch.equal(training.values, evaluation.to_dense().diagonal())
    assert torch.equal(training.values, logits.sigmoid().round())
    assert 0 < evaluation.rank() < DIM
    (gradient,) = torch.autograd.grad(training.trace(), core.selection.scaled_logits)
    soft = logits.sigmoid()
    assert torch.allclose(gradient, 10 * soft * (1 - soft))


def test_the_largest_logits_are_kept_and_trade_places() -> None:
    core = make("top_k").train()
    with torch.no_grad():
        core.selection.scaled_logits.copy_(torch.arange(DIM) / 100)
    operator = core.operator()
    assert isinstance(operator, Diagonal)
    assert operator.values.nonzero()[:, 0].tolist() == list(range(DIM - 5, DIM))
    target = torch.zeros(DIM, dtype=torch.float64)
    target[:5] = 1
    optimizer = torch.optim.Adam(core.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        (core.operator().values - target).square().sum().backward()
        optimizer.step()
    assert core.eval().operator().mask.nonzero()[:, 0].tolist() == list(range(5))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_equal_and_neighbouring_logits_do_not_change_the_rank(dtype: torch.dtype) -> None:
    core = create_core("projector", (6, 6), form="top_k", rank=2, logit_std=0.0).to(dtype).eval()
    assert core.operator().mask.nonzero()[:, 0].tolist() == [0, 1]
    with torch.no_grad():
        core.selection.scaled_logits.copy_(torch.tensor([1.0, 1.0, 0.5, 0.0, 0.0, 0.0]))
        core.selection.scaled_logits[1] *= 1 - torch.finfo(dtype).eps  # nothing lies between the second and the first
        core.selection.scaled_logits[2] = core.selection.scaled_logits[1] * (1 - torch.finfo(dtype).eps)
    assert core.operator().mask.nonzero()[:, 0].tolist() == [0, 1]
    assert create_core("projector", (6, 6), form="top_k", rank=6, logit_std=0.0).eval().operator().rank() == 6


def test_reflections_learn_a_direction() -> None:
    direction = torch.nn.functional.normalize(torch.randn(DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(5)), dim=0)
    torch.manual_seed(0)
    core = create_core("projector", (DIM, DIM), form="rotated", rank=1, reflections=1).double()
    optimizer = torch.optim.Adam(core.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        (core.operator()(direction) - direction).square().sum().backward()
        optimizer.step()
    operator = core.operator()
    assert isinstance(operator, RotatedDiagonal)
    assert (operator(direction) - direction).norm() < 1e-3


def test_the_oblique_one_adds_what_is_dropped() -> None:
    core = make("oblique")
    assert isinstance(core.operator(), LowRank)
    with torch.no_grad():
        core.mixing[0, 0] = 2.0
    z = torch.zeros(DIM, dtype=torch.float64)
    z[5] = 3.0
    assert core.operator()(z).tolist() == [6.0] + [0.0] * (DIM - 1)


def test_where_logits_start() -> None:
    torch.manual_seed(0)
    core = create_core("projector", (4000, 4000), logit_mean=3.0, logit_std=0.0)
    assert core.selection.logits.min().item() == pytest.approx(3.0)
    assert create_core("projector", (4000, 4000)).eval().operator().rank() < 400


def test_what_is_refused() -> None:
    with pytest.raises(ConfigError, match="form = 'oblique' needs a rank"):
        create_core("projector", (4, 4), form="oblique")
    for shape in ((3, 4), (3, 3)):
        with pytest.raises(ShapeMismatchError):
            create_core("projector", shape, rank=4)
