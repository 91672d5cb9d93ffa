"""A program for each path through a function's branches: always what the function itself gives, and never more than there may be."""

from __future__ import annotations

import gc
import pickle
import threading
import warnings
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracegrad as tg
from tests.compare import same_bits
from tracegrad.core.errors import ConcretizationTypeError, PathsWarning

X = np.array([0.5, -1.5, 2.0])


def newton(a: Any) -> Any:
    x = a
    while abs(x * x - a) > 1e-10 * a:
        x = 0.5 * (x + a / x)
    return x


def bisect(f: Any, low: Any, high: Any, steps: int = 12) -> Any:
    for _ in range(steps):
        middle = 0.5 * (low + high)
        if f(middle) > 0:
            high = middle
        else:
            low = middle
    return 0.5 * (low + high)


def huber(w: Any, x: Any) -> Any:
    total = 0.0
    for e in np.tanh(x * w) - 0.3:
        total = total + (0.5 * e * e if abs(e) < 0.4 else 0.4 * (abs(e) - 0.2))
    if total > 1.0:
        total = np.sqrt(total)
    return total


def test_newton() -> None:
    jitted = tg.jit(newton)
    gradient, second = tg.jit(tg.grad(newton)), tg.jit(tg.grad(tg.grad(jitted)))
    for a in (2.0, 3.0, 100.0, 1e6, 2.0, 0.5, 3.0):
        same_bits(jitted(a), newton(a))
        same_bits(gradient(a), tg.grad(newton)(a))
        same_bits(tg.grad(jitted)(a), tg.grad(newton)(a))
        same_bits(second(a), tg.grad(tg.grad(newton))(a))
        assert gradient(a) == pytest.approx(0.5 / np.sqrt(a), rel=1e-8)
    # Numbers that take as many steps share a path.
    assert len(jitted.trace_log) < 6
    assert jitted.trace_log[0] == "first call"
    assert "path 2: `while` at test_paths.py:" in jitted.trace_log[1] and jitted.trace_log[1].endswith(" was True")
    assert len(set(gradient.trace_log)) == len(jitted.trace_log)


def test_bisection() -> None:
    f = lambda a: bisect(lambda x: x**3 - a, 0.0, a + 1.0)
    jitted = tg.jit(f, max_paths=4)
    numbers = np.linspace(0.1, 3.0, 8).tolist()
    with pytest.warns(PathsWarning, match=r"more than 4 paths .* `if` at test_paths.py:\d+ was"):
        found = list(map(jitted, numbers))
    same_bits(found, list(map(f, numbers)))
    assert sum("without a program" in line for line in jitted.trace_log) == 4
    for a in numbers:
        same_bits(jitted(a), f(a))
        same_bits(tg.grad(jitted)(a), tg.grad(f)(a))


def test_branches_of_a_loss_to_second_order() -> None:
    x = np.linspace(-2, 2, 4)
    loss = lambda w: huber(w, x)
    for transform in (lambda f: f, tg.grad, tg.value_and_grad, lambda f: tg.grad(tg.grad(f))):
        expected = transform(loss)
        for jitted in (tg.jit(transform(loss)), transform(tg.jit(loss)), tg.jit(transform(tg.jit(loss)))):
            for w in (0.1, 1.0, -2.0, 0.1):
                same_bits(jitted(w), expected(w))
    hessian = lambda f: tg.hessian(f)
    g = lambda w: loss(w[0]) * w[1] if w[1] > 0 else loss(w[1])
    for w in (np.array([0.3, 1.0]), np.array([0.3, -1.0])):
        same_bits(tg.jit(hessian(g))(w), hessian(g)(w))


