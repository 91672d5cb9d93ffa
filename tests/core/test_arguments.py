from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.arguments import checked, dtype_of, is_number, require_function, shown, whole
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
