"""Taylor coefficients of a function along a line, to any order.

Each variable of the function's Graph stands for a power series, sum of c_k s^k, of which the coefficients are found one order after
the other. For an op y = g(u) there are three ways, none of which an op has to do anything for:

linear        c_k of y is what the op makes of c_k of u
multilinear   a sum of products, of coefficients whose orders add up to k (Cauchy)
any other     dy/ds is the op's own jvp, of u, of du/ds and of y itself: k c_k of y is coefficient k - 1 of that, a few ops in turn

The last is the recurrence that one finds in books: exp has dy = y du, so that k y_k is a sum of y_j u_{k-j}; sqrt has dy = du / 2y.
The ops of a rule are looked up among those that there are: that sin has the cosine in its rule, whose rule has that same sine, makes
the one pair of series of both. So the elementary functions take time in the square of the order. Where rules go on to new functions
(digamma, polygamma, ...) there is one more for each order. Only a quotient, whose rule has two quotients in it, says how it goes by
itself (`Op.series`); and loops and branches are loops and branches of Graphs of all coefficients (`Held.series`).

Sources: Griewank & Walther, "Evaluating Derivatives", chapter 13 (2008); McIlroy, "Power Series, Power Serious", Journal of
Functional Programming 9 (1999).
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.errors import DtypeError, at, clip, require_callable, user_source
from tracegrad.core.graph import Graph, Var, exact_params, exactly, remembered
from tracegrad.core.names import leaf_names
from tracegrad.core.op import HeldSeries, Op, Params
from tracegrad.core.trace import bind
from tracegrad.core.tracebacks import trimming
from tracegrad.core.tracer import Tracer, settled_tree
from tracegrad.core.tracing import arrays_of, trace_graph
from tracegrad.core.types import PYTHON_SCALARS, ArrayType, is_inexact, type_of
from tracegrad.lower.passes import simplify
from tracegrad.ops.families import cast
from tracegrad.ops.masks import filled
from tracegrad.transforms.arguments import as_output, matching
from tracegrad.transforms.batch import own_arrays
from tracegrad.transforms.linear import at_positions, pushed, strong
from tracegrad.typing import PyTree


@trimming
@accepting_jax
def taylor(fun: Callable[..., Any], x: PyTree, v: PyTree, order: int) -> tuple[Any, ...]:
    """The Taylor coefficients of s -> fun(x + s v) at s = 0.

    They are those of the powers, not derivatives: fun(x + s v) = c[0] + c[1] s + c[2] s**2 + ..., so that the derivative of order
    k is k! c[k]. (jax.experimental.jet takes and gives derivatives.) c[1] is what `jvp` gives. They take time in the square of
    the order for elementary functions and little more for others, where nested `jvp`s take twice the time for each order. Of
    functions of matrices (`expm`, `logm`) that is not so. Loops and branches become ones of coefficients.

    Args:
        fun: a function of one argument, an array or pytree, to arrays or pytrees of them.
        x: where; all its leaves floating or complex.
        v: the direction, in the structure, shapes and dtypes of x.
        order: of the last coefficient, an int of 0 or more.

    Returns:
        A tuple of order + 1 coefficients, each like the output of `fun`.

    Raises:
        DtypeError: for leaves of x that are neither floating nor complex.
        ShapeError, DtypeError: for a direction that is not like x.
        ValueError, TypeError: for an order that is no int of 0 or more.

    >>> import numpy as np, tracegrad as tg
    >>> [float(c) for c in tg.taylor(lambda x: 1 / (1 - x), 0.0, 1.0, 4)]
    [1.0, 1.0, 1.0, 1.0, 1.0]
    >>> [round(6 * float(c), 12) for c in tg.taylor(np.exp, 0.0, 1.0, 3)]
    [6.0, 6.0, 3.0, 1.0]

    Source: Griewank & Walther, "Evaluating Derivatives", chapter 13 (2008).
    """
    require_callable(fun, "taylor", "(f, x, v, order)")
    last = _checked(order)
    leaves, in_tree = tree.tree_flatten((x,))
    names = leaf_names(fun, in_tree)
    leaves = arrays_of(leaves, names)
    types = [type_of(leaf) for leaf in leaves]
    for i, t in enumerate(types):
        if not is_inexact(t.dtype):
            raise DtypeError(
                f"taylor{at(user_source())}: {names(i)} is {t}, which moves in no direction; pass floats (x.astype(float), 3.0 "
                "for 3), or close over it"
            )
    direction = matching((v,), in_tree, types, "taylor", "direction", "argument", leaves)
    out_tree: Any = None

    def flat(*tracers: Any) -> list[Any]:
        nonlocal out_tree
        outputs, out_tree = tree.tree_flatten(settled_tree(fun(*tree.tree_unflatten(in_tree, tracers))))
        return [as_output(o, fun) for o in outputs]

    graph = trace_graph(flat, leaves, transform="taylor", user_function=fun, names=names)
    expansion = Expansion()
    series = [Series(expansion, [c, d]) for c, d in zip(leaves, direction, strict=True)]
    found = expansion.walk(graph, series)
    # One after the other, so that nothing is computed by a chain of calls as long as the program.
    for application in tuple(expansion.made):
        application.advance(last)
    values = [s.value for s in found]
    rows = [[s.coefficient(k) for s in found] for k in range(last + 1)]
    flat_rows = own_arrays([c for row in rows for c in row], values * (last + 1), [*leaves, *direction])
    count = len(found)
    return tuple([tree.tree_unflatten(out_tree, flat_rows[k * count : (k + 1) * count]) for k in range(last + 1)])


def _checked(order: Any) -> int:
    try:
        found = operator.index(order)
    except TypeError:
        raise TypeError(
            f"taylor{at(user_source())}: order must be an int, got {clip(repr(order))}; write tg.taylor(f, x, v, 4)"
        ) from None
    if found < 0:
        raise ValueError(f"taylor{at(user_source())}: order must be 0 or more, got {found}")
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Series, and what makes them.


_SMALL = 64  # elements of constants that are compared by content


class Series:
    """The coefficients of a variable as far as they are known, None for zero: of what is given, or what an op has made of other
    series, or the derivative of another series."""

    __slots__ = ("application", "derivative_of", "expansion", "known")

    def __init__(
        self,
        expansion: Expansion,
        known: list[Any],
        application: Application | None = None,
        derivative_of: Series | None = None,
    ) -> None:
        self.expansion = expansion
        self.known = known
        self.application = application
        self.derivative_of = derivative_of

    @property
    def value(self) -> Any:
        """The first coefficient, which is always an array."""
        return self.known[0]

    @property
    def type(self) -> ArrayType:
        return type_of(self.value)

    @property
    def varies(self) -> bool:
        """Whether it may have more than its first coefficient."""
        return self.application is not None or self.derivative_of is not None or len(self.known) > 1

    def coefficient(self, k: int) -> Any:
        if self.derivative_of is not None:
            above = self.derivative_of.coefficient(k + 1)
            return None if above is None else (k + 1) * above
        if self.application is not None:
            self.application.advance(k)
        return self.known[k] if k < len(self.known) else None


class Expansion:
    """All series of one call of `taylor`."""

    def __init__(self) -> None:
        self.made: list[Application] = []
        self._found: dict[Any, Any] = {}
        self.derivatives: dict[int, Series] = {}
        self._rules: dict[Any, tuple[Graph, tuple[bool, ...]]] = {}

    def constant(self, value: Any) -> Series:
        """The same for equal numbers and small arrays, so that what is made of these is found again: of a Bessel function of order
        v + 1 - 1, that of order v."""
        is_traced = type(value) is Tracer
        key = id(value) if is_traced or np.size(value) > _SMALL else exactly(value)
        found: Series = self._found.setdefault(key, Series(self, [value]))
        return found

    def walk(self, graph: Graph, inputs: Sequence[Series]) -> list[Series]:
        env: dict[Any, Series] = dict(zip(graph.inputs, inputs, strict=True))
        env.update({v: self.constant(x) for v, x in graph.consts.items()})

        def series(atom: Any) -> Series:
            return env[atom] if type(atom) is Var else self.constant(atom.value)

        for eqn in graph.eqns:
            env.update(zip(eqn.outputs, self.apply(eqn.op, [series(a) for a in eqn.inputs], eqn.params), strict=True))
        return [series(a) for a in graph.outputs]

    def apply(self, op: Op, inputs: Sequence[Series], params: Params) -> list[Series]:
        """What the op makes of the series; if it has made it before, that."""
        key = op.name, exact_params(params), tuple(map(id, inputs))
        if key not in self._found:
            self._found[key] = (
                self._applied(op, inputs, params),
                inputs,
            )  # which must live as long as the key has their ids
        found: list[Series] = self._found[key][0]
        return found

    def _applied(self, op: Op, inputs: Sequence[Series], params: Params) -> list[Series]:
        varies = any([s.varies and is_inexact(s.type.dtype) for s in inputs])
        held = op.held
        if varies and held is not None and held.series is None and held.flows is not None:
            return list(held.flows(self.walk, inputs, params))
        out = bind(op, tuple([s.value for s in inputs]), params)
        outs = out if op.multiple_results else (out,)
        if not varies:
            return [self.constant(o) for o in outs]
        application = Application(self, op, inputs, params, outs)
        self.made.append(application)
        return application.outputs

    def rule(
        self, op: Op, active: tuple[int, ...], types: Sequence[ArrayType], outs: Sequence[ArrayType], params: Params
    ) -> Any:
        """The op's jvp as a Graph of its inputs, tangents of the active ones and its outputs, to the tangents of the outputs that
        have some, and which of them do."""
        key = op.name, active, tuple(types), exact_params(params)
        if key in self._rules:
            return self._rules[key]
        has: tuple[bool, ...] = ()

        def tangents(*arrays: Any) -> list[Any]:
            nonlocal has
            given, found = list(arrays[: len(types)]), arrays[len(types) + len(active) :]
            ts = at_positions(len(types), active, arrays[len(types) : len(types) + len(active)])
            result = pushed(op, active, ts, found if op.multiple_results else found[0], given, params)
            results = [filled(r) for r in (result if op.multiple_results else (result,))]
            has = tuple([r is not None for r in results])
            return [r for r in results if r is not None]

        given = [*types, *[strong(types[i]) for i in active], *outs]
        graph = simplify(trace_graph(tangents, given, transform="taylor", user_function=op.evaluate, abstract=True))
        self._rules[key] = graph, has
        return self._rules[key]


class Application:
    """An op applied to series: the series of its outputs, order by order."""

    def __init__(
        self, expansion: Expansion, op: Op, inputs: Sequence[Series], params: Params, outs: Sequence[Any]
    ) -> None:
        self.expansion = expansion
        self.op = op
        self.inputs = inputs
        self.params = params
        # Whole numbers and truth values stay what they are.
        self.outputs = [Series(expansion, [o], self if is_inexact(type_of(o).dtype) else None) for o in outs]
        self.active = tuple([i for i, s in enumerate(inputs) if s.varies and is_inexact(s.type.dtype)])
        self.order = 0
        self._rule: list[Series | None] | None = None
        self._inner: list[Application] = []

    def advance(self, order: int) -> None:
        """Find the coefficients up to this order."""
        if self.op.held is not None and self.op.held.series is not None and self.order < order:
            self._advance_held(self.op.held.series, order)
        while self.order < order:
            k = self.order + 1
            found = self._coefficients(k)
            self.order = k
            for s, c in zip(self.outputs, found, strict=True):
                if s.application is not None:
                    s.known.append(None if c is None else _of_dtype(c, s.value))

    def _advance_held(self, series: HeldSeries, order: int) -> None:
        """The same for a loop or a branch: all orders at once, by its Graphs of series."""
        count = order + 1

        def coefficients(s: Series, t: ArrayType) -> list[Any]:
            if not is_inexact(t.dtype):
                return [s.value]
            found = [s.value, *[s.coefficient(k) for k in range(1, count)]]
            return [np.zeros(t.shape, t.dtype) if c is None else c for c in found]

        given = [coefficients(s, s.type) for s in self.inputs]
        found = iter(series(lambda graph: series_graph(graph, order), given, self.params))
        for s in self.outputs:
            known = [next(found) for _ in range(count if is_inexact(s.type.dtype) else 1)]
            s.known[1:] = known[1:]
        self.order = order

    def _coefficients(self, k: int) -> Sequence[Any]:
        op, params, active = self.op, self.params, self.active
        if op.is_linear_in(active, params):
            tangents: list[Any] = [None] * len(self.inputs)
            for i in active:
                tangents[i] = self.inputs[i].coefficient(k)
            moving = tuple([i for i in active if tangents[i] is not None])
            if not moving:
                return [None] * len(self.outputs)
            out = tuple([s.value for s in self.outputs]) if op.multiple_results else self.outputs[0].value
            values = [s.value for s in self.inputs]
            result = pushed(op, moving, tangents, out, values, params)
            return [filled(r) for r in (result if op.multiple_results else (result,))]
        if op.series is not None:
            given = [[s.value, *[s.coefficient(j) for j in range(1, k + 1)]] for s in self.inputs]
            return [op.series(k, given, self.outputs[0].known, params)]
        if not op.multiple_results and all([op.is_linear_in((i,), params) for i in active]):
            return [self._products(k)]
        return self._from_rule(k)

    def _products(self, k: int) -> Any:
        total = None
        values: list[Any] = [s.value for s in self.inputs]
        for orders in _orders(k, len(self.active)):
            for i, j in zip(self.active, orders, strict=True):
                values[i] = self.inputs[i].coefficient(j)
            if all([values[i] is not None for i in self.active]):
                term = bind(self.op, tuple(values), self.params)
                total = term if total is None else total + term
        return total

    def _from_rule(self, k: int) -> list[Any]:
        if self._rule is None:
            expansion, inputs = self.expansion, self.inputs
            graph, has = expansion.rule(
                self.op, self.active, [s.type for s in inputs], [s.type for s in self.outputs], self.params
            )
            before = len(expansion.made)
            tangents = [self._derivative(inputs[i]) for i in self.active]
            found = iter(expansion.walk(graph, [*inputs, *tangents, *self.outputs]))
            self._inner = expansion.made[before:]
            self._rule = [next(found) if h else None for h in has]
        for application in self._inner:
            application.advance(k - 1)
        slopes = [None if s is None else s.coefficient(k - 1) for s in self._rule]
        return [None if c is None else c / k for c in slopes]

    def _derivative(self, s: Series) -> Series:
        found = self.expansion.derivatives.get(id(s))
        if found is None:
            first = s.coefficient(1)
            value = np.zeros(s.type.shape, s.type.dtype)[()] if first is None else first
            found = self.expansion.derivatives[id(s)] = Series(self.expansion, [value], None, s)
        return found


def series_graph(graph: Graph, order: int) -> Graph:
    """A Graph of all coefficients, up to this order, of each floating input and output, one after the other."""
    counts = [order + 1 if is_inexact(v.type.dtype) else 1 for v in graph.inputs]

    def flat(*arrays: Any) -> list[Any]:
        expansion, rest = Expansion(), iter(arrays)
        inputs = [Series(expansion, list(itertools.islice(rest, n))) for n in counts]
        found = expansion.walk(graph, inputs)
        for application in tuple(expansion.made):
            application.advance(order)
        outs = []
        for s, t in zip(found, graph.out_types, strict=True):
            outs.append(s.value)
            if is_inexact(t.dtype):
                rows = [s.coefficient(k) for k in range(1, order + 1)]
                outs += [np.zeros(t.shape, t.dtype) if c is None else c for c in rows]
        return outs

    def make() -> Graph:
        pairs = zip(graph.inputs, counts, strict=True)
        types = [v.type if k == 0 else strong(v.type) for v, n in pairs for k in range(n)]
        return simplify(trace_graph(flat, types, transform="taylor", user_function=graph, abstract=True))

    found: Graph = remembered(graph, ("taylor", order), make)
    return found


def _orders(k: int, count: int) -> Iterator[tuple[int, ...]]:
    """The ways to write k as a sum of so many orders."""
    if count == 1:
        yield (k,)
        return
    for first in range(k + 1):
        for rest in _orders(k - first, count - 1):
            yield (first, *rest)


def _of_dtype(c: Any, like: Any) -> Any:
    """A coefficient in the dtype of the value: weak scalars have made others of it."""
    dtype = type_of(like).dtype
    return c if type_of(c).dtype == dtype else cast(np.asarray(c) if type(c) in PYTHON_SCALARS else c, dtype)
