"""QR."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.numpy.test_linalg import adjoint, general
from tracegrad.testing.differences import five_point

jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize("kind", ["f", "c"])
def test_complete_qr(kind: str) -> None:
    a, t = general(4, 2, kind=kind), general(4, 2, seed=1, kind=kind)

    def parts(a: Any) -> Any:
        q, r = np.linalg.qr(a, "complete")
        return q[:, :2], r, q[:, 2:] @ adjoint(q[:, 2:]), q @ adjoint(q), q @ r

    for ours, theirs in zip(tg.jvp(parts, (a,), (t,))[1], five_point(parts, [a], [t]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kind", ["f", "c"])
def test_wide_qr(kind: str) -> None:
    a, t = general(2, 4, kind=kind), general(2, 4, seed=1, kind=kind)
    function = lambda a: tuple(np.linalg.qr(a))
    for ours, theirs in zip(tg.jvp(function, (a,), (t,))[1], five_point(function, [a], [t]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-8)
