"""tg.lax.linalg against jax.lax.linalg: names, values, derivatives, batches, both backends."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.numpy.test_linalg import general, hermitian, regular
from tracegrad.core.errors import ShapeError
from tracegrad.lax import linalg

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)

CALLS: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "triangular_solve": (lambda l, a, b: l.triangular_solve(a, b), [regular(2, 3, 3), general(2, 2, 3)]),
    "triangular_solve left": (lambda l, a, b: l.triangular_solve(a, b, left_side=True, lower=True, transpose_a=True), [regular(3, 3), general(3, 2)]),
    "triangular_solve vector": (lambda l, a, b: (l.triangular_solve(a, b, left_side=True), l.triangular_solve(a, b)), [regular(3, 3), general(3)]),
    "tridiagonal_solve": (lambda l, dl, d, du, b: l.tridiagonal_solve(dl, d, du, b), [general(2, 4), general(2, 4, seed=1) + 4, general(2, 4, seed=2), general(2, 4, 3)]),
    "cholesky": (lambda l, x: (l.cholesky(x), l.cholesky((x + x.T) / 2, symmetrize_input=False)), [hermitian(3, 3)]),
    "cholesky_update": (lambda l, r, w: np.triu(l.cholesky_update(r, w)), [np.triu(regular(3, 3)), general(3)]),
    "symmetric_product": (lambda l, a, c: l.symmetric_product(a, c + c.T, alpha=2.0, beta=0.5, symmetrize_output=True), [general(3, 2), general(3, 3)]),
    "eigh": (lambda l, x: (lambda v, w: (np.abs(v), w))(*l.eigh(x)), [hermitian(3, 3)]),
    "lu": (lambda l, x: l.lu(x), [regular(4, 4)[[2, 0, 1, 3], :3]]),
    "qr": (lambda l, x: l.qr(x, full_matrices=False), [regular(4, 4)[:, :2]]),
    "householder_product": (lambda l, a, taus: l.householder_product(a, taus), [general(2, 4, 3), general(2, 2, seed=1)]),
    "ormqr": (lambda l, a, taus, c: (l.ormqr(a, taus, c), l.ormqr(a, taus, c, transpose=True)), [general(4, 3), general(3, seed=1), general(4, 2)]),
    "ormqr right": (lambda l, a, taus, c: l.ormqr(a, taus, c, left=False), [general(4, 2), general(2, seed=1), general(3, 4)]),
    "svd": (lambda l, x: (lambda u, s, vh: (np.abs(u), s, np.abs(vh)))(*l.svd(x, full_matrices=False)), [regular(3, 3)]),
    "svd values": (lambda l, x: l.svd(x, compute_uv=False), [regular(3, 3)]),
}  # fmt: skip


def leaves(x: Any) -> list[Any]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(x)]


def weighted(out: Any, xp: Any) -> Any:
    parts = [x for x in jax.tree.leaves(out) if x.dtype.kind == "f"]
    return sum([xp.sum(x * np.cos(np.arange(x.size)).reshape(x.shape)) for x in parts])


@pytest.mark.parametrize("name", CALLS)
def test_as_jax(name: str) -> None:
    call, args = CALLS[name]
    mine = lambda *xs: call(linalg, *xs)
    expected = leaves(call(jax.lax.linalg, *[jax.numpy.asarray(x) for x in args]))
    for got in (mine(*args), tg.jit(mine)(*args)):
        for x, y in zip(leaves(got), expected, strict=True):
            assert (x.shape, x.dtype) == (y.shape, y.dtype)
            np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-11)
    positions = tuple(range(len(args)))
    gradient = tg.grad(lambda *xs: weighted(mine(*xs), np), positions)(*args)
    tangents = [general(*x.shape, seed=7) for x in args]
    _, moved = tg.jvp(lambda *xs: weighted(mine(*xs), np), args, tangents)
    np.testing.assert_allclose(sum([np.sum(g * t) for g, t in zip(gradient, tangents, strict=True)]), moved, rtol=1e-9)
    step = 1e-5
    ends = [weighted(mine(*[x + s * t for x, t in zip(args, tangents, strict=True)]), np) for s in (step, -step)]
    np.testing.assert_allclose(moved, (ends[0] - ends[1]) / (2 * step), rtol=1e-6, atol=1e-7)
    out = leaves(tg.vmap(mine)(*[np.stack([x, 1.1 * x]) for x in args]))
    for x, y in zip(out, leaves(mine(*[1.1 * x for x in args])), strict=True):
        np.testing.assert_allclose(x[1], y, rtol=1e-9, atol=1e-10)


def test_on_xla() -> None:
    program = tg.jit(lambda given: {name: CALLS[name][0](linalg, *xs) for name, xs in given.items()}, backend="xla")
    out = program({name: args for name, (_, args) in CALLS.items()})
    for name, (call, args) in CALLS.items():
        for x, y in zip(leaves(out[name]), leaves(call(linalg, *args)), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-10)


def test_eig() -> None:
    x = regular(3, 3)
    w, left, right = linalg.eig(x)
    np.testing.assert_allclose(x @ right, right * w, atol=1e-12)
    np.testing.assert_allclose(left.conj().T @ x, w[:, None] * left.conj().T, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(left, axis=0), 1)
    assert len(linalg.eig(x, compute_left_eigenvectors=False)) == 2


def test_orders() -> None:
    x = regular(4, 4)
    np.testing.assert_array_equal(linalg.qr(x, pivoting=True)[2], jax.lax.linalg.qr(x, pivoting=True)[2])
    pivots = jax.lax.linalg.lu(x[::-1])[1]
    np.testing.assert_array_equal(
        linalg.lu_pivots_to_permutation(np.asarray(pivots), 6), jax.lax.linalg.lu_pivots_to_permutation(pivots, 6)
    )
    (t,) = linalg.schur(x, compute_schur_vectors=False)
    t2, z = linalg.schur(x)
    np.testing.assert_allclose(z @ t2 @ z.T, x, atol=1e-12)
    np.testing.assert_array_equal(t, t2)


# What jax's functions say of devices, algorithms and what only one of them can.
NOT_HERE = {"implementation", "algorithm", "use_magma", "enable_eigvec_derivs", "perturb_singular", "sort_eig_vals", "select_callable", "subset_by_index"}  # fmt: skip


@pytest.mark.parametrize("name", linalg.__all__)
def test_arguments_are_jaxs(name: str) -> None:
    mine, theirs = [inspect.signature(getattr(m, name)).parameters for m in (linalg, jax.lax.linalg)]
    assert [p for p in mine if p not in NOT_HERE] == [p for p in theirs if p not in NOT_HERE]
    assert all([mine[p].kind == theirs[p].kind and mine[p].default == theirs[p].default for p in mine])


def test_errors() -> None:
    with pytest.raises(ShapeError, match=r"tridiagonal_solve at .*test_linalg\.py:\d+.* must have one shape"):
        tg.jit(linalg.tridiagonal_solve)(np.ones(2), np.ones(3), np.ones(3), np.ones((3, 1)))
