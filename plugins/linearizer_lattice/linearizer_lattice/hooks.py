"""What this plugin provides. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

from linearizer_core.hookspecs import hookimpl
from linearizer_core.specs import BackboneSpec

_DETAILS = (
    "Additive couplings between permutations, on numbers k 2^-bits: every shift is rounded to that grid and clamped, so that sums are exact and g^-1(g(x)) has "
    "the bits of x, for every x on the grid and within the range: all 8-bit images k / 255, and whatever one round trip has rounded. Use it where a round trip "
    "must lose nothing: lossless coding, exactly idempotent networks (with a mask core f(f(x)) = f(x) bit for bit), conditioners in bfloat16. "
    "Guarantee 1, any arithmetic: the same bits for the same batch on the same machine, with the same libraries and number of threads. Guarantee 2, "
    "arithmetic = 'exact': the same bits for any batch, number of threads and device, since conditioners sum numbers on grids and never round a sum. "
    "Shifts are bounded: far from the data too, no number moves by more than couplings * shift_bound, and neither direction can explode. "
    "Not guaranteed: other inputs are rounded to the grid (or refused), numbers beyond the range raise LatticeError, gradients are straight-through estimates, "
    "and volume is kept: a lattice cannot scale coordinates, so likelihood as the only objective suits it badly."
)


@hookimpl
def linearizer_backbones() -> Sequence[BackboneSpec]:
    """The backbone ``lattice``."""
    return [
        BackboneSpec(
            "lattice",
            target="linearizer_lattice.backbone:lattice_backbone",
            config="linearizer_lattice.config:LatticeConfig",
            summary="Additive couplings on a fixed-point grid: the inverse is exact bit for bit",
            reference="arXiv 1905.07376",
            details=_DETAILS,
        )
    ]
