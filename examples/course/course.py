"""What the chapters share: their two options, where their pictures go, and how an answer to an exercise is tried.

    python examples/course/02_perceptrons.py [--quick] [--out FOLDER]

A chapter is one file in cells, which runs as a script and opens as a notebook. In a notebook there are no options: `quick` is
False, and pictures are shown as well as saved.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # draws into files; needs no screen
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

_parser = argparse.ArgumentParser(description="A chapter of the course.")
_parser.add_argument("--quick", action="store_true", help="shorter experiments, as the tests run them")
_parser.add_argument(
    "--out", type=Path, default=Path(__file__).parent.parent / "output", help="where the pictures go (examples/output)"
)
# The command line of a notebook's kernel is not ours.
_options = _parser.parse_args([] if "ipykernel" in sys.argv[0] else sys.argv[1:])

quick: bool = _options.quick
out: Path = _options.out

plt.rcParams.update(
    {
        "figure.constrained_layout.use": True,
        "figure.figsize": (7, 4),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": False,
        "font.size": 10,
        "legend.frameon": False,
    }
)


def show(figure: Any, name: str) -> None:
    """Saves a figure as course_<name>.png in `out`, shows it in a notebook, and closes it. What `tg.draw` returns becomes a page,
    course_<name>.html.

    The name begins with the chapter's number: `show(figure, "02_clusters")`.
    """
    out.mkdir(parents=True, exist_ok=True)
    ipython = sys.modules.get("IPython")
    in_notebook = ipython is not None and ipython.get_ipython() is not None
    if isinstance(figure, Figure):
        path = out / f"course_{name}.png"
        figure.savefig(path, dpi=110)
        plt.close(figure)
        shown = ipython.display.Image(filename=str(path)) if in_notebook else None
    else:
        path, shown = out / f"course_{name}.html", figure
        figure.save(path)
    if in_notebook:
        ipython.display.display(shown)
    print(f"{'picture' if path.suffix == '.png' else 'page'}: {path}")


def attempt(check: Callable[..., None], *answers: Callable[..., Any]) -> None:
    """Tries a check on the reader's answer, and says what came of it. A wrong answer raises the check's AssertionError."""
    name = check.__name__.removeprefix("check_")
    try:
        check(*answers)
    except NotImplementedError:
        print(f"exercise {name}: not written yet")
    else:
        print(f"exercise {name}: right")


def draw_boxes(
    axes: Any, labels: dict[str, str], arrows: Sequence[tuple[str, str, str]], kinds: dict[str, str] | None = None
) -> None:
    """Draws a small graph from left to right: a box for each label, an arrow for each (from, to, text).

    `kinds` says of a box that it is an "input" (round), a "parameter" (round and blue), a "constant" (no frame) or the "output" (bold). A box stands one column
    right of the last of its operands, a constant one column left of its first user. An arrow that passes other columns has
    a place of its own in each, so that it runs around the boxes there.
    """
    kinds = kinds or {}
    column: dict[str, int] = {}
    while len(column) < len(labels):
        for box in labels:
            before = [a for a, b, _ in arrows if b == box]
            if all(a in column for a in before):
                column[box] = max((column[a] + 1 for a in before), default=0)
    for box in labels:
        if kinds.get(box) == "constant":
            column[box] = min((column[b] - 1 for a, b, _ in arrows if a == box), default=0)
    paths = []
    for number, (a, b, _) in enumerate(arrows):
        between = [f"{number}@{c}" for c in range(column[a] + 1, column[b])]
        column.update({place: int(place.split("@")[1]) for place in between})
        paths.append([a, *between, b])

    # Heights: each place goes towards the mean of its neighbours, and keeps a distance from those in its column.
    neighbours: dict[str, list[str]] = {place: [] for place in column}
    for path in paths:
        for a, b in pairwise(path):
            neighbours[a].append(b)
            neighbours[b].append(a)
    columns = [[p for p in column if column[p] == c] for c in range(max(column.values()) + 1)]
    height = {place: float(-i) for places in columns for i, place in enumerate(places)}
    for _ in range(30):
        for places in columns:
            wanted = {p: float(np.mean([height[n] for n in neighbours[p]] or [height[p]])) for p in places}
            places.sort(key=lambda p: -wanted[p])
            top, taken = np.inf, []
            for place in places:
                top = min(wanted[place], top - (1.0 if place in labels else 0.7))
                taken.append(top)
            shift = float(np.mean([wanted[p] for p in places]) - np.mean(taken))
            height.update({p: t + shift for p, t in zip(places, taken, strict=True)})

    spread, frames = 1.7, {}
    for box, label in labels.items():
        kind = kinds.get(box, "op")
        style = {
            "boxstyle": "circle,pad=0.35" if kind in ("input", "parameter") else "round,pad=0.35,rounding_size=0.2",
            "facecolor": {"input": "#e6e6e6", "parameter": "#cfe2f3"}.get(kind, "white"),
            "edgecolor": "none" if kind == "constant" else "#333333",
            "linewidth": 2.2 if kind == "output" else 1.0,
        }
        words = axes.text(spread * column[box], height[box], label, ha="center", va="center", bbox=style, zorder=3)
        frames[box] = words.get_bbox_patch()
    drawn: list[tuple[str, str]] = []  # a value that is used twice by one box has two arrows to it, bent to either side
    for path, (a, b, text) in zip(paths, arrows, strict=True):
        uses, before = sum(arrow[:2] == (a, b) for arrow in arrows), drawn.count((a, b))
        drawn.append((a, b))
        x, y = [spread * column[p] for p in path], [height[p] for p in path]
        axes.plot(x[:-1], y[:-1], color="#888888", lw=1.0, zorder=1)  # under the boxes
        tip = FancyArrowPatch(
            (x[-2], y[-2]),
            (x[-1], y[-1]),
            arrowstyle="-|>",
            connectionstyle=f"arc3,rad={0.3 * (before - (uses - 1) / 2)}",
            mutation_scale=10,
            color="#888888",
            patchA=frames.get(path[-2]),
            patchB=frames[path[-1]],
            shrinkA=0,
            shrinkB=1,
            zorder=4,  # after the boxes, whose size is known once they are drawn
        )
        axes.add_patch(tip)
        if text and not before:
            style = {"facecolor": "white", "edgecolor": "none", "pad": 1}
            middle = np.mean(x[:2]), np.mean(y[:2]) + (0.16 if uses > 1 else 0)
            axes.text(*middle, text, ha="center", va="center", fontsize=8, zorder=5, bbox=style)
    axes.set(
        xlim=(-0.6, spread * (len(columns) - 1) + 0.7), ylim=(min(height.values()) - 0.7, max(height.values()) + 0.7)
    )
    axes.axis("off")


def letters_of(graph: Any) -> dict[Any, str]:
    """The letter of each variable of a Graph, as it is printed: inputs, then constants, then what each equation makes."""
    variables = [*graph.inputs, *graph.consts, *(out for eqn in graph.eqns for out in eqn.outputs)]
    return {variable: chr(ord("a") + i) for i, variable in enumerate(variables)}


def draw_graph(
    axes: Any,
    graph: Any,
    label: Callable[[Any], str] = lambda variable: "",
    title: str = "",
    parameters: Sequence[str] = (),
) -> None:
    """Draws a small Graph, with label(variable) on the arrows that carry it. Inputs are shown by name, of `parameters` in blue."""
    letters = letters_of(graph)
    boxes = {letter: v.name or letter for v, letter in letters.items()}
    kinds = {letters[v]: "parameter" if v.name in parameters else "input" for v in graph.inputs}
    kinds |= dict.fromkeys((letters[v] for v in graph.consts), "constant")
    arrows = []
    for eqn in graph.eqns:
        out = letters[eqn.outputs[0]]
        boxes[out] = f"{out}\n{eqn.op.name}"
        for number, v in enumerate(eqn.inputs):
            if v in letters:
                arrows.append((letters[v], out, label(v)))
            else:  # a number that stands in the equation
                boxes[f"{out}.{number}"], kinds[f"{out}.{number}"] = f"{v.value:g}", "constant"
                arrows.append((f"{out}.{number}", out, ""))
    kinds |= dict.fromkeys((letters[v] for v in graph.outputs), "output")
    draw_boxes(axes, boxes, arrows, kinds)
    axes.set_title(title, loc="left")
