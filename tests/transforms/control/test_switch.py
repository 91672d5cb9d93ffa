"""cond and switch: which function is called, the one equation where that is not known, and the rows of a batch. What the
transforms make of them, one to three deep, test_lattice.py compares with jax."""

from __future__ import annotations

import itertools
import re
import tracemalloc
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.jaxprs import run_with_numpy
from tracegrad import lax
from tracegrad.core.check import check
from tracegrad.core.context import context
from tracegrad.core.errors import (
    ConcretizationTypeError,
    DifferentiationError,
    DtypeError,
    ShapeError,
    UnexpectedTracerError,
)
from tracegrad.core.graph import Graph
from tracegrad.core.op import OPS
from tracegrad.ops.collective import axis_index, psum

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)
jnp = jax.numpy

X = np.array([[0.3, -1.2, 2.0], [0.5, 0.4, -0.1], [-1.0, -2.0, 0.5], [1.5, 0.2, 0.9]])
VECTOR = tg.ShapeDtypeStruct((3,), float)
NUMBER = tg.ShapeDtypeStruct((), float)


def names(graph: Graph) -> list[str]:
    return [e.op.name for e in graph.eqns]


def everywhere(graph: Graph) -> list[str]:
    """The names of all ops, those in the Graphs that equations hold included."""
    found = names(graph)
    for eqn in graph.eqns:
        for value in eqn.params.values():
            for part in value if type(value) is tuple else (value,):
                found += everywhere(part) if type(part) is Graph else []
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Against jax. `lib` is tg or jax, `xp` np or jnp.


def chosen(lib: Any, xp: Any) -> Any:
    def f(x: Any) -> Any:
        y = xp.sin(x)
        return lib.lax.cond(x[0] > 0, lambda x: xp.sum(x * y**2), lambda x: xp.prod(x) + y[1], x)

    return f


def third(lib: Any, xp: Any) -> Any:
    def f(x: Any) -> Any:
        index = xp.floor(2.0 * x[0]).astype(int)  # -2 to 3, of branches 0 to 2
        return lib.lax.switch(
            index, [lambda a, b: a @ b, lambda a, b: xp.exp(a[0]), lambda a, b: a[1] * b[2] ** 3], x, x * x
        )

    return f


def nested(lib: Any, xp: Any) -> Any:
    def f(x: Any) -> Any:
        def inner(x: Any) -> Any:
            return lib.lax.cond(xp.sum(x) > 1.0, lambda: xp.sum(x**3), lambda: xp.sum(xp.cos(x)) * x[0])

        return lib.lax.cond(x[1] > 0, inner, lambda x: x[0] * x[2], 0.7 * x)

    return f


def jvp(lib: Any, f: Any) -> Any:
    return lambda x: lib.jvp(f, (x,), (1.0 + 0.5 * x,))[1]


def total(lib: Any, f: Any) -> Any:
    """A scalar of whatever the function returns."""
    return lambda x: (f(x) ** 2).sum() if f(x).ndim else f(x)


TRANSFORMS: dict[str, Any] = {
    "jit": lambda lib, f: lib.jit(f),
    "grad": lambda lib, f: lib.grad(total(lib, f)),
    "jvp": jvp,
    "hessian": lambda lib, f: lib.hessian(total(lib, f)),
    "vmap": lambda lib, f: lib.vmap(f),
}
ORDERS = [
    o
    for n in (1, 2, 3)
    for o in itertools.product(TRANSFORMS, repeat=n)
    if (n < 3 or "jit" in o) and o.count("hessian") < 2
]


def transformed(lib: Any, f: Any, order: tuple[str, ...]) -> Any:
    """The first transform outermost."""
    for name in reversed(order):
        f = TRANSFORMS[name](lib, f)
    return f


def argument(order: tuple[str, ...]) -> Any:
    x = X if "vmap" in order else X[1]
    for k in range(order.count("vmap") - 1):
        x = np.stack([x, x[::-1] * (0.9 - 0.1 * k)])
    return x


@pytest.mark.parametrize("make", [chosen, third, nested], ids=lambda f: f.__name__)
def test_in_every_order_three_deep(make: Any) -> None:
    """jit makes no difference to the truth, so jax does without it."""
    truths: dict[Any, Any] = {}
    for order in ORDERS:
        plain = tuple([t for t in order if t != "jit"])
        if plain not in truths:
            truths[plain] = run_with_numpy(transformed(jax, make(jax, jnp), plain), argument(plain))
        near(transformed(tg, make(tg, np), order)(argument(plain)), truths[plain], 1e-10)


@pytest.mark.parametrize("index", [-5, 0, 1, 2, 7])
def test_the_nearest_branch(index: int) -> None:
    def f(lib: Any, xp: Any) -> Any:
        return lambda i, x: lib.lax.switch(i, [xp.sin, xp.cos, xp.exp], x)

    expected = np.asarray(f(jax, jnp)(index, 0.5))
    near(np.float64(f(tg, np)(index, 0.5)), expected)
    near(np.float64(tg.jit(f(tg, np))(index, 0.5)), expected)
    near(tg.vmap(f(tg, np), (None, 0))(index, np.full(2, 0.5)), np.full(2, expected))
    near(tg.vmap(f(tg, np), (0, None))(np.array([index]), 0.5), expected[None])
    near(tg.vmap(f(tg, np), (0, None))(np.array([index], np.int8), 0.5), expected[None])
    near(tg.jit(f(tg, np))(np.uint8(max(index, 0)), 0.5), np.asarray(f(jax, jnp)(max(index, 0), 0.5)))


