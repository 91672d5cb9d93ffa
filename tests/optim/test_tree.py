"""`tg.optim.tree` has optax.tree's names, arguments and values."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import tracegrad as tg
from tests.steps import assert_same
from tracegrad import optim

DRAW = np.random.default_rng(0)
X = {
    "a": DRAW.normal(size=(2, 3)),
    "b": (np.asarray(DRAW.normal()), np.zeros((0, 2))),
    "c": DRAW.normal(size=4).astype(np.float32),
}
Y = tg.tree.map(lambda x: x * 2 - 1, X)
Z = {"a": DRAW.normal(size=3) + 1j * DRAW.normal(size=3)}

CASES: dict[str, Callable[[Any], Any]] = {
    "add": lambda t: t.add(X, Y, X),
    "sub": lambda t: t.sub(X, Y),
    "mul": lambda t: t.mul(X, Y),
    "div": lambda t: t.div(X, Y),
    "scale": lambda t: t.scale(0.5, X),
    "add_scale": lambda t: t.add_scale(X, 0.5, Y),
    "add_scale_none": lambda t: t.add_scale({"a": None, "b": X["a"]}, 0.5, {"a": None, "b": X["a"]}),
    "clip": lambda t: t.clip(X, -0.3, 0.4),
    "clip_below": lambda t: t.clip(X, min_value=0.1),
    "conj": lambda t: t.conj(Z),
    "real": lambda t: t.real(Z),
    "where": lambda t: t.where(np.bool_(False), X, Y),
    "batch_shape": lambda t: t.batch_shape(X, (3, 1)),
    "zeros_like": lambda t: t.zeros_like(X),
    "zeros_like_dtype": lambda t: t.zeros_like(X, np.float32),
    "ones_like": lambda t: t.ones_like(X),
    "full_like": lambda t: t.full_like(X, 3.0),
    "cast": lambda t: t.cast(X, np.float16),
    "cast_none": lambda t: t.cast(X, None),
    "cast_like": lambda t: t.cast_like(X, t.cast(Y, np.float32)),
    "sum": lambda t: t.sum(X),
    "sum_nothing": lambda t: t.sum({}),
    "max": lambda t: t.max(X),
    "min": lambda t: t.min(X),
    "min_nothing": lambda t: t.min({}),
    "size": lambda t: t.size(X),
    "vdot": lambda t: t.vdot(X, Y),
    "vdot_complex": lambda t: t.vdot(Z, t.scale(1j, Z)),
    "norm": lambda t: t.norm(X),
    "norm_squared": lambda t: t.norm(X, squared=True),
    "norm_complex": lambda t: t.norm(Z),
    "norm_1": lambda t: t.norm(X, 1),
    "norm_inf": lambda t: t.norm(X, np.inf, squared=True),
    "norm_word": lambda t: t.norm(X, "inf"),
    "allclose": lambda t: t.allclose(X, Y),
    "allclose_same": lambda t: t.allclose(X, X),
    "update_moment": lambda t: t.update_moment(X, Y, 0.9, 2),
    "update_moment_none": lambda t: t.update_moment({"a": None, "b": X["a"]}, {"a": None, "b": X["a"]}, 0.9, 1),
    "update_moment_per_elem_norm": lambda t: t.update_moment_per_elem_norm(Z, t.real(Z), 0.9, 2),
    "update_moment_per_elem_norm_odd": lambda t: t.update_moment_per_elem_norm(Z, t.real(Z), 0.9, 3),
    "update_infinity_moment": lambda t: t.update_infinity_moment(X, Y, 0.9, 1e-8),
    "bias_correction": lambda t: t.bias_correction(X, 0.9, np.asarray(3)),
}


def test_names_and_arguments() -> None:
    names = {name for name in dir(optax.tree) if not name.startswith("_")}
    for name in names:
        ours, theirs = inspect.signature(getattr(optim.tree, name)), inspect.signature(getattr(optax.tree, name))
        assert list(ours.parameters) == list(theirs.parameters), name
        defaults = [[p.default for p in s.parameters.values() if not callable(p.default)] for s in (ours, theirs)]
        assert defaults[0] == defaults[1], name


@pytest.mark.parametrize("case", CASES)
def test_against_optax(case: str) -> None:
    f = CASES[case]
    found = f(optim.tree)
    with jax.enable_x64(True):
        expected = jax.tree.map(np.asarray, f(optax.tree))
    assert_same(tg.tree.map(np.asarray, found), expected, 2e-7 if case == "bias_correction" else 1e-14)


@pytest.mark.parametrize("name", ["norm", "sum", "max", "size"])
def test_traced_and_on_jax(name: str) -> None:
    f = getattr(optim.tree, name)
    assert_same(tg.jit(f)(X), f(X), 0)
    with jax.enable_x64(True):
        assert_same(np.asarray(tg.jit(f, backend="xla")(X)), np.asarray(f(X)), 1e-7)
        assert_same(np.asarray(jax.jit(f)(X)), np.asarray(f(X)), 1e-7)


def test_dtype() -> None:
    mixed = {"a": np.ones(1, np.float32), "b": np.ones(1, np.float64), "c": np.ones(1, np.float16)}
    with jax.enable_x64(True):
        for handler in ("promote", "highest", "lowest"):
            assert optim.tree.dtype(mixed, handler) == optax.tree.dtype(mixed, handler)
        assert optim.tree.dtype({}) == optax.tree.dtype({})
    assert optim.tree.dtype({"a": np.ones(1, np.float32)}) == np.float32
    with pytest.raises(ValueError, match="several dtypes, float32, float64, float16; cast them to one"):
        optim.tree.dtype(mixed)
    with pytest.raises(ValueError, match='None, "promote", "highest" or "lowest"; got \'most\''):
        optim.tree.dtype(mixed, "most")
    with pytest.raises(ValueError, match="none of the dtypes int64, float32 is the lowest"):
        optim.tree.dtype({"a": np.ones(1, np.int64), "b": np.ones(1, np.float32)}, "lowest")


def test_norm_of_half_floats() -> None:
    assert optim.tree.norm({"a": np.full(100, 300, np.float16)}) == 3000
    with pytest.raises(ValueError, match=r"ord=3; it takes None, 2, 1 and np\.inf"):
        optim.tree.norm(X, 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_like(dtype: str) -> None:
    x = {"a": np.ones((2, 3), dtype), "b": [np.ones((), dtype)]}
    with jax.enable_x64(True):
        expected = jax.tree.map(np.asarray, optax.tree.random_like(jax.random.key(3), jax.tree.map(jnp.asarray, x)))
        keys = optax.tree.unwrap_random_key_data(optax.tree.split_key_like(jax.random.key(3), x))
    key = tg.random.PRNGKey(3)
    for jit in (lambda f: f, tg.jit):
        assert_same(jit(lambda k, x: optim.tree.random_like(k, x))(key, x), expected, 1e-6)
    assert_same(optim.tree.split_key_like(key, x), jax.tree.map(np.asarray, keys), 0)
    found = optim.tree.unwrap_random_key_data({"k": jax.random.key(3), "x": 1.0})
    assert found["k"].tolist() == [0, 3] and found["x"] == 1.0
    drawn = optim.tree.random_like(key, x, tg.random.uniform, np.float16)
    assert drawn["a"].dtype == np.float16 and (drawn["a"] >= 0).all()
