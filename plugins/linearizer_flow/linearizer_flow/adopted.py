"""The bijection g of a trained model, for another prior on it."""

from __future__ import annotations

import torch

from linearizer_core.data import Splits, stack
from linearizer_core.errors import ConfigError
from linearizer_core.model import LinearizerModel
from linearizer_flow.latent_prior import LatentPriorBijection, latent_prior_of

_EXAMPLES = 16
_TOLERANCE = 0.01
"""Of latents, relative to the largest: far more than devices differ, far less than bijections with other options do."""


@torch.no_grad()
def adopt_bijection(address: str, model: LinearizerModel, splits: Splits) -> None:
    """Take over the weights of g from the pretrained model at ``address``: a name of the registry, a folder or a repository of the Hub.

    Raises:
        ConfigError: where that model was not trained by this recipe, or its g is another bijection than the backbone of ``model``, or keeps other coordinates.
        ArtifactError: where there is no model, or a damaged one.
    """
    from linearizer_core.pretrained import load, uri_of

    key = f"task.latent_prior.bijection = {address!r}"
    source, own = load(uri_of(address)).model.gy, latent_prior_of(model)
    if not isinstance(source, LatentPriorBijection):
        raise ConfigError(f"{key} has no bijection with a prior; name a model that task.recipe = 'latent_prior' trained")
    if source.rank != own.rank:
        raise ConfigError(f"{key} keeps {source.rank} coordinates, this model {own.rank}; set core.rank = {source.rank}")
    advice = "give the same [backbone] and data of the same shape"
    theirs, ours = ({name: tensor.shape for name, tensor in body.state_dict().items()} for body in (source.body, own.body))
    if source.in_shape != own.in_shape or theirs != ours:
        strange = sorted(name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name))
        raise ConfigError(f"{key} takes {source.in_shape}, this model {own.in_shape}, and {len(strange)} weights differ in name or shape; {advice}")
    own.body.load_state_dict(source.body.state_dict())
    x = stack(splits.train, _EXAMPLES)["x"]
    expected, found = source.body(x), own.body(x.to(next(own.parameters()).device)).to(x.device)
    if bool((found - expected).abs().max() > _TOLERANCE * expected.abs().max()):
        raise ConfigError(f"{key} has weights of the same shapes, but other options: its latents of training examples are not those of this backbone; {advice}")
