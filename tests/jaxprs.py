"""jax's transforms, evaluated by NumPy: an independent truth for thousands of small programs.

jax differentiates and batches by its own rules and traces the result to a jaxpr; NumPy evaluates that. To compile each
for XLA takes a quarter of a second, and jax without jit longer still; this takes a tenth of it. Primitives that are not
in the table below are run by jax.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def run_with_numpy(f: Callable[..., Any], *args: Any) -> Any:
    """`f(*args)` for a function in jax's terms, with NumPy arrays as its leaves."""
    jaxpr, shapes = jax.make_jaxpr(f, return_shape=True)(*args)
    with np.errstate(all="ignore"):  # XLA does not warn
        outputs = run_jaxpr(jaxpr, *jax.tree.leaves(args))
    return jax.tree.unflatten(jax.tree.structure(shapes), [np.asarray(x) for x in outputs])


def run_jaxpr(given: Any, *inputs: Any) -> list[Any]:
    """A jaxpr with its constants (jax's ClosedJaxpr) or one that has none."""
    jaxpr, consts = getattr(given, "jaxpr", given), getattr(given, "consts", ())
    env: dict[Any, Any] = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *inputs), strict=True))

    def read(atom: Any) -> Any:
        return atom.val if hasattr(atom, "val") else env[atom]

    for eqn in jaxpr.eqns:
        values = [read(v) for v in eqn.invars]
        name = eqn.primitive.name
        if name == "cond":
            branches = eqn.params["branches"]
            outs = run_jaxpr(branches[int(np.clip(values[0], 0, len(branches) - 1))], *values[1:])
        elif name in CALLS:
            outs = run_jaxpr(eqn.params[CALLS[name]], *values)
        else:
            outs = PRIMITIVES.get(name, eqn.primitive.bind)(*values, **eqn.params)
            if not eqn.primitive.multiple_results:
                outs = [outs]
        env.update(zip(eqn.outvars, map(np.asarray, outs), strict=True))
    return [read(v) for v in jaxpr.outvars]


# Primitives that run an inner jaxpr, and the param that holds it.
CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "remat2": "jaxpr", "custom_jvp_call": "call_jaxpr"}


def _dot_general(a: Any, b: Any, dimension_numbers: Any, **_: Any) -> Any:
    (contract_a, contract_b), (batch_a, batch_b) = dimension_numbers
    of_a = [chr(ord("a") + i) for i in range(np.ndim(a))]
    of_b = [chr(ord("A") + i) for i in range(np.ndim(b))]
    for i, j in zip((*contract_a, *batch_a), (*contract_b, *batch_b), strict=True):
        of_b[j] = of_a[i]
    out = [of_a[i] for i in batch_a]
    out += [c for i, c in enumerate(of_a) if i not in (*contract_a, *batch_a)]
    out += [c for i, c in enumerate(of_b) if i not in (*contract_b, *batch_b)]
    return np.einsum(f"{''.join(of_a)},{''.join(of_b)}->{''.join(out)}", a, b)


