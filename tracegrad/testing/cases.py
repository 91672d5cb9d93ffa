"""What an op is tried on: its samples in every dtype that it takes, in two dtypes at once, as Python scalars, in rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.functions import UFUNCS
from tracegrad.core.op import Op, Sample
from tracegrad.core.trace import bind
from tracegrad.core.types import PYTHON_SCALARS, is_inexact, type_of

KIND_OF = {
    "float64": "f", "float32": "f", "float16": "f", "complex128": "c", "complex64": "c", "int64": "i", "uint8": "u", "bool": "b",
}  # fmt: skip


class Case(NamedTuple):
    """One op on one choice of inputs."""

    op: Op
    inputs: tuple[Any, ...]
    params: dict[str, Any]
    number: int = 0  # of the sample that it was made of

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        """The outputs, always as a tuple, for these inputs in place of the case's own."""
        out = bind(self.op, inputs, self.params)
        return out if self.op.multiple_results else (out,)

    @property
    def name(self) -> str:
        """How errors call it."""
        return f"{self.op.name} of {', '.join([str(type_of(x)) for x in self.inputs])} on sample {self.number}"

    @property
    def sample(self) -> Sample:
        return Sample(self.inputs, self.params)

    @property
    def floats(self) -> list[int]:
        """The positions of the inputs that have derivatives."""
        return [i for i, x in enumerate(self.inputs) if is_inexact(type_of(x).dtype)]

    def of(self, positions: Sequence[int], *xs: Any) -> tuple[Any, ...]:
        """The outputs that have derivatives, with these in place of the inputs at these positions."""
        inputs = list(self.inputs)
        for i, x in zip(positions, xs, strict=True):
            inputs[i] = x
        return tuple([o for o in self(*inputs) if is_inexact(type_of(o).dtype)])


def recast(x: Any, dtype: str, seed: int) -> Any:
    """A float input in another dtype: with an imaginary part, or rounded away from zero. Others stay as they are."""
    if type(x) is not float and type_of(x).dtype != np.float64:
        return x
    kind = KIND_OF[dtype]
    x = np.asarray(x)
    if kind == "c":
        x = x + 0.3j * np.random.default_rng(seed).uniform(-1, 1, x.shape)
    elif kind in "iu":
        x = np.where(x < 0, np.floor(x), np.ceil(x))
        x = np.abs(x) if kind == "u" else x
    elif kind == "b":
        x = x > np.mean(x) if x.size else x
    return x.astype(dtype)[()]


def cases(op: Op, dtype: str) -> Iterator[Case]:
    """The op's samples in a dtype, none if it does not take that.

    Floats are recast, and for an op of integers the integers that are not negative. An op with complex samples of its
    own has no other complex ones made (its inputs have structure that a random imaginary part would break). A Python
    float next to arrays stays one, since it is weak.
    """
    kind = KIND_OF[dtype]
    if kind not in op.kinds:
        return
    samples = list(enumerate(op.samples()))
    own_complex = any([_is_complex(s) for _, s in samples])
    of_integers = not set(op.kinds) & set("fc")
    for number, sample in samples:
        floats = [x for x in sample.inputs if type(x) is float or _kind(x) in "fc"]
        if of_integers and not floats and all([np.min(x, initial=0) >= 0 for x in sample.inputs]):
            inputs: list[Any] = [np.asarray(x).astype(dtype)[()] for x in sample.inputs]
        elif kind != "f" and not floats and dtype not in ("int64", "complex128"):
            continue
        elif _is_complex(sample):
            if kind != "c":
                continue
            inputs = list(sample.inputs)
            if dtype == "complex64":
                narrow = {"c": "complex64", "f": "float32"}
                inputs = [x.astype(narrow[x.dtype.kind]) if _kind(x) in "fc" else x for x in inputs]
        elif kind == "c" and own_complex:
            continue
        else:
            arrays = any([type(x) is not float for x in floats])
            inputs = [
                x if type(x) is float and (arrays or dtype == "float64") and kind in "fc" else recast(x, dtype, i)
                for i, x in enumerate(sample.inputs)
            ]
        yield Case(op, tuple(inputs), dict(sample.params), number)


