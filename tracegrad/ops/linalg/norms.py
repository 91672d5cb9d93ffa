"""Lengths. Every norm is continuous, with a kink at zero: there the derivative is taken to be zero."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.op import Op, Params, Sample, Wanted
from tracegrad.core.types import ArrayType
from tracegrad.ops.contract import conjugate_of_complex
from tracegrad.ops.elementwise import by_convention
from tracegrad.ops.families import along_axis, elementwise
from tracegrad.ops.linalg.matrices import real_dtype, uniform_matrices
from tracegrad.ops.reduce.sums import expand_reduced, reduced_shape


def _square_root_of_sum(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    squares = x.real * x.real + x.imag * x.imag if x.dtype.kind == "c" else x * x
    return np.sqrt(np.sum(squares, axes, keepdims=keepdims))


def _euclidean_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,) = types
    return ArrayType(reduced_shape(t.shape, params["axes"], params["keepdims"]), real_dtype(t.dtype))


def _euclidean_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    (x,) = primals
    ct, size = [expand_reduced(d, x.shape, params["axes"], params["keepdims"]) for d in (ct, out)]
    zero = np.equal(size, 0)
    return (ct * by_convention(conjugate_of_complex(x) * (1 / np.where(zero, 1, size)), zero),)


def _norm_samples() -> Iterable[Sample]:
    x = uniform_matrices(0, 2, 3, 2)
    for axes in ((0, 1, 2), (1,), (0, 2)):
        for keepdims in (False, True):
            yield Sample((x,), {"axes": axes, "keepdims": keepdims})
    yield Sample((np.zeros((0, 2)),), {"axes": (1,), "keepdims": False})


norm_op = Op(
    "norm",
    evaluate=_square_root_of_sum,
    infer=_euclidean_type,
    vjp=_euclidean_vjp,
    batch=along_axis("norm"),
    samples=_norm_samples,
)


def _root(x: Any, p: float) -> Any:
    zero = np.equal(x, 0)
    return np.where(zero, 0.0 if p > 0 else np.inf, np.where(zero, 1, x) ** p).astype(np.asarray(x).dtype)


def _root_partial(d: Any, out: Any, x: Any, p: float) -> Any:
    zero = np.equal(x, 0)
    return d * by_convention(np.where(zero, x, p * np.where(zero, 1, x) ** (p - 1)), zero)


# x**p of numbers that are not negative, for p < 1, with derivative zero at zero.
root_op = elementwise(
    "root", _root, _root_partial, neutral=1, infer=lambda types, params: ArrayType(types[0].shape, types[0].dtype), kinds="f",
    samples=lambda: [Sample((np.array([0.5, 2.0]),), {"p": 1 / 3}), Sample((np.array([0.5, 2.0]),), {"p": -0.5})],
)  # fmt: skip
