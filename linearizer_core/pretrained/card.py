"""The card of a saved model: what it is, how to use it, what was measured, how it was made, and what it cannot do.

It is readable as it is, and has the front matter that the Hub reads. Names, notes and values come from files that anybody may have written, so each is
escaped; only what installed plugins say is Markdown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from linearizer_core import plugins
from linearizer_core.collapse import CollapseReport
from linearizer_core.config_file import toml_text
from linearizer_core.markdown import render
from linearizer_core.pretrained.artifact import ArtifactConfig
from linearizer_core.pretrained.examples import EXAMPLES
from linearizer_core.pretrained.hub.address import ANY_ADDRESS, HUB_PREFIX
from linearizer_core.specs import ComponentSpec
from linearizer_core.task import TaskCard

CURVES = "training.png"
"""The picture of the training log."""
_LAST = (EXAMPLES, "singular_values.png")
_CAPTIONS = {
    EXAMPLES: "test examples",
    CURVES: "loss and its terms while it was trained, by stage",
    "singular_values.png": "singular values of the one operator B",
}
_COLLAPSE_ERRORS = ("error_vs_loop_float64", "error_vs_loop_float32")


@dataclass(frozen=True)
class CardFacts:
    """What a card is made of.

    Arguments:
        config: the parts of the model and how they were trained.
        parameters: how many the model has.
        samples: whether its task draws samples.
        metrics: what was measured.
        notes: what each metric means and each picture shows.
        collapse: what is known of its collapsed operator.
        pictures: names of picture files beside the card.
        logged: how many lines its training log has.
        task: what the task says.
        address: how the model is loaded.
    """

    config: ArtifactConfig
    parameters: int
    samples: bool = False
    metrics: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    collapse: CollapseReport | None = None
    pictures: Sequence[str] = ()
    logged: int = 0
    task: TaskCard = field(default_factory=TaskCard)
    address: str = ANY_ADDRESS


def render_card(facts: CardFacts) -> str:
    """Markdown with the front matter of a Hub model card. It quotes what was measured only; what was not measured is not mentioned."""
    config, task = facts.config, facts.task
    scalars = {name: value for name, value in facts.metrics.items() if isinstance(value, str | int | float)}
    exact = _chosen(scalars, task.exactness)
    measured = _chosen(scalars, task.measured or [name for name in scalars if name not in exact])
    known = None if facts.address == ANY_ADDRESS else facts.address.removeprefix(HUB_PREFIX).partition("@")[0].rpartition("/")[2]
    return render(
        "card.md.j2",
        title=known or f"{config.model.task.name} on {config.data.name}",
        facts=facts,
        config=config,
        spec=plugins.specs("task").get(config.model.task.name),
        details=_details(config),
        tags=["linearizer", _slug(config.model.task.name), _slug(config.data.name)],
        data=_slug(config.data.name),
        results={name: value for name, value in (measured | exact).items() if not isinstance(value, str | bool) and math.isfinite(value)},
        measured=measured,
        exact=exact,
        others={name: value for name, value in scalars.items() if name not in measured and name not in exact},
        fields=CollapseReport.model_fields,
        collapse_errors=_COLLAPSE_ERRORS,
        pictures={name: _caption(facts, name) for name in _in_order(facts) if name != CURVES},
        curves={name: _caption(facts, name) for name in {CURVES} & set(facts.pictures)},
        configuration=_configuration(config),
    )


def _chosen(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def _caption(facts: CardFacts, name: str) -> str:
    return facts.notes.get(name) or _CAPTIONS.get(name) or name.removesuffix(".png").replace("_", " ")


def _in_order(facts: CardFacts) -> list[str]:
    """Pictures in the order of their notes, then the others, and last what looks alike for all models."""
    named = [name for name in facts.notes if name in facts.pictures]
    return sorted([*named, *(name for name in facts.pictures if name not in named)], key=lambda name: name in _LAST)


def _configuration(config: ArtifactConfig) -> str:
    """The run's configuration as TOML, empty where it is not known."""
    if config.training is None:
        return ""
    return toml_text({**config.model.model_dump(mode="json"), "data": config.training.data, "training": config.training.training})


def _slug(name: str) -> str:
    """A name as tags are written: letters, digits, ``.``, ``_`` and ``-``."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:96] or "unnamed"


def _details(config: ArtifactConfig) -> dict[str, ComponentSpec]:
    """What the plugins say of the parts of a model, by part."""
    chosen = {
        "Task": plugins.specs("task").get(config.model.task.name),
        "Backbone": plugins.specs("backbone").get(config.model.backbone.name),
        "Core": plugins.specs("operator").get(config.model.core.name),
    }
    return {part: spec for part, spec in chosen.items() if spec is not None}
