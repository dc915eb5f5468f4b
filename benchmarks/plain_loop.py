"""The training loop that somebody writes by hand in an afternoon: what our loop is compared with."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.utils.data import DataLoader

from linearizer_core.config import StageConfig
from linearizer_core.data import Batch, Splits, collate
from linearizer_core.model import LinearizerModel
from linearizer_core.task import Stage


def shuffled_batches(splits: Splits, config: StageConfig) -> Iterable[Batch]:
    """``config.steps`` shuffled batches of the training split."""
    done = 0
    while True:
        for batch in DataLoader(splits.train, batch_size=config.batch_size, shuffle=True, drop_last=True, collate_fn=collate):
            if done == config.steps:
                return
            done += 1
            yield batch


def train_plainly(stage: Stage, model: LinearizerModel, batches: Iterable[Batch], *, device: str, bf16: bool, seed: int) -> list[float]:
    """Train ``model`` in place through one stage; the loss of every tenth step. Same loss, optimiser, schedule, clipping and average of weights as ours."""
    config, generator = stage.config, torch.Generator(device).manual_seed(seed)
    model.to(device).train()
    parameters = list(stage.parameters(model))
    optimizer = _optimizer(parameters, config)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(config, step))
    average = [parameter.detach().clone() for parameter in parameters]
    losses = []
    for step, batch in enumerate(batches):
        batch = {name: tensor.to(device) for name, tensor in batch.items()}
        optimizer.zero_grad()
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=bf16):
            loss = stage.loss(model, batch, generator)["loss"]
        loss.backward()  # type: ignore[no-untyped-call]
        if config.clip_norm is not None:
            nn.utils.clip_grad_norm_(parameters, config.clip_norm)
        optimizer.step()
        scheduler.step()
        if config.ema is not None:
            decay = min(config.ema, step / (step + config.ema_warmup))
            with torch.no_grad():
                for mean, parameter in zip(average, parameters, strict=True):
                    mean.lerp_(parameter, 1 - decay)
        if step % 10 == 9:
            losses.append(loss.item())
    if config.ema is not None:
        with torch.no_grad():
            for mean, parameter in zip(average, parameters, strict=True):
                parameter.copy_(mean)
    return losses


def _optimizer(parameters: list[nn.Parameter], config: StageConfig) -> torch.optim.Optimizer:
    options = config.optimizer
    kind = torch.optim.AdamW if options.name == "adamw" else torch.optim.Adam
    return kind(parameters, lr=options.lr, betas=options.betas, weight_decay=options.weight_decay)


def _rate(config: StageConfig, step: int) -> float:
    """Warm-up, a plateau, a cosine, as a factor of the full rate."""
    done, held = step + 1, config.hold * config.steps
    warm_up = min(1.0, done / config.warmup_steps) if config.warmup_steps else 1.0
    progress = min(1.0, max(0.0, done - held) / max(1.0, config.steps - held))
    floor = config.final_lr_fraction
    return warm_up * (floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2)
