"""How an op is declared whose values are those of a function of scipy.special, to the last bit and in SciPy's dtype.

SciPy is imported when the first of them is evaluated or gets a type. On XLA it has jax's function or a formula, where these hold
float64's accuracy, or else is SciPy's own, which jax calls on the host (xla/rules/scipy.py).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, at, user_source
from tracegrad.core.late import imported
from tracegrad.core.op import Op, Params, Sample
from tracegrad.core.quiet import quietly
from tracegrad.core.trace import SCIPY_FUNCTIONS, as_array, bind
from tracegrad.core.types import ArrayType, number_kind
from tracegrad.ops.families import Partial, broadcast_shapes, elementwise
from tracegrad.ops.special_functions import refusing, unknown

# The ops declared here, by name.
DECLARED: dict[str, Op] = {}


@functools.cache
def scipy_special() -> Any:
    """The module."""
    try:
        return imported("scipy.special")
    except ImportError:
        raise ImportError(
            "tg.scipy.special's functions are computed by SciPy, which is not installed; write: pip install 'tracegrad[scipy]'"
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


def call(op: Op, *inputs: Any, **params: Any) -> Any:
    """The op applied to what users give."""
    return bind(op, tuple([as_array(x) for x in inputs]), params)


def traces(function: Any, *names: str) -> Any:
    """Have SciPy's ufunc of this function's name, or of these names, called on tracers be the function."""
    SCIPY_FUNCTIONS.update(dict.fromkeys(names or (function.__name__,), function))
    return function
