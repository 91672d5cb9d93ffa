"""Equal eigenvalues and singular values, and singular values that are zero.

Eigenvectors of equal eigenvalues are any basis of the space that belongs to them, and have no derivative. That of the
eigenvalues themselves is one of their sum: a function that treats them alike has its derivative at equal ones, any other has a
kink there. Functions of the vectors that do not depend on the choice are found and differentiated by `transforms/spectral.py`;
all else raises (and on XLA, which cannot, is NaN).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError

from tracegrad.core.errors import RawSource, at, resolve
from tracegrad.core.op import Op, Params, Sample, TypeRule, Wanted
from tracegrad.core.quiet import quietly
from tracegrad.core.trace import bind
from tracegrad.core.types import ArrayType
from tracegrad.ops.contract import column
from tracegrad.ops.families import broadcast_shapes, conform, elementwise_batch
from tracegrad.ops.linalg.matrices import leading_batch, row, uniform_matrices


class Line:
    """The user's line that an error will name, as a param of an op; None where it is not known."""

    __slots__ = ("source",)

    def __init__(self, source: RawSource | int | None) -> None:
        self.source = None if isinstance(source, int) else source

    def __eq__(self, other: object) -> bool:
        return type(other) is Line and (self.source == other.source or resolve(self.source) == resolve(other.source))

    def __hash__(self) -> int:
        return hash(resolve(self.source))

    def __reduce__(self) -> Any:
        return Line, (resolve(self.source),)  # code objects stay in the process that has them

    def __str__(self) -> str:
        return at(self.source)

    def __repr__(self) -> str:
        line = resolve(self.source)
        return "unknown" if line is None else f"line {line.line}"


_EQUAL = 10  # values are equal if they differ by less than this times n epsilon times the largest


def tolerance(values: Any) -> Any:
    """How far eigenvalues or singular values (..., n) may be apart and still be equal to rounding, (..., 1)."""
    scale = _EQUAL * values.shape[-1] * float(np.finfo(values.dtype).eps)
    return scale * np.max(np.abs(values), -1, keepdims=True, initial=0)


def _equal_pairs(values: Any) -> Any:
    """Which of them equal which others, (..., n, n)."""
    equal = np.abs(values[..., :, None] - values[..., None, :]) <= tolerance(values)[..., None]
    return equal & ~np.eye(values.shape[-1], dtype=bool)


_NAMES = {"eigh": "eigenvalues", "eig": "eigenvalues", "svd": "singular values"}


def equal_error(values: Any, wrong: Any, kind: str, line: Line | None) -> LinAlgError:
    """The error for a derivative that the pairs marked as `wrong` do not have."""
    values, wrong = np.broadcast_arrays(values[..., None, :], wrong)
    *batch, i, j = [int(k) for k in np.argwhere(wrong)[0]]
    of = f" of matrix {tuple(batch)}" if batch else ""
    here = values[(*batch, 0)]
    numbers = [k for k in range(here.shape[-1]) if k in (i, j) or wrong[(*batch, i, k)] or wrong[(*batch, k, i)]]
    listed = ", ".join([f"{here[k]:.6g}" for k in numbers])
    what = (
        f"the {_NAMES[kind]} {', '.join(map(str, numbers))}{of} are equal ({listed}), and their vectors are not determined"
        if len(numbers) > 1
        else f"the singular value {i}{of} is zero ({listed}), and its vectors are not determined"
    )
    product = "(u * g(s)) @ vh" if kind == "svd" else "(v * g(w)) @ v.conj().T"
    return LinAlgError(
        f"{kind}{line or ''} has no derivative here: {what}. A function that does not depend on their choice has one "
        f"where it is written so that this shows: as tnp.linalg.funm(a, g), or {product} with g a function of each value "
        "by itself"
    )


def touching(values: Any, low: int, high: int | None, zero: bool) -> Any:
    """The pairs of equal values of which one at least is among those from `low` to `high`. `zero`: a value that is zero
    counts as equal to itself."""
    n = values.shape[-1]
    numbers = np.arange(n)
    chosen = (numbers >= low) & (numbers < (n if high is None else high))
    pairs = _equal_pairs(values) & (chosen[:, None] | chosen[None, :])
    if zero:
        vanish = (np.abs(values) <= tolerance(values)) & chosen
        pairs = pairs | (vanish[..., None] & np.eye(n, dtype=bool))
    return pairs


def _apart(values: Any, low: int, high: int | None, zero: bool, kind: str, line: Line | None) -> Any:
    wrong = touching(values, low, high, zero)
    if wrong.any():
        raise equal_error(values, wrong, kind, line)
    return values


def _apart_samples() -> Iterable[Sample]:
    how = {"low": 0, "high": None, "zero": True, "kind": "eigh", "line": None}
    yield Sample((np.array([0.5, 1.0, 3.0]),), how)
    yield Sample((np.array([[0.5, 1.0, 1.0], [2.0, 0.5, 3.0]]),), {**how, "high": 1})
    yield Sample((np.zeros((2, 0)),), how)


def guard(
    name: str,
    evaluate: Callable[..., Any],
    samples: Callable[[], Iterable[Sample]],
    infer: TypeRule = lambda types, params: types[0],
) -> Op:
    """Declare an op that leaves its input as it is, or raises where a derivative that goes through it does not exist. On
    XLA, which cannot raise, it has NaN there."""
    return Op(
        name,
        evaluate=evaluate,
        infer=infer,
        jvp=lambda primals, tangents, out, params: tangents[0],
        vjp=lambda wanted, ct, out, primals, params: [ct],
        batch=leading_batch(name),
        samples=samples,
    )


