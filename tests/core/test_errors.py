"""Every error that a user can meet, by its whole text: what was wrong, the values, the user's file and line, and what
to write instead. In one case of each kind the text is compared in full; further cases assert what tells them apart."""

from __future__ import annotations

import gc
import inspect
import math
import re
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import optax
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tracegrad.core import errors
from tracegrad.core.errors import (
    ConcretizationTypeError,
    DifferentiationError,
    DtypeError,
    ShapeError,
    Source,
    TracerArrayConversionError,
    UnexpectedTracerError,
    UnsupportedFunctionError,
    described,
)

X = np.array([1.0, 2.0, 3.0])
A = np.arange(6.0).reshape(2, 3)
KEPT: list[Any] = []

# Each case with the class and the text of its error. In the text, <NAME> stands for the file and line that ends in the
# comment `# NAME`, and `<NAME function>` for a function defined there, as errors write it.
CASES: list[Any] = []


def golden(error: type[Exception], text: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Register a function that must raise this error with this text."""

    def register(case: Callable[[], Any]) -> Callable[[], Any]:
        CASES.append(pytest.param(case, error, text, id=case.__name__))
        return case

    return register


def filled(case: Callable[[], Any], text: str) -> str:
    """The text with the places of the case filled in."""
    lines, first = inspect.getsourcelines(case)
    for i, line in enumerate(lines):
        marker = re.search(r"# ([A-Z]+)$", line)
        if marker:
            place = f"{__file__}:{first + i}"
            name = re.search(r"def (\w+)", line)
            function = f"'{case.__name__}.<locals>.{name[1] if name else '<lambda>'}' ({place})"
            text = text.replace(f"<{marker[1]}>", place).replace(f"<{marker[1]} function>", function)
    return text


# ---------------------------------------------------------------------------------------------------------------------
# What a derivative is taken of.


@golden(
    DifferentiationError,
    "grad needs a function that returns a scalar, or an array of one element, but <F function> returned f64[3] at <HERE> "
    "(in loss). Return np.sum(...) or np.mean(...) of it, or use tg.jacrev for all derivatives, or tg.vjp for a product "
    "with them",
)
def output_not_scalar() -> None:
    def loss(x: Any) -> Any:  # F
        return np.sin(x)  # HERE

    tg.grad(loss)(X)


@golden(
    DifferentiationError,
    "value_and_grad needs a function that returns a scalar, or an array of one element, but <F function> returned a "
    "tuple of 2 (with more results, return (value, aux) and pass has_aux=True)",
)
def output_tuple() -> None:
    def loss(x: Any) -> Any:  # F
        return np.sum(x), x

    tg.value_and_grad(loss)(X)


@golden(
    DifferentiationError,
    "grad needs a function that returns a scalar, or an array of one element, but <F function> returned None (is a "
    "return missing?)",
)
def output_none() -> None:
    def loss(x: Any) -> None:  # F
        np.sum(x)

    tg.grad(loss)(X)


@golden(
    DifferentiationError,
    "grad needs a real output, but <F function> returned c128~[] at <F> (in <lambda>); return its real part or abs, "
    "pass holomorphic=True if the function is complex-differentiable, or use tg.vjp",
)
def output_complex() -> None:
    f = lambda x: x * 1j  # F
    tg.grad(f)(1.0)


@golden(
    DifferentiationError,
    "grad needs an output of a floating dtype, but <F function> returned i64[] at <F> (in <lambda>). Derivatives of "
    "integers and booleans are zero everywhere: return the floating number they are made from",
)
def output_integer() -> None:
    f = lambda x: np.argmax(x)  # F
    tg.grad(f)(X)


@golden(
    DifferentiationError,
    "grad with has_aux=True needs a function that returns a pair (value, aux), but <F function> returned f64[]; "
    "write `return value, aux`, or leave has_aux=True out",
)
def has_aux_without_pair() -> None:
    f = lambda x: np.sum(x)  # F
    tg.grad(f, has_aux=True)(X)


@golden(
    DifferentiationError,
    "grad with holomorphic=True needs a complex output, but <F function> returned f64[] at <F> (in <lambda>); leave "
    "holomorphic=True out",
)
def holomorphic_with_real_output() -> None:
    f = lambda z: np.abs(z)  # F
    tg.grad(f, holomorphic=True)(1j)


@golden(
    DtypeError,
    "grad with holomorphic=True needs complex inputs, but z is f64~[] at <HERE> (in holomorphic_with_real_input); "
    "write x.astype(complex)",
)
def holomorphic_with_real_input() -> None:
    tg.grad(lambda z: z, holomorphic=True)(1.0)  # HERE


@golden(
    DtypeError,
    "grad needs inputs of a floating dtype, but params['layers'][0]['w'] is i64[3] at <HERE> (in integer_input). "
    "Derivatives with respect to int64 do not exist: pass floats (x.astype(float), 3.0 for 3), choose other "
    "arguments with argnums, or pass allow_int=True",
)
def integer_input() -> None:
    params = {"layers": [{"w": np.arange(3)}]}
    tg.grad(lambda params: np.sum(params["layers"][0]["w"] * 1.0))(params)  # HERE


@golden(
    DtypeError,
    "params['layers'][0]['name']: 'dense' of type str is not an array of numbers at <HERE> (in "
    "text_among_the_parameters); pass numbers, NumPy arrays or pytrees of them",
)
def text_among_the_parameters() -> None:
    params = {"layers": [{"w": X, "name": "dense"}]}
    tg.grad(lambda params: np.sum(params["layers"][0]["w"]))(params)  # HERE


@golden(
    DtypeError,
    "the output of <F function>: 'low' of type str is not an array of numbers at <HERE> (in text_returned); pass "
    "numbers, NumPy arrays or pytrees of them",
)
def text_returned() -> None:
    f = lambda x: {"loss": "low"}  # F
    tg.vjp(f, X)  # HERE


@golden(
    DtypeError,
    "hessian needs inputs of a floating dtype, but x is i64[3] at <HERE> (in hessian_of_integers). Derivatives with "
    "respect to int64 do not exist: pass floats (x.astype(float), 3.0 for 3), choose other arguments with argnums",
)
def hessian_of_integers() -> None:
    tg.hessian(lambda x: x @ x)(np.arange(3))  # HERE


@golden(
    DtypeError,
    "jacfwd needs real inputs, but z is c128~[] at <HERE> (in jacobian_of_complex); pass holomorphic=True if the "
    "function is complex-differentiable, or make it one of x.real and x.imag",
)
def jacobian_of_complex() -> None:
    tg.jacfwd(lambda z: z * 2.0)(1j)  # HERE


@golden(
    DtypeError,
    "jacrev at <HERE> (in jacobian_of_integer_output) needs outputs of a real floating dtype, but the output['best'] "
    "of <F function> is i64[]; return it with has_aux=True, or not at all",
)
def jacobian_of_integer_output() -> None:
    f = lambda x: {"best": np.argmax(x)}  # F
    tg.jacrev(f)(X)  # HERE


@golden(
    TypeError,
    "grad at <HERE> (in gradient_of_a_number) takes a function, got the float64 np.float64(6.0); write tg.grad(f)(x) "
    "with the function itself, not with f(x)",
)
def gradient_of_a_number() -> None:
    tg.grad(np.sum(X))  # HERE


@golden(
    DifferentiationError,
    "grad: argnums=2 asks for positional argument 2, but <F function> was called with 1 positional argument at "
    "<HERE> (in argnums_out_of_range); pass the argument by position (keyword arguments are not differentiated) or "
    "correct argnums",
)
def argnums_out_of_range() -> None:
    f = lambda x: x  # F
    tg.grad(f, argnums=2)(1.0)  # HERE


@golden(
    DifferentiationError,
    "grad at <HERE> (in argnums_twice): argnums=(0, -2) names an argument of <F function> twice; name each once",
)
def argnums_twice() -> None:
    f = lambda x, y: x  # F
    tg.grad(f, argnums=(0, -2))(1.0, 2.0)  # HERE


@golden(
    TypeError,
    "grad at <HERE> (in argnums_by_name): argnums must be an int or a sequence of ints, the positions of arguments, "
    "got 'x'",
)
def argnums_by_name() -> None:
    tg.grad(lambda x: x, argnums="x")  # HERE


# ---------------------------------------------------------------------------------------------------------------------
# Tangents and cotangents.


@golden(
    ShapeError,
    "jvp at <HERE> (in tangents_of_another_structure): the structure of the tangents is PyTreeDef((*,)), but that of "
    "the primals is PyTreeDef((*, *)); pass a pytree like the primals",
)
def tangents_of_another_structure() -> None:
    tg.jvp(lambda x, y: x * y, (X, X), (X,))  # HERE


@golden(
    ShapeError,
    "jvp at <HERE> (in tangent_of_another_shape): tangents[0]['w'] is f64[2], but primals[0]['w'] is f64[3]; their "
    "shapes must be equal",
)
def tangent_of_another_shape() -> None:
    tg.jvp(lambda p: p["w"], ({"w": X},), ({"w": X[:2]},))  # HERE


@golden(
    DtypeError,
    "jvp at <HERE> (in tangent_of_another_dtype): tangents[0]['w'] is f32[3], but primals[0]['w'] is f64[3]; write "
    ".astype('float64')",
)
def tangent_of_another_dtype() -> None:
    tg.jvp(lambda p: p["w"], ({"w": X},), ({"w": X.astype(np.float32)},))  # HERE


@golden(
    DtypeError,
    "jvp at <HERE> (in tangent_of_an_integer): primals[0] is i64[3], so tangents[0] must be a zero of dtype float0, "
    "got f64[3]; write np.zeros((3,), tg.float0)",
)
def tangent_of_an_integer() -> None:
    tg.jvp(lambda n: n * 1.0, (np.arange(3),), (X,))  # HERE


@golden(
    TypeError,
    "jvp at <HERE> (in tangents_not_in_a_tuple) takes primals and tangents as tuples, got ndarray and ndarray; write "
    "tg.jvp(f, (x,), (t,))",
)
def tangents_not_in_a_tuple() -> None:
    tg.jvp(np.sin, X, X)  # HERE


@golden(
    ShapeError,
    "vjp at <HERE> (in cotangent_of_another_structure): the structure of the cotangent is PyTreeDef(*), but that of "
    "the output is PyTreeDef((*, *)); pass a pytree like the output",
)
def cotangent_of_another_structure() -> None:
    _, pull = tg.vjp(lambda x: (x, x), X)
    pull(X)  # HERE


@golden(
    ShapeError,
    "vjp at <HERE> (in cotangent_of_another_shape): cotangent['y'] is f64~[], but output['y'] is f64[3]; their "
    "shapes must be equal",
)
def cotangent_of_another_shape() -> None:
    _, pull = tg.vjp(lambda x: {"y": x}, X)
    pull({"y": 1.0})  # HERE


@golden(
    DtypeError,
    "vjp at <HERE> (in cotangent_complex): cotangent is c128[3], but output is f64[3]; write .real",
)
def cotangent_complex() -> None:
    _, pull = tg.vjp(lambda x: x, X)
    pull(X * 1j)  # HERE


# ---------------------------------------------------------------------------------------------------------------------
# Linear functions.


@golden(
    DifferentiationError,
    "linear_transpose needs a linear function, but sin of f64[3] at <HERE> (in <lambda>) is not linear in what is "
    "transposed; use tg.vjp for functions that are not linear",
)
def transpose_of_a_nonlinear_function() -> None:
    tg.linear_transpose(lambda x: np.sin(x), X)  # HERE


@golden(
    DifferentiationError,
    "linear_transpose needs a linear function, but add of f64[3], f64~[] at <HERE> (in <lambda>) brings in a "
    "constant that is not zero, which makes the function affine; leave the constant out, or use tg.vjp",
)
def transpose_of_an_affine_function() -> None:
    tg.linear_transpose(lambda x: 2.0 * x + 1.0, X)  # HERE


@golden(
    DifferentiationError,
    "linear_transpose at <HERE> (in transpose_of_a_constant) needs a linear function, but its output 1, f64[3], is a "
    "constant that is not zero; leave it out, or use tg.vjp",
)
def transpose_of_a_constant() -> None:
    tg.linear_transpose(lambda x: (x, X), X)  # HERE


# ---------------------------------------------------------------------------------------------------------------------
# Values that tracers do not give.


@golden(
    ConcretizationTypeError,
    "if, and, or, not, while or bool() at <HERE> (in relu) needs the value of a traced bool[] made at <MADE> (in "
    "relu), which depends on x, but the vmap of <F function> knows only its type.\n"
    "    if positive:  # HERE\n"
    "  Instead, write `np.where(condition, a, b)`, which computes both, or `tg.lax.cond(condition, f, g, x)`, which runs "
    "one of the functions, or decide outside and pass plain values in: `lambda x: f(x, n)`.",
)
def branch_in_vmap() -> None:
    def relu(x: Any) -> Any:  # F
        positive = x > 0  # MADE
        if positive:  # HERE
            return x
        return 0.0

    tg.vmap(relu)(X)


@golden(
    ConcretizationTypeError,
    "if, and, or, not, while or bool() at <HERE> (in step) needs the value of a traced bool[] made at <HERE> (in "
    "step), which depends on params['limit'], params['w'], x, but the jit of <F function> knows only its type.\n"
    '    if np.sum(h) > params["limit"]:  # HERE\n'
    "  Instead, write `np.where(condition, a, b)`, which computes both, or `tg.lax.cond(condition, f, g, x)`, which runs "
    "one of the functions.\n"
    "  Or have jit make a program for each path, on NumPy: `tg.jit(f, backend='numpy', branches='guard')`.",
)
def branch_in_jit() -> None:
    def step(params: Any, x: Any, y: Any) -> Any:  # F
        h = np.tanh(x @ params["w"])
        if np.sum(h) > params["limit"]:  # HERE
            return h
        return y

    tg.jit(step, branches="error")({"w": np.eye(3), "limit": 1.0, "other": 2.0}, X, X)


@golden(
    ConcretizationTypeError,
    "an index or a size at <F> (in <lambda>) needs the value of a traced i64~[], the input n, but the jit of "
    "<F function> knows only its type.\n"
    "    f = lambda x, n: x * sum(range(n))  # F\n"
    "  Instead, have jit trace anew for each value: `tg.jit(f, static_argnames='n')`.\n"
    "  Or have jit make a program for each path, on NumPy: `tg.jit(f, backend='numpy', branches='guard')`.",
)
def range_in_jit() -> None:
    f = lambda x, n: x * sum(range(n))  # F
    tg.jit(f, branches="error")(X, 3)


@golden(
    ConcretizationTypeError,
    "int() at <F> (in <lambda>) needs the value of a traced i64[], the input n, but the vmap of <F function> knows "
    "only its type.\n"
    "    f = lambda n: int(n)  # F\n"
    "  Instead, pass plain values in: `lambda x: f(x, n)`.",
)
def int_in_vmap() -> None:
    f = lambda n: int(n)  # F
    tg.vmap(f)(np.arange(3))


@golden(
    ConcretizationTypeError,
    "an index or a size at <F> (in <lambda>) needs the value of a traced i64[], the input n, but the make_graph of "
    "<F function> knows only its type.\n"
    "    f = lambda n: sum(range(n))  # F\n"
    "  Instead, pass plain values in: `lambda x: f(x, n)`.",
)
def range_in_make_graph() -> None:
    f = lambda n: sum(range(n))  # F
    tg.make_graph(f)(tg.ShapeDtypeStruct((), "int64"))


@golden(
    ConcretizationTypeError,
    "an index or a size at <F> (in <lambda>) needs the value of a traced i64[], the input n, but the vmap of <F function> "
    "knows only its type.\n"
    "    f = lambda n: np.zeros(n)  # F\n"
    "  Instead, pass plain values in: `lambda x: f(x, n)`.",
)
def shape_in_vmap() -> None:
    f = lambda n: np.zeros(n)  # F
    tg.vmap(f)(np.arange(3))


@golden(
    ConcretizationTypeError,
    "indexing with a mask at <F> (in <lambda>), then np.argsort, at <F> (in <lambda>) needs the value of a traced bool[3] made at "
    "<F> (in <lambda>), which depends on x, but the vmap of <F function> knows only its type.\n"
    "    f = lambda x: np.argsort(x[x > 0])  # F\n"
    "  Instead, write `np.where(mask, x, 0)`, `np.sum(x, where=mask)` or `tnp.at(x)[mask].set(0)`, whose shapes do not depend on "
    "values, or say how many elements there are at most: `tnp.extract(mask, x, size=n)`, `x[tnp.flatnonzero(mask, size=n)]`.",
)
def mask_in_vmap() -> None:
    f = lambda x: np.argsort(x[x > 0])  # F
    tg.vmap(f)(A)


@golden(
    ConcretizationTypeError,
    "float() at <F> (in <lambda>) needs the value of a traced f64[], the input x, "
    "but the vmap of <F function> knows only its type.\n"
    "    f = lambda x: float(x)  # F\n"
    "  Leave it out: NumPy's functions take the array as it is.",
)
def float_in_vmap() -> None:
    f = lambda x: float(x)  # F
    tg.vmap(f)(X)


@golden(
    ConcretizationTypeError,
    "math.sin() at <F> (in <lambda>) would make a plain number of a traced f64~[], "
    "the input x, and the grad of <F function> would silently lose its derivative.\n"
    "  Write `np.sin(...)` in place of `math.sin(...)`.\n"
    "  To drop the derivative knowingly, write float(tg.stop_gradient(x)), or compute the number outside.",
)
def math_in_grad() -> None:
    f = lambda x: math.sin(x)  # F
    tg.grad(f)(1.0)


@golden(
    ValueError,
    "if, and, or, not, while or bool() at <F> (in <lambda>) needs one truth value, got a traced bool[3] made at <F> "
    "(in <lambda>); write np.all(x), np.any(x) or np.where(x, a, b)",
)
def branch_on_an_array() -> None:
    f = lambda x: np.sum(x) if x > 0 else 0.0  # F
    tg.grad(f)(X)


@golden(
    TypeError,
    "int() at <HERE> (in <lambda>) needs a scalar, got a traced f64[3], the input x; index it first, as in int(x[0])",
)
def int_of_an_array() -> None:
    tg.grad(lambda x: int(x) * 1.0)(X)  # HERE


@golden(
    TypeError,
    "an index or a size must be an integer scalar, got a traced f64~[], the input x, used at <HERE> (in <lambda>); "
    "write int(x)",
)
def index_that_is_no_integer() -> None:
    tg.grad(lambda x: [1.0, 2.0][x])(1.0)  # HERE


@golden(
    TypeError,
    "traced arrays cannot be hashed at <HERE> (in <lambda>), as a key of a dict or a cache or an element of a set: "
    "this is a traced f64~[], the input x. Use plain values as keys, and no functools.cache on a function that is "
    "traced.",
)
def tracer_as_a_key() -> None:
    tg.grad(lambda x: {x: 1.0}[x])(1.0)  # HERE


@golden(
    TypeError,
    "len() at <HERE> (in <lambda>) of a scalar, a traced f64~[], the input x; it has no axis to count",
)
def length_of_a_scalar() -> None:
    tg.grad(lambda x: len(x) * 1.0)(1.0)  # HERE


# ---------------------------------------------------------------------------------------------------------------------
# Writing into arrays.


@golden(
    TracerArrayConversionError,
    "NumPy wanted a plain number at <HERE> (in f) in place of a traced f64~[], the input x; that would cut it off "
    "from the grad of <F function>.\n"
    "  Assigning into an array: make it by `y = tnp.zeros(n)`, or by `tnp.copy(y)` of one that there is; or in place of "
    "`y[i] = v` write `y = tnp.at(y)[i].set(v)`, or `np.stack` the parts.\n"
    "  (with `import tracegrad.numpy as tnp`; or leave the code as it is, and trace `tg.numpyize(f)` in its place)",
)
def element_assigned_a_tracer() -> None:
    def f(x: Any) -> Any:  # F
        y = np.zeros(3)
        y[0] = x  # HERE
        return np.sum(y)

    tg.grad(f)(1.0)


@golden(
    TracerArrayConversionError,
    "NumPy wanted a plain array at <HERE> (in f) in place of a traced f64[3], the input x; that would cut it off "
    "from the grad of <F function>.\n"
    "  Assigning into an array: make it by `y = tnp.zeros(n)`, or by `tnp.copy(y)` of one that there is; or in place of "
    "`y[i] = v` write `y = tnp.at(y)[i].set(v)`, or `np.stack` the parts.\n"
    "  (with `import tracegrad.numpy as tnp`; or leave the code as it is, and trace `tg.numpyize(f)` in its place)",
)
def slice_assigned_a_tracer() -> None:
    def f(x: Any) -> Any:  # F
        y = np.zeros(3)
        y[:] = x  # HERE
        return np.sum(y)

    tg.grad(f)(X)


@golden(
    TracerArrayConversionError,
    "NumPy wanted a plain array at <HERE> (in f) in place of a traced i64[3] made at <HERE> (in f), but the jit of "
    "<F function> knows only its type.\n"
    "  Indexing a plain array: in place of `table[i]` write `tnp.take(table, i, axis=0)`, or "
    "`np.asarray(table, like=i)[i]`; of `img[y, x]`, `np.asarray(img, like=y)[y, x]`.\n"
    "  Assigning into an array: make it by `y = tnp.zeros(n)`, or by `tnp.copy(y)` of one that there is; or in place of "
    "`y[i] = v` write `y = tnp.at(y)[i].set(v)`, or `np.stack` the parts.\n"
    "  Making an array: in place of `np.array([...])` write `tnp.array([...])` or `np.stack([...])`.\n"
    "  A function that NumPy cannot hand to us: `tnp` has it, or it needs `tg.external`.\n"
    "  (with `import tracegrad.numpy as tnp`; or leave the code as it is, and trace `tg.numpyize(f)` in its place)",
)
def plain_array_indexed() -> None:
    def f(x: Any) -> Any:  # F
        return X[np.argsort(x)]  # HERE

    tg.jit(f)(X)


@golden(
    ValueError,
    "assignment destination is read-only: x[i] = v at <HERE> (in f) writes into a traced f64[2] made at <HERE> (in f), a "
    "view that is read-only; write into the array itself, or into a copy, x.copy()",
)
def read_only_view() -> None:
    def f(x: Any) -> Any:
        np.diagonal(x)[0] = 1.0  # HERE
        return np.sum(x)

    tg.grad(f)(A)


@golden(
    UnexpectedTracerError,
    "x[i] = v at <HERE> (in g) writes into a traced f64[3] made at <MADE> (in f), which comes from outside of the jit of "
    "'written_from_outside.<locals>.f.<locals>.g' (<G>): that is traced now, and need not run once, so that what it writes "
    "there would be lost.\n"
    "  Write into a copy, `u = u.copy()`, and return it, or pass the array as an argument and return what it has become.",
)
def written_from_outside() -> None:
    def f(x: Any) -> Any:
        u = 2 * x  # MADE

        def g(c: Any) -> Any:  # G
            u[0] = c  # HERE
            return c

        return tg.jit(g)(x[0])

    tg.grad(f)(X)


@golden(
    DtypeError,
    "Cannot cast ufunc 'add' output from dtype('float64') to dtype('int64') with casting rule 'same_kind' at <HERE> (in f); "
    "write x = x.astype('float64') before, or cast what is written",
)
def in_place_with_another_kind() -> None:
    def f(x: Any) -> Any:
        n = np.floor(x).astype(np.int64)
        n += x  # HERE
        return np.sum(x)

    tg.grad(f)(X)


@golden(
    ShapeError,
    "non-broadcastable output operand with shape (3,) doesn't match the broadcast shape (2, 3) of np.add at <HERE> (in f)",
)
def in_place_with_more_axes() -> None:
    def f(x: Any) -> Any:
        x += A  # HERE
        return np.sum(x)

    tg.grad(f)(X)


@golden(
    TracerArrayConversionError,
    "np.add with out= (or an in-place operator such as `y += x`) would write at <HERE> (in f) a traced f64[3], the "
    "input x, into an existing array.\n"
    "  In place of `y += x` write `y = y + x`; of `np.add(..., out=y)` write `y = np.add(...)`; or make y by "
    "`tnp.zeros(n)` or `tnp.copy(y)`, into which traced values can be written\n"
    "  (with `import tracegrad.numpy as tnp`; or leave the code as it is, and trace `tg.numpyize(f)` in its place).",
)
def in_place_operator() -> None:
    def f(x: Any) -> Any:
        y = np.zeros(3)
        y += x  # HERE
        return np.sum(y)

    tg.grad(f)(X)


@golden(
    UnsupportedFunctionError,
    "numpy.cumsum with out= is not traced at <HERE> (in <lambda>).\n"
    "  In place of `np.cumsum(..., out=y)` write `y = np.cumsum(...)`.",
)
def out_of_a_function() -> None:
    tg.grad(lambda x: np.cumsum(x, out=np.zeros(3))[0])(X)  # HERE


@golden(
    UnsupportedFunctionError,
    "numpy.add.at is not traced at <HERE> (in f), called with a traced f64~[], the input x.\n"
    "  In place of `np.add.at(y, i, v)` write `y = tnp.at(y)[i].add(v)` (import tracegrad.numpy as tnp). Into a y that the "
    "function makes by `tnp.zeros(n)`, or by np.zeros in `tg.numpyize(f)`, it can be written as it stands.",
)
def add_at() -> None:
    def f(x: Any) -> Any:
        y = np.zeros(3)
        np.add.at(y, [0, 0], x)  # HERE
        return np.sum(y)

    tg.grad(f)(1.0)


@golden(
    AttributeError,
    "a traced f64[3], the input x, has no attribute 'summe', asked for at <HERE> (in <lambda>)",
)
def unknown_attribute() -> None:
    tg.grad(lambda x: x.summe())(X)  # HERE


# ---------------------------------------------------------------------------------------------------------------------
# Functions.


def some_function(x: Any) -> Any:
    """One of NumPy's that nobody has implemented."""


some_function.__module__ = "numpy"


@golden(
    UnsupportedFunctionError,
    "numpy.some_function is not traced at <HERE> (in <lambda>), called with a traced f64[3], the input x.\n"
    "  `tracegrad.numpy` lists what is. If the function matters to you, make one of it that is not traced and has a derivative, "
    "`tg.external(f, out=..., vjp=...)`, or call it on values that are not being traced.",
)
def unsupported_function() -> None:
    tg.grad(lambda x: x.__array_function__(some_function, (np.ndarray,), (x,), {}))(X)  # HERE


@golden(
    UnsupportedFunctionError,
    "numpy.sin with where= is not traced at <HERE> (in <lambda>).\n"
    "  In place of `np.sin(x, where=c)` write `np.where(c, np.sin(x), 0)`.",
)
def where_of_a_ufunc() -> None:
    tg.grad(lambda x: np.sum(np.sin(x, where=[True, False, True])))(X)  # HERE


@golden(
    TracerArrayConversionError,
    "NumPy wanted a plain array at <F> (in <lambda>) in place of a traced f64~[], the input x; that would cut it off "
    "from the grad of <F function>.\n"
    "  Making an array: in place of `np.array([...])` write `tnp.array([...])` or `np.stack([...])`.\n"
    "  (with `import tracegrad.numpy as tnp`; or leave the code as it is, and trace `tg.numpyize(f)` in its place)",
)
def array_of_tracers() -> None:
    f = lambda x: np.sum(np.array([x, 2.0 * x]))  # F
    tg.grad(f)(1.0)


# ---------------------------------------------------------------------------------------------------------------------
# Shapes.


@golden(
    ShapeError,
    "add: shapes f64[3], f64[2] do not broadcast together; trailing dimensions must be equal or 1 (write x[:, None] "
    "or np.expand_dims to line them up)\n"
    "  in add of f64[3], f64[2] at <HERE> (in <lambda>)",
)
def add_of_other_shapes() -> None:
    tg.grad(lambda x: np.sum(x + np.ones(2)))(X)  # HERE


@golden(
    ShapeError,
    "add: shapes f64[3], f64[2] do not broadcast together; trailing dimensions must be equal or 1 (write x[:, None] "
    "or np.expand_dims to line them up)\n"
    "  in add of f64[3], f64[2] at <HERE> (in <lambda>)",
)
def add_of_other_shapes_in_vmap() -> None:
    tg.vmap(lambda x: x + np.ones(2))(A)  # HERE


@golden(
    ShapeError,
    "matmul: the last axis of f64[2,3] and the last but one axis of f64[2,3] must be of the same size; write x.T, "
    "y.T or np.swapaxes(x, -1, -2) to line them up\n"
    "  in matmul of f64[2,3], f64[2,3] at <HERE> (in <lambda>)",
)
def matmul_of_other_shapes() -> None:
    tg.grad(lambda a: np.sum(a @ a))(A)  # HERE


@golden(
    ShapeError,
    "concatenate: f64[2,3], f64[2,2] differ in more than axis 0; the other sizes must be equal\n"
    "  in concatenate of f64[2,3], f64[2,2] at <HERE> (in <lambda>)",
)
def concatenate_of_other_shapes() -> None:
    tg.grad(lambda a: np.sum(np.concatenate([a, np.ones((2, 2))])))(A)  # HERE


@golden(
    ShapeError,
    "reshape: f64[2,3] has 6 elements, the shape (4, 2) has 8; write -1 for one size to have it found\n"
    "  in reshape of f64[2,3] at <HERE> (in <lambda>)",
)
def reshape_to_another_size() -> None:
    tg.grad(lambda a: np.sum(a.reshape(4, 2)))(A)  # HERE


@golden(
    ShapeError,
    "reshape: f64[2,3] has 6 elements, which do not fit the shape (4, -1)\n"
    "  in reshape of f64[2,3] at <HERE> (in <lambda>)",
)
def reshape_with_unknown_size() -> None:
    tg.grad(lambda a: np.sum(a.reshape(4, -1)))(A)  # HERE


@golden(
    np.linalg.LinAlgError,
    "solve: f64[3] does not fit f64[2,2], whose right-hand sides are vectors of 2, or the columns of matrices (..., "
    "2, k); a batch of vectors is written b[..., None]\n"
    "  in solve of f64[2,2], f64[3] at <HERE> (in <lambda>)",
)
def solve_of_other_shapes() -> None:
    tg.grad(lambda a: np.sum(np.linalg.solve(a @ a.T, X)))(A)  # HERE


@golden(
    np.linalg.LinAlgError,
    "Singular matrix\n  in inv of f64[2,2] at <HERE> (in <lambda>)",
)
def singular_matrix() -> None:
    tg.grad(lambda a: np.sum(np.linalg.inv(a)))(np.zeros((2, 2)))  # HERE


@golden(
    ShapeError,
    "einsum 'ij,jk->ik' of f64[2,3], f64[2,3]: the sizes of axis 'j' differ\n"
    "  in einsum of f64[2,3], f64[2,3] at <HERE> (in <lambda>)",
)
def einsum_of_other_sizes() -> None:
    tg.grad(lambda a: np.sum(np.einsum("ij,jk->ik", a, a)))(A)  # HERE


@golden(
    ShapeError,
    "broadcast_to: f64[2,3] does not broadcast to the shape (2, 4); trailing sizes must be equal or 1 (write x[:, "
    "None] or np.expand_dims to line them up)\n"
    "  in broadcast_to of f64[2,3] at <HERE> (in <lambda>)",
)
def broadcast_to_another_shape() -> None:
    tg.grad(lambda a: np.sum(np.broadcast_to(a, (2, 4))))(A)  # HERE


@golden(
    IndexError,
    "index 3 is out of bounds for axis 0 with size 3: f64[3] at <HERE> (in <lambda>)",
)
def index_out_of_range() -> None:
    tg.grad(lambda x: x[3])(X)  # HERE


@golden(
    np.exceptions.AxisError,
    "cumsum of f64[2,3] at <HERE> (in <lambda>): axis 2 is out of bounds for array of dimension 2",
)
def axis_out_of_range() -> None:
    tg.grad(lambda a: np.sum(np.cumsum(a, axis=2)))(A)  # HERE


@golden(
    DtypeError,
    "None of type NoneType is not an array of numbers at <HERE> (in <lambda>); pass numbers, NumPy arrays or pytrees "
    "of them",
)
def operand_that_is_no_array() -> None:
    tg.grad(lambda x: x + None)(1.0)  # HERE


@golden(
    DtypeError,
    "bitwise_and takes no inputs of types f64[3], i64~[]\n  in bitwise_and of f64[3], i64~[] at <HERE> (in <lambda>)",
)
def operands_of_other_kinds() -> None:
    tg.grad(lambda x: x & 1)(X)  # HERE


# ---------------------------------------------------------------------------------------------------------------------
# vmap.


@golden(
    ShapeError,
    "vmap at <HERE> (in mapped_sizes): the mapped axes differ in size: axis 0 of argument params['layers'][0]['w'] "
    "has 2 (f64[2,3]), axis 0 of argument y has 3 (f64[3]); choose the axes with in_axes, None where every example "
    "gets the whole",
)
def mapped_sizes() -> None:
    tg.vmap(lambda params, y: y)({"layers": [{"w": A}]}, X)  # HERE


@golden(
    ShapeError,
    "vmap at <HERE> (in mapped_axis_out_of_range): in_axes asks for axis 1 of argument params['w'], which is f64[3]; "
    "give an axis that it has, or None to hand the whole to every example",
)
def mapped_axis_out_of_range() -> None:
    tg.vmap(lambda params: params["w"], in_axes=1)({"w": X})  # HERE


@golden(
    ShapeError,
    "vmap at <HERE> (in in_axes_of_another_length): in_axes has 1 entry, but <F function> got 2 positional "
    "arguments; give one for each (None: not mapped)",
)
def in_axes_of_another_length() -> None:
    f = lambda x, y: x * y  # F
    tg.vmap(f, in_axes=(0,))(X, X)  # HERE


@golden(
    ShapeError,
    "vmap at <HERE> (in in_axes_of_another_structure): in_axes does not fit the value: the structures differ at "
    "in_axes[0]\n"
    "  in_axes has dict of 1: {'v': *}\n"
    "  the value has dict of 1: {'w': *}\n"
    "Missing keys: ['v']; unexpected keys: ['w']. in_axes must have the containers of the value down to its leaves, "
    "each of which stands for all below.",
)
def in_axes_of_another_structure() -> None:
    tg.vmap(lambda p: p["w"], in_axes=({"v": 0},))({"w": X})  # HERE


@golden(
    TypeError,
    "vmap at <HERE> (in in_axes_of_another_type): in_axes holds ints and None, got 'rows' for argument p['w']",
)
def in_axes_of_another_type() -> None:
    tg.vmap(lambda p: p["w"], in_axes=({"w": "rows"},))({"w": X})  # HERE


@golden(
    ShapeError,
    "vmap at <HERE> (in nothing_mapped): no argument of <F function> is mapped (in_axes=None); map at least one, or "
    "say with axis_size= how many examples there are",
)
def nothing_mapped() -> None:
    f = lambda x: x  # F
    tg.vmap(f, in_axes=None)(X)  # HERE


@golden(
    ShapeError,
    "vmap at <HERE> (in out_axes_none): out_axes is None for the output['y'] of <F function>, which depends on a "
    "mapped argument; give the axis that the examples go to",
)
def out_axes_none() -> None:
    f = lambda x: {"y": x}  # F
    tg.vmap(f, out_axes=None)(X)  # HERE


@golden(
    ShapeError,
    "vmap at <HERE> (in out_axes_out_of_range): out_axes asks for axis 3 of the output of <F function>, which has 1 "
    "axes with that of the examples",
)
def out_axes_out_of_range() -> None:
    f = lambda x: x  # F
    tg.vmap(f, out_axes=3)(X)  # HERE


# ---------------------------------------------------------------------------------------------------------------------
# Trees.


@golden(
    ValueError,
    "tree_map: the structures differ at tree\n"
    "  tree has dict of 1: {'w': *}\n"
    "  rest[0] has dict of 2: {'b': *, 'w': *}\n"
    "Missing keys: []; unexpected keys: ['b']. rest[0] must have the containers of tree; where tree has a leaf, it "
    "may have any subtree.",
)
def trees_of_other_structures() -> None:
    tg.tree.map(np.add, {"w": X}, {"w": X, "b": X})


# ---------------------------------------------------------------------------------------------------------------------
# Rules of the user's own.


@golden(
    DifferentiationError,
    "<F function> has no rules yet, and is differentiated at <HERE> (in no_rule); give one with .defjvp(rule)",
)
def no_rule() -> None:
    f = tg.custom_jvp(lambda x: x)  # F
    tg.grad(f)(1.0)  # HERE


@golden(
    DifferentiationError,
    "the jvp rule of <F function> must return a pair (out, tangent_out), got f64[]",
)
def jvp_rule_without_pair() -> None:
    f = tg.custom_jvp(lambda x: x)  # F
    f.defjvp(lambda primals, tangents: tangents[0])
    tg.grad(f)(1.0)


@golden(
    ShapeError,
    "the jvp rule of <F function> returned an output of structure PyTreeDef(*), but the function itself returned "
    "PyTreeDef({'y': *}); return (f(*primals), tangent_out)",
)
def jvp_rule_of_another_structure() -> None:
    f = tg.custom_jvp(lambda x: {"y": x})  # F
    f.defjvp(lambda primals, tangents: (primals[0], tangents[0]))
    tg.jvp(f, (1.0,), (1.0,))


@golden(
    ShapeError,
    "the jvp rule of <F function>, called at <HERE> (in <lambda>), returned f64[2] for output['y'], which is f64[3]; "
    "their shapes must be equal",
)
def jvp_rule_of_another_shape() -> None:
    f = tg.custom_jvp(lambda p: {"y": p["x"]})  # F
    f.defjvp(lambda primals, tangents: ({"y": primals[0]["x"]}, {"y": tangents[0]["x"][:2]}))
    tg.grad(lambda p: np.sum(f(p)["y"]))({"x": X})  # HERE


@golden(
    DtypeError,
    "the jvp rule of <F function>, called at <HERE> (in <lambda>), returned c128[3] for output, which is f64[3]; "
    "return the real part of it (.real)",
)
def jvp_rule_of_another_dtype() -> None:
    f = tg.custom_jvp(lambda x: x)  # F
    f.defjvp(lambda primals, tangents: (primals[0], 1j * tangents[0]))
    tg.grad(lambda x: np.sum(f(x)))(X)  # HERE


@golden(
    DifferentiationError,
    "the transpose of the derivative rule of '<lambda>' needs a linear function, but sin of f64[3] at <HERE> (in "
    "<lambda>) is not linear in what is transposed; a rule must be linear in its tangents or cotangents",
)
def jvp_rule_not_linear() -> None:
    f = tg.custom_jvp(lambda x: x)
    f.defjvp(lambda primals, tangents: (primals[0], np.sin(tangents[0])))
    tg.grad(lambda x: np.sum(f(x)))(X)  # HERE


@golden(
    DifferentiationError,
    "defjvps of <F function> was given 1 rule for 2 arguments; give one for each (None: zero)",
)
def jvp_rules_of_another_number() -> None:
    f = tg.custom_jvp(lambda x, y: x * y)  # F
    f.defjvps(None)
    tg.grad(f)(1.0, 2.0)


@golden(
    DifferentiationError,
    "fwd of <F function> must return a pair (out, residuals), got f64[3]",
)
def fwd_without_pair() -> None:
    f = tg.custom_vjp(lambda x: x)  # F
    f.defvjp(lambda x: x, lambda _, ct: (ct,))
    tg.grad(lambda x: np.sum(f(x)))(X)


@golden(
    ShapeError,
    "the fwd rule of '<lambda>', called at <HERE> (in <lambda>), returned an output of type f64[2], but the function "
    "itself returned f64[3]; their shapes must be equal",
)
def fwd_of_another_shape() -> None:
    f = tg.custom_vjp(lambda x: x)
    f.defvjp(lambda x: (x[:2], None), lambda _, ct: (ct,))
    tg.grad(lambda x: np.sum(f(x)))(X)  # HERE


@golden(
    DifferentiationError,
    "bwd of <F function> must return a tuple with one cotangent for each of its 1 differentiable argument, got f64[3]",
)
def bwd_without_tuple() -> None:
    f = tg.custom_vjp(lambda x: x)  # F
    f.defvjp(lambda x: (x, None), lambda _, ct: ct)
    tg.grad(lambda x: np.sum(f(x)))(X)


@golden(
    ShapeError,
    "bwd of <F function> returned a cotangent of structure PyTreeDef(*) for argument 0, whose structure is "
    "PyTreeDef({'w': *}); they must be equal, but for None where a part is zero",
)
def bwd_of_another_structure() -> None:
    f = tg.custom_vjp(lambda p: p["w"])  # F
    f.defvjp(lambda p: (p["w"], None), lambda _, ct: (ct,))
    tg.grad(lambda p: np.sum(f(p)))({"w": X})


@golden(
    ShapeError,
    "the vjp rule of <F function>, called at <HERE> (in <lambda>), returned f64[2] for argument[0]['w'], which is "
    "f64[3]; their shapes must be equal",
)
def bwd_of_another_shape() -> None:
    f = tg.custom_vjp(lambda p: p["w"])  # F
    f.defvjp(lambda p: (p["w"], None), lambda _, ct: ({"w": ct[:2]},))
    tg.grad(lambda p: np.sum(f(p)))({"w": X})  # HERE


@golden(
    TypeError,
    "<F function> has custom derivatives, and so takes no keyword-only arguments, got n at <HERE> (in <lambda>); let "
    "them be positional too (no * in the signature)",
)
def keyword_only_argument_of_a_rule() -> None:
    f = tg.custom_jvp(lambda x, *, n=2: x * n)  # F
    tg.grad(lambda x: f(x, n=3))(1.0)  # HERE


@golden(
    UnexpectedTracerError,
    "<F function>: argument 0 is in nondiff_argnums but is traced at <HERE> (in <lambda>); take it out of "
    "nondiff_argnums and return zeros for its derivative",
)
def traced_nondiff_argument() -> None:
    f = tg.custom_jvp(lambda n, x: n * x, nondiff_argnums=(0,))  # F
    tg.grad(lambda x: f(x, x))(1.0)  # HERE


@golden(
    DifferentiationError,
    "the function '<lambda>' with custom derivatives, called at <HERE> (in outer), closes over a traced f64~[] made at <F> "
    "(in outer), and is differentiated with respect to that, of which its rules know nothing; pass it as an argument, or, "
    "for a derivative of zero, close over tg.stop_gradient of it",
)
def custom_function_over_a_tracer() -> None:
    def outer(x: Any) -> Any:
        y = 2.0 * x  # F
        f = tg.custom_jvp(lambda z: y * z)
        f.defjvp(lambda primals, tangents: (primals[0], tangents[0]))
        return f(x)  # HERE

    tg.grad(outer)(1.0)


# ---------------------------------------------------------------------------------------------------------------------
# Leaks.


@golden(
    UnexpectedTracerError,
    "sin: a tracer leaked: the value made at <MADE> (in f) (f64[3]) escaped from the grad of <F function>, which has "
    "ended, and was used at <HERE> (in leaked_value).\n"
    "  Return the value from the function (with has_aux=True if it is not the result) rather than storing it in an "
    "outer variable, attribute or cache.",
)
def leaked_value() -> None:
    def f(x: Any) -> Any:  # F
        KEPT[:] = [2.0 * x]  # MADE
        return np.sum(x)

    tg.grad(f)(X)
    np.sin(KEPT[0])  # HERE


@golden(
    UnexpectedTracerError,
    "add: a tracer leaked: the input params['w'] (f64[3]) escaped from the grad of <F function>, which has ended, "
    "and was used at <HERE> (in leaked_input).\n"
    "  Return the value from the function (with has_aux=True if it is not the result) rather than storing it in an "
    "outer variable, attribute or cache.",
)
def leaked_input() -> None:
    def f(params: Any) -> Any:  # F
        KEPT[:] = [params["w"]]
        return np.sum(params["w"])

    tg.grad(f)({"w": X})
    KEPT[0] + 1.0  # HERE


@pytest.mark.parametrize("case, error, text", CASES)
def test_text(case: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        case()
    assert str(caught.value) == filled(case, text)
    assert type(caught.value) is error


# ---------------------------------------------------------------------------------------------------------------------
# More of each kind: what tells the case apart, and the user's line, which is the line of the case in this file.


def raised(case: Callable[[], Any], error: type[Exception]) -> str:
    """The text of the error that a one-line function raises, which must name that line."""
    with pytest.raises(error) as caught:
        case()
    assert type(caught.value) is error
    assert f"{__file__}:{case.__code__.co_firstlineno}" in str(caught.value)
    return str(caught.value)


NAMED = {"layers": [{"w": X, "name": "dense"}]}


@pytest.mark.parametrize(
    "case",
    [
        lambda: tg.value_and_grad(lambda p: 1.0)(NAMED),
        lambda: tg.vjp(lambda p: 1.0, NAMED),
        lambda: tg.jvp(lambda p: 1.0, (NAMED,), (NAMED,)),
        lambda: tg.linearize(lambda p: 1.0, NAMED),
        lambda: tg.linear_transpose(lambda p: 1.0, NAMED),
        lambda: tg.jacfwd(lambda p: 1.0)(NAMED),
        lambda: tg.jacrev(lambda p: 1.0)(NAMED),
        lambda: tg.hessian(lambda p: 1.0)(NAMED),
        lambda: tg.jacfwd(lambda x, p: 1.0, argnums=1)(X, NAMED),
        lambda: tg.vmap(lambda p: 1.0)(NAMED),
        lambda: tg.vmap(lambda x, *, p: 1.0)(X, p=NAMED),
        lambda: tg.make_graph(lambda p: 1.0)(NAMED),
        lambda: tg.eval_shape(lambda p: 1.0, NAMED),
        lambda: tg.eval_shape(lambda x, p: 1.0, X, p=NAMED),
    ],
)
def test_leaves_that_are_no_arrays_are_named(case: Callable[[], Any]) -> None:
    assert "p['layers'][0]['name']: 'dense' of type str is not an array" in raised(case, DtypeError)


def test_other_objects_that_are_no_arrays() -> None:
    class Model:
        def __repr__(self) -> str:
            return "Model" * 100

    text = raised(lambda: tg.grad(lambda p: 1.0)({"model": Model()}), DtypeError)
    assert "p['model']: ModelModel" in text and "... of type Model is not" in text and len(text) < 500
    assert "p[1]: [" not in raised(lambda: tg.grad(lambda p: 1.0)((1.0, {1, 2})), DtypeError)
    assert "p['w']: an array of dtype object" in raised(
        lambda: tg.grad(lambda p: 1.0)({"w": np.array([None])}), DtypeError
    )
    text = raised(lambda: tg.jvp(np.sin, (1.0,), ("a",)), DtypeError)
    assert text.startswith("tangents[0]: 'a' of type str")
    text = raised(lambda: tg.vjp(lambda x: {"y": x}, X)[1]({"y": "a"}), DtypeError)
    assert text.startswith("cotangent['y']: 'a' of type str")


@pytest.mark.parametrize(
    "case, name",
    [
        (lambda: tg.value_and_grad(3.0), "value_and_grad"),
        (lambda: tg.vjp(3.0, X), "vjp"),
        (lambda: tg.jvp(3.0, (X,), (X,)), "jvp"),
        (lambda: tg.hvp(3.0, (X,), (X,)), "hvp"),
        (lambda: tg.linearize(3.0, X), "linearize"),
        (lambda: tg.linear_transpose(3.0, X), "linear_transpose"),
        (lambda: tg.jacfwd(3.0), "jacfwd"),
        (lambda: tg.jacrev(3.0), "jacrev"),
        (lambda: tg.hessian(3.0), "hessian"),
        (lambda: tg.vmap(3.0), "vmap"),
        (lambda: tg.make_graph(3.0), "make_graph"),
        (lambda: tg.eval_shape(3.0, X), "eval_shape"),
        (lambda: tg.custom_jvp(3.0), "custom_jvp"),
        (lambda: tg.custom_vjp(3.0), "custom_vjp"),
    ],
)
def test_transforms_of_what_is_no_function(case: Callable[[], Any], name: str) -> None:
    text = raised(case, TypeError)
    assert (
        text.startswith(f"{name} at {__file__}") and f"takes a function, got the float 3.0; write tg.{name}(f" in text
    )


@pytest.mark.parametrize(
    "case, name",
    [
        (lambda: tg.jacfwd(lambda x: x, argnums=2)(X), "jacfwd"),
        (lambda: tg.jacrev(lambda x: x, argnums=(0, 2))(X), "jacrev"),
        (lambda: tg.hessian(lambda x: x, argnums=-3)(X), "hessian"),
        (lambda: tg.grad(lambda x: x)(x=X), "grad"),
    ],
)
def test_argnums_out_of_range(case: Callable[[], Any], name: str) -> None:
    text = raised(case, DifferentiationError)
    assert text.startswith(f"{name}: argnums=") and "correct argnums" in text


@pytest.mark.parametrize("argnums", [None, 1.5, "x", ("x",), {"x": 0}])
@pytest.mark.parametrize("transform", [tg.grad, tg.value_and_grad])
def test_argnums_of_another_type(transform: Any, argnums: Any) -> None:
    with pytest.raises(
        TypeError, match=r"argnums must be an int or a sequence of ints.*test_errors|test_errors.*argnums"
    ):
        transform(lambda x: x, argnums=argnums)


def test_argnums_may_be_numpy_integers() -> None:
    assert tg.grad(lambda x, y: x * y, argnums=(np.int64(1),))(2.0, 3.0) == (2.0,)


@pytest.mark.parametrize(
    "case, error, part",
    [
        (lambda: tg.grad(lambda n: n * 1.0)(3), DtypeError, "n is i64~[]"),
        (lambda: tg.grad(lambda x: np.sum(x))(np.array([True])), DtypeError, "x is bool[1]"),
        (lambda: tg.jacrev(lambda n: n * 1.0)(3), DtypeError, "or pass allow_int=True"),
        (lambda: tg.jacfwd(lambda x, p: p["w"], 1)(1, {"w": 3}), DtypeError, "p['w'] is i64~[]"),
        (lambda: tg.hessian(lambda z: z)(1j), DtypeError, "hessian needs real inputs, but z is c128~[]"),
        (lambda: tg.jacrev(lambda z: z, holomorphic=True)(1.0), DtypeError, "needs complex inputs, but z is f64~[]"),
        (lambda: tg.jacrev(lambda x: 1j * x)(1.0), DtypeError, "pass holomorphic=True"),
        (lambda: tg.jacfwd(np.abs, holomorphic=True)(1j), DtypeError, "leave holomorphic=True out"),
        (lambda: tg.grad(lambda x: {"loss": x})(1.0), DifferentiationError, "returned a dict"),
        (lambda: tg.grad(lambda x: np.ones(3))(1.0), DifferentiationError, "returned f64[3]. Return np.sum"),
        (lambda: tg.grad(lambda x: x > 0)(1.0), DifferentiationError, "returned bool~[]"),
        (lambda: tg.grad(lambda x: (x, x, x), has_aux=True)(1.0), DifferentiationError, "returned a tuple of 3"),
        (lambda: tg.vjp(lambda x: x, 1.0, has_aux=True), DifferentiationError, "vjp with has_aux=True"),
        (lambda: tg.jacfwd(lambda x: x, has_aux=True)(X), DifferentiationError, "jacfwd with has_aux=True"),
        (lambda: tg.hessian(lambda x: x, has_aux=True)(X), DifferentiationError, "hessian with has_aux=True"),
        (lambda: tg.linearize(lambda x: x, X)[1](X, X), ShapeError, "linearize at"),
        (lambda: tg.linearize(lambda x: x, X)[1](A), ShapeError, "tangents[0] is f64[2,3], but primals[0] is f64[3]"),
        (lambda: tg.linear_transpose(lambda x: x, X)(A), ShapeError, "cotangent is f64[2,3], but output is f64[3]"),
        (lambda: tg.linear_transpose(lambda x, y: x * y, X, X), DifferentiationError, "multiply of f64[3], f64[3]"),
        (lambda: tg.hvp(lambda x: x @ x, (X,), (A,)), ShapeError, "hvp at"),
        (lambda: tg.hvp(lambda x: x @ x, X, X), TypeError, "write tg.hvp(f, (x,), (t,))"),
    ],
)
def test_derivatives(case: Callable[[], Any], error: type[Exception], part: str) -> None:
    assert part in raised(case, error)


# What goes wrong inside a function, on a matrix of type f64[2,3], with and without values.
WRONG: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
    (lambda a: np.maximum(a, np.ones(2)), ShapeError, "maximum: shapes f64[2,3], f64[2] do not broadcast"),
    (lambda a: np.where(a > 0, np.ones(2), a), ShapeError, "where: shapes bool[2,3], f64[2], f64[2,3]"),
    (lambda a: np.dot(a, a), ShapeError, "write x.T"),
    (lambda a: a @ 2.0, ShapeError, "write x * y to multiply by a scalar"),
    (lambda a: 2.0 @ a, ShapeError, "write x * y to multiply by a scalar"),
    (lambda a: np.ones((2, 2)) @ a.T, ShapeError, "matmul: the last axis of f64[2,2]"),
    (lambda a: np.tensordot(a, a, 1), ShapeError, "tensordot: axes [1] of f64[2,3] and axes [0]"),
    (lambda a: np.concatenate([a, a], axis=2), np.exceptions.AxisError, "concatenate of f64[2,3], f64[2,3] at"),
    (lambda a: np.concatenate([a[0, 0], a[0, 1]]), ShapeError, "write np.stack"),
    (lambda a: np.stack([a, np.ones((2, 2))]), ShapeError, "got f64[2,3], f64[2,2]"),
    (lambda a: tnp.stack([a, a], axis=4), np.exceptions.AxisError, "stack of f64[2,3], f64[2,3] at"),
    (lambda a: np.split(a, 4), ShapeError, "np.array_split"),
    (lambda a: a.reshape(3, 2.0), TypeError, "'float' object cannot be interpreted as an integer"),
    (
        lambda a: np.linalg.solve(a, X),
        np.linalg.LinAlgError,
        "square matrix or a batch of them, (..., m, m), got f64[2,3]",
    ),
    (lambda a: np.linalg.inv(a), np.linalg.LinAlgError, "inv takes a square matrix"),
    (lambda a: np.linalg.inv(0.0 * a @ a.T), np.linalg.LinAlgError, "Singular matrix"),
    (lambda a: np.einsum("ij->k", a), ShapeError, "names an axis that no operand has, in 'ij->k'"),
    (lambda a: np.einsum("ijk->k", a), ShapeError, "the term 'ijk' does not fit 2 dimensions"),
    (lambda a: np.broadcast_to(a, (2, 4)), ShapeError, "f64[2,3] does not broadcast to the shape (2, 4)"),
    (lambda a: a[2], IndexError, "index 2 is out of bounds for axis 0 with size 2: f64[2,3]"),
    (lambda a: a[0, 0, 0], IndexError, "array is 2-dimensional, but 3 were indexed: f64[2,3]"),
    (lambda a: a[np.array([0, 5])], IndexError, "index 5 is out of bounds for axis 0 with size 2"),
    (lambda a: a[1.0], IndexError, "got 1.0 for f64[2,3]"),
    (lambda a: a["w"], IndexError, "got 'w' for f64[2,3]"),
    (lambda a: a[np.array([True, False, True])], IndexError, "a mask of shape (3,) for f64[2,3]"),
    (lambda a: a[a], IndexError, "write i.astype(int)"),
    (lambda a: np.take(a, [7]), IndexError, "index 7 is out of bounds for axis 0 with size 6"),
    (lambda a: np.sum(a, axis=2), np.exceptions.AxisError, "sum of f64[2,3] at"),
    (lambda a: a.sum(2), np.exceptions.AxisError, "sum of f64[2,3] at"),
    (lambda a: tnp.sum(a, axis=2), np.exceptions.AxisError, "sum of f64[2,3] at"),
    (lambda a: np.sort(a, axis=3), np.exceptions.AxisError, "axis 3 is out of bounds for array of dimension 2"),
    (lambda a: np.moveaxis(a, 0, 5), np.exceptions.AxisError, "moveaxis of f64[2,3] at"),
    (lambda a: a.transpose(0, 0), ShapeError, "axes (0, 0) do not name each axis of f64[2,3] once"),
    (lambda a: np.squeeze(a, 0), ShapeError, "axis 0 of f64[2,3] has size 2"),
    (lambda a: np.pad(a, ((1, 1),) * 3), ValueError, "in pad of f64[2,3]"),
    (lambda a: np.max(a[:, :0]), ShapeError, "give initial="),
    (lambda a: a.at[0].set(np.ones(2)), ShapeError, "cannot write f64[2] into a region of shape (3,) of f64[2,3]"),
    (lambda a: a.at[9].add(1.0), IndexError, "index 9 is out of bounds"),
    (lambda a: a + "s", DtypeError, "'s' of type str is not an array of numbers"),
    (lambda a: a * {}, DtypeError, "{} of type dict is not an array of numbers"),
    (lambda a: a << 1, DtypeError, "left_shift takes no inputs of types f64[2,3], i64~[]"),
    (lambda a: np.sum(a, out=np.zeros(())), UnsupportedFunctionError, "write `y = np.sum(...)`"),
    (lambda a: np.hypot.at(np.ones(3), [0, 0], a[0, 0]), UnsupportedFunctionError, "set(np.hypot(y[i], v))"),
    (lambda a: np.frompyfunc(max, 2, 1)(a, a), UnsupportedFunctionError, "write np.vectorize(f)"),
    (lambda a: np.save("a.npy", a), UnsupportedFunctionError, "return the array, and save it outside"),
    (lambda a: np.maximum.at(np.zeros(3), 0, a), UnsupportedFunctionError, "write `y = tnp.at(y)[i].max(v)`"),
    (lambda a: np.busday_count(a, a), UnsupportedFunctionError, "called with a traced f64[2,3]"),
    (lambda a: np.asarray(a), TracerArrayConversionError, "in place of a traced f64[2,3]"),
    (lambda a: np.ones(6)[a], TracerArrayConversionError, "in place of a traced f64[2,3]"),
    (lambda a: np.copyto(np.zeros((2, 3)), a), TracerArrayConversionError, "write y = np.where(c, x, y)"),
    (lambda a: np.put(np.zeros(3), [0], a), TracerArrayConversionError, "np.put at"),
    (lambda a: np.fill_diagonal(np.zeros((3, 3)), a[0]), TracerArrayConversionError, "tnp.at(y)[i].set(v)"),
    (lambda a: a.resize(3), AttributeError, "write x = np.concatenate([x, zeros])"),
    (lambda a: a.tobytes(), AttributeError, "return the array, and write it outside"),
    (lambda a: a.item(), ValueError, "item() at"),
    (lambda a: iter(a[0, 0]), TypeError, "iteration at"),
    (lambda a: range(a[0, 0] > 0.0, 3.0 * a[0, 0]), TypeError, "an index or a size must be an integer scalar"),
]


@pytest.mark.parametrize("wrong, error, part", WRONG)
@pytest.mark.parametrize("transform", ["grad", "jvp", "vmap", "vmap of grad", "eval_shape", "make_graph"])
def test_inside_a_function(wrong: Callable[[Any], Any], error: type[Exception], part: str, transform: str) -> None:
    if part == "Singular matrix" and transform in ("vmap", "vmap of grad", "eval_shape"):
        return  # types do not tell, and nothing uses the value

    def loss(a: Any) -> Any:
        wrong(a)
        return np.sum(a)

    batch = np.stack([A, A])
    run: dict[str, Callable[[], Any]] = {
        "grad": lambda: tg.grad(loss)(A),
        "jvp": lambda: tg.jvp(loss, (A,), (A,)),
        "vmap": lambda: tg.vmap(loss)(batch),
        "vmap of grad": lambda: tg.vmap(tg.grad(loss))(batch),
        "eval_shape": lambda: tg.eval_shape(loss, A),
        "make_graph": lambda: tg.make_graph(loss)(A),
    }
    with pytest.raises((error, ConcretizationTypeError)) as caught:
        run[transform]()
    text = str(caught.value)
    assert f"{__file__}:{wrong.__code__.co_firstlineno}" in text
    assert "tracegrad/" not in text and "numpy/_core" not in text
    if type(caught.value) is not error:
        assert "needs the value of" in text or "needs plain integers" in text
    else:
        assert part in text
    np.testing.assert_array_equal(tg.grad(lambda a: np.sum(a * a))(A), 2 * A)


def test_numpy_attributes_of_errors_are_kept() -> None:
    with pytest.raises(np.exceptions.AxisError) as caught:
        tg.grad(lambda a: np.sum(np.sum(a, axis=5)))(A)
    assert (caught.value.axis, caught.value.ndim) == (5, 2)


@pytest.mark.parametrize(
    "case, part",
    [
        (lambda: tg.vmap(lambda x: (x > 0) and x)(X), "if, and, or, not, while or bool() at"),
        (lambda: tg.vmap(lambda x: not x)(X), "np.where(condition, a, b)"),
        (lambda: tg.make_graph(lambda x: x if x > 0 else -x)(tg.ShapeDtypeStruct((), "f8")), "the make_graph of"),
        (lambda: tg.eval_shape(lambda x: max(x, 0.0), 1.0), "the eval_shape of"),
        (lambda: tg.linear_transpose(lambda x: x if x[0] > 0 else -x, X), "the linear_transpose of"),
        (lambda: tg.vmap(lambda i: [1.0, 2.0][i])(np.arange(2)), "an index or a size at"),
        (lambda: tg.vmap(lambda i: np.reshape(X, (i,)))(np.arange(2)), "pass the number in from outside"),
        (lambda: tg.vmap(lambda i: np.ones((i, 2)))(np.arange(2)), "pass the number in from outside"),
        (lambda: tg.vmap(lambda x: np.unique(x))(A), "np.unique at"),
        (lambda: tg.vmap(lambda x: np.nonzero(x))(A), "np.nonzero at"),
        (lambda: tg.vmap(lambda x: complex(x))(X), "complex() (or a function of the cmath module) at"),
        (lambda: tg.grad(lambda x: complex(x))(1.0), "would silently lose its derivative"),
        (lambda: tg.grad(lambda x: float(x))(1.0), "would silently lose its derivative"),
        (lambda: tg.grad(lambda x: math.exp(2.0 * x))(1.0), "a traced f64~[] made at"),
    ],
)
def test_values(case: Callable[[], Any], part: str) -> None:
    assert part in raised(case, ConcretizationTypeError)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128])
