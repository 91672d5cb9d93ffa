"""Sparse matrices in plain code, as constants and with traced numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse

import tracegrad as tg
from tests.notes import Notes
from tracegrad.core.errors import ShapeError, UnsupportedFunctionError
from tracegrad.scipy import sparse
from tracegrad.testing import check_grads

RNG = np.random.default_rng(0)
DENSE = RNG.normal(size=(5, 4)) * (RNG.random((5, 4)) < 0.5)
KINDS = ["csr_array", "csc_array", "coo_array", "lil_array", "dia_array", "bsr_array", "dok_array", "csr_matrix"]
X, Y, MANY = RNG.normal(size=4), RNG.normal(size=5), RNG.normal(size=(4, 3))

# Of a sparse matrix, or the same one that is an array, and what is traced.
PRODUCTS: dict[str, tuple[Any, Any]] = {
    "a @ x": (lambda a, t: a @ t, X),
    "a @ many": (lambda a, t: a @ t, MANY),
    "a @ column": (lambda a, t: a @ t, X[:, None]),
    "a.T @ y": (lambda a, t: a.T @ t, Y),
    "y @ a": (lambda a, t: t @ a, Y),
    "many.T @ a.T": (lambda a, t: t.T @ a.T, MANY),
}


@pytest.mark.parametrize("kind", KINDS)
def test_constants_in_plain_code(kind: str) -> None:
    a = getattr(scipy.sparse, kind)(DENSE)
    for f, x in PRODUCTS.values():
        found = tg.jit(lambda t, f=f: f(a, t))(x)
        np.testing.assert_allclose(found, f(a, x), rtol=1e-15, atol=1e-15)
        if kind.startswith(("csr", "csc")):
            np.testing.assert_array_equal(found, f(a, x))
        np.testing.assert_array_equal(tg.jacrev(lambda t, f=f: f(a, t))(x), tg.jacrev(lambda t, f=f: f(DENSE, t))(x))
    if kind != "coo_array":
        np.testing.assert_array_equal(tg.jit(lambda t: a.dot(t))(X), a.dot(X))


def test_transforms() -> None:
    a = scipy.sparse.csr_array(DENSE)
    loss = lambda t: np.sum((a @ t) ** 3)
    exact = lambda t: np.sum((DENSE @ t) ** 3)
    np.testing.assert_allclose(tg.hessian(loss)(X), tg.hessian(exact)(X), rtol=1e-12)
    np.testing.assert_allclose(tg.vmap(tg.grad(loss))(MANY.T), tg.vmap(tg.grad(exact))(MANY.T), rtol=1e-12)
    found = tg.jit(tg.grad(loss), backend="xla")(X)
    np.testing.assert_allclose(np.asarray(found), tg.grad(exact)(X), rtol=1e-12)
    check_grads(loss, (X,), order=2)


def test_numbers_of_a_constant_are_read_at_each_call() -> None:
    a = scipy.sparse.csr_array(DENSE)
    f = tg.jit(lambda t: a @ t)
    f(X)
    a.data *= 2.0
    np.testing.assert_array_equal(f(X), a @ X)


def test_traced_numbers() -> None:
    for kind in ("csr_array", "csc_array"):
        plain = getattr(scipy.sparse, kind)(DENSE)
        of = lambda data, kind=kind, plain=plain: getattr(sparse, kind)(
            (data, plain.indices, plain.indptr), plain.shape
        )
        for f, x in PRODUCTS.values():
            np.testing.assert_array_equal(
                tg.jit(lambda data, x, f=f, of=of: f(of(data), x))(plain.data, x), f(plain, x)
            )
            check_grads(lambda data, x, f=f, of=of: np.sin(f(of(data), x)), (plain.data, x), order=1)
        assert str(tg.make_graph(lambda data, of=of: of(data).toarray())(plain.data)).count("sparse_matmul") == 1
        np.testing.assert_array_equal(tg.jit(lambda data, of=of: of(data).toarray())(plain.data), DENSE)
        np.testing.assert_array_equal(tg.jit(lambda data, of=of: of(data).diagonal())(plain.data), plain.diagonal())
        for axis in (None, 0, 1):
            found = tg.jit(lambda data, of=of, axis=axis: of(data).sum(axis))(plain.data)
            np.testing.assert_allclose(found, plain.sum(axis), rtol=1e-14)
        scaled = tg.jit(lambda data, of=of: (-(2.0 * of(data)) / 4.0 * 3).T @ Y)(plain.data)
        np.testing.assert_allclose(scaled, -1.5 * (DENSE.T @ Y), rtol=1e-14)


def test_by_places() -> None:
    rows, columns = np.array([2, 0, 2, 1]), np.array([1, 0, 1, 2])  # one place twice
    for kind in ("csr_array", "csc_array"):
        f = lambda data, kind=kind: getattr(sparse, kind)((data, (rows, columns)), (3, 4)).toarray()
        expected = scipy.sparse.coo_array((np.arange(4.0), (rows, columns)), (3, 4)).toarray()
        np.testing.assert_array_equal(tg.jit(f)(np.arange(4.0)), expected)
        assert tg.grad(lambda data, f=f: np.sum(f(data) ** 2))(np.arange(4.0)).tolist() == [4.0, 2.0, 4.0, 6.0]


def test_trees() -> None:
    """A sparse array is an argument and a result, whose one leaf are its numbers."""
    plain = scipy.sparse.csr_array(DENSE)
    a = tg.jit(lambda data: sparse.csr_array((data, plain.indices, plain.indptr), plain.shape))(plain.data)
    assert isinstance(a, sparse.SparseArray) and (a.format, a.shape, a.nnz, a.ndim) == ("csr", (5, 4), plain.nnz, 2)
    gradient = tg.grad(lambda a: np.sum((a @ X) ** 2))(a)
    dense = tg.grad(lambda a: np.sum((a @ X) ** 2))(DENSE)
    np.testing.assert_allclose(gradient.toarray(), np.where(DENSE != 0, dense, 0))
    traces = Notes()
    f = tg.jit(lambda a, y: traces.append(1) or y @ a)
    np.testing.assert_array_equal(f(a, Y), Y @ plain)
    f(gradient, Y)
    assert len(traces) == 1 and repr(gradient) == f"csr_array(f64[{a.nnz}] of shape (5, 4))"
    np.testing.assert_array_equal(Y @ a, Y @ plain)  # plain arrays, too


def test_plain_numbers_are_scipys() -> None:
    made = sparse.csr_matrix((np.ones(2), np.array([0, 1]), np.array([0, 1, 2])), shape=(2, 2))
    assert isinstance(made, scipy.sparse.csr_array)


def test_errors() -> None:
    a = scipy.sparse.csr_array(DENSE)
    with pytest.raises(TypeError, match="write `a @ x` for the product with a sparse matrix"):
        tg.grad(lambda t: np.sum(a * t))(X)
    with pytest.raises(TypeError, match=r"scipy's multiply wanted a plain array(.|\n)*Of a sparse array write `a @ x`"):
        tg.grad(lambda t: np.sum(a.multiply(t)))(X)
    with pytest.raises(TypeError, match=r"tg\.scipy\.sparse\.csr_array\(\(data, indices, indptr\), shape\)"):
        tg.grad(lambda t: np.sum(a * t))(2.0)
    with pytest.raises(ShapeError, match=r"the sparse matrix is \(5, 4\), and what stands to its right f64\[5\]"):
        tg.grad(lambda t: np.sum(a @ t))(Y)
    with pytest.raises(ShapeError, match="say the shape of the matrix"):
        tg.grad(lambda data: np.sum(sparse.csr_array((data, a.indices, a.indptr)) @ X))(a.data)
    with pytest.raises(ShapeError, match=r"f64\[2\] for .* places"):
        tg.grad(lambda data: np.sum(sparse.csr_array((data, a.indices, a.indptr), a.shape) @ X))(np.ones(2))
    of = lambda data: sparse.csr_array((data, a.indices, a.indptr), a.shape)
    with pytest.raises(
        ShapeError, match=r"sparse arrays of shapes \(\d, \d\) and \(\d, \d\) have no product at .*test_arrays"
    ):
        tg.grad(lambda data: np.sum((of(data) @ a) @ Y))(a.data)
    with pytest.raises(
        ShapeError, match=r"shape \(5, 4\) and f64\[5\] do not broadcast to that shape at .*test_arrays"
    ):
        tg.grad(lambda data: np.sum((of(data) * Y) @ X))(a.data)
    with pytest.raises(ValueError, match="axis must be None, 0 or 1, got 2"):
        tg.grad(lambda data: np.sum(of(data).sum(2)))(a.data)
    with pytest.raises(ShapeError, match=r"a sparse array of shape \(4,\) is not traced"):
        tg.grad(lambda t: a[[0]].tocoo().reshape(4) @ t)(X)


def test_products_of_two() -> None:
    """Of two that are traced, turned or not, and of one and a constant of SciPy's on either side."""
    rng = np.random.default_rng(0)
    a = scipy.sparse.random_array((5, 4), density=0.5, rng=rng, format="csr")
    b = scipy.sparse.random_array((4, 6), density=0.5, rng=rng, format="csc")
    traced_a = lambda data: sparse.csr_array((data, a.indices, a.indptr), a.shape)
    traced_b = lambda data: sparse.csc_array((data, b.indices, b.indptr), b.shape)
    whole = (a @ b).toarray()
    product = lambda x, y: (traced_a(x) @ traced_b(y)).toarray()
    for run in (lambda f: f, tg.jit, lambda f: tg.jit(f, backend="xla")):
        np.testing.assert_allclose(run(product)(a.data, b.data), whole, rtol=1e-14)
    check_grads(product, (a.data, b.data), order=2, rtol=1e-6)
    np.testing.assert_allclose(tg.jit(lambda y: (a @ traced_b(y)).toarray())(b.data), whole, rtol=1e-14)
    np.testing.assert_allclose(tg.jit(lambda x: (traced_a(x) @ b).toarray())(a.data), whole, rtol=1e-14)
    np.testing.assert_allclose(tg.jit(lambda x: (b.T @ traced_a(x).T).toarray())(a.data), whole.T, rtol=1e-14)
    found = tg.vjp(lambda x, y: (traced_a(x) @ traced_b(y)).data, a.data, b.data)[0]
    assert found.shape == ((a @ b).nnz,)
    x = rng.normal(size=6)
    np.testing.assert_allclose(tg.vjp(lambda y: (a @ traced_b(y)) @ x, b.data)[0], whole @ x, rtol=1e-13)
    empty = tg.vjp(lambda x: (traced_a(x) @ scipy.sparse.csr_array((4, 3))).toarray(), a.data)[0]
    np.testing.assert_array_equal(empty, np.zeros((5, 3)))


