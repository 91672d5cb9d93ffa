"""What annotations of public functions say. Arrays, tracers and numbers have no class in common, so that these are words for
whoever reads, more than types for whoever checks."""

from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, SupportsIndex, TypeAlias, TypeVar

Array: TypeAlias = Any
"""An array: `numpy.ndarray`, a scalar of NumPy's, a `jax.Array`, or the tracer of one."""

ArrayLike: TypeAlias = Any
"""What can be an array: one, a Python number, or lists and tuples of them, nested."""

PyTree: TypeAlias = Any
"""An array, or arrays in lists, tuples, dicts and what else `tracegrad.tree` knows, nested."""

Axis: TypeAlias = SupportsIndex | Sequence[SupportsIndex] | None
"""The axis or axes that a function acts on, counted from the front or, below zero, from the back; None for all of them."""

Shape: TypeAlias = SupportsIndex | Sequence[SupportsIndex]
"""The sizes of an array's axes; a number for one axis."""

DType: TypeAlias = Any
"""What `numpy.dtype` takes: a dtype, a scalar class, a name. None, where it may be left out, leaves the choice to NumPy's rules."""

P = ParamSpec("P")
"""The parameters of a function that a transform keeps."""

R = TypeVar("R")
"""What a function returns."""

Aux = TypeVar("Aux")
"""What a function returns beside its result, with `has_aux=True`."""

F = TypeVar("F", bound=Callable[..., Any])
"""A function that a decorator keeps the signature of."""
