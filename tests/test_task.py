"""What a task knows by itself: the conditions of examples, and the space they share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from linearizer_core.bijections import Bijection, ElementwiseAffine, Identity
from linearizer_core.data import Splits
from linearizer_core.errors import ConfigError
from linearizer_core.factory import create_core
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import LinearOperator
from linearizer_core.task import BuildContext, Report, Stage, Task


class Plain(Task):
    def build(self, context: BuildContext) -> LinearizerModel:
        raise NotImplementedError

    def stages(self) -> list[Stage]:
        raise NotImplementedError

    def evaluate(self, model: LinearizerModel, splits: Splits, folder: Path, *, operator: LinearOperator | None = None) -> Report:
        raise NotImplementedError


def model(g: Bijection) -> LinearizerModel:
    return LinearizerModel(g, create_core("projector", (3, 3), rank=2))


X = torch.rand(4, 3)


def test_labels_are_the_condition_where_the_bijections_take_them() -> None:
    labelled = model(ElementwiseAffine((3,), categories=("label", 5)))
    batch = {"x": X, "label": torch.arange(4)}
    found = Plain().condition(labelled, batch)
    assert found is not None
    assert torch.equal(found["label"], torch.arange(4))
    assert Plain().condition(model(Identity((3,))), batch) is None
    with pytest.raises(ConfigError, match="take 'label', the examples hold \\['x'\\]"):
        Plain().condition(labelled, {"x": X})
    with pytest.raises(ConfigError, match="take 'style'"):
        Plain().condition(model(ElementwiseAffine((3,), categories=("style", 2))), batch)


def test_examples_of_several_spaces_share_none_by_default() -> None:
    assert Plain().data_space(model(Identity((3,)))).condition is None
    with pytest.raises(ConfigError, match="gy takes \\['label'\\]"):
        Plain().data_space(model(ElementwiseAffine((3,), categories=("label", 5))))
