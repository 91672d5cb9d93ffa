"""How much of NumPy is traced, measured by running each name on tracers: what docs/numpy_coverage.md says.

`python -m tests.coverage` writes that page. `tests/test_coverage.py` compares it with what is measured, and
`tests/numpy/test_numpy.py` holds the values of the same calls against NumPy's.
"""

from __future__ import annotations

import copy
import functools
import io
import os
import re
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from typing import Any, NamedTuple

import autograd.numpy as anp
import jax
import jax.numpy as jnp
import numpy as np
from autograd.core import primitive_vjps
from autograd.numpy.numpy_boxes import ArrayBox

import tracegrad as tg
import tracegrad.numpy as tnp
from tests import ROOT
from tests.numpy_calls import calls, flat, named, sample, with_tracer
from tracegrad.core.errors import CALL_ERRORS, ConcretizationTypeError
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import is_inexact

PAGE = ROOT / "docs" / "numpy_coverage.md"

# ---------------------------------------------------------------------------------------------------------------------
# How a name is measured.

Call = Callable[[Any, Any], Any]  # of the library and an array

RANKS = {"refused": 0, "zero derivative": 1, "derivative": 2}
WITH, ZERO, PLAIN, REFUSED, NONE = "derivative", "zero derivative", "needs no tracing", "refused", "–"


class Found(NamedTuple):
    """`status` of the constants above; `under_jit`, where that is traced; `why` it is refused, or "tnp" where NumPy cannot hand it
    over; the `keyword` with which it is traced under jit too."""

    status: str
    under_jit: bool = True
    why: str = ""
    keyword: str = ""


# What makes the shape of a result one that is known.
SETS = ("intersect1d", "setdiff1d", "setxor1d", "union1d")
WITH_SIZE = (
    "argwhere",
    "flatnonzero",
    "nonzero",
    "unique",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
    *SETS,
)
KEYWORDS: dict[str, tuple[str, Any]] = {
    **dict.fromkeys(WITH_SIZE, ("size", 4)),
    **dict.fromkeys(("polydiv", "polymul"), ("trim_leading_zeros", False)),
    "roots": ("strip_zeros", False),
}


def with_keyword(name: str) -> str:
    """The keyword with which tnp's function is traced under jit."""
    keyword, value = KEYWORDS[name]
    x = np.array([3.0, 1.0, 3.0, 2.0])
    both = name in SETS or name.startswith("poly")
    tg.jit(lambda t: results(named(tnp, name)(*(t, t) if both else (t,), **{keyword: value})), branches="error")(x)
    return f"{keyword}="


def is_tracer(x: Any) -> bool:
    return issubclass(type(x), Tracer)


def results(value: Any) -> list[Any]:
    return [x for x in flat(value) if is_tracer(x)]


def measure(attempts: Sequence[tuple[Call, Any]], forced: bool = False) -> Found:
    """What becomes of the calls that NumPy takes: the most that one of them comes to, by NumPy's name or else by tnp's."""
    with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
        attempts = [(f, x) for f, x in attempts if forced or taken(f, x)]
        if not attempts:
            return Found(NONE)
        by_numpy = _by(np, attempts)
        if by_numpy.status == WITH:
            return by_numpy
        by_us = _by(tnp, attempts)
        return by_us._replace(why="tnp") if RANKS[by_us.status] > RANKS[by_numpy.status] else by_numpy


def taken(call: Call, x: Any) -> bool:
    try:
        call(np, x.copy())
    except Exception:  # however NumPy says so
        return False
    return True


def _by(library: Any, attempts: Sequence[tuple[Call, Any]]) -> Found:
    best, first = Found(REFUSED), None
    for call, x in attempts:
        try:
            status = _derivative(functools.partial(call, library), x)
            if status == ZERO and best.status == ZERO and best.under_jit:
                continue
            found = Found(status, _is_traced_by_types(functools.partial(call, library), x))
        except (*CALL_ERRORS, NotImplementedError, AttributeError, OverflowError) as error:
            first = first or error
            continue
        if found.status == WITH and found.under_jit:
            return found
        best = max(best, found, key=lambda f: (RANKS[f.status], f.under_jit))
    return best if best.status != REFUSED else Found(REFUSED, why=reason(first))


