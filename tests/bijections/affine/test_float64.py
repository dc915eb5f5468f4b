from __future__ import annotations

import copy

import pytest
import torch

from linearizer_core.bijections import Float64Constants


def constants() -> Float64Constants:
    return Float64Constants(third=torch.tensor([1 / 3], dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_bits_outlive_casts(dtype: torch.dtype) -> None:
    model = torch.nn.Sequential(constants(), torch.nn.Linear(1, 1)).to(dtype)
    first = model[0]
    assert isinstance(first, Float64Constants)
    assert first["third"].dtype == torch.float64
    assert first["third"].item() == 1 / 3
    assert next(model[1].parameters()).dtype == dtype


def test_the_device_follows() -> None:
    assert constants().to("meta")["third"].device.type == "meta"
    assert constants().to("meta", torch.float32)["third"].dtype == torch.float64
    assert constants().to("meta").to_empty(device="cpu")["third"].device.type == "cpu"


def test_states_and_copies_keep_them() -> None:
    saved = constants().state_dict()
    other = Float64Constants(third=torch.zeros(1, dtype=torch.float64)).float()
    other.load_state_dict(saved)
    assert copy.deepcopy(other)["third"].item() == 1 / 3
