"""`graph.draw`, `tg.draw` and what is done with a drawing."""

from __future__ import annotations

import functools
import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.show.drawn import blocks, blocks_args, graph_of, mlp, mlp_args
from tracegrad.core.errors import DifferentiationError, DtypeError, ShapeError
from tracegrad.core.graph import Graph
from tracegrad.show.data import text_of

GRAPH = tg.make_graph(lambda x, y: np.sum(np.sin(x) * y))(np.ones(2), np.ones(2))


def data_of(page: str) -> Any:
    (found,) = re.findall(r'<script type="application/json" class="graph">(.*?)</script>', page, re.DOTALL)
    return json.loads(found)


def test_files(tmp_path: Path) -> None:
    drawing = GRAPH.draw(values=[np.ones(2), np.ones(2)])
    for suffix in (".html", ".dot", ".txt", ".HTML"):
        drawing.save(tmp_path / f"g{suffix}")
    assert (tmp_path / "g.txt").read_text() == f"{GRAPH}\n"
    assert (tmp_path / "g.dot").read_text() == drawing.dot()
    page = (tmp_path / "g.html").read_text(encoding="utf-8")
    assert (
        page == drawing.html()
        and page.startswith("<!doctype html>")
        and data_of(page) == json.loads(text_of(drawing.data))
    )
    assert html.escape(str(GRAPH)) in page
    assert "<title>&lt;lambda&gt; – tracegrad</title>" in page and "default-src &#x27;none&#x27;" not in page
    drawing.save(str(tmp_path / "g.txt"))  # again, and by a string
    assert not [path for path in tmp_path.iterdir() if "tmp" in path.name]


def test_a_page_has_all_it_needs() -> None:
    page = tg.draw(mlp, *mlp_args()).html()
    assert "default-src 'none'" in page
    assert not re.search(r"\bsrc=|<link|@import|url\((?!data:|#)|sourceMappingURL|https?://(?!www\.w3\.org/)", page)
    beside = len(page) - len(json.dumps(data_of(page)))
    assert beside < 120_000


def test_a_notebook_has_a_drawing_and_the_listing() -> None:
    drawing = GRAPH.draw()
    for shown in (drawing, GRAPH):
        bundle = shown._repr_mimebundle_(include=None, exclude=None)
        assert bundle["text/plain"] == str(GRAPH)
        assert bundle["text/html"].startswith('<div class="tracegrad" data-theme="auto">')
        assert data_of(bundle["text/html"])["title"] == "<lambda>"


def test_a_bundle_is_small() -> None:
    f, args = blocks, blocks_args(7, 24)
    graph = graph_of(f, *args)
    assert 250 <= len(graph.eqns) <= 300
    bundle = graph.draw(values=tg.tree.leaves(args), gradients=True)._repr_mimebundle_()
    assert sum(len(text.encode()) for text in bundle.values()) <= 200_000


def test_a_graph_that_is_very_large_is_text_in_a_notebook() -> None:
    x = GRAPH.inputs[0]
    eqns = [GRAPH.eqns[0]] * 6000
    large = Graph(GRAPH.inputs, tuple(eqns), (x,), {})
    assert list(large._repr_mimebundle_()) == ["text/plain"]


def test_a_scalar_function_is_drawn_with_values_and_gradients() -> None:
    drawing = tg.draw(mlp, *mlp_args())
    assert all(len(row) == 4 for row in drawing.data["vars"])
    assert all(node[7] == 0 for node in drawing.data["nodes"])  # one forward Graph
    for plain in (lambda x: np.sin(x), lambda x: (np.sum(x), x)):
        assert all(len(row) == 3 for row in tg.draw(plain, np.ones(2)).data["vars"])
    aux = tg.draw(lambda x: (np.sum(x), {"aux": x}), np.ones(2), gradients=True)
    assert all(len(row) == 4 for row in aux.data["vars"])
    no_derivative = tg.draw(lambda x: np.sum(x), np.arange(3))
    assert all(len(row) == 3 for row in no_derivative.data["vars"])


def test_arguments_are_trees_and_functions_are_any() -> None:
    params, x, y = mlp_args()
    names = [node[1] for node in tg.draw(mlp, params, x, y).data["nodes"]]
    assert names[:4] == ["params[0]['b']", "params[0]['w']", "params[1]['b']", "params[1]['w']"]
    for f in (tg.jit(mlp), functools.partial(mlp, params)):
        args = (x, y) if type(f) is functools.partial else (params, x, y)
        found = tg.draw(f, *args).data
        ops = [node[1] for node in found["nodes"] if node[0] == 0]
        assert ops.count("matmul") == 3 and found["vars"][-1][2]["s"] == [pytest.approx(mlp(params, x, y), rel=1e-6)]
    outputs = [node[1] for node in tg.draw(tg.value_and_grad(mlp), params, x, y).data["nodes"] if node[0] == 3]
    assert outputs[:3] == ["[0]", "[1][0]['b']", "[1][0]['w']"]
    assert [node[1] for node in tg.draw(np.sin, 1.0).data["nodes"]] == ["x", "sin", "output"]


