"""Drawings: what `graph.draw(...)` and `tg.draw(f, *args)` return, and how they are saved."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from tracegrad import tree
from tracegrad.core.errors import DifferentiationError, at, clip, require_callable, user_source
from tracegrad.core.graph import Graph
from tracegrad.core.quiet import quietly
from tracegrad.core.tracebacks import trimming
from tracegrad.core.types import ShapeDtypeStruct, is_inexact
from tracegrad.io.files import replacing
from tracegrad.show import explorer, page, svg
from tracegrad.show.boxes import EQUATION
from tracegrad.show.data import data, text_of
from tracegrad.show.dot import dot
from tracegrad.show.model import model
from tracegrad.show.values import Values, side, summary
from tracegrad.transforms.inspect import make_graph

Backward = Literal["folded", "beside", "hidden"]
Theme = Literal["auto", "light", "dark"]
# A Graph shows itself in a notebook as a drawing if it has no more equations: the notebook has all of it in its file.
_IN_NOTEBOOK = 5_000


class Drawing:
    """A Graph as a picture: groups of equations, as scopes, functions, loops and repeated blocks make them, that are opened and
    closed in place. Notebooks show it. With values, each arrow carries what flows along it, and with gradients also the derivative of
    the output with respect to that.

    `save` writes a page that needs nothing else (`.html`), a picture (`.svg`), the input of Graphviz (`.dot`), or the
    listing (`.txt`).

    >>> import numpy as np, tracegrad as tg
    >>> drawing = tg.make_graph(lambda x: np.sin(x) * 2.0)(1.0).draw()
    >>> drawing
    <drawing of <lambda>, 2 equations>
    """

    def __init__(self, graph: Graph, drawn: Any, values: Values | None, backward: Backward, theme: Theme) -> None:
        self.graph, self._drawn, self._backward, self._theme = graph, drawn, backward, theme
        self._values: list[Any] = []
        self._gradients: list[Any] = []
        if values is not None:
            cells = side([*values.values, *values.gradients])
            self._values = [summary(x, cells) for x in values.values]
            self._gradients = [summary(x, cells) for x in values.gradients]

    @functools.cached_property
    def data(self) -> dict[str, Any]:
        """What the page is made of, with the user's lines as they are now."""
        return data(self._drawn, self._values, self._gradients, self._backward, self._theme)

    def html(self) -> str:
        """The page, which fetches nothing."""
        title = f"{self.graph.name} – tracegrad"
        return page.page(str(self.graph), text_of(self.data), self._theme, title)

    def dot(self) -> str:
        """The text from which Graphviz draws the groups as they are open at first."""
        return dot(self._drawn, self._values, self._gradients, self._backward)

    def svg(self) -> str:
        """The picture that Graphviz makes of it: the program `dot` if there is one, else the package graphviz-pure.

        Raises:
            MissingPackageError: if there is neither.
        """
        return svg.svg(self.dot())

    @trimming
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the drawing to a file, which takes the place of one that is there in one step.

        Args:
            path: its suffix says as what: `.html`, a page to open and close groups in; `.svg`, a picture; `.dot`, what Graphviz
                makes it of; `.txt`, the listing.

        Raises:
            ValueError: for another suffix.
            MissingPackageError: for a picture where there is no Graphviz.
            OSError: if the file cannot be written.
        """
        target = Path(path)
        how = self._forms().get(target.suffix.lower())
        if how is None:
            raise ValueError(
                f"a drawing{at(user_source())} is saved as {', '.join(self._forms())}, got {os.fspath(path)!r}; write "
                f"drawing.save({str(target.with_suffix('.html'))!r}) for a page, or .svg for a picture"
            )
        text = how()
        with replacing(target) as beside:
            beside.write_text(text, encoding="utf-8")

    def _forms(self) -> dict[str, Callable[[], str]]:
        return {".html": self.html, ".svg": self.svg, ".dot": self.dot, ".txt": lambda: f"{self.graph}\n"}

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None, **_: Any) -> dict[str, str]:
        found = {"text/html": page.fragment(str(self.graph), text_of(self.data), self._theme)}
        return {**found, "text/plain": str(self.graph)}

    def __repr__(self) -> str:
        count = sum([node.kind == EQUATION for node in self._drawn.nodes])
        return f"<drawing of {self.graph.name}, {count} equation{'s' * (count != 1)}>"


@trimming
def draw_graph(
    graph: Graph,
    values: Sequence[Any] | None = None,
    gradients: bool = False,
    depth: int | str = "auto",
    backward: Backward = "folded",
    theme: Theme = "auto",
    outputs: Sequence[str] | None = None,
) -> Drawing:
    """What `Graph.draw` does. `outputs` are the names of the Graph's outputs."""
    what = f"draw of graph {graph.name!r}{at(user_source())}"
    require_one_of(what, "backward", backward, ("folded", "beside", "hidden"))
    require_one_of(what, "theme", theme, ("auto", "light", "dark"))
    if depth != "auto" and (type(depth) is not int or depth < 0):
        raise ValueError(
            f"{what} takes for depth how many groups in one another to open, or 'auto', got {clip(repr(depth))}; write depth=2"
        )
    found: Values | None = None
    drawn = model(graph, depth, outputs)
    if values is not None:
        given = _given(graph, values, what)
        if gradients:
            require_scalar(graph, what)
        found = Values(drawn, given, gradients)
    elif gradients:
        raise ValueError(
            f"{what}: gradients are taken at values; write graph.draw(values=[...], gradients=True) with an array for each of its "
            f"{len(graph.inputs)} inputs, or tg.draw(f, *args)"
        )
    return Drawing(graph, drawn, found, backward, theme)


