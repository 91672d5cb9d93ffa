"""SciPy on the host: numbers go there and back as they are, on whatever thread."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.scipy import special

pytest.importorskip("scipy")
jax = pytest.importorskip("jax")
rules = pytest.importorskip("tracegrad.xla.rules.scipy")


@pytest.mark.filterwarnings("ignore:a float64 result on XLA")
def test_threads_of_xla_lose_no_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their 64-bit flag is that of the process. Several calls that take a while are on several threads."""
    on_host, threads = rules._on_host, set()

    def slowly(*args: Any) -> Any:
        threads.add(threading.current_thread())
        time.sleep(0.01)
        return on_host(*args)

    monkeypatch.setattr(rules, "_on_host", slowly)
    f = lambda x: [special.betaln(x, float(k)) + special.exp1(x + k) for k in range(1, 9)]
    x = np.linspace(0.1, 1, 7)
    before = jax.config.jax_enable_x64
    try:
        jax.config.update("jax_enable_x64", False)
        found = tg.jit(f, backend="xla")(x)
    finally:
        jax.config.update("jax_enable_x64", before)
    assert len(threads) > 1
    for got, wanted in zip(found, f(x), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_all_kinds_of_numbers() -> None:
    z = np.array([1 + 1j, 0.5])
    np.testing.assert_array_equal(tg.jit(special.wofz, backend="xla")(z), special.wofz(z))
    for n, x in ((3, np.float64(0.4)), (np.int32(3), np.float32(0.4))):
        np.testing.assert_array_equal(tg.jit(special.jn, backend="xla")(n, x), special.jn(n, x))
