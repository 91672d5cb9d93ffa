"""What type checkers and completion see of the public surface."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import typing
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests import ROOT

PROGRAM = """
from collections.abc import Callable
from typing import Any, assert_type

import numpy as np
import tracegrad as tg

Vector = np.ndarray[tuple[int], np.dtype[np.float64]]
w: Vector = np.ones(3)

def loss(w: Vector, x: Vector, scale: float = 1.0) -> float: return 1.0
def with_aux(w: Vector, n: int) -> tuple[float, str]: return 1.0, ""

@tg.jit
def step(w: Vector, n: int) -> Vector: return w
@tg.jit(static_argnames="n")
def static(w: Vector, n: int) -> Vector: return w
@tg.checkpoint
def block(w: Vector) -> Vector: return w
@tg.checkpoint(memory="1MB")
def small(w: Vector) -> Vector: return w
@tg.custom_jvp
def forward(x: float) -> float: return x
@forward.defjvp
def _(primals: Any, tangents: Any) -> Any: return primals, tangents
@tg.custom_vjp
def reverse(x: float) -> float: return x

class Model:
    @tg.jit
    def run(self, x: Vector) -> float: return 1.0
    @tg.custom_jvp
    def rule(self, x: float) -> str: return ""

assert_type(step(w, 1), Vector)
assert_type(static(w, n=1), Vector)
assert_type(block(w), Vector)
assert_type(small(w), Vector)
assert_type(forward(1.0), float)
assert_type(reverse(1.0), float)
assert_type(Model().run(w), float)
assert_type(Model().rule(1.0), str)
assert_type(step.lower(w, 1).as_text(), str)
assert_type(tg.value_and_grad(loss)(w, w, scale=2.0), tuple[float, Any])
assert_type(tg.value_and_grad(with_aux, has_aux=True)(w, 1), tuple[tuple[float, str], Any])
assert_type(tg.grad(with_aux, has_aux=True)(w, 1), tuple[Any, str])
assert_type(tg.jacrev(with_aux, has_aux=True)(w, 1), tuple[Any, str])
assert_type(tg.vmap(loss, in_axes=(None, 0))(w, w), float)
assert_type(tg.jit(tg.value_and_grad(loss))(w, w), tuple[float, Any])
assert_type(tg.vjp(loss, w, w), tuple[float, Callable[[Any], tuple[Any, ...]]])
assert_type(tg.vjp(with_aux, w, 1, has_aux=True), tuple[float, Callable[[Any], tuple[Any, ...]], str])
assert_type(tg.jvp(loss, (w,), (w,)), tuple[float, float])
assert_type(tg.linearize(loss, w, w)[1](w, w), float)
assert_type(tg.stop_gradient(w), Vector)
assert_type(tg.make_graph(loss)(w, w).name, str)
tg.grad(np.sum)(w), tg.jit(np.sin)(w), tg.vmap(np.add)(w, w), tg.jacfwd(np.cumsum)(w), tg.checkpoint(np.exp)(w)
tg.jit(tg.grad(lambda x: x * x))(1.0), tg.vmap(tg.grad(lambda x: x * x))(w), tg.make_graph(tg.grad(lambda x: x))(1.0)
tg.numpy.linalg.norm(tg.numpy.mean(w)), tg.lax.scan, tg.nn.relu(w), tg.random.split, tg.tree.map, tg.tree_util.tree_map
tg.ops.gather, tg.extend.bind, tg.testing.check_grads, tg.debug.residuals, tg.checkpoint_policies.nothing_saveable

