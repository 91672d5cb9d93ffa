"""Einstein summation in all of NumPy's forms."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tests.ops.contract.test_contract import array
from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.ops.contract import explicit_subscripts


def test_a_broadcast_operand_of_einsum() -> None:
    a, b = array(1, 3), array(2, 3)
    for subscripts in ("ij,ij->ij", "ij,ij->i", "ij,ij->"):
        expected = np.einsum(subscripts, a, b)
        out, pull = tg.vjp(lambda a, b, s=subscripts: np.einsum(s, a, b), a, b)
        np.testing.assert_allclose(out, expected)
        ga, gb = pull(np.ones_like(expected))
        np.testing.assert_allclose(ga, b.sum(0, keepdims=True))
        np.testing.assert_allclose(gb, np.broadcast_to(a, b.shape))


def test_einsum_is_one_equation() -> None:
    graph = tg.make_graph(lambda a, b, c: np.einsum("...ij,jk,k", a, b, c))(array(2, 2, 3), array(3, 4), array(4))
    assert [e.op.name for e in graph.eqns] == ["einsum"]
    assert graph.eqns[0].params == {"subscripts": "Zij,jk,k->Zi"}


def test_einsum_dtype() -> None:
    x = np.ones(2, np.float32)
    assert tg.eval_shape(lambda x: np.einsum("i,i", x, x, dtype=np.float64), x).dtype == np.float64
    with pytest.raises(DtypeError, match=r"f32\[2\] does not become int64 by the rule 'safe'"):
        tg.eval_shape(lambda x: np.einsum("i,i", x, x, dtype=np.int64), x)


@pytest.mark.parametrize(
    "subscripts, ndims, expected",
    [
        ("ij,jk", (2, 2), "ij,jk->ik"),
        ("ba", (2,), "ba->ab"),
        ("ii", (2,), "ii->"),
        ("...", (3,), "XYZ->XYZ"),
        ("...i,...i->...", (1, 3), "i,YZi->YZ"),
        ("Z...,...", (2, 0), "ZY,->YZ"),
        ("->", (0,), "->"),
    ],
)
def test_explicit_subscripts(subscripts: str, ndims: tuple[int, ...], expected: str) -> None:
    assert explicit_subscripts(subscripts, ndims) == expected


@pytest.mark.parametrize(
    "subscripts, ndims, why",
    [
        ("ij,jk", (2,), "2 terms for 1 operands"),
        ("i+j", (2,), "letters"),
        ("ijk->i", (2,), "does not fit 2 dimensions"),
        ("i->i", (2,), r"write '\.\.\.'"),
        ("ij->ii", (2,), "names an axis twice"),
        ("ij->ik", (2,), "no operand has"),
        ("i...->i", (2,), "missing from the output"),
        ("......", (2,), "letters"),
        ("...", (53,), "more than 52"),
    ],
)
def test_bad_subscripts(subscripts: str, ndims: tuple[int, ...], why: str) -> None:
    with pytest.raises(ShapeError, match=why):
        explicit_subscripts(subscripts, ndims)