def _derivative(f: Callable[[Any], Any], x: Any) -> str:
    """Whether there is one that is not zero, of values."""
    if not is_inexact(x.dtype):
        tg.make_graph(lambda t: results(f(t)))(x)
        return ZERO
    outputs, pull = tg.vjp(lambda t: [o for o in results(f(t)) if is_inexact(o.dtype)], x)
    rng = np.random.default_rng(1)
    (ct,) = pull([rng.uniform(1, 2, np.shape(o)).astype(o.dtype) for o in outputs]) if outputs else (np.zeros(()),)
    return WITH if np.any(ct != 0) else ZERO


def _is_traced_by_types(f: Callable[[Any], Any], x: Any) -> bool:
    try:
        tg.jit(lambda t: results(f(t)), branches="error")(x)
    except ConcretizationTypeError:
        return False
    return True


def reason(error: Exception | None) -> str:
    """What the error says after where it was: why, and what to write instead."""
    text = str(error)
    said = text.partition("\n")[2] or text.partition("): ")[2]
    said = re.sub(r"\s*\(with `import tracegrad\.numpy as tnp`\)", "", " ".join(said.split()))
    return "" if "tg.external" in said else f"{type(error).__name__}: {said}"


# ---------------------------------------------------------------------------------------------------------------------
# Calls of what has no array for its first argument, writes, or is no function.


def _written(write: Callable[[Any, Any], Any]) -> Call:
    """A call that writes into an array, as one that returns what it has become."""

    def call(library: Any, t: Any) -> Any:
        y = t * 1
        write(library, y)
        return y

    return call


def _filled(name: str) -> Call:
    def call(library: Any, t: Any) -> Any:
        sizes = (t, 1.0) if name == "full_like" else (t,) if name.endswith("_like") else (4,)
        y = getattr(library, name)(*sizes)
        y[..., 0] = t[..., 0]
        return y

    return call


def _file() -> io.BytesIO:
    return io.BytesIO()


