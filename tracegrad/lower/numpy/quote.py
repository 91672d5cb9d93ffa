"""What an op computes, as Python source that needs NumPy alone (and SciPy, for special functions).

An op's `evaluate` is a function of NumPy or SciPy, a function written at the top of a module, or a `functools.partial` of
one. The source of such a function stands as it is, with its comments; what it says of types is left out, and the functions and
constants that it speaks of come before it. So rules for evaluation must not close over anything, nor use what is ours alone:
tracers, ops, Graphs. Named tuples and exceptions are quoted like functions.

>>> from tracegrad.core.op import OPS
>>> import tracegrad.ops
>>> print(quoted(OPS["sin"]))
import numpy as np
<BLANKLINE>
<BLANKLINE>
sin = np.sin
"""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import inspect
import operator
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from itertools import pairwise
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from tracegrad.core import symbols
from tracegrad.core.errors import at, resolve, user_source
from tracegrad.core.generated import Names, line, literal, string
from tracegrad.core.late import imported
from tracegrad.core.op import Op
from tracegrad.lower.numpy.lines import header, laid_out
from tracegrad.ops.index import rounds
from tracegrad.ops.linalg.equal_values import Line
from tracegrad.ops.linalg.two_by_two import NUMPYS

_CACHED = type(functools.cache(len))


def range_length(start: int, stop: int, step: int) -> int:
    return len(range(start, stop, step))


def slice_indices(start: int | None, stop: int | None, step: int | None, size: int) -> tuple[int, int, int]:
    return slice(start, stop, step).indices(size)


def seen_before(array: object, shape: object, plan: object) -> None:
    return None


# What is written in place of what takes sizes of named axes, too, for which an op is evaluated with numbers; and of what remembers
# the index arrays of earlier calls.
INSTEAD: dict[Any, Callable[..., Any]] = {
    symbols.as_index: operator.index, symbols.broadcast_shapes: np.broadcast_shapes, symbols.number_in: int, symbols.text_of: str,
    symbols.range_length: range_length, symbols.slice_indices: slice_indices, rounds.seen_before: seen_before,
}  # fmt: skip


class NotQuotableError(TypeError):
    """What an op evaluates by cannot be written as source that needs NumPy alone."""


def quoted(op: Op) -> str:
    """The source of a module whose last line defines a function `(*arrays, **params)` of the same bits as the op's `evaluate`,
    under the op's name where that is none of Python's own.

    Raises:
        NotQuotableError: it evaluates by a lambda or a closure, or uses what is neither NumPy's nor Python's.
    """
    quotes = Quotes()
    evaluate = quotes.expression(op.evaluate, op.name)
    return f"{quotes.text()}{quotes.names.fresh(op.name, 'op')} = {evaluate}"


