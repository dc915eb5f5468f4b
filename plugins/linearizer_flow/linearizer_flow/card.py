"""What the card of a saved flow says."""

from __future__ import annotations

from linearizer_core.data import DataInfo
from linearizer_core.figures.images import is_image
from linearizer_core.task import TaskCard

_SECTION = """\
## One step, many steps, and back

The many steps of the flow are one linear operator, so a sample costs one pass of one network, and real examples are encoded to noise by the pseudo-inverse:

```python
from linearizer_core.pretrained import load

pretrained = load("local-dir:PATH")
quick = pretrained.sample(16, seed=0)  # one step
slow = pretrained.sample(16, seed=0, steps=100)  # the same noise, 100 steps
safer = pretrained.sample(16, seed=0, temperature=0.8)
```

`linearizer collapse` makes another operator of the same steps; `linearizer sample --help` lists what can be set."""

_MEASURED = (
    "frechet_one_step",
    "frechet_loop",
    "frechet_test_floor",
    "frechet_noise",
    "pretrained_frechet_one_step",
    "pretrained_frechet_loop",
    "pretrained_frechet_test_floor",
    "pretrained_frechet_noise",
    "label_agreement",
    "inversion_psnr_db",
    "inversion_psnr_db_invertible",
    "one_step_seconds",
    "loop_seconds",
)
_EXACTNESS = (
    "one_step_vs_loop_rel_err_euler",
    "one_step_vs_loop_rel_err_rk4",
    "superposition_rel_err",
    "idempotency_max_abs_err",
    "invertibility_max_abs_err",
    "invertibility_max_abs_err_float64",
)


def card(info: DataInfo) -> TaskCard:
    """The same for all flows; images have a name on the Hub."""
    limitations = (
        "Where B keeps few coordinates, samples have no more degrees of freedom than those: detail and variety beyond them are lost.",
        "The Frechet distances are on features named above, not on those of Inception: they compare these figures with each other, not with published FIDs.",
    )
    return TaskCard(
        section=_SECTION,
        measured=_MEASURED,
        exactness=_EXACTNESS,
        limitations=limitations if is_image(info.shape) else limitations[:1],
        pipeline_tag="unconditional-image-generation" if is_image(info.shape) else None,
    )
