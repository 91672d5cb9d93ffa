"""Whole derivatives, built by batching a linear map over a basis of its inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

import numpy as np

from tracegrad import tree
from tracegrad.core.axes import within
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.context import context, watcher, watching
from tracegrad.core.errors import require_callable
from tracegrad.core.graph import Graph
from tracegrad.core.memory import compact
from tracegrad.core.names import named_after
from tracegrad.core.programs import lifted
from tracegrad.core.tracebacks import trimming
from tracegrad.core.tracer import Tracer
from tracegrad.core.tracing import trace_graph
from tracegrad.core.types import ArrayType, type_of
from tracegrad.transforms.arguments import Argnums, check_inputs, check_outputs, split_leaves
from tracegrad.transforms.batch import batch_graph, with_batch
from tracegrad.transforms.compressed import only_number, sparse_jacobian
from tracegrad.transforms.grad import grad
from tracegrad.transforms.linear import strong
from tracegrad.transforms.linearize import jvp_as, linearize_as, vjp_as
from tracegrad.typing import Array, Aux, P


def _basis(types: Sequence[ArrayType]) -> list[Any]:
    """For each leaf, the rows that belong to it of the identity over all leaves: shape (total, *leaf)."""
    total = sum([t.size for t in types])
    parts, start = [], 0
    for t in types:
        part = np.zeros((total, t.size), t.dtype)
        part[np.arange(start, start + t.size), np.arange(t.size)] = 1
        parts.append(part.reshape(total, *t.shape))
        start += t.size
    return parts


def _rows(graph: Graph, types: Sequence[ArrayType], beside: Sequence[Any]) -> list[Any]:
    """The linear graph applied to every basis element: for each output, an array of shape (total inputs, *output). It
    was made at the arrays `beside`, which may be traced."""
    basis = [lifted(x, beside) for x in _basis(types)]
    total = sum([t.size for t in types])
    results = within(context.bound, None, 0, batch_graph, graph, total, basis, [True] * len(basis))
    return [with_batch(r, total) for r in results]


def _split_axis(x: Any, types: Sequence[ArrayType], axis: int) -> list[Any]:
    """Split the flat basis axis of `x`, its first (axis 0) or last (-1), into one array for each type, in its shape."""
    parts, start = [], 0
    for t in types:
        if axis == 0:
            parts.append(np.reshape(x[start : start + t.size], (*t.shape, *x.shape[1:])))
        else:
            parts.append(np.reshape(x[..., start : start + t.size], (*x.shape[:-1], *t.shape)))
        start += t.size
    return parts


@overload
def jacfwd(
    fun: np.ufunc, argnums: Argnums = 0, has_aux: Literal[False] = False, holomorphic: bool = False
) -> Callable[..., Array]: ...
@overload
def jacfwd(
    fun: Callable[P, Any], argnums: Argnums = 0, has_aux: Literal[False] = False, holomorphic: bool = False
) -> Callable[P, Array]: ...
@overload
def jacfwd(
    fun: Callable[P, tuple[Any, Aux]], argnums: Argnums = 0, *, has_aux: Literal[True], holomorphic: bool = False
) -> Callable[P, tuple[Array, Aux]]: ...
@overload
def jacfwd(
    fun: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False
) -> Callable[..., Any]: ...
@trimming
def jacfwd(
    fun: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False
) -> Callable[..., Any]:
    """The Jacobian of `fun`, column by column in forward mode: for fewer inputs than outputs.

    Args as for `grad`, but the output may be any pytree of arrays.

    Returns:
        A function of the arguments of `fun` that returns a pytree like its output, in which each leaf is a pytree like
        the argument (with a tuple of argnums: a tuple of them) of arrays of shape `output.shape + argument.shape`.

    >>> import numpy as np, tracegrad as tg
    >>> tg.jacfwd(np.sin)(np.zeros(2)).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return _jacfwd("jacfwd", fun, argnums, has_aux, holomorphic)


