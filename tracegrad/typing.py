"""What annotations of public functions say. Arrays, tracers and numbers have no class in common, so that these are words for
whoever reads, more than types for whoever checks."""

from collections.abc import Sequence
from typing import Any, SupportsIndex, TypeAlias

Array: TypeAlias = Any
"""An array: `numpy.ndarray`, a scalar of NumPy's, a `jax.Array`, or the tracer of one."""

ArrayLike: TypeAlias = Any
"""What can be an array: one, a Python number, or lists and tuples of them, nested."""

Axis: TypeAlias = SupportsIndex | Sequence[SupportsIndex] | None
"""The axis or axes that a function acts on, counted from the front or, below zero, from the back; None for all of them."""

Shape: TypeAlias = SupportsIndex | Sequence[SupportsIndex]
"""The sizes of an array's axes; a number for one axis."""

DType: TypeAlias = Any
"""What `numpy.dtype` takes: a dtype, a scalar class, a name. None, where it may be left out, leaves the choice to NumPy's rules."""
