"""One net, trained five times: by flax and optax, by equinox, and by tracegrad in three ways. Every step has the same loss.

    pip install flax optax equinox
    python examples/gallery/side_by_side.py                  # half a minute
    python examples/gallery/side_by_side.py --steps 50 --backend xla

A net of 64-64-10 learns scikit-learn's digits by Adam, from one set of first weights and by one order of batches:

- flax and optax: the net is a `linen` module, the step is jitted by jax;
- equinox: the net is a module that is a tree of arrays, the step is jitted by equinox;
- tracegrad with flax's net and optax's Adam, by `tg.from_jax`: differentiated and jitted by tracegrad;
- tracegrad with `tg.nn` and `tg.optim`;
- tracegrad with NumPy alone for the net.

With `--backend numpy`, as is usual here, the last three run as NumPy, without XLA. Asserted is the largest difference of any two losses
at any step. What is not installed is left out. Times are of a step, the fastest of blocks of 20.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from common import hold, options, save, track

import tracegrad as tg
from tracegrad import nn

QUICK = ["--steps", "40"]
BATCH = 64
STEP_SIZE = 3e-3

# A way to train is given the first weights, and gives a function of a batch that makes a step and returns the loss before it.
Way = Callable[[Any, str], Callable[[Any, Any], Any]]


def by_flax(weights: Any, backend: str) -> Callable[[Any, Any], Any]:
    import flax.linen
    import jax
    import optax

    model = flax.linen.Sequential([flax.linen.Dense(64), flax.linen.tanh, flax.linen.Dense(10)])
    opt = optax.adam(STEP_SIZE)

    def loss(params, images, labels):
        return optax.softmax_cross_entropy_with_integer_labels(model.apply(params, images), labels).mean()

    @jax.jit
    def step(params, state, images, labels):
        value, gradient = jax.value_and_grad(loss)(params, images, labels)
        updates, state = opt.update(gradient, state)
        return optax.apply_updates(params, updates), state, value

    params = {"params": {"layers_0": weights[0], "layers_2": weights[1]}}
    return stepping(step, params, opt.init(params))


def by_equinox(weights: Any, backend: str) -> Callable[[Any, Any], Any]:
    import equinox
    import jax
    import optax

    model = equinox.nn.MLP(64, 10, 64, depth=1, activation=jax.nn.tanh, key=jax.random.key(0))
    arrays = [layer[part] for layer in weights for part in ("kernel", "bias")]
    where = lambda m: [getattr(layer, part) for layer in m.layers for part in ("weight", "bias")]
    model = equinox.tree_at(where, model, [jax.numpy.asarray(a.T) for a in arrays])  # equinox has (out, in)
    opt = optax.adam(STEP_SIZE)

    def loss(model, images, labels):
        return optax.softmax_cross_entropy_with_integer_labels(jax.vmap(model)(images), labels).mean()

    @equinox.filter_jit
    def step(model, state, images, labels):
        value, gradient = equinox.filter_value_and_grad(loss)(model, images, labels)
        updates, state = opt.update(gradient, state)
        return equinox.apply_updates(model, updates), state, value

    return stepping(step, model, opt.init(equinox.filter(model, equinox.is_array)))


def by_from_jax(weights: Any, backend: str) -> Callable[[Any, Any], Any]:
    import flax.linen
    import optax

    model = flax.linen.Sequential([flax.linen.Dense(64), flax.linen.tanh, flax.linen.Dense(10)])
    apply, opt = tg.from_jax(model.apply), tg.from_jax(optax.adam(STEP_SIZE))

    def loss(params, images, labels):
        return np.mean(nn.softmax_cross_entropy_with_integer_labels(apply(params, images), labels))

    params = {"params": {"layers_0": weights[0], "layers_2": weights[1]}}
    return stepping(step_of(loss, opt, backend), params, opt.init(params))


def by_nn(weights: Any, backend: str) -> Callable[[Any, Any], Any]:
    net, opt = nn.serial(nn.Dense(64), np.tanh, nn.Dense(10)), tg.optim.adam(STEP_SIZE)

    def loss(params, images, labels):
        return np.mean(nn.softmax_cross_entropy_with_integer_labels(net(params, images), labels))

    params = {"Dense_0": weights[0], "Dense_1": weights[1]}
    return stepping(step_of(loss, opt, backend), params, opt.init(params))


def by_numpy(weights: Any, backend: str) -> Callable[[Any, Any], Any]:
    opt = tg.optim.adam(STEP_SIZE)

    def loss(params, images, labels):
        first, second = params
        scores = np.tanh(images @ first["kernel"] + first["bias"]) @ second["kernel"] + second["bias"]
        scores = scores - np.max(scores, axis=1, keepdims=True)
        return np.mean(np.log(np.sum(np.exp(scores), axis=1)) - scores[np.arange(len(labels)), labels])

    return stepping(step_of(loss, opt, backend), weights, opt.init(weights))


def step_of(loss: Callable[..., Any], opt: Any, backend: str) -> Callable[..., Any]:
    """What the last three have in common."""

    def step(params, state, images, labels):
        value, gradient = tg.value_and_grad(loss)(params, images, labels)
        return *tg.optim.step(opt, gradient, state, params), value

    return tg.jit(step, backend=backend)


def stepping(step: Callable[..., Any], params: Any, state: Any) -> Callable[[Any, Any], Any]:
    def advance(images, labels):
        nonlocal params, state
        params, state, value = step(params, state, images, labels)
        return float(value)

    return advance


WAYS: dict[str, tuple[Way, tuple[str, ...]]] = {
    "flax and optax": (by_flax, ("jax", "flax", "optax")),
    "equinox and optax": (by_equinox, ("jax", "equinox", "optax")),
    "tracegrad.from_jax": (by_from_jax, ("jax", "flax", "optax")),
    "tracegrad.nn": (by_nn, ()),
    "tracegrad and NumPy": (by_numpy, ()),
}


def main(argv: list[str]) -> float:
    """Trains in each way; returns the largest difference between losses of one step."""
    chosen = options(argv, __doc__, file=__file__, steps=400, expect=1e-4)
    images, labels = tg.data.digits()
    batches = tg.data.batches((images.reshape(-1, 64), labels), BATCH, key=chosen.seed, drop_last=True)
    params = nn.serial(nn.Dense(64), np.tanh, nn.Dense(10)).init(chosen.seed, np.zeros((1, 64), np.float32))
    weights = [params["Dense_0"], params["Dense_1"]]
    order = [batch for epoch in range(-(-chosen.steps // len(batches))) for batch in batches(epoch)][: chosen.steps]

    losses, times = {}, {}
    for name, (way, needed) in WAYS.items():
        missing = [package for package in needed if importlib.util.find_spec(package) is None]
        if missing:
            print(f"{name}: left out, since {' and '.join(missing)} is not installed")
            continue
        advance = way(weights, chosen.backend)
        started = time.perf_counter()
        seen = [advance(*order[0])]
        first = time.perf_counter() - started
        blocks = []
        for start in track(range(1, chosen.steps, 20), name):
            block = order[start : start + 20]
            started = time.perf_counter()
            seen += [advance(*batch) for batch in block]
            blocks.append((time.perf_counter() - started) / len(block))
        losses[name], times[name] = np.array(seen), min(blocks)
        print(
            f"{name:20} last loss {seen[-1]:.6f}, first step {first * 1e3:5.0f} ms, then {times[name] * 1e6:5.0f} µs a step"
        )

    reference = losses["tracegrad and NumPy"]
    apart = {name: np.abs(found - reference) for name, found in losses.items()}
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for index, (name, found) in enumerate(losses.items()):
        left.semilogy(found, lw=1, label=name)
        if found is not reference:
            right.semilogy(np.maximum(apart[name], 1e-9), lw=0.8, color=f"C{index}", label=name)
    left.set(xlabel="step", ylabel="cross entropy", title=f"{len(losses)} curves, one upon the other")
    right.axhline(chosen.expect, color="k", lw=0.8, ls=":")
    right.set(xlabel="step", ylabel="difference from the last", title="float32; equal is drawn at 1e-9")
    for ax in (left, right):
        ax.legend(fontsize=8)
    save(figure, chosen.picture)
    return hold("largest difference of losses", max(np.max(a) for a in apart.values()), at_most=chosen.expect)


if __name__ == "__main__":
    main(sys.argv[1:])
