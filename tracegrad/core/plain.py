"""Which arrays and numbers of others are plain ones, that may be computed on as NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray

from tracegrad.core.errors import DtypeError, at, user_source
from tracegrad.core.sizes import Size
from tracegrad.core.types import DIRECT

# What is known to compute as NumPy does: this library's tracers are put here, too.
PLAIN: set[type] = {*DIRECT, Size}
# Classes of this library that hold no numbers, and what is to be written instead. What NumPy's functions do to them is theirs to say,
# also where tracers are among the arguments.
NO_NUMBERS: dict[type, str] = {}


def require_plain_items(x: Any) -> None:
    for item in x:
        if isinstance(item, list | tuple):
            require_plain_items(item)
        elif type(item) not in DIRECT:
            require_plain(item)


def require_plain(x: Any) -> None:
    """Raise for an array or a number of a class that computes in its own way: a masked array, a quantity with a unit,
    np.matrix. Taken for a plain one it would lose its mask or its unit without a word."""
    kind = type(x)
    if kind in PLAIN or not _has_own_arithmetic(kind, x):
        return
    if kind in NO_NUMBERS:
        raise DtypeError(f"a {kind.__qualname__}{at(user_source())} is no array of numbers; {NO_NUMBERS[kind]}")
    name = f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(x, np.ma.MaskedArray):
        fix = "its mask would be lost: write x.filled(0), say, and let np.where(mask, 0, y) leave out what is masked"
    elif hasattr(kind, "magnitude"):
        fix = "its unit would be lost: write x.magnitude"
    else:
        fix = "what it adds to a plain array would be lost: write np.asarray(x) for its numbers"
    raise DtypeError(f"a {name}{at(user_source())} computes in its own way, which is not traced; {fix}")


_OPERATORS = [
    f"__{side}{name}__" for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow") for side in ("", "r")
] + ["__neg__", "__abs__", "__eq__", "__lt__", "__le__"]


def _has_own_arithmetic(kind: type, x: Any) -> bool:
    if issubclass(kind, ndarray):
        return kind is not np.memmap  # who derives from ndarray does so to change what it does
    if issubclass(kind, np.generic):
        return kind is not x.dtype.type
    for number in (int, float, complex):
        if issubclass(kind, number):
            return any([getattr(kind, name, None) is not getattr(number, name, None) for name in _OPERATORS])
    return hasattr(kind, "__array_ufunc__") or hasattr(kind, "__array_function__")
