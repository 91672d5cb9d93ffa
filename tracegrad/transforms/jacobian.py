"""Whole derivatives, built by batching a linear map over a basis of its inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.errors import DifferentiationError, DtypeError
from tracegrad.graph import Graph, trace_graph
from tracegrad.trace import as_array
from tracegrad.transforms.batch import batch_graph, with_batch
from tracegrad.transforms.differentiate import Argnums, grad, jvp, linearize, vjp
from tracegrad.transforms.linear import strong
from tracegrad.types import ArrayType, type_of


def _split(
    fun: Callable[..., Any], argnums: Argnums, args: tuple[Any, ...], kwargs: dict[str, Any], transform: str
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """`fun` as a function of the arguments at `argnums` alone, and those arguments."""
    positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    count = len(args)
    for i in positions:
        if not -count <= i < count:
            raise DifferentiationError(f"{transform}: argnums={i}, but there are {count} positional arguments")
    normal = [i % count for i in positions]

    def partial(*chosen: Any) -> Any:
        call = list(args)
        for i, x in zip(normal, chosen, strict=True):
            call[i] = x
        return fun(*call, **kwargs)

    partial.__name__ = getattr(fun, "__name__", "f")
    partial.__qualname__ = getattr(fun, "__qualname__", "f")
    if hasattr(fun, "__code__"):
        partial.__wrapped__ = fun  # type: ignore[attr-defined]
    return partial, tuple([args[i] for i in normal])


def _check_real(leaves: Sequence[Any], names: Sequence[str], transform: str, holomorphic: bool, what: str) -> None:
    for x, name in zip(leaves, names, strict=True):
        found = type_of(x)
        wanted = "c" if holomorphic else "f"
        if found.dtype.kind not in wanted:
            fix = "needs complex" if holomorphic else "needs real floating"
            raise DtypeError(
                f"{transform} {fix} {what}s, but {what}{name} is {found}; "
                + (
                    "pass holomorphic=False"
                    if holomorphic
                    else "write .astype(float), or pass holomorphic=True for complex"
                )
            )


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


def _rows(graph: Graph, types: Sequence[ArrayType]) -> list[Any]:
    """The linear graph applied to every basis element: for each output, an array of shape (total inputs, *output)."""
    basis = _basis(types)
    total = sum([t.size for t in types])
    return [with_batch(r, total) for r in batch_graph(graph, total, basis, [True] * len(basis))]


def _cut(x: Any, types: Sequence[ArrayType], axis: int) -> list[Any]:
    """Split the flat basis axis of `x`, its first (axis 0) or last (-1), into one array for each type, in its shape."""
    parts, start = [], 0
    for t in types:
        if axis == 0:
            parts.append(np.reshape(x[start : start + t.size], (*t.shape, *x.shape[1:])))
        else:
            parts.append(np.reshape(x[..., start : start + t.size], (*x.shape[:-1], *t.shape)))
        start += t.size
    return parts


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

    def jacobian(*args: Any, **kwargs: Any) -> Any:
        partial, primals = _split(fun, argnums, args, kwargs, "jacfwd")
        found, in_tree = tree.tree_flatten_with_path(primals)
        leaves = [as_array(x) for _, x in found]
        _check_real(leaves, [tree.keystr(p) for p, _ in found], "jacfwd", holomorphic, "input")
        out, push, *aux = linearize(partial, *primals, has_aux=has_aux)
        out_leaves, out_tree = tree.tree_flatten(out)
        _check_real(out_leaves, [""] * len(out_leaves), "jacfwd", holomorphic, "output")
        types = [strong(type_of(x)) for x in leaves]
        graph = trace_graph(
            lambda *ts: tree.tree_leaves(push(*tree.tree_unflatten(in_tree, ts))),
            types,
            transform="jacfwd",
            user_function=fun,
        )
        rows = [_cut(np.moveaxis(r, 0, -1), types, -1) for r in _rows(graph, types)]
        result = tree.tree_unflatten(out_tree, [_argument_tree(in_tree, r, argnums) for r in rows])
        return (result, aux[0]) if has_aux else result

    jacobian.__name__ = f"jacfwd({getattr(fun, '__name__', 'f')})"
    return jacobian


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

    def jacobian(*args: Any, **kwargs: Any) -> Any:
        partial, primals = _split(fun, argnums, args, kwargs, "jacrev")
        found, in_tree = tree.tree_flatten_with_path(primals)
        leaves = [as_array(x) for _, x in found]
        if not allow_int:
            _check_real(leaves, [tree.keystr(p) for p, _ in found], "jacrev", holomorphic, "input")
        out, pull, *aux = vjp(partial, *primals, has_aux=has_aux)
        out_leaves, out_tree = tree.tree_flatten(out)
        _check_real(out_leaves, [""] * len(out_leaves), "jacrev", holomorphic, "output")
        types = [strong(type_of(x)) for x in out_leaves]
        graph = trace_graph(
            lambda *cts: tree.tree_leaves(pull(tree.tree_unflatten(out_tree, cts))),
            types,
            transform="jacrev",
            user_function=fun,
        )
        # For each argument leaf, one array over all output elements; cut by output, then regrouped output first.
        columns = [_cut(r, types, 0) for r in _rows(graph, types)]
        rows = [_argument_tree(in_tree, [c[i] for c in columns], argnums) for i in range(len(types))]
        result = tree.tree_unflatten(out_tree, rows)
        return (result, aux[0]) if has_aux else result

    jacobian.__name__ = f"jacrev({getattr(fun, '__name__', 'f')})"
    return jacobian


def _argument_tree(in_tree: Any, leaves: Sequence[Any], argnums: Argnums) -> Any:
    """Leaves in the structure of the arguments: bare for one argnum, a tuple for several."""
    arguments = tree.tree_unflatten(in_tree, [_writeable(x) for x in leaves])
    return arguments[0] if isinstance(argnums, int) else arguments


def _writeable(x: Any) -> Any:
    return x.copy() if type(x) is np.ndarray and (x.base is not None or not x.flags.writeable) else x


def hessian(
    fun: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False
) -> Callable[..., Any]:
    """The Hessian of a function, forward over reverse. Arguments and structure as for `jacfwd(jacrev(fun))`.

    >>> import numpy as np, tracegrad as tg
    >>> tg.hessian(lambda x: np.prod(x))(np.array([2.0, 3.0])).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    first = jacrev(fun, argnums, has_aux=has_aux, holomorphic=holomorphic)
    return jacfwd(first, argnums, has_aux=has_aux, holomorphic=holomorphic)


def hvp(fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """The Hessian of a scalar function times a vector, forward over reverse, without forming the Hessian.

    Args:
        fun: a function of arrays or pytrees that returns a real scalar.
        primals: tuple of its arguments, all differentiated.
        tangents: the vector, in the same structure as `primals`.

    Returns:
        The product: like the argument if there is one, else a tuple like `primals`.

    >>> import numpy as np, tracegrad as tg
    >>> tg.hvp(lambda x: np.sum(x**3), (np.array([1.0, 2.0]),), (np.array([1.0, 1.0]),)).tolist()
    [6.0, 12.0]

    Source: Pearlmutter, "Fast Exact Multiplication by the Hessian", Neural Computation 6 (1994).
    """
    argnums: Argnums = 0 if len(primals) == 1 else tuple(range(len(primals)))
    return jvp(grad(fun, argnums), tuple(primals), tuple(tangents))[1]