class Quotes:
    """The imports, constants and functions of a module that is being written, each of them once."""

    def __init__(self) -> None:
        self.names = Names({})
        self._imports: set[str] = set()
        self._definitions: list[str] = []
        self._known: dict[
            Any, tuple[str, Any]
        ] = {}  # by identity: the name, and the object, whose identity stays its own

    def text(self) -> str:
        """The module so far."""
        return module([*self.imports(), *self._definitions]) + "\n\n\n"

    def define(self, text: str) -> None:
        """A further definition, behind those that there are."""
        self._definitions.append(text)

    def definitions(self) -> list[str]:
        """The functions, classes and constants, each after those that it speaks of."""
        return self._definitions

    def imports(self) -> list[str]:
        """The imports, those of Python's own modules first."""
        own = [x for x in self._imports if x.split()[1].partition(".")[0] in sys.stdlib_module_names]
        return ["\n".join(sorted(group)) for group in (own, self._imports.difference(own)) if group]

    def expression(self, value: Any, wanted: str = "value") -> str:
        """What the module has to say where it means this function or constant."""
        if type(value) is FunctionType:
            value = NUMPYS.get(value, value)
            value = INSTEAD.get(value, value)
        if (known := self._known.get(id(value))) is not None:
            return known[0]
        if isinstance(value, ModuleType):
            return self._module(value.__name__)
        if value is imported:  # the lock that it takes guards our own modules
            value = importlib.import_module
        if value is user_source:  # nobody's line is run
            name = self.names.fresh("user_source")
            self._known[id(value)] = name, value
            self.define(f'def {name}():\n    return ""')
            return name
        if value is at:
            name = self.names.fresh("at")
            self._known[id(value)] = name, value
            self.define(f'def {name}(line):\n    return f" at {{line}}" if line else ""')
            return name
        if type(value) is Line:
            source = resolve(value.source)
            return string("" if source is None else f" at {line(source.short)}")
        if (text := self._constant(value)) is not None or (text := self._public(value)) is not None:
            return text
        if isinstance(value, functools.partial):
            given = [self.expression(x, "value") for x in (value.func, *value.args)]
            given += [f"{k}={self.expression(v, k)}" for k, v in value.keywords.items()]
            return f"{self._module('functools')}.partial({', '.join(given)})"
        function = value.__wrapped__ if isinstance(value, _CACHED) else value
        if isinstance(function, FunctionType):
            return self._definition(value, function, function.__globals__)
        if isinstance(value, type) and issubclass(value, Exception | tuple):
            return self._definition(value, value, vars(sys.modules[value.__module__]))
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return f"{self.expression(type(value))}({', '.join([self.expression(x) for x in value])})"
        raise NotQuotableError(f"{wanted} is {value!r}, of {type(value).__qualname__}, which NumPy has not")

    def _module(self, name: str) -> str:
        root, _, rest = name.partition(".")
        if not _is_theirs(name):
            raise NotQuotableError(f"the module {name} is neither NumPy's nor Python's own")
        self._imports.add("import numpy as np" if root == "numpy" else f"import {name}")
        self.names.take(name_here := "np" if root == "numpy" else root)
        return f"{name_here}.{rest}" if rest else name_here

    def _public(self, value: Any) -> str | None:
        """An object that NumPy, SciPy or Python gives a name."""
        owner = getattr(value, "__self__", None)
        if isinstance(owner, np.ufunc) and getattr(owner, value.__name__, None) is not None:
            return f"{self._public(owner)}.{value.__name__}"
        name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
        if not isinstance(name, str):
            return None
        if getattr(builtins, name, None) is value:
            return name
        home = str(getattr(value, "__module__", None) or "")
        for module in ("numpy", "scipy.special", home, home.removeprefix("_")):
            if not _is_theirs(module) or any([part.startswith("_") for part in module.split(".")]):
                continue
            named: Any = sys.modules.get(module)
            for part in name.split("."):
                named = getattr(named, part, None)
            if named is value:
                return f"{self._module(module)}.{name}"
        return None

    def _constant(self, value: Any) -> str | None:
        """Numbers, strings, dtypes, and what holds such."""
        kind = type(value)
        if kind is str:
            return string(value)
        if (text := literal(value)) is not None:
            return text.replace("e+", "e") if kind is float else text
        if kind is int:
            return hex(value).upper().replace("X", "x")
        if kind is float:
            return f'float("{value}")'
        if kind is complex:
            return f"complex({self._constant(value.real)}, {self._constant(value.imag)})"
        if isinstance(value, np.dtype):
            return f"{self._module('numpy')}.dtype({string(value.name)})"
        if isinstance(value, np.generic) and kind.__module__ == "numpy":
            return f"{self._module('numpy')}.{kind.__name__}({self._constant(value.item())})"
        if kind is np.ndarray and value.dtype.kind in "biufc":
            return f"{self._module('numpy')}.array({self._constant(value.tolist())}, {string(value.dtype.name)})"
        if kind in (tuple, list):
            parts = ", ".join([self.expression(x) for x in value]) + ("," if kind is tuple and len(value) == 1 else "")
            return f"({parts})" if kind is tuple else f"[{parts}]"
        if kind in (set, frozenset):
            parts = ", ".join(sorted([self.expression(x) for x in value]))
            return f"{kind.__name__}([{parts}])"
        if kind is slice:
            return f"slice({', '.join([self.expression(x) for x in (value.start, value.stop, value.step)])})"
        if kind is dict:
            items = [(k, v) for k, v in value.items() if k is not symbols.Symbol]
            return f"{{{', '.join([f'{self.expression(k)}: {self.expression(v)}' for k, v in items])}}}"
        return None

    def _definition(self, value: Any, definition: Any, scope: dict[str, Any]) -> str:
        """A function or class of ours: its name, once its definition is in the module."""
        home = f"{definition.__module__}.{definition.__qualname__}"
        if getattr(definition, "__closure__", None) is not None or not definition.__qualname__.isidentifier():
            raise NotQuotableError(
                f"{home} is not defined at the top of a module; define it there, and bind what it closes over by functools.partial"
            )
        name = self.names.fresh(definition.__name__)
        self._known[id(value)] = name, value
        try:
            self._definitions.append(self._rewritten(textwrap.dedent(inspect.getsource(definition)), scope))
        except NotQuotableError as error:
            error.add_note(f"in {home}")
            raise
        return name

    def _rewritten(self, source: str, scope: dict[str, Any]) -> str:
        """A definition without types, in which names mean what they meant at home."""
        tree = ast.parse(source).body[0]
        text = source.encode()
        starts = [0]
        for row in text.splitlines(keepends=True):
            starts.append(starts[-1] + len(row))
        edits: list[tuple[int, int, str]] = []

        def edit(line: int, column: int, end: ast.expr, new: str) -> None:
            assert end.end_lineno is not None and end.end_col_offset is not None
            edits.append((starts[line - 1] + column, starts[end.end_lineno - 1] + end.end_col_offset, new))

        for node in ast.walk(tree):
            if isinstance(node, ast.arg) and node.annotation:
                edit(node.lineno, node.col_offset, node.annotation, node.arg)
                start, end, _ = edits[-1]
                if text[end : end + 3] == b" = ":
                    edits[-1] = start, end + 3, f"{node.arg}="
            elif isinstance(node, ast.AnnAssign):
                left = ast.unparse(node.target)
                edit(node.lineno, node.col_offset, node.annotation, left if node.value else f"{left}: object")
            elif isinstance(node, ast.FunctionDef) and node.returns:
                start = text.rindex(b"->", 0, starts[node.returns.lineno - 1] + node.returns.col_offset)
                start = len(text[:start].rstrip())
                edits.append(
                    (start, starts[(node.returns.end_lineno or 0) - 1] + (node.returns.end_col_offset or 0), "")
                )
            elif isinstance(node, ast.Call) and _takes_a_list_in_vain(node):
                start = starts[node.args[0].lineno - 1] + node.args[0].col_offset
                end = starts[(node.args[0].end_lineno or 0) - 1] + (node.args[0].end_col_offset or 0)
                edits += [(start, start + 1, ""), (end - 1, end, "")]
        for name in _free(tree):
            if name.id in scope:
                if (new := self._named(scope[name.id], name.id)) != name.id:
                    edit(name.lineno, name.col_offset, name, new)
            elif not hasattr(builtins, name.id):
                raise NotQuotableError(f"{name.id} has no value where it is used")
        assert isinstance(tree, ast.FunctionDef | ast.ClassDef)
        start = text.index(f" {tree.name}".encode(), starts[tree.lineno - 1]) + 1
        edits.append((start, start + len(tree.name.encode()), self._known[id(scope[tree.name])][0]))
        for start, end, new in sorted(edits, reverse=True):
            text = text[:start] + new.encode() + text[end:]
        plain = re.sub(r" *# (type: ignore|noqa)\b.*", "", text.decode())
        return _with_short_header(plain.rstrip())

    def _named(self, value: Any, wanted: str) -> str:
        """What a definition has to say for a global name: numbers, tables and partial functions are defined once, too."""
        if not isinstance(value, functools.partial) and self._constant(value) is None:
            return self.expression(value, wanted)
        known = self._known.get((wanted, id(value)))
        if known is None:
            text = self.expression(value, wanted)
            known = self._known[wanted, id(value)] = self.names.fresh(wanted), value
            self._definitions.append(laid_out(f"{known[0]} = {text}"))
        return known[0]


