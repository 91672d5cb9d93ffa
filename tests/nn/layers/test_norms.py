"""Norms against flax."""

from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen as linen
import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.nn.parity import agree_with_flax, drawn, safe_in_half_floats
from tracegrad import nn
from tracegrad.core.errors import DtypeError, ShapeError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 5)) * 2 + 1
IMAGES = RNG.normal(size=(2, 3, 3, 4)) * 2 + 1

exact = {"use_fast_variance": False}
LAYERS: list[Any] = [
    (nn.LayerNorm(), partial(linen.LayerNorm, **exact), X),
    (nn.LayerNorm(1e-3, use_bias=False), partial(linen.LayerNorm, epsilon=1e-3, use_bias=False, **exact), IMAGES),
    (nn.LayerNorm(use_scale=False), partial(linen.LayerNorm, use_scale=False, **exact), X),
    (nn.LayerNorm(axis=(-2, -1)), partial(linen.LayerNorm, reduction_axes=(-2, -1), feature_axes=(-2, -1), **exact), IMAGES),
    (nn.RMSNorm(), linen.RMSNorm, X),
    (nn.RMSNorm(1e-3, use_scale=False), partial(linen.RMSNorm, epsilon=1e-3, use_scale=False), X),
    (nn.RMSNorm(axis=1), partial(linen.RMSNorm, reduction_axes=1, feature_axes=1), IMAGES),
    (nn.GroupNorm(2), partial(linen.GroupNorm, num_groups=2, **exact), IMAGES),
    (nn.GroupNorm(4, 1e-3, use_bias=False), partial(linen.GroupNorm, num_groups=4, epsilon=1e-3, use_bias=False, **exact), IMAGES),
    (nn.GroupNorm(2, reduction_axes=(2, -1)), partial(linen.GroupNorm, num_groups=2, reduction_axes=(2, -1), **exact), IMAGES),
    (nn.InstanceNorm(), partial(linen.InstanceNorm, **exact), IMAGES),
    (nn.InstanceNorm(1e-3, use_scale=False), partial(linen.InstanceNorm, epsilon=1e-3, use_scale=False, **exact), IMAGES),
    (nn.WeightNorm(nn.Dense(4)), lambda param_dtype: linen.WeightNorm(linen.Dense(4, param_dtype=param_dtype), param_dtype=param_dtype), X),
    (nn.WeightNorm(nn.Dense(4, use_bias=False), use_scale=False, variable_filter=None),
     lambda param_dtype: linen.WeightNorm(linen.Dense(4, use_bias=False, param_dtype=param_dtype), use_scale=False, variable_filter=None), X),
]  # fmt: skip


@pytest.mark.parametrize("ours, theirs, x", LAYERS, ids=lambda x: repr(x) if isinstance(x, nn.Layer) else "")
def test_layers(ours: Any, theirs: Any, x: Any) -> None:
    agree_with_flax(ours, theirs, x)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("x", [X, IMAGES], ids=["rows", "images"])
def test_batch_norm(train: bool, x: Any) -> None:
    for ours, options in (
        (nn.BatchNorm(), {}),
        (nn.BatchNorm(0.9, 1e-3, use_bias=False), {"momentum": 0.9, "epsilon": 1e-3, "use_bias": False}),
        (nn.BatchNorm(use_scale=False), {"use_scale": False}),
    ):
        # flax's averages are float32 before their first update.
        theirs = partial(linen.BatchNorm, use_running_average=not train, **options, **exact)
        agree_with_flax(ours, theirs, x, train=train, dtypes=[np.float32], xla=not options)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("dense, shape", [(True, (3, 5)), (False, (2, 3, 3, 4))], ids=["Dense", "kernel of four axes"])
def test_spectral_norm(train: bool, dense: bool, shape: Any) -> None:
    x = RNG.normal(size=shape)
    if dense:
        agree_with_flax(
            nn.SpectralNorm(nn.Dense(4), 3),
            lambda param_dtype: linen.SpectralNorm(
                linen.Dense(4, param_dtype=param_dtype), n_steps=3, param_dtype=param_dtype
            ),
            x,
            train=train,
            call={"update_stats": train},
            tolerance=10,
        )
        return

    @nn.layer
    def kernel(p: Any, x: Any) -> Any:
        return np.einsum("bhwi,hwio->bo", x, p.param("kernel", nn.initializers.normal(1.0), (3, 3, 4, 2)))

    net = nn.SpectralNorm(kernel, 50)
    params, state = net.init(0, x), net.init_state(x)
    _, after = net.apply(params, x.astype(np.float32), state=state, train=True)
    matrix = params["layer_instance"]["kernel"].reshape(-1, 2)
    near(after["layer_instance/kernel/sigma"], np.linalg.norm(matrix, 2), 1e-5)


def test_batch_norm_in_float64() -> None:
    net = nn.BatchNorm(0.9)
    params, state = net.init(0, X, dtype=np.float64), net.init_state(X, dtype=np.float64)
    for _ in range(3):
        y, state = net.apply(params, X, state=state, train=True)
    near(y, (X - X.mean(0)) / np.sqrt(X.var(0) + 1e-5))
    near(state["mean"], X.mean(0) * (1 - 0.9**3))
    near(state["var"], 0.9**3 + X.var(0) * (1 - 0.9**3))
    near(net(params, X, state=state)[0], (X - state["mean"]) / np.sqrt(state["var"] + 1e-5))


