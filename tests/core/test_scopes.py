"""Scopes, and what equations know of where they come from."""

from __future__ import annotations

import contextlib
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tracegrad import show
from tracegrad.core.context import context
from tracegrad.core.errors import location_of, origin
from tracegrad.core.graph import Graph


def walked(graph: Graph) -> Iterator[Any]:
    for eqn in graph.eqns:
        yield eqn
        for value in eqn.params.values():
            for part in value if type(value) is tuple else (value,):
                if type(part) is Graph:
                    yield from walked(part)


def scopes_of(f: Callable[..., Any], *args: Any) -> list[tuple[str, str]]:
    return [(eqn.op.name, "/".join(eqn.scope)) for eqn in walked(tg.make_graph(f)(*args))]


@tg.jit
def _activation(x: Any) -> Any:
    with tg.named_scope("act"):
        return np.tanh(x)


def _network(x: Any) -> Any:
    with tg.named_scope("a"):
        y = np.sin(x)
        with tg.named_scope("b"):
            y = _activation(y)
    return np.exp(y)


def test_equations_know_their_scopes() -> None:
    assert scopes_of(_network, 0.5) == [("sin", "a"), ("call", "a/b"), ("tanh", "a/b/act"), ("exp", "")]
    assert context.cell is None


def test_a_jitted_function_is_in_the_scope_of_each_call() -> None:
    def f(x: Any) -> Any:
        with tg.named_scope("one"):
            x = _activation(x)
        with tg.named_scope("two"):
            x = _activation(x)
        return _activation(x)

    found = [scope for name, scope in scopes_of(f, 0.5) if name == "tanh"]
    assert found == ["one/act", "two/act", "act"]
    lowered = tg.jit(f).lower(0.5).graph
    assert [eqn.scope for eqn in lowered.eqns] == [("one", "act"), ("two", "act"), ("act",)]
    plain = np.tanh(np.tanh(np.tanh(0.5)))
    assert f(0.5) == plain
    count = len(_activation.trace_log)
    for name in ("three", "four"):
        with tg.named_scope(name):
            assert f(0.5) == plain
    assert len(_activation.trace_log) == count  # not traced anew for a scope


def test_derivatives_are_in_the_scope_of_what_they_are_of() -> None:
    graph = tg.make_graph(tg.grad(_network))(0.5)
    found = {(eqn.op.name, "/".join(eqn.scope), eqn.phase, eqn.of and eqn.of.name) for eqn in walked(graph)}
    assert ("sech_squared", "a/b/act", 1, "tanh") in found
    assert ("cos", "a", 1, "sin") in found and ("sin", "a", 0, None) in found


@pytest.mark.parametrize("transform", [tg.vmap, lambda f: tg.vmap(tg.grad(f)), tg.checkpoint])
def test_transforms_keep_scopes(transform: Any) -> None:
    found = dict(scopes_of(transform(_network), np.ones(3) if transform is not tg.checkpoint else 1.0))
    assert found["sin"] == "a" and found["tanh"] == "a/b/act" and found["exp"] == ""


def test_loops_and_branches_are_in_the_scope_that_they_run_in() -> None:
    def f(x: Any) -> Any:
        def body(c: Any, i: Any) -> Any:
            with tg.named_scope("body"):
                return np.sin(c) * i, c

        with tg.named_scope("loop"):
            x, _ = tg.lax.scan(body, x, np.arange(3.0))
            return tg.lax.cond(np.greater(x, 0.0), np.cos, tg.named_scope("no")(np.exp), x)

    found = dict(scopes_of(tg.jit(f), 0.5))
    assert found["scan"] == "loop" and found["sin"] == "loop/body" and found["cos"] == "loop"
    assert found["exp"] == "loop/no"


def test_phases_count_derivative_rules() -> None:
    graph = tg.make_graph(tg.grad(tg.grad(lambda x: np.sin(x) ** 3)))(0.5)
    assert {(e.op.name, e.phase, e.of and e.of.name) for e in graph.eqns} >= {
        ("sin", 0, None),
        ("cos", 1, "sin"),
        ("power", 1, "power"),
        ("multiply", 2, "power"),
    }
    assert [e.phase for e in tg.make_graph(lambda x: np.sin(x) ** 3)(0.5).eqns] == [0, 0]
    pushed = tg.make_graph(lambda x: tg.jvp(np.sin, (x,), (1.0,))[1])(0.5)
    assert next((e.op.name, e.phase, e.of.name) for e in pushed.eqns) == ("cos", 1, "sin")


