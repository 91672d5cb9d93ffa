"""What the programs of the gallery share: their options, and where their pictures go.

Each program has a `main(argv)`, which returns the figure that it asserts. `QUICK` holds the options that its test runs it with.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # draws into files; needs no screen
import matplotlib.pyplot as plt
from rich.console import Console
from rich.progress import track as rich_track

OUTPUT = Path(__file__).parent.parent / "output"


def options(
    argv: list[str], document: str | None, *, file: str, steps: int, expect: float, float64: bool = False
) -> argparse.Namespace:
    """What the command line says, with `document`'s first line as the help. `--backend auto` is XLA where jax is installed.

    `float64` has jax keep 64-bit results, which are float32 to it otherwise.
    """
    parser = argparse.ArgumentParser(description=(document or "").split("\n")[0])
    parser.add_argument("--steps", type=int, default=steps, help="how long (default %(default)s)")
    parser.add_argument("--backend", choices=("numpy", "xla", "auto"), default="numpy", help="default %(default)s")
    parser.add_argument("--expect", type=float, default=expect, help="the bar at the end (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default %(default)s)")
    parser.add_argument("--out", type=Path, default=OUTPUT, help="folder of the picture (default examples/output)")
    found = parser.parse_args(argv)
    if found.backend == "auto":
        found.backend = "xla" if importlib.util.find_spec("jax") else "numpy"
    if float64 and found.backend == "xla":
        importlib.import_module("jax").config.update("jax_enable_x64", True)
    found.picture = found.out / f"{Path(file).stem}.png"
    return found


def track(steps: Iterable[Any], what: str) -> Iterable[Any]:
    """A progress bar in a terminal, and nothing where the output goes to a file."""
    return rich_track(steps, what, console=Console(file=sys.stderr), disable=not sys.stderr.isatty())


def save(figure: Any, picture: Path) -> None:
    """Writes the picture, at most some 900 pixels wide, and says where."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=100, bbox_inches="tight")
    plt.close(figure)
    print(f"picture: {picture}")


def hold(what: str, value: Any, *, at_least: float | None = None, at_most: float | None = None) -> float:
    """Says what was reached, asserts the bar that is given, and returns the value. NaN passes no bar."""
    value, bar, side = (float(value), at_least, "least") if at_most is None else (float(value), at_most, "most")
    assert bar is not None
    assert value >= bar if at_most is None else value <= bar, f"expected {what} of at {side} {bar:g}, got {value:.4g}"
    print(f"{what}: {value:.4g} (at {side} {bar:g})")
    return value
