"""Why a tracer is no plain array or number, and what to write instead: the texts of errors, by what the user's line does."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core import advice
from tracegrad.core.errors import (
    REASONS,
    RawSource,
    TracerArrayConversionError,
    assigns,
    at,
    for_series,
    frames_here,
    instead_of_jax,
)
from tracegrad.core.functions import FUNCTIONS

_BRANCH = (
    "write `np.where(condition, a, b)`, which computes both, or `tg.lax.cond(condition, f, g, x)`, which runs one of the "
    "functions{, or outside}"
)
_LOOP = (
    "write `tg.lax.while_loop(condition, body, x)`, where both are functions of x, or for a number of steps that is known "
    "`tg.lax.fori_loop(0, n, body, x)`, which has a reverse derivative too{, or outside}"
)
PLAIN_NUMBER = "{outside}"
FOLLOWED = "Or have jit make a program for each path, on NumPy: `tg.jit(f, backend='numpy', branches='guard')`."
ASSIGN = (
    "  Assigning into an array: make it by `y = tnp.zeros(n)`, or by `tnp.copy(y)` of one that there is; or in place of "
    "`y[i] = v` write `y = tnp.at(y)[i].set(v)`, or `np.stack` the parts."
)
_MAKE = "  Making an array: in place of `np.array([...])` write `tnp.array([...])` or `np.stack([...])`."
_INDEX = (
    "  Indexing a plain array: in place of `table[i]` write `tnp.take(table, i, axis=0)`, or `np.asarray(table, like=i)[i]`; "
    "of `img[y, x]`, `np.asarray(img, like=y)[y, x]`."
)
_WRITERS = ("copyto", "fill_diagonal", "place", "put", "put_along_axis", "putmask")
# Of NumPy's functions that do not look at their arguments' classes, those that tnp has.
_MAKERS = ("arange", "asarray", "ascontiguousarray", "full", "vectorize")


def choice() -> str:
    if instead := advice.for_builtin():
        return f"{instead}{{, or outside}}"
    if instead := advice.ours_for(advice.library_called()):
        return f"write `{instead}(...)`, which takes traced arrays{{, or outside}}"
    return _LOOP if advice.is_loop() else _BRANCH


def no_plain_array(x: Any, exact: bool, written: str, function: Any, source: RawSource) -> TracerArrayConversionError:
    """The error of whoever wants a plain array of a tracer that has none, by what the user's line calls, as it is written there,
    and which function that is (`advice.function_called`)."""
    library = advice.library_called()
    if advice.is_asked_by_jax():
        where, fix = instead_of_jax(frames_here())
        return TracerArrayConversionError(
            f"{library} wanted a plain array{where} in place of {x.described()}; that would cut it off from the "
            f"{x.origin.described()}.\n  {fix} (with `import tracegrad.numpy as tnp`)."
        )
    name = getattr(function, "__name__", "")
    array, method = advice.method_called() if function is None else ("", "")
    tail = advice.tnp_or_numpyize(x.origin.function, library)
    if assigns(source):
        fixes = [ASSIGN]
    elif drawing := advice.for_drawing():
        fixes = [f"  {drawing}"]
    elif library and (instead := advice.ours_for(library)):
        fixes = [f"  Write `{instead}(...)`, which takes traced arrays too, in place of `{written or library}(...)`."]
        fixes += filter(None, [advice.by_array_api(library)])
    elif library and advice.is_asked_by_sparse():
        fixes = [
            "  Of a sparse array write `a @ x` for products, and `tg.scipy.sparse.csr_array((data, indices, indptr), shape)` "
            "for one whose numbers are traced."
        ]
    elif library:
        fixes = [
            f"  {library} works on plain arrays: write NumPy's function or tnp's, or make one of it that is not traced and has a "
            "derivative, `tg.external(f, out=..., vjp=...)`; where it is written in Python, `tg.numpyize` makes a copy that is "
            "traced."
        ]
    elif function is np.array or function is np.asarray:
        fixes = [_MAKE if function is np.array else "  In place of `np.asarray(x)` write `tnp.asarray(x)`."]
    elif callable(function) and (reason := REASONS.get(name) or for_series(function)):
        fixes = [f"  {reason}"]
    elif isinstance(function, np.ufunc):
        fixes = [f"  In place of `{written}([...])` of a list write `{written}(np.stack([...]))`."]
    elif isinstance(function, type) and issubclass(function, np.generic):
        fixes = [f"  In place of `{written}(x)` write `x.astype({written})`, or x as it is."]
    elif callable(function) and name not in _WRITERS:
        has = name in _MAKERS or function in FUNCTIONS
        theirs = written.replace("np.", "tnp.", 1) if written.startswith("np.") else f"tnp.{name}"
        fixes = [
            f"  NumPy cannot hand `{written}` to us: "
            + (f"write `{theirs}`; else it needs" if has else "it needs")
            + " `tg.external`, or values that are not traced."
        ]
    elif method:
        fixes = [f"  {advice.of_a_method(array, method)}"]
        tail = advice.WITH_TNP  # nothing can be put in place of an array's own method
    else:
        fixes = [
            ASSIGN,
            _MAKE,
            "  A function that NumPy cannot hand to us: `tnp` has it, or it needs `tg.external`.",
        ]
    fixes = [_INDEX, *fixes] if exact else fixes
    why = (
        f", but the {x.origin.described()} knows only its type"
        if exact
        else f"; that would cut it off from the {x.origin.described()}"
    )
    return TracerArrayConversionError(
        f"{library or 'NumPy'} wanted a plain array{at(source)} in place of {x.described()}{why}.\n"
        + "\n".join([*fixes, f"  {tail}"])
        + advice.for_rules(x.origin.transform)
    )
