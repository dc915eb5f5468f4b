"""What a latent prior is conditioned on."""

from __future__ import annotations

from typing import Literal, cast, final

import torch
from torch import Tensor, nn

from linearizer_core.condition import Condition
from linearizer_core.errors import ConditionError, ConfigError, DataError

ConditionKind = Literal["label", "cluster"]


@final
class Categories(nn.Module):
    """The labels of the data, k-means clusters of whitened latents, or a single category: their frequencies and centroids, fitted and saved as buffers.

    Arguments:
        name: what a category is; None for a single one, which needs no condition.
        count: how many there are.
        dim: size of the whitened latents.
    """

    def __init__(self, name: ConditionKind | None, count: int, dim: int) -> None:
        super().__init__()
        self.name = name
        self.count = count if name else 1
        self.register_buffer("frequencies", torch.full((self.count,), 1 / self.count, dtype=torch.float64))
        self.register_buffer("centroids", torch.zeros(self.count, dim))

    @property
    def conditions(self) -> dict[str, int]:
        """The condition as bijections declare it: name to number of categories."""
        return {self.name: self.count} if self.name else {}

    @torch.no_grad()
    def fit(self, latents: Tensor, labels: Tensor | None) -> None:
        """Take frequencies from ``labels`` ``(N,)``, or form clusters of whitened ``latents`` ``(N, dim)``.

        Raises:
            DataError: for fewer latents than clusters.
        """
        if self.name == "cluster":
            from sklearn.cluster import KMeans

            if len(latents) < self.count:
                raise DataError(f"{len(latents)} training examples cannot form {self.count} clusters; lower the number of clusters")
            clusters = KMeans(self.count, n_init=1, max_iter=50, random_state=0).fit(latents.cpu().numpy())
            cast(Tensor, self.centroids).copy_(torch.from_numpy(clusters.cluster_centers_))
        found = self.of(latents, labels)
        if found is not None:
            counts = torch.bincount(found, minlength=self.count).double()
            cast(Tensor, self.frequencies).copy_(counts / counts.sum())

    def of(self, latents: Tensor, labels: Tensor | None) -> Tensor | None:
        """The categories of examples ``(N,)``: their labels, or the nearest clusters of their whitened latents; None where there is a single category.

        Raises:
            ConditionError: when labels are needed and not given.
        """
        if self.name == "cluster":
            return torch.cdist(latents, cast(Tensor, self.centroids).to(latents.dtype)).argmin(1)
        if self.name == "label" and labels is None:
            raise ConditionError("this model is conditioned on the label; give one label for each example, shape (B,)")
        return labels if self.name == "label" else None

    def condition(self, categories: Tensor | None) -> Condition | None:
        """Categories ``(B,)`` as the condition of a bijection."""
        return Condition(**{self.name: categories}) if self.name and categories is not None else None

    def draw(self, n: int, generator: torch.Generator, category: int | None = None) -> Condition | None:
        """``n`` categories, all of them ``category``, or drawn by their frequency where that is None.

        Raises:
            ConfigError: for a category out of range.
        """
        if category is not None:
            if not 0 <= category < self.count or not self.name:
                known = f"the {self.name}s 0 to {self.count - 1}" if self.name else "no labels and no clusters"
                raise ConfigError(f"label = {category}: this model knows {known}")
            return self.condition(torch.full((n,), category, device=generator.device))
        return self.condition(torch.multinomial(cast(Tensor, self.frequencies), n, replacement=True, generator=generator) if self.name else None)
