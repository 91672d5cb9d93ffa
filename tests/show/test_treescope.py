"""What is ours in trees that treescope shows."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import tracegrad as tg

treescope = pytest.importorskip("treescope")


def test_texts() -> None:
    graph = tg.make_graph(lambda x: np.sin(x) * 2.0)(np.ones(2))
    assert treescope.render_to_text(graph) == f"<Graph <lambda>:\n  {str(graph).replace(chr(10), chr(10) + '  ')}\n>"
    shape = tg.ShapeDtypeStruct((2, 3), "float32")
    assert treescope.render_to_text({"a": [shape]}) == "{'a': [ShapeDtypeStruct(shape=(2, 3), dtype=float32)]}"
    net = tg.nn.serial(tg.nn.Dense(3), tg.nn.relu)
    assert treescope.render_to_text([net]) == f"[{net!r}]"
    table = net.summary(np.ones((1, 2)))
    assert "Dense_0" in treescope.render_to_text(table)
    assert "treescope" in treescope.render_to_html({"graph": graph, "net": net, "table": table, "shape": shape})


def test_nothing_is_imported_for_it() -> None:
    code = "import sys, tracegrad as tg, numpy as np; tg.draw(np.sin, 1.0).html(); print('treescope' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
