"""The tree of a function's paths, each node with the segment of a program, and the function that goes through the programs there are.

That function is generated: straight on along the paths that most have in common, with an `if` for the others where an answer is
another one. So a value asked for costs what a call of a small function does, and a comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from tracegrad.core.generated import Names, functions, literal
from tracegrad.core.graph import Atom, Eqn, Graph, Var
from tracegrad.transforms.guards import KINDS, Asked
from tracegrad.tree import PyTreeDef

# What the function returns for values with answers that it does not know.
UNKNOWN: Any = object()
# A tree of more nodes is gone through without such a function: Python takes more than linear time to compile it.
_MOST_NODES = 2000


class Program(NamedTuple):
    """A node's segment, compiled: what it reads, what else it gives than the answer, and what nobody reads after it. It returns
    the answer's value alone, or with what it gives in a list; and in a leaf the results."""

    function: Callable[..., Any]
    reads: Sequence[Var]
    gives: Sequence[Var]
    ends: Sequence[Var]


class Node:
    """A segment; `out_tree` is that of the results in a leaf, None in all others."""

    __slots__ = ("asked", "below", "children", "eqns", "made", "out_tree", "outputs", "program", "reads")

    def __init__(
        self,
        eqns: Sequence[Eqn],
        outputs: Sequence[Atom],
        consts: Mapping[Var, Any],
        asked: Asked | None = None,
        out_tree: PyTreeDef | None = None,
    ) -> None:
        self.eqns = tuple(eqns)
        self.outputs = tuple(outputs)
        # Without the tracer, which has the trace.
        self.asked = None if asked is None else asked._replace(tracer=None)  # type: ignore[arg-type]
        self.out_tree = out_tree
        self.children: dict[Hashable, Node] = {}
        self.made = {v for eqn in eqns for v in eqn.outputs}
        read = dict.fromkeys([a for eqn in eqns for a in eqn.inputs if type(a) is Var])
        read.update(dict.fromkeys([a for a in outputs if type(a) is Var]))
        self.reads = tuple([v for v in read if v not in self.made and v not in consts])
        self.below: set[Var] = set()  # what nodes after it read of what this one and those before it make
        self.program: Program | None = None

    def note_children(self) -> None:
        """See what they have come to read."""
        before = self.below
        self.below = set().union(*[{*c.reads, *(c.below - c.made)} for c in list(self.children.values())])
        if not (before ^ self.below).isdisjoint([*self.made, *self.reads]):
            self.program = None


class Tree:
    """A tree of so many paths, whose nodes read these inputs and constants. The steps of a loop have the same function."""

    def __init__(self, inputs: tuple[Var, ...]) -> None:
        self.inputs = inputs
        self.consts: dict[Var, Any] = {}
        self.root: Node | None = None
        self.count = 0
        self.functions: dict[Graph, Callable[..., Any]] = {}
        self.run: Callable[..., Any] = _knows_nothing  # the function for the programs that there were when it was made

    def generate(self, name: str) -> None:
        """Have it for those that there are now. (Where another thread changes the tree meanwhile, it stays as it was.)"""
        run = _generated(self, name)
        if run is not None:
            self.run = run


def _knows_nothing(*leaves: Any) -> Any:
    return UNKNOWN


class _Branch(NamedTuple):
    """A node as it is for the function, with its branches for the answers that lead to leaves, those with most nodes last."""

    node: Node
    program: Program
    branches: Sequence[tuple[Hashable, _Branch]]
    size: int


def _generated(tree: Tree, name: str) -> Callable[..., Any] | None:
    found = _programs(tree)
    if found is None:
        return None
    names = Names({"UNKNOWN": UNKNOWN})
    inputs = {v: names.fresh(f"input{i}") for i, v in enumerate(tree.inputs)}
    function = names.fresh(name, "compiled")
    lines: list[str] = []
    if not _write(found, inputs, "    ", lines, names):
        return None
    source = "\n".join([f"def {function}({', '.join(inputs.values())}):", *lines])
    return functions([compile(source, f"<tracegrad jit paths of {function}>", "exec")], names.values)[function]


def _programs(tree: Tree) -> _Branch | None:
    """The nodes that have programs, and lead to leaves that do. None where there are none, or too many."""
    order: list[tuple[Node, list[tuple[Hashable, Node]]]] = []
    waiting = [] if tree.root is None else [tree.root]
    while waiting:
        node = waiting.pop()
        if node.program is not None:
            children = list(node.children.items())
            order.append((node, children))
            waiting += [child for _, child in children]
    if len(order) > _MOST_NODES:
        return None
    made: dict[int, _Branch] = {}
    for node, children in reversed(order):
        program = node.program
        found = [(key, made[id(child)]) for key, child in children if id(child) in made]
        found.sort(key=lambda branch: branch[1].size)
        if program is not None and (found or node.asked is None):
            made[id(node)] = _Branch(node, program, found, 1 + sum([b.size for _, b in found]))
    return made.get(id(tree.root))


def _write(branch: _Branch, known: Mapping[Var, str], indent: str, lines: list[str], names: Names) -> bool:
    """Write what is done from a node on, where these variables have names. False if one has none, which a node reads."""
    known = dict(known)
    while True:
        node, program = branch.node, branch.program
        if any([v not in known for v in program.reads]):
            return False
        function = names.bind(program.function, "segment")
        call = f"{function}({', '.join([known[v] for v in program.reads])})"
        if node.asked is None:
            lines.append(f"{indent}return {call}")
            return True
        answer = names.fresh("answer")
        known.update([(v, names.fresh("value")) for v in program.gives])
        lines.append(f"{indent}{', '.join([answer, *[known[v] for v in program.gives]])} = {call}")
        ends = [name for v in program.ends if not (name := known.pop(v)).startswith("input")]
        if ends:  # nobody but this function has these
            lines.append(f"{indent}del {', '.join(ends)}")
        kind = node.asked.kind
        if kind != "bool":
            lines.append(f"{indent}{answer} = {names.bind(KINDS[kind].key, 'key')}({answer})")
        # The last goes on where this one ended, so that no path is deep in `if`s.
        *others, (key, branch) = branch.branches
        if not _write_forks(others, known, answer, kind, indent, lines, names):
            return False
        if kind != "bool" or not others:
            unlike = f"{answer} != {_text(key, names)}" if kind != "bool" else f"not {answer}" if key else answer
            lines.append(f"{indent}if {unlike}:\n{indent}    return UNKNOWN")


def _write_forks(
    branches: Sequence[tuple[Hashable, _Branch]],
    known: Mapping[Var, str],
    answer: str,
    kind: str,
    indent: str,
    lines: list[str],
    names: Names,
) -> bool:
    """Write what is done for these answers, each `if` for half of them."""
    if not branches:
        return True
    keys = [_text(key, names) for key, _ in branches]
    if kind == "bool":
        test = answer if branches[0][0] else f"not {answer}"
    else:
        test = f"{answer} == {keys[0]}" if len(keys) == 1 else f"{answer} in {{{', '.join(keys)}}}"
    lines.append(f"{indent}if {test}:")
    indent += "    "
    if len(branches) == 1:
        return _write(branches[0][1], known, indent, lines, names)
    half = len(branches) // 2
    for some in (branches[:half], branches[half:]):
        if not _write_forks(some, known, answer, kind, indent, lines, names):
            return False
    lines.append(f"{indent}return UNKNOWN")
    return True


def _text(key: Hashable, names: Names) -> str:
    return literal(key) or names.bind(key, "key")
