"""The study spectrum, on operators whose decomposition is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from linearizer_core.data import Splits, stack
from linearizer_core.factory import create_study
from linearizer_core.metrics import psnr
from linearizer_core.operators import Diagonal, IdentityPlusLowRank, Mask, ScaledIdentity
from linearizer_core.study import StudySubject
from linearizer_studies.triplets import triplets


def test_equal_singular_values_come_in_the_order_of_the_data(by_hand: Callable[..., StudySubject], splits: Splits, tmp_path: Path) -> None:
    report = create_study("spectrum", examples=100, ranks=[4]).run(by_hand(Mask(torch.ones(64, dtype=torch.bool))), tmp_path)
    x = stack(splits.test, 100)["x"].flatten(1).double()
    axes = torch.linalg.eigh(x.T @ x).eigenvectors.flip(1)[:, :4]
    best = psnr((x @ axes @ axes.T).clamp(0, 1), x)  # principal components of the data themselves, not centred: g is a rotation
    assert report.tables["Outputs rebuilt from k triplets"][0]["against examples, dB"] == pytest.approx(best, abs=1e-3)
    assert report.metrics["distinct_singular_values"] == 1
    assert "treats them alike" in report.findings[0]


def test_distinct_values_and_what_their_triplets_rebuild(by_hand: Callable[..., StudySubject], tmp_path: Path) -> None:
    values = torch.cat([torch.tensor([8.0, -4.0, 2.0]), torch.zeros(61)])
    report = create_study("spectrum", examples=20).run(by_hand(Diagonal(values)), tmp_path)
    assert (report.metrics["rank"], report.metrics["largest_singular_value"], report.metrics["distinct_singular_values"]) == (3, 8, 3)
    rows = report.tables["Outputs rebuilt from k triplets"]
    assert [row["k"] for row in rows] == [1, 2, 3]
    assert rows[-1]["against f, dB"] > 120
    assert rows[0]["against f, dB"] < rows[1]["against f, dB"] < rows[2]["against f, dB"]
    assert set(report.figures) == {"singular_values.png", "rebuilt.png", "vectors_right.png", "vectors_left.png", "rebuilt_images.png"}
    assert all((tmp_path / name).is_file() for name in report.figures)


def test_a_flow_is_rebuilt_from_the_noise_of_its_images(flow: StudySubject, tmp_path: Path) -> None:
    report = create_study("spectrum", examples=30, ranks=[2]).run(flow, tmp_path)
    rows = report.tables["Outputs rebuilt from k triplets"]
    assert [row["k"] for row in rows] == [2, 6]
    assert rows[1]["against examples, dB"] == pytest.approx(report.metrics["psnr_db"], abs=1e-3)
    assert "vectors_left.png" in report.figures


def test_triplets_are_the_operator_without_its_zeros() -> None:
    generator = torch.Generator().manual_seed(0)
    u, v = (torch.randn(9, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    latents = torch.randn(20, 9, generator=generator, dtype=torch.float64)
    for operator in (IdentityPlusLowRank(0.0, u, v), IdentityPlusLowRank(-0.5, u, v), Mask(torch.arange(9) < 7), ScaledIdentity(0.3, 9)):
        for of_outputs in (True, False):
            found = triplets(operator, latents, of_outputs=of_outputs)
            rebuilt = found.truncated(len(found.values), torch.float64).to_dense()
            torch.testing.assert_close(rebuilt, operator.to_dense().double(), atol=1e-7, rtol=0)
            assert bool((found.values[1:] <= found.values[:-1] + 1e-12).all())
