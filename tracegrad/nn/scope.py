"""What a layer's function is given first: parameters, state, random keys and sub-layers, by name.

One class serves both readings of a layer's function. While a net is being made (`Layer.init`), parameters are noted down and
traced stand-ins of their types handed out; while it is being applied, the parameters given are.
"""

from __future__ import annotations

import difflib
import inspect
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tracegrad import random, tree
from tracegrad.core.context import context, open_traces
from tracegrad.core.errors import DtypeError, RawSource, ShapeError, at, name_of, user_source
from tracegrad.core.scopes import named_scope
from tracegrad.core.trace import as_array
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import ShapeDtypeStruct, number_kind, type_of
from tracegrad.lax import scan
from tracegrad.transforms.control.checkpoint import checkpoint
from tracegrad.transforms.stop_gradient import stop_gradient
from tracegrad.transforms.vmap import vmap
from tracegrad.typing import Array, DType

if TYPE_CHECKING:
    from tracegrad.nn.layer import Layer

Init = Callable[[Any, tuple[int, ...], np.dtype[Any]], Array]


class Spec(NamedTuple):
    """A parameter, or an array of state, that is yet to be drawn."""

    init: Init
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def draw(self, key: Any, name: str) -> Any:
        """The array, of the shape asked for, and floats in the dtype asked for."""
        out = self.init(key, self.shape, self.dtype)
        if callable(out):
            raise TypeError(
                f"the initialiser of {name!r} returned a function: write {name_of(self.init)}() to make one"
            )
        out = as_array(out)
        if np.shape(out) != self.shape:
            raise ShapeError(f"the initialiser of {name!r} returned {type_of(out)}, asked for the shape {self.shape}")
        floats = number_kind(out.dtype) == number_kind(self.dtype) == "f"
        return out.astype(self.dtype) if floats and out.dtype != self.dtype else out


class Specs(dict[str, "Spec | Specs"]):
    """Those of a layer and of its sub-layers, by name."""

    copies: int | None = None  # how many of all of them there are, along a first axis

    def draw(self, key: Any) -> dict[str, Any]:
        """The arrays. The key of each is that of what it belongs to, folded with its name: no other layer changes it."""
        if self.copies is None:
            return self._draw_one(key)
        return vmap(lambda i: self._draw_one(random.fold_in(key, i)))(np.arange(self.copies))

    def _draw_one(self, key: Any) -> dict[str, Any]:
        drawn = {}
        for name, spec in self.items():
            mine = random.fold_in(key, hashed(name))
            drawn[name] = spec.draw(mine) if isinstance(spec, Specs) else spec.draw(mine, name)
        return drawn

    def types(self, outer: tuple[int, ...] = ()) -> dict[str, Any]:
        """Their types, which take no drawing."""
        outer = outer if self.copies is None else (*outer, self.copies)
        return {
            name: spec.types(outer) if isinstance(spec, Specs) else ShapeDtypeStruct((*outer, *spec.shape), spec.dtype)
            for name, spec in self.items()
        }

    def without_empty(self) -> Specs:
        """Without the layers that have none."""
        kept = Specs()
        kept.copies = self.copies
        for name, spec in self.items():
            if isinstance(spec, Specs):
                spec = spec.without_empty()
            if not isinstance(spec, Specs) or spec:
                kept[name] = spec
        return kept


class Row(NamedTuple):
    """A layer that was read while a net was made: where it stands, what it was given, what it returned."""

    path: tuple[str, ...]
    layer: Layer
    inputs: Any
    output: Any


class Run:
    """What all scopes of one reading of a net share."""

    __slots__ = ("draws", "dtype", "key", "like", "params", "rows", "stand_in", "trace")

    def __init__(self, params: Any, key: Any, like: Any) -> None:
        self.params = params
        self.key = key
        self.like = like  # a tracer among the inputs
        self.draws: dict[tuple[str, ...], int] = {}
        self.stand_in: Any = None  # a traced number, of which parameters' stand-ins are made while the net is
        self.trace: Any = None  # the trace that it belongs to
        self.dtype: np.dtype[Any] = np.dtype(np.float32)  # of parameters that ask for no other
        self.rows: list[Row] = []


