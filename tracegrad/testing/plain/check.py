"""A program held against plain NumPy."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tracegrad.numpy  # noqa: F401 -- the functions that plain code calls on tracers
from tracegrad import tree
from tracegrad.core.errors import (
    ConcretizationTypeError,
    DifferentiationError,
    DtypeError,
    TracerArrayConversionError,
    UnsupportedFunctionError,
)
from tracegrad.testing.plain.other_ways import elsewise, noisy_results
from tracegrad.testing.plain.programs import Case, leaves_of, reread, run, steps_of
from tracegrad.transforms.inspect import eval_shape
from tracegrad.transforms.jit.numpy import jit
from tracegrad.transforms.linearize import jvp, vjp
from tracegrad.transforms.vmap import vmap

# What NumPy computes in several steps, and a traced function in others: their sums are rounded otherwise, or taken in another
# order, since what is summed up lies otherwise in memory, as what a mask selects does, among what it leaves out. (See `jit`. It
# says that of copies of what is not in C order, too.)
COMPOSED = ("inner", "dot", "norm", "einsum", "nan_to_num", "nansum")
SELECTS = r"\w\[~?\(?\w+ [<>!]"  # x[y > 0], x[~(y > 0)], x[y != 0]
# What copies, which lies in C order in NumPy, and as the array does in a traced function.
COPYING = ("np.copy", "np.select")
# What says that a program is not taken, and why.
REFUSED = (
    ConcretizationTypeError,
    DifferentiationError,
    DtypeError,
    TracerArrayConversionError,
    UnsupportedFunctionError,
)


# What else is an answer: no value is given where NumPy has one.
SAID = (
    "nothing to take it of",
    "needs a value where that is nothing",
    "depends on memory layout",
    "would be a float in plain Python",
    "must be of integer",
    "which of the two this is",
    "would write a traced array into a plain one",
    "could not broadcast input array",
)


def _is_said(error: Exception) -> bool:
    """Whether it says that the program is not taken, or why there is no value."""
    return isinstance(error, REFUSED) or any([said in str(error) for said in SAID])


def _agree(a: Any, b: Any, noisy: Sequence[Any] = (), signs: bool = True) -> Any:
    """Where two arrays agree to almost all digits, NaN with NaN and zeros in their signs, or differ no more from each other
    than `b` does from what noise makes of it."""
    if a.dtype.kind == "c":
        (ar, br, *real), (ai, bi, *imag) = [[part(x) for x in (a, b, *noisy)] for part in (np.real, np.imag)]
        return _agree(ar, br, real, signs) & _agree(ai, bi, imag, signs)
    same = a == b
    if a.dtype.kind == "f":
        same = np.isclose(a, b, 300 * np.finfo(a.dtype).eps, 0, equal_nan=True)
        if signs:
            same &= (a != 0) | (b != 0) | (np.signbit(a) == np.signbit(b))
    for x in noisy:
        moved = np.abs(np.subtract(x, b, dtype=np.longdouble))
        same |= (moved > 0) & (np.abs(np.subtract(a, b, dtype=np.longdouble)) <= 3 * moved)
        if a.dtype.kind == "f":
            same |= np.isfinite(x) != np.isfinite(b)
    return same


def _differ(
    got: Any, expected: Any, exactly: bool, elsewise: Sequence[Any] = (), noisy: Sequence[Any] = ()
) -> str | None:
    """In what two results differ: to the bit, or by more than what noise makes of them; but for elements on which NumPy's
    other ways to the same disagree."""
    for number, (a, b) in enumerate(zip(leaves_of(got), leaves_of(expected), strict=True)):
        if b is None or isinstance(b, str | np.dtype | type):
            continue
        a, b = np.asarray(a), np.asarray(b)
        if a.dtype != b.dtype:
            return f"dtype {a.dtype}, not {b.dtype}"
        others, moved = [[np.asarray(leaves_of(x)[number]) for x in found] for found in (elsewise, noisy)]
        others, moved = [[x for x in found if x.dtype == b.dtype] for found in (others, moved)]
        if any([x.shape != b.shape for x in (*others, *moved)]):
            return None  # a shape that depends on what is not defined, or on rounding
        if a.shape != b.shape:
            return f"shape {a.shape}, not {b.shape}"
        if b.dtype.kind == "O":
            if a.tolist() != b.tolist():
                return f"{a}, not {b}"
            continue
        if exactly:
            same = _agree(a, b) & ((a == b) | (a != a))
        else:
            same = _agree(a, b, moved, signs=False)
            if a.dtype.kind == "c":  # infinity times a complex number is whatever the order makes it
                same |= ~np.isfinite(a) & ~np.isfinite(b)
        rounded = moved if b.dtype.kind in "fc" else ()
        known = np.all([np.ones(b.shape, bool), *[_agree(x, b, rounded) for x in others]], 0)
        if not np.all(same | ~known):
            return f"{a}, not {b}"
    return None


def _digits(case: Case, args: Sequence[Any]) -> float:
    """The coarsest rounding on the way."""
    found = [*args, *[leaf for _, value, _ in steps_of(case, args) for leaf in leaves_of(value)]]
    dtypes = [x.dtype for x in found if isinstance(x, np.ndarray | np.generic)]
    return max([float(np.finfo(dtype).eps) for dtype in dtypes if dtype.kind in "fc"], default=0.0)


def _is_of_known_scalar(case: Case, error: Exception) -> bool:
    """Whether NumPy, asked for a traced element of one of its own scalars, says that the index is none, whatever a tracer says of
    itself: while tracing, and not when a program is run."""
    text = "invalid index to scalar variable."
    if type(error) is not IndexError or str(error) != text:
        return False
    _, traced = run(lambda *args: eval_shape(case.program, *args), case.args())
    return type(traced) is IndexError and str(traced) == text


def _has_mean_of_integers(case: Case, values: Sequence[Any]) -> bool:
    """Whether NumPy adds up integers as it casts them, buffer by buffer."""
    kinds = [x.dtype.kind for value in (*case.args(), *values) for x in map(np.asarray, leaves_of(value))]
    return re.search(r"\b(mean|var|std)\(", case.source) is not None and not set(kinds).isdisjoint("iub")


def _sums_in_another_dtype(case: Case) -> bool:
    """Whether the weights of an average are of another dtype than their sum, which NumPy casts as it adds them up."""
    made = dict(zip(case.names, case.args(), strict=True))
    for number, value, _ in steps_of(case, case.args()):
        target, text = case.lines[number]
        found = re.search(r"np\.average\(\w+, weights=(\w+)\)", text)
        if found and np.asarray(made[found[1]]).dtype != np.asarray(value).dtype:
            return True
        made[target] = value
    return False


def _lies_in_c_order(case: Case) -> bool:
    """Whether all on the way does."""
    values = [value for _, value, _ in steps_of(case, case.args())]
    return all([x.flags.c_contiguous for x in leaves_of([*case.args(), *values]) if isinstance(x, np.ndarray)])


def _leaves_its_kind(case: Case) -> bool:
    """Whether a Python number on the way is one that no traced number of the operands' kinds can be."""
    is_complex = "1j" in case.source or any([np.asarray(x).dtype.kind == "c" for x in case.args()])
    made = dict(zip(case.names, case.args(), strict=True))
    for number, value, _ in steps_of(case, case.args()):
        target, text = case.lines[number]
        of_ints = all([type(made[name]) in (int, bool) for name in re.findall(r"\w+", text) if name in made])
        made[target] = value
        for x in leaves_of(value):
            if isinstance(x, str | np.dtype | type | None):
                continue
            is_long = np.asarray(x).dtype.kind == "O" or (type(x) is int and not -(2**63) <= x < 2**63)
            is_quotient = type(x) is float and " ** " in text and of_ints
            # A complex number of Python's takes np.float64, such as np.prod(()), for a float of Python's.
            is_quotient |= type(x) is complex and "np.prod(" in text
            if is_long or is_quotient or (type(x) is complex and not is_complex):
                return True
    return False


