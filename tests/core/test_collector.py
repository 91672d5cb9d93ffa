"""Traces go without the garbage collector."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core import collector

jax.config.update("jax_enable_x64", True)

X = np.array([0.3, -1.2, 2.0])


def test_traces_are_freed_without_the_collector() -> None:
    """A gradient leaves no cycles behind that would keep its arrays until the next garbage collection."""

    class Marked(np.ndarray):
        pass

    gc.collect()
    gc.disable()
    try:
        captured = []

        def f(x: Any) -> Any:
            y = np.sin(x)
            captured.append(weakref.ref(y.value.base if y.value.base is not None else y.value))
            return np.sum(y * y)

        tg.grad(f)(X)
        assert captured[0]() is None
        tg.jvp(f, (X,), (X,))
        assert captured[1]() is None
    finally:
        gc.enable()


def test_threads_that_stop_the_collector_start_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where one finds it stopped by another, which ends before it goes on."""
    stopped, asked, ended = threading.Event(), threading.Event(), threading.Event()
    states = []

    class Collector:
        enable, disable = staticmethod(gc.enable), staticmethod(gc.disable)

        @staticmethod
        def isenabled() -> bool:
            found = gc.isenabled()
            if stopped.is_set():
                asked.set()
                assert ended.wait(60)
            return found

    def first() -> None:
        def work() -> None:
            stopped.set()
            assert asked.wait(60)
            states.append(gc.isenabled())

        collector.uncollected(work)
        ended.set()

    monkeypatch.setattr(collector, "gc", Collector)
    assert gc.isenabled()
    thread = threading.Thread(target=first, daemon=True)
    thread.start()
    assert stopped.wait(60)
    collector.uncollected(lambda: None)
    thread.join(60)
    assert states == [False] and gc.isenabled() and not collector._stopped_by


@pytest.mark.parametrize("is_enabled", [True, False])
def test_a_thread_that_dies_leaves_the_collector_as_it_was(is_enabled: bool) -> None:
    def fails() -> None:
        raise ZeroDivisionError

    def work() -> None:
        with pytest.raises(ZeroDivisionError):
            collector.uncollected(fails)

    (gc.enable if is_enabled else gc.disable)()
    try:
        before = gc.get_threshold()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(60)
        assert gc.isenabled() is is_enabled and gc.get_threshold() == before and not collector._stopped_by
    finally:
        gc.enable()