@pytest.mark.parametrize("transform", [tg.grad, tg.value_and_grad, tg.hessian, tg.make_graph, tg.vmap])
def test_assignment_of_a_scalar_is_told_from_float(transform: Any, dtype: Any) -> None:
    def f(x: Any) -> Any:
        y = np.zeros(3, dtype)
        y[1] = np.sum(x)
        return np.sum(y)

    with pytest.raises(TracerArrayConversionError, match=r"tnp\.at\(y\)\[i\]\.set\(v\)") as caught:
        transform(f)(X)
    assert f"{__file__}:{f.__code__.co_firstlineno + 2} (in f)" in str(caught.value)


def test_what_the_texts_advise_works() -> None:
    y = np.zeros(3)
    np.testing.assert_array_equal(tg.grad(lambda x: tnp.at(y)[1].set(x) @ X)(1.0), 2.0)
    np.testing.assert_array_equal(tg.grad(lambda x: tnp.at(y)[np.array([0, 0])].add(x) @ X)(1.0), 2.0)
    np.testing.assert_array_equal(tg.grad(lambda x: tnp.at(y)[2].max(x) @ X)(1.0), 3.0)
    np.testing.assert_array_equal(tg.grad(lambda x: np.sum(tnp.array([x, 2.0 * x])))(1.0), 3.0)
    np.testing.assert_array_equal(tg.grad(lambda x: np.sum(np.stack([x, 2.0 * x])))(1.0), 3.0)
    np.testing.assert_array_equal(tg.grad(lambda x: np.sum(np.where(x > 1, np.sin(x), 0)))(X), [0.0, *np.cos(X[1:])])
    np.testing.assert_array_equal(tg.grad(lambda x: np.sum(x.at[0].set(1.0)))(X), [0.0, 1.0, 1.0])
    np.testing.assert_array_equal(tg.grad(lambda x: np.sum(np.full_like(x, 2.0)))(X), np.zeros(3))
    np.testing.assert_array_equal(tg.jvp(lambda n: 1.0 * n, (2,), (np.zeros((), tg.float0),))[1], 0.0)


