"""What `check_rule` holds a case of an op to, one function for each claim."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.check import check
from tracegrad.core.types import ArrayType, ShapeDtypeStruct, is_inexact, type_of
from tracegrad.ops.masks import filled
from tracegrad.testing.cases import Case, batch_of, choices, varied
from tracegrad.testing.differences import five_point
from tracegrad.testing.gradients import check_grads
from tracegrad.testing.variants import assert_same, check_jit
from tracegrad.transforms.inspect import make_graph
from tracegrad.transforms.linear import transposed_jvp, transposed_vjp
from tracegrad.transforms.linearize import jvp, linear_transpose, vjp
from tracegrad.transforms.vmap import vmap


class How(NamedTuple):
    """What check_rule was asked for."""

    order: int
    backends: tuple[str, ...]
    seed: int

    def like(self, xs: Iterable[Any], stream: int = 0) -> tuple[Any, ...]:
        """For each of these a random array of its type, with numbers of at most unit size."""
        rng = np.random.default_rng((self.seed, stream))
        return tuple([_random(type_of(x), rng) for x in xs])


Check = Callable[[Case, How], None]


def evaluated(case: Case) -> tuple[Any, ...]:
    """The outputs. What evaluation refuses with a TypeError, the type rule must refuse, too."""
    try:
        return case(*case.inputs)
    except TypeError as error:
        try:
            inferred = case.op.infer([type_of(x) for x in case.inputs], case.params)
        except TypeError:
            raise error from None
        raise AssertionError(f"{case.name}: evaluation refuses it, the type rule says {_listed(inferred)}") from error


# ---------------------------------------------------------------------------------------------------------------------
# Tools.


def _random(of: ArrayType, rng: np.random.Generator) -> Any:
    found = rng.uniform(-1, 1, of.shape)
    if of.dtype.kind == "c":
        found = found + 1j * rng.uniform(-1, 1, of.shape)
    return np.asarray(found).astype(of.dtype)[()]


def _as_tuple(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def _listed(types: Any) -> str:
    return ", ".join(map(str, _as_tuple(types)))


def _applied(case: Case) -> _Named:
    return _Named(case.name, lambda *xs: case(*xs))


def _of_floats(case: Case) -> tuple[_Named, list[Any], tuple[Any, ...]]:
    """The case as a function of its inputs that have derivatives, with its outputs that have; these inputs and outputs."""
    xs = [case.inputs[i] for i in case.floats]
    function = _Named(case.name, lambda *xs: case.of(case.floats, *xs))
    return function, xs, function(*xs) if xs else ()


class _Named:
    """A function as errors are to call it."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.__name__ = self.__qualname__ = name
        self.function = function

    def __call__(self, *xs: Any) -> Any:
        return self.function(*xs)


