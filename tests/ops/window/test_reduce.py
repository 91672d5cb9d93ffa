"""`reduce_window` against jax over a grid of its arguments, against windows written out, and the errors a user sees."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tests.compare import near
from tests.jaxprs import run_with_numpy
from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.ops.window import reduce as module
from tracegrad.ops.window import reduce_window


def array(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).uniform(-1, 1, shape)


# Our computation, jax's name for it, and where it starts.
COMPUTATIONS: dict[str, tuple[Any, float]] = {
    "add": (np.add, 0.0),
    "max": (np.maximum, -np.inf),
    "min": (np.minimum, np.inf),
    "mul": (np.multiply, 1.0),
}
# The operand's shape, and the other arguments.
GRID: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "pairs": ((6,), {"window_dimensions": (2,)}),
    "strides": ((7,), {"window_dimensions": (2,), "window_strides": (3,)}),
    "same": ((7,), {"window_dimensions": (3,), "window_strides": (2,), "padding": "SAME"}),
    "same lower": ((8,), {"window_dimensions": (3,), "window_strides": (2,), "padding": "SAME_LOWER"}),
    "pads": ((5,), {"window_dimensions": (3,), "padding": [(2, 1)]}),
    "cuts": ((8,), {"window_dimensions": (2,), "padding": [(-1, -2)]}),
    "base dilation": ((5,), {"window_dimensions": (3,), "base_dilation": (2,), "padding": [(1, 0)]}),
    "window dilation": ((8,), {
        "window_dimensions": (3,), "window_strides": (1,), "window_dilation": (2,), "padding": "SAME"}),
    "all": (
        (5, 6),
        {
            "window_dimensions": (2, 3), "window_strides": (1, 2), "padding": [(1, 0), (2, 1)],
            "base_dilation": (2, 1), "window_dilation": (1, 2),
        },
    ),
    "same with both dilations": ((8,), {
        "window_dimensions": (2,), "window_strides": (2,), "padding": "SAME", "base_dilation": (3,), "window_dilation": (3,)}),
    "too large": ((3,), {"window_dimensions": (4,)}),
    "one": ((3, 2), {"window_dimensions": (1, 1)}),
    "pooling": ((2, 5, 6, 3), {
        "window_dimensions": (1, 2, 2, 1), "window_strides": (1, 2, 2, 1), "padding": "SAME"}),
    "global": ((2, 4, 5, 3), {"window_dimensions": (1, 4, 5, 1)}),
    "long": ((200,), {"window_dimensions": (75,), "window_strides": (2,), "padding": "SAME"}),
    "long dilated": ((300,), {"window_dimensions": (41,), "window_dilation": (3,), "padding": [(5, 7)]}),
    "no axes": ((), {"window_dimensions": (), "window_strides": ()}),
}  # fmt: skip


# jax has no derivative of products over windows, and of extremes none with a window dilation, with negative padding or
# without axes: there the windows are gathered by hand, and jax reduces each.
BY_HAND = {"cuts", "window dilation", "same with both dilations", "all", "too large", "long dilated", "no axes"}


@pytest.mark.parametrize("computation", COMPUTATIONS)
@pytest.mark.parametrize("name", GRID)
def test_values_and_derivatives_against_jax(name: str, computation: str, jax: Any) -> None:
    shape, kwargs = GRID[name]
    ours, start = COMPUTATIONS[computation]
    x = array(*shape)
    if computation == "mul":
        x = 1 + 0.1 * x  # products of many stay of size 1
    f = lambda x: reduce_window(x, start, ours, **kwargs)
    g = lambda x: jax.lax.reduce_window(x, start, getattr(jax.lax, computation), **kwargs)
    out, expected = f(x), g(x)
    near(out, expected)
    if computation == "mul" or (computation != "add" and name in BY_HAND):
        g = lambda x: gathered(jax.numpy, x, computation, start, **kwargs)
        near(out, g(x))
    weights = array(*out.shape, seed=3)
    t = array(*shape, seed=4)

    def everything(m: Any, f: Any, np: Any) -> Callable[..., Any]:
        loss = lambda x: np.sum(np.sin(np.where(np.isfinite(y := f(x)), y, 0)) * weights)
        finite = lambda x: np.where(np.isfinite(y := f(x)), y, 0)

        def run(x: Any, t: Any) -> Any:
            return m.jvp(finite, (x,), (t,))[1], m.grad(loss)(x), m.jvp(m.grad(loss), (x,), (t,))[1]

        return run

    for a, b in zip(everything(tg, f, np)(x, t), run_with_numpy(everything(jax, g, jax.numpy), x, t), strict=True):
        near(a, b)


def gathered(
    xp: Any, x: Any, computation: str, start: float, window_dimensions: Any, window_strides: Any = None,
    padding: Any = "VALID", base_dilation: Any = None, window_dilation: Any = None,
) -> Any:  # fmt: skip
    """The windows of `x` laid out one by one, and each reduced."""
    ones = (1,) * x.ndim
    strides, base, apart = window_strides or ones, base_dilation or ones, window_dilation or ones
    places = np.arange(x.size).reshape(x.shape)
    spread = np.full([(n - 1) * b + 1 for n, b in zip(x.shape, base, strict=True)], -1)
    spread[tuple([slice(None, None, b) for b in base])] = places
    if isinstance(padding, str):
        reach = [(w - 1) * d + 1 for w, d in zip(window_dimensions, apart, strict=True)]
        totals = [
            0 if padding == "VALID" else max((-(-n // s) - 1) * s + r - n, 0)
            for n, s, r in zip(x.shape, strides, reach, strict=True)
        ]
        halves = [(total // 2, total - total // 2) for total in totals]
        padding = [h[::-1] for h in halves] if padding == "SAME_LOWER" else halves
    for axis, (low, high) in enumerate(padding):
        spread = np.moveaxis(spread, axis, 0)[max(-low, 0) : max(len(np.moveaxis(spread, axis, 0)) + min(high, 0), 0)]
        spread = np.pad(spread, [(max(low, 0), max(high, 0))] + [(0, 0)] * (x.ndim - 1), constant_values=-1)
        spread = np.moveaxis(spread, 0, axis)
    counts = [
        max((n - (w - 1) * d - 1) // s + 1, 0)
        for n, w, d, s in zip(spread.shape, window_dimensions, apart, strides, strict=True)
    ]
    rows = []
    for k in np.ndindex(*window_dimensions):
        at = [np.arange(c) * s + i * d for c, s, i, d in zip(counts, strides, k, apart, strict=True)]
        rows.append(spread[np.ix_(*at)] if at else spread)
    found = np.stack(rows, -1)
    values = xp.where(found < 0, start, x.reshape(-1)[np.maximum(found, 0)])
    return {"add": xp.sum, "mul": xp.prod, "max": xp.max, "min": xp.min}[computation](values, axis=-1)


@pytest.mark.parametrize("computation", COMPUTATIONS)
def test_starts_that_are_not_neutral_against_jax(computation: str, jax: Any) -> None:
    """Each result starts from init_value, once; padding and holes add nothing."""
    x = np.arange(1.0, 6.0)
    for kwargs in ({"padding": "SAME"}, {"padding": [(3, 0)], "base_dilation": (2,)}):
        f, g = [
            lambda x, init, m=m, c=c: m.reduce_window(x, init, c, (3,), (1,), **kwargs)
            for m, c in ((module, COMPUTATIONS[computation][0]), (jax.lax, getattr(jax.lax, computation)))
        ]
        near(f(x, 2.0), g(x, 2.0))
        assert f(x.astype(np.float32), 2.0).dtype == np.float32
    if computation == "add":
        gx, gi = tg.grad(lambda x, init: np.sum(f(x, init)), (0, 1))(x, 2.0)
        assert gi == f(x, 2.0).size and gx.tolist() == [3.0, 3.0, 3.0, 3.0, 1.0]


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "int8", "uint8", "bool", "complex64"])
@pytest.mark.parametrize("computation", COMPUTATIONS)
def test_dtypes_against_jax(computation: str, dtype: str, jax: Any) -> None:
    low, high = -3 if dtype[0] in "fic" else 0, 2 if dtype == "bool" else 30
    x = np.random.default_rng(0).integers(low, high, 9).astype(dtype)
    ours, start = COMPUTATIONS[computation]
    if (dtype == "bool" and computation in ("add", "mul")) or (dtype == "complex64" and computation in ("max", "min")):
        with pytest.raises(DtypeError, match=f"takes no {dtype} operand"):
            reduce_window(x, start, ours, (3,), padding="SAME")
        return
    init = np.asarray(start).astype(dtype) if np.isfinite(start) else module._MONOIDS[computation].neutral(x.dtype)
    expected = jax.lax.reduce_window(x, np.asarray(init, dtype), getattr(jax.lax, computation), (3,), (1,), "SAME")
    near(reduce_window(x, init, ours, (3,), padding="SAME"), expected)
    if dtype != "bool":
        near(reduce_window(x, start, ours, (3,), padding="SAME"), expected)


def test_ties_against_jax(jax: Any) -> None:
    """The first of equal elements, in C order, has the derivative; with jax's weights to tell windows apart."""
    x = np.random.default_rng(0).integers(0, 3, (1, 6, 7, 2)).astype(float)
    for word, ours in (("max", np.maximum), ("min", np.minimum)):
        start = COMPUTATIONS[word][1]
        for padding in ("SAME", "VALID"):
            args = ((1, 3, 2, 1), (1, 2, 1, 1), padding)
            f = lambda x: reduce_window(x, start, ours, *args)
            g = lambda x: jax.lax.reduce_window(x, start, getattr(jax.lax, word), *args)
            ct, t = array(*f(x).shape), array(*x.shape)
            near(tg.vjp(f, x)[1](ct)[0], jax.vjp(g, x)[1](ct)[0])
            # jax's own forward rule takes another of the equal elements than its reverse rule; ours the same.
            near(np.sum(ct * tg.jvp(f, (x,), (t,))[1]), np.sum(t * jax.vjp(g, x)[1](ct)[0]))


