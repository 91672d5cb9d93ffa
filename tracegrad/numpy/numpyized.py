"""Plain NumPy code with `tracegrad.numpy` in NumPy's place: copies of functions, classes and modules, made as they are reached.

A function finds the names that it uses in a dict, its globals. A copy has the same code, and for globals a dict of its own
(`_Globals`) that asks the function's when a name is read, and hands out the copy of what stands there. So nothing is searched
beforehand, functions that call each other need no care, and what is defined or changed later is seen.
"""

from __future__ import annotations

import builtins
import enum
import functools
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from types import (
    CellType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any, cast

import numpy as np

from tracegrad import tree
from tracegrad.core.advice import distribution_of
from tracegrad.core.errors import at, clip, is_of_the_user, user_source
from tracegrad.core.late import LOADERS
from tracegrad.core.names import Transformed
from tracegrad.core.reached import codes
from tracegrad.transforms.jit.numpy import Jitted
from tracegrad.typing import F

# Packages whose code stays as it is: NumPy's own but for what tracegrad.numpy has, ours, what is not computed by NumPy, and Python's.
_STAYS = sys.stdlib_module_names | {"numpy", "tracegrad", "jax", "jaxlib"}
# Of these nothing is ever copied: what most names and cells hold.
_VALUES = frozenset([
    np.ndarray, int, float, complex, bool, str, bytes, type(None), list, tuple, dict, set, frozenset, range, slice,
    type(Ellipsis), type(NotImplemented), np.ufunc,
])  # fmt: skip
_MISSING = object()
# SciPy's modules whose functions have others in their place, those of tg.scipy. Sparse arrays are constants, and stay; so do solvers of
# scipy.optimize, which take derivatives that ours make themselves.
_ROOMS = ("integrate", "interpolate", "linalg", "ndimage", "signal", "sparse.linalg", "special", "stats")


def numpyize(f: F) -> F:
    """A copy of `f`, and of the Python code that it reaches, in which each name of NumPy's is `tracegrad.numpy`'s.

    NumPy cannot hand over to tracegrad what makes an array of a list or a number: `np.array([t, 2 * t])`, `np.asarray(t)`, and
    `y = np.zeros(3); y[0] = t`. `tracegrad.numpy` can, and a copy of code that says `np` has it without a change. Nothing that
    exists is touched, neither NumPy, nor the functions and modules that are copied, nor `sys.modules`: other threads and whoever
    else calls the original see nothing.

    Args:
        f: a Python function, method, class, `functools.partial` or object with `__call__`; or a module or package, of which the
            copy has the same names.

    Returns:
        The copy. Its code is that of `f`, so that errors name the same file and line. What it reads from its globals is read
        when it is used, as ever: names of NumPy's modules and functions (also where they are imported in a function's body) as
        those of `tracegrad.numpy`, or as they are if that has not got them; Python functions, modules and their submodules as
        copies of these; functions of `array_api_compat.numpy`, also of SciPy's copy of it, as those of NumPy's that have their names.
        Functions, distributions and interpolators of SciPy's that `tg.scipy` has are those, but
        for solvers of `scipy.optimize`.
        Classes, and objects in global names, are copied if they are the user's or of the package of `f`, and if
        their methods reach NumPy; `isinstance` takes objects of a class for those of its copy. Default arguments, closures and
        the functions under decorators are copied with the function, and so are those that are transformed, as `tg.grad(g)` and
        `tg.jit(g)`.

    Raises:
        TypeError: what has no Python code: functions and modules in C, values.

    What stays as it is: code in C; Python's library, NumPy's own functions and jax; functions with `functools.lru_cache`, which
    take nothing traced and keep what they make; exceptions, enumerations, named tuples and
    classes that are registered as nodes of trees; functions in lists, dicts and other containers; what a module has computed
    when it was imported; scalar types, so that `np.float64(t)` is refused as `float(t)` is. What the copy assigns to a global
    name it alone sees, and `globals()` in it has no others. A closure is copied as it is when the copy is made.

    >>> import numpy as np, scipy.optimize, tracegrad as tg
    >>> tg.grad(tg.numpyize(scipy.optimize.rosen))(np.array([1.0, 2.0])).tolist()   # which calls np.asarray
    [-400.0, 200.0]
    """
    copies = _Copies(_package(f.__name__ if isinstance(f, ModuleType) else getattr(f, "__module__", None)))
    found = copies.converted(f)
    if found is f:
        raise TypeError(
            f"numpyize{at(user_source())} copies Python functions, classes and modules, and there is none to copy of "
            f"{clip(repr(f))}"
        )
    return cast(F, found)


def _package(module: Any) -> str:
    """The outermost package of a module's name."""
    return module.partition(".")[0] if isinstance(module, str) else ""


# ---------------------------------------------------------------------------------------------------------------------
# What stands for NumPy's names.


@functools.cache
def _replacements() -> dict[int, tuple[Any, Any]]:
    """NumPy's modules and functions, each with what takes its place, by the id of the first."""
    found: dict[int, tuple[Any, Any]] = {}
    _pair(np, LOADERS["numpy"](), found)
    return found


def _pair(module: ModuleType, ours: ModuleType, found: dict[int, tuple[Any, Any]]) -> None:
    """Note what stands for a module of NumPy's: one of the same names, of which `ours` has some. Ufuncs are NumPy's, which hands
    them over by itself."""
    stands = ModuleType(module.__name__, module.__doc__)
    names = vars(stands)
    for name, theirs in vars(module).items():
        if name == "__getattr__":
            continue
        mine = getattr(ours, name, None) if name in ours.__all__ else None
        if isinstance(mine, ModuleType) and mine is not theirs:
            _pair(theirs, mine, found)
        elif mine is not None and mine is not theirs and not isinstance(theirs, np.ufunc):
            found[id(theirs)] = theirs, mine
        names[name] = found.get(id(theirs), (None, theirs))[1]

    def later(name: str) -> Any:
        theirs = getattr(module, name)
        return found.get(id(theirs), (None, theirs))[1]

    names["__getattr__"] = later
    found[id(module)] = module, stands


# ---------------------------------------------------------------------------------------------------------------------
# Copies.


class _Globals(dict[str, Any]):
    """The globals of copied functions: what these assign, and for all else copies of what stands in the originals'."""

    __slots__ = ("copies", "original")

    def __init__(self, original: dict[str, Any], copies: _Copies) -> None:
        own = ("__name__", "__package__", "__spec__", "__loader__", "__file__", "__path__", "__doc__")
        super().__init__({name: original[name] for name in own if name in original})
        self["__builtins__"] = copies.builtins
        self.original = original
        self.copies = copies

    def __missing__(self, name: str) -> Any:
        value = self.original.get(name, _MISSING)
        if value is not _MISSING:
            return self.copies.converted(value)
        return self.original[name] if type(self.original) is _Globals else self.copies.builtins[name]

    def get(self, name: str, default: Any = None) -> Any:
        value = dict.get(self, name, self.original.get(name, _MISSING))
        return default if value is _MISSING else self.copies.converted(value)


class _Module(ModuleType):
    """A copy of a module: its names are looked up when somebody asks, its submodules too."""

    def __init__(self, original: ModuleType, names: _Globals) -> None:
        super().__init__(original.__name__, original.__doc__)
        vars(self).update({k: v for k, v in names.items() if k != "__builtins__"}, _original=original, _names=names)

    def __getattr__(self, name: str) -> Any:
        names: _Globals = vars(self)["_names"]
        own = dict.get(names, name, _MISSING)
        return names.copies.converted(getattr(vars(self)["_original"], name)) if own is _MISSING else own

    def __setattr__(self, name: str, value: Any) -> None:
        vars(self)["_names"][name] = value

    def __dir__(self) -> list[str]:
        return dir(vars(self)["_original"])


class _Copied(type):
    """The class of copied classes, of which objects of the original are instances too."""

    def __instancecheck__(cls, instance: Any) -> bool:
        original = vars(cls).get("__numpyized__")
        return super().__instancecheck__(instance) or (original is not None and isinstance(instance, original))

    def __subclasscheck__(cls, subclass: type) -> bool:
        original = vars(cls).get("__numpyized__")
        return super().__subclasscheck__(subclass) or (original is not None and issubclass(subclass, original))


@functools.cache
def _copied(meta: type) -> type:
    """A metaclass as that of copied classes."""
    return _Copied if meta is type else type(meta)(meta.__name__, (_Copied, meta), {})


class _Copies:
    """What one call of `numpyize` has copied by now."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.builtins = {**vars(builtins), "__import__": self._import}
        self.replaced = _replacements()
        self.known: dict[
            int, tuple[Any, Any]
        ] = {}  # what was copied (kept, since others might get its id), and the copy
        self.globals: dict[int, _Globals] = {}
        self.cells: dict[int, tuple[CellType, CellType]] = {}
        self.waiting: list[tuple[CellType, CellType]] = []  # cells that are to be filled
        self.building: set[int] = set()  # classes that are being copied, by id
        self.without: set[int] = set()  # what is known not to reach NumPy, by id
        self.lock = threading.RLock()  # held while something is copied, so that nobody gets a half of it

    def converted(self, value: Any) -> Any:
        """A value as the copies have it."""
        if type(value) in _VALUES:
            return value
        found = self.replaced.get(id(value)) or self.known.get(id(value))
        if found is not None and found[0] is value:
            return found[1]
        with self.lock:
            copy = self._copy_of(value)
            if copy is not value or isinstance(value, type):
                self.known[id(value)] = value, copy
            if not self.building:
                self._fill()
            return copy

    def _copy_of(self, value: Any) -> Any:
        stands = self._of_scipys(value)
        if stands is not None:
            return stands
        if isinstance(value, type):
            return self._class(value)
        make = _MAKERS.get(type(value))
        if make is not None:
            return make(self, value)
        return self._module(value) if issubclass(type(value), ModuleType) else self._instance(value)

    def _of_scipys(self, value: Any) -> Any:
        """What of tg.scipy's stands for an object of SciPy's: what has its public name there, or a distribution with its parameters
        fixed; None for all else."""
        of = value if isinstance(value, type | FunctionType) else type(value)
        if not str(of.__module__).startswith("scipy."):
            return None
        name = distribution_of(value) or getattr(value, "__name__", "")
        for room in _ROOMS:
            theirs = getattr(sys.modules.get(f"scipy.{room}"), name, None)
            if theirs is None or not (value is theirs or type(getattr(value, "dist", None)) is type(theirs)):
                continue  # where it is a distribution, that of one number, and one of the user's own is another type
            ours = functools.reduce(getattr, room.split("."), LOADERS["scipy"]())
            if name not in ours.__all__:
                return None
            ours = getattr(ours, name)
            return (
                ours
                if value is theirs
                else ours(*map(self.converted, value.args), **{k: self.converted(v) for k, v in value.kwds.items()})
            )
        return None

    def _fill(self) -> None:
        """Fill the cells of closures with copies of what the originals' have: when there are all the functions that may call each
        other."""
        later = []
        while self.waiting:
            cell, new = self.waiting.pop()
            if id(cell.cell_contents) in self.building:  # the class of a method
                later.append((cell, new))
            else:
                new.cell_contents = self.converted(cell.cell_contents)
        self.waiting += later

    def _import(self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        """What `import` in the body of a copied function calls."""
        return self.converted(builtins.__import__(name, globals, locals, fromlist, level))

    def globals_of(self, namespace: dict[str, Any]) -> _Globals:
        found = self.globals.get(id(namespace))
        if found is None:
            found = self.globals[id(namespace)] = _Globals(namespace, self)
        return found

    # Functions.
    def _function(self, f: FunctionType) -> Any:
        if _package(f.__module__) in _STAYS:
            return f
        names = f.__globals__
        # A decorator of a library's made it: what that calls is in the closure.
        is_theirs = _package(names.get("__name__")) in _STAYS
        new = names if is_theirs else self.globals_of(names)
        cells = tuple([self._cell(c) for c in f.__closure__ or ()])
        copy = FunctionType(f.__code__, new, f.__name__, None, cells)
        self.known[id(f)] = f, copy
        if type(new) is _Globals:
            for name in _names_in_classes(f.__code__):  # which no `__missing__` is asked for
                if name in names:
                    dict.setdefault(new, name, self.converted(names[name]))
        copy.__defaults__ = None if f.__defaults__ is None else tuple(map(self.converted, f.__defaults__))
        if f.__kwdefaults__ is not None:
            copy.__kwdefaults__ = {k: self.converted(v) for k, v in f.__kwdefaults__.items()}
        for name in ("__qualname__", "__module__", "__doc__", "__annotations__", "__type_params__"):
            if hasattr(f, name):
                setattr(copy, name, getattr(f, name))
        vars(copy).update({k: self.converted(v) for k, v in vars(f).items()})
        return copy

    def _cell(self, cell: CellType) -> CellType:
        """The cell of a copy. One that holds a value, or nothing yet, both share."""
        known = self.cells.get(id(cell))
        if known is not None:
            return known[1]
        try:
            is_shared = type(cell.cell_contents) in _VALUES
        except ValueError:
            is_shared = True
        new = cell if is_shared else CellType()
        self.cells[id(cell)] = cell, new
        if not is_shared:
            self.waiting.append((cell, new))
        return new

    def _partial(self, f: functools.partial[Any]) -> Any:
        args = [self.converted(x) for x in f.args]
        return functools.partial(self.converted(f.func), *args, **{k: self.converted(v) for k, v in f.keywords.items()})

    def _transformed(self, f: Transformed) -> Any:
        make, args, kwargs = f.made
        return make(*map(self.converted, args), **{k: self.converted(v) for k, v in kwargs.items()})

    def _jitted(self, f: Jitted) -> Any:
        return f.of_another(self.converted)

    def _method(self, f: MethodType) -> Any:
        return MethodType(self.converted(f.__func__), self.converted(f.__self__))

    def _static(self, f: Any) -> Any:
        return type(f)(self.converted(f.__func__))

    def _property(self, f: property) -> Any:
        fget, fset, fdel = map(self.converted, (f.fget, f.fset, f.fdel))
        return property(fget, fset, fdel, f.__doc__)

    def _cached_property(self, f: Any) -> Any:
        return functools.cached_property(self.converted(f.func))

    # Modules.
    def _module(self, module: ModuleType) -> Any:
        file = getattr(module, "__file__", None) or ""
        if _package(module.__name__) in _STAYS or file.endswith((".so", ".pyd")) or type(module) is _Module:
            return module
        names = self.globals_of(vars(module))
        if module.__name__.endswith(
            "array_api_compat.numpy"
        ):  # others' NumPy in the standard's words, which ours has too
            stands = self.replaced[id(np)][1]
            for name, theirs in vars(module).items():
                if isinstance(theirs, FunctionType) and not name.startswith("_") and hasattr(np, name):
                    dict.setdefault(names, name, getattr(stands, name))
        return _Module(module, names)

    # Classes and their objects.
    def _class(self, cls: type) -> type:
        if not self._is_copied(cls):
            return cls
        self.building.add(id(cls))
        try:
            bases = tuple(map(self.converted, cls.__bases__))
            members = {
                k: self._member(v)
                for k, v in vars(cls).items()
                if k not in ("__dict__", "__weakref__")
                and not isinstance(v, MemberDescriptorType | GetSetDescriptorType)
            }
            try:
                copy = _copied(type(cls))(cls.__name__, bases, {**members, "__numpyized__": cls})
            except TypeError:  # one that says by which rules classes are derived from it
                copy = cls
        finally:
            self.building.discard(id(cls))
        self.known[id(cls)] = cls, copy
        self._fill()
        return cast(type, copy)

    def _member(self, value: Any) -> Any:
        """What a class has under a name, with copies in the lists, tuples and dicts too: of classes that it works with, say."""
        if type(value) is list or type(value) is tuple:
            items = [self.converted(x) for x in value]
            return value if all([a is b for a, b in zip(items, value, strict=True)]) else type(value)(items)
        if type(value) is dict:
            found = {k: self.converted(v) for k, v in value.items()}
            return value if all([found[k] is v for k, v in value.items()]) else found
        return self.converted(value)

    def _is_copied(self, cls: type) -> bool:
        package, module = _package(cls.__module__), sys.modules.get(cls.__module__)
        if package in _STAYS or issubclass(cls, BaseException | enum.Enum | tuple) or id(cls) in self.building:
            return False
        if package != self.package and not is_of_the_user(getattr(module, "__file__", None) or ""):
            return False
        return not tree.is_registered(cls) and self._reaches_numpy(cls)

    def _reaches_numpy(self, cls: type) -> bool:
        """Whether a copy would differ: whether there is a name of NumPy's in what its methods call."""
        seen: dict[int, Any] = {}
        waiting = [cls]
        while waiting:
            x: Any = waiting.pop()
            if id(x) in self.replaced and self.replaced[id(x)][0] is x:
                return True
            if type(x) in _VALUES or id(x) in seen or id(x) in self.without:
                continue
            seen[id(x)] = x
            if issubclass(type(x), ModuleType):
                if _package(x.__name__) not in _STAYS:
                    return True  # what is in there is not known before it is asked for
            elif isinstance(x, type):
                if _package(x.__module__) not in _STAYS:
                    waiting += [*vars(x).values(), *x.__bases__]
            elif type(x) is FunctionType:
                if _package(x.__module__) not in _STAYS:
                    names = set(_names(x.__code__))
                    if "numpy" in names:
                        return True
                    waiting += [x.__globals__[name] for name in names if name in x.__globals__]
                    waiting += [c.cell_contents for c in x.__closure__ or () if not _is_empty(c)]
                    waiting += [*(x.__defaults__ or ()), *(x.__kwdefaults__ or {}).values(), *vars(x).values()]
            elif type(x) in _MAKERS:
                waiting += [getattr(x, name, None) for name in ("func", "__func__", "__self__", "__wrapped__")]
                waiting += [getattr(x, name, None) for name in ("fget", "fset", "fdel")]
            else:
                waiting.append(type(x))
        self.without.update(seen)
        self.known.update({key: (x, x) for key, x in seen.items() if isinstance(x, type)})
        return False

    def _instance(self, x: Any) -> Any:
        """An object in a global name or a closure, of a class that is copied: it shares its state with the copy."""
        cls = type(x)
        new = self.converted(cls)
        if new is cls:
            return x
        try:
            copy = object.__new__(new)
            copy.__dict__ = vars(x)
        except (TypeError, AttributeError):  # it is made in another way
            return x
        self.known[id(x)] = x, copy
        state = {k: self.converted(v) for k, v in vars(x).items()}
        if any([a is not b for a, b in zip(state.values(), vars(x).values(), strict=True)]):
            copy.__dict__ = state
        return copy


_MAKERS: dict[type, Callable[[_Copies, Any], Any]] = {
    FunctionType: _Copies._function,
    functools.partial: _Copies._partial,
    Transformed: _Copies._transformed,
    Jitted: _Copies._jitted,
    MethodType: _Copies._method,
    staticmethod: _Copies._static,
    classmethod: _Copies._static,
    property: _Copies._property,
    functools.cached_property: _Copies._cached_property,
}


def _is_empty(cell: CellType) -> bool:
    try:
        return cell.cell_contents is _MISSING
    except ValueError:
        return True


def _names(code: CodeType) -> Iterator[str]:
    """The global names, attributes and modules that code uses."""
    for inner in codes(code):
        yield from inner.co_names


def _names_in_classes(code: CodeType) -> Iterator[str]:
    """Those that bodies of classes in it use, which are looked up in another way."""
    for inner in codes(code):
        if not inner.co_flags & inspect.CO_OPTIMIZED:
            yield from inner.co_names
