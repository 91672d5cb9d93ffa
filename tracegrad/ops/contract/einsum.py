"""Einstein summation, for whatever is not a matrix product with broadcast batches. The op's subscripts are explicit: no "...", no
blanks, the output named."""

from __future__ import annotations

import math
import operator
import string
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.core.op import Along, Params, Sample
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import ArrayType, Shape, in_known_dtype, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import implements, multilinear, shape_of
from tracegrad.typing import Array, DType

LETTERS = string.ascii_uppercase + string.ascii_lowercase


@lru_cache(maxsize=1024)
def explicit_subscripts(subscripts: str, ndims: tuple[int, ...]) -> str:
    """Subscripts in any of NumPy's forms as explicit ones, for operands of so many dimensions.

    >>> explicit_subscripts("...i,ij", (2, 2))
    'Zi,ij->Zj'
    """

    def refuse(why: str) -> ShapeError:
        return ShapeError(f"einsum: {why}, in {subscripts!r} for operands of {', '.join(map(str, ndims))} dimensions")

    text = subscripts.replace(" ", "")
    inputs, arrow, output = text.partition("->")
    terms = inputs.split(",")
    if len(terms) != len(ndims):
        raise refuse(f"{len(terms)} terms for {len(ndims)} operands; write one, separated by commas, for each")
    letters = [term.replace("...", "", 1) for term in (*terms, output)]
    if not all(c in LETTERS for c in "".join(letters)):
        raise refuse("subscripts may hold letters, one '...' a term, ',' and '->' only")
    for term, own, ndim in zip(terms, letters, ndims, strict=False):
        if len(own) > ndim or (len(own) < ndim and term == own):
            raise refuse(f"the term {term!r} does not fit {ndim} dimensions; write '...' for those without a letter")
    widths = [ndim - len(own) for own, ndim in zip(letters, ndims, strict=False)]
    rank = max(widths, default=0)
    unused = [c for c in reversed(LETTERS[:26]) if c not in text] + [c for c in LETTERS[26:] if c not in text]
    if rank > len(unused):
        raise refuse("more than 52 different axes")
    dots = "".join(reversed(unused[:rank]))
    every = "".join(letters[:-1])
    if not arrow:
        output = "..." + "".join(sorted(c for c in every if every.count(c) == 1))
    elif len(set(letters[-1])) != len(letters[-1]):
        raise refuse("the output names an axis twice")
    elif not set(letters[-1]) <= set(every):
        raise refuse("the output names an axis that no operand has")
    elif rank and "..." not in output:
        raise refuse("the axes of '...' are missing from the output; write '...' there too")
    expanded = [term.replace("...", dots[rank - width :]) for term, width in zip(terms, widths, strict=True)]
    return ",".join(expanded) + "->" + output.replace("...", dots)


def terms_and_output(subscripts: str) -> tuple[list[str], str]:
    """The parts of explicit subscripts."""
    inputs, _, output = subscripts.partition("->")
    return inputs.split(","), output


def axis_sizes(terms: Sequence[str], shapes: Sequence[Shape]) -> dict[str, int]:
    """The size of each named axis: sizes are equal, or 1 and broadcast."""
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        here: dict[str, int] = {}
        for c, n in zip(term, shape, strict=True):
            if here.setdefault(c, n) != n or (sizes.get(c, n) not in (n, 1) and n != 1):
                raise ShapeError(c)
            if sizes.get(c, 1) == 1:
                sizes[c] = n
    return sizes


def _einsum_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    subscripts = params["subscripts"]
    terms, output = terms_and_output(subscripts)
    try:
        sizes = axis_sizes(terms, [t.shape for t in types])
    except ShapeError as error:
        raise ShapeError(
            f"einsum {subscripts!r} of {', '.join(map(str, types))}: the sizes of axis {error.args[0]!r} differ"
        ) from None
    return ArrayType(tuple([sizes[c] for c in output]), np.result_type(*[t.dtype for t in types]))


