"""Small models of every task that tabs are for, and one thread, since all of it is small."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from linearizer_core.data import Splits
from linearizer_core.pretrained import Pretrained

from . import models


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="package")
def digits() -> Splits:
    return models.digits()


@pytest.fixture(scope="package")
def flows(digits: Splits) -> dict[str, Pretrained]:
    """Under labels, under clusters, under nothing; and with a core under labels, whose flow ends one step short."""
    return {
        "label": models.flow(digits),
        "cluster": models.flow(digits, "cluster"),
        "none": models.flow(digits, "none"),
        "published": models.published(digits),
        "published-none": models.published(digits, "none"),
    }


@pytest.fixture(scope="package")
def projector(digits: Splits) -> Pretrained:
    return models.projector(digits)
