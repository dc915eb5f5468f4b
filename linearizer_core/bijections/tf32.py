"""Products in full float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def without_tf32(x: Tensor) -> Iterator[None]:
    """A context in which a GPU does not round the factors of float32 products to 11 bits, as torch lets it do in convolutions.

    A fixed point of a map so rounded is not known to more than three digits.
    """
    if not x.is_cuda:
        yield
        return
    # torch 2.9 renamed the switches, and refuses to read the old ones after the new ones were set.
    renamed = getattr(torch.backends.cudnn, "conv", None)
    name, off = ("allow_tf32", False) if renamed is None else ("fp32_precision", "ieee")
    switches = (renamed or torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [getattr(switch, name) for switch in switches]
    for switch in switches:
        setattr(switch, name, off)
    try:
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            setattr(switch, name, value)
