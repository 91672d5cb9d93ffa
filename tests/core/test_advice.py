"""What errors say to write instead, by what the user's line does. Each case is one line of a user's, and its error names it."""

from __future__ import annotations

import cmath
import dataclasses
import functools
import inspect
import logging
import math
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tracegrad.core.advice import _MATH
from tracegrad.core.errors import ConcretizationTypeError, DtypeError, TracerArrayConversionError

X = np.array([1.0, 2.0, 4.0])
lgamma = math.lgamma


def refusal(run: Callable[[], Any], error: type[Exception] = Exception) -> str:
    """The text of an error that names the line where the test's own function `run` is defined."""
    with pytest.raises(error) as caught:
        run()
    text = str(caught.value)
    assert re.search(rf"{re.escape(__file__)}:\d+", text), text
    assert "site-packages" not in text and "/tracegrad/" not in text.replace(__file__, ""), text
    return text


# jit without a program for each path.
by_types = functools.partial(tg.jit, branches="error")


@pytest.mark.parametrize("transform", [tg.grad, by_types], ids=["grad", "jit"])
@pytest.mark.parametrize(
    ("f", "called", "instead"),
    [
        (lambda x: math.sin(x), "math.sin()", "`np.sin(...)` in place of `math.sin(...)`"),
        (lambda x: math.erf(x), "math.erf()", "`tg.lax.erf(x)`"),
        (lambda x: math.erfc(x), "math.erfc()", "`tg.lax.erfc(x)`"),
        (lambda x: 1.0 + lgamma(2.0 * x), "math.lgamma()", "`tg.lax.lgamma(x)` in place of `lgamma(...)`"),
        (lambda x: math.gamma(x), "math.gamma()", "np.exp(tg.lax.lgamma(x))"),
        (lambda x: math.atan2(x, 1.0), "math.atan2()", "`np.arctan2(y, x)`"),
        (lambda x: math.pow(x, 2.0), "math.pow()", "`x ** y`"),
        (lambda x: math.fsum([x, x]), "math.fsum()", "`np.sum(x)`"),
        (lambda x: math.dist([x], [1.0]), "math.dist()", "np.linalg.norm(x - y)"),
        (lambda x: cmath.exp(x).real, "cmath.exp()", "`np.exp(...)`"),
        (lambda x: cmath.phase(x), "cmath.phase()", "`np.angle(z)`"),
        (lambda x: float(x), "float()", "NumPy's functions take the array as it is"),
        (lambda x: "%.3f" % x, "formatting with %", 'f"{x:.3f}"'),  # noqa: UP031
        (lambda x: "%.3f %d" % (x, 1), "formatting with %", 'f"{x:.3f}"'),  # noqa: UP031
        (lambda x: logging.LogRecord("", 0, "", 0, "%.3f", (x,), None).getMessage(), "formatting with %", 'f"{x:.3f}"'),
    ],
)
def test_what_wants_a_plain_number(transform: Any, f: Any, called: str, instead: str) -> None:
    text = refusal(lambda: transform(f)(2.0), ConcretizationTypeError)
    assert text.startswith(f"{called} at ") and instead in text
    if transform is tg.grad:
        assert "write float(tg.stop_gradient(x))" in text


@pytest.mark.parametrize("name", sorted({n for m in (math, cmath) for n in dir(m) if not n.startswith("_")}))
def test_every_function_of_math_has_a_counterpart_that_is_there(name: str) -> None:
    if name in _MATH:
        for path in re.findall(r"(?:np|tg)(?:\.\w+)+", _MATH[name]):
            functools.reduce(getattr, path.split(".")[1:], {"np": np, "tg": tg}[path.split(".")[0]])


def test_a_while_is_offered_a_loop() -> None:
    def f(x: Any) -> Any:
        while np.sum(x) > 1:
            x = x / 2
        return x

    text = refusal(lambda: by_types(f)(X))
    assert "tg.lax.while_loop(condition, body, x)" in text and "static_argnames" not in text
    text = refusal(lambda: by_types(f)(2.0))
    assert text.endswith(
        "too, or decide outside and have jit trace anew for each value: `tg.jit(f, static_argnames='x')`.\n"
        "  Or have jit make a program for each path, on NumPy: `tg.jit(f, backend='numpy', branches='guard')`."
    )


