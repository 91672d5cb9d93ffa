"""The Graph: typed equations in order, and the interpreter that evaluates them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np

from tracegrad.core.axes import Axis
from tracegrad.core.boxes import is_boxed, out_of_boxes
from tracegrad.core.context import context
from tracegrad.core.errors import (
    DtypeError,
    RawSource,
    ShapeError,
    Source,
    at,
    clip,
    origin,
    resolve,
    user_source,
    within_scope,
)
from tracegrad.core.late import LOADERS
from tracegrad.core.numpy_warnings import again, has_warned
from tracegrad.core.op import Op, Params
from tracegrad.core.plain import require_plain
from tracegrad.core.shared import cached
from tracegrad.core.trace import bind
from tracegrad.core.tracebacks import trimming
from tracegrad.core.tracer import Tracer, in_program
from tracegrad.core.types import PYTHON_SCALARS, ArrayType, type_of


class Var:
    """A variable: its type, and for an input the key path that the user knows it by. Equal only to itself."""

    __slots__ = ("name", "type")

    def __init__(self, type: ArrayType, name: str | None = None) -> None:
        self.type = type
        self.name = name

    def __repr__(self) -> str:
        return f"<var {self.name or ''}:{self.type}>"


class Literal:
    """A scalar written into the graph."""

    __slots__ = ("type", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.type = type_of(value)

    def __repr__(self) -> str:
        return f"<literal {self.value!r}>"


Atom = Var | Literal


def exactly(value: Any) -> Any:
    """What is equal for values of the same type and the same bits only, where Python finds that 0.0 == -0.0, 1 == True and
    nan != nan."""
    if isinstance(value, tuple):
        return type(value), *map(exactly, value)
    if isinstance(value, float | complex | np.generic | np.ndarray):
        bits = np.asarray(value)
        return type(value), bits.dtype, bits.shape, bits.tobytes()
    return (type(value), value) if isinstance(value, int) else value


def exact_params(params: Params) -> tuple[Any, ...]:
    """Params as a key to compare equations by."""
    return tuple([(k, exactly(params[k])) for k in sorted(params)]) if params else ()


class Eqn(NamedTuple):
    """`outputs = op[params] inputs`, and where in the user's code it comes from. Equal only to itself."""

    op: Op
    inputs: tuple[Atom, ...]
    params: Params
    outputs: tuple[Var, ...]
    raw_source: RawSource | None = None

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other

    def __hash__(self) -> int:
        return id(self)

    @property
    def source(self) -> Source | None:
        return resolve(self.raw_source)

    @property
    def scope(self) -> tuple[str, ...]:
        """The names of the scopes that it was recorded in (`tg.named_scope`), outermost first."""
        return origin(self.raw_source)[0]

    @property
    def phase(self) -> int:
        """0 for what the user's code does, n for what a derivative rule of what is of phase n - 1 does."""
        return origin(self.raw_source)[1]

    @property
    def of(self) -> Op | None:
        """The op whose derivative rule recorded it, if one did. The equation has the line of that op."""
        found: Op | None = origin(self.raw_source)[2]
        return found

    @property
    def frames(self) -> tuple[Source, ...]:
        """The user's lines that were running, innermost first; all of them in a Graph of `make_graph(f, frames=True)`."""
        found = [resolve(raw) for raw in (self.raw_source, *origin(self.raw_source)[3])]
        return tuple([place for place in found if place is not None])

    def __reduce__(self) -> Any:
        source: Any = self.source
        if source is not None and (origin(self.raw_source) != origin(None)):
            source = source, self.scope, self.phase, self.of, self.frames[1:]
        return Eqn, (self.op, self.inputs, dict(self.params), self.outputs, source)


