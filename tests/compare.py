"""How tests compare: pytrees of the same structure, shapes and dtypes, by `tracegrad.testing.assert_same`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.testing import assert_same


def same(got: Any, expected: Any, tolerance: float = 0.0, what: str = "the result") -> None:
    """The same values; or within a tolerance, absolute and relative to the largest value in a leaf. Where an array is expected a
    list may tell its numbers."""
    if isinstance(expected, list) and not isinstance(got, list | tuple):
        expected = np.asarray(expected, np.asarray(got).dtype)
    assert_same(got, expected, what, tolerance, tolerance)


def near(got: Any, expected: Any, tolerance: float = 1e-12, what: str = "the result") -> None:
    """The same values but for rounding."""
    same(got, expected, tolerance, what)


def same_bits(got: Any, expected: Any) -> None:
    """The same types and bits, -0.0 included. Of a NaN, that it is one."""
    assert_same(got, expected, rtol=0.0)
    for a, b in zip(tree.tree_leaves(got), tree.tree_leaves(expected), strict=True):
        x, y = np.asarray(a), np.asarray(b)
        for u, v in ((x.real, y.real), (x.imag, y.imag)) if x.dtype.kind == "c" else ((x, y),):
            assert np.where(u != u, 0, u).tobytes() == np.where(v != v, 0, v).tobytes(), f"{a!r} against {b!r}"