def _jacfwd(
    transform: str,
    fun: Callable[..., Any],
    argnums: Argnums,
    has_aux: bool,
    holomorphic: bool,
    of: Any = None,
    wide: Callable[[], Callable[..., Any]] | None = None,
) -> Callable[..., Any]:
    """`jacfwd` under another transform's name; `of` is the user's function, where `fun` is made from it, `wide` what is to be
    done where there are more inputs than outputs."""
    of = fun if of is None else of
    require_callable(of, transform)

    def jacobian(*args: Any, **kwargs: Any) -> Any:
        if watching and (watch := watcher()) is not None:
            return watch(_jacfwd(transform, fun, argnums, has_aux, holomorphic, of), args, kwargs)
        split = split_leaves(fun, argnums, args, kwargs, transform, of)
        partial, primals, positions, leaves, in_tree, names = split
        check_inputs(leaves, names, transform, holomorphic)
        out, push, *aux = linearize_as(transform, partial, primals, has_aux, of, positions)
        out_leaves, out_tree = tree.tree_flatten(out)
        check_outputs(out, of, transform, holomorphic)
        types = [strong(type_of(x)) for x in leaves]
        if wide is not None and sum([t.size for t in types]) > sum([type_of(x).size for x in out_leaves]):
            return wide()(*args, **kwargs)
        graph = trace_graph(
            lambda *ts: tree.tree_leaves(push(*tree.tree_unflatten(in_tree, ts))),
            types,
            transform=transform,
            user_function=of,
        )
        rows = [_split_axis(np.moveaxis(r, 0, -1), types, -1) for r in _rows(graph, types, (*leaves, *out_leaves))]
        result = tree.tree_unflatten(out_tree, [_argument_tree(in_tree, r, argnums) for r in rows])
        return (result, aux[0]) if has_aux else result

    return named_after(accepting_jax(jacobian), fun, "jacfwd", jacfwd, argnums, has_aux, holomorphic)


@overload
def jacrev(
    fun: np.ufunc,
    argnums: Argnums = 0,
    has_aux: Literal[False] = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Array]: ...
