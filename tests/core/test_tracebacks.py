"""Tracebacks end in the user's frame, wherever the user's code is: in a script, a notebook, under any transforms."""

from __future__ import annotations

import json
import linecache
import os
import pdb
import re
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests import ROOT
from tracegrad.core.errors import ShapeError
from tracegrad.core.tracebacks import trim

PACKAGE = str(ROOT / "tracegrad")


@pytest.fixture(autouse=True)
def _as_users_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRACEGRAD_TRACEBACKS")


def entries(error: BaseException) -> list[traceback.FrameSummary]:
    return list(traceback.extract_tb(error.__traceback__))


def raised(function: Callable[..., Any], *args: Any) -> Any:
    try:
        function(*args)
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def functions(error: BaseException) -> list[str]:
    """The names of the frames behind that of `raised`."""
    return [entry.name for entry in entries(error)[1:]]


# ---------------------------------------------------------------------------------------------------------------------
# Thirty mistakes: the error, and a program in which it is raised at the line marked with `!`.

HEAD = """
import math
import numpy as np
import tracegrad as tg
import tracegrad.numpy as tnp
x = np.array([0.3, -1.2, 2.0])
class Own(Exception): pass
"""

MISTAKES = {
    "shapes": ("ShapeError", "def f(x):\n    return np.sum(x @ np.ones(5))  #!\ntg.grad(f)(x)"),
    "shapes under jit": ("ShapeError", "def f(x):\n    return x + np.ones(5)  #!\ntg.jit(f)(x)"),
    "shapes under vmap": ("ShapeError", "def f(x):\n    return np.dot(x, np.ones(2))  #!\ntg.vmap(f)(np.ones((2, 3)))"),
    "axis": ("AxisError", "def f(x):\n    return np.sum(x, axis=3)  #!\ntg.grad(f)(x)"),
    "reshape": ("ShapeError", "def f(x):\n    return x.reshape(2, 2).sum()  #!\ntg.jit(tg.grad(f))(x)"),
    "index": ("IndexError", "def f(x):\n    return x[7]  #!\ntg.grad(f)(x)"),
    "math": ("ConcretizationTypeError", "def f(x):\n    return math.sin(x[0])  #!\ntg.grad(f)(x)"),
    "float under jit": ("ConcretizationTypeError", "def f(x):\n    return x * float(x[0])  #!\ntg.jit(f, branches='error')(x)"),
    "if under jit": ("ConcretizationTypeError", "def f(x):\n    if x[0] > 0:  #!\n        return x\n    return -x\ntg.jit(f, branches='error')(x)"),
    "while under jit": ("ConcretizationTypeError", "def f(x):\n    while x < 3:  #!\n        x = 2 * x\n    return x\ntg.jit(f, branches='error')(1.0)"),
    "if under vmap": ("ConcretizationTypeError", "def f(x):\n    return x if x > 0 else -x  #!\ntg.vmap(tg.grad(f))(x)"),
    "size under jit": ("ConcretizationTypeError", "def f(n):\n    return np.zeros(n)  #!\ntg.jit(f, branches='error')(3)"),
    "assignment": ("TracerArrayConversionError", "def f(x):\n    y = np.zeros(3)\n    y[0] = x[0]  #!\n    return np.sum(y)\ntg.grad(f)(x)"),
    "np.array": ("TracerArrayConversionError", "def f(x):\n    return np.asarray([x, x]).sum()  #!\ntg.grad(f)(x)"),
    "unsupported": ("UnsupportedFunctionError", "def f(x):\n    return np.sum(np.busday_count(x, x))  #!\ntg.grad(f)(x)"),
    "dtype": ("DtypeError", "tg.grad(np.sum)(np.arange(3))  #!"),
    "not a scalar": ("DifferentiationError", "tg.grad(lambda x: 2 * x)(x)  #!"),
    "not a function": ("TypeError", "tg.grad(np.sum(x))  #!"),
    "argnums": ("DifferentiationError", "tg.grad(np.sum, argnums=4)(x)  #!"),
    "static": ("ValueError", "tg.jit(lambda x: x, static_argnums=3)  #!"),
    "in_axes": ("ShapeError", "tg.vmap(lambda x, y: x, in_axes=(0,))(x, x)  #!"),
    "sizes of vmap": ("ShapeError", "tg.vmap(lambda x, y: x * y)(x, np.ones(4))  #!"),
    "own": ("Own", "def g(x):\n    raise Own(x)  #!\ndef f(x):\n    return tg.jit(tg.vmap(g))(x)\ntg.grad(f)(x)"),
    "in scan": ("KeyError", "def step(c, a):\n    return {}['a'], a  #!\ntg.grad(lambda x: tg.lax.scan(step, 0.0, x)[0])(x)"),
    "carry": ("ShapeError", "def f(x):\n    return tg.lax.scan(lambda c, a: ((c, c), a), 0.0, x)[0]  #!\ntg.jit(f)(x)"),
    "in a branch": (
        "Own",
        "def yes(x):\n    raise Own('yes')  #!\ndef f(x):\n    return tg.lax.cond(x > 0, yes, lambda x: x, x)\ntg.jit(tg.grad(f))(1.0)",
    ),
    "branches": ("TypeError", "def f(x):\n    return tg.lax.cond(x > 0, lambda: x, lambda: (x, x))  #!\ntg.jit(f)(1.0)"),
    "in a rule": (
        "Own",
        "@tg.custom_vjp\ndef g(x):\n    return x\ndef bwd(r, ct):\n    raise Own('bwd')  #!\ng.defvjp(lambda x: (x, None), bwd)\n"
        "tg.jit(tg.grad(lambda x: np.sum(g(x))))(x)",
    ),
    "out of a rule": (
        "DifferentiationError",
        "@tg.custom_vjp\ndef g(x):\n    return x\ng.defvjp(lambda x: (x, None), lambda r, ct: ct)\ntg.grad(lambda x: np.sum(g(x)))(x)  #!",
    ),
    "in a jvp rule": (
        "Own",
        "@tg.custom_jvp\ndef g(x):\n    return x\n@g.defjvp\ndef rule(p, t):\n    raise Own('jvp')  #!\ntg.grad(lambda x: np.sum(g(x)))(x)",
    ),
    "in a tree": (
        "Own",
        "class Node: pass\ndef flatten(n):\n    raise Own('flatten')  #!\ntg.tree_util.register_pytree_node(Node, flatten, None)\n"
        "tg.jit(lambda x: Node())(x)",
    ),
    "leak": ("UnexpectedTracerError", "kept = []\ntg.grad(lambda x: (kept.append(x), np.sum(x))[1])(x)\ndef f(x):\n    return np.sum(x * kept[0])  #!\ntg.grad(f)(x)"),
    "leak outside": ("UnexpectedTracerError", "kept = []\ntg.vmap(lambda x: (kept.append(x), x)[1])(x)\ntnp.sum(kept[0])  #!"),
    "singular": ("LinAlgError", "def f(x):\n    return np.sum(np.linalg.inv(np.outer(x, x) * 0))  #!\ntg.grad(f)(x)"),
    "cotangent": ("ShapeError", "out, pull = tg.vjp(np.sin, x)\npull(np.ones(2))  #!"),
    "tangent": ("ShapeError", "tg.jvp(np.sin, (x,), (np.ones(2),))  #!"),
    "eager": ("ValueError", "tnp.matmul(x, np.ones(5))  #!"),
    "graph": ("ShapeError", "graph = tg.make_graph(np.sin)(x)\ngraph(np.ones(5))  #!"),
    "hessian": ("ShapeError", "def f(x):\n    return np.sum(x.T @ np.ones((2, 2)) @ x)  #!\ntg.hessian(f)(x)"),
    "checkpoint": ("ConcretizationTypeError", "@tg.checkpoint\ndef f(x):\n    return x if np.sum(x) > 0 else -x  #!\ntg.grad(lambda x: np.sum(f(x)))(x)"),
    "recursion": ("RecursionError", "def f(x):\n    return f(x + 1)  #!\ntg.grad(f)(1.0)"),
    "interrupt": ("KeyboardInterrupt", "def f(x):\n    raise KeyboardInterrupt  #!\ntg.jit(tg.grad(f))(1.0)"),
    "generator": ("Own", "def parts(x):\n    yield x[0]\n    raise Own('part')  #!\ntg.grad(lambda x: sum(parts(x)))(x)"),
}  # fmt: skip


