"""Every program, traced as it stands: values, derivatives, jit on both backends and batches, against plain NumPy."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests import programs
from tests.compare import near, same_bits
from tests.programs import Program
from tracegrad import tree
from tracegrad.core.errors import ConcretizationTypeError
from tracegrad.testing import check_grads

HERE = Path(__file__).parent
FILES = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in ("__init__", "test_programs"))
ALL = [
    pytest.param(program, id=f"{name}-{program.f.__name__}")
    for name in FILES
    for program in __import__(f"{programs.__name__}.{name}", fromlist=["PROGRAMS"]).PROGRAMS
]
every_program = pytest.mark.parametrize("program", ALL)
# XLA compiles for half a second each: one in three is tried at once.
every_program_in_time = pytest.mark.parametrize(
    "program",
    [pytest.param(*p.values, id=p.id, marks=[pytest.mark.slow] if i % 3 else []) for i, p in enumerate(ALL)],
)


def plain(program: Program) -> Callable[..., Any]:
    """The function of its arrays, as NumPy runs it."""
    return functools.wraps(program.f)(functools.partial(program.f, **program.static))


def traced(program: Program) -> Callable[..., Any]:
    """The function that is given to transforms: itself, or `tg.numpyize` of it where it fills NumPy's empty arrays."""
    f = tg.numpyize(program.f) if program.creates else program.f
    return functools.wraps(program.f)(functools.partial(f, **program.static))


def floats(args: Any) -> tuple[int, ...]:
    """The places of arguments that have a derivative: all of their leaves are of floats."""
    kinds = [{np.asarray(leaf).dtype.kind for leaf in tree.tree_leaves(arg)} for arg in args]
    return tuple(i for i, found in enumerate(kinds) if found and found <= {"f", "c"})


def weighed(f: Callable[..., Any]) -> Callable[..., Any]:
    """The sum of all that a function returns, each number with a weight of its own: a number to differentiate."""

    def loss(*args: Any) -> Any:
        total = 0.0
        for i, leaf in enumerate(tree.tree_leaves(f(*args))):
            weights = np.cos(np.arange(np.size(leaf)) + i).reshape(np.shape(leaf))
            total = total + np.sum(np.real(leaf) * weights) + np.sum(np.imag(leaf) * weights**2)
        return total

    return functools.wraps(f)(loss)


def sample(args: Any) -> Any:
    """The same arguments with other numbers, a few per cent off."""

    def moved(x: Any) -> Any:
        x = np.asarray(x)
        if x.dtype.kind not in "fc":
            return x
        factors = 1 + 0.03 * np.sin(np.arange(x.size) + 1.0).reshape(x.shape)
        return (x * factors).astype(x.dtype)

    return tree.tree_map(moved, args)


def refusal(program: Program, transform: str) -> Any:
    """Where a program asks for values: the named error, with the line in the program and what to write instead."""
    advice = program.refused[transform]
    file, first = Path(inspect.getfile(program.f)).name, program.f.__code__.co_firstlineno
    by_types = functools.partial(tg.jit, branches="error")
    transformed, args = (by_types, program.args) if transform == "jit" else (tg.vmap, batch(program))
    with pytest.raises(ConcretizationTypeError, match=re.escape(advice)) as caught:
        transformed(traced(program))(*args)
    message = str(caught.value)
    named = [int(line) for line in re.findall(re.escape(file) + r":(\d+)", message)]
    last = max(line for *_, line in program.f.__code__.co_lines() if line)
    assert any(first <= line <= last for line in named), message


def batch(program: Program) -> Any:
    return tree.tree_map(lambda a, b: np.stack([a, b]), program.args, sample(program.args))


@every_program
def test_derivatives_are_right(program: Program) -> None:
    """Values are plain NumPy's, bit for bit unless the program says otherwise; derivatives, forward and backward, those of difference quotients."""
    before = tree.tree_map(lambda x: np.array(x, copy=True)[()], program.args)
    value, _ = tg.vjp(traced(program), *program.args)
    expected = plain(program)(*program.args)
    if program.rounds:
        near(value, expected, 1e-12)
    else:
        same_bits(value, expected)
    near(program.args, before, 0.0, "what was handed over, afterwards,")
    assert floats(program.args), "a program to differentiate has a float among its arguments"
    report = check_grads(traced(program), program.args, order=1)
    assert report.checked and not report.kinks


@every_program
def test_jitted(program: Program) -> None:
    """On NumPy the bits of the value and of the derivative that there are without jit, by one of several paths where the program asks
    for values; but where the last digits go with the processor."""
    if "jit" in program.refused:
        refusal(program, "jit")
        if "mask" in program.refused["jit"]:  # an array's values are no path
            return

    def hold(got: Any, expected: Any) -> None:
        if "processors" in program.rounds:
            near(got, expected, 1e-14)
        else:
            same_bits(got, expected)

    jitted = tg.jit(traced(program))
    expected, _ = tg.vjp(traced(program), *program.args)
    hold(jitted(*program.args), expected)
    hold(jitted(*program.args), expected)
    derivative = tg.value_and_grad(weighed(traced(program)), floats(program.args))
    hold(tg.jit(derivative)(*program.args), derivative(*program.args))


@every_program
def test_batched(program: Program) -> None:
    """Two samples at once, with their derivatives, are what a loop over them gives."""
    if "vmap" in program.refused:
        return refusal(program, "vmap")
    derivative = tg.value_and_grad(weighed(traced(program)), floats(program.args))
    batched = (tg.vmap(traced(program))(*batch(program)), tg.vmap(derivative)(*batch(program)))
    looped = [(plain(program)(*args), derivative(*args)) for args in (program.args, sample(program.args))]
    near(batched, tree.tree_map(lambda a, b: np.stack([a, b]), *looped), program.rtol)
    return None


@every_program_in_time
def test_on_xla(program: Program, jax: Any) -> None:
    """The value and the derivative as one program for XLA."""
    if "jit" in program.refused:
        return
    derivative = tg.value_and_grad(weighed(traced(program)), floats(program.args))

    def both(*args: Any) -> Any:
        return traced(program)(*args), derivative(*args)

    got = tree.tree_map(np.asarray, tg.jit(both, backend="xla")(*program.args))
    near(got, tree.tree_map(np.asarray, (plain(program)(*program.args), derivative(*program.args))), program.rtol)


def test_there_are_many() -> None:
    found = [param.values[0] for param in ALL]
    names = [program.f.__name__ for program in found]
    assert len(names) == len(set(names))
    assert len(found) >= 60
    assert len({program.subject for program in found}) >= 20


@pytest.mark.parametrize("name", FILES)
def test_they_know_numpy_alone(name: str) -> None:
    imported = []
    for node in ast.walk(ast.parse((HERE / f"{name}.py").read_text())):
        if isinstance(node, ast.Import):
            imported += [(alias.name, alias.asname) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported += [(node.module, alias.name) for alias in node.names]
    assert sorted(imported) == [("numpy", "np"), ("tests.programs", "Program")]
