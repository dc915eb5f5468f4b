"""Memory-saving backpropagation when parameters, members or the surroundings are not the ordinary ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from linearizer_core import create_backbone
from linearizer_core.bijections import (
    ActNorm,
    AffineCoupling,
    Bijection,
    Chain,
    ConvConditioner,
    Flatten,
    HaarSqueeze,
    Identity,
    Inverse,
    MLPConditioner,
    Reversible,
    SplitMerge,
    ZeroPadding,
    set_reversible,
)
from linearizer_core.condition import Condition
from linearizer_core.errors import InvertibilityWarning

FAR_APART = Reversible(anchor_every=1000)
X = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4)


def coupling(size: int, *, flip: bool = False) -> AffineCoupling:
    return AffineCoupling((size,), MLPConditioner(size // 2, size, width=6), flip=flip)


def chain() -> Chain:
    return Chain(coupling(4), coupling(4, flip=True), coupling(4))


def moved(build: Callable[[], Bijection]) -> Bijection:
    torch.manual_seed(0)
    g = build().double()
    with torch.no_grad():
        for parameter in g.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return g


def in_both_ways(build: Callable[[], Bijection], loss: Callable[[Bijection], Tensor], options: Reversible = FAR_APART) -> list[list[Tensor]]:
    """The gradients of all parameters, plain and memory-saving."""
    found = []
    for choice in (None, options):
        g = moved(build)
        set_reversible(g, choice)
        loss(g).backward()
        found.append([torch.zeros_like(parameter) if parameter.grad is None else parameter.grad for parameter in g.parameters()])
    return found


def assert_same(plain: list[Tensor], saving: list[Tensor]) -> None:
    assert any(bool(each.any()) for each in plain)
    for one, other in zip(plain, saving, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-10, atol=1e-12)


def test_the_inverse_of_padding_keeps_what_it_drops() -> None:
    latents = torch.linspace(-2, 1, 18, dtype=torch.float64).reshape(3, 6)

    def padded() -> Chain:
        return Chain(coupling(4), ZeroPadding((4,), channels=2), coupling(6), coupling(6, flip=True))

    def within() -> Chain:
        return Chain(SplitMerge(Chain(coupling(4), ZeroPadding((4,), channels=1)), Identity((1,))), coupling(6))

    assert_same(*in_both_ways(padded, lambda g: g.inverse(latents).sin().sum()))
    assert_same(*in_both_ways(within, lambda g: g.inverse(latents).sin().sum()))


def test_data_dependent_members_initialise_themselves_in_the_first_pass() -> None:
    found = []
    for options in (None, FAR_APART):
        torch.manual_seed(0)
        g = Chain(coupling(4), ActNorm((4,)), coupling(4, flip=True), ActNorm((4,))).double()
        nn.init.normal_(g[0].conditioner.last.weight)  # type: ignore[union-attr,arg-type]
        set_reversible(g, options)
        g(3 * X + 1).sin().sum().backward()
        found.append([tensor for parameter in g.parameters() for tensor in (parameter.detach(), parameter.grad) if tensor is not None])
    assert_same(*found)


def test_parameters_shared_by_two_blocks() -> None:
    def tied() -> Chain:
        one = coupling(4)
        return Chain(one, coupling(4, flip=True), one, Inverse(one))

    assert_same(*in_both_ways(tied, lambda g: g(X).sin().sum()))


def test_parameters_replaced_for_one_call() -> None:
    g = moved(chain)
    leaves = {name: (1.1 * parameter.detach()).requires_grad_() for name, parameter in g.named_parameters()}
    found = []
    for options in (None, FAR_APART):
        set_reversible(g, options)
        for computed in (False, True):
            values = {name: 1.2 * leaf if computed else leaf for name, leaf in leaves.items()}
            found.append(torch.autograd.grad(torch.func.functional_call(g, values, (X,)).sin().sum(), list(leaves.values())))
    assert_same(list(found[0]), list(found[2]))
    assert_same(list(found[1]), list(found[3]))
    assert all(isinstance(parameter, nn.Parameter) for parameter in g.parameters())


def test_a_hook_of_a_parameter_sees_its_gradient_once() -> None:
    seen: list[Tensor] = []

    def loss(g: Bijection) -> Tensor:
        next(g.parameters()).register_hook(lambda gradient: seen.append(gradient) or 2 * gradient)  # type: ignore[func-returns-value]
        return g(X).sin().sum()

    assert_same(*in_both_ways(chain, loss))
    assert len(seen) == 2


def test_parameters_frozen_before_the_backward_pass() -> None:
    found = []
    for options in (None, FAR_APART):
        g, x = moved(chain), X.clone().requires_grad_()
        set_reversible(g, options)
        loss = g(x).sin().sum()
        g.requires_grad_(False)
        loss.backward()
        assert x.grad is not None
        assert all(parameter.grad is None for parameter in g.parameters())
        found.append([x.grad])
    assert_same(*found)


def test_an_error_in_the_backward_pass_leaves_the_parameters_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    g = moved(chain)
    set_reversible(g, Reversible())
    before = list(g.parameters())
    before[0].register_hook(lambda gradient: gradient)
    loss = g(X).sum()
    monkeypatch.setattr(AffineCoupling, "replay", lambda *arguments, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        loss.backward()
    assert all(one is other for one, other in zip(before, g.parameters(), strict=True))


def test_a_graph_that_is_retained_serves_twice_and_else_once() -> None:
    g = moved(chain)
    set_reversible(g, Reversible())
    parameters = list(g.parameters())
    loss = g(X).sin().sum()
    first = torch.autograd.grad(loss, parameters, retain_graph=True)
    assert_same(list(first), list(torch.autograd.grad(loss, parameters)))
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, parameters)


def test_weights_lowered_without_a_graph_are_not_used_where_there_is_one() -> None:
    found = []
    for options in (None, FAR_APART):
        g = moved(chain).float()
        assert isinstance(g, Chain)
        set_reversible(g, options)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            (g(X.float()).sin() + g[0](X.float()) * g[2](X.float())).sum().backward()
        found.append(torch.cat([parameter.grad.flatten() for parameter in g.parameters() if parameter.grad is not None]))
    assert nn.functional.cosine_similarity(found[0], found[1], dim=0) > 0.9999


@pytest.mark.parametrize("build", [lambda: Identity((2, 2)), lambda: Flatten((2, 2)), lambda: Chain(Identity((2, 2)), Identity((2, 2)))])
def test_a_chain_that_returns_its_input(build: Callable[[], Bijection]) -> None:
    g = Chain(build())
    set_reversible(g, Reversible())
    x = torch.randn(3, 2, 2, requires_grad=True)
    for result in (g(x), g.inverse(x.reshape(3, *g.out_shape)), g.forward_and_logdet(x)[0]):
        (gradient,) = torch.autograd.grad(result.sin().sum(), x)
        torch.testing.assert_close(gradient, x.detach().cos())


def test_a_compiled_chain_runs_plainly() -> None:
    torch.compiler.reset()
    assert_same(*in_both_ways(chain, lambda g: torch.compile(lambda x: g(x), backend="eager", fullgraph=True)(X).sin().sum()))


class Sequential(Bijection):
    """Says that its inverse goes coordinate by coordinate, and does not want to be asked for it."""

    inverse_kind = "sequential"

    def __init__(self) -> None:
        super().__init__((4,))
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        return self.scale * x

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        raise AssertionError("slow")


def test_a_sequential_inverse_is_not_run() -> None:
    assert_same(*in_both_ways(lambda: Chain(coupling(4), Sequential(), coupling(4, flip=True)), lambda g: g(X).sin().sum()))


class Opaque(Bijection):
    """A composite that says nothing of its parts."""

    def __init__(self, body: Chain) -> None:
        super().__init__(body.in_shape)
        self.body = body

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        return self.body(x, condition)  # type: ignore[no-any-return]

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        return self.body.inverse(z, condition)


def peak_of_saved_tensors(g: Bijection, x: Tensor, *, inverse: bool) -> int:
    """Most bytes of distinct tensors, parameters aside, that wait for the backward pass at one time, in the forward and in the backward pass."""
    own = {parameter.untyped_storage().data_ptr() for parameter in g.parameters()}
    waiting: dict[int, int] = {}
    most = 0

    class Handle:
        def __init__(self, tensor: Tensor) -> None:
            nonlocal most
            self.tensor = tensor
            self.key = tensor.untyped_storage().data_ptr()
            if self.key not in own:
                waiting[self.key] = tensor.untyped_storage().nbytes()
            most = max(most, sum(waiting.values()))

        def __del__(self) -> None:
            waiting.pop(self.key, None)

    with torch.autograd.graph.saved_tensors_hooks(Handle, lambda handle: handle.tensor):
        (g.inverse(x) if inverse else g(x)).square().mean().backward()
    return most


def deep(kind: str, depth: int) -> Chain:
    """``depth`` couplings, all of them in one chain, in chains in chains, or inside a composite."""
    shape = (4, 8, 8)
    couplings: list[Bijection] = [AffineCoupling(shape, ConvConditioner(2, 4, width=16), flip=bool(number % 2), log_scale_bound=0.1) for number in range(depth)]
    if kind == "opaque":
        return Chain(Opaque(Chain(*couplings)))
    if kind == "nested":
        return Chain(*(Chain(Chain(each)) for each in couplings))
    if kind == "side by side":
        return Chain(SplitMerge(Chain(*couplings), Chain(HaarSqueeze((1, 8, 8)), Flatten((4, 4, 4)))))
    return Chain(Inverse(Chain(*couplings)))


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("kind", ["nested", "side by side", "inverse", "opaque"])
def test_memory_does_not_grow_with_depth_at_any_moment(kind: str, inverse: bool) -> None:
    peaks = {}
    for depth in (4, 16):
        g = deep(kind, depth)
        set_reversible(g, FAR_APART)
        peaks[depth] = peak_of_saved_tensors(g, torch.randn(8, *(g.out_shape if inverse else g.in_shape)), inverse=inverse)
    assert peaks[16] <= 1.05 * peaks[4]
    set_reversible(g, None)
    assert peak_of_saved_tensors(g, torch.randn(8, *(g.out_shape if inverse else g.in_shape)), inverse=inverse) > 5 * peaks[16]


def test_a_warning_names_the_block_by_its_indices() -> None:
    lossy = AffineCoupling((4,), MLPConditioner(2, 4, width=6), log_scale_bound=30.0)
    g = Chain(coupling(4), Chain(coupling(4, flip=True), Chain(lossy)), coupling(4))
    with torch.no_grad():
        lossy.conditioner.last.bias.copy_(torch.tensor([9e3, 9e3, -9.0, -9.0]))  # type: ignore[union-attr,operator]
    set_reversible(g, Reversible(anchor_every=2, check_every=1))
    expected = r"input of block \[1\]\[1\]\[0\] \(AffineCoupling\), rebuilt from the output, .* from block \[1\]\[1\]\[0\] \(AffineCoupling\), which alone"
    with pytest.warns(InvertibilityWarning, match=expected):
        g(torch.randn(3, 4)).sum().backward()


def test_both_directions_are_checked_when_a_loss_takes_them_in_turn() -> None:
    g = Chain(coupling(4))
    set_reversible(g, Reversible(check_every=2))
    checked = []
    for _ in range(4):
        for result in (g(torch.randn(3, 4)), g.inverse(torch.randn(3, 4))):
            node = result.grad_fn
            assert node is not None
            checked.append(node.checked)  # type: ignore[attr-defined]
    assert checked == [False, False, True, True] * 2


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("name", ["coupling", "glow", "irevnet", "transformer", "iresnet", "lattice"])
def test_every_backbone(name: str, inverse: bool) -> None:
    x = torch.randint(0, 256, (2, 1, 8, 8), generator=torch.Generator().manual_seed(0)).double() / 255
    build = lambda: create_backbone(name, (1, 8, 8))  # noqa: E731
    g = moved_a_little(build, x)
    z = g(x).detach()
    found = []
    for options in (None, FAR_APART):
        g.zero_grad()
        set_reversible(g, options)
        (g.inverse(z) if inverse else g(x)).sin().sum().backward()
        found.append(torch.cat([parameter.grad.flatten() for parameter in g.parameters() if parameter.grad is not None]))
    assert float(found[0].norm()) > 1
    assert float((found[1] - found[0]).norm()) <= 1e-10 * float(found[0].norm())


def moved_a_little(build: Callable[[], Bijection], x: Tensor) -> Bijection:
    torch.manual_seed(0)
    g = build().double().train()
    g(x)
    with torch.no_grad():
        for parameter in g.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    return g
