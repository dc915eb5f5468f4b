"""Compare new results with those that were committed last; exit code 1 when something became worse than is allowed.

    python -m benchmarks.compare [NAME ...] [--runs runs/bench] [--committed benchmarks/results]

Compared are what does not depend on the machine first: evaluations, errors, then ratios within one run, exponents of growth. Seconds and bytes are shown,
and judge nothing. How much worse a figure may be depends on its kind, and is stated with the table.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from benchmarks.tools.command import RUNS
from benchmarks.tools.figures import RULES, Figure
from benchmarks.tools.results import is_quick, read_figures
from benchmarks.tools.tables import MISSING, marked, table
from linearizer_core.errors import DataError

COMMITTED = Path(__file__).parent / "results"


@final
@dataclass(frozen=True)
class Comparison:
    """One figure, then and now; None where one side lacks it."""

    benchmark: str
    name: str
    earlier: Figure | None
    now: Figure | None

    @property
    def worse(self) -> bool:
        """Worse than allowed, or no longer measured though it is judged."""
        if self.earlier is None:
            return False
        if self.now is None:
            return RULES[self.earlier.kind].factor is not None
        return self.now.is_worse_than(self.earlier)

    @property
    def kind(self) -> str:
        figure = self.now or self.earlier
        assert figure is not None
        return figure.kind

    def row(self) -> list[str]:
        ratio = MISSING
        if self.earlier is not None and self.now is not None and self.earlier.value:
            ratio = f"{self.now.value / self.earlier.value:.2f}"
        verdict = "WORSE" if self.worse else "new" if self.earlier is None else "not judged" if RULES[self.earlier.kind].factor is None else "ok"
        return [self.benchmark, self.name, self.kind, _cell(self.earlier), _cell(self.now), ratio, verdict]


def compare(names: Sequence[str], runs: Path, committed: Path) -> list[Comparison]:
    """All figures of the results in ``runs`` beside those in ``committed``, judged kinds first.

    Raises:
        DataError: when there is nothing to compare, or the new results come from a run with ``--quick``.
    """
    stems = {path.stem for path in runs.glob("*.json")} & {path.stem for path in committed.glob("*.json")}
    chosen = sorted(stem for stem in stems if not names or stem in names or stem.partition(".")[0] in names)
    if not chosen:
        wanted = f" for {', '.join(names)}" if names else ""
        raise DataError(
            f"{runs} and {committed} hold no results of the same benchmark{wanted}; run `python -m benchmarks`, and `python -m benchmarks.publish` once"
        )
    found = []
    for stem in chosen:
        if is_quick(runs / f"{stem}.json"):
            raise DataError(f"{runs / stem}.json comes from a run with --quick, whose figures mean nothing; run `python -m benchmarks {stem}` without it")
        earlier, now = read_figures(committed / f"{stem}.json"), read_figures(runs / f"{stem}.json")
        found += [Comparison(stem, name, earlier.get(name), now.get(name)) for name in dict.fromkeys([*earlier, *now])]
    order = list(RULES)
    return sorted(found, key=lambda comparison: order.index(comparison.kind))  # type: ignore[arg-type]


def report(comparisons: Sequence[Comparison]) -> str:
    """The table, and what each kind allows."""
    header = ["benchmark", "figure", "kind", "committed", "now", "now / committed", ""]
    allowed = [
        f"- {kind} ({rule.meaning}; {rule.better} is better): "
        + ("not judged" if rule.factor is None else f"{'plus' if rule.additive else 'times'} {rule.factor:g} at most")
        for kind, rule in RULES.items()
    ]
    return "\n\n".join([table(header, [comparison.row() for comparison in comparisons]), "\n".join(["Allowed to be worse by:", *allowed])])


def _cell(figure: Figure | None) -> str:
    return MISSING if figure is None else marked(f"{figure.value:.4g}", figure.extrapolated)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to compare; all that both sides have when none is given")
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of the new results")
    parser.add_argument("--committed", type=Path, default=COMMITTED, help="folder of the committed ones")
    options = parser.parse_args(arguments)
    try:
        comparisons = compare(options.names, options.runs, options.committed)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report(comparisons))
    worse = [comparison for comparison in comparisons if comparison.worse]
    print(f"\n{len(worse)} of {len(comparisons)} figures are worse than allowed.")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