# ---------------------------------------------------------------------------------------------------------------------
# Without jax.


def test_windows_written_out() -> None:
    for name, (shape, kwargs) in GRID.items():
        x = 1 + 0.1 * array(*shape)
        for computation, (ours, start) in COMPUTATIONS.items():
            expected = gathered(np, x, computation, start, **kwargs)
            np.testing.assert_allclose(
                reduce_window(x, start, ours, **kwargs),
                expected,
                rtol=1e-11,
                atol=1e-12,
                err_msg=f"{name} {computation}",
            )


def test_one_axis() -> None:
    x = array(9)
    np.testing.assert_allclose(reduce_window(x, 0.0, np.add, (4,)), np.convolve(x, np.ones(4), "valid"), atol=1e-14)
    g = tg.grad(lambda x: np.sum(reduce_window(x, 0.0, np.add, (4,))))(x)
    assert g.tolist() == [1.0, 2.0, 3.0, 4.0, 4.0, 4.0, 3.0, 2.0, 1.0]
    ties = np.array([1.0, 2.0, 2.0, 2.0, 1.0])
    g = tg.grad(lambda x: np.sum(reduce_window(x, -np.inf, np.maximum, (3,), (1,))))(ties)
    assert g.tolist() == [0.0, 2.0, 1.0, 0.0, 0.0]


