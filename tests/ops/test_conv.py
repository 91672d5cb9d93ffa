"""Convolution against jax over a grid of its arguments, against sums written out, and the errors a user sees."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.lax import (
    ConvDimensionNumbers,
    conv,
    conv_dimension_numbers,
    conv_general_dilated,
    conv_transpose,
    conv_with_general_padding,
)
from tracegrad.ops import conv as module

NHWC = ("NHWC", "HWIO", "NHWC")
Shapes = tuple[tuple[int, ...], tuple[int, ...]]


def array(*shape: int, seed: int = 0, kind: str = "f") -> Any:
    rng = np.random.default_rng([seed, *shape])
    x = rng.uniform(-1, 1, shape)
    return x + 1j * rng.uniform(-1, 1, shape) if kind == "c" else x


# Shapes of input and kernel, and the other arguments.
GRID: dict[str, tuple[Shapes, dict[str, Any]]] = {
    "no axes": (((2, 3), (4, 3)), {"window_strides": (), "padding": "VALID"}),
    "1-d": (((2, 3, 7), (4, 3, 3)), {"window_strides": (1,), "padding": "VALID"}),
    "1-d same": (((2, 3, 7), (4, 3, 4)), {"window_strides": (2,), "padding": "SAME"}),
    "1-d same lower": (((2, 3, 7), (4, 3, 4)), {"window_strides": (2,), "padding": "SAME_LOWER"}),
    "1-d lower case": (((2, 3, 7), (4, 3, 2)), {"window_strides": (1,), "padding": "same"}),
    "1-d rest": (((1, 1, 8), (1, 1, 3)), {"window_strides": (3,), "padding": "VALID"}),
    "cut": (((1, 2, 7), (2, 2, 2)), {"window_strides": (1,), "padding": [(-2, 1)]}),
    "cut both": (((1, 2, 7), (2, 2, 2)), {"window_strides": (2,), "padding": [(-1, -2)]}),
    "far padding": (((1, 2, 3), (2, 2, 2)), {"window_strides": (1,), "padding": [(4, 3)]}),
    "too large": (((1, 2, 2), (3, 2, 4)), {"window_strides": (1,), "padding": "VALID"}),
    "input dilation": (((2, 2, 4), (3, 2, 3)), {"window_strides": (1,), "padding": [(2, 1)], "lhs_dilation": (2,)}),
    "input dilation, cut": (
        ((2, 2, 5), (3, 2, 2)),
        {"window_strides": (1,), "padding": [(-3, -1)], "lhs_dilation": (2,)},
    ),
    "input dilation, strides": (
        ((2, 2, 5), (3, 2, 2)),
        {"window_strides": (2,), "padding": [(1, 0)], "lhs_dilation": (3,)},
    ),
    "kernel dilation": (((2, 2, 9), (3, 2, 3)), {"window_strides": (2,), "padding": "SAME", "rhs_dilation": (2,)}),
    "all dilations": (
        ((2, 2, 4, 5), (3, 2, 2, 3)),
        {"window_strides": (2, 1), "padding": [(1, 2), (3, -1)], "lhs_dilation": (2, 3), "rhs_dilation": (3, 2)},
    ),
    "2-d": (((2, 3, 5, 6), (4, 3, 3, 2)), {"window_strides": (1, 2), "padding": "SAME"}),
    "2-d channels last": (
        ((2, 6, 5, 3), (3, 3, 3, 4)),
        {"window_strides": (2, 2), "padding": "SAME", "dimension_numbers": NHWC},
    ),
    "1 x 1": (((2, 4, 5, 3), (1, 1, 3, 2)), {"window_strides": (1, 1), "padding": "VALID", "dimension_numbers": NHWC}),
    "1 x 1 strides": (
        ((2, 4, 5, 3), (1, 1, 3, 2)),
        {"window_strides": (2, 2), "padding": "VALID", "dimension_numbers": NHWC},
    ),
    "letters": (
        ((5, 2, 3, 6), (2, 3, 3, 4)),
        {"window_strides": (1, 2), "padding": "SAME", "dimension_numbers": ("xNCy", "yIxO", "CyNx")},
    ),
    "numbers": (
        ((3, 2, 5), (2, 4, 3)),
        {
            "window_strides": (1,), "padding": "SAME",
            "dimension_numbers": ConvDimensionNumbers((1, 0, 2), (1, 2, 0), (2, 0, 1)),
        },
    ),
    "3-d": (((1, 2, 4, 3, 3), (2, 2, 2, 2, 3)), {"window_strides": (1, 2, 1), "padding": "SAME"}),
    "4-d": (((1, 1, 2, 3, 2, 3), (2, 1, 2, 2, 1, 2)), {"window_strides": (1,) * 4, "padding": "VALID"}),
    "groups": (((2, 6, 5), (4, 3, 2)), {"window_strides": (1,), "padding": "SAME", "feature_group_count": 2}),
    "depthwise": (
        ((2, 4, 5, 8), (3, 3, 1, 8)),
        {"window_strides": (1, 1), "padding": "SAME", "dimension_numbers": NHWC, "feature_group_count": 8},
    ),
    "depthwise strides": (
        ((2, 5, 5, 8), (3, 2, 1, 8)),
        {"window_strides": (2, 2), "padding": "SAME", "dimension_numbers": NHWC, "feature_group_count": 8},
    ),
    "depthwise twice": (
        ((2, 4, 4, 16), (2, 2, 1, 32)),
        {"window_strides": (1, 1), "padding": "VALID", "dimension_numbers": NHWC, "feature_group_count": 16},
    ),
    "depthwise channels first": (((1, 8, 4, 3), (8, 1, 2, 2)), {
        "window_strides": (1, 1), "padding": "SAME", "feature_group_count": 8, "rhs_dilation": (1, 2)}),
    "batch groups": (((4, 3, 5), (6, 3, 2)), {"window_strides": (1,), "padding": "SAME", "batch_group_count": 2}),
    "batch groups channels last": (
        ((6, 4, 3, 2), (2, 2, 2, 3)),
        {"window_strides": (1, 2), "padding": "SAME", "dimension_numbers": NHWC, "batch_group_count": 3},
    ),
    "empty batch": (((0, 2, 4), (3, 2, 2)), {"window_strides": (1,), "padding": "SAME"}),
    "large": (((3, 17, 16, 4), (3, 3, 4, 5)), {
        "window_strides": (1, 1), "padding": "SAME", "dimension_numbers": NHWC}),
}  # fmt: skip
# The sizes from which the ways to evaluate differ: as they are, and so that small arrays take every way in many blocks.
WAYS = {"as it is": {}, "small blocks": {"_BLOCK": 40}, "zeros": {"_TAPS": 0}, "no channels": {"_GROUPS": 10**6}}
COMPLEX = {"2-d channels last", "depthwise", "input dilation"}


@pytest.mark.parametrize("name", GRID)
def test_values_and_derivatives_against_jax(name: str, jax: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes, kwargs = GRID[name]
    for kind in "fc" if name in COMPLEX else "f":
        args = [array(*s, seed=i, kind=kind) for i, s in enumerate(shapes)]
        theirs = everything(jax, lambda x, w: jax.lax.conv_general_dilated(x, w, **for_jax(jax, kwargs)), args)
        for constants in WAYS.values():
            with monkeypatch.context() as patch:
                for constant, value in constants.items():
                    patch.setattr(module, constant, value)
                ours = everything(tg, lambda x, w: conv_general_dilated(x, w, **kwargs), args)
            for x, y in zip(ours, theirs, strict=True):
                near(x, y)


def for_jax(jax: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    numbers = kwargs.get("dimension_numbers")
    if isinstance(numbers, ConvDimensionNumbers):
        return {**kwargs, "dimension_numbers": jax.lax.ConvDimensionNumbers(*numbers)}
    return kwargs


def everything(m: Any, function: Callable[..., Any], args: list[Any]) -> tuple[Any, ...]:
    """Value, tangent, cotangents, and derivatives of the cotangents: all that a bilinear function has. jax's in one
    compilation, which takes most of the time of these tests."""
    out = tg.eval_shape(function, *args) if m is tg else m.eval_shape(function, *args)
    kind = out.dtype.kind
    tangents = [array(*a.shape, seed=5 + i, kind=kind) for i, a in enumerate(args)]
    ct = array(*out.shape, seed=9, kind=kind)

    def derivatives(x: Any, w: Any, tx: Any, tw: Any, ct: Any) -> tuple[Any, ...]:
        value, tangent = m.jvp(function, (x, w), (tx, tw))
        pull = lambda x, w, c: m.vjp(function, x, w)[1](c)
        return value, tangent, *pull(x, w, ct), *m.jvp(pull, (x, w, ct), (tx, tw, 2 * ct))[1]

    return (derivatives if m is tg else m.jit(derivatives))(*args, *tangents, ct)


@pytest.mark.parametrize("dtype", ["float32", "float16", "complex64", "int32", "int8", "uint8", "bool"])
def test_dtypes_against_jax(dtype: str, jax: Any) -> None:
    rng = np.random.default_rng(0)
    x, w = [np.asarray(rng.integers(0, 4, s)).astype(dtype) for s in ((2, 3, 8), (4, 3, 3))]
    ours, theirs = [f(x, w, (1,), "SAME") for f in (conv_general_dilated, jax.lax.conv_general_dilated)]
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


def test_preferred_element_type_against_jax(jax: Any) -> None:
    x, w = np.full((1, 1, 3), 100, np.int8), np.ones((1, 1, 2), np.int8)
    for dtype in ("int8", "int32", "float32"):
        ours, theirs = [f(x, w, (1,), "VALID", preferred_element_type=dtype) for f in (conv, jax.lax.conv)]
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    f = lambda x: np.sum(conv(x, x[:, :, :2], (1,), "VALID", preferred_element_type=np.float64))
    g = tg.grad(f)(array(1, 1, 3).astype(np.float32))
    assert g.dtype == np.float32


# ---------------------------------------------------------------------------------------------------------------------
# Without jax.


def written_out(x: Any, w: Any, strides: Any, pads: Any, spread: Any, apart: Any, groups: int = 1) -> Any:
    """The sum that defines a convolution of (N, C, *n) by (O, C / groups, *k), one product at a time."""
    spatial, kernel = x.shape[2:], w.shape[2:]
    sizes = [
        max((low + (n - 1) * b + 1 + high - (k - 1) * d - 1) // s + 1, 0)
        for n, k, s, (low, high), b, d in zip(spatial, kernel, strides, pads, spread, apart, strict=True)
    ]
    out = np.zeros((x.shape[0], w.shape[0], *sizes), np.result_type(x, w))
    per_group = w.shape[0] // groups
    for b, o, i in itertools.product(range(x.shape[0]), range(w.shape[0]), range(w.shape[1])):
        c = o // per_group * w.shape[1] + i
        for t in np.ndindex(*sizes):
            for k in np.ndindex(*kernel):
                at = [t_ * s + k_ * d - low for t_, k_, s, d, (low, _) in zip(t, k, strides, apart, pads, strict=True)]
                if all(a % b_ == 0 and 0 <= a // b_ < n for a, b_, n in zip(at, spread, spatial, strict=True)):
                    source = tuple([a // b_ for a, b_ in zip(at, spread, strict=True)])
                    out[(b, o, *t)] += x[(b, c, *source)] * w[(o, i, *k)]
    return out


def test_values_written_out() -> None:
    for strides, pads, spread, apart, groups in [
        ((1, 1), ((0, 0), (0, 0)), (1, 1), (1, 1), 1),
        ((2, 1), ((1, 0), (0, 2)), (1, 1), (1, 2), 1),
        ((1, 1), ((2, 1), (-1, 1)), (2, 3), (1, 2), 2),
        ((2, 3), ((-1, -1), (3, 4)), (3, 2), (2, 1), 2),
    ]:
        x, w = array(2, 4, 4, 5), array(6, 4 // groups, 2, 3)
        found = conv_general_dilated(x, w, strides, pads, spread, apart, feature_group_count=groups)
        np.testing.assert_allclose(found, written_out(x, w, strides, pads, spread, apart, groups), atol=1e-13)


def test_one_axis_is_numpys_convolve() -> None:
    x, w = array(9), array(4)
    full = conv_general_dilated(x[None, None], w[None, None, ::-1], (1,), [(3, 3)])
    np.testing.assert_allclose(full[0, 0], np.convolve(x, w), atol=1e-14)
    g = tg.grad(lambda w: conv(x[None, None], w[None, None], (1,), "VALID")[0, 0, 2])(w)
    np.testing.assert_array_equal(g, x[2:6])


def test_strided_views_and_broadcast_cotangents() -> None:
    """The cotangent of a sum is a broadcast view: derivatives are sums of the other argument over all windows."""
    x, w = array(2, 6, 6, 3), array(1, 1, 3, 4)
    gx, gw = tg.grad(lambda x, w: np.sum(conv_general_dilated(x, w, (1, 1), "VALID", None, None, NHWC)), (0, 1))(x, w)
    np.testing.assert_allclose(gx, np.broadcast_to(w.sum((0, 1, 3)), x.shape), rtol=1e-12)
    np.testing.assert_allclose(gw[0, 0], np.broadcast_to(x.sum((0, 1, 2))[:, None], (3, 4)), rtol=1e-12)
    wide, k = array(2, 12, 12, 6), array(3, 3, 3, 4)
    for view in (wide[:, ::2, ::2, ::2], wide[:, ::-2, 6:, 3:], wide.swapaxes(0, 3)[:, :, :, :1].repeat(3, 3)):
        a, b = [conv_general_dilated(v, k, (2, 1), "SAME", None, None, NHWC) for v in (view, view.copy())]
        np.testing.assert_allclose(a, b, atol=1e-14)


def test_transpose_kernel_makes_the_gradient_of_a_convolution() -> None:
    x, w, y = array(2, 8, 3), array(3, 3, 4), array(2, 4, 4)
    ours = lambda x: conv_general_dilated(x, w, (2,), "SAME", None, None, ("NHC", "HIO", "NHC"))
    (g,) = tg.vjp(ours, x)[1](y)
    np.testing.assert_allclose(conv_transpose(y, w, (2,), "SAME", transpose_kernel=True), g, atol=1e-13)


def test_one_equation_for_any_batch() -> None:
    """vmap folds the batch into the batch, the features out, or the groups."""
    x, w = array(3, 2, 6, 4), array(3, 3, 4, 2)
    f = lambda x, w: conv_general_dilated(x, w, (1,), "SAME", None, None, ("NHC", "HIO", "NHC"))
    for axes in ((0, 0), (0, None), (None, 0)):
        args = [v if a == 0 else v[0] for v, a in zip((x, w), axes, strict=True)]
        loop = np.stack([f(*[v if a is None else v[i] for v, a in zip(args, axes, strict=True)]) for i in range(3)])
        np.testing.assert_allclose(tg.vmap(f, in_axes=axes)(*args), loop, atol=1e-13)
        graph = tg.make_graph(tg.vmap(f, in_axes=axes))(*args)
        assert [e.op.name for e in graph.eqns].count("conv_general_dilated") == 1
    per_example = tg.vmap(tg.grad(lambda w, x: np.sum(f(x[None], w) ** 2)), in_axes=(None, 0))(w[0], x[0])
    loop = np.stack([tg.grad(lambda w: np.sum(f(e[None], w) ** 2))(w[0]) for e in x[0]])
    np.testing.assert_allclose(per_example, loop, atol=1e-12)


def test_jit_and_numpy_agree() -> None:
    x, w = array(2, 6, 6, 3), array(3, 3, 3, 4)
    f = lambda x, w: np.sum(np.tanh(conv_general_dilated(x, w, (2, 1), "SAME", None, None, NHWC)))
    np.testing.assert_allclose(tg.jit(f)(x, w), f(x, w), rtol=1e-14)
    for a, b in zip(tg.jit(tg.grad(f, (0, 1)))(x, w), tg.grad(f, (0, 1))(x, w), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_the_derivatives_are_convolutions() -> None:
    x, w = array(1, 2, 5), array(3, 2, 2)
    f = lambda x, w: conv(x, w, (2,), "SAME")
    graph = tg.make_graph(lambda x, w, c: tg.vjp(f, x, w)[1](c))(x, w, np.ones((1, 3, 3)))
    strides = [e.params["strides"] for e in graph.eqns if e.op.name == "conv_general_dilated"]
    assert strides == [(1,), (1,)]  # and what the convolution itself has for strides, they have for dilation
    assert {e.op.name for e in graph.eqns} <= {"conv_general_dilated", "reshape", "transpose", "slice"}


def test_large_windows_are_made_in_blocks() -> None:
    """The windows of this input would take 60 times its memory; blocks of them are at most _BLOCK elements, or one row."""
    for cut, inner in [
        ((3, 5, 7), 1000),
        ((1, 1, 50), module._BLOCK // 3),
        ((4, 1, 2), 1),
        ((2, 3), 2 * module._BLOCK),
    ]:
        seen = np.zeros(cut, int)
        for block in module._blocks(cut, inner):
            seen[block] += 1
            assert seen[block].size == 1 or seen[block].size * inner <= module._BLOCK
        np.testing.assert_array_equal(seen, 1)
    assert list(module._blocks((0, 3), 5)) == []
    assert math.prod((1, 300, 300, 1)) * 64 > module._BLOCK
    x, w = array(1, 300, 300, 1), array(8, 8, 1, 1)
    f = lambda x, w: conv_general_dilated(x, w, (1, 1), "VALID", None, None, NHWC)
    out, pull = tg.vjp(f, x, w)
    np.testing.assert_allclose(out[0, 10, 20, 0], np.sum(x[0, 10:18, 20:28, 0] * w[:, :, 0, 0]), rtol=1e-12)
    gx, gw = pull(np.ones_like(out))
    np.testing.assert_allclose(gx[0, 150, 150, 0], np.sum(w), rtol=1e-10)
    np.testing.assert_allclose(gw[2, 3, 0, 0], np.sum(x[0, 2:295, 3:296, 0]), rtol=1e-10)


# ---------------------------------------------------------------------------------------------------------------------
# Errors.

X, W = np.ones((2, 4, 8)), np.ones((6, 4, 3))
ERRORS: dict[str, tuple[Callable[[], Any], str]] = {
    "features": (
        lambda: conv(np.ones((2, 3, 8)), W, (1,), "SAME"),
        "the input has 3 features, in 1 groups, and the kernel takes 4, in input f64[2,3,8] and kernel f64[6,4,3]; give "
        "a kernel that takes 3, or say in dimension_numbers which axis has the features",
    ),
    "ranks": (
        lambda: conv(X, np.ones((6, 4, 3, 3)), (1,), "SAME"),
        "the input has shape (2, 4, 8) and the kernel (6, 4, 3, 3); both need a batch or output axis, a feature axis and "
        "the same number of spatial axes (np.expand_dims adds one)",
    ),
    "strides": (
        lambda: conv(X, W, (1, 1), "SAME"),
        "window_strides must be 1 positive ints, one for each axis of the windows, got (1, 1)",
    ),
    "stride 0": (lambda: conv(X, W, (0,), "SAME"), "window_strides must be 1 positive ints"),
    "stride int": (lambda: conv(X, W, 2, "SAME"), "window_strides must be 1 positive ints, one for each axis of the windows, got 2"),
    "dilation": (lambda: conv_general_dilated(X, W, (1,), "SAME", None, (0,)), "rhs_dilation must be 1 positive ints"),
    "padding word": (
        lambda: conv(X, W, (1,), "FULL"),
        "padding must be 'SAME', 'SAME_LOWER', 'VALID' or 1 pairs of ints, got 'FULL'",
    ),
    "padding count": (
        lambda: conv_general_dilated(X, W, (1,), [(0, 0), (1, 1)]),
        "padding must be 'SAME', 'SAME_LOWER', 'VALID' or 1 pairs of ints (in front, behind), one for each axis of the "
        "windows, such as ((1, 1),); got [(0, 0), (1, 1)]",
    ),
    "padding ints": (lambda: conv_general_dilated(X, W, (1,), [1]), "such as ((1, 1),); got [1]"),
    "padding floats": (lambda: conv_general_dilated(X, W, (1,), [(1.0, 0)]), "such as ((1, 1),); got [(1.0, 0)]"),
    "padding cuts": (
        lambda: conv_general_dilated(X, W, (1,), [(-5, -5)]),
        "padding ((-5, -5),) cuts off more than there is, in input f64[2,4,8] and kernel f64[6,4,3]",
    ),
    "padding and dilation": (
        lambda: conv_general_dilated(X, W, (1,), "SAME", (2,)),
        "padding 'SAME' has no one meaning with lhs_dilation (2,); give pairs of ints, or use conv_transpose",
    ),
    "feature groups": (
        lambda: conv_general_dilated(X, W, (1,), "SAME", feature_group_count=3),
        "feature_group_count=3 does not divide the features of the input, 4, in input f64[2,4,8] and kernel f64[6,4,3]",
    ),
    "feature groups out": (
        lambda: conv_general_dilated(X, np.ones((6, 1, 3)), (1,), "SAME", feature_group_count=4),
        "feature_group_count=4 does not divide the features out of the kernel, 6,",
    ),
    "feature groups in": (
        lambda: conv_general_dilated(X, W, (1,), "SAME", feature_group_count=2),
        "the input has 4 features, in 2 groups, and the kernel takes 4, in input f64[2,4,8] and kernel f64[6,4,3]; give "
        "a kernel that takes 2,",
    ),
    "batch groups": (
        lambda: conv_general_dilated(X, W, (1,), "SAME", batch_group_count=3),
        "batch_group_count=3 does not divide the batch, 2,",
    ),
    "both groups": (
        lambda: conv_general_dilated(X, W, (1,), "SAME", feature_group_count=2, batch_group_count=2),
        "feature_group_count and batch_group_count must be at least 1, and one of them 1, got 2 and 2",
    ),
    "numbers count": (
        lambda: conv_general_dilated(X, W, (1,), "SAME", dimension_numbers=("NCH", "OIH")),
        "dimension_numbers must be None, a ConvDimensionNumbers, or three strings for input, kernel and result, such as "
        "('NHWC', 'HWIO', 'NHWC') for two spatial axes, got ('NCH', 'OIH')",
    ),
    "numbers length": (
        lambda: conv_general_dilated(X, W, (1,), "SAME", dimension_numbers=NHWC),
        "'NHWC', the axes of the input in dimension_numbers ('NHWC', 'HWIO', 'NHWC'), must be 3 different letters, N and "
        "C among them, such as ('NHWC', 'HWIO', 'NHWC') for two spatial axes",
    ),
    "numbers letters": (
        lambda: conv_general_dilated(X, W, (1,), "SAME", dimension_numbers=("NCH", "OCH", "NCH")),
        "'OCH', the axes of the kernel in dimension_numbers ('NCH', 'OCH', 'NCH'), must be 3 different letters, O and I",
    ),
    "numbers spatial": (
        lambda: conv_general_dilated(X, W, (1,), "SAME", dimension_numbers=("NCH", "OIW", "NCH")),
        "the strings of dimension_numbers ('NCH', 'OIW', 'NCH') must have the same letters for spatial axes",
    ),
    "numbers axes": (
        lambda: conv_general_dilated(
            X, W, (1,), "SAME", dimension_numbers=ConvDimensionNumbers((0, 1, 2), (0, 1, 1), (0, 1, 2))
        ),
        "each part of ConvDimensionNumbers(lhs_spec=(0, 1, 2), rhs_spec=(0, 1, 1), out_spec=(0, 1, 2)) must name each of "
        "the 3 axes of (2, 4, 8) and (6, 4, 3) once, from 0 on",
    ),
    "no kernel": (lambda: conv(X, np.ones((6, 4, 0)), (1,), "SAME"), "a kernel needs at least one element"),
    "conv_transpose padding": (
        lambda: conv_transpose(np.ones((1, 3, 1)), np.ones((2, 1, 1)), (2,), "SAME_LOWER"),
        "padding must be 'SAME', 'VALID' or 1 pairs of ints, got 'SAME_LOWER'",
    ),
    "conv_transpose defaults": (
        lambda: conv_transpose(np.ones((1,) * 6), np.ones((1,) * 6), (1,) * 4, "SAME"),
        "there are no default dimension_numbers for f64[1,1,1,1,1,1]; write them for all 6 axes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_arguments_that_do_not_fit(name: str) -> None:
    call, text = ERRORS[name]
    with pytest.raises(ShapeError) as caught:
        call()
    assert text in str(caught.value)
    assert "test_conv.py:" in str(caught.value)


def test_errors_name_the_function_and_the_line() -> None:
    bad = np.ones((2, 3, 8))
    for function in (conv, conv_general_dilated):
        for transform in (tg.grad, lambda f: lambda x: tg.eval_shape(f, x)):
            with pytest.raises(ShapeError, match=rf"^{function.__name__} at .*test_conv\.py:\d+ .*3 features"):
                transform(lambda x: np.sum(function(x, W, (1,), "SAME")))(bad)
    with pytest.raises(ShapeError, match="conv_with_general_padding at"):
        conv_with_general_padding(bad, W, (1,), "SAME", None, None)
    with pytest.raises(ShapeError, match="conv_dimension_numbers at"):
        conv_dimension_numbers((1, 2), (1, 2, 3), None)


@pytest.mark.parametrize("dtype, preferred", [("float64", "float32"), ("float32", "int32"), ("complex64", "float32"),
                                              ("float32", "complex64"), ("int32", "int16")])  # fmt: skip
def test_preferred_types_that_lose_something(dtype: str, preferred: str) -> None:
    with pytest.raises(DtypeError, match=f"preferred_element_type {preferred} is narrower than, or of another kind"):
        conv(X.astype(dtype), W.astype(dtype), (1,), "SAME", preferred_element_type=preferred)
