"""Derivatives that the user gives: `custom_jvp` and `custom_vjp`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

import numpy as np

from tracegrad import tree
from tracegrad.core.boxes import accepting_jax, is_boxed
from tracegrad.core.context import context, open_traces
from tracegrad.core.errors import (
    DifferentiationError,
    DtypeError,
    ShapeError,
    UnexpectedTracerError,
    at,
    described,
    name_of,
    require_callable,
    user_source,
)
from tracegrad.core.names import global_name, output_name, wraps
from tracegrad.core.trace import bind
from tracegrad.core.tracer import Tracer, settled_tree
from tracegrad.core.tracing import arrays_of, kind_of
from tracegrad.core.types import is_inexact, number_kind, type_of
from tracegrad.transforms.custom.call import _custom, call_by_rules
from tracegrad.transforms.custom.closures import HoldsFunctions, closing
from tracegrad.transforms.custom.rules import Rules
from tracegrad.transforms.custom.symbolic_zeros import CustomVJPPrimal, SymbolicZero, symbolic_zero
from tracegrad.transforms.linear import zeros_like_type
from tracegrad.transforms.static_arguments import argument_names, existing_numbers, static_positions
from tracegrad.typing import F, P, R

Owner = TypeVar("Owner")  # whose method a function with rules is
Q = ParamSpec("Q")


class _CustomFunction(HoldsFunctions, Generic[P, R]):
    """What both decorators share: binding arguments, leaving the nondiff ones out, flattening the rest."""

    __name__: str  # the function's own, as is `__wrapped__`
    __wrapped__: Callable[P, R]

    def __init__(
        self,
        fun: Callable[P, R],
        nondiff_argnums: int | Sequence[int] = (),
        nondiff_argnames: str | Sequence[str] = (),
    ) -> None:
        transform = type(self).__name__
        require_callable(fun, transform, "(f)")
        self.fun: Callable[..., R] = fun
        self.nondiff_argnums = existing_numbers(fun, nondiff_argnums, "nondiff_argnums", transform)
        names = argument_names(fun, nondiff_argnames, "nondiff_argnames", transform)
        if names:
            numbers, _ = static_positions(fun, self.nondiff_argnums, names)
            self.nondiff_argnums = tuple(sorted(numbers))
        wrapper: Any = self
        functools.update_wrapper(wrapper, fun, updated=())  # its __dict__ may be that of another one of these

    def __reduce_ex__(self, protocol: Any) -> Any:
        return global_name(self) or super().__reduce_ex__(protocol)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    @overload
    def __get__(self, instance: None, owner: Any = None) -> Self: ...
    @overload
    def __get__(
        self: _CustomFunction[Concatenate[Owner, Q], R], instance: Owner, owner: Any = None
    ) -> Callable[Q, R]: ...
    def __get__(self, instance: Any, owner: Any = None) -> Any:
        wrapper: Any = self
        return self if instance is None else functools.partial(wrapper, instance)

    def _positional(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """All arguments by position, with defaults, as the rules expect them."""
        if not kwargs:
            try:
                signature = inspect.signature(self.fun)
            except (ValueError, TypeError):
                return args
            bound = signature.bind(*args)
        else:
            bound = inspect.signature(self.fun).bind(*args, **kwargs)
        if bound.kwargs:
            raise TypeError(
                f"{described(self.fun)} has custom derivatives, and so takes no keyword-only arguments, got "
                f"{', '.join(bound.kwargs)}{at(user_source())}; let them be positional too (no * in the signature)"
            )
        bound.apply_defaults()
        return bound.args

    def _split(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[list[Any], list[Any], Any, Callable[..., tuple[Any, ...]]]:
        """The nondiff arguments, the flat differentiable leaves, their tree, and how to put all together again."""
        args = self._positional(args, kwargs)
        count = len(args)
        fixed = {i % count: args[i] for i in self.nondiff_argnums}
        for i, x in fixed.items():
            if any(type(leaf) is Tracer for leaf in tree.tree_leaves(x)):
                raise UnexpectedTracerError(
                    f"{described(self.fun)}: argument {i} is in nondiff_argnums but is traced{at(user_source())}; "
                    "take it out of nondiff_argnums and return zeros for its derivative"
                )
        leaves, in_tree = tree.tree_flatten(tuple([x for i, x in enumerate(args) if i not in fixed]))

        def join(flat: Sequence[Any]) -> tuple[Any, ...]:
            rest = iter(tree.tree_unflatten(in_tree, list(flat)))
            return tuple([fixed[i] if i in fixed else next(rest) for i in range(count)])

        arrays = arrays_of(leaves, lambda i: f"argument {i} of {described(self.fun)}")
        return list(fixed.values()), arrays, in_tree, join

    def _of_plain(self, args: tuple[Any, ...]) -> Any:
        """What the function itself makes of arguments that are not traced. If it closes over something that is, the result
        has no derivative."""
        out = self.fun(*args)
        if not open_traces or not any([isinstance(x, Tracer) for x in tree.tree_leaves(out)]):
            return out
        outputs, out_tree = tree.tree_flatten(settled_tree(out))
        if all([type(o) is not Tracer or is_boxed(o) for o in outputs]):
            return out
        found = closing(name_of(self.fun), outputs)
        rules = Rules(name_of(self.fun), 0, found.call, closed=found.closed)
        return tree.tree_unflatten(out_tree, list(bind(_custom, tuple(found.closed), {"rules": rules})))

    def _flat_call(self, join: Callable[..., tuple[Any, ...]]) -> tuple[Callable[..., list[Any]], Callable[[], Any]]:
        """The function of the flat leaves, with flat outputs, and the tree of those that it returned last."""
        found: list[Any] = []

        @wraps(self.fun)
        def call(*flat: Any) -> list[Any]:
            out = self.fun(*join(flat))
            outputs, out_tree = tree.tree_flatten(out)
            found[:] = [out_tree]
            return arrays_of(outputs, lambda i: output_name(self.fun, out, i))

        return call, lambda: found[0]


def cotangents_of(found: Any, arguments: Sequence[Any], rule: str, what: str) -> tuple[list[Any], list[str]]:
    """The cotangents that a rule returned, one for each leaf of its arguments, and what these leaves are called. `what` an argument
    is, for the error where there are not as many."""
    count = len(arguments)
    if not isinstance(found, tuple | list) or len(found) != count:
        raise DifferentiationError(
            f"{rule} must return a tuple with one cotangent for each of its {count} {what}{'s' * (count != 1)}, got "
            f"{kind_of(found)}"
        )
    flat: list[Any] = []
    for i, (ct, argument) in enumerate(zip(found, arguments, strict=True)):
        parts = _parts_of(ct, argument)
        if parts is None:
            raise ShapeError(
                f"{rule} returned a cotangent of structure {tree.tree_structure(ct)} for argument {i}, whose structure is "
                f"{tree.tree_structure(argument)}; they must be equal, but for None where a part is zero"
            )
        flat.extend(parts)
    return flat, [f"argument{tree.keystr(p)}" for p, _ in tree.tree_leaves_with_path(arguments)]


def _parts_of(ct: Any, argument: Any) -> list[Any] | None:
    """The leaves of a cotangent, None for each of those of a part that is None; None if it is not structured so."""
    leaves, prefix = tree.tree_flatten(ct, is_leaf=lambda x: x is None)
    try:
        structures = list(map(tree.tree_structure, prefix.flatten_up_to(argument)))
    except ValueError:
        return None
    if not all([x is None or tree.treedef_is_leaf(t) for x, t in zip(leaves, structures, strict=True)]):
        return None
    return [x for x, t in zip(leaves, structures, strict=True) for _ in range(t.num_leaves)]


def checked_like(found: Any, primals: Sequence[Any], name: str, rule: str, paths: Sequence[str]) -> list[Any]:
    """What a rule returned for one leaf after the other, each against the type of what it belongs to."""
    checked: list[Any] = []
    for x, primal, path in zip(found, primals, paths, strict=True):
        expected = type_of(primal)
        if x is None or type(x) is SymbolicZero or not is_inexact(expected.dtype):
            checked.append(None)
            continue
        where = f"what the {rule} rule of {name} returned for {path}"
        (x,) = arrays_of([x], [where].__getitem__)
        got = type_of(x)
        if got.shape != expected.shape:
            raise ShapeError(
                f"the {rule} rule of {name}, called{at(context.source)}, returned {got} for {path}, which is "
                f"{expected}; their shapes must be equal"
            )
        if number_kind(got.dtype) == "c" != number_kind(expected.dtype):
            raise DtypeError(
                f"the {rule} rule of {name}, called{at(context.source)}, returned {got} for {path}, which is "
                f"{expected}; return the real part of it (.real)"
            )
        checked.append(
            x
            if got.dtype == expected.dtype
            else np.astype(np.asarray(x) if got.weak and type(x) is not Tracer else x, expected.dtype)
        )
    return checked


class custom_jvp(_CustomFunction[P, R]):
    """A function with a forward derivative rule of its own. Reverse mode follows by transposing the rule.

    Args:
        fun: the function, of arrays and pytrees of them.
        nondiff_argnums: positions of arguments that are handed to the rule first, as they are.
        nondiff_argnames: the same by name; those of both then come in the order of the parameters.

    Give the rule with `defjvp(rule)`, where `rule(*nondiff, primals, tangents)` returns `(out, tangent_out)` and is
    linear in the tangents; or with `defjvps(*rules)`, one `rule(tangent, out, *primals)` for each argument (None: zero).

    >>> import numpy as np, tracegrad as tg
    >>> @tg.custom_jvp
    ... def log1pexp(x):
    ...     return np.log1p(np.exp(x))
    >>> @log1pexp.defjvp
    ... def _(primals, tangents):
    ...     (x,), (t,) = primals, tangents
    ...     return log1pexp(x), t / (1 + np.exp(-x))
    >>> float(tg.grad(log1pexp)(100.0))
    1.0
    """

    def __init__(
        self,
        fun: Callable[P, R],
        nondiff_argnums: int | Sequence[int] = (),
        nondiff_argnames: str | Sequence[str] = (),
    ) -> None:
        super().__init__(fun, nondiff_argnums, nondiff_argnames)
        self.rule: Callable[..., Any] | None = None
        self.rules: tuple[Callable[..., Any] | None, ...] | None = None  # one for each argument
        self.symbolic_zeros = False

    def defjvp(self, rule: F, symbolic_zeros: bool = False) -> F:
        """Set the rule `(*nondiff, primals, tangents) -> (out, tangent_out)`. Usable as a decorator.

        With `symbolic_zeros` it gets a `tg.custom_derivatives.SymbolicZero` for each leaf of the tangents that is known
        to be zero, instead of an array of zeros, and may return such.
        """
        require_callable(rule, "custom_jvp", "(f).defjvp(rule)")
        self.rule, self.rules, self.symbolic_zeros = rule, None, bool(symbolic_zeros)
        return rule

    def defjvps(self, *rules: Callable[..., Any] | None) -> None:
        """Set one rule `(tangent, out, *primals) -> tangent_out` for each argument, None for a zero derivative."""
        self.rule, self.rules, self.symbolic_zeros = None, rules, False

    def _by_arguments(self, primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
        """The rule that those of `defjvps` make together."""
        rules = self.rules
        assert rules is not None
        call: Callable[..., R] = self
        out = call(*primals)
        total = None
        if len(rules) != len(primals):
            raise DifferentiationError(
                f"defjvps of {described(self.fun)} was given {len(rules)} rule{'s' * (len(rules) != 1)} for "
                f"{len(primals)} arguments; give one for each (None: zero)"
            )
        for r, t in zip(rules, tangents, strict=True):
            if r is not None:
                term = r(t, out, *primals)
                total = term if total is None else tree.tree_map(lambda a, b: a + b, total, term)
        return out, tree.tree_map(lambda o: np.zeros_like(o), out) if total is None else total

    @accepting_jax
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        fixed, leaves, in_tree, join = self._split(args, kwargs)
        if not any([type(x) is Tracer for x in leaves]):
            return self._of_plain(join(leaves))
        rule: Callable[..., Any] | None = self.rule if self.rules is None else self._by_arguments
        if rule is None:
            raise DifferentiationError(
                f"{described(self.fun)} has no rules yet, and is differentiated{at(user_source())}; give "
                "one with .defjvp(rule)"
            )
        zeros = symbolic_zero if self.symbolic_zeros else zeros_like_type
        call, out_tree = self._flat_call(join)

        def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Sequence[Any]) -> list[Any]:
            full = [zeros(type_of(p)) if t is None else t for p, t in zip(primals, tangents, strict=True)]
            result = rule(*fixed, tree.tree_unflatten(in_tree, list(primals)), tree.tree_unflatten(in_tree, full))
            if not isinstance(result, tuple | list) or len(result) != 2:
                raise DifferentiationError(
                    f"the jvp rule of {described(self.fun)} must return a pair (out, tangent_out), got "
                    f"{kind_of(result)}"
                )
            out_leaves, got_tree = tree.tree_flatten(result[0])
            tangent_leaves, tangent_tree = tree.tree_flatten(result[1])
            if got_tree != out_tree():
                raise ShapeError(
                    f"the jvp rule of {described(self.fun)} returned an output of structure {got_tree}, but the "
                    f"function itself returned {out_tree()}; return (f(*primals), tangent_out)"
                )
            if tangent_tree != got_tree:
                raise ShapeError(
                    f"the jvp rule of {described(self.fun)} returned an output of structure {got_tree} with a "
                    "tangent of "
                    f"structure {tangent_tree}; they must be equal"
                )
            paths = [f"output{tree.keystr(p)}" for p, _ in tree.tree_leaves_with_path(result[0])]
            return checked_like(tangent_leaves, out_leaves, described(self.fun), "jvp", paths)

        name = name_of(self.fun)
        made_of = (self.fun, rule, zeros, in_tree, fixed)
        rules = Rules(name, len(leaves), call, jvp=jvp, made_of=made_of)
        outputs = call_by_rules(leaves, rules, (self.fun, rule))
        return tree.tree_unflatten(out_tree(), list(outputs))


class custom_vjp(_CustomFunction[P, R]):
    """A function with a reverse derivative rule of its own. Forward mode follows by transposing the rule.

    Args:
        fun: the function, of arrays and pytrees of them.
        nondiff_argnums: positions of arguments that `bwd` gets first, as they are.
        nondiff_argnames: the same by name; those of both then come in the order of the parameters.

    Give the rules with `defvjp(fwd, bwd)`: `fwd(*args)` returns `(out, residuals)`, `bwd(*nondiff, residuals, ct)` a
    tuple of cotangents, one for each differentiable argument. None is zero, for a whole argument or a part of one.

    >>> import numpy as np, tracegrad as tg
    >>> @tg.custom_vjp
    ... def clip_gradient(x):
    ...     return x
    >>> clip_gradient.defvjp(lambda x: (x, None), lambda _, ct: (np.clip(ct, -1.0, 1.0),))
    >>> float(tg.grad(lambda x: 10.0 * clip_gradient(x))(2.0))
    1.0
    """

    def __init__(
        self,
        fun: Callable[P, R],
        nondiff_argnums: int | Sequence[int] = (),
        nondiff_argnames: str | Sequence[str] = (),
    ) -> None:
        super().__init__(fun, nondiff_argnums, nondiff_argnames)
        self.fwd: Callable[..., Any] | None = None
        self.bwd: Callable[..., Any] | None = None
        self.symbolic_zeros = False

    def defvjp(self, fwd: Callable[..., Any], bwd: Callable[..., Any], symbolic_zeros: bool = False) -> None:
        """Set the rules; see the class.

        With `symbolic_zeros` each leaf of the differentiable arguments comes to `fwd` as a
        `tg.custom_derivatives.CustomVJPPrimal`, with its `value` and whether it is `perturbed`, and `bwd` gets a
        `SymbolicZero` for each leaf of the cotangent that is known to be zero.
        """
        for rule in (fwd, bwd):
            require_callable(rule, "custom_vjp", "(f).defvjp(fwd, bwd)")
        self.fwd, self.bwd, self.symbolic_zeros = fwd, bwd, bool(symbolic_zeros)

    @accepting_jax
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        fixed, leaves, in_tree, join = self._split(args, kwargs)
        if not any([type(x) is Tracer for x in leaves]):
            return self._of_plain(join(leaves))
        if self.fwd is None or self.bwd is None:
            raise DifferentiationError(
                f"{described(self.fun)} has no rules yet, and is differentiated{at(user_source())}; give "
                "them with .defvjp(fwd, bwd)"
            )
        name = name_of(self.fun)
        fwd, bwd, symbolic = self.fwd, self.bwd, self.symbolic_zeros
        zeros = symbolic_zero if symbolic else zeros_like_type
        call, out_tree = self._flat_call(join)

        def flat_fwd(primals: Sequence[Any], perturbed: Sequence[bool], out: Sequence[Any]) -> tuple[list[Any], Any]:
            given = list(map(CustomVJPPrimal, primals, perturbed)) if symbolic else primals
            result = fwd(*join(given))
            if not isinstance(result, tuple | list) or len(result) != 2:
                raise DifferentiationError(
                    f"fwd of {described(self.fun)} must return a pair (out, residuals), got {kind_of(result)}"
                )
            outputs, structure = tree.tree_flatten(result[0])
            return outputs, (result[1], structure, [type_of(o) for o in outputs])

        def flat_bwd(residuals: Any, primals: Sequence[Any], cts: Sequence[Any]) -> list[Any]:
            kept, structure, types = residuals
            full = [zeros(t) if ct is None else ct for t, ct in zip(types, cts, strict=True)]
            found = bwd(*fixed, kept, tree.tree_unflatten(structure, full))
            arguments = tree.tree_unflatten(in_tree, list(primals))
            flat, paths = cotangents_of(found, arguments, f"bwd of {described(self.fun)}", "differentiable argument")
            return checked_like(flat, primals, described(self.fun), "vjp", paths)

        made_of = (self.fun, fwd, bwd, zeros, in_tree, fixed)
        rules = Rules(name, len(leaves), call, fwd=flat_fwd, bwd=flat_bwd, made_of=made_of)
        outputs = call_by_rules(leaves, rules, (self.fun, fwd, bwd))
        return tree.tree_unflatten(out_tree(), list(outputs))
