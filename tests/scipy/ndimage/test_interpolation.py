"""Interpolation by splines against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

import tracegrad as tg
from tests.as_scipy import Cases, derivatives, on_xla, values
from tests.scipy.signal.test_convolving import complex_, real
from tracegrad.core.errors import ShapeError, UnsupportedFunctionError
from tracegrad.scipy import ndimage

MODES = ("reflect", "grid-mirror", "constant", "grid-constant", "nearest", "mirror", "wrap", "grid-wrap")
PLACES = np.random.default_rng(3).uniform(-9, 14, (2, 20))
HALVES = np.round(2 * PLACES) / 2
AFFINE, OFFSET = np.array([[0.9, 0.2], [-0.3, 1.1]]), np.array([0.3, -0.4])


def how(m: str, o: int) -> dict[str, object]:
    return {"order": o, "mode": m, "cval": 1.5}


EACH = [(m, o) for m in MODES for o in range(6)]
CASES: Cases = {
    **{f"places {m} {o}": (lambda l, x, c, m=m, o=o: l.map_coordinates(x, c, **how(m, o)), [real(5, 6), PLACES]) for m, o in EACH},
    **{f"halves {m} {o}": (lambda l, x, m=m, o=o: l.map_coordinates(x, HALVES, **how(m, o)), [real(5, 6)]) for m, o in EACH},
    **{f"shift {m} {o}": (lambda l, x, s, m=m, o=o: l.shift(x, s, **how(m, o)), [real(5, 6), np.array([1.3, -2.4])]) for m, o in EACH},
    **{f"zoom {m} {o}": (lambda l, x, m=m, o=o: l.zoom(x, (1.7, 0.6), **how(m, o)), [real(5, 6)]) for m, o in EACH},
    **{f"grid {m} {o}": (lambda l, x, m=m, o=o: l.zoom(x, (1.7, 0.6), grid_mode=True, **how(m, o)), [real(5, 6)]) for m, o in EACH if m not in ("constant", "wrap")},
    **{f"rotate {m} {o}": (lambda l, x, m=m, o=o: l.rotate(x, 30, **how(m, o)), [real(5, 6)]) for m, o in EACH},
    **{f"affine {m} {o}": (lambda l, x, a, b, m=m, o=o: l.affine_transform(x, a, b, (4, 4), **how(m, o)), [real(5, 6), AFFINE, OFFSET]) for m, o in EACH},
    "diagonal": (lambda l, x, a, b: l.affine_transform(x, a, b, order=1), [real(5, 6), np.array([0.9, 1.3]), OFFSET]),
    "homogeneous": (lambda l, x, a: l.affine_transform(x, a, order=1), [real(5, 6), np.column_stack([AFFINE, OFFSET])]),
    "square": (lambda l, x: l.affine_transform(x, np.vstack([np.column_stack([AFFINE, OFFSET]), [0, 0, 1.0]])), [real(5, 6)]),
    "planes": (lambda l, x: (l.rotate(x, 90, axes=(0, 2), order=1), l.rotate(x, 20.0, axes=(1, 2), reshape=False)), [real(3, 4, 5)]),
    "complex": (lambda l, x: l.map_coordinates(x, PLACES, mode="mirror"), [complex_(5, 6)]),
    "whole": (lambda l, x: (l.zoom(x, 2.0, order=1), l.zoom(x, 3.3, order=1, mode="nearest"), l.zoom(x, 1)), [real(7, 5)]),
    "splines": (lambda l, x: (l.spline_filter(x), l.spline_filter1d(x, 2, mode="reflect"), l.spline_filter1d(x, 1)), [real(5, 6)]),
    "coefficients": (lambda l, x: l.map_coordinates(x, PLACES, mode="mirror", prefilter=False), [real(5, 6)]),
    "one element": (lambda l, x: l.map_coordinates(x, [PLACES[0]], order=1, mode="reflect"), [real(1)]),
}  # fmt: skip


def test_values() -> None:
    values(ndimage, scipy.ndimage, CASES)


def test_derivatives() -> None:
    smooth = [name for name in list(CASES)[::37] if not name.startswith("halves")]
    derivatives(ndimage, {name: CASES[name] for name in [*smooth, "planes", "complex", "diagonal"]})
    derivatives(
        ndimage, {"twice": (lambda l, x, c: l.map_coordinates(x, c, mode="mirror"), [real(4), PLACES[:1, :4]])}, 2
    )


@pytest.mark.slow
def test_on_xla() -> None:
    pytest.importorskip("jax")
    on_xla(ndimage, {name: CASES[name] for name in ("places reflect 1", "shift nearest 3", "affine constant 1")})


def test_derivative_in_the_angle() -> None:
    x = real(5, 6)
    f = lambda a: ndimage.rotate(x, a, reshape=False, mode="mirror")
    np.testing.assert_allclose(
        tg.vjp(f, 20.0)[0], scipy.ndimage.rotate(x, 20.0, reshape=False, mode="mirror"), atol=1e-12
    )
    derivatives(ndimage, {"angle": (lambda l, a: f(a), [np.float64(20.0)])})


def test_an_image_is_registered() -> None:
    """The shift between two images, found by gradients through the interpolation."""
    y, x = np.mgrid[:16.0, :16.0]
    image = np.exp(-((y - 7) ** 2 + (x - 8) ** 2) / 12)
    moved = scipy.ndimage.shift(image, (0.7, -1.2), mode="nearest")
    loss = lambda s: np.sum((ndimage.shift(image, s, mode="nearest") - moved) ** 2)
    s = np.zeros(2)
    for _ in range(6):
        r, j = (
            ndimage.shift(image, s, mode="nearest") - moved,
            tg.jacfwd(lambda s: ndimage.shift(image, s, mode="nearest"))(s),
        )
        s = s - np.linalg.lstsq(j.reshape(-1, 2), r.ravel())[0]
    np.testing.assert_allclose(s, [0.7, -1.2], atol=1e-6)
    np.testing.assert_allclose(tg.grad(loss)(s), 0, atol=1e-6)


def test_integers_are_rounded() -> None:
    x = np.arange(30).reshape(5, 6) ** 2
    for m in ("constant", "wrap"):
        f = lambda l, x, m=m: l.map_coordinates(x, PLACES, order=1, mode=m)
        np.testing.assert_array_equal(tg.jit(lambda x, f=f: f(ndimage, x))(x), f(scipy.ndimage, x))


def test_errors() -> None:
    x = np.ones((3, 4))
    for call, message in [
        (lambda x: ndimage.map_coordinates(x, [x[0]]), r"map_coordinates at .*test_interpolation\.py:\d+.* \(d, \.\.\.\) for an input of d axes"),
        (lambda x: ndimage.affine_transform(x, x), r"affine_transform at .*the matrix must be \(2,\), \(2, 2\), \(2, 3\) or \(3, 3\), got f64\[3,4\]"),
        (lambda x: ndimage.rotate(x, 30, axes=(0, 0)), r"rotate at .*axes must be two of the input's, got \(0, 0\)"),
    ]:  # fmt: skip
        with pytest.raises(ShapeError, match=message):
            tg.jit(call)(x)
    for call, message in [
        (
            lambda z: ndimage.zoom(x, z),
            r"zoom by traced factors at .*test_interpolation\.py:\d+[\s\S]*affine_transform",
        ),
        (
            lambda a: ndimage.rotate(x, a),
            r"rotate by a traced angle at .*test_interpolation\.py:\d+[\s\S]*reshape=False",
        ),
    ]:
        with pytest.raises(UnsupportedFunctionError, match=message):
            tg.jit(call)(2.0)
    with pytest.raises(ValueError, match="the order of splines must be from 0 to 5, got 6"):
        tg.jit(lambda x: ndimage.shift(x, 1.0, order=6))(x)
