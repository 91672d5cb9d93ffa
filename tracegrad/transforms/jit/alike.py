"""What several Graphs have in common, and numbers that differ as polynomials: the Graph for any sizes, of those for some."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from tracegrad.core.errors import RawSource, clip
from tracegrad.core.graph import Eqn, Graph, Literal, Var, exactly
from tracegrad.core.op import Params
from tracegrad.core.sizes import Size
from tracegrad.core.types import ArrayType
from tracegrad.transforms.custom.rules import Rules

Sizes = Mapping[str, int]
Made = Callable[[Sizes], Any]


class Differs(Exception):
    """Graphs that differ in more than numbers. `source` is the line of what differs."""

    def __init__(self, what: str, source: RawSource | None = None) -> None:
        super().__init__(what)
        self.source = source


class NoPolynomial(Differs):
    """Numbers that are no polynomial of the sizes of the degree that was looked for."""


class TooFew(Exception):
    """So many samples are needed, more than there are."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count


# ---------------------------------------------------------------------------------------------------------------------
# Numbers that depend on sizes.


def monomials(values: Sequence[int], degree: int = 2) -> list[int]:
    """1, each size, and up to degree 2 each product of two.

    >>> monomials([2, 5])
    [1, 2, 5, 4, 10, 25]
    """
    products = [a * b for a, b in itertools.combinations_with_replacement(values, 2)] if degree == 2 else []
    return [1, *values, *products]


class Numbers:
    """What fits numbers found at sampled sizes by polynomials of a degree, in exact fractions, and multiples of what else sizes are
    made into, which is no polynomial: quotients and remainders."""

    def __init__(
        self, names: Sequence[str], sampled: Sequence[Sizes], degree: int = 2, others: Sequence[Made] = ()
    ) -> None:
        self.names = tuple(names)
        self.degree = degree
        self.others = tuple(others)
        self._sampled = sampled
        rows = [self.columns(s) for s in sampled]
        self._rows = rows
        width = len(rows[0])
        # The first rows that are independent, as they come out of Gauss's elimination.
        self._chosen: list[int] = []
        reduced: list[tuple[int, list[Fraction]]] = []
        for i, row in enumerate(rows):
            left = [Fraction(v) for v in row]
            for place, known in reduced:
                factor = left[place]
                left = [a - factor * b for a, b in zip(left, known, strict=True)]
            pivot = next((j for j, v in enumerate(left) if v), None)
            if pivot is not None and len(reduced) < width:
                reduced.append((pivot, [v / left[pivot] for v in left]))
                self._chosen.append(i)
        assert len(self._chosen) == width, "the sampled sizes do not tell polynomials apart"

    def columns(self, sizes: Sizes) -> list[int]:
        """What a number is a sum of multiples of, at these sizes."""
        return [*monomials([sizes[n] for n in self.names], self.degree), *[made(sizes) for made in self.others]]

    def with_quotient(self, made: Made, values: Sequence[int]) -> Numbers:
        """These and multiples of what is made of sizes so, which has these values at the sampled ones, if it is not a sum of
        multiples of theirs. TooFew for more columns than rows tell apart and then two more, to agree."""
        if self.fitted(values) is not None:
            return self
        width = len(self._rows[0]) + 1
        if len(self._sampled) < width + 2:
            raise TooFew(width + 2)
        return Numbers(self.names, self._sampled, self.degree, (*self.others, made))

    def fitted(self, values: Sequence[int]) -> Polynomial | None:
        """The polynomial that has these values at the sampled sizes, None if there is none."""
        matrix = [[*map(Fraction, self._rows[i]), Fraction(values[i])] for i in self._chosen]
        n = len(matrix)
        for j in range(n):
            k = next(k for k in range(j, n) if matrix[k][j])
            matrix[j], matrix[k] = matrix[k], matrix[j]
            matrix[j] = [v / matrix[j][j] for v in matrix[j]]
            for i in range(n):
                if i != j and matrix[i][j]:
                    factor = matrix[i][j]
                    matrix[i] = [a - factor * b for a, b in zip(matrix[i], matrix[j], strict=True)]
        found = Polynomial(self, [row[-1] for row in matrix])
        fits = all(
            [sum(map(_product, found.coefficients, row)) == v for row, v in zip(self._rows, values, strict=True)]
        )
        return found if fits else None


