"""Questions about each element, or about arrays as a whole, that are made of several ops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError
from tracegrad.core.quiet import isolated
from tracegrad.core.symbols import broadcast_shapes
from tracegrad.core.trace import as_array
from tracegrad.core.tracer import depends_on, plain_value
from tracegrad.core.types import is_inexact, number_kind, type_of
from tracegrad.ops.elementwise import astype, imag
from tracegrad.ops.families import implements, is_tracer, reject, shape_of
from tracegrad.typing import Array, ArrayLike


@implements(np.isposinf)
def isposinf(x: ArrayLike, out: Array | None = None) -> Array:
    """Where `x` is plus infinity.

    >>> isposinf(np.array([-np.inf, np.inf])).tolist()
    [False, True]
    """
    return _is(x, math.inf, np.isposinf, out)


@implements(np.isneginf)
def isneginf(x: ArrayLike, out: Array | None = None) -> Array:
    """Where `x` is minus infinity.

    >>> isneginf(np.array([-np.inf, np.inf])).tolist()
    [True, False]
    """
    return _is(x, -math.inf, np.isneginf, out)


def _is(x: Any, value: float, function: Any, out: Any) -> Any:
    reject(function, out=out)
    x = as_array(x)
    t = type_of(x)
    if number_kind(t.dtype) == "c":
        raise DtypeError(f"{function.__name__}: infinities of {t} have no sign; ask for np.isinf, or of x.real")
    return np.equal(x, value)


@implements(np.iscomplex)
def iscomplex(x: ArrayLike) -> Array:
    """Where the imaginary part is not zero.

    >>> iscomplex(np.array([1 + 0j, 1j])).tolist()
    [False, True]
    """
    return np.not_equal(imag(x), 0)


@implements(np.isreal)
def isreal(x: ArrayLike) -> Array:
    """Where the imaginary part is zero.

    >>> isreal(np.array([1 + 0j, 1j])).tolist()
    [True, False]
    """
    return imag(x) == 0


@implements(np.iscomplexobj)
def iscomplexobj(x: ArrayLike) -> bool:
    """Whether the dtype is a complex one, whatever the values.

    >>> iscomplexobj(np.array([1 + 0j]))
    True
    """
    return number_kind(type_of(as_array(x)).dtype) == "c"


@implements(np.isrealobj)
def isrealobj(x: ArrayLike) -> bool:
    """Whether the dtype is not a complex one.

    >>> isrealobj(np.ones(1))
    True
    """
    return not iscomplexobj(x)


@implements(np.isclose)
def isclose(
    a: ArrayLike, b: ArrayLike, rtol: ArrayLike = 1e-5, atol: ArrayLike = 1e-8, equal_nan: bool = False
) -> Array:
    """Where |a - b| <= atol + rtol * |b|, or both are the same infinity (or NaN, with `equal_nan`).

    >>> isclose(np.array([1.0, np.inf, np.nan]), np.array([1.0 + 1e-9, np.inf, np.nan])).tolist()
    [True, True, False]
    """
    a, b = as_array(a), as_array(b)
    is_weak = type_of(b).weak
    if not is_inexact(type_of(b).dtype):
        b = b + 0.0 if is_weak else astype(b, float)
    finite = np.isfinite(b)
    b0 = b if is_weak else np.where(finite, b, 0)  # inf - inf would warn
    near = np.less_equal(abs(a - b0), atol + rtol * abs(b0))
    near = np.logical_or(np.logical_and(near, finite), np.equal(a, b))
    return np.logical_or(near, np.logical_and(np.isnan(a), np.isnan(b))) if equal_nan else near


def _known(a: Any, b: Any, name: str) -> tuple[Any, Any] | None:
    """The values of both, where they have any."""
    found = plain_value(a, name), plain_value(b, name)
    if any([x is None for x in found]):
        return None
    depends_on(a)
    depends_on(b)
    return found


def _of_all(each: Any) -> Any:
    """Whether all are true: a bool of Python's, as NumPy's questions about whole arrays answer, of which True + True is 2."""
    found = np.all(each)
    return found.item() if is_tracer(found) else bool(found)


@implements(np.allclose)
def allclose(
    a: ArrayLike, b: ArrayLike, rtol: ArrayLike = 1e-5, atol: ArrayLike = 1e-8, equal_nan: bool = False
) -> bool | Array:
    """Whether `isclose` holds everywhere: a Python bool, or where values are not known (`jit`, `vmap`) a traced one.

    >>> allclose(1.0, 1.0 + 1e-9)
    True
    """
    a, b = as_array(a), as_array(b)
    known = _known(a, b, "np.allclose")
    if known is None or is_tracer(rtol, atol):
        return _of_all(isclose(a, b, rtol, atol, equal_nan))
    return isolated(np.allclose, *known, rtol, atol, equal_nan)


@implements(np.array_equal)
def array_equal(a1: ArrayLike, a2: ArrayLike, equal_nan: bool = False) -> bool | Array:
    """Whether two arrays have the same shape and values: a Python bool, or where values are not known (`jit`, `vmap`) a traced one.

    >>> array_equal([1, 2], [1, 2])
    True
    """
    a, b = as_array(a1), as_array(a2)
    if shape_of(a) != shape_of(b):
        return False
    known = _known(a, b, "np.array_equal")
    return _of_all(_equal(a, b, equal_nan)) if known is None else np.array_equal(*known, equal_nan)


def _equal(a: Any, b: Any, equal_nan: bool) -> Any:
    same = np.equal(a, b)
    return np.logical_or(same, np.logical_and(np.isnan(a), np.isnan(b))) if equal_nan else same


@implements(np.array_equiv)
def array_equiv(a1: ArrayLike, a2: ArrayLike) -> bool | Array:
    """Whether two arrays are equal after broadcasting: a Python bool, or where values are not known (`jit`, `vmap`) a traced one.

    >>> array_equiv([1, 2], [[1, 2], [1, 2]])
    True
    """
    a, b = as_array(a1), as_array(a2)
    try:
        broadcast_shapes(shape_of(a), shape_of(b))
    except ValueError:
        return False
    known = _known(a, b, "np.array_equiv")
    return _of_all(np.equal(a, b)) if known is None else np.array_equiv(*known)
