"""NumPy's functions called with `out=` and `like=`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg

X = np.array([0.5, -1.0])


@pytest.mark.parametrize("by", ["keyword", "position"])
@pytest.mark.parametrize("transform", [lambda f: f, tg.jit], ids=["eager", "jit"])
def test_out(by: str, transform: Any) -> None:
    def f(x: Any) -> Any:
        into = np.copy(x)
        found = np.cumsum(x * x, 0, None, into) if by == "position" else np.cumsum(x * x, out=into)
        assert found is into
        return into[1] * into[0]

    # (x0² + x1²) x0²
    wanted = [4 * X[0] ** 3 + 2 * X[0] * X[1] ** 2, 2 * X[1] * X[0] ** 2]
    assert np.allclose(transform(tg.grad(f))(X), wanted, rtol=1e-14)


def test_like() -> None:
    def f(x: Any) -> Any:
        made = np.zeros(2, like=x)
        made[:] = x
        return np.sum(np.asarray([2.0, 3.0], like=x) * made)

    assert tg.grad(f)(X).tolist() == [2.0, 3.0] and tg.jit(f)(X) == 2 * X[0] + 3 * X[1]


def test_an_error_has_the_types() -> None:
    with pytest.raises(ValueError, match=r"sum of f64\[2\] at .*test_calls\.py"):
        tg.grad(lambda x: np.sum(x, 1))(X)