CALLS: dict[str, Call] = {
    "copyto": _written(lambda xp, y: xp.copyto(y, 2 * y)),
    "fill_diagonal": _written(lambda xp, y: xp.fill_diagonal(y, 3)),
    "place": _written(lambda xp, y: xp.place(y, np.ones(y.shape, bool), [3])),
    "put": _written(lambda xp, y: xp.put(y, [0], 3)),
    "put_along_axis": _written(lambda xp, y: xp.put_along_axis(y, np.zeros((1, *y.shape[1:]), int), 3, 0)),
    # New arrays, into which what is traced is written.
    **{
        name: _filled(name)
        for name in ("empty", "eye", "identity", "ones", "zeros", "empty_like", "full_like", "ones_like", "zeros_like")
    },
    "putmask": _written(lambda xp, y: xp.putmask(y, np.arange(y.size).reshape(y.shape) < 1, 3)),
    "r_": lambda xp, t: xp.r_[t, t],
    "c_": lambda xp, t: xp.c_[t, t],
    "bmat": lambda xp, t: xp.bmat([[t, t]]),
    "save": lambda xp, t: xp.save(_file(), t),
    "savetxt": lambda xp, t: xp.savetxt(_file(), t),
    "savez": lambda xp, t: xp.savez(_file(), t),
    "savez_compressed": lambda xp, t: xp.savez_compressed(_file(), t),
    "frompyfunc": lambda xp, t: xp.frompyfunc(_double, 1, 1)(t),
    "vectorize": lambda xp, t: xp.vectorize(_double)(t),
    "apply_over_axes": lambda xp, t: xp.apply_over_axes(np.sum, t, [0]),
    "lib.stride_tricks.sliding_window_view": lambda xp, t: xp.lib.stride_tricks.sliding_window_view(t, (2,), (0,)),
    "lib.stride_tricks.as_strided": lambda xp, t: xp.lib.stride_tricks.as_strided(t, (2,), (8,)),
    "require": lambda xp, t: xp.require(t, requirements="C"),
    "isin": lambda xp, t: xp.isin(t, [1, 2]),
    "ix_": lambda xp, t: xp.ix_(t, [0]),
    "digitize": lambda xp, t: xp.digitize(t, [1.0, 2.0]),
    "linspace": lambda xp, t: xp.linspace(0, t, 3),
    "logspace": lambda xp, t: xp.logspace(0, t, 3),
    "geomspace": lambda xp, t: xp.geomspace(1, t, 3),
    "choose": lambda xp, t: xp.choose(np.zeros(np.shape(t), int), [t, t]),
    "select": lambda xp, t: xp.select([np.ones(np.shape(t), bool)], [t]),
    "unravel_index": lambda xp, t: xp.unravel_index(t, (9, 9)),
    "ravel_multi_index": lambda xp, t: xp.ravel_multi_index((t, t), (99, 99)),
    "interp": lambda xp, t: xp.interp(1.2, np.arange(len(t)), t),
    "tile": lambda xp, t: xp.tile(t, 2),
    "resize": lambda xp, t: xp.resize(t, 5),
    "delete": lambda xp, t: xp.delete(t, 0),
    "insert": lambda xp, t: xp.insert(t, 0, 1.0),
    "extract": lambda xp, t: xp.extract([True], t),
    "compress": lambda xp, t: xp.compress([True], t),
    "bincount": lambda xp, t: xp.bincount(np.array([0, 1, 1, 2]), t),
    "fromiter": lambda xp, t: xp.fromiter(t, t.dtype),
    "from_dlpack": lambda xp, t: xp.from_dlpack(t),
    "result_type": lambda xp, t: xp.result_type(t, t),
    "can_cast": lambda xp, t: xp.can_cast(t, np.complex128),
    "histogramdd": lambda xp, t: xp.histogramdd(t, bins=2),
    "linalg.tensorsolve": lambda xp, t: xp.linalg.tensorsolve(t, np.ones(3)),
    "linalg.matrix_power": lambda xp, t: xp.linalg.matrix_power(t, 2),
    "linalg.multi_dot": lambda xp, t: xp.linalg.multi_dot([t, t]),
    **{
        f"polynomial.{family}.{prefix}{form}": (
            lambda family, prefix, form, points: (
                lambda xp, t: getattr(getattr(xp.polynomial, family), prefix + form)(*[0.5] * points, t)
            )
        )(family, prefix, form, points)
        for family, prefix in (
            ("polynomial", "poly"),
            ("chebyshev", "cheb"),
            ("legendre", "leg"),
            ("hermite", "herm"),
            ("hermite_e", "herme"),
            ("laguerre", "lag"),
        )
        for form, points in (("val", 1), ("val2d", 2), ("val3d", 3), ("grid2d", 2), ("grid3d", 3))
    },
}
# Calls that NumPy takes of dates only.
DATES: dict[str, Call] = {
    "busday_count": lambda xp, t: xp.busday_count(t, t),
    "busday_offset": lambda xp, t: xp.busday_offset(t, 1),
    "datetime_as_string": lambda xp, t: xp.datetime_as_string(t),
    "is_busday": lambda xp, t: xp.is_busday(t),
    "isnat": lambda xp, t: xp.isnat(t),
}


def _double(v: Any) -> Any:
    return 2 * v


# What is given no array: sizes, dtypes, files, settings.
WITHOUT_ARRAYS = {
    "bartlett", "base_repr", "binary_repr", "blackman", "broadcast_shapes", "datetime_data", "diag_indices",
    "fft.fftfreq", "fft.rfftfreq", "format_float_positional", "format_float_scientific", "frombuffer", "fromfile", "fromfunction",
    "fromregex", "fromstring", "genfromtxt", "get_include", "get_printoptions", "getbufsize", "geterr", "geterrcall", "hamming",
    "hanning", "index_exp", "indices", "info", "isdtype", "issubdtype", "load", "loadtxt", "mask_indices", "mgrid", "mintypecode",
    "nested_iters", "ogrid", "printoptions", "promote_types", "s_", "set_printoptions", "setbufsize", "seterr", "seterrcall",
    "show_config", "show_runtime", "tri", "tril_indices", "triu_indices", "typename",
}  # fmt: skip
NO_FUNCTIONS = ("c_", "index_exp", "mgrid", "ogrid", "r_", "s_", "vectorize")  # but used like such
INPUTS = [("float64", s) for s in ((3, 3), (4,), (), (2, 3, 3))] + [
    (dtype, s) for dtype in ("int64", "bool", "uint8", "complex128") for s in ((3, 3), (4,), ())
]


