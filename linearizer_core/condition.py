"""What a network is conditioned on: named per-example tensors."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import torch
from torch import Tensor

from linearizer_core.errors import ConditionError

_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class Condition(Mapping[str, Tensor]):
    """An immutable set of named conditions, one row per example.

    A label is an integer tensor of shape ``(B,)``; other conditions may have any trailing shape. A tensor whose
    first dimension is 1 is broadcast over the batch. Two conditions are equal when they hold equal tensors under
    equal names: that equality decides whether two induced spaces are one (`linearizer_core.space.InducedSpace`).

    Example:
        >>> import torch
        >>> condition = Condition(label=torch.tensor([3, 3, 7]))
        >>> condition["label"].tolist()
        [3, 3, 7]
        >>> condition.rows(torch.tensor([2]))["label"].tolist()
        [7]
    """

    __slots__ = ("_in_range", "_tensors")

    def __init__(self, **tensors: Tensor) -> None:
        sizes = {name: len(tensor) for name, tensor in tensors.items() if tensor.ndim}
        if len(sizes) != len(tensors):
            scalar = sorted(set(tensors) - set(sizes))
            raise ConditionError(f"condition {scalar[0]!r} is a scalar tensor; give it a batch dimension, shape (B,) or (1,)")
        if len({size for size in sizes.values() if size != 1}) > 1:
            raise ConditionError(f"conditions disagree on the batch size: {sizes}; give each one row per example, or 1 row for all")
        self._tensors = dict(tensors)
        self._in_range: dict[str, tuple[int, int]] = {}

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Condition):
            return NotImplemented
        return self.keys() == other.keys() and all(_same(self[name], other[name]) for name in self)

    def __hash__(self) -> int:
        return hash(frozenset(self._tensors))

    def rows(self, index: Tensor) -> Condition:
        """The conditions of the examples at ``index``; a single broadcast row stays as it is."""
        return Condition(**{name: tensor if len(tensor) == 1 else tensor[index] for name, tensor in self.items()})

    def only(self, names: Collection[str]) -> Condition | None:
        """The conditions among ``names``; None where there are none of them."""
        chosen = {name: tensor for name, tensor in self.items() if name in names}
        return Condition(**chosen) if chosen else None

    def to(self, device: torch.device | str) -> Condition:
        """The same conditions on another device."""
        return Condition(**{name: tensor.to(device) for name, tensor in self.items()})

    def __repr__(self) -> str:
        return f"Condition({', '.join(f'{name}={tuple(tensor.shape)}' for name, tensor in self.items())})"


def require_label(condition: Condition | None, name: str, categories: int, batch: int) -> Tensor:
    """The categorical condition ``name`` as an integer tensor of shape ``(batch,)`` with values in [0, categories).

    Raises:
        ConditionError: when it is missing, not integer, of another batch size or, on the CPU, out of range. (Reading values would stall a GPU, which
            reports an index out of range itself.)
    """
    if condition is None or name not in condition:
        given = "none" if condition is None else ", ".join(condition) or "none"
        raise ConditionError(f"the condition {name!r} (0 to {categories - 1}) is needed, given conditions: {given}; pass Condition({name}=...)")
    label = condition[name]
    if label.ndim != 1 or label.dtype not in _INTEGERS:
        raise ConditionError(f"condition {name!r} must be an integer tensor of shape (B,), got {label.dtype} of shape {tuple(label.shape)}")
    if len(label) not in (1, batch):
        raise ConditionError(f"condition {name!r} has {len(label)} rows for a batch of {batch}; give {batch} rows, or 1 for all")
    label = label.long()  # uint8 would select as a mask does
    if label.device.type == "cpu" and not torch.compiler.is_compiling() and len(label):
        _require_range(condition, name, categories)
    return label.expand(batch)


def _require_range(condition: Condition, name: str, categories: int) -> None:
    """Raise `ConditionError` unless all integers lie in [0, ``categories``). Each layer asks; the values are looked at once, and after a change in place."""
    label = condition[name]
    mark = None if label.is_inference() else (categories, label._version)  # tensors made in inference mode do not count their versions
    if mark is not None and condition._in_range.get(name) == mark:
        return
    if int(label.min()) < 0 or int(label.max()) >= categories:
        strange = sorted({value for value in label.tolist() if not 0 <= value < categories})
        raise ConditionError(f"condition {name!r} holds {strange[:5]}; values must lie in 0 to {categories - 1}")
    if mark is not None:
        condition._in_range[name] = mark


def _same(first: Tensor, second: Tensor) -> bool:
    return first.device == second.device and torch.equal(first, second)
