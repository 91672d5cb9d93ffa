"""Systems of two equations: to the bits of NumPy's, or NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.linalg import LinAlgError

import tracegrad as tg
from tracegrad.ops.linalg import two_by_two

RNG = np.random.default_rng(0)
NUMBERS = np.array([-2.0, -1.0, -0.0, 0.0, 0.1, 1.0, 3.0])
FUNCTIONS: dict[str, tuple[Any, Any]] = {
    "solve": (two_by_two.solve, np.linalg.solve),
    "inv": (two_by_two.inv, np.linalg.inv),
    "slogdet": (two_by_two.slogdet, lambda a: tuple(np.linalg.slogdet(a))),
}

needs_their_bits = pytest.mark.skipif(not two_by_two.has_their_bits(), reason="LAPACK computes otherwise here")


def same(found: Any, expected: Any) -> bool:
    pairs = list(zip(found, expected, strict=True)) if isinstance(expected, tuple) else [(found, expected)]
    return all([(type(x), x.dtype, x.shape, x.tobytes()) == (type(y), y.dtype, y.shape, y.tobytes()) for x, y in pairs])


def systems(name: str, draw: Any) -> Any:
    """Arguments of a function: matrices that `draw` makes, and right-hand sides of all kinds."""
    for shape in [(2,), (2, 1), (2, 2), (2, 3), (2, 4)] if name == "solve" else [None]:
        for _ in range(60):
            yield (draw((2, 2)), draw(shape)) if shape else (draw((2, 2)),)


DRAWN = {
    "numbers of all sizes": lambda shape: RNG.normal(size=shape) * 10.0 ** RNG.integers(-12, 12, shape),
    "zeros and equals": lambda shape: RNG.choice(NUMBERS, shape),
    "transposed": lambda shape: RNG.normal(size=shape[::-1]).T,
    "ends of the range": lambda shape: RNG.choice([1e-320, 1e-300, 1e300, -2e-308, 1.0], shape),
    "what is not finite": lambda shape: RNG.choice([np.inf, -np.inf, np.nan, 0.0, 1.0, 2.0], shape),
}


@needs_their_bits
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("drawn", DRAWN)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_bit_is_numpys(name: str, drawn: str) -> None:
    own, theirs = FUNCTIONS[name]
    answered = 0
    for args in systems(name, DRAWN[drawn]):
        found = own(*args)
        if found is not None:
            answered += 1
            assert same(found, theirs(*args)), args
    assert answered or drawn in ("ends of the range", "what is not finite")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_other_arguments_are_numpys(name: str) -> None:
    own, _ = FUNCTIONS[name]
    a, b = RNG.normal(size=(2, 2)), RNG.normal(size=2)
    others = [
        a.astype("float32"),
        a + 0j,
        a[None],
        RNG.normal(size=(3, 3)),
        a.astype(int),
        np.zeros((2, 2)),
        np.ones((2, 2)),
    ]
    for other in others:
        assert own(*(other, b) if name == "solve" else (other,)) is None
    if name == "solve":
        for other in [b.astype("float32"), b + 0j, b[None, :, None], np.zeros((2, 0)), RNG.normal(size=(2, 9))]:
            assert own(a, other) is None


def test_where_any_bit_differs_they_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    inverse = np.linalg.inv

    def another(a: Any) -> Any:
        return np.nextafter(inverse(a), 0.0)

    monkeypatch.setattr(np.linalg, "inv", another)
    assert not two_by_two.has_their_bits.__wrapped__()
    monkeypatch.setattr(two_by_two, "has_their_bits", lambda: False)
    a = RNG.normal(size=(2, 2))
    assert two_by_two.solve(a, a) is two_by_two.inv(a) is two_by_two.slogdet(a) is None


def test_programs_and_eager_calls_have_numpys_bits_and_errors() -> None:
    def f(a: Any, b: Any) -> Any:
        return np.linalg.solve(a, b), np.linalg.inv(a), *np.linalg.slogdet(a)

    for _ in range(20):
        a, b = RNG.normal(size=(2, 2)), RNG.normal(size=2)
        for traced in (tg.jit(f), lambda a, b: tg.vjp(f, a, b)[0]):
            assert same(tuple(traced(a, b)), f(a, b))
    with pytest.raises(LinAlgError, match="Singular matrix"):
        tg.jit(np.linalg.solve)(np.ones((2, 2)), np.ones(2))
    sign, size = tg.jit(np.linalg.slogdet)(np.ones((2, 2)))
    assert (sign, size) == (0.0, -np.inf)


@needs_their_bits
def test_derivatives_take_the_short_way_to_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = RNG.normal(size=(2, 2)), RNG.normal(size=(2, 3))

    def f(a: Any, b: Any) -> Any:
        return np.sum(np.linalg.solve(a, b) ** 2) + np.linalg.solve(a, b[:, 0]) @ b[:, 1] + np.linalg.slogdet(a)[1]

    asked = []

    for theirs in (np.linalg.solve, np.linalg.inv):
        monkeypatch.setattr(
            np.linalg, theirs.__name__, lambda *args, f=theirs: (asked.append(type(args[0])), f(*args))[1]
        )
    found = tg.grad(f, argnums=(0, 1))(a, b)
    assert np.ndarray not in asked
    jitted = tg.jit(tg.grad(f, argnums=(0, 1)))(a, b)
    monkeypatch.undo()
    monkeypatch.setattr(two_by_two, "has_their_bits", lambda: False)
    by_numpy = tg.grad(f, argnums=(0, 1))(a, b)
    assert same(found, by_numpy) and same(jitted, by_numpy)
