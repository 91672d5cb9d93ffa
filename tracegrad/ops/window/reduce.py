"""`reduce_window`: sums, products, largest and smallest over windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.errors import DtypeError, at, clip, user_source
from tracegrad.core.op import Along, Op, Params, Wanted
from tracegrad.core.trace import as_array, bind, strengthened
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import ArrayType, float_extreme, number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import linear, locally_constant
from tracegrad.ops.index import scatter_add_op, take
from tracegrad.ops.masks import masking_vjp
from tracegrad.ops.reach import in_windows
from tracegrad.ops.window.combining import (
    Windows,
    all_samples,
    combined,
    full_samples,
    reduced,
    windows_batch,
    windows_type,
)
from tracegrad.ops.window.geometry import dilated, one_per_axis, padded_and_dilated, padding_pairs, refused, window_view
from tracegrad.typing import Array, ArrayLike

# ---------------------------------------------------------------------------------------------------------------------
# Sums. The transpose of a sum over windows is a sum over windows.


def _sum_transpose(ct: Any, x: Any, **params: Any) -> Any:
    return bind(reduce_window_sum_op, (ct,), Windows(**params).transposed(x.shape)._asdict())


def _sums(x: Any, **params: Any) -> Any:
    return reduced(x, np.add, 0, Windows(**params))


def _sums_reach(i: int, types: Sequence[ArrayType], out: ArrayType, params: Params, known: Sequence[Any]) -> Along:
    rows = zip(types[0].shape, out.shape, *Windows(**params), strict=True)
    return Along([(a, a, in_windows(n, m, w, s, low, b, d)) for a, (n, m, w, s, (low, _), b, d) in enumerate(rows)])


reduce_window_sum_op: Op = linear(
    "reduce_window_sum",
    _sums,
    _sum_transpose,
    reach=_sums_reach,
    infer=windows_type(),
    batch=windows_batch(lambda: reduce_window_sum_op),
    nonnegative=True,
    kinds="iufc",
    samples=all_samples,
    never_aliases=True,
)


# ---------------------------------------------------------------------------------------------------------------------
# Largest and smallest. The derivative is that of the first of the extreme elements of a window, in C order, as in jax.


def lowest(dtype: Any) -> Any:
    if number_kind(dtype) == "f":
        return float(float_extreme(dtype, -1))
    return False if number_kind(dtype) == "b" else np.iinfo(dtype).min


def highest(dtype: Any) -> Any:
    if number_kind(dtype) == "f":
        return float(float_extreme(dtype, 1))
    return True if number_kind(dtype) == "b" else np.iinfo(dtype).max


def _extremes(x: Any, *, ufunc: np.ufunc, worst: Callable[[Any], Any], **params: Any) -> Any:
    return reduced(x, ufunc, worst(x.dtype), Windows(**params))


def _places(x: Any, *, ufunc: np.ufunc, better: np.ufunc, worst: Callable[[Any], Any], **params: Any) -> Any:
    """Where the winner of each window lies in the flattened operand; -1 for windows of holes only."""
    windows = Windows(**params)
    holes = max(windows.base_dilation, default=1) > 1 or any([max(pads) > 0 for pads in windows.padding])

    def combine(winners: Sequence[Any], others: Sequence[Any]) -> None:
        (value, place), (other, other_place) = winners, others
        wins = better(other, value)
        if number_kind(value.dtype) == "f":
            wins |= np.isnan(other) & ~np.isnan(value)
        if holes:
            wins |= (place < 0) & (other_place >= 0)  # anything beats a hole, an infinity as well
        ufunc(value, other, out=value)
        place[...] = np.where(wins, other_place, place)  # a third of the time of np.copyto with `where`

    numbers = np.arange(x.size, dtype=np.int32 if x.size < 2**31 else np.int64).reshape(x.shape)
    return combined([x, numbers], [worst(x.dtype), -1], windows, combine)[1].astype(np.intp, copy=False)


def _window_extreme(word: str, ufunc: np.ufunc, better: np.ufunc, worst: Callable[[Any], Any]) -> Op:
    """The ops `reduce_window_max` and `window_argmax`, or those with "min"."""

    def places_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
        x = inputs[0]
        places = bind(places_op, (x,), Windows(**params).with_batch()._asdict())
        ahead = np.arange(size).reshape((size,) + (1,) * (len(x.shape) - 1)) * math.prod(x.shape[1:])
        return np.where(places < 0, places, places - ahead)

    places_op = locally_constant(
        f"window_arg{word}",
        partial(_places, ufunc=ufunc, better=better, worst=worst),
        infer=windows_type(np.dtype(np.intp)),
        batch=places_batch,
        kinds="biuf",
        samples=all_samples,
        never_aliases=True,
    )

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        (x,), (t,) = primals, tangents
        if 0 in x.shape:
            return None
        place = bind(places_op, (x,), params)
        return np.where(place < 0, 0, take(np.reshape(t, -1), np.maximum(place, 0)))

    def vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
        (x,) = primals
        if 0 in x.shape:
            return (None,)
        place = bind(places_op, (x,), params)
        params = {"index": ("array",), "shape": (math.prod(x.shape),)}
        d = bind(scatter_add_op, (np.where(place < 0, 0, ct), np.maximum(place, 0)), params)
        return (np.reshape(d, x.shape),)

    op = Op(
        f"reduce_window_{word}",
        evaluate=partial(_extremes, ufunc=ufunc, worst=worst),
        infer=windows_type(),
        jvp=jvp,
        vjp=masking_vjp(vjp, 0),
        nonnegative=True,
        batch=windows_batch(lambda: op),
        kinds="biuf",
        samples=full_samples,
        never_aliases=True,
    )
    return op


reduce_window_max_op = _window_extreme("max", np.maximum, np.greater, lowest)
reduce_window_min_op = _window_extreme("min", np.minimum, np.less, highest)


# ---------------------------------------------------------------------------------------------------------------------
# The function.


def _products(x: Any, windows: Windows) -> Any:
    """Products over windows, by `np.prod` of the windows laid out one by one: its derivatives are exact at zeros too."""
    numbers = np.arange(math.prod(x.shape)).reshape(x.shape)
    numbers = padded_and_dilated(numbers, windows.padding, windows.base_dilation, -1)
    view = window_view(numbers, 0, windows.window, windows.strides, windows.window_dilation)
    place = view.reshape(*view.shape[: numbers.ndim], math.prod(windows.window))
    if 0 in x.shape:
        return np.ones(place.shape[:-1], x.dtype)
    factors = np.where(place < 0, astype(1, x.dtype), take(np.reshape(x, -1), np.maximum(place, 0)))
    return np.prod(factors, axis=-1, dtype=x.dtype)


class _Monoid(NamedTuple):
    ufunc: np.ufunc
    kinds: str  # of the operands that it takes
    neutral: Callable[[Any], Any]  # the value that changes no other, for a dtype
    reduce: Callable[[Any, Windows], Any]


def _by(op: Op) -> Callable[[Any, Windows], Any]:
    return lambda x, windows: bind(op, (x,), windows._asdict())


_ADD = _Monoid(np.add, "iufc", lambda dtype: 0, _by(reduce_window_sum_op))
_MULTIPLY = _Monoid(np.multiply, "iufc", lambda dtype: 1, _products)
_MAXIMUM = _Monoid(np.maximum, "biuf", lowest, _by(reduce_window_max_op))
_MINIMUM = _Monoid(np.minimum, "biuf", highest, _by(reduce_window_min_op))
_MONOIDS = {
    "add": _ADD, "mul": _MULTIPLY, "multiply": _MULTIPLY,
    "max": _MAXIMUM, "maximum": _MAXIMUM, "min": _MINIMUM, "minimum": _MINIMUM,
}  # fmt: skip
# Whose functions of these names do what the names say; a user's own `add` might do anything.
_KNOWN_PACKAGES = {"_operator", "jax", "numpy", "operator", "tracegrad"}


def _monoid(computation: Any) -> _Monoid:
    name = computation if isinstance(computation, str) else getattr(computation, "__name__", "")
    package = (getattr(computation, "__module__", None) or "numpy").partition(".")[0]
    monoid = _MONOIDS.get(name)
    if monoid is None or not (isinstance(computation, str) or package in _KNOWN_PACKAGES):
        raise TypeError(
            f"reduce_window{at(user_source())}: computation must be np.add, np.multiply, np.maximum or np.minimum (or "
            f"operator.add, operator.mul, or a name such as 'add'), which are known to be associative and to have "
            f"derivatives, got {clip(repr(computation))}"
        )
    return monoid


def reduce_window(
    operand: ArrayLike,
    init_value: ArrayLike,
    computation: Callable[..., Any] | str,
    window_dimensions: Sequence[int],
    window_strides: Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "VALID",
    base_dilation: Sequence[int] | None = None,
    window_dilation: Sequence[int] | None = None,
) -> Array:
    """Sums, products, maxima or minima over windows that slide over an array: pooling, as `jax.lax.reduce_window`.

    `operand` is an array of any number of axes, and the other arguments have one entry for each of these. The result
    has `operand`'s dtype and along an axis of n elements, with dilation and padding, `(n - window) // stride + 1`.

    init_value      a scalar that each result starts from: 0, 1, -np.inf or np.inf leaves it as it is
    computation     np.add, np.multiply, np.maximum or np.minimum, or the name of one
    padding         "VALID" (none), "SAME" (the result has ceil(n / stride) elements, an odd number of pads puts one more
                    behind), "SAME_LOWER" (one more in front), or pairs (in front, behind), negative to cut off.
                    Padding is not part of a window: a maximum is never that of the padding
    base_dilation   distance at which the elements of `operand` are placed, with holes between; "SAME" means the padding
                    that it would be without
    window_dilation distance between the elements of a window

    The derivative of a maximum or minimum belongs to the first of equal elements in a window, in C order. Raises
    ShapeError for windows that do not fit the operand's axes, DtypeError for dtypes that the computation does not
    take (booleans in sums, complex numbers in maxima), TypeError for another computation.

    >>> x = np.array([1.0, 3.0, 2.0, 5.0, 4.0])
    >>> reduce_window(x, -np.inf, np.maximum, (2,), (2,)).tolist()
    [3.0, 5.0]
    >>> reduce_window(x, 0.0, np.add, (3,), padding="SAME").tolist()
    [4.0, 6.0, 10.0, 11.0, 9.0]

    Source: the windows are those of XLA's operation ReduceWindow; that of the derivative is its SelectAndScatter.
    """
    name = "reduce_window"
    monoid = _monoid(computation)
    if isinstance(operand, list | tuple | dict):
        raise TypeError(
            f"{name}{at(user_source())} takes one array, got a {type(operand).__name__}; call it once for each array"
        )
    x = strengthened(as_array(operand))  # windows are of an array, a traced number too
    dtype, ndim = x.dtype, len(x.shape)
    if number_kind(dtype) not in monoid.kinds:
        raise DtypeError(
            f"{name}{at(user_source())} with {monoid.ufunc.__name__} takes no {dtype} operand; "
            + ("write x.astype(int) to count" if number_kind(dtype) == "b" else "complex numbers have no order")
        )
    if len(window_dimensions) != ndim:
        raise refused(
            name,
            f"window_dimensions {tuple(window_dimensions)} must have one size for each axis of {type_of(x)}; write 1 "
            "for an axis along which there are no windows",
        )
    window = one_per_axis(name, "window_dimensions", window_dimensions, ndim)
    strides = one_per_axis(name, "window_strides", window_strides, ndim)
    base = one_per_axis(name, "base_dilation", base_dilation, ndim)
    dilation = one_per_axis(name, "window_dilation", window_dilation, ndim)
    # Words are counted without base_dilation, as jax has it.
    pads = padding_pairs(name, padding, x.shape, tuple(map(dilated, window, dilation)), strides)
    out = monoid.reduce(x, Windows(window, strides, pads, base, dilation))
    start = _start(init_value, dtype, monoid)
    return out if start is None else monoid.ufunc(out, start)


def _start(init_value: Any, dtype: Any, monoid: _Monoid) -> Any:
    """The scalar to combine results with, in their dtype; None for the neutral one."""
    init = as_array(init_value)
    t = type_of(init)
    if t.shape:
        raise refused("reduce_window", f"init_value must be a scalar, got {t}")
    neutral = monoid.neutral(dtype)
    if type(init) is not Tracer:
        # An infinity stands for the least or greatest integer too.
        same = init == neutral or (number_kind(t.dtype) == "f" and init == monoid.neutral(t.dtype))
        if same and (number_kind(t.dtype) != "b" or number_kind(dtype) == "b"):
            return None
    if not np.can_cast(t.dtype, dtype, "same_kind"):
        raise DtypeError(
            f"reduce_window{at(user_source())}: init_value {t} does not fit an operand of {dtype}; write one of the "
            f"operand's dtype, such as {neutral!r}"
        )
    return astype(init, dtype)
