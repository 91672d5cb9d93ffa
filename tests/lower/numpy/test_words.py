"""What generated source calls things: each by one name, and each value by what stands for just that."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same_bits
from tracegrad.core.graph import Graph, Literal
from tracegrad.lower.numpy.words import Words, is_of_python
from tracegrad.lower.numpy.writer import HELPERS

GRAPH = tg.make_graph(lambda x, y: np.sin(x) * 2.0 + y * 0.1)(np.ones(3), np.ones(3, "f4"))


@pytest.fixture
def words() -> Words:
    return Words(GRAPH, HELPERS)


@pytest.mark.parametrize(
    "value",
    [
        *(
            None,
            True,
            -3,
            0.5,
            -0.0,
            math.inf,
            -math.inf,
            math.nan,
            complex(-0.0, 0.0),
            complex(math.inf, -1),
            "a'b",
            b"c",
        ),
        *((1, None, False), (2,), (), 1 << 70, np.dtype("f4"), slice(1), (1.5, (2, 3))),
        *(np.float32(0.1), np.int8(-3), np.bool(True), np.complex64(1 - 2j), np.longdouble("0.1")),
    ],
    ids=repr,
)
def test_text_is_the_value_itself(words: Words, value: Any) -> None:
    text = words.text(value)
    scope = dict(words.names.values)
    exec("\n".join(words.heads), scope)
    found = eval(text, scope)
    assert type(found) is type(value) and repr(found) == repr(value)


def test_a_value_has_one_name(words: Words) -> None:
    """And two of other types, or with zeros of other signs, have two."""
    names = [words.constant(*c) for c in [(0.1, np.dtype("f8")), (0.1, np.dtype("f4")), (0.0, np.dtype("f8"))]]
    names += [words.constant(-0.0, np.dtype("f8")), words.constant(0.1, np.dtype("f8"), as_scalar=True)]
    assert len(set(names)) == 5 == len(words.heads)
    assert words.constant(0.1, np.dtype("f8")) == names[0] and len(words.heads) == 5
    assert names[0] == "c0_1" and words.heads[0] == "c0_1 = array(0.1, 'float64')"


def test_the_inputs_of_ufuncs_are_arrays_of_the_dtype_that_numpy_computes_in(words: Words) -> None:
    sin, doubled, scaled, added = GRAPH.eqns
    assert words.arguments(sin) == ["a"]
    assert words.arguments(doubled) == ["b", "c2_0"]
    assert words.arguments(scaled) == ["c", "c0_1_float32"]
    assert words.mentions() == ["a", "b", "c"] and words.mentions() == []
    assert [words.function(e) for e in (sin, doubled, added)] == ["sin", "multiply", "add"]
    assert words.names.values["sin"] is np.sin


def test_python_scalars_are_computed_on_by_python() -> None:
    graph = tg.make_graph(lambda x: x * 3.0)(2.0)
    (eqn,) = graph.eqns
    words = Words(graph, HELPERS)
    assert is_of_python(eqn) and not is_of_python(GRAPH.eqns[0])
    assert words.function(eqn) == "python_multiply" and words.names.values["python_multiply"] is eqn.op.python
    assert words.arguments(eqn)[1] == words.name(Literal(3.0)) == "3.0"


def test_no_variable_has_the_name_of_a_function() -> None:
    graph = tg.make_graph(lambda *xs: [np.sin(x) for x in xs])(*[1.0] * 400)
    words = Words(graph, {**HELPERS, "aa": 1})
    names = [words.name(v) for v in (*graph.inputs, *graph.outputs)]
    assert len(set(names)) == len(names) and {*names}.isdisjoint(["sin", "aa", "add", "as", "in", "if", "is", "or"])


def test_an_inner_graph_is_bound_by_its_own_name(words: Words) -> None:
    inner = Graph((), (), (), {}, "f")
    assert words.text(inner) == "f" and words.text((1, inner)) == "(1, f)" and words.names.values["f"] is inner


@pytest.mark.parametrize("dtype", "fdlqeiBF?")
@pytest.mark.parametrize("sign", [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge])
def test_a_number_that_is_made_is_compared_by_an_operator(dtype: str, sign: Callable[[Any, Any], Any]) -> None:
    numbers = (0, 1, -0.0, 0.1, float("nan"), 2**40) if dtype in "fdlq" else (1, 0.1)
    if dtype == "F" and sign not in (operator.eq, operator.ne):
        return
    for number in numbers:
        for f in (lambda x: sign(x.sum(), number), lambda x: sign(number, x.sum())):
            program = tg.jit(f)
            for x in (np.array([v, 0]).astype(dtype) for v in (0, 1, -1.0, 0.1)):
                same_bits(program(x), f(x))


def test_an_argument_without_axes_is_compared_by_the_ufunc() -> None:
    made, given = (tg.jit(f).lower(np.float64(1.0)).as_text() for f in (lambda x: np.sin(x) > 0.5, lambda x: x > 0.5))
    assert " > 0.5" in made and "greater(" in given


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_scalars_that_are_made_on_the_way_are_computed_with_by_operators(dtype: str) -> None:
    def f(x: Any, k: Any) -> Any:
        a, b = np.sum(x), np.max(x)
        return 0.5 * (a + b) - a / b * x.dtype.type(3) - k / a

    x, k = np.array([0.3, 1.7, -0.9], dtype), np.array(0.7, dtype)
    source = tg.jit(f).lower(x, k).as_text()
    assert not any([f"{name}(" in source for name in ("add", "subtract", "multiply", "divide")])
    for number in (k, k[()]):
        same_bits(tg.jit(f)(x, number), f(x, number))
    with np.errstate(all="ignore"):
        for other in (np.zeros(3, dtype), np.array([np.inf, -np.inf, 1], dtype), np.full(3, np.finfo(dtype).max)):
            same_bits(tg.jit(f)(other, k), f(other, k))


def test_scalars_of_other_kinds_are_computed_with_as_before() -> None:
    """Of whole numbers operators warn where ufuncs do not, and of what is given nobody knows whether it is a scalar."""
    source = tg.jit(lambda x: np.sum(x) + np.max(x)).lower(np.arange(3)).as_text()
    assert "add(" in source
    source = tg.jit(lambda x, y: x + y).lower(np.array(0.5), np.array(1.5)).as_text()
    assert "add(" in source
