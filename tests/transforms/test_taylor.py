"""Taylor coefficients: against mpmath's, jax's jets and nested derivatives, and of every op."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax.experimental import jet

import tracegrad as tg
from tests.compare import near
from tracegrad import tree
from tracegrad.core.errors import DifferentiationError, DtypeError, ShapeError
from tracegrad.core.op import OPS, Op, Sample
from tracegrad.core.trace import bind
from tracegrad.core.types import is_inexact, type_of
from tracegrad.transforms import taylor as module

jax.config.update("jax_enable_x64", True)

X, V = np.random.default_rng(0).normal(size=(2, 5))
W = np.random.default_rng(1).normal(size=(5, 5))
special = tg.scipy.special

# Ours and mpmath's.
ELEMENTARY: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "exp": (np.exp, mpmath.exp),
    "expm1": (np.expm1, mpmath.expm1),
    "log": (np.log, mpmath.log),
    "log1p": (np.log1p, mpmath.log1p),
    "sqrt": (np.sqrt, mpmath.sqrt),
    "cbrt": (np.cbrt, mpmath.cbrt),
    "sin": (np.sin, mpmath.sin),
    "cos": (np.cos, mpmath.cos),
    "tan": (np.tan, mpmath.tan),
    "tanh": (np.tanh, mpmath.tanh),
    "sinh": (np.sinh, mpmath.sinh),
    "arctan": (np.arctan, mpmath.atan),
    "arcsin": (np.arcsin, mpmath.asin),
    "arccosh": (lambda x: np.arccosh(x + 1), lambda x: mpmath.acosh(x + 1)),
    "cube": (lambda x: x**3, lambda x: x**3),
    "power": (lambda x: x**1.75, lambda x: x ** mpmath.mpf(1.75)),
    "power of itself": (lambda x: x**x, lambda x: x**x),
    "quotient": (lambda x: np.sin(x) / (1 + x * x), lambda x: mpmath.sin(x) / (1 + x * x)),
    "logistic": (special.expit, lambda x: 1 / (1 + mpmath.exp(-x))),
    "erf": (special.erf, mpmath.erf),
    "gammaln": (special.gammaln, mpmath.loggamma),
    "bessel": (lambda x: special.jv(1.5, x), lambda x: mpmath.besselj(1.5, x)),
}


@pytest.mark.parametrize("name", ELEMENTARY)
def test_elementary_functions_to_order_ten(name: str) -> None:
    ours, theirs = ELEMENTARY[name]
    found = tg.taylor(ours, 0.7, 1.0, 10)
    with mpmath.workdps(40):
        expected = [float(c) for c in mpmath.taylor(theirs, mpmath.mpf(0.7), 10)]
    np.testing.assert_allclose(np.array(found), expected, rtol=1e-13, atol=1e-15)


def nested(f: Callable[[Any], Any], x: Any, v: Any, order: int) -> list[Any]:
    """The coefficients by as many derivatives, one of the other."""
    found, g = [f(x)], f
    for k in range(order):
        g = (lambda h: lambda y: tg.jvp(h, (y,), (v,))[1])(g)
        found.append(tree.tree_map(lambda d, k=k: d / math.factorial(k + 1), g(x)))
    return found


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "net": lambda x: np.tanh(W @ np.tanh(W @ x)),
    "scan": lambda x: tg.lax.scan(lambda c, u: (np.sin(c * u), c), x[0], x)[1],
    "while_loop": lambda x: tg.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, np.sin(c[1]) * c[1]), (0, x))[1],
    "cond": lambda x: tg.lax.cond(x[0] > 0, np.sin, np.cos, x),
    "jit": tg.jit(lambda x: np.exp(x) * x[0]),
    "checkpoint": tg.checkpoint(lambda x: np.exp(x) * x[0]),
    "vmap": tg.vmap(lambda r: np.sin(r) * r),
    "gradient": tg.grad(lambda x: np.sum(np.sin(x) * x**3)),
    "norm": lambda x: np.linalg.norm(x),
    "solve": lambda x: np.linalg.solve(np.outer(x, x) + 4 * np.eye(5), x),
    "eigenvalues": lambda x: np.linalg.eigvalsh(np.outer(x, x) + np.diag(np.arange(5.0))),
    "where": lambda x: np.where(x > 0, np.log(np.abs(x)), np.sqrt(np.abs(x) + 1)),
    "sorted": lambda x: x[np.argsort(x)] ** 2 + np.max(x),
    "steps": lambda x: np.floor(3 * x) * x,
    "complex": lambda x: np.abs(np.exp(1j * x) + x) ** 2,
    "products of three": lambda x: np.einsum("i,ij,j->i", x, np.outer(x, W[0]), np.sin(x)),
    "trees": lambda x: {"a": x * 2, "b": (np.sum(x**2), np.ones(3))},
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    f = FUNCTIONS[name]
    expected = nested(f, X, V, 4)
    near(list(tg.taylor(f, X, V, 4)), expected, 1e-9)
    near(list(tg.jit(lambda x, v: tg.taylor(f, x, v, 4))(X, V)), expected, 1e-9)


def test_jets() -> None:
    """jax's are derivatives, ours coefficients."""
    f = lambda lib: lambda x: lib.tanh(lib.exp(x)) / (1 + x * x)
    first, rest = jet.jet(f(jnp), (X,), ([V, *[np.zeros(5)] * 3],))
    expected = [first, *[d / math.factorial(k + 1) for k, d in enumerate(rest)]]
    near(list(tg.taylor(f(np), X, V, 4)), [np.asarray(c) for c in expected], 1e-10)


