"""Recursive filters: out[n] = x[n] - sum over k >= 1 of a[k] out[n - k], along the last axis; leading axes broadcast.

That is a system of equations with a lower triangular Toeplitz matrix, of which ones stand on the diagonal: linear in `x`, and its
transpose is the same filter run backwards. `a[0]` is taken to be 1, and not read. Values are those of `scipy.signal.lfilter`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError, at, user_source
from tracegrad.core.late import imported
from tracegrad.core.op import Op, Params, Sample, Wanted
from tracegrad.core.symbols import broadcast_shapes
from tracegrad.core.trace import bind
from tracegrad.core.types import ArrayType, is_inexact
from tracegrad.ops.convolve import convolve_op, slide_op
from tracegrad.ops.elementwise import is_narrow
from tracegrad.ops.families import cast, conform, elementwise_batch


def _type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    a, x = types
    if not (a.shape and x.shape and a.shape[-1]):
        raise ShapeError(f"recursive_filter of {a} and {x}: both need a last axis, that of the first not empty")
    dtype = np.result_type(a.dtype, x.dtype)
    if not is_inexact(dtype):
        raise DtypeError(f"recursive_filter of {a} and {x}{at(user_source())}: it takes floats; write x.astype(float)")
    return ArrayType((*broadcast_shapes(a.shape[:-1], x.shape[:-1]), x.shape[-1]), dtype)


def _filter(a: Any, x: Any) -> Any:
    try:
        lfilter = imported("scipy.signal").lfilter
    except ImportError:
        raise ImportError(
            "recursive filters are computed by scipy.signal, and SciPy is not installed; write: pip install 'tracegrad[scipy]'"
        ) from None
    dtype = np.result_type(a, x)
    if is_narrow(dtype):
        return _filter(a.astype(np.float32), x.astype(np.float32)).astype(dtype)
    lead = broadcast_shapes(a.shape[:-1], x.shape[:-1])
    x = np.broadcast_to(x, (*lead, x.shape[-1])).astype(dtype, copy=False)
    if x.size == 0:
        return np.zeros(x.shape, dtype)
    one = np.ones(1, dtype)
    if a.size == a.shape[-1]:  # one filter for all
        return lfilter(one, _led_by_one(a.reshape(-1), dtype), x)
    a = np.broadcast_to(a, (*lead, a.shape[-1]))
    out = np.empty(x.shape, dtype)
    for i in np.ndindex(*lead):
        out[i] = lfilter(one, _led_by_one(a[i], dtype), x[i])
    return out


def _led_by_one(a: Any, dtype: Any) -> Any:
    a = np.array(a, dtype)
    a[0] = 1
    return a


def _delayed(a: Any, out: Any) -> Any:
    """The sum over k >= 1 of a[k] out[n - k]."""
    if out.shape[-1] == 0:
        return bind(recursive_op, (a, out))
    return bind(convolve_op, (_without_first(a), out))[..., : out.shape[-1]]


def _without_first(a: Any) -> Any:
    return np.concatenate([np.zeros((*a.shape[:-1], 1), a.dtype), a[..., 1:]], -1)


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    a, _ = primals
    da, change = tangents
    if da is not None:
        moved = _delayed(da, out)
        change = -moved if change is None else change - moved
    return cast(bind(recursive_op, (a, change)), out.dtype)


def _vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    a, x = primals
    dx = np.flip(bind(recursive_op, (a, np.flip(ct, -1))), -1)
    cotangents = []
    for i in wanted:
        if i == 1:
            cotangents.append(conform(dx, x))
            continue
        n, taps = out.shape[-1], a.shape[-1]
        before = np.concatenate([np.zeros((*out.shape[:-1], taps - 1), out.dtype), out], -1)
        if n == 0:
            cotangents.append(np.zeros(a.shape, a.dtype))
            continue
        da = -np.flip(bind(slide_op, (before, dx)), -1)  # of out[n - k] and dx[n], by k
        cotangents.append(conform(_without_first(da), a))
    return cotangents


def _samples() -> Iterable[Sample]:
    rng = np.random.default_rng(4)
    for a, x in [((3,), (6,)), ((1,), (4,)), ((4,), (2, 2)), ((2, 2), (2, 5)), ((2, 1, 3), (3, 4)), ((2,), (2, 0))]:
        yield Sample((rng.uniform(-0.5, 0.5, a), rng.uniform(-1, 1, x)))


recursive_op = Op(
    "recursive_filter",
    evaluate=_filter,
    infer=_type,
    jvp=_jvp,
    vjp=_vjp,
    linear=[{1}],
    batch=elementwise_batch("recursive_filter"),
    samples=_samples,
)


def recursive_filter(a: Any, x: Any) -> Any:
    """The out with `out[n] = x[n] - sum over k >= 1 of a[k] out[n - k]`, of a (..., k) and x (..., n)."""
    return bind(recursive_op, (a, x))
