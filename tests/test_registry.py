"""Every op in the registry on its own samples: declared is tested. `pytest tests/test_registry.py -k sin-` is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from checks import (
    KIND_OF,
    Case,
    cases,
    check_batch,
    check_batched_derivatives,
    check_derivative_types,
    check_first_order,
    check_linear,
    check_parts,
    check_refused_alike,
    check_second_order,
    check_traced_rules,
    check_types,
)

import tracegrad.ops
from tracegrad.op import OPS

# Ops made for one function at a time, which have nothing to sample: tested where they are used.
WITHOUT_SAMPLES = {"custom_call"}


def parameters(*dtypes: str, only: str = "biufc") -> list[Any]:
    """`op-sample-dtype` for every case of the ops that take `only` these kinds; an op whose samples cannot be made is
    one failing case."""
    found = []
    for op in OPS.values():
        if not set(op.kinds) <= set(only):
            continue
        for dtype in dtypes:
            try:
                found += [pytest.param(case, id=f"{op.name}-{number}-{dtype}") for number, case in cases(op, dtype)]
            except Exception as error:
                found.append(pytest.param(error, id=f"{op.name}-samples-{dtype}"))
    return found


def sound(case: Any) -> Case:
    if isinstance(case, Exception):
        raise case
    return case


def test_ops_have_samples_and_rules() -> None:
    assert tracegrad.ops.__all__
    bare = {op.name for op in OPS.values() if not list(op.samples())}
    assert bare == WITHOUT_SAMPLES & OPS.keys()
    without_kinds = {op.name for op in OPS.values() if not op.kinds}
    assert without_kinds == WITHOUT_SAMPLES & OPS.keys()
    for op in OPS.values():
        assert set(op.kinds) <= set("biufc"), op.name
        assert op.jvp is not None or op.vjp is not None or op.name in WITHOUT_SAMPLES, (
            f"{op.name} has no derivative rule"
        )
        assert op.batch is not None or op.name in WITHOUT_SAMPLES, f"{op.name} has no batching rule"


def test_every_op_is_tried() -> None:
    tried = {op.name for op in OPS.values() for dtype in KIND_OF if any(True for _ in cases(op, dtype))}
    assert OPS.keys() - tried == WITHOUT_SAMPLES & OPS.keys()


@pytest.mark.parametrize("case", parameters("float64", "float32", "complex128", "complex64", "int64"))
def test_types(case: Any) -> None:
    check_types(sound(case))


@pytest.mark.parametrize("case", parameters("float16", "uint8", "bool"))
def test_types_of_less_usual_dtypes(case: Any) -> None:
    # float16 overflows and underflows where the samples do not.
    with np.errstate(over="ignore", under="ignore"):
        check_refused_alike(sound(case))


@pytest.mark.parametrize("case", parameters("float64", "complex128"))
def test_first_order(case: Any) -> None:
    check_first_order(sound(case))


@pytest.mark.parametrize("case", parameters("float64", "complex128"))
def test_second_order(case: Any) -> None:
    check_second_order(sound(case))


@pytest.mark.parametrize("case", parameters("float64", "float32", "complex64", "complex128"))
def test_derivative_types(case: Any) -> None:
    check_derivative_types(sound(case))


@pytest.mark.parametrize("case", parameters("float64", "complex128"))
def test_parts_of_the_derivative(case: Any) -> None:
    check_parts(sound(case))


@pytest.mark.parametrize("case", parameters("float64", "complex128"))
def test_linear(case: Any) -> None:
    check_linear(sound(case))


@pytest.mark.parametrize("case", parameters("float64", "complex128"))
def test_traced_rules(case: Any) -> None:
    check_traced_rules(sound(case))


@pytest.mark.parametrize("case", parameters("float64", "complex128"))
def test_batched_derivatives(case: Any) -> None:
    check_batched_derivatives(sound(case))


# The batching rule of an op of floats is tried on floats only: integers made of them lose what the sample promises
# when they are varied (an order, no zeros).
@pytest.mark.parametrize("case", [*parameters("float64", "complex128"), *parameters("int64", only="biu")])
def test_batch(case: Any) -> None:
    check_batch(sound(case))