@pytest.mark.parametrize(
    "case, error, part",
    [
        (lambda: tg.vmap(lambda x, y: y)(X, 1.0), ShapeError, "axis 0 of argument y, which is f64~[]"),
        (lambda: tg.vmap(lambda x, *, y: y)(X, y=A), ShapeError, "axis 0 of argument y has 2 (f64[2,3])"),
        (lambda: tg.vmap(lambda *xs: xs, (0, -1))(X, A.T), ShapeError, "axis -1 of argument xs[1] has 2 (f64[3,2])"),
        (lambda: tg.vmap(lambda x: x, 1.0)(X), TypeError, "in_axes holds ints and None, got 1.0 for argument x"),
        (lambda: tg.vmap(lambda: 1.0)(), ShapeError, "there are no arrays among them"),
        (lambda: tg.vmap(lambda x: {"y": x}, 0, {"z": 0})(X), ShapeError, "the structures differ at out_axes"),
        (lambda: tg.vmap(lambda x: {"y": x}, 0, {"y": "a"})(X), TypeError, "got 'a' for the output['y'] of"),
        (lambda: tg.vmap(lambda x: (x, "a"))(X), DtypeError, "the output[1] of"),
    ],
)
def test_vmap(case: Callable[[], Any], error: type[Exception], part: str) -> None:
    assert part in raised(case, error)


