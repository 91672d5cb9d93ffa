"""The room as a whole: its names, and where else its transformations stand."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx
from flax.training.train_state import TrainState

import tracegrad as tg
from tests.optim import (
    test_accumulation,
    test_adding,
    test_averaging,
    test_base,
    test_clipping,
    test_conditional,
    test_inject,
    test_masks,
)
from tests.steps import assert_same, gradients, parameters
from tracegrad import data, metrics, nn, optim, tree
from tracegrad.testing import expect_traces


def momentum(lib: Any) -> Any:
    return lib.chain(
        lib.clip_by_global_norm(1.0),
        lib.trace(0.9),
        lib.add_decayed_weights(0.01, mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params)),
        lib.scale_by_learning_rate(lib.cosine_decay_schedule(0.1, 10)),
    )


# Every transformation that the files beside this one hold to optax.
FILES = (
    test_accumulation,
    test_adding,
    test_averaging,
    test_base,
    test_clipping,
    test_conditional,
    test_inject,
    test_masks,
)
TRANSFORMATIONS = {
    f"{module.__name__.rpartition('_')[2]}-{name}": case[0] if isinstance(case, tuple) else case
    for module in FILES
    for name, case in module.CASES.items()
}


@pytest.mark.parametrize("case", TRANSFORMATIONS)
def test_transformed(case: str) -> None:
    """Two steps, batched, differentiated, and of jax arrays."""
    opt = TRANSFORMATIONS[case](optim)
    params, grads = parameters("float64"), tg.tree.map(lambda g: g[0], gradients("float64", False))
    if case.startswith("averaging"):
        params = optim.LookaheadParams.init_synced(params)
    state = opt.init(params)

    def stepped(grads: Any, params: Any = params, state: Any = state) -> Any:
        for _ in range(2):
            params, state = optim.step(opt, grads, state, params)
        return params

    def length(grads: Any) -> Any:
        return optim.tree.norm(stepped(grads))

    expected = stepped(grads)
    batch = tg.vmap(stepped)(tg.tree.map(lambda g: np.stack([g, 2 * g]), grads))
    assert_same(tg.tree.map(lambda p: p[0], batch), expected, 1e-12)
    assert_same(tg.tree.map(lambda p: p[1], batch), stepped(optim.tree.scale(2.0, grads)), 1e-12)
    slope = optim.tree.vdot(tg.grad(length)(grads), grads)
    ahead, behind = [length(optim.tree.scale(s, grads)) for s in (1 + 1e-5, 1 - 1e-5)]
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-5, rtol=1e-3 if "float32" in case else 1e-7, atol=1e-9)
    with jax.enable_x64(True):
        found = stepped(*jax.tree.map(jnp.asarray, (grads, params, state)))
    assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(found))
    assert_same(jax.tree.map(np.asarray, found), expected, 1e-12)


def test_names() -> None:
    assert sorted(optim.__all__) == dir(optim)
    for name in optim.__all__:
        assert getattr(optim, name) is not None


def test_numpy_alone() -> None:
    code = (
        "import sys, numpy as np, tracegrad as tg; assert 'tracegrad.optim' not in sys.modules;"
        "opt = tg.optim.chain(tg.optim.trace(0.9), tg.optim.scale_by_learning_rate(tg.optim.cosine_decay_schedule(0.1, 9)));"
        "params = {'w': np.ones(2)}; tg.jit(lambda p, s: tg.optim.step(opt, p, s, p))(params, opt.init(params));"
        "print([m for m in ('jax', 'scipy', 'optax') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_states_of_optax_are_taken() -> None:
    """A state that optax has come to, of the classes of the same names, goes on here."""
    params = {"w": np.ones((2, 2)), "b": np.ones(2)}
    grads = {"w": np.full((2, 2), 0.1), "b": np.full(2, 0.2)}
    ours, theirs = momentum(optim), momentum(optax)
    with jax.enable_x64(True):
        _, state = theirs.update(grads, theirs.init(params), params)
        plain = jax.tree.map(np.asarray, state)
        expected, _ = theirs.update(grads, state, params)
    found, own = ours.update(grads, plain, params)
    assert_same(found, jax.tree.map(np.asarray, expected), 1e-7)
    assert_same(ours.update(grads, own, params)[1][1].trace, ours.update(grads, own, params)[1][1].trace, 0)


def test_in_flax() -> None:
    model = linen.Dense(2)
    x = jnp.ones((4, 3))
    variables = model.init(jax.random.key(0), x)

    def trained(tx: Any) -> Any:
        state = TrainState.create(apply_fn=model.apply, params=variables["params"], tx=tx)

        @jax.jit
        def step(state: Any) -> Any:
            grads = jax.grad(lambda params: jnp.sum((state.apply_fn({"params": params}, x) - 1) ** 2))(state.params)
            return state.apply_gradients(grads=grads)

        for _ in range(5):
            state = step(state)
        return state.params

    found, expected = trained(momentum(optim)), trained(momentum(optax))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, expected)


def test_in_flax_nnx() -> None:
    def trained(tx: Any) -> Any:
        model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
        optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)

        @nnx.jit
        def step(model: Any, optimizer: Any) -> None:
            grads = nnx.grad(lambda m: jnp.sum((m(jnp.ones((4, 3))) - 1) ** 2))(model)
            optimizer.update(model, grads)

        for _ in range(5):
            step(model, optimizer)
        return np.asarray(model.kernel[...])

    np.testing.assert_allclose(trained(plain(optim)), trained(plain(optax)), rtol=1e-5)


def plain(lib: Any) -> Any:
    return lib.chain(
        lib.clip_by_global_norm(1.0), lib.trace(0.9), lib.scale_by_learning_rate(lambda n: 0.1 / (1.0 + n))
    )


def test_in_equinox() -> None:
    equinox = pytest.importorskip("equinox")

    def trained(tx: Any) -> Any:
        model = equinox.nn.Linear(3, 2, key=jax.random.PRNGKey(0))
        state = tx.init(equinox.filter(model, equinox.is_array))

        @equinox.filter_jit
        def step(model: Any, state: Any) -> Any:
            grads = equinox.filter_grad(lambda m: jnp.sum((m(jnp.ones(3)) - 1) ** 2))(model)
            updates, state = tx.update(grads, state, equinox.filter(model, equinox.is_array))
            return equinox.apply_updates(model, updates), state

        for _ in range(5):
            model, state = step(model, state)
        return np.asarray(model.weight)

    np.testing.assert_allclose(trained(plain(optim)), trained(plain(optax)), rtol=1e-5)


def test_one_jax_jit_around_a_gradient_of_ours() -> None:
    opt = plain(optim)

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        grads = tg.grad(lambda p: np.sum((p["w"] - 3) ** 2))(params)
        return optim.step(opt, grads, state, params)

    params = {"w": jnp.zeros(2)}
    state = opt.init(params)
    for _ in range(3):
        params, state = step(params, state)
    assert isinstance(params["w"], jax.Array) and 0 < params["w"][0] < 1


@pytest.mark.parametrize(
    "net, opt, steps, expected",
    [
        (nn.Dense(10), optim.lbfgs(), 40, 0.96),
        (nn.serial(nn.Dense(64), nn.relu, nn.Dense(10)), optim.muon(0.05), 100, 0.95),
    ],
    ids=["lbfgs", "muon"],
)
def test_digits_are_learnt(net: Any, opt: Any, steps: int, expected: float) -> None:
    """Those of scikit-learn, from all of the training set at once; measured on a fifth that is held out."""
    images, labels = data.digits()
    (x, y), test = data.split((images.reshape(len(images), -1), labels), 0.8, key=0, stratify=labels)
    extra_args = isinstance(opt, optim.GradientTransformationExtraArgs)

    def loss(params: Any) -> Any:
        decay = sum(np.sum(w**2) for w in tree.leaves(params))
        return np.mean(nn.softmax_cross_entropy_with_integer_labels(net(params, x), y)) + 1e-4 * decay

    @tg.jit
    def step(params: Any, state: Any) -> Any:
        value, grads = tg.value_and_grad(loss)(params)
        more = {"value": value, "grad": grads, "value_fn": loss} if extra_args else {}
        updates, state = opt.update(grads, state, params, **more)
        return optim.apply_updates(params, updates), state

    params = net.init(0, x)
    state = opt.init(params)
    with expect_traces(step, 1):
        for _ in range(steps):
            params, state = step(params, state)
    assert metrics.accuracy(net(params, test[0]), test[1]) > expected
