"""The systems as datasets."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from linearizer_core.data import DataInfo, DataSource, Splits, TensorTable
from linearizer_dynamics.config import (
    DoubleWellConfig,
    FluidOffAttractorConfig,
    FluidOnAttractorConfig,
    KoopmanaePendulumConfig,
    PendulumConfig,
    SlowManifoldConfig,
)
from linearizer_dynamics.data import systems
from linearizer_dynamics.data.integrate import integrate
from linearizer_dynamics.data.swing import Swing

TrajectoriesConfig = SlowManifoldConfig | PendulumConfig | FluidOnAttractorConfig | FluidOffAttractorConfig | DoubleWellConfig


@final
class Trajectories(DataSource):
    """Trajectories of a system.

    An item holds ``x``, the first state ``(n,)``; ``later`` ``(T, n)``, the states at ``times`` ``(T,)`` after it; and, of a system that is driven,
    ``control`` ``(T, m)``, the input up to each of the times.
    """

    def __init__(self, system: systems.System, config: TrajectoriesConfig, *, control: float = 0.0) -> None:
        self.system = system
        self.config = config
        self.control = control

    def load(self) -> Splits:
        config = self.config
        generator = torch.Generator().manual_seed(config.seed)
        tables = [self._table(count, generator) for count in (config.train, config.validation, config.test)]
        return Splits(DataInfo(name=self.system.name, shape=tuple(tables[0].tensors["x"].shape[1:])), *tables)

    def _table(self, count: int, generator: torch.Generator) -> TensorTable:
        config = self.config
        start = self.system.draw(count, generator)
        if config.irregular:
            drawn = torch.rand(count, config.steps, generator=generator, dtype=torch.float64)
            times = config.steps * config.dt * drawn.sort(dim=1).values
        else:
            times = (config.dt * torch.arange(1, config.steps + 1, dtype=torch.float64)).expand(count, -1)
        tensors = {"x": start, "times": times}
        if self.system.entry is not None:
            inputs = self.system.entry.shape[1]
            tensors["control"] = self.control * torch.randn(count, config.steps, inputs, generator=generator, dtype=torch.float64)
        tensors["later"] = integrate(self.system, start, times, tensors.get("control"))
        return TensorTable(**{name: tensor.float() for name, tensor in tensors.items()})


def slow_manifold(config: SlowManifoldConfig) -> Trajectories:
    """The slow manifold, driven where ``config.control`` is above 0.

    Example:
        >>> splits = slow_manifold(SlowManifoldConfig(train=4, validation=1, test=1)).load()
        >>> {name: tuple(tensor.shape) for name, tensor in splits.train[0].items()}
        {'x': (2,), 'times': (50,), 'later': (50, 2)}
    """
    return Trajectories(systems.slow_manifold(config.mu, config.lam, driven=config.control > 0), config, control=config.control)


def pendulum(config: PendulumConfig) -> Trajectories:
    """The pendulum without friction."""
    return Trajectories(systems.pendulum(), config)


def fluid_on_attractor(config: FluidOnAttractorConfig) -> Trajectories:
    """The wake on its slow manifold."""
    return Trajectories(systems.fluid_on_attractor(config.inner_radius), config)


def fluid_off_attractor(config: FluidOffAttractorConfig) -> Trajectories:
    """The wake from anywhere in a box."""
    return Trajectories(systems.fluid_off_attractor(), config)


def double_well(config: DoubleWellConfig) -> Trajectories:
    """The ball between two hollows."""
    return Trajectories(systems.double_well(), config)


@final
class koopmanae_pendulum(DataSource):  # noqa: N801 (a dataset is called by its name)
    """The pendulum that consistent Koopman autoencoders were shown on (Azencot et al., arXiv 2003.02236): one swing without noise, sampled every 0.1 s.

    The first 600 states are seen: windows of them train, every tenth window validates. Test trajectories start at the 30 states that follow, and run on
    through states that nobody has seen. The published method sees the same states lifted to 64 dimensions by an orthonormal map.
    """

    _SEEN, _STARTS, _DT = 600, 30, 0.1

    def __init__(self, config: KoopmanaePendulumConfig) -> None:
        self.config = config

    def load(self) -> Splits:
        config = self.config
        states = Swing(config.angle).at(self._DT * torch.arange(self._SEEN + self._STARTS + config.horizon, dtype=torch.float64))
        starts = torch.arange(self._SEEN - config.window)
        held_out = starts % 10 == 5
        return Splits(
            DataInfo(name="koopmanae_pendulum", shape=(2,)),
            train=self._windows(states, starts[~held_out], config.window),
            validation=self._windows(states, starts[held_out], config.window),
            test=self._windows(states, self._SEEN + torch.arange(self._STARTS), config.horizon),
        )

    def _windows(self, states: Tensor, starts: Tensor, length: int) -> TensorTable:
        steps = torch.arange(1, length + 1)
        times = (self._DT * steps).expand(len(starts), -1)
        return TensorTable(x=states[starts].float(), times=times.float(), later=states[starts[:, None] + steps].float())
