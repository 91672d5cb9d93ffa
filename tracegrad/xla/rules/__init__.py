"""How each op is lowered to `jax.lax`, in a file for each family of ops: see `tracegrad/core/backends.py` for the form."""

from tracegrad.xla.rules import contract, cumulative, elementwise, reduce, sort

__all__ = ["contract", "cumulative", "elementwise", "reduce", "sort"]
from tracegrad.xla.rules import activations, logic, special

__all__ = ["activations", "cumulative", "elementwise", "logic", "special"]
from tracegrad.xla.rules import cumulative, elementwise, index, shape

__all__ = ["cumulative", "elementwise", "index", "shape"]
