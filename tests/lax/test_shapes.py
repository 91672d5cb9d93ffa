"""Functions that move elements, against jax.lax."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same
from tests.lax.test_lax import leaves
from tracegrad import lax
from tracegrad.core.errors import ConcretizationTypeError

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)

jnp = jax.numpy
rng = np.random.default_rng(0)
N = rng.integers(-9, 9, (3, 4))


def test_padding_of_drawn_widths() -> None:
    generator = np.random.default_rng(0)
    cases = []
    while len(cases) < 40:
        n = int(generator.integers(0, 6))
        before, after, between = [int(k) for k in (*generator.integers(-6, 5, 2), generator.integers(0, 4))]
        if before + after + max(n, 1) + max(n - 1, 0) * between - (n == 0) >= 0:
            cases.append((generator.normal(size=n), [(before, after, between)]))

    def of(lax: Any, xp: Any, grad: Any) -> Any:
        def scalar(x: Any, value: Any, config: Any) -> Any:
            out = lax.pad(x, value, config)
            return xp.sum(out * np.cos(np.arange(float(out.size))))

        return [(lax.pad(x, 7.0, c), grad(scalar, (0, 1))(x, 0.5, c)) for x, c in cases]

    for found, expected in zip(of(lax, np, tg.grad), jax.jit(lambda: of(jax.lax, jnp, jax.grad))(), strict=True):
        same(leaves(found), leaves(expected), 1e-14)


def test_places_that_must_be_known() -> None:
    for f, instead in (
        (lambda i: lax.slice(N, (i, 0), (3, 4)), r"dynamic_slice"),
        (lambda i: lax.slice_in_dim(N, i, None), r"dynamic_slice_in_dim"),
        (lambda i: lax.index_in_dim(N, i), r"dynamic_index_in_dim"),
    ):
        with pytest.raises(ConcretizationTypeError, match=rf"(?s)lax\..*write tg\.lax\.{instead}"):
            tg.jit(f, branches="error")(1)
        same(tg.jvp(lambda x: f(1) * x, (2.0,), (1.0,))[0], 2.0 * f(1))
