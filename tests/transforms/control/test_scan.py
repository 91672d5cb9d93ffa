"""scan, while_loop and what is made of them: against jax, against loops in Python, and what goes wrong."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.jaxprs import run_with_numpy
from tracegrad import lax
from tracegrad.core.check import check
from tracegrad.core.errors import ConcretizationTypeError, DtypeError, ShapeError
from tracegrad.lower.numpy.steps import prepared
from tracegrad.transforms.control.budget import size_in_bytes
from tracegrad.transforms.control.while_loop import states_backwards

jax.config.update("jax_enable_x64", True)

RNG = np.random.default_rng(0)
W, U, XS, H = RNG.normal(size=(3, 3)), RNG.normal(size=(2, 3)), RNG.normal(size=(5, 2)), RNG.normal(size=3)


# ---------------------------------------------------------------------------------------------------------------------
# scan.


def recurrent(np: Any, scan: Any, **options: Any) -> Callable[..., Any]:
    def f(h: Any, xs: Any, w: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            h = np.tanh(h @ w + x @ U)
            return h, {"twice": h * 2.0, "sum": (np.sum(h), None)}

        return scan(step, h, xs, **options)

    return f


def loss(np: Any, f: Callable[..., Any]) -> Callable[..., Any]:
    def total(*args: Any) -> Any:
        h, ys = f(*args)
        return np.sum(h**2) + np.sum(ys["twice"] * np.cos(ys["sum"][0])[:, None])

    return total


USES: dict[str, Callable[[Any, Any, Callable[..., Any]], Any]] = {
    "value": lambda lib, np, f: f(H, XS, W),
    "grad": lambda lib, np, f: lib.grad(loss(np, f), (0, 1, 2))(H, XS, W),
    "grad of the carry": lambda lib, np, f: lib.grad(lambda *a: np.sum(f(*a)[0]), (0, 1, 2))(H, XS, W),
    "grad of what is stacked": lambda lib, np, f: lib.grad(lambda w: np.sum(f(H, XS, w)[1]["sum"][0] ** 2))(W),
    "vjp": lambda lib, np, f: lib.vjp(lambda h: f(h, XS, W)[0], H)[1](XS[0, 0] * np.ones(3)),
    "jvp": lambda lib, np, f: lib.jvp(f, (H, XS, W), (W[0], 2.0 * XS, W.T)),
    "jvp of constants": lambda lib, np, f: lib.jvp(lambda w: f(H, XS, w), (W,), (W.T,)),
    "jacfwd": lambda lib, np, f: lib.jacfwd(f, 1)(H, XS, W),
    "jacrev": lambda lib, np, f: lib.jacrev(f, 0)(H, XS, W),
    "hessian": lambda lib, np, f: lib.hessian(loss(np, f), 2)(H, XS, W),
    "reverse over reverse": lambda lib, np, f: lib.jacrev(lib.grad(loss(np, f), (0, 1)), 0)(H, XS, W),
    "vmap": lambda lib, np, f: lib.vmap(f, (0, None, None))(np.stack([H, -H]), XS, W),
    "vmap of all": lambda lib, np, f: lib.vmap(f)(np.stack([H, -H]), np.stack([XS, XS]), np.stack([W, W.T])),
    "vmap of constants": lambda lib, np, f: lib.vmap(f, (None, None, 0), 1)(H, XS, np.stack([W, W.T])),
    "vmap of grad": lambda lib, np, f: lib.vmap(lib.grad(loss(np, f), (0, 2)), (None, 0, None))(
        H, np.stack([XS, -XS]), W
    ),
    "grad of vmap": lambda lib, np, f: lib.grad(
        lambda w: np.sum(lib.vmap(f, (0, None, None))(np.stack([H, 2 * H]), XS, w)[0] ** 2)
    )(W),
    "vmap of vmap": lambda lib, np, f: lib.vmap(lib.vmap(f, (0, None, None)), (None, 0, None))(
        np.stack([H, -H]), np.stack([XS, 2 * XS]), W
    ),
}


@pytest.mark.parametrize("options", [{}, {"reverse": True}], ids=["", "reverse"])
@pytest.mark.parametrize("use", USES)
def test_scan(use: str, options: Any) -> None:
    expected = jax.jit(lambda: USES[use](jax, jnp, recurrent(jnp, jax.lax.scan, **options)))()
    ours = recurrent(np, lax.scan, **options)
    near(USES[use](tg, np, ours), expected)
    near(tg.jit(lambda: USES[use](tg, np, ours))(), expected)
    near(USES[use](tg, np, tg.jit(ours)), expected)


def test_a_scan_is_one_equation_and_its_body_is_traced_once() -> None:
    calls = []

    def step(c: Any, x: Any) -> Any:
        calls.append(1)
        return c + np.sin(x), c

    f = tg.jit(lambda c, x: lax.scan(step, c, x))
    for _ in range(2):
        near(f(np.zeros(()), XS[:, 0]), (np.sum(np.sin(XS[:, 0])), np.cumsum([0.0, *np.sin(XS[:-1, 0])])))
    assert len(calls) == 1
    graph = tg.make_graph(lambda c, x: lax.scan(step, c, x))(*[tg.ShapeDtypeStruct(s, float) for s in ((), (5,))])
    check(graph)
    assert [e.op.name for e in graph.eqns] == ["scan"]
    assert "scan[body=step, carries=1, elements=1, length=5, reverse=False] a b" in str(graph)
    assert "graph step(a:f64[]=the carry, b:f64[]=the element) {" in str(graph)


def test_what_the_backward_part_needs_is_kept_and_not_computed_again() -> None:
    step = lambda h, x: (np.tanh(h * x), None)
    graph = tg.make_graph(tg.grad(lambda h: lax.scan(step, h, XS[:, 0])[0]))(1.0)
    first, second = [e for e in graph.eqns if e.op.name == "scan"]
    assert [e.op.name for e in first.params["body"].eqns] == ["multiply", "tanh"]
    assert "tanh" not in [e.op.name for e in second.params["body"].eqns]


def test_what_nobody_reads_is_not_stacked() -> None:
    def f(h: Any, xs: Any, zs: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            return np.tanh(h * x[0]), (np.sin(x[1]) * W, h)

        h, (_, hs) = lax.scan(step, h, (xs, zs))
        return h, hs

    graph = tg.jit(f).lower(np.float64(0.5), XS[:, 0], XS[:, 1]).graph
    check(graph)
    (eqn,) = graph.eqns
    assert len(eqn.outputs) == 2
    assert [e.op.name for e in eqn.params["body"].eqns] == ["multiply", "tanh"]
    assert len(eqn.inputs) == 2  # neither zs nor W
    near(tg.jit(f)(0.5, XS[:, 0], XS[:, 1]), f(0.5, XS[:, 0], XS[:, 1]))
    loss = lambda h: np.sum(tg.jit(f)(h, XS[:, 0], XS[:, 1])[1])
    near(tg.grad(loss)(0.5), tg.grad(lambda h: np.sum(f(h, XS[:, 0], XS[:, 1])[1]))(0.5))


@pytest.mark.parametrize("length", [0, 1])
def test_short_scans(length: int) -> None:
    xs = XS[:length]
    near(recurrent(np, lax.scan)(H, xs, W), recurrent(jnp, jax.lax.scan)(H, xs, W))
    near(
        tg.grad(loss(np, recurrent(np, lax.scan)), (0, 1, 2))(H, xs, W),
        jax.grad(loss(jnp, recurrent(jnp, jax.lax.scan)), (0, 1, 2))(H, xs, W),
    )


def test_carries_of_several_kinds() -> None:
    """A counter, a flag, something that is not used and something that is handed on."""

    def make(np: Any, scan: Any) -> Callable[[Any], Any]:
        def step(c: Any, _: Any) -> Any:
            n, flag, x, y = c
            return (n + 1, ~flag, np.where(flag, x * n, x + y), y), n

        return lambda x: scan(step, (0, True, x, 2.0 * x), None, length=4)

    near(make(np, lax.scan)(1.5)[0][2], make(jnp, jax.lax.scan)(1.5)[0][2])
    for t in ("grad", "jacfwd"):
        f, g = [lambda x, f=f: f(x)[0][2] for f in (make(np, lax.scan), make(jnp, jax.lax.scan))]
        near(getattr(tg, t)(f)(1.5), getattr(jax, t)(g)(1.5))
    near(
        tg.vmap(make(np, lax.scan))(np.array([1.0, 2.0]))[0][2],
        jax.vmap(make(jnp, jax.lax.scan))(np.array([1.0, 2.0]))[0][2],
    )


def test_the_carrys_dtype_is_widened() -> None:
    total, _ = lax.scan(lambda c, x: (c + x, None), 0, np.ones(3, "float32"))
    assert (total, np.asarray(total).dtype) == (3.0, np.float32)
    (a, b), ys = lax.scan(lambda c, x: ((c[1] * x, c[0]), c[1]), (np.float32(1), 1), np.full(3, 2.0))
    assert (np.asarray(a).dtype, np.asarray(b).dtype, ys.dtype) == ("float64", "float64", "float64")
    assert (a, b) == (4.0, 2.0)
    assert lax.scan(lambda c, _: (c + 1, c * 2), 0, None, length=3)[0] == 3
    x = np.ones(2, "float32")
    for start in (0, 0.0):
        c, ys = lax.scan(lambda c, _: (c + 0.5, c * x), start, None, length=2)
        (y,) = tg.make_graph(lambda s: lax.scan(lambda c, _: (c + 0.5, c * x), s, None, length=2)[1])(start).out_types
        assert (c, ys.dtype) == (1.0, y.dtype)


def test_results_of_a_scan_share_no_memory() -> None:
    x = np.ones(4)
    (a, b, c), (y, z) = lax.scan(lambda c, _: ((c[0] * 2.0, c[0], c[2]), (c[0], c[0])), (x, x, x), None, length=3)
    arrays = [a, b, c, y, z]
    for i, p in enumerate(arrays):
        assert not any(np.shares_memory(p, q) for q in (x, *arrays[i + 1 :]))
    np.testing.assert_array_equal(y, np.outer([1.0, 2.0, 4.0], x))
    np.testing.assert_array_equal(z, y)
    for p in arrays:
        p[:] = 0.0
    np.testing.assert_array_equal(x, np.ones(4))


def test_arrays_closed_over_are_inputs() -> None:
    c = np.array([1.0, 2.0])
    f = tg.jit(lambda x: lax.scan(lambda h, _: (h * c, None), x, None, length=2)[0])
    np.testing.assert_array_equal(f(np.ones(2)), c**2)
    c[:] = 3.0
    np.testing.assert_array_equal(f(np.ones(2)), c**2)
    near(
        tg.grad(lambda s: np.sum(lax.scan(lambda h, _: (h * s, None), np.ones(2), None, length=3)[0]))(2.0),
        np.float64(24.0),
    )


def test_scan_inside_scan() -> None:
    def make(np: Any, scan: Any) -> Callable[[Any], Any]:
        def outer(h: Any, row: Any) -> Any:
            return scan(lambda h, x: (np.sin(h * x + row[0]), h), h, row)

        return lambda xs: scan(outer, 0.5, xs)

    ours, theirs = make(np, lax.scan), make(jnp, jax.lax.scan)
    near(ours(XS), theirs(XS))
    near(tg.jit(tg.grad(lambda x: np.sum(ours(x)[1])))(XS), jax.grad(lambda x: theirs(x)[1].sum())(XS))
    near(tg.hessian(lambda x: ours(x)[0])(XS), jax.hessian(lambda x: theirs(x)[0])(XS))


# ---------------------------------------------------------------------------------------------------------------------
# while_loop.


def root(x: Any) -> Any:
    """Newton's square root."""
    return lax.while_loop(lambda y: np.abs(y * y - x) > 1e-13 * x, lambda y: (y + x / y) / 2, 1.0 + x)


