"""`custom_root`: jax's form of `implicit`, in which all that the functions close over has derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

from tracegrad import tree
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.context import open_traces
from tracegrad.core.errors import name_of, require_callable
from tracegrad.core.graph import Graph
from tracegrad.core.names import wraps
from tracegrad.core.trace import strengthened
from tracegrad.core.tracing import arrays_of, traced
from tracegrad.core.types import type_of
from tracegrad.transforms.control.call import call
from tracegrad.transforms.control.held import tangents_of
from tracegrad.transforms.control.linear_solve import Space, sharing_consts
from tracegrad.transforms.custom.call import call_with_rules
from tracegrad.transforms.linear import strong, zeros_like_type
from tracegrad.typing import R


@overload
def custom_root(
    f: Callable[[R], R],
    initial_guess: R,
    solve: Callable[[Callable[[R], R], R], Any],
    tangent_solve: Callable[[Callable[[R], R], R], R],
    has_aux: Literal[False] = False,
) -> R: ...
@overload
def custom_root(
    f: Callable[[R], R],
    initial_guess: R,
    solve: Callable[[Callable[[R], R], R], Any],
    tangent_solve: Callable[[Callable[[R], R], R], R],
    has_aux: Literal[True],
) -> tuple[R, Any]: ...
@accepting_jax
def custom_root(
    f: Callable[[Any], Any],
    initial_guess: Any,
    solve: Callable[[Callable[[Any], Any], Any], Any],
    tangent_solve: Callable[[Callable[[Any], Any], Any], Any],
    has_aux: bool = False,
) -> Any:
    """The x for which f(x) = 0, as `solve(f, initial_guess)` finds it, with derivatives by the implicit function theorem in all that f
    closes over.

    Args:
        f: a function of a pytree that returns one of the same structure and shapes.
        initial_guess: where `solve` begins, a pytree. The solution does not depend on it.
        solve: `solve(f, initial_guess)` returns x. It has no derivative, and is traced where something is differentiated: loops
            are `tg.lax.while_loop`. For what cannot be traced, see `tg.implicit`.
        tangent_solve: `tangent_solve(g, y)` returns the z for which g(z) = y, with g linear: `y / g(1.0)` for numbers, a matrix from
            `tg.jacfwd(g)`, or `tg.lax.custom_linear_solve`.
        has_aux: whether `solve` returns a pair (x, aux), of which aux has no derivative.

    Returns:
        x, or (x, aux).

    Raises:
        ShapeError: f or `solve` returns another structure or other shapes than the guess has.

    >>> import numpy as np, tracegrad as tg
    >>> def cube_root(a):
    ...     newton = lambda f, x: tg.lax.fori_loop(0, 40, lambda i, x: x - f(x) / tg.grad(f)(x), x)
    ...     return tg.lax.custom_root(lambda x: x**3 - a, 1.0, newton, lambda g, y: y / g(1.0))
    >>> round(float(cube_root(8.0)), 12), round(float(tg.grad(tg.grad(cube_root))(8.0)), 12)
    (2.0, -0.006944444444)
    """
    for name, function in (("f", f), ("solve", solve), ("tangent_solve", tangent_solve)):
        require_callable(function, "lax.custom_root", f"(f, initial_guess, solve, tangent_solve): {name}")
    leaves, structure = tree.tree_flatten(initial_guess)
    guess = [strengthened(x) for x in arrays_of(leaves, lambda i: f"lax.custom_root: the initial guess, leaf {i}")]
    if not open_traces:
        return solve(f, structure.unflatten(guess))
    types = [strong(type_of(x)) for x in guess]
    space, count = Space(structure, types), len(guess)
    residual, _ = space.graph(f, f, False)
    solved, out_tree = space.graph(solve, lambda x: solve(f, x), has_aux)

    # The tangent's equation as a Graph of x and the right side, so that what it closes over are inputs as well.
    @wraps(tangent_solve)
    def tangent(*arrays: Any) -> list[Any]:
        pushed, moved = tangents_of(residual, tuple(range(count)))

        def g(z: Any) -> Any:
            found = dict(
                zip(moved, call(pushed, [*arrays[:count], *map(strengthened, tree.tree_leaves(z))]), strict=True)
            )
            return structure.unflatten([found[i] if i in found else zeros_like_type(t) for i, t in enumerate(types)])

        z = tangent_solve(g, structure.unflatten(arrays[count:]))
        space.require(z, tangent_solve)
        return tree.tree_leaves(z)

    turned, _ = traced(tangent_solve, tangent, [*types, *types], transform="call", abstract=True, captures=True)
    (residual, solved, turned), consts = sharing_consts([residual, solved, turned])
    first = len(consts)

    def moved(primals: Sequence[Any], tangents: Sequence[Any], out: Sequence[Any]) -> list[Any]:
        nothing: list[Any] = [None] * len(out)
        active = tuple([i for i, t in enumerate(tangents[:first]) if t is not None])
        pushed, found = tangents_of(residual, active) if active else (residual, ())
        if not found:
            return nothing
        values = [*primals[:first], *out[:count]]
        right = dict(zip(found, call(pushed, [*values, *[tangents[i] for i in active]]), strict=True))
        full = [-right[i] if i in right else zeros_like_type(t) for i, t in enumerate(types)]
        return [*call(turned, [*values, *full]), *nothing[count:]]

    return out_tree.unflatten(call_with_rules(name_of(f), _named(solved, "custom_root"), [*consts, *guess], jvp=moved))


def _named(graph: Graph, name: str) -> Graph:
    return Graph(graph.inputs, graph.eqns, graph.outputs, graph.consts, name)
