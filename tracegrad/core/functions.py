"""What NumPy's functions are for tracers: tables that files of ops and of `tracegrad.numpy` fill when they are loaded. And what
else than arrays and tracers ops can be applied to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.late import Table
from tracegrad.core.op import Op, Params

# NumPy function or ufunc -> our function of the same signature, filled by `tracegrad.numpy` and `tracegrad.ops`.
FUNCTIONS: Table[Any, Callable[..., Any]] = Table()
# ufunc -> op, for the ufuncs that are one op: the short way.
UFUNCS: Table[np.ufunc, Op] = Table()
# The name of a ufunc of scipy.special, which is not imported for it -> our function.
SCIPY_FUNCTIONS: Table[str, Callable[..., Any]] = Table()

# Arrays of others, which are computed on in boxes: whether a value is one, its box, and its plain value, if it has one.
FOREIGN: list[tuple[Callable[[Any], bool], Callable[[Any], Any], Callable[[Any], Any]]] = []

# Classes of values that are no arrays, but know what ops make of them: what these are applied by.
APPLIED: dict[type, Callable[[Any, Op, Sequence[Any], Params], Any]] = {}


# Our functions that write into arguments, or hand them on to such, and so take tracers for what the user knows them as.
TAKE_WRITTEN: set[Any] = set()
