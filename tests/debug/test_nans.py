"""The first NaN of transformed and jitted functions, met on the way."""

from __future__ import annotations

import re
import threading
import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg

X = np.array([4.0, 0.0])


def _f(x: Any) -> Any:
    return np.sum(np.sqrt(x) * x)


def _rows(x: Any) -> Any:
    return np.sqrt(x) * x


TRACED = {
    "grad": tg.grad(_f),
    "value_and_grad": tg.value_and_grad(_f),
    "jvp": lambda x: tg.jvp(_f, (x,), (np.ones(2),)),
    "vmap": tg.vmap(tg.grad(_rows)),
    "jacfwd": tg.jacfwd(_rows),
    "jacrev": tg.jacrev(_rows),
    "hessian": tg.hessian(_f),
    "jit": tg.jit(tg.grad(_f)),
    "jit on XLA": tg.jit(tg.grad(_f), backend="xla"),
    "jit that is given its arguments": tg.jit(tg.grad(_f), donate_argnums=0),
    "a jax array": lambda x: tg.grad(_f)(jnp.asarray(x, np.float32)),
}


@pytest.mark.parametrize("name", TRACED)
@pytest.mark.filterwarnings("ignore:a float64 result on XLA")
def test_the_first_nan_raises_and_is_explained(name: str) -> None:
    with tg.debug.nans(), pytest.raises(FloatingPointError, match=r"first (NaN|infinity) is made backward") as caught:
        TRACED[name](X.copy())
    assert isinstance(caught.value, tg.debug.NanFound)
    assert caught.value.explanation is not None
    assert caught.value.explanation.first.of == "sqrt"
    with tg.debug.nans():
        assert tg.grad(_f)(X + 1).tolist() == (1.5 * np.sqrt(X + 1)).tolist()
    with warnings.catch_warnings():  # and outside nothing raises
        warnings.simplefilter("ignore")
        TRACED[name](X.copy())


def test_the_error_says_who_was_called_where() -> None:
    step = tg.jit(tg.grad(_f))
    with tg.debug.nans(), pytest.raises(tg.debug.NanFound) as caught:
        step(X)
    assert re.match(
        r"'grad\(_f\)' \(\S*test_nans.py:\d+\), called at \S*test_nans.py:\d+ \(in test_the_error_says_who_was_called_where\): "
        r"the result is not finite. The first NaN is made backward at \S*test_nans.py:\d+ \(in _f\), in the derivative of sqrt\n",
        str(caught.value),
    )


def test_a_nan_that_comes_in_is_one_too() -> None:
    with tg.debug.nans(), pytest.raises(tg.debug.NanFound, match=r"x\[1\] is NaN already"):
        tg.jit(_f)(np.array([1.0, np.nan]))


def test_one_that_numpy_does_not_make_again_is_said_to_be_so() -> None:
    numbers = iter([np.nan, 1.0])
    with tg.debug.nans(), pytest.raises(tg.debug.NanFound, match="holds NaN; run again on NumPy it does not") as caught:
        tg.grad(lambda x: x * next(numbers))(1.0)
    assert caught.value.explanation is None


def test_other_threads_and_inner_transforms_are_left_alone() -> None:
    found: list[Any] = []

    def elsewhere() -> None:
        with np.errstate(all="ignore"):
            found.append(tg.jit(tg.grad(_f))(X))

    def mended(x: Any) -> Any:  # the gradient inside is NaN, and what is made of it is not
        return np.nan_to_num(tg.grad(_f)(x))

    with tg.debug.nans():
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert tg.jit(mended)(X).tolist() == [3.0, 0.0]
        with tg.debug.nans():
            pass
        with pytest.raises(tg.debug.NanFound):
            tg.jit(tg.grad(_f))(X)
    assert np.isnan(found[0][1])
    with np.errstate(all="ignore"):
        assert np.isnan(tg.jit(tg.grad(_f))(X)[1])
