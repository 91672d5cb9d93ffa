"""Structural zeros inside of an array: what `where`, `maximum`, an index or a limit did not take.

A tangent or cotangent that is zero as a whole is None. One that is zero in places, because of the program's structure and
whatever the numbers are, is `Masked`: a value, and the mask of the places where it counts. `0 * inf` is NaN in
arithmetic, and should be; but what the mask covers is zero whatever it is multiplied by, so the branch that was not taken adds
nothing, even where its derivative is infinite. No rule looks at the numbers in a cotangent to find that out: such a rule
would be wrong as soon as it is differentiated again.

Masks travel with derivatives in both directions: through elementwise ops as they are, and through ops whose
derivative has no negative coefficients (`Op.nonnegative`: those that move, pick and add up elements) as arrays do. An op that
tells nothing about masks gets plain arrays, and so do the users of a transform.

A mask costs nothing until somebody needs it: it is an expression, made an array at the first op that must know, which
is one at the end of its way (unless the zeros are there already) or one whose partial derivatives may be infinite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.numpy_warnings import again, has_warned
from tracegrad.core.op import JvpRule, Params, VjpRule, Wanted
from tracegrad.core.types import PYTHON_SCALARS, Shape


class Mask:
    """Where an array may differ from zero: booleans that broadcast against it, made when they are first asked for.

    `make` makes them of what the `parents` are. Chains of masks are as long as those of the equations that they belong to, so
    that evaluation is a loop. `rest` is the mask of all other places, where there is one.
    """

    __slots__ = ("_array", "_make", "_parents", "rest")

    def __init__(self, make: Callable[..., Any], *parents: Mask) -> None:
        self._make: Callable[..., Any] | None = make
        self._parents: tuple[Mask, ...] = parents
        self._array: Any = None
        self.rest: Mask | None = None

    @property
    def array(self) -> Any:
        if self._make is not None and not self._parents:
            self._array, self._make = self._make(), None
        elif self._make is not None:
            waiting = [self]
            while waiting:
                mask = waiting[-1]
                missing = [m for m in mask._parents if m._make is not None]
                if missing:
                    waiting += missing
                    continue
                waiting.pop()
                if mask._make is not None:
                    mask._array = mask._make(*[m._array for m in mask._parents])
                    mask._make, mask._parents = None, ()
        return self._array

    def __and__(self, other: Mask) -> Mask:
        return self if other is self else Mask(np.logical_and, self, other)

    def __or__(self, other: Mask) -> Mask:
        return self if other is self else Mask(np.logical_or, self, other)


def parted(condition: Callable[[], Any]) -> tuple[Mask, Mask]:
    """The mask of the places where a condition holds, and that of the others."""
    holds = Mask(condition)
    fails = Mask(np.logical_not, holds)
    holds.rest, fails.rest = fails, holds
    return holds, fails


class Masked:
    """A tangent or cotangent that counts where the mask holds, and is zero elsewhere whatever its value there.

    `clean` says that the value is zero there too, so that it is the whole truth without the mask.
    """

    __slots__ = ("clean", "mask", "value")

    def __init__(self, value: Any, mask: Mask, clean: bool) -> None:
        self.value = value
        self.mask = mask
        self.clean = clean

    def filled(self) -> Any:
        """The array, with its zeros."""
        return self.value if self.clean else np.where(self.mask.array, self.value, 0)

    def __add__(self, other: Any) -> Any:
        """The sum with another one, or with an array."""
        if type(other) is not Masked:
            return self.filled() + other
        if self.mask is other.mask:
            return Masked(self.value + other.value, self.mask, self.clean and other.clean)
        if self.mask.rest is other.mask:
            return np.where(self.mask.array, self.value, other.value)
        return Masked(self.filled() + other.filled(), self.mask | other.mask, True)


def filled(d: Any) -> Any:
    """A tangent or cotangent as an array with its zeros, or None."""
    return d.filled() if type(d) is Masked else d


def plus(x: Any, y: Any) -> Any:
    """The sum of two tangents or cotangents that are not None."""
    try:
        return y + x if type(y) is Masked else x + y
    except TypeError as error:
        if has_warned(error):
            return again(plus, x, y)
        raise


def reduced(mask: Mask, big: Shape, small: Shape, axes: Sequence[int]) -> Mask:
    """The mask of an array of the shape `small` that was broadcast to `big` along these axes of that: one of the places
    that an element went to is enough."""

    def make(holds: Any) -> Any:
        if np.ndim(holds) < len(big):
            holds = np.reshape(holds, (1,) * (len(big) - np.ndim(holds)) + np.shape(holds))
        holds = np.any(holds, tuple(axes), keepdims=True)
        return np.reshape(holds, np.shape(holds)[len(big) - len(small) :])

    return Mask(make, mask)


def quiet(x: Any, mask: Mask, neutral: float) -> Any:
    """An input of an op with a harmless number in the places that do not count, so that a partial derivative there
    neither is infinite nor warns."""
    return x if type(x) in PYTHON_SCALARS else np.where(mask.array, x, neutral)


def image(rule: Callable[[Sequence[Any]], Any], derivatives: Sequence[Any]) -> Mask:
    """The mask of what a rule without negative coefficients makes of tangents or cotangents: what it makes of ones in their
    places is not zero there."""

    def make(*holds: Any) -> Any:
        masks = iter(holds)
        ones = [None if d is None else np.ones(d.shape, d.dtype) for d in map(_value, derivatives)]
        ones = [np.where(next(masks), one, 0) if type(d) is Masked else one
                for d, one in zip(derivatives, ones, strict=True)]  # fmt: skip
        return np.not_equal(filled(rule(ones)), 0)

    return Mask(make, *[d.mask for d in derivatives if type(d) is Masked])


def _value(d: Any) -> Any:
    return d.value if type(d) is Masked else d


def sparse(rule: Callable[[Any], Any], d: Any) -> Any:
    """What the rule makes of a tangent or cotangent, where it leaves places out: None, or masked."""
    result = rule(d)
    if result is None:
        return None
    return Masked(result, Mask(lambda: np.not_equal(filled(rule(np.ones(d.shape, d.dtype))), 0)), True)


def masking_jvp(rule: JvpRule, positions: Sequence[int] | None = None) -> JvpRule:
    """The forward rule of an op that puts its inputs at these positions (None: all) side by side: those without a tangent
    leave their places zero."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        tangent = rule(primals, tangents, out, params)
        joined = tangents if positions is None else [tangents[i] for i in positions]
        if tangent is None or all([t is not None for t in joined]):
            return tangent
        return Masked(tangent, image(lambda t: rule(primals, t, out, params), tangents), True)

    return jvp


def masking_vjp(rule: VjpRule, position: int) -> VjpRule:
    """The reverse rule of an op whose output does not have all elements of its input at this position."""

    def vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
        cotangents = list(rule(wanted, ct, out, primals, params))
        if position in wanted and cotangents[i := wanted.index(position)] is not None:
            cotangents[i] = Masked(
                cotangents[i], image(lambda c: rule((position,), c[0], out, primals, params)[0], [ct]), True
            )
        return cotangents

    return vjp
