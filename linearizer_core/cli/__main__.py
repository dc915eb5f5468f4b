"""``python -m linearizer_core.cli``: the same as the console script ``linearizer``."""

from __future__ import annotations

from linearizer_core.cli import main

if __name__ == "__main__":
    main()
