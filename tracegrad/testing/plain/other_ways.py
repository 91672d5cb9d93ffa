"""NumPy's other ways to the same, XLA's among them, and numbers that are rounded otherwise."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.scipy import special
from tracegrad.testing.plain.programs import Case, leaves_of, reread, run, scope_with, steps_of


def stirred(x: Any) -> Any:
    """Integers as float64; those whose sum that cannot hold, with noise in the last places."""
    if np.asarray(x).dtype.kind not in "iu":
        return x
    y = np.asarray(x, np.float64)
    noise = 1 + 4 * np.finfo(np.float64).eps * np.cos(np.arange(y.size)).reshape(y.shape)
    return np.where(np.abs(y) * y.size > 2.0**53, y * noise, y)


class OtherWays:
    """NumPy, but what it has several ways for goes another one: sums of products by `np.multiply` and `np.sum`, `np.outer` by
    einsum, which adds to zero, products of what is multiplied by one, as they have it in the place of what a mask leaves out."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def mean(self, a: Any, *args: Any, **keywords: Any) -> Any:
        return np.mean(stirred(a), *args, **keywords)

    def var(self, a: Any) -> Any:
        return np.var(stirred(a))

    def std(self, a: Any) -> Any:
        return np.std(stirred(a))

    def prod(self, a: Any, *args: Any, **keywords: Any) -> Any:
        return np.prod(np.multiply(a, np.asarray(a).dtype.type(1)), *args, **keywords)

    def matmul(self, a: Any, b: Any) -> Any:
        a, b = np.asarray(a), np.asarray(b)
        wide, tall = a if a.ndim > 1 else a[None], b if b.ndim > 1 else b[:, None]
        out = np.sum(wide[..., None] * tall[..., None, :, :], -2, dtype=np.result_type(a, b))
        out = out if b.ndim > 1 else out[..., 0]
        return out if a.ndim > 1 else out[0] if b.ndim < 2 else out[..., 0, :]

    def inner(self, a: Any, b: Any) -> Any:
        if not (np.ndim(a) and np.ndim(b)):
            return np.multiply(a, b)
        a = np.reshape(a, (*np.shape(a)[:-1], *(1,) * (np.ndim(b) - 1), -1))
        return np.sum(np.multiply(a, b), -1, dtype=np.result_type(a, b))

    def dot(self, a: Any, b: Any) -> Any:
        return self.inner(a, np.swapaxes(b, -1, -2) if np.ndim(b) > 1 else b)

    def vdot(self, a: Any, b: Any) -> Any:
        return self.inner(np.conj(np.ravel(a)), np.ravel(b))

    def tensordot(self, a: Any, b: Any, axes: int) -> Any:
        return np.multiply.outer(a, b)

    def outer(self, a: Any, b: Any) -> Any:
        return np.einsum("i,j", np.ravel(a), np.ravel(b))

    def einsum(self, subscripts: str, a: Any, b: Any) -> Any:
        return np.multiply(a, b)

    def reciprocal(self, x: Any) -> Any:
        found = np.reciprocal(x)
        return np.where(np.asarray(x) == 0, x, found)[()].astype(found.dtype) if found.dtype.kind in "iu" else found

    def clip(self, a: Any, low: Any, high: Any) -> Any:
        found = a if low is None else np.maximum(a, low)
        found = found if high is None else np.minimum(found, high)
        return np.asarray(found).astype(np.clip(a, low, high).dtype)

    def as_i8(self, x: Any) -> Any:
        found = x.astype("i8")
        if x.dtype.kind not in "fc":
            return found
        return np.where(np.abs(np.real(x)) < 2.0**63, found, ~found)[()]

    def signbit(self, x: Any) -> Any:
        return np.signbit(x) ^ np.isnan(x)

    def copysign(self, x: Any, y: Any) -> Any:
        return np.copysign(x, np.where(np.isnan(y), -y, y))

    def argsort(self, a: Any) -> Any:
        return np.argsort(a, kind="stable")

    def convolve(self, a: Any, v: Any) -> Any:
        a, v = np.atleast_1d(a), np.atleast_1d(v)
        out = np.zeros(a.size + v.size - 1, np.result_type(a, v))
        for k in range(v.size):
            out[k : k + a.size] += a * v[k]
        return out


