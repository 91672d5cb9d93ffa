"""jax's primitives that hold jaxprs: calls, loops, branches, and functions with derivatives of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad import lax
from tracegrad.core.backends import xla
from tracegrad.core.graph import Graph
from tracegrad.core.late import imported
from tracegrad.core.shared import cached
from tracegrad.core.tracing import trace_graph
from tracegrad.core.types import ArrayType, is_inexact
from tracegrad.ops.families import shape_of
from tracegrad.transforms.control import checkpoint_policies
from tracegrad.transforms.control.call import call
from tracegrad.transforms.control.checkpoint import checkpoint
from tracegrad.transforms.custom.call import call_with_rules
from tracegrad.xla.primitives.table import EQUATIONS, binds, dtype_here, is_key, run, run_closed

# ---------------------------------------------------------------------------------------------------------------------
# Calls.


@binds("jit", "closed_call", "composite")
def _(*arrays: Any, jaxpr: Any = None, call_jaxpr: Any = None, **_: Any) -> Any:
    return run_closed(call_jaxpr if jaxpr is None else jaxpr, arrays)


@binds("remat2")
def _(*arrays: Any, jaxpr: Any, policy: Any, prevent_cse: Any, **_: Any) -> Any:
    """What jax's policy lets be kept is kept, if it is one of those that have a name; else nothing."""
    f = checkpoint(lambda *xs: run(jaxpr, (), xs), policy=_policy(policy), prevent_cse=prevent_cse is not False)
    return f(*arrays)


def _policy(policy: Any) -> Any:
    theirs = xla().jax.checkpoint_policies
    names = ("everything_saveable", "dots_saveable", "dots_with_no_batch_dims_saveable")
    return next((getattr(checkpoint_policies, n) for n in names if policy is getattr(theirs, n, theirs)), None)


# ---------------------------------------------------------------------------------------------------------------------
# Loops and branches.


@binds("scan")
def _(*arrays: Any, jaxpr: Any, length: int, reverse: bool, num_consts: int, num_carry: int, **_: Any) -> Any:
    consts, carry, xs = _in_three(arrays, num_consts, num_carry)

    def step(carry: Any, x: Any) -> Any:
        out = run_closed(jaxpr, [*consts, *carry, *x])
        return out[:num_carry], out[num_carry:]

    carry, ys = lax.scan(step, carry, xs, length, reverse)
    return [*carry, *ys]


@binds("while")
def _(*arrays: Any, cond_jaxpr: Any, body_jaxpr: Any, cond_nconsts: int, body_nconsts: int, **_: Any) -> Any:
    """Where jax has batched a loop, the condition is one for each example, and those that are done stay as they are."""
    of_cond, of_body, carry = _in_three(arrays, cond_nconsts, body_nconsts)
    holds = lambda carry: run_closed(cond_jaxpr, [*of_cond, *carry])[0]
    body = lambda carry: run_closed(body_jaxpr, [*of_body, *carry])
    batch = len(cond_jaxpr.jaxpr.outvars[0].aval.shape)

    def step(carry: Any) -> Any:
        going = holds(carry)
        wide = [np.reshape(going, (*shape_of(going), *(1,) * (len(shape_of(x)) - batch))) for x in carry]
        return [np.where(w, new, old) for w, new, old in zip(wide, body(carry), carry, strict=True)]

    return (
        lax.while_loop(lambda carry: np.any(holds(carry)), step, carry) if batch else lax.while_loop(holds, body, carry)
    )


@binds("cond")
def _(index: Any, *arrays: Any, branches: Any, **_: Any) -> Any:
    functions = [lambda *xs, branch=branch: run_closed(branch, xs) for branch in branches]
    return lax.switch(index, functions, *arrays)


@binds("platform_index")
def _(*, platforms: Sequence[Any]) -> Any:
    """What is written for any platform, or that for CPUs."""
    found = [i for i, names in enumerate(platforms) if names is None or "cpu" in names]
    return np.int32(found[0] if found else 0)


def _in_three(arrays: Sequence[Any], first: int, second: int) -> tuple[list[Any], list[Any], list[Any]]:
    return list(arrays[:first]), list(arrays[first : first + second]), list(arrays[first + second :])


# ---------------------------------------------------------------------------------------------------------------------
# Functions with derivatives of their own. jax alone knows their rules; it differentiates the equation by itself, and what that
# makes is imported in turn.


