"""Wrong calls, over all public functions and transforms: each raises an error that names the user's line, in its text or by where
its traceback ends, and no name that only this library knows."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tracegrad.core.errors import (
    ConcretizationTypeError,
    DifferentiationError,
    DtypeError,
    ShapeError,
    UnexpectedTracerError,
    UnsupportedFunctionError,
)
from tracegrad.core.functions import FUNCTIONS
from tracegrad.core.op import OPS

X = np.array([1.0, 2.0, 3.0])
A = np.arange(6.0).reshape(2, 3)
KEPT: list[Any] = []
L = tg.lax


@pytest.fixture(autouse=True)
def _as_users_see_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRACEGRAD_TRACEBACKS", raising=False)


# A name, the call, its error, and what the text says.
Wrong = tuple[str, Callable[..., Any], type[Exception], str]


def cj(rule: Any) -> Any:
    """np.sin with a rule for tangents."""

    @tg.custom_jvp
    def f(x: Any) -> Any:
        return np.sin(x)

    if rule is not None:
        f.defjvp(rule)
    return f


def cv(fwd: Any, bwd: Any) -> Any:
    """np.sin with rules for cotangents."""

    @tg.custom_vjp
    def f(x: Any) -> Any:
        return np.sin(x)

    if fwd is not None:
        f.defvjp(fwd, bwd)
    return f


ARRAYS: list[Wrong] = [
    ("x[5]", lambda x: x[5], IndexError, "index 5 is out of bounds for axis 0 with size"),
    ("x[1.5]", lambda x: x[1.5], IndexError, "only integers, slices (`:`), ellipsis (`...`),"),
    ('x["a"]', lambda x: x["a"], IndexError, "only integers, slices (`:`), ellipsis (`...`),"),
    ("x[None,0,0]", lambda x: x[None, 0, 0], IndexError, "too many indices for array: array is"),
    ("x[0,0]", lambda x: x[0, 0], IndexError, "too many indices for array: array is"),
    ("x[[5]]", lambda x: x[[5]], IndexError, "index 5 is out of bounds for axis 0 with"),
    ("x[[1.5]]", lambda x: x[np.array([1.5])], IndexError, "arrays used as indices must be of integer (or"),
    ("x[mask2]", lambda x: x[np.array([True, False])], IndexError, "boolean index did not match indexed array along"),
    ("x[::0]", lambda x: x[::0], ValueError, "slice step cannot be zero"),
    ("x[object]", lambda x: x[object()], IndexError, "only integers, slices (`:`), ellipsis (`...`),"),
    ("x[...,...]", lambda x: x[..., ...], IndexError, "an index can only have a single ellipsis"),
    ("x[{}]", lambda x: x[{}], IndexError, "only integers, slices (`:`), ellipsis (`...`),"),
    ("reshape", lambda x: x.reshape(2, 2), ShapeError, "reshape: f64[3] has 3 elements, the shape (2,"),
    ("reshape-1-1", lambda x: x.reshape(-1, -1), ShapeError, "reshape: f64[3] has 3 elements, which do not"),
    ("reshape float", lambda x: x.reshape(3.0), TypeError, "'float' object cannot be interpreted as an"),
    ("reshape str", lambda x: x.reshape("a"), TypeError, "'str' object cannot be interpreted as an"),
    (
        "reshape order",
        lambda x: np.reshape(x, (3,), order="Z"),
        ValueError,
        "reshape: order must be 'C', 'F' or 'A', got 'Z'",
    ),
    ("transpose", lambda x: x.transpose(0, 1), ShapeError, "transpose: axes (0, 1) do not name each axis of"),
    (
        "transpose dup",
        lambda x: np.transpose(np.outer(x, x), (0, 0)),
        ShapeError,
        "transpose: axes (0, 0) do not name each axis of",
    ),
    ("swapaxes", lambda x: x.swapaxes(0, 3), np.exceptions.AxisError, "axis 3 is out of bounds for array of dimension"),
    ("squeeze", lambda x: np.squeeze(x, 0), ShapeError, "squeeze: axis 0 of f64[3] has size 3; only axes"),
    (
        "expand",
        lambda x: np.expand_dims(x, 5),
        np.exceptions.AxisError,
        "axis 5 is out of bounds for array of dimension",
    ),
    ("concat", lambda x: np.concatenate([x, A]), ShapeError, "concatenate: f64[3], f64[2,3] differ in how"),
    ("concat0", lambda x: np.concatenate([x, 1.0]), ShapeError, "concatenate: f64[3], f64~[] differ in how many"),
    ("stack", lambda x: np.stack([x, x[:2]]), ShapeError, "stack: all arrays must have the same shape, got"),
    ("split", lambda x: np.split(x, 2), ShapeError, "split: axis 0 of f64[3] has no equal division"),
    ("broadcast", lambda x: np.broadcast_to(x, (2, 2)), ShapeError, "broadcast_to: f64[3] does not broadcast to the"),
    ("tile", lambda x: np.tile(x, "a"), TypeError, "'str' object cannot be interpreted as an"),
    ("repeat", lambda x: np.repeat(x, -1), ValueError, "repeat: counts cannot be negative, got -1"),
    ("repeat len", lambda x: np.repeat(x, [1, 2]), ValueError, "operands could not be broadcast together with"),
    ("pad", lambda x: np.pad(x, -1), ValueError, "pad: widths cannot be negative, got -1"),
    (
        "pad mode",
        lambda x: np.pad(x, 1, mode="zzz"),
        UnsupportedFunctionError,
        "numpy.pad with mode='zzz' is not traced",
    ),
    (
        "roll",
        lambda x: np.roll(x, 1, axis=4),
        np.exceptions.AxisError,
        "axis 4 is out of bounds for array of dimension",
    ),
    ("flip", lambda x: np.flip(x, 3), np.exceptions.AxisError, "axis 3 is out of bounds for array of dimension"),
    ("rot90", lambda x: np.rot90(x), np.exceptions.AxisError, "axis 1 is out of bounds for array of dimension"),
    (
        "sum axis",
        lambda x: np.sum(x, axis=2),
        np.exceptions.AxisError,
        "axis 2 is out of bounds for array of dimension",
    ),
    ("sum axis float", lambda x: np.sum(x, axis=1.5), TypeError, "'float' object cannot be interpreted as an"),
    ("sum axis str", lambda x: np.sum(x, axis="a"), TypeError, "'str' object cannot be interpreted as an"),
    ("sum axes dup", lambda x: np.sum(x, axis=(0, 0)), ShapeError, "sum: an axis is named twice in (0, 0)"),
    ("max initial", lambda x: np.max(x[:0]), ShapeError, "max of f64[0] over axes (0,): there is no"),
    ("argmax empty", lambda x: np.argmax(x[:0]), ValueError, "attempt to get argmax of an empty sequence"),
    (
        "sort axis",
        lambda x: np.sort(x, axis=4),
        np.exceptions.AxisError,
        "axis 4 is out of bounds for array of dimension",
    ),
    (
        "argsort",
        lambda x: np.argsort(x, axis=4),
        np.exceptions.AxisError,
        "axis 4 is out of bounds for array of dimension",
    ),
    (
        "cumsum",
        lambda x: np.cumsum(x, axis=4),
        np.exceptions.AxisError,
        "axis 4 is out of bounds for array of dimension",
    ),
    (
        "mean axis",
        lambda x: np.mean(x, axis=3),
        np.exceptions.AxisError,
        "axis 3 is out of bounds for array of dimension",
    ),
    ("std ddof", lambda x: np.std(x, ddof="a"), TypeError, "ufunc 'subtract' did not contain a loop with"),
    ("dot", lambda x: np.dot(x, A), ShapeError, "matmul: the last axis of f64[3] and the last"),
    ("matmul", lambda x: x @ A, ShapeError, "matmul: the last axis of f64[3] and the last"),
    ("matmul scalar", lambda x: x @ 2.0, ShapeError, "matmul: f64[3] and f64~[] must both have axes;"),
    ("einsum", lambda x: np.einsum("ij,jk", x, x), ShapeError, "einsum: the term 'ij' does not fit 1"),
    ("einsum bad", lambda x: np.einsum("i->ij", x), ShapeError, "einsum: the output names an axis that no"),
    ("einsum str", lambda x: np.einsum(3, x), TypeError, ""),
    ("tensordot", lambda x: np.tensordot(x, A, 1), ShapeError, "tensordot: axes [0] of f64[3] and axes [0] of"),
    ("outer add", lambda x: x + A[:, :2], ShapeError, "add: shapes f64[3], f64[2,2] do not broadcast"),
    ("where", lambda x: np.where(x > 0, x, A[:, :2]), ShapeError, "where: shapes bool[3], f64[3], f64[2,2] do not"),
    ("clip", lambda x: np.clip(x, "a", 1), DtypeError, "pass numbers, NumPy arrays or pytrees of them"),
    ("astype", lambda x: x.astype("zzz"), TypeError, "data type 'zzz' not understood"),
    ("astype str", lambda x: x.astype(str), DtypeError, "astype: <U0 is not a dtype of numbers"),
    ("astype obj", lambda x: x.astype(object), DtypeError, "astype: object is not a dtype of numbers"),
    ("bitand", lambda x: x & 1, DtypeError, "bitwise_and takes no inputs of types f64[3],"),
    ("invert", lambda x: ~x, DtypeError, "invert takes no inputs of types f64[3]"),
    ("lshift", lambda x: x << 1, DtypeError, "left_shift takes no inputs of types f64[3],"),
    ("add str", lambda x: x + "a", DtypeError, "pass numbers, NumPy arrays or pytrees of them"),
    ("add None", lambda x: x + None, DtypeError, "None of type NoneType is not an array of"),
    ("add dict", lambda x: x + {}, DtypeError, "pass numbers, NumPy arrays or pytrees of them"),
    ("add list", lambda x: x + [[1.0], [2.0, 3.0]], ValueError, "setting an array element with a sequence. The"),
    ("less str", lambda x: x < "a", DtypeError, "pass numbers, NumPy arrays or pytrees of them"),
    ("pow str", lambda x: x ** "a", DtypeError, "pass numbers, NumPy arrays or pytrees of them"),
    (
        "solve",
        lambda x: np.linalg.solve(A, x),
        np.linalg.LinAlgError,
        "solve takes a square matrix or a batch of them,",
    ),
    ("inv", lambda x: np.linalg.inv(x), np.linalg.LinAlgError, "inv takes a matrix or a batch of them, (..., m,"),
    (
        "det",
        lambda x: np.linalg.det(np.outer(x, x)[:2]),
        np.linalg.LinAlgError,
        "det takes a square matrix or a batch of them,",
    ),
    (
        "cholesky",
        lambda x: np.linalg.cholesky(np.outer(x, x)[:2]),
        np.linalg.LinAlgError,
        "cholesky takes a square matrix or a batch of",
    ),
    ("eigh", lambda x: np.linalg.eigh(x), np.linalg.LinAlgError, "eigh takes a matrix or a batch of them, (...,"),
    ("svd", lambda x: np.linalg.svd(x), np.linalg.LinAlgError, "svd takes a matrix or a batch of them, (..., m,"),
    (
        "qr mode",
        lambda x: np.linalg.qr(np.outer(x, x), "zzz"),
        ValueError,
        "qr: mode 'zzz' is not traced; modes 'reduced',",
    ),
    ("norm ord", lambda x: np.linalg.norm(x, "zzz"), ValueError, "Invalid norm order 'zzz' for vectors"),
    (
        "norm axis",
        lambda x: np.linalg.norm(x, axis=3),
        np.exceptions.AxisError,
        "axis 3 is out of bounds for array of dimension",
    ),
    (
        "fft",
        lambda x: np.fft.fft(x, axis=3),
        np.exceptions.AxisError,
        "axis 3 is out of bounds for array of dimension 1",
    ),
    (
        "fft n",
        lambda x: np.fft.fft(x, n=0),
        ShapeError,
        "fft of f64[3] along axis 0: it needs at least one point, got n=0",
    ),
    ("interp", lambda x: np.interp(x, X, A), ShapeError, "interp: xp is f64[3] and fp f64[2,3]; they must"),
    ("convolve", lambda x: np.convolve(x, x, "zzz"), ValueError, "convolve: mode must be 'full', 'same' or"),
    ("percentile", lambda x: np.percentile(x, 200), ValueError, "percentile: quantiles lie from 0 to 1"),
    (
        "quantile",
        lambda x: np.quantile(x, 0.5, method="zzz"),
        ValueError,
        "quantile: method must be one of 'inverted_cdf',",
    ),
    ("take", lambda x: np.take(x, 9), IndexError, "index 9 is out of bounds for axis 0 with size"),
    (
        "take mode",
        lambda x: np.take(x, 1, mode="zzz"),
        ValueError,
        "take: mode must be 'raise', 'wrap', 'clip' or 'fill',",
    ),
    (
        "take_along",
        lambda x: np.take_along_axis(x, np.array([[0]]), 0),
        ValueError,
        "take_along_axis: `indices` and `arr` must have",
    ),
    ("select", lambda x: np.select([x > 0], [x, x]), ValueError, "select: 1 conditions for 2 choices; give one"),
    ("diag", lambda x: np.diag(x, k=1.5), TypeError, "'float' object cannot be interpreted as an"),
    ("tril", lambda x: np.tril(x, "a"), TypeError, "bad operand type for unary -: 'str'"),
    (
        "meshgrid",
        lambda x: np.meshgrid(x, x, indexing="zz"),
        ValueError,
        "meshgrid: indexing must be 'xy' or 'ij', not",
    ),
    ("cross", lambda x: np.cross(x, np.ones(4)), ShapeError, "cross: vectors have 2 or 3 components, got"),
    ("kron", lambda x: np.kron(x, "a"), DtypeError, "pass numbers, NumPy arrays or pytrees of them"),
    ("trapezoid", lambda x: np.trapezoid(x, A), ShapeError, "multiply: shapes f64[1,3], f64[2] do not"),
    ("gradient", lambda x: np.gradient(x, X, X), TypeError, "gradient: 2 spacings for 1 axes; give none,"),
    ("searchsorted", lambda x: np.searchsorted(A, x), ShapeError, "searchsorted in f64[2,3]: the sorted array must"),
    ("digitize", lambda x: np.digitize(x, A), ShapeError, "searchsorted in f64[2,3]: the sorted array must"),
    ("vander", lambda x: np.vander(np.outer(x, x)), ValueError, "vander needs one dimension, got f64[3,3]"),
    ("setitem", lambda x: x.__setitem__(5, 1.0), IndexError, "index 5 is out of bounds for axis 0 with size"),
    (
        "setitem shape",
        lambda x: x.__setitem__(slice(None), np.ones(2)),
        ShapeError,
        "cannot write f64[2] into a region of shape (3,)",
    ),
    ("setitem complex", lambda x: x.__setitem__(0, 1j), TypeError, "float() argument must be a string or a real"),
    ("iadd", lambda x: x.__iadd__(A), ShapeError, "non-broadcastable output operand with shape"),
    ("at set", lambda x: x.at[9].set(1.0), IndexError, "index 9 is out of bounds for axis 0 with size"),
    ("at unknown", lambda x: x.at[0].foo(1.0), AttributeError, "it has add, apply, by, divide, get, max, min,"),
    ("attr", lambda x: x.foo, AttributeError, "a traced f64[3], the input x, has no attribute"),
    ("len", lambda x: len(x[0]), TypeError, "of a scalar, a traced f64[] made"),
    ("iter", lambda x: list(x[0]), TypeError, "over a scalar, a traced f64[] made"),
    ("call", lambda x: x(1), TypeError, "'Tracer' object is not callable"),
]
CALLS: list[Wrong] = [
    ("vmap sizes", lambda: tg.vmap(lambda x, y: x)(A, X), ShapeError, "the mapped axes differ in size: axis 0 of"),
    ("vmap scalar", lambda: tg.vmap(lambda x: x)(1.0), ShapeError, "in_axes asks for axis 0 of argument x, which is"),
    ("vmap nothing", lambda: tg.vmap(lambda: 1.0)(), ShapeError, "is mapped (there are no arrays among them); map"),
    ("vmap kw", lambda: tg.vmap(lambda x, *, k: x)(A, k=X), ShapeError, "the mapped axes differ in size: axis 0 of"),
    (
        "vmap dict",
        lambda: tg.vmap(lambda d: d["a"], in_axes=({"b": 0},))({"a": A}),
        ShapeError,
        "in_axes does not fit the value: the structures",
    ),
    (
        "jit unhashable static",
        lambda: tg.jit(lambda x, s: x, static_argnums=1)(X, object.__new__(type("U", (), {"__hash__": None}))),
        TypeError,
        "must be hashable, or made of lists, dicts,",
    ),
    ("jit too many", lambda: tg.jit(lambda x: x)(X, X), TypeError, "<lambda>.<locals>.<lambda>() takes 1 positional"),
    ("jit missing", lambda: tg.jit(lambda x, y: x)(X), TypeError, "<lambda>.<locals>.<lambda>() missing 1 required"),
    (
        "jit kw unknown",
        lambda: tg.jit(lambda x: x)(X, z=1),
        TypeError,
        "<lambda>.<locals>.<lambda>() got an unexpected",
    ),
    (
        "jit branch",
        lambda: tg.jit(lambda x: x if x[0] > 0 else -x, branches="error")(X),
        ConcretizationTypeError,
        "needs the value of a traced bool[] made",
    ),
    (
        "jit and",
        lambda: tg.jit(lambda x: x[0] > 0 and 1, branches="error")(X),
        ConcretizationTypeError,
        "needs the value of a traced bool[] made",
    ),
    (
        "jit assert",
        lambda: tg.jit(lambda x: exec("assert x[0]>0", {"x": x}), branches="error")(X),
        ConcretizationTypeError,
        "if, and, or, not, while or bool() at <string>:1",
    ),
    (
        "jit int",
        lambda: tg.jit(lambda x: int(x[0]), branches="error")(X),
        ConcretizationTypeError,
        "needs the value of a traced f64[] made",
    ),
    (
        "jit float",
        lambda: tg.jit(lambda x: float(x[0]), branches="error")(X),
        ConcretizationTypeError,
        "needs the value of a traced f64[] made",
    ),
    (
        "jit range",
        lambda: tg.jit(lambda n: list(range(n)), branches="error")(3),
        ConcretizationTypeError,
        "needs the value of a traced i64~[], the input",
    ),
    (
        "jit list idx",
        lambda: tg.jit(lambda n: [1, 2][n], branches="error")(1),
        ConcretizationTypeError,
        "needs the value of a traced i64~[], the input",
    ),
    (
        "jit dict key",
        lambda: tg.jit(lambda n: {1: 2}[n])(1),
        TypeError,
        "as a key of a dict or a cache or an element of",
    ),
    ("jit set", lambda: tg.jit(lambda n: {n})(1), TypeError, "as a key of a dict or a cache or an element of"),
    (
        "jit sorted",
        lambda: tg.jit(lambda x: sorted(x), branches="error")(X),
        ConcretizationTypeError,
        "needs the value of a traced bool[] made",
    ),
    (
        "jit max",
        lambda: tg.jit(lambda x: max(x), branches="error")(X),
        ConcretizationTypeError,
        "needs the value of a traced bool[] made",
    ),
    (
        "jit in",
        lambda: tg.jit(lambda x: 1.0 in x, branches="error")(X),
        ConcretizationTypeError,
        "needs the value of a traced bool[] made",
    ),
    (
        "jit mask",
        lambda: tg.jit(lambda x: x[x > 1], branches="error")(X),
        ConcretizationTypeError,
        "needs the value of a traced bool[3] made",
    ),
    (
        "jit unique",
        lambda: tg.jit(lambda x: np.unique(x), branches="error")(X),
        ConcretizationTypeError,
        "needs the value of a traced f64[3], the input",
    ),
    (
        "jit nonzero",
        lambda: tg.jit(lambda x: np.nonzero(x), branches="error")(X),
        ConcretizationTypeError,
        "needs the value of a traced f64[3], the input",
    ),
    (
        "jit where1",
        lambda: tg.jit(lambda x: np.where(x > 1), branches="error")(X),
        ConcretizationTypeError,
        "needs the value of a traced bool[3] made",
    ),
    (
        "jit tolist item",
        lambda: tg.jit(lambda x: float(x.tolist()[0]), branches="error")(X),
        ConcretizationTypeError,
        "needs the value of a traced f64~[] made",
    ),
    (
        "jit bytes",
        lambda: tg.jit(lambda x: x.tobytes())(X),
        AttributeError,
        "a traced f64[3], the input x, has no attribute",
    ),
    (
        "jit str fmt",
        lambda: tg.jit(lambda x: "%d" % x[0])(X),  # noqa: UP031
        ConcretizationTypeError,
        "needs the value of a traced f64[] made",
    ),
    ("jit hash", lambda: tg.jit(lambda x: hash(x))(X), TypeError, "as a key of a dict or a cache or an element of"),
    (
        "jit np.save",
        lambda: tg.jit(lambda x: np.save("x.npy", x))(X),
        UnsupportedFunctionError,
        "called with a traced f64[3], the input x.",
    ),
    (
        "jit bincount",
        lambda: tg.jit(lambda x: np.bincount(x))(np.arange(3)),
        ConcretizationTypeError,
        "needs the value of a traced i64[3], the input",
    ),
    (
        "jit histogram",
        lambda: tg.jit(lambda x: np.histogram(x, "auto"), branches="error")(X),
        ConcretizationTypeError,
        "needs the value of a traced f64[3], the input",
    ),
    ("jvp not tuple", lambda: tg.jvp(np.sin, X, X), TypeError, "takes primals and tangents as tuples, got"),
    ("jvp count", lambda: tg.jvp(np.sin, (X,), (X, X)), ShapeError, "the structure of the tangents is PyTreeDef((*,"),
    ("jvp shape", lambda: tg.jvp(np.sin, (X,), (A,)), ShapeError, "tangents[0] is f64[2,3], but primals[0] is"),
    (
        "jvp dtype",
        lambda: tg.jvp(np.sin, (X,), (X.astype("f4"),)),
        DtypeError,
        "tangents[0] is f32[3], but primals[0] is",
    ),
    (
        "jvp tree",
        lambda: tg.jvp(lambda d: d["a"], ({"a": X},), ({"b": X},)),
        ShapeError,
        "the structure of the tangents is",
    ),
    ("jvp complex", lambda: tg.jvp(np.sin, (X,), (X * 1j,)), DtypeError, "tangents[0] is c128[3], but primals[0] is"),
    ("jvp noncall", lambda: tg.jvp(3, (X,), (X,)), TypeError, "takes a function, got the int 3; write"),
    ("jvp none", lambda: tg.jvp(np.sin, (X,), (None,)), ShapeError, "the structure of the tangents is"),
    ("jvp missing", lambda: tg.jvp(np.sin, (X,)), TypeError, "jvp() missing 1 required positional argument:"),
    ("vjp ct shape", lambda: tg.vjp(np.sin, X)[1](A), ShapeError, "cotangent is f64[2,3], but output is f64[3];"),
    ("vjp ct tree", lambda: tg.vjp(np.sin, X)[1]((X,)), ShapeError, "the structure of the cotangent is"),
    ("vjp ct dtype", lambda: tg.vjp(np.sin, X)[1](X * 1j), DtypeError, "cotangent is c128[3], but output is f64[3];"),
    ("vjp ct none", lambda: tg.vjp(np.sin, X)[1](None), ShapeError, "the structure of the cotangent is"),
    ("vjp noncall", lambda: tg.vjp(3, X), TypeError, "takes a function, got the int 3; write"),
    (
        "vjp ct count",
        lambda: tg.vjp(np.sin, X)[1](X, X),
        TypeError,
        "what vjp returns takes one argument, the cotangent of the output, got 2",
    ),
    (
        "vjp int ct",
        lambda: tg.vjp(lambda x: np.argmax(x), X)[1](np.int64(1)),
        DtypeError,
        "output is i64[], so cotangent must be a zero of",
    ),
    ("linearize tan", lambda: tg.linearize(np.sin, X)[1](A), ShapeError, "tangents[0] is f64[2,3], but primals[0] is"),
    ("linearize tree", lambda: tg.linearize(np.sin, X)[1]({"a": X}), ShapeError, "the structure of the tangents is"),
    (
        "linear_transpose nonlinear",
        lambda: tg.linear_transpose(np.sin, X)(X),
        DifferentiationError,
        "is not linear in what is transposed; use tg.vjp",
    ),
    (
        "linear_transpose affine",
        lambda: tg.linear_transpose(lambda x: x + 1, X)(X),
        DifferentiationError,
        "brings in a constant that is not zero, which",
    ),
    (
        "linear_transpose ct",
        lambda: tg.linear_transpose(lambda x: 2 * x, X)(A),
        ShapeError,
        "cotangent is f64[2,3], but output is f64[3];",
    ),
    ("hvp", lambda: tg.hvp(lambda x: np.sum(x), (X,), (A,)), ShapeError, "tangents[0] is f64[2,3], but primals[0] is"),
    (
        "hvp nonscalar",
        lambda: tg.hvp(np.sin, (X,), (X,)),
        DifferentiationError,
        ". Return np.sum(...) or np.mean(...) of it, or",
    ),
    (
        "scan carry shape",
        lambda: L.scan(lambda c, e: (np.ones(2) * c[:2], None), X, None, length=2),
        ShapeError,
        "as f64[3] and comes out as f64[2]; a carry",
    ),
    (
        "scan carry tree",
        lambda: L.scan(lambda c, e: ((c, c), None), X, None, length=2),
        ShapeError,
        "as PyTreeDef(*) and comes out as PyTreeDef((*,",
    ),
    (
        "scan no pair",
        lambda: L.scan(lambda c, e: c, 1.0, None, length=2),
        TypeError,
        "must return a pair (carry, y), got f64~[];",
    ),
    (
        "scan no length",
        lambda: L.scan(lambda c, e: (c, None), 1.0, None),
        ShapeError,
        "without arrays in xs the number of steps is",
    ),
    (
        "scan lengths",
        lambda: L.scan(lambda c, e: (c, None), 1.0, (X, A)),
        ShapeError,
        "xs[1], f64[2,3], has 2 elements, but xs[0] has",
    ),
    (
        "scan length differs",
        lambda: L.scan(lambda c, e: (c, None), 1.0, X, length=5),
        ShapeError,
        "xs, f64[3], has 3 elements, but length=5; all",
    ),
    (
        "scan float length",
        lambda: L.scan(lambda c, e: (c, None), 1.0, None, length=2.5),
        TypeError,
        "length, the number of steps, must be an int,",
    ),
    ("scan noncall", lambda: L.scan(3, 1.0, X), TypeError, "takes a function, got the int 3; write"),
    (
        "scan scalar xs",
        lambda: L.scan(lambda c, e: (c, None), 1.0, 3.0),
        ShapeError,
        "xs is f64~[], without an axis to run over;",
    ),
    (
        "scan neg",
        lambda: L.scan(lambda c, e: (c, None), 1.0, None, length=-1),
        ShapeError,
        "without arrays in xs the number of steps is",
    ),
    (
        "while cond array",
        lambda: tg.jit(lambda x: L.while_loop(lambda c: c > 0, lambda c: c - 1, x))(X),
        ShapeError,
        "must return one boolean, got bool[3]; write a",
    ),
    (
        "while carry",
        lambda: tg.jit(lambda x: L.while_loop(lambda c: c[0] > 0, lambda c: c[:2], x))(X),
        ShapeError,
        "as f64[3] and comes out as f64[2]; a carry",
    ),
    ("while noncall", lambda: L.while_loop(1, 2, X), TypeError, "takes a function, got the int 1; write"),
    (
        "while tree",
        lambda: tg.jit(lambda x: L.while_loop(lambda c: c[0] > 0, lambda c: (c, c), x))(X),
        ShapeError,
        "as PyTreeDef(*) and comes out as PyTreeDef((*,",
    ),
    (
        "while cond str",
        lambda: L.while_loop(lambda c: "a", lambda c: c, X),
        DtypeError,
        "pass numbers, NumPy arrays or pytrees of them",
    ),
    (
        "fori float",
        lambda: L.fori_loop(0, 2.5, lambda i, c: c, X),
        DtypeError,
        "upper must be an integer scalar, got f64~[];",
    ),
    ("fori noncall", lambda: L.fori_loop(0, 2, 3, X), TypeError, "takes a function, got the int 3; write"),
    (
        "fori carry",
        lambda: L.fori_loop(0, 2, lambda i, c: c[:2], X),
        ShapeError,
        "as f64[3] and comes out as f64[2]; a carry",
    ),
    (
        "cond trees",
        lambda: tg.jit(lambda p: L.cond(p, lambda: X, lambda: (X,)))(True),
        TypeError,
        "returns PyTreeDef((*,)); return the same",
    ),
    (
        "cond shapes",
        lambda: tg.jit(lambda p: L.cond(p, lambda: X, lambda: A))(True),
        ShapeError,
        "its functions must return equal shapes, but",
    ),
    (
        "cond pred",
        lambda: L.cond(X, lambda: 1.0, lambda: 2.0),
        ShapeError,
        "the predicate must be one number, of shape (),",
    ),
    ("cond noncall", lambda: L.cond(True, 1.0, 2.0), TypeError, "true_fun must be a function, got the float 1.0;"),
    (
        "cond args",
        lambda: L.cond(True, lambda x: x, lambda x: x),
        TypeError,
        "<lambda>.<locals>.<lambda>() missing 1 required",
    ),
    (
        "switch idx",
        lambda: L.switch(1.5, [lambda: 1.0, lambda: 2.0]),
        DtypeError,
        "the index must be an integer, got f64~[]; write",
    ),
    ("switch empty", lambda: L.switch(0, []), ValueError, "got no branches; give a list of at least one"),
    ("switch noncall", lambda: L.switch(0, [1.0]), TypeError, "branches[0] must be a function, got the float"),
    ("switch array", lambda: L.switch(X, [lambda: 1.0]), ShapeError, "the index must be one number, of shape (), got"),
    ("map scalar", lambda: L.map(lambda x: x, 3.0), ShapeError, "xs is f64~[], without an axis to run over;"),
    (
        "assoc",
        lambda: L.associative_scan(lambda a, b: a, X[:0].sum()),
        np.exceptions.AxisError,
        "axis 0 is out of bounds for array of dimension",
    ),
    ("assoc noncall", lambda: L.associative_scan(3, X), TypeError, "takes a function, got the int 3; write"),
    (
        "psum unbound",
        lambda: tg.jit(lambda x: L.psum(x, "i"))(X),
        NameError,
        "no axis named 'i' is being mapped over, nor is",
    ),
    ("axis_index unbound", lambda: L.axis_index("i"), NameError, "no axis named 'i' is being mapped over, nor is"),
    ("all_gather", lambda: L.all_gather(X, "q"), NameError, "no axis named 'q' is being mapped over, nor is"),
    (
        "custom_jvp none",
        lambda: tg.grad(cj(None))(1.0),
        DifferentiationError,
        "has no rules yet, and is differentiated",
    ),
    (
        "custom_jvp no pair",
        lambda: tg.grad(cj(lambda p, t: p[0]))(1.0),
        DifferentiationError,
        "must return a pair (out, tangent_out), got",
    ),
    (
        "custom_jvp shape",
        lambda: tg.jvp(cj(lambda p, t: (p[0], np.ones(2))), (1.0,), (1.0,)),
        ShapeError,
        "returned f64[2] for output, which is f64~[];",
    ),
    (
        "custom_jvp dtype",
        lambda: tg.jvp(cj(lambda p, t: (p[0], t[0] * 1j)), (1.0,), (1.0,)),
        DtypeError,
        "returned c128[] for output, which is f64~[];",
    ),
    (
        "custom_jvp nonlinear",
        lambda: tg.grad(cj(lambda p, t: (np.sin(p[0]), t[0] ** 2)))(1.0),
        DifferentiationError,
        "the transpose of the derivative rule of 'f'",
    ),
    (
        "custom_jvp args",
        lambda: tg.grad(cj(lambda p: p))(1.0),
        TypeError,
        "<lambda>.<locals>.<lambda>() takes 1 positional",
    ),
    ("custom_jvp defjvp noncall", lambda: cj(3), TypeError, "takes a function, got the int 3; write"),
    (
        "custom_jvp nondiff",
        lambda: tg.custom_jvp(lambda x: x, nondiff_argnums="a"),
        TypeError,
        "nondiff_argnums must be an int or a sequence of",
    ),
    (
        "custom_vjp none",
        lambda: tg.grad(cv(None, None))(1.0),
        DifferentiationError,
        "has no rules yet, and is differentiated",
    ),
    (
        "custom_vjp fwd no pair",
        lambda: tg.grad(cv(lambda x: x, lambda r, g: (g,)))(1.0),
        DifferentiationError,
        "must return a pair (out, residuals), got f64~[]",
    ),
    (
        "custom_vjp bwd no tuple",
        lambda: tg.grad(cv(lambda x: (x, x), lambda r, g: g))(1.0),
        DifferentiationError,
        "must return a tuple with one cotangent for each",
    ),
    (
        "custom_vjp bwd count",
        lambda: tg.grad(cv(lambda x: (x, x), lambda r, g: (g, g)))(1.0),
        DifferentiationError,
        "must return a tuple with one cotangent for each",
    ),
    (
        "custom_vjp bwd shape",
        lambda: tg.grad(cv(lambda x: (x, x), lambda r, g: (np.ones(2),)))(1.0),
        ShapeError,
        "returned f64[2] for argument[0], which is",
    ),
    (
        "custom_vjp bwd args",
        lambda: tg.grad(cv(lambda x: (x, x), lambda g: (g,)))(1.0),
        TypeError,
        "<lambda>.<locals>.<lambda>() takes 1 positional",
    ),
    (
        "custom_vjp fwd out",
        lambda: tg.grad(cv(lambda x: (np.ones(2) * x, x), lambda r, g: (g,)))(1.0),
        ShapeError,
        "returned an output of type f64[2], but the",
    ),
    ("custom_vjp defvjp noncall", lambda: cv(3, 4), TypeError, "takes a function, got the int 3; write"),
    (
        "leak",
        lambda: (tg.make_graph(lambda x: KEPT.append(x * 1))(X), np.sin(KEPT[-1])),
        UnexpectedTracerError,
        "sin: a tracer leaked: the value made",
    ),
    (
        "leak grad",
        lambda: (tg.grad(lambda x: (KEPT.append(x * 1), np.sum(x))[1])(X), KEPT[-1] + 1),
        UnexpectedTracerError,
        "add: a tracer leaked: the value made",
    ),
    (
        "leak vmap",
        lambda: (tg.vmap(lambda x: (KEPT.append(x * 1), x)[1])(X), float(KEPT[-1])),
        UnexpectedTracerError,
        "(f64[]) escaped from the vmap of",
    ),
]


def generated() -> Iterator[Wrong]:
    """What every transform is given alike."""
    takes_function: dict[str, Callable[..., Any]] = {
        n: getattr(tg, n)
        for n in (
            "grad", "value_and_grad", "jacfwd", "jacrev", "hessian", "vmap", "jit", "checkpoint", "custom_jvp", "custom_vjp",
            "make_graph",
        )
    }  # fmt: skip
    for name, t in takes_function.items():
        for what, given in {"an array": X, "a number": 3.0, "text": "f"}.items():
            yield f"{name} of {what}", lambda t=t, g=given: t(g), TypeError, "takes a function, got the"
    f = np.sum
    for name in ("grad", "value_and_grad", "jacfwd", "jacrev", "hessian"):
        t = takes_function[name]
        for argnums in (1.5, "x", None, [0.5]):
            run = lambda t=t, a=argnums: t(f, argnums=a)(X)
            yield f"{name} argnums={argnums!r}", run, TypeError, "argnums must be an int or a sequence of ints"
        for argnums in (3, -4, (0, 7)):
            run = lambda t=t, a=argnums: t(f, argnums=a)(X)
            yield f"{name} argnums={argnums!r}", run, DifferentiationError, "asks for positional argument"
        for argnums in ((0, 0), (0, -1)):
            run = lambda t=t, a=argnums: t(f, argnums=a)(X)
            yield f"{name} argnums={argnums!r}", run, DifferentiationError, "twice; name each once"
        yield f"{name} of ints", lambda t=t: t(f)(np.arange(3)), DtypeError, "do not exist: pass floats"
        yield f"{name} holomorphic", lambda t=t: t(f, holomorphic=True)(X), DtypeError, "needs complex inputs"
        yield f"{name} of complex", lambda t=t: t(f)(X * 1j), TypeError, "pass holomorphic=True if"
        yield f"{name} of nothing", lambda t=t: t(f)(), DifferentiationError, "was called with 0 positional arguments"
        yield f"{name} no aux", lambda t=t: t(f, has_aux=True)(X), DifferentiationError, "returns a pair (value, aux)"
        yield f"{name} option", lambda t=t: t(f, argnum=1), TypeError, "unexpected keyword argument 'argnum'"
        yield f"{name} text out", lambda t=t: t(lambda x: "a")(X), TypeError, ""
    for options, error, part in (
        ({"in_axes": "a"}, TypeError, "in_axes holds ints and None, got 'a' for argument x"),
        ({"in_axes": 1.5}, TypeError, "in_axes holds ints and None, got 1.5"),
        ({"in_axes": 5}, ShapeError, "in_axes asks for axis 5 of argument x"),
        ({"in_axes": -5}, ShapeError, "in_axes asks for axis -5 of argument x"),
        ({"in_axes": (0, 0)}, ShapeError, "give one for each (None: not mapped)"),
        ({"in_axes": None}, ShapeError, "is mapped (in_axes=None)"),
        ({"in_axes": {"a": 0}}, ShapeError, "in_axes does not fit the value"),
        ({"out_axes": 5}, ShapeError, "which has 2 axes with that of the examples"),
        ({"out_axes": "a"}, TypeError, "out_axes holds ints and None"),
        ({"out_axes": (0, 0)}, ShapeError, "out_axes does not fit the value"),
        ({"out_axes": None}, ShapeError, "which depends on a mapped argument"),
        ({"axis_size": 7}, ShapeError, "axis_size is 7, but axis 0 of argument x has 2"),
        ({"axis_size": 1.5}, TypeError, "axis_size must be an int"),
    ):
        yield f"vmap {options}", lambda o=options: tg.vmap(lambda x: x, **o)(A), error, part
    for options, error, part in (
        ({"static_argnums": "a"}, TypeError, "static_argnums must be an int or a sequence of ints"),
        ({"static_argnums": 1.5}, TypeError, "static_argnums must be an int or a sequence of ints"),
        ({"static_argnums": 5}, ValueError, "has no positional parameter 5"),
        ({"static_argnames": "zz"}, ValueError, "has no parameter 'zz'; its parameters are x"),
        ({"static_argnames": 3}, TypeError, "static_argnames must be a string or a sequence of strings"),
        ({"backend": "torch"}, ValueError, "there is no backend of backend='torch'"),
        ({"backend": 3}, ValueError, "there is no backend of backend=3"),
        ({"donate_argnums": "a"}, TypeError, "donate_argnums must be an int or a sequence of ints"),
        ({"donate_argnums": 1.5}, TypeError, "donate_argnums must be an int or a sequence of ints"),
        ({"static_argnum": 1}, TypeError, "unexpected keyword argument 'static_argnum'"),
    ):
        yield f"jit {options}", lambda o=options: tg.jit(lambda x: x, **o)(X), error, part
    for name, g, error, part in ARRAYS:
        yield f"jit {name}", lambda g=g: tg.jit(g)(X), error, part
        yield f"vjp {name}", lambda g=g: tg.vjp(g, X), error, part


ALL = [*CALLS, *generated()]
_NAMESPACES: dict[str, ModuleType] = {"np": tnp, "np.linalg": tnp.linalg, "tg.nn": tg.nn, "tg.lax": tg.lax}
_PRIVATE = [
    name
    for name in [*OPS]
    if "_" in name and not any(hasattr(m, name) for m in (np, np.linalg, np.ndarray, *_NAMESPACES.values()))
]


def faults(error: Exception, file: str = __file__) -> list[str]:
    """What is wrong with an error: no line of this file's (or of another that makes the call), or names that are ours alone."""
    text = "\n".join([str(error), *getattr(error, "__notes__", [])])
    found = []
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    ends_here = step is not None and step.tb_frame.f_code.co_filename == file
    if not ends_here and not re.search(rf"{re.escape(file)}:\d+|<string>:\d+", text):
        found.append("no line of the user's")
    text = text.replace(file, "")
    if [name for name in re.findall(r"[\w.]+\.<locals>", text) if not re.match(r"(test_|run|generated|cj|cv)", name)]:
        found.append("a function of ours")
    if "/tracegrad/" in text or "site-packages" in text:
        found.append("a file that is not the user's")
    found += [name for name in _PRIVATE if re.search(rf"\b{name}\b", text)]
    return found


