"""Sorting several arrays together, running totals, and reductions, with the dtypes and axes of jax.lax."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.errors import DtypeError
from tracegrad.core.op import Op
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import Shape, number_kind, type_of
from tracegrad.lax.elementwise import dtype_of, fails, mul
from tracegrad.ops import cumulative
from tracegrad.ops.bits import reduce_bits
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import normalize_axes, normalize_axis, shape_of
from tracegrad.ops.gather import greatest, least
from tracegrad.transforms.vmap import vmap
from tracegrad.typing import Array, ArrayLike, DType

# ---------------------------------------------------------------------------------------------------------------------
# Sorting.


def sort(operand: ArrayLike, dimension: int = -1, is_stable: bool = True, num_keys: int = 1) -> Array:
    """Ascending order along an axis, NaN last. Of a sequence of arrays, all in the order that sorts the first `num_keys` of
    them, each before the next; always stable.

    >>> [x.tolist() for x in sort((np.array([2, 1, 2]), np.array([0, 1, 2])))]
    [[1, 2, 2], [1, 0, 2]]
    """
    if not isinstance(operand, tuple | list):
        if num_keys != 1:
            raise ValueError(f"sort: one array is its own key, got num_keys={num_keys}")
        return np.sort(as_array(operand), dimension)
    arrays = [as_array(x) for x in operand]
    if len({shape_of(x) for x in arrays}) != 1:
        raise fails("sort", f"arrays must be of one shape, got {', '.join([str(type_of(x)) for x in arrays])}")
    if not 1 <= num_keys <= len(arrays):
        raise ValueError(f"sort: num_keys must be from 1 to {len(arrays)}, the number of arrays; got {num_keys}")
    axis = normalize_axis(dimension, len(shape_of(arrays[0])), "sort")
    order = np.argsort(arrays[num_keys - 1], axis, stable=True)
    for key in arrays[: num_keys - 1][::-1]:
        order = _take(order, np.argsort(_take(key, order, axis), axis, stable=True), axis)
    return tuple([_take(x, order, axis) for x in arrays])


def _take(x: Any, places: Any, axis: int) -> Any:
    return np.take_along_axis(x, places, axis)


def sort_key_val(
    keys: ArrayLike, values: ArrayLike, dimension: int = -1, is_stable: bool = True
) -> tuple[Array, Array]:
    """Keys in ascending order along an axis, and values in the order of their keys.

    >>> [x.tolist() for x in sort_key_val(np.array([3.0, 1.0, 2.0]), np.arange(3))]
    [[1.0, 2.0, 3.0], [1, 2, 0]]
    """
    keys, values = sort((keys, values), dimension, is_stable)
    return keys, values


# ---------------------------------------------------------------------------------------------------------------------
# Running totals and reductions, which keep their dtype, small integers too.


def cumsum(operand: ArrayLike, axis: int = 0, reverse: bool = False) -> Array:
    """Sums of everything up to each place along the axis, or from it on.

    >>> cumsum(np.array([3.0, 1.0, 2.0])).tolist()
    [3.0, 4.0, 6.0]
    """
    return _running(cumulative.cumsum_op, operand, axis, reverse)


def cumprod(operand: ArrayLike, axis: int = 0, reverse: bool = False) -> Array:
    """Products of everything up to each place along the axis, or from it on.

    >>> cumprod(np.array([3.0, 1.0, 2.0])).tolist()
    [3.0, 3.0, 6.0]
    """
    return _running(cumulative.cumprod_op, operand, axis, reverse)


def cummax(operand: ArrayLike, axis: int = 0, reverse: bool = False) -> Array:
    """The largest up to each place along the axis, or from it on. Of equals, the last met has the derivative.

    >>> cummax(np.array([3.0, 1.0, 2.0])).tolist()
    [3.0, 3.0, 3.0]
    """
    return _running(cumulative.cummax_op, operand, axis, reverse)


def cummin(operand: ArrayLike, axis: int = 0, reverse: bool = False) -> Array:
    """The smallest up to each place along the axis, or from it on. Of equals, the last met has the derivative.

    >>> cummin(np.array([3.0, 1.0, 2.0])).tolist()
    [3.0, 1.0, 1.0]
    """
    return _running(cumulative.cummin_op, operand, axis, reverse)


def cumlogsumexp(operand: ArrayLike, axis: int = 0, reverse: bool = False) -> Array:
    """`log(cumsum(exp(x)))` without overflow, of real numbers; integers become float64.

    >>> cumlogsumexp(np.zeros(3)).round(4).tolist()
    [0.0, 0.6931, 1.0986]
    """
    x = as_array(operand)
    x = x if number_kind(dtype_of(x)) in "fc" else astype(x, np.float64)
    return cumulative.cumlogsumexp(x, operator.index(axis), reverse)


def _running(op: Op, operand: ArrayLike, axis: int, reverse: bool) -> Array:
    x = as_array(operand)
    axis = normalize_axis(operator.index(axis), len(shape_of(x)), op.name)
    return astype(bind(op, (x,), {"axis": axis, "reverse": bool(reverse)}), dtype_of(x))


def argmax(operand: ArrayLike, axis: int, index_dtype: DType) -> Array:
    """The place of the largest along the axis, the first of equals or of NaN.

    >>> argmax(np.array([3.0, 1.0, 2.0]), 0, np.int32).item()
    0
    """
    return astype(np.argmax(as_array(operand), axis), _index_dtype("argmax", index_dtype))


def argmin(operand: ArrayLike, axis: int, index_dtype: DType) -> Array:
    """The place of the smallest along the axis, the first of equals or of NaN.

    >>> argmin(np.array([3.0, 1.0, 2.0]), 0, np.int32).item()
    1
    """
    return astype(np.argmin(as_array(operand), axis), _index_dtype("argmin", index_dtype))


def _index_dtype(name: str, dtype: Any) -> np.dtype[Any]:
    index_dtype = np.dtype(dtype)
    if number_kind(index_dtype) not in "iu":
        raise DtypeError(f"{name}: index_dtype must be an integer dtype, got {index_dtype}; write np.int32")
    return index_dtype


def reduce_sum(operand: ArrayLike, axes: Sequence[int]) -> Array:
    """The sum over the axes.

    >>> reduce_sum(np.array([3.0, 1.0, 2.0]), (0,)).item()
    6.0
    """
    x = as_array(operand)
    return np.sum(x, tuple(axes), dtype=dtype_of(x))


def reduce_prod(operand: ArrayLike, axes: Sequence[int]) -> Array:
    """The product over the axes.

    >>> reduce_prod(np.array([3.0, 1.0, 2.0]), (0,)).item()
    6.0
    """
    x = as_array(operand)
    return np.prod(x, tuple(axes), dtype=dtype_of(x))


def reduce_max(operand: ArrayLike, axes: Sequence[int]) -> Array:
    """The largest over the axes; of nothing, the least number there is. Equals share the derivative.

    >>> reduce_max(np.array([3.0, 1.0, 2.0]), (0,)).item()
    3.0
    """
    return _largest_or_least(np.max, least, operand, axes)


def reduce_min(operand: ArrayLike, axes: Sequence[int]) -> Array:
    """The smallest over the axes; of nothing, the largest number there is. Equals share the derivative.

    >>> reduce_min(np.array([3.0, 1.0, 2.0]), (0,)).item()
    1.0
    """
    return _largest_or_least(np.min, greatest, operand, axes)


def _largest_or_least(
    function: Callable[..., Any], of_nothing: Callable[..., Any], operand: ArrayLike, axes: Sequence[int]
) -> Any:
    x, axes = as_array(operand), tuple(axes)
    if 0 in [shape_of(x)[a] for a in axes]:
        return function(x, axes, initial=of_nothing(dtype_of(x)))
    return function(x, axes)


def reduce_and(operand: ArrayLike, axes: Sequence[int]) -> Array:
    """The bits that all elements over the axes have; of booleans, whether all hold.

    >>> reduce_and(np.array([True, False]), (0,)).item()
    False
    """
    return reduce_bits(np.bitwise_and, operand, axes)


def reduce_or(operand: ArrayLike, axes: Sequence[int]) -> Array:
    """The bits that some element over the axes has; of booleans, whether any holds.

    >>> reduce_or(np.array([True, False]), (0,)).item()
    True
    """
    return reduce_bits(np.bitwise_or, operand, axes)


def reduce_xor(operand: ArrayLike, axes: Sequence[int]) -> Array:
    """The bits that an odd number of elements over the axes have; of booleans, whether an odd number hold.

    >>> reduce_xor(np.array([True, False]), (0,)).item()
    True
    """
    return reduce_bits(np.bitwise_xor, operand, axes)


_MONOIDS: dict[Any, Callable[..., Any]] = {
    np.add: reduce_sum,
    mul: reduce_prod,
    np.multiply: reduce_prod,
    np.maximum: reduce_max,
    np.minimum: reduce_min,
    np.bitwise_and: reduce_and,
    np.bitwise_or: reduce_or,
    np.bitwise_xor: reduce_xor,
}


def reduce(operands: Any, init_values: Any, computation: Callable[[Any, Any], Any], dimensions: Sequence[int]) -> Array:
    """All elements along the axes combined by `computation`, and with the initial value.

    `operands` is an array, or a pytree of arrays of one shape, and `init_values` the same of scalars; `computation` takes
    two such pytrees of scalars and returns a third. It must be associative and commutative: neighbours are combined first,
    in log2(n) steps on whole arrays. The functions `add`, `mul`, `max`, `min` and the bitwise ones reduce at once.

    >>> float(reduce(np.arange(4.0), 0.0, lambda x, y: x + y, (0,)))
    6.0
    """
    leaves, structure = tree.tree_flatten(operands)
    arrays, initial = [as_array(x) for x in leaves], [as_array(x) for x in tree.tree_leaves(init_values)]
    if not arrays or len({shape_of(x) for x in arrays}) != 1 or len(initial) != len(arrays):
        raise fails(
            "reduce",
            f"needs arrays of one shape and as many initial values, got {', '.join([str(type_of(x)) for x in arrays])} and "
            f"{len(initial)}",
        )
    shape = shape_of(arrays[0])
    axes = normalize_axes(tuple(dimensions), len(shape), "reduce")
    if len(arrays) == 1 and computation in _MONOIDS:
        total = computation(initial[0], _MONOIDS[computation](arrays[0], axes))
        return tree.tree_unflatten(structure, [astype(total, dtype_of(arrays[0]))])

    def combine(*both: Any) -> list[Any]:
        x, y = [tree.tree_unflatten(structure, part) for part in (both[: len(arrays)], both[len(arrays) :])]
        return tree.tree_leaves(computation(x, y))

    def combined(left: list[Any], right: list[Any]) -> list[Any]:
        """Element by element: as scalars, which is what the computation was written for."""
        common = shape_of(right[0])
        flat = [np.reshape(np.broadcast_to(x, common), -1) for x in (*left, *right)]
        return [np.reshape(x, common) for x in vmap(combine)(*flat)]

    kept = tuple([a for a in range(len(shape)) if a not in axes])
    rest: Shape = tuple([shape[a] for a in kept])
    n = math.prod([shape[a] for a in axes])
    parts = [np.reshape(np.transpose(x, (*axes, *kept)), (n, *rest)) for x in arrays]
    while n > 1:
        half = n // 2
        merged = combined([x[:half] for x in parts], [x[half : 2 * half] for x in parts])
        odd = [x[2 * half :] for x in parts]
        parts = [np.concatenate(pair) for pair in zip(merged, odd, strict=True)] if n % 2 else merged
        n -= half
    if n == 0:
        return tree.tree_unflatten(structure, [np.broadcast_to(x, rest) for x in initial])
    return tree.tree_unflatten(structure, combined(initial, [x[0] for x in parts]))
