"""The laws of a data source: of three splits that can be trained on, and found again."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from linearizer_core.data import Batch, DataInfo, Splits, collate
from linearizer_core.errors import CheckFailure
from linearizer_core.figures.images import is_image
from linearizer_core.testing.check import Check, Context, SkipCheck
from linearizer_core.testing.subjects import DatasetSubject

_EXAMPLES = 200
"""How many examples of each split most checks look at, evenly spread."""

_COMPARED = 5000
_COMMON = 0.01
"""Real data hold some examples twice; a split that overlaps another by accident shares far more."""


def loads(subject: DatasetSubject, context: Context) -> str:
    splits = subject.make().load()
    if not isinstance(splits, Splits) or not isinstance(splits.info, DataInfo):
        raise CheckFailure(f"load() gives a {type(splits).__name__}, expected linearizer_core.data.Splits with a DataInfo")
    lengths = {name: _length(dataset) for name, dataset in _named(splits)}
    if empty := [name for name, length in lengths.items() if not length]:
        raise CheckFailure(f"the {empty[0]} split is empty ({lengths}); every split needs an example")
    return f"shape {splits.info.shape}, {splits.info.classes} classes, " + ", ".join(f"{length} {name}" for name, length in lengths.items())


def shapes(subject: DatasetSubject, context: Context) -> None:
    splits = subject.make().load()
    expected = {"x", "label"} if splits.info.classes else {"x"}
    for where, item in _items(splits):
        if not expected <= item.keys():
            raise CheckFailure(f"{where} has {sorted(item)}, expected {sorted(expected)}: x, and label where info.classes is above 0")
        if item["x"].shape != splits.info.shape or item["x"].dtype != torch.float32:
            raise CheckFailure(f"{where}: x is {item['x'].dtype} of shape {tuple(item['x'].shape)}, expected torch.float32 of shape {splits.info.shape}")


def ranges(subject: DatasetSubject, context: Context) -> str:
    splits = subject.make().load()
    image = is_image(splits.info.shape)
    least, most = float("inf"), -float("inf")
    for where, item in _items(splits):
        low, high = float(item["x"].min()), float(item["x"].max())
        if not torch.isfinite(item["x"]).all() or (image and (low < 0 or high > 1)):
            raise CheckFailure(
                f"{where}: x runs from {low:g} to {high:g}, expected {'[0, 1], as of every image' if image else 'finite numbers'}; divide by 255"
            )
        least, most = min(least, low), max(most, high)
    if least == most:
        raise CheckFailure(f"every number of every example is {least:g}; nothing was read")
    return f"from {least:g} to {most:g}"


def labels(subject: DatasetSubject, context: Context) -> str:
    splits = subject.make().load()
    classes, seen = splits.info.classes, set()
    for where, item in _items(splits):
        if not classes:
            if "label" in item:
                raise CheckFailure(f"{where} has a label, but info.classes is 0; count the classes, or leave the label out")
            continue
        label = item["label"]
        if label.ndim != 0 or label.dtype.is_floating_point or not 0 <= int(label) < classes:
            raise CheckFailure(f"{where}: label is {label.dtype} {label.tolist()}, expected one integer from 0 to {classes - 1}")
        seen.add(int(label))
    if not classes:
        raise SkipCheck("info.classes is 0")
    return f"{len(seen)} of {classes} classes seen"


def deterministic(subject: DatasetSubject, context: Context) -> None:
    first = subject.make().load()
    torch.manual_seed(1)
    second = subject.make().load()
    if first.info != second.info:
        raise CheckFailure(f"two sources of one configuration describe themselves otherwise: {first.info} and {second.info}")
    for (where, item), (_, other) in zip(_items(first), _items(second), strict=True):
        if not _equal(item, other):
            raise CheckFailure(f"{where} differs between two sources of one configuration; shuffle with a generator seeded from the configuration")
    for (where, item), (_, other) in zip(_items(first), _items(first), strict=True):
        if not _equal(item, other):
            raise CheckFailure(f"{where} differs when it is asked for again; resuming a run needs the same example, so augment in the task")


def disjoint(subject: DatasetSubject, context: Context) -> str:
    splits = subject.make().load()
    digests = {name: {_digest(dataset[index]["x"]) for index in _spread(_length(dataset), _COMPARED)} for name, dataset in _named(splits)}
    worst = 0.0
    for first, second in itertools.combinations(digests, 2):
        share = len(digests[first] & digests[second]) / min(len(digests[first]), len(digests[second]))
        worst = max(worst, share)
        if share > _COMMON:
            raise CheckFailure(f"{share:.0%} of the examples of {first} and {second} are the same; what is measured on one must not be trained on")
    return f"at most {worst:.2%} in common"


def loader(subject: DatasetSubject, context: Context) -> None:
    splits = subject.make().load()
    for name, dataset in _named(splits):
        size = min(5, _length(dataset))
        batch = next(iter(DataLoader(dataset, batch_size=size, collate_fn=collate)))
        expected = [dataset[index] for index in range(size)]
        for key in expected[0]:
            wanted = torch.stack([item[key] for item in expected])
            if key not in batch or batch[key].shape != wanted.shape or not torch.equal(batch[key], wanted):
                found = tuple(batch[key].shape) if key in batch else None
                raise CheckFailure(
                    f"{name}: a loader gives {key} of shape {found}, expected the items one after the other, {tuple(wanted.shape)}; "
                    "__getitems__, where there is one, must agree with __getitem__"
                )


# --- what they share ---------------------------------------------------------------------------------


def _named(splits: Splits) -> tuple[tuple[str, Dataset[Batch]], ...]:
    return ("train", splits.train), ("validation", splits.validation), ("test", splits.test)


def _length(dataset: Dataset[Batch]) -> int:
    return len(dataset)  # type: ignore[arg-type]


def _spread(length: int, count: int) -> list[int]:
    """At most ``count`` indices, evenly spread, the first and the last among them."""
    return sorted(set(torch.linspace(0, length - 1, min(length, count), dtype=torch.float64).round().int().tolist()))


def _items(splits: Splits) -> Iterator[tuple[str, Batch]]:
    for name, dataset in _named(splits):
        for index in _spread(_length(dataset), _EXAMPLES):
            yield f"{name}[{index}]", dataset[index]


def _equal(first: Batch, second: Batch) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def _digest(x: Tensor) -> bytes:
    return hashlib.blake2b(x.contiguous().numpy().tobytes(), digest_size=16).digest()


CHECKS = tuple(
    Check(name, "dataset", law, function)
    for name, law, function in (
        ("loads", "it gives three splits, none empty, and a description", loads),
        ("shapes", "every x is float32 of the described shape, with a label where there are classes", shapes),
        ("ranges", "numbers are finite, and those of images lie in [0, 1]", ranges),
        ("labels", "labels are integers below the number of classes", labels),
        ("deterministic", "two sources of one configuration, and two look-ups, give the same examples", deterministic),
        ("disjoint", "no two splits share examples, but for a few that real data hold twice", disjoint),
        ("loader", "a batch from a loader is the items, stacked", loader),
    )
)
