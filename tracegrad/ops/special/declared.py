"""How ops of special functions are declared: `special` those whose values are those of a function of scipy.special, to the last bit and
in SciPy's dtype; `in_double` those of jax.lax, computed in float64 and given in the dtype of np.exp. Derivatives are closed: each is a
formula in such functions, so that they have derivatives of every order. Where there is no formula for a parameter, forward mode raises;
reverse mode, which cannot know whether anybody asks (`tg.stop_gradient` may stand before it), has NaN for it.

SciPy is imported when the first of them is evaluated or gets a type. On XLA it has jax's function or a formula, where these hold
float64's accuracy, or else is SciPy's own, which jax calls on the host (xla/rules/scipy.py).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import DifferentiationError, DtypeError, at, user_source
from tracegrad.core.functions import SCIPY_FUNCTIONS
from tracegrad.core.late import imported
from tracegrad.core.op import Op, Params, Sample
from tracegrad.core.quiet import quietly
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import ArrayType, number_kind, type_of
from tracegrad.ops.families import Partial, broadcast_shapes, elementwise

# The ops declared here, by name.
DECLARED: dict[str, Op] = {}


@functools.cache
def scipy_special() -> Any:
    """The module."""
    try:
        return imported("scipy.special")
    except ImportError:
        raise ImportError(
            "special functions (those of tg.scipy.special, and lgamma, igamma, betainc and others of tg.lax) are computed by SciPy, "
            "which is not installed; write: pip install 'tracegrad[scipy]'"
        ) from None


def by_scipy(name: str, *inputs: Any, **params: Any) -> Any:
    """What scipy.special's function of this name makes of the inputs; `part` says which of several outputs."""
    return quietly(("all",), _by_scipy, name, inputs, params)  # poles and overflow have values, inf and NaN


def _by_scipy(name: str, inputs: Any, params: Any) -> Any:
    part = params.get("part")
    found = getattr(scipy_special(), name)(*inputs, **{k: v for k, v in params.items() if k != "part"})
    return np.asarray(found if part is None else found[part])[()]


@functools.cache
def _dtype(name: str, weights: tuple[Any, ...], part: int | None) -> np.dtype[Any]:
    """The dtype that SciPy gives inputs of these dtypes, or of these types of Python scalars: that of its result for ones."""
    ones = [w(1) if isinstance(w, type) else np.ones((), w) for w in weights]
    return np.asarray(by_scipy(name, *ones, **({} if part is None else {"part": part}))).dtype


def _in_its_dtype(evaluate: Callable[..., Any], name: str, *inputs: Any, **params: Any) -> Any:
    """What is evaluated in another way, in the dtype of SciPy's function of this name."""
    dtype = _dtype(name, tuple([x.dtype if hasattr(x, "dtype") else type(x) for x in inputs]), None)
    return np.asarray(evaluate(*inputs, **params), dtype)[()]


def special(
    name: str,
    *partials: Partial | None,
    samples: Callable[[], Iterable[Sample]],
    function: str | None = None,
    without: Sequence[str] = (),
    kinds: str = "f",
    evaluate: Callable[..., Any] | None = None,
) -> Op:
    """Declare the op of scipy.special's `function`, that of its own name if not given, or of what `evaluate` computes in that
    function's dtype. `without` names the parameters, which come first, that have no partial."""
    function = function or name

    def infer(types: Sequence[ArrayType], params: Params) -> ArrayType:
        shape = broadcast_shapes(name, types)
        if not ({number_kind(t.dtype) for t in types} <= {"b", "i", "u", *kinds}):
            raise DtypeError(f"{name} takes real numbers, got {', '.join(map(str, types))}{at(user_source())}")
        weights = tuple([t.promotion for t in types])
        try:
            return ArrayType(shape, _dtype(function, weights, params.get("part")))
        except TypeError:
            raise DtypeError(
                f"{name} takes no inputs of types {', '.join(map(str, types))}{at(user_source())}; write x.astype(np.float32)"
            ) from None

    op = elementwise(
        name, functools.partial(_in_its_dtype, evaluate, function) if evaluate else functools.partial(by_scipy, function), *[unknown] * len(without), *partials, infer=infer, kinds=kinds,
        samples=samples,
    )  # fmt: skip
    DECLARED[name] = op
    return refusing(op, without) if without else op