def functions() -> list[str]:
    """Every public function of numpy, numpy.linalg and numpy.fft but ufuncs, and a few beside them."""
    names = [name for name in dir(np) if is_public(np, name)]
    for module in ("linalg", "fft"):
        names += [f"{module}.{name}" for name in getattr(np, module).__all__ if is_public(getattr(np, module), name)]
    names += [name for name in CALLS if name.startswith(("lib.", "polynomial."))] + ["isnat"]
    return sorted(names, key=lambda name: ("." in name, name.split(".")[:-1], name))


def is_public(module: Any, name: str) -> bool:
    with warnings.catch_warnings(action="ignore"):
        found = getattr(module, name, None)
    if name.startswith("_") or isinstance(found, types.ModuleType | np.ufunc) or name in BESIDE:
        return False
    return name in NO_FUNCTIONS or (callable(found) and not isinstance(found, type))


BESIDE = {"in1d", "row_stack", "trapz", "test"}  # NumPy warns of the use of these; and its own tests


def function(name: str) -> Found:
    if name in WITHOUT_ARRAYS:
        return Found(PLAIN)
    if name in DATES:
        return measure([(DATES[name], sample("float64", (3,)))], forced=True)
    found = measure(list(_attempts(name)))
    return found if found.under_jit or name not in KEYWORDS else found._replace(keyword=with_keyword(name))


def _attempts(name: str) -> Iterator[tuple[Call, Any]]:
    for dtype, shape in INPUTS:
        x = sample(dtype, shape)
        if name in CALLS:
            yield CALLS[name], x
            continue
        for k in range(len(calls(name, x))):
            yield functools.partial(_called, name, k), x


def _called(name: str, k: int, library: Any, t: Any) -> Any:
    """The k-th of the calls of a function, of a plain array or a tracer."""
    x = np.zeros(()) if is_tracer(t) else t
    if is_tracer(t):
        x = _like(t)
    return named(library, name)(*with_tracer(calls(name, x)[k], x, t))


def _like(t: Any) -> Any:
    return sample(t.dtype.name, t.shape)


# ---------------------------------------------------------------------------------------------------------------------
# Ufuncs, and what an ndarray has.

METHODS = ("call", "reduce", "accumulate", "reduceat", "outer", "at")


def ufuncs() -> list[str]:
    names = sorted(name for name in dir(np) if isinstance(getattr(np, name, None), np.ufunc))
    return [name for name in names if name not in DATES]


def ufunc(name: str, method: str) -> Found:
    f: np.ufunc = getattr(np, name)
    if method == "call":
        return measure(list(_attempts(name)))
    if f.signature is not None or f.nout > 1 or (method != "at" and f.nin != 2):
        return Found(NONE)
    call: Call = {
        "reduce": lambda xp, t: f.reduce(t),
        "accumulate": lambda xp, t: f.accumulate(t),
        "reduceat": lambda xp, t: f.reduceat(t, [0, 1]),
        "outer": lambda xp, t: f.outer(t, t),
        "at": lambda xp, t: _written(lambda xp, y: f.at(y, [0, 0], *[2 if f is np.ldexp else t[0]] * (f.nin - 1)))(
            xp, t
        )[0],
    }[method]
    inputs = [(dtype, (4,)) for dtype in ("float64", "int64", "bool", "complex128")]
    inputs = (
        inputs[:1] if f is np.ldexp and method == "at" else inputs
    )  # of integers it is the power of two that NumPy casts
    return measure([(call, sample(*given)) for given in inputs])


