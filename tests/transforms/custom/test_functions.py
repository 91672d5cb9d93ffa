"""What `custom_jvp` and `custom_vjp` take, and what is wrong with rules."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tracegrad.core.errors import DifferentiationError, ShapeError

X = np.array([0.3, -1.2, 2.0])


def test_custom_functions_of_pytrees() -> None:
    @tg.custom_vjp
    def f(p: Any, scale: Any) -> Any:
        return {"out": p["w"] * scale, "n": None, "sum": np.sum(p["b"])}

    def fwd(p: Any, scale: Any) -> Any:
        return f(p, scale), (p, scale)

    def bwd(residuals: Any, ct: Any) -> Any:
        p, scale = residuals
        return {"w": 5.0 * ct["out"] * scale, "b": [7.0 * ct["sum"] * np.ones_like(b) for b in p["b"]]}, None

    f.defvjp(fwd, bwd)
    p = {"w": X, "b": [1.0, 2.0]}
    loss = lambda p, scale: np.sum(f(p, scale)["out"]) + f(p, scale)["sum"]
    by_p, by_scale = tg.grad(loss, (0, 1))(p, 3.0)
    near(by_p, {"w": np.full(3, 15.0), "b": [np.float64(7.0), np.float64(7.0)]})
    near(by_scale, np.float64(0.0))  # None: a zero
    t = {"w": np.ones(3), "b": [1.0, 1.0]}
    near(tg.jvp(lambda p: loss(p, 3.0), (p,), (t,))[1], np.float64(45.0 + 14.0))

    @tg.custom_jvp
    def g(p: Any) -> Any:
        return p["w"] * p["b"][0], np.sum(p["w"])

    g.defjvp(lambda primals, tangents: (g(*primals), (11.0 * tangents[0]["w"], 0.0 * tangents[0]["b"][1])))
    near(tg.grad(lambda p: np.sum(g(p)[0]) + g(p)[1])(p), {"w": np.full(3, 11.0), "b": [np.float64(0.0)] * 2})


def test_defjvps() -> None:
    @tg.custom_jvp
    def f(x: Any, y: Any) -> Any:
        return np.sin(x) * y

    f.defjvps(lambda t, out, x, y: 10.0 * np.cos(x) * y * t, None)
    near(tg.grad(f, (0, 1))(0.5, 2.0), (np.float64(20.0 * np.cos(0.5)), np.float64(0.0)))


def test_nondiff_argnums() -> None:
    @functools.partial(tg.custom_vjp, nondiff_argnums=(0, 2))
    def f(func: Any, x: Any, power: int) -> Any:
        return func(x) ** power

    f.defvjp(
        lambda func, x, power: (f(func, x, power), x),
        lambda func, power, x, ct: (ct * power * 100.0,),
    )
    near(tg.grad(f, 1)(np.sin, 0.5, 3), np.float64(300.0))
    near(tg.jvp(lambda x: f(np.sin, x, 2), (0.5,), (1.0,))[1], np.float64(200.0))
    near(tg.vmap(lambda x: f(np.sin, x, 2))(X), np.sin(X) ** 2)

    @functools.partial(tg.custom_jvp, nondiff_argnums=(1,))
    def g(x: Any, mode: str) -> Any:
        return x * len(mode)

    @g.defjvp
    def g_jvp(mode: str, primals: Any, tangents: Any) -> Any:
        return g(*primals, mode), tangents[0] * 1000.0

    near(tg.grad(g)(2.0, "four"), np.float64(1000.0))
    near(g(2.0, mode="four"), 8.0)

    @functools.partial(tg.custom_jvp, nondiff_argnums=(-1,))
    def h(x: Any, mode: str) -> Any:
        return x

    h.defjvp(lambda mode, primals, tangents: (primals[0], tangents[0] * len(mode)))
    near(tg.grad(h)(2.0, "four"), np.float64(4.0))


def test_custom_functions_with_defaults_and_keywords() -> None:
    @tg.custom_jvp
    def f(x: Any, scale: Any = 3.0) -> Any:
        return x * scale

    f.defjvp(lambda primals, tangents: (f(*primals), tangents[0] * 7.0 + tangents[1] * 5.0))
    near(tg.grad(f)(2.0), np.float64(7.0))
    near(tg.grad(lambda s: f(2.0, scale=s))(3.0), np.float64(5.0))
    assert f.__name__ == "f"


def test_custom_methods() -> None:
    class Model:
        def __init__(self, scale: float) -> None:
            self.scale = scale

        @functools.partial(tg.custom_jvp, nondiff_argnums=(0,))
        def apply(self, x: Any) -> Any:
            return self.scale * x

        @apply.defjvp
        def apply_jvp(self, primals: Any, tangents: Any) -> Any:
            return self.apply(*primals), 100.0 * self.scale * tangents[0]

        @staticmethod
        @tg.custom_vjp
        def clip(x: Any) -> Any:
            return x

    Model.clip.defvjp(lambda x: (x, None), lambda _, ct: (np.clip(ct, -1.0, 1.0),))
    model = Model(2.0)
    near(model.apply(3.0), 6.0)
    near(tg.grad(model.apply)(3.0), np.float64(200.0))
    near(tg.grad(lambda x: model.apply(x) * 2.0)(3.0), np.float64(400.0))
    near(tg.grad(lambda x: 10.0 * model.clip(x))(3.0), np.float64(1.0))


@pytest.mark.parametrize(
    "rule, error, message",
    [
        (lambda p, t: t[0], DifferentiationError, "must return a pair"),
        (lambda p, t: (p[0], t[0][:1]), ShapeError, r"returned f64\[1\]"),
        (lambda p, t: (p[0], (t[0], t[0])), ShapeError, "of structure"),
        (lambda p, t: (p[0][:1], t[0][:1]), ShapeError, r"f64\[1\]"),
    ],
)
def test_wrong_jvp_rules(rule: Any, error: Any, message: str) -> None:
    f = tg.custom_jvp(lambda x: x * 2.0)
    f.defjvp(rule)
    for derive in (lambda: tg.jvp(f, (X,), (X,)), lambda: tg.grad(lambda x: np.sum(f(x)))(X)):
        with pytest.raises(error, match=message):
            derive()


@pytest.mark.parametrize(
    "fwd, bwd, error, message",
    [
        (lambda x, y: x, lambda r, ct: (ct, ct), DifferentiationError, "must return a pair"),
        (lambda x, y: (x, None), lambda r, ct: ct, DifferentiationError, "must return a tuple"),
        (lambda x, y: (x, None), lambda r, ct: (ct,), DifferentiationError, "tuple of 1"),
        (lambda x, y: (x, None), lambda r, ct: (ct[:1], ct), ShapeError, r"returned f64\[1\]"),
        (lambda x, y: (x, None), lambda r, ct: ((ct, ct), ct), ShapeError, "of structure"),
        (lambda x, y: (x[:1], None), lambda r, ct: (ct, ct), ShapeError, r"f64\[1\]"),
    ],
)
def test_wrong_vjp_rules(fwd: Any, bwd: Any, error: Any, message: str) -> None:
    f = tg.custom_vjp(lambda x, y: x * y)
    f.defvjp(fwd, bwd)
    for derive in (
        lambda: tg.grad(lambda x: np.sum(f(x, X)))(X),
        lambda: tg.jvp(lambda x: f(x, X), (X,), (X,)),
    ):
        with pytest.raises(error, match=message):
            derive()


def test_missing_rules() -> None:
    f = tg.custom_jvp(lambda x: x)
    g = tg.custom_vjp(lambda x: x)
    assert f(2.0) == g(2.0) == 2.0
    for h in (f, g):
        with pytest.raises(DifferentiationError, match="has no rules yet"):
            tg.grad(h)(2.0)


def test_nondiff_argnames() -> None:
    def f(x: Any, power: Any, y: Any, scale: Any = 1.0) -> Any:
        return scale * x**power + y

    g = tg.custom_jvp(f, nondiff_argnums=(3,), nondiff_argnames="power")
    assert g.nondiff_argnums == (1, 3)

    @g.defjvp
    def _(power: Any, scale: Any, primals: Any, tangents: Any) -> Any:
        return f(primals[0], power, primals[1], scale), 10 * power * scale * tangents[0] + tangents[1]

    assert tg.grad(g, (0, 2))(2.0, 3, 1.0, 5.0) == (150.0, 1.0)
    h = tg.custom_vjp(f, nondiff_argnames=["power", "scale"])
    h.defvjp(
        lambda x, power, y, scale: (f(x, power, y, scale), None), lambda power, scale, _, ct: (ct * power, ct * scale)
    )
    assert tg.grad(h, (0, 2))(2.0, 3, 1.0, scale=5.0) == (3.0, 5.0)
    with pytest.raises(ValueError, match=r"custom_jvp at .*nondiff_argnames='z', but .*f' .* has no parameter 'z'"):
        tg.custom_jvp(f, nondiff_argnames="z")
    with pytest.raises(TypeError, match=r"nondiff_argnums must be an int .*names go into nondiff_argnames"):
        tg.custom_vjp(f, nondiff_argnums="power")


@pytest.mark.parametrize(
    "returned, expected",
    [
        (lambda ct: ({"a": ct, "b": None}, None), (1.0, 0.0, 0.0)),
        (lambda ct: ({"a": None, "b": (ct, None)}, None), (0.0, 1.0, 0.0)),
        (lambda ct: (None, None), (0.0, 0.0, 0.0)),
    ],
)
def test_none_for_a_part_of_what_bwd_returns(returned: Any, expected: Any) -> None:
    f = tg.custom_vjp(lambda d, n: d["a"] + d["b"][0] + d["b"][1])
    f.defvjp(lambda d, n: (f(d, n), None), lambda _, ct: returned(ct))
    for made in (lambda f: f, tg.jit, tg.checkpoint):
        found = tg.grad(made(f))({"a": 1.0, "b": (2.0, 3.0)}, 1)
        assert found == {"a": expected[0], "b": expected[1:]}
    found = tg.vmap(tg.grad(f), (0, None))({"a": np.ones(2), "b": (np.ones(2), np.ones(2))}, 1)
    assert [x.tolist() for x in tg.tree.leaves(found)] == [[e, e] for e in expected]


def test_a_cotangent_of_another_structure() -> None:
    f = tg.custom_vjp(lambda d: d["a"] + d["b"][0])
    f.defvjp(lambda d: (f(d), None), lambda _, ct: ({"a": ct, "b": ct},))
    with pytest.raises(ShapeError, match=r"structure .* for argument 0, .* but for None where a part is zero"):
        tg.grad(f)({"a": 1.0, "b": (2.0,)})
