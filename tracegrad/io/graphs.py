"""A Graph in a file: its equations as JSON, by the names of their ops, and its constants as tensors. The grammar, in JSON:

file   = {"ops": {name: version ...}, "graphs": [graph ...]}          those that others hold before these; the last is meant
graph  = {"name": text, "vars": [[dtype, shape, weak, path] ...], "inputs": [var ...], "consts": [[var, tensor] ...],
          "eqns": [eqn ...], "outputs": [atom ...]}
eqn    = [op, [atom ...], {param: value ...}, [var ...], source]
atom   = var | {"number": tree} | {"scalar" | "array": [dtype, hex]}            var: its place in "vars"
source = null | [file, line, function]
value  = tree of io/structure.py's grammar, of scalars and {"tuple": ...} | {"dtype": text} | {"graph": place} | {"axis": [...]}
         | {"line": source} | {"policy": name} | {"named": [[name ...], these, unnamed]} | {"either": [value, value]}
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tracegrad.core.axes import Axis
from tracegrad.core.check import check
from tracegrad.core.errors import Imported, RawSource, Source, at, clip, origin, resolve
from tracegrad.core.graph import Atom, Eqn, Graph, Literal, Var
from tracegrad.core.op import OPS, op_named
from tracegrad.core.tracebacks import trimming
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import PYTHON_SCALARS, ArrayType
from tracegrad.io import formats
from tracegrad.io.files import CorruptFileError
from tracegrad.io.structure import Spec, is_scalar, put_together, scalar_spec
from tracegrad.io.trees import dtype_of, reading, tensor_of, write_tree
from tracegrad.ops.linalg.equal_values import Line
from tracegrad.transforms.control import checkpoint_policies
from tracegrad.transforms.control.checkpoint_policies import ByName, Either
from tracegrad.transforms.inspect import make_graph

# The versions of ops, raised where what an op does with its inputs or params changes; 1 if nothing else is said.
VERSIONS: dict[str, int] = {}

_SCALARS = frozenset([*PYTHON_SCALARS, str, type(None)])
_POLICIES: dict[str, Any] = {
    policy.__name__: policy
    for policy in (
        checkpoint_policies.everything_saveable,
        checkpoint_policies.nothing_saveable,
        checkpoint_policies.dots_saveable,
        checkpoint_policies.dots_with_no_batch_dims_saveable,
    )
}


@trimming
def save_graph(path: str | os.PathLike[str], fun: Callable[..., Any], *args: Any) -> None:
    """Write the Graph of a function for given arguments into a file, its equations by the names of their ops and its
    constants as tensors, without any code.

    Args:
        path: where to, `.safetensors` or `.npz`; written as `save` does.
        fun: a function, of which the Graph is made as `make_graph` does, or a Graph.
        *args: arrays, `ShapeDtypeStruct`s and trees of them.

    Raises:
        TypeError: for a param that a file has no form for: a function with derivative rules of its own, a policy of the
            user's. The text has the op and the line.

    >>> import numpy as np, os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "f.npz")
    ...     save_graph(path, lambda x: np.sin(x) * 2.0, np.ones(3))
    ...     graph = load_graph(path)
    >>> [eqn.op.name for eqn in graph.eqns], graph(np.zeros(3))
    (['sin', 'multiply'], (array([0., 0., 0.]),))
    """
    if isinstance(fun, Graph):
        if args:
            raise TypeError("save_graph takes a Graph alone, or a function and its arguments")
        graph = fun
    else:
        graph = make_graph(fun)(*args)
    writer = _Writer(formats.suffix_of(Path(path)))
    writer.graph(graph)
    note = {"ops": writer.ops, "graphs": writer.graphs}
    names = list(writer.arrays)
    write_tree(Path(path), {"dict": [names, names]}, writer.arrays, None, {"graph": note})


@trimming
def load_graph(path: str | os.PathLike[str]) -> Graph:
    """The Graph in a file that `save_graph` wrote: a function of flat arrays, with a tuple of results, that every transform
    takes. Its types are inferred anew, so that a file which says what cannot be is refused.

    Raises:
        CorruptFileError: a file that is torn, or whose Graph is not well-formed.
        ValueError: a file of something else, or of ops that are not those of this version.
    """
    with reading(Path(path)) as found:
        note = (found.note or {}).get("graph")
        if note is None:
            raise ValueError(f"{path} holds a tree and no Graph; write tg.io.load")
        tensors = {name: tensor_of(found, name) for name in found.file.entries}
    for name, version in note["ops"].items():
        if OPS.get(name) is None:
            raise ValueError(
                f"{path} has the op {name!r}, which this tracegrad has not: run `pip install -U tracegrad`, or import the "
                "module that declares it"
            )
        if version != (ours := VERSIONS.get(name, 1)):
            what = "run `pip install -U tracegrad`" if version > ours else "save the Graph again with it"
            raise ValueError(
                f"{path} has the op {name!r} in version {version}, where this tracegrad has version {ours}; {what}"
            )
    reader = _Reader(tensors)
    try:
        for told in note["graphs"]:
            reader.graph(told)
        graph = reader.graphs[-1]
        check(graph)
    except CorruptFileError:
        raise
    except Exception as error:  # whatever type rules raise for what they were never given
        raise CorruptFileError(f"{path}: its Graph is not well-formed: {type(error).__name__}: {error}") from error
    return graph


def _source_spec(raw: RawSource | None) -> Spec:
    source = resolve(raw)
    if source is None:
        return None
    scope, phase, of, callers = origin(raw)
    if not scope and not phase and not callers:
        return _place_spec(source)
    places = [_place_spec(place) for place in map(resolve, callers) if place is not None]
    return {"place": _place_spec(source), "origin": [list(scope), phase, of and of.name, places]}


def _place_spec(source: Source) -> Spec:
    return [*source, *(["jax"] if isinstance(source, Imported) else [])]


def _source_of(spec: Spec) -> RawSource | None:
    if not isinstance(spec, dict):
        return None if spec is None else _place_of(spec)
    scope, phase, of, places = spec["origin"]
    return _place_of(spec["place"]), tuple(scope), phase, of and op_named(of), tuple(map(_place_of, places))


def _place_of(spec: Spec) -> Source:
    file, line, function, *kind = spec
    return Imported(file, line, function) if kind else Source(file, line, function)


class _Writer:
    """The Graphs of a file as JSON, and their constants."""

    def __init__(self, suffix: str) -> None:
        self.suffix = suffix
        self.ops: dict[str, int] = {}
        self.graphs: list[Spec] = []
        self.arrays: dict[str, formats.Array] = {}
        self.places: dict[int, int] = {}

    def graph(self, graph: Graph) -> int:
        """The place of a Graph, which is written if it was not yet."""
        if id(graph) in self.places:
            return self.places[id(graph)]
        variables: list[Spec] = []
        numbers: dict[Var, int] = {}

        def number(var: Var) -> int:
            if var not in numbers:
                numbers[var] = len(variables)
                t = var.type
                variables.append([formats.dtype_text(t.dtype), list(t.shape), t.weak, var.name])
            return numbers[var]

        def atom(a: Atom) -> Spec:
            if isinstance(a, Var):
                return number(a)
            if type(a.value) in PYTHON_SCALARS:
                return {"number": scalar_spec(a.value)}
            bits = np.asarray(a.value)
            kind = "array" if isinstance(a.value, np.ndarray) else "scalar"
            return {kind: [formats.dtype_text(bits.dtype), bits.tobytes().hex()]}

        inputs = [number(v) for v in graph.inputs]
        consts = []
        for var, value in graph.consts.items():
            if isinstance(value, Tracer):
                raise TypeError(
                    f"graph {graph.name!r} cannot be saved: it closes over {value.described()}; make it of a function that takes "
                    "that for an argument"
                )
            name = f"const_{len(self.arrays)}"
            formats.require_dtype(self.suffix, value.dtype, f"a constant of graph {graph.name!r}")
            self.arrays[name] = formats.as_stored(value)
            consts.append([number(var), name])
        eqns = []
        for eqn in graph.eqns:
            self.ops[eqn.op.name] = VERSIONS.get(eqn.op.name, 1)
            params = {k: self.value(v, eqn, k) for k, v in eqn.params.items()}
            outputs = [number(v) for v in eqn.outputs]
            eqns.append([eqn.op.name, [atom(a) for a in eqn.inputs], params, outputs, _source_spec(eqn.raw_source)])
        outputs = [atom(a) for a in graph.outputs]
        told = {
            "name": graph.name,
            "vars": variables,
            "inputs": inputs,
            "consts": consts,
            "eqns": eqns,
            "outputs": outputs,
        }
        self.graphs.append(told)
        self.places[id(graph)] = len(self.graphs) - 1
        return len(self.graphs) - 1

    def value(self, x: Any, eqn: Eqn, param: str) -> Spec:
        kind = type(x)
        if kind is Axis:
            return {"axis": [self.value(part, eqn, param) for part in x]}
        if kind is tuple:
            return {"tuple": [self.value(part, eqn, param) for part in x]}
        if is_scalar(x) and kind in _SCALARS:
            return scalar_spec(x)
        if isinstance(x, np.dtype):
            return {"dtype": formats.dtype_text(x)}
        if kind is Graph:
            return {"graph": self.graph(x)}
        if kind is Line:
            return {"line": _source_spec(x.source)}
        if kind is ByName:
            return {"named": [sorted(x.names), x.these, x.unnamed]}
        if kind is Either:
            return {"either": [self.value(x.first, eqn, param), self.value(x.second, eqn, param)]}
        if any(x is policy for policy in _POLICIES.values()):
            return {"policy": x.__name__}
        raise TypeError(
            f"the Graph cannot be saved: the param {param} of {eqn.op.name}{at(eqn.raw_source)} is {clip(repr(x))}, of "
            f"{kind.__name__}, for which a file has no form; write a policy of tg.checkpoint_policies for one of your own, and what "
            "has derivative rules of its own as an op (tracegrad.extend)"
        )


class _Reader:
    """The Graphs of a file."""

    def __init__(self, arrays: Mapping[str, formats.Array]) -> None:
        self.arrays = arrays
        self.graphs: list[Graph] = []

    def graph(self, told: Spec) -> None:
        variables = [
            Var(ArrayType(tuple(shape), dtype_of(dtype), weak), name) for dtype, shape, weak, name in told["vars"]
        ]

        def atom(spec: Spec) -> Atom:
            if isinstance(spec, int):
                return variables[spec]
            if "number" in spec:
                return Literal(self.value(spec["number"]))
            ((kind, (dtype, bits)),) = spec.items()
            found = np.frombuffer(bytes.fromhex(bits), dtype_of(dtype)).reshape(())
            return Literal(found[()] if kind == "scalar" else found.copy())

        eqns = [
            Eqn(
                op_named(op),
                tuple(map(atom, inputs)),
                {name: self.value(spec) for name, spec in params.items()},
                tuple([variables[i] for i in outputs]),
                _source_of(source),
            )
            for op, inputs, params, outputs, source in told["eqns"]
        ]
        consts = {variables[i]: self.arrays[name] for i, name in told["consts"]}
        inputs = tuple([variables[i] for i in told["inputs"]])
        self.graphs.append(Graph(inputs, tuple(eqns), tuple(map(atom, told["outputs"])), consts, told["name"]))

    def value(self, spec: Spec) -> Any:
        if isinstance(spec, dict):
            ((kind, content),) = spec.items()
            if kind == "tuple":
                return tuple(map(self.value, content))
            if kind == "axis":
                return Axis(*map(self.value, content))
            if kind == "dtype":
                return dtype_of(content)
            if kind == "graph":
                return self.graphs[content]
            if kind == "line":
                return Line(_source_of(content))
            if kind == "named":
                names, these, unnamed = content
                return ByName(frozenset(names), these, unnamed)
            if kind == "either":
                return Either(*map(self.value, content))
            if kind == "policy":
                return _POLICIES[content]
        return put_together(spec, self.arrays.__getitem__)
