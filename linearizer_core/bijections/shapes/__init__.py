"""Bricks that change the shape of an example and keep its numbers, and padding, which adds zeros."""
