"""Copies of plain NumPy code with tracegrad.numpy in NumPy's place. This file has no `tnp` but to compare with."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import math
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy
import numpy as np
import numpy.linalg as la
import pytest
import scipy.integrate
import scipy.interpolate
import scipy.linalg
import scipy.ndimage
import scipy.optimize
import scipy.signal
import scipy.special
import scipy.stats
from numpy import asarray, zeros
from numpy.linalg import norm

import tracegrad as tg
import tracegrad.numpy as tnp

X = np.array([1.5, 0.7, 2.2])
WEIGHTS = np.array([1.0, 2.0, 3.0])


def differences(f: Callable[[Any], Any], x: Any) -> Any:
    h = 1e-6
    return np.array([(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(len(x))])


def check(f: Callable[[Any], Any], x: Any = X, rtol: float = 1e-6) -> None:
    """The copy has f's values and derivatives, by every transform, and f stays as it is."""
    copy = tg.numpyize(f)
    expected = differences(f, x)
    np.testing.assert_allclose(tg.grad(copy)(x), expected, rtol, 1e-7)
    np.testing.assert_allclose(tg.jit(tg.grad(copy))(x), expected, rtol, 1e-7)
    np.testing.assert_allclose(tg.vmap(tg.grad(copy))(np.stack([x, x]))[1], expected, rtol, 1e-7)
    assert f(x) == copy(x)


# ---------------------------------------------------------------------------------------------------------------------
# Functions and what they reach.


def pair(x: Any, make: Any = np.array) -> Any:
    return make([x[0], x[1] * 2])


def by_name(x: Any) -> Any:
    y = zeros(3)
    y[0] = x[0]
    v = y[1:]
    v[...] = asarray(x)[1:] ** 2
    return np.sum(y * WEIGHTS)


def through_others(x: Any) -> Any:
    return np.sum(pair(x)) + numpy.sum(pair(x, make=np.asarray)) + la.norm([x[0], x[1]]) + norm([x[2], 1.0])


def is_even(n: int, x: Any) -> Any:
    return np.array([x[0]]) if n == 0 else is_odd(n - 1, x)


def is_odd(n: int, x: Any) -> Any:
    return is_even(n - 1, x) if n else np.array([0.0])


def mutual(x: Any) -> Any:
    return np.sum(is_even(4, x)) * x[1]


def imports_inside(x: Any) -> Any:
    import numpy as np
    import numpy.linalg
    from numpy import array as made
    from numpy.linalg import det

    return det(np.array([[x[0], 1.0], [0.5, x[1]]])) + np.sum(made([x[2]])) + numpy.linalg.norm([x[0], x[1]])


