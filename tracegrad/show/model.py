"""What is in a drawing: the variables, boxes and arrows of a Graph (`boxes.py`), and the tree of groups that its boxes are in
(`groups.py`).

A group is one box until it is opened. Groups are made of, from the outside in: named scopes and functions of the user's, as they
were entered; the Graphs that an equation holds; what derivative rules recorded, in the group of what they are the rules of;
chains of elementwise equations. Neighbours that do the same are one box "block × 12", and what a group has beyond so many boxes
is a group again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tracegrad.core.graph import Graph
from tracegrad.show.boxes import Builder, Group, Instance, Node, Variable
from tracegrad.show.groups import Groups, open_groups


class Model(NamedTuple):
    """Nodes are in the order of execution, inputs and constants first, marks of outputs last. A group's parent comes before it;
    group 0 is the whole."""

    title: str
    variables: list[Variable]
    nodes: list[Node]
    edges: list[tuple[int, int, int]]
    groups: list[Group]
    whole: Instance


def model(graph: Graph, depth: int | str = "auto", outputs: Sequence[str] | None = None) -> Model:
    """What is in the drawing of a Graph. `depth` says how many groups in one another are open at first, and `outputs` what the
    Graph's outputs are called."""
    built = Builder(graph, outputs)
    built.build()
    groups = Groups(built).arrange()
    found = Model(graph.name, built.variables, built.nodes, built.edges, groups, built.whole)
    open_groups(found.nodes, groups, depth)
    return found
