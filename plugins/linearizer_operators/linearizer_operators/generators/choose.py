"""The generator that the options describe."""

from __future__ import annotations

from linearizer_core.cores import GeneratorCore
from linearizer_core.errors import ConfigError
from linearizer_operators.config import GeneratorConfig
from linearizer_operators.generators.dense import DenseGenerator
from linearizer_operators.generators.diagonal import DiagonalGenerator
from linearizer_operators.generators.low_rank import LowRankGenerator
from linearizer_operators.generators.rotation import RotationGenerator
from linearizer_operators.shapes import square_dim


def generator(shape: tuple[int, int], config: GeneratorConfig, conditions: dict[str, int] | None = None) -> GeneratorCore:
    """The core ``generator`` of a square ``shape``.

    Raises:
        ShapeMismatchError: for a shape that is not square, or too small for the options.
        ConfigError: for a conservative diagonal, which would be zero.

    Example:
        >>> from linearizer_operators.config import GeneratorConfig
        >>> generator((5, 5), GeneratorConfig(spectrum="stable")).operator()
        DecayRotation(5 x 5, float32)
    """
    if config.structure == "low_rank":
        return LowRankGenerator(square_dim("generator", shape, config.rank), config)
    dim = square_dim("generator", shape)
    if config.structure == "dense":
        return DenseGenerator(dim, config)
    if config.structure == "diagonal":
        if config.spectrum == "conservative":
            raise ConfigError("core.structure = 'diagonal' with spectrum = 'conservative' never moves; use structure = 'decay_rotation', 'dense' or 'low_rank'")
        return DiagonalGenerator(dim, config)
    return RotationGenerator(square_dim("generator", shape, config.real or 1), config)
