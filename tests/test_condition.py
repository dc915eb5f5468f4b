from __future__ import annotations

import pytest
import torch

from linearizer_core.condition import Condition, require_label
from linearizer_core.errors import ConditionError


def test_it_is_a_mapping() -> None:
    condition = Condition(label=torch.tensor([1, 2]), style=torch.ones(1, 3))
    assert list(condition) == ["label", "style"]
    assert len(condition) == 2
    assert "time" not in condition
    assert repr(condition) == "Condition(label=(2,), style=(1, 3))"


def test_equality_is_by_name_and_value() -> None:
    one = Condition(label=torch.tensor([1, 2]))
    assert one == Condition(label=torch.tensor([1, 2]))
    assert hash(one) == hash(Condition(label=torch.tensor([1, 2])))
    assert one != Condition(label=torch.tensor([1, 3]))
    assert one != Condition(label=torch.tensor([1]))
    assert one != Condition(cluster=torch.tensor([1, 2]))
    assert one != Condition(label=torch.tensor([1, 2], device="meta"))
    assert one != {"label": [1, 2]}


def test_rows_only_and_to() -> None:
    condition = Condition(label=torch.tensor([4, 5, 6]), time=torch.tensor([0.5]))
    chosen = condition.rows(torch.tensor([2, 0]))
    assert chosen == Condition(label=torch.tensor([6, 4]), time=torch.tensor([0.5]))
    assert condition.only({"time": 0}) == Condition(time=torch.tensor([0.5]))
    assert condition.only(["style"]) is None
    assert condition.to("meta")["label"].device.type == "meta"


def test_ill_formed_conditions_are_refused() -> None:
    with pytest.raises(ConditionError, match=r"'label' is a scalar tensor; give it a batch dimension"):
        Condition(label=torch.tensor(3))
    with pytest.raises(ConditionError, match=r"disagree on the batch size: \{'label': 2, 'style': 3\}"):
        Condition(label=torch.zeros(2), style=torch.zeros(3))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
def test_labels_of_every_integer_type_index_alike(dtype: torch.dtype) -> None:
    label = require_label(Condition(label=torch.tensor([2, 0, 2], dtype=dtype)), "label", 3, 3)
    assert torch.arange(10, 13)[label].tolist() == [12, 10, 12]


def test_one_label_serves_a_whole_batch() -> None:
    assert require_label(Condition(label=torch.tensor([2])), "label", 3, 4).tolist() == [2, 2, 2, 2]
    assert require_label(Condition(label=torch.tensor([2])), "label", 3, 0).tolist() == []


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (None, r"the condition 'label' \(0 to 2\) is needed, given conditions: none; pass Condition\(label=\.\.\.\)"),
        (Condition(), "given conditions: none"),
        (Condition(style=torch.tensor([1])), "given conditions: style"),
        (Condition(label=torch.tensor([1.0])), r"integer tensor of shape \(B,\), got torch.float32 of shape \(1,\)"),
        (Condition(label=torch.tensor([True])), r"got torch.bool"),
        (Condition(label=torch.tensor([[1]])), r"of shape \(1, 1\)"),
        (Condition(label=torch.tensor([0, 1])), "has 2 rows for a batch of 4; give 4 rows, or 1 for all"),
        (Condition(label=torch.tensor([0, 1, 3, -1])), r"holds \[-1, 3\]; values must lie in 0 to 2"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(condition: Condition | None, message: str) -> None:
    with pytest.raises(ConditionError, match=message):
        require_label(condition, "label", 3, 4)


def test_values_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    condition, looks = Condition(label=torch.tensor([2, 0]), style=torch.tensor([4])), []
    smallest = torch.Tensor.min
    monkeypatch.setattr(torch.Tensor, "min", lambda tensor: looks.append(None) or smallest(tensor))
    for _ in range(3):
        require_label(condition, "label", 3, 2)
        require_label(condition, "style", 5, 2)
    assert len(looks) == 2
    require_label(condition.rows(torch.tensor([0])), "label", 3, 1)
    assert len(looks) == 3
    with torch.inference_mode():
        made_there = Condition(label=torch.tensor([1]))
        require_label(made_there, "label", 3, 1)
        made_there["label"].fill_(7)
        with pytest.raises(ConditionError, match=r"'label' holds \[7\]"):
            require_label(made_there, "label", 3, 1)


def test_values_that_changed_or_meet_another_range_are_looked_at_again() -> None:
    condition = Condition(label=torch.tensor([2, 0]))
    require_label(condition, "label", 3, 2)
    for _ in range(2):
        with pytest.raises(ConditionError, match=r"'label' holds \[2\]; values must lie in 0 to 1"):
            require_label(condition, "label", 2, 2)
    require_label(condition, "label", 3, 2)
    condition["label"][0] = -1
    with pytest.raises(ConditionError, match=r"'label' holds \[-1\]; values must lie in 0 to 2"):
        require_label(condition, "label", 3, 2)
