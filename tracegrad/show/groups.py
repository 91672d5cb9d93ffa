"""The groups that the boxes of a drawing are in: which are worth a box, which are alike, and which are open at first.

No group has many boxes of its own, so that each is laid out in no time. All of it is linear in the number of equations, and nothing
recurs over it.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from tracegrad.core.graph import Graph, exact_params
from tracegrad.show.boxes import CONSTANT, EQUATION, INPUT, OUTPUT, Builder, Group, Node

# How many boxes a group shows of its own, and how many show at first.
BOXES = 40
SHOWN = 60
# Folding what does the same helps where there is much of it.
_ALIKE = 3
_CHAIN = 3


class Groups:
    """The tree of groups, made smaller where it tells nothing, and larger where a group would have too many boxes."""

    def __init__(self, built: Builder) -> None:
        self.built, self.groups, self.nodes = built, built.groups, built.nodes
        self.count = sum([node.kind == EQUATION for node in self.nodes])
        self.inside: list[int] = []  # how many equations are in each group

    def arrange(self) -> list[Group]:
        self.dissolve()
        self.built.number()
        self.nodes, self.edges = self.built.nodes, self.built.edges
        if self.count > SHOWN:
            self.chains()
            self.repeats()
        self.place()
        self.split()
        return self.numbered()

    def sizes(self) -> list[int]:
        """How many equations are in each group, and in those within."""
        sizes = [0] * len(self.groups)
        for node in self.nodes:
            if node.kind == EQUATION:
                sizes[node.group] += 1
        for g in self.downward()[:0:-1]:
            sizes[self.groups[g].parent] += sizes[g]
        return sizes

    def dissolve(self) -> None:
        """Without functions that are all of what they are in or hold one scope alone, and what has one equation only."""
        sizes = self.sizes()
        scoped = {g.parent for i, g in enumerate(self.groups) if g.kind == "scope" and sizes[i] == sizes[g.parent]}
        into = list(range(len(self.groups)))
        for g, group in enumerate(self.groups[1:], 1):
            group.parent = into[group.parent]
            lone = group.kind in ("function", "backward") and sizes[g] < 2
            if lone or (group.kind == "function" and (sizes[g] == sizes[group.parent] or g in scoped)):
                into[g] = group.parent
        for node in self.nodes:
            node.group = into[node.group]
        self.keep([g for g in range(len(self.groups)) if into[g] == g])

    def keep(self, kept: Sequence[int]) -> None:
        """These groups alone, in this order."""
        new = {g: i for i, g in enumerate(kept)}
        self.groups = [self.groups[g] for g in kept]
        for group in self.groups:
            group.parent = new.get(group.parent, -1)
            group.like = new.get(group.like, -1)
        for node in self.nodes:
            node.group = new[node.group]

    def chains(self) -> None:
        """Elementwise equations of which each is used by the next one alone, where they are not all of a group."""
        users: dict[int, list[int]] = defaultdict(list)
        for a, b, _ in self.edges:
            users[a].append(b)
        own = Counter(node.group for node in self.nodes if node.kind == EQUATION)
        after: dict[int, int] = {}
        before: set[int] = set()
        holders = {group.node for group in self.groups}
        for i, node in enumerate(self.nodes):
            if not self.chainable(i, holders) or len(users[i]) != 1:
                continue
            (j,) = users[i]
            other = self.nodes[j]
            if (
                self.chainable(j, holders)
                and (node.group, node.phase) == (other.group, other.phase)
                and j not in before
            ):
                after[i] = j
                before.add(j)
        for i in [i for i in after if i not in before]:
            chain = [i]
            while chain[-1] in after:
                chain.append(after[chain[-1]])
            if _CHAIN <= len(chain) < own[self.nodes[i].group]:
                names = [self.nodes[k].name for k in chain]
                if len(names) > 4:
                    names = [*names[:2], "…", f"{names[-1]} ({len(chain)})"]
                self.groups.append(Group("·".join(names), "chain", self.nodes[i].group))
                for k in chain:
                    self.nodes[k].group = len(self.groups) - 1

    def chainable(self, i: int, holders: set[int]) -> bool:
        node = self.nodes[i]
        return node.eqn is not None and node.eqn.op.elementwise and i not in holders

    def children(self) -> list[list[tuple[int, int, int]]]:
        """Of each group its boxes, as (the first node there, 0 or 1 for a group, number), in the order of execution."""
        first = [len(self.nodes)] * len(self.groups)
        for i in range(len(self.nodes) - 1, -1, -1):
            first[self.nodes[i].group] = i
        order = self.downward()
        for g in reversed(order[1:]):
            parent = self.groups[g].parent
            first[parent] = min(first[parent], first[g])
        found: list[list[tuple[int, int, int]]] = [[] for _ in self.groups]
        for i, node in enumerate(self.nodes):
            found[node.group].append((i, 0, i))
        for g in order[1:]:
            found[self.groups[g].parent].append((first[g], 1, g))
        for boxes in found:
            boxes.sort()
        return found

    def downward(self) -> list[int]:
        """The groups, each after the one that it is in."""
        inner: list[list[int]] = [[] for _ in self.groups]
        for g, group in enumerate(self.groups[1:], 1):
            inner[group.parent].append(g)
        order = [0]
        for g in order:
            order += inner[g]
        return order

    def repeats(self) -> None:
        """Groups that stand next to one another and do the same, in one group."""
        boxes = self.children()
        deepest_first = self.downward()[::-1]
        marks: dict[int, Any] = {}
        for parent in deepest_first:
            alike: list[int] = []
            last: Any = None
            for _, is_group, number in [*boxes[parent], (0, 1, -1)]:
                if not is_group:
                    node = self.nodes[number]
                    if node.kind != EQUATION or node.phase or number in {self.groups[g].node for g in alike[:1]}:
                        continue
                    mark = None
                elif number < 0 or self.groups[number].kind in ("backward", "chain"):
                    if number >= 0 and self.groups[number].kind == "backward":
                        continue
                    mark = None
                else:
                    mark = (
                        _stem(self.groups[number].name),
                        self.groups[number].kind,
                        self.signature(number, boxes, marks),
                    )
                if mark is None or mark != last:
                    self.fold(parent, alike)
                    alike = []
                last = mark
                if mark is not None:
                    alike.append(number)

    def fold(self, parent: int, alike: Sequence[int]) -> None:
        if len(alike) < _ALIKE:
            return
        stem = _stem(self.groups[alike[0]].name)
        self.groups.append(Group(f"{stem} × {len(alike)}", "repeat", parent))
        for g in alike:
            self.groups[g].parent, self.groups[g].like = len(self.groups) - 1, alike[0]
        self.groups[-1].like, self.groups[alike[0]].like = alike[0], -1

    def signature(self, group: int, boxes: Sequence[Sequence[tuple[int, int, int]]], marks: dict[int, Any]) -> Any:
        """What is equal for groups whose forward equations do the same to what they take from outside."""
        local: dict[int, int] = {}
        found = []
        stack = [iter(boxes[group])]
        while stack:
            for _, is_group, number in stack[-1]:
                if is_group:
                    stack.append(iter(boxes[number]))
                    break
                node = self.nodes[number]
                if node.eqn is None or node.phase:
                    continue
                ins = [local.get(v, -1) if type(v) is int else v for v in node.ins]
                for v in node.outs:
                    local[v] = len(local)
                types = tuple([str(v.type) for v in node.eqn.outputs])
                params = {k: v for k, v in node.eqn.params.items() if not _holds_graphs(v)}  # which are boxes here
                found.append((node.name, tuple(ins), types, exact_params(params)))
            else:
                stack.pop()
        return hash(tuple(found)), len(found)

    def place(self) -> None:
        """Parts of arguments and constants go where all is that takes them, and marks of outputs where these are made. Arguments that
        are arrays themselves stay where the drawing begins, and in a small one all do."""
        depth = [0] * len(self.groups)
        for g in self.downward()[1:]:
            depth[g] = depth[self.groups[g].parent] + 1
        homes: dict[int, int] = {}
        for a, b, _ in self.edges:
            if self.nodes[a].kind in (INPUT, CONSTANT) and self.nodes[b].kind != OUTPUT:
                g = self.nodes[b].group
                home = homes.get(a, g)
                while g != home:
                    if depth[g] >= depth[home]:
                        g = self.groups[g].parent
                    else:
                        home = self.groups[home].parent
                homes[a] = home
        for a, home in homes.items():
            whole = self.count <= SHOWN or self.nodes[a].name.isidentifier()
            if self.nodes[a].kind == CONSTANT or not whole:
                self.nodes[a].group = home
        for a, b, _ in self.edges:
            if self.nodes[b].kind == OUTPUT and self.nodes[a].kind == EQUATION:
                self.nodes[b].group = self.nodes[a].group

    def split(self) -> None:
        """What a group has beyond so many boxes is in a group again, and in as many groups as are few enough."""
        first: dict[int, int] = {}
        for a, b, _ in self.edges:
            if a not in first:
                first[a] = b
        self.inside = self.sizes()
        for g, boxes in enumerate(self.children()):
            # An input stands by what takes it first, an output by what makes it.
            keyed = []
            for i, is_group, number in boxes:
                node = None if is_group else self.nodes[number]
                at = first.get(number, i) if node is not None and node.kind in (INPUT, CONSTANT) else i
                keyed.append((at, is_group, number))
            keyed.sort()
            is_list = self.groups[g].kind == "repeat" or self.count <= SHOWN
            if len(keyed) <= (3 * BOXES if is_list else BOXES + 2):
                continue
            rest = len(self.groups)
            self.groups.append(Group("", "rest", g))
            self.fill(rest, [(is_group, number) for _, is_group, number in keyed[BOXES:]])

    def fill(self, group: int, boxes: list[tuple[int, int]]) -> None:
        """Put boxes into a group, in as many groups of so many as it takes."""
        counts = [self.count_in(*box) for box in boxes]
        while len(boxes) > BOXES:
            made, sums = [], []
            for start in range(0, len(boxes), BOXES):
                part = boxes[start : start + BOXES]
                sums.append(sum(counts[start : start + BOXES]))
                self.groups.append(Group(f"{sums[-1]} more", "rest", group))
                self.move(part, len(self.groups) - 1)
                made.append((1, len(self.groups) - 1))
            boxes, counts = made, sums
        self.groups[group].name = f"{sum(counts)} more"
        self.move(boxes, group)

    def count_in(self, is_group: int, number: int) -> int:
        return self.inside[number] if is_group else int(self.nodes[number].kind == EQUATION)

    def move(self, boxes: Iterable[tuple[int, int]], group: int) -> None:
        for is_group, number in boxes:
            if is_group:
                self.groups[number].parent = group
            else:
                self.nodes[number].group = group

    def numbered(self) -> list[Group]:
        """The groups with each after the one that it is in, and none that is empty."""
        used = [False] * len(self.groups)
        for node in self.nodes:
            used[node.group] = True
        order = self.downward()
        for g in reversed(order[1:]):
            if used[g]:
                used[self.groups[g].parent] = True
        self.keep([g for g in order if used[g] or not g])
        return self.groups


def _holds_graphs(value: Any) -> bool:
    return any([type(part) is Graph for part in (value if type(value) is tuple else (value,))])


def _stem(name: str) -> str:
    """A name without the number at its end: that of `layer_3`, `layers[3]`, `layer.2` is theirs together."""
    return name.rstrip("0123456789])").rstrip("._-[( ") or name


# ---------------------------------------------------------------------------------------------------------------------
# Which groups are open at first.


def open_groups(nodes: Sequence[Node], groups: Sequence[Group], depth: int | str) -> None:
    """Open the groups that are less deep than `depth`; for "auto" those with most equations, as long as few boxes show, and no
    more backward ones than are needed."""
    sizes = [0] * len(groups)
    boxes = [0] * len(groups)
    for node in nodes:
        sizes[node.group] += node.kind == EQUATION
        boxes[node.group] += node.kind != OUTPUT
    inner: list[list[int]] = [[] for _ in groups]
    levels = [0] * len(groups)
    for g in range(len(groups) - 1, 0, -1):
        parent = groups[g].parent
        sizes[parent] += sizes[g]
        boxes[parent] += groups[g].node < 0
        inner[parent].append(g)
    for g, group in enumerate(groups[1:], 1):
        levels[g] = levels[group.parent] + 1
    groups[0].open = True
    if depth != "auto":
        for g, group in enumerate(groups[1:], 1):
            group.open = levels[g] <= int(depth) and group.kind != "backward" and groups[group.parent].open
        return

    def repeats(group: Group) -> bool:
        """Whether it is what another one is, which stands for all of them."""
        return group.like >= 0 and group.kind != "repeat"

    shown = boxes[0]
    waiting = [(-sizes[g], g) for g in inner[0]]
    heapq.heapify(waiting)
    while waiting:
        _, g = heapq.heappop(waiting)
        group = groups[g]
        if group.kind == "backward" or shown + boxes[g] - 1 > SHOWN or repeats(group):
            continue
        group.open = True
        shown += boxes[g] - 1
        for h in inner[g]:
            heapq.heappush(waiting, (-sizes[h], h))
