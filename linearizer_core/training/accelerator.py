"""The accelerator of a run."""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, DistributedType, GradientAccumulationPlugin

from linearizer_core.config import TrainingConfig
from linearizer_core.errors import ConfigError

__all__ = ["make_accelerator", "set_threads"]

_SUPPORTED = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)


def make_accelerator(config: TrainingConfig) -> Accelerator:
    """Take hold of the device, and of the process group where ``accelerate launch`` started several processes.

    Raises:
        ConfigError: for fp16 without a GPU, and for a kind of distribution that is not data-parallel.
    """
    # Accelerate keeps the first run's precision for the whole process; a second run in a notebook may ask for another.
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        # Said outright: otherwise several processes on a machine without an accelerator would each believe to be alone.
        cpu=not torch.accelerator.is_available(),
        mixed_precision=config.mixed_precision,
        # The loop accumulates by itself; the plugin keeps a variable set by the launcher from dividing the loss again.
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1, sync_with_dataloader=False),
        log_with=None if config.tracker == "jsonl" else config.tracker,
        project_dir=str(config.output),
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )
    if accelerator.distributed_type not in _SUPPORTED:
        raise ConfigError(
            f"accelerate is configured for {accelerator.distributed_type.value}; training runs on one process or data-parallel (DDP) "
            "on several: run `accelerate config` and choose no FSDP, DeepSpeed or Megatron"
        )
    if config.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise ConfigError("training.mixed_precision is 'fp16', which needs a GPU, and this run is on the CPU; use 'no' or 'bf16'")
    accelerator.init_trackers(
        "tensorboard" if config.tracker == "tensorboard" else "linearizer",
        init_kwargs={"wandb": {"dir": str(config.output), "name": config.output.name}, "trackio": {"name": config.output.name}},
    )
    return accelerator


def set_threads(accelerator: Accelerator, threads: int | None) -> None:
    """Give each process on a CPU ``threads`` threads, by default its share of the cores. ``accelerate launch`` would leave it one."""
    if accelerator.device.type == "cpu":
        local_processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        torch.set_num_threads(threads or max(1, _cores() // local_processes))


def _cores() -> int:
    # Only Linux tells which cores this process may use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
