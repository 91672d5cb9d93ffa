"""Convolutions against flax's."""

from __future__ import annotations

from typing import Any

import flax.linen as linen
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.nn.parity import agree_with_flax
from tracegrad import nn
from tracegrad.core.errors import ShapeError

rng = np.random.default_rng(0)
LINE, IMAGE, BLOCK = rng.normal(size=(3, 9, 4)), rng.normal(size=(2, 6, 7, 4)), rng.normal(size=(2, 4, 3, 4, 2))

CASES: dict[str, Any] = {
    "plain": (nn.Conv(3, 3), lambda **o: linen.Conv(3, (3, 3), **o), IMAGE),
    "valid, strides": (nn.Conv(3, (3, 2), (2, 1), "VALID"), lambda **o: linen.Conv(3, (3, 2), (2, 1), "VALID", **o), IMAGE),
    "same, strides": (nn.Conv(3, 3, 2), lambda **o: linen.Conv(3, (3, 3), 2, **o), IMAGE),
    "number of zeros": (nn.Conv(3, 3, padding=2), lambda **o: linen.Conv(3, (3, 3), padding=2, **o), IMAGE),
    "pairs": (
        nn.Conv(3, 3, padding=((1, 0), 2)), lambda **o: linen.Conv(3, (3, 3), padding=((1, 0), 2), **o), IMAGE,
    ),
    "circular": (nn.Conv(3, (4, 3), padding="CIRCULAR"), lambda **o: linen.Conv(3, (4, 3), padding="CIRCULAR", **o), IMAGE),
    "causal": (
        nn.Conv(5, (3,), padding="CAUSAL", kernel_dilation=2),
        lambda **o: linen.Conv(5, (3,), padding="CAUSAL", kernel_dilation=2, **o), LINE,
    ),
    "dilated": (
        nn.Conv(3, 2, padding=1, input_dilation=2, kernel_dilation=(1, 2)),
        lambda **o: linen.Conv(3, (2, 2), padding=1, input_dilation=2, kernel_dilation=(1, 2), **o), IMAGE,
    ),
    "groups": (
        nn.Conv(6, 3, feature_group_count=2, use_bias=False),
        lambda **o: linen.Conv(6, (3, 3), feature_group_count=2, use_bias=False, **o), IMAGE,
    ),
    "three axes": (nn.Conv(3, (2, 3, 2)), lambda **o: linen.Conv(3, (2, 3, 2), **o), BLOCK),
    "transposed": (nn.ConvTranspose(3, 3, 2), lambda **o: linen.ConvTranspose(3, (3, 3), (2, 2), **o), IMAGE),
    "transposed, valid": (
        nn.ConvTranspose(3, (2, 3), (2, 1), "VALID", use_bias=False),
        lambda **o: linen.ConvTranspose(3, (2, 3), (2, 1), "VALID", use_bias=False, **o), IMAGE,
    ),
    "transposed kernel": (
        nn.ConvTranspose(3, 3, 2, transpose_kernel=True),
        lambda **o: linen.ConvTranspose(3, (3, 3), (2, 2), transpose_kernel=True, **o), IMAGE,
    ),
    "transposed, dilated": (
        nn.ConvTranspose(3, (3,), 2, kernel_dilation=2),
        lambda **o: linen.ConvTranspose(3, (3,), (2,), kernel_dilation=(2,), **o), LINE,
    ),
    "transposed, circular": (
        nn.ConvTranspose(3, (4, 5), (2, 1), "CIRCULAR"),
        lambda **o: linen.ConvTranspose(3, (4, 5), (2, 1), "CIRCULAR", **o), IMAGE,
    ),
    "transposed kernel, circular": (
        nn.ConvTranspose(3, (4, 5), (2, 1), "CIRCULAR", transpose_kernel=True),
        lambda **o: linen.ConvTranspose(3, (4, 5), (2, 1), "CIRCULAR", transpose_kernel=True, **o), IMAGE,
    ),
    "depthwise": (
        nn.DepthwiseConv(3, multiplier=2), lambda **o: linen.Conv(8, (3, 3), feature_group_count=4, **o), IMAGE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_convolutions_are_those_of_flax(name: str) -> None:
    ours, theirs, x = CASES[name]
    agree_with_flax(ours, theirs, x)


def test_separable_is_one_after_the_other() -> None:
    net = nn.SeparableConv(5, 3, 2, multiplier=2)
    params = net.init(0, IMAGE)
    h = nn.DepthwiseConv(3, 2, multiplier=2, use_bias=False)(params["depthwise"], IMAGE)
    near(net(params, IMAGE), nn.Conv(5, 1)(params["pointwise"], h), 1e-6)
    assert params["pointwise"]["kernel"].shape == (1, 1, 8, 5)


def test_any_number_of_batch_axes() -> None:
    net = nn.Conv(3, 3)
    params = net.init(0, IMAGE)
    whole = net(params, IMAGE)
    near(net(params, IMAGE[0]), whole[0], 1e-6)
    near(net(params, IMAGE.reshape(2, 1, 6, 7, 4)), whole.reshape(2, 1, 6, 7, 3), 1e-6)
    near(tg.vmap(net, (None, 0))(params, IMAGE), whole, 1e-6)


@pytest.mark.parametrize(
    "net, x, error, text",
    [
        (
            nn.Conv(3, 3),
            (8, 8),
            ShapeError,
            r"Conv at .*: a window of \(3, 3\) takes \[\.\.\., space, space, channels\], got \(8, 8\)",
        ),
        (
            nn.Conv(3, 3, feature_group_count=2),
            (1, 8, 8, 3),
            ShapeError,
            "2 groups must divide 3 channels in and 3 out",
        ),
        (
            nn.Conv(3, 3, padding=(1, 1, 1)),
            (1, 8, 8, 3),
            ShapeError,
            r"padding \(1, 1, 1\) is for 3 axes, the window \(3, 3\) has 2",
        ),
        (nn.Conv(3, 3, padding="CAUSAL"), (1, 8, 8, 3), ShapeError, "CAUSAL padding is for one axis"),
        (nn.Conv(3, 3, padding="same"), (1, 8, 8, 3), ValueError, "padding is 'SAME', 'VALID', .* got 'same'"),
    ],
)
def test_errors(net: Any, x: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        net.init(0, x)
