"""tg.lax against jax.lax: values, dtypes, derivatives to second (elementwise: third) order, vmap, jit; errors; the names."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same
from tracegrad import lax
from tracegrad.core.errors import ConcretizationTypeError, DifferentiationError, DtypeError, ShapeError

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)
jnp = jax.numpy

rng = np.random.default_rng(0)
X = rng.permutation(24).reshape(2, 3, 4) / 7 - 1.6
Y = rng.normal(size=(2, 3, 4))
N = rng.integers(-9, 9, (3, 4))


def leaves(x: Any) -> tuple[Any, ...]:
    return tuple([np.asarray(v) for v in jax.tree.leaves(x)])


def turned(x: Any, k: float) -> Any:
    return np.cos(k + np.arange(float(x.size))).reshape(x.shape)


# ---------------------------------------------------------------------------------------------------------------------
# Elementwise functions of floats: value and three derivatives.

UNARY: dict[str, tuple[float, float]] = {
    **dict.fromkeys(
        [
            "abs",
            "atan",
            "asinh",
            "ceil",
            "cos",
            "cosh",
            "erf",
            "erfc",
            "exp",
            "exp2",
            "expm1",
            "floor",
            "logistic",
            "neg",
        ],
        (0.1, 2.9),
    ),
    **dict.fromkeys(["round", "sign", "sin", "sinh", "square", "tanh", "bessel_i0e", "bessel_i1e"], (-2.4, -0.1)),
    **dict.fromkeys(["acos", "asin", "atanh", "erf_inv", "tan"], (-0.9, 0.9)),
    **dict.fromkeys(["cbrt", "log", "log1p", "reciprocal", "rsqrt", "sqrt", "lgamma", "digamma"], (0.3, 4.0)),
    "acosh": (1.2, 4.0),
}
BINARY: dict[str, tuple[float, float]] = {
    **dict.fromkeys(["add", "sub", "mul", "div", "max", "min", "atan2", "rem", "pow", "igamma", "igammac"], (0.4, 3.0)),
}
# What jax has no or a wrong derivative for: igamma in its first argument is differentiated once at most.
ONCE = {"igamma", "igammac"}


def repeatedly(jvp: Any, f: Any, times: int) -> Any:
    if times == 0:
        return f
    inner = repeatedly(jvp, f, times - 1)
    return lambda *xs: jvp(inner, xs, tuple([turned(x, 0.3 * times) for x in xs]))[1]


def elementwise_inputs(name: str) -> tuple[Any, ...]:
    low, high = UNARY.get(name) or BINARY[name]
    generator = np.random.default_rng(len(name))
    return tuple([generator.uniform(low, high, 7) for _ in range(1 if name in UNARY else 2)])


@functools.cache
def elementwise_references() -> Any:
    """All of jax's answers from one program, which is compiled once."""

    def answers() -> Any:
        return {
            (name, times): repeatedly(jax.jvp, getattr(jax.lax, name), times)(*elementwise_inputs(name))
            for name in (*UNARY, *BINARY)
            for times in range(2 if name in ONCE else 4)
        }

    return jax.jit(answers)()


@pytest.mark.parametrize("name", [*UNARY, *BINARY])
def test_elementwise(name: str) -> None:
    f, xs = getattr(lax, name), elementwise_inputs(name)
    for times in range(2 if name in ONCE else 4):
        expected = np.asarray(elementwise_references()[name, times])
        found = repeatedly(tg.jvp, f, times)(*xs)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)
    same(f(*xs), np.asarray(elementwise_references()[name, 0]), 1e-12)
    same(tg.jit(f)(*xs), f(*xs))
    same(tg.vmap(f)(*xs), f(*xs), 1e-15)
    positions = tuple(range(len(xs)))
    forward = repeatedly(tg.jvp, f, 1)(*xs)
    gradients = tg.grad(lambda *xs: np.sum(f(*xs)), positions)(*xs)
    np.testing.assert_allclose(sum(g * turned(x, 0.3) for g, x in zip(gradients, xs, strict=True)), forward, rtol=1e-12)
    for dtype in (np.float32, np.float16):
        same(f(*[x.astype(dtype) for x in xs]), np.asarray(f(*xs), dtype), 2e-2 if dtype == np.float16 else 2e-5)


def test_rem_and_div_of_integers_round_towards_zero() -> None:
    a, b = np.meshgrid(np.arange(-7, 8), [-3, -2, -1, 1, 2, 3])
    for dtype in (np.int8, np.int64):
        x, y = a.astype(dtype), b.astype(dtype)
        same(lax.div(x, y), np.asarray(jax.lax.div(x, y)))
        same(lax.rem(x, y), np.asarray(jax.lax.rem(x, y)))
        same(tg.jit(lax.div)(x, y), lax.div(x, y))
    assert lax.div(np.int8(-128), np.int8(2)) == -64 and lax.div(7, -2) == -3
    assert lax.div(np.uint8(7), np.uint8(2)).dtype == np.uint8


def test_rounding_of_halves() -> None:
    x = np.array([0.5, -0.5, 1.5, -2.5, 0.49999999999999994, -0.2, 3.7, np.inf, -np.inf, np.nan, 2.0**52 + 1])
    for method in lax.RoundingMethod:
        same(lax.round(x, method), np.asarray(jax.lax.round(x, jax.lax.RoundingMethod(method.value))))
    assert tg.grad(lambda x: np.sum(lax.round(x)))(x[:5]).tolist() == [0] * 5
    same(lax.round(N), N)


