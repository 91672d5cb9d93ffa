"""Hares and lynxes, 300 times: how far the error bars of a fitted differential equation can be trusted.

    python examples/gallery/lotka_volterra.py                  # some seconds
    python examples/gallery/lotka_volterra.py --steps 10 --backend xla

The more hares, the more lynxes a year later, and then the fewer hares. Alfred Lotka's and Vito Volterra's equations have four rates, and
six parameters with the two numbers at the start. From counts of twenty years, with noise, all six are estimated: a step of Gauss, Newton
and Levenberg needs the derivative of the whole simulation with respect to them, `tg.jacfwd` of a `tg.lax.scan`. `tg.vmap` fits 300 made
histories at once, and from the same derivative each has error bars for all parameters.

How often do these hold the truth, which is known as the data are made? Asserted is that the bars of 95 % do so at least 93 times in a
hundred. The simulation is held against `scipy.integrate.solve_ivp`, and the derivative against differences of SciPy's solutions.

Methods: A. Lotka, "Elements of physical biology" (1925); K. Levenberg, "A method for the solution of certain non-linear problems in
least squares", Quarterly of Applied Mathematics 2 (1944).
"""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import numpy as np
from common import hold, options, save
from scipy.integrate import solve_ivp
from scipy.stats import t as student

import tracegrad as tg

QUICK = ["--steps", "8", "--expect", "0.9"]
NAMES = ("births of hares", "hares eaten", "deaths of lynxes", "births of lynxes", "hares at first", "lynxes at first")
TRUTH = np.log([0.55, 0.028, 0.80, 0.024, 34.0, 6.0])  # rates a year; logarithms, since all are positive
GUESS = np.log([0.50, 0.025, 0.70, 0.020, 30.0, 5.0])
YEARS, PARTS = 20, 10  # steps a year
NOISE = 0.15  # of the logarithm of a count
HISTORIES = 300


def changes(logs, rates):
    """How the logarithms of both numbers (2,) change, for rates (4,)."""
    hares, lynxes = np.exp(logs[0]), np.exp(logs[1])
    return np.stack([rates[0] - rates[1] * lynxes, rates[3] * hares - rates[2]])


def history(parameters):
    """The logarithms of both numbers in each year, (YEARS + 1, 2), by the method of Runge and Kutta."""
    rates, start, time = np.exp(parameters[:4]), parameters[4:], 1 / PARTS

    def step(logs, _):
        a = changes(logs, rates)
        b = changes(logs + time / 2 * a, rates)
        c = changes(logs + time / 2 * b, rates)
        new = logs + time / 6 * (a + 2 * b + 2 * c + changes(logs + time * c, rates))
        return new, new

    _, seen = tg.lax.scan(step, start, None, length=YEARS * PARTS)
    return np.concatenate([start[None], seen[PARTS - 1 :: PARTS]])


def by_scipy(parameters):
    """The same by SciPy."""
    found = solve_ivp(
        lambda t, y: changes(y, np.exp(parameters[:4])), (0, YEARS), parameters[4:],
        t_eval=np.arange(YEARS + 1), rtol=1e-11, atol=1e-11,
    )  # fmt: skip
    return found.y.T


def main(argv: list[str]) -> float:
    """Fits all histories; returns how often an error bar of 95 % holds the truth."""
    chosen = options(argv, __doc__, file=__file__, steps=15, expect=0.93, float64=True)
    assert np.max(np.abs(history(TRUTH) - by_scipy(TRUTH))) < 1e-3
    slopes = tg.jacfwd(history)(TRUTH)
    differences = [(by_scipy(TRUTH + 1e-5 * unit) - by_scipy(TRUTH - 1e-5 * unit)) / 2e-5 for unit in np.eye(6)]
    off = np.max(np.abs(slopes - np.stack(differences, axis=2))) / np.max(np.abs(slopes))
    print(f"derivative of the simulation against differences of SciPy's: {off:.1e}")
    assert off < 1e-3

    def fit(counts):
        """The parameters (6,) of one history, logarithms of counts (YEARS + 1, 2), and their covariance."""

        def residuals(parameters):
            return np.ravel(history(parameters) - counts)

        def step(number, parameters):
            jacobian, value = tg.jacfwd(residuals)(parameters), residuals(parameters)
            damped = jacobian.T @ jacobian + 10.0 ** (1 - number) * np.eye(6)
            return parameters - np.linalg.solve(damped, jacobian.T @ value)

        found = tg.lax.fori_loop(0, chosen.steps, step, GUESS)
        jacobian, value = tg.jacfwd(residuals)(found), residuals(found)
        return found, np.sum(value**2) / (len(value) - 6) * np.linalg.inv(jacobian.T @ jacobian)

    rng = np.random.default_rng(chosen.seed)
    counts = history(TRUTH) + rng.normal(0, NOISE, (HISTORIES, YEARS + 1, 2))
    found, covariances = (np.asarray(x) for x in tg.jit(tg.vmap(fit), backend=chosen.backend)(counts))
    errors = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
    width = student.ppf(0.975, counts[0].size - 6)
    holds = np.abs(found - TRUTH) < width * errors
    for name, truth, mean, spread, error, part in zip(
        NAMES, TRUTH, found.mean(0), found.std(0), errors.mean(0), holds.mean(0), strict=True
    ):
        print(
            f"{name:18}{np.exp(truth):8.3f}, fitted {np.exp(mean):7.3f} ± {spread:.1%}, said ± {error:.1%}, held in {part:.1%}"
        )

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    times = np.arange(YEARS + 1)
    for species, color in ((0, "C0"), (1, "C1")):
        name = ("hares", "lynxes")[species]
        left.plot(times, np.exp(counts[0, :, species]), "o", color=color, ms=4, label=f"{name}, counted")
        left.plot(times, np.exp(history(found[0])[:, species]), color=color, label=f"{name}, fitted")
    left.set(
        xlabel="year", ylabel="thousands", title=f"one history of {HISTORIES}", ylim=(0, 1.35 * np.exp(counts[0]).max())
    )
    left.legend(fontsize=8, ncols=2, loc="upper center")
    order = np.argsort(found[:, 0])
    outside = ~holds[order, 0]
    for mask, color, label in ((~outside, "C0", "holds the truth"), (outside, "C3", "does not")):
        middle, bar = np.exp(found[order, 0]), width * errors[order, 0] * np.exp(found[order, 0])
        right.errorbar(
            np.arange(HISTORIES)[mask], middle[mask], yerr=bar[mask], fmt=".", ms=2, lw=0.6, color=color, label=label
        )
    right.axhline(np.exp(TRUTH[0]), color="k", lw=0.8, ls=":")
    right.set(xlabel="history, in order", ylabel="births of hares a year", title="error bars of 95 %")
    right.legend(fontsize=8, loc="upper left")
    save(figure, chosen.picture)
    return hold("error bars that hold the truth", holds.mean(), at_least=chosen.expect)


if __name__ == "__main__":
    main(sys.argv[1:])
