"""A drawing as the data that its page reads: compact lists, since a Graph may have a hundred thousand equations."""

from __future__ import annotations

import json
import linecache
from collections.abc import Sequence
from typing import Any

from tracegrad.core.errors import Location, Source, location_of, resolve
from tracegrad.show.boxes import Node, family
from tracegrad.show.model import Model

VERSION = 1
# So many lines are shown on each side of an equation's.
_BESIDE = 2


def data(
    drawn: Model,
    values: Sequence[Any] = (),
    gradients: Sequence[Any] = (),
    backward: str = "folded",
    theme: str = "auto",
) -> dict[str, Any]:
    """What the page is made of. `values` and `gradients` are summaries of these, by the numbers of variables."""
    types: dict[str, int] = {}
    sources = Sources()
    variables: list[list[Any]] = []
    for i, v in enumerate(drawn.variables):
        row: list[Any] = [v.name, types.setdefault(str(v.var.type), len(types))]
        value, gradient = values[i] if values else None, gradients[i] if gradients else None
        if value is not None or gradient is not None:
            row.append(value)
        if gradient is not None:
            row.append(gradient)
        variables.append(row)
    nodes = []
    names = list(types)
    for node in drawn.nodes:
        of_family = -1 if node.eqn is None else family(node.eqn.op)
        place = sources.note(node.eqn.raw_source if node.eqn is not None else None)
        nodes.append([
            node.kind, node.name, of_family, node.params, node.ins, node.outs, node.group, node.phase, node.of, *place,
            "" if node.text == text_from(node, variables, names) else node.text,
        ])  # fmt: skip
    return {
        "version": VERSION,
        "title": drawn.title,
        "theme": theme,
        "backward": backward,
        "types": list(types),
        "files": sources.files(),
        "vars": variables,
        "nodes": nodes,
        "edges": drawn.edges,
        "groups": [[g.name, g.kind, g.parent, int(g.open), g.like, g.node] for g in drawn.groups],
    }


def text_from(node: Node, variables: Sequence[Any], types: Sequence[str]) -> str:
    """The text of an equation as the page puts it together of what it has."""
    if node.eqn is None:
        return ""
    outs = ", ".join([f"{variables[v][0]}:{types[variables[v][1]]}" for v in node.outs])
    ins = "".join([f" {v if isinstance(v, str) else variables[v][0]}" for v in node.ins])
    return f"{outs} = {node.name}{f'[{node.params}]' if node.params else ''}{ins}"


def text_of(found: dict[str, Any]) -> str:
    """The data as JSON that may stand in a page."""
    text = json.dumps(found, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


class Sources:
    """The user's files that equations come from, with the lines around each, as they are now."""

    def __init__(self) -> None:
        self.known: dict[Location, Source | None] = {}
        self.numbers: dict[str, int] = {}
        self.lines: list[set[int]] = []

    def of(self, raw: Any) -> Source | None:
        """Where an equation comes from."""
        if raw is None:
            return None
        place = location_of(raw)
        if place not in self.known:
            self.known[place] = resolve(place)
        return self.known[place]

    def note(self, raw: Any) -> tuple[int, int]:
        """The number of the file, -1 for none, and the line."""
        found = self.of(raw)
        if found is None:
            return -1, 0
        number = self.numbers.setdefault(found.file, len(self.numbers))
        if number == len(self.lines):
            self.lines.append(set())
        self.lines[number].add(found.line)
        return number, found.line

    def files(self) -> list[dict[str, Any]]:
        found = []
        for path, number in self.numbers.items():
            all_lines = linecache.getlines(path)
            near = {n for line in self.lines[number] for n in range(line - _BESIDE, line + _BESIDE + 1)}
            lines = {str(n): all_lines[n - 1].rstrip("\n") for n in sorted(near) if 0 < n <= len(all_lines)}
            found.append({"path": path, "lines": lines})
        return found
