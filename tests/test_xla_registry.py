"""Every op of the registry on XLA: the same values, shapes and dtypes as on NumPy, and the same for its derivatives and
for batches of it. `pytest tests/test_xla_registry.py -k sin-` is one op.

All samples of an op in one dtype are one program, since XLA takes longer over many small programs than over a large one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import pytest

import tracegrad as tg
from tests.test_registry import ops_in
from tracegrad import tree
from tracegrad.core.backends import XLA_RULES
from tracegrad.core.op import OPS, Op
from tracegrad.core.trace import bind
from tracegrad.core.types import type_of
from tracegrad.testing.cases import Case, cases
from tracegrad.testing.variants import assert_same

xla = pytest.importorskip("tracegrad.xla.emit")
pytest.importorskip("tracegrad.xla.rules")
# What SciPy computes on the host has one lowering: whether each has SciPy's values there is held here, the rest is a slow test.
CALLED_BACK = pytest.importorskip("tracegrad.xla.rules.scipy").CALLED_BACK

# What the two may differ by, relative to the largest value: they sum in other orders, and XLA has functions of its own.
TOLERANCE = {"f2": 4e-3, "f4": 2e-5, "f8": 1e-12, "c8": 4e-5, "c16": 1e-12}

# Ops with derivatives that are zero, of which both sides have rounding errors: the size of the terms that cancel.
CANCELLING = {"adjugate_tangent": 1.0}  # a determinant of 2 x 2 has no third derivative


class Part(NamedTuple):
    """What one sample asks of the program: a function, its inputs, what NumPy makes of them, and what of the results is
    compared."""

    name: str
    function: Callable[..., Any]
    inputs: tuple[Any, ...]
    expected: Any
    compared: Callable[[Any], Any] = lambda out: out


def hold(parts: Sequence[Part], jit: Callable[..., Any], least: float = 0.0) -> None:
    """Hold what one program gives for all parts against what NumPy gives for each."""
    for part, out in zip(parts, results(parts, jit), strict=True):
        found, structure = tree.tree_flatten_with_path(part.compared(out))
        wanted, expected_structure = tree.tree_flatten(part.compared(part.expected))
        assert structure == expected_structure, part.name
        for (path, got), expected in zip(found, wanted, strict=True):
            tolerance = TOLERANCE.get(np.asarray(expected).dtype.str[1:], 0.0)
            assert_same(got, expected, f"{part.name}, result{tree.keystr(path)}", tolerance, tolerance * least)


def results(parts: Sequence[Part], jit: Callable[..., Any]) -> list[Any]:
    """What one program gives for all parts. If it cannot be made, the error is that of the first part to blame."""

    def together(parts: Sequence[Part]) -> list[Any]:
        program = jit(lambda inputs: [part.function(*xs) for part, xs in zip(parts, inputs, strict=True)])
        return program([part.inputs for part in parts])

    try:
        return together(parts) if parts else []
    except Exception:
        for part in parts:
            try:
                together([part])
            except Exception as error:
                error.add_note(f"in {part.name}")
                raise
        raise


def by_jax(function: Callable[..., Any]) -> Callable[..., Any]:
    """jit for what calls an op's rule itself: in a Graph the op might be simplified, and another's rule be tried."""

    def program(inputs: Any) -> Any:
        with xla.x64():
            return xla.jax.jit(function)(inputs)

    return program


def by_us(function: Callable[..., Any]) -> Callable[..., Any]:
    return tg.jit(function, backend="xla")


def settled(case: Case, inputs: Any, out: Any) -> Any:
    """The outputs of which NumPy says what they are: a partition has the right element at each place `kth`, and between
    these the right elements in any order."""
    if case.op.name != "argpartition":
        return out
    axis, kth = case.params["axis"], case.params["kth"]
    edges = sorted({*kth, *[k + 1 for k in kth]})
    parts = np.split(np.take_along_axis(inputs[0], out[0], axis), edges, axis)
    return tuple([np.sort(part, axis) for part in parts])


@pytest.mark.parametrize(
    ("op", "dtype"),
    ops_in("float64", "float32", "complex128", "int64", "bool", slow=("complex64", "uint8", "float16")),
)
def test_values(op: Op, dtype: str) -> None:
    def part(case: Case) -> Part:
        def emitted(*inputs: Any) -> tuple[Any, ...]:
            found = xla.execute(op, inputs, case.params)
            return tuple([x.value for x in (found if op.multiple_results else (found,))])

        def compared(out: Any) -> Any:
            return settled(case, case.inputs, out)

        return Part(case.name, emitted, case.inputs, case(*case.inputs), compared)

    parts = []
    with np.errstate(all="ignore"):
        for case in cases(op, dtype):
            with suppress(TypeError):  # refused on NumPy: test_registry.py has that
                parts.append(part(case))
        hold(parts, by_jax)


@pytest.mark.parametrize(("op", "dtype"), ops_in("float64", slow=("complex128",), slow_ops=CALLED_BACK))
def test_derivatives(op: Op, dtype: str) -> None:
    """Forward and reverse, with tangents and cotangents drawn at random."""
    with np.errstate(all="ignore"):
        parts = [derivatives(case) for case in cases(op, dtype)]
        hold([part for part in parts if part is not None], by_us, CANCELLING.get(op.name, 0.0))


def derivatives(case: Case) -> Part | None:
    """Both derivatives of a case, unless it has no floats that move or none that are moved."""
    chosen = [i for i, x in enumerate(case.inputs) if type_of(x).dtype.kind in "fc" and type(x) is not float]
    rng = np.random.default_rng(0)

    def like(x: Any) -> Any:
        drawn = rng.normal(size=np.shape(x))
        return (drawn + 1j * rng.normal(size=np.shape(x)) if np.iscomplexobj(x) else drawn).astype(x.dtype)[()]

    def of_chosen(*arrays: Any) -> Any:
        inputs = list(case.inputs)
        for i, x in zip(chosen, arrays, strict=True):
            inputs[i] = x
        outs = bind(case.op, tuple(inputs), case.params)
        return tuple([o for o in (outs if case.op.multiple_results else (outs,)) if type_of(o).dtype.kind in "fc"])

    def both(xs: Any, ts: Any, cts: Any) -> Any:
        return {"jvp": tg.jvp(of_chosen, xs, ts)[1], "vjp": tg.vjp(of_chosen, *xs)[1](cts)}

    xs = tuple([np.asarray(case.inputs[i])[()] for i in chosen])
    outs = of_chosen(*xs)
    if not xs or not outs:
        return None
    inputs = xs, tuple([like(x) for x in xs]), tuple([like(np.asarray(o)) for o in outs])
    return Part(case.name, both, inputs, both(*inputs))


@pytest.mark.parametrize(("op", "dtype"), ops_in("float64", "complex128", "int64", slow_ops=CALLED_BACK))
def test_batches(op: Op, dtype: str) -> None:
    with np.errstate(all="ignore"):
        parts = [batch(case) for case in cases(op, dtype)]
        hold([part for part in parts if part is not None], by_us)


def batch(case: Case) -> Part | None:
    """A case on every array twice, unless all it has are Python scalars, which have no axis to map over."""
    arrays = [i for i, x in enumerate(case.inputs) if type(x) is not float]
    stacked = tuple([np.stack([np.asarray(case.inputs[i])] * 2) for i in arrays])

    def of_arrays(*found: Any) -> Any:
        inputs = list(case.inputs)
        for i, x in zip(arrays, found, strict=True):
            inputs[i] = x
        out = bind(case.op, tuple(inputs), case.params)
        return settled(case, inputs, out if case.op.multiple_results else (out,))

    mapped = tg.vmap(of_arrays)
    return Part(case.name, mapped, stacked, mapped(*stacked)) if arrays else None


def test_every_op_has_a_lowering() -> None:
    bare = {op.name for op in OPS.values() if op.name not in XLA_RULES}
    # These stand in no Graph that XLA's is given.
    of_numpy = {
        "before_steps",
        "beside",
        "chain",
        "cut",
        "in_c_order",
        "laid",
        "probe",
        "sum_of_steps",
        "total",
        "window",
    }
    assert bare == of_numpy & OPS.keys()
