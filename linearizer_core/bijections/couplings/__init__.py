"""Couplings: a part of the coordinates moves, told how by the part that stays."""
