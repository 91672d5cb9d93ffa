"""What a derivative keeps, as a table."""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.ad_checkpoint
import numpy as np
import pytest

import tracegrad as tg

jax.config.update("jax_enable_x64", True)

X = np.array([0.3, -1.2, 2.0])


def test_residuals_as_a_table() -> None:
    def f(params: Any, x: Any) -> Any:
        return np.exp(x @ params["w"] * np.float32(0.001))

    found = tg.debug.residuals(f, {"w": np.ones((1000, 3), np.float32)}, np.ones((1, 1000), np.float32))
    line = f.__code__.co_firstlineno + 1
    assert str(found) == repr(found) == (
        f"""\
 bytes  type         made by      line
12,000  f32[1000,3]  params['w']
 4,000  f32[1,1000]  x
    12  f32[1,3]     exp          test_residuals.py:{line}
16,012  in all"""
    )  # fmt: skip
    assert found[2].source is not None
    assert (found[2].source.line, found[2].source.function) == (line, "f")
    assert found[2][:4] == ((1, 3), np.dtype(np.float32), 12, "exp")


def test_residuals_of_what_is_closed_over_and_of_nothing() -> None:
    assert [r.made_by for r in tg.debug.residuals(lambda x: x * X, X)] == ["an array from outside"]
    assert tg.debug.residuals(lambda x: x + 1.0, X) == ()
    assert [r.made_by for r in tg.debug.residuals(lambda x, n: x * n, X, np.arange(3))] == ["n"]
    with pytest.raises(TypeError, match=re.escape("write tg.debug.residuals(f, x) with the function itself")):
        tg.debug.residuals(3.0, X)  # type: ignore[arg-type]
