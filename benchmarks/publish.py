"""Put what was measured into README and documentation: tables between markers, and pictures.

    python -m benchmarks.publish [--runs runs]

Copies the results in ``RUNS/bench`` (from ``make bench``) to ``benchmarks/results``, which is what `benchmarks.compare` compares with; results of a
``--quick`` run are left alone. Reads the tables there, ``RUNS/quickstart`` (from ``make quickstart``), and the results in ``RUNS/invertibility`` and
``RUNS/lattice`` (from ``make numerics``), where they exist, and the metrics of the models in the registry. Then rewrites what stands between
``<!-- figures: NAME -->`` and ``<!-- end of figures -->``, and copies pictures into ``docs/assets``.
Nothing is typed by hand.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path
from typing import Any

from benchmarks.compare import COMMITTED
from benchmarks.invertibility_tables import tables
from benchmarks.registry_table import registry_table
from benchmarks.tools.results import is_quick, read_targets, target_table

ROOT = Path(__file__).parents[1]
ASSETS = ROOT / "docs" / "assets"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

QUICKSTART = {
    "train_seconds": ("seconds of training", "{:.0f}"),
    "frechet_one_step": ("Frechet distance of one-step samples to test digits", "{:.1f}"),
    "frechet_loop": ("of samples of the 100-step loop", "{:.1f}"),
    "frechet_test_floor": ("of training digits (real against real)", "{:.1f}"),
    "frechet_noise": ("of uniform noise", "{:.0f}"),
    "label_agreement": ("samples that a classifier gives the label asked for", "{:.1%}"),
    "one_step_vs_loop_rel_err_euler": ("one step against the 100-step Euler loop, relative error of the images", "{:.0e}"),
    "one_step_vs_loop_rel_err_rk4": ("the same for RK4", "{:.0e}"),
    "invertibility_max_abs_err": ("largest error of g^-1(g(x)) on test digits, float32", "{:.0e}"),
    "invertibility_max_abs_err_float64": ("the same weights in float64", "{:.0e}"),
    "superposition_rel_err": ("superposition f(a (.) u (+) b (.) v) against a (.) f(u) (+) b (.) f(v)", "{:.0e}"),
    "idempotency_max_abs_err": ("largest change when the projector is applied twice", "{:.0e}"),
    "inversion_psnr_db": ("digit to noise and back through 16 coordinates, dB", "{:.1f}"),
    "collapse_seconds": ("seconds to collapse 100 Euler steps", "{:.4f}"),
    "one_step_seconds": ("seconds for 64 digits, one step", "{:.4f}"),
    "loop_seconds": ("seconds for 64 digits, 100-step loop", "{:.4f}"),
    "parameters": ("parameters", "{:,}"),
}


_PICTURE = re.compile(r"\]\(([\w.-]+\.png)\)")


def quickstart(runs: Path) -> str:
    """The table of the quickstart, and its pictures into the assets."""
    run = runs / "quickstart"
    values: dict[str, Any] = json.loads((run / "report.json").read_text(encoding="utf-8"))
    for name in ("samples", "interpolation", "inversion"):
        shutil.copyfile(run / f"{name}.png", ASSETS / f"quickstart_{name}.png")
    rows = [f"| {label} | {form.format(values[name])} |" for name, (label, form) in QUICKSTART.items()]
    facts = values["run"]
    source = (
        f"`make quickstart`, seed {facts['seed']}, {facts['hardware']['cpu_cores']} CPU cores, torch {facts['versions']['torch']}; Frechet distances on "
        f"`{values['features']}`, {values['frechet_samples']:,} samples, {values['frechet_reference']:,} test digits. "
        "So few test digits bias all of them upwards alike."
    )
    return "\n".join(["| measured | value |", "|---|---|", *rows, "", source])


def numerics(runs: Path, assets: Path) -> dict[str, str]:
    """The tables of `benchmarks.lattice`, and those of `benchmarks.invertibility` from its results in the assets, where newer ones go first."""
    if (results := runs / "invertibility" / "results.json").is_file():
        shutil.copyfile(results, assets / "invertibility.json")
    found = {path.stem: path.read_text(encoding="utf-8").strip() for path in sorted((runs / "lattice").glob("*.md"))}
    return {**found, **tables(json.loads((assets / "invertibility.json").read_text(encoding="utf-8")))}


def keep(bench: Path, committed: Path, assets: Path) -> None:
    """Copy results, their tables and the pictures that these show to where they are committed."""
    for path in sorted(bench.glob("*.json")):
        if is_quick(path):
            print(f"{path.stem}: left as it is, {path} comes from a run with --quick")
            continue
        committed.mkdir(exist_ok=True)
        text = path.with_suffix(".md").read_text(encoding="utf-8")
        for name in (path.name, path.with_suffix(".md").name):
            shutil.copyfile(bench / name, committed / name)
        for picture in _PICTURE.findall(text):
            shutil.copyfile(bench / picture, assets / picture)


def kept(committed: Path) -> dict[str, str]:
    """The committed tables by benchmark; those of several devices one after another, the CPU first."""
    found: dict[str, list[str]] = {}
    for path in sorted(committed.glob("*.json"), key=lambda path: (path.stem.count("."), path.stem)):
        device = json.loads(path.read_text(encoding="utf-8"))["environment"]["device"]
        text = path.with_suffix(".md").read_text(encoding="utf-8").strip()
        found.setdefault(path.stem.partition(".")[0], []).append(f"**{device}**\n\n" + _PICTURE.sub(r"](assets/\1)", text))
    return {name: "\n\n".join(texts) for name, texts in found.items()}


def promised(committed: Path) -> str:
    """Targets of all benchmarks on the CPU beside what was measured; empty where there are none."""
    paths = [path for path in sorted(committed.glob("*.json")) if "." not in path.stem]
    targets = [target for path in paths for target in read_targets(path)]
    facts = [json.loads(path.read_text(encoding="utf-8"))["environment"] for path in paths]
    if not targets:
        return ""
    source = (
        f"Command: `make bench`. {facts[0]['cpu']}, {facts[0]['cores']} cores, torch {facts[0]['versions']['torch']}; seed {facts[0]['seed']}; "
        "random weights, but models of the registry in the demo."
    )
    return f"{target_table(targets)}\n\n{source} [x]: extrapolated from fewer steps, or from smaller D."


def insert(page: Path, name: str, text: str) -> bool:
    """Replace the marked region of a page; False where it has none."""
    before = page.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- figures: {name} -->\n).*?(<!-- end of figures -->)", re.DOTALL)
    after = pattern.sub(lambda match: f"{match[1]}\n{text}\n\n{match[2]}", before)
    page.write_text(after, encoding="utf-8")
    return bool(pattern.search(before))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    runs = parser.parse_args().runs
    keep(runs / "bench", COMMITTED, ASSETS)
    found = {**numerics(runs, ASSETS), **kept(COMMITTED), "registry": registry_table()}
    if text := promised(COMMITTED):
        found["targets"] = text
    if (runs / "quickstart").is_dir():
        found["quickstart"] = quickstart(runs)
    else:
        print(f"quickstart: left as it is, {runs / 'quickstart'} does not exist")
    for name, text in found.items():
        changed = [str(page.relative_to(ROOT)) for page in PAGES if insert(page, name, text)]
        print(f"{name}: {', '.join(changed) or 'no page has its marker'}")


if __name__ == "__main__":
    main()
