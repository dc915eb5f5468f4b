"""What the card of a model of dynamics says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_USE = """\
## Any time from one state

```python
import torch
from linearizer_core.pretrained import load

pretrained = load("local-dir:PATH")
x0 = torch.zeros(1, *pretrained.model.gx.in_shape)            # one state, a batch of 1; without padding
later = pretrained.task.predict(pretrained.model, x0, torch.tensor([-0.5, 0.1, 2.0]))
```

`linearizer dynamics predict`, `spectrum` and `video` do it on the command line. Times are real numbers, in the unit of the data; negative ones run backward."""


def section(metrics: Mapping[str, Any]) -> str:
    """How to use the model, its spectrum, and how far it may be trusted; only what was measured."""
    lines = [_USE]
    if "eigenvalues" in metrics:
        lines.append(f"\nThe generator has the eigenvalues {metrics['eigenvalues']}.")
    if "true_eigenvalues" in metrics:
        lines.append(f"\nThe equations have {metrics['true_eigenvalues']}.")
    if "relative_error_mean" in metrics:
        lines.append(
            f"\nOn test trajectories up to t = {metrics['last_time']:.3g} the relative error is {metrics['relative_error_mean']:.2g} on average and "
            f"{metrics['relative_error_last']:.2g} at the end."
        )
    return "".join(lines)
