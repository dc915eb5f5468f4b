"""Curves and bars: files appear whole, and what cannot be drawn on a logarithmic axis does no harm."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from linearizer_core.figures.curves import save_bars, save_curves
from linearizer_core.figures.training import plot_training


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


def drawn(log: list[dict[str, float | str | None]]) -> tuple[int, int]:
    """Width and height of the picture of a log, which is small."""
    content = plot_training(log)
    assert len(content) < 60_000
    with Image.open(BytesIO(content)) as picture:
        assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 20
        return picture.size


def stage(name: str, lines: int, **terms: float | None) -> list[dict[str, float | str | None]]:
    return [{"step": k, "stage": name, "stage_step": k, "lr": 0.1, "loss": 1.0 + 99 / k, "grad_norm": 1.0, **terms} for k in range(1, lines + 1)]


def test_curves_of_training_have_a_panel_for_each_stage() -> None:
    one = drawn(stage("flow", 500, **{f"term {k}": 0.1 + k for k in range(8)}))
    two = drawn([*stage("first", 3, energy=-1.0), *stage("second", 3)])
    four = drawn([line for name in "abcd" for line in stage(name, 3, energy=0.5)])
    assert one[0] < two[0] < four[0]
    assert one[1] == two[1] == four[1] // 2


@pytest.mark.parametrize("name", ["$x", "_hidden", "a_b^c", "$\\frac{$"])
def test_curves_of_training_show_any_name_and_leave_out_what_was_not_finite(name: str) -> None:
    drawn(stage(name, 1, **{name: 1.0, "other": None, "monitor_gain": 1e9}))
    drawn([{**line, "loss": None} for line in stage(name, 2)])
