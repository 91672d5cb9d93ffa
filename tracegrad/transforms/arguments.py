"""What derivatives take and give: which arguments, of which dtypes, tangents and cotangents that fit, outputs that have a
derivative; and what is said where they do not."""

from __future__ import annotations

import fnmatch
import operator
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from tracegrad import tree
from tracegrad.core.errors import (
    DifferentiationError,
    DtypeError,
    ShapeError,
    UnexpectedTracerError,
    at,
    clip,
    described,
    user_source,
)
from tracegrad.core.names import leaf_names
from tracegrad.core.programs import lifted
from tracegrad.core.trace import Trace, as_array, require_numbers
from tracegrad.core.tracer import Tracer
from tracegrad.core.tracing import arrays_of, kind_of
from tracegrad.core.types import PYTHON_SCALARS, ArrayType, float0, is_inexact, number_kind, type_of
from tracegrad.transforms.batch import own_arrays

Argnums = int | Sequence[int]
Unused = Literal["zero", "none", "warn", "error"]
Complex = Literal["jax", "descent", "holomorphic"]
UNUSED: tuple[Unused, ...] = ("zero", "none", "warn", "error")
COMPLEX: tuple[Complex, ...] = ("jax", "descent", "holomorphic")
Wrt = str | Sequence[str] | Callable[[str, Any], Any] | None


def check_choice(name: str, given: Any, choices: Sequence[str], transform: str) -> None:
    if given not in choices:
        *first, last = map(repr, choices)
        raise ValueError(f"{transform}{at(user_source())}: {name} must be {', '.join(first)} or {last}, got {given!r}")


def tell_of_unused(names: Sequence[str], unused: str, transform: str) -> None:
    """Warn of leaves without a gradient, or raise."""
    text = (
        f"{transform}{at(user_source())}: the value does not depend on {clip(', '.join(names), 400)}, or only through what has no "
        "derivative; tg.debug.why_zero(f, ...) says why"
    )
    if unused == "error":
        raise DifferentiationError(f"{text}. Leave them out with wrt=, or take zeros with unused='zero'")
    warnings.warn(text, UserWarning, stacklevel=4)


def chosen_leaves(wrt: Wrt, argument: Any, transform: str) -> list[bool]:
    """For each leaf of an argument, whether it is one that `wrt` chooses."""
    paths = [
        (tree.keystr(keys, simple=True, separator="."), leaf) for keys, leaf in tree.tree_leaves_with_path(argument)
    ]
    if callable(wrt):
        return [bool(wrt(path, leaf)) for path, leaf in paths]
    patterns = [wrt] if isinstance(wrt, str) else list(wrt or ())
    names = [path for path, _ in paths]
    found = {pattern: [_matches(name, pattern) for name in names] for pattern in patterns}
    for pattern, matched in found.items():
        if not any(matched):
            raise ValueError(
                f"{transform}{at(user_source())}: wrt={pattern!r} matches no leaf of the arguments; there are "
                f"{clip(', '.join(names), 400)}"
            )
    return [any(column) for column in zip(*found.values(), strict=True)] if found else [False] * len(names)


def _matches(name: str, pattern: str) -> bool:
    """Whether a path is one that a pattern means, which may have slashes for its dots."""
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name.replace(".", "/"), pattern)


def positions_of(argnums: Argnums, transform: str) -> tuple[int, ...]:
    """`argnums` as a tuple."""
    try:
        return tuple([operator.index(i) for i in ((argnums,) if isinstance(argnums, int) else argnums)])
    except TypeError:
        raise TypeError(
            f"{transform}{at(user_source())}: argnums must be an int or a sequence of ints, the positions of "
            "arguments, "
            f"got {argnums!r}"
        ) from None


def counted_from_front(positions: Sequence[int], count: int, fun: Any, transform: str) -> list[int]:
    """The positions of arguments, none of them negative, in a call with `count` of them."""
    if len(positions) == 1 and 0 <= positions[0] < count:
        return [positions[0]]
    for i in positions:
        if not -count <= i < count:
            raise DifferentiationError(
                f"{transform}: argnums={i} asks for positional argument {i}, but {described(fun)} was called with "
                f"{count} "
                f"positional argument{'s' * (count != 1)}{at(user_source())}; pass the argument by position "
                "(keyword arguments are not differentiated) or correct argnums"
            )
    normal = [i % count for i in positions]
    if len(set(normal)) != len(normal):
        raise DifferentiationError(
            f"{transform}{at(user_source())}: argnums={tuple(positions)} names an argument of {described(fun)} twice; "
            "name each once"
        )
    return normal


def check_input(x: Tracer, transform: str, holomorphic: bool, allow_int: bool) -> None:
    fits = number_kind(x.dtype) == "c" if holomorphic else is_inexact(x.dtype)
    if not fits and (holomorphic or not allow_int):
        raise input_error(transform, str(x.name), x.type, holomorphic)


