"""Write the cards of the registry anew, from what its folders hold: after a change of their template.

python -m registry.write_cards
"""

from __future__ import annotations

from linearizer_core import plugins
from linearizer_core.files import write_text
from linearizer_core.pretrained import Pretrained


def main() -> None:
    """The command."""
    for name, spec in plugins.specs("pretrained").items():
        write_text(spec.folder() / "README.md", Pretrained.from_pretrained(spec.folder()).card(name))


if __name__ == "__main__":
    main()
