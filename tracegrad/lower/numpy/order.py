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
    reads later, and it stays the last to read these, which it may write over; else it begins a group. Groups are run in the
    order of their first equations, and what is in one as it stood: inputs come before, and no more memory is needed at any
    time.
    """
    eqns = graph.eqns
    if sum([size_of(v.type) for e in eqns for v in e.outputs]) < CACHE:
        return graph
    last = {a: i for i, e in enumerate(eqns) for a in e.inputs if type(a) is Var}
    returned = {a for a in graph.outputs if type(a) is Var}
    group: dict[Var, int] = {}  # of what an equation makes, the number of the one that its group begins with
    read: dict[Var, int] = {}  # the latest group in which a variable is read so far
    members: dict[int, list[int]] = {}
    for i, e in enumerate(eqns):
        inputs = {a for a in e.inputs if type(a) is Var}
        made = [group[a] for a in inputs if a in group]
        home = max(made, default=i)
        ending = [a for a in inputs if last[a] == i and a not in returned]
        freed = sum([size_of(a.type) for a in ending if a in group])
        needed = sum([size_of(v.type) for v in e.outputs])
        if e.op.acts(e.params) or not 0 < needed <= freed or any([read.get(a, 0) > home for a in ending]):
            home = i
        members.setdefault(home, []).append(i)
        group.update(dict.fromkeys(e.outputs, home))
        read.update({a: max(home, read.get(a, 0)) for a in inputs})
    return replace(graph, eqns=tuple([eqns[i] for home in sorted(members) for i in members[home]]))