BITS = {
    "bitwise_and": 2, "bitwise_or": 2, "bitwise_xor": 2, "bitwise_not": 1, "population_count": 1, "clz": 1,
    "shift_left": 2, "shift_right_arithmetic": 2, "shift_right_logical": 2, "add": 2, "mul": 2, "max": 2, "sign": 1,
    "eq": 2, "ne": 2, "lt": 2, "le": 2, "gt": 2, "ge": 2,
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64"])
@pytest.mark.parametrize("name", BITS)
def test_functions_of_integers(name: str, dtype: str) -> None:
    info = np.iinfo(dtype)
    x = np.array([0, 1, 2, 3, 7, 100, info.max, info.max - 5, info.min, info.min // 2], dtype)
    y = np.array([0, 1, 3, 7, 8, 9, 31, 63, 64, 1], dtype)
    args = (x, y)[: BITS[name]]
    f = getattr(lax, name)
    expected = np.asarray(getattr(jax.lax, name)(*args))
    same(f(*args), expected)
    same(tg.jit(f)(*args), expected)
    same(tg.vmap(f)(*args), expected)


def test_dtype() -> None:
    for x in (np.ones(2, np.float32), np.int8(3), 1.0, 2, True):
        assert lax.dtype(x) == jax.lax.dtype(x)
    assert tg.jit(lambda x: np.zeros(2, lax.dtype(x)))(np.float32(1)).dtype == np.float32


def test_complex_numbers() -> None:
    x, y = np.array([1.0, -2.0, np.inf]), np.array([0.5, np.inf, 3.0])
    same(lax.complex(x, y), np.asarray(jax.lax.complex(x, y)))
    assert lax.complex(np.float32(1), np.float32(2)).dtype == np.complex64
    same(lax.conj(x), np.asarray(jax.lax.conj(x)))
    same(lax.conj(x[:2] + 1j), x[:2] - 1j)
    f = lambda lax, x, y: lax.real(lax.complex(x, y) * (2 + 3j)) + lax.imag(lax.conj(lax.complex(y, x * x)))
    for k in (0, 1):
        ours = tg.grad(lambda *xs: np.sum(f(lax, *xs)), k)(X[0], Y[0])
        np.testing.assert_allclose(ours, jax.grad(lambda *xs: jnp.sum(f(jax.lax, *xs)), k)(X[0], Y[0]))
    with pytest.raises(DtypeError, match=r"real and imaginary part must be real, got c128\[\]"):
        lax.complex(np.complex128(1), 1.0)


def test_reduce_precision() -> None:
    x = np.array(
        [1.1, 1e10, 1e-10, np.nan, np.inf, 65504.0, 65519.0, 65520.0, 6e-8, 6.2e-5, -1e-30, 0.0, -0.0, 3.14159]
    )
    for bits in ((5, 10), (8, 7), (11, 52), (8, 23), (4, 3), (2, 1)):
        same(lax.reduce_precision(x, *bits), np.asarray(jax.lax.reduce_precision(x, *bits)))
        small = x.astype(np.float32)
        same(lax.reduce_precision(small, *bits), np.asarray(jax.lax.reduce_precision(small, *bits)))
    f = lambda lax: lambda x: lax.reduce_precision(x * x, 5, 3)
    np.testing.assert_array_equal(tg.jvp(f(lax), (1.1,), (1.23,)), jax.jvp(f(jax.lax), (1.1,), (1.23,)))
    with pytest.raises(ValueError, match="at least 1 exponent bit"):
        lax.reduce_precision(1.0, 0, 3)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (np.float32(1), np.int8), (np.float32([1, 2]), np.uint16), (np.ones((2, 2), np.int32), np.int64),
        (np.ones((3, 2), np.float32), np.float64), (np.ones(3), np.int64), (np.ones((2, 4), np.int8), np.float32),
        (np.ones((0, 2), np.int32), np.int64), (np.ones(3), np.float64),
    ],
)  # fmt: skip
def test_bitcast(value: Any, dtype: Any) -> None:
    expected = np.asarray(jax.lax.bitcast_convert_type(value, dtype))
    same(lax.bitcast_convert_type(value, dtype), expected)
    same(tg.jit(lambda x: lax.bitcast_convert_type(x, dtype))(value), expected)
    many = np.stack([value, value * 2])
    found = tg.vmap(lambda x: lax.bitcast_convert_type(x, dtype))(many)
    same(found, np.stack([lax.bitcast_convert_type(x, dtype) for x in many]))


def test_errors_of_bitcast() -> None:
    with pytest.raises(ShapeError, match=r"i32\[2,3\] to int64: 2 elements make one of these"):
        lax.bitcast_convert_type(np.ones((2, 3), np.int32), np.int64)
    with pytest.raises(DtypeError, match=r"takes integers and floats, got bool\[2\]"):
        lax.bitcast_convert_type(np.ones(2, bool), np.int8)
    assert lax.bitcast_convert_type(np.ones(2, bool), bool).tolist() == [True, True]  # which is no other dtype


# ---------------------------------------------------------------------------------------------------------------------
# Functions of whole arrays: each a call on a namespace, on arrays whose first axis may be mapped over.

A, B = rng.normal(size=(3, 4)), rng.normal(size=(4, 2))
POSITIVE = rng.uniform(0.5, 2, (3, 4))
Call = Callable[..., Any]
CALLS: dict[str, tuple[Call, tuple[Any, ...]]] = {
    "integer_pow": (lambda l, x: (l.integer_pow(x, 3), l.integer_pow(x, -2), l.integer_pow(x, 0)), (POSITIVE,)),
    "clamp scalars": (lambda l, x: l.clamp(-0.5, x, 0.5), (A,)),
    "clamp arrays": (lambda l, x, low: l.clamp(low, x, low + 0.7), (A, 0.3 * np.cos(A))),
    "select": (lambda l, x, y: l.select(x > 0, x * y, y), (X[0], Y[0])),
    "select_n of bools": (lambda l, x, y: l.select_n(x > 0, x * y, y), (X[0], Y[0])),
    "select_n of ints": (lambda l, x, y: l.select_n(np.arange(12).reshape(3, 4) % 3, x, y, x * y), (X[0], Y[0])),
    "select_n of one scalar": (lambda l, x, y: l.select_n(np.int32(1), x, y, x * y), (X[0], Y[0])),
    "convert": (lambda l, x: l.convert_element_type(x, np.float32) * np.float32(2), (A,)),
    "full": (lambda l, x: (l.full((2, 3), x[0, 0]), l.full_like(x, x[0, 1])), (A,)),
    "broadcast": (lambda l, x: l.broadcast(x, (2, 1)), (A,)),
    "broadcast_in_dim": (lambda l, x: l.broadcast_in_dim(x, (3, 2, 4), (0, 2)), (A,)),
    "broadcast_in_dim of ones": (lambda l, x: l.broadcast_in_dim(x[:1], (5, 2, 4), (0, 2)), (A,)),
    "broadcast_to_rank": (lambda l, x: l.broadcast_to_rank(x, 4), (A,)),
    "broadcast_like": (lambda l, x: l.broadcast_like(x[:1], x), (A,)),
    "expand_dims": (lambda l, x: l.expand_dims(x, (0, -1)), (A,)),
    "squeeze": (lambda l, x: l.squeeze(x[:1], (0,)), (A,)),
    "reshape": (lambda l, x: l.reshape(x, (2, 6)), (A,)),
    "reshape with dimensions": (lambda l, x: l.reshape(x, (2, 6), (1, 0)), (A,)),
    "collapse": (lambda l, x: (l.collapse(x, 0, 2), l.collapse(x, 1)), (X,)),
    "transpose": (lambda l, x: l.transpose(x, (2, 0, 1)), (X,)),
    "rev": (lambda l, x: l.rev(x, (0, 2)), (X,)),
    "concatenate": (lambda l, x, y: l.concatenate([x, y[:, :1], x], 1), (A, POSITIVE)),
    "stack": (lambda l, x, y: l.stack([x, y], 1), (A, POSITIVE)),
    "unstack": (lambda l, x: l.unstack(x, 1), (A,)),
    "split": (lambda l, x: l.split(x, (1, 0, 3), 1), (A,)),
    "tile": (lambda l, x: l.tile(x, (2, 3)), (A,)),
    "slice": (lambda l, x: l.slice(x, (0, 1), (3, 4), (2, 1)), (A,)),
    "slice_in_dim": (lambda l, x: (l.slice_in_dim(x, -3, None, 2, 1), l.slice_in_dim(x, 0, -1)), (A,)),
    "index_in_dim": (lambda l, x: (l.index_in_dim(x, -1, 1), l.index_in_dim(x, 2, 0, False)), (A,)),
    "index_take": (lambda l, x: l.index_take(x, (np.array([0, -1]), np.array([2, 1])), (0, 2)), (X,)),
    "sort": (lambda l, x: l.sort(x, 1), (X,)),
    "sort of two": (lambda l, x, y: l.sort((x, y), 0), (X, Y)),
    "sort of three by two keys": (lambda l, x, y: l.sort((l.floor(x), x * x, y), 2, num_keys=2), (X, Y)),
    "sort_key_val": (lambda l, x, y: l.sort_key_val(x, y, 1), (X, Y)),
    "top_k": (lambda l, x: l.top_k(x, 2), (X,)),
    "top_k of an axis": (lambda l, x: l.top_k(x, 2, axis=1), (X,)),
    "argmax": (lambda l, x: (l.argmax(x, 1, np.int32), l.argmin(x, 0, np.uint8)), (X,)),
    "cumsum": (lambda l, x: (l.cumsum(x, 1), l.cumsum(x, 0, reverse=True)), (A,)),
    "cumprod": (lambda l, x: (l.cumprod(x, 1), l.cumprod(x, 0, reverse=True)), (A,)),
    "cummax": (lambda l, x: (l.cummax(x, 1), l.cummax(x, 0, reverse=True)), (A,)),
    "cummin": (lambda l, x: (l.cummin(x, 1), l.cummin(x, 0, reverse=True)), (A,)),
    "cumlogsumexp": (lambda l, x: (l.cumlogsumexp(x, 1), l.cumlogsumexp(x, 0, reverse=True)), (A,)),
    "reduce_sum": (lambda l, x: (l.reduce_sum(x, (0, 2)), l.reduce_sum(x, [])), (X,)),
    "reduce_prod": (lambda l, x: l.reduce_prod(x, (0, 2)), (X,)),
    "reduce_max": (lambda l, x: (l.reduce_max(x, (1,)), l.reduce_min(x, (0, 1, 2))), (X,)),
    "reduce of a monoid": (lambda l, x: (l.reduce(x, 0.5, l.add, (0,)), l.reduce(x, 1.5, l.max, (0, 1))), (A,)),
    "reduce of a function": (lambda l, x: l.reduce(x, 0.0, lambda a, b: a + b + a * b, (1,)), (A,)),
    "reduce of a pair": (
        lambda l, x, y: l.reduce((x, y), (0.0, 1.0), lambda a, b: (a[0] + b[0], a[1] * b[1]), (0,)), (A, POSITIVE)
    ),
    "pad": (lambda l, x: l.pad(x, 0.0, [(1, 2, 0), (0, 1, 2)]), (A,)),
    "pad with a traced value": (lambda l, x: l.pad(x, x[0, 0], [(1, 2, 1), (2, 1, 2)]), (A,)),
    "pad negative": (lambda l, x: l.pad(x, 1.0, [(-1, -1, 0), (-1, 2, 2)]), (A,)),
    "pad all away": (lambda l, x: l.pad(x, 1.0, [(-4, 3, 0), (-7, 4, 1)]), (A,)),
    "dot": (lambda l, x, y: (l.dot(x, y), l.dot(x[0], y), l.dot(x, y[:, 0]), l.dot(x[0], y[:, 0])), (A, B)),
    "dot of given axes": (lambda l, x, y: l.dot(x, y, dimension_numbers=(((0,), (1,)), ((), ()))), (A, B[:, [0, 1, 1]])),
    "batch_matmul": (lambda l, x, y: l.batch_matmul(x, l.transpose(y, (0, 2, 1))), (X, Y)),
    "dot_general": (lambda l, x, y: l.dot_general(x, y, (((1,), (1,)), ((0,), (0,)))), (X, Y)),
    "dot_general over two axes": (lambda l, x, y: l.dot_general(x, y, (((2, 0), (2, 0)), ((), ()))), (X, Y)),
    "dot_general in other orders": (lambda l, x, y: l.dot_general(x, y, (((0, 2), (0, 2)), ((1,), (1,)))), (X, Y)),
    "dot_general of no axis": (lambda l, x, y: l.dot_general(x, y, (((), ()), ((1,), (1,)))), (X, Y)),
    "dot_general of batches": (lambda l, x, y: l.dot_general(x, y, (((), ()), ((0, 1, 2), (0, 1, 2)))), (X, Y)),
    "dot_general with vectors": (lambda l, x, y: l.dot_general(x, y[:, 0], (((2,), (1,)), ((0,), (0,)))), (X, Y)),
    "dot_general to float32": (
        lambda l, x, y: l.dot_general(x, y, (((1,), (0,)), ((), ())), preferred_element_type=np.float32), (A, B)
    ),
}  # fmt: skip


def curved(call: Call, namespace: Any, xp: Any) -> Callable[..., Any]:
    def scalar(*xs: Any) -> Any:
        parts = call(namespace, *xs)
        total = 0.0
        for k, out in enumerate(parts if isinstance(parts, tuple | list) else [parts]):
            if out.dtype.kind == "f":
                weights = np.cos(k + np.arange(float(out.size))).reshape(out.shape)
                total = total + xp.sum(weights * out + 0.5 * out * out)
        return total

    return scalar


def of_call(name: str, namespace: Any, xp: Any, jvp: Any, grad: Any) -> Any:
    """Value, gradient and a Hessian's product of a call."""
    call, xs = CALLS[name]
    positions = tuple(range(len(xs)))
    tangents = tuple([turned(x, 0.5) for x in xs])
    return call(namespace, *xs), jvp(grad(curved(call, namespace, xp), positions), xs, tangents)


@functools.cache
def references() -> Any:
    return jax.jit(lambda: {name: of_call(name, jax.lax, jnp, jax.jvp, jax.grad) for name in CALLS})()


@pytest.mark.parametrize("name", CALLS)
def test_calls(name: str) -> None:
    call, xs = CALLS[name]
    value, derivatives = references()[name]
    f = lambda *xs: call(lax, *xs)
    plain = f(*xs)
    tolerance = 1e-6 if "float32" in name or name == "convert" else 1e-11
    same(leaves(plain), leaves(value), tolerance)
    assert all([not isinstance(v, tg.ops.families.Tracer) for v in jax.tree.leaves(plain)])
    if name != "argmax":
        found = of_call(name, lax, np, tg.jvp, tg.grad)[1]
        for a, b in zip(leaves(found), leaves(derivatives), strict=True):
            np.testing.assert_allclose(a, b, rtol=100 * tolerance, atol=100 * tolerance)
        forward = tg.jvp(curved(call, lax, np), xs, tuple([turned(x, 0.5) for x in xs]))[1]
        gradient = sum(np.sum(g * turned(x, 0.5)) for g, x in zip(derivatives[0], xs, strict=True))
        np.testing.assert_allclose(forward, gradient, rtol=100 * tolerance)
    same(leaves(tg.jit(f)(*xs)), leaves(plain), 1e-14)
    assert [(t.shape, t.dtype) for t in jax.tree.leaves(tg.eval_shape(f, *xs))] == [
        (np.shape(v), v.dtype) for v in jax.tree.leaves(plain)
    ]
    rows = [xs, tuple([x[::-1] for x in xs]), tuple([x * 0.5 for x in xs])]
    for axes in [0] if len(xs) == 1 else [0, (0, None), (None, 0)]:
        chosen = [tuple([r if axes == 0 or axes[i] == 0 else xs[i] for i, r in enumerate(row)]) for row in rows]
        given = [np.stack([r[i] for r in rows]) if axes == 0 or axes[i] == 0 else xs[i] for i in range(len(xs))]
        loop = [leaves(f(*row)) for row in chosen]
        mapped = tg.vmap(f, axes)(*given)
        same(leaves(mapped), tuple([np.stack(column) for column in zip(*loop, strict=True)]), 1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# What a table of floats does not show.


@pytest.mark.parametrize("k", [0, 1, 2, 4, 6])
def test_top_k_of_equals_and_nan(k: int) -> None:
    for x in (
        np.array([3, 1, 3, 2, 3, 1]),
        np.array([1.0, np.nan, 3.0, 3.0, np.nan, -np.inf]),
        np.array([np.nan] * 6),
        np.array([True, False, True, True, False, False]),
        np.array([[5, 5, 5, 5, 5, 5], [1, 2, 3, 1, 2, 3]], np.uint8),
        np.array([np.inf, -np.inf, np.inf, 0, 1, 2], np.float32),
    ):
        same(lax.top_k(x, k), leaves(jax.lax.top_k(x, k)))
        same(tg.jit(lambda x: lax.top_k(x, k))(x), leaves(jax.lax.top_k(x, k)))


def test_top_k_of_many() -> None:
    x = rng.integers(0, 50, (20, 500))
    for k in (1, 7, 499):
        same(lax.top_k(x, k), leaves(jax.lax.top_k(x, k)))
        same(lax.top_k(x / 1, k), leaves(jax.lax.top_k(x / 1, k)))
        same(lax.top_k(x.T, k, axis=0), leaves(jax.lax.top_k(x.T, k, axis=0)))


def test_sort_of_equals_and_other_dtypes() -> None:
    keys = [np.array([2, 1, 2, 1, 2]), np.array([1, 0, 1, 0, 0]), np.arange(5)]
    for count in (1, 2, 3):
        same(lax.sort(tuple(keys), num_keys=count), leaves(jax.lax.sort(tuple(keys), num_keys=count)))
    x = np.array([1.0, np.nan, -np.inf, 0.5, np.inf])
    same(lax.sort((x, np.arange(5))), leaves(jax.lax.sort((x, np.arange(5)))))
    same(lax.sort(x), np.asarray(jax.lax.sort(x)))
    z = np.array([1 + 2j, 1 + 1j, 0.5])
    same(lax.sort((z, np.arange(3))), leaves(jax.lax.sort((z, np.arange(3)))))


def test_small_integers_keep_their_dtype() -> None:
    x = np.array([[100, 100, 3], [-7, 5, 2]], np.int8)
    for call in (
        lambda l: (l.cumsum(x, 1), l.cumprod(x, 0), l.cummax(x, 1, reverse=True)),
        lambda l: (l.reduce_sum(x, (1,)), l.reduce_prod(x, (0,)), l.reduce_max(x, (0,)), l.reduce_min(x, ())),
        lambda l: (l.reduce_and(x, (0,)), l.reduce_or(x, (0, 1)), l.reduce_xor(x, (1,))),
        lambda l: (l.reduce_and(x > 0, (0,)), l.reduce_or(x > 0, (0, 1)), l.reduce_xor(x > 0, (1,))),
        lambda l: (l.reduce_max(x[:0], (0,)), l.reduce_min(x[:0], (0,)), l.reduce_max(x[:0] / 1, (0,))),
        lambda l: (l.reduce(x, np.int8(0), l.bitwise_or, (0,)), l.reduce(x, np.int8(1), l.mul, (0,))),
        lambda l: l.reduce(x[:0], np.int8(4), lambda a, b: a + b, (0,)),
        lambda l: l.dot_general(x, x, (((1,), (1,)), ((), ())), preferred_element_type=np.int32),
        lambda l: l.dot_general(x > 0, x > 0, (((1,), (1,)), ((), ()))),
        lambda l: l.dot_general(x, x.astype(np.float32), (((1,), (1,)), ((), ()))),
        lambda l: l.select_n(x % 3, x, x + 1, x + 2),
        lambda l: (l.iota(np.int16, 4), l.broadcasted_iota(np.float32, (2, 3), 1), l.full((2,), 1.5, int)),
        lambda l: (l.full((2,), np.float32(3)), l.full_like(x, 3), l.full_like(x, 1.5, float, (2,))),
        lambda l: l.pad(x, np.int8(7), [(1, 0, 0), (0, 0, 1)]),
    ):
        same(leaves(call(lax)), leaves(call(jax.lax)))


def test_select_n_takes_the_nearest_case() -> None:
    which = np.array([-1, 0, 1, 2, 9])
    cases = [np.full(5, k) for k in range(3)]
    same(lax.select_n(which, *cases), np.asarray(jax.lax.select_n(which, *cases)))
    assert tg.jit(lax.select_n)(2, *cases).tolist() == [2] * 5


def test_select_n_of_one_case() -> None:
    same(lax.select_n(True, A), A)
    assert tg.grad(lambda x: np.sum(lax.select_n(0, x) * A))(A).tolist() == A.tolist()


def test_clamp_at_its_limits() -> None:
    g = tg.grad(lambda low, x, high: np.sum(lax.clamp(low, x, high)), (0, 1, 2))
    for args in ((1.0, 1.0, 2.0), (0.0, 1.0, 1.0), (2.0, 3.0, 1.0), (0.0, 1.0, 2.0), (1.0, 0.0, 2.0)):
        np.testing.assert_array_equal(g(*args), jax.grad(jax.lax.clamp, (0, 1, 2))(*args))
    assert np.isnan(lax.clamp(0.0, np.nan, 1.0))


@pytest.mark.parametrize("seed", range(24))
def test_dot_general_of_drawn_axes(seed: int) -> None:
    """Any axes in any order, against an einsum that names them."""
    generator = np.random.default_rng(seed)
    batch, summed, left, right = [int(n) for n in generator.integers(0, 3, 4)]
    letters = iter("abcdefgh")
    names = [[next(letters) for _ in range(n)] for n in (batch, summed, left, right)]
    sizes = {c: int(generator.integers(1, 4)) for part in names for c in part}
    x_axes = generator.permutation([*names[0], *names[1], *names[2]]).tolist()
    y_axes = generator.permutation([*names[0], *names[1], *names[3]]).tolist()
    places = lambda axes, part: tuple([axes.index(c) for c in part])
    numbers = (
        (places(x_axes, names[1]), places(y_axes, names[1])),
        (places(x_axes, names[0]), places(y_axes, names[0])),
    )
    output = [*names[0], *[c for c in x_axes if c in names[2]], *[c for c in y_axes if c in names[3]]]
    subscripts = f"{''.join(x_axes)},{''.join(y_axes)}->{''.join(output)}"
    x, y = [generator.normal(size=[sizes[c] for c in axes]) for axes in (x_axes, y_axes)]
    ours, named = lambda x, y: lax.dot_general(x, y, numbers), lambda x, y: np.einsum(subscripts, x, y)
    same(ours(x, y), np.asarray(named(x, y)), 1e-13)
    gradient = lambda f: tg.jvp(
        tg.grad(lambda x, y: np.sum(np.sin(f(x, y))), (0, 1)), (x, y), (y.sum() * x, x.sum() * y)
    )
    same(leaves(gradient(ours)), leaves(gradient(named)), 1e-11)
    xs, ys = np.stack([x, -2 * x]), np.stack([y, y * y])
    same(tg.vmap(ours)(xs, ys), np.stack([named(*pair) for pair in zip(xs, ys, strict=True)]), 1e-13)


def test_padding_of_drawn_widths() -> None:
    generator = np.random.default_rng(0)
    cases = []
    while len(cases) < 40:
        n = int(generator.integers(0, 6))
        before, after, between = [int(k) for k in (*generator.integers(-6, 5, 2), generator.integers(0, 4))]
        if before + after + max(n, 1) + max(n - 1, 0) * between - (n == 0) >= 0:
            cases.append((generator.normal(size=n), [(before, after, between)]))

    def of(lax: Any, xp: Any, grad: Any) -> Any:
        def scalar(x: Any, value: Any, config: Any) -> Any:
            out = lax.pad(x, value, config)
            return xp.sum(out * np.cos(np.arange(float(out.size))))

        return [(lax.pad(x, 7.0, c), grad(scalar, (0, 1))(x, 0.5, c)) for x, c in cases]

    for found, expected in zip(of(lax, np, tg.grad), jax.jit(lambda: of(jax.lax, jnp, jax.grad))(), strict=True):
        same(leaves(found), leaves(expected), 1e-14)


def test_derivatives_of_products_run_on_blas() -> None:
    """No einsum: a transpose, a reshape, a matrix product."""
    x, y = rng.normal(size=(5, 6, 7)), rng.normal(size=(7, 5, 8))
    numbers = (((2,), (0,)), ((0,), (1,)))
    graph = tg.make_graph(tg.grad(lambda x, y: np.sum(lax.dot_general(x, y, numbers) ** 2), (0, 1)))(x, y)
    names = {e.op.name for e in graph.eqns}
    assert "matmul" in names and "einsum" not in names
    same(lax.dot_general(x, y, numbers), np.einsum("bik,kbj->bij", x, y), 1e-13)


# ---------------------------------------------------------------------------------------------------------------------
# Special functions: closed forms, higher derivatives, what has none.


def test_special_functions_against_mpmath() -> None:
    mpmath = pytest.importorskip("mpmath")
    mpmath.mp.dps = 30
    nth = lambda f, n: lambda x: float(mpmath.diff(f, mpmath.mpf(float(x)), n))
    points = np.array([0.3, 1.0, 2.5, 7.0])
    for order in range(4):
        g = lax.lgamma
        for _ in range(order):
            g = (lambda g: lambda x: tg.jvp(g, (x,), (np.ones_like(x),))[1])(g)
        exact = [nth(mpmath.loggamma, order)(x) if order else float(mpmath.loggamma(x)) for x in points]
        np.testing.assert_allclose(g(points), exact, rtol=1e-11, atol=1e-13)
    for m in range(4):
        exact = [float(mpmath.psi(m, x)) for x in points]
        np.testing.assert_allclose(lax.polygamma(float(m), points), exact, rtol=1e-12)
    np.testing.assert_allclose(lax.zeta(3.0, points), [float(mpmath.zeta(3, x)) for x in points], rtol=1e-13)
    # P(a, x) and its derivatives in a, where x is less than, about, and more than a.
    pairs = [(0.5, 0.1), (2.0, 2.5), (3.0, 30.0), (40.0, 38.0), (200.0, 190.0), (0.7, 400.0)]
    a, x = np.array(pairs).T
    lower = lambda x: lambda a: mpmath.gammainc(a, 0, x, regularized=True)
    for order in range(4):
        exact = [float(mpmath.diff(lower(xi), ai, order)) if order else float(lower(xi)(ai)) for ai, xi in pairs]
        g = lax.igamma
        for _ in range(order):
            g = (lambda g: lambda a, x: tg.jvp(lambda a: g(a, x), (a,), (np.ones_like(a),))[1])(g)
        np.testing.assert_allclose(g(a, x), exact, rtol=1e-9, atol=1e-13)
        if order == 1:
            np.testing.assert_allclose(lax.igamma_grad_a(a, x), exact, rtol=1e-9, atol=1e-13)
    for order in range(3):
        f = lambda t: mpmath.exp(-abs(t)) * mpmath.besseli(1, t)
        g = lax.bessel_i1e
        for _ in range(order):
            g = (lambda g: lambda x: tg.jvp(g, (x,), (np.ones_like(x),))[1])(g)
        exact = [float(mpmath.diff(f, t, order)) if order else float(f(t)) for t in (0.4, 3.0)]
        np.testing.assert_allclose(g(np.array([0.4, 3.0])), exact, rtol=1e-10)
    assert tg.grad(lax.bessel_i1e)(0.0) == 0.5


def test_random_gamma_grad() -> None:
    a, x = np.array([0.5, 2.0, 9.0]), np.array([0.3, 1.5, 10.0])
    np.testing.assert_allclose(lax.random_gamma_grad(a, x), jax.lax.random_gamma_grad(a, x), rtol=1e-8)


def test_edges_of_special_functions() -> None:
    inf, nan = np.inf, np.nan
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(lax.erf_inv(np.array([-1.0, 1.0, 2.0])), [-inf, inf, nan])
        np.testing.assert_array_equal(lax.lgamma(np.array([0.0, -1.0, inf])), [inf, inf, inf])
        np.testing.assert_array_equal(
            lax.igamma_grad_a(np.array([1.0, 1, -1, 1]), np.array([0.0, inf, 1, nan])), [0, 0, nan, nan]
        )
    # An infinite slope where nothing flows adds nothing.
    assert tg.grad(lambda x: np.sum(np.where(x < 1, lax.erf_inv(x), x)))(np.array([0.0, 1.0])).tolist() == [
        np.sqrt(np.pi) / 2, 1.0,
    ]  # fmt: skip


def test_parameters_without_a_derivative() -> None:
    for f, name, parameter, args, slope in (
        (lax.polygamma, "polygamma", "m", (1.0, 2.0), lax.polygamma(2.0, 2.0)),
        (lax.zeta, "zeta", "x", (2.0, 3.0), -2 * lax.zeta(3.0, 3.0)),
        (lax.betainc, "betainc", "a", (1.0, 2.0, 0.5), 1.0),  # (1 - x) / B(1, 2)
    ):
        text = rf"{name} has no derivative with respect to {parameter}.*tg\.stop_gradient\({parameter}\)"
        rest = args[1:]
        with pytest.raises(DifferentiationError, match=text):
            tg.jvp(lambda p: f(p, *rest), args[:1], (1.0,))
        # Reverse mode does not know who asks: NaN, unless nothing flows or it is stopped on the way.
        assert np.isnan(tg.grad(f)(*args))
        held = lambda p: f(tg.stop_gradient(p), *rest) * p
        assert tg.grad(held)(args[0]) == tg.jvp(held, args[:1], (1.0,))[1] == f(*args)
        assert tg.grad(lambda p: np.where(p > 0, p, f(p, *rest)))(args[0]) == 1
        np.testing.assert_allclose(tg.grad(f, len(args) - 1)(*args), slope, rtol=1e-12)
    second = lambda lax, grad: grad(grad(lambda x: lax.betainc(2.0, 3.0, x)))(0.3)
    np.testing.assert_allclose(second(lax, tg.grad), second(jax.lax, jax.grad), rtol=1e-10)
    with pytest.raises(DtypeError, match=r"special functions take real numbers, got c128\[\]"):
        lax.lgamma(np.complex128(1))


def test_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    functions = tg.ops.special_functions
    functions._scipy_special.cache_clear()

    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(functions.importlib, "import_module", absent)
    with pytest.raises(ImportError, match=r"pip install 'tracegrad\[scipy\]'"):
        lax.digamma(1.0)
    functions._scipy_special.cache_clear()


# ---------------------------------------------------------------------------------------------------------------------
# Errors.


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: lax.clamp(np.zeros(2), np.ones(3), 1.0), ShapeError, r"min must be a scalar or of the shape of x, got f64\[2\]"),
        (lambda: lax.select_n(0.5, 1.0, 2.0), DtypeError, r"which must be boolean or integer, got f64~\[\]"),
        (lambda: lax.select_n(True, 1.0, 2.0, 3.0), DtypeError, r"a boolean chooses among 2 cases, not 3"),
        (lambda: lax.select_n(True, np.zeros(2), np.zeros(3)), ShapeError, r"f64\[2\], f64\[3\]"),
        (lambda: lax.select_n(np.zeros(2, bool), np.zeros(3), np.zeros(3)), ShapeError, r"got bool\[2\] for f64\[3\]"),
        (lambda: lax.select(1, 1.0, 2.0), DtypeError, r"write pred != 0"),
        (lambda: lax.top_k(np.ones(3), 4), ShapeError, r"no k=4 largest among 3 along axis 0 of f64\[3\]"),
        (lambda: lax.top_k(np.ones(3) + 1j, 1), DtypeError, r"complex numbers have no order"),
        (lambda: lax.sort((np.ones(2), np.ones(3))), ShapeError, r"of one shape, got f64\[2\], f64\[3\]"),
        (lambda: lax.sort((np.ones(2),), num_keys=2), ValueError, r"num_keys must be from 1 to 1"),
        (lambda: lax.sort(np.ones(2), num_keys=2), ValueError, r"one array is its own key"),
        (lambda: lax.argmax(np.ones(2), 0, float), DtypeError, r"index_dtype must be an integer dtype, got float64"),
        (lambda: lax.reduce_or(np.ones(2), (0,)), DtypeError, r"takes booleans and integers, got f64\[2\]"),
        (lambda: lax.slice(np.arange(9), (-1,), (3,)), ShapeError, r"from -1 to 3 in steps of 1 is not within axis 0.*write x\[-1:3:1\]"),
        (lambda: lax.slice(np.arange(9), (1,), (12,)), ShapeError, r"from 1 to 12"),
        (lambda: lax.index_in_dim(np.arange(9), 9), IndexError, r"index 9 is out of bounds for axis 0 of i64\[9\]"),
        (lambda: lax.pad(np.arange(3.0), 0.0, [(-4, 0, 0)]), ShapeError, r"f64\[3\] padded by \(-4, 0, 0\) would have a negative"),
        (lambda: lax.pad(np.arange(3), 0.5, [(1, 0, 0)]), DtypeError, r"i64\[3\] cannot hold the padding f64~\[\]"),
        (lambda: lax.split(np.arange(5), (2, 2)), ShapeError, r"sizes \(2, 2\) must add up to 5"),
        (lambda: lax.tile(np.arange(5), (2, 2)), ShapeError, r"a number for each axis of i64\[5\], got \(2, 2\)"),
        (lambda: lax.broadcast_in_dim(np.ones(2), (3, 3), (0,)), ShapeError, r"the axes of f64\[2\] must be of size 1"),
        (lambda: lax.broadcast_in_dim(np.ones(2), (2, 3), (0, 1)), ShapeError, r"must name an axis of \(2, 3\) for each"),
        (lambda: lax.broadcast_to_rank(np.ones((2, 2)), 1), ShapeError, r"f64\[2,2\] has more than 1 axes"),
        (lambda: lax.collapse(np.ones((2, 2)), 2), ShapeError, r"no axes from 2 to None"),
        (lambda: lax.full((2,), np.ones(2)), ShapeError, r"fill_value must be a scalar, got f64\[2\]"),
        (lambda: lax.dot(np.ones((2, 3)), np.ones((2, 3))), ShapeError, r"dot of f64\[2,3\] and f64\[2,3\].*dimension_numbers="),
        (lambda: lax.dot_general(A, A, (((1,), (0,)), ((), ()))), ShapeError, r"contracting axes \(1,\) of f64\[3,4\] and \(0,\) of f64\[3,4\]"),
        (lambda: lax.dot_general(A, A, (((1,), (1,)), ((0,), ()))), ShapeError, r"the batch axes \(0,\)"),
        (lambda: lax.dot_general(A, A, (((5,), (1,)), ((), ()))), ShapeError, r"axes of lhs \(5,\) must name different axes"),
        (lambda: lax.dot_general(A, A, (((0,), (0,)), ((0,), (0,)))), ShapeError, r"both contracting and batch"),
        (lambda: lax.dot_general(A, B, (((1,), (0,)), ((), ())), "best"), ValueError, r"precision must be None.*got 'best'"),
        (lambda: lax.batch_matmul(X, A), ShapeError, r"same leading axes, got f64\[2,3,4\] and f64\[3,4\].*np\.matmul"),
        (lambda: lax.population_count(1.5), DtypeError, r"population_count takes integers, got f64~\[\]"),
        (lambda: lax.reduce((A, B), (0.0, 0.0), lambda x, y: x, (0,)), ShapeError, r"arrays of one shape"),
    ],
)  # fmt: skip
def test_errors(call: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=f"(?s){text}"):
        call()


