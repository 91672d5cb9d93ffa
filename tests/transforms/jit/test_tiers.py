"""jit(backend="auto"): when XLA is tried, what it must not change, and that nothing goes wrong where a process ends or forks meanwhile."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax")

import tracegrad as tg
from benchmarks.science import JITTABLE
from benchmarks.timing import assert_same
from benchmarks.workloads import LIBRARIES
from tests.transforms.jit.test_xla import run
from tracegrad.transforms.jit import tiers

pytestmark = pytest.mark.usefixtures("jax_as_it_comes")

X = np.linspace(-1.0, 2.0, 6)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """What is faster is not measured, but told."""
    monkeypatch.setattr(tiers, "worth_compiling", lambda calls, least, spent, graph: None)

    def tell(wins: bool) -> None:
        monkeypatch.setattr(tiers, "faster", lambda numpy, xla: wins if len(numpy) == len(xla) == 2 else None)

    tell(True)
    return tell


def settled(f: Any, *args: Any) -> Any:
    """The result of a call when it is decided what runs f."""
    f(*args)
    assert f.wait(60)
    for _ in range(4):
        f(*args)
    assert f.tier != "compiling", f.tier
    return f(*args)


def same(got: Any, expected: Any, rtol: float = 1e-12) -> None:
    """NumPy's arrays and scalars of the same types and dtypes."""
    leaves, structure = tg.tree.tree_flatten(got)
    wanted, expected_structure = tg.tree.tree_flatten(expected)
    assert structure == expected_structure
    for g, w in zip(leaves, wanted, strict=True):
        assert type(g) is type(w)
        assert (g.dtype, g.shape) == (w.dtype, w.shape)
        np.testing.assert_allclose(g, w, rtol=rtol)
        assert type(g) is not np.ndarray or g.flags.writeable


# ---------------------------------------------------------------------------------------------------------------------
# Which of the two runs.


@pytest.mark.parametrize("wins", [True, False])
def test_the_faster_one_stays(told: Any, wins: bool) -> None:
    told(wins)
    f = tg.jit(lambda x: np.sin(x) * 2, backend="auto")
    f(X)
    assert f.tier == "numpy"
    assert f.wait(60)
    seen = []
    for _ in range(6):
        same(f(X), np.sin(X) * 2)
        seen.append(f.tier)
    assert seen == ["compiling"] * 3 + ["xla" if wins else "numpy"] * 3
    assert f.tier_error is None
    assert f.trace_log == ["first call"]


def test_each_signature_has_its_own(told: Any) -> None:
    f = tg.jit(lambda x: np.sin(x), backend="auto")
    settled(f, X)
    assert f.tier == "xla"
    same(f(X.astype("float32")), np.sin(X.astype("float32")), 1e-6)
    assert f.tier == "numpy"
    f(X)
    assert f.tier == "xla"


def test_what_is_compiled_when() -> None:
    graph = tg.make_graph(np.sin)(X)
    pays = tiers.worth_compiling
    assert pays(2, 1.0, 2.0, graph) is None  # the first calls say little
    assert pays(3, 1.0, 3.0, graph) is True
    assert pays(3, 1e-3, 3e-3, graph) is None
    assert pays(100, 1e-3, 0.1, graph) is True
    assert pays(10, 1e-6, 1e-5, graph) is None
    assert pays(100, 1e-6, 1.0, graph) is False  # to call XLA takes longer


def test_which_is_faster() -> None:
    faster = tiers.faster
    assert faster([], [1.0]) is None
    assert faster([4.0] * 3, [9.0, *[1.0] * 9]) is None
    assert faster([4.0] * 4, [9.0, *[1.0] * 4]) is True  # the first call on XLA does not count
    assert faster([1.0] * 4, [1.0, *[4.0] * 4]) is False
    assert faster([1.0, 9.0, 9.0, 9.0], [9.0, *[1.0] * 4]) is False  # who is there stays
    assert faster([2e-3] * 20, [9.0, *[1e-3] * 20]) is None  # such short ones may both have been disturbed
    assert faster([2e-3] * 32, [9.0, *[1e-3] * 32]) is True


