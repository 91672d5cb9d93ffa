"""Derivatives of solutions of equations, by the implicit function theorem: `implicit`; see also `root.py`.

Of F(x, theta) = 0 it is F_x dx = -F_theta dtheta, whatever has found x. So no derivative of what solves is needed, and the linear
equation is solved for it by `solve=`, or by a matrix while it is small and by products where it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.context import open_traces
from tracegrad.core.errors import ShapeError, at, described, name_of, require_callable, user_source
from tracegrad.core.names import transformed, wraps
from tracegrad.core.trace import strengthened
from tracegrad.core.tracer import Tracer
from tracegrad.core.tracing import arrays_of
from tracegrad.core.types import is_inexact, number_kind, type_of
from tracegrad.transforms.control.linear_solve import custom_linear_solve
from tracegrad.transforms.custom.call import call_by_rules
from tracegrad.transforms.custom.rules import Rules
from tracegrad.transforms.jacobian import jacfwd, jacrev
from tracegrad.transforms.krylov import gmres
from tracegrad.transforms.linearize import jvp, vjp
from tracegrad.typing import P, R

LARGE = 1000  # so many unknowns make no matrix any more

Solve = Callable[[Callable[[Any], Any], Any], Any]


def implicit(
    F: Callable[..., Any], *, solve: Solve | None = None, has_aux: bool = False
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Give what solves an equation the derivative of the solution: `tg.implicit(F)(solver)` is `solver`, which returns the x for which
    F(x, *theta) = 0 if called as `solver(*theta)`, with derivatives of x in theta, in both modes and of any order.

    Args:
        F: a function of x and of all arguments of the solver, pytrees, which returns as many numbers as x has. It is traced,
            and need be zero at the solution only.
        solve: `solve(matvec, b)` returns the y for which `matvec(y) = b`, a linear equation of trees like x, by ops that have
            derivatives or `tg.lax.custom_linear_solve`. Without it, that is done by a matrix, and for more than 1000
            unknowns by GMRES: NaN where that does not converge.
        has_aux: whether the solver returns a pair (x, aux), of which aux has no derivative.

    Returns:
        What makes of a solver, any function of arrays and pytrees, one with derivatives. Derivatives call it with plain arrays. Under `jit`
        and `vmap` it is traced; one that cannot be is `tg.external(solver, out=...)`.

    Raises:
        ShapeError: F returns more or fewer numbers than x has.
        DifferentiationError: F closes over what is differentiated; make an argument of it.

    >>> import numpy as np, scipy.optimize, tracegrad as tg
    >>> def F(x, a):                                # Kepler's equation, say
    ...     return x - 0.5 * np.sin(x) - a
    >>> @tg.implicit(F)
    ... def solver(a):
    ...     return scipy.optimize.brentq(F, -10.0, 10.0, args=(a,))
    >>> round(float(tg.grad(solver)(1.0)), 6), round(float(1 / (1 - 0.5 * np.cos(solver(1.0)))), 6)
    (1.037362, 1.037362)
    """
    require_callable(F, "implicit", "(F)(solver)")
    if solve is not None:
        require_callable(solve, "implicit", "(F, solve=solve)(solver)")

    def with_derivative(given: Callable[P, R]) -> Callable[P, R]:
        require_callable(given, "implicit", "(F)(solver)")
        solver: Callable[..., Any] = given

        @wraps(solver)
        @accepting_jax
        def solved(*theta: Any, **kwargs: Any) -> Any:
            if kwargs:
                raise TypeError(
                    f"{described(solver)} with an implicit derivative takes its arguments by position, as F does, got "
                    f"{', '.join(kwargs)} by keyword{at(user_source())}"
                )
            leaves, in_tree = tree.tree_flatten(theta)
            arrays = arrays_of(leaves, lambda i: f"an argument of {described(solver)}")
            if not any([type(x) is Tracer for x in arrays]) and not open_traces:
                return solver(*theta)
            found: list[Any] = []

            @wraps(solver)
            def run(*flat: Any) -> list[Any]:
                out = solver(*in_tree.unflatten(flat))
                if has_aux and not (isinstance(out, tuple | list) and len(out) == 2):
                    raise TypeError(
                        f"{described(solver)} must return a pair (x, aux), since tg.implicit was given has_aux=True"
                    )
                outputs, out_tree = tree.tree_flatten(out)
                found[:] = [out_tree]
                return [strengthened(x) for x in arrays_of(outputs, lambda i: f"what {described(solver)} returned")]

            def moved(primals: Sequence[Any], tangents: Sequence[Any], out: Sequence[Any]) -> list[Any]:
                full = found[0].unflatten(out)
                x = full[0] if has_aux else full
                count = len(tree.tree_leaves(x))
                dx = tangent_of_root(F, x, in_tree, primals, tangents, solve)
                return [*dx, *[None] * (len(out) - count)]

            def known(primals: Sequence[Any], perturbed: Sequence[bool], out: Any) -> tuple[list[Any], Any]:
                outputs = run(*primals) if out is None else [*out]
                return outputs, outputs

            def pulled(out: Sequence[Any], primals: Sequence[Any], cts: Sequence[Any]) -> list[Any]:
                full = found[0].unflatten(out)
                x = full[0] if has_aux else full
                return cotangents_of_root(F, x, in_tree, primals, cts[: len(tree.tree_leaves(x))])

            fwd, bwd = (known, pulled) if solve is None else (None, None)  # a `solve` of the user's is transposed
            rules = Rules(name_of(solver), len(arrays), run, moved, fwd, bwd)
            outputs = call_by_rules(arrays, rules, (F, solver, solve))
            return found[0].unflatten(outputs)

        return transformed(solved, _given, F, given, solve=solve, has_aux=has_aux)

    return with_derivative


