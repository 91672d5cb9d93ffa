"""What transformations are, and the smallest of them."""

from __future__ import annotations

import pickle
import warnings
from collections import OrderedDict
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest

import tracegrad as tg
from tests.steps import Make, assert_follows, assert_same
from tracegrad import optim
from tracegrad.core.errors import PrecisionWarning
from tracegrad.optim.base import cast, number
from tracegrad.testing import expect_traces

CASES: dict[str, Make] = {
    "chain": lambda lib: lib.chain(lib.identity(), lib.scale(np.float32(0.5)), lib.scale_by_learning_rate(0.1)),
    "named_chain": lambda lib: lib.named_chain(
        ("z", lib.scale(0.5)), ("a", lib.scale_by_schedule(lambda n: 1 / (n + 2.0)))
    ),
    "scale_by_schedule": lambda lib: lib.scale_by_schedule(lib.cosine_decay_schedule(0.3, 150)),
    "scale_by_learning_rate": lambda lib: lib.scale_by_learning_rate(
        lambda n: lib.linear_schedule(0.3, 0.0, 100)(n * 1.0)
    ),
    "not_flipped": lambda lib: lib.scale_by_learning_rate(np.float64(0.01), flip_sign=False),
    "no_learning_rate": lambda lib: lib.scale_by_learning_rate(),
    "set_to_zero": lambda lib: lib.set_to_zero(),
    "stateless_with_tree_map": lambda lib: lib.stateless_with_tree_map(lambda g, p: -0.1 * g - 0.01 * p),
    "stateless": lambda lib: lib.stateless(lambda updates, params: lib.tree.scale(-0.1, updates)),
}


@pytest.mark.parametrize("case", CASES)
def test_follows_optax(case: str) -> None:
    assert_follows(CASES[case])


def test_what_a_transformation_is() -> None:
    opt = optim.scale(2.0)
    init, update = opt
    assert opt._fields == ("init", "update") and (init, update) == (opt.init, opt.update)
    assert issubclass(optim.GradientTransformationExtraArgs, optim.GradientTransformation)
    assert type(optim.chain(opt)) is optim.GradientTransformationExtraArgs
    assert pickle.loads(pickle.dumps(optim.EmptyState())) == optim.EmptyState()
    assert not tg.tree.leaves(optim.MaskedNode())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex64"])
@pytest.mark.parametrize(
    "factor", [0.5, np.float64(0.5), np.array(0.5), np.float16(0.5)], ids=lambda x: type(x).__name__
)
def test_leaves_keep_their_dtype(dtype: str, factor: Any) -> None:
    g = np.ones((2, 3), np.dtype(dtype))
    params = {"w": g, "s": np.ones((), np.dtype(dtype))}
    for opt in (
        optim.scale(factor),
        optim.scale_by_schedule(lambda n: factor * (n + 1) / 1),
        optim.ema(factor),
        optim.trace(factor),
    ):
        for run in (lambda f: f, tg.jit):
            updates, _ = run(opt.update)(params, opt.init(params))
            assert {x.dtype for x in tg.tree.leaves(updates)} == {np.dtype(dtype)}


def test_number_and_cast() -> None:
    assert type(number(np.float64(0.5))) is float and number(np.int32(2)) == 2
    assert number(ml_dtypes.bfloat16(0.5)) == 0.5
    assert cast(0.5, np.ones(2, np.float32)) == 0.5
    assert cast(np.array(0.5), np.ones(2, np.complex64)).dtype == np.float32
    assert cast(np.array(1j), np.ones(2, np.complex64)).dtype == np.complex64
    assert cast(np.array(0.5), np.ones(2, np.int32)).dtype == np.float64
    assert (
        type(cast(jnp.float32(0.5), np.ones(2))) is np.float64 or cast(jnp.float32(0.5), np.ones(2)).dtype == np.float64
    )


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint16", "float32"])
def test_counts_saturate(dtype: str) -> None:
    largest = (np.finfo if dtype == "float32" else np.iinfo)(dtype).max
    for count in (0, 1, largest):
        ours, theirs = optim.safe_increment(np.array(count, dtype)), optax.safe_increment(jnp.array(count, dtype))
        assert ours == theirs and ours.dtype == theirs.dtype
        for jit in (tg.jit, tg.jit(backend="xla")):
            assert jit(optim.safe_increment)(np.array(count, dtype)) == ours
    assert optim.safe_increment(5) == 6
    with pytest.raises(TypeError, match="an integer or a float, got one of complex64"):
        optim.safe_increment(np.complex64(1))


