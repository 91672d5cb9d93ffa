"""check_grads: derivatives against difference quotients, with a failure that says where, what and whose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.errors import at, described, require_callable
from tracegrad.core.graph import Graph
from tracegrad.core.names import parameter_name
from tracegrad.core.op import Op, Params
from tracegrad.core.trace import bind
from tracegrad.core.types import is_inexact, type_of
from tracegrad.testing.differences import Quotient, quotients
from tracegrad.testing.reproduce import reproducible
from tracegrad.transforms.inspect import make_graph
from tracegrad.transforms.jit.numpy import jit
from tracegrad.transforms.linearize import jvp, vjp
from tracegrad.transforms.vmap import vmap

# How far the derivative may be off, of the largest one in its leaf; and the first step of the differences, of the size of
# the argument, or of one, if that is less.
RTOL = {2: 5e-2, 4: 5e-3, 8: 1e-5}
STEP = 1e-2
ROUNDING = 0.25  # of the tolerance: what is granted to the terms of a derivative that cancel along a direction
FLIPS = 8  # of the signs of a direction, to see what cancels along it
SHOWN = 64  # elements that are tried one by one to find where a derivative is wrong


class GradientError(AssertionError):
    """A derivative that differs from the difference quotient."""


class Kink(NamedTuple):
    """A point at which a function has no derivative: what it is from the left and from the right, and what was given."""

    output: str
    left: float
    right: float
    given: float


class Report(NamedTuple):
    """What `check_grads` found where nothing was wrong."""

    kinks: tuple[Kink, ...]
    checked: int


class _Flat:
    """A function of the inexact leaves of its arguments, which gives the inexact leaves of its result."""

    def __init__(self, f: Callable[..., Any], args: Sequence[Any]) -> None:
        self.f = f
        found, self.structure = tree.tree_flatten_with_path(tuple(args))
        self.leaves = [x for _, x in found]
        self.places = [i for i, x in enumerate(self.leaves) if is_inexact(type_of(x).dtype)]
        paths = [found[i][0] for i in self.places]
        self.names = [parameter_name(f, p[0].idx) + tree.keystr(p[1:]) for p in paths]
        self.inputs = [np.asarray(self.leaves[i]) for i in self.places]
        self.out_names: list[str] = []

    def __call__(self, *inputs: Any) -> list[Any]:
        leaves = list(self.leaves)
        for i, x in zip(self.places, inputs, strict=True):
            leaves[i] = x
        found, _ = tree.tree_flatten_with_path(self.f(*tree.tree_unflatten(self.structure, leaves)))
        kept = [(p, x) for p, x in found if is_inexact(type_of(x).dtype)]
        self.out_names = [f"output{tree.keystr(p)}" for p, _ in kept]
        return [x for _, x in kept]


@reproducible
def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int = 2,
    modes: str | Sequence[str] = ("fwd", "rev"),
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
    *,
    seed: int = 0,
    directions: int = 2,
    jitted: bool = False,
    vmapped: bool = False,
) -> Report:
    """Hold the derivatives of a function against difference quotients, up to an order.

    The quotients are computed in float64 (complex128) whatever the dtype of the arguments, at steps that shrink and are
    extrapolated, and by complex steps where the function is analytic; they are taken along random directions, so that
    large arguments cost no more evaluations than small ones. Forward mode is held against them, and reverse mode by
    <ct, J v> = <J^T ct, v>. At a kink any derivative between the two sides is right, and the kink is reported.

    Args:
        f: a function of arrays and pytrees of them, real or complex; its integers are held fixed.
        args: its positional arguments.
        order: the highest derivative that is checked, 1 or more.
        modes: "fwd", "rev" or both.
        atol, rtol: how far a derivative may be off, absolutely and relative to the largest in its leaf; by dtype, if None.
        eps: the first step of the differences, relative to the size of each argument.
        seed: of the random directions.
        directions: how many of them are tried at each order.
        jitted: whether to check the derivatives as `tg.jit` compiles them, too.
        vmapped: and as `tg.vmap` computes them in a batch, next to those at nine tenths of the arguments.

    Returns:
        A `Report` of the kinks that were met and the number of comparisons.

    Raises:
        GradientError (an AssertionError): a derivative that is wrong. It names the leaf by key path, the element, both
            numbers, and the op whose rule is suspected, with the line that it stands in. Its `reproducer`, like that of
            the other checks' errors, is this call as Python that can be run.

    >>> import numpy as np, tracegrad as tg
    >>> from tracegrad.testing import check_grads
    >>> check_grads(lambda x: np.sin(x) * x, (np.array([0.5, 1.0]),)).kinks
    ()

    Source: the signature is that of jax.test_util.check_grads; the method is in `tracegrad/testing/differences.py`.
    """
    require_callable(f, "check_grads", "(f, args)")
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    unknown = set(modes) - {"fwd", "rev"}
    if unknown or not modes:
        raise ValueError(f"check_grads: modes are 'fwd' and 'rev', got {modes!r}")
    if order < 1:
        raise ValueError(f"check_grads: order must be at least 1, got {order}")
    rng = np.random.default_rng(seed)
    kinks: list[Kink] = []
    checked = 0
    current: Callable[..., Any] = f
    arguments: Sequence[Any] = tuple(args)
    for level in range(1, order + 1):
        check = _Check(f, current, arguments, level, atol, rtol, eps, rng, jitted, vmapped)
        for _ in range(directions):
            checked += check.along_a_direction(modes, kinks)
        if level < order:
            current, arguments = check.derivative(), check.flat.inputs
    return Report(tuple(kinks), checked)


class _Check:
    """One function, at one order."""

    def __init__(
        self,
        of: Any,
        f: Any,
        args: Any,
        level: int,
        atol: Any = None,
        rtol: Any = None,
        eps: Any = None,
        rng: Any = None,
        jitted: bool = False,
        vmapped: bool = False,
    ) -> None:
        self.of, self.level, self.rng = of, level, rng
        self.runs = [("", lambda g: g)]
        self.runs += [(" under jit", jit)] if jitted else []
        self.runs += [(" under vmap", _in_a_batch)] if vmapped else []
        self.atol, self.rtol, self.eps = atol, rtol, eps
        self.flat = _Flat(f, args)
        self.wide = [x.astype(np.complex128 if x.dtype.kind == "c" else np.float64) for x in self.flat.inputs]
        self.narrowest = min([x.dtype.itemsize // (1 + (x.dtype.kind == "c")) for x in self.flat.inputs], default=8)

    def drawn(self, like: Any, dtype: Any = None) -> Any:
        dtype = like.dtype if dtype is None else dtype
        shape = np.shape(like)
        found = self.rng.normal(size=shape)
        if dtype.kind == "c":
            found = found + 1j * self.rng.normal(size=shape)
        return np.asarray(found).astype(dtype)

    def derivative(self) -> Callable[..., Any]:
        """The function of the inputs whose derivative is the next order's."""
        tangents = tuple([self.drawn(x) for x in self.flat.inputs])
        flat = self.flat

        def pushed(*inputs: Any) -> Any:
            given = tuple([t.astype(type_of(x).dtype) for t, x in zip(tangents, inputs, strict=True)])
            return jvp(flat, inputs, given)[1]

        pushed.__name__ = f"derivative {self.level} of {getattr(self.of, '__name__', 'f')}"
        return pushed

    def relative(self) -> float:
        return RTOL.get(self.narrowest, 1e-5) * 3 ** (self.level - 1) if self.rtol is None else self.rtol

    def tolerance(self, expected: Any, error: Any) -> Any:
        atol = self.relative() * 1e-3 if self.atol is None else self.atol
        largest = np.max(np.abs(expected), initial=0.0, where=np.isfinite(expected))
        return atol + self.relative() * largest + 3 * error

    def along_a_direction(self, modes: Sequence[str], kinks: list[Kink]) -> int:
        flat = self.flat
        if not flat.inputs:
            return 0
        v = [self.drawn(x) for x in flat.inputs]
        expected = self.quotients([t.astype(x.dtype) for t, x in zip(v, self.wide, strict=True)])
        count = 0
        for how, run in self.runs:
            if "fwd" in modes:
                got = run(lambda *x: jvp(flat, x, tuple(v))[1])(*flat.inputs)
                for number, (g, q) in enumerate(zip(got, expected, strict=True)):
                    self.compare(f"forward mode{how}", number, v, np.asarray(g), q, kinks)
                    count += 1
            if "rev" in modes:
                outs = flat(*flat.inputs)
                cts = [self.drawn(np.asarray(o)) for o in outs]
                pulled = run(lambda *x, cts=cts: vjp(flat, *x)[1](list(cts)))(*flat.inputs)
                got_sum = _inner(pulled, v)
                want = _inner(cts, [q.value for q in expected])
                sides = [_inner(cts, [q.left for q in expected]), _inner(cts, [q.right for q in expected])]
                scale = sum([np.sum(np.abs(np.asarray(c) * q.value)) for c, q in zip(cts, expected, strict=True)])
                terms = [np.abs(p * t).astype(np.float64) for p, t in zip(pulled, v, strict=True)]
                scale += ROUNDING * sum([np.sum(t**2) for t in terms]) ** 0.5
                error = sum([np.sum(np.abs(c) * q.error) for c, q in zip(cts, expected, strict=True)])
                allowed = self.tolerance(np.asarray(scale), error)
                has_kink = any([np.any(q.has_kink) for q in expected])
                if not (abs(got_sum - want) <= allowed or has_kink or not np.isfinite(want)):
                    self.fail(f"reverse mode{how}", "the sum of all outputs with random factors", got_sum, want, sides)
                count += 1
        return count

    def quotients(self, direction: Sequence[Any]) -> list[Quotient]:
        sizes = [np.max(np.abs(x), initial=0.0) for x in self.wide]
        step = (STEP if self.eps is None else self.eps) * max([min(s, 1.0) for s in sizes if s > 0], default=1.0)
        return quotients(lambda x: [np.asarray(o) for o in self.flat(*x)], self.wide, direction, step)

    def usual_size(self, number: int, direction: Sequence[Any]) -> Any:
        """How large each element of an output's derivative is along the direction with signs drawn anew: of the terms that
        cancelled in it by chance, the rounding errors are left."""
        sizes = []
        for _ in range(FLIPS):
            flipped = [t * self.rng.choice([-1, 1], np.shape(t)).astype(t.dtype) for t in direction]
            sizes.append(np.abs(np.asarray(jvp(self.flat, tuple(self.flat.inputs), tuple(flipped))[1][number])))
        return np.max(sizes, axis=0).astype(np.float64)

    def compare(self, mode: str, number: int, v: Sequence[Any], got: Any, q: Quotient, kinks: list[Kink]) -> None:
        name = self.flat.out_names[number]
        off = np.where(np.isfinite(q.value), np.abs(got - q.value), 0.0)
        allowed = self.tolerance(q.value, q.error)
        if not np.any(wrong := ~(off <= allowed)):
            return
        allowed = allowed + ROUNDING * self.relative() * self.usual_size(number, v)
        if not np.any(wrong := ~(off <= allowed)):
            return
        for index in zip(*np.nonzero(np.atleast_1d(wrong)), strict=True):
            g, left, right, value = [np.atleast_1d(a)[index] for a in (got, q.left, q.right, q.value)]
            slack = np.max(np.atleast_1d(allowed)) + 1e-3 * (abs(left) + abs(right))
            between = min(left.real, right.real) - slack <= g.real <= max(left.real, right.real) + slack
            if np.atleast_1d(q.has_kink)[index] and between:
                kinks.append(Kink(name, left, right, g))
            else:
                where = f"{name}{list(map(int, index))}" if np.ndim(got) else name
                self.fail(mode, where, g, value, (left, right))

    def fail(self, mode: str, where: str, got: Any, want: Any, sides: Any) -> None:
        lines = [
            f"check_grads: the derivative of order {self.level} of {described(self.of)} is wrong in {mode}, of {where} along "
            f"a random direction: tracegrad's derivative is {got:.6g}, the difference quotient {want:.6g}"
            + (f" (ratio {got / want:.6g})" if want else "")
        ]
        lines += [f"  {line}" for line in (*self.elements(), *self.suspects())]
        raise GradientError("\n".join(lines))

    def elements(self) -> Iterator[str]:
        """The element of an argument whose derivative is most wrong."""
        worst = [(0.0, ""), (0.0, "")]  # in forward and in reverse mode
        for k, (name, x) in enumerate(zip(self.flat.names, self.flat.inputs, strict=True)):
            chosen = self.rng.permutation(x.size)[:SHOWN]
            for number in sorted(chosen):
                v = [np.zeros_like(a) for a in self.flat.inputs]
                v[k].reshape(-1)[number] = 1
                expected = self.quotients([t.astype(a.dtype) for t, a in zip(v, self.wide, strict=True)])
                got = jvp(self.flat, tuple(self.flat.inputs), tuple(v))[1]
                cts = [self.drawn(np.asarray(o)) for o in got]
                pulled = vjp(self.flat, *self.flat.inputs)[1](list(cts))
                index = list(map(int, np.unravel_index(number, x.shape)))
                for label, g, want in [
                    *[
                        (f"forward mode, {n}", np.asarray(a), q.value)
                        for n, a, q in zip(self.flat.out_names, got, expected, strict=True)
                    ],
                    (
                        "reverse mode, outputs with random factors",
                        np.asarray(_inner(pulled, v)),
                        np.asarray(_inner(cts, [q.value for q in expected])),
                    ),
                ]:
                    off = np.abs(g - want) - self.tolerance(want, 0.0)
                    off = np.where(np.isnan(off), -np.inf, off)  # where there is no quotient
                    backward = label.startswith("reverse")
                    if off.size and np.max(off) > worst[backward][0]:
                        at_most = np.unravel_index(int(np.argmax(off)), off.shape)
                        worst[backward] = (
                            float(np.max(off)),
                            f"most wrong for {name}{index if x.ndim else ''} ({label}): derivative {g[at_most]:.6g}, quotient "
                            f"{want[at_most]:.6g}",
                        )
        yield from [text for _, text in worst if text][:1]

    def suspects(self) -> Iterator[str]:
        """The ops, of all that the function applies, whose own derivative at these values is wrong."""
        graph = make_graph(self.flat)(*self.wide)
        for op, inputs, params, source in _applied(graph, self.wide):
            if (found := _wrong_rule(op, inputs, params, self.rng)) is not None:
                mode, got, want = found
                name = f"{params['rules'].name!r} with custom derivatives" if "rules" in params else op.name
                yield f"suspected: the rule of {name}{at(source)}, {mode}: {got:.6g} against {want:.6g}"
                return


