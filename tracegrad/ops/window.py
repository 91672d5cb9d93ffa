"""Windows that slide over an array: their geometry, which convolution shares, and `reduce_window`.

Along each axis, in this order: `base_dilation - 1` holes are put between neighbours, `padding` holes in front and behind
(a negative number cuts off), and a window of `size` elements, `dilation` apart, stands at every `stride`-th place at
which it fits. Holes hold what changes nothing: zeros in a sum, minus infinity in a maximum.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError, at, clip, user_source
from tracegrad.core.op import Along, Op, Params, Sample, View, Wanted
from tracegrad.core.trace import as_array, bind, strengthened
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import ArrayType, Shape, float_extreme, number_kind, type_of
from tracegrad.ops.cumulative import along
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import implements, linear, locally_constant, normalize_axis, shape_of
from tracegrad.ops.index import scatter_add_op, take
from tracegrad.ops.masks import masking_vjp
from tracegrad.ops.reach import in_windows
from tracegrad.typing import Array, ArrayLike

Pads = tuple[tuple[int, int], ...]

# ---------------------------------------------------------------------------------------------------------------------
# Geometry.


def dilated(n: int, dilation: int) -> int:
    """How far n elements reach that stand `dilation` apart."""
    return (n - 1) * dilation + 1 if n else 0


def window_count(n: int, size: int, stride: int, dilation: int) -> int:
    """At how many places in n elements a window fits."""
    return max((n - dilated(size, dilation)) // stride + 1, 0)


def transposed_padding(
    n: int, size: int, count: int, stride: int, pads: tuple[int, int], base_dilation: int, dilation: int
) -> tuple[int, int]:
    """The padding with which windows over `count` outputs, `stride` apart, come back to the n elements they were made
    of: element i lay in the windows from `i - reach` to `i`, counted with the padding in front."""
    reach = dilated(size, dilation) - 1
    low = reach - pads[0]
    return low, reach + dilated(n, base_dilation) - dilated(count, stride) - low


def landing(n: int, start: int, step: int, total: int) -> tuple[slice, slice]:
    """Of n elements, of which the i-th goes to `start + i * step`: those that land in range(total), and where."""
    first = max(0, -(start // step))
    stop = max(first, min(n, -((start - total) // step)))
    return slice(first, stop), slice(start + first * step, start + stop * step, step)


def spread_out(x: Any, padding: Sequence[tuple[int, int]], dilation: Sequence[int], fill: Any) -> Any:
    """A C-ordered copy of `x` with holes between neighbours and at the ends, which hold `fill`; `x` if there are none."""
    if all([d == 1 for d in dilation]) and all([p == (0, 0) for p in padding]):
        return x
    shape = [max(low + dilated(n, d) + high, 0) for n, (low, high), d in zip(x.shape, padding, dilation, strict=True)]
    places = [landing(n, low, d, m) for n, (low, _), d, m in zip(x.shape, padding, dilation, shape, strict=True)]
    out = np.full(shape, fill, x.dtype) if fill else np.zeros(shape, x.dtype)
    out[tuple([target for _, target in places])] = x[tuple([source for source, _ in places])]
    return out


def window_view(x: Any, first: int, sizes: Shape, strides: Shape, dilation: Shape) -> Any:
    """The windows over the axes from `first` on, without a copy: those axes become the windows' places, and behind
    them stand the places within a window."""
    last = first + len(sizes)
    counts = map(window_count, x.shape[first:last], sizes, strides, dilation)
    steps = x.strides[first:last]
    return np.lib.stride_tricks.as_strided(
        x,
        (*x.shape[:first], *counts, *sizes, *x.shape[last:]),
        (
            *x.strides[:first],
            *map(operator.mul, steps, strides),
            *map(operator.mul, steps, dilation),
            *x.strides[last:],
        ),
        writeable=False,
    )


# ---------------------------------------------------------------------------------------------------------------------
# Arguments, as users give them.


def refused(name: str, why: str) -> ShapeError:
    """The error for arguments of a windowed function, which names the user's line."""
    return ShapeError(f"{name}{at(user_source())}: {why}")


def one_per_axis(name: str, what: str, values: Any, count: int) -> Shape:
    """Positive ints, one for each of `count` axes, as a tuple; ones, if None is given."""
    if values is None:
        return (1,) * count
    try:
        sizes = tuple([operator.index(v) for v in values])
    except TypeError:
        sizes = ()
    if len(sizes) != count or any([v < 1 for v in sizes]):
        raise refused(name, f"{what} must be {count} positive ints, one for each axis of the windows, got {values!r}")
    return sizes


