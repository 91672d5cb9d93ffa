"""What a tracer does with a ufunc beyond the plain call: methods (`reduce`, `accumulate`, `reduceat`, `outer`, `at`) and keywords.

Sums, products and extremes have ops; any other ufunc of two inputs and one output is folded step by step, as NumPy does it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad.core import advice
from tracegrad.core.errors import TracerArrayConversionError, at, unsupported, user_source
from tracegrad.core.functions import FUNCTIONS, SCIPY_FUNCTIONS, UFUNCS
from tracegrad.core.trace import as_array, bind, contains_tracer, strengthened
from tracegrad.core.tracer import Tracer, concrete
from tracegrad.core.types import type_of
from tracegrad.ops.cumulative import cumlogsumexp, cummax, cummin, cumprod, cumsum
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import implements, normalize_axes, shape_of
from tracegrad.ops.writes import write_at, write_out

_REDUCE = {
    np.add: np.sum,
    np.multiply: np.prod,
    np.maximum: np.max,
    np.minimum: np.min,
    np.logical_and: np.all,
    np.logical_or: np.any,
    np.fmax: np.nanmax,
    np.fmin: np.nanmin,
}
_WITHOUT_INITIAL = (np.logical_and, np.logical_or, np.fmax, np.fmin)
_ACCUMULATE = {np.add: cumsum, np.multiply: cumprod, np.maximum: cummax, np.minimum: cummin, np.logaddexp: cumlogsumexp}
# Keywords that say how NumPy should go about it rather than what to compute.
_WITHOUT_EFFECT = frozenset(["casting", "order", "subok"])


@implements(np.ufunc)
def apply_ufunc(ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """`ufunc.method(*inputs, **kwargs)` where some input is a tracer, or raise naming what is not traced."""
    out = kwargs.pop("out", None)
    if out is not None and any([o is not None for o in (out if isinstance(out, tuple) else (out,))]):
        return _with_out(ufunc, method, inputs, kwargs, out if isinstance(out, tuple) else (out,))
    if method == "at":
        return write_at(ufunc, *inputs)
    for keyword in _WITHOUT_EFFECT & kwargs.keys():
        del kwargs[keyword]
    if method == "__call__":
        return _call(ufunc, inputs, kwargs)
    if method == "reduce" and ufunc in _REDUCE and not ("initial" in kwargs and ufunc in _WITHOUT_INITIAL):
        x, axis, *rest = (*inputs, *(0,) * (len(inputs) == 1))
        if rest and rest[0] is not None:
            kwargs["dtype"] = rest[0]
        return FUNCTIONS[_REDUCE[ufunc]](x, **{"axis": axis, **_given(kwargs)})
    if method == "accumulate" and ufunc in _ACCUMULATE:
        x, axis, *_ = (*inputs, 0)
        return _ACCUMULATE[ufunc](x, **{"axis": axis, **_given(kwargs)})
    if ufunc.nin == 2 and ufunc.nout == 1 and ufunc.signature is None:
        if method == "reduce":
            return _reduce(ufunc, *inputs, **_given(kwargs))
        if method == "accumulate":
            return _accumulate(ufunc, *inputs, **_given(kwargs))
        if method == "reduceat":
            return _reduceat(ufunc, *inputs, **_given(kwargs))
    if method == "outer" and not kwargs and len(inputs) == 2:
        # Both are arrays: a Python number has a dtype as others have.
        x, y = [strengthened(as_array(v)) for v in inputs]
        column = np.reshape(x, (*shape_of(x), *(1,) * len(shape_of(y))))
        return _call(ufunc, (column, y), {})
    raise unsupported(ufunc, f".{method}", next((x for x in inputs if type(x) is Tracer), None))


def _first_axis(ufunc: np.ufunc, method: str, array: Any, axis: Any, dtype: Any) -> Any:
    """The array with the axis in front; several axes as one, which only ufuncs allow that may take elements in any order."""
    x = as_array(array)
    if dtype is not None:
        x = astype(x, dtype)
    ndim = len(shape_of(x))
    axes = normalize_axes(axis, ndim, f"{ufunc.__name__}.{method}")
    if len(axes) != 1:
        if method != "reduce" or ufunc.identity is None:
            raise ValueError(f"{ufunc.__name__}.{method} goes along one axis of {type_of(x)}, got {axes}")
        if not ndim:
            return np.reshape(x, 1)
    x = np.moveaxis(x, axes, range(len(axes)))
    return np.reshape(x, (-1, *x.shape[len(axes) :])) if len(axes) != 1 else x


def _of_result(row: Any, method: Callable[[Any], Any]) -> Any:
    """The first row, which the result begins with, in the result's dtype: that of logical functions is another."""
    return astype(row, method(np.ones(2, row.dtype)).dtype)