def test_there_are_as_many_as_were_asked_for() -> None:
    assert len(ALL) >= 260 and len({name for name, *_ in ALL}) == len(ALL)


@pytest.mark.parametrize(("run", "error", "part"), [case[1:] for case in ALL], ids=[case[0] for case in ALL])
def test_wrong_call(run: Callable[[], Any], error: type[Exception], part: str) -> None:
    with pytest.raises(error) as caught:
        run()
    assert part in str(caught.value) and not faults(caught.value), (faults(caught.value), str(caught.value))


VALUES: dict[str, Any] = {
    "text": "a", "none": None, "objects": np.array([1.0, None]), "ragged": [[1.0, 2.0], [3.0]], "set": {1.0},
    "other shape": np.ones(5),
}  # fmt: skip


# What is no function of arrays: a namedtuple's maker, decorators.
_NOT_OF_ARRAYS = ("DotDimensionNumbers", "layer", "maker")


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    for space, module in _NAMESPACES.items():
        for name in sorted(getattr(module, "__all__", dir(module))):
            f = getattr(module, name)
            if not callable(f) or isinstance(f, type) or name.startswith("_") or name in _NOT_OF_ARRAYS:
                continue
            is_numpys = f is getattr(np, name, None) and not isinstance(f, np.ufunc) and f not in FUNCTIONS
            if not is_numpys:  # of which nothing is traced, and whose errors are NumPy's
                yield f"{space}.{name}", f


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "f"), list(public()))
def test_any_public_function_given_what_it_does_not_take(
    name: str, f: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers, as NumPy may do, or its error is one that helps."""
    monkeypatch.chdir(tmp_path)  # np.savez("a") writes a file
    y = A[:, :2]
    ways: dict[str, Callable[[], Any]] = {}
    for what, v in VALUES.items():
        ways[f"of {what}"] = lambda v=v: f(v)
        ways[f"under jit, of {what}"] = lambda v=v: tg.jit(lambda y: f(v))(y)
        ways[f"under jit, beside {what}"] = lambda v=v: tg.jit(lambda y: f(y, v))(y)
        ways[f"under grad, beside {what}"] = lambda v=v: tg.grad(lambda y: f(y, v))(y)
    try:
        parameters = inspect.signature(f).parameters
    except (TypeError, ValueError):
        parameters = {}  # type: ignore[assignment]
    for option in {"axis", "axes"} & set(parameters):
        for at in (7, 1.5, "0", (0, 0)):
            ways[f"{option}={at!r}"] = lambda o=option, at=at: f(y, **{o: at})
            ways[f"under jit, {option}={at!r}"] = lambda o=option, at=at: tg.jit(lambda y: f(y, **{o: at}))(y)
            ways[f"under grad, {option}={at!r}"] = lambda o=option, at=at: tg.grad(lambda y: f(y, **{o: at}))(y)
    for way, run in ways.items():
        found = raised(run)
        assert found is None or not faults(found), (way, faults(found), str(found))


def raised(run: Callable[[], Any]) -> Exception | None:
    try:
        run()
    except Exception as error:
        return error
    return None
