"""The way in and out of a compiled function, as generated code: is this call of a known signature, and what are its
leaves; and the output's containers, written as Python displays. Containers of other kinds than dict, list, tuple, namedtuple
and None go the general way, by `tracegrad.tree`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy import ndarray

from tracegrad.core.generated import functions, literal
from tracegrad.core.types import PYTHON_SCALARS
from tracegrad.tree import PyTreeDef, is_namedtuple

_PLAIN = (dict, list, tuple, type(None))
# The leaves of the arguments, or None where the call has not the signature.
Matcher = Callable[[tuple[Any, ...]], list[Any] | None]

_UNROLLED = 32  # more leaves of one type are tested in a loop: Python takes 30 µs to compile a test


class Unchanged(Protocol):
    """An array, and what it has to be still."""

    array: ndarray[Any, Any]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    content: bytes | None


class Bound(Protocol):
    """A name, the dict or the closure cell where it is bound, and what it has to be bound to still."""

    name: str
    place: Any
    value: Any


def is_plain(structure: PyTreeDef) -> bool:
    """Whether all containers are Python's own or namedtuples, with keys that have a plain spelling."""
    node = structure.node_data()
    if node is None:
        return True
    cls, data = node
    if (cls not in _PLAIN and not is_namedtuple(cls)) or (
        cls is dict and not all([type(k) in (str, int, bool) and literal(k) for k in data])
    ):
        return False
    return all([is_plain(child) for child in structure.children()])


def display(structure: PyTreeDef, leaves: Sequence[str], named: Callable[[type], str]) -> str:
    """A plain structure as a Python expression with these expressions for leaves, and namedtuples' types as `named`."""
    return _shown(structure, iter(leaves), named)


def _shown(part: PyTreeDef, leaves: Iterator[str], named: Callable[[type], str]) -> str:
    node = part.node_data()
    if node is None:
        return next(leaves)
    cls, data = node
    children = [_shown(child, leaves, named) for child in part.children()]
    if cls is dict:
        items = dict(zip(data, children, strict=True))
        return f"{{{', '.join([f'{k!r}: {items[k]}' for k in part.keys_in_order()])}}}"
    if cls is list:
        return f"[{', '.join(children)}]"
    if cls is type(None):
        return "None"
    return f"{'' if cls is tuple else named(cls)}({''.join([c + ', ' for c in children])})"


def matcher(
    structure: PyTreeDef, leaves: Sequence[Any], unchanged: Sequence[Unchanged] = (), bound: Sequence[Bound] = ()
) -> Matcher | None:
    """A test for calls like one with these arrays and Python numbers for leaves; None if it is not to be had. Dicts have
    their keys in the same order, and these are strings, so that equal ones are the same. Arrays that are `unchanged` must
    be of these types still, and have this content if any is given; names that are `bound` must be to the same."""
    if not is_plain(structure) or not all([type(k) is str for keys in structure.details() for k in keys]):
        return None
    if not all(
        [x.dtype.isnative if isinstance(x, ndarray | np.generic) else type(x) in PYTHON_SCALARS for x in leaves]
    ):
        return None

    def differs(i: int, value: str, namespace: dict[str, Any]) -> str:
        leaf = leaves[i]
        if type(leaf) in PYTHON_SCALARS:
            return f"type({value}) is not {type(leaf).__name__}"
        dtype = f"d{leaf.dtype.num}"
        namespace |= {dtype: np.dtype(leaf.dtype.type), "ndarray": ndarray}
        if not leaf.shape:  # NumPy makes scalars of arrays without axes
            namespace[f"{dtype}_type"] = leaf.dtype.type
            array = f"type({value}) is not ndarray or {value}.dtype is not {dtype} or {value}.shape"
            return f"type({value}) is not {dtype}_type and ({array})"
        return f"type({value}) is not ndarray or {value}.dtype is not {dtype} or {value}.shape != {leaf.shape}"

    return _generated(structure, differs, unchanged, bound)


