"""The last stage of the recommended recipe: samples against a critic."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from linearizer_core.data import Batch
from linearizer_core.features.perceptual import PerceptualDistance, distance_of_maps
from linearizer_core.model import LinearizerModel
from linearizer_core.task import Stage
from linearizer_flow.config import AdversarialConfig
from linearizer_flow.critic import Critic, gradient_penalty
from linearizer_flow.latent_prior import latent_prior_of
from linearizer_flow.mirror import mirrored


class AdversarialStage(Stage):
    r"""Trains g and h so that a critic D takes samples for data, and goes on to reconstruct; G is the whole bijection, x' the reconstruction, n noise.

    .. math::
        \log(1 + e^{-D(G^{-1}([n, 0]))}) + a\,|x - x'|^2 + p\, d(x, x') + b\,|w|^2 - c \log p_h(u) / r

    The likelihood reaches h alone: u, the kept coordinates, count as given. The critic learns at the same time, on the same batch, from
    :math:`\log(1 + e^{D(G^{-1}([n, 0]))}) + \log(1 + e^{-D(x)}) + \gamma/2\,|\partial D(x)|^2`; neither part moves the weights of the other.
    Samples have the categories of the batch. A sample still costs one inverse pass, and the model stays the projector that it was.
    """

    config: AdversarialConfig

    def __init__(self, config: AdversarialConfig, perceptual: PerceptualDistance, *, mirror: bool = False) -> None:
        super().__init__("adversarial", config)
        self.perceptual = perceptual
        self.mirror = mirror

    def auxiliary(self, model: LinearizerModel) -> Critic:
        bijection = latent_prior_of(model)
        self.critic = Critic(self.perceptual.channels, width=self.config.critic_width, categories=sum(bijection.conditions.values()))
        return self.critic

    def parameters(self, model: LinearizerModel) -> Iterable[nn.Parameter]:
        bijection = latent_prior_of(model)
        return [*bijection.body.parameters(), *bijection.prior.parameters()]

    def loss(self, model: LinearizerModel, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        bijection, config = latent_prior_of(model), self.config
        x = mirrored(batch["x"], generator) if self.mirror else batch["x"]
        kept, rest = bijection.split(x)
        white = bijection.whiten(kept.detach())
        category = bijection.categories.of(white, batch.get("label"))
        condition = bijection.categories.condition(category)

        def noise() -> Tensor:
            return torch.randn(kept.shape, generator=generator, device=kept.device, dtype=kept.dtype)

        shaken = torch.cat([kept + config.latent_noise * noise(), torch.zeros_like(rest)], 1)
        drawn = bijection.tail.inverse(torch.cat([noise(), torch.zeros_like(rest)], 1), condition)
        decoded, samples = bijection.body.inverse(torch.cat([shaken, drawn])).chunk(2)
        standard, logdet = bijection.prior.forward_and_logdet(white + config.prior_noise * noise(), condition)

        with torch.no_grad():
            real = self.perceptual.maps(x)
        maps = [each.chunk(2) for each in self.perceptual.maps(torch.cat([decoded, samples]))]
        fake = [pair[1] for pair in maps]
        verdict, critic, penalty = self._judge(real, fake, category)
        terms = {
            "verdict": verdict,
            "critic": critic,
            "penalty": penalty,
            "reconstruction": functional.mse_loss(decoded, x),
            "perceptual": distance_of_maps([pair[0] for pair in maps], real),
            "tail": rest.square().mean() if rest.numel() else x.new_zeros(()),
            "prior": (standard.square().sum(1) / 2 - logdet).mean() / bijection.rank,
        }
        loss = config.adversarial_weight * verdict + critic + config.penalty_weight / 2 * penalty
        for name in ("reconstruction", "perceptual", "tail", "prior"):
            loss = loss + getattr(config, f"{name}_weight") * terms[name]
        return {"loss": loss, **terms}

    def _judge(self, real: list[Tensor], fake: list[Tensor], category: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The generator's loss, the critic's, and the penalty of the latter; in full precision, since the penalty is a gradient that is differentiated."""
        critic = self.critic
        real, fake = [each.detach().float().requires_grad_() for each in real], [each.float() for each in fake]
        fixed = {name: parameter.detach() for name, parameter in critic.named_parameters()}
        with torch.autocast(real[0].device.type, enabled=False):
            verdict = functional.softplus(-functional_call(critic, fixed, (fake, category))).mean()
            of_real = critic(real, category)
            of_fake = critic([each.detach() for each in fake], category)
            loss = functional.softplus(-of_real).mean() + functional.softplus(of_fake).mean()
            return verdict, loss, gradient_penalty(real, of_real) / len(of_real)