def test_one_trace_for_many_steps() -> None:
    """A count begins as an array, and comes back as a scalar."""
    opt = optim.chain(optim.ema(0.9), optim.scale_by_learning_rate(lambda count: 0.1 / (1 + count)))
    params = {"w": np.ones(3, np.float32), "s": np.float32(1.0)}
    state = opt.init(params)

    @tg.jit
    def step(params: Any, state: Any) -> Any:
        return optim.step(opt, params, state, params)

    with expect_traces(step, 1):
        for _ in range(1000):
            params, state = step(params, state)
    assert state[1] == optim.ScaleByScheduleState(1000)


def test_chain_of_another_state() -> None:
    opt = optim.chain(optim.scale(1.0), optim.scale(2.0))
    with pytest.raises(
        ValueError, match=r"chain of 2 transformations got a state of 1; pass what its own init\(params\) returned"
    ):
        opt.update(np.ones(2), (optim.EmptyState(),))
    with pytest.raises(ValueError, match=r"\['a'\] more than once among \['a', 'b', 'a'\]"):
        optim.named_chain(("a", optim.identity()), ("b", optim.identity()), ("a", optim.identity()))


def test_extra_arguments() -> None:
    seen = []

    def update(updates: Any, state: Any, params: Any = None, *, value: Any, **extra_args: Any) -> Any:
        seen.append((value, extra_args))
        return updates, state

    wants = optim.GradientTransformationExtraArgs(lambda params: (), update)
    opt = optim.chain(optim.scale(2.0), optim.named_chain(("own", wants)), optim.identity())
    opt.update(np.ones(2), opt.init(np.ones(2)), value=3.0, other=4)
    assert seen == [(3.0, {"other": 4})]
    assert optim.with_extra_args_support(wants) is wants
    theirs = optax.polyak_sgd()
    assert optim.with_extra_args_support(theirs) is theirs


def test_names_of_hyper_parameters() -> None:
    opt = optim.named_chain(
        ("first", optim.scale_by_learning_rate(0.5)),
        ("decay", optim.add_decayed_weights(0.1)),
        ("second", optim.chain(optim.identity(), optim.scale_by_learning_rate(lambda count: 0.1 * (count + 1)))),
    )
    state = opt.init(np.ones(1))
    assert isinstance(state, OrderedDict)
    assert optim.hyperparams(opt, state) == {
        "first.learning_rate": 0.5,
        "weight_decay": 0.1,
        "second.learning_rate": 0.1,
    }
    _, state = opt.update(np.ones(1), state, np.ones(1))
    assert optim.hyperparams(opt, state)["second.learning_rate"] == 0.2
    assert optim.hyperparams(optax.sgd(0.1), ()) == {}
    several = optim.MultiSteps(optim.apply_if_finite(optim.flatten(optim.sgd(0.5)), 3), 2)
    for tx in (several, several.gradient_transformation()):
        assert optim.hyperparams(tx, tx.init(np.ones(1))) == {"learning_rate": 0.5}


# -- Beside jax and optax

PARAMS = {"w": np.array([1.0, -2.0, 3.0], np.float32), "s": np.float32(0.5)}


def ours(lib: Any) -> Any:
    return lib.chain(
        lib.clip_by_global_norm(1.0),
        lib.trace(0.9),
        lib.masked(lib.ema(0.5), {"w": True, "s": False}),
        lib.apply_if_finite(lib.scale(2.0), 3),
        lib.conditionally_transform(lib.scale(0.5), lambda step: step % 2 == 0),
        lib.inject_hyperparams(lib.scale_by_learning_rate)(learning_rate=lib.linear_schedule(0.1, 0.0, 10)),
    )


def run(opt: Any, lib: Any, params: Any, jit: Any) -> Any:
    @jit
    def step(params: Any, state: Any) -> Any:
        updates, state = opt.update(params, state, params)
        return lib.apply_updates(params, updates), state

    state = opt.init(params)
    for _ in range(4):
        params, state = step(params, state)
    return params, state


@pytest.mark.parametrize("jit", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_in_a_chain_of_optax(jit: Any) -> None:
    params = jax.tree.map(jnp.asarray, PARAMS)
    found, state = run(optax.chain(ours(optim), optax.scale(0.5)), optax, params, jit)
    expected, expected_state = run(optax.chain(ours(optax), optax.scale(0.5)), optax, params, jit)
    assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(found))
    assert_same(found, expected, 1e-6)
    assert_same(state, expected_state, 1e-6)


