"""What a job is: commands, what each of them leaves, and how long they take."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import final

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = "efficientnet_lite0.safetensors"
FETCH = {
    "mnist": "the four idx files of MNIST, gzipped or not; torchvision.datasets.MNIST fetches them",
    "cifar10": "train.npz and test.npz with images, uint8 (N, 32, 32, 3), and labels; torchvision.datasets.CIFAR10 holds them",
    "emoji64": "img/google/64 of the npm package emoji-datasource-google, in one folder for each category of its emoji.json",
    "style": "amber.jpg and amber-STYLE.jpg of pytorch/examples, fast_neural_style",
    WEIGHTS: "the weights of timm's tf_efficientnet_lite0, under its key names, as safetensors",
}
"""What lies in the folder of the data under each name, and where it comes from."""

LEAST_SECONDS = 30.0
REGISTER_SECONDS = 60.0


@dataclass(frozen=True)
class Place:
    """Where jobs find their data and leave their results, as absolute paths, and the device they compute on: ``cuda`` or ``cpu``."""

    data: Path
    runs: Path
    device: str

    @property
    def models(self) -> Path:
        """Where models lie in the form that the registry has."""
        return self.runs / "models"


@dataclass(frozen=True)
class Step:
    """Arguments of the Python interpreter, and the file that shows that this has been done; its name may hold a ``*``."""

    arguments: tuple[str, ...]
    leaves: Path

    @property
    def done(self) -> bool:
        """Whether that file is there."""
        return any(self.leaves.parent.glob(self.leaves.name))


@dataclass(frozen=True, kw_only=True)
class Job(ABC):
    """Steps that run one after the other, in the folder of the data.

    Arguments:
        name: of the job, and of its run folder.
        seconds: how long all of it takes beside three others on the same GPU.
        after: jobs without whose results it cannot begin.
        alone: nothing else may run at the same time, as it measures speed.
    """

    name: str
    seconds: float
    after: tuple[Job, ...] = ()
    alone: bool = False

    @property
    @abstractmethod
    def needs(self) -> tuple[str, ...]:
        """Names in the folder of the data, of those in `FETCH`."""

    @abstractmethod
    def steps(self, place: Place) -> list[Step]:
        """All steps, those that have been done too."""

    def done(self, place: Place) -> bool:
        """Whether all of it has been done."""
        return all(step.done for step in self.steps(place))

    def rest(self, place: Place) -> float:
        """Seconds that are still needed."""
        return self.seconds

    def progress(self, place: Place) -> str:
        """How far it is, in a few words; nothing where that cannot be told."""
        return ""


@final
@dataclass(frozen=True, kw_only=True)
class Training(Job):
    """A run of a configuration, which goes on where it was stopped; its model is then measured again in float16, as the registry has it.

    Arguments:
        config: name of a file in configs/, or the absolute path of another one.
        data: name in the folder of the data; none for data that need no files.
        key: the key of the configuration that takes that folder.
        features: whether it reads the weights of EfficientNet-Lite0.
        overrides: values in place of those in the file.
        becomes: name of the model in the registry; none for a run that is there for the spread of its figures.
    """

    config: str
    data: str | None = None
    key: str = "data.root"
    features: bool = False
    overrides: tuple[str, ...] = ()
    becomes: str | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        return ((self.data,) if self.data else ()) + ((WEIGHTS,) if self.features else ())

    def folder(self, place: Place) -> Path:
        """The run folder."""
        return place.runs / self.name

    def steps(self, place: Place) -> list[Step]:
        folder, config = self.folder(place), str(ROOT / "configs" / self.config)
        overrides = (*((f"{self.key}={place.data / self.data}",) if self.data else ()), *self.overrides)
        train = Step(("-m", "linearizer_core.training", config, *overrides, f"training.output={folder}"), folder / "report.json")
        if self.becomes is None:
            return [train]
        where = ("--float16", "--device", place.device, "--models", str(place.models))
        register = ("-m", "registry.add_model", *where, str(folder), self.becomes, config, *overrides)
        return [train, Step(register, place.models / self.becomes / "config.json")]

    def rest(self, place: Place) -> float:
        folder = self.folder(place)
        if (folder / "report.json").exists():
            return min(self.seconds, REGISTER_SECONDS)
        newest = folder / "checkpoints" / "last"
        if not newest.exists():
            return self.seconds
        state = json.loads((newest.parent / newest.read_text(encoding="utf-8").strip() / "state.json").read_text(encoding="utf-8"))
        trained: float = sum(state["seconds"].values())
        return max(LEAST_SECONDS, self.seconds - trained)

    def progress(self, place: Place) -> str:
        metrics = self.folder(place) / "metrics.jsonl"
        lines = metrics.read_text(encoding="utf-8").splitlines() if metrics.exists() else []
        return f"step {json.loads(lines[-1])['step']:,}" if lines and lines[-1].endswith("}") else ""


@final
@dataclass(frozen=True, kw_only=True)
class Measurement(Job):
    """A command that begins anew each time.

    Arguments:
        command: arguments of the interpreter; {data}, {runs}, {device} and {root}, the folder of the repository, are filled in.
        leaves: what it writes, below the folder of the runs; the name of the file may hold a ``*``.
        reads: names in the folder of the data.
    """

    command: tuple[str, ...]
    leaves: str
    reads: tuple[str, ...] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        return self.reads

    def steps(self, place: Place) -> list[Step]:
        values = {"data": place.data, "runs": place.runs, "device": place.device, "root": ROOT}
        return [Step(tuple(argument.format_map(values) for argument in self.command), place.runs / self.leaves.format_map(values))]