def _given(graph: Graph, values: Any, what: str) -> list[Any]:
    if isinstance(values, bool | str) or not isinstance(values, Sequence):
        raise TypeError(
            f"{what} takes for values a list with an array for each of its {len(graph.inputs)} inputs, got "
            f"{clip(repr(values))}; write graph.draw(values=tg.tree.leaves(args)), or tg.draw(f, *args)"
        )
    if len(values) != len(graph.inputs):
        raise ValueError(
            f"{what} takes for values an array for each of its {len(graph.inputs)} inputs, got {len(values)}; the arguments' "
            "arrays in order are tg.tree.leaves(args)"
        )
    return [graph._accepted(i, x) for i, x in enumerate(values)]


def require_scalar(graph: Graph, what: str) -> None:
    """DifferentiationError if the first output is no floating scalar, of which all gradients are."""
    types = graph.out_types
    if not types or types[0].shape or not is_inexact(types[0].dtype) or types[0].dtype.kind == "c":
        got = str(types[0]) if types else "nothing"
        raise DifferentiationError(
            f"{what}: gradients are those of a scalar of real numbers, and the first output is {got}; draw a function that returns "
            "a loss, or leave gradients out"
        )


def require_one_of(what: str, name: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{what} takes for {name} one of {', '.join(map(repr, choices))}, got {clip(repr(value))}")


@trimming
def draw(
    fun: Callable[..., Any],
    *args: Any,
    values: bool = True,
    gradients: bool | None = None,
    depth: int | str = "auto",
    backward: Backward = "folded",
    theme: Theme = "auto",
) -> Drawing:
    """The Graph of a function as a picture, with what each of its variables is for these arguments and, where the function returns
    a scalar, the derivative of that with respect to each.

    Args:
        fun: a function of arrays and pytrees of them, jitted or not.
        *args: its arguments: pytrees of arrays, or of `ShapeDtypeStruct`s for a picture without values.
        values: whether to compute what the variables are.
        gradients: whether to compute the derivatives of the function's first output, a real scalar. By default where that is
            the only one, and of what has derivatives.
        depth: how many groups in one another are open at first; "auto" opens the largest ones, while few boxes show.
        backward: what derivative rules have recorded (of `tg.value_and_grad(f)`) is "folded" into groups, "beside" what it is the
            derivative of, or "hidden". The page can change that.
        theme: "light", "dark", or "auto", as the reader's browser is set.

    Raises:
        DifferentiationError: for `gradients=True` of a function that does not return a real scalar first.

    >>> import numpy as np, tracegrad as tg
    >>> tg.draw(lambda w, x: np.sum(np.tanh(x @ w)), np.ones((2, 3)), np.ones(2))
    <drawing of <lambda>, 3 equations>
    """
    require_callable(fun, "draw", "(f, x)")
    graph, names = _graph_of(fun, args)
    leaves = tree.tree_leaves(args)
    what = f"draw of {graph.name!r}{at(user_source())}"
    if any([isinstance(x, ShapeDtypeStruct) for x in leaves]):
        if gradients:
            raise ValueError(f"{what}: gradients are taken at values, and arguments are ShapeDtypeStructs; pass arrays")
        values = False
    how: dict[str, Any] = {"depth": depth, "backward": backward, "theme": theme, "outputs": names}
    if not values:
        return draw_graph(graph, None, bool(gradients), **how)
    if gradients is not None:
        return draw_graph(graph, leaves, gradients, **how)
    try:
        if len(graph.outputs) == 1:
            require_scalar(graph, what)
            return draw_graph(graph, leaves, True, **how)
    except DifferentiationError:
        pass
    return draw_graph(graph, leaves, False, **how)


def _graph_of(fun: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Graph, list[str]]:
    """The Graph of a function, and what its outputs are called."""
    names: list[str] = []

    @functools.wraps(fun)
    def noting(*args: Any) -> Any:
        out = fun(*args)
        paths, _ = tree.tree_flatten_with_path(out)
        names[:] = [tree.keystr(path) or "output" for path, _ in paths]
        return out

    # What is not finite the drawing shows.
    return quietly(("all",), make_graph(noting, frames=True), *args), names


def bundle(graph: Graph) -> dict[str, str]:
    """How a Graph shows itself in a notebook."""
    count = len(graph.eqns)
    if count > _IN_NOTEBOOK:
        return {"text/plain": str(graph)}
    return draw_graph(graph)._repr_mimebundle_()


def model_explorer(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write a Graph as JSON that Model Explorer reads."""
    text = explorer.collection(model(graph, 0))
    with replacing(Path(path)) as beside:
        beside.write_text(text, encoding="utf-8")
