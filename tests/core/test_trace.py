"""`isinstance`, `np.isscalar` and `match` answer of a traced value as they would of the value."""

from __future__ import annotations

import functools
import numbers
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tests.compare import near
from tests.notes import Notes
from tracegrad.core.context import open_traces
from tracegrad.core.errors import DtypeError, UnexpectedTracerError
from tracegrad.core.trace import FUNCTIONS, Tracer

jax.config.update("jax_enable_x64", True)

VALUES = {
    "array": np.arange(3.0),
    "matrix of float32": np.ones((2, 2), np.float32),
    "NumPy scalar": np.float64(2.0),
    "float32 scalar": np.float32(2.0),
    "Python float": 2.0,
}
KINDS = (
    np.ndarray, np.generic, np.floating, np.float64, np.float32, np.integer, float, int, complex, bool, numbers.Number,
    numbers.Real, list, str,
)  # fmt: skip


def collected(transform: Callable[..., Any], x: Any) -> tuple[list[bool], str]:
    found = Notes()

    def f(x: Any) -> Any:
        assert type(x) is Tracer
        found.append([isinstance(x, kind) for kind in KINDS] + [bool(np.isscalar(x))])
        match x:
            case np.ndarray():
                found.append("array")
            case float():
                found.append("float")
            case _:
                found.append("other")
        return np.sum(x * x)

    transform(f)(x)
    return found[0], found[1]


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("transform", ["grad", "jit", "make_graph", "grad of grad"])
def test_a_traced_value_is_what_it_stands_for(name: str, transform: str) -> None:
    x = VALUES[name]
    wanted = [isinstance(x, kind) for kind in KINDS] + [bool(np.isscalar(x))]
    matched = "array" if isinstance(x, np.ndarray) else "float" if isinstance(x, float) else "other"
    run: Any = {
        "grad": tg.grad, "jit": tg.jit, "make_graph": tg.make_graph,
        "grad of grad": lambda f: lambda x: tg.grad(lambda y: np.sum(tg.grad(f)(y)))(x),
    }[transform]  # fmt: skip
    assert collected(run, x) == (wanted, matched)


def test_kinds_of_results() -> None:
    def f(x: Any, n: int) -> Any:
        assert isinstance(x[0], np.float64) and isinstance(np.sum(x), float) and isinstance(x > 0, np.ndarray)
        assert isinstance(n, int) and isinstance(n + 1, int) and not isinstance(n, float) and isinstance(n * 2.0, float)
        assert isinstance(np.argmax(x), np.integer) and isinstance(x[0] > 0, np.bool_)
        u = x.copy()
        u[0] = 1.0
        assert isinstance(u, np.ndarray) and u.__class__ is np.ndarray and not isinstance(u, np.generic)
        return np.sum(x) * n

    tg.jit(f)(np.ones(3), 2)
    tg.value_and_grad(f, allow_int=True, argnums=(0, 1))(np.ones(3), 2)


def test_the_branch_that_numpy_takes() -> None:
    f = lambda x: np.sum(x * x) if isinstance(x, np.ndarray) else 0.0 * np.sum(x)
    x = np.array([1.0, 2.0, 4.0])
    np.testing.assert_array_equal(tg.grad(f)(x), 2 * x)


def test_none_is_equal_to_nothing() -> None:
    def f(x: Any) -> Any:
        assert not np.any(x == None) and np.all(x != None) and (x == None).shape == x.shape  # noqa: E711
        return np.sum(x) if not np.any(x == None) else 0.0  # noqa: E711

    np.testing.assert_array_equal(tg.grad(f)(np.ones(3)), np.ones(3))
    np.testing.assert_array_equal(tg.jit(tg.grad(f))(np.ones(3)), np.ones(3))


# These make numbers of what is given, or ask about it, or are for files and settings.
NOT_OF_ARRAYS = {"save", "savez", "savez_compressed", "savetxt", "show_config", "show_runtime", "info", "test"}


@pytest.mark.parametrize("ndim", [0, 1, 2])
def test_no_function_takes_a_tracer_for_a_plain_array(ndim: int) -> None:
    """Each of NumPy's functions that we have none for raises, or gives nothing that could have a derivative."""
    x = np.full((3,) * ndim, 0.5)[()]
    for name, function in list(vars(np).items()):
        if not callable(function) or isinstance(function, type) or name in NOT_OF_ARRAYS:
            continue
        if function in FUNCTIONS or isinstance(function, np.ufunc):
            continue

        def f(x: Any, function: Any = function) -> Any:
            found.append(function(x))
            return np.sum(x)

        found: list[Any] = []
        try:
            tg.grad(f)(x)
        except (TypeError, ValueError, AttributeError, RuntimeError, IndexError, OSError, Warning):
            continue
        for leaf in tg.tree.tree_leaves(found):
            assert type(leaf) is Tracer or not isinstance(leaf, np.ndarray) or leaf.dtype.kind not in "fcO", name


