"""Pairs made by teachers."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from linearizer_core.data import DataSource, Splits
from linearizer_core.errors import DataError
from linearizer_core.figures.files import eight_bits, pictures_in, read_picture
from linearizer_style.config import StyleTeacherConfig
from linearizer_style.crops import Pair, crop_splits
from linearizer_style.teachers.contract import Teacher, taught
from linearizer_style.teachers.fast_network import FastStyleNetwork
from linearizer_style.teachers.gatys import Gatys


class StyleTeacher(DataSource):
    """A folder of content pictures, stylised by teachers when it is loaded, as pairs of crops.

    Teachers are those that the configuration describes, and any callables that are handed over in Python: a configuration never names code.

    Arguments:
        config: content pictures and teachers by the name of their style.
        teachers: further teachers by the name of their style.

    Raises:
        DataError: when the folder holds no pictures, there is no teacher, a teacher cannot be made or gives something else than images, or a part is too small
            for a crop.

    Example:
        >>> from linearizer_style.config import StyleTeacherConfig
        >>> source = StyleTeacher(StyleTeacherConfig(root="photos"), {"negative": lambda images: 1 - images})
        >>> splits = source.load()  # doctest: +SKIP
    """

    def __init__(self, config: StyleTeacherConfig, teachers: Mapping[str, Teacher] | None = None) -> None:
        self.config = config
        self.teachers = dict(teachers or {})

    def load(self) -> Splits:
        root = self.config.root
        files = pictures_in(root) if root.is_dir() else []
        if not files:
            raise DataError(f"data.root = {root} is not a folder with pictures; set it to one with content pictures")
        networks = {style: FastStyleNetwork.from_file(path) for style, path in self.config.networks.items()}
        optimised = {style: Gatys(path, self.config.gatys) for style, path in self.config.pictures.items()}
        teachers: dict[str, Teacher] = {**networks, **optimised, **self.teachers}
        if not teachers:
            raise DataError("no teachers; name files in data.networks or data.pictures, or hand over callables")
        pairs = []
        for file in files:
            content = read_picture(file, self.config.side)
            stylised = [eight_bits(taught(name, teacher, content[None])[0]) for name, teacher in teachers.items()]
            pairs.append(Pair(file.stem, eight_bits(content), torch.stack(stylised)))
        return crop_splits("style_teacher", pairs, list(teachers), self.config)
