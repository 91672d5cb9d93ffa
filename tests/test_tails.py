"""First and second derivatives of every elementwise op and activation, from the tails to the kinks, against mpmath.

A derivative that is computed from a value that has been rounded to 1 is lost long before it underflows. Truth is a difference
quotient of the function itself, in as many digits as that takes. What is allowed beside a few tens of units in the last place
is what moving an input by one such unit would change.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import mpmath
import numpy as np
import pytest
from mpmath import mpf

import tracegrad as tg
import tracegrad.numpy as tnp
from tracegrad import lax, nn
from tracegrad.core.op import OPS, Op
from tracegrad.core.trace import bind
from tracegrad.core.types import is_inexact, type_of
from tracegrad.ops.special.declared import DECLARED

ULPS = 64

# ---------------------------------------------------------------------------------------------------------------------
# Truth.


class Case(NamedTuple):
    """A function of traced arrays; the same of mpmath's numbers, or its derivative in the last argument in its place; the
    points in each argument; in which arguments derivatives are taken; how many units in the last place are allowed."""

    ours: Callable[..., Any]
    exact: Callable[..., Any]
    grids: tuple[Sequence[float], ...]
    gives_slope: bool = False
    ulps: float = ULPS
    kinks: tuple[float, ...] = ()


def exponent(x: Any) -> int:
    """Of ten, for a number that is not zero."""
    return int(mpmath.floor(mpmath.log10(abs(x))))


def differences(f: Callable[..., Any], point: tuple[float, ...]) -> list[Any]:
    """f, its derivatives and its second derivatives (the upper triangle) at a point, to 25 digits or to 1e-345; None for
    one that is not real."""
    n = len(point)
    steps = [min(exponent(x), 0) - 40 if x else -40 for x in point]
    digits = 60 - min(steps) + max([0, *[exponent(x) for x in point if x]])
    pairs = [(i, j) for i in range(n) for j in range(i, n)]
    while True:
        with mpmath.workdps(digits):
            h = [mpf(10) ** s for s in steps]

            @functools.cache
            def at(*moves: int, h: Any = h) -> Any:
                return f(*[mpf(x) + m * s for x, m, s in zip(point, moves, h, strict=True)])

            def moved(*axes: tuple[int, int]) -> Any:
                moves = [0] * n
                for axis, m in axes:
                    moves[axis] += m
                return at(*moves)

            middle = moved()
            found = [(moved((i, 1)) - moved((i, -1))) / (2 * h[i]) for i in range(n)]
            scales = list(steps)
            for i, j in pairs:
                if i == j:
                    found.append((moved((i, 1)) - 2 * middle + moved((i, -1))) / h[i] ** 2)
                else:
                    corners = [s * t * moved((i, s), (j, t)) for s in (1, -1) for t in (1, -1)]
                    found.append(mpmath.fsum(corners) / (4 * h[i] * h[j]))
                scales.append(steps[i] + steps[j])
            size = exponent(middle) if middle and mpmath.isfinite(middle) else 0
            known = [
                isinstance(d, mpmath.mpc) or size - digits - s < (max(exponent(d), -345 + 25) if d else -345 + 25) - 25
                for d, s in zip(found, scales, strict=True)
            ]
        if all(known) or digits > 5000:
            return [None if isinstance(d, mpmath.mpc) or not mpmath.isfinite(d) else d for d in (middle, *found)]
        digits = 2 * digits + 50


@functools.cache
def truth(name: str, point: tuple[float, ...]) -> list[Any]:
    """The derivatives that `ours` gives for the case: of one argument the first and the second; of two all five."""
    case = CASES[name]
    try:
        if not case.gives_slope:
            return differences(case.exact, point)
        return [None, *differences(lambda x: case.exact(*map(mpf, point[:-1]), x), point[-1:])[:2]]
    except (ValueError, ZeroDivisionError, OverflowError, mpmath.libmp.ComplexResult, mpmath.libmp.NoConvergence):
        return [None] * 6


def allowed(name: str, point: tuple[float, ...], which: int, dtype: Any) -> Any:
    """The error that is allowed for a derivative, in absolute terms."""
    true = truth(name, point)[which]
    limits = np.finfo(dtype)
    error = abs(true)
    for i, x in enumerate(point):
        for towards in (-np.inf, np.inf):
            beside = float(np.nextafter(dtype(x), dtype(towards)))
            near = truth(name, (*point[:i], beside, *point[i + 1 :]))[which]
            if near is not None:
                error = max(error, abs(near - true) / float(limits.eps))
    return CASES[name].ulps * (error * float(limits.eps) + float(limits.tiny))


def check(name: str, dtype: Any, points: Sequence[tuple[float, ...]], found: Sequence[Any], mode: str) -> None:
    limits = np.finfo(dtype)
    lost = []
    for which, values in enumerate(found, 1):
        for point, value in zip(points, values, strict=True):
            value_itself, true = truth(name, point)[0], truth(name, point)[which]
            if true is None or (value_itself is not None and abs(value_itself) > float(limits.max)):
                continue
            if abs(true) > float(limits.max):
                is_good = np.isinf(value) and (value > 0) == (true > 0)
            elif not np.isfinite(value):
                is_good = False
            else:
                error = abs(mpf(float(value)) - true)
                quick = CASES[name].ulps * (abs(true) * float(limits.eps) + float(limits.tiny))
                is_good = error <= quick or error <= allowed(name, point, which, dtype)
            if not is_good:
                lost.append(f"derivative {which} at {point}: {value!r}, not {mpmath.nstr(true, 17)[:40]}")
    assert not lost, f"{name} {np.dtype(dtype)} {mode}: {len(lost)} of {len(points)}\n" + "\n".join(lost[:8])


# ---------------------------------------------------------------------------------------------------------------------
# What is swept. Points are float32's, but for those that it does not reach.

SIZES = [
    1e-300, 1e-150, 1e-30, 1e-17, 1e-8, 1e-4, 0.01, 0.3, 0.5, 0.75, 0.99, 1 - 2.0**-20, 1.0, 1 + 2.0**-20, 1.5, 2.0,
    3.3, 5.0, 8.0, 12.0, 18.0, 20.0, 27.0, 37.0, 40.0, 60.0, 80.0, 87.0, 100.0, 200.0, 350.0, 372.0, 700.0, 708.0,
    745.0, 1000.0, 1e5, 1e10, 1e17, 1e30, 1e100, 1e155, 1e300,
]  # fmt: skip


def in_float32(x: float) -> bool:
    return x == 0 or 1e-37 < abs(x) < 1e37


def exact_in_float32(xs: Sequence[float]) -> list[float]:
    return [float(np.float32(x)) if in_float32(x) else x for x in xs]


POSITIVE = exact_in_float32(SIZES)
REAL = [-x for x in POSITIVE[::-1]] + [0.0] + POSITIVE
NOT_ZERO = [x for x in REAL if x]
WITHIN = [x for x in REAL if abs(x) < 1]
CENTRE = [x for x in REAL if abs(x) < 90]
FEW = exact_in_float32([1e-100, 1e-8, 0.3, 1.0, 2.5, 20.0, 100.0, 1e8, 1e100])
FEW_REAL = [-x for x in FEW[::-1]] + [0.0] + FEW
MODERATE = exact_in_float32([0.01, 0.4, 1.0, 1.7, 3.0, 10.0, 60.0])


def apply(name: str, **params: Any) -> Callable[..., Any]:
    return lambda *xs: bind(OPS[name], xs, params)


def expit(x: Any) -> Any:
    return 1 / (1 + mpmath.exp(-x))


def log1p_exp(x: Any) -> Any:
    return mpmath.log1p(mpmath.exp(x)) if x < 0 else x + mpmath.log1p(mpmath.exp(-x))


def logaddexp(x: Any, y: Any) -> Any:
    return y + log1p_exp(x - y) if x < y else x + log1p_exp(y - x)


def squareplus(x: Any, b: Any) -> Any:
    root = mpmath.sqrt(x * x + b)
    return (x + root) / 2 if x > 0 else b / (2 * (root - x))


def mish(x: Any) -> Any:
    e = mpmath.exp(x) * (mpmath.exp(x) + 2)
    return x * e / (e + 2)


def expm1_below(scale: float = 1.0, alpha: float = 1.0) -> Callable[[Any], Any]:
    return lambda x: mpf(scale) * (x if x > 0 else mpf(alpha) * mpmath.expm1(x))


def gelu(x: Any) -> Any:
    return x * expit(2 * mpmath.sqrt(2 / mpmath.pi) * (x + mpf(0.044715) * x**3)) if abs(x) < 1e5 else max(x, mpf(0))


def gamma_slope(a: Any, x: Any) -> Any:
    return x ** (a - 1) * mpmath.exp(-x) / mpmath.gamma(a)


def beta_slope(a: Any, b: Any, x: Any) -> Any:
    return x ** (a - 1) * (1 - x) ** (b - 1) / mpmath.beta(a, b)


def scaled_bessel(n: int) -> Callable[[Any], Any]:
    return lambda x: mpmath.exp(-abs(x)) * mpmath.besseli(n, x)


def unary(name: str, exact: Callable[[Any], Any], xs: Sequence[float] = REAL, **more: Any) -> Case:
    return Case(getattr(np, name, None) or apply(name), exact, (xs,), **more)


def binary(name: str, exact: Callable[..., Any], *grids: Sequence[float], **more: Any) -> Case:
    return Case(getattr(np, name, None) or apply(name), exact, grids, **more)


# By the names of ops, or those of functions of tg.nn.
CASES: dict[str, Case] = {
    "reciprocal": unary("reciprocal", lambda x: 1 / x, NOT_ZERO),
    "square": unary("square", lambda x: x * x),
    "sqrt": unary("sqrt", mpmath.sqrt, POSITIVE),
    "rsqrt": unary("rsqrt", lambda x: 1 / mpmath.sqrt(x), POSITIVE),
    "root": Case(apply("root", p=0.375), lambda x: x ** mpf(0.375), (POSITIVE,)),
    "cbrt": unary("cbrt", lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)), NOT_ZERO),
    "exp": unary("exp", mpmath.exp),
    "exp2": unary("exp2", lambda x: mpf(2) ** x),
    "expm1": unary("expm1", mpmath.expm1),
    "log": unary("log", mpmath.log, POSITIVE),
    "log2": unary("log2", lambda x: mpmath.log(x, 2), POSITIVE),
    "log10": unary("log10", mpmath.log10, POSITIVE),
    "log1p": unary("log1p", mpmath.log1p, [x for x in REAL if x > -1]),
    "sin": unary("sin", mpmath.sin, [x for x in REAL if abs(x) < 1e17]),
    "cos": unary("cos", mpmath.cos, [x for x in REAL if abs(x) < 1e17]),
    "tan": unary("tan", mpmath.tan, [x for x in REAL if abs(x) < 1e17]),
    "sinh": unary("sinh", mpmath.sinh),
    "cosh": unary("cosh", mpmath.cosh),
    "tanh": unary("tanh", mpmath.tanh),
    "gelu_slope": unary("gelu_slope", lambda x: mpmath.diff(gelu, x), [x for x in REAL if 1e-5 < abs(x) < 6], ulps=500),
    "sech_squared": unary("sech_squared", lambda x: mpmath.sech(x) ** 2),
    "one_minus_square": unary("one_minus_square", lambda x: 1 - x * x, WITHIN),
    "arcsin": unary("arcsin", mpmath.asin, WITHIN),
    "arccos": unary("arccos", mpmath.acos, WITHIN),
    "arctan": unary("arctan", mpmath.atan),
    "arcsinh": unary("arcsinh", mpmath.asinh),
    "arccosh": unary("arccosh", mpmath.acosh, [x for x in REAL if x > 1]),
    "arctanh": unary("arctanh", mpmath.atanh, WITHIN),
    "sinc": Case(np.sinc, mpmath.sincpi, (REAL,)),
    "logistic": unary("logistic", expit),
    "softplus": unary("softplus", log1p_exp),
    "soft_sign": unary("soft_sign", lambda x: x / (1 + abs(x)), NOT_ZERO),
    "erf": unary("erf", mpmath.erf, CENTRE),
    "erfc": unary("erfc", mpmath.erfc, CENTRE),
    "ndtr": unary("ndtr", mpmath.ncdf, CENTRE),
    "erf_inv": unary("erf_inv", mpmath.erfinv, [x for x in WITHIN if 1e-20 < abs(x) <= 0.99]),
    "lgamma": unary("lgamma", mpmath.digamma, [x for x in POSITIVE if x > 1e-9], gives_slope=True),
    "digamma": unary("digamma", lambda x: mpmath.psi(1, x), MODERATE, gives_slope=True),
    # Between 3 and 30 differences of neighbouring orders cost two digits, and three of the second derivative.
    "scaled_bessel_i": Case(lax.bessel_i0e, scaled_bessel(0), ([0.3, 2.0, 12.0, 40.0, -40.0, 1e3, 1e6],), ulps=4000),
    "bessel_i": Case(tnp.i0, lambda x: mpmath.besseli(0, x), ([0.3, -2.0, 12.0, 40.0, -300.0, 700.0],)),
    "bessel_i1e": Case(lax.bessel_i1e, scaled_bessel(1), ([0.3, 2.0, 12.0, 40.0, -40.0, 1e3, 1e6],), ulps=4000),
    "divide": binary("divide", lambda x, y: x / y, FEW_REAL, FEW),
    "power": binary("power", lambda x, p: x**p, MODERATE, [-3.5, -1.0, 0.5, 1.5, 2.0, 7.0]),
    "absolute_power": Case(
        apply("absolute_power", odd=True, logs=0), lambda x, p: mpmath.sign(x) * abs(x) ** p,
        ([*MODERATE, *[-x for x in MODERATE]], [-3.5, -1.0, 0.5, 1.5, 2.0, 7.0]),
    ),
    "float_power": binary("float_power", lambda x, p: x**p, MODERATE, [-3.5, -1.0, 0.5, 1.5, 2.0, 7.0]),
    "logaddexp": binary("logaddexp", logaddexp, FEW_REAL, [-100.0, 0.0, 2.5]),
    "logaddexp2": binary(
        "logaddexp2", lambda x, y: logaddexp(x * mpmath.ln2, y * mpmath.ln2) / mpmath.ln2, FEW_REAL, [-100.0, 0.0, 2.5]
    ),
    "hypot": binary("hypot", lambda x, y: mpmath.sqrt(x * x + y * y), FEW_REAL, FEW),
    "hypot_slope": binary("hypot_slope", lambda x, y: x / mpmath.sqrt(x * x + y * y), MODERATE, MODERATE),
    "arctan2": binary("arctan2", mpmath.atan2, [x for x in FEW_REAL if x], [x for x in FEW_REAL if abs(x) > 1e-50]),
    "squareplus": binary("squareplus", squareplus, FEW_REAL, [1e-8, 1.0, 4.0, 100.0]),
    "squareplus_slope": binary(
        "squareplus_slope", lambda x, b: squareplus(x, b) / mpmath.sqrt(x * x + b), [-60.0, -1.0, 0.5, 60.0], [1.0, 4.0]
    ),
    "binary_cross_entropy": binary(
        "binary_cross_entropy", lambda x, p: log1p_exp(-x if p == 1 else x) + (x * (1 - p) if p == 1 else -x * p),
        [x for x in FEW_REAL if abs(x) < 500], [2.0**-10, 0.5, 0.875],
    ),
    "igamma": Case(apply("igamma", order=0), gamma_slope, (MODERATE, MODERATE), gives_slope=True, ulps=1000),
    "igammac": Case(apply("igammac"), lambda a, x: -gamma_slope(a, x), (MODERATE, MODERATE), gives_slope=True, ulps=1000),
    "betainc": Case(
        apply("betainc"), beta_slope, (MODERATE, MODERATE, [0.01, 0.3, 0.9375]), gives_slope=True, ulps=1000
    ),
    "polygamma": Case(
        lambda m, x: lax.polygamma(m, x), lambda m, x: mpmath.psi(m + 1, x), ([1.0, 2.0], [0.4, 3.0, 60.0]),
        gives_slope=True,
    ),
    "zeta": Case(
        lambda s, x: lax.zeta(s, x), lambda s, x: -s * mpmath.zeta(s + 1, x), ([2.0, 4.0], [0.4, 3.0, 60.0]),
        gives_slope=True,
    ),
    # tg.nn.
    "celu": Case(nn.celu, expm1_below(), (NOT_ZERO,)),
    "elu": Case(nn.elu, expm1_below(), (NOT_ZERO,)),
    "selu": Case(nn.selu, expm1_below(1.0507009873554805, 1.6732632423543772), (NOT_ZERO,)),
    "gelu": Case(nn.gelu, gelu, (REAL,), ulps=200),
    "gelu by erf": Case(lambda x: nn.gelu(x, False), lambda x: x * mpmath.ncdf(x), (CENTRE,)),
    "log_sigmoid": Case(nn.log_sigmoid, lambda x: -log1p_exp(-x), (REAL,)),
    "sigmoid": Case(nn.sigmoid, expit, (REAL,)),
    "silu": Case(nn.silu, lambda x: x * expit(x), (REAL,)),
    "swish": Case(nn.swish, lambda x: x * expit(x), (REAL,)),
    "mish": Case(nn.mish, mish, (REAL,)),
    "sigmoid_binary_cross_entropy": Case(
        lambda x: nn.sigmoid_binary_cross_entropy(x, np.ones((), np.asarray(0).dtype)), lambda x: log1p_exp(-x), (REAL,)
    ),
}  # fmt: skip

# Their derivatives are constants, or are exact where they are not zero; or are no more than arithmetic of what is given.
EXACT = {
    "absolute", "add", "astype", "by_convention", "clamp", "complex", "conjugate", "copysign", "deg2rad",
    "degrees", "fabs", "fmax", "fmin", "fmod", "heaviside", "imag", "item", "ldexp", "maximum", "minimum", "multiply",
    "multiply_keeping_zeros", "negative", "nextafter", "positive", "rad2deg", "radians", "real",
    "reduce_precision", "relu", "relu6", "remainder", "safe_sqrt", "subtract", "times_exp", "where",
}  # fmt: skip
DENSITIES = {
    "gamma_density",
    "beta_density",
    "betainc_slope",
    "digamma_rise",
    "vonmises_quantile",
    "zeta_slope",
}  # those of igamma, betainc, betaln and zeta
EXACT_OF_NN = {
    "glu", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "identity", "leaky_relu", "one_hot", "relu", "relu6",
    "sparse_plus", "sparse_sigmoid", "soft_sign", "softplus", "squareplus", "tanh", "standardize",
}  # fmt: skip
OVER_AXES = {"log_softmax", "logmeanexp", "logsumexp", "softmax"}
_HOMES = ("tracegrad.nn.activations", "tracegrad.ops")  # of activations (losses and layers are tested by themselves)


def has_derivative(op: Op) -> bool:
    sample = next(iter(op.samples()))
    out = op.evaluate(*sample.inputs, **sample.params)
    if op.multiple_results or not is_inexact(type_of(out).dtype) or op.vjp is None:
        return False
    wanted = tuple([i for i, x in enumerate(sample.inputs) if is_inexact(type_of(x).dtype)])
    with np.errstate(all="ignore"):
        return any(g is not None for g in op.vjp(wanted, np.ones_like(out), out, sample.inputs, sample.params))


def test_every_op_and_every_activation_is_swept() -> None:
    """A new op needs its function in mpmath's words in `CASES`, or a place among those that need none."""
    ops = {op.name for op in OPS.values() if op.elementwise and "f" in op.kinds and has_derivative(op)}
    assert ops - CASES.keys() - EXACT - DENSITIES - DECLARED.keys() == set()  # tests/scipy/test_special.py sweeps these
    activations = {n for n in nn.__all__ if getattr(getattr(nn, n), "__module__", "").startswith(_HOMES)}
    assert activations - CASES.keys() - EXACT_OF_NN - OVER_AXES == set()


