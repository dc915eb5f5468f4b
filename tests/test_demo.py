"""Controls of the demo: what they accept, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from linearizer_core.demo import Choice, Control, Picture, Seed, Sketch, Slider, Toggle, Weights
from linearizer_core.demo.controls import LARGEST_SEED, MOST_WEIGHTS
from linearizer_core.errors import ConfigError

EXAMPLES = torch.rand(3, 1, 4, 4)
WHOLE = Slider("rank", "Rank", minimum=1, maximum=8, value=4)
REAL = Slider("strength", "Strength", minimum=-1, maximum=2, value=1, step=0.05)
STYLES = Weights("styles", "Styles", names=("candy", "udnie"), value={"candy": 1.0})
PICTURE = Picture("picture", "Picture", shape=(1, 4, 4), examples=EXAMPLES, value=1)
ANY = Picture("upload", "Upload")
SKETCH = Sketch("sketch", "Sketch", shape=(1, 4, 4))


@pytest.mark.parametrize(
    ("control", "given", "meant"),
    [
        (WHOLE, None, 4),
        (WHOLE, 8, 8),
        (WHOLE, 3.0, 3),
        (REAL, None, 1.0),
        (REAL, -1, -1.0),
        (Seed(), None, 0),
        (Seed(), LARGEST_SEED, LARGEST_SEED),
        (Seed(), 7.0, 7),
        (Choice("solver", "Solver", options=("euler", "rk4")), None, "euler"),
        (Choice("solver", "Solver", options=("euler", "rk4"), value="rk4"), None, "rk4"),
        (Toggle("noisy", "Noisy"), None, False),
        (Toggle("noisy", "Noisy"), True, True),
        (STYLES, None, {"candy": 1.0, "udnie": 0.0}),
        (STYLES, {"udnie": 1}, {"candy": 0.0, "udnie": 1.0}),
        (Picture("picture", "Picture", optional=True), None, None),
        (SKETCH, None, None),
        (SKETCH, torch.zeros(1, 4, 4), None),
    ],
)
def test_what_is_meant(control: Control, given: Any, meant: Any) -> None:
    accepted = control.accept(given)
    assert accepted == meant
    assert type(accepted) is type(meant)


def test_pictures() -> None:
    upload, photo = torch.rand(1, 4, 4), torch.rand(3, 7, 9)
    assert torch.equal(_tensor(PICTURE, None), EXAMPLES[1])
    assert torch.equal(_tensor(PICTURE, 0), EXAMPLES[0])
    assert torch.equal(_tensor(PICTURE, upload), upload)
    assert torch.equal(_tensor(ANY, photo), photo)
    assert torch.equal(_tensor(SKETCH, upload), upload)


@pytest.mark.parametrize(
    ("control", "given", "words"),
    [
        (WHOLE, 9, "rank = 9: expected a number from 1 to 8"),
        (WHOLE, "4", "rank = '4'"),
        (WHOLE, True, "rank = True"),
        (REAL, float("nan"), "strength = nan: expected a number from -1 to 2"),
        (Seed(), -1, "seed = -1"),
        (Seed(), 0.5, "seed = 0.5: expected a whole number"),
        (Seed(), float("inf"), "seed = inf"),
        (Choice("solver", "Solver", options=("euler", "rk4")), "heun", "one of euler, rk4"),
        (Choice("solver", "Solver", options=("euler", "rk4")), ["euler"], "one of euler, rk4"),
        (Toggle("noisy", "Noisy"), 1, "noisy = 1: expected true or false"),
        (STYLES, {"mosaic": 1.0}, "the names among candy, udnie"),
        (STYLES, {"candy": 2.0}, "candy is out of range"),
        (STYLES, [1.0], "a number for each name"),
        (PICTURE, 3, "the number of an example, 0 to 2"),
        (PICTURE, torch.rand(3, 4, 4), "a picture of shape (1, 4, 4)"),
        (ANY, None, "upload one"),
        (ANY, 0, "expected a picture"),
        (ANY, torch.rand(4, 4), "(3, H, W)"),
        (SKETCH, torch.rand(1, 5, 5), "a drawing of shape (1, 4, 4)"),
        (SKETCH, "x", "a drawing of shape (1, 4, 4)"),
    ],
)
def test_what_is_refused(control: Control, given: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        control.accept(given)
    assert words in str(caught.value)


def test_too_many_weights() -> None:
    with pytest.raises(ConfigError, match=f"expected 1 to {MOST_WEIGHTS}"):
        Weights("styles", "Styles", names=tuple(map(str, range(MOST_WEIGHTS + 1))), value={})


def _tensor(control: Control, given: Any) -> torch.Tensor:
    accepted = control.accept(given)
    assert isinstance(accepted, torch.Tensor)
    return accepted