# The values as they are, if those from `low` to `high` each differ from all others.
apart_op = guard("apart", _apart, _apart_samples)


def vanishing(x: Any, low: int, high: int) -> Any:
    numbers = np.arange(x.shape[-1])
    return (np.abs(x) <= tolerance(x)) & (numbers >= low) & (numbers < high)


def _nonzero_values(x: Any, low: int, high: int, kind: str, line: Line | None) -> Any:
    wrong = vanishing(x, low, high)
    if wrong.any() and kind == "svd":
        raise equal_error(x, wrong[..., None] & np.eye(x.shape[-1], dtype=bool), kind, line)
    if wrong.any():
        *batch, i = [int(k) for k in np.argwhere(wrong)[0]]
        raise LinAlgError(
            f"qr{line or ''} has no derivative here: column {i}{f' of matrix {tuple(batch)}' if batch else ''} depends on "
            f"those before it (R has {x[(*batch, i)]:.6g} on its diagonal), and that of Q is not determined"
        )
    return x


def _nonzero_samples() -> Iterable[Sample]:
    yield Sample((np.array([3.0, 1.0, 0.0]),), {"low": 0, "high": 2, "kind": "svd", "line": None})


nonzero_op = guard(
    "nonzero_values",
    _nonzero_values,
    _nonzero_samples,
)


def nonzero(x: Any, low: int, high: int, kind: str, line: Line | None) -> Any:
    """Singular values, or what is on the diagonal of R, if those chosen are not zero."""
    return bind(nonzero_op, (x,), {"low": low, "high": high, "kind": kind, "line": line})


def unlike(values: Any, x: Any, zero: bool) -> Any:
    """The pairs of equal values that do not have the same x, up to rounding."""
    epsilon = float(np.finfo(x.dtype).eps)
    size = np.max(np.where(np.isfinite(x), np.abs(x), 0), -1, keepdims=True, initial=0)[..., None]
    least = 10 * tolerance(values)[..., None] + 100 * values.shape[-1] * epsilon
    far = np.maximum(np.sqrt(epsilon) * size, least)
    pairs = _equal_pairs(values) & (np.abs(x[..., :, None] - x[..., None, :]) > far)
    if zero:
        vanish = (np.abs(values) <= tolerance(values)) & (np.abs(x) > far[..., 0])
        pairs = pairs | (vanish[..., None] & np.eye(values.shape[-1], dtype=bool))
    return pairs


def averaged(values: Any, x: Any, zero: bool) -> Any:
    equal = _equal_pairs(values) | np.eye(values.shape[-1], dtype=bool)
    mean = np.sum(np.where(equal, x[..., None, :], 0), -1) / np.sum(equal, -1)
    return np.where(np.abs(values) <= tolerance(values), 0, mean) if zero else mean


def _among_equals(values: Any, x: Any, check: bool, zero: bool, kind: str, line: Line | None) -> Any:
    wrong = quietly(("invalid",), unlike, values, x, zero) if check else np.False_
    if wrong.any():
        raise equal_error(values, wrong, kind, line)
    if _equal_pairs(values).any() or (zero and (values <= tolerance(values)).any()):
        return averaged(values, x, zero).astype(x.dtype, copy=False)
    return x if x.ndim >= values.ndim else np.broadcast_to(x, np.broadcast_shapes(x.shape, values.shape))


def _among_equals_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return ArrayType(broadcast_shapes("among_equals", types), types[1].dtype)


def _among_equals_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    return None if tangents[1] is None else bind(among_equals_op, (primals[0], tangents[1]), {**params, "check": False})


def _among_equals_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    cotangent = bind(among_equals_op, (primals[0], ct), {**params, "check": True})
    return [conform(cotangent, primals[1]) if i else None for i in wanted]


def _among_equals_samples() -> Iterable[Sample]:
    how = {"check": False, "zero": False, "kind": "eigh", "line": None}
    yield Sample((np.array([0.5, 1.0, 3.0]), uniform_matrices(0, 3)), how)
    yield Sample((np.array([[0.5, 1.0, 3.0], [1.0, 2.0, 3.0]]), uniform_matrices(0, 2, 3)), how)


# x for eigenvalues: what it is on the mean for those that are equal. With `check` it must be alike for them: a cotangent
# that is not belongs to a function of their order, which has a kink here. `zero` are singular values: there is one more of
# opposite sign for each, to which belongs -x.
among_equals_op = Op(
    "among_equals",
    evaluate=_among_equals,
    infer=_among_equals_type,
    jvp=_among_equals_jvp,
    vjp=_among_equals_vjp,
    linear=[{1}],
    batch=elementwise_batch("among_equals"),  # leading axes broadcast
    samples=_among_equals_samples,
)


def gap_quotients(
    values: Any, kind: str, line: Line | None, low: int = 0, high: int | None = None, zero: bool = False
) -> Any:
    """1 / (w_j - w_i) for j from `low` to `high`, else 0, (..., n, n): which way the vectors j turn. Of singular values,
    1 / (s_j**2 - s_i**2), which needs no values apart from zero; `zero` says that something else does."""
    n = values.shape[-1]
    how = {"low": low, "high": high, "zero": zero, "kind": kind, "line": line}
    values = bind(apart_op, (values,), how)
    numbers = np.arange(n)
    chosen = (numbers[:, None] != numbers) & (numbers >= low) & (numbers < (n if high is None else high))
    gaps = row(values) - column(values)
    if kind == "svd":
        gaps = gaps * (row(values) + column(values))
    return np.where(chosen, 1 / np.where(chosen, gaps, 1), 0)
