"""What follows from weights alone, remembered in evaluation."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

Module = TypeVar("Module", bound=nn.Module)
Arguments = ParamSpec("Arguments")
Value = TypeVar("Value", bound=Tensor | tuple[Tensor, ...])

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

_period: ContextVar[object | None] = ContextVar("_period", default=None)


def remembered(method: Callable[Concatenate[Module, Arguments], Value]) -> Callable[Concatenate[Module, Arguments], Value]:
    r"""Make a method of a module, whose result depends on parameters and buffers of that module alone, compute it once in evaluation.

    Meant for what is costly next to a look at the weights: an inverse, a norm, a product. The result is the one of a fresh computation, bit for bit. It is
    given again as long as every parameter and buffer of the module and of its children has the bits, dtype, device and strides that it had. So it does not
    matter how they are written to: in place, by ``load_state_dict`` or ``to``, or by ``.data``, memory shared with NumPy and fused optimisers, which torch's
    counter of versions does not see. A GPU has to be waited for to see them; `constant_weights` looks once for many calls.

    Nothing is remembered in training mode, where a gradient of the weights is wanted, in compiled graphs and in transforms of ``torch.func``. What is
    remembered belongs to no state dict, copy or pickle, and to one set of arguments: the last. The result must not be written to; where that happens
    it is computed anew.

    Arguments:
        method: takes hashable arguments and returns a tensor or a tuple of tensors. Whatever else it reads of the module must not change.

    Example:
        >>> class Mixing(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.weight = nn.Parameter(torch.eye(2))
        ...     @remembered
        ...     def inverse_matrix(self):
        ...         return torch.linalg.inv(self.weight)
        >>> mixing = Mixing().eval()
        >>> with torch.no_grad():
        ...     first, second = mixing.inverse_matrix(), mixing.inverse_matrix()
        ...     mixing.weight.data.mul_(2.0)
        ...     third = mixing.inverse_matrix()
        tensor([[2., 0.],
                [0., 2.]])
        >>> first is second, third.tolist()
        (True, [[0.5, 0.0], [0.0, 0.5]])
    """
    memories: WeakKeyDictionary[nn.Module, _Memory] = WeakKeyDictionary()

    @wraps(method)
    def look_up(self: Module, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Value:
        if torch.compiler.is_compiling():
            return method(self, *args, **kwargs)
        if self.training:
            memories.pop(self, None)
            return method(self, *args, **kwargs)
        weights = [tensor for part in self.modules() for tensor in (*part._parameters.values(), *part._buffers.values()) if tensor is not None]
        if not all(_can_be_compared(tensor) for tensor in weights) or (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in weights)):
            return method(self, *args, **kwargs)
        key = (args, tuple(kwargs.items()), _autocast(weights))
        memory = memories.get(self)
        if memory is not None and memory.answers(key, weights):
            return memory.value  # type: ignore[return-value]
        # Tensors made in inference mode could not be used where gradients are wanted later.
        with torch.inference_mode(False), torch.no_grad():
            bits = [_bits(tensor).clone() for tensor in weights]
            value = method(self, *args, **kwargs)
        if all(_can_be_compared(tensor) for tensor in _tensors(value)):
            memories[self] = _Memory(key, value, _versions(value), bits, _layouts(weights), _marks(weights), _period.get())
        return value

    return look_up


@contextmanager
def constant_weights() -> Iterator[None]:
    """Within this context every `remembered` result is checked against the bits of its weights once, not in every call.

    It is the promise that no weight is written to until the end, at least in no way that torch's counter of versions misses: through ``.data``, through memory
    shared with NumPy, by a fused optimiser. Contexts may be nested.

    Example:
        >>> from linearizer_core.bijections import CayleyMixing
        >>> mixing, x = CayleyMixing((3,), seed=0).eval(), torch.ones(1, 3)
        >>> with torch.no_grad(), constant_weights():
        ...     for _ in range(100):
        ...         x = mixing(x)
        >>> round(x.square().sum().item(), 3)
        3.0
    """
    token = _period.set(_period.get() or object())
    try:
        yield
    finally:
        _period.reset(token)


@dataclass(eq=False)
class _Memory:
    """A result, what it is the result of, and when that was last looked at."""

    key: Hashable
    value: Tensor | tuple[Tensor, ...]
    versions: list[int]
    bits: list[Tensor]
    layouts: list[Hashable]
    marks: list[tuple[int, int]]
    period: object | None

    def answers(self, key: Hashable, weights: Sequence[Tensor]) -> bool:
        """Whether the result is that of ``weights``, and nobody wrote to it."""
        if key != self.key or _layouts(weights) != self.layouts or _versions(self.value) != self.versions:
            return False
        period, marks = _period.get(), _marks(weights)
        if period is not None and period is self.period and marks == self.marks:
            return True
        if not all(torch.equal(_bits(tensor), before) for tensor, before in zip(weights, self.bits, strict=True)):
            return False
        self.period, self.marks = period, marks
        return True


def _can_be_compared(tensor: Tensor) -> bool:
    """Whether ``tensor`` has bits that are its own: not a symbol, a batch of them, or half of a dual number."""
    if type(tensor) not in (Tensor, nn.Parameter) or tensor.is_meta or tensor.is_inference() or tensor.itemsize not in _INTEGERS:
        return False
    try:
        tensor.data_ptr()
    except RuntimeError:  # made in a transform of torch.func, which it must not outlive
        return False
    return forward_ad.unpack_dual(tensor).tangent is None  # type: ignore[no-untyped-call]


def _bits(tensor: Tensor) -> Tensor:
    """Compared as integers: NaN equals itself, and -0.0 differs from 0.0."""
    return tensor.detach().view(_INTEGERS[tensor.itemsize])


def _layouts(tensors: Sequence[Tensor]) -> list[Hashable]:
    return [(tensor.dtype, tensor.device, tensor.shape, tensor.stride()) for tensor in tensors]


def _marks(tensors: Sequence[Tensor]) -> list[tuple[int, int]]:
    return [(tensor.data_ptr(), tensor._version) for tensor in tensors]


def _versions(value: Tensor | tuple[Tensor, ...]) -> list[int]:
    return [tensor._version for tensor in _tensors(value)]


def _tensors(value: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (value,) if isinstance(value, Tensor) else value


def _autocast(tensors: Sequence[Tensor]) -> Hashable:
    """What the products in the method would be lowered to."""
    device = tensors[0].device.type if tensors else "cpu"
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
