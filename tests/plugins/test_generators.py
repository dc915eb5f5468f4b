"""The core `generator`: every structure and spectrum, frequencies that depend on invariants, and control inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from linearizer_core.cores import GeneratorCore
from linearizer_core.errors import ConfigError, ShapeMismatchError
from linearizer_core.factory import create_core
from linearizer_core.operators import DecayRotation, Dense, Diagonal, LowRank

STRUCTURES = ("decay_rotation", "dense", "diagonal", "low_rank")


def moved(**options: Any) -> GeneratorCore:
    """A generator whose parameters have left their start, float64."""
    dim = options.pop("dim", 6)
    torch.manual_seed(options.pop("seed", 0))
    core = create_core("generator", (dim, dim), **options).double()
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.add_(torch.randn_like(parameter))
    assert isinstance(core, GeneratorCore)
    return core


def test_every_structure_gives_its_operator() -> None:
    kinds = {structure: type(moved(structure=structure).operator()) for structure in STRUCTURES}
    assert kinds == {"decay_rotation": DecayRotation, "dense": Dense, "diagonal": Diagonal, "low_rank": LowRank}


@settings(deadline=None, max_examples=30)
@given(structure=st.sampled_from(STRUCTURES), seed=st.integers(0, 1000), t=st.floats(0, 20))
def test_stable_ones_never_let_a_latent_grow(structure: str, seed: int, t: float) -> None:
    core = moved(structure=structure, spectrum="stable", seed=seed)
    matrix = core.operator().to_dense()
    assert torch.linalg.eigvals(matrix).real.max() < 1e-12
    z = torch.randn(5, 6, dtype=torch.float64)
    assert bool((core.evolve(z, t).norm(dim=1) <= z.norm(dim=1) * (1 + 1e-12)).all())


@pytest.mark.parametrize("structure", ["decay_rotation", "dense", "low_rank"])
def test_conservative_ones_keep_the_length_of_a_latent(structure: str) -> None:
    core = moved(structure=structure, spectrum="conservative", dim=7)
    z = torch.randn(5, 7, dtype=torch.float64)
    assert torch.allclose(core.evolve(z, torch.linspace(-9, 9, 5)).norm(dim=1), z.norm(dim=1), rtol=1e-12)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), s=st.floats(-3, 3), t=st.floats(-3, 3))
def test_frequencies_that_depend_on_invariants_make_a_flow(seed: int, s: float, t: float) -> None:
    core = moved(spectrum="conservative", frequency_network=8, dim=5, seed=seed)
    z = torch.randn(4, 5, dtype=torch.float64)
    assert torch.allclose(core.evolve(core.evolve(z, s), t), core.evolve(z, s + t), atol=1e-12)
    orbits = torch.stack([core.generator_at(row).expm(t)(row) for row in z])
    assert torch.allclose(core.evolve(z, t), orbits, atol=1e-12)


def test_their_spectrum_is_continuous() -> None:
    core = moved(spectrum="conservative", frequency_network=8, dim=2)
    frequencies = torch.stack([core.generator_at(torch.tensor([radius, 0.0], dtype=torch.float64)).frequencies for radius in (0.0, 0.5, 1.0, 2.0)])
    assert len(torch.unique(frequencies)) == 4
    assert torch.equal(frequencies[0], core.operator().frequencies)


def test_harmonics_start_at_multiples_of_one_frequency() -> None:
    core = create_core("generator", (9, 9), frequency=2.0, harmonics=2, real=1)
    assert core.operator().frequencies.tolist() == [0.0, 2.0, 4.0, 0.0]
    assert create_core("generator", (9, 9), frequency=2.0, real=2).operator().rest.shape == (3,)


def test_inputs_drive_the_flow() -> None:
    core = moved(structure="diagonal", dim=3, controls=2)
    core.rates.data[0] = 0.0  # phi_1 does not divide by a rate
    a, b = core.operator().values, core.inputs
    z, u, t = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64), torch.linspace(-1, 2, 4, dtype=torch.float64)
    growth = torch.where(a == 0, t[:, None], torch.expm1(t[:, None] * a) / torch.where(a == 0, 1.0, a))
    expected = (t[:, None] * a).exp() * z + growth * (u @ b.T)
    assert torch.allclose(core.drive(z, t, u), expected, atol=1e-12)
    gradients = torch.autograd.grad(core.drive(z, t, u).sum(), [core.inputs, core.rates])
    assert all(bool(gradient.abs().sum() > 0) for gradient in gradients)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_driving_twice_is_driving_for_the_sum(structure: str) -> None:
    core = moved(structure=structure, spectrum="stable", controls=1)
    z, u = torch.randn(3, 6, dtype=torch.float64), torch.randn(3, 1, dtype=torch.float64)
    assert torch.allclose(core.drive(core.drive(z, 0.3, u), 0.9, u), core.drive(z, 1.2, u), atol=1e-10)
    assert torch.allclose(core.drive(z, 0.7, torch.zeros_like(u)), core.evolve(z, 0.7), atol=1e-12)


def test_what_does_not_fit_is_refused() -> None:
    z = torch.ones(2, 4)
    with pytest.raises(ShapeMismatchError, match=r"3 control inputs, but the core takes 2; set core\.controls"):
        create_core("generator", (4, 4), controls=2).drive(z, 1.0, torch.ones(2, 3))
    with pytest.raises(ShapeMismatchError, match="takes 0"):
        create_core("generator", (4, 4)).drive(z, 1.0, torch.ones(2, 1))
    with pytest.raises(ConfigError, match="never moves"):
        create_core("generator", (4, 4), structure="diagonal", spectrum="conservative")
    with pytest.raises(ConfigError, match="there is no flow"):
        create_core("generator", (4, 4), frequency_network=8)
    with pytest.raises(ConfigError, match="inputs change the radii"):
        create_core("generator", (4, 4), spectrum="conservative", frequency_network=8, controls=1)
    with pytest.raises(ShapeMismatchError, match="the rank"):
        create_core("generator", (4, 4), structure="low_rank", rank=5)
    with pytest.raises(ShapeMismatchError):
        create_core("generator", (4, 5))
