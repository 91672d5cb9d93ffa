"""Drawn inputs."""

from __future__ import annotations

from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import tracegrad as tg
import tracegrad.lax  # for the ops that come with it
import tracegrad.random
from tests.testing.test_programs import drawn
from tracegrad.core.op import OPS
from tracegrad.testing import (
    strategies,
)

QUICK = hypothesis.settings(max_examples=60, deadline=None, derandomize=True, database=None)


@QUICK
@hypothesis.given(st.data())
def test_strategies(data: Any) -> None:
    shape = data.draw(strategies.shapes())
    dtype = data.draw(strategies.dtypes("float32", "complex128", "int64", "bool", "uint8"))
    x = data.draw(strategies.arrays(shape, dtype, low=-1.0, high=1.0))
    assert (x.shape, x.dtype) == (shape, dtype)
    if dtype.kind == "f":
        assert np.all(np.abs(x) >= 0.049)
    if dtype.kind == "u":
        assert np.all(x >= 0)
    x[data.draw(strategies.indices(shape))]
    np.broadcast_shapes(*data.draw(strategies.broadcastable_shapes(3)))
    leaves = tg.tree.leaves(data.draw(strategies.pytrees(st.just(1.5))))
    assert set(leaves) <= {1.5}


@QUICK
@hypothesis.given(strategies.keys())
def test_keys_are_those_of_jax(key: Any) -> None:
    jax = pytest.importorskip("jax")
    seed = (int(key[0]) << 32) + int(key[1])
    with jax.enable_x64(True):
        made = jax.random.PRNGKey(np.uint64(seed))
    assert key.dtype == made.dtype == np.uint32
    np.testing.assert_array_equal(key, made)


@drawn(60)
@hypothesis.given(st.data())
def test_drawn_inputs_of_ops_keep_what_the_samples_have(data: Any) -> None:
    (edges, _), _ = data.draw(strategies.op_samples(OPS["searchsorted"]))
    assert np.all(np.diff(edges) >= 0)
    (x, y), _ = data.draw(strategies.op_samples(OPS["add"], "complex128"))
    assert x.dtype == y.dtype == np.complex128
    np.broadcast_shapes(x.shape, y.shape)
