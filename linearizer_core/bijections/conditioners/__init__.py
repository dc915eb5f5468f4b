"""Networks that a coupling may use: any function of the kept part, starting at zero.

- `MLPConditioner`: for vectors
- `ConvConditioner`: for images
- `ConditionEmbedding`: labels as vectors, for conditioners of your own
"""

from linearizer_core.bijections.conditioners.conv import ConvConditioner
from linearizer_core.bijections.conditioners.embedding import ConditionEmbedding
from linearizer_core.bijections.conditioners.mlp import MLPConditioner

__all__ = ["ConditionEmbedding", "ConvConditioner", "MLPConditioner"]
