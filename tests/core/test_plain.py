"""Arrays of classes that compute in their own way are refused by name at every way in: taken for plain arrays they would
lose a mask, a unit or np.matrix's product without a word."""

from __future__ import annotations

import enum
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp


class WithUnit(np.ndarray):
    """As unyt's arrays: a ufunc of its own."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        raise AssertionError("not reached")


class Bare(np.ndarray):
    pass


class Quantity:
    """As pint's: no ndarray, but NumPy would make one of it."""

    magnitude = np.array([1.0, 2.0])

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.magnitude

    def __array_ufunc__(self, *args: Any, **kwargs: Any) -> Any:
        return NotImplemented


class OwnFloat64(np.float64):
    pass


class Meters(float):
    def __mul__(self, other: Any) -> Any:
        return Meters(float(self) * float(other))


V = np.array([1.0, 2.0])
MASKED = np.ma.array([1.0, 2.0], mask=[False, True])
FOREIGN = {
    "numpy.ma.MaskedArray": (MASKED, "its mask would be lost: write x.filled(0), say, and let np.where(mask, 0, y)"),
    "numpy.matrix": (V[None].view(np.matrix), "write np.asarray(x) for its numbers"),
    "WithUnit": (V.view(WithUnit), "write np.asarray(x) for its numbers"),
    "Bare": (V.view(Bare), "write np.asarray(x) for its numbers"),
    "Quantity": (Quantity(), "its unit would be lost: write x.magnitude"),
    "OwnFloat64": (OwnFloat64(2.0), "write np.asarray(x) for its numbers"),
    "Meters": (Meters(2.0), "write np.asarray(x) for its numbers"),
    "numpy.rec.recarray": (np.rec.array([(1.0,)], dtype=[("a", "f8")]), "write np.asarray(x) for its numbers"),
}


@tg.custom_jvp
def twice(x: Any) -> Any:
    return x * 2


twice.defjvp(lambda p, t: (twice(*p), t[0] * 2))


@tg.custom_vjp
def thrice(x: Any) -> Any:
    return x * 3


thrice.defvjp(lambda x: (thrice(x), None), lambda _, ct: (ct * 3,))

double = lambda x: x * 2
of_key = lambda d: d["a"] * 2
jitted, jitted_of_key = tg.jit(double), tg.jit(of_key)
jitted(V), jitted(1.5), jitted_of_key({"a": V})  # compiled, so that the short way in is tried too

WAYS_IN: dict[str, Callable[[Any], Any]] = {
    "grad": lambda m: tg.grad(lambda x: np.sum(x * x))(m),
    "grad, not differentiated": lambda m: tg.grad(lambda x, y: np.sum(x * y))(V, m),
    "closed over": lambda m: tg.grad(lambda x: np.sum(x * m))(V),
    "of a ufunc": lambda m: tg.grad(lambda x: np.sum(np.multiply(x, m)))(V),
    "of a function": lambda m: tg.grad(lambda x: np.dot(x, m))(V),
    "in a list": lambda m: tg.grad(lambda x: np.sum(x * [m, m]))(V),
    "stacked": lambda m: tg.grad(lambda x: np.sum(np.stack([x, m])))(V),
    "array": lambda m: tg.grad(lambda x: np.sum(tnp.array([x, m])))(V),
    "where": lambda m: tg.grad(lambda x: np.sum(np.where(x > 0, x, m)))(V),
    "at": lambda m: tg.grad(lambda x: np.sum(tnp.at(x)[0].set(m)))(V),
    "jit": lambda m: tg.jit(double)(m),
    "jit, compiled": lambda m: jitted(m),
    "jit, compiled, in a dict": lambda m: jitted_of_key({"a": m}),
    "jit, keyword": lambda m: tg.jit(double)(x=m),
    "jit, closed over": lambda m: tg.jit(lambda x: x * m)(V),
    "jit, returned": lambda m: tg.jit(lambda x: (x, m))(V),
    "lower": lambda m: tg.jit(double).lower(m),
    "vmap": lambda m: tg.vmap(double)(m),
    "vmap, keyword": lambda m: tg.vmap(lambda x, y: x * y)(V, y=m),
    "jvp": lambda m: tg.jvp(double, (m,), (V,)),
    "tangent": lambda m: tg.jvp(double, (V,), (m,)),
    "vjp": lambda m: tg.vjp(double, m),
    "cotangent": lambda m: tg.vjp(double, V)[1](m),
    "linearize": lambda m: tg.linearize(double, m),
    "tangent of linearize": lambda m: tg.linearize(double, V)[1](m),
    "linear_transpose": lambda m: tg.linear_transpose(double, m),
    "jacrev": lambda m: tg.jacrev(double)(m),
    "jacfwd": lambda m: tg.jacfwd(double)(m),
    "hessian": lambda m: tg.hessian(lambda x: np.sum(x * x))(m),
    "hvp": lambda m: tg.hvp(lambda x: np.sum(x * x), (V,), (m,)),
    "checkpoint": lambda m: tg.checkpoint(double)(m),
    "custom_jvp": twice,
    "custom_vjp": thrice,
    "scan, carry": lambda m: tg.lax.scan(lambda c, _: (c * 2, None), m, None, length=2),
    "scan, elements": lambda m: tg.lax.scan(lambda c, e: (c * 2, e), V, m),
    "scan, closed over": lambda m: tg.lax.scan(lambda c, _: (c * m, None), V, None, length=2),
    "while_loop": lambda m: tg.lax.while_loop(lambda c: np.all(c < 5), lambda c: c * 2, m),
    "fori_loop": lambda m: tg.lax.fori_loop(0, 2, lambda i, c: c * 2, m),
    "map": lambda m: tg.lax.map(double, m),
    "associative_scan": lambda m: tg.lax.associative_scan(np.add, m),
    "eval_shape": lambda m: tg.eval_shape(double, m),
    "make_graph": lambda m: tg.make_graph(double)(m),
    "Graph": lambda m: tg.make_graph(double)(V)(m),
    "an op": tg.lax.rsqrt,
}


