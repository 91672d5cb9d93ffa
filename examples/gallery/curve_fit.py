"""The seasons of the Pacific: a curve fitted by SciPy, with derivatives by tracegrad.

    python examples/gallery/curve_fit.py                  # a few seconds
    python examples/gallery/curve_fit.py --backend xla

The data are the temperatures of the sea off Peru in 732 months, 1950 to 2010, from statsmodels. The curve is a mean, a slow trend and
two waves, of an unknown period and of half of it: 7 parameters, one of which, the period, does not enter linearly.
`scipy.optimize.least_squares` wants the derivative of 732 residuals with respect to them; `tg.jacfwd` writes it. From the same
derivative come the standard errors.

Held against `scipy.optimize.curve_fit` with differences in place of derivatives: the same parameters and the same covariance, by
fewer calls of the function. And the period that comes out has to be a year. (The errors are those of least squares, which takes the
months' deviations for independent of each other. El Niño lasts longer than a month, so they are too small.)

Method: J. J. Moré, "The Levenberg-Marquardt algorithm: implementation and theory", Numerical Analysis, Lecture Notes in Mathematics
630 (1978).
"""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import numpy as np
from common import hold, options, save
from scipy.optimize import curve_fit, least_squares

import tracegrad as tg

QUICK: list[str] = []
NAMES = ("period in years", "mean in °C", "trend in °C a decade", "cosine in °C", "sine in °C", "half cosine in °C", "half sine in °C")  # fmt: skip
GUESS = np.array([1.004, 20.0, 0.0, 1.0, 0.0, 0.0, 0.0])  # a period further off, by 1 / 61, is drawn to another minimum


def curve(years, period, mean, trend, cosine, sine, half_cosine, half_sine):
    """Temperatures at `years`, which count from the middle of the data. NumPy alone: SciPy calls it as it stands."""
    angle = 2 * np.pi * years / period
    wave = cosine * np.cos(angle) + sine * np.sin(angle)
    return mean + trend * years / 10 + wave + half_cosine * np.cos(2 * angle) + half_sine * np.sin(2 * angle)


def main(argv: list[str]) -> float:
    """Fits; returns the largest difference from SciPy's own fit, in standard errors."""
    chosen = options(argv, __doc__, file=__file__, steps=100, expect=1e-4, float64=True)
    first_years, table = tg.data.elnino()
    years = (np.asarray(first_years)[:, None] + (np.arange(12) + 0.5) / 12).ravel()
    temperatures = np.asarray(table, float).ravel()
    middle = years.mean()

    residuals = tg.jit(lambda p: curve(years - middle, *p) - temperatures, backend=chosen.backend)
    jacobian = tg.jit(tg.jacfwd(residuals), backend=chosen.backend)
    fitted = least_squares(
        lambda p: np.asarray(residuals(p)), GUESS, jac=lambda p: np.asarray(jacobian(p)), method="lm",
        xtol=1e-12, ftol=1e-12, gtol=1e-12, max_nfev=chosen.steps,
    )  # fmt: skip
    slopes = np.asarray(jacobian(fitted.x))
    variance = 2 * fitted.cost / (len(years) - len(GUESS))
    covariance = variance * np.linalg.inv(slopes.T @ slopes)
    errors = np.sqrt(np.diag(covariance))

    theirs, their_covariance, info, *_ = curve_fit(
        curve, years - middle, temperatures, GUESS, full_output=True, xtol=1e-12, ftol=1e-12
    )
    print(f"{'':28}{'tracegrad':>22}{'curve_fit':>22}")
    for name, ours, error, other, other_error in zip(
        NAMES, fitted.x, errors, theirs, np.sqrt(np.diag(their_covariance)), strict=True
    ):
        print(f"{name:28}{ours:12.6f} ± {error:.5f}{other:12.6f} ± {other_error:.5f}")
    print(f"calls of the function: {fitted.nfev} and {fitted.njev} of the derivative; curve_fit {info['nfev']}")
    assert np.allclose(covariance, their_covariance, rtol=1e-3, atol=1e-3 * variance / len(years))
    assert abs(fitted.x[0] - 1) < 4 * errors[0], "the period is not a year"

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained", width_ratios=(2, 1))
    shown = years > 1995
    left.plot(years[shown], temperatures[shown], "k.", ms=4, label="measured")
    fine = np.linspace(1995, years[-1], 2000)
    left.plot(fine, curve(fine - middle, *fitted.x), label="fitted")
    deviation = np.sqrt(variance)
    left.fill_between(
        fine,
        *(curve(fine - middle, *fitted.x) + s * 2 * deviation for s in (-1, 1)),
        alpha=0.2,
        label="± 2 standard deviations",
    )
    left.set(xlabel="year", ylabel="sea surface in °C", title="El Niño of 1997 stands out")
    left.legend(loc="upper right", fontsize=8)
    periods = np.linspace(0.95, 1.05, 401)
    left_over = []
    for period in periods:  # all else enters linearly
        columns = np.stack([curve(years - middle, period, *unit) for unit in np.eye(6)], axis=1)
        left_over.append(np.linalg.lstsq(columns, temperatures)[1][0])
    right.plot(periods, np.sqrt(np.array(left_over) / len(years)))
    right.plot(fitted.x[0], np.sqrt(2 * fitted.cost / len(years)), "C1o", label="found")
    right.axvline(GUESS[0], color="k", lw=0.8, ls=":", label="first guess")
    right.set(xlabel="period in years", ylabel="root of the mean square in °C", title="the best fit of each period")
    right.legend(fontsize=8)
    save(figure, chosen.picture)
    return hold(
        "difference from curve_fit in standard errors",
        np.max(np.abs(fitted.x - theirs) / errors),
        at_most=chosen.expect,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
