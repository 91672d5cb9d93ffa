"""scan: against jax, against loops in Python, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.notes import Notes
from tracegrad import lax
from tracegrad.core.check import check
from tracegrad.core.errors import ConcretizationTypeError, DtypeError, ShapeError

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
    calls = Notes()

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
    assert [e.op.name for e in first.params["body"].eqns] == ["multiply", "tanh", "sech_squared"]
    assert "tanh" not in [e.op.name for e in second.params["body"].eqns]


@pytest.mark.parametrize(
    ("step", "names", "left", "kept"),
    [
        # What is made of a carry that nothing else reads is kept in its place,
        (lambda np, h, x: np.sin(h) * x, ["sin", "multiply", "cos"], "multiply", 1),
        # and not what takes more room than that,
        (lambda np, h, x: np.sin(h) * h, ["sin", "multiply"], "cos", 2),
        (lambda np, h, x: np.log(2 + h) * h, ["add", "log", "multiply"], "divide", 3),
        # or what is made of elements, which the loop has anyhow.
        (lambda np, h, x: h * np.sin(np.sin(x)), ["sin", "sin", "multiply"], "multiply", 1),
    ],
)
def test_derivatives_that_wait_for_no_cotangent_are_computed_where_that_keeps_no_more(
    step: Callable[..., Any], names: list[str], left: str, kept: int
) -> None:
    def last(np: Any, lax: Any) -> Callable[..., Any]:
        return lambda h: np.sum(lax.scan(lambda h, x: (step(np, h, x), None), h, XS[:, 0])[0])

    start = np.array([0.4, 0.7])
    graph = tg.make_graph(tg.grad(last(np, lax)))(start)
    check(graph)
    first, second = [e for e in graph.eqns if e.op.name == "scan"]
    assert [e.op.name for e in first.params["body"].eqns] == names
    assert left in [e.op.name for e in second.params["body"].eqns]
    assert len(first.outputs) == 1 + kept
    near(tg.grad(last(np, lax))(start), jax.grad(last(jnp, jax.lax))(start))


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


def test_a_length_that_is_no_int() -> None:
    with pytest.raises(
        TypeError, match=r"lax.scan at \S+test_scan.py.*length, the number of steps, must be an int, got 2.5"
    ):
        tg.lax.scan(lambda c, e: (c, None), 0.0, None, length=2.5)  # type: ignore[arg-type]
