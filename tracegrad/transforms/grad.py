"""grad, vjp, jvp, linearize and what follows from them: each traces its function once, with values, and walks the
equations with one of the two interpreters of `linear.py`."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast, overload

import numpy as np

from tracegrad import tree
from tracegrad.core.boxes import accepting_jax, holds_jax_array, in_boxes, unboxed
from tracegrad.core.context import context, open_traces, watcher, watching, writing
from tracegrad.core.errors import (
    at,
    hidden_behind,
    require_callable,
    user_source,
)
from tracegrad.core.graph import Graph, evaluate
from tracegrad.core.jax_arrays import is_jax_array
from tracegrad.core.memory import copied
from tracegrad.core.names import leaf_names, named_after
from tracegrad.core.numpy_warnings import again as run_again
from tracegrad.core.numpy_warnings import has_warned
from tracegrad.core.programs import lifted
from tracegrad.core.trace import Equation, Trace, bind, captor_of
from tracegrad.core.tracebacks import trim, trimming
from tracegrad.core.tracer import Tracer, in_program, present, settled_tree
from tracegrad.core.tracing import arrays_of, declared_types, needed, trace_graph, tracer_inputs
from tracegrad.core.types import is_inexact, number_kind, type_of
from tracegrad.core.views import own
from tracegrad.ops.masks import filled
from tracegrad.ops.structural import stop_gradient_op
from tracegrad.transforms.arguments import (
    COMPLEX,
    UNUSED,
    Argnums,
    Complex,
    Unused,
    Wrt,
    as_output,
    check_choice,
    check_input,
    chosen_leaves,
    counted_from_front,
    matching,
    positions_of,
    scalar_output,
    split_aux,
    tell_of_unused,
)
from tracegrad.transforms.batch import own_arrays
from tracegrad.transforms.linear import (
    backward,
    pull_back,
    pushforward,
    require_linear,
    require_no_offset,
    strong,
    with_folded_constants,
    with_own_constants,
)
from tracegrad.transforms.linear_map import Kind, Linear, LinearMap, Space
from tracegrad.typing import Array, Aux, P, R

# The cotangent to start from, for the scalar types that most functions return.
_ONES = {t: t(1) for t in (np.float64, np.float32, np.float16)}


# ---------------------------------------------------------------------------------------------------------------------
# Reverse mode.


@overload
def value_and_grad(
    fun: np.ufunc,
    argnums: Argnums = 0,
    has_aux: Literal[False] = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    unused: Unused = "zero",
    wrt: Wrt = None,
    complex: Complex = "jax",
) -> Callable[..., tuple[Array, Array]]: ...
@overload
def value_and_grad(
    fun: Callable[P, R],
    argnums: Argnums = 0,
    has_aux: Literal[False] = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    unused: Unused = "zero",
    wrt: Wrt = None,
    complex: Complex = "jax",
) -> Callable[P, tuple[R, Array]]: ...
@overload
def value_and_grad(
    fun: Callable[P, tuple[R, Aux]],
    argnums: Argnums = 0,
    *,
    has_aux: Literal[True],
    holomorphic: bool = False,
    allow_int: bool = False,
    unused: Unused = "zero",
    wrt: Wrt = None,
    complex: Complex = "jax",
) -> Callable[P, tuple[tuple[R, Aux], Array]]: ...
@overload
def value_and_grad(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    unused: Unused = "zero",
    wrt: Wrt = None,
    complex: Complex = "jax",
) -> Callable[..., Any]: ...
def value_and_grad(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    unused: Unused = "zero",
    wrt: Wrt = None,
    complex: Complex = "jax",
) -> Callable[..., Any]:
    """A function that returns both the value of `fun` and its gradient.

    Args:
        fun: a function that returns a real scalar: an array of one element, of whatever shape, or a Python number.
        argnums: which positional argument to differentiate, or a tuple of several; arguments may be pytrees.
        has_aux: `fun` returns `(value, aux)`; aux is handed through untouched.
        holomorphic: `fun` is complex-differentiable, with complex inputs and a complex output.
        allow_int: integer leaves among the differentiated arguments get float0 zeros rather than an error.
        unused: what leaves get on which the value does not depend, or only through what has no derivative (round, argmax,
            stop_gradient): "zero"s, "none" (None), or zeros with a "warn"ing, or an "error", which name them.
        wrt: which leaves of the differentiated arguments: a pattern for their paths such as `"encoder.*"` (as in file names; a list
            of patterns, one of which must match), or a function `(path, leaf) -> bool`. The others are constants: no
            derivative is computed for them, and there is None in their place.
        complex: what the gradient with respect to a complex argument z = x + iy is, where the value is f(x, y): "jax" for ∂f/∂x - i ∂f/∂y, as
            JAX has it; "descent" for ∂f/∂x + i ∂f/∂y, the direction of steepest ascent, which is what a step of descent subtracts;
            "holomorphic" is another name of `holomorphic=True`.

    Returns:
        A function of the arguments of `fun` (keywords are handed on and not differentiated) that returns
        `(value, gradient)`, or `((value, aux), gradient)`. The value has the shape that `fun` gave it. The gradient has
        the structure, shapes and dtypes of the argument; with a tuple of argnums it is a tuple.

    Raises:
        DifferentiationError: an output that is not a real scalar; an argnum out of range.
        DtypeError: an argument that is not of a floating dtype.
        ValueError: a pattern in `wrt` that no leaf matches.

    >>> import numpy as np, tracegrad as tg
    >>> value, gradient = tg.value_and_grad(lambda x: np.sum(x**2))(np.array([1.0, 2.0]))
    >>> float(value), gradient.tolist()
    (5.0, [2.0, 4.0])
    >>> loss = lambda p: p["head"]["w"] * p["body"]["w"]
    >>> tg.grad(loss, wrt="head.*")({"body": {"w": 3.0}, "head": {"w": 2.0}})
    {'body': {'w': None}, 'head': {'w': np.float64(3.0)}}

    Source: reverse accumulation; Griewank and Walther, Evaluating Derivatives, 2nd ed., section 3.2.
    """
    try:
        return _gradient(fun, argnums, has_aux, holomorphic, allow_int, unused, wrt, complex, with_value=True)
    except BaseException as error:
        trim(error)
        raise


@overload
def grad(
    fun: np.ufunc,
    argnums: Argnums = 0,
    has_aux: Literal[False] = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    unused: Unused = "zero",
    wrt: Wrt = None,
    complex: Complex = "jax",
) -> Callable[..., Array]: ...
@overload
def grad(
    fun: Callable[P, Any],
    argnums: Argnums = 0,
    has_aux: Literal[False] = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    unused: Unused = "zero",
    wrt: Wrt = None,
    complex: Complex = "jax",
) -> Callable[P, Array]: ...
@overload
def grad(
    fun: Callable[P, tuple[Any, Aux]],
    argnums: Argnums = 0,
    *,
    has_aux: Literal[True],
    holomorphic: bool = False,
    allow_int: bool = False,
    unused: Unused = "zero",
    wrt: Wrt = None,
    complex: Complex = "jax",
) -> Callable[P, tuple[Array, Aux]]: ...
@overload
def grad(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    unused: Unused = "zero",
    wrt: Wrt = None,
    complex: Complex = "jax",
) -> Callable[..., Any]: ...
def grad(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    unused: Unused = "zero",
    wrt: Wrt = None,
    complex: Complex = "jax",
) -> Callable[..., Any]:
    """A function that returns the gradient of `fun`, a real scalar function. Arguments as for `value_and_grad`.

    Returns:
        A function of the arguments of `fun` that returns the gradient, or `(gradient, aux)` with `has_aux=True`.

    >>> import numpy as np, tracegrad as tg
    >>> tg.grad(lambda x: np.sum(np.sin(x)))(np.zeros(2)).tolist()
    [1.0, 1.0]
    >>> float(tg.grad(tg.grad(np.tanh))(0.0))
    -0.0
    """
    try:
        return _gradient(fun, argnums, has_aux, holomorphic, allow_int, unused, wrt, complex, with_value=False)
    except BaseException as error:
        trim(error)
        raise


def _gradient(
    fun: Callable[..., Any],
    argnums: Argnums,
    has_aux: bool,
    holomorphic: bool,
    allow_int: bool,
    unused: Unused,
    wrt: Wrt,
    complex: Complex,
    with_value: bool,
) -> Callable[..., Any]:
    transform = "value_and_grad" if with_value else "grad"
    require_callable(fun, transform)
    check_choice("unused", unused, UNUSED, transform)
    check_choice("complex", complex, COMPLEX, transform)
    holomorphic = holomorphic or complex == "holomorphic"
    several = not isinstance(argnums, int)
    positions = positions_of(argnums, transform)
    first = -1 if several else positions[0]
    # The leaves of these are gone through anyway.
    seen_later = frozenset(positions) if all([p >= 0 for p in positions]) else frozenset()

    def again() -> Callable[..., Any]:  # one that referred to itself would wait for the garbage collector
        return _gradient(fun, argnums, has_aux, holomorphic, allow_int, unused, wrt, complex, with_value)

    def gradient(*args: Any, **kwargs: Any) -> Any:
        try:
            if watching and (watch := watcher()) is not None:
                return watch(again(), args, kwargs)
            if (kwargs or len(args) > len(seen_later)) and "jax" in sys.modules:
                for i, x in enumerate((*args, *kwargs.values()) if kwargs else args):
                    if type(x) is not np.ndarray and i not in seen_later and holds_jax_array(x):
                        return in_boxes(again(), args, kwargs)
            trace = Trace(transform, fun, reverse=True)
            try:
                open_traces[trace.level] = trace
                x = args[first] if 0 <= first < len(args) else None
                if type(x) is np.ndarray and x.dtype.kind == "f" and not holomorphic and wrt is None:
                    # One array is so common, and often so small, that it is spared the way through a tree.
                    leaf = Tracer(trace, x.copy("K") if x.flags.forc else copied(x), first)
                    in_tree = None
                    leaves: list[Any] = [leaf]
                    call = list(args)
                    call[first] = leaf
                else:
                    leaves, in_tree, call = _traced_arguments(
                        trace, args, positions, several, holomorphic, allow_int, wrt
                    )
                out = fun(*call, **kwargs)
                if writing:
                    out = settled_tree(out)
                aux = None
                if has_aux:
                    out, aux = split_aux(out, fun, transform)
                    found = tree.tree_flatten(aux)  # while it can be computed with what it holds
                seed = _ONES.get(type(out.value)) if type(out) is Tracer and out.origin is trace else None
                if seed is not None and not holomorphic:
                    value = out.value
                else:
                    value, seed = scalar_output(out, trace, transform, holomorphic)
                    seed = None if seed is None else lifted(seed, (value,))
                eqns = trace.finish()
                cotangents = {} if seed is None else backward(eqns, {id(out): seed})
            except _HoldsJaxArray:
                return in_boxes(again(), args, kwargs)
            except (ValueError, TypeError, AttributeError) as error:
                if (hidden := hidden_behind(error)) is not None:
                    raise hidden.with_traceback(error.__traceback__) from None
                raise
            finally:
                try:
                    open_traces.pop(trace.level, None)
                finally:
                    trace.end()
            if in_tree is not None or unused != "zero":
                results = _results(leaves, cotangents, unused, transform)
                if complex == "descent":
                    results = [x if x is None or number_kind(x.dtype) != "c" else np.conjugate(x) for x in results]
                result = results[0] if in_tree is None else tree.tree_unflatten(in_tree, results)
            else:
                result = cotangents.get(id(leaf))
                if type(result) is not np.ndarray or result.base is not None or not result.flags.writeable:
                    (result,) = own_arrays([result], leaves)
            if with_value and type(value) is Tracer and not context.boxes:
                value = unboxed(value)
            elif with_value and type(value) is np.ndarray:
                value = value.copy()
            if has_aux:
                aux = _aux(*found, trace)
                return ((value, aux), result) if with_value else (result, aux)
            return (value, result) if with_value else result
        except BaseException as error:
            if has_warned(error):
                return run_again(again(), *args, **kwargs)
            trim(error)
            raise

    maker = value_and_grad if with_value else grad
    return named_after(gradient, fun, transform, maker, argnums, has_aux, holomorphic, allow_int, unused, wrt, complex)


class _HoldsJaxArray(Exception):
    """Among the arguments that are differentiated is a jax array."""


def _traced_arguments(
    trace: Trace,
    args: tuple[Any, ...],
    positions: tuple[int, ...],
    several: bool,
    holomorphic: bool,
    allow_int: bool,
    wrt: Wrt,
) -> tuple[list[Tracer | None], Any, list[Any]]:
    """Tracers for the leaves of the arguments at `positions`, None for those that `wrt` leaves out; the tree of those arguments (a
    tuple, if `several`); and all arguments to call with."""
    call = list(args)
    normal = counted_from_front(positions, len(args), trace.function, trace.transform)
    chosen = tuple([args[i] for i in normal])

    function = trace.function

    def name(leaf: int) -> str:  # does not refer to the trace, which refers to it
        return leaf_names(function, tree.tree_structure(chosen), normal)(leaf)

    trace.names = name
    argument = chosen if several else chosen[0]
    leaves, in_tree = tree.tree_flatten(argument)
    wanted = None if wrt is None else chosen_leaves(wrt, argument, trace.transform)
    tracers: list[Tracer | None] = []
    for i, x in enumerate(leaves):
        if wanted is not None and not wanted[i]:
            tracers.append(None)
            continue
        if type(x) is np.ndarray and number_kind(x.dtype) == "f" and not holomorphic:
            tracers.append(Tracer(trace, copied(x), i))
            continue
        if is_jax_array(x):
            raise _HoldsJaxArray
        (x,) = arrays_of([x], lambda _, i=i: name(i))  # type: ignore[misc]
        tracers.append(tracer := Tracer(trace, own(x), i))
        check_input(tracer, trace.transform, holomorphic, allow_int)
    parts = tree.tree_unflatten(in_tree, [x if t is None else t for x, t in zip(leaves, tracers, strict=True)])
    for i, part in zip(normal, parts if several else (parts,), strict=True):
        call[i] = part
    return tracers, in_tree, call


def _results(leaves: Sequence[Tracer | None], cotangents: dict[int, Any], unused: Unused, transform: str) -> list[Any]:
    """The gradient with respect to each leaf, as the caller gets it; None for one that was left out."""
    found = [None if x is None else cotangents.get(id(x)) for x in leaves]
    if unused != "zero":
        without = [
            x for x, ct in zip(leaves, found, strict=True) if x is not None and ct is None and is_inexact(x.dtype)
        ]
        if without and unused != "none":
            tell_of_unused([str(x.name) for x in without], unused, transform)
    given = [
        i for i, (x, ct) in enumerate(zip(leaves, found, strict=True))
        if x is not None and (ct is not None or unused != "none")
    ]  # fmt: skip
    for i, x in zip(given, own_arrays([found[i] for i in given], [leaves[i] for i in given]), strict=True):
        found[i] = x
    return found


def _lowered(outputs: Sequence[Any], trace: Trace, keep: bool = False) -> list[Any]:
    """The results of the traced function as the caller, one level down, may have them: arrays of his own. What was traced
    is copied where a derivative that is applied later still needs it; what was not is the function's."""
    is_traced = [type(x) is Tracer and x.origin is trace for x in outputs]
    lowered = [x.value if t else x for x, t in zip(outputs, is_traced, strict=True)]
    return own_arrays(lowered, given=[x for x, t in zip(lowered, is_traced, strict=True) if keep or not t])


