"""Integrals of functions: `quad`, `quad_vec` and `fixed_quad`. Plain calls are SciPy's own; an integral of what is traced is one
equation, whose derivatives are the integrand at the ends and the integral of its derivative (Leibniz's rule)."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError, at, require_callable, user_source
from tracegrad.core.graph import Graph, evaluate, remembered
from tracegrad.core.late import imported
from tracegrad.core.op import Wanted
from tracegrad.core.trace import as_array
from tracegrad.core.types import ArrayType, type_of
from tracegrad.lower.numpy.writer import compiled
from tracegrad.ops.elementwise import astype
from tracegrad.scipy.calling import refused
from tracegrad.scipy.integrate.solver import (
    Solver,
    closes_over_tracers,
    derived,
    differentiable,
    inexact_of,
    is_traced,
    packed,
    packed_dtype,
    pairing,
    scipy_integrate,
    traced_function,
    unpacked,
)
from tracegrad.transforms.control.held import joint_of, tangents_of
from tracegrad.typing import Array, ArrayLike

POINT = ArrayType((), np.dtype(np.float64), True)  # SciPy gives Python's floats


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Integral(Solver):
    """Inputs are the two ends and what the integrand takes besides a point. Outputs are the integral, of the integrand's shape, and an
    estimate of its error.

    whole       whether the elements of an array are integrated together, by `quad_vec`
    """

    routine: ClassVar[str] = "quad"
    heads: ClassVar[int] = 2  # the inputs before the parameters
    whole: bool = False

    def run(self, *arrays: Any) -> Sequence[Any]:
        a, b = float(arrays[0]), float(arrays[1])
        consts, options = arrays[self.heads :], self.options_of(arrays)
        f = compiled(self.graph)
        shape = self.graph.out_types[0].shape
        if self.whole:
            found, error = scipy_integrate().quad_vec(lambda x: f(x, *consts)[0], a, b, **options)[:2]
            return [found, np.broadcast_to(error, shape)]
        known: dict[float, Any] = {}  # at the points that the integrals of several elements share

        def at_point(x: float) -> Any:
            if x not in known:
                known[x] = f(x, *consts)[0]
            return known[x]

        parts = [np.empty(shape, t.dtype) for t in self.types(())]
        is_complex = self.graph.out_types[0].dtype.kind == "c"
        for i in itertools.product(*map(range, shape)):
            found, error = scipy_integrate().quad(
                functools.partial(_element, at_point, i), a, b, complex_func=is_complex, **options
            )
            parts[0][i], parts[1][i] = found, error
        return parts

    def options_of(self, inputs: Sequence[Any]) -> Mapping[str, Any]:
        """SciPy's options, of which a subclass takes one from the inputs."""
        return self.options

    def types(self, types: Sequence[ArrayType]) -> tuple[ArrayType, ...]:
        out = self.graph.out_types[0]
        # quad tells the errors of real and imaginary part, which are the estimate's.
        error = np.float64 if self.whole or out.dtype.kind != "c" else np.complex128
        return ArrayType(out.shape, np.result_type(np.float64, out.dtype)), ArrayType(out.shape, np.dtype(error))

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Sequence[Any]:
        heads, consts = primals[: self.heads], primals[self.heads :]
        terms = [self._slope(i, primals) * tangents[i] for i in range(self.heads) if tangents[i] is not None]
        active = differentiable(tangents[self.heads :])
        if active:
            graph, found = tangents_of(self.graph, tuple([1 + i for i in active]))
            if found:
                moving = [tangents[self.heads + i] for i in active]
                terms.append(dataclasses.replace(self, graph=graph)(*heads, *consts, *moving)[0])
        return [sum(terms[1:], terms[0]) if terms else None, None]

    def vjp(self, wanted: Wanted, cts: Sequence[Any], out: Any, primals: Sequence[Any]) -> Sequence[Any]:
        heads, consts = primals[: self.heads], primals[self.heads :]
        ct = cts[0]
        if ct is None:
            return [None] * len(wanted)
        found = {i: pairing(ct, self._slope(i, primals), primals[i]) for i in range(self.heads) if i in wanted}
        active = inexact_of(wanted, primals, self.heads)
        graph, types, inputs = remembered(self.graph, ("pulled", active), lambda: pulled_integrand(self.graph, active))
        if types:
            # The integral of the gradient itself, where there is one: how small its error is must not depend on what follows.
            single = type_of(ct).shape == () and type_of(ct).dtype.kind != "c"
            whole = dataclasses.replace(self, graph=graph)(*heads, *consts, np.ones(()) if single else ct)[0]
            for i, x in zip(inputs, unpacked(whole, types), strict=True):
                found[self.heads + i] = ct * x if single else x
        return [found.get(i) for i in wanted]

    def _slope(self, i: int, primals: Sequence[Any]) -> Any:
        """The derivative in an end: the integrand there, with its weight; nothing at an infinite one, to which it must fall."""
        end = primals[i]
        finite = np.isfinite(end)
        point = np.where(finite, end, 0.0)
        value = evaluate(self.graph, [point, *primals[self.heads :]])[0]
        options = self.options_of(primals)
        if options.get("weight") is not None:
            value = _WEIGHTS[options["weight"]](point, options["wvar"]) * value
        return np.where(finite, value if i else -value, 0.0)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Fourier(Integral):
    """An integral with the weight "cos" or "sin", of which the frequency is an input after the ends, and has a derivative."""

    heads: ClassVar[int] = 3

    def options_of(self, inputs: Sequence[Any]) -> Mapping[str, Any]:
        frequency = inputs[2]
        return {**self.options, "wvar": float(frequency) if type(frequency) is np.ndarray else frequency}

    def _slope(self, i: int, primals: Sequence[Any]) -> Any:
        if i < 2:
            return super()._slope(i, primals)
        sign, other = (-1.0, "sin") if self.options["weight"] == "cos" else (1.0, "cos")
        moment = lambda x, *consts: [sign * x * evaluate(self.graph, [x, *consts])[0]]
        graph = remembered(
            self.graph, ("moment", sign), lambda: derived(self.graph, moment, self.graph.in_types, "moment")
        )
        return dataclasses.replace(self, graph=graph, options={**self.options, "weight": other})(*primals)[0]


