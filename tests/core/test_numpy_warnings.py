"""NumPy's warnings: of the user's line, once for each, as the user's filters and np.errstate have it."""

from __future__ import annotations

import inspect
import subprocess
import sys
import threading
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tests import ROOT
from tracegrad.core.numpy_warnings import again, has_warned, watch

X = np.array([0.0, 1.0, 1000.0])
FILE = __file__


def f(x: Any) -> Any:
    a = np.exp(x)  # over
    b = 1 / x  # divide
    return np.sum(np.log(x) * 0 + a + b)  # log


def line(name: str) -> int:
    return next(i for i, text in enumerate(Path(FILE).read_text().splitlines(), 1) if text.endswith(f"  # {name}"))


def warned(call: Callable[[], Any], how: Any = "always") -> list[tuple[str, int]]:
    """What it warns of, with the lines, all of which are in this file."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter(how)
        call()
    assert {w.filename for w in found} <= {FILE}, [(str(w.message), w.filename) for w in found]
    assert {w.category for w in found} <= {RuntimeWarning}
    return [(str(w.message), w.lineno) for w in found]


OVERFLOW = "overflow encountered in exp"
DIVIDE = "divide by zero encountered in divide"
LOG = "divide by zero encountered in log"

WAYS: dict[str, Callable[[], Any]] = {
    "grad": lambda: tg.grad(f)(X),
    "vjp": lambda: tg.vjp(f, X),
    "jvp": lambda: tg.jvp(f, (X,), (X,)),
    "linearize": lambda: tg.linearize(f, X),
    "hessian": lambda: tg.hessian(f)(X),
    "vmap": lambda: tg.vmap(f)(X[None]),
    "jit": lambda: tg.jit(f)(X),
    "grad of jit": lambda: tg.grad(tg.jit(f))(X),
    "checkpoint": lambda: tg.grad(tg.checkpoint(f))(X),
    "map": lambda: tg.lax.map(f, X[None]),
    "cond under jit": lambda: tg.jit(lambda x: tg.lax.cond(x[1] > 0, f, np.sum, x))(X),
    "graph": lambda: tg.make_graph(f)(X)(X),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_line_has_its_own_warning(way: str) -> None:
    found = warned(WAYS[way])
    assert {(OVERFLOW, line("over")), (DIVIDE, line("divide")), (LOG, line("log"))} <= set(found)
    assert {at for _, at in found} <= {line("over"), line("divide"), line("log")}


def test_a_derivative_warns_of_the_line_that_it_is_the_derivative_of() -> None:
    def root(x: Any) -> Any:
        y = np.sum(np.sqrt(x))  # root
        return y * 1.0

    for call in (
        lambda: tg.grad(root)(X),
        lambda: tg.jvp(root, (X,), (X,)),
        lambda: tg.jit(tg.grad(root))(X),
        lambda: tg.vmap(tg.grad(root))(X[None]),
        lambda: tg.vjp(root, X)[1](1.0),
        lambda: tg.grad(tg.jit(root))(X),
    ):
        found = warned(call)
        assert found and {at for _, at in found} == {line("root")}, found


def test_results_are_those_without_a_warning() -> None:
    for way in (tg.grad(f), tg.jit(f), tg.jit(tg.grad(f)), tg.vmap(f)):
        x = X[None] if way is not None and "vmap" in repr(way) else X[None] if way.__name__.startswith("vmap") else X
        with np.errstate(all="ignore"):
            expected = way(x)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            np.testing.assert_array_equal(way(x), expected)


def test_eager_functions() -> None:
    assert warned(lambda: tnp.log(X)) == [(LOG, inspect.currentframe().f_lineno)]  # type: ignore[union-attr]
    assert warned(lambda: tnp.sqrt(-X))[0][0] == "invalid value encountered in sqrt"


def test_once_for_each_line_of_the_user() -> None:
    """As Python's default has it: by the registry of the user's module."""
    source = "def f(x):\n    y = np.exp(x)\n    return np.sum(np.exp(x) + y)\n"
    namespace: dict[str, Any] = {"np": np, "__name__": "model"}
    exec(compile(source, "/tmp/model.py", "exec"), namespace)
    gradient, jitted, large = tg.grad(namespace["f"]), tg.jit(namespace["f"]), np.array([1000.0, 1.0])
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("default")
        for _ in range(3):
            gradient(large)
        assert sorted([(w.filename, w.lineno) for w in found]) == [("/tmp/model.py", 2), ("/tmp/model.py", 3)]
        assert set(namespace["__warningregistry__"]) >= {(OVERFLOW, RuntimeWarning, 2), (OVERFLOW, RuntimeWarning, 3)}
        for _ in range(3):
            jitted(large)
    assert len(found) <= 4  # a program knows the file, and not its globals


def test_the_users_errstate_decides() -> None:
    seen: list[Any] = []
    for way in (tg.grad(f), tg.jit(f), tg.jit(tg.grad(f))):
        with np.errstate(all="ignore"):
            assert warned(lambda: way(X)) == []
        with np.errstate(all="raise"), pytest.raises(FloatingPointError, match=rf"exp\n  in .* at .*:{line('over')} "):
            way(X)
        with np.errstate(over="call", divide="ignore", invalid="warn", call=lambda *a: seen.append(a)):
            found = warned(lambda: way(X))
        assert {text.split()[0] for text, _ in found} <= {"invalid"}
        assert seen and {kind for kind, _ in seen} == {"overflow"}
        before = np.geterr(), np.geterrcall()
        warned(lambda: way(X))
        assert (np.geterr(), np.geterrcall()) == before


def test_the_users_log_and_calls_get_theirs_and_no_more() -> None:
    class Log:
        texts: list[str]

        def __init__(self) -> None:
            self.texts = []

        def write(self, text: str) -> None:
            self.texts.append(text)

    log = Log()
    with np.errstate(over="log", divide="warn", invalid="ignore", call=log):
        found = warned(lambda: tg.grad(f)(X))
    assert log.texts == [f"Warning: {OVERFLOW}\n"]
    assert {(DIVIDE, line("divide")), (LOG, line("log"))} <= set(found)

    def own(x: Any) -> Any:
        with np.errstate(all="ignore"):
            y = np.exp(x)
        return np.sum(y)

    assert warned(lambda: tg.grad(own)(X)) == []


def test_warnings_as_errors() -> None:
    for way in (tg.grad(f), tg.jit(f), tg.vmap(lambda x: f(x[None]))):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(RuntimeWarning, match=OVERFLOW):
                way(X)
    assert tg.grad(np.sum)(X).tolist() == [1.0, 1.0, 1.0]


def test_in_threads_and_in_blocks() -> None:
    large = np.full(1 << 19, 1000.0)
    found = warned(lambda: tg.jit(lambda x: np.exp(np.exp(np.exp(x))) + 1)(large))
    assert set(found) == {(OVERFLOW, inspect.currentframe().f_lineno - 1)}  # type: ignore[union-attr]
    with warnings.catch_warnings(record=True) as recorded:
        warnings.simplefilter("always")
        threads = [threading.Thread(target=lambda: tg.grad(f)(X)) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert {w.filename for w in recorded} == {FILE}


def test_other_warnings_are_told_of_where_they_arise() -> None:
    module = types.ModuleType("watched")
    exec("import warnings\ndef f(x):\n    warnings.warn('old', DeprecationWarning)\n    return x + 1", module.__dict__)
    watch(module.__dict__)
    with pytest.raises(TypeError) as caught:
        module.f(1)
    assert has_warned(caught.value) and not has_warned(TypeError("another"))
    with pytest.warns(DeprecationWarning, match="old"):
        assert again(module.f, 1) == 2
    with pytest.raises(TypeError):  # and are noticed from then on as before
        module.f(1)


SCRIPT = """
import numpy as np, tracegrad as tg
def f(x):
    y = np.exp(x)
    return np.sum(1 / x + y)
