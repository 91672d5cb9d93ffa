"""Initialisers: the numbers of jax.nn.initializers."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import nn
from tracegrad.core.errors import ShapeError

jax = pytest.importorskip("jax")
ml_dtypes = pytest.importorskip("ml_dtypes")

DTYPES = {name: np.dtype(getattr(ml_dtypes, name, name)) for name in ("float16", "bfloat16", "float32", "float64")}
MADE: dict[str, tuple[tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = {
    "uniform": ((0.3,), {}, (6, 5)),
    "normal": ((), {}, (6, 5)),
    "truncated_normal": ((0.5,), {"lower": -1.0, "upper": 1.5}, (6, 5)),
    "constant": ((2.5,), {}, (6, 5)),
    **{
        f"{name}_{kind}": ((), {}, (3, 2, 6, 5)) for name in ("glorot", "lecun", "he") for kind in ("uniform", "normal")
    },
    **{name: ((), {}, (6, 5)) for name in ("xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal")},
    "orthogonal": ((1.5,), {}, (2, 3, 4)),
    "delta_orthogonal": ((), {}, (3, 4, 2, 5)),
}
SCALED = [
    (mode, distribution, axes)
    for mode in ("fan_in", "fan_out", "fan_avg", "fan_geo_avg")
    for distribution in ("truncated_normal", "normal", "uniform")
    for axes in ((-2, -1, ()), ((0, 1), 2, 3))
][::2]


def agree(ours: Any, theirs: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    key = tg.random.PRNGKey(3)
    with jax.enable_x64(True), jax.disable_jit():
        expected = np.asarray(theirs(jax.numpy.asarray(key), shape, dtype))
    got = ours(key, shape, dtype)
    assert (got.dtype, got.shape) == (expected.dtype, shape)
    step = (
        2.0
        ** -{"float16": 10, "bfloat16": 7, "float32": 23, "float64": 52, "complex64": 23, "complex128": 52}[dtype.name]
    )
    if "f" in dtype.name:
        got, expected = np.asarray(got, np.float64), expected.astype(np.float64)
    np.testing.assert_allclose(got, expected, rtol=40 * step, atol=8 * step * np.max(np.abs(expected), initial=0.0))
    np.testing.assert_array_equal(tg.jit(lambda key: ours(key, shape, dtype))(key), ours(key, shape, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MADE)
def test_the_numbers_of_jax(name: str, dtype: str) -> None:
    args, options, shape = MADE[name]
    if dtype in ("float16", "bfloat16") and "orthogonal" in name:
        q = getattr(nn.initializers, name)(*args, **options)(tg.random.PRNGKey(3), shape, DTYPES[dtype])
        assert (q.dtype, q.shape) == (DTYPES[dtype], shape)
        return  # of which jax has no decomposition
    ours, theirs = [getattr(m, name)(*args, **options) for m in (nn.initializers, jax.nn.initializers)]
    agree(ours, theirs, shape, DTYPES[dtype])


@pytest.mark.parametrize("mode, distribution, axes", SCALED)
def test_variance_scaling(mode: str, distribution: str, axes: Any) -> None:
    ours, theirs = [m.variance_scaling(1.7, mode, distribution, *axes) for m in (nn.initializers, jax.nn.initializers)]
    agree(ours, theirs, (2, 3, 4, 5), np.dtype(np.float32))
    agree(ours, theirs, (2, 3, 4, 5), np.dtype(np.complex64))


@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (4, 4), (2, 0)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    agree(nn.initializers.orthogonal(), jax.nn.initializers.orthogonal(), shape, np.dtype(np.float64))
    agree(
        nn.initializers.orthogonal(column_axis=0), jax.nn.initializers.orthogonal(column_axis=0), shape, np.dtype("f8")
    )


def test_on_xla_and_in_a_batch() -> None:
    keys = tg.random.split(tg.random.PRNGKey(0), 3)
    for init in (nn.initializers.lecun_normal(), nn.initializers.orthogonal(), nn.initializers.delta_orthogonal()):
        f = lambda key, init=init: init(key, (3, 2, 4))
        expected = np.stack([f(key) for key in keys])
        np.testing.assert_allclose(tg.vmap(f)(keys), expected, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(tg.jit(f, backend="xla")(keys[0]), expected[0], rtol=1e-5, atol=1e-6)


def test_simple_ones() -> None:
    key = tg.random.PRNGKey(0)
    assert nn.initializers.zeros(key, (2,)).tolist() == [0, 0]
    assert nn.initializers.ones(key, (2,)).dtype == np.float32
    assert nn.initializers.constant(3)(key, (2,)).tolist() == [3, 3]
    assert nn.initializers.constant(np.array([1, 2]), np.float64)(key, (3, 2)).dtype == np.float64
    kernel = nn.initializers.torch_uniform()(key, (3, 3, 4, 50))
    assert kernel.dtype == np.float32
    assert 0.95 / 6 < np.abs(kernel).max() <= 1 / 6
    assert np.abs(nn.initializers.torch_uniform(100)(key, (500,))).max() <= 0.1


def test_a_net_is_initialised_with_numpy_alone() -> None:
    code = (
        "import sys; sys.modules['scipy'] = sys.modules['jax'] = None; import numpy as np; from tracegrad import nn; "
        "net = nn.serial(nn.Conv(2, (3, 3)), nn.relu, nn.flatten, nn.Dense(3)); "
        "params = net.init(0, (1, 4, 4, 1)); print(params['Dense_0']['kernel'].tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    net = nn.serial(nn.Conv(2, (3, 3)), nn.relu, nn.flatten, nn.Dense(3))
    assert done.stdout.strip() == str(net.init(0, (1, 4, 4, 1))["Dense_0"]["kernel"].tolist())


def test_errors() -> None:
    key = tg.random.PRNGKey(0)
    here = r"test_initializers\.py:\d+ \(in test_errors\)"
    with pytest.raises(ValueError, match=rf'variance_scaling at .*{here}: mode is "fan_in", .* got \'fan\''):
        nn.initializers.variance_scaling(1.0, "fan", "normal")
    with pytest.raises(ValueError, match=rf'variance_scaling at .*{here}: distribution is "trunc.* got \'gauss\''):
        nn.initializers.variance_scaling(1.0, "fan_in", "gauss")
    with pytest.raises(
        ShapeError, match=rf"at .*{here}: a shape with in_axis=-2 and out_axis=-1 is due, got \(4,\); write"
    ):
        nn.initializers.lecun_normal()(key, (4,))
    with pytest.raises(ShapeError, match=rf"orthogonal at .*{here}: a shape of two axes or more is due, got \(4,\)"):
        nn.initializers.orthogonal()(key, (4,))
    with pytest.raises(ShapeError, match=rf"delta_orthogonal at .*{here}: a kernel .* is due, got \(3, 5, 2\)"):
        nn.initializers.delta_orthogonal()(key, (3, 5, 2))
