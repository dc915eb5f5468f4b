from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from linearizer_core.data import DataInfo, TensorTable, collate, stack
from linearizer_core.errors import DataError


class OneByOne(Dataset[dict[str, Tensor]]):
    """A dataset without a batched look-up."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": torch.full((2,), float(index)), "label": torch.tensor(index)}


def table() -> TensorTable:
    return TensorTable(x=torch.arange(0, 250, 25, dtype=torch.uint8).reshape(5, 1, 2, 1), label=torch.arange(5))


def test_images_are_scaled_to_the_unit_interval_and_labels_are_not() -> None:
    item = table()[4]
    assert item["x"].tolist() == [[[pytest.approx(200 / 255)], [pytest.approx(225 / 255)]]]
    assert item["label"].item() == 4
    floats = TensorTable(x=torch.tensor([[0.25]]))
    assert torch.equal(floats[0]["x"], torch.tensor([0.25]))


def test_a_batch_equals_its_examples() -> None:
    batch = table().__getitems__([3, 0, 3])
    for row, index in enumerate((3, 0, 3)):
        assert all(torch.equal(batch[name][row], table()[index][name]) for name in ("x", "label"))


def test_slices_share_memory() -> None:
    whole = table()
    part = whole.slice(1, 3)
    assert len(part) == 2
    assert part[0]["label"].item() == 1
    assert part.tensors["x"].data_ptr() == whole.tensors["x"][1:].data_ptr()


def test_iteration_ends() -> None:
    assert [item["label"].item() for item in table()] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("tensors", [{}, {"x": torch.zeros(0, 2)}, {"x": torch.zeros(2), "label": torch.zeros(3)}])
def test_tables_without_rows_or_of_several_lengths_are_refused(tensors: dict[str, Tensor]) -> None:
    with pytest.raises(DataError, match=r"tensors of one length, at least 1, got \{"):
        TensorTable(**tensors)


@pytest.mark.parametrize("dataset", [table(), OneByOne(), Subset(OneByOne(), [2, 0, 1]), Subset(table(), [4, 2])])
def test_loader_and_stack_agree(dataset: Dataset[dict[str, Tensor]]) -> None:
    (batch,) = DataLoader(dataset, batch_size=10, collate_fn=collate)
    stacked = stack(dataset)
    assert batch.keys() == stacked.keys() == {"x", "label"}
    assert all(torch.equal(batch[name], stacked[name]) for name in batch)
    assert torch.equal(stack(dataset, 2)["label"], stacked["label"][:2])
    assert len(stack(dataset, 100)["x"]) == len(stacked["x"])


@pytest.mark.parametrize("values", [{"shape": ()}, {"shape": (0, 8)}, {"shape": (-1,)}, {"shape": (2,), "classes": -1}, {"shape": (2,), "colour": 3}])
def test_descriptions_of_no_data_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DataInfo.model_validate({"name": "x", **values})
