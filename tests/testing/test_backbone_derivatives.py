"""How far each check of derivatives goes depends on what a bijection declares."""

from __future__ import annotations

import torch
from torch import Tensor

from linearizer_core.condition import Condition
from linearizer_core.testing import run_checks

from .wrong_backbones import Affine, RebuildsNothing, subject


class ForwardOnly(Affine):
    """Right: its inverse has no gradient, and says so."""

    inverse_grad = "none"

    @torch.no_grad()
    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        return super().inverse_and_logdet(z, condition)


class ForwardOnlyAndWrong(ForwardOnly, RebuildsNothing):
    """Forward is held to the law all the same."""


def test_where_the_inverse_has_no_gradient_forward_alone_is_run_reversibly() -> None:
    right, wrong = ({result.check: result.status for result in run_checks(subject(kind), select="gradients")} for kind in (ForwardOnly, ForwardOnlyAndWrong))
    assert right == {"forward-gradients": "passed", "inverse-gradients": "skipped", "reversible-gradients": "passed"}
    assert wrong == right | {"reversible-gradients": "failed"}