def order_matcher(structure: PyTreeDef, kinds: Collection[type]) -> Matcher | None:
    """A test for calls with arguments of one structure, its keys in the same order, and leaves of these types."""
    if not is_plain(structure) or not all([type(k) is str for keys in structure.details() for k in keys]):
        return None

    def differs(i: int, value: str, namespace: dict[str, Any]) -> str:
        namespace["kinds"] = kinds
        return f"type({value}) not in kinds"

    return _generated(structure, differs, (), ())


def _generated(
    structure: PyTreeDef,
    differs: Callable[[int, str, dict[str, Any]], str],
    unchanged: Sequence[Unchanged],
    bound: Sequence[Bound],
) -> Matcher:
    """`differs` says how to ask, in source, whether a leaf is another one than it should be."""
    namespace: dict[str, Any] = {}
    lines: list[str] = []
    names: list[str] = []
    alike: dict[str, list[int]] = {}  # leaves, by what is asked of them
    taken = 0

    def test(condition: str) -> None:
        lines.append(f"    if {condition}:\n        return None")

    waiting = [(structure, "args")]  # parts that have been taken out, the next one last
    while waiting:
        part, value = waiting.pop()
        node = part.node_data()
        if node is None:
            alike.setdefault(differs(len(names), "x", namespace), []).append(len(names))
            names.append(value)
            continue
        cls, data = node
        children = part.children()
        if cls is type(None):
            test(f"{value} is not None")
            continue
        parts = [f"v{taken + i}" for i in range(len(children))]
        taken += len(children)
        if cls is dict:
            keys = part.keys_in_order()
            name = f"keys{len(namespace)}"
            namespace[name] = [*keys]
            test(f"type({value}) is not dict or [*{value}] != {name}")
            if parts:
                lines.append(f"    {', '.join(parts)}, = {value}.values()")
            places = dict(zip(keys, parts, strict=True))
            parts = [places[key] for key in data]
        elif is_namedtuple(cls):
            name = f"type{len(namespace)}"
            namespace[name] = cls
            test(f"type({value}) is not {name}")
            if parts:
                lines.append(f"    {', '.join(parts)}, = {value}")
        else:
            test(f"type({value}) is not {cls.__name__} or len({value}) != {len(children)}")
            if parts:
                lines.append(f"    {', '.join(parts)}, = {value}")
        waiting.extend(zip(children[::-1], parts[::-1], strict=True))
    for condition, leaves in alike.items():
        if len(leaves) <= _UNROLLED:
            for i in leaves:
                test(differs(i, names[i], namespace))
        else:
            lines.append(f"    for x in {', '.join([names[i] for i in leaves])}:")
            lines.append(f"        if {condition}:\n            return None")
    for x in unchanged:
        array = f"array{len(namespace)}"
        namespace |= {array: x.array, f"{array}_dtype": x.dtype, f"{array}_content": x.content}
        test(f"{array}.shape != {x.shape} or {array}.dtype is not {array}_dtype")
        if x.content is not None:
            test(f"{array}.tobytes() != {array}_content")
    for i, one in enumerate(bound):
        namespace |= {f"place{i}": one.place, f"bound{i}": one.value}
        now = f"place{i}[{one.name!r}]" if type(one.place) is dict else f"place{i}.cell_contents"
        test(f"{now} is not bound{i}")
    lines.append(f"    return [{', '.join(names)}]")
    if bound:  # to anything at all
        lines = [
            "    try:",
            *["    " + line.replace("\n", "\n    ") for line in lines],
            "    except (KeyError, ValueError):",
        ]
        lines.append("        return None")
    source = "\n".join(["def match(args):", *lines])
    match: Matcher = functions([_compiled(source)], namespace)["match"]
    return match


@functools.lru_cache(256)
def _compiled(source: str) -> Any:
    """The code, which several functions of arguments of the same types share."""
    return compile(source, "<tracegrad jit match>", "exec")
