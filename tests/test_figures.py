"""Curves and bars: files appear whole, and what cannot be drawn on a logarithmic axis does no harm."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from linearizer_core.figures.curves import save_bars, save_curves


def colours(path: Path) -> int:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return len(picture.convert("RGB").getcolors(1 << 24) or [])


@pytest.mark.parametrize("log", [False, True])
def test_curves_with_levels(tmp_path: Path, log: bool) -> None:
    path = tmp_path / "curves.png"
    save_curves(path, "Errors", {"a": ([1, 2, 4], [1e-3, 0.0, 1e-6]), "b": ([1], [1.0])}, x="T", y="error", log_x=log, log_y=log, levels={"floor": 1e-4})
    assert colours(path) > 20
    assert [each.name for each in tmp_path.iterdir()] == ["curves.png"]


@pytest.mark.parametrize("bars", [{"data": 1e-6, "noise": 3.0, "exact": 0.0}, {"exact": 0.0}])
def test_bars(tmp_path: Path, bars: dict[str, float]) -> None:
    path = tmp_path / "bars.png"
    save_bars(path, "Idempotency", bars, x="largest change")
    assert colours(path) > 20
    assert [each.name for each in tmp_path.iterdir()] == ["bars.png"]