@pytest.mark.parametrize(
    "pred", [True, False, 2, 0, 0.5, 0.0, -1, np.bool(True), np.int8(0), np.float32(0.1), np.array(0)]
)
def test_predicates(pred: Any) -> None:
    f = lambda lib: lambda p, x: lib.lax.cond(p, lambda x: x + 1, lambda x: x - 1, x)
    expected = np.asarray(f(jax)(pred, 3.0))
    near(np.float64(f(tg)(pred, 3.0)), expected)
    near(np.float64(tg.jit(f(tg))(pred, 3.0)), expected)
    near(tg.vmap(f(tg), (0, None))(np.array([pred, pred]), 3.0), np.stack([expected] * 2))


# ---------------------------------------------------------------------------------------------------------------------
# What is traced, and what is run.


def counted(log: list[str], name: str, f: Any) -> Any:
    def function(*args: Any) -> Any:
        log.append(name)
        return f(*args)

    return function


def test_a_known_choice_calls_one_function() -> None:
    log: list[str] = []
    branches = [counted(log, name, f) for name, f in (("sin", np.sin), ("cos", np.cos))]
    f = lambda x: lax.cond(x > 0, *branches, x)
    g = lambda x: lax.switch(x.astype(int), branches, x)
    for transform in (lambda h: h, tg.grad, lambda h: tg.grad(tg.grad(h)), lambda h: lambda x: tg.jvp(h, (x,), (x,))):
        for h, x, expected in (
            (f, 1.5, "sin"),
            (f, -0.5, "cos"),
            (g, np.float64(0.5), "sin"),
            (g, np.float64(9.0), "cos"),
        ):
            transform(h)(x)
            assert log == [expected]
            log.clear()
    assert names(tg.make_graph(f)(1.5)) == ["sin"]
    log.clear()
    lax.cond(True, branches[0], None.__class__, 1.0)  # a class is as good a function
    assert log == ["sin"]
    assert tg.jit(lambda x: lax.cond(x.ndim == 1, lambda: 1, lambda: 1 / 0))(X[0]) == 1


def test_each_branch_is_traced_once() -> None:
    log: list[str] = []
    branches = [counted(log, name, f) for name, f in (("sin", np.sin), ("cos", np.cos), ("exp", np.exp))]
    f = tg.jit(tg.hessian(lambda i, x: lax.switch(i, branches, x), argnums=1))
    for i in range(4):
        near(np.float64(f(i, 0.5)), [-np.sin(0.5), -np.cos(0.5), np.exp(0.5), np.exp(0.5)][i])
    assert log == ["sin", "cos", "exp"]
    log.clear()
    tg.vmap(tg.grad(lambda x: lax.cond(x > 0, *branches[:2], x)))(X[0])
    assert log == ["sin", "cos"]


def test_one_equation_and_how_it_prints() -> None:
    def halve(x: Any) -> Any:
        return x / 2.0

    graph = tg.make_graph(lambda x: lax.cond(np.sum(x) > 0, lambda x: x * x, halve, x))(VECTOR)
    check(graph)
    text = re.sub(r" *# .*", "", str(graph))
    assert (
        text
        == """\
graph <lambda>(a:f64[3]=x) {
  b:f64[] = sum[axes=(0,), keepdims=False] a
  c:bool[] = greater b 0
  d:f64[3] = switch[branches=(halve, true_fun)] c a
  return d
}
graph halve(a:f64[3]=x) {
  b:f64[3] = multiply a 0.5
  return b
}
graph true_fun(a:f64[3]=x) {
  b:f64[3] = multiply a a
  return b
}"""
    )
    near(graph(X[0]), (X[0] ** 2,))
    near(graph(-X[0]), (-X[0] / 2,))
    assert "test_switch.py" in graph.eqns[-1].source.file


def test_a_constant_choice_is_its_branch() -> None:
    f = tg.jit(lambda p, x: lax.cond(p != 0, np.sin, np.cos, x))
    g = tg.jit(lambda x: f(True, x) + f(0.0, x) * f(3, x))
    assert names(g.lower(X[0]).graph) == ["sin", "cos", "multiply", "add"]
    near(g(X[0]), np.sin(X[0]) + np.cos(X[0]) * np.sin(X[0]))
    h = tg.jit(lambda i, x: lax.switch(i, [np.sin, np.cos, np.exp], x))
    assert names(tg.jit(lambda x: h(-3, x) + h(8, x)).lower(X[0]).graph) == ["sin", "exp", "add"]


def test_reverse_mode_computes_nothing_again() -> None:
    f = lambda x: lax.cond(
        np.sum(x) > 0, lambda x: np.sum(np.exp(np.sin(x))), lambda x: np.sum(np.tanh(x) * np.exp(x)), x
    )
    graph = tg.make_graph(tg.grad(f))(VECTOR)
    forward, backward = [e for e in graph.eqns if e.op.name == "switch"]
    for k, (again, kept) in enumerate(((["exp", "tanh"], 2), (["exp", "sin"], 2))):
        assert set(again) <= set(names(forward.params["branches"][k]))
        assert not {"exp", "tanh", "sin"} & set(names(backward.params["branches"][k]))
        assert len(forward.outputs) == 1 + kept  # the branches share the slots
    check(graph)
    near(tg.jit(tg.grad(f))(X[0]), jax.grad(lambda x: jnp.sum(jnp.exp(jnp.sin(x))))(X[0]))


