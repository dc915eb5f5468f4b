"""Test examples in a picture beside a model."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from linearizer_core.data import TensorTable
from linearizer_core.errors import ArtifactError
from linearizer_core.pretrained import Pretrained
from linearizer_core.pretrained.examples import EXAMPLES, choose_examples, cut_examples, draw_examples
from tests.pretrained.test_pretrained import tiny


@given(count=st.integers(1, 40), channels=st.sampled_from([1, 3]), height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 99))
def test_examples_come_back_in_8_bits(count: int, channels: int, height: int, width: int, seed: int) -> None:
    x = torch.randint(256, (count, channels, height, width), generator=torch.Generator().manual_seed(seed)) / 255
    back = cut_examples(draw_examples(x), x.shape[1:])
    assert len(back) == (count if count <= 8 else count // 8 * 8)
    assert torch.equal(back, x[: len(back)])


def test_as_many_of_each_class() -> None:
    labels = torch.arange(200) % 10
    table = TensorTable(x=(labels / 10).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2), label=labels)
    chosen = choose_examples(table, classes=10)
    assert chosen.shape == (40, 1, 2, 2)
    assert (10 * chosen[:, 0, 0, 0]).round().long().tolist() == sorted(4 * list(range(10)))


def test_a_small_split_without_classes() -> None:
    assert len(choose_examples(TensorTable(x=torch.rand(5, 1, 2, 2)), classes=0)) == 5


@pytest.mark.parametrize("sheet", [b"", b"\x89PNG\r\n\x1a\n", draw_examples(torch.rand(4, 1, 5, 5))])
def test_another_picture_is_refused(sheet: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"examples\.png"):
        cut_examples(sheet, (1, 4, 4))


def test_a_wide_picture_is_not_decoded() -> None:
    file = io.BytesIO()
    Image.new("1", (40_000, 4)).save(file, format="png")
    with pytest.raises(ArtifactError, match="40000 x 4"):
        cut_examples(file.getvalue(), (1, 4, 4))


def test_a_saved_model_has_its_examples(tmp_path_factory: pytest.TempPathFactory) -> None:
    pretrained, x = tiny(), torch.rand(8, 1, 4, 4)
    assert pretrained.examples() is None
    saved = replace(pretrained, pictures={EXAMPLES: draw_examples(x)}).save_pretrained(tmp_path_factory.mktemp("model") / "artifact")
    loaded = Pretrained.from_pretrained(saved).examples()
    assert loaded is not None
    assert torch.allclose(loaded, x, atol=0.51 / 255)