def test_only_numbers_are_to_be_static() -> None:
    """An array is no static argument, nor is the tree that a number stands in."""
    for function, args in [
        (lambda x: x if x[0] > 0 else -x, (X,)),
        (lambda x, n: x if x[0] > n else -x, (X, 2)),
        (lambda p: p["x"] if p["n"] > 0 else -p["x"], ({"x": X, "n": 2},)),
        (lambda x: x if x > 0 else -x, (np.array(2.0),)),
    ]:
        text = refusal(lambda function=function, args=args: by_types(function)(*args))
        assert "`tg.lax.cond(condition, f, g, x)`" in text and "np.where" in text and "static_argnames" not in text
    text = refusal(lambda: by_types(lambda x, n, m: x if n > m else -x)(X, 2, 3))
    assert "static_argnames=('n', 'm')" in text
    text = refusal(lambda: by_types(lambda x: np.zeros(int(np.sum(x))))(X))
    assert (
        "compute the number outside, and have jit trace anew for each: `tg.jit(f, static_argnames='n')(x, n)`." in text
    )


@pytest.mark.parametrize(
    "f",
    [
        lambda n: np.zeros(n),
        lambda n: np.ones(n),
        lambda n: np.empty((n, 2)),
        lambda n: np.full(n, 1.0),
        lambda n: np.arange(n),
        lambda n: np.arange(0, n),
        lambda n: np.eye(n),
        lambda n: np.linspace(0.0, 1.0, n),
        lambda n: tnp.zeros(n),
        lambda n: tnp.ones(n),
        lambda n: np.random.default_rng(0).normal(size=n),
        lambda n: range(n),
        lambda n: X[:n],
        lambda n: X.reshape(n, -1),
    ],
)
def test_a_traced_size_names_static_argnames(f: Any) -> None:
    assert "tg.jit(f, static_argnames='n')" in refusal(lambda: by_types(f)(3))


@dataclasses.dataclass
class Plain:
    a: Any


class Model:
    w = 2.0

    def loss(self, x: Any) -> Any:
        return np.sum(x) * self.w


class Sparse:
    def toarray(self) -> Any:
        return X


