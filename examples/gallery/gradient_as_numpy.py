"""A gradient as a file of NumPy: written once, run where there is no tracegrad.

    python examples/gallery/gradient_as_numpy.py                  # a second or two; prints the file

A robot's arm of three parts reaches for a mark and keeps clear of an obstacle. Its controller needs the gradient of a cost with respect
to three angles, and has NumPy and nothing else. `tg.to_numpy_source` writes the gradient as a file for it: the names are those of the
functions below, the lines that each statement comes from stand above it, and nothing in it is tracegrad's.
(`tg.jit(f).lower(x).as_text()` shows what jit runs, in which some names are the library's. It is to be read, not to be kept.)

The file is then run by a Python in which tracegrad cannot be imported. There the arm moves by gradient descent. Asserted are that the
file's gradient has the bits of `tg.value_and_grad`, that the hand arrives, and the largest error against complex differences, which are
exact to rounding: W. Squire and G. Trapp, "Using complex variables to estimate derivatives of real functions", SIAM Review 40 (1998).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from common import hold, options, save

import tracegrad as tg

QUICK: list[str] = ["--steps", "400"]
PARTS = np.array([1.0, 0.8, 0.6])  # lengths
OBSTACLE = np.array([1.0, 0.9])
START = np.array([0.1, 0.2, 0.1])


def joints(angles):
    """Where the parts end, from the shoulder on: x and y, (3,) each."""
    turned = np.cumsum(angles)
    return np.cumsum(PARTS * np.cos(turned)), np.cumsum(PARTS * np.sin(turned))


def cost(angles, mark):
    """The squared distance of the hand from the mark, and how near the joints are to the obstacle."""
    x, y = joints(angles)
    near = np.sum(np.exp(-((x - OBSTACLE[0]) ** 2 + (y - OBSTACLE[1]) ** 2) / 0.02))
    return (x[-1] - mark[0]) ** 2 + (y[-1] - mark[1]) ** 2 + 0.1 * near


DRIVER = """
import json, sys
sys.modules["tracegrad"] = None  # whoever imports it now gets an error
sys.path.insert(0, sys.argv[1])
import numpy as np
from arm import value_and_grad_cost
angles, mark, steps = (np.array(x) for x in json.loads(sys.argv[2]))
seen = [angles]
for _ in range(steps):
    value, gradient = value_and_grad_cost(seen[-1], mark)
    seen.append(seen[-1] - 0.05 * gradient)
assert not any(name.startswith(("tracegrad.", "jax")) for name in sys.modules)
print(json.dumps([[angles.tolist() for angles in seen], value_and_grad_cost(angles, mark)[1].tolist()]))
"""


def elsewhere(source: str, mark: Any, steps: int) -> tuple[Any, Any]:
    """The angles at each step, and the first gradient, by a Python that has the file and no tracegrad."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "arm.py").write_text(source, encoding="utf-8")
        given = json.dumps([START.tolist(), list(mark), steps])
        command = [sys.executable, "-I", "-B", "-c", DRIVER, folder, given]
        found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    angles, gradient = json.loads(found.stdout)
    return np.array(angles), np.array(gradient)


def main(argv: list[str]) -> float:
    """Writes the file and runs it; returns the largest error of its gradient."""
    chosen = options(argv, __doc__, file=__file__, steps=1000, expect=1e-13, float64=True)
    mark = np.array([0.3, 1.7])
    both = tg.jit(tg.value_and_grad(cost), backend=chosen.backend)
    source = tg.to_numpy_source(both, START, mark)
    print(source)
    angles, gradient = elsewhere(source, mark, chosen.steps)

    ours = np.asarray(both(START, mark)[1])
    complex_differences = np.array([cost(START + 1e-30j * unit, mark).imag / 1e-30 for unit in np.eye(3)])
    assert np.array_equal(gradient, ours) or chosen.backend == "xla", "the file computes other bits"
    hands = np.array([[axis[-1] for axis in joints(a)] for a in angles])
    assert np.linalg.norm(hands[-1] - mark) < 0.02, f"the hand is at {hands[-1]}"

    figure, (plane, curve) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained", width_ratios=(1.2, 1))
    for step in [0, *np.unique(np.geomspace(1, chosen.steps, 14).astype(int))]:
        x, y = (np.concatenate([[0], axis]) for axis in joints(angles[step]))
        color = plt.cm.viridis(step and np.log(step + 1) / np.log(chosen.steps + 1))
        plane.plot(x, y, "o-", color=color, lw=1.5, ms=3)
    plane.plot(*hands.T, "C3", lw=1, label="way of the hand")
    plane.plot(*mark, "kx", ms=9, label="mark")
    plane.add_patch(plt.Circle(OBSTACLE, 0.1, color="0.6", label="obstacle"))
    plane.set(xlabel="x", ylabel="y", title="an arm that has NumPy and a file", aspect="equal", xlim=(-1.3, 2.5))
    plane.legend(fontsize=8, loc="upper left")
    curve.semilogy(np.linalg.norm(hands - mark, axis=1))
    curve.set(xlabel="step", ylabel="distance of the hand from the mark", title="gradient descent by the file")
    save(figure, chosen.picture)
    error = np.max(np.abs(gradient - complex_differences)) / np.max(np.abs(complex_differences))
    return hold("relative error of the file's gradient", error, at_most=chosen.expect)


if __name__ == "__main__":
    main(sys.argv[1:])
