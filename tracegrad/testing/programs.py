"""Random programs: functions of NumPy's calls, of loops and branches, and of every op in the registry; they print as Python.

Each step is an expression of values made before. All are smooth, or choices that a small change does not sway, and bounded, so
that a program of any length stays finite. This module imports hypothesis.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import hypothesis.strategies as st
import numpy as np

import tracegrad.lax  # noqa: F401 -- for the ops that come with it
from tracegrad.core.op import OPS, Op, Sample
from tracegrad.core.trace import bind
from tracegrad.core.types import is_inexact, type_of

UNARY = (
    "np.sin({0})", "np.tanh({0})", "np.exp(np.sin({0}))", "-{0}", "0.3 * {0}**2", "np.sqrt(2.0 + np.sin({0}))",
    "np.log(2.0 + np.cos({0}))", "np.sum({0})", "np.mean({0}, axis=-1)", "np.sum({0}, axis=0, keepdims=True) * 0.5",
    "np.prod(np.sin({0}), axis=-1)", "np.max({0}, axis=0)", "np.cumsum({0}, -1) * 0.5", "np.cumprod(np.cos({0}), -1)",
    "{0}.T", "{0}[0]", "{0}[..., [2, 0, 0]]", "{0}[..., ::-1]", "{0}[None]", "np.diagonal({0})", "np.reshape({0}, -1)[:3]",
    "np.where(np.array([True, False, True]), {0}, np.sin({0}))", "np.sort({0}, axis=-1)", "np.roll({0}, 1)",
    "np.linalg.solve(np.array([[0.5, -1.0, 0.25], [1.5, 0.75, -0.5], [-0.25, 1.0, 2.0]]), {0})",
    "tg.lax.scan(lambda c, r: (np.sin(c) + r, c * r), 0.5 * {0}[0], {0})[1]",
    "tg.lax.scan(lambda c, r: (c * 0.5 + r, np.tanh(c)), 0.1 * {0}[0], {0}, reverse=True)[1]",
    "tg.lax.fori_loop(0, 3, lambda i, c: np.sin(c) * 0.9 + 0.1 * i, {0})",
    "tg.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, np.sin(c[1]) + 0.2), (0, {0}))[1]",
    "tg.lax.cond(np.sum({0}) > 0.2, lambda v: np.sin(v) * v, lambda v: 0.5 * v * v, {0})",
    "tg.lax.map(lambda r: r * np.cos(r), {0})", "tg.checkpoint(lambda v: np.sin(np.sin(v)))({0})",
    "tg.jit(lambda v: np.tanh(v) * v)({0})",
)  # fmt: skip
BINARY = (
    "{0} + {1}", "{0} - {1}", "{0} * {1}", "{0} / (2.0 + np.sin({1}))", "np.maximum({0}, {1})",
    "np.where({1} > 0.25, {0} * {1}, np.tanh({0}))", "(2.0 + np.sin({0})) ** np.sin({1})", "{0} @ {1}",
    "np.dot({0}, {1}) * 0.3", "np.outer({0}, {1})", 'np.einsum("...i,...i->...", {0}, {1})',
    "np.concatenate([{0}, {1}])[-3:]", "np.stack([{0}, {1}])",
)  # fmt: skip
SHAPES = ((3,), (3, 3))  # of the inputs x0, x1


# ---------------------------------------------------------------------------------------------------------------------
# Steps of the registry: an op on one of its own samples, moved a little by the values at hand, so that it stays where the
# op is defined.

MOVE = 0.02  # how far, of each element
LARGEST = 200  # elements of a sample


def near_sample(name: str, number: int, *values: Any) -> Any:
    """Three numbers made of what an op gives for its sample of this number, each float of which moves by up to two
    hundredths of itself with the values: x (1 + 0.02 sin(value))."""
    op, sample = OPS[name], _samples(OPS[name])[number]
    inputs, turn = list(sample.inputs), 0
    for i, x in enumerate(inputs):
        if _is_moved(x):
            value = np.reshape(values[turn % len(values)], -1)
            spread = value[np.arange(turn, turn + x.size) % type_of(value).size]
            inputs[i] = x * (1 + MOVE * np.sin(np.reshape(spread, x.shape)))
            turn += 1
    out = bind(op, tuple(inputs), sample.params)
    total: Any = 0.0
    for k, (o, usual) in enumerate(zip(_outputs(op, out), _usual(name, number), strict=True)):
        weights = np.cos(k + np.arange(3 * usual.size)).reshape(3, usual.size)
        flat = np.reshape(o / (1 + np.abs(usual)), -1)
        parts = [np.real(flat), np.imag(flat)] if usual.dtype.kind == "c" else [flat]
        for part in parts:
            total = total + weights @ part / usual.size
    return total


@functools.cache
def _samples(op: Op) -> list[Sample]:
    return list(op.samples())


def _is_moved(x: Any) -> bool:
    return isinstance(x, np.ndarray | np.generic) and x.dtype.char in "dD" and x.size > 0


def _outputs(op: Op, out: Any) -> list[Any]:
    return [o for o in (out if op.multiple_results else (out,)) if is_inexact(type_of(o).dtype)]


@functools.cache
def _usual(name: str, number: int) -> list[Any]:
    op, sample = OPS[name], _samples(OPS[name])[number]
    with np.errstate(all="ignore"):
        return [np.asarray(o) for o in _outputs(op, bind(op, sample.inputs, sample.params))]


@functools.cache
def registry_steps() -> tuple[str, ...]:
    """An expression of one value for each sample of each op, so far as it has floats, is small and gives finite floats, not
    rounded to fewer digits."""
    found = []
    for op in OPS.values():
        for number, sample in enumerate(_samples(op)) if op.kinds and op.name != "stop_gradient" else ():
            sizes = [np.size(x) for x in sample.inputs]
            if max(sizes, default=0) <= LARGEST and any([_is_moved(x) for x in sample.inputs]):
                usual = _usual(op.name, number)
                if usual and all([o.size and o.dtype.char in "dD" and np.all(np.isfinite(o)) for o in usual]):
                    found.append(f'near_sample("{op.name}", {number}, {{0}})')
    return tuple(found)


# ---------------------------------------------------------------------------------------------------------------------
# What a program means without tracegrad: loops and branches in plain Python, for arrays of any numbers.


def _scan(f: Callable[..., Any], carry: Any, xs: Any, reverse: bool = False) -> Any:
    rows = []
    for x in xs[::-1] if reverse else xs:
        carry, row = f(carry, x)
        rows.append(row)
    return carry, np.stack(rows[::-1] if reverse else rows)


def _while_loop(condition: Callable[..., Any], body: Callable[..., Any], carry: Any) -> Any:
    while condition(carry):
        carry = body(carry)
    return carry


def _fori_loop(low: int, high: int, body: Callable[..., Any], carry: Any) -> Any:
    for i in range(low, high):
        carry = body(i, carry)
    return carry


def _solve(a: Any, b: Any) -> Any:
    """Gauss's elimination with the largest pivots, in arithmetic alone."""
    rows = np.array(a, object)
    right = np.array(b, object)
    for k in range(len(rows)):
        pivot = k + max(range(len(rows) - k), key=lambda i: abs(rows[k + i, k]))
        rows[[k, pivot]], right[[k, pivot]] = rows[[pivot, k]], right[[pivot, k]]
        for i in range(len(rows)):
            if i != k:
                factor = rows[i, k] / rows[k, k]
                rows[i] = rows[i] - factor * rows[k]
                right[i] = right[i] - factor * right[k]
    return right / (rows.diagonal() if right.ndim == 1 else rows.diagonal()[:, None])


