"""Layers that normalise what flows through a net, or the weights of other layers. Conventions are flax's, but that a variance is
always the mean of squared deviations. Of half floats, statistics are computed in float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import Count, NotNegative, Share
from tracegrad.core.errors import ShapeError
from tracegrad.core.types import is_inexact, number_kind
from tracegrad.lax import pmean
from tracegrad.nn import initializers
from tracegrad.nn.layer import Layer, layer
from tracegrad.nn.making import maker
from tracegrad.nn.scope import Scope
from tracegrad.ops.elementwise.casting import widened
from tracegrad.ops.families import cast
from tracegrad.transforms.stop_gradient import stop_gradient


@maker
def LayerNorm(
    epsilon: NotNegative = 1e-6, *, use_bias: bool = True, use_scale: bool = True, axis: int | Sequence[int] = -1
) -> Layer:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, with mean and variance of each example over `axis`.

    Args:
        epsilon: 1e-6 as in flax; torch, MLX and equinox have 1e-5, keras 1e-3.
        use_bias: whether there is a `bias`, of the sizes of `axis`.
        use_scale: likewise a `scale`.
        axis: what is normalised.

    >>> import numpy as np
    >>> from tracegrad import nn
    >>> net = nn.LayerNorm()
    >>> net(net.init(0, (2, 3)), np.array([[1.0, 2.0, 3.0]])).round(3).tolist()
    [[-1.225000023841858, 0.0, 1.225000023841858]]

    Source: Ba, Kiros and Hinton, "Layer Normalization", 2016, arXiv:1607.06450.
    """

    @layer("LayerNorm")
    def layer_norm(p: Scope, x: Any) -> Any:
        axes = _axes(p, x, axis)
        x, dtype, scale, bias = _taken(p, x, axes, use_scale, use_bias)
        mean, variance = _moments(x, axes)
        return _normalised(x, mean, variance, epsilon, scale, bias, dtype)

    return layer_norm


@maker
def RMSNorm(epsilon: NotNegative = 1e-6, *, use_scale: bool = True, axis: int | Sequence[int] = -1) -> Layer:
    """x / sqrt(mean(x**2) + epsilon) * scale, with the mean over `axis`.

    Args:
        epsilon: 1e-6 as in flax and keras; equinox and MLX have 1e-5.
        use_scale: whether there is a `scale`, of the sizes of `axis`.
        axis: what is normalised.

    >>> import numpy as np
    >>> from tracegrad import nn
    >>> nn.RMSNorm(use_scale=False)({}, np.array([3.0, 4.0])).round(3).tolist()
    [0.849, 1.131]

    Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", NeurIPS 2019, arXiv:1910.07467.
    """

    @layer("RMSNorm")
    def rms_norm(p: Scope, x: Any) -> Any:
        axes = _axes(p, x, axis)
        x, dtype, scale, _ = _taken(p, x, axes, use_scale, False)
        return _normalised(x, None, np.mean(_square(x), axes, keepdims=True), epsilon, scale, None, dtype)

    return rms_norm


