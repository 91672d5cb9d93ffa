"""A failed check as Python that can be pasted into a file and run: imports, the function, its arguments, the call.

`check_grads`, `check_vmap`, `check_jit` and `check_rule` put that text into `error.reproducer` of whatever they raise, and
`plugin.py` has pytest print it. Nothing is done where nothing fails. The text is written when the error passes through the
check, so that arrays are what they were then. Of what it cannot write it says so, and has `...` in its place.
"""

from __future__ import annotations

import ast
import base64
import builtins
import copy
import dataclasses
import dis
import enum
import functools
import inspect
import keyword
import linecache
import math
import sys
import sysconfig
import textwrap
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any, ParamSpec, TypeVar

import numpy as np

from tracegrad.errors import clip
from tracegrad.jax_arrays import is_jax_array, is_jax_tracer
from tracegrad.op import OPS, Op, Sample
from tracegrad.transforms.custom import custom_jvp, custom_vjp
from tracegrad.transforms.jit import Jitted, JittedOnXla

P = ParamSpec("P")
R = TypeVar("R")

LISTED = 2000  # elements of an array that are written as numbers; one with more is written as base64
LIMIT = 100_000  # bytes of an array that is written at all
WIDTH = 110
INDENT = " " * 4


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
        text = f"# A reproducer could not be written: {type(why).__name__}: {why}\n"
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
    signature = inspect.signature(check)
    return Script().call(check.__name__, signature, signature.bind(*args, **kwargs).arguments)


# ---------------------------------------------------------------------------------------------------------------------
# What a function is made of.


_Definition = ast.FunctionDef | ast.Lambda


@functools.lru_cache(maxsize=8)
def _definitions(text: str) -> dict[int, list[_Definition]]:
    """The functions and lambdas of a file, by the lines that they begin in, decorators included."""
    found: dict[int, list[_Definition]] = {}
    for node in ast.walk(_parsed(text) or ast.Module([], [])):
        if isinstance(node, ast.FunctionDef):
            found.setdefault(min([node.lineno, *[d.lineno for d in node.decorator_list]]), []).append(node)
        elif isinstance(node, ast.Lambda):
            found.setdefault(node.lineno, []).append(node)
    return found


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except SyntaxError:  # not Python: a template, or a cell of a notebook
        return None


def _definition(code: CodeType) -> tuple[_Definition, str] | None:
    """Where a function's code was written, and the text of that file."""
    text = "".join(linecache.getlines(code.co_filename))
    nodes = _definitions(text).get(code.co_firstlineno, [])
    if code.co_name != "<lambda>":
        named = [n for n in nodes if isinstance(n, ast.FunctionDef) and n.name == code.co_name]
        return (named[0], text) if named else None
    # Several lambdas may stand in one line, or in each other: this one has the least body that all its instructions are in.
    places = [p for p in code.co_positions() if None not in p and p[2:] != (0, 0)]
    start, end = min([p[0::2] for p in places]), max([p[1::2] for p in places])
    found: list[tuple[Any, ast.Lambda]] = []
    for node in nodes:
        body: Any = node.body
        if not isinstance(node, ast.Lambda) or (body.lineno, body.col_offset) > start:
            continue
        if (body.end_lineno, body.end_col_offset) >= end:
            found.append(((body.end_lineno, body.end_col_offset, -body.lineno, -body.col_offset), node))
    return (min(found, key=lambda f: f[0])[1], text) if found else None


