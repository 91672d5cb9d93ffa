"""SciPy's routines as equations: what a Graph says of them, and that it pickles, is batched and differentiated as any other."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.check import check
from tracegrad.core.graph import evaluate
from tracegrad.core.types import ArrayType
from tracegrad.scipy.integrate import quad, solve_ivp
from tracegrad.scipy.integrate.solver import packed, unpacked


def decayed(k: Any) -> Any:
    return solve_ivp(lambda t, y: -k * y, (0.0, 1.0), np.ones(1), t_eval=[1.0], rtol=1e-9, atol=1e-9).y[0, 0]


def test_one_equation() -> None:
    graph = tg.make_graph(decayed)(0.5)
    check(graph)
    text = str(graph)
    assert "solver[graph=<lambda>, solver=solve_ivp(rtol=1e-09, atol=1e-09, method='RK45')]" in text
    assert "graph <lambda>(a:f64[]=t, b:f64[1]=y, c:f64~[])" in text
    np.testing.assert_array_equal(graph(0.5)[0], decayed(0.5))


def test_graphs_pickle() -> None:
    for f in (decayed, tg.grad(decayed), lambda k: quad(lambda x: np.exp(-k * x), 0.0, 1.0)[0]):
        graph = tg.make_graph(f)(0.5)
        again = pickle.loads(pickle.dumps(graph))
        np.testing.assert_array_equal(evaluate(again, [0.5]), evaluate(graph, [0.5]))


def test_batches_of_batches() -> None:
    k = np.array([[0.1, 0.2], [0.3, 0.4]])
    found = tg.vmap(tg.vmap(tg.grad(decayed)))(k)
    np.testing.assert_allclose(found, -np.exp(-k), rtol=1e-7)


def test_packing() -> None:
    types = [
        ArrayType((2,), np.dtype(np.float32)),
        ArrayType((1, 2), np.dtype(complex)),
        ArrayType((), np.dtype(float)),
    ]
    arrays = [np.arange(2, dtype=np.float32), np.array([[1j, 2.0]]), None]
    vector = packed(arrays, types)
    assert vector.dtype == complex and vector.shape == (5,)
    found = unpacked(vector, types)
    assert [x.dtype for x in found] == [t.dtype for t in types] and found[2] == 0.0
    np.testing.assert_array_equal(found[1], arrays[1])


def test_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.integrate", None)
    for f in (decayed, lambda b: quad(np.cos, 0.0, b)[0]):
        with pytest.raises(ImportError, match=r"tg\.scipy\.integrate .*pip install 'tracegrad\[scipy\]'"):
            tg.grad(f)(1.0)