@pytest.mark.parametrize(
    "rule, part",
    [
        (lambda primals, tangents: (primals[0], "a"), "returned for output: 'a' of type str"),
        (lambda primals, tangents: (primals[0][:2], tangents[0][:2]), "output of type f64[2], but the function itself"),
        (lambda primals, tangents: (primals[0], np.sum(tangents[0])), "returned f64[] for output, which is f64[3]"),
        (lambda primals, tangents: (primals[0], (tangents[0],)), "with a tangent of structure PyTreeDef((*,))"),
    ],
)
def test_jvp_rules(rule: Any, part: str) -> None:
    f = tg.custom_jvp(lambda x: x)
    f.defjvp(rule)
    for derive in (lambda: tg.jvp(f, (X,), (X,)), lambda: tg.grad(lambda x: np.sum(f(x)))(X)):
        with pytest.raises((ShapeError, DtypeError), match=rf"{re.escape(__file__)}:\d+") as caught:
            derive()
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "fwd, bwd, part",
    [
        (lambda x: ((x, x), None), lambda _, ct: (ct[0],), "return (f(*args), residuals)"),
        (lambda x: (x, None), lambda _, ct: (ct, ct), "got a tuple of 2"),
        (lambda x: (x, None), lambda _, ct: None, "got None"),
        (lambda x: (x, None), lambda _, ct: ("a",), "returned for argument[0]: 'a' of type str"),
        (lambda x: (x, None), lambda _, ct: (ct[:2],), "returned f64[2] for argument[0], which is f64[3]"),
        (lambda x: (x, None), lambda _, ct: (1j * ct,), "returned c128[3] for argument[0], which is f64[3]"),
    ],
)
def test_vjp_rules(fwd: Any, bwd: Any, part: str) -> None:
    f = tg.custom_vjp(lambda x: x)
    f.defvjp(fwd, bwd)
    for derive in (lambda: tg.jvp(f, (X,), (X,)), lambda: tg.grad(lambda x: np.sum(f(x)))(X)):
        with pytest.raises(
            (ShapeError, DtypeError, DifferentiationError), match=rf"{re.escape(__file__)}:\d+"
        ) as caught:
            derive()
        assert part in str(caught.value)


