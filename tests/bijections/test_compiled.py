"""Compiled conditioners. Most tests compile with a backend that only records; two use torch's compiler."""

from __future__ import annotations

import copy
import pickle
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch._dynamo import config

from linearizer_core import create_backbone
from linearizer_core.bijections import (
    AffineCoupling,
    Bijection,
    Chain,
    ConvConditioner,
    Coupling,
    FixedOrthogonal,
    Flatten,
    MLPConditioner,
    Reversible,
    SplitMerge,
    compiled,
    set_compiled,
    set_reversible,
)
from linearizer_core.condition import Condition
from linearizer_core.errors import CompilationWarning

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch looks at all inputs of a graph

LABEL = {"label": 3}
CONDITION = Condition(label=torch.tensor([0, 2]))
X = torch.randn(2, 2, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def network() -> Chain:
    torch.manual_seed(0)
    chain = Chain(
        AffineCoupling((2, 2, 3), ConvConditioner(1, 2, width=3)),
        Flatten((2, 2, 3)),
        FixedOrthogonal((12,), seed=0),
        AffineCoupling((12,), MLPConditioner(6, 12, width=5, categories=LABEL), conditions=LABEL),
        SplitMerge(AffineCoupling((4,), MLPConditioner(2, 4, width=5)), Flatten((8,))),
    ).double()
    with torch.no_grad():
        for parameter in chain.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return chain


def conditioners(module: nn.Module) -> list[nn.Module]:
    return [coupling.conditioner for coupling in module.modules() if isinstance(coupling, Coupling)]


def compiled_modules(module: nn.Module) -> list[nn.Module]:
    return [each for each in module.modules() if each._compiled_call_impl is not None]


def results(g: Bijection) -> list[Tensor]:
    """Both directions with log-determinants, and the gradients of a loss through both."""
    x = X.clone().requires_grad_()
    z, logdet = g.forward_and_logdet(x, CONDITION)
    back, inverse_logdet = g.inverse_and_logdet(1.1 * z, CONDITION)
    found = [z, logdet, back, inverse_logdet]
    gradients = torch.autograd.grad(sum(tensor.square().sum() for tensor in found), [x, *g.parameters()])  # type: ignore[arg-type]
    with torch.no_grad():
        return [tensor.detach() for tensor in (*found, *gradients, g(x, CONDITION), g.inverse(z, CONDITION))]


def assert_same(first: list[Tensor], second: list[Tensor]) -> None:
    assert len(first) == len(second) > 10
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    limit = config.recompile_limit
    yield
    config.recompile_limit = limit
    torch.compiler.reset()


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[fx.GraphModule]:
    """The graphs that would be compiled."""
    found: list[fx.GraphModule] = []

    def record(graph: fx.GraphModule, inputs: list[Any]) -> Any:
        found.append(graph)
        return graph.forward

    monkeypatch.setattr(compiled, "_compile", record)
    return found


def test_conditioners_and_nothing_else_are_compiled(graphs: list[fx.GraphModule]) -> None:
    g = network()
    expected = results(g)
    assert graphs == []
    set_compiled(g, True)
    assert compiled_modules(g) == conditioners(g)
    assert_same(results(g), expected)
    assert len(graphs) >= 3
    known = len(graphs)
    assert_same(results(g), expected)
    assert len(graphs) == known, "compiled again"


def test_it_can_be_taken_back(graphs: list[fx.GraphModule]) -> None:
    g = network()
    set_compiled(g, True)
    expected = results(g)
    known = len(graphs)
    set_compiled(g, False)
    assert compiled_modules(g) == []
    torch.compiler.reset()
    assert_same(results(g), expected)
    assert len(graphs) == known > 0


def test_copies_and_files_do_not_know(graphs: list[fx.GraphModule]) -> None:
    g = network()
    names = list(g.state_dict())
    set_compiled(g, True)
    expected = results(g)
    assert list(g.state_dict()) == names
    for twin in (copy.deepcopy(g), pickle.loads(pickle.dumps(g))):
        assert compiled_modules(twin) == []
        assert_same(results(twin), expected)


def test_memory_saving_chains_run_compiled(graphs: list[fx.GraphModule]) -> None:
    g = network()
    expected = results(g)
    set_reversible(g, Reversible(anchor_every=1))
    set_compiled(g, True)
    for found, plain in zip(results(g), expected, strict=True):
        torch.testing.assert_close(found, plain, rtol=1e-10, atol=1e-12)
    assert graphs


def test_bounded_conditioners_are_compiled_around_their_norms(graphs: list[fx.GraphModule]) -> None:
    torch.manual_seed(0)
    g = AffineCoupling((4,), MLPConditioner(2, 4, width=5, lipschitz=0.5)).double().eval()
    x = X.flatten(1)[:, :4]
    set_compiled(g, True)
    with torch.no_grad():
        for _ in range(2):
            for parameter in g.parameters():
                parameter.data.add_(torch.randn_like(parameter))
            found = g(x)
            assert torch.equal(found, copy.deepcopy(g)(x))  # a copy is not compiled
    assert graphs


@pytest.mark.parametrize("arithmetic", ["float", "bfloat16", "exact"])
def test_exact_couplings_are_left_alone(arithmetic: str, graphs: list[fx.GraphModule]) -> None:
    torch.manual_seed(0)
    g = create_backbone("lattice", (1, 4, 4), arithmetic=arithmetic, dense={"couplings": 2, "width": 8})
    with torch.no_grad():
        for parameter in g.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    set_compiled(g, True)
    assert compiled_modules(g) == []
    x = (torch.rand(3, 1, 4, 4) * 255).round() / 255
    z = g(x)  # with a graph
    with torch.no_grad():
        assert torch.equal(g.inverse(z), x)
    assert graphs == []


def test_a_failure_is_told_once_and_costs_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = []

    def fail(graph: fx.GraphModule, inputs: list[Any]) -> Any:
        attempts.append(graph)
        raise RuntimeError("no compiler today\nand a long story")

    monkeypatch.setattr(compiled, "_compile", fail)
    g = network()
    expected = results(g)
    set_compiled(g, True)
    with pytest.warns(CompilationWarning) as warned:
        found = results(g)
    assert [str(warning.message) for warning in warned] == ["conditioners are not compiled, and run as they are: RuntimeError: no compiler today"]
    assert len(attempts) == 1
    assert_same(found, expected)


def test_torch_keeps_the_graphs_of_a_large_model(graphs: list[fx.GraphModule]) -> None:
    set_compiled(network(), True)
    assert config.recompile_limit == 64
    config.recompile_limit = 100
    set_compiled(network(), True)
    assert config.recompile_limit == 100


def test_without_a_compiler_conditioners_run_as_they_are() -> None:
    from torch._inductor import config as inductor

    g = AffineCoupling((4,), MLPConditioner(2, 4, width=3))
    nn.init.normal_(g.conditioner.last.weight)
    x = torch.randn(3, 4)
    expected = g(x)
    set_compiled(g, True)
    with inductor.patch({"cpp.cxx": (None, "no-such-compiler")}), pytest.warns(CompilationWarning, match="no-such-compiler"):
        found = g(x)
    assert torch.equal(found, expected)
    assert torch.equal(*(torch.autograd.grad(z.sum(), g.conditioner.last.weight)[0] for z in (found, expected)))


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_the_compiler_of_torch_agrees_up_to_rounding() -> None:
    g = AffineCoupling((4,), MLPConditioner(2, 4, width=4)).double()
    nn.init.normal_(g.conditioner.last.weight)
    x = torch.randn(3, 4, dtype=torch.float64)
    expected = g(x)
    set_compiled(g, True)
    with torch.no_grad():
        found = g(x)
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(g.inverse(found), x, rtol=1e-12, atol=1e-12)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs a C++ compiler on a CPU")
def test_what_was_compiled_once_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[fx.GraphModule] = []
    original = compiled._compile
    monkeypatch.setattr(compiled, "_compile", lambda graph, inputs: seen.append(graph) or original(graph, inputs))
    torch._dynamo.reset()
    g = AffineCoupling((4,), MLPConditioner(2, 4, width=5))
    x = torch.randn(3, 4)
    for enabled in (True, False, True, True):
        set_compiled(g, enabled)
        g(x)
    assert len(seen) == 1
    set_compiled(g, False)
