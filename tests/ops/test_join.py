"""Joins and cuts."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg

jax.config.update("jax_enable_x64", True)


def test_a_loop_over_parts_is_differentiated_without_padding() -> None:
    def f(x: Any) -> Any:
        i, g, o = np.split(x, 3)
        return np.sum(i * g * o)

    graph = tg.make_graph(tg.grad(f))(np.arange(6.0))
    names = [e.op.name for e in graph.eqns]
    assert names.count("concatenate") == 1 and "unslice" not in names


def test_mixed_dtypes_in_a_join() -> None:
    f = lambda x, y: np.sum(np.concatenate([x, y]) ** 2)
    gx, gy = tg.grad(f, argnums=(0, 1))(np.ones(2, np.float32), np.ones(3))
    assert gx.dtype == np.float32 and gy.dtype == np.float64
    g = tg.grad(lambda x: np.sum(np.stack([x, np.arange(3)]) ** 2))(np.ones(3, np.float32))
    assert g.dtype == np.float32
    assert tg.eval_shape(f, np.ones(2, np.float32), np.ones(3)).dtype == np.float64


def test_numbers_in_a_join_of_all_elements() -> None:
    """Python's take the dtype of the arrays beside them."""
    x = np.ones(3, np.float32)
    for other in (0, 0.5, 1j, True, np.float64(2), np.int8(3), np.ones((2, 2))):
        f = lambda x, other=other: np.concatenate((x, other), axis=None)
        found, expected = tg.jit(f)(x), f(x)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    assert tg.jit(lambda i: np.concatenate((3, i), axis=None))(np.ones(2, np.int8)).dtype == np.int8


def test_some_outputs_unused() -> None:
    x = np.arange(6.0)
    np.testing.assert_array_equal(tg.grad(lambda x: np.sum(np.split(x, 3)[1] ** 2))(x), [0, 0, 4, 6, 0, 0])
    np.testing.assert_array_equal(tg.grad(lambda x: np.unstack(x)[4] ** 2)(x), [0, 0, 0, 0, 8, 0])


def test_a_stack_of_several_shapes_is_refused_as_numpy_refuses_it() -> None:
    """Their elements may fit together all the same, once they have an axis more: (3, 2) and (1, 2) along axis 0."""
    for one, two in ((np.ones((3, 2)), np.ones((1, 2))), (np.ones((2, 0)), np.ones((1, 0))), (np.ones(3), np.ones(()))):
        for f in (lambda x: np.stack([x, two]), tg.jit(lambda x: np.stack([x, two]))):
            with pytest.raises(ValueError, match="must have the same shape"):
                tg.vjp(f, one)