def test_functions_with_keyword_only_defaults_may_have_rules() -> None:
    f = tg.custom_vjp(lambda x, *, n=2: n * x)
    f.defvjp(lambda x: (2 * x, None), lambda _, ct: (7 * ct,))
    assert tg.grad(f)(1.0) == 7.0


# ---------------------------------------------------------------------------------------------------------------------
# Leaks.


class Model:
    """Somewhere to hide a tracer."""

    def __init__(self) -> None:
        self.last: Any = None

    def __call__(self, x: Any) -> Any:
        self.last = x * 2.0
        return np.sum(x)


@pytest.mark.parametrize("transform", ["grad", "value_and_grad", "vmap", "make_graph", "jacfwd", "hessian"])
@pytest.mark.parametrize(
    "use",
    [
        lambda x: np.sin(x),
        lambda x: x + 1.0,
        lambda x: 1.0 + x,
        lambda x: np.concatenate([np.ravel(x), X]),
        lambda x: np.asarray(x),
        lambda x: x.sum(),
        lambda x: bool(x),
        lambda x: float(x),
        lambda x: int(x),
        lambda x: x.__setitem__(0, 1.0),
        lambda x: tg.grad(lambda y: np.sum(y * x))(X),
        lambda x: tg.grad(np.sum)(x),
        lambda x: tg.grad(lambda y: x)(1.0),
        lambda x: tg.vmap(lambda y: y * x)(X),
        lambda x: tg.make_graph(lambda y: x)(X),
        lambda x: tg.vjp(lambda y: (y, x), X),
    ],
)
def test_leaks(transform: str, use: Callable[[Any], Any]) -> None:
    model = Model()
    getattr(tg, transform)(lambda x: model(x))(X)
    with pytest.raises(UnexpectedTracerError) as caught:
        use(model.last)
    text = str(caught.value)
    assert f"the value made at {__file__}:{Model.__call__.__code__.co_firstlineno + 1} (in __call__)" in text
    assert f"escaped from the {transform} of 'test_leaks.<locals>.<lambda>'" in text
    assert f"was used at {__file__}:" in text
    assert "Return the value from the function" in text


