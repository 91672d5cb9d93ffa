"""A failed check as Python that can be pasted into a file and run: imports, the function, its arguments, the call.

`check_grads`, `check_vmap`, `check_jit` and `check_rule` put that text into `error.reproducer` of whatever they raise, and
`plugin.py` has pytest print it. Nothing is done where nothing fails. The text is written when the error passes through the
check, so that arrays are what they were then. Of what it cannot write it says so, and has `...` in its place.
"""

from __future__ import annotations

import ast
import base64
import builtins
import dis
import functools
import inspect
import keyword
import linecache
import re
import sys
import sysconfig
import textwrap
import traceback
from collections import OrderedDict
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType, FunctionType, MappingProxyType, ModuleType
from typing import Any, ParamSpec, TypeVar

import numpy as np

from tracegrad.core.errors import clip, described
from tracegrad.core.generated import Names, comment, identifier, literal, string
from tracegrad.core.jax_arrays import is_jax_array, is_jax_tracer
from tracegrad.core.names import Transformed
from tracegrad.core.op import OPS, Op
from tracegrad.core.reached import codes
from tracegrad.transforms.custom.functions import custom_jvp, custom_vjp

P = ParamSpec("P")
R = TypeVar("R")

LISTED = 1000  # elements of an array that are written as numbers; one with more is written as base64
LIMIT = 100_000  # bytes of an array that is written at all
WIDTH = 110
INDENT = " " * 4
SHORT = {"numpy": "np", "tracegrad": "tg"}


def reproducible(check: Callable[P, R]) -> Callable[P, R]:
    """A check whose errors have a `reproducer`. Where one check calls another the outermost one's is kept, since the inner
    one's function is made by it."""

    @functools.wraps(check)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        __tracebackhide__ = True  # pytest shows the check itself
        try:
            return check(*args, **kwargs)
        except Exception as error:
            attach(error, check, args, kwargs)
            raise

    return checked


