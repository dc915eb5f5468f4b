"""A penalty that keeps bijections Lipschitz in both directions, on the data and off them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from linearizer_core.bijections import Bijection, full_precision
from linearizer_core.condition import Condition
from linearizer_core.config import LipschitzConfig

__all__ = ["lipschitz_penalty", "trained_bijections"]


def lipschitz_penalty(bijection: Bijection, x: Tensor, generator: torch.Generator, config: LipschitzConfig) -> Tensor:
    r"""The mean squared excess of log-gains over a bound, of g and of g^-1, by finite differences along random directions.

    .. math::
        \mathbb{E}\,\Big[\log \frac{|g(x + e v) - g(x)|}{K\, |e v|}\Big]_+^2 + \mathbb{E}\,\Big[\log \frac{|g^{-1}(z + e v) - g^{-1}(z)|}{K\, |e v|}\Big]_+^2,
        \qquad v \sim N(0, I)

    x runs over the given points, a share of which is replaced by uniform noise in their range and by Gaussian noise of their mean and deviation; z over the
    latents of all these, and over as many Gaussian latents as there are such noises. A random direction sees the root mean square of the singular values of
    the Jacobian, not the largest: the penalty pushes gains down where it looks, and is no bound. Conditions are drawn at random. It runs in full precision.

    Arguments:
        bijection: g.
        x: ``(B, *in_shape)``.
        generator: draws everything, on the device of ``x``.
        config: step e, bound K and the share off the data. Its ``weight`` and ``every`` are the training loop's.

    Example:
        >>> import torch
        >>> from linearizer_core.bijections import FixedAffine
        >>> g = FixedAffine((3,), shift=0.0, scale=20.0)
        >>> penalty = lipschitz_penalty(g, torch.rand(8, 3), torch.Generator().manual_seed(0), LipschitzConfig(bound=10.0))
        >>> round(penalty.sqrt().exp().item(), 2)  # the gain is twice the bound
        2.0
    """
    with full_precision(x):
        noises = round(config.off_data * len(x))
        x = torch.cat([x[: len(x) - noises], *_noises_like(x, noises, generator)])
        condition = _random_pairs(bijection, len(x), generator)
        forward, z = _excess(lambda points: bijection(points, condition), x, generator, config)
        z = torch.cat([z, z.mean() + z.std() * _normal(z[:noises], generator)])
        condition = _random_pairs(bijection, len(z), generator)
        backward, _ = _excess(lambda points: bijection.inverse(points, condition), z, generator, config)
        return forward + backward


def trained_bijections(model: nn.Module) -> list[Bijection]:
    """The largest bijections in ``model`` all of whose parameters are trained, each set of parameters once, in the order of the model.

    Wrappers that add no parameters are left out: of a sum of h and the identity, h alone tells what its gain is.

    Example:
        >>> from linearizer_core.bijections import Chain, ElementwiseAffine, Flatten
        >>> trained, frozen = ElementwiseAffine((2,)), ElementwiseAffine((2,)).requires_grad_(False)
        >>> trained_bijections(Chain(Flatten((2,)), trained, frozen)) == [trained]
        True
    """
    found: list[Bijection] = []
    known: set[int] = set()
    _visit(model, found, known)
    return found


def _visit(module: nn.Module, found: list[Bijection], known: set[int]) -> None:
    own = {id(parameter) for parameter in module.parameters()}
    if own <= known:
        return
    if not isinstance(module, Bijection) or not all(parameter.requires_grad for parameter in module.parameters()):
        for child in module.children():
            _visit(child, found, known)
        return
    same = [each for each in module.modules() if isinstance(each, Bijection) and {id(parameter) for parameter in each.parameters()} == own]
    found.append(same[-1])
    known.update(own)


def _noises_like(x: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    uniform, gaussian = x[: count // 2], x[count // 2 : count]
    low, high = x.amin(), x.amax()
    drawn = torch.rand(uniform.shape, generator=generator, device=x.device, dtype=x.dtype)
    return low + (high - low) * drawn, x.mean() + x.std() * _normal(gaussian, generator)


def _random_pairs(bijection: Bijection, rows: int, generator: torch.Generator) -> Condition | None:
    """A random category for each point, and the same once more for the points that have moved."""
    labels = {name: torch.randint(count, (rows,), generator=generator, device=generator.device) for name, count in bijection.conditions.items()}
    return Condition(**{name: label.repeat(2) for name, label in labels.items()}) if labels else None


def _excess(function: Callable[[Tensor], Tensor], points: Tensor, generator: torch.Generator, config: LipschitzConfig) -> tuple[Tensor, Tensor]:
    """The mean squared excess of the log-gains over the bound, and the images of the points."""
    step = config.step * _normal(points, generator)
    images, moved = function(torch.cat([points, points + step])).chunk(2)
    gains = (moved - images).flatten(1).norm(dim=1) / step.flatten(1).norm(dim=1)
    # Clamped before the logarithm: gains within the bound have no gradient, not even at zero.
    excess = gains.clamp_min(config.bound).log() - math.log(config.bound)
    return excess.square().mean(), images.detach()


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)