def test_infinities_and_nan() -> None:
    """Padding never wins: not against an infinity; NaN always does, as in NumPy."""
    pool = lambda x: reduce_window(x, -np.inf, np.maximum, (2,), (2,), [(1, 1)])
    low, nan = np.full(2, -np.inf), np.array([1.0, np.nan, 2.0, 3.0])
    out, pull = tg.vjp(pool, low)
    assert out.tolist() == [-np.inf, -np.inf] and pull(np.array([1.0, 2.0]))[0].tolist() == [1.0, 2.0]
    out, pull = tg.vjp(pool, nan)
    np.testing.assert_array_equal(out, [1.0, np.nan, 3.0])
    assert pull(np.array([1.0, 2.0, 4.0]))[0].tolist() == [1.0, 2.0, 0.0, 4.0]


def test_windows_of_padding_only() -> None:
    out, pull = tg.vjp(lambda x: reduce_window(x, -np.inf, np.maximum, (1,), (1,), [(1, 1)]), np.array([5.0]))
    assert out.tolist() == [-np.inf, 5.0, -np.inf]
    assert pull(np.array([1.0, 2.0, 4.0]))[0].tolist() == [2.0]
    assert reduce_window(np.ones(1), 7.0, np.maximum, (1,), (1,), [(1, 1)]).tolist() == [7.0, 7.0, 7.0]
    for computation, start in COMPUTATIONS.values():
        empty = lambda x: np.sum(reduce_window(x, start, computation, (2,), (1,), [(1, 2)]))
        assert tg.grad(empty)(np.ones(0)).shape == (0,)


