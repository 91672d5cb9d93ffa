"""A quantum gate from four pulses: gradients through complex matrices.

    python examples/gallery/quantum_gate.py                  # some seconds
    python examples/gallery/quantum_gate.py --steps 40 --expect 0.1 --backend xla

Two spins are coupled to each other, all the time. Two fields on each, constant in each of 24 slices of time, are to turn that into the
gate CNOT, which turns the second spin over where the first is down. What a slice does is exp(-i H t) of its Hamiltonian, a Hermitian
matrix of 4 × 4, here by its eigenvalues and eigenvectors: `np.linalg.eigh` of all slices at once. How far their product is from the gate
is a real function of real fields, and complex in between. `tg.value_and_grad` goes through it, also where eigenvalues are equal, which
they are at the start; L-BFGS does the rest.

Asserted is the infidelity of the pulses found, computed anew by `scipy.linalg.expm`, which knows nothing of eigenvectors.

Method: N. Khaneja et al., "Optimal control of coupled spin dynamics: design of NMR pulse sequences by gradient ascent algorithms",
Journal of Magnetic Resonance 172 (2005), known as GRAPE.
"""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import numpy as np
from common import hold, options, save, track
from scipy.linalg import expm

import tracegrad as tg

QUICK = ["--steps", "15", "--expect", "0.5"]
SLICES, DURATION = 24, 2.0  # in units of the coupling, which alone needs at least π/4
CNOT = np.eye(4)[[0, 1, 3, 2]]
X, Y, Z = np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]]), np.diag([1.0, -1.0])
COUPLING = np.kron(Z, Z)
FIELDS = np.stack([np.kron(X, np.eye(2)), np.kron(Y, np.eye(2)), np.kron(np.eye(2), X), np.kron(np.eye(2), Y)])
NAMES = ("first spin, x", "first spin, y", "second spin, x", "second spin, y")


def hamiltonians(fields):
    """(slices, 4, 4) for `fields` (slices, 4)."""
    return COUPLING + np.tensordot(fields, FIELDS, axes=1)


def propagator(fields):
    """What all slices do, one after the other, (4, 4)."""
    energies, states = np.linalg.eigh(hamiltonians(fields))
    phases = np.exp(-1j * DURATION / SLICES * energies)
    total = np.eye(4)
    for each in (states * phases[:, None, :]) @ np.conj(np.swapaxes(states, 1, 2)):
        total = each @ total
    return total


def infidelity(total):
    """0 for the gate, but for a phase that no measurement sees; 1 for what has nothing of it."""
    return 1 - np.abs(np.trace(CNOT.T @ total)) ** 2 / 16


def main(argv: list[str]) -> float:
    """Finds the pulses; returns the infidelity by SciPy."""
    chosen = options(argv, __doc__, file=__file__, steps=80, expect=1e-8, float64=True)
    objective = lambda fields: infidelity(propagator(fields))
    opt = tg.optim.lbfgs()

    def step(fields, opt_state):
        value, gradient = tg.value_and_grad(objective)(fields)
        extra = {"value": value, "grad": gradient, "value_fn": objective}
        return *tg.optim.step(opt, gradient, opt_state, fields, **extra), value

    # At no field at all COUPLING has two pairs of equal eigenvalues. The derivative there, beside differences:
    along = np.cos(np.arange(SLICES * 4.0)).reshape(SLICES, 4)
    start = np.full((SLICES, 4), 0.3) * np.array([1, -1, 1, 0])
    for place in (0 * start, start):
        slope = (objective(place + 1e-5 * along) - objective(place - 1e-5 * along)) / 2e-5
        assert abs(np.sum(tg.grad(objective)(place) * along) - slope) < 1e-8

    step = tg.jit(step, backend=chosen.backend)
    fields = start + 0.1 * np.random.default_rng(chosen.seed).normal(size=start.shape)
    opt_state, values = opt.init(fields), []
    for _ in track(range(chosen.steps), "shaping"):
        fields, opt_state, value = step(fields, opt_state)
        values.append(float(value))
    fields = np.asarray(fields)

    states = [np.eye(4)]
    for each in hamiltonians(fields):
        states.append(expm(-1j * DURATION / SLICES * each) @ states[-1])
    print(np.array_str(np.round(np.abs(states[-1]), 4)))  # each number is a probability amplitude, but for its phase

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    times = np.linspace(0, DURATION, SLICES + 1)
    for name, pulse in zip(NAMES, fields.T, strict=True):
        axes[0].stairs(pulse, times, label=name)
    axes[0].set(xlabel="time", ylabel="field", title="four pulses", ylim=(-4.5, 7.5))
    axes[0].legend(fontsize=7, ncols=2, loc="upper center")
    for name, column in zip(
        ("up up", "up down", "down up", "down down"), np.abs(np.array(states)[:, :, 2].T) ** 2, strict=True
    ):
        axes[1].plot(times, column, ".-", label=name)
    axes[1].set(xlabel="time", ylabel="probability", title="from down up to down down", ylim=(-0.02, 1.3))
    axes[1].legend(fontsize=7, ncols=2, loc="upper center")
    axes[2].semilogy(np.maximum(values, 1e-17))
    axes[2].set(xlabel="step of L-BFGS", ylabel="infidelity", title="shaping")
    save(figure, chosen.picture)
    return hold("infidelity by SciPy", infidelity(states[-1]), at_most=chosen.expect)


if __name__ == "__main__":
    main(sys.argv[1:])
