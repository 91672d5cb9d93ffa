"""The IR itself: Graph, its listing, its checker, its equality."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.check import check
from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.core.graph import Eqn, Graph, interpret

HERE = Path(__file__).name


def test_constants() -> None:
    big = np.arange(5.0)
    graph = tg.make_graph(lambda x: x * big + big)(np.ones(5))
    (value,) = graph.consts.values()
    assert graph == tg.make_graph(lambda x: x * big + big)(np.ones(5))
    big += 1.0  # the Graph has its own
    np.testing.assert_array_equal(value, np.arange(5.0))
    np.testing.assert_array_equal(graph(np.ones(5))[0], np.arange(5.0) * 2)
    assert graph != tg.make_graph(lambda x: x * big + big)(np.ones(5))


def test_call_takes_one_array_per_input() -> None:
    graph = tg.make_graph(lambda x, y: x + y)(1.0, 2.0)
    with pytest.raises(TypeError, match="takes 2 arrays, got 1"):
        graph(1.0)


def test_call_takes_arrays_of_the_types_of_the_inputs() -> None:
    f = lambda p, n: p["w"].reshape(3, 1) * n + p["w"].shape[0]
    graph = tg.make_graph(f)({"w": np.ones(3)}, np.float64(2.0))
    np.testing.assert_array_equal(graph(np.ones(3), 2.0)[0], np.full((3, 1), 5.0))
    assert graph(np.ones(3), 2.0)[0].dtype == np.float64
    at = rf"graph '<lambda>' at \S*{HERE}:\d+ \(in \S+\): "
    with pytest.raises(
        ShapeError, match=at + r"input 0, p\['w'\], must be f64\[3\], got f64\[1,3\]; reshape it, or make"
    ):
        graph(np.ones((1, 3)), 2.0)
    with pytest.raises(ShapeError, match=r"input 1, n, must be f64\[\], got f64\[1\]"):
        graph(np.ones(3), np.ones(1))
    with pytest.raises(DtypeError, match=r"p\['w'\], must be f64\[3\], got f32\[3\]; convert it to float64, or make"):
        graph(np.ones(3, "f4"), 2.0)
    with pytest.raises(DtypeError, match=r"input 1, n, must be f64\[\], got i64~\[\]"):
        graph(np.ones(3), 2)
    with pytest.raises(
        TypeError, match=r"input 0, p\['w'\], must be f64\[3\], but a value of type list is not an array"
    ):
        graph([1.0, 2.0, 3.0], 2.0)
    for transform in (tg.jit, tg.vmap):
        with pytest.raises(ShapeError, match=r"must be f64\[3\], got f64\[2\]"):
            transform(lambda x: graph(x, 2.0))(np.ones((2, 2)) if transform is tg.vmap else np.ones(2))
    found = tg.vmap(tg.make_graph(lambda n: n * 2.0)(1.0))(np.arange(3.0))[0]
    np.testing.assert_array_equal(found, [0.0, 2.0, 4.0])


def test_equality_is_by_structure() -> None:
    def f(x):
        return np.sin(x) * 2.0

    a, b = tg.make_graph(f)(np.ones(3)), tg.make_graph(f)(np.zeros(3))
    assert a == b and hash(a) == hash(b) and a is not b
    assert a != tg.make_graph(f)(np.ones(4))
    assert a != tg.make_graph(lambda x: np.sin(x) * 3.0)(np.ones(3))
    assert a != tg.make_graph(lambda x: np.cos(x) * 2.0)(np.ones(3))


def test_graphs_are_immutable() -> None:
    graph = tg.make_graph(np.sin)(np.ones(3))
    with pytest.raises(AttributeError):
        graph.eqns = ()
    with pytest.raises(AttributeError):
        graph.eqns[0].inputs = ()


def test_graph_is_a_function_for_transforms() -> None:
    graph = tg.make_graph(lambda x: np.sum(np.sin(x)))(np.ones(3))
    np.testing.assert_allclose(tg.grad(lambda x: graph(x)[0])(np.zeros(3)), np.ones(3))


def test_the_path_that_values_take() -> None:
    def f(x):
        return np.sin(x) if x > 0 else np.cos(x)

    assert [e.op.name for e in tg.make_graph(f)(1.0).eqns] == ["sin"]
    assert [e.op.name for e in tg.make_graph(f)(-1.0).eqns] == ["cos"]


def test_an_interpreter_gets_each_equation() -> None:
    """Where it stands in the user's code, and what it makes, among the rest."""
    graph = tg.make_graph(lambda x: np.sin(x) * 2.0)(np.ones(3))
    seen = []

    def apply(eqn: Eqn, values: tuple[Any, ...]) -> Any:
        seen.append(eqn)
        return eqn.op.evaluate(*values, **eqn.params)

    (out,) = interpret(graph, [np.ones(3)], apply)
    assert out.tolist() == (np.sin(np.ones(3)) * 2.0).tolist()
    assert tuple(seen) == graph.eqns and seen[0].source.line == graph.eqns[0].source.line