# The weights at an end; those of "alg" and its kin depend on the ends, and `_between_fixed_ends` sees to that.
_WEIGHTS: dict[str, Callable[[Any, Any], Any]] = {
    "cos": lambda x, frequency: np.cos(frequency * x),
    "sin": lambda x, frequency: np.sin(frequency * x),
    "cauchy": lambda x, pole: 1 / (x - pole),
}


def _element(at_point: Callable[[float], Any], i: tuple[int, ...], x: float) -> Any:
    return at_point(x)[i] if i else at_point(x)


def pulled_integrand(graph: Graph, active: tuple[int, ...]) -> tuple[Graph, list[ArrayType], list[int]]:
    """Of a point, the parameters and the cotangent of the integral: the cotangents of the active parameters, as one vector, the
    types of those that are not zero, and which these are."""
    joint, found = joint_of(graph, tuple([1 + i for i in active]), (0,))
    inputs = [i - 1 for i in found]
    types = [ArrayType(t.shape, t.dtype) for t in [graph.in_types[i] for i in found]]
    out = graph.out_types[0]
    ct = ArrayType(out.shape, np.result_type(np.float64, out.dtype))

    def pulled(*arrays: Any) -> list[Any]:
        _, *cts = evaluate(joint, [*arrays[:-1], astype(arrays[-1], out.dtype)])
        return [packed(cts, types)]

    if not types:
        return graph, types, inputs
    whole = derived(graph, pulled, [*graph.in_types, ct], "gradient")
    assert whole.out_types[0].dtype == packed_dtype(types)
    return whole, types, inputs


def _integrand(func: Callable[..., Any], args: Any, name: str) -> tuple[Graph, list[Any]]:
    """The Graph of an integrand, and its inputs after the point."""

    def value(x: Any, *rest: Any) -> Any:
        found = as_array(func(x, *rest))
        return astype(found, np.result_type(np.float64, type_of(found).dtype))

    return traced_function(func, value, [POINT], ["x"], args, name)


