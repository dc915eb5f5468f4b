"""Dynamics in continuous time: x(t) = g^-1(exp(tA) g(x(0))) for any real t, with systems to learn and their closed forms."""
