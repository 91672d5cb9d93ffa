"""Functions of matrices, against SciPy's and by complex steps."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from numpy.linalg import LinAlgError

import tracegrad as tg
from tests.numpy.test_linalg import general, regular
from tests.scipy.linalg import Case, check_batches, check_on_xla, check_values_and_derivatives
from tracegrad.scipy import linalg
from tracegrad.testing import check_grads

CASES: dict[str, Case] = {
    "expm": (lambda l, a: l.expm(a), lambda k: [general(3, 3, kind=k)]),
    "expm_frechet": (lambda l, a, e: l.expm_frechet(a, e), lambda k: [general(2, 2, kind=k), general(2, 2, seed=1, kind=k)]),
    "logm": (lambda l, a: l.logm(a), lambda k: [regular(2, 2, kind=k)]),
    "sqrtm": (lambda l, a: l.sqrtm(a), lambda k: [regular(3, 3, kind=k)]),
    "cosm": (lambda l, a: (l.cosm(a), l.sinm(a), l.tanm(a)), lambda k: [general(3, 3, kind=k) / 2]),
    "coshm": (lambda l, a: (l.coshm(a), l.sinhm(a), l.tanhm(a)), lambda k: [general(3, 3, kind=k) / 2]),
    **{
        f"fractional_matrix_power {t}": (
            lambda l, a, t=t: l.fractional_matrix_power(a, t), lambda k: [regular(3, 3, kind=k) @ regular(3, 3, kind=k)]
        )
        for t in (0.5, -1.3, 2, -2.0, 0)
    },
    "funm": (lambda l, a: l.funm(a, lambda w: w**3), lambda k: [regular(3, 3, kind=k)]),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["f", "c"])
@pytest.mark.parametrize("name", CASES)
def test_values_and_derivatives(name: str, kind: str) -> None:
    check_values_and_derivatives(CASES[name], kind)


@pytest.mark.parametrize("kind", ["f", "c"])
def test_values_on_xla(kind: str) -> None:
    check_on_xla(CASES, kind)


@pytest.mark.parametrize("name", CASES)
def test_batches(name: str) -> None:
    check_batches(CASES[name])


def test_second_derivatives() -> None:
    a = regular(2, 2)
    for f, args in [
        (linalg.expm, [a / 3]),
        (linalg.logm, [a]),
        (linalg.sqrtm, [a]),
    ]:
        check_grads(f, args, order=2, directions=1, rtol=1e-5, atol=1e-6)


def test_complex_steps() -> None:
    """Analytic functions of real matrices, along one direction."""
    a, t = regular(3, 3), general(3, 3, seed=1)
    for f, reference in [
        (linalg.expm, scipy.linalg.expm),
        (linalg.sqrtm, scipy.linalg.sqrtm),
        (linalg.logm, scipy.linalg.logm),
    ]:
        expected = np.imag(reference(a + 1e-100j * t)) / 1e-100 if f is linalg.expm else None
        if expected is None:  # SciPy's lose so small a step
            expected = (reference(a + 1e-5 * t) - reference(a - 1e-5 * t)) / 2e-5
        np.testing.assert_allclose(tg.jvp(f, (a,), (t,))[1], expected, rtol=1e-8, atol=1e-8)


def test_errors() -> None:
    with pytest.raises(LinAlgError, match=r"sqrtm of this real matrix is complex.*\n? .*astype\(complex\)"):
        tg.grad(lambda a: np.sum(linalg.sqrtm(a)))(-np.eye(2))
    with pytest.raises(LinAlgError, match="funm of this real matrix is complex"):
        tg.grad(lambda a: np.sum(linalg.funm(a, np.sqrt)))(np.array([[-1.0, 0.5], [0.2, -2.0]]))


def test_exponentials_of_large_matrices_on_xla() -> None:
    """Which jax's own halves too seldom: to 8 digits."""
    pytest.importorskip("jax")
    e = np.arange(9.0).reshape(3, 3)
    both = tg.jit(tg.vmap(lambda a: tg.jvp(linalg.expm, (a,), (e,))), backend="xla")
    a = np.stack([10 * np.eye(3), -20 * np.eye(3) + 1, 0.1 * e, 50 * np.array([[0, 1.0, 0], [-1, 0, 0.3], [0, 0, 0]])])
    for x, value, slope in zip(a, *map(np.asarray, both(a)), strict=True):
        wanted = scipy.linalg.expm_frechet(x, e)
        np.testing.assert_allclose(value, wanted[0], rtol=0, atol=1e-12 * np.max(np.abs(wanted[0])))
        np.testing.assert_allclose(slope, wanted[1], rtol=0, atol=1e-12 * np.max(np.abs(wanted[1])))
    found = np.asarray(tg.jit(linalg.expm, backend="xla")(np.eye(2) * 9j))
    np.testing.assert_allclose(np.diag(found), np.exp(9j), rtol=1e-13)
