"""What a thread is doing is its own."""

from __future__ import annotations

import threading

import jax
import numpy as np

import tracegrad as tg
from tests.compare import near

jax.config.update("jax_enable_x64", True)


def test_threads() -> None:
    base = np.linspace(0.5, 1.5, 40)
    shared, view = base[:20], base[20:]
    expected = tg.grad(lambda x: np.sum(np.sin(x * shared) * view))(shared)
    failures: list[BaseException] = []
    start = threading.Barrier(8)

    def work(seed: int) -> None:
        try:
            start.wait()
            for i in range(40):
                x = shared + 0.0
                near(tg.grad(lambda x: np.sum(np.sin(x * shared) * view))(x), expected)
                scale = float(seed + i)
                nested = tg.grad(lambda s: np.sum(tg.grad(lambda x: np.sum(s * x**2 * view))(x)))
                near(nested(scale), np.sum(2 * x * view))
                assert tg.grad(tg.grad(np.sin))(0.3) == -np.sin(0.3)
                near(tg.vmap(tg.grad(np.tanh))(x), 1 - np.tanh(x) ** 2)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures
    assert base.flags.writeable and shared.flags.writeable and view.flags.writeable
