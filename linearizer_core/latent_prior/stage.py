"""The stage of training that fits a latent prior."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import final

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from linearizer_core.config import PriorConfig
from linearizer_core.data import Batch, Splits, TensorTable, collate
from linearizer_core.latent_prior.parts import PriorParts
from linearizer_core.model import LinearizerModel
from linearizer_core.task import Stage


@final
class PriorStage(Stage):
    r"""Fits h by maximum likelihood on the whitened kept latents of the frozen, averaged bijection. Fitted last: fitted jointly it drifts.

    .. math::
        \tfrac12 |h_y(u + \sigma e)|^2 - \log|\det \partial h_y|

    Arguments:
        config: steps, optimiser and the noise :math:`\sigma`.
        parts: finds the parts in a model.
        mirror: also fit to images turned left to right.
        start: called with model and data before anything is fitted, where the bijection comes from elsewhere than a stage before.
    """

    config: PriorConfig

    def __init__(
        self,
        config: PriorConfig,
        parts: Callable[[LinearizerModel], PriorParts],
        *,
        mirror: bool = False,
        start: Callable[[LinearizerModel, Splits], None] | None = None,
    ) -> None:
        super().__init__("prior", config)
        self._parts = parts
        self._mirror = mirror
        self._start = start
        self._encoded: tuple[Tensor, Tensor | None] | None = None

    def parameters(self, model: LinearizerModel) -> Iterable[nn.Parameter]:
        return self._parts(model).prior.parameters()

    def begin(self, model: LinearizerModel, splits: Splits) -> None:
        if self._start is not None:
            self._start(model, splits)
        parts = self._parts(model)
        kept, labels = self._encoded = _encode(parts, splits.train, mirror=self._mirror)  # `dataset`, which is next, need not do it again
        parts.whiten.fit(kept)
        with torch.no_grad():
            parts.categories.fit(parts.whiten(kept), labels)

    def dataset(self, model: LinearizerModel, splits: Splits) -> Dataset[Batch]:
        parts = self._parts(model)
        kept, labels = self._encoded or _encode(parts, splits.train, mirror=self._mirror)
        self._encoded = None
        with torch.no_grad():
            latents = parts.whiten(kept)
            categories = parts.categories.of(latents, labels)
        return TensorTable(u=latents.cpu()) if categories is None else TensorTable(u=latents.cpu(), category=categories.cpu())

    def loss(self, model: LinearizerModel, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        parts, latents = self._parts(model), batch["u"]
        noisy = latents + self.config.latent_noise * torch.randn(latents.shape, generator=generator, device=latents.device)
        standard, logdet = parts.prior.forward_and_logdet(noisy, parts.categories.condition(batch.get("category")))
        return {"loss": (standard.square().sum(1) / 2 - logdet).mean()}


@torch.no_grad()
def _encode(parts: PriorParts, dataset: Dataset[Batch], *, mirror: bool) -> tuple[Tensor, Tensor | None]:
    device = parts.categories.get_buffer("frequencies").device
    kept, labels = [], []
    for batch in DataLoader(dataset, batch_size=500, collate_fn=collate):
        x = batch["x"].to(device)
        for images in (x, x.flip(-1)) if mirror else (x,):
            kept.append(parts.kept(images))
            labels.append(batch.get("label"))
    found = [label for label in labels if label is not None]
    return torch.cat(kept), torch.cat(found).to(device) if found else None
