"""Images made anew: by hand, by SciPy, under jit and vmap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near, same_bits
from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.data import augment

KEY = tg.random.PRNGKey(3)
IMAGES = np.random.default_rng(0).random((20, 6, 5, 2)).astype(np.float32)
ALL = {
    "shift": augment.shift(2), "crop": augment.crop(2, "reflect"), "flip": augment.flip(), "rotate": augment.rotate(20),
    "noise": augment.noise(0.1), "cutout": augment.cutout(3), "chain": augment.chain(augment.flip(), augment.noise(0.2)),
}  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_the_same_under_transforms(name: str) -> None:
    transform = ALL[name]
    for images in (IMAGES, IMAGES[..., 0]):
        found = transform(KEY, images)
        assert (found.shape, found.dtype) == (images.shape, np.float32)
        assert (found != images).any()
        same_bits(tg.jit(transform, backend="numpy")(KEY, images), found)
        if pytest.importorskip("jax"):
            near(np.asarray(tg.jit(transform, backend="xla")(KEY, images)), found, 1e-5)
        stacked = tg.vmap(transform)(np.stack([KEY, KEY + 1]), np.stack([images, images]))
        near(stacked[0], found, 1e-6)
        near(stacked[1], transform(KEY + 1, images), 1e-6)


def test_jax_arrays_come_out_as_such(jax: Any) -> None:
    assert isinstance(augment.flip()(KEY, jax.numpy.asarray(IMAGES)), jax.Array)


def test_images_in_tuples_and_dicts() -> None:
    labels = np.arange(20)
    found = augment.flip()(KEY, (IMAGES, labels))
    same_bits(found, (augment.flip()(KEY, IMAGES), labels))
    same_bits(augment.flip()(KEY, {"image": IMAGES, "label": labels}), {"image": found[0], "label": labels})
    with pytest.raises(KeyError, match="a dict without images; call them 'image'"):
        augment.flip()(KEY, {"x": IMAGES})
    with pytest.raises(ShapeError, match=r"images are .*, got f32\[6,5\]"):
        augment.flip()(KEY, IMAGES[0, :, :, 0])
    with pytest.raises(DtypeError, match=r"images must be floats, got u8\[20,6,5,2\]; write images.astype"):
        augment.noise(1.0)(KEY, IMAGES.astype(np.uint8))


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_crops_are_parts_of_padded_images(mode: str) -> None:
    found = augment.crop(2, mode)(KEY, IMAGES)
    places = set()
    for image, out in zip(IMAGES, found, strict=True):
        padded = np.pad(image, [(2, 2), (2, 2), (0, 0)], mode)  # type: ignore[call-overload]
        fits = [(i, j) for i in range(5) for j in range(5) if (padded[i : i + 6, j : j + 5] == out).all()]
        assert fits
        places.add(fits[0])
    assert len(places) > 6


def test_flips() -> None:
    for axis in (1, 2):
        mirrored = np.flip(IMAGES, axis)
        found = augment.flip(axis)(KEY, IMAGES)
        turned = [(a == b).all() for a, b in zip(found, mirrored, strict=True)]
        assert 3 < sum(turned) < 17
        assert all((a == b).all() for a, b, t in zip(found, IMAGES, turned, strict=True) if not t)
    same_bits(augment.flip(rate=1.0)(KEY, IMAGES), np.flip(IMAGES, 2))


def test_rotations_are_those_of_scipy() -> None:
    rotate = pytest.importorskip("scipy.ndimage").rotate
    square = IMAGES[:4, :, :, 0]
    square = np.pad(square, [(0, 0), (2, 2), (3, 2)])
    found = augment.rotate(30)(KEY, square)
    angles = np.asarray(tg.random.uniform(KEY, (4, 1, 1), np.float32, -1, 1)).ravel() * 30
    for image, out, angle in zip(square, found, angles, strict=True):
        near(out, rotate(image, float(angle), reshape=False, order=1, mode="grid-constant").astype(np.float32), 1e-4)
    near(augment.rotate(0)(KEY, IMAGES), IMAGES, 1e-6)


def test_noise() -> None:
    added = augment.noise(0.5)(KEY, np.zeros((50, 20, 20), np.float32))
    assert abs(added.std() - 0.5) < 0.01 and abs(added.mean()) < 0.02


def test_cutout() -> None:
    gone = augment.cutout(3)(KEY, np.ones((40, 8, 8), np.float32)) == 0
    assert {1, 2, 3, 4, 6, 9} >= {int(x.sum()) for x in gone} >= {9}


def test_mixup() -> None:
    labels = np.arange(20) % 4
    mix = augment.mixup(1.0, 4)
    images, mixed = mix(KEY, (IMAGES, labels))
    assert mixed.shape == (20, 4) and mixed.dtype == np.float32
    near(mixed.sum(1), np.ones(20, np.float32), 1e-6)
    share = mixed[np.arange(20), labels].min()
    order = [
        int(np.argmin(np.abs(images[i] - share * IMAGES[i] - (1 - share) * IMAGES).sum((1, 2, 3)))) for i in range(20)
    ]
    assert sorted(order) == list(range(20))
    near(images, share * IMAGES + (1 - share) * IMAGES[order], 1e-5)
    same_bits(tg.jit(mix)(KEY, {"image": IMAGES, "label": labels}), {"image": images, "label": mixed})
    with pytest.raises(TypeError, match="labels are integers; say how many classes="):
        augment.mixup()(KEY, (IMAGES, labels))
    with pytest.raises(ValueError, match="alpha must be above 0 and at most 1, got 2"):
        augment.mixup(2)


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_how_much_is_mixed_follows_a_beta_distribution(alpha: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    mix = augment.mixup(alpha)
    batch = np.zeros((2, 1, 1), np.float32), np.array([[1.0], [0.0]], np.float32)
    shares = tg.vmap(lambda key: mix(key, batch)[1])(tg.random.split(KEY, 800))
    # The second label is 0 where it is mixed with itself, and 1 - λ otherwise.
    found = 1 - shares[shares[:, 1, 0] > 0][:, 1, 0]
    assert len(found) > 200
    assert stats.kstest(found, "beta", args=(alpha, alpha)).pvalue > 1e-3 if alpha == 1 else 0.35 < found.std() < 0.45
