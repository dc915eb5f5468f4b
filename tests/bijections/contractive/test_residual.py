from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from linearizer_core.bijections import (
    AdditiveCoupling,
    Chain,
    ContractiveResidual,
    ConvConditioner,
    FixedPointReport,
    Inverse,
    LipschitzLinear,
    MLPConditioner,
    inverse_with_report,
)
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError, ConditionError, ConvergenceError, InputShapeError, LogDetUnavailableError, SecondDerivativeError

LABEL = {"label": 3}


def dense(dim: int = 5, *, contraction: float = 0.9, conditions: dict[str, int] | None = None) -> ContractiveResidual:
    residual = MLPConditioner(dim, dim, width=12, categories=conditions, lipschitz=contraction)
    return ContractiveResidual((dim,), residual, contraction=contraction, conditions=conditions)


def image(*, conditions: dict[str, int] | None = None) -> ContractiveResidual:
    residual = ConvConditioner(2, 2, width=6, token_mixing=(3, 4), categories=conditions, lipschitz=0.8)
    return ContractiveResidual((2, 3, 4), residual, contraction=0.8, conditions=conditions)


BLOCKS: dict[str, Callable[[], ContractiveResidual]] = {
    "dense": dense,
    "dense, per label": lambda: dense(conditions=LABEL),
    "one coordinate": lambda: dense(1),
    "image": image,
    "image, per label": lambda: image(conditions=LABEL),
}


def trained(build: Callable[[], ContractiveResidual], scale: float = 1.0) -> ContractiveResidual:
    """Weights so large that every bound is active."""
    torch.manual_seed(0)
    block = build().double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter += scale * torch.randn_like(parameter)
    return block


@pytest.fixture(params=BLOCKS)
def block(request: pytest.FixtureRequest) -> ContractiveResidual:
    return trained(BLOCKS[request.param])


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def examples(block: ContractiveResidual, batch: int = 3) -> tuple[Tensor, Condition | None]:
    condition = Condition(label=torch.arange(batch) % 3) if block.conditions else None
    return normal(1, batch, *block.in_shape), condition


def largest(difference: Tensor) -> float:
    return float(difference.detach().abs().max())