def test_under_transforms() -> None:
    f = FUNCTIONS["net"]
    third = lambda x: np.sum(tg.taylor(f, x, V, 3)[3])
    near(tg.grad(third)(X), tg.grad(lambda x: np.sum(nested(f, x, V, 3)[3]))(X), 1e-9)
    batch = np.stack([X, 2 * X])
    near(tg.vmap(third)(batch), np.stack([third(x) for x in batch]))
    inner = lambda x: tg.taylor(np.sin, x, np.cos(x), 2)[2]
    near(tg.taylor(inner, X, V, 1)[1], tg.jvp(inner, (X,), (V,))[1])


def test_pytrees_dtypes_and_jax_arrays() -> None:
    x, v = {"a": X, "b": (2.0,)}, {"a": V, "b": (1.0,)}
    found = tg.taylor(lambda p: p["a"] * p["b"][0], x, v, 3)
    near(list(found), [2 * X, X + 2 * V, V, np.zeros(5)])
    assert tg.taylor(np.sin, X.astype(np.float32), V.astype(np.float32), 3)[3].dtype == np.float32
    near(tg.taylor(np.exp, X + 1j, V + 0j, 2)[2], np.exp(X + 1j) * V**2 / 2)
    assert isinstance(tg.taylor(np.sin, jnp.asarray(X), jnp.asarray(V), 2)[2], jax.Array)
    assert tg.taylor(np.sin, X, V, 0)[0] is not None
    near(tg.taylor(lambda x: x, 1.5, 1.0, 2)[1], np.float64(1.0))


def test_results_are_the_callers_own() -> None:
    x, v = X.copy(), V.copy()
    for c in tg.taylor(lambda x: (x, x[::-1]), x, v, 2):
        for part in c:
            part += 1.0
    near(x, X)
    near(v, V)


