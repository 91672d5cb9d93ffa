"""jax's primitives that reduce, sort, contract, convolve and slide windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad import lax
from tracegrad.transforms.linearize import jvp, vjp
from tracegrad.xla.primitives.table import EQUATIONS, PRIMITIVES, binds, run_closed, unknown


def _over_axes(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, *, axes, **_: function(x, axes)


PRIMITIVES.update(
    {
        name: _over_axes(getattr(lax, name))
        for name in ("reduce_and", "reduce_max", "reduce_min", "reduce_or", "reduce_prod", "reduce_sum", "reduce_xor")
    }
)


@binds("reduce")
def _(*arrays: Any, jaxpr: Any, dimensions: Any, **_: Any) -> Any:
    count = len(arrays) // 2
    combine = lambda x, y: run_closed(jaxpr, [*x, *y])
    return lax.reduce(list(arrays[:count]), list(arrays[count:]), combine, dimensions)


def _places(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, *, axes, index_dtype: function(x, axes[0], index_dtype)


PRIMITIVES.update({"argmax": _places(lax.argmax), "argmin": _places(lax.argmin)})


def _running(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, *, axis, reverse: function(x, axis, reverse)


PRIMITIVES.update(
    {name: _running(getattr(lax, name)) for name in ("cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum")}
)


@binds("sort")
def _(*arrays: Any, dimension: int, num_keys: int, **_: Any) -> Any:
    if len(arrays) == 1:
        return [lax.sort(arrays[0], dimension)]
    return lax.sort(arrays, dimension, num_keys=num_keys)


@binds("top_k")
def _(x: Any, *, k: int, axis: int = -1, **_: Any) -> Any:
    values, places = lax.top_k(x, k, axis=axis)
    return values, places


@binds("dot_general")
def _(x: Any, y: Any, *, dimension_numbers: Any, preferred_element_type: Any, **_: Any) -> Any:
    return lax.dot_general(x, y, dimension_numbers, preferred_element_type=preferred_element_type)


@binds("conv_general_dilated")
def _(
    x: Any,
    kernel: Any,
    *,
    window_strides: Any,
    padding: Any,
    lhs_dilation: Any,
    rhs_dilation: Any,
    dimension_numbers: Any,
    feature_group_count: int,
    batch_group_count: int,
    preferred_element_type: Any,
    **_: Any,
) -> Any:
    return lax.conv_general_dilated(
        x, kernel, window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers, feature_group_count,
        batch_group_count, preferred_element_type=preferred_element_type,
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Windows.


_STARTS = {"add": 0, "max": -np.inf, "min": np.inf}


def _windows(
    x: Any,
    computation: str,
    window_dimensions: Any,
    window_strides: Any,
    padding: Any,
    base_dilation: Any = None,
    window_dilation: Any = None,
    start: Any = None,
) -> Any:
    if start is None:
        start = computation == "min" if lax.dtype(x) == np.bool_ else _STARTS[computation]
    return lax.reduce_window(
        x, start, computation, window_dimensions, window_strides, padding, base_dilation, window_dilation
    )


def _sliding(computation: str) -> Callable[..., Any]:
    return lambda x, **windows: _windows(x, computation, **windows)


PRIMITIVES.update(
    {f"reduce_window_{word}": _sliding(name) for word, name in (("sum", "add"), ("max", "max"), ("min", "min"))}
)


@binds("reduce_window", table=EQUATIONS)
def _(eqn: Any, *arrays: Any) -> Any:
    jaxpr = eqn.params["jaxpr"]
    names = [e.primitive.name for e in jaxpr.eqns]
    if len(arrays) != 2 or len(names) != 1 or names[0] not in ("add", "mul", "max", "min"):
        raise unknown(
            eqn,
            "windows slide with add, mul, max or min, over one array: stack the windows for any other function of them",
        )
    windows = {name: x for name, x in eqn.params.items() if name not in ("jaxpr", "consts")}
    return [_windows(arrays[0], names[0], **windows, start=arrays[1])]


# The derivatives of a maximum in windows, where the function that is imported takes them itself.


def _extreme(select: Any) -> str:
    return "max" if select.name == "ge" else "min"


@binds("select_and_scatter_add")
def _(ct: Any, x: Any, *, select_prim: Any, **windows: Any) -> Any:
    _, pull = vjp(lambda x: _windows(x, _extreme(select_prim), **windows), x)
    return pull(ct)[0]


@binds("select_and_gather_add")
def _(tangent: Any, x: Any, *, select_prim: Any, **windows: Any) -> Any:
    return jvp(lambda x: _windows(x, _extreme(select_prim), **windows), (x,), (tangent,))[1]