SQUARES = np.array([0.3, 4.0, 9.0, 1e4])


def test_derivatives_of_newtons_square_root() -> None:
    first, second, third = tg.grad(root), tg.grad(tg.grad(root)), tg.grad(tg.grad(tg.grad(root)))
    for x in SQUARES:
        np.testing.assert_allclose([f(x) for f in (root, first)], [x**0.5, 0.5 * x**-0.5], rtol=1e-12)
        np.testing.assert_allclose([second(x), third(x)], [-0.25 * x**-1.5, 0.375 * x**-2.5], rtol=1e-6)
        np.testing.assert_allclose(tg.jvp(tg.grad(root), (x,), (1.0,))[1], -0.25 * x**-1.5, rtol=1e-6)
        np.testing.assert_allclose(tg.grad(lambda x: tg.jvp(root, (x,), (1.0,))[1])(x), -0.25 * x**-1.5, rtol=1e-6)
    for f, expected in ((root, SQUARES**0.5), (first, 0.5 * SQUARES**-0.5), (second, -0.25 * SQUARES**-1.5)):
        for vectorized in (tg.vmap(f), tg.jit(tg.vmap(f)), tg.vmap(tg.jit(f))):
            np.testing.assert_allclose(vectorized(SQUARES), expected, rtol=1e-6)
    over_rows = tg.hessian(lambda x: np.sum(tg.vmap(root)(x)))(SQUARES)
    np.testing.assert_allclose(over_rows, np.diag(-0.25 * SQUARES**-1.5), rtol=1e-6, atol=1e-12)


