"""What functions cost, by line, before they are run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.lower.numpy.test_peak import measured
from tracegrad import lax
from tracegrad.core.errors import ConcretizationTypeError

X = np.random.default_rng(0).normal(size=(300, 200))


def _loss(w: Any, x: Any) -> Any:
    h = np.tanh(x @ w)
    return np.mean(h**2)


LINE = _loss.__code__.co_firstlineno
W = X[:200].copy()


def test_lines_of_a_loss() -> None:
    found = tg.debug.cost(_loss, W, X)
    first, second = found.lines
    assert first.source is not None and second.source is not None
    assert [first.source.line, second.source.line] == [LINE + 1, LINE + 2]
    assert first.ops == {"matmul": 1, "tanh": 1} and first.flops == 2 * 300 * 200 * 200 + 300 * 200
    assert first.moved == X.nbytes + W.nbytes + 3 * X.nbytes
    assert found.flops == first.flops + second.flops
    assert found.peak == pytest.approx(measured(tg.jit(_loss), W, X), rel=0.1)
    assert sum([x.at_peak for x in found.lines]) == found.peak


def test_what_is_kept_is_what_residuals_say() -> None:
    kept = sum([r.bytes for r in tg.debug.residuals(_loss, W, X) if r.source is not None])
    assert tg.debug.cost(_loss, W, X).kept == kept > 0
    found = tg.debug.cost(tg.grad(_loss), W, X)
    assert found.kept == X.nbytes * 2 and found.lines[0].kept == found.kept  # tanh, and what it is of
    assert found.peak == pytest.approx(measured(tg.jit(tg.grad(_loss)), W, X), rel=0.1)
    assert tg.debug.cost(lambda n: n + 1, np.arange(3)).kept == 0


def test_loops_count_as_often_as_they_run() -> None:
    def f(x: Any) -> Any:
        return lax.scan(lambda c, _: (np.tanh(c @ x), None), x, np.ones(7))[0]

    assert tg.debug.cost(f, W).flops == 7 * (2 * 200**3 + 200**2)


def test_nothing_is_run_and_types_are_enough() -> None:
    types = [tg.ShapeDtypeStruct((10**6, 10**6), "float32")] * 2
    found = tg.debug.cost(tg.jit(lambda x, y: np.sin(x @ y)), *types)
    assert found.flops == 2 * 10**18 + 10**12 and found.peak == 4 * 10**12


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_jitted_functions_with_static_arguments(backend: str) -> None:
    f = tg.jit(lambda x, n: x**n, static_argnums=1, backend=backend)
    assert tg.debug.cost(f, X, 3).peak == tg.debug.cost(lambda x: x**3, X).peak


def test_as_a_table() -> None:
    text = str(tg.debug.cost(_loss, W, X))
    assert text.splitlines()[0].split() == ["flops", "moved", "kept", "at", "peak", "line"]
    assert f"test_cost.py:{LINE + 1}  h = np.tanh(x @ w)" in text
    assert text.splitlines()[-1].endswith("in all") and "24.2 M" in text


def test_what_has_a_cost_is_a_function() -> None:
    with pytest.raises(TypeError, match=r"debug.cost at .* takes a function, got the float 3.0"):
        tg.debug.cost(3.0)  # type: ignore[arg-type]


def test_of_branches_the_path_of_the_arguments() -> None:
    f = lambda x: x @ x if x[0, 0] > 0 else x + 1.0
    x = np.ones((10, 10))
    assert [tg.debug.cost(g, a).flops for g in (f, tg.jit(f)) for a in (x, -x)] == [2001, 101] * 2
    with_sum = lambda x: x @ x if np.exp(x).sum() > 0 else x  # what is asked for costs too
    assert tg.debug.cost(with_sum, x).flops == 2000 + 100 + 100 + 1 and tg.debug.cost(with_sum, x).kept == 0
    with pytest.raises(ConcretizationTypeError):
        tg.debug.cost(f, tg.ShapeDtypeStruct((10, 10), "float64"))
    with pytest.raises(ConcretizationTypeError):
        tg.debug.cost(tg.jit(f, branches="error"), x)
