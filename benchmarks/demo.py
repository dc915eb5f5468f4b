"""How long a visitor of the demo waits: what each tab shows at first, for each model of the registry that it can use.

    python -m benchmarks.demo [--quick] [--repeats 5] [--out runs/bench]

Every tab is shown once with each model, which is the first time, and then all of them in turns. A time is that of `DemoEngine.run`, from values to pictures
and numbers; loading the models, drawing the result and sending it are not in it. Writes OUT/demo.json and OUT/demo.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from benchmarks.tools import command
from benchmarks.tools.environment import environment
from benchmarks.tools.figures import Figure
from benchmarks.tools.results import Results, Target, target_table
from benchmarks.tools.tables import seconds, spread, table
from benchmarks.tools.timing import interleaved
from benchmarks.tools.timing import seconds as timed
from linearizer_core import plugins
from linearizer_demo.engine import DemoEngine

NAME = "demo"
QUICK_MODELS = ("flow.digits", "dynamics.pendulum")
SECONDS = 2.0


def measure(*, repeats: int, quick: bool) -> Results:
    """Everything that the table shows."""
    facts = environment("cpu", data="models of the registry, and their examples")
    engine = DemoEngine(QUICK_MODELS if quick else list(plugins.specs("pretrained")), hub=False)
    for tab in engine.tabs:
        engine.controls(tab, engine.serving(tab)[0])  # as for the page, before anybody visits it
    actions = {(tab, model): partial(engine.run, tab, model, {}) for tab in engine.tabs for model in engine.serving(tab)}
    first = {action: timed(run, "cpu") for action, run in actions.items()}
    again = interleaved({" ".join(action): run for action, run in actions.items()}, repeats, warm_up=False)
    cases: list[dict[str, Any]] = []
    for (tab, model), run in first.items():
        cases.append({"tab": engine.tabs[tab].title, "model": model, "first": run, "time": again[f"{tab} {model}"].to_dict()})
    figures = {f"{case['tab']}, {case['model']}: seconds": Figure(case["time"]["median"], "seconds") for case in cases}
    targets = [
        Target("seconds until a tab of the demo shows something: the slowest", SECONDS, max(case["time"]["median"] for case in cases), "at most"),
        Target("the same, the first time", SECONDS, max(case["first"] for case in cases), "at most"),
    ]
    return Results(NAME, f"python -m benchmarks.{NAME}", quick, facts, {"repeats": repeats}, cases, figures, targets)


def report(results: Results) -> str:
    """One row for each tab and model, and the targets."""
    rows = [[case["tab"], f"`{case['model']}`", seconds(case["first"]), spread(case["time"])] for case in results.cases]
    notes = (
        "First: the first time in a process that has loaded the models and made the controls of the page. "
        f"Again: median (least to most) of {results.settings['repeats']} turns of all."
    )
    return "\n\n".join([table(["tab", "model", "first", "again"], rows), target_table(results.targets), notes])


def main(arguments: Sequence[str] | None = None) -> None:
    options = command.parser(__doc__, repeats=5).parse_args(arguments)
    results = measure(repeats=options.repeats, quick=options.quick)
    command.save(results, "cpu", options.out, report(results))


if __name__ == "__main__":
    main()
