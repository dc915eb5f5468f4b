"""What the card of a saved model says of the idempotent network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from linearizer_core.data import DataInfo
from linearizer_core.figures.images import is_image
from linearizer_core.task import TaskCard

_SECTION = """\
## Project

```python
from linearizer_core.pretrained import load

f = load("local-dir:PATH").linearizer()
fixed = f(images)  # (N, C, H, W) in [0, 1]; f(fixed) is fixed again
```

`linearizer ign project` does it with picture files."""

_MEASURED = (
    "psnr_db",
    "rank",
    "dimensions",
    "frechet_prior",
    "frechet_prior_at_temperature_0.9",
    "frechet_reconstruction",
    "frechet_test_floor",
    "accuracy_clean",
    "accuracy_projected_clean",
)


def card(info: DataInfo, metrics: Mapping[str, Any]) -> TaskCard:
    """How to project, what matters, and how exactly f repeats itself on every kind of input that was measured."""
    repeated = tuple(name for name in metrics if name.startswith("idempotency_"))
    return TaskCard(
        section=_SECTION,
        measured=_MEASURED,
        exactness=(*repeated, "superposition_rel_err", "invertibility_max_abs_err"),
        limitations=("A projection keeps what its rank has room for: it is a lossy copy of the data, and of damage that looks like data.",),
        pipeline_tag="image-to-image" if is_image(info.shape) else None,
    )
