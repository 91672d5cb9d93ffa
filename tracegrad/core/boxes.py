"""jax arrays outside of jit. NumPy's functions do not take them for what they are, so a jax array goes through our code in a box: a
tracer of a trace below all others, which records nothing and applies each op at once, on jax. What is put into boxes at the
way in is taken out at the way out, by whoever did it first."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from types import GenericAlias, ModuleType
from typing import Any, cast

import numpy as np
from numpy import ndarray

from tracegrad import tree
from tracegrad.core.backends import xla
from tracegrad.core.context import context, open_traces
from tracegrad.core.errors import CALL_ERRORS, PUBLIC_ERRORS, RawSource, annotate_public, user_source
from tracegrad.core.functions import FOREIGN
from tracegrad.core.jax_arrays import is_jax_array, is_jax_tracer
from tracegrad.core.numpy_warnings import again, has_warned, watch, watch_ops
from tracegrad.core.op import OPS, Op, Params
from tracegrad.core.programs import call_anew
from tracegrad.core.trace import Trace, explain, new_level
from tracegrad.core.tracebacks import trim
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import DIRECT
from tracegrad.core.variable import tell_the_truth_to
from tracegrad.typing import F


class _OnJax(Trace):
    """The trace below all others. It records nothing, and applies each op at once."""

    abstract = True
    executes = True

    def kept(self, array: np.ndarray[Any, Any], op: Op, beside: Any = None) -> np.ndarray[Any, Any]:
        return array

    def apply(
        self, op: Op, inputs: tuple[Any, ...], params: Params, wanted: tuple[int, ...], source: RawSource | None
    ) -> Any:
        try:
            return xla().execute(op, inputs, params)
        except CALL_ERRORS as error:
            explain(error, op, inputs, params, source)
            raise

    def apply_outside(self, op: Op, inputs: tuple[Any, ...], params: Params) -> Any:
        out = self.apply(op, inputs, params, (), user_source())
        return out if context.boxes else unboxed(out)

    def constant_like(self, x: Any, like: Tracer) -> Tracer:
        found: Tracer = self.apply(OPS["broadcast_to"], (x,), {"shape": np.shape(x)}, (), user_source())
        return found

    def described(self) -> str:
        return "computation on jax"


_ON_JAX = _OnJax("jax", None)
_ON_JAX.level = -1


def with_boxes(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`function(*args, **kwargs)`, as is everything called that gets boxes, so that the public functions that it comes to call
    leave their results in boxes too."""
    outer, level = context.boxes, new_level()
    try:
        context.boxes = outer + 1
        open_traces[level] = None
        return function(*args, **kwargs)
    finally:
        context.boxes = outer
        open_traces.pop(level, None)


def with_boxes_of(arrays: Sequence[Any], function: Callable[..., Any], *args: Any) -> Any:
    """`function(*args)`, which calls a user's function with these arrays, among which there may be boxes."""
    return with_boxes(function, *args) if any(map(is_boxed, arrays)) else function(*args)


def boxed(x: Any) -> Any:
    """A jax array in a box; anything else as it is."""
    return Tracer(_ON_JAX, x, None) if is_jax_array(x) else x


def unboxed(x: Any) -> Any:
    """What is in a box; a tuple of such; anything else as it is."""
    if type(x) is tuple:
        return tuple([unboxed(item) for item in x])
    return x.value if is_boxed(x) else x


def is_boxed(x: Any) -> bool:
    return type(x) is Tracer and x.origin is _ON_JAX


def holds_jax_array(x: Any) -> bool:
    """Whether there is a jax array among the leaves of a tree."""
    kind = type(x)
    if kind in DIRECT or kind is Tracer:
        return False
    if kind is dict:
        x = x.values()
    elif kind is not tuple and kind is not list:
        return is_jax_array(x) or any([is_jax_array(leaf) for leaf in tree.tree_leaves(x)])
    return any([type(item) is not ndarray and holds_jax_array(item) for item in x])


