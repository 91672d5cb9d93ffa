"""numpy.linalg against NumPy's values, jax's derivatives, differences and closed forms. Decompositions that are fixed up
to signs, phases or bases are tested by functions that do not depend on these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.linalg import LinAlgError

import tracegrad as tg
from tests.jaxprs import run_with_numpy
from tracegrad.core.errors import DtypeError
from tracegrad.numpy import linalg
from tracegrad.testing.differences import five_point

jax.config.update("jax_enable_x64", True)


def general(*shape: int, seed: int = 0, kind: str = "f") -> Any:
    rng = np.random.default_rng([seed, *shape])
    x = rng.uniform(-1, 1, shape)
    return x + 1j * rng.uniform(-1, 1, shape) if kind == "c" else x


def regular(*shape: int, seed: int = 0, kind: str = "f") -> Any:
    """Square matrices with eigenvalues and singular values well apart."""
    return general(*shape, seed=seed, kind=kind) / 2 + np.diag(np.arange(1.0, shape[-1] + 1))


def hermitian(*shape: int, seed: int = 0, kind: str = "f") -> Any:
    """Positive definite."""
    x = regular(*shape, seed=seed, kind=kind)
    return (x + adjoint(x)) / 2 + np.eye(shape[-1])


def adjoint(x: Any) -> Any:
    return np.swapaxes(x, -1, -2).conj()


def h(np: Any, x: Any) -> Any:
    """The adjoint, in a module's own functions."""
    return np.conjugate(np.swapaxes(x, -1, -2))


def weighted(np: Any, x: Any) -> Any:
    """A real number that depends on every element, and on its phase."""
    flat = np.reshape(x, -1)
    weights = np.arange(1, flat.shape[0] + 1) / flat.shape[0]
    return np.sum(np.real(flat) * weights) + np.sum(np.imag(flat) * weights**2)


def eigh_function(np: Any, a: Any) -> Any:
    w, v = np.linalg.eigh(a)
    return (v * np.exp(w / 4)[..., None, :]) @ h(np, v)


def eigh_projector(np: Any, a: Any) -> Any:
    v = np.linalg.eigh(a)[1][..., :1]
    return v @ h(np, v)


def svd_parts(np: Any, a: Any) -> Any:
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    u, vh = u[..., :2], vh[..., :2, :]
    return (u * np.sin(s[..., None, :2])) @ vh


def svd_projectors(np: Any, a: Any) -> Any:
    u, _, vh = np.linalg.svd(a, full_matrices=False)
    left, right = u[..., :1], h(np, vh[..., :1, :])
    return np.sum(left @ h(np, left), -1) + np.sum(right @ h(np, right))


