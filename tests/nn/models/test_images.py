"""Networks of images: numbers of parameters as published, and small ones trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.nn.models.counts import count, descends
from tracegrad import nn
from tracegrad.nn import models

LARGE = (1, 224, 224, 3)
COUNTS: list[tuple[str, Any, tuple[int, ...], int]] = [
    ("lenet5", models.lenet5, (1, 32, 32, 1), 61_706),
    ("mlp", lambda: models.mlp((784, 512, 512, 10)), (1, 784), 669_706),
    ("resnet18", lambda: models.resnet(18), LARGE, 11_689_512),
    ("resnet34", lambda: models.resnet(34), LARGE, 21_797_672),
    ("resnet50", lambda: models.resnet(50), LARGE, 25_557_032),
    ("resnet101", lambda: models.resnet(101), LARGE, 44_549_160),
    ("resnet152", lambda: models.resnet(152), LARGE, 60_192_808),
    ("resnet20", lambda: models.resnet_cifar(20), (1, 32, 32, 3), 269_722),
    ("resnet32", lambda: models.resnet_cifar(32), (1, 32, 32, 3), 464_154),
    ("resnet44", lambda: models.resnet_cifar(44), (1, 32, 32, 3), 658_586),
    ("resnet56", lambda: models.resnet_cifar(56), (1, 32, 32, 3), 853_018),
    ("resnet110", lambda: models.resnet_cifar(110), (1, 32, 32, 3), 1_727_962),
    ("vgg16", lambda: models.vgg(16), LARGE, 138_357_544),
    ("alexnet", models.alexnet, LARGE, 61_100_840),
    ("mobilenet_v2", models.mobilenet_v2, LARGE, 3_504_872),
    ("densenet121", lambda: models.densenet(121), LARGE, 7_978_856),
    ("efficientnet b0", lambda: models.efficientnet("b0"), LARGE, 5_288_548),
    ("convnext tiny", lambda: models.convnext("tiny"), LARGE, 28_589_128),
    ("unet", lambda: models.unet(2), (1, 64, 64, 1), 31_030_658),
    ("unet of colours", lambda: models.unet(1), (1, 64, 64, 3), 31_031_745),
]


@pytest.mark.parametrize("name, make, shape, expected", COUNTS, ids=[row[0] for row in COUNTS])
def test_numbers_of_parameters(name: str, make: Any, shape: Any, expected: int) -> None:
    assert count(make(), shape) == expected


def test_running_statistics_of_mobilenet() -> None:
    state = models.mobilenet_v2().init_state(LARGE)
    assert 3_504_872 + sum([leaf.size for leaf in tg.tree.tree_leaves(state)]) == 3_538_984


rng = np.random.default_rng(0)
labels = np.arange(8) % 4
images = (rng.normal(size=(8, 16, 16, 1)) + labels[:, None, None, None]).astype(np.float32)


@pytest.mark.parametrize(
    "net",
    [
        models.lenet5(4, "SAME"),
        nn.serial(models.resnet_cifar(8, 4)),
        nn.serial(nn.flatten, models.mlp((256, 16, 4))),
    ],
    ids=repr,
)
def test_small_ones_learn(net: Any) -> None:
    x = np.repeat(np.repeat(images, 2, 1), 2, 2)[:, 2:30, 2:30] if "lenet5" in repr(net) else images
    params, state = net.init(0, x), net.init_state(x)

    def loss(params: Any, state: Any) -> Any:
        logits, state = net.apply(params, x, state=state, train=True)
        return np.mean(nn.softmax_cross_entropy_with_integer_labels(logits, labels)), state

    descends(loss, params, state)


def test_unet_tells_pixels_apart() -> None:
    net = models.unet(2, base=4, depth=2)
    wanted = (images[..., 0] > images.mean()).astype(int)

    def loss(params: Any, state: Any) -> Any:
        return np.mean(nn.softmax_cross_entropy_with_integer_labels(net(params, images), wanted)), state

    descends(loss, net.init(0, images), rate=1e-2, below=0.98)
    with pytest.raises(ValueError, match=r"unet at .*: 2\^2 must divide the size of images, got \(1, 6, 8, 1\)"):
        net.init(0, (1, 6, 8, 1))


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"resnet.*: there is no resnet\(20\); there are 18, 34, 50, 101, 152"):
        models.resnet(20)
    with pytest.raises(ValueError, match=r"the depth is 6 n \+ 2, such as 20 or 56, got 18"):
        models.resnet_cifar(18)
    with pytest.raises(ValueError, match=r"mlp.*: made for inputs \[\.\.\., 784\], got \(1, 5\)"):
        models.mlp((784, 10)).init(0, (1, 5))
