"""The backbone ``glow``: ActNorm, invertible 1x1 mixing and couplings over several scales."""
