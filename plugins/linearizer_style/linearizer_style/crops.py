"""Crops of pictures and of their stylised versions, in three splits that share no pixel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from linearizer_core.data import Batch, DataInfo, Splits
from linearizer_core.errors import DataError
from linearizer_style.config import CropOptions


@dataclass(frozen=True)
class Pair:
    """A picture ``content`` ``(3, H, W)`` and its versions ``stylised`` ``(K, 3, H, W)``, uint8, in the order of the styles."""

    name: str
    content: Tensor
    stylised: Tensor


@dataclass(frozen=True)
class _Band:
    """The columns ``left`` to ``right`` of a picture."""

    picture: int
    left: int
    right: int


class Crops(Dataset[Batch]):
    """Pairs of crops: ``x`` of the content, ``y`` of the stylised picture, ``label`` the style. ``places`` ``(N, 4)``: picture, style, top, left."""

    def __init__(self, pairs: Sequence[Pair], places: Tensor, side: int) -> None:
        self.pairs, self.places, self.side = pairs, places, side

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Batch:
        picture, style, top, left = self.places[index].tolist()
        rows, columns = slice(top, top + self.side), slice(left, left + self.side)
        pair = self.pairs[picture]
        x, y = (part[:, rows, columns].float() / 255 for part in (pair.content, pair.stylised[style]))
        return {"x": x, "y": y, "label": torch.tensor(style)}


def crop_splits(name: str, pairs: Sequence[Pair], styles: Sequence[str], options: CropOptions) -> Splits:
    """Training crops at random places; validation and test crops side by side on what is held out.

    Raises:
        DataError: where a part is too small for a crop, or there are too few pictures to hold some out.
    """
    bands = _regions(pairs, options) if options.hold_out == "region" else _whole_pictures(pairs, options)
    train, validation, test = bands
    count = len(styles)
    return Splits(
        DataInfo(name=name, shape=(3, options.crop, options.crop), classes=count, class_names=tuple(styles)),
        train=Crops(pairs, _scattered(pairs, train, count, options), options.crop),
        validation=Crops(pairs, _tiled(pairs, validation, count, options.crop), options.crop),
        test=Crops(pairs, _tiled(pairs, test, count, options.crop), options.crop),
    )


def _regions(pairs: Sequence[Pair], options: CropOptions) -> list[list[_Band]]:
    splits: list[list[_Band]] = [[], [], []]
    for number, pair in enumerate(pairs):
        _, height, width = pair.content.shape
        first, second = round(width * (1 - options.validation - options.test)), round(width * (1 - options.test))
        bands = [_Band(number, *edges) for edges in ((0, first), (first, second), (second, width))]
        narrowest = min(band.right - band.left for band in bands)
        if min(narrowest, height) < options.crop:
            raise DataError(
                f"{pair.name}: {width} x {height} pixels leave parts {[band.right - band.left for band in bands]} pixels wide for training, validation and "
                f"test, expected at least data.crop = {options.crop}; lower data.crop, or raise data.side, data.validation or data.test"
            )
        for split, band in zip(splits, bands, strict=True):
            split.append(band)
    return splits


def _whole_pictures(pairs: Sequence[Pair], options: CropOptions) -> list[list[_Band]]:
    counts = [max(1, round(len(pairs) * part)) for part in (options.test, options.validation)]
    if len(pairs) <= sum(counts):
        raise DataError(f"hold_out = 'pictures' needs more than {sum(counts)} pictures, found {len(pairs)}; add pictures, or hold out a region")
    for pair in pairs:
        if min(pair.content.shape[1:]) < options.crop:
            raise DataError(f"{pair.name} has {pair.content.shape[2]} x {pair.content.shape[1]} pixels, expected sides of at least data.crop = {options.crop}")
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(options.seed)).tolist()
    whole = [_Band(number, 0, pairs[number].content.shape[2]) for number in order]
    return [whole[sum(counts) :], whole[counts[0] : sum(counts)], whole[: counts[0]]]


def _scattered(pairs: Sequence[Pair], bands: Sequence[_Band], styles: int, options: CropOptions) -> Tensor:
    """Random places, each with every style, pictures by their area."""
    generator = torch.Generator().manual_seed(options.seed)
    spans = torch.tensor([[pairs[band.picture].content.shape[1] - options.crop + 1, band.right - band.left - options.crop + 1] for band in bands])
    chosen = torch.multinomial(spans.prod(1).double(), options.crops, replacement=True, generator=generator)
    corner = (torch.rand(options.crops, 2, generator=generator, dtype=torch.float64) * spans[chosen]).long()
    corner[:, 1] += torch.tensor([band.left for band in bands])[chosen]
    pictures = torch.tensor([band.picture for band in bands])[chosen]
    places = torch.cat([pictures[:, None], corner], dim=1).repeat_interleave(styles, 0)
    return torch.stack([places[:, 0], torch.arange(styles).repeat(options.crops), places[:, 1], places[:, 2]], dim=1)


def _tiled(pairs: Sequence[Pair], bands: Sequence[_Band], styles: int, side: int) -> Tensor:
    """Places side by side, each with every style."""

    def corners() -> Iterator[tuple[int, int, int]]:
        for band in bands:
            for top in range(0, pairs[band.picture].content.shape[1] - side + 1, side):
                for left in range(band.left, band.right - side + 1, side):
                    yield band.picture, top, left

    return torch.tensor([[picture, style, top, left] for picture, top, left in corners() for style in range(styles)])
