"""Shape functions: values against NumPy, types where only types are known, derivatives against jax, vmap against a loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tests.jaxprs import run_with_numpy
from tracegrad.core.check import check
from tracegrad.core.errors import ShapeError, UnsupportedFunctionError

jax.config.update("jax_enable_x64", True)

RNG = np.random.default_rng(0)
V = RNG.normal(size=4)
M = RNG.normal(size=(3, 4))
T = RNG.normal(size=(2, 3, 4))
S = np.array(0.7)
E = np.zeros((0, 3))
N = RNG.normal(size=(2, 1, 3, 1))
# (function of a numpy module and one array, the array)
CASES: dict[str, tuple[Callable[[Any, Any], Any], Any]] = {
    "reshape": (lambda np, x: np.reshape(x, (4, 3)), M),
    "reshape -1": (lambda np, x: np.reshape(x, (2, -1)), M),
    "reshape to a vector": (lambda np, x: np.reshape(x, -1), T),
    "reshape F": (lambda np, x: np.reshape(x, (2, 6), order="F"), M),
    "reshape F -1": (lambda np, x: np.reshape(x, (4, -1), order="F"), T),
    "reshape empty": (lambda np, x: np.reshape(x, (3, 0, 2)), E),
    "reshape method": (lambda np, x: x.reshape(6, 4), T),
    "reshape scalar": (lambda np, x: np.reshape(x, (1, 1)), S),
    "ravel": (lambda np, x: np.ravel(x), T),
    "ravel F": (lambda np, x: np.ravel(x, order="F"), T),
    "ravel method": (lambda np, x: x.ravel(), M),
    "flatten": (lambda np, x: x.flatten(), M),
    "transpose": (lambda np, x: np.transpose(x), T),
    "transpose axes": (lambda np, x: np.transpose(x, (1, -1, 0)), T),
    "transpose vector": (lambda np, x: np.transpose(x), V),
    "transpose method": (lambda np, x: x.transpose(2, 0, 1), T),
    "T": (lambda np, x: x.T, M),
    "mT": (lambda np, x: x.mT, T),
    "permute_dims": (lambda np, x: np.permute_dims(x, (2, 0, 1)), T),
    "matrix_transpose": (lambda np, x: np.matrix_transpose(x), T),
    "moveaxis": (lambda np, x: np.moveaxis(x, 0, -1), T),
    "moveaxis several": (lambda np, x: np.moveaxis(x, (0, 1), (-1, 0)), T),
    "swapaxes": (lambda np, x: np.swapaxes(x, 0, -1), T),
    "rollaxis": (lambda np, x: np.rollaxis(x, 2), T),
    "rollaxis start": (lambda np, x: np.rollaxis(x, 0, 2), T),
    "rollaxis end": (lambda np, x: np.rollaxis(x, 0, 3), T),
    "expand_dims": (lambda np, x: np.expand_dims(x, 1), M),
    "expand_dims several": (lambda np, x: np.expand_dims(x, (0, -1)), M),
    "squeeze": (lambda np, x: np.squeeze(x), N),
    "squeeze axis": (lambda np, x: np.squeeze(x, 1), N),
    "squeeze axes": (lambda np, x: np.squeeze(x, (-1, 1)), N),
    "atleast_1d": (lambda np, x: np.atleast_1d(x), S),
    "atleast_2d": (lambda np, x: np.atleast_2d(x), V),
    "atleast_3d": (lambda np, x: np.atleast_3d(x), V),
    "atleast_3d matrix": (lambda np, x: np.atleast_3d(x), M),
    "atleast_3d scalar": (lambda np, x: np.atleast_3d(x), S),
    "atleast_2d several": (lambda np, x: np.atleast_2d(x, np.ones(2))[0], V),
    "broadcast_to": (lambda np, x: np.broadcast_to(x, (2, 3, 4)), M),
    "broadcast_to stretched": (lambda np, x: np.broadcast_to(x, (2, 5, 3, 2)), N),
    "broadcast_to scalar": (lambda np, x: np.broadcast_to(x, (2, 2)), S),
    "broadcast_to transposed": (lambda np, x: np.broadcast_to(x.T[:, None], (4, 2, 3)), M),
    "broadcast_arrays": (lambda np, x: np.broadcast_arrays(x, np.ones((2, 1, 1)))[0], M),
    "concatenate": (lambda np, x: np.concatenate([x, 2 * x, x[:1]]), M),
    "concatenate axis": (lambda np, x: np.concatenate((x, np.ones((3, 2)), x), axis=-1), M),
    "concatenate None": (lambda np, x: np.concatenate([x, x[0]], axis=None), M),
    "concatenate array": (lambda np, x: np.concatenate(x), T),
    "concat": (lambda np, x: np.concat([x, x]), V),
    "stack": (lambda np, x: np.stack([x, 3 * x]), M),
    "stack axis": (lambda np, x: np.stack([x, 3 * x, np.ones((3, 4))], axis=-1), M),
    "stack array": (lambda np, x: np.stack(x, axis=1), T),
    "stack scalars": (lambda np, x: np.stack([x, x * x]), S),
    "vstack": (lambda np, x: np.vstack([x, 2 * x]), V),
    "hstack": (lambda np, x: np.hstack([x, 2 * x]), V),
    "hstack matrices": (lambda np, x: np.hstack([x, 2 * x]), M),
    "dstack": (lambda np, x: np.dstack([x, 2 * x]), M),
    "dstack vectors": (lambda np, x: np.dstack([x, 2 * x]), V),
    "column_stack": (lambda np, x: np.column_stack([x, 2 * x, np.ones((4, 2))]), V),
    "block": (lambda np, x: np.block([[x, np.ones((3, 1))], [np.zeros((1, 4)), x[:1, :1]]]), M),
    "block vectors": (lambda np, x: np.block([x, 2 * x]), V),
    "block no list": (lambda np, x: np.block(x), V),
    "append": (lambda np, x: np.append(x, 2 * x), M),
    "append axis": (lambda np, x: np.append(x, 2 * x, axis=0), M),
    "split": (lambda np, x: np.split(x, 2, axis=1)[1], M),
    "split at": (lambda np, x: np.split(x, [1, 3])[1] * 2.0, V),
    "split sum": (lambda np, x: sum(i * p for i, p in enumerate(np.split(x, 4, axis=-1))), M),
    "array_split": (lambda np, x: np.array_split(x, 3)[0], V),
    "hsplit": (lambda np, x: np.hsplit(x, 2)[0], M),
    "vsplit": (lambda np, x: np.vsplit(x, 3)[2], M),
    "dsplit": (lambda np, x: np.dsplit(x, [1])[1], T),
    "unstack": (lambda np, x: np.unstack(x, axis=1)[2], T),
    "unstack sum": (lambda np, x: sum(i * p for i, p in enumerate(np.unstack(x))), T),
    "iterate": (lambda np, x: sum(i * p for i, p in enumerate(x)), M),
    "flip": (lambda np, x: np.flip(x), M),
    "flip axis": (lambda np, x: np.flip(x, (0, -1)), T),
    "flipud": (lambda np, x: np.flipud(x), M),
    "fliplr": (lambda np, x: np.fliplr(x), M),
    "rot90": (lambda np, x: np.rot90(x), M),
    "rot90 twice": (lambda np, x: np.rot90(x, 2), M),
    "rot90 back": (lambda np, x: np.rot90(x, -1, (1, 2)), T),
    "rot90 axes": (lambda np, x: np.rot90(x, 1, (2, 0)), T),
    "roll": (lambda np, x: np.roll(x, 2), M),
    "roll axis": (lambda np, x: np.roll(x, -1, axis=1), M),
    "roll axes": (lambda np, x: np.roll(x, (1, -2), axis=(0, 1)), M),
    "roll same axis": (lambda np, x: np.roll(x, (1, 1), axis=(0, 0)), M),
    "roll all axes": (lambda np, x: np.roll(x, 1, axis=(0, 2)), T),
    "roll far": (lambda np, x: np.roll(x, 9), V),
    "roll nothing": (lambda np, x: np.roll(x, 4), V),
    "tile": (lambda np, x: np.tile(x, 2), M),
    "tile reps": (lambda np, x: np.tile(x, (2, 1, 3)), M),
    "tile fewer reps": (lambda np, x: np.tile(x, (2,)), T),
    "tile scalar": (lambda np, x: np.tile(x, 3), S),
    "tile zero": (lambda np, x: np.tile(x, (2, 0)), M),
    "repeat": (lambda np, x: np.repeat(x, 2), M),
    "repeat axis": (lambda np, x: np.repeat(x, 3, axis=1), M),
    "repeat array": (lambda np, x: np.repeat(x, np.array([1, 0, 2]), axis=0), M),
    "resize": (lambda np, x: np.resize(x, (2, 7)), M),
    "resize smaller": (lambda np, x: np.resize(x, (2, 2)), M),
    "insert": (lambda np, x: np.insert(x, 1, x[0] * 2, axis=0), M),
    "insert flat": (lambda np, x: np.insert(x, 2, 7.0), M),
    "insert several": (lambda np, x: np.insert(x, np.array([1, 3]), 2 * x[:, :2], axis=1), M),
    "delete": (lambda np, x: np.delete(x, 1, axis=0), M),
    "delete flat": (lambda np, x: np.delete(x, np.array([0, -1])), M),
    "delete slice": (lambda np, x: np.delete(x, slice(None, None, 2), axis=1), M),
    "pad": (lambda np, x: np.pad(x, 1), M),
    "pad one side": (lambda np, x: np.pad(x, ((0, 2), (1, 0))), M),
    "pad pair": (lambda np, x: np.pad(x, (1, 2)), M),
    "pad constant": (lambda np, x: np.pad(x, 2, constant_values=3.5), M),
    "pad constants": (lambda np, x: np.pad(x, 1, constant_values=((1.0, 2.0), (3.0, 4.0))), M),
    "pad traced constant": (lambda np, x: np.pad(x, (1, 2), constant_values=x[0, 0]), M),
    "pad edge": (lambda np, x: np.pad(x, ((2, 0), (1, 3)), mode="edge"), M),
    "pad reflect": (lambda np, x: np.pad(x, ((2, 1), (3, 3)), mode="reflect"), M),
    "pad reflect far": (lambda np, x: np.pad(x, 9, mode="reflect"), V),
    "pad symmetric": (lambda np, x: np.pad(x, ((2, 1), (3, 0)), mode="symmetric"), M),
    "pad wrap": (lambda np, x: np.pad(x, ((2, 1), (5, 0)), mode="wrap"), M),
    "pad linear_ramp": (lambda np, x: np.pad(x, ((2, 1), (3, 0)), mode="linear_ramp", end_values=1.5), M),
    "pad mean": (lambda np, x: np.pad(x, ((2, 1), (3, 0)), mode="mean"), M),
    "pad mean of some": (lambda np, x: np.pad(x, 2, mode="mean", stat_length=2), M),
    "pad maximum": (lambda np, x: np.pad(x, 1, mode="maximum"), M),
    "pad minimum": (lambda np, x: np.pad(x, 1, mode="minimum", stat_length=((1, 2), (3, 2))), M),
    "tril": (lambda np, x: np.tril(x), T),
    "tril k": (lambda np, x: np.tril(x, 1), M),
    "triu": (lambda np, x: np.triu(x, -1), T),
    "diag": (lambda np, x: np.diag(x), M),
    "diag below": (lambda np, x: np.diag(x, -1), M),
    "diag outside": (lambda np, x: np.diag(x, 7), M),
    "diag of vector": (lambda np, x: np.diag(x), V),
    "diag of vector above": (lambda np, x: np.diag(x, 2), V),
    "diag of vector below": (lambda np, x: np.diag(x, -1), V),
    "diagonal": (lambda np, x: np.diagonal(x, 1, 0, 2), T),
    "diagonal default": (lambda np, x: np.diagonal(x), T),
    "diagonal method": (lambda np, x: x.diagonal(-1), M),
    "diagonal back": (lambda np, x: np.diagonal(x, 0, -1, 0), T),
    "diagflat": (lambda np, x: np.diagflat(x, 1), M[:2, :2]),
    "trace": (lambda np, x: np.trace(x), M),
    "trace axes": (lambda np, x: np.trace(x, 1, 1, 2), T),
    "trace method": (lambda np, x: x.trace(), M),
    "vander": (lambda np, x: np.vander(x), V),
    "vander increasing": (lambda np, x: np.vander(x, 3, increasing=True), V),
}  # fmt: skip
# What jax does not have, or does in another way.
NOT_IN_JAX = {"pad reflect far", "iterate", "pad traced constant", "reshape F -1"}


@pytest.mark.parametrize("name", CASES)
def test_values_and_types(name: str) -> None:
    function, x = CASES[name]
    expected = function(np, x)
    graph = tg.make_graph(lambda x: function(np, x))(x)
    check(graph)
    (found,) = graph(x)
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-15)
    assert np.asarray(found).dtype == expected.dtype
    abstract = tg.make_graph(lambda x: function(np, x))(tg.ShapeDtypeStruct(x.shape, x.dtype))
    check(abstract)
    (found,) = abstract(x)
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-15)
    assert abstract.out_types == graph.out_types


# These look at the values of their indices in jax, which are unknown in a jaxpr.
NOT_IN_A_JAXPR = {"delete flat", "repeat array"}


@pytest.mark.parametrize("name", sorted(CASES.keys() - NOT_IN_JAX))
def test_derivatives_against_jax(name: str) -> None:
    function, x = CASES[name]
    out, pull = tg.vjp(lambda x: function(np, x), x)
    ct, t = RNG.normal(size=np.shape(out)), RNG.normal(size=x.shape)
    theirs = lambda x: function(jnp, x)
    run = (lambda f, *args: f(*args)) if name in NOT_IN_A_JAXPR else run_with_numpy
    (jax_cotangent,) = run(lambda x, ct: jax.vjp(theirs, x)[1](ct), x, ct)
    np.testing.assert_allclose(pull(ct)[0], jax_cotangent, rtol=1e-12, atol=1e-12)
    _, tangent = tg.jvp(lambda x: function(np, x), (x,), (t,))
    _, jax_tangent = run(lambda x, t: jax.jvp(theirs, (x,), (t,)), x, t)
    np.testing.assert_allclose(tangent, jax_tangent, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_transpose(name: str) -> None:
    function, x = CASES[name]
    f = lambda x: function(np, x)
    out, pull = tg.vjp(f, x)
    ct, t = RNG.normal(size=np.shape(out)), RNG.normal(size=x.shape)
    _, tangent = tg.jvp(f, (x,), (t,))
    np.testing.assert_allclose(np.sum(pull(ct)[0] * t), np.sum(ct * tangent), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", CASES)
def test_vmap(name: str) -> None:
    function, x = CASES[name]
    xs = np.stack([x, 2 * x, x - 1])
    f = lambda x: function(np, x)
    expected = np.stack([f(x) for x in xs])
    np.testing.assert_allclose(tg.vmap(f)(xs), expected, rtol=1e-14, atol=1e-15)
    g = tg.grad(lambda x: np.sum(np.sin(f(x))))
    np.testing.assert_allclose(tg.vmap(g)(xs), np.stack([g(x) for x in xs]), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float32", "int32", "complex64", "bool"])
def test_dtypes(name: str, dtype: str) -> None:
    function, x = CASES[name]
    if dtype == "bool" and ("pad" in name or "sum" in name or "vander" in name or "iterate" in name):
        return
    if dtype == "complex64" and name in ("pad maximum", "pad minimum"):
        return
    x = (4 * x).astype(dtype)
    expected = function(np, x)
    (found,) = tg.make_graph(lambda x: function(np, x))(x)(x)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_nothing_is_recorded_where_nothing_happens() -> None:
    for f in (
        lambda x: np.reshape(x, (2, 3)),
        lambda x: np.transpose(x, (0, 1)),
        lambda x: np.broadcast_to(x, (2, 3)),
        lambda x: np.moveaxis(x, 0, 0),
        lambda x: np.roll(x, 3, axis=1),
        lambda x: np.pad(x, 0),
        lambda x: np.squeeze(x),
        lambda x: np.atleast_2d(x),
    ):
        assert not tg.make_graph(f)(np.ones((2, 3))).eqns


def test_listing() -> None:
    graph = tg.make_graph(lambda x: np.concatenate(np.split(np.transpose(x), [1])))(np.ones((2, 3)))
    lines = [line.split("  #")[0].strip() for line in str(graph).splitlines()]
    assert lines[1:-2] == [
        "b:f64[3,2] = transpose[axes=(1, 0)] a",
        "c:f64[1,2], d:f64[2,2] = split[axis=0, sizes=(1, 2)] b",
        "e:f64[3,2] = concatenate[axis=0] c d",
    ]


@pytest.mark.parametrize(
    "function, error, text",
    [
        (lambda x: np.reshape(x, (4,)), ShapeError, r"reshape: f64\[2,3\] has 6 elements, the shape \(4,\) has 4"),
        # No one size fits, so that -1 is no advice.
        (lambda x: np.reshape(x, (4, 5)), ShapeError, r"the shape \(4, 5\) has 20(\n|$)"),
        (lambda x: np.reshape(x, (4, -1)), ShapeError, "do not fit the shape"),
        (lambda x: np.reshape(x, (-1, -1)), ShapeError, "do not fit the shape"),
        (lambda x: np.transpose(x, (0, 0)), ShapeError, "do not name each axis"),
        (lambda x: np.transpose(x, (0, 1, 2)), ShapeError, "do not name each axis"),
        (lambda x: np.broadcast_to(x, (4, 3)), ShapeError, r"f64\[2,3\] does not broadcast to the shape \(4, 3\)"),
        (lambda x: np.concatenate([x, np.ones((3, 2))]), ShapeError, r"f64\[2,3\], f64\[3,2\] differ in more than axis 0"),
        (lambda x: np.concatenate([x, np.ones(3)]), ShapeError, r"f64\[2,3\], f64\[3\] differ in how many axes"),
        (lambda x: np.stack([x, np.ones(3)]), ShapeError, "all arrays must have the same shape"),
        (lambda x: np.squeeze(x, 0), ShapeError, "only axes of size 1"),
        (lambda x: np.split(x, 2, axis=1), ShapeError, "np.array_split"),
        (lambda x: np.moveaxis(x, 2, 0), np.exceptions.AxisError, "out of bounds"),
        (lambda x: np.moveaxis(x, (0, 0), (0, 1)), ShapeError, "named twice"),
        (lambda x: np.concatenate([x, x], axis=2), np.exceptions.AxisError, "out of bounds"),
        (lambda x: np.concatenate([x, x], out=np.ones((4, 3))), UnsupportedFunctionError, "out="),
        (lambda x: np.pad(x, 1, mode="reflect", reflect_type="odd"), UnsupportedFunctionError, "reflect_type="),
        (lambda x: np.pad(x, 1, mode="empty"), UnsupportedFunctionError, "empty"),
        (lambda x: np.pad(x, -1), ValueError, "cannot be negative"),
        (lambda x: np.diag(x[None]), ValueError, "one or two dimensions"),
    ],
)  # fmt: skip
def test_errors(function: Callable[[Any], Any], error: type[Exception], text: str) -> None:
    for x in (np.ones((2, 3)), tg.ShapeDtypeStruct((2, 3), "float64")):
        with pytest.raises(error, match=text):
            tg.make_graph(function)(x)


def test_error_names_the_line() -> None:
    with pytest.raises(ShapeError, match=r"test_shape.py:\d+ \(in <lambda>\)"):
        tg.grad(lambda x: np.sum(np.concatenate([x, np.ones((1, 2))])))(np.ones((2, 3)))
