"""`x.at[index]`: what assignment is to arrays that do not change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from tracegrad.core.errors import DtypeError, unsupported, user_source
from tracegrad.core.errors import at as at_line
from tracegrad.core.functions import FUNCTIONS
from tracegrad.core.programs import lifted
from tracegrad.core.trace import as_array, bind
from tracegrad.core.tracer import Tracer, concrete, depends_on, settled
from tracegrad.core.types import is_inexact, number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import shape_of
from tracegrad.ops.index.expression import ALL, Index, Located, Region, from_front, locate, region_of, wide
from tracegrad.ops.index.gathers import are_distinct, gather_op, getitem, positions, scatter_add_op, take
from tracegrad.ops.index.scatters import scatter_op
from tracegrad.ops.index.selected import Selected, beside_mask, require_fit
from tracegrad.ops.index.slices import slice_op, unslice_op
from tracegrad.typing import Array, ArrayLike


class at:
    """`at(x)[index].set(v)`: a copy of `x` with `v` written at `index`. A traced array has it as `x.at[index].set(v)`, too, an
    ndarray has not.

    The index is any that NumPy takes, with NumPy's errors. `at(x)[index]` has the methods

        get()         x[index]
        set(v)        y = x.copy(); y[index] = v; the last of several updates to one element counts
        add(v)        y[index] += v, except that an element named several times gets all of them, as with np.add.at
        subtract, multiply, divide, power, min, max (v): the same for other functions; divide and power take the product
                      of what an element gets
        apply(f)      y[index] = f(y[index]), several times for an element named several times

    each with the keywords of jax: `mode` ("clip": indices out of range become the nearest place; "drop" or "fill": they
    are left out of updates, and `get` returns `fill_value` for them), `unique_indices` (a promise that saves looking),
    `indices_are_sorted` (without effect here). `v` broadcasts to the shape of x[index] and takes the dtype of x.

    >>> import numpy as np
    >>> at(np.zeros(3))[1:].set(5.0).tolist()
    [0.0, 5.0, 5.0]
    >>> at(np.zeros(3))[np.array([0, 0, 2])].add(1.0).tolist()
    [2.0, 0.0, 1.0]
    """

    __slots__ = ("array",)

    def __init__(self, array: ArrayLike) -> None:
        self.array = as_array(array)

    def __getitem__(self, index: Any) -> Indexed:
        return Indexed(self.array, settled(index))

    def __repr__(self) -> str:
        return f"at({self.array!r})"


FUNCTIONS["at"] = at


class Indexed:
    """`x.at[index]`, with the methods that `at` lists."""

    __slots__ = ("array", "index")

    def __init__(self, array: Any, index: Any) -> None:
        self.array = array
        self.index = index

    def __repr__(self) -> str:
        return f"at({self.array!r})[{self.index!r}]"

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # which NumPy and copy ask for
            raise AttributeError(name)
        methods = [found for found in dir(Indexed) if not found.startswith("_") and found not in Indexed.__slots__]
        raise AttributeError(f"x.at[i] has no {name!r}, asked for{at_line(user_source())}; it has {', '.join(methods)}")

    def get(
        self,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | None = None,
        fill_value: ArrayLike | None = None,
    ) -> Array:
        """`x[index]`."""
        x, index, arrays = located = locate(self.array, self.index, _known_mode(mode))
        if not arrays:
            return getitem(x, self.index) if mode is None else bind(slice_op, (x,), {"index": index})
        if mode not in ("drop", "fill"):
            return bind(gather_op, (x, *arrays), {"index": index})
        found, inside, safe = _inside(located)
        picked = bind(gather_op, (x, *safe), {"index": index})
        if fill_value is None:
            dtype = type_of(x).dtype
            fill_value = {"b": True, "u": -1, "i": 0, "f": np.nan, "c": np.nan}[number_kind(dtype)]
            if number_kind(dtype) in "iu":
                fill_value = np.iinfo(dtype).min if number_kind(dtype) == "i" else np.iinfo(dtype).max
        return np.where(_over_region(inside, found), picked, fill_value)

    def set(self, values: ArrayLike, **keywords: Any) -> Array:
        """A copy of `x` with x[index] = values."""
        return self._updated(None, values, **keywords)

    def add(self, values: ArrayLike, **keywords: Any) -> Array:
        """A copy of `x` with values added at index, all that are for one element."""
        return self._updated(np.add, values, **keywords)

    def subtract(self, values: ArrayLike, **keywords: Any) -> Array:
        """A copy of `x` with values subtracted at index, all that are for one element."""
        return self._updated(np.add, np.negative(as_array(values)), **keywords)

    def multiply(self, values: ArrayLike, **keywords: Any) -> Array:
        """A copy of `x` multiplied by values at index, by all that are for one element."""
        return self._updated(np.multiply, values, **keywords)

    mul = multiply

    def divide(self, values: ArrayLike, **keywords: Any) -> Array:
        """A copy of `x` divided by values at index, by all that are for one element."""
        return self._updated(np.divide, values, merge=np.multiply, **keywords)

    def power(self, values: ArrayLike, **keywords: Any) -> Array:
        """A copy of `x` raised to values at index, to the product of those for one element."""
        return self._updated(np.power, values, merge=np.multiply, **keywords)

    def min(self, values: ArrayLike, **keywords: Any) -> Array:
        """A copy of `x` with np.minimum(x[index], values) at index."""
        return self._updated(np.minimum, values, **keywords)

    def max(self, values: ArrayLike, **keywords: Any) -> Array:
        """A copy of `x` with np.maximum(x[index], values) at index."""
        return self._updated(np.maximum, values, **keywords)

    def by(self, function: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
        """A method that makes a copy of `x` with function(x[index], values) at index, where no element is named twice."""

        def method(values: ArrayLike) -> Any:
            located = locate(self.array, self.index)
            if located.arrays and not _known_distinct(located):
                raise unsupported(function, ".at", self.array)
            return self._updated(function, values, unique_indices=True)

        return method

    def apply(self, function: Callable[[Any], Any], **keywords: Any) -> Array:
        """A copy of `x` with function(x[index]) at index."""
        return self._updated(lambda x, _: function(x), None, **keywords)

    def _updated(
        self,
        function: Callable[[Any, Any], Any] | None,
        values: Any,
        *,
        merge: Callable[[Any, Any], Any] | None = None,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | None = None,
    ) -> Any:
        """The array with `function(x[index], values)` at index, or just `values`. `merge` makes one update of two to
        the same element."""
        x = self.array
        if (beside := beside_mask(self.index)) is not None:
            part = Indexed(getitem(x, beside), self.index[0])._updated(function, values, merge=merge)
            return Indexed(x, beside).set(part)
        if type(values) is Selected and is_traced_mask(self.index):
            v = _writable(values.scattered(self.index, len(shape_of(x))), x)
            return masked(x, self.index, function, v)
        v = None if values is None else _writable(lifted(as_array(values), (x,)), x)
        if is_traced_mask(self.index) and needs_no_size(self.index, x, v):
            return masked(x, self.index, function, v)
        located = locate(x, self.index, _known_mode(mode))
        if located.array is x:
            return _update(located, function, v, merge or function, unique_indices, mode)
        return np.reshape(_update(located, function, v, merge or function, unique_indices, mode), shape_of(x))


def _known_mode(mode: str | None) -> str | None:
    """What `locate` is to do with indices out of range."""
    modes = {None: None, "promise_in_bounds": None, "clip": "clip", "drop": "drop", "fill": "drop"}
    if mode not in modes:
        raise ValueError(f"mode must be 'clip', 'drop', 'fill', 'promise_in_bounds' or None, got {mode!r}")
    return modes[mode]


_RANK = {"b": 0, "u": 0, "i": 0, "f": 1, "c": 2}


def is_lossy(value: np.dtype[Any], array: np.dtype[Any]) -> bool:
    """Whether an array of one dtype loses fractions or imaginary parts of values of another."""
    return _RANK[number_kind(value)] > _RANK[number_kind(array)]


def _writable(v: Any, x: Any) -> Any:
    """What is written into x, or a DtypeError where a part of it would be lost, and its derivative with that."""
    value, array = type_of(v), type_of(x)
    if is_lossy(value.dtype, array.dtype):
        part = "imaginary" if number_kind(value.dtype) == "c" else "fractional"
        raise DtypeError(
            f"cannot write {value} into {array}{at_line(user_source())}: its {part} part would be lost; "
            f"write x.astype({value.dtype.name!r}).at[...], or convert the value"
        )
    return v


def is_traced_mask(index: Any) -> bool:
    return type(index) is Tracer and number_kind(index.dtype) == "b"


def needs_no_size(mask: Any, x: Any, v: Any) -> bool:
    """Whether values can be written where a mask holds without knowing at how many places: each place takes the same, or there is none."""
    rest = len(shape_of(x)) - mask.ndim
    shape = () if v is None else shape_of(v)
    return rest >= 0 and (len(shape) <= rest or (0 in shape and 0 in mask.shape))


def masked(x: Any, mask: Any, function: Callable[[Any, Any], Any] | None, v: Any) -> Any:
    """The update where a traced mask holds. No shape depends on the mask, so it works under `jit` and `vmap`."""
    shape, dtype = shape_of(x), type_of(x).dtype
    if require_fit(mask, x):
        return x
    mask = np.reshape(mask, (*mask.shape, *(1,) * (len(shape) - mask.ndim)))
    if function is not None:
        v = function(np.where(mask, x, np.ones((), dtype)), v)  # nothing untoward happens where the mask does not hold
    return np.where(mask, astype(v, dtype), x)


def _update(
    located: Located,
    function: Callable[[Any, Any], Any] | None,
    v: Any,
    merge: Callable[[Any, Any], Any] | None,
    unique: bool,
    mode: str | None,
) -> Any:
    """`_updated` once the place is found."""
    x, index, arrays = located
    shape, dtype = shape_of(x), type_of(x).dtype
    if arrays and mode in ("drop", "fill"):
        # Updates to nowhere go to one place more, which is then cut off.
        found, inside, safe = _inside(located)
        axis = found.axes[0]
        n = shape[axis]
        slab = np.zeros((*shape[:axis], 1, *shape[axis + 1 :]), dtype)
        safe[0] = np.where(inside, safe[0], n)
        larger = _update(Located(np.concatenate([x, slab], axis), index, safe), function, v, merge, unique, None)
        return larger[(ALL,) * axis + (slice(n),)]
    if function is np.add:
        found = region_of(shape, arrays, index)
        v = astype(v, dtype)
        # -0.0 - 0.0 is -0.0, -0.0 + 0.0 is not: subtracting leaves what is beside as it is.
        change, v = (np.subtract, np.negative(v)) if is_inexact(dtype) else (np.add, v)
        v = np.broadcast_to(v, found.shape)
        if arrays:
            return change(x, bind(scatter_add_op, (v, *arrays), {"index": index, "shape": shape}))
        return change(x, bind(unslice_op, (v,), {"index": index, "shape": shape}))
    if function is not None:
        if arrays and not unique and not _known_distinct(located):
            if v is None:
                return _applied(located, function)
            assert merge is not None
            (x, index, arrays), v = _merged(located, v, merge)
        v = _writable(function(_read(x, index, arrays), v), x)
    return bind(scatter_op, (x, v, *arrays), {"index": index})


def _read(x: Any, index: Index, arrays: Sequence[Any]) -> Any:
    return bind(gather_op, (x, *arrays), {"index": index}) if arrays else bind(slice_op, (x,), {"index": index})


def _inside(located: Located) -> tuple[Region, Any, list[Any]]:
    """The region, which of its index tuples are in range, and index arrays counted from the front with 0 where not."""
    x, index, arrays = located
    found = region_of(shape_of(x), arrays, index)
    sizes = [x.shape[axis] for axis in found.axes]
    inside: Any = True
    arrays = [from_front(a, n) for a, n in zip(arrays, sizes, strict=True)]
    for a, n in zip(arrays, sizes, strict=True):
        inside = np.logical_and(inside, np.logical_and(np.greater_equal(a, 0), np.less(a, n)))
    return found, inside, [np.where(inside, a, 0) for a in arrays]


def _over_region(per_index: Any, found: Region) -> Any:
    """One value for each index tuple, shaped to broadcast against the region."""
    return np.reshape(per_index, (*shape_of(per_index), *(1,) * (len(found.shape) - found.first - found.count)))


def _known_distinct(located: Located) -> bool:
    """Whether it can be seen that no element is named twice."""
    x, index, arrays = located
    found = region_of(shape_of(x), arrays, index)
    if np.prod(found.shape[found.first : found.first + found.count]) <= 1:
        return True
    if any([type(a) is Tracer for a in arrays]):
        return False
    for a in arrays:
        depends_on(a)
    sizes = [x.shape[axis] for axis in found.axes]
    return are_distinct(positions(arrays, sizes), int(np.prod(sizes)))


def _merged(located: Located, v: Any, merge: Callable[[Any, Any], Any]) -> tuple[Located, Any]:
    """Sort the updates by their element and merge those to the same one, so that the last of each holds them all.

    The merging is a running one over the sorted updates, in log2(n) steps on whole arrays.
    """
    x, index, arrays = located
    found = region_of(shape_of(x), arrays, index)
    first, joint = found.first, found.shape[found.first : found.first + found.count]
    before, after = found.shape[:first], found.shape[first + found.count :]
    flat: Any = 0
    for a, axis in zip(arrays, found.axes, strict=True):
        flat = np.add(np.multiply(flat, x.shape[axis]), from_front(wide(a), x.shape[axis]))
    flat = np.reshape(np.broadcast_to(flat, joint), -1)
    order = np.argsort(flat, stable=True)
    flat = take(flat, order)
    arrays = [take(np.reshape(np.broadcast_to(a, joint), -1), order) for a in arrays]
    v = take(np.reshape(np.broadcast_to(v, found.shape), (*before, -1, *after)), order, axis=first)
    count, step = int(np.prod(joint)), 1
    skip = (ALL,) * first
    while step < count:
        same = np.reshape(np.equal(flat[step:], flat[:-step]), (-1, *(1,) * len(after)))
        later = v[(*skip, slice(step, None))]
        later = np.where(same, merge(later, v[(*skip, slice(None, -step))]), later)
        v = np.concatenate([v[(*skip, slice(None, step))], later], axis=first)
        step *= 2
    return Located(x, index, arrays), v


def _applied(located: Located, function: Callable[[Any, Any], Any]) -> Any:
    """`function` at places of which some are named several times: those of the first time, of the second, and so on."""
    x, index, arrays = located
    found = region_of(shape_of(x), arrays, index)
    instead = "promise with unique_indices=True that no element is named twice"
    known = [concrete(a, "x.at[i].apply(f)", instead) for a in arrays]
    known = [a.reshape(-1) for a in np.broadcast_arrays(*known)]
    flat = positions(known, [x.shape[axis] for axis in found.axes])
    order = np.argsort(flat, stable=True)
    ordered = flat[order]
    turn = np.empty_like(flat)
    turn[order] = np.arange(flat.size) - np.searchsorted(ordered, ordered)
    for i in range(int(turn.max()) + 1):
        now = [a[turn == i] for a in known]
        x = bind(scatter_op, (x, _writable(function(_read(x, index, now), None), x), *now), {"index": index})
    return x
