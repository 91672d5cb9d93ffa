"""Arithmetic on trees of arrays, with the names, arguments and values of `optax.tree`. Where optax takes a tree, None stands for no leaf."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tracegrad import tree as trees
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.types import number_kind, type_of
from tracegrad.optim.base import cast as cast_hyperparameter
from tracegrad.tree_util import register_pytree_node
from tracegrad.typing import Array, ArrayLike, DType, PyTree

# -- Leaf by leaf


def _over_leaves(f: Callable[..., Any], *given: PyTree) -> PyTree:
    """`f` of the leaves of trees; where the first has None, so has the result."""
    return trees.map(lambda x, *rest: None if x is None else f(x, *rest), *given, is_leaf=_is_none)


def _is_none(x: Any) -> bool:
    return x is None


@accepting_jax
def add(tree_x: PyTree, tree_y: PyTree, *other_trees: PyTree) -> PyTree:
    """The sums of the leaves of trees of one structure.

    >>> add({"a": 1.0}, {"a": 2.0}, {"a": 4.0})
    {'a': 7.0}
    """
    return trees.map(lambda *leaves: functools.reduce(operator.add, leaves), tree_x, tree_y, *other_trees)


@accepting_jax
def sub(tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """The differences of the leaves."""
    return trees.map(operator.sub, tree_x, tree_y)


@accepting_jax
def mul(tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """The products of the leaves."""
    return trees.map(operator.mul, tree_x, tree_y)


@accepting_jax
def div(tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """The quotients of the leaves."""
    return trees.map(operator.truediv, tree_x, tree_y)


@accepting_jax
def scale(scalar: ArrayLike, tree: PyTree) -> PyTree:
    """Each leaf times a number.

    >>> scale(2.0, {"a": np.array([1.0, 2.0])})
    {'a': array([2., 4.])}
    """
    return trees.map(lambda x: cast_hyperparameter(scalar, x) * x, tree)


@accepting_jax
def add_scale(tree_x: PyTree, scalar: ArrayLike, tree_y: PyTree) -> PyTree:
    """`x + scalar * y` of each leaf; None where x is None."""
    return _over_leaves(lambda x, y: x + cast_hyperparameter(scalar, y) * y, tree_x, tree_y)


@accepting_jax
def clip(tree: PyTree, min_value: ArrayLike | None = None, max_value: ArrayLike | None = None) -> PyTree:
    """The elements of each leaf, none below `min_value` nor above `max_value`.

    >>> clip({"a": np.array([-3.0, 0.5, 9.0])}, -1.0, 1.0)
    {'a': array([-1. ,  0.5,  1. ])}
    """

    def clipped(x: Any) -> Any:
        low, high = [b if b is None else cast_hyperparameter(b, x) for b in (min_value, max_value)]
        return np.clip(x, low, high)

    return trees.map(clipped, tree)


@accepting_jax
def conj(tree: PyTree) -> PyTree:
    """The conjugates of the leaves."""
    return trees.map(np.conj, tree)


@accepting_jax
def real(tree: PyTree) -> PyTree:
    """The real parts of the leaves."""
    return trees.map(np.real, tree)


@accepting_jax
def where(condition: ArrayLike, tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """`np.where(condition, x, y)` of each leaf, for one condition."""
    return trees.map(lambda x, y: np.where(condition, x, y), tree_x, tree_y)


@accepting_jax
def batch_shape(tree: PyTree, shape: tuple[int, ...] = ()) -> PyTree:
    """Each leaf repeated along new leading axes of these sizes."""
    return trees.map(lambda x: np.broadcast_to(x, (*shape, *np.shape(x))), tree)


@accepting_jax
def zeros_like(tree: PyTree, dtype: DType = None) -> PyTree:
    """Zeros of the shapes of the leaves, of their dtypes or of one given.

    >>> zeros_like({"a": np.ones(2), "b": 1.0}, np.float32)
    {'a': array([0., 0.], dtype=float32), 'b': array(0., dtype=float32)}
    """
    return trees.map(lambda x: np.zeros_like(x, dtype), tree)


@accepting_jax
def ones_like(tree: PyTree, dtype: DType = None) -> PyTree:
    """Ones of the shapes of the leaves, of their dtypes or of one given."""
    return trees.map(lambda x: np.ones_like(x, dtype), tree)


@accepting_jax
def full_like(tree: PyTree, fill_value: ArrayLike, dtype: DType = None) -> PyTree:
    """One number in the shapes of the leaves, of their dtypes or of one given."""
    return trees.map(lambda x: np.full_like(x, fill_value, dtype), tree)


@accepting_jax
def cast(tree: PyTree, dtype: DType) -> PyTree:
    """The leaves in another dtype; as they are for None.

    >>> cast({"a": np.ones(2)}, np.float32)
    {'a': array([1., 1.], dtype=float32)}
    """
    return tree if dtype is None else trees.map(lambda x: x.astype(dtype), tree)


@accepting_jax
def cast_like(tree: PyTree, other_tree: PyTree) -> PyTree:
    """The leaves in the dtypes of those of another tree, if these have one."""
    return trees.map(lambda x, o: x.astype(o.dtype) if hasattr(o, "dtype") else x, tree, other_tree)


# -- All leaves at once


@accepting_jax
def sum(tree: PyTree, associative_reduction: bool = False) -> Array:
    """The sum of all elements of all leaves; 0 if there are none. `associative_reduction` is jax's matter: sums are the same.

    >>> float(sum({"a": np.ones(3), "b": 2.0}))
    5.0
    """
    return functools.reduce(operator.add, [np.sum(x) for x in trees.leaves(tree)], 0)


@accepting_jax
def max(tree: PyTree) -> Array:
    """The largest of all elements; -inf if there are none."""
    return functools.reduce(np.maximum, [np.max(x) for x in trees.leaves(tree) if np.size(x)], -np.inf)


@accepting_jax
def min(tree: PyTree) -> Array:
    """The least of all elements; inf if there are none."""
    return functools.reduce(np.minimum, [np.min(x) for x in trees.leaves(tree) if np.size(x)], np.inf)


def size(tree: PyTree) -> int:
    """The number of all elements.

    >>> size({"a": np.ones((2, 3)), "b": 1.0})
    7
    """
    return functools.reduce(operator.add, [int(np.size(x)) for x in trees.leaves(tree)], 0)


@accepting_jax
def vdot(tree_x: PyTree, tree_y: PyTree) -> Array:
    """The sum of `np.vdot(x, y)` over the leaves, the first one conjugated.

    Raises:
        ValueError: leaves of different shapes.

    >>> float(vdot({"a": np.array([1.0, 2.0])}, {"a": np.array([3.0, 4.0])}))
    11.0
    """
    dots = trees.leaves(trees.map(lambda x, y: np.vdot(np.ravel(x), np.ravel(y)), tree_x, tree_y))
    return functools.reduce(operator.add, dots, 0)


@accepting_jax
def norm(tree: PyTree, ord: int | str | float | None = None, squared: bool = False) -> Array:
    """The norm of all elements of all leaves together, as one vector.

    Half floats are squared and added up in float32, which holds their squares.

    Args:
        tree: arrays of any shapes.
        ord: 2 or None for the Euclidean norm, 1 for the sum of absolute values, `np.inf` for the largest.
        squared: its square, of the Euclidean norm without the root.

    Raises:
        ValueError: another `ord`.

    >>> float(norm({"a": np.array([3.0, 0.0]), "b": 4.0}))
    5.0
    """
    tree = trees.map(in_float32, tree)
    if ord is None or ord == 2:
        found = sum(trees.map(abs_squared, tree))
        return found if squared else np.sqrt(found)
    if ord == 1:
        found = sum(trees.map(np.abs, tree))
    elif ord in (np.inf, "inf", "infinity"):
        found = max(trees.map(np.abs, tree))
    else:
        raise ValueError(f"norm of a tree got ord={ord!r}; it takes None, 2, 1 and np.inf")
    return found * found if squared else found


def in_float32(x: Any) -> Any:
    """Half floats in float32, which holds their squares and sums; anything else as it is."""
    dtype = type_of(x).dtype
    return x.astype(np.float32) if number_kind(dtype) == "f" and dtype.itemsize < 4 else x


def abs_squared(x: Any) -> Any:
    """The squares of the absolute values, which are real."""
    return x.real**2 + x.imag**2 if np.iscomplexobj(x) else x * x


@accepting_jax
def allclose(a: PyTree, b: PyTree, rtol: ArrayLike = 1e-5, atol: ArrayLike = 1e-8, equal_nan: bool = False) -> Array:
    """Whether all leaves are close, in the sense of `np.allclose`."""
    close = trees.map(lambda x, y: np.allclose(x, y, rtol, atol, equal_nan), a, b)
    return functools.reduce(operator.and_, trees.leaves(close), True)


def dtype(tree: PyTree, mixed_dtype_handler: str | None = None) -> np.dtype[Any]:
    """The dtype of the leaves.

    Args:
        tree: arrays.
        mixed_dtype_handler: what to do where there are several: "promote" for the one that holds them all, "highest" and
            "lowest" for the one that all others promote to and the one that promotes to all others, None for an error.

    Raises:
        ValueError: several dtypes, of which none is asked for; several of which none is the highest or lowest; another word.

    >>> dtype({"a": np.ones(2, np.float32), "b": np.ones(2)}, "lowest")
    dtype('float32')
    """
    found = list(dict.fromkeys([type_of(x).dtype for x in trees.leaves(tree)]))
    if not found:
        return np.dtype(np.float64)
    if mixed_dtype_handler is None:
        if len(found) > 1:
            raise ValueError(
                f"the leaves have several dtypes, {', '.join(map(str, found))}; cast them to one, or choose by"
                ' mixed_dtype_handler="promote", "highest" or "lowest"'
            )
        return found[0]
    if mixed_dtype_handler == "promote":
        return functools.reduce(np.promote_types, found)
    if mixed_dtype_handler not in ("highest", "lowest"):
        raise ValueError(f'mixed_dtype_handler is None, "promote", "highest" or "lowest"; got {mixed_dtype_handler!r}')
    for one in found:
        if all(np.promote_types(one, other) == (one if mixed_dtype_handler == "highest" else other) for other in found):
            return one
    raise ValueError(
        f'none of the dtypes {", ".join(map(str, found))} is the {mixed_dtype_handler}; use mixed_dtype_handler="promote"'
    )


# -- Moments


@accepting_jax
def update_moment(updates: PyTree, moments: PyTree, decay: ArrayLike, order: int) -> PyTree:
    """The moving averages of powers of the updates: `(1 - decay) * g**order + decay * moment`."""
    return _over_leaves(lambda g, m: _averaged(g if order == 1 else g**order, m, decay), updates, moments)


def _averaged(new: Any, old: Any, decay: Any) -> Any:
    return cast_hyperparameter(1 - decay, new) * new + cast_hyperparameter(decay, old) * old


@accepting_jax
def update_moment_per_elem_norm(updates: PyTree, moments: PyTree, decay: ArrayLike, order: int) -> PyTree:
    """The same of the absolute values, as which complex numbers count: their moments are real."""

    def power(g: Any) -> Any:
        if not np.iscomplexobj(g):
            return g**order
        return abs_squared(g) ** (order // 2 if order % 2 == 0 else order / 2)

    return _over_leaves(lambda g, m: _averaged(power(g), m, decay), updates, moments)


@accepting_jax
def update_infinity_moment(updates: PyTree, moments: PyTree, decay: ArrayLike, eps: ArrayLike) -> PyTree:
    """The larger of `|g| + eps` and `decay * moment`."""
    return _over_leaves(
        lambda g, m: np.maximum(np.abs(g) + cast_hyperparameter(eps, g), cast_hyperparameter(decay, m) * m),
        updates,
        moments,
    )


@accepting_jax
def bias_correction(moment: PyTree, decay: ArrayLike, count: ArrayLike) -> PyTree:
    """Moments that started from zero, divided by `1 - decay**count`: what they lack after so many steps.

    >>> bias_correction({"a": np.array([0.1], np.float32)}, 0.9, np.int32(1))
    {'a': array([1.], dtype=float32)}
    """
    correction = 1 - decay**count
    return trees.map(lambda m: m / cast_hyperparameter(correction, m), moment)


# -- By name


@dataclasses.dataclass(frozen=True)
class NamedTupleKey:
    """A step of a path into a named tuple, which says of what class that is."""

    tuple_name: str
    name: str

    def __str__(self) -> str:
        return f"{self.tuple_name}.{self.name}"


Filter = Callable[[tuple[Any, ...], Any], bool]


def get_all_with_path(tree: PyTree, key: Any, filtering: Filter | None = None) -> list[tuple[tuple[Any, ...], Any]]:
    """All that a key stands for in a tree, with the path to it: the entry of a dict, the field of a named tuple, or the named tuples
    of a class of this name. `filtering(path, value)` says which of them are wanted.

    >>> state = ({"mu": 1.0}, [{"mu": 2.0, "nu": 3.0}])
    >>> [(trees.keystr(path), value) for path, value in get_all_with_path(state, "mu")]
    [("[0]['mu']", 1.0), ("[1][0]['mu']", 2.0)]
    """
    found = [(path, value) for path, value, _ in _found(tree, frozenset([key]), ())]
    return [pair for pair in found if filtering is None or filtering(*pair)]


def _is_named_tuple(x: Any) -> bool:
    return isinstance(x, tuple) and hasattr(x, "_fields")


def _children(node: Any) -> list[tuple[Any, Any]]:
    """The steps into the children of a node, with these; none of a leaf."""
    if _is_named_tuple(node):
        return [(NamedTupleKey(type(node).__name__, name), getattr(node, name)) for name in node._fields]
    pairs = trees.leaves_with_path(node, is_leaf=lambda x: x is not node)
    return [(path[0], value) for path, value in pairs if path]


def _bare(step: Any) -> Any:
    return getattr(step, "name", getattr(step, "key", None))


def _found(tree: Any, keys: frozenset[Any], path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any, Any]]:
    """`(path, value, key)` of what keys stand for."""
    if _is_named_tuple(tree) and type(tree).__name__ in keys:
        yield path, tree, type(tree).__name__
    named = _is_named_tuple(tree) or isinstance(tree, dict)
    for step, child in _children(tree):
        here = (*path, step)
        if named and _bare(step) in keys:
            yield here, child, _bare(step)
        yield from _found(child, keys, here)


def get(tree: PyTree, key: Any, default: Any = None, filtering: Filter | None = None) -> Any:
    """What a key stands for in a tree (see `get_all_with_path`); `default` if there is nothing of that name.

    Raises:
        KeyError: several of that name.

    >>> get(({"mu": 1.0, "count": 3}, ()), "count")
    3
    """
    found = get_all_with_path(tree, key, filtering)
    if len(found) > 1:
        raise KeyError(
            f"{key!r} stands for several values, at {', '.join(_shown(path) for path, _ in found)}; choose one by"
            " filtering=lambda path, value: ..., or take all by get_all_with_path"
        )
    return found[0][1] if found else default


def _shown(path: tuple[Any, ...]) -> str:
    return trees.keystr(path) or "the root"


def set(tree: PyTree, filtering: Filter | None = None, /, **kwargs: Any) -> PyTree:
    """A tree in which what keys stand for (see `get_all_with_path`) is replaced.

    Raises:
        KeyError: a key that stands for nothing.

    >>> set(({"mu": 1.0, "count": 3}, ()), count=0)
    ({'mu': 1.0, 'count': 0}, ())
    """
    keys = frozenset(kwargs)
    met: dict[str, bool] = {}

    def replaced(node: Any, path: tuple[Any, ...], key: Any) -> Any:
        names = [key, type(node).__name__ if _is_named_tuple(node) else None]
        for name in names:
            if name in keys and (filtering is None or filtering(path, node)):
                met[name] = True
                return kwargs[name]
        children = _children(node)
        if not children:
            return node
        named = _is_named_tuple(node) or isinstance(node, dict)
        new = [replaced(child, (*path, step), _bare(step) if named else None) for step, child in children]
        return trees.structure(node, is_leaf=lambda x: x is not node).unflatten(new)

    out = replaced(tree, (), None)
    if missing := [key for key in kwargs if key not in met]:
        raise KeyError(
            f"nothing in the tree is called {missing[0]!r}" + (" that the filter lets through" if filtering else "")
        )
    return out


# -- States that hold trees like the parameters


class ParamsPlaceholder:
    """What stands for parameters where a transformation is asked what its state holds of them: a tree without leaves."""


register_pytree_node(ParamsPlaceholder, lambda x: ((), None), lambda data, children: ParamsPlaceholder())


def map_params(
    initable: Any,
    f: Callable[..., Any],
    state: PyTree,
    /,
    *rest: PyTree,
    transform_non_params: Callable[[Any], Any] | None = None,
    is_leaf: Callable[[Any], bool] | None = None,
) -> PyTree:
    """A state in which `f` is applied to the leaves of what has the structure of the parameters (moments, say), and nothing else.

    Args:
        initable: the transformation whose state it is, or its `init`.
        f: what to call with each leaf, and the leaves of `rest` at its place.
        state: the state.
        rest: trees like the parameters: shardings, say.
        transform_non_params: what to call with all other leaves.
        is_leaf: what is a leaf of the trees like the parameters.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.trace(0.9)
    >>> tg.optim.tree.map_params(opt, lambda x: x + 1, opt.init({"w": np.zeros(2)}))
    TraceState(trace={'w': array([1., 1.])})
    """
    init = getattr(initable, "init", initable)
    outline = init(ParamsPlaceholder())

    def mapped(marked: Any, value: Any) -> Any:
        if isinstance(marked, ParamsPlaceholder):
            return trees.map(f, value, *rest, is_leaf=is_leaf)
        return value if transform_non_params is None else transform_non_params(value)

    return trees.map(mapped, outline, state, is_leaf=lambda x: isinstance(x, ParamsPlaceholder))
