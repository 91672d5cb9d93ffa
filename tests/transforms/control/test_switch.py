"""cond and switch: which function is called, the one equation where that is not known, and the rows of a batch. What the
transforms make of them, one to three deep, test_lattice.py compares with jax."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.jaxprs import run_with_numpy
from tests.lattice import OURS, THEIRS, transformed
from tests.notes import Notes
from tracegrad import lax
from tracegrad.core.check import check
from tracegrad.core.context import context
from tracegrad.core.errors import (
    ConcretizationTypeError,
    DtypeError,
    ShapeError,
    UnexpectedTracerError,
)
from tracegrad.core.graph import Graph
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


NAMES = ("jit", "grad", "jvp", "hessian", "vmap")
ORDERS = [
    o for n in (1, 2, 3) for o in itertools.product(NAMES, repeat=n) if (n < 3 or "jit" in o) and o.count("hessian") < 2
]


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
            truths[plain] = run_with_numpy(transformed(THEIRS, make(jax, jnp), plain), argument(plain))
        near(transformed(OURS, make(tg, np), order)(argument(plain)), truths[plain], 1e-10)


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


def test_operand_by_name_and_no_operands() -> None:
    for lib in (tg, jax):
        assert lib.lax.cond(True, lambda x: x, lambda x: -x, operand=3.0) == 3.0
        assert lib.lax.switch(1, [lambda x: x, lambda x: -x], operand=3.0) == -3.0
        assert lib.lax.cond(True, lambda x: 1 if x is None else 3, lambda x: 2, operand=None) == 1
        assert lib.jit(lambda p: lib.lax.cond(p, lambda: 1.0, lambda: 2.0))(False) == 2.0
        assert lib.jit(lambda p: lib.lax.cond(p, lambda x: None, lambda x: None, 1.0))(False) is None
        assert lib.jit(lambda i, x: lib.lax.switch(i, [lambda x: x + 1], x))(4, 1.0) == 2.0


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
    kept = Notes()
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