def test_batch_norm_over_a_named_axis() -> None:
    """Examples in two halves, with an axis name, are as all of them in one batch."""
    x = RNG.normal(size=(2, 4, 3)).astype(np.float32)
    params = drawn(nn.BatchNorm().init(0, x))
    state = nn.BatchNorm().init_state(x)
    whole, after = nn.BatchNorm().apply(params, x.reshape(8, 3), state=state, train=True)
    split = nn.BatchNorm(axis_name="devices")
    halves, afters = tg.vmap(
        lambda x: split.apply(params, x, state=state, train=True), axis_name="devices"
    )(x)  # fmt: skip
    near(halves.reshape(8, 3), whole, 1e-6)
    near(afters["mean"], np.stack([after["mean"]] * 2), 1e-6)
    near(afters["var"], np.stack([after["var"]] * 2), 1e-6)


def test_derivatives_go_through_the_batch_not_the_averages() -> None:
    net = nn.BatchNorm()
    params, state = net.init(0, X), net.init_state(X)

    def through(x: Any) -> Any:
        _, after = net.apply(params, x, state=state, train=True)
        return np.sum(after["mean"]) + np.sum(after["var"])

    assert not tg.grad(through)(X).any()
    y = tg.grad(lambda x: np.sum(net.apply(params, x, state=state, train=True)[0] ** 3))(X)
    near(y.sum(0), np.zeros(5), 1e-5)  # as a constant added to a channel changes nothing


@pytest.mark.parametrize(
    "layer, x",
    [
        (nn.LayerNorm(), X * 1e4),
        (nn.RMSNorm(), X * 1e4),
        (nn.GroupNorm(2), IMAGES * 5e3),
        (nn.InstanceNorm(), IMAGES * 5e3),
    ],
    ids=lambda x: repr(x) if isinstance(x, nn.Layer) else "",
)
def test_half_floats(layer: Any, x: Any) -> None:
    safe_in_half_floats(layer, x)


def test_half_floats_of_weights() -> None:
    # NumPy's products of bfloat16 are float32.
    safe_in_half_floats(nn.WeightNorm(nn.Dense(2)), X, dtypes=[np.float16])
    safe_in_half_floats(nn.SpectralNorm(nn.Dense(2)), X, dtypes=[np.float16])


@pytest.mark.parametrize("train", [False, True])
def test_batch_norm_of_half_floats(train: bool) -> None:
    safe_in_half_floats(nn.BatchNorm(), IMAGES * (5e3 if train else 1.0), train=train)


def test_variances_do_not_cancel() -> None:
    x = np.array([[1e4 - 1, 1e4, 1e4 + 1]], np.float32)
    near(nn.LayerNorm(use_bias=False, use_scale=False)({}, x), np.array([[-(1.5**0.5), 0, 1.5**0.5]], np.float32), 1e-5)


def test_complex_numbers() -> None:
    x = X + 1j * RNG.normal(size=X.shape)
    params = nn.LayerNorm().init(0, x, dtype=np.complex128)
    centred = x - x.mean(-1, keepdims=True)
    near(nn.LayerNorm()(params, x), centred / np.sqrt(np.mean(np.abs(centred) ** 2, -1, keepdims=True) + 1e-6))
    with pytest.raises(DtypeError, match=r"LayerNorm.*takes real inputs, got complex128; .*dtype=np.complex128"):
        nn.LayerNorm()(nn.LayerNorm().init(0, X), x)


def test_errors() -> None:
    net = nn.serial(nn.BatchNorm())
    params = net.init(0, X)
    with pytest.raises(ValueError, match=r"serial.BatchNorm_0.*: keeps 'mean' and 'var' from call to call; write .*, state = net.apply\(params, x, state=state\) with state = net.init_state\(x\) at first"):  # fmt: skip
        net(params, X)
    with pytest.raises(ShapeError, match=r"GroupNorm.*: 5 channels do not divide into 2 groups"):
        nn.GroupNorm(2).init(0, X)
    with pytest.raises(ShapeError, match=r"LayerNorm.*: no axes 2 in an input of shape \(3, 5\)"):
        nn.LayerNorm(axis=2).init(0, X)
    with pytest.raises(ShapeError, match=r"scale is \(5,\), but the input f64\[2,3,3,4\] asks for \(4,\)"):
        nn.LayerNorm()(nn.LayerNorm().init(0, X), IMAGES)
    assert repr(nn.serial(nn.GroupNorm(8), nn.BatchNorm(0.9, use_bias=False))) == (
        "serial(GroupNorm(8), BatchNorm(0.9, use_bias=False))"
    )


def test_jax_arrays() -> None:
    x = jax.numpy.ones((2, 3))
    net = nn.BatchNorm()
    y, state = net.apply(net.init(0, x), x, state=net.init_state(x), train=True)
    assert isinstance(y, jax.Array) and isinstance(state["mean"], jax.Array)


def test_in_other_layers() -> None:
    """Noise inside of a layer whose weights are normalised has its key; averages are kept inside of a stack."""
    net = nn.WeightNorm(nn.serial(nn.Dense(4), nn.Dropout(0.5)))
    x = X.astype(np.float32)
    params = net.init(0, x)
    key = tg.random.PRNGKey(1)
    dropped = net(params, x, key=key, train=True)
    assert (dropped == 0).any() and not (net(params, x) == 0).any()
    with pytest.raises(ValueError, match=r"WeightNorm.layer_instance.Dropout_0.*: draws random numbers in training"):
        net(params, x, train=True)
    deep = nn.stack(nn.serial(nn.Dense(5), nn.BatchNorm(0.5)), 3)
    params, state = deep.init(0, x), deep.init_state(x)
    y, after = tg.jit(lambda params, state: deep.apply(params, x, state=state, train=True))(params, state)
    near(y.mean(0), np.zeros(5, np.float32), 1e-5)
    assert after["BatchNorm_0"]["var"].shape == (3, 5) and (after["BatchNorm_0"]["var"] != 1).all()
