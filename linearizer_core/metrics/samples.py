"""Two sets of samples, compared as distributions through features. Real and generated images, usually, and features of a pretrained network."""

from __future__ import annotations

import torch
from torch import Tensor

from linearizer_core.errors import DataError

_CHUNK = 1000


def frechet_distance(a: Tensor, b: Tensor) -> float:
    r"""The Frechet distance between Gaussians fitted to two sets of features, ``(N, F)`` and ``(M, F)``, in float64.

    .. math::
        d = \|\mu_a - \mu_b\|^2 + \operatorname{tr}(C_a + C_b - 2 (C_a^{1/2} C_b C_a^{1/2})^{1/2})

    Squared feature units; 0 for equal moments, and biased upwards for few samples, so quote it with N, M and the features' name
    (Heusel et al., arXiv 1706.08500).

    Raises:
        DataError: for fewer than 2 samples, another number of features, or values that are not finite.

    Example:
        >>> import torch
        >>> a = torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
        >>> round(frechet_distance(a, a + 1), 6)
        4.0
    """
    _require_features(a, b)
    a, b = a.double(), b.double()
    cov_a, cov_b = torch.cov(a.T).reshape(a.shape[1], -1), torch.cov(b.T).reshape(b.shape[1], -1)
    values, vectors = torch.linalg.eigh(cov_a)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cov_b @ root).clamp_min(0).sqrt().sum()
    return max(0.0, float((a.mean(0) - b.mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross))


def kernel_distance(a: Tensor, b: Tensor) -> float:
    r"""The squared maximum mean discrepancy between two sets of features, ``(N, F)`` and ``(M, F)``, in float64.

    .. math::
        \frac{\sum_{i \ne j} k(a_i, a_j)}{N (N - 1)} + \frac{\sum_{i \ne j} k(b_i, b_j)}{M (M - 1)} - \frac{2 \sum_{i, j} k(a_i, b_j)}{N M},
        \qquad k(x, y) = (x \cdot y / F + 1)^3

    Unbiased, so it does not depend on N and M but for noise, and may fall below 0 for sets of one distribution. Over all samples at once; the kernel
    inception distance of Binkowski et al. (arXiv 1801.01401) is its mean over subsets, on features of Inception.

    Raises:
        DataError: for fewer than 2 samples, another number of features, or values that are not finite.

    Example:
        >>> import torch
        >>> a = torch.tensor([[1.0], [0.0]])
        >>> kernel_distance(a, a)  # (1 + 1) / 2 + (1 + 1) / 2 - 2 (8 + 1 + 1 + 1) / 4
        -3.5
    """
    _require_features(a, b)
    a, b = a.double(), b.double()

    def kernel_sum(x: Tensor, y: Tensor) -> Tensor:
        return torch.stack([(rows @ y.T / y.shape[1] + 1).pow(3).sum() for rows in torch.split(x, _CHUNK)]).sum()

    def within(x: Tensor) -> Tensor:
        own = (x.square().sum(1) / x.shape[1] + 1).pow(3).sum()
        return (kernel_sum(x, x) - own) / (len(x) * (len(x) - 1))

    return float(within(a) + within(b) - 2 * kernel_sum(a, b) / (len(a) * len(b)))


def precision_and_recall(generated: Tensor, real: Tensor, *, neighbours: int = 3) -> tuple[float, float]:
    """Which part of the generated samples is realistic, and which part of the real ones is covered: two numbers in [0, 1].

    Each set is taken for the union of balls around its members, each as large as the distance to its k-th nearest neighbour within the set. Precision is the
    share of ``generated`` ``(N, F)`` within the balls of ``real`` ``(M, F)``, recall that of ``real`` within the balls of ``generated``. Both depend on
    N, M and the features (Kynkaanniemi et al., arXiv 1904.06991).

    Raises:
        DataError: for fewer than 2 samples, no more samples than ``neighbours``, another number of features, or values that are not finite.

    Example:
        >>> import torch
        >>> real = torch.arange(10.0)[:, None]
        >>> precision_and_recall(real[:5] + 0.5, real, neighbours=1)
        (1.0, 0.6)
    """
    _require_features(generated, real)
    if min(len(generated), len(real)) <= neighbours:
        raise DataError(f"{len(generated)} and {len(real)} samples have no {neighbours} neighbours each within their set; give more samples")

    def covered(points: Tensor, centres: Tensor) -> float:
        # The nearest of a centre is itself.
        radii = torch.cat([torch.cdist(rows, centres).kthvalue(neighbours + 1).values for rows in torch.split(centres, _CHUNK)])
        return float(torch.cat([(torch.cdist(rows, centres) <= radii).any(1) for rows in torch.split(points, _CHUNK)]).double().mean())

    generated, real = generated.double(), real.double()
    return covered(generated, real), covered(real, generated)


def _require_features(a: Tensor, b: Tensor) -> None:
    for name, features in (("first", a), ("second", b)):
        if features.ndim != 2 or len(features) < 2:
            raise DataError(f"the {name} set of features has shape {tuple(features.shape)}, expected (N, F) with N of at least 2; give more samples, flattened")
        if strange := int((~torch.isfinite(features)).any(1).sum()):
            raise DataError(
                f"the {name} set of features has {strange} of {len(features)} rows with infinities or NaN, expected finite numbers; look at the samples"
            )
    if a.shape[1] != b.shape[1]:
        raise DataError(f"the two sets have {a.shape[1]} and {b.shape[1]} features; compare features of one extractor")