RECORD = np.zeros(2, [("a", float), ("b", int)])
NO_NUMBERS: list[tuple[Any, str]] = [
    (np.array(["a"]), "an array of dtype <U1"),
    (np.array([1.0, None]), "np.array(x, dtype=float)"),
    (np.array(["2020-01-01"], "M8[D]"), "np.timedelta64(1, 's')"),
    (np.array([1], "m8[s]"), "np.timedelta64(1, 's')"),
    (np.array([b"a"]), "static argument"),
    (RECORD, "x['a']"),
    (np.zeros(1, "V4"), "is not one of numbers"),
    (np.datetime64("2020-01-01"), "not an array of numbers"),
    (object(), "object"),
    ("a", "of type str"),
    (b"a", "of type bytes"),
    ({1.0}, "list(x)"),
    (frozenset([1.0]), "list(x)"),
    (iter([1.0]), "list(x)"),
    ({"a": 1.0}.values(), "list(x)"),
    (Sparse(), "x.toarray()"),
    (Plain(X), "tg.tree.register_dataclass(Plain)"),
    (Model(), "tg.tree_util.register_pytree_node_class(Model)"),
    (slice(3), "of type slice"),
]
TRANSFORMS: dict[str, Callable[[Any], Any]] = {
    "jit": lambda v: tg.jit(lambda y: y)(v),
    "jit on xla": lambda v: tg.jit(lambda y: y, backend="xla")(v),
    "jit by keyword": lambda v: tg.jit(lambda y: y)(y=v),
    "grad": lambda v: tg.grad(lambda y: 1.0)(v),
    "grad allow_int": lambda v: tg.grad(lambda y: 1.0, allow_int=True)(v),
    "vjp": lambda v: tg.vjp(lambda y: y, v),
    "jvp": lambda v: tg.jvp(lambda y: y, (v,), (v,)),
    "linearize": lambda v: tg.linearize(lambda y: y, v),
    "jacrev": lambda v: tg.jacrev(lambda y: y)(v),
    "jacfwd": lambda v: tg.jacfwd(lambda y: y)(v),
    "hessian": lambda v: tg.hessian(lambda y: y)(v),
    "vmap": lambda v: tg.vmap(lambda y: y)(v),
    "checkpoint": lambda v: tg.grad(lambda x: tg.checkpoint(lambda x, y: x)(x, v))(1.0),
    "scan init": lambda v: tg.lax.scan(lambda y, e: (y, None), v, None, length=2),
    "scan xs": lambda v: tg.lax.scan(lambda y, e: (y, None), 0.0, v),
    "while_loop": lambda v: tg.lax.while_loop(lambda y: False, lambda y: y, v),
    "cond": lambda v: tg.jit(lambda p: tg.lax.cond(p, lambda y: 1.0, lambda y: 2.0, v))(True),
    "make_graph": lambda v: tg.make_graph(lambda y: y)(v),
    "eval_shape": lambda v: tg.eval_shape(lambda y: y, v),
    "output of jit": lambda v: tg.jit(lambda y: v)(X),
    "output of vmap": lambda v: tg.vmap(lambda y: v)(X),
    "output of vjp": lambda v: tg.vjp(lambda y: v, X),
    "operand": lambda v: tg.jit(lambda y: y + v)(X[:1]),
    "operand in grad": lambda v: tg.grad(lambda y: np.sum(y * v))(X[:1]),
}


@pytest.mark.filterwarnings("ignore:Python iterable type:DeprecationWarning")  # jax's, of leaves that it takes for none
@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize(("value", "part"), NO_NUMBERS, ids=[str(i) for i in range(len(NO_NUMBERS))])
def test_what_is_no_array_of_numbers(transform: str, value: Any, part: str) -> None:
    text = refusal(lambda: TRANSFORMS[transform](value), TypeError)
    assert part in text, text


def test_a_method_called_with_its_object() -> None:
    for run in (lambda: tg.jit(Model.loss)(Model(), X), lambda: tg.grad(Model.loss)(Model(), X)):
        text = refusal(run, DtypeError)
        assert text.startswith("self: ") and "tg.jit(obj.method)" in text and "static_argnums=0" in text
    assert functools.partial(tg.jit, static_argnums=0)(Model.loss)(Model(), X) == 14.0
    assert tg.jit(Model().loss)(X) == 14.0 and tg.grad(Model.loss, argnums=1)(Model(), X)[0] == 2.0


def test_functions_of_scipy_are_called_by_their_names() -> None:
    import scipy.integrate
    import scipy.linalg
    import scipy.special

    text = refusal(lambda: tg.grad(lambda y: scipy.special.airye(y)[0])(2.0))
    assert text.startswith("scipy.special.airye is not traced at ")
    text = refusal(lambda: tg.grad(lambda y: np.sum(scipy.linalg.null_space(np.outer(y, y))))(X))
    assert text.startswith("scipy.linalg.null_space wanted a plain array at ")
    assert "scipy.linalg.null_space works on plain arrays" in text
    solved = lambda y: np.sum(scipy.integrate.solve_ivp(lambda t, z: -z * y, (0, 1), X).y)
    text = refusal(lambda: tg.grad(solved)(X))
    assert text.startswith("scipy.integrate.solve_ivp wanted a plain array at ")
    assert "Write `tg.scipy.integrate.solve_ivp(...)`" in text
    text = refusal(lambda: tg.grad(lambda y: scipy.integrate.quad(lambda t: t * y, 0, 1)[0])(1.0))
    assert text.startswith("float() in scipy.integrate.quad at ")


