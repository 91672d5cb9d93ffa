"""Equal eigenvalues and singular values: spectral functions against divided differences in mpmath's numbers, differences of
values and closed forms; whatever else depends on vectors of equal values raises."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.linalg import LinAlgError

import tracegrad as tg
import tracegrad.numpy as tnp
from tracegrad.core.errors import ShapeError

W = np.random.default_rng(0).uniform(-1, 1, (4, 4))
E = np.array([[1.0, 0.3], [0.3, -0.5]])


def draw(seed: int, *shape: int, kind: str = "f") -> Any:
    rng = np.random.default_rng([seed, *shape])
    x = rng.uniform(-1, 1, shape)
    return x + 1j * rng.uniform(-1, 1, shape) if kind == "c" else x


def unitary(seed: int, m: int, n: int, kind: str = "f") -> Any:
    return np.linalg.qr(draw(seed, m, n, kind=kind))[0]


def adjoint(x: Any) -> Any:
    return np.conj(np.swapaxes(x, -1, -2))


def symmetric(values: Any, seed: int = 0, kind: str = "f") -> Any:
    q = unitary(seed, len(values), len(values), kind)
    a = (q * np.asarray(values)) @ adjoint(q)
    return (a + adjoint(a)) / 2


def slope(f: Callable[[float], Any], h: float = 1e-3) -> Any:
    """f'(0) by differences of fourth order."""
    return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)


# ---------------------------------------------------------------------------------------------------------------------
# The inputs of the report.


def test_given_products_at_equal_values() -> None:
    w, a = W[:2, :2], 2 * np.eye(2)

    def rebuilt(a: Any) -> Any:
        u, s, vt = np.linalg.svd(a)
        return np.sum(w * ((u * s) @ vt))

    def polar(a: Any) -> Any:
        u, _, vt = np.linalg.svd(a)
        return np.sum(w * (u @ vt))

    def exponential(a: Any) -> Any:
        e, v = np.linalg.eigh(a)
        return np.sum(w * ((v * np.exp(e)) @ v.T))

    for way in (lambda f: f, tg.jit, lambda f: tg.jit(f, backend="xla")):
        np.testing.assert_allclose(way(tg.grad(rebuilt))(a), w, atol=1e-14)
        np.testing.assert_allclose(way(tg.grad(polar))(a), (w - w.T) / 4, atol=1e-14)
        np.testing.assert_allclose(way(tg.grad(exponential))(np.eye(2)), np.e * (w + w.T) / 2, rtol=1e-13)


VALUES: dict[str, Callable[[Any], Any]] = {
    "eigvalsh": np.linalg.eigvalsh,
    "eigh": lambda a: np.linalg.eigh(a)[0],
    "svdvals": np.linalg.svdvals,
    "svd": lambda a: np.linalg.svd(a)[1],
    "svd hermitian": lambda a: np.linalg.eigh(a)[0][::-1],
}
TWICE: dict[str, Callable[..., Any]] = {
    "reverse reverse": lambda f: tg.grad(tg.grad(f)),
    "forward reverse": tg.hessian,
    "reverse forward": lambda f: tg.grad(tg.jacfwd(f)),
    "forward forward": lambda f: tg.jacfwd(tg.jacfwd(f)),
    "hvp": lambda f: lambda t: tg.hvp(f, (t,), (1.0,)),
    "jit": lambda f: tg.jit(tg.grad(tg.grad(f))),
    "xla": lambda f: tg.jit(tg.hessian(f), backend="xla"),
    "vmap": lambda f: lambda t: tg.vmap(tg.hessian(f))(np.array([t, t]))[1],
    "of jit": lambda f: tg.grad(tg.grad(tg.jit(f))),
}


@pytest.mark.parametrize("way", TWICE)
@pytest.mark.parametrize("values", ["eigvalsh", "eigh", "svdvals", "svd"])
def test_second_derivative_of_a_log_det(values: str, way: str) -> None:
    f = lambda t: np.sum(np.log(VALUES[values](2 * np.eye(2) + t * E)))
    np.testing.assert_allclose(TWICE[way](f)(0.0), -np.trace(E @ E) / 4, rtol=1e-12)  # -0.3575


