"""Derivatives that the user gives: `custom_jvp` and `custom_vjp`.

A call is one op in the trace, `custom_call`, whose params hold the function and its rules. It evaluates by running the
function, so outside derivatives it is that function. Where one mode's rule is missing, `linear.py` transposes the other.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

import numpy as np

from tracegrad import tree
from tracegrad.core.axes import within
from tracegrad.core.boxes import accepting_jax, is_boxed, with_boxes_of
from tracegrad.core.context import context
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
from tracegrad.core.graph import Graph, evaluate
from tracegrad.core.memory import compact, copied
from tracegrad.core.names import output_name, wraps
from tracegrad.core.op import Held, Op, Params, Wanted
from tracegrad.core.trace import Tracer, bind, in_program
from tracegrad.core.tracing import arrays_of, kind_of, trace_graph
from tracegrad.core.types import ArrayType, is_inexact, number_kind, type_of
from tracegrad.core.views import own
from tracegrad.ops.families import total
from tracegrad.ops.masks import filled
from tracegrad.transforms.batch import batch_graph, with_batch
from tracegrad.transforms.control.held import axis_indices
from tracegrad.transforms.linear import transposed_jvp, transposed_vjp
from tracegrad.transforms.signatures import argument_names, existing_numbers, places_of
from tracegrad.typing import F, P, R

Owner = TypeVar("Owner")  # whose method a function with rules is
Q = ParamSpec("Q")


class Rules:
    """A function of flat arrays with its derivative rules, hashed by identity: the params of one `custom_call`.

    call(*arrays) -> list of arrays
    jvp(primals, tangents) -> list of output tangents, or None where only a vjp is given
    fwd(primals) -> list of outputs (None: not known), what `bwd` needs; or None where only a jvp is given
    bwd(residuals, primals, cts) -> one cotangent for each input (None: zero)
    """

    __slots__ = ("bwd", "call", "fwd", "jvp", "name")

    def __init__(
        self,
        name: str,
        call: Callable[..., Sequence[Any]],
        jvp: Callable[..., Sequence[Any]] | None = None,
        fwd: Callable[..., tuple[Sequence[Any] | None, Any]] | None = None,
        bwd: Callable[..., Sequence[Any]] | None = None,
    ) -> None:
        self.name = name
        self.call = call
        self.jvp = jvp
        self.fwd = fwd
        self.bwd = bwd

    def __repr__(self) -> str:
        return self.name


def _called(leaves: Sequence[Any], rules: Rules) -> Any:
    """The outputs of a call. Its function and rules may hold collectives, so it gets the index in each named axis too,
    which they leave aside: it then belongs to the traces that map over these axes, whatever its arguments depend on. In a
    program that will be run again, the arrays that the function closes over are further inputs."""
    if context.trace is None:
        return bind(_custom, tuple(leaves), {"rules": rules})
    call, jvp, fwd, bwd, count = rules.call, rules.jvp, rules.fwd, rules.bwd, len(leaves)
    more = axis_indices([axis for axis in context.bound if axis in context.trace.axes])
    inner: Callable[..., Sequence[Any]] = call
    if in_program():
        graph = trace_graph(call, [type_of(x) for x in leaves], transform="call", user_function=call, abstract=True)
        arrays = {v: x for v, x in graph.consts.items() if type(x) is np.ndarray}
        if arrays and not any([type(x) is Tracer and not is_boxed(x) for x in graph.consts.values()]):
            rest = {v: x for v, x in graph.consts.items() if v not in arrays}
            whole = Graph((*graph.inputs, *arrays), graph.eqns, graph.outputs, rest, graph.name)
            inner = lambda *inputs: evaluate(whole, (*inputs[:count], *inputs[len(inputs) - len(arrays) :]))
            more += arrays.values()
    if more:
        rules = Rules(
            rules.name,
            functools.wraps(call)(inner if inner is not call else lambda *inputs: call(*inputs[:count])),
            jvp and (lambda primals, tangents: jvp(primals[:count], tangents[:count])),
            fwd and (lambda primals: fwd(primals[:count])),
            bwd and (lambda residuals, primals, cts: [*bwd(residuals, primals[:count], cts), *[None] * len(more)]),
        )
    return bind(_custom, (*leaves, *more), {"rules": rules})


def _given(x: Any) -> Any:
    """An argument of a user's function: its own, since it may write into it; but an array from outside is a constant of the
    program that is being made, if one is, and read anew in it."""
    if type(x) is np.ndarray:
        return x if in_program() else compact(x)
    return own(x)


def _evaluate(*arrays: Any, rules: Rules) -> tuple[Any, ...]:
    outputs = tuple(with_boxes_of(arrays, lambda: rules.call(*map(_given, arrays))))
    for o in outputs:
        if (
            type(o) is Tracer
            and not is_boxed(o)
            and not any(type(a) is Tracer and a.origin.level >= o.origin.level for a in arrays)
        ):
            raise UnexpectedTracerError(
                f"the function {rules.name!r} with custom derivatives uses {o.described()} from outside; pass it as an "
                "argument, since its derivative rule knows only of arguments"
            )
    return outputs


def _infer(types: Sequence[ArrayType], params: Params) -> tuple[ArrayType, ...]:
    rules: Rules = params["rules"]
    graph = trace_graph(rules.call, list(types), transform="call", user_function=rules.call)
    return graph.out_types


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    rules: Rules = params["rules"]
    if rules.jvp is None:
        active = tuple([i for i, t in enumerate(tangents) if t is not None])
        return transposed_vjp(_custom, active, tangents, out, primals, params)
    jvp = rules.jvp

    def call() -> Any:
        given = [_zeros(p) if t is None else _given(t) for p, t in zip(primals, tangents, strict=True)]
        return jvp(list(map(_given, primals)), given)

    found = with_boxes_of([*primals, *tangents], call)
    for o, t in zip(out, found, strict=True):
        if t is not None:
            _require_same_shape(rules.name, "jvp rule", t, o)
    return found


def _vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    rules: Rules = params["rules"]
    if rules.fwd is None:
        return transposed_jvp(_custom, wanted, ct, out, primals, params)
    return _pull(wanted, ct, _residuals(primals, out, rules), out, primals, params)


def _forward(wanted: Wanted, values: Sequence[Any], params: Params) -> tuple[Sequence[Any], Any]:
    """The outputs are the function's own. Those of `fwd` must be equal, but their derivative is that of what `fwd` does."""
    rules: Rules = params["rules"]
    out = bind(_custom, tuple(values), params)
    return out, None if rules.fwd is None else _residuals(values, out, rules)


