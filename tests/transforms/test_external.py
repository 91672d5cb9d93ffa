"""External functions under every transform, on both backends."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.errors import DifferentiationError, DtypeError, ShapeError

X = np.array([0.5, 1.0, 2.0])
FLOAT = tg.ShapeDtypeStruct((), "float64")


def _sinc(x: Any) -> float:
    assert isinstance(x, float | np.floating)  # what traces is no number
    return math.sin(x) / x


cosine = tg.external(math.cos, out=lambda x: x, jvp=lambda p, t, out: -np.sin(p[0]) * t[0])
by_vjp = tg.external(_sinc, out=lambda x: x, vjp=lambda p, ct, out: (ct * (np.cos(p[0]) - out) / p[0],))
by_jvp = tg.external(_sinc, out=lambda x: x, jvp=lambda p, t, out: t[0] * (cosine(p[0]) - out) / p[0])


def sinc(x: Any) -> Any:
    return np.sin(x) / x


ORDERS: list[Any] = [lambda f: f, tg.grad, lambda f: tg.grad(tg.grad(f)), lambda f: tg.grad(tg.grad(tg.grad(f)))]
HOW: dict[str, Any] = {
    "plain": lambda f: lambda x: np.stack([f(v) for v in x]),
    "vmap": tg.vmap,
    "jit": lambda f: tg.jit(tg.vmap(f)),
    "of jit": lambda f: tg.vmap(tg.jit(f)),
}


@pytest.mark.parametrize("f", [by_vjp, by_jvp], ids=["vjp", "jvp"])
@pytest.mark.parametrize("order", range(4))
@pytest.mark.parametrize("how", HOW)
def test_every_order_under_every_transform(f: Any, order: int, how: str) -> None:
    found = HOW[how](ORDERS[order](f))(X)
    np.testing.assert_allclose(found, HOW[how](ORDERS[order](sinc))(X), rtol=1e-12)


@pytest.mark.parametrize("f", [by_vjp, by_jvp], ids=["vjp", "jvp"])
def test_on_xla(f: Any) -> None:
    both = lambda f: lambda x: (tg.vmap(f)(x), tg.vmap(tg.grad(tg.grad(f)))(x))
    for found, expected in zip(tg.jit(both(f), backend="xla")(X), both(sinc)(X), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_forward_mode_and_jacobians() -> None:
    for f in (by_vjp, by_jvp):
        np.testing.assert_allclose(tg.jvp(f, (2.0,), (3.0,)), tg.jvp(sinc, (2.0,), (3.0,)), rtol=1e-13)
        rows = tg.hessian(lambda x, f=f: np.sum(tg.vmap(f)(x) * x))(X)
        np.testing.assert_allclose(rows, tg.hessian(lambda x: np.sum(sinc(x) * x))(X), rtol=1e-12)


def test_the_value_is_computed_once() -> None:
    calls: list[float] = []

    def f(x: Any) -> float:
        calls.append(x)
        return _sinc(x)

    for rules in (
        {"jvp": lambda p, t, out: t[0] * (np.cos(p[0]) - out) / p[0]},
        {"vjp": lambda p, ct, out: (ct * (np.cos(p[0]) - out) / p[0],)},
    ):
        g: Any = tg.external(f, out=lambda x: x, **rules)
        compiled = tg.jit(tg.grad(g))
        compiled(2.0)
        for run in (tg.grad(g), compiled, tg.hessian(g), tg.value_and_grad(tg.jit(g))):
            calls.clear()
            run(2.0)
            assert len(calls) == 1


def test_trees_and_keywords() -> None:
    @tg.external(
        out=lambda a, b: {"sum": a["x"], "n": tg.ShapeDtypeStruct((), "int64")},
        vjp=lambda p, ct, out: ({"x": ct["sum"], "y": None}, 2.0 * np.sum(ct["sum"])),
    )
    def f(a: Any, b: Any) -> Any:
        return {"sum": np.asarray(a["x"]) + 2.0 * b, "n": len(a["x"])}

    def loss(a: Any, b: Any) -> Any:
        out = f(a, b=b)
        assert out["n"].dtype == np.int64
        return np.sum(out["sum"] ** 2)

    a = {"x": X, "y": np.ones(2)}
    for g in (tg.grad(loss, (0, 1)), tg.jit(tg.grad(loss, (0, 1)))):
        da, db = g(a, 1.5)
        np.testing.assert_allclose(da["x"], 2 * (X + 3.0))
        np.testing.assert_array_equal(da["y"], 0.0)
        np.testing.assert_allclose(db, np.sum(4 * (X + 3.0)))


@pytest.mark.parametrize("way", ["sequential", "expand_dims", "broadcast_all"])
def test_ways_to_map(way: str) -> None:
    shapes: list[Any] = []

    def f(x: Any, w: Any) -> Any:
        shapes.append((np.shape(x), np.shape(w)))
        return np.sin(x) * w

    g = tg.external(f, out=lambda x, w: x, vmap=way)
    x, w = np.arange(6.0).reshape(2, 3), np.array([2.0, 3.0])
    nested = tg.vmap(tg.vmap(g, in_axes=(0, None)))
    np.testing.assert_allclose(nested(x, w), np.sin(x) * w[:, None])
    expected = {
        "sequential": [((), ())] * 6, "expand_dims": [((2, 3), (2, 1))], "broadcast_all": [((2, 3), (2, 3))],
    }[way]  # fmt: skip
    assert shapes == expected
    shapes.clear()
    np.testing.assert_allclose(tg.jit(nested)(x, w), np.sin(x) * w[:, None])
    assert shapes == expected
    assert tg.vmap(g)(np.ones(0), np.ones(0)).shape == (0,) or way != "sequential"


def test_a_rule_for_vmap() -> None:
    def rows(size: int, batched: list[bool], x: Any, w: Any) -> Any:
        assert batched == [True, False] and size == 3
        return np.sin(x) * w, True

    g = tg.external(lambda x, w: math.sin(x) * w, out=lambda x, w: x, vmap=rows)
    np.testing.assert_allclose(tg.vmap(g, in_axes=(0, None))(X, 2.0), 2 * np.sin(X))
    refused = tg.external(math.sin, out=lambda x: x, vmap=None)
    with pytest.raises(NotImplementedError, match=r"vmap of the external function 'sin' at .*test_external.py"):
        tg.vmap(refused)(X)


def test_without_a_rule() -> None:
    f = tg.external(_sinc, out=lambda x: x)
    line = "test_external.py"
    for wrong in (
        lambda: tg.grad(f)(1.0), lambda: tg.jvp(f, (1.0,), (1.0,)), lambda: tg.jit(tg.grad(f))(1.0),
        lambda: tg.vmap(tg.grad(f))(X), lambda: tg.grad(tg.jit(f))(1.0),
    ):  # fmt: skip
        with pytest.raises(DifferentiationError) as caught:
            wrong()
        text = str(caught.value)
        assert "'_sinc', called at " in text and line in text and "give it jvp= or vjp= (tg.external)" in text
    assert tg.grad(lambda x: x * f(tg.stop_gradient(x)))(2.0) == _sinc(2.0)
    assert tg.grad(lambda x: x**2 + 0 * np.sum(f(x) > 0))(2.0) == 4.0


def test_wrong_rules() -> None:
    def made(**rules: Any) -> Any:
        return tg.grad(tg.external(_sinc, out=lambda x: x, **rules))

    with pytest.raises(
        DifferentiationError, match=r"must return a tuple with one cotangent for each of its 1 argument, got"
    ):
        made(vjp=lambda p, ct, out: ct)(1.0)
    with pytest.raises(ShapeError, match=r"vjp rule of the external function '_sinc'.* returned f64\[2\]"):
        made(vjp=lambda p, ct, out: (np.ones(2) * ct,))(1.0)
    with pytest.raises(ShapeError, match=r"the jvp rule of the external function '_sinc'.* returned f64\[2\]"):
        made(jvp=lambda p, t, out: (t[0], t[0]))(1.0)
    with pytest.raises(ValueError, match=r"vmap must be one of 'sequential'.*got 'rows'"):
        tg.external(_sinc, out=lambda x: x, vmap="rows")
    with pytest.raises(TypeError, match="takes a function"):
        tg.external(3.0, out=lambda x: x)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "how", [lambda f: f, tg.grad, tg.jit, lambda f: tg.jit(tg.grad(f)), lambda f: tg.grad(tg.jit(f))]
)
def test_what_is_not_pure_is_called_once_and_always(how: Any) -> None:
    calls: list[float] = []

    def count(x: Any) -> float:
        calls.append(x)
        return len(calls)

    f = tg.external(count, out=lambda x: x, pure=False, jvp=lambda p, t, out: 0.0 * t[0])

    def g(x: Any) -> Any:
        f(x), f(x)
        return x**2

    run = how(g)
    for _ in range(2):
        calls.clear()
        run(3.0)
        assert calls == [3.0, 3.0]


def test_functions_with_rules_that_are_not_traced_are_told_of_it() -> None:
    """The advice went in a circle: of a function with custom_vjp, that it needed custom_vjp."""

    @tg.custom_vjp
    def f(x: Any) -> Any:
        return np.float64(_sinc(float(np.asarray(x))))

    f.defvjp(lambda x: (f(x), x), lambda x, ct: (ct,))
    for how in (tg.jit(f), lambda x: tg.vmap(f)(np.ones(2) * x), tg.grad(tg.jit(f))):
        with pytest.raises(TypeError, match=r"write `tg.external\(f, out=..., vjp=...\)` in place of `tg.custom_vjp`"):
            how(1.0)

    @tg.custom_jvp
    def g(x: Any) -> Any:
        return np.float64(math.sin(x))

    g.defjvp(lambda p, t: (g(*p), t[0]))
    with pytest.raises(TypeError, match=r"or `jvp=...` in place of `tg.custom_jvp`"):
        tg.jit(g)(1.0)


def test_pure_callback() -> None:
    struct = tg.ShapeDtypeStruct((), "float64")
    f = lambda x: tg.pure_callback(math.erf, struct, x, vmap_method="sequential")
    expected = [math.erf(x) for x in X]
    np.testing.assert_array_equal(tg.vmap(f)(X), expected)
    np.testing.assert_array_equal(tg.jit(tg.vmap(f), backend="xla")(X), expected)
    assert tg.pure_callback(lambda x, scale: x * scale, struct, 3.0, scale=np.float64(2.0)) == 6.0
    graph = tg.jit(lambda x: (f(x), x)[1]).lower(1.0).graph
    assert not graph.eqns  # nothing reads it
    with pytest.raises(NotImplementedError, match="vmap_method='sequential'"):
        tg.vmap(lambda x: tg.pure_callback(math.erf, struct, x))(X)
    with pytest.raises(DifferentiationError, match=r"'erf', called at .* write tg.external\(erf, out=..., jvp=...\)"):
        tg.grad(f)(1.0)


@pytest.mark.parametrize("how", ["plain", "numpy", "xla"])
def test_what_goes_wrong_in_it(how: str) -> None:
    """On XLA, too, where jax makes an error of its own of each."""
    if how == "xla":
        pytest.importorskip("jax")
    run = (lambda f: f) if how == "plain" else lambda f: tg.jit(f, backend=how)

    def refusing(x: Any) -> Any:
        raise ValueError(f"no solution for {float(x)}")

    def nameless(x: Any) -> Any:
        raise ArithmeticError

    here = r"at .*test_external\.py:\d+"
    for f, error, said in [
        (refusing, ValueError, r"^no solution for 2\.0$"),
        (nameless, ArithmeticError, "^$"),
        (lambda x: None, DtypeError, rf"{here}.* returned None for its result 0, which is declared f64\[\]; .* declare out=None"),
        (lambda x: (v for v in [x]), DtypeError, rf"{here}.* returned a generator for its result 0, .* let it return numbers"),
        (lambda x: np.ones(1), ShapeError, rf"{here}.* returned shape \(1,\) for its result 0"),
        (lambda x: 1j, DtypeError, rf"{here}.* returned complex128 for its result 0"),
        (lambda x: [x, x], ShapeError, rf"{here}.* returned shape \(2,\) for its result 0"),
    ]:  # fmt: skip
        with pytest.raises(error, match=said):
            run(tg.external(f, out=FLOAT))(2.0)
    np.testing.assert_array_equal(run(tg.external(lambda x: 2 * x, out=FLOAT))(2.0), 4.0)


@pytest.mark.parametrize("out", [np.float64, "float64", np.dtype("float64"), float])
def test_a_dtype_is_no_result(out: Any) -> None:
    for make in (lambda: tg.external(math.cos, out=out), lambda: tg.pure_callback(math.cos, out, 1.0)):
        with pytest.raises(
            TypeError, match=r"at .*test_external\.py:\d+.* write tg\.ShapeDtypeStruct\(\(\), 'float64'\)"
        ):
            make()


def test_jax_arrays() -> None:
    jnp = pytest.importorskip("jax.numpy")
    for f in (by_vjp, by_jvp):
        found = tg.grad(f)(jnp.float32(2.0))
        np.testing.assert_allclose(float(found), tg.grad(sinc)(2.0), rtol=1e-6)


def _double(x: Any) -> Any:
    return 2.0 * float(x)


@tg.external(out=lambda x: x)
def doubled(x: Any) -> Any:
    return _double(x)


def test_it_can_be_pickled_where_its_parts_can() -> None:
    f = pickle.loads(pickle.dumps(tg.external(_double, out=FLOAT, jvp=_double)))
    assert f(2.0) == 4.0 and "external of" in repr(f)
    assert pickle.loads(pickle.dumps(doubled)) is doubled


def test_what_is_not_pure_is_not_called_once_more_for_a_derivative() -> None:
    """Its results would be others: a loop of x * 1 * 2 * 3 had the derivative 120."""
    calls: list[float] = []

    def count(x: Any) -> float:
        calls.append(x)
        return float(len(calls))

    f = tg.external(count, out=lambda x: x, pure=False, jvp=lambda p, t, out: 0.0 * t[0])
    scan = lambda x: tg.lax.scan(lambda c, _: (c * f(c), None), x, None, length=3)[0]
    loop = lambda x: tg.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * f(c[1])), (0, x))[1]
    for right in (
        tg.grad(scan),
        tg.grad(tg.checkpoint(scan)),
        tg.jit(tg.grad(scan)),
        tg.jit(tg.grad(tg.checkpoint(scan))),
    ):
        calls.clear()
        assert right(1.0) == 6.0 and len(calls) == 3
    for wrong in (
        lambda: tg.jvp(scan, (1.0,), (1.0,)),
        lambda: tg.grad(loop)(1.0),
        lambda: tg.jit(tg.jacfwd(loop))(1.0),
    ):
        with pytest.raises(
            DifferentiationError, match=r"computes once more what .* in which .*test_external.py.* is not pure"
        ):
            wrong()
