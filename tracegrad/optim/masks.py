"""Transformations of a part of the parameters: by a mask, by labels.

A mask is one of these, wherever an argument is called one:

- a tree of bools like the parameters, or a prefix of it, whose bools stand for all leaves below;
- a function from the parameters to such a tree;
- a pattern, or a list of patterns of which one must match, for the paths of leaves: `"*.kernel"`, `["decoder.*", "*.bias"]`;
- a function `lambda path, leaf: leaf.ndim > 1`, called with the path of each leaf, as text, and the leaf.

The path of `params["dense"]["kernel"]` is `"dense.kernel"`; in patterns `*`, `?` and `[...]` are as in file names (`fnmatch`), and `*`
matches dots too.
"""

from __future__ import annotations

import fnmatch
import inspect
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import checked
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.errors import clip
from tracegrad.optim.base import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    MaskedNode,
    OptState,
    Params,
    Updates,
    joined,
    passing,
    set_to_zero,
    telling,
    told,
    with_extra_args_support,
)
from tracegrad.typing import PyTree

MaskOrFn: TypeAlias = PyTree | Callable[..., Any] | str | list[str] | None
"""What says which leaves are meant (see the module)."""

# -- What masks say


def path_of(keys: tree.KeyPath) -> str:
    """The path of a leaf as patterns see it: `dense.kernel`."""
    return tree.keystr(keys, simple=True, separator=".")


def _takes_path(f: Callable[..., Any]) -> bool:
    """Whether a function is called for each leaf, with its path, and not with the parameters."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except ValueError:
        return False
    needed = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(needed) == 2


def _by_leaf(f: Callable[[str, Any], Any], params: Params) -> PyTree:
    return tree.map_with_path(lambda keys, leaf: f(path_of(keys), leaf), params)


def _matching(patterns: list[str], params: Params) -> PyTree:
    # Those that an outer mask has left out may be what a pattern is about.
    paths = [path_of(keys) for keys, _ in tree.leaves_with_path(params, is_leaf=lambda x: isinstance(x, MaskedNode))]
    for pattern in patterns:
        if paths and not fnmatch.filter(paths, pattern):
            raise ValueError(
                f"the mask {pattern!r} matches no leaf of the parameters; there are {clip(', '.join(paths), 400)}"
            )
    return _by_leaf(lambda path, _: any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns), params)


def mask_tree(mask: MaskOrFn, params: Params) -> PyTree:
    """The tree of bools that a mask is for these parameters.

    Raises:
        ValueError: one that does not fit them, with the paths of what is missing and what is not there; a pattern that matches nothing.
    """
    if isinstance(mask, str):
        found = _matching([mask], params)
    elif isinstance(mask, list) and mask and all(isinstance(pattern, str) for pattern in mask):
        found = _matching(mask, params)
    elif callable(mask) and not (isinstance(mask, tuple) and hasattr(mask, "_fields")):
        found = _by_leaf(mask, params) if _takes_path(mask) else mask(params)
    else:
        found = mask
    _require_fit(found, params, "mask")
    if wrong := [x for x in tree.leaves(found) if not isinstance(x, bool | np.bool_) and not hasattr(x, "dtype")]:
        raise TypeError(f"a mask has True and False for its leaves, got {clip(repr(wrong[0]))}; write freeze={{...}}")
    return found


def _require_fit(mask: PyTree, params: Params, what: str) -> None:
    try:
        tree.structure(mask).flatten_up_to(params)
    except ValueError as error:
        ours = [keys for keys, _ in tree.leaves_with_path(params)]
        theirs = [keys for keys, _ in tree.leaves_with_path(mask)]
        missing = [path_of(p) for p in ours if not any(p[: len(m)] == m for m in theirs)]
        surplus = [path_of(m) for m in theirs if not any(p[: len(m)] == m for p in ours)]
        found = [
            f"{text}: {clip(', '.join(paths), 400)}"
            for text, paths in (("missing", missing), ("not among the parameters", surplus))
            if paths
        ]
        raise ValueError(
            f"the {what} does not fit the parameters; " + ("; ".join(found) if found else str(error))
        ) from None


def decay_mask(params: Params) -> PyTree:
    """Which leaves have several axes: the matrices and kernels, that weights are said to decay of, and not biases and scales.

    >>> decay_mask({"kernel": np.ones((2, 3)), "bias": np.ones(3)})
    {'kernel': True, 'bias': False}
    """
    return tree.map(lambda p: np.ndim(p) > 1, params)


# -- Transformations


class MaskedState(NamedTuple):
    """`inner_state`: that of the transformation within, where `MaskedNode()` stands for leaves that are left out."""

    inner_state: Any


def _is_placeholder(params: Params) -> bool:
    """Whether these are no parameters, but what stands for them in `tree.map_params`, of ours or of optax."""
    return type(params).__name__.endswith("ParamsPlaceholder")


@checked
def masked(inner: Any, mask: MaskOrFn, *, mask_compatible_extra_args: bool = False) -> GradientTransformationExtraArgs:
    """A transformation of the leaves for which a mask says True. Updates of the others pass as they are.

    Args:
        inner: the transformation.
        mask: which leaves it sees (see the module).
        mask_compatible_extra_args: whether extra arguments of `update` that have the structure of the updates are masked too.

    Raises:
        ValueError: a mask that does not fit the parameters.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.masked(tg.optim.scale(-1.0), "*.kernel")
    >>> params = {"dense": {"kernel": np.ones(2), "bias": np.ones(1)}}
    >>> opt.update(params, opt.init(params))[0]
    {'dense': {'kernel': array([-1., -1.]), 'bias': array([1.])}}
    """
    inner = with_extra_args_support(inner)

    def init(params: Params) -> OptState:
        if _is_placeholder(params):
            return MaskedState(inner.init(params))
        return MaskedState(inner.init(_without(mask_tree(mask, params), params)))

    def update(updates: Updates, state: MaskedState, params: Params | None = None, **extra_args: Any) -> Any:
        which = mask_tree(mask, updates)
        if mask_compatible_extra_args:
            structure = tree.structure(updates)
            extra_args = {
                name: _without(which, value) if tree.structure(value) == structure else value
                for name, value in extra_args.items()
            }
        seen = None if params is None else _without(which, params)
        found, inner_state = inner.update(_without(which, updates), state.inner_state, seen, **extra_args)
        updates = tree.map(lambda m, new, old: new if m else old, which, found, updates)
        return updates, MaskedState(inner_state)

    return passing(init, telling(update, lambda state: told(inner, state.inner_state)))


def _without(which: PyTree, params: Params) -> Params:
    return tree.map(lambda m, p: p if m else MaskedNode(), which, params)


class PartitionState(NamedTuple):
    """`inner_states`: by label that of the label's transformation, a `MaskedState`."""

    inner_states: Mapping[Any, Any]


