"""A drawing in Graphviz's language, with groups that are open as clusters and those that are closed as boxes."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import Any

from tracegrad.core.errors import clip
from tracegrad.core.generated import line
from tracegrad.show.boxes import CONSTANT, EQUATION, INPUT, OUTPUT, Node, family
from tracegrad.show.model import Model

# The stripe of a box, by family: elementwise, reduce, contract, shape, index, random, control, other.
COLOURS = ("#8fb8de", "#e7b75f", "#d98880", "#b9c4c9", "#a9cfa3", "#c3a6d8", "#7f8c9a", "#d5d0c4")
_VALUE, _GRADIENT, _WRONG = "#1f5fa8", "#c25e00", "#c62828"
_FONT = "Helvetica"


def dot(drawn: Model, values: Sequence[Any], gradients: Sequence[Any], backward: str) -> str:
    """The text, with boxes, arrows and groups as they are at first."""
    return "\n".join(_Text(drawn, values, gradients, backward).lines()) + "\n"


class _Text:
    def __init__(self, drawn: Model, values: Sequence[Any], gradients: Sequence[Any], backward: str) -> None:
        self.groups, self.nodes, self.edges = drawn.groups, drawn.nodes, drawn.edges
        self.variables, self.values, self.gradients = drawn.variables, values, gradients
        self.title, self.backward = drawn.title, backward
        self.shown = self.shown_groups()
        self.sizes = [0] * len(self.groups)
        for node in self.nodes:
            self.sizes[node.group] += node.kind == EQUATION
        for g in range(len(self.groups) - 1, 0, -1):
            self.sizes[self.groups[g].parent] += self.sizes[g]

    def shown_groups(self) -> list[int]:
        """For each group the one whose box it is in, itself or one around it; -1 if it is open."""
        found = [-1]
        for g, group in enumerate(self.groups[1:], 1):
            around = found[group.parent]
            is_open = group.open or (group.kind == "backward" and self.backward == "beside")
            found.append(around if around != -1 else -1 if is_open else g)
        return found

    def box(self, i: int) -> str:
        """The name of the box that a node is seen as, none if it is hidden."""
        node = self.nodes[i]
        if node.phase and self.backward == "hidden":
            return ""
        around = self.shown[node.group]
        if around < 0:
            return f"n{i}"
        holder = self.groups[around].node
        return f"g{around}" if holder < 0 else f"n{holder}"

    def lines(self) -> Iterator[str]:
        yield f"digraph {_quoted(self.title)} {{"
        yield f'  graph [compound=true newrank=true ranksep=0.35 nodesep=0.25 fontname="{_FONT}" fontsize=11 labeljust=l]'
        yield f'  node [shape=box style="filled,rounded" fillcolor=white color="#8a94a0" fontname="{_FONT}" fontsize=11 margin="0.06,0.03" height=0.3]'
        yield f'  edge [color="#6b7580" arrowsize=0.6 fontname="{_FONT}" fontsize=9]'
        boxes: list[list[str]] = [[] for _ in self.groups]
        beside: list[str] = []
        closed = {x.node: self.sizes[g] for g, x in enumerate(self.groups) if x.node >= 0 and self.shown[g] == g}
        for i, node in enumerate(self.nodes):
            if self.box(i) == f"n{i}" and not (node.kind == OUTPUT and node.holder >= 0):
                where = beside if self.backward == "beside" and node.phase else boxes[node.group]
                where.append(f"n{i} {self.attributes(node, closed.get(i, 0))}")
        inner: list[list[int]] = [[] for _ in self.groups]
        for g, group in enumerate(self.groups[1:], 1):
            if self.shown[g] == g and group.node < 0 and not (group.kind == "backward" and self.backward == "hidden"):
                boxes[group.parent].append(f"g{g} {self.closed(g)}")
            elif self.shown[g] == -1:
                inner[group.parent].append(g)
        yield from self.clusters(boxes, inner)
        if beside:
            yield '  subgraph "cluster_backward" {'
            yield f'    label="backward" style="rounded,dashed" color="{_GRADIENT}"'
            yield from (f"    {text}" for text in beside)
            yield "  }"
            yield from self.rows()
        yield from self.arrows()
        yield "}"

    def clusters(self, boxes: Sequence[Sequence[str]], inner: Sequence[Sequence[int]]) -> Iterator[str]:
        """Each open group with its boxes, and then those within it."""
        stack = [(0, iter(inner[0]))]
        yield from (f"  {text}" for text in boxes[0])
        while stack:
            indent = "  " * len(stack)
            for g in stack[-1][1]:
                group = self.groups[g]
                plain = group.kind == "backward" and self.backward == "beside"
                label = "" if plain else line(clip(group.name, 60))
                colour = _GRADIENT if group.kind == "backward" else "#b4bcc4"
                yield f"{indent}subgraph {'' if plain else _quoted(f'cluster_{g}') + ' '}{{"
                yield f'{indent}  label={_quoted(label)} style=rounded color="{colour}" fontcolor="#4a5560"'
                yield from (f"{indent}  {text}" for text in boxes[g])
                stack.append((g, iter(inner[g])))
                break
            else:
                stack.pop()
                if stack:
                    yield f"{'  ' * len(stack)}}}"

    def attributes(self, node: Node, inside: int) -> str:
        name = html.escape(line(clip(node.name, 60)))
        if node.kind == OUTPUT:
            return f'[label=<{name}> color=black penwidth=1.6 fillcolor="#f3f4f6"]'
        types = [f"{self.variables[v].name}: {self.variables[v].var.type}" for v in node.outs]
        shown = "<BR/>".join([html.escape(text) for text in [*types[:3], *["…"][: len(types) > 3]]])
        wrong = any([self.is_wrong(v) for v in node.outs])
        colour = f' color="{_WRONG}" penwidth=1.6' if wrong else ""
        if node.kind in (INPUT, CONSTANT):
            head = f"<B>{name}</B><BR/>" if node.kind == INPUT else "constant<BR/>"
            return f'[label=<{head}<FONT POINT-SIZE="9">{shown}</FONT>> fillcolor="#e8eaed"{colour}]'
        assert node.eqn is not None
        taken = [a if isinstance(a, str) else "·" for a in node.ins]
        small = [", ".join(taken)] if taken.count("·") < len(taken) else []
        small += [clip(node.params, 48)] if node.params else []
        if inside:
            small.append(f"{inside} equation{'s' * (inside != 1)} inside")
        words = [f"<B>{name}</B>", f'<FONT POINT-SIZE="9">{shown}</FONT>']
        words += [f'<FONT POINT-SIZE="8" COLOR="#5a6570">{html.escape(line(text))}</FONT>' for text in small]
        stripe = COLOURS[family(node.eqn.op)]
        table = '<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="2">'
        cells = f'<TR><TD BGCOLOR="{stripe}" WIDTH="5"></TD><TD>{"<BR/>".join(words)}</TD></TR>'
        fill = f' fillcolor="#fdf1e5"{colour or f" color={_quoted(_GRADIENT)}"}' if node.phase else colour
        return f"[label=<{table}{cells}</TABLE>>{fill}]"

    def closed(self, g: int) -> str:
        group, count = self.groups[g], self.sizes[g]
        name = html.escape(line(clip(group.name, 60)))
        colour = f' color="{_GRADIENT}" fillcolor="#fdf1e5"' if group.kind == "backward" else ' fillcolor="#eef3f8"'
        plural = "s" * (count != 1)
        return f'[label=<<B>{name}</B><BR/><FONT POINT-SIZE="9">{count} equation{plural}</FONT>> peripheries=2{colour}]'

    def rows(self) -> Iterator[str]:
        """What derivative rules have made stands at the height of what it is the derivative of."""
        made: dict[int, list[str]] = {}
        for i, node in enumerate(self.nodes):
            if node.phase and node.of >= 0 and self.box(i) == f"n{i}" and self.box(node.of) == f"n{node.of}":
                made.setdefault(node.of, []).append(f"n{i}")
        for i, names in made.items():
            if not self.nodes[i].phase:
                yield f"  {{ rank=same; n{i}; {names[0]} }}"

    def arrows(self) -> Iterator[str]:
        """One between each two boxes. One that stands for a single variable has its name and values."""
        # Where the Graph that an equation holds is seen, what it reads from outside goes to its readers.
        holders = {group.node for g, group in enumerate(self.groups) if group.node >= 0 and self.shown[g] == -1}
        reads: dict[int, set[int]] = {}
        for _, b, v in self.edges:
            for holder in self.around(b):
                reads.setdefault(holder, set()).add(v)
        found: dict[tuple[str, str, bool], dict[int, bool]] = {}
        for a, b, v in self.edges:
            target, inside = self.nodes[b], False
            if target.kind == OUTPUT and target.holder >= 0:
                b, inside = target.holder, True
                if self.nodes[a].kind != EQUATION:
                    continue
            elif b in holders and v in reads.get(b, ()):
                continue
            source, end = self.box(a), self.box(b)
            if source and end and source != end:
                derived = self.nodes[b].phase > 0
                found.setdefault((source, end, inside), {})[v] = derived
        for (source, end, inside), of in found.items():
            label = self.label(next(iter(of))) if len(of) == 1 else f"×{len(of)}"
            how = [f"label=<{label}>"]
            if all(of.values()):
                how += ["style=dashed", f'color="{_GRADIENT}"']
                if self.backward == "beside" and self.is_derived(source):
                    source, end = end, source  # which runs upward
                    how.append("dir=back")
                elif self.backward == "beside" or not self.is_derived(end):
                    how.append("constraint=false")
            elif inside:
                how.append("style=dotted")
            yield f"  {source} -> {end} [{' '.join(how)}]"

    def around(self, i: int) -> Iterator[int]:
        """The equations in whose Graphs a node is."""
        g = self.nodes[i].group
        while g > 0:
            if self.groups[g].node >= 0:
                yield self.groups[g].node
            g = self.groups[g].parent

    def is_derived(self, box: str) -> bool:
        """Whether a box has what derivative rules have made, and nothing else."""
        number = int(box[1:])
        return self.groups[number].kind == "backward" if box[0] == "g" else self.nodes[number].phase > 0

    def is_wrong(self, v: int) -> bool:
        return any([x[v] is not None and is_broken(x[v]) for x in (self.values, self.gradients) if x])

    def label(self, v: int) -> str:
        texts = [html.escape(self.variables[v].name)]
        for summaries, colour in ((self.values, _VALUE), (self.gradients, _GRADIENT)):
            if summaries and summaries[v] is not None:
                colour = _WRONG if is_broken(summaries[v]) else colour
                words = in_words(summaries[v], self.variables[v].var.type.shape)
                texts.append(f'<FONT COLOR="{colour}">{html.escape(words)}</FONT>')
        return "<BR/>".join(texts)


def is_broken(summary: dict[str, Any]) -> bool:
    """Whether a value has a NaN or an infinity in it."""
    return "nan" in summary or "inf" in summary


def in_words(summary: dict[str, Any], shape: Sequence[int]) -> str:
    """A value in few characters: its numbers, or from where to where they go."""
    if "s" in summary:
        numbers = [_digits(x) for x in summary["s"]]
        for size in reversed(shape):
            parts = [numbers[i : i + size] for i in range(0, len(numbers), size)] if size else [[]]
            numbers = [f"[{', '.join(part)}]" for part in parts]
        return numbers[0]
    counts = [f"{summary[name]} {name}" for name in ("nan", "inf") if name in summary]
    span = [] if summary["min"] is None else [f"{_digits(summary['min'])} … {_digits(summary['max'])}"]
    return ", ".join([*span, *counts])


def _digits(x: Any) -> str:
    if x is None:
        return "nan"
    return x if isinstance(x, str) else f"{x:.3g}".replace("-", "\u2212")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
