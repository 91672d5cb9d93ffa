"""A pendulum's law learned from its swings: a net inside of a solver that chooses its own steps.

    python examples/gallery/neural_ode.py                  # half a minute
    python examples/gallery/neural_ode.py --steps 100 --expect 2 --backend xla

The data are angles and angular velocities of one pendulum with friction, measured with noise: a spiral in the plane. A net gives the
velocity at each place in that plane, a solver moves along it, and what is trained is the distance of where it arrives from where the
pendulum was. The solver is a `tg.lax.while_loop`: how many steps it takes, and how long they are, depends on the net.

There are three ways to the gradient. Reverse mode goes back through the very steps that were taken, and keeps the states at all of them:
the derivative of what was computed, the one that forward mode has. With `memory=` it keeps as many as that allows, and computes the
others again: the same gradient. The adjoint equation of Chen et al. keeps the end alone and solves backward from there: its gradient
has an error like the solver's. Training goes the second way; at its end the three are compared.

Asserted is the error on a swing from another start, against the true law solved by `scipy.integrate.solve_ivp`.

Method: R. Chen, Y. Rubanova, J. Bettencourt and D. Duvenaud, "Neural ordinary differential equations", NeurIPS 31 (2018); the steps
are P. Bogacki and L. Shampine's, "A 3(2) pair of Runge-Kutta formulas", Applied Mathematics Letters 2 (1989).
"""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import numpy as np
from common import hold, options, save, track
from scipy.integrate import solve_ivp

import tracegrad as tg
from tracegrad import nn

QUICK = ["--steps", "15", "--expect", "5"]
START, OTHER = np.array([2.5, 0.0]), np.array([-1.0, 3.0])  # angle and angular velocity
TIMES = np.linspace(0, 15, 301)
AHEAD, EVERY = 5, 4  # a piece of the swing goes through so many measurements, of which it takes every fourth
TOLERANCE = 1e-4

net = nn.serial(nn.Dense(32), np.tanh, nn.Dense(2))


def true_law(place):
    """The velocity of a place (2,): how the angle and the angular velocity change."""
    return np.array([place[1], -4 * np.sin(place[0]) - 0.15 * place[1]])


def learned_law(params, place):
    """The same by a net, of one place or of many, (n, 2)."""
    return net(params, place)


def solve(law, place, duration, memory=None):
    """Where `place`, an array, is moved to if `law(place)` is its velocity. Returns the number of steps, too."""

    def step(state):
        place, now, length, count = state
        length = np.minimum(length, duration - now)
        a = law(place)
        b = law(place + length / 2 * a)
        c = law(place + 3 * length / 4 * b)
        new = place + length * (2 * a + 3 * b + 4 * c) / 9
        error = length * np.max(np.abs(-5 * a / 72 + b / 12 + c / 9 - law(new) / 8)) / TOLERANCE
        good = error < 1  # else the step is taken again, shorter
        longer = np.clip(0.9 * (error + 1e-10) ** (-1 / 3), 0.2, 5.0)
        return np.where(good, new, place), np.where(good, now + length, now), length * longer, count + 1

    going = lambda state: state[1] < duration * (1 - 1e-9)
    place, _, _, count = tg.lax.while_loop(going, step, (place, 0.0, 0.1 * duration, 0), memory=memory)
    return place, count


def loss(params, starts, places):
    """The mean square distance of pieces from `starts` (n, 2) to the measured `places` (AHEAD, n, 2)."""

    def onward(place, measured):
        place, _ = solve(lambda p: learned_law(params, p), place, EVERY * TIMES[1], memory="1MB")
        return place, np.mean((place - measured) ** 2)

    return np.mean(tg.lax.scan(onward, starts, places)[1])


def by_adjoint(params, place, duration):
    """The derivative of the sum of where `place` arrives, by the adjoint equation, solved backward from the end."""
    end, _ = solve(lambda p: learned_law(params, p), place, duration)
    leaves, tree = tg.tree.flatten(params)
    sizes = np.cumsum([place.size, place.size, *[leaf.size for leaf in leaves]])[:-1]

    def law(state):
        place, adjoint = (part.reshape(end.shape) for part in np.split(state, sizes)[:2])
        velocity, pull = tg.vjp(learned_law, params, place)
        for_params, for_place = pull(adjoint)
        return np.concatenate([-velocity.ravel(), for_place.ravel(), *[g.ravel() for g in tg.tree.leaves(for_params)]])

    start = np.concatenate([end.ravel(), np.ones(end.size), *[np.zeros(leaf.size) for leaf in leaves]])
    parts = np.split(solve(law, start, duration)[0], sizes)[2:]
    return tg.tree.unflatten(tree, [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)])