def test_each_row_stops_at_its_own_step() -> None:
    count = lambda n, x: lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] * x), (0, 1.0))
    ns, xs = np.array([0, 3, 1, 7]), np.array([2.0, 2.0, 3.0, 1.5])
    steps, powers = tg.vmap(count)(ns, xs)
    np.testing.assert_array_equal(steps, ns)
    np.testing.assert_allclose(powers, xs**ns)
    np.testing.assert_allclose(tg.vmap(tg.grad(lambda x, n: count(n, x)[1]))(xs, ns), ns * xs ** (ns - 1.0))
    np.testing.assert_allclose(tg.vmap(lambda n: count(n, 2.0)[1])(ns), 2.0**ns)
    np.testing.assert_allclose(tg.vmap(lambda x: count(3, x)[1])(xs), xs**3)
    np.testing.assert_allclose(tg.vmap(tg.grad(lambda x: count(3, x)[1]))(xs), 3 * xs**2)
    both = tg.vmap(tg.vmap(lambda n, x: count(n, x)[1], (0, None)), (None, 0))(ns, xs)
    np.testing.assert_allclose(both, xs[:, None] ** ns)
    shared = tg.grad(lambda x: np.sum(tg.vmap(lambda n: count(n, x)[1])(ns)))(2.0)
    np.testing.assert_allclose(shared, np.sum(ns * 2.0 ** (ns - 1.0)))


