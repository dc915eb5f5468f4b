r"""Linear flows :math:`\dot z = L(t) z`: time grids, the loop over steps, and its collapse into one operator (arXiv 2510.08570, one-step flow matching)."""

from linearizer_core.operators.flow.adaptive import AdaptiveGrid, adaptive_grid
from linearizer_core.operators.flow.collapse import collapse
from linearizer_core.operators.flow.grids import TERMINALS, Terminal, grid_times, time_grid
from linearizer_core.operators.flow.guidance import guided
from linearizer_core.operators.flow.loop import integrate
from linearizer_core.operators.flow.solvers import OPEN_SOLVERS, SOLVERS, Solver
from linearizer_core.operators.flow.subspace import SubspaceFlow
from linearizer_core.operators.flow.summary import FlowSummary
from linearizer_core.operators.flow.velocity import BatchedFlow, Flow, PointwiseFlow, VelocityAt, velocity_operator

__all__ = [
    "OPEN_SOLVERS",
    "SOLVERS",
    "TERMINALS",
    "AdaptiveGrid",
    "BatchedFlow",
    "Flow",
    "FlowSummary",
    "PointwiseFlow",
    "Solver",
    "SubspaceFlow",
    "Terminal",
    "VelocityAt",
    "adaptive_grid",
    "collapse",
    "grid_times",
    "guided",
    "integrate",
    "time_grid",
    "velocity_operator",
]
