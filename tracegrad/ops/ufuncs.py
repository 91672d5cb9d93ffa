"""What a tracer does with a ufunc beyond the plain call: methods (`reduce`, `accumulate`, `outer`) and keywords."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from tracegrad.core import advice
from tracegrad.core.errors import TracerArrayConversionError, at, unsupported, user_source
from tracegrad.core.trace import (
    FUNCTIONS,
    SCIPY_FUNCTIONS,
    UFUNCS,
    Tracer,
    as_array,
    bind,
    contains_tracer,
    strengthened,
)
from tracegrad.ops.cumulative import cumlogsumexp, cummax, cummin, cumprod, cumsum
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import implements, shape_of
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
    if method == "reduce" and ufunc in _REDUCE:
        x, axis, *rest = (*inputs, *(0,) * (len(inputs) == 1))
        if rest and rest[0] is not None:
            kwargs["dtype"] = rest[0]
        return FUNCTIONS[_REDUCE[ufunc]](x, **{"axis": axis, **_given(kwargs)})
    if method == "accumulate" and ufunc in _ACCUMULATE:
        x, axis, *_ = (*inputs, 0)
        return _ACCUMULATE[ufunc](x, **{"axis": axis, **_given(kwargs)})
    if method == "outer" and not kwargs and len(inputs) == 2:
        # Both are arrays: a Python number has a dtype as others have.
        x, y = [strengthened(as_array(v)) for v in inputs]
        column = np.reshape(x, (*shape_of(x), *(1,) * len(shape_of(y))))
        return _call(ufunc, (column, y), {})
    raise unsupported(ufunc, f".{method}", next((x for x in inputs if type(x) is Tracer), None))


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
    """Our function for one of scipy.special: whoever holds such a ufunc has imported that module."""
    name = ufunc.__name__
    if getattr(sys.modules.get("scipy.special"), name, None) is not ufunc:
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
        fix = f"In place of `y += x` write `y = y + x`; of `np.{name}(..., out=y)` write `y = np.{name}(...)`."
    raise TracerArrayConversionError(
        f"np.{name}{'' if method == '__call__' else '.' + method} with out= (or an in-place operator such as `y += x`) "
        f"would write{at(user_source())} {what}.\n"
        f"  {fix}"
    )
