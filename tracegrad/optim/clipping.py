"""Transformations that hold updates, or the parameters that they make, within bounds."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import NotNegative, checked
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.errors import ShapeError
from tracegrad.optim import tree as optim_tree
from tracegrad.optim.base import (
    GradientTransformation,
    OptState,
    Params,
    Updates,
    cast,
    init_empty_state,
    number,
    required,
    stateless_as_given,
)
from tracegrad.optim.tree import abs_squared, in_float32
from tracegrad.transforms.vmap import vmap
from tracegrad.typing import Array, ArrayLike

# -- Norms


@checked
def clip(max_delta: NotNegative) -> GradientTransformation:
    """Every element of the updates, none beyond -`max_delta` and `max_delta`.

    >>> opt = clip(1.0)
    >>> opt.update(np.array([0.5, -3.0]), opt.init(None))[0]
    array([ 0.5, -1. ])
    """
    bound = number(max_delta)
    return stateless_as_given(lambda updates, params: optim_tree.clip(updates, -bound, bound))


def global_norm(updates: Updates) -> Array:
    """The norm of all leaves together, the square root of the sum of the squares of what is in them.

    >>> float(global_norm({"a": np.array([3.0]), "b": np.array([4.0])}))
    5.0
    """
    return optim_tree.norm(updates)


@checked
def clip_by_global_norm(max_norm: NotNegative) -> GradientTransformation:
    """Updates divided by the norm of all of them together and multiplied by `max_norm`, where that norm is not below it (Pascanu,
    Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013).

    >>> opt = clip_by_global_norm(1.0)
    >>> opt.update({"a": np.array([3.0]), "b": np.array([4.0])}, opt.init(None))[0]
    {'a': array([0.6]), 'b': array([0.8])}
    """
    largest = number(max_norm)

    def clipped(updates: Updates, params: Params | None) -> Updates:
        norm = optim_tree.norm(updates)
        within = norm < largest
        # A norm of 0 lies within; what is divided is not looked at there.
        safe = np.where(within, np.ones_like(norm), norm)
        return tree.map(lambda g: np.where(within, g, g / cast(safe, g) * cast(largest, g)), updates)

    return stateless_as_given(clipped)


@checked
def normalize_by_update_norm(scale_factor: ArrayLike = 1.0, eps: NotNegative = 1e-6) -> GradientTransformation:
    """Updates divided by the norm of all of them together, plus `eps`, and multiplied by `scale_factor`.

    >>> opt = normalize_by_update_norm(eps=0.0)
    >>> opt.update(np.array([3.0, 4.0]), opt.init(None))[0]
    array([0.6, 0.8])
    """
    factor, eps = number(scale_factor), number(eps)

    def normalized(updates: Updates, params: Params | None) -> Updates:
        norm = (optim_tree.norm(updates) + eps) / factor
        return tree.map(lambda g: g / cast(norm, g), updates)

    return stateless_as_given(normalized)


@checked
def clip_by_block_rms(threshold: NotNegative) -> GradientTransformation:
    """Each leaf divided by its root mean square over `threshold`, where that is above 1 (Shazeer and Stern, "Adafactor", 2018).

    >>> opt = clip_by_block_rms(1.0)
    >>> opt.update({"a": np.array([2.0, 2.0]), "b": np.array([0.5])}, opt.init(None))[0]
    {'a': array([1., 1.]), 'b': array([0.5])}
    """
    threshold = number(threshold)

    def clipped(u: Any) -> Any:
        if not np.size(u):
            return u
        rms = np.sqrt(np.mean(abs_squared(in_float32(u))))
        return u / cast(np.maximum(1, rms / cast(threshold, rms)), u)

    return stateless_as_given(lambda updates, params: tree.map(clipped, updates))


@checked
def adaptive_grad_clip(
    clipping: NotNegative, eps: NotNegative = 1e-3, axis: int | tuple[int, ...] | None = None
) -> GradientTransformation:
    """The gradients of each unit with a norm of at most `clipping` times that of the unit's parameters (Brock et al., "High-Performance
    Large-Scale Image Recognition Without Normalization", 2021).

    Args:
        clipping: the largest quotient of the norms.
        eps: what the norm of parameters counts for at least.
        axis: the axes that a unit goes along. By default a vector is one unit; of a matrix or three axes a unit goes along the first,
            of 4 and 5 axes along all but the last.

    Raises:
        ShapeError: an array of more axes, and no `axis`.
        ValueError: `update` without parameters.

    >>> opt = adaptive_grad_clip(0.5)
    >>> opt.update(np.array([3.0, 4.0]), opt.init(None), np.array([0.0, 2.0]))[0]
    array([0.6, 0.8])
    """
    clipping, eps = number(clipping), number(eps)

    def clipped(g: Any, p: Any) -> Any:
        norm = unitwise_norm(g, axis)
        p_norm = unitwise_norm(p, axis)
        return unitwise_clip(norm, cast(clipping, p_norm) * np.maximum(p_norm, cast(eps, p_norm)), g)

    return stateless_as_given(
        lambda updates, params: tree.map(clipped, updates, required(params, "adaptive_grad_clip"))
    )


@accepting_jax
def unitwise_norm(x: ArrayLike, axis: int | tuple[int, ...] | None = None) -> Array:
    """The norms of the units of an array (see `adaptive_grad_clip`), each in the place of all its elements.

    >>> unitwise_norm(np.array([[3.0, 0.0], [4.0, 0.0]])).tolist()
    [[5.0, 0.0], [5.0, 0.0]]
    """
    shape = np.shape(x)
    if axis is not None:
        axes: Any = axis
    elif sum(n != 1 for n in shape) <= 1:
        axes = None
    elif len(shape) <= 5:
        axes = 0 if len(shape) <= 3 else tuple(range(len(shape) - 1))
    else:
        raise ShapeError(
            f"adaptive_grad_clip knows no units of an array of shape {shape}, of {len(shape)} axes; say along which they go by axis=..."
        )
    wide = in_float32(x)
    norm = np.sqrt(np.sum(abs_squared(wide), axis=axes, keepdims=True))
    return np.broadcast_to(cast(norm, x), shape)


@accepting_jax
def unitwise_clip(g_norm: ArrayLike, max_norm: ArrayLike, grad: ArrayLike, div_eps: ArrayLike = 1e-6) -> Array:
    """Gradients scaled down where their norms are not below the largest allowed. `div_eps` is what a norm counts for at least, where
    it is divided by.

    >>> unitwise_clip(np.array([5.0]), np.array([1.0]), np.array([10.0]), 1e-6).tolist()
    [2.0]
    """
    shrunk = grad * (max_norm / np.maximum(g_norm, cast(div_eps, g_norm)))
    return np.where(g_norm < max_norm, grad, shrunk)


# -- Gradients of examples


def per_example_global_norm_clip(grads: Updates, l2_norm_clip: ArrayLike) -> tuple[Updates, Array]:
    """The sum over the examples of their gradients, each of them with a norm of at most `l2_norm_clip`.

    Args:
        grads: a tree of arrays whose axis 0 counts the examples.
        l2_norm_clip: the largest norm that the gradients of an example may have together.

    Returns:
        The sums, and how many examples were beyond it.

    Raises:
        ShapeError: arrays that differ in their first axis, or have none.

    >>> per_example_global_norm_clip({"w": np.array([[3.0, 4.0], [0.0, 0.5]])}, 1.0)
    ({'w': array([0.6, 1.3])}, np.int64(1))
    """
    return _clip_examples(grads, l2_norm_clip)


@accepting_jax
def _clip_examples(grads: Updates, l2_norm_clip: ArrayLike) -> tuple[Updates, Array]:
    _require_examples(grads)
    norms = vmap(optim_tree.norm)(grads)
    positive = norms > 0
    safe = np.where(positive, norms, np.ones_like(norms))
    factors = np.where(positive, np.minimum(cast(number(l2_norm_clip), norms) / safe, 1), np.ones_like(norms))
    return tree.map(lambda g: np.tensordot(cast(factors, g), g, axes=1), grads), np.sum(factors < 1)


def _require_examples(grads: Updates) -> None:
    shapes = [(tree.keystr(path) or "the gradients", np.shape(g)) for path, g in tree.leaves_with_path(grads)]
    if len({shape[:1] for _, shape in shapes}) > 1 or any(not shape for _, shape in shapes):
        raise ShapeError(
            "the gradients of examples need one first axis, which counts the examples; got "
            + ", ".join(f"{name} of shape {shape}" for name, shape in shapes)
            + ": write tg.vmap(tg.grad(loss), (None, 0))(params, batch)"
        )


@accepting_jax
def per_example_layer_norm_clip(
    grads: Updates, global_l2_norm_clip: ArrayLike, uniform: bool = True
) -> tuple[Updates, Updates]:
    """The same leaf by leaf, each with a norm of its own (McMahan et al., "A General Approach to Adding Differential Privacy", 2018).

    Args:
        grads: a tree of arrays whose axis 0 counts the examples.
        global_l2_norm_clip: the largest norm that the gradients of an example have together, where all leaves are clipped.
        uniform: whether all leaves get the same part of it, or by the square root of their sizes.

    Returns:
        The sums, and a tree of how many examples were beyond it at each leaf.

    >>> per_example_layer_norm_clip({"w": np.array([[3.0, 4.0], [0.0, 0.5]])}, 1.0)
    ({'w': array([0.6, 1.3])}, {'w': np.int64(1)})
    """
    _require_examples(grads)
    leaves, structure = tree.flatten(grads)
    sizes = [1 if uniform else np.size(g) // np.shape(g)[0] for g in leaves]
    parts = [
        _clip_examples(g, number(global_l2_norm_clip) * float(n / sum(sizes)) ** 0.5)
        for g, n in zip(leaves, sizes, strict=True)
    ]
    return structure.unflatten([g for g, _ in parts]), structure.unflatten([n for _, n in parts])


# -- Bounds of other kinds


class ZeroNansState(NamedTuple):
    """`found_nan`: for each leaf whether there was a NaN in the latest update."""

    found_nan: Any


@checked
def zero_nans() -> GradientTransformation:
    """Updates with 0 in the place of NaN; the state tells where there was one.

    >>> opt = zero_nans()
    >>> opt.update({"w": np.array([1.0, np.nan])}, opt.init({"w": np.zeros(2)}))
    ({'w': array([1., 0.])}, ZeroNansState(found_nan={'w': np.True_}))
    """

    def init(params: Params) -> OptState:
        return ZeroNansState(tree.map(lambda p: np.zeros((), np.bool_), params))

    def update(updates: Updates, state: OptState, params: Params | None = None) -> Any:
        found = tree.map(lambda u: np.any(np.isnan(u)), updates)
        return tree.map(lambda u: np.where(np.isnan(u), np.zeros_like(u), u), updates), ZeroNansState(found)

    return GradientTransformation(init, update)


@checked
def keep_params_nonnegative() -> GradientTransformation:
    """Updates that make no parameter negative: one that would becomes 0. To be the last of a chain.

    Raises:
        ValueError: `update` without parameters.

    >>> opt = keep_params_nonnegative()
    >>> opt.update(np.array([-3.0, -0.5]), opt.init(None), np.array([1.0, 1.0]))[0]
    array([-1. , -0.5])
    """

    def bounded(p: Any, u: Any) -> Any:
        return None if p is None else np.where(p + u < 0, -p, u)

    def update(updates: Updates, state: OptState, params: Params | None = None) -> Any:
        params = required(params, "keep_params_nonnegative")
        return tree.map(bounded, params, updates, is_leaf=lambda x: x is None), state

    return GradientTransformation(init_empty_state, update)


@checked
def centralize() -> GradientTransformation:
    """Updates less their mean over all axes but the first, of arrays with several (Yong et al., "Gradient Centralization", 2020).

    >>> opt = centralize()
    >>> opt.update({"w": np.array([[1.0, 3.0]]), "b": np.array([1.0, 3.0])}, opt.init(None))[0]
    {'w': array([[-1.,  1.]]), 'b': array([1., 3.])}
    """

    def centred(g: Any) -> Any:
        shape = np.shape(g)
        if len(shape) < 2 or not np.size(g):
            return g
        return g - cast(np.mean(in_float32(g), tuple(range(1, len(shape))), keepdims=True), g)

    return stateless_as_given(lambda updates, params: tree.map(centred, updates))
