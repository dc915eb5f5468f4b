"""Values against their references, one by one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from linearizer_core.errors import DataError

_SSIM_MARGIN = 5


def psnr(image: Tensor, reference: Tensor) -> float:
    """Peak signal-to-noise ratio in decibels of images in [0, 1], over the whole batch: ``-10 log10(MSE)``; infinite for equal images.

    Raises:
        DataError: when the shapes differ.
    """
    _require_one_shape(image, reference)
    return float(-10 * torch.log10((image.double() - reference.double()).square().mean()))


def ssim(image: Tensor, reference: Tensor) -> float:
    r"""The structural similarity of images ``(B, C, H, W)`` in [0, 1], averaged over windows, channels and the batch; 1 for equal images.

    .. math::
        \frac{(2 \mu_x \mu_y + C_1)(2 \sigma_{xy} + C_2)}{(\mu_x^2 + \mu_y^2 + C_1)(\sigma_x^2 + \sigma_y^2 + C_2)}, \qquad C_1 = 0.01^2,\ C_2 = 0.03^2

    Moments under a Gaussian window of 11 x 11 pixels and deviation 1.5, in float64, at every pixel of the image, which is reflected at its edges
    (Wang et al., doi 10.1109/TIP.2003.819861; the value of torchmetrics).

    Raises:
        DataError: when the shapes differ, or a side is below 6 pixels.

    Example:
        >>> import torch
        >>> image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> ssim(image, image), ssim(image, 1 - image) < 0
        (1.0, True)
    """
    _require_one_shape(image, reference)
    if image.ndim != 4 or min(image.shape[2:]) <= _SSIM_MARGIN:
        raise DataError(f"ssim of images of shape {tuple(image.shape)}, expected (B, C, H, W) with sides of at least {_SSIM_MARGIN + 1} pixels")
    x, y = (tensor.double().flatten(0, 1)[:, None] for tensor in (image, reference))
    x, y = (functional.pad(tensor, [_SSIM_MARGIN] * 4, mode="reflect") for tensor in (x, y))
    offsets = torch.arange(-_SSIM_MARGIN, _SSIM_MARGIN + 1, dtype=torch.float64, device=x.device)
    bell = torch.exp(-(offsets**2) / (2 * 1.5**2))
    window = torch.outer(bell, bell)[None, None] / bell.sum() ** 2
    mean_x, mean_y, xx, yy, xy = functional.conv2d(torch.cat([x, y, x * x, y * y, x * y]), window).chunk(5)
    covariance, variances = xy - mean_x * mean_y, xx - mean_x**2 + yy - mean_y**2
    squares = mean_x**2 + mean_y**2
    similarity = (2 * mean_x * mean_y + 0.01**2) * (2 * covariance + 0.03**2) / ((squares + 0.01**2) * (variances + 0.03**2))
    return float(similarity.mean())


def relative_error(value: Tensor, reference: Tensor) -> float:
    r""":math:`\|value - reference\| / \|reference\|` over the whole batch, in float64; not finite where the reference is zero.

    Raises:
        DataError: when the shapes differ.
    """
    _require_one_shape(value, reference)
    return float(torch.linalg.vector_norm(value.double() - reference.double()) / torch.linalg.vector_norm(reference.double()))


def max_abs_error(value: Tensor, reference: Tensor) -> float:
    """The largest absolute difference, in the unit of the values.

    Raises:
        DataError: when the shapes differ.
    """
    _require_one_shape(value, reference)
    return float((value.double() - reference.double()).abs().max())


def _require_one_shape(value: Tensor, reference: Tensor) -> None:
    if value.shape != reference.shape:
        raise DataError(f"cannot compare shapes {tuple(value.shape)} and {tuple(reference.shape)}; give the same number of examples of the same shape")