def program(name: str) -> str:
    return f"{HEAD}{MISTAKES[name][1]}\n"


def check(name: str, kind: str, frames: list[tuple[str, int, str]], file: str) -> None:
    """The error, its traceback's frames behind that of the test, and where the program stands."""
    assert kind == MISTAKES[name][0]
    last, line, _ = frames[-1]
    lines = program(name).splitlines()
    if name != "recursion":  # which may be noticed anywhere
        assert (last, lines[line - 1][-2:]) == (file, "#!"), frames[-1]
    assert not [f for f, _, _ in frames if f.startswith((PACKAGE, "<tracegrad"))]


@pytest.mark.parametrize(
    "file", ["/tmp/model.py", "<ipython-input-3-0123456789ab>", "/tmp/ipykernel_7/123456.py", "<string>"]
)
@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_end_in_the_users_frame(name: str, file: str) -> None:
    source = program(name)
    if file != "<string>":
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    try:
        error = raised(exec, compile(source, file, "exec"), {"__name__": "__main__"})
        frames = [(e.filename, e.lineno or 0, e.name) for e in entries(error)[1:]]
        check(name, type(error).__name__, frames, file)
    finally:
        linecache.cache.pop(file, None)


SCRIPT = """
import json, runpy, sys, traceback
out = {}
for name, file in json.loads(sys.argv[1]).items():
    try:
        runpy.run_path(file)
    except BaseException as error:
        out[name] = [type(error).__name__, [(e.filename, e.lineno, e.name) for e in traceback.extract_tb(error.__traceback__)]]
print(json.dumps(out))
"""


