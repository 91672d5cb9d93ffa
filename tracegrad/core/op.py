"""The Op record and the registry: everything the library knows of an operation, in one place.

An op is declared once (in `tracegrad/ops/`), found by name, and never tested for by identity outside its own block: what
differs between ops is a field here. Every generic test runs over `OPS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.late import Table
from tracegrad.core.types import PYTHON_SCALARS, ArrayType, number_kind, promotions

Params = Mapping[str, Any]
NO_PARAMS: Params = {}
Wanted = tuple[int, ...]

# Type rule: (input types, params) -> the output's type, or a tuple of types for an op with several outputs.
TypeRule = Callable[[Sequence[ArrayType], Params], "ArrayType | tuple[ArrayType, ...]"]
# (primals, tangents, out, params) -> tangent of out. A tangent is None where it is a structural zero.
JvpRule = Callable[[Sequence[Any], Sequence[Any], Any, Params], Any]
# (wanted, cotangent, out, primals, params) -> one cotangent for each wanted input position, None for a zero.
VjpRule = Callable[[Wanted, Any, Any, Sequence[Any], Params], Sequence[Any]]
# (input names, input types, whether the input of a number lies in one block, in C or Fortran order, params) -> a Python
# expression of the same bits as `evaluate`, or None for no better way. "{out}" in it is where an array to write the result into may go, after a comma.
Spelling = Callable[[Sequence[str], Sequence[ArrayType], Callable[[int], bool], Params], "str | None"]
# (the name of `evaluate`, input names, params) -> a Python statement that leaves the op's result in the array that is its
# first input.
Overwriting = Callable[[str, Sequence[str], Params], str]
# (for each input the strides in elements where they are known, the types of the inputs, params) -> those of the output.
StrideRule = Callable[[Sequence[Any], Sequence[ArrayType], Params], "tuple[int, ...] | None"]
# (inputs, params, definitions) -> (op, inputs, params) anew, whose inputs may be such triples again, or one input that
# equals the output, or None.
# `definitions` maps a variable to the equation that makes it.
Simplification = Callable[[Sequence[Any], Params, "Definitions"], Any]
# (input types, the inputs that are constants and None for the others, params) -> a function of those others, or None.
Specialisation = Callable[[Sequence[ArrayType], Sequence[Any], Params], "Callable[..., Any] | None"]
# (size, batched, inputs, params) -> out. Batched inputs and all outputs carry the batch on axis 0.
BatchRule = Callable[[int, Sequence[bool], Sequence[Any], Params], Any]
# The same for an op over a named axis where that axis is the batch: -> (out, whether out carries the batch).
CollectiveRule = Callable[[int, Sequence[bool], Sequence[Any], Params], tuple[Any, bool]]
# (input types, params) -> how many products it sums, and whether along with axes that inputs and output share (a batch of
# such sums); None for inputs of which it makes no such sums.
Contraction = Callable[[Sequence[ArrayType], Params], "tuple[int, bool] | None"]
# (trace, inputs, params) -> what is recorded in that trace in place of the op, as its outputs; None for the op itself.
Expansion = Callable[[Any, tuple[Any, ...], Params], Any]
# (inputs, params, which outputs are used) -> (inputs, params, the numbers of the outputs that are left).
Pruning = Callable[[tuple[Any, ...], Params, Sequence[bool]], tuple[tuple[Any, ...], Params, Sequence[int]]]
# (inputs, params) -> a Graph whose equations may stand in the op's place and the inputs for it, or None.
Inlining = Callable[[Sequence[Any], Params], "tuple[Any, Sequence[Any]] | None"]
# (wanted, inputs one level down, params) -> outputs, and what the reverse derivative needs besides these and the inputs, which
# the equation keeps; None where that has the op's own reverse rule.
Forward = Callable[[Wanted, Sequence[Any], Params], tuple[Sequence[Any], Any]]
# (wanted, cotangents, residuals, out, primals, params) -> one cotangent for each wanted input position, None for a zero.
Pull = Callable[[Wanted, Sequence[Any], Any, Any, Sequence[Any], Params], Sequence[Any]]
# (params) -> whether the op does more than its outputs say.
Effect = Callable[[Params], bool]
# (input positions, params) -> whether the op is jointly linear in these inputs.
Linearity = Callable[[Iterable[int], Params], bool]


class MaskRules(NamedTuple):
    """The rules of an op that takes derivatives with masks as they are, and whether it has to know them, since its partial
    derivatives may be infinite where it is finite itself; see ops/masks.py."""

    jvp: JvpRule
    vjp: VjpRule
    singular: bool = True


# (params) -> the positions of inputs.
Data = Callable[[Params], Sequence[int]]


class View(NamedTuple):
    """What is to be known of an op whose output NumPy makes a view of its input, at least sometimes.

    put      (x, v, **params) -> x with v in place of the view; None where NumPy makes the view read-only
    layout   (array, **params) -> the view of it, None where NumPy makes a copy. Nothing in the array is looked at
    step     (op, params, number, the input's shape) -> (op, params) that make the output of this number alone
    within   (index, index arrays, the input's shape, params) -> where in the input the index into the view points, None
             where that has no index
    """

    put: Callable[..., Any] | None
    layout: Callable[..., Any]
    step: Callable[[Any, Params, int, tuple[int, ...]], tuple[Any, Params]] = lambda op, params, number, shape: (
        op,
        params,
    )
    within: Callable[..., tuple[Any, Sequence[Any]] | None] | None = None


# (params, positions of inputs that are zero) -> (params, the positions of the inputs that are left, of the outputs that are, and
# further inputs): the op where those inputs are zeros, of which it may still take some; all other outputs are zero.
Without = Callable[[Params, tuple[int, ...]], tuple[Params, Sequence[int], Sequence[int], tuple[Any, ...]]]


# (run, inputs, params) -> outputs, where run(which, graph, inputs) -> outputs of one of its Graphs; `which` says of several
# runs which it is: "step 3 of scan".
Replay = Callable[[Callable[[str, Any, Sequence[Any]], Sequence[Any]], Sequence[Any], Params], Sequence[Any]]


class Along(NamedTuple):
    """Which elements of an output depend on which of an input, axis by axis. Each entry of `axes` is an axis of the input, one
    of the output of which a place depends on that at the same place of the input's, and None for just that, or a pair of
    arrays, places of the output and places of the input that it depends on. All other axes are mixed."""

    axes: Sequence[tuple[int, int, Any]]


class Pairs(NamedTuple):
    """Which elements of an output depend on which of an input, one by one: arrays of their places, counted in C order."""

    outputs: Any
    inputs: Any


# (position of an input that the op is linear in, input types, the output's type, params, the inputs that do not depend on what
# is differentiated and None for others) -> which elements of the output depend on which of the input; None if all may.
Reach = Callable[[int, Sequence[ArrayType], ArrayType, Params, Sequence[Any]], "Along | Pairs | None"]
# (walk, inputs, params) -> outputs, where walk(graph, inputs) -> outputs of one of its Graphs. What flows there says of each
# element of a variable on which elements it depends (transforms/sparsity.py): `x.at(i)` is an element of axis 0,
# `type(x).stacked(rows, type)` an array of such, `x.merged(y)` both of two that may flow there, and equals x if that is no more.
Flows = Callable[[Callable[[Any, Sequence[Any]], Sequence[Any]], Sequence[Any], Params], Sequence[Any]]


# (input types, the output's type or tuple of types, params) -> (position of an input, what the indices in it may be), for each of those
# that hold indices.
Points = Callable[[Sequence[ArrayType], Any, Params], Sequence[tuple[int, range]]]


# (order k, coefficients 0 to k of each input, coefficients 0 to k - 1 of the output, params) -> coefficient k of the output, where
# None is a zero: of power series, which transforms/taylor.py otherwise finds by the op's forward rule.
SeriesRule = Callable[[int, Sequence[Sequence[Any]], Sequence[Any], Params], Any]


# (expanded, coefficients of each input, all of one number, params) -> those of all outputs, one after the other, where
# expanded(graph) is one of its Graphs with all coefficients of each floating input and output in its place: an op on power series.
HeldSeries = Callable[[Callable[[Any], Any], Sequence[Sequence[Any]], Params], Sequence[Any]]


class Written(NamedTuple):
    """How Python says what an op that holds Graphs does: these are functions, and lines call them.

    graphs    whose functions the lines call
    lines     (the functions' names, names of the inputs, names for the outputs, a way to new names) -> statements, each on
              one line, which may begin with the indentation of a block
    """

    graphs: Sequence[Any]
    lines: Callable[[Sequence[str], Sequence[str], Sequence[str], Callable[[str], str]], Sequence[str]]


class Held(NamedTuple):
    """What is to be known of an op that holds Graphs or functions, since it consists of further ops.

    expand          what is recorded in its place in some traces: op by op where a linear map will be transposed. It is asked
                    before a trace records the op, so that an op of another kind may tell the trace something, too
    forward         how it is evaluated where a backward pass will follow; what that needs is kept with the equation
    pull            its reverse derivative, of what was kept
    without         the op where some of its inputs are zero
    inline          the Graph whose equations a compiled function has in its place
    prune           the op without outputs that nothing uses, and without what they alone need
    replay          its outputs, with each Graph run in the caller's way: a debugger's
    runs_user_code  whether evaluating runs a user's function, whose errors are the user's own
    write           how Python says it, by the types of its inputs and its params
    flows           which elements of its outputs depend on which of its inputs, by the same of its Graphs; None if all may
    series          the op of power series, by its Graphs of such; None for one whose outputs are just those of a Graph
    by_rows         whether it is run op by op on those rows of a batch that choose one of its Graphs by the first input
    steps           (inputs, params) -> how often a loop goes round which ends by a condition
    keeps           (params, steps) -> the bytes that a loop of so many steps keeps, and the Graph of a step; None for one whose
                    step is compiled to write over its carries
    ahead           the equations in place of one where a Graph is written out for NumPy, with what need not be computed in each step
                    ahead of it and behind it; None for those that stay as they are
    """

    expand: Expansion | None = None
    forward: Forward | None = None
    pull: Pull | None = None
    without: Without | None = None
    inline: Inlining | None = None
    prune: Pruning | None = None
    replay: Replay | None = None
    runs_user_code: bool = False
    write: Callable[[Sequence[ArrayType], Params], Written] | None = None
    flows: Flows | None = None
    series: HeldSeries | None = None
    by_rows: bool = False
    steps: Callable[[Sequence[Any], Params], int] | None = None
    keeps: Callable[[Params, int], tuple[int, Any]] | None = None
    ahead: Callable[[Any], list[Any] | None] | None = None


EVERY: frozenset[int] = frozenset(range(1 << 10))


class Definitions(dict[Any, Any]):
    """The equations that make variables, by these, and what is known of how their arrays lie in memory; by default it does
    not matter."""

    def is_dense(self, x: Any) -> bool:
        """Whether the array lies as a copy of it would: forwards, without gaps, and nothing repeated."""
        return True

    def is_in_c_order(self, x: Any) -> bool:
        """Whether it is dense, and in C order."""
        return True


class Sample(NamedTuple):
    """Inputs on which the generic tests try an op. Float inputs are float64; the tests recast them."""

    inputs: tuple[Any, ...]
    params: Params = MappingProxyType({})


class Op:
    """One operation: name, type rule, evaluation, derivative, batching, samples.

    Rules see plain arrays or tracers and are written in NumPy calls and ops, so that a derivative can be differentiated.

    name              how listings print it and how the registry finds it
    evaluate          (*arrays, **params) -> array or tuple of arrays: plain NumPy, free to branch on values
    infer             the type rule
    jvp, vjp          forward and reverse derivative; either may be None and is then derived from the other by transposition
    linear            groups of input positions in which the op is jointly linear: add ({0, 1},), multiply ({0}, {1})
    batch             the batching rule
    multiple_results  whether there is a tuple of outputs
    python            what it is of Python scalars alone, and gives a Python scalar: `operator.add`. None for an op of which
                      NumPy makes its own scalars (`sin`)
    samples           a function that makes inputs for the generic tests
    kinds             dtype kinds that inputs may have, of "biufc"
    never_aliases     whether the output never lies in the memory of an input
    elementwise       whether inputs broadcast against each other, and an output element depends on the elements above it
                      only
    broadcasts        whether the output is the input repeated along some axes, as broadcasting would do by itself
    moves             whether each element of an output is one element of the inputs that the op is linear in, or zero;
                      which one is decided by its params and its other inputs
    code              how generated code writes the op where there is a cheaper way than calling `evaluate`
    with_constants    what is called in place of `evaluate` by a program in which some inputs are constants
    simplify          what the op can be replaced by for certain inputs, exactly
    fast_math         the same where results may be rounded otherwise
    collective        what the op over the named axis `params["axis_name"]` does where that axis is the one being batched
    held              what there is to know besides of an op that consists of further ops
    linear_if         in what other inputs the op is jointly linear, where its params decide that
    strides           how the output lies in memory, for ops that are not plain ufuncs; None, or a rule that gives None, if
                      it is not known
    masked            its derivative for tangents and cotangents that are structurally zero in places (see ops/masks.py)
    nonnegative       whether its derivative is a matrix without negative elements, so that a mask goes through it as an
                      array does; that of an op that moves elements is one
    data              the inputs that have no derivative, by its params: another input has all of it (see `graph.needed`)
    same              whether the output is the input but for memory, so that a Graph has one variable for both
    view              what makes the output a view of the input in NumPy, if it is one (see views.py)
    overwrite         how generated code writes the op into its first input, which the output is but for a part
    contraction       how much an op computes that sums products (matmul, einsum, convolution), and whether in batches
    reach             which elements of the output depend on which of an input that the op is linear in, where it neither is
                      elementwise nor moves elements; None if all may
    effect            whether it does more than its outputs say, so that it is run as often as the program says, and in that
                      order, whoever reads them
    series            how it is applied to power series, where its rule has several of itself in it
    points            the inputs that are indices, of which NumPy raises for one that is out of range, and XLA does not
    """

    __slots__ = (
        "batch",
        "broadcasts",
        "code",
        "collective",
        "contraction",
        "data",
        "effect",
        "elementwise",
        "evaluate",
        "fast_math",
        "held",
        "infer",
        "jvp",
        "keeps_inputs",
        "kinds",
        "linear",
        "linear_if",
        "masked",
        "moves",
        "multiple_results",
        "name",
        "never_aliases",
        "nonnegative",
        "overwrite",
        "points",
        "python",
        "reach",
        "same",
        "samples",
        "series",
        "simple",
        "simplify",
        "strides",
        "view",
        "vjp",
        "with_constants",
    )

    def __init__(
        self,
        name: str,
        *,
        evaluate: Callable[..., Any],
        infer: TypeRule,
        jvp: JvpRule | None = None,
        vjp: VjpRule | None = None,
        linear: Iterable[Iterable[int]] = (),
        batch: BatchRule | None = None,
        multiple_results: bool = False,
        python: Callable[..., Any] | None = None,
        samples: Callable[[], Iterable[Sample]] = tuple,
        kinds: str = "fc",
        never_aliases: bool = False,
        elementwise: bool = False,
        broadcasts: bool = False,
        moves: bool = False,
        code: Spelling | None = None,
        with_constants: Specialisation | None = None,
        simplify: Simplification | None = None,
        fast_math: Simplification | None = None,
        collective: CollectiveRule | None = None,
        held: Held | None = None,
        linear_if: Linearity | None = None,
        contraction: Contraction | None = None,
        masked: MaskRules | None = None,
        nonnegative: bool = False,
        data: Data | None = None,
        strides: StrideRule | None = None,
        same: bool = False,
        view: View | None = None,
        overwrite: Overwriting | None = None,
        reach: Reach | None = None,
        effect: Effect | None = None,
        series: SeriesRule | None = None,
        points: Points | None = None,
    ) -> None:
        self.name = name
        self.evaluate = evaluate
        self.infer = infer
        self.jvp = jvp
        self.vjp = vjp
        self.linear = tuple(frozenset(group) for group in linear)
        self.batch = batch
        self.multiple_results = multiple_results
        self.python = python
        self.samples = samples
        self.kinds = kinds
        self.never_aliases = never_aliases
        self.elementwise = elementwise
        self.broadcasts = broadcasts
        self.moves = moves
        self.code = code
        self.with_constants = with_constants
        self.simplify = simplify
        self.fast_math = fast_math
        self.collective = collective
        self.held = held
        self.contraction = contraction
        self.masked = masked
        self.nonnegative = nonnegative or moves
        self.data = data
        self.strides = strides
        self.same = same
        self.view = view
        self.overwrite = overwrite
        self.reach = reach
        self.effect = effect
        self.series = series
        self.points = points
        self.linear_if = linear_if
        self.simple = held is None and not multiple_results  # there are few others, for which `bind` has a longer way
        # A derivative of an op that is linear in all inputs together never looks at their values.
        self.keeps_inputs = EVERY not in self.linear
        if OPS.known(name) is not None or name in OPS.read:
            raise ValueError(f"an op named {name!r} is registered already; choose another name")
        OPS[name] = self

    def is_linear_in(self, positions: Iterable[int], params: Params) -> bool:
        """Whether the op is a linear map of these inputs, jointly, with the others held fixed."""
        chosen = frozenset(positions)
        return any(chosen <= group for group in self.linear) or self.is_linear_by_params(chosen, params)

    def is_linear_by_params(self, positions: Iterable[int], params: Params) -> bool:
        """Whether its params make it one, and one that brings in nothing that is not zero where these inputs are."""
        return self.linear_if is not None and self.linear_if(positions, params)

    def acts(self, params: Params) -> bool:
        """Whether an equation does more than its outputs say, itself or in a Graph that it holds (`Graph.effects`)."""
        if self.effect is not None or self.held is None:
            return self.effect is not None and self.effect(params)
        parts = [part for value in params.values() for part in (value if type(value) is tuple else (value,))]
        return any([getattr(part, "effects", False) for part in parts])

    @property
    def runs_user_code(self) -> bool:
        return self.held is not None and self.held.runs_user_code

    def computed_in(self, types: Sequence[ArrayType], out: Any) -> list[np.dtype[Any]]:
        """The dtypes in which a ufunc computes with inputs of these types, of which it makes one of the type `out`."""
        ufunc: Any = self.evaluate
        known = promotions(types)
        if (
            self.python is not None and all([t.weak for t in types]) and number_kind(out.dtype) != "b"
        ):  # to Python, bools are ints
            known = [PYTHON_SCALARS[int] if number_kind(dtype) == "b" else dtype for dtype in known]
        return list(ufunc.resolve_dtypes((*known, *[None] * ufunc.nout))[: len(types)])

    def __repr__(self) -> str:
        return f"Op({self.name})"

    def __reduce__(self) -> tuple[Any, ...]:
        return op_named, (self.name,)


OPS: Table[str, Op] = Table()


def op_named(name: str) -> Op:
    """The op of this name, as a pickled one is found again."""
    found = OPS.get(name)
    if found is None:
        raise KeyError(f"there is no op named {name!r}; import the module that declares it first")
    return found
