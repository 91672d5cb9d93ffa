"""Random numbers of NumPy's and Python's generators, drawn while a function is traced: what the trace makes is run many times, and
would have the same numbers each time.

Nothing is patched, and nothing is looked for where nobody has a generator. What a function reaches (its names, closures, defaults,
the functions and objects in these) says whether it may draw at all. If so, the generators' states before and after the trace say
whether it has. Only then is it traced once more, line by line, to find the line: and if the generators stand where they stood
after the first time, the function has seeded them itself, so that it draws the same whenever it is called, traced or not.
"""

from __future__ import annotations

import dis
import functools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any, TypeVar

import numpy as np

from tracegrad.core.errors import FrozenRandomError, Source, described, is_of_a_library
from tracegrad.core.reached import NOTHING, cells_of, codes, names_read, walk

T = TypeVar("T")
State = Callable[[], Any]

# Names by which code gets at a generator that is made or imported in it.
_NAMES = frozenset(["random", "numpy.random", "default_rng", "RandomState", "Random"])
_MADE = frozenset(["default_rng", "RandomState", "Random"])  # by the system's seed, called with nothing
_MODULES = frozenset(["numpy.random", "random"])
_VALUES = frozenset([np.ndarray, np.ufunc, int, float, complex, bool, str, bytes, type(None), CodeType, range, slice])
_MANY = 64  # elements of a container up to which all are looked at


def without_drawing(
    function: Any, transform: str, trace: Callable[[], T], named: Any = None, for_rows: bool = False
) -> T:
    """What `trace()` returns, which calls a function of the user's, `named` so in errors, once for all calls or `for_rows`.
    FrozenRandomError where that draws from a generator that is not seeded in it."""
    states, unseeded = _reached(function)
    if not states and not unseeded:
        return trace()
    before = [state() for _, state in states]
    out = trace()
    after = [state() for _, state in states]
    changed = [(name, state) for (name, state), old, new in zip(states, before, after, strict=True) if old != new]
    if not changed and not unseeded:
        return out
    name, line = _found(trace, changed, unseeded)
    if line is None or (changed and name in dict(changed) and not _differ(states, after)):
        return out
    raise FrozenRandomError(
        f"{name} drew random numbers at {line}, while {transform} traced {described(named or function)}: "
        + (
            "all rows would have the same numbers."
            if for_rows
            else "what is run from then on would have the same numbers each time."
        )
        + (f"\n    {line.text}" if line.text else "")
        + "\n  Draw from a key, which is an argument: `tg.random.normal(key, shape)`, with another key for each "
        + (
            "row: `tg.vmap(f)(x, tg.random.split(key, len(x)))`."
            if for_rows
            else "call (`key, mine = tg.random.split(key)`)."
        )
        + "\n  Or draw outside, and pass the numbers in as an argument"
        + (", mapped or not: `f(x, rng.normal(size=len(x)))`." if for_rows else ": `f(x, rng.normal(size=shape))`.")
    )


def _differ(states: list[tuple[str, State]], after: list[Any]) -> bool:
    return [state() for _, state in states] != after


# ---------------------------------------------------------------------------------------------------------------------
# What a function may draw from.


def _reached(function: Any) -> tuple[list[tuple[str, State]], set[tuple[CodeType, int]]]:
    """The generators that a function reaches, by name, with what tells the state of each; and the lines in which one is made that
    nobody has seeded."""
    found: dict[int, tuple[str, State]] = {}
    unseeded: set[tuple[CodeType, int]] = set()
    is_global = False

    def look(name: str, x: Any) -> Iterable[tuple[str, Any]]:
        nonlocal is_global
        parts: Iterable[tuple[str, Any]] = ()
        if type(x) is FunctionType:
            parts = _parts_of_function(x)
            if _is_users(x) or x is function:
                for code in codes(x.__code__):
                    is_global = is_global or not _NAMES.isdisjoint(code.co_names)
                    if not _MADE.isdisjoint(code.co_names):
                        unseeded.update(_unseeded(code))
        elif type(x) is ModuleType:
            is_global = is_global or x.__name__ in _MODULES
        elif isinstance(x, type):
            pass
        elif (state := _state_of(x)) is not None:
            found[id(x)] = f"the generator {name}" if name.replace(".", "").isidentifier() else "a generator", state
        elif type(x) is MethodType or type(x) is BuiltinFunctionType:
            owner = x.__self__
            if (state := _state_of(owner)) is not None:  # `from numpy.random import normal`
                found[id(owner)] = f"the generator of {name or x.__name__}()", state
            elif type(x) is MethodType:
                parts = [("", x.__func__), ("self", owner)]
        else:
            parts = _parts_of(x, name)
        return [(label, part) for label, part in parts if type(part) not in _VALUES]

    is_all = walk(function, look)
    return [*found.values(), *(_global_states() if is_global or not is_all else ())], unseeded


def _is_users(function: FunctionType) -> bool:
    return not is_of_a_library(function.__code__.co_filename)


