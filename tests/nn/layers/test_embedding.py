"""Embeddings against flax."""

from __future__ import annotations

from functools import partial

import flax.linen as linen
import numpy as np
import pytest

import tracegrad as tg
from tests.nn.parity import agree_with_flax
from tracegrad import nn
from tracegrad.core.errors import DtypeError

TOKENS = np.array([[0, 2, 2], [4, 1, 0]], np.int32)


def test_embed() -> None:
    agree_with_flax(nn.Embed(5, 3), partial(linen.Embed, 5, 3), TOKENS)


def test_integers_of_no_row() -> None:
    net = nn.Embed(5, 3)
    params = net.init(0, TOKENS)
    for f in (net, tg.jit(net)):
        with pytest.raises(IndexError, match="5"):
            f(params, TOKENS + 1)
    assert np.array_equal(net(params, np.array([-1])), params["embedding"][[4]])


def test_errors() -> None:
    with pytest.raises(
        DtypeError, match=r"serial.Embed_0.*: takes integers, got float32; write tokens.astype\(np.int32\)"
    ):
        nn.serial(nn.Embed(5, 3)).init(0, (2, 3))
