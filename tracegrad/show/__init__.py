"""Graphs as text (`core/show.py`) and as pictures: what is in one (`model.py`), with values (`values.py`), as a page, as SVG and in
Graphviz's language (`drawing.py`)."""

from tracegrad.core.show import Listed, Names, all_letters, eqn_text, listed, listing

__all__ = ["Listed", "Names", "all_letters", "eqn_text", "listed", "listing"]


def __dir__() -> list[str]:
    return list(__all__)