class _SpecialOnXla:
    def __getattr__(self, name: str) -> Any:
        return getattr(special, name)

    def gammaln(self, x: Any) -> Any:
        found = special.gammaln(x)
        return found + np.finfo(found.dtype).eps * found.dtype.type(16)


class OnXla(OtherWays):
    """The same with what XLA makes of some things. It has zeros beside what is convolved, and infinity times these is NaN. Its
    compiler for CPUs (of jax 0.10.2) makes garbage of an exponential of what it finds to be NaN, as it does in a border: in
    exp(x / x), where x is lax.pad(y, 0.0, ...). A power of complex numbers overflows or underflows there where the power of the
    base's size does, or what its angle adds; and log1p of complex numbers is exact for small ones, of whose logarithms NumPy's
    has no digits."""

    special = _SpecialOnXla()

    def sum(self, a: Any, *args: Any, **keywords: Any) -> Any:
        found = np.sum(a, *args, **keywords)
        return found + found.dtype.type(0)

    def mean(self, a: Any, *args: Any, **keywords: Any) -> Any:
        found = super().mean(a, *args, **keywords)
        return found + found.dtype.type(0)

    def logaddexp(self, x: Any, y: Any) -> Any:
        found = np.logaddexp(x, y)
        return np.where(np.isnan(found), found.dtype.type(0), found)[()]

    def log1p(self, x: Any) -> Any:
        found = np.log1p(x)
        if found.dtype.kind != "c":
            return found
        real, imag = np.real(x), np.imag(x)
        return (np.log1p(real * (2 + real) + imag**2) / 2 + 1j * np.arctan2(imag, 1 + real)).astype(found.dtype)

    def power(self, x: Any, p: Any) -> Any:
        found = np.power(x, p)
        if found.dtype.kind != "c":
            return found
        parts = np.abs(x) ** np.real(p), np.exp(-np.imag(p) * np.angle(x))
        within = [(part != 0) & np.isfinite(part) for part in parts]
        return np.where(within[0] & within[1], found, math.nan)[()].astype(found.dtype)

    def float_power(self, x: Any, p: Any) -> Any:
        dtype = np.float_power(x, p).dtype
        return self.power(np.asarray(x, dtype), np.asarray(p, dtype))

    def convolve(self, a: Any, v: Any) -> Any:
        a, v = np.atleast_1d(a), np.atleast_1d(v)
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(a, v.size - 1), v.size)
        return np.sum(windows * v[::-1], -1, dtype=np.result_type(a, v))


def noisy_results(case: Case, args: Sequence[Any]) -> list[Any]:
    """What the program makes of its arguments if all that each line reads is rounded otherwise."""

    def noise(rng: np.random.Generator, name: str, x: Any) -> Any:
        dtype = np.asarray(x).dtype
        if dtype.kind not in "fc":
            return x
        size, turn = 30 * np.finfo(dtype).eps * rng.uniform(-1, 1, (2, *np.shape(x)))
        factor = 1 + size + (1j * turn if dtype.kind == "c" else 0)
        y = np.where(np.isfinite(x), x * factor, x).astype(dtype)
        return y if type(x) is np.ndarray else type(x)(y)

    drawn = [np.random.default_rng(seed) for seed in range(8)]
    return [found for rng in drawn for found in reread(case, args, functools.partial(noise, rng))]


