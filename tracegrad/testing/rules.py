"""check_rule: all that an op declares, held against evaluation, difference quotients, loops and compiled code.

The truth is never the rule under test: forward derivatives are held against differences of NumPy's values, reverse ones
against forward ones by the dot-product identity, batching against a loop. rule_checks.py has the checks.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tracegrad.core.op import Op, Sample
from tracegrad.core.types import type_of
from tracegrad.testing.cases import KIND_OF, Case, cases, cases_outside, mixed_cases, scalar_cases
from tracegrad.testing.reproduce import attach
from tracegrad.testing.rule_checks import (
    EVERYTHING,
    Check,
    How,
    check_at_zero,
    check_batch,
    check_compiled,
    check_derivative_types,
    check_first_order,
    check_parts,
    check_quotients,
    check_second_order,
    check_traced,
    check_types,
    evaluated,
)

# In which dtypes the op's own samples are tried. Two at once: what is promoted on the way forward is taken back on the way
# back.
DTYPES: tuple[str | tuple[str, str], ...] = (
    *KIND_OF,
    ("float64", "complex128"), ("complex128", "float64"), ("float32", "float64"), ("float64", "float32"),
    ("float32", "complex128"), ("complex64", "float64"), ("int64", "float32"), ("float32", "int64"), ("float16", "bool"),
    ("uint8", "int64"), ("bool", "uint8"),
)  # fmt: skip
# What NumPy may take or not, and overflows in where the samples do not.
UNUSUAL = {"float16", "uint8", "bool"}
# Precise enough for differences.
DOUBLE = {"float64", "complex128"}


def check_rule(
    op: Op,
    samples: Iterable[Sample] | None = None,
    *,
    dtypes: Iterable[str | tuple[str, str]] | None = None,
    order: int = 2,
    backends: Sequence[str] = ("numpy",),
    seed: int = 0,
) -> int:
    """Hold all that an op declares against independent truth, as tracegrad's own ops are held.

    - The type rule: against evaluation, in every dtype of the op's kinds, in two at once, and of Python scalars; what
      evaluation refuses, it refuses, too. Evaluation writes into no input, and cares for no memory layout.
    - Both derivatives: against difference quotients to second order, and against each other, in float64 and complex128. They
      have the types of what they belong to, in every dtype; are linear where they are applied to zeros, too; and take None for
      a zero. The reverse rule gives the same for some inputs as for all of them, and for a cotangent of some outputs.
    - What is declared linear is linear, and its transpose the reverse rule.
    - Derivatives that are traced without values look at none, and give the same.
    - The batching rule: against a loop, for every choice of batched inputs, in batches of one and of none; under a derivative
      and over one.
    - Compiled code: against evaluation.

    Args:
        op: the op, with at least an evaluation and a type rule.
        samples: `Sample(inputs, params)`, which are tried as they are; if not given, the op's own, recast to each of `dtypes`.
        dtypes: those that the op's own samples are tried in, out of "float64", "float32", "float16", "complex128", "complex64",
            "int64", "uint8", "bool" and pairs of these; all, if not given. Of a dtype of a kind that `op.kinds` does not
            name, there is only one claim to hold a ufunc to: what it gives.
        order: up to which derivatives are held against difference quotients; 0 for an op whose derivative is another by
            decree.
        backends: what compiles it; "xla" needs its lowering.
        seed: of the random directions.

    Returns:
        The number of inputs that the op was tried on.

    Raises:
        AssertionError: what is wrong, and on which sample. Its `reproducer` is the call of `check_rule` with that sample alone.
        ValueError: no samples.

    >>> import tracegrad as tg
    >>> from tracegrad.core.op import OPS
    >>> from tracegrad.testing import check_rule
    >>> check_rule(OPS["tanh"], dtypes=["float64", "float32"]) > 0
    True
    """
    known = set(DTYPES) | set(itertools.product(KIND_OF, KIND_OF))
    if unknown := [d for d in dtypes or () if d not in known]:
        raise ValueError(f"check_rule: dtypes are {', '.join(KIND_OF)} and pairs of these, got {unknown[0]!r}")
    own = itertools.chain.from_iterable(_of_dtype(op, dtype) for dtype in dtypes or DTYPES)
    how = How(order, tuple(backends), seed)
    count = 0
    for case, checks in own if samples is None else _as_they_are(op, samples):
        count += 1
        try:
            for one in checks:
                one(case, how)
        except Exception as error:
            if not isinstance(error, AssertionError):
                error.add_note(f"in check_rule of {case.name}")
            attach(error, check_rule, (op, [case.sample]), how._asdict())
            raise
    if not count:
        in_dtypes = "" if dtypes is None else f" in {', '.join(map(str, dtypes))}"
        raise ValueError(
            f"check_rule: {op.name} has no samples{in_dtypes}; give some with samples=[Sample((x,), {{}})]"
        )
    return count


# ---------------------------------------------------------------------------------------------------------------------
# Which inputs are held to what.


def _of_dtype(op: Op, dtype: str | tuple[str, str]) -> Iterator[tuple[Case, Sequence[Check]]]:
    """The op's own samples in a dtype or two, and what each is held to."""
    if isinstance(dtype, tuple):
        checks: list[Check] = [check_types]
        checks += [check_derivative_types, check_parts] if UNUSUAL.isdisjoint(dtype) else []
        checks += [check_first_order, check_second_order, check_traced] if DOUBLE.issuperset(dtype) else []
        for case in mixed_cases(op, dtype):
            yield case, [_where_taken(checks)]
        return
    for case in cases(op, dtype):
        if dtype in DOUBLE:
            yield case, EVERYTHING
        elif dtype == "int64":
            # A batch of integers made of floats would lose what the sample promises (an order, no zeros).
            yield case, [check_types, *([check_batch, check_compiled] if _takes_no_floats(op) else [])]
        elif dtype == "float16":
            yield case, [_where_taken([check_types, check_derivative_types], over="ignore", under="ignore")]
        else:
            yield case, [_where_taken([check_types])] if dtype in UNUSUAL else [check_types, check_derivative_types]
    for case in scalar_cases(op, dtype) if dtype in DOUBLE | {"float32", "int64"} else ():
        yield (
            case,
            [
                check_types,
                check_derivative_types,
                *([check_first_order, check_second_order, check_traced] if dtype in DOUBLE else []),
            ],
        )
    for case in cases_outside(op, dtype):
        yield case, [_where_taken([check_types], all="ignore")]


