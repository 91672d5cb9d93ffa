"""The variables, boxes and arrows of a Graph's drawing, and the groups that its boxes are in by where they were recorded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.errors import CALL, Source, location_of, origin
from tracegrad.core.graph import Atom, Eqn, Graph, Literal, Var
from tracegrad.core.op import Op
from tracegrad.core.show import Listed, listed

EQUATION, INPUT, CONSTANT, OUTPUT = range(4)
ELEMENTWISE, REDUCE, CONTRACT, SHAPE, INDEX, RANDOM, CONTROL, OTHER = range(8)

# Of what family an op is whose record does not tell.
_FAMILIES = {
    **dict.fromkeys((
        "sum", "prod", "max", "min", "nanmax", "nanmin", "argmax", "argmin", "nanargmax", "nanargmin", "any", "all", "mean",
        "logsumexp", "reduce_and", "reduce_or", "reduce_xor", "softmax", "log_softmax", "shares", "cumsum", "cumprod", "cummax",
        "cummin", "cumlogsumexp", "linear_recurrence", "norm", "psum", "pmax", "pmin", "psum_scatter", "bincount",
        "reduce_window_sum", "reduce_window_max", "reduce_window_min", "window_argmax", "window_argmin",
    ), REDUCE),
    **dict.fromkeys(("outer", "convolve"), CONTRACT),
    **dict.fromkeys((
        "slice", "unslice", "gather", "scatter", "scatter_add", "scatter_max", "scatter_min", "dynamic_slice",
        "dynamic_unslice", "dynamic_update_slice", "last_writes", "sort", "argsort", "argpartition", "top_places",
        "searchsorted", "diagonal",
    ), INDEX),
    **dict.fromkeys(("threefry2x32", "random_bits"), RANDOM),
    **dict.fromkeys(("sign", "item", "frexp", "modf", "stop_gradient", "bitcast_convert_type"), ELEMENTWISE),
    "pull_rows": CONTROL,
}  # fmt: skip

# So many names of scopes and functions are groups in one another.
_DEPTH = 16
# Graphs that are held in several places are drawn in each of them until there are so many equations.
_EXPANDED = 5_000
# Among so many equations of the same line it is looked for that which a derivative is of, where the call is not known.
_NEAR = 40


def family(op: Op) -> int:
    """Of which family an op is, for its colour."""
    if op.name in _FAMILIES:
        return _FAMILIES[op.name]
    if op.elementwise:
        return ELEMENTWISE
    if op.contraction is not None:
        return CONTRACT
    if op.held is not None and op.held.replay is not None:
        return CONTROL
    return SHAPE if op.moves else OTHER


class Node:
    """A box: an equation, an input, a constant, or the mark of an output. `of` is the equation whose derivative rule made it,
    `holder` that which holds the Graph that it is an output of; -1 for none."""

    __slots__ = ("eqn", "group", "holder", "ins", "kind", "name", "of", "outs", "params", "phase", "text")

    def __init__(self, kind: int, name: str, ins: list[int | str], outs: list[int], group: int) -> None:
        self.kind, self.name, self.ins, self.outs, self.group = kind, name, ins, outs, group
        self.eqn: Eqn | None = None
        self.phase, self.of, self.holder = 0, -1, -1
        self.params = self.text = ""


class Group:
    """Boxes that may be shown as one. `node` is the equation whose Graph it is, `like` another group that does the same."""

    __slots__ = ("kind", "like", "name", "node", "open", "parent")

    def __init__(self, name: str, kind: str, parent: int, node: int = -1) -> None:
        self.name, self.kind, self.parent, self.node = name, kind, parent, node
        self.open, self.like = False, -1


class Instance(NamedTuple):
    """A Graph where it is drawn: the Graph of the picture, or one that an equation holds. `variables` has the numbers of its
    variables, `held` the Graphs that equations hold, where they are drawn."""

    graph: Graph
    variables: dict[Var, int]
    held: dict[Eqn, list[Instance]]


class Variable(NamedTuple):
    name: str
    var: Var
    # The variable of the Graph around that it is another name of, as inputs of a held Graph are.
    alias: int


def graphs_of(eqn: Eqn) -> list[tuple[str, Graph]]:
    """The Graphs that an equation holds, with the param that each is."""
    found = []
    for name, value in eqn.params.items():
        if type(value) is Graph:
            found.append((name, value))
        elif type(value) is tuple:
            found += [(f"{name}[{i}]", part) for i, part in enumerate(value) if type(part) is Graph]
    return found


def _given(eqn: Eqn, inner: Graph) -> list[int | None]:
    """For each input of a Graph that an equation holds, which of the equation's inputs it is, as far as they correspond."""
    count, own = len(eqn.inputs), len(inner.inputs)
    if own == count:
        return list(range(count))
    if own == count - 1 and eqn.inputs[1:] and [a.type for a in eqn.inputs[1:]] == list(inner.in_types):
        return list(range(1, count))  # of a branch, which does not get the index
    carries = eqn.params.get("carries", 0)
    return [i if i < min(carries, count) else None for i in range(own)]


