"""Running sums, products, extremes and recurrences."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same
from tests.numpy.test_cumulative import LAX
from tests.ops.reduce import agrees, traced
from tests.ops.reduce.test_sums import closed_form_prod
from tracegrad.core.errors import ShapeError
from tracegrad.ops import cumulative

jax.config.update("jax_enable_x64", True)

rng = np.random.default_rng(0)
X = rng.uniform(-2, 2, (2, 3, 4))
DISTINCT = rng.permutation(24).reshape(2, 3, 4) / 7 - 1.5


def test_cumprod_at_zeros() -> None:
    x = np.array([[0.5, 0.0, 2.0, 0.0, -1.5], [0.0, 1.0, 2.0, 3.0, 0.5]])
    n = x.shape[1]
    jacobian = tg.jacrev(lambda row: np.cumprod(row))(x[0])
    np.testing.assert_allclose(tg.jacfwd(lambda row: np.cumprod(row))(x[0]), jacobian)
    for j in range(n):
        gradient, hessian = closed_form_prod(x[0, : j + 1])
        np.testing.assert_allclose(jacobian[j, : j + 1], gradient, rtol=1e-14)
        assert not np.any(jacobian[j, j + 1 :])
        found = tg.hessian(lambda row, j=j: np.cumprod(row)[j])(x[0])
        np.testing.assert_allclose(found[: j + 1, : j + 1], hessian, rtol=1e-14)
    agrees(lambda xp, x: xp.cumprod(x, axis=1), X)
    agrees(lambda xp, x: xp.cumprod(x, axis=-2), x)


def test_cumulative_values() -> None:
    small = np.array([[100, 100], [3, 4]], np.int8)
    for f in (
        lambda x: np.cumsum(x),
        lambda x: np.cumsum(x, 1, np.float32),
        lambda x: np.cumprod(x, -1),
        lambda x: np.cumulative_sum(x, axis=1),
        lambda x: np.cumulative_sum(x, axis=-1, include_initial=True),
        lambda x: np.cumulative_prod(x, axis=0, include_initial=True),
        lambda x: np.cumulative_prod(x[0]),
    ):
        same(traced(f, X[0]), f(X[0]), 1e-6 if f(X[0]).dtype == np.float32 else 1e-13)
    same(traced(lambda x: np.cumsum(x, 1, dtype=np.int8), small), np.cumsum(small, 1, dtype=np.int8))
    same(traced(lambda x: np.cumprod(x, 0), small), np.cumprod(small, 0))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("name", ["cummax", "cummin", "cumlogsumexp"])
def test_running_extremes(name: str, axis: int, reverse: bool) -> None:
    f = getattr(cumulative, name)
    turn = tuple([slice(None, None, -1) if reverse and i == axis else slice(None) for i in range(3)])
    same(traced(lambda x: f(x, axis, reverse), DISTINCT), LAX[name].accumulate(DISTINCT[turn], axis)[turn], 1e-14)
    agrees(lambda xp, x: (f if xp is np else getattr(jax.lax, name))(x, axis=axis, reverse=reverse), DISTINCT)


def test_running_extremes_of_ties_and_infinities() -> None:
    x = np.array([1.0, 3.0, 3.0, 2.0, 5.0])
    np.testing.assert_array_equal(
        tg.jacrev(cumulative.cummax)(x),
        [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 1]],
    )
    np.testing.assert_array_equal(traced(np.maximum.accumulate, x), np.maximum.accumulate(x))
    y = np.array([-np.inf, -np.inf, 0.0, 1.0])
    jacobian = tg.jacfwd(cumulative.cumlogsumexp)(y)
    np.testing.assert_allclose(tg.jacrev(cumulative.cumlogsumexp)(y), jacobian, atol=1e-16)
    share = 1 / (1 + np.e)
    np.testing.assert_allclose(jacobian, [[0] * 4, [0] * 4, [0, 0, 1, 0], [0, 0, share, 1 - share]], atol=1e-15)


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.bool_])
def test_the_running_logarithm_of_integers_is_a_float_under_every_transform(dtype: Any) -> None:
    x = np.arange(4).astype(dtype)
    expected = np.logaddexp.accumulate(x)
    graph = tg.jit(np.logaddexp.accumulate).lower(x).graph
    assert graph.outputs[0].type.dtype == expected.dtype
    np.testing.assert_array_equal(tg.jit(np.logaddexp.accumulate)(x), expected)
    pytest.importorskip("jax")
    on_xla = np.asarray(tg.jit(np.logaddexp.accumulate, backend="xla")(x))
    assert on_xla.dtype == expected.dtype
    np.testing.assert_allclose(on_xla, expected, rtol=1e-3 if dtype != np.int64 else 1e-14)


@pytest.mark.parametrize("shape, axis", [((7,), 0), ((300,), 0), ((3, 50), 1), ((50, 200), 0), ((2, 3, 4), 1)])
@pytest.mark.parametrize("reverse", [False, True])
def test_linear_recurrence(shape: tuple[int, ...], axis: int, reverse: bool) -> None:
    """Both ways of evaluating it, against the loop that defines it."""
    a, b = rng.uniform(-1, 1, (2, *shape))
    turn = slice(None, None, -1) if reverse else slice(None)
    rows_a, rows_b = np.moveaxis(a, axis, 0)[turn], np.moveaxis(b, axis, 0)[turn]
    rows = [rows_b[0]]
    for j in range(1, len(rows_b)):
        rows.append(rows_a[j] * rows[-1] + rows_b[j])
    expected = np.moveaxis(np.stack(rows)[turn], 0, axis)
    np.testing.assert_allclose(cumulative.linear_recurrence(a, b, axis, reverse), expected, rtol=1e-12, atol=1e-14)


def test_linear_recurrence_overflowing_factors() -> None:
    """Products of factors that overflow where nothing is carried must not make NaN, nor a warning."""
    a = np.full(500, 1e300)
    assert not np.any(cumulative.linear_recurrence(a, np.zeros(500)))
    with pytest.raises(ShapeError, match="differ in shape"):
        tg.grad(lambda a: np.sum(cumulative.linear_recurrence(a, np.ones(3))))(np.ones(2))
