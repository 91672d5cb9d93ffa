"""Threads that trace, compile and run at the same time; children that are forked meanwhile; processes of every kind."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests import ROOT

WAIT = 60  # seconds after which what should have come is a failure
BACKENDS = ["numpy", "xla"]


def together(*works: Callable[[], Any]) -> list[Any]:
    """The results of functions that each run in a thread of its own, or the first exception."""
    results: list[Any] = [None] * len(works)
    errors: list[BaseException] = []

    def run(i: int) -> None:
        try:
            results[i] = works[i]()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(len(works))]
    for t in threads:
        t.start()
    for t in threads:
        t.join(WAIT)
    assert not any([t.is_alive() for t in threads]), "they wait for each other"
    for error in errors:
        raise error
    return results


def script(code: str, *arguments: object) -> str:
    """What a script prints that has a process, and a time, of its own."""
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=10 * WAIT)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


# ---------------------------------------------------------------------------------------------------------------------
# Traces that meet.


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("wrap", [lambda f: f, tg.grad, tg.checkpoint], ids=["plain", "grad", "checkpoint"])
def test_functions_that_call_each_other(wrap: Callable[..., Any], backend: str) -> None:
    """First called in two threads, each while it is traced in the other one."""
    both = threading.Barrier(2)

    def part(x: Any, other: Callable[..., Any]) -> Any:
        if len(x) == 4:
            both.wait(WAIT)
        return np.sum(np.sin(x)) if len(x) < 2 else np.sum(x) * other(x[1:])

    f = tg.jit(lambda x: part(x, g), backend=backend)
    g = tg.jit(lambda x: part(x, f), backend=backend)
    x = np.linspace(0.5, 1.5, 4)
    called = [wrap(h) for h in (f, g)]
    found = together(lambda: called[0](x), lambda: called[1](x))
    expected = wrap(lambda x: np.sum(x) * np.sum(x[1:]) * np.sum(x[2:]) * np.sum(np.sin(x[3:])))(x)
    np.testing.assert_allclose(found, [expected] * 2, rtol=1e-13)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_call_waits_for_a_trace(backend: str) -> None:
    """Neither one that is compiled, nor one of another signature, nor one of the same."""
    is_traced, goes_on = threading.Event(), threading.Event()
    holds = threading.local()

    def f(x: Any) -> Any:
        if hasattr(holds, "trace"):
            is_traced.set()
            assert goes_on.wait(WAIT)
        return np.sin(x) * 2.0

    jitted = tg.jit(f, backend=backend)
    old, slow, new = np.ones(3), np.ones(5), np.ones(7)
    jitted(old)
    jitted(np.ones(4))

    def traces_slowly() -> Any:
        holds.trace = True
        return jitted(slow)

    def others() -> list[Any]:
        assert is_traced.wait(WAIT)
        # Two threads that give jax one signature wait for each other in jax.
        calls = [old, new, old] if backend == "xla" else [old, slow, new, slow, old]
        found = [np.asarray(jitted(x)) for x in calls]
        assert not goes_on.is_set()
        goes_on.set()
        return found

    found = together(traces_slowly, others)
    for y in [np.asarray(found[0]), *found[1]]:
        np.testing.assert_allclose(y, np.full(y.shape, np.sin(1.0) * 2.0), rtol=1e-15)


def test_who_traces_the_same_goes_on_with_what_was_there_first() -> None:
    both = threading.Barrier(2)

    def f(x: Any) -> Any:
        both.wait(WAIT)
        return np.sin(x)

    jitted = tg.jit(f)
    x = np.ones(3)
    found = together(lambda: jitted(x), lambda: jitted(x))
    np.testing.assert_array_equal(found, [np.sin(x)] * 2)
    assert len(jitted._function) == 1
    log = sorted(jitted.trace_log)
    assert log == ["a signature that another thread was tracing for at the same time", "first call"]
    jitted(x)
    assert len(jitted.trace_log) == 2


def test_a_trace_that_fails_leaves_nothing_to_other_threads() -> None:
    both = threading.Barrier(2)
    fails = threading.local()

    def f(x: Any) -> Any:
        both.wait(WAIT)
        if hasattr(fails, "now"):
            raise ZeroDivisionError
        return np.sin(x)

    jitted = tg.jit(f)

    def failing() -> None:
        fails.now = True
        with pytest.raises(ZeroDivisionError):
            jitted(np.ones(3))

    together(failing, lambda: jitted(np.ones(3)))
    assert jitted.trace_log == ["first call"] and len(jitted._function) == 1


def test_an_array_outside_that_changes_while_two_threads_trace() -> None:
    both = threading.Barrier(2)
    table, waits = np.arange(4.0), []

    def f(x: Any) -> Any:
        if waits:
            both.wait(WAIT)
        return x * table

    jitted = tg.jit(f)
    x = np.ones(4)
    jitted(x)
    table.dtype = np.int64  # type: ignore[misc]
    table[:] = 3
    waits.append(True)
    found = together(lambda: jitted(x), lambda: jitted(x))
    np.testing.assert_array_equal(found, [table] * 2)
    assert len(jitted.trace_log) == 3 and len(jitted._function) == 1


def test_static_arguments_may_wait_for_other_threads() -> None:
    """When they are compared: nothing is locked meanwhile."""

    class Mode:
        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            (found,) = together(lambda: jitted(np.ones(2), 1))
            assert found[0] == np.sin(1.0)
            return type(other) is Mode

    jitted = tg.jit(lambda x, mode: np.sin(x), static_argnums=1)
    x = np.ones(3)
    for _ in range(2):
        np.testing.assert_array_equal(jitted(x, Mode()), np.sin(x))


def test_a_thread_leaves_writes_to_the_traces_of_others() -> None:
    """Of which each has its own variables, and may end at any time."""
    steps = threading.Barrier(2)

    def f(x: Any) -> Any:
        y = np.sin(x)
        steps.wait(WAIT)
        for _ in range(50):
            y[1:] *= 2.0
            y[:-1] += y[1:]
        steps.wait(WAIT)
        return np.sum(y)

    def expected(x: Any) -> Any:
        y = np.sin(x)
        for _ in range(50):
            y[1:] *= 2.0
            y[:-1] += y[1:]
        return np.sum(y)

    x = np.linspace(0.1, 1.0, 5)
    found = together(lambda: tg.grad(f)(x), lambda: tg.jit(tg.grad(f))(x))
    np.testing.assert_allclose(found, [tg.grad(expected)(x)] * 2, rtol=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# All at once.

TRANSFORMS = """
import os, sys, threading, time
import numpy as np, numpy.testing, tracegrad as tg
import tracegrad.numpy as tnp