def _real_dtype(types: Sequence[ArrayType]) -> np.dtype[Any]:
    """The float dtype that NumPy's own functions, such as np.exp, give inputs promoted to one dtype."""
    joint = np.result_type(*[t.weight for t in types])
    if number_kind(joint) == "c":
        raise DtypeError(f"special functions take real numbers, got {', '.join(map(str, types))}")
    return np.exp.resolve_dtypes((joint, None))[-1]


def _evaluated_in_double(function: Any, *inputs: Any, **params: Any) -> Any:
    """What scipy.special's function of this name, or another, makes of doubles, in the dtype of np.exp of the inputs."""
    dtype = np.exp.resolve_dtypes((np.result_type(*inputs), None))[-1]
    wide = [np.asarray(x, np.float64) for x in inputs]
    if type(function) is str:
        function = getattr(scipy_special(), function)
    return quietly(("all",), _in_dtype, dtype, function, wide, params)  # poles and overflow have values, inf and NaN


def _in_dtype(dtype: Any, function: Any, inputs: Any, params: Any) -> Any:
    return np.asarray(function(*inputs, **params)).astype(dtype)[()]


def in_double(
    name: str,
    function: str | Callable[..., Any],
    *partials: Callable[..., Any],
    samples: Callable[[], Iterable[Sample]],
    without: Sequence[str] = (),
) -> Op:
    """Declare the elementwise op of a function of doubles, or of the one that scipy.special has under this name. `without`
    names the parameters, which come first, that have no partial."""

    def infer(types: Sequence[ArrayType], params: Params) -> ArrayType:
        return ArrayType(broadcast_shapes(name, types), _real_dtype(types))

    op = elementwise(
        name, functools.partial(_evaluated_in_double, function), *[unknown] * len(without), *partials, infer=infer, kinds="f",
        samples=samples,
    )  # fmt: skip
    return refusing(op, without)


def refusing(op: Op, parameters: Sequence[str]) -> Op:
    """The op with an error where forward mode asks for the derivative in one of its first inputs, which are called so."""
    rule = op.jvp
    assert rule is not None

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        for parameter, t in zip(parameters, tangents, strict=False):
            if t is not None:
                raise DifferentiationError(
                    f"{op.name} has no derivative with respect to {parameter}{at(user_source())}; hold it constant: "
                    f"tg.stop_gradient({parameter})"
                )
        return rule(primals, tangents, out, params)

    op.jvp = jvp
    return op


def unknown(d: Any, out: Any, *inputs: Any, **params: Any) -> Any:
    """The partial in such an input: reverse mode does not know whether anybody asks."""
    return d * math.nan


def call(op: Op, *inputs: Any, **params: Any) -> Any:
    """The op applied to what users give."""
    return bind(op, tuple([as_array(x) for x in inputs]), params)


def call_real(op: Op, *inputs: Any, **params: Any) -> Any:
    """The same of an op of `in_double`."""
    arrays = tuple([as_array(x) for x in inputs])
    _real_dtype([type_of(x) for x in arrays])
    return bind(op, arrays, params)


def traces(function: Any, *names: str) -> Any:
    """Have SciPy's ufunc of this function's name, or of these names, called on tracers be the function."""
    SCIPY_FUNCTIONS.update(dict.fromkeys(names or (function.__name__,), function))
    return function


_BLOCK = 4096  # how many numbers are integrated at once: there are some arrays of 130 times as many


def in_blocks(function: Callable[..., Any], *inputs: Any, size: int = _BLOCK) -> Any:
    """What a function of equally many numbers makes of arrays that broadcast, so many at once."""
    inputs = np.broadcast_arrays(*inputs)
    flat = [x.reshape(-1) for x in inputs]
    out = np.empty(inputs[0].size)
    for start in range(0, out.size, size):
        block = slice(start, start + size)
        out[block] = function(*[x[block] for x in flat])
    return out.reshape(inputs[0].shape)
