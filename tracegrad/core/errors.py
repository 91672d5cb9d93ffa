"""What users see when something is wrong, and the source lines that every such text names."""

from __future__ import annotations

import ast
import contextlib
import inspect
import linecache
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dis import opmap
from sys import _getframe
from types import CodeType, FrameType, TracebackType
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.context import EQUATION, context


class ShapeError(ValueError):
    """Shapes, axes or indices that do not fit together."""


class DtypeError(TypeError):
    """A dtype that an operation or a transform cannot take."""


class DifferentiationError(TypeError):
    """Something that cannot be differentiated as asked: a non-scalar output, an integer input, a missing rule."""


class ConcretizationTypeError(TypeError):
    """A value was needed (`if`, `float()`, a shape) where there is only a type, or where taking it loses a derivative."""


class ImpureTraceError(RuntimeError):
    """A function did something while it was traced that a program made of it would not do again."""


class FrozenRandomError(ImpureTraceError, ConcretizationTypeError):
    """A random number was drawn from a generator of NumPy's or Python's while a function was traced, which would make it a constant."""


class TracerArrayConversionError(TypeError):
    """NumPy wanted to turn a tracer into a plain array, which would cut it off from the derivative."""


class UnexpectedTracerError(RuntimeError):
    """A tracer was used after the transform that made it had returned: it leaked."""


class UnsupportedFunctionError(TypeError):
    """A NumPy function, or a way of calling it, that tracegrad does not trace."""


class GraphError(ValueError):
    """A Graph that is not well-formed or not well-typed."""


class PrecisionWarning(UserWarning):
    """A float64 result went out to a process in which jax computes in float32."""


class KeyReuseWarning(UserWarning):
    """Numbers were drawn twice from one random key in what is traced, so that they depend on each other."""


class PathsWarning(UserWarning):
    """A jitted function has met more paths through its branches than there are programs for."""


def spot(file: str, line: int) -> str:
    """A line as Python's tracebacks call it, or IPython's where it is in a cell: `Cell In[2], line 3`."""
    cell = _cell(file)
    return f"{file}:{line}" if cell is None else f"{cell[0]} {cell[1]}, line {line}"


def _cell(file: str) -> tuple[str, str] | None:
    """What IPython, if this is it, calls a cell whose code has this file name: the kind and the name."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return None if shell is None else shell.compile.format_code_name(file)


class Source(NamedTuple):
    """A place in the user's code."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{spot(self.file, self.line)} (in {self.function})"

    @property
    def short(self) -> str:
        cell = _cell(self.file)
        return f"{os.path.basename(self.file) if cell is None else cell[1]}:{self.line}"

    @property
    def text(self) -> str:
        """What stands there."""
        return linecache.getline(self.file, self.line).strip()


class Imported(Source):
    """A place whose equations were written in jax (`from_jax`). NumPy's warnings are not told of it: jax knows none, and what is
    written for it computes both sides of a choice."""

    __slots__ = ()

    @property
    def short(self) -> str:
        return f"{super().short} (jax)"


# What is kept for each recorded op: a code object and an offset into it. Finding the line waits until somebody asks; of what
# has been pickled it is known.
Location = tuple[CodeType, int] | Source
# Of a place that called another: which of the calls that ran it was, and how many scopes were open. (Only with `frames=True`.)
Call = tuple[CodeType, int, int, int] | Source
CALL = 4
# And, where there is more to know than that: the names of the scopes it is in, how many derivative rules deep it was
# recorded, the op whose rule the innermost of these is, and the lines that called, from the innermost on.
RawSource = Location | tuple[Location, tuple[str, ...], int, Any, tuple[Call, ...]]
WITH_ORIGIN = 5


