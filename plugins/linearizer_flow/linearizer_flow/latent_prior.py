r"""The recommended recipe: one bijection :math:`G_y = (h_y \oplus \mathrm{id}) \circ g` whose leading coordinates carry the data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from linearizer_core.bijections import Bijection, Chain, Flatten, Identity, SplitMerge, Whiten, adopt_weakest
from linearizer_core.condition import Condition
from linearizer_core.data import Batch, Splits, TensorTable, collate
from linearizer_core.errors import ConditionError, DataError
from linearizer_core.model import LinearizerModel
from linearizer_core.task import Stage
from linearizer_flow.config import PriorConfig, ReconstructionConfig
from linearizer_flow.mirror import mirrored
from linearizer_flow.perceptual import PerceptualDistance

ConditionKind = Literal["label", "cluster"]


class LatentPriorBijection(Bijection):
    r""":math:`G_y(x) = [h_y(W(u - \mu)), w]` with :math:`[u, w] = g(x)` and u the first ``rank`` coordinates.

    g (``body``) is unconditional; the whitening and h (``prior``) act on u alone. Since h_y makes u standard normal given the category y, a sample
    is one inverse pass of noise on r coordinates: :math:`x = G_y^{-1}([n, 0])`. The category is a label, or a k-means cluster
    of u, whose frequencies and centroids are buffers.

    Args:
        body: the bijection g of the data; its latent is flattened.
        prior: the bijection h of r = ``prior.dim`` coordinates.
        condition: the name and the number of categories, or None.
    """

    def __init__(self, body: Bijection, prior: Bijection, condition: tuple[ConditionKind, int] | None) -> None:
        super().__init__(body.in_shape, (body.dim,), conditions=dict([condition]) if condition else None)
        flat = body if len(body.out_shape) == 1 else Chain(body, Flatten(body.out_shape))
        refine = Chain(Whiten(prior.dim), prior)
        rest = body.dim - prior.dim
        self.body = flat
        self.tail = SplitMerge(refine, Identity((rest,))) if rest else refine
        self.rank = prior.dim
        self.category = condition[0] if condition else None
        categories = condition[1] if condition else 1
        adopt_weakest(self, (flat, self.tail))
        self.register_buffer("frequencies", torch.full((categories,), 1 / categories, dtype=torch.float64))
        self.register_buffer("centroids", torch.zeros(categories, prior.dim))

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

    def draw_condition(self, n: int, generator: torch.Generator) -> Condition | None:
        """``n`` categories drawn by their frequency in the training data."""
        if self.category is None:
            return None
        drawn = torch.multinomial(cast(Tensor, self.frequencies), n, replacement=True, generator=generator)
        return Condition(**{self.category: drawn})

    def infer_condition(self, x: Tensor, label: Tensor | None) -> Condition | None:
        """The category of given data: its label, or the nearest cluster.

        Raises:
            ConditionError: when a label is needed and not given.
        """
        if self.category is None:
            return None
        if self.category == "cluster":
            return Condition(cluster=self.nearest_cluster(self.whiten(self.kept(x))))
        if label is None:
            raise ConditionError("this model is conditioned on the label; give one label for each example, shape (B,)")
        return Condition(label=label)

    def nearest_cluster(self, latents: Tensor) -> Tensor:
        """The cluster of whitened latents ``(B, rank)``, shape ``(B,)``."""
        return torch.cdist(latents, cast(Tensor, self.centroids).to(latents.dtype)).argmin(1)


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


class PriorStage(Stage):
    """Fits h by maximum likelihood on the whitened kept coordinates of the frozen, averaged g. Fitted last: fitted jointly it drifts."""

    config: PriorConfig

    def __init__(self, config: PriorConfig, *, mirror: bool = False) -> None:
        super().__init__("prior", config)
        self.mirror = mirror

    def parameters(self, model: LinearizerModel) -> Iterable[nn.Parameter]:
        return latent_prior_of(model).prior.parameters()

    def begin(self, model: LinearizerModel, splits: Splits) -> None:
        bijection = latent_prior_of(model)
        kept, labels = self._encode(bijection, splits.train)
        bijection.whiten.fit(kept)
        categories = bijection.conditions.get(bijection.category or "", 0)
        if bijection.category == "cluster":
            from sklearn.cluster import KMeans

            latents = bijection.whiten(kept)
            if len(latents) < categories:
                raise DataError(f"{len(latents)} training examples cannot form {categories} clusters; lower task.latent_prior.clusters")
            clusters = KMeans(categories, n_init=1, max_iter=50, random_state=0).fit(latents.cpu().numpy())
            cast(Tensor, bijection.centroids).copy_(torch.from_numpy(clusters.cluster_centers_))
            labels = bijection.nearest_cluster(latents)
        if bijection.category is not None and labels is not None:
            counts = torch.bincount(labels, minlength=categories).double()
            cast(Tensor, bijection.frequencies).copy_(counts / counts.sum())

    def dataset(self, model: LinearizerModel, splits: Splits) -> Dataset[Batch]:
        bijection = latent_prior_of(model)
        kept, labels = self._encode(bijection, splits.train)
        with torch.no_grad():
            latents = bijection.whiten(kept)
        if bijection.category == "cluster":
            labels = bijection.nearest_cluster(latents)
        return TensorTable(u=latents.cpu()) if bijection.category is None or labels is None else TensorTable(u=latents.cpu(), category=labels.cpu())

    def loss(self, model: LinearizerModel, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        bijection, latents = latent_prior_of(model), batch["u"]
        noisy = latents + self.config.latent_noise * torch.randn(latents.shape, generator=generator, device=latents.device)
        condition = Condition(**{bijection.category: batch["category"]}) if bijection.category else None
        standard, logdet = bijection.prior.forward_and_logdet(noisy, condition)
        return {"loss": (standard.square().sum(1) / 2 - logdet).mean()}

    @torch.no_grad()
    def _encode(self, bijection: LatentPriorBijection, dataset: Dataset[Batch]) -> tuple[Tensor, Tensor | None]:
        device = cast(Tensor, bijection.frequencies).device
        kept, labels = [], []
        for batch in DataLoader(dataset, batch_size=500, collate_fn=collate):
            x = batch["x"].to(device)
            for images in (x, x.flip(-1)) if self.mirror else (x,):
                kept.append(bijection.kept(images))
                labels.append(batch.get("label"))
        return torch.cat(kept), None if labels[0] is None else torch.cat(cast(list[Tensor], labels)).to(device)


def latent_prior_of(model: LinearizerModel) -> LatentPriorBijection:
    """The bijection on the side of the data, which this recipe builds."""
    assert isinstance(model.gy, LatentPriorBijection)
    return model.gy
