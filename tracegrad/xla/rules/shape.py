"""Ops that give arrays other shapes, join them and cut them."""

from __future__ import annotations

from typing import Any

from jax import lax

from tracegrad.core.backends import lowers
from tracegrad.core.types import ArrayType
from tracegrad.xla.values import alike, broadcast_to, cast, is_split


@lowers("reshape", "flat")
def _reshape(out: ArrayType, x: Any, **params: Any) -> Any:
    if not is_split(x):
        return lax.reshape(x, out.shape)
    # Axes of one element hide from jax which axis of the result is to be split.
    x = lax.squeeze(x, [i for i, n in enumerate(x.shape) if n == 1])
    x = lax.reshape(x, [n for n in out.shape if n != 1])
    return lax.expand_dims(x, [i for i, n in enumerate(out.shape) if n == 1])


@lowers("transpose")
def _transpose(out: ArrayType, x: Any, *, axes: tuple[int, ...]) -> Any:
    return lax.transpose(x, axes)


@lowers("broadcast_to")
def _broadcast_to(out: ArrayType, x: Any, *, shape: tuple[int, ...]) -> Any:
    return broadcast_to(x, shape)


@lowers("copy", "contiguous")
def _same(out: ArrayType, x: Any, *, order: str) -> Any:
    return x


@lowers("concatenate")
def _concatenate(out: ArrayType, *arrays: Any, axis: int) -> Any:
    return lax.concatenate(alike([cast(x, out.dtype) for x in arrays]), axis)


@lowers("split")
def _split(out: tuple[ArrayType, ...], x: Any, *, axis: int, sizes: tuple[int, ...]) -> Any:
    return lax.split(x, sizes, axis)


@lowers("stack")
def _stack(out: ArrayType, *arrays: Any, axis: int) -> Any:
    return lax.concatenate(alike([lax.expand_dims(cast(x, out.dtype), (axis,)) for x in arrays]), axis)


@lowers("unstack")
def _unstack(out: tuple[ArrayType, ...], x: Any, *, axis: int) -> Any:
    return [lax.squeeze(part, (axis,)) for part in lax.split(x, (1,) * len(out), axis)]


@lowers("roll")
def _roll(out: ArrayType, x: Any, *, shift: tuple[int, ...], axis: tuple[int, ...]) -> Any:
    for s, a in zip(shift, axis, strict=True):
        end, start = lax.split(x, (out.shape[a] - s, s), a)
        x = lax.concatenate([start, end], a)
    return x