def attach(error: Exception, check: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Give an error the call of a check that it came from, as `error.reproducer`. Every error gets one, since a rule that
    raises is as much in need of it as one that is wrong."""
    try:
        text = reproducer(check, args, kwargs)
    except Exception as why:  # a user's repr, say: what is wrong with this text must not hide what the check has found
        said = traceback.format_exception_only(why)[-1].strip()
        text = comment(f"A reproducer could not be written: {said}") + "\n"
    error.reproducer = text  # type: ignore[attr-defined]


def reproducer(check: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The call of one of tracegrad.testing's checks as Python that can be run, with options that are not the default.

    >>> import numpy as np
    >>> from tracegrad.testing import check_vmap
    >>> print(reproducer(check_vmap, (np.sin, (np.array([0.5, 1.0]),)), {"rtol": 1e-9}))
    import numpy as np
    from tracegrad.testing import check_vmap
    <BLANKLINE>
    args = (np.array([0.5, 1.0], dtype="float64"),)
    check_vmap(np.sin, args, rtol=1e-09)
    <BLANKLINE>
    """
    script = Script()
    signature = inspect.signature(check)
    (of, f), (name, arguments), *options = signature.bind(*args, **kwargs).arguments.items()
    call = [script.value(f, f"`{of}`"), script.fresh(name)]
    script.body.append(f"{call[1]} = {script.value(arguments, name)}")
    for option, x in options:
        if not _same(x, signature.parameters[option].default):
            call.append(f"{option}={script.value(x, option)}")
    checked = script.imported("tracegrad.testing", check.__name__)
    script.body += [*script.aliases, _bracket(f"{checked}(", call, ")")]
    return script.text()


# ---------------------------------------------------------------------------------------------------------------------
# Where things come from.


def _home(x: Any) -> tuple[str, str] | None:
    """The module that something can be imported from, and its name there: its own, a public one, or any that has it."""
    for key in (getattr(x, "__module__", None), "numpy", "tracegrad", *sorted(sys.modules)):
        module: Any = sys.modules.get(key) if isinstance(key, str) else None
        if _importable(module):
            for name, found in list(vars(module).items()):
                if found is x and _is_name(name):
                    return module.__name__, name
    return None


def _importable(module: Any) -> bool:
    if not isinstance(module, ModuleType) or getattr(module, "__spec__", None) is None:
        return False
    name = module.__name__
    return name != "__main__" and sys.modules.get(name) is module and all(map(_is_name, name.split(".")))


def _is_name(text: Any) -> bool:
    """Whether it may stand in source for what is called so."""
    return bool(text) and identifier(text) == text and not keyword.iskeyword(text)


def _same(x: Any, y: Any) -> bool:
    """Whether an option is what it is without being given."""
    if type(x) is tuple and type(y) is tuple:
        return len(x) == len(y) and all([_same(a, b) for a, b in zip(x, y, strict=True)])
    return x is y or (type(x) is type(y) and literal(x) is not None and literal(x) == literal(y))


def _shown(x: Any) -> str:
    try:
        return clip(repr(x), 80)
    except Exception as why:
        return f"its repr raises {type(why).__name__}"


def _search_path(module: ModuleType) -> dict[str, None]:
    """The folder that must be on sys.path for a module to be found, unless it is Python's own or where pip installs."""
    file = Path(getattr(module, "__file__", None) or sysconfig.__file__)
    folder = file.parents[module.__name__.count(".") + (file.stem == "__init__")]
    usual = any(
        [folder.is_relative_to(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
    )
    found = usual or folder.name == "site-packages" or module.__name__.split(".")[0] == "tracegrad"
    return {} if found else {folder.as_posix(): None}


def _source(code: CodeType) -> str:
    """A function's own text, without decorators; an error where it cannot be had or would not be the same elsewhere."""
    text = "".join(linecache.getlines(code.co_filename))
    places = [p for p in code.co_positions() if None not in p and p[3]]
    start, end = min([p[0::2] for p in places]), max([p[1::2] for p in places])
    definition: Any = None
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Lambda) and code.co_name == "<lambda>":
            body: Any = node.body
            if (body.lineno, body.col_offset) <= start and end <= (body.end_lineno, body.end_col_offset):
                definition = node  # the innermost lambda with all of the code comes last
        elif isinstance(node, ast.FunctionDef) and node.name == code.co_name:
            first = min([node.lineno, *[d.lineno for d in node.decorator_list]])
            definition = node if first == code.co_firstlineno else definition
    if definition is None:
        raise ValueError("not found")
    for default in [*definition.args.defaults, *filter(None, definition.args.kw_defaults)]:
        ast.literal_eval(default)
    if isinstance(definition, ast.Lambda):
        found = ast.get_source_segment(text, definition) or ""
        found.encode()  # an error for what could not be written into a file
        return f"({found})" if "\n" in found else found
    found = textwrap.dedent("\n".join(text.split("\n")[definition.lineno - 1 : definition.end_lineno]))
    compile(found, "<function>", "exec")  # an error where it does not stand by itself, or could not be in a file
    return found


def _globals_read(code: CodeType) -> Iterator[str]:
    """The names that a function's code, and the code of functions in it, looks up in its module."""
    for c in codes(code):
        yield from [i.argval for i in dis.get_instructions(c) if i.opname == "LOAD_GLOBAL"]


def _bracket(start: str, items: Sequence[str], end: str) -> str:
    """In one line, or with a line for each item."""
    line = f"{start}{', '.join(items)}{end}"
    if len(line) <= WIDTH and "\n" not in line:
        return line
    return "\n".join([start, *[textwrap.indent(f"{item},", INDENT) for item in items], end.lstrip(",")])


# ---------------------------------------------------------------------------------------------------------------------
# The text.


# NumPy's own types of scalars that bytes alone tell.
_NUMPYS = frozenset(np.sctypeDict.values()) - {np.object_, np.void}
_VALUES = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf}


def _listed(x: np.ndarray, np_: str) -> list[str] | None:
    """The texts of an array's numbers, as Python reads them where NumPy has this name; None where that would not give every bit: the text of a NaN,
    say, does not tell which one."""
    if x.dtype.kind in "SUmM":
        return None
    texts = [str(e) for e in x.ravel()]
    try:
        values = ast.literal_eval(f"[{', '.join(['0' if t in _VALUES else t for t in texts])}]")
        numbers = [_VALUES.get(t, v) for t, v in zip(texts, values, strict=True)]
        if np.array(numbers, x.dtype).tobytes() != x.tobytes():
            return None
    except Exception:  # text that is no number, or a number that the dtype does not hold
        return None
    names = {"nan": f"{np_}.nan", "inf": f"{np_}.inf", "-inf": f"-{np_}.inf"}
    return [names.get(t, t) for t in texts]


def _is_definition(block: str) -> bool:
    return "\n" in block and block.startswith(("def ", "@"))


class Script:
    """A script that grows as values are written: each method that writes a value returns an expression for it, and leaves
    what that needs in `imports` and `body`."""

    def __init__(self) -> None:
        self.notes: dict[str, None] = {}
        self.paths: dict[str, None] = {}
        self.imports: set[str] = set()
        self.body: list[str] = []
        self.aliases: list[str] = []  # further names of functions and modules, which may only be defined by then
        self.taken = Names({}, keyword.kwlist)
        self.bound: dict[str, str] = {}  # what each name that a function reads stands for
        self.names: dict[int, str] = {}  # the names of functions and modules by their ids
        for name in ("float", "complex", "slice", "set", "frozenset", "range"):  # which values are written with
            self.builtin(name)

    def text(self) -> str:
        heads = [comment(f"not complete: {' '.join(note.split())}") for note in self.notes]
        if any(map(_is_definition, self.body)):
            heads += ["from __future__ import annotations", ""]
        if self.paths:
            heads += ["import sys", "", *[f"sys.path.insert(0, {string(path)})" for path in self.paths], ""]
        heads += sorted(self.imports, key=lambda line: line.split()[1])
        parts, before = ["\n".join(heads)], ""
        for block in self.body:
            apart = "\n\n\n" if _is_definition(block) or _is_definition(before) else "\n" if before else "\n\n"
            parts += [apart, block]
            before = block
        return "".join([*parts, "\n"])

    def missing(self, where: str, what: str, x: Any = None) -> str:
        """The last resort for a value: import it from wherever a module has it, or say that it is missing."""
        if x is not None and (found := _home(x)) is not None:
            return self.imported(*found)
        self.notes[f"{where} is {what}; write it in place of `...`"] = None
        return "..."

    # -- Names.

    def fresh(self, name: str, besides: Container[str] = ()) -> str:
        found = self.taken.fresh(name, besides=besides)
        self.bound[found] = found
        return found

    def bind(self, name: str, x: Any) -> None:
        """Have a name stand for a value that a function reads by it."""
        text = self.value(x, f"`{name}`", name)
        if self.bound.get(name) == text:
            return
        if text != name and self.taken.take(name):
            (self.aliases if id(x) in self.names else self.body).append(f"{name} = {text}")
            self.bound[name] = text
        else:
            self.notes[f"`{name}` stands for several things; rename all but one of them"] = None

    def builtin(self, name: str) -> None:
        """Have a name stand for what Python has under it."""
        self.taken.take(name)
        if self.bound.setdefault(name, name) != name or name in self.names.values():
            self.notes[f"`{name}` stands for several things; rename all but one of them"] = None

    def module(self, name: str, wanted: str = "") -> str:
        module = sys.modules[name]
        if id(module) not in self.names:
            self.names[id(module)] = found = self.fresh(wanted or SHORT.get(name, name.rpartition(".")[2]))
            self.imports.add(f"import {name}" if found == name else f"import {name} as {found}")
            self.paths |= _search_path(module)
        return self.names[id(module)]

    def imported(self, module: str, name: str) -> str:
        """Something of a module, imported from there."""
        if module == "builtins":
            self.builtin(name)
            return name
        if module in SHORT:
            return f"{self.module(module)}.{name}"
        x = getattr(sys.modules[module], name)
        if id(x) not in self.names:
            self.names[id(x)] = found = self.fresh(name)
            self.imports.add(f"from {module} import {name}" + (f" as {found}" if found != name else ""))
            self.paths |= _search_path(sys.modules[module])
        return self.names[id(x)]

    # -- Values. What is written is what Python and NumPy themselves make of values of their own types: a text that somebody
    # else's class gives for itself (its repr) is for the reader's eyes, in a comment.

    def value(self, x: Any, where: str, wanted: str = "f") -> str:
        """An expression for a value. `where` says what it is to the reader, if it cannot be written; `wanted` is the name
        that it would best have, if it needs one."""
        kind = type(x)
        if id(x) in self.names:
            return self.names[id(x)]
        plain = literal(x)
        if plain is not None:
            return plain
        if kind is int:
            return hex(x)
        if kind is float:
            return f'float("{x}")'
        if kind is complex:
            return f"complex({self.value(x.real, where)}, {self.value(x.imag, where)})"
        if kind is range:
            ends = (x.start, x.stop, x.step)[: 2 if x.step == 1 else 3]
            return f"range({', '.join([self.value(n, where) for n in ends])})"
        if kind is np.ndarray or isinstance(x, np.generic):
            return self.array(x, where)
        if isinstance(x, np.dtype):
            known = self.dtype(x)
            return (
                f"{self.module('numpy')}.dtype({known})" if known else self.missing(where, f"the dtype {_shown(x)}", x)
            )
        if is_jax_array(x) and not is_jax_tracer(x):
            return f"{self.module('tracegrad')}.device_put({self.array(np.asarray(x), where)})"
        if kind is Op and x in OPS.values() and str(getattr(x.samples, "__module__", "")).startswith("tracegrad."):
            # Some ops come with these.
            self.imports |= {f"import {m}" for m in ("tracegrad.lax", "tracegrad.random") if m in sys.modules}
            return f"{self.imported('tracegrad.core.op', 'OPS')}[{string(x.name)}]"
        if isinstance(x, ModuleType) and _importable(x):
            return self.module(x.__name__, wanted)
        if kind is getattr(sys.modules.get("tracegrad.testing.programs"), "Program", None):
            return self.program(x, where)
        if kind in (FunctionType, Transformed, custom_jvp, custom_vjp):
            found = _home(x)
            return self.function(x, where, wanted) if found is None else self.imported(*found)
        return self.container(x, where)

    def container(self, x: Any, where: str) -> str:
        kind = type(x)
        if kind in (dict, OrderedDict, MappingProxyType):
            items = [f"{self.value(k, where)}: {self.value(y, f'{where}[{_shown(k)}]')}" for k, y in x.items()]
            text = _bracket("{", items, "}")
            return f"{self.imported('collections', 'OrderedDict')}({text})" if kind is OrderedDict else text
        if kind in (set, frozenset):
            return _bracket(f"{kind.__name__}([", sorted([self.value(y, where) for y in x]), "])")
        if kind is slice:
            return _bracket("slice(", [self.value(y, where) for y in (x.start, x.stop, x.step)], ")")
        named = isinstance(x, tuple) and hasattr(x, "_fields") and _home(kind)
        if named or kind in (tuple, list):
            items = [self.value(y, f"{where}[{i}]") for i, y in enumerate(x)]
            if named:
                return _bracket(f"{self.imported(*named)}(", items, ")")
            return _bracket("[", items, "]") if kind is list else _bracket("(", items, ",)" if len(x) == 1 else ")")
        return self.missing(where, f"a {kind}: {_shown(x)}", x)

    def dtype(self, dtype: np.dtype[Any]) -> str:
        """What NumPy takes for a dtype, or nothing for one that is neither its own, without fields, nor of ml_dtypes."""
        if dtype.type in _NUMPYS:
            return f'"{dtype}"'
        name = dtype.type.__name__
        if getattr(sys.modules.get("ml_dtypes"), name, None) is dtype.type:
            return f"{self.module('ml_dtypes')}.{name}"
        return ""

    def array(self, x: Any, where: str) -> str:
        """An array or a scalar of NumPy's, bit by bit."""
        dtype = self.dtype(x.dtype)
        if not dtype or (isinstance(x, np.generic) and type(x) is not x.dtype.type):
            return self.missing(where, f"an array of dtype {_shown(x.dtype)}" if not dtype else f"a {type(x)}", x)
        np_ = self.module("numpy")
        if isinstance(x, np.generic):
            return self.scalar(x) or f"{self.array(np.asarray(x), where)}[()]"
        if not any(x.tobytes()):
            text = f"{np_}.zeros({x.shape}, dtype={dtype})"
        elif x.size <= LISTED and (listed := _listed(x, np_)) is not None:
            numbers = str(np.array(listed, object).reshape(x.shape).tolist()).replace("'", "")
            text = textwrap.fill(
                f"{np_}.array({numbers}, dtype={dtype})",
                WIDTH, subsequent_indent=INDENT, break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip
        elif x.nbytes > LIMIT:
            what = f"an array of shape {x.shape} and dtype {x.dtype} whose {x.nbytes:,} bytes are too many to write"
            return self.missing(where, what, x)
        else:
            code = textwrap.wrap(base64.b64encode(x.tobytes()).decode(), WIDTH)
            lines = "\n".join([f'{INDENT}"{line}"' for line in code])
            decoded = f"{self.module('base64')}.b64decode(\n{lines}\n)"
            text = f"{np_}.frombuffer({decoded}, dtype={dtype}).reshape({x.shape}).copy()"
        return f"{np_}.asfortranarray({text})" if x.flags.f_contiguous and not x.flags.c_contiguous else text

    def scalar(self, x: Any) -> str:
        """A scalar of one of NumPy's types as a call of the type, or nothing if that does not give every bit."""
        np_, kind = self.module("numpy"), type(x)
        if kind is np.bool:
            return f"{np_}.{bool(x)}_"
        if getattr(np, kind.__name__, None) is not kind:
            return ""
        if x.dtype.kind in "SU":
            return f"{np_}.{kind.__name__}({literal(x.item())})"
        if kind is np.longdouble and kind(str(x)).tobytes() == x.tobytes():
            return f'{np_}.longdouble("{x}")'
        listed = _listed(np.asarray(x), np_)
        return f"{np_}.{kind.__name__}({listed[0]})" if listed else ""

    # -- Functions.

    def function(self, f: Any, where: str, wanted: str) -> str:
        """The name of a function that no module has, having written its definition and those of its rules, if it has any.
        What it reads from around it becomes a global of the script."""
        fun, decorator = f, ""
        if isinstance(f, custom_jvp | custom_vjp):
            fun, decorator = f.fun, f"{self.module('tracegrad')}.{type(f).__name__}"
            if f.nondiff_argnums:
                partial = self.imported("functools", "partial")
                decorator = (
                    f"{partial}({decorator}, nondiff_argnums={self.value(f.nondiff_argnums, 'nondiff_argnums')})"
                )
        try:
            if str(fun.__globals__.get("__name__", "")).startswith("tracegrad."):
                raise ValueError("what a transform returned is no function of its own")
            text, own = _source(fun.__code__), fun.__code__.co_name
            read = dict(zip(fun.__code__.co_freevars, [c.cell_contents for c in fun.__closure__ or ()], strict=True))
        except (SyntaxError, ValueError, AttributeError):
            return self.missing(where, f"{described(fun)}, whose source cannot stand by itself")
        found = list(_globals_read(fun.__code__))
        read |= {n: fun.__globals__[n] for n in found if n in fun.__globals__}
        others = [n for n, x in read.items() if x is not f]
        for n in found:
            if n not in read and hasattr(builtins, n):
                self.builtin(n)
        name = self.names[id(f)] = self.fresh(wanted if own == "<lambda>" else own, others)
        for n, x in sorted(read.items(), key=lambda item: not isinstance(item[1], ModuleType)):
            self.bind(n, x)  # modules first: `np` is what the function calls so
        if own != "<lambda>":
            text = re.sub(r"def\s+\w+", f"def {name}", text, count=1)
            self.body.append(f"@{decorator}\n{text}" if decorator else text)
        else:
            self.body.append(f"{name} = {decorator}({text})" if decorator else f"{name} = {text}")
        if decorator:
            self.rules(f, name, where)
        return name

    def rules(self, f: custom_jvp | custom_vjp, name: str, where: str) -> None:
        rules: Sequence[Any] = (f.rule,) if isinstance(f, custom_jvp) else (f.fwd, f.bwd)
        method = "defjvp" if isinstance(f, custom_jvp) else "defvjp"
        if isinstance(f, custom_jvp) and f.rules is not None:
            rules, method = f.rules, "defjvps"
        if any([r is not None for r in rules]):
            written = [self.value(r, f"a rule of {where}", f"{name}_{method}") for r in rules]
            self.body.append(_bracket(f"{name}.{method}(", written, ")"))

    def program(self, f: Any, where: str) -> str:
        """A random program: its source defines it as `program`, and imports what it needs."""
        if (self.module("numpy"), self.module("tracegrad")) != ("np", "tg") or not self.taken.take("program"):
            return self.missing(where, "a random program, whose names stand for something else here")
        self.names[id(f)] = self.bound["program"] = "program"
        self.body.append(f.source.removeprefix("import numpy as np\nimport tracegrad as tg\n").strip())
        return self.names[id(f)]
