"""What this plugin hands over. Imports no torch."""

from __future__ import annotations

from linearizer_core.hookspecs import hookimpl
from linearizer_core.specs import CommandSpec, DatasetSpec


@hookimpl
def linearizer_datasets() -> list[DatasetSpec]:
    return [
        DatasetSpec(
            name="digits",
            target="linearizer_datasets.digits:Digits",
            config="linearizer_datasets.config:DigitsConfig",
            summary="1,797 handwritten digits of 8x8 pixels that ship inside scikit-learn; no download",
            reference="Alpaydin and Kaynak, UCI Optical Recognition of Handwritten Digits, 1998",
        ),
        DatasetSpec(
            name="mnist",
            target="linearizer_datasets.mnist:Mnist",
            config="linearizer_datasets.config:MnistConfig",
            summary="70,000 handwritten digits of 28x28 pixels, from a folder with the four idx files",
            reference="LeCun, Cortes and Burges, The MNIST database of handwritten digits",
        ),
        DatasetSpec(
            name="image_folder",
            target="linearizer_datasets.image_folder:ImageFolder",
            config="linearizer_datasets.config:ImageFolderConfig",
            summary="a folder of pictures, with one subfolder per class or none",
        ),
        DatasetSpec(
            name="npz",
            target="linearizer_datasets.npz:Npz",
            config="linearizer_datasets.config:NpzConfig",
            summary="NumPy archives train.npz and test.npz with images and, if there are, labels",
        ),
        DatasetSpec(
            name="prepared",
            target="linearizer_datasets.prepared:Prepared",
            config="linearizer_datasets.config:PreparedConfig",
            summary="pictures that `linearizer prepare` cropped and scaled, CelebA's faces among others; read from disk as they are needed",
        ),
    ]


@hookimpl
def linearizer_commands() -> list[CommandSpec]:
    return [CommandSpec("prepare", target="linearizer_datasets.cli:app", summary="crop and scale many pictures once, to train on")]
