"""What is said to whoever wants a plain array or number of a tracer that has none."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.errors import ConcretizationTypeError, TracerArrayConversionError

PLAIN = np.zeros(3)


def _assigned(x: Any) -> Any:
    y = np.zeros(3)
    y[0] = x[0]
    return y


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a list": (lambda x: np.array([x[0], 1.0]), r"tnp\.array\(\[\.\.\.\]\)"),
    "a part": (_assigned, r"tnp\.at\(y\)\[i\]\.set\(v\)"),
    "a dtype": (lambda x: np.float32(x), r"x\.astype\(np\.float32\)"),
    "math": (lambda x: math.lgamma(x[0]), r"tg\.lax\.lgamma"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_to_write_instead(name: str) -> None:
    f, instead = REFUSED[name]
    with pytest.raises((TracerArrayConversionError, ConcretizationTypeError), match=instead) as caught:
        tg.grad(lambda x: np.sum(f(x)))(np.ones(3))
    assert "test_refusals.py" in str(caught.value)


def test_a_branch_and_a_loop() -> None:
    by_types = lambda f: tg.jit(f, branches="error")
    with pytest.raises(ConcretizationTypeError, match=r"tg\.lax\.cond"):
        by_types(lambda x: x if x > 0 else -x)(1.0)

    def doubled(x: Any) -> Any:
        while x < 10:
            x = 2 * x
        return x

    with pytest.raises(ConcretizationTypeError, match=r"tg\.lax\.while_loop"):
        by_types(doubled)(1.0)