def _parts_of_function(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """What a function of the user's reads by name; of any, what it closes over, its default arguments, and what it wraps."""
    is_users = _is_users(function)
    if is_users:
        yield from [(label, name.value) for label, name in names_read(function, _is_open) if name.value is not NOTHING]
    else:
        yield from [("", name.value) for name in cells_of(function) if name.value is not NOTHING]
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    defaults = [
        *zip(names[::-1], (function.__defaults__ or ())[::-1], strict=False),
        *(function.__kwdefaults__ or {}).items(),
    ]
    yield from [(name if is_users else "", x) for name, x in defaults]
    yield "", vars(function).get("__wrapped__")


def _is_open(file: str) -> bool:
    return not is_of_a_library(file)


def _parts_of(x: Any, name: str) -> Iterable[tuple[str, Any]]:
    """What an object holds, and the methods of its class."""
    if isinstance(x, list | tuple | set | frozenset):
        return [(f"{name}[{i}]", part) for i, part in enumerate(x)] if len(x) <= _MANY else ()
    if isinstance(x, dict):
        return [(f"{name}[{k!r}]", part) for k, part in x.items()] if len(x) <= _MANY else ()
    if isinstance(x, functools.partial):
        return [(name, x.func), *_parts_of(x.args, name), *_parts_of(x.keywords, name)]
    held = getattr(x, "__dict__", None)
    parts = [(f"{name or 'self'}.{k}", part) for k, part in held.items()] if type(held) is dict else []
    methods = [f for c in type(x).__mro__ for f in vars(c).values() if type(f) is FunctionType and _is_users(f)]
    return [*parts, *[(name, f) for f in methods]]


def _state_of(x: Any) -> State | None:
    """What tells the state of a generator; None for anything else."""
    numpys, pythons = sys.modules.get("numpy.random"), sys.modules.get("random")
    if numpys is not None:
        if isinstance(x, numpys.RandomState):
            return lambda: _plain(x.get_state(legacy=False))
        if isinstance(x, numpys.Generator):
            return lambda: _plain(x.bit_generator.state)
        if isinstance(x, numpys.BitGenerator):
            return lambda: _plain(x.state)
    if pythons is not None and isinstance(x, pythons.Random) and not isinstance(x, pythons.SystemRandom):
        return x.getstate
    return None


def _global_states() -> Iterator[tuple[str, State]]:
    """The two generators that everybody has."""
    if (numpys := sys.modules.get("numpy.random")) is not None:
        yield "np.random", lambda: _plain(numpys.get_state(legacy=False))
    if (pythons := sys.modules.get("random")) is not None:
        yield "random", pythons.getstate


def _plain(state: Any) -> Any:
    """A state that can be compared."""
    if isinstance(state, dict):
        return [_plain(x) for x in state.values()]
    return state.tobytes() if isinstance(state, np.ndarray) else state


_PREPARES = ("PUSH_NULL", "PRECALL", "CACHE", "COPY_FREE_VARS", "NOP")


def _unseeded(code: CodeType) -> Iterator[tuple[CodeType, int]]:
    """The lines on which a generator is made without a seed, whatever else is true: `default_rng()`."""
    line, is_made = 0, False
    chooses: set[int] = set()  # lines that have jumped before; Python may put what they jump to behind other lines
    for instruction in dis.get_instructions(code):
        if instruction.positions is not None:
            line = instruction.positions.lineno or line
        name = instruction.opname
        if name in _PREPARES:
            continue
        if is_made and line not in chooses and name.startswith("CALL") and instruction.arg == 0:
            yield code, line
        is_made = instruction.argval in _MADE if isinstance(instruction.argval, str) else False
        if "JUMP" in name:
            chooses.add(line)


# ---------------------------------------------------------------------------------------------------------------------
# Where it has drawn.


def _found(
    trace: Callable[[], Any], changed: list[tuple[str, State]], unseeded: set[tuple[CodeType, int]]
) -> tuple[str, Source | None]:
    """Which generator the function draws from, and the line, by tracing it line by line. Other threads may draw as well: where there are
    any, only what comes out twice counts."""
    search = _Search(changed, unseeded)
    lines = search.run(trace)
    if lines and threading.active_count() > 1 and not unseeded and search.run(trace) != lines:
        return "", None
    return lines[0] if lines else ("", None)


class _Search:
    """Which lines change the state of a generator."""

    def __init__(self, states: list[tuple[str, State]], unseeded: set[tuple[CodeType, int]]) -> None:
        self.states = states
        self.unseeded = unseeded
        self.known: list[Any] = []
        self.lines: list[tuple[str, Source]] = []
        self.line: tuple[CodeType, int] | None = None

    def run(self, trace: Callable[[], Any]) -> list[tuple[str, Source]]:
        self.lines, self.line = [], None
        self.known = [state() for _, state in self.states]
        outer = sys.gettrace()
        sys.settrace(self._called)
        try:
            trace()
        except Exception:  # a function that cannot be called twice: what has been found is all there is
            pass
        finally:
            sys.settrace(outer)
        return self.lines

    def _called(self, frame: FrameType, event: str, arg: Any) -> Any:
        if is_of_a_library(frame.f_code.co_filename):
            return None
        self._look()
        return self._step

    def _step(self, frame: FrameType, event: str, arg: Any) -> Any:
        self._look()
        if event == "return":
            outer = frame.f_back
            while outer is not None and is_of_a_library(outer.f_code.co_filename):
                outer = outer.f_back
            self.line = None if outer is None else (outer.f_code, outer.f_lineno)
        else:
            self.line = frame.f_code, frame.f_lineno
        if event == "line" and (frame.f_code, frame.f_lineno) in self.unseeded:
            self.lines.append(("a generator that nobody has seeded", _source(frame.f_code, frame.f_lineno)))
        return self._step

    def _look(self) -> None:
        """Note the line that has been run, if the generators are not as they were before it."""
        if self.line is None:
            return
        for i, (name, state) in enumerate(self.states):
            if (now := state()) != self.known[i]:
                self.known[i] = now
                self.lines.append((name, _source(*self.line)))


def _source(code: CodeType, line: int) -> Source:
    return Source(code.co_filename, line, code.co_name)
