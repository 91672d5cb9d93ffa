"""In which order the equations of a Graph are run: what uses an array up comes while that is in the cache."""

from __future__ import annotations

from tracegrad.core.graph import Graph, Var, replace
from tracegrad.lower.numpy.memory import size_of

# In bytes. What all results together are less than stays in the cache in any order.
CACHE = 1 << 18


def near_their_inputs(graph: Graph) -> Graph:
    """The same equations, of which each that uses up as much memory as it needs comes up to those that made its inputs. A step
    that computes the updates of all parameters, and then adds each, adds each as soon as it is there.

    An equation belongs to the group of the latest of its inputs where what it makes is no larger than those of them that nothing
    reads later; else it begins a group. Groups are run in the order of their first equations, and what is in one as it
    stood: inputs come before, and no more memory is needed at any time.
    """
    eqns = graph.eqns
    if sum([size_of(v.type) for e in eqns for v in e.outputs]) < CACHE:
        return graph
    last = {a: i for i, e in enumerate(eqns) for a in e.inputs if type(a) is Var}
    returned = {a for a in graph.outputs if type(a) is Var}
    group: dict[Var, int] = {}  # of what an equation makes, the number of the one that its group begins with
    members: dict[int, list[int]] = {}
    for i, e in enumerate(eqns):
        made = {a for a in e.inputs if type(a) is Var and a in group}
        freed = sum([size_of(a.type) for a in made if last[a] == i and a not in returned])
        needed = sum([size_of(v.type) for v in e.outputs])
        home = max([group[a] for a in made]) if made and 0 < needed <= freed else i
        members.setdefault(home, []).append(i)
        group.update(dict.fromkeys(e.outputs, home))
    return replace(graph, eqns=tuple([eqns[i] for home in sorted(members) for i in members[home]]))
