"""What a benchmark leaves behind: NAME.json and NAME.md, for each device."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, final

from benchmarks.tools.figures import Figure
from benchmarks.tools.tables import marked, number, table
from linearizer_core.files import write_json, write_text


@final
@dataclass(frozen=True)
class Target:
    """A figure that was promised, and whether it was reached."""

    text: str
    limit: float
    measured: float
    bound: Literal["at most", "at least"]
    extrapolated: bool = False

    @property
    def met(self) -> bool:
        return self.measured <= self.limit if self.bound == "at most" else self.measured >= self.limit

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "met": self.met}


@final
@dataclass(frozen=True)
class Results:
    """Everything that one run of a benchmark found."""

    name: str
    command: str
    quick: bool
    environment: dict[str, Any]
    settings: dict[str, Any]
    cases: list[dict[str, Any]]
    figures: dict[str, Figure] = field(default_factory=dict)
    targets: list[Target] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        figures = {name: figure.to_dict() for name, figure in self.figures.items()}
        return {**self.__dict__, "figures": figures, "targets": [target.to_dict() for target in self.targets]}

    def write(self, folder: Path, device_slug: str, text: str) -> None:
        """Write ``NAME.json`` and ``NAME.md``; the name of a device other than the CPU stands between name and suffix."""
        folder.mkdir(parents=True, exist_ok=True)
        stem = ".".join(part for part in (self.name, device_slug) if part)
        write_json(folder / f"{stem}.json", self.to_dict())
        write_text(folder / f"{stem}.md", text + "\n")


def read_figures(path: Path) -> dict[str, Figure]:
    """The figures of a results file. JSON spells infinities and NaN as strings."""
    found = json.loads(path.read_text(encoding="utf-8"))["figures"]
    return {name: Figure(float(entry["value"]), entry["kind"], entry["extrapolated"]) for name, entry in found.items()}


def read_targets(path: Path) -> list[Target]:
    """The targets of a results file."""
    found = json.loads(path.read_text(encoding="utf-8"))["targets"]
    return [Target(entry["text"], float(entry["limit"]), float(entry["measured"]), entry["bound"], entry["extrapolated"]) for entry in found]


def is_quick(path: Path) -> bool:
    """Whether a results file comes from a run with ``--quick``."""
    return bool(json.loads(path.read_text(encoding="utf-8"))["quick"])


def target_table(targets: list[Target]) -> str:
    """Targets beside what was measured."""
    rows = [
        [target.text, f"{target.bound} {number(target.limit)}", marked(number(target.measured), target.extrapolated), "met" if target.met else "missed"]
        for target in targets
    ]
    return table(["target", "limit", "measured", ""], rows)
