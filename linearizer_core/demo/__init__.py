"""The contract of the demo: tabs that plugins provide, what a visitor sets in them, and what is shown. Knows no user interface."""

from linearizer_core.demo.controls import Choice, Control, Picture, Seed, Sketch, Slider, Toggle, Weights
from linearizer_core.demo.tab import Fact, Output, Shown, Tab

__all__ = ["Choice", "Control", "Fact", "Output", "Picture", "Seed", "Shown", "Sketch", "Slider", "Tab", "Toggle", "Weights"]
