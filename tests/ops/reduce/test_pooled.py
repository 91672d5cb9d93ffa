"""Reductions of a few elements that lie apart, against NumPy's, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.memory import strides_of
from tracegrad.core.types import type_of
from tracegrad.ops.reduce.pooled import may_be_pooled, pooled

REDUCED = [
    ((32, 14, 2, 14, 2, 16), (2, 4)),
    ((32, 14, 2, 14, 2, 2), (2, 4)),
    ((2000, 3, 5), (1,)),
    ((300, 4, 1, 3, 1, 7), (1, 2, 3)),
    ((20, 16, 40, 8), (1,)),
]


@pytest.mark.parametrize("dtype", ["f", "d", "F"])
@pytest.mark.parametrize("shape, axes", REDUCED)
def test_pooling_has_numpys_bits(shape: tuple[int, ...], axes: tuple[int, ...], dtype: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape).astype(dtype)
    x[rng.uniform(size=shape) < 0.3] = -0.0
    x[rng.uniform(size=shape) < 0.01] = np.inf
    back = (0, x.ndim - 1, *range(1, x.ndim - 1))  # as a user of channels in front has it
    moved = tuple([back.index(a) for a in axes])
    for y, over in ((x, axes), (x.transpose(back), moved), (x[:, ::-1], axes), (x[::2], axes)):
        for ufunc in (np.add, np.maximum, np.minimum):
            for keepdims in (False, True):
                expected = ufunc.reduce(y, over, keepdims=keepdims)
                got = pooled(ufunc, y, over, keepdims)
                assert got.tobytes() == expected.tobytes() and strides_of(got) == strides_of(expected)
                assert got.base is None


@pytest.mark.parametrize("function", [np.sum, np.mean, np.max, np.min])
def test_pooled_reductions_are_numpys(function: Any) -> None:
    x = np.random.default_rng(0).normal(size=(32, 12, 12, 16)).astype("f").transpose(0, 3, 1, 2)

    def f(x: Any) -> Any:
        return function(np.reshape(x, (32, 16, 6, 2, 6, 2)), axis=(3, 5))

    assert may_be_pooled(type_of(x.reshape(32, 16, 6, 2, 6, 2)), (3, 5))
    for run in (tg.jit(f), lambda x: tg.make_graph(f)(x)(x)[0], lambda x: tg.vjp(f, x)[0]):
        assert run(x).tobytes() == f(x).tobytes()
        ordered = np.ascontiguousarray(x)
        assert run(ordered).tobytes() == f(ordered).tobytes()


def test_what_is_no_pooling_is_numpys() -> None:
    calls: list[Any] = []

    class Counted:
        def reduce(self, x: Any, axes: Any, keepdims: bool) -> Any:
            calls.append(axes)
            return np.add.reduce(x, axes, keepdims=keepdims)

    x = np.zeros((64, 4, 16))
    left: list[Any] = [
        (x, (2,)),
        (x, (0,)),
        (x, ()),
        (x[:4], (1,)),
        (np.broadcast_to(x[:1], x.shape), (1,)),
        (x.astype(int), (1,)),
    ]
    for y, axes in left:
        pooled(Counted(), y, axes)  # type: ignore[arg-type]
    assert calls == [axes for _, axes in left]


def test_source_for_numpy_alone() -> None:
    """Of pooling there is np.sum, and np.reshape of its cotangent."""

    def f(x: Any) -> Any:
        pooled = np.mean(np.reshape(np.sin(x), (4, 12, 2, 12, 2, 4)), axis=(2, 4))
        return np.sum(np.max(np.reshape(pooled, (4, 6, 2, 6, 2, 4)), axis=(2, 4)) ** 2)

    x = np.random.default_rng(0).normal(size=(4, 24, 24, 4))
    source = tg.to_numpy_source(tg.grad(f), x)
    assert "add_pooled" not in source and "reshaped" not in source
    module: dict[str, Any] = {"__name__": "alone"}
    exec(source, module)
    np.testing.assert_allclose(module["grad_f"](x), tg.grad(f)(x), rtol=1e-12)
