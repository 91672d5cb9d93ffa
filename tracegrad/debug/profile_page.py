"""A profile as a page: the user's source, with a bar beside each line. It needs no network and no script."""

from __future__ import annotations

import html
import linecache
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tracegrad.core.errors import Source

# How many lines are shown around those that take time, and how many may be between two of them in one piece.
_AROUND, _BETWEEN = 2, 6

_STYLE = """
.tracegrad-profile { --paper: #fff; --ink: #1c2024; --muted: #667078; --rule: #c9d0d6; --soft: #f3f5f7; --forward: #4e79a7; --backward: #d97706;
  background: var(--paper); color: var(--ink); font: 14px/1.45 system-ui, sans-serif; padding: 12px 16px; }
@media (prefers-color-scheme: dark) { .tracegrad-profile { --paper: #16191d; --ink: #e6e9ec; --muted: #98a2ab; --rule: #3a424a; --soft: #20252b;
  --forward: #7aa6d6; --backward: #f0a24a; } }
.tracegrad-profile h1 { font-size: 16px; margin: 0 0 4px; }
.tracegrad-profile h2 { font-size: 13px; margin: 18px 0 4px; overflow-wrap: anywhere; }
.tracegrad-profile p { color: var(--muted); margin: 2px 0; }
.tracegrad-profile i { display: inline-block; width: 10px; height: 10px; margin: 0 4px 0 10px; border-radius: 2px; }
.tracegrad-profile .scroll { overflow-x: auto; }
.tracegrad-profile table { border-collapse: collapse; font: 12.5px/1.5 ui-monospace, Menlo, Consolas, monospace; }
.tracegrad-profile td { padding: 0 8px; white-space: pre; text-align: left; border: 0; background: none; }
.tracegrad-profile td.n { text-align: right; color: var(--muted); font-variant-numeric: tabular-nums; }
.tracegrad-profile tr.hot td { background: var(--soft); }
.tracegrad-profile td.bar { width: 180px; min-width: 180px; }
.tracegrad-profile td.bar div { display: flex; height: 11px; }
.tracegrad-profile .o { background: var(--muted); }
.tracegrad-profile .f { background: var(--forward); } .tracegrad-profile .b { background: var(--backward); }
.tracegrad-profile td.ops { color: var(--muted); }
.tracegrad-profile tr.gap td { color: var(--muted); border-top: 1px dashed var(--rule); height: 4px; padding: 0; }
"""

Line = tuple[Source | None, float, float, Mapping[str, float]]


def page(
    lines: Sequence[Line], total: float, runs: int, ops: Mapping[str, float], shown: Callable[[float], str]
) -> str:
    """The page of lines, each with its seconds, those in derivatives, and those of its operations."""
    most = max([seconds for _, seconds, _, _ in lines], default=0.0)
    body = [
        "<h1>Where the time goes</h1>",
        f"<p>{shown(total)} a call, the mean of {runs} calls of the program that jit generates for NumPy."
        '<i class="f"></i>forward<i class="b"></i>backward</p>',
    ]
    files: dict[str, dict[int, Line]] = {}
    for line in lines:
        source = line[0]
        files.setdefault("" if source is None else source.file, {})[0 if source is None else source.line] = line
    for file, found in sorted(files.items(), key=lambda item: -sum([x[1] for x in item[1].values()])):
        body.append(f"<h2>{html.escape(file or 'without a line')}</h2>")
        rows: list[str] = []
        for i, piece in enumerate(_pieces(sorted(found))):
            if i:
                rows.append('<tr class="gap"><td colspan="5"></td></tr>')
            rows += [_row(file, n, found.get(n), most, total, shown) for n in piece]
        body.append(f'<div class="scroll"><table>{"".join(rows)}</table></div>')
    body.append("<h2>By operation</h2>")
    largest = max(ops.values(), default=0.0)
    rows = [
        f'<tr><td class="n">{shown(s)}</td><td class="n">{_share(s, total)}</td>'
        f'<td class="bar"><div><span class="o" style="width:{100 * s / largest:.1f}%"></span></div></td><td>{html.escape(op)}</td></tr>'
        for op, s in ops.items()
    ]
    body.append(f'<div class="scroll"><table>{"".join(rows)}</table></div>')
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(_title(lines))}</title><style>{_STYLE}</style>"
        f'<div class="tracegrad-profile">{"".join(body)}</div></html>\n'
    )


def _title(lines: Sequence[Line]) -> str:
    source = lines[0][0] if lines else None
    return f"Profile of {source.short.rpartition(':')[0]}" if source is not None else "Profile"


def _pieces(numbers: Sequence[int]) -> list[range]:
    """The lines to show: those around the given ones, in pieces."""
    found: list[range] = []
    for n in numbers:
        begin, end = max(n - _AROUND, 1) if n else 0, n + _AROUND + 1 if n else 1
        if found and begin <= found[-1].stop + _BETWEEN:
            found[-1] = range(found[-1].start, end)
        else:
            found.append(range(begin, end))
    return found


def _row(file: str, number: int, line: Line | None, most: float, total: float, shown: Callable[[float], str]) -> str:
    text = html.escape(linecache.getline(file, number).rstrip()) if number else ""
    if line is None:
        return f'<tr><td class="n"></td><td class="n"></td><td class="bar"></td><td class="n">{number}</td><td>{text}</td></tr>'
    _, seconds, backward, ops = line
    told = html.escape(", ".join([f"{op} {shown(s)}" for op, s in ops.items()]))
    return (
        f'<tr class="hot" title="{told}"><td class="n">{shown(seconds)}</td><td class="n">{_share(seconds, total)}</td>'
        f'<td class="bar">{_bar(seconds, backward, most)}</td><td class="n">{number or ""}</td><td>{text}</td></tr>'
    )


def _bar(seconds: float, backward: float, most: float) -> str:
    parts = [(name, part) for name, part in (("f", seconds - backward), ("b", backward)) if part > 0]
    spans: list[Any] = [f'<span class="{name}" style="width:{100 * part / most:.1f}%"></span>' for name, part in parts]
    return f"<div>{''.join(spans)}</div>"


def _share(seconds: float, total: float) -> str:
    return f"{100 * seconds / total:.0f} %" if total else ""
