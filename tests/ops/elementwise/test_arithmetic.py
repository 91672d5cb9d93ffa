"""Complex derivatives in every quadrant; several outputs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tests.numpy.test_creation import same
from tracegrad.core.op import OPS, Sample
from tracegrad.testing import check_rule

jax.config.update("jax_enable_x64", True)

QUADRANTS = np.array(
    [0.6 + 0.4j, -0.6 + 0.5j, -0.7 - 0.4j, 0.5 - 0.6j, 1.7 + 0.3j, -1.8 + 0.2j, -1.6 - 0.3j, 1.5 - 0.2j]
)
COMPLEX = sorted(
    op.name
    for op in OPS.values()
    if op.name in dir(np) and isinstance(getattr(np, op.name), np.ufunc) and getattr(np, op.name).nin == 1
    if "c" in op.kinds and op.name != "rint"
)  # fmt: skip


@pytest.mark.parametrize("name", [*COMPLEX, "real", "imag"])
def test_complex_derivatives_in_every_quadrant(name: str) -> None:
    check_rule(OPS[name], [Sample((QUADRANTS,))])


@pytest.mark.parametrize("name", ["multiply", "divide", "power", "add", "subtract", "float_power"])
def test_complex_derivatives_of_two_inputs(name: str) -> None:
    check_rule(OPS[name], [Sample((QUADRANTS, QUADRANTS[::-1] + 0.1))])


HOLOMORPHIC = [
    "exp", "log", "sqrt", "sin", "tan", "tanh", "arcsin", "arctan", "arcsinh", "arctanh", "reciprocal",
    "square", "log1p", "expm1", "sinc",
]  # fmt: skip


@pytest.mark.parametrize("name", [*HOLOMORPHIC, "abs", "real", "imag", "conj", "angle"])
def test_complex_gradients_are_those_of_jax(name: str) -> None:
    for part in ("real", "imag"):
        ours = tg.grad(lambda z: np.sum(getattr(getattr(np, name)(z), part)))(QUADRANTS)
        theirs = jax.grad(lambda z: jnp.sum(getattr(getattr(jnp, name)(z), part)))(QUADRANTS)
        same(ours, theirs, atol=1e-15)


def test_several_outputs_batch_over_any_axis() -> None:
    x = np.linspace(1.2, 1.8, 6).reshape(2, 3)
    for f in (np.modf, np.frexp, lambda x: np.divmod(x, 0.7)):
        for ours, plain in zip(tg.vmap(f, in_axes=1, out_axes=1)(x), f(x), strict=True):
            np.testing.assert_array_equal(ours, plain)
    check_rule(OPS["modf"], [Sample((x,))])
