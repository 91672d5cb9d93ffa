"""A layer is a plain function of a scope and inputs; `Layer` reads it twice. `init` notes which parameters it asks for,
`apply` hands them out. Parameters and state are nested dicts of arrays, and nothing else is kept anywhere."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import Any, overload

import numpy as np

from tracegrad import random, tree
from tracegrad.core.arguments import dtype_of
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.context import context
from tracegrad.core.errors import at, described, name_of, require_callable, user_source
from tracegrad.core.late import LOADERS
from tracegrad.core.names import found_as
from tracegrad.core.types import ShapeDtypeStruct, type_of
from tracegrad.nn.making import Call, named, shown
from tracegrad.nn.scope import Row, Run, Scope, Specs, applied, misused
from tracegrad.nn.summary import Summary, summarised
from tracegrad.transforms.inspect import eval_shape
from tracegrad.typing import Array, DType

Params = Any
State = Any


class Layer:
    """A function of parameters and inputs, and what makes the parameters. It is made by `nn.layer`, `nn.Dense`, `nn.serial` and
    their kin, never changes, and holds no arrays.

    Attributes:
        name: what it is called among the layers of a net, with a number: "Dense" gives `Dense_0`.
        function: (scope, *inputs) -> outputs.
        made: the call of a function that made it, where that remembers it (`nn.maker`): it is pickled as this.

    >>> import numpy as np, tracegrad as tg
    >>> from tracegrad import nn
    >>> net = nn.serial(nn.Dense(8), nn.relu, nn.Dense(2))
    >>> x = np.ones((4, 3))
    >>> params = net.init(0, x)
    >>> tg.tree.tree_map(np.shape, params)
    {'Dense_0': {'kernel': (3, 8), 'bias': (8,)}, 'Dense_1': {'kernel': (8, 2), 'bias': (2,)}}
    >>> net(params, x).shape
    (4, 2)
    >>> gradient = tg.grad(lambda params: np.mean(net(params, x) ** 2))(params)
    """

    __slots__ = ("_text", "function", "made", "name")

    def __init__(self, name: str, function: Callable[..., Any], text: str | None = None) -> None:
        self.name = name
        self.function = function
        self.made: Call | None = None
        self._text = text

    def __repr__(self) -> str:
        if self._text is None:
            return self.name if self.made is None else str(self.made)
        return self._text

    def __reduce__(self) -> Any:
        if self.made is not None:
            return self.made.reduced()
        if (name := found_as(self, self.function, 2)) is not None:
            return named, (self.function.__module__, name)
        raise pickle.PicklingError(
            f"the layer {self!r} cannot be pickled: {described(self.function)} is not found by its name in a module; define it "
            "there, or if a function there makes it, write @nn.maker on that"
        )

    def __copy__(self) -> Layer:
        return self

    def __deepcopy__(self, memo: Any) -> Layer:
        return self

    def __treescope_repr__(self, path: Any, subtree_renderer: Any) -> Any:
        return LOADERS["treescope"]().rendered(repr(self), self.name, path)

    @accepting_jax
    def init(self, key: int | Array, *inputs: Any, dtype: DType = np.float32) -> Params:
        """Parameters, drawn.

        Args:
            key: a random key, or an int for `tg.random.PRNGKey` of it.
            *inputs: what the net will be applied to: arrays, `ShapeDtypeStruct`s or shapes such as `(1, 28, 28, 1)`, of
                float32. Only their types are looked at, and nothing is computed with them.
            dtype: of the parameters, but for those of which the layer says another.

        Returns:
            A nested dict of arrays. Each is a function of the key, its path of names, its shape and dtype, and of nothing
            else: a layer more elsewhere changes no numbers here.
        """
        key = self._key(key, "init", "net.init(0, x)")
        return self._noted(inputs, dtype)[0].draw(key)

    @accepting_jax
    def init_state(self, *inputs: Any, dtype: DType = np.float32) -> State:
        """What the layers keep from call to call, such as running statistics, as it is at first: a nested dict of arrays, empty
        where none keeps any. Arguments as for `init`."""
        return self._noted(inputs, dtype)[1].draw(random.PRNGKey(0))

    def shapes(self, *inputs: Any, dtype: DType = np.float32) -> Params:
        """The types of the parameters, `ShapeDtypeStruct`s in a nested dict. Nothing is drawn. Arguments as for `init`."""
        return self._noted(inputs, dtype)[0].types()

    @overload
    def apply(self, params: Params, *inputs: Any, key: Array | None = ..., train: bool = ...) -> Any: ...

    @overload
    def apply(
        self, params: Params, *inputs: Any, state: State, key: Array | None = ..., train: bool = ...
    ) -> tuple[Any, State]: ...

    @accepting_jax
    def apply(
        self, params: Params, *inputs: Any, state: State = None, key: Array | None = None, train: bool = False
    ) -> Any:
        """What the net makes of inputs. `net(params, x)` is the same.

        Args:
            params: as made by `init`.
            *inputs: arrays.
            state: as made by `init_state`, and as returned by the call before.
            key: a random key, or an int for `tg.random.PRNGKey` of it; needed where a layer draws (dropout in training).
            train: whether this is training: dropout drops, batch norm normalises by the batch.

        Returns:
            The outputs; `(outputs, state)` where `state` is given, even as `{}`.

        Raises:
            ShapeError: parameters of other shapes than the inputs ask for.
            ValueError: a parameter, a state or a key is missing.
        """
        if not isinstance(params, Mapping):
            raise TypeError(
                f"{self.name}{at(user_source())}: the first argument is the parameters, a dict, got "
                f"{type_of(params) if hasattr(params, 'shape') else type(params).__name__}; write "
                + ("p(layer, x) inside a layer" if isinstance(params, Scope) else "net(params, x)")
            )
        if state is not None and not isinstance(state, Mapping):
            raise TypeError(
                f"{self.name}{at(user_source())}: state is a dict as made by net.init_state(x), got {type(state).__name__}"
            )
        if key is not None and type(key) is not np.ndarray:
            key = self._key(key, "apply", "net.apply(params, x, key=tg.random.PRNGKey(0))")
        try:
            out, states = applied(self, params, state, inputs, key, train, (self.name,))
        except Exception as error:
            if (clearer := misused(self, inputs, error, (self.name,))) is not None:
                raise clearer from None
            raise
        return out if state is None else (out, states)

    __call__ = apply

    def check(self, params: Params, *inputs: Any) -> None:
        """Compare parameters with what the net asks for.

        Raises:
            ValueError: with all that is missing, surplus, or of another shape, by path.
        """
        wanted = _by_path(self.shapes(*inputs))
        given = _by_path(params)
        wrong = [f"no {name!r}" for name in sorted(wanted.keys() - given.keys())]
        wrong += [f"params has {name!r}, which nothing asked for" for name in sorted(given.keys() - wanted.keys())]
        wrong += [
            f"{name!r} is {np.shape(given[name])}, not {wanted[name].shape}"
            for name in sorted(wanted.keys() & given.keys())
            if np.shape(given[name]) != wanted[name].shape
        ]
        if wrong:
            raise ValueError(f"{self.name}.check{at(user_source())}: " + "; ".join(wrong))

    def summary(self, *inputs: Any, dtype: DType = np.float32) -> Summary:
        """The layers, with what they return, their parameters, work and memory, for inputs of these types. Nothing is drawn or
        computed. Arguments as for `init`.

        Returns:
            A `Summary`, whose str() is a table.

        >>> from tracegrad import nn
        >>> print(nn.serial(nn.Dense(8), nn.relu, nn.Dense(2)).summary((4, 3)))
        layer      output  params  products   kept
        serial     (4, 2)      50       160  256 B
          Dense_0  (4, 8)      32        96  128 B
          relu_0   (4, 8)                    128 B
          Dense_1  (4, 2)      18        64
        50 parameters, 200 B; 160 products forward, 256 B kept for the backward pass
        """
        return summarised(self, inputs, dtype)

    def _key(self, key: Any, method: str, instead: str) -> Any:
        """A random key, of which an int is the seed."""
        if isinstance(key, int | np.integer):
            return random.PRNGKey(key)
        if isinstance(key, random.KeyArray):
            key = random.key_data(key)
        if not hasattr(key, "dtype") or key.dtype != np.uint32 or key.shape != (2,):
            told = type_of(key) if hasattr(key, "dtype") else type(key).__name__
            raise TypeError(
                f"{self.name}.{method}{at(user_source())}: a key is u32[2], or an int, got {told}; write {instead}"
            )
        return key

    def _noted(self, inputs: Any, dtype: DType) -> tuple[Specs, Specs, list[Row]]:
        """The parameters and the state that the function asks for, and the layers that it has, read by types alone."""
        params, states, rows = Specs(), Specs(), []

        def read(stand_in: Any, *inputs: Any) -> Any:
            run = Run(params, None, None)
            run.stand_in, run.trace, run.dtype = stand_in, context.trace, dtype_of(dtype, self.name)
            try:
                out = self.function(Scope(run, self, params, states, (self.name,), False, inputs), *inputs)
            except Exception as error:
                if (clearer := misused(self, inputs, error, (self.name,))) is not None:
                    raise clearer from None
                raise
            rows.extend([row._replace(inputs=_types(row.inputs), output=_types(row.output)) for row in run.rows])
            rows.append(Row((self.name,), self, _types(inputs), _types(out)))
            return out

        eval_shape(read, ShapeDtypeStruct((), np.dtype(np.float32)), *[_declared(x) for x in inputs])
        return params.without_empty(), states.without_empty(), rows

    @staticmethod
    def of(function: Any) -> Layer:
        """A plain function of arrays as a layer without parameters; a layer as it is."""
        if isinstance(function, Layer):
            return function
        if not callable(function):
            advice = "; write nn.serial(*layers)" if isinstance(function, list | tuple) else ""
            raise TypeError(
                f"a layer is a Layer or a function of arrays, got {type(function).__name__}{at(user_source())}{advice}"
            )
        name = name_of(function, "function").strip("<>")
        makes = getattr(function, "makes_layers", False)

        def of_arrays(p: Scope, *inputs: Any) -> Any:
            if makes or isinstance(out := function(*inputs), Layer):
                raise TypeError(
                    f"{p.place()}: {name} makes a layer, and a layer is due; write {name}(...) with what it is made of"
                )
            return out

        made = Layer(name, of_arrays, name)
        made.made = Call(Layer.of, (function,), {})
        return made


@overload
def layer(function: Callable[..., Any], /) -> Layer: ...


@overload
def layer(name: str, /, *config: Any, **options: Any) -> Callable[[Callable[..., Any]], Layer]: ...


def layer(name: Any, /, *config: Any, **options: Any) -> Any:
    """A Layer of a function `(p, *inputs) -> outputs`, where `p` is a `Scope`. Used as a decorator.

    Args:
        name: the function, whose name is the layer's; or a name, for a function that makes layers.
        *config, **options: what such a function was called with, for the layer's repr, which with `nn.maker` is known without.

    >>> import numpy as np
    >>> from tracegrad import nn
    >>> @nn.layer
    ... def block(p, x):
    ...     h = nn.gelu(p(nn.Dense(16), x, name="up"))
    ...     return x + p(nn.Dense(x.shape[-1]), h, name="down")
    >>> sorted(block.init(0, (1, 4)))
    ['down', 'up']
    >>> def Scale(start=1.0):
    ...     @nn.layer("Scale", start)
    ...     def scale(p, x):
    ...         return x * p.param("scale", nn.initializers.constant(start), x.shape[-1:])
    ...     return scale
    >>> Scale(2.0)
    Scale(2.0)
    """
    if not isinstance(name, str):
        require_callable(name, "nn.layer", "(f)")
        return Layer(name_of(name, "layer"), name)
    parts = [*map(shown, config), *[f"{key}={shown(value)}" for key, value in options.items()]]
    return lambda function: Layer(name, function, f"{name}({', '.join(parts)})" if parts else None)


def _declared(x: Any) -> Any:
    """An input that init is told of: a tuple of sizes is a shape."""
    if isinstance(x, tuple) and all(isinstance(n, int | np.integer) for n in x):
        return ShapeDtypeStruct(tuple(map(int, x)), np.dtype(np.float32))
    return x


def _types(x: Any) -> Any:
    return tree.tree_map(type_of, x)


def _by_path(params: Any) -> dict[str, Any]:
    found, _ = tree.tree_flatten_with_path(params)
    return {tree.keystr(path, simple=True, separator="."): leaf for path, leaf in found}
