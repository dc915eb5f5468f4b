"""Styles as matrices: mixed with any weights, at any strength, one after another, undone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from linearizer_core.errors import ConfigError
from linearizer_core.linearizer import Linearizer
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import LinearOperator, ScaledIdentity
from linearizer_core.validation import nearest
from linearizer_style.stage import style_operator


@dataclass(frozen=True)
class StyleMixer:
    r"""The operators of the styles of a model, under their names.

    A mix is :math:`(1 - \sigma)\, I + \sigma \sum_k w_k A_k`. The weights are taken as they are: those of a blend sum to 1, larger ones exaggerate, negative
    ones move away from a style. The strength :math:`\sigma` is 1 for the mix itself and 0 for the identity, which gives the picture back where content and
    stylised pictures share one bijection. It may lie beyond both.

    Arguments:
        model: a trained model of the task ``style``.
        names: the names of its styles, in the order of their labels.

    Raises:
        ConfigError: by every method, for a style that the model does not have.

    Example:
        >>> import torch
        >>> from linearizer_core import LinearizerModel, create_core
        >>> from linearizer_core.bijections import Identity
        >>> model = LinearizerModel(Identity((3, 4, 4)), create_core("convolution", (48, 48), conditions={"label": 2}, channels=3))
        >>> mixer = StyleMixer(model, ("candy", "udnie"))
        >>> blend = mixer.mix({"candy": 0.3, "udnie": 0.7})
        >>> x = torch.rand(1, 3, 4, 4)
        >>> torch.allclose(mixer.mix({"candy": 1.0}, strength=0.0)(x), x)
        True
    """

    model: LinearizerModel
    names: tuple[str, ...]

    def operator(self, style: str) -> LinearOperator:
        """A_s of one style."""
        if style not in self.names:
            raise ConfigError(f"no style {style!r}; {nearest(style, self.names)}")
        return style_operator(self.model, self.names.index(style))

    def mix(self, weights: Mapping[str, float], strength: float = 1.0) -> Linearizer:
        """The map with the mixed operator.

        Raises:
            ConfigError: for no style at all.
        """
        return self._map(self.mixed_operator(weights, strength))

    def mixed_operator(self, weights: Mapping[str, float], strength: float = 1.0) -> LinearOperator:
        """The operator of `mix`."""
        if not weights:
            raise ConfigError("a mix of no styles; name at least one, such as candy=1")
        first, *others = (strength * weight * self.operator(style) for style, weight in weights.items())
        rest: LinearOperator = ScaledIdentity(1 - strength, first.shape[0], dtype=first.dtype, device=first.device)
        for each in (first, *others):
            rest = each + rest
        return rest

    def compose(self, styles: Sequence[str], strength: float = 1.0) -> Linearizer:
        """The map of several styles one after another, the first one first: the product of their operators, each at this strength.

        Raises:
            ConfigError: for no style at all, or where content and stylised pictures have two bijections: the second style would start in the wrong space.
        """
        return self._map(self.composed_operator(styles, strength))

    def composed_operator(self, styles: Sequence[str], strength: float = 1.0) -> LinearOperator:
        """The operator of `compose`."""
        if not styles:
            raise ConfigError("a composition of no styles; name at least one")
        if self.model.gx is not self.model.gy:
            raise ConfigError("styles compose where content and stylised pictures share one bijection, these have two; train with task.shared = true")
        first, *others = (self.mixed_operator({style: 1.0}, strength) for style in styles)
        for each in others:
            first = each @ first
        return first

    def _map(self, operator: LinearOperator) -> Linearizer:
        return Linearizer(self.model.domain(), operator, self.model.codomain())