def derivatives(case: Case, mode: str) -> Callable[..., list[Any]]:
    """As `truth` orders them."""
    n = len(case.grids)
    arguments = [n - 1] if case.gives_slope else range(n)

    def slope(f: Callable[..., Any], i: int) -> Callable[..., Any]:
        if mode == "reverse":
            return tg.grad(lambda *xs: np.sum(f(*xs)), i)
        along = lambda xs: lambda x: f(*xs[:i], x, *xs[i + 1 :])
        return lambda *xs: tg.jvp(along(xs), (xs[i],), (np.ones(xs[i].shape, xs[i].dtype),))[1]

    first = [slope(case.ours, i) for i in arguments]
    second = [slope(first[i], arguments[j]) for i in range(len(first)) for j in range(i, len(first))]
    return lambda *xs: [f(*xs) for f in (*first, *second)]


def points_of(case: Case, dtype: Any) -> list[tuple[float, ...]]:
    points = [p for p in itertools.product(*case.grids) if dtype is np.float64 or all(map(in_float32, p))]
    return [tuple([float(dtype(x)) for x in p]) for p in points]


@pytest.mark.parametrize("name", CASES)
def test_derivatives_far_out(name: str) -> None:
    case = CASES[name]
    for dtype in (np.float64, np.float32):
        points = points_of(case, dtype)
        xs = [np.array(x, dtype) for x in zip(*points, strict=True)]
        with np.errstate(all="ignore"):
            for mode in ("forward", "reverse"):
                found = derivatives(case, mode)(*xs)
                check(name, dtype, points, found, mode)
            for a, b in zip(found, tg.jit(derivatives(case, "reverse"))(*xs), strict=True):
                np.testing.assert_array_equal(a, b)


