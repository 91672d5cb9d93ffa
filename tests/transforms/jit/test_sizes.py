"""One trace for all sizes: the same results as without, and refusals by line."""

from __future__ import annotations

import functools
import math
import operator
import pickle
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tests.compare import near, same_bits
from tracegrad.core.errors import ConcretizationTypeError, ShapeError
from tracegrad.transforms.jit.alike import Numbers
from tracegrad.transforms.jit.sizes import LARGEST_SAMPLE, count_for, samples_for

RNG = np.random.default_rng(0)
W = RNG.normal(size=(3, 4))


def halves(x: Any) -> Any:
    return np.sum(x[1:] * x[:-1]) / x.shape[0]


def vector(n: int) -> Any:
    return RNG.normal(size=n)


def matrix(n: int) -> Any:
    return RNG.normal(size=(n, 3))


V, M = {"x": ("N",)}, {"x": ("N", None)}
FUNCTIONS: dict[str, tuple[Callable[[Any], Any], Any, Callable[[int], Any]]] = {
    "slices": (halves, V, vector),
    "gradient": (lambda x: tg.grad(lambda y: np.sum(np.tanh(y @ W)))(x), M, matrix),
    "squares of sizes": (lambda x: (x[:, None] * x).reshape(-1), V, vector),
    "arange": (lambda x: x * np.arange(x.shape[0]) + tnp.arange(1, x.shape[0] + 1), V, vector),
    "ones": (lambda x: np.concatenate([x, np.ones(2 * x.shape[0])]), V, vector),
    "loop": (lambda x: tg.lax.scan(lambda c, u: (c + u, c * u), 0.0, x)[1], V, vector),
    "statistics": (lambda x: (x - np.mean(x, 0)) / np.std(x, 0), M, matrix),
    "softmax": (lambda x: tg.nn.softmax(x), M, matrix),
    "sorted": (lambda x: np.sort(x)[::-1] + np.roll(x, 1), V, vector),
    "vmap": (lambda x: tg.vmap(np.linalg.norm)(x), M, matrix),
    "jit": (lambda x: tg.jit(lambda y: y * y.shape[0])(x), V, vector),
    "convolve": (lambda x: np.convolve(x, np.ones(3)), V, vector),
    "a comparison that always holds": (lambda x: x if x.shape[0] == np.sin(x).shape[0] else -x, V, vector),
    "gradient of a mean": (lambda x: tg.grad(lambda y: np.mean(y**2))(x), M, matrix),
    "a size as a float": (lambda x: x * float(x.shape[0]) + np.float64(3 * x.shape[0] - 1), V, vector),
    "an identity": (lambda x: x @ x.T + np.eye(x.shape[0]), M, matrix),
    "triangles": (lambda x: np.triu(x @ x.T, 1) - np.tril(x @ x.T), M, matrix),
    "gradient of a sort": (lambda x: tg.grad(lambda y: np.sum(np.sort(y) * np.arange(x.shape[0])))(x), V, vector),
    "causal attention": (lambda x: tg.nn.dot_product_attention(*[x[:, None]] * 3, is_causal=True), M, matrix),
    "outputs": (lambda x: {"n": x.shape[0] * 2, "x": (x, None)}, V, vector),
    "half": (lambda x: x[: x.shape[0] // 2], V, vector),
    "rows of five": (lambda x: x[: 5 * (x.shape[0] // 5)].reshape(-1, 5), V, vector),
    "length": (lambda x: np.sum(x) / len(x), V, vector),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_trace_for_every_size(name: str) -> None:
    f, dims, make = FUNCTIONS[name]
    sized, plain = tg.jit(f, dims=dims), tg.jit(f)
    for n in (9, 30, 128, 500):
        x = make(n)
        same_bits(sized(x), plain(x))
    assert sized.trace_log == ["first call"]


def test_the_function_is_called_for_no_size_of_its_own() -> None:
    calls = 0

    def f(x: Any) -> Any:
        nonlocal calls
        calls += 1
        return np.sum(x * 2)

    g = tg.jit(f, dims=V)
    for n in (10, 20, 33, 100, 1000, 7, LARGEST_SAMPLE + 1, 2 * LARGEST_SAMPLE):
        assert g(np.ones(n)) == 2 * n
    assert calls == 1
    assert g(np.ones(1)) == 2  # small ones are traced by themselves
    assert calls == 2
    made = tg.jit(lambda x: f(x) + np.sum(np.ones(x.shape[0])), dims=V)
    made(np.ones(10))
    first = calls
    for n in (20, 33, 20, 10):
        assert made(np.ones(n)) == 3 * n  # what is made of a plain number is traced at each size, once
    assert calls == first + 2


def test_a_function_in_which_a_size_becomes_a_plain_number_is_traced_at_few_sizes() -> None:
    calls: tuple[int, ...] = ()

    def f(x: Any) -> Any:
        nonlocal calls
        calls = (*calls, len(x))
        return x[1:] * len(x)

    g = tg.jit(f, dims=V)
    g(np.ones(10))
    assert calls == (10, 7, 12, 1009, 10)
    calls = ()
    g(np.ones(LARGEST_SAMPLE + 1))  # beyond them, once more to see that larger sizes are no other matter
    assert calls == (2 * LARGEST_SAMPLE + 2, LARGEST_SAMPLE + 1)
    assert g(np.ones(2 * LARGEST_SAMPLE))[0] == 2 * LARGEST_SAMPLE
    assert len(calls) == 3
    calls = ()
    tg.jit(lambda x: f(np.reshape(x[:, None] * x, (-1,))), dims=V)(np.ones(10))
    assert calls == tuple([n * n for n in (10, 7, 12, 1009, 29, 64, 10)])  # squares take two more


def _linear_by_chance(f: Callable[[int], int], names: Sequence[str]) -> bool:
    """Whether a number that is no sum of multiples of sizes looks like one at those traced at first."""
    sampled = samples_for(names, count_for(names, 1))
    return any([Numbers(names, sampled, 1).fitted([f(s[n]) for s in sampled]) is not None for n in names])


@pytest.mark.parametrize("names", [("N",), ("N", "M")])
def test_what_is_not_linear_in_sizes_does_not_look_so_at_those_traced(names: Sequence[str]) -> None:
    found: list[Callable[[int], int]] = [math.isqrt, int.bit_length, lambda n: 1 << (n - 1).bit_length(), int.bit_count]
    for k in range(2, 40):
        found += [
            lambda n, k=k: n // k,
            lambda n, k=k: n % k,
            lambda n, k=k: -(-n // k) * k,
            lambda n, k=k: (3 * n + 1) // k,
        ]
    found += [lambda n, k=k: n & 1 << k for k in range(10)]
    found += [lambda n, c=c: f(n, c) for c in range(8, 970, 37) for f in (min, max, operator.ge)]
    assert not any(
        [_linear_by_chance(f, names) for f in found if any(f(n + 1) - f(n) != f(8) - f(7) for n in range(7, 970))]
    )


# What a program may do with a size. Each makes of an array of one axis one of one axis.
USES: list[Callable[[Any], Any]] = [
    lambda x: x[x.shape[0] - 3 :],
    lambda x: x[: x.shape[0] // 2],
    lambda x: x * np.arange(x.shape[0]),
    lambda x: x + tnp.arange(x.shape[0]) / x.shape[0],
    lambda x: np.reshape(x, (1, -1))[0] * x.size,
    lambda x: x if x.shape[0] == 7 else x + 1.0,
    lambda x: x if x.shape[0] > 20 else -x,
    lambda x: x * min(x.shape[0], 30),
    lambda x: x * np.minimum(x.shape[0], 40),
    lambda x: np.concatenate([x, np.zeros(x.shape[0] + 1)]),
    lambda x: np.pad(x, (0, -x.shape[0] % 8)),
    lambda x: x * sum([1 for _ in range(x.shape[0])]),
    lambda x: sum([x[i] for i in range(0, x.shape[0], 3)]) + x,
    lambda x: (x[:, None] * x).mean(1),
    lambda x: np.repeat(x, 2)[: x.shape[0]],
    lambda x: x[::-1] - x.mean(),
    lambda x: tg.lax.scan(lambda c, u: (c + u / x.shape[0], c), 0.0, x)[1],
    lambda x: x[np.arange(x.shape[0]) % 5],
    lambda x: x * float(x.shape[0]) ** 0.5,
    lambda x: np.linspace(0.0, 1.0, x.shape[0]) + x,
]


@pytest.mark.parametrize("seed", range(40))
def test_any_program_is_right_or_refused(seed: int) -> None:
    rng = np.random.default_rng(seed)
    uses = [USES[i] for i in rng.integers(len(USES), size=rng.integers(1, 4))]

    def program(x: Any) -> Any:
        for use in uses:
            x = use(x)
        return x

    sized = tg.jit(program, dims=V)
    for n in (9, 7, 30, 41):
        x = np.linspace(-1.0, 2.0, n)
        try:
            found = sized(x)
        except ConcretizationTypeError:
            continue
        near(found, program(x))


def test_two_names_and_fixed_sizes() -> None:
    g = tg.jit(lambda x, p: x @ p["w"] + p["b"], dims={"x": ("N", "M"), "p['w']": ("M", None)})
    for n, m in [(8, 9), (30, 30), (9, 100)]:
        x, p = RNG.normal(size=(n, m)), {"w": RNG.normal(size=(m, 2)), "b": np.ones(2)}
        near(g(x, p), x @ p["w"] + 1)
    assert len(g.trace_log) == 1
    g(np.ones((8, 9)), {"w": np.ones((9, 3)), "b": np.ones(3)})  # another fixed size, another trace
    assert len(g.trace_log) == 2


def test_derivatives_and_arrays_from_outside() -> None:
    scale = np.array([1.0, 2.0, 3.0])
    g = tg.jit(lambda x: np.sum(np.sin(x) * scale), dims=M)
    for n in (9, 40):
        x = matrix(n)
        near(tg.grad(g)(x), np.cos(x) * scale)
        near(g(x), np.sum(np.sin(x) * scale))
    scale[0] = 5.0  # read anew
    near(g(x), np.sum(np.sin(x) * scale))
    x = matrix(50)
    near(g(x), np.sum(np.sin(x) * scale))
    picked = np.array([2, 0])
    h = tg.jit(lambda x: x[:, picked], dims=M)
    near(h(x), x[:, [2, 0]])
    picked[0] = 1
    near(h(matrix(9))[0].shape, (2,))
    near(h(x), x[:, [1, 0]])


def test_a_comparison_comes_out_otherwise_later() -> None:
    g = tg.jit(lambda x: x * 2 if x.shape[0] == 30 else x, dims=V)
    near(g(np.ones(9)), np.ones(9))
    with pytest.raises(ConcretizationTypeError, match=r"test_sizes.py:\d+ .*depends on that: it is compared here"):
        g(np.ones(30))
    near(g(np.ones(31)), np.ones(31))
    big = tg.jit(lambda x: x * 2 if x.shape[0] > 5000 else x, dims=V)
    near(big(np.ones(9)), np.ones(9))
    with pytest.raises(ConcretizationTypeError, match="it is compared here"):
        big(np.ones(4000))


# Branches at a size that is none of those traced at.
HIDDEN: dict[str, Callable[[Any], Any]] = {
    "remainder": lambda n: n % 90 == 0,
    "quotient": lambda n: n // 90 * 90 == n,
    "plain number": lambda n: int(n) == 90,
    "float": lambda n: float(n) == 90,
    "fraction": lambda n: n / 2 == 45,
    "power": lambda n: n**2 == 8100,
    "negative": lambda n: -n == -90,
    "bits": lambda n: n ^ 90 == 0,
    "text": lambda n: f"{n}" == "90",
    "formatted": lambda n: operator.mod("%d", n) == "90",
    "key": lambda n: {90: True}.get(n, False),
    "member": lambda n: n in {90},
    "one of NumPy's": lambda n: np.equal(n, 90),
    "range": lambda n: list(range(n))[-1] == 89,
    "made array": lambda n: len(np.zeros(n)) == 90,
    "array of it": lambda n: np.array([n, 1])[0] == 90,
    "root": lambda n: math.isqrt(n * n) == 90,
    "list": lambda n: len([0] * n) == 90,
    "ours": lambda n: len(tnp.arange(n)) == 90,
    "truth": lambda n: not (n - 90),
    "index": lambda n: [k == 90 for k in range(9999)][n],
}
HIDDEN_IN_ARRAYS: dict[str, Callable[[Any], Any]] = {
    "part": lambda x: x[1:].shape[0] == 89,
    "whole shape": lambda x: x.shape == (90,),
    "like it": lambda x: np.zeros_like(x).shape[0] == 90,
    "length": lambda x: len(x) == 90,
    "bytes": lambda x: x.nbytes == 720,
    "shape function": lambda x: np.shape(np.concatenate([x, x]))[0] == 180,
    "evaluated shape": lambda x: tg.eval_shape(np.sin, x).shape[0] == 90,
    "rows": lambda x: sum([1 for _ in x]) == 90,
}


@pytest.mark.parametrize("name", [*HIDDEN, *HIDDEN_IN_ARRAYS])
def test_a_branch_at_a_size_that_is_not_sampled_is_found(name: str) -> None:
    test = HIDDEN_IN_ARRAYS.get(name) or (lambda x: HIDDEN[name](x.shape[0]))
    sized = tg.jit(lambda x: x * 2 if test(x) else x, dims=V)
    near(sized(np.ones(9)), np.ones(9))
    near(sized(np.ones(30)), np.ones(30))
    with pytest.raises(ConcretizationTypeError, match=r"test_sizes.py:\d+ .*depends on that"):
        sized(np.ones(90))
    near(sized(np.ones(91)), np.ones(91))


@tg.jit
def doubled_at_90(x: Any) -> Any:
    return x * 2 if x.shape[0] == 90 else x


def test_what_jitted_functions_inside_do_with_sizes_is_seen() -> None:
    for n in (7, 12, LARGEST_SAMPLE):
        doubled_at_90(np.ones(n))
    sized = tg.jit(lambda x: doubled_at_90(x), dims=V)
    near(sized(np.ones(9)), np.ones(9))
    with pytest.raises(ConcretizationTypeError, match="it is compared here"):
        sized(np.ones(90))


@tg.custom_jvp
def forward_ruled(x: Any) -> Any:
    return x * np.sin(x)


@forward_ruled.defjvp
def _(primals: Any, tangents: Any) -> Any:
    return forward_ruled(*primals), 3 * tangents[0]  # another than the true one, to tell them apart


@functools.partial(tg.custom_vjp, nondiff_argnums=1)
def backward_ruled(x: Any, power: Any) -> Any:
    return {"power": x**power, "sum": np.sum(x)}


backward_ruled.defvjp(
    lambda x, power: (backward_ruled(x, power), x), lambda power, x, ct: (5 * ct["power"] + x * ct["sum"],)
)


def ruled(x: Any) -> Any:
    found = backward_ruled(forward_ruled(x), 2)
    return np.sum(found["power"]) * found["sum"] / x.shape[0]


@pytest.mark.parametrize("made", [False, True])
def test_functions_with_derivative_rules_of_their_own_are_one_for_all_sizes(made: bool) -> None:
    calls = 0

    def f(x: Any) -> Any:
        nonlocal calls
        calls += 1
        return ruled(x + np.zeros(x.shape[0]) if made else x)

    sized, inside = tg.jit(f, dims=V), tg.jit(tg.grad(f), dims=V)
    for n in (9, 30, 128, 500):
        x = vector(n)
        assert sized(x) == tg.jit(ruled)(x)
        y = x * np.sin(x)
        expected = 3 * (5 * np.sum(y) + y * np.sum(y**2)) / n
        near(inside(x), expected)
        near(tg.grad(sized)(x), expected)  # by rules of a trace at another size
        near(tg.jvp(tg.jit(lambda x: np.sum(forward_ruled(x)), dims=V), (x,), (x,))[1], 3 * np.sum(x))
    assert calls == (16 if made else 2)  # with arrays of a size in Python at three sizes more, and at each of the four
    assert sized.trace_log == ["first call"]


def ruled_inside(x: Any) -> Any:
    n = x.shape[0]
    own = tg.custom_jvp(lambda y: y * n)
    own.defjvps(lambda t, out, y: t)
    return own(x)


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "branch": (lambda x: x * 2 if x.shape[0] > 50 else x, "it is compared here, and the outcome differs"),
    "loop": (lambda x: sum([x[i] for i in range(x.shape[0])]), "there is .* here, or"),
    "parity": (lambda x: x * 2 if x.shape[0] % 2 else x, "it is compared here, and the outcome differs"),
    "odd rows": (lambda x: np.diagonal(np.broadcast_to(x[:, None], (x.shape[0], 40))), "which is no polynomial"),
    "logarithm": (lambda x: x * math.log(x.shape[0]), "a constant is"),
    "least": (lambda x: x * min(x.shape[0], 40), "it is compared here"),
    "array": (lambda x: np.linspace(0, 1, x.shape[0]) * x, "an array made of a size in Python"),
    "rows": (lambda x: [row for row in x], "there is .* here, or|the number of outputs"),
    "nondiff": (lambda x: backward_ruled(x, x.shape[0])["power"], "nondiff arguments are; define it outside"),
    "batched": (lambda x: len(x) * tg.vmap(forward_ruled)(x), "closes over arrays or is batched"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_line(name: str) -> None:
    f, text = REFUSED[name]
    line = f.__code__.co_firstlineno
    with pytest.raises(ConcretizationTypeError) as caught:
        tg.jit(f, dims=V)(np.ones(9))
    assert re.search(
        rf"one program for every N, but .*test_sizes.py:{line} .*depends on that: .*({text})", str(caught.value)
    )


def test_functions_with_rules_that_are_made_for_a_size_are_refused() -> None:
    weights = np.ones(3)
    closing = tg.custom_jvp(lambda x: x @ weights)
    closing.defjvps(lambda t, out, x: t @ weights)
    wrong: list[tuple[Any, Any, Any, str]] = [
        (ruled_inside, V, np.ones(9), "is another one for each size"),
        (lambda x: closing(x) * len(x), M, np.ones((9, 3)), "closes over arrays or is batched"),
    ]
    for f, dims, x, text in wrong:
        with pytest.raises(ConcretizationTypeError, match=rf"test_sizes.py:\d+ .*rules of its own, .*{text}"):
            tg.jit(f, dims=dims)(x)


def test_errors() -> None:
    x = np.ones((9, 3))
    wrong: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (lambda: tg.jit(halves, dims={"z": ("N",)})(x), ValueError, "dims names the axes of 'z', but the arrays .* are x"),
        (lambda: tg.jit(halves, dims=V)(x), ShapeError, r"dims has 1 names for the axes of x, \('N',\), but x is f64\[9,3\]"),
        (lambda: tg.jit(lambda x, y: x, dims={"x": ("N", None), "y": ("N",)})(x, np.ones(3)), ShapeError,
         r"N is the size of axes of x and y, but x has 9 there, and y, f64\[3\], has 3"),
        (lambda: tg.jit(halves, dims=3), TypeError, "dims is 3; write a dict from names of arrays"),
        (lambda: tg.jit(halves, dims={"x": "N"}), TypeError, r"dims\['x'\] is 'N'; write a dict"),
        (lambda: tg.jit(halves, dims={"x": (None,)}), ValueError, "dims has 0 names of sizes"),
        (lambda: tg.jit(halves, dims=V, backend="xla"), ValueError, "dims is for NumPy; XLA compiles for each size"),
    ]  # fmt: skip
    for call, kind, text in wrong:
        with pytest.raises(kind, match=text):
            call()
    with pytest.raises(ShapeError) as caught:
        tg.jit(lambda x: x + np.ones(9), dims=V)(np.ones(9))
    assert "at sizes of its own: N=7" in "".join(caught.value.__notes__)


def test_pickles_and_shows() -> None:
    g = pickle.loads(pickle.dumps(tg.jit(halves, dims=V)))
    near(g(np.ones(20)), np.float64(0.95))
    assert g.lower(np.ones(25)).graph.in_types[0].shape == (25,)
