"""Complex parameters as pairs make optax's steps."""

from __future__ import annotations

import jax
import numpy as np
import optax
import pytest
from optax import contrib

import tracegrad as tg
from tracegrad import optim

rng = np.random.default_rng(0)
PARAMS = {"z": rng.normal(size=3) + 1j * rng.normal(size=3), "w": rng.normal(size=2)}
STEPS = [{"z": rng.normal(size=3) + 1j * rng.normal(size=3), "w": rng.normal(size=2)} for _ in range(20)]


@pytest.mark.parametrize("backend", [None, "numpy"])
def test_follows_optax(backend: str | None) -> None:
    ours, theirs = optim.split_real_and_imaginary(optim.adamw(0.1)), contrib.split_real_and_imaginary(optax.adamw(0.1))
    with jax.enable_x64(True):
        other = theirs.init(PARAMS)
        state = ours.init(PARAMS)
        assert [f.__name__ for f in (type(state), type(state.inner_state[0].mu["z"]))] == [
            type(other).__name__,
            type(other.inner_state[0].mu["z"]).__name__,
        ]
        update = ours.update if backend is None else tg.jit(ours.update)
        for g in STEPS:
            updates, state = update(g, state, PARAMS)
            wanted, other = theirs.update(g, other, PARAMS)
            for name in PARAMS:
                assert updates[name].dtype == PARAMS[name].dtype
                np.testing.assert_allclose(updates[name], wanted[name], rtol=1e-12)


def test_single_precision_stays() -> None:
    opt = optim.split_real_and_imaginary(optim.adam(0.1))
    z = np.ones(2, np.complex64)
    updates, _ = opt.update(z, opt.init(z), z)
    assert updates.dtype == np.complex64


def test_descends_a_loss_of_complex_numbers() -> None:
    target = np.array([1 - 2j, 3j])
    loss = lambda z: np.sum(np.abs(z - target) ** 2)
    opt = optim.split_real_and_imaginary(optim.adam(0.1))
    z = np.zeros(2, complex)
    state = opt.init(z)
    for _ in range(300):
        updates, state = opt.update(np.conj(tg.grad(loss)(z)), state, z)
        z = z + updates
    np.testing.assert_allclose(z, target, atol=1e-3)