class _PlainNumPy:
    linalg = SimpleNamespace(solve=_solve)

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


_PLAIN_TRACEGRAD = SimpleNamespace(
    lax=SimpleNamespace(
        scan=_scan,
        while_loop=_while_loop,
        fori_loop=_fori_loop,
        cond=lambda predicate, yes, no, *args: (yes if predicate else no)(*args),
        map=lambda f, xs: np.stack([f(x) for x in xs]),
    ),
    checkpoint=lambda f: f,
    jit=lambda f: f,
)


# ---------------------------------------------------------------------------------------------------------------------
# Programs.


class Program:
    """A function of a vector x0 and a matrix x1 that returns a scalar. Its repr is Python that defines it as `program`."""

    def __init__(self, source: str) -> None:
        self.source = source

    @classmethod
    def of(cls, lines: Sequence[str], unused: Sequence[str]) -> Program:
        """The program of these lines, which returns the sum of the sines of what none of them uses."""
        total = " + ".join([f"np.sum(np.sin({name}))" for name in unused])
        has_ops = any(["near_sample(" in line for line in lines])
        imports = ["import numpy as np", "import tracegrad as tg"]
        imports += ["from tracegrad.testing.programs import near_sample"] if has_ops else []
        body = "".join([f"    {line}\n" for line in [*lines, f"return {total}"]])
        return cls("\n".join(imports) + f"\n\n\ndef program(x0, x1):\n{body}")

    @functools.cached_property
    def function(self) -> Callable[..., Any]:
        return self._defined()["program"]

    def _defined(self) -> dict[str, Any]:
        names: dict[str, Any] = {}
        exec(compile(self.source, "<program>", "exec"), names)
        return names

    def __call__(self, x0: Any, x1: Any) -> Any:
        return self.function(x0, x1)

    def plain(self) -> Callable[..., Any] | None:
        """The same function without tracegrad, of arrays of any numbers, `tracegrad.testing.precise.Precise` among them;
        None for a program with ops of the registry."""
        if "near_sample(" in self.source:
            return None
        names = self._defined()
        names.update(np=_PlainNumPy(), tg=_PLAIN_TRACEGRAD)
        return names["program"]

    def __repr__(self) -> str:
        return f"\n{self.source}"

    def __reduce__(self) -> Any:
        return Program, (self.source,)


@st.composite
def programs(draw: st.DrawFn, max_steps: int = 8, registry: bool = True) -> Program:
    """Random well-typed programs over NumPy's functions and, with `registry`, all ops that there are, with loops, branches,
    checkpoints and jitted parts. They shrink to few short steps; a failing one prints as Python that can be run."""
    rng = np.random.default_rng(1)
    values = {f"x{i}": rng.uniform(-1, 1, shape) for i, shape in enumerate(SHAPES)}
    lines, used = [], set()
    scope = {"np": np, "tg": sys.modules["tracegrad"], "near_sample": near_sample}
    steps = st.sampled_from(UNARY + BINARY)
    if registry and draw(st.booleans()):
        steps = steps | st.sampled_from(registry_steps())
    for _ in range(draw(st.integers(0, max_steps))):
        template = draw(steps)
        names = list(values)
        # Mostly the latest value, so that programs are deep.
        chosen = [draw(st.just(names[-1]) | st.sampled_from(names)) for _ in range(1 + ("{1}" in template))]
        expression = template.format(*chosen)
        try:
            value = np.asarray(eval(expression, scope, values))
        except (ValueError, IndexError, TypeError):
            continue  # NumPy does not take these shapes
        if 0 < value.size <= 9 and value.ndim <= 2:
            name = f"x{len(values)}"
            values[name] = value
            lines.append(f"{name} = {expression}")
            used.update(chosen)
    return Program.of(lines, [name for name in values if name not in used])