def _div(x: Any, y: Any) -> Any:
    """jax's quotient of integers is one, rounded towards zero."""
    if np.asarray(x).dtype.kind in "iu":
        return np.sign(x) * np.sign(y) * (np.abs(x) // np.abs(y))
    return np.divide(x, y)


def _broadcast_in_dim(x: Any, shape: Any, broadcast_dimensions: Any, **_: Any) -> Any:
    middle = [1] * len(shape)
    for i, n in zip(broadcast_dimensions, np.shape(x), strict=True):
        middle[i] = n
    return np.broadcast_to(np.reshape(x, middle), shape)


def _convert_element_type(x: Any, new_dtype: Any, **_: Any) -> Any:
    loses = np.iscomplexobj(x) and np.dtype(new_dtype).kind != "c"
    return np.asarray(np.real(x) if loses else x).astype(new_dtype)


def _pad(x: Any, value: Any, padding_config: Any) -> Any:
    """Padding before, after and between the elements, where negative means cutting off."""
    sizes = [n + max(0, n - 1) * gap for n, (_, _, gap) in zip(np.shape(x), padding_config, strict=True)]
    whole = np.full([n + max(0, lo) + max(0, hi) for n, (lo, hi, _) in zip(sizes, padding_config, strict=True)], value)
    inside = [slice(max(0, lo), max(0, lo) + n, gap + 1) for n, (lo, _, gap) in zip(sizes, padding_config, strict=True)]
    kept = [slice(max(0, -lo), n - max(0, -hi)) for n, (lo, hi, _) in zip(whole.shape, padding_config, strict=True)]
    whole[tuple(inside)] = x
    return whole[tuple(kept)]


def _custom_linear_solve(*inputs: Any, const_lengths: Any, jaxprs: Any) -> list[Any]:
    start = const_lengths.matvec + const_lengths.vecmat
    constants = inputs[start : start + const_lengths.solve]
    return run_jaxpr(jaxprs.solve, *constants, *inputs[sum(const_lengths) :])


def _cumulative(ufunc: np.ufunc) -> Callable[..., Any]:
    def run(x: Any, axis: int, reverse: bool) -> Any:
        return np.flip(ufunc.accumulate(np.flip(x, axis), axis), axis) if reverse else ufunc.accumulate(x, axis)

    return run


def _reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, axes, **_: function(x, axis=axes)


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """A primitive whose params (accuracy, sharding) do not matter here."""
    return lambda *inputs, **_: function(*inputs)


_SAME_NAME = [
    "sin", "cos", "tan", "tanh", "sinh", "cosh", "exp", "exp2", "log", "log1p", "expm1", "sqrt", "cbrt", "square",
    "sign", "floor", "ceil", "abs",
]  # fmt: skip
_OTHER_NAME: dict[str, Callable[..., Any]] = {
    "add": np.add, "add_any": np.add, "sub": np.subtract, "mul": np.multiply, "div": _div, "neg": np.negative,
    "pow": np.power, "max": np.maximum, "min": np.minimum, "atan": np.arctan, "eq": np.equal, "ne": np.not_equal,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "and": np.bitwise_and,
    "or": np.bitwise_or, "not": np.invert, "rsqrt": lambda x: 1.0 / np.sqrt(x),
    "logistic": lambda x: 1.0 / (1.0 + np.exp(-x)), "copy": lambda x: x, "stop_gradient": lambda x: x,
    "select_n": lambda which, *cases: np.choose(np.asarray(which, int), cases),
}  # fmt: skip
PRIMITIVES: dict[str, Callable[..., Any]] = {
    **{name: _plain(getattr(np, name)) for name in _SAME_NAME},
    **{name: _plain(function) for name, function in _OTHER_NAME.items()},
    "integer_pow": lambda x, y: x**y if y >= 0 else 1.0 / x**-y,
    "dot_general": _dot_general,
    "broadcast_in_dim": _broadcast_in_dim,
    "convert_element_type": _convert_element_type,
    "reshape": lambda x, new_sizes, dimensions, **_: np.reshape(
        x if dimensions is None else np.transpose(x, dimensions), new_sizes
    ),
    "squeeze": lambda x, dimensions: np.squeeze(x, dimensions),
    "expand_dims": lambda x, dimensions: np.expand_dims(x, dimensions),
    "transpose": lambda x, permutation: np.transpose(x, permutation),
    "rev": lambda x, dimensions: np.flip(x, dimensions),
    "concatenate": lambda *xs, dimension: np.concatenate(xs, dimension),
    "stack": lambda *xs, axis: np.stack(xs, axis),
    "unstack": lambda x, axis: list(np.moveaxis(x, axis, 0)),
    "split": lambda x, sizes, axis: np.split(x, np.cumsum(sizes)[:-1], axis),
    "tile": lambda x, reps: np.tile(x, reps),
    "pad": _pad,
    "slice": lambda x, start_indices, limit_indices, strides: x[
        tuple(map(slice, start_indices, limit_indices, strides or [1] * np.ndim(x)))
    ],
    "iota": lambda dtype, shape, dimension, **_: np.indices(shape, dtype)[dimension],
    "reduce_sum": _reduction(np.sum),
    "reduce_prod": _reduction(np.prod),
    "reduce_max": _reduction(np.max),
    "reduce_min": _reduction(np.min),
    "reduce_and": _reduction(np.all),
    "reduce_or": _reduction(np.any),
    "cumsum": _cumulative(np.add),
    "cumprod": _cumulative(np.multiply),
    "custom_linear_solve": _custom_linear_solve,
    "optimization_barrier": lambda *xs: xs,
}
