"""A Graph through `jax.lax`: the second lowering.

`emit` walks a Graph under jax's own tracing and applies each op's rule (`rules/`) to jax's values; `jax.jit` around that gives
dispatch, caching, devices and sharding. Inputs of a ufunc are converted to the dtypes that NumPy computes in, results to the
types in the Graph, so NumPy's dtypes hold.

All of jax runs with 64-bit types enabled (`x64`), in a context of its own: the process's flag is not touched.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tracegrad.core.backends import XLA_RULES
from tracegrad.core.boxes import boxed, in_boxes, unboxed
from tracegrad.core.context import context
from tracegrad.core.errors import (
    CALL_ERRORS,
    DtypeError,
    PrecisionWarning,
    UnsupportedFunctionError,
    annotate,
    at,
    hide,
    resolve,
    user_source,
)
from tracegrad.core.graph import Graph, Var, exactly
from tracegrad.core.op import Op, Params
from tracegrad.core.plain import require_plain
from tracegrad.core.shared import Recent
from tracegrad.core.static import Keyed
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import PYTHON_SCALARS, ArrayType, ShapeDtypeStruct, number_kind, type_of
from tracegrad.ops.external import RAISED
from tracegrad.tree import tree_flatten, tree_leaves, tree_structure
from tracegrad.xla.values import broadcast_to, cast, is_split, strong


def x64() -> Any:
    """The context in which 64-bit types are what they say."""
    return jax.enable_x64(True)


class _Contexts(threading.local):
    """This thread's own such context. To make one takes as long as to enter it; one that is in use must not be entered again,
    so it is for where 64-bit types are known to be off."""

    def __init__(self) -> None:
        self.x64 = x64()


contexts = _Contexts()


# ---------------------------------------------------------------------------------------------------------------------
# NumPy arrays on the way to jax. jax may keep an array that it is given, and read its memory later: a constant of a program
# for as long as that lives, an argument until the program has run, which on CPUs is after the call has returned. And it
# keeps what it made of a constant by the identity of the array, float32 of float64 while its 64-bit flag is off, and hands
# that to the next program that has the same array, whatever dtypes this computes in. So it gets arrays that nobody else
# has: the user may write into theirs, and hand them to jax, as they like.

# Up to here a copy takes a few microseconds. To copy more than this would take as long as many a program that reads it once.
_COPIED = 1 << 18
_leaf_kinds: set[type] = {*PYTHON_SCALARS, type(None)}


def array_of_our_own(x: Any) -> Any:
    """A copy of a NumPy array for jax to keep, as a constant is kept; anything else as it is."""
    if not isinstance(x, np.ndarray):
        return x
    x = np.array(x)
    x.flags.writeable = False
    return x


def arguments_of_our_own(tree: Any, lent: list[Any]) -> Any:
    """A tree (jax's or ours) with its NumPy arrays copied, for a program to read. Large ones are put into `lent` on CPUs, and
    then the caller has to wait until the program has run (`returned`): that costs nothing that is not the program's own,
    where a copy would. Other devices have a copy made of them in any case, and the wait would cost time there."""
    kind = type(tree)
    if kind is np.ndarray:
        if tree.nbytes <= _COPIED or jax.default_backend() != "cpu":
            return tree.copy()
        lent.append(tree)
        return tree.view()
    if kind in _leaf_kinds:
        return tree
    if kind is tuple or kind is list:
        return kind([arguments_of_our_own(x, lent) for x in tree])
    if kind is dict:
        return {k: arguments_of_our_own(x, lent) for k, x in tree.items()}
    if isinstance(tree, jax.Array | np.generic):
        _leaf_kinds.add(kind)
        return tree
    if isinstance(tree, np.ndarray):
        return tree.copy()
    if kind is Packed:  # which unpacks itself where jax rebuilds it
        leaves, own = tree_flatten(tree.tree)
        return Packed(own.unflatten([arguments_of_our_own(x, lent) for x in leaves]))
    structure: Any
    leaves, structure = jax.tree_util.tree_flatten(tree)
    if len(leaves) == 1 and leaves[0] is tree:
        return tree
    return structure.unflatten([arguments_of_our_own(x, lent) for x in leaves])


def returned(out: Any, lent: Sequence[Any]) -> Any:
    """The results of a program, once it has read all that was lent to it."""
    if lent:
        jax.block_until_ready(flatten(out)[0])
    return out


_has_warned = False


def is_wide(dtypes: Iterable[np.dtype[Any]]) -> bool:
    """Whether there is one of float64 numbers among these dtypes, of which jax's arithmetic makes float32 while its 64-bit
    flag is off."""
    return any([d in (np.float64, np.complex128) for d in dtypes])


def handed_out(out: Any) -> Any:
    """Results on their way to the user, with a warning for the first of float64 that jax will make float32 of."""
    global _has_warned
    config: Any = jax.config
    if _has_warned or config.jax_enable_x64:
        return out
    if is_wide([x.dtype for x in jax.tree_util.tree_leaves(out) if isinstance(x, jax.Array)]):
        _has_warned = True
        source = user_source()
        line = resolve(source)
        assert line is not None
        warnings.warn_explicit(
            f"a float64 result on XLA{at(source)}, while jax's 64-bit flag is off: what jax itself computes with it, such as "
            "`w - 0.1 * step(w)`, is float32, and so is then all that is computed from that. Either switch the flag on, "
            "`jax.config.update('jax_enable_x64', True)`, or make the parameters float32 from the start, "
            "`w.astype(np.float32)`. (This is said once.)",
            PrecisionWarning,
            line.file,
            line.line,
        )
    return out


# ---------------------------------------------------------------------------------------------------------------------
# Ufuncs.


def _prepared(op: Op, inputs: Sequence[Any], types: Sequence[ArrayType], out: Any) -> list[Any]:
    """Inputs of a ufunc in the dtypes that NumPy computes in, and of one shape (scalars may stay scalars)."""
    dtypes = op.computed_in(types, out[0] if op.multiple_results else out)
    is_question = not op.multiple_results and number_kind(out.dtype) == "b"
    found = [
        _number(x, d, is_question)
        if type(x) is int
        # A traced Python int that the dtype may not hold is compared in its own.
        else cast(x, t.dtype if is_question and t.weak and number_kind(t.dtype) + number_kind(d) in ("ii", "iu") else d)
        for x, t, d in zip(inputs, types, dtypes, strict=True)
    ]
    if len(inputs) == 1:
        return found
    shape = out.shape
    if all([t.shape in ((), shape) for t in types]) and any([t.shape == shape for t in types]):
        return found
    return [broadcast_to(x, shape) for x in found]


def _number(x: int, dtype: np.dtype[Any], is_question: bool) -> Any:
    """A Python int in a dtype. One that is too large for it is NumPy's error, or may be compared all the same, and then
    keeps a dtype of its own."""
    try:
        return dtype.type(x)
    except OverflowError:
        if not is_question:
            raise
        return np.asarray(x)[()]


# ---------------------------------------------------------------------------------------------------------------------
# One op, and a Graph.


def apply(op: Op, inputs: Sequence[Any], types: Sequence[ArrayType], params: Params, out: Any) -> Any:
    """An op on jax's values. `out` is the type of its output, or a tuple of types."""
    if isinstance(op.evaluate, np.ufunc):
        inputs = _prepared(op, inputs, types, out)
    rule = XLA_RULES.get(op.name)
    if rule is None:
        raise UnsupportedFunctionError(f"{op.name}{at(user_source())} has no lowering to XLA; use backend='numpy'")
    found = rule(out, *inputs, **params)
    if op.multiple_results:
        return tuple([_as_typed(x, t, op) for x, t in zip(found, out, strict=True)])
    return _as_typed(found, out, op)


def _as_typed(x: Any, wanted: ArrayType, op: Op) -> Any:
    x = cast(x, wanted.dtype)
    if x.shape != wanted.shape:
        raise AssertionError(f"the XLA rule of {op.name} gives {x.shape}, its type rule {wanted}")
    return x


def emit(graph: Graph, inputs: Sequence[Any]) -> list[Any]:
    """The Graph on jax's values: computed on arrays, recorded on jax's tracers."""
    env: dict[Any, Any] = dict(zip(graph.inputs, inputs, strict=True))
    for v, x in graph.consts.items():
        env[v] = array_of_our_own(unboxed(x))
    outer = context.cell
    # The scopes that jax knows of: those of the equation that holds this Graph.
    entered = outer[1] if outer is not None and outer[0] is not None and outer[1] else ()
    cell: list[Any] = [None, ()]
    try:
        context.cell = cell
        for eqn in graph.eqns:
            cell[0] = eqn.raw_source
            values = [env[a] if isinstance(a, Var) else a.value for a in eqn.inputs]
            outs = eqn.outputs
            out = tuple([v.type for v in outs]) if eqn.op.multiple_results else outs[0].type
            types, scope = [a.type for a in eqn.inputs], eqn.scope
            cell[1] = scope
            if scope and scope != entered:
                name = "/".join(scope[len(entered) :] if scope[: len(entered)] == entered else scope)
                with jax.named_scope(name):
                    found = apply(eqn.op, values, types, eqn.params, out)
            else:
                found = apply(eqn.op, values, types, eqn.params, out)
            if eqn.op.multiple_results:
                env.update(zip(outs, found, strict=True))
            else:
                env[outs[0]] = found
    except CALL_ERRORS as error:
        annotate(error, f"{eqn.op.name} of {', '.join([str(a.type) for a in eqn.inputs])}, lowered to XLA")
        raise
    finally:
        context.cell = outer
    return [strong(env[a] if isinstance(a, Var) else a.value, a.type) for a in graph.outputs]


def compiled(graph: Graph) -> Callable[..., list[Any]]:
    """The Graph as a function under `jax.jit`, made once."""
    found = graph.memo.get("xla")
    if found is None:

        def function(*inputs: Any) -> list[Any]:
            return emit(graph, inputs)

        function.__name__ = graph.name
        found = graph.memo["xla"] = jax.jit(function)
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Op by op, outside jit.

_CACHE_SIZE = 4096
_single: Recent[tuple[Any, Params]] = Recent()


def execute(op: Op, inputs: Sequence[Any], params: Params) -> Any:
    """An op on boxed jax arrays, NumPy arrays and scalars, here and now. Results are boxed."""
    types = [type_of(x) for x in inputs]
    out = op.infer(types, params)
    values = [x.value if type(x) is Tracer else x for x in inputs]
    with x64():
        if op.runs_user_code or any([isinstance(x, jax.core.Tracer) for x in values]):
            found = apply(op, [array_of_our_own(x) for x in values], types, params, out)
        else:
            lent: list[Any] = []
            try:
                found = returned(_jitted(op, params)(*arguments_of_our_own(values, lent)), lent)
            except Exception:
                if not any([isinstance(x, jax.Array) and is_split(x) for x in values]):
                    raise
                # How parts of an array that is split over a mesh are found depends on index arrays, which are not known
                # where jax traces.
                found = apply(op, [array_of_our_own(x) for x in values], types, params, out)
        if op.acts(params):
            jax.block_until_ready(found)
            jax.effects_barrier()
            if RAISED:
                error = RAISED[-1]
                RAISED.clear()
                raise error
    return tuple([boxed(x) for x in found]) if op.multiple_results else boxed(found)


def _jitted(op: Op, params: Params) -> Callable[..., Any]:
    """One op with its params under jax.jit, which is one dispatch where the rule may make many."""
    key = (op.name, *[(k, id(v) if type(v) is Graph else exactly(v)) for k, v in params.items()])
    found = _single.get(key)
    if found is None:

        def function(*inputs: Any) -> Any:
            types = [type_of(x) for x in inputs]
            return apply(op, inputs, types, params, op.infer(types, params))

        function.__name__ = op.name
        # which keeps Graphs, and so their ids, alive
        found = _single.keep(key, (jax.jit(function), params), _CACHE_SIZE)
    return found[0]


# ---------------------------------------------------------------------------------------------------------------------
# Arrays and devices.


_PLAIN = frozenset(
    [np.ndarray, Tracer, *PYTHON_SCALARS, *[np.dtype(c).type for c in "?bhilBHILefdFD"], type(jnp.zeros(()))]
)


def require_plain_leaves(args: Any, kwargs: Any, names: Callable[[], Callable[[int], str]]) -> None:
    """Raise for arguments of which jax would take the numbers alone; see `plain.require_plain`."""
    if _PLAIN.issuperset(map(type, args)) and not kwargs:
        return
    if _PLAIN.issuperset(map(type, jax.tree_util.tree_leaves((args, kwargs)))):
        return
    for i, x in enumerate(tree_leaves((args, kwargs))):
        try:
            if not isinstance(x, jax.Array):
                require_plain(x)
        except DtypeError as error:
            raise DtypeError(f"{names()(i)}: {error}") from None


def on_device(x: Any) -> Any:
    """An array or scalar as a boxed jax array; a tracer as it is."""
    if type(x) is Tracer:
        return x
    with x64():
        return boxed(jnp.asarray(array_of_our_own(x)))


def in_jax(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call a function of NumPy calls with jax arrays, in boxes. Trees are jax's."""

    def put(x: Any) -> Any:
        require_plain(x)
        return on_device(x) if isinstance(x, np.ndarray | np.generic) else boxed(x)

    return in_boxes(function, args, kwargs, put, jax.tree_util.tree_map)


class Packed:
    """A tree with nodes that only our registry knows, or with aux data that are not hashable, as one node of jax's trees. On
    the way out of a jitted function it unpacks itself."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree


def _taken_apart(packed: Packed) -> tuple[list[Any], Keyed]:
    leaves, structure = tree_flatten(packed.tree)
    return leaves, Keyed(structure)


jax.tree_util.register_pytree_node(Packed, _taken_apart, lambda keyed, leaves: keyed.structure.unflatten(leaves))
hide(os.path.dirname(jax.__file__))


def packed(tree: Any) -> Any:
    """A tree, packed where jax would take a node of ours for a leaf, or could not hash its structure."""
    leaves, structure = jax.tree_util.tree_flatten(tree)
    try:
        hash(structure)
    except (TypeError, ValueError):
        return Packed(tree)
    return tree if all(map(_is_leaf, leaves)) else Packed(tree)


def flatten(tree: Any) -> tuple[list[Any], Callable[[Sequence[Any]], Any]]:
    """The leaves of a tree of jax's or of ours, and what makes such a tree of leaves."""
    leaves, structure = jax.tree_util.tree_flatten(tree)
    if all(map(_is_leaf, leaves)):
        return leaves, partial(jax.tree_util.tree_unflatten, structure)
    ours, own = tree_flatten(tree)
    return ours, own.unflatten


class InOrder:
    """What a function returned, where jax would not put it together again as it was: with the keys of a dict in another
    order, or with nodes that only our registry knows. jax sees a node of its own; `tree` is what the caller gets."""

    def __init__(self, structure: Any, parts: Sequence[Any]) -> None:
        self.structure = structure
        self.parts = parts

    @property
    def tree(self) -> Any:
        return self.structure.unflatten(self.parts)


jax.tree_util.register_pytree_node(
    InOrder,
    lambda x: (x.parts, Keyed(x.structure)),
    lambda keyed, parts: InOrder(keyed.structure, tuple(parts)),
)


def flatten_in_order(tree: Any) -> tuple[list[Any], Callable[[Sequence[Any]], Any]]:
    """`flatten` of what a function returned; it is made again as it was, `InOrder` if need be."""
    leaves, rebuilt = flatten(tree)
    structure = tree_structure(tree)
    if structure.is_sorted() and packed(tree) is tree:
        return leaves, rebuilt
    return leaves, lambda values: InOrder(structure, structure.flatten_up_to(rebuilt(values)))


def copied(x: np.ndarray[Any, Any]) -> jax.Array:
    """A copy of an array, also while jax traces something."""
    with jax.ensure_compile_time_eval(), x64():
        return jnp.array(x.view())  # a view, see array_of_our_own


def names(tree: Any) -> Callable[[int], str]:
    """What the leaves of (args, kwargs) are called, by jax's trees."""
    found, _ = jax.tree_util.tree_flatten_with_path(tree)
    return lambda i: ("kwargs" if found[i][0][0].idx else "args") + jax.tree_util.keystr(found[i][0][1:])


def _is_leaf(x: Any) -> bool:
    known = jax.Array | jax.ShapeDtypeStruct | np.ndarray | np.generic | Tracer | ShapeDtypeStruct
    return isinstance(x, known | bool | int | float | complex)


def structs(tree: Any) -> Any:
    """A tree with jax's structs in place of ours."""
    leaves, rebuilt = flatten(tree)
    with x64():
        return rebuilt(
            [jax.ShapeDtypeStruct(x.shape, x.dtype) if isinstance(x, ShapeDtypeStruct) else x for x in leaves]
        )
