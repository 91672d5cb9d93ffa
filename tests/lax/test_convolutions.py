"""jax.lax's names of convolutions."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

import tracegrad as tg
from tests.compare import near
from tests.ops.test_conv import array, everything
from tracegrad import lax
from tracegrad.lax import (
    conv_dimension_numbers,
)


# Transposed convolutions: kernels of every size next to the strides.
@pytest.mark.parametrize("stride, size, apart", [(1, 3, 1), (2, 3, 1), (3, 2, 1), (2, 4, 1), (4, 1, 1), (2, 3, 2)])
def test_conv_transpose_against_jax(stride: int, size: int, apart: int, jax: Any) -> None:
    x, w = array(2, 5, 3), array(size, 3, 3, seed=1)
    options = [{}, {"transpose_kernel": True}, {"use_consistent_padding": True}]
    for padding, option in itertools.product(["SAME", "VALID", [(1, 2)], [(0, 0)]], options):
        f = lambda m: m.conv_transpose(x, w, (stride,), padding, rhs_dilation=(apart,), **option)
        near(f(lax), f(jax.lax))
    f = lambda m: lambda x, w: m.conv_transpose(x, w, (stride,), "SAME", rhs_dilation=(apart,), transpose_kernel=True)
    for a, b in zip(everything(tg, f(lax), [x, w]), everything(jax, f(jax.lax), [x, w]), strict=True):
        near(a, b)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_defaults_of_conv_transpose_against_jax(count: int, jax: Any) -> None:
    x, w = array(2, *(3,) * count, 4), array(*(2,) * count, 4, 3)
    f = lambda m: m.conv_transpose(x, w, (2,) * count, "SAME")
    near(f(lax), f(jax.lax))
    numbers = ("NC" + "HWD"[:count], "OI" + "HWD"[:count], "NC" + "HWD"[:count])
    x, w = array(2, 4, *(3,) * count), array(4, 5, *(2,) * count)
    f = lambda m: m.conv_transpose(x, w, (2,) * count, "VALID", None, numbers, True)
    near(f(lax), f(jax.lax))


def test_wrappers_against_jax(jax: Any) -> None:
    x, w = array(2, 3, 5, 4), array(4, 3, 2, 3)
    for f in (
        lambda m: m.conv(x, w, (2, 1), "SAME"),
        lambda m: m.conv_with_general_padding(x, w, (1, 2), [(1, 0), (2, 2)], (2, 1), (1, 2)),
        lambda m: m.conv_with_general_padding(x, w, (1, 2), "SAME", None, None),
    ):
        near(f(lax), f(jax.lax))
    assert tuple(conv_dimension_numbers(x.shape, w.shape, ("CNHW", "HOIW", "WNCH"))) == tuple(
        jax.lax.conv_dimension_numbers(x.shape, w.shape, ("CNHW", "HOIW", "WNCH"))
    )
    theirs = jax.lax.conv_dimension_numbers(x.shape, w.shape, None)
    assert tuple(conv_dimension_numbers(x.shape, w.shape, theirs)) == tuple(theirs)