# Functions of NumPy's module (or jax's) and of arrays, and these for "f" (real) or "c" (complex).
FUNCTIONS: dict[str, tuple[Callable[..., Any], Callable[[str], list[Any]]]] = {
    "solve": (lambda np, a, b: np.linalg.solve(a, b), lambda k: [regular(3, 3, kind=k), general(3, 2, kind=k)]),
    "solve vector": (lambda np, a, b: np.linalg.solve(a, b), lambda k: [regular(3, 3, kind=k), general(3, kind=k)]),
    "solve broadcast": (lambda np, a, b: np.linalg.solve(a, b), lambda k: [regular(2, 1, 3, 3, kind=k), general(2, 3, 2, kind=k)]),
    "inv": (lambda np, a: np.linalg.inv(a), lambda k: [regular(2, 3, 3, kind=k)]),
    "det": (lambda np, a: np.linalg.det(a), lambda k: [regular(2, 3, 3, kind=k)]),
    "slogdet": (lambda np, a: np.linalg.slogdet(a)[1], lambda k: [-regular(2, 3, 3, kind=k)]),
    "slogdet both": (lambda np, a: np.prod(np.stack(np.linalg.slogdet(a)), 0), lambda k: [regular(3, 3, kind=k)]),
    "cholesky": (lambda np, a: np.linalg.cholesky(a), lambda k: [hermitian(2, 3, 3, kind=k)]),
    "cholesky upper": (lambda np, a: np.linalg.cholesky(a, upper=True), lambda k: [hermitian(3, 3, kind=k)]),
    "eigh": (eigh_function, lambda k: [hermitian(2, 3, 3, kind=k)]),
    "eigh projector": (eigh_projector, lambda k: [hermitian(3, 3, kind=k)]),
    "eigvalsh": (lambda np, a: np.linalg.eigvalsh(a), lambda k: [hermitian(3, 3, kind=k)]),
    "eigvals": (lambda np, a: np.sum(np.exp(np.linalg.eigvals(a) / 4), -1), lambda k: [regular(2, 3, 3, kind=k)]),
    "qr": (lambda np, a: sum(np.sum(np.abs(x) ** 2 * x, -1) for x in np.linalg.qr(a)), lambda k: [regular(3, 3, kind=k)]),
    "qr tall": (lambda np, a: np.linalg.qr(a)[0] @ np.linalg.qr(a, "r") ** 2, lambda k: [regular(2, 4, 4, kind=k)[..., :2]]),
    "svd": (svd_parts, lambda k: [regular(3, 3, kind=k)]),
    "svd tall": (svd_parts, lambda k: [regular(2, 4, 4, kind=k)[..., :3]]),
    "svd wide": (svd_parts, lambda k: [regular(4, 4, kind=k)[:3]]),
    "svd vectors": (svd_projectors, lambda k: [regular(4, 4, kind=k)[:3]]),
    "svdvals": (lambda np, a: np.linalg.svdvals(a), lambda k: [regular(3, 3, kind=k)]),
    "svdvals by svd": (lambda np, a: np.linalg.svd(a, compute_uv=False), lambda k: [regular(2, 4, 4, kind=k)[..., :3]]),
    "svd full for values": (lambda np, a: np.linalg.svd(a, compute_uv=False), lambda k: [regular(3, 3, kind=k)[:2]]),
    "pinv": (lambda np, a: np.linalg.pinv(a), lambda k: [regular(3, 3, kind=k)]),
    "pinv tall": (lambda np, a: np.linalg.pinv(a), lambda k: [regular(2, 3, 3, kind=k)[..., :2]]),
    "pinv wide": (lambda np, a: np.linalg.pinv(a), lambda k: [regular(3, 3, kind=k)[:2]]),
    "lstsq": (lambda np, a, b: np.linalg.lstsq(a, b)[0], lambda k: [regular(4, 4, kind=k)[:, :2], general(4, 3, kind=k)]),
    "lstsq residuals": (lambda np, a, b: np.linalg.lstsq(a, b)[1], lambda k: [regular(4, 4, kind=k)[:, :2], general(4, kind=k)]),
    "lstsq wide": (lambda np, a, b: np.linalg.lstsq(a, b)[0], lambda k: [regular(4, 4, kind=k)[:2], general(2, kind=k)]),
    "matrix_power 3": (lambda np, a: np.linalg.matrix_power(a, 3), lambda k: [regular(2, 2, 2, kind=k)]),
    "matrix_power -2": (lambda np, a: np.linalg.matrix_power(a, -2), lambda k: [regular(2, 2, kind=k)]),
    "cond": (lambda np, a: np.linalg.cond(a), lambda k: [regular(3, 3, kind=k)]),
    "cond -2": (lambda np, a: np.linalg.cond(a, -2), lambda k: [regular(3, 3, kind=k)]),
    "cond fro": (lambda np, a: np.linalg.cond(a, "fro"), lambda k: [regular(3, 3, kind=k)]),
    "tensorsolve": (lambda np, a, b: np.linalg.tensorsolve(a, b), lambda k: [regular(6, 6, kind=k).reshape(2, 3, 6), general(2, 3, kind=k)]),
    "tensorsolve axes": (lambda np, a, b: np.linalg.tensorsolve(a, b, (1,)), lambda k: [regular(6, 6, kind=k).reshape(2, 3, 6).swapaxes(1, 2), general(2, 3, kind=k)]),
    "tensorinv": (lambda np, a: np.linalg.tensorinv(a), lambda k: [regular(6, 6, kind=k).reshape(2, 3, 6)]),
    "trace": (lambda np, a: np.linalg.trace(a, offset=1), lambda k: [general(2, 3, 4, kind=k)]),
    "diagonal": (lambda np, a: np.linalg.diagonal(a, offset=-1), lambda k: [general(2, 3, 4, kind=k)]),
    "norm": (lambda np, x: np.linalg.norm(x), lambda k: [general(2, 3, 2, kind=k)]),
    "norm axis": (lambda np, x: np.linalg.norm(x, axis=1), lambda k: [general(2, 3, 2, kind=k)]),
    "norm keepdims": (lambda np, x: np.linalg.norm(x, axis=(0, -1), keepdims=True), lambda k: [general(2, 3, 2, kind=k)]),
    **{
        f"vector norm {order}": (lambda np, x, o=order: np.linalg.norm(x, o, axis=-1), lambda k: [general(2, 3, kind=k)])
        for order in (0, 1, 2, 3, 2.5, 0.5, -1, np.inf, -np.inf)
    },
    **{
        f"matrix norm {order}": (lambda np, x, o=order: np.linalg.norm(x, o), lambda k: [general(2, 3, kind=k)])
        for order in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)
    },
    **{
        f"matrix norm {order} of axes": (
            lambda np, x, o=order: np.linalg.norm(x, o, axis=(2, 0), keepdims=True),
            lambda k: [general(2, 3, 2, kind=k)],
        )
        for order in ("nuc", 1, np.inf)
    },
    "vector_norm": (lambda np, x: np.linalg.vector_norm(x, axis=(0, 2), ord=3), lambda k: [general(2, 3, 2, kind=k)]),
    "matrix_norm": (lambda np, x: np.linalg.matrix_norm(x, ord="nuc", keepdims=True), lambda k: [general(2, 3, 2, kind=k)]),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["f", "c"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients(name: str, kind: str) -> None:
    function, arguments = FUNCTIONS[name]
    args = arguments(kind)
    expected = np.asarray(function(np, *args))
    out = tg.vjp(lambda *xs: function(np, *xs), *args)[0]
    assert np.shape(out) == expected.shape
    np.testing.assert_allclose(out, expected, rtol=1e-11, atol=1e-12)
    abstract = tg.eval_shape(lambda *xs: function(np, *xs), *args)
    assert (abstract.shape, abstract.dtype) == (np.shape(out), out.dtype)

    positions = tuple(range(len(args)))
    ours = tg.grad(lambda *xs: weighted(np, function(np, *xs)), positions)(*args)
    theirs = run_with_numpy(jax.grad(lambda *xs: weighted(jnp, function(jnp, *xs)), positions), *args)
    for a, b, x in zip(ours, theirs, args, strict=True):
        assert (a.shape, a.dtype) == (x.shape, x.dtype)
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)


