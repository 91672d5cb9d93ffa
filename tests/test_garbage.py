"""Nothing that a transform makes refers to itself: it is gone with the last reference, and does not wait for the garbage
collector, which knows nothing of how large the arrays are that a function closes over."""

from __future__ import annotations

import contextlib
import gc
import linecache
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp

pytestmark = pytest.mark.usefixtures("new_objects_alone")

X = np.array([0.3, -1.2, 2.0])
A = np.array([[2.0, 0.3], [0.3, 1.0]])


@contextlib.contextmanager
def collector_off() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def with_jvp_rule() -> Any:
    @tg.custom_jvp
    def f(x: Any) -> Any:
        return np.sin(x)

    f.defjvp(lambda primals, tangents: (np.sin(primals[0]), tangents[0] * np.cos(primals[0])))
    return f


def with_jvp_rules() -> Any:
    @tg.custom_jvp
    def f(x: Any) -> Any:
        return np.sin(x)

    f.defjvps(lambda t, out, x: t * np.cos(x))
    return f


def with_vjp_rule() -> Any:
    @tg.custom_vjp
    def f(x: Any) -> Any:
        return np.sin(x)

    f.defvjp(lambda x: (np.sin(x), x), lambda x, ct: (ct * np.cos(x),))
    return f


def written(x: Any) -> Any:
    y = x * 2.0
    y[0] = 3.0
    part = y[1:]
    part *= 2.0
    return np.sum(y * y)


def refused(call: Callable[[], Any]) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 (each in its own way)
        call()


loop = lambda f: lambda x: tg.lax.scan(lambda c, e: (c * e, f(c)), 1.0, x)[0]
turn = lambda x: tg.lax.while_loop(lambda c: c < 5.0, lambda c: c + 1.0, x)
fork = lambda x: tg.lax.cond(x > 0, lambda c: c * 2.0, lambda c: np.sin(c), x)
total = lambda x: np.sum(np.sin(x) * 2.0)

