"""What to write instead, by what the user's line does: which function it calls, whether it writes, formats or loops. All of it is
for the texts of errors, and where nothing can be found out (source code that nobody has) they are general."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from dis import opname
from types import FrameType, ModuleType
from typing import Any

import numpy as np

from tracegrad.core.context import context
from tracegrad.core.errors import name_of, ours, resolve, text_at, user_frame, user_source
from tracegrad.core.late import LOADERS

# math's and cmath's functions that are called otherwise here, or not at all; the others are NumPy's by the same name.
_MATH = {
    "acos": "np.arccos(x)", "acosh": "np.arccosh(x)", "asin": "np.arcsin(x)", "asinh": "np.arcsinh(x)",
    "atan": "np.arctan(x)", "atan2": "np.arctan2(y, x)", "atanh": "np.arctanh(x)",
    "dist": "np.linalg.norm(x - y)", "erf": "tg.lax.erf(x)", "erfc": "tg.lax.erfc(x)", "fabs": "np.abs(x)",
    "factorial": "np.exp(tg.lax.lgamma(x + 1.0))", "fsum": "np.sum(x)", "gamma": "np.exp(tg.lax.lgamma(x)), for x > 0",
    "lgamma": "tg.lax.lgamma(x)", "phase": "np.angle(z)", "pow": "x ** y", "rect": "r * np.exp(1j * phi)",
    "remainder": "x - y * np.rint(x / y)", "sumprod": "np.dot(x, y)", "ulp": "np.spacing(x)",
}  # fmt: skip


def function_called() -> tuple[str, Any]:
    """What the user's line calls, as it is written there, and the function itself; ("", None) where that is not known."""
    cell = context.cell
    if cell is not None and cell[0] is not None:
        return "", None
    frame = user_frame()
    found = re.match(r"[\w.]+(?=\()", _text(frame))
    if found is None or not _calls(frame):
        return "", None
    first, *names = found[0].split(".")
    function = frame.f_locals.get(first, frame.f_globals.get(first))
    for name in names:
        function = getattr(function, name, None) if isinstance(function, ModuleType) else None
    return found[0], function


def method_called() -> tuple[str, str]:
    """The plain array whose method the user's line calls, as it is written there, and the method; nothing for all else."""
    cell = context.cell
    frame = user_frame()
    found = re.match(r"([\w.]+)\.(\w+)\(", _text(frame))
    if (cell is not None and cell[0] is not None) or found is None or not _calls(frame):
        return "", ""
    first = found[1].partition(".")[0]
    is_module = isinstance(frame.f_locals.get(first, frame.f_globals.get(first)), ModuleType)
    return ("", "") if is_module or not hasattr(np.ndarray, found[2]) else (found[1], found[2])


def of_a_method(array: str, method: str) -> str:
    """What to write in place of a method of a plain array, which does not know tracers."""
    if method == "dot":
        return f"In place of `{array}.dot(x)` of a plain array write `{array} @ x`."
    return f"In place of `{array}.{method}(...)` of a plain array write `tnp.{method}({array}, ...)`."


def for_rules(transform: str) -> str:
    """What to write besides for a function that is traced although it has derivative rules."""
    if transform != "call":
        return ""
    return (
        "\n  jit, vmap and their kin trace a function that has its own derivative, too. Where it cannot be traced, write "
        "`tg.external(f, out=..., vjp=...)` in place of `tg.custom_vjp`, or `jvp=...` in place of `tg.custom_jvp`; "
        "in place of `tg.implicit(F)(solver)` write `tg.implicit(F)(tg.external(solver, out=...))`."
    )


WITH_TNP = "(with `import tracegrad.numpy as tnp`)"


def tnp_or_numpyize(function: Any, library: str = "") -> str:
    """How to have `tnp`, or in place of it all that a traced function reaches of NumPy's, unless it has that, or calls a function
    of a library's for which nothing is put then."""
    is_replaced = not library or (ours_for(library) and not library.startswith("scipy.optimize."))
    if not is_replaced or type(user_frame().f_globals) is not dict:
        return WITH_TNP
    name = name_of(function)
    return (
        "(with `import tracegrad.numpy as tnp`; or leave the code as it is, and trace "
        f"`tg.numpyize({name if name.isidentifier() else 'f'})` in its place)"
    )


