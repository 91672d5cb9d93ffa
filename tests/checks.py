"""What every op must satisfy, as functions of one op on one sample; `test_registry.py` runs them over the registry, and
a family's own tests may run them on further samples.

The truth is never the rule under test: forward derivatives are held against central differences of NumPy's values,
reverse ones against forward ones by the dot-product identity, batching against a loop.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

import tracegrad as tg
from tracegrad.core.check import check
from tracegrad.core.op import OPS, Op, Sample
from tracegrad.core.trace import UFUNCS, bind
from tracegrad.core.types import PYTHON_SCALARS, ArrayType, type_of
from tracegrad.ops.masks import filled
from tracegrad.testing.rules import check_linear_at_zero
from tracegrad.transforms.linear import transposed_jvp, transposed_vjp

# Ops whose derivative is by decree zero, though the value moves.
OVERRULED = {"stop_gradient"}

KIND_OF = {
    "float64": "f",
    "float32": "f",
    "float16": "f",
    "complex128": "c",
    "complex64": "c",
    "int64": "i",
    "uint8": "u",
    "bool": "b",
}


class Case(NamedTuple):
    """One op on inputs of one dtype."""

    op: Op
    inputs: tuple[Any, ...]
    params: dict[str, Any]

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        """The outputs, always as a tuple, for these inputs in place of the case's own."""
        out = bind(self.op, inputs, self.params)
        return out if self.op.several else (out,)


# ---------------------------------------------------------------------------------------------------------------------
# Cases: the ops' samples, in every dtype that they take.


def recast(x: Any, dtype: str, seed: int) -> Any:
    """A float input in another dtype: with an imaginary part, or rounded away from zero. Others stay as they are."""
    if type(x) is not float and type_of(x).dtype != np.float64:
        return x
    kind = KIND_OF[dtype]
    x = np.asarray(x)
    if kind == "c":
        x = x + 0.3j * np.random.default_rng(seed).uniform(-1, 1, x.shape)
    elif kind in "iu":
        x = np.where(x < 0, np.floor(x), np.ceil(x))
        x = np.abs(x) if kind == "u" else x
    elif kind == "b":
        x = x > np.mean(x) if x.size else x
    return x.astype(dtype)[()]


def cases(op: Op, dtype: str) -> Iterator[tuple[int, Case]]:
    """The op's samples in this dtype, numbered.

    Floats are recast, and for an op of integers the integers that are not negative. An op with complex samples of its
    own has no other complex ones made (its inputs have structure that a random imaginary part would break). A Python
    float next to arrays stays one, since it is weak.
    """
    kind = KIND_OF[dtype]
    if kind not in op.kinds:
        return
    samples = list(enumerate(op.samples()))
    own_complex = any(_is_complex(s) for _, s in samples)
    of_integers = not set(op.kinds) & set("fc")
    for number, sample in samples:
        floats = [x for x in sample.inputs if type(x) is float or type_of(x).dtype.kind in "fc"]
        if of_integers and not floats and all(np.min(x, initial=0) >= 0 for x in sample.inputs):
            yield number, Case(op, tuple([np.asarray(x).astype(dtype)[()] for x in sample.inputs]), dict(sample.params))
            continue
        if kind != "f" and not floats and dtype not in ("int64", "complex128"):
            continue
        if _is_complex(sample):
            if dtype == "complex128":
                yield number, Case(op, tuple(sample.inputs), dict(sample.params))
            elif dtype == "complex64":
                cast = [
                    x.astype({"c": dtype, "f": "float32"}[x.dtype.kind]) if _kind(x) in "fc" else x
                    for x in sample.inputs
                ]
                yield number, Case(op, tuple(cast), dict(sample.params))
        elif not (kind == "c" and own_complex):
            arrays = any(type(x) is not float for x in floats)
            inputs = [
                x if type(x) is float and (arrays or dtype == "float64") and kind in "fc" else recast(x, dtype, i)
                for i, x in enumerate(sample.inputs)
            ]
            yield number, Case(op, tuple(inputs), dict(sample.params))


def mixed_cases(op: Op, dtypes: tuple[str, str]) -> Iterator[tuple[int, Case]]:
    """The samples with several float inputs, these in two dtypes in turn."""
    if not {KIND_OF[d] for d in dtypes} <= set(op.kinds):
        return
    for number, sample in enumerate(op.samples()):
        floats = [i for i, x in enumerate(sample.inputs) if _kind(x) == "f"]
        if len(floats) > 1 and not _is_complex(sample):
            inputs = list(sample.inputs)
            for turn, i in enumerate(floats):
                inputs[i] = recast(inputs[i], dtypes[turn % 2], i)
            yield number, Case(op, tuple(inputs), dict(sample.params))