def test_places_that_must_be_known() -> None:
    for f, instead in (
        (lambda i: lax.slice(N, (i, 0), (3, 4)), r"dynamic_slice"),
        (lambda i: lax.slice_in_dim(N, i, None), r"dynamic_slice_in_dim"),
        (lambda i: lax.index_in_dim(N, i), r"dynamic_index_in_dim"),
    ):
        with pytest.raises(ConcretizationTypeError, match=rf"(?s)lax\..*write tg\.lax\.{instead}"):
            tg.jit(f)(1)
        same(tg.jvp(lambda x: f(1) * x, (2.0,), (1.0,))[0], 2.0 * f(1))


# ---------------------------------------------------------------------------------------------------------------------
# The names.

# Loops and branches, collectives, convolutions, and what has a namespace of its own: Fourier transforms, linear algebra,
# random numbers.
ELSEWHERE = {
    "conv_general_dilated_local", "conv_general_dilated_patches", "conv_general_permutations",
    "conv_general_shape_tuple", "conv_shape_tuple", "conv_transpose_shape_tuple", "ConvGeneralDilatedDimensionNumbers",
    "custom_linear_solve", "custom_root", "padtype_to_pads", "pbroadcast", "precv", "psend", "ragged_all_to_all",
    "reduce_window_shape_tuple", "fft", "FftType", "linalg", "rng_bit_generator", "rng_uniform",
    "RandomAlgorithm",
}  # fmt: skip
# Left out on purpose, and why.
OMITTED = {
    # of the compiler and of devices
    "AccuracyMode", "Tolerance", "DotAlgorithm", "DotAlgorithmPreset", "PrecisionLike", "after_all", "composite",
    "create_token", "dce_sink", "optimization_barrier", "pcast", "platform_dependent", "shape_as_value", "stage",
    "with_sharding_constraint",
    # approximate on accelerators only: top_k is exact
    "approx_max_k", "approx_min_k",
    # ragged, scaled and widened products, for kernels on accelerators
    "RaggedDotDimensionNumbers", "ragged_dot", "ragged_dot_general", "scaled_dot", "mulhi",
}  # fmt: skip