def accept_jax(namespace: dict[str, Any], names: Sequence[str] | None = None) -> list[str]:
    """Have the functions of these names in a module accept jax arrays, or all of those that are public. Returns the names."""
    if names is None:
        names = sorted(
            [
                name
                for name, x in namespace.items()
                if not name.startswith("_") and x is not accept_jax and not isinstance(x, ModuleType)
            ]
        )
    for name in names:
        found = namespace[name]
        if isinstance(found, np.ufunc):
            namespace[name] = _Ufunc(found)
        elif callable(found) and not isinstance(found, type | GenericAlias) and not _is_given_no_array(found):
            made = namespace[name] = public(found)
            made.__module__, made.__qualname__ = namespace["__name__"], name  # where it is found, by pickle too
    watch_ops()  # of which the module may have been the first to need some
    return list(names)


def _is_given_no_array(function: Any) -> bool:
    """Whether it is one of NumPy's that NumPy itself does not hand to other arrays: of sizes, dtypes, files and settings."""
    return getattr(function, "__module__", "") == "numpy" and not hasattr(function, "__wrapped__")


class _Ufunc:
    """A ufunc that accepts jax arrays."""

    def __init__(self, ufunc: np.ufunc) -> None:
        self._ufunc = ufunc
        self._call = accepting_jax(ufunc)
        self.__name__ = ufunc.__name__
        self.__doc__ = ufunc.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._call(*args, **kwargs)
        except PUBLIC_ERRORS as error:
            annotate_public(error, self.__name__)
            raise

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(self._ufunc, name)
        return accepting_jax(found) if callable(found) else found

    def __repr__(self) -> str:
        return repr(self._ufunc)

    def __reduce__(self) -> Any:
        return _Ufunc, (self._ufunc,)


def accepting_jax(function: F) -> F:
    """The function of jax arrays too, which it sees in boxes. Where there are such arguments, results are jax arrays. What is
    raised goes out with the user's frames alone (see `tracebacks.py`)."""

    @functools.wraps(function)
    def accepting(*args: Any, **kwargs: Any) -> Any:
        try:
            if "jax" in sys.modules:
                for x in (*args, *kwargs.values()) if kwargs else args:
                    if type(x) is not ndarray and holds_jax_array(x):
                        return in_boxes(function, args, kwargs)
                return out_of_boxes(function(*args, **kwargs))  # the function may hold jax arrays of its own
            return function(*args, **kwargs)
        except BaseException as error:
            if has_warned(error):
                return again(accepting_jax(function), *args, **kwargs)
            trim(error)
            raise

    return cast(F, accepting)


def called_anew(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as `call_anew` calls it, with the user's line in its errors."""

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs) if context.trace is None else call_anew(function, args, kwargs)
        except PUBLIC_ERRORS as error:
            annotate_public(error, function.__name__)
            raise

    return called


def public(function: Callable[..., Any]) -> Any:
    """A function of ours as users have it: of jax arrays too, and anew where a program is being made."""
    return accepting_jax(called_anew(function))


def out_of_boxes(out: Any) -> Any:
    """Results as the user gets them: jax arrays without their boxes, but for those of a call inside another that has boxes."""
    if type(out) in DIRECT or context.boxes:
        return out
    return xla().handed_out(tree.tree_map(unboxed, out)) if any(map(is_boxed, tree.tree_leaves(out))) else out


def in_boxes(
    function: Callable[..., Any],
    args: Any,
    kwargs: Any,
    box: Callable[[Any], Any] = boxed,
    tree_map: Callable[..., Any] = tree.tree_map,
) -> Any:
    """Call a function with the jax arrays among its arguments in boxes, and take its results out of theirs."""
    args, kwargs = tree_map(box, (args, kwargs))
    out = with_boxes(function, *args, **kwargs)
    return out if context.boxes else xla().handed_out(tree_map(unboxed, out))


def _plain(x: Any) -> Any:
    return None if is_jax_tracer(x) else np.asarray(x)


watch(globals())
FOREIGN.append((is_jax_array, boxed, _plain))
# It leaves an operator between one of its arrays and what it does not know to the other one, and would compute with an array.
tell_the_truth_to("jax")
