from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.arguments import (
    NOT_NEGATIVE,
    SHARE,
    Decay,
    Growth,
    NotNegative,
    Positive,
    checked,
    dtype_of,
    is_number,
    is_within,
    require_function,
    require_within,
    shown,
    whole,
)  # fmt: skip
from tracegrad.typing import ArrayLike, DType


@checked
def made(
    rate: ArrayLike, count: int = 1, name: str = "", mu_dtype: DType = None, *, limit: float | None = None
) -> tuple[Any, ...]:
    return rate, count, name, mu_dtype, limit


def test_what_is_due_passes() -> None:
    for x in (1, 0.5, True, 1j, np.float32(2), np.ones(3), np.ones((), np.int8)):
        assert made(x, limit=None)[0] is x
    assert tg.jit(lambda x: made(x)[0] * 2)(1.0) == 2 and made(1.0, limit=None)[-1] is None
    assert made(1.0, 2, "a", "float32") == (1.0, 2, "a", "float32", None)
    assert made(1.0, name=3)[2] == 3  # type: ignore[arg-type]  # of which the annotation says nothing that is looked at


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: made("a"), "made at FILE: rate is a number, got 'a'"),
        (lambda: made("1e-3"), "rate is a number, got '1e-3'; write 0.001"),
        (lambda: made("8"), "got '8'; write 8"),
        (lambda: made([1.0]), r"rate is a number, got [1.0]"),
        (lambda: made(1.0, None), "count is a number, got None"),
        (lambda: made(1.0, limit="x"), "limit is a number or None, got 'x'"),
        (lambda: made(1.0, mu_dtype="zz"), "mu_dtype is a dtype such as np.float32, got 'zz'"),
        (lambda: made(1.0, lr=3), "has no argument 'lr'; its arguments are rate, count, name, mu_dtype, limit"),
        (lambda: made(shown), "rate is a number, got 'shown'; for a schedule of it write"),
        (lambda: whole(2.5, "f", "n"), "f at FILE: n is a whole number from 0 on, got 2.5"),
        (lambda: dtype_of("zz", "f"), "f at FILE: dtype is one of NumPy's, got 'zz'; write np.float32"),
        (lambda: require_function(3, "f", "g", "f(np.sin)"), "f at FILE: g is a function, got 3; write f(np.sin)"),
    ],
)  # fmt: skip
def test_errors_name_the_argument_and_the_line(call: Any, text: str) -> None:
    with pytest.raises(TypeError) as caught:
        call()
    found = re.sub(rf"{re.escape(__file__)}:\d+ \(in <lambda>\)", "FILE", str(caught.value))
    assert text in found and "FILE" in found


def test_whole_numbers() -> None:
    assert whole(np.int64(3), "f", "n") == 3 and type(whole(np.int64(3), "f", "n")) is int
    with pytest.raises(ValueError, match="n is a whole number from 1 on, got 0"):
        whole(0, "f", "n", 1)


def test_what_is_a_number() -> None:
    assert is_number(1) and is_number(np.ones(2)) and is_number(np.float32(1))
    assert not any(map(is_number, ("a", None, [1.0], np.array(["a"]), np.array([None]))))


def test_arguments_are_shown_without_what_is_ours_alone() -> None:
    assert shown(tg.optim.adam(1e-3)) == "a GradientTransformationExtraArgs" and shown("a") == "'a'"
    assert shown(np.ones((2, 3))) == "f64[2,3]"
    assert re.fullmatch(r"'.*<lambda>' \(.*test_arguments.py:\d+\)", shown(lambda x: x))


@checked
def bounded(eps: NotNegative, rate: Positive = 0.1, decay: Decay | None = 1.0, factor: Growth = 2) -> Any:
    return eps, rate, decay, factor


def test_numbers_within_bounds_pass() -> None:
    assert (
        bounded(0, 1e-9, None, 1) == (0, 1e-9, None, 1) and bounded(np.zeros(3))[2] == 1.0
    )  # which it may be by default
    assert tg.jit(lambda x: bounded(x)[0] * 2)(-1.0) == -2  # of which only the type is known


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: bounded(-1), ValueError, "bounded at FILE: eps is a number from 0 on, got -1"),
        (lambda: bounded(float("nan")), ValueError, "eps is a number from 0 on, got nan"),
        (lambda: bounded(1j), ValueError, "eps is a number from 0 on, got 1j"),
        (lambda: bounded(np.array([1.0, -1.0])), ValueError, "eps is a number from 0 on, got f64[2]"),
        (lambda: bounded("1"), TypeError, "eps is a number from 0 on, got '1'; write 1"),
        (lambda: bounded(0, rate=0), ValueError, "rate is a number above 0, got 0; the default is 0.1"),
        (lambda: bounded(0, decay=1.5), ValueError, "decay is a number from 0 to below 1 or None, got 1.5; the default is 1.0"),
        (lambda: bounded(0, factor=np.float32(0.5)), ValueError, "factor is a number from 1 on, got"),
        (lambda: bounded(0, factor=np.sin), TypeError, "for a schedule of it write tg.optim.inject_hyperparams"),
        (lambda: require_within("f", SHARE, a=[0.5, 2.0]), ValueError, "f at FILE: a is a number from 0 to 1, got [0.5, 2.0]"),
    ],
)  # fmt: skip
def test_numbers_out_of_bounds_are_named(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        call()
    found = re.sub(rf"{re.escape(__file__)}:\d+ \(in <lambda>\)", "FILE", str(caught.value))
    assert text in found


def test_what_is_within_bounds() -> None:
    assert is_within(SHARE, [0, 1.0]) and is_within(NOT_NEGATIVE, np.zeros((2, 2))) and is_within(SHARE, np.ones(0))
    assert not is_within(SHARE, 1.1) and not is_within(NOT_NEGATIVE, np.float32("nan"))