def f(x, s=1.0):
    y = np.sin(x) * s
    y[0] = 2.0
    return np.sum(np.where(y > 0, np.exp(-y), y ** 2))

shared = tg.jit(f)
shared_grad = tg.jit(tg.grad(f))
again = tg.checkpoint(lambda x: np.tanh(np.sin(x)))

@tg.custom_vjp
def squared(x):
    return x * x
squared.defvjp(lambda x: (x * x, x), lambda x, ct: (2.0 * x * ct,))

@tg.custom_jvp
def cubed(x):
    return x ** 3
cubed.defjvp(lambda primals, tangents: (primals[0] ** 3, 3.0 * primals[0] ** 2 * tangents[0]))

def true_grad(x):
    y = np.sin(x)
    g = np.where(y > 0, -np.exp(-y), 2 * y) * np.cos(x)
    g[0] = 0.0
    return g

def check(n):
    '''Every transform, on signatures that others have too, and on one that is new.'''
    x = np.linspace(-1.0, 2.0, n)
    near = lambda a, b: np.testing.assert_allclose(np.asarray(a), b, rtol=1e-9, atol=1e-12)
    near(shared(x), f(x))
    near(shared_grad(x), true_grad(x))
    near(tg.grad(f)(x), true_grad(x))
    near(tg.jit(tg.grad(f))(x), true_grad(x))
    near(tg.vmap(tg.grad(f))(np.stack([x, x])), np.stack([true_grad(x)] * 2))
    near(tg.jvp(f, (x,), (np.ones(n),))[1], true_grad(x).sum())
    near(tg.vjp(np.sin, x)[1](np.ones(n))[0], np.cos(x))
    near(tg.grad(lambda x: np.sum(again(x)))(x), (1 - np.tanh(np.sin(x)) ** 2) * np.cos(x))
    near(tg.grad(lambda x: np.sum(squared(x) * cubed(x)))(x), 5 * x ** 4)
    near(tg.jit(tg.grad(lambda x: tg.lax.scan(lambda c, e: (c * 0.5 + e, None), 0.0, x)[0]))(x), 0.5 ** np.arange(n)[::-1])
    near(tg.grad(lambda x: tg.lax.cond(x > 0, np.sin, np.cos, x))(0.5), np.cos(0.5))
    near(tg.hessian(lambda x: np.sum(np.sin(x)))(x), np.diag(-np.sin(x)))
    near(tg.grad(lambda x: np.sum(np.cumsum(np.sort(x)) * np.ones(n)))(x), np.arange(n, 0, -1.0))
    near(tg.grad(lambda x: np.sum(tnp.linalg.inv(x)))(np.eye(2) * 2.0), -np.full((2, 2), 0.25))
