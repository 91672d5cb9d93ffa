"""Where the numbers of sparse arrays stand, which is plain, and what that says of sums and products of two of them: the places of the
result, and for each of these the numbers of which it is made."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.trace import bind
from tracegrad.core.types import type_of
from tracegrad.ops.index import take
from tracegrad.ops.sparse import coordinates, sparse_matmul_op


class Pattern:
    """Where the numbers of a sparse array stand: as those of a csr_array of this shape, or of the transposed of one."""

    __slots__ = ("hash", "indices", "indptr", "shape", "transposed")

    def __init__(self, indices: Any, indptr: Any, shape: tuple[int, int], transposed: bool) -> None:
        self.indices = indices
        self.indptr = indptr
        self.shape = shape
        self.transposed = transposed
        self.hash: int | None = None

    def __eq__(self, other: object) -> bool:
        if self is other or type(other) is not Pattern:
            return self is other
        alike = (self.shape, self.transposed) == (other.shape, other.transposed)
        return alike and np.array_equal(self.indptr, other.indptr) and np.array_equal(self.indices, other.indices)

    def __hash__(self) -> int:
        if self.hash is None:
            self.hash = hash((self.shape, self.transposed, self.indptr.tobytes(), self.indices.tobytes()))
        return self.hash

    @property
    def outer(self) -> tuple[int, int]:
        """The shape of the matrix as it is, turned or not."""
        m, n = self.shape
        return (n, m) if self.transposed else (m, n)

    @property
    def T(self) -> Pattern:
        return Pattern(self.indices, self.indptr, self.shape, not self.transposed)

    def places(self) -> tuple[Any, Any]:
        """The row and the column of each number."""
        rows, columns = coordinates(self.indices, self.indptr, self.transposed)
        return rows.astype(np.int64), columns.astype(np.int64)  # of which the numbers of elements do not wrap


def totals(data: Any, order: Any, begins: Any) -> Any:
    """The sums of numbers `data[order[begins[i]:begins[i + 1]]]`."""
    ones = np.ones(len(order), type_of(data).dtype)
    how = {"shape": (len(begins) - 1, type_of(data).shape[0]), "transposed": False}
    return bind(sparse_matmul_op, (ones, order, begins, data), how)


def by_place(data: Any, rows: Any, columns: Any, shape: tuple[int, int]) -> tuple[Any, Pattern]:
    """The numbers at these places row by row, those at one place summed."""
    width = max(shape[1], 1)
    target = rows * width + columns
    order = np.argsort(target, kind="stable")
    found, starts = np.unique(target[order], return_index=True)
    indptr = np.searchsorted(found // width, np.arange(shape[0] + 1))
    return totals(data, order, np.append(starts, len(order))), Pattern(found % width, indptr, shape, False)


def _pairs(wanted: Any, offered: Any) -> tuple[Any, Any, Any]:
    """For each number that is wanted where it is offered: how often, which positions that are, and the order of these."""
    order = np.argsort(offered, kind="stable")
    first, last = [np.searchsorted(offered[order], wanted, side=side) for side in ("left", "right")]
    counts = last - first
    begins = np.cumsum(counts) - counts
    within = np.arange(np.sum(counts)) - np.repeat(begins, counts)
    return counts, order[np.repeat(first, counts) + within], np.append(begins, np.sum(counts))


def sum_of_two(a: Any, a_at: Pattern, b: Any, b_at: Pattern) -> tuple[Any, Pattern]:
    if a_at.outer != b_at.outer:
        raise ShapeError(f"sparse arrays of shapes {a_at.outer} and {b_at.outer} have no sum{at(user_source())}")
    rows, columns = [np.concatenate(part) for part in zip(a_at.places(), b_at.places(), strict=True)]
    return by_place(np.concatenate([a, b]), rows, columns, a_at.outer)


def product_of_two(a: Any, a_at: Pattern, b: Any, b_at: Pattern) -> tuple[Any, Pattern]:
    if a_at.outer[1] != b_at.outer[0]:
        raise ShapeError(f"sparse arrays of shapes {a_at.outer} and {b_at.outer} have no product{at(user_source())}")
    (rows, inner), (also_inner, columns) = a_at.places(), b_at.places()
    counts, right, _ = _pairs(inner, also_inner)
    left = np.repeat(np.arange(len(inner)), counts)
    data = take(a, left, axis=0) * take(b, right, axis=0)
    return by_place(data, rows[left], columns[right], (a_at.outer[0], b_at.outer[1]))


def product_by_elements(a: Any, a_at: Pattern, b: Any, b_at: Pattern) -> tuple[Any, Pattern]:
    """Of the elements of two of one shape, or of which an axis of one is one long. There are numbers where both have some."""
    try:
        shape = np.broadcast_shapes(a_at.outer, b_at.outer)
    except ValueError:
        shape = None
    if shape not in (a_at.outer, b_at.outer):
        raise ShapeError(
            f"sparse arrays of shapes {a_at.outer} and {b_at.outer} do not broadcast to one of them{at(user_source())}"
        )
    if shape != a_at.outer:
        a, a_at, b, b_at = b, b_at, a, a_at
    m, n = b_at.outer
    rows, columns = a_at.places()
    beside_rows, beside_columns = b_at.places()
    wanted = rows * (m > 1) * n + columns * (n > 1)
    counts, order, begins = _pairs(wanted, beside_rows * n + beside_columns)
    there = np.flatnonzero(counts)
    data = take(a, there, axis=0) * totals(b, order, np.append(begins[there], begins[-1]))
    return by_place(data, rows[there], columns[there], a_at.outer)