def _text(node: _Definition, source: str, defaults: Sequence[str | None]) -> str:
    """A function's own text without decorators where that is still the same function, and else what Python makes of its
    tree. `defaults` has what to write for default values that are not literals."""
    bare = copy.deepcopy(node)
    if isinstance(bare, ast.FunctionDef):
        bare.decorator_list = []
    replaced = any([d is not None for d in defaults])
    if replaced:
        new = [None if d is None else ast.parse(d, mode="eval").body for d in defaults]
        count = len(bare.args.defaults)
        bare.args.defaults = [n or old for n, old in zip(new[:count], bare.args.defaults, strict=True)]
        bare.args.kw_defaults = [n or old for n, old in zip(new[count:], bare.args.kw_defaults, strict=True)]
    else:
        if isinstance(node, ast.FunctionDef):
            text = textwrap.dedent("\n".join(source.splitlines()[node.lineno - 1 : node.end_lineno]))
        else:
            text = textwrap.dedent(ast.get_source_segment(source, node, padded=True) or "")
            text = f"(\n{textwrap.indent(text, INDENT)}\n)" if "\n" in text else text
        again = _parsed(text)
        body: Any = again.body[0] if again is not None and len(again.body) == 1 else None
        if isinstance(body, ast.Expr):
            body = body.value
        if body is not None and ast.dump(body) == ast.dump(bare):
            return text
    return ast.unparse(bare)


def _globals_read(code: CodeType) -> Iterator[str]:
    """The names that a function's code, and the code of functions in it, looks up in its module."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_read(constant)


def _closure(f: FunctionType) -> dict[str, Any]:
    found = {}
    for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet, and so not read by what was run
            continue
    return found


def _importable(module: ModuleType | None) -> bool:
    return (
        isinstance(module, ModuleType)
        and module.__name__ != "__main__"
        and getattr(module, "__spec__", None) is not None
    )


def _home(value: Any) -> tuple[ModuleType, str] | None:
    """The module that a function, class or op can be imported from, and its name there."""
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    own = sys.modules.get(getattr(value, "__module__", None) or "")
    if own is not None and _importable(own):
        if isinstance(name, str) and _resolved(own, name) is value:
            return own, name
        for other, found in vars(own).items():
            if found is value:
                return own, other
    if isinstance(value, Op):
        ours = [k for k in sys.modules if k.startswith("tracegrad.ops.")]
        return _where(value, ours, None) or _where(value, sys.modules, None)
    # Renamed, wrapped or re-exported: wherever a module has it under this name.
    return _where(value, sys.modules, name) if isinstance(name, str) and name.isidentifier() else None


def _where(value: Any, modules: Iterable[str], name: str | None) -> tuple[ModuleType, str] | None:
    """Which of these modules has a value, under this name or any, public ones first."""
    found = []
    for key in list(modules):
        module = sys.modules[key]
        if _importable(module):
            names = [name] if name is not None else [n for n, x in list(vars(module).items()) if x is value]
            found += [(key, n) for n in names if vars(module).get(n) is value]
    key, n = min(found, key=lambda f: ("._" in f".{f[0]}", f[0].count("."), f[0]), default=("", ""))
    return (sys.modules[key], n) if found else None


def _resolved(module: Any, qualified: str) -> Any:
    for part in qualified.split("."):
        module = getattr(module, part, None)
    return module


@functools.cache
def _usual_folders() -> set[Path]:
    folders = [Path(p).resolve() for p in sysconfig.get_paths().values()]
    return {*folders, *[p / "lib-dynload" for p in folders]}


def _search_path(module: ModuleType) -> str | None:
    """The folder that must be on sys.path for a module to be found, unless it is Python's own or where pip installs."""
    file = getattr(module, "__file__", None)
    top = module.__name__.partition(".")[0]
    if file is None or top == "tracegrad":
        return None
    path = Path(file).resolve()
    for _ in range(module.__name__.count(".") + (path.stem == "__init__") + 1):
        path = path.parent
    return None if path in _usual_folders() else str(path)


def _same(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and isinstance(a, bool | int | float | str | None) and a == b)


# What tracegrad's transforms return: the code of the function, and what is read from its closure. The tests hold that the
# names are these.
_Read = Callable[[dict[str, Any]], tuple[str, Any, dict[str, Any]]]


