"""How tests compare."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.testing import assert_same


def same(got: Any, expected: Any, tolerance: float = 0.0, what: str = "the result") -> None:
    """Two pytrees of the same structure, types and values; to within a tolerance, absolute and relative to the largest value in a
    leaf."""
    assert_same(got, expected, what, tolerance, tolerance)


def same_bits(got: Any, expected: Any) -> None:
    """The same structure, types and bits, -0.0 included. Of a NaN, that it is one."""
    assert_same(got, expected, rtol=0.0)
    for a, b in zip(tree.tree_leaves(got), tree.tree_leaves(expected), strict=True):
        x, y = np.asarray(a), np.asarray(b)
        for u, v in ((x.real, y.real), (x.imag, y.imag)) if x.dtype.kind == "c" else ((x, y),):
            assert np.where(u != u, 0, u).tobytes() == np.where(v != v, 0, v).tobytes(), f"{a!r} against {b!r}"
