"""For each check of a backbone one bijection that is wrong in just that respect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from linearizer_core.bijections import Bijection, GradientSums, Replay, TractableBijection, full_precision
from linearizer_core.condition import Condition, require_label
from linearizer_core.errors import BijectionError
from linearizer_core.testing import BackboneSubject


class Affine(TractableBijection):
    """Right: ``z = x exp(s_y) + t`` in each coordinate."""

    def __init__(self, in_shape: tuple[int, ...], conditions: dict[str, int] | None = None) -> None:
        super().__init__(in_shape, conditions=conditions)
        self.log_scale = nn.Parameter(torch.zeros(self.conditions.get("label", 1), *in_shape))
        self.shift = nn.Parameter(torch.zeros(in_shape))

    def _log_scale(self, x: Tensor, condition: Condition | None) -> Tensor:
        if not self.conditions:
            return self.log_scale.expand(len(x), *self.in_shape).to(x.dtype)
        return self.log_scale[require_label(condition, "label", self.conditions["label"], len(x))].to(x.dtype)

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self.check_input(x)
        with full_precision(x):
            log_scale = self._log_scale(x, condition)
            return x * log_scale.exp() + self.shift.to(x.dtype), log_scale.flatten(1).sum(1)

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self.check_latent(z)
        with full_precision(z):
            log_scale = self._log_scale(z, condition)
            return (z - self.shift.to(z.dtype)) * (-log_scale).exp(), -log_scale.flatten(1).sum(1)


class OtherShape(Affine):
    def __init__(self, in_shape: tuple[int, ...], conditions: dict[str, int] | None = None) -> None:
        super().__init__((in_shape[0] + 1, *in_shape[1:]), conditions)


class FalseDeclaration(Affine):
    has_logdet = False


class LostDimension(Affine):
    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        z, logdet = super().forward_and_logdet(x, condition)
        return z[:, None] if len(x) == 2 else z, logdet


class TakesAnything(Affine):
    def check_input(self, x: Tensor) -> None:
        """What fails later fails with an error of torch."""


class WrongLeftInverse(Bijection):
    surjective = False

    def __init__(self, in_shape: tuple[int, ...], conditions: dict[str, int] | None = None) -> None:
        super().__init__(in_shape, (2 * in_shape[0], *in_shape[1:]))

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_input(x)
        return torch.cat([x, torch.zeros_like(x)], 1)

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_latent(z)
        return 1.001 * z[:, : self.in_shape[0]]


class WrongRightInverse(TractableBijection):
    """Reaches positive latents only."""

    def __init__(self, in_shape: tuple[int, ...], conditions: dict[str, int] | None = None) -> None:
        super().__init__(in_shape)

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self.check_input(x)
        return x.exp(), x.flatten(1).sum(1)

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self.check_latent(z)
        x = z.clamp(min=1e-3).log()
        return x, -x.flatten(1).sum(1)


class FalseBits(Affine):
    bit_exact = True


class WrongLogdet(Affine):
    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        z, logdet = super().forward_and_logdet(x, condition)
        return z, 2 * logdet

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        x, logdet = super().inverse_and_logdet(z, condition)
        return x, 2 * logdet


class DetachedForward(Affine):
    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self.check_input(x)
        log_scale = self._log_scale(x, condition)
        return x * (log_scale.detach() + 0 * log_scale).exp() + self.shift.to(x.dtype), log_scale.flatten(1).sum(1)


class DetachedInverse(Affine):
    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self.check_latent(z)
        log_scale = self._log_scale(z, condition)
        return (z - self.shift.detach().to(z.dtype)) * (-log_scale).exp(), -log_scale.flatten(1).sum(1)


class ForgottenByReplay(Affine):
    """Backpropagation without stored activations gives no gradient to the shift."""

    def pull_back_inverse(
        self, x: Tensor, gradient: Tensor, gradient_of_logdet: Tensor | None, condition: Condition | None, sums: GradientSums
    ) -> tuple[Tensor, Tensor]:
        replay = self.replay_inverse(x, condition, with_logdet=gradient_of_logdet is not None)
        return replay.start, sums.pull(replay, gradient, gradient_of_logdet, [self.log_scale])


class UnusedParameter(Affine):
    def __init__(self, in_shape: tuple[int, ...], conditions: dict[str, int] | None = None) -> None:
        super().__init__(in_shape, conditions)
        self.forgotten = nn.Parameter(torch.zeros(3))


class UnsavedState(Affine):
    def __init__(self, in_shape: tuple[int, ...], conditions: dict[str, int] | None = None) -> None:
        super().__init__(in_shape, conditions)
        self.order = torch.randperm(in_shape[0])

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self.check_input(x)
        return super().forward_and_logdet(x[:, self.order], condition)

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        x, logdet = super().inverse_and_logdet(z, condition)
        return x[:, self.order.argsort()], logdet


class ChangesItsInput(Affine):
    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        x, logdet = super().inverse_and_logdet(z.clone(), condition)
        if not z.requires_grad and z.is_leaf:
            z.copy_(super().forward_and_logdet(x, condition)[0] + 1e-14)
        return x, logdet


class Noisy(Affine):
    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        z, logdet = super().forward_and_logdet(x, condition)
        return z + 1e-13 * torch.rand_like(z), logdet


class TrainingDiffers(Affine):
    def _log_scale(self, x: Tensor, condition: Condition | None) -> Tensor:
        return super()._log_scale(x, condition) + (0.1 if self.training else 0.0)


class SeesTheBatch(Bijection):
    def __init__(self, in_shape: tuple[int, ...], conditions: dict[str, int] | None = None) -> None:
        super().__init__(in_shape)

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_input(x)
        return x * (1 + 1 / len(x))

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_latent(z)
        return z / (1 + 1 / len(z))


class IgnoresItsCondition(Affine):
    def _log_scale(self, x: Tensor, condition: Condition | None) -> Tensor:
        return super()._log_scale(x, condition) if not self.conditions else self.log_scale.mean(0).expand(len(x), *self.in_shape).to(x.dtype)


class LoweredByAutocast(Bijection):
    def __init__(self, in_shape: tuple[int, ...], conditions: dict[str, int] | None = None) -> None:
        super().__init__(in_shape)
        self.weight = nn.Parameter(torch.eye(in_shape[0]))

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_input(x)
        return torch.einsum("ij,bj...->bi...", self.weight.to(x.dtype), x)

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_latent(z)
        return torch.einsum("ij,bj...->bi...", torch.linalg.inv(self.weight.to(z.dtype)), z)


# --- other ways to be wrong -----------------------------------------------------------------------------


class WrongImplicitGradient(Affine):
    """Says that its inverse iterates, and forgets half of the gradient."""

    inverse_kind = "iterative"
    inverse_grad = "implicit"

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        x, logdet = super().inverse_and_logdet(z, condition)
        return x / 2 + x.detach() / 2, logdet


class IteratesExactly(Affine):
    """Leaves ``inverse_grad`` as it is, "exact"."""

    inverse_kind = "iterative"


class RebuildsNothing(Affine):
    """Takes the output of ``forward`` for its input, as if the map were the identity."""

    def replay(self, z: Tensor, condition: Condition | None = None, *, with_logdet: bool = False) -> Replay:
        return replace(super().replay(z, condition, with_logdet=with_logdet), start=z)


class HalvesOnReplay(Affine):
    def replay(self, z: Tensor, condition: Condition | None = None, *, with_logdet: bool = False) -> Replay:
        replay = super().replay(z, condition, with_logdet=with_logdet)
        return replace(replay, join=lambda gradient: gradient / 2)


class ReplayWithoutLogdet(Affine):
    def replay_inverse(self, x: Tensor, condition: Condition | None = None, *, with_logdet: bool = False) -> Replay:
        return super().replay_inverse(x, condition)


class MissingLogdet(Bijection):
    has_logdet = True

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_input(x)
        return -x

    inverse = forward


class DeclaresNoGradient(Affine):
    inverse_grad = "none"


class CoarseGrid(Bijection):
    bit_exact = True

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_input(x)
        return x + (x.round() - x).detach()

    inverse = forward


class NoStraightThrough(Bijection):
    bit_exact = True

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_input(x)
        return (x * 2**14).round() / 2**14

    inverse = forward


class InitialisedTwice(Affine):
    """Set from the first batch in training mode, and does not save that it was."""

    def __init__(self, in_shape: tuple[int, ...], conditions: dict[str, int] | None = None) -> None:
        super().__init__(in_shape, conditions)
        self.initialized = False

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        if self.training and not self.initialized:
            self.initialized = True
            with torch.no_grad():
                self.shift.copy_(-x.mean(0))
        return super().forward_and_logdet(x, condition)


class OptionalCondition(Affine):
    def _log_scale(self, x: Tensor, condition: Condition | None) -> Tensor:
        return super()._log_scale(x, condition or Condition(label=torch.zeros(1, dtype=torch.int64)))


class Explodes(Affine):
    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        z, logdet = super().forward_and_logdet(x, condition)
        return z / (1 + torch.zeros_like(z)).log(), logdet


def refuses(shape: tuple[int, ...], conditions: dict[str, int] | None) -> Bijection:
    raise BijectionError("not today")


def subject(make: Callable[..., Any]) -> BackboneSubject:
    return BackboneSubject(make, shapes=[(4,), (2, 2, 3)])


RIGHT = subject(Affine)

WRONG = {
    "construction": subject(OtherShape),
    "capabilities": subject(FalseDeclaration),
    "shapes": subject(LostDimension),
    "refuses-wrong-shapes": subject(TakesAnything),
    "left-inverse": subject(WrongLeftInverse),
    "right-inverse": subject(WrongRightInverse),
    "bit-exact": subject(FalseBits),
    "logdet": subject(WrongLogdet),
    "forward-gradients": subject(DetachedForward),
    "inverse-gradients": subject(DetachedInverse),
    "reversible-gradients": subject(ForgottenByReplay),
    "parameters-used": subject(UnusedParameter),
    "state-dict": subject(UnsavedState),
    "input-unmodified": subject(ChangesItsInput),
    "determinism": subject(Noisy),
    "modes-agree": subject(TrainingDiffers),
    "examples-independent": subject(SeesTheBatch),
    "conditions-used": subject(IgnoresItsCondition),
    "autocast": subject(LoweredByAutocast),
}

ALSO = {
    "left-inverse": {"reversible-gradients"},
    "input-unmodified": {"determinism", "state-dict"},
    "determinism": {"state-dict"},
}
"""What else a wrong subject cannot but break."""

MORE = [
    ("construction", subject(refuses), "none of 2 shapes can be made; .*not today"),
    ("construction", subject(lambda shape, conditions: nn.Identity()), "made a Identity, expected a linearizer_core.bijections.base.Bijection"),
    ("capabilities", subject(lambda shape, conditions: MissingLogdet(shape)), "has_logdet is True, but forward_and_logdet raises LogDetUnavailableError"),
    ("capabilities", subject(IteratesExactly), "inverse_grad 'exact', .*declare inverse_grad = 'implicit'"),
    ("capabilities", subject(DeclaresNoGradient), "inverse_grad is 'none', but the inverse has gradient"),
    ("shapes", subject(Explodes), "forward of a batch of 1 gives numbers that are not finite"),
    ("bit-exact", subject(lambda shape, conditions: CoarseGrid(shape)), r"g\^-1\(g\(x\)\) is far from x"),
    ("forward-gradients", subject(lambda shape, conditions: NoStraightThrough(shape)), "give rounding the gradient of the identity"),
    ("inverse-gradients", subject(WrongImplicitGradient), "must solve J.T u = w"),
    ("reversible-gradients", subject(ForgottenByReplay), "inverse gives a wrong gradient in parameter 'shift'"),
    ("reversible-gradients", subject(RebuildsNothing), "forward gives a wrong gradient in 'log_scale' of a step on its data side"),
    ("reversible-gradients", subject(HalvesOnReplay), "forward gives a wrong gradient in the input"),
    ("reversible-gradients", subject(ReplayWithoutLogdet), "inverse_and_logdet gives a wrong gradient in parameter 'log_scale'"),
    ("state-dict", subject(InitialisedTwice), "one call in training mode after loading changes the map"),
    ("conditions-used", subject(OptionalCondition), "forward works without it"),
]
