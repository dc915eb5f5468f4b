"""Whether what the demo is drawn with is installed."""

from __future__ import annotations

from linearizer_core.errors import ConfigError
from linearizer_core.extras import missing_extra


def require_gradio() -> None:
    """Raise `ConfigError`, with what to install, unless gradio is there."""
    try:
        import gradio  # noqa: F401
    except ModuleNotFoundError as error:
        if hint := missing_extra(error):
            raise ConfigError(hint) from error
        raise
