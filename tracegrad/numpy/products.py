"""NumPy's products of arrays: each says which matrix product or Einstein summation it is."""

from __future__ import annotations

import math
import operator
import string
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import is_added, type_of
from tracegrad.ops.contract import (
    LETTERS,
    by_einsum,
    conjugate_of_complex,
    einsum_op,
    einsum_operands,
    flat,
    matmul_op,
    operand,
    outer,
)
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import implements, normalize_axis, shape_of
from tracegrad.typing import Array, ArrayLike


def _in_dot_dtype(out: Any, a: Any, b: Any) -> Any:
    """A product by `matmul`, in the dtype of np.dot: bfloat16 of bfloat16, where np.matmul makes float32 of it."""
    dtype = np.result_type(a.dtype, b.dtype)
    return astype(out, dtype) if is_added(dtype) else out


@implements(np.dot)
def dot(a: ArrayLike, b: ArrayLike, out: Array | None = None) -> Array:
    """The sum of products over the last axis of `a` and the last but one of `b` (its only one, if 1-d); the product, if
    either is a scalar.

    >>> float(dot([1.0, 2.0], [3.0, 4.0])), dot(np.ones((2, 3)), np.ones((4, 3, 5))).shape
    (11.0, (2, 4, 5))
    """
    a, b = operand(a), operand(b)
    if a.shape == () or b.shape == ():
        return np.multiply(a, b)
    if len(b.shape) < 3:
        return _in_dot_dtype(bind(matmul_op, (a, b)), a, b)
    return tensordot(a, b, (-1, -2))


@implements(np.vdot)
def vdot(a: ArrayLike, b: ArrayLike, /) -> Array:
    """The sum of conj(a) * b over all elements of arrays of the same size.

    >>> vdot(np.array([1.0, 2.0]), np.array([3.0, 4.0])).item()
    11.0
    """
    a, b = operand(a), operand(b)
    return _in_dot_dtype(bind(matmul_op, (flat(conjugate_of_complex(a)), flat(b))), a, b)


@implements(np.inner)
def inner(a: ArrayLike, b: ArrayLike, /) -> Array:
    """The sum of products over the last axes; the product, if either is a scalar.

    >>> inner(np.array([1.0, 2.0]), np.array([3.0, 4.0])).item()
    11.0
    """
    a, b = operand(a), operand(b)
    if a.shape == () or b.shape == ():
        return np.multiply(a, b)
    return _in_dot_dtype(bind(matmul_op, (a, b)), a, b) if len(b.shape) == 1 else tensordot(a, b, (-1, -1))


@implements(np.linalg.outer)
def linalg_outer(x1: ArrayLike, x2: ArrayLike, /) -> Array:
    """As `np.outer`, of 1-d arrays only.

    >>> outer(np.array([1.0, 2.0]), np.array([3.0, 4.0])).tolist()
    [[3.0, 4.0], [6.0, 8.0]]
    """
    x1, x2 = as_array(x1), as_array(x2)
    if len(shape_of(x1)) != 1 or len(shape_of(x2)) != 1:
        raise ShapeError(f"np.linalg.outer takes 1-d arrays, got {type_of(x1)} and {type_of(x2)}; np.outer flattens")
    return outer(x1, x2)


@implements(np.kron)
def kron(a: ArrayLike, b: ArrayLike) -> Array:
    """The Kronecker product: an array of blocks `a[i, j] * b`; shapes multiply, axis by axis.

    >>> kron(np.array([1.0, 2.0]), np.array([1.0, 10.0])).tolist()
    [1.0, 10.0, 2.0, 20.0]
    """
    a, b = operand(a), operand(b)
    ndim = max(len(a.shape), len(b.shape))
    left = (1,) * (ndim - len(a.shape)) + a.shape
    right = (1,) * (ndim - len(b.shape)) + b.shape
    blocks = np.multiply(
        np.reshape(a, tuple([n for size in left for n in (size, 1)])),
        np.reshape(b, tuple([n for size in right for n in (1, size)])),
    )
    return np.reshape(blocks, tuple([m * n for m, n in zip(left, right, strict=True)]))


