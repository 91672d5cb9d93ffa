"""Functions as files of NumPy: run where tracegrad cannot be imported, they give the same bits, and no tool finds anything in
them."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests import ROOT
from tracegrad.core.errors import UnsupportedFunctionError
from tracegrad.core.op import OPS, Op
from tracegrad.core.trace import bind

RUN = """
import pickle, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tracegrad", "jax", "ml_dtypes"):
            raise ImportError(f"the file imports {name}")

sys.meta_path.insert(0, Blocker())
folder = sys.argv[1]
found = []
with open(f"{folder}/given", "rb") as file:
    given = pickle.load(file)
for number, (name, args) in enumerate(given):
    with open(f"{folder}/program_{number}.py", encoding="utf-8") as file:
        code = compile(file.read(), f"program_{number}.py", "exec")
    namespace = {"__name__": "program"}
    exec(code, namespace)
    found.append(namespace[name](*args))
with open(f"{folder}/found", "wb") as file:
    pickle.dump(found, file)
"""


def formatter() -> str:
    found = shutil.which("ruff", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip("without ruff")
    return found


def rng() -> Any:
    return np.random.default_rng(0)


def assert_same(got: Any, expected: Any) -> None:
    """The same tree, to the bit."""
    ours, theirs = tg.tree.tree_flatten(expected), tg.tree.tree_flatten(got)
    assert str(ours[1]) == str(theirs[1])
    for x, y in zip(ours[0], theirs[0], strict=True):
        x, y = np.asarray(x), np.asarray(y)
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        np.testing.assert_array_equal(x, y)
        assert x.tobytes() == y.tobytes() or np.isnan(x).any()


def perceptron() -> tuple[Callable[..., Any], tuple[Any, ...]]:
    def loss(params: Any, x: Any, y: Any) -> Any:
        for layer in params[:-1]:
            hidden = np.tanh(x @ layer["w"] + layer["b"])
            x = hidden
        error = x @ params[-1]["w"] - y
        return np.mean(error**2)

    r = rng()
    params = [{"w": r.normal(size=s), "b": r.normal(size=s[1])} for s in ((4, 8), (8, 8), (8, 2))]
    return tg.value_and_grad(loss), (params, r.normal(size=(16, 4)), r.normal(size=(16, 2)))


def transformer() -> tuple[Callable[..., Any], tuple[Any, ...]]:
    model = tg.nn.models.gpt(11, layers=1, heads=2, width=8, context=16)
    tokens = rng().integers(0, 11, (2, 9))
    params = model.init(0, tokens)

    def loss(params: Any, tokens: Any) -> Any:
        logits = model(params, tokens[:, :-1])
        return np.mean(tg.nn.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]))

    return tg.value_and_grad(loss), (params, tokens)


def network() -> tuple[Callable[..., Any], tuple[Any, ...]]:
    model = tg.nn.models.lenet5(4, "SAME")
    x = rng().normal(size=(2, 16, 16, 1)).astype(np.float32)

    def loss(params: Any, x: Any) -> Any:
        return np.mean(model(params, x) ** 2)

    return tg.value_and_grad(loss), (model.init(0, x), x)


def recurrence(w: Any, xs: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        h = np.tanh(w @ h + x)
        return h, np.sum(h)

    last, sums = tg.lax.scan(step, np.zeros(3), xs)
    return np.sum(last) + np.sum(sums**2)


def root(x: Any) -> Any:
    return tg.lax.while_loop(lambda y: abs(y * y - x) > 1e-12, lambda y: (y + x / y) / 2, x)


def two_carries(x: Any, w: Any) -> Any:
    state = tg.lax.while_loop(lambda s: s[0] < 5, lambda s: (s[0] + 1, np.sin(s[1]) * w, s[2] + s[1]), (0, x, x))
    return np.sum(state[1] * state[2])


def choice(x: Any) -> Any:
    y = tg.lax.cond(np.sum(x) > 0, lambda: np.sin(x), lambda: np.exp(x) * 2)
    return np.sum(tg.lax.switch(np.argmax(x), [np.cos, np.sin, lambda x: x**2], y))


def linear_algebra(a: Any, b: Any) -> Any:
    s = a @ a.T + 4 * np.eye(len(a))
    chol = np.linalg.cholesky(s)
    w, v = np.linalg.eigh(s)
    x = np.linalg.solve(s, b)
    return np.sum(chol**2) + np.sum(w**3) + np.sum(np.abs(v[0])) + np.sum(x**2) + np.linalg.slogdet(s)[1]


def convolutions(kernel: Any, bias: Any, x: Any) -> Any:
    y = tg.lax.conv_general_dilated(x, kernel, (1, 1), "SAME") + bias[:, None, None]
    pooled = tg.lax.reduce_window(np.maximum(y, 0), -np.inf, np.maximum, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    return np.sum(pooled**2)


def indexed(x: Any, i: Any) -> Any:
    y = x[i] * np.take(x, i[::-1]) + x[1:5:2][:2].sum()
    z = np.zeros(6) + x
    z[2] = x[0] ** 2
    z[i] += y
    return np.sum(np.sort(z) * np.arange(6.0)) + np.sum(np.where(z > 0, z, -2 * z))


def spectrum(x: Any) -> Any:
    return np.sum(np.abs(np.fft.rfft(x) * (1 + 2j)) ** 2)


@tg.jit
def inner(x: Any, y: Any) -> Any:
    z = np.sin(x) * y
    return z, np.cumsum(z)


def nested(x: Any) -> Any:
    a, b = inner(x, x)
    c, d = inner(a, b)
    block = tg.checkpoint(lambda x: np.exp(np.sin(x)))
    return np.sum(block(block(c)) * d)


@tg.custom_vjp
def clipped(x: Any) -> Any:
    return x * 2.0


clipped.defvjp(lambda x: (x * 2.0, x), lambda x, ct: (np.clip(ct, -1, 1) * x,))

BIG = np.linspace(0, 1, 200).reshape(20, 10)
SMALL = np.array([0.1, -0.0, np.inf])

X = rng().normal(size=6)
PROGRAMS: dict[str, Callable[[], tuple[Callable[..., Any], tuple[Any, ...]]]] = {
    "perceptron": perceptron,
    "transformer": transformer,
    "scan": lambda: (recurrence, (rng().normal(size=(3, 3)), rng().normal(size=(7, 3)))),
    "scan_grad": lambda: (tg.grad(recurrence, argnums=(0, 1)), (rng().normal(size=(3, 3)), rng().normal(size=(7, 3)))),
    "scan_hvp": lambda: (
        tg.grad(lambda w, xs: np.sum(tg.grad(recurrence)(w, xs) ** 2)),
        (rng().normal(size=(3, 3)), rng().normal(size=(7, 3))),
    ),
    "while": lambda: (root, (2.0,)),
    "while_grad": lambda: (tg.value_and_grad(root), (np.float64(2.0),)),
    "while_two": lambda: (tg.grad(two_carries, argnums=(0, 1)), (X, 0.7)),
    "while_bounded": lambda: (
        tg.grad(lambda x: tg.lax.while_loop(lambda y: y < 100, lambda y: y * x, x, memory=100)),
        (1.5,),
    ),
    "cond": lambda: (tg.value_and_grad(choice), (X,)),
    "cond_other": lambda: (choice, (-np.abs(X),)),
    "linalg": lambda: (tg.value_and_grad(linear_algebra, argnums=(0, 1)), (rng().normal(size=(4, 4)), X[:4])),
    "conv": lambda: (
        tg.value_and_grad(convolutions, argnums=(0, 1, 2)),
        (rng().normal(size=(4, 3, 3, 3)), rng().normal(size=4), rng().normal(size=(2, 3, 8, 8))),
    ),
    "indexed": lambda: (tg.value_and_grad(indexed), (X, np.array([4, 1]))),
    "fft": lambda: (tg.value_and_grad(spectrum), (X,)),
    "functions": lambda: (tg.value_and_grad(nested), (X,)),
    "custom": lambda: (tg.value_and_grad(lambda x: np.sum(clipped(x) ** 2)), (X,)),
    "custom_value": lambda: (tg.jit(clipped), (X,)),
    "vmap": lambda: (tg.vmap(tg.grad(lambda x: np.sum(np.sin(x) ** 3))), (X.reshape(3, 2),)),
    "constants": lambda: (lambda x: (x @ BIG.T, x[:3] * SMALL, BIG.T), (np.ones(10),)),
    "python": lambda: (lambda x, n: {"a": x**2 + 1 / x, "b": [n % 3, (n, -x)], "c": None}, (1.5, 7)),
    "types": lambda: (
        lambda x, y: (x * y, x > 0, x.astype(int), x + 1j, x // 2),
        (X.astype(np.float32), np.float32(3)),
    ),
    "shared": lambda: (lambda x: (x, x, x.T, np.zeros(3), np.broadcast_to(x, (2, 6))), (X,)),
    "hessian": lambda: (tg.hessian(lambda x: np.sum(np.tanh(x) ** 2)), (X[:3],)),
    "spectral": lambda: (
        tg.grad(lambda a: np.sum(tg.numpy.linalg.funm(a @ a.T + np.diag(np.arange(1.0, 4)), np.exp) ** 2)),
        (rng().normal(size=(3, 3)) / 3,),
    ),
    "norms": lambda: (tg.grad(lambda x: np.linalg.norm(x) + np.var(x) + np.max(x) + np.prod(x)), (X,)),
    "einsum": lambda: (
        tg.grad(lambda a, b: np.sum(np.einsum("bij,bjk->bik", a, b) ** 2), argnums=(0, 1)),
        (rng().normal(size=(2, 3, 4)), rng().normal(size=(2, 4, 3))),
    ),
    "decompositions": lambda: (
        tg.grad(lambda a: np.sum(np.linalg.pinv(a) ** 2) + np.linalg.norm(a, "nuc") + np.sum(np.linalg.qr(a)[1] ** 3)),
        (rng().normal(size=(3, 3)),),
    ),
    "singular": lambda: (
        tg.grad(lambda a: np.sum(np.abs(np.linalg.svd(a, full_matrices=False)[0]) * np.arange(1, 4))),
        (rng().normal(size=(3, 4)),),
    ),
    "special": lambda: (
        tg.grad(lambda x: np.sum(tg.lax.lgamma(x) + tg.lax.erf(x) + tg.nn.gelu(x))),
        (np.abs(X),),
    ),
    "rows_of_loops": lambda: (
        lambda w, x: (tg.vmap(tg.grad(lambda w: recurrence(w, np.ones((4, 3)))))(w), tg.vmap(tg.grad(root))(x)),
        (rng().normal(size=(2, 3, 3)), np.array([2.0, 3.0])),
    ),
    "network": network,
    "padded": lambda: (
        tg.grad(
            lambda x: (
                np.sum(np.pad(x, 2, mode="reflect") ** 2) + np.sum(np.interp(x, np.arange(4.0), np.arange(4.0) ** 2))
            )
        ),
        (np.abs(X),),
    ),
    "nothing": lambda: (lambda: np.ones(3) * 2, ()),
    "random": lambda: (lambda key: tg.random.normal(key, (4,)), (tg.random.PRNGKey(0),)),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[Any, Any]]]:
    """The folder of all files, and what they gave and ought to give."""
    folder = tmp_path_factory.mktemp("sources")
    given, expected = [], []
    for number, make in enumerate(PROGRAMS.values()):
        f, args = make()
        source = tg.to_numpy_source(f, *args)
        (folder / f"program_{number}.py").write_text(source, encoding="utf-8")
        given.append((source.rpartition("\ndef ")[2].partition("(")[0], args))
        expected.append(tg.jit(f)(*args))
    (folder / "given").write_bytes(pickle.dumps(given))
    done = subprocess.run([sys.executable, "-I", "-c", RUN, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    got = pickle.loads((folder / "found").read_bytes())
    return folder, dict(zip(PROGRAMS, zip(got, expected, strict=True), strict=True))


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_file_gives_the_same_bits(found: Any, name: str) -> None:
    assert_same(*found[1][name])


@pytest.mark.parametrize(
    "options", [["--isolated", "--line-length", "120"], ["--config", str(ROOT / "pyproject.toml")]]
)
def test_ruff_finds_nothing(found: Any, options: list[str]) -> None:
    ruff = formatter()
    for command in (["check", "--no-cache", "--output-format", "concise"], ["format", "--no-cache", "--diff"]):
        done = subprocess.run([ruff, *command, *options, str(found[0])], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


Point = namedtuple("Point", ["x", "y"])


def test_trees_and_names() -> None:
    def f(p: Any, d: Any, *rest: Any, scale: Any) -> Any:
        """Of many structures."""
        total = p.x * d["a b"][0] + rest[0]
        return Point(total, {"out": (p.y * scale,), "l": [None, d["l"]]})

    args = Point(X, X + 1), {"a b": [X], "l": 2.0}, 3.0
    source = tg.to_numpy_source(f, *args, scale=2.0)
    assert "def f(p, d, rest_0, scale):" in source
    assert "    p_x = p[0]\n" in source and 'd_a_b_0 = d["a b"][0]' in source
    assert "    total = a + rest_0\n" in source
    assert "# test_source.py:" in source and ': total = p.x * d["a b"][0] + rest[0]\n' in source
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    got = namespace["f"](*args, scale=2.0)
    assert type(got).__name__ == "Point" and type(got)._fields == ("x", "y")
    expected = tg.jit(f)(*args, scale=2.0)
    for x, y in zip(tg.tree.tree_leaves(got), tg.tree.tree_leaves(expected), strict=True):
        np.testing.assert_array_equal(x, y)
    assert list(got[1]) == list(expected[1]) and got[1]["l"][0] is None


def test_nothing_lies_in_an_argument() -> None:
    namespace: dict[str, Any] = {}
    exec(tg.to_numpy_source(PROGRAMS["shared"]()[0], X), namespace)
    results = next(f for name, f in namespace.items() if "lambda" in name)(X)
    for i, y in enumerate(results):
        assert y.flags.writeable and not any(np.shares_memory(y, z) for z in (X, *results[:i]))


def test_results_of_several_names_and_of_loops_of_no_steps() -> None:
    def f(a: Any) -> Any:
        values, vectors = np.linalg.eigh(a)
        return tg.lax.while_loop(lambda x: x[0] > 10, lambda x: x * 2, values), vectors

    source = tg.to_numpy_source(f, np.eye(2))
    assert "    values, vectors = " in source
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    a = np.zeros(3)
    g = tg.to_numpy_source(lambda x: tg.lax.while_loop(lambda x: x[0] > 10, lambda x: x * 2, x), a)
    exec(g, namespace)
    assert not np.shares_memory(namespace["lambda_2"](a) if "lambda_2" in namespace else namespace["f"](a)[0], a)


def test_comments_that_tools_heed_are_left_out() -> None:
    def f(x: Any) -> Any:
        y = np.sin(x) * len("#")  # fmt: skip
        return y

    source = tg.to_numpy_source(f, X)
    assert ': y = np.sin(x) * len("#")\n' in source and "noqa" not in source and "fmt" not in source


def test_a_static_argument_is_built_in() -> None:
    f = tg.jit(lambda x, n: x**n, static_argnums=1)
    source = tg.to_numpy_source(f, X, 3)
    assert "(x):" in source
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    np.testing.assert_array_equal(next(f for n, f in namespace.items() if "lambda" in n)(X), f(X, 3))


def chain(count: int) -> Callable[[Any], Any]:
    def loss(x: Any) -> Any:
        for _ in range(count // 4):
            x = np.sin(x) * 1.1
        return np.sum(x)

    return tg.grad(loss)


def test_a_long_program_is_several_functions_and_no_larger_than_long() -> None:
    small, large = [tg.to_numpy_source(chain(n), X) for n in (5_000, 20_000)]
    assert len(large) < 4.6 * len(small) and large.count("\ndef ") > 15
    namespace: dict[str, Any] = {}
    exec(compile(small, "small", "exec"), namespace)
    np.testing.assert_array_equal(namespace["grad_loss"](X), tg.jit(chain(5_000))(X))


def test_what_has_no_words_is_refused_by_name() -> None:
    def rows(x: Any) -> Any:
        return tg.lax.cond(x > 0, lambda: np.sin(x), lambda: np.cos(x))

    where = r"at .*test_source\.py:\d+ \(in \w+\) cannot be written as NumPy"
    with pytest.raises(UnsupportedFunctionError, match=rf"the op switch_rows {where}: which of .*; write np\.where"):
        tg.to_numpy_source(tg.vmap(rows), X)

    def closing(x: Any) -> Any:
        return bind(op, (x,))

    op = Op("to_be_closed", evaluate=lambda x: x * X[0], infer=lambda types, params: types[0])
    try:
        with pytest.raises(
            UnsupportedFunctionError, match=rf"the op to_be_closed {where}: .* is not defined at the top"
        ):
            tg.to_numpy_source(closing, X)
    finally:
        del OPS["to_be_closed"]


def test_what_compares_with_itself() -> None:
    source = tg.to_numpy_source(lambda x: np.where(x != x, 0, x), X)
    assert "np.not_equal(x, x)" in source


class Box:
    def __init__(self, x: Any) -> None:
        self.x = x


tg.tree.register_pytree_node(Box, lambda box: ((box.x,), None), lambda _, xs: Box(*xs))


def test_nodes_of_the_users_own_are_refused() -> None:
    with pytest.raises(TypeError, match=r'the argument box\["a"\] of .* is a Box, a node of its own'):
        tg.to_numpy_source(lambda box: box["a"].x, {"a": Box(X)})
    with pytest.raises(TypeError, match=r"the result of .* is a Box, .* write a function of dicts, lists and tuples"):
        tg.to_numpy_source(lambda x: Box(x), X)
