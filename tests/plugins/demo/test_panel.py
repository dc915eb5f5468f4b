"""The result of a tab as HTML."""

from __future__ import annotations

from types import MappingProxyType

import torch

from linearizer_core.demo import Fact, Output, Shown
from linearizer_demo.engine import Result
from linearizer_demo.panel import draw


def test_any_mapping_of_outputs_is_drawn() -> None:
    shown = Shown(MappingProxyType({"b": torch.zeros(1, 1, 4, 4), "a": torch.ones(1, 1, 4, 4)}), [Fact("Sum", "3 <x>")], "Said `so`.")
    drawn = draw([Output("a", "First"), Output("b", "Second")], Result(shown, 0.5))
    assert drawn.index("First") < drawn.index("Second")
    assert drawn.count("<figure") == 2
    assert "<dd>3 &lt;x&gt;</dd>" in drawn
    assert "<p>Said <code>so</code>.</p>" in drawn