def _in_a_batch(g: Callable[..., Any]) -> Callable[..., Any]:
    """g of the first of two examples, computed for both by vmap."""

    def first(*inputs: Any) -> Any:
        pairs = [np.stack([x, x * x.dtype.type(0.9)]) for x in inputs]
        with np.errstate(all="ignore"):  # the other may lie outside of the domain
            return [out[0] for out in vmap(g)(*pairs)]

    return first


def _inner(a: Sequence[Any], b: Sequence[Any]) -> Any:
    """The pairing of cotangents with tangents, as jax has it: real part of the sum of products, without conjugates."""
    return float(np.real(sum([np.sum(np.asarray(x) * np.asarray(y)) for x, y in zip(a, b, strict=True)])))


def _applied(graph: Graph, inputs: Sequence[Any]) -> Iterator[tuple[Op, list[Any], Params, Any]]:
    """The ops that a Graph applies, each with its inputs' values."""
    env: dict[Any, Any] = dict(zip(graph.inputs, inputs, strict=True)) | dict(graph.consts)
    for eqn in graph.eqns:
        values = [env.get(a, getattr(a, "value", None)) for a in eqn.inputs]
        yield eqn.op, values, eqn.params, eqn.raw_source
        out = bind(eqn.op, tuple(values), eqn.params)
        env.update(zip(eqn.outputs, out if eqn.op.multiple_results else (out,), strict=True))