def _calls(frame: FrameType) -> bool:
    """Whether a frame is at a call: in Python 3.11, where that has been run often, at what prepares it (PRECALL)."""
    return "CALL" in _instruction(frame)[0]


# What NumPy's generators draw, made of numbers that do not depend on the parameters, and tg.random's names for the rest.
_SCALED = {
    "exponential": "scale * {}.exponential()", "gumbel": "loc + scale * {}.gumbel()",
    "laplace": "loc + scale * {}.laplace()", "logistic": "loc + scale * {}.logistic()",
    "lognormal": "np.exp(mean + sigma * {}.normal())", "normal": "mu + sigma * {}.normal()",
    "rayleigh": "scale * {}.rayleigh()", "uniform": "low + (high - low) * {}.uniform()",
}  # fmt: skip
_DRAWN = {
    **{name: name for name in (
        "beta", "binomial", "chisquare", "choice", "dirichlet", "f", "gamma", "geometric", "multinomial",
        "multivariate_normal", "permutation", "poisson", "triangular", "wald",
    )},
    "integers": "randint", "randint": "randint", "standard_gamma": "gamma", "standard_t": "t", "weibull": "weibull_min",
}  # fmt: skip


def for_drawing() -> str:
    """What to write where the user's line has a generator of NumPy's draw by a parameter that is traced; "" elsewhere."""
    cell = context.cell
    if cell is not None and cell[0] is not None:
        return ""
    frame = user_frame()
    found = re.match(r"([\w.]+)(\([^()]*\))?\.(\w+)\(", _text(frame))
    if found is None:
        return ""
    written, made, method = found[1], found[2] or "", found[3]
    first, *names = written.split(".")
    owner: Any = frame.f_locals.get(first, frame.f_globals.get(first))
    for name in names:  # without running code of the user's
        owner = (
            getattr(owner, name, None) if isinstance(owner, ModuleType) else getattr(owner, "__dict__", {}).get(name)
        )
    place = owner.__name__ if isinstance(owner, ModuleType) else (owner if made else type(owner)).__module__
    if not str(place).startswith("numpy.random"):
        return ""
    if method in _SCALED:
        return (
            f"NumPy draws by plain numbers alone: write `{_SCALED[method].format(written + made)}`, with the size= that the "
            "result has, so that what is drawn does not depend on what is traced."
        )
    instead = f"`tg.random.{_DRAWN[method]}(key, ...)`" if method in _DRAWN else "a function of tg.random's"
    return f"NumPy draws by plain numbers alone: write {instead}, or pass what `{written}{made}.{method}` draws as an argument."


def _instruction(frame: FrameType) -> tuple[str, int]:
    """What a frame is at, and its operand. Where that is a call of Python's, it is at the places that such a call may use."""
    code, offset = frame.f_code.co_code, frame.f_lasti
    while opname[code[offset]] == "CACHE":
        offset -= 2
    return opname[code[offset]], code[offset + 1]


def _text(frame: FrameType) -> str:
    """The source of what a frame is at, from where it begins."""
    return text_at(frame.f_code, frame.f_lasti)


def is_formatting() -> bool:
    """Whether a plain number is wanted by `"%.3f" % x`."""
    name, operand = _instruction(user_frame(ours))
    return name == "BINARY_OP" and operand in _REMAINDER


_REMAINDER = (6, 19)  # the operands of `%` and `%=`


def is_loop() -> bool:
    """Whether the user's line is the head of a `while`."""
    source = resolve(user_source())
    return source is not None and re.match(r"while\b", source.text) is not None