class Scope:
    """The first argument of a layer's function, `p` by convention.

        @nn.layer
        def block(p, x):
            h = p(nn.Dense(64), x, name="up")                             # a sub-layer
            scale = p.param("scale", nn.initializers.ones, (64,))         # a parameter
            return nn.relu(h) * scale

    Attributes:
        path: the names from the net down to this layer.
        train: whether this is training.
        making: whether parameters are being noted, in `Layer.init`, and nothing is computed.
    """

    __slots__ = ("_counts", "_inputs", "_layer", "_run", "_used", "params", "path", "states", "train")

    def __init__(
        self, run: Run, layer: Layer, params: Any, states: Any, path: tuple[str, ...], train: bool, inputs: Any
    ) -> None:
        self._run = run
        self._layer = layer
        self._inputs = inputs
        self._counts: dict[str, int] = {}
        self._used: dict[str, tuple[Layer, RawSource]] = {}  # while the net is made
        self.params = params
        self.states = states
        self.path = path
        self.train = train

    @property
    def making(self) -> bool:
        """Whether the net is being made, and parameters stand for arrays that are not drawn yet."""
        return self._run.stand_in is not None

    def __call__(self, layer: Any, *inputs: Any, name: str | None = None, train: bool | None = None) -> Any:
        """Apply a sub-layer, or any function of arrays.

        Args:
            layer: a `Layer`, or a plain function.
            *inputs: what it takes.
            name: of its parameters among this layer's; by default the layer's name with a number, `Dense_0`. A layer that is
                given the same name twice shares its parameters.
            train: in place of this scope's.

        Returns:
            What the layer returns.
        """
        child = self._child(layer, name, train, inputs)
        try:
            if not open_traces:  # nobody records
                return child._layer.function(child, *inputs)
            with named_scope(child.path[-1]):
                out = child._layer.function(child, *inputs)
        except Exception as error:
            if (clearer := misused(child._layer, inputs, error, child.path)) is not None:
                raise clearer from None
            child._note(error)
            raise
        if self._run.stand_in is not None:
            self._run.rows.append(Row(child.path, child._layer, inputs, out))
        return out

    def param(self, name: str, init: Init, shape: tuple[int, ...], dtype: DType | None = None) -> Array:
        """A parameter of this layer.

        Args:
            name: by which it stands among the layer's parameters.
            init: (key, shape, dtype) -> array, such as those of `nn.initializers`.
            shape: what the inputs ask for. Of parameters that are given, it must be theirs.
            dtype: where it is to be another than that given to `Layer.init`.

        Returns:
            The array; while the net is being made, a traced one that stands in for it.
        """
        run = self._run
        value = self.params.get(name)
        if type(value) is np.ndarray and value.shape == shape and run.like is None:
            return value
        shape = tuple(shape)
        if run.stand_in is not None:
            if not all([isinstance(n, int | np.integer) and n >= 0 for n in shape]):
                raise TypeError(f"{self.place()}: the sizes of {name!r} must be whole numbers from 0 on, got {shape}")
            return self._noted(self.params, name, init, shape, dtype)
        if value is None:
            raise ValueError(self._missing(name))
        value = as_array(value)
        if value.shape != shape:
            raise ShapeError(
                f"{self.place()}: {name} is {value.shape}, but the input {self._input_types()} asks for {shape}; were these "
                "params made by another net, or for inputs of another shape?"
            )
        return value if run.like is None or type(value) is Tracer else np.asarray(value, like=run.like)

    def state(self, name: str, init: Init, shape: tuple[int, ...], dtype: DType | None = None) -> Array:
        """An array that this layer keeps from call to call: as it is now. Arguments as for `param`."""
        shape = tuple(shape)
        if self._run.stand_in is not None:
            return self._noted(self.states, name, init, shape, dtype)
        if self.states is None:
            kept = " and ".join(map(repr, self._names_of_state()))
            raise ValueError(
                f"{self.place()}: keeps {kept} from call to call; write y, state = net.apply(params, x, state=state) with "
                "state = net.init_state(x) at first"
            )
        value = self.states.get(name)
        if value is None:
            raise ValueError(
                f"{self.place()}: no state {name!r} here; the state given has {_listed(self.states)}. It is made by "
                "net.init_state(x)"
            )
        if np.shape(value) != shape:
            raise ShapeError(
                f"{self.place()}: state {name!r} is {np.shape(value)}, but the input {self._input_types()} asks for {shape}"
            )
        return value

    def update(self, name: str, value: Array) -> None:
        """Set what `state` of this name gives from now on: in later calls, and here. No derivative goes through it."""
        if name not in (self.states or ()):
            raise ValueError(f"{self.place()}: no state {name!r} to update; call p.state({name!r}, init, shape) first")
        if self._run.stand_in is not None:
            return
        old = self.states[name]
        if np.shape(value) != np.shape(old):
            raise ShapeError(f"{self.place()}: state {name!r} is {np.shape(old)}, and cannot become {np.shape(value)}")
        self.states[name] = as_array(stop_gradient(value)).astype(old.dtype)

    @property
    def draws(self) -> bool:
        """Whether `key` gives one: a key was given to `apply`."""
        return self._run.stand_in is None and self._run.key is not None

    def key(self) -> Array:
        """A new random key, another at each call: of the key given to `apply`, the path and how many were asked for before."""
        run = self._run
        if run.stand_in is not None:
            return np.broadcast_to(run.stand_in.astype(np.uint32), (2,))
        if run.key is None:
            raise ValueError(
                f"{self.place()}: draws random numbers{' in training' if self.train else ''}; pass key=, for example "
                "tg.random.fold_in(key, step)"
            )
        count = run.draws[self.path] = run.draws.get(self.path, 0) + 1
        return random.fold_in(run.key, hashed(f"{'.'.join(self.path[1:])}#{count}"))

    def cast(self, x: Any, dtype: DType) -> Array:
        """An input in the dtype that a layer computes in, that of its parameters: floats, integers and booleans become it.

        Raises:
            DtypeError: `x` is complex, and that dtype is not.
        """
        if type(x) is not np.ndarray:
            x = as_array(x)
        if x.dtype is dtype or x.dtype == dtype:
            return x
        if number_kind(x.dtype) == "c" and number_kind(dtype) != "c":
            raise DtypeError(
                f"{self.place()}: takes real inputs, got {x.dtype}; net.init(key, x, dtype=np.complex128) makes complex "
                "parameters, and np.real(x) a real input"
            )
        return x.astype(dtype)

    def alike(self, outputs: Any) -> Any:
        """What sub-layers and functions without parameters made, all in the dtype of the parameters here: floats, integers and
        booleans become it."""
        return _computed_in(outputs, self.params if self._run.stand_in is None else self.params.types())

    def bind(self, layer: Any, *inputs: Any, name: str | None = None) -> Bound:
        """A layer's parameters, made or found here, as a pure function of its inputs: for use inside `lax.scan` and the like,
        where no parameters can be made.

        Args:
            layer: a `Layer` that keeps no state.
            *inputs: an example of its inputs, such as the carry and the first step's.
            name: of its parameters among this layer's.

        Returns:
            A function of inputs, and of `key=` where the layer draws; its `params` are what it closes over.
        """
        child = self._child(layer, name, None, inputs)
        run, layer, params = self._run, child._layer, child.params
        if run.stand_in is not None:
            layer.function(child, *inputs)
            if child.states.without_empty():
                raise ValueError(
                    f"{child.place()}: keeps {_listed(child.states.without_empty())} from call to call, so it cannot be bound to a pure "
                    "function; nn.stack and nn.RNN carry state along"
                )
            params = self._stand_ins(params)

        return Bound(layer, params, child.train, child.path)

    def each(self, layer: Layer, count: int, x: Any, remat: bool = False) -> Any:
        """Apply `count` layers one after the other, by a loop. The parameters and the state of this layer are theirs, stacked
        along a first axis."""
        run = self._run
        if run.stand_in is not None:
            self.params.copies = self.states.copies = count
            out = layer.function(self, x)
            after = tree.tree_map(type_of, out)
            before = tree.tree_map(type_of, _computed_in(x, self.params.types()))
            if before != after:
                raise ShapeError(
                    f"{self.place()}: a stack needs a layer that returns the type that it takes, but {layer!r} makes "
                    f"{after} of {before}"
                )
            return out
        keys = None
        if run.key is not None:
            mine = self.key()
            keys = vmap(lambda i: random.fold_in(mine, i))(np.arange(count))

        def step(x: Any, own: Any) -> Any:
            params, states, key = own
            return applied(layer, params, states, (x,), key, self.train, self.path)

        body = checkpoint(step) if remat else step
        x = _computed_in(x, self.params)
        out, states = scan(body, x, (self.params, self.states, keys), length=count)
        if self.states is not None:
            self.states.update(states)
        return out

    def again(self, layer: Layer, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
        """Apply a layer with the parameters and the state of this one, by `checkpoint` with these options."""
        if self._run.stand_in is not None:
            return layer.function(self, *inputs)
        key = None if self._run.key is None else self.key()

        def call(params: Any, states: Any, key: Any, *inputs: Any) -> Any:
            return applied(layer, params, states, inputs, key, self.train, self.path)

        out, states = checkpoint(call, **options)(self.params, self.states, key, *inputs)
        if self.states is not None:
            self.states.update(states)
        return out

    def _child(self, layer: Any, name: str | None, train: bool | None, inputs: Any) -> Scope:
        if not hasattr(layer, "function"):
            layer = self._layer.of(layer)
        if name is None:
            count = self._counts.get(layer.name, 0)
            self._counts[layer.name] = count + 1
            name = f"{layer.name}_{count}"
        run, states = self._run, self.states
        if run.stand_in is not None:
            mine, kept = self._made(layer, name)
        else:
            mine = self.params.get(name, _NOTHING)
            if type(mine) is not dict and not isinstance(mine, Mapping):
                raise TypeError(
                    f"{self.place()}: params of {name!r} must be a dict, got {type(mine).__name__}; were they made by "
                    "this net's init?"
                )
            kept = None if states is None else states.get(name, {})
        return Scope(run, layer, mine, kept, (*self.path, name), self.train if train is None else train, inputs)

    def _made(self, layer: Layer, name: Any) -> tuple[Specs, Specs]:
        """Where the parameters and the state of a sub-layer are to be noted."""
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"{self.place()}: the name of a layer is a text without dots, got {name!r}")
        known = self._used.setdefault(name, (layer, user_source()))
        if known[0] is not layer:
            raise ValueError(
                f"{self.place()}: two layers are called {name!r}, the other{at(known[1])}; the same Layer object twice "
                "shares its parameters"
            )
        if isinstance(self.params.get(name), Spec):
            raise ValueError(f"{self.place()}: {name!r} is the name of a parameter here, and cannot be a layer's too")
        return self.params.setdefault(name, Specs()), self.states.setdefault(name, Specs())

    def _noted(self, specs: Specs, name: str, init: Init, shape: tuple[int, ...], dtype: DType | None) -> Array:
        """Note a parameter, and hand out what stands in for it."""
        run = self._run
        if context.trace is not run.trace:
            raise ValueError(
                f"{self.place()}: parameters cannot be made inside {context.trace.transform}: make {name!r} outside, with "
                "f = p.bind(layer, *inputs), and call f there"
            )
        known = specs.get(name)
        if known is None:
            if not isinstance(name, str) or not name or "." in name:
                raise ValueError(f"{self.place()}: the name of a parameter is a text without dots, got {name!r}")
            if not callable(init):
                raise TypeError(
                    f"{self.place()}: {name!r} needs a function (key, shape, dtype) -> array, got {init!r}; write "
                    "nn.initializers.constant(x) for a number"
                )
            known = specs[name] = Spec(init, shape, run.dtype if dtype is None else np.dtype(dtype))
        elif isinstance(known, Specs):
            raise ValueError(f"{self.place()}: {name!r} is the name of a layer here, and cannot be a parameter's too")
        elif known.shape != shape:
            raise ShapeError(f"{self.place()}: {name} is {known.shape}, where this input asks for {shape}")
        return np.broadcast_to(run.stand_in.astype(known.dtype), shape)

    def _stand_ins(self, specs: Specs) -> dict[str, Any]:
        return tree.tree_map(lambda t: np.broadcast_to(self._run.stand_in.astype(t.dtype), t.shape), specs.types())

    def place(self) -> str:
        """Where this layer is, in its net and in the user's code: what its errors begin with."""
        return f"{'.'.join(self.path)}{at(user_source())}"

    def _note(self, error: Exception) -> None:
        """Say in an error in which layer it arose, in that furthest in."""
        path = ".".join(self.path)
        if path not in str(error) and not any(note.startswith("in layer ") for note in getattr(error, "__notes__", ())):
            error.add_note(f"in layer {path}")

    def _input_types(self) -> str:
        return ", ".join([str(type_of(x)) for x in tree.tree_leaves(self._inputs)])

    def _names_of_state(self) -> list[str]:
        shapes = tree.tree_map(lambda x: ShapeDtypeStruct(np.shape(x), type_of(x).dtype), self._inputs)
        return sorted(self._layer.init_state(*shapes))

    def _missing(self, name: str) -> str:
        known = tree.tree_flatten_with_path(self._run.params)[0]
        names = [tree.keystr(path, simple=True, separator=".") for path, _ in known]
        wanted = ".".join((*self.path[1:], name))
        nearest = difflib.get_close_matches(wanted, names, 1, 0)
        near = f". Nearest: {nearest[0]!r}" if nearest else ""
        return (
            f"{self.place()}: no parameter {wanted!r}; the parameters given have {_listed(self._run.params)}{near}. Did the "
            "net change after init?"
        )


