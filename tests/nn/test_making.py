"""Layers and initialisers print as the call that made them, and can be pickled as it."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same_bits
from tracegrad import nn
from tracegrad.nn import initializers, models
from tracegrad.nn.layer import Layer
from tracegrad.nn.making import shown

IMAGES, VECTORS = np.ones((1, 8, 8, 4), np.float32), np.ones((2, 4), np.float32)
TOKENS = np.ones((1, 3), np.int32)

LAYERS: dict[str, tuple[Any, ...]] = {
    "Bidirectional": (nn.Bidirectional(nn.GRUCell(2), nn.LSTMCell(2), "sum"), np.ones((1, 3, 4), np.float32)),
    "BatchNorm": (nn.BatchNorm(0.9, use_bias=False), VECTORS),
    "Conv": (nn.Conv(3, 3, kernel_init=initializers.normal(0.1)), IMAGES),
    "ConvTranspose": (nn.ConvTranspose(3, 3, 2), IMAGES),
    "Dense": (nn.Dense(3, use_bias=False, kernel_init=initializers.he_normal()), VECTORS),
    "DepthwiseConv": (nn.DepthwiseConv(3, multiplier=2), IMAGES),
    "Dropout": (nn.Dropout(0.5), VECTORS),
    "Embed": (nn.Embed(4, 3), TOKENS),
    "GRUCell": (nn.GRUCell(2), np.ones((2, 2), np.float32), VECTORS),
    "GroupNorm": (nn.GroupNorm(2), VECTORS),
    "InstanceNorm": (nn.InstanceNorm(), IMAGES),
    "LSTMCell": (nn.LSTMCell(2), (np.ones((2, 2), np.float32),) * 2, VECTORS),
    "Lambda": (nn.Lambda(np.sin, "sine"), VECTORS),
    "LayerNorm": (nn.LayerNorm(), VECTORS),
    "MultiHeadAttention": (nn.MultiHeadAttention(2, num_kv_heads=1), np.ones((1, 3, 4), np.float32)),
    "PReLU": (nn.PReLU(0.25), VECTORS),
    "RMSNorm": (nn.RMSNorm(1e-3), VECTORS),
    "RNN": (nn.RNN(nn.SimpleCell(3), reverse=True), np.ones((1, 3, 4), np.float32)),
    "SelfAttention": (nn.SelfAttention(2, causal=True), np.ones((1, 3, 4), np.float32)),
    "SeparableConv": (nn.SeparableConv(3, 3), IMAGES),
    "SimpleCell": (nn.SimpleCell(2), np.ones((2, 2), np.float32), VECTORS),
    "SpectralNorm": (nn.SpectralNorm(nn.Dense(2)), VECTORS),
    "WeightNorm": (nn.WeightNorm(nn.Dense(2)), VECTORS),
    "adaptive_avg_pool": (nn.adaptive_avg_pool(2), IMAGES),
    "avg_pool": (nn.avg_pool(2, strides=1), IMAGES),
    "lora": (nn.lora(nn.Dense(2), 1), VECTORS),
    "max_pool": (nn.max_pool((2, 2)), IMAGES),
    "parallel": (nn.parallel(nn.Dense(2), np.tanh, combine="tuple"), VECTORS),
    "pixel_shuffle": (nn.pixel_shuffle(2), IMAGES),
    "remat": (nn.remat(nn.Dense(2)), VECTORS),
    "repeat": (nn.repeat(lambda: nn.Dense(2), 2), VECTORS),
    "reshape": (nn.reshape((2, 2)), VECTORS),
    "residual": (nn.residual(nn.Dense(2), shortcut=nn.Dense(2)), VECTORS),
    "serial": (nn.serial(nn.Dense(2), nn.relu, nn.flatten, tg.numpy.sin, nn.gelu, head=nn.Dense(1)), VECTORS),
    "stack": (nn.stack(nn.residual(nn.Dense(4)), 2, remat=True), VECTORS),
    "upsample": (nn.upsample((2, 2), "linear"), IMAGES),
}


def makers(of: Any) -> list[str]:
    returned = lambda f: getattr(f, "__annotations__", {}).get("return")
    return [name for name in of.__all__ if returned(getattr(of, name)) in ("Layer", "Cell")]


def test_all_that_makes_layers_is_tried() -> None:
    assert sorted(makers(nn)) == sorted(LAYERS)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_comes_back_from_a_pickle_and_prints_as_what_makes_it(name: str) -> None:
    net, *inputs = LAYERS[name]
    again = pickle.loads(pickle.dumps(net))
    assert again is not net and type(again) is type(net)
    params, state = net.init(0, *inputs), net.init_state(*inputs)
    same_bits(again.init(0, *inputs), params)
    same_bits(again.apply(params, *inputs, state=state), net.apply(params, *inputs, state=state))
    assert repr(again) == repr(net)
    if name not in ("Lambda", "parallel", "serial"):  # with functions, or a name, which stand for themselves
        written = eval(repr(net), {**vars(nn), **vars(initializers)})
        same_bits(written.init(0, *inputs), params)


@pytest.mark.parametrize("name", makers(models))
def test_models_can_be_pickled(name: str) -> None:
    first = next(iter(inspect.signature(getattr(models, name)).parameters.values()))
    net = getattr(models, name)(*([] if first.default is not first.empty else [[4, 2]] if name == "mlp" else [18]))
    again = pickle.loads(pickle.dumps(net))
    assert type(again) is Layer and repr(again) == repr(net) and repr(net).startswith(net.made.maker.__name__ + "(")


def test_nets_of_several_layers_can_be_pickled() -> None:
    for net in (models.vae(8), models.dcgan(8, width=2)):
        again: Any = pickle.loads(pickle.dumps(net))
        assert type(again) is type(net) and repr(again) == repr(net)


def test_layers_that_are_shared_are_still_one() -> None:
    tied = nn.Dense(4)
    again = pickle.loads(pickle.dumps((nn.serial(first=tied), tied)))
    assert again[0].made.kwargs["first"] is again[1]


@nn.layer
def of_this_module(p: Any, x: Any) -> Any:
    return x * p.param("scale", nn.initializers.ones, ())


def not_a_maker(features: int) -> Layer:
    @nn.layer("Inner", features)
    def inner(p: Any, x: Any) -> Any:
        return x

    return inner


@nn.maker
def Repeated(features: int, times: int = 2) -> Layer:
    return nn.layer(lambda p, x: p(nn.serial(*[nn.Dense(features)] * times), x))


def test_layers_of_ones_own() -> None:
    assert pickle.loads(pickle.dumps(of_this_module)) is of_this_module
    again = pickle.loads(pickle.dumps(nn.stack(Repeated(4, times=3), 2)))
    assert repr(again) == "stack(Repeated(4, times=3), 2)"
    assert copy.deepcopy(again) is again and copy.copy(again) is again
    text = r"the layer Inner\(3\) cannot be pickled: .*inner.*test_making.py.* write @nn.maker on that"
    with pytest.raises(pickle.PicklingError, match=text):
        pickle.dumps(nn.serial(not_a_maker(3)))
    assert copy.deepcopy(not_a_maker(3)).name == "Inner"


@pytest.mark.parametrize(
    "init",
    [
        initializers.zeros, initializers.constant(2.0), initializers.uniform(), initializers.normal(stddev=0.1),
        initializers.truncated_normal(), initializers.variance_scaling(1.0, "fan_in", "normal"), initializers.glorot_uniform(),
        initializers.he_normal(), initializers.lecun_uniform(), initializers.orthogonal(2.0), initializers.torch_uniform(),
    ],
    ids=shown,
)  # fmt: skip
def test_initialisers_can_be_pickled(init: Any) -> None:
    again = pickle.loads(pickle.dumps(init))
    key = tg.random.PRNGKey(1)
    same_bits(again(key, (4, 3), np.float32), init(key, (4, 3), np.float32))
    assert repr(again).partition(" at ")[0] == repr(init).partition(" at ")[0]
    assert list(inspect.signature(init).parameters) == ["key", "shape", "dtype"]


def test_an_initialiser_prints_as_what_makes_it() -> None:
    assert repr(initializers.he_normal(in_axis=0)) == "he_normal(in_axis=0)"
    assert repr(nn.Dense(2, bias_init=initializers.constant(1.0))) == "Dense(2, bias_init=constant(1.0))"
    assert repr(nn.Dense(2, bias_init=initializers.ones)) == "Dense(2, bias_init=ones)"
