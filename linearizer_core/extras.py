"""Which extra of the distribution brings a package that is missing. Torch-free."""

from __future__ import annotations

_EXTRAS = {
    "accelerate": "train",
    "matplotlib": "train",
    "sklearn": "train",
    "torchvision": "train",
    "tqdm": "train",
    "timm": "timm",
    "huggingface_hub": "hub",
    "gradio": "demo",
}


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """What to tell the user about a missing optional package; None where the package is none of ours.

    Example:
        >>> missing_extra(ModuleNotFoundError("No module named 'timm'", name="timm"))
        "the package 'timm' is not installed; pip install 'linearizer[timm]'"
    """
    package = (error.name or "").partition(".")[0]
    return f"the package {package!r} is not installed; pip install 'linearizer[{_EXTRAS[package]}]'" if package in _EXTRAS else None
