"""`tracegrad.nn` against jax.nn: values, first and second derivatives, dtypes, and what happens far out."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import scipy.special

import tracegrad as tg
from tests.compare import near
from tracegrad.core.errors import UnsupportedFunctionError

jax.config.update("jax_enable_x64", True)


# ---------------------------------------------------------------------------------------------------------------------
# The functions underneath.


def test_python_can_ask_whether_another_name_was_meant() -> None:
    """It does so by `name` and `obj`: "Did you mean: 'relu'?"."""
    for module, name in ((tg, "gradd"), (tg.nn, "ReLU")):
        with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute '{name}'") as caught:
            getattr(module, name)
        assert (caught.value.name, caught.value.obj) == (name, module)


def test_functions_of_scipy_are_traced() -> None:
    x = np.linspace(-2, 2, 7)
    for name in ("erf", "erfc", "expit", "ndtr"):
        f = getattr(scipy.special, name)
        theirs = getattr(jax.scipy.special, name)
        near(tg.jit(lambda x, f=f: f(x))(x), f(x))
        near(tg.grad(lambda x, f=f: np.sum(f(x) * x))(x), jax.grad(lambda x, g=theirs: (g(x) * x).sum())(x))
    with pytest.raises(UnsupportedFunctionError, match=r"airye is not traced.*test_nn\.py"):
        tg.grad(lambda x: scipy.special.airye(x)[0])(2.0)