def _einsum_contraction(types: Sequence[ArrayType], params: Params) -> tuple[int, bool] | None:
    terms, output = terms_and_output(params["subscripts"])
    if len(terms) == 1:
        return None
    sizes = axis_sizes(terms, [t.shape for t in types])
    return math.prod(sizes.values()), not set(output).isdisjoint(set(terms[0]).intersection(*terms[1:]))


@lru_cache(maxsize=1024)
def _path(subscripts: str, shapes: tuple[Shape, ...]) -> Any:
    """How np.einsum should go about it: False for its own loop, else a path of products of two, made by BLAS.

    Up to some thousand multiplications the loop is done before BLAS has begun, and of a product of two in which nothing
    is summed BLAS knows nothing.
    """
    terms, output = terms_and_output(subscripts)
    if len(terms) == 1 or (len(terms) == 2 and set(output) >= set("".join(terms))):
        return False
    if math.prod(axis_sizes(terms, shapes).values()) < 4096:
        return False
    return np.einsum_path(subscripts, *[np.broadcast_to(0.0, s) for s in shapes], optimize="greedy")[0]


def _einsum(*operands: Any, subscripts: str) -> Any:
    path = _path(subscripts, tuple([np.shape(x) for x in operands]))
    known = [in_known_dtype(x) for x in operands]
    out = np.einsum(subscripts, *known, optimize=path)
    if all(map(operator.is_, known, operands)):
        return out
    return out.astype(np.result_type(*operands))  # np.einsum refuses bfloat16


def _einsum_transpose(i: int) -> Callable[..., Any]:
    def transpose(ct: Any, *operands: Any, subscripts: str) -> Any:
        """The cotangent of operand i: the sum of products of the other operands and `ct` over the axes it has not.

        Axes that it alone has were summed over: its cotangent is constant along them. Of a repeated axis, only the
        diagonal took part.
        """
        terms, output = terms_and_output(subscripts)
        shapes = [shape_of(x) for x in operands]
        sizes = axis_sizes(terms, shapes)
        own, shape = terms[i], shapes[i]
        others = [j for j in range(len(operands)) if j != i]
        known = set(output).union(*[terms[j] for j in others])
        first = {c: p for p, c in reversed(list(enumerate(own)))}
        kept = "".join(
            [c for c, p in sorted(first.items(), key=lambda cp: cp[1]) if c in known and shape[p] == sizes[c]]
        )
        formula = ",".join([output, *[terms[j] for j in others]]) + "->" + kept
        d = bind(einsum_op, (ct, *[operands[j] for j in others]), {"subscripts": formula})
        if kept == own and d.shape == shape:
            return d
        size_of = dict(zip(kept, d.shape, strict=True))
        d = np.reshape(d, tuple([size_of.get(c, 1) if first[c] == p else 1 for p, c in enumerate(own)]))
        on_diagonal: Any = True
        for p, c in enumerate(own):
            if first[c] != p:
                at_p, at_first = [np.arange(shape[p]).reshape((-1,) + (1,) * (len(own) - 1 - q)) for q in (p, first[c])]
                on_diagonal = np.logical_and(on_diagonal, at_p == at_first)
        if on_diagonal is not True:
            d = np.where(on_diagonal, d, 0)
        return d if d.shape == shape else np.broadcast_to(d, shape)

    return transpose


def _einsum_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    subscripts = params["subscripts"]
    terms, output = terms_and_output(subscripts)
    batch = next((c for c in reversed(LETTERS) if c not in subscripts), None)
    if batch is None:
        raise ShapeError(f"einsum {subscripts!r} uses all 52 letters, which leaves none for the batch axis of vmap")
    terms = [batch + term if b else term for term, b in zip(terms, batched, strict=True)]
    return bind(einsum_op, tuple(inputs), {"subscripts": f"{','.join(terms)}->{batch}{output}"})


