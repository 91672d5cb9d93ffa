"""Softmax, its logarithm, and the shares of terms in a sum, over some axes. Their inputs may hold -inf: such an entry has no share,
and is at rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError
from tracegrad.core.op import Op, Params, Sample, Wanted
from tracegrad.core.quiet import quietly
from tracegrad.core.trace import bind
from tracegrad.core.types import ArrayType, float_extreme, number_kind, type_of
from tracegrad.ops.elementwise.activations import as_float
from tracegrad.ops.elementwise.casting import is_narrow, widened
from tracegrad.ops.families import along_axis, cast, normalize_axes, shape_of
from tracegrad.typing import Array, ArrayLike, Axis


def _float_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,) = types
    return ArrayType(t.shape, np.exp.resolve_dtypes((t.dtype, None))[1])


def _wide(x: Any) -> Any:
    """float16 and other narrow floats as float32: a sum of many has a place there."""
    return x.astype(np.float32) if is_narrow(x.dtype) else x


def _shifted(x: Any, axes: tuple[int, ...]) -> tuple[Any, np.dtype[Any]]:
    """x minus its largest, so that exp cannot overflow, and the dtype of the result. NaN where all is -inf, as in jax."""
    x = as_float(x)
    # Among float8 are some without an infinity.
    largest = np.maximum.reduce(x, axes, keepdims=True, initial=float_extreme(x.dtype, -1))
    return _wide(quietly(("invalid", "over"), np.subtract, x, largest)), x.dtype


def _softmax(x: Any, axes: tuple[int, ...]) -> Any:
    shifted, dtype = _shifted(x, axes)
    e = np.exp(shifted)
    return (e / np.add.reduce(e, axes, keepdims=True)).astype(dtype, copy=False)


def _log_softmax(x: Any, axes: tuple[int, ...]) -> Any:
    shifted, dtype = _shifted(x, axes)
    return (shifted - np.log(np.add.reduce(np.exp(shifted), axes, keepdims=True))).astype(dtype, copy=False)


def _total(d: Any, params: Params) -> Any:
    return np.add.reduce(widened(d), params["axes"], keepdims=True)


# An entry with almost all of the probability has a derivative that is almost zero: a difference of two numbers near each
# other, by the formulas, but a sum of what the other entries have. At most one entry has more than half.


def _softmax_tangent(t: Any, out: Any, params: Params) -> Any:
    """out * (t - sum(out * t)), a map that is its own transpose. It does not change where a constant is added to t, so that
    t may be counted from the entry that has more than half."""
    t = t - _total(np.where(np.greater(out, 0.5), t, 0), params)
    return cast(out * (t - _total(out * t, params)), type_of(out).dtype)


def _log_softmax_tangent(t: Any, out: Any, params: Params) -> Any:
    """t - sum(softmax * t), likewise."""
    t = t - _total(np.where(np.greater(out, _LOG_HALF), t, 0), params)
    return cast(t - _total(np.exp(out) * t, params), type_of(out).dtype)


def _log_softmax_cotangent(ct: Any, out: Any, params: Params) -> Any:
    """ct - softmax * sum(ct). All entries of that together are zero, so that one is what the others lack."""
    largest = np.greater(out, _LOG_HALF)
    result = ct - np.exp(out) * _total(ct, params)
    return cast(np.where(largest, -_total(np.where(largest, 0, result), params), result), type_of(out).dtype)


_LOG_HALF = math.log(0.5)


def _over_axes(
    name: str,
    evaluate: Callable[..., Any],
    tangent: Callable[[Any, Any, Params], Any],
    cotangent: Callable[[Any, Any, Params], Any],
) -> Op:
    """Declare an op of one input over `axes`, its derivative and the transpose of that written from the output."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        return None if tangents[0] is None else tangent(tangents[0], out, params)

    def vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
        return (cotangent(ct, out, params),) if number_kind(type_of(primals[0]).dtype) == "f" else (None,)

    op = Op(
        name, evaluate=evaluate, infer=_float_type, jvp=jvp, vjp=vjp, batch=along_axis(name), kinds="f", samples=_axes_samples,
    )  # fmt: skip
    return op


def _axes_samples() -> Iterable[Sample]:
    x = np.random.default_rng(4).normal(0, 2, (2, 3, 2))
    for axes in [(2,), (0, 1), (0, 1, 2)]:
        yield Sample((x,), {"axes": axes})


_softmax_op = _over_axes("softmax", _softmax, _softmax_tangent, _softmax_tangent)


def _shares(x: Any, axes: tuple[int, ...]) -> Any:
    x = as_float(x)
    largest = np.maximum.reduce(x, axes, keepdims=True, initial=-np.inf)
    e = np.exp(_wide(x - np.where(np.isneginf(largest), 0, largest)))
    total = np.add.reduce(e, axes, keepdims=True)
    return (e / np.where(total == 0, 1, total)).astype(x.dtype, copy=False)[()]


# Those of a sum's terms in their sum: softmax, but zero where all of x is -inf. It is the derivative of logsumexp.
shares_op = _over_axes("shares", _shares, _softmax_tangent, _softmax_tangent)
_log_softmax_op = _over_axes("log_softmax", _log_softmax, _log_softmax_tangent, _log_softmax_cotangent)


def softmax(x: ArrayLike, axis: Axis = -1) -> Array:
    """exp(x) / sum(exp(x)) over `axis`, for entries of any size.

    >>> softmax(np.array([1000.0, 1000.0, -np.inf])).tolist()
    [0.5, 0.5, 0.0]
    """
    return bind(_softmax_op, (x,), {"axes": normalize_axes(axis, len(_shape(x, "softmax")), "softmax")})


def log_softmax(x: ArrayLike, axis: Axis = -1) -> Array:
    """The logarithm of `softmax`, accurate where that underflows.

    >>> log_softmax(np.array([0.0, -1000.0])).tolist()
    [0.0, -1000.0]
    """
    return bind(_log_softmax_op, (x,), {"axes": normalize_axes(axis, len(_shape(x, "log_softmax")), "log_softmax")})


def _shape(x: Any, name: str) -> tuple[int, ...]:
    t = type_of(x) if not isinstance(x, list | tuple) else type_of(np.asarray(x))
    if number_kind(t.dtype) not in "biuf":
        raise DtypeError(f"{name} takes real numbers, got {t}")
    return shape_of(x) if not isinstance(x, list | tuple) else t.shape
