"""The training loop: stages, steps, metrics, samples and checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from linearizer_core.config import TrainingConfig
from linearizer_core.data import Batch, Splits, collate
from linearizer_core.errors import CheckpointError, NonFiniteLossError, TrainingError
from linearizer_core.model import LinearizerModel
from linearizer_core.task import Stage, Task
from linearizer_core.training.accelerator import make_accelerator
from linearizer_core.training.average import WeightAverage
from linearizer_core.training.checkpoint import CheckpointFolder, TrainingState
from linearizer_core.training.differences import differing_keys
from linearizer_core.training.execution import executed_as
from linearizer_core.training.monitor import measure_invertibility
from linearizer_core.training.optimizer import make_optimizer
from linearizer_core.training.sampler import StageSampler
from linearizer_core.training.samples import write_preview
from linearizer_core.training.schedule import learning_rate
from linearizer_core.training.seeds import derive_seed
from linearizer_core.training.stage_step import StageStep, select_parameters
from linearizer_core.training.state import load_model, load_optimizer, model_tensors, optimizer_tensors
from linearizer_core.training.tracking import MetricsFile

__all__ = ["FitResult", "fit", "identity_of"]


@dataclass(frozen=True)
class FitResult:
    """What `fit` did: steps over all stages, seconds by stage over all resumes, and the step it resumed from (None for a fresh run)."""

    steps: int
    seconds: dict[str, float]
    resumed_from: int | None


def fit(task: Task, model: LinearizerModel, splits: Splits, config: TrainingConfig, *, accelerator: Accelerator | None = None) -> FitResult:
    """Train ``model`` in place through all stages of ``task``, continuing from the newest complete checkpoint in ``config.output``.

    Interrupted and resumed training gives the bits of uninterrupted training (on the CPU; on a GPU as far as its kernels are deterministic).
    Several processes started by ``accelerate launch`` share each global batch; they must see one file system.

    Raises:
        ConfigError: when a batch is larger than the data or does not split evenly, and for a device that does not fit.
        CheckpointError: when the checkpoints there belong to another run, or none of them is usable.
        NonFiniteLossError: when the loss or its gradient becomes NaN or infinite; checkpoints from before stay.
        TrainingError: when a stage trains parameters that its loss does not reach.
    """
    accelerator = make_accelerator(config) if accelerator is None else accelerator
    return _Fit(task, model, splits, config, accelerator).run()


def identity_of(config: TrainingConfig, stages: Iterable[Stage]) -> dict[str, Any]:
    """What decides the course of training: a checkpoint of another identity is refused."""
    return {
        "seed": config.seed,
        "mixed_precision": config.mixed_precision,
        "accumulation_steps": config.accumulation_steps,
        "compile": config.compile,
        "channels_last": config.channels_last,
        "reversible": config.reversible and config.reversible.model_dump(mode="json"),
        "stages": {stage.name: stage.config.model_dump(mode="json") for stage in stages},
    }


@dataclass
class _Progress:
    """A stage in progress."""

    index: int
    stage: Stage
    dataset: Dataset[Batch]
    parameters: dict[str, nn.Parameter]
    module: nn.Module
    auxiliary: nn.Module | None
    optimizer: torch.optim.Optimizer
    prepared: Any
    average: WeightAverage | None

    @property
    def names(self) -> list[str]:
        return list(self.parameters)


class _Fit:
    def __init__(self, task: Task, model: LinearizerModel, splits: Splits, config: TrainingConfig, accelerator: Accelerator) -> None:
        self.task = task
        self.model = model
        self.splits = splits
        self.config = config
        self.accelerator = accelerator
        self.stages = list(task.stages())
        self.identity = identity_of(config, self.stages)
        self.checkpoints = CheckpointFolder(config.output / "checkpoints", keep=config.keep_checkpoints)
        self.seconds: dict[str, float] = {stage.name: 0.0 for stage in self.stages}
        self.columns: list[str] = []
        self.window: list[Tensor] = []

    def run(self) -> FitResult:
        main = self.accelerator.is_main_process
        self.config.output.mkdir(parents=True, exist_ok=True)
        trainable = {name: parameter.requires_grad for name, parameter in self.model.named_parameters()}
        self.model.to(self.accelerator.device).train()
        resumed, state, tensors = self._restore()
        self.metrics = MetricsFile(self.config.output / "metrics.jsonl", step=state.step) if main else None
        total = sum(stage.config.steps for stage in self.stages)
        # None: shown on a terminal, silent in a file.
        self.bar = tqdm(total=total, initial=state.step, disable=None if main else True, unit="step", smoothing=0.05)
        try:
            with executed_as(self.config, self.model):
                for index in range(state.stage, len(self.stages)):
                    position = state.stage_step if index == state.stage else 0
                    self._train_stage(index, position, tensors)
        finally:
            self.bar.close()
            if self.metrics is not None:
                self.metrics.close()
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(trainable[name])
        return FitResult(steps=total, seconds=dict(self.seconds), resumed_from=resumed)

    # --- start and resume --------------------------------------------------------------------------

    def _restore(self) -> tuple[int | None, TrainingState, dict[str, dict[str, Tensor]]]:
        choice: list[Any] = [None, None]
        if self.accelerator.is_main_process:
            try:
                choice[0] = self.checkpoints.newest()
                self.checkpoints.clean(choice[0])
            except CheckpointError as error:
                choice[1] = error
        broadcast_object_list(choice)
        if choice[1] is not None:
            raise choice[1]
        step: int | None = choice[0]
        if step is None:
            return None, TrainingState(0, 0, 0, self.seconds, self.identity), {}
        state, tensors = self.checkpoints.load(step)
        if strange := differing_keys(state.identity, self.identity):
            raise CheckpointError(
                f"{self.checkpoints.path(step)} belongs to another run: {strange}; train into another output folder, or restore the configuration"
            )
        load_model(self.model, tensors["model"])
        self.seconds = dict(state.seconds)
        if self.accelerator.scaler is not None and state.scaler:
            self.accelerator.scaler.load_state_dict(state.scaler)
        return step, state, tensors

    def _enter(self, index: int, position: int, tensors: dict[str, dict[str, Tensor]]) -> _Progress:
        stage, accelerator = self.stages[index], self.accelerator
        if position == 0:
            stage.begin(self.model, self.splits)
        parameters = select_parameters(stage, self.model)
        dataset = stage.dataset(self.model, self.splits)
        module = StageStep(stage, self.model).to(accelerator.device)
        if module.auxiliary is not None:
            if position > 0:
                load_model(module.auxiliary, tensors["auxiliary"])
            parameters |= {f"auxiliary.{name}": parameter for name, parameter in module.auxiliary.named_parameters()}
        if position == 0:
            self._rehearse(index, module, dataset, parameters)
        optimizer = make_optimizer(parameters.values(), stage.config.optimizer)
        wrapped, prepared = accelerator.prepare(module, optimizer)
        # After the distributed wrapper, which gives every process the weights of the first.
        ema = stage.config.ema
        average = None if ema is None else WeightAverage(parameters, ema=ema, warmup=stage.config.ema_warmup)
        if position > 0:
            load_optimizer(optimizer, list(parameters), tensors["optimizer"])
            if average is not None:
                average.load(tensors["ema"])
        return _Progress(index, stage, dataset, parameters, wrapped, module.auxiliary, optimizer, prepared, average)

    def _rehearse(self, index: int, module: StageStep, dataset: Dataset[Batch], parameters: dict[str, nn.Parameter]) -> None:
        """One loss and its gradient on the first micro-batch, before the model is shared among processes and averaged.

        Layers that initialise themselves from the first data they see do so here, and the distributed wrapper then gives every process the
        same; and a parameter without a gradient shows, which on one process would silently never train and on several would stop obscurely.
        """
        batch = next(self._batches(dataset, self._sampler(index, dataset, 0)))
        generator = torch.Generator(self.accelerator.device).manual_seed(derive_seed(self.config.seed, "rehearsal", index))
        with self.accelerator.autocast():
            loss = module(batch, generator, 0)["loss"]
        loss.backward()
        unreached = [name for name, parameter in parameters.items() if parameter.grad is None]
        if unreached:
            raise TrainingError(
                f"stage {module.stage.name!r}: its loss does not depend on {len(unreached)} of its {len(parameters)} parameters, "
                f"first {unreached[0]!r}; leave them out of Stage.parameters"
            )
        for parameter in parameters.values():
            parameter.grad = None

    # --- data ----------------------------------------------------------------------------------------

    def _sampler(self, index: int, dataset: Dataset[Batch], start: int) -> StageSampler:
        stage = self.stages[index]
        return StageSampler(
            stage=index,
            name=stage.name,
            examples=len(dataset),  # type: ignore[arg-type]
            batch_size=stage.config.batch_size,
            start=start,
            stop=stage.config.steps,
            seed=self.config.seed,
            process=self.accelerator.process_index,
            processes=self.accelerator.num_processes,
            accumulation_steps=self.config.accumulation_steps,
        )

    def _batches(self, dataset: Dataset[Batch], sampler: StageSampler) -> Iterator[Batch]:
        device = self.accelerator.device
        loader = DataLoader(
            dataset,
            batch_sampler=sampler,
            collate_fn=collate,
            num_workers=self.config.num_workers,
            # Its own: otherwise starting the loader would draw from the global random state.
            generator=torch.Generator(),
            # From pinned memory a copy to a GPU runs while the host goes on.
            pin_memory=device.type == "cuda",
        )
        for batch in loader:
            yield {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}

    # --- one stage -----------------------------------------------------------------------------------

    def _train_stage(self, index: int, position: int, tensors: dict[str, dict[str, Tensor]]) -> None:
        config, accelerator = self.config, self.accelerator
        self.clock = time.perf_counter()
        progress = self._enter(index, position, tensors)
        stage = progress.stage
        before = sum(earlier.config.steps for earlier in self.stages[:index])
        sampler = self._sampler(index, progress.dataset, position)
        batches = self._batches(progress.dataset, sampler)
        generator = torch.Generator(accelerator.device)
        self.bar.set_description(stage.name)
        for step in range(position, stage.config.steps):
            self._step(progress, step, batches, generator)
            self.bar.update()
            done, last = before + step + 1, step + 1 == stage.config.steps
            saving = last or done % config.checkpoint_every == 0
            watching = config.monitor is not None and done % config.monitor.every == 0
            if saving or watching or done % config.log_every == 0:
                self._log(progress, step, done, self._watch(done) if watching else {})
            if last:
                self._leave(progress)
            if config.sample_every and done % config.sample_every == 0:
                self._sample(progress, done)
            if saving:
                self._save(progress, done, step + 1)
        accelerator.free_memory(progress.module, progress.prepared)

    def _step(self, progress: _Progress, step: int, batches: Iterator[Batch], generator: torch.Generator) -> None:
        accelerator, config, pieces = self.accelerator, progress.stage.config, self.config.accumulation_steps
        for group in progress.optimizer.param_groups:
            group["lr"] = learning_rate(config, step)
        progress.prepared.zero_grad()
        totals: dict[str, Tensor] = {}
        for micro in range(pieces):
            # Named by the chunk of the global batch: two processes draw the noise that one process draws in two micro-batches.
            chunk = micro * accelerator.num_processes + accelerator.process_index
            generator.manual_seed(derive_seed(self.config.seed, "noise", progress.index, step, chunk))
            with nullcontext() if micro + 1 == pieces else accelerator.no_sync(progress.module):
                values = progress.module(next(batches), generator, step)
                accelerator.backward(values["loss"] / pieces)
            for name, value in values.items():
                share = value.detach().float() / pieces
                totals[name] = totals[name] + share if micro else share
        norm = self._clip(progress.parameters.values(), config.clip_norm)
        progress.prepared.step()
        if progress.average is not None:
            progress.average.update(step)  # also after a step that fp16 skipped: to know of that, the host would have to wait
        self.columns = ["loss", "grad_norm", *sorted(totals.keys() - {"loss"})]
        self.window.append(torch.stack([totals["loss"], norm.float(), *(totals[name] for name in self.columns[2:])]))

    def _clip(self, parameters: Iterable[nn.Parameter], clip_norm: float | None) -> Tensor:
        """The norm of the gradient before it is clipped. Nothing is multiplied where nothing is to be clipped."""
        if clip_norm is not None:
            norm: Tensor = self.accelerator.clip_grad_norm_(parameters, clip_norm)
            return norm
        self.accelerator.unscale_gradients()
        return torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])

    # --- what is written -------------------------------------------------------------------------------

    def _watch(self, done: int) -> dict[str, float | None]:
        if self.config.monitor is None or not self.accelerator.is_main_process:
            return {}
        with self.accelerator.autocast():
            seed, device = self.config.seed, self.accelerator.device
            return measure_invertibility(self.model, self.splits, self.config.monitor, step=done, seed=seed, device=device)

    def _log(self, progress: _Progress, step: int, done: int, watched: dict[str, float | None]) -> None:
        """Average the steps since the last call, check them, and write a line. The only place where the host waits for the device."""
        table = self.accelerator.reduce(torch.stack(self.window), "mean").double().cpu()
        self.window.clear()
        finite = table[:, :2].isfinite().all(1)
        self._check(progress, table, finite, step, done)
        means = {name: _number(value) for name, value in zip(self.columns, table[finite].mean(0).tolist(), strict=True)}
        line = {"step": done, "stage": progress.stage.name, "stage_step": step + 1, "lr": learning_rate(progress.stage.config, step), **means, **watched}
        if self.metrics is not None:
            self.metrics.write(line)
            self.bar.set_postfix({"loss": means["loss"]}, refresh=False)
        self.accelerator.log({name: value for name, value in line.items() if isinstance(value, int | float)}, step=done)

    def _check(self, progress: _Progress, table: Tensor, finite: Tensor, step: int, done: int) -> None:
        """Raise on a non-finite step. Under fp16 the scaler skips such steps while it searches its scale, which is right until the scale falls below 1."""
        scaler = self.accelerator.scaler
        if bool(finite.all()) or (scaler is not None and scaler.get_scale() >= 1):
            return
        row = int((~finite).nonzero()[0])
        behind = len(table) - 1 - row
        saved = self.checkpoints.steps()
        rescue = f"the last good checkpoint is {self.checkpoints.path(saved[-1])}" if saved else "there is no checkpoint yet"
        raise NonFiniteLossError(
            f"stage {progress.stage.name!r}, step {step + 1 - behind} (step {done - behind} of the run): loss {float(table[row, 0])}, gradient norm "
            f"{float(table[row, 1])}, expected finite numbers; {rescue}. Lower optimizer.lr (now {progress.stage.config.optimizer.lr}), set clip_norm, or use "
            "mixed_precision = 'no', and train into a new output folder"
        )

    def _leave(self, progress: _Progress) -> None:
        if progress.average is not None:
            progress.average.copy_to_parameters()

    def _sample(self, progress: _Progress, done: int) -> None:
        if self.accelerator.is_main_process:
            path = self.config.output / "samples" / f"{done:06d}.png"
            with nullcontext() if progress.average is None else progress.average.applied():
                write_preview(self.task, self.model, self.splits, path, seed=self.config.seed, device=self.accelerator.device)

    def _save(self, progress: _Progress, done: int, stage_step: int) -> None:
        now = time.perf_counter()
        self.seconds[progress.stage.name] += now - self.clock
        self.clock = now
        if self.metrics is None:
            return
        self.metrics.sync()
        scaler = self.accelerator.scaler
        # A finished stage is saved as the next one not begun: its averaged weights, and no optimiser.
        ended = stage_step == progress.stage.config.steps
        state = TrainingState(
            step=done,
            stage=progress.index + 1 if ended else progress.index,
            stage_step=0 if ended else stage_step,
            seconds=self.seconds,
            identity=self.identity,
            scaler=None if scaler is None else scaler.state_dict(),
        )
        tensors: dict[str, dict[str, Tensor]] = {"model": model_tensors(self.model)}
        if not ended:
            tensors["optimizer"] = optimizer_tensors(progress.optimizer, progress.names)
            if progress.auxiliary is not None:
                tensors["auxiliary"] = model_tensors(progress.auxiliary)
            if progress.average is not None:
                tensors["ema"] = progress.average.tensors()
        self.checkpoints.save(state, tensors)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
