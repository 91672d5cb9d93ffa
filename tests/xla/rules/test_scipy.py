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
