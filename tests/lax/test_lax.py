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
from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.core.tracer import Tracer

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)

jnp = jax.numpy
rng = np.random.default_rng(0)
X = rng.permutation(24).reshape(2, 3, 4) / 7 - 1.6
Y = rng.normal(size=(2, 3, 4))


def leaves(x: Any) -> tuple[Any, ...]:
    return tuple([np.asarray(v) for v in jax.tree.leaves(x)])


def turned(x: Any, k: float) -> Any:
    return np.cos(k + np.arange(float(x.size))).reshape(x.shape)


# ---------------------------------------------------------------------------------------------------------------------
# Elementwise functions of floats: value and three derivatives.


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
    assert all([not isinstance(v, Tracer) for v in jax.tree.leaves(plain)])
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


def test_clamp_at_its_limits() -> None:
    g = tg.grad(lambda low, x, high: np.sum(lax.clamp(low, x, high)), (0, 1, 2))
    for args in ((1.0, 1.0, 2.0), (0.0, 1.0, 1.0), (2.0, 3.0, 1.0), (0.0, 1.0, 2.0), (1.0, 0.0, 2.0)):
        np.testing.assert_array_equal(g(*args), jax.grad(jax.lax.clamp, (0, 1, 2))(*args))
    assert np.isnan(lax.clamp(0.0, np.nan, 1.0))


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


# ---------------------------------------------------------------------------------------------------------------------
# The names.

# Loops and branches, collectives, convolutions, and what has a namespace of its own: Fourier transforms, linear algebra,
# random numbers.
ELSEWHERE = {
    "conv_general_dilated_local", "conv_general_dilated_patches", "conv_general_permutations",
    "conv_general_shape_tuple", "conv_shape_tuple", "conv_transpose_shape_tuple", "ConvGeneralDilatedDimensionNumbers",
    "custom_linear_solve", "custom_root", "padtype_to_pads", "pbroadcast", "precv", "psend", "ragged_all_to_all",
    "reduce_window_shape_tuple", "linalg", "rng_bit_generator", "rng_uniform",
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
        if inspect.unwrap(ours).__module__.startswith("numpy"):  # whose parameters have NumPy's names
            continue
        expected = [(p.name, p.default) for p in inspect.signature(theirs).parameters.values() if p.name not in ignored]
        found = [(p.name, p.default) for p in inspect.signature(ours).parameters.values() if p.name not in ignored]
        found = [(n, d) for n, d in found if (name, n) not in ours_alone]
        if expected[0][0] in ("args", "shapes"):  # any number of positional arguments
            continue
        assert [n for n, _ in found] == [n for n, _ in expected], f"{name}: {found} against {expected}"
        for (n, a), (_, b) in zip(found, expected, strict=True):  # a bare object stands for what was not given
            assert a == b or getattr(a, "value", a) == getattr(b, "value", b) or type(b) is object, f"{name}({n}=)"