def logged(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


@logged
@logged
def decorated(x: Any) -> Any:
    return np.sum(np.array([x[0] * x[1], x[2]]))


def closure() -> Any:
    scale = 3.0

    def factorial(n: int, x: Any) -> Any:
        return np.array([x[0]])[0] if n <= 1 else n * factorial(n - 1, x)

    return lambda x: scale * factorial(3, x) + (lambda t: np.array([t, 1.0]))(x[1])[0]


def generated(x: Any) -> Iterator[Any]:
    for i in range(3):
        yield np.array([x[i], 1.0])


def with_generator(x: Any) -> Any:
    return np.sum(np.stack(list(generated(x)))) + sum(v[0] for v in generated(x)) + np.array([v * v for v in x])[0]


@contextlib.contextmanager
def managed(x: Any) -> Iterator[Any]:
    yield np.array([x[0], x[1]])


def with_context(x: Any) -> Any:
    with managed(x) as y:
        return np.sum(y**2)


@functools.lru_cache
def table(n: int) -> Any:
    return np.arange(float(n)) + np.array([1.0])


def with_cache(x: Any) -> Any:
    return np.sum(table(3) * np.asarray(x))


def with_class_body(x: Any) -> Any:
    class Buffer:
        y = np.zeros(3)

    Buffer.y[1:] = x[1:]
    return np.sum(Buffer.y)


def with_keywords(x: Any, *, make: Any = np.asarray, power: int = 2) -> Any:
    return np.sum(make([x[0], x[1]]) ** power)


def index_tricks(x: Any) -> Any:
    return np.sum(np.r_[x[0], x, 1.0]) + np.sum(np.c_[x, x]) + np.sum(np.fromiter((v for v in x), float))


@pytest.mark.parametrize(
    "f",
    [
        by_name, through_others, mutual, imports_inside, decorated, closure(), with_generator, with_context, with_cache,
        with_class_body, with_keywords, functools.partial(with_keywords, make=np.array), index_tricks,
    ],
    ids=lambda f: getattr(f, "__name__", "partial"),
)  # fmt: skip
def test_functions(f: Any) -> None:
    check(f)


def test_a_copy_has_the_code_and_the_names_of_the_original() -> None:
    copy = tg.numpyize(with_keywords)
    assert copy.__code__ is with_keywords.__code__ and copy is not with_keywords
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__"):
        assert getattr(copy, name) == getattr(with_keywords, name)
    assert copy.__kwdefaults__["make"] is tnp.asarray and with_keywords.__kwdefaults__["make"] is np.asarray
    assert decorated.__wrapped__ is not tg.numpyize(decorated).__wrapped__
    assert tg.numpyize(np.zeros) is tnp.zeros and tg.numpyize(np).linalg.norm is tnp.linalg.norm
    assert tg.numpyize(np).sin is np.sin and tg.numpyize(np).random is np.random and tg.numpyize(np).pi == math.pi


def inner(x: Any) -> Any:
    y = np.zeros(2)
    y[0] = x[0] ** 2 * x[1]
    return np.sum(np.array([y[0], x[2]]))


slope, jitted, on_xla, kept = tg.grad(inner), tg.jit(inner), tg.jit(inner, backend="xla"), tg.checkpoint(inner)


def test_transformed_functions_are_copied_too() -> None:
    def f(x: Any) -> Any:
        return slope(x)[0] + jitted(x) + 2 * on_xla(x) + 3 * kept(x)  # 2 x y + 6 (x^2 y + z)

    copy = tg.numpyize(f)
    x, y, _ = X
    expected = [2 * y + 12 * x * y, 2 * x + 6 * x * x, 6.0]
    np.testing.assert_allclose(tg.grad(copy)(X), expected)
    np.testing.assert_allclose(tg.jit(tg.grad(copy))(X), expected)
    np.testing.assert_allclose(tg.numpyize(slope)(X), [2 * x * y, x * x, 1.0])
    assert tg.numpyize(jitted).lower(X).graph.inputs and tg.numpyize(jitted).__name__ == "inner"


LATER: Any = None
COUNT = 0


def reads_later(x: Any) -> Any:
    global COUNT
    COUNT += 1
    return LATER(x) * COUNT


def test_globals_are_read_when_they_are_used_and_written_for_the_copy_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tg.numpyize(reads_later)
    monkeypatch.setitem(globals(), "LATER", lambda x: np.sum(np.array([x, x])))
    assert tg.grad(copy)(1.0) == 2.0 and tg.grad(copy)(1.0) == 4.0
    monkeypatch.setitem(globals(), "LATER", lambda x: np.array([3 * x])[0])
    assert tg.grad(copy)(1.0) == 9.0 and COUNT == 0
    with pytest.raises(NameError, match="nowhere"):
        tg.numpyize(lambda x: nowhere)(1.0)  # type: ignore[name-defined]  # noqa: F821


def test_what_several_functions_share_stays_shared() -> None:
    count = 0

    def up() -> int:
        nonlocal count
        count += len(np.zeros(1))
        return count

    assert tg.numpyize(up)() == 1 and count == 1 and up() == 2


def test_errors_name_the_original_line() -> None:
    def f(x: Any) -> Any:
        return math.sin(x)  # here

    with pytest.raises(TypeError) as caught:
        tg.grad(tg.numpyize(f))(1.0)
    assert f"{__file__}:{f.__code__.co_firstlineno + 1} (in f)" in str(caught.value)
    assert "Write `np.sin(...)` in place of `math.sin(...)`" in str(caught.value)

    def g(x: Any) -> Any:
        return np.float64(x)

    with pytest.raises(TypeError, match=r"write `x\.astype\(np\.float64\)`") as caught:
        tg.grad(tg.numpyize(g))(1.0)
    assert "tg.numpyize(" not in str(caught.value)


@pytest.mark.parametrize("what", [math.sin, len, 3, np.sin, np.float64, math, sys, [1.0]])
def test_what_has_no_python_code_is_refused(what: Any) -> None:
    with pytest.raises(TypeError, match=r"numpyize at .*test_numpyized.*copies Python functions, classes and modules"):
        tg.numpyize(what)


# ---------------------------------------------------------------------------------------------------------------------
# Classes and their objects.


class Base:
    made = 0

    def __init__(self, n: int) -> None:
        self.n = n

    def run(self, x: Any) -> Any:
        y = np.zeros(self.n)
        y[:2] = x[:2]
        return y


class Derived(Base):
    def __init__(self, n: int) -> None:
        super().__init__(n)
        type(self).made += 1

    def run(self, x: Any) -> Any:
        return super().run(x) * 2

    @property
    def ones(self) -> Any:
        return np.ones(self.n)

    @functools.cached_property
    def twos(self) -> Any:
        return 2 * np.ones(self.n)

    @staticmethod
    def made_of(x: Any) -> Any:
        return np.array([x[0], x[1]])

    @classmethod
    def of(cls, x: Any) -> Any:
        return np.sum(cls(3).run(x)) + np.sum(cls.made_of(x))

    def __call__(self, x: Any) -> Any:
        return np.sum(self.run(x)) * len(self.ones)


class Plain:
    def value(self) -> float:
        return 1.0


@dataclasses.dataclass
class Config:
    scale: float = 2.0

    def apply(self, x: Any) -> Any:
        return self.scale * np.array([x[0], 1.0])


class Kind(enum.Enum):
    ONE = 1

    def of(self, x: Any) -> Any:
        return np.asarray(x)


class Named(NamedTuple):
    x: Any


@tg.tree_util.register_pytree_node_class
class Node:
    def __init__(self, x: Any) -> None:
        self.x = np.asarray(x) if type(x) is list else x

    def tree_flatten(self) -> Any:
        return (self.x,), None

    @classmethod
    def tree_unflatten(cls, data: Any, children: Any) -> Node:
        return cls(*children)


class Refusal(Exception):
    def text(self) -> Any:
        return np.zeros(1)


OBJECT = Derived(4)


def with_classes(x: Any) -> Any:
    d = Derived(3)
    assert isinstance(d, Derived) and isinstance(d, Base) and isinstance(OBJECT, Base)
    assert issubclass(Derived, Base) and not isinstance(Plain(), Base)
    try:
        raise Refusal
    except Refusal:
        y = np.sum(d.run(x)) + np.sum(OBJECT.run(x)) + Derived.of(x) + d(x)
    return y + np.sum(Config(3.0).apply(x)) + np.sum(d.twos * x) + Named(x).x[0] * Plain().value() * Kind.ONE.value


def test_classes() -> None:
    check(with_classes)
    check(Derived(3))
    check(lambda x: np.sum(Config().apply(x)))
    copy = tg.numpyize(Derived)
    assert issubclass(copy, tg.numpyize(Derived).__mro__[-1]) and isinstance(OBJECT, copy) and not isinstance(3, copy)
    assert copy.__name__ == "Derived" and copy(2).run.__code__ is Derived.run.__code__
    method = tg.numpyize(OBJECT.run)
    assert tg.grad(lambda x: np.sum(method(x)))(X).tolist() == [2.0, 2.0, 0.0]
    method.__self__.n = 5
    assert OBJECT.n == 5  # an object and its copy are one state
    OBJECT.n = 4


def test_what_nothing_of_numpys_is_in_stays_as_it_is() -> None:
    seen = []

    def f(x: Any) -> Any:
        seen[:] = Plain, Kind, Named, Refusal, Node, Derived, np.ndarray, np.float64
        return np.sum(np.asarray(x))

    tg.numpyize(f)(X)
    assert seen[:5] == [Plain, Kind, Named, Refusal, Node] and seen[5] is not Derived
    assert seen[6:] == [np.ndarray, np.float64]


# ---------------------------------------------------------------------------------------------------------------------
# Modules.


def test_threads_see_nothing() -> None:
    barrier, found = threading.Barrier(3, timeout=30), {}

    def f(x: Any) -> Any:
        y = np.zeros(2)
        barrier.wait()
        try:
            y[0] = x
            return np.sum(y)
        except (TypeError, ValueError):
            return -x
        finally:
            barrier.wait()

    def plain() -> Any:
        barrier.wait()
        made = np.zeros(2)
        barrier.wait()
        return type(made) is np.ndarray

    copy = tg.numpyize(f)
    calls = {"copy": lambda: tg.grad(copy)(2.0), "traced": lambda: tg.grad(f)(2.0), "plain": plain}
    threads = [threading.Thread(target=lambda k=k, c=c: found.update({k: c()})) for k, c in calls.items()]  # type: ignore[misc]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == {"copy": 1.0, "traced": -1.0, "plain": True}


def test_many_threads_copy_at_once() -> None:
    copy, found = tg.numpyize(with_classes), []
    threads = [threading.Thread(target=lambda: found.append(tg.grad(copy)(X))) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 8 and all(np.array_equal(g, found[0]) for g in found)


def test_a_module() -> None:
    before = dict(sys.modules)
    this = sys.modules[__name__]
    copy = tg.numpyize(this)
    assert tg.grad(copy.by_name)(X).tolist() == [1.0, 2.8, 13.200000000000001]
    assert copy.by_name is copy.by_name and copy.__name__ == __name__ and "by_name" in dir(copy)
    assert copy.math is math and copy.WEIGHTS is WEIGHTS and isinstance(copy.OBJECT, copy.Derived)
    copy.WEIGHTS = 2 * WEIGHTS
    assert tg.grad(copy.by_name)(X)[0] == 2.0 and WEIGHTS[0] == 1.0 and this.by_name is by_name
    with pytest.raises(AttributeError, match="nothing"):
        copy.nothing  # noqa: B018
    assert dict(sys.modules) == before


OF_SCIPY: dict[str, tuple[str, Callable[[Any], Callable[[Any], Any]]]] = {
    "rosen": ("optimize", lambda m: m.rosen),
    "rosen_hess_prod": ("optimize", lambda m: lambda x: np.sum(m.rosen_hess(x) @ np.arange(3.0))),
    "simpson": ("integrate", lambda m: lambda x: m.simpson(x, dx=0.1)),
    "norm.logpdf": ("stats", lambda m: lambda x: np.sum(m.norm.logpdf(x, 0.3))),
    "companion": ("linalg", lambda m: lambda x: np.sum(m.companion(x) ** 3)),
    "barycentric": ("interpolate", lambda m: lambda x: m.barycentric_interpolate(np.arange(3.0), x, 1.3)),
    "chirp": ("signal", lambda m: lambda x: np.sum(m.chirp(x, 1.0, 2.0, 3.0))),
}


@pytest.mark.parametrize("name", OF_SCIPY)
def test_scipys_python(name: str) -> None:
    module, call = OF_SCIPY[name]
    theirs = pytest.importorskip(f"scipy.{module}")
    copy = call(tg.numpyize(theirs))
    np.testing.assert_allclose(tg.grad(copy)(X), differences(call(theirs), X), 1e-5, 1e-6)
    np.testing.assert_allclose(copy(X), call(theirs)(X), rtol=1e-14)


def test_a_function_of_scipys_by_itself_and_by_a_name() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    expected = optimize.rosen_der(X)
    np.testing.assert_allclose(tg.grad(tg.numpyize(optimize.rosen))(X), expected)
    rosen = optimize.rosen
    np.testing.assert_allclose(tg.grad(tg.numpyize(lambda x: rosen(x)))(X), expected)
    np.testing.assert_allclose(tg.grad(tg.numpyize(lambda x: optimize.rosen(x)))(X), expected)


# What plain code calls of SciPy's, and tg.scipy has: by a function of C's, with flags of memory, or with a loop in C.
IN_PLAIN_CODE: dict[str, Callable[[Any], Any]] = {
    "linalg.solve": lambda x: np.sum(scipy.linalg.solve(np.diag(x) + 1.0, x, assume_a="pos")),
    "linalg.cho_solve": lambda x: x @ scipy.linalg.cho_solve(scipy.linalg.cho_factor(np.diag(x) + 1.0), x),
    "linalg.expm": lambda x: np.sum(scipy.linalg.expm(np.outer(x, x) / 9.0)),
    "signal.welch": lambda x: np.sum(scipy.signal.welch(np.tile(x, 3), nperseg=4)[1] ** 2),
    "signal.lfilter": lambda x: np.sum(scipy.signal.lfilter(x, [1.0, 0.3], np.arange(5.0))),
    "ndimage.shift": lambda x: np.sum(scipy.ndimage.shift(np.arange(6.0) ** 2, x[0], order=1) ** 2),
    "integrate.quad": lambda x: scipy.integrate.quad(lambda u: np.sum(np.exp(-x * u)), 0.0, 1.0)[0],
    "interpolate.CubicSpline": lambda x: scipy.interpolate.CubicSpline(np.arange(3.0), x)(1.3),
    "special.log_softmax": lambda x: scipy.special.log_softmax(x)[0],
    "special.sph_harm_y": lambda x: np.sum(np.real(scipy.special.sph_harm_y(2, 1, x, 0.3))),
}


@pytest.mark.parametrize("name", IN_PLAIN_CODE)
def test_what_plain_code_calls_of_scipys(name: str) -> None:
    f = IN_PLAIN_CODE[name]
    if name == "special.sph_harm_y" and not hasattr(scipy.special.sph_harm_y, "__name__"):
        pytest.skip("in SciPy 1.15 it does not say its name, by which tg.scipy's is found")
    copy = tg.numpyize(f)
    np.testing.assert_allclose(copy(X), f(X), rtol=1e-12)
    np.testing.assert_allclose(tg.grad(copy)(X), differences(f, X), 1e-5, 1e-6)


# Written to the array API standard: SciPy's copy of array_api_compat has NumPy's functions for these in its own words.
BY_THE_STANDARD: dict[str, Callable[[Any], Any]] = {
    "ttest_1samp": lambda x: scipy.stats.ttest_1samp(x, 0.5).pvalue,
    "ttest_ind": lambda x: scipy.stats.ttest_ind(x, WEIGHTS, equal_var=False).pvalue,
    "pearsonr": lambda x: scipy.stats.pearsonr(x, WEIGHTS).statistic,
    "pearsonr's p": lambda x: scipy.stats.pearsonr(x, WEIGHTS).pvalue,
    "f_oneway": lambda x: scipy.stats.f_oneway(x, WEIGHTS).pvalue,
    "bartlett": lambda x: scipy.stats.bartlett(x, WEIGHTS).pvalue,
}


@pytest.mark.parametrize("name", BY_THE_STANDARD)
def test_scipys_functions_by_the_standard(name: str) -> None:
    f = BY_THE_STANDARD[name]
    if name == "f_oneway" and scipy.__version__.startswith("1.15."):
        pytest.skip("SciPy 1.15 does not write it to the standard")
    if name == "bartlett" and np.lib.NumpyVersion(np.__version__) < "2.1.0":
        pytest.skip("the clip of NumPy 2.0 has no min, by which it is called")
    copy = tg.numpyize(f)
    np.testing.assert_allclose(copy(X), f(X), rtol=1e-12)
    np.testing.assert_allclose(tg.jit(copy)(X), f(X), rtol=1e-12)
    np.testing.assert_allclose(tg.grad(copy)(X), differences(f, X), 1e-5, 1e-6)


def test_scipys_solvers_take_their_derivatives() -> None:
    def program(x: Any) -> Any:
        loss = lambda v: np.sum((v - x) ** 4 + v**2)
        return scipy.optimize.minimize(loss, np.zeros(3), jac=tg.grad(loss), method="BFGS").x

    np.testing.assert_allclose(tg.numpyize(program)(X), program(X), rtol=1e-9)


OF_STATSMODELS: dict[str, tuple[str, Callable[[Any], Callable[[Any], Any]]]] = {
    "HuberT": ("robust.norms", lambda m: lambda x: np.sum(m.HuberT().rho(x))),
    "Hampel": ("robust.norms", lambda m: lambda x: np.sum(m.Hampel(0.5, 1.0, 2.0).rho(x))),
    "rmse": ("tools.eval_measures", lambda m: lambda x: m.rmse(x, x**2)),
    "acovf": ("tsa.stattools", lambda m: lambda x: np.sum(m.acovf(x, fft=False) ** 2)),
    "DescrStatsW": ("stats.weightstats", lambda m: lambda x: m.DescrStatsW(x, weights=WEIGHTS).std),
    "Gamma": ("genmod.families", lambda m: lambda x: m.Gamma().loglike(WEIGHTS, x)),
    "Binomial": ("genmod.families", lambda m: lambda x: m.Binomial().deviance(WEIGHTS / 4, x / 3)),
}


@pytest.mark.parametrize("name", OF_STATSMODELS)
def test_statsmodels(name: str) -> None:
    module, call = OF_STATSMODELS[name]
    theirs = pytest.importorskip(f"statsmodels.{module}")
    copy = call(tg.numpyize(theirs))
    np.testing.assert_allclose(tg.grad(copy)(X), differences(call(theirs), X), 1e-5, 1e-6)
