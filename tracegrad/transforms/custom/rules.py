"""The derivative rules of a function of flat arrays, and what is made of them in general."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tracegrad import tree
from tracegrad.core.graph import Graph, exactly
from tracegrad.core.reuse import Draws
from tracegrad.core.tracer import Tracer
from tracegrad.transforms.linear import at_positions


class Rules:
    """A function of flat arrays with its derivative rules, hashed by identity: the params of one `custom_call`.

    call(*arrays) -> list of arrays
    jvp(primals, tangents, out) -> list of output tangents; or None where only a vjp is given
    fwd(primals, perturbed, out) -> list of outputs (None: not known), what `bwd` needs; or None where only a jvp is given
    bwd(residuals, primals, cts) -> one cotangent for each input
    own     how many of the inputs are arguments; there is no derivative with respect to the others
    closed  what the inputs after these stand for, if function and rules close over something
    reads   how many of the inputs, from the first on, `call` looks at
    drawn   which inputs are keys from which `call` draws, where it has been traced
    settled whether it was bound in a program that will be run again, whose inputs all that it closes over then became
    graph   what `call` is, where that is known and nothing of it can change: it runs as a compiled function
    acts    whether `call` does more than its outputs say
    remake  a function and its arguments, of which these are made, if shapes are among them: others for other shapes
    made_of what all of these are made of, where that does not depend on shapes: others of the same are good for the same calls

    A tangent or cotangent is None where it is zero. `perturbed` says of each input whether its cotangent is wanted, and `out` are
    the outputs, which a rule need not compute again.
    """

    __slots__ = (
        "acts",
        "bwd",
        "call",
        "closed",
        "drawn",
        "fwd",
        "graph",
        "is_batch",
        "jvp",
        "made_of",
        "name",
        "own",
        "reads",
        "remake",
        "settled",
    )

    def __init__(
        self,
        name: str,
        own: int,
        call: Callable[..., Sequence[Any]],
        jvp: Callable[..., Sequence[Any]] | None = None,
        fwd: Callable[..., tuple[Sequence[Any] | None, Any]] | None = None,
        bwd: Callable[..., Sequence[Any]] | None = None,
        closed: Sequence[Tracer] = (),
        is_batch: bool = False,
        graph: Graph | None = None,
        acts: bool = False,
        reads: int | None = None,
        made_of: tuple[Any, ...] | None = None,
    ) -> None:
        self.made_of = made_of
        self.remake: tuple[Any, ...] = ()
        self.reads = own if reads is None else reads
        self.settled = False
        self.drawn: Draws = {}
        self.graph = graph
        self.acts = acts
        self.is_batch = is_batch  # of others, which have what is closed over among their inputs
        self.name = name
        self.own = own
        self.call = call
        self.jvp = jvp
        self.fwd = fwd
        self.bwd = bwd
        self.closed = closed

    def is_like(self, other: Rules) -> bool:
        """Whether these do for arrays of any shapes what others do."""
        if self.made_of is None or other.made_of is None:
            return self is other
        (mine, structure), (theirs, another) = map(tree.tree_flatten, (self.made_of, other.made_of))
        return structure == another and exactly(tuple(mine)) == exactly(tuple(theirs))

    def __repr__(self) -> str:
        return self.name


class Later:
    """What is kept for a backward pass whose forward rule is run with it."""

    __slots__ = ("out", "perturbed")

    def __init__(self, perturbed: tuple[bool, ...], out: Sequence[Any]) -> None:
        self.perturbed = perturbed
        self.out = out


def pull_of(
    fwd: Callable[..., Any], bwd: Callable[..., Sequence[Any]], count: int, later: Later
) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """The two rules as one, of the inputs, the outputs and the cotangents of these."""
    ends = count + len(later.out)

    def pull(arrays: Sequence[Any]) -> Sequence[Any]:
        primals = list(arrays[:count])
        return bwd(fwd(primals, later.perturbed, arrays[count:ends])[1], primals, arrays[ends:])

    return pull


def without_none(
    function: Callable[[Sequence[Any]], Sequence[Any]],
    arrays: Sequence[Any],
    run: Callable[[Callable[..., Sequence[Any]], Sequence[int]], Sequence[Any]],
) -> list[Any]:
    """What a function makes of arrays, among which and its results may be None. `run` applies one of those that are not
    None, which it is told the positions of."""
    known = [i for i, x in enumerate(arrays) if x is not None]
    results: Sequence[Any] = ()

    def flat(*given: Any) -> list[Any]:
        nonlocal results
        results = function(at_positions(len(arrays), known, given))
        return [r for r in results if r is not None]

    found = iter(run(flat, known))
    return [None if r is None else next(found) for r in results]