# Each makes its functions anew.
PROGRAMS: dict[str, Callable[[], Any]] = {
    "grad": lambda: tg.grad(lambda x: total(x))(X),
    "grad of a tree": lambda: tg.grad(lambda t: total(t["a"]))({"a": X}),
    "value_and_grad": lambda: tg.value_and_grad(lambda x: total(x))(X),
    "jit": lambda: tg.jit(lambda x: total(x))(X),
    "jit of a tree": lambda: tg.jit(lambda t: [{"b": total(t["a"])}, None])({"a": X}),
    "jit that closes over": lambda: (lambda c: tg.jit(lambda x: np.sum(x * c)))(np.ones(3))(X),
    "jit in another order": lambda: tg.jit(lambda x: np.sum(x, 0))(np.asfortranarray(A)),
    "jit of many lines": lambda: tg.jit(lambda x: written(x) + sum([x[0] * i for i in range(3)]))(X),
    "jit of large arrays": lambda: tg.jit(lambda x: np.exp(np.sin(x * 2.0) + 1.0) * x)(np.ones(70_000)),
    "static": lambda: tg.jit(lambda x, n: x * n, static_argnums=1)(X, 3),
    "vmap": lambda: tg.vmap(lambda x: np.sin(x) * 2.0)(X),
    "jvp": lambda: tg.jvp(lambda x: total(x), (X,), (X,)),
    "linearize": lambda: tg.linearize(lambda x: total(x), X)[1](X),
    "vjp": lambda: tg.vjp(lambda x: total(x), X)[1](1.0),
    "linear_transpose": lambda: tg.linear_transpose(lambda x: x * 2.0, X)(X),
    "hvp": lambda: tg.hvp(lambda x: total(x), (X,), (X,)),
    "hessian": lambda: tg.hessian(lambda x: total(x))(X),
    "jacfwd": lambda: tg.jacfwd(lambda x: np.sin(x))(X),
    "jacrev": lambda: tg.jacrev(lambda x: np.sin(x))(X),
    "make_graph": lambda: str(tg.make_graph(lambda x: total(x))(X)),
    "eval_shape": lambda: tg.eval_shape(lambda x: total(x), X),
    "checkpoint": lambda: tg.checkpoint(lambda x: total(x))(X),
    "grad of checkpoint": lambda: tg.grad(tg.checkpoint(lambda x: total(x)))(X),
    "jit of grad": lambda: tg.jit(tg.grad(lambda x: total(x)))(X),
    "grad of jit": lambda: tg.grad(tg.jit(lambda x: total(x)))(X),
    "vmap of jit of grad": lambda: tg.vmap(tg.jit(tg.grad(lambda x: total(x))))(A),
    "custom_jvp": lambda: (lambda f: tg.grad(lambda x: np.sum(f(x)))(X))(with_jvp_rule()),
    "custom_jvp by arguments": lambda: (lambda f: tg.grad(lambda x: np.sum(f(x)))(X))(with_jvp_rules()),
    "custom_vjp": lambda: (lambda f: tg.grad(lambda x: np.sum(f(x)))(X))(with_vjp_rule()),
    "jit of custom_vjp": lambda: (lambda f: tg.jit(tg.grad(lambda x: np.sum(f(x))))(X))(with_vjp_rule()),
    "scan": lambda: loop(np.sin)(X),
    "grad of scan": lambda: tg.grad(loop(np.sin))(X),
    "jit of grad of scan": lambda: tg.jit(tg.grad(loop(np.sin)))(X),
    "while_loop": lambda: turn(0.0),
    "jit of while_loop": lambda: tg.jit(turn)(0.0),
    "jvp of while_loop": lambda: tg.jvp(turn, (0.0,), (1.0,)),
    "fori_loop": lambda: tg.grad(lambda x: tg.lax.fori_loop(0, 3, lambda i, c: c * x, 1.0))(2.0),
    "cond": lambda: tg.grad(lambda x: fork(x))(1.0),
    "jit of grad of cond": lambda: tg.jit(tg.grad(lambda x: fork(x)))(1.0),
    "vmap of grad of cond": lambda: tg.vmap(tg.grad(lambda x: fork(x)))(X),
    "map": lambda: tg.lax.map(lambda x: x * 2.0, X),
    "associative_scan": lambda: tg.lax.associative_scan(lambda a, b: a * b, X),
    "writes": lambda: tg.grad(lambda x: written(x))(X),
    "jit of writes": lambda: tg.jit(tg.grad(lambda x: written(x)))(X),
    "spectral": lambda: tg.grad(lambda a: (lambda w, v: np.sum((v * np.exp(w)) @ v.T))(*np.linalg.eigh(a)))(A),
    "multi_dot": lambda: tg.grad(lambda a: np.sum(tnp.linalg.multi_dot([a, A, a])))(A),
    "block": lambda: tg.grad(lambda a: np.sum(tnp.block([[a, A], [A, a]])))(A),
    # Errors, the traceback of which holds frames for as long as somebody has it.
    "error in grad": lambda: refused(lambda: tg.grad(lambda x: np.dot(A, x))(X)),
    "error in jit": lambda: refused(lambda: tg.jit(lambda x: np.dot(A, x))(X)),
    "error in vmap": lambda: refused(lambda: tg.vmap(lambda x: np.dot(A, np.ones(3)) * x)(X)),
    "error in jvp": lambda: refused(lambda: tg.jvp(lambda x: np.dot(A, x), (X,), (X,))),
    "error in scan": lambda: refused(lambda: tg.grad(loop(lambda c: np.dot(A, np.ones(3)) * c))(X)),
    "no value": lambda: refused(lambda: tg.jit(lambda x: 1 if x[0] > 0 else 2, branches="error")(X)),
    "paths": lambda: [f(y) for f in (tg.jit(lambda x: x if x[0] > 0 else -x),) for y in (X, -X, X)],
    "float of a tracer": lambda: refused(lambda: tg.grad(lambda x: float(x[0]))(X)),
    "an integer": lambda: refused(lambda: tg.grad(lambda x: x * 2)(3)),
    "no scalar": lambda: refused(lambda: tg.grad(lambda x: x * 2)(X)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_nothing_waits_for_the_collector(name: str) -> None:
    program = PROGRAMS[name]
    for _ in range(2):  # what is loaded and made once
        program()
    with collector_off():
        while gc.collect():  # what other tests left, whose end may be that of others
            pass
        program()
        assert gc.collect() == 0


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_a_jitted_function_takes_all_that_was_made_for_it_along(backend: str) -> None:
    if backend == "xla":
        pytest.importorskip("jax")

    class Large:
        pass

    def made(number: float) -> weakref.ref[Any]:
        large, c = Large(), np.full(3, np.float32(number))
        f = tg.jit(lambda x: (np.sin(x) * number + c, large)[0], backend=backend)
        f(np.ones(3, np.float32))
        f.lower(np.ones(3, np.float32)).as_text()
        return weakref.ref(large)

    with collector_off():
        gone = [made(float(i)) for i in range(3)]
        assert [large() for large in gone] == [None] * 3


def test_lines_of_generated_functions_go_with_them() -> None:
    def lines() -> int:
        tg.jit(lambda x: np.sin(x) * 3.0)(X)  # the lines of those that are gone go when the next come
        return len([name for name in linecache.cache if name.startswith("<tracegrad")])

    with collector_off():
        lines()
        before = lines()
        for i in range(20):
            tg.jit(lambda x, i=i: np.sin(x) * i)(X)
        assert lines() == before
