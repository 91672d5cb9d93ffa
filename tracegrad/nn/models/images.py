"""Networks of images, [..., height, width, channels], that return a logit for each class. Numbers of parameters are those of the
papers and of torchvision, with 1,000 classes and three channels where nothing else is said."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad import nn
from tracegrad.core.errors import at, user_source
from tracegrad.nn.layer import Layer, layer
from tracegrad.nn.making import maker
from tracegrad.nn.scope import Scope


@maker
def mlp(sizes: Sequence[int], activation: Callable[[Any], Any] = nn.relu) -> Layer:
    """Dense layers with an activation between them.

    Args:
        sizes: of the input, of each hidden layer and of the output: `(784, 512, 512, 10)` has 669,706 parameters.
        activation: a function of arrays.

    >>> from tracegrad.nn import models
    >>> models.mlp((784, 512, 512, 10)).summary((1, 784)).parameters
    669706
    """
    if isinstance(sizes, int) or len(sizes) < 2:
        raise ValueError(
            f"mlp{at(user_source())}: sizes are those of the input and of each layer, such as (784, 512, 10), got {sizes}"
        )
    _, *hidden, out = sizes

    @layer("mlp")
    def mlp(p: Scope, x: Any) -> Any:
        if x.shape[-1] != sizes[0]:
            raise ValueError(f"mlp{at(user_source())}: made for inputs [..., {sizes[0]}], got {x.shape}")
        for size in hidden:
            x = activation(p(nn.Dense(size), x))
        return p(nn.Dense(out), x)

    return mlp


@maker
def lenet5(classes: int = 10, padding: str = "VALID", activation: Callable[[Any], Any] = nn.relu) -> Layer:
    """LeNet-5 in the form that is common now: all maps connected, largest values of windows. 61,706 parameters.

    Args:
        classes: how many logits.
        padding: of the first convolution: "VALID" for 32 x 32 pixels, "SAME" for 28 x 28.
        activation: a function of arrays.

    Source: LeCun et al., "Gradient-based learning applied to document recognition", Proc. IEEE 86, 1998.

    >>> from tracegrad.nn import models
    >>> models.lenet5().summary((1, 32, 32, 1)).parameters
    61706
    """

    @layer("lenet5")
    def lenet5(p: Scope, x: Any) -> Any:
        x = p(nn.max_pool(2), activation(p(nn.Conv(6, 5, padding=padding), x)))
        x = p(nn.max_pool(2), activation(p(nn.Conv(16, 5, padding="VALID"), x)))
        x = _vectors(x)
        for size in (120, 84):
            x = activation(p(nn.Dense(size), x))
        return p(nn.Dense(classes), x)

    return lenet5


@maker
def alexnet(classes: int = 1000) -> Layer:
    """AlexNet in torchvision's form, for images of 224 x 224. 61,100,840 parameters.

    Source: Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014, arXiv:1404.5997.

    >>> from tracegrad.nn import models
    >>> models.alexnet().summary((1, 224, 224, 3)).parameters
    61100840
    """

    @layer("alexnet")
    def alexnet(p: Scope, x: Any) -> Any:
        x = p(nn.max_pool(3, 2), nn.relu(p(nn.Conv(64, 11, 4, padding=2), x)))
        x = p(nn.max_pool(3, 2), nn.relu(p(nn.Conv(192, 5, padding=2), x)))
        for features in (384, 256, 256):
            x = nn.relu(p(nn.Conv(features, 3, padding=1), x))
        x = _vectors(p(nn.adaptive_avg_pool((6, 6)), p(nn.max_pool(3, 2), x)))
        for _ in range(2):
            x = nn.relu(p(nn.Dense(4096), p(nn.Dropout(0.5), x)))
        return p(nn.Dense(classes), x)

    return alexnet


_VGG = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


@maker
def vgg(depth: int = 16, classes: int = 1000) -> Layer:
    """VGG for images of 224 x 224: 138,357,544 parameters with 16 layers.

    Args:
        depth: 11, 13, 16 or 19.
        classes: how many logits.

    Source: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015.

    >>> from tracegrad.nn import models
    >>> models.vgg(11).summary((1, 224, 224, 3)).parameters
    132863336
    """
    counts = _one_of(_VGG, depth, "vgg")

    @layer("vgg")
    def vgg(p: Scope, x: Any) -> Any:
        for count, features in zip(counts, (64, 128, 256, 512, 512), strict=True):
            for _ in range(count):
                x = nn.relu(p(nn.Conv(features, 3, padding=1), x))
            x = p(nn.max_pool(2), x)
        x = _vectors(x)
        for _ in range(2):
            x = p(nn.Dropout(0.5), nn.relu(p(nn.Dense(4096), x)))
        return p(nn.Dense(classes), x)

    return vgg


@maker
def _conv_norm(features: int, kernel: int, strides: int = 1, groups: int = 1) -> Layer:
    """A convolution without bias, with zeros on both sides alike, and batch norm."""

    @layer("conv_norm")
    def conv_norm(p: Scope, x: Any) -> Any:
        conv = nn.Conv(features, kernel, strides, padding=kernel // 2, feature_group_count=groups, use_bias=False)
        return p(nn.BatchNorm(0.9), p(conv, x, name="conv"), name="norm")

    return conv_norm


_RESNET = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


@maker
def resnet(depth: int = 50, classes: int = 1000) -> Layer:
    """ResNet for images of 224 x 224: 11,689,512, 21,797,672, 25,557,032, 44,549,160 and 60,192,808 parameters with 18, 34, 50, 101
    and 152 layers. Strides are in the 3 x 3 convolutions, as in torchvision.

    Args:
        depth: how many layers.
        classes: how many logits.

    Source: He et al., "Deep residual learning for image recognition", CVPR 2016.

    >>> from tracegrad.nn import models
    >>> models.resnet(18).summary((1, 224, 224, 3)).parameters
    11689512
    """
    counts = _one_of(_RESNET, depth, "resnet")
    block, widening = (_basic, 1) if depth < 50 else (_bottleneck, 4)

    @layer("resnet")
    def resnet(p: Scope, x: Any) -> Any:
        x = nn.relu(p(_conv_norm(64, 7, 2), x, name="stem"))
        x = p(nn.max_pool(3, 2, padding=1), x)
        for stage, count in enumerate(counts):
            for i in range(count):
                strides = 2 if stage and not i else 1
                x = p(block(64 << stage, strides, widening), x, name=f"stage_{stage}_block_{i}")
        return p(nn.Dense(classes), nn.global_avg_pool(x), name="head")

    return resnet


@maker
def _basic(features: int, strides: int, widening: int) -> Layer:
    @layer("basic")
    def basic(p: Scope, x: Any) -> Any:
        y = p(_conv_norm(features, 3), nn.relu(p(_conv_norm(features, 3, strides), x)))
        return nn.relu(_shortcut(p, x, features, strides) + y)

    return basic


@maker
def _bottleneck(features: int, strides: int, widening: int) -> Layer:
    @layer("bottleneck")
    def bottleneck(p: Scope, x: Any) -> Any:
        y = nn.relu(p(_conv_norm(features, 1), x))
        y = nn.relu(p(_conv_norm(features, 3, strides), y))
        y = p(_conv_norm(features * widening, 1), y)
        return nn.relu(_shortcut(p, x, features * widening, strides) + y)

    return bottleneck


def _shortcut(p: Scope, x: Any, features: int, strides: int) -> Any:
    if strides == 1 and x.shape[-1] == features:
        return x
    return p(_conv_norm(features, 1, strides), x, name="shortcut")


@maker
def resnet_cifar(depth: int = 20, classes: int = 10) -> Layer:
    """The small ResNet of images of 32 x 32, with shortcuts that have no parameters: 269,722 with 20 layers, 464,154, 658,586, 853,018
    and 1,727,962 with 32, 44, 56 and 110.

    Args:
        depth: how many layers, 6 n + 2.
        classes: how many logits.

    Source: He et al., "Deep residual learning for image recognition", CVPR 2016, section 4.2, option A.

    >>> from tracegrad.nn import models
    >>> models.resnet_cifar(20).summary((1, 32, 32, 3)).parameters
    269722
    """
    if depth % 6 != 2:
        raise ValueError(f"resnet_cifar{at(user_source())}: the depth is 6 n + 2, such as 20 or 56, got {depth}")

    @layer("resnet_cifar")
    def resnet_cifar(p: Scope, x: Any) -> Any:
        x = nn.relu(p(_conv_norm(16, 3), x, name="stem"))
        for stage, features in enumerate((16, 32, 64)):
            for i in range((depth - 2) // 6):
                strides = 2 if stage and not i else 1
                x = p(_plain_block(features, strides), x, name=f"stage_{stage}_block_{i}")
        return p(nn.Dense(classes), nn.global_avg_pool(x), name="head")

    return resnet_cifar


@maker
def _plain_block(features: int, strides: int) -> Layer:
    @layer("block")
    def block(p: Scope, x: Any) -> Any:
        y = p(_conv_norm(features, 3), nn.relu(p(_conv_norm(features, 3, strides), x)))
        missing = features - x.shape[-1]
        x = x[..., ::strides, ::strides, :]
        return nn.relu(np.pad(x, [(0, 0)] * (x.ndim - 1) + [(missing // 2, missing - missing // 2)]) + y)

    return block


@maker
def mobilenet_v2(classes: int = 1000) -> Layer:
    """MobileNetV2 for images of 224 x 224: 3,504,872 parameters.

    Source: Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018, table 2.

    >>> from tracegrad.nn import models
    >>> models.mobilenet_v2().summary((1, 224, 224, 3)).parameters
    3504872
    """
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))

    @layer("mobilenet_v2")
    def mobilenet_v2(p: Scope, x: Any) -> Any:
        x = nn.relu6(p(_conv_norm(32, 3, 2), x, name="stem"))
        for expansion, features, count, strides in stages:
            for i in range(count):
                x = p(_inverted(expansion, features, 3, 1 if i else strides, nn.relu6, 0), x)
        x = nn.global_avg_pool(nn.relu6(p(_conv_norm(1280, 1), x, name="last")))
        return p(nn.Dense(classes), p(nn.Dropout(0.2), x), name="head")

    return mobilenet_v2


@maker
def _inverted(
    expansion: int, features: int, kernel: int, strides: int, activation: Callable[[Any], Any], squeeze: int
) -> Layer:
    """Wider inside than outside, a convolution for each channel there; with `squeeze`, each channel weighted by all."""

    @layer("inverted")
    def inverted(p: Scope, x: Any) -> Any:
        inside, y = x.shape[-1] * expansion, x
        if expansion > 1:
            y = activation(p(_conv_norm(inside, 1), y, name="expand"))
        y = activation(p(_conv_norm(inside, kernel, strides, inside), y, name="depthwise"))
        if squeeze:
            mean = np.mean(y, (-3, -2), keepdims=True)
            weights = activation(p(nn.Dense(max(1, x.shape[-1] // squeeze)), mean, name="squeeze"))
            y = y * nn.sigmoid(p(nn.Dense(inside), weights, name="excite"))
        y = p(_conv_norm(features, 1), y, name="project")
        return x + y if strides == 1 and x.shape[-1] == features else y

    return inverted


_EFFICIENTNET = {  # width, depth, dropout
    "b0": (1.0, 1.0, 0.2), "b1": (1.0, 1.1, 0.2), "b2": (1.1, 1.2, 0.3), "b3": (1.2, 1.4, 0.3), "b4": (1.4, 1.8, 0.4),
}  # fmt: skip


@maker
def efficientnet(name: str = "b0", classes: int = 1000) -> Layer:
    """EfficientNet: 5,288,548 parameters as "b0", for images of 224 x 224.

    Args:
        name: "b0" to "b4".
        classes: how many logits.

    Source: Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural networks", ICML 2019, table 1. Blocks are
    not dropped in training.

    >>> from tracegrad.nn import models
    >>> models.efficientnet("b0").summary((1, 224, 224, 3)).parameters
    5288548
    """
    width, depth, rate = _one_of(_EFFICIENTNET, name, "efficientnet")
    stages = (
        (1, 16, 3, 1, 1), (6, 24, 3, 2, 2), (6, 40, 5, 2, 2), (6, 80, 3, 3, 2), (6, 112, 5, 3, 1), (6, 192, 5, 4, 2),
        (6, 320, 3, 1, 1),
    )  # fmt: skip

    def wide(features: int) -> int:
        """The features times the width, to the nearest 8, and not less than 0.9 of it."""
        wanted = features * width
        found = max(8, int(wanted + 4) // 8 * 8)
        return found + 8 * (found < 0.9 * wanted)

    @layer("efficientnet")
    def efficientnet(p: Scope, x: Any) -> Any:
        x = nn.silu(p(_conv_norm(wide(32), 3, 2), x, name="stem"))
        for expansion, features, kernel, count, strides in stages:
            for i in range(-int(-count * depth // 1)):
                x = p(_inverted(expansion, wide(features), kernel, 1 if i else strides, nn.silu, 4), x)
        x = nn.global_avg_pool(nn.silu(p(_conv_norm(4 * wide(320), 1), x, name="last")))
        return p(nn.Dense(classes), p(nn.Dropout(rate), x), name="head")

    return efficientnet


_DENSENET = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32)}


@maker
def densenet(depth: int = 121, classes: int = 1000, growth: int = 32) -> Layer:
    """DenseNet for images of 224 x 224: 7,978,856 parameters with 121 layers.

    Args:
        depth: 121, 169 or 201.
        classes: how many logits.
        growth: how many channels each layer adds.

    Source: Huang et al., "Densely connected convolutional networks", CVPR 2017.

    >>> from tracegrad.nn import models
    >>> models.densenet(121).summary((1, 224, 224, 3)).parameters
    7978856
    """
    counts = _one_of(_DENSENET, depth, "densenet")

    @layer("dense_layer")
    def dense_layer(p: Scope, x: Any) -> Any:
        y = x
        for features, kernel in ((4 * growth, 1), (growth, 3)):
            conv = nn.Conv(features, kernel, padding=kernel // 2, use_bias=False)
            y = p(conv, nn.relu(p(nn.BatchNorm(0.9), y)))
        return np.concatenate([x, y], -1)

    @layer("densenet")
    def densenet(p: Scope, x: Any) -> Any:
        x = nn.relu(p(_conv_norm(2 * growth, 7, 2), x, name="stem"))
        x = p(nn.max_pool(3, 2, padding=1), x)
        for stage, count in enumerate(counts):
            for _ in range(count):
                x = p(dense_layer, x)
            if stage < len(counts) - 1:
                x = nn.relu(p(nn.BatchNorm(0.9), x))
                x = p(nn.avg_pool(2), p(nn.Conv(x.shape[-1] // 2, 1, use_bias=False), x))
        return p(nn.Dense(classes), nn.global_avg_pool(nn.relu(p(nn.BatchNorm(0.9), x))), name="head")

    return densenet


_CONVNEXT = {
    "tiny": ((3, 3, 9, 3), 96), "small": ((3, 3, 27, 3), 96), "base": ((3, 3, 27, 3), 128), "large": ((3, 3, 27, 3), 192),
}  # fmt: skip


@maker
def convnext(name: str = "tiny", classes: int = 1000) -> Layer:
    """ConvNeXt for images of 224 x 224: 28,589,128 parameters as "tiny".

    Args:
        name: "tiny", "small", "base" or "large".
        classes: how many logits.

    Source: Liu et al., "A ConvNet for the 2020s", CVPR 2022. Blocks are not dropped in training.

    >>> from tracegrad.nn import models
    >>> models.convnext("tiny").summary((1, 224, 224, 3)).parameters
    28589128
    """
    counts, width = _one_of(_CONVNEXT, name, "convnext")

    @layer("block")
    def block(p: Scope, x: Any) -> Any:
        features = x.shape[-1]
        y = p(nn.Conv(features, 7, padding=3, feature_group_count=features), x)
        y = nn.gelu(p(nn.Dense(4 * features), p(nn.LayerNorm(), y)), approximate=False)
        return x + p(nn.Dense(features), y) * p.param("scale", nn.initializers.constant(1e-6), (features,))

    @layer("convnext")
    def convnext(p: Scope, x: Any) -> Any:
        x = p(nn.LayerNorm(), p(nn.Conv(width, 4, 4, padding="VALID"), x))
        for stage, count in enumerate(counts):
            if stage:
                x = p(nn.Conv(width << stage, 2, 2, padding="VALID"), p(nn.LayerNorm(), x))
            for _ in range(count):
                x = p(block, x)
        return p(nn.Dense(classes), p(nn.LayerNorm(), nn.global_avg_pool(x)), name="head")

    return convnext


@maker
def unet(classes: int = 2, base: int = 64, depth: int = 4) -> Layer:
    """U-Net: a logit for each class and pixel. 31,030,658 parameters for one channel and two classes. Convolutions keep the size of
    images (the paper's cut their edges), which 2^depth divides.

    Args:
        classes: how many logits for each pixel.
        base: channels of the first step; they double with each.
        depth: how many steps down.

    Source: Ronneberger, Fischer and Brox, "U-Net", MICCAI 2015.

    >>> from tracegrad.nn import models
    >>> models.unet(2, base=8).summary((1, 64, 64, 1)).parameters
    485682
    """

    @layer("twice")
    def twice(p: Scope, x: Any, features: int) -> Any:
        for _ in range(2):
            x = nn.relu(p(nn.Conv(features, 3), x))
        return x

    @layer("unet")
    def unet(p: Scope, x: Any) -> Any:
        if x.shape[-2] % (1 << depth) or x.shape[-3] % (1 << depth):
            raise ValueError(f"unet{at(user_source())}: 2^{depth} must divide the size of images, got {x.shape}")
        passed = []
        for step in range(depth):
            x = p(twice, x, base << step)
            passed.append(x)
            x = p(nn.max_pool(2), x)
        x = p(twice, x, base << depth)
        for step in reversed(range(depth)):
            x = p(nn.ConvTranspose(base << step, 2, 2), x)
            x = p(twice, np.concatenate([passed[step], x], -1), base << step)
        return p(nn.Conv(classes, 1), x)

    return unet


def _vectors(x: Any) -> Any:
    """Each image as a vector."""
    return np.reshape(x, (*x.shape[:-3], math.prod(x.shape[-3:])))


def _one_of(known: Any, asked: Any, name: str) -> Any:
    if asked not in known:
        raise ValueError(
            f"{name}{at(user_source())}: there is no {name}({asked!r}); there are {', '.join(map(repr, known))}"
        )
    return known[asked]