"""

STRESS = (
    TRANSFORMS
    + """
import gc
threshold, rounds = gc.get_threshold(), int(sys.argv[1])
start, errors, compiled = threading.Barrier(17), [], tg.jit(np.sin)
compiled(np.ones(3))

def work(seed):
    try:
        start.wait()
        for i in range(rounds):
            check(3 + (seed + i) % 5)      # what other threads trace, too
            check(20 + seed * rounds + i)  # what nobody else does
            assert compiled(np.ones(3))[0] == np.sin(1.0)
    except BaseException as error:
        import traceback
        errors.append(traceback.format_exc())

def importer():
    start.wait()
    try:
        import jax
        y = tg.jit(f)(jax.numpy.ones(4, 'float32'))
        assert isinstance(y, jax.Array)
    except ImportError:
        pass
    except BaseException as error:
        errors.append(repr(error))

sys.setswitchinterval(1e-4)
threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(16)] + [threading.Thread(target=importer, daemon=True)]
[t.start() for t in threads]
deadline = time.time() + 500
[t.join(max(deadline - time.time(), 0)) for t in threads]
from tracegrad.core.context import capturing, open_traces, writing
print(sum(t.is_alive() for t in threads), "hang", len(errors), "fail", *errors[:1])
print(gc.get_threshold() == threshold, gc.isenabled(), len(open_traces), len(capturing), len(writing), flush=True)
os._exit(0)
"""
)


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [1, 6])
def test_sixteen_threads_while_one_imports_jax(rounds: int) -> None:
    assert script(STRESS, rounds) == "0 hang 0 fail\nTrue True 0 0 0\n"


# ---------------------------------------------------------------------------------------------------------------------
# Forks, and processes of other kinds.

has_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

FORKED = (
    TRANSFORMS
    + """
import faulthandler, gc, signal

def forked(work):
    '''How a child ends that does this.'''
    child = os.fork()
    if child == 0:
        faulthandler.dump_traceback_later(60, exit=True)
        try:
            work()
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    return os.waitpid(child, 0)[1]

def all_well():
    from tracegrad.core.context import capturing, open_traces, writing
    assert not open_traces and not capturing and not writing, (open_traces, capturing, writing)
    assert gc.isenabled()
    check(5)
    check(6)
    large = np.ones(1 << 20)
    np.testing.assert_allclose(tg.jit(lambda x: np.sin(x) * 2.0 + np.cos(x) * x)(large)[-1], np.sin(1.0) * 2 + np.cos(1.0))
"""
)


@has_fork
def test_a_fork_while_threads_are_at_work() -> None:
    """In the middle of a trace of each kind, of a pass, and of a program that runs in blocks; and before any of the later
    files is loaded."""
    code = """
from tracegrad.core import collector
from tracegrad.core.boxes import with_boxes
at_it, end = threading.Semaphore(0), threading.Event()

def waits(*_):
    at_it.release()
    end.wait()

def written(x):
    y = x + 0.0
    y[0] = 1.0
    waits()
    return np.sum(y)

@tg.custom_vjp
def rule(x):
    return x * 1.0
rule.defvjp(lambda x: (x, None), lambda _, ct: (waits() or ct,))

