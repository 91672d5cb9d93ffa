"""Graphs as Model Explorer reads them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import tracegrad as tg
from tests.show.drawn import graph_of, mlp, mlp_args
from tracegrad.core.graph import Graph


def nodes_of(path: Path, graph: Graph) -> dict[str, dict[str, object]]:
    graph.model_explorer(path)
    ((collection),) = json.loads(path.read_text(encoding="utf-8"))
    (found,) = collection["graphs"]
    return {node["id"]: node for node in found["nodes"]}


def test_what_it_reads(tmp_path: Path) -> None:
    graph = graph_of(tg.value_and_grad(mlp), *mlp_args())
    found = nodes_of(tmp_path / "graph.json", graph)
    labels = [node["label"] for node in found.values()]
    assert labels.count("matmul") == sum(eqn.op.name == "matmul" for eqn in graph.eqns)
    for node in found.values():
        assert {"id", "label", "namespace", "attrs", "incomingEdges", "outputsMetadata"} == node.keys()
        for edge in node["incomingEdges"]:  # type: ignore[attr-defined]
            source = found[edge["sourceNodeId"]]
            assert edge["sourceNodeOutputId"] in [out["id"] for out in source["outputsMetadata"]]  # type: ignore[attr-defined]
    spaces = {node["namespace"] for node in found.values()}
    assert {"dense", "dense (2)", "dense (3)", "dense/backward"} <= spaces
    (first,) = [node for node in found.values() if node["label"] == "subtract"]
    attributes = {pair["key"]: pair["value"] for pair in first["attrs"]}  # type: ignore[attr-defined]
    assert (
        attributes["source"].endswith(f"drawn.py:{graph.eqns[8].source.line}")
        and " = subtract " in attributes["equation"]
    )  # type: ignore[union-attr]


def test_names_are_no_paths(tmp_path: Path) -> None:
    def f(x: np.ndarray) -> np.ndarray:
        with tg.named_scope("a/b"):
            return np.sin(x) * 2

    found = nodes_of(tmp_path / "g.json", tg.make_graph(f)(np.ones(2)))
    assert {node["namespace"] for node in found.values() if node["label"] == "sin"} == {"a|b"}
