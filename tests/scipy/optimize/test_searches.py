"""SciPy's searches: with our derivatives, and derivatives of what they find, against closed forms and differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.optimize

import tracegrad as tg
from tracegrad.core.errors import DifferentiationError, ShapeError, UnexpectedTracerError, UnsupportedFunctionError

opt = tg.scipy.optimize
X0 = np.array([-1.2, 1.0])
GRADIENT = [
    "CG",
    "BFGS",
    "Newton-CG",
    "L-BFGS-B",
    "TNC",
    "SLSQP",
    "dogleg",
    "trust-ncg",
    "trust-exact",
    "trust-krylov",
    "trust-constr",
]


def rosenbrock(x: Any) -> Any:
    return 100.0 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def convex(x: Any) -> Any:
    return np.sum(np.cosh(x - np.array([1.0, -2.0]))) + 0.5 * (x[0] + x[1]) ** 2


@pytest.mark.parametrize("method", GRADIENT)
@pytest.mark.filterwarnings("ignore")
def test_scipy_takes_our_derivatives(method: str) -> None:
    second: dict[str, Any] = {}
    if method in ("Newton-CG", "dogleg", "trust-ncg", "trust-exact", "trust-krylov", "trust-constr"):
        second["hess"] = tg.hessian(convex)
    found = scipy.optimize.minimize(convex, np.zeros(2), method=method, jac=tg.grad(convex), **second)
    assert np.max(np.abs(tg.grad(convex)(found.x))) < 1e-3


@pytest.mark.parametrize("method", ["hybr", "lm"])
def test_scipy_finds_roots_with_our_jacobians(method: str) -> None:
    f = lambda x: np.stack([x[0] + 0.5 * (x[0] - x[1]) ** 3 - 1.0, 0.5 * (x[1] - x[0]) ** 3 + x[1]])
    found = scipy.optimize.root(f, np.zeros(2), jac=tg.jacobian(f), method=method)
    np.testing.assert_allclose(found.x, [0.8411639, 0.1588361], atol=1e-6)


@pytest.mark.parametrize("method", [None, *GRADIENT, "Nelder-Mead", "Powell", "COBYLA", "COBYQA"])
@pytest.mark.filterwarnings("ignore")
def test_every_method(method: str | None) -> None:
    found = opt.minimize(convex, np.zeros(2), method=method, tol=1e-8)
    expected = scipy.optimize.minimize(convex, np.zeros(2), tol=1e-12)
    np.testing.assert_allclose(found.x, expected.x, atol=1e-3)
    np.testing.assert_allclose(found.fun, expected.fun, atol=1e-6)
    assert found.success and found.nfev > 0


def test_it_is_scipy_own_search() -> None:
    found = opt.minimize(rosenbrock, X0)
    expected = scipy.optimize.minimize(rosenbrock, X0, jac=tg.grad(rosenbrock))
    np.testing.assert_array_equal(found.x, expected.x)
    assert (found.nfev, found.nit, found.status) == (expected.nfev, expected.nit, expected.status)


# ---------------------------------------------------------------------------------------------------------------------
# Derivatives of what is found.


def energy(x: Any, a: Any, b: Any) -> Any:
    return np.sum(np.cosh(x["u"] - a)) + b * (x["v"] - x["u"][0]) ** 2 + 0.1 * x["v"] ** 4


def solved(a: Any, b: Any) -> Any:
    found = opt.minimize(energy, {"u": np.zeros(2), "v": 1.0}, args=(a, b), tol=1e-12)
    return np.sum(np.sin(found.x["u"])) + found.x["v"] ** 2


A, W = np.array([1.0, -0.5]), 0.7


def differences(f: Any, x: Any, step: float = 1e-4) -> Any:
    """The derivative in each number of x, of the fourth order of the step."""
    found = []
    for i in range(np.size(x)):
        e = np.zeros(np.shape(x))
        e.reshape(-1)[i] = step
        found.append((8 * (f(x + e) - f(x - e)) - (f(x + 2 * e) - f(x - 2 * e))) / (12 * step))
    return np.stack(found).reshape(np.shape(x) + np.shape(found[0]))


def test_derivatives_to_second_order() -> None:
    da, db = tg.grad(solved, (0, 1))(A, W)
    np.testing.assert_allclose(da, differences(lambda a: solved(a, W), A), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(db, differences(lambda b: solved(A, b), np.float64(W))[()], rtol=1e-6)
    np.testing.assert_allclose(tg.jvp(solved, (A, W), (A, 1.0))[1], A @ da + db, rtol=1e-9)
    second = tg.hessian(solved)(A, W)
    np.testing.assert_allclose(second, differences(lambda a: tg.grad(solved)(a, W), A), rtol=1e-5, atol=1e-7)


HOW: list[Any] = [
    tg.jit(tg.value_and_grad(solved, (0, 1))),
    pytest.param(tg.jit(tg.value_and_grad(solved, (0, 1)), backend="xla"), marks=pytest.mark.slow),
    lambda a, b: tg.tree.tree_map(lambda x: x[0], tg.vmap(tg.value_and_grad(solved, (0, 1)))(a[None], np.array([b]))),
]


@pytest.mark.parametrize("how", HOW)
def test_under_jit_and_vmap(how: Any) -> None:
    expected = tg.tree.tree_leaves(tg.value_and_grad(solved, (0, 1))(A, W))
    for x, y in zip(tg.tree.tree_leaves(how(A, W)), expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-7)


def test_the_value_has_the_derivative_of_the_envelope() -> None:
    f = lambda a: opt.minimize(lambda x, a: np.sum((x - a) ** 2) + np.sum(a * x), np.zeros(2), args=(a,), tol=1e-12).fun
    np.testing.assert_allclose(tg.grad(f)(A), 1.5 * A, rtol=1e-6)  # x = a / 2, f = 3 a^2 / 4
    np.testing.assert_allclose(tg.grad(f)(A), differences(f, A), rtol=1e-6)


def test_bounds_hold_what_lies_at_them() -> None:
    f = lambda x, a: np.sum((x - a) ** 2) + x[0] * x[1]
    solve = lambda a: (
        opt.minimize(f, np.array([0.5, 0.5, 0.5]), args=(a,), bounds=[(0, 1), (None, None), (0, None)], tol=1e-12).x
    )
    a = np.array([3.0, 1.0, -1.0])
    np.testing.assert_allclose(solve(a), [1.0, 0.5, 0.0], atol=1e-7)
    np.testing.assert_allclose(tg.jacrev(solve)(a), np.diag([0.0, 1.0, 0.0]), atol=1e-7)
    with pytest.raises(ShapeError, match="bounds must have one pair for each of the 2 numbers"):
        opt.minimize(rosenbrock, X0, bounds=[(0, 1)] * 3)


@pytest.mark.filterwarnings("ignore")
def test_constraints_have_no_derivative() -> None:
    rule = {"type": "eq", "fun": lambda x, a: np.sum(x) - 1.0}
    solve = lambda a: opt.minimize(lambda x, a: np.sum((x - a) ** 2), np.zeros(2), args=(a,), constraints=rule).x
    np.testing.assert_allclose(solve(A), A - (np.sum(A) - 1.0) / 2, atol=1e-4)
    np.testing.assert_allclose(tg.jit(solve)(A), solve(A))
    with pytest.raises(
        DifferentiationError, match=r"called at .*test_searches.py.*has constraints, with which its result has no"
    ):
        tg.jacrev(solve)(A)


def test_roots() -> None:
    f = lambda x, a: {"p": x["p"] + 0.5 * np.sin(x["p"]) - a, "q": x["q"] ** 3 - np.sum(x["p"])}
    for method in ("hybr", "lm", "krylov"):

        def solve(a: Any, method: str = method) -> Any:
            return opt.root(f, {"p": np.ones(2), "q": 1.0}, args=(a,), method=method, tol=1e-11).x

        x, a = solve(np.array([1.0, 2.0])), np.array([1.0, 2.0])
        slope = 1 / (1 + 0.5 * np.cos(x["p"]))
        found = tg.jacrev(solve)(a)
        np.testing.assert_allclose(found["p"], np.diag(slope), rtol=1e-7, atol=1e-12)
        np.testing.assert_allclose(found["q"], slope / (3 * x["q"] ** 2), rtol=1e-6)
    second = tg.hessian(lambda a: solve(a, "hybr")["q"])(a)
    np.testing.assert_allclose(second, differences(tg.grad(lambda a: solve(a, "hybr")["q"]), a), rtol=1e-5)
    with pytest.raises(ShapeError, match=r"must return 2 numbers, as x0 has, got \(1,\)"):
        opt.root(lambda x: np.sum(x), X0)


def test_refusals() -> None:
    with pytest.raises(UnsupportedFunctionError, match=r"linprog at .*lies in a corner"):
        opt.linprog([1.0])
    with pytest.raises(UnsupportedFunctionError, match="wants real numbers in x0"):
        opt.minimize(rosenbrock, np.ones(2) * 1j)
    with pytest.raises(TypeError, match=r"tg.scipy.optimize.minimize"):
        tg.jit(lambda a: scipy.optimize.minimize(lambda x: np.sum((x - a) ** 2), np.zeros(2)).x)(A)


# ---------------------------------------------------------------------------------------------------------------------
# Bounds, constraints, and where a search begins.


def test_derivatives_in_bounds() -> None:
    """What lies at a bound moves with it, and all else with what lies there."""
    f = lambda x, a: np.sum((x - a) ** 2) + x[0] * x[1]
    a = np.array([3.0, 1.0])

    def solve(high: Any, method: str | None = None) -> Any:
        return opt.minimize(f, np.zeros(2), args=(a,), bounds=[(None, high), (0, 10)], tol=1e-12, method=method).x

    for method in (None, "SLSQP", "TNC"):
        np.testing.assert_allclose(solve(1.5, method), [1.5, 0.25], atol=1e-7)  # x1 = a1 - x0 / 2
        np.testing.assert_allclose(tg.jacrev(lambda h, m=method: solve(h, m))(1.5), [1.0, -0.5], atol=1e-7)
    np.testing.assert_allclose(tg.jit(tg.jacfwd(solve))(1.5), [1.0, -0.5], atol=1e-7)
    np.testing.assert_allclose(tg.vmap(solve)(np.array([1.5, 0.5])), [[1.5, 0.25], [0.5, 0.75]], atol=1e-7)
    both = lambda ends: opt.minimize(f, np.zeros(2), args=(a,), bounds=scipy.optimize.Bounds(*ends), tol=1e-12).x
    found = tg.jacrev(both)((np.zeros(2), np.array([1.5, 10.0])))
    np.testing.assert_allclose(found[1], [[1.0, 0.0], [-0.5, 0.0]], atol=1e-7)
    np.testing.assert_allclose(found[0], 0.0, atol=1e-7)


def test_it_begins_at_what_is_traced() -> None:
    f = lambda x, a: np.sum((x["u"] - a) ** 2) + x["v"] ** 2
    solve = lambda x0: opt.minimize(f, {"u": x0, "v": 1.0}, args=(A,)).x["u"]
    starts = np.array([[0.0, 0.0], [2.0, 2.0]])
    np.testing.assert_allclose(tg.vmap(solve)(starts), [A, A], atol=1e-5)
    np.testing.assert_array_equal(tg.jacrev(solve)(starts[0]), np.zeros((2, 2)))  # the minimum is where it is
    np.testing.assert_allclose(tg.jit(lambda x: opt.root(lambda x, a: x**3 - a, x, args=(8.0,)).x)(1.0), 2.0)


def test_jax_arrays() -> None:
    jax = pytest.importorskip("jax")
    found = opt.minimize(lambda x: (x - 2) ** 2, jax.numpy.float32(0.0), bounds=[(None, jax.numpy.float32(1.0))])
    assert isinstance(found.x, jax.Array) and found.x.dtype == np.float32 and found.x == 1.0


def test_constraints_of_trees() -> None:
    f = lambda x: (x["a"] - 3) ** 2 + (x["b"] - 1) ** 2
    x0 = {"a": 1.0, "b": 1.0}
    for rule in (
        scipy.optimize.LinearConstraint(np.ones((1, 2)), 1, 1),
        scipy.optimize.NonlinearConstraint(lambda x: x["a"] + x["b"], 1, 1),
        {"type": "eq", "fun": lambda x: x["a"] + x["b"] - 1},
    ):
        way = "slsqp" if isinstance(rule, dict) else "trust-constr"
        found = opt.minimize(f, x0, method=way, constraints=rule, tol=1e-9).x
        np.testing.assert_allclose([found["a"], found["b"]], [1.5, -0.5], atol=1e-5)


def test_what_is_wrong_with_a_search() -> None:
    square = lambda x: np.sum(x * x)
    for wrong, error, words in (
        (lambda: opt.minimize(square, np.zeros(0)), ShapeError, "there are no numbers in x0"),
        (lambda: opt.minimize(square, X0, bounds=[1, 2]), TypeError, r"a pair \(low, high\) for each number in x0, got \[1, 2\]"),
        (lambda: opt.least_squares(square, X0, bounds=None), TypeError, r"bounds must be a pair \(low, high\).*got None"),
        (lambda: opt.minimize(square, X0, method=lambda *_: 0), TypeError, "method must be the name of one of SciPy's"),
        (lambda: opt.minimize(lambda x: x, X0), DifferentiationError, r"<lambda>' .*returned f64\[2\]"),
        (lambda: tg.grad(lambda t: opt.minimize(square, X0, tol=t).fun)(1.0), UnexpectedTracerError, "tol is how SciPy searches"),
        (lambda: tg.jit(lambda t: opt.root(np.sin, X0, options={"xtol": t}).x)(1.0), UnexpectedTracerError, "options is how"),
        (
            lambda: tg.jit(lambda t: opt.minimize(square, X0, constraints={"type": "eq", "fun": lambda x: x[0] - t}).x)(1.0),
            UnexpectedTracerError, "a constraint closes over a traced",
        ),
    ):  # fmt: skip
        with pytest.raises(error, match=words):
            wrong()


@pytest.mark.parametrize("method", ["Newton-CG", "trust-ncg", "trust-krylov", "trust-constr"])
@pytest.mark.filterwarnings("ignore")
def test_scipy_takes_our_products(method: str) -> None:
    products = lambda x, p: tg.hvp(convex, (x,), (p,))
    found = scipy.optimize.minimize(convex, np.zeros(2), method=method, jac=tg.grad(convex), hessp=products)
    assert np.max(np.abs(tg.grad(convex)(found.x))) < 1e-3
