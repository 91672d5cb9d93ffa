"""`python -m tracegrad.testing.interrupts 30000`: real signals at random moments of tracing, compiling, running and
differentiating. After each, whatever it interrupted, no array may be read-only that was not, no setting of Python's or NumPy's
changed, nothing left of what the thread was doing, and the next result must be right.

`--xla` has programs run on XLA too. (jax does not undo all that it sets when it is interrupted itself; that is not counted.)
"""

from __future__ import annotations

import argparse
import collections
import gc
import random
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.context import capturing, context, open_traces, writing
from tracegrad.lax import cond, fori_loop, scan, while_loop
from tracegrad.nn import logsumexp, softmax
from tracegrad.ops.collective import psum
from tracegrad.transforms.control.checkpoint import checkpoint
from tracegrad.transforms.custom.functions import custom_vjp
from tracegrad.transforms.grad import grad, value_and_grad
from tracegrad.transforms.inspect import eval_shape, make_graph
from tracegrad.transforms.jacobian import hessian, jacfwd, jacrev
from tracegrad.transforms.jit.numpy import jit
from tracegrad.transforms.linearize import jvp, linear_transpose, linearize, vjp
from tracegrad.transforms.vmap import vmap


class Program(NamedTuple):
    """What is interrupted: a call, and how to make one that has everything before it still."""

    name: str
    make: Callable[[], Callable[[], Any]]
    anew: bool = False  # whether each call is of a new function, to be traced and compiled


X = np.linspace(0.1, 1.0, 6)
ROWS = np.stack([X, X**2, np.cos(X)])
SMALL, LARGE = np.linspace(1.0, 2.0, 6), np.sin(np.arange(6000.0)).reshape(1000, 6)
LONG = np.linspace(-1.0, 1.0, 300_000)
SQUARE = np.eye(6) * 3.0 + np.sin(np.arange(36.0)).reshape(6, 6)
OWNED = [X, ROWS, SMALL, LARGE, LONG, SQUARE, LARGE[10:]]


def _loss(x: Any) -> Any:
    y = LARGE @ np.tanh(x * SMALL) + LARGE[:, 0]
    return np.sum(np.log1p(y**2)) + logsumexp(softmax(y[:6])) + np.sum(np.where(x > 0.5, x, np.sinh(x) * SMALL))


def _writes(x: Any) -> Any:
    u = np.outer(x, SMALL)
    view = u[1:, ::2]
    view *= 2.0
    np.add.at(u, ([0, 0], [1, 1]), x[0])
    u.sort(axis=0)
    return np.sum(u[:, 0] * LARGE[:6, 0])


def _loops(x: Any) -> Any:
    carry, stacked = scan(lambda c, row: (np.sin(c * SMALL + row), np.sum(c)), x, LARGE[:8])
    last = while_loop(lambda s: s[0] < 4, lambda s: (s[0] + 1, s[1] * SMALL), (0, carry))[1]
    again = fori_loop(0, 3, lambda i, v: v + np.cos(v), last)
    return np.sum(stacked) + np.sum(cond(x[0] > 0.0, lambda v: v * SMALL, lambda v: v - SMALL, again))


def _algebra(x: Any) -> Any:
    a = SQUARE + np.outer(x, x)
    w, _ = np.linalg.eigh(a @ a.T)
    return np.sum(np.linalg.solve(a, x)) + np.log(np.linalg.det(a)) + np.sum(np.sqrt(w))


@custom_vjp
def _doubled(x: Any) -> Any:
    return x * 2.0 * SMALL


_doubled.defvjp(lambda x: (x * 2.0 * SMALL, (x, SMALL)), lambda kept, ct: (ct * 2.0 * kept[1],))

_chain = lambda x: np.exp(np.sin(x) * 0.5 + x) / (1.0 + x * x) - np.tanh(x * LONG)