@maker
def GroupNorm(
    num_groups: Count = 32,
    epsilon: NotNegative = 1e-6,
    *,
    use_bias: bool = True,
    use_scale: bool = True,
    reduction_axes: Sequence[int] | None = None,
) -> Layer:
    """Each example's channels normalised in groups, with mean and variance over a group and all places.

    Args:
        num_groups: into which the channels, the last axis, are divided.
        epsilon: 1e-6 as in flax; torch has 1e-5, keras 1e-3.
        use_bias: whether there is a `bias`, (channels,).
        use_scale: likewise a `scale`.
        reduction_axes: the axes of places, and the last. Where not given, all but the first, which is that of examples.

    Raises:
        ShapeError: channels that cannot be divided so.

    >>> import numpy as np
    >>> from tracegrad import nn
    >>> net = nn.GroupNorm(2, use_bias=False, use_scale=False)
    >>> net({}, np.array([[1.0, 3.0, 10.0, 30.0]])).round(3).tolist()
    [[-1.0, 1.0, -1.0, 1.0]]

    Source: Wu and He, "Group Normalization", ECCV 2018, arXiv:1803.08494.
    """

    @layer("GroupNorm")
    def group_norm(p: Scope, x: Any) -> Any:
        ndim, channels = len(x.shape), x.shape[-1]
        if num_groups < 1 or channels % num_groups:
            raise ShapeError(f"{p.place()}: {channels} channels do not divide into {num_groups} groups")
        x, dtype, scale, bias = _taken(p, x, (ndim - 1,), use_scale, use_bias)
        places = range(1, ndim) if reduction_axes is None else _axes(p, x, reduction_axes)
        axes = tuple([a for a in places if a != ndim - 1]) + (ndim,)
        groups = np.reshape(x, (*x.shape[:-1], num_groups, channels // num_groups))
        mean, variance = _moments(groups, axes)
        y = np.reshape((groups - mean) / np.sqrt(variance + epsilon), x.shape)
        return _scaled(y, scale, bias, dtype)

    return group_norm


@maker
def InstanceNorm(
    epsilon: NotNegative = 1e-6,
    *,
    use_bias: bool = True,
    use_scale: bool = True,
    reduction_axes: Sequence[int] | None = None,
) -> Layer:
    """Each channel of each example normalised by itself, with mean and variance over all places.

    Args:
        epsilon: 1e-6 as in flax; torch has 1e-5, keras 1e-3.
        use_bias: whether there is a `bias`, (channels,).
        use_scale: likewise a `scale`.
        reduction_axes: the axes of places. Where not given, all but the first, which is that of examples, and the last.

    >>> import numpy as np
    >>> from tracegrad import nn
    >>> net = nn.InstanceNorm(use_bias=False, use_scale=False)
    >>> net({}, np.array([[[1.0, 10.0], [3.0, 30.0]]])).round(3).tolist()
    [[[-1.0, -1.0], [1.0, 1.0]]]

    Source: Ulyanov, Vedaldi and Lempitsky, "Instance Normalization", 2016, arXiv:1607.08022.
    """

    @layer("InstanceNorm")
    def instance_norm(p: Scope, x: Any) -> Any:
        ndim = len(x.shape)
        x, dtype, scale, bias = _taken(p, x, (ndim - 1,), use_scale, use_bias)
        axes = tuple(range(1, ndim - 1)) if reduction_axes is None else _axes(p, x, reduction_axes)
        mean, variance = _moments(x, axes)
        return _normalised(x, mean, variance, epsilon, scale, bias, dtype)

    return instance_norm


@maker
def BatchNorm(
    momentum: Share = 0.99,
    epsilon: NotNegative = 1e-5,
    *,
    use_bias: bool = True,
    use_scale: bool = True,
    axis_name: Any = None,
) -> Layer:
    """Each channel normalised: in training by mean and variance over the batch and all places, else by running averages of
    these, which the layer keeps as state.

    Args:
        momentum: in training, an average becomes momentum * average + (1 - momentum) * the batch's. flax's; torch's momentum
            of 0.1 is 0.9 here.
        epsilon: 1e-5 as in flax and torch; keras has 1e-3.
        use_bias: whether there is a `bias`, (channels,).
        use_scale: likewise a `scale`.
        axis_name: of a `vmap` or `shard_map`, over which the batch's mean and variance are averaged too.

    State: `mean` and `var`, (channels,). The variance is divided by the number of values, as in flax and keras; torch and MLX
    keep that divided by one less. They are float32 where parameters are half floats. No derivative goes through them.

    >>> import numpy as np
    >>> from tracegrad import nn
    >>> net, x = nn.BatchNorm(), np.array([[1.0], [3.0]])
    >>> params, state = net.init(0, x), net.init_state(x)
    >>> y, state = net.apply(params, x, state=state, train=True)
    >>> y.round(3).tolist(), state["mean"].round(3).tolist()
    ([[-1.0], [1.0]], [0.019999999552965164])

    Source: Ioffe and Szegedy, "Batch Normalization", ICML 2015, arXiv:1502.03167.
    """

    @layer("BatchNorm")
    def batch_norm(p: Scope, x: Any) -> Any:
        channels = x.shape[-1:]
        x, dtype, scale, bias = _taken(p, x, (len(x.shape) - 1,), use_scale, use_bias)
        mean = p.state("mean", initializers.zeros, channels, x.dtype)
        variance = p.state("var", initializers.ones, channels, np.empty(0, x.dtype).real.dtype)
        if p.train:
            axes = tuple(range(len(x.shape) - 1))
            batch = _moments(x, axes, axis_name)
            for name, old, new in zip(("mean", "var"), (mean, variance), batch, strict=True):
                p.update(name, momentum * old + (1 - momentum) * np.reshape(new, channels))
            mean, variance = batch
        return _normalised(x, mean, variance, epsilon, scale, bias, dtype)

    return batch_norm


# ---------------------------------------------------------------------------------------------------------------------
# Of weights.


@maker
def WeightNorm(
    inner: Layer,
    *,
    epsilon: NotNegative = 1e-12,
    use_scale: bool = True,
    variable_filter: Sequence[str] | None = ("kernel",),
) -> Layer:
    """A layer with kernels of which each output's weights have length `scale`: kernel / sqrt(sum(kernel**2) + epsilon) * scale.

    Args:
        inner: the layer, which keeps no state. Its parameters are `layer_instance`, as in flax.
        epsilon: keeps derivatives of kernels of zeros finite.
        use_scale: whether there are scales, `layer_instance/kernel/scale`; 1 otherwise.
        variable_filter: parts of the names of the parameters that are normalised; None for all parameters.

    >>> import numpy as np
    >>> from tracegrad import nn
    >>> net = nn.WeightNorm(nn.Dense(1, use_bias=False))
    >>> params = net.init(0, (2,))
    >>> params["layer_instance"]["kernel"] = np.array([[3.0], [4.0]], np.float32)
    >>> net(params, np.array([1.0, 0.0])).round(3).tolist()
    [0.6000000238418579]

    Source: Salimans and Kingma, "Weight Normalization", NeurIPS 2016, arXiv:1602.07868.
    """

    @layer("WeightNorm")
    def weight_norm(p: Scope, *inputs: Any) -> Any:
        def normalised(path: str, weights: Any) -> Any:
            if variable_filter and not any(part in path for part in variable_filter):
                return weights
            wide = _unit(widened(weights), tuple(range(len(weights.shape) - 1)), epsilon)
            if use_scale:
                wide = wide * p.param(f"{path}/scale", initializers.ones, weights.shape[-1:], weights.dtype)
            return cast(wide, weights.dtype)

        return _with_weights(p, inner, inputs, normalised)

    return weight_norm


@maker
def SpectralNorm(inner: Layer, n_steps: Count = 1, epsilon: NotNegative = 1e-12) -> Layer:
    """A layer with kernels divided by their largest singular value, as found by power iteration.

    Args:
        inner: the layer, which keeps no state. Its parameters are `layer_instance`, as in flax.
        n_steps: of power iteration, at each call.
        epsilon: added to squared lengths.

    State: for each kernel `layer_instance/kernel/u`, the vector from which the next call goes on (in training), and `sigma`,
    the singular value. Kernels of more than two axes are matrices (all but the last, the last).

    >>> import numpy as np
    >>> from tracegrad import nn
    >>> net = nn.SpectralNorm(nn.Dense(2, use_bias=False), n_steps=20)
    >>> params, state = net.init(0, (2,)), net.init_state((2,))
    >>> params["layer_instance"]["kernel"] = np.diag([4.0, 2.0]).astype(np.float32)
    >>> net.apply(params, np.array([1.0, 1.0]), state=state)[0].round(3).tolist()
    [1.0, 0.5]

    Source: Miyato et al., "Spectral Normalization for Generative Adversarial Networks", ICLR 2018, arXiv:1802.05957.
    """

    @layer("SpectralNorm")
    def spectral_norm(p: Scope, *inputs: Any) -> Any:
        def normalised(path: str, weights: Any) -> Any:
            if len(weights.shape) < 2 or n_steps < 1:
                return weights
            matrix = widened(np.reshape(weights, (-1, weights.shape[-1])))
            u = p.state(f"{path}/u", initializers.normal(1.0), (1, matrix.shape[-1]), matrix.dtype)
            p.state(f"{path}/sigma", initializers.ones, (), matrix.dtype)
            for _ in range(n_steps):
                v = _unit(u @ matrix.T, None, epsilon)
                u = _unit(v @ matrix, None, epsilon)
            u, v = stop_gradient(u), stop_gradient(v)
            sigma = (v @ matrix @ u.T)[0, 0]
            if p.train:
                p.update(f"{path}/u", u)
                p.update(f"{path}/sigma", sigma)
            return cast(np.reshape(matrix / np.where(sigma != 0, sigma, 1), weights.shape), weights.dtype)

        return _with_weights(p, inner, inputs, normalised)

    return spectral_norm


def _unit(x: Any, axes: tuple[int, ...] | None, epsilon: float) -> Any:
    return x / np.sqrt(np.sum(np.square(x), axes, keepdims=True) + epsilon)


def _with_weights(p: Scope, inner: Layer, inputs: Any, changed: Callable[[str, Any], Any]) -> Any:
    """What a layer makes of inputs with other weights: `changed` of their paths and themselves."""
    bound = p.bind(inner, *inputs, name="layer_instance")
    leaves, structure = tree.tree_flatten_with_path(bound.params)
    names = [f"layer_instance/{tree.keystr(path, simple=True, separator='/')}" for path, _ in leaves]
    bound.params = structure.unflatten([changed(name, x) for name, (_, x) in zip(names, leaves, strict=True)])
    return bound(*inputs, key=p.key() if p.draws else None)


# ---------------------------------------------------------------------------------------------------------------------
# What these share.


def _taken(p: Scope, x: Any, axes: tuple[int, ...], use_scale: bool, use_bias: bool) -> tuple[Any, Any, Any, Any]:
    """The input in the dtype to compute in, the dtype of the result, and scale and bias, which are None or broadcast."""
    sizes = tuple([x.shape[a] for a in axes])
    scale = p.param("scale", initializers.ones, sizes) if use_scale else None
    bias = p.param("bias", initializers.zeros, sizes) if use_bias else None
    first = scale if scale is not None else bias
    if first is not None:
        if x.dtype != first.dtype:
            x = p.cast(x, first.dtype)
    elif not is_inexact(x.dtype):
        x = x.astype(np.float32)
    if axes != (len(x.shape) - 1,):
        shape = [n if a in axes else 1 for a, n in enumerate(x.shape)]
        scale, bias = [y if y is None else np.reshape(y, shape) for y in (scale, bias)]
    return widened(x), x.dtype, scale, bias


def _moments(x: Any, axes: tuple[int, ...], axis_name: Any = None) -> tuple[Any, Any]:
    """Mean and variance over axes, which stay with size 1, and over a named axis."""
    mean = np.mean(x, axes, keepdims=True)
    if axis_name is not None:
        mean = pmean(mean, axis_name)
    variance = np.mean(_square(x - mean), axes, keepdims=True)
    return mean, variance if axis_name is None else pmean(variance, axis_name)


def _square(x: Any) -> Any:
    return np.square(np.abs(x)) if number_kind(x.dtype) == "c" else np.square(x)


def _normalised(x: Any, mean: Any, variance: Any, epsilon: float, scale: Any, bias: Any, dtype: Any) -> Any:
    factor = 1 / np.sqrt(variance + epsilon)
    y = (x if mean is None else x - mean) * (factor if scale is None else factor * scale)
    return cast(y if bias is None else y + bias, dtype)


def _scaled(y: Any, scale: Any, bias: Any, dtype: Any) -> Any:
    y = y if scale is None else y * scale
    return cast(y if bias is None else y + bias, dtype)


def _axes(p: Scope, x: Any, axis: int | Sequence[int]) -> tuple[int, ...]:
    ndim = len(x.shape)
    if isinstance(axis, int) and -ndim <= axis < 0:
        return (ndim + axis,)
    given = (axis,) if isinstance(axis, int) else tuple(axis)
    if not all([isinstance(a, int | np.integer) for a in given]):
        raise TypeError(f"{p.place()}: axis is a whole number or a tuple of such, got {axis!r}")
    if any(not -ndim <= a < ndim for a in given):
        raise ShapeError(f"{p.place()}: no axes {axis} in an input of shape {x.shape}")
    return tuple(sorted({a % ndim for a in given}))