def _wrong_rule(op: Op, inputs: list[Any], params: Params, rng: Any) -> tuple[str, float, float] | None:
    """The mode, the derivative and the quotient where an op's rules are wrong at these inputs."""
    places = [i for i, x in enumerate(inputs) if is_inexact(type_of(x).dtype)]
    if not places:
        return None

    def f(*given: Any) -> list[Any]:
        values = list(inputs)
        for i, x in zip(places, given, strict=True):
            values[i] = x
        out = bind(op, tuple(values), params)
        return [o for o in (out if op.multiple_results else (out,)) if is_inexact(type_of(o).dtype)]

    check = _Check(f, lambda *x: f(*x), [np.asarray(inputs[i]) for i in places], 1, rng=rng)
    v = [check.drawn(x) for x in check.wide]
    expected = check.quotients(v)
    got = jvp(check.flat, tuple(check.wide), tuple(v))[1]
    cts = [check.drawn(np.asarray(o)) for o in got]
    pulled = vjp(check.flat, *check.wide)[1](list(cts))
    pairs = [("forward mode", _inner(cts, got)), ("reverse mode", _inner(pulled, v))]
    want = _inner(cts, [q.value for q in expected])
    for mode, g in pairs:
        if not abs(g - want) <= check.tolerance(np.asarray(want), 1e-6 * abs(want)) and np.isfinite(want):
            return mode, g, want
    return None