def input_error(transform: str, name: str, found: ArrayType, holomorphic: bool) -> DtypeError:
    """The error for an argument with respect to which there is no such derivative."""
    if holomorphic:
        return DtypeError(
            f"{transform} with holomorphic=True needs complex inputs, but {name} is {found}{at(user_source())}; write "
            "x.astype(complex)"
        )
    if number_kind(found.dtype) == "c":
        return DtypeError(
            f"{transform} needs real inputs, but {name} is {found}{at(user_source())}; pass holomorphic=True if the "
            "function is complex-differentiable, or make it one of x.real and x.imag"
        )
    allow = "" if transform in ("jacfwd", "hessian") else ", or pass allow_int=True"
    return DtypeError(
        f"{transform} needs inputs of a floating dtype, but {name} is {found}{at(user_source())}. Derivatives with "
        f"respect to {found.dtype} do not exist: pass floats (x.astype(float), 3.0 for 3), choose other arguments with "
        f"argnums{allow}"
    )


def split_aux(out: Any, fun: Any, transform: str) -> tuple[Any, Any]:
    if not isinstance(out, tuple) or len(out) != 2:
        raise DifferentiationError(
            f"{transform} with has_aux=True needs a function that returns a pair (value, aux), but {described(fun)} "
            f"returned {kind_of(out)}; write `return value, aux`, or leave has_aux=True out"
        )
    return out


def scalar_output(out: Any, trace: Trace, transform: str, holomorphic: bool) -> tuple[Any, Any]:
    """The output's value one level down and the cotangent to start from, None if it does not depend on the inputs."""
    traced = type(out) is Tracer and out.origin is trace
    value = out.value if traced else out
    if type(out) is Tracer and out.origin.ended:
        raise UnexpectedTracerError(out.leak_text())
    try:
        found = type_of(value)
    except TypeError:
        hint = (
            " (with more results, return (value, aux) and pass has_aux=True)" if isinstance(out, tuple | list) else ""
        )
        raise DifferentiationError(
            f"{transform} needs a function that returns a scalar, or an array of one element, but "
            f"{described(trace.function)} returned {kind_of(out)}{hint}"
        ) from None
    where = at(out.source) if traced else ""
    if found.size != 1:
        raise DifferentiationError(
            f"{transform} needs a function that returns a scalar, or an array of one element, but "
            f"{described(trace.function)} returned {found}{where}. Return np.sum(...) or np.mean(...) of it, or use "
            "tg.jacrev for all derivatives, or tg.vjp for a product with them"
        )
    kind = number_kind(found.dtype)
    if kind == "c" and not holomorphic:
        raise DifferentiationError(
            f"{transform} needs a real output, but {described(trace.function)} returned {found}{where}; return "
            "its real part or abs, pass holomorphic=True if the function is complex-differentiable, or use tg.vjp"
        )
    if holomorphic and kind != "c":
        raise DifferentiationError(
            f"{transform} with holomorphic=True needs a complex output, but {described(trace.function)} returned "
            f"{found}"
            f"{where}; leave holomorphic=True out"
        )
    if kind not in "fc":
        raise DifferentiationError(
            f"{transform} needs an output of a floating dtype, but {described(trace.function)} returned {found}"
            f"{where}. Derivatives of integers and booleans are zero everywhere: return the floating number they are "
            "made from"
        )
    if not traced:
        return value, None
    return value, np.ones(found.shape, found.dtype) if found.shape else found.dtype.type(1)


def as_output(out: Any, fun: Any) -> Any:
    try:
        if type(out) is np.ndarray:
            require_numbers(out)
        return as_array(out)
    except TypeError as error:
        raise DtypeError(f"the output of {described(fun)}: {error}") from None


