"""What a net is made of, as a table: layers, types, numbers of parameters, work and memory. By types alone: nothing is drawn."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.errors import clip
from tracegrad.core.graph import Graph, graphs_of
from tracegrad.core.late import LOADERS
from tracegrad.core.types import ShapeDtypeStruct
from tracegrad.debug.flops import steps_of_loop
from tracegrad.debug.residuals import residuals
from tracegrad.transforms.inspect import make_graph

if TYPE_CHECKING:
    from tracegrad.nn.layer import Layer

WIDTH = 80


class SummaryRow(NamedTuple):
    """A layer of a net.

    path        names from the net down to it, none for the net itself
    layer       its repr
    output      shapes of what it returns
    parameters  how many numbers its parameters are, those of the layers in it included
    products    how many multiplications and additions its contractions take for these inputs, forward
    kept        how many bytes its backward pass keeps of what it computes
    times       how many layers like it, one after the other, the row stands for
    """

    path: tuple[str, ...]
    layer: str
    output: Any
    parameters: int
    products: int
    kept: int
    times: int = 1


class Summary(NamedTuple):
    """A net: `rows`, one a layer, and the sums of all of it. str() is a table of at most 80 columns, without colours. Parameters
    that layers share are counted once.

    parameters  numbers in the parameters
    state       numbers in the state
    bytes       of the parameters
    products    multiplications and additions of contractions, forward
    kept        bytes that the backward pass keeps
    """

    rows: tuple[SummaryRow, ...]
    parameters: int
    state: int
    bytes: int
    products: int
    kept: int

    def __str__(self) -> str:
        lines = [("layer", "output", "params", "products", "kept")]
        for row in _folded(self.rows):
            name = row.path[-1] if row.path else re.split(r"\(", row.layer, maxsplit=1)[0]
            mark = f" x{row.times}" if row.times > 1 else ""
            lines.append(
                (
                    "  " * len(row.path) + name + mark,
                    _shapes(row.output),
                    f"{row.parameters:,}" if row.parameters else "",
                    _short(row.products) if row.products else "",
                    _short(row.kept, "B") if row.kept else "",
                )
            )
        numbers = [max([len(line[i]) for line in lines]) for i in (2, 3, 4)]
        room = WIDTH - sum(numbers) - 2 * 4
        outputs = min(max([len(line[1]) for line in lines]), max(12, room // 2))
        names = min(max([len(line[0]) for line in lines]), room - outputs)
        table = [
            f"{clip(name, names):<{names}}  {clip(output, outputs):<{outputs}}  {params:>{numbers[0]}}  "
            f"{work:>{numbers[1]}}  {kept:>{numbers[2]}}".rstrip()
            for name, output, params, work, kept in lines
        ]
        foot = f"{self.parameters:,} parameters, {_short(self.bytes, 'B')}"
        if self.state:
            foot += f"; {self.state:,} numbers of state"
        foot += f"; {_short(self.products)} products forward, {_short(self.kept, 'B')} kept for the backward pass"
        return "\n".join([*table, *_wrapped(foot)])

    def __repr__(self) -> str:
        return str(self)

    def __treescope_repr__(self, path: Any, subtree_renderer: Any) -> Any:
        return LOADERS["treescope"]().rendered(str(self), "Summary", path)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def summarised(net: Layer, inputs: Sequence[Any], dtype: Any) -> Summary:
    """The table of a net for inputs of these types."""
    params, states, found = net._noted(inputs, dtype)
    shapes, state = params.types(), states.types()
    given = [x if not isinstance(x, tuple) else ShapeDtypeStruct(x, np.float32) for x in inputs]
    given = tree.tree_map(lambda x: ShapeDtypeStruct(np.shape(x), getattr(x, "dtype", np.asarray(x).dtype)), given)

    def forward(params: Any, *inputs: Any) -> Any:
        return net.apply(params, *inputs, state=filled(state))[0]

    products: dict[tuple[str, ...], int] = {}
    graph = make_graph(forward)(shapes, *given)
    _count(graph, products, 1)
    kept: dict[tuple[str, ...], int] = {}
    for residual in residuals(forward, shapes, *given):
        if residual.source is not None:
            _add(kept, residual.scope, residual.bytes)
    rows = []
    seen: dict[tuple[str, ...], None] = {}
    for row in found:
        path = row.path[1:]
        if path in seen:
            continue  # shared
        seen[path] = None
        own: Any = shapes
        for name in path:
            own = own.get(name, {}) if isinstance(own, Mapping) else {}
        rows.append(
            SummaryRow(
                path,
                repr(row.layer),
                tree.tree_map(lambda t: t.shape, row.output),
                _size(own),
                products.get(path, 0),
                kept.get(path, 0),
            )
        )
    rows = _in_order(rows)
    weight = sum([t.size * t.dtype.itemsize for t in map(_sized, tree.tree_leaves(shapes))])
    return Summary(tuple(rows), _size(shapes), _size(state), weight, products.get((), 0), kept.get((), 0))


def filled(types: Any) -> Any:
    """Arrays of zeros of these types."""
    return tree.tree_map(lambda t: np.zeros(t.shape, t.dtype), types)


class _Sized(NamedTuple):
    size: int
    dtype: np.dtype[Any]


def _sized(t: Any) -> _Sized:
    return _Sized(int(np.prod(t.shape)), np.dtype(t.dtype))


def _size(types: Any) -> int:
    return sum([_sized(t).size for t in tree.tree_leaves(types)])


def _count(graph: Graph, products: dict[tuple[str, ...], int], times: int) -> None:
    """Add what the contractions of a Graph take to the scopes that they are in, and to those around; a loop's body as often as
    it runs, of branches the one that takes the most."""
    for eqn in graph.eqns:
        inner = graphs_of(eqn.params)
        found = (
            None
            if inner or eqn.op.contraction is None
            else eqn.op.contraction([a.type for a in eqn.inputs], eqn.params)
        )
        if found is not None:
            _add(products, eqn.scope, times * int(found[0]))
        parts: list[dict[tuple[str, ...], int]] = [{} for _ in inner]
        for part, counts in zip(inner, parts, strict=True):
            _count(part, counts, times * steps_of_loop(eqn))
        if "carries" not in eqn.params:  # not all of which are run
            parts = [max(parts, key=lambda counts: counts.get((), 0))] if parts else []
        for counts in parts:
            for scope, count in counts.items():
                products[scope] = products.get(scope, 0) + count


def _add(sums: dict[tuple[str, ...], int], scope: tuple[str, ...], count: int) -> None:
    for depth in range(len(scope) + 1):
        sums[scope[:depth]] = sums.get(scope[:depth], 0) + count


def _in_order(rows: list[SummaryRow]) -> list[SummaryRow]:
    """Each layer before those in it. They were noted when they returned."""
    first: dict[tuple[str, ...], int] = {}
    for i, row in enumerate(rows):
        for depth in range(len(row.path) + 1):
            first.setdefault(row.path[:depth], i)
    return sorted(rows, key=lambda row: [first[row.path[:depth]] for depth in range(len(row.path) + 1)])


def _folded(rows: Sequence[SummaryRow]) -> list[SummaryRow]:
    """One row for layers of one kind one after the other, with what is in them, and how many there are."""
    blocks: list[list[SummaryRow]] = []  # of each layer just below the first, its rows
    head, rest = rows[:1], list(rows[1:])
    depth = len(head[0].path) + 1 if head else 0
    for row in rest:
        if len(row.path) == depth:
            blocks.append([])
        blocks[-1].append(row)
    out = list(head)
    i = 0
    while i < len(blocks):
        same = i + 1
        while same < len(blocks) and _alike(blocks[i], blocks[same]):
            same += 1
        part = _folded(blocks[i])
        if same - i > 1:
            first, last = blocks[i][0].path[-1], blocks[same - 1][0].path[-1]
            name = f"{first}..{re.sub(r'^.*_', '', last)}"
            part = [
                row._replace(
                    path=(*row.path[: depth - 1], name, *row.path[depth:]), times=same - i if j == 0 else row.times
                )
                for j, row in enumerate(part)
            ]
        out += part
        i = same
    return out


def _alike(a: Sequence[SummaryRow], b: Sequence[SummaryRow]) -> bool:
    """Whether two layers have the same in them, and names that differ in their number alone."""
    stem = lambda rows: re.sub(r"_\d+$", "", rows[0].path[-1])
    return (
        len(a) == len(b)
        and stem(a) == stem(b)
        and all(
            [
                (x.path[len(a[0].path) :], x.output, x.parameters) == (y.path[len(b[0].path) :], y.output, y.parameters)
                for x, y in zip(a, b, strict=True)
            ]
        )
    )


def _shapes(output: Any) -> str:
    leaves = output if isinstance(output, list) else [output]
    return ", ".join(map(str, leaves))


def _short(n: int, unit: str = "") -> str:
    """A number in at most five signs, by thousands; bytes by 1,024."""
    step, size = (1024.0, float(n)) if unit else (1000.0, float(n))
    for letter in ("", "K", "M", "G", "T", "P"):
        if size < step or letter == "P":
            return f"{size:.3g} {letter}{unit}".rstrip() if unit or letter else f"{n}"
        size /= step
    raise AssertionError


def _wrapped(text: str) -> list[str]:
    lines = [""]
    for part in text.split("; "):
        joined = f"{lines[-1]}; {part}" if lines[-1] else part
        if len(joined) > WIDTH:
            lines.append(part)
        else:
            lines[-1] = joined
    return lines
