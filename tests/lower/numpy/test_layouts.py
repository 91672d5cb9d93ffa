"""The bits of a jitted function are those of NumPy, whatever the memory layout of arrays, the kernels of BLAS, and the signs
of zeros."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.lax
import tracegrad.numpy as tnp
from tests import ROOT
from tracegrad.core.graph import Eqn, Var, exactly
from tracegrad.core.memory import (
    LONG,
    common_order,
    copied,
    is_dense,
    new_strides,
    reduced_strides,
    reshaped,
    reshaped_strides,
    strides_of,
)
from tracegrad.core.numpy_warnings import has_warned
from tracegrad.core.op import OPS
from tracegrad.core.types import type_of
from tracegrad.lower.numpy import blocks
from tracegrad.lower.numpy.layouts import Layout, Unknown, layout_of

BIG = np.random.default_rng(0).normal(size=(64, 64))
IMAGES = np.random.default_rng(0).normal(size=(8, 20, 20, 6))


def same(got: Any, expected: Any) -> bool:
    """The same type, shape and bits; of a NaN, that it is one."""
    a, b = np.asarray(got), np.asarray(expected)
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return False
    parts = ((a.real, b.real), (a.imag, b.imag)) if a.dtype.kind == "c" else ((a, b),)
    return all([np.where(x != x, 0, x).tobytes() == np.where(y != y, 0, y).tobytes() for x, y in parts])


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "C": lambda x: x,
    "Fortran": np.asfortranarray,
    "backwards": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "columns backwards": lambda x: np.ascontiguousarray(x[:, ::-1])[:, ::-1],
    "strided": lambda x: np.repeat(np.repeat(x, 2, 0), 3, 1)[::2, ::3],
    "part of columns": lambda x: np.hstack([x, x])[:, : x.shape[1]],
    "part of Fortran": lambda x: np.asfortranarray(np.vstack([x, x]))[: x.shape[0]],
    "row": lambda x: np.broadcast_to(x[:1], x.shape),
    "column": lambda x: np.broadcast_to(x[:, :1], x.shape),
}


def drawn_layout(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """An array with its axes in memory in any order, with gaps, backwards, or repeated."""
    order = rng.permutation(len(shape))
    gaps = rng.integers(1, 3, size=len(shape))
    x = rng.normal(size=[shape[i] * g for i, g in zip(order, gaps, strict=True)])
    x = x[tuple([slice(None, None, g) for g in gaps])].transpose(np.argsort(order))
    x = x[tuple([slice(None, None, rng.choice([1, -1])) for _ in shape])]
    if rng.random() < 0.3:
        axis = rng.integers(len(shape))
        x = np.broadcast_to(x[(slice(None),) * axis + (slice(0, 1),)], shape)
    return x


# ---------------------------------------------------------------------------------------------------------------------
# What is known of NumPy's layouts.


def test_layouts_are_numpys() -> None:
    rng = np.random.default_rng(0)
    for _ in range(1500):
        shape = tuple(rng.choice([1, 2, 3, 4], size=rng.integers(1, 5)).tolist())
        arrays = [drawn_layout(rng, shape) for _ in range(rng.integers(1, 4))]
        strides = [strides_of(x) for x in arrays]
        assert None not in strides
        made = [np.sin, np.add, lambda c, x, y: np.where(c > 0, x, y)][len(arrays) - 1](*arrays)  # type: ignore[operator]
        if len(arrays) == 3:
            strides[0] = strides_of(arrays[0] > 0)
        assert new_strides(shape, strides) == strides_of(made)  # type: ignore[arg-type]
        x, first = arrays[-1], strides[-1]
        assert first is not None
        axes = tuple([i for i in range(len(shape)) if rng.random() < 0.4])
        for keepdims in (False, True):
            total = np.asarray(np.add.reduce(x, axes, keepdims=keepdims))
            assert reduced_strides(shape, first, axes, keepdims) == strides_of(total)
        new = tuple(rng.permutation([n for n in (*shape, 1) if n > 0]).tolist())
        for other in (new, (x.size,), (*shape[:-2], int(np.prod(shape[-2:])))):
            assert reshaped_strides(shape, first, other) == strides_of(x.reshape(other))
        if (order := common_order(shape, strides)) is not None:
            assert np.add.reduce([a.transpose(order) for a in arrays]).flags.c_contiguous
            assert new_strides(shape, strides) == new_strides(shape, [strides_of(made)])  # type: ignore[arg-type, list-item]


def test_what_repeats_keeps_its_order_when_it_is_reshaped() -> None:
    rng = np.random.default_rng(0)
    kept = 0
    for _ in range(400):
        shape = tuple(rng.choice([1, 2, 3, 16], size=rng.integers(2, 6)).tolist())
        x = drawn_layout(rng, shape)
        repeats = np.where(np.array(x.strides) == 0, shape, rng.choice([1, 4, 30], size=x.ndim)).tolist()
        x = np.broadcast_to(x[..., None], (*shape, repeats[0]))
        x = np.moveaxis(x, -1, rng.integers(x.ndim))
        new = tuple(rng.permutation([n for n in (*x.shape, 1) if n > 0]).tolist())
        for other in (
            new,
            (x.size,),
            (*x.shape[:-2], int(np.prod(x.shape[-2:]))),
            (int(np.prod(x.shape[:2])), *x.shape[2:]),
        ):
            found, numpys = reshaped(x, other), x.reshape(other)
            assert reshaped_strides(x.shape, strides_of(x), other) == strides_of(found)  # type: ignore[arg-type]
            assert same(found, numpys) and np.shares_memory(found, x) == np.shares_memory(numpys, x)
            if strides_of(found) != strides_of(numpys):
                assert x.size >= LONG and 0 in x.strides and min(x.strides) >= 0
                kept += 1
    assert kept > 5
    images = np.zeros((8, 14, 14, 16)).transpose(0, 3, 1, 2)
    doubled = np.broadcast_to(images[:, :, :, None, :, None], (8, 16, 14, 2, 14, 2))
    assert reshaped(doubled, (8, 16, 28, 28)).transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize("function", [np.mean, np.sum])
def test_gradients_of_pooled_images(function: Any) -> None:
    """They lie as the images do, jitted or not, so that sums of them have the same bits."""

    def f(x: Any) -> Any:
        pooled = function(np.reshape(np.maximum(np.sin(x), 0), (8, 6, 10, 2, 10, 2)), axis=(3, 5))
        return np.sum(np.sin(pooled))

    def g(x: Any) -> Any:
        d = tg.grad(f)(x)
        return d, np.sum(d, 0), np.sum(d), np.sum(d * x, (0, 1))

    for x in (IMAGES, IMAGES.transpose(0, 3, 1, 2), np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2))):
        if x.shape[-1] == 6:
            x = x.reshape(8, 6, 20, 20)
        for got, expected in zip(tg.jit(g)(x), g(x), strict=True):
            assert same(got, expected) and (np.ndim(got) == 0 or strides_of(got) == strides_of(expected))
    last = IMAGES.transpose(0, 3, 1, 2)
    assert tg.grad(f)(last).transpose(0, 2, 3, 1).flags.c_contiguous


def test_copies_are_computed_with_as_the_array_is() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        shape = tuple(rng.choice([1, 2, 3, 40], size=rng.integers(1, 4)).tolist())
        x = drawn_layout(rng, shape)
        y = copied(x)
        assert same(x, y) and y.flags.writeable == (0 not in y.strides or x.size == 1 or y.flags.writeable)
        assert not np.shares_memory(x, y)
        assert strides_of(np.sin(x)) == strides_of(np.sin(y))
        assert (x.flags.c_contiguous, x.flags.f_contiguous) == (y.flags.c_contiguous, y.flags.f_contiguous)
        for axes in (None, 0, -1):
            assert same(np.sum(x, axes), np.sum(y, axes))
        assert (
            y.nbytes == 0
            or np.lib.array_utils.byte_bounds(y)[1] - np.lib.array_utils.byte_bounds(y)[0] <= 16 * x.nbytes
        )


def test_layouts_that_ops_declare() -> None:
    """Where an op says how its output lies, it lies that way, and what is fresh is dense."""
    checked = set()
    for op in OPS.values():
        for sample in () if op.same else op.samples():  # no Graph that is lowered has a copy in it
            for arrange in LAYOUTS.values():
                inputs = [arrange(np.asarray(x)) if np.ndim(x) == 2 else x for x in sample.inputs]
                if any([np.ndim(x) == 3 for x in inputs]):
                    inputs = [np.asfortranarray(x) if np.ndim(x) == 3 else x for x in inputs]
                try:
                    with np.errstate(all="ignore"):
                        outs = op.evaluate(*inputs, **sample.params)
                except (ValueError, TypeError, UserWarning, RuntimeWarning) as error:
                    # What SciPy warns of, a matrix arranged so that it has no logarithm.
                    if not isinstance(error, ValueError | Warning) and not has_warned(error):
                        raise
                    continue
                outs = outs if op.multiple_results else (outs,)
                variables = [Var(type_of(x)) for x in inputs]
                made = tuple([Var(type_of(x)) for x in outs])
                eqn = Eqn(op, tuple(variables), sample.params, made)
                layouts = [Layout(strides_of(x) if type(x) is np.ndarray else ()) for x in inputs]  # type: ignore[arg-type]
                for v, x in zip(made, outs, strict=True):
                    if type(x) is not np.ndarray or x.size == 0:
                        continue
                    said, strides = layout_of(eqn, v, layouts).strides, strides_of(x)
                    assert strides is not None
                    if type(said) is not Unknown:
                        assert said == strides, (op.name, sample.params, [x.strides for x in inputs])
                        checked.add(op.name)
                    elif said.dense:
                        assert is_dense(x.shape, strides), (op.name, sample.params, [x.strides for x in inputs])
    assert checked > {
        "sin",
        "add",
        "where",
        "transpose",
        "reshape",
        "broadcast_to",
        "slice",
        "matmul",
        "outer",
        "sum",
        "max",
    }


# ---------------------------------------------------------------------------------------------------------------------
# Temporaries lie as NumPy's do.


NAMED: dict[str, Callable[..., Any]] = {
    "temporaries": lambda a, c: np.sum(a.T * 2 + c, axis=0),
    "both transposed": lambda a, c: np.sum(np.sin(a.T) * c.T + 1, axis=0),
    "times one": lambda a, c: np.sum(a * 1, axis=0) + np.sum(1.0 * a[:, :5]) + np.sum(a[::-1] - 0),
    "negatives": lambda a, c: np.sum((-a) * (-c), 0) + np.sum(a + (-c), 1) + np.sum(np.negative(-a)),
    "reshapes": lambda a, c: (
        np.sum(a.T.reshape(-1).reshape(8, -1) * 2, 1) + np.sum(c.reshape(-1).reshape(c.shape).T, 0)[:8]
    ),
    "broadcast": lambda a, c: np.sum(np.exp(np.broadcast_to(a[0], a.shape)) * c.T, axis=0),
    "broadcast alone": lambda a, c: (
        np.sum(np.exp(np.broadcast_to(a[0], a.shape))),
        np.exp(np.broadcast_to(c[:, :1], c.shape)),
    ),
    "products": lambda a, c: (a @ c, a.T @ c, a @ c.T, (c.T @ a.T).T, a[:, 0] @ c, a @ c[0], np.sin(a) @ (c * 2)),
    "small products": lambda a, c: (
        a[:9, :7] @ c[:7, :5],
        a[:9, :1] @ c[:1, :5],
        a[:1] @ c,
        np.sin(a[:4, :6]).T @ a[:4],
    ),
    "of itself": lambda a, c: (a @ a.T, a.T @ a, np.sin(c) @ np.sin(c).T),
    "batches": lambda a, c: (
        np.sin(a).reshape(4, 16, 64) @ c,
        np.sum(np.swapaxes(a.reshape(4, 16, 64), 0, 1) @ c * 2, 0),
    ),
    "sums of two": lambda a, c: (np.sum(a.reshape(32, 64, 2), 2) * 2, np.sum(a.T.reshape(2, 32, 64), 0, keepdims=True)),
    "result": lambda a, c: (a.T, np.sin(a.T), a.T + c, a, a[::2], (a * c).T),
}


@pytest.mark.numpy("2.3.0")
@pytest.mark.parametrize("name", NAMED)
def test_layouts_of_temporaries(name: str) -> None:
    f = NAMED[name]
    jitted = tg.jit(f)
    for kind in (np.float64, np.float32):
        a, c = BIG.astype(kind), np.cos(BIG).astype(kind)
        for first in LAYOUTS.values():
            for second in (LAYOUTS["C"], LAYOUTS["Fortran"], LAYOUTS["row"], first):
                args = first(a), second(c)
                for got, expected in zip(tg.tree.leaves(jitted(*args)), tg.tree.leaves(f(*args)), strict=True):
                    assert same(got, expected)
                    if np.ndim(expected) and expected.flags.forc:
                        assert strides_of(got) == strides_of(expected)
    assert len(jitted.trace_log) == 2


@pytest.mark.numpy("2.3.0")
@pytest.mark.parametrize("name", [n for n in NAMED if n != "result"])
def test_gradients_of_every_layout(name: str) -> None:
    loss = lambda a, c: sum([np.sum(np.abs(x)) for x in tg.tree.leaves(NAMED[name](a, c))])
    gradient = tg.value_and_grad(loss, (0, 1))
    jitted = tg.jit(gradient)
    a, c = BIG.astype(np.float32), np.cos(BIG).astype(np.float32)
    for first in LAYOUTS.values():
        args = first(a), c
        expected = gradient(*args)
        assert same(expected[0], loss(*args))
        assert all(map(same, tg.tree.leaves(jitted(*args)), tg.tree.leaves(expected)))


def test_layouts_of_chains() -> None:
    def chain(x: Any, y: Any) -> Any:
        a = np.sin(x * y) + x
        b = np.exp(a) * 0.1 + y
        return a + b * np.cos(b), np.sum(b, 0), np.sum(b), np.sum(a - b, 1)

    jitted = tg.jit(chain)
    x, y = np.random.default_rng(0).normal(size=(2, 400, 450))
    assert x.size >= blocks.LARGE
    for first in LAYOUTS.values():
        for second in (LAYOUTS["C"], LAYOUTS["Fortran"], LAYOUTS["row"], first):
            args = first(x), second(y)
            for got, expected in zip(jitted(*args), chain(*args), strict=True):
                assert same(got, expected)
                assert np.ndim(got) == 0 or (strides_of(got) == strides_of(expected) and got.flags.owndata)


# ---------------------------------------------------------------------------------------------------------------------
# Random programs.


def drawn_program(rng: np.random.Generator, steps: int) -> Callable[..., Any]:
    """A function of arrays made of elementwise functions, sums, products and views."""
    choices = rng.integers(0, 1 << 30, size=(steps, 4)).tolist()

    def program(*args: Any) -> Any:
        pool = list(args)
        for kind, i, j, k in choices:
            x, y = pool[i % len(pool)], pool[j % len(pool)]
            axis = k % max(x.ndim, 1)
            unary = [
                np.sin, np.negative, np.abs, lambda x: x * 1, lambda x: 1.0 * x, lambda x: x * -1, lambda x: x - 0, lambda x: x / 2,
                lambda x: np.tanh(x) + 0.5, np.square, lambda x: x + 0.0, lambda x: np.exp(-np.abs(x)), lambda x: x > 0.1,
            ]  # fmt: skip
            binary = [
                np.add, np.subtract, np.multiply, np.maximum, lambda x, y: x + (-y), lambda x, y: (-x) * y,
                lambda x, y: np.where(y > 0, x, y), lambda x, y: x - (-y),
            ]  # fmt: skip
            views = [
                lambda x: x.T, lambda x: x[::-1], lambda x: x[..., ::2], lambda x: x[1:], lambda x: x[..., None, :],
                lambda x: x.reshape(-1), lambda x: x.reshape(x.shape[::-1]), lambda x: x.reshape(-1, x.shape[-1]),
                lambda x: np.broadcast_to(x[:1], (3, *x.shape[1:])), lambda x: np.swapaxes(x, 0, -1), lambda x: x[0],
            ]  # fmt: skip
            sums = [
                lambda x, a: np.sum(x, a), lambda x, a: np.sum(x, a, keepdims=True), lambda x, a: np.mean(x, a),
                lambda x, a: np.max(x, a, keepdims=True), lambda x, a: np.sum(x) + x, lambda x, a: np.prod(x, a),
            ]  # fmt: skip
            which = kind % 11
            if x.ndim == 0 or x.size < 4:
                made = np.cos(x)
            elif which < 3:
                made = unary[k % len(unary)](x * 1.5 if x.dtype == bool else x)  # type: ignore[operator]
            elif which < 5:
                try:
                    made = binary[k % len(binary)](x * 1.25, y * 1.0)
                except ValueError:
                    made = binary[k % len(binary)](x * 1.25, x * 0.5)
            elif which < 8:
                made = views[k % len(views)](x)
            elif which < 10 or x.ndim != 2:
                made = sums[kind // 16 % len(sums)](x * 1.0, axis)
            else:
                made = (x * 1.0) @ (y * 2.0 if y.ndim == 2 and y.shape[0] == x.shape[1] else x.T)
            if made.size <= 1 << 12 and made.ndim <= 4:
                pool.append(made)
        return pool[len(args) :]

    return program


@pytest.mark.parametrize("seed", range(12))
def test_random_programs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(10):
        shapes = [[(6, 10), (10, 6)], [(17, 33), (33,)], [(2, 70), (70, 5)], [(4, 3, 8), (3, 8)], [(31, 2), (31, 2)]]
        chosen = shapes[rng.integers(len(shapes))]
        kind = rng.choice([np.float32, np.float64])
        program = drawn_program(rng, rng.integers(3, 14))
        jitted = tg.jit(program)
        with np.errstate(all="ignore"):
            for _ in range(3):
                args = [drawn_layout(rng, s).astype(kind, order="K") for s in chosen]
                for got, expected in zip(jitted(*args), program(*args), strict=True):
                    assert same(got, expected)
                    if np.ndim(expected) and expected.base is None and expected.flags.forc:
                        assert strides_of(got) == strides_of(expected)
        assert len(jitted.trace_log) == 1


# ---------------------------------------------------------------------------------------------------------------------
# The kernels of BLAS.

_CHECK = """
import numpy as np, tracegrad as tg
from tests.lower.numpy.test_layouts import LAYOUTS, same
rng = np.random.default_rng(0)
for shapes in [((5, 3), (3, 4)), ((2, 70), (70, 6)), ((40, 9), (9, 40)), ((1, 9), (9, 40)), ((9, 40), (40, 1)), ((64, 64), (64, 9))]:
    x, y = [rng.normal(size=s).astype(np.float32) for s in shapes]
    for arrange in LAYOUTS.values():
        a, b = arrange(x), arrange(y)
        for product in (lambda a, b: a @ b, lambda a, b: (b.T @ a.T).T, lambda a, b: np.sin(a) @ b):
            assert same(tg.jit(product)(a, b), product(a, b))
            gradient = tg.value_and_grad(lambda a, b: np.sum(np.abs(product(a, b))), (0, 1))
            expected = tg.tree.leaves(gradient(a, b))
            assert all(map(same, tg.tree.leaves(tg.jit(gradient)(a, b)), expected))
