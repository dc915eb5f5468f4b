"""Many operators at once, in coordinates in which they multiply as numbers and small matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from linearizer_core.operators.matrix_functions import expm


@final
@dataclass(frozen=True)
class Coordinates:
    """N operators, each given by m ``numbers`` ``(N, m)`` and one matrix ``(N, R, R)``: sums, products and exponentials act on both, one by one.

    What the numbers and the matrix mean is said by a `Frame`.
    """

    numbers: Tensor
    matrices: Tensor

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Tensor) -> Coordinates:
        return Coordinates(self.numbers[index], self.matrices[index])

    def __add__(self, other: Coordinates) -> Coordinates:
        return Coordinates(self.numbers + other.numbers, self.matrices + other.matrices)

    def __sub__(self, other: Coordinates) -> Coordinates:
        return Coordinates(self.numbers - other.numbers, self.matrices - other.matrices)

    def __mul__(self, factor: float | Tensor) -> Coordinates:
        """Times one number, or times one number each, ``(N,)``."""
        if isinstance(factor, Tensor) and factor.ndim:
            return Coordinates(self.numbers * factor[:, None], self.matrices * factor[:, None, None])
        return Coordinates(self.numbers * factor, self.matrices * factor)

    def __matmul__(self, other: Coordinates) -> Coordinates:
        return Coordinates(self.numbers * other.numbers, self.matrices @ other.matrices)

    def expm(self) -> Coordinates:
        return Coordinates(self.numbers.exp(), expm(self.matrices))

    def identity(self) -> Coordinates:
        """As many identities."""
        size = self.matrices.shape[-1]
        one = torch.eye(size, dtype=self.matrices.dtype, device=self.matrices.device)
        return Coordinates(torch.ones_like(self.numbers), one.expand_as(self.matrices))

    def product(self) -> Coordinates:
        """The product of all N, the last one leftmost, by pairs: as many multiplications as one after another, in log2(N) batches."""
        whole = self
        while len(whole) > 1:
            even = len(whole) // 2 * 2
            pairs = Coordinates(whole.numbers[1:even:2] * whole.numbers[0:even:2], whole.matrices[1:even:2] @ whole.matrices[0:even:2])
            whole = Coordinates(torch.cat([pairs.numbers, whole.numbers[even:]]), torch.cat([pairs.matrices, whole.matrices[even:]]))
        return whole
