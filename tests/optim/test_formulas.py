"""What the formulas of optimisers are made of, and the rules that all optimisers keep."""

from __future__ import annotations

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from optax import contrib

import tracegrad as tg
from tracegrad import optim, tree
from tracegrad.optim.formulas import casts, like, per_leaf, squared
from tracegrad.testing import expect_traces

# Every optimiser with what it needs; polyak_sgd takes no learning rate, and lbfgs a function (tests/optim/test_lbfgs.py).
RATED = [
    "adabelief adadelta adafactor adagrad adam adamax adamaxw adamw adan amsgrad fromage lamb lars lion muon nadam nadamw novograd",
    "radam rmsprop rprop sgd sign_sgd signum sm3 yogi",
]
NAMES = " ".join(RATED).split()
SECOND_TIER = [
    "acprop",
    "ademamix",
    "adopt",
    "cocob",
    "dadapt_adamw",
    "dog",
    "dowg",
    "madgrad",
    "momo",
    "momo_adam",
    "normalize",
    "optimistic_adam_v2",
    "optimistic_gradient_descent",
    "prodigy",
    "reduce_on_plateau",
    "sam",
    "schedule_free",
    "schedule_free_adamw",
    "schedule_free_eval_params",
    "schedule_free_sgd",
    "simplified_ademamix",
]
SCALERS = [
    name for name in vars(optim) if name.startswith("scale_by_") and (hasattr(optax, name) or hasattr(contrib, name))
]


def oracle(name: str) -> Any:
    return getattr(optax, name, None) or getattr(contrib, name)


def parameters(dtype: Any) -> Any:
    draw = np.random.default_rng(0).normal
    return {"w": draw(size=(3, 2)).astype(dtype), "b": (np.asarray(draw(), dtype), draw(size=4).astype(dtype))}


@pytest.mark.parametrize("name", [*NAMES, *SECOND_TIER, *SCALERS, "polyak_sgd", "noisy_sgd", "lbfgs"])
def test_arguments_are_those_of_optax(name: str) -> None:
    """By name, order, kind and default."""

    def arguments(f: Any) -> list[Any]:
        found = inspect.signature(f).parameters.values()
        skipped = {"linesearch", "hessian_diagonal_fn", "decay_rate_fn", "dtype_momentum", "clip_value_fn"}
        return [(p.name, p.kind, None if p.name in skipped else p.default) for p in found]

    assert arguments(getattr(optim, name)) == arguments(oracle(name))


def steps(opt: Any, dtype: Any, count: int = 3, backend: str | None = None) -> Any:
    params = parameters(dtype)
    state = opt.init(params)
    step = opt.update if backend is None else tg.jit(opt.update, backend=backend)
    for _ in range(count):
        updates, state = step(params, state, params)
        params = optim.apply_updates(params, updates)
    return params, state, updates


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_dtypes_stay(name: str, dtype: Any) -> None:
    """Updates and states have the parameters' dtype after several steps, whatever dtype hyper-parameters have. Of bfloat16, which
    NumPy computes with in float32, the state has it, and the updates once they are applied."""
    opt = getattr(optim, name)(np.float64(0.01))
    state = opt.init(parameters(dtype))
    params, after, updates = steps(opt, dtype)
    assert {x.dtype for x in tree.leaves(params if dtype is ml_dtypes.bfloat16 else updates)} == {np.dtype(dtype)}
    assert tree.structure(state) == tree.structure(after)
    assert [(x.shape, x.dtype) for x in tree.leaves(state)] == [(x.shape, x.dtype) for x in tree.leaves(after)]


