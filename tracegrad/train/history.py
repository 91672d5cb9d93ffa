"""What a run has measured, epoch by epoch."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tracegrad.core.errors import at, user_source
from tracegrad.core.late import imported


class History:
    """A row for each epoch: a dict of what was measured. `history["loss"]` is a column of it.

    >>> history = History([{"epoch": 0, "loss": 2.0, "val_loss": 1.5}, {"epoch": 1, "loss": 1.0, "val_loss": 1.75}])
    >>> history["loss"], history.best("val_loss")["epoch"]
    ([2.0, 1.0], 0)
    """

    def __init__(self, rows: list[dict[str, Any]] | None = None) -> None:
        self.rows: list[dict[str, Any]] = [] if rows is None else rows

    def __getitem__(self, name: str) -> list[Any]:
        """A column: its value in each row that has one. KeyError if none has."""
        if not any(name in row for row in self.rows):
            raise KeyError(
                f"history{at(user_source())}: no {name!r} in the history; it has {', '.join(map(repr, self.names())) or 'no rows'}"
            )
        return [row[name] for row in self.rows if name in row]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __repr__(self) -> str:
        return f"History({len(self)} epochs: {', '.join(self.names())})"

    def names(self) -> list[str]:
        """Of all columns, in the order in which they came."""
        return list(dict.fromkeys([name for row in self.rows for name in row]))

    def best(self, name: str = "val_loss", mode: str = "min") -> dict[str, Any]:
        """The row in which a number is lowest, or with mode="max" highest; the first of such rows. NaN is never best."""
        if mode not in ("min", "max"):
            raise ValueError(f"history.best{at(user_source())}: mode is 'min' or 'max', got {mode!r}")
        values = [float(x) for x in self[name]]
        if all(map(math.isnan, values)):
            raise ValueError(f"history.best{at(user_source())}: {name!r} is nowhere a number")
        index = (np.nanargmin if mode == "min" else np.nanargmax)(values)
        return [row for row in self.rows if name in row][index]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the rows as a table of comma-separated values, which takes the place of the file in one step."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self.names(), lineterminator="\n")
        writer.writeheader()
        for row in self.rows:
            writer.writerow({k: json.dumps(v.tolist()) if isinstance(v, np.ndarray) else v for k, v in row.items()})
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text.getvalue())
            os.replace(beside, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw the numbers over the epochs, a panel for each: training and validation together, losses on a logarithmic scale
        with the best epoch marked.

        Args:
            path: where to save the picture; its suffix says as what. Folders on the way are made.

        Returns:
            The `matplotlib.figure.Figure`, which notebooks show.
        """
        try:
            figure_of = imported("matplotlib.figure").Figure
        except ImportError:
            raise ImportError("history.plot needs matplotlib; pip install 'tracegrad[train]'") from None
        numbers = [n for n in self.names() if n not in ("epoch", "step", "seconds") and np.ndim(self[n][0]) == 0]
        panels = [n for n in numbers if not n.startswith("val_")]
        panels += [
            n.removeprefix("val_") for n in numbers if n.startswith("val_") and n.removeprefix("val_") not in panels
        ]
        if not panels:
            raise ValueError(f"history.plot{at(user_source())}: the history has no numbers yet")
        figure = figure_of(figsize=(4 * len(panels), 3), layout="constrained")
        for axes, name in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            for column, label in ((name, "training"), (f"val_{name}", "validation")):
                rows = [row for row in self.rows if column in row]
                if not rows:
                    continue
                values = np.array([row[column] for row in rows], float)
                axes.plot([row["epoch"] for row in rows], values, marker="." if len(rows) < 20 else None, label=label)
                shown = label == "validation" or f"val_{name}" not in numbers
                if name.endswith("loss") and shown and not np.isnan(values).all():
                    best = self.best(column)
                    axes.axvline(best["epoch"], color="0.7", lw=0.8, zorder=0)
                    axes.annotate(f"{best[column]:.4g}", (best["epoch"], best[column]), fontsize="small")
            if name.endswith("loss") and all(
                not x <= 0 for n in numbers if n in (name, f"val_{name}") for x in self[n]
            ):
                axes.set_yscale("log")
            axes.set(xlabel="epoch", title=name)
            axes.legend(fontsize="small")
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path)
        return figure
