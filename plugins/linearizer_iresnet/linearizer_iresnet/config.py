"""Options of the backbone ``iresnet``. Torch-free."""
