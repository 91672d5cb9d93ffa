"""Series whose coefficients are traced."""

from __future__ import annotations

import re
from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tracegrad.testing import check_grads

jax.config.update("jax_enable_x64", True)
FAMILIES = {
    "polynomial": "poly",
    "chebyshev": "cheb",
    "legendre": "leg",
    "hermite": "herm",
    "hermite_e": "herme",
    "laguerre": "lag",
}
RNG = np.random.default_rng(0)
POINTS: list[Any] = [0.3, np.array([-1.0, 0.5, 2.0]), np.arange(6.0).reshape(2, 3)]


@pytest.mark.parametrize("family", FAMILIES)
def test_values(family: str) -> None:
    name = FAMILIES[family] + "val"
    ours, numpys = getattr(getattr(tnp.polynomial, family), name), getattr(getattr(np.polynomial, family), name)
    for c in (RNG.normal(size=5), RNG.normal(size=1), RNG.normal(size=2), RNG.normal(size=(4, 3)), np.arange(4)):
        for x in POINTS:
            np.testing.assert_allclose(tg.jit(ours)(x, c), numpys(x, c), rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(ours(x, c), numpys(x, c))
    c, x = RNG.normal(size=5), POINTS[1]
    np.testing.assert_allclose(tg.jit(lambda x: numpys(x, c))(x), numpys(x, c), rtol=1e-12)  # coefficients are plain
    np.testing.assert_allclose(tg.jit(ours, backend="xla")(x, c), numpys(x, c), rtol=1e-12, atol=1e-12)
    check_grads(ours, (x, c), order=2)
    one = RNG.normal(size=(4, 3))
    np.testing.assert_allclose(
        tg.jit(lambda c: ours(x, c, tensor=False))(one), numpys(x, one, tensor=False), rtol=1e-12
    )


@pytest.mark.parametrize("form", ["val2d", "val3d", "grid2d", "grid3d"])
@pytest.mark.parametrize("family", FAMILIES)
def test_values_of_several_variables(family: str, form: str) -> None:
    name = FAMILIES[family] + form
    ours, numpys = getattr(getattr(tnp.polynomial, family), name), getattr(getattr(np.polynomial, family), name)
    c = RNG.normal(size=(3, 4) if "2d" in form else (3, 4, 2))
    points = [np.array([-1.0, 0.5, 2.0])] * (2 if "2d" in form else 3)
    np.testing.assert_allclose(tg.jit(ours)(*points, c), numpys(*points, c), rtol=1e-11, atol=1e-11)


def test_all_other_names_are_numpys() -> None:
    assert tnp.polynomial.Polynomial is np.polynomial.Polynomial
    assert tnp.polynomial.chebyshev.chebder is np.polynomial.chebyshev.chebder
    for family in FAMILIES:
        assert set(vars(getattr(tnp.polynomial, family))) - {"__doc__"} == set(getattr(np.polynomial, family).__all__)


def test_points_that_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="same shape"):
        tg.make_graph(lambda x: tnp.polynomial.polynomial.polyval2d(x, x[:2], np.ones((2, 2))))(np.ones(3))
    with pytest.raises(ValueError, match="no coefficients"):
        tg.make_graph(lambda c: tnp.polynomial.hermite.hermval(1.0, c))(np.ones(0))


def test_numpys_own_functions_name_ours() -> None:
    c = np.arange(3.0)
    for refused, text in [
        (lambda t: np.polynomial.polynomial.polyval(0.5, t), "tnp.polynomial.polynomial.polyval(...)"),
        (lambda t: np.polynomial.hermite_e.hermeval2d(t, t, np.outer(c, c)), "tnp.polynomial.hermite_e.hermeval2d(...)"),
        (lambda t: np.polynomial.Chebyshev(c)(t), "tnp.polynomial.chebyshev.chebval(x, p.convert().coef)` in place of `p(x)`"),
    ]:  # fmt: skip
        with pytest.raises(TypeError, match=re.escape(f"Write `{text}")):
            tg.make_graph(refused)(c)
    p = np.polynomial.Chebyshev(c, domain=[0, 2])
    found = tg.jit(lambda t: tnp.polynomial.chebyshev.chebval(t, p.convert().coef))(c)
    np.testing.assert_allclose(found, p(c))
