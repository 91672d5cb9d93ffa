"""jit: trace once for each signature, simplify the Graph, compile it, and from then on run what was compiled."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, Generic, Literal, ParamSpec, TypedDict, TypeVar, Unpack, overload

import numpy as np

from tracegrad import tree
from tracegrad.core.boxes import holds_jax_array, out_of_boxes, unboxed
from tracegrad.core.collector import uncollected
from tracegrad.core.constants import Lasting
from tracegrad.core.context import context, watcher, watching
from tracegrad.core.errors import CALL_ERRORS, at, clip, described, require_callable, user_source
from tracegrad.core.graph import Graph, graphs_in
from tracegrad.core.jax_arrays import is_jax_array
from tracegrad.core.names import global_name
from tracegrad.core.numpy_warnings import again, has_warned, place_generated
from tracegrad.core.trace import bind
from tracegrad.core.tracebacks import trim, trimming
from tracegrad.core.tracer import Tracer
from tracegrad.core.tracing import arrays_of
from tracegrad.core.views import own_traced
from tracegrad.lower.numpy.calls import matcher
from tracegrad.lower.numpy.writer import lower
from tracegrad.lower.passes import ahead_of_loops, simplify, simplify_in_order
from tracegrad.ops.structural import to_xla_op
from tracegrad.transforms.batch import own_arrays
from tracegrad.transforms.control.call import call
from tracegrad.transforms.jit.sizes import SizedSignatures, checked_dims
from tracegrad.transforms.jit.tiers import Tier, Tiers
from tracegrad.transforms.jit.xla import LoweredToXla, OnXla
from tracegrad.transforms.signatures import Backend, Entry, Signatures, matches_nothing
from tracegrad.transforms.static_arguments import argument_names, existing_numbers, static_arguments, static_positions
from tracegrad.typing import Array, P, R

Owner = TypeVar("Owner")  # whose method a jitted function is
Q = ParamSpec("Q")

# What is done where a function asks for a value: a program for each path, or an error.
Branches = Literal["guard", "error"]
MAX_PATHS = 16


class LoweredFunction:
    """A jitted function lowered for given arguments, in C order: `.graph`, and `.as_text()`, the generated source."""

    def __init__(self, entry: Entry, donated: Sequence[int]) -> None:
        self.graph, _ = simplify_in_order(ahead_of_loops(entry.graph))
        self._entry = entry
        self._donated = donated
        self.out_tree = entry.out_tree

    def as_text(self) -> str:
        """The generated Python source, each line with the user's line that it comes from: of the functions of branches
        first, then that of the whole."""
        inner = dict.fromkeys(graphs_in(self.graph))
        whole = lower(self._entry.graph, self.out_tree, donated=self._donated, settled=self._entry.settled)
        return "\n".join([*[f"{lower(graph).source}\n" for graph in inner], whole.source])


class Jitted(Generic[P, R]):
    """What `jit` returns: call it like the function itself.

    `lower(*args)` shows what is run for such arguments. `trace_log` has a line for each of the latest traces, saying what was new.
    """

    __name__: str  # the function's own, as is `__wrapped__`
    __wrapped__: Callable[P, R]

    def __init__(
        self,
        function: Signatures,
        backend: str | None,
        fast: bool,
        options: Mapping[str, Any],
        follows: int | None = MAX_PATHS,
    ) -> None:
        functools.update_wrapper(self, function.fun)
        self._function = function
        self._made_with = backend, fast, options, follows
        self._follows = follows  # so many paths, None for none
        self._backend = Backend("numpy", functools.partial(simplify, fast=fast))
        self._recent = _NOTHING  # the entry of the latest call, tried first
        self.trace_log = function.trace_log
        self._xla = OnXla(function, fast, options) if backend == "xla" else None
        self._latest = _NOTHING  # the entry of the latest signature

    @property
    def signatures(self) -> Signatures:
        """What the function is traced for."""
        return self._function

    @property
    def tier(self) -> Tier:
        """What runs the latest signature that it was called with: "numpy" or "xla", or by `backend="auto"` also "compiling",
        which is NumPy as long as XLA compiles, and then either in turn, until it is known which is faster.

        >>> import numpy as np, tracegrad as tg
        >>> f = tg.jit(np.sin, backend="auto")
        >>> f(np.zeros(3)).tolist(), f.tier
        ([0.0, 0.0, 0.0], 'numpy')
        """
        if self._made_with[0] == "xla":
            return "xla"
        tiers: Tiers | None = self._latest.tiers
        return "numpy" if tiers is None else tiers.tier

    @property
    def tier_error(self) -> BaseException | None:
        """What has kept the latest signature from XLA with `backend="auto"`: that jax is not installed, an op without a lowering, an error
        of XLA's; None for none."""
        tiers: Tiers | None = self._latest.tiers
        return None if tiers is None else tiers.error

    def wait(self, seconds: float | None = None) -> bool:
        """Have the latest signature compiled now by `backend="auto"`, and wait so long for it, or until it is done.

        Returns:
            Whether nothing is being compiled any more. If XLA has a program now, the next calls, 65 at most, say whether it
            stays: so long, `tier` is "compiling".
        """
        tiers: Tiers | None = self._latest.tiers
        if tiers is None:
            return True
        tiers.compile_soon()
        return tiers.wait(seconds)

    @property
    def follows(self) -> int | None:
        """How many paths through its branches it has programs for; None if it is told no values."""
        return self._follows

    @property
    def donates(self) -> bool:
        """Whether it is given arguments that its caller will not use again."""
        options = self._made_with[2]
        return bool(options["donate_argnums"] or options["donate_argnames"])

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            if watching and (watch := watcher()) is not None:
                return watch(self, args, kwargs)
            if not kwargs:
                recent = self._recent
                found = recent.matches(args)
                if found is not None:
                    return recent.run(*found)
            if self._function.is_part():
                fun, args, kwargs = self._function.part(args, kwargs)
                return own_traced(fun(*args, **kwargs))
            return self._called(args, kwargs)
        except BaseException as error:
            if has_warned(error):
                return again(self._called, args, kwargs)
            if isinstance(error, CALL_ERRORS):
                place_generated(error)
            trim(error)
            raise

    def _called(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call that is not like the latest one."""
        if (on_xla := self._on_xla(args, kwargs)) is not None:
            return on_xla(args, kwargs)
        entry, leaves, is_positional = self._function.entry_of(args, kwargs, self._backend, self._follows)
        self._latest = entry
        if entry.paths is not None:
            return self._followed(entry, leaves, is_positional, args, kwargs)
        acts = entry.graph.effects
        if (
            Tracer in map(type, leaves)
            or Tracer in map(type, entry.graph.consts.values())
            or entry.graph.axes
            or (acts and context.trace is not None)
        ):
            # Recorded in the traces that the tracers belong to, in that of the vmap whose axis it names, or in the program
            # that is being made.
            entry.note_draws(leaves)
            return out_of_boxes(tree.tree_unflatten(entry.out_tree, call(entry.graph, leaves)))
        if entry.run is None:
            donated = self.donated(args, kwargs)
            entry.run = uncollected(
                lower, entry.graph, entry.out_tree, 0, False, False, donated, entry.settled
            ).function
            if self._made_with[0] == "auto" and type(self._function) is Signatures and not entry.once and not acts:
                entry.tiers = Tiers(entry, entry.run, self._made_with[1])
                entry.run = entry.tiers.count
        if is_positional and not entry.once and not acts:
            self._keep_at_hand(entry, args, leaves)
        return entry.run(*leaves)

    def _keep_at_hand(self, entry: Entry, args: tuple[Any, ...], leaves: Sequence[Any]) -> None:
        """Have the next call look there first."""
        if entry.matches is matches_nothing:
            entry.matches = matcher(tree.tree_structure(args), leaves, entry.captured, entry.names) or matches_nothing
        self._recent = entry

    def _followed(
        self, entry: Entry, leaves: Sequence[Any], is_positional: bool, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """A call of what asks for values."""
        assert entry.paths is not None
        if entry.run is None:
            entry.paths.donated = self.donated(args, kwargs)
            entry.run = self._function.runner(entry, self._backend)
        if is_positional and not entry.once and not any([issubclass(type(x), Tracer) for x in leaves]):
            self._keep_at_hand(entry, args, leaves)
        return self._function.follow(entry, self._function.without_static(args, kwargs)[0], leaves, self._backend)

    def lower(self, *args: Any, **kwargs: Any) -> LoweredFunction | LoweredToXla:
        """What is run for such arguments (arrays or `ShapeDtypeStruct`s): its graph, and its source or StableHLO."""
        try:
            if (on_xla := self._on_xla(args, kwargs)) is not None:
                return on_xla.lower(args, kwargs)
            entry = self._function.entry_for(args, kwargs, self._backend, self._follows is not None)
            return LoweredFunction(entry, self.donated(args, kwargs))
        except BaseException as error:
            trim(error)
            raise

    def donated(self, args: Any, kwargs: Any) -> Sequence[int]:
        """Which leaves of such arguments the caller gives away."""
        options = self._made_with[2]
        numbers, names = options["donate_argnums"], options["donate_argnames"]
        return self._function.leaves_of(args, kwargs, numbers, names) if numbers or names else ()

    def _on_xla(self, args: Any, kwargs: Any) -> OnXla | None:
        """What runs such arguments, if that is XLA."""
        backend, fast, options, _ = self._made_with
        if backend is None or backend == "auto":
            if "jax" not in sys.modules or not holds_jax_array(self._function.traced_part(args, kwargs)):
                return None
        elif backend == "numpy":
            return None
        if self._xla is None:
            self._xla = OnXla(self._function, fast, options)
        return self._xla

    @overload
    def __get__(self, instance: None, owner: Any = None) -> Jitted[P, R]: ...
    @overload
    def __get__(self: Jitted[Concatenate[Owner, Q], R], instance: Owner, owner: Any = None) -> Callable[Q, R]: ...
    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __reduce__(self) -> Any:
        return global_name(self) or (type(self), (self._function, *self._made_with))

    def of_another(self, change: Callable[[Any], Any]) -> Jitted:
        """The same of what `change` makes of the function, which takes the same arguments."""
        return type(self)(self._function.of_another(change(self._function.fun)), *self._made_with)

    def __repr__(self) -> str:
        return f"<jit of {described(self._function.fun)}>"


class Stepwise(Jitted[P, R]):
    """What `jit` returns with `debug=True`: each call runs the function itself, line by line, on NumPy arrays of its own."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            if watching and (watch := watcher()) is not None:
                return watch(self, args, kwargs)
            fun, others, named, static = self._function.without_static(args, kwargs)
            leaves, structure = tree.tree_flatten((others, named))
            if Tracer in map(type, leaves):
                return own_traced(fun(*others, **named))
            on_xla = self._on_xla(args, kwargs) is not None
            leaves = arrays_of(
                [np.asarray(x) if is_jax_array(x) else x for x in leaves], self._function.names(others, named, static)
            )
            own = [x.copy("K") if type(x) is np.ndarray else x for x in leaves]
            others, named = structure.unflatten(own)
            results, out_structure = tree.tree_flatten(fun(*others, **named))
            results = own_arrays(list(results), given=own)
            if on_xla:
                results = [unboxed(bind(to_xla_op, (x,))) for x in results]
            return out_structure.unflatten(results)
        except BaseException as error:
            trim(error)
            raise


_NOTHING = Entry(Graph((), (), (), {}), tree.tree_structure(None), Lasting())


class JitOptions(TypedDict, total=False):
    """The keywords of `jit`, for its overloads."""

    backend: str | None
    static_argnums: int | Sequence[int]
    static_argnames: str | Sequence[str]
    donate_argnums: int | Sequence[int]
    donate_argnames: str | Sequence[str]
    in_shardings: Any
    out_shardings: Any
    fast: bool
    debug: bool
    dims: Mapping[str, Sequence[str | None]] | None
    branches: Branches | None
    max_paths: int


@overload
def jit(fun: np.ufunc, **options: Unpack[JitOptions]) -> Jitted[..., Array]: ...
@overload
def jit(fun: Callable[P, R], **options: Unpack[JitOptions]) -> Jitted[P, R]: ...
@overload
def jit(fun: Callable[..., Any], **options: Unpack[JitOptions]) -> Jitted[..., Any]: ...
@overload
def jit(fun: None = None, **options: Unpack[JitOptions]) -> Callable[[Callable[P, R]], Jitted[P, R]]: ...
@trimming
def jit(
    fun: Callable[..., Any] | None = None,
    *,
    backend: str | None = None,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
    donate_argnums: int | Sequence[int] = (),
    donate_argnames: str | Sequence[str] = (),
    in_shardings: Any = None,
    out_shardings: Any = None,
    fast: bool = False,
    debug: bool = False,
    dims: Mapping[str, Sequence[str | None]] | None = None,
    branches: Branches | None = None,
    max_paths: int = MAX_PATHS,
) -> Any:
    """A function that does what `fun` does, from a program that is generated at the first call with each signature.

    Args:
        fun: a function of arrays and pytrees of them. It is traced by types: what it does in Python (branches, prints)
            happens once for each signature, or for each path where it asks for values (see `branches`). Dicts and keywords
            come in the caller's order, which is part of the signature.

            Globals and closure variables are those of the call, on NumPy, in `fun` and in functions of the user's that it calls: where
            one is bound to something else since, `fun` is traced anew. Attributes and elements stay as they were.

            Arrays that it closes over are hidden inputs, read anew at each call, in derivatives and batches too. What
            Python computes from them while tracing is fixed: in `x * (2 * c)` the product `2 * c`, in `x * 2 * c`
            nothing. One that has got another shape or dtype in place is traced for, and so is one whose values a function
            looks at: a mask that selects, repeats, indices in `np.take`. On XLA a copy is kept on the device,
            and made anew when the array has been written into, for which all of it is compared at each call; a name that is bound to another array is not seen there. Large data
            belongs in an argument on the device (`tg.device_put`), and so does what changes often. Where `fun` itself writes into such
            an array after it has used it, it is traced anew at each call, and `trace_log` says so.
        backend: "numpy", or "xla" for CPUs, GPUs and TPUs through jax; None for XLA where an argument is a jax array, and
            else for what the environment says in TRACEGRAD_BACKEND, or "numpy".

            "auto" is as None, but what begins on NumPy ends on the faster of NumPy and XLA on this CPU, for each signature by
            itself. Calls on NumPy are timed; when they have taken as long as XLA will take to compile, a thread has it do that,
            where jax is installed and the process has not been forked off. Meanwhile calls go on on NumPy, slower, since
            they share Python's lock with it; then either takes its turn until it is seen which is faster. Results are NumPy
            arrays of the same dtypes all the time, writable, of memory of their own, and equal to rounding. What XLA may do
            otherwise stays on NumPy: effects, paths by values, Python ints that come out or meet arrays of integers, indices in loops. A call for which
            NumPy may have an error, of an index or a singular matrix, is made on NumPy once more; but of what NumPy only warns
            of, such as a division by zero, XLA says nothing, and it writes over nothing that is donated. `tier` says what runs,
            `wait` waits for XLA, `tier_error` has what went wrong there.
        static_argnums: positions of arguments that are handed to `fun` as they are, and traced for anew at each new value.
            They are told apart by value, to the type and the sign of a zero, so lists, dicts, sets, dataclasses and arrays
            will do, which are looked through at each call. What other objects hold is not seen: their `==` and hash count.
        static_argnames: the same by name. A parameter is static by position and by name, whichever is given.
        donate_argnums: positions of arguments that the caller will not use again. Results are written over their arrays where
            that can be, such as new parameters over the old, and afterwards these hold whatever comes to lie there. An array
            that is a view, read-only, or shares its memory with another argument, is copied first.
        donate_argnames: the same by name. A parameter is donated by position and by name, whichever is given.
        in_shardings, out_shardings: how arguments and results are laid out over devices, as for `jax.jit`; for XLA only.
        dims: names for axes whose size may be any, by the names of the arrays (as errors call them: "x", "params['w']"):
            {"x": ("N", None)}. The function is traced once for all N, on NumPy: what `x.shape` says is a whole number that knows
            how it is made of N. What it does in Python must not depend on N: a branch on `x.shape[0]` is refused with its line, if
            not at first, then at a size at which it would go the other way. For arrays of less than 7 it is traced as without
            `dims`, and so it is where this library decides something else at an N, such as for an axis of 1. Of a plain number
            made of N nothing is seen any more (`int(N)`, `float(N)`, `np.zeros(N)`, `range(N)`, `len(x)`): then the function is
            traced at three sizes more, in which numbers must be polynomials of N and quotients and remainders of such, and at each N that
            comes, to see that it does the same; an array that Python makes of N is refused then, but for ones, zeros and `arange(N)`.
            `tnp.zeros(N)`, `tnp.arange(N)` and the like, and `np.sqrt(N)` or `N / 2`, are traced, and need none of that.
        fast: allow what rounds otherwise than `fun` itself, by an unit in the last place or two: products in place of
            quotients by numbers and of small powers, one factor in place of two.
        branches: what happens where `fun` asks for a value: by `if`, `while`, `assert`, `range(n)`, `int(x)`, `float(x)`, an index, a
            size. By "guard", on NumPy what is meant if nothing is said, it is told the value, and what is compiled is the path that it
            takes then. Each call computes what was asked for first, and goes on by the program for the answer, bit for bit for a float; where there
            is none, `fun` is traced anew, and `trace_log` says which answer is new. By "error", on XLA the only way, that is
            a `ConcretizationTypeError`. What an array of more than one element holds cannot be asked for, nor what
            `vmap` maps over, nor may a body of `tg.lax` ask; and what is printed is the type. A derivative of `fun`
            goes the same paths. Inside of other transforms such a function is a part of what they trace.
        max_paths: how many programs there may be for one signature. On further paths `fun` is traced at each call and run op by op,
            slower than without jit, of which a `PathsWarning` tells once.

        debug: run `fun` itself at each call, line by line, and compile nothing: a breakpoint in it stops, `pdb` and `print` show
            arrays with their values, and an error's traceback goes through its lines. Arguments are still passed by value, and
            what is static is. What needs a value, such as a branch, goes through here, where `jit` would refuse it. On XLA it runs on
            NumPy, and results are jax arrays.

    On XLA results are jax arrays, and NumPy arguments may be written into as soon as a call has returned. They are copied for
    that; but on CPUs a call with one of more than 256 KiB returns when the program has run. Where calls are to overlap with
    other work there, put large arrays on the device first, with `tg.device_put`. In a process whose jax computes in float32
    (its 64-bit flag is off), the first float64 result comes with a `PrecisionWarning`.

    Returns:
        A function with the same arguments and results, bit for bit unless `fast`, also where arrays lie in memory in
        another way than C order: temporaries lie as NumPy's do, and products make the same calls of BLAS. (Of a NaN only
        that it is one. What is not NumPy's own computation here may be summed in another order than NumPy does without a
        trace: einsum, tensordot, inner, vdot, norms and what is made of them, np.dot of what does not lie in one block,
        means of complex numbers and of integers, sums in another dtype, reductions with `initial=` or `where=`,
        sums of what a mask selects, and what comes after the copy of an array that is not in C order, or after np.select of
        such, since that lies as the array does.
        The derivative of a jitted function, and of a branch that is known without jit, and not with it, may be summed in
        another order than that of the function itself. Python floats have NumPy's infinities and NaN where Python raises;
        on XLA, whose bits are its own, Python ints are of 64 bits and wrap around, in the dtype of an array beside them
        too, and bools are NumPy's. What no result depends on is not computed, as under `jax.jit`, and raises nothing about
        its values; nor does XLA raise what NumPy does about values.) Called while
        something else is traced, it is one equation there. It has `.lower(*args)`, with `.graph` and `.as_text()`, and
        `.trace_log`, one line for each time that it was traced.

    Raises:
        ConcretizationTypeError: where `fun` needs a value that it cannot be told, with the user's line.
        ImpureTraceError: where `fun` changes a list, dict or set that is an argument or around it, draws from a generator of
            NumPy's or Python's, or (on NumPy) reads the clock, while it is traced.
            With `dims`: where what Python does depends on a size.
        ValueError: a static or a donated argument that `fun` has not; `dims` for XLA.

    >>> import numpy as np, tracegrad as tg
    >>> @tg.jit
    ... def f(x):
    ...     return np.sin(x) * 2.0
    >>> f(np.zeros(3)).tolist()
    [0.0, 0.0, 0.0]
    >>> f.trace_log
    ['first call']
    >>> absolute = tg.jit(lambda x: x if x > 0 else -x)
    >>> absolute(2.0), absolute(-3.0), absolute(-4.0), len(absolute.trace_log)
    (2.0, 3.0, 4.0, 2)
    """
    if fun is None:
        return functools.partial(
            jit, backend=backend, static_argnums=static_argnums, static_argnames=static_argnames,
            donate_argnums=donate_argnums, donate_argnames=donate_argnames, in_shardings=in_shardings, out_shardings=out_shardings, fast=fast, debug=debug,
            dims=dims, branches=branches, max_paths=max_paths,
        )  # fmt: skip
    require_callable(fun, "jit")
    chosen = os.environ.get("TRACEGRAD_BACKEND", "numpy") if backend is None else backend
    if chosen not in ("numpy", "xla", "auto"):
        where = f"TRACEGRAD_BACKEND={chosen}" if backend is None else f"backend={chosen!r}"
        raise ValueError(f"jit{at(user_source())}: there is no backend of {where}; write 'numpy', 'xla' or 'auto'")
    static = static_arguments(fun, static_argnums, static_argnames)
    donated, named = static_positions(
        fun,
        existing_numbers(fun, donate_argnums, "donate_argnums", "jit"),
        argument_names(fun, donate_argnames, "donate_argnames", "jit"),
    )
    options: dict[str, Any] = {"donate_argnums": donated, "donate_argnames": named}
    if in_shardings is not None:
        options["in_shardings"] = in_shardings
    if out_shardings is not None:
        options["out_shardings"] = out_shardings
    if branches not in (None, "guard", "error"):
        raise ValueError(f"jit{at(user_source())}: branches must be 'guard' or 'error', got {branches!r}")
    if branches == "guard" and chosen == "xla":
        raise ValueError(
            f"jit{at(user_source())}: branches='guard' is for NumPy; on XLA a program has no branches but those of "
            "`tg.lax.cond` and `tg.lax.while_loop`. Write jit(f, backend='numpy'), or leave branches out"
        )
    if branches == "guard" and dims is not None:
        raise ValueError(
            f"jit{at(user_source())}: with dims a program is for all sizes, and there are none for paths; leave out one of "
            "branches='guard' and dims"
        )
    if type(max_paths) is not int or max_paths < 1:
        raise ValueError(f"jit{at(user_source())}: max_paths must be an int, at least 1, got {clip(repr(max_paths))}")
    if dims is not None and chosen == "xla":
        raise ValueError(f"jit{at(user_source())}: dims is for NumPy; XLA compiles for each size, so leave it out")
    signatures = Signatures(fun, static) if dims is None else SizedSignatures(fun, static, checked_dims(fun, dims))
    kind = Stepwise if debug else Jitted
    follows = None if branches == "error" or chosen == "xla" or dims is not None else max_paths
    return kind(signatures, None if backend is None and chosen == "numpy" else chosen, fast, options, follows)