def module(parts: Sequence[str]) -> str:
    """Imports, constants, functions and classes with as many blank lines between them as a formatter leaves."""

    def is_block(part: str) -> bool:
        return part.startswith(("def ", "class ", "@"))

    apart = [
        "\n\n\n" if is_block(x) or is_block(y) else "\n" if _assigns(x) and _assigns(y) else "\n\n"
        for x, y in pairwise(parts)
    ]
    return "".join([part + after for part, after in zip(parts, [*apart, ""], strict=True)])


def _assigns(part: str) -> bool:
    return " = " in part.partition("\n")[0]


def _is_theirs(module: str) -> bool:
    root = module.partition(".")[0]
    return root in ("numpy", "scipy") or root in sys.stdlib_module_names


def _takes_a_list_in_vain(call: ast.Call) -> bool:
    """Whether it is `any([... for ...])`, of which a formatter's friends say that the brackets do nothing."""
    is_one = isinstance(call.func, ast.Name) and call.func.id in ("any", "all") and len(call.args) == 1
    return is_one and isinstance(call.args[0], ast.ListComp)


def _with_short_header(source: str) -> str:
    """A function whose parameters, without their types, stand on one line where that has room."""
    tree = ast.parse(source).body[0]
    if not isinstance(tree, ast.FunctionDef):
        return source
    lines = source.split("\n")
    first, last = tree.lineno - 1, tree.body[0].lineno - 1
    head = [x.strip() for x in lines[first:last]]
    if len(head) < 2 or head[-1] != "):" or head[-2].endswith(",") or any("#" in x for x in head):
        return source
    arguments = ast.unparse(tree.args)
    whole = header(tree.name, [arguments])
    return "\n".join([*lines[:first], whole, *lines[last:]]) if "\n" not in whole else source


