"""Muon: steps of matrices with all singular values near one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import Count, Decay, NotNegative, checked
from tracegrad.optim.adam import adamw, nesterov_moment
from tracegrad.optim.adding import add_decayed_weights
from tracegrad.optim.base import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    OptState,
    Params,
    ScalarOrSchedule,
    Schedule,
    Updates,
    cast,
    chain,
    first_count,
    init_empty_state,
    safe_increment,
    scale_by_learning_rate,
)
from tracegrad.optim.formulas import casts, for_leaves, like, moment, per_leaf, squared, unbiased
from tracegrad.optim.masks import MaskOrFn, partition
from tracegrad.optim.tree import zeros_like
from tracegrad.typing import Array, DType, PyTree

Coefficients = Any  # (3,) or (steps, 3): of the polynomial a x + b x³ + c x⁵ of each iteration

_STANDARD = (3.4445, -4.775, 2.0315)
_PRESETS: dict[str, Coefficients] = {
    "standard": _STANDARD,
    "dion": (
        (4.0848, -6.8946, 2.927),
        (3.9505, -6.3029, 2.6377),
        (3.7418, -5.5913, 2.3037),
        (2.8769, -3.1427, 1.2046),
        (2.8366, -3.0525, 1.2012),
    ),
}
_PRECONDITIONINGS = ("frobenius", "spectral", "aol", "schatten")


class MuonDimensionNumbers(NamedTuple):
    """Which axes of a parameter are the rows of its matrix, which are reduced in the layer, and which the columns, its outputs. All others
    count as a batch of matrices.

    >>> import numpy as np, tracegrad as tg
    >>> tg.optim.MuonDimensionNumbers(reduction_axis=(0, 1, 2), output_axis=3)  # of a kernel of two-dimensional convolutions
    MuonDimensionNumbers(reduction_axis=(0, 1, 2), output_axis=3)
    """

    reduction_axis: Sequence[int] | int = 0
    output_axis: Sequence[int] | int = 1


class MuonState(NamedTuple):
    """The number of steps, the moving average of the gradients, and the coefficients of the iteration."""

    count: Array
    mu: PyTree
    ns_coeffs: Array


def _is_numbers(x: Any) -> bool:
    return isinstance(x, MuonDimensionNumbers)


def _axes(ndim: int, numbers: MuonDimensionNumbers) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The axes of rows and of columns, from 0 on."""
    rows, columns = [tuple([axis % ndim for axis in ((axes,) if isinstance(axes, int) else axes)]) for axes in numbers]
    if ndim < 2 or set(rows) & set(columns):
        raise ValueError(
            f"muon: an array of {ndim} axes is no matrix with rows along {rows} and columns along {columns}; give two "
            "kinds of axes by MuonDimensionNumbers(reduction_axis, output_axis), or None for what adam should train"
        )
    return rows, columns


def _as_matrices(x: Any, numbers: MuonDimensionNumbers) -> tuple[Any, Callable[[Any], Any]]:
    """An array as a batch of matrices, and the way back."""
    rows, columns = _axes(x.ndim, numbers)
    batch = tuple([axis for axis in range(x.ndim) if axis not in rows + columns])
    order = batch + rows + columns
    shape = x.shape
    sizes = [math.prod([shape[axis] for axis in axes]) for axes in (batch, rows, columns)]

    def back(y: Any) -> Any:
        return y.reshape([shape[axis] for axis in order]).transpose(np.argsort(order).tolist())

    return x.transpose(order).reshape(sizes), back


