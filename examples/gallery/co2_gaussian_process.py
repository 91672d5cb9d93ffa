"""The air on Mauna Loa: a Gaussian process whose eleven hyper-parameters are found by their gradient.

    python examples/gallery/co2_gaussian_process.py                  # some seconds
    python examples/gallery/co2_gaussian_process.py --steps 20 --backend xla

Monthly means of the CO2 in the air, 1958 to 2001, from statsmodels. The process is a sum of four: a slow rise, a season that changes its
shape slowly, deviations of some years, and noise. How large and how long each is are the hyper-parameters, and how probable they make
the measurements is a function of them through the inverse and the determinant of a matrix of 260 × 260. `tg.value_and_grad` of that
goes to the L-BFGS of `scipy.optimize.minimize`.

Hyper-parameters are learned from the years before 1980. Then each year from 1980 to 2001 is predicted, month by month, from all years
before it. Asserted is the error of these predictions, and that the bands of 95 % hold at least nine tenths of the months. That value
and gradient of the likelihood are right is seen beside scikit-learn's, whose kernels have derivatives written by hand.

Method: C. E. Rasmussen and C. K. I. Williams, "Gaussian Processes for Machine Learning", MIT Press (2006), sections 5.4.1 and 5.4.3.
"""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import numpy as np
from common import hold, options, save, track
from rich.console import Console
from rich.progress import Progress
from scipy.optimize import minimize
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ExpSineSquared, RationalQuadratic, WhiteKernel

import tracegrad as tg

QUICK = ["--steps", "3", "--expect", "1"]
HELD_OUT = 1980  # and later
NAMES = ("rise in ppm", "its length in years", "season in ppm", "its decay in years", "its smoothness", "deviations in ppm", "their length in years", "their shape", "short ones in ppm", "their length in years", "noise in ppm")  # fmt: skip
GUESS = np.log([50.0, 50.0, 2.0, 100.0, 1.0, 0.5, 1.0, 1.0, 0.2, 0.1, 0.2])


def kernel(logs, first, second):
    """Covariances (n, m) of what is measured at the years `first` (n,) and `second` (m,), but for the noise."""
    rise, rise_length, season, decay, smooth, middle, middle_length, shape, short, short_length, _ = np.exp(logs)
    apart = first[:, None] - second[None, :]
    square = apart**2
    return (
        rise**2 * np.exp(-square / (2 * rise_length**2))
        + season**2 * np.exp(-square / (2 * decay**2) - 2 * np.sin(np.pi * apart) ** 2 / smooth**2)
        + middle**2 * (1 + square / (2 * shape * middle_length**2)) ** -shape
        + short**2 * np.exp(-square / (2 * short_length**2))
    )


def minus_log_likelihood(logs, years, values):
    """How improbable the values (n,) are."""
    covariance = kernel(logs, years, years) + np.exp(2 * logs[-1]) * np.eye(len(years))
    fit = values @ np.linalg.solve(covariance, values)
    return (fit + np.linalg.slogdet(covariance)[1] + len(years) * np.log(2 * np.pi)) / 2


def scikit_learns(logs, years, values):
    """Value and gradient of the same by scikit-learn."""
    r, rl, s, d, w, m, ml, a, h, hl, n = np.exp(logs)
    model = (
        r**2 * RBF(rl)
        + s**2 * RBF(d) * ExpSineSquared(w, 1.0, periodicity_bounds="fixed")
        + m**2 * RationalQuadratic(ml, a)
        + h**2 * RBF(hl)
        + WhiteKernel(n**2)
    )
    process = GaussianProcessRegressor(model, optimizer=None, alpha=0.0).fit(years[:, None], values)
    value, gradient = process.log_marginal_likelihood(process.kernel_.theta, eval_gradient=True)
    squares = [2, 1, 2, 1, 1, 2, 1, 1, 2, 1, 2]  # of its parameters some are squares of ours
    order = [0, 1, 2, 3, 4, 5, 7, 6, 8, 9, 10]  # and the shape comes before the length
    return -value, -np.array(squares) * gradient[order]


def predict(logs, years, values, new):
    """Mean and standard deviation of what will be measured at the years `new`."""
    noise = np.exp(2 * logs[-1])
    factor = np.linalg.cholesky(kernel(logs, years, years) + noise * np.eye(len(years)))
    whitened = np.linalg.solve(factor, kernel(logs, years, new))
    variance = np.diag(kernel(logs, new, new)) - np.sum(whitened**2, axis=0) + noise
    return whitened.T @ np.linalg.solve(factor, values), np.sqrt(variance)


def main(argv: list[str]) -> float:
    """Learns the hyper-parameters; returns the root of the mean square error of the months from 1980 on, in ppm."""
    chosen = options(argv, __doc__, file=__file__, steps=150, expect=0.6, float64=True)
    days, weekly = (np.asarray(x, float) for x in tg.data.co2())
    months = np.floor(12 * (1958 + (days + 87) / 365.25)) / 12
    measured = np.isfinite(weekly)
    years = np.unique(months[measured])
    values = np.array([np.mean(weekly[measured & (months == m)]) for m in years])
    known = years < HELD_OUT
    mean = values[known].mean()

    objective = tg.jit(tg.value_and_grad(minus_log_likelihood), backend=chosen.backend)
    both = lambda logs: [np.asarray(x) for x in objective(logs, years[known], values[known] - mean)]
    for ours, theirs in zip(both(GUESS), scikit_learns(GUESS, years[known], values[known] - mean), strict=True):
        assert np.allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.max(np.abs(theirs))), (ours, theirs)
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("L-BFGS", total=chosen.steps)
        found = minimize(
            both, GUESS, jac=True, method="L-BFGS-B", callback=lambda _: progress.advance(task),
            options={"maxiter": chosen.steps},
        )  # fmt: skip
    for name, log in zip(NAMES, found.x, strict=True):
        print(f"{name:24}{np.exp(log):10.3f}")
    print(
        f"log likelihood: {-both(GUESS)[0]:.1f} at first, {-found.fun:.1f} after {found.nit} steps, {found.nfev} gradients"
    )

    parts = []
    for year in track(range(HELD_OUT, 2002), "predicting"):
        past, now = years < year, np.floor(years) == year
        mean = values[past].mean()
        middle, width = predict(found.x, years[past], values[past] - mean, years[now])
        parts.append((mean + middle, width))
    predicted, deviation = (np.concatenate(part) for part in zip(*parts, strict=True))
    errors = values[~known] - predicted
    covered = np.mean(np.abs(errors) < 1.96 * deviation)
    print(f"{covered:.1%} of {len(errors)} months are in the bands of 95 %")

    figure, (whole, last) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for ax in (whole, last):
        ax.fill_between(
            years[~known], predicted - 1.96 * deviation, predicted + 1.96 * deviation, alpha=0.3, label="95 %"
        )
        ax.plot(years[~known], predicted, lw=1, label="predicted from the years before")
        ax.plot(years, values, "k.", ms=2, label="measured")
        ax.set(xlabel="year", ylabel="CO2 in ppm")
    whole.axvline(HELD_OUT, color="k", lw=0.8, ls=":")
    whole.set_title("learned from the years before the line")
    last.set(xlim=(1995, 2002), ylim=(355, 375), title="the last seven years")
    whole.legend()
    save(figure, chosen.picture)
    assert covered >= 0.9, f"the bands of 95 % hold {covered:.1%}"
    return hold("error in ppm", np.sqrt(np.mean(errors**2)), at_most=chosen.expect)


if __name__ == "__main__":
    main(sys.argv[1:])