# Under XLA a result below the least normal number is zero, and so is what was made of one.
@pytest.mark.parametrize("part", range(3))
def test_derivatives_far_out_on_xla(part: int) -> None:
    names = [n for n in CASES if n not in ("zeta", "polygamma", "digamma", "lgamma", "betainc", "igamma", "igammac")]
    names = [n for n in names[part::3] if n not in ("scaled_bessel_i", "bessel_i1e", "erf_inv")]
    inputs = {}
    for name in names:
        points = points_of(CASES[name], np.float64)
        inputs[name] = [np.array(x) for x in zip(*points, strict=True)]
    found = tg.jit(
        lambda inputs: {n: derivatives(CASES[n], "reverse")(*xs) for n, xs in inputs.items()}, backend="xla"
    )(inputs)
    for name in names:
        check(name, np.float64, points_of(CASES[name], np.float64), [np.asarray(d) for d in found[name]], "xla")


# ---------------------------------------------------------------------------------------------------------------------
# What is over axes, and single points.

LOGITS = [(40.0, 0.0, -5.0), (1.0, 800.0, 90.0), (0.5, 0.4, 0.3), (-3.0, -3.0, 700.0)]


def exact_softmax(logits: Sequence[float]) -> tuple[list[Any], list[Any]]:
    """Probabilities, and what each lacks to one."""
    e = [mpmath.exp(mpf(x)) for x in logits]
    total = mpmath.fsum(e)
    return [x / total for x in e], [mpmath.fsum([*e[:i], *e[i + 1 :]]) / total for i in range(len(e))]