def test_names() -> None:
    theirs = {n for n in dir(jax.lax) if not n.startswith("_") and not n.endswith("_p")}
    assert theirs - set(lax.__all__) - ELSEWHERE == OMITTED
    assert set(lax.__all__) - theirs <= {"DotDimensionNumbers"}
    for name in lax.__all__:
        assert getattr(lax, name) is not None


def test_signatures() -> None:
    """The parameters are jax's, in jax's order, but for those that speak of devices."""
    ignored = {"out_sharding", "sharding", "accuracy", "_split_transpose", "to"}
    ours_alone = {("while_loop", "memory")}
    for name in lax.__all__:
        ours, theirs = getattr(lax, name), getattr(jax.lax, name, None)
        if isinstance(ours, np.ufunc | type) or theirs is None or not inspect.isfunction(ours):
            continue
        if ours.__module__ == "numpy":  # whose parameters have NumPy's names
            continue
        expected = [(p.name, p.default) for p in inspect.signature(theirs).parameters.values() if p.name not in ignored]
        found = [(p.name, p.default) for p in inspect.signature(ours).parameters.values() if p.name not in ignored]
        found = [(n, d) for n, d in found if (name, n) not in ours_alone]
        if expected[0][0] in ("args", "shapes"):  # any number of positional arguments
            continue
        assert [n for n, _ in found] == [n for n, _ in expected], f"{name}: {found} against {expected}"
        for (n, a), (_, b) in zip(found, expected, strict=True):  # a bare object stands for what was not given
            assert a == b or getattr(a, "value", a) == getattr(b, "value", b) or type(b) is object, f"{name}({n}=)"


def test_the_derivative_of_igamma_at_the_edges() -> None:
    slope = tg.grad(lambda a, x: lax.igamma(a, x))
    assert [slope(1.5, 0.0), slope(1.5, np.inf)] == [0.0, 0.0]
    with np.errstate(all="ignore"):
        assert np.all(np.isnan([slope(a, x) for a in (0.0, -1.0) for x in (0.0, np.inf)]))