def _push(function: Callable[..., Any], xs: Sequence[Any], ts: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(jvp(function, tuple(xs), tuple(ts))[1])


def _pull(function: Callable[..., Any], xs: Sequence[Any], cts: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(vjp(function, *xs)[1](tuple(cts)))


def _struct(x: Any) -> ShapeDtypeStruct:
    return ShapeDtypeStruct(type_of(x).shape, type_of(x).dtype)


def _same_bits(a: Any, b: Any, what: str) -> None:
    a, b = np.asarray(a), np.asarray(b)
    assert_same(a, b, what, 0.0)
    if np.ascontiguousarray(a).tobytes() != np.ascontiguousarray(b).tobytes():
        raise AssertionError(f"{what}: other bits,\n{a}\nand not\n{b}")


def _close(got: Any, expected: Any, what: str, tolerance: float) -> None:
    """Equal to within `tolerance` of the larger of 1 and the largest entry, of whatever dtypes."""
    got, expected = np.asarray(got), np.asarray(expected)
    dtype = np.result_type(got, expected)
    assert_same(got.astype(dtype), expected.astype(dtype), what, tolerance, tolerance)


def _of_type(got: Any, like: Any, what: str) -> None:
    """A derivative has the shape and dtype of what it belongs to."""
    found, wanted = type_of(got), type_of(like)
    if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
        raise AssertionError(f"{what} {wanted} is {found}")


def _slack(outs: Sequence[Any]) -> float:
    """How much less is asked where an output is of low precision (a cast)."""
    return 1e4 if any([type_of(o).dtype.char not in "dD" for o in outs]) else 1.0


def _hold(
    function: _Named, xs: Sequence[Any], outs: Sequence[Any], how: How, tolerance: float, transpose: float
) -> None:
    """The forward derivative against differences, the reverse one against the forward one, for both real and imaginary
    cotangents. `check_grads`, which takes longer, has the last word, since it knows kinks and how exact a quotient is, and says
    more."""
    ts = how.like(xs, 1)
    tangents = _push(function, xs, ts)
    if how.order and not _agrees(function, xs, ts, tangents, tolerance):
        check_grads(function, xs, order=1, rtol=tolerance, seed=how.seed)
    for turn in (1, 1j) if any([np.iscomplexobj(o) for o in outs]) else (1,):
        cts = [c * (turn if np.iscomplexobj(c) else 1) for c in how.like(outs, 2)]
        pulled, pushed = _pairing(_pull(function, xs, cts), ts), _pairing(cts, tangents)
        _close(pulled, pushed, f"{function.__name__}: <vjp(ct), t> against <ct, jvp(t)>", transpose)


def _agrees(function: _Named, xs: Sequence[Any], ts: Sequence[Any], tangents: Sequence[Any], tolerance: float) -> bool:
    try:
        for t, d in zip(tangents, five_point(function, xs, ts), strict=True):
            _close(t, d, "", tolerance)
    except (AssertionError, ArithmeticError, ValueError):  # or a step out of the domain
        return False
    return True


def _pairing(cts: Sequence[Any], ys: Sequence[Any]) -> float:
    """sum(ct * y), real part, nothing conjugated: the pairing under which a reverse rule is the transpose of the
    forward one, for maps linear over the reals only as well."""
    return float(sum([np.real(np.sum(np.multiply(c, y))) for c, y in zip(cts, ys, strict=True)]))


# ---------------------------------------------------------------------------------------------------------------------
# The checks.


def check_types(case: Case, how: How) -> None:
    """The type rule says what evaluation gives; a trace gives the same bits; its Graph is well-formed, with the same
    types where values are unknown; params are plain, hashable data; inputs are left alone."""
    op, inputs, params = case.op, case.inputs, case.params
    hash(tuple(sorted(params.items())))
    before = [np.array(x) for x in inputs]
    plain = evaluated(case)
    for x, b in zip(inputs, before, strict=True):
        _same_bits(x, b, f"{case.name}: evaluation wrote into an input:")
    types = [type_of(x) for x in inputs]
    inferred = _as_tuple(op.infer(types, params))
    got = tuple([type_of(o) for o in plain])
    if inferred != got:
        raise AssertionError(f"{case.name}: evaluation gives {_listed(got)}, the type rule says {_listed(inferred)}")
    graph = make_graph(_applied(case))(*inputs)
    check(graph)
    if op.held is None and [e.op for e in graph.eqns] != ([] if op.same else [op]):
        raise AssertionError(f"{case.name} is more than itself in a Graph:\n{graph}")
    for a, b in zip(graph(*inputs), plain, strict=True):
        _same_bits(a, b, f"{case.name}: its Graph against evaluation:")
    hash(graph)
    str(graph)
    strong = [ArrayType(t.shape, t.dtype) for t in types]
    abstract = make_graph(_applied(case))(*[ShapeDtypeStruct(t.shape, t.dtype) for t in types])
    check(abstract)
    for what, found, wanted in (
        ("its Graph", graph.out_types, inferred),
        ("its Graph without values", abstract.out_types, _as_tuple(op.infer(strong, params))),
    ):
        if found != wanted:
            raise AssertionError(f"{case.name}: {what} gives {_listed(found)}, the type rule says {_listed(wanted)}")


def check_derivative_types(case: Case, how: How) -> None:
    """Derivatives keep shapes and dtypes: tangents those of the output, cotangents those of their input; and are finite."""
    function, xs, outs = _of_floats(case)
    if not outs:
        return
    for o, t in zip(outs, _push(function, xs, how.like(xs, 3)), strict=True):
        _of_type(t, o, f"{case.name}: the tangent of the output")
    for i, x, g in zip(case.floats, xs, _pull(function, xs, how.like(outs, 4)), strict=True):
        _of_type(g, x, f"{case.name}: the cotangent of input {i},")
        if not np.all(np.isfinite(g)):
            raise AssertionError(f"{case.name}: the cotangent of input {i} is {g}")


def check_quotients(case: Case, how: How) -> None:
    """Derivatives against difference quotients, in any precision."""
    function, xs, outs = _of_floats(case)
    if outs and how.order:
        check_grads(function, xs, order=how.order, seed=how.seed)


def check_first_order(case: Case, how: How) -> None:
    """jvp against differences; vjp against jvp; the forward rule is additive in the tangents, and takes None for a zero."""
    function, xs, outs = _of_floats(case)
    if not outs:
        return
    slack = _slack(outs)
    _hold(function, xs, outs, how, 1e-7 * slack, 1e-9 * slack)
    op, plain, n = case.op, case(*case.inputs), case.floats

    def forward(tangents: Sequence[Any]) -> tuple[Any, ...]:
        wanted = tuple([i for i, t in enumerate(tangents) if t is not None])
        out = plain if op.multiple_results else plain[0]
        if op.jvp is None:
            found = transposed_vjp(op, wanted, tangents, out, case.inputs, case.params)
        else:
            found = op.jvp(case.inputs, tangents, out, case.params)
        pairs = zip(map(filled, found if op.multiple_results else (found,)), plain, strict=True)
        return tuple([np.zeros(type_of(o).shape) if t is None else t for t, o in pairs if is_inexact(type_of(o).dtype)])

    def full(ts: Sequence[Any]) -> list[Any]:
        given = dict(zip(n, ts, strict=True))
        return [given.get(i) for i in range(len(case.inputs))]

    one, two = how.like(xs, 5), how.like(xs, 6)
    both = forward(full([a + b for a, b in zip(one, two, strict=True)]))
    for a, b, c in zip(forward(full(one)), forward(full(two)), both, strict=True):
        _close(a + b, c, f"{case.name}: jvp is not additive in the tangents:", 1e-9 * slack)
    if len(n) > 1:
        for chosen in n:
            alone = forward([t if i == chosen else None for i, t in enumerate(full(one))])
            zeros = forward(full([t if i == chosen else 0 * t for i, t in zip(n, one, strict=True)]))
            for a, b in zip(alone, zeros, strict=True):
                _close(a, b, f"{case.name}: jvp takes None for something else than zeros:", 1e-9)


def check_second_order(case: Case, how: How) -> None:
    """Both rules have derivatives: forward ones against differences, reverse ones against these."""
    function, xs, outs = _of_floats(case)
    if not outs or how.order < 2:
        return
    count, slack = len(xs), _slack(outs)
    for what, apply, seeds in (("jvp", _push, xs), ("vjp", _pull, outs)):
        name = f"{what} of {case.name}"
        derivative = _Named(name, lambda *both, apply=apply: apply(function, both[:count], both[count:]))
        points = [*xs, *how.like(seeds, 7)]
        _hold(derivative, points, derivative(*points), how, 1e-6 * slack, 1e-8 * slack)
    if how.order > 2:
        check_grads(function, xs, order=how.order, seed=how.seed)


def check_at_zero(case: Case, how: How) -> None:
    """Both derivatives are linear maps where they are applied to zeros, too.

    A rule that looks at the numbers in a tangent or cotangent (`where(ct == 0, …)`) is right at first, and wrong as soon as
    it is differentiated again. So both maps are differentiated in what they are applied to, at zero and where every
    other element is zero, which has to give the map itself; and in the inputs, which at zero has to give zero.
    """
    function, xs, outs = _of_floats(case)
    if not outs:
        return
    tolerance, moved = 1e-9 * _slack(outs), how.like(xs, 8)

    def with_zeros(x: Any) -> Any:
        return np.where(np.arange(x.size).reshape(x.shape) % 2, x, 0).astype(x.dtype)[()]

    for what, apply, seeds in (("jvp", _push, xs), ("vjp", _pull, outs)):
        some = how.like(seeds, 9)
        zeros = tuple([0 * s for s in some])
        for at in (zeros, tuple([with_zeros(s) for s in some])):
            found = _push(lambda *ds, apply=apply: apply(function, xs, ds), at, some)
            for a, b in zip(found, apply(function, xs, some), strict=True):
                _close(a, b, f"{case.name}: {what}, differentiated where it is applied to zeros,", tolerance)
        for a in _push(lambda *at, apply=apply, zeros=zeros: apply(function, at, zeros), xs, moved):
            _close(a, 0 * a, f"{case.name}: {what} of zeros, differentiated in the inputs,", tolerance)


def check_parts(case: Case, how: How) -> None:
    """The reverse rule asked for some inputs only, or given a cotangent for one output only (None for the others),
    agrees with itself asked for everything and given zeros."""
    op, inputs, n = case.op, case.inputs, tuple(case.floats)
    outs = case(*inputs)
    moved = [i for i, o in enumerate(outs) if is_inexact(type_of(o).dtype)]
    if not n or not moved:
        return
    drawn = dict(zip(moved, how.like([outs[i] for i in moved], 10), strict=True))
    cts = [drawn.get(i) for i in range(len(outs))]
    out = outs if op.multiple_results else outs[0]

    def reverse(wanted: tuple[int, ...], cts: list[Any]) -> list[Any]:
        ct = cts if op.multiple_results else cts[0]
        rule = transposed_jvp if op.vjp is None else lambda op, *rest: op.vjp(*rest)
        got = [filled(g) for g in rule(op, wanted, ct, out, inputs, case.params)]
        if len(got) != len(wanted):
            raise AssertionError(f"{case.name}: vjp with wanted={wanted} gives {len(got)} cotangents")
        for i, g in zip(wanted, got, strict=True):
            if g is not None:
                _of_type(g, inputs[i], f"{case.name}: vjp with wanted={wanted}, the cotangent of input {i},")
        return [np.zeros(type_of(inputs[i]).shape) if g is None else g for i, g in zip(wanted, got, strict=True)]

    everything = dict(zip(n, reverse(n, cts), strict=True))
    for chosen in choices(len(n)):
        wanted = tuple([p for p, c in zip(n, chosen, strict=True) if c])
        for i, g in zip(wanted, reverse(wanted, cts), strict=True):
            what = f"{case.name}: vjp with wanted={wanted}, input {i}, against wanted={n}:"
            _close(g, everything[i], what, 1e-12 * _slack([g]))
    if len(moved) > 1:
        for one in moved:
            alone = reverse(n, [c if i == one else None for i, c in enumerate(cts)])
            zeros = reverse(n, [c if i == one or c is None else 0 * c for i, c in enumerate(cts)])
            for a, b in zip(alone, zeros, strict=True):
                _close(a, b, f"{case.name}: vjp takes None for something else than zeros:", 1e-9 * _slack([a]))


def check_linear(case: Case, how: How) -> None:
    """What the record declares linear is: additive over the reals, zero at zero, and its transpose, found without
    values, is the reverse rule."""
    op = case.op
    for group in op.linear:
        n = [i for i in case.floats if i in group]
        # The group's integers are zero: a join of floats and a constant is affine.
        linear = case._replace(
            inputs=tuple([0 * np.asarray(x) if i in group else x for i, x in enumerate(case.inputs)])
        )
        function = lambda *xs, n=n, linear=linear: linear.of(n, *xs)
        xs = [case.inputs[i] for i in n]
        outs = function(*xs) if xs else ()
        if not outs:
            continue
        ys = how.like(xs, 11)
        both = function(*[x - 3 * y for x, y in zip(xs, ys, strict=True)])
        for o, p, b in zip(outs, function(*ys), both, strict=True):
            _close(b, o - 3 * p, f"{case.name}: declared linear in inputs {n}, and not:", 1e-10 * _slack([o]))
        if not op.keeps_inputs:
            cts = how.like(outs, 12)
            found = linear_transpose(function, *map(_struct, xs))(cts)
            for a, b in zip(found, _pull(function, xs, cts), strict=True):
                _close(a, b, f"{case.name}: its linear_transpose against vjp:", 1e-12 * _slack([a]))


def check_traced(case: Case, how: How) -> None:
    """Both derivative rules recorded in a trace of types only: they look at no values, the Graph is well-formed, and
    gives what the rules give directly."""
    function, xs, outs = _of_floats(case)
    for what, apply, seeds in (("jvp", _push, xs), ("vjp", _pull, outs)) if outs else ():
        derivative = lambda *both, apply=apply: apply(function, both[: len(xs)], both[len(xs) :])
        given = [np.asarray(x)[()] for x in (*xs, *how.like(seeds, 13))]
        graph = make_graph(derivative)(*map(_struct, given))
        check(graph)
        for a, b in zip(graph(*given), derivative(*given), strict=True):
            _of_type(a, b, f"{case.name}: {what} traced without values: instead of")
            _close(a, b, f"{case.name}: {what} traced without values:", 1e-12 * _slack([a]))


def check_batch(case: Case, how: How) -> None:
    """The batching rule against a loop, for every choice of batched inputs; batches of one and of none; `vmap`."""
    op, inputs, params = case.op, case.inputs, case.params
    if op.batch is None:
        return
    count = len(inputs)
    examples = batch_of(case)

    def compare(batch: Any, loop: Sequence[tuple[Any, ...]], what: str) -> None:
        for a, b in zip(_as_tuple(batch), _stacked(loop), strict=True):
            assert_same(a, b, f"{case.name}, {what}, against a loop:", atol=_absolute(b))

    for batched in choices(count):
        rows = [tuple([e if b else x for e, b, x in zip(es, batched, inputs, strict=True)]) for es in examples]
        given = tuple([np.stack([r[i] for r in rows]) if b else inputs[i] for i, b in enumerate(batched)])
        which = ", ".join([str(i) for i, b in enumerate(batched) if b])
        compare(op.batch(3, list(batched), given, params), [case(*row) for row in rows], f"a batch of input {which}")
    everything = (True,) * count
    strong = case(*[np.asarray(x)[()] for x in inputs])
    one = tuple([np.asarray(x)[None] for x in inputs])
    compare(op.batch(1, everything, one, params), [strong], "a batch of one")
    none = _as_tuple(op.batch(0, everything, tuple([x[:0] for x in one]), params))
    for o, p in zip(none, strong, strict=True):
        if (o.shape, o.dtype) != ((0, *np.shape(p)), type_of(p).dtype):
            raise AssertionError(f"{case.name}: a batch of none, of outputs {type_of(p)}, is {type_of(o)}")
    moved = tuple([np.moveaxis(np.stack([e[i] for e in examples]), 0, -1) for i in range(count)])
    rows = [tuple([np.asarray(x)[()] for x in row]) for row in examples]
    compare(vmap(_applied(case), in_axes=-1)(*moved), [case(*row) for row in rows], "vmap over the last axis")


def _absolute(x: Any) -> float:
    """What numbers that cancel to less than one may be off by, in a dtype."""
    return {2: 1e-2, 4: 1e-4}.get(x.dtype.itemsize // (1 + (x.dtype.kind == "c")), 1e-10)


def _stacked(rows: Sequence[Sequence[Any]]) -> list[Any]:
    return [np.stack(column) for column in zip(*rows, strict=True)]


def check_batched_derivatives(case: Case, how: How) -> None:
    """vmap of each derivative, and each derivative of vmap, against a loop: the derivative rules can be batched, the
    batching rule can be differentiated."""
    function, xs, outs = _of_floats(case)
    if not outs or case.op.batch is None:
        return
    count, mapped = len(xs), vmap(function)
    rows = [[np.asarray(varied(x, k))[()] for x in xs] for k in range(3)]
    points = _stacked(rows)
    for what, apply, seeds in (("jvp", _push, xs), ("vjp", _pull, outs)):
        each = [how.like(seeds, 14 + k) for k in range(3)]
        loop = _stacked([apply(function, row, d) for row, d in zip(rows, each, strict=True)])
        batched = vmap(lambda *both, apply=apply: apply(function, both[:count], both[count:]))
        for how_made, got in (
            (f"vmap of {what}", batched(*points, *_stacked(each))),
            (f"{what} of vmap", apply(mapped, points, _stacked(each))),
        ):
            for a, b in zip(got, loop, strict=True):
                _of_type(a, b, f"{case.name}: {how_made}, where a loop gives")
                _close(a, b, f"{case.name}: {how_made} against a loop:", 1e-9 * _slack([a]))


def check_layouts(case: Case, how: How) -> None:
    """Arrays in Fortran order, backwards in memory and read-only give the same values and derivatives."""
    function, xs, outs = _of_floats(case)
    ts, cts = how.like(xs, 17), how.like(outs, 18)
    plain = case(*case.inputs)
    for where, lay_out in (("in Fortran order", _fortran), ("backwards in memory", _backwards)):
        laid_out = case._replace(inputs=tuple([lay_out(x) for x in case.inputs]))
        pairs = [("values", laid_out(*laid_out.inputs), plain)]
        if outs:
            other, at, _ = _of_floats(laid_out)
            pairs += [("jvp", _push(other, at, [lay_out(t) for t in ts]), _push(function, xs, ts))]
            pairs += [("vjp", _pull(other, at, [lay_out(c) for c in cts]), _pull(function, xs, cts))]
        for what, got, expected in pairs:
            for a, b in zip(got, expected, strict=True):
                _of_type(a, b, f"{case.name}: {what} of arrays {where}: instead of")
                _close(a, b, f"{case.name}: {what} of arrays {where}:", 1e-10 * _slack([b]))


def _fortran(x: Any) -> Any:
    return _read_only(np.array(x, order="F")) if np.ndim(x) else x


def _backwards(x: Any) -> Any:
    return _read_only(np.flip(np.flip(x).copy())) if np.ndim(x) else x


def _read_only(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    x.flags.writeable = False
    return x


def check_compiled(case: Case, how: How) -> None:
    """Compiled code against evaluation."""
    check_jit(_applied(case), case.inputs, backends=how.backends)


EVERYTHING: tuple[Check, ...] = (
    check_types, check_derivative_types, check_first_order, check_second_order, check_parts, check_linear, check_at_zero, check_traced, check_batch, check_batched_derivatives, check_layouts,
    check_compiled,
)  # fmt: skip
