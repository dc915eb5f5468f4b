"""The style task, its mixer and its cores."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from linearizer_core.condition import Condition
from linearizer_core.config import Component, ModelConfig
from linearizer_core.cores import latent_shape
from linearizer_core.data import DataInfo, stack
from linearizer_core.errors import ConfigError
from linearizer_core.factory import build_model, create_core
from linearizer_core.model import LinearizerModel
from linearizer_core.testing import CoreSubject, run_checks
from linearizer_core.testing.perturb import perturb
from linearizer_style.baselines import ColourTransform
from linearizer_style.evaluation import NOTES
from linearizer_style.mixing import StyleMixer
from linearizer_style.numbered import StyleNumberCore
from linearizer_style.stage import style_operator, stylise
from linearizer_style.task import StyleTask
from linearizer_style.trial import trial_splits

NAMES = ("candy", "mosaic", "udnie")
COUPLING = Component(name="coupling", levels=[{"couplings": 2, "width": 8}], dense={"couplings": 0}, final_mixing=False)
CONVOLUTION = Component(name="convolution", channels=12)
modest = settings(deadline=None, max_examples=15)
weights = st.floats(-2, 2)


def built(core: Component = CONVOLUTION, backbone: Component = COUPLING, *, shared: bool = True, side: int = 8) -> tuple[StyleTask, LinearizerModel]:
    """A model in float64 whose weights have moved."""
    info = DataInfo(name="pairs", shape=(3, side, side), classes=len(NAMES), class_names=NAMES)
    task, model = build_model(ModelConfig(task=Component(name="style", shared=shared), backbone=backbone, core=core), info)
    assert isinstance(task, StyleTask)
    torch.manual_seed(0)
    perturb(model)
    return task, model.double().eval()


def pictures(*shape: int) -> Tensor:
    return torch.rand(*(shape or (2, 3, 8, 8)), generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def far_apart(first: Tensor, second: Tensor) -> bool:
    return float((first - second).detach().abs().mean()) > 1e-3


# --- mixing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("core", [CONVOLUTION, Component(name="convolution", channels=12, depthwise=True), Component(name="identity_plus_low_rank", rank=3)])
def test_halfway_between_the_first_and_the_third_style_is_not_the_second(core: Component) -> None:
    _, model = built(core)
    mixer, x = StyleMixer(model, NAMES), pictures()
    halfway = mixer.mix({"candy": 0.5, "udnie": 0.5})
    expected = (style_operator(model, 0).to_dense() + style_operator(model, 2).to_dense()) / 2
    assert torch.allclose(halfway.operator.to_dense(), expected, atol=1e-12)
    assert far_apart(halfway(x), mixer.mix({"mosaic": 1.0})(x))


def test_by_the_number_of_the_style_it_is_the_second() -> None:
    """The published interpolation; as matrices the very same core mixes to something else."""
    _, model = built(Component(name="style_number", channels=12))
    mixer, x, core = StyleMixer(model, NAMES), pictures(), model.core
    assert isinstance(core, StyleNumberCore)
    second = mixer.mix({"mosaic": 1.0})(x)
    assert torch.equal(model.linearizer(core.at((0 + 2) / 2))(x), model.linearizer(style_operator(model, 1))(x))
    assert far_apart(mixer.mix({"candy": 0.5, "udnie": 0.5})(x), second)


@modest
@given(a=weights, b=weights, strength=st.floats(-0.5, 1.5))
def test_a_mix_is_the_weighted_sum_of_matrices_at_any_strength(a: float, b: float, strength: float) -> None:
    _, model = MODEL
    found = StyleMixer(model, NAMES).mixed_operator({"candy": a, "udnie": b}, strength)
    one = torch.eye(found.shape[0], dtype=torch.float64)
    expected = (1 - strength) * one + strength * (a * style_operator(model, 0).to_dense() + b * style_operator(model, 2).to_dense())
    assert float((found.to_dense() - expected).detach().abs().max()) < 1e-12
    assert found.kind == "convolution"


MODEL = built()


def test_mixing_is_straight_in_the_induced_space() -> None:
    _, model = MODEL
    mixer, x = StyleMixer(model, NAMES), pictures()
    space = model.codomain()
    ends = [mixer.mix({name: 1.0})(x) for name in ("candy", "udnie")]
    assert torch.allclose(mixer.mix({"candy": 0.3, "udnie": 0.7})(x), space.lerp(ends[0], ends[1], 0.7), atol=1e-10)


def test_strength_0_gives_the_picture_back_and_styles_are_undone() -> None:
    _, model = MODEL
    mixer, x = StyleMixer(model, NAMES), pictures()
    assert torch.allclose(mixer.mix({"candy": 1.0}, 0.0)(x), x, atol=1e-10)
    f = mixer.mix({"candy": 0.4, "mosaic": 0.6}, 0.8)
    assert far_apart(f(x), x)
    assert torch.allclose(f.inverse()(f(x)), x, atol=1e-8)


def test_styles_compose_in_their_order() -> None:
    _, model = MODEL
    mixer, x = StyleMixer(model, NAMES), pictures()
    one_by_one = mixer.mix({"udnie": 1.0})(mixer.mix({"candy": 1.0})(x))
    assert torch.allclose(mixer.compose(["candy", "udnie"])(x), one_by_one, atol=1e-9)
    assert far_apart(mixer.compose(["udnie", "candy"])(x), one_by_one)


def test_what_a_mixer_refuses() -> None:
    mixer = StyleMixer(MODEL[1], NAMES)
    with pytest.raises(ConfigError, match="no style 'cndy'; did you mean 'candy'"):
        mixer.mix({"cndy": 1.0})
    with pytest.raises(ConfigError, match="name at least one"):
        mixer.mix({})
    with pytest.raises(ConfigError, match="name at least one"):
        mixer.compose([])
    with pytest.raises(ConfigError, match=r"train with task.shared = true"):
        StyleMixer(built(shared=False)[1], NAMES).compose(["candy", "udnie"])


# --- the task -----------------------------------------------------------------------------------------


def test_one_weight_each_is_one_style_each() -> None:
    _, model = built(shared=False)
    x = pictures(3, 3, 8, 8)
    together = stylise(model, x, torch.eye(3, dtype=torch.float64))
    for number in range(3):
        alone = model.linearizer(condition=Condition(label=torch.tensor([number])))(x[number : number + 1])
        assert torch.allclose(together[number], alone[0], atol=1e-12)


@pytest.mark.parametrize("size", [(16, 8), (6, 10)])
def test_another_size_has_the_same_weights(size: tuple[int, int]) -> None:
    task, model = built(Component(name="convolution", channels=12, kernel=1))
    before = torch.get_rng_state()
    other = task.resized(model, size)
    assert torch.equal(torch.get_rng_state(), before)
    assert (other.gx.in_shape, latent_shape(other.gx)) == ((3, *size), (12, size[0] // 2, size[1] // 2))
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in other.state_dict().items())
    assert task.resized(model, (8, 8)) is model


def test_far_from_the_edges_a_larger_picture_is_painted_alike() -> None:
    backbone = Component(name="coupling", levels=[{"couplings": 1, "width": 4, "depth": 0}], dense={"couplings": 0}, final_mixing=False)
    task, model = built(CONVOLUTION, backbone, side=32)
    large = pictures(1, 3, 64, 48)
    whole = StyleMixer(task.resized(model, (64, 48)), NAMES).mix({"candy": 1.0})(large)
    part = StyleMixer(model, NAMES).mix({"candy": 1.0})(large[:, :, 16:48, 8:40])
    assert torch.allclose(part[:, :, 14:18, 14:18], whole[:, :, 30:34, 22:26], atol=1e-10)


def test_what_belongs_to_places_serves_one_size() -> None:
    task, model = built(Component(name="identity_plus_low_rank", rank=2))
    with pytest.raises(ConfigError, match="serves pictures of 8 x 8 pixels alone"):
        task.resized(model, (16, 16))
    mixing = Component(name="coupling", levels=[{"couplings": 2, "width": 4, "token_mixing": True}], dense={"couplings": 0}, final_mixing=False)
    task, model = built(CONVOLUTION, mixing)
    with pytest.raises(ConfigError, match=r"train without dense couplings, final mixing and token mixing \(size mismatch for gx.*mixing"):
        task.resized(model, (16, 16))


@pytest.mark.parametrize(
    ("core", "backbone", "message"),
    [
        (Component(name="projector"), COUPLING, "MaskProjector has none; set core.name = 'convolution'"),
        (Component(name="shared_subspace", rank=2), COUPLING, "SharedSubspaceCore has none"),
        (CONVOLUTION, Component(name="coupling"), r"places are mixed at its end"),
        (CONVOLUTION, Component(name="glow", steps=1, width=4), r"places are mixed at its end"),
        (Component(name="convolution", channels=3), COUPLING, r"core.channels is 3, the latent of the backbone has 12: \(12, 4, 4\); set core.channels = 12"),
        (Component(name="convolution", channels=7), COUPLING, "core.channels = 7 does not divide 192"),
        (Component(name="convolution", channels=12, rank=13), COUPLING, "core.rank = 13 with 12 channels"),
        (Component(name="style_number", channels=7), COUPLING, "core.channels = 7 does not divide 192"),
    ],
)
def test_what_cannot_be_built_is_named_with_its_fix(core: Component, backbone: Component, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        built(core, backbone)


def test_data_without_styles_are_refused() -> None:
    for info in (DataInfo(name="pictures", shape=(3, 8, 8)), DataInfo(name="points", shape=(192,), classes=3)):
        with pytest.raises(ConfigError, match=r"set data.name = 'style_pairs'"):
            build_model(ModelConfig(task=Component(name="style"), backbone=COUPLING, core=CONVOLUTION), info)


def test_the_low_rank_kernel_differs_from_the_identity_by_its_rank() -> None:
    core = create_core("convolution", (48, 48), channels=12, rank=2, kernel=1)
    matrix = core.operator().transfer()[0, 0, 0].real - torch.eye(12)
    assert int(torch.linalg.matrix_rank(matrix, rtol=1e-3)) == 2


def test_the_published_core_passes_the_kit() -> None:
    results = run_checks(CoreSubject("style_number", shapes=[(12, 12), (4, 7)]))
    assert [(result.check, result.message) for result in results if result.status in ("failed", "error")] == []


# --- what is measured -----------------------------------------------------------------------------------


def test_colours_alone_are_recovered_exactly() -> None:
    """Exchanged and negative colours are affine maps of colours."""
    splits = trial_splits()
    colours = ColourTransform.fitted(stack(splits.train), 2)
    test = stack(splits.test)
    assert float((colours(test["x"], test["label"]) - test["y"]).abs().max()) < 1e-2


def test_a_model_that_learns_is_measured_better_than_the_content(tmp_path: Path) -> None:
    splits = trial_splits()
    task, model = build_model(ModelConfig(task=Component(name="style"), backbone=COUPLING, core=CONVOLUTION), splits.info)
    assert isinstance(task, StyleTask)
    stage, batch = task.stages()[0], stack(splits.train)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        stage.loss(model, batch, torch.Generator())["loss"].backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    shown = task.preview(model, splits, torch.Generator())
    assert shown is not None
    assert shown.shape[1:] == splits.info.shape
    assert len(shown) % 3 == 0
    report = task.evaluate(model.eval(), splits, tmp_path)
    assert report.metrics["psnr_db"] > report.metrics["content_psnr_db"] + 3
    assert report.metrics["ssim"] > report.metrics["content_ssim"]
    assert report.metrics["destyle_max_abs_err"] < 1e-6
    assert 15 < report.metrics["destyled_file_psnr_db"] < 80  # clipped and rounded, but still the picture
    assert report.metrics["round_trip_max_abs_err"] < 1e-4
    assert set(report.metrics) <= set(report.notes)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(report.figures) == ["destyle.png", "mixes.png", "strengths.png", "styles.png"]
    assert f"{report.metrics['psnr_db']:.4g} dB" in task.card(splits.info, report.metrics).section
    assert "linearizer style apply" in task.card(splits.info, {}).section
    assert NOTES.keys() <= report.notes.keys()
