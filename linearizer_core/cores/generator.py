"""A core whose operator generates a flow in continuous time."""

from __future__ import annotations

from abc import ABC

import torch
from torch import Tensor, nn

from linearizer_core.cores.base import CoreOperator
from linearizer_core.errors import ShapeMismatchError
from linearizer_core.operators import Dense, LinearOperator


class GeneratorCore(CoreOperator, ABC):
    r"""The generator A of a flow :math:`\dot z = A z`, so that :math:`z(t) = e^{tA} z(0)` for every real t.

    With ``controls`` m > 0 the flow is driven, :math:`\dot z = A z + B u`, by inputs u that are constant over each interval: `drive`.

    Note to implementers. A generator MUST call ``super().__init__(dim)`` and implement ``operator``. One whose generator depends on where z is, overrides
    `generator_at` and `evolve`, which must agree: ``evolve(z, t) = generator_at(z).expm(t)(z)``. That is a flow (:math:`f_s \circ f_t = f_{s+t}`) exactly
    when the generator depends on z through invariants of its own flow only. ``operator()`` then is the generator at z = 0.

    Arguments:
        dim: D, the size of the latents.
        controls: m, the number of inputs; each has a learned column of B.
    """

    def __init__(self, dim: int, *, controls: int = 0) -> None:
        super().__init__((dim, dim))
        self.dim = dim
        self.controls = controls
        if controls:
            self.inputs = nn.Parameter(torch.randn(dim, controls) / dim**0.5)

    def generator_at(self, z: Tensor) -> LinearOperator:
        """The generator of the orbit through one latent ``z`` ``(D,)``: the same everywhere, unless it depends on invariants."""
        return self.operator()

    def evolve(self, z: Tensor, t: float | Tensor) -> Tensor:
        """Latents ``(..., D)`` after the times ``t``, any real numbers that broadcast against the leading dimensions. Differentiable: training runs through it.

        Example:
            >>> import torch
            >>> from linearizer_core import create_core
            >>> core = create_core("generator", (4, 4))
            >>> z = torch.randn(2, 4)
            >>> torch.allclose(core.evolve(core.evolve(z, 0.7), -0.7), z, atol=1e-6)
            True
        """
        return self.operator().evolve(z, t)

    def drive(self, z: Tensor, t: float | Tensor, control: Tensor) -> Tensor:
        r"""The same under constant inputs, ``control`` ``(..., m)`` beside ``z`` ``(..., D)``: :math:`e^{tA} z + \int_0^t e^{(t-s)A} B u \, ds`.

        Both terms come from one exponential, of the augmented generator :math:`\begin{pmatrix} A & B \\ 0 & 0 \end{pmatrix}` on (z, u).

        Raises:
            ShapeMismatchError: for another number of inputs than ``controls``.
        """
        if not self.controls or control.shape[-1] != self.controls:
            raise ShapeMismatchError(f"{control.shape[-1]} control inputs, but the core takes {self.controls}; set core.controls to the inputs of the data")
        matrix = self.operator().to_dense()
        top = torch.cat([matrix, self.inputs.to(matrix.dtype)], dim=1)
        augmented = torch.cat([top, matrix.new_zeros(self.controls, top.shape[1])])
        joined = torch.cat([z, control.to(z.dtype)], dim=-1)
        return Dense(augmented).evolve(joined, t)[..., : self.dim]
