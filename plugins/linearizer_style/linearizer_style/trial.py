"""Small pairs of pictures on which the conformance kit tries the task."""

from __future__ import annotations

import torch

from linearizer_core.data import Splits
from linearizer_style.config import CropOptions
from linearizer_style.crops import Pair, crop_splits


def trial_splits() -> Splits:
    """A picture of waves, in exchanged colours and in negative colours."""
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(64), indexing="ij")
    waves = torch.stack([torch.sin(rows / 3), torch.cos(columns / 4), torch.sin((rows + columns) / 5)]) * 0.4 + 0.5
    content = (waves * 255).byte()
    pair = Pair("waves", content, torch.stack([content.flip(0), 255 - content]))
    return crop_splits("waves", [pair], ("exchanged", "negative"), CropOptions(crop=12, crops=20, validation=0.25, test=0.25))
