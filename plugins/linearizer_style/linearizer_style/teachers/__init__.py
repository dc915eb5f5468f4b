"""What stylises pictures, to learn from.

A teacher is any callable that maps images ``(N, 3, H, W)`` in [0, 1] to images of the same shape.

- `linearizer_style.teachers.contract`: what is asked of one, and the check
- `linearizer_style.teachers.fast_network`: pretrained feed-forward networks
- `linearizer_style.teachers.gatys`: optimisation, which needs a style picture only
"""