def scalar_cases(op: Op, dtype: str) -> Iterator[tuple[int, Case]]:
    """The samples with inputs of no dimensions, each of these and all of them as Python scalars."""
    for number, case in cases(op, dtype):
        found = [i for i, x in enumerate(case.inputs) if np.ndim(x) == 0 and type(x) not in PYTHON_SCALARS]
        for chosen in [*[[i] for i in found], *([found] if len(found) > 1 else [])]:
            inputs = [x.item() if i in chosen else x for i, x in enumerate(case.inputs)]
            yield number, case._replace(inputs=tuple(inputs))


def cases_outside(op: Op, dtype: str) -> Iterator[tuple[int, Case]]:
    """A ufunc's samples in a dtype that the op does not claim to take, which NumPy may take all the same."""
    if op in UFUNCS.values() and KIND_OF[dtype] not in op.kinds:
        for number, sample in enumerate(op.samples()):
            inputs = [recast(np.asarray(x, float), dtype, i) for i, x in enumerate(sample.inputs)]
            yield number, Case(op, tuple(inputs), dict(sample.params))


def _kind(x: Any) -> str:
    return type_of(x).dtype.kind


def _is_complex(sample: Sample) -> bool:
    return any(_kind(x) == "c" for x in sample.inputs)


# ---------------------------------------------------------------------------------------------------------------------
# Tools.


