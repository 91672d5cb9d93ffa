"""Linear equations by products alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad.core.types import type_of
from tracegrad.transforms.control.while_loop import while_loop


def gmres(matvec: Callable[[Any], Any], b: Any, restart: int = 40, cycles: int = 200) -> Any:
    """The x of one axis for which `matvec(x) = b`, by GMRES with restarts and orthogonalisation done twice (Saad and Schultz 1986): NaN
    where it does not converge, so that nobody takes it for a solution."""
    (size,), dtype = type_of(b).shape, type_of(b).dtype
    count = min(restart, size)
    tolerance = float(np.finfo(dtype).eps) ** 0.7
    norm_of_b = np.linalg.norm(b)
    first = np.eye(count + 1, 1, dtype=dtype)[:, 0]

    def cycle(state: Any) -> Any:
        step, x, r = state
        size_of_r = np.linalg.norm(r)
        basis = np.asarray(first)[:, None] * (r / np.where(size_of_r == 0, 1, size_of_r))
        products = np.zeros((count + 1, count), dtype)
        _, basis, products = while_loop(lambda s: s[0] < count, extend, (0, basis, products))
        x = x + (np.linalg.pinv(products) @ (first * size_of_r)) @ basis[:-1]
        return step + 1, x, b - matvec(x)

    def extend(state: Any) -> Any:
        """One more vector of the basis, and what the matrix makes of the one before."""
        j, basis, products = state
        here, after = np.arange(count) == j, np.arange(count + 1) == j + 1
        v = matvec((np.arange(count + 1) == j).astype(dtype) @ basis)
        along = basis.conj() @ v
        v = v - along @ basis
        again = basis.conj() @ v
        v = v - again @ basis
        norm = np.linalg.norm(v)
        basis = basis + after.astype(dtype)[:, None] * (v / np.where(norm == 0, 1, norm))
        column = along + again + after.astype(dtype) * norm
        return j + 1, basis, products + column[:, None] * here.astype(dtype)

    def goes_on(state: Any) -> Any:
        step, _, r = state
        return (step < cycles) & (np.linalg.norm(r) > tolerance * norm_of_b)

    _, x, r = while_loop(goes_on, cycle, (0, b * 0, b * 1))
    return np.where(np.linalg.norm(r) <= 10 * tolerance * norm_of_b, x, np.nan)