def number_wanted() -> tuple[str, str]:
    """What wants a plain number of a traced one, and what to write in its place."""
    if is_formatting():
        return (
            "formatting with %",
            'Write f"{x:.3f}", which shows the value where there is one, in place of "%.3f" % x.',
        )
    written, function = function_called()
    module, name = getattr(function, "__module__", None), getattr(function, "__name__", "")
    if module in ("math", "cmath"):
        instead = _MATH.get(name, f"np.{name}(...)" if hasattr(np, name) else "")
        if instead:
            return f"{module}.{name}()", f"Write `{instead}` in place of `{written}(...)`."
        return f"{module}.{name}()", f"There is no traced `{module}.{name}`; give it a derivative with `tg.custom_jvp`."
    library = library_called()
    if library:
        instead = ours_for(library)
        if instead:
            return f"float() in {library}", f"Write `{instead}(...)`, which takes traced arrays too, in place of it."
        return f"float() in {library}", f"{library} works on plain numbers: give it a derivative with `tg.custom_jvp`."
    if name == "fromiter":
        return f"{written}()", f"Write `np.stack(list(...))` or `tnp.array(list(...))` in place of `{written}(...)`."
    array, method = method_called()
    if method == "fill":
        return (
            f"{array}.fill()",
            f"Make the array by `{array} = tnp.full(n, v)`, or write `{array} = np.full_like(v, ...)`.",
        )
    if function is None and written in ("float", "complex"):
        return f"{written}()", "Leave it out: NumPy's functions take the array as it is."
    return "float() (or a function of the math module)", _MATH_IN_GENERAL


_MATH_IN_GENERAL = "Write NumPy's function in place of math's: `np.sin(x)`, not `math.sin(x)`."


_BUILTINS = {
    "all": "`np.all(x)`", "any": "`np.any(x)`", "max": "`np.maximum(a, b)` of two, or `np.max(x)` of an array", "min":
    "`np.minimum(a, b)` of two, or `np.min(x)` of an array", "sorted": "`np.sort(x)`",
}  # fmt: skip


def for_builtin() -> str:
    """What to write where the user's line calls a function of Python's that compares; "" elsewhere."""
    written, function = function_called()
    if function is not None or written not in _BUILTINS:
        return ""
    return f"write {_BUILTINS[written]}, in place of `{written}(...)`"


def library_called() -> str:
    """The function of somebody else's library (scipy.linalg.expm) that the user's line calls and that is asking, or ""."""
    asking, frame = user_frame(ours), user_frame()
    if asking is frame:
        return ""
    while asking.f_back is not frame:
        if asking.f_back is None:
            return ""
        asking = asking.f_back
    package = str(asking.f_globals.get("__name__", "")).split(".")[0]
    if package in ("numpy", ""):
        return ""
    written, function = function_called()
    if distribution := distribution_of(owner := asking.f_locals.get("self")):
        method = asking.f_code.co_name
        method = method if hasattr(owner, method) else written.rsplit(".", 1)[-1]  # under a decorator
        return f"scipy.stats.{distribution}" + ("" if method.startswith("__") else f".{method}")
    # Where there is no text of the user's line, as at a prompt, by the name of the function that is asking.
    name = getattr(function, "__name__", asking.f_code.co_name)
    parts = str(getattr(function, "__module__", asking.f_globals.get("__name__", package))).split(".")
    modules = [".".join(parts[: i + 1]) for i in range(len(parts))]
    found = [(m, getattr(sys.modules.get(m), name, None)) for m in modules]
    public = next((m for m, x in found if x is not None and (x is function or (not written and callable(x)))), None)
    return f"{public}.{name}" if public else f"{package}'s {written.rsplit('.', 1)[-1] or name}"


def distribution_of(x: Any) -> str:
    """How a distribution of scipy.stats' is called, that with its parameters fixed too; "" for all else."""
    if not type(x).__module__.startswith("scipy.stats"):
        return ""
    name = type(getattr(x, "dist", x)).__name__.removesuffix("_gen").removesuffix("_frozen")
    return name if hasattr(sys.modules["scipy.stats"], name) else ""


