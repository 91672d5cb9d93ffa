"""One trace for arrays of any size along named axes: `jit(f, dims={"x": ("N", None)})`.

The function is traced once, at sizes that know what they are made of (`symbolic.py`). Where that does not say what it does at others,
because Python or NumPy has made a plain number of a size, it is traced at a few. Its Graphs differ in numbers alone: shapes, indices, params. Each is found as a sum of multiples
of the sizes, of quotients and remainders that the user's code took of them, or where it is not that, after a few traces more, as a
polynomial of degree 2; either has one trace more than it takes to agree with, or two. And the Graph for another size is the same Graph
with that size's numbers, of which all types are inferred anew. Where the Graphs differ in more, a branch or a loop in Python has
depended on a size, and the function is refused, with the line. So it is where a comparison with a size, which is noted as it is
traced (`core/sizes.py`), would come out otherwise at a size that comes later.

What is made of a size as a plain number is compared unseen (`np.zeros(n)`, `range(n)`, `len(x)`): then each size that comes later is
traced at too, and what that gives must be the Graph of it. What this library compares shows in the Graphs: beyond the sizes traced at
it might come out otherwise, which is why for larger ones there is a trace at twice that, and small ones are traced for by themselves.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tracegrad import tree
from tracegrad.core.check import check
from tracegrad.core.constants import Lasting
from tracegrad.core.context import sizing
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
from tracegrad.core.sizes import Comparison, Notes
from tracegrad.core.symbols import SymbolNotes, symbol
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import ArrayType
from tracegrad.transforms.jit.alike import (
    Differs,
    Made,
    Merging,
    NoPolynomial,
    Numbers,
    Sizes,
    TooFew,
    are_alike,
    monomials,
)
from tracegrad.transforms.jit.symbolic import MetByChance, NotSymbolic, SymbolicTemplate
from tracegrad.transforms.signatures import Backend, NameOf, Signatures
from tracegrad.transforms.static_arguments import Static

Dims = Mapping[str, tuple[str | None, ...]]

# Below the first, functions are traced as they are without names: arrays of 0 and 1 are another matter in NumPy. The first, the second
# and the large one lie on no line with halves, thirds and so on of them, rounded, or with their least powers of two; all
# are of both parities, all remainders by 3, a power of two, a square.
SAMPLES = (7, 12, 29, 64, 38, 17, 51, 83, 100, 23, 71, 45, 96)
LARGEST_SAMPLE = 1009
MOST_NAMES = 2


def samples_for(names: Sequence[str], count: int) -> list[dict[str, int]]:
    """So many sizes to trace at, of which the large ones come behind two for each name."""
    modulus = len(SAMPLES)
    found = [{n: SAMPLES[(i * (1 + 2 * k) + 4 * k) % modulus] for k, n in enumerate(names)} for i in range(count - 1)]
    found.insert(2 * len(names), {n: LARGEST_SAMPLE - 36 * k for k, n in enumerate(names)})
    return found


def count_for(names: Sequence[str], degree: int) -> int:
    """For degree 1, one for each name more than a sum of multiples has coefficients; for degree 2, two more than a polynomial has."""
    return 1 + 2 * len(names) if degree == 1 else len(monomials([1] * len(names))) + 2


# ---------------------------------------------------------------------------------------------------------------------
# The traces.


class Traced:
    """A trace at some sizes: the Graph before any pass, the structure of the results, what is known of arrays from outside, and
    what was done with sizes."""

    def __init__(self, graph: Graph, structure: Any, lasting: Lasting, notes: Notes) -> None:
        self.graph, self.structure, self.lasting, self.notes = graph, structure, lasting, notes


class Template:
    """A function traced at sampled sizes, and what it is at others."""

    def __init__(self, names: Sequence[str], trace: Callable[[Sizes], Traced]) -> None:
        self.names = names
        self._trace = trace
        self._degree = 1
        self._sampled: list[Sizes] = []
        self._traces: list[Traced] = []
        self._looked_into: dict[int, Any] = {}
        self._sample(count_for(names, 1))
        self._merge()

    def _sample(self, count: int) -> None:
        if count > len(SAMPLES):
            raise Differs("there are too many quotients and remainders of sizes", self._traces[0].notes.used[-1].source)
        for sizes in samples_for(self.names, count)[len(self._traces) :]:
            self._add(sizes)

    def _add(self, sizes: Sizes) -> None:
        self._sampled.append(sizes)
        self._traces.append(self._trace(sizes))

    def _merge(self) -> None:
        """Find what all traces have in common, of more of them if need be."""
        try:
            self._merge_these()
        except TooFew as few:
            self._sample(few.count)
            self._merge()
        except NoPolynomial:
            if self._degree == 2:
                raise
            self._degree = 2
            self._sample(count_for(self.names, 2))
            self._merge()

    def _merge_these(self) -> None:
        merging = Merging(Numbers(self.names, self._sampled, self._degree))
        self._guards = list(self._compared(merging))
        self._graph = merging.graph([t.graph for t in self._traces])
        first = self._traces[0]
        if any([t.structure != first.structure for t in self._traces]):
            raise Differs("the structure of the results differs")
        self.structure = first.structure
        self._looked_into.update(first.lasting.looked_into)
        plain = [[n for n, _ in t.notes.plain] for t in self._traces]
        self._is_unseen = any([found != plain[0] for found in plain])

    def _compared(self, merging: Merging) -> Iterator[tuple[Comparison, Made, Made]]:
        """The comparisons of the user's. Quotients and remainders on the way are what numbers may be made of from there on."""
        for column in itertools.zip_longest(*[t.notes.used for t in self._traces]):
            present: list[Any] = [use for use in column if use is not None]
            first = present[0]
            where = first.source
            if len(present) < len(column) or any([use[0] is not first[0] for use in present]):
                raise Differs("a size is compared or divided here, or not", where)
            merging.source = where
            what = "a number compared" if type(first) is Comparison else "a number divided"
            left, right = [
                merging.value(side, what) for side in ([use.left for use in present], [use.right for use in present])
            ]
            if type(first) is Comparison:
                if any([use.holds != first.holds for use in present]):
                    raise Differs("it is compared here, and the outcome differs", where)
                yield first, left, right
            else:
                made = functools.partial(_computed, first.compute, left, right)
                merging.numbers = merging.numbers.with_quotient(made, [use.value for use in present])

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
            self._add({n: max(2 * sizes[n], most + 1) for n, most in zip(self.names, largest, strict=True)})
            self._merge()
        for comparison, left, right in self._guards:
            if comparison.compare(left(sizes), right(sizes)) != comparison.holds:
                raise Differs("it is compared here, and the outcome differs", comparison.source)
        graph = self._graph(sizes)
        if self._is_unseen:
            found = self._trace(sizes)
            if found.structure != self.structure or not are_alike(found.graph, graph):
                self._sampled.append(sizes)
                self._traces.append(found)
                self._merge()
                graph = self._graph(sizes)
        lasting = Lasting()
        lasting.looked_into.update(self._looked_into)
        check(graph)
        return graph, lasting


