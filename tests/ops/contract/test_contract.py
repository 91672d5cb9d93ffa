"""Products against NumPy's values, jax's derivatives, and the errors a user sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.errors import ShapeError

jax.config.update("jax_enable_x64", True)


def array(*shape: int, seed: int = 0, kind: str = "f") -> Any:
    rng = np.random.default_rng([seed, *shape])
    x = rng.uniform(-1, 1, shape)
    return x + 1j * rng.uniform(-1, 1, shape) if kind == "c" else x


# Functions of NumPy's module (or jax's) and of arrays, with the shapes of those.
PRODUCTS: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "matmul 2-d": (lambda np, a, b: np.matmul(a, b), [(2, 3), (3, 4)]),
    "matmul operator": (lambda np, a, b: a @ b, [(2, 3), (3, 4)]),
    "matmul inner": (lambda np, a, b: a @ b, [(3,), (3,)]),
    "matmul row": (lambda np, a, b: a @ b, [(3,), (3, 2)]),
    "matmul column": (lambda np, a, b: a @ b, [(2, 3), (3,)]),
    "matmul batch row": (lambda np, a, b: a @ b, [(3,), (2, 2, 3, 2)]),
    "matmul batch column": (lambda np, a, b: a @ b, [(2, 2, 2, 3), (3,)]),
    "matmul batch by matrix": (lambda np, a, b: a @ b, [(2, 2, 2, 3), (3, 4)]),
    "matmul matrix by batch": (lambda np, a, b: a @ b, [(2, 3), (2, 2, 3, 4)]),
    "matmul broadcast": (lambda np, a, b: a @ b, [(2, 1, 2, 3), (3, 3, 2)]),
    "linalg.matmul": (lambda np, a, b: np.linalg.matmul(a, b), [(2, 3), (3, 4)]),
    "dot scalar": (lambda np, a, b: np.dot(a, b), [(), (3, 2)]),
    "dot 1-d": (lambda np, a, b: np.dot(a, b), [(3,), (3,)]),
    "dot 2-d": (lambda np, a, b: np.dot(a, b), [(2, 3), (3, 4)]),
    "dot method": (lambda np, a, b: a.dot(b), [(2, 3), (3, 4)]),
    "dot n-d": (lambda np, a, b: np.dot(a, b), [(2, 2, 3), (4, 3, 2)]),
    "dot n-d 1-d": (lambda np, a, b: np.dot(a, b), [(2, 2, 3), (3,)]),
    "dot 1-d n-d": (lambda np, a, b: np.dot(a, b), [(3,), (4, 3, 2)]),
    "vdot": (lambda np, a, b: np.vdot(a, b), [(2, 3), (6,)]),
    "inner": (lambda np, a, b: np.inner(a, b), [(2, 3), (4, 2, 3)]),
    "inner 1-d": (lambda np, a, b: np.inner(a, b), [(3,), (2, 3)]),
    "inner scalar": (lambda np, a, b: np.inner(a, b), [(), (2, 3)]),
    "outer": (lambda np, a, b: np.outer(a, b), [(2, 2), (3,)]),
    "linalg.outer": (lambda np, a, b: np.linalg.outer(a, b), [(2,), (3,)]),
    "kron": (lambda np, a, b: np.kron(a, b), [(2, 3), (2, 2)]),
    "kron ranks": (lambda np, a, b: np.kron(a, b), [(2,), (3, 2)]),
    "tensordot 2": (lambda np, a, b: np.tensordot(a, b), [(2, 3, 4), (3, 4, 2)]),
    "tensordot 0": (lambda np, a, b: np.tensordot(a, b, 0), [(2,), (3, 2)]),
    "tensordot axes": (lambda np, a, b: np.tensordot(a, b, ([0, -1], [1, 0])), [(2, 3, 4), (4, 2, 3)]),
    "tensordot axis": (lambda np, a, b: np.tensordot(a, b, (0, 1)), [(2, 3), (3, 2)]),
    "vecdot": (lambda np, a, b: np.vecdot(a, b), [(2, 3), (4, 1, 3)]),
    "vecdot axis": (lambda np, a, b: np.vecdot(a, b, axis=0), [(3, 2), (3, 2)]),
    "linalg.vecdot": (lambda np, a, b: np.linalg.vecdot(a, b, axis=0), [(3, 2), (3, 2)]),
    "matvec": (lambda np, a, b: np.matvec(a, b), [(2, 2, 3), (4, 1, 3)]),
    "vecmat": (lambda np, a, b: np.vecmat(a, b), [(4, 1, 2), (2, 2, 3)]),
    "cross": (lambda np, a, b: np.cross(a, b), [(2, 3), (3,)]),
    "cross axis": (lambda np, a, b: np.cross(a, b, axis=0), [(3, 2), (3, 2)]),
    "cross axes": (lambda np, a, b: np.cross(a, b, axisa=0, axisb=1, axisc=0), [(3, 2), (2, 3)]),
    "linalg.cross": (lambda np, a, b: np.linalg.cross(a, b, axis=0), [(3, 2), (3, 2)]),
    "matrix_transpose": (lambda np, a, b: np.linalg.matrix_transpose(a) @ b, [(2, 3, 2), (3, 2)]),
    "multi_dot": (lambda np, a, b, c, d: np.linalg.multi_dot([a, b, c, d]), [(2, 5), (5, 1), (1, 4), (4, 3)]),
    "multi_dot vectors": (lambda np, a, b, c: np.linalg.multi_dot([a, b, c]), [(2,), (2, 3), (3,)]),
    "einsum product": (lambda np, a, b: np.einsum("ij,jk->ik", a, b), [(2, 3), (3, 4)]),
    "einsum blanks": (lambda np, a, b: np.einsum(" ij , jk -> i k ", a, b), [(2, 3), (3, 4)]),
    "einsum implicit": (lambda np, a, b: np.einsum("ba,ac", a, b), [(2, 3), (3, 4)]),
    "einsum implicit transpose": (lambda np, a: np.einsum("ba", a), [(2, 3)]),
    "einsum trace": (lambda np, a: np.einsum("ii", a), [(3, 3)]),
    "einsum diagonal": (lambda np, a: np.einsum("ii->i", a), [(3, 3)]),
    "einsum batch diagonal": (lambda np, a: np.einsum("...ii->...i", a), [(2, 2, 3, 3)]),
    "einsum triple diagonal": (lambda np, a: np.einsum("iji,i->j", a, a[0, :, 0]), [(2, 2, 2)]),
    "einsum sum": (lambda np, a: np.einsum("ijk->j", a), [(2, 3, 2)]),
    "einsum summed out": (lambda np, a, b: np.einsum("ij,k->i", a, b), [(2, 3), (4,)]),
    "einsum dots": (lambda np, a, b: np.einsum("...ij,...jk->...ik", a, b), [(4, 1, 2, 3), (2, 3, 2)]),
    "einsum dots implicit": (lambda np, a, b: np.einsum("...i,i...", a, b), [(2, 3), (3, 2)]),
    "einsum dots last": (lambda np, a, b: np.einsum("i...,i->...i", a, b), [(2, 3, 2), (2,)]),
    "einsum dots none": (lambda np, a: np.einsum("...ij->...ji", a), [(2, 3)]),
    "einsum lists": (lambda np, a, b: np.einsum(a, [0, 1], b, [1, 2], [2, 0]), [(2, 3), (3, 4)]),
    "einsum lists implicit": (lambda np, a, b: np.einsum(a, [0, 1], b, [1, 30]), [(2, 3), (3, 4)]),
    "einsum lists dots": (lambda np, a: np.einsum(a, [..., 0], [0, ...]), [(2, 3, 2)]),
    "einsum three": (lambda np, a, b, c: np.einsum("ij,jk,kl->il", a, b, c, optimize=True), [(2, 3), (3, 4), (4, 2)]),
    "einsum three shared": (lambda np, a, b, c: np.einsum("i,i,i->i", a, b, c), [(3,), (3,), (3,)]),
    "einsum bilinear": (lambda np, a, b, c: np.einsum("bi,ijk,bk->bj", a, b, c), [(2, 3), (3, 2, 2), (2, 2)]),
    "einsum BLAS": (lambda np, a, b: np.einsum("bij,kj->ikb", a, b), [(3, 12, 12), (14, 12)]),
    "einsum twice": (lambda np, a: np.einsum("ij,kj->ik", a, a), [(2, 3)]),
    "einsum scalar": (lambda np, a, b: np.einsum(",ij->ji", a, b), [(), (2, 3)]),
    "einsum empty": (lambda np, a, b: np.einsum("ij,jk->ik", a, b), [(2, 0), (0, 3)]),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["f", "c"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_values_and_derivatives(name: str, kind: str) -> None:
    function, shapes = PRODUCTS[name]
    args = [array(*s, seed=i, kind=kind) for i, s in enumerate(shapes)]
    expected = np.asarray(function(np, *args))
    out, pull = tg.vjp(lambda *xs: function(np, *xs), *args)
    assert (np.shape(out), out.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)

    ct = np.asarray(array(*expected.shape, seed=9, kind=kind))[()]
    cts = pull(ct)
    theirs = jax.jit(lambda ct, *args: jax.vjp(lambda *xs: function(jnp, *xs), *args)[1](ct))(ct, *args)
    for ours, other in zip(cts, theirs, strict=True):
        assert ours.shape == other.shape
        np.testing.assert_allclose(ours, other, rtol=1e-11, atol=1e-12)

    tangents = tuple([np.asarray(array(*s, seed=i + 5, kind=kind))[()] for i, s in enumerate(shapes)])
    tangent = tg.jvp(lambda *xs: function(np, *xs), tuple(args), tangents)[1]
    assert (np.shape(tangent), tangent.dtype) == (expected.shape, expected.dtype)
    pulled = sum(np.sum(c * t).real for c, t in zip(cts, tangents, strict=True))
    np.testing.assert_allclose(np.sum(ct * tangent).real, pulled, rtol=1e-11, atol=1e-12)


# One of each way to build on the two ops, whose own second derivatives are tested with the registry.
NESTED = [
    "matmul batch row", "matmul matrix by batch", "dot n-d", "outer", "kron", "tensordot axes", "vecdot", "cross",
    "multi_dot vectors", "einsum batch diagonal", "einsum bilinear", "einsum twice",
]  # fmt: skip


@pytest.mark.parametrize("name", NESTED)
def test_second_derivatives(name: str) -> None:
    function, shapes = PRODUCTS[name]
    args = [array(*s, seed=i) for i, s in enumerate(shapes)]

    def loss(np: Any, *xs: Any) -> Any:
        return np.sum(np.sin(function(np, *xs)))

    ours = tg.hessian(lambda a: loss(np, a, *args[1:]))(args[0])
    theirs = jax.jit(jax.hessian(lambda a: loss(jnp, a, *args[1:])))(args[0])
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", PRODUCTS)
def test_vmap(name: str) -> None:
    function, shapes = PRODUCTS[name]
    args = [np.stack([array(*s, seed=10 * i + k) for k in range(3)]) for i, s in enumerate(shapes)]
    ours = tg.vmap(lambda *xs: function(np, *xs))(*args)
    loop = np.stack([function(np, *[a[k] for a in args]) for k in range(3)])
    np.testing.assert_allclose(ours, loop, rtol=1e-12, atol=1e-12)
    one = tg.vmap(lambda x: function(np, x, *[a[0] for a in args[1:]]), in_axes=-1)(np.moveaxis(args[0], 0, -1))
    loop = np.stack([function(np, args[0][k], *[a[0] for a in args[1:]]) for k in range(3)])
    np.testing.assert_allclose(one, loop, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("product", [np.dot, np.inner, np.outer, np.kron])
def test_python_scalars_are_strong_in_products(product: Any) -> None:
    x = np.ones(2, np.float32)
    assert tg.eval_shape(lambda x: product(x, 2.0), x).dtype == product(x, 2.0).dtype == np.float64
    assert type(tg.jvp(lambda s: product(s, 3.0), (2.0,), (1.0,))[0]) is type(product(2.0, 3.0))


def test_mixed_dtypes() -> None:
    x32, y64, c128 = array(2, 3).astype(np.float32), array(3, 2), array(2, 2, kind="c")
    for function in (lambda x, y: x @ y, lambda x, y: np.einsum("ij,jk->ik", x, y), np.dot):
        out, pull = tg.vjp(function, x32, y64)
        assert out.dtype == np.float64
        assert [g.dtype for g in pull(np.ones((2, 2)))] == [np.float32, np.float64]
        out, pull = tg.vjp(function, c128, y64.T)
        assert [g.dtype for g in pull(np.ones((2, 3), complex))] == [np.complex128, np.float64]
    out, pull = tg.vjp(np.dot, x32, x32.T)
    assert out.dtype == np.float32 and pull(out)[0].dtype == np.float32


@pytest.mark.parametrize(
    "function, shapes, message",
    [
        (lambda a, b: a @ b, [(2, 3), (2, 3)], r"last axis of f64\[2,3\] and the last but one axis of f64\[2,3\]"),
        (lambda a, b: a @ b, [(2, 3), (2,)], "only axis"),
        (lambda a, b: a @ b, [(), (2,)], r"write x \* y"),
        (lambda a, b: a @ b, [(2, 2, 3), (3, 3, 2)], "leading axes"),
        (lambda a, b: np.einsum("ij,jk->ik", a, b), [(2, 3), (2, 3)], r"f64\[2,3\]: the sizes of axis 'j' differ"),
        (lambda a, b: np.einsum("ii->", a), [(2, 3), ()], "axis 'i' differ"),
        (lambda a, b: np.einsum("ii->", a), [(1, 3), ()], "axis 'i' differ"),
        (lambda a, b: np.tensordot(a, b, 1), [(2, 3), (2, 3)], "must match"),
        (lambda a, b: np.tensordot(a, b, 3), [(2, 3), (2, 3)], "no 3 axes"),
        (lambda a, b: np.cross(a, b), [(4,), (4,)], "2 or 3 components"),
        (lambda a, b: np.linalg.cross(a, b), [(2,), (2,)], "vectors of 3"),
        (lambda a, b: np.linalg.outer(a, b), [(2, 2), (2,)], r"np\.outer flattens"),
        (lambda a, b: np.linalg.matrix_transpose(a), [(2,), ()], "takes matrices"),
        (lambda a, b: np.linalg.multi_dot([a]), [(2, 2), ()], "two arrays or more"),
        (lambda a, b: np.linalg.multi_dot([a, b, a]), [(2, 2), (2,)], "2-d arrays"),
    ],
)  # fmt: skip
def test_shapes_that_do_not_fit(function: Any, shapes: Any, message: str) -> None:
    args = [array(*s) for s in shapes]
    for transform in (tg.vjp, tg.eval_shape):
        with pytest.raises(ShapeError, match=message):
            transform(function, *args)


def test_errors_name_the_line() -> None:
    with pytest.raises(ShapeError, match=r"in matmul of f64\[2,3\], f64\[2,3\] at .*test_contract\.py:\d+"):
        tg.vjp(lambda a: a @ a, array(2, 3))
    with pytest.raises(TypeError, match="einsum with out="):
        tg.vjp(lambda a: np.einsum("ij->ji", a, out=np.empty((3, 2))), array(2, 3))
