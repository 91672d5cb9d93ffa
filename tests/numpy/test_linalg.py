"""numpy.linalg against NumPy's values, jax's derivatives, differences and closed forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tests.jaxprs import run_with_numpy
from tracegrad.numpy import linalg

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
