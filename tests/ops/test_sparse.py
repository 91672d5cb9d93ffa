"""The ops of sparse matrices against dense ones: values, derivatives, batches, both backends."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.errors import ShapeError
from tracegrad.core.trace import bind
from tracegrad.ops.sparse import coordinates, sparse_matmul_op, sparse_solve_op
from tracegrad.testing import check_grads

INDICES, INDPTR = np.array([0, 2, 1, 0, 2]), np.array([0, 2, 3, 5])
DATA = np.array([2.0, 0.5, 3.0, -1.0, 2.5])
X = np.random.default_rng(0).normal(size=(3, 2))
SOLVE: dict[str, Any] = {"method": "spsolve", "options": ()}


def dense(data: Any, transposed: bool) -> Any:
    rows, columns = coordinates(INDICES, INDPTR, transposed)
    found = np.zeros((3, 3), data.dtype)
    found[rows, columns] = data
    return found


def multiplied(data: Any, x: Any, transposed: bool = False) -> Any:
    return bind(sparse_matmul_op, (data, INDICES, INDPTR, x), {"shape": (3, 3), "transposed": transposed})


def solved(data: Any, x: Any, transposed: bool = False) -> Any:
    how = {"shape": (3, 3), "transposed": transposed, **SOLVE}
    return bind(sparse_solve_op, (data, INDICES, INDPTR, x), how)


OPERATIONS = [(multiplied, lambda a, x: a @ x), (solved, np.linalg.solve)]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("operation", "expected"), OPERATIONS, ids=["matmul", "solve"])
def test_values_and_derivatives(operation: Any, expected: Any, transposed: bool) -> None:
    for x in (X[:, 0], X, X[:, :0]):
        data, x = DATA + 0.3j, x + 0.0
        np.testing.assert_allclose(operation(data, x, transposed), expected(dense(data, transposed), x), rtol=1e-13)
    for data in (DATA, DATA + 0.3j):
        check_grads(lambda data, x: operation(data, x, transposed), (data, X), order=2)
    for backend in ("numpy", "xla"):
        run = tg.jit(lambda data, x: operation(data, x, transposed), backend=backend)
        np.testing.assert_allclose(np.asarray(run(DATA, X)), operation(DATA, X, transposed), rtol=1e-13)


@pytest.mark.parametrize("operation", [multiplied, solved])
def test_batches(operation: Any) -> None:
    many, right = np.stack([DATA, DATA + 1, DATA * 2]), np.stack([X, X + 1, X * 2])
    for transposed in (False, True):
        f = lambda data, x, transposed=transposed: np.sin(operation(data, x, transposed))
        g = tg.grad(lambda data, x: np.sum(f(data, x)), (0, 1))
        for axes, data, x in (((0, 0), many, right), ((0, None), many, X), ((None, 0), DATA, right)):
            rows = [(many[i] if axes[0] == 0 else DATA, right[i] if axes[1] == 0 else X) for i in range(3)]
            np.testing.assert_allclose(tg.vmap(f, axes)(data, x), np.stack([f(*row) for row in rows]), rtol=1e-12)
            for i, found in enumerate(tg.vmap(g, axes)(data, x)):
                expected = [g(*row)[i] for row in rows]
                np.testing.assert_allclose(found, np.stack(expected), rtol=1e-11, atol=1e-13)


def test_dtypes() -> None:
    single = DATA.astype(np.float32)
    assert multiplied(single, X).dtype == solved(single, X).dtype == np.float64
    assert solved(single, X.astype(np.float32)).dtype == np.float32
    found = tg.grad(lambda data, x: np.sum(np.abs(solved(data, x)) ** 2), (0, 1))(single, X + 1j)
    assert [d.dtype for d in found] == [np.float32, np.complex128]


def test_sizes() -> None:
    with pytest.raises(ShapeError, match=r"@ at .*test_sparse.py.*: the sparse matrix is \(3, 3\), and .* f64\[2\]"):
        tg.grad(lambda x: np.sum(multiplied(DATA, x)))(np.ones(2))
    with pytest.raises(ShapeError, match="are no numbers, columns and beginnings"):
        tg.make_graph(lambda data: multiplied(data, X))(np.ones(4))
    wide: Any = {"shape": (3, 4), "transposed": False, **SOLVE}
    with pytest.raises(ShapeError, match="must be square"):
        tg.make_graph(lambda x: bind(sparse_solve_op, (DATA, INDICES, INDPTR, x), wide))(np.ones(3))


@pytest.mark.parametrize("transposed", [False, True])
def test_sparsity_is_the_matrix(transposed: bool) -> None:
    for x in (X[:, 0], X):
        width = x.size // 3
        for operation in (multiplied, solved):
            by_x = tg.jacobian(lambda x, op=operation: op(DATA, x, transposed), sparse=True)(x)
            np.testing.assert_allclose(
                by_x.toarray(), np.kron(operation(DATA, np.eye(3), transposed), np.eye(width)), atol=1e-15
            )
            assert by_x.nnz == (DATA.size if operation is multiplied else 9) * width
        by_data = tg.jacobian(lambda data, x=x: multiplied(data, x, transposed), sparse=True)(DATA)
        dense = tg.jacrev(lambda data, x=x: multiplied(data, x, transposed))(DATA)
        np.testing.assert_array_equal(by_data.toarray(), dense.reshape(by_data.shape))
        assert by_data.nnz == DATA.size * width


def test_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    with pytest.raises(ImportError, match=r"pip install 'tracegrad\[scipy\]'"):
        multiplied(DATA, X)
