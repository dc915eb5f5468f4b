from __future__ import annotations

import sys
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from linearizer_core.bijections import TimmConditioner
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError, ConditionError
from linearizer_core.extras import missing_extra

Block = Literal["vit", "convnext"]
BLOCKS: list[Block] = ["vit", "convnext"]


def conditioner(block: Block, *, grid: tuple[int, int] = (4, 6), patch: int = 2, depth: int = 2, categories: dict[str, int] | None = None) -> TimmConditioner:
    """A small one in float64 whose weights are not the initial ones."""
    torch.manual_seed(0)
    made = TimmConditioner(2, 3, block=block, grid=grid, width=8, depth=depth, heads=2, patch=patch, categories=categories).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return made


@pytest.fixture(params=BLOCKS)
def block(request: pytest.FixtureRequest) -> Block:
    kind: Block = request.param
    return kind


def test_the_output_starts_at_zero(block: Block) -> None:
    made = TimmConditioner(2, 3, block=block, grid=(4, 6), width=8, depth=2, patch=2, categories={"label": 2})
    assert torch.equal(made(torch.randn(1, 2, 4, 6), Condition(label=torch.tensor([1]))), torch.zeros(1, 3, 4, 6))


@pytest.mark.parametrize("patch", [1, 2])
def test_patches_stay_where_they_are(block: Block, patch: int) -> None:
    made = conditioner(block, patch=patch, depth=0)
    x = torch.randn(1, 2, 4, 6, dtype=torch.float64)
    touched = x.clone()
    touched[:, :, 2:4, 4:6] += 1
    changed = (made(touched) - made(x)).abs().sum((0, 1)) > 0
    expected = torch.zeros(4, 6, dtype=torch.bool)
    expected[2:4, 4:6] = True
    assert torch.equal(changed, expected)


def reached_by_the_corner(block: Block) -> Tensor:
    made = conditioner(block, grid=(9, 11), patch=1, depth=1)
    x = torch.zeros(1, 2, 9, 11, dtype=torch.float64)
    touched = x.clone()
    touched[..., 0, 0] = 1
    return (made(touched) - made(x)).abs().sum((0, 1)) > 0


def test_attention_sees_everything_and_convolution_its_neighbourhood() -> None:
    assert bool(reached_by_the_corner("vit").all())
    reached = reached_by_the_corner("convnext")
    assert bool(reached[:4, :4].all())
    assert not bool(reached[4:].any() | reached[:, 4:].any())


def test_positions_are_told_apart() -> None:
    output = conditioner("vit", patch=1)(torch.zeros(1, 2, 4, 6, dtype=torch.float64))
    flat = output.flatten(2)[0].T
    assert float(torch.pdist(flat.detach()).min()) > 1e-3


def test_the_condition_is_used_and_required(block: Block) -> None:
    made = conditioner(block, categories={"label": 2, "style": 3})
    x = torch.zeros(1, 2, 4, 6, dtype=torch.float64)
    label, style = torch.tensor([0]), torch.tensor([2])
    output = made(x, Condition(label=label, style=style))
    assert (output - made(x, Condition(label=label + 1, style=style))).abs().max() > 1e-3
    assert (output - made(x, Condition(label=label, style=style - 1))).abs().max() > 1e-3
    pair = made(x.expand(2, -1, -1, -1), Condition(label=torch.tensor([0, 1]), style=style))
    assert torch.allclose(pair[:1], output, rtol=1e-12)
    assert (pair[0] - pair[1]).abs().max() > 1e-3
    with pytest.raises(ConditionError, match="style"):
        made(x, Condition(label=label))


