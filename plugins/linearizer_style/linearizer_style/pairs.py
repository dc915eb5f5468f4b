"""Pairs of pictures from a folder."""

from __future__ import annotations

from pathlib import Path

import torch

from linearizer_core.data import DataSource, Splits
from linearizer_core.errors import DataError
from linearizer_core.figures.files import eight_bits, pictures_in, read_picture
from linearizer_style.config import StylePairsConfig
from linearizer_style.crops import Pair, crop_splits

_CONTENT = "content"


class StylePairs(DataSource):
    """Pictures and their stylised versions in a folder, as pairs of crops.

    Either ``NAME.jpg`` with ``NAME-STYLE.jpg`` beside it, or a folder ``content`` and one folder for each style with pictures of the same names. Each item
    holds ``x``, ``y`` and ``label``; held out is the right part of every picture, or whole pictures: no pixel is in two splits.

    Raises:
        DataError: when the folder is missing or holds no pairs, when a picture of some style is missing or of another size, or a part is too small for a crop.
    """

    def __init__(self, config: StylePairsConfig) -> None:
        self.config = config

    def load(self) -> Splits:
        root = self.config.root
        if not root.is_dir():
            raise DataError(f"data.root = {root} is not a folder; set it to the folder with the pairs of pictures")
        files = _in_folders(root) if (root / _CONTENT).is_dir() else _side_by_side(root)
        found = sorted({style for versions in files.values() for style in versions})
        if not found:
            raise DataError(f"{root} holds no pairs: expected NAME.jpg and NAME-STYLE.jpg, or a folder content beside one folder for each style")
        styles = list(self.config.styles or found)
        pairs = [self._pair(content, versions, styles) for content, versions in files.items()]
        return crop_splits("style_pairs", pairs, styles, self.config)

    def _pair(self, content: Path, versions: dict[str, Path], styles: list[str]) -> Pair:
        if missing := [style for style in styles if style not in versions]:
            raise DataError(f"{content} has no version in the style {missing[0]!r}, only {sorted(versions)}; add it, or choose with data.styles")
        picture = eight_bits(read_picture(content, self.config.side))
        stylised = [eight_bits(read_picture(versions[style], self.config.side)) for style in styles]
        for style, each in zip(styles, stylised, strict=True):
            if each.shape != picture.shape:
                raise DataError(
                    f"{versions[style]} has {each.shape[2]} x {each.shape[1]} pixels, {content} {picture.shape[2]} x {picture.shape[1]}; "
                    "expected equal sizes, place for place"
                )
        return Pair(content.stem, picture, torch.stack(stylised))


def _side_by_side(root: Path) -> dict[Path, dict[str, Path]]:
    """Content pictures with their versions by style; a name that begins with that of another picture and a dash is a version of it."""
    pictures = pictures_in(root)
    contents = [path for path in pictures if not any(path.stem.startswith(f"{other.stem}-") for other in pictures)]
    return {
        content: {path.stem.removeprefix(f"{content.stem}-"): path for path in pictures if path.stem.startswith(f"{content.stem}-")} for content in contents
    }


def _in_folders(root: Path) -> dict[Path, dict[str, Path]]:
    folders = sorted(path for path in root.iterdir() if path.is_dir() and path.name != _CONTENT)
    versions = {folder.name: {path.stem: path for path in pictures_in(folder)} for folder in folders}
    return {
        content: {style: pictures[content.stem] for style, pictures in versions.items() if content.stem in pictures} for content in pictures_in(root / _CONTENT)
    }
