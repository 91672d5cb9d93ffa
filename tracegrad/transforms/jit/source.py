"""A function as a file of NumPy that gives the same bits: `to_numpy_source`."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from types import CellType, FunctionType
from typing import Any

from numpy import ndarray

from tracegrad import tree
from tracegrad.core.errors import at, described, name_of, require_callable, user_source
from tracegrad.core.generated import Names, line, literal, string
from tracegrad.core.graph import Var
from tracegrad.core.names import parameter_name
from tracegrad.core.tracebacks import trimming
from tracegrad.lower.numpy.source import ModuleSource, tidy
from tracegrad.lower.passes import simplify
from tracegrad.transforms.jit.numpy import Jitted
from tracegrad.transforms.signatures import Backend, Signatures
from tracegrad.transforms.static_arguments import static_arguments

_DICTS = (dict, OrderedDict, defaultdict)
_BACKEND = Backend("numpy", partial(simplify, inline=False))


@trimming
def to_numpy_source(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """The source of a Python module that needs NumPy alone, with a function that does what `fun` does for such arguments:
    a derivative as code to read, to edit and to ship.

    It is formatted, and gives the same bits as `tg.jit(fun)` on NumPy. (The steps of a loop compute in arrays in C order, and the
    file's lie as NumPy makes them, so that what a step sums of transposed arrays may be rounded otherwise.) Variables are called what an assignment in `fun` calls
    them, arguments by their key paths, and above the lines stand those of `fun` that they come from. Loops (`lax.scan`,
    `lax.while_loop`) are loops, branches (`lax.cond`) are branches; jitted functions, checkpoints and the bodies of loops are
    functions, and so are the parts of a very long one. What of an op is not NumPy's stands at the head, once.

    Args:
        fun: a function of arrays and pytrees of them, such as `tg.grad(f)`. It is traced by types only, as by `jit`; of a
            jitted one static arguments are built in.
        *args, **kwargs: arrays, `ShapeDtypeStruct`s and trees of them. The module's function takes the same trees of arrays
            of the same shapes and dtypes, which it does not check, and returns the same trees of results; of arguments,
            namedtuples may be plain tuples, and of results other mappings than dict are dicts. Arrays that `fun` closes over
            are in the module, as they are now: small ones as numbers, others as base64 of a .npy file.

    Returns:
        The text of the module.

    Raises:
        TypeError: where an op has no words of NumPy's, a collective or a choice that each row of a batch makes for itself,
            with its name and the user's line; for arguments and results that are nodes of classes of the user's own.

    >>> import numpy as np, tracegrad as tg
    >>> def loss(w, x):
    ...     return np.sum(np.tanh(x * w))
    >>> source = tg.to_numpy_source(tg.grad(loss), 2.0, np.ones(3))
    >>> namespace = {}
    >>> exec(source, namespace)
    >>> float(namespace["grad_loss"](2.0, np.ones(3))) == float(tg.grad(loss)(2.0, np.ones(3)))
    True
    """
    require_callable(fun, "to_numpy_source")
    signatures = (
        fun.signatures if isinstance(fun, Jitted) else Signatures(fun, static_arguments(fun, ()), "to_numpy_source")
    )
    entry = signatures.entry_for(args, kwargs, _BACKEND)
    graph, out_tree = entry.graph, entry.out_tree
    positions = signatures.positions_of(args, kwargs)
    traced_args, traced_kwargs = signatures.traced_part(args, kwargs)
    source = ModuleSource(_arrays_around(signatures.fun))
    source.prepare(graph)
    name = source.quotes.names.fresh(tidy(name_of(signatures.fun)), "function")

    parameters = [tidy(parameter_name(signatures.fun, i)) for i in positions] + list(traced_kwargs)
    paths: list[tuple[int, str]] = []  # of each leaf, which argument it is in, and what is written behind that
    for i, x in enumerate((*traced_args, *traced_kwargs.values())):
        paths += [(i, path) for path in _paths(tree.tree_structure(x), "", f"the argument {parameters[i]}", fun)]
    results = _shape_of(out_tree, source, fun)

    def taken(names: Names, local: dict[Var, str], uses: Collection[Var], given: Sequence[str]) -> Iterator[str]:
        for v, (i, path) in zip(graph.inputs, paths, strict=True):
            if not path:
                local[v] = given[i]
            elif v in uses:
                local[v] = names.fresh(tidy(v.name or "x"), "x")
                yield f"{local[v]} = {given[i]}{path}"

    def returned(texts: Sequence[str]) -> str:
        return results(iter(texts))

    told = [
        f"    {line(v.name or 'an argument')}: {v.type.dtype.name}{list(v.type.shape) if v.type.shape else ''}"
        for v in graph.inputs
    ]
    docstring = [
        f'    """{_plain(line(name_of(signatures.fun)))}, for arrays of these shapes and dtypes:',
        "",
        *map(_plain, told),
        '    """',
    ]
    if not told:
        docstring = [f'    """{_plain(line(name_of(signatures.fun)))}."""']
    functions = source.function(graph, name, parameters, taken, returned, docstring)
    return source.text(['"""Written by tracegrad.to_numpy_source, to be run without it."""', *functions])


