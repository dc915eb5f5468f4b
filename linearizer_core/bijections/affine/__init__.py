"""Affine maps, learned or fixed: scales and shifts, orthogonal and triangular mixings, permutations, whitening."""
