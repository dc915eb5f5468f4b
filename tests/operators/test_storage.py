from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from linearizer_core.errors import ArtifactError
from linearizer_core.operators import SharedSubspace, load_operator, save_operator

from .zoo import MAKERS, make, normal, seeded


@pytest.mark.parametrize("kind", sorted(MAKERS))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_round_trip_bit_for_bit(kind: str, dtype: torch.dtype, tmp_path: Path) -> None:
    a = make(kind, 5, 4, seeded(0), dtype)
    save_operator(tmp_path / "a.safetensors", a)
    again = load_operator(tmp_path / "a.safetensors")
    z = normal(seeded(1), 3, 4, dtype=dtype)
    assert (type(again), again.shape, again.dtype) == (type(a), a.shape, dtype)
    assert torch.equal(again(z), a(z))
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_nested_operators_graphs_and_tied_tensors(tmp_path: Path) -> None:
    nested = (make("product", 4, 4, seeded(0)) + make("sum", 4, 4, seeded(1))) @ make("diagonal", 4, 4, seeded(2))
    u = normal(seeded(3), 4, 2).requires_grad_()
    for a in (nested, SharedSubspace(1.0, u, torch.eye(2, dtype=torch.float64), u)):
        save_operator(tmp_path / "a.safetensors", a)
        assert torch.equal(load_operator(tmp_path / "a.safetensors").to_dense(), a.to_dense())


@pytest.mark.parametrize(("owner", "function"), [(Path, "write_bytes"), (os, "replace")])
def test_an_interrupted_save_leaves_the_old_file(owner: object, function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    save_operator(path, make("dense", 3, 3, seeded(0)))
    before = path.read_bytes()

    def full_disk(*arguments: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(owner, function, full_disk)
    with pytest.raises(OSError, match="no space"):
        save_operator(path, make("dense", 3, 3, seeded(1)))
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


VECTOR = {"values": torch.ones(3)}
GOOD = {"format": "1", "kind": "diagonal"}


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        (VECTOR, {"format": "1", "kind": "hologram"}, "unknown kind 'hologram', expected one of: convolution, decay_rotation, dense"),
        (VECTOR, {"format": "2", "kind": "diagonal"}, "expected format 1"),
        (VECTOR, {"format": "1"}, "expected format 1 and a kind"),
        (VECTOR, None, "expected format 1"),
        ({}, GOOD, r"found tensors \[\], expected \['values'\]"),
        (VECTOR | {"more": torch.ones(1)}, GOOD, r"found tensors \['more', 'values'\]"),
        ({"values": torch.ones(2, 2)}, GOOD, "edited"),
        ({"scale": torch.ones(())}, {"format": "1", "kind": "scaled_identity"}, "found tensors"),
        ({"scale": torch.ones(()), "dim": torch.tensor([1, 2])}, {"format": "1", "kind": "scaled_identity"}, "edited"),
        ({"scale": torch.ones(()), "dim": torch.tensor(-3)}, {"format": "1", "kind": "scaled_identity"}, "on -3 dimensions"),
        ({"scale": torch.ones(3), "dim": torch.tensor(3)}, {"format": "1", "kind": "scaled_identity"}, r"scale of shape \(3,\)"),
        ({"0:product." * 2000 + "x": torch.ones(3)}, {"format": "1", "kind": "product"}, "edited"),
    ],
)
def test_edited_files_are_refused(tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None, message: str, tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "a.safetensors", metadata=metadata)
    with pytest.raises(ArtifactError, match=message):
        load_operator(tmp_path / "a.safetensors")


def test_missing_and_truncated_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(ArtifactError, match=r"a\.safetensors is missing; .* fetch or save it again"):
        load_operator(path)
    save_operator(path, make("dense", 30, 30, seeded(0)))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ArtifactError, match=r"a\.safetensors cannot be read as safetensors .*truncated, damaged or a pickle"):
        load_operator(path)
