"""Ops that act on each element alone, their inputs broadcast as NumPy's are."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from tracegrad.core.errors import DtypeError
from tracegrad.core.functions import UFUNCS
from tracegrad.core.op import OPS, BatchRule, MaskRules, Op, Params, Sample, TypeRule, Wanted
from tracegrad.core.trace import bind
from tracegrad.core.types import PYTHON_SCALARS, ArrayType, is_inexact, promotions, scalar_type, type_of
from tracegrad.ops.families.broadcasting import (
    broadcast_shapes,
    conform,
    conform_masked,
    lined_up,
    tangent_of,
)
from tracegrad.ops.families.rules import no_jvp, no_partial, no_vjp
from tracegrad.ops.masks import Mask, Masked, plus, quiet

# A partial derivative, as the map that multiplies by it: (d, out, *inputs) -> d * partial.
Partial = Callable[..., Any]


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
        return bind(OPS[name], tuple(lined_up(batched, inputs)), params)

    return batch


@functools.lru_cache(maxsize=4096, typed=True)
def _makes_zero_of_zero(
    partial: Partial, neutral: float, dtype: np.dtype[Any], params: tuple[tuple[str, Any], ...], *inputs: Any
) -> bool:
    """Whether the partial is finite at Python's numbers among the inputs, where arrays, given by their dtypes, are quiet: asked of the
    partial itself, since that a number is finite tells nothing. The logarithm of a negative one is not, nor 1e300 in half precision."""
    out = np.full((), neutral, dtype)
    arrays = [x if type(x) in PYTHON_SCALARS else np.full((), neutral, x) for x in inputs]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        d = partial(np.zeros((), dtype), out, *arrays, **dict(params))
    return d is None or bool(d == 0)


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

    rules = [partial or no_partial for partial in partials]

    def vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
        return [conform(rules[i](ct, out, *primals, **params), primals[i]) for i in wanted]

    def unary_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
        """The same for one input, in half the time."""
        x = primals[0]
        d = first(ct, out, x, **params) if params else first(ct, out, x)
        if type(x) is ndarray and type(d) is ndarray and d.dtype is x.dtype and d.shape == x.shape:
            return (d,)
        return (conform(d, x),)

    def binary_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
        """The same for two inputs."""
        if params:
            return vjp(wanted, ct, out, primals, params)
        x, y = primals
        if 0 in wanted:
            d = first(ct, out, x, y)
            if not (type(x) is ndarray and type(d) is ndarray and d.dtype is x.dtype and d.shape == x.shape):
                d = conform(d, x)
            if len(wanted) == 1:
                return (d,)
        e = second(ct, out, x, y)
        if not (type(y) is ndarray and type(e) is ndarray and e.dtype is y.dtype and e.shape == y.shape):
            e = conform(e, y)
        return (e,) if len(wanted) == 1 else (d, e)

    first, second = (*rules, no_partial, no_partial)[:2]
    reverse = {1: unary_vjp, 2: binary_vjp}.get(len(partials), vjp)

    # The same with masks: of what comes in, and of what the op did not take.

    def tamed(d: Masked, active: Sequence[int], out: Any, primals: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
        """The output and the inputs, without what might be singular where the derivative does not count. In a trace of a
        linear map neither the active inputs nor the output have values, and no partial uses them."""
        if neutral is None:
            return out, primals
        idle = active if out is None else ()
        primals = [x if j in idle else quiet(x, d.mask, neutral) for j, x in enumerate(primals)]
        return None if out is None else quiet(out, d.mask, neutral), primals

    def stays_zero(i: int, d: Any, primals: Sequence[Any], params: Params) -> bool:
        """Whether the partial for input i makes zero of zero: what it multiplies by is finite."""
        if not op.keeps_inputs:
            return True
        for j, x in enumerate(primals):
            is_scalar = type(x) in PYTHON_SCALARS
            if (j != i or not linear_in[i]) and (j == i if is_scalar else neutral is None):
                return False  # its own partial may be anything there, as a logarithm's
        if not any([type(x) in PYTHON_SCALARS for x in primals]):
            return True
        inputs = [x if type(x) in PYTHON_SCALARS else x.dtype for x in primals]
        return _makes_zero_of_zero(rules[i], neutral or 1, d.dtype, tuple(params.items()), *inputs)

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
                clean = mask is None and t.clean and stays_zero(i, t.value, primals, params)
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
                clean = mask is None and ct.clean and stays_zero(i, ct.value, primals, params)
                mask = ct.mask if mask is None else ct.mask & mask
            if mask is None:
                grads.append(conform(grad, x))
            elif type(grad) is ndarray and type(x) is ndarray and grad.shape == x.shape and grad.dtype is x.dtype:
                grads.append(Masked(grad, mask, clean))
            else:
                grads.append(conform_masked(grad, x, mask, clean))
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
        jvp=(jvp if taken is None else masked_jvp) if partials else no_jvp,
        vjp=(reverse if taken is None else masked_vjp) if partials else no_vjp,
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