@overload
def jacrev(
    fun: Callable[P, Any],
    argnums: Argnums = 0,
    has_aux: Literal[False] = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[P, Array]: ...
@overload
def jacrev(
    fun: Callable[P, tuple[Any, Aux]],
    argnums: Argnums = 0,
    *,
    has_aux: Literal[True],
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[P, tuple[Array, Aux]]: ...
@overload
def jacrev(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]: ...
@trimming
def jacrev(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """The Jacobian of `fun`, row by row in reverse mode: for fewer outputs than inputs. See `jacfwd`.

    >>> import numpy as np, tracegrad as tg
    >>> tg.jacrev(np.cumsum)(np.zeros(2)).tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    return _jacrev("jacrev", fun, argnums, has_aux, holomorphic, allow_int)


def _jacrev(
    transform: str,
    fun: Callable[..., Any],
    argnums: Argnums,
    has_aux: bool,
    holomorphic: bool,
    allow_int: bool,
    of: Any = None,
) -> Callable[..., Any]:
    """`jacrev` under another transform's name; `of` as for `_jacfwd`."""
    of = fun if of is None else of
    require_callable(of, transform)

    def jacobian(*args: Any, **kwargs: Any) -> Any:
        if watching and (watch := watcher()) is not None:
            return watch(_jacrev(transform, fun, argnums, has_aux, holomorphic, allow_int, of), args, kwargs)
        split = split_leaves(fun, argnums, args, kwargs, transform, of)
        partial, primals, positions, leaves, in_tree, names = split
        if not allow_int:
            check_inputs(leaves, names, transform, holomorphic)
        out, pull, *aux = vjp_as(transform, partial, primals, has_aux, of, positions)
        out_leaves, out_tree = tree.tree_flatten(out)
        check_outputs(out, of, transform, holomorphic)
        types = [strong(type_of(x)) for x in out_leaves]
        graph = trace_graph(
            lambda *cts: tree.tree_leaves(pull(tree.tree_unflatten(out_tree, cts))),
            types,
            transform=transform,
            user_function=of,
        )
        # For each argument leaf, one array over all output elements; cut by output, then regrouped output first.
        columns = [_split_axis(r, types, 0) for r in _rows(graph, types, (*leaves, *out_leaves))]
        rows = [_argument_tree(in_tree, [c[i] for c in columns], argnums) for i in range(len(types))]
        result = tree.tree_unflatten(out_tree, rows)
        return (result, aux[0]) if has_aux else result

    return named_after(accepting_jax(jacobian), of, "jacrev", jacrev, argnums, has_aux, holomorphic, allow_int)


def _argument_tree(in_tree: Any, leaves: Sequence[Any], argnums: Argnums) -> Any:
    """Leaves in the structure of the arguments: bare for one argnum, a tuple for several."""
    arguments = tree.tree_unflatten(in_tree, [_writeable(x) for x in leaves])
    return arguments[0] if isinstance(argnums, int) else arguments


def _writeable(x: Any) -> Any:
    return compact(x) if type(x) is np.ndarray and (x.base is not None or not x.flags.writeable) else x


@trimming
def jacobian(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    sparse: bool = False,
) -> Callable[..., Any]:
    """The Jacobian of `fun`: `jacfwd` where there are no more inputs than outputs, else `jacrev`; or a sparse one.

    Args as for `jacfwd`, and:
        sparse: whether it is made as SciPy's sparse arrays, by as few products as its pattern allows. The pattern is read off
            the Graph, whatever the values are: `where` lets both branches through, an index that depends on arguments may be
            any. Where it is as fast to go through rows in reverse mode, it goes through the columns in forward mode.

    Returns:
        A function of the arguments of `fun`. Dense, its results are those of `jacfwd`. Sparse, each array is a
        `scipy.sparse.csr_array` of shape (output.size, argument.size), both in C order, with all of the pattern's elements, zeros
        too, and `n_products`, how many products with the Jacobian it took.

    Raises:
        DtypeError: for arguments or outputs of the wrong kind, see `jacfwd`.
        TypeError: for a sparse one of arguments that are traced: SciPy's arrays hold numbers.
        ImportError: for a sparse one without SciPy.

    >>> import numpy as np, tracegrad as tg
    >>> def residual(u):
    ...     return u[:-2] - 2 * u[1:-1] + u[2:] + u[1:-1] ** 3
    >>> tg.jacobian(residual)(np.ones(4)).tolist()
    [[1.0, 1.0, 1.0, 0.0], [0.0, 1.0, 1.0, 1.0]]
    >>> found = tg.jacobian(residual, sparse=True)(np.ones(10_000))
    >>> found.shape, found.nnz, found.n_products
    ((9998, 10000), 29994, 3)

    Source: Curtis, Powell & Reid, "On the Estimation of Sparse Jacobian Matrices", IMA Journal of Applied Mathematics 13 (1974).
    """
    require_callable(fun, "jacobian")
    if sparse:
        of_sparse = sparse_jacobian("jacobian", fun, argnums, has_aux, holomorphic, fun)
        return named_after(of_sparse, fun, "jacobian", jacobian, argnums, has_aux, holomorphic, sparse=True)
    forward = _jacfwd("jacobian", fun, argnums, has_aux, holomorphic, wide=lambda: reverse)
    reverse = _jacrev("jacobian", fun, argnums, has_aux, holomorphic, allow_int=False)
    return named_after(forward, fun, "jacobian", jacobian, argnums, has_aux, holomorphic)


@overload
def hessian(
    fun: np.ufunc,
    argnums: Argnums = 0,
    has_aux: Literal[False] = False,
    holomorphic: bool = False,
    *,
    sparse: Literal[False] = False,
) -> Callable[..., Array]: ...
@overload
def hessian(
    fun: Callable[P, Any],
    argnums: Argnums = 0,
    has_aux: Literal[False] = False,
    holomorphic: bool = False,
    *,
    sparse: Literal[False] = False,
) -> Callable[P, Array]: ...
@overload
def hessian(
    fun: Callable[P, tuple[Any, Aux]],
    argnums: Argnums = 0,
    *,
    has_aux: Literal[True],
    holomorphic: bool = False,
    sparse: Literal[False] = False,
) -> Callable[P, tuple[Array, Aux]]: ...
@overload
def hessian(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    sparse: bool = False,
) -> Callable[..., Any]: ...
@trimming
def hessian(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    sparse: bool = False,
) -> Callable[..., Any]:
    """The Hessian of a function, forward over reverse. Arguments and structure as for `jacfwd(jacrev(fun))`, but that an
    array of one element, returned as the only output, counts as a scalar whatever its shape.

    With `sparse` it is made as SciPy's sparse arrays, of a function with one output of one element, as `jacobian` makes them: in
    fewer products yet, since one of two equal elements tells the other.

    >>> import numpy as np, tracegrad as tg
    >>> tg.hessian(lambda x: np.prod(x))(np.array([2.0, 3.0])).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    >>> found = tg.hessian(lambda x: np.sum(x[1:] ** 2 * x[:-1]), sparse=True)(np.ones(1000))
    >>> found.nnz, found.n_products
    (2997, 3)

    Sources: Powell & Toint, "On the Estimation of Sparse Hessian Matrices", SIAM Journal on Numerical Analysis 16 (1979);
    Gebremedhin et al., "New Acyclic and Star Coloring Algorithms with Application to Computing Hessians", SIAM Journal on
    Scientific Computing 29 (2007).
    """
    require_callable(fun, "hessian")
    if sparse:

        def gradient_of(partial: Callable[..., Any], positions: Sequence[int]) -> Callable[..., Any]:
            def gradient(*chosen: Any) -> Any:
                out, pull, *aux = vjp_as("hessian", partial, chosen, has_aux, fun, positions)
                ones = tree.tree_map(lambda x: np.ones(np.shape(x), x.dtype), only_number(out, fun))
                return (pull(ones), *aux) if has_aux else pull(ones)

            return gradient

        found = sparse_jacobian("hessian", fun, argnums, has_aux, holomorphic, fun, gradient_of)
        return named_after(found, fun, "hessian", hessian, argnums, has_aux, holomorphic, sparse=True)

    def scalar(*args: Any, **kwargs: Any) -> Any:
        out = fun(*args, **kwargs)
        if has_aux and isinstance(out, tuple) and len(out) == 2:
            return _as_scalar(out[0]), out[1]
        return out if has_aux else _as_scalar(out)

    first = _jacrev("hessian", scalar, argnums, has_aux, holomorphic, allow_int=False, of=fun)
    found = _jacfwd("hessian", first, argnums, has_aux, holomorphic, of=fun)
    return named_after(found, fun, "hessian", hessian, argnums, has_aux, holomorphic)


def _as_scalar(out: Any) -> Any:
    """An array of one element without its axes; anything else as it is."""
    return np.reshape(out, ()) if isinstance(out, Tracer | np.ndarray) and out.size == 1 and out.shape else out


@accepting_jax
def hvp(fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> Array:
    """The Hessian of a scalar function times a vector, forward over reverse, without forming the Hessian.

    Args:
        fun: a function of arrays or pytrees that returns a real scalar.
        primals: tuple of its arguments, all differentiated.
        tangents: the vector, in the same structure as `primals`; of whole numbers too (see `jvp`).

    Returns:
        The product: like the argument if there is one, else a tuple like `primals`.

    >>> import numpy as np, tracegrad as tg
    >>> tg.hvp(lambda x: np.sum(x**3), (np.array([1.0, 2.0]),), (np.array([1.0, 1.0]),)).tolist()
    [6.0, 12.0]

    Source: Pearlmutter, "Fast Exact Multiplication by the Hessian", Neural Computation 6 (1994).
    """
    require_callable(fun, "hvp", "(f, (x,), (t,))")
    count = len(primals) if isinstance(primals, tuple | list) else 1
    return jvp_as("hvp", grad(fun, 0 if count == 1 else tuple(range(count))), primals, tangents, of=fun)[1]
