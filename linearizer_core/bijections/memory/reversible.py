"""Backpropagation through chains without stored activations: every block's input is rebuilt from its output."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from linearizer_core.bijections.base import Bijection
from linearizer_core.bijections.memory.first_order import first_order_only
from linearizer_core.bijections.memory.replay import GradientSums, Replay
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError, InvertibilityWarning


@final
@dataclass(frozen=True)
class Reversible:
    r"""How a chain saves memory while it is differentiated; see `set_reversible`.

    Arguments:
        anchor_every: inputs of every so many blocks are kept, so that rounding errors of the rebuilt ones do not add up over the whole chain.
        check_every: passes between two comparisons of rebuilt inputs with the kept ones; 0 for none.
        tolerance: largest difference without a warning, relative to the largest entry.

    Raises:
        BijectionError: for a number out of range.

    Example:
        >>> Reversible().anchor_every
        8
    """

    anchor_every: int = 8
    check_every: int = 0
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        if self.anchor_every < 1 or self.check_every < 0 or not self.tolerance > 0:
            raise BijectionError(f"{self}: expected anchor_every of at least 1, check_every of at least 0 and a positive tolerance")


def set_reversible(module: nn.Module, options: Reversible | None) -> None:
    r"""Switch memory-saving backpropagation on for all chains in ``module``; None switches it off.

    Training then keeps the output of a chain and every ``anchor_every``-th input instead of all activations: memory for n blocks falls from O(n) to
    O(n / ``anchor_every``) tensors of the size of one example, without the hidden layers of the conditioners. Each block costs one more evaluation of its
    conditioner. Parameters, their names and results stay the same; gradients agree with plain ones up to rounding. It works in both directions, with
    log-determinants, under autocast, with frozen parameters and inputs, and with distributed training. Gradients of gradients and the transforms of
    ``torch.func`` raise an error; a compiled chain stores its activations. Gomez et al., The Reversible Residual Network, arXiv 1707.04585.

    Example:
        >>> import torch
        >>> from linearizer_core.bijections import AdditiveCoupling, Chain, MLPConditioner
        >>> chain = Chain(*(AdditiveCoupling((4,), MLPConditioner(2, 2, width=8), flip=flip) for flip in (False, True)))
        >>> set_reversible(chain, Reversible())
        >>> chain(torch.randn(3, 4)).sum().backward()
        >>> chain[0].conditioner.last.bias.grad
        tensor([3., 3.])
    """
    from linearizer_core.bijections.chain import Chain

    for member in module.modules():
        if isinstance(member, Chain):
            member.reversible = options


@final
@dataclass(frozen=True)
class Direction:
    """The steps of a chain in the order in which they run, with what each direction calls."""

    names: tuple[str, ...]
    blocks: tuple[Bijection, ...]
    inverse: bool
    with_logdet: bool

    def step(self, block: Bijection, start: Tensor, condition: Condition | None) -> tuple[Tensor, Tensor | None]:
        """One step, and its log-determinant where it is wanted."""
        if self.with_logdet:
            return block.inverse_and_logdet(start, condition) if self.inverse else block.forward_and_logdet(start, condition)
        return (block.inverse(start, condition) if self.inverse else block(start, condition)), None

    def undo(self, block: Bijection, end: Tensor, condition: Condition | None) -> Tensor:
        """The input of a step, from its output."""
        rebuilt: Tensor = block(end, condition) if self.inverse else block.inverse(end, condition)
        return rebuilt

    def keeps_input(self, position: int, options: Reversible) -> bool:
        """Whether the input of a step is kept: at regular distances, and where it cannot be rebuilt."""
        return position % options.anchor_every == 0 or not self.rebuilds(position)

    def rebuilds(self, position: int) -> bool:
        """Whether the input of a step follows from its output in one evaluation: no iteration, and no part of a latent that the map does not reach."""
        block = self.blocks[position]
        return block.surjective if self.inverse else block.inverse_kind == "analytic"

    def name(self, position: int) -> str:
        """The index of a block in its chain, and its kind."""
        return f"block {self.names[position]} ({type(self.blocks[position]).__name__})"


@final
@dataclass(frozen=True)
class _Slots:
    """The parameters of a chain as the forward pass found them, and where."""

    places: list[tuple[nn.Module, str, nn.Parameter | None]]
    wanted: list[nn.Parameter]

    @staticmethod
    def of(blocks: tuple[Bijection, ...]) -> _Slots:
        places = [(module, name, parameter) for block in blocks for module in block.modules() for name, parameter in module._parameters.items()]
        wanted = {id(parameter): parameter for _, _, parameter in places if parameter is not None and parameter.requires_grad}
        return _Slots(places, list(wanted.values()))

    @contextmanager
    def as_recorded(self) -> Iterator[list[nn.Parameter]]:
        """Put every parameter back where the forward pass found it, and give those that are wanted.

        A parameter may have been replaced since (`torch.func.functional_call` does that). In the place of one that has hooks or was frozen stands a leaf:
        hooks must see the gradient once, when it is returned. Others stay what they are, since layers remember facts about them.
        """
        leaves = {id(parameter): parameter if _may_stay(parameter) else nn.Parameter(parameter.detach()) for parameter in self.wanted}
        now = [module._parameters[name] for module, name, _ in self.places]
        try:
            for module, name, parameter in self.places:
                module._parameters[name] = leaves.get(id(parameter), parameter)
            yield list(leaves.values())
        finally:
            for (module, name, _), parameter in zip(self.places, now, strict=True):
                module._parameters[name] = parameter


def _may_stay(parameter: Tensor) -> bool:
    return parameter.requires_grad and not parameter._backward_hooks


def run_reversibly(direction: Direction, options: Reversible, start: Tensor, condition: Condition | None, *, checked: bool) -> tuple[Tensor, Tensor]:
    """Run the blocks one after the other without storing what is between them; also the sum of their log-determinants (zeros, where it is not wanted)."""
    names = [name for name, tensor in (condition or {}).items() if tensor.requires_grad]
    slots = _Slots.of(direction.blocks)
    tensors = [*(condition[name] for name in names if condition is not None), *slots.wanted]
    end, logdet = _Reversible.apply(direction, options, condition, names, slots, checked, start, *tensors)
    return end, logdet


class _Reversible(torch.autograd.Function):
    """All blocks as one function of the input, the conditions and the parameters."""

    @staticmethod
    def forward(
        ctx: Any,
        direction: Direction,
        options: Reversible,
        condition: Condition | None,
        names: list[str],
        slots: _Slots,
        checked: bool,
        start: Tensor,
        *tensors: Tensor,
    ) -> tuple[Tensor, Tensor]:
        ctx.device = start.device.type
        ctx.autocast = {"enabled": torch.is_autocast_enabled(ctx.device), "dtype": torch.get_autocast_dtype(ctx.device)}
        kept, total, value = [], start.new_zeros(len(start)), start
        with _same_autocast(ctx):
            for position, block in enumerate(direction.blocks):
                if direction.keeps_input(position, options):
                    kept.append(value)
                value, logdet = direction.step(block, value, condition)
                total = total if logdet is None else total + logdet
        ctx.direction, ctx.options, ctx.condition, ctx.names, ctx.slots, ctx.checked = direction, options, condition, names, slots, checked
        # Parameters are saved only so that a change in place before the backward pass is noticed.
        ctx.save_for_backward(value, *kept, *tensors)
        ctx.kept = len(kept)
        return value, total

    @staticmethod
    @first_order_only("a chain that rebuilds its activations; switch that off with set_reversible(module, None)")
    def backward(ctx: Any, gradient: Tensor, gradient_of_logdet: Tensor) -> tuple[Tensor | None, ...]:
        direction: Direction = ctx.direction
        end, *saved = ctx.saved_tensors
        kept, tensors = saved[: ctx.kept], saved[ctx.kept :]
        of_conditions = {name: tensor.detach().requires_grad_() for name, tensor in zip(ctx.names, tensors, strict=False)}
        condition = Condition(**{**ctx.condition, **of_conditions}) if of_conditions else ctx.condition
        wanted = gradient_of_logdet if direction.with_logdet else None
        with _same_autocast(ctx), ctx.slots.as_recorded() as of_parameters:
            leaves = [*of_conditions.values(), *of_parameters]
            sums = GradientSums(leaves)
            for position in reversed(range(len(direction.blocks))):
                block = direction.blocks[position]
                start = kept.pop() if direction.keeps_input(position, ctx.options) else None
                if start is not None and not direction.rebuilds(position):
                    replay = Replay.of(start, partial(direction.step, block, condition=condition))
                    end, gradient = start, sums.pull(replay, gradient, wanted, [*block.parameters(), *of_conditions.values()])
                    continue
                pull = block.pull_back_inverse if direction.inverse else block.pull_back
                rebuilt, gradient = pull(end, gradient, wanted, condition, sums)
                if start is not None and ctx.checked:
                    _compare(direction, position, start, rebuilt, condition, ctx.options)
                end = rebuilt if start is None else start
        return (None, None, None, None, None, None, gradient if ctx.needs_input_grad[6] else None, *(sums[leaf] for leaf in leaves))


def _same_autocast(ctx: FunctionCtx) -> torch.autocast:
    """The autocast state of the forward pass, without the cache of lowered weights: those made without a graph must not be used where there is one."""
    autocast: dict[str, Any] = ctx.autocast  # type: ignore[attr-defined]
    return torch.autocast(ctx.device, **autocast, cache_enabled=False)  # type: ignore[attr-defined]


@torch.no_grad()
def _compare(direction: Direction, position: int, start: Tensor, rebuilt: Tensor, condition: Condition | None, options: Reversible) -> None:
    """Warn when the input of a block, rebuilt from the already rebuilt output, is not what it was."""
    error = float((rebuilt - start).abs().max() / start.abs().max().clamp_min(1))
    if error <= options.tolerance:
        return
    following = next((later for later in range(position + 1, len(direction.blocks)) if direction.keeps_input(later, options)), len(direction.blocks))
    errors: dict[int, float] = {}
    value = start
    for index in range(position, following):
        moved, _ = direction.step(direction.blocks[index], value, condition)
        errors[index] = float((direction.undo(direction.blocks[index], moved, condition) - value).abs().max())
        value = moved
    worst = max(errors, key=lambda index: errors[index] if errors[index] == errors[index] else float("inf"))
    source = "the output" if following == len(direction.blocks) else f"the input of {direction.name(following)}"
    warnings.warn(
        f"reversible backpropagation: the input of {direction.name(position)}, rebuilt from {source}, is off by {error:.1e} of its largest entry, expected at "
        f"most {options.tolerance:.0e}; most of that comes from {direction.name(worst)}, which alone has a round-trip error of {errors[worst]:.1e}; gradients "
        f"are off by as much: lower anchor_every (now {options.anchor_every}), or bound the scales of the couplings",
        InvertibilityWarning,
        stacklevel=2,
    )
