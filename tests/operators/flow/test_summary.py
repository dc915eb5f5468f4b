from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from linearizer_core.operators import Dense, Diagonal, IdentityPlusLowRank, LinearOperator, LowRank, Mask, ScaledIdentity, SharedSubspace
from linearizer_core.operators.flow import FlowSummary, collapse, time_grid, velocity_operator
from tests.operators.zoo import MAKERS, make, normal, seeded


@settings(deadline=None, max_examples=60)
@given(kind=st.sampled_from(sorted(MAKERS)), m=st.integers(1, 6), n=st.integers(1, 6), seed=st.integers(0, 1000))
def test_the_numbers_are_those_of_the_matrix(kind: str, m: int, n: int, seed: int) -> None:
    a = make(kind, m, n, seeded(seed))
    found, values = FlowSummary.of(a), torch.linalg.svdvals(a.to_dense())
    assert found.dim == len(values)
    assert found.norm == pytest.approx(float(values[0]), abs=1e-12)
    assert found.rank == int((values > 1e-6 * values[0]).sum())
    assert found.invertible == (a.rank() == len(values) and float(values[0]) > 0)
    assert found.cond == (pytest.approx(float(values[0] / values[-1]), rel=1e-6) if found.invertible else math.inf)
    assert found.singular_values == pytest.approx(values.tolist(), abs=1e-9)
    assert (found.complement is None) == (kind in ("convolution", "decay_rotation", "dense", "depthwise", "product", "sum"))
    if found.complement and kind not in ("low_rank", "rank_zero"):
        sign = 1 if kind in ("diagonal", "mask") else float(torch.sign(a.tensors()["scale"]))
        rest = a.to_dense().abs() if kind in ("diagonal", "mask") else a.to_dense()
        assert n - int(torch.linalg.matrix_rank(rest - sign * found.scale * torch.eye(n, dtype=torch.float64), atol=1e-9)) == found.complement
    if float(values.norm()) and found.complement is not None:
        assert found.scale is not None
        assert found.residual_noise == pytest.approx(math.sqrt(found.complement) * found.scale / float(values.norm()), abs=1e-12)


@pytest.mark.parametrize("steps", [10, 100])
@pytest.mark.parametrize("kind", ["subspace", "coordinates"])
def test_stopping_early_leaves_one_over_the_steps(steps: int, kind: str) -> None:
    """With D = 784 and 16 kept: 1/T beside the subspace, which is 7% of the latent at T = 100."""
    dim, rank = 784, 16
    u = torch.linalg.qr(normal(seeded(0), dim, rank)).Q
    end: LinearOperator = SharedSubspace(0.0, u, torch.eye(rank, dtype=torch.float64), u) if kind == "subspace" else Mask(torch.arange(dim) < rank)
    early = FlowSummary.of(collapse(lambda t: velocity_operator(end.to(torch.float64), t), time_grid(steps), "euler"))
    assert early.scale == pytest.approx(1 / steps, rel=1e-12)
    assert (early.complement, early.rank, early.invertible) == (dim - rank, dim, True)
    assert early.cond == pytest.approx(steps, rel=1e-9)
    assert early.residual_noise == pytest.approx(math.sqrt(768) / math.hypot(math.sqrt(768), 4 * steps), rel=1e-9)
    if steps == 100:
        assert early.residual_noise == pytest.approx(0.07, abs=0.002)
    last = FlowSummary.of(collapse(lambda t: velocity_operator(end.to(torch.float64), t), time_grid(steps, "last_step"), "euler"))
    assert last.residual_noise < 1e-13
    assert (last.rank, last.invertible, last.cond) == (rank, False, math.inf)


def test_what_has_no_complement_and_which_of_two_it_is() -> None:
    found = FlowSummary.of(Dense(torch.eye(3)))
    assert (found.scale, found.complement, found.residual_noise) == (None, None, None)
    full = normal(seeded(0), 3, 3)
    assert FlowSummary.of(IdentityPlusLowRank(0.5, full, full)).complement == 0
    assert FlowSummary.of(Diagonal(torch.tensor([3.0, 2.0, 1.0]))).complement == 0
    assert FlowSummary.of(Diagonal(torch.tensor([2.0, 2.0, 2.0, -0.5, 0.5]))).scale == 0.5
    # What is kept is no noise, however often it comes.
    for kept in ([True, True, True, False], [True, True, True, True]):
        found = FlowSummary.of(Mask(torch.tensor(kept)))
        assert (found.scale, found.residual_noise) == (0.0, 0.0)
        assert found.complement == kept.count(False)
    low = FlowSummary.of(LowRank(torch.eye(5, 2), torch.eye(5, 2)))
    assert (low.scale, low.complement, low.residual_noise) == (0.0, 3, 0.0)


def test_the_leading_values_and_plain_data() -> None:
    u = torch.eye(10, 3, dtype=torch.float64)
    a = IdentityPlusLowRank(-0.1, u * torch.tensor([3.0, 2.0, 1.0]).double(), u)
    found = FlowSummary.of(a, leading=2, rtol=0.5)
    assert found.singular_values == pytest.approx([2.9, 1.9])
    assert (found.rank, found.rtol, found.scale) == (2, 0.5, pytest.approx(0.1))
    plain = found.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["cond"] == pytest.approx(29)
    assert FlowSummary.of(Mask(torch.tensor([True, False]))).to_dict()["cond"] is None
    assert json.dumps(FlowSummary.of(ScaledIdentity(0.0, 4)).to_dict())


def test_large_operators_need_no_full_matrix() -> None:
    dim = 100_000
    u, v = (normal(seeded(seed), dim, 3) / dim**0.5 for seed in (0, 1))
    found = FlowSummary.of(SharedSubspace(0.01, u, torch.eye(3, dtype=torch.float64), v))
    assert (found.dim, found.complement, len(found.singular_values)) == (dim, dim - 3, 64)
