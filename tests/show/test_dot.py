"""Drawings in Graphviz's language: what Graphviz reads in them is what is in the Graph."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from collections import Counter
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.show.drawn import blocks, blocks_args, graph_of, mlp, mlp_args, scanned
from tests.show.test_model import GRAPHS, number_of_equations
from tracegrad.core.graph import Graph
from tracegrad.show.boxes import EQUATION, INPUT, OUTPUT
from tracegrad.show.dot import dot, in_words
from tracegrad.show.drawing import Drawing
from tracegrad.show.model import Model, model
from tracegrad.show.svg import of_package

PROGRAMS = [shutil.which("dot"), of_package()]


def read_by(program: str, text: str) -> dict[str, Any]:
    """What Graphviz understands: boxes by name, arrows as pairs, clusters with the boxes in them."""
    done = subprocess.run([program, "-Tdot_json"], input=text.encode(), capture_output=True)
    said = done.stderr.decode().lower()  # graphviz-pure guesses how wide some characters are, and says so
    assert done.returncode == 0 and "error" not in said and "syntax" not in said, said
    found = json.loads(done.stdout)
    objects = found.get("objects", [])
    boxes = {o["_gvid"]: o["name"] for o in objects if "nodes" not in o and not o["name"].startswith(("cluster", "%"))}
    return {
        "boxes": sorted(boxes.values()),
        "arrows": sorted((boxes[e["tail"]], boxes[e["head"]]) for e in found.get("edges", [])),
        "clusters": {o["name"]: sorted(boxes[n] for n in o["nodes"]) for o in objects if o["name"].startswith("cluster") and "nodes" in o},
    }  # fmt: skip


def counted(drawn: Model, text: str) -> int:
    """The equations with a box of their own, and those that boxes of groups say are in them."""
    own = [int(n) for n in re.findall(r"^ *n(\d+) \[", text, re.MULTILINE)]
    inside = re.findall(r"(\d+) equations?(?: inside)?<", text)
    return sum(drawn.nodes[n].kind == EQUATION for n in own) + sum(map(int, inside))


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("depth", [0, 2, "auto"])
def test_boxes_and_what_they_hide_are_all_equations(graph: Graph, depth: Any) -> None:
    drawn = model(graph, depth)
    for backward in ("folded", "beside"):
        assert counted(drawn, dot(drawn, (), (), backward)) == number_of_equations(graph)
    text = dot(drawn, (), (), "hidden")
    if depth == 99:
        assert counted(drawn, text) == sum(node.kind == EQUATION and not node.phase for node in drawn.nodes)


def test_at_every_state_of_folding() -> None:
    graph = graph_of(tg.value_and_grad(blocks), *blocks_args(3))
    drawn, draws = model(graph), random.Random(1)
    for _ in range(40):
        for group in drawn.groups[1:]:
            group.open = draws.random() < 0.7
        assert counted(drawn, dot(drawn, (), (), "folded")) == number_of_equations(graph)


def test_boxes_by_phase() -> None:
    graph = tg.make_graph(tg.value_and_grad(mlp))(*mlp_args())
    drawn = model(graph, 99)
    wanted = Counter(eqn.phase for eqn in graph.eqns)
    text = dot(drawn, (), (), "beside")
    shown = [drawn.nodes[int(n)] for n in re.findall(r"^ *n(\d+) \[", text, re.MULTILINE)]
    assert Counter(node.phase for node in shown if node.kind == EQUATION) == wanted
    boxes = re.findall(r"^ *n(\d+) \[label=<<TABLE.*$", text, re.MULTILINE)
    orange = re.findall(r"^ *n(\d+) \[label=<<TABLE.*fillcolor=\"#fdf1e5\".*$", text, re.MULTILINE)
    assert (len(boxes), len(orange)) == (len(graph.eqns), wanted[1])
    hidden = dot(drawn, (), (), "hidden")
    shown = [drawn.nodes[int(n)] for n in re.findall(r"^ *n(\d+) \[", hidden, re.MULTILINE)]
    assert not any(node.phase for node in shown)


@pytest.mark.parametrize("program", PROGRAMS, ids=["dot", "graphviz-pure"])
@pytest.mark.parametrize("backward", ["folded", "beside", "hidden"])
def test_graphviz_reads_it(program: str | None, backward: Any) -> None:
    if program is None:
        pytest.skip("Graphviz is not installed")
    for graph in (
        graph_of(tg.value_and_grad(mlp), *mlp_args()),
        graph_of(tg.grad(scanned), np.ones(3), np.ones((4, 3))),
    ):
        drawing = graph.draw(backward=backward, depth=3)
        found = read_by(program, drawing.dot())
        nodes = drawing.data["nodes"]
        assert len(set(found["boxes"])) == len(found["boxes"])
        assert sum(name[0] == "n" and nodes[int(name[1:])][0] == INPUT for name in found["boxes"]) == len(graph.inputs)
        for a, b in found["arrows"]:
            assert a in found["boxes"] and b in found["boxes"]


def test_both_programs_read_the_same() -> None:
    if None in PROGRAMS:
        pytest.skip("Graphviz is not installed")
    drawing = tg.draw(tg.value_and_grad(blocks), *blocks_args(4))
    one, other = [read_by(str(program), drawing.dot()) for program in PROGRAMS]
    assert one == other


def test_a_small_one_in_full() -> None:
    graph = tg.make_graph(lambda x: np.sum(np.sin(x) * 2.0))(np.ones(2))
    text = graph.draw(values=[np.array([0.0, 1.0])], gradients=True).dot()
    lines = [line.strip() for line in text.splitlines()]
    assert '<B>x</B><BR/><FONT POINT-SIZE="9">a: f64[2]</FONT>' in text
    assert "<B>multiply</B>" in text and ">·, 2.0<" in text and ">axes=(0,), keepdims=False<" in text
    assert any(
        line.startswith("n0 -> n1 ") and '"#1f5fa8">[0, 1]<' in line and '"#c25e00">[2, 1.08]<' in line
        for line in lines
    )
    assert sum(" -> " in line for line in lines) == 4


def test_what_is_not_finite_is_red() -> None:
    text = tg.draw(lambda x: np.log(x) * 2.0, np.array(0.0)).dot()
    (box,) = [line for line in text.splitlines() if "<B>log</B>" in line]
    assert 'color="#c62828"' in box and "−inf" not in text and "-inf" in text


def test_names_of_users_are_no_code() -> None:
    def f(x: Any) -> Any:
        with tg.named_scope('a"\\ ]; <B> & \n graph'):
            return np.sin(x['<"\n>']) + 1.0

    text = tg.draw(f, {'<"\n>': 1.0}, depth=9).dot()
    for program in PROGRAMS:
        if program is not None:
            assert len(read_by(program, text)["boxes"]) == 4


def test_held_graphs() -> None:
    drawing = graph_of(scanned, np.ones(3), np.ones((4, 3))).draw(depth=9)
    text = drawing.dot()
    names = {f"n{i}": node[1] for i, node in enumerate(drawing.data["nodes"])}
    arrows = [(names[a], names[b]) for a, b in re.findall(r"^ *(n\d+) -> (n\d+) ", text, re.MULTILINE)]
    assert ("ws", "multiply") in arrows and ("ws", "scan") not in arrows  # seen where it is read
    assert ("tanh", "scan") in arrows and ("scan", "sum") in arrows
    closed = graph_of(scanned, np.ones(3), np.ones((4, 3))).draw(depth=0).dot()
    assert ">3 equations inside<" in closed and "tanh" not in closed
    marks = [node for node in drawing._drawn.nodes if node.kind == OUTPUT and node.holder >= 0]
    assert len(marks) == 2 and isinstance(drawing, Drawing)


@pytest.mark.parametrize(
    "summary, shape, wanted",
    [
        ({"s": [0.12345]}, (), "0.123"),
        ({"s": [1, -2, 3, 4.5]}, (2, 2), "[[1, −2], [3, 4.5]]"),
        ({"s": [1, 2]}, (1, 1, 2), "[[[1, 2]]]"),
        ({"s": []}, (0, 3), "[]"),
        ({"s": [None, "inf"], "nan": 1, "inf": 1}, (2,), "[nan, inf]"),
        ({"min": -1, "max": 2, "inf": 3}, (9,), "−1 … 2, 3 inf"),
        ({"min": None, "max": None, "nan": 9}, (9,), "9 nan"),
    ],
)
def test_values_in_words(summary: dict[str, Any], shape: tuple[int, ...], wanted: str) -> None:
    assert in_words(summary, shape) == wanted
