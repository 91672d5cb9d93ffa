"""Callbacks: as often as the program comes to them, under every transform, in loops and branches, on both backends."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg

SEEN: list[Any] = []


def note(x: Any = "here") -> None:
    SEEN.append(x if isinstance(x, str) else float(x))


def f(x: Any) -> Any:
    tg.debug.callback(note, x)
    y = tg.lax.fori_loop(0, 3, lambda i, c: (tg.debug.callback(note, c), c * 2)[1], x)
    z = tg.lax.cond(x > 0, lambda x: (tg.debug.callback(note, -x), x)[1], lambda x: 2 * x, x)
    tg.lax.cond(x > 0, lambda: tg.debug.callback(note), lambda: None)
    return y * z


def g(x: Any) -> Any:
    def step(c: Any) -> Any:
        tg.debug.callback(note, c)
        return c * 2

    return tg.lax.while_loop(lambda c: c < 8, step, x)


HOW: dict[str, Any] = {
    "plain": lambda f: f,
    "grad": tg.grad,
    "jit": tg.jit,
    "grad of jit": lambda f: tg.grad(tg.jit(f)),
    "jit of grad": lambda f: tg.jit(tg.grad(f)),
    "jvp": lambda f: lambda x: tg.jvp(f, (x,), (1.0,)),
    "jit of jvp": lambda f: tg.jit(lambda x: tg.jvp(f, (x,), (1.0,))),
    "second": lambda f: tg.jit(tg.grad(tg.grad(f))),
    "linearize": lambda f: lambda x: tg.linearize(f, x)[1](1.0),
    "hessian": tg.hessian,
    "checkpoint": lambda f: tg.jit(tg.grad(tg.checkpoint(f))),
    "jit in jit": lambda f: tg.jit(lambda x: tg.jit(f)(x) + 1.0),
}


@pytest.mark.parametrize("how", HOW)
def test_once_and_in_order(how: str) -> None:
    for function, expected in ((f, [1.0, 1.0, 2.0, 4.0, -1.0, "here"]), (g, [1.0, 2.0, 4.0])):
        run = HOW[how](function)
        for _ in range(2):
            SEEN.clear()
            run(1.0)
            assert expected == SEEN


@pytest.mark.parametrize("grad", [False, True])
def test_on_xla(grad: bool) -> None:
    run = tg.jit(tg.grad(f) if grad else f, backend="xla")
    for _ in range(2):
        SEEN.clear()
        run(1.0)
        jax.effects_barrier()
        assert sorted(map(str, SEEN)) == sorted(["1.0", "1.0", "2.0", "4.0", "-1.0", "here"])


@pytest.mark.parametrize("how", [tg.vmap, lambda f: tg.jit(tg.vmap(f)), lambda f: tg.jit(tg.vmap(tg.grad(f)))])
def test_once_for_each_row(how: Any) -> None:
    SEEN.clear()
    how(f)(np.array([1.0, -1.0]))
    assert SEEN == [1.0, -1.0, 1.0, -1.0, 2.0, -2.0, 4.0, -4.0, -1.0, "here"]


def test_of_nothing_traced() -> None:
    def h(x: Any) -> Any:
        tg.debug.callback(note, np.float64(7.0))
        return x * 2

    for run in (h, tg.jit(h), tg.jit(lambda x: tg.jit(h)(1.0) * x), tg.jit(lambda x: tg.vmap(lambda y: h(1.0) + y)(x))):
        for _ in range(2):
            SEEN.clear()
            run(np.ones(2))
            assert SEEN == [7.0]


def test_print(capsys: pytest.CaptureFixture[str]) -> None:
    @tg.jit
    def h(x: Any) -> Any:
        tg.debug.print("x = {:.2f}, {tree}, {}", x, "text", tree={"a": x > 1})
        return np.sin(x)

    h(2.0), h(2.0)
    assert capsys.readouterr().out == "x = 2.00, {'a': np.True_}, text\n" * 2
    ordered = tg.jit(lambda x: [tg.debug.print(f"{i} {{}}", x, ordered=True) for i in range(5)] and x, backend="xla")
    ordered(1.0)
    jax.effects_barrier()
    assert capsys.readouterr().out == "".join([f"{i} 1.0\n" for i in range(5)])
    for wrong in (
        lambda: tg.debug.print("{}", 1, 2),
        lambda: tg.debug.print("{} {}", 1),
        lambda: tg.debug.print("{y}", x=1),
    ):
        with pytest.raises(ValueError, match=r"debug.print at .*test_callbacks.py.* do not fit together"):
            wrong()


def test_what_it_refuses() -> None:
    with pytest.raises(NotImplementedError, match="partitioned"):
        tg.debug.callback(note, 1.0, partitioned=True)
    with pytest.raises(TypeError, match="takes a function"):
        tg.debug.callback("x")  # type: ignore[arg-type]
