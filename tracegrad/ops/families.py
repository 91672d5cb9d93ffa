"""How ops are declared: one function for each common kind, so that most ops are one call with their derivative in it.

`elementwise`   gives for each input a function `(d, out, *inputs)` that multiplies `d` by the partial derivative. The
                same function serves tangents and cotangents: a diagonal map is its own transpose.
`linear`        gives the transpose with respect to its one array input.
`multilinear`   gives one transpose for each input.
`locally_constant`  has no derivative.
`Op`            anything else: the record itself, with a jvp or vjp rule.

Rules are written in NumPy calls: these reach arrays directly, and tracers through NumPy's protocols.
"""

from __future__ import annotations

import cmath
import functools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from tracegrad.core.calls import called
from tracegrad.core.errors import DtypeError, ShapeError, at, unsupported, user_source
from tracegrad.core.functions import FUNCTIONS, UFUNCS
from tracegrad.core.op import (
    EVERY,
    OPS,
    BatchRule,
    Definitions,
    MaskRules,
    Op,
    Params,
    Sample,
    Simplification,
    TypeRule,
    VjpRule,
    Wanted,
)
from tracegrad.core.trace import as_array, bind, contains_tracer
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import (
    PYTHON_SCALARS,
    ArrayType,
    Shape,
    is_added,
    is_inexact,
    number_kind,
    promotions,
    scalar_type,
    type_of,
)
from tracegrad.ops.masks import Mask, Masked, plus, quiet, reduced, sparse
from tracegrad.typing import F

# A partial derivative, as the map that multiplies by it: (d, out, *inputs) -> d * partial.
Partial = Callable[..., Any]


# ---------------------------------------------------------------------------------------------------------------------
# Broadcasting and dtypes, which elementwise rules undo.


def shape_of(x: Any) -> Shape:
    """The shape of an array, tracer or Python scalar."""
    return () if type(x) in PYTHON_SCALARS else x.shape


def broadcast_shapes(name: str, types: Sequence[ArrayType]) -> Shape:
    """NumPy's broadcasting of the input shapes, with an error that shows the types."""
    shape = types[0].shape
    for t in types:
        if t.shape != shape:
            break
    else:
        return shape
    try:
        return np.broadcast_shapes(*[t.shape for t in types])
    except ValueError:
        raise ShapeError(
            f"{name}: shapes {', '.join([str(t) for t in types])} do not broadcast together; trailing dimensions must be "
            "equal or 1 (write x[:, None] or np.expand_dims to line them up)"
        ) from None


def total(d: Any, axes: Any) -> Any:
    """The sum of a tangent or cotangent over axes. What NumPy does for float16 it does not know to do for bfloat16 and its
    like, to add up in float32: ones in bfloat16 never come to more than 256."""
    if is_added(d.dtype):
        return np.add.reduce(d.astype(np.float32), axes).astype(d.dtype)
    return np.add.reduce(d, axes)


def unbroadcast(d: Any, shape: Shape) -> Any:
    """Sum `d` over the axes along which an array of this shape was broadcast."""
    axes = _broadcast_axes(d.shape, shape)
    if axes:
        d = total(d, axes)
    return d if d.shape == shape else d.reshape(shape)


@functools.lru_cache(maxsize=4096)
def _broadcast_axes(big: Shape, small: Shape) -> tuple[int, ...]:
    """The axes of the big shape that broadcasting has made of the small one."""
    extra = len(big) - len(small)
    return tuple([i for i, n in enumerate(big) if i < extra or (small[i - extra] == 1 and n != 1)])


def conform(d: Any, x: Any) -> Any:
    """A cotangent of `x`: of its shape, where x was broadcast, and its dtype, where x was promoted. None stays None, a
    structural zero, and is what an integer gets."""
    if d is None:
        return None
    if type(x) in PYTHON_SCALARS:
        shape: Shape = ()
        dtype = PYTHON_SCALARS[type(x)]
    else:
        shape = x.shape
        dtype = x.dtype
    if d.shape != shape:
        d = unbroadcast(d, shape)
    if d.dtype is not dtype and d.dtype != dtype:
        return cast(d, dtype) if is_inexact(dtype) else None
    return d


