"""What we bind for each of jax's primitives, by family: a table, in the order of docs of jax.lax. None of these files imports jax."""

from tracegrad.xla.primitives import control, elementwise, linalg, random, reductions, shapes

__all__ = ["control", "elementwise", "linalg", "random", "reductions", "shapes"]