def test_numpyize_is_named_where_it_puts_a_function_in_place_of_scipys() -> None:
    import scipy.linalg
    import scipy.optimize

    leave = "leave the code as it is, and trace `tg.numpyize(f)`"
    solved = lambda y: np.sum(scipy.linalg.expm(np.outer(y, y) / 9))
    assert leave in refusal(lambda: tg.grad(solved)(X))
    assert np.all(np.isfinite(tg.grad(tg.numpyize(solved))(X)))
    assert leave not in refusal(lambda: tg.grad(lambda y: np.sum(scipy.linalg.null_space(np.outer(y, y))))(X))
    found = lambda y: scipy.optimize.minimize(lambda v: np.sum((v - y) ** 2), np.zeros(3)).x[0]
    text = refusal(lambda: tg.grad(found)(X))
    assert leave not in text and "Write `tg.scipy.optimize.minimize(...)`" in text


def test_functions_of_scipy_that_are_here_too() -> None:
    """Whatever SciPy does with what is traced: makes an array of it, branches on it, asks where it lies."""
    import scipy.linalg

    factor = scipy.linalg.cho_factor(np.eye(3))
    text = refusal(lambda: tg.grad(lambda y: np.sum(scipy.linalg.cho_solve(factor, y)))(X))
    assert re.match(r"scipy\.linalg\.cho_solve wanted a plain array at .*test_advice\.py:\d+", text)
    assert (
        "Write `tg.scipy.linalg.cho_solve(...)`, which takes traced arrays too, in place of `scipy.linalg.cho_solve(...)`"
        in text
    )
    text = refusal(lambda: by_types(lambda y: scipy.linalg.companion(y))(X))
    assert "write `tg.scipy.linalg.companion(...)`, which takes traced arrays" in text
    text = refusal(lambda: tg.jit(lambda y: scipy.linalg.circulant(y))(X), AttributeError)
    assert "write `tg.scipy.linalg.circulant(...)`, which takes traced arrays" in text


def test_functions_of_jax_called_with_a_tracer() -> None:
    import jax
    import jax.numpy as jnp

    for f in (jnp.sin, jnp.sum, jax.nn.relu, jax.lax.sin, jax.grad(lambda z: z), lambda y: jnp.where(y > 0, y, 0)):
        for transform in (tg.grad, tg.jit):
            text = refusal(lambda f=f, t=transform: t(lambda y: f(y))(2.0), TypeError)  # type: ignore[misc]
            assert "a function of jax's was called at" in text and "wrap it: tg.from_jax(" in text and "tnp" in text
    wrapped = "\n  jax functions take no tracegrad tracers; wrap it: tg.from_jax({})."
    text = refusal(lambda: tg.jit(lambda y: jnp.asarray(y))(X))
    assert text.startswith("jax.numpy.asarray wanted a plain array at ") and wrapped.format("jnp.asarray") in text
    text = refusal(lambda: tg.jit(lambda y: jax.vmap(jnp.sin)(y))(X), TypeError)
    assert "wrap it: tg.from_jax(" in text  # of what: as older versions of jax raise it, our text does not know


def test_libraries_written_in_jax_called_with_a_tracer() -> None:
    """The line is the user's, not the library's, and the function the one that it calls."""
    optax = pytest.importorskip("optax")
    opt = optax.adam(1e-3)
    state = opt.init(X)
    for transform in (tg.jit, tg.vmap):
        text = refusal(lambda t=transform: t(lambda g: opt.update(g, state)[0])(X), TypeError)  # type: ignore[misc]
        assert "wrap it: tg.from_jax(opt.update)." in text and "test_advice.py:" in text and "optax" not in text
    text = refusal(lambda: tg.grad(lambda g: np.sum(optax.l2_loss(g)))(X))
    assert "wrap it: tg.from_jax(optax.l2_loss)." in text and "test_advice.py:" in text.split("\n")[0]


def into_a_part(y: Any) -> Any:
    z = np.zeros(3)
    z[1:] += y[1:]
    return z


