"""The bits of a jitted function are those of NumPy, whatever the signs of zeros."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.lax
import tracegrad.numpy as tnp
from tracegrad.graph import exactly


def same(got: Any, expected: Any) -> bool:
    """The same type, shape and bits; of a NaN, that it is one."""
    a, b = np.asarray(got), np.asarray(expected)
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return False
    parts = ((a.real, b.real), (a.imag, b.imag)) if a.dtype.kind == "c" else ((a, b),)
    return all([np.where(x != x, 0, x).tobytes() == np.where(y != y, 0, y).tobytes() for x, y in parts])


# ---------------------------------------------------------------------------------------------------------------------
# Constants that are equal and not the same.

V = np.array([1.0, -2.0, 4.0, 0.0, -0.0])

WITH_CONSTANT: dict[str, Callable[[Any, Any], Any]] = {
    "pad": lambda x, c: np.pad(x, 1, constant_values=c),
    "pad both": lambda x, c: np.pad(x, 1, constant_values=(c, -c)),
    "full_like": lambda x, c: np.full_like(x, c),
    "where": lambda x, c: np.where(x > 0, c, x),
    "maximum": lambda x, c: np.maximum(x, c),
    "add": lambda x, c: x + c,
    "subtract": lambda x, c: x - c,
    "subtract from": lambda x, c: c - x,
    "multiply": lambda x, c: x * c,
    "divide": lambda x, c: x / c,
    "divide by": lambda x, c: c / x,
    "copysign": lambda x, c: np.copysign(x, c),
    "arctan2": lambda x, c: np.arctan2(c, x),
    "power": lambda x, c: np.power(c, x),
    "prod": lambda x, c: np.prod(x, initial=c),
    "select": lambda x, c: np.select([x > 0], [x], default=c),
    "nan_to_num": lambda x, c: np.nan_to_num(x * np.nan, nan=c),
    "concatenate": lambda x, c: np.concatenate([x, [c]]),
    "insert": lambda x, c: np.insert(x, 1, c),
    "diff": lambda x, c: np.diff(x, prepend=c),
    "set": lambda x, c: tnp.at(x)[1].set(c),
    "fill": lambda x, c: tnp.at(x)[np.array([9])].get(mode="fill", fill_value=c),
    "heaviside": lambda x, c: np.heaviside(x, c),
    "einsum": lambda x, c: np.einsum("i,->i", x, c),
    "lax.full": lambda x, c: x * tg.lax.full((5,), c),
    "cond": lambda x, c: tg.lax.cond(x[0] > 0, lambda x: x * c, lambda x: x, x),
    "scan": lambda x, c: tg.lax.scan(lambda a, b: (a, a / b), c * 1.0, x)[1],
}


@pytest.mark.parametrize("name", WITH_CONSTANT)
def test_constants_are_not_merged(name: str) -> None:
    f = WITH_CONSTANT[name]
    with np.errstate(all="ignore"):
        for constants in (
            (0.0, -0.0),
            (-0.0, 0, 0.0),
            (1, True, 1.0),
            (np.nan, 1.0),
            (np.float32(0.0), np.float64(-0.0), 0.0),
        ):
            try:
                expected = [f(V, c) for c in constants]
            except (TypeError, ValueError):  # NumPy itself takes no bool there
                continue
            for got in (tg.jit(lambda x, cs=constants: [f(x, c) for c in cs])(V), [tg.jvp(lambda x, c=c: f(x, c), (V,), (V,))[0] for c in constants]):  # fmt: skip
                assert all(map(same, got, expected)), constants


def test_params_are_compared_exactly() -> None:
    assert (
        len(
            {
                exactly(x)
                for x in (0.0, -0.0, 0, False, np.float64(0.0), np.float32(0.0), complex(0.0), complex(0.0, -0.0))
            }
        )
        == 8
    )
    assert exactly(float("nan")) == exactly(float("nan")) and exactly((1, (0.0,))) != exactly((1, (-0.0,)))
    assert exactly((1, 2)) == exactly((1, 2)) != exactly((True, 2))
    pinv = lambda c: tg.make_graph(lambda a: np.linalg.pinv(a, rcond=c))(np.eye(2))
    assert pinv(0.0) == pinv(0.0) and pinv(0.0) != pinv(-0.0)
    assert hash(pinv(0.0)) == hash(pinv(0.0))
