"""Strategies for hypothesis: shapes, dtypes, arrays, indices, pytrees, and random programs. This module imports hypothesis."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import hypothesis.strategies as st
import numpy as np

from tracegrad.types import Shape

FLOATS = ("float32", "float64")


def shapes(
    min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 4
) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes, small ones first."""
    return st.lists(st.integers(min_side, max_side), min_size=min_dims, max_size=max_dims).map(tuple)


def dtypes(*names: str) -> st.SearchStrategy[np.dtype[Any]]:
    """One of these dtypes; float32 and float64, if none is named."""
    return st.sampled_from([np.dtype(n) for n in names or FLOATS])


@st.composite
def arrays(
    draw: st.DrawFn,
    shape: Shape | st.SearchStrategy[Shape],
    dtype: Any = "float64",
    *,
    low: float = -2.0,
    high: float = 2.0,
    kinks: Sequence[float] = (0.0,),
    margin: float = 0.05,
) -> Any:
    """Arrays of a shape and dtype, or of drawn ones, with values from `low` to `high`.

    Floats stay at least `margin` away from `kinks` and from each other's values to within rounding, so that a derivative is
    defined and difference quotients do not cross a kink; kinks=() lets them anywhere.
    """
    found = draw(shape) if isinstance(shape, st.SearchStrategy) else shape
    kind = np.dtype(draw(dtype) if isinstance(dtype, st.SearchStrategy) else dtype)
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    if kind.kind == "b":
        return rng.random(found) < 0.5
    if kind.kind in "iu":
        return rng.integers(0 if kind.kind == "u" else int(np.floor(low)), int(np.ceil(high)) + 1, found).astype(kind)
    values = rng.uniform(low, high, found)
    for kink in kinks:
        near = np.abs(values - kink) < margin
        values = np.where(near, kink + np.where(values < kink, -margin, margin) * rng.uniform(1, 2, found), values)
    if kind.kind == "c":
        values = values + 1j * rng.uniform(low, high, found)
    return np.asarray(values).astype(kind)


@st.composite
def broadcastable_shapes(draw: st.DrawFn, count: int = 2, max_dims: int = 3, max_side: int = 4) -> tuple[Shape, ...]:
    """So many shapes that broadcast together."""
    whole = draw(shapes(0, max_dims, 1, max_side))
    found = []
    for _ in range(count):
        start = draw(st.integers(0, len(whole)))
        found.append(tuple([1 if draw(st.integers(0, 3)) == 0 else n for n in whole[start:]]))
    return tuple(found)


@st.composite
def indices(draw: st.DrawFn, shape: Shape) -> tuple[Any, ...]:
    """An index that NumPy takes for an array of this shape: integers, slices, None, an ellipsis, arrays of integers."""
    parts: list[Any] = []
    for n in shape[: draw(st.integers(0, len(shape)))]:
        kinds = ["slice", "slice", *(["int", "array"] if n else [])]
        kind = draw(st.sampled_from(kinds))
        if kind == "int":
            parts.append(draw(st.integers(-n, n - 1)))
        elif kind == "array":
            parts.append(np.array(draw(st.lists(st.integers(-n, n - 1), min_size=2, max_size=2))))
        else:
            bounds = st.none() | st.integers(-n - 1, n + 1)
            parts.append(slice(draw(bounds), draw(bounds), draw(st.sampled_from([None, 1, 2, -1]))))
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), None)
    if draw(st.booleans()):
        parts.append(...)
    return tuple(parts)


def pytrees(leaves: st.SearchStrategy[Any], max_leaves: int = 6) -> st.SearchStrategy[Any]:
    """Nested lists, tuples and dicts of leaves."""
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
        ),
        max_leaves=max_leaves,
    )


# ---------------------------------------------------------------------------------------------------------------------
# Programs. Each step is an expression of values made before. All are smooth, or choices that a small change does not sway,
# and bounded, so that a program of any length stays finite.

UNARY = (
    "np.sin({0})", "np.tanh({0})", "np.exp(np.sin({0}))", "-{0}", "0.3 * {0}**2", "np.sqrt(2.0 + np.sin({0}))",
    "np.log(2.0 + np.cos({0}))", "np.sum({0})", "np.mean({0}, axis=-1)", "np.sum({0}, axis=0, keepdims=True) * 0.5",
    "np.prod(np.sin({0}), axis=-1)", "np.max({0}, axis=0)", "np.cumsum({0}, -1) * 0.5", "np.cumprod(np.cos({0}), -1)",
    "{0}.T", "{0}[0]", "{0}[..., [2, 0, 0]]", "{0}[..., ::-1]", "{0}[None]", "np.diagonal({0})", "np.reshape({0}, -1)[:3]",
    "np.where(np.array([True, False, True]), {0}, np.sin({0}))", "np.sort({0}, axis=-1)", "np.roll({0}, 1)",
    "np.linalg.solve(np.array([[0.5, -1.0, 0.25], [1.5, 0.75, -0.5], [-0.25, 1.0, 2.0]]), {0})",
    "np.stack(tg.lax.scan(lambda c, r: (np.sin(c) + r, c * r), 0.5 * {0}[0], {0})[1])",
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


class Program:
    """A function of a vector x0 and a matrix x1 that returns a scalar. Its repr is Python that defines it as `program`."""

    def __init__(self, lines: Sequence[str], unused: Sequence[str]) -> None:
        total = " + ".join([f"np.sum(np.sin({name}))" for name in unused])
        body = [*lines, f"return {total}"]
        self.source = "import numpy as np\nimport tracegrad as tg\n\n\ndef program(x0, x1):\n" + "".join(
            [f"    {line}\n" for line in body]
        )

    @functools.cached_property
    def function(self) -> Callable[..., Any]:
        names: dict[str, Any] = {}
        exec(compile(self.source, "<program>", "exec"), names)
        return names["program"]

    def __call__(self, x0: Any, x1: Any) -> Any:
        return self.function(x0, x1)

    def __repr__(self) -> str:
        return f"\n{self.source}"

    def __reduce__(self) -> Any:
        return _rebuilt, (self.source,)


def _rebuilt(source: str) -> Program:
    program = Program((), ("x0",))
    program.source = source
    return program


@st.composite
def programs(draw: st.DrawFn, max_steps: int = 8) -> Program:
    """Random well-typed programs over NumPy's functions, with loops, branches, checkpoints and jitted parts. They shrink to
    few short steps; a failing one prints as Python that can be run."""
    rng = np.random.default_rng(1)
    values = {f"x{i}": rng.uniform(-1, 1, shape) for i, shape in enumerate(SHAPES)}
    lines, used = [], set()
    scope = {"np": np, "tg": sys.modules["tracegrad"]}
    for _ in range(draw(st.integers(0, max_steps))):
        template = draw(st.sampled_from(UNARY + BINARY))
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
    return Program(lines, [name for name in values if name not in used])
