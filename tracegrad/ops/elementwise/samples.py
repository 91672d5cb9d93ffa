"""Inputs on which the generic tests try elementwise ops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from tracegrad.core.op import Sample


def unary_samples(low: float, high: float) -> Callable[[], Iterable[Sample]]:
    """Samples of one input: a matrix, a scalar, an empty array, with values in (low, high)."""

    def samples() -> Iterable[Sample]:
        rng = np.random.default_rng(0)
        yield Sample((rng.uniform(low, high, (2, 3)),))
        yield Sample((rng.uniform(low, high),))
        yield Sample((np.zeros((0, 2)) + (low + high) / 2,))

    return samples


def order_samples(orders: Sequence[int], low: float, high: float) -> Callable[[], Iterable[Sample]]:
    """Samples of an order, an integer, and a number between the limits."""

    def samples() -> Iterable[Sample]:
        yield Sample((np.array(orders), np.random.default_rng(0).uniform(low, high, (2, len(orders)))))
        yield Sample((np.array(orders[0]), (low + high) / 2))

    return samples


def binary_samples(
    low: float, high: float, low2: float | None = None, high2: float | None = None
) -> Callable[[], Iterable[Sample]]:
    """Samples of two inputs, with every way of broadcasting, the second in (low2, high2)."""
    low2 = low if low2 is None else low2
    high2 = high if high2 is None else high2

    def samples() -> Iterable[Sample]:
        rng = np.random.default_rng(1)
        for left, right in [((2, 3), (2, 3)), ((3,), (2, 3)), ((2, 1), (1, 3)), ((), (3,)), ((2, 2), ())]:
            yield Sample((rng.uniform(low, high, left), rng.uniform(low2, high2, right)))

    return samples


def integer_samples(inputs: int) -> Callable[[], Iterable[Sample]]:
    """Samples of inputs that are integers from 0 to 5."""

    def samples() -> Iterable[Sample]:
        rng = np.random.default_rng(2)
        yield Sample(tuple([rng.integers(0, 6, (2, 3)) for _ in range(inputs)]))
        if inputs == 2:
            yield Sample((rng.integers(0, 6, (2, 1)), rng.integers(0, 6, 3)))

    return samples
