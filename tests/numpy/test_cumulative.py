"""Running sums and products under NumPy's names."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.ops.reduce import traced

jax.config.update("jax_enable_x64", True)

rng = np.random.default_rng(0)
X = rng.uniform(-2, 2, (2, 3, 4))
LAX = {
    "cummax": np.maximum,
    "cummin": np.minimum,
    "cumlogsumexp": np.logaddexp,
    "cumsum": np.add,
    "cumprod": np.multiply,
}


@pytest.mark.parametrize(
    "name", ["argmax", "nanargmin", "cumsum", "cumulative_prod", "sort", "argsort", "diff", "trapezoid"]
)
def test_functions_along_one_axis_take_no_two(name: str) -> None:
    for axis in [(0, 1), ()]:
        with pytest.raises(
            TypeError, match=r"acts along one axis: axis must be an integer, got \([01, ]*\)\n  in .* at "
        ):
            traced(lambda x, axis=axis: getattr(np, name)(x, axis=axis), X)


def test_running_totals_are_of_real_numbers_along_one_axis() -> None:
    with pytest.raises(tg.core.errors.DtypeError, match=r"cumlogsumexp of c128\[2\]: complex numbers are not taken"):
        tg.lax.cumlogsumexp(np.ones(2, complex))
    for name in LAX:
        with pytest.raises(TypeError):
            getattr(tg.lax, name)(np.ones((2, 2)), None)