def test_what_paths_share_is_run_once() -> None:
    ran: list[int] = []
    noted = tg.extend.elementwise(
        "noted",
        lambda x: (ran.append(1), np.sin(x))[1],
        lambda d, out, x: d * np.cos(x),
        infer=tg.extend.same_type,
        kinds="f",
    )
    try:

        @tg.jit
        def f(x: Any) -> Any:
            y = tg.extend.bind(noted, (x,))
            if y.sum() > 0:
                return y * 2
            return np.exp(y)

        for x in (X, -X, X, -X):
            f(x)
        ran.clear()
        same_bits(f(X), np.sin(X) * 2)
        assert len(ran) == 1
        same_bits(f(-X), np.exp(np.sin(-X)))
        assert len(ran) == 2
        assert len(f.trace_log) == 2
    finally:
        del tg.extend.OPS["noted"]


def test_a_function_that_asks_nothing_is_one_program() -> None:
    f = tg.jit(lambda x: np.sin(x) * 2)
    f(X)
    (entry,) = [value for _, value in f.signatures._entries._found.values()]
    assert entry.paths is None


def test_batches_are_refused_and_named() -> None:
    f = lambda x: x if x > 0 else -x
    for g in (tg.vmap(tg.jit(f)), tg.jit(tg.vmap(f))):
        with pytest.raises(ConcretizationTypeError, match=r"(?s)the vmap of .* `np\.where\(condition, a, b\)`"):
            g(X)
    # What all examples share decides for all.
    g = tg.jit(lambda x, n: tg.vmap(lambda x: x * 2 if n > 0 else -x)(x))
    same_bits([g(X, 1), g(X, -1)], [X * 2, -X])


def test_jit_in_jit() -> None:
    choose = lambda x: np.sin(x) if x.sum() > 0 else np.cos(x)
    nested = lambda f: lambda x: f(x) * 2 if f(x[::-1]).sum() < 1 else f(-x)
    outer = tg.jit(nested(tg.jit(choose)))
    for x in (X, -X, 3 * X, X):
        same_bits(outer(x), nested(choose)(x))
    within = tg.grad(lambda x: np.sum(outer(x) ** 2))
    for x in (X, -X):
        same_bits(tg.jit(within)(x), within(x))


def test_a_closure_over_what_is_traced() -> None:
    """The inner program would hold for one value of y alone."""

    def f(y: Any) -> Any:
        inner = tg.jit(lambda x: x * y if x > y else x / y)
        return inner(2.0) + inner(0.5)

    for y in (1.0, 3.0):
        same_bits(
            tg.grad(f)(y), tg.grad(lambda y: (2.0 * y if y < 2.0 else 2.0 / y) + (0.5 * y if y < 0.5 else 0.5 / y))(y)
        )
        same_bits(tg.jit(f)(y), f(y))


def test_arrays_from_outside_are_read_anew() -> None:
    c = np.array([1.0, 2.0])
    f = tg.jit(lambda x: x * c if (x - c).sum() > 0 else x + c)
    x = np.array([3.0, 4.0])
    same_bits([f(x), f(-x)], [x * c, -x + c])
    c[:] = 5.0, 6.0
    same_bits([f(x), f(-x)], [x + c, -x + c])
    c[:] = 1.0, 2.0
    same_bits([f(x), f(-x)], [x * c, -x + c])
    assert len(f.trace_log) == 2


def test_static_arguments_are_those_of_the_call() -> None:
    f = tg.jit(lambda x, names: x * len(names) if x > 0 else -x, static_argnums=1)
    names = ["a", "b"]
    assert f(1.0, names) == 2.0
    names.append("c")
    assert f(-1.0, ["a", "b"]) == 1.0 and f(1.0, names) == 3.0
    assert f(x=-2.0, names=names) == 2.0


def test_results_are_the_callers_own() -> None:
    def f(x: Any) -> Any:
        y = np.sin(x)
        z = y[1:]
        if y.sum() > 0:
            return x, y, z, z[::-1], y.T
        return y, y, x[1:], x

    jitted = tg.jit(f)
    for _ in range(2):
        for x in (X, -X):
            before = x.copy()
            results = jitted(x)
            same_bits(results, f(x))
            for r in results:
                r[...] = 7.0
            same_bits(x, before)


