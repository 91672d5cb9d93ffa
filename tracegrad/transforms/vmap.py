"""vmap: the function of one example, for a batch of them."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Hashable, Sequence
from typing import Any, overload

import numpy as np

from tracegrad import tree
from tracegrad.core.axes import Axis, within
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.chance import without_drawing
from tracegrad.core.context import context, watcher, watching
from tracegrad.core.errors import ShapeError, at, described, require_callable, user_source
from tracegrad.core.names import named_after, output_name, parameter_name
from tracegrad.core.reuse import draws_of, note_draws
from tracegrad.core.tracebacks import trimming
from tracegrad.core.tracing import arrays_of, traced
from tracegrad.core.types import ArrayType, type_of
from tracegrad.transforms.batch import Batched, Whole, batch_graph, batch_in_chunks, own_arrays, with_batch
from tracegrad.transforms.rows import in_rows
from tracegrad.typing import Array, P, R


@overload
def vmap(
    fun: np.ufunc,
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_name: Hashable | None = None,
    axis_size: int | None = None,
    batch_size: int | None = None,
) -> Callable[..., Array]: ...
@overload
def vmap(
    fun: Callable[P, R],
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_name: Hashable | None = None,
    axis_size: int | None = None,
    batch_size: int | None = None,
) -> Callable[P, R]: ...
@overload
def vmap(
    fun: Callable[..., Any],
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_name: Hashable | None = None,
    axis_size: int | None = None,
    batch_size: int | None = None,
) -> Callable[..., Any]: ...
@trimming
def vmap(
    fun: Callable[..., Any],
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_name: Hashable | None = None,
    axis_size: int | None = None,
    batch_size: int | None = None,
) -> Callable[..., Any]:
    """A function that maps `fun` over an axis of its arguments, as whole-array operations.

    Args:
        fun: a function of arrays and pytrees of them, written for one example.
        in_axes: the axis of each argument that is mapped: an int for all, or a tuple with one entry for each argument,
            each an int, None (not mapped: every example gets the whole) or a pytree of these that is a prefix of the
            argument. Negative axes count from the back. Keyword arguments are mapped over axis 0.
        out_axes: where the mapped axis goes in the outputs: an int or a pytree prefix of the output.
        axis_name: a name for the mapped axis, by which collectives (`psum`, `axis_index`, ...) in `fun` speak of it.
        axis_size: the number of examples. Needed only where no argument is mapped.
        batch_size: run so many examples at a time, the last time what is left. The function is traced once all the
            same. Memory for what `fun` computes on the way is then that of `batch_size` examples, outputs aside.
            Under `grad` all examples' residuals are kept, in chunks or not; under `jit` the program has one part for
            each chunk. Of the collectives only `axis_index` and
            `axis_size` can then be had.

    Returns:
        A function whose arguments and results have one more axis than those of `fun`.

    Raises:
        ShapeError: mapped axes of different sizes, or none at all.
        FrozenRandomError: `fun` draws from a generator of NumPy's or Python's, of which all rows would get one number.

    >>> import numpy as np, tracegrad as tg
    >>> tg.vmap(np.dot)(np.ones((4, 3)), np.ones((4, 3))).tolist()
    [3.0, 3.0, 3.0, 3.0]
    >>> tg.vmap(np.linalg.inv, batch_size=2)(np.full((3, 1, 1), 0.5)).ravel().tolist()
    [2.0, 2.0, 2.0]
    """
    require_callable(fun, "vmap")
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)
    declared_size = _size_option("axis_size", axis_size, 0)
    chunk = _size_option("batch_size", batch_size, 1)
    if axis_name is not None:
        _require_name(axis_name)
    parameter = functools.cache(lambda position: parameter_name(fun, position))

    def mapped(*args: Any, **kwargs: Any) -> Any:
        if watching and (watch := watcher()) is not None:
            return watch(vmap(fun, in_axes, out_axes, axis_name, axis_size, batch_size), args, kwargs)
        if isinstance(in_axes, tuple) and len(in_axes) != len(args):
            raise ShapeError(
                f"vmap{at(user_source())}: in_axes has {len(in_axes)} entr{'y' if len(in_axes) == 1 else 'ies'}, but "
                f"{described(fun)} got {len(args)} positional argument{'s' * (len(args) != 1)}; give one for each "
                "(None: not mapped)"
            )
        found, in_tree = tree.tree_flatten_with_path((args, kwargs))

        def name(leaf: int) -> str:
            kind, first, *rest = found[leaf][0]
            return (first.key if kind.idx else parameter(first.idx)) + tree.keystr(tuple(rest))

        leaves = arrays_of([x for _, x in found], name)
        axes = _axes("in_axes", in_axes, tree.tree_structure(args), lambda i: f"argument {name(i)}")
        axes += [0] * (len(leaves) - len(axes))
        if any([axis or (axis == 0 and type_of(x).ndim == 1) for x, axis in zip(leaves, axes, strict=True)]):
            axes = _outside(axes, (args, kwargs), "in_axes", "argument", name, lambda i: type_of(leaves[i]).ndim)
        fronted, types, size = _fronted(leaves, axes, declared_size, name)
        if size is None:
            raise ShapeError(
                f"vmap{at(user_source())}: no argument of {described(fun)} is mapped ("
                f"{f'in_axes={in_axes!r}' if leaves else 'there are no arrays among them'}); map at least one, or say "
                "with axis_size= how many examples there are"
            )

        def call(*tracers: Any) -> Any:
            call_args, call_kwargs = tree.tree_unflatten(in_tree, tracers)
            return fun(*call_args, **call_kwargs)

        outer = context.bound
        axis = None if axis_name is None else Axis(axis_name, size, len(outer))
        bound = outer if axis is None else (*outer, axis)
        how = {"transform": "vmap", "names": name, "abstract": True}
        trace = functools.partial(within, bound, None, 0, traced, fun, call, types, **how)
        # Inside of a program whoever makes that looks for numbers that are drawn.
        graph, out_tree = trace() if context.trace is not None else without_drawing(fun, "vmap", trace, for_rows=True)
        note_draws(draws_of(graph), leaves)
        skeleton = tree.tree_unflatten(out_tree, list(range(out_tree.num_leaves)))

        def out_name(leaf: int) -> str:
            return output_name(fun, skeleton, leaf)

        targets = _axes("out_axes", out_axes, out_tree, out_name)
        if any(targets):
            targets = _outside(targets, skeleton, "out_axes", "output", out_name, lambda i: graph.out_types[i].ndim + 1)
        for i, (t, target) in enumerate(zip(graph.out_types, targets, strict=True)):
            if target is not None and not -t.ndim - 1 <= target <= t.ndim:
                raise ShapeError(
                    f"vmap{at(user_source())}: out_axes asks for axis {target} of {out_name(i)}, which has "
                    f"{t.ndim + 1} axes with that of the examples"
                )
        flags = [a is not None for a in axes]
        if context.explains:
            graph = in_rows(graph, size, flags)
        if chunk is None or chunk >= size:
            results = within(bound, axis, 0, batch_graph, graph, size, fronted, flags)
        else:
            results = within(bound, axis, 0, batch_in_chunks, graph, size, chunk, fronted, flags, targets)
        placed = []
        for i, (r, target) in enumerate(zip(results, targets, strict=True)):
            if type(r) is Whole:
                placed.append(r.value)
            elif target is not None:
                whole = with_batch(r, size)
                placed.append(np.moveaxis(whole, 0, target) if target else whole)
            elif type(r) is not Batched:
                placed.append(r)
            else:
                raise ShapeError(
                    f"vmap{at(user_source())}: out_axes is None for {out_name(i)}, which depends on a mapped "
                    f"argument{'' if axis is None else f' or the index in {axis_name!r}'}; give the axis that the "
                    "examples go to"
                )
        return tree.tree_unflatten(out_tree, own_arrays(placed, given=[*leaves, *graph.consts.values()]))

    return named_after(accepting_jax(mapped), fun, "vmap", vmap, in_axes, out_axes, axis_name, axis_size, batch_size)


def _fronted(
    leaves: Sequence[Any], axes: Sequence[int | None], size: int | None, name: Callable[[int], str]
) -> tuple[list[Any], list[ArrayType], int | None]:
    """The leaves with mapped axes in front, their types without those, and the axes' common size."""
    fronted, types = [], []
    first = None  # the leaf that `size` is from; None: it was declared
    for i, (x, axis) in enumerate(zip(leaves, axes, strict=True)):
        if axis is None:
            fronted.append(x)
            types.append(type_of(x))
            continue
        shape = type_of(x).shape
        if not -len(shape) <= axis < len(shape):
            raise ShapeError(
                f"vmap{at(user_source())}: in_axes asks for axis {axis} of argument {name(i)}, which is "
                f"{type_of(x)}; give an axis that it has, or None to hand the whole to every example"
            )
        if size is None:
            size, first = shape[axis], i
        elif shape[axis] != size:
            there = f"axis {axis} of argument {name(i)} has {shape[axis]} ({type_of(x)})"
            if first is None:
                raise ShapeError(
                    f"vmap{at(user_source())}: axis_size is {size}, but {there}; leave axis_size out, or choose the "
                    "axes with in_axes, None where every example gets the whole"
                )
            raise ShapeError(
                f"vmap{at(user_source())}: the mapped axes differ in size: axis {axes[first]} of argument "
                f"{name(first)} has {size} ({type_of(leaves[first])}), {there}; choose the axes with in_axes, None "
                "where every example gets the whole"
            )
        fronted.append(np.moveaxis(x, axis, 0))
        types.append(ArrayType((*shape[: axis % len(shape)], *shape[axis % len(shape) + 1 :]), x.dtype))
    return fronted, types, size


