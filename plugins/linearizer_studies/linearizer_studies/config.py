"""Options of the studies. Torch-free."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt

Precision = Literal["float64", "float32", "bfloat16"]
"""float64 and float32 as they are; bfloat16: the conditioners under autocast, the stream in float32."""


class StudyConfig(BaseModel):
    """What all studies can be told.

    Example:
        >>> StudyConfig(condition={"style": 2}).condition
        {'style': 2}
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    condition: dict[str, NonNegativeInt] = Field(
        {}, description="categories of a core that takes some, such as condition.label=3; its own choice when left out"
    )


class IntegrationConfig(StudyConfig):
    """Options of the study ``integration``."""

    steps: tuple[PositiveInt, ...] = Field((1, 2, 4, 8, 16, 32, 64, 128), min_length=1, description="the numbers of solver steps T")
    solvers: tuple[str, ...] | None = Field(None, description="solvers of the core; all but its closed form when none")
    terminals: tuple[Literal["early", "last_step", "limit"], ...] | None = Field(None, description="rules for the end of the flow; all of the core when none")
    examples: int = Field(64, ge=2, description="noise vectors, the same for everything compared")
    images: int = Field(16, ge=1, description="of these, how many are decoded")
    tol: PositiveFloat = Field(1e-12, description="error of the exact flow where the core has no closed form for it, as an operator")
    goals: tuple[PositiveFloat, ...] = Field((1e-3, 1e-6), description="relative errors for which the smallest T is reported")


class InvertibilityConfig(StudyConfig):
    """Options of the study ``invertibility``."""

    examples: int = Field(64, ge=2, description="inputs of each kind")
    precisions: tuple[Precision, ...] = Field(("float64", "float32", "bfloat16"), min_length=1, description="precisions that are compared")
    searched: int = Field(16, ge=1, description="test examples from which the search for the worst round trip starts")
    search_steps: int = Field(20, ge=1, description="points that the search visits from each start")
    noise: PositiveFloat = Field(0.1, description="deviation of the noise that is added to test examples, in units of their range")
    layers: bool = Field(True, description="name the layer that does the most harm")
    checkpoints: bool = Field(True, description="measure every checkpoint of the run, where there are some")


class SpectrumConfig(StudyConfig):
    """Options of the study ``spectrum``."""

    vectors: int = Field(6, ge=1, description="singular vectors shown")
    examples: int = Field(200, ge=2, description="test examples")
    ranks: tuple[PositiveInt, ...] = Field((1, 2, 4, 8, 16, 32, 64, 128, 256), description="numbers of triplets from which outputs are rebuilt, up to the rank")
    strength: PositiveFloat = Field(2.0, description="how far from the mean the pictures go, in deviations of the test latents along the vector")
    origin: Literal["mean", "zero"] = Field("mean", description="the latent around which vectors are shown: the mean of the test latents, or zero")


class NullspaceConfig(StudyConfig):
    """Options of the study ``nullspace``."""

    directions: int = Field(4, ge=1, description="null directions shown")
    examples: int = Field(200, ge=2, description="test examples")
    strength: PositiveFloat = Field(8.0, description="how far inputs are moved, in deviations of the test latents along the direction")
    rtol: float = Field(1e-6, gt=0, lt=1, description="singular values up to this part of the largest count as zero")


class RankConfig(StudyConfig):
    """Options of the study ``rank``."""

    mode: Literal["truncate", "retrain"] = Field("truncate", description="cut the operator of the trained model, or train a model for each rank")
    ranks: tuple[PositiveInt, ...] = Field((1, 2, 4, 8, 16, 32, 64, 128, 256), min_length=1, description="the ranks; truncate: those up to the rank it has")
    samples: int = Field(2000, ge=100, description="generated examples in each Frechet distance")
    examples: int = Field(500, ge=2, description="test examples that are reconstructed")
    key: str = Field("rank", description="retrain: the option of the core that holds its rank")


class InterpolationConfig(StudyConfig):
    """Options of the study ``interpolation``."""

    pairs: int = Field(500, ge=2, description="pairs of test examples, of different classes where there are classes")
    points: int = Field(17, ge=3, description="points on each line, an odd number so that one lies in the middle")
    shown: int = Field(3, ge=1, description="lines shown")
