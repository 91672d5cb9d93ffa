"""Batches in parts give what optax makes of them, and what the whole batch gives."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import optax
import pytest
from optax import microbatching as theirs

import tracegrad as tg
from tests.steps import assert_same
from tracegrad import optim
from tracegrad.core.errors import DtypeError, ShapeError

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(12, 3)), rng.normal(size=12)
W = rng.normal(size=3)
KINDS = ("SUM", "MEAN", "RUNNING_MEAN", "CONCAT")


def f(w: Any, x: Any, *, y: Any) -> Any:
    error = x @ w - y
    return {"of each": (error, x * 2), "all": (error**2).sum()}


def parts(lib: Any, types: Any, kind: str, **options: Any) -> Any:
    accumulator = {"of each": types.CONCAT, "all": getattr(types, kind)}
    return lib.microbatch(f, 1, 3, accumulator, argnames="y", **options)


@pytest.mark.parametrize(
    "jit", [lambda g: g, tg.jit, lambda g: tg.jit(g, backend="xla")], ids=["eager", "numpy", "xla"]
)
@pytest.mark.parametrize("kind", KINDS[:3])
def test_follows_optax(kind: str, jit: Any) -> None:
    ours = jit(parts(optim, optim.AccumulationType, kind))
    with jax.enable_x64(True):
        wanted = jax.tree.map(np.asarray, parts(optax, theirs.AccumulationType, kind)(W, X, y=Y))
    found = ours(W, X, y=Y)
    assert_same(found, wanted, 1e-12)
    assert_same(found["of each"], f(W, X, y=Y)["of each"], 1e-12)


def test_other_axes_and_fewer_parts() -> None:
    g = lambda x, y: (x.sum(1), y.sum())
    args = (rng.normal(size=(2, 6)), rng.normal(size=(6, 4)))
    for count in (None, 2):
        options: Any = {"in_axes": (1, 0), "num_real_microbatches": count}
        with jax.enable_x64(True):
            wanted = optax.microbatch(g, (0, 1), 2, theirs.AccumulationType.RUNNING_MEAN, **options)(*args)
        ours = optim.microbatch(g, (0, 1), 2, optim.AccumulationType.RUNNING_MEAN, **options)
        assert_same(ours(*args), jax.tree.map(np.asarray, wanted), 1e-12)
    traced = tg.jit(lambda n, x: optim.microbatch(np.sum, 0, 2, num_real_microbatches=n)(x))
    assert [float(traced(n, np.arange(6.0))) for n in (1, 2, 3)] == [3.0, 8.0, 15.0]  # 0 3 | 1 4 | 2 5
    assert optim.microbatch(np.sum, 0, None) is np.sum


def test_gradients_go_through() -> None:
    total = optim.microbatch(lambda w, x: np.sum(np.sin(x @ w)), 1, 4)
    wanted = (np.cos(X @ W)[:, None] * X).sum(0)
    np.testing.assert_allclose(tg.grad(total)(W, X), wanted, rtol=1e-12)
    np.testing.assert_allclose(tg.jit(tg.grad(total))(W, X), wanted, rtol=1e-12)
    np.testing.assert_allclose(
        optim.microbatch(tg.grad(lambda w, x: np.sum(np.sin(x @ w))), 1, 6)(W, X), wanted, rtol=1e-12
    )


@pytest.mark.parametrize("size", [None, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_vmap_in_parts(kind: str, size: int | None) -> None:
    def run(lib: Any, types: Any) -> Any:
        g = lib.micro_vmap(
            lambda w, x, y: (x @ w - y) * x, (None, 0), microbatch_size=size, accumulator=getattr(types, kind)
        )
        return g(W, X, y=Y)

    with jax.enable_x64(True):
        wanted = run(theirs, theirs.AccumulationType)
    assert_same(run(optim, optim.AccumulationType), np.asarray(wanted), 1e-12)


@pytest.mark.parametrize("size", [None, 3])
@pytest.mark.parametrize("keeps", [True, False])
def test_gradients_of_examples(keeps: bool, size: int | None) -> None:
    def loss(w: Any, x: Any, y: Any) -> Any:
        error = (x @ w - y) ** 2
        return error.mean(), {"error": error}

    def run(lib: Any, types: Any) -> Any:
        return lib.micro_grad(
            loss, True, batch_argnums=(1, 2), keep_batch_dim=keeps, microbatch_size=size, accumulator=types.MEAN,
            transform_fn=lambda g: (g, g**2), metrics_fn=lambda g: (g**2).sum(),
        )(W, X, Y)  # fmt: skip

    with jax.enable_x64(True):
        wanted = run(theirs, theirs.AccumulationType)
    (found, aux) = run(optim, optim.AccumulationType)
    assert_same(found, jax.tree.map(np.asarray, wanted[0]), 1e-12)
    assert type(aux).__name__ == type(wanted[1]).__name__ and aux._fields == wanted[1]._fields
    assert_same(tuple(aux), jax.tree.map(np.asarray, tuple(wanted[1])), 1e-12)


def test_jax_arrays_and_single_precision() -> None:
    found = optim.microbatch(lambda x: x.sum(), 0, 2)(jax.numpy.arange(6.0))
    assert isinstance(found, jax.Array) and float(found) == 15.0
    x = np.ones(4, np.float32)
    for kind in KINDS[:3]:
        assert optim.microbatch(np.sum, 0, 2, optim.AccumulationType[kind])(x).dtype == np.float32
    with jax.enable_x64(True):
        wanted = np.asarray(theirs.reshape_batch_axis(jax.numpy.asarray(X), 4))
    assert_same(optim.reshape_batch_axis({"x": X}, 4, 0), {"x": wanted}, 0)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: optim.microbatch(np.sum, 0, 5)(X), ShapeError, "12 examples make no whole parts of 5"),
        (lambda: optim.microbatch(lambda x, y: x.sum(), (0, 1), 2)(X, Y[:6]), ShapeError, "0 has 12, 1 has 6"),
        (lambda: optim.microbatch(np.sum, 0, 2, "mean")(X), TypeError, "accumulator is one of AccumulationType's .*got 'mean'"),
        (lambda: optim.microbatch(np.sum, 0, 2, optim.AccumulationType.CONCAT)(X), ShapeError, "returns a scalar; take SUM"),
        (lambda: optim.microbatch(np.sum, 0, 2, optim.AccumulationType.MEAN)(np.arange(4)), DtypeError, "mean is of floating"),
        (lambda: optim.microbatch(np.sum, 1, 2)(X), TypeError, "no argument 1 among those given"),
        (lambda: optim.microbatch(np.sum, (0, 1), 2, in_axes=(0,)), ValueError, "1 axes for 2 arguments"),
        (lambda: optim.micro_vmap(np.sum, 0, 1), ValueError, "out_axes is 0 here, got 1"),
        (lambda: optim.microbatch(np.sum, 0, 2.5), TypeError, "microbatch_size is a whole number from 1 on, got 2.5"),
    ],
)  # fmt: skip
def test_errors(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=rf"(?s)at .*test_microbatching.py:\d+.*{text}"):
        call()