def _computed(compute: Callable[[int, int], int], left: Made, right: Made, sizes: Sizes) -> int:
    return compute(left(sizes), right(sizes))


class SizedSignatures(Signatures):
    """What a function is traced for, for all sizes of named axes together."""

    def __init__(self, fun: Callable[..., Any], static: Static, dims: Dims, transform: str = "jit") -> None:
        super().__init__(fun, static, transform)
        self.dims = dims
        self._templates: dict[Any, Template | SymbolicTemplate] = {}
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

        def noting(at_sizes: Sizes, notes: Notes) -> Traced:
            given = [
                ArrayType(
                    tuple([n if axis is None else at_sizes[axis] for axis, n in zip(axes, t.shape, strict=True)]),
                    t.dtype,
                    t.weak,
                )
                for t, axes in zip(types, by_leaf, strict=True)
            ]
            thread = threading.get_ident()
            outer = sizing.get(thread)
            try:
                sizing[thread] = notes
                return Traced(*plainly(given, lambda graph: graph), notes)
            finally:
                sizing.pop(thread, None)
                if outer is not None:
                    sizing[thread] = outer

        def trace(at_sizes: Sizes) -> Traced:
            try:
                return noting(at_sizes, Notes())
            except Exception as error:
                error.add_note(f"(jit(dims=...) traces {described(self.fun)} at sizes of its own: {_said(at_sizes)})")
                raise

        def template_of() -> SymbolicTemplate | Template:
            sampled = samples_for(list(sizes), count_for(list(sizes), 1))
            apart = [sizes] if len(set(sizes.values())) == len(sizes) else []  # equal ones would be taken for one
            for values in (*apart, max(sampled, key=lambda s: sum(s.values()))):
                notes = SymbolNotes()
                try:
                    traced = noting({n: symbol(n, v, notes) for n, v in values.items()}, notes)
                    return SymbolicTemplate(notes, traced.graph, traced.structure, traced.lasting, sampled)
                except Differs:
                    raise
                except MetByChance:
                    continue
                except (
                    Exception
                ):  # not for sizes that know what they are; the user's errors are errors at plain ones too
                    break
            return Template(list(sizes), trace)

        in_tree = tree.tree_structure((args, kwargs) if kwargs else args)
        shapes = [
            (t.dtype, t.weak, *[n if axis is None else axis for axis, n in zip(axes, t.shape, strict=True)])
            for t, axes in zip(types, by_leaf, strict=True)
        ]
        key = (*self.key_of(in_tree, static, bool(kwargs), backend.name), *shapes)
        try:
            template = self._templates.get(key)
            if template is None or template.stale():
                template = template_of()
                if template.for_one_call():
                    return plainly(types, backend.passes)
                self._templates[key] = template
            else:
                self._quiet.add(tuple(types))
            graph, lasting = template.at(sizes)
        except Differs as found:
            raise ConcretizationTypeError(self._refusal(found, sizes)) from None
        except (GraphError, NotSymbolic):
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