def test_a_leaked_tracer_may_be_printed() -> None:
    model = Model()
    tg.grad(model)(X)
    assert "grad (ended)" in repr(model.last)


def test_nested_transforms_name_the_one_that_is_meant() -> None:
    def inner(x: Any) -> Any:
        KEPT.append(3.0 * x)
        return x * x

    def outer(x: Any) -> Any:
        return tg.grad(inner)(x) * KEPT.pop()

    with pytest.raises(UnexpectedTracerError, match=rf"escaped from the grad of '{inner.__qualname__}'"):
        tg.grad(outer)(1.0)
    with pytest.raises(UnexpectedTracerError, match=rf"escaped from the grad of '{inner.__qualname__}'"):
        tg.vmap(outer)(X)

    branch = lambda x: x if x > 0 else -x
    with pytest.raises(ConcretizationTypeError, match=r"but the vmap of 'grad\(test_nested.*<lambda>\)' \(.*py:\d+\)"):
        tg.vmap(tg.grad(branch))(X)
    with pytest.raises(ConcretizationTypeError, match="but the vmap of 'test_nested"):
        tg.grad(lambda x: np.sum(tg.vmap(branch)(x)))(X)
    with pytest.raises(DifferentiationError, match=r"^grad needs a function that returns a scalar"):
        tg.grad(lambda x: tg.grad(lambda y: y * X)(x))(1.0)


