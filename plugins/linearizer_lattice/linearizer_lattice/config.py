"""Options of the backbone ``lattice``. Torch-free."""
