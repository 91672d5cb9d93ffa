"""The programs of a function that asks for values, for one signature: one for each path through its branches.

They are a tree. A node has the equations that the next value asked for needs, and no node before it has: a segment of a
program, which ends in that value. The answer to it says which child is next; a leaf has what the results need. So what paths
have in common before they part is in the tree once, and a call runs the nodes of its path, each once, and no others. An answer
that no child is there for is a new path: the function is traced with this call's values, along the answers that there have
been, and goes on alone from there.
"""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tracegrad.core.collector import uncollected
from tracegrad.core.errors import PathsWarning, described, name_of, resolve
from tracegrad.core.graph import Atom, Eqn, Graph, Literal, Var, evaluate, exact_params, exactly, is_same_constant
from tracegrad.core.static import kept
from tracegrad.lower.numpy.writer import lower
from tracegrad.transforms.batch import own_arrays
from tracegrad.transforms.guards import KINDS, Asked
from tracegrad.transforms.path_tree import UNKNOWN, Node, Program, Tree
from tracegrad.tree import PyTreeDef, tree_structure, tree_unflatten

# A path with more questions than that, such as a loop of so many steps, is followed without a program.
MOST_ASKED = 4096
_ONE = tree_structure(0)


class Path(NamedTuple):
    """A function traced along one path: its Graph has for its last outputs the values that it asked for."""

    graph: Graph
    out_tree: PyTreeDef
    asked: Sequence[Asked]


class _Aligned(NamedTuple):
    """A path beside a tree: the nodes that it has in common with others, which of the tree's variables are those of the path there,
    its segments, and what these end in; `is_there` if all of it is in the tree."""

    tree: Tree
    above: Sequence[Node]
    known: dict[Atom, Atom]
    segments: Sequence[Sequence[Eqn]]
    tails: Sequence[Sequence[Atom]]
    is_there: bool


