"""What fitting a latent prior needs of a model, and making a prior from options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, final

from torch import Tensor

from linearizer_core.bijections import Bijection
from linearizer_core.config import Component, PriorCondition
from linearizer_core.errors import ConfigError
from linearizer_core.factory import create_backbone
from linearizer_core.latent_prior.categories import Categories


class Whitening(Protocol):
    """Latents ``(B, D)`` to whitened ones ``(B, m)``, fitted to given latents."""

    def fit(self, latents: Tensor) -> None: ...

    def __call__(self, latents: Tensor) -> Tensor: ...


@final
@dataclass(frozen=True)
class PriorParts:
    """The parts of a model that its prior is fitted to and made of.

    Arguments:
        kept: the latents of examples that the prior is a model of, ``(B, *shape)`` to ``(B, D)``.
        whiten: whitening of these latents.
        prior: h, from whitened latents ``(B, m)`` to standard normal ones.
        categories: what h is conditioned on.
    """

    kept: Callable[[Tensor], Tensor]
    whiten: Whitening
    prior: Bijection
    categories: Categories


def make_prior(dim: int, condition: PriorCondition, clusters: int, classes: int, backbone: Component, *, where: str) -> tuple[Bijection, Categories]:
    """The untrained bijection h on ``dim`` whitened latents, and the categories it is conditioned on.

    Arguments:
        dim: m, the size of the whitened latents.
        condition: label, cluster or none.
        clusters: their number, where clusters are meant.
        classes: classes of the data, 0 where there are none.
        backbone: which backbone h is.
        where: the options' key, for messages, such as ``task.latent_prior``.

    Raises:
        ConfigError: for labels of data that have none, and a backbone without log-determinant or without the condition.
    """
    if condition == "label" and not classes:
        raise ConfigError(f"{where}.condition = 'label', but the data have no labels; use 'cluster' or 'none'")
    categories = Categories(None if condition == "none" else condition, classes if condition == "label" else clusters, dim)
    prior = create_backbone(backbone.name, (dim,), conditions=categories.conditions or None, **backbone.options)
    if not prior.has_logdet:
        raise ConfigError(f"the prior is fitted by likelihood, but {type(prior).__name__} has no log-determinant; choose another {where}.prior.backbone")
    if missing := categories.conditions.keys() - prior.conditions.keys():
        raise ConfigError(
            f"{type(prior).__name__} does not use the condition {min(missing)!r}; choose another {where}.prior.backbone, or {where}.condition = 'none'"
        )
    return prior, categories
