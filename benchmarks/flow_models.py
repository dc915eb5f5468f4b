"""The models whose sampling and training are timed, on random images: speed does not depend on the pixels, so no data is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.published_backbone import published_backbone
from benchmarks.tools.environment import SEED
from linearizer_core.bijections import Bijection
from linearizer_core.config_file import load_config
from linearizer_core.data import DataInfo, Splits, TensorTable, collate
from linearizer_core.factory import build_model, create_core
from linearizer_core.model import LinearizerModel
from linearizer_core.task import BuildContext, Task
from linearizer_core.testing.perturb import perturb
from linearizer_flow.config import FlowConfig
from linearizer_flow.task import FlowTask

CONFIGS = Path(__file__).parents[1] / "configs"
BLOCKS = 6
"""Blocks of the published design, as in the paper: an ActNorm, a 1x1 convolution and two couplings each."""
SMALL = [
    'backbone={name="coupling", levels=[{couplings=2, width=8}], dense={couplings=2, width=16}}',
    "core.rank=4",
]
"""Overrides for a quick run."""


@final
@dataclass(frozen=True)
class FlowModel:
    """A task, its model, and random images of the right shape."""

    name: str
    task: Task
    model: LinearizerModel
    splits: Splits

    @property
    def parameters(self) -> int:
        return count(self.model)

    def prepared(self, device: str) -> FlowModel:
        """With everything fitted that training would fit, weights that have moved, and in evaluation mode."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            for moved in (False, True):
                for stage in self.task.stages():
                    stage.begin(self.model, self.splits)
                    batch = next(iter(DataLoader(stage.dataset(self.model, self.splits), batch_size=16, collate_fn=collate)))
                    with torch.no_grad():
                        stage.loss(self.model, batch, torch.Generator())
                if not moved:
                    perturb(self.model)
        self.model.to(device).eval().requires_grad_(False)
        return self


def random_images(shape: tuple[int, ...], examples: int) -> Splits:
    """Images of uniform noise with random labels."""
    generator = torch.Generator().manual_seed(SEED)
    table = TensorTable(x=torch.rand(examples, *shape, generator=generator), label=torch.randint(10, (examples,), generator=generator))
    return Splits(DataInfo(name="noise", shape=shape, classes=10), table, table, table)


def latent_prior(splits: Splits, *, small: bool = False) -> FlowModel:
    """``configs/flow_mnist.toml``: the noise side needs no network."""
    return _configured("latent prior", "flow_mnist.toml", splits, small)


def noise_encoder(splits: Splits, *, small: bool = False) -> FlowModel:
    """``configs/flow_mnist_published.toml``: the same backbone once for noise and once for data, and a low-rank core."""
    return _configured("noise encoder", "flow_mnist_published.toml", splits, small)


def published_design(splits: Splits, parameters: int, *, batch_size: int = 128) -> FlowModel:
    """The published backbone for noise and for data, core and loss; as wide as ``parameters`` parameters in all allow, as nearly as a whole width can."""
    task = FlowTask(FlowConfig.model_validate({"recipe": "published", "published": {"training": {"batch_size": batch_size}}}))
    model, width = published_model(task, splits.info, parameters)
    return FlowModel(f"published design, width {width}", task, model, splits)


def published_model(task: Task, info: DataInfo, parameters: int, *, seed: int = SEED, **core: int) -> tuple[LinearizerModel, int]:
    """The published backbone twice and a core of rank 8, untrained, of about as many ``parameters``, and its width; ``core`` holds options of the core."""

    def build(width: int) -> LinearizerModel:
        def backbone(shape: tuple[int, ...], conditions: dict[str, int] | None) -> Bijection:
            return published_backbone(shape, couplings=2 * BLOCKS, width=width)

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return task.build(BuildContext(info, backbone, lambda shape, conditions: create_core("low_rank", shape, rank=8, **core)))

    width = nearest(lambda candidate: count(build(candidate)), parameters)
    return build(width), width


def nearest(size: Callable[[int], int], wanted: int) -> int:
    """The positive whole number whose ``size``, which grows with it, is nearest to ``wanted``.

    Example:
        >>> nearest(lambda n: n * n, 60)
        8
    """
    above = 1
    while size(above) < wanted:
        above *= 2
    below = above // 2
    while above - below > 1:
        middle = (above + below) // 2
        below, above = (middle, above) if size(middle) < wanted else (below, middle)
    return above if below == 0 or size(above) - wanted <= wanted - size(below) else below


def count(module: nn.Module) -> int:
    """Parameters, each once."""
    return sum(parameter.numel() for parameter in module.parameters())


def _configured(name: str, config: str, splits: Splits, small: bool) -> FlowModel:
    # The configuration names a dataset; random images of the same shape stand in for it.
    run = load_config(CONFIGS / config, ["data.root=unused", *(SMALL if small else [])])
    task, model = build_model(run.model, splits.info, SEED)
    return FlowModel(name, task, model, splits)