def _given(F: Callable[..., Any], solver: Callable[P, R], **how: Any) -> Callable[P, R]:
    return implicit(F, **how)(solver)


def tangent_of_root(
    F: Callable[..., Any],
    x: Any,
    in_tree: tree.PyTreeDef,
    primals: Sequence[Any],
    tangents: Sequence[Any],
    solve: Solve | None,
) -> list[Any]:
    """The tangents of the leaves of x, for which F(x, *theta) = 0, for those of theta's, None for zeros."""
    leaves, structure = tree.tree_flatten(x)
    active = [i for i, t in enumerate(tangents) if t is not None and is_inexact(type_of(primals[i]).dtype)]
    if not active:
        return [None] * len(leaves)

    def flat(x: Any, *moving: Any) -> Any:
        arrays = list(primals)
        for i, m in zip(active, moving, strict=True):
            arrays[i] = m
        return raveled(F(x, *in_tree.unflatten(arrays)))

    _, right = jvp(lambda *m: flat(x, *m), [primals[i] for i in active], [tangents[i] for i in active])
    values = raveled(leaves)
    _require_as_many(F, right, values)
    here = [primals[i] for i in active]
    of_flat = lambda v: flat(structure.unflatten(unraveled(v, leaves)), *here)
    product = lambda v: jvp(of_flat, (values,), (v,))[1]
    if solve is not None:
        as_tree = lambda v: structure.unflatten(unraveled(v, leaves))
        found = solve(lambda y: as_tree(product(raveled(y))), as_tree(-right))
        return list(tree.tree_leaves(found))
    if type_of(values).size <= LARGE:
        matrix = jacfwd(of_flat, holomorphic=number_kind(type_of(values).dtype) == "c")(values)
        return unraveled(np.linalg.solve(matrix, -right), leaves)
    return unraveled(custom_linear_solve(product, -right, gmres, gmres), leaves)


def _require_as_many(F: Callable[..., Any], returned: Any, values: Any) -> None:
    if type_of(returned).shape != type_of(values).shape:
        raise ShapeError(
            f"{described(F)}, the equation of tg.implicit{at(user_source())}, returned {type_of(returned).size} numbers for an x of "
            f"{type_of(values).size}; it must return as many"
        )


def cotangents_of_root(
    F: Callable[..., Any], x: Any, in_tree: tree.PyTreeDef, primals: Sequence[Any], cts: Sequence[Any]
) -> list[Any]:
    """The cotangents of theta for those of the leaves of x, for which F(x, *theta) = 0: by reverse derivatives of F, whose rules for
    these need not be the transposed ones of those forward."""
    leaves, structure = tree.tree_flatten(x)
    active = [i for i, p in enumerate(primals) if is_inexact(type_of(p).dtype)]
    if not active or all([ct is None for ct in cts]):
        return [None] * len(primals)

    def flat(v: Any, *moving: Any) -> Any:
        arrays = list(primals)
        for i, m in zip(active, moving, strict=True):
            arrays[i] = m
        return raveled(F(structure.unflatten(unraveled(v, leaves)), *in_tree.unflatten(arrays)))

    values, here = raveled(leaves), [primals[i] for i in active]
    ct = raveled([np.zeros_like(leaf) if c is None else c for c, leaf in zip(cts, leaves, strict=True)])
    of_values = lambda v: flat(v, *here)
    zeros, pull = vjp(lambda *moving: flat(values, *moving), *here)
    _require_as_many(F, zeros, values)
    if type_of(values).size <= LARGE:
        matrix = jacrev(of_values, holomorphic=number_kind(type_of(values).dtype) == "c")(values)
        found = np.linalg.solve(np.transpose(matrix), ct)
    else:
        _, pull_values = vjp(of_values, values)
        found = custom_linear_solve(lambda w: pull_values(w)[0], ct, gmres, gmres)
    pulled = dict(zip(active, pull(-found), strict=True))
    return [pulled.get(i) for i in range(len(primals))]


def raveled(x: Any) -> Any:
    """The leaves of a tree one after the other, in one axis and one dtype."""
    leaves = arrays_of(tree.tree_leaves(x), lambda i: f"leaf {i}")
    parts = [np.reshape(leaf, (-1,)) for leaf in leaves]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def unraveled(v: Any, like: Sequence[Any]) -> list[Any]:
    """Leaves of the types of others from what `raveled` makes of such."""
    found, start = [], 0
    for leaf in like:
        t = type_of(leaf)
        part = np.reshape(v[start : start + t.size], t.shape)
        found.append(part if type_of(part).dtype == t.dtype else np.astype(part, t.dtype))
        start += t.size
    return found
