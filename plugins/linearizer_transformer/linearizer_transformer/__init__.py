"""The backbone ``transformer``: couplings on patches whose conditioners are attention blocks."""
