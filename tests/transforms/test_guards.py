"""What a traced function is told where it asks for a value, and what of that is a guard."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tests.compare import same_bits
from tracegrad.core.errors import ConcretizationTypeError
from tracegrad.core.tracing import trace_graph
from tracegrad.core.types import type_of
from tracegrad.transforms.guards import Guards

X = np.array([0.5, -1.5, 2.0])

ASKING: dict[str, tuple[Callable[..., Any], tuple[Any, ...], str]] = {
    "if": (lambda x: x * 2 if x.sum() > 0 else -x, (X, -X), "a truth value"),
    "and": (lambda x: x[0] > 0 and x[1] < 0, (X, -X), "a truth value"),
    "bool": (lambda x: bool(x[0]), (X, 0 * X), "a truth value"),
    "int": (lambda x: x * int(x[2]), (X, 2 * X, X + 0.2), "int()"),
    "float": (lambda x: x * float(x[2]), (X, 2 * X), "float()"),
    "complex": (lambda x: x * complex(x[2]), (X, 2 * X), "complex()"),
    "math": (lambda x: x * math.exp(x[2]), (X, 2 * X), "math.exp()"),
    "range": (lambda n: sum(range(n)), (3, 4, 3), "an index or a size"),
    "range of an array": (lambda x: sum([x[i] for i in range(int(abs(x[2])))]), (X, X + 1), "int()"),
    "list": (lambda i: [X, 2 * X, 3.0][i], (0, 1, np.int8(2)), "an index or a size"),
    "slice": (lambda x, n=0: X[: np.argmax(x)], (X, -X), "an index or a size"),
    "size": (lambda n: np.zeros(n) + n, (3, 4), "an index or a size"),
    "arange": (lambda n: np.arange(n), (3, 4), "np.arange()"),
    "reshape": (lambda n: np.ones(6).reshape(n, -1), (3, 2), "an index or a size"),
    "max": (lambda x: max(x), (X, -X), "a truth value"),
    "sorted": (lambda x: np.stack(sorted(x, key=abs)), (X, X[::-1].copy()), "a truth value"),
    "in": (lambda x: 2.0 in x, (X, -X), "a truth value"),
    "size by keyword": (lambda n: tnp.eye(n), (2, 3), "an index or a size"),
    "truth of a part": (lambda b: 1.0 if b else 2.0, (True, False, np.bool_(True)), "a truth value"),
}


@pytest.mark.parametrize("how", ASKING)
def test_what_is_told(how: str) -> None:
    f, arguments, question = ASKING[how]
    jitted = tg.jit(f)
    for _ in range(2):
        for x in arguments:
            same_bits(jitted(x), f(x))
    assert any(question in line for line in jitted.trace_log[1:]) or len({type_of(x) for x in arguments}) > 1


def test_floats_are_told_apart_by_their_bits() -> None:
    f = lambda x: np.copysign(1.0, float(x))
    jitted = tg.jit(f)
    for x in (0.0, -0.0, np.nan, np.nan, np.inf, 0.0):
        same_bits(jitted(x), f(x))
    assert len(jitted.trace_log) == 4  # a NaN is a NaN
    g = tg.jit(lambda x: x if math.isnan(x) else -x)
    same_bits([g(np.float32(np.nan)), g(np.float32(1.0))], [np.float32(np.nan), np.float32(-1.0)])


@pytest.mark.parametrize("first", [np.nan, np.inf, 2.0])
def test_what_has_no_such_value_is_an_answer_too(first: float) -> None:
    """A function may catch the error: then it goes a path of its own."""

    def f(x: Any) -> Any:
        try:
            return x * int(x[0])
        except (ValueError, OverflowError) as error:
            return x * len(str(error))

    jitted = tg.jit(f)
    for _ in range(2):
        for x in (first, 2.0, np.nan, 3.0, -np.inf, np.inf):
            same_bits(jitted(np.array([x, 1.0])), f(np.array([x, 1.0])))
    assert len(jitted.trace_log) == 4
    assert any("int() at test_guards.py" in line for line in jitted.trace_log)
    uncaught = tg.jit(lambda x: x * int(x[0]))
    for x in (2.0, 3.0):
        same_bits(uncaught(np.array([x])), np.array([x * int(x)]))
        with pytest.raises(ValueError, match="cannot convert float NaN to integer") as caught:
            uncaught(np.array([np.nan]))
        assert any(entry.name == "<lambda>" for entry in caught.traceback)  # where the function asks
    with pytest.raises(OverflowError):
        tg.jit(lambda n: float(n) * 2.0)(10**400)


def test_an_assertion() -> None:
    @tg.jit
    def f(x: Any) -> Any:
        assert x > 0, "must be positive"
        return np.log(x)

    assert f(1.0) == 0.0
    with pytest.raises(AssertionError, match="must be positive"):
        f(-1.0)
    assert f(1.0) == 0.0 and f.trace_log == ["first call"]


def test_what_is_printed_makes_no_path(capsys: pytest.CaptureFixture[str]) -> None:
    @tg.jit
    def f(x: Any) -> Any:
        print(x, f"{x:.3f}")
        return 2 * x

    assert [f(1.0), f(2.0)] == [2.0, 4.0] and f.trace_log == ["first call"]
    assert "traced f64" in capsys.readouterr().out
    with pytest.raises(ConcretizationTypeError, match=r"formatting with %"):
        tg.jit(lambda x: print("%.3f" % x))(1.0)  # noqa: UP031


def test_arrays_are_no_guards() -> None:
    """Each of them would be a path."""
    with pytest.raises(ConcretizationTypeError, match=r"tnp\.unique\(\.\.\., size=n\)") as caught:
        tg.jit(np.unique)(X)
    assert "branches=" not in str(caught.value)


def test_nothing_is_computed_before_it_is_asked_for() -> None:
    ran: list[str] = []
    noted = tg.extend.elementwise(
        "noted", lambda x: (ran.append("noted"), x + 1.0)[1], lambda d, out, x: d, infer=tg.extend.same_type, kinds="f"
    )
    try:

        def f(x: Any) -> Any:
            y = tg.extend.bind(noted, (x,))
            assert ran == []
            if np.sum(x) > 0:
                assert ran == []
            if np.sum(y) > 0 and np.sum(y * 2) > 0:
                assert ran == ["noted"]  # once for both
            return y

        guards = Guards([X])
        graph = trace_graph(lambda x: [f(x)], [type_of(X)], transform="jit", guards=guards)
        assert [a.key for a in guards.asked] == [True] * 3
        assert len(graph.outputs) == 4
    finally:
        del tg.extend.OPS["noted"]


def test_answers_that_are_known() -> None:
    """Nothing is computed for them, and from there on what is."""
    guards = Guards([X], [False])
    told = []

    def f(x: Any) -> Any:
        told.extend([bool(x[0] > 0), int(x[2])])
        return [x]

    trace_graph(f, [type_of(X)], transform="jit", guards=guards)
    assert told == [False, 2]
    assert [a.told() for a in guards.asked][1].endswith(" was 2")
