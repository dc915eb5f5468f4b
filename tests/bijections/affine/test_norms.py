from __future__ import annotations

import pytest

from linearizer_core.bijections import ActNorm, ElementwiseAffine, norm_layers
from linearizer_core.errors import ConfigError

CONDITIONS = {"label": 2, "style": 3}


def test_affine_has_one_scale_for_all() -> None:
    (layer,) = norm_layers((3, 4, 4), norm="affine", conditions=CONDITIONS, log_scale_bound=0.2)
    assert isinstance(layer, ElementwiseAffine)
    assert (layer.categories, layer.log_scale_bound, tuple(layer.log_scale.shape)) == (None, 0.2, (1, 3, 1, 1))


def test_what_is_no_image_has_a_scale_for_each_coordinate() -> None:
    (layer,) = norm_layers((6,), norm="affine")
    assert isinstance(layer, ElementwiseAffine)
    assert (layer.log_scale_bound, tuple(layer.log_scale.shape)) == (None, (1, 6))


@pytest.mark.parametrize("norm", ["affine", "actnorm", "none"])
def test_scales_per_category_take_the_place_of_affine_alone(norm: str) -> None:
    bound = None if norm == "actnorm" else 0.2
    layers = norm_layers((3, 4, 4), norm=norm, conditions=CONDITIONS, class_scale=True, log_scale_bound=bound)  # type: ignore[arg-type]
    if norm == "actnorm":
        assert isinstance(layers.pop(0), ActNorm)
    found = [(layer.categories, layer.log_scale_bound) for layer in layers if isinstance(layer, ElementwiseAffine)]
    assert found == [(("label", 2), bound), (("style", 3), bound)]
    assert len(layers) == 2


def test_the_other_two() -> None:
    assert [type(layer) for layer in norm_layers((3, 4, 4), norm="actnorm", conditions=CONDITIONS)] == [ActNorm]
    assert norm_layers((3, 4, 4), norm="none", conditions=CONDITIONS) == []


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="class_scale = true, but this backbone has no condition; give it one, or set class_scale = false"):
        norm_layers((6,), norm="none", class_scale=True)
    with pytest.raises(ConfigError, match="whose scales come from data"):
        norm_layers((6,), norm="actnorm", conditions=CONDITIONS, class_scale=True, log_scale_bound=0.2)
    with pytest.raises(ConfigError, match="which has no scales to bound"):
        norm_layers((6,), norm="none", conditions=CONDITIONS, log_scale_bound=0.2)
