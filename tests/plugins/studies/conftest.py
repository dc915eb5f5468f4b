"""Subjects of studies: two short runs on the digits, and models made by hand, whose answers are known."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from linearizer_core.bijections import Bijection, Chain, FixedOrthogonal, Flatten
from linearizer_core.condition import Condition
from linearizer_core.config import CollapseConfig, Component, ModelConfig
from linearizer_core.cores import CoreOperator, TimeDependentCore
from linearizer_core.data import Splits
from linearizer_core.factory import create_dataset
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import Dense, LinearOperator, ScaledIdentity
from linearizer_core.operators.flow import BatchedFlow, Flow, Terminal
from linearizer_core.pretrained import Pretrained
from linearizer_core.pretrained.artifact import ArtifactConfig
from linearizer_core.study import StudySubject, open_subject
from linearizer_core.task import BuildContext, Report, Stage, Task

RUN = """
[data]
name = "digits"
[backbone]
name = "coupling"
normalize = {{ shift = -0.3, scale = 2.0 }}
levels = [{{ couplings = 2, width = 8 }}]
dense = {{ couplings = 2, width = 32 }}
[training]
output = "{output}"
checkpoint_every = 6
keep_checkpoints = 3
threads = 1
[task.evaluation]
samples = 100
"""
FLOW = """
[task]
name = "flow"
[task.latent_prior.reconstruction]
steps = 12
[task.latent_prior.prior]
steps = 3
batch_size = 64
[core]
name = "gaussian"
rank = 6
"""
PROJECTOR = """
[task]
name = "ign"
[task.generation]
components = 6
[task.generation.prior]
steps = 3
batch_size = 64
[task.projection]
steps = 12
[core]
name = "projector"
rank = 6
"""


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One classifier for all studies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LINEARIZER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def _run(folder: Path, part: str) -> StudySubject:
    (folder / "run.toml").write_text(part + RUN.format(output=folder / "run"))
    with redirect_stdout(io.StringIO()):
        return open_subject(str(folder / "run.toml"))


@pytest.fixture(scope="session")
def flow(tmp_path_factory: pytest.TempPathFactory, cache: None) -> StudySubject:
    return _run(tmp_path_factory.mktemp("flow"), FLOW)


@pytest.fixture(scope="session")
def projector(tmp_path_factory: pytest.TempPathFactory, cache: None) -> StudySubject:
    return _run(tmp_path_factory.mktemp("projector"), PROJECTOR)


class Given(CoreOperator):
    """A core that is one operator."""

    def __init__(self, operator: LinearOperator) -> None:
        super().__init__(operator.shape)
        self.weight = nn.Parameter(torch.zeros(1))
        self.given = operator

    def operator(self, condition: Condition | None = None) -> LinearOperator:
        return self.given


class ByHand(Task):
    """A task whose model is there already."""

    def __init__(self, config: CollapseConfig | None = None) -> None:
        self.config = config

    def build(self, context: BuildContext) -> LinearizerModel:
        raise NotImplementedError

    def stages(self) -> list[Stage]:
        raise NotImplementedError

    def collapse(self) -> CollapseConfig | None:
        return self.config

    def evaluate(self, model: LinearizerModel, splits: Splits, folder: Path, *, operator: LinearOperator | None = None) -> Report:
        raise NotImplementedError


@pytest.fixture(scope="session")
def splits() -> Splits:
    loaded: Splits = create_dataset("digits").load()
    return loaded


def rotation(*after: Bijection) -> Bijection:
    """A g of the digits that nothing is wrong with: flattened and turned, by ``after`` last."""
    return Chain(Flatten((1, 8, 8)), FixedOrthogonal((64,), seed=0), *after)


@pytest.fixture(scope="session")
def by_hand(splits: Splits) -> Callable[..., StudySubject]:
    """A subject of an operator or a core, and of bijections."""

    def make(
        core: LinearOperator | CoreOperator,
        g: Bijection | None = None,
        *,
        gx: Bijection | None = None,
        collapse: CollapseConfig | None = None,
        operator: LinearOperator | None = None,
        data: Splits = splits,
    ) -> StudySubject:
        g = rotation() if g is None else g
        task = ByHand(collapse)
        model = LinearizerModel(gx or g, core if isinstance(core, CoreOperator) else Given(core), g).eval()
        names = ModelConfig(task=Component(name="by-hand"), backbone=Component(name="by-hand"), core=Component(name="by-hand"))
        made = operator if operator is not None else task.collapsed(model)
        return StudySubject("by hand", Pretrained(task, model, ArtifactConfig(model=names, data=data.info), operator=made), data)

    return make


class KnownFlow(TimeDependentCore):
    r"""The flow of :math:`\dot z = (L_0 + t L_1) z`: regular everywhere, and its parts do not commute."""

    terminals = ("early", "last_step", "limit")
    default_terminal = "limit"

    def __init__(self, dim: int = 64) -> None:
        super().__init__(dim)
        generator = torch.Generator().manual_seed(0)
        self.first, self.second = (nn.Parameter(scale * torch.randn(dim, dim, generator=generator) / dim**0.5) for scale in (1.0, 0.7))

    def at(self, t: float) -> LinearOperator:
        return ScaledIdentity(1.0, self.dim, dtype=self.first.dtype) + self.velocities(torch.tensor([t]))[0] * (1 - t)

    def predict(self, z: Tensor, t: Tensor) -> Tensor:
        return torch.stack([self.at(float(time))(row) for time, row in zip(t, z, strict=True)])

    def velocities(self, times: Tensor) -> list[LinearOperator]:
        return [Dense(self.first.detach() + t * self.second.detach()) for t in times.tolist()]

    def flow(self, terminal: Terminal = "early") -> Flow:
        self.check_terminal(terminal)
        return BatchedFlow(self.velocities)


@pytest.fixture(scope="session")
def known_flow() -> KnownFlow:
    return KnownFlow()


@pytest.fixture(scope="session", name="rotation")
def rotation_fixture() -> Callable[..., Bijection]:
    return rotation
