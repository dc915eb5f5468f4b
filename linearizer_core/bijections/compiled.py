"""Conditioners compiled by torch."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from torch import fx, nn

from linearizer_core.bijections.couplings.coupling import Coupling
from linearizer_core.errors import CompilationWarning

_GRAPHS = 64
"""Graphs of one function that torch keeps, at least. All conditioners of one class count as one function; each shape, layout and direction needs its own."""


def set_compiled(module: nn.Module, enabled: bool) -> None:
    """Compile the conditioners of all couplings in ``module`` with `torch.compile`, from their next call on; False takes that back.

    The conditioners are where the time goes; the rest of a coupling is a handful of elementwise operations. Parameters, their names and saved models stay
    the same, results change by rounding errors, the same in both directions. The first call with a new shape takes seconds to minutes. Where compilation
    fails, such as without a C++ compiler on a CPU, the conditioners run as they are, and one `CompilationWarning` says why.

    Couplings that are exact to the bit are left alone: compiled kernels may round otherwise with a gradient than without.

    Example:
        >>> from linearizer_core.bijections import AdditiveCoupling, MLPConditioner
        >>> coupling = AdditiveCoupling((4,), MLPConditioner(2, 2, width=8))
        >>> set_compiled(coupling, True)
        >>> set_compiled(coupling, False)
    """
    backend = _InductorOrNone()
    for coupling in module.modules():
        if isinstance(coupling, Coupling) and not coupling.bit_exact:
            if enabled:
                coupling.conditioner.compile(backend=backend)
            else:
                coupling.conditioner._compiled_call_impl = None  # torch has no public way back
    if enabled:
        _keep_graphs(_GRAPHS)


class _InductorOrNone:
    """Torch's compiler; after its first failure, graphs are run as they are. All are equal: what was compiled once is used again after a pause."""

    def __init__(self) -> None:
        self.failed = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _InductorOrNone)

    def __hash__(self) -> int:
        return hash(_InductorOrNone)

    def __call__(self, graph: fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        if not self.failed:
            try:
                return _compile(graph, inputs)
            except Exception as error:  # whatever a compiler may run into: the graph itself is sound
                self.failed = True
                reason = str(error).strip().partition("\n")[0]
                warnings.warn(f"conditioners are not compiled, and run as they are: {type(error).__name__}: {reason}", CompilationWarning, stacklevel=2)
        return graph.forward


def _compile(graph: fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
    from torch._dynamo import lookup_backend
    from torch._functorch import config

    # Torch would compile the backward pass at its first use, where nobody could fall back. Old versions cannot be told otherwise.
    at_once = config.patch(force_non_lazy_backward_lowering=True) if hasattr(config, "force_non_lazy_backward_lowering") else nullcontext()
    with at_once:
        compiled: Callable[..., Any] = lookup_backend("inductor")(graph, inputs)
        return compiled


def _keep_graphs(number: int) -> None:
    from torch._dynamo import config

    name = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"  # renamed in torch 2.7
    setattr(config, name, max(getattr(config, name), number))