def programs(on_xla: bool = False) -> Iterator[Program]:
    """The programs, each warm or as for the first time."""
    everything = lambda x: (
        _loss(x) + _writes(x) + _loops(x) + np.sum(checkpoint(lambda v: np.sin(v * SMALL))(_doubled(x)))
    )
    eager: dict[str, Callable[[], Any]] = {
        # Small ones, in which it is the beginning and the end that are interrupted.
        "a small grad": lambda: grad(lambda x: np.sum(x * LARGE[0]))(X),
        "a small grad of a large array": lambda: grad(lambda x: np.sum(x * LARGE[:, :1]))(2.0),
        "a small softmax": lambda: grad(lambda x: softmax(x)[0])(X),
        "a small solve": lambda: grad(lambda x: np.sum(np.linalg.solve(SQUARE, x)))(X),
        "a small vmap": lambda: vmap(lambda x: x * LARGE[0])(ROWS),
        "a small jacobian": lambda: jacfwd(lambda x: x * LARGE[0])(X),
        "a small graph": lambda: make_graph(lambda x: x * LARGE[0])(X)(X),
        # And larger ones.
        "grad": lambda: grad(_loss)(X),
        "value_and_grad of writes": lambda: value_and_grad(_writes)(X),
        "grad of loops": lambda: grad(_loops)(X),
        "grad of algebra": lambda: grad(_algebra)(X),
        "grad of a custom rule and a checkpoint": lambda: grad(
            lambda x: np.sum(checkpoint(lambda v: np.sin(v * SMALL))(_doubled(x)))
        )(X),
        "vjp": lambda: vjp(lambda x: LARGE @ x, X)[1](LARGE[:, 0].copy()),
        "jvp": lambda: jvp(_loss, (X,), (SMALL,)),
        "linearize": lambda: linearize(_loss, X)[1](SMALL),
        "linear_transpose": lambda: linear_transpose(lambda x: LARGE[:6] @ x, X)(SMALL),
        "hessian": lambda: hessian(lambda x: np.sum(np.sin(x * SMALL) ** 3))(X),
        "jacobians": lambda: (jacfwd(lambda x: x * np.sin(x))(X), jacrev(lambda x: x * np.sin(x))(X)),
        "vmap of grad": lambda: vmap(grad(_loss))(ROWS),
        "vmap with a name": lambda: vmap(lambda x: x / psum(x * SMALL, "i"), axis_name="i")(ROWS),
        "vmap in chunks": lambda: vmap(lambda x: np.sin(x) * SMALL, batch_size=2)(ROWS),
        "make_graph": lambda: make_graph(grad(_loops))(X)(X),
        "eval_shape": lambda: eval_shape(_loss, X).shape,
    }
    for name, call in eager.items():
        yield Program(name, lambda call=call: call)  # type: ignore[misc]
    compiled: dict[str, tuple[Callable[[], Any], tuple[Any, ...]]] = {
        "jit": (lambda: jit(lambda x: everything(x)), (X,)),
        "jit of grad": (lambda: jit(grad(lambda x: everything(x))), (X,)),
        "jit of vmap": (lambda: jit(vmap(grad(lambda x: _loss(x) + _loops(x)))), (ROWS,)),
        "grad of jit": (lambda: grad(jit(lambda x: everything(x))), (X,)),
        "jit of a chain in blocks": (lambda: jit(lambda x: _chain(x)), (LONG,)),
    }
    if on_xla:
        compiled["jit on XLA"] = (lambda: jit(lambda x: _loss(x), backend="xla"), (X,))
        compiled["jit of grad on XLA"] = (lambda: jit(grad(lambda x: _loss(x) + _loops(x)), backend="xla"), (X,))
    for name, (new, args) in compiled.items():
        yield Program(f"{name}, anew", lambda new=new, args=args: lambda: new()(*args), anew=True)  # type: ignore[misc]
        yield Program(f"{name}, compiled", lambda new=new, args=args: _warm(new(), args))  # type: ignore[misc]


def _warm(function: Callable[..., Any], args: tuple[Any, ...]) -> Callable[[], Any]:
    function(*args)
    return lambda: function(*args)


def state() -> dict[str, Any]:
    """All that an interrupt must leave as it is."""
    return {
        "flags of arrays": [x.flags.writeable for x in OWNED],
        "the collector": (gc.isenabled(), gc.get_threshold()),
        "NumPy's errors": (np.geterr(), np.geterrcall()),
        "the recursion limit": sys.getrecursionlimit(),
        "filters of warnings": list(warnings.filters),
        "named axes": (context.bound, context.batching, context.start),
        "the trace of types": context.trace,
        "the rule's line": context.cell,
        "boxes": context.boxes,
        "traces that capture": dict(capturing),
        "open traces": list(open_traces),
        "traces written into": set(writing),
    }


def restore(before: Mapping[str, Any]) -> None:
    """Put all of it back, so that one fault is counted once."""
    for x, flag in zip(OWNED, before["flags of arrays"], strict=True):
        x.flags.writeable = flag
    (gc.enable if before["the collector"][0] else gc.disable)()
    gc.set_threshold(*before["the collector"][1])
    np.seterr(**before["NumPy's errors"][0])
    np.seterrcall(before["NumPy's errors"][1])
    sys.setrecursionlimit(before["the recursion limit"])
    warnings.filters[:] = before["filters of warnings"]  # type: ignore[index]
    context.bound, context.batching, context.start = before["named axes"]
    context.trace, context.cell, context.boxes = (
        before["the trace of types"],
        before["the rule's line"],
        before["boxes"],
    )
    for table in (capturing, open_traces, writing):
        table.clear()


class Report(NamedTuple):
    """How many signals were sent, how many of them interrupted a call, and what was wrong afterwards, by how often."""

    sent: int
    interrupted: int
    faults: collections.Counter[str]


