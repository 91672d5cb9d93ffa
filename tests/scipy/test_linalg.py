"""tg.scipy.linalg against SciPy's values; its derivatives against differences; jit on both backends; batches; errors."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from numpy.linalg import LinAlgError

import tracegrad as tg
from tests.numpy.test_linalg import adjoint, general, hermitian, regular, weighted
from tracegrad import tree
from tracegrad.core.errors import UnsupportedFunctionError
from tracegrad.core.op import OPS
from tracegrad.scipy import linalg
from tracegrad.testing import check_grads

Case = tuple[Callable[..., Any], Callable[[str], list[Any]]]


def bands(rows: int, n: int, main: int, kind: str) -> Any:
    ab = general(rows, n, kind=kind)
    ab[main] = np.abs(ab[main]) + 4
    return ab


def stable(n: int, kind: str) -> Any:
    return general(n, n, kind=kind) / 2


def upper(a: Any) -> Any:
    """What counts of a factor where SciPy leaves something else in the other half."""
    return np.where(~np.tri(a.shape[-1], k=-1, dtype=bool), a, 0)


def projector(v: Any) -> Any:
    return v @ np.conjugate(np.swapaxes(v, -1, -2))


# Functions of a module like scipy.linalg and of arrays, and these for "f" (real) or "c" (complex).
SOLVING: dict[str, Case] = {
    "solve": (lambda l, a, b: l.solve(a, b), lambda k: [regular(3, 3, kind=k), general(3, kind=k)]),
    "solve transposed": (lambda l, a, b: l.solve(a, b, transposed=True, assume_a="gen"), lambda k: [regular(3, 3), general(3, 2)]),
    "solve pos": (lambda l, a, b: l.solve(a + np.conjugate(a.T), b, assume_a="pos"), lambda k: [regular(3, 3, kind=k), general(3, 2, kind=k)]),
    "solve pos lower": (lambda l, a, b: l.solve(a + np.conjugate(a.T), b, lower=True, assume_a="pos"), lambda k: [regular(3, 3, kind=k), general(3, kind=k)]),
    "solve sym": (lambda l, a, b: l.solve(a, b, assume_a="sym"), lambda k: [regular(3, 3, kind=k), general(3, 2, kind=k)]),
    "solve sym lower": (lambda l, a, b: l.solve(a, b, lower=True, assume_a="sym"), lambda k: [regular(3, 3, kind=k), general(3, 2, kind=k)]),
    "solve her": (lambda l, a, b: l.solve(a + np.conjugate(a.T), b, assume_a="her"), lambda k: [regular(3, 3, kind=k), general(3, kind=k)]),
    "solve upper": (lambda l, a, b: l.solve(a, b, assume_a="upper triangular"), lambda k: [regular(3, 3, kind=k), general(3, 2, kind=k)]),
    "solve lower transposed": (lambda l, a, b: l.solve(a, b, assume_a="lower triangular", transposed=True), lambda k: [np.tril(regular(3, 3, kind="f")), general(3, 2, kind="f")]),
    "solve diagonal": (lambda l, d, b: l.solve(np.diag(d), b, assume_a="diagonal"), lambda k: [general(3, kind=k) + 2, general(3, kind=k)]),
    **{
        f"solve_triangular {trans} {lower} {unit}": (
            lambda l, a, b, t=trans, lo=lower, u=unit: l.solve_triangular(a, b, trans=t, lower=lo, unit_diagonal=u),
            lambda k: [regular(3, 3, kind=k), general(3, 2, kind=k)],
        )
        for trans, lower, unit in [(0, False, False), (1, True, False), ("C", True, True), (2, False, False)]
    },
    "cho_solve": (lambda l, a, b: l.cho_solve(l.cho_factor(a + np.conjugate(a.T)), b), lambda k: [regular(3, 3, kind=k), general(3, kind=k)]),
    "cho_solve lower": (lambda l, a, b: l.cho_solve(l.cho_factor(a + np.conjugate(a.T), lower=True), b), lambda k: [regular(3, 3, kind=k), general(3, 2, kind=k)]),
    "cho_factor": (lambda l, a: upper(l.cho_factor(a + np.conjugate(a.T))[0]), lambda k: [regular(3, 3, kind=k)]),
    "cholesky": (lambda l, a: (l.cholesky(a + np.conjugate(a.T)), l.cholesky(a + np.conjugate(a.T), lower=True)), lambda k: [regular(3, 3, kind=k)]),
    "inv, det": (lambda l, a: (l.inv(a), l.det(a)), lambda k: [regular(3, 3, kind=k)]),
    "solve_banded": (lambda l, ab, b: l.solve_banded((1, 2), ab, b), lambda k: [bands(4, 5, 2, k), general(5, kind=k)]),
    "solve_banded 1 1": (lambda l, ab, b: l.solve_banded((1, 1), ab, b), lambda k: [bands(3, 4, 1, k), general(4, 2, kind=k)]),
    "solveh_banded": (lambda l, ab, b: l.solveh_banded(ab, b), lambda k: [np.vstack([general(2, 4, kind=k) / 2, np.full(4, 4.0)]), general(4, kind=k)]),
    "solveh_banded lower": (lambda l, ab, b: l.solveh_banded(ab, b, lower=True), lambda k: [np.vstack([np.full(4, 4.0), general(2, 4, kind=k) / 2]), general(4, 2, kind=k)]),
    "cholesky_banded": (lambda l, ab: np.where(np.arange(4) >= 2 - np.arange(3)[:, None], l.cholesky_banded(ab), 0), lambda k: [np.vstack([general(2, 4, kind=k) / 2, np.full(4, 4.0)])]),
    "cho_solve_banded": (lambda l, ab, b: l.cho_solve_banded((l.cholesky_banded(ab), False), b), lambda k: [np.vstack([general(2, 4, kind=k) / 2, np.full(4, 4.0)]), general(4, kind=k)]),
    "cho_solve_banded lower": (lambda l, ab, b: l.cho_solve_banded((l.cholesky_banded(ab, lower=True), True), b), lambda k: [np.vstack([np.full(4, 4.0), general(2, 4, kind=k) / 2]), general(4, kind=k)]),
    "lu": (lambda l, a: l.lu(a)[1:], lambda k: [regular(3, 3, kind=k)[::-1].copy()]),
    "lu tall": (lambda l, a: l.lu(a, permute_l=True), lambda k: [regular(4, 4, kind=k)[[2, 0, 1, 3], :2]]),
    "lu wide": (lambda l, a: l.lu(a)[1:], lambda k: [regular(4, 4, kind=k)[[1, 0]]]),
    **{
        f"lu_solve {trans}": (lambda l, a, b, t=trans: l.lu_solve(l.lu_factor(a), b, trans=t), lambda k: [regular(3, 3, kind=k)[::-1].copy(), general(3, 2, kind=k)])
        for trans in (0, 1, 2)
    },
    "solve_sylvester": (lambda l, a, b, q: l.solve_sylvester(a, b, q), lambda k: [regular(3, 3, kind=k), regular(2, 2, kind=k), general(3, 2, kind=k)]),
    "solve_continuous_lyapunov": (lambda l, a, q: l.solve_continuous_lyapunov(a, q), lambda k: [regular(3, 3, kind=k), general(3, 3, kind=k)]),
    "solve_discrete_lyapunov": (lambda l, a, q: l.solve_discrete_lyapunov(a, q), lambda k: [stable(3, k), general(3, 3, seed=1, kind=k)]),
    "solve_discrete_lyapunov bilinear": (lambda l, a, q: l.solve_discrete_lyapunov(a, q, method="bilinear"), lambda k: [stable(3, k), general(3, 3, seed=1, kind=k)]),
    "solve_continuous_are": (
        lambda l, a, b, q, r: l.solve_continuous_are(a, b, q + np.conjugate(q.T), r + np.conjugate(r.T)),
        lambda k: [stable(3, k) * 2, general(3, 2, kind=k), regular(3, 3, kind=k), regular(2, 2, kind=k)],
    ),
    "solve_discrete_are": (
        lambda l, a, b, q, r: l.solve_discrete_are(a, b, q + np.conjugate(q.T), r + np.conjugate(r.T)),
        lambda k: [stable(3, k) * 2, general(3, 2, kind=k), regular(3, 3, kind=k), regular(2, 2, kind=k)],
    ),
}  # fmt: skip

DECOMPOSING: dict[str, Case] = {
    "qr": (lambda l, a: l.qr(a), lambda k: [regular(3, 3, kind=k)]),
    "qr economic": (lambda l, a: l.qr(a, mode="economic"), lambda k: [regular(4, 4, kind=k)[:, :2]]),
    "qr r": (lambda l, a: l.qr(a, mode="r"), lambda k: [regular(3, 3, kind=k)]),
    "qr pivoting": (lambda l, a: l.qr(a, pivoting=True)[:2], lambda k: [regular(3, 3, kind=k)]),
    "rq": (lambda l, a: (lambda r, q: (np.abs(r) ** 2, r @ q))(*l.rq(a)), lambda k: [regular(3, 3, kind=k)]),
    "rq economic": (lambda l, a: np.abs(l.rq(a, mode="economic")[1]) ** 2, lambda k: [regular(4, 4, kind=k)[:2]]),
    "rq r": (lambda l, a: np.abs(l.rq(a, mode="r")) ** 2, lambda k: [regular(3, 3, kind=k)]),
    "polar": (lambda l, a: l.polar(a), lambda k: [regular(3, 3, kind=k)]),
    "polar left": (lambda l, a: l.polar(a, side="left"), lambda k: [regular(4, 4, kind=k)[:2]]),
    "svd": (lambda l, a: (lambda u, s, vh: (u * s**2) @ vh)(*l.svd(a, full_matrices=False)), lambda k: [regular(3, 3, kind=k)]),
    "svdvals": (lambda l, a: (l.svdvals(a), l.svd(a, compute_uv=False)), lambda k: [regular(3, 3, kind=k)]),
    "eigh": (lambda l, a: projector(l.eigh(a + np.conjugate(a.T), subset_by_index=(0, 1))[1]), lambda k: [regular(3, 3, kind=k)]),
    **{
        f"eigh {kind}": (
            lambda l, a, b, t=kind: (lambda w, v: (w, projector(v[:, :1])))(*l.eigh(a + np.conjugate(a.T), b + np.conjugate(b.T), type=t)),
            lambda k: [regular(3, 3, kind=k), np.eye(3) + regular(3, 3, seed=1, kind=k) / 3],
        )
        for kind in (1, 2, 3)
    },
    "eigvalsh": (lambda l, a: l.eigvalsh(a + np.conjugate(a.T), subset_by_index=[1, 2]), lambda k: [regular(3, 3, kind=k)]),
    "eigh_tridiagonal": (lambda l, d, e: (lambda w, v: (w, projector(v[:, :1])))(*l.eigh_tridiagonal(d, e)), lambda k: [np.arange(4.0), general(3) + 1]),
    "eigh_tridiagonal i": (lambda l, d, e: l.eigh_tridiagonal(d, e, eigvals_only=True, select="i", select_range=(1, 2)), lambda k: [np.arange(4.0), general(3) + 1]),
    "expm": (lambda l, a: l.expm(a), lambda k: [general(3, 3, kind=k)]),
    "expm_frechet": (lambda l, a, e: l.expm_frechet(a, e), lambda k: [general(2, 2, kind=k), general(2, 2, seed=1, kind=k)]),
    "logm": (lambda l, a: l.logm(a), lambda k: [regular(2, 2, kind=k)]),
    "sqrtm": (lambda l, a: l.sqrtm(a), lambda k: [regular(3, 3, kind=k)]),
    "cosm": (lambda l, a: (l.cosm(a), l.sinm(a), l.tanm(a)), lambda k: [general(3, 3, kind=k) / 2]),
    "coshm": (lambda l, a: (l.coshm(a), l.sinhm(a), l.tanhm(a)), lambda k: [general(3, 3, kind=k) / 2]),
    "funm": (lambda l, a: l.funm(a, lambda w: w**3), lambda k: [regular(3, 3, kind=k)]),
}  # fmt: skip

FORMS: dict[str, Case] = {
    "block_diag": (lambda l, a, b: l.block_diag(a, b, a[0, 0], b[0]), lambda k: [general(2, 3, kind=k), general(1, 2, kind=k)]),
    "toeplitz": (lambda l, c, r: (l.toeplitz(c), l.toeplitz(c, r)), lambda k: [general(3, kind=k), general(4, kind=k)]),
    "hankel": (lambda l, c, r: (l.hankel(c), l.hankel(c, r)), lambda k: [general(3, kind=k), general(4, kind=k)]),
    "circulant": (lambda l, c: l.circulant(c), lambda k: [general(4, kind=k)]),
    "companion": (lambda l, a: l.companion(a), lambda k: [general(4, kind=k) + 1]),
}  # fmt: skip

FUNCTIONS = {**SOLVING, **DECOMPOSING, **FORMS}


def leaves(x: Any) -> list[Any]:
    return [np.asarray(leaf) for leaf in tree.leaves(x)]


def same(out: Any, expected: Any, rtol: float) -> None:
    got, wanted = leaves(out), leaves(expected)
    assert len(got) == len(wanted)
    for x, y in zip(got, wanted, strict=True):
        assert x.shape == y.shape and x.dtype == y.dtype, (x.dtype, y.dtype, x.shape, y.shape)
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol)


def of_ours(name: str, l: Any = linalg) -> Callable[..., Any]:
    return lambda *xs: FUNCTIONS[name][0](l, *xs)


@pytest.mark.parametrize("kind", ["f", "c"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_derivatives(name: str, kind: str) -> None:
    args = FUNCTIONS[name][1](kind)
    expected = FUNCTIONS[name][0](scipy.linalg, *args)
    traced = tg.vjp(of_ours(name), *args)[0]
    same(traced, expected, 1e-10)
    abstract = tg.eval_shape(of_ours(name), *args)
    for leaf, value in zip(tree.leaves(abstract), leaves(traced), strict=True):
        assert (leaf.shape, leaf.dtype) == (value.shape, value.dtype)
    positions = tuple(range(len(args)))
    gradient = tg.grad(lambda *xs: sum([weighted(np, x) for x in tree.leaves(of_ours(name)(*xs))]), positions)
    check_grads(of_ours(name), args, order=1, directions=1, rtol=1e-6, atol=1e-7)
    same(tg.jit(gradient)(*args), gradient(*args), 1e-12)
    single = [x.astype(np.result_type(x, np.float32) if x.dtype.kind == "c" else np.float32) for x in args]
    single = [x.astype({"f": np.float32, "c": np.complex64}[x.dtype.kind]) for x in single]
    low = tg.vjp(of_ours(name), *single)[0]
    for x, y in zip(leaves(low), leaves(expected), strict=True):
        assert x.dtype.itemsize == y.dtype.itemsize // 2 or y.dtype.kind in "iu", (x.dtype, y.dtype)
        np.testing.assert_allclose(x, y, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("kind", ["f", "c"])
@pytest.mark.parametrize("names", [SOLVING, DECOMPOSING, FORMS], ids=["solving", "decomposing", "forms"])
def test_values_on_xla(names: dict[str, Case], kind: str) -> None:
    """All in one program, but for those that are ops, which tests/test_xla_registry.py tries."""
    pytest.importorskip("jax")
    arguments = {name: FUNCTIONS[name][1](kind) for name in names if name not in OPS}
    program = tg.jit(lambda given: {name: of_ours(name)(*xs) for name, xs in given.items()}, backend="xla")
    for name, out in program(arguments).items():
        same(out, FUNCTIONS[name][0](scipy.linalg, *arguments[name]), 1e-9)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_batches(name: str) -> None:
    args = FUNCTIONS[name][1]("f")
    batched = [np.stack([x, 1.05 * x]) for x in args]
    out = leaves(tg.vmap(of_ours(name))(*batched))
    for i in range(2):
        expected = leaves(of_ours(name)(*[x[i] for x in batched]))
        for x, y in zip(out, expected, strict=True):
            np.testing.assert_allclose(x[i], y, rtol=1e-9, atol=1e-10)


def test_second_derivatives() -> None:
    a, b = regular(2, 2), general(2)
    for f, args in [
        (lambda a, b: linalg.cho_solve(linalg.cho_factor(a @ a.T, lower=True), b), [a, b]),
        (lambda a, b: linalg.lu_solve(linalg.lu_factor(a), b), [a, b]),
        (linalg.expm, [a / 3]),
        (linalg.logm, [a]),
        (linalg.sqrtm, [a]),
        (lambda a: linalg.solve_discrete_are(a, np.eye(2), np.eye(2), np.eye(2)), [a / 3]),
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


def test_permutations() -> None:
    a = regular(4, 4)[[2, 0, 3, 1]]
    for out in (linalg.lu(a), tg.jit(linalg.lu)(a)):
        for got, expected in zip(out, scipy.linalg.lu(a), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-12)
    p, l, u = tg.jit(lambda a: linalg.lu(a, p_indices=True))(a)
    np.testing.assert_array_equal(p, scipy.linalg.lu(a, p_indices=True)[0])
    np.testing.assert_allclose(l[p] @ u, a, rtol=1e-12)
    np.testing.assert_array_equal(tg.jit(lambda a: linalg.lu_factor(a)[1])(a), scipy.linalg.lu_factor(a)[1])
    np.testing.assert_array_equal(
        tg.jit(lambda a: linalg.qr(a, pivoting=True)[2])(a), scipy.linalg.qr(a, pivoting=True)[2]
    )


def test_the_other_half_does_not_count() -> None:
    """Of a factor that SciPy made, and left something in."""
    a, b = hermitian(3, 3), general(3)
    c, lower = scipy.linalg.cho_factor(a)
    assert c[2, 0] != 0
    np.testing.assert_allclose(tg.jit(lambda b: linalg.cho_solve((c, lower), b))(b), np.linalg.solve(a, b), rtol=1e-12)


def test_values_without_derivatives() -> None:
    a = regular(3, 3)
    for backend in ("numpy", "xla"):
        t, z = tg.jit(linalg.schur, backend=backend)(a)
        np.testing.assert_allclose(z @ t @ z.T, a, atol=1e-12)
        t, z = tg.jit(lambda a: linalg.schur(a, output="complex"), backend=backend)(a)
        np.testing.assert_allclose(z @ t @ adjoint(z), a, atol=1e-12)
        h, q = tg.jit(lambda a: linalg.hessenberg(a, calc_q=True), backend=backend)(a)
        np.testing.assert_allclose(q @ h @ q.T, a, atol=1e-12)
        assert abs(h[2, 0]) < 1e-12
    for function in (linalg.schur, linalg.hessenberg):
        with pytest.raises(
            UnsupportedFunctionError, match=r"(schur|hessenberg) at .*test_linalg\.py:\d+.* no derivative"
        ):
            tg.grad(lambda a: np.sum(function(a)[0]))(a)


def test_plain_arrays_are_scipys() -> None:
    a = regular(3, 3)
    np.testing.assert_array_equal(linalg.expm(a), scipy.linalg.expm(a))
    np.testing.assert_array_equal(linalg.cho_factor(a @ a.T)[0], scipy.linalg.cho_factor(a @ a.T)[0])
    with pytest.raises(ValueError, match="infs or NaNs"):
        linalg.solve(a * np.nan, a)
    np.testing.assert_array_equal(linalg.dft(5), scipy.linalg.dft(5))
    np.testing.assert_array_equal(linalg.hilbert(5), scipy.linalg.hilbert(5))
    np.testing.assert_array_equal(linalg.kron(a, a), np.kron(a, a))


def test_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = hermitian(3, 3), general(3)
    expected = [scipy.linalg.lu(a)[2], scipy.linalg.cho_solve(scipy.linalg.cho_factor(a), b), scipy.linalg.dft(3, "n")]
    for name in ("scipy", "scipy.linalg", "scipy.linalg.blas", "scipy.linalg.lapack"):
        monkeypatch.setitem(sys.modules, name, None)
    out = [linalg.lu(a)[2], linalg.cho_solve(linalg.cho_factor(a), b), linalg.dft(3, "n")]
    for x, y in zip(out, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-13)
    with pytest.raises(ImportError, match=r"pip install 'tracegrad\[scipy\]'"):
        linalg.expm(a)


def test_errors() -> None:
    a = regular(3, 3)
    for function, message in [
        (lambda a: linalg.solve(a, a, assume_a="odd"), "'odd' is not a recognized matrix structure"),
        (lambda a: linalg.solve_triangular(a, a, trans=3), "trans must be 0, 1, 2, 'N', 'T' or 'C', got 3"),
        (lambda a: linalg.lu_solve(linalg.lu_factor(a), a, trans=3), "trans must be 0, 1 or 2, got 3"),
        (lambda a: linalg.polar(a, side="up"), "side must be 'right' or 'left', got 'up'"),
        (lambda a: linalg.block_diag(a[None]), r"block_diag at .*test_linalg.py:\d+.* takes matrices"),
        (lambda a: linalg.rq(a, mode="raw"), "mode must be 'full', 'economic' or 'r', got 'raw'"),
        (lambda a: linalg.solve_discrete_lyapunov(a, a, method="x"), "method must be 'direct' or 'bilinear'"),
    ]:
        with pytest.raises(ValueError, match=message):
            tg.jit(function)(a)
    for function, message in [
        (lambda a: linalg.eigh(a, subset_by_value=(0, 1)), r"eigh with subset_by_value is not traced at .*test_linalg"),
        (lambda a: linalg.qr(a, mode="raw"), r"qr with mode='raw' is not traced"),
        (lambda a: linalg.schur(a, sort="lhp"), r"schur with sort is not traced"),
        (lambda a: linalg.eigh_tridiagonal(a[0], a[0, 1:], select="v"), r"select='v' is not traced"),
        (lambda a: linalg.solve_discrete_are(a, a, a, a, s=a), r"solve_discrete_are with e or s is not traced"),
    ]:
        with pytest.raises(UnsupportedFunctionError, match=message):
            tg.jit(function)(a)
    with pytest.raises(LinAlgError, match=r"sqrtm of this real matrix is complex.*\n? .*astype\(complex\)"):
        tg.grad(lambda a: np.sum(linalg.sqrtm(a)))(-np.eye(2))
    with pytest.raises(LinAlgError, match="funm of this real matrix is complex"):
        tg.grad(lambda a: np.sum(linalg.funm(a, np.sqrt)))(np.array([[-1.0, 0.5], [0.2, -2.0]]))
    with pytest.raises(LinAlgError, match=r"the leading axes of .* do not broadcast"):
        tg.jit(linalg.solve_sylvester)(np.ones((2, 3, 3)), np.ones((3, 3)), np.ones((3, 3, 3)))
