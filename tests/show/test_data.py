"""The data of a page: by what was agreed on, and true of the Graph."""

from __future__ import annotations

import json
import linecache
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.show.drawn import blocks, blocks_args, chain, graph_of, mlp, mlp_args
from tests.show.test_model import GRAPHS, number_of_equations
from tracegrad.core.graph import Graph
from tracegrad.show.boxes import EQUATION
from tracegrad.show.data import data, text_of
from tracegrad.show.model import model


@pytest.mark.parametrize("graph", GRAPHS)
def test_numbers_are_of_what_is_there(graph: Graph) -> None:
    found = json.loads(text_of(data(model(graph))))
    assert list(found) == [
        "version",
        "title",
        "theme",
        "backward",
        "types",
        "files",
        "vars",
        "nodes",
        "edges",
        "groups",
    ]
    count = {name: len(found[name]) for name in ("types", "files", "vars", "nodes", "groups")}
    for name, kind, *_ in found["vars"]:
        assert name and 0 <= kind < count["types"]
    for node in found["nodes"]:
        kind, op, family, params, ins, outs, group, phase, of, file, line, text = node
        assert kind in range(4) and op and -1 <= family < 8 and 0 <= group < count["groups"] and phase >= 0
        assert (family == -1) == (kind != EQUATION) and (kind == EQUATION or not text)
        assert all(type(v) is str or 0 <= v < count["vars"] for v in ins) and all(0 <= v < count["vars"] for v in outs)
        assert -1 <= of < count["nodes"] and -1 <= file < count["files"] and (line > 0) == (file >= 0)
        assert type(params) is str and (not params or not text or f"{op}[{params}]" in text)
    for a, b, v in found["edges"]:
        assert 0 <= a < count["nodes"] and 0 <= b < count["nodes"] and v in found["nodes"][a][5]
    for g, (name, kind, parent, is_open, like, node) in enumerate(found["groups"]):
        assert name and kind in ("scope", "function", "graph", "chain", "rest", "repeat", "backward")
        assert (
            -1 <= parent < max(g, 0)
            and is_open in (0, 1)
            and -1 <= like < count["groups"]
            and -1 <= node < count["nodes"]
        )
        assert node < 0 or (kind == "graph" and found["nodes"][node][6] == parent)
    assert sum(node[0] == EQUATION for node in found["nodes"]) == number_of_equations(graph)


@pytest.mark.parametrize("graph", GRAPHS)
def test_text_and_picture_are_one(graph: Graph) -> None:
    """Equations are written, and variables called, as the listing has them."""
    found = data(model(graph))
    listed = {line.split("  # ")[0].strip() for line in str(graph).splitlines()}
    for node in found["nodes"]:
        if node[0] == EQUATION:
            names = [v if type(v) is str else found["vars"][v][0] for v in node[4]]
            outs = [f"{found['vars'][v][0]}:{found['types'][found['vars'][v][1]]}" for v in node[5]]
            params = f"[{node[3]}]" if node[3] else ""
            built = " ".join([f"{', '.join(outs)} = {node[1]}{params}", *names])
            assert (node[11] or built) in listed and node[11] != built


def test_an_equation_with_a_constant_in_its_box_is_written_as_the_listing_has_it() -> None:
    c = np.array(0.25)
    found = data(model(tg.make_graph(lambda x: x * c)(np.ones(3))))
    assert [node[4:5] + node[11:] for node in found["nodes"] if node[0] == EQUATION] == [
        [[0, "0.25"], "c:f64[3] = multiply a b"]
    ]


def test_lines_are_those_of_the_equations() -> None:
    graph = graph_of(tg.value_and_grad(mlp), *mlp_args())
    drawn = model(graph)
    found = data(drawn)
    for node, row in zip(drawn.nodes, found["nodes"], strict=True):
        if node.eqn is not None:
            source = node.eqn.source
            assert source is not None
            file = found["files"][row[9]]
            assert (file["path"], row[10]) == (source.file, source.line)
            for line in range(row[10] - 2, row[10] + 3):
                assert file["lines"][str(line)] == linecache.getline(source.file, line).rstrip("\n")


def test_a_line_that_nobody_has() -> None:
    space: dict[str, Any] = {"np": np}
    exec(compile("def f(x):\n    return np.sin(x)\n", "<nowhere>", "exec"), space)
    found = data(model(tg.make_graph(space["f"])(1.0)))
    assert found["files"] == [{"path": "<nowhere>", "lines": {}}] and found["nodes"][1][9:11] == [0, 2]


def test_values_stand_with_their_variables() -> None:
    found = tg.draw(lambda x: np.sum(np.sin(x)), np.array([0.0, 1.0])).data
    (name, _, value, gradient), *_ = found["vars"]
    assert (name, value["s"], gradient["s"]) == ("a", [0, 1], [1, round(float(np.cos(1.0)), 7)])
    assert all(len(row) == 2 for row in tg.draw(np.sin, 1.0, values=False).data["vars"])
    assert all(len(row) == 3 for row in tg.draw(np.sin, 1.0, gradients=False).data["vars"])


def test_nothing_ends_a_script() -> None:
    def f(x: Any) -> Any:
        with tg.named_scope("</script><!--\u2028"):
            return np.sin(x) + np.cos(x)

    text = text_of(data(model(tg.make_graph(f)(1.0))))
    assert "<" not in text and "\u2028" not in text
    assert "</script><!--" in json.loads(text)["groups"][1][0]


def test_a_large_graph_is_a_few_bytes_an_equation() -> None:
    text = text_of(data(model(tg.make_graph(lambda x: chain(x, 10_000))(0.5))))
    assert len(text) < 120 * 10_000
    graph = graph_of(tg.value_and_grad(blocks), *blocks_args(12))
    assert len(text_of(data(model(graph)))) < 200 * number_of_equations(graph)
