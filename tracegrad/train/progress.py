"""How a run shows where it is: a bar on a terminal or in a notebook, else a line for each epoch."""

from __future__ import annotations

import builtins
import html
import importlib.util
import sys
import time
from typing import Any, TextIO

import numpy as np

from tracegrad.core.errors import at, user_source
from tracegrad.core.late import imported

_EVERY = 10.0  # seconds between lines in an epoch


def shown(value: Any) -> str:
    """A number as people read it.

    >>> shown(0.08803), shown(1234567.0), shown(0.00001234), shown(3)
    ('0.0880', '1.235e+06', '1.234e-05', '3')
    """
    if isinstance(value, int):
        return str(value)
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.4g}"
    return f"{value:.3f}" if abs(value) >= 1 else f"{value:.4f}" if abs(value) < 0.1 else f"{value:.3f}"


def numbers(metrics: dict[str, Any]) -> str:
    """Metrics as text; of arrays nothing."""
    return "  ".join([f"{name} {shown(x)}" for name, x in metrics.items() if np.ndim(x) == 0])


def rate(examples: float, seconds: float) -> str:
    """How many examples are gone through in a second."""
    per_second = examples / max(seconds, 1e-9)
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if per_second >= size:
            return f"{per_second / size:.3g}{letter} examples/s"
    return f"{per_second:.3g} examples/s"


class Silent:
    """Shows nothing. The others have its methods."""

    def start(self, epochs: int | None) -> None:
        self.epochs = epochs

    def show(self, epoch: int, place: int, total: int | None, metrics: dict[str, Any], speed: str) -> None:
        """Within an epoch, at most ten times a second."""

    def epoch(self, text: str) -> None:
        """An epoch has ended; this is its line."""

    def note(self, text: str) -> None:
        """Something else that is to be read."""

    def end(self) -> None:
        pass

    def head(self, epoch: int, place: int, total: int | None) -> str:
        of = "" if self.epochs is None else f"/{self.epochs}"
        return f"epoch {epoch + 1}{of}  {place}{'' if total is None else f'/{total}'}"


class Lines(Silent):
    """A line for each epoch, and in long ones every ten seconds: for files, pipes and logs. Only printable characters."""

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file
        self._last = time.monotonic()

    def note(self, text: str) -> None:
        self._last = time.monotonic()
        print(text, file=self._file or sys.stdout, flush=True)

    epoch = note

    def show(self, epoch: int, place: int, total: int | None, metrics: dict[str, Any], speed: str) -> None:
        if time.monotonic() - self._last >= _EVERY:
            self.note(f"{self.head(epoch, place, total)}  {numbers(metrics)}  {speed}")


class Terminal(Silent):
    """A bar of rich's, above which the lines of epochs stand."""

    def start(self, epochs: int | None) -> None:
        super().start(epochs)
        rich = imported("rich.progress")
        columns = [
            rich.TextColumn("{task.description}"),
            rich.BarColumn(bar_width=20),
            rich.TextColumn("{task.fields[numbers]}"),
        ]
        self._bar = rich.Progress(*columns, transient=True)
        self._task = self._bar.add_task("", total=None, numbers="")
        self._bar.start()

    def show(self, epoch: int, place: int, total: int | None, metrics: dict[str, Any], speed: str) -> None:
        self._bar.update(
            self._task, description=self.head(epoch, place, total), total=total, completed=place,
            numbers=f"{numbers(metrics)}  {speed}",
        )  # fmt: skip

    def epoch(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    note = epoch

    def end(self) -> None:
        self._bar.stop()


class Notebook(Silent):
    """A bar of HTML in a notebook, and the lines of epochs under it."""

    def start(self, epochs: int | None) -> None:
        super().start(epochs)
        self._lines: list[str] = []
        self._bar = ""
        display = imported("IPython.display")
        self._html = display.HTML
        self._handle = display.display(self._html(""), display_id=True)

    def _update(self) -> None:
        lines = "\n".join([html.escape(line) for line in self._lines])
        self._handle.update(self._html(f"{self._bar}<pre>{lines}</pre>"))

    def show(self, epoch: int, place: int, total: int | None, metrics: dict[str, Any], speed: str) -> None:
        value = "" if total is None else f' value="{place}" max="{total}"'
        text = html.escape(f"{self.head(epoch, place, total)}  {numbers(metrics)}  {speed}")
        self._bar = f"<progress{value}></progress> <code>{text}</code>"
        self._update()

    def epoch(self, text: str) -> None:
        self._lines.append(text)
        self._update()

    note = epoch

    def end(self) -> None:
        self._bar = ""
        self._update()


def chosen(progress: Any) -> Silent:
    """What shows progress: True for what fits where output goes, False for nothing, or a kind by name."""
    if progress is True:
        shell = getattr(builtins, "get_ipython", None)
        if shell is not None and type(shell()).__name__ == "ZMQInteractiveShell":
            return Notebook()
        return Terminal() if sys.stdout.isatty() and importlib.util.find_spec("rich") else Lines()
    kinds: dict[Any, Any] = {False: Silent, None: Silent, "lines": Lines, "terminal": Terminal, "notebook": Notebook}
    if not isinstance(progress, str | bool | None) or progress not in kinds:
        raise ValueError(
            f"fit{at(user_source())}: progress is True, False, 'lines', 'terminal' or 'notebook', got {progress!r}"
        )
    return kinds[progress]()