def at_of_a_plain_array(y: Any) -> Any:
    return np.zeros(3).at[0].set(y[0])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("f", "part"),
    [
        (into_a_part, "write `y = tnp.at(y)[i].add(x)`"),
        (at_of_a_plain_array, "write `tnp.at(x)[i].set(v)`"),
        (lambda y: np.add(y, y, where=X > 1), "write `np.where(c, np.add(x, y), 0)`"),
        (lambda y: np.sin(y, where=X > 1), "write `np.where(c, np.sin(x), 0)`"),
        (lambda y: np.asarray(y), "write `tnp.asarray(x)`"),
        (lambda y: np.array([y[0], 1.0]), "write `tnp.array([...])`"),
        (lambda y: np.fill_diagonal(np.zeros((3, 3)), y), "tnp.at(y)[i].set(v)"),
    ],
)
def test_what_writes_or_makes_an_array(f: Any, part: str) -> None:
    for transform in (tg.jit, tg.vjp):
        assert part in refusal(lambda t=transform: t(f, X) if t is tg.vjp else t(f)(X))  # type: ignore[misc]


def test_the_environment_is_named_where_it_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEGRAD_BACKEND", "torch")
    assert "TRACEGRAD_BACKEND=torch" in refusal(lambda: tg.jit(np.sin), ValueError)


@tg.custom_jvp
def branching(x: Any) -> Any:
    return np.sin(x) if x > 0 else x


@branching.defjvp
def _(primals: Any, tangents: Any) -> Any:
    return branching(*primals), float(tangents[0])


@tg.custom_vjp
def with_rules(x: Any) -> Any:
    return np.sin(x)


with_rules.defvjp(lambda x: (with_rules(x), x if x > 0 else -x), lambda r, g: (float(g),))


def choose(x: Any) -> Any:
    return x if x > 0 else -x


@pytest.mark.parametrize(
    ("run", "part"),
    [
        (
            lambda: tg.lax.scan(lambda c, e: (choose(c), None), 1.0, X),
            "but the lax.scan of '<lambda>.<locals>.<lambda>'",
        ),
        (
            lambda: tg.lax.fori_loop(0, 3, lambda i, c: choose(c), 1.0),
            "but the lax.scan of '<lambda>.<locals>.<lambda>'",
        ),
        (lambda: tg.lax.while_loop(lambda c: c < 3, choose, 1.0), "but the lax.while_loop of 'choose'"),
        (lambda: tg.lax.map(choose, X), "but the lax.scan of 'choose'"),
        (lambda: tg.jit(tg.checkpoint(choose))(1.0), "but the checkpoint of 'choose'"),
        (lambda: tg.jit(branching)(1.0), "but the call of 'branching'"),
        (lambda: tg.grad(branching)(1.0), "but the transpose of the derivative rule of 'branching' knows"),
        (lambda: by_types(tg.grad(with_rules))(1.0), "but the jit of 'grad(with_rules)'"),
        (lambda: tg.vmap(choose, batch_size=2)(X), "but the vmap of 'choose'"),
    ],
)
def test_no_function_of_ours_is_named(run: Any, part: str) -> None:
    text = refusal(run, ConcretizationTypeError)
    assert part in text and ".<locals>." not in text.replace("<lambda>.<locals>.", ""), text