def test_types_alone() -> None:
    x = tg.ShapeDtypeStruct((3,), "float32")
    assert all(len(row) == 2 for row in tg.draw(lambda x: np.sum(x), x).data["vars"])
    with pytest.raises(
        ValueError, match="gradients are taken at values, and arguments are ShapeDtypeStructs; pass arrays"
    ):
        tg.draw(lambda x: np.sum(x), x, gradients=True)


def test_a_drawing_is_as_it_was_made() -> None:
    x = np.ones(2)
    drawing = tg.draw(lambda x: np.sum(np.sin(x)), x)
    x[:] = 7.0
    assert drawing.data["vars"][0][2]["s"] == [1, 1]
    assert repr(drawing) == "<drawing of <lambda>, 2 equations>"
    assert repr(tg.draw(np.sin, 1.0)) == "<drawing of sin, 1 equation>"


def test_options_are_handed_on() -> None:
    drawing = GRAPH.draw(backward="beside", theme="dark", depth=1)
    assert (drawing.data["backward"], drawing.data["theme"]) == ("beside", "dark")
    assert 'data-theme="dark"' in drawing.html()
    nested = tg.draw(blocks, *blocks_args(2), depth=2, backward="hidden", theme="light").data
    opened = {name: is_open for name, _, _, is_open, _, _ in nested["groups"]}
    assert opened["block_0"] == 1 and opened["mlp"] == 1 and nested["theme"] == "light"


LINE = r" at .*test_drawing.py:\d+ \(in .*\)"


@pytest.mark.parametrize(
    "how, error, text",
    [
        ({"backward": "up"}, ValueError, "takes for backward one of 'folded', 'beside', 'hidden', got 'up'"),
        ({"theme": 3}, ValueError, "takes for theme one of 'auto', 'light', 'dark', got 3"),
        ({"depth": -1}, ValueError, "takes for depth how many groups in one another to open, or 'auto', got -1; write depth=2"),
        ({"depth": "all"}, ValueError, "or 'auto', got 'all'; write depth=2"),
        ({"values": True}, TypeError, "takes for values a list with an array for each of its 2 inputs, got True; write graph.draw(values=tg.tree.leaves(args)), or tg.draw(f, *args)"),
        ({"values": [1.0]}, ValueError, "takes for values an array for each of its 2 inputs, got 1; the arguments' arrays in order are tg.tree.leaves(args)"),
        ({"gradients": True}, ValueError, "gradients are taken at values; write graph.draw(values=[...], gradients=True) with an array for each of its 2 inputs, or tg.draw(f, *args)"),
    ],
)  # fmt: skip
def test_what_it_does_not_take(how: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        GRAPH.draw(**how)
    assert text in str(caught.value)
    assert re.match("draw of graph '<lambda>'" + LINE, str(caught.value))


def test_values_of_other_types() -> None:
    with pytest.raises(ShapeError, match=r"input 0, x, must be f64\[2\], got f64\[3\]"):
        GRAPH.draw(values=[np.ones(3), np.ones(2)])
    with pytest.raises(DtypeError, match=r"input 1, y, must be f64\[2\], got f32\[2\]"):
        GRAPH.draw(values=[np.ones(2), np.ones(2, np.float32)])


def test_gradients_of_no_scalar() -> None:
    for f, got in (
        (np.sin, "f64[2]"),
        (lambda x: np.argmax(x), "i64[]"),
        (lambda x: np.sum(x) * 1j, "c128[]"),
        (lambda x: (), "nothing"),
    ):
        with pytest.raises(DifferentiationError) as caught:
            tg.draw(f, np.ones(2), gradients=True)
        assert f"gradients are those of a scalar of real numbers, and the first output is {got}; draw a function that returns a loss, or leave gradients out" in str(caught.value)  # fmt: skip


def test_suffixes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is saved as") as caught:
        GRAPH.draw().save(tmp_path / "g.pdf")
    assert re.fullmatch(
        f"a drawing{LINE} is saved as .html, .svg, .dot, .txt, got '{tmp_path}/g.pdf'; write "
        f"drawing.save\\('{tmp_path}/g.html'\\) for a page, or .svg for a picture",
        str(caught.value),
    )
    with pytest.raises(ValueError, match="is saved as"):
        GRAPH.draw().save(tmp_path / "g")
    with pytest.raises(FileNotFoundError, match="make its folder first"):
        GRAPH.draw().save(tmp_path / "missing" / "g.html")
    assert not list(tmp_path.iterdir())


def test_of_what_is_no_function() -> None:
    with pytest.raises(
        TypeError, match=r"draw" + LINE + r" takes a function, got the float64 .*; write tg.draw\(f, x\)"
    ):
        tg.draw(np.sin(1.0), 1.0)


def test_errors_of_the_function_are_its_own() -> None:
    def f(x: Any) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        tg.draw(f, 1.0)


def test_inside_of_a_transform() -> None:
    """A Graph that closes over tracers has no values of them."""
    seen = []

    def f(x: Any) -> Any:
        graph = tg.make_graph(lambda y: np.sum(x * y))(np.ones(2))
        seen.append(graph.draw().data)
        return np.sum(x)

    tg.grad(f)(np.ones(2))
    assert [node[1] for node in seen[0]["nodes"] if node[0] == 0] == ["multiply", "sum"]
