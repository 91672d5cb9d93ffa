"""Spectral functions as programs write them are found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.transforms.test_spectral import adjoint, check_both_orders, draw, symmetric, unitary

W = np.random.default_rng(0).uniform(-1, 1, (4, 4))
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


def _dilated(a: np.ndarray) -> np.ndarray:
    m, n = a.shape
    return np.block([[np.zeros((m, m)), a], [a.T, np.zeros((n, n))]])


@pytest.mark.parametrize("extreme", ["min", "max"])
@pytest.mark.parametrize("kind", ["eigvalsh", "svdvals"])
def test_second_derivatives_of_extreme_values(kind: str, extreme: str) -> None:
    # Values with vectors differ by rounding from those without. Compared with the least of these, none of those may be the least.
    hermitian = kind == "eigvalsh"

    def f(a: Any) -> Any:
        values = np.linalg.eigvalsh(a + a.T) if hermitian else np.linalg.svdvals(a)
        return getattr(values, extreme)()

    rng = np.random.default_rng(0)
    for n in (3, 4, 5, 6):
        a, e = rng.normal(size=(2, n, n if hermitian else 3))
        whole, along = [x + x.T if hermitian else _dilated(x) for x in (a, e)]
        w, v = np.linalg.eigh(whole)
        i = -1 if extreme == "max" else 0 if hermitian else n  # of a dilation: -s, zeros, s
        moved = v.T @ along @ v[:, i]
        gaps = w[i] - w
        gaps[i] = np.inf
        expected = 2 * np.sum(moved**2 / gaps)  # second-order perturbation theory
        for first in (tg.grad(f), tg.jacfwd(f)):
            second = tg.jvp(first, (a,), (e,))[1]
            np.testing.assert_allclose(np.sum(second * e), expected, rtol=1e-8)