@pytest.mark.parametrize("values", ["eigvalsh", "svdvals"])
def test_higher_derivatives_of_a_log_det(values: str) -> None:
    f = lambda t: np.sum(np.log(VALUES[values](2 * np.eye(2) + t * E)))
    third, fourth = tg.grad(tg.grad(tg.grad(f))), tg.grad(tg.hessian(tg.grad(f)))
    np.testing.assert_allclose(third(0.0), 2 * np.trace(E @ E @ E) / 8, rtol=1e-12)
    np.testing.assert_allclose(fourth(0.0), -6 * np.trace(E @ E @ E @ E) / 16, rtol=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# Functions of the values alone.

ALONE: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "sum": (np.sum, np.trace),
    "squares": (lambda w: np.sum(w**2), lambda a: np.trace(a @ a)),
    "norm": (np.linalg.norm, np.linalg.norm),
    "dot": (lambda w: w @ w, lambda a: np.trace(a @ a)),
    "var": (np.var, lambda a: np.trace(a @ a) / 3 - (np.trace(a) / 3) ** 2),
    "inverse": (lambda w: np.sum(1 / w), lambda a: np.trace(np.linalg.inv(a))),
    "logsumexp": (lambda w: np.log(np.sum(np.exp(w))), lambda a: np.log(np.trace(tnp.linalg.funm(a, np.exp)))),
    "entropy": (lambda w: -np.sum(w / np.sum(w) * np.log(w / np.sum(w))), lambda a: -np.trace(tnp.linalg.funm(a / np.trace(a), lambda p: p * np.log(p)))),
}  # fmt: skip