def near(found: Any, true: Sequence[Any]) -> None:
    """To 16 units in the last place, or to nothing where the truth underflows."""
    np.testing.assert_allclose(
        np.asarray(found), np.array(true, object).astype(float), rtol=16 * np.finfo(float).eps, atol=1e-300
    )


@pytest.mark.parametrize("backend", [None, "numpy", "xla"])
@pytest.mark.parametrize("logits", LOGITS)
def test_the_derivative_of_a_probability_near_one(logits: tuple[float, ...], backend: str | None) -> None:
    """It is what the others have, not 1 - 1."""
    jit = functools.partial(tg.jit, backend=backend) if backend else lambda f: f
    with mpmath.workdps(800):
        p, lacking = exact_softmax(logits)
        slopes = [[p[i] * (lacking[i] if i == j else -p[j]) for j in range(3)] for i in range(3)]
        log_slopes = [[lacking[i] if i == j else -p[j] for j in range(3)] for i in range(3)]
        x = np.array(logits)
        for transform in (tg.jacrev, tg.jacfwd):
            near(jit(transform(nn.softmax))(x), slopes)
            near(jit(transform(nn.log_softmax))(x), log_slopes)
        near(jit(tg.grad(nn.logsumexp))(x), p)
        near(jit(tg.hessian(nn.logsumexp))(x), slopes)
        label = int(np.argmax(x))
        losses = (
            lambda x: nn.softmax_cross_entropy_with_integer_labels(x, np.array(label)),
            lambda x: nn.softmax_cross_entropy(x, np.eye(3)[label]),
        )
        for loss in losses:
            near(jit(tg.grad(loss))(x), [-s for s in log_slopes[label]])
            near(jit(tg.hessian(loss))(x), slopes)