def test_mistakes_in_scripts(tmp_path: Path) -> None:
    files = {}
    for i, name in enumerate(MISTAKES):
        path = tmp_path / f"mistake{i}.py"
        path.write_text(program(name))
        files[name] = str(path)
    command = [sys.executable, "-c", SCRIPT, json.dumps(files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=_environment())
    for name, (kind, frames) in json.loads(done.stdout).items():
        check(name, kind, frames, files[name])


def test_a_script_prints_the_users_lines_alone(tmp_path: Path) -> None:
    path = tmp_path / "model.py"
    path.write_text(program("own"))
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, cwd=ROOT, env=_environment())
    files = [line for line in done.stderr.splitlines() if line.startswith('  File "')]
    assert [line.rsplit(" ", 1)[1] for line in files] == ["<module>", "f", "g"]
    done = subprocess.run(
        [sys.executable, str(path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=_environment(TRACEGRAD_TRACEBACKS="full"),
    )
    assert len([line for line in done.stderr.splitlines() if PACKAGE in line]) > 5


def _environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k != "TRACEGRAD_TRACEBACKS"}
    return kept | {"PYTHONPATH": str(ROOT)} | more


# ---------------------------------------------------------------------------------------------------------------------
# What passes through besides.


class Own(Exception):
    def __init__(self, text: str, number: int) -> None:
        super().__init__(text)
        self.number = number


X = np.array([0.3, -1.2, 2.0])


def fail(x: Any) -> Any:
    raise Own("mine", 7)


NESTS: dict[str, Callable[[Any], Any]] = {
    "grad": lambda f: tg.grad(f)(X),
    "value_and_grad": lambda f: tg.value_and_grad(f)(X),
    "grad of a tree": lambda f: tg.grad(lambda p: f(p["x"]))({"x": X}),
    "vjp": lambda f: tg.vjp(f, X),
    "jvp": lambda f: tg.jvp(f, (X,), (X,)),
    "linearize": lambda f: tg.linearize(f, X),
    "linear_transpose": lambda f: tg.linear_transpose(f, X),
    "jacfwd": lambda f: tg.jacfwd(f)(X),
    "jacrev": lambda f: tg.jacrev(f)(X),
    "hessian": lambda f: tg.hessian(f)(X),
    "hvp": lambda f: tg.hvp(f, (X,), (X,)),
    "vmap": lambda f: tg.vmap(f)(X),
    "jit": lambda f: tg.jit(f)(X),
    "jit on XLA": lambda f: tg.jit(f, backend="xla")(X),
    "lower": lambda f: tg.jit(f).lower(X),
    "checkpoint": lambda f: tg.checkpoint(f)(X),
    "make_graph": lambda f: tg.make_graph(f)(X),
    "eval_shape": lambda f: tg.eval_shape(f, X),
    "custom_jvp": lambda f: tg.custom_jvp(f)(X),
    "custom_vjp": lambda f: tg.custom_vjp(f)(X),
    "scan": lambda f: tg.lax.scan(lambda c, a: (f(a), a), 0.0, X),
    "while_loop": lambda f: tg.lax.while_loop(lambda x: f(x), lambda x: x, X),
    "cond": lambda f: tg.lax.cond(True, f, f, X),
    "map": lambda f: tg.lax.map(f, X),
    "nested": lambda f: tg.grad(tg.jit(tg.vmap(tg.checkpoint(tg.hessian(f)))))(X),
}


@pytest.mark.parametrize("name", NESTS)
def test_exceptions_of_users_pass_unchanged(name: str) -> None:
    error = raised(NESTS[name], fail)
    assert type(error) is Own and error.args == ("mine",) and error.number == 7
    assert set(functions(error)) == {"<lambda>", "fail"} and functions(error)[-1] == "fail"
    assert error.__cause__ is None and error.__context__ is None


def test_all_frames_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEGRAD_TRACEBACKS", "full")
    error = raised(tg.grad(tg.jit(fail)), X)
    assert len([e for e in entries(error) if e.filename.startswith(PACKAGE)]) > 3


def test_chains_stay() -> None:
    def f(x: Any) -> Any:
        try:
            return tg.jit(fail)(x)
        except Own as error:
            raise ValueError("around") from error

    error = raised(tg.grad(f), X)
    assert functions(error) == ["f"] and functions(error.__cause__) == ["fail"]

    def g(x: Any) -> Any:
        try:
            x @ np.ones(5)
        except ValueError:
            return fail(x)

    error = raised(tg.grad(g), X)
    assert isinstance(error.__context__, ShapeError)
    assert [e.name for e in entries(error.__context__)] == ["g"] and error.__context__.__context__ is None


def test_groups_and_their_parts() -> None:
    def f(x: Any) -> Any:
        errors = [raised(tg.grad(fail), X), raised(lambda: x @ np.ones(5))]
        raise ExceptionGroup("several", errors)

    error = raised(tg.jit(f), X)
    assert functions(error) == ["f"]
    assert [[e.name for e in entries(part)] for part in error.exceptions] == [
        ["raised", "fail"],
        ["raised", "<lambda>"],
    ]


def test_frames_of_other_libraries_stay() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    error = raised(lambda: optimize.minimize(tg.jit(lambda x: fail(x)), X))
    files = [e.filename for e in entries(error)[1:]]
    assert any("scipy" in file for file in files) and not any(file.startswith(PACKAGE) for file in files)
    assert functions(error)[0] == "<lambda>" and functions(error)[-2:] == ["<lambda>", "fail"]


def test_a_jax_array_is_no_exception_to_the_user() -> None:
    jnp = pytest.importorskip("jax.numpy")
    for transform in (tg.grad, tg.jit, tg.vmap):
        error = raised(lambda transform=transform: transform(lambda x: fail(x))(jnp.ones(3)))
        assert functions(error) == ["<lambda>", "<lambda>", "fail"]
        assert error.__cause__ is None and error.__context__ is None


def test_a_debugger_stops_in_the_users_function() -> None:
    def loss(w: Any) -> Any:
        mine = w * 2
        return np.sum(mine @ np.ones(5))

    error = raised(tg.grad(tg.jit(loss)), X)
    debugger = pdb.Pdb()
    debugger.reset()
    stack, position = debugger.get_stack(None, error.__traceback__)
    frame = stack[position][0]
    assert frame.f_code.co_name == "loss" and "mine" in frame.f_locals


def test_trim_of_what_has_no_frames() -> None:
    error = ValueError("never raised")
    trim(error)
    assert error.__traceback__ is None
    error.__context__ = error.__cause__ = KeyError("a")
    error.__context__.__context__ = error  # a ring
    trim(error)
    assert isinstance(error.__cause__, KeyError)


def test_traces_are_closed_whatever_passes() -> None:
    """Nothing of ours hangs on to the trace, and the next call is as ever."""
    for stop in (KeyboardInterrupt, SystemExit, GeneratorExit, StopIteration):

        def f(x: Any, stop: type[BaseException] = stop) -> Any:
            raise stop

        error = raised(tg.grad(f), X)
        assert type(error) is stop and functions(error) == ["f"]
    assert tg.grad(np.sum)(X).tolist() == [1.0, 1.0, 1.0]


def test_in_ipython() -> None:
    pytest.importorskip("IPython")
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shell.run_cell("import numpy as np, tracegrad as tg")
    result = shell.run_cell("def f(x):\n    return x @ np.ones(5)\ntg.grad(f)(np.ones(3))", store_history=True)
    error = result.error_in_exec
    assert [e.name for e in entries(error)[-2:]] == ["<module>", "f"]
    assert re.search(r"at Cell In\[\d+\], line 2 \(in f\)", str(error))


# ---------------------------------------------------------------------------------------------------------------------
# What is nested too deep.


@pytest.mark.parametrize("name", NESTS)
def test_nesting_without_end_says_what_is_nested_and_where(name: str) -> None:
    def f(x: Any) -> Any:
        return NESTS[name](f)

    error = raised(f, X)
    assert type(error) is RecursionError
    text = str(error)
    assert text.startswith("transforms, loops or branches are nested too deep in each other for Python's stack of "), (
        text
    )
    assert re.search(r" frames: tg\.[^ ]+.* at .*test_tracebacks.py:\d+ \(in <lambda>\)", text), text
    assert f"`sys.setrecursionlimit({4 * sys.getrecursionlimit()})` makes room." in text
    assert not [e for e in entries(error) if e.filename.startswith(PACKAGE)]


def _loops(x: Any, depth: int) -> Any:
    return tg.lax.scan(lambda c, _: (_loops(c, depth - 1), None), x, length=1)[0] if depth else np.sin(x)


def _maps(x: Any, depth: int) -> Any:
    return tg.vmap(lambda y: _maps(y, depth - 1), in_axes=None, axis_size=1)(x) if depth else np.sin(x)


@pytest.mark.parametrize(
    ("function", "depth", "what"),
    [
        (lambda: _loops(0.5, 60), 60, r"tg\.lax\.scan at .* \(in _loops\), \d\d times"),
        (lambda: _maps(0.5, 99), 99, r"tg\.vmap\(\.\.\.\) at .* \(in _maps\), \d\d times"),
        # What can be traced, but not be walked: the user's line is where that begins.
        (lambda: tg.grad(lambda x: _loops(x, 54))(0.5), 54, r"tg\.lax\.scan at .* \(in _loops\)\.$"),
    ],
)
def test_loops_in_loops_and_vmaps_in_vmaps(function: Callable[[], Any], depth: int, what: str) -> None:
    text = str(raised(function))
    assert re.search(what, text, re.MULTILINE), text
    for advice in ("one vmap over a reshaped axis", "one over all of their steps (np.unravel_index"):
        assert advice in text
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(4 * limit)
    try:
        if depth < 64:  # as many axes as NumPy's arrays may have
            assert np.isfinite(function())
    finally:
        sys.setrecursionlimit(limit)


def test_a_function_that_calls_itself_without_end_is_pythons_error() -> None:
    def f(x: Any) -> Any:
        return f(np.sin(x))

    assert str(raised(tg.grad(f), 1.0)).startswith("maximum recursion depth exceeded")
