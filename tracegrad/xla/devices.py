"""Devices, and the way into jax: `devices`, `device_put`, `to_jax`. All need jax, which is imported when they are called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tracegrad import tree
from tracegrad.core.backends import xla
from tracegrad.core.errors import require_callable
from tracegrad.core.names import wraps
from tracegrad.typing import PyTree


def devices(backend: str | None = None) -> list[Any]:
    """The devices that XLA sees, as `jax.devices`.

    Args:
        backend: "cpu", "gpu" or "tpu"; None for the default one.

    >>> import tracegrad as tg
    >>> len(tg.devices("cpu")) >= 1
    True
    """
    return xla().jax.devices(backend)


def device_put(x: Any, device: Any = None, *, donate: bool = False) -> PyTree:
    """A pytree of arrays as jax arrays on a device, or laid out over several by a sharding, as `jax.device_put`.

    NumPy's dtypes are kept, float64 and int64 too, and NumPy's arrays are copied, so that they may be written into. What computes on jax arrays runs where they are: `tracegrad.numpy`'s
    functions, the transforms, and functions jitted without a backend.

    Args:
        x: arrays, numbers and pytrees of them.
        device: a device from `tg.devices()` or a `jax.sharding.Sharding`, or a pytree of such; None for the default.
        donate: whether the memory of jax arrays in `x` may be taken over.

    >>> import numpy as np, tracegrad as tg
    >>> x = tg.device_put(np.array([1.0, 2.0]))
    >>> x.dtype, tg.grad(lambda x: np.sum(x * x))(x).tolist()
    (dtype('float64'), [2.0, 4.0])
    """
    j = xla()
    j.require_plain_leaves((x,), {}, lambda: lambda i: "x" + tree.keystr(tree.tree_leaves_with_path(x)[i][0]))
    with j.x64():
        if isinstance(device, dict | list | tuple):
            out = j.jax.device_put(j.jax.tree_util.tree_map(j.array_of_our_own, x), device, donate=donate)
        else:  # containers that jax does not know are none to it
            leaves, rebuilt = j.flatten(x)
            out = rebuilt(j.jax.device_put(list(map(j.array_of_our_own, leaves)), device, donate=donate))
    return j.handed_out(out)


def to_jax(fun: Callable[..., Any]) -> Callable[..., Any]:
    """A function of NumPy calls as one of jax arrays, that jax can trace: `jax.jit`, `jax.grad`, `jax.vmap` and all that is
    built on them take it. tracegrad's own transforms and jitted functions are such functions already.

    Args:
        fun: a function of arrays and pytrees of them (jax's pytrees, own types registered with jax included).

    Returns:
        A function with the same arguments. Arrays among them, NumPy's too, are computed on by jax, one op after the other,
        with NumPy's rules for dtypes, and results are jax arrays.

    >>> import jax, numpy as np, tracegrad as tg
    >>> f = tg.to_jax(lambda x: np.sum(np.sin(x) ** 2))
    >>> float(jax.jit(jax.grad(f))(np.float32(0.0)))
    0.0
    """
    require_callable(fun, "to_jax", "(f)")
    j = xla()

    @wraps(fun)
    def on_jax(*args: Any, **kwargs: Any) -> Any:
        return j.in_jax(fun, args, kwargs)

    return on_jax
