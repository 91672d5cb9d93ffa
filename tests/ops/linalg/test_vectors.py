"""What depends on vectors of equal values raises."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.linalg import LinAlgError

import tracegrad as tg
from tests.transforms.test_spectral import slope, symmetric

W = np.random.default_rng(0).uniform(-1, 1, (4, 4))


def test_vectors_of_equal_values_raise() -> None:
    a, c = np.diag([1.0, 1.0, 3.0]), W[0, :3]
    f = lambda a: np.sum(c * np.linalg.eigh(a)[1][:, 0])
    for run in (
        lambda: tg.grad(f)(a),
        lambda: tg.jvp(f, (a,), (a,)),
        lambda: tg.jit(tg.grad(f))(a),
        lambda: tg.vmap(tg.grad(f))(np.stack([np.diag([1.0, 2.0, 3.0]), a])),
    ):
        with pytest.raises(LinAlgError) as raised:
            run()
        text = str(raised.value)
        assert re.search(r"eigh at .*test_vectors\.py:\d+ .* eigenvalues 0, 1 .*are equal \(1, 1\)", text), text
        assert "tnp.linalg.funm(a, g)" in text and "(v * g(w)) @ v.conj().T" in text
    assert np.isnan(tg.jit(tg.grad(f), backend="xla")(a)).all()
    whole = lambda a: np.sum(W[:3, :3] * np.linalg.eigh(a)[1] ** 2)
    with pytest.raises(LinAlgError, match="eigenvalues 0, 1 are equal"):
        tg.grad(whole)(a)
    cut = lambda a: (lambda v: np.sum(W[:3, :3] * (v @ v.T)))(np.linalg.eigh(a)[1][:, :1])
    with pytest.raises(LinAlgError, match="eigenvalues 0, 1 are equal"):
        tg.grad(cut)(a)
    with pytest.raises(LinAlgError, match=r"svd at .* singular values 0, 1 are equal .*\(u \* g\(s\)\) @ vh"):
        tg.grad(lambda a: np.sum(c * np.linalg.svd(a)[0][:, 0]))(np.diag([3.0, 3.0, 1.0]))
    with pytest.raises(LinAlgError, match=r"eig at .* eigenvalues 0, 1 are equal"):
        tg.grad(lambda a: np.sum(c * np.linalg.eig(a)[1][:, 2]).real)(a)


ALONE_STANDING: dict[str, Callable[[Any, Any], Any]] = {
    "column": lambda a, c: (c @ np.linalg.eigh(a)[1][:, 2]) ** 2,
    "from the back": lambda a, c: (c @ np.linalg.eigh(a)[1][..., -1]) ** 2,
    "slice": lambda a, c: np.sum((c @ np.linalg.eigh(a)[1][:, 2:]) ** 2),
    "row of the transpose": lambda a, c: (c @ np.linalg.eigh(a)[1].T[2]) ** 2,
    "left": lambda a, c: (c @ np.linalg.svd(a)[0][:, 0]) ** 2,
    "right": lambda a, c: (c @ np.linalg.svd(a)[2][0]) ** 2,
}


@pytest.mark.parametrize("name", ALONE_STANDING)
def test_vectors_that_stand_alone_keep_their_derivative(name: str) -> None:
    a, t, c = np.diag([1.0, 1.0, 3.0]), symmetric([0.5, -1.0, 0.2], seed=3), W[0, :3]
    f = lambda a: ALONE_STANDING[name](a, c)
    expected = slope(lambda x: f(a + x * t))
    gradients = tg.grad(f)(a), tg.jit(tg.grad(f))(a), tg.jit(tg.grad(f), backend="xla")(a)
    for gradient in gradients:
        np.testing.assert_allclose(np.sum(np.asarray(gradient) * t), expected, rtol=1e-8)
    np.testing.assert_allclose(tg.jvp(f, (a,), (t,))[1], expected, rtol=1e-8)
    second = slope(lambda x: np.sum(tg.grad(f)(np.diag([1.0, 1.5, 3.0]) + x * t) * t))
    np.testing.assert_allclose(np.sum(tg.hvp(f, (np.diag([1.0, 1.5, 3.0]),), (t,)) * t), second, rtol=1e-7)
