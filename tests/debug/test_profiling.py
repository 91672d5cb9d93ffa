"""Where the time goes: not how long it is, which no test knows, but that all of it is told, and of which line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import lax

X = np.random.default_rng(0).normal(size=(60, 60))
BIG = np.random.default_rng(0).normal(size=(600, 600))


def _loss(x: Any) -> Any:
    h = np.tanh(x @ x)
    return np.sum(h**2)


LINE = _loss.__code__.co_firstlineno


def test_lines_and_operations() -> None:
    found = tg.debug.profile(_loss, X)
    lines = {x.source.line: x for x in found.lines if x.source is not None}
    assert set(lines) == {LINE + 1, LINE + 2} and {"matmul", "tanh"} == set(lines[LINE + 1].ops)
    assert found.seconds > 0 and found.seconds == pytest.approx(sum([x.seconds for x in found.lines]))
    assert sum(found.ops.values()) == pytest.approx(found.seconds)
    assert all([x.backward == 0 for x in found.lines]) and found.runs >= 3
    assert found.lines == tuple(sorted(found.lines, key=lambda x: -x.seconds))


def test_derivatives_are_told_apart() -> None:
    found = tg.debug.profile(tg.grad(_loss), X)
    assert 0 < sum([x.backward for x in found.lines]) < found.seconds


@pytest.mark.parametrize(
    ("f", "x", "ops"),
    [
        (lambda x: lax.scan(lambda c, a: (np.tanh(c @ x) * a, None), x, np.ones(5))[0], X, {"tanh", "matmul", "scan"}),
        (lambda x: lax.cond(x[0, 0] > 9, np.sin, np.cos, x), X, {"cos", "switch"}),
        (lambda x: lax.while_loop(lambda c: c[0, 0] < 9, lambda c: np.exp(c), x)[0], X, {"exp", "less", "while_loop"}),
        (lambda x: np.sum(np.sin(np.cos(x) * 2.0 + 1.0)), BIG, {"sin", "cos", "multiply", "add", "chain"}),
        (tg.vmap(lambda r: np.sort(r) @ r), X, {"sort", "matmul"}),
    ],
)
def test_what_is_inside_is_told_too(f: Callable[..., Any], x: Any, ops: set[str]) -> None:
    found = tg.debug.profile(tg.jit(f), x)
    assert ops <= found.ops.keys()
    assert {s.source.file for s in found.lines if s.source is not None} == {__file__}


def test_what_is_jitted_is_left_as_it_is() -> None:
    f = tg.jit(lambda x: lax.scan(lambda c, a: (np.tanh(c) * a, None), x, np.ones(5))[0], donate_argnums=0)
    want, given = f(X.copy()), X.copy()
    tg.debug.profile(f, given)
    assert np.array_equal(given, X) and np.array_equal(f(X.copy()), want)
    assert "tick" not in f.lower(X).as_text()


def test_as_a_table_and_as_a_page(tmp_path: Path) -> None:
    found = tg.debug.profile(tg.grad(_loss), X)
    text = str(found)
    assert text.splitlines()[0].split() == ["time", "share", "backward", "line", "operations"]
    assert f"test_profiling.py:{LINE + 1}  h = np.tanh(x @ x)" in text and "100 %" in text.splitlines()[-1]
    html = found.to_html(tmp_path / "profile.html")
    assert (tmp_path / "profile.html").read_text(encoding="utf-8") == html == found._repr_html_()
    assert f'<td class="n">{LINE + 1}</td><td>    h = np.tanh(x @ x)</td>' in html and "http" not in html


def test_what_is_profiled_is_a_function() -> None:
    with pytest.raises(TypeError, match=r"debug.profile at .* takes a function, got the float 3.0"):
        tg.debug.profile(3.0)  # type: ignore[arg-type]


def test_of_branches_the_path_of_the_arguments() -> None:
    f = lambda x: x @ x if x[0, 0] > 0 else x + 1.0
    for g in (f, jitted := tg.jit(f)):
        for sign, op in ((1.0, "matmul"), (-1.0, "add"), (1.0, "matmul")):
            assert tg.debug.profile(g, sign * np.ones((10, 10))).ops.keys() == {op, "slice", "greater"}
    assert jitted(np.ones((1, 1))) == 1.0