def test_what_a_branch_does_to_a_traced_value_from_outside_is_in_the_branch() -> None:
    f = lambda x: lax.cond(x > 0, lambda: np.log(x), lambda: np.sqrt(-x))
    graph = tg.make_graph(f)(NUMBER)
    assert names(graph) == ["greater", "switch"]
    assert names(graph.eqns[1].params["branches"][1]) == ["log"]
    x = np.array([2.0, -3.0])
    expected = np.array([1 / 2.0, -0.5 / np.sqrt(3.0)])
    near(tg.vmap(tg.grad(f))(x), expected)
    near(tg.grad(lambda x: np.sum(tg.vmap(f)(x)))(x), expected)
    near(tg.jit(tg.grad(f))(x[1]), expected[1])
    # Through transforms in the branch, and in a branch of the branch.
    g = lambda x: lax.cond(
        x > 0, lambda: tg.grad(lambda y: np.log(x) * y * y)(x), lambda: tg.jit(lambda: np.sqrt(-x))()
    )
    assert names(tg.make_graph(g)(NUMBER)) == ["greater", "switch"]
    h = lambda x: lax.cond(
        x > 0, lambda: lax.cond(x > 1, lambda: np.log(x - 1), lambda: np.sqrt(1 - x)), lambda: np.log(-x)
    )
    assert names(tg.make_graph(h)(NUMBER)) == ["greater", "switch"]
    near(tg.vmap(tg.grad(h))(np.array([3.0, 0.75, -2.0])), np.array([0.5, -1.0, -0.5]))


# ---------------------------------------------------------------------------------------------------------------------
# Rows.


def test_rows_are_computed_by_the_branch_that_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: dict[str, list[Any]] = {"sin": [], "cos": [], "exp": []}
    for name, log in sizes.items():

        def evaluate(x: Any, log: Any = log, name: Any = name) -> Any:
            log.append(np.shape(x))
            return getattr(np, name)(x)

        monkeypatch.setattr(OPS[name], "evaluate", evaluate)
    f = lambda i, x: lax.switch(i, [lambda x: np.sin(x), lambda x: np.cos(x), lambda x: np.exp(x)], x)
    index = np.array([1, 0, 1, 1])
    found = tg.vmap(f)(index, X)
    assert sizes == {"sin": [(1, 3)], "cos": [(3, 3)], "exp": []}
    near(found, np.where(index[:, None] == 1, np.cos(X), np.sin(X)))
    tg.vmap(f, (0, None))(index, X[0])  # what all rows share is computed once
    assert sizes == {"sin": [(1, 3), (3,)], "cos": [(3, 3), (3,)], "exp": []}
    tg.vmap(f, (None, 0))(0, X)
    assert sizes["sin"][2:] == [(4, 3)] and sizes["exp"] == []


@pytest.mark.parametrize("jit", [False, True])
def test_a_branch_not_taken_does_not_warn_nor_spoil_derivatives(jit: bool) -> None:
    def f(x: Any) -> Any:
        return lax.cond(x > 0, lambda x: np.log(x) + np.sqrt(x) / x, lambda x: np.exp(np.log1p(-x)), x)

    x = np.array([1.0, -1.0, 4.0, -0.5])
    exact = lambda x: 1 / x - 0.5 * x**-1.5 if x > 0 else -1.0
    second = lambda x: -1 / x**2 + 0.75 * x**-2.5 if x > 0 else 0.0
    wrap = tg.jit if jit else lambda g: g
    with np.errstate(all="raise"):
        near(wrap(tg.vmap(tg.grad(f)))(x), np.array([exact(v) for v in x]))
        near(wrap(tg.grad(lambda x: np.sum(tg.vmap(f)(x))))(x), np.array([exact(v) for v in x]))
        near(wrap(tg.vmap(tg.grad(tg.grad(f))))(x), np.array([second(v) for v in x]))
        near(wrap(tg.hessian(lambda x: np.sum(tg.vmap(f)(x))))(x), np.diag([second(v) for v in x]))
        near(wrap(tg.vmap(lambda x: tg.jvp(f, (x,), (1.0,))[1]))(x), np.array([exact(v) for v in x]))


def test_shared_operands_get_the_sum_of_their_cotangents() -> None:
    rng = np.random.default_rng(0)
    w, x, i = rng.normal(size=(2, 3, 3)), rng.normal(size=(5, 3)), np.array([1, 0, 2, 1, 1])

    def loss(lib: Any, xp: Any) -> Any:
        def one(i: Any, w: Any, x: Any) -> Any:
            return lib.lax.switch(i, [lambda w, x: xp.tanh(w[0] @ x), lambda w, x: w[1] @ x, lambda w, x: x], w, x)

        return lambda w, x: xp.sum(lib.vmap(one, (0, None, 0))(i, w, x) ** 2)

    near(tg.grad(loss(tg, np), (0, 1))(w, x), jax.grad(loss(jax, jnp), (0, 1))(w, x))
    near(tg.jit(tg.grad(loss(tg, np), (0, 1)))(w, x), jax.grad(loss(jax, jnp), (0, 1))(w, x))
    near(tg.jvp(tg.grad(loss(tg, np)), (w, x), (w, x)), jax.jvp(jax.grad(loss(jax, jnp)), (w, x), (w, x)))


def mixture(lib: Any, xp: Any) -> Any:
    """For each row, one of two experts, whose weights all rows share."""

    def one(i: Any, w: Any, x: Any) -> Any:
        return lib.lax.switch(i, [lambda w, x: xp.tanh(x @ w[0]) @ w[0], lambda w, x: x @ w[1]], w, x)

    return lambda i, w, x: xp.sum(lib.vmap(one, (0, None, 0))(i, w, x) ** 2)


