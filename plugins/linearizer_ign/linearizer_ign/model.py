"""The model: one bijection, a projector, and a prior on what the projector keeps."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from linearizer_core.bijections import Bijection
from linearizer_core.cores import CoreOperator
from linearizer_core.errors import ConfigError
from linearizer_core.latent_prior import Categories, PrincipalWhiten, PriorParts
from linearizer_core.metrics import relative_error
from linearizer_core.model import LinearizerModel

_IDEMPOTENT = 1e-5


@final
class IdempotentModel(LinearizerModel):
    r""":math:`f = g^{-1} A g` with :math:`A A = A`, and a prior on :math:`A g(x)`.

    A sample is :math:`g^{-1}(A\,z)`, :math:`z = \mu + W S\,h_y^{-1}(n)` with n standard normal on m coordinates: one inverse pass, and a fixed point of f.
    :math:`\mu`, W and S are mean, principal axes and deviations of the kept latents of the training data; h is a bijection under the category y.

    Args:
        g: the bijection of the data; its latent is flat.
        core: the projector.
        prior: h, on m whitened latents.
        categories: what h is conditioned on.

    Raises:
        ConfigError: for a core that is not idempotent.
    """

    def __init__(self, g: Bijection, core: CoreOperator, prior: Bijection, categories: Categories) -> None:
        super().__init__(g, core)
        self.whiten = PrincipalWhiten(g.dim, prior.dim)
        self.prior = prior
        self.categories = categories
        operator = core.operator()
        z = torch.randn(4, g.dim, generator=torch.Generator().manual_seed(0)).to(operator.dtype)
        with torch.no_grad():
            once = operator(z)
            if bool(once.any()) and (error := relative_error(operator(once), once)) > _IDEMPOTENT:
                raise ConfigError(f"the core {type(core).__name__} is no projector: A A differs from A by {error:.1e}; set core.name = 'projector'")

    @property
    def parts(self) -> PriorParts:
        """What fitting the prior needs."""
        return PriorParts(self.kept, self.whiten, self.prior, self.categories)

    def kept(self, x: Tensor) -> Tensor:
        """A g(x) of examples ``(B, *shape)``: ``(B, D)``."""
        return self.core.operator()(self.gx(x))

    def generate(self, n: int, generator: torch.Generator, *, label: int | None = None, temperature: float = 1.0) -> Tensor:
        """``n`` samples from the prior.

        Raises:
            ConfigError: for a label that the prior does not know.
        """
        condition = self.categories.draw(n, generator, label)
        noise = temperature * torch.randn(n, self.prior.dim, generator=generator, device=generator.device)
        return self.decode(self.whiten.inverse(self.prior.inverse(noise, condition)))

    def decode(self, z: Tensor) -> Tensor:
        """g^-1(A z) of latents ``(B, D)``: fixed points of f."""
        return self.gx.inverse(self.core.operator()(z))
