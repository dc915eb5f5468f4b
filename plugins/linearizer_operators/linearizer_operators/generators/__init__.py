"""Generators of flows in continuous time, one file for each structure; `linearizer_operators.generators.choose` picks one by its options."""
