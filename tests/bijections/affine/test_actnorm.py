from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from linearizer_core.bijections import ActNorm
from linearizer_core.errors import NotInitializedError


@pytest.mark.parametrize("shape", [(3,), (3, 4, 5)])
def test_the_first_batch_becomes_standard(shape: tuple[int, ...]) -> None:
    norm = ActNorm(shape).double()
    x = 5 * torch.randn(50, *shape, dtype=torch.float64) + 2
    z = norm(x).transpose(0, 1).flatten(1)
    assert z.mean(1).abs().max() < 1e-12
    assert (z.var(1, correction=0) - 1).abs().max() < 1e-12


def test_only_the_first_batch_counts() -> None:
    norm = ActNorm((3,))
    norm(torch.randn(10, 3))
    before = copy.deepcopy(norm.state_dict())
    norm(100 * torch.randn(10, 3))
    assert all(torch.equal(norm.state_dict()[key], value) for key, value in before.items())


def test_nothing_works_before_initialisation() -> None:
    norm = ActNorm((3,))
    x = torch.zeros(2, 3)
    for call in (norm.inverse, norm.inverse_and_logdet, norm.inv, norm.eval()):
        with pytest.raises(NotInitializedError, match="once in training mode"):
            call(x)
    assert not norm.initialized


def test_a_loaded_state_is_not_initialised_again() -> None:
    norm = ActNorm((3,))
    x = torch.randn(10, 3)
    z = norm(x)
    loaded = ActNorm((3,))
    loaded.load_state_dict(norm.state_dict())
    assert torch.equal(loaded.train()(100 * x), norm(100 * x))
    assert torch.equal(loaded.inverse(z), norm.inverse(z))


def test_loading_a_fresh_state_asks_for_initialisation_again() -> None:
    norm = ActNorm((3,))
    norm(torch.randn(10, 3))
    norm.load_state_dict(ActNorm((3,)).state_dict())
    with pytest.raises(NotInitializedError):
        norm.inverse(torch.zeros(1, 3))


def test_constant_channels_and_single_examples_are_only_centred() -> None:
    norm = ActNorm((2,))
    z = norm(torch.tensor([[7.0, 1.0], [7.0, 3.0]]))
    assert torch.allclose(z, torch.tensor([[0.0, -1.0], [0.0, 1.0]]))
    assert torch.equal(ActNorm((2,))(torch.tensor([[7.0, 1.0]])), torch.zeros(1, 2))


@pytest.mark.parametrize("batch", [torch.zeros(0, 2, 3), torch.tensor([[1.0, 2.0], [3.0, torch.nan]]), torch.tensor([[1.0, torch.inf]])])
def test_no_initialisation_without_finite_examples(batch: torch.Tensor) -> None:
    norm = ActNorm(tuple(batch.shape[1:]))
    with pytest.raises(NotInitializedError, match=r"cannot be set from \d values a channel with sums .* once in training mode on such a batch"):
        norm(batch)
    assert not norm.initialized
    assert not any(parameter.any() for parameter in norm.parameters())
    x = torch.randn(9, *batch.shape[1:])
    fresh = ActNorm(tuple(batch.shape[1:]))
    assert torch.equal(norm(x), fresh(x))  # as if nothing had been


@pytest.mark.parametrize("training", [True, False])
def test_an_empty_batch_passes_through_once_initialised(training: bool) -> None:
    norm = ActNorm((3, 4, 5))
    norm(torch.randn(6, 3, 4, 5))
    norm.train(training)
    for call in (norm.forward_and_logdet, norm.inverse_and_logdet):
        z, logdet = call(torch.zeros(0, 3, 4, 5))
        assert (z.shape, logdet.shape) == ((0, 3, 4, 5), (0,))


def initialise_on_one_of_two(rank: int, folder: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    norm = ActNorm((3,))
    norm(torch.load(f"{folder}/batch.pt")[rank::2])
    torch.save(norm.state_dict(), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_processes_agree_on_the_statistics_of_all_batches(tmp_path: Path) -> None:
    check_two_processes(tmp_path, torch.randn(11, 3) * torch.tensor([1.0, 2.0, 3.0]))


def test_a_process_without_examples_takes_the_statistics_of_the_others(tmp_path: Path) -> None:
    check_two_processes(tmp_path, torch.randn(1, 3))


def check_two_processes(tmp_path: Path, batch: torch.Tensor) -> None:
    torch.save(batch, tmp_path / "batch.pt")
    multiprocessing.spawn(initialise_on_one_of_two, args=(str(tmp_path),), nprocs=2)
    alone = ActNorm((3,))
    alone(batch)
    for rank in range(2):
        state = torch.load(tmp_path / f"{rank}.pt")
        assert all(torch.allclose(state[key], value) for key, value in alone.state_dict().items())
