"""The room: what is in it that is others', and when it is loaded."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import tracegrad as tg
from tests import ROOT
from tracegrad.core import show

ROOM = ROOT / "tracegrad" / "show"
# npm's @dagrejs/dagre 3.1.3, dist/dagre.min.js.
DAGRE = "54a503e346f93ca0bb10abe7999587e037262935687aca45eb4e4b0f64bbb578"


def test_the_layout_is_what_was_looked_at() -> None:
    text = (ROOM / "dagre.min.js").read_bytes()
    assert hashlib.sha256(text).hexdigest() == DAGRE
    assert b"</script" not in text
    licence = (ROOM / "dagre.LICENSE").read_text()
    assert (
        "Copyright (c) 2012-2014 Chris Pettitt" in licence and "Permission is hereby granted, free of charge" in licence
    )


def test_it_is_loaded_when_something_is_drawn() -> None:
    code = "import sys, tracegrad as tg; str(tg.make_graph(abs)(1.0)); print([m for m in sys.modules if 'tracegrad.show' in m])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_texts_are_here_too() -> None:
    assert tg.show.listing is show.listing and tg.show.eqn_text is show.eqn_text
    assert set(dir(tg.show)) == set(tg.show.__all__)