def _aux(leaves: list[Any], structure: tree.PyTreeDef, trace: Trace, keep: bool = False) -> Any:
    """The same for what a function returns besides; what was not traced is handed on as it is."""
    traced = [i for i, x in enumerate(leaves) if type(x) is Tracer and x.origin is trace]
    for i, x in zip(traced, _lowered([leaves[i] for i in traced], trace, keep), strict=True):
        leaves[i] = x
    return tree.tree_unflatten(structure, leaves)


@overload
def vjp(
    fun: Callable[..., R], *primals: Any, has_aux: Literal[False] = False
) -> tuple[R, Callable[[Any], tuple[Any, ...]]]: ...
@overload
def vjp(
    fun: Callable[..., tuple[R, Aux]], *primals: Any, has_aux: Literal[True]
) -> tuple[R, Callable[[Any], tuple[Any, ...]], Aux]: ...
@overload
def vjp(fun: Callable[..., Any], *primals: Any, has_aux: bool) -> tuple[Any, ...]: ...
@overload
def vjp(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]: ...
@trimming
def vjp(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """The value of `fun` and a function that multiplies cotangents by its transposed Jacobian.

    Args:
        fun: any function of arrays and pytrees of them.
        *primals: its arguments, all differentiated.
        has_aux: `fun` returns `(out, aux)`.

    Returns:
        `(out, vjp_fun)` or `(out, vjp_fun, aux)`. `vjp_fun(cotangent)` takes a pytree like `out` and returns a tuple
        with one cotangent for each of the primals (float0 zeros for integers). It may be called any number of times,
        and does not change if the arrays in `primals` are written to later. It is a tree, whose leaves are the arrays
        that it keeps: jitted functions may take and return it.

    >>> import numpy as np, tracegrad as tg
    >>> out, pull = tg.vjp(np.sin, np.zeros(2))
    >>> pull(np.array([1.0, 3.0]))[0].tolist()
    [1.0, 3.0]
    """
    return _with_map(_vjp(fun, primals, has_aux))


@accepting_jax
def _vjp(fun: Callable[..., Any], primals: tuple[Any, ...], has_aux: bool) -> tuple[Any, ...]:
    return vjp_as("vjp", fun, primals, has_aux)


def _with_map(made: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a transform made, with a tree for the linear function in it."""
    out, linear, *aux = made
    return out, LinearMap(linear), *aux


def vjp_as(
    transform: str,
    fun: Callable[..., Any],
    primals: tuple[Any, ...],
    has_aux: bool = False,
    of: Any = None,
    positions: Sequence[int] | None = None,
) -> tuple[Any, ...]:
    """`vjp` under another transform's name. `of` and `positions` tell which function of the user's, and which of its
    arguments, `fun` and `primals` stand for."""
    trace, eqns, inputs, outputs, in_tree, out_tree, aux = _trace_call(
        transform, fun, primals, has_aux, True, of, positions, reverse=True
    )
    out = tree.tree_unflatten(out_tree, _lowered(outputs, trace, keep=True))
    out_types = [type_of(o) for o in outputs]
    beside = [o.value for o in outputs if type(o) is Tracer]

    def pull(cts: Sequence[Any]) -> list[Any]:
        return pull_back(trace, eqns, inputs, outputs, cts)

    kind = Kind(transform, "cotangent", "output", several=False)
    source, target = Space(out_tree, tuple(out_types)), Space(in_tree, tuple([x.type for x in inputs]))
    linear = Linear(kind, source, target, pull, inputs, (), beside)
    return (out, linear, aux) if has_aux else (out, linear)


def _trace_call(
    transform: str,
    fun: Callable[..., Any],
    primals: tuple[Any, ...],
    has_aux: bool,
    keep: bool,
    of: Any = None,
    positions: Sequence[int] | None = None,
    reverse: bool = False,
) -> tuple[Any, ...]:
    """Trace `fun(*primals)` with values. `keep` makes copies of the constants too that the derivative may need, for
    one that is applied later, when the caller may have written into them."""
    require_callable(fun, transform, "(f, (x,), (t,))" if transform in ("jvp", "hvp") else "(f, x)")
    of = fun if of is None else of
    leaves, in_tree = tree.tree_flatten(primals)
    names = leaf_names(of, in_tree, positions)
    trace = Trace(transform, of, reverse=reverse)
    trace.names = names
    inputs = tracer_inputs(trace, [own(x) for x in arrays_of(leaves, names)])

    def call() -> Any:
        out = settled_tree(fun(*tree.tree_unflatten(in_tree, inputs)))
        aux = None
        if has_aux:
            out, aux = split_aux(out, of, transform)
            aux = _aux(*tree.tree_flatten(aux), trace, keep)
        outputs, out_tree = tree.tree_flatten(out)
        return [as_output(o, of) for o in outputs], out_tree, aux

    (outputs, out_tree, aux), eqns = trace.recorded(call)
    if keep:
        eqns = with_own_constants(eqns)
    return trace, eqns, inputs, outputs, in_tree, out_tree, aux


# ---------------------------------------------------------------------------------------------------------------------
# Forward mode.


@overload
def jvp(
    fun: Callable[..., R], primals: Sequence[Any], tangents: Sequence[Any], has_aux: Literal[False] = False
) -> tuple[R, R]: ...
@overload
def jvp(
    fun: Callable[..., tuple[R, Aux]], primals: Sequence[Any], tangents: Sequence[Any], has_aux: Literal[True]
) -> tuple[R, R, Aux]: ...
@overload
def jvp(fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool) -> tuple[Any, ...]: ...
@overload
def jvp(
    fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False
) -> tuple[Any, ...]: ...
@accepting_jax
def jvp(
    fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False
) -> tuple[Any, ...]:
    """The value of `fun` and its directional derivative, the Jacobian times the tangents.

    Args:
        fun: any function of arrays and pytrees of them.
        primals: tuple or list of its arguments.
        tangents: as `primals`, leaf by leaf of the same shapes and dtypes (float0 for integers). Whole numbers are taken for
            floats where NumPy casts them safely: int8 for float32, int64 for float64.
        has_aux: `fun` returns `(out, aux)`.

    Returns:
        `(out, tangent_out)` or `(out, tangent_out, aux)`.

    >>> import numpy as np, tracegrad as tg
    >>> out, tangent = tg.jvp(np.sin, (0.0,), (2.0,))
    >>> float(out), float(tangent)
    (0.0, 2.0)

    Source: forward accumulation; Griewank and Walther, section 3.1.
    """
    if watching and (watch := watcher()) is not None:
        again = functools.update_wrapper(functools.partial(jvp, fun, has_aux=has_aux), fun)
        return watch(again, (primals, tangents), {})
    return jvp_as("jvp", fun, primals, tangents, has_aux)


def jvp_as(
    transform: str,
    fun: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    has_aux: bool = False,
    of: Any = None,
) -> tuple[Any, ...]:
    """`jvp` under another transform's name; see `vjp_as`."""
    require_callable(fun, transform, "(f, (x,), (t,))")
    if not isinstance(primals, tuple | list) or not isinstance(tangents, tuple | list):
        raise TypeError(
            f"{transform}{at(user_source())} takes primals and tangents as tuples, got {type(primals).__name__} and "
            f"{type(tangents).__name__}; write tg.{transform}(f, (x,), (t,))"
        )
    trace, eqns, inputs, outputs, in_tree, out_tree, aux = _trace_call(
        transform, fun, tuple(primals), has_aux, False, of
    )
    beside = [x.value for x in (*inputs, *outputs) if type(x) is Tracer]
    given = matching(tuple(tangents), in_tree, [x.type for x in inputs], transform, "tangents", "primals", beside)
    out = tree.tree_unflatten(out_tree, _lowered(outputs, trace))
    tangent = tree.tree_unflatten(out_tree, own_arrays(_push(trace, eqns, inputs, outputs, given), outputs, given))
    return (out, tangent, aux) if has_aux else (out, tangent)


def _push(
    trace: Trace, eqns: list[Equation], inputs: Sequence[Tracer], outputs: Sequence[Any], tangents: Sequence[Any]
) -> list[Any]:
    """Tangents of the outputs, None for zero. The list of equations is emptied."""
    if trace.prunes:
        eqns = needed(eqns, outputs, derivative=True)
    given = {id(x): t for x, t in zip(inputs, tangents, strict=True) if t is not None}
    found = pushforward(eqns, given, outputs)
    return [filled(found.get(id(out))) if type(out) is Tracer and out.origin is trace else None for out in outputs]


@overload
def linearize(fun: Callable[..., R], *primals: Any, has_aux: Literal[False] = False) -> tuple[R, Callable[..., R]]: ...
@overload
def linearize(
    fun: Callable[..., tuple[R, Aux]], *primals: Any, has_aux: Literal[True]
) -> tuple[R, Callable[..., R], Aux]: ...
@overload
def linearize(fun: Callable[..., Any], *primals: Any, has_aux: bool) -> tuple[Any, ...]: ...
@overload
def linearize(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]: ...
@trimming
def linearize(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """The value of `fun` and its derivative at `primals` as a linear function of tangents, computed once.

    Args as for `vjp`. Returns `(out, jvp_fun)` or `(out, jvp_fun, aux)`; `jvp_fun(*tangents)` replays a linear Graph
    in which all that depends on the primals alone has become constants. It is a tree, as what `vjp` returns is.

    >>> import numpy as np, tracegrad as tg
    >>> out, push = tg.linearize(np.sin, 0.0)
    >>> float(push(3.0))
    3.0
    """
    return _with_map(_linearize(fun, primals, has_aux))


@accepting_jax
def _linearize(fun: Callable[..., Any], primals: tuple[Any, ...], has_aux: bool) -> tuple[Any, ...]:
    return linearize_as("linearize", fun, primals, has_aux)


def linearize_as(
    transform: str,
    fun: Callable[..., Any],
    primals: tuple[Any, ...],
    has_aux: bool = False,
    of: Any = None,
    positions: Sequence[int] | None = None,
) -> tuple[Any, ...]:
    """`linearize` under another transform's name; see `vjp_as`."""
    trace, eqns, inputs, outputs, in_tree, out_tree, aux = _trace_call(
        transform, fun, primals, has_aux, True, of, positions
    )
    out = tree.tree_unflatten(out_tree, _lowered(outputs, trace, keep=True))
    types = [x.type for x in inputs]
    active = [i for i, t in enumerate(types) if is_inexact(t.dtype)]
    graph = _linear_graph(trace, eqns, inputs, outputs, active, fun)
    beside = [x.value for x in (*inputs, *outputs) if type(x) is Tracer]

    def push(tangents: Sequence[Any]) -> list[Any]:
        return evaluate(graph, [tangents[i] for i in active])

    kind = Kind(transform, "tangents", "primals", several=True)
    source, target = Space(in_tree, tuple(types)), Space(out_tree, tuple([type_of(o) for o in outputs]))
    linear = Linear(kind, source, target, push, outputs, tuple(graph.consts.values()), beside)
    return (out, linear, aux) if has_aux else (out, linear)


def _linear_graph(
    trace: Trace,
    eqns: list[Equation],
    inputs: Sequence[Tracer],
    outputs: Sequence[Any],
    active: Sequence[int],
    fun: Any,
) -> Graph:
    """The pushforward as a Graph of the tangents of the active inputs."""

    def push(*tangents: Any) -> list[Any]:
        full: list[Any] = [None] * len(inputs)
        for i, t in zip(active, tangents, strict=True):
            full[i] = t
        return own_arrays(_push(trace, eqns, inputs, outputs, full), outputs)

    types = [strong(inputs[i].type) for i in active]
    return trace_graph(push, types, transform="linearize", user_function=fun)


@trimming
def linear_transpose(fun: Callable[..., Any], *primals: Any) -> Callable[[Any], tuple[Any, ...]]:
    """The transpose of a linear function.

    Args:
        fun: a function that is linear in all its arguments.
        *primals: arguments like those it will be applied to: arrays, or `ShapeDtypeStruct`s. Values are not used.

    Returns:
        A function from cotangents shaped like the output to a tuple of cotangents, one for each argument. Nothing is
        conjugated: it is the transpose, not the adjoint. It is a tree, as what `vjp` returns is.

    Raises:
        DifferentiationError: at an operation that is not linear, with its line.

    >>> import numpy as np, tracegrad as tg
    >>> tg.linear_transpose(lambda x: 2.0 * np.sum(x), np.zeros(3))(1.0)[0].tolist()
    [2.0, 2.0, 2.0]
    """
    return LinearMap(_linear_transpose(fun, primals))


@accepting_jax
def _linear_transpose(fun: Callable[..., Any], primals: tuple[Any, ...]) -> Linear:
    require_callable(fun, "linear_transpose", "(f, x)")
    leaves, in_tree = tree.tree_flatten(primals)
    names = leaf_names(fun, in_tree)
    types = [strong(t) for t in declared_types(leaves, names)]
    trace = Trace("linear_transpose", fun, abstract=True)
    trace.linear = trace.folds = True
    trace.names = names
    inputs = tracer_inputs(trace, types)

    def call() -> Any:
        outputs, out_tree = tree.tree_flatten(fun(*tree.tree_unflatten(in_tree, inputs)))
        return with_folded_constants(trace, inputs, [as_output(o, fun) for o in outputs]), out_tree

    (outputs, out_tree), eqns = trace.recorded(call)
    # In a program that is being made, and will be run again, they are constants of that.
    if not in_program():
        eqns = with_own_constants(eqns)
    require_linear(eqns)
    require_no_offset(eqns, [o.value if type(o) is Tracer and o.origin is not trace else o for o in outputs])
    out_types = [type_of(o) for o in outputs]
    beside = [x for eqn in eqns for x in eqn[1] if type(x) is Tracer and x.origin is not trace]

    def pull(cts: Sequence[Any]) -> list[Any]:
        return pull_back(trace, eqns, inputs, outputs, cts)

    kind = Kind("linear_transpose", "cotangent", "output", several=False)
    source, target = Space(out_tree, tuple(out_types)), Space(in_tree, tuple(types))
    return Linear(kind, source, target, pull, inputs, (), beside)


# ---------------------------------------------------------------------------------------------------------------------
# Neither mode.


@accepting_jax
def stop_gradient(x: R) -> R:
    """The argument, unchanged, but constant to every derivative, of whatever order and mode, that is being taken of it.

    It is also the way to a value inside a function that is being differentiated: what it gives there (under `grad`, `vjp`,
    `jvp`, `linearize` and the Jacobians) is no longer traced by any of them but a plain array or number, a copy of what the
    argument stands for, which can be printed, logged, plotted, drawn with or kept in a list. Where there is no value yet,
    in a function that is traced for a Graph (`make_graph`, `jit`, `vmap`, `checkpoint`, the body of a loop), it is recorded as an
    operation of that.

    Args:
        x: an array or a pytree of them. Leaves that are not arrays pass through.

    Returns:
        The same pytree, each traced leaf by a plain value, or by a tracer of the innermost enclosing transform that makes a
        Graph.

    Raises:
        UnexpectedTracerError: a tracer of a transform that has ended.

    >>> import numpy as np, tracegrad as tg
    >>> float(tg.grad(lambda x: x * tg.stop_gradient(x))(3.0))
    3.0
    >>> def loss(w):
    ...     value = np.sum(w**2)
    ...     print("loss %.2f" % tg.stop_gradient(value))
    ...     return value
    >>> tg.grad(loss)(np.array([1.0, 2.0])).tolist()
    loss 5.00
    [2.0, 4.0]
    """
    if type(x) is Tracer:
        return cast(R, _stopped(x))
    return cast(R, tree.tree_map(lambda leaf: _stopped(present(leaf)) if isinstance(leaf, Tracer) else leaf, x))


def _stopped(x: Any) -> Any:
    """What a tracer stands for below all traces that only differentiate: a value of the caller's own, or what a tracer of a
    trace that makes a Graph, or a foreign array, is without its derivative. What a branch that is being traced takes from
    outside is recorded in it."""
    while type(x) is Tracer:
        trace = x.origin
        if trace.for_graph or trace.executes or trace.ended or captor_of(trace) is not None:
            return bind(stop_gradient_op, (x,))
        x = x.value
    return x.copy("K") if type(x) is np.ndarray else x
