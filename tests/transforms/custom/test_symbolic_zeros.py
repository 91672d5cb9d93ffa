"""What rules get that ask for symbolic zeros."""

from __future__ import annotations

from typing import Any

import numpy as np

import tracegrad as tg
from tracegrad.custom_derivatives import SymbolicZero, custom_vjp_primal_tree_values, zero_from_primal


def test_symbolic_zeros_of_jvp() -> None:
    seen: list[Any] = []

    @tg.custom_jvp
    def f(x: Any, y: Any, n: Any) -> Any:
        return {"product": x * y[0], "sum": x + y[1], "n": n}

    def rule(primals: Any, tangents: Any) -> Any:
        (x, y, _), (dx, dy, dn) = primals, tangents
        zeros = [type(t) is SymbolicZero for t in (dx, *dy, dn)]
        seen.append(zeros)
        assert dn.dtype == tg.float0
        assert all((z.shape, z.dtype) == ((), np.float64) for z in (dx, *dy) if type(z) is SymbolicZero)
        product = sum([a * t for a, t, z in ((y[0], dx, zeros[0]), (x, dy[0], zeros[1])) if not z])
        return f(*primals), {"product": product, "sum": dx, "n": dn}

    f.defjvp(rule, symbolic_zeros=True)
    assert tg.jvp(lambda x: f(x, (2.0, 5.0), 3)["product"], (1.0,), (1.0,)) == (2.0, 2.0)
    for made in (lambda f: f, tg.jit, tg.checkpoint):
        assert float(tg.grad(made(lambda x: f(x, (2.0, 5.0), 3)["product"]))(1.0)) == 2.0
        assert float(tg.grad(made(lambda y: f(4.0, (y, 5.0), 3)["product"]))(1.0)) == 4.0
        assert float(tg.grad(made(lambda y: f(4.0, (2.0, y), 3)["sum"]))(1.0)) == 0.0  # dx of the rule is zero
    assert tg.vmap(tg.grad(lambda x: f(x, (2.0, 5.0), 3)["product"]))(np.ones(2)).tolist() == [2.0, 2.0]
    assert {tuple(zeros) for zeros in seen} == {
        (False, True, True, True), (True, False, True, True), (True, True, False, True),
    }  # fmt: skip


def test_symbolic_zeros_of_vjp() -> None:
    seen: list[Any] = []

    @tg.custom_vjp
    def f(x: Any, y: Any) -> Any:
        return x * y[0], x + y[1]

    def fwd(x: Any, y: Any) -> Any:
        seen.append((x.perturbed, y[0].perturbed, y[1].perturbed))
        return f(*custom_vjp_primal_tree_values((x, y))), (x.value, y[0].value)

    def bwd(residuals: Any, ct: Any) -> Any:
        seen.append([type(c) is SymbolicZero for c in ct])
        return None, (zero_from_primal(1.0) if type(ct[0]) is SymbolicZero else residuals[0] * ct[0], None)

    f.defvjp(fwd, bwd, symbolic_zeros=True)
    for made in (lambda f: f, tg.jit, tg.checkpoint, tg.vmap):
        x = np.ones(2) if made is tg.vmap else 1.0
        for i, expected in ((0, 3.0), (1, 0.0)):
            found = made(tg.grad(lambda y: f(3.0, (y, 2.0))[i]))(x)
            assert np.array_equal(found, np.full(np.shape(x), expected))
            assert seen == [(False, True, False), [i == 1, i == 0]]
            seen.clear()
