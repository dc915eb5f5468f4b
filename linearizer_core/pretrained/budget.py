"""A limit on what is allocated while a model is built from a configuration that came with a file."""

from __future__ import annotations

from typing import Any, final

from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from linearizer_core.errors import ArtifactError

SPARE_ELEMENTS = 2**24
ELEMENTS_PER_STORED = 16
SPARE_OPERATIONS = 10_000
OPERATIONS_PER_TENSOR = 50


@final
class BuildBudget(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within it, torch may make ``2**24`` elements, and 16 for each element that is stored, in 10 000 operations, and 50 for each tensor that is stored.

    A model is stored whole, so it takes about as many elements to build as its file has; what a configuration asks for beyond that is not in the file.
    Each operation runs on the device ``meta`` first, which has shapes and no memory, so that too large a tensor is refused before it is allocated.

    Arguments:
        elements: of all tensors in the file.
        tensors: in the file.

    Raises:
        ArtifactError: where more is asked for.

    Example:
        >>> import torch
        >>> with BuildBudget(elements=10, tensors=1):
        ...     torch.zeros(10**6, 10**6)
        Traceback (most recent call last):
        linearizer_core.errors.ArtifactError: it takes more than 16777376 numbers to build, but its file holds 10; ...
    """

    def __init__(self, elements: int, tensors: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.stored = elements
        self.limit = self.elements = SPARE_ELEMENTS + ELEMENTS_PER_STORED * elements
        self.operations = SPARE_OPERATIONS + OPERATIONS_PER_TENSOR * tensors
        self.tensors = tensors

    def __torch_dispatch__(self, func: OpOverload[Any, Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        self.elements -= _made(func, args, kwargs)
        self.operations -= 1
        if self.elements < 0:
            raise ArtifactError(f"it takes more than {self.limit} numbers to build, but its file holds {self.stored}; one of the two was replaced")
        if self.operations < 0:
            raise ArtifactError(f"it takes too many operations to build for the {self.tensors} tensors in its file; one of the two was replaced")
        return func(*args, **kwargs)


def _made(func: OpOverload[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """Elements that an operation will make; 0 for views, for what works in place, and for what depends on values, whose results are no larger than those."""
    if all(value.alias_info is not None for value in func._schema.returns):
        return 0
    shapes, options = tree_map_only(Tensor, lambda tensor: tensor.to("meta"), (args, kwargs))
    if any(argument.name == "device" for argument in func._schema.arguments):
        options["device"] = "meta"
    if "generator" in options:  # a generator of the CPU draws nothing for another device
        options["generator"] = None
    try:
        made = func(*shapes, **options)
    except (RuntimeError, NotImplementedError):
        return 0
    return sum(value.numel() for value in tree_leaves(made) if isinstance(value, Tensor))