def quad(
    func: Callable[..., Any],
    a: ArrayLike,
    b: ArrayLike,
    args: Any = (),
    full_output: int = 0,
    epsabs: float = 1.49e-08,
    epsrel: float = 1.49e-08,
    limit: int = 50,
    points: Any = None,
    weight: Any = None,
    wvar: Any = None,
    wopts: Any = None,
    maxp1: int = 50,
    limlst: int = 50,
    complex_func: bool = False,
) -> tuple[Array, Any]:
    """The integral of `func(x, *args)` over x from `a` to `b`: `scipy.integrate.quad`, with derivatives in `args` (pytrees), in what
    `func` closes over, and in both ends, of any order.

    They are the integrand at the ends and integrals of its derivatives, by SciPy to the same `epsabs` and `epsrel`. A traced
    integrand is traced by types, for a Python float. A traced `wvar` has derivatives too: the frequency of "cos" and "sin" by SciPy's
    method for these weights, the pole of "cauchy" as the zero of a shifted variable, and exponents of "alg" and its kin as those of
    factors of the integrand. One that jumps where a parameter says is to be integrated in two parts, with
    that for an end, since derivatives of the integrand know nothing of jumps.

    Args:
        func: of a number, which returns one, real or (`complex_func`) complex.
        a, b: the ends, which may be infinite.
        args: what `func` gets besides.
        epsabs, epsrel, limit, points, weight, wopts, maxp1, limlst: SciPy's; plain numbers.
        wvar: the variables of the weight, plain or traced.
        full_output: for plain calls.

    Returns:
        The integral, and SciPy's estimate of its error, which has no derivative.

    Raises:
        ShapeError: an integrand that is no number, or ends that are none.
        UnsupportedFunctionError: traced `points`; in what is traced, `full_output`.

    >>> import numpy as np, tracegrad as tg
    >>> moment = lambda s: tg.scipy.integrate.quad(lambda x: np.exp(-s * x**2), -np.inf, np.inf)[0]
    >>> bool(np.isclose(tg.grad(moment)(1.0), -np.sqrt(np.pi) / 2))
    True
    >>> float(tg.grad(lambda b: tg.scipy.integrate.quad(np.cos, 0.0, b)[0])(0.0))
    1.0
    """
    require_callable(func, "tg.scipy.integrate.quad", "(func, a, b)")
    _require_plain_points(points, "quad")
    given = args if isinstance(args, tuple) else (args,)
    if not is_traced((a, b, given, wvar)) and not closes_over_tracers(lambda: func(_between(a, b), *given)):
        found: tuple[Array, Any] = scipy_integrate().quad(
            func, a, b, args, full_output, epsabs, epsrel, limit, points, weight, wvar, wopts, maxp1, limlst, complex_func
        )  # fmt: skip
        return found
    if full_output:
        raise refused(
            "integrate.quad", "with full_output", "Leave it out: what it tells is of an integral of plain numbers."
        )
    options = {"epsabs": epsabs, "epsrel": epsrel, "limit": limit, "points": points, "weight": weight, "wvar": wvar,
               "maxp1": maxp1, "limlst": limlst}  # fmt: skip
    a, b = _end(a, "quad"), _end(b, "quad")
    if weight in _LOGS and is_traced((a, b, wvar)):
        return _between_fixed_ends(func, a, b, given, options, complex_func)
    if weight == "cauchy" and is_traced(wvar):
        shifted = {**options, "wvar": 0.0, "points": None, "complex_func": complex_func}
        return quad(lambda y, *rest: func(wvar + y, *rest), a - wvar, b - wvar, given, **shifted)
    graph, inputs = _integrand(func, given, "quad")
    (out,) = graph.out_types
    if out.shape:
        raise ShapeError(
            f"quad{at(user_source())}: the integrand returned {out}; write quad_vec, which integrates arrays"
        )
    if out.dtype.kind == "c" and not complex_func:
        raise DtypeError(f"quad{at(user_source())}: the integrand returned {out}; say complex_func=True")
    if weight is not None and is_traced(wvar):
        integral, error = Fourier(graph, {**options, "wvar": None})(a, b, astype(as_array(wvar), np.float64), *inputs)
    else:
        integral, error = Integral(graph, options)(a, b, *inputs)
    return integral, error


# Of which factor of the weight "alg" the logarithm stands in it too.
_LOGS: dict[Any, tuple[str, ...]] = {"alg": (), "alg-loga": ("a",), "alg-logb": ("b",), "alg-log": ("a", "b")}