@pytest.mark.parametrize("name", ALONE)
def test_functions_of_eigenvalues_alone(name: str) -> None:
    of_values, of_matrix = ALONE[name]
    sym = lambda a: (a + a.T) / 2
    for a in (2 * np.eye(3), symmetric([1.0, 1.0, 3.0])):
        ours = lambda a: of_values(np.linalg.eigvalsh(a))
        theirs = lambda a: of_matrix(sym(a))
        np.testing.assert_allclose(tg.grad(ours)(a), tg.grad(theirs)(a), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(tg.hessian(ours)(a), tg.hessian(theirs)(a), rtol=1e-8, atol=1e-11)


def test_first_derivatives_of_symmetric_functions() -> None:
    """Also of those that are more than a function of each value by itself."""
    a = 2 * np.eye(3)
    np.testing.assert_allclose(tg.grad(lambda a: np.prod(np.linalg.eigvalsh(a)))(a), 4 * np.eye(3), rtol=1e-13)
    squares = lambda a: (lambda w: w[0] ** 2 + w[1] ** 2 + w[2] ** 2)(np.linalg.eigvalsh(a))
    np.testing.assert_allclose(tg.grad(squares)(a), 4 * np.eye(3), rtol=1e-13)
    gap = lambda a: (lambda w: (w[0] - w[1]) ** 2)(np.linalg.eigvalsh(a))
    np.testing.assert_array_equal(tg.grad(gap)(2 * np.eye(2)), np.zeros((2, 2)))
    with pytest.raises(LinAlgError, match="eigenvalues 0, 1 are equal"):
        tg.hessian(gap)(2 * np.eye(2))


def test_a_function_of_the_order_of_equal_values_has_a_kink() -> None:
    a = 2 * np.eye(3)
    for f in (lambda a: np.linalg.eigvalsh(a)[-1], lambda a: np.linalg.svdvals(a)[0], np.linalg.cond):
        with pytest.raises(LinAlgError, match=r"values 0, (1, )?2 are equal"):
            tg.grad(f)(a)
        with pytest.raises(LinAlgError, match=r"values 0, (1, )?2 are equal"):
            tg.jit(tg.grad(f))(a)
        assert np.isnan(tg.jit(tg.grad(f), backend="xla")(a)).all()
    # By convention what np.max of equal numbers has: all of them share it.
    for q in (np.eye(3), unitary(1, 3, 3)):
        np.testing.assert_allclose(tg.grad(lambda a: np.linalg.norm(a, 2))(2 * q), q / 3, rtol=1e-12, atol=1e-14)


def test_values_that_stand_alone_keep_their_derivative() -> None:
    a, t = symmetric([1.0, 1.0, 3.0]), symmetric([0.3, -0.4, 0.9], seed=1)
    last = lambda x: np.linalg.eigvalsh(a + x * t)[-1]
    np.testing.assert_allclose(tg.grad(last)(0.0), slope(last), rtol=1e-9)
    np.testing.assert_allclose(tg.grad(tg.grad(last))(0.0), slope(tg.grad(last)), rtol=1e-7)


def test_zero_singular_values() -> None:
    """Odd functions have their derivatives there; a sum of singular values has a kink."""
    for m, n, r in ((3, 3, 2), (3, 3, 0), (4, 2, 1), (2, 4, 1)):
        a, w = draw(1, m, r) @ draw(2, r, n), W[:m, :n]

        def product(a: Any, g: Callable[[Any], Any], w: Any = w) -> Any:
            u, s, vt = np.linalg.svd(a, full_matrices=False)
            return np.sum(w * ((u * g(s)) @ vt))

        np.testing.assert_allclose(tg.grad(lambda a: product(a, lambda s: s))(a), w, atol=1e-13)
        ours, theirs = lambda a: product(a, lambda s: s**3), lambda a, w=w: np.sum(w * (a @ a.T @ a))
        np.testing.assert_allclose(tg.grad(ours)(a), tg.grad(theirs)(a), atol=1e-12)
        np.testing.assert_allclose(tg.hessian(ours)(a), tg.hessian(theirs)(a), atol=1e-11)
        squares = tg.hessian(lambda a: np.sum(np.linalg.svdvals(a) ** 2))(a)
        np.testing.assert_allclose(squares.reshape(m * n, m * n), 2 * np.eye(m * n), atol=1e-12)
        for kinked in (lambda a: product(a, np.ones_like), lambda a: np.sum(np.linalg.svdvals(a))):
            with pytest.raises(LinAlgError, match=r"equal|is zero"):
                tg.grad(kinked)(a)


def test_nuclear_norm_of_a_singular_matrix() -> None:
    """By convention a singular value of zero contributes nothing, as abs does at zero."""
    u, v = unitary(1, 3, 3), unitary(2, 3, 3)
    a = (u * np.array([3.0, 1.0, 0.0])) @ v
    np.testing.assert_allclose(tg.grad(lambda a: np.linalg.norm(a, "nuc"))(a), u[:, :2] @ v[:2], atol=1e-13)


# ---------------------------------------------------------------------------------------------------------------------
# Spectral functions as programs write them.

HERMITIAN: dict[str, Callable[[Any, Any, Any], Any]] = {
    "scaled": lambda w, v, g: (v * g(w)) @ np.conj(v.T),
    "row": lambda w, v, g: (v * g(w)[None, :]) @ v.conj().T,
    "diag": lambda w, v, g: v @ np.diag(g(w)) @ np.conj(v.T),
    "eye": lambda w, v, g: v @ (np.eye(4) * g(w)) @ np.conj(v.T),
    "einsum": lambda w, v, g: np.einsum("ij,j,kj->ik", v, g(w), np.conj(v)),
    "einsum of two": lambda w, v, g: np.einsum("ij,kj->ik", v * g(w), np.conj(v)),
    "from the right": lambda w, v, g: v @ (g(w)[:, None] * np.conj(v.T)),
    "divided": lambda w, v, g: (v / g(w)) @ np.conj(v.mT),
    "twice": lambda w, v, g: (2.0 * v * g(w)) @ np.conj(np.swapaxes(-v, -1, -2)),
    "projector": lambda w, v, g: v[:, :2] @ np.conj(v[:, :2].T),
    "some": lambda w, v, g: (v[:, :2] * g(w[:2])) @ np.conj(v[:, :2].T),
    "others": lambda w, v, g: (v[:, 2:] * g(w)[2:]) @ np.conj(v[:, 2:].T),
    "masked": lambda w, v, g: (v * np.where(np.arange(4) < 2, g(w), 0)) @ np.conj(v.T),
    "square": lambda w, v, g: (lambda h: h @ np.conj(h.T))(v * np.sqrt(g(w))),
    "normalised": lambda w, v, g: (v * (g(w) / np.sum(g(w)))) @ np.conj(v.T),
    "dot": lambda w, v, g: np.dot(v * g(w), np.conj(v.T)),
    "tensordot": lambda w, v, g: np.tensordot(v * g(w), np.conj(v), ((1,), (1,))),
}
GENERAL: dict[str, Callable[..., Any]] = {
    "scaled": lambda u, s, vh, g: (u * g(s)) @ vh,
    "polar": lambda u, s, vh, g: u @ vh,
    "from the right": lambda u, s, vh, g: u @ (g(s)[:, None] * vh),
    "diag": lambda u, s, vh, g: u @ np.diag(g(s)) @ vh,
    "einsum": lambda u, s, vh, g: np.einsum("ij,j,jk->ik", u, g(s), vh),
    "some": lambda u, s, vh, g: (u[:, :2] * g(s[:2])) @ vh[:2],
    "inverse": lambda u, s, vh, g: (np.conj(vh.T) / g(s)) @ np.conj(u.T),
}


def check_both_orders(f: Callable[[Any], Any], a: Any, t: Any) -> None:
    along = lambda x: f(a + x * t)
    expected = slope(along)
    gradient = tg.vjp(f, a)[1](1.0)[0]
    np.testing.assert_allclose(np.sum(gradient * t).real, expected, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(tg.jvp(f, (a,), (t,))[1], expected, rtol=1e-7, atol=1e-8)
    second = slope(lambda x: slope(lambda y: along(x + y), 4e-3), 4e-3)
    np.testing.assert_allclose(tg.grad(tg.grad(along))(0.0), second, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(tg.hessian(along)(0.0), second, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["f", "c"])
@pytest.mark.parametrize("name", HERMITIAN)
def test_hermitian_products(name: str, kind: str) -> None:
    a, t = symmetric([1.0, 1.0, 2.5, 2.5], kind=kind), symmetric([0.3, -0.4, 0.9, 0.2], seed=1, kind=kind)
    for g in (np.exp, lambda w: 1 / w):
        check_both_orders(lambda a, g=g: np.sum(np.real(W * HERMITIAN[name](*np.linalg.eigh(a), g))), a, t)


@pytest.mark.parametrize("kind", ["f", "c"])
@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (3, 5)])
def test_general_products(shape: tuple[int, int], kind: str) -> None:
    m, n = shape
    a = (unitary(1, m, 3, kind) * np.array([2.0, 2.0, 1.0])) @ adjoint(unitary(2, n, 3, kind))
    for name, product in GENERAL.items():
        w = draw(3, *((n, m) if name == "inverse" else (m, n)))
        f = lambda a, p=product, w=w: np.sum(np.real(w * p(*np.linalg.svd(a, full_matrices=False), np.sqrt)))
        check_both_orders(f, a, draw(4, m, n, kind=kind))


def test_products_of_stacks() -> None:
    stack = np.stack([2 * np.eye(2), np.diag([1.0, 2.0])])
    one = lambda a: (lambda w, v: np.sum(W[:2, :2] * ((v * np.exp(w)) @ v.T)))(*np.linalg.eigh(a))
    expected = np.stack([tg.grad(one)(a) for a in stack])

    def of_stack(a: Any) -> Any:
        w, v = np.linalg.eigh(a)
        return np.sum(W[:2, :2] * ((v * np.exp(w)[..., None, :]) @ np.swapaxes(v, -1, -2)))

    np.testing.assert_allclose(tg.grad(of_stack)(stack), expected, rtol=1e-13)
    np.testing.assert_allclose(tg.grad(lambda a: np.sum(tg.vmap(one)(a)))(stack), expected, rtol=1e-13)
    np.testing.assert_allclose(tg.vmap(tg.grad(one))(stack), expected, rtol=1e-13)
    hessians = np.stack([tg.hessian(one)(a) for a in stack])
    np.testing.assert_allclose(tg.vmap(tg.hessian(one))(stack), hessians, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(tg.jit(tg.vmap(tg.hessian(one)), backend="xla")(stack), hessians, rtol=1e-12, atol=1e-13)


def test_products_inside_control_flow() -> None:
    a = 2 * np.eye(2)
    f = lambda a: (lambda w, v: np.sum(W[:2, :2] * ((v * np.exp(w)) @ v.T)))(*np.linalg.eigh(a))
    expected = tg.grad(f)(a)
    chosen = lambda a: tg.lax.cond(a[0, 0] > 1, f, lambda a: 0.0 * a[0, 0], a)
    for g in (tg.jit(f), tg.checkpoint(f), chosen, tg.jit(chosen)):
        np.testing.assert_allclose(tg.grad(g)(a), expected, rtol=1e-13)
        np.testing.assert_allclose(tg.jit(tg.grad(g))(a), expected, rtol=1e-13)
    root = lambda a: (lambda w, v: (v * np.sqrt(w)) @ v.T)(*np.linalg.eigh(a))
    twice = lambda a: tg.lax.fori_loop(0, 2, lambda i, x: root(x), a)[0, 1]
    np.testing.assert_allclose(tg.grad(twice)(a), (np.ones((2, 2)) - np.eye(2)) * 2**-0.75 / 8, rtol=1e-12, atol=1e-15)


def test_gradients_at_constants_inside_a_program() -> None:
    """The derivative is then computed while the program is being made, and belongs to none."""
    a, scale = draw(3, 3, 2), np.array(0.5)

    def total(a: Any) -> Any:
        u, s, vh = np.linalg.svd(a, full_matrices=False)
        return np.sum(W[:3, :2] * ((u * np.exp(scale * s)) @ vh))

    expected = tg.grad(total)(a)
    np.testing.assert_array_equal(tg.jit(lambda x: x * tg.grad(total)(a))(2.0), 2 * expected)
    chosen = tg.jit(lambda x: tg.lax.cond(x > 0, lambda: x * tg.grad(total)(a), lambda: 0 * a))
    np.testing.assert_array_equal(chosen(2.0), 2 * expected)


def test_what_all_eigenvalues_share_has_derivatives_too() -> None:
    a, w = 2 * np.eye(2), W[:2, :2]
    f = lambda a, b: (lambda e, v: np.sum(w * ((v * np.exp(b * e)) @ v.T)))(*np.linalg.eigh(a))
    np.testing.assert_allclose(tg.grad(f, 1)(a, 0.5), 2 * np.e * np.trace(w), rtol=1e-13)
    mixed = np.e * (1 + 0.5 * 2) * (w + w.T) / 2
    np.testing.assert_allclose(tg.grad(lambda a: tg.grad(f, 1)(a, 0.5))(a), mixed, rtol=1e-12)
    np.testing.assert_allclose(tg.jacrev(lambda b: tg.grad(f, 0)(a, b))(0.5), mixed, rtol=1e-12)
    np.testing.assert_allclose(tg.jacfwd(lambda b: tg.grad(f, 0)(a, b))(0.5), mixed, rtol=1e-12)
    # One number for each eigenvalue: as a constant, where it is the same for equal ones; and its own derivative.
    g = lambda a, c: (lambda e, v: np.sum(w * ((v * (c * e)) @ v.T)))(*np.linalg.eigh(a))
    np.testing.assert_allclose(tg.grad(g)(a, np.array([3.0, 3.0])), 3 * (w + w.T) / 2, rtol=1e-13)
    with pytest.raises(LinAlgError, match="eigenvalues 0, 1 are equal"):
        tg.grad(g)(a, np.array([3.0, 4.0]))
    np.testing.assert_allclose(tg.grad(g, 1)(a, np.array([3.0, 4.0])), 2 * np.diag(w), rtol=1e-13)
    apart = np.diag([1.0, 2.0])
    t = lambda c: np.sum(tg.grad(g)(apart, c) * w)
    c = np.array([3.0, 4.0])
    np.testing.assert_allclose(
        tg.grad(t)(c), [slope(lambda x, e=e: t(c + x * e)) for e in np.eye(2)], rtol=1e-9, atol=1e-11
    )


def test_single_precision_stays() -> None:
    for dtype in (np.float32, np.complex64):
        a, w = 2 * np.eye(2, dtype=dtype), W[:2, :2].astype(dtype)
        product = lambda a: (lambda e, v: (v * np.exp(e)) @ np.conj(v.T))(*np.linalg.eigh(a))
        (found,) = tg.vjp(product, a)[1](w)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, np.exp(2) * (w + w.T) / 2, rtol=1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# Nearly equal values, against 60 digits.


def exact_derivative(a: Any, ct: Any, g: Any, slope: Any) -> Any:
    with mpmath.workdps(60):
        w, v = mpmath.eigsy(mpmath.matrix(a.tolist()))
        m = v.T * mpmath.matrix(((ct + ct.T) / 2).tolist()) * v
        for i in range(len(w)):
            for j in range(len(w)):
                gap = w[i] - w[j]
                m[i, j] *= slope(w[i]) if abs(gap) < mpmath.mpf(10) ** -40 else (g(w[i]) - g(w[j])) / gap
        return np.array((v * m * v.T).tolist(), float)


@pytest.mark.parametrize("gap", 10.0 ** -np.arange(1, 16))
def test_nearly_equal_eigenvalues(gap: float) -> None:
    a, ct = symmetric([1.0, 1.0 + gap, 3.0]), W[:3, :3]
    for g, exact, prime in (
        (np.exp, mpmath.exp, mpmath.exp),
        (np.log, mpmath.log, lambda x: 1 / x),
        (lambda w: 1 / w, lambda x: 1 / x, lambda x: -1 / x**2),
    ):
        f = lambda a, g=g: (lambda w, v: np.sum(ct * ((v * g(w)) @ v.T)))(*np.linalg.eigh(a))
        np.testing.assert_allclose(tg.grad(f)(a), exact_derivative(a, ct, exact, prime), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("gap", 10.0 ** -np.arange(1, 16, 2))
def test_second_derivative_at_nearly_equal_eigenvalues(gap: float) -> None:
    a, t = symmetric([1.0, 1.0 + gap, 3.0]), symmetric([0.5, -1.0, 0.2], seed=3)
    inverse = lambda a: (lambda w, v: np.sum(W[:3, :3] * ((v / w) @ v.T)))(*np.linalg.eigh(a))
    b = np.linalg.inv(a)
    expected = 2 * np.sum(W[:3, :3] * (b @ t @ b @ t @ b))
    np.testing.assert_allclose(np.sum(tg.hvp(inverse, (a,), (t,)) * t), expected, rtol=1e-6)


@pytest.mark.parametrize("gap", 10.0 ** -np.arange(1, 16, 2))
def test_nearly_equal_singular_values(gap: float) -> None:
    a, w = (unitary(1, 3, 3) * np.array([2.0 + gap, 2.0, 1.0])) @ unitary(2, 3, 3), W[:3, :3]
    f = lambda a: (lambda u, s, vh: np.sum(w * ((u * s) @ vh)))(*np.linalg.svd(a))
    np.testing.assert_allclose(tg.grad(f)(a), w, atol=1e-8)


def test_functions_with_poles_between_eigenvalues() -> None:
    """Equal derivatives on both sides of a pole say nothing of what lies between."""
    a, t = symmetric([-1.0, 1.0, 2.0]), symmetric([0.5, -1.0, 0.2], seed=3)
    inverse = lambda a: (lambda w, v: (v / w) @ v.T)(*np.linalg.eigh(a))
    b = np.linalg.inv(a)
    np.testing.assert_allclose(tg.jvp(inverse, (a,), (t,))[1], -b @ t @ b, rtol=1e-11, atol=1e-13)


# ---------------------------------------------------------------------------------------------------------------------
# What depends on vectors of equal values otherwise.


def test_vectors_of_equal_values_raise() -> None:
    a, c = np.diag([1.0, 1.0, 3.0]), W[0, :3]
    f = lambda a: np.sum(c * np.linalg.eigh(a)[1][:, 0])
    for run in (
        lambda: tg.grad(f)(a),
        lambda: tg.jvp(f, (a,), (a,)),
        lambda: tg.jit(tg.grad(f))(a),
        lambda: tg.vmap(tg.grad(f))(np.stack([np.diag([1.0, 2.0, 3.0]), a])),
    ):
        with pytest.raises(LinAlgError) as raised:
            run()
        text = str(raised.value)
        assert re.search(r"eigh at .*test_spectral\.py:\d+ .* eigenvalues 0, 1 .*are equal \(1, 1\)", text), text
        assert "tnp.linalg.funm(a, g)" in text and "(v * g(w)) @ v.conj().T" in text
    assert np.isnan(tg.jit(tg.grad(f), backend="xla")(a)).all()
    whole = lambda a: np.sum(W[:3, :3] * np.linalg.eigh(a)[1] ** 2)
    with pytest.raises(LinAlgError, match="eigenvalues 0, 1 are equal"):
        tg.grad(whole)(a)
    cut = lambda a: (lambda v: np.sum(W[:3, :3] * (v @ v.T)))(np.linalg.eigh(a)[1][:, :1])
    with pytest.raises(LinAlgError, match="eigenvalues 0, 1 are equal"):
        tg.grad(cut)(a)
    with pytest.raises(LinAlgError, match=r"svd at .* singular values 0, 1 are equal .*\(u \* g\(s\)\) @ vh"):
        tg.grad(lambda a: np.sum(c * np.linalg.svd(a)[0][:, 0]))(np.diag([3.0, 3.0, 1.0]))
    with pytest.raises(LinAlgError, match=r"eig at .* eigenvalues 0, 1 are equal"):
        tg.grad(lambda a: np.sum(c * np.linalg.eig(a)[1][:, 2]).real)(a)


ALONE_STANDING: dict[str, Callable[[Any, Any], Any]] = {
    "column": lambda a, c: (c @ np.linalg.eigh(a)[1][:, 2]) ** 2,
    "from the back": lambda a, c: (c @ np.linalg.eigh(a)[1][..., -1]) ** 2,
    "slice": lambda a, c: np.sum((c @ np.linalg.eigh(a)[1][:, 2:]) ** 2),
    "row of the transpose": lambda a, c: (c @ np.linalg.eigh(a)[1].T[2]) ** 2,
    "left": lambda a, c: (c @ np.linalg.svd(a)[0][:, 0]) ** 2,
    "right": lambda a, c: (c @ np.linalg.svd(a)[2][0]) ** 2,
}


@pytest.mark.parametrize("name", ALONE_STANDING)
def test_vectors_that_stand_alone_keep_their_derivative(name: str) -> None:
    a, t, c = np.diag([1.0, 1.0, 3.0]), symmetric([0.5, -1.0, 0.2], seed=3), W[0, :3]
    f = lambda a: ALONE_STANDING[name](a, c)
    expected = slope(lambda x: f(a + x * t))
    gradients = tg.grad(f)(a), tg.jit(tg.grad(f))(a), tg.jit(tg.grad(f), backend="xla")(a)
    for gradient in gradients:
        np.testing.assert_allclose(np.sum(np.asarray(gradient) * t), expected, rtol=1e-8)
    np.testing.assert_allclose(tg.jvp(f, (a,), (t,))[1], expected, rtol=1e-8)
    second = slope(lambda x: np.sum(tg.grad(f)(np.diag([1.0, 1.5, 3.0]) + x * t) * t))
    np.testing.assert_allclose(np.sum(tg.hvp(f, (np.diag([1.0, 1.5, 3.0]),), (t,)) * t), second, rtol=1e-7)


def test_eigenvalues_of_general_matrices() -> None:
    a, t = 2 * np.eye(3), W[:3, :3]
    for values in (np.linalg.eigvals, lambda a: np.linalg.eig(a)[0]):
        total = lambda a, values=values: np.sum(np.log(values(a))).real
        np.testing.assert_allclose(tg.grad(total)(a), np.eye(3) / 2, rtol=1e-13)
        np.testing.assert_allclose(tg.jvp(total, (a,), (t,))[1], np.trace(t) / 2, rtol=1e-13)
        with pytest.raises(LinAlgError, match="eigenvalues 0, 1, 2 are equal"):
            tg.grad(lambda a, values=values: values(a)[0].real)(a)
        with pytest.raises(LinAlgError, match="eigenvalues 0, 1, 2 are equal"):
            tg.hessian(total)(a)
    defective = np.array([[1.0, 1.0], [0.0, 1.0]])
    with pytest.raises(LinAlgError, match="defective"):
        tg.grad(lambda a: np.sum(np.linalg.eigvals(a)).real)(defective)
    assert np.isnan(tg.jit(tg.grad(lambda a: np.sum(np.linalg.eigvals(a)).real), backend="xla")(defective)).all()


def test_qr_of_dependent_columns() -> None:
    a = np.outer([1.0, 2.0, 3.0], [1.0, 0.5, 0.1]) + np.outer([0.0, 1.0, 1.0], [0.0, 1.0, 1.0])
    f = lambda a: np.sum(W[:3, :3] * np.linalg.qr(a)[0])
    with pytest.raises(LinAlgError, match=r"qr at .*test_spectral.*column 2 depends on those before it"):
        tg.grad(f)(a)
    assert np.isnan(tg.jit(tg.grad(f), backend="xla")(a)).any()


# ---------------------------------------------------------------------------------------------------------------------
# funm.


@pytest.mark.parametrize("kind", ["f", "c"])
def test_funm(kind: str) -> None:
    a, t = symmetric([1.0, 1.0, 2.5, 2.5], kind=kind), symmetric([0.3, -0.4, 0.9, 0.2], seed=1, kind=kind)
    np.testing.assert_allclose(tnp.linalg.funm(a, np.sqrt) @ tnp.linalg.funm(a, np.sqrt), a, rtol=1e-12, atol=1e-13)
    check_both_orders(lambda a: np.sum(np.real(W * tnp.linalg.funm(a, lambda w: np.log(w) ** 2))), a, t)
    jitted = lambda a: np.sum(np.real(W * tnp.linalg.funm(a, tg.jit(np.exp))))
    np.testing.assert_allclose(
        tg.jit(tg.grad(lambda x: jitted(a + x * t)))(0.0), slope(lambda x: jitted(a + x * t)), rtol=1e-8
    )


def test_funm_of_traced_numbers_and_stacks() -> None:
    stack = np.stack([2 * np.eye(2), np.diag([1.0, 2.0])])
    f = lambda a, b: tnp.linalg.funm(a, lambda w: np.exp(b * w))
    np.testing.assert_allclose(tg.vmap(f, (0, None))(stack, 0.5), f(stack, 0.5), rtol=1e-13)
    np.testing.assert_allclose(tg.jacfwd(lambda b: f(stack, b))(0.5), stack @ f(stack, 0.5), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(tg.grad(lambda b: np.sum(f(stack, b)))(0.5), np.sum(stack @ f(stack, 0.5)), rtol=1e-12)
    assert tnp.linalg.funm(np.eye(2), lambda w: np.exp(1j * w)).dtype == np.complex128
    assert tnp.linalg.funm(np.eye(2, dtype=np.float32), np.exp).dtype == np.float32


def test_funm_says_what_it_wants() -> None:
    with pytest.raises(
        ShapeError, match=r"funm at .*test_spectral.*one value for each eigenvalue, f64\[2\], but returned f64\[\]"
    ):
        tnp.linalg.funm(np.eye(2), np.sum)
    with pytest.raises(LinAlgError, match="square"):
        tnp.linalg.funm(np.ones((2, 3)), np.exp)
