"""Hypergeometric functions, with derivatives in the argument, elliptic integrals, and Lambert's W."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tracegrad.core.op import Op, Sample
from tracegrad.ops.elementwise.samples import unary_samples
from tracegrad.ops.special.declared import call, special, traces
from tracegrad.typing import Array, ArrayLike


def _samples_1f1() -> Iterable[Sample]:
    yield Sample((np.array([1, 2]), np.array([2, 3]), np.array([[-1.3, 0.4], [0.2, 1.7]])))


def _samples_2f1() -> Iterable[Sample]:
    yield Sample((np.array([1, 2]), np.array([2, 1]), np.array([3, 4]), np.array([[-0.7, 0.4], [0.2, 0.6]])))


_hyp1f1_op: Op = special(
    "hyp1f1", lambda d, out, a, b, x: d * np.divide(a, b) * hyp1f1(a + 1, b + 1, x), samples=_samples_1f1, without=["a", "b"],
)  # fmt: skip
_hyp2f1_op: Op = special(
    "hyp2f1", lambda d, out, a, b, c, z: d * np.divide(a * b, c) * hyp2f1(a + 1, b + 1, c + 1, z), samples=_samples_2f1,
    without=["a", "b", "c"],
)  # fmt: skip


@traces
def hyp1f1(a: ArrayLike, b: ArrayLike, x: ArrayLike) -> Array:
    """Kummer's confluent hypergeometric function 1F1(a; b; x); it has a derivative in `x` only.

    >>> bool(abs(hyp1f1(1.0, 1.0, 1.0) - np.e) < 1e-15)
    True
    """
    return call(_hyp1f1_op, a, b, x)


@traces
def hyp2f1(a: ArrayLike, b: ArrayLike, c: ArrayLike, z: ArrayLike) -> Array:
    """Gauss' hypergeometric function 2F1(a, b; c; z); it has a derivative in `z` only.

    >>> float(hyp2f1(1.0, 1.0, 1.0, 0.5))
    2.0
    """
    return call(_hyp2f1_op, a, b, c, z)


# ---------------------------------------------------------------------------------------------------------------------
# Complete elliptic integrals. Their derivatives, ((E / (1 - m)) - K) / 2m and (E - K) / 2m, are differences of neighbours near zero,
# where the same as hypergeometric functions stand in their place (DLMF 19.5.1 and 19.5.2).

_NEAR = 0.25


def _near_zero(m: Any) -> tuple[Any, Any, Any]:
    near = np.less(np.absolute(m), _NEAR)
    return near, np.where(near, m, 0), np.where(near, 0.5, m)


def _ellipk_partial(d: Any, out: Any, m: Any) -> Any:
    near, inner, outer = _near_zero(m)
    beyond = (ellipe(outer) / (1 - outer) - ellipk(outer)) / (2 * outer)
    return d * np.where(near, (math.pi / 8) * hyp2f1(1.5, 1.5, 2.0, inner), beyond)


def _ellipe_partial(d: Any, out: Any, m: Any) -> Any:
    near, inner, outer = _near_zero(m)
    beyond = (ellipe(outer) - ellipk(outer)) / (2 * outer)
    return d * np.where(near, (-math.pi / 8) * hyp2f1(0.5, 1.5, 2.0, inner), beyond)


_ellipk_op = special(
    "ellipk", _ellipk_partial, samples=lambda: [*unary_samples(0.3, 0.8)(), *unary_samples(-0.2, 0.2)()]
)
_ellipe_op = special(
    "ellipe", _ellipe_partial, samples=lambda: [*unary_samples(0.3, 0.8)(), *unary_samples(-0.2, 0.2)()]
)


@traces
def ellipk(m: ArrayLike) -> Array:
    """The complete elliptic integral of the first kind, of the parameter m = k**2 <= 1.

    >>> bool(ellipk(0.0) == np.pi / 2)
    True
    """
    return call(_ellipk_op, m)


@traces
def ellipe(m: ArrayLike) -> Array:
    """The complete elliptic integral of the second kind, of the parameter m = k**2 <= 1.

    >>> float(ellipe(1.0))
    1.0
    """
    return call(_ellipe_op, m)


# ---------------------------------------------------------------------------------------------------------------------
# Lambert's W.


def _lambertw_partial(d: Any, out: Any, z: Any, k: int, tol: float) -> Any:
    """exp(-w) / (1 + w), which there is at zero too."""
    return d * (np.exp(-out) / (1 + out))


def _lambertw_samples() -> Iterable[Sample]:
    for k in (0, -1):
        yield Sample((np.array([0.5 + 0.2j, -1.0 + 1j]),), {"k": k, "tol": 1e-8})
    yield Sample((np.array([0.5, 2.0]),), {"k": 0, "tol": 1e-8})


_lambertw_op = special("lambertw", _lambertw_partial, samples=_lambertw_samples, kinds="fc")


def lambertw(z: ArrayLike, k: int = 0, tol: float = 1e-8) -> Array:
    """The w, a complex number, for which w exp(w) = z, on the branch `k`, a plain integer.

    >>> complex(lambertw(0.0))
    0j
    """
    return call(_lambertw_op, z, k=int(k), tol=float(tol))


traces(lambertw, "_lambertw")
