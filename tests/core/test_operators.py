"""Operators, and what other libraries do with them."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.errors import DtypeError

jax.config.update("jax_enable_x64", True)


def test_none_is_equal_to_nothing() -> None:
    def f(x: Any) -> Any:
        assert not np.any(x == None) and np.all(x != None) and (x == None).shape == x.shape  # noqa: E711
        return np.sum(x) if not np.any(x == None) else 0.0  # noqa: E711

    np.testing.assert_array_equal(tg.grad(f)(np.ones(3)), np.ones(3))
    np.testing.assert_array_equal(tg.jit(tg.grad(f))(np.ones(3)), np.ones(3))


def test_pandas_leaves_the_operator_to_the_tracer() -> None:
    """Which refuses what computes in its own way by name, on either side."""
    pandas = pytest.importorskip("pandas")
    x = np.array([1.0, 2.0])
    series = pandas.Series([3.0, 4.0])
    for f in (lambda x: series * x, lambda x: x * series, lambda x: series - x[0], lambda x: pandas.Index(series) + x):
        for transform in (tg.grad, tg.jit):
            with pytest.raises(DtypeError, match=r"a pandas\.[\w.]+ at .*test_operators.py.*write np.asarray\(x\)"):
                transform(lambda x, f=f: np.sum(f(x)))(x)
    assert np.array_equal(tg.grad(lambda x: np.sum(series.to_numpy() * x))(x), [3.0, 4.0])
