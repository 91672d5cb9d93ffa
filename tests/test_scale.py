"""Graphs of a hundred thousand equations, threads, and what is left in memory. (The long chains through grad, jvp, vjp,
linearize and evaluate, and threads that each take their own derivatives, are in transforms/test_linear.py and test_grad.py.)"""

from __future__ import annotations

import functools
import gc
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.check import check
from tracegrad.core.graph import Graph, evaluate
from tracegrad.core.trace import Trace
from tracegrad.core.tracer import Tracer

pytestmark = pytest.mark.usefixtures("new_objects_alone")

COUNT = 100_000
LESS = 20_000  # for what makes several graphs of the first one's size: still far beyond any limit of recursion
X = np.array([0.3, -1.2, 2.0])


def chain(x: Any, length: int = COUNT) -> Any:
    """Very many ops, each on the last one's output: 1.00001^length x."""
    for _ in range(length):
        x = x * 1.00001
    return x


def wide(x: Any, length: int = COUNT) -> Any:
    """One input used very many times: (length + 1) x."""
    total = x
    for _ in range(length):
        total = total + x
    return total


def fan(x: Any) -> Any:
    """One op on very many inputs, all of them parts of one array: sum of i x_i."""
    return np.sum(np.stack([x[i] * float(i) for i in range(x.shape[0])]))


def deep_or_wide(length: int) -> Any:
    """Parametrize a test by a function whose graph has so many equations, and its slope."""
    cases = [(chain, 1.00001**length), (wide, length + 1.0)]
    parameters = [pytest.param(functools.partial(f, length=length), slope, id=f.__name__) for f, slope in cases]
    return pytest.mark.parametrize("f, slope", parameters)


# ---------------------------------------------------------------------------------------------------------------------
# Long and wide graphs.


@deep_or_wide(COUNT)
def test_a_large_graph_is_traced_checked_printed_and_run(f: Callable[[Any], Any], slope: float) -> None:
    graph = tg.make_graph(f)(1.0)
    assert len(graph.eqns) >= COUNT
    check(graph)
    text = str(graph)
    assert text.count("\n") >= COUNT
    assert evaluate(graph, [2.0])[0] == pytest.approx(2.0 * slope, rel=1e-9)
    del graph  # a graph so long is freed without recursion


@deep_or_wide(LESS)
def test_a_large_graph_is_traced_without_values(f: Callable[[Any], Any], slope: float) -> None:
    graph = tg.make_graph(f)(tg.ShapeDtypeStruct((2,), float))
    check(graph)
    np.testing.assert_allclose(evaluate(graph, [np.array([1.0, 2.0])])[0], [slope, 2.0 * slope], rtol=1e-9)
    assert tg.eval_shape(f, tg.ShapeDtypeStruct((2,), float)) == tg.ShapeDtypeStruct((2,), float)


@deep_or_wide(LESS)
def test_the_derivative_of_a_large_graph_is_a_large_graph(f: Callable[[Any], Any], slope: float) -> None:
    graph = tg.make_graph(tg.grad(lambda x: 0.5 * f(x) ** 2))(1.0)
    check(graph)
    assert len(graph.eqns) >= 2 * LESS
    assert graph(3.0)[0] == pytest.approx(3.0 * slope**2, rel=1e-9)
    pushed = tg.make_graph(lambda x, t: tg.jvp(f, (x,), (t,)))(1.0, 1.0)
    check(pushed)
    assert pushed(2.0, 3.0) == pytest.approx((2.0 * slope, 3.0 * slope), rel=1e-9)


@deep_or_wide(COUNT)
def test_derivatives_of_a_large_graph(f: Callable[[Any], Any], slope: float) -> None:
    assert tg.grad(f)(1.0) == pytest.approx(slope, rel=1e-9)
    assert tg.jvp(f, (1.0,), (2.0,))[1] == pytest.approx(2.0 * slope, rel=1e-9)
    np.testing.assert_allclose(tg.vmap(tg.grad(f))(np.array([1.0, 2.0])), slope, rtol=1e-9)


def test_one_op_on_very_many_inputs() -> None:
    x = np.ones(LESS)
    expected = np.arange(float(LESS))
    np.testing.assert_array_equal(tg.grad(fan)(x), expected)
    assert tg.jvp(fan, (x,), (x,))[1] == expected.sum()
    graph = tg.make_graph(fan)(x)
    check(graph)
    assert len(max(graph.eqns, key=lambda e: len(e.inputs)).inputs) == LESS