def _conform_masked(d: Any, x: Any, mask: Mask, clean: bool) -> Any:
    """The same for one that counts where a mask holds."""
    if d is None:
        return None
    shape = shape_of(x)
    if d.shape != shape:
        whole = d.shape
        d = unbroadcast(Masked(d, mask, clean).filled(), shape)
        mask, clean = reduced(mask, whole, shape, _broadcast_axes(whole, shape)), True
    d = conform(d, x)
    return None if d is None else Masked(d, mask, clean)


def cast(d: Any, dtype: np.dtype[Any]) -> Any:
    """To another float dtype; a complex value loses its imaginary part on the way to a real one."""
    if d.dtype == dtype:
        return d
    if number_kind(d.dtype) == "c" and number_kind(dtype) != "c":
        d = np.real(d)
    return d if d.dtype == dtype else d.astype(dtype)


def tangent_of(out: Any, t: Any) -> Any:
    """A tangent of `out`: broadcast to its shape and promoted to its dtype."""
    shape = shape_of(out)
    if shape_of(t) != shape:
        t = np.broadcast_to(t, shape)
    return cast(t, PYTHON_SCALARS.get(type(out)) or out.dtype)


def _no_partial(*_: Any, **__: Any) -> None:
    return None


def add_tangents(terms: Iterable[Any]) -> Any:
    """The sum of the terms that are not structural zeros."""
    total = None
    for t in terms:
        if t is not None:
            total = t if total is None else total + t
    return total


# ---------------------------------------------------------------------------------------------------------------------
# Elementwise.


def else_numpy(python: Callable[..., Any], ufunc: np.ufunc) -> Callable[..., Any]:
    """An operator of Python scalars, but with NumPy's infinities and NaN where Python raises for floats (1.0 / 0.0, an
    overflow), and with NaN where it would turn reals into a complex number. What it raises for integers stays."""
    return functools.partial(_on_scalars, python, ufunc)


def _on_scalars(python: Callable[..., Any], ufunc: np.ufunc, *scalars: Any) -> Any:
    is_complex = complex in map(type, scalars)
    try:
        result = python(*scalars)
    except ArithmeticError:
        if not is_complex and float not in map(type, scalars):
            raise
    else:
        if is_complex or type(result) is not complex:
            return result
    return ufunc(*scalars).item()


def promoted(ufunc: np.ufunc, *inputs: Any) -> np.dtype[Any]:
    """The dtype of what a ufunc makes of these inputs."""
    return ufunc.resolve_dtypes(
        (*[type(x) if type(x) in (int, float, complex) else np.asarray(x).dtype for x in inputs], None)
    )[-1]


def ufunc_type(ufunc: np.ufunc, python: Callable[..., Any] | None = None) -> TypeRule:
    """The type rule of a ufunc: broadcast shapes, and NumPy's own dtype resolution, Python scalars weak. `python` is what it
    is of these alone, if that gives a Python scalar."""
    name = ufunc.__name__

    def infer(types: Sequence[ArrayType], params: Params) -> Any:
        shape = broadcast_shapes(name, types)
        try:
            if python is not None and types[0].weak and all([t.weak for t in types]):
                return scalar_type(python, types, params)
            dtypes = ufunc.resolve_dtypes((*promotions(types), *[None] * ufunc.nout))[ufunc.nin :]
        except TypeError:
            raise DtypeError(f"{name} takes no inputs of types {', '.join([str(t) for t in types])}") from None
        first = types[0]
        if len(dtypes) == 1 and not first.weak and first.shape == shape and first.dtype is dtypes[0]:
            return first  # one object less for the garbage collector to walk over
        outs = tuple([ArrayType(shape, dtype) for dtype in dtypes])
        return outs if ufunc.nout > 1 else outs[0]

    return infer


