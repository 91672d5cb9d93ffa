"""bfloat16 and float8, the floats that ml_dtypes adds to NumPy: values as plain NumPy gives them, derivatives of the
inputs' dtypes, sums of derivatives in float32, on both backends."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest

ml_dtypes = pytest.importorskip("ml_dtypes")

import tracegrad as tg  # noqa: E402
import tracegrad.numpy as tnp  # noqa: E402
from tracegrad.core.op import OPS  # noqa: E402
from tracegrad.core.trace import bind  # noqa: E402
from tracegrad.core.types import dtype_name, is_inexact, number_kind, type_of  # noqa: E402

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
ADDED = [BFLOAT16, np.dtype(ml_dtypes.float8_e5m2), np.dtype(ml_dtypes.float8_e4m3fn)]
RNG = np.random.default_rng(0)
X = RNG.uniform(0.3, 2, (3, 4))
V = RNG.uniform(0.3, 2, 4)
W = RNG.uniform(0.3, 2, (4, 3))
M = RNG.uniform(0.3, 2, (3, 3)) + 3 * np.eye(3)


def as_floats(x: Any) -> Any:
    return np.asarray(x).astype(np.complex128 if number_kind(np.asarray(x).dtype) == "c" else np.float64)


@pytest.mark.parametrize("backend", [None, "numpy", "xla"])
@pytest.mark.parametrize("dtype", ADDED, ids=str)
def test_a_gradient_keeps_the_dtype(dtype: np.dtype[Any], backend: str | None) -> None:
    gradient = tg.value_and_grad(lambda x: np.sum(x * x * 2))
    f = gradient if backend is None else tg.jit(gradient, backend=backend)
    x = np.array([1.0, 2.0, 1.0]).astype(dtype)
    value, found = f(x)
    assert value.dtype == found.dtype == dtype
    assert as_floats(found).tolist() == [4.0, 8.0, 4.0]
    assert float(value) == 12.0


def test_kinds_and_names() -> None:
    kinds = {"bfloat16": "f", "float8_e4m3fn": "f", "float8_e5m2": "f", "float4_e2m1fn": "f", "int4": "i", "uint2": "u"}
    assert {name: number_kind(np.dtype(getattr(ml_dtypes, name))) for name in kinds} == kinds
    assert number_kind(np.dtype("V4")) == number_kind(tg.float0) == "V"
    assert [dtype_name(d) for d in ADDED] == ["bfloat16", "float8_e5m2", "float8_e4m3fn"]


def test_ml_dtypes_is_not_imported() -> None:
    code = (
        "import sys, numpy as np, tracegrad as tg, tracegrad.numpy\n"
        "tg.jit(tg.grad(lambda x: np.sum(x * np.float16(2))))(np.ones(3, np.float16))\n"
        "print('ml_dtypes' in sys.modules, 'jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


FUNCTIONS = {
    text: eval(f"lambda x, v, w, m: {text}", {"np": np})
    for text in [
        "x * 2", "x * 2.0", "2.0 - x", "x / 2.0", "x / 4", "x ** 2", "x ** 2.0", "x * -1.0", "x * np.float32(3)", "x * x[0, 0] * x[0, 0]",
        "x @ w", "x @ v", "v @ v", "np.dot(x, w)", "np.dot(v, v)", "np.vdot(v, v)", "np.inner(x, x)", "np.tensordot(x, w, 1)", "np.matvec(x, v)",
        "np.vecdot(x, x)", "np.sum(x)", "np.sum(x, 0)", "np.mean(x, 0)", "np.var(x)", "np.std(x, 0)", "np.prod(x)", "np.cumsum(x, 0)", "np.max(x)",
        "np.argmax(x, 1)", "np.median(x)", "np.quantile(x, 0.3, axis=0)", "np.linalg.norm(v)", "np.linalg.norm(v, 3)", "np.linalg.solve(m, m)",
        "np.linalg.inv(m)", "np.linalg.det(m)", "np.linalg.eigvalsh(m)", "np.linalg.cholesky(m @ m.T)", "np.sort(x, 0)", "np.where(x > 1, x, 0)",
        "np.where(x > 1, x, 0.0)", "np.clip(x, 0.5, 1.0)", "np.clip(x, v, v)", "np.maximum(x, 1)", "np.concatenate([x, x])", "np.pad(x, 1)", "np.unwrap(v)", "np.interp(0.7, v, v)", "np.convolve(v, v)", "np.exp(x)", "np.tanh(x)", "np.rint(x)", "np.trunc(x)",
        "np.floor(x)", "np.sign(x)", "np.remainder(x, v)", "np.sinc(x)", "np.nan_to_num(x)", "np.isnan(x)", "np.isfinite(x)", "x.astype(np.float64)",
        "np.hypot(x, x)", "np.logaddexp(x, x)", "np.diff(x)", "x[:, np.array([1, 2])]", "np.diag(v)", "np.outer(v, v)", "np.round(x, 1)", "x[0, 0].item() * v",
    ]
}  # fmt: skip
ON_XLA = ["x * 2.0", "x @ w", "np.sum(x, 0)", "np.linalg.inv(m)", "np.trunc(x)", "np.rint(x)", "np.remainder(x, v)", "np.sinc(x)", "np.sign(x)",
          "np.isfinite(x)", "np.vdot(v, v)", "x[:, np.array([1, 2])]", "np.linalg.norm(v, 3)", "np.maximum(x, 1)"]  # fmt: skip


@pytest.mark.parametrize("text", FUNCTIONS)
def test_values_are_plain_numpys(text: str) -> None:
    f = FUNCTIONS[text]
    inputs = [a.astype(BFLOAT16) for a in (X, V, W, M)]
    expected = np.asarray(f(*inputs))
    traced = np.asarray(tg.vjp(f, *inputs)[0])
    for found in (traced, tg.jit(f)(*inputs)):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(as_floats(found), as_floats(expected))
    if text in ON_XLA:
        found = tg.jit(f, backend="xla")(*inputs)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(as_floats(found), as_floats(expected), rtol=2**-7, atol=2**-7)
    if is_inexact(expected.dtype):
        gradient = tg.grad(lambda *a: np.sum(f(*a).astype(np.float32)), argnums=(0, 1, 2, 3))
        exact = tg.grad(lambda *a: np.sum(f(*a)), argnums=(0, 1, 2, 3))(*[a.astype(np.float64) for a in inputs])
        for found, a in zip(gradient(*inputs), exact, strict=True):
            assert found.dtype == BFLOAT16
            np.testing.assert_allclose(as_floats(found), a, rtol=0.06, atol=0.06 * max(1.0, np.max(np.abs(a))))


SUMS = {
    "broadcast": lambda b: np.ones((1000, 2)).astype(b.dtype) + b,
    "multiplied": lambda b: np.ones((1000, 2)).astype(b.dtype) * b,
    "repeated": lambda b: np.repeat(b, 1000),
    "gathered": lambda b: b[np.zeros(1000, int)],
    "in vmap": lambda b: tg.vmap(lambda x: x * b)(np.ones((1000, 2)).astype(b.dtype)),
    "normalised": lambda b: 1000 * tg.nn.softmax(np.zeros(1024).astype(b.dtype) + b[0]),
}


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_derivatives_are_added_up_in_float32(name: str, backend: str) -> None:
    """In bfloat16 a sum of ones stands still at 256."""
    b = np.ones(2).astype(BFLOAT16)
    f = lambda b: np.sum(SUMS[name](b).astype(np.float32))
    exact = tg.grad(lambda b: np.sum(SUMS[name](b)))(np.ones(2))
    for found in (tg.grad(f)(b), tg.jit(tg.grad(f), backend=backend)(b)):
        assert found.dtype == BFLOAT16
        np.testing.assert_allclose(as_floats(found), exact, rtol=2**-7, atol=1e-3)


def test_tangents_of_sums_are_added_up_in_float32() -> None:
    x = np.ones(1000).astype(BFLOAT16)
    for f, expected in ((np.sum, 1000.0), (np.mean, 1.0), (np.max, 1.0)):
        assert float(tg.jvp(f, (x,), (x,))[1]) == expected
    assert float(tg.jit(np.sum)(x)) == float(np.sum(x)) == 256.0  # the value is NumPy's own


def loss(params: Any, x: Any, y: Any) -> Any:
    hidden = np.tanh(np.dot(x, params["w"]) + params["b"])
    return np.mean((np.dot(hidden, params["v"]).astype(np.float32) - y) ** 2)


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_training_in_bfloat16(backend: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((512, 8)).astype(BFLOAT16)
    y = np.sin(as_floats(x)[:, 0]).astype(np.float32)
    params = {"w": rng.standard_normal((8, 16)) * 0.3, "b": np.zeros(16), "v": rng.standard_normal(16) * 0.3}
    params = {k: p.astype(BFLOAT16) for k, p in params.items()}

    def step(params: Any, x: Any, y: Any) -> Any:
        value, gradient = tg.value_and_grad(loss)(params, x, y)
        return value, {k: p - (gradient[k] * BFLOAT16.type(0.25)) for k, p in params.items()}

    jitted = tg.jit(step, backend=backend)
    first, _ = jitted(params, x, y)
    for _ in range(150):
        value, params = jitted(params, x, y)
    assert {str(p.dtype) for p in params.values()} == {"bfloat16"}
    assert float(value) < 0.1 * float(first)
    assert len(jitted.trace_log) <= 2


# ---------------------------------------------------------------------------------------------------------------------
# The registry: every op has a value and derivatives of the dtypes that its type rule says, or an error that names both.


def cast(x: Any, dtype: np.dtype[Any], beside_arrays: bool) -> Any:
    if type(x) is float:
        return x if beside_arrays else np.asarray(x).astype(dtype)[()]
    return np.asarray(x).astype(dtype)[()] if type_of(x).dtype == np.float64 else x


def ops_of_floats() -> list[str]:
    """All but "expected", which is a part of derivatives of decompositions alone, and those are made in float64."""
    return [name for name, op in OPS.items() if "f" in op.kinds and name != "expected" and tuple(op.samples())]


@pytest.mark.parametrize("name", ops_of_floats())
def test_every_op(name: str) -> None:
    op = OPS[name]
    dtype = BFLOAT16
    for sample in list(op.samples())[:3]:
        floats = [i for i, x in enumerate(sample.inputs) if type_of(x).dtype == np.float64]
        if not floats or any([type_of(x).dtype.kind == "c" for x in sample.inputs]):
            continue
        arrays = [i for i in floats if type(sample.inputs[i]) is not float]
        inputs = [cast(x, dtype, bool(arrays)) for x in sample.inputs]
        f = lambda *a: bind(op, a, dict(sample.params))
        listed = lambda out: list(out) if op.multiple_results else [out]
        outs, refused = None, ""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            try:
                outs = listed(f(*inputs))
            except (TypeError, ValueError) as error:
                refused = "\n".join([str(error), *getattr(error, "__notes__", [])])
        if outs is None:
            assert str(dtype) in refused
            assert op.name in refused
            continue
        types = listed(op.infer([type_of(x) for x in inputs], dict(sample.params)))
        assert [(t.dtype, t.shape) for t in types] == [(type_of(o).dtype, np.shape(o)) for o in outs]
        if not arrays or not any([is_inexact(t.dtype) for t in types]):
            continue

        def of_arrays(*a: Any) -> list[Any]:
            full = list(inputs)
            for i, x in zip(arrays, a, strict=True):
                full[i] = x
            return [o for o, t in zip(listed(f(*full)), types, strict=True) if is_inexact(t.dtype)]

        primals = tuple([inputs[i] for i in arrays])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            values, tangents = tg.jvp(of_arrays, primals, primals)
            cotangents = tg.vjp(of_arrays, *primals)[1]([np.ones_like(v) for v in values])
        assert [type_of(t).dtype for t in tangents] == [type_of(v).dtype for v in values]
        assert [(c.dtype, c.shape) for c in cotangents] == [(p.dtype, p.shape) for p in primals]


def test_extremes_without_infinity() -> None:
    x = np.array([-448.0, 3.0]).astype(ml_dtypes.float8_e4m3fn)
    found = tg.jit(lambda x: tnp.at(x)[np.array([0, 0])].max(x))(x)
    assert as_floats(found).tolist() == [3.0, 3.0]
    assert as_floats(tg.nn.softmax(x)).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    "f", [lambda c, u: c * u, lambda c, u: c + u, lambda c, u: c - u, lambda c, u: c / u, lambda c, u: c < u]
)
def test_scalars_before_traced_numbers(f: Any) -> None:
    """ml_dtypes' scalars read the memory of what says that it is one of them."""
    c, x = ml_dtypes.bfloat16(1.5), np.array([2, 3], BFLOAT16)
    expected = f(c, x)
    for one in (tg.jit(lambda u: f(c, u)), tg.jit(lambda u: f(c, u), backend="xla")):
        assert [np.asarray(one(u)).item() for u in x] == expected.tolist()
    assert tg.vmap(lambda u: f(c, u))(x).tolist() == expected.tolist()
    if expected.dtype == x.dtype:
        near = tg.value_and_grad(lambda u: f(c, u))(x[0])
        assert float(near[0]) == float(expected[0])


def test_traced_numbers_are_numbers() -> None:
    seen: list[bool] = []
    tg.vmap(lambda u: seen.append(isinstance(u, np.generic) and np.isscalar(u)) or u)(np.array([2, 3], BFLOAT16))
    assert seen == [True]
