"""Changing dtype and precision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, at, user_source
from tracegrad.core.functions import FUNCTIONS
from tracegrad.core.op import OPS, Definitions, Op, Params, Sample, Wanted
from tracegrad.core.quiet import quietly
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import ITEMS, ArrayType, float_limits, is_inexact, number_kind, type_of
from tracegrad.ops.families import conform, elementwise, same_type
from tracegrad.typing import Array, ArrayLike, DType


def _astype_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return ArrayType(types[0].shape, params["dtype"])


def _astype_samples() -> Iterable[Sample]:
    x = np.array([[-1.25, 2.5, 0.75]])
    for dtype in ("float32", "float64", "complex128"):
        yield Sample((x,), {"dtype": np.dtype(dtype)})


def _astype(x: Any, dtype: np.dtype[Any]) -> Any:
    x = np.asarray(x)
    return (x.real if number_kind(x.dtype) == "c" and number_kind(dtype) not in "cb" else x).astype(dtype)[()]


def _holds(wide: np.dtype[Any], narrow: np.dtype[Any]) -> bool:
    """Whether every number of the one dtype is one of the other: int64 and float64 are "safe" for NumPy, and not that."""
    exact = not (
        number_kind(narrow) in "iu" and narrow.itemsize == 8 and is_inexact(wide) and wide.type is not np.longdouble
    )
    return exact and np.can_cast(narrow, wide, "safe")


def _simpler_cast(inputs: Sequence[Any], params: Params, definitions: Definitions) -> Any:
    """A cast to the dtype that is there already is none, and one on the way to another leaves no trace if it loses
    nothing."""
    (x,) = inputs
    made = definitions.get(x)
    if made is not None and made.op is astype_op:
        (first,) = made.inputs
        if not first.type.weak and _holds(x.type.dtype, first.type.dtype):
            return astype_op, made.inputs, params
    return x if x.type.dtype == params["dtype"] and not x.type.weak else None


astype_op: Op = elementwise(
    "astype", _astype, lambda d, out, x, dtype: d, infer=_astype_type, linear=[{0}], kinds="biufc",
    samples=_astype_samples, simplify=_simpler_cast,
)  # fmt: skip


def astype(x: ArrayLike, dtype: DType, /, *, copy: bool = True, device: Any = None) -> Array:
    """`x` with another dtype; the same array where it has that already. From complex to real the imaginary part goes. The
    derivative is cast the same way.

    Raises:
        DtypeError: a dtype that is not one of numbers.
    """
    dtype = np.dtype(dtype)
    if number_kind(dtype) not in "biu" and not is_inexact(dtype):
        raise DtypeError(f"astype: {dtype} is not a dtype of numbers")
    old = type_of(x)
    if old.dtype == dtype and not old.weak:
        return x
    return bind(astype_op, (x,), {"dtype": dtype})


def _astype_copying(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """The same in memory of its own, as users get it."""
    cast = astype(x, dtype)
    return bind(OPS["copy"], (x,), {"order": "K"}) if cast is x and copy else cast


FUNCTIONS[np.astype] = _astype_copying


def widened(x: ArrayLike) -> Array:
    """float16 and other narrow floats as float32, where a count of elements has a place, and so has a sum of many (float16
    ends at 65504); anything else as it is."""
    dtype = type_of(x).dtype
    return astype(x, np.float32) if is_narrow(dtype) else x


def is_narrow(dtype: np.dtype[Any]) -> bool:
    """Whether it is a float dtype narrower than float32."""
    return dtype.itemsize < 4 and is_inexact(dtype)


def _item(x: Any, dtype: np.dtype[Any]) -> Any:
    return ITEMS[number_kind(dtype)](np.asarray(x).item())


def _item_samples() -> Iterable[Sample]:
    yield Sample((np.array(1.25),), {"dtype": np.dtype(np.float64)})


def _item_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    return astype(tangents[0], params["dtype"]) if is_inexact(params["dtype"]) else None


def _item_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    return [conform(ct, primals[0]) if is_inexact(params["dtype"]) else None]


# A number as a Python number, whose dtype, one of PYTHON_SCALARS, yields to an array's. In a batch it is one of that dtype.
item_op: Op = Op(
    "item", evaluate=_item, infer=lambda types, params: ArrayType((), params["dtype"], True), jvp=_item_jvp,
    vjp=_item_vjp, linear=[{0}], batch=lambda size, batched, inputs, params: bind(astype_op, tuple(inputs), params),
    kinds="f", samples=_item_samples, python=_item, never_aliases=True,
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Less precision.


def _reduce_precision(x: Any, exponent_bits: int, mantissa_bits: int) -> Any:
    x = np.asarray(x)
    own = float_limits(x.dtype)
    wide = x.astype(np.result_type(x, np.float64))
    fewer = exponent_bits < own.nexp, mantissa_bits < own.nmant
    return quietly(("invalid", "over", "under"), _rounded, wide, exponent_bits, mantissa_bits, *fewer, x.dtype)


def _rounded(
    x: Any, exponent_bits: int, mantissa_bits: int, fewer_exponents: bool, fewer_digits: bool, dtype: Any
) -> Any:
    out = x
    if fewer_digits:
        fraction, exponent = np.frexp(x)
        kept = np.rint(np.ldexp(fraction, mantissa_bits + 1))
        out = np.where(np.isfinite(x), np.ldexp(kept, exponent - (mantissa_bits + 1)), x)
    if fewer_exponents:
        bias = 2 ** (exponent_bits - 1) - 1
        largest = (2 - 2.0**-mantissa_bits) * 2.0**bias
        out = np.where(np.abs(out) > largest, np.copysign(np.inf, out), out)
        out = np.where(np.abs(out) < 2.0 ** (1 - bias), np.copysign(0, out), out)
    return out.astype(dtype)[()]


def _precision_samples() -> Iterable[Sample]:
    # So many bits that differences of neighbours are seen.
    yield Sample((np.array([[1.1, -2.3], [0.7, 5.9]]),), {"exponent_bits": 8, "mantissa_bits": 48})
    yield Sample((1.1,), {"exponent_bits": 11, "mantissa_bits": 50})


reduce_precision_op: Op = elementwise(
    "reduce_precision", _reduce_precision, lambda d, out, x, **bits: bind(reduce_precision_op, (d,), bits),
    infer=same_type, kinds="f", samples=_precision_samples,
)  # fmt: skip


def reduce_precision(operand: ArrayLike, exponent_bits: int, mantissa_bits: int) -> Array:
    """`operand` rounded to a float format of so many bits, in the dtype that it has. What is too large there becomes
    infinite, what is too small zero. Tangents and cotangents are rounded alike, as in JAX.

    >>> float(reduce_precision(1.1, 5, 10))
    1.099609375
    """
    x = as_array(operand)
    if number_kind(type_of(x).dtype) != "f":
        raise DtypeError(f"reduce_precision takes floats, got {type_of(x)}{at(user_source())}")
    if exponent_bits < 1 or mantissa_bits < 0:
        raise ValueError(
            f"reduce_precision: needs at least 1 exponent bit and 0 mantissa bits, got {exponent_bits} and {mantissa_bits}"
        )
    return bind(reduce_precision_op, (x,), {"exponent_bits": exponent_bits, "mantissa_bits": mantissa_bits})
