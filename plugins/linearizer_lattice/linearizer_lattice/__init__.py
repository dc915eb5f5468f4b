"""The backbone ``lattice``: additive couplings on a fixed-point grid, inverted bit for bit."""
