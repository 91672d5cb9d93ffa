"""Rounding, and floats taken apart: what is (nearly) locally constant. The derivative of rounding is zero."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError
from tracegrad.core.functions import UFUNCS
from tracegrad.core.op import Op, Params, Sample
from tracegrad.core.quiet import quietly
from tracegrad.core.trace import as_array, bind, strengthened
from tracegrad.core.types import ArrayType, number_kind, scalar_type, type_of
from tracegrad.ops.elementwise.logic import constant
from tracegrad.ops.elementwise.samples import binary_samples, unary_samples
from tracegrad.ops.families import elementwise, elementwise_batch, implements, same_type, ufunc_type
from tracegrad.ops.masks import Mask
from tracegrad.typing import Array, ArrayLike

floor, ceil, trunc = [constant(f, "biuf", unary_samples(0.6, 0.9)) for f in (np.floor, np.ceil, np.trunc)]
rint = constant(np.rint, "iufc", unary_samples(0.6, 0.9))


def _round_away(x: Any) -> Any:
    whole = np.trunc(x)
    rest = quietly(("invalid",), np.subtract, x, whole)  # inf - inf
    return np.where(np.abs(rest) >= 0.5, whole + np.sign(x), whole)[()]


round_away_op = elementwise("round_away", _round_away, infer=same_type, kinds="f", samples=unary_samples(0.6, 0.9))


def round_away_from_zero(x: ArrayLike) -> Array:
    """Rounded to the nearest integer, halves away from zero; integers as they are. The derivative is zero.

    >>> import numpy as np
    >>> round_away_from_zero(np.array([-0.5, 0.5, 2.5])).tolist()
    [-1.0, 1.0, 3.0]
    """
    x = as_array(x)
    return bind(round_away_op, (x,)) if number_kind(type_of(x).dtype) == "f" else x


# ---------------------------------------------------------------------------------------------------------------------
# Rounding to decimals.


def _round_scalar(x: Any, decimals: int) -> Any:
    """What `round(x, decimals)` is of a Python number, and np.round of a complex one."""
    return np.round(x, decimals).item() if type(x) is complex else x.__round__(decimals)


def _round_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,) = types
    if t.weak:
        return scalar_type(_round_scalar, types, params)
    if number_kind(t.dtype) == "b":
        raise DtypeError(f"round takes no input of type {t}; write x.astype(int)")
    return ArrayType(t.shape, t.dtype)


def _round_samples() -> Iterable[Sample]:
    for decimals in (0, 1, -1):
        yield Sample((np.array([[1.26, -2.38], [7.32, 14.41]]),), {"decimals": decimals})
    yield Sample((1.26,), {"decimals": 0})


round_op = elementwise("round", np.round, infer=_round_type, python=_round_scalar, kinds="iufc", samples=_round_samples)


@implements(np.round, np.around)
def round(a: ArrayLike, decimals: int = 0, out: Array | None = None) -> Array:
    """Rounded to this many decimals (below zero: tens, hundreds, ...), halves to even, in the dtype that it has. The derivative
    is zero.

    Raises:
        DtypeError: an array of booleans.

    >>> round(np.array([0.5, 1.5, 2.25]), 1).tolist(), round(np.array([1250, 1350]), -2).tolist()
    ([0.5, 1.5, 2.2], [1200, 1400])
    """
    return bind(round_op, (strengthened(as_array(a)),), {"decimals": operator.index(decimals)})


# ---------------------------------------------------------------------------------------------------------------------
# Floats taken apart, and steps that are not quite constant.


spacing = constant(np.spacing, "f", unary_samples(0.6, 0.9))
signbit = constant(np.signbit, "f", unary_samples(0.6, 0.9))
isnan, isinf, isfinite = [constant(f, "biufc", unary_samples(-2, 2)) for f in (np.isnan, np.isinf, np.isfinite)]
nextafter = elementwise(
    "nextafter", np.nextafter, lambda d, out, x, y: d, None, kinds="f", samples=binary_samples(0.3, 2)
)


def _ldexp_samples() -> Iterable[Sample]:
    yield Sample((np.array([[0.5, -1.5], [2.0, 3.0]]), np.array([1, -2])))
    yield Sample((np.array(0.5), np.array([[1], [3]])))


ldexp = elementwise(
    "ldexp", np.ldexp, lambda d, out, x, n: np.ldexp(d, n), None, linear=[{0}], kinds="f", samples=_ldexp_samples,
)  # fmt: skip


def _frexp_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    return np.ldexp(tangents[0], -out[1]), None


# The derivative is that of the mantissa at a fixed exponent, x * 2**-e.
frexp = Op(
    "frexp", evaluate=np.frexp, infer=ufunc_type(np.frexp), jvp=_frexp_jvp,
    batch=elementwise_batch("frexp"), multiple_results=True, nonnegative=True, kinds="f", samples=unary_samples(1.2, 1.8),
)  # fmt: skip


def _modf_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    return tangents[0], None


modf = Op(
    "modf", evaluate=np.modf, infer=ufunc_type(np.modf), jvp=_modf_jvp,
    batch=elementwise_batch("modf"), multiple_results=True, nonnegative=True, kinds="f", samples=unary_samples(1.2, 1.8),
)  # fmt: skip
UFUNCS[np.frexp], UFUNCS[np.modf] = frexp, modf
heaviside = elementwise(
    "heaviside", np.heaviside, None, lambda d, out, x, h: d,
    taken=lambda out, x, h: (None, Mask(lambda: np.equal(x, 0))),
    kinds="f", samples=binary_samples(0.3, 2),
)  # fmt: skip
