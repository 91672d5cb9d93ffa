"""Every op in the registry on its own samples: declared is tested. `pytest tests/test_registry.py -k sin-` is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad.lax  # for the ops that come with it
import tracegrad.ops
import tracegrad.random
from tests.checks import (
    KIND_OF,
    Case,
    cases,
    cases_outside,
    check_at_zero,
    check_batch,
    check_batched_derivatives,
    check_derivative_types,
    check_first_order,
    check_layouts,
    check_linear,
    check_parts,
    check_refused_alike,
    check_second_order,
    check_traced_rules,
    check_types,
    mixed_cases,
    scalar_cases,
)
from tracegrad.core.op import OPS, Op
from tracegrad.core.types import ArrayType, type_of
from tracegrad.ops.masks import filled

# Ops made for one function at a time, and those of a named axis, which mean nothing outside the vmap that binds it:
# tested where they are used (test_collective.py has the derivatives and batching rules of the latter).
COLLECTIVES = {
    "all_gather", "all_to_all", "axis_index", "pmax", "pmin", "ppermute", "psum", "psum_scatter",
}  # fmt: skip
WITHOUT_SAMPLES = {
    "call", "chain", "checkpoint", "columns", "custom_call", "eigenvalues", "pull_rows", "recomposed", "scan", "singular_values",
    "spectral", "spectral_derivative", "switch", "switch_rows", "to_xla", "total", "while_loop", "while_loop_vjp",
} | COLLECTIVES  # fmt: skip


def ops_in(*dtypes: Any, only: str = "biufc", make: Any = cases) -> list[Any]:
    """`op-dtype` for every op that takes `only` these kinds and of which `make` makes cases in this dtype, or raises an
    error, which is the test's to raise."""

    def has_cases(op: Op, dtype: Any) -> bool:
        try:
            return any(True for _ in make(op, dtype))
        except Exception:
            return True

    return [
        pytest.param(op, dtype, id=f"{op.name}-{dtype if isinstance(dtype, str) else '-'.join(dtype)}")
        for op in OPS.values()
        for dtype in dtypes
        if set(op.kinds) <= set(only) and has_cases(op, dtype)
    ]


def try_all(op: Op, dtype: Any, *checks: Callable[[Case], None], make: Any = cases) -> None:
    """The checks on every case that `make` makes of the op, which a failure names."""
    for number, case in make(op, dtype):
        for check in checks:
            try:
                check(case)
            except Exception as error:
                of = ", ".join([str(type_of(x)) for x in case.inputs])
                error.add_note(f"from {check.__name__} of {op.name} in {dtype}, sample {number}, of {of}")
                raise


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


def test_every_op_is_tried_in_every_kind() -> None:
    tried = {
        (op.name, kind) for op in OPS.values() for dtype, kind in KIND_OF.items() if any(True for _ in cases(op, dtype))
    }
    assert {(op.name, kind) for op in OPS.values() for kind in op.kinds} == tried


@pytest.mark.parametrize("op, dtype", ops_in("float64", "float32", "complex128", "complex64", "int64"))
def test_types(op: Op, dtype: str) -> None:
    try_all(op, dtype, check_types)


@pytest.mark.parametrize("op, dtype", ops_in("float16", "uint8", "bool"))
def test_types_of_less_usual_dtypes(op: Op, dtype: str) -> None:
    # float16 overflows and underflows where the samples do not.
    with np.errstate(over="ignore", under="ignore"):
        try_all(op, dtype, check_refused_alike)


@pytest.mark.parametrize("op, dtype", ops_in("float64", "complex128"))
@pytest.mark.parametrize(
    "check",
    [
        check_first_order,
        check_second_order,
        check_at_zero,
        check_parts,
        check_linear,
        check_traced_rules,
        check_batched_derivatives,
        check_layouts,
    ],
)
def test_derivatives(check: Any, op: Op, dtype: str) -> None:
    try_all(op, dtype, check)


# The batching rule of an op of floats is tried on floats only: integers made of them lose what the sample promises
# when they are varied (an order, no zeros).
@pytest.mark.parametrize("op, dtype", [*ops_in("float64", "complex128"), *ops_in("int64", only="biu")])
def test_batch(op: Op, dtype: str) -> None:
    try_all(op, dtype, check_batch)


@pytest.mark.parametrize("op, dtype", ops_in("float64", "float32", "complex64", "complex128"))
def test_derivative_types(op: Op, dtype: str) -> None:
    try_all(op, dtype, check_derivative_types)


@pytest.mark.parametrize("op, dtype", ops_in("float16"))
def test_derivative_types_of_halves(op: Op, dtype: str) -> None:
    def check_unless_refused(case: Case) -> None:
        try:
            case(*case.inputs)
        except TypeError:
            return  # as test_types_of_less_usual_dtypes has it
        check_derivative_types(case)

    with np.errstate(over="ignore", under="ignore"):
        try_all(op, dtype, check_unless_refused)