class Graph:
    """A pure function of arrays: `inputs` and `consts` in, `eqns` one after the other, `outputs` out.

    `consts` maps variables to the arrays (or, inside an enclosing transform, tracers) that the traced function closed
    over. Two graphs are equal if they have the same structure and equal constants.

    A Graph can be called with one array for each input, of its shape and dtype, and returns a tuple with one for each output.
    It can be pickled, with its sources as file and line and its ops by name, if its params and constants can.

    >>> import numpy as np, tracegrad as tg
    >>> graph = tg.make_graph(lambda x: np.sin(x) * 2.0)(np.ones(3))
    >>> len(graph.eqns)
    2
    """

    inputs: tuple[Var, ...]
    eqns: tuple[Eqn, ...]
    outputs: tuple[Atom, ...]
    consts: Mapping[Var, Any]
    name: str

    def __init__(
        self,
        inputs: tuple[Var, ...],
        eqns: tuple[Eqn, ...],
        outputs: tuple[Atom, ...],
        consts: Mapping[Var, Any],
        name: str = "f",
    ) -> None:
        vars(self).update(inputs=inputs, eqns=eqns, outputs=outputs, consts=consts, name=name)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"a Graph does not change; make another one with another {name}, by `replace`")

    @property
    def in_types(self) -> tuple[ArrayType, ...]:
        return tuple([v.type for v in self.inputs])

    @property
    def out_types(self) -> tuple[ArrayType, ...]:
        return tuple([v.type for v in self.outputs])

    @cached
    def axes(self) -> frozenset[Axis]:
        """The named axes that its equations speak of."""
        return frozenset().union(*[axes_of(eqn.params) for eqn in self.eqns])

    @cached
    def effects(self) -> bool:
        """Whether running it does more than its outputs say."""
        return any([eqn.op.acts(eqn.params) for eqn in self.eqns])

    @cached
    def memo(self) -> dict[Any, Any]:
        """What has been made of the Graph and lives as long as it: its compiled function, its derivatives."""
        return {}

    @cached
    def structure(self) -> tuple[Any, ...]:
        """What equality compares: variables by number, ops, params and types."""
        numbers: dict[Var, int] = {}

        def number(atom: Atom) -> Any:
            if isinstance(atom, Literal):
                return exactly(atom.value), atom.type
            return numbers.setdefault(atom, len(numbers))

        heads = [(number(v), v.type) for v in (*self.inputs, *self.consts)]
        eqns = [
            (e.op.name, tuple(map(number, e.inputs)), exact_params(e.params), tuple(map(number, e.outputs)))
            for e in self.eqns
        ]
        return tuple(heads), tuple(eqns), tuple(map(number, self.outputs)), tuple(map(_content, self.consts.values()))

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Graph) and self.structure == other.structure)

    def __hash__(self) -> int:
        return hash(self.structure)

    def __reduce__(self) -> Any:
        for eqn in self.eqns:
            for name, value in eqn.params.items():
                for part in value if type(value) is tuple else (value,):
                    if type(part) not in _PLAIN and (why := _refused(part)):
                        raise pickle.PicklingError(
                            f"graph {self.name!r} cannot be pickled: the param {name} of {eqn.op.name}{at(eqn.raw_source)} is "
                            f"{clip(repr(part))}, which {why}; write a policy as a function at the top of a module, and what has "
                            "derivative rules of its own as an op (tracegrad.extend)"
                        )
        for value in self.consts.values():
            if type(value) is Tracer:
                raise pickle.PicklingError(
                    f"graph {self.name!r} cannot be pickled: it closes over {value.described()}; make it of a function that "
                    "takes that for an argument"
                )
        return Graph, (self.inputs, self.eqns, self.outputs, dict(self.consts), self.name)

    def __str__(self) -> str:
        """The listing; see core/show.py."""
        return LOADERS["show"]().listing(self)

    __repr__ = __str__

    @trimming
    def draw(
        self,
        *,
        values: Sequence[Any] | None = None,
        gradients: bool = False,
        depth: int | str = "auto",
        backward: str = "folded",
        theme: str = "auto",
    ) -> Any:
        """The Graph as a picture, a `Drawing`: notebooks show it, and `.save("graph.html")` writes a page that needs nothing
        else, `.save("graph.svg")` a picture.

        Args:
            values: an array for each input, to show what each variable is for these.
            gradients: whether to show also the derivative of the first output, a real scalar, with respect to each variable.
            depth: how many groups in one another (scopes, functions, loops, repeated blocks) are open at first; "auto" opens
                the largest ones, while few boxes show.
            backward: what derivative rules have recorded is "folded" into groups, "beside" what it is the derivative of, or
                "hidden".
            theme: "light", "dark", or "auto", as the reader's browser is set.

        Raises:
            ValueError: for arguments that are none of these, or gradients without values.
            ShapeError, DtypeError: for values that are not of the inputs' types.
            DifferentiationError: for gradients of what is no real scalar.

        >>> import numpy as np, tracegrad as tg
        >>> tg.make_graph(lambda x: np.sin(x) * 2.0)(1.0).draw(values=[0.5], gradients=True)
        <drawing of <lambda>, 2 equations>
        """
        return LOADERS["drawing"]().draw_graph(self, values, gradients, depth, backward, theme)

    def model_explorer(self, path: Any) -> None:
        """Write the Graph as JSON that Model Explorer reads, which shows tens of thousands of equations.

        Args:
            path: the file, which takes the place of one that is there in one step.
        """
        LOADERS["drawing"]().model_explorer(self, path)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None, **_: Any) -> dict[str, str]:
        """How notebooks show it: as a drawing, where it is not very large."""
        found: dict[str, str] = LOADERS["drawing"]().bundle(self)
        return found

    def __treescope_repr__(self, path: Any, subtree_renderer: Any) -> Any:
        return LOADERS["treescope"]().rendered(str(self), f"Graph {self.name}", path)

    @trimming
    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        if len(arrays) != len(self.inputs):
            raise TypeError(f"graph {self.name!r} takes {len(self.inputs)} arrays, got {len(arrays)}")
        given = [self._accepted(i, x) for i, x in enumerate(arrays)]
        return out_of_boxes(tuple(evaluate(self, given)))

    def _accepted(self, number: int, x: Any) -> Any:
        """An argument, if it is of the shape and dtype of that input. A Python number stands for an array of its dtype."""
        wanted = self.inputs[number].type
        try:
            require_plain(x)
            got = type_of(x)
        except TypeError as error:
            raise TypeError(f"{self._input(number)}, but {error}") from None
        if got.shape != wanted.shape:
            fix = f"reshape it, or make a Graph for {got.shape}: this one holds for one shape"
            raise ShapeError(f"{self._input(number)}, got {got}; {fix}")
        if got.dtype != wanted.dtype:
            fix = f"convert it to {wanted.dtype}, or make a Graph for {got.dtype}"
            raise DtypeError(f"{self._input(number)}, got {got}; {fix}")
        return wanted.dtype.type(x) if type(x) in PYTHON_SCALARS and not wanted.weak else x

    def _input(self, number: int) -> str:
        v = self.inputs[number]
        name = f", {v.name}," if v.name else ""
        return f"graph {self.name!r}{at(user_source())}: input {number}{name} must be {v.type}"


