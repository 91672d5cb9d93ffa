"""Every op as source that needs NumPy alone: run where nothing of ours can be imported, it gives the same bits."""

from __future__ import annotations

import builtins
import doctest
import functools
import sys
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import pytest

import tracegrad.lax
import tracegrad.random  # noqa: F401  for the ops that come with these
from tracegrad.core.op import OPS, Op
from tracegrad.lower.numpy import quote
from tracegrad.lower.numpy.quote import NotQuotableError, Quotes, quoted
from tracegrad.testing.cases import KIND_OF, cases


def imports(name: str, *args: Any) -> Any:
    """Python's, but for what is neither Python's own nor NumPy's nor SciPy's."""
    root = name.partition(".")[0]
    if root not in sys.stdlib_module_names | {"numpy", "scipy"}:
        raise ImportError(f"the quoted source imports {name}")
    return builtins.__import__(name, *args)


def run(source: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__builtins__": {**vars(builtins), "__import__": imports}, "__name__": "quoted"}
    exec(compile(source, "<quoted>", "exec"), namespace)
    return namespace


def assert_same_bits(got: Any, expected: Any) -> None:
    if isinstance(expected, tuple):
        assert type(got) is tuple
        for g, e in zip(got, expected, strict=True):
            assert_same_bits(g, e)
        return
    assert type(got) is type(expected)
    got, expected = np.asarray(got), np.asarray(expected)
    assert (got.dtype, got.shape, got.strides) == (expected.dtype, expected.shape, expected.strides)
    assert got.tobytes() == expected.tobytes()


@pytest.mark.parametrize("op", [pytest.param(op, id=op.name) for op in OPS.values() if op.kinds])
def test_an_op_is_quoted_as_numpy(op: Op) -> None:
    """Its params are quoted, too, so that these are plain data."""
    quotes = Quotes()
    evaluate = quotes.expression(op.evaluate, op.name)
    found = [(case, quotes.expression(case.params)) for dtype in KIND_OF for case in cases(op, dtype)]
    functions = ", ".join([f"lambda *inputs: {evaluate}(*inputs, **{params})" for _, params in found])
    names = run(f"{quotes.text()}\n\nfunctions = [{functions}]")
    with np.errstate(all="ignore"):
        for (case, _), function in zip(found, names["functions"], strict=True):
            with suppress(TypeError):  # refused on NumPy: test_registry.py has that
                expected = op.evaluate(*case.inputs, **case.params)
                assert_same_bits(function(*case.inputs), expected)


SCALE = 1e300 * 1e300


class Limits(NamedTuple):
    """With a type for each field, as a named tuple has."""

    low: int
    high: Any = 5


def scaled(x: Any, by: Any) -> Any:
    """What is above it, and a name that the module has for something else."""
    np_add: int = 1
    return [builtins.sum([x, by, np_add]) for SCALE in (1, 2)], SCALE, helper(x)  # in another order


@functools.cache
def helper(x: int, *, limits: Limits = Limits(1)) -> str:  # noqa: B008
    return f"{x}{limits.high if x > 5 else recursive(x)}"


def recursive(x: int) -> Any:
    return helper(x + 3) if x < 3 else x


def test_the_source_of_a_function_stands_as_it_is() -> None:
    quotes = Quotes()
    assert quotes.expression(functools.partial(scaled, by=2)) == "functools.partial(scaled, by=2)"
    text = quotes.text()
    assert "# in another order" in text
    assert "Any" not in text
    assert 'SCALE = float("inf")\n\n\n' in text
    names = run(f"{text}\nresult = scaled(1, 2), scaled(2, 3)")
    assert names["result"] == (scaled(1, 2), scaled(2, 3))


def test_names_do_not_meet() -> None:
    quotes = Quotes()
    quotes.names.take("helper")
    assert quotes.expression(helper) == "helper_2"
    assert run(f"{quotes.text()}result = helper_2(1)")["result"] == helper(1)


def test_what_closes_over_something_is_refused() -> None:
    def inner(x: Any) -> Any:
        return x

    with pytest.raises(NotQuotableError, match="inner is not defined at the top of a module"):
        Quotes().expression(inner)
    with pytest.raises(NotQuotableError, match="is neither NumPy's nor Python's own"):
        Quotes().expression(pytest)


def test_the_example() -> None:
    assert not doctest.testmod(quote).failed
    assert quoted(OPS["logistic"]).splitlines()[-1] == "logistic = _logistic"
