"""What a Space installs: the packages that the framework needs, each at the version that is installed here."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import requires, version

from packaging.requirements import Requirement
from packaging.version import Version

OWN = "linearizer"
"""The distribution of this framework. A Space carries it along, since it may be newer than any that is published."""

_EXTRAS = ("", "demo", "hub", "timm", "train")


def requirements(others: Sequence[str] = ()) -> list[str]:
    """Pinned requirements in the order of their names; ``others`` are lines to add.

    Example:
        >>> [line for line in requirements() if line.startswith("pluggy")]
        ['pluggy==...']
    """
    needed = [Requirement(line) for line in requires(OWN) or ()]
    wanted = {need.name for need in needed if need.name != OWN and any(need.marker is None or need.marker.evaluate({"extra": extra}) for extra in _EXTRAS)}
    return sorted([*(f"{name}=={Version(version(name)).public}" for name in wanted), *others], key=str.lower)