def test_it_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the clock that it is given, by which each call takes a second."""
    monkeypatch.setattr(tiers, "clock", itertools.count().__next__)
    f = tg.jit(lambda x: np.cos(x) + 1, backend="auto")
    seen = [(f(X), f.tier)[1] for _ in range(3)]
    assert seen == ["numpy", "numpy", "compiling"]
    assert f.wait(60)
    seen = [(f(X), f.tier)[1] for _ in range(10)]
    assert seen == ["compiling"] * 8 + ["numpy"] * 2  # four calls and four, and the first on XLA does not count


def test_the_environment_says_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEGRAD_BACKEND", "auto")
    f = tg.jit(np.sin)
    f(X)
    assert f.wait(60)
    assert f.tier == "compiling"  # of which it is not known yet whether it pays


def test_jax_arrays_are_for_xla() -> None:
    import jax

    f = tg.jit(np.sin, backend="auto")
    assert isinstance(f(jax.numpy.zeros(2)), jax.Array)


# ---------------------------------------------------------------------------------------------------------------------
# Results.


@pytest.mark.slow
@pytest.mark.parametrize("work", JITTABLE, ids=lambda work: work.name)
def test_the_same_values_on_either(told: Any, work: Any) -> None:
    library = LIBRARIES["tracegrad"][1]()
    function = work.make(library)
    f = tg.jit(function, backend="auto")
    first = f(*work.args)
    found = settled(f, *work.args)
    assert f.tier_error is None, f.tier_error
    assert_same(found, first, max(work.tolerance, 1e-9), work.name)
    assert [type(x) for x in tg.tree.leaves(found)] == [type(x) for x in tg.tree.leaves(first)]


def test_results_of_all_kinds_are_numpys_own(told: Any) -> None:
    hidden = np.ones(2)

    def f(x: Any, n: Any, scale: float) -> Any:
        halves = (x / 2).astype("float32")
        return {
            "through": x, "twice": (np.sin(x), np.sin(x)), "constant": np.arange(3.0) * 1, "whole": n * np.int8(2), "sum": np.sum(x),
            "none": x[:0], "point": np.reshape(x[:1], ()), "half": halves, "complex": np.exp(1j * x), "which": x > 0,
            "any": np.any(x > 0), "scaled": x * scale, "hidden": x[:2] * 0 + hidden, "half sum": np.sum(halves),
        }  # fmt: skip

    args = X, np.arange(3, dtype="int8"), 3.0
    jitted = tg.jit(f, backend="auto")
    found = settled(jitted, *args)
    assert jitted.tier == "xla", jitted.tier_error
    expected = tg.jit(f)(*args)
    same(found, expected, 1e-6)
    arrays = [x for x in tg.tree.leaves(found) if type(x) is np.ndarray]
    for i, x in enumerate(arrays):  # of memory of their own, and of this call's
        assert not any([np.shares_memory(x, y) for y in (*arrays[:i], *args[:2])])
        x[...] = 0
    same(jitted(*args), expected, 1e-6)
    hidden[:] = 5
    assert jitted(*args)["hidden"].tolist() == [5, 5]
    kept = jitted(*args)["scaled"]
    jitted(X + 1, *args[1:])
    same(kept, X * 3.0)


def test_arguments_may_be_written_into_after_the_call(told: Any) -> None:
    x = np.random.default_rng(0).normal(size=200_000)
    f = tg.jit(lambda x: np.sin(x) @ np.cos(x), backend="auto")
    settled(f, x)
    for _ in range(5):
        expected = np.sin(x) @ np.cos(x)
        got = f(x)
        x += 0.1
        np.testing.assert_allclose(got, expected)


def test_static_and_donated_arguments(told: Any) -> None:
    f = tg.jit(lambda n, x, y: x * n + y, static_argnums=0, donate_argnums=1, backend="auto")
    for _ in range(8):
        same(f(2, X.copy(), y=1.0), X * 2 + 1)
        f.wait(60)
    assert f.tier == "xla"
    same(f(3, X.copy(), y=1.0), X * 3 + 1)
    assert f.tier == "numpy"


def test_transforms_of_it_and_jit_in_jit(told: Any) -> None:
    inner = tg.jit(lambda x: np.sum(np.sin(x) ** 2), backend="auto")
    settled(inner, X)
    np.testing.assert_allclose(tg.grad(inner)(X), np.sin(2 * X))
    np.testing.assert_allclose(tg.vmap(inner)(np.stack([X, -X])), [np.sum(np.sin(X) ** 2)] * 2)
    outer = tg.jit(tg.grad(lambda x: inner(x) * 2), backend="auto")
    np.testing.assert_allclose(settled(outer, X), 2 * np.sin(2 * X))
    assert outer.tier == "xla"


# ---------------------------------------------------------------------------------------------------------------------
# What stays on NumPy, or goes back there.


def test_what_xla_would_do_otherwise_stays(told: Any) -> None:
    stays: list[tuple[Any, ...]] = [
        (lambda x: x * 2 if x[0] > 0 else x, X),  # follows a branch
        (lambda n: n * 10**6, 10**15),  # a Python int comes out
        (lambda x: x, 1.5),
        (lambda n, k: n * k, np.arange(3, dtype="uint8"), 200),  # which may be too large for the dtype
        (lambda n, k: n**k, np.arange(3), np.arange(3)),  # of which NumPy raises where k is negative
    ]
    for function, *args in stays:
        f = tg.jit(function, backend="auto")
        f(*args)
        assert f.wait(60)
        assert (f.tier, f.tier_error) == ("numpy", None)
    f = tg.jit(lambda x: [tg.debug.print("{}", x), np.sin(x)][1], backend="auto")
    f(X)
    assert f.wait(60)
    assert f.tier == "numpy"


def test_what_numpy_raises_is_raised(told: Any) -> None:
    picked = tg.jit(lambda x, i: x[i] * 2, backend="auto")
    settled(picked, X, np.array([1, -2]))
    assert picked.tier == "xla"
    with pytest.raises(IndexError, match="6 is out of bounds"):
        picked(X, np.array([1, 6]))
    same(picked(X, np.array([1, -6])), X[[1, -6]] * 2)
    lower = tg.jit(np.linalg.cholesky, backend="auto")
    settled(lower, np.eye(2))
    assert lower.tier == "xla"
    for _ in range(3):
        with pytest.raises(np.linalg.LinAlgError):
            lower(-np.eye(2))
    assert lower.tier == "numpy"  # where it is asked for again and again
    same(lower(4 * np.eye(2)), 2 * np.eye(2))


def test_an_error_of_xlas_is_kept(told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tracegrad.core.backends import XLA_RULES

    monkeypatch.delitem(XLA_RULES, "arctan2")
    f = tg.jit(lambda x: np.arctan2(x, 2.0), backend="auto")
    same(settled(f, X), np.arctan2(X, 2.0))
    assert f.tier == "numpy"
    assert "arctan2" in str(f.tier_error)


def test_without_jax() -> None:
    code = """
