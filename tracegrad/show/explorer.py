"""A drawing as the JSON of Model Explorer, which shows graphs of tens of thousands of equations."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tracegrad.core.errors import resolve
from tracegrad.show.model import Model


def collection(drawn: Model) -> str:
    """A graph collection: groups are namespaces, an equation's params, source and type attributes of it."""
    paths = [""]
    alike: Counter[str] = Counter()
    for group in drawn.groups[1:]:
        around = paths[group.parent]
        path = f"{around}/" * bool(around) + group.name.replace("/", "|")
        alike[path] += 1
        paths.append(path if alike[path] == 1 else f"{path} ({alike[path]})")
    incoming: list[list[dict[str, str]]] = [[] for _ in drawn.nodes]
    for a, b, v in drawn.edges:
        output = str(drawn.nodes[a].outs.index(v))
        entry = str(len(incoming[b]))
        incoming[b].append({"sourceNodeId": str(a), "sourceNodeOutputId": output, "targetNodeInputId": entry})
    nodes = []
    for i, node in enumerate(drawn.nodes):
        attributes: dict[str, str] = {"equation": node.text, "params": node.params} if node.eqn is not None else {}
        source = resolve(node.eqn.raw_source) if node.eqn is not None else None
        if source is not None:
            attributes["source"] = f"{source.file}:{source.line}"
        types = [{"tensor_shape": str(drawn.variables[v].var.type), "name": drawn.variables[v].name} for v in node.outs]
        nodes.append(
            {
                "id": str(i),
                "label": node.name,
                "namespace": paths[node.group],
                "attrs": _pairs(attributes),
                "incomingEdges": incoming[i],
                "outputsMetadata": [{"id": str(k), "attrs": _pairs(found)} for k, found in enumerate(types)],
            }
        )
    found = [{"label": drawn.title, "graphs": [{"id": drawn.title, "nodes": nodes}]}]
    return json.dumps(found, separators=(",", ":"), ensure_ascii=False)


def _pairs(found: dict[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in found.items() if value]
