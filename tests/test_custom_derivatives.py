"""Names as in `jax.custom_derivatives`; what they do is tested in transforms/custom/."""

from __future__ import annotations

import jax.custom_derivatives
import numpy as np

import tracegrad as tg
from tracegrad import custom_derivatives


def test_names_are_those_of_jax() -> None:
    assert set(custom_derivatives.__all__) <= set(dir(jax.custom_derivatives))
    assert tg.custom_derivatives is custom_derivatives
    assert custom_derivatives.custom_jvp is tg.custom_jvp
    assert custom_derivatives.custom_vjp is tg.custom_vjp


def test_a_symbolic_zero_tells_what_it_belongs_to() -> None:
    zero = custom_derivatives.zero_from_primal(np.ones((2, 3), np.float32))
    assert (zero.shape, zero.dtype, zero.ndim, zero.size) == ((2, 3), np.float32, 2, 6)
    assert repr(zero) == "SymbolicZero((2, 3), float32)"
    assert repr(custom_derivatives.zero_from_primal(3)) == "SymbolicZero((), float0)"
