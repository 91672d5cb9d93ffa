"""Three stars on a figure of eight: a program that knows NumPy alone, differentiated, batched and compiled as it stands.

    python examples/gallery/plain_numpy.py                  # some seconds
    python examples/gallery/plain_numpy.py --steps 60 --expect 1e-4 --backend xla

`orbit` below is a simulation as one finds it in any notebook: a loop in Python that moves positions and velocities in place. No
line of it was written for tracegrad. Three equal stars start on a line. With which velocities, and after which time, are all three
back where they started, as fast as they started? Newton's method finds that from the derivative of the simulation,
`tg.jacfwd(misses)`. `tg.vmap` runs it from 25 first guesses at once, and `tg.jit` makes one program of it all.

Two orbits are found: the figure of eight on which the stars follow each other, and one close by on which each has a curve of its own.
The first is known to eight digits: A. Chenciner and R. Montgomery, "A remarkable periodic solution of the three-body problem in the
case of equal masses", Annals of Mathematics 152 (2000), with C. Simó's numbers. The integrator is of fourth order: I. Omelyan,
I. Mryglod and R. Folk, "Optimized Forest-Ruth- and Suzuki-like algorithms", Computer Physics Communications 146 (2002).
"""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import numpy as np
from common import hold, options, save

QUICK = ["--steps", "30", "--expect", "1e-3"]
PUBLISHED = np.array([-0.93240737, -0.86473146, 6.32591398])  # the velocity of the star in the middle, and the period
OUTER = np.array([0.97000436, -0.24308753])  # where one of the two outer stars starts

# --- The program: it would run with `import numpy as np` alone -------------------------------------------------------------


def accelerations(positions):
    """Newton's law for equal masses, with G = 1: (n, 2) for positions (n, 2)."""
    apart = positions[None, :, :] - positions[:, None, :]
    squared = np.sum(apart**2, axis=-1) + np.eye(len(positions))
    return np.sum(apart * (squared**-1.5)[..., None], axis=1)


def orbit(start, time, steps):
    """All states (steps + 1, n, 4), each a position and a velocity for each of n stars, from `start` (n, 4) on."""
    state = start.copy()
    positions, velocities = state[:, :2], state[:, 2:]  # views, which the loop writes into
    a, b, c = 0.1786178958448091, -0.2123418310626054, -0.06626458266981849
    drifts, kicks = (a, c, 1 - 2 * (a + c), c, a), (0.5 - b, b, b, 0.5 - b, 0)
    seen = [state.copy()]
    for _ in range(steps):
        for drift, kick in zip(drifts, kicks, strict=True):
            positions += drift * time / steps * velocities
            if kick:
                velocities += kick * time / steps * accelerations(positions)
        seen.append(state.copy())
    return np.stack(seen)


# --- What is asked of it ---------------------------------------------------------------------------------------------------

import tracegrad as tg  # noqa: E402, since nothing above knows of it


def start(guess):
    """The outer stars have half of the middle one's velocity each, the other way: the centre of the three stays where it is."""
    positions = np.outer([1.0, -1.0, 0.0], OUTER)
    return np.concatenate([positions, np.outer([-0.5, -0.5, 1.0], guess[:2])], axis=1)


def main(argv: list[str]) -> float:
    """Finds the orbit from 25 guesses; returns how far its velocity and period are from the published ones."""
    chosen = options(argv, __doc__, file=__file__, steps=180, expect=1e-6, float64=True)

    def misses(guess):
        """How far each star ends from where, and how fast, it started: 12 numbers that a periodic orbit makes zero."""
        seen = orbit(start(guess), guess[2], chosen.steps)
        return np.ravel(seen[-1] - seen[0])

    def newton(guess):
        """A step of Gauss and Newton: the least-squares solution of the linearised equations. And how much is missing yet."""
        jacobian, value = tg.jacfwd(misses)(guess), misses(guess)
        return guess - np.linalg.solve(jacobian.T @ jacobian, jacobian.T @ value), np.sqrt(np.sum(value**2))

    rough = np.array([-0.93, -0.86, 6.3])
    assert np.array_equal(misses(rough), tg.jvp(misses, (rough,), (np.ones(3),))[0])  # the same bits as NumPy alone

    step = tg.jit(tg.vmap(newton), backend=chosen.backend)
    p, q = np.meshgrid(np.linspace(-0.97, -0.89, 5), np.linspace(-0.90, -0.82, 5))
    guesses, errors = np.stack([p.ravel(), q.ravel(), np.full(25, 6.3)], axis=1), []
    for _ in range(12):
        guesses, error = (np.asarray(x) for x in step(guesses))
        errors.append(error)
    found = guesses[errors[-1] < 1e-9]

    # On the figure of eight each star is, after a third of the period, where another one was.
    turned = np.stack([orbit(start(g), g[2] / 3, chosen.steps // 3)[-1] - start(g)[[2, 0, 1]] for g in found])
    apart = np.max(np.abs(turned), axis=(1, 2))
    on_eight, others = found[apart < 1e-3], found[apart > 1e-3]
    print(f"of 25 guesses {len(on_eight)} end on the figure of eight, {len(others)} on the orbit close by")
    best = on_eight[0]
    print("velocity and period: {:.8f} {:.8f} {:.8f}".format(*best))
    print("published:           {:.8f} {:.8f} {:.8f}".format(*PUBLISHED))

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    for ax, g, title in zip(axes, (best, others[0]), ("one curve for all", "a curve for each"), strict=False):
        seen = orbit(start(g), g[2], chosen.steps)
        for star in range(3):
            ax.plot(*seen[:, star, :2].T, lw=1.2)
            ax.plot(*seen[0, star, :2], "o", color=f"C{star}")
        ax.set(xlabel="x", ylabel="y", title=title, aspect="equal")
    axes[2].semilogy(np.array(errors), color="C0", alpha=0.6, lw=0.8)
    axes[2].set(
        xticks=range(0, 12, 2),
        xlabel="step of Newton's method",
        ylabel="distance from the start",
        title="25 guesses at once",
    )
    save(figure, chosen.picture)
    return hold("error of velocity and period", np.max(np.abs(best - PUBLISHED)), at_most=chosen.expect)


if __name__ == "__main__":
    main(sys.argv[1:])