def _outside(
    axes: Sequence[int | None],
    of: Any,
    option: str,
    what: str,
    name: Callable[[int], str],
    ndim: Callable[[int], int],
) -> list[int | None]:
    """Axes of leaves, for those of nodes that count their own alone: of an array of keys, of which each is two words."""
    found: list[int | None] = []
    for node in tree.tree_leaves(of, is_leaf=lambda x: hasattr(type(x), "inner_axes")):
        inner = getattr(type(node), "inner_axes", 0)
        for _ in tree.tree_leaves(node) if inner else (node,):
            axis, outer = axes[len(found)], ndim(len(found)) - inner
            if inner and axis is not None:
                if not -outer <= axis < outer:
                    raise ShapeError(
                        f"vmap{at(user_source())}: {option} asks for axis {axis} of {what} "
                        f"{name(len(found))}, which has {outer} axes as an array of keys; write tg.random.split(key, n) for n keys, "
                        "or None to hand one key to every example"
                    )
                axis %= outer
            found.append(axis)
    return found


def _size_option(option: str, value: Any, least: int) -> int | None:
    """`axis_size` or `batch_size`, None where it was not given."""
    if value is None:
        return None
    try:
        size = operator.index(value)
    except TypeError:
        raise TypeError(
            f"vmap{at(user_source())}: {option} must be an int, a number of examples, got {value!r}"
        ) from None
    if size < least:
        raise ValueError(f"vmap{at(user_source())}: {option} must be at least {least}, got {size}")
    return size


def _require_name(name: Any) -> None:
    try:
        hash(name)
    except TypeError:
        pass
    else:
        if not isinstance(name, tuple):  # which collectives take as several names
            return
    raise TypeError(f"vmap{at(user_source())}: axis_name must be one hashable name, such as 'batch', got {name!r}")


def _axes(name: str, axes: Any, structure: tree.PyTreeDef, leaf: Callable[[int], str]) -> list[int | None]:
    """`in_axes` or `out_axes`, one for each leaf of the arguments or outputs."""
    try:
        found = tree.flatten_axes(name, structure, axes)
    except ValueError as error:
        raise ShapeError(f"vmap{at(user_source())}: {error}") from None
    for i, axis in enumerate(found):
        if axis is not None and type(axis) is not int:
            try:
                found[i] = operator.index(axis)
            except TypeError:
                raise TypeError(
                    f"vmap{at(user_source())}: {name} holds ints and None, got {axis!r} for {leaf(i)}"
                ) from None
    return found
