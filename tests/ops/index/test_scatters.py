"""What is written twice: the last one counts, for values and derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near

PLACES = np.array([0, 2, 0, -1, 2])


def written(x: Any, v: Any) -> Any:
    y = x * 1.0
    y[PLACES] = v
    return y


@pytest.mark.parametrize("mapped", [False, True])
def test_the_last_write_counts(mapped: bool) -> None:
    x, v = np.arange(4.0), np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    ct = np.array([10.0, 20.0, 30.0, 40.0])
    of_x, of_v = [0.0, 20.0, 0.0, 0.0], [0.0, 0.0, 10.0, 40.0, 30.0]
    pull = lambda x, v: tg.vjp(written, x, v)[1](ct)
    if mapped:
        found = tg.vmap(pull)(np.stack([x, x]), np.stack([v, 2 * v]))
        near(found, (np.array([of_x, of_x]), np.array([of_v, of_v])), 0.0)
    else:
        near(tg.vjp(written, x, v)[0], [3.0, 1.0, 5.0, 4.0], 0.0)
        near(tg.jit(written)(x, v), [3.0, 1.0, 5.0, 4.0], 0.0)
        near(pull(x, v), (np.array(of_x), np.array(of_v)), 0.0)