def _reduce(
    ufunc: np.ufunc,
    array: Any,
    axis: Any = 0,
    dtype: Any = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> Any:
    if where is not True:
        raise unsupported(ufunc, ".reduce with where=")
    x = _first_axis(ufunc, "reduce", array, axis, dtype)
    rows = [x[i] if i else _of_result(x[0], ufunc.reduce) for i in range(x.shape[0])]
    if initial is not None:
        rows = [initial, *rows]
    if not rows:
        if ufunc.identity is None:
            raise ValueError(
                f"{ufunc.__name__}.reduce of {type_of(array)}: there is nothing to reduce, and no identity"
            )
        return np.full(x.shape[1:], ufunc.identity, ufunc.reduce(np.zeros(0, x.dtype)).dtype)
    found = rows[0]
    for row in rows[1:]:
        found = _call(ufunc, (found, row), {})
    if keepdims:
        found = np.expand_dims(found, normalize_axes(axis, len(shape_of(array)), ufunc.__name__))
    return found


def _accumulate(ufunc: np.ufunc, array: Any, axis: Any = 0, dtype: Any = None) -> Any:
    x = _first_axis(ufunc, "accumulate", array, axis, dtype)
    rows = [_of_result(x[0], ufunc.accumulate)] if x.shape[0] else []
    for i in range(1, x.shape[0]):
        rows.append(_call(ufunc, (rows[-1], x[i]), {}))
    return np.moveaxis(np.stack(rows), 0, axis) if rows else array


def _reduceat(ufunc: np.ufunc, array: Any, indices: Any, axis: Any = 0, dtype: Any = None) -> Any:
    x = _first_axis(ufunc, "reduceat", array, axis, dtype)
    n = x.shape[0]
    starts = np.asarray(
        concrete(as_array(indices), f"np.{ufunc.__name__}.reduceat", "pass the indices as a plain array")
    )
    if np.any((starts < 0) | (starts >= n)):
        raise IndexError(
            f"{ufunc.__name__}.reduceat: indices from 0 to {n - 1} along axis {axis}, got {starts.tolist()}"
        )
    ends = [*starts[1:].tolist(), n]
    pieces = [
        ufunc.reduce(x[i:end], axis=0) if i < end else ufunc.reduce(x[i : i + 1], axis=0)
        for i, end in zip(starts.tolist(), ends, strict=True)
    ]
    return np.moveaxis(np.stack(pieces), 0, axis)


def _with_out(
    ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any], outs: tuple[Any, ...]
) -> Any:
    """The same with results written into arrays."""
    if not all([o is None or isinstance(o, Tracer) for o in outs]):
        _refuse_out(ufunc, method, inputs)
    casting = kwargs.get("casting", "same_kind")
    where = kwargs.pop("where", True) if method == "__call__" else True
    if contains_tracer(inputs):
        results = FUNCTIONS[np.ufunc](ufunc, method, *inputs, **kwargs)
    else:
        results = getattr(ufunc, method)(*inputs, **kwargs)
    several = isinstance(results, tuple)
    written = [
        value if out is None else write_out(out, value, f"ufunc {ufunc.__name__!r}", casting, where)
        for value, out in zip(results if several else (results,), outs, strict=True)
    ]
    return tuple(written) if several else written[0]


def _given(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Keywords that were really given: ufunc methods hand on some of their defaults."""
    defaults = {"dtype": None, "where": True, "keepdims": False}
    return {k: v for k, v in kwargs.items() if not (k in defaults and v is defaults[k])}


def _call(ufunc: np.ufunc, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    dtype = kwargs.pop("dtype", None)
    if dtype is not None:
        inputs = tuple([astype(as_array(x), dtype) for x in inputs])
    if kwargs.get("where") is True:
        del kwargs["where"]
    op = UFUNCS.get(ufunc)
    if op is not None and not kwargs:
        return bind(op, inputs)
    function = FUNCTIONS.get(ufunc) or _of_scipy(ufunc)
    if function is None and op is None:
        raise unsupported(ufunc, of=next((x for x in inputs if type(x) is Tracer), None))
    if function is None or "where" in kwargs or (op is not None and kwargs):
        raise unsupported(ufunc, f" with {', '.join(f'{k}=' for k in kwargs)}")
    return function(*inputs, **kwargs)


def _of_scipy(ufunc: np.ufunc) -> Any:
    """Our function for one of scipy.special, or one that a function of that name calls (`_lambertw`): whoever holds such a ufunc
    has imported that module."""
    name = ufunc.__name__
    found = getattr(sys.modules.get("scipy.special"), name.removeprefix("_"), None)
    if found is None or (name[0] != "_" and found is not ufunc):
        return None
    return SCIPY_FUNCTIONS.get(name)


def _refuse_out(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...]) -> None:
    traced = next((x for x in inputs if type(x) is Tracer), None)
    name = ufunc.__name__
    what = f"{traced.described()}, into an existing array" if traced is not None else "into a traced array"
    if advice.writes_into_a_part():
        method_of_at = {"subtract": "add(-x)", "divide": "divide(x)"}.get(name, f"{name}(x)")
        fix = (
            f"In place of `y[i] op= x` write `y = tnp.at(y)[i].{method_of_at}` (with `import tracegrad.numpy as tnp`)."
        )
    else:
        fix = (
            f"In place of `y += x` write `y = y + x`; of `np.{name}(..., out=y)` write `y = np.{name}(...)`; or make y by "
            "`tnp.zeros(n)` or `tnp.copy(y)`, into which traced values can be written\n  "
            f"{advice.tnp_or_numpyize(traced.origin.function if traced is not None else None)}."
        )
    raise TracerArrayConversionError(
        f"np.{name}{'' if method == '__call__' else '.' + method} with out= (or an in-place operator such as `y += x`) "
        f"would write{at(user_source())} {what}.\n"
        f"  {fix}"
    )
