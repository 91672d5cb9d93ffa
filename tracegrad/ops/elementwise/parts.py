"""Size, sign, complex parts. On complex numbers these are linear over the reals only; the family takes the real part of a tangent
wherever the output is real, which makes each map below the right one in both directions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError
from tracegrad.core.functions import UFUNCS
from tracegrad.core.op import Op, Params, Sample, View, Wanted
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import ArrayType, number_kind, scalar_type, type_of
from tracegrad.ops.elementwise.conventions import is_real, share
from tracegrad.ops.elementwise.samples import binary_samples, unary_samples
from tracegrad.ops.families import broadcast_shapes, elementwise, elementwise_batch, else_numpy, implements, ufunc_type
from tracegrad.typing import Array, ArrayLike


def _absolute_partial(d: Any, out: Any, x: Any) -> Any:
    """d times 1 or -1; at a real zero 1, at a complex zero 0, as in JAX."""
    if is_real(x):
        return np.where(np.greater_equal(x, 0), d, -d)
    return d * share(np.conjugate(x), out)


absolute = elementwise(
    "absolute", np.absolute, _absolute_partial, python=else_numpy(abs, np.absolute), kinds="iufc", samples=unary_samples(0.3, 2),
)  # fmt: skip
fabs = elementwise("fabs", np.fabs, _absolute_partial, kinds="f", samples=unary_samples(-2, -0.3))


def _sign_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    """Constant on the reals. A complex z / |z| turns with z: (t - out**2 conj(t)) / 2|z|, and is zero at zero."""
    (z,), (t,) = primals, tangents
    if is_real(out):
        return None
    return (t - out * out * np.conjugate(t)) / (2 * _modulus_or_infinity(z))


def _sign_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    if is_real(out):
        return [None]
    return [(ct - np.conjugate(out * out * ct)) / (2 * _modulus_or_infinity(primals[0]))]


def _modulus_or_infinity(z: Any) -> Any:
    return np.abs(np.where(np.equal(z, 0), math.inf, z))


sign = Op(
    "sign", evaluate=np.sign, infer=ufunc_type(np.sign), jvp=_sign_jvp, vjp=_sign_vjp,
    batch=elementwise_batch("sign"), kinds="iufc", samples=unary_samples(0.3, 2),
)  # fmt: skip
UFUNCS[np.sign] = sign
copysign = elementwise(
    "copysign", np.copysign, lambda d, out, x, y: np.where(np.equal(np.less(x, 0), np.signbit(y)), d, -d), None,
    kinds="f", samples=binary_samples(0.3, 2, -2, -0.3),
)  # fmt: skip


def _conjugate_of_number(x: Any) -> Any:
    return x.conjugate()


conjugate = elementwise(
    "conjugate", np.conjugate, lambda d, out, x: np.conjugate(d), linear=[{0}], python=_conjugate_of_number,
    kinds="iufc", samples=unary_samples(-2, 2),
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Complex numbers and their parts.


def _complex(x: Any, y: Any) -> Any:
    """A complex number from its parts. (`x + 1j * y` would make NaN of an infinite part.)"""
    out = np.empty(np.broadcast_shapes(np.shape(x), np.shape(y)), np.result_type(x, y, np.complex64))
    out.real, out.imag = x, y
    return out[()]


def _complex_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return ArrayType(broadcast_shapes("complex", types), np.result_type(*[t.weight for t in types], np.complex64))


def _parts_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(0)
    for left, right in [((2, 3), (2, 3)), ((3,), (2, 1)), ((), (3,))]:
        yield Sample((rng.uniform(-1, 1, left), rng.uniform(-1, 1, right)))


complex_op = elementwise(
    "complex", _complex, lambda d, out, x, y: d, lambda d, out, x, y: d * 1j, infer=_complex_type, linear=[{0, 1}],
    kinds="f", samples=_parts_samples,
)  # fmt: skip


def from_parts(x: ArrayLike, y: ArrayLike) -> Array:
    """The complex number x + iy, in the smallest complex dtype that holds both parts.

    Raises:
        DtypeError: a part that is complex itself.

    >>> complex(from_parts(1.0, -2.0))
    (1-2j)
    """
    x, y = as_array(x), as_array(y)
    if not (is_real(x) and is_real(y)):
        raise DtypeError(f"complex: real and imaginary part must be real, got {type_of(x)} and {type_of(y)}")
    return bind(complex_op, (x, y))


def _real_of_number(x: Any) -> Any:
    return x.real


def _imag_of_number(x: Any) -> Any:
    return x.imag


def _part_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,) = types
    if t.weak:
        return scalar_type(_real_of_number, types, params)
    return ArrayType(t.shape, np.zeros((), t.dtype).real.dtype)


def _has_parts(x: Any) -> bool:
    """Whether the parts of an array are views of it."""
    return x.ndim > 0 and number_kind(x.dtype) == "c"


def _real_part(x: Any) -> Any:
    return np.asarray(x).real[()]


def _imaginary_part(x: Any) -> Any:
    return np.array(np.asarray(x).imag)[()]


real_op = elementwise(
    "real", _real_part, lambda d, out, x: d,
    infer=_part_type, linear=[{0}], python=_real_of_number, kinds="iufc", samples=unary_samples(-2, 2),
    strides=lambda inputs, types, params: None if number_kind(types[0].dtype) == "c" else inputs[0],
    view=View(lambda x, v: from_parts(v, np.imag(x)), lambda x: x.real if _has_parts(x) else None),
)  # fmt: skip
imag_op = elementwise(
    "imag", _imaginary_part, lambda d, out, x: None if is_real(x) else d * -1j,
    infer=_part_type, linear=[{0}], python=_imag_of_number, kinds="iufc", samples=unary_samples(-2, 2),
    view=View(lambda x, v: from_parts(np.real(x), v), lambda x: x.imag if _has_parts(x) else None),
)  # fmt: skip


@implements(np.real)
def real(val: ArrayLike) -> Array:
    """The real part, in the real dtype of the same precision; a real array is its own.

    >>> real(np.array([1 + 2j])).tolist()
    [1.0]
    """
    val = as_array(val)
    t = type_of(val)
    return val if number_kind(t.dtype) != "c" and not t.weak else bind(real_op, (val,))


@implements(np.imag)
def imag(val: ArrayLike) -> Array:
    """The imaginary part; zeros for a real array.

    >>> imag(np.array([1 + 2j])).tolist()
    [2.0]
    """
    return bind(imag_op, (as_array(val),))
