"""What is loaded later is all there for whoever looks for it, from whichever end the package is loaded."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import threading

import pytest

import tracegrad as tg
from tests import ROOT
from tests.test_layers import module_name, modules
from tracegrad.core.late import LOADERS, Table, complete

PACKAGE = ROOT / "tracegrad"

# Prints what the tables hold once that is complete: after the modules of the arguments have been imported, or first of all
# the package itself, if there are none.
HELD = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
import numpy as np
from tracegrad.core.op import OPS
from tracegrad.core.functions import FUNCTIONS, SCIPY_FUNCTIONS, UFUNCS
def name(key):
    return key if isinstance(key, str) else f"{getattr(key, '__module__', '')}.{getattr(key, '__qualname__', key)}"
tables = (OPS, FUNCTIONS, UFUNCS, SCIPY_FUNCTIONS)
print([sorted([f"{name(k)}: {getattr(v, '__module__', v)}" for k, v in table.items()]) for table in tables])
"""


def run(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout


def test_the_tables_are_those_of_the_whole_package() -> None:
    """Of every module that there is, but for those on XLA and for tests."""
    names = [module_name(path) for path in modules()]
    rest = [n for n in names if not n.startswith(("tracegrad.xla.", "tracegrad.testing", "tracegrad.extend"))]
    later = run(HELD)
    assert later == run(HELD, *rest)
    assert all(f"'{op}: " in later for op in ("sin", "sort", "svd", "scan", "custom_call", "threefry2x32"))


@pytest.mark.slow  # two hundred processes
@pytest.mark.skipif(not hasattr(os, "fork"), reason="each module is imported in a process of its own")
def test_every_module_may_come_first() -> None:
    """Since it looks for nothing in the tables while it is loaded, when other modules cannot be."""
    code = """
import importlib, os, sys, tracegrad
from tracegrad.core.late import LOADERS
for module in sys.argv[1:]:
    if (child := os.fork()) == 0:
        importlib.import_module(module)
        os._exit("tables" not in LOADERS)
    assert os.waitpid(child, 0)[1] == 0, module
"""
    rooms = tuple([f"tracegrad.{room}" for room in ("ops", "numpy", "lax", "nn", "random", "transforms.control")])
    run(code, *[name for path in modules() if (name := module_name(path)).startswith(rooms)])


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Table[str, int]:
    monkeypatch.setattr("tracegrad.core.late._tables", [])
    made: Table[str, int] = Table()
    made["a"] = 1
    return made


def test_a_table_asks_once(table: Table[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []

    def load() -> None:
        loads.append(1)
        assert "c" not in table  # while it is loaded it is what it is
        table["b"] = 2

    monkeypatch.setitem(LOADERS, "tables", load)
    assert table["a"] == 1 and table.known("b") is None and table.get("a") == 1 and not loads
    assert (
        table["b"] == 2
        and "c" not in table
        and table.get("c", 3) == 3
        and list(table) == ["a", "b"]
        and len(loads) == 1
    )
    with pytest.raises(KeyError, match="c"):
        table["c"]
    monkeypatch.setitem(LOADERS, "tables", load)
    assert dict(table) == {"a": 1, "b": 2} and len(loads) == 2
    monkeypatch.setitem(LOADERS, "tables", load)
    assert len(table) == 2 == len(table.keys()) == len(table.values()) == len(table.items()) and len(loads) == 3


def test_what_fails_to_load_is_tried_again(table: Table[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> None:
        table["b"] = 2
        raise KeyboardInterrupt

    monkeypatch.setitem(LOADERS, "tables", load)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            table["c"]
        assert dict(dict.items(table)) == {"a": 1}


def test_an_interrupted_load_leaves_nothing_behind() -> None:
    """Wherever it comes: some files have been read, one has been in part, others not at all."""
    code = """
import numpy as np, tracegrad as tg
from tracegrad.core import op
made, init = [], op.Op.__init__
def interrupted(self, *args, **kwargs):
    init(self, *args, **kwargs)
    made.append(self)
    if len(made) == 60:
        raise KeyboardInterrupt
op.Op.__init__ = interrupted
f = tg.grad(lambda x: np.sum(np.sort(x) * np.arange(3.0)))
try:
    f(np.array([3.0, 1.0, 2.0]))
except KeyboardInterrupt:
    print(f(np.array([3.0, 1.0, 2.0])), np.linalg.det(tg.jacfwd(np.cumsum)(np.ones(3))), len(op.OPS))
"""
    assert run(code) == f"[2. 0. 1.] 1.0 {len(tg.extend.OPS)}\n"


def test_threads_wait_for_a_table() -> None:
    """The first four functions that threads call are in files that have not been loaded."""
    code = """
import threading, numpy as np, tracegrad as tg
functions = [np.linalg.inv, np.sort, np.fliplr, lambda x: np.cumsum(x, 1)] * 4
start, found = threading.Barrier(len(functions)), []
def work(f):
    start.wait()
    found.append(tg.grad(lambda x: np.sum(f(x) * np.arange(4.0).reshape(2, 2)))(np.eye(2) + 1.0).shape)
threads = [threading.Thread(target=work, args=(f,)) for f in functions]
[t.start() for t in threads]; [t.join() for t in threads]
print(set(found), len(found))
"""
    assert run(code) == "{(2, 2)} 16\n"


def test_a_first_gradient_loads_nothing() -> None:
    code = """
import sys, numpy as np, tracegrad as tg
before = set(sys.modules)
tg.value_and_grad(lambda p: np.mean(np.tanh(p["x"] * 2.0 - 1.0) ** 2 / (1.0 + np.exp(-p["x"]))) + np.sum(np.log(p["y"])))({"x": np.ones(3), "y": 2.0})
print(sorted(m for m in set(sys.modules) - before if m.startswith("tracegrad")))
print(sorted(m for m in before if m.startswith("tracegrad.") and m.split(".")[1] in ("lax", "lower", "nn", "numpy", "xla")))
print([m for m in ("dataclasses", "hashlib", "pathlib", "logging", "concurrent.futures", "numpy.typing") if m in before])
"""
    assert run(code) == "[]\n[]\n[]\n"


def test_public_names_are_those_of_the_checker() -> None:
    """What stands under TYPE_CHECKING is what is loaded later, and all of it is listed."""
    body = ast.parse((PACKAGE / "__init__.py").read_text()).body
    late, lazily = [node for node in body if isinstance(node, ast.If)]
    assert ast.unparse(lazily.test) == "not TYPE_CHECKING"
    imports = [node for node in late.body if isinstance(node, ast.ImportFrom)]
    stated = {a.name: f"{node.module}.{a.name}" for node in imports for a in node.names}
    modules = {name: f"tracegrad.{home}" for name, home in tg._MODULES.items()}
    names = {name: f"tracegrad.{home}.{name}" for name, home in tg._HOMES.items()}
    assert stated == modules | names
    assert stated.keys() <= set(tg.__all__) <= set(dir(tg))
    for name in tg.__all__:
        assert getattr(tg, name) is not None
    with pytest.raises(AttributeError, match="module 'tracegrad' has no attribute 'nothing'"):
        tg.nothing  # noqa: B018


def test_complete_does_nothing_more() -> None:
    complete()
    assert "tables" not in LOADERS


def test_a_name_of_an_op_that_comes_later_is_taken() -> None:
    code = """
from tracegrad.extend import Op
try:
    Op("svd", evaluate=abs, infer=lambda types, params: types[0])
except ValueError as error:
    print(error)
"""
    assert run(code) == "an op named 'svd' is registered already; choose another name\n"


def test_other_threads_see_a_table_when_its_files_have_been_read(
    table: Table[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what a file has put there that is only read in part: its functions may call others that are not there yet."""
    half, seen, found = threading.Event(), threading.Event(), []

    def load() -> None:
        table["b"] = 2
        half.set()
        assert seen.wait(60) and table["b"] == 2
        table["c"] = 3

    def other() -> None:
        assert half.wait(60)
        found.append((table.known("b"), table["a"]))
        table["d"] = 4  # its own
        found.append(table.known("d"))
        seen.set()
        found.append((table["b"], table["c"]))

    monkeypatch.setitem(LOADERS, "tables", load)
    thread = threading.Thread(target=other, daemon=True)
    thread.start()
    assert table["c"] == 3
    thread.join(60)
    assert found == [(None, 1), 4, (2, 3)] and dict(table) == {"a": 1, "b": 2, "c": 3, "d": 4} and not table.read


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_waits_for_files_that_are_being_loaded() -> None:
    """The child would have some of them in part, and locked for good."""
    code = """
import os, signal, threading, time, warnings, numpy as np, tracegrad as tg
from tracegrad.core.late import LOADERS
warnings.simplefilter("ignore")
load, began = LOADERS["tables"], threading.Event()
def slowly():
    began.set()
    time.sleep(0.2)
    load()
LOADERS["tables"] = slowly
f = tg.grad(lambda x: np.sum(np.sort(x) * np.arange(3.0)))
x = np.array([3.0, 1.0, 2.0])
thread = threading.Thread(target=f, args=(x,), daemon=True)
thread.start()
assert began.wait(60)
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit("tables" in LOADERS or f(x).tolist() != [2.0, 0.0, 1.0])
thread.join(60)
print(os.waitpid(child, 0)[1], f(x))
"""
    assert run(code) == "0 [2. 0. 1.]\n"