def test_donated_arguments() -> None:
    big = np.linspace(0.0, 1.0, 4096)

    def f(x: Any) -> Any:
        return x * 2 if x[0] > 0 else x + 1

    jitted = tg.jit(f, donate_argnums=0)
    for start in (big, big + 1, big, big + 1):
        same_bits(jitted(start.copy()), f(start))


def test_writes() -> None:
    def f(x: Any) -> Any:
        y = np.sort(x)
        if y[0] < 0:
            y[0] = 0.0
            if y[0] == 0:
                y[1:] *= 2
        x += 1
        if x[0] > 1:
            y += x
        return y, x

    jitted = tg.jit(f)
    for x in (X, -X, abs(X), X):
        before = x.copy()
        same_bits(jitted(x), f(x.copy()))
        same_bits(x, before)


def test_trees_keywords_and_other_results() -> None:
    def f(p: Any, *, flag: Any) -> Any:
        return {"a": p["w"] * 2, "n": None} if flag and p["b"] > 0 else [p["w"], 3.0]

    jitted = tg.jit(f)
    for _ in range(2):
        for flag in (True, False):
            for b in (1.0, -1.0):
                p = {"w": X, "b": b}
                same_bits(jitted(p, flag=flag), f(p, flag=flag))
    assert jitted.trace_log == [
        "first call",
        *[line for line in jitted.trace_log[1:] if line.startswith("path ")],
    ]


def test_an_error_on_one_path_leaves_the_others() -> None:
    def f(x: Any) -> Any:
        if x > 1:
            raise KeyError("x")
        return -x

    jitted = tg.jit(f)
    assert jitted(0.5) == -0.5
    for _ in range(2):
        with pytest.raises(KeyError):
            jitted(2.0)
        assert jitted(0.25) == -0.25
    assert jitted.trace_log == ["first call"]


def test_a_function_that_does_otherwise_is_followed_anew() -> None:
    """What it does depends on more than its arguments: never is an old path taken for a new one."""
    state = {"mode": 0}

    def f(x: Any) -> Any:
        y = np.sin(x) if state["mode"] else np.cos(x)
        return y if y > 0 else -2 * y

    jitted = tg.jit(f)
    same_bits(jitted(1.0), f(1.0))
    state["mode"] = 1
    same_bits(jitted(2.5), f(2.5))  # by the programs that there are it would go another way
    assert jitted.trace_log[1:] == [
        "the function does something else than before where it was followed; its paths are dropped",
        f"path 1: a truth value at test_paths.py:{f.__code__.co_firstlineno + 2} was True",
    ]
    same_bits([jitted(2.5), jitted(-2.5)], [f(2.5), f(-2.5)])


def test_long_loops() -> None:
    def f(x: Any) -> Any:
        while x < 100.0:
            x = x + 0.25
        return x

    jitted = tg.jit(f)
    for _ in range(2):
        same_bits([jitted(0.0), jitted(30.0)], [f(0.0), f(30.0)])
    (entry,) = [value for _, value in jitted.signatures._entries._found.values()]
    assert len(entry.paths.tree.functions) < 5  # the steps are one


def test_threads() -> None:
    f = lambda x, n: (x * 2 if n > 2 else -x).sum() * (1.0 if n % 2 == 0 else 3.0) + (np.exp(x[0]) if n > 3 else 0.0)
    jitted = tg.jit(f)
    wrong: list[Any] = []

    def work(start: int) -> None:
        for i in range(40):
            n = (start + i) % 6
            if jitted(X, n) != f(X, n):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []


