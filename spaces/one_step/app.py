"""A demo of trained linearizers. The framework itself lies in the folder vendor, where `linearizer space build` put it."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "vendor"))
os.chdir(HERE)
# Visitors may name any model of the Hub: they must not read what only the token of this Space may.
os.environ.setdefault("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")

from linearizer_demo.app import build, launch  # noqa: E402
from linearizer_demo.engine import DemoEngine  # noqa: E402

MODELS = {
    "dynamics.fluid-off": "dynamics.fluid-off",
    "dynamics.fluid-on": "dynamics.fluid-on",
    "dynamics.moving-digit": "dynamics.moving-digit",
    "dynamics.pendulum": "dynamics.pendulum",
    "dynamics.slow-manifold": "dynamics.slow-manifold",
    "flow.cifar10": "flow.cifar10",
    "flow.cifar10-unconditional": "flow.cifar10-unconditional",
    "flow.digits": "flow.digits",
    "flow.emoji64": "flow.emoji64",
    "flow.mnist": "flow.mnist",
    "flow.mnist-unlabelled": "flow.mnist-unlabelled",
    "ign.digits": "ign.digits",
    "ign.digits-lattice": "ign.digits-lattice",
    "ign.mnist": "ign.mnist",
    "style.amber": "style.amber",
}

if __name__ == "__main__":
    launch(build(DemoEngine(MODELS)), host=None, port=None, share=False, open_browser=False, block=True)
