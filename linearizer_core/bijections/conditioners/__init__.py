"""Networks that a coupling may use: any function of the kept part, starting at zero.

- `MLPConditioner`: for vectors
- `ConvConditioner`: for images
- `ResNetConditioner`: for images, deeper
- `UNetConditioner`: for images, at several resolutions
- `TimmConditioner`: for images, of timm's blocks (attention, large convolutions)
- `ConditionEmbedding`: labels as vectors, for conditioners of your own
"""

from linearizer_core.bijections.conditioners.conv import ConvConditioner
from linearizer_core.bijections.conditioners.embedding import ConditionEmbedding
from linearizer_core.bijections.conditioners.mlp import MLPConditioner
from linearizer_core.bijections.conditioners.resnet import ResNetConditioner
from linearizer_core.bijections.conditioners.timm_blocks import TimmConditioner
from linearizer_core.bijections.conditioners.unet import UNetConditioner

__all__ = ["ConditionEmbedding", "ConvConditioner", "MLPConditioner", "ResNetConditioner", "TimmConditioner", "UNetConditioner"]
