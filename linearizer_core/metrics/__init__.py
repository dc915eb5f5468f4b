"""Measures of samples and of exactness. Every one says in which unit it answers.

- `linearizer_core.metrics.pairs`: values against their references, one by one
- `linearizer_core.metrics.samples`: two sets of samples, as distributions
"""

from linearizer_core.metrics.pairs import max_abs_error, psnr, relative_error, ssim
from linearizer_core.metrics.samples import frechet_distance, kernel_distance, precision_and_recall

__all__ = ["frechet_distance", "kernel_distance", "max_abs_error", "precision_and_recall", "psnr", "relative_error", "ssim"]