def ours_for(library: str) -> str:
    """How our function is called that is the one of SciPy's with this name, or ""."""
    package, _, name = library.partition(".")
    if package != "scipy" or "." not in name:
        return ""
    found = LOADERS["scipy"]()
    for part in name.split("."):
        if part not in (getattr(found, "__all__", ()) if isinstance(found, ModuleType) else dir(found)):
            return ""
        found = getattr(found, part)
    return f"tg.{library}"


# Of scipy.special what is written in Python, and traced as it stands where SciPy asks arrays for their namespace.
_BY_ARRAY_API = ("logsumexp", "softmax", "log_softmax")


def by_array_api(library: str) -> str:
    """How a function of SciPy's is traced as it stands, which it asks for when it is imported; "" for one that has no such way in the
    version that is there."""
    module, _, name = library.rpartition(".")
    if module != "scipy.special" or name not in _BY_ARRAY_API:
        return ""
    function = inspect.unwrap(getattr(sys.modules[module], name))
    if "array_namespace" not in function.__code__.co_names:
        return ""
    return f"  Or set SCIPY_ARRAY_API=1 in the environment before SciPy is imported: `{library}` itself is traced then."


def is_asked_by_sparse() -> bool:
    """Whether a method of one of SciPy's sparse arrays is asking."""
    return str(user_frame(ours).f_globals.get("__name__", "")).startswith("scipy.sparse")


def is_asked_by_jax() -> bool:
    """Whether a function of jax's is asking, for itself or for a library that is written in jax."""
    return str(user_frame(ours).f_globals.get("__name__", "")).startswith("jax.")


def name_of_op(name: str) -> str:
    """What an op is called in an error: by its name if NumPy has it too, else as the user's line calls the function that it is
    a part of, but for who applies ops by `bind`."""
    if hasattr(np, name) or hasattr(np.linalg, name):
        return name
    written = function_called()[0]
    return name if not written or written.rsplit(".", 1)[-1] in (name, "bind") else written


def writes_into_a_part() -> bool:
    """Whether the user's line is `y[i] += x` or the like."""
    return context.source is None and re.match(r"[\w.]+\[.*=", _text(user_frame())) is not None


def for_no_array(x: Any) -> str:
    """What to write in place of something that is no array of numbers."""
    kind, name = type(x), type(x).__name__
    dtype = getattr(x, "dtype", None)
    if isinstance(dtype, np.dtype):
        if dtype.names:
            return f"pass its fields, such as x[{dtype.names[0]!r}]"
        if dtype.kind in "mM":
            return "write (x - x[0]) / np.timedelta64(1, 's'), say, which are numbers"
        if dtype.kind in "SUT":
            return (
                "write x.astype(float) if the text is that of numbers, or pass it as a static argument or by a closure"
            )
        if dtype.kind == "O":
            return "it holds Python objects: write np.array(x, dtype=float), with np.nan for what is missing"
    if hasattr(kind, "__dataclass_fields__"):
        return f"make its class a node of trees: tg.tree.register_dataclass({name})"
    if isinstance(x, set | frozenset | Iterator) or kind in (type({}.keys()), type({}.values()), type({}.items())):
        return "write list(x): trees are made of lists, tuples and dicts"
    if hasattr(x, "toarray"):
        return "write `a @ x` for the product with a sparse matrix; else tg.scipy.sparse has what is traced, and x.toarray() an array"
    if isinstance(x, str | bytes | int | float | complex | list | tuple | dict) or x is None or callable(x):
        return "pass numbers, NumPy arrays or pytrees of them"
    if kind.__module__ == "builtins":
        return "pass numbers, NumPy arrays or pytrees of them"
    return (
        "pass numbers, NumPy arrays or pytrees of them, or make its class a node of trees: "
        f"tg.tree_util.register_pytree_node_class({name})"
    )


def for_self() -> str:
    """What to write besides where a method is transformed and called with its object."""
    return (
        ".\n  Where that is a method's object, transform the method of an object, tg.jit(obj.method), or do not trace it: "
        "argnums=1 in tg.grad and its kin, in_axes=(None, 0) in tg.vmap, functools.partial(tg.jit, static_argnums=0) for jit"
    )
