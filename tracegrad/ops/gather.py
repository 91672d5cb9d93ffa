"""Windows gathered from an array at many places, and scattered into it: `jax.lax.gather` and the scatter functions.

Where `x[i, j]` names elements, these name the corners of windows. What a call means is worked out once, as integer
arithmetic on whole arrays of indices (`_find`): the operand with its indexed axes in front, and one index array for each
of them. The ops of `index.py` then read and write, with their derivatives and batching. Only the running maximum and
minimum at places need ops of their own.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError, user_source
from tracegrad.core.errors import at as at_line
from tracegrad.core.op import Op, Params, Sample, Wanted
from tracegrad.core.symbols import broadcast_shapes, numbers_up_to
from tracegrad.core.trace import as_array, bind
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import ArrayType, Shape, float_extreme, number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import conform, shape_of
from tracegrad.ops.index import at, gather_op, scatter_add_op, wide
from tracegrad.ops.index.at import is_lossy
from tracegrad.ops.index.expression import behind_examples
from tracegrad.ops.shape import inverse_permutation
from tracegrad.typing import Array, ArrayLike


class GatherDimensionNumbers(NamedTuple):
    """Which axes mean what in `gather`.

    offset_dims                  the axes of the result that run along a window; the others are those of the indices
    collapsed_slice_dims         axes of the operand of which a window has one place, left out of the result
    start_index_map              start_indices[..., k] counts along this axis of the operand
    operand_batching_dims        axes of the operand that go along with axes of the indices: example i with example i,
    start_indices_batching_dims  which are these
    """

    offset_dims: Sequence[int]
    collapsed_slice_dims: Sequence[int]
    start_index_map: Sequence[int]
    operand_batching_dims: Sequence[int] = ()
    start_indices_batching_dims: Sequence[int] = ()


class ScatterDimensionNumbers(NamedTuple):
    """Which axes mean what in the scatter functions, each the counterpart of a field of `GatherDimensionNumbers`.

    update_window_dims             the axes of the updates that run along a window (there: offset_dims)
    inserted_window_dims           axes of the operand that the updates lack (there: collapsed_slice_dims)
    scatter_dims_to_operand_dims   scatter_indices[..., k] counts along this axis of the operand
    operand_batching_dims          axes of the operand that go along with axes of the indices,
    scatter_indices_batching_dims  which are these
    """

    update_window_dims: Sequence[int]
    inserted_window_dims: Sequence[int]
    scatter_dims_to_operand_dims: Sequence[int]
    operand_batching_dims: Sequence[int] = ()
    scatter_indices_batching_dims: Sequence[int] = ()


class GatherScatterMode(enum.Enum):
    """What becomes of windows that are not all within the operand.

    CLIP               they are moved until they are
    FILL_OR_DROP       `gather` fills them with a value, scatter functions leave them out
    PROMISE_IN_BOUNDS  there are none; IndexError where there is one all the same
    """

    CLIP = 0
    FILL_OR_DROP = 1
    PROMISE_IN_BOUNDS = 2

    @staticmethod
    def from_any(mode: str | GatherScatterMode | None) -> GatherScatterMode:
        """The mode that a keyword names: itself, "clip", "fill" or "drop" (also None), "promise_in_bounds"."""
        if isinstance(mode, GatherScatterMode):
            return mode
        names = {
            "clip": GatherScatterMode.CLIP,
            "fill": GatherScatterMode.FILL_OR_DROP,
            "drop": GatherScatterMode.FILL_OR_DROP,
            "promise_in_bounds": GatherScatterMode.PROMISE_IN_BOUNDS,
        }
        if mode is None:
            return GatherScatterMode.FILL_OR_DROP
        if mode not in names:
            raise ValueError(
                f"mode must be one of {', '.join(map(repr, names))}, a GatherScatterMode or None; got {mode!r}"
            )
        return names[mode]


# ---------------------------------------------------------------------------------------------------------------------
# From dimension numbers to index arrays.


class _Windows(NamedTuple):
    """Where the windows of a call lie.

    order    the axes of the operand, those that are indexed in front
    arrays   an index array for each of these, of one joint shape: the indices' axes, then a window's
    inside   for each window whether it is within the operand; True where all are known to be
    layout   the axes of the result (of the updates), each by its place among the joint axes and the axes not indexed
    """

    order: tuple[int, ...]
    arrays: tuple[Any, ...]
    inside: Any
    layout: tuple[int, ...]

    def over_windows(self, per_window: Any) -> Any:
        """One value for each window, shaped to broadcast against joint and other axes."""
        shape = shape_of(per_window)
        return np.reshape(per_window, (*shape, *(1,) * (len(self.layout) - len(shape))))


def _refuse(name: str, why: str) -> ShapeError:
    return ShapeError(f"{name}: {why}{at_line(user_source())}")


def _checked(name: str, shape: Shape, indices: ArrayType, numbers: GatherDimensionNumbers, sizes: Shape) -> None:
    """Raise for dimension numbers that do not fit the operand, the indices or each other."""
    ndim = len(shape)
    if number_kind(indices.dtype) not in "iu":
        raise DtypeError(
            f"{name}: indices must be integers, got {indices}{at_line(user_source())}; write i.astype(int)"
        )
    if not indices.shape:
        raise _refuse(name, f"the last axis of the indices holds one index for each axis; got {indices}, write i[None]")
    offsets, collapsed, index_map, batching, with_indices = numbers
    if indices.shape[-1] != len(index_map):
        raise _refuse(
            name,
            f"the last axis of the indices {indices} has {indices.shape[-1]} entries for the {len(index_map)} axes "
            f"{tuple(index_map)}; give one for each",
        )
    axes = [*collapsed, *batching]
    if len(set(axes)) != len(axes) or len(set(index_map)) != len(index_map) or set(index_map) & set(batching):
        raise _refuse(name, f"an axis of the operand is named twice in {numbers}")
    if any([not 0 <= a < ndim for a in (*axes, *index_map)]):
        raise _refuse(name, f"{numbers} names axes that an operand of shape {shape} has not")
    if len(sizes) != ndim:
        raise _refuse(name, f"a window needs a size for each axis of the operand: got {sizes} for shape {shape}")
    for axis, (n, w) in enumerate(zip(shape, sizes, strict=True)):
        if not 0 <= w <= n and axis not in batching:
            raise _refuse(
                name, f"a window of {w} does not fit axis {axis} of size {n} (operand {shape}, window {sizes})"
            )
        if axis in axes and w > 1:
            raise _refuse(name, f"axis {axis} is collapsed or batched, so its window must be 1 wide, not {w}")
    if len(batching) != len(with_indices) or any(
        [
            not 0 <= i < len(indices.shape) - 1 or indices.shape[i] != shape[a]
            for a, i in zip(batching, with_indices, strict=False)
        ]
    ):
        raise _refuse(
            name,
            f"batching axes {tuple(batching)} of the operand {shape} and {tuple(with_indices)} of the indices {indices} "
            "must go along in pairs of equal size",
        )
    count = ndim - len(axes)
    result = len(indices.shape) - 1 + count
    if len(offsets) != count or list(offsets) != sorted(set(offsets)) or any([not 0 <= i < result for i in offsets]):
        raise _refuse(
            name,
            f"a window has {count} axes, and they need as many places, in order, among the {result} of the result or "
            f"updates; got {tuple(offsets)}",
        )


def _windows(
    name: str, shape: Shape, indices: Any, numbers: GatherDimensionNumbers, sizes: Shape, mode: GatherScatterMode
) -> _Windows:
    """Where the windows lie in an operand of this shape, which is not a scalar."""
    _checked(name, shape, type_of(indices), numbers, sizes)
    offsets, collapsed, index_map, batching, with_indices = [tuple(n) for n in numbers]
    indices = wide(indices)
    lead = indices.shape[:-1]
    inside: Any = True
    starts: dict[int, Any] = {axis: 0 for axis in collapsed}
    for axis, i in zip(batching, with_indices, strict=True):
        starts[axis] = np.reshape(numbers_up_to(shape[axis]), tuple([-1 if j == i else 1 for j in range(len(lead))]))
    for k, axis in enumerate(index_map):
        start, last = indices[..., k], shape[axis] - sizes[axis]
        if mode is GatherScatterMode.PROMISE_IN_BOUNDS:
            start = _promised(name, start, axis, shape[axis], sizes[axis])
        else:
            if mode is GatherScatterMode.FILL_OR_DROP:
                here = np.logical_and(start >= 0, start <= last)
                inside = here if inside is True else np.logical_and(inside, here)
            start = np.clip(start, 0, last)
        starts[axis] = start
    removed = {*collapsed, *batching}
    for axis in range(len(shape)):
        # A window as wide as the axis begins at its beginning; one that is not needs an index array.
        if axis not in removed and (sizes[axis] == shape[axis] or axis not in starts):
            starts.pop(axis, None)
            if sizes[axis] != shape[axis]:
                starts[axis] = 0
    if not starts:
        starts[0] = 0  # NumPy needs an index array to repeat a window
    indexed = sorted(starts)
    windows = [axis for axis in indexed if axis not in removed]
    rest = [axis for axis in range(len(shape)) if axis not in starts]
    joint = (*lead, *[sizes[axis] for axis in windows])
    arrays = []
    for axis in indexed:
        a = np.reshape(starts[axis], (*shape_of(starts[axis]), *(1,) * len(windows)))
        if axis in windows and sizes[axis] != 1:
            place = windows.index(axis)
            a = a + np.reshape(numbers_up_to(sizes[axis]), (-1, *(1,) * (len(windows) - 1 - place)))
        arrays.append(a)
    if broadcast_shapes(*[shape_of(a) for a in arrays]) != joint:
        arrays[0] = np.broadcast_to(arrays[0], joint)
    places = {axis: len(lead) + i for i, axis in enumerate([*windows, *rest])}
    along_window, along_indices = iter([places[axis] for axis in sorted(places)]), iter(range(len(lead)))
    layout = tuple([next(along_window if i in offsets else along_indices) for i in range(len(lead) + len(places))])
    if type(inside) is not Tracer and np.all(inside):
        inside = True
    return _Windows((*indexed, *rest), tuple(arrays), inside, layout)


def _promised(name: str, start: Any, axis: int, size: int, width: int) -> Any:
    """Starts that are promised to be in range, such that NumPy raises if they are not: it takes negative ones."""
    if type(start) is Tracer:
        return np.where(start < 0, size, start)
    low, high = np.min(start, initial=0), np.max(start, initial=0)
    if low < 0 or high > size - width:
        raise IndexError(
            f"{name}: a window of {width} that begins at {low if low < 0 else high} is out of bounds for axis {axis} with "
            f"size {size}{at_line(user_source())}; mode='clip' moves such windows, mode='fill' (or 'drop') fills or drops "
            "them"
        )
    return start


def _read(x: Any, arrays: Sequence[Any]) -> Any:
    return bind(gather_op, (x, *arrays), {"index": ("array",) * len(arrays)})


# ---------------------------------------------------------------------------------------------------------------------
# gather.


def gather(
    operand: ArrayLike,
    start_indices: ArrayLike,
    dimension_numbers: GatherDimensionNumbers,
    slice_sizes: Sequence[int],
    *,
    unique_indices: bool = False,
    indices_are_sorted: bool = False,
    mode: str | GatherScatterMode | None = None,
    fill_value: ArrayLike | None = None,
) -> Array:
    """Windows of one size from many places of `operand`.

    `start_indices` (..., k) holds the corners of the windows, for the axes in `dimension_numbers.start_index_map`; a
    window has `slice_sizes` places along the axes of the operand. The result has the axes of the indices but the last,
    and among them, at `offset_dims`, those of a window. Negative indices do not count from the end. `mode` says what
    becomes of windows that are not within the operand: "clip" moves them; "fill" fills them with `fill_value`, or if
    that is None with NaN, the least signed, the largest unsigned integer, or True; by default there must be none, and
    they raise IndexError (in jax they do anything). `unique_indices` and `indices_are_sorted` make no difference.

    >>> import numpy as np
    >>> numbers = GatherDimensionNumbers(offset_dims=(1,), collapsed_slice_dims=(), start_index_map=(0,))
    >>> gather(np.arange(10), np.array([[2], [7]]), numbers, (3,)).tolist()
    [[2, 3, 4], [7, 8, 9]]
    """
    x, indices = as_array(operand), as_array(start_indices)
    numbers, sizes = dimension_numbers, tuple(slice_sizes)
    if not shape_of(x):
        x, sizes, numbers = np.reshape(x, (1,)), (1, *sizes), numbers._replace(collapsed_slice_dims=(0,))
    kind = GatherScatterMode.from_any("promise_in_bounds" if mode is None else mode)
    windows = _windows("gather", shape_of(x), indices, numbers, sizes, kind)
    out = _read(np.transpose(x, windows.order), windows.arrays)
    if windows.inside is not True:
        dtype = type_of(x).dtype
        fill = _default_fill(dtype) if fill_value is None else astype(fill_value, dtype)
        out = np.where(windows.over_windows(windows.inside), out, fill)
    return np.transpose(out, windows.layout)


def _default_fill(dtype: np.dtype[Any]) -> Any:
    if number_kind(dtype) == "i":
        return dtype.type(np.iinfo(dtype).min)
    return dtype.type(
        {"b": True, "u": np.iinfo(dtype).max if number_kind(dtype) == "u" else 0}.get(number_kind(dtype), np.nan)
    )


# ---------------------------------------------------------------------------------------------------------------------
# The largest and the smallest of an element and all updates to it. Equals share the derivative equally.
#
# The index arrays are for the first axes of x, and of one joint shape after broadcasting; the updates have this shape and
# then the other axes of x.


def _best_at(x: Any, v: Any, *arrays: Any, better: np.ufunc) -> Any:
    out = np.array(x, order="C")
    count = len(arrays)
    width = int(np.prod(out.shape[count:]))
    flat = np.ravel_multi_index(np.broadcast_arrays(*arrays), out.shape[:count])
    # In one dimension ufunc.at takes a hundredth of the time.
    flat = (flat.reshape(-1, 1) * width + np.arange(width)).reshape(-1)
    better.at(out.reshape(-1), flat, np.ascontiguousarray(v, out.dtype).reshape(-1))
    return out


def _best_shares(x: Any, v: Any, arrays: Sequence[Any], out: Any) -> tuple[Any, Any, Any]:
    """Whether the element kept its value, which updates have it, and one over how many these are together."""
    dtype = type_of(out).dtype
    kept, won = np.equal(x, out), np.equal(astype(v, dtype), _read(out, arrays))
    count = astype(kept, np.int64) + _added(astype(won, np.int64), arrays, x.shape)
    return kept, won, astype(1 / np.maximum(count, 1), dtype)  # none has it where it is NaN


def _best_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    (x, v, *arrays), (tx, tv, *_) = primals, tangents
    if tx is None and tv is None:
        return None
    kept, won, share = _best_shares(x, v, arrays, out)
    total = 0 if tx is None else np.where(kept, tx, 0)
    if tv is not None:
        total = total + _added(np.where(won, astype(tv, type_of(out).dtype), 0), arrays, x.shape)
    return share * total


def _best_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    x, v, *arrays = primals
    kept, won, share = _best_shares(x, v, arrays, out)
    d = ct * share
    found = {0: lambda: np.where(kept, d, 0), 1: lambda: np.where(won, _read(d, arrays), 0)}
    return [conform(found[i](), primals[i]) if i in found else None for i in wanted]


def _extreme_at(name: str, better: np.ufunc) -> Op:
    def infer(types: Sequence[ArrayType], params: Params) -> ArrayType:
        x, v, *arrays = types
        joint = broadcast_shapes(*[a.shape for a in arrays])
        if v.shape != (*joint, *x.shape[len(arrays) :]):
            raise ShapeError(f"{name}: updates {v} for places of shape {joint} in the first {len(arrays)} axes of {x}")
        return ArrayType(x.shape, x.dtype)

    def batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
        rows = [x if b else np.broadcast_to(x, (size, *shape_of(x))) for x, b in zip(inputs[:2], batched, strict=False)]
        return bind(op, (*rows, *behind_examples(size, batched[2:], inputs[2:])))

    op = Op(
        name, evaluate=partial(_best_at, better=better), infer=infer, jvp=_best_jvp, vjp=_best_vjp, batch=batch, kinds="biuf",
        samples=_extreme_samples,
        points=lambda types, out, params: [(2 + i, range(-n, n)) for i, n in enumerate(types[0].shape[: len(types) - 2])],
    )  # fmt: skip
    return op


def _added(v: Any, arrays: Sequence[Any], shape: Shape) -> Any:
    """Zeros of this shape, with the updates added."""
    return bind(scatter_add_op, (v, *arrays), {"index": ("array",) * len(arrays), "shape": shape})


def _extreme_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (3, 4))
    for arrays in [
        (np.array([2, 0, 2, 2]),),
        (np.array([[0], [2]]), np.array([1, 3, 1])),
        (np.array([[1, 1, 1]]), np.array([[1, 2, 1]])),
        (np.zeros(0, int),),
        (np.array(1),),
    ]:
        joint = broadcast_shapes(*[a.shape for a in arrays])
        yield Sample((x, rng.uniform(-1, 1, (*joint, *x.shape[len(arrays) :])), *arrays))


scatter_max_op = _extreme_at("scatter_max", np.maximum)
scatter_min_op = _extreme_at("scatter_min", np.minimum)


# ---------------------------------------------------------------------------------------------------------------------
# The scatter functions.


def _scattered(
    name: str,
    operand: Any,
    indices: Any,
    updates: Any,
    numbers: ScatterDimensionNumbers,
    mode: Any,
    write: Callable[[Any, Any, _Windows], Any],
) -> Any:
    """The operand after `write(operand, updates, windows)`, both with their axes in the order of `windows`."""
    x, v = as_array(operand), as_array(updates)
    indices = as_array(indices)
    shape, dtype = shape_of(x), type_of(x).dtype
    if is_lossy(type_of(v).dtype, dtype):
        raise DtypeError(
            f"{name}: updates {type_of(v)} cannot be written into {type_of(x)} without loss{at_line(user_source())}; "
            f"write operand.astype({type_of(v).dtype.name!r})"
        )
    v = astype(v, dtype)
    window, inserted, index_map, batching, with_indices = [tuple(n) for n in numbers]
    gathered = GatherDimensionNumbers(window, inserted, index_map, batching, with_indices)
    removed = {*inserted, *batching}
    lead = shape_of(indices)[:-1]
    vshape = shape_of(v)
    kept = [axis for axis in range(len(shape)) if axis not in removed]
    if (
        len(vshape) != len(lead) + len(kept)
        or len(window) != len(kept)
        or any([not 0 <= i < len(vshape) for i in window])
        or tuple([n for i, n in enumerate(vshape) if i not in window]) != lead
    ):
        raise _refuse(
            name,
            f"updates {type_of(v)} must have the {len(lead)} axes {lead} of the indices and, at update_window_dims="
            f"{window}, the {len(kept)} axes of a window into {type_of(x)}",
        )
    widths = dict(zip(kept, [vshape[i] for i in window], strict=True))
    sizes = tuple([widths.get(axis, 1) for axis in range(len(shape))])
    if not shape:
        x, sizes, gathered = np.reshape(x, (1,)), (1, *sizes), gathered._replace(collapsed_slice_dims=(0,))
    windows = _windows(name, shape_of(x), indices, gathered, sizes, GatherScatterMode.from_any(mode))
    out = write(np.transpose(x, windows.order), np.transpose(v, inverse_permutation(windows.layout)), windows)
    return np.reshape(np.transpose(out, inverse_permutation(windows.order)), shape)


def _dropping(v: Any, windows: _Windows, neutral: Any) -> Any:
    """The updates, those that are left out replaced by what changes nothing."""
    return v if windows.inside is True else np.where(windows.over_windows(windows.inside), v, neutral)


def _with_room(x: Any, windows: _Windows, write: Callable[[Any, tuple[Any, ...]], Any]) -> Any:
    """`write(x, arrays)`; windows that are left out go to one place more along the first axis, which is cut off again."""
    if windows.inside is True:
        return write(x, windows.arrays)
    n = x.shape[0]
    shape = shape_of(windows.inside)
    first, *rest = windows.arrays
    joint = max([len(shape_of(a)) for a in windows.arrays])
    first = np.where(np.reshape(windows.inside, (*shape, *(1,) * (joint - len(shape)))), first, n)
    return write(np.concatenate([x, np.zeros((1, *x.shape[1:]), x.dtype)]), (first, *rest))[:n]


class _Scatter(Protocol):
    """The signature that the scatter functions share."""

    def __call__(
        self,
        operand: ArrayLike,
        scatter_indices: ArrayLike,
        updates: ArrayLike,
        dimension_numbers: ScatterDimensionNumbers,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | GatherScatterMode | None = None,
    ) -> Array: ...


def _scatters(write: Callable[[Any, Any, _Windows, bool], Any]) -> _Scatter:
    """A scatter function of the name and the words of `write(operand, updates, windows, unique_indices)`."""

    def function(
        operand: ArrayLike,
        scatter_indices: ArrayLike,
        updates: ArrayLike,
        dimension_numbers: ScatterDimensionNumbers,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | GatherScatterMode | None = None,
    ) -> Array:
        def written(x: Any, v: Any, windows: _Windows) -> Any:
            return write(x, v, windows, unique_indices)

        return _scattered(write.__name__, operand, scatter_indices, updates, dimension_numbers, mode, written)

    function.__name__, function.__qualname__, function.__doc__ = write.__name__, write.__qualname__, write.__doc__
    return function


@_scatters
def scatter(x: Any, v: Any, windows: _Windows, unique: bool) -> Any:
    """A copy of `operand` with windows written at many places, `updates` being laid out as `gather` would return them.

    Of several updates to one element the last counts, and it alone has a derivative. `scatter_indices` and `mode` are as
    in `gather`; windows that are not within the operand are left out by default. Updates take the dtype of the operand;
    DtypeError if it cannot hold them.

    >>> import numpy as np
    >>> numbers = ScatterDimensionNumbers((), (0,), (0,))
    >>> scatter(np.zeros(4), np.array([[1], [9]]), np.array([5.0, 6.0]), numbers).tolist()
    [0.0, 5.0, 0.0, 0.0]
    """
    return _with_room(x, windows, lambda x, arrays: at(x)[arrays].set(v, unique_indices=unique))


@_scatters
def scatter_add(x: Any, v: Any, windows: _Windows, unique: bool) -> Any:
    """`scatter` that adds the updates, all that are for one element.

    >>> import numpy as np
    >>> numbers = ScatterDimensionNumbers((), (0,), (0,))
    >>> scatter_add(np.zeros(3), np.array([[1], [1], [2]]), np.array([1.0, 2.0, 4.0]), numbers).tolist()
    [0.0, 3.0, 4.0]
    """
    return at(x)[windows.arrays].add(_dropping(v, windows, 0))


@_scatters
def scatter_sub(x: Any, v: Any, windows: _Windows, unique: bool) -> Any:
    """`scatter` that subtracts the updates, all that are for one element."""
    return at(x)[windows.arrays].subtract(_dropping(v, windows, 0))


@_scatters
def scatter_mul(x: Any, v: Any, windows: _Windows, unique: bool) -> Any:
    """`scatter` that multiplies by the updates, all that are for one element. Unlike in jax, the derivative exists for
    indices that come several times as well; the promise `unique_indices=True` saves looking for them."""
    # What is left out becomes a factor of one at a place that another update may name.
    unique = unique and windows.inside is True
    return at(x)[windows.arrays].multiply(_dropping(v, windows, 1), unique_indices=unique)


def least(dtype: np.dtype[Any]) -> Any:
    """What every number of this dtype is at least."""
    if number_kind(dtype) in "iu":
        return dtype.type(np.iinfo(dtype).min)
    return dtype.type(False) if number_kind(dtype) == "b" else float_extreme(dtype, -1)


def greatest(dtype: np.dtype[Any]) -> Any:
    """What every number of this dtype is at most."""
    if number_kind(dtype) in "iu":
        return dtype.type(np.iinfo(dtype).max)
    return dtype.type(True) if number_kind(dtype) == "b" else float_extreme(dtype, 1)


def _extreme_written(op: Op, x: Any, v: Any, windows: _Windows, neutral: Callable[[np.dtype[Any]], Any]) -> Any:
    dtype = type_of(x).dtype
    if number_kind(dtype) == "c":
        raise DtypeError(f"{op.name}: complex numbers have no order, got {type_of(x)}{at_line(user_source())}")
    return bind(op, (x, _dropping(v, windows, neutral(dtype)), *windows.arrays))


@_scatters
def scatter_max(x: Any, v: Any, windows: _Windows, unique: bool) -> Any:
    """`scatter` that leaves the largest of an element and all updates to it. Equals share the derivative."""
    return _extreme_written(scatter_max_op, x, v, windows, least)


@_scatters
def scatter_min(x: Any, v: Any, windows: _Windows, unique: bool) -> Any:
    """`scatter` that leaves the smallest of an element and all updates to it. Equals share the derivative."""
    return _extreme_written(scatter_min_op, x, v, windows, greatest)


def scatter_apply(
    operand: ArrayLike,
    scatter_indices: ArrayLike,
    func: Callable[[Any], Any],
    dimension_numbers: ScatterDimensionNumbers,
    *,
    update_shape: Sequence[int] = (),
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Array:
    """A copy of `operand` with `func` applied to the windows that are named, of whose layout `update_shape` is.

    To an element that is named several times it is applied as often; that needs the values of the indices, unless
    `unique_indices=True` promises that there is none.
    """

    def write(x: Any, v: Any, windows: _Windows) -> Any:
        return _with_room(x, windows, lambda x, arrays: at(x)[arrays].apply(func, unique_indices=unique_indices))

    layout = np.zeros(tuple(update_shape), bool)
    return _scattered("scatter_apply", operand, scatter_indices, layout, dimension_numbers, mode, write)
