"""Results become committed results and regions of pages; those of quick runs do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import publish
from benchmarks.tools.results import Results, Target


def write(folder: Path, name: str, text: str, *, device: str = "", quick: bool = False) -> None:
    Results(name, "", quick, {"device": device.upper() or "CPU"}, {}, []).write(folder, device, text)


def test_results_tables_and_pictures_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench, committed, assets = (tmp_path / name for name in ("bench", "committed", "assets"))
    assets.mkdir()
    write(bench, "growth", "| a table |\n\n![a plot](growth-a.png)")
    write(bench, "growth", "| another |", device="gpu")
    write(bench, "collapse", "| rubbish |", quick=True)
    (bench / "growth-a.png").write_bytes(b"picture")
    publish.keep(bench, committed, assets)
    assert sorted(path.name for path in committed.iterdir()) == ["growth.gpu.json", "growth.gpu.md", "growth.json", "growth.md"]
    assert (assets / "growth-a.png").read_bytes() == b"picture"
    assert "collapse: left as it is" in capsys.readouterr().out
    assert publish.kept(committed) == {"growth": "**CPU**\n\n| a table |\n\n![a plot](assets/growth-a.png)\n\n**GPU**\n\n| another |"}


def test_what_was_committed_on_another_device_stays(tmp_path: Path) -> None:
    write(tmp_path / "committed", "collapse", "| of the GPU |", device="gpu")
    write(tmp_path / "bench", "collapse", "| of the CPU |")
    publish.keep(tmp_path / "bench", tmp_path / "committed", tmp_path)
    assert "| of the GPU |" in publish.kept(tmp_path / "committed")["collapse"]


def test_without_results_nothing_happens(tmp_path: Path) -> None:
    publish.keep(tmp_path / "bench", tmp_path / "committed", tmp_path)
    assert not (tmp_path / "committed").exists()
    assert publish.kept(tmp_path / "committed") == {}


def test_promises_of_all_benchmarks_stand_in_one_table(tmp_path: Path) -> None:
    facts = {"device": "CPU", "cpu": "Processor", "cores": 2, "versions": {"torch": "2"}, "seed": 0}
    assert publish.promised(tmp_path) == ""
    for name, measured in (("collapse", 3.0), ("sampling", 60.0)):
        target = Target(f"{name}: speed-up", 50.0, measured, "at least", extrapolated=name == "sampling")
        Results(name, "", False, facts, {}, [], targets=[target]).write(tmp_path, "", "a table")
    Results("sampling", "", False, facts, {}, [], targets=[Target("on a GPU", 1.0, 1.0, "at most")]).write(tmp_path, "gpu", "a table")
    text = publish.promised(tmp_path)
    assert "| collapse: speed-up | at least 50 | 3 | missed |" in text
    assert "| sampling: speed-up | at least 50 | 60 [x] | met |" in text
    assert "on a GPU" not in text
    assert "Processor, 2 cores, torch 2; seed 0" in text


def test_every_benchmark_has_a_region() -> None:
    from benchmarks.__main__ import NAMES

    pages = "\n".join(page.read_text(encoding="utf-8") for page in publish.PAGES)
    for name in NAMES:
        assert f"<!-- figures: {name} -->\n" in pages
