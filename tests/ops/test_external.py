"""The equation that calls an external function, and what passes do with one that does more than its outputs say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.context import context
from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.core.graph import silent
from tracegrad.lower.passes import eliminate_dead_code, merge_common_subexpressions

FLOAT = tg.ShapeDtypeStruct((), "float64")


def test_it_gets_copies_and_what_it_returns_is_copied() -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        x += 1.0
        kept.append(x)
        return x

    g = tg.external(f, out=lambda x: x)
    x = np.zeros(1 << 16)

    @tg.jit
    def program(x: Any) -> Any:
        y = np.sin(g(x)) + 1.0
        return y * 2.0 + g(y)

    expected = 2 * (np.sin(x + 1) + 1) + np.sin(x + 1) + 2
    np.testing.assert_allclose(program(x), expected, rtol=1e-14)
    np.testing.assert_array_equal(x, 0.0)
    np.testing.assert_array_equal(kept[0], 1.0)
    out = g(x)
    out += 1.0
    np.testing.assert_array_equal(kept[-1], 1.0)


def test_it_knows_nothing_of_what_is_traced_around_it() -> None:
    """So that it may trace itself, of arrays of which a program is being made."""
    table = np.arange(3.0)

    def f(x: Any) -> Any:
        assert context.trace is None and not context.bound
        return tg.grad(lambda t: np.sum(t**3 * table))(np.full(3, x))

    g = tg.external(f, out=tg.ShapeDtypeStruct((3,), "float64"))
    for program in (g, tg.jit(g), tg.jit(lambda x: g(2.0) * x / x), tg.jit(g, backend="xla")):
        np.testing.assert_allclose(program(2.0), 12 * table)
    assert tg.vmap(lambda x: g(1.0) * x, axis_name="i")(np.ones(2)).shape == (2, 3)


@pytest.mark.parametrize(
    "returns, error, text",
    [
        (lambda x: np.ones(2), ShapeError, r"returned shape (2,) for its result 0, which is declared f64[]"),
        (lambda x: 1j, DtypeError, "returned complex128 for its result 0, which is declared f64[]"),
        (lambda x: (x, x), ShapeError, "returned shape (2,)"),
        (lambda x: [[1.0], [1.0, 2.0]], ShapeError, "returned no array for its result 0"),
    ],
)
def test_what_it_returns_is_as_declared(returns: Any, error: type[Exception], text: str) -> None:
    g = tg.external(returns, out=FLOAT)
    for f, x in ((g, 1.0), (tg.jit(g), 1.0), (tg.vmap(g), np.ones(3))):
        with pytest.raises(error) as caught:
            f(x)
        assert text in str(caught.value), str(caught.value)
        assert "test_external.py" in str(caught.value)


def test_effects_stay_once_and_in_order() -> None:
    def f(x: Any) -> Any:
        tg.debug.callback(lambda v: None, x)
        tg.debug.callback(lambda v: None, x)
        tg.external(np.sin, out=FLOAT)(x)
        tg.lax.fori_loop(0, 2, lambda i, c: (tg.debug.callback(lambda v: None, c), c + 1.0)[1], x)
        return x * 2.0 + 0.0 * tg.external(np.sin, out=FLOAT, pure=False)(x)

    graph = tg.make_graph(tg.jit(f))(1.0)
    assert graph.effects
    small = merge_common_subexpressions(eliminate_dead_code(graph))
    assert [e.op.name for e in small.eqns if e.op.acts(e.params)] == ["external", "external", "scan", "external"]
    left = silent(graph)
    assert [e.op.name for e in left.eqns if e.op.acts(e.params)] == ["external"]  # whose result is read
    assert not tg.make_graph(tg.jit(np.sin))(1.0).effects


def test_a_loop_that_reads_nothing_traced_is_run_with_the_program() -> None:
    seen: list[int] = []

    @tg.jit
    def f(x: Any) -> Any:
        tg.lax.fori_loop(0, 2, lambda i, c: tg.debug.callback(lambda: seen.append(1)), None)
        return x

    f(1.0), f(2.0)
    assert len(seen) == 4


def test_source_without_us_says_what_it_lacks() -> None:
    with pytest.raises(TypeError, match="external"):
        tg.to_numpy_source(lambda x: tg.external(np.sin, out=FLOAT)(x), 1.0)


def test_arrays_that_it_closes_over_are_read_anew() -> None:
    seen: list[float] = []
    table = np.ones(3)

    @tg.jit
    def f(x: Any) -> Any:
        tg.debug.callback(lambda v: seen.append(v[0]), table)
        return x

    f(1.0)
    table[:] = 2.0
    f(1.0)
    assert seen == [1.0, 2.0]