def _is_of_dead_code(case: Case, got: Any) -> bool:
    """Whether what a function gives, where NumPy raises, is what its other lines make of any values in the place of those that
    raise."""
    for seed in range(3):
        rng = np.random.default_rng(seed)

        def drawn(line: int, rng: np.random.Generator = rng) -> Any:
            found = eval_shape(case.made(case.up_to(line + 1)), *case.args())
            return tree.tree_map(lambda x: np.asarray(rng.integers(0, 5, x.shape)).astype(x.dtype), found)

        try:
            *_, (_, value, does) = steps_of(case, case.args(), drawn)
        except REFUSED:  # of what type it is depends on values
            return False
        if not does or _differ(got, value, exactly=False) is not None:
            return False
    return True


def check_case(case: Case, backends: Sequence[str] = ("numpy",)) -> str:
    """Hold a case against plain NumPy.

    Returns:
        "ran", or "refused" where NumPy has no result, or tracegrad said that it does not take it.

    Raises:
        AssertionError: what differs.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return _check_case(case, backends)


# Values without axes, as they come, as numbers all, and as arrays all: what each line reads.
ZERO_AXES: dict[str, Callable[[str, Any], Any]] = {
    "as given": lambda name, x: x,
    "numbers": lambda name, x: x[()] if type(x) is np.ndarray and not x.shape else x,
    "arrays": lambda name, x: np.asarray(x) if isinstance(x, np.generic) else x,
}


def _check_case(case: Case, backends: Sequence[str]) -> str:
    expected, failure = run(case.program, case.args())
    others: dict[str, tuple[list[Any], Any, Exception | None]] = {"as given": (case.args(), expected, failure)}
    ran = False

    def asked(how: str) -> tuple[list[Any], Any, Exception | None]:
        """The arguments, and what plain NumPy makes of them, or raises, with values without axes of one kind."""
        if how not in others:
            args = [ZERO_AXES[how]("", x) for x in case.args()]
            found = reread(case, args, ZERO_AXES[how])
            others[how] = (args, found[0], None) if found else (args, *run(case.program, args))
        return others[how]

    def judge(got: Any, error: Exception | None, how: str, exactly: bool, on_xla: bool) -> str | None:
        args, expected, failure = asked(how)
        if error is not None:
            is_said = _is_said(error) or _is_of_known_scalar(case, error)
            return None if failure is not None or is_said else f"raises {type(error).__name__}: {error}"
        if failure is not None:
            # A tracer takes more than a scalar of Python's does, and gives infinity or NaN where that raises; one without axes
            # is a scalar, and not an array that `+=` cannot make larger. What depends on values is no error on XLA.
            allowed: tuple[str, ...] = (
                "non-broadcastable",
                "setting an array element",
                "float NaN to integer",
                "float infinity",
                "3-dimensional vectors",  # np.cross until NumPy 2.5 took vectors of two components, as traced functions do
            )
            if on_xla:
                allowed += ("negative integer powers", "negative shift count", "out of bounds")
            if isinstance(failure, TypeError | AttributeError | ZeroDivisionError) or any(
                [said in str(failure) for said in allowed]
            ):
                return None
            if "zero-size array" in str(failure) and re.search(SELECTS, case.source):
                return None  # NaN is the largest of what a mask selects, of whose type alone is known, where that is nothing
            if all([np.size(x) == 0 for x in leaves_of(got)]) and isinstance(failure, OverflowError):
                return None  # about a number that is written nowhere
            return None if _is_of_dead_code(case, got) else f"gives {got}, where NumPy raises {failure!r}"
        difference = _differ(got, expected, exactly)
        if difference is not None:
            # Numbers on the way have NumPy's scalar arithmetic, which is not that of its arrays to the last bit.
            values = [value for _, value, _ in steps_of(case, args)]
            exactly = exactly and all(map(np.ndim, values[:-1])) and not _has_mean_of_integers(case, values)
            difference = _differ(got, expected, exactly, elsewise(case, args, on_xla), noisy_results(case, args))
        return None if difference is None else f"gives {difference}"

    def hold(what: str, function: Callable[..., Any], exactly: bool = True, on_xla: bool = False) -> None:
        nonlocal ran
        args = case.args()
        got, error = run(function, args)
        for x, y in zip(args, case.args(), strict=True):
            if type(x) is np.ndarray and not np.array_equal(x, y, equal_nan=x.dtype.kind in "fc"):
                raise AssertionError(f"{what} wrote into its argument\n{case!r}")
        wrong = judge(got, error, "as given", exactly, on_xla)
        if wrong is None:
            ran = ran or (error is None and failure is None)
            return
        if None in [judge(got, error, how, exactly, on_xla) for how in ("numbers", "arrays")] or _leaves_its_kind(case):
            return
        raise AssertionError(f"{what} {wrong}\n{case!r}") from error

    hold("a traced function", lambda *args: vjp(case.program, *args)[0], exactly=False)
    # NumPy's scalars have arithmetic of their own, which is not that of its arrays to the last bit; products of complex ones
    # depend on how many there are.
    arrays = all([np.ndim(x) > 0 and x.dtype.kind != "c" for x in case.args()]) and "1j" not in case.source
    arrays = arrays and not any([name in case.source for name in COMPOSED])
    arrays = arrays and not re.search(SELECTS + r"[^]]*\](?! .?= )", case.source)  # and does not write there
    arrays = arrays and not re.search(
        r"np\.(sum|mean)\(\w+, where=", case.source
    )  # NumPy adds up what a mask leaves one by one
    arrays = arrays and (not any([name in case.source for name in COPYING]) or _lies_in_c_order(case))
    arrays = arrays and not _sums_in_another_dtype(case)
    hold("jit", jit(case.program, backend="numpy"), arrays)
    twice = jit(case.program, backend="numpy")
    hold("jit, called again,", lambda *args: (run(twice, args), twice(*args))[1], arrays)
    # XLA has no long double, and Python's bools are NumPy's there.
    if "xla" in backends and not any([type(x) is bool or np.asarray(x).dtype.char in "gG" for x in case.args()]):
        on_xla = jit(case.program, backend="xla")
        hold("jit on XLA", lambda *args: [np.asarray(x) for x in leaves_of(on_xla(*args))], exactly=False, on_xla=True)
    if ran:
        _check_rows(case)
        if case.mild:
            _check_derivatives(case)
    return "ran" if ran else "refused"


def _check_rows(case: Case) -> None:
    """vmap against a loop."""
    args = case.args()
    arrays = [i for i, x in enumerate(args) if type(x) is np.ndarray]
    if not arrays:
        return
    rows = [np.stack([x, np.flip(x)]) if i in arrays else x for i, x in enumerate(args)]
    axes = tuple([0 if i in arrays else None for i in range(len(args))])
    got, error = run(vmap(case.program, axes), rows)
    each = [run(case.program, [x[k] if i in arrays else x for i, x in enumerate(rows)]) for k in range(2)]
    if any([failure is not None for _, failure in each]):
        return
    if error is not None:
        if not (_is_said(error) or _is_of_known_scalar(case, error) or _leaves_its_kind(case)):
            raise AssertionError(f"vmap raises {type(error).__name__}: {error}\n{case!r}") from error
        return
    for k, (expected, _) in enumerate(each):
        row = tree.tree_map(lambda x, k=k: np.asarray(x)[k], got)
        if (difference := _differ(row, expected, exactly=False)) is None:
            continue
        given = [x[k] if i in arrays else x for i, x in enumerate(rows)]
        for read in ZERO_AXES.values():
            args = [read("", x) for x in given]
            found = reread(case, args, read)
            if found and _differ(row, found[0], False, elsewise(case, args), noisy_results(case, args)) is None:
                break
        else:
            if not _leaves_its_kind(case):
                raise AssertionError(f"vmap gives {difference}\n{case!r}")


def _jumps(f: Callable[..., Any], args: Sequence[Any], tangents: Sequence[Any], pushed: Any) -> bool:
    """Whether the derivative on both sides is another one than here, as at a kink."""
    beside = [
        jvp(f, tuple([x + h * t for x, t in zip(args, tangents, strict=True)]), tangents)[1] for h in (1e-6, -1e-6)
    ]
    return bool(np.all(np.abs(np.subtract(beside, pushed)) > 1e-4 * (1 + abs(pushed))))


def _check_derivatives(case: Case) -> None:
    """Forward against reverse, and against differences where the function is smooth."""
    args = [x.astype(np.float64) if isinstance(x, np.ndarray | np.generic) else float(x) for x in case.args()]
    rng = np.random.default_rng(case.seed)
    smooth = lambda *xs: np.sum(np.real(case.program(*xs)) * 1.0)
    tangents = tuple([rng.uniform(-1, 1, np.shape(x))[()] for x in args])
    pushed, error = run(lambda *xs: jvp(smooth, tuple(xs), tangents)[1], args)
    if error is not None:
        return
    value, pull = vjp(smooth, *args)
    cotangents = [np.asarray(c) for c in pull(np.ones_like(value))]
    pulled = sum([np.sum(c * t) for c, t in zip(cotangents, tangents, strict=True) if c.dtype.kind == "f"])
    close = min(max(1e-8, 1e4 * _digits(case, args)), 0.1)
    if not np.isfinite(value) or any([np.any(np.isinf(c)) for c in cotangents if c.dtype.kind == "f"]):
        return  # infinities that are added up, in the one mode or the other, may cancel
    if not np.allclose(pulled, pushed, close, close * (1 + abs(value)), equal_nan=True):
        if 0 in [np.size(x) for x in args]:
            return  # the sum over no elements of what is NaN for each is zero
        masks = re.search(r"where\(|" + SELECTS, case.source)
        if masks and np.isnan(pushed) and np.isfinite(pulled):
            return  # what a mask leaves out ends forwards in a sum, whose zero meets an infinity; backwards it comes last
        if masks and np.isnan(pulled) and np.isfinite(pushed) and "lax." in case.source:
            return  # of masks a loop's body knows nothing: backwards it gets zeros, which meet what is NaN there
        raise AssertionError(f"the reverse derivative {pulled} is not the forward one {pushed}\n{case!r}")
    at = lambda h: smooth(*[x + h * t for x, t in zip(args, tangents, strict=True)])
    steps = [0.0, 1e-4, -1e-4, 5e-5, -5e-5, 1e-5, -1e-5]
    runs = [run(at, [h]) for h in steps]
    if any([error is not None for _, error in runs]):
        return  # plain NumPy does not take what a tracer does, or has another shape there
    values = {h: found for h, (found, _) in zip(steps, runs, strict=True)}
    quotients = [(values[h] - values[-h]) / (2 * h) for h in (1e-4, 5e-5)]
    sided = [(values[h] - values[0.0]) / h for h in (1e-5, -1e-5)]
    size = 1 + abs(pushed) + abs(value)
    is_smooth = np.all(np.isfinite([*quotients, *sided, value])) and np.ptp(quotients) < 1e-6 * size
    if is_smooth and np.ptp(sided) < 1e-3 * size and abs(quotients[1] - pushed) > 1e-4 * size and close == 1e-8:
        if re.search(r"np\.(clip|median|sort|unique)\(|\.sort\(", case.source) and _jumps(
            smooth, args, tangents, pushed
        ):
            return  # where several are equal, the derivative by convention is no one-sided one's
        raise AssertionError(f"the derivative {pushed} is not that of differences, {quotients[1]}\n{case!r}")