def _between_fixed_ends(
    func: Callable[..., Any], a: Any, b: Any, args: tuple[Any, ...], options: Mapping[str, Any], complex_func: bool
) -> tuple[Any, Any]:
    """The integral with the weight `(x - a)**alpha * (b - x)**beta`, and a logarithm of either factor, over u = (x - a) / (b - a) from 0
    to 1, where neither weight nor ends move: their part in it stands before the integrals."""
    alpha, beta = options["wvar"]
    sign = np.where(b < a, -1.0, 1.0)
    a, b = np.minimum(a, b), np.maximum(a, b)
    width, logs = b - a, _LOGS[options["weight"]]
    scale, log_scale = width ** (1.0 + alpha + beta), np.log(width)
    inside = lambda u, *rest: func(a + width * u, *rest)
    if is_traced((alpha, beta)):

        def half(u: Any, *rest: Any) -> Any:
            """At u and at 1 - u: near both ends by the distance from them, as exact as a small number is."""
            near, far = np.log(u), np.log1p(-u)
            first = [(near if end == "a" else far) + log_scale for end in logs]
            second = [(far if end == "a" else near) + log_scale for end in logs]
            return math.prod(first) * np.exp(alpha * near + beta * far) * inside(u, *rest) + math.prod(second) * np.exp(
                alpha * far + beta * near
            ) * func(b - width * u, *rest)

        plain = {name: x for name, x in options.items() if name not in ("weight", "wvar")}
        integral, error = quad(half, 0.0, 0.5, args, **plain, complex_func=complex_func)
        return sign * scale * integral, scale * error
    # log(x - a) is log(b - a) + log(u): a polynomial in log(b - a), of which each coefficient is an integral.
    found: Any = 0.0
    errors: Any = 0.0
    for kept in itertools.product(*[(0, 1)] * len(logs)):
        left = tuple([end for end, k in zip(logs, kept, strict=True) if k])
        name = next(weight for weight, ends in _LOGS.items() if ends == left)
        part, error = quad(inside, 0.0, 1.0, args, **{**options, "weight": name}, complex_func=complex_func)
        factor = log_scale ** (len(logs) - len(left))
        found, errors = found + factor * part, errors + np.abs(factor) * error
    return sign * scale * found, scale * errors


def dblquad(
    func: Callable[..., Any],
    a: ArrayLike,
    b: ArrayLike,
    gfun: Any,
    hfun: Any,
    args: Any = (),
    epsabs: float = 1.49e-08,
    epsrel: float = 1.49e-08,
) -> tuple[Array, Any]:
    """The integral of `func(y, x, *args)` over y from `gfun(x)` to `hfun(x)`, functions or numbers, and over x from `a` to `b`:
    `scipy.integrate.dblquad`, as an integral of integrals, with the derivatives that `quad` has.

    Returns:
        The integral, and SciPy's estimate of the outer one's error.

    >>> import numpy as np, tracegrad as tg
    >>> disc = lambda r: tg.scipy.integrate.dblquad(lambda y, x: 1.0 + 0 * y, 0.0, r, 0.0, lambda x: r - x)[0]
    >>> round(float(tg.grad(disc)(2.0)), 9)
    2.0
    """
    require_callable(func, "tg.scipy.integrate.dblquad", "(func, a, b, gfun, hfun)")
    given = args if isinstance(args, tuple) else (args,)

    def over_y(x: Any, *rest: Any) -> Any:
        return quad(lambda y: func(y, x, *rest), _limit(gfun, x), _limit(hfun, x), (), 0, epsabs, epsrel)[0]

    return quad(over_y, a, b, given, 0, epsabs, epsrel)


def tplquad(
    func: Callable[..., Any],
    a: ArrayLike,
    b: ArrayLike,
    gfun: Any,
    hfun: Any,
    qfun: Any,
    rfun: Any,
    args: Any = (),
    epsabs: float = 1.49e-08,
    epsrel: float = 1.49e-08,
) -> tuple[Array, Any]:
    """The integral of `func(z, y, x, *args)` over z from `qfun(x, y)` to `rfun(x, y)`, y from `gfun(x)` to `hfun(x)` and x from `a` to `b`:
    `scipy.integrate.tplquad`, as `dblquad`.

    >>> import numpy as np, tracegrad as tg
    >>> found = tg.scipy.integrate.tplquad(lambda z, y, x: x * y * z, 0.0, 1.0, 0.0, 1.0, 0.0, lambda x, y: 2.0)
    >>> round(float(found[0]), 9)
    0.5
    """
    require_callable(func, "tg.scipy.integrate.tplquad", "(func, a, b, gfun, hfun, qfun, rfun)")

    def over_z(y: Any, x: Any, *rest: Any) -> Any:
        low, high = _limit(qfun, x, y), _limit(rfun, x, y)
        return quad(lambda z: func(z, y, x, *rest), low, high, (), 0, epsabs, epsrel)[0]

    return dblquad(over_z, a, b, gfun, hfun, args, epsabs, epsrel)


