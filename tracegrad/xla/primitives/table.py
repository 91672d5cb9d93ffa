"""jax's primitives by name, each with what we bind for it; and a jaxpr run by them.

A rule takes our arrays, traced or not, and the primitive's params by name, and returns an array, or a list where the primitive has
several results:

    @binds("cumsum")
    def _(x, *, axis, reverse):
        return lax.cumsum(x, axis, reverse)

What comes out has the dtype that jax says. A typed key of jax's (`jax.random.key`) is here one uint64, so that keys are shaped,
indexed and carried like any other array; see random.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numpy as np

from tracegrad.core.backends import xla
from tracegrad.core.context import context
from tracegrad.core.errors import (
    Imported,
    Source,
    UnsupportedFunctionError,
    is_of_the_user,
    location_of,
    resolve,
    user_source,
)
from tracegrad.core.trace import strengthened
from tracegrad.core.types import type_of
from tracegrad.ops.elementwise import astype

_Rule = TypeVar("_Rule", bound=Callable[..., Any])

PRIMITIVES: dict[str, Callable[..., Any]] = {}
# Those whose rule takes the whole equation: (eqn, *values).
EQUATIONS: dict[str, Callable[..., Any]] = {}


def binds(*names: str, table: dict[str, Callable[..., Any]] = PRIMITIVES) -> Callable[[_Rule], _Rule]:
    """Have a function be the rule for the primitives of these names."""

    def registered(rule: _Rule) -> _Rule:
        for name in names:
            assert name not in table, name
            table[name] = rule
        return rule

    return registered


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """The rule of a primitive whose params say nothing to us: how exactly an accelerator computes, and where arrays lie."""
    return lambda *inputs, **_: function(*inputs)


def is_key(dtype: Any) -> bool:
    """Whether a dtype of jax's is none of NumPy's: that of typed keys."""
    return not isinstance(dtype, np.dtype | type)


def dtype_here(dtype: Any) -> np.dtype[Any]:
    """A dtype of jax's as we have it."""
    if not is_key(dtype):
        return np.dtype(dtype)
    if str(dtype) == "key<fry>":
        return np.dtype(np.uint64)
    raise UnsupportedFunctionError(
        f"from_jax: keys of dtype {dtype} are none of threefry's, of which alone tracegrad makes random bits; write "
        "jax.random.key(seed), or impl='threefry2x32'"
    )


def key_of(x: Any) -> Any:
    """jax's array of typed keys as we have it."""
    dtype_here(x.dtype)
    pairs = np.asarray(xla().jax.random.key_data(x))
    return (pairs[..., 0].astype(np.uint64) << np.uint64(32) | pairs[..., 1])[()]


def run_closed(closed: Any, inputs: Sequence[Any]) -> list[Any]:
    """What a jaxpr with its constants (jax.extend.core.ClosedJaxpr) makes of arrays."""
    return run(closed.jaxpr, closed.consts, inputs)


def run(jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
    """What a jaxpr makes of constants and arrays."""
    env: dict[Any, Any] = dict(zip(jaxpr.constvars, map(constant, consts), strict=True))
    env.update(zip(jaxpr.invars, inputs, strict=True))

    def read(atom: Any) -> Any:
        return constant(atom.val, atom.aval.dtype) if hasattr(atom, "val") else env[atom]

    outer, around = context.cell, imported_from(user_source())
    try:
        context.cell = cell = [around, False]
        for eqn in jaxpr.eqns:
            cell[0] = line_of(eqn) or around
            outs = bound(eqn, [read(v) for v in eqn.invars])
            env.update(zip(eqn.outvars, outs, strict=True))
    finally:
        context.cell = outer
    return [read(v) for v in jaxpr.outvars]


def bound(eqn: Any, values: Sequence[Any]) -> list[Any]:
    """The results of one equation."""
    name = eqn.primitive.name
    rule = PRIMITIVES.get(name)
    if rule is not None:
        found = rule(*values, **eqn.params)
    elif name in EQUATIONS:
        found = EQUATIONS[name](eqn, *values)
    else:
        raise unknown(eqn)
    outs = found if eqn.primitive.multiple_results else [found]
    return [typed(x, v.aval, name) for x, v in zip(outs, eqn.outvars, strict=True)]


def typed(x: Any, aval: Any, name: str) -> Any:
    """A result in the type that jax says."""
    wanted, found = dtype_here(aval.dtype), type_of(x)
    if found.shape != tuple(aval.shape):
        raise AssertionError(f"what stands for jax's primitive {name} gives {found}, jax {aval}")
    return strengthened(x) if found.dtype == wanted else astype(x, wanted)


def constant(x: Any, dtype: Any = None) -> Any:
    """A constant of a jaxpr as one of ours."""
    dtype = getattr(x, "dtype", None) if dtype is None else dtype
    if dtype is not None and is_key(dtype):
        return key_of(x)
    array = np.asarray(x, None if dtype is None else dtype_here(dtype))
    return array if array.ndim else array[()]


def imported_from(source: Any) -> Imported:
    """A line of the user's, where it is known that jax's code is from there."""
    place = location_of(source)
    return place if type(place) is Imported else Imported(*cast(Source, resolve(place)))


def frames_of(eqn: Any) -> list[Source]:
    """Where jax's equation was made, innermost first, within the function that jax traced."""
    traceback = eqn.source_info.traceback
    return (
        []
        if traceback is None
        else [Source(f.file_name, f.line_num, f.function_name.rpartition(".")[2]) for f in traceback.frames]
    )


def line_of(eqn: Any) -> Imported | None:
    """The user's own line of an equation, if jax traced one: the code of libraries is that of the line that calls it."""
    return next((Imported(*frame) for frame in frames_of(eqn) if is_of_the_user(frame.file)), None)


def unknown(eqn: Any, advice: str = "") -> UnsupportedFunctionError:
    """The error for an equation that we have no op for."""
    name = eqn.primitive.name
    theirs = os.path.dirname(xla().jax.__file__)
    where = next((f for f in frames_of(eqn) if not f.file.startswith(theirs)), resolve(user_source()))
    what = advice or _ADVICE.get(name, "compute that part in NumPy's words, or outside of what is imported")
    return UnsupportedFunctionError(
        f"from_jax: tracegrad has nothing for jax's primitive {name!r}, used at {where}.\n  Of "
        f"{', '.join([str(v.aval) for v in eqn.invars]) or 'nothing'} it makes {', '.join([str(v.aval) for v in eqn.outvars]) or 'nothing'}; "
        f"{what}.\n  To have XLA compute the function instead, with jax's transforms, write jax.jit(fun), and tg.to_jax for what it "
        "calls of tracegrad's."
    )


_CALLBACK = "what it calls on the host has no place in a Graph: take it out, or make tg.external(f, out=..., vjp=...) of its NumPy function"
_ADVICE = {
    **dict.fromkeys(("debug_callback", "debug_print"), "take jax.debug's call out of the function"),
    **dict.fromkeys(("pure_callback", "io_callback"), _CALLBACK),
}