def compare(params):
    """Prints and asserts what is said above of the three ways, for five units of time."""
    place, duration = START[None], 5.0
    arrives = lambda memory: lambda params: np.sum(solve(lambda p: learned_law(params, p), place, duration, memory)[0])
    flat = lambda tree: np.concatenate([np.ravel(leaf) for leaf in tg.tree.leaves(tree)])
    exact = tg.jit(tg.grad(arrives(None)))(params)
    bounded = tg.jit(tg.grad(arrives("1kB")))(params)
    adjoint = tg.jit(by_adjoint)(params, place, duration)
    apart = lambda other: np.linalg.norm(flat(other) - flat(exact)) / np.linalg.norm(flat(exact))
    along = tg.tree.map(lambda leaf: np.cos(np.arange(leaf.size)).reshape(leaf.shape), params)
    slope = tg.jvp(arrives(None), (params,), (along,))[1]
    off = abs(flat(exact) @ flat(along) / slope - 1)
    print(
        f"reverse mode against forward mode: {off:.1e}, over {solve(lambda p: learned_law(params, p), place, duration)[1]} steps"
    )
    print(
        f"gradient with memory of 1 kB against it: {apart(bounded):.1e}; by the adjoint equation: {apart(adjoint):.1e}"
    )
    assert off < 1e-9
    assert apart(bounded) < 1e-12
    assert apart(adjoint) < 0.05


def main(argv: list[str]) -> float:
    """Trains; returns the largest distance from the true swing of another start."""
    chosen = options(argv, __doc__, file=__file__, steps=600, expect=0.3, float64=True)
    rng = np.random.default_rng(chosen.seed)
    swing = lambda start: (
        solve_ivp(lambda t, y: true_law(y), (0, TIMES[-1]), start, t_eval=TIMES, rtol=1e-9, atol=1e-9).y.T
    )
    measured = swing(START) + rng.normal(0, 0.01, (len(TIMES), 2))
    first = np.arange(0, len(TIMES) - AHEAD * EVERY, 2)
    starts, places = measured[first], measured[first + EVERY * np.arange(1, AHEAD + 1)[:, None]]
    opt = tg.optim.lbfgs()

    def step(params, opt_state):
        objective = lambda params: loss(params, starts, places)
        value, gradient = tg.value_and_grad(objective)(params)
        extra = {"value": value, "grad": gradient, "value_fn": objective}
        return *tg.optim.step(opt, gradient, opt_state, params, **extra), value

    step = tg.jit(step, backend=chosen.backend)
    params = tg.tree.map(lambda leaf: leaf.astype(float), net.init(chosen.seed, np.zeros(2)))
    opt_state, losses = opt.init(params), []
    for _ in track(range(chosen.steps), "training"):
        params, opt_state, value = step(params, opt_state)
        losses.append(float(value))
    params = tg.tree.map(np.asarray, params)
    compare(params)

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    for ax, start, title in zip(
        axes, (START, OTHER), ("the swing it learned from", "from another start"), strict=False
    ):
        true = swing(start)
        learned = solve_ivp(lambda t, y: learned_law(params, y), (0, TIMES[-1]), start, t_eval=TIMES, rtol=1e-6).y.T
        if start is START:
            ax.plot(*measured.T, "k.", ms=2, label="measured")
        ax.plot(*true.T, lw=3, alpha=0.4, label="true")
        ax.plot(*learned.T, lw=1, label="learned")
        ax.plot(*start, "ko")
        ax.set(xlabel="angle", ylabel="angular velocity", title=title)
        ax.legend(fontsize=8, loc="lower right")
    axes[2].semilogy(losses, lw=0.6)
    axes[2].set(xlabel="step", ylabel="mean square distance", title="training")
    save(figure, chosen.picture)
    return hold("largest distance from another start", np.max(np.abs(learned - true)), at_most=chosen.expect)


if __name__ == "__main__":
    main(sys.argv[1:])
