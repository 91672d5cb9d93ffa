"""Arrays from what is given, under NumPy's further names."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tracegrad.core.errors import ConcretizationTypeError

X = np.array([1.0, 2.0, 3.0])


def test_asanyarray() -> None:
    assert tg.grad(lambda x: np.sum(tnp.asanyarray([x, x])))(2.0) == 2.0
    masked = np.ma.masked_array([1.0, 2.0], [True, False])
    assert tnp.asanyarray(masked) is masked


def test_asarray_chkfinite() -> None:
    f = lambda x: np.sum(tnp.asarray_chkfinite(x) ** 2)
    assert tg.grad(f)(X).tolist() == [2.0, 4.0, 6.0]
    with pytest.raises(ValueError, match="must not contain infs or NaNs"):
        tg.grad(f)(np.array([1.0, np.inf]))
    with pytest.raises(ConcretizationTypeError, match=r"tnp\.asarray\(x\)"):
        tg.jit(f)(X)
    assert tg.jit(lambda x: tnp.asarray_chkfinite(x) + 1)(np.arange(3)).tolist() == [1, 2, 3]


def test_require() -> None:
    x = np.arange(6.0).reshape(2, 3)
    for requirements in (None, "F", ["C", "W"], ["E"]):
        found = tg.jit(lambda x, r=requirements: tnp.require(x.T, np.float32, r))(x)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, x.T)
    assert tg.grad(lambda x: np.sum(tnp.require(x, requirements="C")))(x).shape == (2, 3)
    with pytest.raises(KeyError):
        tg.make_graph(lambda x: tnp.require(x, requirements="Q"))(x)


def test_fromiter() -> None:
    f = lambda x: tnp.fromiter((x[i] ** 2 for i in range(3)), float)
    assert tg.jit(f)(X).tolist() == [1.0, 4.0, 9.0]
    assert tg.grad(lambda x: np.sum(tnp.fromiter(iter(x), float, 2)))(X).tolist() == [1.0, 1.0, 0.0]
    with pytest.raises(ValueError, match="iterator too short"):
        tnp.fromiter(iter([1.0]), float, 2)