MultiTransformState = PartitionState


@checked
def partition(
    transforms: Mapping[Hashable, Any],
    param_labels: PyTree | Callable[..., Any],
    *,
    mask_compatible_extra_args: bool = False,
) -> GradientTransformationExtraArgs:
    """For each leaf the transformation that its label stands for.

    Args:
        transforms: the transformations, by label.
        param_labels: a tree of labels like the parameters, or a prefix of it; or a function from the parameters to such a tree; or one of
            a leaf's path (as text) and the leaf, `lambda path, leaf: "matrices" if leaf.ndim == 2 else "rest"`.
        mask_compatible_extra_args: as of `masked`.

    Raises:
        ValueError: a label without a transformation; labels that do not fit the parameters.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.partition({"up": tg.optim.scale(1.0), "down": tg.optim.scale(-1.0)}, {"a": "up", "b": "down"})
    >>> params = {"a": np.ones(1), "b": np.ones(1)}
    >>> opt.update(params, opt.init(params))[0]
    {'a': array([1.]), 'b': array([-1.])}
    """
    parts = {label: with_extra_args_support(tx) for label, tx in transforms.items()}

    def labels_of(params: Params) -> PyTree:
        found = param_labels
        if callable(param_labels):
            found = _by_leaf(param_labels, params) if _takes_path(param_labels) else param_labels(params)
        _require_fit(found, params, "tree of labels")
        unknown = {label: path_of(keys) for keys, label in tree.leaves_with_path(found) if label not in parts}
        if unknown:
            raise ValueError(
                "there is no transformation for "
                + ", ".join(f"the label {label!r} of {path or 'the parameters'}" for label, path in unknown.items())
                + f"; partition has those for {list(parts)}"
            )
        return found

    def part(label: Hashable, labels: PyTree) -> GradientTransformationExtraArgs:
        which = tree.map(lambda own: own == label, labels)
        return masked(parts[label], which, mask_compatible_extra_args=mask_compatible_extra_args)

    def init(params: Params) -> OptState:
        if _is_placeholder(params):
            return PartitionState({label: MaskedState(tx.init(params)) for label, tx in parts.items()})
        labels = labels_of(params)
        return PartitionState({label: part(label, labels).init(params) for label in parts})

    def update(updates: Updates, state: PartitionState, params: Params | None = None, **extra_args: Any) -> Any:
        labels, states = labels_of(updates), {}
        for label in parts:
            updates, states[label] = part(label, labels).update(
                updates, state.inner_states[label], params, **extra_args
            )
        return updates, PartitionState(states)

    def hyperparams(state: PartitionState) -> dict[str, Any]:
        return joined([(str(label), told(tx, state.inner_states[label].inner_state)) for label, tx in parts.items()])

    return passing(init, telling(update, hyperparams))