def test_transformed_functions_are_described_by_the_users_own() -> None:
    def f(x: Any) -> Any:
        return x

    place = f"({__file__}:{f.__code__.co_firstlineno})"
    for transform in ("grad", "value_and_grad", "jacfwd", "jacrev", "hessian", "vmap"):
        assert described(getattr(tg, transform)(f)) == f"'{transform}({f.__qualname__})' {place}"
    assert described(tg.custom_vjp(f)) == f"'{f.__qualname__}' {place}"
    assert described(tg.grad(tg.vmap(f))) == f"'grad(vmap({f.__qualname__}))' {place}"
    f.__wrapped__ = f  # type: ignore[attr-defined]
    assert described(f) == f"'{f.__qualname__}' {place}"
    # Some say of anything that they have it.
    endless = type("Endless", (), {"__getattr__": lambda self, name: type(self)(), "__call__": lambda self, x: x})()
    assert described(endless) == "'Endless'"
    for function in (f, endless):
        with pytest.raises(DifferentiationError, match="scalar"):
            tg.grad(function)(np.ones(2))
    assert described(np.sin) == "'sin'" and described(Model()) == "'Model'"


# ---------------------------------------------------------------------------------------------------------------------
# What an error leaves behind: nothing.

TRANSFORMS: dict[str, Callable[[Any], Any]] = {
    "grad": lambda f: tg.grad(f)(X),
    "value_and_grad": lambda f: tg.value_and_grad(f)({"w": X}["w"]),
    "vjp": lambda f: tg.vjp(f, X),
    "jvp": lambda f: tg.jvp(f, (X,), (X,)),
    "linearize": lambda f: tg.linearize(f, X),
    "jacfwd": lambda f: tg.jacfwd(f)(X),
    "hessian": lambda f: tg.hessian(f)(X),
    "linear_transpose": lambda f: tg.linear_transpose(f, X),
    "vmap": lambda f: tg.vmap(f)(np.stack([X, X])),
    "make_graph": lambda f: tg.make_graph(f)(X),
    "grad of vmap": lambda f: tg.grad(lambda x: np.sum(tg.vmap(f)(x)))(np.stack([X, X])),
    "vmap of grad": lambda f: tg.vmap(tg.grad(f))(np.stack([X, X])),
}


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize(
    "error", [RuntimeError("mine"), ValueError("mine"), TypeError("mine"), KeyError("mine"), KeyboardInterrupt()]
)
def test_an_error_of_the_users_own_passes_untouched(name: str, error: BaseException) -> None:
    constant = np.ones(3)
    cause = OSError("below")

    def f(x: Any) -> Any:
        constant * x
        raise error from cause

    with pytest.raises(type(error)) as caught:
        TRANSFORMS[name](f)
    assert caught.value is error and error.__cause__ is cause
    assert str(error) == str(type(error)(*error.args)) and not hasattr(error, "__notes__")
    assert constant.flags.writeable
    constant[0] = 5.0
    np.testing.assert_array_equal(tg.grad(lambda x: np.sum(constant * x))(X), constant)
    error.__traceback__ = None


