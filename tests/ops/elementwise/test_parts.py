"""Parts of complex numbers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tests.numpy.test_creation import same
from tracegrad.core.errors import (
    DtypeError,
)

jax.config.update("jax_enable_x64", True)

QUADRANTS = np.array(
    [0.6 + 0.4j, -0.6 + 0.5j, -0.7 - 0.4j, 0.5 - 0.6j, 1.7 + 0.3j, -1.8 + 0.2j, -1.6 - 0.3j, 1.5 - 0.2j]
)


def test_the_sign_of_a_complex_number_turns_with_it() -> None:
    # d/dt of exp(i t) is what remains: the modulus has no part in it.
    value, tangent = tg.jvp(np.sign, (2.0 + 0j,), (1j,))
    same((value, tangent), (1.0 + 0j, 0.5j))
    assert tg.jvp(np.sign, (2.0 + 0j,), (1.0 + 0j,))[1] == 0
    assert tg.grad(lambda z: np.real(np.sign(z)))(0j) == 0
    assert tg.grad(np.sign)(3.0) == 0.0


def test_mixed_real_and_complex_inputs() -> None:
    x, z = np.array([0.5, 2.0]), np.array([1 + 2j, -1j])
    f = lambda x, z: np.sum(np.real(x * z + z**2 / x))
    ours = tg.grad(f, (0, 1))(x, z)
    theirs = jax.grad(lambda x, z: jnp.sum(jnp.real(x * z + z**2 / x)), (0, 1))(x, z)
    assert [g.dtype for g in ours] == [np.float64, np.complex128]
    for a, b in zip(ours, theirs, strict=True):
        same(a, b)


def test_the_real_part_of_a_real_array_is_the_array() -> None:
    graph = tg.make_graph(lambda x: np.real(x).real + x.imag)(np.ones(2))
    assert [e.op.name for e in graph.eqns] == ["imag", "add"]


def test_complex_numbers_have_no_signed_infinities() -> None:
    with pytest.raises(DtypeError, match=r"np\.isinf, or of x\.real"):
        tg.eval_shape(np.isposinf, QUADRANTS)