multi_transform = partition


@checked
def freeze(mask: MaskOrFn) -> GradientTransformation:
    """Updates of zeros where a mask says True.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.chain(tg.optim.scale_by_learning_rate(1.0), tg.optim.freeze("encoder.*"))
    >>> params = {"encoder": {"kernel": np.ones(1)}, "head": {"kernel": np.ones(1)}}
    >>> opt.update(params, opt.init(params), params)[0]
    {'encoder': {'kernel': array([0.])}, 'head': {'kernel': array([-1.])}}
    """
    return masked(set_to_zero(), mask)


@checked
def selective_transform(optimizer: Any, *, freeze_mask: MaskOrFn) -> GradientTransformation:
    """A transformation of the leaves for which a mask says False, which alone have a state, and updates of zeros for those where it says
    True.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.selective_transform(tg.optim.scale(-1.0), freeze_mask={"a": True, "b": False})
    >>> params = {"a": np.ones(1), "b": np.ones(1)}
    >>> opt.update(params, opt.init(params), params)[0]
    {'a': array([0.]), 'b': array([-1.])}
    """

    def labels(params: Params) -> PyTree:
        return tree.map(lambda frozen: "freeze" if frozen else "train", mask_tree(freeze_mask, params))

    return partition({"train": optimizer, "freeze": set_to_zero()}, labels)


@checked
def flatten(inner: Any) -> GradientTransformationExtraArgs:
    """A transformation of all leaves as one vector: fewer, larger arrays. Those that look at single leaves, or at their shapes, see one of one
    axis.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.flatten(tg.optim.trace(0.9))
    >>> opt.init({"a": np.zeros((2, 2)), "b": np.zeros(())})
    TraceState(trace=array([0., 0., 0., 0., 0.]))
    """
    inner = with_extra_args_support(inner)

    def init(params: Params) -> OptState:
        return inner.init(params if _is_placeholder(params) else as_vector(params))

    def update(updates: Updates, state: OptState, params: Params | None = None, **extra_args: Any) -> Any:
        flat = None if params is None else as_vector(params)
        found, state = inner.update(as_vector(updates), state, flat, **extra_args)
        return apart(found, updates), state

    return passing(init, telling(update, lambda state: told(inner, state)))


@accepting_jax
def as_vector(params: Params) -> Any:
    """All leaves, one after the other."""
    leaves = [np.ravel(x) for x in tree.leaves(params)]
    return np.concatenate(leaves) if leaves else np.zeros(0)


@accepting_jax
def apart(vector: Any, like: Params) -> Params:
    """The tree of whose leaves `as_vector` made a vector."""
    leaves, structure = tree.flatten(like)
    parts, start = [], 0
    for leaf in leaves:
        end = start + int(np.size(leaf))
        parts.append(np.reshape(vector[start:end], np.shape(leaf)))
        start = end
    return structure.unflatten(parts)
