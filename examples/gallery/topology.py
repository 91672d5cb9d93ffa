"""A bridge that nobody drew: stiffness written into a matrix in place, and the gradient of what it bears.

    python examples/gallery/topology.py                  # some seconds
    python examples/gallery/topology.py --steps 20 --expect 0.5 --backend xla

A plate is cut into squares, each of which may be filled, empty, or something in between. Half of the material is to be left, and what is
left shall give way as little as it can: here it lies on its two lower corners, and is pressed down in the middle of its upper edge. How
far it gives way is a program as an engineer writes it: `np.add.at` adds each square's stiffness into one large matrix, in place, and
`np.linalg.solve` solves for the displacements. Its derivative with respect to all fillings is `tg.value_and_grad` of that. The literature
derives it by hand, -3 x² uᵀku for a filling x, and the two are compared. The fillings are then moved by the literature's rule.

Asserted is the compliance at the end, as a part of that of the plate in which each square is half filled, which is how it begins. (A
half-filled square has an eighth of the stiffness here. That is what drives squares to be filled or empty.)

Method: O. Sigmund, "A 99 line topology optimization code written in Matlab", Structural and Multidisciplinary Optimization 21 (2001),
with a filter of densities as in E. Andreassen et al., the same journal 43 (2011). By symmetry, half of the bridge is computed.
"""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import numpy as np
from common import hold, options, save, track

import tracegrad as tg

QUICK = ["--steps", "6", "--expect", "0.9"]
WIDE, HIGH = 36, 18  # squares
FULL, EMPTY, POISSON = (
    1.0,
    1e-6,
    0.3,
)  # what a filled and an empty square are multiplied by, and how wide a pressed one becomes
LEFT = 0.5  # of the material
RADIUS = 1.5  # of the filter, in squares


def square_stiffness():
    """The stiffness (8, 8) of one square, of four corners with two displacements each, as in the 99 lines."""
    n = POISSON
    k = [
        1 / 2 - n / 6,
        1 / 8 + n / 8,
        -1 / 4 - n / 12,
        -1 / 8 + 3 * n / 8,
        -1 / 4 + n / 12,
        -1 / 8 - n / 8,
        n / 6,
        1 / 8 - 3 * n / 8,
    ]
    order = ["01234567", "10765432", "27056341", "36507214", "45670123", "54321076", "63412705", "72143650"]
    return np.array([[k[int(i)] for i in row] for row in order]) / (1 - n**2)


SQUARE = square_stiffness()
COLUMN, ROW = (axis.ravel() for axis in np.meshgrid(np.arange(WIDE), np.arange(HIGH), indexing="ij"))
CORNER = (HIGH + 1) * COLUMN + ROW  # the upper left one; corners are numbered down each column, then to the right
CORNERS = CORNER[:, None] + [1, HIGH + 2, HIGH + 1, 0]
PLACES = np.stack([2 * CORNERS, 2 * CORNERS + 1], axis=2).reshape(-1, 8)  # of the displacements of each square
SIZE = 2 * (WIDE + 1) * (HIGH + 1)
# The left edge is the middle of the bridge, which moves up and down alone; the lower right corner lies on its support.
HELD = np.concatenate([2 * np.arange(HIGH + 1), [SIZE - 1]])
FREE = np.setdiff1d(np.arange(SIZE), HELD)
LOAD = np.zeros(SIZE)
LOAD[1] = 1.0
NEAR = np.maximum(0, RADIUS - np.hypot(COLUMN[:, None] - COLUMN, ROW[:, None] - ROW))
FILTER = NEAR / NEAR.sum(1, keepdims=True)


def displacements(fillings):
    """How far each corner moves, (SIZE,), for fillings (squares,) from 0 to 1."""
    factors = EMPTY + fillings**3 * (FULL - EMPTY)
    stiffness = np.zeros((SIZE, SIZE)) * factors[0]
    np.add.at(stiffness, (PLACES[:, :, None], PLACES[:, None, :]), factors[:, None, None] * SQUARE)
    moved = np.zeros(SIZE) * factors[0]
    moved[FREE] = np.linalg.solve(stiffness[np.ix_(FREE, FREE)], LOAD[FREE])
    return moved


def compliance(design):
    """How far the load moves. The filter makes fillings of a design: no square without the squares around it."""
    return LOAD @ displacements(FILTER @ design)


def by_hand(design):
    """Its derivative as the literature has it."""
    fillings = FILTER @ design
    moved = displacements(fillings)[PLACES]
    return FILTER.T @ (-3 * fillings**2 * (FULL - EMPTY) * np.sum((moved @ SQUARE) * moved, axis=1))


def moved_on(design, gradient):
    """The optimality criterion: each square in proportion to what it bears, at most by a fifth, and the weight as it was."""
    low, high = 0.0, 1e9
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        new = np.clip(design * np.sqrt(-gradient / middle), np.maximum(0, design - 0.2), np.minimum(1, design + 0.2))
        low, high = (middle, high) if np.mean(FILTER @ new) > LEFT else (low, middle)
    return new


def main(argv: list[str]) -> float:
    """Shapes; returns the compliance as a part of that of a plate of the same weight."""
    chosen = options(argv, __doc__, file=__file__, steps=60, expect=0.3, float64=True)
    step = tg.jit(tg.value_and_grad(compliance), backend=chosen.backend)
    rng = np.random.default_rng(chosen.seed)
    anywhere = rng.uniform(0.2, 1.0, WIDE * HIGH)
    expected = by_hand(anywhere)
    apart = np.max(np.abs(np.asarray(step(anywhere)[1]) - expected)) / np.max(np.abs(expected))
    print(f"gradient against the one by hand: {apart:.1e}")
    assert apart < 1e-8

    design, values, shown = np.full(WIDE * HIGH, LEFT), [], {}
    for number in track(range(chosen.steps), "shaping"):
        if number in (0, 3, 8):
            shown[number] = FILTER @ design
        value, gradient = (np.asarray(x) for x in step(design))
        values.append(float(value))
        design = moved_on(design, gradient)
    shown[chosen.steps] = FILTER @ design
    values.append(float(compliance(design)))

    figure, axes = plt.subplots(2, 2, figsize=(9, 4.4), layout="constrained")
    pictures = [(number, fillings.reshape(WIDE, HIGH).T) for number, fillings in shown.items() if number]
    for ax, (number, half) in zip(axes.flat, pictures, strict=False):
        ax.imshow(np.concatenate([half[:, ::-1], half], axis=1), cmap="gray_r", vmin=0, vmax=1)
        ax.set(title=f"after {number} steps", xticks=[], yticks=[])
    axes[1, 1].plot(np.array(values) / values[0])
    axes[1, 1].set(xlabel="step", ylabel="compliance (1 at first)", title="stiffer and stiffer", ylim=0)
    save(figure, chosen.picture)
    return hold("compliance, of the plate's", values[-1] / values[0], at_most=chosen.expect)


if __name__ == "__main__":
    main(sys.argv[1:])
