"""What a style transfer has to beat: colours alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from linearizer_core.data import Batch
from linearizer_style.stage import LABEL


@dataclass(frozen=True)
class ColourTransform:
    r"""For each style the affine map of RGB values :math:`y = M x + b` with the least squared error on training crops: a style without any shape.

    ``matrices`` has shape ``(K, 4, 3)``, the last row the offset.
    """

    matrices: Tensor

    @classmethod
    def fitted(cls, batch: Batch, styles: int) -> ColourTransform:
        """Fitted to the pairs of ``batch``; each style must occur."""
        found = []
        for style in range(styles):
            rows = batch[LABEL] == style
            before, after = (_pixels(batch[name][rows]).double() for name in ("x", "y"))
            found.append(torch.linalg.lstsq(_with_one(before), after).solution)
        return cls(torch.stack(found).to(batch["x"]))

    def __call__(self, x: Tensor, label: Tensor) -> Tensor:
        """The recoloured batch ``(B, 3, H, W)``, clipped to [0, 1]."""
        matrices = self.matrices.to(x)[label]
        return torch.einsum("bchw,bcd->bdhw", functional.pad(x, (0, 0, 0, 0, 0, 1), value=1.0), matrices).clamp(0, 1)


def _pixels(images: Tensor) -> Tensor:
    return images.permute(0, 2, 3, 1).reshape(-1, 3)


def _with_one(pixels: Tensor) -> Tensor:
    return torch.cat([pixels, torch.ones_like(pixels[:, :1])], dim=1)