@pytest.mark.parametrize("name", TRANSFORMS)
def test_an_error_of_ours_gives_constants_back(name: str) -> None:
    constant, view = np.ones(3), np.ones((2, 3))[0]

    def f(x: Any) -> Any:
        return constant * x + view * x + np.ones(7)

    with pytest.raises(ShapeError, match=r"add: shapes f64\[3\], f64\[7\]"):
        TRANSFORMS[name](f)
    gc.collect()
    assert constant.flags.writeable and view.flags.writeable
    same = lambda x: np.sum(constant * x * view)
    np.testing.assert_array_equal(tg.grad(same)(X), constant * view)


def test_an_error_may_be_caught_inside_the_function() -> None:
    def f(x: Any) -> Any:
        try:
            return np.sum(x + np.ones(7))
        except ValueError:
            return np.sum(x * x)

    np.testing.assert_array_equal(tg.grad(f)(X), 2 * X)
    np.testing.assert_array_equal(tg.vmap(f)(np.stack([X, X])), [14.0, 14.0])


def test_users_errors_below_numpy_functions_are_not_reworded() -> None:
    class Axis:
        def __index__(self) -> int:
            raise ValueError("mine")

    with pytest.raises(ValueError, match=r"^mine$"):
        tg.grad(lambda x: np.sum(x, axis=Axis()))(X)


def test_users_errors_that_read_like_numpys_are_not_taken_for_them() -> None:
    def f(x: Any) -> Any:
        raise ValueError("setting an array element with a sequence.") from OSError("mine")

    with pytest.raises(ValueError, match="setting an array element") as caught:
        tg.grad(f)(X)
    assert isinstance(caught.value.__cause__, OSError)


def test_file_names_are_not_kept_for_good() -> None:
    """A notebook has a new one for each cell, and each compiled function has one."""

    def cell(number: int) -> Any:
        namespace = {"np": np}
        exec(compile("def f(x):\n    return np.sum(np.sin(x), 7)", f"<cell {number}>", "exec"), namespace)
        return namespace["f"]

    tg.grad(lambda x: np.sum(np.sin(x)))(X)
    for i in range(errors.KNOWN_FILES):
        with pytest.raises(np.exceptions.AxisError, match=re.escape(f"<cell {i}>:2 (in f)")):
            tg.grad(cell(i))(X)
        tg.jit(lambda x, i=i: np.sum(np.sin(x)) * i)(X)
    assert 0 < len(errors._internal) <= errors.KNOWN_FILES


def test_the_line_is_the_user_s_in_what_optax_calls() -> None:
    def loss(w: Any) -> Any:
        return np.sum(optax.huber_loss(w, np.ones(4)))  # no line of optax's

    line = f"{__file__}:{inspect.getsourcelines(loss)[1] + 1} (in loss)"
    for function in (tg.grad(loss), tg.jit(loss), tg.vmap(loss)):
        with pytest.raises(ShapeError, match=re.escape(line)):
            function(np.ones((2, 3)) if function.__name__.startswith("vmap") else X)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        return np.sum(updates, 7), state

    rule = optax.chain(optax.identity(), optax.GradientTransformation(lambda params: (), update))
    line = f"{__file__}:{inspect.getsourcelines(update)[1] + 1} (in update)"
    with pytest.raises(np.exceptions.AxisError, match=re.escape(line)):
        tg.jit(lambda w: rule.update(w, rule.init(w))[0])(X)


def test_a_cell_of_ipython_is_named_as_it_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Compiler:
        def format_code_name(self, name: str) -> tuple[str, str] | None:
            return ("Cell", "In[2]") if name == "/tmp/ipykernel_7/123.py" else None

    shell = SimpleNamespace(compile=Compiler())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    source = "def f(x):\n    y = 2 * x\n    return y @ np.ones(5)"
    namespace: dict[str, Any] = {"np": np}
    exec(compile(source, "/tmp/ipykernel_7/123.py", "exec"), namespace)
    with pytest.raises(ShapeError, match=r"at Cell In\[2\], line 3 \(in f\)"):
        tg.grad(namespace["f"])(np.ones(3))
    with pytest.raises(DifferentiationError, match=r"'f' \(Cell In\[2\], line 1\)"):
        tg.grad(namespace["f"])(np.ones((5, 5)))
    assert Source("/tmp/ipykernel_7/123.py", 3, "f").short == "In[2]:3"
    assert Source("/tmp/model.py", 3, "f").short == "model.py:3"
