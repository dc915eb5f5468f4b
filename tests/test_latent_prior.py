"""Latent priors: categories, whitening of latents that fill a subspace, and what is refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from linearizer_core import create_backbone
from linearizer_core.config import Component
from linearizer_core.errors import ConditionError, ConfigError, DataError
from linearizer_core.latent_prior import Categories, PrincipalWhiten, make_prior
from linearizer_core.latent_prior.principal import principal_axes

COUPLING = Component(name="coupling", dense={"couplings": 2, "width": 8})


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(deadline=None, max_examples=20)
@given(rank=st.integers(1, 6), components=st.integers(1, 9), seed=st.integers(0, 99))
def test_principal_coordinates_of_latents_in_a_subspace(rank: int, components: int, seed: int) -> None:
    axes = torch.linalg.qr(torch.randn(9, rank, dtype=torch.float64, generator=seeded(seed)))[0]
    latents = 0.5 + torch.randn(200, rank, dtype=torch.float64, generator=seeded(seed + 1)) * torch.arange(1, rank + 1) @ axes.T
    whiten = PrincipalWhiten(9, components)
    whiten.fit(latents)
    u = whiten(latents)
    assert u.shape == (200, components)
    kept = min(rank, components)
    assert torch.allclose(torch.cov(u[:, :kept].T, correction=0), torch.eye(kept, dtype=torch.float64), atol=1e-9)
    assert not u[:, kept:].any()
    back = whiten.inverse(u)
    if components >= rank:
        assert torch.allclose(back, latents, atol=1e-9)
    else:
        dropped = torch.linalg.eigvalsh(torch.cov(latents.T, correction=0))[: 9 - components].sum()
        assert (back - latents).square().sum(1).mean() == pytest.approx(dropped.item(), rel=1e-6)
    assert torch.allclose(whiten(back), u, atol=1e-9)


def test_its_constants_keep_their_bits() -> None:
    whiten = PrincipalWhiten(4, 2)
    whiten.fit(torch.randn(30, 4, dtype=torch.float64, generator=seeded()))
    before = whiten.constants["axes"].clone()
    assert torch.equal(whiten.float().double().constants["axes"], before)


@pytest.mark.parametrize("latents", [torch.zeros(5, 3), torch.ones(1, 3), torch.full((5, 3), torch.nan)])
def test_latents_that_tell_nothing_are_refused(latents: torch.Tensor) -> None:
    with pytest.raises(DataError, match="expected at least two finite ones that differ"):
        PrincipalWhiten(3, 2).fit(latents)


def test_labels_are_drawn_by_their_frequency() -> None:
    categories = Categories("label", 3, 2)
    categories.fit(torch.zeros(8, 2), torch.tensor([0, 0, 0, 0, 0, 0, 2, 2]))
    drawn = categories.draw(4000, seeded())
    assert drawn is not None
    shares = torch.bincount(drawn["label"], minlength=3) / 4000
    assert shares[1] == 0
    assert shares[0].item() == pytest.approx(0.75, abs=0.03)
    asked = categories.draw(5, seeded(), 1)
    assert asked is not None
    assert asked["label"].tolist() == [1] * 5
    with pytest.raises(ConfigError, match="label = 3: this model knows the labels 0 to 2"):
        categories.draw(5, seeded(), 3)
    with pytest.raises(ConditionError, match="give one label for each example"):
        categories.of(torch.zeros(2, 2), None)


def test_clusters_are_found_without_labels() -> None:
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    latents = centres.repeat_interleave(40, 0) + torch.randn(120, 2, generator=seeded())
    categories = Categories("cluster", 3, 2)
    categories.fit(latents, torch.zeros(120, dtype=torch.int64))
    found = categories.of(latents, None)
    assert found is not None
    assert all(len(found[start : start + 40].unique()) == 1 for start in (0, 40, 80))
    assert len(found.unique()) == 3
    with pytest.raises(DataError, match="2 training examples cannot form 3 clusters"):
        categories.fit(latents[:2], None)


def test_a_single_category_needs_no_condition() -> None:
    categories = Categories(None, 7, 2)
    categories.fit(torch.zeros(4, 2), torch.tensor([0, 1, 2, 3]))
    assert (categories.count, categories.conditions, categories.draw(3, seeded()), categories.of(torch.zeros(4, 2), None)) == (1, {}, None, None)
    with pytest.raises(ConfigError, match="label = 0: this model knows no labels and no clusters"):
        categories.draw(3, seeded(), 0)


def test_labels_of_data_without_labels_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"task.x.condition = 'label', but the data have no labels"):
        make_prior(4, "label", 5, 0, COUPLING, where="task.x")


@pytest.mark.parametrize(
    ("broken", "message"),
    [({"has_logdet": False}, "no log-determinant; choose another task.x.prior.backbone"), ({"conditions": {}}, "does not use the condition")],
)
def test_backbones_that_cannot_be_a_prior(broken: dict[str, object], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = create_backbone("coupling", (4,), conditions={"label": 3}, **COUPLING.options)
    for name, value in broken.items():
        setattr(made, name, value)
    monkeypatch.setattr("linearizer_core.latent_prior.parts.create_backbone", lambda *_, **__: made)
    with pytest.raises(ConfigError, match=message):
        make_prior(4, "label", 5, 3, COUPLING, where="task.x")


def test_axes_of_latents_that_a_mask_cut() -> None:
    latents = torch.zeros(300, 40, dtype=torch.float64)
    latents[:, [3, 17, 30]] = torch.randn(300, 3, dtype=torch.float64, generator=seeded()) * torch.tensor([1.0, 3.0, 2.0])
    variances, axes = principal_axes(latents)
    expected = torch.linalg.eigvalsh(latents.T @ latents / 300).flip(0)
    assert torch.allclose(variances, expected[:3], rtol=1e-12)
    assert torch.allclose(axes.T @ axes, torch.eye(3, dtype=torch.float64), atol=1e-12)
    assert torch.allclose((latents @ axes).square().mean(0), variances, rtol=1e-12)
    whiten = PrincipalWhiten(40, 8)
    whiten.fit(latents)
    assert torch.allclose(whiten.inverse(whiten(latents)), latents, atol=1e-12)
