"""The structure of a tree, without its leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tracegrad.tree.nodes import Fault, clip, in_order
from tracegrad.tree.walks import (
    Spec,
    add_details,
    composed,
    count,
    cut_off,
    equal,
    put_together,
    show_spec,
    sorted_everywhere,
    walk,
    with_data,
)


class PyTreeDef:
    """The structure of a tree, without its leaves. Immutable, equal and hashable by structure, picklable.

    `hash` raises TypeError where the aux data of a registered type are not hashable.

    >>> import tracegrad as tg
    >>> tg.tree.structure({"b": (1, 2), "a": 3.0})
    PyTreeDef({'a': *, 'b': (*, *)})
    """

    __slots__ = ("_num_leaves", "_spec")

    def __init__(self, spec: Spec, num_leaves: int) -> None:
        self._spec = spec
        self._num_leaves = num_leaves

    @property
    def num_leaves(self) -> int:
        return self._num_leaves

    @property
    def num_nodes(self) -> int:
        """The number of containers, Nones and leaves together."""
        return count(self._spec)[1]

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        """The tree of this structure with these leaves; ValueError if they are too few or too many."""
        return put_together(self._spec, iter(self._counted(leaves)))

    def _counted(self, leaves: Iterable[Any]) -> list[Any]:
        leaves = list(leaves)
        if len(leaves) != self._num_leaves:
            raise ValueError(
                f"Too {'few' if len(leaves) < self._num_leaves else 'many'} leaves for {clip(self)}; expected"
                f" {self._num_leaves}, got {len(leaves)}. Pass one for each *, in the order of tree_leaves."
            )
        return leaves

    def flatten_up_to(self, tree: Any) -> list[Any]:
        """The subtrees of `tree` that stand where this structure has leaves; ValueError if `tree` differs above."""
        return subtrees(self._spec, tree, "flatten_up_to", "treedef", "tree")

    def compose(self, inner: PyTreeDef) -> PyTreeDef:
        """This structure with `inner` in the place of each leaf.

        >>> import tracegrad as tg
        >>> tg.tree.structure([0, (0,)]).compose(tg.tree.structure({"a": 0}))
        PyTreeDef([{'a': *}, ({'a': *},)])
        """
        if not isinstance(inner, PyTreeDef):
            raise TypeError(f"compose takes a PyTreeDef, got {clip(inner)}; write tree_structure(tree)")
        return PyTreeDef(composed(self._spec, inner._spec), self._num_leaves * inner._num_leaves)

    def walk(
        self,
        f_node: Callable[[tuple[Any, ...], Any], Any],
        f_leaf: Callable[[Any], Any] | None,
        leaves: Iterable[Any],
    ) -> Any:
        """Call `f_leaf` of each leaf, and `f_node(children, data)` of each node with what that made of its children and with
        what it needs besides (of a dict the sorted keys, as a list); what it makes of the root. `f_leaf=None` hands the
        leaves on as they are. ValueError if they are too few or too many.

        >>> import tracegrad as tg
        >>> tg.tree.structure({"a": 0, "b": (0, 0)}).walk(lambda children, data: sum(children), lambda x: 10 * x, [1, 2, 3])
        60
        """
        leaves = self._counted(leaves)
        return walk(self._spec, f_node, iter(leaves) if f_leaf is None else (f_leaf(x) for x in leaves))

    def children(self) -> list[PyTreeDef]:
        """The structures of the root's children."""
        return [PyTreeDef(child, count(child)[0]) for child in (self._spec or ())[2:]]

    def node_data(self) -> tuple[type, Any] | None:
        """The root's type and what it needs besides its children (of a dict the sorted keys); None for a leaf."""
        return None if self._spec is None else self._spec[:2]

    def keys_in_order(self) -> tuple[Any, ...]:
        """The keys of a dict at the root, in the order in which they stood."""
        return () if self._spec is None else in_order(self._spec[1])

    def details(self) -> list[Any]:
        """What each node needs besides its children, where that is anything, the keys of dicts in the order in which they
        stood. Structures that compare equal have as many, but may differ here: by that order, and by 1, 1.0 and True."""
        found: list[Any] = []
        if self._spec is not None:
            add_details(self._spec, found)
        return found

    def with_data(self, change: Callable[[Any], Any]) -> PyTreeDef:
        """The structure with `change(data)` for what each node needs besides its children."""
        return PyTreeDef(with_data(self._spec, change), self._num_leaves)

    def is_sorted(self) -> bool:
        """Whether all dicts have their keys in sorted order."""
        return self._spec is None or sorted_everywhere(self._spec)

    def __eq__(self, other: object) -> bool:
        return equal(self._spec, other._spec) if isinstance(other, PyTreeDef) else NotImplemented

    def __hash__(self) -> int:
        try:
            return hash(self._spec)
        except TypeError as why:
            raise TypeError(
                f"{clip(self)} cannot be hashed ({why}): aux data (meta_fields) of registered types must be hashable,"
                " for they tell one compiled function from another. Use a tuple for a list."
            ) from None

    def __repr__(self) -> str:
        return f"PyTreeDef({show_spec(self._spec)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return PyTreeDef, (self._spec, self._num_leaves)


LEAF = PyTreeDef(None, 1)


def subtrees(spec: Spec, tree: Any, who: str, ours: str, theirs: str) -> list[Any]:
    if spec is None:
        return [tree]
    found: list[Any] = []
    try:
        cut_off(spec, tree, found)
    except Fault as fault:
        advice = f"{theirs} must have the containers of {ours}; where {ours} has a leaf, it may have any subtree."
        raise fault.mismatch(who, ours, theirs, advice, tree) from None
    return found


def treedef_is_leaf(treedef: PyTreeDef) -> bool:
    """Whether the structure is a single node: a leaf or, as in jax, an empty container.

    >>> import tracegrad as tg
    >>> treedef_is_leaf(tg.tree.structure(1)), treedef_is_leaf(tg.tree.structure([1]))
    (True, False)
    """
    return treedef.num_nodes == 1


def treedef_children(treedef: PyTreeDef) -> list[PyTreeDef]:
    """The structures of the root's children.

    >>> import tracegrad as tg
    >>> treedef_children(tg.tree.structure([(1, 2), 3]))
    [PyTreeDef((*, *)), PyTreeDef(*)]
    """
    return treedef.children()


def treedef_tuple(treedefs: Iterable[PyTreeDef]) -> PyTreeDef:
    """The structure of a tuple of trees of these structures.

    >>> import tracegrad as tg
    >>> treedef_tuple([tg.tree.structure(1), tg.tree.structure([2, 3])])
    PyTreeDef((*, [*, *]))
    """
    parts = list(treedefs)
    return PyTreeDef((tuple, None, *[part._spec for part in parts]), sum([part.num_leaves for part in parts]))
