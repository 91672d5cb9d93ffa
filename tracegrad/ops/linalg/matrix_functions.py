"""Functions of whole matrices: the exponential, the logarithm and the square root.

The derivative of f at A along E, Frechet's, is the upper right block of f([[A, E], [0, A]]), and a function of matrices itself: its
own derivative is it once more, of blocks, so that there are all orders (N. Higham, Functions of Matrices, 2008, section 3.2).
Transposed it is the one at A^T. The square root has its derivative by a Sylvester equation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError

from tracegrad.core.op import Op, Params, Sample, Wanted
from tracegrad.core.trace import bind
from tracegrad.core.types import ArrayType
from tracegrad.ops.contract import transposed
from tracegrad.ops.families import broadcast_shapes, cast, conform, elementwise_batch
from tracegrad.ops.linalg.equations import sylvester
from tracegrad.ops.linalg.matrices import (
    dominant_matrices,
    each_matrix,
    in_lapack_floats,
    leading_batch,
    linalg_dtype,
    real_dtype,
    require_square,
    scipy_linalg,
    square,
    uniform_matrices,
)
from tracegrad.ops.reach import batch_of


def in_blocks(a: Any, e: Any) -> Any:
    """[[a, e], [0, a]], over leading axes that broadcast."""
    shape = np.broadcast_shapes(a.shape, e.shape)
    a, e = np.broadcast_to(a, shape), np.broadcast_to(e, shape)
    zeros = np.zeros(shape, e.dtype)
    return np.concatenate([np.concatenate([a, e], -1), np.concatenate([zeros, a], -1)], -2)


def corner(x: Any) -> Any:
    """The upper right block of four."""
    n = x.shape[-1] // 2
    return x[..., :n, n:]


def _expm(a: Any) -> Any:
    (a,) = in_lapack_floats(a)
    return each_matrix(scipy_linalg().expm, a)


def _frechet_of_expm(a: Any, e: Any) -> Any:
    return scipy_linalg().expm_frechet(a, e, compute_expm=False, check_finite=False)


def _expm_frechet(a: Any, e: Any) -> Any:
    return each_matrix(_frechet_of_expm, *in_lapack_floats(a, e))


def _as_real_as(a: Any, out: Any, name: str) -> Any:
    if a.dtype.kind == "c" or out.dtype.kind != "c":
        return out
    imaginary = np.abs(out.imag).max(initial=0)
    if not imaginary <= 100 * out.shape[-1] * np.finfo(out.dtype).eps * np.abs(out).max(initial=0):
        raise LinAlgError(
            f"{name} of this real matrix is complex, since it has eigenvalues that are negative: write {name}(a.astype(complex))"
        )
    return out.real


def _one_logm(a: Any) -> Any:
    """In doubles: SciPy holds all dtypes to what it expects of these, and warns."""
    a = a.astype(np.result_type(a, np.float64), copy=False)
    return _as_real_as(a, np.asarray(scipy_linalg().logm(a)), "logm")


def _logm(a: Any) -> Any:
    (a,) = in_lapack_floats(a)
    return each_matrix(_one_logm, a)


def _frechet_of_logm(a: Any, e: Any) -> Any:
    return corner(_one_logm(in_blocks(a, e)))


def _logm_frechet(a: Any, e: Any) -> Any:
    return each_matrix(_frechet_of_logm, *in_lapack_floats(a, e))


def _one_sqrtm(a: Any) -> Any:
    return _as_real_as(a, np.asarray(scipy_linalg().sqrtm(a)), "sqrtm")


def _sqrtm(a: Any) -> Any:
    (a,) = in_lapack_floats(a)
    return each_matrix(_one_sqrtm, a)


def with_frechet(
    name: str,
    evaluate: Callable[..., Any],
    frechet: Callable[..., Any],
    samples: Callable[[], Iterable[Sample]],
) -> tuple[Op, Op]:
    """Declare the op of a function of matrices, and that of its derivative, which is linear in its second input."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        return cast(bind(derivative, (primals[0], tangents[0])), out.dtype)

    def vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
        return (conform(bind(derivative, (transposed(primals[0]), ct)), primals[0]),)

    def twice(a: Any, e: Any, f: Any) -> Any:
        """The second derivative, along e and f."""
        return corner(bind(derivative, (in_blocks(a, f), in_blocks(e, np.zeros(e.shape, e.dtype)))))

    def frechet_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
        require_square(name, types[0])
        return ArrayType(broadcast_shapes(f"{name}_frechet", types), linalg_dtype(f"{name}_frechet", *types))

    def frechet_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        a, e = primals
        da, de = tangents
        total = None if de is None else bind(derivative, (a, de))
        if da is not None:
            moved = twice(a, e, da)
            total = moved if total is None else total + moved
        return cast(total, out.dtype)

    def frechet_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
        a, e = primals
        at = transposed(a)
        return [conform(bind(derivative, (at, ct)) if i else twice(at, transposed(e), ct), primals[i]) for i in wanted]

    def frechet_samples() -> Iterable[Sample]:
        for sample in samples():
            (a,) = sample.inputs
            yield Sample((a, uniform_matrices(5, *a.shape).astype(a.dtype)))

    derivative = Op(
        f"{name}_frechet",
        evaluate=frechet,
        infer=frechet_type,
        jvp=frechet_jvp,
        vjp=frechet_vjp,
        linear=[{1}],
        batch=elementwise_batch(f"{name}_frechet"),  # leading axes broadcast
        reach=batch_of(2),
        samples=frechet_samples,
    )
    function = Op(
        name,
        evaluate=evaluate,
        infer=square(name),
        jvp=jvp,
        vjp=vjp,
        batch=leading_batch(name),
        samples=samples,
    )
    return function, derivative


def _expm_samples() -> Iterable[Sample]:
    yield Sample((uniform_matrices(0, 3, 3),))


def _positive_samples() -> Iterable[Sample]:
    """Without eigenvalues that are negative."""
    yield Sample((dominant_matrices(0, 2, 2) + np.eye(2),))
    yield Sample((np.array([[2.0 + 0.5j]]),))  # of larger ones SciPy's logm has other last bits each time


expm_op, expm_frechet_op = with_frechet("expm", _expm, _expm_frechet, _expm_samples)
logm_op, logm_frechet_op = with_frechet("logm", _logm, _logm_frechet, _positive_samples)


def _sqrtm_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    return sylvester(out, out, tangents[0])


def _sqrtm_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    root = transposed(out)
    return (conform(sylvester(root, root, ct), primals[0]),)


sqrtm_op = Op(
    "sqrtm",
    evaluate=_sqrtm,
    infer=square("sqrtm"),
    jvp=_sqrtm_jvp,
    vjp=_sqrtm_vjp,
    batch=leading_batch("sqrtm"),
    samples=_positive_samples,
)


def _only_real(a: Any) -> Any:
    return each_matrix(_one_only_real, a).real


def _one_only_real(a: Any) -> Any:
    return _as_real_as(a.real, a, "funm")


def _as_complex(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    return (conform(ct.astype(primals[0].dtype), primals[0]),)


# The real part of what has no other; where it has, it raises, and is NaN on XLA.
only_real_op = Op(
    "only_real",
    evaluate=_only_real,
    infer=lambda types, params: ArrayType(types[0].shape, real_dtype(types[0].dtype)),
    jvp=lambda primals, tangents, out, params: np.real(tangents[0]),
    vjp=_as_complex,
    batch=leading_batch("only_real"),
    kinds="",
)
