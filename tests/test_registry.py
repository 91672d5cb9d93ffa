"""Every op in the registry on its own samples: declared is tested. `pytest tests/test_registry.py -k sin-` is one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pytest

from tracegrad.core.op import OPS, Op
from tracegrad.testing import check_rule
from tracegrad.testing.cases import cases, cases_outside, mixed_cases
from tracegrad.testing.rules import DTYPES

# Ops made for one function at a time, and those of a named axis, which mean nothing outside the vmap that binds it: tested
# where they are used (ops/collective/ has the derivatives and batching rules of the latter).
COLLECTIVES = {
    "all_gather", "all_to_all", "axis_index", "pmax", "pmin", "ppermute", "psum", "psum_scatter",
}  # fmt: skip
WITHOUT_SAMPLES = {
    "before_steps", "beside", "call", "chain", "checkpoint", "columns", "custom_call", "cut", "eigenvalues", "external", "hessenberg", "in_c_order", "laid", "linear_solve", "no_derivative", "only_real", "probe", "pull_rows", "recomposed", "scan", "schur", "singular_values", "sum_of_steps", "window",
    "solver", "sparse_matmul", "sparse_solve", "spectral", "spectral_derivative", "switch", "switch_rows", "to_xla", "total", "while_loop", "while_loop_vjp",
} | COLLECTIVES  # fmt: skip


def ops_in(*dtypes: Any, only: str = "biufc", slow: Sequence[Any] = (), slow_ops: Collection[str] = ()) -> list[Any]:
    """`op-dtype` for every op that takes `only` these kinds and has samples in this dtype or these two, or a ufunc outside of its
    kinds; in `slow` dtypes, and for `slow_ops`, it is a slow test. Samples that raise an error are the test's to raise it."""

    def has_cases(op: Op, dtype: Any) -> bool:
        makers = [mixed_cases] if isinstance(dtype, tuple) else [cases, cases_outside]
        try:
            return any([True for make in makers for _ in make(op, dtype)])  # type: ignore[operator]
        except Exception:
            return True

    return [
        pytest.param(
            op,
            dtype,
            id=f"{op.name}-{dtype if isinstance(dtype, str) else '-'.join(dtype)}",
            marks=[pytest.mark.slow] if dtype in slow or op.name in slow_ops else [],
        )
        for op in OPS.values()
        for dtype in (*dtypes, *slow)
        if set(op.kinds) <= set(only) and has_cases(op, dtype)
    ]


@pytest.mark.parametrize("op, dtype", ops_in(*DTYPES))
def test_rules(op: Op, dtype: Any) -> None:
    assert check_rule(op, dtypes=[dtype], order=0 if op.name == "stop_gradient" else 2) > 0


def test_ops_have_samples_and_rules() -> None:
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
