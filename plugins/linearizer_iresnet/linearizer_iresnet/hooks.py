"""What this plugin provides. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

from linearizer_core.hookspecs import hookimpl
from linearizer_core.specs import BackboneSpec

_DETAILS = """\
i-ResNet: residual blocks `x + h(x)` whose residuals contract, `|h(x) - h(y)| <= c |x - y|` with c below 1, by layers of bounded operator norm. The inverse
is a fixed point, iterated until Banach's bound on its error is below a tolerance; gradients through it are implicit, so that memory does not grow with the
iterations. Use it where the network must stay tame far from the data, and where free-form residuals matter more than speed: one inverse costs many
evaluations of each block.

With n blocks of contraction c the gain is at most `(1 + c)^n` forward and `(1 - c)^-n` backward, everywhere; `gain_budget` sets c from the bound that you
want. The bound is as good as the estimated norms of the layers (a lower estimate, within 1% in our tests, and a margin of 1%); it is no proof. An inverse
that does not reach its tolerance raises, and never returns silently. The round trip is accurate to the tolerance, not to the bit. The exact
log-determinant is offered up to 64 dimensions; larger networks have none, and no estimate takes its place. Blocks run in full precision under autocast."""


@hookimpl
def linearizer_backbones() -> Sequence[BackboneSpec]:
    """The backbone ``iresnet``."""
    return [
        BackboneSpec(
            "iresnet",
            target="linearizer_iresnet.backbone:iresnet_backbone",
            config="linearizer_iresnet.config:IResNetConfig",
            summary="Contractive residual blocks with an iterative inverse, Lipschitz in both directions everywhere",
            reference="arXiv 1811.00995",
            details=_DETAILS,
        )
    ]