# In what other dtypes NumPy takes a ufunc's inputs, the type rule has to say as well.
@pytest.mark.parametrize("op, dtype", ops_in(*KIND_OF, make=cases_outside))
def test_types_of_ufuncs_outside_their_kinds(op: Op, dtype: str) -> None:
    with np.errstate(all="ignore"):
        try_all(op, dtype, check_refused_alike, make=cases_outside)


# Two dtypes at once: what is promoted on the way forward is taken back on the way back.
MIXED = [("float64", "complex128"), ("complex128", "float64")]
MIXED_MORE = [("float32", "float64"), ("float64", "float32"), ("float32", "complex128"), ("complex64", "float64")]
MIXED_KINDS = [("int64", "float32"), ("float32", "int64"), ("float16", "bool"), ("uint8", "int64"), ("bool", "uint8")]
# NumPy casts what is assigned to the array's own dtype, with a warning if that loses an imaginary part.
ASSIGNS = pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")


@ASSIGNS
@pytest.mark.parametrize("op, dtypes", ops_in(*MIXED, *MIXED_MORE, *MIXED_KINDS, make=mixed_cases))
def test_types_of_mixed_dtypes(op: Op, dtypes: tuple[str, str]) -> None:
    try_all(op, dtypes, check_refused_alike, make=mixed_cases)


@ASSIGNS
@pytest.mark.parametrize("op, dtypes", ops_in(*MIXED, *MIXED_MORE, *MIXED_KINDS[:2], make=mixed_cases))
def test_derivative_types_of_mixed_dtypes(op: Op, dtypes: tuple[str, str]) -> None:
    try_all(op, dtypes, check_derivative_types, check_parts, make=mixed_cases)


@ASSIGNS
@pytest.mark.parametrize("op, dtypes", ops_in(*MIXED, make=mixed_cases))
def test_derivatives_of_mixed_dtypes(op: Op, dtypes: tuple[str, str]) -> None:
    try_all(op, dtypes, check_first_order, check_second_order, check_traced_rules, make=mixed_cases)


@pytest.mark.parametrize("op, dtype", ops_in("float64", "float32", "complex128", "int64", make=scalar_cases))
def test_python_scalars(op: Op, dtype: str) -> None:
    try_all(op, dtype, check_types, check_derivative_types, make=scalar_cases)


@pytest.mark.parametrize("op, dtype", ops_in("float64", "complex128", make=scalar_cases))
def test_derivatives_of_python_scalars(op: Op, dtype: str) -> None:
    try_all(op, dtype, check_first_order, check_second_order, check_traced_rules, make=scalar_cases)


# ---------------------------------------------------------------------------------------------------------------------
# The checks find what they look for: rules a thousandth wrong, rows mixed up, a type that is not the output's.


def scaled(x: Any) -> Any:
    x = filled(x)
    return tuple([scaled(v) for v in x]) if isinstance(x, tuple | list) else None if x is None else x * 1.001


def wrong_derivative(rule: Any) -> Any:
    return lambda *args: scaled(rule(*args))


def wrong_for_one_input(rule: Any) -> Any:
    return lambda wanted, *args: scaled(rule(wanted, *args)) if len(wanted) == 1 else rule(wanted, *args)


def wrong_rows(rule: Any) -> Any:
    return lambda *args: np.roll(rule(*args), 1, axis=0)


def wrong_type(rule: Any) -> Any:
    return lambda *args: ArrayType(rule(*args).shape, np.dtype("float32"))


@pytest.mark.parametrize("name", ["multiply", "sum", "matmul", "gather", "solve", "power"])
@pytest.mark.parametrize(
    ("field", "spoil", "checks"),
    [
        ("jvp", wrong_derivative, [check_first_order, check_batched_derivatives]),
        ("vjp", wrong_derivative, [check_first_order, check_second_order]),
        ("vjp", wrong_for_one_input, [check_first_order, check_parts]),
        ("batch", wrong_rows, [check_batch, check_batched_derivatives]),
        ("infer", wrong_type, [check_types, check_traced_rules]),
    ],
)
def test_a_wrong_rule_is_noticed(
    name: str, field: str, spoil: Any, checks: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    op = OPS[name]
    if getattr(op, field) is None:
        pytest.skip("this rule is derived from the other")
    monkeypatch.setattr(op, field, spoil(getattr(op, field)))

    def noticed(check: Any, case: Any) -> bool:
        try:
            check(case)
        except (AssertionError, ValueError, TypeError):
            return True
        return False

    assert any(noticed(check, case) for check in checks for _, case in cases(op, "float64"))