def test_very_many_inputs_and_outputs() -> None:
    p = {str(i): float(i) for i in range(LESS)}
    gradient = tg.grad(lambda p: sum(v * v for v in p.values()))(p)
    assert gradient == {str(i): 2.0 * i for i in range(LESS)}
    out, tangent = tg.jvp(lambda x: [x * float(i) for i in range(LESS)], (1.0,), (2.0,))
    assert tangent == [2.0 * i for i in range(LESS)]


def test_a_long_chain_is_freed_on_a_small_stack() -> None:
    """All that is made for a long chain dies in a thread whose stack would not bear a recursion over it."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            out, pull = tg.vjp(chain, np.ones(2))
            out, push = tg.linearize(lambda x: chain(x, LESS), np.ones(2))
            graph = tg.make_graph(tg.grad(lambda x: chain(x, LESS)))(1.0)
            nested = tg.grad(lambda x: tg.grad(lambda y: chain(y, LESS) * x)(x))(1.0)
            assert nested == pytest.approx(1.00001 ** (LESS), rel=1e-9)
            del out, pull, push, graph
        except BaseException as error:
            failures.append(error)

    before = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert not failures


# ---------------------------------------------------------------------------------------------------------------------
# Threads.


def in_threads(work: Callable[[int], None], count: int = 8) -> None:
    """Run `work(0)`, ..., all at once, and raise what any of them raised."""
    failures: list[BaseException] = []
    start = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            start.wait()
            work(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise failures[0]


def test_threads_share_transformed_functions() -> None:
    """One grad, vjp, linearize, vmap and Graph, made once, used by eight threads at once."""
    weights = np.array([[1.0, 2.0, 3.0], [0.5, -1.0, 2.0]])
    f = lambda x: np.sum(np.tanh(weights @ x) ** 2)
    gradient = tg.grad(f)
    _, pull = tg.vjp(lambda x: np.tanh(weights @ x), X)
    _, push = tg.linearize(lambda x: np.tanh(weights @ x), X)
    jacobian = (1 / np.cosh(weights @ X) ** 2)[:, None] * weights
    batched, hessian = tg.vmap(gradient), tg.hessian(f)
    graph = tg.make_graph(gradient)(X)
    expected, expected_hessian = gradient(X), hessian(X)

    def work(number: int) -> None:
        rng = np.random.default_rng(number)
        for _ in range(25):
            ct, t = rng.normal(size=2), rng.normal(size=3)
            np.testing.assert_allclose(pull(ct)[0], ct @ jacobian, rtol=1e-12)
            np.testing.assert_allclose(push(t), jacobian @ t, rtol=1e-12)
            np.testing.assert_array_equal(gradient(X), expected)
            np.testing.assert_array_equal(graph(X)[0], expected)
            np.testing.assert_allclose(batched(np.stack([X, X])), [expected, expected], rtol=1e-12)
            np.testing.assert_allclose(hessian(X), expected_hessian, rtol=1e-12)

    in_threads(work)
    assert weights.flags.writeable


def test_threads_see_their_own_errors_and_lines() -> None:
    """What fails in one thread names its own line, whatever the others do."""

    def work(number: int) -> None:
        for _ in range(25):
            if number % 2:
                with pytest.raises(ValueError, match="broadcast"):
                    tg.grad(lambda x: np.sum(np.sin(x) + np.ones(number + 5)))(X)
            graph = tg.make_graph(tg.grad(lambda x: np.sum(np.sin(x) * number)))(X)
            assert {e.source.function for e in graph.eqns if e.source is not None} == {"<lambda>"}
            np.testing.assert_allclose(graph(X)[0], np.cos(X) * number)

    in_threads(work)


# ---------------------------------------------------------------------------------------------------------------------
# Memory.

USES: dict[str, Callable[[], Any]] = {
    "grad": lambda: tg.grad(lambda x: np.sum(np.sin(x) * x))(X),
    "value_and_grad": lambda: tg.value_and_grad(lambda x: (np.sum(x**2), x * 2.0), has_aux=True)(X),
    "jvp": lambda: tg.jvp(np.sin, (X,), (X,)),
    "vjp": lambda: tg.vjp(np.sin, X)[1](X),
    "linearize": lambda: tg.linearize(np.sin, X)[1](X),
    "linear_transpose": lambda: tg.linear_transpose(lambda x: 2.0 * x, X)(X),
    "vmap": lambda: tg.vmap(lambda x: np.sin(x) * 2.0)(X),
    "jacfwd": lambda: tg.jacfwd(np.cumsum)(X),
    "jacrev": lambda: tg.jacrev(np.cumprod)(X),
    "hessian": lambda: tg.hessian(lambda x: np.sum(np.tanh(x) ** 2))(X),
    "hvp": lambda: tg.hvp(lambda x: np.sum(x**3), (X,), (X,)),
    "grad of grad": lambda: tg.grad(lambda x: np.sum(tg.grad(lambda y: np.sum(y**3 * x))(x)))(X),
    "grad of vmap of grad": lambda: tg.grad(lambda x: np.sum(tg.vmap(tg.grad(np.tanh))(x)))(X),
    "make_graph": lambda: tg.make_graph(tg.grad(lambda x: np.sum(np.sin(x))))(X),
    "eval_shape": lambda: tg.eval_shape(np.sin, X),
    "an error inside": lambda: _fails(),
}


def _fails() -> None:
    def f(x: Any) -> Any:
        np.sin(x)
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        tg.grad(lambda x: np.sum(tg.grad(f)(x)))(X)


def living() -> int:
    gc.collect()
    return sum(type(x) in (Tracer, Trace, Graph) for x in gc.get_objects())


@pytest.mark.parametrize("name", list(USES))
def test_nothing_of_a_trace_outlives_its_transform(name: str) -> None:
    """No tracer, trace or graph is left, in a cache or elsewhere, once the results are dropped."""
    USES[name]()
    before = living()
    for _ in range(3):
        USES[name]()
    assert living() == before


def test_results_hold_no_tracers() -> None:
    gc.collect()
    before = [x for x in gc.get_objects() if type(x) is Tracer]  # other tests keep some on purpose
    results = [use() for name, use in USES.items() if name != "make_graph"]
    gc.collect()
    known = set(map(id, before))
    assert not any(type(x) is Tracer and id(x) not in known for x in gc.get_objects()), results


def test_a_pullback_lets_go_of_what_it_does_not_need() -> None:
    """After many calls a pullback holds no more than before."""
    _, pull = tg.vjp(lambda x: np.tanh(np.sin(x)), X)
    _, push = tg.linearize(lambda x: np.tanh(np.sin(x)), X)
    pull(X), push(X)
    before = living()
    for _ in range(50):
        pull(X), push(X)
    assert living() == before


# ---------------------------------------------------------------------------------------------------------------------
# Work that is linear in the number of leaves.


def summed(t: Any) -> Any:
    return sum([x * 2.0 for x in t.values()])


def doubled(t: Any) -> Any:
    return {k: x * 2.0 for k, x in t.items()}


def stepped(t: Any) -> Any:
    return tg.lax.scan(lambda carry, x: ({k: c * x for k, c in carry.items()}, None), t, X)[0]


def wrongly(t: Any) -> None:
    with pytest.raises(TypeError, match=r"\['k7'\]"):
        tg.grad(summed)({**t, "k7": "no number"})


OF_LEAVES: dict[str, Callable[[Any], Any]] = {
    "jit": lambda t: tg.jit(doubled)(t),
    "grad": lambda t: tg.grad(summed)(t),
    "jit of grad": lambda t: tg.jit(tg.grad(summed))(t),
    "vjp": lambda t: tg.vjp(doubled, t)[1](t),
    "jvp": lambda t: tg.jvp(doubled, (t,), (t,)),
    "linearize": lambda t: tg.linearize(doubled, t)[1](t),
    "vmap": lambda t: tg.vmap(doubled, axis_size=2, in_axes=None)(t),
    "jacrev": lambda t: tg.jacrev(summed)(t),
    "checkpoint": lambda t: tg.grad(tg.checkpoint(summed))(t),
    "scan": lambda t: tg.grad(lambda t: summed(stepped(t)))(t),
    "cond": lambda t: tg.jit(lambda p, t: tg.lax.cond(p, doubled, lambda t: t, t))(True, t),
    "listing": lambda t: str(tg.make_graph(doubled)(t)),
    "paths": lambda t: tg.tree_util.tree_map_with_path(lambda path, x: tg.tree_util.keystr(path), t),
    "an error": wrongly,
}


@pytest.mark.parametrize("name", OF_LEAVES)
def test_work_is_linear_in_the_number_of_leaves(name: str) -> None:
    def calls(count: int) -> int:
        made = 0

        def count_one(frame: Any, event: str, arg: Any) -> None:
            nonlocal made
            made += event in ("call", "c_call")

        leaves = {f"k{i}": np.float64(i) for i in range(count)}
        before = sys.getprofile()
        sys.setprofile(count_one)
        try:
            OF_LEAVES[name](leaves)
        finally:
            sys.setprofile(before)
        return made

    calls(20)
    assert calls(200) < 2.3 * calls(100)