_HIDDEN: tuple[str, ...] = (
    os.path.dirname(os.path.dirname(__file__)) + os.sep,
    os.path.dirname(np.__file__) + os.sep,
    "<tracegrad ",
)
# Whether a file's lines are anybody's but the user's, for so many of the files that have been met: a session makes new names
# for ever, one a cell and one a compiled function.
_internal: dict[str, bool] = {}
KNOWN_FILES = 256
# Libraries that call functions of others', and NumPy's: where the user calls them is where the line is.
_LIBRARIES = (
    "scipy", "jax", "jaxlib", "pandas", "sklearn", "matplotlib", "einops", "array_api_compat", "array_api_extra", "opt_einsum", "xarray", "optax", "chex", "flax",
    "equinox", "jaxtyping", "keras",
)  # fmt: skip
_STANDARD = os.path.dirname(os.__file__) + os.sep


def hide(directory: str) -> None:
    """Have lines of code below a directory never taken for the user's."""
    global _HIDDEN
    _HIDDEN = (*_HIDDEN, directory + os.sep)
    _internal.clear()


def is_hidden(filename: str) -> bool:
    """Whether it is a file of this library, of NumPy, or of another one that is hidden."""
    return filename.startswith(_HIDDEN)


def is_of_a_library(filename: str) -> bool:
    """Whether it is a file of this library, of Python's, or of one that is known to call functions."""
    answer = _internal.get(filename)
    if answer is None:
        if len(_internal) >= KNOWN_FILES:
            _internal.clear()
        answer = _internal[filename] = is_hidden(filename) or _is_of_another(filename)
    return answer


def _is_of_another(filename: str) -> bool:
    """Whether a file is of Python's library, or of one of `_LIBRARIES`; its code runs, so it is loaded."""
    if filename.startswith(_STANDARD):
        return "-packages" not in filename
    found = [getattr(sys.modules.get(name), "__file__", None) for name in _LIBRARIES]
    return filename.startswith(("<frozen ", *[os.path.dirname(file) + os.sep for file in found if file]))


def is_of_the_user(filename: str) -> bool:
    """Whether a file is none of a library's that is installed, nor of Python's."""
    return "-packages" not in filename and not is_of_a_library(filename)


def ours(filename: str) -> bool:
    """Whether a file is this library's."""
    return filename.startswith(_HIDDEN[0])


def user_frame(passed: Callable[[str], bool] = is_of_a_library) -> FrameType:
    """The innermost frame of code in a file that is not to be `passed` by: the user's, if nothing else is said."""
    frame = _getframe(1)
    while frame.f_back is not None and (passed(frame.f_code.co_filename) or ours(frame.f_code.co_filename)):
        frame = frame.f_back
    return frame


def frames_here() -> Iterator[tuple[CodeType, int]]:
    """What is running, innermost first."""
    frame: FrameType | None = _getframe(1)
    while frame is not None:
        yield frame.f_code, frame.f_lasti
        frame = frame.f_back


def user_source(depth: int = 2) -> RawSource:
    """The innermost frame that is neither tracegrad's nor NumPy's, unless an interpreter is replaying another line. `depth` is
    how many frames need not be looked at, this one among them: of each that is, Python makes an object."""
    cell = context.cell
    if cell is not None:
        raw = cell[0]
        if raw is not None:
            if len(raw) == EQUATION:
                raw = cell[0] = _derived(raw, cell[1])
            return raw
    frame = _getframe(depth)
    code = frame.f_code
    while (hidden := _internal.get(code.co_filename)) is not False:
        if (hidden is None and not is_of_a_library(code.co_filename)) or frame.f_back is None:
            break
        frame = frame.f_back
        code = frame.f_code
    if cell is not None and type(cell[1]) is tuple:
        return (code, frame.f_lasti), cell[1], 0, None, () if cell[2] is None else cell[2].of(frame)
    return code, frame.f_lasti


