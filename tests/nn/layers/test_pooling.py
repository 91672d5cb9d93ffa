"""Windows as one number, against flax's and by hand."""

from __future__ import annotations

from typing import Any

import flax.linen as linen
import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tracegrad import nn
from tracegrad.core.errors import ShapeError

x = np.random.default_rng(0).normal(size=(2, 7, 8, 3)).astype(np.float32)

CASES: dict[str, Any] = {
    "max": (nn.max_pool(2), lambda x: linen.max_pool(x, (2, 2), (2, 2))),
    "max, strides": (nn.max_pool((3, 2), 1, "SAME"), lambda x: linen.max_pool(x, (3, 2), (1, 1), "SAME")),
    "max, padding": (nn.max_pool(3, 2, 1), lambda x: linen.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))),
    "avg": (nn.avg_pool(2), lambda x: linen.avg_pool(x, (2, 2), (2, 2))),
    "avg, padding": (nn.avg_pool(3, 2, "SAME"), lambda x: linen.avg_pool(x, (3, 3), (2, 2), "SAME")),
    "avg without padding": (
        nn.avg_pool(3, 2, "SAME", count_include_pad=False),
        lambda x: linen.avg_pool(x, (3, 3), (2, 2), "SAME", count_include_pad=False),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_pools_are_those_of_flax(name: str) -> None:
    ours, theirs = CASES[name]
    expected = np.asarray(theirs(x)).astype(np.float32)
    weights = np.cos(np.arange(expected.size)).reshape(expected.shape).astype(np.float32)
    call = lambda x: ours({}, x)
    for f in (call, tg.jit(call), tg.jit(call, backend="xla"), tg.vmap(call)):
        near(np.asarray(f(x)), expected, 1e-6)
    gradient = jax.grad(lambda x: (theirs(x) * weights).sum())(x)
    near(tg.grad(lambda x: np.sum(call(x) * weights))(x), np.asarray(gradient), 1e-6)
    near(call(x[0]), expected[0], 1e-6)
    assert ours.init(0, x) == {}


def test_whole_images() -> None:
    near(nn.global_avg_pool(x), x.mean((1, 2)), 1e-6)
    near(nn.global_max_pool(x), x.max((1, 2)))
    half = np.full((1, 64, 64, 1), 60000, np.float16)
    assert nn.global_avg_pool(half).dtype == np.float16 and nn.global_avg_pool(half)[0, 0] == 60000
    assert nn.avg_pool(8)({}, half)[0, 0, 0, 0] == 60000
    assert nn.max_pool(2)({}, np.arange(16).reshape(4, 4, 1)).dtype == np.arange(1).dtype


@pytest.mark.parametrize("size", [(3, 5), (7, 8), (1, 1), (7, 4), (10, 3)])
def test_adaptive_windows(size: tuple[int, int]) -> None:
    expected = np.zeros((2, *size, 3))
    for i in range(size[0]):
        for j in range(size[1]):
            rows = slice(i * 7 // size[0], -(-(i + 1) * 7 // size[0]))
            columns = slice(j * 8 // size[1], -(-(j + 1) * 8 // size[1]))
            expected[:, i, j] = x[:, rows, columns].mean((1, 2))
    net = nn.adaptive_avg_pool(size)
    near(net({}, x), expected.astype(np.float32), 1e-6)
    near(tg.jit(lambda x: net({}, x))(x), net({}, x), 1e-6)


def test_errors() -> None:
    with pytest.raises(
        ShapeError, match=r"max_pool at .*: a window of \(2, 2\) takes \[\.\.\., space, space, channels\]"
    ):
        nn.max_pool(2)({}, np.ones((4, 4)))
    with pytest.raises(
        ShapeError, match=r"global_avg_pool.*takes images \[\.\.\., height, width, channels\], got \(4, 4\)"
    ):
        nn.global_avg_pool(np.ones((4, 4)))