def test_optax_in_a_chain_of_ours() -> None:
    """On NumPy's arrays, and, since what only hands on does not look at them, on jax's under jax.jit."""

    def mixed(lib: Any) -> Any:
        return lib.chain(
            lib.clip_by_global_norm(1.0),
            lib.masked(optax.adam(0.1), {"w": True, "s": False}),
            lib.apply_if_finite(optax.trace(0.5), 3),
            lib.MultiSteps(optax.sgd(0.5), 2).gradient_transformation(),
            lib.conditionally_mask(optax.scale(0.5), lambda step: step > 0),
            lib.partition({"a": optax.scale(2.0), "b": lib.scale(1.0)}, {"w": "a", "s": "b"}),
        )

    expected, _ = run(mixed(optax), optax, jax.tree.map(jnp.asarray, PARAMS), jax.jit)
    found, _ = run(mixed(optim), optim, PARAMS, lambda f: f)
    assert_same(found, expected, 1e-6)
    found, _ = run(mixed(optim), optim, jax.tree.map(jnp.asarray, PARAMS), jax.jit)
    assert_same(found, expected, 1e-6)


@pytest.mark.parametrize("jit", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_nothing_of_jax_arrays_is_left_with_numpy(jit: Any) -> None:
    params = jax.tree.map(jnp.asarray, PARAMS)
    opts = {
        "adam": optim.adam(0.1),
        "schedule": optim.adamw(optim.cosine_decay_schedule(1.0, 10)),
        "schedule of optax": optim.adamw(optax.cosine_decay_schedule(1.0, 10)),
        "inject": optim.inject_hyperparams(optim.adam)(0.1),
        "finite": optim.apply_if_finite(optim.adam(0.1), 3),
        "steps": optim.MultiSteps(optim.adam(0.1), 2).gradient_transformation(),
        "noisy": optim.noisy_sgd(0.1, seed=0),
        "lbfgs": optim.scale_by_lbfgs(),
        "adafactor": optim.adafactor(0.1),
        "muon": optim.muon(0.1),
    }
    for name, opt in opts.items():
        expected, _ = run(opt, optim, PARAMS, lambda f: f)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PrecisionWarning)  # of the float64 that some states hold
            state, found = opt.init(params), run(opt, optim, params, jit)
        assert all(isinstance(x, jax.Array) for x in jax.tree.leaves((state, found))), name
        assert_same(jax.tree.map(np.asarray, found[0]), expected, 1e-5)


def test_a_state_is_where_its_parameters_are() -> None:
    device = jax.devices()[-1]
    params = {"w": jax.device_put(np.ones(3, np.float32), device), "b": jnp.ones(2)}
    state = optim.adam(0.1).init(params)[0]
    assert state.mu["w"].sharding == params["w"].sharding and state.mu["w"].committed
    assert not state.mu["b"].committed and not state.count.committed and state.count.dtype == np.int32
    with jax.enable_x64(True):
        assert optim.adam(0.1).init(jnp.ones(3, np.float64))[0].nu.dtype == np.float64


def test_a_schedule_of_optax() -> None:
    opt = optim.scale_by_learning_rate(optax.linear_schedule(1.0, 0.0, 4))
    state = opt.init(None)
    for _ in range(2):
        updates, state = opt.update(np.ones(2), state)
    assert type(updates) is np.ndarray and updates.tolist() == [-0.75, -0.75]


@pytest.mark.parametrize(
    "call, text",
    [
        (
            lambda opt: optim.chain(optim.adam),
            r"takes a transformation such as tg\.optim\.adam\(1e-3\), got .*adam.*; call it first",
        ),
        (
            lambda opt: optim.chain([opt]),
            r"takes a transformation .*; several are given one by one, to tg\.optim\.chain\(a, b\)",
        ),
        (lambda opt: optim.apply_if_finite(None, 3), "takes a transformation .*got .*None"),
        (
            lambda opt: opt.update({"w": np.ones(2)}, {"w": np.ones(2)}, opt.init({"w": np.ones(2)})),
            r"update at .*: the second argument is the state, as opt\.init\(params\) returned it, got dict",
        ),
        (
            lambda opt: optim.sgd(0.1, momentum=0.9).update(np.ones(2), opt.init(np.ones(2)), np.ones(2)),
            r"update at .*: the state is of ScaleByAdamState, where that of this transformation is of TraceState; pass what",
        ),
        (
            lambda opt: optim.polyak_sgd().update(np.ones(2), optim.polyak_sgd().init(np.ones(2)), np.ones(2)),
            r"update at .*: this optimiser needs more; write opt\.update\(grads, state, params, value=\.\.\.\)",
        ),
    ],
)
def test_errors_of_what_is_no_transformation_and_no_state(call: Any, text: str) -> None:
    with pytest.raises(TypeError, match=rf"at .*test_base.py:\d+ .*{text}" if "update" not in text else text):
        call(optim.adam(0.1))
