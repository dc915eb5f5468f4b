"""The order in which a stage sees its examples: a function of (seed, stage, step)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from linearizer_core.errors import ConfigError
from linearizer_core.training.seeds import derive_seed

__all__ = ["StageSampler", "check_batch_size"]


def check_batch_size(stage: str, batch_size: int, *, examples: int, chunks: int) -> None:
    """Raise `ConfigError` unless ``examples`` give at least one batch and a batch splits into ``chunks`` equal parts.

    Chunks are processes times accumulation steps: unequal parts would weigh their examples differently.
    """
    if batch_size > examples:
        raise ConfigError(f"stage {stage!r}: batch_size is {batch_size}, but it trains on {examples} examples; set batch_size to {examples} or less")
    if batch_size % chunks:
        near = max(batch_size // chunks, 1) * chunks
        raise ConfigError(f"stage {stage!r}: batch_size {batch_size} does not split into {chunks} equal parts (processes x accumulation_steps); use {near}")


class StageSampler(Sampler[list[int]]):
    r"""Yields the micro-batches of one process, from step ``start`` to ``stop`` of a stage.

    Epoch :math:`e` is a random permutation drawn from (seed, stage, e); step :math:`k` takes the :math:`k \bmod \lfloor n/B \rfloor`-th slice of
    length :math:`B` of epoch :math:`\lfloor k / \lfloor n/B \rfloor \rfloor`, and the remainder of the epoch is dropped. So any step is reached without
    replaying those before, and the global batch is the same for any number of processes. Micro-batch ``a`` of process ``r`` out of ``P`` is chunk
    ``a P + r`` of the global batch.

    Raises:
        ConfigError: when a batch is larger than the data, or does not split evenly.

    Example:
        >>> sampler = StageSampler(stage=0, name="demo", examples=6, batch_size=2, start=0, stop=3, seed=0)
        >>> sorted(index for batch in sampler for index in batch)
        [0, 1, 2, 3, 4, 5]
    """

    def __init__(
        self,
        *,
        stage: int,
        name: str,
        examples: int,
        batch_size: int,
        start: int,
        stop: int,
        seed: int,
        process: int = 0,
        processes: int = 1,
        accumulation_steps: int = 1,
    ) -> None:
        check_batch_size(name, batch_size, examples=examples, chunks=processes * accumulation_steps)
        self.stage = stage
        self.examples = examples
        self.batch_size = batch_size
        self.start = start
        self.stop = stop
        self.seed = seed
        self.process = process
        self.processes = processes
        self.accumulation_steps = accumulation_steps

    def __len__(self) -> int:
        return (self.stop - self.start) * self.accumulation_steps

    def __iter__(self) -> Iterator[list[int]]:
        per_epoch = self.examples // self.batch_size
        size = self.batch_size // (self.processes * self.accumulation_steps)
        drawn, order = -1, torch.empty(0, dtype=torch.int64)
        for step in range(self.start, self.stop):
            epoch, position = divmod(step, per_epoch)
            if epoch != drawn:
                drawn, order = epoch, self._order(epoch)
            chunks = order[position * self.batch_size : (position + 1) * self.batch_size].view(-1, size)
            for micro in range(self.accumulation_steps):
                yield chunks[micro * self.processes + self.process].tolist()

    def _order(self, epoch: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", self.stage, epoch))
        return torch.randperm(self.examples, generator=generator)
