"""Order: sorting, partitioning, the largest of all, searching in what is sorted.

Sorting is a permutation, found anew where a derivative asks for it: the derivative is permuted alike. Equal elements
keep their order, so that each has its own derivative, as in JAX.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.core.op import Op, Params, Sample, Wanted
from tracegrad.core.symbols import as_index
from tracegrad.core.trace import as_array, bind, strengthened
from tracegrad.core.types import ArrayType, number_kind, type_of
from tracegrad.ops.families import (
    along_axis,
    implements,
    is_of_a_scalar,
    locally_constant,
    normalize_axis,
    of_axis,
    reject,
    same_type,
    shape_of,
)
from tracegrad.ops.index import take  # np.take does not see a tracer among the indices
from tracegrad.typing import Array, ArrayLike

_INTP = np.dtype(np.intp)

# ---------------------------------------------------------------------------------------------------------------------
# Sorting.


def _axis_samples() -> Iterable[Sample]:
    x = np.random.default_rng(0).permutation(24).reshape(2, 4, 3) / 8 - 1.4
    for axis in range(3):
        yield Sample((x,), {"axis": axis})
    yield Sample((np.zeros((2, 0)),), {"axis": 1})


def _order(x: Any, axis: int) -> Any:
    return bind(argsort_op, (x,), {"axis": axis})


def _sort_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    axis = params["axis"]
    return np.take_along_axis(tangents[0], _order(primals[0], axis), axis)


def _sort_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    # Back by the inverse permutation: the order of the order.
    axis = params["axis"]
    return (np.take_along_axis(ct, _order(_order(primals[0], axis), axis), axis),)


argsort_op = locally_constant(
    "argsort",
    partial(np.argsort, kind="stable"),
    infer=lambda types, params: ArrayType(types[0].shape, _INTP),
    batch=along_axis("argsort"),
    samples=_axis_samples,
)
sort_op = Op(
    "sort",
    evaluate=np.sort,
    infer=same_type,
    jvp=_sort_jvp,
    vjp=_sort_vjp,
    nonnegative=True,
    batch=along_axis("sort"),
    kinds="biufc",
    samples=_axis_samples,
)


@implements(np.sort, further=["descending"])
def sort(
    a: ArrayLike,
    axis: int | None = -1,
    kind: str | None = None,
    order: None = None,
    *,
    stable: bool | None = None,
    descending: bool = False,
) -> Array:
    """`a` in ascending order along the axis, flattened first where it is None; NaN last. `kind` makes no difference. `descending`
    turns the order round, NaN first.

    >>> import tracegrad as tg
    >>> tg.grad(lambda x: np.sum(np.sort(x) * [1.0, 2.0, 3.0]))(np.array([5.0, 4.0, 6.0])).tolist()
    [2.0, 1.0, 3.0]
    """
    reject(np.sort, order=order)
    a, axis = of_axis(a, axis, "sort")
    found = bind(sort_op, (a,), {"axis": axis})
    return np.flip(found, axis) if descending else found


@implements(np.argsort, further=["descending"])
def argsort(
    a: ArrayLike,
    axis: int | None = -1,
    kind: str | None = None,
    order: None = None,
    *,
    stable: bool | None = None,
    descending: bool = False,
) -> Array:
    """The places that sort `a` along the axis, as `sort` does. Equal elements keep their order whatever `kind` says.

    >>> argsort(np.array([3.0, 1.0, 2.0])).tolist()
    [1, 2, 0]
    """
    reject(np.argsort, order=order)
    a = as_array(a)
    a, axis = of_axis(a, None if is_of_a_scalar(axis, len(shape_of(a))) else axis, "argsort")
    if descending:
        found = bind(argsort_op, (np.flip(a, axis),), {"axis": axis})
        return a.shape[axis] - 1 - np.flip(found, axis)
    return bind(argsort_op, (a,), {"axis": axis})


def _kth_samples() -> Iterable[Sample]:
    x = np.random.default_rng(1).permutation(20).reshape(4, 5) / 8 - 1.2
    for axis, kth in [(0, (1,)), (1, (0, 3)), (1, (4,))]:
        yield Sample((x,), {"axis": axis, "kth": kth})


argpartition_op = locally_constant(
    "argpartition",
    np.argpartition,
    infer=lambda types, params: ArrayType(types[0].shape, _INTP),
    batch=along_axis("argpartition"),
    samples=_kth_samples,
)


@implements(np.argpartition)
def argpartition(
    a: ArrayLike, kth: int | Sequence[int], axis: int | None = -1, kind: str = "introselect", order: None = None
) -> Array:
    """The places that bring the kth smallest along the axis to its place, smaller ones before it, larger behind.

    Raises:
        ShapeError: where there is no place `kth` along the axis.

    >>> argpartition(np.array([3.0, 1.0, 2.0]), 0)[0].item()
    1
    """
    reject(np.argpartition, order=order)
    a, axis = of_axis(a, axis, "argpartition")
    n = a.shape[axis]
    places = []
    for k in kth if isinstance(kth, tuple | list | np.ndarray) and np.ndim(kth) else (kth,):
        k = as_index(k)
        if not -n <= k < n:
            raise ShapeError(f"argpartition: there is no place kth={k} among {n} along axis {axis} of {type_of(a)}")
        places.append(k % n)
    return bind(argpartition_op, (a,), {"axis": axis, "kth": tuple(places)})


def _top_indices(x: Any, axis: int, k: int) -> Any:
    """The places of the k largest, found in linear time: what is larger than the k-th largest, and of its equals the
    first; then these few in order."""
    x = np.moveaxis(x, axis, -1)
    n = x.shape[-1]
    if 0 < k < n:
        is_nan = np.isnan(x) if number_kind(x.dtype) == "f" else np.zeros(x.shape, bool)
        level = np.partition(x, n - k, -1)[..., n - k, None]
        level_is_nan = np.not_equal(level, level)
        equal = np.where(level_is_nan, is_nan, x == level)
        above = (x > level) | (is_nan & ~level_is_nan)
        room = k - np.add.reduce(above, -1, keepdims=True)
        chosen = above | (equal & (np.add.accumulate(equal, -1, dtype=np.intp) <= room))
        places = chosen.nonzero()[-1].reshape(*x.shape[:-1], k)
    else:
        places = np.broadcast_to(np.arange(n)[:k], (*x.shape[:-1], k))
    # Descending, equals in order: the ascending order of the mirrored places, mirrored.
    mirrored = np.take_along_axis(x, places, -1)[..., ::-1]
    order = k - 1 - np.argsort(mirrored, -1, kind="stable")[..., ::-1]
    return np.moveaxis(np.take_along_axis(places, order, -1), -1, axis).astype(np.int32)


def _top_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    shape, axis = types[0].shape, params["axis"]
    return ArrayType((*shape[:axis], params["k"], *shape[axis + 1 :]), np.dtype(np.int32))


def _top_samples() -> Iterable[Sample]:
    x = np.random.default_rng(2).permutation(24).reshape(2, 4, 3) / 8 - 1.4
    for axis, k in [(0, 1), (1, 2), (1, 4), (2, 0)]:
        yield Sample((x,), {"axis": axis, "k": k})


top_places_op = locally_constant(
    "top_places",
    _top_indices,
    infer=_top_type,
    batch=along_axis("top_places"),
    kinds="biuf",
    samples=_top_samples,
)


def top_k(operand: ArrayLike, k: int, *, axis: int = -1) -> tuple[Array, Array]:
    """The `k` largest along the axis in descending order, and their places (int32); of equals (0.0 and -0.0
    are) the first come first, and NaN counts as largest. Takes linear time, and the derivative goes to the elements that were taken.

    >>> import numpy as np
    >>> values, places = top_k(np.array([3.0, 1.0, 4.0, 4.0]), 3)
    >>> values.tolist(), places.tolist()
    ([4.0, 4.0, 3.0], [2, 3, 0])
    """
    x, k = as_array(operand), as_index(k)
    t = type_of(x)
    axis = normalize_axis(axis, len(t.shape), "top_k")
    if number_kind(t.dtype) == "c":
        raise DtypeError(f"top_k of {t}: complex numbers have no order")
    if not 0 <= k <= t.shape[axis]:
        raise ShapeError(f"top_k: there are no k={k} largest among {t.shape[axis]} along axis {axis} of {t}")
    places = bind(top_places_op, (x,), {"axis": axis, "k": k})
    return np.take_along_axis(x, places, axis), places


# ---------------------------------------------------------------------------------------------------------------------
# Searching.


def _search_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    a, v = types
    if len(a.shape) != 1:
        raise ShapeError(f"searchsorted in {a}: the sorted array must have one dimension; map over others with tg.vmap")
    return ArrayType(v.shape, _INTP)


def _search_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    a, v = inputs
    if not batched[0]:
        return bind(searchsorted_op, (a, v), params)
    # Rows differ: sort each together with what is sought in it, then count the row's own elements that come before.
    left = params["side"] == "left"
    v = v if batched[1] else np.broadcast_to(v, (size, *shape_of(v)))
    sought = np.reshape(v, (size, math.prod(v.shape[1:])))
    n, m = a.shape[1], sought.shape[1]
    order = _order(np.concatenate([sought, a] if left else [a, sought], 1), 1)
    own = np.greater_equal(order, m) if left else np.less(order, n)
    before = np.cumsum(own, 1)
    places = _order(order, 1)
    places = places[:, :m] if left else places[:, n:]
    return np.reshape(np.take_along_axis(before, places, 1), v.shape)


def _search_samples() -> Iterable[Sample]:
    a = np.array([-1.0, 0.0, 0.5, 0.5, 2.0])
    for side in ("left", "right"):
        yield Sample((a, np.array([[0.2, 0.5, -3.0], [3.0, 0.0, 1.0]])), {"side": side})
        yield Sample((a, 0.5), {"side": side})
        yield Sample((np.zeros(0), np.array([0.5])), {"side": side})


searchsorted_op = locally_constant(
    "searchsorted",
    np.searchsorted,
    infer=_search_type,
    batch=_search_batch,
    samples=_search_samples,
)


@implements(np.searchsorted)
def searchsorted(a: ArrayLike, v: ArrayLike, side: str = "left", sorter: ArrayLike = None) -> Array:
    """Where the elements of `v` would go in the sorted vector `a`: before equals ("left") or behind them ("right").
    `sorter` holds the places that would sort `a`. int64, of the shape of `v`, without a derivative. They are compared in the
    dtype that holds both, Python's numbers as arrays: NumPy looks for 2**40 among int16, and finds its place.

    >>> searchsorted(np.array([1.0, 2.0, 2.0]), [0.5, 2.0], "right").tolist()
    [0, 3]
    """
    if side not in ("left", "right"):
        raise ValueError(f"searchsorted: side must be 'left' or 'right', got {side!r}")
    a = as_array(a)
    if sorter is not None:
        a = take(a, sorter)
    return bind(searchsorted_op, (a, strengthened(as_array(v))), {"side": side})