class Bound:
    """A layer with its parameters: a pure function of inputs."""

    __slots__ = ("_layer", "_path", "_train", "params")

    def __init__(self, layer: Layer, params: Any, train: bool, path: tuple[str, ...]) -> None:
        self._layer = layer
        self._train = train
        self._path = path
        self.params = params

    def __call__(self, *inputs: Any, key: Any = None) -> Any:
        return applied(self._layer, self.params, None, inputs, key, self._train, self._path)[0]


_NOTHING: Mapping[str, Any] = {}


def applied(
    layer: Layer, params: Any, states: Any, inputs: Any, key: Any, train: bool, path: tuple[str, ...]
) -> tuple[Any, Any]:
    """What a layer makes of inputs, and its state afterwards."""
    like = next((x for x in tree.tree_leaves(inputs) if type(x) is Tracer), None)
    states = _copied(states)
    scope = Scope(Run(params, key, like), layer, params, states, path, train, inputs)
    return layer.function(scope, *inputs), states


def misused(layer: Layer, inputs: Any, error: Exception, path: tuple[str, ...]) -> Exception | None:
    """What is said in place of an error of Python's, where a layer was given what no layer takes."""
    place = f"{'.'.join(path)}{at(user_source())}"
    if isinstance(error, TypeError):
        takes = inspect.signature(layer.function)
        try:
            takes.bind(None, *inputs)
        except TypeError:
            names = ", ".join([str(p.replace(annotation=p.empty)) for p in [*takes.parameters.values()][1:]])
            return TypeError(
                f"{place}: takes the inputs ({names}), got {len(inputs)}; write net.init(key, x), net.init_state(x), "
                "net.summary(x) and net(params, x), with all inputs in place of x"
            )
    if inputs and isinstance(error, AttributeError | TypeError | IndexError):
        first = inputs[0]
        numbers = isinstance(first, list | tuple) and all([isinstance(x, int | float) for x in tree.tree_leaves(first)])
        lacks = isinstance(error, AttributeError) and error.obj is first and not hasattr(first, "dtype")
        if first is None or isinstance(first, str) or numbers or lacks:
            return TypeError(f"{place}: takes arrays, got {type(first).__name__}; write np.asarray(x) around numbers")
        if isinstance(error, IndexError) and not np.shape(first):
            return ShapeError(f"{place}: takes an array with axes, got {type_of(first)}")
    return None


def _computed_in(x: Any, params: Any) -> Any:
    """What goes through a loop of layers, from the first on in the dtype that they compute in: real numbers become the widest of
    the parameters' dtypes, unless they are of one of these."""
    dtypes = {t.dtype for t in map(type_of, tree.tree_leaves(params)) if number_kind(t.dtype) in "fc"}
    if not dtypes:
        return x
    widest = max(dtypes, key=lambda dtype: (number_kind(dtype) == "f", dtype.itemsize)[::-1])
    real = lambda y: number_kind(type_of(y).dtype) != "c" and type_of(y).dtype not in dtypes
    return tree.tree_map(lambda y: as_array(y).astype(widest) if real(y) else y, x)


def hashed(name: str) -> int:
    """A name as a number to fold a key with: its CRC-32, cut to 31 bits."""
    return zlib.crc32(name.encode()) & 0x7FFFFFFF


def _copied(states: Any) -> Any:
    """Nested dicts that can be written into."""
    return {name: _copied(x) for name, x in states.items()} if isinstance(states, Mapping) else states


def _listed(names: Any) -> str:
    return ", ".join(map(str, names)) or "nothing"
