"""Test examples of a subject, and the map that its model makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, final

import torch
from torch import Tensor

from linearizer_core.condition import Condition
from linearizer_core.cores import TimeDependentCore
from linearizer_core.data import stack
from linearizer_core.errors import ConditionError, ConfigError
from linearizer_core.figures.images import is_image
from linearizer_core.linearizer import Linearizer
from linearizer_core.metrics import psnr
from linearizer_core.space import InducedSpace
from linearizer_core.study import StudySubject


@final
@dataclass(frozen=True)
class Examples:
    """Test examples with the map under their conditions.

    Arguments:
        x: ``(N, *shape)``, where the model is and in its dtype.
        label: ``(N,)``, where the data have labels.
        condition: what the bijections take, one row for each example; None where they take nothing.
        f: the map of the model; its spaces are under ``condition``, so that it takes these N examples, or one for which `rows` made it.
        from_noise: whether f maps noise to data, as the one step of a flow does.
    """

    x: Tensor
    label: Tensor | None
    condition: Condition | None
    f: Linearizer
    from_noise: bool

    @classmethod
    def of(cls, subject: StudySubject, count: int, condition: Mapping[str, int] | None = None) -> Self:
        """The first ``count`` test examples, and the map under the categories of the core that ``condition`` names.

        Raises:
            ConfigError: where the core needs a category, and ``condition`` names none.
        """
        pretrained = subject.pretrained
        weight = next(pretrained.model.parameters())
        test = {name: tensor.to(weight.device) for name, tensor in stack(subject.splits.test, count).items()}
        chosen = core_condition(condition, weight.device)
        with torch.no_grad():
            own = pretrained.task.condition(pretrained.model, test)
            try:
                operator = pretrained.linearizer(chosen).operator
            except ConditionError as error:
                names = ", ".join(f"condition.{name}=0 to {count - 1}" for name, count in pretrained.model.core.conditions.items())
                raise ConfigError(f"{subject.name} has an operator for each category, and needs to know which is meant: {error}; add {names}") from error
        f = pretrained.model.linearizer(operator, own)
        return cls(test["x"].to(weight.dtype), test.get("label"), own, f, isinstance(pretrained.model.core, TimeDependentCore))

    def rows(self, index: Tensor) -> Self:
        """Those at ``index``; one may occur several times."""
        condition = None if self.condition is None else self.condition.rows(index)
        domain, codomain = (_under(space, index) for space in (self.f.domain, self.f.codomain))
        f = Linearizer(domain, self.f.operator, domain if self.f.is_endomorphism else codomain)
        return type(self)(self.x[index], None if self.label is None else self.label[index], condition, f, self.from_noise)

    def repeated(self, row: int, count: int) -> Self:
        """One example ``count`` times."""
        return self.rows(torch.full((count,), row, device=self.x.device))

    @torch.no_grad()
    def inputs(self) -> Tensor:
        """What f is applied to: the examples, or, where f maps noise to data, the noise that its pseudo-inverse finds for them."""
        return self.f.pinv()(self.x) if self.from_noise else self.x

    @torch.no_grad()
    def latents(self) -> Tensor:
        """The latents of the examples on the side of data, ``(N, D)``."""
        return (self.f.codomain if self.from_noise else self.f.domain).to_latent(self.x)


def psnr_db(value: Tensor, reference: Tensor) -> float:
    """PSNR in decibels; of images, clamped to [0, 1], as they are shown."""
    return psnr(value.clamp(0, 1), reference.clamp(0, 1)) if is_image(tuple(value.shape[1:])) else psnr(value, reference)


def core_condition(categories: Mapping[str, int] | None, device: torch.device) -> Condition | None:
    """Categories by name as a condition of one row; None where there are none."""
    return Condition(**{name: torch.tensor([value], device=device) for name, value in categories.items()}) if categories else None


def _under(space: InducedSpace, index: Tensor) -> InducedSpace:
    return space if space.condition is None else InducedSpace(space.bijection, space.condition.rows(index))
