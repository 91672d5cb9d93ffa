"""tg.scipy.special: SciPy's values to the bit, derivatives against mpmath, under the transforms; what is called on tracers."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.errors import TracerArrayConversionError, UnsupportedFunctionError
from tracegrad.scipy import special
from tracegrad.testing import check_grads

scipy_special = pytest.importorskip("scipy.special")
coverage = pytest.importorskip("tests.scipy_coverage")

IN_DOUBLE = {"betainc", "polygamma"}  # where SciPy computes float32 less accurately
# NumPy computes them too, where SciPy is not installed, or they have ops of their own or are made of others: how many units they are off.
NEAR = {
    **dict.fromkeys(("erf", "erfc", "erfinv", "ndtr", "expit", "sinc", "factorial"), 8),
    **dict.fromkeys(("cbrt", "exp10", "exp2", "expm1", "log1p", "radian", "softplus", "pseudo_huber", "agm", "round", "zetac"), 8),
    **dict.fromkeys(("bdtr", "bdtrc", "bdtri", "gdtr", "gdtrc", "gdtrix", "nbdtr", "nbdtrc", "nbdtri", "nrdtrimn", "nrdtrisd"), 40),
    **dict.fromkeys(("eval_sh_chebyu", "eval_sh_legendre", "fdtr", "fdtrc", "ivp", "jvp", "kvp", "yvp", "hankel1", "hankel2", "hankel1e", "hankel2e", "h1vp", "h2vp", "voigt_profile"), 400), **dict.fromkeys(("eval_sh_chebyt", "jve", "yve"), 2000),
}  # fmt: skip


def columns(name: str, dtype: Any, count: int = 100) -> list[Any]:
    """The first points of those drawn, an array for each argument."""
    case = coverage.CASES[name]
    chosen = zip(*coverage.points(name)[:count], strict=True)
    return [np.array(c, np.int64 if d.kind == "whole" else dtype) for c, d in zip(chosen, case.draws, strict=True)]


def applied(module: Any, name: str, xs: Any) -> Any:
    found = getattr(module, name.strip())(xs[0], 1) if name == "multigammaln" else getattr(module, name.strip())(*xs)
    part = coverage.CASES[name].part
    return found if part is None else found[part]


@pytest.mark.parametrize("name", coverage.CASES)
def test_values_are_scipys(name: str) -> None:
    for dtype in (np.float64, np.float32):
        xs = columns(name, dtype)
        with np.errstate(all="ignore"):
            found, wanted = applied(special, name, xs), applied(scipy_special, name, xs)
        assert found.dtype == wanted.dtype or name in NEAR
        if name in IN_DOUBLE:
            wanted = applied(scipy_special, name, columns(name, np.float64)).astype(found.dtype)
        if name in NEAR:
            np.testing.assert_allclose(found, wanted, rtol=NEAR[name] * np.finfo(dtype).eps, atol=np.finfo(dtype).tiny)
        else:
            np.testing.assert_array_equal(found, wanted)


def test_every_function_is_measured() -> None:
    measured = {name.strip() for name in coverage.CASES}
    assert set(special.__all__) - measured == coverage.ELSEWHERE
    rows = coverage.rows_of(coverage.PAGE.read_text())
    assert list(rows) == [coverage.label(name) for name in coverage.CASES], "run python -m tests.scipy_coverage"
    assert coverage.PAGE.read_text().startswith(coverage.HEAD)
    assert coverage.TAIL in coverage.PAGE.read_text()
    assert [name for name in coverage.ELSEWHERE if f"`{name}`" not in coverage.TAIL] == []
    assert coverage.unnamed() == []


def stated(name: str) -> tuple[list[float], list[float]]:
    """The errors that the page has: in float64, and in float32."""
    cells = coverage.rows_of(coverage.PAGE.read_text())[coverage.label(name)].split("|")[2:6]
    numbers = [[float(x.replace("∞", "inf")) for x in cell.split(",") if x.strip() != "–"] for cell in cells]
    return numbers[0] + numbers[1], numbers[2] + numbers[3]


@pytest.mark.parametrize("name", coverage.CASES)
def test_the_page_tells_the_truth(name: str) -> None:
    """At a few of its points, with something for other processors."""
    chosen = coverage.points(name)[:3] + coverage.points(name)[coverage.POINTS :]
    with np.errstate(all="ignore"):
        for dtype, worst in zip((np.float64, np.float32), stated(name), strict=True):
            some = [p for p in chosen if dtype is np.float64 or all(x == 0 or 1e-30 <= abs(x) <= 1e30 for x in p)]
            found = list(coverage.errors(name, dtype, some, coverage.eager(name)))
            assert all(e <= 2 * w + 2 for e, w in zip(found, worst, strict=True)), (found, worst)


@pytest.mark.parametrize("name", ["gamma", "betaln", "jv", "log_ndtr", "expn", "boxcox", "ellipk", "eval_legendre"])
@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_under_jit_and_vmap(name: str, backend: str) -> None:
    if backend == "xla":
        pytest.importorskip("jax")
    xs = columns(name, np.float64, 5)
    last = len(xs) - 1
    f = getattr(special, name)
    slope = tg.grad(f, last)
    expected = np.array([slope(*[x[i] for x in xs]) for i in range(5)])
    np.testing.assert_allclose(tg.jit(tg.vmap(slope), backend=backend)(*xs), expected, rtol=1e-12)
    values = tg.jit(lambda *xs: f(*xs), backend=backend)(*xs)
    np.testing.assert_allclose(values, f(*xs), rtol=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# SciPy's own functions, called on tracers.


def test_scipys_ufuncs_are_traced() -> None:
    x, y = np.array([0.4, 0.7]), np.array([0.3, 2.0])
    for name, args in [
        ("gamma", (x,)), ("rgamma", (x,)), ("betaln", (x, y)), ("xlogy", (x, y)), ("jv", (1.0, y)), ("jn", (1, y)),
        ("fresnel", (x,)), ("sici", (x,)), ("expn", (2, y)), ("eval_legendre", (3, x)), ("ellipk", (x,)), ("gammaln", (x,)),
        ("lambertw", (y,)), ("zeta", (2.0, y)), ("hyp2f1", (1.0, 2.0, 3.0, x)), ("huber", (x, y)), ("log_ndtr", (x,)),
    ]:  # fmt: skip

        def total(module: Any, name: str = name, args: Any = args) -> Any:
            def f(last: Any) -> Any:
                found = getattr(module, name)(*args[:-1], last)
                return np.sum(np.real(found[0] + found[1] if isinstance(found, tuple) else found))

            return tg.value_and_grad(f)(args[-1])

        theirs, ours = total(scipy_special), total(special)
        np.testing.assert_array_equal(theirs[0], ours[0])
        np.testing.assert_array_equal(theirs[1], ours[1])


def test_what_is_not_traced_names_what_is_and_the_line() -> None:
    x = np.array([0.4, 0.7])
    for name in ("logsumexp", "softmax", "polygamma", "comb", "factorial", "multigammaln"):
        more = {"polygamma": lambda f, t: f(1, t), "comb": lambda f, t: f(t, 1.0), "multigammaln": lambda f, t: f(t, 2)}
        call = more.get(name, lambda f, t: f(t))
        with pytest.raises(TracerArrayConversionError) as caught:
            tg.grad(lambda t, call=call, name=name: np.sum(call(getattr(scipy_special, name), t)))(x)
        assert re.search(rf"test_special\.py:\d+.*\n.*Write `tg\.scipy\.special\.{name}\(", str(caught.value))
        assert tg.grad(lambda t, call=call, name=name: np.sum(call(getattr(special, name), t)))(x + 3).shape == (2,)
    with pytest.raises(
        UnsupportedFunctionError, match=r"scipy\.special\.airye.*test_special\.py(.|\n)*`tg\.scipy\.special` has"
    ):
        tg.grad(lambda t: scipy_special.airye(t)[0])(0.5)


# ---------------------------------------------------------------------------------------------------------------------
# What is no function of numbers.


def test_over_axes() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4))
    b = np.array([0.5, 2.0, -0.1, 1.0])
    for name in ("softmax", "log_softmax", "logsumexp"):
        for axis in (None, 0, 1):
            found = getattr(special, name)(x, axis)
            np.testing.assert_allclose(found, getattr(scipy_special, name)(x, axis), rtol=1e-14)
    for sign in (False, True):
        found = special.logsumexp(x, 1, b, True, sign)
        np.testing.assert_allclose(found, scipy_special.logsumexp(x, 1, b, True, sign), rtol=1e-13)
    np.testing.assert_allclose(tg.grad(special.logsumexp)(x), special.softmax(x), rtol=1e-14)


def test_constants_and_objects() -> None:
    np.testing.assert_array_equal(special.bernoulli(6), scipy_special.bernoulli(6))
    assert abs(tg.grad(lambda x: special.legendre(3)(x))(0.4) - (7.5 * 0.16 - 1.5)) < 1e-14


def test_riemanns_zeta() -> None:
    for x in (3.0, np.array([1.5, 2.0, 40.0])):
        np.testing.assert_array_equal(special.zeta(x), scipy_special.zeta(x))


def test_jax_arrays_are_accepted() -> None:
    jnp = pytest.importorskip("jax.numpy")
    found = special.gamma(jnp.asarray([1.0, 3.0], np.float32))
    assert type(found) is not np.ndarray
    np.testing.assert_allclose(found, [1, 2], rtol=1e-6)


def test_scipy_is_loaded_at_the_first_call() -> None:
    code = (
        "import sys, tracegrad as tg; tg.scipy.special.gamma; print('scipy' in sys.modules); "
        "tg.scipy.special.gamma(2.0); print('scipy.special' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_logsumexp_of_complex_numbers() -> None:
    """With terms that would overflow, and signs that are no numbers of the real line."""
    z = np.array([[700 + 1j, 710 - 2j, 709 + 0.5j], [-1j, 1 + 3j, 2.0]])
    b = np.array([1.0, -2.0, 0.5j])
    for how in ({}, {"axis": 1}, {"axis": 0, "keepdims": True}, {"axis": 1, "b": b, "return_sign": True}):
        for f in (special.logsumexp, tg.jit(lambda z, how=how: special.logsumexp(z, **how))):
            got = f(z, **how) if f is special.logsumexp else f(z)
            expected = scipy_special.logsumexp(z, **how)
            for x, y in zip(tg.tree.leaves(got), tg.tree.leaves(expected), strict=True):
                assert np.shape(x) == np.shape(y)
                np.testing.assert_allclose(x, y, rtol=1e-13)
    check_grads(lambda z: special.logsumexp(z, axis=1, b=b), (z,), order=1, rtol=1e-6)
