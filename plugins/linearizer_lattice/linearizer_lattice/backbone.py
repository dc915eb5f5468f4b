"""The lattice backbone: an entry, permutations and couplings on the lattice, an exit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from linearizer_core.bijections import (
    Bijection,
    Chain,
    ConvConditioner,
    Flatten,
    MLPConditioner,
    Permutation,
    PixelSqueeze,
    Shape,
    coupling_sizes,
    mixing_seeds,
)
from linearizer_core.errors import ConfigError
from linearizer_lattice.config import DenseConfig, LatticeConfig, LevelConfig
from linearizer_lattice.coupling import LatticeCoupling
from linearizer_lattice.ends import GridEntry, LatticeExit, PixelEntry
from linearizer_lattice.exact_conditioners import ExactConvConditioner, ExactMLPConditioner
from linearizer_lattice.exact_layers import ExactArithmetic
from linearizer_lattice.lattice import Lattice

_ENTRIES = {"pixels": PixelEntry, "grid": GridEntry}
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


def lattice_backbone(in_shape: Shape, config: LatticeConfig, conditions: dict[str, int] | None = None) -> Chain:
    r"""A chain :math:`g` from ``in_shape`` to a flat latent ``(D,)`` with :math:`g^{-1}(g(x)) = x` bit for bit, after Hoogeboom et al., arXiv 1905.07376.

    An entry takes the data to the lattice; for each level of an image come a `PixelSqueeze` and couplings with convolutional conditioners, then `Flatten`;
    for every shape couplings with dense conditioners. Each pair of couplings, the second one flipped, follows a `Permutation`. An exit takes latents to the
    lattice on the way back. Every coupling starts as the identity, and none moves a number by more than ``shift_bound``.

    Arguments:
        in_shape: ``(C, H, W)``, or any other shape, which is flattened first.
        config: what to chain.
        conditions: names and numbers of categories; every conditioner embeds them.

    Raises:
        ConfigError: when levels do not fit the shape, numbers could leave the range of the lattice, or sums that of exact arithmetic.
        BijectionError: when couplings are asked for on a single coordinate.
        LatticeError: in the call, for data or latents out of range, or (with ``off_grid = "error"``) off the lattice, and for results that are not finite.

    Example:
        >>> g = lattice_backbone((1, 8, 8), LatticeConfig())
        >>> x = torch.randint(0, 256, (2, 1, 8, 8)).float() / 255
        >>> torch.equal(g.inverse(g(x)), x), g.bit_exact
        (True, True)
    """
    return Chain(*_Builder(config, tuple(in_shape), dict(conditions or {})).bricks())


class _Builder:
    """Emits the bricks in order; each permutation draws its own order."""

    def __init__(self, config: LatticeConfig, in_shape: Shape, conditions: dict[str, int]) -> None:
        self.config = config
        self.in_shape = in_shape
        self.conditions = conditions
        self.seeds = mixing_seeds(config.seed)
        self.levels = config.levels_for(in_shape)
        self.dense = config.dense_for(in_shape)
        self.lattice = self._lattice_with_room()
        exact = config.exact
        self.arithmetic = (
            ExactArithmetic(exact.weight_bits, exact.activation_bits, exact.activation_bound, _DTYPES[exact.accumulation])
            if config.arithmetic == "exact"
            else None
        )

    def _lattice_with_room(self) -> Lattice:
        """The lattice, whose numbers may enter as long as no coupling can move them out of range.

        What f = g^-1 A g gives must be allowed to enter again, so that f(f(x)) exists: data of size ``scale``, moved by all couplings, three times.
        """
        config = self.config
        lattice = Lattice(config.bits, _DTYPES[config.precision])
        couplings = sum(level.couplings for level in self.levels) + self.dense.couplings
        reach = couplings * config.shift_bound
        needed = 2 * config.scale + 3 * reach
        if needed > lattice.limit:
            raise ConfigError(
                f"{couplings} couplings with shift_bound = {config.shift_bound:g} move a number by up to {reach:g}; three times that and 2 * scale are "
                f"{needed:g}, beyond {lattice.limit:g}, the range of bits = {config.bits} in {config.precision}; lower bits (one less doubles the range), "
                "shift_bound or the number of couplings"
            )
        return lattice.within(lattice.limit - config.scale - reach)

    def bricks(self) -> Iterator[Bijection]:
        config, shape = self.config, self.in_shape
        yield _ENTRIES[config.input_for(shape)](shape, self.lattice, scale=config.scale, off_grid=config.off_grid)
        for level in self.levels:
            squeeze = PixelSqueeze(shape)
            yield squeeze
            shape = squeeze.out_shape
            yield from self._couplings(shape, level)
        if len(shape) > 1:
            flatten = Flatten(shape)
            yield flatten
            shape = flatten.out_shape
        yield from self._couplings(shape, self.dense)
        yield LatticeExit(shape, self.lattice, off_grid=config.off_grid)

    def _couplings(self, shape: Shape, options: LevelConfig | DenseConfig) -> Iterator[Bijection]:
        for number in range(options.couplings):
            if number % 2 == 0:
                yield Permutation(shape, seed=next(self.seeds))
            yield self._coupling(shape, options, flip=number % 2 == 1)

    def _coupling(self, shape: Shape, options: LevelConfig | DenseConfig, *, flip: bool) -> LatticeCoupling:
        kept, changed = coupling_sizes(shape[0], flip=flip)
        config = self.config
        return LatticeCoupling(
            shape,
            self._conditioner(shape, options, kept, changed),
            self.lattice,
            shift_bound=config.shift_bound,
            arithmetic=config.arithmetic,
            flip=flip,
            conditions=self.conditions,
        )

    def _conditioner(self, shape: Shape, options: LevelConfig | DenseConfig, kept: int, changed: int) -> nn.Module:
        sizes: dict[str, Any] = {"width": options.width, "depth": options.depth, "categories": self.conditions}
        if isinstance(options, DenseConfig):
            if self.arithmetic:
                return ExactMLPConditioner(kept, changed, arithmetic=self.arithmetic, **sizes)
            return MLPConditioner(kept, changed, **sizes)
        sizes["token_mixing"] = (shape[1], shape[2]) if options.token_mixing else None
        if self.arithmetic:
            return ExactConvConditioner(kept, changed, arithmetic=self.arithmetic, **sizes)
        return ConvConditioner(kept, changed, **sizes)