def _free(definition: ast.AST) -> Iterator[ast.Name]:
    """The names in a definition that mean something outside of it, without those in annotations."""

    def walk(nodes: Iterable[ast.AST | None], bound: Set[str]) -> Iterator[ast.Name]:
        for node in nodes:
            if node is None:
                continue
            if isinstance(node, ast.Name):
                if node.id not in bound:
                    yield node
            elif isinstance(node, ast.FunctionDef | ast.Lambda):
                if isinstance(node, ast.FunctionDef):
                    yield from walk(node.decorator_list, bound)
                yield from walk((*node.args.defaults, *node.args.kw_defaults), bound)
                yield from walk(node.body if isinstance(node.body, list) else [node.body], bound | _bound_in(node))
            elif isinstance(node, ast.ClassDef):
                yield from walk((*node.decorator_list, *node.bases), bound)
                yield from walk(node.body, bound | _bound_in(node))
            elif isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
                own = {n.id for g in node.generators for n in ast.walk(g.target) if isinstance(n, ast.Name)}
                yield from walk(ast.iter_child_nodes(node), bound | own)
            elif isinstance(node, ast.AnnAssign):
                yield from walk((node.target, node.value), bound)
            else:
                yield from walk(ast.iter_child_nodes(node), bound)

    return walk([definition], frozenset())


def _bound_in(definition: ast.FunctionDef | ast.Lambda | ast.ClassDef) -> set[str]:
    """The names that are a function's or a class's own."""
    names = set()
    if not isinstance(definition, ast.ClassDef):
        arguments = definition.args
        names |= {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
        names |= {a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None}

    def collect(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                names.add(child.name)
                continue
            if isinstance(child, ast.Lambda):
                continue
            if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
                names.add(child.id)
            elif isinstance(child, ast.ExceptHandler) and child.name:
                names.add(child.name)
            elif isinstance(child, ast.Import | ast.ImportFrom):
                names.update([(a.asname or a.name).partition(".")[0] for a in child.names])
            if not isinstance(child, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
                collect(child)
            else:  # whose own variables are not the function's, but for what `:=` binds
                names.update([n.target.id for n in ast.walk(child) if isinstance(n, ast.NamedExpr)])

    if isinstance(definition.body, list):
        for statement in definition.body:
            collect(ast.Module([statement], []))
    return names