# ---------------------------------------------------------------------------------------------------------------------
# Pickling.


def pickled(graph: Graph) -> Graph:
    """The Graph once more, equal, well-formed, and with its lines."""
    found: Graph = pickle.loads(pickle.dumps(graph))
    assert found == graph and found is not graph and hash(found) == hash(graph)
    assert str(found) == str(graph)
    check(found)
    return found


def body(carry: Any, x: Any) -> Any:
    return carry * x + 1.0, np.sin(carry)


CLOSED_OVER = np.linspace(0.0, 1.0, 5)
OF_TRANSFORMS: dict[str, Any] = {
    "grad": tg.grad(lambda x: np.sum(np.cumsum(x) ** 2 * CLOSED_OVER)),
    "jit": tg.jit(lambda x: np.einsum("i,j->ij", x, x)[1:, ::2]),
    "grad of jit": tg.grad(lambda x: tg.jit(lambda y: np.sum(np.tanh(y) * y))(x)),
    "vmap": tg.vmap(lambda y: np.where(y > 0, y, -0.0) / np.float32(3)),
    "jvp": lambda x: tg.jvp(lambda y: np.sort(y) @ y, (x,), (x,)),
    "scan": tg.grad(lambda x: tg.lax.scan(body, 1.0, x)[0]),
    "cond": lambda x: tg.lax.cond(x[0] > 0, np.sin, lambda y: y * np.inf, x),
    "while": lambda x: tg.lax.while_loop(lambda y: np.sum(y) < 9.0, lambda y: y + 1.0, x),
    "checkpoint": tg.grad(
        tg.checkpoint(lambda x: np.sum(np.exp(np.sin(x))), policy=tg.checkpoint_policies.dots_saveable)
    ),
    "solve": tg.jacfwd(lambda x: np.linalg.solve(np.eye(5) + np.outer(x, x), x)),
    "eigen": tg.grad(lambda x: np.sum(np.linalg.eigh(np.outer(x, x) + np.diag(x))[1] ** 3)),
    "named axis": tg.vmap(lambda y: y / tg.lax.psum(y, "i"), axis_name="i"),
    "hessian": tg.hessian(lambda x: np.sum(np.linalg.norm(x) * np.flip(x))),
}


@pytest.mark.parametrize("name", OF_TRANSFORMS)
def test_graphs_of_transforms_pickle(name: str) -> None:
    graph = tg.make_graph(OF_TRANSFORMS[name])(CLOSED_OVER + 0.5)
    found = pickled(graph)
    for again, before in zip(found(CLOSED_OVER), graph(CLOSED_OVER), strict=True):
        assert np.array_equal(again, before, equal_nan=True)
    assert [v.name for v in found.inputs] == [v.name for v in graph.inputs]
    assert "compiled" not in found.memo  # what was made of it stays where it was made


def test_a_pickled_graph_means_the_same_elsewhere() -> None:
    """In another process, where none of this has been traced, and errors name the line that it was traced from."""
    graph = tg.make_graph(lambda a: np.linalg.inv(tg.lax.cumsum(a)) * np.sin(a))(np.eye(2))
    code = (
        "import pickle, sys; graph = pickle.load(sys.stdin.buffer); import numpy as np\n"
        "print(graph); print(graph(np.eye(2) + 1.0)[0].tolist())\n"
        "try: graph(np.zeros((2, 2)))\nexcept Exception as error: print(type(error).__name__)"
    )
    run = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(graph), capture_output=True, check=True)
    expected = f"{graph}\n{graph(np.eye(2) + 1.0)[0].tolist()}\nLinAlgError\n"
    assert run.stdout.decode() == expected


@tg.custom_vjp
def with_rules(x: Any) -> Any:
    return np.sin(x)


with_rules.defvjp(lambda x: (np.sin(x), x), lambda x, ct: (ct * np.cos(x),))


def test_what_cannot_be_pickled_is_named() -> None:
    graph = tg.make_graph(lambda x: with_rules(x) * 2.0)(1.0)
    line = graph.eqns[0].source.line
    with pytest.raises(
        pickle.PicklingError,
        match=rf"graph '<lambda>' cannot be pickled: the param rules of custom_call at .*{HERE}:{line} \(in <lambda>\) is "
        r"with_rules, which pickle refuses .*; write a policy",
    ):
        pickle.dumps(graph)
    inner = tg.make_graph(tg.jit(lambda x: with_rules(x)))(1.0)
    with pytest.raises(pickle.PicklingError, match=r"the param rules of custom_call at"):
        pickle.dumps(inner)
    found: list[Graph] = []

    def outer(y: Any) -> Any:
        found.append(tg.make_graph(lambda x: x * y)(1.0))
        return y

    tg.grad(outer)(1.0)
    with pytest.raises(
        pickle.PicklingError, match=r"it closes over a traced f64~\[\] made at .*; make it of a function"
    ):
        pickle.dumps(found[0])