def test_lower_shows_the_path_of_the_arguments() -> None:
    f = tg.jit(lambda x: np.sin(x) if x > 0 else np.cos(x))
    assert "sin" in f.lower(1.0).as_text() and "cos" in f.lower(-1.0).as_text()
    with pytest.raises(ConcretizationTypeError):
        f.lower(tg.ShapeDtypeStruct((), "float64"))


def test_options() -> None:
    with pytest.raises(ValueError, match=r"branches must be 'guard' or 'error', got 'both'"):
        tg.jit(np.sin, branches="both")
    with pytest.raises(ValueError, match=r"max_paths must be an int, at least 1, got 0"):
        tg.jit(np.sin, max_paths=0)


def _sign(x: Any) -> Any:
    return x if x > 0 else -x


module_level = tg.jit(_sign, max_paths=3)


def test_pickled_and_collected() -> None:
    copy = pickle.loads(pickle.dumps(tg.jit(_sign, max_paths=3)))
    assert copy(-1.0) == 1.0 and copy(2.0) == 2.0 and copy._follows == 3
    f = tg.jit(lambda x: _sign(x))
    assert [f(1.0), f(-1.0), f(1.0)] == [1.0] * 3
    reference = weakref.ref(f)
    gc.disable()
    try:
        del f
        assert reference() is None
    finally:
        gc.enable()


# ---------------------------------------------------------------------------------------------------------------------
# Random programs: a list of steps, some of which ask for a value of what there is and go one of two ways.

STEPS = {
    "sin": lambda x: np.sin(x),
    "scale": lambda x: x * 0.75 - 0.1,
    "roll": lambda x: x[::-1] + 1.0,
    "cumulate": lambda x: np.cumsum(x) / 2,
    "write": lambda x: _written(x),
    "float": lambda x: x * float(x[2]),
    "int": lambda x: _times_int(x),
    "jit": lambda x: tg.jit(lambda x: -x if x[1] < 0 else x / 2)(x),
    "loop": lambda x: _halved(x),
}
QUESTIONS = {
    "sum": lambda x: x.sum() > 0.5,
    "first": lambda x: x[0] > x[-1],
    "near": lambda x: np.all(abs(x) < 1.0),
    "int": lambda x: abs(x[1]) < 9.0 and int(2 * x[1]) % 2,
}


def _written(x: Any) -> Any:
    y = np.copy(x)
    y[0] = y[1] * 0.5
    return y


def _times_int(x: Any) -> Any:
    try:
        return x * int(x[0])
    except (ValueError, OverflowError):
        return x * 3.0


def _halved(x: Any) -> Any:
    for _ in range(4):
        if not abs(x.sum()) > 1:
            break
        x = x * 0.5
    return x


# What an answer may be wrong of, beside plain numbers.
numbers = st.one_of(st.floats(-2, 2), st.sampled_from([0.0, -0.0, np.nan, np.inf, -np.inf, 5e-324]))

programs = st.recursive(
    st.lists(st.sampled_from(sorted(STEPS)), max_size=3),
    lambda inner: st.tuples(inner, st.sampled_from(sorted(QUESTIONS)), inner, inner),
    max_leaves=6,
)


def run(program: Any, x: Any) -> Any:
    if type(program) is list:
        for step in program:
            x = STEPS[step](x)
        return x
    before, question, yes, no = program
    x = run(before, x)
    return run(yes, x) if QUESTIONS[question](x) else run(no, x)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(programs, st.lists(numbers, min_size=3, max_size=3))
def test_random_programs(program: Any, numbers: list[float]) -> None:
    f = lambda x: run(program, x)
    loss = lambda x: np.sum(run(program, x) ** 2)
    jitted, gradient = tg.jit(f, max_paths=3), tg.jit(tg.grad(loss))
    start = np.array(numbers)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", PathsWarning)
        for x in (start, -start, start + 0.7, start, -start):
            same_bits(jitted(x), f(x.copy()))
            if "float" not in repr(program):  # which would lose its derivative
                same_bits(gradient(x), tg.grad(loss)(x))
