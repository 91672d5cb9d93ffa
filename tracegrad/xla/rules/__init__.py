"""How each op is lowered to `jax.lax`, in a file for each family of ops: see `tracegrad/core/backends.py` for the form."""

from tracegrad.xla.rules import cumulative, elementwise

__all__ = ["cumulative", "elementwise"]
