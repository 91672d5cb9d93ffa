"""Solutions of chapter 5. Each `wrong_…` is a likely wrong answer, which the chapter's check refuses."""

import numpy as np


def approximate(f, units):
    """Steps at (j + ½) / units; each is as high as f rises from j / units to (j + 1) / units. The error is at most what f changes
    within one step."""
    edges = np.arange(units + 1) / units
    steep = 50.0 * units
    middles = (edges[:-1] + edges[1:]) / 2
    heights = np.diff(f(edges))
    return {"W": np.full((1, units), steep), "b": -steep * middles, "V": heights[:, None], "c": f(edges[:1])}


def wrong_approximate(f, units):
    """Takes the values of f for the heights of the steps, instead of their differences: the steps add up."""
    right = approximate(f, units)
    return right | {"V": f(np.arange(units) / units)[:, None]}


def symmetric_start(units, seed):
    """Units that begin alike get the same gradient, and so stay alike. Only a random start tells them apart."""
    r = np.random.default_rng(seed)
    w, b, v, c = r.normal(size=(2, 1)), r.normal(size=1), r.normal(size=(1, 2)), r.normal(size=2)
    return {"W": np.repeat(w, units, axis=1), "b": np.repeat(b, units), "V": np.repeat(v, units, axis=0), "c": c}


def wrong_symmetric_start(units, seed):
    """Makes the hidden weights alike, but not those behind: through these the units get different gradients."""
    r = np.random.default_rng(seed)
    return symmetric_start(units, seed) | {"V": r.normal(size=(units, 2))}


def dead_units(params, X):
    """A unit is dead if its input is nowhere positive."""
    return np.flatnonzero(np.all(X @ params["W"] + params["b"] <= 0, axis=0))


def wrong_dead_units(params, X):
    """A negative bias alone kills no unit: the weights may lift it."""
    return np.flatnonzero(params["b"] < 0)


def stop_early(losses, patience):
    """One number is remembered, and when it was: the rest of the past does not matter."""
    lowest, at, taken = np.inf, 0, 0
    for taken, value in enumerate(losses, start=1):
        if value < lowest:
            lowest, at = value, taken
        if taken - at >= patience:
            break
    return taken, at


def wrong_stop_early(losses, patience):
    """Looks at all of them and takes the lowest, which in practice lies in the future."""
    losses = list(losses)
    return len(losses), int(np.argmin(losses)) + 1
