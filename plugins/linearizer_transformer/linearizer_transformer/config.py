"""Options of the backbone ``transformer``. Torch-free."""