# What methods are called with besides nothing, 0 and 1.
OF_ARRAYS: dict[str, Callable[[Any], Any]] = {
    "__deepcopy__": copy.deepcopy,
    "__iter__": list,
    "astype": lambda t: t.astype(np.float32),
    "choose": lambda t: t.choose([1.0, 2.0, 3.0]),
    "clip": lambda t: t.clip(1, 2),
    "compress": lambda t: t.compress([True]),
    "dot": lambda t: t.dot(t),
    "dump": lambda t: t.dump(_file()),
    "getfield": lambda t: t.getfield(np.float64),
    "item": lambda t: t.item(0),
    "repeat": lambda t: t.repeat(2),
    "reshape": lambda t: t.reshape(-1),
    "resize": lambda t: t.resize(0),
    "searchsorted": lambda t: t.searchsorted(1.0),
    "setflags": lambda t: t.setflags(write=True),
    "swapaxes": lambda t: t.swapaxes(0, -1),
    "take": lambda t: t.take([0]),
    "to_device": lambda t: t.to_device("cpu"),
    "tofile": lambda t: t.tofile(os.devnull),
    "view": lambda t: t.view(),
}
WRITING: dict[str, Callable[[Any], Any]] = {
    "__setitem__": lambda y: y.__setitem__(0, 1),
    "fill": lambda y: y.fill(1),
    "partition": lambda y: y.partition(1),
    "put": lambda y: y.put([0], 1),
    "setfield": lambda y: y.setfield(1, np.float64),
    "sort": lambda y: y.sort(),
}


# By which libraries speak with arrays, and which nobody calls by their names; and what NumPy itself refuses.
PROTOCOLS = {
    "__array__", "__array_finalize__", "__array_function__", "__array_interface__", "__array_namespace__", "__array_priority__",
    "__array_struct__", "__array_ufunc__", "__array_wrap__", "__buffer__", "__class_getitem__", "__dlpack__", "__dlpack_device__",
    "__delitem__", "__setstate__",
}  # fmt: skip
COMPARISONS = ["__eq__", "__ge__", "__gt__", "__le__", "__lt__", "__ne__"]


def attributes() -> list[str]:
    return [*(name for name in dir(np.ndarray) if name not in dir(object) and name not in PROTOCOLS), *COMPARISONS]


def attribute(name: str) -> Found:
    found: list[Call]
    if name in WRITING:
        found = [_written(lambda xp, y: WRITING[name](y))]
    elif name.startswith("__i") and f"__{name[3:]}" in dir(np.ndarray):
        found = [_written(lambda xp, y: getattr(y, name)(y))]
    elif name in OF_ARRAYS:
        found = [lambda xp, t: OF_ARRAYS[name](t)]
    elif callable(getattr(np.ndarray, name)):
        found = [(lambda args: lambda xp, t: getattr(t, name)(*args))(args) for args in ((), (0,), (1,))]
        found.append(lambda xp, t: getattr(t, name)(t))
    else:
        found = [lambda xp, t: getattr(t, name)]
    return measure([(call, sample(*given)) for given in INPUTS for call in found])


# ---------------------------------------------------------------------------------------------------------------------
# The page.


def in_jax(name: str) -> bool:
    try:
        named(jnp, name)
    except AttributeError:
        return False
    return True


def in_autograd(name: str) -> bool:
    """Whether HIPS autograd has a derivative for it, or a function of its own."""
    try:
        found = named(anp, name)
    except AttributeError:
        return False
    is_wrapped = getattr(found, "__module__", "") == "autograd.tracer"
    return found in primitive_vjps if is_wrapped else str(getattr(found, "__module__", "")).startswith("autograd")


def rows() -> dict[str, dict[str, Found]]:
    """What there is to say of all names, by section."""
    found = {name: function(name) for name in functions()}
    of = lambda start: {n: f for n, f in found.items() if n.startswith(start)}
    return {
        "numpy": {n: f for n, f in found.items() if "." not in n},
        "numpy.linalg": of("linalg."),
        "numpy.fft": of("fft."),
        "numpy.polynomial and numpy.lib": of(("polynomial.", "lib.")),
        "ufuncs": {f"{n}.{m}": ufunc(n, m) for n in ufuncs() for m in METHODS},
        "ndarray": {name: attribute(name) for name in attributes()},
    }


def page(found: dict[str, dict[str, Found]]) -> str:
    """docs/numpy_coverage.md."""
    return "\n".join([*_head(found), *(line for title, part in found.items() for line in _section(title, part))])