class Calls:
    """The calls that lead from the frame `last` to where something is recorded: what is kept with `frames=True`. Each frame that was
    met has a number, and is kept so that no other is taken for it. `scopes` is how many were open outside, `openers` are the frames
    that opened the others."""

    __slots__ = ("last", "numbers", "openers", "scopes")

    def __init__(
        self,
        last: FrameType,
        scopes: int,
        numbers: dict[FrameType, int] | None = None,
        openers: tuple[FrameType, ...] = (),
    ) -> None:
        self.last, self.scopes, self.openers = last, scopes, openers
        self.numbers = {} if numbers is None else numbers

    def with_scope(self) -> Calls:
        """These, and a scope that the user's code opens now."""
        return Calls(self.last, self.scopes, self.numbers, (*self.openers, user_frame()))

    def of(self, frame: FrameType) -> tuple[Call, ...]:
        """The user's lines that called a frame, the innermost first; none of what a transform does around the user's function, which is
        of the line where that is called."""
        frames = [frame]
        while (outer := frame.f_back) is not self.last:
            if outer is None:
                return ()
            frame = outer
            if not is_of_a_library(frame.f_code.co_filename):
                frames.append(frame)
        opened = [self.scopes, *[0] * len(frames)]
        places = {f: i for i, f in enumerate(frames)}
        for opener in self.openers:
            opened[len(frames) - places.get(opener, len(frames) - 1)] += 1
        found: list[Call] = []
        total = 0
        for i in range(len(frames) - 1, 0, -1):
            outer, inner = frames[i], frames[i - 1]
            total += opened[len(frames) - i] + (opened[0] if not found else 0)
            found.append((outer.f_code, outer.f_lasti, self.numbers.setdefault(inner, len(self.numbers)), total))
        return tuple(found[::-1])


def location_of(raw: Any) -> Location:
    """The line alone."""
    return raw[0] if len(raw) == WITH_ORIGIN else raw


def origin(raw: RawSource | int | None) -> tuple[tuple[str, ...], int, Any, tuple[Call, ...]]:
    """The scopes of an equation, its phase, the op whose rule recorded it, and the lines that called."""
    return raw[1:] if type(raw) is tuple and len(raw) == WITH_ORIGIN else ((), 0, None, ())  # type: ignore[return-value]


def _derived(eqn: Any, derives: bool) -> Any:
    """The source of what the derivative rule of an equation records: its line and scopes."""
    out = eqn[4]
    raw = (out[0] if eqn[0].multiple_results else out).source
    if not derives or raw is None or isinstance(raw, int):
        return raw
    scope, phase, _, callers = origin(raw)
    return location_of(raw), scope, phase + 1, eqn[0], callers


def derivative(raw: RawSource | None) -> RawSource | None:
    """The source of what is recorded for the derivative of a Graph, if it is not that of a derivative rule."""
    if raw is None:
        return None
    scope, phase, of, callers = origin(raw)
    return location_of(raw), scope, max(phase, 1), of, callers


def within_scope(raw: RawSource | None, scope: tuple[str, ...]) -> RawSource | None:
    """The source of an equation that has been put into further scopes."""
    if raw is None:
        return None
    inner, *others = origin(raw)
    return location_of(raw), (*scope, *inner), *others