def _some(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {n: values[n] for n in names if n in values}


TRANSFORMS: dict[str, _Read] = {
    "_gradient.<locals>.gradient": lambda c: (
        c["transform"], c["fun"],
        {"argnums": c["positions"] if c["several"] else c["positions"][0]} | _some(c, "has_aux", "holomorphic", "allow_int"),
    ),
    "vmap.<locals>.mapped": lambda c: (
        "vmap", c["fun"],
        _some(c, "in_axes", "out_axes", "axis_name") | {"axis_size": c["declared_size"], "batch_size": c["chunk"]},
    ),
    "_jacfwd.<locals>.jacobian": lambda c: (c["transform"], c["of"], _some(c, "argnums", "has_aux", "holomorphic")),
    "_jacrev.<locals>.jacobian": lambda c: (
        c["transform"], c["fun"], _some(c, "argnums", "has_aux", "holomorphic", "allow_int")
    ),
    "checkpoint.<locals>.checkpointed": lambda c: (
        "checkpoint", c["traced"]._fun, c["how"] | {"static_argnums": c["traced"]._static_argnums}
    ),
}  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# The text.


class Script:
    """A script that grows as values are written: each method that writes a value returns an expression for it, and leaves
    what that needs in `imports` and `body`."""

    def __init__(self) -> None:
        self.annotated = False
        self.paths: dict[str, None] = {}
        self.imports: dict[str, list[str]] = {}
        self.members: dict[str, list[str]] = {}  # `from module import `, what; and modules off Python's own path
        self.body: list[str] = []
        self.later: list[str] = []  # names for functions that are being written: those can be given only after them
        self.notes: dict[str, None] = {}
        self.bound: dict[str, Any] = {}  # what each name of the script stands for
        self.names: dict[int, str] = {}  # the name of an object, by its id; `bound` keeps the object
        self.open: set[int] = set()  # functions that are being written

    def call(self, check: str, signature: inspect.Signature, given: Mapping[str, Any]) -> str:
        """The whole text, with a call of this check."""
        (of, arguments), options = list(given)[:2], list(given)[2:]
        name = self.imported("tracegrad.testing", check)
        function = self.value(given[of], f"`{of}`")
        if check == "check_rule":
            call = [function, self.value(given[arguments], arguments)]
        else:
            written = self.value(given[arguments], arguments)
            variable = self.fresh("args")
            self.body.append(f"{variable} = {written}")
            call = [function, variable]
        call += self.options(signature, {n: given[n] for n in options})
        self.body += [*self.later, self.joined(f"{name}(", call, ")")]
        parts = [
            *[f"# not complete: {' '.join(note.split())}" for note in self.notes],
            *(["from __future__ import annotations", ""] if self.annotated else []),
            *sorted([*self.imports, *(["import sys"] if self.paths else [])]),
            *(["", *[f"sys.path.insert(0, {_quoted(path)})" for path in self.paths]] if self.paths else []),
            *[f"{line}{', '.join(sorted(names))}" for line, names in sorted(self.members.items())],
        ]  # fmt: skip
        before = ""
        for block in self.body:
            several = block.startswith(("def ", "@")) or before.startswith(("def ", "@"))
            parts += ["", ""] if several else [""] if not before else []
            parts.append(block)
            before = block
        return "\n".join(parts) + "\n"

    def options(self, signature: inspect.Signature, given: Mapping[str, Any]) -> list[str]:
        """Keyword arguments, of those that are not the default."""
        return [
            f"{name}={self.value(x, name)}"
            for name, x in given.items()
            if not (x is (default := signature.parameters[name].default) or (type(x) is type(default) and x == default))
        ]

    # -- Names.

    def fresh(self, wanted: str, value: Any = None) -> str:
        """A name that stands for nothing else, and that is one of Python's neither."""
        if value is not None and self.bound.get(wanted) is value:
            return wanted
        while wanted in self.bound or hasattr(builtins, wanted) or keyword.iskeyword(wanted):
            wanted += "_"
        return wanted

    def is_bound(self, value: Any, name: str) -> str:
        self.bound[name] = value
        self.names[id(value)] = name
        return name

    def module(self, name: str, wanted: str | None = None) -> str:
        """A module, imported, by its usual name."""
        module = sys.modules[name]
        if id(module) in self.names:
            return self.names[id(module)]
        found = self.is_bound(module, self.fresh(wanted or name.replace(".", "_"), module))
        imports = self.imports if self.is_found(module) else self.members
        imports[f"import {name}" if found == name else f"import {name} as {found}"] = []
        return found

    def is_found(self, module: ModuleType) -> bool:
        """Whether Python finds a module by itself; else the script gets the folder that it is in."""
        path = _search_path(module)
        if path is not None:
            self.paths[path] = None
        return path is None

    @property
    def numpy(self) -> str:
        return self.module("numpy", "np")

    @property
    def tracegrad(self) -> str:
        return self.module("tracegrad", "tg")

    def imported(self, module: str, name: str, wanted: str | None = None) -> str:
        """Something of a module, imported from there."""
        first, _, rest = name.partition(".")
        value = getattr(sys.modules[module], first)
        if id(value) not in self.names:
            found = self.is_bound(value, self.fresh((wanted if not rest else None) or first, value))
            self.members.setdefault(f"from {module} import ", []).append(
                first if found == first else f"{first} as {found}"
            )
            self.is_found(sys.modules[module])
        return self.names[id(value)] + (f".{rest}" if rest else "")

    def of_module(self, value: Any, wanted: str | None = None) -> str | None:
        """A function, class or op as it is found in its module, or None where it is in none."""
        own = getattr(value, "__name__", None)
        if isinstance(own, str) and getattr(builtins, own, None) is value:
            return own
        found = _home(value)
        if found is None:
            return None
        module, name = found
        for package, short in (("numpy", "np"), ("tracegrad", "tg")):
            public = module.__name__.removeprefix(package)
            if module.__name__ in (package, f"{package}{public}") and public[:1] in ("", ".") and "._" not in public:
                if _resolved(sys.modules[package], name) is value:
                    return f"{self.module(package, short)}.{name}"
                if package == "numpy":
                    return f"{self.numpy}{public}.{name}"
        return self.imported(module.__name__, name, wanted)

    def bind(self, name: str, value: Any, home: ModuleType | None) -> None:
        """Have a name stand for a value that a function reads by it. `home` is the module that has it, if it is a global."""
        self.bound[name] = value
        if isinstance(value, ModuleType) and id(value) not in self.names and _importable(value):
            self.module(value.__name__, name)
        elif id(value) in self.open:
            self.later.append(f"{name} = {self.names[id(value)]}")
        else:
            unknown = len(self.notes)
            kept = dict(self.notes)
            expression = self.value(value, f"`{name}`", wanted=name)
            if len(self.notes) > unknown and home is not None and _importable(home):
                # It cannot be written, but be had from where the function has it from.
                self.notes = kept
                self.imported(home.__name__, name, name)
            elif expression != name:
                self.body.append(f"{name} = {expression}")

    def missing(self, where: str, what: str) -> str:
        self.notes[f"{where} is {what}; write it in place of `...`"] = None
        return "..."

    # -- Values.

    def value(self, x: Any, where: str, wanted: str | None = None) -> str:
        """An expression for a value. `where` says what it is to the reader, if it cannot be written."""
        kind = type(x)
        if kind is str:
            return _quoted(x)
        if x is None or kind in (bool, int, bytes, range) or x is ...:
            return repr(x)
        if kind is float:
            return _number(x)
        if kind is complex:
            return f"complex({_number(x.real)}, {_number(x.imag)})"
        if kind is np.ndarray:
            return self.array(x, where)
        if isinstance(x, np.generic):
            return self.scalar(x, where)
        if isinstance(x, np.dtype):
            dtype = self.dtype(x)
            return self.missing(where, f"the dtype {x}") if dtype is None else f"{self.numpy}.dtype({dtype})"
        if is_jax_array(x) and not is_jax_tracer(x):
            return f"{self.tracegrad}.device_put({self.array(np.asarray(x), where)})"
        if isinstance(x, Op):
            return self.op(x, where)
        if kind is Sample:
            found = [self.value(x.inputs, f"{where}.inputs")]
            params = [self.value(dict(x.params), f"{where}.params")] if x.params else []
            return self.joined(f"{self.imported('tracegrad.op', 'Sample')}(", [*found, *params], ")")
        if isinstance(x, ModuleType) and _importable(x):
            return self.module(x.__name__)
        if callable(x):
            return self.function(x, where, wanted)
        return self.container(x, where)

    def container(self, x: Any, where: str) -> str:
        kind = type(x)
        if kind is list or kind is tuple:
            items = [self.value(y, f"{where}[{i}]") for i, y in enumerate(x)]
            return self.joined(*(("[", items, "]") if kind is list else ("(", items, ",)" if len(x) == 1 else ")")))
        if kind is dict or kind is MappingProxyType:
            items = [f"{self.value(k, where)}: {self.value(y, f'{where}[{k!r}]')}" for k, y in x.items()]
            return self.joined("{", items, "}")
        if kind is OrderedDict or kind is defaultdict:
            first = [self.value(x.default_factory, where)] if kind is defaultdict else []
            items = [f"({self.value(k, where)}, {self.value(y, f'{where}[{k!r}]')})" for k, y in x.items()]
            name = self.imported("collections", kind.__name__)
            return self.joined(f"{name}(", [*first, self.joined("[", items, "]")], ")")
        if kind is set or kind is frozenset:
            items = sorted([self.value(y, where) for y in x])
            return self.joined(f"{kind.__name__}([", items, "])")
        if kind is slice:
            return f"slice({', '.join([self.value(y, where) for y in (x.start, x.stop, x.step)])})"
        if isinstance(x, enum.Enum) and (found := self.of_module(kind)) is not None:
            return f"{found}[{x.name!r}]"
        fields: list[str] | None = None
        if isinstance(x, tuple) and hasattr(kind, "_fields"):
            fields = list(kind._fields)
        elif dataclasses.is_dataclass(x) and all([f.init for f in dataclasses.fields(x)]):
            fields = [f.name for f in dataclasses.fields(x)]
        if fields is not None and (found := self.of_module(kind)) is not None:
            items = [f"{n}={self.value(getattr(x, n), f'{where}.{n}')}" for n in fields]
            return self.joined(f"{found}(", items, ")")
        return self.missing(where, f"a {kind}: {clip(repr(x), 80)}")

    def joined(self, start: str, items: Sequence[str], end: str) -> str:
        """A bracket in one line, or with a line for each item."""
        line = f"{start}{', '.join(items)}{end}"
        if len(line) <= WIDTH and "\n" not in line:
            return line
        if len(items) == 1 and items[0].startswith((f"{self.numpy}.", "(", "[", "{")):
            return line  # as black has it: no line for a bracket alone
        return "\n".join([start, *[textwrap.indent(f"{item},", INDENT) for item in items], end.lstrip(",")])

    def dtype(self, dtype: np.dtype[Any]) -> str | None:
        """What NumPy takes for a dtype, or None for one of Python objects or of fields."""
        if dtype.kind in "biufc":
            return f'"{dtype.name if dtype.isnative else dtype.str}"'
        if dtype.type.__module__ == "ml_dtypes":
            return f"{self.module('ml_dtypes')}.{dtype.type.__name__}"
        return f'"{dtype.str}"' if dtype.kind in "mMSU" else None

    def array(self, x: np.ndarray[Any, Any], where: str) -> str:
        """An array, bit by bit."""
        dtype = self.dtype(x.dtype)
        if dtype is None:
            return self.missing(where, f"an array of dtype {x.dtype}")
        np_ = self.numpy
        text: str | None = None
        if x.size == 0:
            text = f"{np_}.zeros({x.shape}, dtype={dtype})"
        elif x.size > 16 and len({e.tobytes() for e in x.ravel()[:: max(1, x.size // 16)]}) == 1:
            text = f"{np_}.full({x.shape}, {self.element(x.ravel()[0])}, dtype={dtype})"
            text = text if self.gives(text, x) else None
        if text is None and x.size <= LISTED and x.dtype.kind not in "mMSU":
            numbers = self.numbers(x)
            whole = f"{np_}.array({numbers}, dtype={dtype})"
            if len(whole) > WIDTH:
                numbers = textwrap.fill(numbers, WIDTH, break_long_words=False, break_on_hyphens=False)
                whole = f"{np_}.array(\n{textwrap.indent(numbers, INDENT)},\n    dtype={dtype},\n)"
            text = whole if self.gives(whole, x) else None  # the text of a NaN does not tell which one
        if text is None:
            if x.nbytes > LIMIT:
                what = f"an array of shape {x.shape} and dtype {x.dtype} whose {x.nbytes:,} bytes are too many to write"
                return self.missing(where, what)
            code = base64.b64encode(x.tobytes()).decode()
            lines = "".join([f'\n    "{code[i : i + WIDTH]}"' for i in range(0, len(code), WIDTH)])
            decoded = f"{self.module('base64')}.b64decode({lines}\n)"
            text = f"{np_}.frombuffer({decoded}, dtype={dtype}).reshape({x.shape}).copy()"
        return f"{np_}.asfortranarray({text})" if x.flags.f_contiguous and not x.flags.c_contiguous else text

    def gives(self, text: str, x: Any) -> bool:
        """Whether an expression gives just this array, or NumPy scalar."""
        scope = {name: module for name, module in self.bound.items() if isinstance(module, ModuleType)}
        got = eval(text, scope)
        return (type(got), got.dtype, got.shape, got.tobytes()) == (type(x), x.dtype, x.shape, x.tobytes())

    def numbers(self, x: Any) -> str:
        return f"[{', '.join([self.numbers(row) for row in x])}]" if np.ndim(x) else self.element(np.asarray(x)[()])

    def element(self, x: Any) -> str:
        if x.dtype.kind in "biu":
            return repr(x.item())
        if x.dtype.kind == "c":
            real, imag = self.element(x.real), self.element(x.imag)
            if x.real != 0 and x.imag != 0 and np.isfinite(x.real) and np.isfinite(x.imag):
                return f"{real}{'' if imag.startswith('-') else '+'}{imag}j"
            return f"complex({real}, {imag})"  # -1j has a negative zero for a real part
        number = float(x)
        if math.isfinite(number):
            return str(x) if x.dtype.name in ("float16", "float32") else repr(number)
        return (
            f"{self.numpy}.nan" if math.isnan(number) else f"{self.numpy}.inf" if number > 0 else f"-{self.numpy}.inf"
        )

    def scalar(self, x: np.generic, where: str) -> str:
        dtype = self.dtype(x.dtype)
        if dtype is None or x.dtype.kind in "mMSU":
            return self.missing(where, f"a {type(x)}: {clip(repr(x), 80)}")
        package = self.numpy if type(x).__module__ == "numpy" else self.module(type(x).__module__)
        text = f"{package}.{type(x).__name__}({self.element(x)})"
        if self.gives(text, x):
            return text
        return f"{self.numpy}.frombuffer(bytes.fromhex({x.tobytes().hex()!r}), dtype={dtype})[0]"

    def op(self, op: Op, where: str) -> str:
        found = _home(op)
        own = found is not None and not found[0].__name__.startswith("tracegrad.")
        if found is not None and own:
            return self.imported(found[0].__name__, found[1])
        modules = {getattr(getattr(op, slot, None), "__module__", None) or "" for slot in Op.__slots__}
        modules = {m for m in modules if m.startswith("tracegrad.ops.") and not m.endswith(".families")}
        if OPS.get(op.name) is op and (found is not None or modules):
            if "tracegrad.lax" in sys.modules:
                self.imports["import tracegrad.lax"] = []  # some ops come with it
            return f'{self.imported("tracegrad.op", "OPS")}["{op.name}"]'
        return self.missing(where, f"the op {op.name!r}, which is in no module that could be imported")

    # -- Functions.

    def function(self, f: Any, where: str, wanted: str | None = None) -> str:
        """A function by an expression: imported, or else defined before."""
        if id(f) in self.names:
            return self.names[id(f)]
        programs = sys.modules.get("tracegrad.testing.programs")
        if programs is not None and isinstance(f, programs.Program):
            return self.program(f, where)
        found = self.of_module(f, wanted)
        if found is not None:
            return found
        if isinstance(f, FunctionType):
            return self.plain_function(f, where, wanted)
        if isinstance(f, custom_jvp | custom_vjp):
            return self.custom(f, where, wanted)
        if isinstance(f, Jitted):
            return self.jitted(f, where, wanted)
        if isinstance(f, functools.partial):
            items = [self.function(f.func, f"{where}.func"), *[self.value(x, where) for x in f.args]]
            items += [f"{n}={self.value(x, where)}" for n, x in f.keywords.items()]
            return self.joined(f"{self.module('functools')}.partial(", items, ")")
        if isinstance(f, MethodType | BuiltinFunctionType) and not isinstance(f.__self__, ModuleType | None):
            return f"{self.value(f.__self__, f'{where}.__self__')}.{f.__name__}"
        return self.container(f, where)

    def plain_function(self, f: FunctionType, where: str, wanted: str | None) -> str:
        code = f.__code__
        if code.co_qualname == "accepting_jax.<locals>.accepting":
            return self.function(_closure(f)["function"], where, wanted)
        made_by = (
            TRANSFORMS.get(code.co_qualname) if f.__globals__.get("__name__", "").startswith("tracegrad.") else None
        )
        if made_by is not None:
            transform, of, options = made_by(_closure(f))
            public = getattr(sys.modules["tracegrad"], transform)
            items = [self.function(of, where), *self.options(inspect.signature(public), options)]
            return self.joined(f"{self.tracegrad}.{transform}(", items, ")")
        found = self.define(f, wanted, f, None)
        if found is None:
            place = f"{code.co_filename}:{code.co_firstlineno}"
            return self.missing(
                where, f"the function {f.__qualname__!r} ({place}), whose source cannot be taken from there"
            )
        return found

    def define(self, f: FunctionType, wanted: str | None, stands_for: Any, wrapper: str | None) -> str | None:
        """Write a function's definition, in a wrapper if there is one, and give its name; None where its source is not found.

        What it reads from around it becomes a global of the script. If one of these names is taken by another function's
        already, or is one that it assigns to, the definition goes into a function that has them for arguments.
        """
        found = _definition(f.__code__)
        if found is None or "__class__" in f.__code__.co_freevars:
            return None
        node, source = found
        read: dict[str, tuple[Any, ModuleType | None]] = {n: (x, None) for n, x in _closure(f).items()}
        module = sys.modules.get(f.__module__ or "")
        home = module if module is not None and vars(module) is f.__globals__ else None
        for n in dict.fromkeys(_globals_read(f.__code__)):
            if n in f.__globals__:
                read.setdefault(n, (f.__globals__[n], home))
        name = node.name if isinstance(node, ast.FunctionDef) else wanted or "f"
        assigned = {n for sub in ast.walk(node) if isinstance(sub, ast.Nonlocal) for n in sub.names}
        mine = {n for n, (x, _) in read.items() if n == name and (x is stands_for or x is f)}
        clashes = {n for n, (x, _) in read.items() if n in self.bound and not _same(self.bound[n], x)}
        clashes |= assigned & set(f.__code__.co_freevars)
        clashes -= mine
        inside = bool(clashes) or (name in self.bound and self.bound[name] is not stands_for)
        outer = self.is_bound(stands_for, self.fresh(name, stands_for) if inside else name)
        self.open.add(id(stands_for))
        given = []
        for n, (x, origin) in read.items():
            if n in clashes:
                given.append(f"{n}={self.value(x, f'`{n}`')}")
            elif n not in self.bound and n not in mine:
                self.bind(n, x, origin)
        text = _text(node, source, self.defaults(f, node))
        if isinstance(node, ast.Lambda):
            text = f"{name} = {text if wrapper is None else f'{wrapper}({text})'}"
        else:
            every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
            self.annotated |= node.returns is not None or any(
                [a is not None and a.annotation is not None for a in every]
            )
            text = text if wrapper is None else f"@{wrapper}\n{text}"
        self.open.discard(id(stands_for))
        if inside:
            maker = self.fresh(f"make_{name}")
            self.bound[maker] = maker
            parameters = ", ".join([g.partition("=")[0] for g in given])
            self.body.append(f"def {maker}({parameters}):\n{textwrap.indent(text, INDENT)}\n\n    return {name}")
            self.body.append(self.joined(f"{outer} = {maker}(", given, ")"))
        else:
            self.body.append(text)
        return outer

    def defaults(self, f: FunctionType, node: _Definition) -> list[str | None]:
        """What to write for a function's default values, None where its own text will do."""
        written: list[tuple[ast.expr | None, Any]] = list(zip(node.args.defaults, f.__defaults__ or (), strict=True))
        named = f.__kwdefaults__ or {}
        written += [
            (d, named.get(a.arg)) for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
        ]  # fmt: skip
        return [
            None if d is None or not any([isinstance(n, ast.Name) for n in ast.walk(d)]) else self.value(x, "a default")
            for d, x in written
        ]

    def wrapped(self, f: Any, of: Any, wrapper: str, where: str, wanted: str | None) -> str:
        """What a decorator made of a function: decorated, where the names allow that."""
        own = getattr(of, "__name__", "f")
        own = own if own.isidentifier() else wanted or "f"  # not that of a lambda
        free = wanted in (None, own) and self.bound.get(own, f) is f
        if free and isinstance(of, FunctionType) and id(of) not in self.names and _home(of) is None:
            found = self.define(of, own, f, wrapper)
            if found is not None:
                return found
        expression = f"{wrapper}({self.function(of, where)})"
        name = self.is_bound(f, self.fresh(wanted or own, f))
        self.body.append(f"{name} = {expression}")
        return name

    def custom(self, f: Any, where: str, wanted: str | None) -> str:
        """A function with derivative rules of its own, and the rules."""
        wrapper = f"{self.tracegrad}.{type(f).__name__}"
        if f.nondiff_argnums:
            wrapper = f"{self.module('functools')}.partial({wrapper}, nondiff_argnums={f.nondiff_argnums})"
        name = self.wrapped(f, f.fun, wrapper, where, wanted)
        if isinstance(f, custom_vjp):
            rules, method = [r for r in (f.fwd, f.bwd) if r is not None], "defvjp"
        else:
            rules, method = [r for r in (f.rule,) if r is not None], "defjvp"
            for rule in list(rules):
                if isinstance(rule, FunctionType) and rule.__code__.co_qualname == "custom_jvp.defjvps.<locals>.rule":
                    rules, method = list(_closure(rule)["rules"]), "defjvps"
        if rules:
            written = [self.value(r, f"a rule of {where}", wanted=self.fresh(f"{name}_{method}")) for r in rules]
            self.body.append(self.joined(f"{name}.{method}(", written, ")"))
        return name

    def jitted(self, f: Jitted, where: str, wanted: str | None) -> str:
        options = {"static_argnums": f._static_argnums, "static_argnames": f._static_argnames, "fast": f._fast}
        given = dict(f._given) if isinstance(f, JittedOnXla) else dict(f._options or {})
        backend = "xla" if isinstance(f, JittedOnXla) else "numpy" if f._options is None else None
        public = sys.modules["tracegrad"].jit
        items = self.options(inspect.signature(public), {"backend": backend, **options, **given})
        wrapper = f"{self.tracegrad}.jit"
        if items:
            wrapper = self.joined(f"{self.module('functools')}.partial(", [wrapper, *items], ")")
        return self.wrapped(f, f._fun, wrapper, where, wanted)

    def program(self, f: Any, where: str) -> str:
        """A random program: its source defines it as `program`, and imports what it needs."""
        if self.bound.get("program", f) is not f or (self.numpy, self.tracegrad) != ("np", "tg"):
            return self.missing(where, "a random program, whose names stand for something else here")
        self.body.append(f.source.removeprefix("import numpy as np\nimport tracegrad as tg\n").strip())
        return self.is_bound(f, "program")


def _number(x: float) -> str:
    if math.isfinite(x):
        return repr(x)
    sign = "-" if math.copysign(1.0, x) < 0 else ""
    return f'{sign}float("{"nan" if math.isnan(x) else "inf"}")'


def _quoted(text: str) -> str:
    found = repr(text)
    return found if '"' in found else f'"{found[1:-1]}"'