def _einsum_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(0)
    table: list[tuple[str, list[Shape]]] = [
        ("ij,jk->ik", [(2, 3), (3, 2)]),
        ("ij,jk->ki", [(17, 18), (18, 16)]),
        ("bij,bjk->bik", [(2, 2, 3), (2, 3, 2)]),
        ("i,j->ji", [(2,), (3,)]),
        ("i,i->", [(3,), (3,)]),
        ("ij->ji", [(2, 3)]),
        ("ij->", [(2, 3)]),
        ("ij->j", [(2, 3)]),
        ("ii->", [(3, 3)]),
        ("ii->i", [(3, 3)]),
        ("iij->ji", [(3, 3, 2)]),
        ("iji->ij", [(2, 3, 2)]),
        ("ii,i->i", [(3, 3), (3,)]),
        ("ij,i->", [(2, 3), (2,)]),
        ("i,i->i", [(1,), (3,)]),
        ("ij,ij->i", [(2, 1), (2, 3)]),
        ("i,i->", [(3,), (1,)]),
        ("ij,jk,kl->il", [(2, 3), (3, 2), (2, 2)]),
        (",i->i", [(), (3,)]),
        ("->", [()]),
        ("ij,jk->ik", [(2, 0), (0, 3)]),
    ]
    for subscripts, shapes in table:
        yield Sample(tuple([rng.uniform(-1, 1, s) for s in shapes]), {"subscripts": subscripts})


def _einsum_reach(i: int, types: Sequence[ArrayType], out: ArrayType, params: Params, known: Sequence[Any]) -> Along:
    terms, output = terms_and_output(params["subscripts"])
    shape, own = types[i].shape, terms[i]
    return Along(
        [(own.index(c), k, None) for k, c in enumerate(output) if c in own and shape[own.index(c)] == out.shape[k]]
    )


einsum_op = multilinear(
    "einsum", _einsum, _einsum_transpose, reach=_einsum_reach,
    infer=_einsum_type, batch=_einsum_batch, kinds="biufc", samples=_einsum_samples, inputs=32,
    contraction=_einsum_contraction,
)  # fmt: skip


def einsum_operands(operands: Sequence[Any]) -> tuple[str, list[Any]]:
    """Subscripts as text, and the arrays, of either way to call einsum."""
    if not operands:
        raise ShapeError("einsum takes subscripts and operands, such as np.einsum('ij,jk->ik', a, b)")
    if isinstance(operands[0], str):
        return operands[0], [as_array(x) for x in operands[1:]]
    named = [
        "".join(["..." if c is Ellipsis else LETTERS[operator.index(c)] for c in axes])
        for axes in (*operands[1::2], *(operands[-1:] if len(operands) % 2 else ()))
    ]
    arrays = [as_array(x) for x in operands[: len(operands) // 2 * 2 : 2]]
    inputs = ",".join(named[: len(arrays)])
    return f"{inputs}->{named[-1]}" if len(operands) % 2 else inputs, arrays


@implements(np.einsum)
def einsum(
    *operands: Any,
    out: Array | None = None,
    dtype: DType = None,
    order: str = "K",
    casting: str = "safe",
    optimize: Any = False,
) -> Array:
    """Sums of products over named axes, in all of NumPy's forms: implicit and explicit output, '...', repeated letters,
    and arrays interleaved with lists of axis numbers. The order of the products is chosen here: `optimize` and `order`
    have no effect on the result.

    >>> import numpy as np, tracegrad as tg
    >>> tg.grad(lambda a: np.einsum("ii", a))(np.ones((2, 2))).tolist()
    [[1.0, 0.0], [0.0, 1.0]]

    Raises:
        ShapeError: for subscripts that do not fit the operands.
        DtypeError: for operands that do not become `dtype` by the rule `casting`.
    """
    subscripts, arrays = einsum_operands(operands)
    if dtype is not None:
        for x in arrays:
            if not np.can_cast(x.dtype if hasattr(x, "dtype") else type_of(x).dtype, dtype, casting):
                raise DtypeError(f"einsum: {type_of(x)} does not become {np.dtype(dtype)} by the rule {casting!r}")
        arrays = [astype(x, dtype) for x in arrays]
    return by_einsum(subscripts, *arrays)


def by_einsum(subscripts: str, *arrays: Any) -> Any:
    explicit = explicit_subscripts(subscripts, tuple([len(shape_of(x)) for x in arrays]))
    return bind(einsum_op, arrays, {"subscripts": explicit})
