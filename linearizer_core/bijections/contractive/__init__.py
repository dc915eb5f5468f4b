"""Layers of bounded norm, and the residual blocks whose inverse is the fixed point of a contraction."""
