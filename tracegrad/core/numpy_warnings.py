"""NumPy's warnings of overflow and the like, told of the user's line in place of ours.

Python says of a warning where the innermost Python function was that called NumPy, which here is one of ours, and tells of
each such place once. So our modules give notice instead: their `__warningregistry__`, in which Python would look whether it has told
already, is none, and Python raises a TypeError there before it has told anybody. This costs nothing where nothing is to be told.
Whoever runs an op or a rule catches that error (`has_warned`) and runs the same `again`, in a context of NumPy's in which
what would be a warning is handed to us with its text, and from there to `warnings.warn_explicit` with the user's file and line.
The user's np.errstate and filters decide as they do without us.
"""

from __future__ import annotations

import contextvars
import linecache
import sys
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np

from tracegrad.core.context import context
from tracegrad.core.errors import Imported, annotate, is_hidden, resolve

_NAME = "__warningregistry__"
_NONE = ()  # no registry, and falsy, so that those who clear all modules' registries leave it alone
_SAYS = "'registry' must be a dict or None"
# The name, in the namespace of generated functions, of the sources by the comments on their lines.
SOURCES = "__sources__"

_telling: contextvars.ContextVar[bool] = contextvars.ContextVar("telling", default=False)
_registries: dict[str, dict[Any, Any]] = {}  # of files that no module is known of


def watch(namespace: dict[str, Any]) -> None:
    """Have the warnings of functions with these globals noticed. Whatever runs such functions has to catch that."""
    namespace[_NAME] = _NONE


def watch_ops() -> None:
    """The same for all files of the op library that have been loaded."""
    ops = f"{__name__.partition('.')[0]}.ops."
    for name, module in list(sys.modules.items()):
        if name.startswith(ops):
            watch(module.__dict__)


def has_warned(error: BaseException) -> bool:
    """Whether an error is the notice of a warning."""
    return is_notice(error) and not _telling.get()


def is_notice(error: BaseException) -> bool:
    """Whether an error is such a notice, in what is being run again too."""
    return type(error) is TypeError and str(error).startswith(_SAYS)


def again(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`function(*args, **kwargs)`, which has warned, run anew with its warnings told."""
    quiet: list[dict[str, Any]] = []
    try:
        while True:
            try:
                return contextvars.copy_context().run(_told, function, args, kwargs)
            except TypeError as error:
                # What is no warning of NumPy's arithmetic is told of the line that it comes from.
                if not is_notice(error) or (namespace := _namespace_of(error)) is None:
                    raise
                quiet.append(namespace)
                del namespace[_NAME]
    finally:
        for namespace in quiet:
            watch(namespace)


def _namespace_of(error: TypeError) -> dict[str, Any] | None:
    """The globals that have no registry of the innermost function that an error passed through."""
    found, traceback = None, error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_globals.get(_NAME) is _NONE:
            found = traceback.tb_frame.f_globals
        traceback = traceback.tb_next
    return found


def _told(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    _telling.set(True)
    modes: Any = np.geterr()
    np.seterrcall(_Teller(np.geterrcall(), modes))
    told: Any = {kind: "log" for kind, mode in modes.items() if mode == "warn"}
    np.seterr(**told)
    return function(*args, **kwargs)


class _Teller:
    """What NumPy calls where a warning would be, and what it calls for the user."""

    def __init__(self, users: Any, modes: dict[str, str]) -> None:
        self._users = users
        self._is_users = {_KINDS[kind]: mode == "log" for kind, mode in modes.items()}

    def __call__(self, kind: str, flag: int) -> Any:
        return self._users(kind, flag)

    def write(self, text: str) -> None:
        what = text.removeprefix("Warning: ").rstrip("\n")
        if any([logs and what.startswith(kind) for kind, logs in self._is_users.items()]):
            self._users.write(text)
            return
        file, line, namespace = _place(sys._getframe(1))
        if line is None:
            return
        if namespace is None:
            registry, module = _registries.setdefault(file, {}), None
        else:
            registry, module = namespace.setdefault(_NAME, {}), namespace.get("__name__")
        warnings.warn_explicit(what, RuntimeWarning, file, line, module, registry)


_KINDS = {"divide": "divide by zero", "over": "overflow", "under": "underflow", "invalid": "invalid value"}


def source_in(frame: FrameType, line: int) -> Any:
    """Of which equation a line of a generated function is, None if it is none, or the function none of these."""
    sources = frame.f_globals.get(SOURCES)
    if sources is None:
        return None
    text = linecache.getline(frame.f_code.co_filename, line)
    return sources.get(text.rpartition("  # ")[2].strip())


def place_generated(error: Exception) -> None:
    """Tell in an error that was raised in a generated function, or below one, of which line of the user's."""
    source, traceback = None, error.__traceback__
    while traceback is not None:
        source = source_in(traceback.tb_frame, traceback.tb_lineno) or source
        file, traceback = traceback.tb_frame.f_code.co_filename, traceback.tb_next
    if source is not None and is_hidden(file):
        annotate(error, "jitted code", source)


def _place(frame: FrameType | None) -> tuple[str, int | None, dict[str, Any] | None]:
    """The user's file and line that something is computed for, and the globals of the code there, if they are known. No line
    where nothing is told."""
    start, last = frame, frame
    source = None
    while frame is not None and is_hidden(frame.f_code.co_filename):
        source = source or source_in(frame, frame.f_lineno)
        last, frame = frame, frame.f_back
    found = resolve(source if source is not None else context.source)
    if found is None:
        frame = last if frame is None else frame
        assert frame is not None
        return frame.f_code.co_filename, frame.f_lineno, frame.f_globals
    if type(found) is Imported:
        return found.file, None, None
    return found.file, found.line, _globals_of(found.file, start)


def _globals_of(file: str, frame: FrameType | None) -> dict[str, Any] | None:
    """The globals of the code of a file: of a function that is running, or of the module."""
    while frame is not None:
        if frame.f_code.co_filename == file:
            return frame.f_globals
        frame = frame.f_back
    if file not in _registries:
        for module in list(sys.modules.values()):
            if getattr(module, "__file__", None) == file:
                return module.__dict__
    return None
