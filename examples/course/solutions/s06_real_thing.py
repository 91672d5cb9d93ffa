"""Solutions of chapter 6, each beside a wrong answer that its check has to refuse."""

import numpy as np

import tracegrad as tg
from tracegrad import nn


def scale_and_shift():
    """A function of a scope and an input. The name of the function is that of the layer."""

    @nn.layer
    def scale_and_shift(p, x):
        g = p.param("g", nn.initializers.ones, x.shape[-1:])
        b = p.param("b", nn.initializers.zeros, x.shape[-1:])
        return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-6) * g + b

    return scale_and_shift


def wrong_scale_and_shift():
    """The root is of the mean over everything, the other examples too."""

    @nn.layer
    def scale_and_shift(p, x):
        g = p.param("g", nn.initializers.ones, x.shape[-1:])
        b = p.param("b", nn.initializers.zeros, x.shape[-1:])
        return x / np.sqrt(np.mean(x**2) + 1e-6) * g + b

    return scale_and_shift


def my_adam(rate, b1=0.9, b2=0.999, eps=1e-8):
    """Two means and a count, each a tree or a number: plain data, which jit takes and which can be saved."""

    def init(params):
        zeros = tg.tree.map(np.zeros_like, params)
        return {"count": np.zeros((), np.int32), "m": zeros, "v": zeros}

    def update(gradient, state, params=None):
        t = state["count"] + 1
        m = tg.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state["m"], gradient)
        v = tg.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state["v"], gradient)
        updates = tg.tree.map(lambda m, v: -rate * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps), m, v)
        return updates, {"count": t, "m": m, "v": v}

    return tg.optim.GradientTransformation(init, update)


def wrong_my_adam(rate, b1=0.9, b2=0.999, eps=1e-8):
    """Without the division by 1 - b^t the first steps are of another size: m and v begin at zero."""

    def init(params):
        zeros = tg.tree.map(np.zeros_like, params)
        return zeros, zeros

    def update(gradient, state, params=None):
        m = tg.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state[0], gradient)
        v = tg.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state[1], gradient)
        return tg.tree.map(lambda m, v: -rate * m / (np.sqrt(v) + eps), m, v), (m, v)

    return tg.optim.GradientTransformation(init, update)


def carry_on(step, state, batches, steps, path):
    """The number of the step is in the state, so the file says all. `tg.io.save` leaves the old file or the new one, never half of one."""
    if path.exists():
        state = tg.io.load(path, like=state)
    while (i := int(state.step)) < steps:
        state, _ = step(state, batches[i % len(batches)])
        tg.io.save(path, state)
    return state


def wrong_carry_on(step, state, batches, steps, path):
    """The parameters alone are kept: the optimiser begins anew, and so does the count."""
    if path.exists():
        state = state._replace(params=tg.io.load(path, like=state.params))
    while (i := int(state.step)) < steps:
        state, _ = step(state, batches[i % len(batches)])
        tg.io.save(path, state.params)
    return state


def learns_ten(loss, params, batch):
    """Adam with a large step: there is nothing to be careful about."""
    opt = tg.optim.adam(0.01)

    @tg.jit
    def step(params, state):
        value, gradient = tg.value_and_grad(loss)(params, batch)
        params, state = tg.optim.step(opt, gradient, state, params)
        return params, state, value

    state, first = opt.init(params), float(loss(params, batch))
    for _ in range(300):
        params, state, _ = step(params, state)
    return float(loss(params, batch)) < first / 20


def wrong_learns_ten(loss, params, batch):
    """Any decrease counts: a broken network often learns something, too."""
    slope = tg.jit(tg.grad(lambda params: loss(params, batch)))
    first = loss(params, batch)
    for _ in range(300):
        params = tg.tree.map(lambda p, g: p - 0.05 * g, params, slope(params))
    return bool(loss(params, batch) <= first)
