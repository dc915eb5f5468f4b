from __future__ import annotations

import pytest
import torch
from torch import Tensor

from linearizer_core.bijections import Whiten
from linearizer_core.errors import DataError, InputShapeError


def latents(count: int = 200, dim: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(dim, dim, generator=generator, dtype=torch.float64)
    return torch.randn(count, dim, generator=generator, dtype=torch.float64) @ mixing + torch.arange(dim)


def test_it_is_the_identity_until_fitted() -> None:
    whiten = Whiten(5)
    assert not whiten.fitted
    assert torch.equal(whiten(latents()), latents())


def test_fitted_latents_become_white() -> None:
    whiten = Whiten(5)
    whiten.fit(latents())
    z = whiten(latents())
    assert whiten.fitted
    assert z.mean(0).abs().max() < 1e-12
    assert (torch.cov(z.T, correction=0) - torch.eye(5, dtype=torch.float64)).abs().max() < 1e-11


def test_the_matrix_is_symmetric_and_a_second_fit_replaces_the_first() -> None:
    whiten, again = Whiten(5), Whiten(5)
    whiten.fit(latents())
    again.fit(7 * latents())
    again.fit(latents())
    matrix = whiten.constants["whitener"]
    assert (matrix - matrix.T).abs().max() < 1e-13
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in whiten.state_dict().items())


def test_casts_of_the_model_do_not_touch_the_fit() -> None:
    whiten = Whiten(5).float()
    whiten.fit(latents().float())
    reference = Whiten(5)
    reference.fit(latents().float().double())
    assert torch.equal(whiten.half().double()(latents()), reference(latents()))


def test_too_few_or_degenerate_latents_are_refused_and_change_nothing() -> None:
    whiten = Whiten(5)
    with pytest.raises(DataError, match="5 latents of 5 dimensions, expected more than 5"):
        whiten.fit(latents(5))
    flat = latents()
    flat[:, 2] = flat[:, 0] - flat[:, 1]
    with pytest.raises(DataError, match="fill 4 of 5 dimensions"):
        whiten.fit(flat)
    with pytest.raises(InputShapeError):
        whiten.fit(latents(dim=4))
    assert not whiten.fitted
    assert torch.equal(whiten(latents()), latents())
