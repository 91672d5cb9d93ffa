"""grad and value_and_grad: the function is traced with values, and `backward` (linear.py) walks the equations."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypedDict, Unpack, overload

import numpy as np

from tracegrad import tree
from tracegrad.core.boxes import holds_jax_array, in_boxes, unboxed
from tracegrad.core.constants import LARGE
from tracegrad.core.context import context, open_traces, watcher, watching, writing
from tracegrad.core.errors import hidden_behind, require_callable
from tracegrad.core.jax_arrays import is_jax_array
from tracegrad.core.memory import copied
from tracegrad.core.names import leaf_names, named_after
from tracegrad.core.numpy_warnings import again as run_again
from tracegrad.core.numpy_warnings import has_warned
from tracegrad.core.programs import lifted
from tracegrad.core.trace import Trace
from tracegrad.core.tracebacks import trim
from tracegrad.core.tracer import Tracer, settled_tree
from tracegrad.core.tracing import arrays_of
from tracegrad.core.types import is_inexact, number_kind
from tracegrad.core.views import own
from tracegrad.transforms.arguments import (
    COMPLEX,
    UNUSED,
    Argnums,
    Complex,
    Unused,
    Wrt,
    check_choice,
    check_input,
    chosen_leaves,
    counted_from_front,
    lowered_aux,
    positions_of,
    scalar_output,
    split_aux,
    tell_of_unused,
)
from tracegrad.transforms.batch import own_arrays
from tracegrad.transforms.linear import backward
from tracegrad.transforms.sparing import spare
from tracegrad.typing import Array, Aux, P, R

# The cotangent to start from, for the scalar types that most functions return.
_ONES = {t: t(1) for t in (np.float64, np.float32, np.float16)}


class GradOptions(TypedDict, total=False):
    """The keywords of `grad` after `has_aux`, for its overloads."""

    holomorphic: bool
    allow_int: bool
    unused: Unused
    wrt: Wrt
    complex: Complex


@overload
def value_and_grad(
    fun: np.ufunc, argnums: Argnums = 0, has_aux: Literal[False] = False, **options: Unpack[GradOptions]
) -> Callable[..., tuple[Array, Array]]: ...
@overload
def value_and_grad(
    fun: Callable[P, R], argnums: Argnums = 0, has_aux: Literal[False] = False, **options: Unpack[GradOptions]
) -> Callable[P, tuple[R, Array]]: ...
@overload
def value_and_grad(
    fun: Callable[P, tuple[R, Aux]], argnums: Argnums = 0, *, has_aux: Literal[True], **options: Unpack[GradOptions]
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
        wrt: which leaves of the differentiated arguments: a pattern for their paths such as `"encoder.*"` or `"encoder/*"` (as in file
            names; a list of patterns, one of which must match), or a function `(path, leaf) -> bool`. The others are constants: no
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
    fun: np.ufunc, argnums: Argnums = 0, has_aux: Literal[False] = False, **options: Unpack[GradOptions]
) -> Callable[..., Array]: ...
@overload
def grad(
    fun: Callable[P, Any], argnums: Argnums = 0, has_aux: Literal[False] = False, **options: Unpack[GradOptions]
) -> Callable[P, Array]: ...
@overload
def grad(
    fun: Callable[P, tuple[Any, Aux]], argnums: Argnums = 0, *, has_aux: Literal[True], **options: Unpack[GradOptions]
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
                    if x.nbytes >= LARGE:
                        spare(trace)
                    in_tree = None
                    leaves: list[Any] = [leaf]
                    call = list(args)
                    call[first] = leaf
                else:
                    leaves, in_tree, call = _traced_arguments(
                        trace, args, positions, several, holomorphic, allow_int, wrt
                    )
                    if any([x is not None and getattr(x.value, "nbytes", 0) >= LARGE for x in leaves]):
                        spare(trace)
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
                aux = lowered_aux(*found, trace)
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
    given: list[Any] = []  # the leaves that the function is called with
    for i, x in enumerate(leaves):
        if wanted is not None and not wanted[i]:
            tracers.append(None)
            given.append(x)
            continue
        if type(x) is np.ndarray and number_kind(x.dtype) == "f" and not holomorphic:
            tracer = Tracer(trace, x.copy("K") if x.flags.forc else copied(x), i)
        else:
            if is_jax_array(x):
                raise _HoldsJaxArray
            (x,) = arrays_of([x], lambda _, i=i: name(i))  # type: ignore[misc]
            tracer = Tracer(trace, own(x), i)
            check_input(tracer, trace.transform, holomorphic, allow_int)
        tracers.append(tracer)
        given.append(tracer)
    parts = tree.tree_unflatten(in_tree, given)
    for i, part in zip(normal, parts if several else (parts,), strict=True):
        call[i] = part
    return tracers, in_tree, call


def _results(leaves: Sequence[Tracer | None], cotangents: dict[int, Any], unused: Unused, transform: str) -> list[Any]:
    """The gradient with respect to each leaf, as the caller gets it; None for one that was left out."""
    found = [None if x is None else cotangents.get(id(x)) for x in leaves]
    if unused == "zero" and all([x is not None for x in leaves]):
        return own_arrays(found, leaves)
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