class _Frame(NamedTuple):
    """A Graph whose equations are being turned into nodes. `derived` says whether the equation that holds it is of a derivative,
    `has_calls` whether equations know all lines that were running, `outermost` what the function is called that was traced."""

    instance: Instance
    listed: Listed
    rest: Iterator[tuple[int, Eqn]]
    group: int
    scope: tuple[str, ...]
    derived: bool
    has_calls: bool
    outermost: str
    holder: Node | None


class Builder:
    """Makes nodes of the equations of a Graph and of those that it holds, each in the group of the scopes and functions that it was
    recorded in."""

    def __init__(self, graph: Graph, outputs: Sequence[str] | None) -> None:
        self.graph, self.outputs = graph, outputs
        self.texts = {id(part.graph): part for part in listed(graph)}
        self.variables: list[Variable] = []
        self.edges: list[tuple[int, int, int]] = []
        self.heads: list[Node] = []  # inputs
        self.body: list[Node] = []
        self.tails: list[Node] = []  # marks of outputs
        self.nodes: list[Node] = []
        self.groups = [Group(graph.name, "graph", -1)]
        self.known: dict[Hashable, int] = {}  # groups by what they are of
        self.holders: list[tuple[Group, Node]] = []  # groups that are Graphs, and the equations that hold them
        self.made: dict[int, Node] = {}  # what makes a variable
        self.frames: dict[int, int] = {}  # the group of the Graph that a node is of
        self.marks: list[tuple[Node, Node]] = []  # outputs, and the equation that holds their Graph
        self.rules: list[tuple[Node, Node]] = []  # what is recorded by a rule, and what that is the rule of
        self.places: dict[tuple[int, int], list[Node]] = defaultdict(
            list
        )  # nodes by the call that recorded them, and phase
        self.alike: dict[Hashable, list[Node]] = defaultdict(
            list
        )  # the same by what is known of such calls in pickled Graphs
        self.runs: dict[
            int, tuple[str, int]
        ] = {}  # of each Graph the function that the latest equation is of, and which
        self.drawn: set[int] = set()

    def build(self) -> None:
        """Inner Graphs come where they are run: after the equation that holds them."""
        stack = [self.enter(self.graph, 0, (), {})]
        self.whole = stack[0].instance
        while stack:
            frame = stack[-1]
            for number, eqn in frame.rest:
                node = self.equation(frame, number, eqn)
                inner = [(name, g) for name, g in graphs_of(eqn) if self.is_drawn(g)]
                if inner:
                    stack += self.hold(frame, eqn, node, inner)[::-1]
                    break
            else:
                self.leave(stack.pop())
        self.nodes = [*self.heads, *self.body, *self.tails]

    def is_drawn(self, graph: Graph) -> bool:
        """Whether to draw a Graph here, which may be drawn elsewhere."""
        if id(graph) in self.drawn and len(self.body) > _EXPANDED:
            return False
        self.drawn.add(id(graph))
        return True

    def variable(self, name: str, var: Var, alias: int = -1) -> int:
        self.variables.append(Variable(name, var, alias))
        return len(self.variables) - 1

    def enter(
        self,
        graph: Graph,
        group: int,
        scope: tuple[str, ...],
        aliases: dict[Var, int],
        holder: Node | None = None,
        derived: bool = False,
    ) -> _Frame:
        text = self.texts[id(graph)]
        ids: dict[Var, int] = {}
        for v in graph.inputs:
            ids[v] = self.variable(text.name(v), v, aliases.get(v, -1))
            if v not in aliases:
                self.head(INPUT, v.name or text.name(v), ids[v], group)
        for v in graph.consts:
            ids[v] = self.variable(text.name(v), v)
            if not _is_scalar(graph.consts[v]):
                self.head(CONSTANT, text.name(v), ids[v], group)
        has_calls = any([origin(eqn.raw_source)[3] for eqn in graph.eqns])
        outermost = graph.name.rstrip(")").rpartition("(")[2]
        eqns = iter(enumerate(graph.eqns))
        return _Frame(Instance(graph, ids, {}), text, eqns, group, scope, derived, has_calls, outermost, holder)

    def head(self, kind: int, name: str, variable: int, group: int) -> None:
        node = self.made[variable] = Node(kind, name, [], [variable], group)
        if kind == INPUT:
            self.heads.append(node)

    def taken(self, frame: _Frame, atom: Atom) -> int | str:
        """What a box takes: a variable, or a number that is written in it, as are constants that are scalars."""
        if isinstance(atom, Literal):
            return frame.listed.name(atom)
        const: Any = frame.instance.graph.consts.get(atom)
        return repr(const.item()) if _is_scalar(const) else frame.instance.variables[atom]

    def equation(self, frame: _Frame, number: int, eqn: Eqn) -> Node:
        ids, name = frame.instance.variables, frame.listed.name
        ins = [self.taken(frame, a) for a in eqn.inputs]
        for var in eqn.outputs:
            ids[var] = self.variable(name(var), var)
        node = Node(EQUATION, eqn.op.name, ins, [ids[v] for v in eqn.outputs], frame.group)
        node.eqn, node.text = eqn, frame.listed.eqns[number]
        node.params = ", ".join([f"{k}={name.param(v)}" for k, v in eqn.params.items()])
        self.body.append(node)
        for v in node.outs:
            self.made[v] = node
        scope, node.phase, op, callers = origin(eqn.raw_source)
        rule_of = self.rule_of(node, eqn, op) if node.phase else None
        if rule_of is not None:
            self.rules.append((node, rule_of))
        if eqn.raw_source is not None:
            place = location_of(eqn.raw_source)
            if isinstance(place, Source):
                self.alike[place, node.phase, eqn.op.name].append(node)
            else:
                self.places[id(place), node.phase].append(node)
        node.group = self.group_of(frame, eqn, scope[_common(scope, frame.scope) :], callers, node, rule_of)
        return node

    def rule_of(self, node: Node, eqn: Eqn, op: Op | None) -> Node | None:
        """The equation whose derivative rule recorded this one, if it is in the Graph: of what was recorded for the same call that
        which this one shares a variable with. Of a pickled Graph, places are known and calls are not."""
        if eqn.raw_source is None or op is None:
            return None
        place, phase = location_of(eqn.raw_source), node.phase - 1
        if isinstance(place, Source):
            found = self.alike[place, phase, op.name][-_NEAR:]
        else:
            found = [n for n in self.places[id(place), phase] if n.name == op.name]
        mine = {v for v in node.ins if type(v) is int}
        for other in reversed(found):
            if not mine.isdisjoint(other.outs) or not mine.isdisjoint(other.ins):
                return other
        return found[-1] if found and not isinstance(place, Source) else None

    def group_of(
        self, frame: _Frame, eqn: Eqn, scope: tuple[str, ...], callers: Sequence[Any], node: Node, rule_of: Node | None
    ) -> int:
        """The group of an equation: by the scopes and functions that it was recorded in, or that of what it is the rule of."""
        self.frames[id(node)] = frame.group
        if rule_of is not None and self.frames.get(id(rule_of)) == frame.group:
            group = rule_of.group
        else:
            group = frame.group
            for kind, name, key in self.path(frame, eqn, scope, callers)[:_DEPTH]:
                group = self.subgroup(group, kind, name, key)
        if node.phase and not frame.derived and self.groups[group].kind != "backward":
            return self.subgroup(group, "backward", "backward", None)
        return group

    def path(
        self, frame: _Frame, eqn: Eqn, scope: tuple[str, ...], callers: Sequence[Any]
    ) -> list[tuple[str, str, Hashable]]:
        """The scopes and the functions of the user's that an equation was recorded in, the outermost first, each with what
        tells it from others of its kind. Where calls are not known (`make_graph(f, frames=True)`), a function is what stands
        one after the other of it."""
        found: list[tuple[str, str, Hashable]] = []
        place = None if eqn.raw_source is None else location_of(eqn.raw_source)
        if place is not None and frame.has_calls:
            done = 0
            outside = len(frame.scope)
            for i in range(len(callers) - 1, -1, -1):
                call, inner = callers[i], callers[i - 1] if i else place
                number, scopes = (call[2], max(call[3] - outside, done)) if len(call) == CALL else (None, done)
                found += [("scope", name, None) for name in scope[done:scopes]]
                done = scopes
                found.append(("function", _function(inner), number))
            found += [("scope", name, None) for name in scope[done:]]
        else:
            found = [("scope", name, None) for name in scope]
            if place is not None and not origin(eqn.raw_source)[1]:
                name = _function(place)
                if self.runs.get(frame.group, ("", 0))[0] != name:
                    self.runs[frame.group] = name, len(self.body)
                if name != frame.outermost:
                    found.append(("function", name, self.runs[frame.group][1]))
        return [step for step in found if step[0] == "scope" or not step[1].startswith("<")]

    def subgroup(self, parent: int, kind: str, name: str, key: Hashable) -> int:
        found = self.known.get((parent, kind, name, key))
        if found is None:
            found = self.known[parent, kind, name, key] = len(self.groups)
            self.groups.append(Group(name, kind, parent))
        return found

    def hold(self, frame: _Frame, eqn: Eqn, node: Node, inner: Sequence[tuple[str, Graph]]) -> list[_Frame]:
        """Go into the Graphs that an equation holds. They share its group, in groups of their own if there are several."""
        group = len(self.groups)
        self.groups.append(Group(eqn.op.name, "graph", node.group))
        self.holders.append((self.groups[group], node))
        if len(inner) == 1:
            self.groups[group].name = f"{eqn.op.name} {self.texts[id(inner[0][1])].called}"
        scope = origin(eqn.raw_source)[0]
        found = []
        for name, graph in inner:
            place = group
            if len(inner) > 1:
                place = len(self.groups)
                self.groups.append(Group(f"{name} {self.texts[id(graph)].called}", "graph", group))
            aliases = {}
            for v, i in zip(graph.inputs, _given(eqn, graph), strict=True):
                if i is not None and type(given := node.ins[i]) is int:
                    aliases[v] = given
            entered = self.enter(graph, place, scope, aliases, node, frame.derived or node.phase > 0)
            frame.instance.held.setdefault(eqn, []).append(entered.instance)
            found.append(entered)
        return found

    def leave(self, frame: _Frame) -> None:
        for i, atom in enumerate(frame.instance.graph.outputs):
            name = "output" if len(frame.instance.graph.outputs) == 1 else f"[{i}]"
            if frame.group == 0 and self.outputs is not None:
                name = self.outputs[i]
            mark = Node(OUTPUT, name, [self.taken(frame, atom)], [], frame.group)
            self.tails.append(mark)
            if frame.holder is not None:
                self.marks.append((mark, frame.holder))

    def number(self) -> None:
        """Number the nodes, and draw an edge for each variable that a node takes. A constant has a box in each group where it is
        taken, so that no arrows lead to it from everywhere. (By now groups are those that there will be.)"""
        constants: dict[tuple[int, int], Node] = {}
        arrows: list[tuple[Node, Node, int]] = []
        for node in (*self.body, *self.tails):
            for v in dict.fromkeys([self.root(v) for v in node.ins if type(v) is int]):
                made = self.made[v]
                if made.kind == CONSTANT:
                    key = v, node.group
                    if key not in constants:
                        constants[key] = Node(CONSTANT, made.name, [], [v], node.group)
                    made = constants[key]
                arrows.append((made, node, v))
        self.nodes = [*self.heads, *constants.values(), *self.body, *self.tails]
        numbers = {id(node): i for i, node in enumerate(self.nodes)}
        for node, rule_of in self.rules:
            node.of = numbers[id(rule_of)]
        for mark, holder in self.marks:
            mark.holder = numbers[id(holder)]
        for mark in self.tails:
            (taken,) = mark.ins
            if isinstance(taken, int):
                mark.phase = self.made[self.root(taken)].phase
        for group, node in self.holders:
            group.node = numbers[id(node)]
        self.edges = [(numbers[id(a)], numbers[id(b)], v) for a, b, v in arrows]

    def root(self, v: int) -> int:
        """The variable of the outermost Graph that a variable is another name of."""
        while (alias := self.variables[v].alias) >= 0:
            v = alias
        return v


def _is_scalar(const: Any) -> bool:
    return type(const) is np.ndarray and const.ndim == 0


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """With how many of the same they begin."""
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count


def _function(place: Any) -> str:
    """The name of the function that a place is in."""
    return place.function if isinstance(place, Source) else place[0].co_name
