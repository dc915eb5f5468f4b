"""Options of the backbone ``glow``. Torch-free."""
