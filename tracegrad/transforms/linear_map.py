"""The linear functions that `vjp`, `linearize` and `linear_transpose` return.

They are trees: a jitted function may take and return them, and pickle may. What is static of one is a Graph of the map, made
when somebody asks for it; the leaves are the arrays that it keeps of the point at which it was taken. Until then it is applied
as the transform that made it applies it, on the equations that were recorded.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tracegrad import tree
from tracegrad.core.boxes import accepting_jax, unboxed
from tracegrad.core.graph import Graph, closed, evaluate
from tracegrad.core.tracebacks import trimming
from tracegrad.core.tracing import trace_graph
from tracegrad.core.types import ArrayType, ShapeDtypeStruct, is_inexact
from tracegrad.transforms.arguments import matching
from tracegrad.transforms.batch import own_arrays
from tracegrad.transforms.linear import at_positions, strong


class Space(NamedTuple):
    """What a linear map takes or gives: a tree of arrays of these types."""

    tree: tree.PyTreeDef
    types: tuple[ArrayType, ...]

    def floating(self) -> list[int]:
        return [i for i, t in enumerate(self.types) if is_inexact(t.dtype)]


class Kind(NamedTuple):
    """Whose function it is, for errors: the transform, what the map takes, and of what these are the tangents or cotangents;
    and whether it takes a tuple of them as its arguments."""

    transform: str
    what: str
    of: str
    several: bool


class Linear:
    """A linear map as a transform makes it. Unlike a `LinearMap` it is no tree, but a leaf.

    apply   of flat arrays, None where there is no derivative, flat results, None for zero
    own     what results must not share memory with, besides what is given
    beside  what the given arrays may have to become constants beside (`programs.lifted`)
    """

    __slots__ = ("apply", "beside", "kind", "likes", "own", "source", "target")

    def __init__(
        self,
        kind: Kind,
        source: Space,
        target: Space,
        apply: Callable[[Sequence[Any]], Sequence[Any]],
        likes: Sequence[Any],
        own: Sequence[Any] = (),
        beside: Sequence[Any] = (),
    ) -> None:
        self.kind = kind
        self.source = source
        self.target = target
        self.apply = apply
        self.likes = likes
        self.own = own
        self.beside = beside

    def __call__(self, *args: Any) -> Any:
        kind = self.kind
        given = matching(
            args if kind.several else args[0],
            self.source.tree,
            self.source.types,
            kind.transform,
            kind.what,
            kind.of,
            self.beside,
        )
        found = own_arrays(list(self.apply(given)), self.likes, [*given, *self.own])
        return tree.tree_unflatten(self.target.tree, found)

    def graph(self) -> tuple[Graph, tuple[int, ...]]:
        """The map as a Graph of what is floating, and which of the results it gives; the others are zero."""
        active = self.source.floating()
        found: list[int] = []

        def flat(*arrays: Any) -> list[Any]:
            results = self.apply(at_positions(len(self.source.types), active, arrays))
            found[:] = [i for i, r in enumerate(results) if r is not None]
            return [results[i] for i in found]

        types = [strong(self.source.types[i]) for i in active]
        return trace_graph(flat, types, transform=self.kind.transform, user_function=self.apply, abstract=True), tuple(
            found
        )


class Structure(NamedTuple):
    """What is static of a linear map: a Graph of what it takes and of its leaves."""

    kind: Kind
    source: Space
    target: Space
    graph: Graph
    found: tuple[int, ...]


class LinearMap:
    """A linear function of tangents or cotangents. It is a tree, whose leaves are the arrays that it keeps: jitted functions
    may take and return it, and it can be pickled."""

    def __init__(self, linear: Linear | None, flat: tuple[tuple[Any, ...], Structure] | None = None) -> None:
        self._linear = linear
        self._flat = flat
        self._call = accepting_jax(_applied if linear is None else linear)

    @trimming
    def __call__(self, *args: Any) -> Any:
        name = (self._linear or self.flat()[1]).kind
        if not name.several and len(args) != 1:
            raise TypeError(
                f"what {name.transform} returns takes one argument, the {name.what} of the {name.of}, got {len(args)}"
            )
        if self._linear is not None:
            return self._call(*args)
        leaves, structure = self.flat()
        return self._call(structure, leaves, args)

    def flat(self) -> tuple[tuple[Any, ...], Structure]:
        """The leaves and the structure."""
        if self._flat is None:
            assert self._linear is not None
            made, found = self._linear.graph()
            graph, leaves = closed(made)
            kind, source, target = self._linear.kind, self._linear.source, self._linear.target
            self._flat = tuple(map(unboxed, leaves)), Structure(kind, source, target, graph, found)
        return self._flat

    def __reduce__(self) -> Any:
        leaves, structure = self.flat()
        return _unflatten, (structure, leaves)

    def __copy__(self) -> LinearMap:
        return self

    def __deepcopy__(self, memo: Any) -> LinearMap:
        leaves, structure = self.flat()
        return _unflatten(structure, copy.deepcopy(leaves, memo))

    def __repr__(self) -> str:
        kind = (self._linear or self.flat()[1]).kind
        return f"<linear function made by {kind.transform}, of {kind.what} like the {kind.of}>"


def _applied(structure: Structure, leaves: Sequence[Any], args: tuple[Any, ...]) -> Any:
    kind, source, target, graph, found = structure

    def apply(given: Sequence[Any]) -> list[Any]:
        outputs = evaluate(graph, [*[given[i] for i in source.floating()], *leaves])
        results = at_positions(len(target.types), found, outputs)
        return results

    likes = [ShapeDtypeStruct(t.shape, t.dtype) for t in target.types]
    return Linear(kind, source, target, apply, likes, leaves, leaves)(*args)


def _unflatten(structure: Structure, leaves: Any) -> LinearMap:
    return LinearMap(None, (tuple(leaves), structure))


tree.register_pytree_node(LinearMap, lambda x: x.flat(), _unflatten)