@pytest.mark.parametrize("backend", [None, "numpy", "xla"])
def test_single_points(backend: str | None) -> None:
    jit = functools.partial(tg.jit, backend=backend) if backend else lambda f: f
    second = lambda f: tg.grad(tg.grad(f))
    small = pytest.approx(4.248354255291589e-18, rel=1e-14)
    assert float(jit(tg.grad(np.tanh))(20.0)) == pytest.approx(1.6993417021166355e-17, rel=1e-14)
    assert float(jit(tg.grad(np.tanh))(1000.0)) == float(jit(second(np.tanh))(-1e300)) == 0.0
    assert float(jit(tg.grad(np.expm1))(-40.0)) == small
    assert float(jit(tg.grad(nn.elu))(-40.0)) == small
    assert float(jit(tg.grad(nn.elu))(-30.0)) == pytest.approx(9.357622968840175e-14, rel=1e-14)
    assert float(jit(tg.grad(nn.sigmoid))(40.0)) == small
    assert float(jit(second(nn.softplus))(40.0)) == small
    assert complex(jit(tg.grad(np.tanh, holomorphic=True))(20.0 + 1.0j)) == pytest.approx(
        complex(mpmath.sech(mpmath.mpc(20, 1)) ** 2), rel=1e-14
    )


@pytest.mark.parametrize("backend", [None, "numpy", "xla"])
def test_densities_at_the_ends_of_their_range(backend: str | None) -> None:
    """exp(-x) and its derivatives, and those of x**2, 3 x**2 - 2 x**3 and 1 - (1 - x)**3."""
    jit = functools.partial(tg.jit, backend=backend) if backend else lambda f: f

    def derivatives_at(f: Callable[..., Any], *xs: float) -> list[float]:
        found = []
        for _ in range(3):
            f = tg.grad(f, len(xs) - 1)
            found.append(float(jit(f)(*xs)))
        return found

    near(derivatives_at(lax.igamma, 1.0, 0.0), [1, -1, 1])
    near(derivatives_at(lax.igammac, 1.0, 0.0), [-1, 1, -1])
    near(derivatives_at(lax.igamma, 2.0, 0.0), [0, 1, -2])
    for point, true in [
        ((2.0, 1.0, 1.0), [2, 2, 0]), ((2.0, 2.0, 1.0), [0, -6, -12]), ((2.0, 2.0, 0.0), [0, 6, -12]),
        ((1.0, 3.0, 0.0), [3, -6, 6]),
    ]:  # fmt: skip
        np.testing.assert_allclose(derivatives_at(lax.betainc, *point), true, rtol=1e-13)
    slope = tg.grad(lax.igamma, 1)
    assert float(jit(slope)(0.5, 0.0)) == np.inf
    assert np.isnan(jit(slope)(1.0, -1.0))


def test_factors_of_logsumexp_have_derivatives_at_zero() -> None:
    f = nn.logsumexp
    b = np.array([2.0, 0.0, 5.0])
    gradient = tg.grad(lambda b: f(np.zeros(3), b=b))
    near(gradient(b), [mpf(1) / 7] * 3)
    near(tg.jit(gradient)(b), [mpf(1) / 7] * 3)
    near(tg.jit(gradient, backend="xla")(b), [mpf(1) / 7] * 3)
    near(tg.hessian(lambda b: f(np.zeros(3), b=b))(b), [[-mpf(1) / 49] * 3] * 3)
    mixed = tg.jacfwd(tg.grad(lambda a, b: f(a, b=b)), 1)(np.zeros(3), b)
    near(mixed, [[(mpf(i == j) - mpf(b[i]) / 7) / 7 for j in range(3)] for i in range(3)])
    # A term that overflows, with factor zero: nothing comes of it but in its factor.
    a, b = np.array([0.0, 5000.0]), np.array([1.0, 0.0])
    with np.errstate(over="ignore"):
        assert tg.grad(lambda a: f(a, b=b))(a).tolist() == [1.0, 0.0]
        assert tg.grad(lambda b: f(a, b=b))(b).tolist() == [1.0, np.inf]