_Part = TypeVar("_Part", Eqn, Graph)

# Params that are pickled as they are, or themselves say what cannot be.
_PLAIN = frozenset([*PYTHON_SCALARS, str, bytes, type(None), Axis, Graph])


def _refused(value: Any) -> str:
    """Why a param cannot be pickled, nothing if it can."""
    try:
        pickle.dumps(value)
    except Exception as error:  # whatever its own way of being pickled raises
        return f"pickle refuses ({error})"
    return ""


def remembered(graph: Graph, key: Hashable, make: Callable[[], Any]) -> Any:
    """What `make` returns, made once for a Graph and kept as long as that lives."""
    found = graph.memo.get(key)
    if found is None:
        found = graph.memo[key] = make()
    return found


def closed(graph: Graph) -> tuple[Graph, tuple[Any, ...]]:
    """The Graph with its constants for further inputs, and the constants."""
    if not graph.consts:
        return graph, ()
    inputs = (*graph.inputs, *graph.consts)
    whole = remembered(graph, "closed", lambda: Graph(inputs, graph.eqns, graph.outputs, {}, graph.name))
    return whole, tuple(graph.consts.values())


def in_scope(graph: Graph, scope: tuple[str, ...]) -> Graph:
    """The Graph with all its equations in further scopes, and those of the Graphs that it holds."""

    def scoped(value: Any) -> Any:
        if type(value) is tuple:
            return tuple([scoped(part) for part in value]) if any([type(part) is Graph for part in value]) else value
        return in_scope(value, scope) if type(value) is Graph else value

    def make() -> Graph:
        eqns = [
            eqn._replace(
                raw_source=within_scope(eqn.raw_source, scope), params={k: scoped(v) for k, v in eqn.params.items()}
            )
            for eqn in graph.eqns
        ]
        return Graph(graph.inputs, tuple(eqns), graph.outputs, graph.consts, graph.name)

    found: Graph = remembered(graph, ("in scope", scope), make)
    return found


def silent(graph: Graph) -> Graph:
    """The Graph without what it does besides its outputs, for whoever computes them once more. What has to be done for them is
    left."""

    def make() -> Graph:
        live: set[Atom] = set(graph.outputs)
        eqns = []
        for eqn in reversed(graph.eqns):
            if live.isdisjoint(eqn.outputs) and eqn.op.acts(eqn.params):
                continue
            live.update(eqn.inputs)
            eqns.append(silenced(eqn))
        return Graph(graph.inputs, tuple(reversed(eqns)), graph.outputs, graph.consts, graph.name)

    return remembered(graph, "silent", make) if graph.effects else graph


def silenced(eqn: Eqn) -> Eqn:
    """An equation with what the Graphs that it holds do besides their outputs left out."""

    if eqn.op.held is None or not eqn.op.acts(eqn.params):
        return eqn
    return eqn._replace(params={k: _quiet(v) for k, v in eqn.params.items()})