def padding_pairs(name: str, padding: Any, sizes: Shape, windows: Shape, strides: Shape) -> Pads:
    """Padding in any of its forms as pairs (in front, behind). `windows` are counted with their dilation."""
    count = len(sizes)
    if isinstance(padding, str):
        if (kind := padding.upper()) == "VALID":
            return ((0, 0),) * count
        if kind not in ("SAME", "SAME_LOWER"):
            raise refused(
                name, f"padding must be 'SAME', 'SAME_LOWER', 'VALID' or {count} pairs of ints, got {padding!r}"
            )
        pairs = []
        for n, w, s in zip(sizes, windows, strides, strict=True):
            total = max((-(-n // s) - 1) * s + w - n, 0)
            less, more = total // 2, total - total // 2
            pairs.append((less, more) if kind == "SAME" else (more, less))
        return tuple(pairs)
    try:
        given = tuple([(operator.index(low), operator.index(high)) for low, high in padding])
    except (TypeError, ValueError):
        given = None
    if given is None or len(given) != count:
        raise refused(
            name,
            f"padding must be 'SAME', 'SAME_LOWER', 'VALID' or {count} pairs of ints (in front, behind), one for each "
            f"axis of the windows, such as {((1, 1),) * count}; got {padding!r}",
        )
    return given


# ---------------------------------------------------------------------------------------------------------------------
# What the ops share: parameters, type rule, batching, and the reduction itself.


class Windows(NamedTuple):
    """The parameters of a windowed op, all of which have one entry for each axis of the operand."""

    window: Shape
    strides: Shape
    padding: Pads
    base_dilation: Shape
    window_dilation: Shape

    def counts(self, shape: Shape) -> Shape:
        """The shape of the result for an operand of this shape."""
        return tuple(
            [
                window_count(low + dilated(n, b) + high, w, s, d)
                for n, w, s, (low, high), b, d in zip(shape, *self, strict=True)
            ]
        )

    def transposed(self, shape: Shape) -> Windows:
        """The windows over the results that hold each element of an operand of this shape: one for each element."""
        pads = map(
            transposed_padding,
            shape, self.window, self.counts(shape), self.strides, self.padding, self.base_dilation, self.window_dilation,
        )  # fmt: skip
        return Windows(self.window, self.base_dilation, tuple(pads), self.strides, self.window_dilation)

    def with_batch(self) -> Windows:
        """The same with one axis more in front, along which windows hold one element each."""
        return Windows((1, *self.window), (1, *self.strides), ((0, 0), *self.padding),
                       (1, *self.base_dilation), (1, *self.window_dilation))  # fmt: skip


# Combines two lists of arrays, the second into the first.
Combine = Callable[[Sequence[Any], Sequence[Any]], None]
_CALL = 1000  # elements that are combined in the time of one call


def _windows_along(arrays: Sequence[Any], axis: int, size: int, stride: int, dilation: int, combine: Combine) -> Any:
    """The arrays combined over windows along one axis.

    Short windows element by element; long ones by doubling, in which the result over m elements from each place on
    gives that over 2 m: log2(size) passes over everything instead of `size` passes over the windows.
    """
    n, ndim = arrays[0].shape[axis], arrays[0].ndim
    count = window_count(n, size, stride, dilation)

    def piece(of: Sequence[Any], start: int, count: int, step: int = 1) -> list[Any]:
        where = along(axis, ndim, slice(start, start + (count - 1) * step + 1 if count else start, step))
        return [a[where] for a in of]

    width = arrays[0].size // max(n, 1)
    if size * (_CALL + count * width) <= 2 * size.bit_length() * (_CALL + n * width):
        total = [a.copy() for a in piece(arrays, 0, count, stride)]
        for j in range(1, size):
            combine(total, piece(arrays, j * dilation, count, stride))
        return total
    full = n - (size - 1) * dilation
    total, done, m = [], 0, 1
    while True:
        if size & m:
            if total:
                combine(total, piece(arrays, done * dilation, full))
            else:
                total = [a.copy() for a in piece(arrays, done * dilation, full)]
            done += m
        if done == size:
            return piece(total, 0, count, stride)
        length = n - (2 * m - 1) * dilation
        twice = [a.copy() for a in piece(arrays, 0, length)]
        combine(twice, piece(arrays, m * dilation, length))
        arrays, m = twice, 2 * m


def _combined(arrays: Sequence[Any], fills: Sequence[Any], windows: Windows, combine: Combine) -> Sequence[Any]:
    """The arrays combined over all windows, one axis after another. From the last axis on: of what is equal, an order
    in which each left operand comes before the right one keeps the first in the window."""
    combined = [
        spread_out(a, windows.padding, windows.base_dilation, fill) for a, fill in zip(arrays, fills, strict=True)
    ]
    for axis in reversed(range(combined[0].ndim)):
        size, stride = windows.window[axis], windows.strides[axis]
        if size > 1 or stride > 1:
            combined = _windows_along(combined, axis, size, stride, windows.window_dilation[axis], combine)
    return [f.copy() if f is a else f for f, a in zip(combined, arrays, strict=True)]


def _reduced(x: Any, ufunc: np.ufunc, fill: Any, windows: Windows) -> Any:
    def combine(total: Sequence[Any], others: Sequence[Any]) -> None:
        ufunc(total[0], others[0], out=total[0])

    return _combined([x], [fill], windows, combine)[0]


def _windows_type(dtype: Any = None) -> Callable[[Sequence[ArrayType], Params], ArrayType]:
    def infer(types: Sequence[ArrayType], params: Params) -> ArrayType:
        return ArrayType(Windows(**params).counts(types[0].shape), dtype or types[0].dtype)

    return infer


def _windows_batch(op: Callable[[], Op]) -> Callable[[int, Sequence[bool], Sequence[Any], Params], Any]:
    def batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
        return bind(op(), tuple(inputs), Windows(**params).with_batch()._asdict())

    return batch


# One dimension and several; overlapping windows and gaps; holes and cuts of every kind; a long window; none that fits.
_FULL: list[tuple[Shape, Windows]] = [
    ((5,), Windows((2,), (1,), ((0, 0),), (1,), (1,))),
    ((5,), Windows((3,), (2,), ((1, 1),), (1,), (1,))),
    ((5,), Windows((2,), (3,), ((-1, 2),), (1,), (2,))),
    ((4,), Windows((2,), (1,), ((1, 0),), (2,), (1,))),
    ((3,), Windows((1,), (1,), ((0, 0),), (1,), (1,))),
    ((40,), Windows((21,), (2,), ((0, 3),), (1,), (1,))),
    ((2,), Windows((3,), (1,), ((0, 0),), (1,), (1,))),
    ((3, 4), Windows((2, 2), (1, 1), ((0, 0), (0, 0)), (1, 1), (1, 1))),
    ((4, 3), Windows((2, 3), (2, 1), ((0, 1), (1, 1)), (1, 2), (2, 1))),
    ((2, 4, 4, 2), Windows((1, 2, 2, 1), (1, 2, 2, 1), ((0, 0),) * 4, (1,) * 4, (1,) * 4)),
]
# Windows that hold nothing but holes: their maximum is infinite, which has no differences to compare with.
_EMPTY: list[tuple[Shape, Windows]] = [
    ((4,), Windows((2,), (1,), ((1, 0),), (3,), (2,))),
    ((3,), Windows((2,), (1,), ((3, 2),), (1,), (1,))),
    ((2, 0), Windows((1, 2), (1, 1), ((0, 0), (1, 2)), (1, 1), (1, 1))),
]


def _full_samples() -> Iterable[Sample]:
    return _samples_of(_FULL)


def _samples() -> Iterable[Sample]:
    return _samples_of(_FULL + _EMPTY)


def _samples_of(table: list[tuple[Shape, Windows]]) -> Iterable[Sample]:
    rng = np.random.default_rng(0)
    for shape, windows in table:
        # A permutation of spaced numbers: no two are so close that a difference swaps them.
        x = (rng.permutation(math.prod(shape)) + 1.0).reshape(shape) / 4 - 1.1
        yield Sample((x,), windows._asdict())


# ---------------------------------------------------------------------------------------------------------------------
# Sums. The transpose of a sum over windows is a sum over windows.


def _sum_transpose(ct: Any, x: Any, **params: Any) -> Any:
    return bind(reduce_window_sum_op, (ct,), Windows(**params).transposed(x.shape)._asdict())


def _sums(x: Any, **params: Any) -> Any:
    return _reduced(x, np.add, 0, Windows(**params))


def _sums_reach(i: int, types: Sequence[ArrayType], out: ArrayType, params: Params, known: Sequence[Any]) -> Along:
    rows = zip(types[0].shape, out.shape, *Windows(**params), strict=True)
    return Along([(a, a, in_windows(n, m, w, s, low, b, d)) for a, (n, m, w, s, (low, _), b, d) in enumerate(rows)])


reduce_window_sum_op: Op = linear(
    "reduce_window_sum",
    _sums,
    _sum_transpose,
    reach=_sums_reach,
    infer=_windows_type(),
    batch=_windows_batch(lambda: reduce_window_sum_op),
    nonnegative=True,
    kinds="iufc",
    samples=_samples,
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
    return _reduced(x, ufunc, worst(x.dtype), Windows(**params))


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
    return _combined([x, numbers], [worst(x.dtype), -1], windows, combine)[1].astype(np.intp, copy=False)


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
        infer=_windows_type(np.dtype(np.intp)),
        batch=places_batch,
        kinds="biuf",
        samples=_samples,
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
        infer=_windows_type(),
        jvp=jvp,
        vjp=masking_vjp(vjp, 0),
        nonnegative=True,
        batch=_windows_batch(lambda: op),
        kinds="biuf",
        samples=_full_samples,
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
    numbers = spread_out(numbers, windows.padding, windows.base_dilation, -1)
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


# ---------------------------------------------------------------------------------------------------------------------
# Windows as NumPy makes them, which are read and not reduced.


def _sliding(x: Any, axis: int, size: int) -> Any:
    return np.lib.stride_tricks.sliding_window_view(x, size, axis)


def _sliding_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,), axis, size = types, params["axis"], params["size"]
    return ArrayType((*t.shape[:axis], t.shape[axis] - size + 1, *t.shape[axis + 1 :], size), t.dtype)


def places_in_windows(n: int, size: int) -> Any:
    """Which of n elements stands at each place of each window."""
    return np.arange(n - size + 1)[:, None] + np.arange(size)


def _sliding_transpose(ct: Any, x: Any, axis: int, size: int) -> Any:
    shape = shape_of(x)
    params = {"index": (*(":",) * axis, "array"), "shape": shape}
    return bind(scatter_add_op, (np.moveaxis(ct, -1, axis + 1), places_in_windows(shape[axis], size)), params)


def _sliding_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    return bind(sliding_windows_op, tuple(inputs), {**params, "axis": params["axis"] + 1})


def _sliding_samples() -> Iterable[Sample]:
    x = np.random.default_rng(0).uniform(-1, 1, (4, 3))
    for axis, size in ((0, 1), (0, 3), (1, 2), (1, 3), (1, 0)):
        yield Sample((x,), {"axis": axis, "size": size})


sliding_windows_op = linear(
    "sliding_windows", _sliding, _sliding_transpose, infer=_sliding_type, batch=_sliding_batch, kinds="biufc",
    samples=_sliding_samples, moves=True, view=View(None, _sliding),
)  # fmt: skip


@implements(np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(
    x: ArrayLike, window_shape: Any, axis: Any = None, *, subok: bool = False, writeable: bool = False
) -> Array:
    """The windows of a shape at all places of an array, a read-only view: their places along the axes that they slide along, and
    behind all axes the places within a window.

    Args:
        x: an array.
        window_shape: a size, or one for each axis.
        axis: the axes, or one; all, if None. Along one that is named twice windows slide over the windows.
        subok: is not looked at.
        writeable: True is refused where x is traced: elements of windows that overlap are the same.

    Raises:
        ValueError: sizes that are negative, larger than the array or not as many as the axes.

    >>> sliding_window_view(np.arange(4.0), 2).tolist()
    [[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]]
    """
    x = as_array(x)
    sizes = tuple(window_shape) if np.iterable(window_shape) else (window_shape,)
    sizes = tuple([operator.index(n) for n in sizes])
    ndim = len(shape_of(x))
    if any([n < 0 for n in sizes]):
        raise ValueError(f"`window_shape` cannot contain negative values: {sizes}")
    if axis is None:
        axes = tuple(range(ndim))
    else:
        given = tuple(axis) if np.iterable(axis) else (axis,)
        axes = tuple([normalize_axis(a, ndim, "sliding_window_view") for a in given])
    if len(axes) != len(sizes):
        raise ValueError(f"sliding_window_view needs a size for each axis: window_shape={window_shape}, axis={axis}")
    if writeable:
        raise ValueError(
            f"sliding_window_view{at(user_source())} of what is traced is read-only; write into the array itself"
        )
    for a, size in zip(axes, sizes, strict=True):
        if size > shape_of(x)[a]:
            raise ValueError(
                f"window shape cannot be larger than input array shape: {size} along axis {a} of {type_of(x)}"
            )
        x = bind(sliding_windows_op, (x,), {"axis": a, "size": size})
    return x