SECOND = [
    "solve", "inv", "det", "slogdet", "cholesky", "eigh", "qr tall", "svd tall", "svd wide", "pinv tall", "lstsq residuals",
    "eigvals", "vector norm 3", "matrix norm nuc", "cond", "norm",
]  # fmt: skip


@pytest.mark.parametrize("name", SECOND)
def test_second_derivatives(name: str) -> None:
    function, arguments = FUNCTIONS[name]
    args = arguments("f")
    ours = tg.hessian(lambda a: weighted(np, function(np, a, *args[1:])))(args[0])
    if name == "eigvals":  # which jax does not differentiate twice: a closed form
        function = lambda jnp, a: jnp.trace(jax.scipy.linalg.expm(a / 4), axis1=-2, axis2=-1)
    theirs = run_with_numpy(jax.hessian(lambda a: weighted(jnp, function(jnp, a, *args[1:]))), args[0])
    np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_vmap(name: str) -> None:
    if name.startswith("lstsq"):
        pytest.skip("NumPy's own lstsq takes one system at a time, so there is no value to compare a batch with")
    function, arguments = FUNCTIONS[name]
    rows = [arguments("f"), [x * 1.25 for x in arguments("f")]]
    ours = tg.vmap(lambda *xs: function(np, *xs))(*[np.stack(column) for column in zip(*rows, strict=True)])
    np.testing.assert_allclose(ours, np.stack([function(np, *row) for row in rows]), rtol=1e-10, atol=1e-12)
    batch = np.stack([row[0] for row in rows], -1)
    ours = tg.vmap(lambda x: function(np, x, *rows[0][1:]), in_axes=-1)(batch)
    loop = np.stack([function(np, row[0], *rows[0][1:]) for row in rows])
    np.testing.assert_allclose(ours, loop, rtol=1e-10, atol=1e-12)


def test_vmap_of_gradients() -> None:
    a, b = np.stack([regular(3, 3), regular(3, 3, seed=1)]), general(3)
    f = tg.grad(lambda a, b: np.sum(np.linalg.solve(a, b)) + np.linalg.slogdet(a)[1] + np.linalg.norm(a, "nuc"), (0, 1))
    ours = tg.vmap(f, in_axes=(0, None))(a, b)
    for got, *each in zip(ours, f(a[0], b), f(a[1], b), strict=True):
        np.testing.assert_allclose(got, np.stack(each), rtol=1e-10)


def test_vmap_of_lstsq() -> None:
    a, b = np.stack([regular(4, 4)[:, :2], regular(4, 4, seed=1)[:, :2]]), general(2, 4)
    x, residuals, rank, s = tg.vmap(np.linalg.lstsq)(a, b)
    for i in range(2):
        for got, expected in zip((x[i], residuals[i], rank[i], s[i]), np.linalg.lstsq(a[i], b[i]), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-10)


# ---------------------------------------------------------------------------------------------------------------------
# Results as NumPy's.


