"""What this plugin hands over: the trained models of the catalog. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from linearizer_core.hookspecs import hookimpl
from linearizer_core.specs import PretrainedSpec

_MODELS = Path(__file__).parent / "models"
_SUMMARIES = {
    "flow.digits": "one-step digits at 8x8, conditioned on the label: the model of the quickstart",
    "flow.mnist": "one-step MNIST at 28x28, conditioned on the label",
    "flow.mnist-unlabelled": "one-step MNIST at 28x28, without labels",
    "flow.cifar10": "one-step CIFAR-10 at 32x32, conditioned on the class",
    "flow.cifar10-unconditional": "one-step CIFAR-10 at 32x32, no class asked for",
    "flow.emoji64": "one-step colour emoji at 64x64, without labels",
    "ign.digits": "a projector onto digits at 8x8, idempotent far off the data too",
    "ign.digits-lattice": "a projector onto digits at 8x8, idempotent bit for bit",
    "ign.mnist": "a projector onto MNIST at 32x32 that removes noise, blur and inversion, and generates",
    "ign.emoji64": "a projector onto colour emoji at 64x64 that removes noise and blur, and generates",
    "style.amber": "four styles of one photo, as matrices that mix, for pictures of any size",
    "style.amber-full": "four styles of one photo at full resolution, as matrices that mix",
    "dynamics.pendulum": "a pendulum whose frequency depends on its swing, at any time, forward and backward",
    "dynamics.slow-manifold": "a system with a discrete spectrum, whose generator is known",
    "dynamics.fluid-on": "the wake of a cylinder in three modes, on its slow manifold",
    "dynamics.fluid-off": "the wake of a cylinder in three modes, off its slow manifold",
    "dynamics.moving-digit": "films of rotating digits at 16x16, each from its first frame",
    "dynamics.moving-mnist": "films of rotating digits at 28x28, each from its first frame",
}


@hookimpl
def linearizer_pretrained() -> list[PretrainedSpec]:
    # A package may be cut down to some of the models, as a Space is; and some are not trained yet, for want of a GPU.
    return [
        PretrainedSpec(name, location=f"linearizer_registry:models/{name}", summary=summary)
        for name, summary in _SUMMARIES.items()
        if (_MODELS / name).is_dir()
    ]
