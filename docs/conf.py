"""How the site is built: `python -m sphinx -W -n -b html docs site`, then open site/index.html.

Nothing is fetched: no other site's inventory, no font, no script. Formulas become MathML, which browsers draw themselves.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.nodes import make_refnode

sys.path.insert(0, str(Path(__file__).parent))

import pages

import tracegrad

project = "tracegrad"
author = "The tracegrad authors"
copyright = author
release = version = tracegrad.__version__

extensions = ["myst_parser", "sphinx_copybutton"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 4
myst_update_mathjax = False
exclude_patterns = ["_static", "extra", "pictures"]
default_role = "code"  # docstrings write `code`
nitpicky = True
maximum_signature_line_length = 100
python_trailing_comma_in_multi_line_signatures = False
toc_object_entries_show_parents = "hide"
highlight_language = "text"

html_theme = "furo"
html_title = "tracegrad"
html_static_path = ["_static"]
(Path(__file__).parent / "extra").mkdir(exist_ok=True)  # which docs/pages.py fills
html_extra_path = ["extra"]  # drawn graphs, which are pages of their own
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1d4ed8", "color-brand-content": "#1d4ed8"},
    "dark_css_variables": {"color-brand-primary": "#93b4ff", "color-brand-content": "#93b4ff"},
}
pygments_style = "friendly"
pygments_dark_style = "github-dark"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def _mathml(formula: str, display: str) -> str:
    """MathML of a formula, with the room that browsers cannot know of: around signs of numbers, bars, and names of functions."""
    found = convert(formula, display=display)
    opening = r"(<mo[^>]*>(?:&#x00028;|&#x0002C;|&#x0003D;|&#x0005B;|&#x0007C;|\[|\(|,|=)</mo>)"
    found = re.sub(opening + r"<mo>(&#x02212;|&#x0002B;)</mo>", r'\1<mo form="prefix">\2</mo>', found)
    names, room = "(<mi>(?:ln|log|exp|sin|cos|tan|tanh|max|min)</mi>)", r'<mspace width="0.17em"/>'
    found = re.sub(names + "(?!<mo)", rf"\1{room}", found)
    found = re.sub(f"(</mn>|</mi>){names}", rf"\1{room}\2", found)
    return re.sub(r"<mo[^>]*>(&#x0007C;|&#x02016;)</mo>", r'<mo stretchy="false" lspace="0" rspace="0">\1</mo>', found)


def _inline(writer: Any, node: nodes.Element) -> None:
    writer.body.append(_mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def _block(writer: Any, node: nodes.Element) -> None:
    writer.body.append(f'<div class="math">{_mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode


def _unlinked(app: Sphinx, doctree: nodes.document) -> None:
    """Annotations stay text: Sphinx would link them to whatever has the same last name."""
    for signature in doctree.findall(addnodes.desc_signature):
        for node in list(signature.findall(addnodes.pending_xref)):
            node.replace_self(node.children)


def _linked(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Code such as `tg.grad` in a text, or the name of its neighbour in a docstring, leads to its entry in the reference."""
    known = app.env.domains["py"].objects  # type: ignore[attr-defined]
    module = docname.removeprefix("reference/") if docname.startswith("reference/") else None
    for node in list(doctree.findall(nodes.literal)):
        if isinstance(node.parent, nodes.reference) or any(isinstance(p, nodes.title) for p in _parents(node)):
            continue
        text = node.astext().removesuffix("()")
        for name in pages.meanings(text, module):
            if name in known and not known[name].aliased:
                entry = known[name]
                link = make_refnode(app.builder, docname, entry.docname, entry.node_id, node.deepcopy(), name)
                node.replace_self(link)
                break


def _parents(node: nodes.Node) -> list[nodes.Node]:
    found = []
    while node.parent is not None:
        node = node.parent
        found.append(node)
    return found


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))
    app.connect("builder-inited", lambda app: pages.write(Path(app.srcdir)))
    app.connect("doctree-read", _unlinked)
    app.connect("doctree-resolved", _linked)