# ---------------------------------------------------------------------------------------------------------------------
# Levels, and tracers that leaked.

X = np.array([0.3, -1.2, 2.0])
TRANSFORMS: dict[str, Callable[[Callable[..., Any]], Any]] = {
    "grad": lambda f: tg.grad(f)(X),
    "value_and_grad": lambda f: tg.value_and_grad(f)(X),
    "jvp": lambda f: tg.jvp(f, (X,), (X,)),
    "vjp": lambda f: tg.vjp(f, X)[1](np.float64(1.0)),
    "linearize": lambda f: tg.linearize(f, X)[1](X),
    "linear_transpose": lambda f: tg.linear_transpose(lambda x: 2.0 * f(x), X)(np.float64(1.0)),
    "hessian": lambda f: tg.hessian(f)(X),
    "vmap": lambda f: tg.vmap(f)(np.stack([X, X])),
    "jit": lambda f: tg.grad(tg.jit(f))(X),
    "make_graph": lambda f: tg.make_graph(f)(X),
    "checkpoint": lambda f: tg.grad(tg.checkpoint(f))(X),
    "cond": lambda f: tg.grad(lambda x: tg.lax.cond(x[0] > 0, f, lambda x: np.sum(x), x))(X),
    "scan": lambda f: tg.grad(lambda x: tg.lax.scan(lambda c, _: (c + f(x), None), 0.0, None, length=2)[0])(X),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_no_trace_stays_open(name: str) -> None:
    before = set(open_traces)
    TRANSFORMS[name](lambda x: np.sum(3.0 * x))
    assert set(open_traces) == before

    def fails(x: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        TRANSFORMS[name](fails)
    assert set(open_traces) == before


def test_the_same_tracer_at_two_levels() -> None:
    def f(x: Any) -> Any:
        inner = tg.grad(lambda y, z: y * z * x, (0, 1))(x, x)  # (x^2, x^2), each with x at the outer level
        return inner[0] * inner[1]

    near(tg.grad(f)(1.5), np.float64(4 * 1.5**3))


def leak(transform: Callable[[Any], Any]) -> Any:
    """A tracer that outlived the transform that made it."""
    kept: list[Any] = []

    def f(x: Any) -> Any:
        kept.append(x * 2.0)
        return np.sum(x)

    transform(f)
    return kept[0]


LEAKS = {
    "grad": lambda f: tg.grad(f)(X),
    "jvp": lambda f: tg.jvp(f, (X,), (X,)),
    "vjp": lambda f: tg.vjp(f, X),
    "linearize": lambda f: tg.linearize(f, X),
    "vmap": lambda f: tg.vmap(f)(np.stack([X, X])),
    "eval_shape": lambda f: tg.eval_shape(f, X),
    "make_graph": lambda f: tg.make_graph(f)(X),
    "linear_transpose": lambda f: tg.linear_transpose(f, X),
    "grad of grad": lambda f: tg.grad(lambda x: np.sum(tg.grad(f)(x)))(X),
    "vmap of grad": lambda f: tg.vmap(tg.grad(f))(np.stack([X, X])),
    "jacfwd": lambda f: tg.jacfwd(f)(X),
    "hessian": lambda f: tg.hessian(f)(X),
}
USES: dict[str, Callable[[Any], Any]] = {
    "operator": lambda t: t + 1.0,
    "reflected": lambda t: X * t,
    "ufunc": lambda t: np.sin(t),
    "reduction": lambda t: np.sum(t),
    "method": lambda t: t.sum(),
    "index": lambda t: t[0],
    "in a later grad": lambda t: tg.grad(lambda x: np.sum(x * t))(X),
    "in a later jvp": lambda t: tg.jvp(lambda x: x * t, (X,), (X,)),
    "in a later vmap": lambda t: tg.vmap(lambda x: x * t)(X),
    "in a nested grad": lambda t: tg.grad(lambda x: np.sum(tg.grad(lambda y: np.sum(y * t * x))(x)))(X),
    "as the argument of a grad": lambda t: tg.grad(lambda x: np.sum(x * x))(t),
    "as the argument of a jvp": lambda t: tg.jvp(np.sin, (t,), (t,)),
    "as the output of a grad": lambda t: tg.grad(lambda x: t[0])(X),
    "as the output of an untouched grad": lambda t: tg.value_and_grad(lambda x: LEAKED_SCALAR)(X),
    "as the output of a vjp": lambda t: tg.vjp(lambda x: t, X),
    "as the output of a jvp": lambda t: tg.jvp(lambda x: t, (X,), (X,)),
    "as the output of a vmap": lambda t: tg.vmap(lambda x: t)(X),
    "as the output of a graph": lambda t: tg.make_graph(lambda x: t)(X),
    "as a tangent": lambda t: tg.jvp(np.sin, (X,), (t,)),
    "as a cotangent": lambda t: tg.vjp(np.sin, X)[1](t),
    "in bool": lambda t: bool(t[0] > 0),
    "in a list": lambda t: np.stack([t, t]),
}
LEAKED_SCALAR: Any = None


@pytest.mark.parametrize("made", list(LEAKS))
@pytest.mark.parametrize("use", list(USES))
def test_leaked_tracers_are_always_detected(made: str, use: str) -> None:
    global LEAKED_SCALAR
    t = leak(LEAKS[made])
    kept: list[Any] = []
    LEAKS[made](lambda x: kept.append(np.sum(x)) or np.sum(x))
    LEAKED_SCALAR = kept[0]
    with pytest.raises(UnexpectedTracerError, match="a tracer leaked"):
        USES[use](t)


def test_a_leak_through_a_closure_or_an_attribute() -> None:
    class Cache:
        value: Any = None

    cache = Cache()

    def f(x: Any) -> Any:
        if cache.value is None:
            cache.value = np.sum(x**2)
        return cache.value * np.sum(x)

    tg.grad(f)(X)
    with pytest.raises(UnexpectedTracerError, match=r"escaped from the grad of .*f' .*which has ended"):
        tg.grad(f)(X)
    with pytest.raises(UnexpectedTracerError):
        f(X)


def test_a_leak_after_an_exception() -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        kept.append(x)
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        tg.grad(f)(X)
    with pytest.raises(UnexpectedTracerError):
        kept[0] + 1.0
    with pytest.raises(UnexpectedTracerError):
        np.sum(tg.grad(lambda x: np.sum(x * kept[0]))(X))


def test_an_outer_tracer_in_an_inner_trace_is_no_leak() -> None:
    near(tg.grad(lambda x: np.sum(tg.grad(lambda y: np.sum(x * y**2))(X)))(X), 2 * X)
    near(tg.grad(lambda x: tg.vmap(lambda y: y * x)(X).sum())(2.0), np.float64(X.sum()))
    near(tg.vmap(lambda x: tg.grad(lambda y: x * y)(1.0))(X), X)


IMAGE = np.arange(12.0).reshape(3, 4)


def _written_at(i: Any, value: float) -> Any:
    written = IMAGE.copy()
    written[i] = value
    return written


# What a plain array does with whole numbers and truth values that have been computed of x, which is near [0.2, 1.7].
LOOKUPS: dict[str, Callable[[Any], Any]] = {
    "arrays": lambda x: IMAGE[np.floor(x).astype(int), np.ceil(x).astype(int)],
    "argsort": lambda x: IMAGE[np.argsort(x)],
    "array beside a slice": lambda x: IMAGE[:, np.argsort(x)],
    "mask": lambda x: IMAGE[0, :2][x > 1],
    "number": lambda x: IMAGE[np.argmax(x)],
    "numbers": lambda x: IMAGE[np.argmax(x), np.argmin(x)],
    "truth value": lambda x: IMAGE[x[0] > 0],
    "slice": lambda x: IMAGE[: np.argmax(x)],
    "list": lambda x: IMAGE[[np.argmax(x), 0]],
    "take": lambda x: np.take(IMAGE, np.argsort(x), axis=1),
    "written": lambda x: _written_at(np.argsort(x), 5.0),
    "written at a mask": lambda x: _written_at(np.repeat(x > 1, 2)[:3], 5.0),
    "narrow": lambda x: IMAGE[np.floor(x).astype(np.uint8)],
    "list of Python": lambda x: np.asarray([IMAGE[1], IMAGE[2]][np.argmin(x)]),
    "array of Python": lambda x: np.array([np.argmax(x), 2]),
}


@pytest.mark.parametrize("name", sorted(LOOKUPS))
def test_plain_arrays_are_indexed_by_what_is_traced(name: str) -> None:
    """Whole numbers carry no derivative, and have values where there are any."""
    lookup, x = LOOKUPS[name], np.array([0.2, 1.7])
    found = lookup(x)

    def f(x: Any) -> Any:
        return np.sum(lookup(x)) * x[0] ** 2

    gradient = np.array([2 * 0.2 * np.sum(found), 0.0])
    assert np.array_equal(tg.vjp(lambda x: lookup(x) * x[0], x)[0], found * x[0])
    assert np.allclose(tg.grad(f)(x), gradient, rtol=1e-14)
    assert np.allclose(tg.jvp(f, (x,), (np.array([1.0, 3.0]),))[1], gradient[0], rtol=1e-14)
    assert np.allclose(tg.hessian(f)(x), [[2 * np.sum(found), 0], [0, 0]], rtol=1e-14)
    assert np.allclose(tg.linearize(f, x)[1](np.array([1.0, 3.0])), gradient[0], rtol=1e-14)
    by_types = functools.partial(tg.jit, branches="error")
    for transform in (by_types, lambda f: by_types(tg.grad(f)), lambda f: tg.vmap(f, in_axes=None, axis_size=2)):
        if name not in ("slice", "list of Python"):
            with pytest.raises(TypeError, match=r"tnp\.take\(table, i, axis=0\).*like=i\)\[i\]"):
                transform(f)(x)


def test_the_plain_array_of_a_tracer_is_no_way_to_write_into_it() -> None:
    def f(x: Any) -> Any:
        n = np.argsort(x)
        with pytest.raises(ValueError, match="read-only"):
            np.asarray(n)[0] = 5
        copy = np.array(n)
        copy[0] = 5
        assert np.asarray(n, np.float32).dtype == np.float32
        return x[n][0] + copy[0]

    assert tg.grad(f)(np.array([2.0, 1.0])).tolist() == [0.0, 1.0]


def test_the_plain_array_is_that_of_after_a_write() -> None:
    def f(x: Any) -> Any:
        n = np.argsort(x)
        n[0] = 0
        return np.sum(IMAGE[0, n] * x)

    assert tg.grad(f)(np.array([2.0, 1.0])).tolist() == [0.0, 0.0]


def test_numbers_that_carry_a_derivative_are_no_index() -> None:
    with pytest.raises(TypeError, match="that would cut it off"):
        tg.grad(lambda x: np.sum(IMAGE[x]))(np.array([0.0, 1.0]))


def test_the_namespace_of_the_array_api() -> None:
    x = np.array([0.5, 1.0])

    def f(x: Any) -> Any:
        xp = x.__array_namespace__(api_version="2024.12")
        assert xp is tnp and xp.isdtype(x.dtype, "real floating")
        return xp.sum(xp.permute_dims(xp.stack([x, xp.asarray(x)]), (1, 0)) ** 2)

    assert np.array_equal(tg.grad(f)(x), 4 * x) and tg.jit(f)(x) == 2 * np.sum(x**2)


def test_array_api_compat() -> None:
    compat = pytest.importorskip("array_api_compat")

    def f(x: Any) -> Any:
        xp = compat.array_namespace(x)
        assert compat.is_array_api_obj(x)
        return xp.sum(xp.concat([x, xp.exp(x)]))

    x = np.array([0.5, 1.0])
    assert np.allclose(tg.grad(f)(x), 1 + np.exp(x)) and np.allclose(tg.jit(tg.grad(f))(x), 1 + np.exp(x))


def test_einops() -> None:
    einops = pytest.importorskip("einops")
    x = np.arange(6.0).reshape(2, 3)

    def f(x: Any) -> Any:
        turned = einops.rearrange(x, "a b -> b a")
        return np.sum(turned**2) + einops.reduce(x, "a b -> ", "mean") + np.sum(einops.repeat(x, "a b -> a b c", c=2))

    assert np.allclose(tg.grad(f)(x), 2 * x + 1 / 6 + 2)
    assert np.allclose(tg.jit(tg.grad(f))(x), 2 * x + 1 / 6 + 2)
    assert np.allclose(tg.vmap(f)(np.stack([x, x])), [f(x), f(x)])


def test_autoray() -> None:
    autoray = pytest.importorskip("autoray")
    x = np.arange(6.0).reshape(2, 3)

    def f(x: Any) -> Any:
        return autoray.do("sum", autoray.do("tanh", x)) + autoray.do("einsum", "ij,ij->", x, x)

    wanted = 1 - np.tanh(x) ** 2 + 2 * x
    assert np.allclose(tg.grad(f)(x), wanted) and np.allclose(tg.jit(tg.grad(f))(x), wanted)


def test_pandas_leaves_the_operator_to_the_tracer() -> None:
    """Which refuses what computes in its own way by name, on either side."""
    pandas = pytest.importorskip("pandas")
    x = np.array([1.0, 2.0])
    series = pandas.Series([3.0, 4.0])
    for f in (lambda x: series * x, lambda x: x * series, lambda x: series - x[0], lambda x: pandas.Index(series) + x):
        for transform in (tg.grad, tg.jit):
            with pytest.raises(DtypeError, match=r"a pandas\.[\w.]+ at .*test_trace.py.*write np.asarray\(x\)"):
                transform(lambda x, f=f: np.sum(f(x)))(x)
    assert np.array_equal(tg.grad(lambda x: np.sum(series.to_numpy() * x))(x), [3.0, 4.0])
