"""Graphs in files: the same equations, types, constants and sources again, by every transform."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tracegrad.core.graph import Graph
from tracegrad.core.op import OPS
from tracegrad.core.scopes import named_scope
from tracegrad.core.trace import bind
from tracegrad.io import CorruptFileError, graphs, load_graph, save_graph, trees
from tracegrad.io.graphs import _Reader, _Writer
from tracegrad.io.trees import reading, write_tree

X = np.linspace(0.1, 1.0, 4)
A = np.eye(3) + 0.1


def again(graph: Graph) -> Graph:
    """A Graph by way of JSON."""
    writer = _Writer(".npz")
    writer.graph(graph)
    reader = _Reader(writer.arrays)
    for told in json.loads(json.dumps(writer.graphs, allow_nan=False)):
        reader.graph(told)
    return reader.graphs[-1]


@pytest.fixture(params=[".npz", ".safetensors"])
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return tmp_path / f"f{request.param}"


def _scoped(x: Any) -> Any:
    with named_scope("block_0"), named_scope("up"):
        return np.tanh(x) ** 2


PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "scan": lambda x: tg.lax.scan(lambda c, y: (c * np.sin(y), c + 1.0), 1.0, x)[0],
    "while": lambda x: tg.lax.while_loop(lambda c: c[0].sum() < 10, lambda c: (c[0] * 2, c[1] + 1), (x, 0))[0].sum(),
    "fori": lambda x: tg.lax.fori_loop(0, 5, lambda i, c: c * np.sin(x), x).sum(),
    "cond": lambda x: tg.lax.cond(x.sum() > 0, np.sin, np.cos, x).sum(),
    "jit": lambda x: tg.jit(lambda y: np.sin(y) * np.float32(2))(x).sum(),
    "checkpoint": lambda x: tg.checkpoint(lambda y: np.sin(np.sin(y)))(x).sum(),
    "policy": lambda x: tg.checkpoint(
        lambda y: tg.checkpoint_name(np.sin(np.sin(y)), "a"),
        policy=tg.checkpoint_policies.save_from_both_policies(
            tg.checkpoint_policies.dots_saveable, tg.checkpoint_policies.save_only_these_names("a", "b")
        ),
    )(x).sum(),
    "index": lambda x: x[1:3].sum() + x[np.array([0, 1])].sum() + tnp.at(x)[1:3].set(0.0).sum(),
    "linalg": lambda x: np.linalg.eigh(A * x[0])[0].sum() + np.linalg.svd(A * x[0])[1].sum() + np.einsum("i,i->", x, x),
    "random": lambda x: (tg.random.bits(tg.random.PRNGKey(1), (4,)) * x).sum(),
    "vmap": lambda x: tg.vmap(lambda y: tg.lax.psum(np.sin(y), "i"), axis_name="i")(x).sum(),
    "scope": lambda x: np.sum(_scoped(x)),
    "complex": lambda x: np.abs(x * (1 + 2j)).sum(),
}


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(path: Path, name: str, order: int) -> None:
    f = PROGRAMS[name]
    for _ in range(order):
        f = tg.grad(lambda x, f=f: np.sum(f(x)))
    graph = tg.make_graph(f)(X)
    if any(value.dtype == np.complex128 for value in graph.consts.values()):
        path = path.with_suffix(".npz")
    save_graph(path, f, X)
    found = load_graph(path)
    assert found == graph and str(found) == str(graph)
    for one, other in zip(found.eqns, graph.eqns, strict=True):
        assert one.source == other.source and type(one.source) is type(other.source)
        assert (one.scope, one.phase, one.of, one.frames) == (other.scope, other.phase, other.of, other.frames)
    for one, other in zip(found(X), graph(X), strict=True):
        np.testing.assert_array_equal(one, other)
    for transform in (tg.jit, tg.grad, tg.vmap):
        x = X[None] if transform is tg.vmap else X
        np.testing.assert_array_equal(
            transform(lambda x: np.sum(found(x)[0]))(x), transform(lambda x: np.sum(graph(x)[0]))(x)
        )


@pytest.mark.parametrize("name", sorted(OPS))
def test_every_op(name: str) -> None:
    op = OPS[name]
    for sample in op.samples():
        graph = tg.make_graph(lambda *xs, sample=sample: bind(op, xs, sample.params))(*sample.inputs)
        assert again(graph) == graph


def test_functions_of_jax(jax: Any) -> None:
    f = tg.from_jax(lambda x: jax.numpy.sum(jax.nn.softmax(jax.numpy.sin(x) * 2) ** 2))
    for g in (f, tg.grad(f), lambda x: tg.jit(f)(x)):
        graph = tg.make_graph(g)(X)
        found = again(graph)
        assert found == graph and str(found) == str(graph)
    frames = tg.make_graph(_scoped, frames=True)(X)
    assert [eqn.frames for eqn in again(frames).eqns] == [eqn.frames for eqn in frames.eqns]


def test_named_axes_and_types() -> None:
    graph = tg.make_graph(lambda x: tg.lax.psum(x, "i"), axis_env=[("i", 4)])(np.ones(2, np.float16))
    assert again(graph) == graph
    graph = tg.make_graph(lambda x: (x * 2, x + np.float32(np.nan), x * np.inf, x < 3))(1)
    assert again(graph) == graph and again(graph).inputs[0].name == "x"
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    graph = tg.make_graph(lambda x: x.astype(np.float32) * np.ones(2, bfloat16))(np.ones(2, bfloat16))
    assert again(graph) == graph


def test_constants(path: Path) -> None:
    big = np.arange(5.0)
    graph = tg.make_graph(lambda x: x * big)(X[:1])
    save_graph(path, graph)
    found = load_graph(path)
    assert found == graph
    assert next(iter(tg.io.load(path).values())).tolist() == [0, 1, 2, 3, 4]
    big = big * (1 + 1j)
    if path.suffix == ".npz":
        save_graph(path, lambda x: x * big, X[:1])
        assert load_graph(path)(X[:1])[0].dtype == np.complex128
    else:
        with pytest.raises(TypeError, match=r"a constant of graph '<lambda>' is an array of c128, .* save it as \.npz"):
            save_graph(path, lambda x: x * big, X[:1])


def test_another_process(path: Path) -> None:
    """Which has none of the functions."""
    save_graph(path, tg.grad(PROGRAMS["scan"]), X)
    code = f"import numpy as np, tracegrad as tg; print(tg.io.load_graph({str(path)!r})(np.linspace(0.1, 1.0, 4))[0].tolist())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tg.grad(PROGRAMS["scan"])(X).tolist())


@tg.custom_vjp
def sine(x: Any) -> Any:
    return np.sin(x)


sine.defvjp(lambda x: (sine(x), x), lambda x, ct: (ct * np.cos(x),))


def test_what_has_no_form(tmp_path: Path) -> None:
    here = os.path.basename(__file__)
    with pytest.raises(
        TypeError, match=rf"the param rules of custom_call at \S*{here}:\d+ .* is sine, .*write .* as an op"
    ):
        save_graph(tmp_path / "f.npz", lambda x: sine(x), X)
    f = tg.checkpoint(lambda x: np.sin(np.sin(x)), policy=lambda *args, **params: True)
    with pytest.raises(TypeError, match=r"the param policy of checkpoint .* write a policy of tg\.checkpoint_policies"):
        save_graph(tmp_path / "f.npz", f, X)
    with pytest.raises(TypeError, match=r"cannot be saved: it closes over a traced f64"):
        tg.jit(lambda y: save_graph(tmp_path / "f.npz", tg.make_graph(lambda x: x * y)(1.0)))(X)
    with pytest.raises(TypeError, match="takes a Graph alone, or a function and its arguments"):
        save_graph(tmp_path / "f.npz", tg.make_graph(np.sin)(X), X)
    assert not list(tmp_path.iterdir())


def test_files_of_other_things(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tg.io.save(path, {"w": X})
    with pytest.raises(ValueError, match=r"holds a tree and no Graph; write tg\.io\.load"):
        load_graph(path)
    save_graph(path, np.sin, X)
    monkeypatch.setitem(graphs.VERSIONS, "sin", 2)
    with pytest.raises(
        ValueError, match="has the op 'sin' in version 1, where this tracegrad has version 2; save the Graph again"
    ):
        load_graph(path)


def test_graphs_that_lie(path: Path) -> None:
    """Types are inferred anew: no array of another shape than is said comes out, and nothing but ops is called."""
    save_graph(path, lambda x: np.sin(x) * A[0, 0], X)
    with reading(path) as found:
        note = found.note
    assert note is not None

    def refused(graph: Any, says: str, ops: Any = None) -> None:
        write_tree(path, {"dict": [[], []]}, {}, None, {"graph": {"ops": ops or {}, "graphs": [graph]}})
        with pytest.raises(CorruptFileError, match=f"its Graph is not well-formed: .*{says}"):
            load_graph(path)

    (told,) = note["graph"]["graphs"]
    (op, inputs, params, outputs, source), *rest = told["eqns"]
    variables = [*told["vars"][:-1], ["float64", [5], False, None]]
    refused({**told, "vars": variables}, "GraphError")
    refused({**told, "eqns": rest}, "used before it is defined")
    refused({**told, "eqns": [["system", inputs, params, outputs, source], *rest]}, "no op named 'system'")
    refused({**told, "eqns": [[op, [99], params, outputs, source], *rest]}, "IndexError")
    refused({"name": "f"}, "KeyError")
    refused([], "")
    refused({**told, "eqns": [[op, inputs, {"policy": {"policy": "open"}}, outputs, source]]}, "KeyError")


ALONE = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("jax", "scipy", "ml_dtypes", "hypothesis", "matplotlib"):
            raise ImportError(f"NumPy alone is there, and no {name}")

sys.meta_path.insert(0, Blocker())
import numpy as np, tracegrad as tg
graph = tg.io.load_graph(sys.argv[1])
x = np.linspace(0.1, 1.0, 4)
print(graph(x)[0].tolist(), tg.grad(lambda x: np.sum(graph(x)[0]))(x).tolist())
assert not any(name.startswith("pickle") for name in vars(sys.modules["tracegrad.io.graphs"]))
"""