def resolve(raw: RawSource | Call | int | None) -> Source | None:
    """The file, line and function behind a raw source; None for a trace's input, which is known by its number."""
    if raw is None or isinstance(raw, int):
        return None
    raw = location_of(raw)
    if isinstance(raw, Source):
        return raw
    code, offset = raw[:2]
    line = _lines_of(code)[offset // 2]
    return Source(code.co_filename, line or code.co_firstlineno, code.co_name)


_latest: tuple[Any, list[int | None]] = None, []


def _lines_of(code: CodeType) -> list[int | None]:
    """The line of each instruction; of the latest code that was asked for they are known."""
    global _latest
    known, lines = _latest
    if known is not code:
        lines = [position[0] for position in code.co_positions()]
        _latest = code, lines
    return lines


# `y[i] = x`, and `y[i:j] = x` from Python 3.12 on.
_ASSIGN = frozenset([opmap[name] for name in ("STORE_SUBSCR", "STORE_SLICE") if name in opmap])


def assigns(raw: RawSource) -> bool:
    """Whether what runs there is an assignment to an element or to a slice, `y[i] = x`."""
    raw = location_of(raw)
    if isinstance(raw, Source):
        return False
    code, offset = raw
    return code.co_code[offset] in _ASSIGN


def at(raw: RawSource | int | None) -> str:
    """` at file:line (in f)`, or nothing where no line is known."""
    source = resolve(raw)
    return "" if source is None else f" at {source}"


def name_of(function: Any, otherwise: str = "f") -> str:
    """The name that a function bears, if it bears one: a callable may have anything for its `__name__`."""
    name = getattr(function, "__name__", None)
    return str.__str__(name) if isinstance(name, str) else otherwise


def text_at(code: CodeType, offset: int) -> str:
    """The source of what code is at, from where it begins; nothing where nobody has it."""
    line, end, start, stop = list(code.co_positions())[offset // 2]
    if line is None or end is None or start is None or stop is None:
        return ""
    lines = [linecache.getline(code.co_filename, n).encode() for n in range(line, end + 1)]
    lines[-1] = lines[-1][:stop]
    return b"".join(lines)[start:].decode(errors="replace")


def called_at(code: CodeType, offset: int, otherwise: str) -> str:
    """What code calls where it is, as it stands in the source, if that is short: `tg.lax.scan`, `tg.vmap(f)`, `tg.vmap(...)`."""
    with contextlib.suppress(SyntaxError):
        call = ast.parse(text_at(code, offset).strip(), mode="eval").body
        if isinstance(call, ast.Call):
            texts = [ast.unparse(call.func)]
            if isinstance(call.func, ast.Call):
                texts.append(f"{ast.unparse(call.func.func)}(...)")
            return next((text for text in texts if len(text) < 60), otherwise)
    return otherwise


def instead_of_jax(frames: Iterable[tuple[CodeType, int]]) -> tuple[str, str]:
    """Where the user calls what is written in jax, and what to write in its place. The frames are those that lead there, innermost
    first; libraries written in jax are passed by."""
    found = next((f for f in frames if is_of_the_user(f[0].co_filename)), None)
    function = "fun" if found is None else called_at(*found, "fun")
    return at(found), (
        f"jax functions take no tracegrad tracers; wrap it: tg.from_jax({function}). Or write NumPy's function, tnp's or "
        "tg.lax's, in place of jax.numpy's and jax.lax's"
    )


def described(function: Any) -> str:
    """A user's function by name and the line where it is defined, also under wrappers such as `grad(f)`."""
    qualified = getattr(function, "__qualname__", None)
    name = (isinstance(qualified, str) and qualified) or name_of(function, type(function).__name__)
    with contextlib.suppress(ValueError):  # of one that wraps itself
        function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType) or is_hidden(code.co_filename):  # of a library's nobody wants to know the line
        return f"{name!r}"
    return f"{name!r} ({spot(code.co_filename, code.co_firstlineno)})"


def require_callable(function: Any, transform: str, call: str = "(f)(x)") -> None:
    """TypeError for a transform of what is no function: most often the result of one."""
    if not callable(function):
        raise TypeError(
            f"{transform}{at(user_source())} takes a function, got the {type(function).__name__} "
            f"{clip(repr(function))}; write tg.{transform}{call} with the function itself, not with f(x)"
        )


def clip(text: str, width: int = 200) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


# What NumPy and the type rules raise for arguments that do not fit.
CALL_ERRORS = (ValueError, TypeError, IndexError, ArithmeticError, NotImplementedError)


# And what an object of another kind raises, of which a public function asks for what arrays have.
PUBLIC_ERRORS = (*CALL_ERRORS, AttributeError)


def raised_by(error: Exception) -> tuple[CodeType, int]:
    """Where an error was raised."""
    found = error.__traceback__
    assert found is not None
    while found.tb_next is not None:
        found = found.tb_next
    return found.tb_frame.f_code, found.tb_lasti


def annotate(error: Exception, what: str, source: RawSource | None = None) -> None:
    """Tell in an error's text in which call of the user's it arose, unless it is the user's own or tells already."""
    if source is None and not is_of_a_library(raised_by(error)[0].co_filename):
        return
    where = at(user_source() if source is None else source)
    if where in str(error):
        return
    if isinstance(error, np.exceptions.AxisError) and error.axis is not None and error.ndim is not None:
        np.exceptions.AxisError.__init__(error, error.axis, error.ndim, f"{what}{where}")
    elif len(error.args) == 1 and isinstance(error.args[0], str):
        error.args = (f"{error.args[0]}\n  in {what}{where}",)
    else:
        error.add_note(f"in {what}{where}")


_PLACED = re.compile(r" at .+:\d+ \(in ")


def annotate_public(error: Exception, name: str) -> None:
    """Tell in the text of an error of a public function where the user called that, unless it arose in a function of the
    user's or its text names a line already."""
    step = error.__traceback__
    while step is not None:
        if not is_of_a_library(step.tb_frame.f_code.co_filename):
            return
        step = step.tb_next
    if not _PLACED.search(str(error)):
        annotate(error, name)


def _room_of(module: str) -> str:
    return "scipy.special" if module.startswith("scipy.special") else "lax"


def unsupported(function: Any, how: str = "", of: Any = None) -> UnsupportedFunctionError:
    """The error for a NumPy function that is not traced, or not when called this way."""
    module = getattr(function, "__module__", None) or _module_of(function)
    name = getattr(function, "__name__", repr(function))
    kind = "ufunc" if isinstance(function, np.ufunc) else "function"
    called = "" if of is None else f", called with {of.described()}"
    listed = "`tracegrad.numpy` lists what is" if module.startswith("numpy") else f"`tg.{_room_of(module)}` has what is"
    fix = (
        f"{listed}. If the {kind} matters to you, make one of it that is not traced and has a derivative, "
        "`tg.external(f, out=..., vjp=...)`, or call it on values that are not being traced."
    )
    if module.startswith("numpy") and name in REASONS:
        fix = REASONS[name]
    elif instead := for_series(function):
        fix = f"{instead.removesuffix('.')} (with `import tracegrad.numpy as tnp`)."
    arguments = ("x", "x, y")[function.nin == 2] if isinstance(function, np.ufunc) and function.nin < 3 else "..."
    if "out=" in how:
        fix = f"In place of `np.{name}(..., out=y)` write `y = np.{name}(...)`."
    elif "where=" in how and kind == "ufunc":
        fix = f"In place of `np.{name}({arguments}, where=c)` write `np.where(c, np.{name}({arguments}), 0)`."
    elif kind == "ufunc" and all([set(types) <= set("O->") for types in function.types]):
        fix = "What np.frompyfunc makes has arrays of objects for results, which carry no derivative: write np.vectorize(f)."
    elif how == ".at" and name in _AT:
        fix = (
            f"In place of `np.{name}.at(y, i, v)` write `y = tnp.at(y)[i].{_AT[name]}` (import tracegrad.numpy as tnp). Into a y that the "
            "function makes by `tnp.zeros(n)`, or by np.zeros in `tg.numpyize(f)`, it can be written as it stands."
        )
    elif how == ".at":
        fix = (
            "Elements that the index names several times are written to one after the other, for which its values must be known. "
            f"Where it names none twice, write `y = tnp.at(y)[i].set(np.{name}(y[i], v))` (import tracegrad.numpy as tnp)."
        )
    return UnsupportedFunctionError(f"{module}.{name}{how} is not traced{at(user_source())}{called}.\n  {fix}")


_FILES = "What is traced need not have values, and files carry no derivative: return the array, and save it outside."
_DATES = "Dates and times are no numbers that could be traced: compute what you need of them outside."
# Why functions of NumPy's are not traced, and what to write instead.
REASONS = {
    **dict.fromkeys(("save", "savetxt", "savez", "savez_compressed"), _FILES),
    "asmatrix": "What is traced is no matrix: write `x @ y` for products of plain arrays, and np.block for np.bmat.",
    "as_strided": "What is traced is no memory: write np.lib.stride_tricks.sliding_window_view(x, n), or x[i] with an array i.",
    **dict.fromkeys(("busday_count", "busday_offset", "datetime_as_string", "is_busday", "isnat"), _DATES),
}

# Families of numpy.polynomial by the module that has one, and how the names of its functions begin.
_SERIES = {
    "chebyshev": "cheb", "hermite": "herm", "hermite_e": "herme", "laguerre": "lag", "legendre": "leg", "polynomial": "poly"
}  # fmt: skip


def for_series(function: Any) -> str:
    """What to write in place of a function of numpy.polynomial that evaluates a series, or of its classes; "" of any other."""
    name, family = getattr(function, "__name__", ""), (getattr(function, "__module__", None) or "").rpartition(".")[2]
    if family not in _SERIES or getattr(np.polynomial, family) is not sys.modules[function.__module__]:
        return ""
    if isinstance(function, type):
        return f"Write `tnp.polynomial.{family}.{_SERIES[family]}val(x, p.convert().coef)` in place of `p(x)`."
    if not re.fullmatch(_SERIES[family] + r"(val([23]d)?|grid[23]d)", name):
        return ""
    return (
        f"Write `tnp.polynomial.{family}.{name}(...)`, which takes traced arrays too (import tracegrad.numpy as tnp)."
    )


def _module_of(ufunc: Any) -> str:
    """Where a ufunc is from, which does not know that itself."""
    name = getattr(ufunc, "__name__", "")
    modules = ("numpy", "scipy.special", "ml_dtypes")
    return next((m for m in modules if getattr(sys.modules.get(m), name, None) is ufunc), "numpy")


_AT = {
    "add": "add(v)", "divide": "divide(v)", "maximum": "max(v)", "minimum": "min(v)", "multiply": "multiply(v)",
    "power": "power(v)", "subtract": "add(-v)",
}  # fmt: skip


def hidden_behind(error: Exception) -> Exception | None:
    """Our own error where somebody puts one of his own in its place, or knows less: NumPy runs `float(x)` for `y[i] = x`, and
    for a size it asks `x` for an index, and both times reports something else of its own when that fails; jax says of a
    tracer that it is none of its arrays, and an ndarray that it has no `at`."""
    if isinstance(error, AttributeError):
        if error.name != "at" or type(error.obj) is not np.ndarray:
            return None
        return AttributeError(
            f"a plain NumPy array has no .at, asked for{at(_raised_by_user(error))}; write `tnp.at(x)[i].set(v)`, which takes "
            "traced arrays and plain ones (with `import tracegrad.numpy as tnp`)"
        )
    text = str(error)
    if text == "setting an array element with a sequence.":
        cause = error.__cause__
        if isinstance(cause, ConcretizationTypeError | TracerArrayConversionError | UnexpectedTracerError):
            return cause
    if (
        isinstance(error, TypeError)
        and text.startswith("Multiple namespaces for array inputs")
        and __package__[:9] in text
    ):
        return TypeError(
            f"a library that is written to the array API standard was given traced arrays beside plain ones"
            f"{at(_raised_by_user(error))}, or has made such itself, and takes arrays of one namespace only. Make a plain array `y` a "
            "traced constant by `np.asarray(y, like=x)`, where x is traced; if there is none, the function cannot be traced."
        )
    sized = "or a single integer, got '<traced " in text or "a real number is required, not Tracer" in text
    if isinstance(error, TypeError) and sized and context.refused:
        return ConcretizationTypeError(context.refused)
    if isinstance(error, TypeError) and "tracegrad.core.tracer.Tracer'>" in text:
        where, fix = instead_of_jax(raised_through(error)[::-1])
        return TracerArrayConversionError(
            f"a function of jax's was called{where} with an array that tracegrad traces, which jax does not know.\n  {fix} (with "
            "`import tracegrad.numpy as tnp`)."
        )
    return None


def _raised_by_user(error: Exception) -> RawSource | None:
    """The innermost line of the user's among those that an error came by."""
    return next((f for f in raised_through(error)[::-1] if not is_of_a_library(f[0].co_filename)), None)


def raised_through(error: Exception) -> list[tuple[CodeType, int]]:
    """All that an error came by, the innermost last."""
    step: TracebackType | None = error.__traceback__
    found = []
    while step is not None:
        found.append((step.tb_frame.f_code, step.tb_lasti))
        step = step.tb_next
    return found
