"""A batch in parts, one after the other: what is too much for memory in one piece, as a loop that adds up, averages or collects.

Names, arguments and values are those of `optax.microbatching` (optax 0.2.8).
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tracegrad import tree as trees
from tracegrad.core.arguments import require_function, shown, whole
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.errors import DtypeError, ShapeError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import number_kind, type_of
from tracegrad.lax import dynamic_update_index_in_dim, fori_loop
from tracegrad.ops.elementwise import astype
from tracegrad.ops.index import take
from tracegrad.transforms.grad import value_and_grad
from tracegrad.transforms.inspect import eval_shape
from tracegrad.transforms.vmap import vmap
from tracegrad.typing import Array, ArrayLike, PyTree

Axes: TypeAlias = int | Sequence[int]


@dataclasses.dataclass(frozen=True)
class Accumulator:
    """How results of parts become one: `finalize(update(... update(init(type), x_0, 0) ..., x_n, n))`.

    init       of the shape and dtype of a result, what there is before the first part
    update     of what there is, the result of a part, and the number of this
    finalize   of what there is after the last part, the result
    aggregate  of results of single examples along a first axis, one (for `micro_vmap`)

    >>> largest = Accumulator(
    ...     init=lambda t: np.full(t.shape, -np.inf, t.dtype), update=lambda best, x, i: np.maximum(best, x),
    ...     finalize=lambda best: best, aggregate=lambda x: np.max(x, 0))
    >>> float(microbatch(np.max, 0, 2, largest)(np.array([1.0, 5.0, 3.0, 2.0])))
    5.0
    """

    init: Callable[[Any], Any]
    update: Callable[[Any, Any, Any], Any]
    finalize: Callable[[Any], Any]
    aggregate: Callable[[Any], Any]


class AccumulationType(enum.Enum):
    """The usual accumulators.

    MEAN          the mean over parts
    SUM           the sum over parts
    RUNNING_MEAN  the mean over those parts that were gone through (`num_real_microbatches`), of the size of its terms all the time
    CONCAT        results along a first axis, in the order of the examples

    >>> float(microbatch(np.mean, 0, 2, AccumulationType.MEAN)(np.array([1.0, 2.0, 3.0, 6.0])))
    3.0
    """

    MEAN = enum.auto()
    SUM = enum.auto()
    RUNNING_MEAN = enum.auto()
    CONCAT = enum.auto()


def _zeros(t: Any) -> Any:
    return np.zeros(t.shape, t.dtype)


def _float_zeros(t: Any) -> Any:
    if number_kind(np.dtype(t.dtype)) not in "fc":
        raise DtypeError(
            f"microbatch{at(user_source())}: a mean is of floating numbers, got {np.dtype(t.dtype)}; take SUM, or cast"
        )
    return _zeros(t)


def _added(total: Any, x: Any, index: Any) -> Any:
    return astype(total + x, type_of(total).dtype)


def _running(mean: Any, x: Any, index: Any) -> Any:
    part = astype(index / (index + 1), np.empty(0, type_of(mean).dtype).real.dtype)
    return astype(mean * part + x * (1 - part), type_of(mean).dtype)


def _same(x: Any) -> Any:
    return x


def _mean(x: Any) -> Any:
    return np.mean(x, 0)


def _leafwise(init: Any, update: Any, finalize: Any, aggregate: Any) -> Accumulator:
    """One that does with each leaf of a tree what these functions do with an array."""
    return Accumulator(
        lambda types: trees.map(init, types),
        lambda kept, values, index: trees.map(lambda old, x: update(old, x, index), kept, values),
        lambda kept: trees.map(finalize, kept),
        lambda values: trees.map(aggregate, values),
    )


def _of(kind: Any, parts: int) -> Accumulator:
    """The accumulator that somebody asks for, for so many parts."""
    if isinstance(kind, Accumulator):
        return kind
    if kind is AccumulationType.SUM:
        return _leafwise(_zeros, _added, _same, lambda x: np.sum(x, 0))
    if kind is AccumulationType.MEAN:
        return _leafwise(_float_zeros, _added, lambda total: astype(total / parts, type_of(total).dtype), _mean)
    if kind is AccumulationType.RUNNING_MEAN:
        return _leafwise(_float_zeros, _running, _same, _mean)
    if kind is AccumulationType.CONCAT:
        rows = lambda t: np.zeros((parts, *t.shape), t.dtype)
        return _leafwise(rows, lambda rows, x, i: dynamic_update_index_in_dim(rows, x, i, 0), _in_order, _same)
    raise TypeError(
        f"microbatch{at(user_source())}: accumulator is one of AccumulationType's SUM, MEAN, RUNNING_MEAN and CONCAT, an Accumulator, or "
        f"a tree of these, got {shown(kind)}"
    )


def _in_order(rows: Any) -> Any:
    """Results [parts, size, ...] in the order of the examples: part i has every so manieth example from number i on."""
    if rows.ndim < 2:
        raise ShapeError(
            f"microbatch{at(user_source())}: CONCAT joins arrays along their first axis, and the function returns a scalar; take SUM or MEAN"
        )
    return np.reshape(np.swapaxes(rows, 0, 1), (-1, *rows.shape[2:]))


def _joined(kinds: Any, parts: int) -> Accumulator:
    """The accumulator of a tree of results, of a tree of kinds that is its beginning."""
    each = trees.map(lambda kind: _of(kind, parts), kinds)
    return Accumulator(
        lambda types: trees.map(lambda one, t: one.init(t), each, types),
        lambda kept, values, index: trees.map(lambda one, old, x: one.update(old, x, index), each, kept, values),
        lambda kept: trees.map(lambda one, x: one.finalize(x), each, kept),
        lambda values: trees.map(lambda one, x: one.aggregate(x), each, values),
    )


@accepting_jax
def reshape_batch_axis(tree: PyTree, microbatch_size: int, axis: int = 0) -> PyTree:
    """The leaves of a batch with the axis of examples as two, [parts, microbatch_size]: part i has every so manieth example from number
    i on, so that where examples are spread over devices each part is.

    >>> reshape_batch_axis(np.arange(6), 3).tolist()
    [[0, 2, 4], [1, 3, 5]]
    """
    return trees.map(lambda x: np.swapaxes(_apart(as_array(x), microbatch_size, axis), axis, axis + 1), tree)


def _apart(x: Any, size: int, axis: int) -> Any:
    """An axis of examples as two, [size, parts]."""
    shape = np.shape(x)
    return np.reshape(x, (*shape[:axis], size, -1, *shape[axis + 1 :]))


def microbatch(
    fun: Callable[..., Any],
    argnums: Axes,
    microbatch_size: int | None,
    accumulator: Any = AccumulationType.SUM,
    *,
    argnames: str | Sequence[str] = (),
    in_axes: Axes = 0,
    num_real_microbatches: ArrayLike | None = None,
) -> Callable[..., Any]:
    """A function of a batch as a loop over parts of it, of which only one is in memory at a time:

        kept = 0
        for part in batch:
            kept += fun(part)
        return kept

    Args:
        fun: a function whose arguments `argnums` and `argnames` have an axis of examples.
        argnums: their places.
        microbatch_size: how many examples a part has, a divisor of how many there are; None for `fun` as it is.
        accumulator: an `AccumulationType` or an `Accumulator`, or a tree of these that what `fun` returns begins with.
        argnames: the names of keywords that have such an axis too.
        in_axes: the axis of examples of each of `argnums` and `argnames`, or one for all.
        num_real_microbatches: after how many parts to leave off, which may be traced; all of them by default.

    Returns:
        A function of the same arguments. Sums are in the dtype of what is added up.

    Raises:
        ShapeError: examples that no whole parts can be made of, or arguments of different numbers of them.
        DtypeError: means of integers.  TypeError: an accumulator that is none.

    >>> both = lambda x: (x + 1, np.sum(3 * x))
    >>> parts = microbatch(both, 0, 2, (AccumulationType.CONCAT, AccumulationType.SUM))
    >>> collected, total = parts(np.array([1, 2, 3, 4]))
    >>> collected.tolist(), int(total)
    ([2, 3, 4, 5], 30)
    """
    require_function(fun, "microbatch", "fun", "tg.optim.microbatch(fun, argnums, microbatch_size)")
    if microbatch_size is None:
        return fun
    size = whole(microbatch_size, "microbatch", "microbatch_size", 1)
    places = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    names = (argnames,) if isinstance(argnames, str) else tuple(argnames)
    axes = (in_axes,) * (len(places) + len(names)) if isinstance(in_axes, int) else tuple(in_axes)
    if len(axes) != len(places) + len(names):
        raise ValueError(
            f"microbatch{at(user_source())}: in_axes has {len(axes)} axes for {len(places) + len(names)} arguments, {in_axes}; give one for each"
        )
    which: dict[Any, int] = dict(zip((*places, *names), axes, strict=True))

    @accepting_jax
    def microbatched(*args: Any, **kwargs: Any) -> Any:
        given: dict[Any, Any] = {**dict(enumerate(args)), **kwargs}
        if missing := [name for name in which if name not in given]:
            raise TypeError(
                f"microbatch{at(user_source())}: there is no argument {missing[0]!r} among those given, {[*given]}"
            )
        parts = _parts([(name, axis, given[name]) for name, axis in which.items()], size)
        joined = _joined(accumulator, parts)
        cut = [
            trees.map(lambda x, axis=axis: _apart(as_array(x), size, axis), given[name]) for name, axis in which.items()
        ]

        def of_part(index: Any, args: Any, kwargs: Any, cut: Any) -> Any:
            found: dict[Any, Any] = {**dict(enumerate(args)), **kwargs}
            for (name, axis), x in zip(which.items(), cut, strict=True):
                found[name] = trees.map(lambda x, axis=axis: take(x, index, axis + 1), x)
            return fun(*[found[i] for i in range(len(args))], **{name: found[name] for name in kwargs})

        start = joined.init(eval_shape(of_part, np.int32(0), args, kwargs, cut))
        count = parts if num_real_microbatches is None else num_real_microbatches
        body = lambda i, kept: joined.update(kept, of_part(i, args, kwargs, cut), i)
        return joined.finalize(fori_loop(0, count, body, start))

    return microbatched


def _parts(batch: list[tuple[Any, int, Any]], size: int) -> int:
    """How many parts of this size there are in arguments, each with its name and the axis of examples."""
    counts = {
        f"{name!r}{trees.keystr(path)}": np.shape(x)[axis]
        for name, axis, part in batch
        for path, x in trees.tree_leaves_with_path(part)
    }
    if len({*counts.values()}) != 1:
        told = ", ".join([f"{name} has {n}" for name, n in counts.items()])
        raise ShapeError(
            f"microbatch{at(user_source())}: arguments need one number of examples, {told or 'and there are none'}"
        )
    (count,) = {*counts.values()}
    if count % size:
        raise ShapeError(
            f"microbatch{at(user_source())}: {count} examples make no whole parts of {size}; write a microbatch_size that divides {count}"
        )
    return count // size


def micro_vmap(
    fun: Callable[..., Any],
    in_axes: Any = 0,
    out_axes: int = 0,
    *,
    microbatch_size: int | None = None,
    vmap_fn: Callable[..., Any] = vmap,
    accumulator: Any = AccumulationType.CONCAT,
    num_real_microbatches: ArrayLike | None = None,
) -> Callable[..., Any]:
    """`vmap` by parts of a batch, with results collected or reduced over it.

    Args:
        fun: a function of one example.
        in_axes: the axis of examples of each positional argument, None for what is the same for all; that of keywords is 0.
        out_axes: 0, the only one there is.
        microbatch_size: how many examples are done at once; None for all.
        vmap_fn: what is called as `vmap(f, in_axes, out_axes)`.
        accumulator, num_real_microbatches: as for `microbatch`. CONCAT gives what `vmap` gives.

    Raises:
        ValueError: another axis than 0 for results. And as `microbatch`.

    >>> micro_vmap(lambda x: x**2, microbatch_size=2)(np.arange(4)).tolist()
    [0, 1, 4, 9]
    """
    if out_axes != 0:
        raise ValueError(
            f"micro_vmap{at(user_source())}: out_axes is 0 here, got {out_axes!r}; move the axis of what comes out"
        )
    axes = (in_axes,) if isinstance(in_axes, int) else tuple(in_axes)

    def reduced(*args: Any, kwargs: Any) -> Any:
        found = vmap_fn(lambda args, kwargs: fun(*args, **kwargs), (axes, 0), 0)(args, kwargs)
        return _joined(accumulator, 1).aggregate(found)

    batched = {i: axis for i, axis in enumerate(axes) if axis is not None}
    parts = microbatch(
        reduced, [*batched], microbatch_size, accumulator, argnames="kwargs", in_axes=[*batched.values(), 0],
        num_real_microbatches=num_real_microbatches,
    )  # fmt: skip
    return accepting_jax(lambda *args, **kwargs: parts(*args, kwargs=kwargs))


class Aux(NamedTuple):
    """What `micro_grad` tells of each example: the value, what `metrics_fn` makes of its gradient, and what `fun` returns besides."""

    values: Array
    metrics: Any
    aux: Any


def micro_grad(
    fun: Callable[..., Any],
    has_aux: bool = False,
    argnums: Axes = 0,
    *,
    batch_argnums: Axes = 1,
    keep_batch_dim: bool = True,
    microbatch_size: int | None = None,
    accumulator: Any = AccumulationType.SUM,
    transform_fn: Callable[[PyTree], PyTree] = _same,
    metrics_fn: Callable[[PyTree], PyTree] = lambda gradient: None,
    num_real_microbatches: ArrayLike | None = None,
) -> Callable[..., tuple[Any, Aux]]:
    """Gradients of single examples, changed one by one (clipped, squared) and then added up, part by part of a batch.

    Args:
        fun: a loss of a batch, which is called with batches of one example.
        has_aux: whether it returns (value, aux).
        argnums: with respect to which arguments.
        batch_argnums: the places of arguments that have a first axis of examples.
        keep_batch_dim: whether `fun` is to see that axis, of size 1; if not, it is a loss of one example.
        microbatch_size: how many gradients are there at once; None for all.
        accumulator: how they become one, as for `microbatch`.
        transform_fn: what is made of the gradient of an example before.
        metrics_fn: what is to be known of the gradient of each example.
        num_real_microbatches: as for `microbatch`.

    Returns:
        A function of the same arguments that returns (gradient, Aux(values, metrics, aux)), of which the second is of each
        example.

    >>> loss = lambda params, x, y: 0.5 * np.mean((x @ params - y) ** 2)
    >>> gradient = micro_grad(loss, batch_argnums=(1, 2), accumulator=AccumulationType.MEAN, microbatch_size=2,
    ...     transform_fn=lambda g: (g, g**2))
    >>> (g, squared), aux = gradient(np.zeros(1), np.ones((4, 1)), np.array([0.0, 2.0, 4.0, 6.0]))
    >>> g.tolist(), squared.tolist(), aux.values.tolist()
    ([-3.0], [14.0], [0.0, 2.0, 8.0, 18.0])
    """
    batched = (batch_argnums,) if isinstance(batch_argnums, int) else tuple(batch_argnums)
    differentiated = value_and_grad(fun, argnums, has_aux=has_aux)

    def of_one(*args: Any, **kwargs: Any) -> Any:
        out, gradient = differentiated(*args, **kwargs)
        value, aux = out if has_aux else (out, None)
        return transform_fn(gradient), Aux(value, metrics_fn(gradient), aux)

    each = micro_vmap(
        of_one, [0 if i in batched else None for i in range(max(batched) + 1)], microbatch_size=microbatch_size,
        accumulator=(accumulator, AccumulationType.CONCAT), num_real_microbatches=num_real_microbatches,
    )  # fmt: skip
    if not keep_batch_dim:
        return each

    @accepting_jax
    def one_by_one(*args: Any, **kwargs: Any) -> Any:
        single = lambda x: np.expand_dims(as_array(x), 1)
        return each(*[trees.map(single, x) if i in batched else x for i, x in enumerate(args)], **kwargs)

    return one_by_one