@implements(np.tensordot, np.linalg.tensordot)
def tensordot(a: ArrayLike, b: ArrayLike, /, axes: int | tuple[int | Sequence[int], int | Sequence[int]] = 2) -> Array:
    """The sum of products over the last `axes` axes of `a` and the first of `b`, or over the axes in a pair of axes
    or of lists of axes. The axes that are left are those of `a`, then those of `b`.

    >>> tensordot(np.ones((2, 3, 4)), np.ones((4, 3)), ([1, 2], [1, 0])).tolist()
    [12.0, 12.0]

    Raises:
        ShapeError: for axes that do not match in number and sizes.
    """
    a, b = operand(a), operand(b)
    a_ndim, b_ndim = len(a.shape), len(b.shape)
    if hasattr(axes, "__iter__"):
        a_axes, b_axes = [
            [normalize_axis(i, ndim, "tensordot") for i in (chosen if hasattr(chosen, "__iter__") else (chosen,))]
            for chosen, ndim in zip(axes, (a_ndim, b_ndim), strict=True)
        ]
    else:
        count = operator.index(axes)
        if count > min(a_ndim, b_ndim):
            raise ShapeError(f"tensordot: {type_of(a)} and {type_of(b)} have no {count} axes each to sum over")
        a_axes, b_axes = list(range(a_ndim - count, a_ndim)), list(range(count))
    if len(a_axes) != len(b_axes) or [a.shape[i] for i in a_axes] != [b.shape[i] for i in b_axes]:
        raise ShapeError(
            f"tensordot: axes {a_axes} of {type_of(a)} and axes {b_axes} of {type_of(b)} must match in number and sizes"
        )
    if max(a_ndim, b_ndim) > 26 or a_ndim + b_ndim - len(a_axes) == len(
        LETTERS
    ):  # too few letters, with one for a batch
        return _tensordot_of_matrices(a, b, a_axes, b_axes)
    left = string.ascii_lowercase[:a_ndim]
    names = dict(zip(b_axes, [left[i] for i in a_axes], strict=True))
    right = "".join([names.get(i, LETTERS[i]) for i in range(b_ndim)])
    free = [left[i] for i in range(a_ndim) if i not in a_axes] + [right[i] for i in range(b_ndim) if i not in b_axes]
    return bind(einsum_op, (a, b), {"subscripts": f"{left},{right}->{''.join(free)}"})


def _tensordot_of_matrices(a: Any, b: Any, a_axes: Sequence[int], b_axes: Sequence[int]) -> Any:
    """The same as one product of matrices."""
    a_free = [i for i in range(len(a.shape)) if i not in a_axes]
    b_free = [i for i in range(len(b.shape)) if i not in b_axes]
    shape = (*[a.shape[i] for i in a_free], *[b.shape[i] for i in b_free])
    summed = math.prod([a.shape[i] for i in a_axes])
    left = np.reshape(np.transpose(a, (*a_free, *a_axes)), (math.prod(shape[: len(a_free)]), summed))
    right = np.reshape(np.transpose(b, (*b_axes, *b_free)), (summed, math.prod(shape[len(a_free) :])))
    return np.reshape(_in_dot_dtype(np.matmul(left, right), left, right), shape)


def _as_np_matmul(x: Any) -> Any:
    """An operand in a dtype of which NumPy has products of matrices: it makes float32 of bfloat16."""
    x = operand(x)
    return astype(x, np.float32) if is_added(x.dtype) else x


def _same_length(name: str, x1: Any, axis1: int, x2: Any, axis2: int) -> None:
    """Axes that are summed over are of one length: one of a single element is not repeated, as einsum would."""
    if len(x1.shape) >= -axis1 and len(x2.shape) >= -axis2 and x1.shape[axis1] != x2.shape[axis2]:
        raise ShapeError(
            f"{name}: axis {axis1} of {type_of(x1)} and axis {axis2} of {type_of(x2)}, which are summed over, must be of one length"
        )


def _vecdot(x1: ArrayLike, x2: ArrayLike, /, *, axis: int = -1) -> Array:
    """The sum of conj(x1) * x2 over one axis, the others broadcast.

    >>> vecdot(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [5.0, 25.0]
    """
    x1, x2 = conjugate_of_complex(operand(x1)), operand(x2)
    if axis != -1:
        x1, x2 = np.moveaxis(x1, axis, -1), np.moveaxis(x2, axis, -1)
    _same_length("vecdot", x1, -1, x2, -1)
    return by_einsum("...i,...i->...", *map(_as_np_matmul, (x1, x2)))


vecdot = implements(np.vecdot, np.linalg.vecdot)(_vecdot)


@implements(getattr(np, "matvec", None))
def matvec(x1: ArrayLike, x2: ArrayLike, /) -> Array:
    """Matrices times vectors: (..., m, n) by (..., n) gives (..., m), leading axes broadcast.

    >>> matvec(np.array([[1.0, 2.0], [3.0, 4.0]]), np.ones(2)).tolist()
    [3.0, 7.0]
    """
    x1, x2 = _as_np_matmul(x1), _as_np_matmul(x2)
    _same_length("matvec", x1, -1, x2, -1)
    return by_einsum("...mn,...n->...m", x1, x2)


@implements(getattr(np, "vecmat", None))
def vecmat(x1: ArrayLike, x2: ArrayLike, /) -> Array:
    """Conjugated vectors times matrices: (..., m) by (..., m, n) gives (..., n), leading axes broadcast.

    >>> vecmat(np.ones(2), np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [4.0, 6.0]
    """
    x1, x2 = conjugate_of_complex(_as_np_matmul(x1)), _as_np_matmul(x2)
    _same_length("vecmat", x1, -1, x2, -2)
    return by_einsum("...m,...mn->...n", x1, x2)