@pytest.mark.parametrize("jit", [False, True])
def test_the_gradient_of_shared_weights_takes_no_memory_for_each_row(jit: bool) -> None:
    rng = np.random.default_rng(1)
    n, d = 300, 40
    i, w, x = rng.integers(0, 2, n), rng.normal(size=(2, d, d)), rng.normal(size=(n, d))
    gradient = tg.grad(mixture(tg, np), 1)
    gradient = tg.jit(gradient) if jit else gradient
    near(gradient(i, w, x), jax.grad(mixture(jax, jnp), 1)(i, w, x), 1e-9)
    tracemalloc.start()
    gradient(i, w, x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < n * d * d * 8 / 2  # one matrix for half the rows


@pytest.mark.parametrize("order", list(itertools.product(["grad", "jvp", "vmap", "jit"], repeat=2)))
def test_what_becomes_of_the_gradient_of_shared_weights(order: tuple[str, ...]) -> None:
    i, x = np.array([0, 1, 1, 0]), X

    def f(lib: Any, xp: Any) -> Any:
        jit = lib.jit if lib is tg else lambda g: g
        return jit(lambda w: lib.grad(mixture(lib, xp), 1)(i, w, xp.sin(x * w[0, 0])))

    w = np.linspace(-0.4, 0.5, 18).reshape(2, 3, 3)
    for k in range(order.count("vmap")):
        w = np.stack([w, (0.8 - 0.1 * k) * w])
    plain = tuple([t for t in order if t != "jit"])
    near(transformed(tg, f(tg, np), order)(w), run_with_numpy(transformed(jax, f(jax, jnp), plain), w), 1e-10)


def test_an_index_closed_over_is_read_anew() -> None:
    i, w = np.array([0, 1, 1, 0]), np.linspace(-0.4, 0.5, 18).reshape(2, 3, 3)
    f = tg.jit(lambda w: mixture(tg, np)(i, w, X))
    before = f(w)
    i[:] = 1 - i
    near(f(w), mixture(tg, np)(i, w, X))
    assert not np.allclose(f(w), before)


@pytest.mark.parametrize("axes", list(itertools.product([0, None], repeat=4)))
def test_vmap_of_vmap(axes: Any) -> None:
    """The index and the operand are mapped by the outer one, by the inner one, by both, by none."""
    outer, inner = axes[:2], axes[2:]
    if None in (max(outer, key=str), max(inner, key=str)) and (outer == (None, None) or inner == (None, None)):
        return
    index = np.array([[0, 1, 2], [2, 2, 0]])[0 if outer[0] is None else slice(None)]
    index = index if inner[0] == 0 else index[..., 0]
    x = np.linspace(0.1, 1.3, 12).reshape(2, 3, 2)[0 if outer[1] is None else slice(None)]
    x = x if inner[1] == 0 else x[..., 0, :]

    def f(lib: Any, xp: Any) -> Any:
        def one(i: Any, x: Any) -> Any:
            branches = [
                lambda x: (xp.sin(x), x[0]),
                lambda x: (x * x[::-1], x[1] ** 2),
                lambda x: (x, 1.0 + 0.0 * x[0]),
            ]
            return lib.lax.switch(i, branches, x)

        mapped = lib.vmap(lib.vmap(one, inner), outer)
        gradient = lib.grad(lambda x: xp.sum(mapped(index, x)[0] ** 2) + xp.sum(mapped(index, x)[1]))
        return lambda index, x: (mapped(index, x), gradient(x))

    expected = run_with_numpy(f(jax, jnp), index, x)
    near(f(tg, np)(index, x), expected)
    near(tg.jit(f(tg, np))(index, x), expected)


def test_no_rows() -> None:
    f = lambda x: lax.cond(x > 0, lambda x: (x, 1), lambda x: (-x, 2), x)
    a, b = tg.vmap(f)(np.zeros(0))
    assert (a.shape, b.shape, b.dtype) == ((0,), (0,), np.int64)
    assert tg.vmap(tg.grad(lambda x: f(x)[0]))(np.zeros(0)).shape == (0,)


def test_chunks() -> None:
    f = lambda x: lax.cond(x > 0.3, np.log, lambda x: x * x, x)
    x = X.ravel()
    near(tg.vmap(f, batch_size=5)(x), tg.vmap(f)(x))
    near(tg.jit(tg.vmap(tg.grad(f), batch_size=5))(x), tg.vmap(tg.grad(f))(x))


# ---------------------------------------------------------------------------------------------------------------------
# Linear functions.


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("pred", [True, False])
def test_linear_functions_are_transposed(pred: bool, known: bool) -> None:
    def linear(p: Any, c: Any) -> Any:
        return lambda x: lax.cond(p, lambda x: {"a": 2.0 * x[::-1]}, lambda x: {"a": np.sin(c) * x + x[0]}, x)

    def pulled(p: Any, c: Any, ct: Any) -> Any:
        return tg.linear_transpose(linear(p, c), X[0])({"a": ct})[0]

    expected = tg.vjp(linear(pred, 0.7), X[0])[1]({"a": X[1]})[0]
    near((pulled if known else tg.jit(pulled))(pred, 0.7, X[1]), expected)
    if not known:
        near(tg.vmap(pulled, (0, None, None))(np.array([pred, pred]), 0.7, X[1]), np.stack([expected] * 2))
        rows = np.array([pred, not pred])
        near(tg.vmap(pulled, (0, 0, None))(rows, rows * 1.0, X[1])[0], pulled(pred, float(pred), X[1]))
    graph = tg.make_graph(tg.jit(pulled))(NUMBER, NUMBER, VECTOR)
    check(graph)


def test_what_is_linear_in_one_operand_is_pulled_back_without_its_value() -> None:
    f = tg.jit(lambda p, x: lax.cond(p, lambda x: np.cumsum(x) * 2.0, lambda x: x[::-1], x))
    pull = tg.jit(lambda p, ct: tg.vjp(lambda x: f(p, x), X[0])[1](ct)[0])
    near(pull(True, X[1]), 2.0 * np.cumsum(X[1][::-1])[::-1])
    near(pull(False, X[1]), X[1][::-1])


@pytest.mark.parametrize("branch", [lambda x: x + 1.0, lambda x: x * x, lambda x: np.ones(3), lambda x: np.sin(x)])
def test_what_is_not_linear_is_not_transposed(branch: Any) -> None:
    f = lambda p, ct: tg.linear_transpose(lambda x: lax.cond(p, lambda x: 2.0 * x, branch, x), X[0])(ct)
    with pytest.raises(
        DifferentiationError, match=r"linear_transpose needs a linear function, but switch of .* at .*py:"
    ):
        tg.jit(f)(True, X[0])


# ---------------------------------------------------------------------------------------------------------------------
# Named axes.


@pytest.mark.parametrize("axes", list(itertools.product([0, None], repeat=2)))
def test_collectives_in_branches(axes: Any) -> None:
    """Of two named axes; the predicate is mapped over either, both, none. Derivatives against differences: jax's are
    wrong where the predicate is mapped (it transposes the sum over an axis as if all took the branch)."""
    p = np.array([[True, False, True], [False, True, True]])
    p = p[0 if axes[0] is None else slice(None)][..., 0 if axes[1] is None else slice(None)]
    x = np.arange(6.0).reshape(2, 3) * 0.3 + 0.1

    def mapped(lib: Any, sum_over: Any) -> Any:
        def one(x: Any, p: Any) -> Any:
            return lib.lax.cond(p, lambda x: sum_over(x, "i") * x, lambda x: x**2 - sum_over(x, "j"), x)

        return lib.vmap(lib.vmap(one, (0, axes[1]), axis_name="j"), (0, axes[0]), axis_name="i")

    ours = mapped(tg, psum)
    near(ours(x, p), mapped(jax, jax.lax.psum)(x, p))
    near(tg.jit(ours)(x, p), ours(x, p))
    loss = lambda x: np.sum(ours(x, p) ** 2)
    slopes = [(loss(x + d) - loss(x - d)) / 2e-5 for d in 1e-5 * np.eye(6).reshape(6, 2, 3)]
    for gradient in (tg.grad(loss), tg.jit(tg.grad(loss)), tg.grad(tg.jit(loss))):
        near(gradient(x), np.reshape(slopes, (2, 3)), 1e-7)
    assert context.bound == ()


@pytest.mark.parametrize("nesting", ["axis inside", "axis outside", "axis outside, which chooses too"])
def test_collectives_of_rows_that_share_weights(nesting: str) -> None:
    """The index of a row is mapped by another axis than the one that the branches sum over, or by both."""
    i, w = np.array([0, 1]), np.linspace(-0.4, 0.5, 18).reshape(2, 3, 3)

    def one(i: Any, w: Any, x: Any) -> Any:
        return lax.switch(i, [lambda w, x: x @ w[0] + psum(x, "j"), lambda w, x: psum(x @ w[1], "j") * x], w, x)

    def mapped(i: Any, w: Any) -> Any:
        inner = lambda f, x: tg.vmap(f, axis_name="j")(x)
        if nesting == "axis inside":
            return tg.vmap(lambda i: inner(lambda x: one(i, w, x), X))(i)
        if nesting == "axis outside":
            return np.swapaxes(inner(lambda x: tg.vmap(lambda i: one(i, w, x))(i), X), 0, 1)
        rows = tg.vmap(lambda x, i: tg.vmap(lambda i: one(i, w, x))(i), axis_name="j")(X, np.stack([i] * len(X)))
        return np.swapaxes(rows, 0, 1)

    plain = [X @ w[0] + X.sum(0), (X @ w[1]).sum(0) * X]
    near(mapped(i, w), np.stack(plain))
    near(tg.jit(mapped)(i, w), np.stack(plain))
    loss = lambda i, w: np.sum(mapped(i, w) ** 2)
    slopes = [(loss(i, w + d) - loss(i, w - d)) / 2e-5 for d in 1e-5 * np.eye(18).reshape(18, 2, 3, 3)]
    for gradient in (tg.grad(loss, 1), tg.jit(tg.grad(loss, 1)), tg.grad(tg.jit(loss), 1)):
        near(gradient(i, w), np.reshape(slopes, w.shape), 1e-7)


def test_the_pullback_of_shared_weights_is_transposed() -> None:
    i, w = np.array([0, 1, 1, 0]), np.linspace(-0.4, 0.5, 18).reshape(2, 3, 3)
    branches = [lambda w, x: np.tanh(x @ w[0]), lambda w, x: x @ w[1]]
    rows = lambda i, w: tg.vmap(lambda i, x: lax.switch(i, branches, w, x))(i, X)

    def pushed(i: Any, w: Any, t: Any) -> Any:
        pull = lambda ct: tg.vjp(lambda w: rows(i, w), w)[1](ct)[0]
        return tg.linear_transpose(pull, np.zeros((4, 3)))(t)[0]

    near(tg.jit(pushed)(i, w, np.sin(w)), tg.jvp(lambda w: rows(i, w), (w,), (np.sin(w),))[1])


def test_a_collective_ties_the_choice_to_its_axis() -> None:
    """Where nothing else that the equation reads depends on the axis."""
    f = lambda p, x: tg.vmap(lambda _: lax.cond(p, lambda: axis_index("i") * x, lambda: x), axis_name="i")(
        np.arange(3.0)
    )
    for p in (True, False):
        assert tg.jit(f)(p, 2.0).tolist() == f(p, 2.0).tolist() == ([0.0, 2.0, 4.0] if p else [2.0] * 3)
    with pytest.raises(NameError, match="no axis named 'i' is being mapped over"):
        tg.jit(lambda p, x: lax.cond(p, lambda x: psum(x, "i"), lambda x: x, x))(True, 1.0)


# ---------------------------------------------------------------------------------------------------------------------
# Pytrees, closures, dtypes, memory.


@pytest.mark.parametrize("wrap", [lambda f: f, tg.jit], ids=["values", "types"])
def test_pytrees_closures_and_integers(wrap: Any) -> None:
    array = np.arange(3)

    def f(lib: Any, xp: Any) -> Any:
        def g(p: Any, n: Any, tree: Any) -> Any:
            scaled = tree["x"] * 2.0
            true = lambda t, n: {"a": (t["x"] * scaled, None), "n": n + 1, "c": xp.asarray(array) * n}
            false = lambda t, n: {"a": (t["x"] - t["y"][0], None), "n": n - 1, "c": xp.asarray(array)}
            return lib.lax.cond(p, true, false, tree, n)

        return g

    argument = {"x": X[0], "y": [np.float64(2.0), None]}
    for p in (True, False):
        found = wrap(f(tg, np))(p, 3, argument)
        assert found["a"][1] is None
        near(found, f(jax, jnp)(p, 3, argument))
        loss = lambda lib, xp: lambda t: xp.sum(f(lib, xp)(p, 3, t)["a"][0] ** 2)
        gradient = wrap(tg.grad(loss(tg, np)))(argument)
        assert gradient["y"][1] is None
        near(gradient, jax.grad(loss(jax, jnp))(argument))
        out, pull = tg.vjp(lambda t: wrap(f(tg, np))(p, 3, t), argument)
        cts = {"a": (X[1], None), "n": np.zeros((), tg.float0), "c": np.zeros(3, tg.float0)}
        near(pull(cts)[0], jax.vjp(lambda t: f(jax, jnp)(p, 3, t)["a"][0], argument)[1](X[1])[0])
    array[:] = 7  # arrays closed over are read anew
    assert wrap(f(tg, np))(False, 3, argument)["c"].tolist() == [7, 7, 7]


def test_a_tracer_closed_over_gets_its_derivative() -> None:
    f = lambda s: np.sum(tg.vmap(lambda x: lax.cond(x > 0, lambda x: x * s * s, lambda x: x * s**3, x))(X[0]))
    up, down = X[0][X[0] > 0].sum(), X[0][X[0] <= 0].sum()
    near(tg.grad(f)(2.0), np.float64(4.0 * up + 12.0 * down))
    near(tg.hessian(f)(2.0), np.float64(2.0 * up + 12.0 * down))
    near(tg.jit(tg.grad(f))(2.0), np.float64(4.0 * up + 12.0 * down))
    g = lambda p, s: tg.jit(lambda x: lax.cond(p, lambda x: x * s, lambda x: x, x))(3.0)
    near(tg.vmap(tg.grad(g, 1))(np.array([True, False]), np.array([1.0, 2.0])), np.array([3.0, 0.0]))


def test_operand_by_name_and_no_operands() -> None:
    for lib in (tg, jax):
        assert lib.lax.cond(True, lambda x: x, lambda x: -x, operand=3.0) == 3.0
        assert lib.lax.switch(1, [lambda x: x, lambda x: -x], operand=3.0) == -3.0
        assert lib.lax.cond(True, lambda x: 1 if x is None else 3, lambda x: 2, operand=None) == 1
        assert lib.jit(lambda p: lib.lax.cond(p, lambda: 1.0, lambda: 2.0))(False) == 2.0
        assert lib.jit(lambda p: lib.lax.cond(p, lambda x: None, lambda x: None, 1.0))(False) is None
        assert lib.jit(lambda i, x: lib.lax.switch(i, [lambda x: x + 1], x))(4, 1.0) == 2.0


@pytest.mark.parametrize(
    ("one", "two", "dtype"),
    [
        (np.float32(1), np.float32(2), "float32"),
        (np.float32(1), 2.0, "float32"),
        (np.float32(1), 2, "float32"),
        (np.float32(1), np.float64(2), "float64"),
        (np.int8(1), np.float32(2), "float32"),
        (np.int8(1), 2, "int8"),
        (np.int8(1), 2.5, "float64"),
        (1, 2.5, "float64"),
        (True, 2, "int64"),
        (np.bool(True), np.uint8(3), "uint8"),
        (1.5, 1j, "complex128"),
        (np.float32(2), 1j, "complex64"),
    ],
)
def test_dtypes_are_promoted(one: Any, two: Any, dtype: str) -> None:
    for a, b in ((one, two), (two, one)):
        f = lambda p: lax.cond(p, lambda: a, lambda: b)
        for p in (True, False):
            found = tg.jit(f)(p)
            assert (np.asarray(found).dtype, found) == (np.dtype(dtype), a if p else b)
        rows = tg.vmap(f)(np.array([True, False]))
        assert (rows.dtype, rows.tolist()) == (np.dtype(dtype), [a, b])
        graph = tg.make_graph(tg.jit(f))(tg.ShapeDtypeStruct((), bool))
        check(graph)


def test_gradients_of_promoted_branches() -> None:
    f = lambda p, x: lax.cond(p, lambda x: x * x, lambda x: np.float64(3.0) * x, x)
    x = np.float32(1.5)
    for p in (True, False):
        near(tg.jit(tg.grad(f, 1))(p, x), np.float32(3.0))
    near(tg.vmap(tg.grad(f, 1))(np.array([True, False]), np.array([x, x])), np.full(2, 3.0, np.float32))
    assert type(tg.jit(lambda p: lax.cond(p, lambda: 1.0, lambda: 2.0))(True)) is float  # weak stays weak
    assert tg.jit(lambda p, x: lax.cond(p, lambda: 1.0, lambda: 2.0) * x)(True, x).dtype == np.float32


def test_results_share_no_memory() -> None:
    f = lambda p, x, y: lax.cond(p, lambda x, y: (x, x, y), lambda x, y: (y, x, y[::-1]), x, y)
    for p in (True, False):
        x, y = X[0].copy(), X[1].copy()
        for g in (tg.jit(f), tg.jit(lambda p, x, y: tg.vjp(lambda x, y: f(p, x, y), x, y)[1]((x, x, x)))):
            found = g(p, x, y)
            for a, b in itertools.combinations([*found, x, y], 2):
                assert not np.shares_memory(a, b)
    rows = tg.vmap(f)(np.array([True, True]), X[:2], X[2:])
    for a, b in itertools.combinations([*rows, X], 2):
        assert not np.shares_memory(a, b)


def test_zeros_are_arrays_like_others() -> None:
    f = lambda p, x, y: lax.cond(p, lambda x, y: np.sum(x * x), lambda x, y: np.sum(y), x, y)
    for g in (tg.jit(tg.grad(f, (1, 2))), lambda p, x, y: tg.vmap(tg.grad(f, (1, 2)))(np.array([p]), x[None], y[None])):
        for zeros in (g(True, X[0], X[1])[1], g(False, X[0], X[1])[0]):
            zeros += 1.0
            assert (zeros == 1.0).all()


def test_what_nobody_reads_is_not_computed() -> None:
    def both(x: Any, y: Any) -> Any:
        return np.exp(x), np.sin(y)

    f = tg.jit(lambda p, x, y: lax.cond(p, both, lambda x, y: (np.tanh(x), np.cos(y)), x, y)[0])
    (eqn,) = f.lower(True, X[0], X[1]).graph.eqns
    assert len(eqn.inputs) == 2 and len(eqn.outputs) == 1
    assert [names(g) for g in eqn.params["branches"]] == [["tanh"], ["exp"]]
    near(f(False, X[0], X[1]), np.tanh(X[0]))
    rows = tg.jit(tg.vmap(f))
    (eqn,) = rows.lower(np.array([True, False]), X[:2], X[2:]).graph.eqns
    assert (eqn.op.name, len(eqn.inputs), len(eqn.outputs)) == ("switch_rows", 2, 1)
    near(rows(np.array([True, False]), X[:2], X[2:]), np.stack([np.exp(X[0]), np.tanh(X[1])]))
    # The value is not needed for the gradient, nor is the last step towards it.
    graph = (
        tg.jit(tg.grad(lambda p, x: np.sum(lax.cond(p, np.sin, lambda x: np.exp(x) * 2.0, x)), 1))
        .lower(True, X[0])
        .graph
    )
    check(graph)
    forward = next(e for e in graph.eqns if e.op.name == "switch")
    assert set(forward.params) == {"branches"}
    assert "multiply" not in names(forward.params["branches"][0])


def test_the_generated_source() -> None:
    def halve(x: Any) -> Any:
        return x / 2.0

    source = tg.jit(lambda p, x: lax.switch(p, [halve, lambda x: x * x, np.sin], x)).lower(1, X[0]).as_text()
    assert (
        re.sub(r" *# .*", "", source)
        == """\
c0_5 = array(0.5, 'float64')
def halve(a):
    b = multiply(a, c0_5)
    return [b]


def branches_1(a):
    b = multiply(a, a)
    return [b]


def sin_2(a):
    b = sin(a)
    return [b]


def compiled(a, b):
    c, = switch(a, b, branches=(halve, branches_1, sin))
    return c
"""
    )


def test_a_derivative_keeps_what_it_needs() -> None:
    x, c = X.copy(), np.array([1.0, 2.0, 3.0])
    f = tg.vmap(lambda x: lax.cond(x[0] > 0, lambda x: np.sum(c * x * x), lambda x: np.sum(np.sin(x) * c), x))
    out, pull = tg.vjp(f, x)
    expected = pull(np.ones(4))
    x[:], c[:] = 0.0, 0.0
    near(pull(np.ones(4)), expected)


# ---------------------------------------------------------------------------------------------------------------------
# Errors.


def f(x: Any) -> Any:
    return x


def line_of(error: Exception) -> str:
    """Its text, with names of files and lines taken out."""
    return re.sub(
        r"(<lambda>\.<locals>\.|of_types\.<locals>\.)+", "", re.sub(r"/\S+/test_switch\.py:\d+", "HERE", str(error))
    )


def of_types(one: Any, two: Any, x: Any = X[0]) -> Any:
    return lambda: tg.jit(lambda p, x: lax.cond(p, one, two, x))(True, x)


AT = " at HERE (in <lambda>)"
ERRORS: list[Any] = [
    (
        of_types(f, lambda x: (x, x)), TypeError,
        f"cond{AT}: its functions must return the same structure, but true_fun, 'f' (HERE), returns PyTreeDef(*) and "
        "false_fun, '<lambda>' (HERE), returns PyTreeDef((*, *)); return the same containers, keys and lengths",
    ),
    (
        of_types(f, lambda x: None), TypeError,
        f"cond{AT}: its functions must return the same structure, but true_fun, 'f' (HERE), returns PyTreeDef(*) and "
        "false_fun, '<lambda>' (HERE), returns PyTreeDef(None); is a return missing in false_fun?",
    ),
    (
        of_types(lambda x: {"a": [x[0]]}, lambda x: {"a": [x]}), ShapeError,
        f"cond{AT}: its functions must return equal shapes, but output['a'][0] is f64[] from true_fun, '<lambda>' "
        "(HERE), and f64[3] from false_fun, '<lambda>' (HERE); write np.broadcast_to(x, (3,)) in true_fun",
    ),
    (
        of_types(f, lambda x: x[:2]), ShapeError,
        f"cond{AT}: its functions must return equal shapes, but output is f64[3] from true_fun, 'f' "
        "(HERE), and f64[2] from false_fun, '<lambda>' (HERE); reshape, pad or cut one of them",
    ),
    (
        lambda: tg.jit(lambda i, x: lax.switch(i, [f, f, lambda x: x[0]], x))(0, X[0]), ShapeError,
        f"switch{AT}: its functions must return equal shapes, but output is f64[3] from branches[0], 'f' "
        "(HERE), and f64[] from branches[2], '<lambda>' (HERE); write np.broadcast_to(x, (3,)) in branches[2]",
    ),
    (
        lambda: lax.cond(X[0] > 0, f, f, 1.0), ShapeError,
        f"cond{AT}: the predicate must be one number, of shape (), got bool[3]; write np.all(pred) or np.any(pred) for "
        "one number of it, or tg.vmap of the cond to choose for each element",
    ),
    (
        lambda: tg.jit(lambda i: lax.switch(i, [f, f], 1.0))(np.arange(2)), ShapeError,
        f"switch{AT}: the index must be one number, of shape (), got i64[2]; write np.argmax(x) for one number of it, "
        "or tg.vmap of the switch to choose for each element",
    ),
    (
        lambda: lax.cond(1j, f, f, 1.0), DtypeError,
        f"cond{AT}: the predicate must be a boolean or a real number, got c128~[]; write pred != 0",
    ),
    (
        lambda: lax.cond(None, f, f, 1.0), DtypeError,
        f"cond: the predicate: None of type NoneType is not an array of numbers{AT}; pass numbers, NumPy arrays or "
        "pytrees of them",
    ),
    (
        lambda: lax.switch(True, [f, f], 1.0), DtypeError,
        f"switch{AT}: the index must be an integer, got bool~[]; write int(index), or tg.lax.cond",
    ),
    (
        lambda: tg.jit(lambda i: lax.switch(i, [f, f], 1.0))(0.5), DtypeError,
        f"switch{AT}: the index must be an integer, got f64~[]; write index.astype(int)",
    ),
    (
        lambda: lax.switch(0, []), ValueError,
        f"switch{AT} got no branches; give a list of at least one function",
    ),
    (
        lambda: lax.cond(True, 1.0, f, 2.0), TypeError,
        f"cond{AT}: true_fun must be a function, got the float 1.0; write tg.lax.cond(pred, true_fun, false_fun, "
        "*operands), with functions that return what is to be had",
    ),
    (
        lambda: lax.switch(0, [f, 2]), TypeError,
        f"switch{AT}: branches[1] must be a function, got the int 2; write tg.lax.switch(index, branches, *operands), "
        "with functions that return what is to be had",
    ),
    (
        lambda: lax.cond(True, f, f, 1.0, operand=2.0), TypeError,
        f"cond{AT} got operands both by position and as operand=; give all by position",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "text"), ERRORS)
def test_errors(call: Any, kind: Any, text: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    assert line_of(caught.value) == text


def test_operands_must_be_arrays() -> None:
    with pytest.raises(
        DtypeError, match=r"cond: operand\[1\]\['k'\]: 'three' of type str is not an array of numbers at"
    ):
        tg.jit(lambda p: lax.cond(p, lambda x, t: x, lambda x, t: x, 1.0, {"k": "three"}))(True)
    with pytest.raises(DtypeError, match=r"the output\['k'\] of '.*' \(.*\): 'three' of type str is not an array of"):
        tg.jit(lambda p: lax.cond(p, lambda x: {"k": "three"}, lambda x: {"k": x}, 1.0))(True)


def test_python_branches_in_a_branch() -> None:
    def g(y: Any) -> Any:
        return y if y > 0 else -y

    with pytest.raises(
        ConcretizationTypeError, match=r"which depends on y, but the cond of '.*g' \(.*\) knows only its"
    ):
        tg.jit(lambda p, x: lax.cond(p, g, np.sin, x))(True, 1.0)


def test_leaks() -> None:
    kept: list[Any] = []
    tg.jit(lambda p, x: lax.cond(p, lambda x: kept.append(x), lambda x: None, x))(True, 1.0)
    with pytest.raises(
        UnexpectedTracerError, match=r"a tracer leaked: the input x \(f64~\[\]\) escaped from the cond of"
    ):
        np.sin(kept[0])
    with pytest.raises(UnexpectedTracerError, match="a tracer leaked: the input x"):
        tg.jit(lambda p, x: lax.cond(p, lambda: kept[0] + 1.0, lambda: x))(True, 1.0)
    with pytest.raises(UnexpectedTracerError, match="a tracer leaked: the input x"):
        lax.cond(kept[0], lambda: 1, lambda: 2)


def test_an_error_in_a_branch_leaves_nothing_behind() -> None:
    with pytest.raises(ZeroDivisionError):
        tg.jit(lambda p, x: lax.cond(p, lambda: 1 / 0, lambda: x))(True, 1.0)
    assert names(tg.make_graph(lambda x: np.sin(x))(NUMBER)) == ["sin"]
    near(tg.grad(np.sin)(0.0), np.float64(1.0))
