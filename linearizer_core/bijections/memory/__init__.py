"""Backpropagation that computes activations again from the outputs in place of keeping them."""