def _limit(end: Any, *point: Any) -> Any:
    return end(*point) if callable(end) else end


def quad_vec(
    f: Callable[..., Any],
    a: ArrayLike,
    b: ArrayLike,
    epsabs: float = 1e-200,
    epsrel: float = 1e-08,
    norm: str = "2",
    cache_size: float = 100e6,
    limit: float = 10000,
    workers: Any = 1,
    points: Any = None,
    quadrature: Any = None,
    full_output: bool = False,
    *,
    args: Any = (),
) -> tuple[Array, Any]:
    """The integral of `f(x, *args)`, an array, over x from `a` to `b`: `scipy.integrate.quad_vec`, with the derivatives that `quad`
    has. Those in parameters are integrals of arrays, too.

    Returns:
        The integral, and SciPy's estimate of the error in the norm.

    Raises:
        UnsupportedFunctionError: traced `points`; in what is traced, `full_output`.

    >>> import numpy as np, tracegrad as tg
    >>> powers = lambda s: tg.scipy.integrate.quad_vec(lambda x: x ** (s * np.arange(1.0, 3.0)), 0.0, 1.0)[0]
    >>> bool(np.allclose(tg.jacrev(powers)(1.0), [-1 / 4, -2 / 9]))
    True
    """
    require_callable(f, "tg.scipy.integrate.quad_vec", "(f, a, b)")
    _require_plain_points(points, "quad_vec")
    given = args if isinstance(args, tuple) else (args,)
    if not is_traced((a, b, given)) and not closes_over_tracers(lambda: f(_between(a, b), *given)):
        more = {"args": args} if args != () else {}  # of which SciPy before 1.15 knows nothing
        found: tuple[Array, Any] = scipy_integrate().quad_vec(
            f, a, b, epsabs, epsrel, norm, cache_size, limit, workers, points, quadrature, full_output, **more
        )
        return found
    if full_output:
        raise refused(
            "integrate.quad_vec", "with full_output", "Leave it out: what it tells is of an integral of plain numbers."
        )
    options = {"epsabs": epsabs, "epsrel": epsrel, "norm": norm, "cache_size": cache_size, "limit": limit, "points": points,
               "quadrature": quadrature}  # fmt: skip
    graph, inputs = _integrand(f, given, "quad_vec")
    integral, error = Integral(graph, options, True)(_end(a, "quad_vec"), _end(b, "quad_vec"), *inputs)
    return integral, np.max(error)


def _require_plain_points(points: Any, name: str) -> None:
    if is_traced(points):
        raise refused(
            f"integrate.{name}",
            "with traced `points`",
            f"Write one integral for each part, {name}(f, a, p)[0] + {name}(f, p, b)[0], which have derivatives in p.",
        )


def _end(x: Any, name: str) -> Any:
    x = as_array(x)
    if type_of(x).shape:
        raise ShapeError(f"{name}{at(user_source())}: an end of the integral must be a number, got {type_of(x)}")
    return astype(x, np.float64)


def _between(a: Any, b: Any) -> float:
    """A point at which the integrand is tried."""
    a, b = float(a), float(b)
    if not np.isfinite(a) or not np.isfinite(b):
        return a + 1.0 if np.isfinite(a) else b - 1.0 if np.isfinite(b) else 0.5
    return a + 0.5 * (b - a)


def fixed_quad(
    func: Callable[..., Any], a: ArrayLike, b: ArrayLike, args: tuple[Any, ...] = (), n: int = 5
) -> tuple[Array, None]:
    """The integral of `func(x, *args)` from `a` to `b` by Gauss and Legendre's rule of `n` points, as `scipy.integrate.fixed_quad`:
    `func` takes an array of points (n,) and returns an array (..., n). Plain NumPy, with all its derivatives.

    Returns:
        The integral, and None.

    Raises:
        ValueError: an infinite end.

    >>> import numpy as np, tracegrad as tg
    >>> bool(np.isclose(tg.grad(lambda b: tg.scipy.integrate.fixed_quad(np.exp, 0.0, b)[0])(1.0), np.e))
    True
    """
    if not is_traced((a, b)) and not np.all(np.isfinite([a, b])):
        raise ValueError(f"fixed_quad{at(user_source())}: Gauss's rule is for finite ends, got {a} and {b}")
    points, weights = imported("scipy.special").roots_legendre(n)
    x = (b - a) * (np.real(points) + 1) / 2.0 + a
    return (b - a) / 2.0 * np.sum(weights * func(x, *args), axis=-1), None