def _orthogonalized(x: Any, coefficients: Any, steps: int, preconditioning: str, eps: Any) -> Any:
    """The matrices of a batch with their singular values near one, by Newton and Schulz' iteration."""
    is_tall = x.shape[-2] > x.shape[-1]
    if is_tall:
        x = x.swapaxes(-1, -2)
    if preconditioning == "frobenius":
        x = x / (np.sqrt(np.sum(squared(x), axis=(-2, -1), keepdims=True)) + cast(eps, x))
    elif preconditioning == "spectral":
        x = x / (np.linalg.norm(x, ord=2, axis=(-2, -1), keepdims=True) + cast(eps, x))
    coefficients = coefficients.astype(x.dtype)
    of_steps = [coefficients] * steps if coefficients.ndim == 1 else list(coefficients)
    for i, of_step in enumerate(of_steps):
        a, b, c = [of_step[j] for j in range(3)]
        gram = x @ x.conj().swapaxes(-1, -2)
        if i == 0 and preconditioning in ("aol", "schatten"):
            # Here the Gram matrix, which is computed anyway, tells by what the matrix has to be divided.
            if preconditioning == "aol":
                size = np.sum(np.abs(gram), axis=-1, keepdims=True)
            else:
                size = np.sqrt(np.sum(squared(gram), axis=(-2, -1), keepdims=True))
            factor = 1 / np.sqrt(np.maximum(size, 1e-8))
            x, gram = x * factor, gram * factor * factor.swapaxes(-1, -2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.swapaxes(-1, -2) if is_tall else x


@checked
def scale_by_muon(
    ns_coeffs: Coefficients = _STANDARD,
    ns_steps: Count = 5,
    beta: Decay = 0.95,
    eps: NotNegative = 1e-8,
    mu_dtype: DType = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: str = "frobenius",
    weight_dimension_numbers: Any = None,
) -> GradientTransformation:
    """The momentum of matrices with their singular values near one; see `muon`.

    Args:
        ns_coeffs, ns_steps, beta, eps, mu_dtype, nesterov, adaptive, preconditioning: as in `muon`.
        weight_dimension_numbers: a tree of `MuonDimensionNumbers`, one for each leaf, or a function that gives one for the updates.
            None for matrices, of which no leaf may be anything else.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.eye(2)
    >>> opt = tg.optim.scale_by_muon()
    >>> updates, _ = opt.update(np.array([[3.0, 0.0], [0.0, 4.0]]), opt.init(params), params)
    >>> updates.shape
    (2, 2)
    """
    if preconditioning not in _PRECONDITIONINGS:
        names = ", ".join(map(repr, _PRECONDITIONINGS))
        raise ValueError(f"scale_by_muon: preconditioning={preconditioning!r}, but there are {names}")

    def init(params: Params) -> MuonState:
        coefficients = np.asarray(ns_coeffs, np.float64)
        if coefficients.ndim not in (1, 2) or coefficients.shape[-1] != 3:
            raise ValueError(
                f"scale_by_muon: ns_coeffs are three numbers, or three for each step; got shape {coefficients.shape}"
            )
        if coefficients.ndim == 2:
            if len(coefficients) > ns_steps:
                raise ValueError(
                    f"scale_by_muon: ns_coeffs for {len(coefficients)} steps, but ns_steps={ns_steps}; give as many"
                )
            coefficients = coefficients[-ns_steps:]
        return MuonState(first_count(), zeros_like(params, mu_dtype), coefficients)

    def update(updates: Updates, state: MuonState, params: Params | None = None) -> Any:
        count = safe_increment(state.count)
        as_met = casts(unbiased(beta, count), unbiased(beta, safe_increment(count)))

        def momentum(g: Any, mu: Any) -> tuple[Any, Any]:
            m = moment(g, mu, beta)
            now, ahead = as_met(m)
            return nesterov_moment(g, m, beta, now, ahead) if nesterov else m / now, like(m, mu)

        def leaf(m: Any, numbers: MuonDimensionNumbers) -> Any:
            matrices, back = _as_matrices(m, numbers)
            step = back(_orthogonalized(matrices, state.ns_coeffs, ns_steps, preconditioning, eps))
            return np.sum(m.conj() * step) * step if adaptive else step

        momenta, mu = per_leaf(2, momentum, updates, state.mu)
        return (
            for_leaves(leaf, momenta, _numbers_for(weight_dimension_numbers, updates)),
            MuonState(count, mu, state.ns_coeffs),
        )

    return GradientTransformation(init, update)


def _numbers_for(given: Any, updates: Updates) -> PyTree:
    """The dimension numbers of each leaf."""
    found = given(updates) if callable(given) else given
    if found is None or _is_numbers(found):
        return tree.map(lambda _: found or MuonDimensionNumbers(), updates)
    return found


@checked
def scale_by_shape(
    weight_dimension_numbers: Any = None, consistent_rms: NotNegative | None = None
) -> GradientTransformation:
    """Matrices times √max(1, columns / rows), or with `consistent_rms` times that and √max(rows, columns), so that steps have this root
    mean square.

    Args:
        weight_dimension_numbers: as in `scale_by_muon`.
        consistent_rms: the root mean square of steps; Liu et al., "Muon is scalable for LLM training", 2025, take 0.2.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.scale_by_shape()
    >>> opt.update(np.ones((1, 4)), opt.init(None))[0].tolist()
    [[2.0, 2.0, 2.0, 2.0]]
    """

    def leaf(u: Any, numbers: MuonDimensionNumbers) -> Any:
        rows, columns = [math.prod([u.shape[axis] for axis in axes]) for axes in _axes(u.ndim, numbers)]
        if consistent_rms is None:
            return math.sqrt(max(1, columns / rows)) * u
        return cast(math.sqrt(max(rows, columns)) * consistent_rms, u) * u

    def update(updates: Updates, state: OptState, params: Params | None = None) -> Any:
        return for_leaves(leaf, updates, _numbers_for(weight_dimension_numbers, updates)), state

    return GradientTransformation(init_empty_state, update)


@checked
def muon(
    learning_rate: ScalarOrSchedule,
    ns_coeffs: Coefficients | str = _STANDARD,
    ns_steps: Count = 5,
    beta: Decay = 0.95,
    eps: NotNegative = 1e-8,
    weight_decay: NotNegative | Schedule = 0.0,
    weight_decay_mask: MaskOrFn = None,
    mu_dtype: DType = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: str = "frobenius",
    adam_b1: Decay = 0.9,
    adam_b2: Decay = 0.999,
    adam_eps_root: NotNegative = 0.0,
    adam_weight_decay: NotNegative | Schedule = 0.0,
    adam_learning_rate: ScalarOrSchedule | None = None,
    muon_weight_dimension_numbers: Any = None,
    consistent_rms: NotNegative | None = None,
) -> GradientTransformationExtraArgs:
    """Muon: matrices step along their momentum with all its singular values made one, as far as a polynomial makes them; all else by `adamw`.

        m ← beta m + (1 - beta) g,    m̂ by Nesterov and without bias
        x = m̂ / |m̂|,    ns_steps times: x ← a x + (b x xᵀ + c (x xᵀ)²) x
        w ← w - learning_rate (√max(1, columns / rows) x + weight_decay w)

    Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024; Bernstein and Newhouse, "Old optimizer, new norm", 2024.

    Args:
        learning_rate: a number or a schedule; 0.02 where Adam has 3e-4.
        ns_coeffs: a, b and c; or these for each step; or "standard", or "dion".
        ns_steps: how many times the polynomial is applied.
        beta: decay of the momentum.
        eps: added to the norm, and Adam's.
        weight_decay, weight_decay_mask: of the matrices, as in `adamw`.
        mu_dtype: the dtype in which momenta are kept, the parameters' own if None.
        nesterov: whether the momenta are Nesterov's.
        adaptive: whether steps are scaled by the dual norm of the momentum, <m̂, x>.
        preconditioning: what matrices are divided by first: "frobenius" or "spectral" for that norm, "aol" or "schatten" for bounds from
            x xᵀ that are nearer to the largest singular value.
        adam_b1, adam_b2, adam_eps_root, adam_weight_decay, adam_learning_rate: Adam's; `learning_rate` if that is None.
        muon_weight_dimension_numbers: a tree of `MuonDimensionNumbers`, with None for what Adam trains, or a function of the
            parameters that gives it. None for leaves of two axes by Muon and all others by Adam. Embeddings and the last layer are better
            left to Adam.
        consistent_rms: see `scale_by_shape`.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.muon(0.1)
    >>> params = {"kernel": np.eye(2), "bias": np.zeros(2)}
    >>> grads = {"kernel": np.array([[3.0, 0.0], [0.0, 0.1]]), "bias": np.array([1.0, -1.0])}
    >>> updates, _ = opt.update(grads, opt.init(params), params)
    >>> np.linalg.svd(updates["kernel"], compute_uv=False).round(1).tolist(), updates["bias"].round(4).tolist()
    ([0.1, 0.1], [-0.1474, 0.1474])
    """
    if isinstance(ns_coeffs, str):
        if ns_coeffs not in _PRESETS:
            raise ValueError(f"muon: ns_coeffs={ns_coeffs!r}, but there are {', '.join(map(repr, _PRESETS))}")
        ns_coeffs = _PRESETS[ns_coeffs]

    def given(params: Params) -> PyTree:
        """The dimension numbers, or None, of each leaf."""
        found = muon_weight_dimension_numbers
        if found is None:
            return tree.map(lambda p: MuonDimensionNumbers() if np.ndim(p) == 2 else None, params)
        found = found(params) if callable(found) else found
        return tree.map(
            lambda numbers, part: tree.map(lambda _: numbers, part), found, params, is_leaf=_is_numbers_or_none
        )

    def labels(params: Params) -> PyTree:
        return tree.map(lambda n: "adam" if n is None else "muon", given(params), is_leaf=_is_numbers_or_none)

    def numbers(updates: Updates) -> PyTree:
        """Of the leaves that are left where others are masked."""
        return given(updates)

    return partition(
        transforms={
            "muon": chain(
                scale_by_muon(
                    ns_coeffs=ns_coeffs,
                    ns_steps=ns_steps,
                    beta=beta,
                    eps=eps,
                    mu_dtype=mu_dtype,
                    nesterov=nesterov,
                    adaptive=adaptive,
                    preconditioning=preconditioning,
                    weight_dimension_numbers=numbers,
                ),
                scale_by_shape(weight_dimension_numbers=numbers, consistent_rms=consistent_rms),
                add_decayed_weights(weight_decay, weight_decay_mask),
                scale_by_learning_rate(learning_rate),
            ),
            "adam": adamw(
                learning_rate=learning_rate if adam_learning_rate is None else adam_learning_rate,
                b1=adam_b1,
                b2=adam_b2,
                eps=eps,
                eps_root=adam_eps_root,
                weight_decay=adam_weight_decay,
                mu_dtype=mu_dtype,
                nesterov=nesterov,
            ),
        },
        param_labels=labels,
    )


def _is_numbers_or_none(x: Any) -> bool:
    return x is None or _is_numbers(x)
