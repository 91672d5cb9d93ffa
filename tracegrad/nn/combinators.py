"""Layers made of layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import dtype_of, whole
from tracegrad.core.errors import DtypeError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import number_kind, type_of
from tracegrad.nn.layer import Layer, layer
from tracegrad.nn.making import maker
from tracegrad.nn.scope import Scope
from tracegrad.typing import DType, PyTree


@maker
def serial(*layers: Any, **named: Any) -> Layer:
    """Layers and plain functions, one after the other. The first takes all inputs.

    Args:
        *layers: each called by its name and a number: `Dense_0`, `Dense_1`.
        **named: further ones, called by these names.

    >>> from tracegrad import nn
    >>> net = nn.serial(nn.Dense(8), nn.relu, head=nn.Dense(2))
    >>> net
    serial(Dense(8), relu, head=Dense(2))
    >>> sorted(net.init(0, (1, 3)))
    ['Dense_0', 'head']
    """
    parts: list[tuple[str | None, Layer]] = [(None, Layer.of(f)) for f in layers]
    parts += [(name, Layer.of(f)) for name, f in named.items()]

    @layer("serial")
    def serial(p: Scope, *inputs: Any) -> Any:
        for name, f in parts:
            inputs = (p(f, *inputs, name=name),)
        return inputs[0] if len(inputs) == 1 else inputs

    return serial


@maker
def residual(f: Any, shortcut: Any = None) -> Layer:
    """x + f(x), or shortcut(x) + f(x), in the dtype of f(x): that of its parameters.

    Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.

    >>> from tracegrad import nn
    >>> nn.residual(nn.serial(nn.Dense(4), nn.relu))
    residual(serial(Dense(4), relu))
    """
    f = Layer.of(f)
    shortcut = None if shortcut is None else Layer.of(shortcut)

    @layer("residual")
    def residual(p: Scope, x: Any) -> Any:
        y = p(f, x)
        x = x if shortcut is None else p(shortcut, x)
        dtype = type_of(y).dtype
        real = number_kind(type_of(x).dtype) != "c" and number_kind(dtype) in "fc"
        return (p.cast(x, dtype) if real else x) + y

    return residual


@maker
def parallel(*layers: Any, combine: Literal["concatenate", "sum", "tuple"] = "concatenate") -> Layer:
    """Several layers of the same inputs.

    Args:
        *layers: layers or functions.
        combine: what becomes of their results: joined along the last axis, added up, or a tuple of them. What is joined or added
            is in the dtype of the parameters, that of functions without any too.

    >>> import numpy as np
    >>> from tracegrad import nn
    >>> net = nn.parallel(nn.Dense(2), nn.Dense(3))
    >>> net(net.init(0, (1, 4)), np.ones((1, 4))).shape
    (1, 5)
    """
    if combine not in ("concatenate", "sum", "tuple"):
        raise ValueError(f"nn.parallel{at(user_source())}: combine is 'concatenate', 'sum' or 'tuple', got {combine!r}")
    parts = [Layer.of(f) for f in layers]

    @layer("parallel")
    def parallel(p: Scope, *inputs: Any) -> Any:
        outputs = tuple([p(f, *inputs) for f in parts])
        if combine == "tuple":
            return outputs
        outputs = p.alike(outputs)
        return sum(outputs[1:], outputs[0]) if combine == "sum" else np.concatenate(outputs, -1)

    return parallel


@maker
def repeat(make: Layer | Callable[[], Any], n: int) -> Layer:
    """`n` layers one after the other, each with parameters of its own: `serial` of them.

    Args:
        make: a Layer, or a function that returns one.
        n: how many.

    >>> from tracegrad import nn
    >>> sorted(nn.repeat(nn.Dense(4), 2).init(0, (1, 4)))
    ['Dense_0', 'Dense_1']
    """
    return serial(*[make if isinstance(make, Layer) else make() for _ in range(whole(n, "nn.repeat", "n"))])


@maker
def stack(f: Any, n: int, *, remat: bool = False) -> Layer:
    """`n` copies of a layer one after the other, as one loop: parameters, state and keys are stacked along a first axis, so that
    compiling takes as long for a hundred copies as for one.

    Args:
        f: a layer that returns what it takes, of the same types.
        n: how many.
        remat: whether the backward pass computes each copy once more, and keeps only what goes from one to the next.

    >>> import numpy as np, tracegrad as tg
    >>> from tracegrad import nn
    >>> net = nn.stack(nn.residual(nn.Dense(4)), 12)
    >>> tg.tree.tree_map(np.shape, net.init(0, (1, 4)))
    {'Dense_0': {'kernel': (12, 4, 4), 'bias': (12, 4)}}
    """
    f, n = Layer.of(f), whole(n, "nn.stack", "n", 1)

    @layer("stack")
    def stack(p: Scope, x: Any) -> Any:
        return p.each(f, n, x, remat)

    return stack


@maker
def remat(f: Any, **options: Any) -> Layer:
    """A layer whose backward pass computes it once more, in place of keeping what it computed: `tg.checkpoint` of it.

    Args:
        f: a layer. Its parameters are as without this.
        **options: of `tg.checkpoint`: `policy`, `memory`.

    >>> from tracegrad import nn
    >>> sorted(nn.remat(nn.Dense(4)).init(0, (1, 4)))
    ['bias', 'kernel']
    """
    f = Layer.of(f)

    @layer("remat")
    def remat(p: Scope, *inputs: Any) -> Any:
        return p.again(f, inputs, options)

    return remat


def cast(params: PyTree, dtype: DType, where: Callable[[Any, Any], bool] | None = None) -> PyTree:
    """A tree with its floating arrays in another dtype. It is differentiated like any function: gradients arrive in the dtype of
    what was cast, so `loss(nn.cast(params, "bfloat16"), batch)` is mixed precision.

    Args:
        params: a tree of arrays.
        dtype: a floating dtype, or its name.
        where: (key path, leaf) -> whether to cast this one; by default all.

    Returns:
        The tree. Integers, booleans, complex numbers and random keys stay as they are.

    >>> import numpy as np
    >>> cast({"w": np.ones(2, np.float32), "n": np.array(3)}, "float16")
    {'w': array([1., 1.], dtype=float16), 'n': array(3)}
    """
    due = dtype_of(dtype, "nn.cast")
    if number_kind(due) not in "fc":
        raise DtypeError(f"nn.cast{at(user_source())}: a floating dtype is due, such as 'bfloat16', got {due}")
    found, structure = tree.tree_flatten_with_path(params)
    return tree.tree_unflatten(
        structure,
        [_cast(x, due) if where is None or where(path, x) else x for path, x in found],
    )


def _cast(x: Any, dtype: np.dtype[Any]) -> Any:
    x = as_array(x)
    return x.astype(dtype) if number_kind(x.dtype) == "f" and x.dtype != dtype else x
