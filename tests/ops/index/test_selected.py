"""`x[mask]` where only the type of the mask is known, against what NumPy does with its values."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tracegrad.core.errors import ConcretizationTypeError

jax.config.update("jax_enable_x64", True)

X = np.array([1.0, -2.0, 3.0, 0.5])
Y = np.array([2.0, 1.0, 4.0, -1.0])
M = np.arange(8.0).reshape(4, 2) + 0.5


def logarithms(x: Any) -> Any:
    y = x.copy()
    y[x > 0] = np.log(x[x > 0])
    return np.sum(y * Y)


def in_place(x: Any) -> Any:
    y = x * 1.0
    y[x > 0] *= 2
    y[x < 0] += x[x < 0]
    return np.sum(y * Y)


def own_in_place(x: Any) -> Any:
    v = x[x > 0]
    same = v
    v -= 1
    v *= v
    return np.sum(same)


def inside_and_after(x: Any) -> Any:
    v = x[x > 0]
    first = tg.lax.cond(x[0] > 0, lambda: np.sum(np.log(v)), lambda: 0.0)
    return first + np.sum(np.log(v) * v)


def mask_written_into(x: Any) -> Any:
    m = x > 0
    m[0] = False
    return np.sum(np.log(x[m])) + np.vdot(x[m], x[m])


def parts_in_place(x: Any) -> Any:
    y = np.stack([x, 2 * x, x * x], axis=1)
    y[x > 0, 0] = 3 * x[x > 0]
    y[x < 0.7, 1:] *= np.array([2.0, 3.0])
    y[x > 2, -1] = x[0]
    return np.sum(y**2)


def cube(x: Any) -> Any:
    return np.stack([M * x[:, None], M + x[:, None]], axis=-1)


def rows(x: Any) -> Any:
    return (M * x[:, None])[x > 0]


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "sum": lambda x: np.sum(x[x > 0] ** 2),
    "in a tuple": lambda x: np.sum(x[x > 0,] ** 2),
    "mean": lambda x: np.mean(np.log(x[x > 0])),
    "method": lambda x: (2 * x[x > 0]).mean(),
    "max": lambda x: np.max(x[x > 0] * 3),
    "min": lambda x: x[x > 0].min(),
    "max initial": lambda x: np.max(x[x > 0], initial=2.0),
    "prod": lambda x: np.prod(x[x > 0]),
    "std": lambda x: np.std(x[x > 0]),
    "var": lambda x: x[x > 0].var(ddof=1),
    "reduce": lambda x: np.add.reduce(x[x > 0]),
    "maximum.reduce": lambda x: np.maximum.reduce(x[x > 0]),
    "size": lambda x: np.sum(x[x > 0]) / x[x > 0].size,
    "np.size": lambda x: np.sum(x[x > 0]) / np.size(x[x > 0]),
    "count": lambda x: np.count_nonzero(x[x > 0] > 0.7) * x[0],
    "any": lambda x: np.where(np.any(x[x > 0] > 2), x[0], x[1]),
    "all": lambda x: np.where((x[x > 0] > 2).all(), x[0], x[1]),
    "mask twice": lambda x: np.sum(x[x > 0] * (x * Y)[x > 0]),
    "mask once": lambda x: (lambda m: np.sum(x[m] / (x * x + 1)[m]))(x > 0),
    "mask of constants": lambda x: np.sum(x[x * Y > 0.5] * (x * x)[x * Y > 0.5]),
    "dot": lambda x: x[x > 0] @ (x * Y)[x > 0] + np.dot(x[x > 0], x[x > 0]),
    "scalars": lambda x: x[0] * np.sum(x[0] * x[x > 0] - x[1]) + np.sum(2.0 / x[x > 0]),
    "where": lambda x: np.sum(np.where(x[x > 0] > 0.7, x[x > 0], 0)),
    "clip": lambda x: np.sum(np.clip(x[x > 0], 0.7, x[2] - 1)),
    "astype": lambda x: np.sum(x[x > 0].astype(np.complex128) ** 2).real,
    "two results": lambda x: np.sum(np.modf(0.9 * x[x > 0])[0]),
    "log sum exp": lambda x: np.log(np.sum(np.exp(x[x > 0]))),
    "normalised": lambda x: np.sum(((x[x > 0] - x[x > 0].mean()) / x[x > 0].std()) ** 3),
    "sum of rows": lambda x: np.sum(np.sum(rows(x), axis=0) ** 2),
    "sum along rows": lambda x: np.sum(np.sum(rows(x), axis=1) ** 2),
    "mean, keeping axes": lambda x: np.sum(np.mean(rows(x), axis=0, keepdims=True) ** 2),
    "column": lambda x: np.sum(rows(x)[:, 1] ** 2),
    "a column of some rows": lambda x: np.sum(cube(x)[x > 0, 0] ** 2),
    "some columns of them": lambda x: np.sum(np.log(cube(x)[x > 0, ..., :1])),
    "another axis": lambda x: np.sum(cube(x)[x > 0, None, 1] ** 2),
    "after two axes": lambda x: np.sum(cube(x)[M * x[:, None] > 1, 1] ** 2),
    "columns of the same rows": lambda x: np.sum(cube(x)[x > 0, 0] * cube(x)[x > 0, 1]),
    "assigned in part": parts_in_place,
    "at, in part": lambda x: np.sum(tnp.at(cube(x))[x > 0, 0].add(x[0]) * tnp.at(cube(x))[x < 0, 1:].set(7.0)),
    "rows by a matrix": lambda x: np.sum((rows(x) @ np.array([1.0, 2.0])) ** 2),
    "broadcasting": lambda x: np.sum(rows(x) * np.array([1.0, 2.0]) + rows(x) / np.array([[2.0, 3.0]])),
    "mask of two axes": lambda x: np.sum((M * x[:, None])[M * x[:, None] > 1] ** 2),
    "mask without axes": lambda x: np.sum(x[x[0] > 0] ** 2) + np.sum(x[x[0] < 0]),
    "assigned through it": lambda x: (
        np.sum(tnp.at(x * Y)[x[0] > 0].set(x) * Y) + np.sum(tnp.at(x)[x[1] > 0].add(x) * Y)
    ),
    "assigned": logarithms,
    "x[mask] op= v": in_place,
    "in place": own_in_place,
    "at": lambda x: np.sum(tnp.at(x)[x > 0].set(np.sqrt(x[x > 0])) * Y),
    "at add": lambda x: np.sum(tnp.at(x)[x > 0].multiply(x[x > 0]) * Y),
    "of tnp": lambda x: tnp.sum(tnp.sqrt(x[x > 0])),
    "in a loop": lambda x: tg.lax.scan(lambda c, v: (c + np.sum((x * v)[x * v > 0]), None), 0.0, x)[0],
    "mask written into": mask_written_into,
    "in a branch and after it": inside_and_after,
    "in a branch": lambda x: tg.lax.cond(x[0] > 0, lambda v: np.sum(v[v > 0] ** 2), lambda v: np.sum(v), x),
}

# Tried there and in the second order, too: it is the same ops.
ON_XLA = {"mean", "max", "var", "mask twice", "normalised", "sum of rows", "assigned", "in a loop"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_as_with_values(name: str) -> None:
    """Without jit the mask has values, and NumPy does the indexing."""
    f = FUNCTIONS[name]
    value, gradient = f(X), tg.grad(f)(X)
    differences = [(f(X + h) - f(X - h)) / 2e-6 for h in 1e-6 * np.eye(4)]
    np.testing.assert_allclose(gradient, differences, 1e-6, 1e-7)
    np.testing.assert_allclose(tg.jit(f)(X), value, 1e-12)
    np.testing.assert_allclose(tg.grad(tg.jit(f))(X), gradient, 1e-12, 1e-14)
    np.testing.assert_allclose(tg.jit(tg.grad(f))(X), gradient, 1e-12, 1e-14)
    if name in ON_XLA:
        np.testing.assert_allclose(tg.jit(tg.grad(f), backend="xla")(X), gradient, 1e-12, 1e-14)
        np.testing.assert_allclose(tg.jit(tg.hessian(f))(X), tg.hessian(f)(X), 1e-9, 1e-9)
    np.testing.assert_allclose(tg.vmap(f)(np.stack([X, Y])), [f(X), f(Y)], 1e-12)
    np.testing.assert_allclose(tg.vmap(tg.grad(f))(np.stack([X, Y])), [gradient, tg.grad(f)(Y)], 1e-12, 1e-14)


def test_integers_and_truths() -> None:
    i = np.array([3, -1, 4, 1, -5], np.int8)
    f = lambda i: (
        np.sum(i[i > 0]),
        np.sum(i[i > 0] > 2),
        np.max(i[i > 0], initial=0),
        np.mean(i[i > 0]),
        np.sum(i[i > 0] % 2 == 1),
    )
    for found, wanted in zip(tg.jit(f)(i), f(i), strict=True):
        assert found == wanted and found.dtype == wanted.dtype


@pytest.mark.parametrize(
    "of_nothing, wanted",
    [(np.sum, 0.0), (np.prod, 1.0), (np.max, np.nan), (np.min, np.nan), (lambda v: v.size, 0)],
)
def test_nothing_selected(of_nothing: Any, wanted: Any) -> None:
    """Where NumPy has a value it is that, and where it raises NaN."""
    np.testing.assert_equal(tg.jit(lambda x: of_nothing(x[x > 9]))(X), wanted)


def test_what_is_not_selected_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tg.jit(lambda x: np.sum(np.log(x[x > 0])))(X) == pytest.approx(np.log(1.5))
        assert tg.jit(lambda x: np.sum(1 / np.sqrt(x[x > 2] - 2)))(X) == 1.0


def test_ties() -> None:
    x = np.array([3.0, 1.0, 3.0, 5.0])
    f = lambda x: np.max(x[x < 4])
    np.testing.assert_array_equal(tg.jit(tg.grad(f))(x), tg.grad(f)(x))


def test_infinite_elsewhere() -> None:
    x = np.array([1.0, np.inf, np.nan, 2.0])
    f = lambda x: np.sum(x[np.isfinite(x)] ** 2)
    np.testing.assert_array_equal(tg.jit(tg.grad(f))(x), [2.0, 0.0, 0.0, 4.0])


def test_number_written_through_a_mask_without_axes() -> None:
    def f(x: Any) -> Any:
        y = np.sum(x).copy()
        y[x[0] > 0] = x[1]
        return y * x[2]

    for x in (X, -X):
        assert tg.jit(f)(x) == (x[1] if x[0] > 0 else np.sum(x)) * x[2]


REFUSED: dict[str, Callable[[Any], Any]] = {
    "np.argsort": lambda x: np.argsort(x[x > 0]),
    "np.concatenate": lambda x: np.concatenate([x[x > 0], x]),
    "np.where": lambda x: np.where(x[x > 0]),
    "np.add.outer": lambda x: np.add.outer(x[x > 0], x),
    "np.vdot": lambda x: np.vdot(rows(x), x[:2]),
    "np.dot": lambda x: np.dot(rows(x), np.ones(2)),
    "np.matmul": lambda x: rows(x).astype(float) @ rows(x),
    "len()": lambda x: len(x[x > 0]),
    "iteration": lambda x: list(x[x > 0]),
    "indexing": lambda x: x[x > 0][0],
    ".shape": lambda x: x[x > 0].shape,
    ".tolist": lambda x: x[x > 0].tolist(),
    "if, and, or, not, while or bool()": lambda x: 1 if x[x > 0] else 2,
    "float()": lambda x: float(x[x > 0]),
    "use as an array": lambda x: np.asarray(x[x > 0]),
    "use as an array of a known shape": lambda x: np.array_equal(np.size(x[x > 0]), x[x > 0]),
    "meeting an array of shape (2,)": lambda x: np.sum(x[x > 0] * Y[:2]),
    "meeting an array of shape (4,)": lambda x: np.sum(np.clip(x[x > 0], min=x)),
    "meeting what another mask selects": lambda x: np.sum(x[x > 0] * x[x < 0]),
    "writing it through another mask": lambda x: tnp.at(x)[x > 0].set(x[x < 0]),
    "assignment to a part of it": lambda x: x[x > 0].__setitem__(0, 1.0),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_needs_the_size(what: str) -> None:
    message = (
        rf"indexing with a mask at .*test_selected.py:\d+ \(in .*\), then {re.escape(what)}, at .* needs the value of a traced bool\[4\] "
        r"(?s:.*)depends on x(?s:.*)`np.sum\(x, where=mask\)` (?s:.*)`tnp.extract\(mask, x, size=n\)`"
    )
    with pytest.raises(ConcretizationTypeError, match=message):
        tg.jit(REFUSED[what])(X)


def test_returned() -> None:
    with pytest.raises(
        ConcretizationTypeError, match=r"indexing with a mask at .*test_selected.py:.*then use as an array, "
    ):
        tg.jit(lambda x: x[x > 0])(X)


def test_a_mask_among_other_indices() -> None:
    with pytest.raises(
        ConcretizationTypeError,
        match=r"indexing with a mask at (?s:.*)`np.moveaxis\(x, axis, 0\)\[mask\]`(?s:.*)size=n",
    ):
        tg.jit(lambda x: np.sum(np.stack([x, x], 0)[:, x > 0]))(X)
    first = lambda x: np.sum(np.moveaxis(np.stack([x, x**2], 0), 1, 0)[x > 0], axis=0)  # as it says
    np.testing.assert_allclose(tg.jit(first)(X), np.sum(np.stack([X, X**2], 0)[:, X > 0], axis=1))
    with pytest.raises(ConcretizationTypeError, match=r"indexing with a mask at (?s:.*)size=n"):
        tg.jit(lambda x: np.sum(np.stack([x, x], 1)[x > 0, np.array([0])]))(X)
    with pytest.raises(IndexError, match=r"index 2 is out of bounds for axis 1 with size 2"):
        tg.jit(lambda x: np.sum(np.stack([x, x], 1)[x > 0, 2]))(X)


def test_a_mask_of_another_shape() -> None:
    with pytest.raises(IndexError, match=r"boolean index did not match .* bool\[3\] for f64\[4\] at .*test_selected"):
        tg.jit(lambda x: np.sum(x[x[1:] > 0]))(X)


def test_largest_of_integers_needs_a_value_for_nothing() -> None:
    with pytest.raises(
        ValueError, match=r"np.max of what a mask selects at .*int64 has no NaN: write np.max\(x, initial=...\)"
    ):
        tg.jit(lambda i: np.max(i[i > 0]))(np.array([1, 2]))


def test_in_place_keeps_the_dtype() -> None:
    def f(i: Any) -> Any:
        v = i[i > 0]
        v /= 2
        return np.sum(v)

    with pytest.raises(TypeError, match="Cannot cast ufunc 'divide' output"):
        tg.jit(f)(np.array([1, 2]))


def test_the_graph() -> None:
    graph = tg.jit(lambda x: np.sum(x[x > 0])).lower(X).graph
    assert [eqn.op.name for eqn in graph.eqns] == ["greater", "where", "sum"]


def test_products_keep_the_dtype() -> None:
    """As products of matrices do, where a sum of small integers is of large ones."""
    for dtype in (np.uint8, np.int16, np.uint32, np.bool_, np.complex64):
        x = np.array([1, 0, 1]).astype(dtype)
        for product in (np.dot, np.inner, np.vdot, np.matmul):
            f = lambda x, product=product: product(x[x > 0], x[x > 0])
            found = tg.jit(f)(x)
            assert found == f(x)
            assert found.dtype == f(x).dtype


def test_it_is_an_array_to_whoever_asks() -> None:
    def f(x: Any) -> Any:
        y = x[x > 0]
        return np.sum(y) if isinstance(y, np.ndarray) and not isinstance(y, float) and not np.isscalar(y) else -1.0

    x = np.array([1.0, -2.0, 3.0])
    assert tg.jit(f)(x) == f(x) == 4.0
    assert tg.vmap(f)(np.stack([x, -x])).tolist() == [4.0, 2.0]


def test_a_mask_of_nothing_fits_any_size() -> None:
    x = np.ones((2, 3, 4), np.float32)
    for shape in ((0,), (2, 0), (0, 3), (0, 0)):
        mask = np.zeros(shape, bool)
        for found in (tg.jit(lambda x, mask: x[mask])(x, mask), tg.jit(lambda x, y: x[y > 0])(x, np.zeros(shape))):
            assert found.shape == x[mask].shape
            assert found.dtype == np.float32

        def written(x: Any, mask: Any) -> Any:
            y = x.copy()
            y[mask] = 0.5
            y[mask] += 1
            return y

        np.testing.assert_array_equal(tg.jit(written)(x, mask), x)
    for wrong in ((3, 0), (0, 5)):
        with pytest.raises(IndexError, match="boolean index did not match"):
            tg.jit(lambda x, mask: x[mask])(x, np.zeros(wrong, bool))
