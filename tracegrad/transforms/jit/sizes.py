"""One trace for arrays of any size along named axes: `jit(f, dims={"x": ("N", None)})`.

The function is traced at a few sizes. Its Graphs differ in numbers alone: shapes, indices, params. Each is found as a sum of multiples
of the sizes, or where they are not that, after a few traces more, as a polynomial of degree 2; either has one trace more than it takes to
agree with, or two. And the Graph for another size is the same Graph with
that size's numbers, of which all types are inferred anew. Where the Graphs differ in more, a branch or a loop in Python has
depended on a size, and the function is refused, with the line. So it is where a comparison with a size, which is noted as it is
traced (`core/sizes.py`), would come out otherwise at a size that comes later.

What is compared unseen (in C: by np.minimum(n, 5) or range) shows in the Graphs. It could come out otherwise only beyond the sizes
traced at, which is why for larger ones there is a trace at twice that, and small ones are traced for by themselves.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tracegrad import tree
from tracegrad.core.check import check
from tracegrad.core.constants import Lasting
from tracegrad.core.errors import (
    ConcretizationTypeError,
    GraphError,
    ShapeError,
    at,
    clip,
    described,
    resolve,
    user_source,
)
from tracegrad.core.graph import Graph
from tracegrad.core.sizes import Comparison, Size
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import ArrayType
from tracegrad.transforms.jit.alike import Differs, Made, Merging, NoPolynomial, Numbers, Sizes, monomials
from tracegrad.transforms.signatures import Backend, NameOf, Signatures
from tracegrad.transforms.static_arguments import Static

Dims = Mapping[str, tuple[str | None, ...]]

# Below the first, functions are traced as they are without names: arrays of 0 and 1 are another matter in NumPy. The first, the second
# and the last, which is large, lie on no line with halves, thirds and so on of them, rounded, or with their least powers of two; all
# are of both parities, all remainders by 3, a power of two, a square.
SAMPLES = (7, 12, 29, 64, 38, 17, 51, 1009)
LARGEST_SAMPLE = SAMPLES[-1]
MOST_NAMES = 2


def samples_for(names: Sequence[str], degree: int) -> list[dict[str, int]]:
    """Sizes to trace at: for degree 1 one more for each name than a sum of multiples has coefficients, the last of them large, and for
    degree 2, after these, two more than a polynomial has."""
    if not names:
        return []
    first, count = 2 * len(names), len(monomials([1] * len(names))) + 1
    found = [{n: SAMPLES[(i * (1 + 2 * k) + 4 * k) % 7] for k, n in enumerate(names)} for i in range(count)]
    found.insert(first, {n: LARGEST_SAMPLE - 36 * k for k, n in enumerate(names)})
    return found[: first + 1] if degree == 1 else found


# ---------------------------------------------------------------------------------------------------------------------
# The traces.


class Traced:
    """A trace at some sizes: the Graph before any pass, the structure of the results, what is known of arrays from outside, and
    the comparisons with sizes."""

    def __init__(self, graph: Graph, structure: Any, lasting: Lasting, noted: list[Comparison]) -> None:
        self.graph, self.structure, self.lasting, self.noted = graph, structure, lasting, noted


class Template:
    """A function traced at sampled sizes, and what it is at others."""

    def __init__(self, names: Sequence[str], trace: Callable[[Sizes], Traced]) -> None:
        self.names = names
        self._trace = trace
        self._degree = 1
        self._sampled = samples_for(names, 1)
        self._traces = [trace(s) for s in self._sampled]
        try:
            self._merge()
        except NoPolynomial:
            self._degree = 2
            for s in samples_for(names, 2)[len(self._sampled) :]:
                self._sampled.append(s)
                self._traces.append(trace(s))
            self._merge()

    def _merge(self) -> None:
        merging = Merging(Numbers(self.names, self._sampled, self._degree))
        self._guards = list(self._compared(merging))
        self._graph = merging.graph([t.graph for t in self._traces])
        first = self._traces[0]
        if any([t.structure != first.structure for t in self._traces]):
            raise Differs("the structure of the results differs")
        self.structure = first.structure
        self._looked_into = dict(first.lasting.looked_into)

    def _compared(self, merging: Merging) -> Iterator[tuple[Comparison, Made, Made]]:
        for column in itertools.zip_longest(*[t.noted for t in self._traces]):
            present = [c for c in column if c is not None]
            first = present[0]
            where = first.source
            if len(present) < len(column) or any(
                [(c.compare, c.holds) != (first.compare, first.holds) for c in column]
            ):
                raise Differs("it is compared here, and the outcome differs", where)
            merging.source = where
            left, right = [
                merging.value(side, "a number compared")
                for side in ([c.left for c in column], [c.right for c in column])
            ]
            yield first, left, right

    def for_one_call(self) -> bool:
        """Whether what was traced is for this call alone."""
        return any([t.lasting.written or Tracer in map(type, t.graph.consts.values()) for t in self._traces])

    def stale(self) -> bool:
        """Whether an array that the function closes over has become another one than it was when it was looked into."""
        return any([x.tobytes() != content for x, content in self._looked_into.values()])

    def at(self, sizes: Sizes) -> tuple[Graph, Lasting]:
        """The Graph at these sizes, and what is known of arrays from outside."""
        largest = [max([s[n] for s in self._sampled]) for n in self.names]
        if any([sizes[n] > most for n, most in zip(self.names, largest, strict=True)]):
            further = {n: max(2 * sizes[n], most + 1) for n, most in zip(self.names, largest, strict=True)}
            self._sampled.append(further)
            self._traces.append(self._trace(further))
            self._merge()
        for comparison, left, right in self._guards:
            if comparison.compare(left(sizes), right(sizes)) != comparison.holds:
                raise Differs("it is compared here, and the outcome differs", comparison.source)
        lasting = Lasting()
        lasting.looked_into.update(self._looked_into)
        graph = self._graph(sizes)
        check(graph)
        return graph, lasting


class SizedSignatures(Signatures):
    """What a function is traced for, for all sizes of named axes together."""

    def __init__(self, fun: Callable[..., Any], static: Static, dims: Dims, transform: str = "jit") -> None:
        super().__init__(fun, static, transform)
        self.dims = dims
        self._templates: dict[Any, Template] = {}
        self._quiet: set[Any] = set()

    def __reduce__(self) -> Any:
        return SizedSignatures, (self.fun, self._static, self.dims, self.transform)

    def of_another(self, fun: Callable[..., Any]) -> Signatures:
        return SizedSignatures(fun, self._static, self.dims, self.transform)

    def _traced(
        self,
        fun: Any,
        args: Any,
        kwargs: Any,
        types: Sequence[ArrayType],
        names: NameOf,
        backend: Backend,
        static: Any,
        guards: Any = None,
    ) -> tuple[Graph, Any, Lasting]:
        by_leaf = self._named_axes(types, names)
        sizes = self._sizes(types, names, by_leaf)

        def plainly(types: Sequence[ArrayType], passes: Callable[[Graph], Graph]) -> tuple[Graph, Any, Lasting]:
            how = Backend(backend.name, passes)
            return super(SizedSignatures, self)._traced(fun, args, kwargs, types, names, how, static)

        if min(sizes.values()) < SAMPLES[0]:
            return plainly(types, backend.passes)

        def trace(at_sizes: Sizes) -> Traced:
            noted: list[Comparison] = []
            known = {n: Size(v, noted) for n, v in at_sizes.items()}
            given = [
                ArrayType(
                    tuple([n if axis is None else known[axis] for axis, n in zip(axes, t.shape, strict=True)]),
                    t.dtype,
                    t.weak,
                )
                for t, axes in zip(types, by_leaf, strict=True)
            ]
            try:
                return Traced(*plainly(given, lambda graph: graph), noted)
            except Exception as error:
                error.add_note(f"(jit(dims=...) traces {described(self.fun)} at sizes of its own: {_said(at_sizes)})")
                raise

        in_tree = tree.tree_structure((args, kwargs) if kwargs else args)
        shapes = [
            (t.dtype, t.weak, *[n if axis is None else axis for axis, n in zip(axes, t.shape, strict=True)])
            for t, axes in zip(types, by_leaf, strict=True)
        ]
        key = (*self.key_of(in_tree, static, bool(kwargs), backend.name), *shapes)
        try:
            template = self._templates.get(key)
            if template is None or template.stale():
                template = Template(list(sizes), trace)
                if template.for_one_call():
                    return plainly(types, backend.passes)
                self._templates[key] = template
            else:
                self._quiet.add(tuple(types))
            graph, lasting = template.at(sizes)
        except Differs as found:
            raise ConcretizationTypeError(self._refusal(found, sizes)) from None
        except GraphError:
            return plainly(types, backend.passes)  # at this size something in the library is otherwise
        return backend.passes(graph), template.structure, lasting

    def note(
        self,
        key: Sequence[Any],
        types: Sequence[ArrayType],
        name: NameOf,
        why: str = "",
        is_kept: bool = True,
        once: str = "",
    ) -> None:
        if tuple(types) in self._quiet:
            self._quiet.discard(tuple(types))
        else:
            super().note(key, types, name, why, is_kept, once)

    def _named_axes(self, types: Sequence[ArrayType], names: NameOf) -> list[tuple[str | None, ...]]:
        """For each leaf the names of its axes."""
        found: list[tuple[str | None, ...]] = []
        called = [names(i) for i in range(len(types))]
        for leaf in self.dims:
            if leaf not in called:
                raise ValueError(
                    f"jit{at(user_source())}: dims names the axes of {leaf!r}, but the arrays among the arguments of "
                    f"{described(self.fun)} are {', '.join(called) or 'none'}"
                )
        for name, t in zip(called, types, strict=True):
            axes = self.dims.get(name, (None,) * t.ndim)
            if len(axes) != t.ndim:
                raise ShapeError(
                    f"jit{at(user_source())}: dims has {len(axes)} names for the axes of {name}, {axes}, but {name} is {t}; "
                    "write one for each, None for an axis of a fixed size"
                )
            found.append(axes)
        return found

    def _sizes(
        self, types: Sequence[ArrayType], names: NameOf, by_leaf: Sequence[tuple[str | None, ...]]
    ) -> dict[str, int]:
        found: dict[str, tuple[int, str]] = {}
        for i, (t, axes) in enumerate(zip(types, by_leaf, strict=True)):
            for axis, n in zip(axes, t.shape, strict=True):
                if axis is not None:
                    size, of = found.setdefault(axis, (n, names(i)))
                    if size != n:
                        raise ShapeError(
                            f"jit{at(user_source())}: {axis} is the size of axes of {of} and {names(i)}, but {of} has {size} "
                            f"there, and {names(i)}, {t}, has {n}"
                        )
        return {axis: n for axis, (n, _) in found.items()}

    def _refusal(self, found: Differs, sizes: Sizes) -> str:
        where = resolve(found.source)
        return (
            f"jit(dims=...){at(user_source())}: {described(self.fun)} is to be one program for every {' and '.join(sizes)}, but "
            f"what Python does{f' at {where}' if where is not None else ''} depends on that: {found}. Take the name out of "
            "dims, so that there is a program for each size, or leave the decision to the arrays (tnp.where, lax.scan)"
        )


def _said(sizes: Sizes) -> str:
    return ", ".join([f"{n}={v}" for n, v in sizes.items()])


def checked_dims(fun: Any, dims: Any) -> Dims:
    """The argument `dims` of `jit`, if it is one.

    >>> checked_dims(None, {"x": ("N", None)})
    {'x': ('N', None)}
    """
    how = "write a dict from names of arrays to a name or None for each axis, such as dims={'x': ('N', None)}"
    if not isinstance(dims, Mapping) or not all([isinstance(n, str) for n in dims]):
        raise TypeError(f"jit{at(user_source())}: dims is {clip(repr(dims))}; {how}")
    found: dict[str, tuple[str | None, ...]] = {}
    for leaf, axes in dims.items():
        if not isinstance(axes, tuple | list) or not all([n is None or isinstance(n, str) for n in axes]):
            raise TypeError(f"jit{at(user_source())}: dims[{leaf!r}] is {clip(repr(axes))}; {how}")
        found[leaf] = tuple(axes)
    names = {n for axes in found.values() for n in axes if n is not None}
    if not 1 <= len(names) <= MOST_NAMES:
        raise ValueError(
            f"jit{at(user_source())}: dims has {len(names)} names of sizes, {sorted(names)}; it takes one to {MOST_NAMES}"
        )
    return found
