"""Ops on elements. Those for which jax.lax has one function, the same for every dtype that NumPy computes in, stand in a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jax import lax

from tracegrad.core.backends import lowers

_LAX: dict[str, Callable[..., Any]] = {
    "subtract": lax.sub, "divide": lax.div, "negative": lax.neg, "square": lax.square,
    "exp": lax.exp, "exp2": lax.exp2, "expm1": lax.expm1, "log": lax.log, "log1p": lax.log1p, "sqrt": lax.sqrt,
    "cbrt": lax.cbrt, "sin": lax.sin, "cos": lax.cos, "tan": lax.tan, "sinh": lax.sinh, "cosh": lax.cosh,
    "tanh": lax.tanh, "arcsin": lax.asin, "arccos": lax.acos, "arctan": lax.atan, "arcsinh": lax.asinh,
    "arccosh": lax.acosh, "arctanh": lax.atanh, "arctan2": lax.atan2, "fabs": lax.abs,
    "bitwise_and": lax.bitwise_and, "bitwise_or": lax.bitwise_or, "bitwise_xor": lax.bitwise_xor,
    "invert": lax.bitwise_not, "left_shift": lax.shift_left, "nextafter": lax.nextafter,
}  # fmt: skip


def _applied(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda out, *inputs: function(*inputs)


for _name, _function in _LAX.items():
    lowers(_name)(_applied(_function))