def _product(a: Fraction, b: int) -> Fraction:
    return a * b


class Polynomial:
    """A whole number at given sizes."""

    __slots__ = ("_numbers", "coefficients")

    def __init__(self, numbers: Numbers, coefficients: Sequence[Fraction]) -> None:
        self._numbers = numbers
        self.coefficients = coefficients

    def __call__(self, sizes: Sizes) -> int:
        found = sum(map(_product, self.coefficients, self._numbers.columns(sizes)), Fraction(0))
        if found.denominator != 1:
            raise Differs(f"{found} is no whole number")
        return int(found)


# ---------------------------------------------------------------------------------------------------------------------
# What is alike in several Graphs. `merged` returns a function of the sizes.

# Matrices that are made of their sizes: identities, triangles, and the rest of these.
_MATRICES: tuple[Callable[[int, int], Any], ...] = (
    np.eye,
    *[lambda rows, columns, k=k: np.tri(rows, columns, k) for k in (0, -1, 1)],
    *[lambda rows, columns, k=k: 1 - np.tri(rows, columns, k) for k in (0, -1, 1)],
)


class Merging:
    """What merges values that were found at sampled sizes."""

    def __init__(self, numbers: Numbers) -> None:
        self.numbers = numbers
        self.source: RawSource | None = None  # of the equation that is being merged
        self._variables: list[dict[Any, int]] = []  # in the Graphs that are being merged: the number of each

    def value(self, values: Sequence[Any], what: str) -> Made:
        first = values[0]
        kind = type(first)
        if kind is int or kind is Size:
            kind = int
            values = [v.value if type(v) is Size else v for v in values]
        if any([type(v) is not kind for v in values]):
            raise Differs(f"{what} is {', '.join([clip(repr(v)) for v in values[:2]])}", self.source)
        if kind is Graph:
            return self.graph(values)
        if kind is int:
            return self._number(values, what)
        if kind is str:
            return self._text(values, what)
        if isinstance(first, tuple) and all([len(v) == len(first) for v in values]):
            parts = [self.value(column, what) for column in zip(*values, strict=True)]
            make = tuple if kind is tuple else lambda found: kind(*found)
            return lambda sizes: make([part(sizes) for part in parts])
        if kind is ArrayType:
            return self.type(values, what)
        if kind is np.ndarray:
            return self._array(values, what)
        if kind is Rules:
            return self._rules(values)
        if any([v is not first and exactly(v) != exactly(first) for v in values]):
            if kind in (float, np.float64) and all([float(v).is_integer() for v in values]):  # a size as a float
                whole = self._number([int(v) for v in values], what)
                return lambda sizes: kind(whole(sizes))
            raise Differs(f"{what} is {clip(repr(first))}, or {clip(repr(values[-1]))}", self.source)
        return lambda sizes: first

    def _number(self, values: Sequence[int], what: str) -> Made:
        if len(set(values)) == 1:
            return lambda sizes: values[0]
        found = self.numbers.fitted(values)
        if found is None:
            numbers = ", ".join(map(str, values[:4]))
            raise NoPolynomial(f"{what} is {numbers}, ..., which is no polynomial", self.source)
        return found

    def _text(self, values: Sequence[str], what: str) -> Made:
        """Text with numbers in it, such as an index."""
        if len(set(values)) == 1:
            return lambda sizes: values[0]
        pieces = [re.split(r"(-?\d+)", v) for v in values]
        if any([p[::2] != pieces[0][::2] for p in pieces]):
            raise Differs(f"{what} is {values[0]!r}, or {values[-1]!r}", self.source)
        numbers = [
            self._number([int(v) for v in column], what) for column in zip(*[p[1::2] for p in pieces], strict=True)
        ]
        between = pieces[0][::2]

        def made(sizes: Sizes) -> str:
            return between[0] + "".join([f"{n(sizes)}{rest}" for n, rest in zip(numbers, between[1:], strict=True)])

        return made

    def type(self, values: Sequence[ArrayType], what: str) -> Made:
        first = values[0]
        if any([(v.dtype, v.weak, v.ndim) != (first.dtype, first.weak, first.ndim) for v in values]):
            raise Differs(f"{what} is of type {first}, or {values[-1]}", self.source)
        shape = self.value([v.shape for v in values], f"a shape of {what}")
        return lambda sizes: ArrayType(shape(sizes), first.dtype, first.weak)

    def _array(self, values: Sequence[Any], what: str) -> Made:
        """A constant: the same one, one number everywhere, or evenly spaced whole numbers."""
        first = values[0]
        if all([v is first for v in values]):
            return lambda sizes: first
        if len({v.dtype for v in values}) == 1 and len({v.ndim for v in values}) == 1:
            if all([v.shape == first.shape and exactly(v) == exactly(first) for v in values]):
                return lambda sizes: first
            shape = self.value([v.shape for v in values], f"the shape of {what}")
            if all([v.size and np.all(v == v.flat[0]) for v in values]) and len({v.flat[0] for v in values}) == 1:
                return lambda sizes: np.full(shape(sizes), first.flat[0], first.dtype)
            if first.dtype.kind in "iuf" and all([1 < v.size == max(v.shape, default=0) for v in values]):
                rows = [v.ravel() for v in values]
                starts, steps = [[v[0].item() for v in rows], [(v[1] - v[0]).item() for v in rows]]
                even = [
                    np.array_equal(v, a + s * np.arange(len(v))) for v, a, s in zip(rows, starts, steps, strict=True)
                ]
                if all(even) and all([float(n).is_integer() for n in (*starts, *steps)]):
                    start, step = [self._number([int(n) for n in column], what) for column in (starts, steps)]
                    return lambda sizes: (
                        (start(sizes) + step(sizes) * np.arange(max(shape(sizes))))
                        .astype(first.dtype)
                        .reshape(shape(sizes))
                    )
            for made in _MATRICES if first.ndim == 2 else ():
                if all([np.array_equal(v, made(*v.shape)) for v in values]):
                    return lambda sizes: made(*shape(sizes)).astype(first.dtype)
        raise Differs(
            f"{what} is an array made of a size in Python: {ArrayType(first.shape, first.dtype)}, or "
            f"{ArrayType(values[-1].shape, values[-1].dtype)}; make it of what is traced (tnp.arange, x - x, ...)", self.source
        )  # fmt: skip

    def _rules(self, values: Sequence[Rules]) -> Made:
        first = values[0]
        if not all([v.is_like(first) for v in values]):
            why = (
                "closes over arrays or is batched, which is done for each size; pass it what it closes over, and let it "
                "take all rows"
                if first.made_of is None
                else "is another one for each size, or its nondiff arguments are; define it outside of what is jitted"
            )
            raise Differs(f"{first.name!r}, which has derivative rules of its own, {why}", self.source)
        return lambda sizes: first

    def graph(self, graphs: Sequence[Graph]) -> Callable[[Sizes], Graph]:
        """The Graphs as one, of any sizes."""
        outside = self._variables
        try:
            return self._graph(graphs)
        finally:
            self._variables = outside

    def _graph(self, graphs: Sequence[Graph]) -> Callable[[Sizes], Graph]:
        first = graphs[0]
        self._variables = [{} for _ in graphs]
        inputs = self._defined([g.inputs for g in graphs], "an input")
        used = self._used_first(graphs)
        consts = self._defined([list(g.consts) for g in graphs], "a constant")
        eqns: list[Callable[[Sizes, list[Var]], Eqn]] = []
        arrays = []
        for number, values in enumerate(zip(*[g.consts.values() for g in graphs], strict=True)):
            self.source = used.get(number)
            arrays.append(self.value(values, "a constant"))
        count = min([len(g.eqns) for g in graphs])
        for i in range(count):
            eqns.append(self._equation([g.eqns[i] for g in graphs]))
        longest = max(graphs, key=lambda g: len(g.eqns))
        if len(longest.eqns) > count:
            raise Differs(f"there is {longest.eqns[count].op.name} here, or nothing", longest.eqns[count].raw_source)
        if len({len(g.outputs) for g in graphs}) > 1:
            raise Differs("the number of outputs differs", self.source)
        outputs = [self._atom(column) for column in zip(*[g.outputs for g in graphs], strict=True)]

        def made(sizes: Sizes) -> Graph:
            variables: list[Var] = []
            heads = [Var(t(sizes), name) for t, name in inputs]
            variables.extend(heads)
            held = [Var(t(sizes), name) for t, name in consts]
            variables.extend(held)
            body = tuple([eqn(sizes, variables) for eqn in eqns])
            tails = tuple([out(sizes, variables) for out in outputs])
            return Graph(
                tuple(heads), body, tails, dict(zip(held, [a(sizes) for a in arrays], strict=True)), first.name
            )

        return made

    def _used_first(self, graphs: Sequence[Graph]) -> dict[int, RawSource | None]:
        """The line that first reads each constant."""
        numbers = {v: i for i, v in enumerate(graphs[0].consts)}
        found: dict[int, RawSource | None] = {}
        for eqn in graphs[0].eqns:
            for a in eqn.inputs:
                if type(a) is Var and a in numbers:
                    found.setdefault(numbers[a], eqn.raw_source)
        return found

    def _defined(self, columns: Sequence[Sequence[Var]], what: str) -> list[tuple[Made, str | None]]:
        """The types of variables, which get numbers."""
        if len(set(map(len, columns))) > 1:
            raise Differs(f"{what} more or less: {', '.join([str(len(c)) for c in columns[:2]])}", self.source)
        made = []
        for row in zip(*columns, strict=True):
            made.append((self.type([v.type for v in row], what), row[0].name))
            for known, v in zip(self._variables, row, strict=True):
                known[v] = len(known)
        return made

    def _atom(self, column: Sequence[Any]) -> Callable[[Sizes, list[Var]], Any]:
        if all([type(a) is Var for a in column]):
            numbers = {known[a] for known, a in zip(self._variables, column, strict=True)}
            if len(numbers) > 1:
                raise Differs("an input is another", self.source)
            (number,) = numbers
            return lambda sizes, variables: variables[number]
        if not all([type(a) is Literal for a in column]):
            raise Differs("an input is a constant, or none", self.source)
        value = self.value([a.value for a in column], "a constant")
        return lambda sizes, variables: Literal(value(sizes))

    def _equation(self, eqns: Sequence[Eqn]) -> Callable[[Sizes, list[Var]], Eqn]:
        first = eqns[0]
        self.source = first.raw_source
        other = next((e for e in eqns if e.op is not first.op or len(e.inputs) != len(first.inputs)), None)
        if other is not None:
            raise Differs(f"there is {first.op.name} here, or {other.op.name}", first.raw_source)
        inputs = [self._atom(column) for column in zip(*[e.inputs for e in eqns], strict=True)]
        params = self._params([e.params for e in eqns], first.op.name)
        outputs = self._defined([e.outputs for e in eqns], f"an output of {first.op.name}")

        def made(sizes: Sizes, variables: list[Var]) -> Eqn:
            given = tuple([a(sizes, variables) for a in inputs])
            outs = tuple([Var(t(sizes), name) for t, name in outputs])
            variables.extend(outs)
            return Eqn(first.op, given, {k: v(sizes) for k, v in params.items()}, outs, first.raw_source)

        return made

    def _params(self, params: Sequence[Params], name: str) -> dict[str, Made]:
        if any([p.keys() != params[0].keys() for p in params]):
            raise Differs(f"the params of {name} differ", self.source)
        return {k: self.value([p[k] for p in params], f"{k} of {name}") for k in params[0]}


class _Equal(Numbers):
    """Numbers at the same sizes, where none is made of them."""

    def __init__(self) -> None:
        pass

    def fitted(self, values: Sequence[int]) -> Polynomial | None:
        return None


def are_alike(graph: Graph, other: Graph) -> bool:
    """Whether two Graphs for the same sizes are the same, but for who made the derivative rules in them."""
    if graph == other:
        return True
    try:
        Merging(_Equal()).graph([graph, other])
    except Differs:
        return False
    return True