def within_range(case: Case, args: Sequence[Any]) -> list[Any]:
    """What the program makes of its arguments with other numbers in the place of complex ones that are not finite, and of what
    is not on the way; and with zeros in the place of subnormal numbers."""
    values = dict(zip(case.names, args, strict=True))
    values |= {case.lines[number][0]: value for number, value, _ in steps_of(case, args)}

    def other(fill: complex, name: str, x: Any) -> Any:
        dtype = np.asarray(values[name]).dtype
        if dtype.kind != "c" and (dtype.kind != "f" or name in case.names):
            return x
        y = np.where(np.isfinite(values[name]), x, fill if dtype.kind == "c" else fill.real).astype(dtype)
        return y if type(x) is np.ndarray else type(x)(y)

    def flushed(name: str, x: Any) -> Any:
        dtype = np.asarray(x).dtype
        if dtype.kind != "f":
            return x
        y = np.where(np.abs(x) < np.finfo(dtype).tiny, dtype.type(0), x)
        return y if type(x) is np.ndarray else type(x)(y)

    fills = (0j, 0.75 - 0.25j, -400 - 400j, complex(math.nan, math.nan))
    normal = [tree.tree_map(lambda x: flushed("", x), found) for found in reread(case, args, flushed)]
    return normal + [found for fill in fills for found in reread(case, args, functools.partial(other, fill))]


def in_wide_numbers(case: Case, args: Sequence[Any]) -> list[Any]:
    """What the program makes of its arguments as long doubles, which hold what overflows and underflows on the way. The dtype's own
    ends, which `np.nan_to_num` and `np.nextafter` give, stay."""

    def wide(x: Any) -> Any:
        kind = np.asarray(x).dtype.kind
        if kind not in "fc":
            return x.copy() if type(x) is np.ndarray else x
        y = np.asarray(x).astype(np.longdouble if kind == "f" else np.clongdouble)
        return y if type(x) is np.ndarray else y[()]

    def narrow(x: Any, like: Any) -> Any:
        found, dtype = np.asarray(x), np.asarray(like).dtype
        return found.astype(dtype) if found.dtype.kind == dtype.kind and dtype.kind in "fc" else x

    given = {
        **scope_with(),
        **dict(zip(case.names, [x.copy() if type(x) is np.ndarray else x for x in args], strict=True)),
    }
    scope = {**scope_with(), **dict(zip(case.names, map(wide, args), strict=True))}
    target = ""
    try:
        for target, text in case.lines:
            exec(text, given)
            if "nan_to_num" in text or "nextafter" in text:
                scope[target] = tree.tree_map(wide, given[target])
            else:
                exec(text, scope)
    except Exception:
        return []
    found, expected = leaves_of(scope[target]), leaves_of(given[target])
    if len(found) != len(expected):
        return []
    return [[narrow(x, like) for x, like in zip(found, expected, strict=True)]]


_COMPARED = {"<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal"}


def elsewise(case: Case, args: Sequence[Any], on_xla: bool = False) -> list[Any]:
    """What the program makes of arguments with NumPy's other ways to multiply and add."""
    source = re.sub(r"(\w+) @ (\w+)", r"np.matmul(\1, \2)", case.source)
    source = re.sub(r"(\w+) \*\* (-?[\w.]+)", r"np.power(\1, \2)", source)
    source = re.sub(
        r"(np\.\w+\(\w+\)|\w+) (<=|>=|<|>) (-?[\w.]+)",
        lambda found: f"np.{_COMPARED[found[2]]}({found[1]}, {found[3]})",
        source,
    )
    source = re.sub(r"(\w+)\.astype\('i8'\)", r"np.as_i8(\1)", source)
    source = re.sub(r"\b(?!np\.)(\w+)\.(mean|sum)\(", r"np.\2(\1, ", source)
    source = re.sub(r"np\.(add|maximum)\.at\((\w+), ([^ ]+), (\d)\)", r"\2[\3] = np.\1(\2[\3], \4)", source)
    found = []
    for xp in (OtherWays(), OnXla()) if on_xla else (OtherWays(),):
        value, error = run(case.made(source, xp), [x.copy() if type(x) is np.ndarray else x for x in args])
        if error is None:
            found.append(value)
    return found + within_range(case, args) + in_wide_numbers(case, args) if on_xla else found