def test_the_transpose_of_a_rule_is_of_that_rule() -> None:
    """`solve` has a forward rule alone, whose transpose is as deep as it."""
    a = np.array([[2.0, 1.0], [0.0, 3.0]])
    graph = tg.make_graph(tg.grad(lambda a: np.sum(np.linalg.solve(a, np.ones(2)))))(a)
    assert {e.phase for e in graph.eqns} == {0, 1}
    assert {e.of.name for e in graph.eqns if e.phase} <= {"solve", "sum"}


def test_all_of_the_derivative_of_a_loop_is_a_derivative() -> None:
    def f(x: Any) -> Any:
        return tg.lax.scan(lambda c, i: (c * np.exp(x), i), x, np.arange(2.0))[0]

    graph = tg.make_graph(tg.grad(f))(1.5)
    backward = next(e for e in graph.eqns if e.op.name == "scan" and e.phase)
    assert [e.phase for e in backward.params["body"].eqns] == [1] * len(backward.params["body"].eqns)


def test_a_graph_is_pickled_with_where_it_comes_from() -> None:
    graph = tg.make_graph(tg.grad(_network), frames=True)(0.5)
    again = pickle.loads(pickle.dumps(graph))
    for one, other in zip(walked(graph), walked(again), strict=True):
        assert (one.source, one.scope, one.phase, one.of, one.frames) == (
            other.source, other.scope, other.phase, other.of, other.frames,
        )  # fmt: skip


def test_scopes_end_with_exceptions() -> None:
    @tg.named_scope("outer")
    def f(x: Any) -> Any:
        try:
            with tg.named_scope("inner"):
                raise ValueError
        except ValueError:
            return np.sin(x)

    assert f.__name__ == "f"
    assert scopes_of(f, 1.0) == [("sin", "outer")]
    with pytest.raises(ZeroDivisionError), tg.named_scope("a"):
        1 / 0  # noqa: B018
    assert context.cell is None


def test_a_scope_is_of_its_thread() -> None:
    found: list[Any] = []
    with tg.named_scope("here"):
        thread = threading.Thread(target=lambda: found.extend(scopes_of(np.sin, 1.0)))
        thread.start()
        thread.join()
        assert scopes_of(np.cos, 1.0) == [("cos", "here")]
    assert found == [("sin", "")]


def test_a_generator_is_in_its_scope_when_it_goes_on() -> None:
    def layers(x: Any) -> Iterator[Any]:
        with tg.named_scope("layers"):
            yield np.sin(x)
            yield np.cos(x)

    assert scopes_of(lambda x: sum(layers(x)), 1.0)[0] == ("sin", "layers")
    assert context.cell is None


def test_scopes_of_generators_end_in_any_order() -> None:
    def layers(name: str) -> Iterator[Any]:
        with tg.named_scope(name):
            yield
        yield

    for order in ((0, 1), (1, 0)):
        opened = [layers("a"), layers("b")]
        for generator in opened:
            next(generator)
        assert scopes_of(np.sin, 1.0) == [("sin", "a/b")]
        next(opened[order[0]])
        assert scopes_of(np.sin, 1.0)[0][1] in ("a/b", "a")
        next(opened[order[1]])
        assert context.cell is None


def test_one_scope_object_can_be_entered_more_than_once() -> None:
    scope = tg.named_scope("s")

    def f(x: Any) -> Any:
        with scope, scope:
            x = np.sin(x)
        with scope:
            return np.cos(x)

    assert scopes_of(f, 1.0) == [("sin", "s/s"), ("cos", "s")]


def test_a_scope_has_a_name() -> None:
    with pytest.raises(
        TypeError, match=r'named_scope at .*test_scopes.py:.* takes a name, got 3; write tg.named_scope\("conv_1"\)'
    ):
        tg.named_scope(3)  # type: ignore[arg-type]


