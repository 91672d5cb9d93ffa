"""Difference quotients at kinks and jumps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.lax  # for the ops that come with it
import tracegrad.random
from tracegrad.testing import (
    GradientError,
    check_grads,
)


def test_kinks_are_reported_and_what_lies_beside_them_is_not_right() -> None:
    report = check_grads(np.abs, (np.array([0.0, 1.0]),), order=1)
    assert {k.output for k in report.kinks} == {"output"}
    assert all(k.left < 0 < k.right or k.right < 0 < k.left for k in report.kinks)

    @tg.custom_jvp
    def steep(x: Any) -> Any:
        return np.abs(x)

    steep.defjvp(lambda p, t: (np.abs(p[0]), 3.0 * t[0]))
    with pytest.raises(GradientError):
        check_grads(steep, (np.array([0.0]),), order=1)


def test_at_a_jump_there_is_no_derivative_to_be_wrong() -> None:
    steps = lambda x: np.where(x > 1.0, 3.0 * x, x)  # from 1 to 3 at 1
    assert check_grads(steps, (np.array([1.0, 0.5]),)).checked == 8
    with pytest.raises(GradientError):
        check_grads(lambda x: tg.lax.stop_gradient(steps(x)), (np.array([1.0, 0.5]),))
    # The derivative of a maximum jumps at a tie.
    assert check_grads(np.maximum, (np.array([1.0, 2.0]), np.array([1.0, 3.0]))).checked == 8


@pytest.mark.parametrize("kind", [TypeError, AttributeError, SystemError, np.exceptions.ComplexWarning])
def test_whatever_a_function_says_of_complex_numbers_its_quotients_are_of_real_ones(kind: type[Exception]) -> None:
    """C code that goes on with an error pending, as SciPy's brentq does, has it come out as any other."""

    def square(x: Any) -> Any:
        if np.iscomplexobj(x):
            raise kind("__call__")
        return x * x

    tg.testing.check_grads(square, (np.array([0.5, -2.0]),), order=1)


def test_a_function_whose_result_is_another_of_complex_numbers() -> None:
    """A spectrum that is one-sided of real numbers alone, for which no complex step can be taken."""
    power = lambda x: np.abs((np.fft.fft if np.iscomplexobj(x) else np.fft.rfft)(x)) ** 2
    assert check_grads(power, (np.array([1.0, 2.0, 0.5]),)).checked > 0