def test_the_derivative_of_a_loop_inside_a_linear_rule() -> None:
    """A custom_jvp rule is transposed as a linear map, and with it the derivatives of the loop that it takes."""
    power = lambda x: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * x), (0, x * x))[1]
    slope = tg.custom_jvp(tg.grad(power))
    slope.defjvp(lambda primals, tangents: (slope(*primals), tg.jvp(tg.grad(power), primals, tangents)[1]))
    np.testing.assert_allclose(tg.grad(slope)(1.5), 20 * 1.5**3)
    np.testing.assert_allclose(tg.jit(tg.vmap(tg.grad(tg.grad(power))))(SQUARES), 20 * SQUARES**3)


@pytest.mark.parametrize("mode", ["grad", "jacfwd", "hessian"])
def test_while_against_jax(mode: str) -> None:
    """jax has no reverse mode here: its forward mode is the truth."""

    def make(np: Any, while_loop: Any) -> Callable[[Any], Any]:
        step = lambda c: (c[0] + 1, np.tanh(c[1] @ W) + c[2], c[2] * 0.9)
        return lambda h: np.sum(while_loop(lambda c: c[0] < 4, step, (0, h, h * h))[1] ** 2)

    theirs = {"grad": jax.jacfwd, "jacfwd": jax.jacfwd, "hessian": lambda f: jax.jacfwd(jax.jacfwd(f))}[mode]
    expected = theirs(make(jnp, jax.lax.while_loop))(H)
    ours = make(np, lax.while_loop)
    near(getattr(tg, mode)(ours)(H), expected)
    near(tg.jit(getattr(tg, mode)(ours))(H), expected)
    near(getattr(tg, mode)(tg.jit(ours))(H), expected)


