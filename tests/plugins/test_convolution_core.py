"""Cores with one operator for each category: convolutions for latents of any size, and the identity plus low rank."""

from __future__ import annotations

import pytest
import torch

from linearizer_core.bijections import ElementwiseAffine, Flatten, HaarSqueeze, Identity
from linearizer_core.condition import Condition
from linearizer_core.cores import SpatialCore, latent_shape, nearest_grid
from linearizer_core.errors import ConditionError, ConfigError
from linearizer_core.factory import create_backbone, create_core
from linearizer_core.operators import Convolution
from linearizer_core.testing import Check, CoreSubject, Subject, parametrize_with_checks


@parametrize_with_checks(
    [
        CoreSubject("convolution", title="depthwise", options={"depthwise": True}, shapes=[(18, 18)]),
        CoreSubject("convolution", title="rank", options={"rank": 2, "channels": 4}, shapes=[(24, 24)]),
        CoreSubject("convolution", title="one-place", options={"kernel": 1, "channels": 5}, shapes=[(30, 30)]),
    ]
)
def test_conformance(subject: Subject, check: Check) -> None:
    check(subject)


def test_it_starts_near_the_identity() -> None:
    for options in ({}, {"depthwise": True}, {"rank": 2}):
        operator = create_core("convolution", (192, 192), channels=12, **options).operator()
        assert isinstance(operator, Convolution)
        assert 0 < float((operator.to_dense() - torch.eye(192)).detach().norm() / 192**0.5) < 0.1
    low_rank = create_core("identity_plus_low_rank", (32, 32), rank=4)
    assert torch.equal(low_rank.operator().to_dense(), torch.eye(32))


def test_a_view_for_another_size_shares_the_parameters() -> None:
    core = create_core("convolution", (48, 48), channels=3, conditions={"label": 2})
    assert isinstance(core, SpatialCore)
    view = core.on((3, 5, 7))
    assert (core.shape, view.shape) == ((48, 48), (105, 105))
    assert next(iter(view.parameters())) is next(iter(core.parameters()))
    with torch.no_grad():
        core.kernel.add_(1)  # type: ignore[operator]
    condition = Condition(label=torch.tensor([1]))
    assert torch.equal(view.operator(condition).kernel, core.operator(condition).kernel)  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"the latent of the backbone has 4: \(4, 5, 7\); set core.channels = 4"):
        core.on((4, 5, 7))


def test_each_category_has_its_own_operator() -> None:
    for name in ("convolution", "identity_plus_low_rank"):
        core = create_core(name, (36, 36), conditions={"label": 3})
        torch.nn.init.normal_(next(core.parameters()))
        matrices = [core.operator(Condition(label=torch.tensor([label]))).to_dense() for label in range(3)]
        assert not torch.allclose(matrices[0], matrices[1])
        with pytest.raises(ConditionError, match="has 2 rows for a batch of 1"):
            core.operator(Condition(label=torch.tensor([0, 1])))
        with pytest.raises(ConfigError, match=r"conditions \['a', 'b'\], expected one at most"):
            create_core(name, (36, 36), conditions={"a": 2, "b": 2})


@pytest.mark.parametrize(
    ("options", "message"),
    [({"kernel": 4}, "should be odd"), ({"depthwise": True, "rank": 2}, "a depthwise kernel mixes no channels"), ({"channels": 5}, "does not divide 48")],
)
def test_options_that_cannot_be(options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_core("convolution", (48, 48), **options)


def test_the_latent_of_a_backbone_that_keeps_places() -> None:
    options = {"levels": [{"couplings": 2, "width": 4}], "dense": {"couplings": 0}, "final_mixing": False}
    coupling = create_backbone("coupling", (3, 8, 6), **options)
    assert latent_shape(coupling) == (12, 4, 3)
    last = coupling[len(coupling) - 2]  # type: ignore[index, arg-type]
    assert isinstance(last, ElementwiseAffine)
    assert last.log_scale.numel() == 12  # one of each channel, none of a place
    assert latent_shape(HaarSqueeze((3, 4, 4))) == (12, 2, 2)
    assert latent_shape(Flatten((3, 4, 5))) == (3, 4, 5)
    for bijection in (Identity((12,)), create_backbone("coupling", (3, 8, 6), **(options | {"final_mixing": True}))):
        with pytest.raises(ConfigError, match="places are mixed at its end"):
            latent_shape(bijection)
    assert nearest_grid(1) == (1, 1)