def test_sums_and_products_element_by_element() -> None:
    """Against SciPy's own, with a constant of SciPy's, an array or another that is traced on either side."""
    rng = np.random.default_rng(1)
    a = scipy.sparse.random_array((4, 4), density=0.5, rng=rng, format="csr")
    b = scipy.sparse.random_array((4, 4), density=0.5, rng=rng, format="csc")
    row = scipy.sparse.csr_array(np.array([[2.0, 0.0, -1.0, 0.0]]))
    of = lambda data: sparse.csr_array((data, a.indices, a.indptr), a.shape)
    dense, column = rng.normal(size=(4, 4)), X[:4, None] + 3.0
    cases = {
        "sum": lambda x: x + x.T * 2.0,
        "difference": lambda x: x.T - x,
        "constants": lambda x: (b + x) - (b - x) + (x - b),
        "identity": lambda x: scipy.sparse.eye_array(4) + x + scipy.sparse.eye_array(4, format="coo"),
        "multiply": lambda x: x.multiply(x.T) + x.multiply(b) + x.T * x + b * x,
        "by what broadcasts": lambda x: x.T.multiply(X[:4]) + x * column - x.multiply(row) + x / column,
        "powers": lambda x: abs(x - b) + x**2 + x.power(1.5) + x.T.conj(),
        "products": lambda x: x.T @ x @ b + (b.T @ x).tocsr() - (x @ b).T.tocsc(),
        "to arrays": lambda x: (dense - x) + x * 2.0,
        "tracers": lambda x: x.trace() * x * x.sum(0) + x.sum(1)[:, None] * x / x.data[1] - (dense + x) * x,
    }
    whole = lambda y: y.toarray() if hasattr(y, "toarray") else y
    for name, f in cases.items():
        found = tg.jit(lambda data, f=f: whole(f(of(data))))(a.data)
        np.testing.assert_allclose(found, whole(f(a)), rtol=1e-14, atol=1e-15, err_msg=name)
        check_grads(lambda data, f=f: whole(f(of(data))), (a.data,), order=2, rtol=1e-6)
    assert tg.jit(lambda data: (of(data) + b).data)(a.data).shape == ((a + b).nnz,)
    assert tg.jit(lambda data: (of(data) * b).data)(a.data).shape == ((a * b).nnz,)
    rows = np.stack([a.data, a.data[::-1]])
    each = np.stack([tg.jit(lambda data: (of(data) + b @ of(data)).toarray())(data) for data in rows])
    np.testing.assert_array_equal(tg.vmap(lambda data: (of(data) + b @ of(data)).toarray())(rows), each)
    for g in (lambda x: x.trace(), lambda x: x.mean(), lambda x: x.mean(0), lambda x: x.mean(1)):
        np.testing.assert_allclose(tg.jit(lambda data, g=g: g(of(data)))(a.data), g(a), rtol=1e-14)


