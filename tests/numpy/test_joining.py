"""Joining and cutting, which are each other's inverses, and so are their derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same
from tracegrad.core.errors import ShapeError

X = np.arange(12.0).reshape(3, 4) - 3.3


@pytest.mark.parametrize("name, cut", [("vstack", "vsplit"), ("hstack", "hsplit"), ("dstack", "dsplit")])
def test_what_is_cut_and_joined_is_the_array(name: str, cut: str) -> None:
    x = X.reshape(2, 3, 2) if cut == "dsplit" else X
    f = lambda x: getattr(np, name)(getattr(np, cut)(x, [1]))
    same(tg.jit(f)(x), x)
    same(tg.grad(lambda x: np.sum(f(x) ** 3))(x), 3 * x**2, 1e-14)


def test_blocks_and_appended_values() -> None:
    f = lambda x: np.block([[x, x[:, :1]], [np.ones((1, 4)), 2.0]])
    same(tg.jit(f)(X), f(X))
    assert tg.grad(lambda x: np.sum(f(x)))(X).tolist() == [[2.0, 1.0, 1.0, 1.0]] * 3
    same(tg.jit(lambda x: np.append(x, x[0], 0 if x.ndim == 1 else None))(X), np.append(X, X[0]))


def test_parts_of_unequal_size() -> None:
    with pytest.raises(ValueError, match="equal"):
        tg.jit(lambda x: np.split(x, 5, 1))(X)
    with pytest.raises((ValueError, ShapeError)):
        tg.jit(lambda x: np.hstack([x, x[:2]]))(X)