def _arrays_around(fun: Any) -> dict[int, str]:
    """The names that arrays have around a function, by the ids of these."""
    while True:
        inner = fun.func if isinstance(fun, partial) else getattr(fun, "__wrapped__", None)
        if inner is None:
            break
        fun = inner
    if not isinstance(fun, FunctionType):
        return {}
    cells = zip(fun.__code__.co_freevars, fun.__closure__ or (), strict=True)
    names = {**fun.__globals__, **{name: cell.cell_contents for name, cell in cells if cell != CellType()}}
    return {id(x): name for name, x in names.items() if type(x) is ndarray}


def _plain(text: str) -> str:
    """What may stand in a docstring."""
    return text.replace("\\", "\\\\").replace('"""', "'''")


def _refused(what: str, cls: type, fun: Any) -> TypeError:
    return TypeError(
        f"to_numpy_source{at(user_source())}: {what} of {described(fun)} is a {cls.__qualname__}, a node of its own, which a file "
        "without that class cannot take apart or make; write a function of dicts, lists and tuples that makes it"
    )


def _paths(structure: tree.PyTreeDef, path: str, what: str, fun: Any) -> Iterator[str]:
    """What is written behind an argument for each of its leaves."""
    node = structure.node_data()
    if node is None:
        yield path
        return
    cls, data = node
    children = structure.children()
    if cls in _DICTS:
        keys = [_key(k, what, fun) for k in (data[1] if cls is defaultdict else data)]
    elif cls in (tuple, list) or tree.is_namedtuple(cls):
        keys = [str(i) for i in range(len(children))]
    elif cls is type(None):
        return
    else:
        raise _refused(f"{what}{path}", cls, fun)
    for key, child in zip(keys, children, strict=True):
        yield from _paths(child, f"{path}[{key}]", what, fun)


def _key(key: Any, what: str, fun: Any) -> str:
    found = string(key) if type(key) is str else literal(key)
    if found is None:
        raise TypeError(
            f"to_numpy_source{at(user_source())}: {what} of {described(fun)} has the key {key!r}, which has no plain spelling; "
            "write strings or ints"
        )
    return found


def _shape_of(structure: tree.PyTreeDef, source: ModuleSource, fun: Any) -> Callable[[Iterator[str]], str]:
    """What makes the expression of a result of such a structure from those of its leaves."""
    node = structure.node_data()
    if node is None:
        return next
    cls, data = node
    children = [_shape_of(child, source, fun) for child in structure.children()]
    if cls in _DICTS:
        order = data[1] if cls is defaultdict else data
        keys = [_key(k, "the result", fun) for k in order]
        shown = [_key(k, "the result", fun) for k in structure.keys_in_order()] if cls is dict else keys

        def of_items(leaves: Iterator[str]) -> str:
            items = dict(zip(keys, [child(leaves) for child in children], strict=True))
            return f"{{{', '.join([f'{k}: {items[k]}' for k in shown])}}}"

        return of_items
    if cls is type(None):
        return lambda leaves: "None"
    if cls in (tuple, list):
        start, end = ("(", ")") if cls is tuple else ("[", "]")

        def of_elements(leaves: Iterator[str]) -> str:
            parts = [child(leaves) for child in children]
            return f"{start}{', '.join(parts)}{',' if cls is tuple and len(parts) == 1 else ''}{end}"

        return of_elements
    if tree.is_namedtuple(cls):
        name = source.named_tuple(cls)
        return lambda leaves: f"{name}({', '.join([child(leaves) for child in children])})"
    raise _refused("the result", cls, fun)
