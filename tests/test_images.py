"""Small integers, masks and tables of indices as in image processing: plain NumPy functions, traced, against NumPy itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp

jax.config.update("jax_enable_x64", True)

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (6, 8)).astype(np.uint8)
OTHER = RNG.integers(0, 256, (6, 8)).astype(np.uint8)
COLOUR = RNG.integers(0, 256, (4, 5, 3)).astype(np.uint8)
TABLE = (255 * (np.arange(256) / 255) ** 0.45).astype(np.uint8)
LABELS = RNG.integers(0, 4, (6, 8)).astype(np.int32)
FLOATS = RNG.uniform(0, 1, (6, 8))
KERNEL = RNG.uniform(-1, 1, (3, 3))
PALETTE = RNG.uniform(0, 255, (5, 3))


def wrapping(a: Any, b: Any) -> Any:
    """uint8 arithmetic is modulo 256."""
    return a + b, a - b, a * b, a + 200, -a, a // 7 * 7, a % 50


def bits(a: Any, b: Any) -> Any:
    return a & 0x0F, a | b, a ^ b, ~a, a >> 3, a << 2, (a[..., None] >> np.arange(8, dtype=np.uint8)) & 1


def saturating(a: Any, b: Any) -> Any:
    """Added in a wider type, so that nothing wraps."""
    return np.clip(a.astype(np.int16) + b, 0, 255).astype(np.uint8), np.minimum(a, 255 - b) + b


def looked_up(table: Any, a: Any) -> Any:
    return table[a], table[a[::2, 1:]], np.take(table, a), table[255 - a]


def thresholded(a: Any) -> Any:
    mask = a > 128
    return np.where(mask, 255, 0).astype(np.uint8), mask.astype(np.uint8) * a, a * mask, mask.sum(), np.sum(a[mask])


def equalised(a: Any) -> Any:
    counts = np.bincount(a.ravel(), minlength=256)
    cumulated = np.cumsum(counts)
    table = np.round(255 * (cumulated - cumulated.min()) / (a.size - 1)).astype(np.uint8)
    return table[a], counts


def of_labels(a: Any, labels: Any) -> Any:
    """The mean of each label, and an image of these."""
    counts = tnp.bincount(labels.ravel(), length=4)  # a size that is known without the labels
    means = tnp.bincount(labels.ravel(), weights=a.ravel(), length=4) / np.maximum(counts, 1)
    return means, means[labels], np.array([0, 10, 200, 255], np.uint8).take(np.arange(4))


def one_hot(labels: Any) -> Any:
    hot = labels[..., None] == np.arange(4)
    return hot, hot.sum((0, 1)), hot.astype(np.uint8).argmax(-1)


def painted(a: Any, labels: Any) -> Any:
    """Written into through masks."""
    out = a.copy()
    out[labels == 1] = 0
    out[labels == 2] += 100
    out[a > 200] = a[a > 200] // 2
    out[0, :] = 255
    return out


def eroded(a: Any) -> Any:
    """Morphology by the extremes of shifted copies."""
    padded = np.pad(a, 1, mode="edge")
    shifted = [padded[i : i + a.shape[0], j : j + a.shape[1]] for i in range(3) for j in range(3)]
    largest, smallest = np.max(np.stack(shifted), 0), np.min(np.stack(shifted), 0)
    mask = a > 100
    edges = mask[1:] != mask[:-1]
    return largest, smallest, largest - smallest, edges, np.diff(mask.astype(np.int8), axis=1)


def box_filtered(a: Any) -> Any:
    """Sums of windows by an integral image, which NumPy sums in uint64."""
    integral = np.pad(a.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    return (integral[3:, 3:] - integral[:-3, 3:] - integral[3:, :-3] + integral[:-3, :-3]) // 9


def by_windows(a: Any, kernel: Any) -> Any:
    """Convolution by shifted views."""
    n, m = a.shape[0] - 2, a.shape[1] - 2
    return sum(kernel[i, j] * a[i : i + n, j : j + m] for i in range(3) for j in range(3))


def sobel(a: Any) -> Any:
    i = a.astype(np.int32)
    x = i[:, 2:] - i[:, :-2]
    y = i[2:] - i[:-2]
    return np.hypot(x[1:-1], y[:, 1:-1]), np.abs(x), np.sqrt(np.sum(np.square(y)))


def grey(colour: Any) -> Any:
    weights = np.array([0.299, 0.587, 0.114])
    return (colour @ weights).astype(np.uint8), colour.mean(-1), colour[..., ::-1], colour.max((0, 1))


def quantised(colour: Any, palette: Any) -> Any:
    distances = np.sum((colour[:, :, None, :] - palette) ** 2, -1)
    nearest = np.argmin(distances, -1)
    return nearest, palette[nearest].astype(np.uint8)


def binned(a: Any) -> Any:
    blocks = a.reshape(3, 2, 4, 2)
    return (
        blocks.mean((1, 3)),
        blocks.max((1, 3)),
        a[::2, ::2],
        np.repeat(np.repeat(a, 2, 0), 2, 1),
        np.rot90(a),
        a.T.ravel(),
    )


def warped(a: Any, shift: Any) -> Any:
    """Bilinear, with indices made of traced places."""
    y, x = np.arange(6.0)[:, None] + shift[0], np.arange(8.0)[None, :] + shift[1]
    y, x = np.clip(y, 0, 4.999), np.clip(x, 0, 6.999)
    i, j = np.floor(y).astype(int), np.floor(x).astype(int)
    v, u = y - i, x - j
    return a[i, j] * (1 - v) * (1 - u) + a[i + 1, j] * v * (1 - u) + a[i, j + 1] * (1 - v) * u + a[i + 1, j + 1] * v * u


def normalised(f: Any, labels: Any) -> Any:
    """Statistics of a region, of which only the mask is known."""
    mask = labels == 2
    return (f - f[mask].mean()) / f[mask].std() * (f > 0.5), f[mask].max() - f[mask].min(), np.count_nonzero(mask)


def blended(f: Any, a: Any, b: Any) -> Any:
    return np.round(f * a + (1 - f) * b).astype(np.uint8), f * a + (1 - f) * b, np.where(f > 0.5, a, b)


def joint_histogram(a: Any, b: Any) -> Any:
    counts = np.bincount((a >> 6).ravel() * 4 + (b >> 6).ravel(), minlength=256)[:16].reshape(4, 4)
    p = counts / counts.sum()
    return counts, np.sum(np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0))


CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "wrapping": (wrapping, (IMAGE, OTHER)),
    "bits": (bits, (IMAGE, OTHER)),
    "saturating": (saturating, (IMAGE, OTHER)),
    "looked up": (looked_up, (TABLE, IMAGE)),
    "thresholded": (thresholded, (IMAGE,)),
    "equalised": (equalised, (IMAGE,)),
    "of labels": (of_labels, (IMAGE, LABELS)),
    "one hot": (one_hot, (LABELS,)),
    "painted": (painted, (IMAGE, LABELS)),
    "eroded": (eroded, (IMAGE,)),
    "box filtered": (box_filtered, (IMAGE,)),
    "by windows": (by_windows, (IMAGE, KERNEL)),
    "sobel": (sobel, (IMAGE,)),
    "grey": (grey, (COLOUR,)),
    "quantised": (quantised, (COLOUR, PALETTE)),
    "binned": (binned, (IMAGE,)),
    "warped": (warped, (FLOATS, np.array([0.3, 0.6]))),
    "normalised": (normalised, (FLOATS, LABELS)),
    "blended": (blended, (FLOATS, IMAGE, OTHER)),
    "joint histogram": (joint_histogram, (IMAGE, OTHER)),
}


def assert_same(found: Any, wanted: Any) -> None:
    found, wanted = tg.tree.leaves(found), tg.tree.leaves(wanted)
    assert len(found) == len(wanted)
    for i, (a, b) in enumerate(zip(found, wanted, strict=True)):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.dtype, a.shape) == (b.dtype, b.shape), i
        if b.dtype.kind in "biu":
            np.testing.assert_array_equal(a, b, str(i))
        else:
            np.testing.assert_allclose(a, b, 1e-12, 1e-12, err_msg=str(i))


@pytest.mark.parametrize("name", CASES)
def test_as_numpy(name: str) -> None:
    f, args = CASES[name]
    wanted = f(*args)
    assert_same(tg.jit(f)(*args), wanted)
    assert_same(tg.jit(f, backend="xla")(*args), wanted)
    batches = [np.stack([a, a[::-1]]) for a in args]
    examples = [f(*[b[i] for b in batches]) for i in range(2)]
    assert_same(tg.vmap(f)(*batches), tg.tree.tree_map(lambda *x: np.stack(x), *examples))


@pytest.mark.parametrize(
    "name, argument",
    [("by windows", 1), ("warped", 0), ("warped", 1), ("normalised", 0), ("blended", 0)],
)
def test_derivatives(name: str, argument: int) -> None:
    """With respect to what is not of integers, with values and without."""
    f, args = CASES[name]

    def loss(v: Any) -> Any:
        rest = [np.asarray(a, like=v) for a in args]  # tables for traced indices
        out = tg.tree.leaves(f(*rest[:argument], v, *rest[argument + 1 :]))
        return sum(np.sum(np.sin(x)) for x in out if x.dtype == np.float64)

    x = args[argument]
    h = RNG.normal(size=x.shape)
    wanted = (loss(x + 1e-6 * h) - loss(x - 1e-6 * h)) / 2e-6
    for transformed in (tg.grad(loss), tg.jit(tg.grad(loss))):
        np.testing.assert_allclose(np.sum(transformed(x) * h), wanted, 1e-5, 1e-6)


def test_a_table_that_is_not_traced() -> None:
    """NumPy indexes it itself, by the values of the image; where there are none, tnp.take does."""

    def f(weights: Any) -> Any:
        return np.sum(weights * TABLE[np.argsort(weights)])

    x = np.array([0.3, 0.1, 0.2])
    np.testing.assert_array_equal(tg.grad(f)(x), TABLE[np.argsort(x)])
    assert_same(tg.jit(lambda a: tnp.take(TABLE, a))(IMAGE), TABLE[IMAGE])
    with pytest.raises(TypeError, match=r"tnp.take\(table, i, axis=0\)"):
        tg.jit(lambda a: TABLE[a])(IMAGE)