@implements(np.cross)
def cross(
    a: ArrayLike, b: ArrayLike, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Array:
    """The cross product of vectors of three components along one axis, the others broadcast. A vector of two components
    lies in the plane; of two such, only the third component of the product is returned, as by NumPy before 2.5, which refuses them.

    >>> cross(np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])).tolist()
    [0.0, 0.0, 1.0]
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = [np.moveaxis(operand(x), i, -1) if i != -1 else operand(x) for x, i in ((a, axisa), (b, axisb))]
    sizes = (a.shape[-1], b.shape[-1])
    if not {2, 3} >= set(sizes):
        raise ShapeError(f"cross: vectors have 2 or 3 components, got {type_of(a)} and {type_of(b)}")
    if sizes == (3, 3):
        onward, back = [1, 2, 0], [2, 0, 1]
        out = np.take(a, onward, -1) * np.take(b, back, -1) - np.take(a, back, -1) * np.take(b, onward, -1)
    else:  # without products with a third component of zero, which infinities make NaN of
        third = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
        if sizes == (2, 2):
            return third
        if sizes == (2, 3):
            first, second = a[..., 1] * b[..., 2], -(a[..., 0] * b[..., 2])
        else:
            first, second = -(a[..., 2] * b[..., 1]), a[..., 2] * b[..., 0]
        out = np.stack([first, second, third], -1)
    return out if axisc == -1 else np.moveaxis(out, -1, axisc)


@implements(np.linalg.cross)
def linalg_cross(x1: ArrayLike, x2: ArrayLike, /, *, axis: int = -1) -> Array:
    """The cross product of vectors of three components along `axis`, the others broadcast.

    >>> cross(np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])).tolist()
    [0.0, 0.0, 1.0]
    """
    x1, x2 = as_array(x1), as_array(x2)
    if shape_of(x1)[axis] != 3 or shape_of(x2)[axis] != 3:
        raise ShapeError(
            f"np.linalg.cross takes vectors of 3 components, got {type_of(x1)} and {type_of(x2)} (axis {axis})"
        )
    return cross(x1, x2, axis=axis)


@implements(np.linalg.multi_dot)
def multi_dot(arrays: Sequence[ArrayLike], *, out: Array | None = None) -> Array:
    """The matrix product of all arrays, in the order that takes the fewest multiplications. The first and the last
    may be 1-d, a row and a column.

    Source: Cormen, Leiserson, Rivest, Stein, Introduction to Algorithms, section 15.2.

    >>> multi_dot([np.array([[1.0, 2.0], [3.0, 4.0]]), np.eye(2), np.ones(2)]).tolist()
    [3.0, 7.0]
    """
    factors = [as_array(x) for x in arrays]
    count = len(factors)
    if count < 2:
        raise ShapeError("multi_dot takes two arrays or more")
    shapes = [shape_of(x) for x in factors]
    if any([len(s) != 2 for s in shapes[1:-1]]) or any([len(s) not in (1, 2) for s in (shapes[0], shapes[-1])]):
        raise ShapeError(
            f"multi_dot takes 2-d arrays, the first and last also 1-d, got {[type_of(x) for x in factors]}"
        )
    first = shapes[0] if len(shapes[0]) == 2 else (1, *shapes[0])
    sizes = [*first, *[s[1] if len(s) == 2 else 1 for s in shapes[1:]]]
    cost = {(i, i): 0 for i in range(count)}
    split: dict[tuple[int, int], int] = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            cost[i, j], split[i, j] = min(
                [(cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)]
            )

    return _product(factors, split, 0, count - 1)


def _product(factors: Sequence[Any], split: Mapping[tuple[int, int], int], i: int, j: int) -> Any:
    """The product of the factors from i to j, taken apart where `split` says."""
    if i == j:
        return factors[i]
    k = split[i, j]
    left, right = _product(factors, split, i, k), _product(factors, split, k + 1, j)
    return _in_dot_dtype(bind(matmul_op, (left, right)), left, right)


@implements(np.einsum_path)
def einsum_path(*operands: Any, optimize: Any = "greedy", einsum_call: bool = False) -> tuple[list[Any], str]:
    """What NumPy would do, which depends on shapes only.

    >>> einsum_path("ij,jk,k->i", np.ones((2, 3)), np.ones((3, 4)), np.ones(4))[0][0]
    'einsum_path'
    """
    subscripts, arrays = einsum_operands(operands)
    return np.einsum_path(subscripts, *[np.broadcast_to(0.0, shape_of(x)) for x in arrays], optimize=optimize)