@pytest.mark.parametrize("name", NAMES)
def test_hyperparameters_may_be_arrays(name: str) -> None:
    """Of any precision, and traced: a learning rate that is an argument of a jitted step."""
    params = parameters(np.float32)
    make = getattr(optim, name)

    def step(rate: Any, params: Any) -> Any:
        opt = make(rate)
        return opt.update(params, opt.init(params), params)[0]

    jitted = tg.jit(step)
    expected = step(0.01, params)
    with expect_traces(jitted, 1):
        for rate in np.array(0.01), np.float64(0.01):
            found = jitted(rate, params)
            for x, y in zip(tree.leaves(found), tree.leaves(expected), strict=True):
                assert x.dtype == np.float32
                np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_schedules(name: str) -> None:
    if name in ("rprop", "sm3"):
        pytest.skip("takes no schedule")

    def schedule(count: Any) -> Any:
        return 0.1 / (1 + count)

    with jax.enable_x64(True):
        theirs = oracle(name)(schedule)
        params = jax.tree.map(jnp.asarray, parameters(np.float64))
        state = theirs.init(params)
        for _ in range(3):
            updates, state = theirs.update(params, state, params)
            params = optax.apply_updates(params, updates)
    found, _, _ = steps(getattr(optim, name)(schedule), np.float64)
    for x, y in zip(tree.leaves(found), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(x, np.asarray(y), rtol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_none_stays(name: str) -> None:
    """Parameters that are None have no gradients either."""
    params = {"w": np.ones((2, 2)), "frozen": None}
    opt = getattr(optim, name)(0.1)
    updates, _ = opt.update({"w": np.ones((2, 2)), "frozen": None}, opt.init(params), params)
    assert updates["frozen"] is None and updates["w"].shape == (2, 2)


@pytest.mark.parametrize("name", ["adam", "adamw", "nadam", "amsgrad", "lion", "signum", "sgd", "muon"])
def test_dtype_of_the_momentum(name: str) -> None:
    """Kept in bfloat16 it stays bfloat16, while updates have the parameters' dtype; the steps are optax's."""
    options = {"accumulator_dtype" if name in ("signum", "sgd") else "mu_dtype": ml_dtypes.bfloat16}
    if name == "sgd":
        options["momentum"] = 0.9
    opt, theirs = getattr(optim, name)(0.01, **options), oracle(name)(0.01, **options)
    params, state, updates = steps(opt, np.float32)
    expected = jax.tree.map(jnp.asarray, parameters(np.float32))
    other = theirs.init(expected)
    for _ in range(3):
        found, other = theirs.update(expected, other, expected)
        expected = optax.apply_updates(expected, found)
    assert {x.dtype for x in tree.leaves(updates)} == {np.dtype(np.float32)}
    halves = [x.shape for x in tree.leaves(state) if x.dtype == ml_dtypes.bfloat16]
    assert halves == [x.shape for x in jax.tree.leaves(other) if x.dtype == jnp.bfloat16] and halves
    for x, y in zip(tree.leaves(params), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", ["adam", "adamw", "lion", "rmsprop", "lamb", "adafactor", "muon"])
def test_takes_jax_arrays(name: str) -> None:
    """Eagerly, under jax.jit, and within optax.chain."""
    opt = optax.chain(optax.clip(1.0), getattr(optim, name)(0.01))
    params = jax.tree.map(jnp.asarray, parameters(np.float32))
    state = opt.init(params)
    updates, _ = opt.update(params, state, params)
    jitted, _ = jax.jit(opt.update)(params, state, params)
    for x, y in zip(jax.tree.leaves(updates), jax.tree.leaves(jitted), strict=True):
        assert isinstance(x, jax.Array) and x.dtype == jnp.float32
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)


def test_counts_saturate() -> None:
    opt = optim.adam(0.1)
    params = np.ones(2)
    state = opt.init(params)
    full = optim.tree.set(state, count=np.int32(2**31 - 1))
    updates, after = opt.update(params, full)
    assert after[0].count == 2**31 - 1 and after[0].count.dtype == np.int32
    assert np.all(np.isfinite(updates))


def test_corrections_keep_their_digits() -> None:
    """`1 - 0.999**count` in float32 would be 2e-5 off at the first step."""
    opt = optim.scale_by_adam()
    g = np.array([0.3, -5.0], np.float32)
    updates, _ = opt.update(g, opt.init(g))
    np.testing.assert_allclose(updates, [1.0, -1.0], rtol=3e-7)


def test_gradients_of_another_structure() -> None:
    opt = optim.adam(0.1)
    state = opt.init({"w": np.ones(2), "b": np.ones(1)})
    with pytest.raises(
        ValueError, match=r"(?s)the gradients have another structure than the parameters.*missing|Missing"
    ):
        opt.update({"w": np.ones(2), "c": np.ones(1)}, state)


def test_derivatives_pass_through_a_step() -> None:
    """Of what is left of a loss after a step, by the learning rate."""
    opt = optim.chain(optim.scale_by_adam(eps_root=1e-8))

    def after(rate: Any) -> Any:
        w = np.array([1.0, -2.0])
        updates, _ = opt.update(2 * w, opt.init(w))
        return np.sum((w - rate * updates) ** 2)

    h = 1e-6
    np.testing.assert_allclose(tg.grad(after)(0.1), (after(0.1 + h) - after(0.1 - h)) / (2 * h), rtol=1e-6)


def test_helpers() -> None:
    assert per_leaf(1, lambda x: (x + 1,), {"a": 1.0, "b": None}) == [{"a": 2.0, "b": None}]
    assert squared(np.array([3 + 4j])).tolist() == [25.0]
    x = np.ones(2, np.float32)
    assert like(x, x) is x and like(np.ones(2), x).dtype == np.float32
    as_met = casts(np.float64(0.1), 0.2)
    assert [type(c) for c in as_met(x)] == [np.float32, float] and as_met(x) is as_met(x)
