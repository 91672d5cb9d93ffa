"""What the tests of reductions share: values against NumPy, first and second derivatives against jax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import tracegrad as tg
from tests.compare import same
from tests.jaxprs import run_with_numpy

jax.config.update("jax_enable_x64", True)

rng = np.random.default_rng(0)
X = rng.uniform(-2, 2, (2, 3, 4))
DISTINCT = rng.permutation(24).reshape(2, 3, 4) / 7 - 1.5


def traced(f: Callable[..., Any], *args: Any) -> Any:
    """The value of `f` computed through tracers."""
    return tg.vjp(f, *args)[0]


def mixed(f: Callable[..., Any], xp: Any) -> Callable[..., Any]:
    """A scalar made of all outputs of `f`, curved in each of them, so that wrong derivatives cannot cancel."""

    def scalar(*xs: Any) -> Any:
        outs = f(xp, *xs)
        total = 0.0
        for out in outs if isinstance(outs, tuple) else (outs,):
            weights = np.cos(np.arange(out.size, dtype=float)).reshape(out.shape) + 0.3
            total = total + xp.sum(weights * out + 0.5 * out**2)
        return total

    return scalar


def agrees(f: Callable[..., Any], *args: Any, rtol: float = 1e-10, second: bool = True) -> None:
    """`f(xp, *args)`: the value through tracers is NumPy's; gradient and Hessian are jax's, which take reverse mode
    and forward over reverse. Where jax has NaN (by a NaN that was left out, at a deviation of zero), ours is zero."""
    same(traced(lambda *xs: f(np, *xs), *args), f(np, *args), 1e-13)
    ours, theirs = mixed(f, np), mixed(f, jnp)
    for i in range(len(args)):
        expected = np.nan_to_num(run_with_numpy(jax.grad(theirs, i), *args))
        np.testing.assert_allclose(tg.grad(ours, i)(*args), expected, rtol=rtol, atol=rtol)
        if second:
            expected = np.nan_to_num(run_with_numpy(jax.hessian(theirs, i), *args))
            np.testing.assert_allclose(tg.hessian(ours, i)(*args), expected, rtol=rtol, atol=10 * rtol)
        tangents = [np.where(np.isnan(x), 0.0, np.cos(np.arange(np.size(x))).reshape(np.shape(x))) for x in args]
        found = tg.jvp(ours, args, tuple(tangents))[1]
        expected = sum(np.sum(tg.grad(ours, i)(*args) * t) for i, t in enumerate(tangents))
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol)