def interrupt(count: int, seed: int = 0, on_xla: bool = False) -> Report:
    """Interrupt the programs in turn by so many signals. It runs in the main thread, where Python handles signals."""
    rng = random.Random(seed)

    def handler(*_: Any) -> None:
        raise KeyboardInterrupt

    found, ignored = list(programs(on_xla)), 0
    calls = [program.make() for program in found]
    expected = [call() for call in calls]
    durations = [_duration(call) for call in calls]
    contents = [x.tobytes() for x in OWNED]
    before = state()
    faults: collections.Counter[str] = collections.Counter()
    outer, hook = signal.signal(signal.SIGALRM, handler), sys.unraisablehook
    sys.unraisablehook = lambda _: None  # what a signal interrupts may be a finalizer, which says so and goes on
    try:
        for number in range(count):
            k = number % len(found)
            interrupted = False
            try:
                # In the midst, as long as the call takes, and now and then just before it ends or after.
                signal.setitimer(signal.ITIMER_REAL, max(rng.uniform(0.0, 1.05 * durations[k]), 2e-6))
                calls[k]()
                signal.setitimer(signal.ITIMER_REAL, 0.0)
            except BaseException as error:
                if not _is_of_signal(error):
                    raise
                interrupted = True
            ignored += not interrupted
            now = state()
            for what, value in before.items():
                if now[what] != value:
                    faults[f"{found[k].name}: {what}"] += 1
            if now != before:
                restore(before)
            if [x.tobytes() for x in OWNED] != contents:
                faults[f"{found[k].name}: contents of arrays"] += 1
            try:
                _require_same(calls[k](), expected[k])
                if not found[k].anew and number % 37 == 0:
                    _require_same(found[k].make()(), expected[k])
            except Exception as error:
                faults[f"{found[k].name}: the next result, {type(error).__name__}: {str(error)[:200]}"] += 1
                calls[k] = found[k].make()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, outer)
        sys.unraisablehook = hook
    return Report(count, count - ignored, faults)


def interrupt_everywhere(program: Program, step: int = 1) -> Report:
    """Interrupt a program at each place where Python may handle a signal in it: at the beginning of each function of
    Python's and after each call of one of C's. (Or at every `step`-th of these.)"""
    call = program.make()
    expected, before, faults = call(), state(), collections.Counter[str]()
    number, where = 1, "the beginning"
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        while where:
            reached, where = 0, ""

            def profile(frame: Any, event: str, _: Any, number: int = number) -> None:
                nonlocal reached, where
                if event in ("call", "c_return"):
                    reached += 1
                    if reached == number:
                        where = _place(frame)
                        raise KeyboardInterrupt

            try:
                sys.setprofile(profile)
                call()
            except BaseException as error:
                sys.setprofile(None)
                if not _is_of_signal(error):
                    raise
            finally:
                sys.setprofile(None)
            if (now := state()) != before:
                for what, value in before.items():
                    if now[what] != value:
                        faults[f"{program.name}, interrupted in {where}: {what}"] += 1
                restore(before)
            if number % 16 == 0 or not where:
                _require_same(call(), expected)
            number += step
    finally:
        sys.unraisablehook = hook
    return Report(number - 1, number - 1, faults)


def _place(frame: Any) -> str:
    """Where a frame stands, and its callers."""
    found: list[str] = []
    while frame is not None and len(found) < 3:
        found.append(f"{frame.f_code.co_name} ({frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno})")
        frame = frame.f_back
    return " < ".join(found)


def _is_of_signal(error: BaseException | None) -> bool:
    """Whether a signal is why it was raised: where C code goes on after one, Python says so by an error of its own."""
    while error is not None and type(error) is not KeyboardInterrupt:
        error = error.__cause__ or error.__context__
    return error is not None


def _duration(call: Callable[[], Any]) -> float:
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def _require_same(got: Any, expected: Any) -> None:
    for g, e in zip(tree.tree_leaves(got), tree.tree_leaves(expected), strict=True):
        np.testing.assert_allclose(np.asarray(g), np.asarray(e), rtol=1e-10, atol=1e-12)


def main(argv: list[str] | None = None) -> int:
    """What `python -m tracegrad.testing.interrupts` runs: 1 if anything was wrong, else 0."""
    parser = argparse.ArgumentParser(prog="python -m tracegrad.testing.interrupts", description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=1000, help="how many signals")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--xla", action="store_true", help="programs on XLA too")
    options = parser.parse_args(argv)
    report = interrupt(options.count, options.seed, options.xla)
    for fault, times in report.faults.most_common():
        print(f"{times} times {fault}")
    print(f"{report.sent} signals, of which {report.interrupted} interrupted a call; {report.faults.total()} faults")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
