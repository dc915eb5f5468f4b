from __future__ import annotations

import pytest
import torch

from linearizer_core.bijections import ConditionEmbedding
from linearizer_core.condition import Condition


def test_embeddings_of_several_conditions_add() -> None:
    embed = ConditionEmbedding({"label": 3, "style": 2}, width=4)
    label, style = torch.tensor([2, 0]), torch.tensor([1])
    expected = embed.tables["label"][label] + embed.tables["style"][style]
    assert torch.equal(embed(Condition(label=label, style=style), 2), expected)


def test_entries_have_deviation_one_half() -> None:
    torch.manual_seed(0)
    assert ConditionEmbedding({"label": 100}, width=100).tables["label"].std().item() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("shape", [(2, 4), (2, 4, 3), (2, 4, 3, 5)])
def test_it_is_added_at_every_position_in_the_dtype_of_what_it_is_added_to(shape: tuple[int, ...]) -> None:
    embed, condition = ConditionEmbedding({"label": 3}, width=4), Condition(label=torch.tensor([2, 0]))
    h = torch.randn(shape, dtype=torch.bfloat16)
    sums = embed.added_to(h, condition)
    assert sums.dtype == torch.bfloat16
    rows = embed(condition, 2).bfloat16()
    for position in (0, -1):
        corner = (..., *(position,) * (len(shape) - 2))
        assert torch.equal(sums[corner], h[corner] + rows)
