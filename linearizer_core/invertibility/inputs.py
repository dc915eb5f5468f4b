"""Inputs far off the data: where an inverse explodes first."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from linearizer_core.bijections import Bijection
from linearizer_core.condition import Condition
from linearizer_core.invertibility.derivatives import gradients
from linearizer_core.invertibility.examples import require_examples
from linearizer_core.invertibility.gain import unit

_PROBE = 1e-3


def far_off_inputs(shape: tuple[int, ...], n: int, generator: torch.Generator, *, reference: Tensor | None = None) -> dict[str, Tensor]:
    """Families of inputs that no training set holds, each ``(n, *shape)``, on the device of ``generator``.

    With [low, high] the range of the data: ``gaussian`` is the mean of the data plus half its range times standard normal noise, ``uniform`` lies in the range,
    ``saturated`` has every entry at one end of it, ``constant`` has one level per example, from low to high.

    Arguments:
        shape: shape of one example.
        n: examples of each family.
        generator: draws them.
        reference: data that tells range, mean and dtype; [0, 1], 0.5 and float32 without it.

    Raises:
        InputShapeError: for an empty reference.

    Example:
        >>> import torch
        >>> families = far_off_inputs((1, 4, 4), 3, torch.Generator().manual_seed(0))
        >>> sorted(families), families["constant"][:, 0, 0, 0].tolist()
        (['constant', 'gaussian', 'saturated', 'uniform'], [0.0, 0.5, 1.0])
    """
    if reference is not None:
        require_examples("far_off_inputs", reference)
    low, high, mean = (0.0, 1.0, 0.5) if reference is None else (float(reference.min()), float(reference.max()), float(reference.mean()))
    dtype = torch.float32 if reference is None else reference.dtype
    families = {
        "gaussian": mean + 0.5 * (high - low) * torch.randn(n, *shape, generator=generator, device=generator.device),
        "uniform": low + (high - low) * torch.rand(n, *shape, generator=generator, device=generator.device),
        "saturated": low + (high - low) * torch.randint(0, 2, (n, *shape), generator=generator, device=generator.device),
        "constant": torch.linspace(low, high, n, device=generator.device).reshape(-1, *[1] * len(shape)).expand(n, *shape),
    }
    return {name: family.to(dtype).clone() for name, family in families.items()}


def adversarial(
    g: Bijection,
    x: Tensor,
    condition: Condition | None = None,
    *,
    generator: torch.Generator,
    steps: int = 20,
    restarts: int = 1,
    low: float = 0.0,
    high: float = 1.0,
) -> Tensor:
    r"""Inputs in [low, high] whose round trip is as bad as a search finds, one for every example of ``x``.

    The round-trip error is rounding noise and has no useful gradient, so the search climbs what makes it large: over x and unit directions v,

    .. math::
        \log |g^{-1}(g(x) + \delta v) - x| / \delta

    by signed gradient steps on x, each projected back into the box, while v follows its own gradient. Of all points visited it keeps, for every example,
    the one with the largest measured error (the largest gain, where errors are equal). The first start is ``x`` itself, further ones are uniform.
    Where g^-1 has no gradient, the points visited are uniform draws.

    Arguments:
        g: a bijection whose parameters have the dtype of ``x``; examples must not see each other.
        x: ``(B, *in_shape)``.
        condition: what g is conditioned on.
        generator: the whole search is a function of it.
        steps: points visited from each start.
        restarts: further starts.
        low: the smallest value an input may have.
        high: the largest one.

    Raises:
        InputShapeError: for an empty batch.

    Example:
        >>> import torch
        >>> from linearizer_core.bijections import AffineCoupling, MLPConditioner
        >>> from linearizer_core.invertibility import round_trip
        >>> g = AffineCoupling((2,), MLPConditioner(1, 2, width=8), log_scale_bound=4.0)
        >>> _ = torch.nn.init.normal_(g.conditioner.last.weight, generator=torch.Generator().manual_seed(0))
        >>> x = torch.full((4, 2), 0.5)
        >>> found = adversarial(g, x, generator=torch.Generator().manual_seed(0))
        >>> round_trip(g, found).maximum >= round_trip(g, x).maximum
        True
    """
    require_examples("adversarial", x)
    best, best_score = x.detach().clamp(low, high), torch.full((len(x), 2), -math.inf, dtype=torch.float64, device=x.device)

    def uniform() -> Tensor:
        return low + (high - low) * torch.rand(x.shape, generator=generator, device=generator.device).to(x)

    for start in range(1 + restarts):
        point = uniform() if start else best
        direction = torch.randn(len(x), *g.out_shape, generator=generator, device=generator.device).to(x)
        for step in range(steps):
            # Steps from a quarter of the box down to a hundredth of it.
            size = (high - low) * 0.25 * 0.04 ** (step / max(steps - 1, 1))
            score, ascent, direction = _probe(g, point, direction, condition)
            better = (score[:, 0] > best_score[:, 0]) | ((score[:, 0] == best_score[:, 0]) & (score[:, 1] > best_score[:, 1]))
            best = torch.where(better.reshape(-1, *[1] * (x.ndim - 1)), point, best)
            best_score = torch.where(better[:, None], score, best_score)
            point = uniform() if ascent is None else (point + size * ascent.nan_to_num().sign()).clamp(low, high)
    return best


def _probe(g: Bijection, x: Tensor, direction: Tensor, condition: Condition | None) -> tuple[Tensor, Tensor | None, Tensor]:
    """For every example (round-trip error, log-gain along ``direction``), the gradient of the log-gain, and a direction of more gain."""
    differentiable = g.inverse_grad != "none"
    with torch.set_grad_enabled(differentiable):
        x, v = x.detach().requires_grad_(differentiable), unit(direction.detach()).requires_grad_(differentiable)
        z = g(x, condition)
        probe = _PROBE * z.detach().abs().max().clamp(min=1)
        grown = (g.inverse(z + probe * v, condition) - x).flatten(1).norm(dim=1)
        log_gain = (grown / probe).clamp(min=torch.finfo(x.dtype).tiny).log()
        ascents = gradients(log_gain, (x, v)) if differentiable else None
    with torch.no_grad():
        error = (g.inverse(z, condition) - x).double().abs().flatten(1).amax(1).nan_to_num(torch.inf)
    score = torch.stack([error, log_gain.detach().double().nan_to_num(-torch.inf)], 1)
    if ascents is None:
        return score, None, direction
    return score, ascents[0], v.detach() + unit(ascents[1].nan_to_num())