def elementwise_batch(name: str) -> BatchRule:
    """Batched inputs carry the batch in front; those of fewer dimensions get axes behind it to broadcast as before."""

    def batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
        ndims = [len(shape_of(x)) - b for x, b in zip(inputs, batched, strict=True)]
        ndim = max(ndims)
        lined_up = [
            np.reshape(x, (x.shape[0], *(1,) * (ndim - n), *x.shape[1:])) if b and n < ndim else x
            for x, b, n in zip(inputs, batched, ndims, strict=True)
        ]
        return bind(OPS[name], tuple(lined_up), params)

    return batch


def elementwise(
    name: str,
    evaluate: Callable[..., Any],
    *partials: Partial | None,
    infer: TypeRule | None = None,
    linear: Iterable[Iterable[int]] = (),
    python: Callable[..., Any] | None = None,
    kinds: str = "fc",
    samples: Callable[[], Iterable[Sample]] = tuple,
    never_aliases: bool | None = None,
    taken: Callable[..., Sequence[Mask | None]] | None = None,
    neutral: float | None = None,
    **further: Any,
) -> Op:
    """Declare an op that acts on each element alone, its inputs broadcast as NumPy's are.

    `partials` are as many as the inputs, or none at all for an op without a derivative (its value is locally constant);
    None for an input stands for a zero derivative. `taken(out, *inputs)` says of each input where the output depends
    on it, by a mask, or None for everywhere: elsewhere its partial may be anything. An op whose partials may be infinite or warn
    where the op itself is finite says at what `neutral` number, for all inputs and the output, they are not.
    """
    linear = tuple(linear)

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        total = None
        is_array = type(out) is ndarray
        if not is_inexact(out.dtype if is_array else type_of(out).dtype):
            return None
        for partial, t in zip(partials, tangents, strict=True):
            if t is not None and partial is not None:
                term = partial(t, out, *primals, **params)
                if term is None:
                    continue
                if not (is_array and type(term) is ndarray and term.dtype is out.dtype and term.shape == out.shape):
                    term = tangent_of(out, term)
                total = term if total is None else total + term
        return total

    rules = [partial or _no_partial for partial in partials]

    def vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
        grads = []
        for i in wanted:
            x = primals[i]
            if two and not params:
                d = rules[i](ct, out, primals[0], primals[1])  # unpacking takes twice as long
            else:
                d = rules[i](ct, out, *primals, **params)
            if not (type(x) is ndarray and type(d) is ndarray and d.dtype is x.dtype):
                d = conform(d, x)
            elif d.shape != x.shape:
                d = unbroadcast(d, x.shape)
            grads.append(d)
        return grads

    two = len(partials) == 2

    def unary_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
        """The same for one input, in half the time."""
        x = primals[0]
        d = rules[0](ct, out, x, **params) if params else rules[0](ct, out, x)
        if type(x) is ndarray and type(d) is ndarray and d.dtype is x.dtype and d.shape == x.shape:
            return (d,)
        return (conform(d, x),)

    # The same with masks: of what comes in, and of what the op did not take.

    def tamed(d: Masked, active: Sequence[int], out: Any, primals: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
        """The output and the inputs, without what might be singular where the derivative does not count. In a trace of a
        linear map neither the active inputs nor the output have values, and no partial uses them."""
        if neutral is None:
            return out, primals
        idle = active if out is None else ()
        primals = [x if j in idle else quiet(x, d.mask, neutral) for j, x in enumerate(primals)]
        return None if out is None else quiet(out, d.mask, neutral), primals

    def stays_zero(i: int, primals: Sequence[Any]) -> bool:
        """Whether the partial for input i makes zero of zero: what it multiplies by is finite."""
        if not op.keeps_inputs:
            return True
        for j, x in enumerate(primals):
            if j != i or not linear_in[i]:
                if type(x) not in PYTHON_SCALARS:
                    if neutral is None:
                        return False
                elif not (x and cmath.isfinite(x)):
                    return False
        return True

    def masked_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        total = None
        if not is_inexact(type_of(out).dtype):
            return None
        masks = nowhere if taken is None else taken(out, *primals)
        active = [i for i, t in enumerate(tangents) if t is not None]
        for i in active:
            t, mask, clean = tangents[i], masks[i], False
            if type(t) is Masked:
                o, inputs = tamed(t, active, out, primals)
                term = rules[i](t.value, o, *inputs, **params)
                clean = mask is None and t.clean and stays_zero(i, primals)
                mask = t.mask if mask is None else t.mask & mask
            else:
                term = rules[i](t, out, *primals, **params)
            if term is None:
                continue
            term = tangent_of(out, term)
            if mask is not None:
                term = Masked(term, mask, clean)
            total = term if total is None else plus(total, term)
        return total

    def masked_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
        masks = nowhere if taken is None else taken(out, *primals)
        d, inputs = ct, primals
        if type(ct) is Masked:
            d = ct.value
            out, inputs = tamed(ct, wanted, out, primals)
        grads: list[Any] = []
        for i in wanted:
            grad = rules[i](d, out, *inputs, **params)
            x, mask, clean = primals[i], masks[i], False
            if d is not ct:
                clean = mask is None and ct.clean and stays_zero(i, primals)
                mask = ct.mask if mask is None else ct.mask & mask
            if mask is None:
                grads.append(conform(grad, x))
            elif type(grad) is ndarray and type(x) is ndarray and grad.shape == x.shape and grad.dtype is x.dtype:
                grads.append(Masked(grad, mask, clean))
            else:
                grads.append(_conform_masked(grad, x, mask, clean))
        return grads

    nowhere: Sequence[Mask | None] = (None,) * len(partials)
    linear_in = [any([frozenset(group) == {i} for group in linear]) for i in range(len(partials))]

    if infer is None:
        assert isinstance(evaluate, np.ufunc)
        infer = ufunc_type(evaluate, python)
    op = Op(
        name,
        evaluate=evaluate,
        infer=infer,
        jvp=(jvp if taken is None else masked_jvp) if partials else _no_jvp,
        vjp=((unary_vjp if len(partials) == 1 else vjp) if taken is None else masked_vjp) if partials else _no_vjp,
        masked=MaskRules(masked_jvp, masked_vjp, neutral is not None) if partials else None,
        linear=linear,
        batch=elementwise_batch(name),
        python=python,
        kinds=kinds,
        samples=samples,
        never_aliases=isinstance(evaluate, np.ufunc) if never_aliases is None else never_aliases,
        elementwise=True,
        **further,
    )
    if isinstance(evaluate, np.ufunc):
        UFUNCS[evaluate] = op
    return op


def neutral(position: int, value: int) -> Simplification:
    """An op that gives back its other input where the one at `position` is this real number: x * 1, x / 1. Not of
    complex numbers, where infinity times 1 + 0j is not itself."""

    def simpler(inputs: Sequence[Any], params: Params, definitions: Mapping[Any, Any]) -> Any:
        number = getattr(inputs[position], "value", None)
        other = inputs[1 - position]
        if number is None or isinstance(number, complex | np.complexfloating) or number != value:
            return None
        return other if number_kind(other.type.dtype) != "c" else None

    return simpler


def first_of(*rules: Simplification) -> Simplification:
    """The first rule that has an answer."""

    def simpler(inputs: Sequence[Any], params: Params, definitions: Definitions) -> Any:
        for rule in rules:
            if (result := rule(inputs, params, definitions)) is not None:
                return result
        return None

    return simpler


# ---------------------------------------------------------------------------------------------------------------------
# Linear and multilinear.


def linear(
    name: str,
    evaluate: Callable[..., Any],
    transpose: Callable[..., Any],
    *,
    infer: TypeRule,
    batch: BatchRule,
    linear: Iterable[Iterable[int]] = (EVERY,),
    kinds: str = "fc",
    samples: Callable[[], Iterable[Sample]] = tuple,
    leaves_zeros: bool = False,
    picks: bool = False,
    nonnegative: bool = False,
    **further: Any,
) -> Op:
    """Declare an op that is linear in its first input. Further inputs are integers (indices), whose values a derivative
    needs: such an op says `linear=[{0}]`.

    `transpose(ct, x, *others, **params)` maps a cotangent of the output to one of `x`, of which it may use the shape
    and dtype only. The op `leaves_zeros` in its output where no element of `x` goes, or it `picks` some of the elements, so that
    its transpose does: these zeros are structural. `further` fields go into the record as they are.
    """

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        return None if tangents[0] is None else bind(op, (tangents[0], *primals[1:]), params)

    def vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
        if len(primals) == 1:
            return (transpose(ct, *primals, **params),)
        return [transpose(ct, *primals, **params) if i == 0 else None for i in wanted]

    def masking_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        (t, *_) = tangents
        return None if t is None else sparse(lambda t: bind(op, (t, *primals[1:]), params), t)

    def masking_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
        return [sparse(lambda d: transpose(d, *primals, **params), ct) if i == 0 else None for i in wanted]

    op = Op(
        name, evaluate=evaluate, infer=infer, jvp=masking_jvp if leaves_zeros else jvp, vjp=masking_vjp if picks else vjp,
        linear=linear, batch=batch, kinds=kinds, samples=samples, nonnegative=nonnegative or leaves_zeros or picks, **further,
    )  # fmt: skip
    return op


def multilinear(
    name: str,
    evaluate: Callable[..., Any],
    transposes: Callable[[int], Callable[..., Any]] = lambda i: _no_partial,
    *,
    infer: TypeRule,
    batch: BatchRule,
    vjp: VjpRule | None = None,
    kinds: str = "fc",
    samples: Callable[[], Iterable[Sample]] = tuple,
    inputs: int = 2,
    **further: Any,
) -> Op:
    """Declare an op that is linear in each input separately, such as a contraction.

    `transposes(i)` is a function `(ct, *inputs, **params)` from a cotangent of the output to one of input i; or `vjp`
    is the whole rule.
    """
    transposes = functools.cache(transposes)

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        terms = []
        for i, t in enumerate(tangents):
            if t is not None:
                term = bind(op, (*primals[:i], t, *primals[i + 1 :]), params)
                terms.append(term if term.dtype == out.dtype else cast(term, out.dtype))
        return add_tangents(terms)

    def transposed(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
        return [conform(transposes(i)(ct, *primals, **params), primals[i]) for i in wanted]

    op = Op(
        name,
        evaluate=evaluate,
        infer=infer,
        jvp=jvp,
        vjp=vjp or transposed,
        linear=[{i} for i in range(inputs)],
        batch=batch,
        kinds=kinds,
        samples=samples,
        **further,
    )
    return op


# ---------------------------------------------------------------------------------------------------------------------
# Without a derivative; along axes.


def _no_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    return None


def _no_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    return [None] * len(wanted)


def locally_constant(name: str, evaluate: Callable[..., Any], *, kinds: str = "biufc", **fields: Any) -> Op:
    """Declare an op without a derivative: its outputs are integers or booleans. `fields` go into the record as they are."""
    return Op(name, evaluate=evaluate, jvp=_no_jvp, vjp=_no_vjp, kinds=kinds, **fields)


def along_axis(name: str) -> BatchRule:
    """The batching rule of an op with `axis`, or a tuple of `axes`, among its params: they lie one further back. An input
    without the batch is repeated over it."""

    def batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
        whole = [x if b else np.broadcast_to(x, (size, *shape_of(x))) for x, b in zip(inputs, batched, strict=True)]
        behind: dict[str, Any] = {}
        if "axis" in params:
            behind["axis"] = params["axis"] + 1
        if "axes" in params:
            behind["axes"] = tuple([a + 1 for a in params["axes"]])
        return bind(OPS[name], tuple(whole), {**params, **behind})

    return batch


def same_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    """The type rule of an op whose output has the shape and dtype of its first input.

    >>> from tracegrad.core.types import ArrayType
    >>> same_type([ArrayType((2,), np.dtype(float)), ArrayType((), np.dtype(int))], {})
    f64[2]
    """
    return ArrayType(types[0].shape, types[0].dtype)


# ---------------------------------------------------------------------------------------------------------------------
# Small tools for the type rules and functions of the ops.


_ALL_AXES = [tuple(range(ndim)) for ndim in range(65)]


def is_of_a_scalar(axis: Any, ndim: int) -> bool:
    """Whether it is the axis 0 or -1 that NumPy's ufuncs let a scalar have when it is reduced or accumulated."""
    return ndim == 0 and isinstance(axis, int | np.integer) and axis in (0, -1)


def normalize_axes(axis: Any, ndim: int, name: str) -> tuple[int, ...]:
    """An axis argument (None, an int, a tuple) as a sorted tuple of axes counted from the front."""
    if axis is None:
        return _ALL_AXES[ndim]
    if type(axis) is int and -ndim <= axis < ndim:
        return (axis % ndim,)
    axes = []
    for a in axis if isinstance(axis, tuple | list) else (axis,):
        a = operator.index(a)
        if not -ndim <= a < ndim:
            raise np.exceptions.AxisError(a, ndim, f"{name}")
        axes.append(a % ndim)
    if len(set(axes)) != len(axes):
        raise ShapeError(f"{name}: an axis is named twice in {axis}")
    return tuple(sorted(axes))


def normalize_axis(axis: int, ndim: int, name: str) -> int:
    """One axis, counted from the front."""
    axes = () if axis is None else normalize_axes(axis, ndim, name)
    if len(axes) != 1:
        raise TypeError(f"{name} acts along one axis: axis must be an integer, got {axis!r}")
    return axes[0]


def of_axis(a: Any, axis: int | None, name: str) -> tuple[Any, int]:
    """The array and the axis counted from the front; all axes as one where it is None."""
    a = as_array(a)
    if axis is None:
        return np.reshape(a, -1), 0
    return a, normalize_axis(axis, len(shape_of(a)), name)


def is_tracer(*values: Any) -> bool:
    """Whether any of the values is a tracer."""
    return any([isinstance(v, Tracer) for v in values])


def implements(*numpy_functions: Any, further: Iterable[str] = ()) -> Callable[[F], F]:
    """Register a function as what these NumPy functions do to tracers.

    Returns the public function of `tracegrad.numpy`: on plain arrays it is NumPy's own, to the last keyword; on tracers,
    or lists that hold tracers, and with one of the `further` keywords, or values of them ("mode=fill"), which NumPy has not
    got, ours. That one never sees an `out`: whoever calls it writes its result there (`trace.called`).
    A function that not every NumPy has from 2.0 on is given as `getattr(np, name, None)`: where there is none, ours is all.
    """

    further = frozenset(further)

    def register(traced: F) -> F:
        for f in filter(None, numpy_functions):
            FUNCTIONS[f] = traced
        plain = numpy_functions[0] or traced

        @functools.wraps(traced)
        def public(*args: Any, **kwargs: Any) -> Any:
            if (
                kwargs
                and further
                and any([k in further or f"{k}={v}" in further for k, v in kwargs.items() if k != "out"])
            ):
                return called(plain, traced, args, kwargs)
            for x in (*args, *kwargs.values()) if kwargs else args:
                if isinstance(x, Tracer) or ((type(x) is list or type(x) is tuple) and contains_tracer(x)):
                    return called(plain, traced, args, kwargs)
            return plain(*args, **kwargs)

        same: Any = public
        return same

    return register


def require_held(v: Any, dtype: np.dtype[Any], what: str) -> None:
    """Raise, as NumPy does, where an integer dtype has not an int of Python's. (One that is known later only is an error where
    it is written, by NumPy.)"""
    if type(v) is int and number_kind(dtype) in "iu":
        info = np.iinfo(dtype)
        if not info.min <= v <= info.max:
            raise OverflowError(f"Python integer {v} out of bounds for {dtype}: {what}{at(user_source())}")


def reject(function: Any, **given: Any) -> None:
    """Raise for keywords of a NumPy function that are not traced, wherever one was given (is not None)."""
    names = [name for name, value in given.items() if value is not None]
    if names:
        raise unsupported(function, f" with {', '.join(f'{n}=' for n in names)}")