@settings(deadline=None, max_examples=15)
@given(st.sampled_from(BLOCKS), st.integers(1, 5), st.integers(1, 5), st.integers(1, 3), st.integers(1, 4))
def test_any_grid_any_batch(block: Block, rows: int, columns: int, patch: int, batch: int) -> None:
    grid = (rows * patch, columns * patch)
    made = conditioner(block, grid=grid, patch=patch, depth=1)
    x = torch.randn(batch, 2, *grid, dtype=torch.float64)
    output = made(x)
    assert output.shape == (batch, 3, *grid)
    assert torch.allclose(made(x[:1]), output[:1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("patch", [1, 2])
def test_an_empty_batch_passes_through(block: Block, patch: int) -> None:
    made = conditioner(block, patch=patch, categories={"label": 2})
    x = torch.zeros(0, 2, 4, 6, dtype=torch.float64, requires_grad=True)
    output = made(x, Condition(label=torch.zeros(0, dtype=torch.int64)))
    assert output.shape == (0, 3, 4, 6)
    output.sum().backward()
    assert x.grad is not None
    assert x.grad.shape == x.shape


@pytest.mark.parametrize("patch", [2, 3])
def test_patches_hold_pixels_in_the_order_of_torch(block: Block, patch: int) -> None:
    # Saved weights depend on it.
    made = conditioner(block, grid=(6, 12), patch=patch, depth=0)
    x = torch.randn(2, 2, 6, 12, dtype=torch.float64)
    tokens = made.first(functional.pixel_unshuffle(x, patch).permute(0, 2, 3, 1)) + made.positions
    expected = functional.pixel_shuffle(made.last(made.norm(tokens)).permute(0, 3, 1, 2), patch)
    torch.testing.assert_close(made(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("autocast", [False, True])
def test_gradients_and_modes_change_no_bit(block: Block, dtype: torch.dtype, autocast: bool) -> None:
    made = conditioner(block, grid=(10, 14)).to(dtype)
    x = torch.randn(5, 2, 10, 14, dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast and dtype == torch.float32):
        output = made.train()(x)
        with torch.no_grad():
            others = [made(x), made.eval()(x)]
        others += [made(x.clone().requires_grad_()), made.requires_grad_(False)(x)]
    assert all(torch.equal(output, other) for other in others)


def test_attention_can_be_differentiated_twice() -> None:
    made = conditioner("vit", depth=1)
    x = torch.randn(1, 2, 4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(made, (x,), fast_mode=True)


def test_compiles_without_graph_breaks(block: Block) -> None:
    made = conditioner(block)
    x = torch.randn(1, 2, 4, 6, dtype=torch.float64)
    torch.compiler.reset()
    assert torch.allclose(torch.compile(made, backend="eager", fullgraph=True)(x), made(x), rtol=1e-12)


def test_a_fresh_object_takes_the_weights(block: Block) -> None:
    made = conditioner(block)
    fresh = TimmConditioner(2, 3, block=block, grid=(4, 6), width=8, depth=2, heads=2, patch=2).double()
    fresh.load_state_dict(made.state_dict())
    x = torch.randn(1, 2, 4, 6, dtype=torch.float64)
    assert torch.equal(fresh(x), made(x))


# --- far off the data ----------------------------------------------------------------------------------


def test_outputs_are_bounded(block: Block) -> None:
    made = conditioner(block)
    x = torch.randn(20, 2, 4, 6, dtype=torch.float64)
    outputs = [made(size * x).detach().abs().max() for size in (1e2, 1e8)]
    assert float(outputs[1]) < 1.5 * float(outputs[0])


def test_nearly_constant_tokens_are_not_blown_up(block: Block) -> None:
    # Tokens without position and bias: with the usual 1e-6 in the normalisations the gain here is a thousand times that of a token of size one.
    made = conditioner(block)
    with torch.no_grad():
        made.positions.zero_()
        made.first.bias.zero_()
    gains = []
    for size in (0.0, 1.0):
        x = size * torch.randn(1, 2, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        jacobian = torch.autograd.functional.jacobian(made, x).reshape(72, 48)
        gains.append(float(torch.linalg.matrix_norm(jacobian, 2)))
    assert gains[0] < 10 * gains[1]


def test_no_normalisation_amplifies_more_than_3_2_times(block: Block) -> None:
    made = TimmConditioner(2, 3, block=block, grid=(4, 6), width=8, depth=1, patch=2)
    norms = [module for module in made.modules() if isinstance(module, nn.LayerNorm)]
    assert len(norms) == (5 if block == "vit" else 2)  # two and those of queries and keys, or one; and the last
    for norm in norms:
        steepest = torch.autograd.functional.jacobian(norm, torch.zeros(norm.normalized_shape))
        assert 3.1 < float(torch.linalg.matrix_norm(steepest, 2)) < 3.2


# --- what is refused ----------------------------------------------------------------------------------


def test_nothing_drops_or_gathers_statistics(block: Block) -> None:
    names = {type(module).__name__ for module in conditioner(block).modules()}
    assert not any("Drop" in name or "BatchNorm" in name for name in names)


class _Dropping(nn.Module):
    def __init__(self, *args: object, **options: object) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Dropout(0.0), nn.Dropout(0.1))
        self.attn = nn.Module()


class _Skipping(_Dropping):
    def __init__(self, *args: object, **options: object) -> None:
        from timm.layers import DropPath

        super().__init__()
        self.inner = nn.Sequential(DropPath(0.0), DropPath(0.2))


class _Gathering(_Dropping):
    def __init__(self, *args: object, **options: object) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Identity(), nn.BatchNorm2d(8))


@pytest.mark.parametrize(("made", "culprit"), [(_Dropping, "Dropout"), (_Skipping, "DropPath"), (_Gathering, "BatchNorm2d")])
def test_blocks_that_are_random_in_training_are_refused(block: Block, made: type, culprit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target = {"vit": "timm.models.vision_transformer.Block", "convnext": "timm.models.convnext.ConvNeXtBlock"}[block]
    monkeypatch.setattr(target, made)
    with pytest.raises(BijectionError, match=rf"holds inner\.1, a {culprit}; .*another version of timm"):
        conditioner(block)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BijectionError, match="patches of 4x4 do not tile a grid of 8x6; choose a common divisor"):
        TimmConditioner(1, 1, block="vit", grid=(8, 6), width=8, depth=1, patch=4)
    with pytest.raises(BijectionError, match="width 10 is no multiple of heads 4"):
        TimmConditioner(1, 1, block="vit", grid=(8, 6), width=10, depth=1)
    assert TimmConditioner(1, 1, block="convnext", grid=(8, 6), width=10, depth=1)(torch.zeros(1, 1, 8, 6)).shape == (1, 1, 8, 6)


def test_without_timm_the_extra_is_named(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "timm"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        conditioner(block)
    assert missing_extra(caught.value) == "the package 'timm' is not installed; pip install 'linearizer[timm]'"
