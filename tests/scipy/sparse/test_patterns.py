"""Places of sparse arrays."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from tracegrad.scipy.sparse.patterns import Pattern, by_place, product_by_elements, product_of_two, sum_of_two, totals


def of(whole: scipy.sparse.csr_array) -> Pattern:
    return Pattern(whole.indices, whole.indptr, whole.shape, False)


def plain(found: tuple[object, Pattern]) -> np.ndarray:
    data, where = found
    whole = scipy.sparse.csr_array((data, where.indices, where.indptr), shape=where.shape).toarray()
    return whole.T if where.transposed else whole


def test_patterns() -> None:
    a = scipy.sparse.csr_array(np.array([[0.0, 2.0, 0.0], [3.0, 0.0, 4.0]]))
    where = of(a)
    assert where == of(a.copy()) and hash(where) == hash(of(a.copy())) and where != where.T and where == where.T.T
    assert (where.outer, where.T.outer) == ((2, 3), (3, 2))
    assert [x.tolist() for x in where.places()] == [[0, 1, 1], [1, 0, 2]]
    assert [x.tolist() for x in where.T.places()] == [[1, 0, 2], [0, 1, 1]]


def test_of_small_integers_and_many_elements() -> None:
    """The number of an element among all is larger than what SciPy's places can hold."""
    size = 100_000
    at = np.array([0, size - 1], np.int32)
    a = Pattern(at, np.concatenate([[0], np.ones(size - 1, int), [2]]).astype(np.int32), (size, size), False)
    data, where = sum_of_two(np.ones(2), a, np.array([2.0, 3.0]), a.T)
    assert data.tolist() == [3.0, 4.0] and where.places()[0].tolist() == [0, size - 1]
    data, where = product_by_elements(np.ones(2), a, np.array([2.0, 3.0]), a.T)
    assert data.tolist() == [2.0, 3.0] and where.places()[1].tolist() == [0, size - 1]


def test_pairs_against_scipy() -> None:
    rng = np.random.default_rng(0)
    for seed in range(30):
        m, n, k = rng.integers(0, 5, size=3)
        a = scipy.sparse.random_array((m, n), density=0.5, rng=seed, format="csr")
        b = scipy.sparse.random_array((n, k), density=0.5, rng=seed + 1, format="csr")
        c = scipy.sparse.random_array((m, n), density=0.5, rng=seed + 2, format="csr")
        np.testing.assert_allclose(plain(product_of_two(a.data, of(a), b.data, of(b))), (a @ b).toarray(), rtol=1e-14)
        np.testing.assert_allclose(plain(sum_of_two(a.data, of(a), c.data, of(c))), (a + c).toarray(), rtol=1e-14)
        np.testing.assert_array_equal(
            plain(product_by_elements(a.data, of(a), c.data, of(c))), a.toarray() * c.toarray()
        )


def test_what_stands_twice_at_one_place() -> None:
    twice = Pattern(np.array([1, 1, 0]), np.array([0, 2, 3]), (2, 2), False)  # [[0, 3], [4, 0]]
    other = Pattern(np.array([1, 1]), np.array([0, 2, 2]), (2, 2), False)  # [[0, 7], [0, 0]]
    data, others = np.array([1.0, 2.0, 4.0]), np.array([2.0, 5.0])
    np.testing.assert_array_equal(plain(by_place(data, *twice.places(), (2, 2))), [[0.0, 3.0], [4.0, 0.0]])
    np.testing.assert_array_equal(plain(sum_of_two(data, twice, others, other)), [[0.0, 10.0], [4.0, 0.0]])
    np.testing.assert_array_equal(plain(product_by_elements(data, twice, others, other)), [[0.0, 21.0], [0.0, 0.0]])
    assert totals(data, np.array([2, 0, 1]), np.array([0, 1, 1, 3])).tolist() == [4.0, 0.0, 3.0]
