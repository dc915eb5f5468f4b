"""Memory-saving backpropagation gives the gradients of plain backpropagation, from a memory that does not grow with depth."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from linearizer_core.bijections import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    Bijection,
    CayleyMixing,
    Chain,
    ContractiveResidual,
    ConvConditioner,
    ElementwiseAffine,
    FixedOrthogonal,
    Flatten,
    HaarSqueeze,
    Identity,
    Inverse,
    MLPConditioner,
    Permutation,
    PLUMixing,
    Replay,
    Reversible,
    SplineCoupling,
    SplitMerge,
    set_reversible,
)
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError, InvertibilityWarning, SecondDerivativeError

LABEL = {"label": 3}
CONDITION = Condition(label=torch.tensor([0, 2, 1, 2]))


def dense(size: int, *, flip: bool = False, conditions: dict[str, int] | None = None) -> AffineCoupling:
    changed = size // 2 if flip else size - size // 2
    conditioner = MLPConditioner(size - changed, 2 * changed, width=9, categories=conditions)
    return AffineCoupling((size,), conditioner, flip=flip, conditions=conditions)


def convolution(channels: int, grid: tuple[int, int], *, mask: str = "halves", flip: bool = False) -> AdditiveCoupling:
    kept = changed = channels
    if mask != "checkerboard":
        changed = channels // 2 if flip else channels - channels // 2
        kept = channels - changed
    return AdditiveCoupling((channels, *grid), ConvConditioner(kept, changed, width=5), mask=mask, flip=flip)  # type: ignore[arg-type]


def image_chain() -> Chain:
    spline = SplineCoupling((16,), MLPConditioner(8, 8 * (3 * 4 - 1), width=9), bins=4)
    return Chain(
        ActNorm((1, 4, 4)),
        HaarSqueeze((1, 4, 4)),
        Chain(FixedOrthogonal((4, 2, 2), seed=1), convolution(4, (2, 2)), Chain(convolution(4, (2, 2), mask="checkerboard", flip=True))),
        CayleyMixing((4, 2, 2), seed=2),
        PLUMixing((4, 2, 2), seed=2),
        SplitMerge(Chain(ElementwiseAffine((1, 2, 2)), Flatten((1, 2, 2)), dense(4)), Chain(convolution(3, (2, 2), flip=True), Flatten((3, 2, 2)))),
        Permutation((16,), seed=3),
        Inverse(Chain(dense(16, conditions=LABEL), ElementwiseAffine((16,), categories=("label", 3)))),
        spline,
        dense(16, flip=True, conditions=LABEL),
    )


def vector_chain() -> Chain:
    return Chain(dense(5, conditions=LABEL), CayleyMixing((5,), seed=0), dense(5, flip=True), SplitMerge(dense(2), Identity((3,))))


def contractive_chain() -> Chain:
    return Chain(dense(4, conditions=LABEL), ContractiveResidual((4,), MLPConditioner(4, 4, width=8, lipschitz=0.7), contraction=0.7), dense(4, flip=True))


CHAINS: dict[str, Callable[[], Chain]] = {"image": image_chain, "vector": vector_chain}


def moved(build: Callable[[], Bijection], dtype: torch.dtype = torch.float64) -> Bijection:
    """Away from its start, where conditioners are zero."""
    return copy.deepcopy(_moved(build, dtype))


@cache
def _moved(build: Callable[[], Bijection], dtype: torch.dtype) -> Bijection:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bijection = build().to(dtype)
        bijection(torch.randn(4, *bijection.in_shape, dtype=dtype), CONDITION)
        with torch.no_grad():
            for parameter in bijection.parameters():
                parameter += 0.2 * torch.randn_like(parameter)
    return bijection


def points(bijection: Bijection, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
    return torch.randn(4, *bijection.in_shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def latents(bijection: Bijection, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(4, *bijection.out_shape, generator=torch.Generator().manual_seed(2), dtype=dtype)


Loss = Callable[[Bijection, Tensor, Tensor], Tensor]
WEIGHT = torch.linspace(0.5, 2, 4, dtype=torch.float64)

LOSSES: dict[str, Loss] = {
    "forward": lambda g, x, z: g(x, CONDITION).sin().sum(),
    "inverse": lambda g, x, z: g.inverse(z, CONDITION).sin().sum(),
    "forward and logdet": lambda g, x, z: sum((part.flatten(1).sum(1).sin() * WEIGHT).sum() for part in _columns(g.forward_and_logdet(x, CONDITION))),
    "inverse and logdet": lambda g, x, z: sum((part.flatten(1).sum(1).sin() * WEIGHT).sum() for part in _columns(g.inverse_and_logdet(z, CONDITION))),
    "logdet alone": lambda g, x, z: g.forward_and_logdet(x, CONDITION)[1].sin().sum(),
    "both ways": lambda g, x, z: (g.inverse(g(x, CONDITION) * 0.9, CONDITION) - x).square().sum() + g(x, CONDITION).square().mean(),
}


def _columns(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return pair[0], pair[1][:, None]


def gradients(g: Bijection, loss: Loss, options: Reversible | None, *, needs_input: bool = True) -> list[Tensor | None]:
    g = copy.deepcopy(g)
    set_reversible(g, options)
    dtype = next(g.parameters()).dtype
    x, z = points(g, dtype).requires_grad_(needs_input), latents(g, dtype).requires_grad_(needs_input)
    loss(g, x, z).backward()
    return [tensor.grad for tensor in (x, z, *g.parameters())]


def assert_same(found: list[Tensor | None], expected: list[Tensor | None], tolerance: float = 1e-10) -> None:
    for one, other in zip(found, expected, strict=True):
        # A parameter that the result does not depend on has no gradient in one, and zeros or none in the other.
        one_or_zero = torch.zeros(()) if one is None else one
        other_or_zero = torch.zeros(()) if other is None else other
        assert (one_or_zero - other_or_zero).abs().max() <= tolerance * other_or_zero.abs().max().clamp_min(1)
    assert any(other is not None and other.abs().max() > 0 for other in expected)


@pytest.mark.parametrize(
    ("chain", "loss", "anchor_every"),
    [*((chain, loss, 3) for chain in CHAINS for loss in LOSSES), ("image", "both ways", 1), ("image", "both ways", 100)],
)
def test_gradients_are_those_of_plain_backpropagation(chain: str, loss: str, anchor_every: int) -> None:
    g = moved(CHAINS[chain])
    assert_same(gradients(g, LOSSES[loss], Reversible(anchor_every=anchor_every)), gradients(g, LOSSES[loss], None))


@pytest.mark.parametrize("loss", ["forward", "inverse", "both ways"])
def test_an_iterative_member_keeps_its_input(loss: str) -> None:
    g = moved(contractive_chain)
    assert_same(gradients(g, LOSSES[loss], Reversible(anchor_every=100)), gradients(g, LOSSES[loss], None), 1e-9)


def test_results_are_the_same_bits() -> None:
    g = moved(image_chain, torch.float32)
    x = points(g, torch.float32)
    plain = g.forward_and_logdet(x, CONDITION)
    set_reversible(g, Reversible())
    saving = g.forward_and_logdet(x, CONDITION)
    assert saving[0].requires_grad
    assert all(torch.equal(one, other) for one, other in zip(plain, saving, strict=True))


@pytest.mark.parametrize("needs_input", [True, False])
def test_frozen_parameters_and_inputs(needs_input: bool) -> None:
    g = moved(image_chain)
    for number, parameter in enumerate(g.parameters()):
        parameter.requires_grad_(number % 3 == 0)
    assert_same(gradients(g, LOSSES["forward"], Reversible(), needs_input=needs_input), gradients(g, LOSSES["forward"], None, needs_input=needs_input))
    g.requires_grad_(False)
    set_reversible(g, Reversible())
    assert not g(points(g), CONDITION).requires_grad
    x = points(g).requires_grad_()
    g(x, CONDITION).sum().backward()
    assert x.grad is not None


def test_accumulates_over_micro_batches() -> None:
    g = moved(vector_chain)
    x = torch.randn(4, *g.in_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    found = []
    for reversible, pieces in ((Reversible(), (slice(0, 2), slice(2, 4))), (None, (slice(0, 4),))):
        set_reversible(g, reversible)
        g.zero_grad()
        for rows in pieces:  # a backward pass for each
            g(x[rows], Condition(label=CONDITION["label"][rows])).sin().sum().backward()
        found.append([parameter.grad.clone() for parameter in g.parameters() if parameter.grad is not None])
    assert len(found[0]) == len(found[1]) > 0
    assert all((mine - theirs).abs().max() < 1e-10 for mine, theirs in zip(*found, strict=True))


class Feature(nn.Module):
    """A conditioner that reads a continuous condition."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 2)

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        assert condition is not None
        result: Tensor = torch.tanh(self.net(torch.cat([x, condition["feature"]], 1)))
        return result