works = [
    lambda: tg.jit(written)(np.ones(5)),
    lambda: tg.grad(written)(np.ones(5)),
    lambda: shared(np.ones(5), (waits(), 1.0)[1]),
    lambda: tg.vmap(written)(np.ones((2, 5))),
    lambda: tg.lax.scan(lambda c, e: (waits(), (c + e, None))[1], 0.0, np.ones(5)),
    lambda: tg.lax.cond(np.bool_(True), lambda x: (waits(), x)[1], np.sin, 1.0),
    lambda: tg.jit(lambda x: tg.lax.cond(x > 0, lambda x: (waits(), x)[1], np.sin, x))(1.0),
    lambda: tg.grad(lambda x: np.sum(rule(x)))(np.ones(5)),
    lambda: tg.checkpoint(written)(np.ones(5)),
    lambda: collector.uncollected(waits),
    lambda: with_boxes(waits),
]
threads = [threading.Thread(target=work, daemon=True) for work in works]
[t.start() for t in threads]
for _ in works:
    assert at_it.acquire(timeout=60)
print(not gc.isenabled(), forked(all_well))
end.set()
[t.join(60) for t in threads]
print(gc.isenabled(), any(t.is_alive() for t in threads))
all_well()
large = np.ones(1 << 20)
print(forked(all_well), flush=True)
os._exit(0)
"""
    assert script(FORKED + code) == "True 0\nTrue False\n0\n"


@has_fork
def test_a_fork_inside_a_trace() -> None:
    """The child goes on with it."""
    code = """
from tracegrad.core.context import open_traces
def f(x):
    if os.getpid() != parent or not children:
        children.append(os.fork())
    return np.sum(np.sin(x)) * 2.0
parent, children = os.getpid(), []
signal.alarm(100)
for transform in (tg.grad, lambda f: tg.jit(tg.grad(f)), lambda f: tg.vmap(tg.grad(lambda x: f(x[None])))):
    children.clear()
    here = os.getpid()
    found = transform(f)(np.ones(3))
    np.testing.assert_array_equal(found, 2.0 * np.cos(np.ones(3)))
    assert not open_traces and gc.isenabled()
    if children[-1] == 0:
        os._exit(7)
    assert os.waitpid(children[0], 0)[1] >> 8 == 7
print('well', flush=True)
"""
    code = code.replace("if os.getpid() != parent or not children:", "if not children:")
    assert script(FORKED + code) == "well\n"


AT_RANDOM = """
import random
random.seed(int(sys.argv[2]))
sys.setswitchinterval(1e-4)
is_over, errors = False, []
def work(seed):
    try:
        n = 0
        while not is_over:
            n += 1
            check(3 + (seed + n) % 40)
            tg.jit(lambda x: np.sin(x) * 2.0 + np.cos(x) * x)(np.ones(1 << 19))
    except BaseException as error:
        errors.append(repr(error))
threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(3)]
[t.start() for t in threads]
found = []
for _ in range(int(sys.argv[1])):
    time.sleep(random.random() * 0.03)
    found.append(forked(all_well))
is_over = True
[t.join(60) for t in threads]
print(len(found), sum(map(bool, found)), errors, gc.isenabled(), flush=True)
os._exit(0)
"""


@has_fork
@pytest.mark.parametrize("count", [3, pytest.param(200, marks=pytest.mark.slow)])
def test_forks_at_random_moments(count: int) -> None:
    assert script(FORKED + AT_RANDOM, count, 0) == f"{count} 0 [] True\n"


def gradient_of_jitted(n: int) -> list[float]:
    """What other processes are asked for."""
    found: list[float] = tg.jit(tg.grad(lambda x: np.sum(np.sin(x))))(np.ones(n)).tolist()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_processes(method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    code = """
import sys, threading, multiprocessing, numpy as np, tracegrad as tg
from tests.test_threads import gradient_of_jitted
if __name__ == "__main__":
    traced, end = threading.Event(), threading.Event()
    def f(x):
        traced.set()
        end.wait()
        return np.sin(x)
    thread = threading.Thread(target=tg.jit(f), args=(np.ones(3),), daemon=True)
    thread.start()
    assert traced.wait(60)
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        found = pool.map_async(gradient_of_jitted, [1, 2, 3]).get(60)
    end.set()
    thread.join(60)
    print(all(np.array_equal(y, np.cos(np.ones(n))) for n, y in zip((1, 2, 3), found)), len(found))
"""
    assert script(code, method) == "True 3\n"
