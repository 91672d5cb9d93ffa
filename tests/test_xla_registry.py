"""Every op of the registry on XLA: the same values, shapes and dtypes as on NumPy, and the same for its derivatives and
for batches of it. `pytest tests/test_xla_registry.py -k sin-` is one op."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from checks import Case
from test_registry import parameters, sound

import tracegrad as tg
from tracegrad.op import OPS
from tracegrad.trace import bind
from tracegrad.types import type_of

xla = pytest.importorskip("tracegrad.lower.xla")

# What the two may differ by, relative to the largest value: they sum in other orders, and XLA has functions of its own.
TOLERANCE = {"f2": 4e-3, "f4": 2e-5, "f8": 1e-12, "c8": 4e-5, "c16": 1e-12}

# Ops with derivatives that are zero, of which both sides have rounding errors: the size of the terms that cancel.
CANCELLING = {"adjugate_tangent": 1.0}  # a determinant of 2 x 2 has no third derivative


_count = itertools.count(1)


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    """Thousands of compiled programs would take gigabytes, and the collector's time."""
    yield
    if next(_count) % 100 == 0:
        xla.forget()


def close(got: Any, expected: Any, least: float = 1e-30) -> None:
    expected = np.asarray(expected)
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    got = np.asarray(got)
    if expected.dtype.kind not in "fc":
        np.testing.assert_array_equal(got, expected)
        return
    tolerance = TOLERANCE[expected.dtype.str[1:]]
    finite = np.abs(expected[np.isfinite(expected)])
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * np.max(finite, initial=least))


def on_both(function: Any, *inputs: Any, least: float = 1e-30) -> None:
    """Hold what XLA makes of a function against what NumPy makes of it."""
    expected = function(*inputs)
    got = tg.jit(function, backend="xla")(*inputs)
    for g, e in zip(got, expected, strict=True):
        close(g, e, least)


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
    "case", parameters("float64", "float32", "complex128", "complex64", "int64", "uint8", "bool", "float16")
)
def test_values(case: Any) -> None:
    case = sound(case)
    with np.errstate(all="ignore"):
        try:
            expected = case(*case.inputs)
        except TypeError:
            return  # refused on NumPy: test_registry.py has that
        found = xla.execute(case.op, case.inputs, case.params)
    values = [x.value for x in (found if case.op.several else (found,))]
    for got, e in zip(settled(case, case.inputs, values), settled(case, case.inputs, expected), strict=True):
        close(got, e)


def floats(case: Case) -> list[int]:
    return [i for i, x in enumerate(case.inputs) if type_of(x).dtype.kind in "fc" and type(x) is not float]


@pytest.mark.parametrize("case", parameters("float64", "complex128", only="fcbiu"))
def test_derivatives(case: Any) -> None:
    """Forward and reverse, with tangents and cotangents drawn at random."""
    case = sound(case)
    chosen = floats(case)
    if not chosen:
        return
    rng = np.random.default_rng(0)
    least = CANCELLING.get(case.op.name, 1e-30)

    def like(x: Any) -> Any:
        drawn = rng.normal(size=np.shape(x))
        return (drawn + 1j * rng.normal(size=np.shape(x)) if np.iscomplexobj(x) else drawn).astype(x.dtype)[()]

    def of_chosen(*arrays: Any) -> Any:
        inputs = list(case.inputs)
        for i, x in zip(chosen, arrays, strict=True):
            inputs[i] = x
        outs = bind(case.op, tuple(inputs), case.params)
        return tuple([o for o in (outs if case.op.several else (outs,)) if type_of(o).dtype.kind in "fc"])

    arrays = [np.asarray(case.inputs[i])[()] for i in chosen]
    with np.errstate(all="ignore"):
        outs = of_chosen(*arrays)
        if not outs:
            return
        on_both(lambda *both: tg.jvp(of_chosen, both[: len(arrays)], both[len(arrays) :])[1],
                *arrays, *[like(x) for x in arrays], least=least)  # fmt: skip
        cts = tuple([like(np.asarray(o)) for o in outs])
        on_both(lambda cts, *arrays: tg.vjp(of_chosen, *arrays)[1](cts), cts, *arrays, least=least)


@pytest.mark.parametrize("case", parameters("float64", "complex128", "int64"))
def test_batches(case: Any) -> None:
    case = sound(case)
    arrays = [i for i, x in enumerate(case.inputs) if type(x) is not float]
    if not arrays:
        return  # a Python scalar, which has no axis to map over
    stacked = [np.stack([np.asarray(case.inputs[i])] * 2) for i in arrays]

    def of_arrays(*found: Any) -> Any:
        inputs = list(case.inputs)
        for i, x in zip(arrays, found, strict=True):
            inputs[i] = x
        out = bind(case.op, tuple(inputs), case.params)
        return settled(case, inputs, out if case.op.several else (out,))

    with np.errstate(all="ignore"):
        on_both(tg.vmap(of_arrays), *stacked)


def test_every_op_has_a_lowering() -> None:
    bare = {op.name for op in OPS.values() if op.xla is None and getattr(op.evaluate, "__name__", "") not in xla.LAX}
    assert bare == {"chain", "total"} & OPS.keys()  # which stand in no Graph that a lowering is given