def _as_they_are(op: Op, samples: Iterable[Sample]) -> Iterator[tuple[Case, Sequence[Check]]]:
    """Samples that somebody gives, and what each is held to."""
    for number, sample in enumerate(samples):
        case = Case(op, tuple(sample.inputs), dict(sample.params), number)
        floats = [type_of(case.inputs[i]).dtype.char in "dD" for i in case.floats]
        if not floats:
            yield case, [check_types, *([check_batch] if _takes_no_floats(op) else []), check_compiled]
        elif all(floats):
            yield case, EVERYTHING
        else:
            yield (
                case,
                [check_types, check_derivative_types, check_quotients, check_at_zero, check_batch, check_compiled],
            )


def _takes_no_floats(op: Op) -> bool:
    return set(op.kinds).isdisjoint("fc")


def _where_taken(checks: Sequence[Check], **ignored: Any) -> Check:
    """The checks, unless evaluation refuses the dtypes, which the type rule has to, then. NumPy casts what is assigned to the
    array's own dtype, with a warning if that loses an imaginary part."""

    def one(case: Case, how: How) -> None:
        with np.errstate(**ignored), warnings.catch_warnings():
            warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
            try:
                evaluated(case)
            except TypeError:
                return
            for check in checks:
                check(case, how)

    return one
