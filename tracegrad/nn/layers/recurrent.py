"""Recurrent cells, and loops over them. Parameters lie as in keras: the gates of a step side by side, so that a step is one
product with its input and one with what it carries."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import Count
from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import type_of
from tracegrad.lax import scan
from tracegrad.nn import initializers
from tracegrad.nn.activations import sigmoid
from tracegrad.nn.layer import Layer, layer
from tracegrad.nn.making import maker
from tracegrad.nn.scope import Init, Scope
from tracegrad.typing import Array, DType

Carries = Callable[[tuple[int, ...], DType], Any]


class Cell(Layer):
    """A layer `(carry, x) -> (carry, y)`, and what it carries into the first step."""

    __slots__ = ("_carries",)

    def __init__(self, made: Layer, carries: Carries) -> None:
        super().__init__(made.name, made.function, None)
        self._carries = carries

    def carry(self, batch_shape: int | Sequence[int] = (), dtype: DType = np.float32) -> Any:
        """What it carries into the first step, zeros, for each sequence of a batch of this shape."""
        return self._carries(tuple(batch_shape) if np.iterable(batch_shape) else (operator.index(batch_shape),), dtype)


@maker
def SimpleCell(
    features: Count,
    *,
    kernel_init: Init = initializers.glorot_uniform(),
    recurrent_init: Init = initializers.orthogonal(),
    bias_init: Init = initializers.zeros,
) -> Cell:
    """h' = tanh(x @ kernel + h @ recurrent_kernel + bias). It returns and carries h', [..., features].

    Args:
        features: the size of h.
        kernel_init: of `kernel`, (in, features).
        recurrent_init: of `recurrent_kernel`, (features, features).
        bias_init: of `bias`, (features,).

    Source: Elman, "Finding structure in time", Cognitive Science 14, 1990. Parameters are those of keras.layers.SimpleRNN.

    >>> import numpy as np
    >>> from tracegrad import nn
    >>> cell = nn.SimpleCell(4)
    >>> params = cell.init(0, cell.carry(2), (2, 3))
    >>> h, y = cell(params, cell.carry(2), np.ones((2, 3)))
    >>> y.shape
    (2, 4)
    """

    @layer("SimpleCell")
    def cell(p: Scope, h: Any, x: Any) -> Any:
        kernel = p.param("kernel", kernel_init, (x.shape[-1], features))
        recurrent = p.param("recurrent_kernel", recurrent_init, (features, features))
        bias = p.param("bias", bias_init, (features,))
        h = np.tanh(p.cast(x, kernel.dtype) @ kernel + h @ recurrent + bias)
        return h, h

    return Cell(cell, lambda batch, dtype: np.zeros((*batch, features), dtype))


@maker
def LSTMCell(
    features: Count,
    *,
    kernel_init: Init = initializers.glorot_uniform(),
    recurrent_init: Init = initializers.orthogonal(),
    bias_init: Init = initializers.zeros,
    unit_forget_bias: bool = True,
) -> Cell:
    """c' = f c + i g and h' = o tanh(c'), with g = tanh of a part of z = x @ kernel + h @ recurrent_kernel + bias, and the gates i,
    f, o = sigmoid of others. It returns h', and carries (h', c'), each [..., features].

    Args:
        features: the size of h and of c.
        kernel_init: of `kernel`, (in, 4 features): i, f, g, o side by side.
        recurrent_init: of `recurrent_kernel`, (features, 4 features).
        bias_init: of `bias`, (4 features,).
        unit_forget_bias: whether that of f starts at 1 (Jozefowicz et al. 2015), so that c is kept at first.

    Source: Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9, 1997; Gers et al. 2000 for f. Parameters
    are those of keras.layers.LSTM.

    >>> from tracegrad import nn
    >>> cell = nn.LSTMCell(4)
    >>> cell.init(0, cell.carry(2), (2, 3))["kernel"].shape
    (3, 16)
    """

    def start(key: Any, shape: tuple[int, ...], dtype: Any) -> Array:
        bias = bias_init(key, shape, dtype)
        if not unit_forget_bias:
            return bias
        return np.concatenate([bias[:features], np.ones(features, dtype), bias[2 * features :]])

    @layer("LSTMCell")
    def cell(p: Scope, carry: Any, x: Any) -> Any:
        h, c = carry
        kernel = p.param("kernel", kernel_init, (x.shape[-1], 4 * features))
        recurrent = p.param("recurrent_kernel", recurrent_init, (features, 4 * features))
        z = p.cast(x, kernel.dtype) @ kernel + h @ recurrent + p.param("bias", start, (4 * features,))
        i, f, g, o = np.split(z, 4, -1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        return (h, c), h

    def carries(batch: tuple[int, ...], dtype: DType) -> Any:
        return np.zeros((*batch, features), dtype), np.zeros((*batch, features), dtype)

    return Cell(cell, carries)


@maker
def GRUCell(
    features: Count,
    *,
    kernel_init: Init = initializers.glorot_uniform(),
    recurrent_init: Init = initializers.orthogonal(),
    bias_init: Init = initializers.zeros,
) -> Cell:
    """h' = z h + (1 - z) tanh(x_h + r h_h), with the gates z, r = sigmoid(x_z + h_z), sigmoid(x_r + h_r), where x_z, x_r, x_h are
    the parts of x @ kernel + bias[0], and h_z, h_r, h_h those of h @ recurrent_kernel + bias[1]. It returns and carries h'.

    Args:
        features: the size of h.
        kernel_init: of `kernel`, (in, 3 features): z, r, h side by side.
        recurrent_init: of `recurrent_kernel`, (features, 3 features).
        bias_init: of `bias`, (2, 3 features).

    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014, with the reset gate after the
    product, as in cuDNN. Parameters are those of keras.layers.GRU.

    >>> from tracegrad import nn
    >>> cell = nn.GRUCell(4)
    >>> cell.init(0, cell.carry(2), (2, 3))["bias"].shape
    (2, 12)
    """

    @layer("GRUCell")
    def cell(p: Scope, h: Any, x: Any) -> Any:
        kernel = p.param("kernel", kernel_init, (x.shape[-1], 3 * features))
        recurrent = p.param("recurrent_kernel", recurrent_init, (features, 3 * features))
        bias = p.param("bias", bias_init, (2, 3 * features))
        x_z, x_r, x_h = np.split(p.cast(x, kernel.dtype) @ kernel + bias[0], 3, -1)
        h_z, h_r, h_h = np.split(h @ recurrent + bias[1], 3, -1)
        z = sigmoid(x_z + h_z)
        h = z * h + (1 - z) * np.tanh(x_h + sigmoid(x_r + h_r) * h_h)
        return h, h

    return Cell(cell, lambda batch, dtype: np.zeros((*batch, features), dtype))


@maker
def RNN(
    cell: Cell,
    *,
    time_major: bool = False,
    return_carry: bool = False,
    reverse: bool = False,
    unroll: Count = 1,
) -> Layer:
    """A cell applied step by step along the time axis of sequences, by `lax.scan`.

    Called `(x, carry=None, lengths=None)`, with x [..., time, in], carry as the cell's (zeros, if there is none) and lengths,
    integers [...], how long each sequence is. Beyond its length a sequence changes nothing: its carry stays, its outputs are 0.

    Args:
        cell: the cell. Its parameters stand under its name, `LSTMCell_0`.
        time_major: whether x is [time, ..., in], and so the outputs.
        return_carry: whether to return `(carry, outputs)`.
        reverse: whether to begin with the last step. Outputs lie as the inputs do.
        unroll: how many steps become one of the compiled loop.

    Returns:
        A layer. Its outputs are [..., time, features].

    >>> import numpy as np
    >>> from tracegrad import nn
    >>> net = nn.RNN(nn.GRUCell(5))
    >>> net(net.init(0, (2, 7, 3)), np.ones((2, 7, 3))).shape
    (2, 7, 5)
    """
    if not isinstance(cell, Cell):
        raise TypeError(f"nn.RNN{at(user_source())} takes a cell such as nn.LSTMCell(8), got {cell!r}")

    @layer("RNN")
    def rnn(p: Scope, x: Any, carry: Any = None, lengths: Any = None) -> Any:
        x = as_array(x)
        time = 0 if time_major else x.ndim - 2
        if x.ndim < 2:
            raise ShapeError(f"{p.place()}: takes sequences [..., time, in], got {x.shape}")
        steps = np.moveaxis(x, time, 0)
        batch = steps.shape[1:-1]
        example = steps[0] if steps.shape[0] else np.zeros(steps.shape[1:], type_of(steps).dtype)
        step = p.bind(cell, _first(cell, carry, batch, np.float32), example)
        carry = _first(cell, carry, batch, tree.tree_leaves(step.params)[0].dtype)
        if lengths is None:
            carry, y = scan(lambda carry, x: step(carry, x), carry, steps, reverse=reverse, unroll=unroll)
        else:
            lengths = as_array(lengths)

            def masked(carry: Any, at_time: Any) -> Any:
                x, t = at_time
                runs = (t < lengths)[..., None]
                after, y = step(carry, x)
                return tree.tree_map(lambda new, old: np.where(runs, new, old), after, carry), np.where(runs, y, 0)

            carry, y = scan(masked, carry, (steps, np.arange(steps.shape[0])), reverse=reverse, unroll=unroll)
        y = np.moveaxis(y, 0, time)
        return (carry, y) if return_carry else y

    return rnn


@maker
def Bidirectional(
    forward: Cell, backward: Cell, merge: Literal["concatenate", "sum", "tuple"] = "concatenate", **options: Any
) -> Layer:
    """Two cells along the same sequences, the second from their ends. Called as `RNN` is, without a carry:
    `(x, lengths=None)`.

    Args:
        forward, backward: cells. Their parameters stand under `forward` and `backward`.
        merge: what becomes of their outputs: joined along the last axis, added up, or a tuple of both.
        **options: `time_major` and `unroll`, as of `RNN`.

    Source: Schuster and Paliwal, "Bidirectional recurrent neural networks", IEEE Trans. Signal Processing 45, 1997.

    >>> from tracegrad import nn
    >>> net = nn.Bidirectional(nn.LSTMCell(4), nn.LSTMCell(4))
    >>> sorted(net.init(0, (2, 7, 3)))
    ['backward', 'forward']
    """
    if merge not in ("concatenate", "sum", "tuple"):
        raise ValueError(
            f"nn.Bidirectional{at(user_source())}: merge is 'concatenate', 'sum' or 'tuple', got {merge!r}"
        )
    onward, back = RNN(forward, **options), RNN(backward, reverse=True, **options)

    @layer("Bidirectional")
    def bidirectional(p: Scope, x: Any, lengths: Any = None) -> Any:
        a, b = p(onward, x, None, lengths, name="forward"), p(back, x, None, lengths, name="backward")
        if merge == "tuple":
            return a, b
        return a + b if merge == "sum" else np.concatenate([a, b], -1)

    return bidirectional


def _first(cell: Cell, carry: Any, batch: tuple[int, ...], dtype: DType) -> Any:
    return cell.carry(batch, dtype) if carry is None else carry