def test_conditions_get_their_gradients() -> None:
    g = Chain(*(AdditiveCoupling((4,), Feature(), flip=flip) for flip in (False, True, False))).double()
    found = []
    for options in (Reversible(), None):
        set_reversible(g, options)
        feature = torch.linspace(-1, 1, 8, dtype=torch.float64).view(4, 2).requires_grad_()
        g(points(g), Condition(feature=feature)).sin().sum().backward()
        found.append(feature.grad)
    assert_same(found[:1], found[1:])


def test_under_autocast_in_bfloat16() -> None:
    g = moved(image_chain, torch.float32)

    def lowered(bijection: Bijection, x: Tensor, z: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            # Twice in one region: weights lowered without a graph must not be used where there is one.
            return (bijection.inverse(bijection(x, CONDITION), CONDITION) + bijection.inverse(z, CONDITION)).sin().sum()

    plain, saving = (gradients(g, lowered, options) for options in (None, Reversible(anchor_every=2)))
    assert [part is None for part in plain] == [part is None for part in saving]
    one, other = (torch.cat([part.flatten() for part in parts if part is not None]) for parts in (plain, saving))
    assert nn.functional.cosine_similarity(one, other, dim=0) > 0.9999


def test_float32_cosine() -> None:
    g = moved(image_chain, torch.float32)
    one, other = (
        torch.cat([part.flatten() for part in gradients(g, LOSSES["both ways"], options) if part is not None])
        for options in (None, Reversible(anchor_every=100))
    )
    assert nn.functional.cosine_similarity(one, other, dim=0) > 0.99999


def saved_bytes(depth: int, options: Reversible | None) -> int:
    torch.manual_seed(0)
    g = Chain(*(AdditiveCoupling((4, 8, 8), ConvConditioner(2, 2, width=16), flip=bool(number % 2)) for number in range(depth)))
    set_reversible(g, options)
    own = {parameter.data_ptr() for parameter in g.parameters()}
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            seen[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = g(torch.randn(8, 4, 8, 8)).square().mean()
    total = sum(seen.values())
    loss.backward()
    return total


def test_memory_does_not_grow_with_depth() -> None:
    shallow, deep = (saved_bytes(depth, Reversible(anchor_every=1000)) for depth in (2, 16))
    assert deep == shallow
    assert saved_bytes(16, None) > 20 * deep
    one_anchor = 8 * 4 * 8 * 8 * 4
    assert saved_bytes(16, Reversible(anchor_every=4)) == deep + 3 * one_anchor


def test_composites_are_gone_through_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a composite, a nested chain is not evaluated as a whole with one graph."""
    inner = Chain(*(dense(4, flip=bool(number % 2)) for number in range(6)))
    g = moved(lambda: Chain(SplitMerge(inner, Identity((2,))), Permutation((6,), seed=0)))
    set_reversible(g, Reversible())
    replayed: list[int] = []
    plain = AffineCoupling.replay

    def count(self: AffineCoupling, *arguments: object, **options: object) -> Replay:
        replayed.append(id(self))
        return plain(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(AffineCoupling, "replay", count)
    g(points(g)).sum().backward()
    assert len(replayed) == len(set(replayed)) == 6


class Counting(nn.Module):
    """A conditioner that counts its evaluations."""

    def __init__(self) -> None:
        super().__init__()
        self.net = MLPConditioner(2, 4, width=6)
        self.calls = 0

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        self.calls += 1
        return self.net(x, condition)  # type: ignore[no-any-return]


@pytest.mark.parametrize("inverse", [False, True])
def test_one_evaluation_of_the_conditioner_serves_both_ways(inverse: bool) -> None:
    counting = Counting()
    g = Chain(AffineCoupling((4,), MLPConditioner(2, 4, width=6), flip=True), AffineCoupling((4,), counting))
    g = Chain(*reversed(list(g))) if inverse else g
    set_reversible(g, Reversible(anchor_every=100))
    result = g.inverse(torch.randn(3, 4)) if inverse else g(torch.randn(3, 4))
    assert counting.calls == 1
    result.sum().backward()
    assert counting.calls == 2


def test_a_chain_that_loses_bits_is_reported() -> None:
    lossy = [AffineCoupling((4,), MLPConditioner(2, 4, width=6), flip=bool(number % 2), log_scale_bound=30.0) for number in range(6)]
    g = Chain(ElementwiseAffine((4,)), *lossy)
    with torch.no_grad():
        for coupling in lossy:
            coupling.conditioner.last.bias.copy_(torch.tensor([3.0, 3.0, -9.0, -9.0]))  # type: ignore[union-attr,operator]
    set_reversible(g, Reversible(anchor_every=100, check_every=2))
    x = torch.randn(4, 4)
    g(x).sum().backward()  # not compared: every second pass is
    with pytest.warns(
        InvertibilityWarning, match=r"input of block \[0\] \(ElementwiseAffine\), rebuilt from the output, .* block \[\d\] \(AffineCoupling\), which alone"
    ):
        g(x).sum().backward()


def test_a_good_chain_is_not_reported() -> None:
    g = moved(image_chain)
    set_reversible(g, Reversible(anchor_every=2, check_every=1, tolerance=1e-9))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        g(points(g), CONDITION).sum().backward()
        g.inverse(latents(g), CONDITION).sum().backward()


def test_a_second_derivative_is_refused() -> None:
    g = moved(vector_chain)
    set_reversible(g, Reversible())
    x = points(g).requires_grad_()
    # Also where the incoming gradient is a constant, and a second derivative would otherwise be missing in silence.
    with pytest.raises(SecondDerivativeError, match="create_graph=True, through a chain that rebuilds its activations"):
        torch.autograd.grad(g(x, CONDITION).sum(), x, create_graph=True)


def test_the_backward_pass_of_the_stream_is_not_lowered_by_autocast() -> None:
    g = Chain(*(brick for seed in range(8) for brick in (FixedOrthogonal((8,), seed=seed), CayleyMixing((8,), seed=seed))))
    x = points(g, torch.float32).requires_grad_()
    found = []
    for options in (None, Reversible(anchor_every=100)):
        set_reversible(g, options)
        with torch.autocast("cpu", torch.bfloat16):
            loss = g(x).sin().sum()
        found.append(torch.autograd.grad(loss, [x, *g.parameters()]))
    for plain, saving in zip(*found, strict=True):
        torch.testing.assert_close(saving, plain, rtol=1e-5, atol=1e-6)


def test_a_change_in_place_before_the_backward_pass_is_noticed() -> None:
    g = moved(vector_chain)
    set_reversible(g, Reversible())
    loss = g(points(g), CONDITION).sum()
    with torch.no_grad():
        next(g.parameters()).add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_names_of_parameters_stay_and_it_can_be_switched_off() -> None:
    g = moved(image_chain)
    names = list(g.state_dict())
    set_reversible(g, Reversible())
    assert list(g.state_dict()) == names
    chains = [member for member in g.modules() if isinstance(member, Chain)]
    assert len(chains) > 1
    assert all(chain.reversible for chain in chains)
    set_reversible(g, None)
    assert not any(chain.reversible for chain in chains)


@pytest.mark.parametrize("values", [{"anchor_every": 0}, {"check_every": -1}, {"tolerance": 0.0}])
def test_numbers_out_of_range(values: dict[str, float]) -> None:
    with pytest.raises(BijectionError, match="expected anchor_every of at least 1"):
        Reversible(**values)  # type: ignore[arg-type]
