"""Tools of linear algebra. A matrix is the last two axes of an array."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError

from tracegrad.core.context import context
from tracegrad.core.errors import DtypeError, at, user_source
from tracegrad.core.late import imported
from tracegrad.core.op import OPS, BatchRule, Params, Sample, TypeRule
from tracegrad.core.quiet import isolated
from tracegrad.core.symbols import broadcast_shapes
from tracegrad.core.trace import as_array, bind
from tracegrad.core.tracer import concrete
from tracegrad.core.types import ArrayType, is_added, is_inexact, number_kind, type_of
from tracegrad.ops.contract import conjugate_of_complex, transposed
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import all_batched
from tracegrad.ops.linalg import two_by_two


def adjoint(x: Any) -> Any:
    """Each matrix transposed and conjugated."""
    return transposed(conjugate_of_complex(x))


def diagonals(x: Any) -> Any:
    """The main diagonal of each matrix, (..., m, m) to (..., m)."""
    return np.einsum("...ii->...i", x)


def row(x: Any) -> Any:
    """Vectors as matrices of one row."""
    return x.reshape((*x.shape[:-1], 1, x.shape[-1]))


def hermitian_part(x: Any) -> Any:
    """The Hermitian part of each matrix."""
    return 0.5 * (x + adjoint(x))


def in_floats(x: Any) -> Any:
    """An array in the dtype in which LAPACK takes it: integers in float64."""
    return x if x.dtype.kind in "fc" else x.astype(np.float64)


def in_lapack_floats(*xs: Any) -> list[Any]:
    """Arrays in the one dtype in which LAPACK takes them together."""
    dtype = np.result_type(*[in_floats(x).dtype for x in xs])
    if dtype.char not in "fdFD":
        raise TypeError(f"array type {dtype.name} is unsupported in linalg")
    return [x.astype(dtype, copy=False) for x in xs]


def scipy_linalg() -> Any:
    try:
        return imported("scipy.linalg")
    except ImportError:
        raise ImportError(
            "this function of matrices is computed by SciPy, which is not installed; write: pip install 'tracegrad[scipy]'"
        ) from None


def each_matrix(function: Callable[..., Any], *xs: Any) -> Any:
    """`function` of each matrix of a batch, over which the arrays broadcast; it gives one matrix, like the last of them."""
    batch = broadcast_shapes(*[x.shape[:-2] for x in xs])
    out = np.empty((*batch, *xs[-1].shape[-2:]), xs[-1].dtype)
    if out.size:
        whole = [np.broadcast_to(x, (*batch, *x.shape[-2:])) for x in xs]
        for i in np.ndindex(batch):
            out[i] = function(*[x[i] for x in whole])
    return out


def joint_batch(name: str, *types: ArrayType) -> tuple[int, ...]:
    """The leading axes of matrices that broadcast together."""
    try:
        return broadcast_shapes(*[t.shape[:-2] for t in types])
    except ValueError:
        listed = ", ".join(map(str, types))
        raise LinAlgError(
            f"{name}{at(user_source())}: the leading axes of {listed} do not broadcast together"
        ) from None


def floating(x: Any) -> Any:
    """An array or tracer of floats: integers become float64."""
    x = as_array(x)
    t = type_of(x)
    return astype(x, t.dtype if is_inexact(t.dtype) and not is_added(t.dtype) else np.float64)


def linalg_dtype(name: str, *types: ArrayType) -> np.dtype[Any]:
    """The dtype in which LAPACK works on these: float32, float64 or their complex kin. np.linalg takes bfloat16 and its like
    for integers, so float64 of them."""
    for t in types:
        if is_inexact(t.dtype) and not is_added(t.dtype) and t.dtype.char not in "fdFD":
            raise DtypeError(f"{name}: {t} is unsupported in linalg; write x.astype(np.float32) or np.float64")
    single = all(t.dtype in (np.float32, np.complex64) for t in types)
    if any(number_kind(t.dtype) == "c" for t in types):
        return np.dtype(np.complex64 if single else np.complex128)
    return np.dtype(np.float32 if single else np.float64)


def real_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of real and imaginary parts."""
    return np.zeros((), dtype).real.dtype


