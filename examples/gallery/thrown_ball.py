"""A ball is thrown in wind, bounces once, and hits a mark: gradient descent through a simulation.

    python examples/gallery/thrown_ball.py                  # some seconds
    python examples/gallery/thrown_ball.py --steps 100 --expect 0.5 --backend xla

The ball is slowed by the air, quadratically in its speed through it, and carried by a wind from the side. Where it meets the ground it
loses some of its speed and goes on; the second time counts. How it has to be thrown is found by descending the square of the miss
over the three components of the first velocity. Each flight is a `tg.lax.while_loop`, which ends when the ball is below the ground:
reverse mode goes backward through as many steps as there were. The last step is then cut short by Newton's method for the time of
landing, so that the place of landing is a smooth function of the throw.

The throw that is found is thrown again by SciPy, `scipy.integrate.solve_ivp` with events, whose ball must hit within 1 cm.

Method: descent through a simulated world, as in J. Degrave et al., "A differentiable physics engine for deep learning in robotics",
Frontiers in Neurorobotics 13 (2019).
"""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import numpy as np
from common import hold, options, save, track
from scipy.integrate import solve_ivp

import tracegrad as tg

QUICK = ["--steps", "60", "--expect", "1"]
GRAVITY = np.array([0.0, 0.0, -9.81])  # m/s²; z points upward
WIND = np.array([-2.0, 3.0, 0.0])  # m/s
DRAG = 0.016  # 1/m, about a tennis ball's
BOUNCE = np.array([0.8, 0.8, -0.7])  # what the ground leaves of each component of the velocity
HAND = np.array([0.0, 0.0, 1.8])  # m
MARK = np.array([18.0, 6.0])  # m
STEP = 0.02  # s


def derivative(state):
    """Velocity and acceleration of a ball of `state` (6,), which is position and velocity."""
    through_air = state[3:] - WIND
    return np.concatenate([state[3:], GRAVITY - DRAG * np.sqrt(np.sum(through_air**2)) * through_air])


def moved(state, time):
    """One step of the method of Runge and Kutta."""
    a = derivative(state)
    b = derivative(state + time / 2 * a)
    c = derivative(state + time / 2 * b)
    return state + time / 6 * (a + 2 * b + 2 * c + derivative(state + time * c))


def landing(state):
    """The state of the ball when it meets the ground, falling."""
    state = tg.lax.while_loop(lambda s: s[2] > 0, lambda s: moved(s, STEP), state)
    for _ in range(2):  # Newton: back by the height over the speed
        state = moved(state, -state[2] / state[5])
    return state


def thrown(velocity):
    """Where the ball lands for the second time, (2,)."""
    first = landing(np.concatenate([HAND, velocity]))
    return landing(np.concatenate([first[:2], [1e-9], first[3:] * BOUNCE]))[:2]


def by_scipy(velocity):
    """The positions (n, 3) of such a ball, up to its second landing."""
    grounded = lambda t, s: s[2]
    grounded.terminal, grounded.direction = True, -1
    state, parts = np.concatenate([HAND, velocity]), []
    for _ in range(2):
        flight = solve_ivp(
            lambda t, s: derivative(s), (0, 20), state, events=grounded, rtol=1e-10, atol=1e-10, max_step=0.02
        )
        parts.append(flight.y[:3].T)
        state = np.concatenate([flight.y[:2, -1], [1e-9], flight.y[3:, -1] * BOUNCE])
    return np.concatenate(parts)


def main(argv: list[str]) -> float:
    """Learns to throw; returns by how many metres SciPy's ball then misses."""
    chosen = options(argv, __doc__, file=__file__, steps=250, expect=0.01, float64=True)
    opt = tg.optim.adam(tg.optim.cosine_decay_schedule(0.5, chosen.steps))

    def miss(velocity):
        return np.sum((thrown(velocity) - MARK) ** 2)

    def step(velocity, opt_state):
        value, gradient = tg.value_and_grad(miss)(velocity)
        return *tg.optim.step(opt, gradient, opt_state, velocity), value

    step = tg.jit(step, backend=chosen.backend)
    rng = np.random.default_rng(chosen.seed)
    velocity = np.array([6.0, -2.0, 5.0]) + rng.normal(size=3)
    opt_state, throws, misses = opt.init(velocity), [], []
    for _ in track(range(chosen.steps), "throws"):
        throws.append(np.asarray(velocity))
        velocity, opt_state, value = step(velocity, opt_state)
        misses.append(np.sqrt(float(value)))
    last = np.asarray(velocity)
    end = by_scipy(last)[-1, :2]
    assert np.max(np.abs(end - np.asarray(thrown(last)))) < 1e-4, "SciPy's ball lands elsewhere than ours"
    print("throw: {:.2f} {:.2f} {:.2f} m/s, {:.1f} km/h".format(*last, 3.6 * np.linalg.norm(last)))

    figure, (side, above, curve) = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    shown = sorted({0, *np.unique(np.geomspace(1, chosen.steps - 1, 12).astype(int))})
    for i in [*shown, -1]:
        path = by_scipy(last if i < 0 else throws[i])
        look = (
            {"color": "C3", "lw": 2, "label": "the last"}
            if i < 0
            else {"color": plt.cm.Blues(0.3 + 0.6 * i / chosen.steps)}
        )
        side.plot(path[:, 0], path[:, 2], **look)
        above.plot(path[:, 0], path[:, 1], **look)
    side.plot(MARK[0], 0, "kx", ms=9)
    above.plot(*MARK, "kx", ms=9, label="mark")
    side.set(xlabel="x in m", ylabel="height in m", title="from the side")
    above.set(xlabel="x in m", ylabel="y in m", title="from above; the wind blows to the upper left")
    above.legend()
    curve.semilogy(misses)
    curve.axhline(0.01, color="k", lw=0.8, ls=":")
    curve.set(xlabel="throw", ylabel="miss in m", title="the dotted line is 1 cm")
    save(figure, chosen.picture)
    return hold("miss in m", np.linalg.norm(end - MARK), at_most=chosen.expect)


if __name__ == "__main__":
    main(sys.argv[1:])
