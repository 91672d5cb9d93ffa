"""Colourings, held to their definitions by trying all pairs and all paths."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from tracegrad.transforms.colouring import column_colouring, star_colouring

RNG = np.random.default_rng(0)


def columns_of(matrix: Any) -> Any:
    matrix = scipy.sparse.csr_array(matrix)
    return column_colouring(matrix.indptr, matrix.indices, matrix.shape[1])


def stars_of(matrix: Any) -> Any:
    matrix = scipy.sparse.csr_array(matrix)
    return star_colouring(matrix.indptr, matrix.indices)


@pytest.mark.parametrize("density", [0.0, 0.05, 0.2, 0.6])
def test_no_row_has_two_of_a_colour(density: float) -> None:
    for _ in range(10):
        matrix = RNG.random((RNG.integers(1, 30), RNG.integers(1, 30))) < density
        colours = columns_of(matrix)
        assert np.array_equal(colours >= 0, matrix.any(0))
        for row in matrix:
            assert len(set(colours[row])) == row.sum()


@pytest.mark.parametrize("density", [0.0, 0.05, 0.15, 0.4])
def test_paths_over_four_have_three_colours(density: float) -> None:
    for _ in range(10):
        n = int(RNG.integers(1, 14))
        matrix = RNG.random((n, n)) < density
        matrix |= matrix.T
        colours = stars_of(matrix)
        edge = matrix & ~np.eye(n, dtype=bool)
        assert all(colours[i] != colours[j] for i, j in np.argwhere(edge))
        for path in itertools.permutations(range(n), 4):
            if all(edge[i, j] for i, j in itertools.pairwise(path)):
                assert len(set(colours[list(path)])) >= 3


def test_no_more_colours_than_it_takes() -> None:
    tridiagonal = scipy.sparse.diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(50, 50))
    assert columns_of(tridiagonal).max() == stars_of(tridiagonal).max() == 2
    arrow = np.eye(50)
    arrow[0] = arrow[:, 0] = 1
    assert columns_of(arrow).max() == 49
    assert stars_of(arrow).max() == 1
    assert stars_of(arrow[::-1, ::-1]).max() == 1
    assert columns_of(np.zeros((3, 4))).tolist() == [-1] * 4
    assert columns_of(np.zeros((0, 0))).tolist() == stars_of(np.zeros((0, 0))).tolist() == []
    crossed = np.eye(40) + np.eye(40)[::-1]  # where columns in order take a colour more
    assert columns_of(crossed).max() == 1


def grid(*shape: int, corners: bool = False) -> Any:
    """The matrix of which each row has elements for a point of a grid and its neighbours."""
    lines = [scipy.sparse.diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(n, n)) for n in shape]
    along = [
        [line if corners or i == axis else scipy.sparse.eye_array(line.shape[0]) for i, line in enumerate(lines)]
        for axis in range(1 if corners else len(shape))
    ]
    return scipy.sparse.csr_array(sum([functools.reduce(scipy.sparse.kron, parts) for parts in along]))


@pytest.mark.parametrize(
    ("shape", "corners", "fewest"),
    [((40, 40), False, 5), ((37, 53), False, 5), ((9, 10, 11), False, 7), ((12, 12, 12), False, 7), ((5, 6, 5, 4), False, 9),
     ((15, 17), True, 9), ((7, 6, 8), True, 27)],
)  # fmt: skip
def test_grids_take_as_many_as_a_point_has_neighbours_and_itself(
    shape: tuple[int, ...], corners: bool, fewest: int
) -> None:
    matrix = grid(*shape, corners=corners)
    colours = columns_of(matrix)
    assert colours.max() + 1 == fewest == np.diff(matrix.indptr).max()
    for around in np.split(matrix.indices, matrix.indptr[1:-1]):
        assert len(set(colours[around])) == len(around)


def test_grids_with_holes_and_without_diagonal() -> None:
    kept = RNG.random(20 * 21) < 0.8
    whole = grid(20, 21)
    for matrix in (whole[kept], whole[:, kept], whole[kept][:, kept], whole - scipy.sparse.eye_array(420)):
        matrix = scipy.sparse.csr_array(matrix)
        matrix.eliminate_zeros()
        colours = columns_of(matrix)
        assert np.array_equal(colours >= 0, np.bincount(matrix.indices, minlength=matrix.shape[1]) > 0)
        for around in np.split(matrix.indices, matrix.indptr[1:-1]):
            assert len(set(colours[around])) == len(around)


def test_time_is_linear() -> None:
    """The spokes of an arrow share a hub of n elements: n**2 steps would take minutes."""
    n = 20_000
    spokes, hub = np.arange(1, n), np.zeros(n - 1, int)
    rows, columns = np.concatenate([hub, spokes]), np.concatenate([spokes, hub])
    assert stars_of(scipy.sparse.coo_array((np.ones(2 * n - 2), (rows, columns)), shape=(n, n))).max() == 1
