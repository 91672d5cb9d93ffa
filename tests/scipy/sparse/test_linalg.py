"""Systems of equations with a sparse matrix: SciPy's values, derivatives in all of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse.linalg
from numpy.linalg import LinAlgError

import tracegrad as tg
from tracegrad.core.errors import UnsupportedFunctionError
from tracegrad.scipy import sparse
from tracegrad.scipy.sparse import linalg
from tracegrad.testing import check_grads

N = 6
A = scipy.sparse.csr_array(np.diag(np.arange(3.0, 9.0)) + np.diag(np.full(5, -1.0), 1) + np.diag(np.full(4, 0.5), -2))
RNG = np.random.default_rng(1)
B, MANY = RNG.normal(size=N), RNG.normal(size=(N, 2))
STEPS = ["cg", "gmres", "bicgstab"]


def symmetric(data: Any) -> Any:
    """A matrix of 2 n - 1 numbers: those of the diagonal, and of both others."""
    n = np.arange(N)
    rows, columns = np.concatenate([n, n[1:], n[:-1]]), np.concatenate([n, n[:-1], n[1:]])
    return sparse.csr_array((np.concatenate([data, data[N:]]), (rows, columns)), (N, N))


DATA = np.concatenate([np.arange(3.0, 9.0), np.full(N - 1, -1.0)])


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
def test_spsolve(kind: str) -> None:
    a = A.asformat(kind)
    for b in (B, MANY):
        expected = scipy.sparse.linalg.spsolve(A.tocsc() if kind == "csc" else A, b)
        np.testing.assert_array_equal(tg.jit(lambda b: linalg.spsolve(a, b))(b), expected)
        np.testing.assert_array_equal(linalg.spsolve(A, b), scipy.sparse.linalg.spsolve(A, b))
        if kind != "coo":  # of which SciPy warns
            check_grads(lambda b: linalg.spsolve(a, b), (b,), order=1)


def test_derivatives_in_numbers() -> None:
    f = lambda data, b: np.sin(linalg.spsolve(sparse.csr_array((data, A.indices, A.indptr), A.shape), b))
    check_grads(f, (A.data, B), order=2)
    g = lambda data, b: np.sum(f(data, b))
    dense = tg.grad(lambda a, b: np.sum(np.sin(np.linalg.solve(a, b))))(A.toarray(), B)
    rows, columns = A.tocoo().coords
    for transform in (lambda g: g, tg.jit, lambda g: tg.jit(g, backend="xla")):
        np.testing.assert_allclose(np.asarray(transform(tg.grad(g))(A.data, B)), dense[rows, columns], rtol=1e-12)


@pytest.mark.parametrize("name", STEPS)
def test_by_steps(name: str) -> None:
    ours, theirs = getattr(linalg, name), getattr(scipy.sparse.linalg, name)
    plain = symmetric_plain()
    jitted = tg.jit(lambda b: ours(plain, b, rtol=1e-8))(B)
    np.testing.assert_array_equal(jitted[0], theirs(plain, B, rtol=1e-8)[0])
    assert jitted[1] == 0
    np.testing.assert_array_equal(ours(plain, B)[0], theirs(plain, B)[0])
    check_grads(lambda data, b: ours(symmetric(data), b, rtol=1e-13)[0], (DATA, B), order=1)
    first = lambda data: np.sum(ours(symmetric(data), B, rtol=1e-13)[0] ** 2)
    exact = lambda data: np.sum(np.linalg.solve(symmetric(data).toarray(), B) ** 2)
    np.testing.assert_allclose(tg.hessian(first)(DATA), tg.hessian(exact)(DATA), rtol=1e-9, atol=1e-12)


def symmetric_plain() -> Any:
    return scipy.sparse.csr_array(tg.jit(lambda data: symmetric(data).toarray())(DATA))


def test_preconditioners_and_several_columns() -> None:
    a = A.tocsc()
    inverse = scipy.sparse.csr_array(np.linalg.inv(a.toarray()))
    f = lambda b: linalg.gmres(a, b, M=inverse, rtol=1e-12, maxiter=3)[0]
    np.testing.assert_allclose(tg.vmap(f, 1, 1)(MANY), np.linalg.solve(a.toarray(), MANY), rtol=1e-10)
    np.testing.assert_allclose(tg.jacrev(f)(B), inverse.toarray(), rtol=1e-10, atol=1e-12)


def test_errors() -> None:
    with pytest.raises(LinAlgError, match="cg has not converged in 1 iterations, of a system of 6 equations"):
        tg.grad(lambda b: np.sum(linalg.cg(A, b, maxiter=1, rtol=1e-12)[0]))(B)
    with pytest.raises(UnsupportedFunctionError, match="spsolve of a ndarray is not traced at"):
        tg.grad(lambda b: np.sum(linalg.spsolve(A.toarray(), b)))(B)
    with pytest.raises(UnsupportedFunctionError, match="cg with a callback is not traced"):
        tg.grad(lambda b: np.sum(linalg.cg(A, b, callback=print)[0]))(B)
    with pytest.raises(UnsupportedFunctionError, match="a sparse right-hand side is not traced"):
        tg.grad(lambda data: np.sum(linalg.spsolve(symmetric(data), A)))(DATA)
    with pytest.raises(TypeError, match=r"Write `tg\.scipy\.sparse\.linalg\.spsolve\(...\)`"):
        tg.grad(lambda b: np.sum(scipy.sparse.linalg.spsolve(A, b)))(B)
