"""Additive couplings whose shifts are points of the lattice."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, final

import torch
from torch import Tensor, nn

from linearizer_core.bijections import Coupling, Shape, full_precision
from linearizer_core.condition import Condition
from linearizer_core.errors import ConfigError
from linearizer_lattice.lattice import Lattice

Arithmetic = Literal["float", "bfloat16", "exact"]


@final
class LatticeCoupling(Coupling):
    r""":math:`z_a = x_a,\; z_b = x_b + \delta\,\mathrm{round}(t(x_a) / \delta)` with :math:`|t| \le b`; Hoogeboom et al., arXiv 1905.07376.

    For every x on the lattice, within its range, :math:`g^{-1}(g(x))` and :math:`g(g^{-1}(x))` have the bits of x, as long as the conditioner gives the
    same bits for the same kept part: it is called on a fresh contiguous copy of it in both directions. Off the lattice the map is ordinary arithmetic;
    the entry and the exit of a backbone put data and latents on it. An infinite shift is clamped as any other; NaN passes through, and they refuse it.

    Gradients are those of the shift without its rounding (straight-through, arXiv 1308.3432), forward and inverse: an estimate, since the true derivative of
    a rounded number is zero. The log-determinant is 0.

    Arguments:
        in_shape: shape of one example.
        conditioner: module called as ``conditioner(kept, condition)``, giving the shifts (``changed`` channels, see `coupling_sizes`).
        lattice: what shifts are rounded to.
        shift_bound: b; shifts beyond it are clamped.
        arithmetic: run the conditioner under ambient autocast (``float``; the same in both directions), always under that of ``bfloat16``, or always without
            (``exact``, for conditioners that do not round their sums).
        flip: change the leading part instead of the trailing one.
        conditions: names and numbers of categories that the conditioner uses.

    Raises:
        ConfigError: when b is not a multiple of the step.
        BijectionError: when a part would be empty, or when the conditioner's output has another number of channels.

    Example:
        >>> import torch
        >>> from linearizer_core.bijections import MLPConditioner
        >>> coupling = LatticeCoupling((4,), MLPConditioner(2, 2, width=8), Lattice(bits=14))
        >>> _ = torch.nn.init.normal_(coupling.conditioner.network.last.weight)
        >>> x = torch.tensor([[0.25, -1.5, 3.0, 0.125]])
        >>> torch.equal(coupling(x), x), torch.equal(coupling.inverse(coupling(x)), x)
        (False, True)
    """

    outputs_per_channel = 1
    bit_exact = True

    def __init__(
        self,
        in_shape: Shape,
        conditioner: nn.Module,
        lattice: Lattice,
        *,
        shift_bound: float = 2.0,
        arithmetic: Arithmetic = "float",
        flip: bool = False,
        conditions: dict[str, int] | None = None,
    ) -> None:
        if not (shift_bound / lattice.step).is_integer():
            nearest = max(round(shift_bound / lattice.step), 1) * lattice.step
            raise ConfigError(f"shift_bound = {shift_bound}: expected a multiple of the step {lattice.step:g} of the lattice; give {nearest:g}")
        super().__init__(in_shape, LatticeShift(conditioner, lattice, shift_bound, arithmetic), flip=flip, conditions=conditions)

    def _apply_to_changed(self, changed: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        return changed + output, changed.new_zeros(len(changed))

    def _undo_on_changed(self, changed: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        return changed - output, changed.new_zeros(len(changed))


@final
class LatticeShift(nn.Module):
    """The shift of a coupling: the output of a conditioner, clamped and rounded to the lattice, the same bits in both directions."""

    def __init__(self, network: nn.Module, lattice: Lattice, bound: float, arithmetic: Arithmetic) -> None:
        super().__init__()
        self.network = network
        self.lattice = lattice
        self.bound = bound
        self.arithmetic = arithmetic

    def forward(self, kept: Tensor, condition: Condition | None = None) -> Tensor:
        # Kernels are chosen by strides and by the alignment of memory; a view of the stream has others on the way back.
        fresh = kept.clone(memory_format=torch.contiguous_format)
        with self._precision(kept):
            output: Tensor = self.network(fresh, condition)
        with full_precision(kept):
            wide = output.to(torch.promote_types(output.dtype, kept.dtype))
            return self.lattice.snap(wide.clamp(-self.bound, self.bound))

    def _precision(self, kept: Tensor) -> AbstractContextManager[object]:
        if self.arithmetic == "float":
            return nullcontext()
        return full_precision(kept) if self.arithmetic == "exact" else torch.autocast(kept.device.type, dtype=torch.bfloat16, cache_enabled=False)

    def extra_repr(self) -> str:
        return f"{self.lattice}, bound={self.bound}, arithmetic={self.arithmetic!r}"