@pytest.mark.parametrize("name", ["scan", *sorted(PROGRAMS)[:3]])
def test_numpy_alone_reads_and_differentiates_it(path: Path, name: str) -> None:
    f = PROGRAMS[name]
    try:
        save_graph(path, f, X)
    except TypeError:  # of complex constants, which .safetensors has not
        pytest.skip("has no form in this format")
    done = subprocess.run([sys.executable, "-c", ALONE, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{np.asarray(f(X)).tolist()} {tg.grad(lambda x: np.sum(f(x)))(X).tolist()}"


def test_torn_and_foreign_files(path: Path) -> None:
    weights = np.arange(300.0)
    save_graph(path, lambda x: np.sum(x * weights), np.ones(300))
    whole = path.read_bytes()
    for count in (0, 1, 7, len(whole) // 3, len(whole) - 1):
        path.write_bytes(whole[:count])
        with pytest.raises(CorruptFileError, match=path.name):
            load_graph(path)
    for place in range(0, len(whole), max(len(whole) // 60, 1)):  # a byte of it is another one
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        try:
            found = load_graph(path)
        except (CorruptFileError, ValueError):
            continue
        assert found(np.ones(300))[0] == 44850
    path.write_text("import os\n")
    with pytest.raises(CorruptFileError, match=path.name):
        load_graph(path)
    np.savez(path.with_suffix(".npz"), w=X)
    with pytest.raises(ValueError, match=r"holds a tree and no Graph; write tg\.io\.load"):
        load_graph(path.with_suffix(".npz"))
    with pytest.raises(FileNotFoundError):
        load_graph(path.with_name("nothing" + path.suffix))


def test_newer_files(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(graphs.VERSIONS, "sin", 2)
    save_graph(path, np.sin, X)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="'sin' in version 2, where this tracegrad has version 1; run `pip install -U"):
        load_graph(path)
    with reading(path) as found:
        note = found.note
    assert note is not None
    told = {**note["graph"], "ops": {"sin_of_tomorrow": 1}}
    write_tree(path, {"dict": [[], []]}, {}, None, {"graph": told})
    with pytest.raises(
        ValueError, match=r"has the op 'sin_of_tomorrow', which this tracegrad has not: run .* or import the module"
    ):
        load_graph(path)
    monkeypatch.setattr(trees, "FORMAT", trees.FORMAT + 1)
    save_graph(path, np.sin, X)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"is in format \d+ of tracegrad .*; this version reads up to \d+"):
        load_graph(path)
