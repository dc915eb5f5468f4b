"""What this plugin provides. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

from linearizer_core.hookspecs import hookimpl
from linearizer_core.specs import CommandSpec, DatasetSpec, TabSpec, TaskSpec

_DETAILS = """\
One bijection g and one generator A give the state at any real time, x(t) = g^-1(exp(tA) g(x(0))): between the samples, beyond them, and backward. The flow
is a semigroup by construction, f_s f_t = f_(s+t), and each f_t has an inverse, f_(-t). Training asks that states are predicted, and that latents move
linearly. No choice of g gives several isolated equilibria, or a limit cycle together with the equilibrium inside it: g and its inverse are continuous,
so the equilibria of f are those of a linear flow, one point or a whole subspace.
"""


@hookimpl
def linearizer_tasks() -> Sequence[TaskSpec]:
    """The task ``dynamics``."""
    return [
        TaskSpec(
            "dynamics",
            target="linearizer_dynamics.task:DynamicsTask",
            config="linearizer_dynamics.config:DynamicsConfig",
            summary="continuous time by one exponential: x(t) = g^-1(exp(tA) g(x(0))) for any real t",
            reference="Berman, Hallak and Shocher, arXiv 2510.08570, future work; Lusch, Kutz and Brunton, arXiv 1712.09707",
            details=_DETAILS,
        )
    ]


@hookimpl
def linearizer_datasets() -> Sequence[DatasetSpec]:
    """Trajectories of systems, and moving digits."""
    return [
        _system(
            "slow_manifold", "SlowManifoldConfig", "two rates and a parabola that attracts; linearized by a quadratic g in closed form", "arXiv 1712.09707"
        ),
        _system("pendulum", "PendulumConfig", "a pendulum without friction, whose frequency depends on its energy", "arXiv 1712.09707"),
        _system("fluid_on_attractor", "FluidOnAttractorConfig", "mean-field model of a wake, on its slow manifold", "Noack et al., J. Fluid Mech. 2003"),
        _system("fluid_off_attractor", "FluidOffAttractorConfig", "the same from anywhere in a box around it", "Noack et al., J. Fluid Mech. 2003"),
        _system("koopmanae_pendulum", "KoopmanaePendulumConfig", "one swing of a pendulum, seen for 60 s, to be predicted for 100 s", "arXiv 2003.02236"),
        _system("double_well", "DoubleWellConfig", "two stable equilibria: what one linear generator cannot have", ""),
        DatasetSpec(
            "moving_digit",
            target="linearizer_dynamics.data.moving_digit:MovingDigit",
            config="linearizer_dynamics.config:MovingDigitConfig",
            summary="films of handwritten digits that rotate, or go round in a circle, at any times",
        ),
    ]


@hookimpl
def linearizer_commands() -> Sequence[CommandSpec]:
    """The command group ``dynamics``."""
    return [
        CommandSpec(
            "dynamics", target="linearizer_dynamics.cli:app", summary="Predict with a model of dynamics, show its spectrum, make a film from one frame."
        )
    ]


@hookimpl
def linearizer_tabs() -> Sequence[TabSpec]:
    """Films from one frame, and orbits from one state."""
    return [
        TabSpec("dynamics", target="linearizer_dynamics.demo.frames:Dynamics", summary="the frame at any time, and a film, from one picture"),
        TabSpec("orbits", target="linearizer_dynamics.demo.orbits:Orbits", summary="the orbit of a state of two or three numbers, beside the true one"),
    ]


def _system(name: str, config: str, summary: str, reference: str) -> DatasetSpec:
    return DatasetSpec(
        name, target=f"linearizer_dynamics.data.sources:{name}", config=f"linearizer_dynamics.config:{config}", summary=summary, reference=reference
    )
