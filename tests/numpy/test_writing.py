"""NumPy's functions that write into an argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tests.compare import near
from tests.core.test_views import through_a_view
from tracegrad.core.errors import (
    TracerArrayConversionError,
)

jax.config.update("jax_enable_x64", True)

X = np.arange(1.0, 6.0)


def through_a_name(x: Any) -> Any:
    w = x
    w += 1
    return np.sum(w * x)


def through_a_helper(x: Any) -> Any:
    def times_five(u: Any) -> None:
        u *= 5

    times_five(x)
    return np.sum(x**2)


def rows_of(x: Any) -> Any:
    m = np.stack([x, x**2])
    for row in m:
        row -= np.mean(row)
    return np.sum(m**3)


def elements(x: Any) -> Any:
    u = x * 0
    for i in range(1, 5):
        u[i] = u[i - 1] * 0.5 + np.sin(x[i])
    return np.sum(u**2)


def all_kinds(x: Any) -> Any:
    y = x * 2
    y[0] = y[1] * 3
    y[2:] += y[0]
    y[[0, 3]] = 1.0
    y.sort()
    np.add(y, 1, out=y)
    np.add.at(y, [0, 0], x[1])
    np.put(y, [4], x[0])
    y.flat[3] *= x[1]
    z = y.reshape(5, 1)
    z[0] = 7 * x[3]
    t = z.T
    t[0, 1] = x[2]
    np.copyto(t, t * 2, where=np.arange(5) > 2)
    y[y > 20.0] = x[4]
    np.sum(np.outer(x, x), axis=0, out=t[0])
    np.multiply(y, 2.0, out=y, where=y > 40)
    tnp.put_along_axis(y, np.array([1]), x[:1], 0)
    np.putmask(y, np.arange(5) == 2, x)
    np.place(y, np.arange(5) < 1, [x[3]])
    y.partition(2)
    return np.sum(y**2) + np.sum(z)


def of_matrices(x: Any) -> Any:
    m = np.outer(x[:3], x[1:4])
    np.fill_diagonal(m, m[0, 1])
    b, c = m.T.ravel(), m.ravel()
    b[0] = 100.0
    c[1] *= 3
    m[:, 0] = m[0]
    m[..., 1] -= 1
    d = np.diagonal(m)
    m[2, 2] = x[4]
    for part in np.array_split(m, 2, axis=1):
        part /= 2
    return np.sum(m**2) + np.sum(b) + np.sum(d)


def complex_parts(x: Any) -> Any:
    z = x + 1j * x[::-1]
    z.real *= 2
    z.imag[1:] = z.real[1:] * x[1:]
    z.real = z.real + 1
    return np.sum(np.abs(z) ** 2)


def an_element_as_an_array(x: Any) -> Any:
    u = x.copy()
    e = u[2, ...]
    e += 10 * x[0]
    s = u[0]
    s += 100
    return np.sum(u**2) + s


PROGRAMS = [
    through_a_view, through_a_name, through_a_helper, rows_of, elements, all_kinds, of_matrices, complex_parts,
    an_element_as_an_array,
]  # fmt: skip


@pytest.mark.parametrize("f", PROGRAMS)
def test_every_transform_computes_what_numpy_does(f: Callable[[Any], Any]) -> None:
    x = X.copy()
    wanted = f(x.copy())
    gradient = tg.grad(f)(x)
    t = np.cos(X)
    h = 1e-6
    np.testing.assert_allclose(np.sum(gradient * t), (f(x + h * t) - f(x - h * t)) / (2 * h), rtol=1e-6)
    for backend in ("numpy", "xla"):
        near(tg.jit(f, backend=backend)(x), wanted)
        near(tg.jit(tg.grad(f), backend=backend)(x), gradient)
    value, tangent = tg.jvp(f, (x,), (t,))
    near(value, wanted)
    near(tangent, np.sum(gradient * t))
    xs = np.stack([x, x + 0.1])
    near(tg.vmap(f)(xs), [f(row.copy()) for row in xs])
    near(tg.vmap(tg.grad(f))(xs), [tg.grad(f)(row) for row in xs])
    near(tg.grad(tg.checkpoint(f))(x), gradient)
    near(tg.grad(tg.jit(f))(x), gradient)
    near(tg.make_graph(f)(x)(x)[0], wanted)
    np.testing.assert_array_equal(x, X)  # the caller's array stays as it was


# ---------------------------------------------------------------------------------------------------------------------
# copyto.


def test_copyto_is_refused_with_what_to_write() -> None:
    with pytest.raises(TracerArrayConversionError, match=r"y = np\.where\(c, x, y\)"):
        tg.grad(lambda x: np.copyto(np.zeros(2), x))(np.ones(2))
