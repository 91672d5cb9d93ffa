"""Matrix products with broadcast batches, that of a column by a row, and what products make of their operands first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.core.functions import UFUNCS
from tracegrad.core.memory import Strides, in_c_order
from tracegrad.core.op import Along, Op, Params, Sample, Wanted
from tracegrad.core.symbols import broadcast_shapes
from tracegrad.core.trace import as_array, bind, strengthened
from tracegrad.core.types import ArrayType, is_added, number_kind
from tracegrad.ops.contract.einsum import einsum_op
from tracegrad.ops.elementwise import astype, astype_op
from tracegrad.ops.families import conform, first_of, implements, lined_up, multilinear, shape_of
from tracegrad.ops.reach import aligned
from tracegrad.ops.shape import transpose_op
from tracegrad.typing import Array, ArrayLike, DType

# ---------------------------------------------------------------------------------------------------------------------
# Operands.


def operand(x: Any) -> Any:
    """An array or tracer; a Python scalar becomes float64 or int64, as in NumPy's products, where scalars are not
    weak."""
    return strengthened(as_array(x))


def conjugate_of_complex(x: Any) -> Any:
    """The conjugate, of real numbers these themselves."""
    return np.conjugate(x) if number_kind(x.dtype) == "c" else x


def flat(x: Any) -> Any:
    """All elements along one axis."""
    return x if len(x.shape) == 1 else np.reshape(x, (math.prod(x.shape),))


def transposed(x: Any) -> Any:
    """A matrix or each of a batch of matrices, transposed."""
    return x.T if len(x.shape) == 2 else np.swapaxes(x, -1, -2)


def column(x: Any) -> Any:
    """Vectors along the last axis as matrices of one column."""
    return x.reshape((*x.shape, 1))


def _rows(x: Any) -> Any:
    """All rows of a batch of matrices as one matrix."""
    return x if len(x.shape) == 2 else x.reshape((math.prod(x.shape[:-1]), x.shape[-1]))


def _flat_batch(x: Any) -> Any:
    """A batch of matrices with one batch axis."""
    return np.reshape(x, (math.prod(x.shape[:-2]), *x.shape[-2:]))


# ---------------------------------------------------------------------------------------------------------------------
# Matrix products, and that of a column by a row.


def _turned(params: Params) -> tuple[bool, bool]:
    """Which sides are given transposed."""
    return params.get("left", False), params.get("right", False)


def _operand_types(types: Sequence[ArrayType], params: Params) -> Sequence[ArrayType]:
    """The types of what is multiplied."""
    if not params:
        return types
    for t, turned in zip(types, _turned(params), strict=True):
        if turned and t.ndim < 2:
            raise ShapeError(f"matmul: {t} has no last two axes to transpose")
    return [
        ArrayType((*t.shape[:-2], t.shape[-1], t.shape[-2]), t.dtype) if turned else t
        for t, turned in zip(types, _turned(params), strict=True)
    ]


def _matmul_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    x, y = _operand_types(types, params)
    if not x.shape or not y.shape:
        raise ShapeError(f"matmul: {x} and {y} must both have axes; write x * y to multiply by a scalar")
    if x.shape[-1] != y.shape[-2:][0]:
        raise ShapeError(
            f"matmul: the last axis of {x} and the {'only' if y.ndim == 1 else 'last but one'} axis of {y} must be of "
            "the same size; write x.T, y.T or np.swapaxes(x, -1, -2) to line them up"
        )
    try:
        batch = broadcast_shapes(x.shape[:-2], y.shape[:-2])
    except ValueError:
        raise ShapeError(f"matmul: the leading axes of {x} and {y} do not broadcast together") from None
    try:
        dtype = np.matmul.resolve_dtypes((x.dtype, y.dtype, None))[-1]
    except TypeError:
        raise DtypeError(f"matmul takes no inputs of types {x}, {y}") from None
    return ArrayType((*batch, *x.shape[-2:-1], *(y.shape[-1:] if y.ndim > 1 else ())), dtype)


def _matmul_contraction(types: Sequence[ArrayType], params: Params) -> tuple[int, bool]:
    x, y = _operand_types(types, params)
    pairs = zip(x.shape[-3::-1], y.shape[-3::-1], strict=False)
    return _matmul_type(types, params).size * x.shape[-1], any([m == n != 1 for m, n in pairs])


# Until NumPy 2.3 np.matmul takes 30 times longer on what BLAS cannot read, such as a broadcast view (a cotangent that comes
# from a sum is one). Later ones copy it by themselves.
_COPIES_VIEWS = np.lib.NumpyVersion(np.__version__) < "2.3.0"


def _matmul(x: Any, y: Any, left: bool = False, right: bool = False) -> Any:
    """np.matmul and nothing else, under jit too: BLAS rounds otherwise for each way in which a matrix may lie and for each
    of its functions, so results have the same bits where the same call is made on arrays that lie the same way.

    `left` and `right` say which side is given transposed: only jit says so, of transposes that BLAS reads as they lie."""
    if left:
        x = x.swapaxes(-1, -2)
    if right:
        y = y.swapaxes(-1, -2)
    if _COPIES_VIEWS and x.size + y.size > 1000:
        if 0 in x.strides[-2:]:
            x = x.copy()
        if 0 in y.strides[-2:]:
            y = y.copy()
    return np.matmul(x, y)


_FEW = 1000  # elements of a product up to which the time to enter np.matmul is worth a thought


def _spelled_product(
    args: Sequence[str], types: Sequence[ArrayType], is_block: Callable[[int], bool], params: Params
) -> str | None:
    """For jit: a small product goes through ndarray.dot, which takes half of np.matmul's 0.7 us, where that hands the same
    matrices or vectors to the same function of BLAS. It does not warn of overflow, as np.dot does not.

    Of rows, columns, nothing, and what does not lie in one block ndarray.dot makes something else than np.matmul."""
    x, y = _operand_types(types, params)
    args = [
        f"{a}.T" if turned and t.ndim == 2 else f"{a}.swapaxes(-1, -2)" if turned else a
        for a, t, turned in zip(args, types, _turned(params), strict=True)
    ]
    is_small = x.ndim <= 2 >= y.ndim and min(*x.shape, *y.shape) > 1
    is_small = is_small and math.prod((*x.shape[:-1], *y.shape[1:])) <= _FEW
    is_small = is_small and x.dtype.char in "fdFD" and y.dtype == x.dtype and x.dtype.isnative
    if is_small and is_block(0) and is_block(1):
        return f"{args[0]}.dot({args[1]}{{out}})"
    return None if _COPIES_VIEWS else f"blas_matmul({args[0]}, {args[1]}{{out}})"


def _product_strides(inputs: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Strides | None:
    """A matrix is made in C order; where axes of a batch come before it, these lie as those of the operands do."""
    shape = _matmul_type(types, params).shape
    is_plain = not params and all([x == in_c_order(t.shape) for x, t in zip(inputs, types, strict=True)])
    if len(shape) <= 2 or is_plain:
        return in_c_order(shape)
    return None


def _outer(x: Any, y: Any) -> Any:
    """The outer product of vectors in a rule, on arrays as the op does it."""
    return _outer_product(x, y) if type(x) is ndarray and type(y) is ndarray else bind(outer_op, (x, y))


def _times(x: Any, y: Any) -> Any:
    """`x @ y` in a rule, on arrays as the op does it."""
    return _matmul(x, y) if type(x) is ndarray and type(y) is ndarray else bind(matmul_op, (x, y))


def _matmul_left(ct: Any, x: Any, y: Any) -> Any:
    """The cotangent of x, up to a sum over axes along which x was broadcast."""
    if len(x.shape) == 2 and len(y.shape) == 2:
        return _times(ct, y.T)
    if len(y.shape) == 1:
        return ct * y if len(x.shape) == 1 else _outer(ct, y) if len(x.shape) == 2 else column(ct) * y
    if len(x.shape) == 1:
        return _times(y, ct) if len(y.shape) == 2 else np.reshape(np.matmul(y, column(ct)), y.shape[:-1])
    if len(x.shape) == 2:  # one matrix product over the whole batch
        return bind(einsum_op, (_flat_batch(ct), _flat_batch(y)), {"subscripts": "bmn,bkn->mk"})
    return _times(ct, transposed(y))


def _matmul_right(ct: Any, x: Any, y: Any) -> Any:
    """The cotangent of y, likewise."""
    if len(x.shape) == 2 and len(y.shape) == 2:
        return _times(x.T, ct)
    if len(x.shape) == 1:
        if len(y.shape) == 2:
            return _outer(x, ct)
        return ct * x if len(y.shape) == 1 else column(x) * np.reshape(ct, (*ct.shape[:-1], 1, ct.shape[-1]))
    if len(y.shape) == 1:
        return _times(ct if len(ct.shape) == 1 else np.reshape(ct, (math.prod(ct.shape),)), _rows(x))
    if len(y.shape) == 2:
        return _times(_rows(x).T, _rows(ct))
    return _times(transposed(x), ct)


def _matmul_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    x, y = primals
    if type(x) is type(y) is type(ct) is ndarray and x.ndim == 2 and x.dtype is y.dtype is ct.dtype and not params:
        # The usual cases, with no more than they take.
        if y.ndim == 2:
            if len(wanted) == 1:
                return (_matmul(x.T, ct) if wanted[0] else _matmul(ct, y.T),)
            return _matmul(ct, y.T), _matmul(x.T, ct)
        if y.ndim == 1:
            if len(wanted) == 1:
                return (_matmul(ct, x) if wanted[0] else _outer_product(ct, y),)
            return _outer_product(ct, y), _matmul(ct, x)
    left, right = _turned(params)
    grads = []
    for i in wanted:
        # Of the input that the cotangent is of, the rules read the number of axes alone.
        if i == 0:
            d = _matmul_left(ct, x, transposed(y) if right else y)
        else:
            d = _matmul_right(ct, transposed(x) if left else x, y)
        grads.append(conform(transposed(d) if (right if i else left) else d, primals[i]))
    return grads


def _matmul_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    x, y = [transposed(v) if turned else v for v, turned in zip(inputs, _turned(params), strict=True)]
    x_ndim, y_ndim = [len(shape_of(v)) - b for v, b in zip(inputs, batched, strict=True)]
    if batched[0] and not batched[1] and y_ndim <= 2:
        if x_ndim < 2 or y_ndim < 2:
            return np.matmul(x, y)
        return np.reshape(np.matmul(_rows(x), y), (*x.shape[:-1], y.shape[-1]))  # one product of large matrices
    if batched[1] and not batched[0] and y_ndim == 1 and x_ndim <= 2:
        return np.matmul(y, transposed(x)) if x_ndim == 2 else np.matmul(y, x)
    if batched[0] and batched[1] and x_ndim == y_ndim == 2 and x.shape[-1] == 1:  # columns by rows
        return _outer_batch(size, batched, (np.reshape(x, x.shape[:2]), np.reshape(y, y.shape[::2])), {})
    # As matrices on both sides, their leading axes lined up behind the batch.
    if x_ndim == 1:
        x = np.reshape(x, (*x.shape[:-1], 1, x.shape[-1]))
    if y_ndim == 1:
        y = column(y)
    out = np.matmul(*lined_up(batched, (x, y)))
    kept = (*out.shape[:-2], *(out.shape[-2:-1] if x_ndim > 1 else ()), *(out.shape[-1:] if y_ndim > 1 else ()))
    return out if kept == out.shape else np.reshape(out, kept)


def _matmul_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(0)
    for left, right in [
        ((2, 3), (3, 4)),
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 2)),
        ((2, 2, 3), (3,)),
        ((3,), (2, 3, 2)),
        ((2, 2, 3), (3, 2)),
        ((2, 3), (2, 3, 2)),
        ((2, 1, 2, 3), (3, 3, 2)),
        ((2, 0), (0, 3)),
        ((0, 2), (2, 2)),
        ((3, 1), (1, 2)),
    ]:
        yield Sample((rng.uniform(-1, 1, left), rng.uniform(-1, 1, right)))
    for left, right, turned in [
        ((3, 2), (3, 4), (True, False)),
        ((2, 3), (4, 3), (False, True)),
        ((2, 3, 2), (1, 2, 3), (True, True)),
        ((3, 2), (2, 3, 2), (True, False)),
        ((3, 2), (3,), (True, False)),
    ]:
        pair = rng.uniform(-1, 1, left), rng.uniform(-1, 1, right)
        yield Sample(pair, dict(zip(("left", "right"), turned, strict=True)))


def _without_transposes(inputs: Sequence[Any], params: Params, definitions: Mapping[Any, Any]) -> Any:
    """The product of what the inputs are transposes of, which BLAS reads as it lies."""
    operands, flags = [], []
    for x, was_turned in zip(inputs, _turned(params), strict=True):
        made: Any = definitions.get(x)
        ndim = x.type.ndim
        is_turned = ndim >= 2 and made is not None and made.op is transpose_op
        is_turned = is_turned and made.params["axes"] == (*range(ndim - 2), ndim - 1, ndim - 2)
        operands.append(made.inputs[0] if is_turned else x)
        flags.append(was_turned != is_turned)
    if tuple(operands) == tuple(inputs):
        return None
    return matmul_op, operands, {"left": flags[0], "right": flags[1]} if any(flags) else {}


def _without_casts(inputs: Sequence[Any], params: Params, definitions: Mapping[Any, Any]) -> Any:
    """The product of narrow floats (bfloat16) that were cast to float32, as NumPy itself casts them."""
    narrow = []
    for x in inputs:
        made: Any = definitions.get(x)
        was_cast = made is not None and made.op is astype_op and is_added(made.inputs[0].type.dtype)
        narrow.append(made.inputs[0] if was_cast and x.type.dtype == np.float32 else x)
    if narrow == list(inputs) or not all([is_added(x.type.dtype) for x in narrow]):
        return None
    return matmul_op, narrow, params


def _matmul_reach(i: int, types: Sequence[ArrayType], out: ArrayType, params: Params, known: Sequence[Any]) -> Along:
    """Rows of x and columns of y are those of the product."""
    shape, other = types[i].shape, types[1 - i].shape
    if len(shape) == 1:
        return Along(())
    core = 1 if len(other) == 1 else 2
    batch = out.shape[: len(out.shape) - core] + (1, 1)  # with the axes of a matrix again
    lines = (len(shape) - 1) - (_turned(params)[i] != (i == 0)), len(out.shape) - (core if i == 0 else 1)
    return Along([*aligned(shape, batch, core=2), (*lines, None)])


matmul_op: Op = multilinear(
    "matmul", _matmul, vjp=_matmul_vjp, simplify=first_of(_without_transposes, _without_casts), reach=_matmul_reach,
    infer=_matmul_type, batch=_matmul_batch, kinds="biufc", samples=_matmul_samples, never_aliases=True,
    contraction=_matmul_contraction,
    code=_spelled_product, strides=_product_strides,
)  # fmt: skip
UFUNCS[np.matmul] = matmul_op


@implements(np.matmul, np.linalg.matmul)
def matmul(x1: ArrayLike, x2: ArrayLike, /, out: Array | None = None, *, dtype: DType = None) -> Array:
    """Matrix product, `x1 @ x2`: (..., m, k) by (..., k, n) gives (..., m, n), leading axes broadcast. A 1-d x1 is a
    row, a 1-d x2 a column, and that axis is gone from the result.

    >>> matmul(np.array([[1.0, 2.0], [3.0, 4.0]]), [1.0, 10.0]).tolist()
    [21.0, 43.0]

    Raises:
        ShapeError: for scalars, and for sizes that do not line up.
    """
    if dtype is not None:
        x1, x2 = [astype(as_array(x), dtype) for x in (x1, x2)]
    return bind(matmul_op, (x1, x2))


def _outer_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    x, y = types
    if x.ndim != 1 or y.ndim != 1:
        raise ShapeError(f"outer takes 1-d arrays, got {x} and {y}")
    return ArrayType((*x.shape, *y.shape), np.result_type(x.dtype, y.dtype))


def _outer_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    x, y = inputs
    if all(batched):
        # A third faster than np.multiply on (b, m, 1) and (b, 1, n), whose inner loop is started anew for each row.
        return bind(einsum_op, (x, y), {"subscripts": "bi,bj->bij"})
    return column(x) * (y if batched[0] else np.reshape(y, (size, 1, y.shape[-1])))


def _outer_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(0)
    for m, n in [(2, 3), (1, 1), (0, 2)]:
        yield Sample((rng.uniform(-1, 1, m), rng.uniform(-1, 1, n)))


def _outer_product(x: Any, y: Any) -> Any:
    return x[:, None] * y


outer_op = multilinear(
    "outer", _outer_product,
    lambda i: (lambda ct, x, y: np.matmul(x, ct)) if i else (lambda ct, x, y: np.matmul(ct, y)),
    infer=_outer_type, batch=_outer_batch, kinds="biufc", samples=_outer_samples, never_aliases=True,
    reach=lambda i, types, out, params, known: Along([(0, i, None)]),
    strides=lambda inputs, types, params: in_c_order((*types[0].shape, *types[1].shape)),
)  # fmt: skip


@implements(np.outer)
def outer(a: ArrayLike, b: ArrayLike, out: Array | None = None) -> Array:
    """All products of an element of `a` and one of `b`: m and n elements give (m, n).

    >>> outer([1, 2], [1, 10, 100]).tolist()
    [[1, 10, 100], [2, 20, 200]]
    """
    a, b = operand(a), operand(b)
    return bind(outer_op, (flat(a), flat(b)))
