from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from linearizer_core import bijections
from linearizer_core.backbone_options import LARGEST_LOG_SCALE, check_norm_bound, default_dense, default_levels, halvings, squeeze_levels
from linearizer_core.errors import ConfigError


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 9), st.integers(0, 9))
def test_halvings_are_the_twos_in_both_sides(a: int, b: int, height: int, width: int) -> None:
    assert halvings((3, 2**a * (2 * height + 1), 2**b * (2 * width + 1))) == min(a, b)


@pytest.mark.parametrize("shape", [(8,), (8, 8), (2, 8, 8, 8)])
def test_only_images_can_be_halved(shape: tuple[int, ...]) -> None:
    assert halvings(shape) == squeeze_levels(shape) == 0
    assert default_levels(shape) == []


@pytest.mark.parametrize(
    ("shape", "levels"),
    [((1, 28, 28), 2), ((3, 32, 32), 2), ((3, 64, 64), 3), ((3, 64, 32), 2), ((2, 12, 8), 1), ((1, 8, 8), 1), ((5, 6, 4), 1), ((3, 7, 5), 0), ((3, 14, 7), 0)],
)
def test_defaults_halve_until_a_side_is_small_or_odd(shape: tuple[int, ...], levels: int) -> None:
    assert squeeze_levels(shape) == len(default_levels(shape)) == levels


def test_only_what_is_asked_for_too_often_is_refused() -> None:
    assert squeeze_levels((1, 28, 28), 2) == 2
    assert squeeze_levels((1, 28, 28), 0) == squeeze_levels((12,), 0) == squeeze_levels((12,)) == squeeze_levels((4, 3)) == 0
    with pytest.raises(ConfigError, match="levels = 3: each level halves both sides, and 28x28 allows at most 2; give levels = 2, or pad the images"):
        squeeze_levels((1, 28, 28), 3)
    with pytest.raises(ConfigError, match=r"levels = 1 for shape \(12,\): only images .* can be squeezed; give levels = 0"):
        squeeze_levels((12,), 1)


def test_levels_grow_towards_the_coarse_ones_and_mix_tokens_where_there_are_few() -> None:
    sizes = [(each["couplings"], each["width"], each["token_mixing"]) for each in default_levels((3, 128, 128))]
    assert sizes == [(2, 32, False), (4, 64, False), (4, 128, False), (4, 128, True)]
    assert [each["token_mixing"] for each in default_levels((1, 8, 8))] == [False]
    assert [each["token_mixing"] for each in default_levels((1, 32, 64))] == [False, False]
    assert [each["token_mixing"] for each in default_levels((1, 32, 32))] == [False, True]


@pytest.mark.parametrize(
    ("shape", "couplings", "width"), [((1,), 0, 128), ((2,), 8, 128), ((127,), 8, 128), ((2, 64), 8, 512), ((4096,), 8, 512), ((1, 64, 65), 0, 512)]
)
def test_dense_couplings_where_they_do_not_outweigh_all_else(shape: tuple[int, ...], couplings: int, width: int) -> None:
    assert default_dense(shape) == {"couplings": couplings, "width": width}


def test_a_bound_that_nothing_keeps_is_refused() -> None:
    check_norm_bound("affine", 0.1)
    check_norm_bound("none", 0.1, class_scale=True)
    check_norm_bound("actnorm", None)
    check_norm_bound("none", None)
    for class_scale in (False, True):
        with pytest.raises(
            ConfigError, match=r"norm_log_scale_bound = 0\.1 with norm = 'actnorm', whose scales come from data; give norm = 'affine', or leave it out"
        ):
            check_norm_bound("actnorm", 0.1, class_scale=class_scale)
    with pytest.raises(
        ConfigError, match=r"norm_log_scale_bound = 0\.1 with norm = 'none', which has no scales to bound; give norm = 'affine', or leave it out"
    ):
        check_norm_bound("none", 0.1)


def test_the_largest_scale_and_its_inverse_are_numbers_in_float32() -> None:
    scale = torch.tensor([LARGEST_LOG_SCALE, -LARGEST_LOG_SCALE]).exp()
    assert bool((scale.isfinite() & (scale >= torch.finfo(torch.float32).tiny)).all())


def test_configurations_may_use_it_without_torch() -> None:
    assert bijections.squeeze_levels is squeeze_levels
    subprocess.run([sys.executable, "-c", "import sys, linearizer_core.backbone_options; sys.exit('torch' in sys.modules)"], check=True)