def _residuals(primals: Sequence[Any], out: Sequence[Any], rules: Rules) -> Any:
    fwd = rules.fwd
    assert fwd is not None

    def call() -> Any:
        given = list(map(_given, primals))
        return given, fwd(given)

    given, (outputs, residuals) = with_boxes_of(primals, call)
    if outputs is not None:
        if len(outputs) != len(out):
            raise ShapeError(
                f"fwd of {rules.name!r}{at(user_source())} returned {len(outputs)} arrays, but the function itself "
                f"returned {len(out)}; return (f(*args), residuals)"
            )
        for got, expected in zip(outputs, out, strict=True):
            _require_same_shape(rules.name, "fwd rule", got, expected)
    if in_program():
        return (residuals,)
    # What is not the function's own may be written into before the backward pass.
    own_already = set(map(id, given))
    kept = lambda x: copied(x) if type(x) is np.ndarray and id(x) not in own_already else x
    return (tree.tree_map(kept, residuals),)


def _pull(wanted: Wanted, ct: Any, residuals: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    rules: Rules = params["rules"]
    bwd = rules.bwd
    assert bwd is not None
    ct = list(map(filled, ct))

    def call() -> Any:
        cts = [_zeros(o) if c is None else _given(c) for o, c in zip(out, ct, strict=True)]
        return bwd(residuals[0], primals, cts)

    found = with_boxes_of([*primals, *ct], call)
    return [found[i] for i in wanted]


def _zeros(x: Any) -> Any:
    found = type_of(x)
    return np.zeros(found.shape, found.dtype)[()]


def _require_same_shape(name: str, rule: str, got: Any, expected: Any) -> None:
    """What a rule makes of the output must have the shape of the function's own."""
    if type_of(got).shape != type_of(expected).shape:
        raise ShapeError(
            f"the {rule} of {name!r}, called{at(user_source())}, returned an output of type {type_of(got)}, but the "
            f"function itself returned {type_of(expected)}; their shapes must be equal"
        )


def _batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    """The same call on batches: function and rules are each batched, and an input that all examples share gets the
    sum of their cotangents."""
    rules: Rules = params["rules"]
    types = [_example_type(x, b) for x, b in zip(inputs, batched, strict=True)]
    axes = context.bound, context.batching, context.start  # what runs later has the named axes of now

    def over_batch(
        function: Callable[..., Sequence[Any]], types: list[ArrayType], batched: list[bool]
    ) -> Callable[..., Any]:
        def run(*arrays: Any) -> list[Any]:
            graph = trace_graph(function, types, transform="vmap", user_function=rules.call)
            return [with_batch(r, size) for r in batch_graph(graph, size, arrays, batched)]

        return lambda *arrays: within(*axes, run, *arrays)

    flags = list(batched)
    count = len(types)
    call = over_batch(rules.call, types, flags)
    outs = trace_graph(rules.call, types, transform="vmap", user_function=rules.call).out_types
    jvp = fwd = bwd = None
    if rules.jvp is not None:
        given_jvp = rules.jvp

        def flat_jvp(*arrays: Any) -> Sequence[Any]:
            return given_jvp(arrays[:count], arrays[count:])

        def jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> Sequence[Any]:
            return over_batch(flat_jvp, types * 2, flags * 2)(*primals, *tangents)

    if rules.fwd is not None and rules.bwd is not None:
        given_fwd, given_bwd = rules.fwd, rules.bwd

        def flat_vjp(*arrays: Any) -> Sequence[Any]:
            primals = list(arrays[:count])
            found = given_bwd(given_fwd(primals)[1], primals, arrays[count:])
            return [_zeros(p) if c is None else c for p, c in zip(arrays, found, strict=False)]

        def fwd(primals: Sequence[Any]) -> tuple[None, None]:
            return None, None  # what one example keeps is no array of the batch's

        def bwd(residuals: Any, primals: Sequence[Any], cts: Sequence[Any]) -> Sequence[Any]:
            rows = over_batch(flat_vjp, [*types, *outs], flags + [True] * len(outs))(*primals, *cts)
            return [r if b else total(r, 0) for r, b in zip(rows, flags, strict=True)]

    return bind(_custom, tuple(inputs), {"rules": Rules(rules.name, call, jvp, fwd, bwd)})


def _example_type(x: Any, batched: bool) -> ArrayType:
    found = type_of(x)
    return ArrayType(found.shape[1:], found.dtype) if batched else found


_custom = Op(
    "custom_call",
    evaluate=_evaluate,
    infer=_infer,
    jvp=_jvp,
    vjp=_vjp,
    batch=_batch,
    multiple_results=True,
    kinds="",
    held=Held(forward=_forward, pull=_pull, runs_user_code=True),
)


class _CustomFunction(Generic[P, R]):
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
            numbers, _ = places_of(fun, self.nondiff_argnums, names)
            self.nondiff_argnums = tuple(sorted(numbers))
        wrapper: Any = self
        functools.update_wrapper(wrapper, fun, updated=())  # its __dict__ may be that of another one of these

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


def _checked(found: Any, primals: Sequence[Any], name: str, rule: str, paths: Sequence[str]) -> list[Any]:
    """What a rule returned for one leaf after the other, each against the type of what it belongs to."""
    checked: list[Any] = []
    for x, primal, path in zip(found, primals, paths, strict=True):
        expected = type_of(primal)
        if x is None or not is_inexact(expected.dtype):
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
        self._rules: tuple[Callable[..., Any] | None, ...] | None = None  # one for each argument

    def defjvp(self, rule: F, symbolic_zeros: bool = False) -> F:
        """Set the rule `(*nondiff, primals, tangents) -> (out, tangent_out)`. Usable as a decorator."""
        require_callable(rule, "custom_jvp", "(f).defjvp(rule)")
        self.rule, self._rules = rule, None
        return rule

    def defjvps(self, *rules: Callable[..., Any] | None) -> None:
        """Set one rule `(tangent, out, *primals) -> tangent_out` for each argument, None for a zero derivative."""
        self.rule, self._rules = None, rules

    def _by_arguments(self, primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
        """The rule that those of `defjvps` make together."""
        rules = self._rules
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
            return self.fun(*join(leaves))
        rule: Callable[..., Any] | None = self.rule if self._rules is None else self._by_arguments
        if rule is None:
            raise DifferentiationError(
                f"{described(self.fun)} has no rules yet, and is differentiated{at(user_source())}; give "
                "one with .defjvp(rule)"
            )
        call, out_tree = self._flat_call(join)

        def jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
            result = rule(
                *fixed, tree.tree_unflatten(in_tree, list(primals)), tree.tree_unflatten(in_tree, list(tangents))
            )
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
            return _checked(tangent_leaves, out_leaves, described(self.fun), "jvp", paths)

        name = name_of(self.fun)
        outputs = _called(leaves, Rules(name, call, jvp=jvp))
        return tree.tree_unflatten(out_tree(), list(outputs))


class custom_vjp(_CustomFunction[P, R]):
    """A function with a reverse derivative rule of its own. Forward mode follows by transposing the rule.

    Args:
        fun: the function, of arrays and pytrees of them.
        nondiff_argnums: positions of arguments that `bwd` gets first, as they are.
        nondiff_argnames: the same by name; those of both then come in the order of the parameters.

    Give the rules with `defvjp(fwd, bwd)`: `fwd(*args)` returns `(out, residuals)`, `bwd(*nondiff, residuals, ct)` a
    tuple of cotangents, one for each differentiable argument (None: zero).

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

    def defvjp(self, fwd: Callable[..., Any], bwd: Callable[..., Any], symbolic_zeros: bool = False) -> None:
        """Set the rules; see the class."""
        for rule in (fwd, bwd):
            require_callable(rule, "custom_vjp", "(f).defvjp(fwd, bwd)")
        self.fwd, self.bwd = fwd, bwd

    @accepting_jax
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        fixed, leaves, in_tree, join = self._split(args, kwargs)
        if not any([type(x) is Tracer for x in leaves]):
            return self.fun(*join(leaves))
        if self.fwd is None or self.bwd is None:
            raise DifferentiationError(
                f"{described(self.fun)} has no rules yet, and is differentiated{at(user_source())}; give "
                "them with .defvjp(fwd, bwd)"
            )
        name = name_of(self.fun)
        fwd, bwd = self.fwd, self.bwd
        call, out_tree = self._flat_call(join)

        def flat_fwd(primals: Sequence[Any]) -> tuple[list[Any], Any]:
            result = fwd(*join(primals))
            if not isinstance(result, tuple | list) or len(result) != 2:
                raise DifferentiationError(
                    f"fwd of {described(self.fun)} must return a pair (out, residuals), got {kind_of(result)}"
                )
            outputs, structure = tree.tree_flatten(result[0])
            return outputs, (result[1], structure)

        def flat_bwd(residuals: Any, primals: Sequence[Any], cts: Sequence[Any]) -> list[Any]:
            kept, structure = residuals
            found = bwd(*fixed, kept, tree.tree_unflatten(structure, list(cts)))
            arguments = tree.tree_unflatten(in_tree, list(primals))
            if not isinstance(found, tuple | list) or len(found) != len(arguments):
                raise DifferentiationError(
                    f"bwd of {described(self.fun)} must return a tuple with one cotangent for each of its "
                    f"{len(arguments)} differentiable argument{'s' * (len(arguments) != 1)}, got {kind_of(found)}"
                )
            flat: list[Any] = []
            for i, (ct, argument) in enumerate(zip(found, arguments, strict=True)):
                expected = tree.tree_structure(argument)
                if ct is None:
                    flat.extend([None] * expected.num_leaves)
                elif tree.tree_structure(ct) != expected:
                    raise ShapeError(
                        f"bwd of {described(self.fun)} returned a cotangent of structure {tree.tree_structure(ct)} for "
                        f"argument {i}, whose structure is {expected}; they must be equal"
                    )
                else:
                    flat.extend(tree.tree_leaves(ct))
            paths = [f"argument{tree.keystr(p)}" for p, _ in tree.tree_leaves_with_path(arguments)]
            return _checked(flat, primals, described(self.fun), "vjp", paths)

        outputs = _called(leaves, Rules(name, call, fwd=flat_fwd, bwd=flat_bwd))
        return tree.tree_unflatten(out_tree(), list(outputs))