@pytest.mark.parametrize("name", FOREIGN)
def test_refused_at_every_way_in(name: str) -> None:
    foreign, fix = FOREIGN[name]
    for way, enter in WAYS_IN.items():
        with pytest.raises(TypeError) as caught:
            enter(foreign)
        text = str(caught.value)
        assert f"{name} at {__file__}:" in text, (way, text)
        assert "computes in its own way, which is not traced" in text, (way, text)
        assert fix in text, (way, text)


def test_the_key_path_is_named() -> None:
    for call in (
        lambda: tg.grad(lambda p: np.sum(p["w"]))({"w": MASKED}),
        lambda: tg.jit(lambda p: p["w"] * 2)({"w": MASKED}),
        lambda: tg.vmap(lambda p: p["w"] * 2)({"w": MASKED}),
        lambda: tg.vjp(lambda p: p["w"] * 2, {"w": MASKED}),
        lambda: tg.make_graph(lambda p: p["w"] * 2)({"w": MASKED}),
    ):
        with pytest.raises(TypeError, match=r"^p\['w'\]: a numpy\.ma\.MaskedArray at "):
            call()
    with pytest.raises(TypeError, match=r"^cotangent\[0\]: a numpy\.ma\.MaskedArray at "):
        tg.vjp(lambda x: (x, x), V)[1]((MASKED, V))


def test_as_an_index() -> None:
    for index in (np.ma.array([0, 1], mask=[True, False]), np.array([0, 1]).view(Bare)):
        with pytest.raises(TypeError, match="computes in its own way"):
            tg.grad(lambda x, i=index: np.sum(x[i]))(V)
        with pytest.raises(TypeError, match="computes in its own way"):
            tg.jit(lambda x, i=index: tnp.at(x)[i].set(0.0))(V)


def test_beside_a_tracer_on_the_right() -> None:
    for m in (MASKED, V.view(WithUnit), Quantity()):
        with pytest.raises((TypeError, AssertionError)):
            tg.grad(lambda x, m=m: np.sum(m * x))(V)


def test_what_is_not_traced_is_computed_by_numpy() -> None:
    """Functions of tracegrad.numpy on plain arrays are NumPy's, and what meets no tracer is the user's own."""
    assert tnp.sum(MASKED) == 1.0
    assert tg.grad(lambda x: np.sum(x) * float(np.sum(MASKED)))(V).tolist() == [1.0, 1.0]


class Level(enum.IntEnum):
    HIGH = 3


def test_plain_arrays_of_other_classes(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "x", "float64", "w+", shape=(2,))
    mapped[:] = V
    for transform in (tg.jit, lambda f: f):
        f = transform(lambda x: np.sum(x * x * mapped))
        assert tg.grad(f)(mapped).tolist() == [2.0, 8.0]
    assert tg.jit(lambda x: x[mapped > 1.5])(V).tolist() == [2.0]
    out = tg.jit(lambda x: x)(mapped)
    out[:] = 0.0
    assert type(out) is np.ndarray
    assert mapped.tolist() == [1.0, 2.0]
    # A Python number of a class derived from int is as weak as an int.
    for f in (lambda x, n: x * n, lambda x, n: x * Level.HIGH):
        assert tg.jit(f)(V.astype("float32"), Level.HIGH).dtype == np.float32
        assert tg.vjp(f, V.astype("float32"), Level.HIGH)[0].dtype == np.float32


@pytest.mark.parametrize("name", FOREIGN)
def test_refused_on_xla(name: str) -> None:
    pytest.importorskip("jax")
    foreign, _ = FOREIGN[name]
    on_xla, of_dict = tg.jit(double, backend="xla"), tg.jit(of_key, backend="xla")
    on_xla(V), of_dict({"a": V})
    ways: list[Callable[[Any], Any]] = [
        on_xla,
        lambda m: of_dict({"a": m}),
        lambda m: on_xla(x=m),
        on_xla.lower,
        lambda m: tg.jit(lambda x: x * m, backend="xla")(V),
        lambda m: tg.jit(lambda x, n: x * n, backend="xla", static_argnums=1)(m, 2),
        tg.device_put,
        lambda m: tnp.add(tg.device_put(V), m),
    ]
    for enter in ways:
        with pytest.raises(TypeError, match="computes in its own way"):
            enter(foreign)
    with pytest.raises(TypeError, match=r"^d\['a'\]: a "):
        of_dict({"a": MASKED})