class Paths:
    """The programs of a function for one signature, for `most` paths. `in_tree` is the structure of (args, kwargs)."""

    def __init__(
        self, fun: Callable[..., Any], most: int, in_tree: PyTreeDef, passes: Callable[[Graph], Graph]
    ) -> None:
        self._fun = fun
        self._most = most
        self._in_tree = kept(in_tree)
        self._passes = passes
        self.tree = Tree(())
        self._has_warned = False
        self.donated: Sequence[int] = ()  # leaves that the caller gives away

    def arguments(self, leaves: Sequence[Any]) -> tuple[Any, Any]:
        """(args, kwargs) with these leaves."""
        found: tuple[Any, Any] = self._in_tree.unflatten(leaves)
        return found

    # -----------------------------------------------------------------------------------------------------------------
    # Running.

    def run(self, leaves: Sequence[Any]) -> tuple[bool, Any]:
        """Whether there is a program for these leaves, and its result; or the answers up to where there is none."""
        found = self.tree.run(*leaves)
        return self.walk(leaves) if found is UNKNOWN else (True, found)

    def walk(self, leaves: Sequence[Any]) -> tuple[bool, Any]:
        """The same, node by node; the programs on the way are run by `tree.run` the next time."""
        while True:
            tree = self.tree
            node = tree.root
            env: dict[Var, Any] = dict(zip(tree.inputs, leaves, strict=node is not None))
            answers: list[Hashable] = []
            passed: list[Node] = []
            while node is not None:
                function, reads, gives, ends = node.program or self._compiled(node, tree)
                try:
                    arrays = [env[v] for v in reads]
                except KeyError:  # another thread has put this node here while one before it was compiled
                    for one in passed[::-1]:
                        one.note_children()
                    break
                if node.asked is None:
                    tree.generate(name_of(self._fun))
                    return True, function(*arrays)
                found = function(*arrays)
                answer, *given = found if gives else [found]
                answer = KINDS[node.asked.kind].key(answer)
                for v in ends:
                    del env[v]
                env.update(zip(gives, given, strict=True))
                answers.append(answer)
                passed.append(node)
                node = node.children.get(answer)
            else:
                return False, answers

    def _compiled(self, node: Node, tree: Tree) -> Program:
        is_leaf = node.asked is None
        below = node.below
        gives = tuple([v for v in _ordered(node.eqns) if v in below])
        ends = tuple([v for v in node.reads if v not in below])
        read = {a for eqn in node.eqns for a in eqn.inputs}.union(node.outputs)
        consts = {v: x for v, x in list(tree.consts.items()) if v in read}
        graph = Graph(node.reads, node.eqns, (*node.outputs, *gives), consts, name_of(self._fun))
        if is_leaf:
            places = {v: i for i, v in enumerate(node.reads)}
            donated = [places[v] for v in map(tree.inputs.__getitem__, self.donated) if v in places]
            lowered = uncollected(lower, self._passes(graph), node.out_tree, 0, False, False, donated)
            program = Program(lowered.function, node.reads, (), ())
        else:
            function = None if consts else tree.functions.get(graph)
            if function is None:
                out_tree = None if gives else _ONE
                function = uncollected(lower, self._passes(graph), out_tree, 0, False, False, (), (), True).function
                if not consts:
                    tree.functions[graph] = function
            program = Program(function, node.reads, gives, ends)
        node.program = program
        return program

    def result(self, path: Path, leaves: Sequence[Any]) -> Any:
        """What a path gives for the leaves that it was traced for, without a program."""
        graph = path.graph
        count = len(graph.outputs) - len(path.asked)
        results = evaluate(Graph(graph.inputs, graph.eqns, graph.outputs[:count], graph.consts, graph.name), leaves)
        return tree_unflatten(path.out_tree, own_arrays(results, given=[*leaves, *graph.consts.values()]))

    # -----------------------------------------------------------------------------------------------------------------
    # A new path.

    @property
    def is_full(self) -> bool:
        """Whether there are as many programs as there may be."""
        return self.tree.count >= self._most

    def agrees(self, path: Path) -> bool:
        """Whether the function has done, up to where a path parts from those that there are, what it did when these were traced.
        If not, it depends on more than its arguments: the answers which it was told were to other questions, and all that
        is here is dropped."""
        found = self._aligned(path)
        if found is None:
            self.tree = Tree(())
        return found is not None

    def add(self, path: Path) -> str:
        """Have a program for a path, if there is room. What is to be said of it in the log."""
        asked = path.asked
        found = self._aligned(path)
        if len(asked) > MOST_ASKED:
            return f"a path with {len(asked)} values asked for, which is followed without a program"
        if found is None or found.is_there:
            return "a path that another thread was tracing at the same time"
        graph, above, depth = path.graph, found.above, len(found.above)
        tree = found.tree if above else Tree(graph.inputs)
        mapped = functools.partial(_with, known=found.known)
        tree.consts.update({v: x for v, x in graph.consts.items() if v not in found.known})
        new: list[Node] = []
        for i in range(depth, len(found.segments)):
            eqns = [eqn._replace(inputs=mapped(eqn.inputs)) for eqn in found.segments[i]]
            is_leaf = i == len(asked)
            out_tree = kept(path.out_tree) if is_leaf else None
            new.append(Node(eqns, mapped(found.tails[i]), tree.consts, None if is_leaf else asked[i], out_tree))
        for i, (parent, child) in enumerate(itertools.pairwise(new)):
            parent.children[asked[depth + i].key] = child
        for node in new[-2::-1]:
            node.note_children()
        if above:
            above[-1].children.setdefault(asked[depth - 1].key, new[0])
            for node in above[::-1]:
                node.note_children()
        else:
            tree.root = new[0]
        tree.count += 1
        self.tree = tree
        return f"path {tree.count}: {_told(asked, depth)}"

    def _aligned(self, path: Path) -> _Aligned | None:
        """Where a path parts from those that there are; None if the function has done something else before."""
        graph, asked, tree = path.graph, path.asked, self.tree
        segments = list(_segments(graph, len(asked)))
        tails: list[Sequence[Atom]] = [[a] for a in graph.outputs[len(graph.outputs) - len(asked) :]]
        tails.append(graph.outputs[: len(graph.outputs) - len(asked)])
        known: dict[Atom, Atom] = {}
        node = tree.root
        if node is not None:
            known.update(zip(graph.inputs, tree.inputs, strict=True))
        above: list[Node] = []
        while node is not None:
            depth = len(above)
            if node.asked is None and depth == len(asked):
                break
            if node.asked is None or depth == len(asked) or node.asked.kind != asked[depth].kind:
                return None
            if not _is_same(node, tree.consts, segments[depth], tails[depth], graph.consts, known):
                return None
            above.append(node)
            node = node.children.get(asked[depth].key)
        return _Aligned(tree, above, known, segments, tails, node is not None)

    def warn(self, path: Path, known: int) -> str:
        """Say, once, that there will be no program for more paths. What is to be said of this one in the log."""
        told = _told(path.asked, known)
        if not self._has_warned:
            self._has_warned = True
            last = path.asked[max(known - 1, 0)]
            source: Any = resolve(last.source)
            fix = last.instead or "Write np.where, tg.lax.cond or tg.lax.while_loop there, which are one program."
            message = (
                f"jit of {described(self._fun)} has met more than {self._most} paths through its branches, the latest where {told}. "
                "Those that have no program are traced at each call, and run op by op: the same results, but slower than "
                f"without jit. {fix} Or allow more by max_paths=."
            )
            warnings.warn_explicit(message, PathsWarning, source.file, source.line)
        return f"a path without a program, since {self._most} others have one (max_paths={self._most}): {told}"


