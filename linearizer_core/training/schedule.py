"""Learning rate and averaging decay as pure functions of the step."""

from __future__ import annotations

import math

from linearizer_core.config import StageConfig

__all__ = ["averaging_decay", "learning_rate"]


def learning_rate(config: StageConfig, step: int) -> float:
    r"""The learning rate of step ``step`` (0-based) of a stage of :math:`N` steps.

    :math:`\eta_k = \eta \cdot \min(1, k/w) \cdot \big(f + (1 - f)\,\tfrac12 (1 + \cos \pi p_k)\big)` with :math:`k = \texttt{step} + 1`,
    :math:`w` the warm-up steps, at most half of all, :math:`f` the final fraction, :math:`p_k = 0` while :math:`k \le hN` and then growing linearly to 1
    at the last step. Being a function of the step alone, it needs no state in checkpoints.

    Example:
        >>> from linearizer_core.config import StageConfig
        >>> optimizer = {"lr": 1.0}
        >>> config = StageConfig(steps=100, batch_size=8, optimizer=optimizer, warmup_steps=10, hold=0.5, final_lr_fraction=0.0)
        >>> [round(learning_rate(config, step), 3) for step in (0, 9, 49, 74, 99)]
        [0.1, 1.0, 1.0, 0.5, 0.0]

        A short run reaches the full rate too:

        >>> short = StageConfig(steps=8, batch_size=8, optimizer=optimizer, warmup_steps=100, hold=0.5)
        >>> [round(learning_rate(short, step), 3) for step in (0, 3)]
        [0.25, 1.0]
    """
    done = step + 1
    warm_up = min(1.0, done / max(1, min(config.warmup_steps, config.steps // 2)))
    held = config.hold * config.steps
    progress = (done - held) / (config.steps - held) if done > held else 0.0
    floor = config.final_lr_fraction
    return config.optimizer.lr * warm_up * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))


def averaging_decay(ema: float, warmup: int, updates: int) -> float:
    r"""The decay :math:`\min(\texttt{ema}, k/(k + \texttt{warmup}))` after :math:`k` earlier updates.

    The average starts as a copy of the weights after the first step, follows them closely at first, and settles at ``ema``.

    Example:
        >>> averaging_decay(0.998, 50, 0), averaging_decay(0.998, 50, 50), averaging_decay(0.998, 50, 10**6)
        (0.0, 0.5, 0.998)
    """
    return min(ema, updates / (updates + warmup))
