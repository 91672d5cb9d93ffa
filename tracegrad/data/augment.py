"""Images made anew for every epoch: pure functions of a key and a batch, for `tg.data.batches(..., transform=)`.

A batch is an array of images, [n, height, width] or [n, height, width, channels]; or a tuple of which that is the first, or a
dict of which it is "image". All else in the batch is left as it is. Each may be jitted and vmapped.

    transform = tg.jit(augment.chain(augment.crop(4), augment.flip()))
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from tracegrad import random
from tracegrad.core.arguments import whole
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.errors import DtypeError, ShapeError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import number_kind, type_of
from tracegrad.nn.activations import one_hot
from tracegrad.ops.elementwise import astype

Transform = Callable[[Any, Any], Any]

__all__ = ["chain", "crop", "cutout", "flip", "mixup", "noise", "rotate", "shift"]


def _of_images(name: str, function: Callable[[Any, Any], Any]) -> Transform:
    """(key, batch) -> batch, of a function of the key and the images."""

    @accepting_jax
    def transform(key: Any, batch: Any) -> Any:
        if isinstance(batch, dict):
            return {**batch, "image": function(key, _images(batch.get("image"), name, key))}
        if isinstance(batch, tuple):
            rest = (function(key, _images(batch[0], name, key)), *batch[1:])
            return type(batch)(*rest) if hasattr(batch, "_fields") else rest
        return function(key, _images(batch, name, key))

    transform.__name__ = transform.__qualname__ = name
    return transform


def _beside(x: Any, key: Any) -> Any:
    """An array that may be indexed by what is drawn with a key, which may be traced where the array is not."""
    return np.asarray(x, like=key) if type(key) is Tracer and type(x) is not Tracer else as_array(x)


def _images(x: Any, name: str, key: Any) -> Any:
    if x is None:
        raise KeyError(f"data.augment.{name}{at(user_source())}: the batch is a dict without images; call them 'image'")
    x = _beside(x, key)
    if np.ndim(x) not in (3, 4):
        raise ShapeError(
            f"data.augment.{name}{at(user_source())}: images are [n, height, width] or [n, height, width, channels], got "
            f"{type_of(x)}"
        )
    return x


def chain(*transforms: Transform) -> Transform:
    """One transform after another, each with a key of its own.

    >>> both = chain(flip(), noise(0.1))
    >>> both(np.zeros(2, np.uint32), np.ones((2, 3, 3))).shape
    (2, 3, 3)
    """

    def transform(key: Any, batch: Any) -> Any:
        for i, each in enumerate(transforms):
            batch = each(random.fold_in(key, i), batch)
        return batch

    return transform


def crop(padding: int, mode: Literal["constant", "edge", "reflect"] = "constant") -> Transform:
    """Each image cut anew, in its own size and at a drawn place, from itself with `padding` pixels more on every side.

    Args:
        padding: how many pixels an image moves at most, each way.
        mode: what is around it, as for `np.pad`: "constant" (0), "edge", "reflect".

    >>> import numpy as np, tracegrad as tg
    >>> x = np.arange(32.0).reshape(2, 4, 4)
    >>> tg.data.augment.crop(1)(tg.random.key(0), x).shape
    (2, 4, 4)
    """
    whole(padding, "data.augment.crop", "padding")

    def cropped(key: Any, x: Any) -> Any:
        n, height, width = x.shape[:3]
        sides = [(0, 0), (padding, padding), (padding, padding), (0, 0)][: x.ndim]
        moves = random.randint(key, (2, n), 0, 2 * padding + 1)
        rows, columns = moves[0][:, None] + np.arange(height), moves[1][:, None] + np.arange(width)
        return np.pad(x, sides, mode)[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]

    return _of_images("crop", cropped)


def shift(pixels: int = 1) -> Transform:
    """Each image moved by up to so many pixels down or up and right or left; 0 comes in from the side.

    >>> import numpy as np, tracegrad as tg
    >>> x = np.arange(32.0).reshape(2, 4, 4)
    >>> tg.data.augment.shift(1)(tg.random.key(0), x).shape
    (2, 4, 4)
    """
    return crop(pixels)


def flip(axis: int = 2, rate: float = 0.5) -> Transform:
    """Each image mirrored with probability `rate`: left to right with axis 2, upside down with axis 1.

    >>> import numpy as np, tracegrad as tg
    >>> x = np.arange(32.0).reshape(2, 4, 4)
    >>> tg.data.augment.flip()(tg.random.key(0), x).shape
    (2, 4, 4)
    """

    if axis not in (1, 2):
        raise ValueError(
            f"data.augment.flip{at(user_source())}: axis is 1 (upside down) or 2 (left to right), got {axis!r}"
        )

    def flipped(key: Any, x: Any) -> Any:
        chosen = random.uniform(key, (x.shape[0],), np.float32) < rate
        return np.where(np.reshape(chosen, (-1,) + (1,) * (x.ndim - 1)), np.flip(x, axis), x)

    return _of_images("flip", flipped)


def rotate(degrees: float) -> Transform:
    """Each image turned about its centre by an angle from -degrees to degrees, interpolated between pixels; 0 comes in.

    >>> import numpy as np, tracegrad as tg
    >>> x = np.arange(32.0).reshape(2, 4, 4)
    >>> tg.data.augment.rotate(10.0)(tg.random.key(0), x).shape
    (2, 4, 4)
    """

    def rotated(key: Any, x: Any) -> Any:
        n, height, width = x.shape[:3]
        images = _floats(x, "rotate")
        angle = random.uniform(key, (n, 1, 1), np.float32, -1, 1) * np.float32(math.radians(degrees))
        down = np.arange(height, dtype=np.float32)[:, None] - np.float32((height - 1) / 2)
        right = np.arange(width, dtype=np.float32) - np.float32((width - 1) / 2)
        # Where in the image a pixel comes from.
        rows = np.cos(angle) * down + np.sin(angle) * right + np.float32((height - 1) / 2)
        columns = np.cos(angle) * right - np.sin(angle) * down + np.float32((width - 1) / 2)
        top, left = np.floor(rows), np.floor(columns)
        out: Any = 0
        for row, by_row in ((top, 1 - (rows - top)), (top + 1, rows - top)):
            for column, by_column in ((left, 1 - (columns - left)), (left + 1, columns - left)):
                inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
                i = astype(np.clip(row, 0, height - 1), np.int32)
                j = astype(np.clip(column, 0, width - 1), np.int32)
                weight = astype(np.where(inside, by_row * by_column, 0), images.dtype)
                pixels = images[np.arange(n)[:, None, None], i, j]
                out = out + pixels * (weight if x.ndim == 3 else weight[..., None])
        return out

    return _of_images("rotate", rotated)


def noise(scale: float) -> Transform:
    """Normal numbers of standard deviation `scale` added to each pixel.

    >>> import numpy as np, tracegrad as tg
    >>> x = np.arange(32.0).reshape(2, 4, 4)
    >>> tg.data.augment.noise(0.1)(tg.random.key(0), x).shape
    (2, 4, 4)
    """

    def noisy(key: Any, x: Any) -> Any:
        x = _floats(x, "noise")
        return x + astype(random.normal(key, x.shape, np.float32) * np.float32(scale), x.dtype)

    return _of_images("noise", noisy)


def cutout(size: int) -> Transform:
    """A square of `size` pixels, anywhere in each image, set to 0 (DeVries and Taylor 2017). At the border, part of it is
    outside.

    >>> import numpy as np, tracegrad as tg
    >>> x = np.arange(32.0).reshape(2, 4, 4)
    >>> tg.data.augment.cutout(2)(tg.random.key(0), x).shape
    (2, 4, 4)
    """

    whole(size, "data.augment.cutout", "size", 1)

    def cut(key: Any, x: Any) -> Any:
        n, height, width = x.shape[:3]
        down, right = random.split(key)

        def inside(key: Any, length: int) -> Any:
            first = random.randint(key, (n, 1), 0, length) - size // 2
            return (np.arange(length) >= first) & (np.arange(length) < first + size)

        hidden = inside(down, height)[:, :, None] & inside(right, width)[:, None, :]
        return np.where(hidden if x.ndim == 3 else hidden[..., None], np.zeros((), x.dtype), x)

    return _of_images("cutout", cut)


_TRIES = 40


def mixup(alpha: float = 0.2, classes: int | None = None) -> Transform:
    """Each image and its label mixed with those of another (Zhang et al. 2017): x = λ x₁ + (1 - λ) x₂, with one λ for a batch,
    of the distribution Beta(alpha, alpha).

    Args:
        alpha: above 0 and at most 1: the smaller, the less is mixed.
        classes: the number of classes, where labels are integers; they become distributions over these.

    A batch is a tuple (images, labels) or a dict with "image" and "label"; labels come out as floats [n, classes], for
    `tg.nn.softmax_cross_entropy`.

    >>> import numpy as np, tracegrad as tg
    >>> x, y = np.ones((2, 4, 4)), np.array([0, 2])
    >>> mixed, labels = tg.data.augment.mixup(0.2, classes=3)(tg.random.key(0), (x, y))
    >>> mixed.shape, labels.sum(1).tolist()
    ((2, 4, 4), [1.0, 1.0])
    """
    if not 0 < alpha <= 1:
        raise ValueError(f"data.augment.mixup{at(user_source())}: alpha must be above 0 and at most 1, got {alpha}")

    @accepting_jax
    def mix(key: Any, batch: Any) -> Any:
        images, labels = (batch["image"], batch["label"]) if isinstance(batch, dict) else batch
        images, labels = _floats(_images(images, "mixup", key), "mixup"), _beside(labels, key)
        if number_kind(type_of(labels).dtype) in "iu":
            if classes is None:
                raise TypeError(
                    f"data.augment.mixup{at(user_source())}: labels are integers; say how many classes= there are"
                )
            labels = one_hot(labels, classes, dtype=images.dtype)
        draws, order = random.split(key)
        # Jöhnk's method, with so many tries at once that one of them succeeds: each does so in at least half of all cases.
        u = np.power(random.uniform(draws, (2, _TRIES), np.float32), np.float32(1 / alpha))
        good = u[0] + u[1] <= 1
        first = np.argmax(good)
        # Where both have underflowed, as with small alpha they do, λ is 0 or 1.
        total = u[0][first] + u[1][first]
        share = np.where(total > 0, u[0][first] / np.where(total > 0, total, 1), 1)
        share = astype(np.where(good[first], share, 0.5), images.dtype)
        other = random.permutation(order, images.shape[0])
        images = share * images + (1 - share) * images[other]
        labels = astype(share, labels.dtype) * labels + astype(1 - share, labels.dtype) * labels[other]
        return {**batch, "image": images, "label": labels} if isinstance(batch, dict) else (images, labels)

    return mix


def _floats(x: Any, name: str) -> Any:
    if number_kind(type_of(x).dtype) != "f":
        raise DtypeError(
            f"data.augment.{name}{at(user_source())}: images must be floats, got {type_of(x)}; write "
            "images.astype(np.float32) / 255"
        )
    return x