import sys
sys.modules["jax"] = None                                   # not installed
import numpy as np, tracegrad as tg
f = tg.jit(np.sin, backend="auto")
f(np.zeros(2))
print(f.wait(10), f.tier, f(np.zeros(2)), "tracegrad[xla]" in str(f.tier_error))
"""
    assert run(code) == "True numpy [0. 0.] True\n"


# ---------------------------------------------------------------------------------------------------------------------
# Threads and processes.


def test_calls_from_many_threads_while_it_is_exchanged(told: Any) -> None:
    f = tg.jit(lambda x: np.sin(x) + 1, backend="auto")
    f(X)
    wrong: list[Any] = []

    def calls() -> None:
        for i in range(300):
            if not np.allclose(f(X + i), np.sin(X + i) + 1):
                wrong.append(i)

    threads = [threading.Thread(target=calls) for _ in range(4)]
    for t in threads:
        t.start()
    f.wait(60)
    for t in threads:
        t.join()
    assert not wrong
    settled(f, X)


def test_where_no_thread_can_be_started(told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    f = tg.jit(lambda x: np.sin(x), backend="auto")
    f(X)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        assert f.wait(5)
    assert (f.tier, str(f.tier_error)) == ("numpy", "can't start new thread")
    same(settled(tg.jit(np.cos, backend="auto"), X), np.cos(X))


def test_the_end_of_the_process_while_it_compiles() -> None:
    code = """
import numpy as np, tracegrad as tg
def f(x):
    for _ in range(20):
        x = np.sin(x @ x) + x
    return x
f = tg.jit(f, backend="auto")
f(np.eye(3)), f.wait(0.02)
print("end", f.tier)
"""
    assert run(code) == "end compiling\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_stays_on_numpy() -> None:
    code = """
import os, warnings
import numpy as np, tracegrad as tg
from tracegrad.transforms.jit import tiers
tiers.faster = lambda numpy, xla: True
warnings.simplefilter("ignore")                             # jax warns of any fork
f, g = tg.jit(np.sin, backend="auto"), tg.jit(np.cos, backend="auto")
f(np.zeros(2)), f.wait(60), f(np.zeros(2)), g(np.zeros(2))
print(f.tier, flush=True)
if not os.fork():
    print(f.tier, f(np.zeros(2)), f.tier, g(np.zeros(2)), g.wait(5), g.tier, flush=True)
    os._exit(0)
os.wait()
print(f(np.zeros(2)), f.tier, g.wait(60), g(np.zeros(2)), g.tier)
"""
    assert run(code).splitlines() == [
        "xla",
        "numpy [0. 0.] numpy [1. 1.] True numpy",
        "[0. 0.] xla True [1. 1.] xla",
    ]