@pytest.mark.parametrize("order", [4, 8])
def test_work_grows_with_the_square_of_the_order(order: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions that there are for one order are there for all: sine and cosine, one quotient."""
    made = []
    monkeypatch.setattr(module.Application, "advance", lambda self, k, _advance=module.Application.advance: (made.append(self), _advance(self, k))[1])  # fmt: skip
    tg.taylor(lambda x: np.tanh(np.sin(x) * np.exp(x)) / np.sqrt(1 + x), 0.3, 1.0, order)
    assert len(set(map(id, made))) < 40


LOOPS: dict[str, Callable[[Any], Any]] = {
    "scan": lambda x: tg.lax.scan(lambda c, u: ((np.sin(c[0] * u), c[1] + 1), None), (x[0], 0), x)[0][0] * x,
    "nested": lambda x: tg.lax.scan(lambda c, u: (tg.lax.fori_loop(0, 3, lambda i, d: np.sin(d * u) + i, c), c), x[0], x)[1],
    "while_loop": lambda x: tg.lax.while_loop(lambda c: np.sum(c) < 50, lambda c: c * 1.5 + np.cos(c) ** 2, np.abs(x)),
    "switch": tg.jit(lambda x: tg.lax.switch((x[0] > 0).astype(int) + 1, [np.sin, np.cos, np.exp], x)),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOPS)
def test_loops_and_branches_are_ones_of_coefficients(name: str) -> None:
    """To order 8, where nested derivatives have 256 times the equations."""
    f, h = LOOPS[name], 1e-2
    found = tg.taylor(f, X, V, 8)
    near(sum([c * h**k for k, c in enumerate(found)]), f(X + h * V), 1e-9)
    near(sum([c * (-h) ** k for k, c in enumerate(found)]), f(X - h * V), 1e-9)
    near(list(tg.jit(lambda x: tg.taylor(f, x, V, 8))(X)), list(found), 1e-12)


def test_a_scan_stays_one() -> None:
    graph = tg.make_graph(lambda x: tg.taylor(FUNCTIONS["scan"], x, V, 5))(X)
    bodies = [len(eqn.params["body"].eqns) for eqn in graph.eqns if eqn.op.name == "scan"]
    assert len(bodies) == 2  # of the value, and of all coefficients
    assert max(bodies) < 150


def test_long_programs() -> None:
    def chain(x: Any) -> Any:
        for _ in range(1500):
            x = 0.999 * x + 0.001
        return x

    near(tg.taylor(chain, 0.3, 1.0, 3)[1], np.float64(0.999**1500))


def test_errors() -> None:
    wrong: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (lambda: tg.taylor(np.sin, 3, 1, 2), DtypeError, r"test_taylor.py:\d+ .*x is i64.*, which moves in no direction; pass"),
        (lambda: tg.taylor(np.sin, X, V[:2], 2), ShapeError, r"direction\[0\] is f64\[2\], but argument\[0\] is f64\[5\]"),
        (lambda: tg.taylor(np.sin, X, V, -1), ValueError, "order must be 0 or more, got -1"),
        (lambda: tg.taylor(np.sin, X, V, 1.5), TypeError, r"order must be an int, got 1.5; write tg.taylor\(f, x, v, 4\)"),
    ]  # fmt: skip
    for call, kind, text in wrong:
        with pytest.raises(kind, match=re.compile(text)):
            call()


def moving(op: Op, sample: Sample) -> tuple[Callable[..., Any], list[Any]]:
    """The op as a function of its floating inputs, to its floating outputs, and such inputs."""
    chosen = [i for i, x in enumerate(sample.inputs) if is_inexact(type_of(x).dtype)]

    def f(arrays: Any) -> Any:
        inputs = list(sample.inputs)
        for i, x in zip(chosen, arrays, strict=True):
            inputs[i] = x
        out = bind(op, tuple(inputs), sample.params)
        return [o for o in (out if op.multiple_results else (out,)) if is_inexact(type_of(o).dtype)]

    return f, [np.asarray(sample.inputs[i]) for i in chosen]


def _holds_to_order_three(op: Op) -> bool:
    """Whether the coefficients of a sample of the op are those of nested derivatives; False where it has none of floating numbers."""
    rng = np.random.default_rng(0)
    samples = [moving(op, s) for s in op.samples()]
    f, x = next(((f, x) for f, x in samples if x and sum([a.size for a in x]) <= 100), (None, []))
    if f is None:
        assert not any([x for _, x in samples]), f"{op.name} has large samples alone"
        return False
    v = [np.asarray(rng.normal(size=a.shape) * 0.3).astype(a.dtype) for a in x]
    with np.errstate(all="ignore"):
        expected, found = nested(f, x, v, 3), tg.taylor(f, x, v, 3)
    for want, got in zip(tree.tree_leaves(expected), tree.tree_leaves(found), strict=True):
        assert np.asarray(got).dtype == np.asarray(want).dtype, op.name
        scale = np.nanmax(np.abs(want), initial=1.0)
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-8 * scale, err_msg=op.name)
    return True


def test_every_op_has_coefficients() -> None:
    """To order 3, of one sample of each op; beyond, the way is the same. Of collectives there is nothing outside of vmap."""
    assert sum([_holds_to_order_three(op) for op in OPS.values() if op.collective is None]) > 190


def test_an_op_without_them_would_be_found() -> None:
    of_floats = lambda: [Sample((np.array([0.3, 0.5]),))]
    known = set(OPS)
    try:
        none = Op("without_a_rule", evaluate=np.sin, infer=lambda types, params: types[0], samples=of_floats)
        with pytest.raises(DifferentiationError, match="without_a_rule"):
            _holds_to_order_three(none)
        wrong = Op(
            "with_a_wrong_series", evaluate=np.sin, infer=lambda types, params: types[0], samples=of_floats,
            jvp=lambda primals, tangents, out, params: tangents[0] * np.cos(primals[0]),
            series=lambda k, inputs, out, params: inputs[0][k],
        )  # fmt: skip
        with pytest.raises(AssertionError):
            _holds_to_order_three(wrong)
    finally:
        for name in set(OPS) - known:
            del OPS[name]