def test_what_sparse_arrays_refuse() -> None:
    a = scipy.sparse.csr_array(DENSE)
    of = lambda data: sparse.csr_array((data, a.indices, a.indptr), a.shape)
    for error, message, f in [
        (ShapeError, r"shapes \(5, 4\) and \(4, 5\) have no sum at .*test_arrays", lambda x: x + a.T),
        (
            ShapeError,
            r"shapes \(5, 4\) and \(4, 5\) do not broadcast to one of them at .*test_arrays",
            lambda x: x * a.T,
        ),
        (AttributeError, r"has no max at .*test_arrays.*\. Write a\.toarray\(\)", lambda x: x.max()),
        (UnsupportedFunctionError, r"by index at .*test_arrays.*\. Write a\.toarray\(\)\[\.\.\.\]", lambda x: x[0, 0]),
        (UnsupportedFunctionError, r"sum with one number .* at .*\. Write a\.toarray\(\) \+ b", lambda x: x + 1.0),
        (UnsupportedFunctionError, r"NaN where both are zero at .*\. Write a\.toarray\(\) / b", lambda x: x / a),
        (UnsupportedFunctionError, r"power of 0 .* at .*\. Write a\.toarray\(\) \*\* n", lambda x: x**0),
    ]:
        with pytest.raises(error, match=message):
            tg.grad(lambda data, f=f: np.sum(f(of(data)).data))(a.data)