def test_what_numpy_draws_by_a_traced_parameter() -> None:
    rng = np.random.default_rng(0)
    holder = SimpleNamespace(rng=rng)
    for f, instead in (
        (lambda mu: rng.normal(mu), "`mu + sigma * rng.normal()`"),
        (lambda mu: 2 * rng.normal(0.0, mu, 3), "`mu + sigma * rng.normal()`"),
        (lambda mu: np.random.normal(mu), "`mu + sigma * np.random.normal()`"),
        (
            lambda mu: np.random.default_rng(0).uniform(0.0, mu),
            "`low + (high - low) * np.random.default_rng(0).uniform()`",
        ),
        (lambda mu: holder.rng.lognormal(0.0, mu), "`np.exp(mean + sigma * holder.rng.normal())`"),
        (lambda mu: rng.gamma(mu), "`tg.random.gamma(key, ...)`, or pass what `rng.gamma` draws"),
        (lambda mu: rng.standard_t(mu), "`tg.random.t(key, ...)`"),
        (lambda mu: rng.vonmises(mu, 1.0), "a function of tg.random's, or pass what `rng.vonmises` draws"),
    ):
        for transformed in (tg.grad(f), tg.jit(f)):
            with pytest.raises(TracerArrayConversionError) as caught:
                transformed(0.5)
            assert f"test_advice.py:{f.__code__.co_firstlineno} (in <lambda>)" in str(caught.value)
            assert f"NumPy draws by plain numbers alone: write {instead}" in str(caught.value)


@pytest.mark.parametrize(
    ("f", "instead"),
    [
        (
            lambda a, x: min(a, 2.0, x[0]),
            "`np.minimum(a, b)` of two, or `np.min(x)` of an array, in place of `min(...)`",
        ),
        (lambda a, x: max(x), "`np.maximum(a, b)` of two, or `np.max(x)` of an array, in place of `max(...)`"),
        (lambda a, x: sorted(x), "`np.sort(x)`, in place of `sorted(...)`"),
        (lambda a, x: any(v > a for v in x), "`np.any(x)`, in place of `any(...)`"),
        (lambda a, x: all(x > a), "`np.all(x)`, in place of `all(...)`"),
    ],
)
def test_functions_of_python_that_compare(f: Any, instead: str) -> None:
    with pytest.raises(ConcretizationTypeError) as info:
        tg.jit(f, branches="error")(1.0, np.ones(3))
    assert f"Instead, write {instead}" in str(info.value)
    assert tg.jit(lambda x: sum(x))(np.ones(3)) == 3.0


def test_at_a_prompt_scipys_functions_are_named_all_the_same() -> None:
    """Where there is no text of the user's line."""
    scipy_special, scipy_stats = pytest.importorskip("scipy.special"), pytest.importorskip("scipy.stats")
    for text in ("special.logsumexp", "stats.norm.logpdf"):
        f = eval(compile(f"lambda t: {text}(t)", "<stdin>", "eval"), {"special": scipy_special, "stats": scipy_stats})
        for transform in (tg.jit, tg.vmap, lambda f: tg.grad(lambda t: np.sum(f(t)))):
            with pytest.raises(TracerArrayConversionError) as caught:
                transform(f)(X)
            wanted = f"Write `tg.scipy.{text}(...)`, which takes traced arrays too, in place of `scipy.{text}(...)`"
            assert wanted in str(caught.value) and "<stdin>:1" in str(caught.value)


@pytest.mark.parametrize("name", ["logsumexp", "softmax", "log_softmax"])
def test_all_ways_out_of_scipys_functions_in_python(name: str) -> None:
    """Ours, a copy of the code in which ours stand, and SciPy's own where it asks arrays for their namespace."""
    special = pytest.importorskip("scipy.special")
    uses = {
        "logsumexp": lambda t: special.logsumexp(t),
        "softmax": lambda t: special.softmax(t),
        "log_softmax": lambda t: special.log_softmax(t),
    }
    with pytest.raises(TracerArrayConversionError) as caught:
        tg.jit(uses[name])(X)
    text = str(caught.value)
    assert f"Write `tg.scipy.special.{name}(...)`" in text and "trace `tg.numpyize(f)` in its place" in text
    if "array_namespace" in inspect.unwrap(getattr(special, name)).__code__.co_names:
        assert "set SCIPY_ARRAY_API=1 in the environment before SciPy is imported" in text
    else:
        assert "SCIPY_ARRAY_API" not in text  # as of softmax in SciPy 1.15
    np.testing.assert_allclose(tg.jit(tg.numpyize(uses[name]))(X), getattr(special, name)(X), rtol=1e-14)