def require_matrices(name: str, t: ArrayType) -> None:
    if t.ndim < 2:
        raise LinAlgError(f"{name} takes a matrix or a batch of them, (..., m, n), got {t}")


def require_square(name: str, t: ArrayType) -> None:
    require_matrices(name, t)
    if t.shape[-1] != t.shape[-2]:
        raise LinAlgError(f"{name} takes a square matrix or a batch of them, (..., m, m), got {t}")


def solved(name: str, a: Any, b: Any = None) -> Any:
    """a^-1 b, or a^-1, in the derivative of the named function, with an error that says so where it does not exist."""
    try:
        found = two_by_two.inv(a) if b is None else two_by_two.solve(a, b)
        if found is None:
            found = isolated(np.linalg.inv, a) if b is None else isolated(np.linalg.solve, a, b)
        return found
    except LinAlgError as error:
        raise LinAlgError(f"{name}{at(context.source)} has no derivative here: {error}") from None


def square(name: str) -> TypeRule:
    """The type rule of a function of square matrices that gives matrices like them."""

    def infer(types: Sequence[ArrayType], params: Params) -> ArrayType:
        (t,) = types
        require_square(name, t)
        return ArrayType(t.shape, linalg_dtype(name, t))

    return infer


def leading_batch(name: str) -> BatchRule:
    """The batching rule of a function of one array of matrices: NumPy maps over leading axes itself."""

    def batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
        return bind(OPS[name], tuple(inputs), params)

    return batch


def given_batch(name: str) -> BatchRule:
    def batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
        return bind(OPS[name], tuple(all_batched(size, batched, inputs)), params)

    return batch


def in_columns(solve: Callable[[Any], Any], b: Any, axis: int = -2) -> Any:
    """`solve` of many right-hand sides at once, which are the columns of one matrix: those along `axis` of b."""
    rows = np.moveaxis(b, axis, 0)
    out = solve(np.reshape(rows, (rows.shape[0], math.prod(rows.shape[1:]))))
    return np.moveaxis(np.reshape(out, (out.shape[0], *rows.shape[1:])), 0, axis)


def uniform_matrices(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).uniform(-1, 1, shape)


def dominant_matrices(seed: int, *shape: int) -> Any:
    """Matrices far from singular, with eigenvalues far apart."""
    return uniform_matrices(seed, *shape) + np.diag(np.arange(1.0, shape[-1] + 1) * 1.5)


def square_samples() -> Iterable[Sample]:
    yield Sample((dominant_matrices(0, 3, 3),))
    yield Sample((dominant_matrices(1, 2, 2, 2),))
    yield Sample((np.zeros((0, 0)),))


def symmetric_samples() -> Iterable[Sample]:
    yield Sample((hermitian_part(dominant_matrices(0, 3, 3)) + np.eye(3),))
    yield Sample((hermitian_part(dominant_matrices(1, 2, 2, 2)) + np.eye(2),))
    yield Sample((np.zeros((0, 0)),))


def with_complex_number(samples: Callable[[], Iterable[Sample]], **params: Any) -> Callable[[], Iterable[Sample]]:
    """Complex samples of one element, for decompositions of which the phases are arbitrary: LAPACK's and the
    derivative's differ, so that larger ones cannot be held against differences of values. Tests of functions that do
    not depend on the phase are in tests/ops/linalg/."""

    def both() -> Iterable[Sample]:
        yield from samples()
        yield Sample((np.array([[2.0 + 0j]]),), params)

    return both


def static_number(x: Any, what: str) -> float:
    return float(concrete(x, what, "give it as a Python number"))


def epsilon(x: Any) -> float:
    return float(np.finfo(linalg_dtype("finfo", type_of(x))).eps)
