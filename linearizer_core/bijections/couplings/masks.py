"""Which part of its input a coupling keeps, and which it changes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, final

import torch
from torch import Tensor, nn

from linearizer_core.bijections.base import Shape
from linearizer_core.errors import BijectionError

MaskName = Literal["halves", "alternating", "checkerboard"]


def coupling_sizes(channels: int, *, split: int | None = None, flip: bool = False, mask: MaskName = "halves") -> tuple[int, int]:
    """Number of (kept, changed) channels of a coupling: what a conditioner reads, and what it moves.

    Arguments:
        channels: size of dimension 1.
        split: size of the leading part of ``mask = "halves"``; half of ``channels``, rounded down, by default.
        flip: exchange the two parts.
        mask: ``halves`` keeps the leading channels, ``alternating`` those of even number. ``checkerboard`` keeps every second position
            of all channels: the conditioner reads and gives whole images.

    Raises:
        BijectionError: when one of the two parts would be empty, or when ``split`` is given with another mask than halves.

    Example:
        >>> coupling_sizes(5), coupling_sizes(5, flip=True), coupling_sizes(5, mask="alternating"), coupling_sizes(5, mask="checkerboard")
        ((2, 3), (3, 2), (3, 2), (5, 5))
    """
    if split is not None and mask != "halves":
        raise BijectionError(f"coupling: split = {split} is given with mask = {mask!r}; only mask = 'halves' has a split, leave it out")
    if mask == "checkerboard":
        return channels, channels
    first = channels // 2 if split is None else split
    if mask == "alternating" and channels > 1:
        first = channels - first
    if not 0 < first < channels:
        fix = "squeeze first, so that there are at least 2 channels" if channels < 2 else f"choose split from 1 to {channels - 1}"
        raise BijectionError(f"coupling of {channels} channels split at {first}: both parts must hold at least 1 channel; {fix}")
    return (channels - first, first) if flip else (first, channels - first)


class CouplingMask(nn.Module, ABC):
    """Takes an input ``(B, *in_shape)`` apart and puts it together again, without touching a bit of either part.

    ``kept`` and ``changed`` are the numbers of channels of the two parts, see `coupling_sizes`.
    """

    def __init__(self, sizes: tuple[int, int]) -> None:
        super().__init__()
        self.kept, self.changed = sizes

    @abstractmethod
    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The kept part, as a conditioner reads it, and the changed part."""

    @abstractmethod
    def join(self, kept: Tensor, changed: Tensor) -> Tensor:
        """Undo `split`, with another changed part."""

    def select(self, output: Tensor) -> Tensor:
        """The part of a conditioner's output that belongs to the changed part."""
        return output

    def extra_repr(self) -> str:
        return f"kept={self.kept}, changed={self.changed}"


@final
class HalvesMask(CouplingMask):
    """Keeps the leading channels; with ``flip`` the trailing ones."""

    def __init__(self, sizes: tuple[int, int], *, flip: bool) -> None:
        super().__init__(sizes)
        self.flip = flip

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.flip:
            return x[:, self.changed :], x[:, : self.changed]
        return x[:, : self.kept], x[:, self.kept :]

    def join(self, kept: Tensor, changed: Tensor) -> Tensor:
        return torch.cat([changed, kept] if self.flip else [kept, changed], 1)


@final
class AlternatingMask(CouplingMask):
    """Keeps the channels of even number, counted from 0; with ``flip`` the odd ones."""

    def __init__(self, sizes: tuple[int, int], *, flip: bool) -> None:
        super().__init__(sizes)
        self.first_kept = int(flip)
        numbers = torch.arange(self.kept + self.changed)
        parts = torch.cat([numbers[self.first_kept :: 2], numbers[1 - self.first_kept :: 2]])
        self.register_buffer("order", parts.argsort(), persistent=False)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, self.first_kept :: 2], x[:, 1 - self.first_kept :: 2]

    def join(self, kept: Tensor, changed: Tensor) -> Tensor:
        return torch.cat([kept, changed], 1).index_select(1, self.get_buffer("order"))


@final
class CheckerboardMask(CouplingMask):
    """Keeps the positions of an image whose row and column add up to an even number; with ``flip`` to an odd one.

    The kept part is the whole image with zeros at the changed positions, so that convolutions see every value where it belongs.
    The changed part holds the changed positions alone, ``(B, C, positions)``.
    """

    def __init__(self, in_shape: Shape, *, flip: bool) -> None:
        if len(in_shape) != 3 or in_shape[1] * in_shape[2] < 2:
            raise BijectionError(f"coupling: mask = 'checkerboard' on shape {in_shape}, expected (C, H, W) with at least 2 positions; use mask = 'alternating'")
        super().__init__(coupling_sizes(in_shape[0], mask="checkerboard"))
        rows, columns = torch.arange(in_shape[1])[:, None], torch.arange(in_shape[2])
        odd = (rows + columns).flatten() % 2 == 1
        self.register_buffer("positions", (~odd if flip else odd).nonzero().flatten(), persistent=False)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        positions, flat = self.get_buffer("positions"), x.flatten(2)
        return flat.index_fill(2, positions, 0.0).reshape(x.shape), flat.index_select(2, positions)

    def join(self, kept: Tensor, changed: Tensor) -> Tensor:
        return kept.flatten(2).index_copy(2, self.get_buffer("positions"), changed).reshape(kept.shape)

    def select(self, output: Tensor) -> Tensor:
        return output.flatten(2).index_select(2, self.get_buffer("positions"))


def make_mask(name: MaskName, in_shape: Shape, *, split: int | None, flip: bool) -> CouplingMask:
    """The mask of a coupling on ``in_shape``.

    Raises:
        BijectionError: when one of the two parts would be empty, or when ``split`` is given with another mask than halves.
    """
    sizes = coupling_sizes(in_shape[0], split=split, flip=flip, mask=name)
    if name == "checkerboard":
        return CheckerboardMask(in_shape, flip=flip)
    return HalvesMask(sizes, flip=flip) if name == "halves" else AlternatingMask(sizes, flip=flip)
