"""Arithmetic on trees of arrays, with the names, arguments and values of `optax.tree`. Where optax takes a tree, None stands for no leaf."""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad import tree as trees
from tracegrad.core.arguments import is_number
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.errors import at, user_source
from tracegrad.core.jax_arrays import is_jax_array
from tracegrad.core.types import number_kind, type_of
from tracegrad.optim.base import cast as cast_hyperparameter
from tracegrad.optim.named import NamedTupleKey as NamedTupleKey
from tracegrad.optim.named import get as get
from tracegrad.optim.named import get_all_with_path as get_all_with_path
from tracegrad.optim.named import map_params as map_params
from tracegrad.optim.named import set as set
from tracegrad.random import KeyArray, key_data, normal, split
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
    """The differences of the leaves.

    >>> sub({"a": np.array([1.0, 2.0])}, {"a": np.array([1.0, 2.0])})
    {'a': array([0., 0.])}
    """
    return trees.map(operator.sub, tree_x, tree_y)


@accepting_jax
def mul(tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """The products of the leaves.

    >>> mul({"a": np.array([1.0, 2.0])}, {"a": np.array([1.0, 2.0])})
    {'a': array([1., 4.])}
    """
    return trees.map(operator.mul, tree_x, tree_y)


@accepting_jax
def div(tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """The quotients of the leaves.

    >>> div({"a": np.array([1.0, 2.0])}, {"a": np.array([1.0, 2.0])})
    {'a': array([1., 1.])}
    """
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
    """`x + scalar * y` of each leaf; None where x is None.

    >>> add_scale({"a": np.array([1.0, 2.0])}, 10.0, {"a": np.array([1.0, 2.0])})
    {'a': array([11., 22.])}
    """
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
    """The conjugates of the leaves.

    >>> conj({"a": np.array([1j])})
    {'a': array([0.-1.j])}
    """
    return trees.map(np.conj, tree)


@accepting_jax
def real(tree: PyTree) -> PyTree:
    """The real parts of the leaves.

    >>> real({"a": np.array([1 + 2j])})
    {'a': array([1.])}
    """
    return trees.map(np.real, tree)


@accepting_jax
def where(condition: ArrayLike, tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """`np.where(condition, x, y)` of each leaf, for one condition.

    >>> where(True, {"a": np.array([1.0, 2.0])}, {"a": np.array([1.0, 2.0])})
    {'a': array([1., 2.])}
    """
    return trees.map(lambda x, y: np.where(condition, x, y), tree_x, tree_y)


@accepting_jax
def batch_shape(tree: PyTree, shape: tuple[int, ...] = ()) -> PyTree:
    """Each leaf repeated along new leading axes of these sizes.

    >>> batch_shape({"a": np.array([1.0, 2.0])}, (3,))["a"].shape
    (3, 2)
    """
    return trees.map(lambda x: np.broadcast_to(x, (*shape, *np.shape(x))), tree)


@accepting_jax
def zeros_like(tree: PyTree, dtype: DType = None) -> PyTree:
    """Zeros of the shapes of the leaves, of their dtypes or of one given.

    >>> zeros_like({"a": np.ones(2), "b": 1.0}, np.float32)
    {'a': array([0., 0.], dtype=float32), 'b': array(0., dtype=float32)}
    """
    if not all(map(is_number, trees.leaves(tree))):
        path, x = next((path, x) for path, x in trees.leaves_with_path(tree) if not is_number(x))
        raise TypeError(
            f"tg.optim{at(user_source())}: parameters are arrays of numbers, and {trees.keystr(path) or 'what is given'} is "
            f"{x!r:.80}; write opt.init(params) with those of the net alone"
        )
    return trees.map(lambda x: np.zeros_like(x, dtype), tree)


@accepting_jax
def ones_like(tree: PyTree, dtype: DType = None) -> PyTree:
    """Ones of the shapes of the leaves, of their dtypes or of one given.

    >>> ones_like({"a": np.array([1.0, 2.0])})
    {'a': array([1., 1.])}
    """
    return trees.map(lambda x: np.ones_like(x, dtype), tree)


@accepting_jax
def full_like(tree: PyTree, fill_value: ArrayLike, dtype: DType = None) -> PyTree:
    """One number in the shapes of the leaves, of their dtypes or of one given.

    >>> full_like({"a": np.array([1.0, 2.0])}, 7.0)
    {'a': array([7., 7.])}
    """
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
    """The leaves in the dtypes of those of another tree, if these have one.

    >>> cast_like({"a": np.zeros(1)}, {"a": np.zeros(1, np.float32)})["a"].dtype.name
    'float32'
    """
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
    """The largest of all elements; -inf if there are none.

    >>> max({"a": np.array([1.0, 2.0])}).item()
    2.0
    """
    return functools.reduce(np.maximum, [np.max(x) for x in trees.leaves(tree) if np.size(x)], -np.inf)


@accepting_jax
def min(tree: PyTree) -> Array:
    """The least of all elements; inf if there are none.

    >>> min({"a": np.array([1.0, 2.0])}).item()
    1.0
    """
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
    """Half floats in float32, which holds their squares and sums; anything else as it is.

    >>> in_float32(np.zeros(1, np.float16)).dtype.name
    'float32'
    """
    dtype = type_of(x).dtype
    return x.astype(np.float32) if number_kind(dtype) == "f" and dtype.itemsize < 4 else x


def abs_squared(x: Any) -> Any:
    """The squares of the absolute values, which are real.

    >>> abs_squared(np.array([1 + 1j])).tolist()
    [2.0]
    """
    return x.real**2 + x.imag**2 if np.iscomplexobj(x) else x * x


@accepting_jax
def allclose(a: PyTree, b: PyTree, rtol: ArrayLike = 1e-5, atol: ArrayLike = 1e-8, equal_nan: bool = False) -> Array:
    """Whether all leaves are close, in the sense of `np.allclose`.

    >>> allclose({"a": np.array([1.0, 2.0])}, {"a": np.array([1.0, 2.0])})
    True
    """
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
    """The moving averages of powers of the updates: `(1 - decay) * g**order + decay * moment`.

    >>> update_moment({"a": np.array([1.0, 2.0])}, {"a": np.array([1.0, 2.0])}, 0.9, 1)
    {'a': array([1., 2.])}
    """
    return _over_leaves(lambda g, m: _averaged(g if order == 1 else g**order, m, decay), updates, moments)


def _averaged(new: Any, old: Any, decay: Any) -> Any:
    return cast_hyperparameter(1 - decay, new) * new + cast_hyperparameter(decay, old) * old


@accepting_jax
def update_moment_per_elem_norm(updates: PyTree, moments: PyTree, decay: ArrayLike, order: int) -> PyTree:
    """The same of the absolute values, as which complex numbers count: their moments are real.

    >>> update_moment_per_elem_norm({"a": np.array([1.0, 2.0])}, {"a": np.array([1.0, 2.0])}, 0.9, 2)
    {'a': array([1. , 2.2])}
    """

    def power(g: Any) -> Any:
        if not np.iscomplexobj(g):
            return g**order
        return abs_squared(g) ** (order // 2 if order % 2 == 0 else order / 2)

    return _over_leaves(lambda g, m: _averaged(power(g), m, decay), updates, moments)


@accepting_jax
def update_infinity_moment(updates: PyTree, moments: PyTree, decay: ArrayLike, eps: ArrayLike) -> PyTree:
    """The larger of `|g| + eps` and `decay * moment`.

    >>> update_infinity_moment({"a": np.array([1.0, 2.0])}, {"a": np.array([1.0, 2.0])}, 0.9, 0.0)
    {'a': array([1., 2.])}
    """
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


# -- Random numbers


@accepting_jax
def split_key_like(rng_key: Array, target_tree: PyTree) -> PyTree:
    """A key for each leaf, of one split for all: what `optax.tree.split_key_like` makes of that key.

    >>> keys = split_key_like(np.array([0, 7], np.uint32), {"a": 1.0, "b": 2.0})
    >>> keys["a"].shape, keys["a"].dtype
    ((2,), dtype('uint32'))
    """
    leaves, structure = trees.flatten(target_tree)
    return structure.unflatten(list(split(rng_key, len(leaves))))


@accepting_jax
def random_like(
    rng_key: Array, target_tree: PyTree, sampler: Callable[..., Array] = normal, dtype: DType = None
) -> PyTree:
    """Random numbers of the shapes of the leaves, each with a key of its own.

    Args:
        rng_key: a key.
        target_tree: arrays.
        sampler: what draws them, called with a key, a shape and a dtype: one of `tg.random`'s.
        dtype: theirs; None for those of the leaves.

    >>> random_like(np.array([0, 7], np.uint32), {"a": np.ones(2, np.float32)})["a"].dtype
    dtype('float32')
    """
    keys = split_key_like(rng_key, target_tree)
    return trees.map(
        lambda x, key: sampler(key, np.shape(x), type_of(x).dtype if dtype is None else dtype), target_tree, keys
    )


def unwrap_random_key_data(input_tree: PyTree) -> PyTree:
    """A tree in which typed keys, jax's and `tg.random.key`'s, have become arrays of uint32.

    >>> unwrap_random_key_data(np.zeros(2, np.uint32)).tolist()
    [0, 0]
    """

    def words(x: Any) -> Any:
        if isinstance(x, KeyArray):
            return key_data(x)
        return sys.modules["jax"].random.key_data(x) if is_typed_key(x) else x

    return trees.map(words, input_tree, is_leaf=lambda x: isinstance(x, KeyArray))


def is_typed_key(x: Any) -> bool:
    """Whether this is a key of jax's in a dtype of its own.

    >>> is_typed_key(np.zeros(2, np.uint32))
    False
    """
    return is_jax_array(x) and not isinstance(x.dtype, np.dtype)
