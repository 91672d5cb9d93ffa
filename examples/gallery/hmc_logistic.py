"""Which tumours are malignant, and how sure is that? Bayesian logistic regression by Hamiltonian Monte Carlo.

    python examples/gallery/hmc_logistic.py                  # some seconds
    python examples/gallery/hmc_logistic.py --steps 200 --backend xla

569 tumours of scikit-learn's set, 30 measurements of each. In place of one vector of weights there are thousands, drawn from their
distribution given the data. A chain moves like a ball on a surface, whose height is minus the logarithm of the density: `tg.grad` of
that is the slope, and after some steps of motion the place is accepted or not. `tg.vmap` makes four chains of one, `tg.lax.scan` many
moves of one move, and `tg.jit` one program of it all. Random numbers come from keys, so that the same seed gives the same draws.

Asserted are R-hat below 1.01 for each of the 31 weights, which says that the chains have met, and an identity of C. Stein's that is
exact for the distribution of weights w with height U, E[w · ∂U/∂w] = 31: it ties what was drawn to the gradient.

Methods: R. Neal, "MCMC using Hamiltonian dynamics", Handbook of Markov Chain Monte Carlo (2011); A. Vehtari et al., "Rank-normalization,
folding, and localization: an improved R-hat", Bayesian Analysis 16 (2021), of which this is the plain split R-hat of section 2.
"""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import numpy as np
from common import hold, options, save, track

import tracegrad as tg

QUICK = ["--steps", "200", "--expect", "1.1"]
CHAINS, LEAPS, PART = 4, 12, 50  # a part of the moves is one call of the program
ACCEPTED = 0.8  # of the moves, by the length of a leap, which is adapted in the first half


def main(argv: list[str]) -> float:
    """Draws; returns the largest R-hat."""
    chosen = options(argv, __doc__, file=__file__, steps=2000, expect=1.01, float64=True)
    inputs, labels = tg.data.breast_cancer()
    inputs = np.asarray(inputs, float)
    inputs = np.concatenate([np.ones((len(inputs), 1)), (inputs - inputs.mean(0)) / inputs.std(0)], axis=1)
    signs = np.where(labels == 0, 1.0, -1.0)  # class 0 is malignant

    def height(weights):
        """Minus the logarithm of the density, up to a constant: of normal weights, and of the labels given them."""
        return np.sum(weights**2) / 2 + np.sum(np.logaddexp(0, -signs * (inputs @ weights)))

    def move(state, key):
        """A chain's next place. `state` is the place and the logarithm of the leap's length, and whether that is adapted."""
        place, log_leap, adapt = state
        for_push, for_length, for_choice = tg.random.split(key, 3)
        push = tg.random.normal(for_push, place.shape, float)
        leap = np.exp(log_leap) * tg.random.uniform(for_length, (), float, 0.7, 1.3)

        def leap_once(_, moving):
            place, speed = moving
            speed = speed - leap / 2 * tg.grad(height)(place)
            place = place + leap * speed
            return place, speed - leap / 2 * tg.grad(height)(place)

        new, speed = tg.lax.fori_loop(0, LEAPS, leap_once, (place, push))
        energy = lambda place, speed: height(place) + np.sum(speed**2) / 2
        chance = np.exp(np.minimum(energy(place, push) - energy(new, speed), 0.0))
        place = np.where(tg.random.uniform(for_choice, (), float) < chance, new, place)
        log_leap = log_leap + adapt * 0.05 * (chance - ACCEPTED)
        return (place, log_leap, adapt), (place, chance)

    moves = tg.jit(tg.vmap(lambda state, keys: tg.lax.scan(move, state, keys)), backend=chosen.backend)
    parts = max(chosen.steps // PART, 2)
    keys = tg.random.split(tg.random.key(chosen.seed), (parts + 1, CHAINS, PART))
    starts = np.asarray(tg.random.normal(keys[-1, 0, 0], (CHAINS, inputs.shape[1]), float))
    state, draws, chances = (starts, np.full(CHAINS, np.log(0.05)), np.ones(CHAINS)), [], []
    for part in track(range(parts), "moves"):
        if part == parts // 2:  # from here on draws count, and nothing is adapted
            state = (state[0], np.full(CHAINS, np.mean(state[1])), np.zeros(CHAINS))
        state, (places, chance) = moves(state, keys[part])
        draws.append(np.asarray(places))
        chances.append(np.asarray(chance))
    kept = np.concatenate(draws[parts // 2 :], axis=1)  # (chains, draws, weights)
    print(f"{np.mean(chances[parts // 2 :]):.0%} of moves accepted, of {LEAPS} leaps of {np.exp(state[1][0]):.3f}")

    halves = kept.reshape(2 * CHAINS, -1, kept.shape[-1])
    within = np.mean(np.var(halves, axis=1, ddof=1), axis=0)
    between = np.var(np.mean(halves, axis=1), axis=0, ddof=1)
    r_hat = np.sqrt((halves.shape[1] - 1) / halves.shape[1] + between / within)
    flat = kept.reshape(-1, kept.shape[-1])
    virial = np.mean([np.sum(flat * np.asarray(tg.vmap(tg.grad(height))(flat)), axis=1)])
    print(f"Stein's identity: {virial:.2f} in place of {flat.shape[1]}")
    assert abs(virial / flat.shape[1] - 1) < (0.05 if chosen.expect <= 1.01 else 0.5)

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    whole = np.concatenate(draws, axis=1)
    for chain in range(CHAINS):
        axes[0].plot(whole[chain, :, 22], lw=0.5)
    axes[0].axvline(whole.shape[1] // 2, color="k", lw=0.8, ls=":")
    axes[0].set(xlabel="move", ylabel="weight of the worst texture", title="four chains; kept are those after the line")
    order = np.argsort(np.mean(flat, axis=0))
    low, middle, high = np.quantile(flat[:, order], [0.05, 0.5, 0.95], axis=0)
    axes[1].errorbar(middle, np.arange(len(order)), xerr=[middle - low, high - middle], fmt=".", lw=1)
    axes[1].axvline(0, color="k", lw=0.8, ls=":")
    axes[1].set(xlabel="weight", ylabel="31 weights, in order", yticks=[], title="medians, and 90 % of the draws")
    malignant = 1 / (1 + np.exp(-inputs @ flat[::10].T))
    mean, spread = malignant.mean(1), malignant.std(1)
    for name, sign in (("malignant", 1), ("benign", -1)):
        axes[2].plot(mean[signs == sign], spread[signs == sign], ".", ms=4, alpha=0.6, label=name)
    axes[2].set(xlabel="mean probability of malignant", ylabel="its standard deviation", title="569 tumours")
    axes[2].legend()
    save(figure, chosen.picture)
    return hold("largest R-hat", np.max(r_hat), at_most=chosen.expect)


if __name__ == "__main__":
    main(sys.argv[1:])