def test_products_have_exact_derivatives_at_zeros() -> None:
    x = np.array([2.0, 0.0, 3.0, 0.0, 5.0])
    f = lambda x: np.sum(reduce_window(x, 1.0, np.multiply, (3,)))
    assert tg.grad(f)(x).tolist() == [0.0, 6.0, 0.0, 15.0, 0.0]
    assert tg.hessian(f)(x)[1].tolist() == [3.0, 0.0, 2.0, 3.0, 0.0]


def test_computations_by_other_names() -> None:
    x = array(5)
    for name, (ours, start) in COMPUTATIONS.items():
        expected = reduce_window(x, start, ours, (2,))
        for other in (name, ours.__name__, getattr(tnp, ours.__name__)):
            np.testing.assert_array_equal(reduce_window(x, start, other, (2,)), expected)
    np.testing.assert_array_equal(reduce_window(x, 0, operator.add, (2,)), reduce_window(x, 0, "add", (2,)))
    np.testing.assert_array_equal(reduce_window(x, 1, operator.mul, (2,)), reduce_window(x, 1, "mul", (2,)))


def test_vmap_jit_and_graph() -> None:
    x = array(3, 4, 6)
    for computation, start in COMPUTATIONS.values():
        f = lambda x: reduce_window(x, start, computation, (2, 3), (1, 2), "SAME")
        loop = np.stack([f(row) for row in x])
        np.testing.assert_allclose(tg.vmap(f)(x), loop, rtol=1e-14)
        np.testing.assert_allclose(tg.jit(f)(x[0]), loop[0], rtol=1e-14)
        g = tg.grad(lambda x: np.sum(np.sin(f(x))))
        np.testing.assert_allclose(tg.vmap(g)(x), np.stack([g(row) for row in x]), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(tg.jit(g)(x[0]), g(x[0]), rtol=1e-12, atol=1e-14)
    graph = tg.make_graph(lambda x: reduce_window(x, -np.inf, np.maximum, (2, 3)))(x[0])
    assert [e.op.name for e in graph.eqns] == ["reduce_window_max"]


# ---------------------------------------------------------------------------------------------------------------------
# Errors.

X = np.ones((4, 5))


def add(x: Any, y: Any) -> Any:
    return x + y + 1  # a user's function of a known name is still not what the name says


ERRORS: dict[str, tuple[type[Exception], Callable[[], Any], str]] = {
    "computation": (
        TypeError,
        lambda: reduce_window(X, 0, np.hypot, (2, 2)),
        "computation must be np.add, np.multiply, np.maximum or np.minimum (or operator.add, operator.mul, or a name such "
        "as 'add'), which are known to be associative and to have derivatives, got <ufunc 'hypot'>",
    ),
    "a function of the user's": (TypeError, lambda: reduce_window(X, 0, add, (2, 2)), "got <function add"),
    "a lambda": (TypeError, lambda: reduce_window(X, 0, lambda x, y: x + y, (2, 2)), "computation must be np.add"),
    "a name": (TypeError, lambda: reduce_window(X, 0, "sum", (2, 2)), "computation must be np.add"),
    "several arrays": (TypeError, lambda: reduce_window((X, X), 0, np.add, (2, 2)), "takes one array, got a tuple"),
    "rank": (
        ShapeError,
        lambda: reduce_window(X, 0, np.add, (2,)),
        "window_dimensions (2,) must have one size for each axis of f64[4,5]; write 1 for an axis along which there are "
        "no windows",
    ),
    "window 0": (
        ShapeError,
        lambda: reduce_window(X, 0, np.add, (2, 0)),
        "window_dimensions must be 2 positive ints, one for each axis of the windows, got (2, 0)",
    ),
    "strides": (ShapeError, lambda: reduce_window(X, 0, np.add, (2, 2), (1,)), "window_strides must be 2 positive ints"),
    "base": (ShapeError, lambda: reduce_window(X, 0, np.add, (2, 2), base_dilation=(0, 1)), "base_dilation must be 2"),
    "dilation": (
        ShapeError,
        lambda: reduce_window(X, 0, np.add, (2, 2), window_dilation=2),
        "window_dilation must be 2 positive ints, one for each axis of the windows, got 2",
    ),
    "padding": (
        ShapeError,
        lambda: reduce_window(X, 0, np.add, (2, 2), padding="FULL"),
        "padding must be 'SAME', 'SAME_LOWER', 'VALID' or 2 pairs of ints, got 'FULL'",
    ),
    "pairs": (
        ShapeError,
        lambda: reduce_window(X, 0, np.add, (2, 2), padding=[(0, 0)]),
        "2 pairs of ints (in front, behind), one for each axis of the windows, such as ((1, 1), (1, 1)); got [(0, 0)]",
    ),
    "start": (
        ShapeError,
        lambda: reduce_window(X, np.zeros(2), np.add, (2, 2)),
        "init_value must be a scalar, got f64[2]",
    ),
    "start of another dtype": (
        DtypeError,
        lambda: reduce_window(X.astype(int), 0.5, np.add, (2, 2)),
        "init_value f64~[] does not fit an operand of int64; write one of the operand's dtype, such as 0",
    ),
    "start on the wrong side": (
        DtypeError,
        lambda: reduce_window(X.astype(int), np.inf, np.maximum, (2, 2)),
        "write one of the operand's dtype, such as -9223372036854775808",
    ),
    "booleans": (
        DtypeError,
        lambda: reduce_window(X > 0, 0, np.add, (2, 2)),
        "with add takes no bool operand; write x.astype(int) to count",
    ),
    "complex": (
        DtypeError,
        lambda: reduce_window(X + 1j, 0, np.maximum, (2, 2)),
        "with maximum takes no complex128 operand; complex numbers have no order",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_arguments_that_do_not_fit(name: str) -> None:
    error, call, text = ERRORS[name]
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)
    assert str(caught.value).startswith("reduce_window at ") and "test_reduce.py:" in str(caught.value)


def test_forward_over_forward_with_a_constant_tangent() -> None:
    x, t = np.array([0.3, -1.0, 2.0, 0.5]), np.array([1.0, 2.0, 3.0, 4.0])
    windowed = lambda x: tg.lax.reduce_window(x, -np.inf, tg.lax.max, (2,), (1,), "VALID")
    pushed = lambda x: tg.jvp(windowed, (x,), (t,))[1]
    value, derivative = tg.jvp(pushed, (x,), (t,))
    assert (value.tolist(), derivative.tolist()) == ([1.0, 3.0, 3.0], [0.0, 0.0, 0.0])


@pytest.mark.parametrize("computation", [np.add, np.maximum, np.minimum, np.multiply])
@pytest.mark.parametrize("number", [3.0, np.float64(3.0), np.array(3.0)])
def test_a_number_has_a_window_over_no_axes(computation: Any, number: Any) -> None:
    start = {np.add: 0.0, np.multiply: 1.0, np.maximum: -np.inf, np.minimum: np.inf}[computation]
    f = lambda x: reduce_window(x, start, computation, (), (), "VALID")
    for run in (f, tg.jit(f), lambda x: tg.jvp(f, (x,), (x,))[0], lambda x: tg.vmap(f)(np.stack([x, x]))[0]):
        assert run(number) == 3.0
    assert tg.grad(f)(number) == tg.jit(tg.grad(f))(number) == 1.0
