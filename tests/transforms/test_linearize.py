"""jvp, vjp, linearize and linear_transpose of several primals, outputs in trees, and whole numbers for tangents."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.jaxprs import run_with_numpy
from tests.transforms.test_grad import Point
from tracegrad import tree
from tracegrad.core.errors import DtypeError

jax.config.update("jax_enable_x64", True)

X = np.array([0.3, -1.2, 2.0])


def test_pytrees_of_outputs() -> None:
    f = lambda x: {"a": np.sin(x), "b": [x[0] * x[1], None, 3.0], "point": Point(x * 2, x.sum())}
    jax_f = lambda x: {"a": jnp.sin(x), "b": [x[0] * x[1], None, 3.0], "point": Point(x * 2, x.sum())}
    out, tangent = tg.jvp(f, (X,), (np.ones(3),))
    expected_out, expected = jax.jvp(jax_f, (X,), (np.ones(3),))
    for got, want in zip(
        tree.tree_leaves((out, tangent)), jax.tree.leaves((expected_out, expected)), strict=True
    ):  # fmt: skip
        near(got, np.asarray(want, np.asarray(got).dtype))
    for ours, theirs in ((tg.jacfwd, jax.jacfwd), (tg.jacrev, jax.jacrev)):
        got, want = ours(f)(X), run_with_numpy(theirs(jax_f), X)
        assert got["b"][1] is None
        for a, b in zip(tree.tree_leaves(got), jax.tree.leaves(want), strict=True):
            near(a, np.asarray(b))


def test_several_primals() -> None:
    f = lambda x, p: x * p["s"] + p["b"]
    p, t = {"s": 2.0, "b": np.ones(3)}, {"s": 1.0, "b": X}
    out, push = tg.linearize(f, X, p)
    near(push(X, t), X * 2.0 + X * 1.0 + X)
    near(tg.jvp(f, (X, p), (X, t))[1], X * 2.0 + X * 1.0 + X)
    near(tg.vjp(f, X, p)[1](X), (2 * X, {"s": np.sum(X * X), "b": X}))


def test_whole_numbers_for_tangents() -> None:
    """SciPy tries a LinearOperator with int8 for the dtype of what it gives."""
    linalg = pytest.importorskip("scipy.sparse.linalg")
    x = np.array([1.0, 2.0, 3.0])
    t = np.array([1, 0, 2])

    def f(x: Any) -> Any:
        return np.sum(x**4)

    hessian = linalg.LinearOperator((3, 3), matvec=lambda v: tg.hvp(f, (x,), (v,)))
    assert hessian.dtype == np.float64 and np.allclose(hessian @ np.ones(3), 12 * x**2)
    jacobian = linalg.LinearOperator(
        (3, 3), matvec=tg.linearize(np.sin, x)[1], rmatvec=lambda v: tg.vjp(np.sin, x)[1](v)[0]
    )
    assert jacobian.dtype == np.float64 and np.allclose(jacobian.T @ np.ones(3), np.cos(x))
    for dtype in (np.int8, np.uint16, np.int32, np.int64):
        assert np.array_equal(tg.jvp(np.sin, (x,), (t.astype(dtype),))[1], np.cos(x) * t)
        assert np.array_equal(tg.vjp(np.sin, x)[1](t.astype(dtype))[0], np.cos(x) * t)
    narrow = x.astype(np.float32)
    assert tg.jvp(np.sin, (narrow,), (t.astype(np.int8),))[1].dtype == np.float32
    with pytest.raises(DtypeError, match=r"tangents\[0\] is i64\[3\], but primals\[0\] is f32\[3\]; write .astype"):
        tg.jvp(np.sin, (narrow,), (t,))
    with pytest.raises(DtypeError, match=r"is bool\[3\]"):
        tg.jvp(np.sin, (x,), (t > 0,))
    along = tg.vmap(lambda v: tg.hvp(f, (x,), (v,)))(np.eye(3, dtype=int))
    assert np.allclose(along, np.diag(12 * x**2)) and np.allclose(
        tg.jit(lambda v: tg.hvp(f, (x,), (v,)))(t), 12 * x**2 * t
    )
