from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from torch.nn import functional

from linearizer_core.data import DataInfo, Splits, TensorTable, stack
from linearizer_core.errors import ConfigError, DataError
from linearizer_core.features import classifier as features_module
from linearizer_core.features.classifier import ClassifierFeatures
from linearizer_core.features.pretrained import PretrainedFeatures
from linearizer_datasets.config import DigitsConfig
from linearizer_datasets.digits import Digits


@pytest.fixture(scope="module")
def splits() -> Splits:
    return Digits(DigitsConfig()).load()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def extractor(splits: Splits, cache: Path) -> ClassifierFeatures:
    with torch.no_grad():  # as in an evaluation
        return ClassifierFeatures(splits, cache=cache)


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*_: object) -> None:
        pytest.fail("it was trained, though the cache holds it")

    monkeypatch.setattr(features_module, "_train", train)


def images(splits: Splits) -> torch.Tensor:
    return stack(splits.test)["x"]


def test_accuracy_on_digits(extractor: ClassifierFeatures, splits: Splits) -> None:
    test = stack(splits.test)
    assert extractor.accuracy > 0.95
    assert extractor.accuracy == float((extractor.predict(test["x"]) == test["label"]).float().mean())
    assert extractor.name == "digits-classifier-32"


def test_probabilities_are_those_of_the_prediction(extractor: ClassifierFeatures, splits: Splits) -> None:
    found = extractor.probabilities(images(splits))
    assert found.shape == (360, 10)
    torch.testing.assert_close(found.sum(1), torch.ones(360))
    assert torch.equal(found.argmax(1), extractor.predict(images(splits)))
    assert 0.9 < float(found.amax(1).mean()) < 1


def test_features_hold_what_tells_the_classes_apart(extractor: ClassifierFeatures, splits: Splits) -> None:
    test = stack(splits.test)
    found = extractor(test["x"])
    assert found.shape == (360, 32)
    assert not found.requires_grad
    assert LogisticRegression(max_iter=1000).fit(found[:180], test["label"][:180]).score(found[180:], test["label"][180:]) > 0.9


def test_chunks_do_not_change_the_features(extractor: ClassifierFeatures, splits: Splits) -> None:
    several = images(splits).repeat(2, 1, 1, 1)  # more than one chunk
    assert torch.allclose(extractor(several)[360:], extractor(images(splits)), atol=1e-5)


def test_images_are_rounded_as_a_file_would(extractor: ClassifierFeatures, splits: Splits) -> None:
    x = images(splits)[:5]
    eight_bits = (x * 255).round() / 255
    assert torch.equal(extractor(x), extractor(eight_bits))
    assert torch.equal(extractor(2 * x - 0.5), extractor((2 * x - 0.5).clamp(0, 1)))


@pytest.mark.usefixtures("no_training")
def test_the_cache_is_used(extractor: ClassifierFeatures, splits: Splits, cache: Path) -> None:
    again = ClassifierFeatures(splits, cache=cache)
    assert torch.equal(again(images(splits)), extractor(images(splits)))


@pytest.mark.usefixtures("no_training")
def test_the_environment_names_the_cache(extractor: ClassifierFeatures, splits: Splits, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINEARIZER_CACHE", str(cache))
    assert ClassifierFeatures(splits).accuracy == extractor.accuracy


@pytest.mark.parametrize("damage", ["truncated", "other tensors"])
def test_a_damaged_cache_is_trained_anew_to_the_same_features(extractor: ClassifierFeatures, splits: Splits, tmp_path: Path, cache: Path, damage: str) -> None:
    (good,) = (cache / "features").iterdir()
    broken = tmp_path / "features" / good.name
    broken.parent.mkdir()
    if damage == "truncated":
        broken.write_bytes(good.read_bytes()[:-100])
    else:
        features_module.save_file({"weight": torch.zeros(3)}, broken)
    state = torch.get_rng_state()
    again = ClassifierFeatures(splits, cache=tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(again(images(splits)), extractor(images(splits)))
    assert [path.name for path in broken.parent.iterdir()] == [good.name]
    assert broken.read_bytes() == good.read_bytes()


def test_other_data_have_another_cache(splits: Splits, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[object] = []
    monkeypatch.setattr(features_module, "_train", lambda *arguments: trained.append(arguments))
    monkeypatch.setattr(features_module, "save_file", lambda state, path: path.write_bytes(b""))
    other = Digits(DigitsConfig(seed=1)).load()
    ClassifierFeatures(other, cache=cache)
    assert len(trained) == 1


def test_larger_images_have_features_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features_module, "_STEPS", 1)
    table = TensorTable(x=torch.rand(6, 3, 20, 24), label=torch.arange(6) % 2)
    colour = Splits(info=DataInfo(name="colour", shape=(3, 20, 24), classes=2), train=table, validation=table, test=table)
    extractor = ClassifierFeatures(colour, cache=tmp_path)
    assert extractor.name == "colour-classifier-84"
    assert extractor(stack(table)["x"]).shape == (6, 84)


@pytest.mark.parametrize(("shape", "classes"), [((1, 8, 8), 0), ((64,), 10)])
def test_data_without_labels_or_pixels_are_refused(splits: Splits, shape: tuple[int, ...], classes: int) -> None:
    info = DataInfo(name="strange", shape=shape, classes=classes)
    with pytest.raises(DataError, match=rf"'strange' has shape .* and {classes} classes; give metrics.frechet_distance features of your own"):
        ClassifierFeatures(Splits(info=info, train=splits.train, validation=splits.validation, test=splits.test))


def test_a_cache_that_cannot_be_made_is_named_before_training(splits: Splits, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cache folder .*file/features cannot be made.*set LINEARIZER_CACHE"):
        ClassifierFeatures(splits, cache=tmp_path / "file")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "resnet10t.safetensors"
    torch.manual_seed(0)
    save_file({name: value.contiguous() for name, value in timm.create_model("resnet10t", pretrained=False).state_dict().items()}, path)
    return path


def test_pretrained_features_are_the_pooled_last_ones(weights: Path) -> None:
    extract = PretrainedFeatures("resnet10t", weights, size=32)
    grey = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = extract(grey)
    assert extract.name == "resnet10t-32"
    assert found.shape == (5, 512)
    assert torch.equal(found, extract(grey.expand(-1, 3, -1, -1)))  # grey is repeated
    model = timm.create_model("resnet10t", pretrained=False).eval()
    model.load_state_dict(load_file(weights))
    pixels = functional.interpolate((grey * 255).round().expand(-1, 3, -1, -1) / 255, size=(32, 32), mode="bicubic", antialias=True)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        pooled = model.forward_features((pixels - mean) / std).mean((2, 3))
    torch.testing.assert_close(found, pooled)


def test_pretrained_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"features.weights = .*absent"):
        PretrainedFeatures("resnet10t", tmp_path / "absent.safetensors")
    with pytest.raises(ConfigError, match="no model 'resnet10x'"):
        PretrainedFeatures("resnet10x", tmp_path / "absent.safetensors")