def mixed_cases(op: Op, dtypes: tuple[str, str]) -> Iterator[Case]:
    """The samples with several float inputs, these in two dtypes in turn."""
    if not {KIND_OF[d] for d in dtypes} <= set(op.kinds):
        return
    for number, sample in enumerate(op.samples()):
        floats = [i for i, x in enumerate(sample.inputs) if _kind(x) == "f"]
        if len(floats) > 1 and not _is_complex(sample):
            inputs = list(sample.inputs)
            for turn, i in enumerate(floats):
                inputs[i] = recast(inputs[i], dtypes[turn % 2], i)
            yield Case(op, tuple(inputs), dict(sample.params), number)


def scalar_cases(op: Op, dtype: str) -> Iterator[Case]:
    """The samples with inputs of no dimensions, each of these and all of them as Python scalars."""
    for case in cases(op, dtype):
        found = [i for i, x in enumerate(case.inputs) if np.ndim(x) == 0 and type(x) not in PYTHON_SCALARS]
        for chosen in [*[[i] for i in found], *([found] if len(found) > 1 else [])]:
            yield case._replace(inputs=tuple([x.item() if i in chosen else x for i, x in enumerate(case.inputs)]))


def cases_outside(op: Op, dtype: str) -> Iterator[Case]:
    """A ufunc's samples in a dtype that the op does not claim to take, which NumPy may take all the same."""
    if op in UFUNCS.values() and KIND_OF[dtype] not in op.kinds:
        for number, sample in enumerate(op.samples()):
            inputs = [recast(np.asarray(x, float), dtype, i) for i, x in enumerate(sample.inputs)]
            yield Case(op, tuple(inputs), dict(sample.params), number)


def _kind(x: Any) -> str:
    return type_of(x).dtype.kind


def _is_complex(sample: Sample) -> bool:
    return any([_kind(x) == "c" for x in sample.inputs])


# ---------------------------------------------------------------------------------------------------------------------
# Batches.


def varied(x: Any, k: int) -> Any:
    """The k-th of a batch of similar inputs: floats scaled a little, integers and booleans rolled along."""
    kind = _kind(x)
    if k == 0 or type_of(x).size == 0:
        return x if type(x) not in PYTHON_SCALARS else np.asarray(x)[()]
    if kind in "fc":
        return (np.asarray(x) * (1 + 0.02 * k)).astype(type_of(x).dtype)[()]
    return np.roll(np.asarray(x), k)[()]


def batch_of(case: Case) -> list[tuple[Any, ...]]:
    """Three rows of inputs whose outputs differ, so that rows mixed up are noticed: floats scaled a little, or if that
    leaves the outputs alone (rounding, an argmax), the first mirrored and scaled a lot."""
    rows = [tuple([varied(x, k) for x in case.inputs]) for k in range(3)]
    if _differ([case(*row) for row in rows]):
        return rows
    for first, factor in itertools.product(case.floats[:1], (-2.0, 0.0, np.nan, np.inf)):
        x = rows[1][first]
        changed = np.asarray(factor * np.flip(x), x.dtype)[()]
        bold = [rows[0], (*rows[1][:first], changed, *rows[1][first + 1 :]), rows[2]]
        try:
            with np.errstate(all="raise"):
                outs = [case(*row) for row in bold]
        except (ValueError, FloatingPointError):  # nothing but NaN, say, where there must be a number
            continue
        if _differ(outs):
            return bold
    return rows


def _differ(outs: Sequence[tuple[Any, ...]]) -> bool:
    return any(
        [
            not np.array_equal(o, p, equal_nan=_kind(o) in "fc")
            for out in outs[1:]
            for o, p in zip(out, outs[0], strict=True)
        ]
    )


def choices(count: int) -> list[tuple[bool, ...]]:
    """Which inputs are batched: every choice but none of them, of up to four; of more, each alone and all."""
    if count <= 4:
        return [c for c in itertools.product([True, False], repeat=count) if any(c)]
    return [tuple([i == j for j in range(count)]) for i in range(count)] + [(True,) * count]
