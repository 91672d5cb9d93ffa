"""Equal eigenvalues and singular values: spectral functions against divided differences in mpmath's numbers, differences of
values and closed forms; whatever else depends on vectors of equal values raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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


def check_both_orders(f: Callable[[Any], Any], a: Any, t: Any) -> None:
    along = lambda x: f(a + x * t)
    expected = slope(along)
    gradient = tg.vjp(f, a)[1](1.0)[0]
    np.testing.assert_allclose(np.sum(gradient * t).real, expected, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(tg.jvp(f, (a,), (t,))[1], expected, rtol=1e-7, atol=1e-8)
    second = slope(lambda x: slope(lambda y: along(x + y), 4e-3), 4e-3)
    np.testing.assert_allclose(tg.grad(tg.grad(along))(0.0), second, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(tg.hessian(along)(0.0), second, rtol=1e-4, atol=1e-5)


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


def test_functions_with_poles_between_eigenvalues() -> None:
    """Equal derivatives on both sides of a pole say nothing of what lies between."""
    a, t = symmetric([-1.0, 1.0, 2.0]), symmetric([0.5, -1.0, 0.2], seed=3)
    inverse = lambda a: (lambda w, v: (v / w) @ v.T)(*np.linalg.eigh(a))
    b = np.linalg.inv(a)
    np.testing.assert_allclose(tg.jvp(inverse, (a,), (t,))[1], -b @ t @ b, rtol=1e-11, atol=1e-13)


# ---------------------------------------------------------------------------------------------------------------------
# What depends on vectors of equal values otherwise.


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
