"""The table of a net."""

from __future__ import annotations

from typing import Any

import numpy as np

import tracegrad as tg
from tracegrad import nn
from tracegrad.nn import models


def test_a_small_table() -> None:
    net = nn.serial(nn.Conv(8, 3), nn.BatchNorm(), nn.relu, nn.max_pool(2), nn.flatten, nn.Dense(10))
    table = net.summary((64, 8, 8, 1))
    assert (table.parameters, table.state, table.bytes) == (80 + 16 + 1290, 16, 4 * 1386)
    assert table.products == 64 * 64 * 9 * 8 + 64 * 128 * 10
    rows = {".".join(row.path): row for row in table.rows}
    assert rows["Conv_0"].output == (64, 8, 8, 8) and rows["Conv_0"].products == 64 * 64 * 9 * 8
    assert rows[""].parameters == 1386 and rows["Dense_0"].parameters == 1290
    assert table.kept == sum([r.bytes for r in tg.debug.residuals(forward(net), *given(net)) if r.source])


def forward(net: Any) -> Any:
    return lambda params, x: net.apply(params, x, state=net.init_state((64, 8, 8, 1)))[0]


def given(net: Any) -> Any:
    return net.shapes((64, 8, 8, 1)), tg.ShapeDtypeStruct((64, 8, 8, 1), "float32")


def test_shared_parameters_are_counted_once() -> None:
    dense = nn.Dense(4)

    @nn.layer
    def tied(p: Any, x: Any) -> Any:
        return p(dense, p(dense, x, name="one"), name="one")

    table = tied.summary((2, 4))
    assert table.parameters == 20 and [row.path for row in table.rows] == [(), ("one",)]
    assert table.products == 2 * 2 * 16


def test_blocks_are_folded_and_lines_are_short() -> None:
    text = str(models.gpt2("small").summary(tg.ShapeDtypeStruct((1, 64), "int32")))
    assert "h_0..11 x12" in text and "124,439,808 parameters, 475 MB" in text
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("attn") == 1


def test_loops_count_as_often_as_they_run() -> None:
    table = nn.stack(nn.Dense(4), 5).summary((2, 4))
    assert (table.parameters, table.products) == (100, 5 * 2 * 16)
    assert nn.stack(nn.Dense(4), 5).summary((2, 4))._repr_html_().startswith("<pre>layer")


def test_inputs_of_every_kind() -> None:
    net = nn.serial(nn.Embed(10, 4), nn.Dense(2))
    assert net.summary(np.array([1, 2])).rows[0].output == (2, 2)
    pair = nn.layer(lambda p, x, y: (p(nn.Dense(2), x), p(nn.Dense(3), y)))
    table = pair.summary((1, 4), np.ones((2, 5)))
    assert table.rows[0].output == ((1, 2), (2, 3)) and "(1, 2), (2, 3)" in str(table)


def test_of_branches_the_one_that_takes_the_most_counts() -> None:
    @nn.layer
    def chosen(p: Any, x: Any, flag: Any) -> Any:
        wide, narrow = p.bind(nn.serial(nn.Dense(9), nn.Dense(4)), x), p.bind(nn.Dense(4), x)
        return nn.relu(tg.lax.cond(flag, wide, narrow, x)) @ np.ones((4, 3))

    assert chosen.summary((2, 4), np.array(True)).products == 2 * (4 * 9 + 9 * 4) + 2 * 4 * 3