x = np.array([0.0, 1000.0])
for _ in range(2):
    tg.grad(f)(x)
"""


def test_a_script_shows_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "model.py"
    path.write_text(SCRIPT)
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=True, cwd=ROOT)
    shown = [text for text in done.stderr.splitlines() if "Warning" in text]
    assert f"{path}:4: RuntimeWarning: {OVERFLOW}" in shown and f"{path}:5: RuntimeWarning: {DIVIDE}" in shown
    assert len(set(shown)) == len(shown) and "  y = np.exp(x)" in done.stderr.splitlines()


INF = np.inf
EVERYWHERE: dict[str, Callable[[], Any]] = {
    "sums": lambda: tg.grad(lambda x: np.sum(x * INF) - np.sum(x * INF))(np.ones(2)),
    "masks": lambda: tg.grad(lambda x: np.sum(np.where(x > 0, x, 0) * INF) - np.sum(np.maximum(x, 0) * INF))(X),
    "folded": lambda: tg.jit(lambda x: x + np.exp(tnp.full(2, 1000.0)))(np.ones(2)),
    "fast": lambda: tg.jit(lambda x: x / 0.0, fast=True)(np.ones(2)),
    "integers": lambda: tg.jit(lambda x: x // 0)(np.ones(2, int)),
    "a cast": lambda: tg.grad(lambda x: np.sum((x * 1e300).astype(np.float32)))(np.ones(2)),
    "an update": lambda: tg.grad(lambda x: np.sum(tnp.at(x)[0].divide(0.0)))(np.ones(2)),
    "in place": lambda: tg.grad(lambda x: np.sum(x.__itruediv__(0.0)))(np.ones(2)),
    "cumprod": lambda: tg.grad(lambda x: np.sum(np.cumprod(x)))(np.full(3, 1e200)),
    "var": lambda: tg.grad(lambda x: np.var(x, ddof=3))(np.ones(3)),
    "logsumexp": lambda: tg.grad(lambda x: tg.nn.logsumexp(x))(np.array([INF, INF])),
    "mean of nothing": lambda: tg.grad(lambda x: np.mean(x))(np.zeros(0)),
    "spectral": lambda: tg.grad(lambda x: np.sum(np.log(np.linalg.eigh(x)[0])))(np.zeros((2, 2))),
    "loop": lambda: tg.grad(lambda x: tg.lax.scan(lambda c, a: (c * a, None), 1e200, x)[0])(np.full(3, 1e100)),
    "powers": lambda: tg.hessian(lambda x: np.sum(x**0.5))(np.zeros(2)),
}


@pytest.mark.parametrize("name", EVERYWHERE)
def test_wherever_it_is_computed(name: str) -> None:
    found = warned(EVERYWHERE[name])
    assert found and {at for _, at in found} == {EVERYWHERE[name].__code__.co_firstlineno}
