"""The plain array under a tracer, and what asks for the namespace of one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp

jax.config.update("jax_enable_x64", True)


IMAGE = np.arange(12.0).reshape(3, 4)


def _written_at(i: Any, value: float) -> Any:
    written = IMAGE.copy()
    written[i] = value
    return written


# What a plain array does with whole numbers and truth values that have been computed of x, which is near [0.2, 1.7].
LOOKUPS: dict[str, Callable[[Any], Any]] = {
    "arrays": lambda x: IMAGE[np.floor(x).astype(int), np.ceil(x).astype(int)],
    "argsort": lambda x: IMAGE[np.argsort(x)],
    "array beside a slice": lambda x: IMAGE[:, np.argsort(x)],
    "mask": lambda x: IMAGE[0, :2][x > 1],
    "number": lambda x: IMAGE[np.argmax(x)],
    "numbers": lambda x: IMAGE[np.argmax(x), np.argmin(x)],
    "truth value": lambda x: IMAGE[x[0] > 0],
    "slice": lambda x: IMAGE[: np.argmax(x)],
    "list": lambda x: IMAGE[[np.argmax(x), 0]],
    "take": lambda x: np.take(IMAGE, np.argsort(x), axis=1),
    "written": lambda x: _written_at(np.argsort(x), 5.0),
    "written at a mask": lambda x: _written_at(np.repeat(x > 1, 2)[:3], 5.0),
    "narrow": lambda x: IMAGE[np.floor(x).astype(np.uint8)],
    "list of Python": lambda x: np.asarray([IMAGE[1], IMAGE[2]][np.argmin(x)]),
    "array of Python": lambda x: np.array([np.argmax(x), 2]),
}


@pytest.mark.parametrize("name", sorted(LOOKUPS))
def test_plain_arrays_are_indexed_by_what_is_traced(name: str) -> None:
    """Whole numbers carry no derivative, and have values where there are any."""
    lookup, x = LOOKUPS[name], np.array([0.2, 1.7])
    found = lookup(x)

    def f(x: Any) -> Any:
        return np.sum(lookup(x)) * x[0] ** 2

    gradient = np.array([2 * 0.2 * np.sum(found), 0.0])
    assert np.array_equal(tg.vjp(lambda x: lookup(x) * x[0], x)[0], found * x[0])
    assert np.allclose(tg.grad(f)(x), gradient, rtol=1e-14)
    assert np.allclose(tg.jvp(f, (x,), (np.array([1.0, 3.0]),))[1], gradient[0], rtol=1e-14)
    assert np.allclose(tg.hessian(f)(x), [[2 * np.sum(found), 0], [0, 0]], rtol=1e-14)
    assert np.allclose(tg.linearize(f, x)[1](np.array([1.0, 3.0])), gradient[0], rtol=1e-14)
    by_types = functools.partial(tg.jit, branches="error")
    for transform in (by_types, lambda f: by_types(tg.grad(f)), lambda f: tg.vmap(f, in_axes=None, axis_size=2)):
        if name not in ("slice", "list of Python"):
            with pytest.raises(TypeError, match=r"tnp\.take\(table, i, axis=0\).*like=i\)\[i\]"):
                transform(f)(x)


def test_the_plain_array_of_a_tracer_is_no_way_to_write_into_it() -> None:
    def f(x: Any) -> Any:
        n = np.argsort(x)
        with pytest.raises(ValueError, match="read-only"):
            np.asarray(n)[0] = 5
        copy = np.array(n)
        copy[0] = 5
        assert np.asarray(n, np.float32).dtype == np.float32
        return x[n][0] + copy[0]

    assert tg.grad(f)(np.array([2.0, 1.0])).tolist() == [0.0, 1.0]


def test_the_plain_array_is_that_of_after_a_write() -> None:
    def f(x: Any) -> Any:
        n = np.argsort(x)
        n[0] = 0
        return np.sum(IMAGE[0, n] * x)

    assert tg.grad(f)(np.array([2.0, 1.0])).tolist() == [0.0, 0.0]


def test_numbers_that_carry_a_derivative_are_no_index() -> None:
    with pytest.raises(TypeError, match="that would cut it off"):
        tg.grad(lambda x: np.sum(IMAGE[x]))(np.array([0.0, 1.0]))


def test_the_namespace_of_the_array_api() -> None:
    x = np.array([0.5, 1.0])

    def f(x: Any) -> Any:
        xp = x.__array_namespace__(api_version="2024.12")
        assert xp is tnp and xp.isdtype(x.dtype, "real floating")
        return xp.sum(xp.permute_dims(xp.stack([x, xp.asarray(x)]), (1, 0)) ** 2)

    assert np.array_equal(tg.grad(f)(x), 4 * x) and tg.jit(f)(x) == 2 * np.sum(x**2)


def test_array_api_compat() -> None:
    compat = pytest.importorskip("array_api_compat")

    def f(x: Any) -> Any:
        xp = compat.array_namespace(x)
        assert compat.is_array_api_obj(x)
        return xp.sum(xp.concat([x, xp.exp(x)]))

    x = np.array([0.5, 1.0])
    assert np.allclose(tg.grad(f)(x), 1 + np.exp(x)) and np.allclose(tg.jit(tg.grad(f))(x), 1 + np.exp(x))


def test_einops() -> None:
    einops = pytest.importorskip("einops")
    x = np.arange(6.0).reshape(2, 3)

    def f(x: Any) -> Any:
        turned = einops.rearrange(x, "a b -> b a")
        return np.sum(turned**2) + einops.reduce(x, "a b -> ", "mean") + np.sum(einops.repeat(x, "a b -> a b c", c=2))

    assert np.allclose(tg.grad(f)(x), 2 * x + 1 / 6 + 2)
    assert np.allclose(tg.jit(tg.grad(f))(x), 2 * x + 1 / 6 + 2)
    assert np.allclose(tg.vmap(f)(np.stack([x, x])), [f(x), f(x)])


def test_autoray() -> None:
    autoray = pytest.importorskip("autoray")
    x = np.arange(6.0).reshape(2, 3)

    def f(x: Any) -> Any:
        return autoray.do("sum", autoray.do("tanh", x)) + autoray.do("einsum", "ij,ij->", x, x)

    wanted = 1 - np.tanh(x) ** 2 + 2 * x
    assert np.allclose(tg.grad(f)(x), wanted) and np.allclose(tg.jit(tg.grad(f))(x), wanted)