class _Alone:
    """An equation as a function of jax's, and its derivatives as jaxprs, each made when it is first asked for."""

    def __init__(self, eqn: Any) -> None:
        self.inputs = [v.aval for v in eqn.invars]
        self.outputs = [v.aval for v in eqn.outvars]
        core = imported("jax.extend.core")
        heads, tails = [[core.Var(aval) for aval in avals] for avals in (self.inputs, self.outputs)]
        body = [eqn.replace(invars=heads, outvars=tails)]
        alone = core.Jaxpr((), heads, tails, body, debug_info=_about(eqn, heads, tails))
        self.call = core.jaxpr_as_fun(core.ClosedJaxpr(alone, ()))

    @cached
    def pushed(self) -> Any:
        """Of all inputs and the tangents of those that are floats to all outputs and the tangents of such."""

        def push(primals: Sequence[Any], moved: Sequence[Any]) -> Any:
            out, tangents = xla().jax.jvp(self.call, primals, self._full(moved, self.inputs))
            return out, _floats(tangents, self.outputs)

        return _graph(_jaxpr(push, self.inputs, _floats(self.inputs, self.inputs))[0])

    @cached
    def pulled(self) -> Any:
        """Of all inputs to the outputs and residuals, and of residuals and cotangents to cotangents."""
        tree_util = xla().jax.tree_util
        structure: Any = None

        def forward(primals: Sequence[Any]) -> Any:
            nonlocal structure
            out, pull = xla().jax.vjp(self.call, *primals)
            residuals, structure = tree_util.tree_flatten(pull)
            return out, residuals

        def backward(residuals: Sequence[Any], cts: Sequence[Any]) -> Any:
            pull = tree_util.tree_unflatten(structure, residuals)
            return _floats(pull(self._full(cts, self.outputs)), self.inputs)

        there, shapes = _jaxpr(forward, self.inputs)
        back, _ = _jaxpr(backward, shapes[1], _floats(self.outputs, self.outputs))
        return _graph(there), _graph(back)

    @staticmethod
    def _full(given: Sequence[Any], avals: Sequence[Any]) -> Any:
        """The derivatives of all of these, of which `given` are those of floats."""
        rest, float0 = iter(given), xla().jax.dtypes.float0
        return [next(rest) if _is_float(a) else np.zeros(a.shape, float0) for a in avals]


def _is_float(aval: Any) -> bool:
    return not is_key(aval.dtype) and is_inexact(dtype_here(aval.dtype))


def _floats(values: Sequence[Any], avals: Sequence[Any]) -> list[Any]:
    return [x for x, a in zip(values, avals, strict=True) if _is_float(a)]


def _with_none(found: Sequence[Any], avals: Sequence[Any]) -> list[Any]:
    """With None in the places of those that are no floats."""
    rest = iter(found)
    return [next(rest) if _is_float(a) else None for a in avals]


def _jaxpr(function: Callable[..., Any], *arguments: Sequence[Any]) -> Any:
    """The jaxpr of a function of jax's, and the shapes that it returns."""
    j = xla()
    structs = [[j.jax.ShapeDtypeStruct(a.shape, a.dtype) for a in avals] for avals in arguments]
    with j.x64():
        return j.jax.make_jaxpr(function, return_shape=True)(*structs)


@binds("custom_jvp_call", table=EQUATIONS)
def _(eqn: Any, *arrays: Any) -> Any:
    alone = _Alone(eqn)
    count = len(alone.outputs)

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Sequence[Any]) -> list[Any]:
        moved = [t for t, a in zip(_filled(tangents, alone.inputs), alone.inputs, strict=True) if _is_float(a)]
        return _with_none(call(alone.pushed, [*primals, *moved])[count:], alone.outputs)

    return call_with_rules(_name(eqn), _graph(eqn.params["call_jaxpr"]), arrays, jvp=jvp)


@binds("custom_vjp_call", "custom_linear_solve", table=EQUATIONS)
def _(eqn: Any, *arrays: Any) -> Any:
    alone = _Alone(eqn)
    count = len(alone.outputs)

    def forward(primals: Sequence[Any], perturbed: Sequence[bool], out: Sequence[Any]) -> Any:
        found = call(alone.pulled[0], primals)
        return found[:count], found[count:]

    def backward(residuals: Any, primals: Sequence[Any], cts: Sequence[Any]) -> list[Any]:
        found = call(alone.pulled[1], [*residuals, *_floats(_filled(cts, alone.outputs), alone.outputs)])
        return _with_none(found, alone.inputs)

    return call_with_rules(_name(eqn), _graph(_called(eqn)), arrays, fwd=forward, bwd=backward)


def _filled(given: Sequence[Any], avals: Sequence[Any]) -> list[Any]:
    """Derivatives with zeros in place of None."""
    return [np.zeros(a.shape, dtype_here(a.dtype))[()] if x is None else x for x, a in zip(given, avals, strict=True)]


def _name(eqn: Any) -> str:
    jaxpr = eqn.params.get("call_jaxpr")
    about = getattr(getattr(jaxpr, "jaxpr", jaxpr), "debug_info", None)
    return getattr(about, "func_name", None) or str(eqn.primitive.name)


def _called(eqn: Any) -> Any:
    """The jaxpr, of all inputs, that is computed where nobody differentiates."""
    p = eqn.params
    if "call_jaxpr" in p:
        return p["call_jaxpr"]
    lengths, solve = p["const_lengths"], p["jaxprs"].solve
    core = imported("jax.extend.core")
    heads = [core.Var(v.aval) for v in eqn.invars]
    start, ends = lengths.matvec + lengths.vecmat, sum(lengths)
    used = [*range(start, start + lengths.solve), *range(ends, len(heads))]
    for i, v in zip(used, solve.jaxpr.invars, strict=True):
        heads[i] = v
    return core.ClosedJaxpr(
        solve.jaxpr.replace(invars=heads, debug_info=_about(eqn, heads, solve.jaxpr.outvars)), solve.consts
    )


def _about(eqn: Any, heads: Sequence[Any], tails: Sequence[Any]) -> Any:
    """What jax wants to know of a jaxpr besides."""
    return imported("jax.extend.core").DebugInfo("from_jax", eqn.primitive.name, ("",) * len(heads), ("",) * len(tails))


def _graph(closed: Any) -> Graph:
    """A jaxpr as a Graph."""
    types = [ArrayType(tuple(v.aval.shape), dtype_here(v.aval.dtype)) for v in closed.jaxpr.invars]
    return trace_graph(
        lambda *xs: run_closed(closed, xs), types, transform="from_jax", user_function=closed, abstract=True
    )
