"""Ops of scipy.special's functions: SciPy's dtypes, errors, and what is said where SciPy is missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import lax
from tracegrad.core.errors import DtypeError
from tracegrad.ops.special import declared
from tracegrad.scipy import special

scipy_special = pytest.importorskip("scipy.special")


def test_dtypes_are_scipys() -> None:
    for name, args in [
        ("gamma", (np.float16(2),)), ("gamma", (np.int8(2),)), ("gamma", (3,)), ("xlogy", (2.0, np.float32(2))),
        ("xlogy", (np.float32(2), np.float64(2))), ("expn", (2, np.float32(2))), ("yn", (2, np.float32(2))), ("wofz", (np.float32(1),)),
    ]:  # fmt: skip
        found = getattr(special, name)(*args)
        assert found.dtype == getattr(scipy_special, name)(*args).dtype
        typed = tg.eval_shape(getattr(special, name), *args)
        assert (typed.shape, typed.dtype) == ((), found.dtype)


def test_complex_numbers_are_refused_where_the_derivative_is_of_real_ones() -> None:
    with pytest.raises(DtypeError, match=r"gamma takes real numbers, got c128~\[\] at .*test_declared\.py"):
        tg.eval_shape(special.gamma, 1j)


def test_derivatives_at_python_scalars_are_numpys() -> None:
    """Infinite where Python divides by zero."""
    with np.errstate(all="ignore"):
        assert tg.grad(special.boxcox)(0.0, 0.5) == np.inf
        assert tg.grad(special.rel_entr, 1)(1.0, 0.0) == -np.inf
        assert tg.grad(special.expi)(0.0) == np.inf
        assert tg.grad(special.logit)(0.0) == np.inf
        assert np.isnan(tg.grad(special.ellipk)(1.0)) or tg.grad(special.ellipk)(1.0) == np.inf


def test_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    declared.scipy_special.cache_clear()

    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(declared, "imported", absent)
    with pytest.raises(ImportError, match=r"pip install 'tracegrad\[scipy\]'"):
        special.gamma(1.0)
    with pytest.raises(ImportError, match=r"pip install 'tracegrad\[scipy\]'"):
        lax.digamma(1.0)
    assert special.erf(np.array([0.0])) == 0
    declared.scipy_special.cache_clear()
