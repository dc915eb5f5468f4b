r"""The recommended recipe: one bijection :math:`G_y = (h_y \oplus \mathrm{id}) \circ g` whose leading coordinates carry the data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from linearizer_core.bijections import Bijection, Chain, Flatten, Identity, SplitMerge, Whiten, adopt_weakest
from linearizer_core.condition import Condition
from linearizer_core.data import Batch
from linearizer_core.features.perceptual import PerceptualDistance
from linearizer_core.latent_prior import Categories, PriorParts
from linearizer_core.model import LinearizerModel
from linearizer_core.task import Stage
from linearizer_flow.config import ReconstructionConfig
from linearizer_flow.mirror import mirrored


class LatentPriorBijection(Bijection):
    r""":math:`G_y(x) = [h_y(W(u - \mu)), w]` with :math:`[u, w] = g(x)` and u the first ``rank`` coordinates.

    g (``body``) is unconditional; the whitening and h (``prior``) act on u alone. Since h_y makes u standard normal given the category y, a sample
    is one inverse pass of noise on r coordinates: :math:`x = G_y^{-1}([n, 0])`.

    Args:
        body: the bijection g of the data; its latent is flattened.
        prior: the bijection h of r = ``prior.dim`` coordinates.
        categories: what h is conditioned on.
    """

    def __init__(self, body: Bijection, prior: Bijection, categories: Categories) -> None:
        super().__init__(body.in_shape, (body.dim,), conditions=categories.conditions)
        flat = body if len(body.out_shape) == 1 else Chain(body, Flatten(body.out_shape))
        refine = Chain(Whiten(prior.dim), prior)
        rest = body.dim - prior.dim
        self.body = flat
        self.tail = SplitMerge(refine, Identity((rest,))) if rest else refine
        self.rank = prior.dim
        self.categories = categories
        adopt_weakest(self, (flat, self.tail))

    @property
    def whiten(self) -> Whiten:
        """The whitening of the kept coordinates."""
        return cast(Whiten, self._refine[0])

    @property
    def prior(self) -> Bijection:
        """h, on the whitened kept coordinates."""
        return self._refine[1]

    @property
    def _refine(self) -> Chain:
        return cast(Chain, self.tail.leading if isinstance(self.tail, SplitMerge) else self.tail)

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        return cast(Tensor, self.tail(self.body(x), condition))

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        return self.body.inverse(self.tail.inverse(z, condition))

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        z, body = self.body.forward_and_logdet(x)
        z, tail = self.tail.forward_and_logdet(z, condition)
        return z, body + tail

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        z, tail = self.tail.inverse_and_logdet(z, condition)
        x, body = self.body.inverse_and_logdet(z)
        return x, body + tail

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The kept coordinates u of g(x), before whitening, ``(B, rank)``, and the rest."""
        z = cast(Tensor, self.body(x))
        return z[:, : self.rank], z[:, self.rank :]

    def kept(self, x: Tensor) -> Tensor:
        """The kept coordinates u of g(x), before whitening, ``(B, rank)``."""
        return self.split(x)[0]

    def infer_condition(self, x: Tensor, label: Tensor | None) -> Condition | None:
        """The category of given data: its label, or the nearest cluster.

        Raises:
            ConditionError: when a label is needed and not given.
        """
        return self.categories.condition(self.categories.of(self.whiten(self.kept(x)), label))

    @property
    def parts(self) -> PriorParts:
        """What fitting h needs."""
        return PriorParts(self.kept, self.whiten, self.prior, self.categories)


class ReconstructionStage(Stage):
    r"""Trains g so that r coordinates suffice, without noise encoder and without likelihood.

    .. math::
        a\,|x - g^{-1}([u + \sigma e, 0])|^2 + b\,|w|^2 + c\,(|\mathrm{cov}(u) - I|^2 + |\bar u|^2) / r, \qquad [u, w] = g(x)

    The first two terms are means over the coordinates.
    """

    config: ReconstructionConfig

    def __init__(self, config: ReconstructionConfig, perceptual: PerceptualDistance | None, *, mirror: bool = False) -> None:
        super().__init__("reconstruction", config)
        self.perceptual = perceptual
        self.mirror = mirror

    def parameters(self, model: LinearizerModel) -> Iterable[nn.Parameter]:
        return latent_prior_of(model).body.parameters()

    def loss(self, model: LinearizerModel, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        bijection, config, x = latent_prior_of(model), self.config, mirrored(batch["x"], generator) if self.mirror else batch["x"]
        kept, tail = bijection.split(x)
        noise = torch.randn(kept.shape, generator=generator, device=kept.device, dtype=kept.dtype)
        decoded = bijection.body.inverse(torch.cat([kept + config.latent_noise * noise, torch.zeros_like(tail)], 1))
        centred = kept - kept.mean(0)
        with torch.autocast(kept.device.type, enabled=False):
            covariance = centred.T @ centred / (len(kept) - 1)
        moments = (covariance - torch.eye(bijection.rank, device=kept.device)).square().sum() / bijection.rank + kept.mean(0).square().mean()
        terms = {"reconstruction": functional.mse_loss(decoded, x), "tail": tail.square().mean() if tail.numel() else x.new_zeros(()), "covariance": moments}
        loss = config.reconstruction_weight * terms["reconstruction"] + config.tail_weight * terms["tail"] + config.covariance_weight * moments
        if self.perceptual is not None:
            terms["perceptual"] = self.perceptual(decoded, x)
            loss = loss + config.perceptual_weight * terms["perceptual"]
        return {"loss": loss, **terms}


def prior_parts(model: LinearizerModel) -> PriorParts:
    """What fitting the prior of a model needs."""
    return latent_prior_of(model).parts


def latent_prior_of(model: LinearizerModel) -> LatentPriorBijection:
    """The bijection on the side of the data, which this recipe builds."""
    assert isinstance(model.gy, LatentPriorBijection)
    return model.gy
