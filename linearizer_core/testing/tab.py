"""The laws of a tab of the demo: what it offers is the same for all models, and whatever is set, it shows what it said it would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from linearizer_core.demo import Choice, Control, Output, Picture, Seed, Shown, Sketch, Slider, Tab, Toggle, Weights
from linearizer_core.demo.controls import LARGEST_SEED
from linearizer_core.errors import CheckFailure, ConfigError
from linearizer_core.figures.images import is_image
from linearizer_core.pretrained import Pretrained
from linearizer_core.testing.check import Check, Context, SkipCheck
from linearizer_core.testing.numerics import require_same_bits
from linearizer_core.testing.subjects import TabSubject

_UPLOAD = (3, 37, 52)
_PNG = b"\x89PNG\r\n\x1a\n"


def described(subject: TabSubject, context: Context) -> str:
    tab = subject.make()
    if missing := [name for name in ("title", "explanation") if not str(getattr(tab, name, "")).strip()]:
        raise CheckFailure(f"the tab has no {missing[0]}; say in a word, and in a sentence, what can be tried")
    outputs = list(tab.outputs())
    names = [output.name for output in outputs]
    if not outputs or len(set(names)) != len(names) or not all(output.label for output in outputs):
        raise CheckFailure(f"outputs() gives {names}, expected at least one, under different names and each with a label")
    return f"{tab.title}: {', '.join(names)}"


def lacks(subject: TabSubject, context: Context) -> str:
    tab, found = subject.make(), []
    for name, pretrained in subject.opened():
        said = tab.lacks(pretrained)
        if not isinstance(said, str) or said != said.strip():
            raise CheckFailure(f"lacks gives {said!r} for {name}, expected what it would need in a few words, or an empty text")
        found.append(f"{name}: {said or 'nothing'}")
    return "; ".join(found)


def controls(subject: TabSubject, context: Context) -> str:
    tab, first = subject.make(), None
    for name, pretrained in _usable(subject):
        offered = list(tab.controls(pretrained))
        kinds = [(control.name, type(control).__name__) for control in offered]
        if len(dict(kinds)) != len(kinds) or not all(str.isidentifier(each) for each, _ in kinds):
            raise CheckFailure(f"the controls are {kinds}, expected names that differ and can be keywords")
        first = first or kinds
        if kinds != first:
            raise CheckFailure(f"the controls for {name} are {kinds}, for another model {first}; ranges and options may differ, names, kinds and order may not")
        _values(offered)
    return ", ".join(f"{name} ({kind})" for name, kind in first or [])


def shows(subject: TabSubject, context: Context) -> str:
    tab, found = subject.make(), []
    for name, pretrained in _usable(subject):
        shown = _shown(tab, pretrained, f"{name}, as it is at first")
        found.append(f"{name}: {', '.join(f'{fact.label} {fact.value}' for fact in shown.facts)}")
    return "; ".join(found)


def ends(subject: TabSubject, context: Context) -> str:
    """Of the first model, since there may be many values."""
    tab, count = subject.make(), 0
    name, pretrained = next(_usable(subject))
    for control in tab.controls(pretrained):
        for value in _extremes(control):
            _shown(tab, pretrained, f"{name}, {control.name} = {_told(value)}", **{control.name: value})
            count += 1
    return f"{count} values"


def deterministic(subject: TabSubject, context: Context) -> None:
    tab = subject.make()
    models = list(_usable(subject))
    name, pretrained = models[0]
    before = {key: tensor.clone() for key, tensor in pretrained.model.state_dict().items()}
    first = _shown(tab, pretrained, name)
    torch.manual_seed(1)
    if len(models) > 1:
        _shown(tab, models[1][1], models[1][0])
    second = _shown(tab, pretrained, name)
    for output in tab.outputs():
        one, other = first.outputs[output.name], second.outputs[output.name]
        claim = f"{output.name} differs between two calls with the same values"
        if isinstance(one, Tensor) and isinstance(other, Tensor):
            require_same_bits(other, one, claim, "draw from a generator that the seed sets, and keep no state")
        elif one != other:
            raise CheckFailure(f"{claim}: a figure must show no time, and a tab keeps no state")
    for key, tensor in pretrained.model.state_dict().items():
        require_same_bits(tensor, before[key], f"showing the tab changed {key!r} of the model", "the model belongs to all visitors")


# --- what they share ---------------------------------------------------------------------------------


def _usable(subject: TabSubject) -> Iterator[tuple[str, Pretrained]]:
    """The models for which the tab lacks nothing, small examples first."""
    tab = subject.make()
    usable = [(name, pretrained) for name, pretrained in subject.opened() if not tab.lacks(pretrained)]
    if not usable:
        raise SkipCheck("there is no model for which the tab lacks nothing; give TabSubject some")
    return iter(sorted(usable, key=lambda pair: torch.Size(pair[1].config.data.shape).numel()))


def _values(offered: Sequence[Control], **given: Any) -> dict[str, Any]:
    """Accepted values of all controls: those that are given, else those to begin with; an upload for a picture that has none."""
    values = {}
    for control in offered:
        value = given.get(control.name)
        if value is None and isinstance(control, Picture) and control.examples is None and not control.optional:
            value = _picture(control.shape or _UPLOAD)
        try:
            values[control.name] = control.accept(value)
        except ConfigError as error:
            raise CheckFailure(f"{control.name} refuses {_told(value) if value is not None else 'the value it begins with'}: {error}") from error
    return values


def _shown(tab: Tab, pretrained: Pretrained, where: str, **given: Any) -> Shown:
    """What the tab shows, held to what it declares."""
    shown = tab.show(pretrained, **_values(tab.controls(pretrained), **given))
    declared = {output.name: output for output in tab.outputs()}
    if shown.outputs.keys() != declared.keys():
        raise CheckFailure(f"{where}: show gives {sorted(shown.outputs)}, outputs() declares {sorted(declared)}")
    for name, value in shown.outputs.items():
        if problem := _problem(declared[name], value):
            raise CheckFailure(f"{where}: {name} is {problem}")
    texts = [text for fact in shown.facts for text in (fact.label, fact.value)]
    if not all(isinstance(text, str) and text for text in texts) or not shown.sentence.strip():
        raise CheckFailure(f"{where}: facts {texts} and sentence {shown.sentence!r}, expected texts, and a sentence on what is to be seen")
    return shown


def _problem(output: Output, value: Tensor | bytes) -> str:
    """What is wrong with an output; empty where nothing is."""
    if output.kind == "figure":
        return "" if isinstance(value, bytes) and value.startswith(_PNG) else f"a {type(value).__name__}, expected the bytes of a PNG file"
    if not isinstance(value, Tensor) or value.ndim != 4 or not len(value) or not is_image(tuple(value.shape[1:])):
        return f"{tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__}, expected images (N, C, H, W) of one or three channels"
    if not value.dtype.is_floating_point or not bool(value.isfinite().all()) or float(value.min()) < 0 or float(value.max()) > 1:
        return f"{value.dtype} from {float(value.min()):g} to {float(value.max()):g}, expected real numbers in [0, 1]"
    return "one frame, expected at least two" if output.kind == "film" and len(value) < 2 else ""


def _extremes(control: Control) -> Sequence[Any]:
    """Values at which something might break."""
    match control:
        case Slider():
            return control.minimum, control.maximum
        case Seed():
            return (LARGEST_SEED,)
        case Choice():
            return control.options
        case Toggle():
            return False, True
        case Weights():
            return [dict.fromkeys(control.names, bound) for bound in (control.minimum, control.maximum)]
        case Picture():
            uploads = [_picture(control.shape or _UPLOAD)]
            return uploads if control.examples is None else [*uploads, len(control.examples) - 1]
        case Sketch():
            return [_picture(control.shape)]
        case _:
            return ()


def _picture(shape: tuple[int, int, int]) -> Tensor:
    """A bright bar on black."""
    picture = torch.zeros(shape)
    picture[:, shape[1] // 4 : -(shape[1] // 4), shape[2] // 2] = 1
    return picture


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        return "all " + "/".join(sorted({f"{number:g}" for number in value.values()}))
    return f"an upload of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)


CHECKS = tuple(
    Check(name, "tab", law, function)
    for name, law, function in (
        ("described", "it has a title, an explanation, and outputs of different names", described),
        ("lacks", "what it would need of a model is said in words, or nothing", lacks),
        ("controls", "names, kinds and order of the controls are the same for all models, and what they begin with is accepted", controls),
        ("shows", "for every model that lacks nothing, it shows each output as declared, and says what is to be seen", shows),
        ("ends", "it works at both ends of every slider, for every option, with uploads and drawings", ends),
        ("deterministic", "the same values show the same, whatever was shown before, and no call changes the model", deterministic),
    )
)