def test_listings_show_scopes_if_asked() -> None:
    graph = tg.make_graph(_network)(0.5)
    assert " in a" not in str(graph)
    lines = [line.strip() for line in show.listing(graph, scopes=True).splitlines()]
    assert lines[1].split("#")[1].endswith(" in a") and lines[3].split("#")[1].strip().startswith("test_scopes.py:")


def test_profiles_of_xla_have_scopes() -> None:
    f = tg.jit(_network, backend="xla")
    text = jax.jit(lambda x: f(x)).lower(jnp.float32(0.5)).as_text(debug_info=True)
    assert '"a/sin"' in text and '"a/b/act/tanh"' in text and '"exp"' in text


def _helper(x: Any) -> Any:
    return np.sin(x)


def _calls_helper(x: Any) -> Any:
    return _helper(x) * 2.0


def _repeats_helper(x: Any) -> Any:
    with tg.named_scope("all"):
        for _ in range(2):
            x = _helper(x)
        with tg.named_scope("last"):
            x = _helper(x)
    return x


def test_calls_are_told_apart_and_know_the_scopes_around() -> None:
    """Of each line that called: which of the calls it was, and how many scopes were open."""
    for outside in (0, 2):
        with contextlib.ExitStack() as stack:
            for name in "ab"[:outside]:
                stack.enter_context(tg.named_scope(name))
            graph = tg.make_graph(_repeats_helper, frames=True)(1.0)
        calls = [origin(eqn.raw_source)[3] for eqn in graph.eqns]
        assert [[call[2:] for call in of] for of in calls] == [
            [(0, outside + 1)],
            [(1, outside + 1)],
            [(2, outside + 2)],
        ]
        assert [eqn.scope[outside:] for eqn in graph.eqns] == [("all",), ("all",), ("all", "last")]


def test_what_transforms_do_themselves_has_no_callers() -> None:
    graph = tg.make_graph(tg.hessian(_calls_helper), frames=True)(1.0)
    for eqn in graph.eqns:
        assert [place.function for place in eqn.frames] in (
            ["_helper", "_calls_helper"],
            ["_calls_helper"],
            ["test_what_transforms_do_themselves_has_no_callers"],
        )
    assert any("test_what" in eqn.frames[-1].function for eqn in graph.eqns)


def test_what_is_recorded_for_one_call_has_one_place() -> None:
    """In the Graph of a derivative, of all equations at a line that is run again and again."""

    def f(x: Any) -> Any:
        for _ in range(3):
            x = np.sin(x)
        return np.sum(x)

    graph = tg.make_graph(tg.value_and_grad(f))(np.ones(2))
    places = [[id(location_of(e.raw_source)) for e in graph.eqns if e.op.name == name] for name in ("sin", "cos")]
    assert places[0] == places[1][::-1] and len(set(places[0])) == 3

    def both(x: Any) -> Any:
        value, gradient = tg.value_and_grad(f)(x)
        return value + np.sum(gradient)

    second = tg.make_graph(tg.value_and_grad(both))(np.ones(2))
    known = {id(location_of(e.raw_source)) for e in second.eqns if not e.phase}
    assert {
        id(location_of(e.raw_source)) for e in second.eqns if e.phase and e.of is not None and e.of.name == "sin"
    } <= known


def test_a_graph_may_keep_all_lines() -> None:
    graph = tg.make_graph(_calls_helper, frames=True)(1.0)
    assert [[place.function for place in eqn.frames] for eqn in graph.eqns] == [
        ["_helper", "_calls_helper"],
        ["_calls_helper"],
    ]
    assert [[p.function for p in e.frames] for e in tg.make_graph(_calls_helper)(1.0).eqns] == [
        ["_helper"],
        ["_calls_helper"],
    ]
    assert str(graph) == str(tg.make_graph(_calls_helper)(1.0))
    derived = tg.make_graph(tg.grad(_calls_helper), frames=True)(1.0)
    assert [p.function for p in derived.eqns[0].frames] in (["_helper", "_calls_helper"], ["_calls_helper"])
