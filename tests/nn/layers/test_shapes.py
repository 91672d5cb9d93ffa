"""Shapes and sizes, against jax.image and by hand."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tracegrad import nn
from tracegrad.core.errors import ShapeError

x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)


@pytest.mark.parametrize("method", ["nearest", "linear"])
@pytest.mark.parametrize("factor", [2, (3, 1), (1, 4)])
def test_upsample_is_that_of_jax(method: str, factor: int | tuple[int, int]) -> None:
    times = (factor, factor) if isinstance(factor, int) else factor
    net = nn.upsample(factor, method)  # type: ignore[arg-type]
    expected = jax.image.resize(x, (2, 3 * times[0], 4 * times[1], 5), method)
    call = lambda x: net({}, x)
    for f in (call, tg.jit(call), tg.jit(call, backend="xla"), tg.vmap(call)):
        near(np.asarray(f(x)), np.asarray(expected), 2e-6)
    tg.testing.check_grads(call, (x.astype(float),), order=1)
    near(
        nn.upsample((2,), method)({}, x[0, :, :1, 0]),
        np.asarray(jax.image.resize(x[0, :, :1, 0], (6, 1), method)),
        2e-6,
    )  # type: ignore[arg-type]
    assert nn.upsample(2, method)({}, x[:, :1, :1]).shape == (2, 2, 2, 5)  # type: ignore[arg-type]


def test_pixel_shuffle() -> None:
    y = np.arange(1 * 2 * 2 * 8).reshape(1, 2, 2, 8)
    got = nn.pixel_shuffle(2)({}, y)
    for i in range(4):
        for j in range(4):
            part = 2 * (2 * (i % 2) + j % 2)
            np.testing.assert_array_equal(got[0, i, j], y[0, i // 2, j // 2, part : part + 2])
    with pytest.raises(ShapeError, match=r"2\^2 must divide 5 channels"):
        nn.pixel_shuffle(2)({}, x)


def test_flatten_and_reshape() -> None:
    assert nn.flatten(x).shape == (2, 60)
    assert nn.reshape((5, -1))({}, x).shape == (2, 5, 12)
    assert nn.reshape(60)({}, x).shape == (2, 60)
    with pytest.raises(
        TypeError, match=r"a size is a whole number, or a tuple of such, .* got 'a' at .*; write 3 or \(3, 3\)"
    ):
        nn.reshape("a")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"flatten.*takes a batch \[batch, \.\.\.\], got a number"):
        nn.flatten(3.0)
    with pytest.raises(ValueError, match="method is 'nearest' or 'linear', got 'cubic'"):
        nn.upsample(2, "cubic")  # type: ignore[arg-type]
