"""The card of a saved model: what it is, how to use it, what was measured."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from linearizer_core import plugins
from linearizer_core.collapse import CollapseReport
from linearizer_core.markdown import render
from linearizer_core.pretrained.artifact import ArtifactConfig


def render_card(
    config: ArtifactConfig, metrics: Mapping[str, Any], collapse: CollapseReport | None = None, pictures: Collection[str] = (), section: str = ""
) -> str:
    """Markdown with the front matter of a Hub model card. It quotes what was measured only; what was not measured is not mentioned.

    Arguments:
        config: the parts of the model.
        metrics: what was measured of it.
        collapse: what is known of its collapsed operator.
        pictures: names of picture files beside the card.
        section: what the task says, in Markdown (`linearizer_core.task.Task.card`).
    """
    return render(
        "card.md.j2",
        config=config,
        metrics=metrics,
        details=_details(config),
        collapse=collapse,
        notes=CollapseReport.model_fields,
        pictures=pictures,
        section=section,
    )


def _details(config: ArtifactConfig) -> dict[str, tuple[str, str]]:
    """What the plugins say of the parts of a model: text and reference by part."""
    chosen = {
        "Task": plugins.specs("task").get(config.model.task.name),
        "Backbone": plugins.specs("backbone").get(config.model.backbone.name),
        "Core": plugins.specs("operator").get(config.model.core.name),
    }
    return {part: (spec.details or f"{spec.summary}.", spec.reference) for part, spec in chosen.items() if spec is not None}