def long(w: Any, s: Any, memory: Any = None, steps: int = 20_000) -> Any:
    step = lambda c: (c[0] + 1, np.tanh(w * c[1]))
    return np.sum(lax.while_loop(lambda c: c[0] < steps, step, (0, s), memory=memory)[1])


def test_reverse_mode_within_a_budget() -> None:
    w, s = np.full(128, 1.0001), np.linspace(-1.0, 1.0, 128)
    full = tg.grad(long, (0, 1))(w, s)
    for memory, steps in (("400kB", 20_000), (4 * 1032, 60)):
        expected = full if steps == 20_000 else tg.grad(lambda w, s: long(w, s, None, 60), (0, 1))(w, s)
        f = tg.grad(lambda w, s, m=memory, n=steps: long(w, s, m, n), (0, 1))
        f(w, s)
        tracemalloc.start()
        found = f(w, s)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)
        assert peak < size_in_bytes(memory) + 150_000  # what tracing and compiling take
    with pytest.raises(
        ValueError, match=r"lax.while_loop at .*test_scan\.py.*: memory must be a number of bytes, got 'much'"
    ):
        long(w, s, "much")
    with pytest.raises(ValueError, match=r"three states of 1032 bytes are the least.*memory=3096 or more"):
        tg.grad(lambda w: long(w, s, 2000, 10))(w)


@pytest.mark.parametrize("slots", [3, 4, 5, 9, 40])
def test_states_come_backwards_within_their_slots(slots: int) -> None:
    step = lambda n, limit: (n + 1,)
    for count in (0, 1, 2, 3, 7, 20, 100):
        found = [n for (n,) in states_backwards((0,), (1,), step, count, slots)]
        assert found == list(range(count))[::-1]


# ---------------------------------------------------------------------------------------------------------------------
# Loops made of them.


def test_fori_loop() -> None:
    def make(np: Any, fori_loop: Any) -> Callable[..., Any]:
        return lambda x, lower, upper: fori_loop(lower, upper, lambda i, v: np.sin(v) * x + i, x)

    ours, theirs = make(np, lax.fori_loop), make(jnp, jax.lax.fori_loop)
    expected = jax.grad(lambda x: theirs(x, 1, 5))(0.5)
    near(tg.grad(ours)(0.5, 1, 5), expected)
    near(tg.jit(tg.grad(ours))(0.5, 1, 5), expected)  # bounds that are not known
    near(tg.jit(tg.grad(ours), static_argnums=(1, 2))(0.5, 1, 5), expected)
    near(tg.grad(ours)(0.5, 5, 1), np.float64(1.0))
    near(tg.vmap(ours, (None, 0, None))(0.5, np.array([0, 1]), 5), np.array([ours(0.5, 0, 5), ours(0.5, 1, 5)]))


def test_map() -> None:
    near(lax.map(lambda x: {"a": x * 2.0}, XS)["a"], XS * 2.0)
    near(lax.map(lambda x: x[0] + x[1], (XS, XS), batch_size=2), XS * 2.0)
    near(tg.grad(lambda x: np.sum(lax.map(np.sin, x) ** 2))(XS), 2 * np.sin(XS) * np.cos(XS))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("count", range(1, 10))
