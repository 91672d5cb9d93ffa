"""Derivatives that the user gives: when their rules run, and what is kept between them. (Most of them are tried in
`test_grad.py`, with all transforms.)"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg

X = np.array([0.3, -1.2, 2.0])


def test_what_fwd_returns_is_kept_until_the_backward_pass() -> None:
    ran: list[str] = []

    @tg.custom_vjp
    def f(x: Any) -> Any:
        return np.sin(x)

    def fwd(x: Any) -> Any:
        ran.append("fwd")
        return np.sin(x), np.cos(x)

    def bwd(cos: Any, ct: Any) -> Any:
        ran.append("bwd")
        return (ct * cos,)

    f.defvjp(fwd, bwd)
    _, pull = tg.vjp(f, X)
    assert ran == ["fwd"]
    for _ in range(2):
        np.testing.assert_array_equal(pull(np.ones(3))[0], np.cos(X))
    assert ran == ["fwd", "bwd", "bwd"]
    graph = tg.make_graph(lambda x: tg.grad(lambda x: np.sum(f(x)))(x))(X)
    assert [e.op.name for e in graph.eqns] == ["cos", "multiply"]
    second = tg.grad(lambda x: np.sum(tg.grad(lambda x: np.sum(f(x) ** 2))(x) ** 2))
    np.testing.assert_allclose(second(X), 4 * np.sin(2 * X) * np.cos(2 * X), rtol=1e-12)


@pytest.mark.parametrize("size", [3, 5000])
def test_what_is_kept_does_not_change_with_an_array_from_outside(size: int) -> None:
    c = np.full(size, 2.0)
    f = tg.custom_vjp(lambda x: x * c)
    f.defvjp(lambda x: (x * c, c), lambda kept, ct: (ct * kept,))
    _, pull = tg.vjp(f, np.ones(size))
    c[:] = 9.0
    np.testing.assert_array_equal(pull(np.ones(size))[0], np.full(size, 2.0))
    program = tg.jit(tg.grad(lambda x: np.sum(f(x))))
    np.testing.assert_array_equal(program(np.ones(size)), c)
    c[:] = 4.0
    np.testing.assert_array_equal(program(np.ones(size)), c)