"""


def _runs_here(kernels: str) -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return {"SkylakeX": "avx512vl", "Zen": "avx2", "Haswell": "avx2", "Prescott": "pni"}[kernels] in flags.split()


@pytest.mark.numpy("2.3.0")
@pytest.mark.parametrize("kernels", ["SkylakeX", "Zen", "Haswell", "Prescott"])
def test_products_on_the_kernels_of(kernels: str) -> None:
    """OpenBLAS rounds otherwise for each way in which a matrix lies, most of all where there is AVX-512."""
    if not _runs_here(kernels):
        pytest.skip("the processor does not have what these kernels need")
    found = subprocess.run(
        [sys.executable, "-c", _CHECK],
        env={**os.environ, "OPENBLAS_CORETYPE": kernels, "OPENBLAS_NUM_THREADS": "1"},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr


# ---------------------------------------------------------------------------------------------------------------------
# Constants that are equal and not the same.

V = np.array([1.0, -2.0, 4.0, 0.0, -0.0])

WITH_CONSTANT: dict[str, Callable[[Any, Any], Any]] = {
    "pad": lambda x, c: np.pad(x, 1, constant_values=c),
    "pad both": lambda x, c: np.pad(x, 1, constant_values=(c, -c)),
    "full_like": lambda x, c: np.full_like(x, c),
    "where": lambda x, c: np.where(x > 0, c, x),
    "maximum": lambda x, c: np.maximum(x, c),
    "add": lambda x, c: x + c,
    "subtract": lambda x, c: x - c,
    "subtract from": lambda x, c: c - x,
    "multiply": lambda x, c: x * c,
    "divide": lambda x, c: x / c,
    "divide by": lambda x, c: c / x,
    "copysign": lambda x, c: np.copysign(x, c),
    "arctan2": lambda x, c: np.arctan2(c, x),
    "power": lambda x, c: np.power(c, x),
    "prod": lambda x, c: np.prod(x, initial=c),
    "select": lambda x, c: np.select([x > 0], [x], default=c),
    "nan_to_num": lambda x, c: np.nan_to_num(x * np.nan, nan=c),
    "concatenate": lambda x, c: np.concatenate([x, [c]]),
    "insert": lambda x, c: np.insert(x, 1, c),
    "diff": lambda x, c: np.diff(x, prepend=c),
    "set": lambda x, c: tnp.at(x)[1].set(c),
    "fill": lambda x, c: tnp.at(x)[np.array([9])].get(mode="fill", fill_value=c),
    "heaviside": lambda x, c: np.heaviside(x, c),
    "einsum": lambda x, c: np.einsum("i,->i", x, c),
    "lax.full": lambda x, c: x * tg.lax.full((5,), c),
    "cond": lambda x, c: tg.lax.cond(x[0] > 0, lambda x: x * c, lambda x: x, x),
    "scan": lambda x, c: tg.lax.scan(lambda a, b: (a, a / b), c * 1.0, x)[1],
}


@pytest.mark.parametrize("name", WITH_CONSTANT)
def test_constants_are_not_merged(name: str) -> None:
    f = WITH_CONSTANT[name]
    with np.errstate(all="ignore"):
        for constants in (
            (0.0, -0.0),
            (-0.0, 0, 0.0),
            (1, True, 1.0),
            (np.nan, 1.0),
            (np.float32(0.0), np.float64(-0.0), 0.0),
        ):
            try:
                expected = [f(V, c) for c in constants]
            except (TypeError, ValueError):  # NumPy itself takes no bool there
                continue
            for got in (tg.jit(lambda x, cs=constants: [f(x, c) for c in cs])(V), [tg.jvp(lambda x, c=c: f(x, c), (V,), (V,))[0] for c in constants]):  # fmt: skip
                assert all(map(same, got, expected)), constants


def test_params_are_compared_exactly() -> None:
    assert (
        len(
            {
                exactly(x)
                for x in (0.0, -0.0, 0, False, np.float64(0.0), np.float32(0.0), complex(0.0), complex(0.0, -0.0))
            }
        )
        == 8
    )
    assert exactly(float("nan")) == exactly(float("nan")) and exactly((1, (0.0,))) != exactly((1, (-0.0,)))
    assert exactly((1, 2)) == exactly((1, 2)) != exactly((True, 2))
    pinv = lambda c: tg.make_graph(lambda a: np.linalg.pinv(a, rcond=c))(np.eye(2))
    assert pinv(0.0) == pinv(0.0) and pinv(0.0) != pinv(-0.0)
    assert hash(pinv(0.0)) == hash(pinv(0.0))
