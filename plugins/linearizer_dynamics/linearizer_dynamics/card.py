"""What the card of a model of dynamics says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from linearizer_core.markdown import figure
from linearizer_core.task import TaskCard

_USE = """\
## Any time from one state

```python
import torch
from linearizer_core.pretrained import load

pretrained = load("local-dir:PATH")
x0 = torch.zeros(1, *pretrained.model.gx.in_shape)  # one state, a batch of 1; without padding
later = pretrained.task.predict(pretrained.model, x0, torch.tensor([-0.5, 0.1, 2.0]))
```

`linearizer dynamics predict`, `spectrum` and `video` do it on the command line. Times are real numbers, in the unit of the data; negative ones run backward."""


_MEASURED = (
    "relative_error_mean",
    "relative_error_last",
    "last_time",
    "prediction_mse",
    "psnr_db",
    "psnr_db_still",
    "latent_relative_mse",
    "eigenvalues",
    "true_eigenvalues",
)
_EXACTNESS = (
    "semigroup_max_abs_err",
    "semigroup_max_abs_err_float64",
    "backward_max_abs_err",
    "backward_max_abs_err_float64",
    "invertibility_max_abs_err",
    "invertibility_max_abs_err_float64",
)


def card(metrics: Mapping[str, Any]) -> TaskCard:
    """How to use the model, its spectrum, and how far it may be trusted; only what was measured."""
    horizon = figure(metrics["last_time"]) if "last_time" in metrics else "the last time of the test trajectories"
    return TaskCard(
        section=_USE,
        measured=_MEASURED,
        exactness=_EXACTNESS,
        limitations=(
            f"Any time can be asked for, but the errors above are up to t = {horizon}; beyond it they grow.",
            "Several isolated equilibria, or a limit cycle around an equilibrium, are out of reach: the equilibria are those of a linear flow.",
        ),
    )