def test_associative_scan(count: int, reverse: bool) -> None:
    matrices = RNG.normal(size=(2, count, 2, 2))
    rotate = lambda np: lambda a, b: {"m": b["m"] @ a["m"], "s": a["s"] + b["s"]}
    elements = {"m": np.moveaxis(matrices, 1, 1), "s": matrices[:, :, 0, 0]}
    scan = lambda elements: jax.lax.associative_scan(rotate(jnp), elements, reverse=reverse, axis=1)
    expected = run_with_numpy(scan, elements)
    near(lax.associative_scan(rotate(np), elements, reverse=reverse, axis=1), expected)
    f = lambda lib, np: lambda x: np.sum(lib.lax.associative_scan(np.multiply, x, reverse=reverse) ** 2)
    near(tg.jit(tg.grad(f(tg, np)))(matrices[0]), run_with_numpy(jax.grad(f(jax, jnp)), matrices[0]))


# ---------------------------------------------------------------------------------------------------------------------
# Errors.


def error(f: Callable[[], Any], kind: type[Exception]) -> str:
    with pytest.raises(kind) as caught:
        f()
    return str(caught.value).replace(__file__, "FILE")


def test_errors() -> None:
    pair = lambda c, x: (c, x)
    assert "lax.scan at FILE:" in error(lambda: lax.scan(lambda c, x: c, 0.0, XS), TypeError)
    assert "must return a pair (carry, y), got f64~[]" in error(lambda: lax.scan(lambda c, x: c, 0.0, XS), TypeError)
    text = error(lambda: lax.scan(pair, 0.0, {"a": XS, "b": XS[:3]}), ShapeError)
    assert "xs['b'], f64[3,2], has 3 elements, but xs['a'] has 5; all must have equally many" in text
    assert "xs['b'] is f64[], without an axis" in error(
        lambda: lax.scan(pair, 0.0, {"a": XS, "b": XS[0, 0]}), ShapeError
    )
    assert "has 5 elements, but length=4" in error(lambda: lax.scan(pair, 0.0, XS, length=4), ShapeError)
    assert "write length=n" in error(lambda: lax.scan(pair, 0.0), ShapeError)
    text = error(lambda: lax.scan(lambda c, x: ({"h": c["h"][:2]}, None), {"h": H}, XS), ShapeError)
    assert "the carry['h'] goes into" in text and "as f64[3] and comes out as f64[2]" in text
    text = error(lambda: lax.scan(lambda c, x: ((c, c), None), H, XS), ShapeError)
    assert "return a carry of the structure of the initial one" in text
    assert "as f64[3] and comes out as f64[]" in error(lambda: lax.while_loop(np.any, np.sum, H), ShapeError)
    text = error(lambda: lax.while_loop(lambda c: c > 0, lambda c: c, H), ShapeError)
    assert "must return one boolean, got bool[3]; write a comparison, or np.any(...)" in text
    assert "must return one boolean, got f64[]" in error(lambda: lax.while_loop(np.sum, lambda c: c, H), ShapeError)
    text = error(lambda: lax.fori_loop(0, 2.5, lambda i, c: c, 0.0), DtypeError)
    assert "upper must be an integer scalar, got f64~[]; write int(x)" in text
    text = error(lambda: lax.associative_scan(np.add, (XS, XS[:2])), ShapeError)
    assert "equally many elements along axis 0, got f64[5,2], f64[2,2]" in text
    for f in (lax.scan, lax.while_loop, lax.fori_loop, lax.map, lax.associative_scan):
        with pytest.raises(TypeError, match=r"takes a function, got the float"):
            f(*[1.0] * 4) if f in (lax.fori_loop,) else f(
                1.0, *[0.0] * (1 if f in (lax.map, lax.associative_scan) else 2)
            )
    with pytest.raises(ConcretizationTypeError, match=r"test_scan\.py"):
        lax.scan(lambda c, x: (c if x[0] > 0 else -c, None), 0.0, XS)


