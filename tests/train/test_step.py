"""Steps against the same by hand; parts of batches, half floats, averages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near, same_bits
from tracegrad import nn, train, tree
from tracegrad.core.errors import ShapeError
from tracegrad.metrics import Last, Ratio, Sum

RNG = np.random.default_rng(0)
BATCH = RNG.normal(size=(12, 5)).astype(np.float32), RNG.integers(0, 3, 12)
NET = nn.serial(nn.Dense(8), nn.relu, nn.Dense(3))
OPT = tg.optim.chain(tg.optim.trace(0.9), tg.optim.scale(-0.1))


def loss(params: Any, batch: Any) -> Any:
    logits = NET(params, batch[0])
    losses = nn.softmax_cross_entropy_with_integer_labels(logits, batch[1])
    return np.mean(losses), {"accuracy": tg.metrics.accuracy(logits, batch[1])}


def begun(**options: Any) -> Any:
    return train.start(NET, OPT, 0, BATCH[0], **options)


def by_hand(state: Any, batch: Any, scale: float = 1.0) -> Any:
    (value, metrics), grads = tg.value_and_grad(loss, has_aux=True)(state.params, batch)
    grads = tree.map(lambda g: g * np.float32(scale), grads)
    updates, opt_state = OPT.update(grads, state.opt_state, state.params)
    params = tree.map(lambda p, u: p + u, state.params, updates)
    return train.TrainState(state.step + 1, params, opt_state, state.state, state.key), {"loss": value, **metrics}


def test_a_step_is_what_it_is_by_hand() -> None:
    step, state, other = train.make_step(loss, OPT), begun(), begun()
    for _ in range(3):
        other, expected = by_hand(other, BATCH)
        found = step(state, BATCH)
        same_bits(tg.jit(step)(state, BATCH), found)
        state, metrics = found
        same_bits(state.params, other.params)
        same_bits(metrics, expected)
    assert state.step == 3 and state.step.dtype == np.int32
    near(tree.map(np.asarray, tg.jit(step, backend="xla")(begun(), BATCH)), by_hand(begun(), BATCH), 1e-5)


def test_steps_take_jax_arrays(jax: Any) -> None:
    state, _ = train.make_step(loss, OPT)(jax.tree.map(jax.numpy.asarray, begun()), BATCH)
    assert all(isinstance(x, jax.Array) for x in tree.leaves(state.params))
    near(tree.map(np.asarray, state.params), by_hand(begun(), BATCH)[0].params, 1e-5)


def test_a_loss_is_given_what_it_names() -> None:
    seen = []
    state = begun()

    def named(params: Any, batch: Any, *, key: Any, train: bool) -> Any:
        seen.append((key.tolist(), train))
        return np.sum(params["Dense_0"]["bias"])

    state, _ = train.make_step(named, OPT)(state, BATCH)
    state, _ = train.make_step(named, OPT)(state, BATCH)
    train.make_evaluate(lambda params, batch, **all_of_it: seen.append(sorted(all_of_it)) or 1.0)(state, BATCH)
    assert seen == [
        (tg.random.fold_in(state.key, 0).tolist(), True),
        (tg.random.fold_in(state.key, 1).tolist(), True),
        ["key", "state", "train"],
    ]


def test_wrong_losses() -> None:
    with pytest.raises(TypeError, match="asks for rng; a loss is given params, batch, and of state, key and train"):
        train.make_step(_with_rng, OPT)
    with pytest.raises(ShapeError, match=r"must return a scalar, got f32\[12\]; losses .* write np.mean\(losses\)"):
        train.make_step(lambda p, b: p["Dense_0"]["bias"][0] * b[0][:, 0], OPT)(begun(), BATCH)
    with pytest.raises(TypeError, match=r"step: takes a TrainState, as tg\.train\.start.* makes one, got dict"):
        train.make_step(lambda p, b: 0.0, OPT)(begun().params, BATCH)
    with pytest.raises(
        TypeError, match=r"<lambda> asks for state and returns none, .*; write return value, metrics, state"
    ):
        train.make_step(lambda p, b, *, state: (0.0, {}), OPT)(begun()._replace(state={"mean": np.zeros(2)}), BATCH)
    for opt, told in (("adam", "'adam'"), (tg.optim.adam, "adam")):
        with pytest.raises(TypeError, match=rf"an optimiser is made, as by tg\.optim\.adam\(1e-3\); got {told}"):
            train.make_step(lambda p, b: 0.0, opt)
    with pytest.raises(
        TypeError, match=r"start at .*: write start\(net, opt, key, x\), .*init\(key, x\); got GradientTransformation"
    ):
        train.start(OPT, nn.Dense(2), 0, (1, 2))
    with pytest.raises(TypeError, match=r"value, metrics, new_state.*got a tuple of float, float"):
        train.make_evaluate(lambda p, b: (1.0, 2.0))(begun(), BATCH)


def _with_rng(params: Any, batch: Any, *, rng: Any) -> Any:
    return 0.0


@pytest.mark.parametrize("parts", [2, 3, 12])
def test_accumulating_is_the_whole_batch(parts: int) -> None:
    for wrap in (lambda f: f, tg.jit, lambda f: tg.jit(f, backend="xla")):
        state, metrics = wrap(train.make_step(loss, OPT, accumulate=parts))(begun(), BATCH)
        expected, told = by_hand(begun(), BATCH)
        near(tree.map(np.asarray, state.params), expected.params, 1e-5)
        near(tree.map(np.asarray, metrics), told, 1e-5)
        assert state.step == 1


def test_accumulating_metrics_state_and_keys() -> None:
    def counted(params: Any, batch: Any, *, state: Any, key: Any) -> Any:
        drawn = tg.random.bits(key, (), np.uint32)
        metrics = {"a": Ratio(np.sum(batch), np.float32(1)), "b": Sum(drawn), "c": Last(batch[0])}
        return np.sum(params["w"]) * 0 + np.mean(batch), metrics, {"n": state["n"] + 1}

    state = train.TrainState(
        np.int32(0),
        {"w": np.ones(2, np.float32)},
        OPT.init({"w": np.ones(2, np.float32)}),
        {"n": np.int32(0)},
        tg.random.PRNGKey(1),
    )
    new, metrics = train.make_step(counted, OPT, accumulate=3)(state, np.arange(6, dtype=np.float32))
    assert new.state == {"n": 3}
    assert (metrics["a"], metrics["c"], metrics["loss"]) == (Ratio(15, 3), Last(4), 2.5)
    mine = tg.random.fold_in(state.key, 0)
    drawn = [tg.random.bits(tg.random.fold_in(mine, i), (), np.uint32) for i in range(3)]
    assert metrics["b"].value == np.sum(drawn, dtype=metrics["b"].value.dtype)
    with pytest.raises(ShapeError, match=r"a batch leaf of f32\[5\] cannot be divided into accumulate=3 equal parts"):
        train.make_step(counted, OPT, accumulate=3)(state, np.ones(5, np.float32))
    with pytest.raises(ValueError, match="accumulate must be at least 1, got 0"):
        train.make_step(counted, OPT, accumulate=0)


def test_clip() -> None:
    _, grads = tg.value_and_grad(loss, has_aux=True)(begun().params, BATCH)
    norm = np.sqrt(sum([np.sum(np.square(g)) for g in tree.leaves(grads)]))
    state, metrics = train.make_step(loss, OPT, clip=float(norm) / 3)(begun(), BATCH)
    near(metrics["gradient_norm"], norm, 1e-6)
    near(state.params, by_hand(begun(), BATCH, 1 / 3)[0].params, 1e-5)
    state, _ = train.make_step(loss, OPT, clip=10.0)(begun(), BATCH)
    near(state.params, by_hand(begun(), BATCH)[0].params, 1e-6)


@pytest.mark.parametrize("compute", ["float16", "bfloat16"])
def test_half_floats(compute: str) -> None:
    pytest.importorskip("ml_dtypes")
    for wrap in (lambda f: f, tg.jit, lambda f: tg.jit(f, backend="xla")):
        state, metrics = wrap(train.make_step(loss, OPT, compute=compute))(begun(), BATCH)
        assert {np.asarray(x).dtype for x in tree.leaves(state.params)} == {np.dtype(np.float32)}
        assert np.asarray(metrics["loss"]).dtype == np.float32
        near(tree.map(np.asarray, state.params), by_hand(begun(), BATCH)[0].params, 2e-2)
    near(
        train.make_evaluate(loss, compute=compute)(begun(), BATCH)["loss"].astype(float),
        float(loss(begun().params, BATCH)[0]),
        2e-2,
    )


def test_loss_scale() -> None:
    scaling = train.dynamic(start=8.0, period=2)
    step = tg.jit(train.make_step(loss, OPT, compute="float16", loss_scale=scaling))
    state = begun(loss_scale=scaling)
    scales = []
    for _ in range(4):
        state, metrics = step(state, BATCH)
        scales.append(float(metrics["loss_scale"].value))
    assert scales == [8, 8, 16, 16] and metrics["skipped"].value == 0
    near(
        train.make_step(loss, OPT, loss_scale=8.0)(begun(loss_scale=8.0), BATCH)[0].params,
        by_hand(begun(), BATCH)[0].params,
        1e-5,
    )
    # An overflow changes nothing but the scale.
    tall = train.dynamic(start=2.0**40)
    before = begun(loss_scale=tall)
    with np.errstate(all="ignore"):
        after, metrics = train.make_step(loss, OPT, compute="float16", loss_scale=tall)(before, BATCH)
    assert metrics["skipped"].value == 1 and after.opt_state.loss_scale.scale == 2.0**39
    same_bits((after.params, after.opt_state.inner), (before.params, before.opt_state.inner))


def test_moving_average() -> None:
    step = tg.jit(train.make_step(loss, OPT, ema=0.75))
    state = begun(ema=0.75)
    expected = state.params
    for _ in range(3):
        state, _ = step(state, BATCH)
        expected = tree.map(lambda a, p: 0.75 * a + 0.25 * p, expected, state.params)
    near(train.averaged(state), expected, 1e-6)
    found = train.make_evaluate(loss, average=True)(state, BATCH)
    same_bits(found["loss"], loss(train.averaged(state), BATCH)[0])
    with pytest.raises(TypeError, match=r"step: start was not told of ema; write start\(..., ema=\)"):
        step(begun(), BATCH)
    with pytest.raises(TypeError, match="step: make_step was not told of ema"):
        train.make_step(loss, OPT)(state, BATCH)
    with pytest.raises(TypeError, match="this state keeps no average"):
        train.averaged(begun())


def test_optimisers_that_ask_for_the_loss() -> None:
    def update(grads: Any, state: Any, params: Any, *, value: Any, grad: Any, value_fn: Any, **rest: Any) -> Any:
        same_bits(value_fn(params), value)
        return tree.map(lambda g: -0.1 * g, grad), state

    opt = tg.optim.GradientTransformationExtraArgs(lambda params: (), update)
    state, _ = train.make_step(loss, opt)(train.start(NET, opt, 0, BATCH[0]), BATCH)
    near(state.params, by_hand(begun(), BATCH)[0].params, 1e-6)


def test_the_objective_is_what_is_differentiated() -> None:
    step = train.make_step(loss, OPT)
    same_bits(step.objective(begun(), BATCH)(begun().params), loss(begun().params, BATCH)[0])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "options, text",
    [
        ({"accumulate": 0.5}, "accumulate must be at least 1, got 0.5"),
        ({"accumulate": "2"}, "accumulate must be at least 1, got '2'"),
        ({"clip": -1.0}, "clip is the largest norm, above 0, got -1.0"),
        ({"clip": "1"}, "clip is the largest norm, above 0, got '1'"),
        ({"ema": 2.0}, "ema is a decay from 0 to 1, such as 0.999, got 2.0"),
        ({"loss_scale": "dynamic"}, r"loss_scale is a number or tg\.train\.dynamic\(\), got 'dynamic'"),
    ],
)
def test_errors_of_options(options: Any, text: str) -> None:
    with pytest.raises((TypeError, ValueError), match=rf"make_step at .*test_step.py:\d+ .*: {text}"):
        train.make_step(lambda params, batch: 0.0, OPT, **options)


def test_a_net_without_parameters() -> None:
    step = train.make_step(lambda params, batch: np.mean(batch), OPT, clip=1.0, loss_scale=8.0)
    state = train.start(nn.serial(nn.relu), OPT, 0, (1, 2), loss_scale=8.0)
    state, metrics = step(state, np.ones(2, np.float32))
    assert metrics["gradient_norm"] == 0 and state.params == {}


def test_starting_from_an_autoencoder() -> None:
    net, opt, x = nn.models.vae(6, latent=2, width=4), tg.optim.adam(1e-2), np.full((5, 6), 0.25, np.float32)

    def bound(params: Any, batch: Any, *, key: Any) -> Any:
        return np.mean(net.negative_elbo(params, batch, key))

    state, step = train.start(net, opt, 0, x), tg.jit(train.make_step(bound, opt))
    assert sorted(state.params) == ["decoder", "encoder"] and state.state == {}
    first = step(state, x)[1]["loss"]
    for _ in range(30):
        state, metrics = step(state, x)
    assert metrics["loss"] < first
    wide = train.start(net, opt, 0, (5, 6), dtype=np.float64)
    assert {leaf.dtype.name for leaf in tree.leaves(wide.params)} == {"float64"}


class Affine:
    def init(self, key: Any, x: Any) -> Any:
        return {"w": tg.random.normal(key, (x.shape[-1],), np.float64)}

    def init_state(self, x: Any) -> Any:
        return {"seen": np.zeros((), np.int32)}


@pytest.mark.parametrize("pair", [False, True])
def test_starting_from_anything_that_makes_parameters(pair: bool) -> None:
    net: Any = (Affine().init, lambda params, x: x @ params["w"]) if pair else Affine()
    state = train.start(net, OPT, 3, BATCH[0])
    assert state.params["w"].dtype == np.float64 and state.state == ({} if pair else {"seen": 0})
    same_bits(state.params, Affine().init(tg.random.split(tg.random.PRNGKey(3))[0], BATCH[0]))
    for wrong in (Affine, (1, 2), {"init": 1}, nn.models.dcgan()):
        with pytest.raises(TypeError, match=r"where net is a layer of tg\.nn, or has init"):
            train.start(wrong, OPT, 0, BATCH[0])
