"""Columns, or rows, of a sparse matrix in groups of which one product finds all elements.

A colouring gives each column a number, -1 to one without elements. Of a matrix with a pattern known, the products with the sums
of each group's unit vectors tell all elements where no two columns of a group have one in the same row. Of a symmetric matrix
fewer do, since each of two equal elements may be told by the other: a star colouring is enough.

Sources: Curtis, Powell & Reid, "On the Estimation of Sparse Jacobian Matrices", IMA Journal of Applied Mathematics 13 (1974);
Goldfarb & Toint, "Optimal Estimation of Jacobian and Hessian Matrices That Arise in Finite Difference Calculations",
Mathematics of Computation 43 (1984);
Coleman & Moré, "Estimation of Sparse Hessian Matrices and Graph Coloring Problems", Mathematical Programming 28 (1984);
Brélaz, "New Methods to Color the Vertices of a Graph", Communications of the ACM 22 (1979);
Gebremedhin, Manne & Pothen, "What Color Is Your Jacobian?", SIAM Review 47 (2005).
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

# Up to so many pairs of columns in one row for each element, orders are tried that look at them all.
FEW_PAIRS = 64

# Grids are looked for in matrices of so few diagonals, of so few axes, whose neighbours are so many steps away along each at most; and
# so many lattices are tried at once.
FEW_DIAGONALS, FEW_AXES, FEW_STEPS, FEW_LATTICES = 32, 4, 3, 2000


def lowest_unset(mask: int) -> int:
    """The number of the lowest bit that is not set.

    >>> lowest_unset(0b1011)
    2
    """
    return (~mask & (mask + 1)).bit_length() - 1


def column_colouring(starts: Any, columns: Any, count: int) -> Any:
    """Colours of the `count` columns such that no row has two elements of one colour, in time linear in the elements. Rows are
    given in compressed form. There are as many colours as the longest row has elements, or a few more.

    >>> column_colouring(np.array([0, 2, 4, 6]), np.array([0, 1, 1, 2, 2, 3]), 4).tolist()
    [0, 1, 0, 1]
    """
    lengths = np.bincount(columns, minlength=count)
    rows = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    order = np.argsort(columns, kind="stable")
    above = _lists(rows[order], lengths)
    fewest = int(np.diff(starts).max(initial=0))
    of_grid = _by_lattice(rows, columns, count, fewest)
    if of_grid is not None and of_grid.max(initial=-1) < fewest:
        return of_grid
    found = _greedily(above, range(count), len(starts) - 1)
    if found.max(initial=-1) + 1 > fewest:
        # Where what comes first does not do with the fewest, the columns with least choice often do, or those with most elements.
        if int((np.diff(starts) ** 2).sum()) <= FEW_PAIRS * len(columns):
            other = _saturated(above, _lists(columns, np.diff(starts)))
        else:
            other = _greedily(above, np.argsort(-lengths, kind="stable").tolist(), len(starts) - 1)
        candidates = [found, other] if of_grid is None else [found, other, of_grid]
        found = min(candidates, key=lambda colours: int(colours.max(initial=-1)))
    return found


def vertex_colouring(starts: Any, columns: Any) -> Any:
    """Colours of the vertices of a graph, given by its symmetric matrix in compressed form, such that neighbours differ: what the
    diagonal takes.

    >>> vertex_colouring(np.array([0, 2, 5, 7]), np.array([0, 1, 0, 1, 2, 1, 2])).tolist()
    [0, 1, 0]
    """
    around = _lists(columns, np.diff(starts))
    colours = [-1] * len(around)
    for v, neighbours in enumerate(around):
        taken = 0
        for w in neighbours:
            if colours[w] >= 0:
                taken |= 1 << colours[w]
        if neighbours:
            colours[v] = lowest_unset(taken)
    return np.array(colours, np.intp)


def _lists(flat: Any, lengths: Any) -> list[list[int]]:
    bounds = [0, *np.cumsum(lengths).tolist()]
    values = flat.tolist()
    return [values[a:b] for a, b in itertools.pairwise(bounds)]


def _greedily(rows_of: Sequence[Sequence[int]], order: Any, rows: int) -> Any:
    colours = [-1] * len(rows_of)
    taken = [0] * rows  # which colours each row has, as bits
    for column in order:
        used = 0
        for row in rows_of[column]:
            used |= taken[row]
        if rows_of[column]:
            colour = colours[column] = lowest_unset(used)
            bit = 1 << colour
            for row in rows_of[column]:
                taken[row] |= bit
    return np.array(colours, np.intp)


def _by_lattice(rows: Any, columns: Any, count: int, fewest: int) -> Any:
    """Colours of the points of a grid by the remainder of a sum of multiples of their coordinates: those of one colour are a lattice.
    The fewest such that no two of a point's neighbours are alike; None if this is no grid, or if there are no few.

    The axes are read off the diagonals: those with most elements are one step along each, the others some steps along several."""
    diagonals, lengths = np.unique(columns - rows, return_counts=True)
    if fewest < 2 or len(diagonals) > FEW_DIAGONALS:
        return None
    strides: list[int] = []
    for d in np.abs(diagonals)[np.argsort(-lengths, kind="stable")].tolist():
        if _steps(d, strides) is None:
            strides = sorted([d, *strides])
    steps = [found for d in diagonals.tolist() if (found := _steps(d, strides)) is not None]
    if len(strides) > FEW_AXES or len(steps) < len(diagonals):
        return None
    apart = np.array([np.subtract(a, b) for a, b in itertools.combinations(steps, 2)], np.intp).reshape(
        -1, len(strides)
    )
    for colours in range(fewest, 2 * fewest):
        if colours ** (len(strides) - 1) > FEW_LATTICES:
            break
        weights = np.array([(1, *w) for w in itertools.product(range(1, colours), repeat=len(strides) - 1)], np.intp)
        (fitting,) = np.nonzero(np.all(weights @ apart.T % colours, axis=1))
        if not len(fitting):
            continue
        left, total = np.arange(count), np.zeros(count, np.intp)
        for stride, weight in zip(strides[::-1], weights[fitting[0]].tolist()[::-1], strict=True):
            total += weight * (left // stride)
            left = left % stride
        used, made = np.unique(columns), np.full(count, -1, np.intp)
        made[used] = np.unique(total[used] % colours, return_inverse=True)[1]
        # At its borders the grid may be another one.
        return made if len(np.unique(rows * colours + made[columns])) == len(rows) else None
    return None


def _steps(d: int, strides: Sequence[int]) -> list[int] | None:
    """How many steps along each axis lead from a number to that which is `d` larger, if few do."""
    found = []
    for stride in reversed(strides):
        found.append(round(d / stride))
        d -= found[-1] * stride
    return None if d or any([abs(n) > FEW_STEPS for n in found]) else found[::-1]


def _saturated(rows_of: Sequence[Sequence[int]], along: Sequence[Sequence[int]]) -> Any:
    """Colours of columns, of which the next is always that with most colours among those that it shares rows with, and of such that with
    most elements. `along` are the columns of each row; each pair of them takes a step."""
    colours = [-1] * len(rows_of)
    near, counts = (
        [0] * len(rows_of),
        [0] * len(rows_of),
    )  # the colours around each column, as bits, and how many they are
    waiting = [(0, -len(rows), column) for column, rows in enumerate(rows_of) if rows]
    heapq.heapify(waiting)
    while waiting:
        count, _, column = heapq.heappop(waiting)
        if colours[column] >= 0 or -count != counts[column]:
            continue  # coloured, or of more by now
        colour = colours[column] = lowest_unset(near[column])
        bit = 1 << colour
        for row in rows_of[column]:
            for other in along[row]:
                if colours[other] < 0 and not near[other] & bit:
                    near[other] |= bit
                    counts[other] += 1
                    heapq.heappush(waiting, (-counts[other], -len(rows_of[other]), other))
    return np.array(colours, np.intp)


def star_colouring(starts: Any, columns: Any) -> Any:
    """Colours of the vertices of a graph, given by its symmetric matrix in compressed form, such that neighbours differ and each
    path over four vertices has three: of each two colours the vertices form stars. In time linear in the elements.

    >>> star_colouring(np.array([0, 4, 6, 8, 10]), np.array([0, 1, 2, 3, 0, 1, 0, 2, 0, 3])).tolist()
    [0, 1, 1, 1]
    """
    n = len(starts) - 1
    lengths = np.diff(starts)
    around = _lists(columns, lengths)
    plain = _starwise(around, range(n))
    by_degree = _starwise(around, np.argsort(-lengths, kind="stable").tolist())
    return min(plain, by_degree, key=lambda colours: int(colours.max(initial=-1)))


def _starwise(around: Sequence[Sequence[int]], order: Any) -> Any:
    """Vertex v may not have the colour of a neighbour w. Nor that of a neighbour x of w, if x has two neighbours of w's colour
    (v, w, x and the other would be a path of two colours), nor that of any neighbour of two of its own that are alike.

    Which colours those are is kept for each vertex w, as bits: `seen` of its neighbours, `hubs` of those of its neighbours
    that have another neighbour of w's colour. `only[x]` is for each colour the one neighbour of x that has it, -1 where
    there are several."""
    n = len(around)
    colours = [-1] * n
    seen, hubs = [0] * n, [0] * n
    only: list[dict[int, int]] = [{} for _ in range(n)]
    for v in order:
        if not around[v]:
            continue
        forbidden = seen[v]
        for w in around[v]:
            c = colours[w]
            if c < 0 or w == v:
                continue
            forbidden |= hubs[w]
            if only[v][c] < 0:
                forbidden |= seen[w]
        colour = colours[v] = lowest_unset(forbidden)
        bit = 1 << colour
        for x in around[v]:
            if x == v:
                continue
            seen[x] |= bit
            c = colours[x]
            first = only[x].setdefault(colour, v)
            if first != v:
                only[x][colour] = -1
                if c >= 0:
                    hubs[v] |= 1 << c
                    if first >= 0:
                        hubs[first] |= 1 << c
            if c >= 0 and only[v][c] < 0:  # v is such a neighbour of x
                hubs[x] |= bit
    return np.array(colours, np.intp)