def _is_same(
    node: Node,
    node_consts: Mapping[Var, Any],
    eqns: Sequence[Eqn],
    tail: Sequence[Atom],
    consts: Mapping[Var, Any],
    known: dict[Atom, Atom],
) -> bool:
    """Whether a segment is that of a node, whose variables are then `known` for its own."""

    def same(mine: Any, theirs: Any) -> bool:
        if type(mine) is Literal or type(theirs) is Literal:
            return type(mine) is type(theirs) and exactly(mine.value) == exactly(theirs.value)
        if mine in consts and mine not in known and theirs in node_consts:
            if not is_same_constant(consts[mine], node_consts[theirs]):
                return False
            known[mine] = theirs
        return known.get(mine) is theirs

    if len(node.eqns) != len(eqns):
        return False
    for mine, theirs in zip(eqns, node.eqns, strict=True):
        if mine.op is not theirs.op or exact_params(mine.params) != exact_params(theirs.params):
            return False
        if len(mine.inputs) != len(theirs.inputs) or not all(map(same, mine.inputs, theirs.inputs)):
            return False
        known.update(zip(mine.outputs, theirs.outputs, strict=True))
    return all(map(same, tail, node.outputs))


def _with(atoms: Sequence[Atom], known: Mapping[Atom, Atom]) -> tuple[Atom, ...]:
    return tuple([known.get(a, a) for a in atoms])


def _ordered(eqns: Sequence[Eqn]) -> Iterator[Var]:
    for eqn in eqns:
        yield from eqn.outputs


def _told(asked: Sequence[Asked], depth: int) -> str:
    """Where a path parts from those before it, with which it has so many answers in common but for the last."""
    return asked[max(depth - 1, 0)].told() if asked else "no value was asked for"


def _segments(graph: Graph, asked: int) -> Iterator[list[Eqn]]:
    """The equations that each value asked for needs, and no value before it; at the end those of the results."""
    makers = {v: i for i, eqn in enumerate(graph.eqns) for v in eqn.outputs}
    done: set[int] = set()
    count = len(graph.outputs) - asked
    for tail in (*[[a] for a in graph.outputs[count:]], graph.outputs[:count]):
        found: set[int] = set()
        waiting: list[Any] = list(tail)
        while waiting:
            number = makers.get(waiting.pop())
            if number is not None and number not in done and number not in found:
                found.add(number)
                waiting += graph.eqns[number].inputs
        done |= found
        yield [graph.eqns[number] for number in sorted(found)]