def matching(
    given: Any,
    expected_tree: Any,
    types: Sequence[ArrayType],
    transform: str,
    what: str,
    of: str,
    beside: Sequence[Any] = (),
) -> list[Any]:
    """Flatten tangents or cotangents and check each against the type of what it belongs to; float0 becomes None, and whole
    numbers, with which SciPy tries a LinearOperator, that dtype, where NumPy holds the cast for safe. They are constants of the
    Graph that is being made of the values `beside`, if one is (`lifted`)."""
    leaves, given_tree = tree.tree_flatten(given)
    if given_tree != expected_tree:
        raise ShapeError(
            f"{transform}{at(user_source())}: the structure of the {what} is {given_tree}, but that of the {of} is "
            f"{expected_tree}; pass a pytree like the {of}"
        )
    checked = []

    def path(leaf: int) -> str:
        return tree.keystr(tree.tree_leaves_with_path(given)[leaf][0])

    for i, (x, expected) in enumerate(zip(arrays_of(leaves, lambda i: f"{what}{path(i)}"), types, strict=True)):
        found = type_of(x)
        if (
            found.shape == expected.shape
            and found.dtype == expected.dtype
            and is_inexact(expected.dtype)
            and not found.weak
        ):
            checked.append(lifted(x, beside))
            continue
        if not is_inexact(expected.dtype):
            if found.dtype != float0 and not (type(x) is not Tracer and not np.any(x)):
                raise DtypeError(
                    f"{transform}{at(user_source())}: {of}{path(i)} is {expected}, so {what}{path(i)} must be a zero "
                    "of "
                    f"dtype float0, got {found}; write np.zeros({expected.shape}, tg.float0)"
                )
            checked.append(None)
            continue
        if found.shape != expected.shape:
            raise ShapeError(
                f"{transform}{at(user_source())}: {what}{path(i)} is {found}, but {of}{path(i)} is {expected}; their "
                "shapes "
                "must be equal"
            )
        if number_kind(found.dtype) in "iu" and not found.weak and np.can_cast(found.dtype, expected.dtype):
            x, found = x.astype(expected.dtype), expected
        if found.dtype != expected.dtype and not found.weak:
            raise DtypeError(
                f"{transform}{at(user_source())}: {what}{path(i)} is {found}, but {of}{path(i)} is {expected}; write "
                + (
                    ".real"
                    if number_kind(found.dtype) == "c" != number_kind(expected.dtype)
                    else f".astype({expected.dtype.name!r})"
                )
            )
        checked.append(lifted(expected.dtype.type(x) if type(x) in PYTHON_SCALARS else x, beside))
    return checked


def split(
    fun: Callable[..., Any], argnums: Argnums, args: tuple[Any, ...], kwargs: dict[str, Any], transform: str
) -> tuple[Callable[..., Any], tuple[Any, ...], list[int]]:
    """`fun` as a function of the arguments at `argnums` alone, those arguments, and their positions."""
    normal = counted_from_front(positions_of(argnums, transform), len(args), fun, transform)

    def partial(*chosen: Any) -> Any:
        call = list(args)
        for i, x in zip(normal, chosen, strict=True):
            call[i] = x
        return fun(*call, **kwargs)

    return partial, tuple([args[i] for i in normal]), normal


def split_leaves(
    fun: Callable[..., Any], argnums: Argnums, args: tuple[Any, ...], kwargs: dict[str, Any], transform: str, of: Any
) -> tuple[Callable[..., Any], tuple[Any, ...], list[int], list[Any], Any, Callable[[int], str]]:
    """What `split` gives, and the arguments' leaves as arrays, their tree and their names, which are those of the function `of`."""
    partial, primals, positions = split(fun, argnums, args, kwargs, transform)
    leaves, in_tree = tree.tree_flatten(primals)
    names = leaf_names(of, in_tree, positions)
    return partial, primals, positions, arrays_of(leaves, names), in_tree, names


def check_inputs(leaves: Sequence[Any], names: Callable[[int], str], transform: str, holomorphic: bool) -> None:
    """Raise for a leaf that is not of floats, or with `holomorphic` not complex."""
    for i, x in enumerate(leaves):
        found = type_of(x)
        if number_kind(found.dtype) != ("c" if holomorphic else "f"):
            raise input_error(transform, names(i), found, holomorphic)


def check_outputs(out: Any, fun: Any, transform: str, holomorphic: bool) -> None:
    """The same for what a function returns."""
    for i, x in enumerate(tree.tree_leaves(out)):
        found = type_of(x)
        if number_kind(found.dtype) != ("c" if holomorphic else "f"):
            path = tree.keystr(tree.tree_leaves_with_path(out)[i][0])
            fix = "pass holomorphic=True if the function is complex-differentiable, or return .real and .imag"
            if number_kind(found.dtype) != "c":
                fix = "leave holomorphic=True out" if holomorphic else "return it with has_aux=True, or not at all"
            raise DtypeError(
                f"{transform}{at(user_source())} needs outputs of a {'complex' if holomorphic else 'real floating'} "
                "dtype, "
                f"but the output{path} of {described(fun)} is {found}; {fix}"
            )


def lowered(outputs: Sequence[Any], trace: Trace, keep: bool = False) -> list[Any]:
    """The results of the traced function as the caller, one level down, may have them: arrays of his own. What was traced
    is copied where a derivative that is applied later still needs it; what was not is the function's."""
    is_traced = [type(x) is Tracer and x.origin is trace for x in outputs]
    values = [x.value if t else x for x, t in zip(outputs, is_traced, strict=True)]
    return own_arrays(values, given=[x for x, t in zip(values, is_traced, strict=True) if keep or not t])


def lowered_aux(leaves: list[Any], structure: tree.PyTreeDef, trace: Trace, keep: bool = False) -> Any:
    """The same for what a function returns besides; what was not traced is handed on as it is."""
    traced = [i for i, x in enumerate(leaves) if type(x) is Tracer and x.origin is trace]
    for i, x in zip(traced, lowered([leaves[i] for i in traced], trace, keep), strict=True):
        leaves[i] = x
    return tree.tree_unflatten(structure, leaves)