SHORT = {WITH: "✓", ZERO: "0", REFUSED: "✗", NONE: ""}
TITLES = {"numpy": "np", "ndarray": "x"}


def versions() -> str:
    return f"NumPy {np.__version__}, jax {jax.__version__} and HIPS autograd {metadata.version('autograd')}"


def _head(found: dict[str, dict[str, Found]]) -> list[str]:
    lines = [
        "# NumPy, name by name", "",
        f"Measured with {versions()}, by `python -m tests.coverage`; a test holds this page to what is measured. Each name is called "
        "on traced arrays, under `tg.vjp` and under `tg.jit`.", "",
        "- **derivative**: traced, and what it gives depends on its argument as differentiation can see;",
        "- **zero derivative**: traced, and its results are whole numbers, truth values, shapes or steps, by nature;",
        "- **needs no tracing**: it is given no array. `tracegrad.numpy` has NumPy's own;",
        "- **refused**: an error says so, with this reason.", "",
        "*as `tnp.f`*: NumPy does not hand its own to tracers, and `tracegrad.numpy` has it (`import tracegrad.numpy as tnp`). *needs values*: the "
        "shape of the result, or what is done, depends on the values, so that under `jit` arguments must be static, or a keyword say the size. "
        "The last columns say whether jax.numpy has the name, and whether HIPS autograd has a derivative for it or a function of its own.", "",
        "Dtypes are NumPy's: what NumPy itself does not compute, such as `np.logaddexp` of complex numbers, is refused with the types and the line.", "",
        "| | " + " | ".join((WITH, ZERO, PLAIN, REFUSED)) + " |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for title, part in found.items():
        counts = [sum(f.status == s for f in part.values()) for s in (WITH, ZERO, PLAIN, REFUSED)]
        lines.append(f"| {title} | {' | '.join(map(str, counts))} |")
    return [*lines, ""]


def _section(title: str, part: dict[str, Found]) -> Iterator[str]:
    yield from (f"## {title}", "")
    if title == "ufuncs":
        yield from _of_ufuncs(part)
        return
    yield from ("| name | traced | under `jit` | jax | autograd |", "|---|---|---|---|---|")
    for name, f in part.items():
        shown = f"{TITLES.get(title, 'np')}.{name}"
        status = f.status + (f", as `tnp.{name}`" if f.why == "tnp" else f": {_cell(f.why)}" if f.why else "")
        jit = (
            ""
            if f.status in (REFUSED, PLAIN)
            else "✓"
            if f.under_jit
            else "needs values" + (f", or `{f.keyword}`" if f.keyword else "")
        )
        of_jax = hasattr(jax.Array, name) if title == "ndarray" else in_jax(name)
        of_autograd = hasattr(ArrayBox, name) if title == "ndarray" else in_autograd(name)
        yield f"| `{shown}` | {status} | {jit} | {'✓' * of_jax} | {'✓' * of_autograd} |"
    yield ""


def _of_ufuncs(part: dict[str, Found]) -> Iterator[str]:
    yield from (
        f"{SHORT[WITH]} has a derivative, {SHORT[ZERO]} has one of zero, {SHORT[REFUSED]} is refused; empty: NumPy has none.",
        "",
    )
    yield f"| ufunc | {' | '.join(METHODS)} | jax | autograd |"
    yield "|" + "---|" * (len(METHODS) + 3)
    for name in ufuncs():
        cells = [
            SHORT[part[f"{name}.{m}"].status] + ("" if part[f"{name}.{m}"].under_jit else " needs values")
            for m in METHODS
        ]
        yield f"| `np.{name}` | {' | '.join(cells)} | {'✓' * in_jax(name)} | {'✓' * in_autograd(name)} |"
    refused = [f"- `np.{name}`: {_cell(f.why)}" for name, f in part.items() if f.status == REFUSED]
    yield from ("", *refused, "" * bool(refused))


def _cell(text: str) -> str:
    """Text in a table of Markdown: what is code says so itself."""
    return re.sub(r"([*_<>\[\]|])", r"\\\1", text) if "`" not in text else text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(rows()))