def as_tuple(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def same_bits(a: Any, b: Any, what: str) -> None:
    a, b = np.asarray(a), np.asarray(b)
    assert (a.shape, a.dtype) == (b.shape, b.dtype), f"{what}: {type_of(a)} against {type_of(b)}"
    assert np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes(), f"{what}:\n{a}\nagainst\n{b}"


def close(a: Any, b: Any, what: str, tolerance: float) -> None:
    """Equal to within `tolerance` of the larger of 1 and the largest entry."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, f"{what}: shapes {a.shape} and {b.shape}"
    scale = max(1.0, np.max(np.abs(b), initial=0.0))
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale, err_msg=what)


def directions(case: Case, seed: int) -> list[Any]:
    """A random tangent of at most unit size for each differentiable input, None for the others."""
    rng = np.random.default_rng(seed)
    return [random_like(x, rng) if _kind(x) in "fc" else None for x in case.inputs]


def random_like(x: Any, rng: np.random.Generator) -> Any:
    found = type_of(x)
    t = rng.uniform(-1, 1, found.shape)
    if found.dtype.kind == "c":
        t = t + 1j * rng.uniform(-1, 1, found.shape)
    return np.asarray(t).astype(found.dtype)[()]


def active(case: Case) -> list[int]:
    """The positions of the differentiable inputs."""
    return [i for i, x in enumerate(case.inputs) if _kind(x) in "fc"]


def of_active(case: Case) -> Callable[..., tuple[Any, ...]]:
    """The case as a function of its differentiable inputs, with its differentiable outputs."""
    positions = active(case)

    def function(*xs: Any) -> tuple[Any, ...]:
        inputs = list(case.inputs)
        for i, x in zip(positions, xs, strict=True):
            inputs[i] = x
        return tuple([o for o in case(*inputs) if _kind(o) in "fc"])

    return function


def differences(function: Callable[..., Sequence[Any]], xs: Sequence[Any], ts: Sequence[Any]) -> list[Any]:
    """The derivative of `function` at `xs` along `ts` by five-point central differences."""
    h = 1e-3
    at = [function(*[x + k * h * t for x, t in zip(xs, ts, strict=True)]) for k in (-2, -1, 1, 2)]
    return [(a - 8 * b + 8 * c - d) / (12 * h) for a, b, c, d in zip(*at, strict=True)]


def slack(outs: Sequence[Any]) -> float:
    """How much less is asked where an output is of low precision (a cast)."""
    return 1e4 if any(type_of(o).dtype.char not in "dD" for o in outs) else 1.0


def pairing(cts: Sequence[Any], ys: Sequence[Any]) -> float:
    """sum(ct * y), real part, nothing conjugated: the pairing under which a reverse rule is the transpose of the
    forward one, for maps linear over the reals only as well."""
    return float(sum(np.real(np.sum(np.multiply(c, y))) for c, y in zip(cts, ys, strict=True)))


def push(function: Callable[..., Any], xs: Sequence[Any], ts: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(tg.jvp(function, tuple(xs), tuple(ts))[1])


def check_transpose(function: Callable[..., Any], xs: Sequence[Any], seed: int, what: str, tolerance: float) -> None:
    """The dot-product identity between the function's two derivatives, for both real and imaginary cotangents."""
    rng = np.random.default_rng(seed)
    ts = [random_like(x, rng) for x in xs]
    outs, pull = tg.vjp(function, *xs)
    tangents = push(function, xs, ts)
    for turn in (1, 1j) if any(_kind(o) == "c" for o in outs) else (1,):
        cts = tuple([random_like(o, rng) * (turn if _kind(o) == "c" else 1) for o in outs])
        close(pairing(pull(cts), ts), pairing(cts, tangents), what, tolerance)


# ---------------------------------------------------------------------------------------------------------------------
# The checks.


def check_types(case: Case) -> None:
    """The type rule says what evaluation gives; a trace gives the same bits; its Graph is well-formed, with the same
    types where values are unknown; params are plain, hashable data; inputs are left alone."""
    op, inputs, params = case
    hash(tuple(sorted(params.items())))
    before = [np.array(x) for x in inputs]
    plain = case(*inputs)
    for x, b in zip(inputs, before, strict=True):
        same_bits(x, b, f"{op.name} wrote into an input")
    types = [type_of(x) for x in inputs]
    inferred = as_tuple(op.infer(types, params))
    got = tuple([type_of(o) for o in plain])
    assert inferred == got, f"{op.name} of {types}: the type rule says {inferred}, evaluation gives {got}"

    graph = tg.make_graph(case)(*inputs)
    check(graph)
    assert [e.op for e in graph.eqns] == ([] if op.same else [op])
    traced = graph(*inputs)
    for a, b in zip(traced, plain, strict=True):
        same_bits(a, b, f"{op.name}: Graph against plain evaluation")
    assert graph.out_types == inferred, f"{op.name}: {graph.out_types} against {inferred}"
    hash(graph)
    str(graph)

    strong = [ArrayType(t.shape, t.dtype) for t in types]
    abstract = tg.make_graph(case)(*[tg.ShapeDtypeStruct(t.shape, t.dtype) for t in types])
    check(abstract)
    assert abstract.out_types == as_tuple(op.infer(strong, params))


def check_refused_alike(case: Case) -> None:
    """For dtypes that evaluation may refuse: if it does, the type rule does too, with an error of the same kind."""
    types = [type_of(x) for x in case.inputs]
    try:
        case(*case.inputs)
    except TypeError:
        try:
            inferred = case.op.infer(types, case.params)
        except TypeError:
            return
        raise AssertionError(f"{case.op.name} refuses {types}, but the type rule says {inferred}") from None
    check_types(case)


def check_layouts(case: Case) -> None:
    """Arrays in Fortran order, backwards in memory and read-only give the same values and derivatives."""
    function, positions = of_active(case), active(case)
    xs = [case.inputs[i] for i in positions]
    plain = case(*case.inputs)
    rng = np.random.default_rng(11)
    outs = function(*xs) if positions else ()
    ts = [random_like(x, rng) for x in xs]
    cts = [random_like(o, rng) for o in outs]
    for lay_out in (fortran, backwards):
        laid_out = case._replace(inputs=tuple([lay_out(x) for x in case.inputs]))
        for a, b in zip(laid_out(*laid_out.inputs), plain, strict=True):
            assert type_of(a) == type_of(b)
            close(a, b, f"{case.op.name}: {lay_out.__name__} input", 1e-10 * slack([b]))
        if outs:
            other = of_active(laid_out)
            at = [laid_out.inputs[i] for i in positions]
            tangents = push(other, at, [lay_out(t) for t in ts])
            for a, b in zip(tangents, push(function, xs, ts), strict=True):
                close(a, b, f"{case.op.name}: jvp of {lay_out.__name__} input", 1e-10 * slack([b]))
            pulled = tg.vjp(other, *at)[1](tuple([lay_out(c) for c in cts]))
            for a, b in zip(pulled, tg.vjp(function, *xs)[1](tuple(cts)), strict=True):
                close(a, b, f"{case.op.name}: vjp of {lay_out.__name__} input", 1e-10 * slack([b]))


def fortran(x: Any) -> Any:
    return read_only(np.array(x, order="F")) if np.ndim(x) else x


def backwards(x: Any) -> Any:
    return read_only(np.flip(np.flip(x).copy())) if np.ndim(x) else x


def read_only(x: np.ndarray) -> np.ndarray:
    x.flags.writeable = False
    return x


def check_first_order(case: Case) -> None:
    """jvp against differences; vjp against jvp; linearity of the forward rule in the tangents, None being zero."""
    function, positions = of_active(case), active(case)
    xs = [case.inputs[i] for i in positions]
    outs = function(*xs)
    if not positions or not outs:
        return
    name = case.op.name
    one, two = directions(case, 1), directions(case, 2)
    ts = [one[i] for i in positions]
    tangents = push(function, xs, ts)
    for t, d, o in zip(tangents, differences(function, xs, ts), outs, strict=True):
        assert type_of(t).dtype == type_of(o).dtype, f"{name}: the tangent of {type_of(o)} is {type_of(t)}"
        if name in OVERRULED:
            d = 0 * d
        close(t, d, f"{name}: jvp against differences", 1e-7 * slack(outs))
    check_transpose(function, xs, 3, f"{name}: vjp against jvp", 1e-9 * slack(outs))

    def forward(tangents: Sequence[Any]) -> tuple[Any, ...]:
        plain = case(*case.inputs)
        wanted = tuple([i for i, t in enumerate(tangents) if t is not None])
        out = plain if case.op.several else plain[0]
        if case.op.jvp is None:
            found = transposed_vjp(case.op, wanted, tangents, out, case.inputs, case.params)
        else:
            found = case.op.jvp(case.inputs, tangents, out, case.params)
        found = map(filled, found if case.op.several else (found,))
        pairs = zip(found, plain, strict=True)
        return tuple([np.zeros(type_of(o).shape) if t is None else t for t, o in pairs if _kind(o) in "fc"])

    both = forward([None if a is None else a + b for a, b in zip(one, two, strict=True)])
    for a, b, c in zip(forward(one), forward(two), both, strict=True):
        close(a + b, c, f"{name}: jvp is not additive in the tangents", 1e-9 * slack(outs))
    if len(positions) > 1:
        for i in positions:
            alone = [t if j == i else None for j, t in enumerate(one)]
            zeros = [None if t is None else t if j == i else 0 * t for j, t in enumerate(one)]
            for a, b in zip(forward(alone), forward(zeros), strict=True):
                close(a, b, f"{name}: a tangent of None is not as one of zeros", 1e-9)


def check_second_order(case: Case) -> None:
    """The reverse rule has derivatives: forward over reverse against differences, reverse over reverse against that."""
    function, positions = of_active(case), active(case)
    xs = [case.inputs[i] for i in positions]
    outs = function(*xs)
    if not positions or not outs:
        return
    count = len(xs)

    def reverse(*both: Any) -> tuple[Any, ...]:
        return tg.vjp(function, *both[:count])[1](tuple(both[count:]))

    rng = np.random.default_rng(4)
    points = [*xs, *[random_like(o, rng) for o in outs]]
    ts = [random_like(p, rng) for p in points]
    for t, d in zip(push(reverse, points, ts), differences(reverse, points, ts), strict=True):
        close(t, d, f"{case.op.name}: jvp of the vjp against differences of the vjp", 1e-6 * slack(outs))
    check_transpose(reverse, points, 5, f"{case.op.name}: vjp of the vjp against its jvp", 1e-8 * slack(outs))


def check_at_zero(case: Case) -> None:
    """Both derivatives are linear, at tangents and cotangents that are zero too: each rule, differentiated again in these,
    is itself, whatever their numbers; and where they are zero nothing depends on the inputs."""
    function, positions = of_active(case), active(case)
    xs = [case.inputs[i] for i in positions]
    outs = function(*xs) if positions else ()
    if outs:
        check_linear_at_zero(function, xs, 10, case.op.name, 1e-9 * slack(outs))


def check_derivative_types(case: Case) -> None:
    """Derivatives keep shapes and dtypes: tangents those of the output, cotangents those of their input."""
    function, positions = of_active(case), active(case)
    xs = [case.inputs[i] for i in positions]
    if not positions or not function(*xs):
        return
    ts = [directions(case, 1)[i] for i in positions]
    outs, tangents = tg.jvp(function, tuple(xs), tuple(ts))
    for o, t in zip(outs, tangents, strict=True):
        found = type_of(o)
        assert (np.shape(t), type_of(t).dtype) == (found.shape, found.dtype), (
            f"{case.op.name}: the tangent of {found} is {type_of(t)}"
        )
    out, pull = tg.vjp(function, *xs)
    rng = np.random.default_rng(6)
    for x, g in zip(xs, pull(tuple([random_like(o, rng) for o in out])), strict=True):
        found = type_of(x)
        assert (np.shape(g), type_of(g).dtype) == (found.shape, found.dtype), (
            f"{case.op.name}: the cotangent of {found} is {type_of(g)}"
        )
        assert np.all(np.isfinite(g)), f"{case.op.name}: cotangent {g}"


def check_parts(case: Case) -> None:
    """The reverse rule asked for some inputs only, or given a cotangent for one output only (None for the others),
    agrees with itself asked for everything and given zeros."""
    op, inputs, params = case
    positions = tuple(active(case))
    outs = case(*inputs)
    differentiable = [i for i, o in enumerate(outs) if _kind(o) in "fc"]
    if not positions or not differentiable:
        return
    rng = np.random.default_rng(7)
    out = outs if op.several else outs[0]
    cts = [random_like(o, rng) if i in differentiable else None for i, o in enumerate(outs)]

    def reverse(wanted: tuple[int, ...], cts: list[Any]) -> list[Any]:
        ct = cts if op.several else cts[0]
        rule = transposed_jvp if op.vjp is None else lambda op, *rest: op.vjp(*rest)
        got = [filled(g) for g in rule(op, wanted, ct, out, inputs, params)]
        assert len(got) == len(wanted)
        for i, g in zip(wanted, got, strict=True):
            found = type_of(inputs[i])
            assert g is None or (np.shape(g), g.dtype) == (found.shape, found.dtype), (
                f"{op.name}: wanted {wanted}, the cotangent of input {i}, {found}, is {type_of(g)}"
            )
        return [np.zeros(type_of(inputs[i]).shape) if g is None else g for i, g in zip(wanted, got, strict=True)]

    everything = dict(zip(positions, reverse(positions, cts), strict=True))
    for chosen in choices(len(positions)):
        wanted = tuple([p for p, c in zip(positions, chosen, strict=True) if c])
        for i, g in zip(wanted, reverse(wanted, cts), strict=True):
            close(g, everything[i], f"{op.name}: the cotangent of input {i} with {wanted} wanted", 1e-12 * slack([g]))
    if len(differentiable) > 1:
        for one in differentiable:
            alone = [c if i == one else None for i, c in enumerate(cts)]
            zeros = [c if i == one or c is None else 0 * c for i, c in enumerate(cts)]
            for a, b in zip(reverse(positions, alone), reverse(positions, zeros), strict=True):
                close(a, b, f"{op.name}: a cotangent of None is not as one of zeros", 1e-9 * slack([a]))


def check_linear(case: Case) -> None:
    """What the record declares linear is: additive over the reals, zero at zero, and its transpose, found without
    values, is the reverse rule."""
    op, inputs, params = case
    for group in op.linear:
        positions = [i for i in active(case) if i in group]
        if not positions:
            continue

        def function(*xs: Any, positions: list[int] = positions, group: frozenset[int] = group) -> tuple[Any, ...]:
            # The group's integers are zero: a join of floats and a constant is affine.
            full = [0 * np.asarray(x) if i in group else x for i, x in enumerate(inputs)]
            for i, x in zip(positions, xs, strict=True):
                full[i] = x
            return tuple([o for o in case(*full) if _kind(o) in "fc"])

        xs = [inputs[i] for i in positions]
        outs = function(*xs)
        if not outs:
            continue
        rng = np.random.default_rng(8)
        ys = [random_like(x, rng) for x in xs]
        both = function(*[x - 3 * y for x, y in zip(xs, ys, strict=True)])
        for o, p, b in zip(outs, function(*ys), both, strict=True):
            close(b, o - 3 * p, f"{op.name}: not linear in {positions}", 1e-10 * slack([o]))
        if op.keeps_inputs:
            continue
        cts = tuple([random_like(o, rng) for o in outs])
        structs = [tg.ShapeDtypeStruct(type_of(x).shape, type_of(x).dtype) for x in xs]
        found = tg.linear_transpose(function, *structs)(cts)
        for a, b in zip(found, tg.vjp(function, *xs)[1](cts), strict=True):
            close(a, b, f"{op.name}: linear_transpose against vjp", 1e-12 * slack([a]))


def check_traced_rules(case: Case) -> None:
    """Both derivative rules recorded in a trace of types only: they look at no values, the Graph is well-formed, and
    gives what the rules give directly."""
    function, positions = of_active(case), active(case)
    xs = [case.inputs[i] for i in positions]
    outs = function(*xs) if positions else ()
    if not outs:
        return
    rng = np.random.default_rng(9)
    for seeds, transformed in (
        (xs, lambda *both: push(function, both[: len(xs)], both[len(xs) :])),
        (outs, lambda *both: tg.vjp(function, *both[: len(xs)])[1](tuple(both[len(xs) :]))),
    ):
        given = [*xs, *[random_like(s, rng) for s in seeds]]
        structs = [tg.ShapeDtypeStruct(type_of(x).shape, type_of(x).dtype) for x in given]
        graph = tg.make_graph(transformed)(*structs)
        check(graph)
        strong = [np.asarray(x)[()] for x in given]
        for a, b in zip(graph(*strong), transformed(*strong), strict=True):
            assert (np.shape(a), a.dtype) == (np.shape(b), b.dtype)
            close(a, b, f"{case.op.name}: a derivative rule traced against the rule itself", 1e-12 * slack([a]))


def check_batched_derivatives(case: Case) -> None:
    """vmap of each derivative, and each derivative of vmap, against a loop: the derivative rules can be batched, the
    batching rule can be differentiated."""
    function, positions = of_active(case), active(case)
    xs = [case.inputs[i] for i in positions]
    outs = function(*xs) if positions else ()
    if not outs:
        return
    count = len(xs)
    rng = np.random.default_rng(10)
    rows = [[np.asarray(varied(x, k))[()] for x in xs] for k in range(3)]
    points, n = stacked_rows(rows), f"{case.op.name}: "

    def forward(*both: Any) -> tuple[Any, ...]:
        return push(function, both[:count], both[count:])

    def reverse(*both: Any) -> tuple[Any, ...]:
        return tg.vjp(function, *both[:count])[1](tuple(both[count:]))

    mapped = tg.vmap(function)
    ts = [[random_like(x, rng) for x in row] for row in rows]
    cts = [[random_like(o, rng) for o in outs] for _ in rows]
    loop = [forward(*row, *t) for row, t in zip(rows, ts, strict=True)]
    pulled = [reverse(*row, *c) for row, c in zip(rows, cts, strict=True)]
    for what, got, expected in (
        ("vmap of jvp", tg.vmap(forward)(*points, *stacked_rows(ts)), loop),
        ("vmap of vjp", tg.vmap(reverse)(*points, *stacked_rows(cts)), pulled),
        ("jvp of vmap", push(mapped, points, stacked_rows(ts)), loop),
        ("vjp of vmap", tg.vjp(mapped, *points)[1](tuple(stacked_rows(cts))), pulled),
    ):
        for a, b in zip(got, stacked(expected), strict=True):
            assert (np.shape(a), a.dtype) == (b.shape, b.dtype), (
                f"{n}{what}: {type_of(a)} where a loop has {type_of(b)}"
            )
            close(a, b, n + what, 1e-9 * slack([a]))


def stacked_rows(rows: Sequence[Sequence[Any]]) -> list[Any]:
    return [np.stack(column) for column in zip(*rows, strict=True)]


def check_batch(case: Case) -> None:
    """The batching rule against a loop, for every choice of batched inputs; batches of one and of none; `vmap`."""
    op, inputs, params = case
    count = len(inputs)
    if op.batch is None:
        raise AssertionError(f"{op.name} has no batching rule")
    examples = batch_of(case)
    for batched in choices(count):
        rows = [tuple([e if b else x for e, b, x in zip(es, batched, inputs, strict=True)]) for es in examples]
        loop = [case(*row) for row in rows]
        given = tuple([np.stack([r[i] for r in rows]) if b else inputs[i] for i, b in enumerate(batched)])
        compare_batch(op, as_tuple(op.batch(3, list(batched), given, params)), stacked(loop), f"batched {batched}")
    everything = (True,) * count
    one = tuple([np.asarray(x)[None] for x in inputs])
    compare_batch(op, as_tuple(op.batch(1, everything, one, params)), stacked([strong_case(case)]), "a batch of one")
    none = tuple([x[:0] for x in one])
    for o, p in zip(as_tuple(op.batch(0, everything, none, params)), strong_case(case), strict=True):
        assert (o.shape, o.dtype) == ((0, *np.shape(p)), type_of(p).dtype), (
            f"{op.name}: a batch of none is {type_of(o)}"
        )
    moved = tuple([np.moveaxis(np.stack([e[i] for e in examples]), 0, -1) for i in range(count)])
    loop = [case(*[np.asarray(x)[()] for x in row]) for row in examples]
    compare_batch(op, tg.vmap(case, in_axes=-1)(*moved), stacked(loop), "vmap over the last axis")


def strong_case(case: Case) -> tuple[Any, ...]:
    """The outputs, with NumPy scalars in place of Python ones."""
    return case(*[np.asarray(x)[()] for x in case.inputs])


def varied(x: Any, k: int) -> Any:
    """The k-th of a batch of similar inputs: floats scaled a little, integers and booleans rolled along."""
    kind = _kind(x)
    if k == 0 or type_of(x).size == 0:
        return x if type(x) not in PYTHON_SCALARS else np.asarray(x)[()]
    if kind in "fc":
        return (np.asarray(x) * (1 + 0.02 * k)).astype(type_of(x).dtype)[()]
    return np.roll(np.asarray(x), k)[()]


def batch_of(case: Case) -> list[tuple[Any, ...]]:
    """Three rows of inputs whose outputs differ, so that rows mixed up are noticed: floats scaled a little, or if that
    leaves the outputs alone (rounding, an argmax), the first mirrored and scaled a lot."""
    rows = [tuple([varied(x, k) for x in case.inputs]) for k in range(3)]
    if differ([case(*row) for row in rows]):
        return rows
    first = next(iter(active(case)), None)
    for factor in (-2.0, 0.0, np.nan, np.inf) if first is not None else ():
        x = rows[1][first]
        changed = np.asarray(factor * np.flip(x), x.dtype)[()]
        bold = [rows[0], (*rows[1][:first], changed, *rows[1][first + 1 :]), rows[2]]
        try:
            with np.errstate(all="raise"):
                outs = [case(*row) for row in bold]
        except (ValueError, FloatingPointError):  # nothing but NaN, say, where there must be a number
            continue
        if differ(outs):
            return bold
    return rows


def differ(outs: Sequence[tuple[Any, ...]]) -> bool:
    return any(
        not np.array_equal(o, p, equal_nan=_kind(o) in "fc")
        for out in outs[1:]
        for o, p in zip(out, outs[0], strict=True)
    )


def choices(count: int) -> list[tuple[bool, ...]]:
    """Which inputs are batched: every choice but none of them, of up to four; of more, each alone and all."""
    if count <= 4:
        return [c for c in itertools.product([True, False], repeat=count) if any(c)]
    return [tuple([i == j for j in range(count)]) for i in range(count)] + [(True,) * count]


def stacked(loop: list[tuple[Any, ...]]) -> list[Any]:
    return [np.stack(column) for column in zip(*loop, strict=True)]


def compare_batch(op: Op, batch: Sequence[Any], loop: Sequence[Any], what: str) -> None:
    assert len(batch) == len(loop)
    for a, b in zip(batch, loop, strict=True):
        assert (np.shape(a), a.dtype) == (b.shape, b.dtype), (
            f"{op.name}, {what}: {type_of(a)} where a loop gives {type_of(b)}"
        )
        if b.dtype.kind in "fc":
            close(a, b, f"{op.name}, {what}", 1e-10)
        else:
            np.testing.assert_array_equal(a, b, err_msg=f"{op.name}, {what}")


__all__ = [name for name in dir() if name.startswith("check_")] + [
    "KIND_OF",
    "OPS",
    "Case",
    "cases",
    "cases_outside",
    "mixed_cases",
    "scalar_cases",
]


def same(a: Any, b: Any, rtol: float = 0.0) -> None:
    """Same type, and same values unless a tolerance is given. Tuples element by element."""
    if isinstance(b, tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y, rtol)
        return
    a, b = np.asarray(a), np.asarray(b)
    assert (a.shape, a.dtype) == (b.shape, b.dtype)
    if rtol:
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)
    else:
        np.testing.assert_array_equal(a, b)
