"""A demo of its own process, with the tab `Everything` besides those of the plugins: python -m tests.plugins.demo.serve MODEL..."""

from __future__ import annotations

import sys

from linearizer_demo.app import build, launch
from linearizer_demo.engine import DemoEngine, plugin_tabs

from .things import Everything

if __name__ == "__main__":
    page = build(DemoEngine(sys.argv[1:], tabs={"everything": Everything(), **plugin_tabs()}))
    print(launch(page, host="127.0.0.1", port=None, share=False, open_browser=False, block=False), flush=True)
    page.block_thread()