def _quiet(value: Any) -> Any:
    """A param without what Graphs in it do besides their outputs."""
    if type(value) is tuple:
        return tuple(map(_quiet, value)) if any([type(part) is Graph for part in value]) else value
    return silent(value) if type(value) is Graph else value


def replace(x: _Part, **changes: Any) -> _Part:
    """An equation or a Graph with other values for some of its fields."""
    if isinstance(x, Graph):
        fields = {"inputs": x.inputs, "eqns": x.eqns, "outputs": x.outputs, "consts": x.consts, "name": x.name}
        return Graph(**(fields | changes))
    return x._replace(**changes)


def axes_of(params: Params) -> frozenset[Axis]:
    """The named axes that an equation with these params speaks of, itself or in a Graph that it holds."""
    found: frozenset[Axis] = frozenset()
    for value in params.values():
        for part in value if type(value) is tuple else (value,):
            if type(part) is Axis:
                found |= {part}
            elif type(part) is Graph:
                found |= part.axes
    return found


def graphs_of(params: Params) -> list[Graph]:
    """The Graphs that an equation with these params holds itself."""
    parts = [part for value in params.values() for part in (value if type(value) is tuple else (value,))]
    return [part for part in parts if type(part) is Graph]


def graphs_in(graph: Graph) -> Iterator[Graph]:
    """The Graphs that its equations hold, each after those that it holds itself."""
    for eqn in graph.eqns:
        for part in graphs_of(eqn.params):
            yield from graphs_in(part)
            yield part


class _Content:
    """What stands for an array when graphs are compared: its type and its bits."""

    __slots__ = ("array",)

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array

    def __eq__(self, other: object) -> bool:
        if type(other) is not _Content or type_of(self.array) != type_of(other.array):
            return False
        return self.array is other.array or self.array.tobytes() == other.array.tobytes()

    def __hash__(self) -> int:
        return hash(type_of(self.array))


def is_same_constant(x: Any, y: Any) -> bool:
    """Whether two constants of Graphs are equal bit by bit."""
    return bool(_content(x) == _content(y))


def _content(const: Any) -> Any:
    return _Content(const) if type(const) is np.ndarray else id(const)


def evaluate(graph: Graph, inputs: Sequence[Any]) -> list[Any]:
    """Run the equations on arrays, or on tracers, which records them in their trace."""
    return interpret(graph, inputs, lambda eqn, values: bind(eqn.op, values, eqn.params))


def interpret(graph: Graph, inputs: Sequence[Any], apply: Callable[[Eqn, tuple[Any, ...]], Any]) -> list[Any]:
    """Walk a graph, applying each equation in the caller's own way to whatever flows along its variables.

    A value is dropped after its last use. Whatever an op's rule records carries the source line of that equation.
    """
    last = last_uses(graph)
    env: dict[Var, Any] = dict(zip(graph.inputs, inputs, strict=True))
    env.update(graph.consts)
    # A program that is being made and will be run again must read arrays that are constants of this Graph anew each time.
    into = context.trace
    if into is not None and in_program() and any(map(_is_traced, env.values())):
        env = {v: into.constant(x) if type(x) is np.ndarray else x for v, x in env.items()}
    outer = context.cell
    cell: list[Any] = [None, False]
    try:
        context.cell = cell
        for i, eqn in enumerate(graph.eqns):
            cell[0] = eqn.raw_source
            values = tuple([env[a] if isinstance(a, Var) else a.value for a in eqn.inputs])
            try:
                out = apply(eqn, values)
            except TypeError as error:
                if not has_warned(error):
                    raise
                out = again(apply, eqn, values)
            if eqn.op.multiple_results:
                env.update(zip(eqn.outputs, out, strict=True))
            else:
                env[eqn.outputs[0]] = out
            for v in last.get(i, ()):
                del env[v]
    finally:
        context.cell = outer
    return [env[a] if isinstance(a, Var) else a.value for a in graph.outputs]


def _is_traced(x: Any) -> bool:
    """Whether a value that flows along a graph, or the batch in its place, belongs to a trace that records."""
    x = x if type(x) is Tracer else getattr(x, "value", None)
    return type(x) is Tracer and not is_boxed(x)


def last_uses(graph: Graph) -> dict[int, list[Var]]:
    """For each equation, the variables that nothing after it reads."""
    seen: set[Any] = {a for a in graph.outputs if type(a) is Var}
    uses: dict[int, list[Var]] = {}
    for i in range(len(graph.eqns) - 1, -1, -1):
        for a in (*graph.eqns[i].outputs, *graph.eqns[i].inputs):
            if type(a) is Var and a not in seen:
                seen.add(a)
                uses.setdefault(i, []).append(a)
    return uses
