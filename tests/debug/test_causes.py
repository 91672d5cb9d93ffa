"""Causes in words, and what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.debug.causes import applied, forward_advice, largest, overflows, shown, slope


def test_operations_are_written_as_users_do() -> None:
    assert applied("divide", (0.0, 0.0)) == "0 / 0"
    assert applied("subtract", (-np.inf, -np.inf)) == "-inf - (-inf)"
    assert applied("power", (-0.5, 2.5)) == "(-0.5) ** 2.5"
    assert applied("log", (np.float32(-0.3),)) == "log of -0.3"
    assert applied("arctan2", (0.0, 0.0)) == "arctan2 of 0, 0"
    assert applied("where", (np.True_, 1, np.nan)) == "where of True, 1, nan"
    assert shown(1 + 2j) == "1+2j"


def test_what_is_too_large_is_told_from_a_pole() -> None:
    assert overflows((89.2,), np.inf) and overflows((1e200, 1e200), np.inf)
    assert not overflows((1.0, 0.0), np.inf) and not overflows((np.inf,), np.inf) and not overflows((), np.inf)
    assert largest(np.dtype(np.float16)) == "65504" and largest(np.dtype(np.float32)) == "3.40282e+38"


# What the advice of each says, with `ok` written out, where the op alone is not finite, or its slope.
_OTHERWISE: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], Any]] = {
    "sqrt": (np.sqrt, lambda x: np.where(x > 0, np.sqrt(np.where(x > 0, x, 1.0)), 0.0), 0.0),
    "cbrt": (np.cbrt, lambda x: np.where(x != 0, np.cbrt(np.where(x != 0, x, 1.0)), 0.0), 0.0),
    "log": (np.log, lambda x: np.where(x > 0, np.log(np.where(x > 0, x, 1.0)), 0.0), 0.0),
    "divide": (lambda x: 1.0 / x, lambda x: np.where(x != 0, 1.0 / np.where(x != 0, x, 1.0), 0.0), 0.0),
    "power": (lambda x: x**0.3, lambda x: np.where(x > 0, np.where(x > 0, x, 1.0) ** 0.3, 0.0), 0.0),
    "arccos": (np.arccos, lambda x: np.arccos(np.clip(x, -1 + 1e-7, 1 - 1e-7)), 1.0),
    "arcsin": (np.arcsin, lambda x: np.arcsin(np.clip(x, -1 + 1e-7, 1 - 1e-7)), -1.0),
    "arctanh": (np.arctanh, lambda x: np.arctanh(np.clip(x, -1 + 1e-7, 1 - 1e-7)), 1.0),
    "arccosh": (np.arccosh, lambda x: np.arccosh(np.maximum(x, 1 + 1e-7)), 1.0),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("op", _OTHERWISE)
def test_what_is_advised_has_a_finite_slope(op: str) -> None:
    alone, advised, x = _OTHERWISE[op]
    assert not np.isfinite(tg.grad(alone)(x))
    assert np.isfinite(tg.grad(advised)(x))
    assert slope(op)[0] and slope(op)[1].startswith("write `")


def test_advice_is_for_the_case() -> None:
    assert "np.abs(x) ** y" in forward_advice("power", (-0.5, 2.5), np.nan)
    assert "base from zero" in forward_advice("power", (0.0, -1.0), np.inf)
    assert "subtract the maximum" in forward_advice("exp", (np.float64(1e3),), np.inf)
    assert "float32" in forward_advice("exp", (np.float16(20),), np.float16(np.inf))
    assert "divisor" in forward_advice("divide", (1.0, 0.0), np.inf)
    assert "infinities" in forward_advice("divide", (np.inf, np.inf), np.nan)
    assert forward_advice("digamma", (0.0,), np.nan) == "" and slope("digamma") == ("", "")
