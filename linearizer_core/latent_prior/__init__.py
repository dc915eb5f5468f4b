"""A prior on few latents: what makes a bijection with a kept subspace generate. Fitted by likelihood, last, on latents of a frozen bijection.

- `linearizer_core.latent_prior.categories`: what the prior is conditioned on: labels, clusters of the latents, or nothing
- `linearizer_core.latent_prior.principal`: whitening of latents that fill a subspace
- `linearizer_core.latent_prior.parts`: what a model has to offer, and making a prior from options
- `linearizer_core.latent_prior.stage`: the stage of training that fits it
"""

from linearizer_core.latent_prior.categories import Categories, ConditionKind
from linearizer_core.latent_prior.parts import PriorParts, Whitening, make_prior
from linearizer_core.latent_prior.principal import PrincipalWhiten
from linearizer_core.latent_prior.stage import PriorStage

__all__ = ["Categories", "ConditionKind", "PrincipalWhiten", "PriorParts", "PriorStage", "Whitening", "make_prior"]
