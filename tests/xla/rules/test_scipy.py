"""SciPy on the host: numbers go there and back as they are, on whatever thread."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.scipy import special

pytest.importorskip("scipy")
pytest.importorskip("jax")


def test_no_number_of_64_bits_is_seen_by_jax() -> None:
    """XLA calls the host on threads of its own too, where jax's 64-bit flag is that of the process, and jax rounds by it."""
    text = tg.jit(lambda x: special.betaln(x, 2.0), backend="xla").lower(np.linspace(0.1, 1, 7)).as_text()
    calls = [line for line in text.splitlines() if "callback" in line and "custom_call" in line]
    assert calls and all("ui32" in line and "f64" not in line for line in calls)


def test_all_kinds_of_numbers() -> None:
    z = np.array([1 + 1j, 0.5])
    np.testing.assert_array_equal(tg.jit(special.wofz, backend="xla")(z), special.wofz(z))
    for n, x in ((3, np.float64(0.4)), (np.int32(3), np.float32(0.4))):
        np.testing.assert_array_equal(tg.jit(special.jn, backend="xla")(n, x), special.jn(n, x))


ENDS = np.array([0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 3.0, 0.5, np.inf, -np.inf, np.nan])


def test_poles_and_ends_are_scipys() -> None:
    """Where jax has NaN, another infinity, a zero of the other sign, or what is left of a difference of equals."""
    x, y = [g.ravel() for g in np.meshgrid(ENDS, ENDS, indexing="ij")]
    order = np.repeat([0.0, 1.0, 2.0, 3.0], ENDS.size)
    at = np.tile(ENDS, 4)

    def found(x: np.ndarray, y: np.ndarray, order: np.ndarray, at: np.ndarray) -> list[np.ndarray]:
        of_one = [special.entr, special.expi, special.digamma, special.gammaln, special.log_expit]
        of_two = [special.rel_entr, special.kl_div, special.owens_t, special.gammainc, special.gammaincc]
        return (
            [f(at) for f in of_one]
            + [f(x, y) for f in of_two]
            + [special.polygamma(order, at), special.zeta(order, at)]
        )

    with np.errstate(all="ignore"):
        expected = found(x, y, order, at)
        for a, b in zip(tg.jit(found, backend="xla")(x, y, order, at), expected, strict=True):
            np.testing.assert_allclose(a, b, 1e-12, 1e-15)
            np.testing.assert_array_equal(np.signbit(a)[b == 0], np.signbit(b)[b == 0])