def test_results_are_numpys_namedtuples() -> None:
    a = hermitian(3, 3)
    for function in (np.linalg.eigh, np.linalg.slogdet, np.linalg.qr, np.linalg.svd, np.linalg.eig):
        out = tg.vjp(function, a)[0]
        assert type(out) is type(function(a))
        for ours, theirs in zip(out, function(a), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_functions_of_plain_arrays_are_numpys() -> None:
    assert linalg.eigvals(np.eye(2)).dtype == np.float64
    assert linalg.qr(np.eye(2), "raw")[0].shape == (2, 2)
    assert linalg.matrix_rank(np.ones((3, 3))) == 1
    assert set(linalg.__all__) == {*np.linalg.__all__, "funm"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32_stays(name: str) -> None:
    function, arguments = FUNCTIONS[name]
    for kind, dtype in (("f", np.float32), ("c", np.complex64)):
        args = [x.astype(dtype) for x in arguments(kind)]
        out, pull = tg.vjp(lambda *xs: function(np, *xs), *args)
        assert out.dtype in (np.float32, np.complex64)
        assert all(g.dtype == dtype for g in pull(np.ones_like(out)))
        assert tg.eval_shape(lambda *xs: function(np, *xs), *args).dtype == out.dtype


def test_integers_become_floats() -> None:
    counts = np.array([[4, 1], [1, 3]])
    for function in (
        np.linalg.inv,
        np.linalg.det,
        np.linalg.cholesky,
        np.linalg.eigvalsh,
        np.linalg.norm,
        np.linalg.pinv,
    ):
        for x in (counts, counts.astype(np.uint8), counts > 1):
            out = tg.vjp(function, x)[0]
            assert out.dtype == np.float64
            np.testing.assert_allclose(out, function(x), rtol=1e-12)
    np.testing.assert_allclose(tg.grad(lambda b: np.sum(np.linalg.solve(counts, b)))(np.ones(2)), [2 / 11, 3 / 11])


@pytest.mark.parametrize("shape", [(0, 0), (2, 0, 0), (0, 3, 3)])
def test_empty_matrices(shape: tuple[int, ...]) -> None:
    a = np.zeros(shape)
    for function in (
        np.linalg.inv,
        np.linalg.det,
        np.linalg.pinv,
        np.linalg.cholesky,
        np.linalg.eigvalsh,
        np.linalg.svdvals,
    ):
        out, pull = tg.vjp(function, a)
        np.testing.assert_array_equal(out, function(a))
        assert pull(out)[0].shape == shape


@pytest.mark.parametrize("n", range(-3, 6))
def test_matrix_power(n: int) -> None:
    a = regular(3, 3)
    np.testing.assert_allclose(
        tg.vjp(lambda a: np.linalg.matrix_power(a, n), a)[0], np.linalg.matrix_power(a, n), rtol=1e-10
    )


def test_matrix_rank() -> None:
    rank_two = np.outer([1.0, 2, 3], [1.0, 0, 1]) + np.diag([0, 1.0, 0])
    stack = np.stack([np.eye(3), rank_two, np.zeros((3, 3))])
    for args, kwargs in [((stack,), {}), ((stack, 1.5), {}), ((stack,), {"rtol": 0.5}), ((np.zeros(2),), {}),
                         ((rank_two + rank_two.T,), {"hermitian": True})]:  # fmt: skip
        expected = np.linalg.matrix_rank(*args, **kwargs)
        found = tg.vjp(lambda x: np.linalg.matrix_rank(x, *args[1:], **kwargs), args[0])[0]
        np.testing.assert_array_equal(found, expected)
    assert tg.grad(lambda a: np.trace(a) if np.linalg.matrix_rank(a) == 2 else np.sum(a))(rank_two)[0, 1] == 0


def test_cond_of_a_singular_matrix_is_infinite() -> None:
    singular = np.ones((2, 2))
    for p in (None, 1, "fro"):
        assert tg.vjp(lambda a: np.linalg.cond(a, p), singular)[0] > 1e15


# ---------------------------------------------------------------------------------------------------------------------
# Determinants of singular matrices.


def of_rank(n: int, rank: int, kind: str = "f") -> Any:
    return general(n, rank, kind=kind) @ general(rank, n, seed=1, kind=kind)


def cofactors(a: Any) -> Any:
    """From their definition, by minors."""
    n = a.shape[0]
    minor = lambda i, j: np.linalg.det(np.delete(np.delete(a, i, 0), j, 1))
    return np.array([[(-1) ** (i + j) * minor(i, j) for j in range(n)] for i in range(n)])


@pytest.mark.parametrize("kind", ["f", "c"])
@pytest.mark.parametrize("n, rank", [(1, 0), (2, 1), (2, 0), (4, 3), (4, 2), (5, 5)])
def test_derivative_of_det_is_the_cofactors(n: int, rank: int, kind: str) -> None:
    a = of_rank(n, rank, kind)
    g = tg.vjp(np.linalg.det, a)[1](a.dtype.type(1))[0]
    np.testing.assert_allclose(g, cofactors(a) if n > 1 else np.ones((1, 1)), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("rank", [4, 3, 2, 1])
def test_second_derivative_of_det(rank: int) -> None:
    """Exact at every rank: entries are signed minors without two rows and columns."""
    a = of_rank(4, rank)
    rows = tg.hessian(np.linalg.det)(a)
    assert np.all(np.isfinite(rows))
    directions = [general(4, 4, seed=s) for s in (5, 6)]
    second = np.einsum("ij,ijkl,kl->", directions[0], rows, directions[1])
    (expected,) = five_point(lambda x: (np.sum(cofactors(x) * directions[1]),), [a], [directions[0]])
    np.testing.assert_allclose(second, expected, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(tg.jacrev(tg.grad(np.linalg.det))(a), rows, rtol=1e-9, atol=1e-11)


def test_third_derivative_of_det() -> None:
    a = regular(3, 3)
    third = tg.jacrev(tg.hessian(np.linalg.det))(a)
    signs = np.zeros((3, 3, 3))
    for i, j, k in [(0, 1, 2), (1, 2, 0), (2, 0, 1)]:
        signs[i, j, k], signs[k, j, i] = 1, -1
    np.testing.assert_allclose(third, np.einsum("ikm,jln->ijklmn", signs, signs), rtol=1e-9, atol=1e-9)
    with pytest.raises(LinAlgError, match="has no derivative here"):
        tg.jacrev(tg.hessian(np.linalg.det))(np.zeros((3, 3)))


def test_det_of_a_batch_with_a_singular_matrix() -> None:
    stack = np.stack([np.eye(3), of_rank(3, 2), of_rank(3, 1)])
    g = tg.grad(lambda a: np.sum(np.linalg.det(a)))(stack)
    np.testing.assert_allclose(g, [cofactors(a) for a in stack], rtol=1e-9, atol=1e-13)


# ---------------------------------------------------------------------------------------------------------------------
# Hermitian matrices.


HERMITIAN: list[Callable[..., Any]] = [
    np.linalg.cholesky,
    lambda a: np.linalg.cholesky(a, upper=True),
    np.linalg.eigvalsh,
    lambda a: np.linalg.eigvalsh(a, "U"),
    lambda a: eigh_function(np, a),
    lambda a: (lambda w, v: (v * w**2) @ adjoint(v))(*np.linalg.eigh(a, "U")),
    lambda a: np.linalg.pinv(a, hermitian=True),
]


@pytest.mark.parametrize("kind", ["f", "c"])
@pytest.mark.parametrize("function", HERMITIAN)
def test_the_other_triangle_does_not_count(function: Any, kind: str) -> None:
    """A matrix that is not Hermitian is read as NumPy reads it, and its derivative is that of this reading."""
    a = hermitian(3, 3, kind=kind) + np.triu(general(3, 3, seed=7, kind=kind), 1) / 4
    out, pull = tg.vjp(function, a)
    np.testing.assert_allclose(out, function(a), rtol=1e-11, atol=1e-12)
    t = general(3, 3, seed=8, kind=kind)
    tangent = tg.jvp(function, (a,), (t,))[1]
    np.testing.assert_allclose(tangent, *five_point(lambda x: (function(x),), [a], [t]), rtol=1e-7, atol=1e-8)
    ct = tangent.conj()
    np.testing.assert_allclose(np.sum(pull(ct)[0] * t).real, np.sum(ct * tangent).real, rtol=1e-9)


@pytest.mark.parametrize("kind", ["f", "c"])
@pytest.mark.parametrize("function", HERMITIAN)
def test_cotangents_of_hermitian_matrices_are_hermitian(function: Any, kind: str) -> None:
    a = hermitian(3, 3, kind=kind)
    t = hermitian(3, 3, seed=3, kind=kind)
    tangent = tg.jvp(function, (a,), (t,))[1]
    np.testing.assert_allclose(tangent, *five_point(lambda x: (function(x),), [a], [t]), rtol=1e-7, atol=1e-8)
    g = tg.grad(lambda a: weighted(np, function(a)))(a)
    np.testing.assert_allclose(g, adjoint(g), rtol=1e-9, atol=1e-11)


def test_one_hermitian_matrix_of_a_batch() -> None:
    a = np.stack([hermitian(2, 2), np.tril(hermitian(2, 2, seed=1))])
    g = tg.grad(lambda a: np.sum(np.linalg.eigvalsh(a) ** 3))(a)
    np.testing.assert_allclose(g[0], tg.grad(lambda a: np.sum(np.linalg.eigvalsh(a) ** 3))(a[0]))
    assert g[0][0, 1] == g[0][1, 0] != 0 and g[1][0, 1] == 0
    np.testing.assert_allclose(tg.vmap(np.linalg.eigvalsh)(a), np.linalg.eigvalsh(a))


def test_equal_eigenvalues() -> None:
    np.testing.assert_allclose(tg.grad(lambda a: np.sum(np.linalg.eigvalsh(a)))(np.eye(3)), np.eye(3))
    np.testing.assert_allclose(tg.grad(lambda a: np.sum(np.linalg.eigh(a)[0] ** 2))(np.eye(3)), 2 * np.eye(3))
    np.testing.assert_allclose(tg.hessian(lambda a: np.sum(np.linalg.eigvalsh(a)))(np.eye(2)), 0, atol=1e-14)
    a = np.diag([1.0, 1.0, 3.0])  # the projector onto the plane of the first two moves against the third only
    plane = lambda a: (lambda v: v @ v.T)(np.linalg.eigh(a)[1][:, :2])
    t = hermitian(3, 3)
    np.testing.assert_allclose(
        tg.jvp(plane, (a,), (t,))[1], *five_point(lambda x: (plane(x),), [a], [t]), rtol=1e-7, atol=1e-9
    )


def test_equal_singular_values() -> None:
    np.testing.assert_allclose(tg.grad(lambda a: np.linalg.norm(a, "nuc"))(np.eye(3)), np.eye(3))
    np.testing.assert_allclose(tg.grad(lambda a: np.sum(np.linalg.svd(a)[1] ** 2))(np.eye(3)), 2 * np.eye(3))


# ---------------------------------------------------------------------------------------------------------------------
# Decompositions up to a choice.


@pytest.mark.parametrize(
    "a", [regular(3, 3), np.array([[1.0, -2, 0.3], [1.5, 1, 0.1], [0.2, 0.4, 4]]), regular(3, 3, kind="c")]
)
def test_eig_follows_lapacks_choice(a: Any) -> None:
    t = general(3, 3, seed=5, kind="c" if a.dtype.kind == "c" else "f")
    function = lambda a: tuple(np.linalg.eig(a))
    w, v = tg.vjp(function, a)[0]
    np.testing.assert_allclose(a @ v, v * w, atol=1e-12)
    for ours, theirs in zip(tg.jvp(function, (a,), (t,))[1], five_point(function, [a], [t]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-8)


def test_sum_of_eigenvalues_is_the_trace() -> None:
    np.testing.assert_allclose(
        tg.grad(lambda a: np.sum(np.linalg.eigvals(a)).real)(regular(4, 4)), np.eye(4), atol=1e-12
    )


@pytest.mark.parametrize("kind", ["f", "c"])
@pytest.mark.parametrize("shape", [(4, 2), (2, 4)])
def test_full_svd(shape: tuple[int, int], kind: str) -> None:
    """The added vectors stay orthonormal to the others, and span what the others leave."""
    a, t = general(*shape, kind=kind), general(*shape, seed=1, kind=kind)

    def projectors(a: Any) -> Any:
        u, _, vh = np.linalg.svd(a)
        return u[:, 2:] @ adjoint(u[:, 2:]), adjoint(vh[2:]) @ vh[2:], u @ adjoint(u), vh @ adjoint(vh)

    for ours, theirs in zip(tg.jvp(projectors, (a,), (t,))[1], five_point(projectors, [a], [t]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kind", ["f", "c"])
def test_complete_qr(kind: str) -> None:
    a, t = general(4, 2, kind=kind), general(4, 2, seed=1, kind=kind)

    def parts(a: Any) -> Any:
        q, r = np.linalg.qr(a, "complete")
        return q[:, :2], r, q[:, 2:] @ adjoint(q[:, 2:]), q @ adjoint(q), q @ r

    for ours, theirs in zip(tg.jvp(parts, (a,), (t,))[1], five_point(parts, [a], [t]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kind", ["f", "c"])
def test_wide_qr(kind: str) -> None:
    a, t = general(2, 4, kind=kind), general(2, 4, seed=1, kind=kind)
    function = lambda a: tuple(np.linalg.qr(a))
    for ours, theirs in zip(tg.jvp(function, (a,), (t,))[1], five_point(function, [a], [t]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-8)


def test_svd_of_hermitian_matrices() -> None:
    a = hermitian(3, 3) - 2.5 * np.eye(3)
    for ours, theirs in zip(
        tg.vjp(lambda a: np.linalg.svd(a, hermitian=True), a)[0], np.linalg.svd(a, hermitian=True), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-12)
    values = lambda a: np.linalg.svd(a, compute_uv=False, hermitian=True)
    np.testing.assert_allclose(tg.vjp(values, a)[0], values(a), rtol=1e-12)
    product = lambda a: (lambda u, s, vh: (u * s**3) @ vh)(*np.linalg.svd(a, hermitian=True))
    # A Hermitian matrix moves among its like, as in the other functions of Hermitian matrices.
    cube = lambda a: (a + a.T) @ (a + a.T) @ (a + a.T) / 8
    np.testing.assert_allclose(tg.jacrev(product)(a), jax.jacrev(cube)(a), rtol=1e-9, atol=1e-9)


# ---------------------------------------------------------------------------------------------------------------------
# Rank-deficient least squares.


@pytest.mark.parametrize("kind", ["f", "c"])
def test_pinv_of_constant_rank(kind: str) -> None:
    left, right, t = general(4, 2, kind=kind), general(2, 3, seed=1, kind=kind), general(4, 2, seed=2, kind=kind)
    function = lambda left: np.linalg.pinv(left @ right, rcond=1e-10)
    np.testing.assert_allclose(
        tg.jvp(function, (left,), (t,))[1], *five_point(lambda x: (function(x),), [left], [t]), rtol=1e-7, atol=1e-8
    )


def test_lstsq_as_numpys() -> None:
    a, b = general(4, 2), general(4, 3)
    for args in [
        (a, b),
        (a, b[:, 0]),
        (np.ones((4, 2)), b),
        (a.T, b[:2]),
        (regular(3, 3), general(3)),
        (a, b, 0.9),
        (a[:, :0], b),
    ]:
        for ours, theirs in zip(
            tg.vjp(lambda a, b: np.linalg.lstsq(a, b, *args[2:]), *args[:2])[0], np.linalg.lstsq(*args), strict=True
        ):
            assert np.shape(ours) == np.shape(theirs)
            np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# Norms at their kinks.


@pytest.mark.parametrize("order", [None, 2, 1, 3, 2.5, 0.5, np.inf, -np.inf, 0, -1, -2])
def test_vector_norms_of_zero(order: Any) -> None:
    for x in (np.zeros(3), np.zeros(3, complex)):
        value, g = tg.value_and_grad(lambda x: np.linalg.norm(x, order))(x)
        assert value == 0
        np.testing.assert_array_equal(g, 0)
    g = tg.grad(lambda x: np.sum(np.linalg.norm(x, order, axis=0)))(np.array([[0.0, 2.0], [0.0, 0.0], [0.0, -1.0]]))
    assert np.all(np.isfinite(g)) and np.all(g[:, 0] == 0)


@pytest.mark.parametrize("order", [None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_matrix_norms_of_zero(order: Any) -> None:
    value, g = tg.value_and_grad(lambda x: np.linalg.norm(x, order))(np.zeros((2, 3)))
    assert value == 0
    np.testing.assert_array_equal(g, 0)


def test_the_norm_of_zero_has_no_second_derivative() -> None:
    np.testing.assert_array_equal(tg.hessian(np.linalg.norm)(np.zeros(2)), np.nan)


def test_norms_of_scalars_and_integers() -> None:
    assert tg.grad(np.linalg.norm)(-3.0) == -1
    out = tg.vjp(lambda x: np.linalg.norm(x, axis=0), np.array([[3, 1], [4, 0]]))[0]
    np.testing.assert_array_equal(out, [5, 1])
    for kwargs in ({"keepdims": True}, {"ord": 1}, {"ord": 3, "axis": 1, "keepdims": True}, {"axis": (1, 0)}):
        x = general(2, 3)
        ours, theirs = tg.vjp(lambda x: np.linalg.norm(x, **kwargs), x)[0], np.linalg.norm(x, **kwargs)
        assert np.shape(ours) == np.shape(theirs)
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# Errors.


@pytest.mark.parametrize(
    "function, args, message",
    [
        (
            np.linalg.solve,
            [np.ones((2, 2)), np.ones(2)],
            r"Singular matrix\n  in solve of f64\[2,2\], f64\[2\] at .*:\d+",
        ),
        (np.linalg.inv, [np.zeros((2, 2))], r"Singular matrix\n  in inv of f64\[2,2\] at .*test_linalg\.py:\d+"),
        (np.linalg.cholesky, [-np.eye(2)], r"not positive definite\n  in cholesky of f64\[2,2\] at"),
    ],
)
def test_values_that_lapack_refuses(function: Any, args: Any, message: str) -> None:
    with pytest.raises(LinAlgError, match=message):
        tg.vjp(lambda *xs: function(*xs), *args)


@pytest.mark.parametrize(
    "function, shapes, message",
    [
        (
            np.linalg.inv,
            [(2, 3)],
            r"inv takes a square matrix .* got f64\[2,3\]\n  in inv of f64\[2,3\] at .*test_linalg",
        ),
        (np.linalg.inv, [(3,)], r"inv takes a matrix or a batch of them, \(..., m, n\), got f64\[3\]"),
        (np.linalg.det, [(2, 3)], "det takes a square matrix"),
        (np.linalg.slogdet, [(2, 3)], "slogdet takes a square matrix"),
        (
            np.linalg.cholesky,
            [(2, 3)],
            r"^cholesky takes a square matrix .* got f64\[2,3\]\n  in cholesky of f64\[2,3\] at .*test_linalg",
        ),
        (np.linalg.eigh, [(2, 3)], "^eigh takes a square matrix"),
        (np.linalg.eigvalsh, [(3,)], "^eigvalsh takes a matrix"),
        (lambda a: np.linalg.pinv(a, hermitian=True), [(2, 3)], "^pinv takes a square matrix"),
        (lambda a: linalg.funm(a, np.exp), [(2, 3)], r"^funm at .*test_linalg\.py.* takes a square matrix"),
        (np.linalg.eig, [(2, 3)], "eig takes a square matrix"),
        (np.linalg.qr, [(3,)], "qr takes a matrix"),
        (np.linalg.svd, [(3,)], "svd takes a matrix"),
        (np.linalg.pinv, [(3,)], "pinv takes a matrix"),
        (np.linalg.solve, [(2, 3), (2,)], "solve takes a square matrix"),
        (np.linalg.solve, [(4, 3, 3), (4, 3)], r"f64\[4,3\] does not fit f64\[4,3,3\].* b\[..., None\]"),
        (np.linalg.solve, [(2, 3, 3), (3, 3, 1)], "leading axes"),
        (np.linalg.lstsq, [(2, 3), (3,)], "lstsq takes matrices"),
        (np.linalg.tensorsolve, [(2, 3), (2,)], "should have 9"),
        (np.linalg.cond, [(0, 0)], "not defined on empty"),
        (lambda a: np.linalg.matrix_power(a, 2), [(2, 3)], "matrix_power takes a square matrix"),
    ],
)
def test_shapes_that_do_not_fit(function: Any, shapes: Any, message: str) -> None:
    args = [np.ones(s) for s in shapes]
    with pytest.raises(LinAlgError, match=message):
        tg.vjp(lambda *xs: function(*xs), *args)
    with pytest.raises(LinAlgError):
        tg.eval_shape(function, *args)


@pytest.mark.parametrize(
    "function, shape, message",
    [
        (lambda x: np.linalg.norm(x, 3), (2, 2), "Invalid norm order 3 for matrices"),
        (lambda x: np.linalg.norm(x, "nuc"), (2,), "Invalid norm order 'nuc' for vectors"),
        (lambda x: np.linalg.norm(x, 1), (2, 2, 2), "Improper number of dimensions"),
        (lambda x: np.linalg.norm(x, axis=(1, 1)), (2, 2), "Duplicate axes"),
        (lambda x: np.linalg.norm(x, axis=2), (2, 2), "axis 2 is out of bounds"),
        (lambda x: np.linalg.eigvalsh(x, "M"), (2, 2), "UPLO must be 'L' or 'U'"),
        (lambda x: np.linalg.qr(x, "raw"), (2, 2), "mode 'raw' is not traced"),
        (lambda x: np.linalg.tensorinv(x, 0), (2, 2), "1 or more"),
        (lambda x: np.linalg.pinv(x, 0.1, rtol=0.1), (2, 2), "two names of one argument"),
        (lambda x: np.linalg.matrix_rank(x, 0.1, rtol=0.1), (2, 2), "one of tol and rtol"),
    ],
)
def test_arguments_that_mean_nothing(function: Any, shape: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tg.vjp(function, np.ones(shape))


def test_dtypes_that_lapack_lacks() -> None:
    with pytest.raises(DtypeError, match=r"det: f16\[2,2\] is unsupported in linalg; write x.astype"):
        tg.eval_shape(np.linalg.det, np.eye(2, dtype=np.float16))


def test_a_derivative_that_does_not_exist_names_the_line() -> None:
    with pytest.raises(
        LinAlgError, match=r"slogdet at .*test_linalg\.py:\d+ .* has no derivative here: Singular matrix"
    ):
        tg.grad(lambda a: np.linalg.slogdet(a)[1])(np.zeros((2, 2)))
