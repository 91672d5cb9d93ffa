"""Forward mode while the function runs: what nobody can ask for goes, and all else stays as it is."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg

X = np.array([0.3, -1.2, 2.0])
V = np.array([1.0, 0.5, -2.0])


def chain(x: Any, count: int = 40) -> Any:
    for _ in range(count):
        x = np.sin(x) + 0.1
    return x


def alive(run: Callable[[Callable[..., Any]], Any], step: Callable[[Any], Any]) -> int:
    """How many of the values of fifty steps there are when the last has been taken."""
    found: list[int] = []

    def f(x: Any) -> Any:
        made = []
        for _ in range(50):
            x = step(x)
            below = x
            while not isinstance(below.value, np.ndarray) or type(below.value) is not np.ndarray:
                below = below.value
            made.append(weakref.ref(below.value))
        found.append(sum([r() is not None for r in made]))
        return x

    run(f)
    return found[-1]


@pytest.mark.parametrize(
    "step",
    [np.sin, lambda x: x + 1.0, lambda x: x * V, lambda x: x[::-1] * 2.0, lambda x: np.stack((x, x))[0] / 2],
    ids=["sin", "add", "captured", "views", "stack"],
)
def test_intermediates_go(step: Callable[[Any], Any]) -> None:
    assert alive(lambda f: tg.jvp(f, (X,), (V,)), step) < 16
    assert alive(lambda f: tg.jvp(lambda x: tg.jvp(f, (x,), (V,)), (X,), (V,)), step) < 32


def test_large_arrays_go_at_once() -> None:
    large = np.ones(20_000)
    assert alive(lambda f: tg.jvp(f, (large,), (large,)), np.sin) < 4


KEPT: dict[str, Callable[[Any], Any]] = {
    "in a list": lambda x: _used_later(x, lambda a, b: [a, b], lambda kept: kept[0] * kept[1]),
    "in a tuple that was handed on": lambda x: _used_later(x, _stacked, lambda kept: kept[0] * kept[1]),
    "in a closure": lambda x: _used_later(x, lambda a, b: lambda: a * b, lambda kept: kept()),
    "by a view": lambda x: _used_later(x, lambda a, b: (a[1:], b[1:]), lambda kept: kept[0] * kept[1]),
    "by a view of a view": lambda x: _used_later(x, lambda a, b: np.outer(a, b)[1:].T[0], np.sin),
    "by a view that is written into": lambda x: _used_later(x, lambda a, b: a[1:], _written),
    "by what unpacks": lambda x: _used_later(x, lambda a, b: np.split(np.concatenate([a, b]), 2), lambda k: k[0] * k[1]),
    "by a decomposition": lambda x: _used_later(
        x, lambda a, b: np.linalg.eigh(np.diag(a) + np.outer(b, b)), lambda k: (k[1] * np.exp(k[0])) @ k[1].T
    ),
    "as branches ask": lambda x: _used_later(x, lambda a, b: a, lambda a: a * 2 if np.sum(a) > 0 else a * 3),
}  # fmt: skip


def _used_later(x: Any, keep: Callable[[Any, Any], Any], use: Callable[[Any], Any]) -> Any:
    kept = keep(np.sin(x), np.cos(x))
    return chain(x)[0] + use(kept) + chain(x)[1]


def _stacked(a: Any, b: Any) -> Any:
    parts = (a, b)
    np.concatenate(parts)
    np.stack(parts)
    return parts


def _written(view: Any) -> Any:
    view[0] = view[1] ** 2
    chain(view)
    view *= 2.0
    return view


@pytest.mark.parametrize("name", KEPT)
def test_what_is_held_stays(name: str) -> None:
    f = KEPT[name]
    out, tangent = tg.jvp(f, (X,), (V,))
    assert np.array_equal(out, f(X))
    step = 1e-6
    assert np.allclose(tangent, (f(X + step * V) - f(X - step * V)) / (2 * step), rtol=1e-6, atol=1e-8)
    # Reverse mode keeps all.
    assert np.allclose(tangent, tg.linearize(f, X)[1](V), rtol=1e-12, atol=1e-14)
    twice = tg.jvp(lambda x: tg.jvp(f, (x,), (V,))[1], (X,), (V,))[1]
    assert np.allclose(twice, tg.jit(lambda x: tg.jvp(lambda x: tg.jvp(f, (x,), (V,))[1], (x,), (V,))[1])(X), rtol=1e-9)
    assert np.allclose(tg.hvp(lambda x: np.sum(f(x)), (X,), (V,)), tg.hessian(lambda x: np.sum(f(x)))(X) @ V, rtol=1e-9)


def test_an_error_of_a_rule_is_of_the_line_that_it_is_for() -> None:
    @tg.custom_jvp
    def g(x: Any) -> Any:
        return np.sin(x)

    @g.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        raise ZeroDivisionError("in the rule")

    with pytest.raises(ZeroDivisionError, match="in the rule"):
        tg.jvp(lambda x: g(x) + 1.0, (X,), (V,))
    assert np.allclose(tg.jvp(np.sin, (X,), (V,))[1], np.cos(X) * V)


def test_wrong_tangents_are_refused_before_the_function_runs() -> None:
    calls: list[Any] = []
    with pytest.raises(ValueError, match=r"tangents\[0\] is f64\[2\], but primals\[0\] is f64\[3\]"):
        tg.jvp(lambda x: calls.append(x) or x, (X,), (V[:2],))
    assert not calls