class Linear(nn.Module):
    """h(x) = M x: every step of the iteration shrinks by the norm of M, and no faster."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix)

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        return x @ self.matrix.T


def rotation(dim: int, contraction: float) -> Tensor:
    return contraction * torch.linalg.qr(normal(5, dim, dim)).Q


# --- round trips --------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 4])
def test_round_trips_in_float64(block: ContractiveResidual, batch: int) -> None:
    x, condition = examples(block, batch)
    assert largest(block(x, condition) - x) > 0.1
    assert largest(block.inverse(block(x, condition), condition) - x) < 1e-12
    assert largest(block(block.inverse(x, condition), condition) - x) < 1e-12


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_round_trips_in_float32_far_from_the_data_too(block: ContractiveResidual, scale: float) -> None:
    block.float()
    x, condition = examples(block)
    x = scale * x.float()
    z = block(x, condition)
    back = block.inverse(z, condition)
    assert back.dtype == torch.float32
    assert largest(back - x) < 5e-6 * max(1.0, scale)


@settings(deadline=None, max_examples=20)
@given(st.floats(0.01, 0.96), st.floats(-3, 3), st.sampled_from([torch.float32, torch.float64]))
def test_the_banach_bound_holds_where_it_is_tight(contraction: float, exponent: float, dtype: torch.dtype) -> None:
    matrix = rotation(6, contraction).to(dtype)
    block = ContractiveResidual((6,), Linear(matrix), contraction=contraction)
    z = (10**exponent * normal(2, 4, 6)).to(dtype)
    x, (report,) = inverse_with_report(block, z)
    true = torch.linalg.solve(torch.eye(6, dtype=torch.float64) + matrix.double(), z.double().T).T
    error = float((x.double() - true).detach().norm(dim=1).max())
    size = float(torch.maximum(z.double().norm(dim=1), true.norm(dim=1)).max())
    floor = 16 * torch.finfo(dtype).eps / (1 - contraction) ** 2
    assert error <= report.bound * 1.01 + floor * size
    assert report.bound <= max(1e-12 if dtype == torch.float64 else 1e-6, floor) * size
    assert report.contraction <= contraction + 0.02


def test_slow_contractions_reach_the_rounding_of_float32() -> None:
    for dim in (2, 6, 40):
        matrix = rotation(dim, 0.9).float()
        z = normal(2, 8, dim).float()
        x = ContractiveResidual((dim,), Linear(matrix), contraction=0.9, tolerance=1e-9).inverse(z)
        true = torch.linalg.solve(torch.eye(dim, dtype=torch.float64) + matrix.double(), z.double().T).T
        assert float(((x.double() - true).detach().norm(dim=1) / true.norm(dim=1)).max()) < 1.2e-6


def test_tolerance_decides_the_iterations() -> None:
    loose, tight = (ContractiveResidual((6,), Linear(rotation(6, 0.8)), contraction=0.8, tolerance=tolerance) for tolerance in (1e-2, 1e-10))
    z = normal(2, 4, 6)
    counts = [inverse_with_report(each, z)[1][0].iterations for each in (loose, tight)]
    # c^k / (1 - c) steps of size |z| reach the tolerance: about 27 and 110.
    assert 20 <= counts[0] <= 35
    assert 95 <= counts[1] <= 120


def test_examples_do_not_see_each_other() -> None:
    block = ContractiveResidual((6,), Linear(torch.diag(torch.linspace(0.3, 0.9, 6, dtype=torch.float64))), contraction=0.9)
    easy, hard = torch.eye(6, dtype=torch.float64)[[0]], torch.eye(6, dtype=torch.float64)[[5]]
    together = block.inverse(torch.cat([easy, hard]))
    assert torch.equal(together[:1], block.inverse(easy))
    assert torch.equal(together[1:], block.inverse(hard))


def test_zero_is_no_obstacle_and_what_is_not_finite_passes_through() -> None:
    block = trained(dense)
    x = torch.stack([torch.zeros(5), torch.full((5,), float("nan")), torch.ones(5)]).double()
    back = block.inverse(x)
    assert bool(back[1].isnan().all())
    assert largest(block(back)[[0, 2]] - x[[0, 2]]) < 1e-12
    linear = ContractiveResidual((5,), Linear(rotation(5, 0.5)), contraction=0.5)
    assert torch.equal(linear.inverse(torch.zeros(2, 5, dtype=torch.float64)), torch.zeros(2, 5, dtype=torch.float64))


def test_both_directions_are_lipschitz_everywhere() -> None:
    for build, contraction in ((dense, 0.9), (image, 0.8)):
        block = trained(build)
        x = torch.cat([normal(3, 20, *block.in_shape), 50 * normal(4, 20, *block.in_shape)])
        y = x + normal(6, *x.shape) * torch.logspace(-3, 2, 40, dtype=torch.float64).reshape(-1, *[1] * (x.ndim - 1))
        ratio = (block(x) - block(y)).flatten(1).norm(dim=1) / (x - y).flatten(1).norm(dim=1)
        assert 1 - contraction <= float(ratio.min().detach())
        assert float(ratio.max().detach()) <= 1 + contraction


# --- convergence --------------------------------------------------------------------------------------


def test_a_residual_that_expands_is_told_by_its_numbers() -> None:
    block = ContractiveResidual((4,), Linear(rotation(4, 1.1)), contraction=0.9, max_iterations=50)
    with pytest.raises(ConvergenceError, match=r"no fixed point after 50 iterations for 2 of 2 examples.*shrank by 1\.100 an iteration, expected at most 0\.9"):
        block.inverse(torch.ones(2, 4, dtype=torch.float64))


def test_the_backward_pass_has_to_converge_too() -> None:
    block = ContractiveResidual((4,), Linear(rotation(4, 0.9)), contraction=0.9)
    x = block.inverse(torch.ones(1, 4, dtype=torch.float64, requires_grad=True))
    block.max_iterations = 1
    with pytest.raises(ConvergenceError, match="after 1 iterations for 1 of 1"):
        x.sum().backward()


def test_reports_come_from_every_block_and_from_no_other_call() -> None:
    g = Chain(trained(dense), AdditiveCoupling((5,), MLPConditioner(2, 3, width=4)).double(), trained(lambda: dense(contraction=0.3)))
    z = normal(1, 3, 5)
    x, reports = inverse_with_report(g, z)
    assert torch.equal(x, g.inverse(z))
    assert len(reports) == 2
    assert reports[0].iterations < reports[1].iterations
    assert all(0 < report.bound < 1e-10 for report in reports)
    assert inverse_with_report(g[1], z)[1] == ()
    assert inverse_with_report(Inverse(Inverse(g)), z)[1] == reports
    assert isinstance(reports[0], FixedPointReport)


# --- gradients ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_gradients_of_inputs_and_parameters_against_finite_differences(block: ContractiveResidual, direction: str) -> None:
    x, condition = examples(block, 2)
    names = [name for name, _ in block.named_parameters()]

    class Caller(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = block

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = getattr(self.block, direction)(x, condition)
            return result

    def call(x: Tensor, *parameters: Tensor) -> Tensor:
        values = {f"block.{name}": parameter for name, parameter in zip(names, parameters, strict=True)}
        result: Tensor = torch.func.functional_call(caller, values, (x,))
        return result

    caller = Caller()
    parameters = [parameter.detach().clone().requires_grad_() for parameter in block.parameters()]
    # The gradient of a norm estimate holds its singular vectors fixed; on layers as small as these it is exact.
    assert torch.autograd.gradcheck(call, (x.requires_grad_(), *parameters), fast_mode=True, rtol=1e-6, atol=1e-7)


def test_the_implicit_gradient_is_that_of_the_unrolled_iteration() -> None:
    block = trained(dense)
    z = normal(1, 3, 5).requires_grad_()
    weights = normal(2, 3, 5)
    (block.inverse(z) * weights).sum().backward()
    implicit = [z.grad, *(parameter.grad for parameter in block.parameters())]
    twin, z = copy.deepcopy(block), z.detach().clone().requires_grad_()
    twin.zero_grad()
    x = z
    for _ in range(80):
        x = z - twin.residual(x, None)
    (x * weights).sum().backward()
    for ours, theirs in zip(implicit, [z.grad, *(parameter.grad for parameter in twin.parameters())], strict=True):
        assert largest(ours - theirs) < 1e-9  # type: ignore[operator]


def test_memory_does_not_grow_with_the_iterations() -> None:
    def saved(contraction: float) -> tuple[int, int]:
        block = ContractiveResidual((6,), Linear(rotation(6, contraction)), contraction=contraction)
        sizes: list[int] = []
        z = normal(1, 3, 6).requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: sizes.append(tensor.numel()) or tensor, lambda tensor: tensor):
            _, (report,) = inverse_with_report(block, z)
        return report.iterations, sum(sizes)

    (few, little), (many, much) = saved(0.1), saved(0.95)
    assert many > 20 * few
    assert much == little


def test_grad_modes_and_train_modes_agree_to_the_bit(block: ContractiveResidual) -> None:
    z, condition = examples(block)
    before = z.clone()
    x = block.train().inverse(z, condition)
    assert torch.equal(z, before)
    assert torch.equal(block.eval().inverse(z, condition), x)
    with torch.no_grad():
        assert torch.equal(block.inverse(z, condition), x)
    with torch.inference_mode():
        assert torch.equal(block.inverse(z, condition), x)


def test_frozen_blocks_build_no_graph() -> None:
    block = trained(dense).requires_grad_(False)
    assert not block.inverse(normal(1, 3, 5)).requires_grad
    assert block.inverse(normal(1, 3, 5).requires_grad_()).requires_grad


def test_second_derivatives_of_the_inverse_are_refused() -> None:
    block, z = trained(dense), normal(1, 1, 5).requires_grad_()
    with pytest.raises(SecondDerivativeError, match=r"create_graph=True, through the inverse of ContractiveResidual"):
        torch.autograd.grad(block.inverse(z).sum(), z, create_graph=True)


def test_gradients_within_autocast_converge() -> None:
    block, z = trained(dense).float(), normal(1, 3, 5).float().requires_grad_()
    plain = torch.autograd.grad(block.inverse(z).sin().sum(), z)[0]
    with torch.autocast("cpu", torch.bfloat16):
        within = torch.autograd.grad(block.inverse(z).sin().sum(), z)[0]
    torch.testing.assert_close(within, plain, rtol=1e-5, atol=1e-6)


# --- log-determinant ----------------------------------------------------------------------------------


def test_log_determinants_against_autograd(block: ContractiveResidual) -> None:
    assert block.has_logdet
    x, condition = examples(block)
    z, logdet = block.forward_and_logdet(x, condition)
    back, inverse_logdet = block.inverse_and_logdet(z, condition)
    assert torch.equal(z, block(x, condition))
    assert torch.equal(back, block.inverse(z, condition))
    assert logdet.shape == (3,)
    assert largest(logdet + inverse_logdet) < 1e-10
    for row in range(3):
        one = condition.rows(torch.tensor([row])) if condition else None
        jacobian = torch.autograd.functional.jacobian(lambda v, one=one: block(v, one), x[row : row + 1]).reshape(block.dim, block.dim)
        assert float(torch.linalg.slogdet(jacobian).logabsdet) == pytest.approx(float(logdet[row].detach()), abs=1e-10)
    with torch.no_grad():
        assert largest(block.forward_and_logdet(x, condition)[1] - logdet) < 1e-14


def test_log_determinants_train() -> None:
    block, x = trained(lambda: dense(3), scale=0.3), normal(1, 2, 3)
    parameters = tuple(block.residual.parameters())

    def logdet(x: Tensor, *_: Tensor) -> Tensor:
        return block.forward_and_logdet(x)[1]

    assert torch.autograd.gradcheck(logdet, (x.requires_grad_(), *parameters), rtol=1e-5, atol=1e-7)
    assert torch.autograd.gradcheck(lambda z: block.inverse_and_logdet(z)[1], (x,), rtol=1e-5, atol=1e-7)


def test_large_blocks_have_no_log_determinant() -> None:
    for dim, offered in ((64, True), (65, False)):
        block = dense(dim)
        assert block.has_logdet == offered
        assert Chain(dense(dim)).has_logdet == offered
    for call in (block.forward_and_logdet, block.inverse_and_logdet):
        with pytest.raises(LogDetUnavailableError, match="65 dimensions, the exact log-determinant is offered up to 64"):
            call(torch.zeros(1, 65))


# --- the contract -------------------------------------------------------------------------------------


def test_capabilities() -> None:
    g = Chain(AdditiveCoupling((5,), MLPConditioner(2, 3, width=4)), dense())
    assert (g.inverse_kind, g.inverse_grad, g.has_logdet, g.bit_exact) == ("iterative", "implicit", True, False)


def test_a_fresh_object_inverts_first_after_loading() -> None:
    block = trained(dense)
    z = block(normal(1, 3, 5)).detach()
    fresh = dense().double()
    fresh.load_state_dict(block.state_dict())
    assert torch.equal(fresh.inverse(z), block.inverse(z))


def test_autocast_lowers_nothing() -> None:
    block = trained(dense).float()
    x = normal(1, 3, 5).float()
    expected = block(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(block(x), expected)
        assert largest(block.inverse(expected) - x) < 1e-5


def test_conditions_matter_and_are_demanded() -> None:
    block = trained(BLOCKS["dense, per label"])
    x = normal(1, 1, 5)
    images = [block(x, Condition(label=torch.tensor([label]))) for label in range(3)]
    assert min(largest(images[0] - images[1]), largest(images[1] - images[2])) > 1e-3
    with pytest.raises(ConditionError, match="label"):
        block.inverse(x)


def test_compiles_with_breaks() -> None:
    block, x = trained(dense).requires_grad_(False), normal(1, 3, 5)
    torch.compiler.reset()
    compiled = torch.compile(lambda v: block.inverse(block(v)) + 1, backend="eager")
    assert largest(compiled(x) - x - 1) < 1e-12


def test_what_cannot_be_inverted_is_refused() -> None:
    for contraction in (0.0, 1.0, -0.5):
        with pytest.raises(BijectionError, match="expected a number between 0 and 1"):
            ContractiveResidual((2,), nn.Identity(), contraction=contraction)
    with pytest.raises(BijectionError, match=r"maps \(2, 3\) to \(2, 4\)"):
        ContractiveResidual((3,), MLPConditioner(3, 4, width=2), contraction=0.5)(torch.zeros(2, 3))
    with pytest.raises(InputShapeError):
        dense().inverse(torch.zeros(2, 4))


def test_lipschitz_layers_alone_make_a_residual() -> None:
    class Tanh(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = LipschitzLinear(4, 9, lipschitz=1.0), LipschitzLinear(9, 4, lipschitz=0.7)

        def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
            result: Tensor = self.last(torch.tanh(self.first(x)))
            return result

    block = trained(lambda: ContractiveResidual((4,), Tanh(), contraction=0.7))
    x = normal(1, 3, 4)
    assert largest(block.inverse(block(x)) - x) < 1e-12