tg.hesian  # Module has no attribute "hesian"
tg.numpy.meann  # Module has no attribute "meann"
tg.random.spilt  # Module has no attribute "spilt"
tg.tree.mapp  # Module has no attribute "mapp"
tg.ops.nothing  # Module has no attribute "nothing"
step(w)  # Missing positional argument "n"
static(w, "a")  # incompatible type "str"; expected "int"
block(1)  # incompatible type "int"
forward("a")  # incompatible type "str"; expected "float"
Model().run()  # Too few arguments
tg.grad(loss)(w)  # Too few arguments
tg.vmap(loss)(w, w, scal=1.0)  # Unexpected keyword argument "scal"
tg.grad(3)  # No overload variant of "grad" matches
tg.jit(loss, static_argnum=1)  # Unexpected keyword argument "static_argnum"
tg.numpy.mean(w, axes=0)  # Unexpected keyword argument "axes"
tg.nn.relu()  # Missing positional argument "x"
"""


@pytest.mark.slow
def test_transforms_keep_signatures(tmp_path: Path) -> None:
    """Each line with a comment is an error of that text, and no other is one."""
    pytest.importorskip("mypy")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    cache = [] if os.access(ROOT, os.W_OK) else [f"--cache-dir={tmp_path / 'cache'}"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), *cache, str(program)],
        cwd=ROOT, env={**os.environ, "MYPYPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found: dict[int, str] = {}
    for line, text in re.findall(r"program\.py:(\d+): error: (.*)", done.stdout):
        found[int(line)] = f"{found.get(int(line), '')}{text}\n"
    lines = enumerate(PROGRAM.splitlines(), 1)
    expected = {i: text.partition("  # ")[2] for i, text in lines if "  # " in text}
    assert found.keys() == expected.keys(), done.stdout + done.stderr
    for line, text in expected.items():
        assert text in found[line]


NAMESPACES: list[ModuleType] = [
    tg, tg.numpy, tg.numpy.linalg, tg.lax, tg.nn, tg.random, tg.tree, tg.tree_util, tg.debug, tg.testing, tg.extend,
    tg.checkpoint_policies,
]  # fmt: skip


@pytest.mark.parametrize("module", NAMESPACES, ids=lambda m: m.__name__)
def test_completion_offers_public_names(module: ModuleType) -> None:
    names = set(dir(module))
    assert {n for n in names if n.startswith("_")} <= {"__version__"}
    assert names >= set(getattr(module, "__all__", ()))
    hidden = {"Any", "Callable", "Sequence", "TypeVar", "T", "annotations", "np", "functools", "operator", "accept_jax"}
    assert not names & (hidden | {"type_of", "implements"} - set(getattr(module, "__all__", ())))
    for name in names:
        getattr(module, name)


def test_completion_of_trees_offers_jaxs_names() -> None:
    jaxs = {
        "all",
        "broadcast",
        "flatten",
        "leaves",
        "map",
        "map_with_path",
        "reduce",
        "structure",
        "transpose",
        "unflatten",
    }
    assert jaxs | {"tree_map", "PyTreeDef", "register_pytree_node"} <= set(dir(tg.tree))


def test_ops_are_offered_by_family() -> None:
    assert {"elementwise", "gather", "linalg", "writes"} <= set(dir(tg.ops))
    assert not {"Any", "complete", "TYPE_CHECKING"} & set(dir(tg.ops))


@pytest.mark.parametrize("x", [np.ones(2), np.float64(2.0)], ids=["array", "scalar"])
def test_completion_of_a_tracer_is_numpys(x: Any) -> None:
    seen = []

    def f(t: Any) -> Any:
        seen.append(set(dir(t)))
        return np.sum(t)

    tg.grad(f)(x)
    assert {name for name in seen[0] if name[0] != "_"} <= {*dir(np.ndarray), *dir(np.float64)}


@pytest.mark.parametrize("module", [tg, tg.numpy, tg.numpy.linalg, tg.lax, tg.nn, tg.random], ids=lambda m: m.__name__)
def test_public_functions_say_what_they_return(module: ModuleType) -> None:
    for name in dir(module):
        function = inspect.unwrap(getattr(module, name))  # what accepts jax arrays is named after its namespace
        is_ours = isinstance(function, FunctionType) and function.__module__.startswith("tracegrad.")
        if is_ours and not typing.get_overloads(function):
            assert function.__annotations__.get("return") not in (None, "Any", Any), name


def test_overloads_have_the_parameters_of_their_function() -> None:
    found = 0
    for name in tg.__all__:
        function = getattr(tg, name)
        if isinstance(function, FunctionType) and (overloads := typing.get_overloads(function)):
            wanted = set(inspect.signature(function).parameters)
            for overload in overloads:
                parameters = set(inspect.signature(overload).parameters)
                if "options" in parameters:  # of a TypedDict, which says their names
                    kind = overload.__annotations__["options"].removeprefix("Unpack[").removesuffix("]")
                    parameters = (parameters - {"options"}) | set(overload.__globals__[kind].__annotations__)
                assert parameters == wanted, name
            found += 1
    assert found >= 10


def test_namespaces_are_there_after_the_import() -> None:
    code = """
import sys, tracegrad as tg
assert not [m for m in ("tracegrad.numpy", "tracegrad.lax", "tracegrad.nn", "tracegrad.random") if m in sys.modules]
tg.numpy.linalg.norm, tg.lax.scan, tg.nn.relu, tg.random.split, tg.tree.map, tg.tree_util.tree_map, tg.debug.residuals
tg.testing.check_grads, tg.extend.bind, tg.checkpoint_policies.nothing_saveable, tg.ops.gather, tg.show.listing
"""
    subprocess.run([sys.executable, "-c", code], check=True)
