"""What we bind for each of jax's primitives, by family: a table. None of these files imports jax."""

from tracegrad.xla.primitives import collectives, control, elementwise, fourier, linalg, random, reductions, shapes

__all__ = ["collectives", "control", "elementwise", "fourier", "linalg", "random", "reductions", "shapes"]
