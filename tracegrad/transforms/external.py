"""External functions as the user has them: `external`, with derivatives of its own, and `pure_callback`.

The call is one equation of the op `external` (ops/external.py). Derivative rules stand around it as those of `custom_jvp` and
`custom_vjp` do, so that they are traced, batched and differentiated in turn.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np

from tracegrad import tree
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.errors import (
    ShapeError,
    at,
    clip,
    described,
    name_of,
    require_callable,
    user_source,
)
from tracegrad.core.names import transformed, wraps
from tracegrad.core.tracing import arrays_of, kind_of
from tracegrad.core.types import ArrayType, ShapeDtypeStruct, type_of
from tracegrad.ops.external import WAYS, External, external_call
from tracegrad.transforms.custom.call import call_by_rules
from tracegrad.transforms.custom.functions import checked_like, cotangents_of
from tracegrad.transforms.custom.rules import Rules
from tracegrad.transforms.linear import zeros_like_type
from tracegrad.typing import P, PyTree, R


@overload
def external(
    f: Callable[P, R],
    *,
    out: Any,
    jvp: Callable[..., Any] | None = None,
    vjp: Callable[..., Any] | None = None,
    vmap: str | Callable[..., Any] | None = "sequential",
    pure: bool = True,
    ordered: bool = False,
) -> Callable[P, R]: ...
@overload
def external(
    f: None = None,
    *,
    out: Any,
    jvp: Callable[..., Any] | None = None,
    vjp: Callable[..., Any] | None = None,
    vmap: str | Callable[..., Any] | None = "sequential",
    pure: bool = True,
    ordered: bool = False,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def external(
    f: Callable[..., Any] | None = None,
    *,
    out: Any,
    jvp: Callable[..., Any] | None = None,
    vjp: Callable[..., Any] | None = None,
    vmap: str | Callable[..., Any] | None = "sequential",
    pure: bool = True,
    ordered: bool = False,
) -> Any:
    """A function that cannot be traced (Python that needs values, C, Fortran, another library), as one that can: a call of it is
    one equation, under every transform and on both backends. On XLA it is called back on the host.

    Args:
        f: a function of arrays and pytrees of them. It gets NumPy arrays and scalars, copies that it may write into, and returns
            what NumPy makes arrays of.
        out: what it returns: a pytree of `ShapeDtypeStruct`s or of arrays like the results, or a function that is called with
            the types of the arguments (`ShapeDtypeStruct`s in their trees) and returns such a tree.
        jvp: `jvp(primals, tangents, out)` returns the tangent of the result, and is linear in the tangents. `primals` and
            `tangents` are tuples with one entry for each argument, `out` is what `f` returned. Zeros are arrays.
        vjp: `vjp(primals, cotangent, out)` returns a tuple with a cotangent for each argument, None for a zero.
            One rule is enough: the other mode follows by transposition. Rules are traced, and so have derivatives
            themselves; what cannot be traced in them is external in turn.
        vmap: "sequential" calls `f` for one row after the other; "expand_dims" calls it once with an axis in front of each array,
            of size 1 where all rows share it; "broadcast_all" with that axis of full size everywhere; these are the names that
            `jax.pure_callback` has for them. A function is a rule `vmap(axis_size, in_batched, *args)` that returns
            results and which of them have the axis, as for `jax.custom_batching.custom_vmap`. None refuses vmap.
        pure: whether `f` does nothing but return what depends on its arguments alone. If not, it is called as often as the
            program says, also where nothing reads its results, and not once more for a derivative: one that would have to raises.
        ordered: whether calls on XLA are made in the program's order, where it is not pure.

    Returns:
        A function with the arguments of `f`, or what makes one of `f` if that is not given.

    Raises:
        DifferentiationError: where it is differentiated and has no rule, or a derivative would have to call once more what is not
            pure (forward mode through a loop).
        ShapeError, DtypeError: `f` or a rule returns something else than is declared.

    >>> import math, numpy as np, tracegrad as tg
    >>> def bessel(x):                      # say it is written in C
    ...     return math.sin(x) / x
    >>> f = tg.external(bessel, out=lambda x: x, vjp=lambda x, ct, out: (ct * (np.cos(x[0]) - out) / x[0],))
    >>> round(float(tg.grad(f)(2.0)), 6), tg.jit(tg.vmap(f))(np.array([1.0, 2.0])).round(6).tolist()
    (-0.435398, [0.841471, 0.454649])
    """
    if f is None:
        return functools.partial(external, out=out, jvp=jvp, vjp=vjp, vmap=vmap, pure=pure, ordered=ordered)
    require_callable(f, "external", "(f, out=...)")
    _require_types(out, "external", "out")
    for rule in (jvp, vjp):
        if rule is not None:
            require_callable(rule, "external", "(f, out=..., jvp=rule)")
    _require_way(vmap, "external", "vmap")
    function: Callable[..., Any] = f
    why = f"the external function {name_of(f)!r}, called{{at}}, has no derivative rule; give it jvp= or vjp= (tg.external)"

    @wraps(function)
    @accepting_jax
    def call_outside(*args: Any, **kwargs: Any) -> Any:
        args = _positional(function, args, kwargs)
        arrays, in_tree = _flattened("external", function, args, {})
        call = _Call(function, out, in_tree, list(map(type_of, arrays)))
        spec = External(name_of(function), call.flat, call.types, _rows_of(vmap, call), pure, ordered, why)
        if jvp is None and vjp is None:
            return call.result(external_call(spec, arrays))
        run: Callable[..., Sequence[Any]] = wraps(function)(lambda *flat: external_call(spec, flat))
        rules = Rules(
            name_of(function),
            len(arrays),
            run,
            jvp=None if jvp is None else functools.partial(_pushed, jvp, call),
            fwd=None if vjp is None else lambda primals, perturbed, outs: (None, outs),
            bwd=None if vjp is None else functools.partial(_pulled, vjp, call),
            acts=not pure,
        )
        return call.result(call_by_rules(arrays, rules, (jvp, vjp)))

    how = {"out": out, "jvp": jvp, "vjp": vjp, "vmap": vmap, "pure": pure, "ordered": ordered}
    return transformed(call_outside, external, f, **how)


@accepting_jax
def pure_callback(
    callback: Callable[..., Any],
    result_shape_dtypes: Any,
    *args: Any,
    sharding: Any = None,
    vmap_method: str | None = None,
    **kwargs: Any,
) -> PyTree:
    """What a Python function returns that cannot be traced, as `jax.pure_callback` has it: one equation, which may be left out where
    nothing reads it, and run more than once.

    Args:
        callback: a function of arrays and pytrees of them, called with NumPy arrays and scalars. It has no derivative: for one, see
            `tg.external`.
        result_shape_dtypes: a pytree of `ShapeDtypeStruct`s, or of arrays like the results.
        *args: its arguments; keyword arguments too are arrays.
        sharding: must be None.
        vmap_method: "sequential", "expand_dims" or "broadcast_all"; see `vmap` of `tg.external`. None refuses vmap.

    Raises:
        DifferentiationError: where it is differentiated.
        ShapeError, DtypeError: it returns something else than is declared.

    >>> import math, numpy as np, tracegrad as tg
    >>> f = lambda x: tg.pure_callback(math.erf, tg.ShapeDtypeStruct((), "float64"), x, vmap_method="sequential")
    >>> tg.jit(tg.vmap(f))(np.array([0.0, 1.0])).round(6).tolist()
    [0.0, 0.842701]
    """
    require_callable(callback, "pure_callback", "(f, result_shape_dtypes, *args)")
    _require_types(result_shape_dtypes, "pure_callback", "result_shape_dtypes")
    _require_way("sequential" if callable(vmap_method) else vmap_method, "pure_callback", "vmap_method")
    if sharding is not None:
        raise NotImplementedError(f"pure_callback{at(user_source())} takes no sharding; leave it out")
    arrays, in_tree = _flattened("pure_callback", callback, args, kwargs)
    call = _Call(callback, result_shape_dtypes, in_tree, list(map(type_of, arrays)), is_declared=True)
    name = name_of(callback)
    why = (
        f"the callback {name!r}, called{{at}}, has no derivative; write tg.external({name}, out=..., jvp=...) in place of "
        "tg.pure_callback, or tg.stop_gradient of its arguments"
    )
    return call.result(external_call(External(name, call.flat, call.types, vmap_method, True, False, why), arrays))


def _require_way(way: Any, function: str, argument: str) -> None:
    if way is not None and not callable(way) and way not in WAYS:
        raise ValueError(
            f"{function}{at(user_source())}: {argument} must be one of {', '.join(map(repr, WAYS))} or None, got {clip(repr(way))}"
        )


def _require_types(out: Any, function: str, argument: str) -> None:
    if isinstance(out, str | np.dtype) or (
        isinstance(out, type) and issubclass(out, np.generic | int | float | complex)
    ):
        raise TypeError(
            f"{function}{at(user_source())}: {argument} says of which shape and dtype the results are, got {clip(repr(out))}; write "
            f"tg.ShapeDtypeStruct((), {np.dtype(out).name!r})"
        )


def _positional(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """All arguments by position, as rules expect them."""
    if not kwargs:
        return args
    bound = inspect.signature(function).bind(*args, **kwargs)
    if bound.kwargs:
        raise TypeError(
            f"the external function {described(function)} takes no keyword-only arguments, got {', '.join(bound.kwargs)}"
            f"{at(user_source())}; bind them before: tg.external(functools.partial(f, {next(iter(bound.kwargs))}=...), ...)"
        )
    return bound.args


def _flattened(
    transform: str, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[list[Any], tree.PyTreeDef]:
    """Arguments as flat arrays, and their tree."""
    leaves, in_tree = tree.tree_flatten((args, kwargs))
    paths = [path for path, _ in tree.tree_leaves_with_path((args, kwargs))]
    where = f"{transform} of {name_of(function)!r}"
    return arrays_of(leaves, lambda i: f"{where}: argument{tree.keystr(paths[i][1:])}"), in_tree


class _Call:
    """One call of an external function: how flat arrays become its arguments, and flat results what it returns. It lives with the
    equation, and so holds no arrays."""

    def __init__(
        self,
        function: Callable[..., Any],
        out: Any,
        in_tree: tree.PyTreeDef,
        types: Sequence[ArrayType],
        is_declared: bool = False,
    ) -> None:
        self.function = function
        self.name = f"the external function {name_of(function)!r}"
        self.in_tree = in_tree
        self.out = out
        self.is_declared = is_declared or not callable(out) or hasattr(out, "dtype")
        self.out_tree = tree.tree_structure(self._declared(types))

    def arguments(self, flat: Sequence[Any]) -> tuple[Any, ...]:
        """The positional arguments of flat arrays."""
        args: tuple[Any, ...] = tree.tree_unflatten(self.in_tree, list(flat))[0]
        return args

    def flat(self, *arrays: Any) -> list[Any]:
        """The function of flat arrays, with flat results."""
        args, kwargs = tree.tree_unflatten(self.in_tree, list(arrays))
        result = self.function(*args, **kwargs)
        return self._leaves(result, "returned")

    def _leaves(self, result: Any, what: str) -> list[Any]:
        """Of what has the structure of the result."""
        try:
            return self.out_tree.flatten_up_to(result)
        except ValueError:
            raise ShapeError(
                f"{self.name}{at(user_source())} {what} {kind_of(result)}, of structure {tree.tree_structure(result)}, but is declared "
                f"to return {self.out_tree}; let it return what out= says"
            ) from None

    def _declared(self, types: Sequence[ArrayType]) -> Any:
        if self.is_declared:
            return self.out
        args, kwargs = tree.tree_unflatten(self.in_tree, [ShapeDtypeStruct(t.shape, t.dtype) for t in types])
        return self.out(*args, **kwargs)

    def types(self, types: Sequence[ArrayType]) -> list[ArrayType]:
        """The types of the results for those of the arguments."""
        declared = tree.tree_leaves(self._declared(types))
        if not all([hasattr(x, "shape") and hasattr(x, "dtype") for x in declared]):
            declared = arrays_of(declared, lambda i: f"out= of {self.name}")
        return [ArrayType(tuple(x.shape), np.dtype(x.dtype)) if hasattr(x, "shape") else _strong(x) for x in declared]

    def result(self, flat: Sequence[Any]) -> Any:
        return tree.tree_unflatten(self.out_tree, list(flat)[: self.out_tree.num_leaves])


def _strong(x: Any) -> ArrayType:
    found = type_of(x)
    return ArrayType(found.shape, found.dtype)


def _rows_of(vmap: Any, call: _Call) -> Any:
    """A rule of the user's for flat arrays."""
    if not callable(vmap):
        return vmap

    def rows(size: int, batched: Sequence[bool], flat: Sequence[Any]) -> Any:
        found = vmap(size, list(call.arguments(batched)), *call.arguments(flat))
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise TypeError(
                f"the vmap rule of {call.name}{at(user_source())} must return a pair (results, which of them have the axis), got "
                f"{kind_of(found)}"
            )
        flags = tree.tree_leaves(found[1])
        leaves = call._leaves(found[0], "has a vmap rule that returned")
        return leaves, flags * len(leaves) if len(flags) == 1 else flags

    return rows


def _pushed(
    rule: Callable[..., Any], call: _Call, primals: Sequence[Any], tangents: Sequence[Any], out: Sequence[Any]
) -> list[Any]:
    full = [zeros_like_type(type_of(p)) if t is None else t for p, t in zip(primals, tangents, strict=True)]
    result = call.result(out)
    found = call._leaves(rule(call.arguments(primals), call.arguments(full), result), "has a jvp rule that returned")
    paths = [f"output{tree.keystr(p)}" for p, _ in tree.tree_leaves_with_path(result)]
    return checked_like(found, out, call.name, "jvp", paths)


def _pulled(
    rule: Callable[..., Any], call: _Call, out: Sequence[Any], primals: Sequence[Any], cts: Sequence[Any]
) -> list[Any]:
    full = [zeros_like_type(type_of(o)) if ct is None else ct for o, ct in zip(out, cts, strict=True)]
    arguments = call.arguments(primals)
    found = rule(arguments, call.result(full), call.result(out))
    flat, paths = cotangents_of(found, arguments, f"the vjp rule of {call.name}", "argument")
    return checked_like(flat, primals, call.name, "vjp", paths)