def test_an_error_in_a_body_leaves_nothing_behind() -> None:
    def step(c: Any, x: Any) -> Any:
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        lax.scan(step, 0.0, XS)
    with pytest.raises(np.linalg.LinAlgError, match="Singular"):
        lax.scan(lambda c, _: (np.linalg.inv(c), None), np.zeros((2, 2)), None, length=2)
    near(lax.scan(lambda c, _: (c + 1.0, None), 0.0, None, length=2)[0], np.float64(2.0))


# Memory that is made once for a run of a loop. Arrays of 2 KB and more are what it is made for.


def _swapped(c: Any) -> Any:
    return {"a": c["b"], "b": np.tanh(c["a"]) * c["b"] + c["b"]}


def _turned(c: Any) -> Any:
    return {"a": np.sin(c["a"]) * c["b"] + c["a"], "b": np.cos(c["b"] + c["a"])}


def _viewed(c: Any) -> Any:
    a = np.sin(c["a"]) + c["b"]
    return {"a": a, "b": a.T}


def _kept(c: Any) -> Any:
    return {"a": np.sin(c["a"]) @ c["b"] * 0.1, "b": c["b"]}


def _multiplied(c: Any) -> Any:
    return {"a": (c["a"] @ c["b"]) @ c["a"] * 0.01, "b": (c["b"] @ c["a"]).T * 0.01}


def _twice(c: Any) -> Any:
    a = np.sin(c["a"] * c["b"])
    return {"a": a, "b": a}


@pytest.mark.parametrize("size", [4, 24, 400])
@pytest.mark.parametrize("body", [_swapped, _turned, _viewed, _kept, _multiplied, _twice])
def test_carries_in_memory_made_once(body: Any, size: int) -> None:
    rng = np.random.default_rng(0)
    start = {"a": rng.normal(size=(size, size)), "b": rng.normal(size=(size, size))}
    before = {k: v.copy() for k, v in start.items()}
    for steps in (0, 1, 2, 5):
        expected = start
        rows = []
        for _ in range(steps):
            rows.append(expected["a"])
            expected = body(expected)
        by_scan = tg.jit(lambda c, n=steps: tg.lax.scan(lambda c, _: (body(c), c["a"]), c, None, length=n))
        (got, stacked), again = by_scan(start), by_scan(start)
        by_while = tg.lax.while_loop(lambda s: s[0] < steps, lambda s: (s[0] + 1, body(s[1])), (0, start))[1]
        for k in start:
            np.testing.assert_array_equal(got[k], expected[k])
            np.testing.assert_array_equal(again[0][k], expected[k])
            np.testing.assert_array_equal(by_while[k], expected[k])
            np.testing.assert_array_equal(start[k], before[k])
        np.testing.assert_array_equal(stacked, np.reshape(rows, (steps, size, size)))
        arrays = [*got.values(), *again[0].values(), stacked, again[1], *by_while.values(), *start.values()]
        assert not any(np.shares_memory(x, y) for i, x in enumerate(arrays) for y in arrays[i + 1 :])


def test_a_step_computes_in_memory_made_before() -> None:
    def body(c: Any, x: Any) -> Any:
        c = np.tanh(np.sin(c) @ c * 0.01 + x * c)
        return c, c * 2.0

    graph = tg.make_graph(lambda c, xs: tg.lax.scan(body, c, xs))(np.full((64, 64), 0.1), np.full((5, 64, 64), 0.2))
    (scan,) = graph.eqns
    turned, step = prepared(scan.params["body"], 1)
    assert turned == [0]
    made = [line.split("#")[0].split(";")[0].strip() for line in step.source.split("\n") if "  # test_scan" in line]
    targets = [line[:-1].split(", ")[-1] for line in made]
    assert targets == ["spare0", "spare1", "d", "c", "e", "out0", "out1"], step.source


def test_a_length_that_is_no_int() -> None:
    with pytest.raises(
        TypeError, match=r"lax.scan at \S+test_scan.py.*length, the number of steps, must be an int, got 2.5"
    ):
        tg.lax.scan(lambda c, e: (c, None), 0.0, None, length=2.5)  # type: ignore[arg-type]
