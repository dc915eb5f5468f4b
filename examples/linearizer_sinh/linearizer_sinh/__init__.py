"""A sinh-arcsinh backbone for Linearizer. Imports no torch: import `linearizer_sinh.curve` or `linearizer_sinh.backbone` for the maths."""
