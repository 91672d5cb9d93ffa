"""Complex parameters as pairs of real ones."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import checked
from tracegrad.core.types import number_kind, type_of
from tracegrad.optim.base import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    OptState,
    Params,
    Updates,
    with_extra_args_support,
)
from tracegrad.typing import Array, PyTree


class SplitRealAndImaginaryArrays(NamedTuple):
    """The two parts of a complex array."""

    real: Array
    imaginary: Array


class SplitRealAndImaginaryState(NamedTuple):
    """`inner_state`: the state of the transformation within, of the parts."""

    inner_state: OptState


def _parted(x: Any) -> Any:
    if x is None or number_kind(type_of(x).dtype) != "c":
        return x
    return SplitRealAndImaginaryArrays(np.real(x), np.imag(x))


def _is_parted(x: Any) -> bool:
    return isinstance(x, SplitRealAndImaginaryArrays)


def _whole(x: Any) -> Any:
    return x.real + x.imaginary * 1j if _is_parted(x) else x


@checked
def split_real_and_imaginary(inner: GradientTransformation) -> GradientTransformationExtraArgs:
    """A transformation that sees each complex parameter as two real ones, its real and its imaginary part: what Adam, for one, makes
    of them then is not the same in each direction of the plane. Others are as they are.

    The gradient of a real loss that `tg.grad` gives has the opposite imaginary part of the direction of steepest ascent, as in jax: conjugate it
    first.

    Args:
        inner: the transformation of real parameters.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.split_real_and_imaginary(tg.optim.scale_by_sign())
    >>> w = np.array([1.0 + 2.0j])
    >>> opt.update(np.array([-3.0 + 0.5j]), opt.init(w), w)[0]
    array([-1.+1.j])
    """
    within = with_extra_args_support(inner)

    def init(params: Params) -> OptState:
        return SplitRealAndImaginaryState(within.init(tree.map(_parted, params)))

    def update(
        updates: Updates, state: Any, params: Params | None = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        parts: PyTree = None if params is None else tree.map(_parted, params)
        made, inner_state = within.update(tree.map(_parted, updates), state.inner_state, parts, **extra_args)
        return tree.map(_whole, made, is_leaf=_is_parted), SplitRealAndImaginaryState(inner_state)

    return GradientTransformationExtraArgs(init, update)
