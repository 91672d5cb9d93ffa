"""A drawing as HTML that needs nothing else: the listing for readers without JavaScript, the data, and what draws them."""

from __future__ import annotations

import functools
import html
from pathlib import Path

# Nothing is fetched: a page in a file of its own says so to the browser.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"


@functools.cache
def _file(name: str) -> str:
    """A file of this folder without what only its readers need: indentation, comments on lines of their own, and what others' tools
    have noted at the end."""
    text = (Path(__file__).parent / name).read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines()]
    return "\n".join([line for line in lines if line and not line.startswith("//")])


def fragment(listing: str, data: str, theme: str, alone: bool = False) -> str:
    """The drawing as a part of a page, of which there may be several. `alone` says that it is the whole page."""
    page = " data-page" if alone else ""
    return (
        f'<div class="tracegrad" data-theme="{theme}"{page}>\n<style>{_file("page.css")}</style>\n'
        f'<pre class="listing">{html.escape(listing)}</pre>\n'
        f'<script type="application/json" class="graph">{data}</script>\n'
        f"<script>(() => {{{_file('dagre.min.js')}\n{_file('layout.js')}\n{_file('page.js')}\n}})();</script>\n</div>"
    )


def page(listing: str, data: str, theme: str, title: str) -> str:
    """The drawing as a file of its own."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n<title>{html.escape(title)}</title>\n</head>\n'
        f'<body style="margin:0">\n{fragment(listing, data, theme, True)}\n</body>\n</html>\n'
    )
